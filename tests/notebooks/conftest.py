"""How nbval runs our notebooks: as the builder does, with numbers compared nearly and each notebook's cost measured."""

import json
import os
import tempfile
from pathlib import Path

import nbval.plugin
import pytest
from build_notebooks import lesson_paths
from kernel_run import BUDGET_BYTES, BUDGET_SECONDS, ROOT, Cost, MemoryMeter, kernel_environment
from lesson_source import Lesson, read_lesson
from near_text import NearText

ALLOWANCE = 2  # the lanes run two notebooks at a time, so each has half of the machine, and machines are noisy


class CollectNotebooks:
    """Takes the place of nbval's own collecting. A conftest's hook would see only the files below its folder."""

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        return CourseNotebook.from_parent(parent, path=file_path) if file_path.suffix == ".ipynb" else None


def pytest_configure(config: pytest.Config) -> None:
    """Let notebooks that are named on the command line be run."""
    config.pluginmanager.register(CollectNotebooks(), "course-notebooks")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `lesson` runs for each lesson."""
    if "lesson" in metafunc.fixturenames:
        metafunc.parametrize("lesson", lesson_paths(ROOT), ids=lambda path: path.stem, indirect=True)


@pytest.fixture
def lesson(request: pytest.FixtureRequest) -> Lesson:
    """One lesson of the course, as its source says it."""
    return read_lesson(request.param)


class CourseNotebook(nbval.plugin.IPyNbFile):
    """A notebook under nbval, with a kernel like the builder's."""

    def setup(self) -> None:
        self.scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        before = dict(os.environ)
        os.environ.clear()
        solved = self.path.parent.name == "solutions"
        os.environ.update(kernel_environment(Path(self.scratch.name), before, solved))
        self.meter = None
        try:
            super().setup()
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.meter = MemoryMeter(self.kernel.km.provisioner.pid)

    def teardown(self) -> None:
        if self.meter is not None:
            self.meter.stop()
        super().teardown()
        self.scratch.cleanup()
        if self.meter is None:
            return
        cost = Cost(self.meter.seconds, self.meter.peak_bytes)
        name = f"{self.path.parent.name}/{self.path.name}"
        if "COURSE_COSTS" in os.environ:  # the lane prints what is gathered here
            with open(os.environ["COURSE_COSTS"], "a", encoding="utf-8") as file:
                file.write(json.dumps([name, cost.seconds, cost.peak_bytes]) + "\n")
        if cost.seconds > ALLOWANCE * BUDGET_SECONDS or cost.peak_bytes > BUDGET_BYTES:
            pytest.fail(
                f"{name} took {cost}; the budget is {ALLOWANCE} × {BUDGET_SECONDS} s (two notebooks run at a "
                f"time) and {BUDGET_BYTES / 1024**2:.0f} MB",
                pytrace=False,
            )

    def collect(self):
        for cell in super().collect():
            yield CourseCell.from_parent(
                self, name=cell.name, cell_num=cell.cell_num, cell=cell.cell, options=cell.options
            )


class CourseCell(nbval.plugin.IPyNbCell):
    """A cell whose output is compared by `near`."""

    def sanitize(self, s):
        if not isinstance(s, str):
            return s
        return NearText(super().sanitize(s))
