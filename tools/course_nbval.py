"""How nbval runs the course's notebooks: as the builder does, numbers compared nearly, each notebook's cost measured.

`conftest.py` in the root hands this to every pytest that runs here, so that `pytest --nbval notebooks/01_*.ipynb` and
the lanes of `make test` say the same.
"""

import json
import os
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from kernel_run import BUDGET_BYTES, BUDGET_SECONDS, ROOT, Cost, MemoryMeter, kernel_environment
from nbval.plugin import IPyNbCell, IPyNbFile
from near_text import NearText

ALLOWANCE = 2  # the lanes run two notebooks at a time, so each has half of the machine, and machines are noisy
SANITISE = ROOT / "tests" / "nbval_sanitise.cfg"


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(
    file_path: Path, parent: pytest.Collector
) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
    """Where nbval is asked for and would collect a notebook, collect it our way."""
    found = yield
    return [
        CourseNotebook.from_parent(parent, path=file_path) if isinstance(collector, IPyNbFile) else collector
        for collector in found
    ]


class CourseNotebook(IPyNbFile):
    """A notebook under nbval, with a kernel like the builder's."""

    def setup(self) -> None:
        self.scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(kernel_environment(Path(self.scratch.name), before))
        self.meter = None
        try:
            super().setup()
        finally:
            os.environ.clear()
            os.environ.update(before)
        self.meter = MemoryMeter(self.kernel.km.provisioner.pid)

    def get_sanitize_files(self) -> list[str]:
        """Ours first, then the one that was named on the command line."""
        return list(dict.fromkeys([str(SANITISE), *super().get_sanitize_files()]))

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

    def collect(self) -> Iterator["CourseCell"]:
        for cell in super().collect():
            yield CourseCell.from_parent(
                self, name=cell.name, cell_num=cell.cell_num, cell=cell.cell, options=cell.options
            )


class CourseCell(IPyNbCell):
    """A cell whose output is compared by `near`."""

    def sanitize(self, s: object) -> object:
        return NearText(super().sanitize(s)) if isinstance(s, str) else s
