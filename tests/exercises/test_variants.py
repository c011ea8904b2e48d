"""Every check tells right from wrong.

A mistake is recognised by the function that defines it. Beyond that, `variants/lesson_NN.py` holds answers as others
write them: `WRONG`, by exercise, (what the check names, function), only where the function fails *otherwise* than the
defining one (None: it is wrong, and nothing is named); `RIGHT`, functions in at least two styles.
"""

import runpy
from pathlib import Path

import pytest

from lib.exercises.catalogue import LESSONS, find, lesson_of, names
from lib.exercises.engine.judge import judge
from lib.exercises.engine.outcome import Status
from lib.exercises.lesson_text import exercise_text, exercises_of, lesson_sources

LEAST_RIGHT = 2
EXERCISES = [pytest.param(find(name), id=f"lesson_{lesson_of(name)}-{name}") for name in names()]


def variants(which):
    """The variants of all lessons, as (exercise's name, variant)."""
    for file in sorted((Path(__file__).parent / "variants").glob("lesson_*.py")):
        for name, several in runpy.run_path(str(file))[which].items():
            yield from ((file.stem, name, variant) for variant in several)


WRONG = [
    pytest.param(name, *variant, id=f"{lesson}-{name}-{variant[1].__name__}-{i}")
    for i, (lesson, name, variant) in enumerate(variants("WRONG"))
]
RIGHT = [
    pytest.param(name, variant, id=f"{lesson}-{name}-{variant.__name__}-{i}")
    for i, (lesson, name, variant) in enumerate(variants("RIGHT"))
]
OWN = [
    pytest.param(exercise, mistake, id=f"lesson_{lesson_of(exercise.name)}-{exercise.name}-{mistake.name}")
    for exercise in map(find, names())
    for mistake in exercise.mistakes
    if mistake.wrong is not None
]


@pytest.mark.parametrize(("exercise", "mistake"), OWN)
def test_a_mistake_is_recognised_by_the_function_that_defines_it(exercise, mistake):
    outcome = judge(exercise, mistake.wrong)
    assert outcome.status in (Status.WRONG, Status.CRASHED) and outcome.mistake == mistake.name, outcome


@pytest.mark.parametrize(("name", "mistake", "function"), WRONG)
def test_a_wrong_variant_is_rejected_and_told_nothing_else_than_this(name, mistake, function):
    outcome = judge(find(name), function)
    assert outcome.status in (Status.WRONG, Status.CRASHED) and outcome.mistake == mistake, outcome


@pytest.mark.parametrize(("name", "function"), RIGHT)
def test_a_right_variant_is_accepted(name, function):
    assert judge(find(name), function).status is Status.CORRECT, judge(find(name), function)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_reference_is_right(exercise):
    assert judge(exercise, exercise.reference).status is Status.CORRECT, judge(exercise, exercise.reference)


@pytest.mark.parametrize("exercise", EXERCISES)
def test_there_are_right_variants_and_nothing_is_shown_first_that_is_empty(exercise):
    right = [name for _, name, _ in variants("RIGHT") if name == exercise.name]
    assert len(right) >= LEAST_RIGHT
    first = exercise.cases()[0]
    assert all(value.numel() > 0 for value in first.arguments if hasattr(value, "numel")), first.label


@pytest.mark.parametrize("exercise", EXERCISES)
def test_the_lesson_sets_the_exercise(exercise):
    text = exercise_text(exercise.name)
    assert text is not None and text.hints and text.solution
    assert text.lesson.startswith(lesson_of(exercise.name))


def test_file_and_function_have_one_name_and_every_exercise_of_a_lesson_has_a_file():
    assert all(find(name).name == name for name in names())
    set_in_lessons = sorted(exercise.name for source in lesson_sources() for exercise in exercises_of(source))
    assert sorted(names()) == set_in_lessons
    assert len({*names()}) == len(names()) and LESSONS.is_dir()
