"""Exercises with checks that name the mistake: `from lib.exercises import check, hint, solution, use, progress`."""

from lib.exercises.catalogue import catalogue
from lib.exercises.classroom import check, hint, solution, use
from lib.exercises.progress import progress

__all__ = ["catalogue", "check", "hint", "progress", "solution", "use"]
