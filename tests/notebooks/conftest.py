"""A test that asks for `lesson` runs for each lesson."""

import pytest
from build_notebooks import lesson_paths
from kernel_run import ROOT
from lesson_source import Lesson, read_lesson


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lesson" in metafunc.fixturenames:
        metafunc.parametrize("lesson", lesson_paths(ROOT), ids=lambda path: path.stem, indirect=True)


@pytest.fixture
def lesson(request: pytest.FixtureRequest) -> Lesson:
    """One lesson of the course, as its source says it."""
    return read_lesson(request.param)
