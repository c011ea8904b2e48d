"""Every check tells right from wrong: plausible wrong answers are rejected by name, different right ones accepted.

For each lesson with exercises there is a `tests/mutants/lesson_NN.py` with two dictionaries by exercise name:
`WRONG`, lists of (the mistake's expected name, function); `RIGHT`, lists of functions.
"""

import runpy
from pathlib import Path

import pytest

from lib.exercises.catalogue import catalogue, exercises_of, lesson_modules
from lib.exercises.judge import judge

MUTANTS = Path(__file__).parent / "mutants"
LEAST_WRONG, LEAST_RIGHT = 3, 2


def _variants(module):
    file = MUTANTS / f"{module}.py"
    if not file.is_file():
        return {}, {}
    names = runpy.run_path(str(file))
    return names["WRONG"], names["RIGHT"]


LESSONS = {module: (exercises_of(module), *_variants(module)) for module in lesson_modules()}
EXERCISES = [
    pytest.param(exercise, wrong.get(exercise.name, []), right.get(exercise.name, []), id=exercise.name)
    for exercises, wrong, right in LESSONS.values()
    for exercise in exercises
]
WRONG = [
    pytest.param(exercise, mistake, function, id=f"{exercise.name}-{mistake}-{i}")
    for exercises, wrong, _ in LESSONS.values()
    for exercise in exercises
    for i, (mistake, function) in enumerate(wrong.get(exercise.name, []))
]
RIGHT = [
    pytest.param(exercise, function, id=f"{exercise.name}-{getattr(function, '__name__', 'right')}-{i}")
    for exercises, _, right in LESSONS.values()
    for exercise in exercises
    for i, function in enumerate(right.get(exercise.name, []))
]
OWN_MISTAKES = [
    pytest.param(exercise, mistake, id=f"{exercise.name}-{mistake.name}")
    for exercises, _, _ in LESSONS.values()
    for exercise in exercises
    for mistake in exercise.mistakes
    if mistake.wrong is not None
]


@pytest.mark.parametrize(("exercise", "wrong", "right"), EXERCISES)
def test_there_are_enough_variants(exercise, wrong, right):
    mistakes = {name for name, _ in wrong}
    assert len(mistakes) >= LEAST_WRONG, f"{exercise.name} has wrong variants for {len(mistakes)} different mistakes"
    assert len(right) >= LEAST_RIGHT, f"{exercise.name} has {len(right)} right variants"


@pytest.mark.parametrize(("exercise", "wrong", "right"), EXERCISES)
def test_every_mistake_of_its_own_is_made_by_a_variant(exercise, wrong, right):
    own = {mistake.name for mistake in [*exercise.mistakes, *exercise.probes]}
    assert own <= {name for name, _ in wrong}


def test_no_variants_for_an_exercise_that_is_not_there():
    for module, (exercises, wrong, right) in LESSONS.items():
        assert {*wrong, *right} <= {exercise.name for exercise in exercises}, module


@pytest.mark.parametrize(("exercise", "mistake", "function"), WRONG)
def test_wrong_variant_is_rejected_with_its_own_name(exercise, mistake, function):
    outcome = judge(exercise, function)
    assert outcome.status in ("wrong", "crashed"), outcome
    assert outcome.mistake == mistake, outcome


@pytest.mark.parametrize(("exercise", "function"), RIGHT)
def test_right_variant_is_accepted(exercise, function):
    outcome = judge(exercise, function)
    assert outcome.status == "correct", outcome


@pytest.mark.parametrize(("exercise", "mistake"), OWN_MISTAKES)
def test_a_mistake_is_recognised_by_the_function_that_defines_it(exercise, mistake):
    outcome = judge(exercise, mistake.wrong)
    assert outcome.mistake == mistake.name, outcome


@pytest.mark.parametrize(("exercise", "wrong", "right"), EXERCISES)
def test_the_reference_is_right(exercise, wrong, right):
    assert judge(exercise, exercise.reference).status == "correct", judge(exercise, exercise.reference)


def test_each_exercise_has_a_name_of_its_own_and_hints():
    names = [exercise.name for exercise in catalogue()]
    assert len(names) == len(set(names))
    assert all(exercise.hints for exercise in catalogue())
