"""Gives the tests of this folder the fixture `course`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tiny_course import copier, course  # noqa: E402, F401  (its folder has just joined the path)
