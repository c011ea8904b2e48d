"""Running a notebook the way the lanes run it: no network, nobody's own settings, progress of its own; and measured."""

import os
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NO_NETWORK = ROOT / "tests" / "no_network"
CELL_TIMEOUT = 300  # seconds
BUDGET_SECONDS, BUDGET_BYTES = 60, 2 * 1024**3  # of one lesson, on two cores


@dataclass(frozen=True)
class Cost:
    """What running a notebook took."""

    seconds: float
    peak_bytes: int

    def __str__(self) -> str:
        return f"{self.seconds:5.1f} s, {self.peak_bytes / 1024**2:5.0f} MB"


class MemoryMeter:
    """Watches a process and its children until told to stop: they took `peak_bytes` at most, in so many `seconds`.

    Memory that several processes share is counted once where the system can tell (Linux).
    """

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self.seconds = 0.0
        self._start = time.perf_counter()
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching. The first call counts."""
        if not self._over.is_set():
            self.seconds = time.perf_counter() - self._start
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        largest = 0  # resident memory, shared or not, is quick to ask for; what is their own costs a tenth of a core
        while True:
            try:
                watched = [self._process, *self._process.children(recursive=True)]
                resident = sum(process.memory_info().rss for process in watched)
                if resident > largest:
                    largest = resident
                    self.peak_bytes = max(self.peak_bytes, sum(map(_memory, watched)))
            except psutil.Error:
                pass  # a process ended while it was asked
            if self._over.wait(0.25):
                return


def _memory(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except (AttributeError, psutil.AccessDenied):
        return process.memory_info().rss


def kernel_environment(scratch: Path, before: Mapping[str, str]) -> dict[str, str]:
    """The environment of a notebook's kernel, made from `before`; `scratch` is an empty folder for this run alone.

    One thread for each kernel: two run at a time, and sums come out the same on machines with more cores. No bar
    while toyworld renders: whether it appears depends on what is in the cache already. What a solved notebook needs
    beyond that, it says itself, in `lesson_source.SETTINGS`.
    """
    behind = [path for path in before.get("PYTHONPATH", "").split(os.pathsep) if path not in ("", str(NO_NETWORK))]
    environment = dict(before) | {
        "PYTHONPATH": os.pathsep.join([str(NO_NETWORK), *behind]),
        "COURSE_PROGRESS": str(scratch / "progress.json"),
        "IPYTHONDIR": str(scratch / "ipython"),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
    }
    environment.pop("COURSE_NO_FALLBACK", None)
    return environment


class CellRaised(Exception):
    """A cell of a notebook raised, hung, or killed the kernel. `index` counts the notebook's cells from 0."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


def execute(notebook: NotebookNode, kernel: str, folder: Path) -> Cost:
    """Run a notebook's cells in order, in place, with `folder` as the working directory.

    Raises:
        CellRaised: at the first cell that fails.
    """
    at = 0

    def remember(cell: NotebookNode, cell_index: int) -> None:
        nonlocal at
        at = cell_index

    client = NotebookClient(
        notebook,
        kernel_name=kernel,
        resources={"metadata": {"path": str(folder)}},
        timeout=CELL_TIMEOUT,
        store_widget_state=False,
        record_timing=False,
        coalesce_streams=True,
        on_cell_start=remember,
    )
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        meter = None
        complaints = open(Path(scratch, "stderr"), "w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        try:
            with client.setup_kernel(env=kernel_environment(Path(scratch), os.environ), stderr=complaints):
                meter = MemoryMeter(client.km.provisioner.pid)
                for index, cell in enumerate(notebook.cells):
                    client.execute_cell(cell, index)
                meter.stop()
            return Cost(meter.seconds, meter.peak_bytes)
        except CellExecutionError as error:
            raise CellRaised(at, f"{error.ename}: {error.evalue}") from None
        except CellTimeoutError:
            raise CellRaised(at, f"the cell did not end within {CELL_TIMEOUT} seconds") from None
        except DeadKernelError:
            complaints.seek(0)
            raise CellRaised(at, f"the kernel died: {complaints.read()[-1000:].strip()}") from None
        finally:
            complaints.close()
            if meter is not None:
                meter.stop()
