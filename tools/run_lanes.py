"""All lanes of `make test`, one after the other; a failing lane does not stop the next.

    python tools/run_lanes.py                    every lane
    python tools/run_lanes.py --lane solved      one lane (may be given several times)
    python tools/run_lanes.py --lessons 08 09    these lessons' lanes alone, by the start of their names
    python tools/run_lanes.py --full             "in step" runs every notebook once more and compares the pictures too

The quick lanes come first. The network is blocked in all of them. Notebooks run on the kernel `course-gpu` where there
is a GPU, else on `course-cpu`; `COURSE_DEVICE` decides over that. The last line is the total.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from build_notebooks import BuildError, lesson_paths
from kernel_run import CELL_TIMEOUT, NO_NETWORK, ROOT
from own_work import git_for_own_work, notebook_to_test
from system_browser import announcement

LANES = {
    "style": "ruff (format and lint), mypy, and who may import whom",
    "in step": "regenerating the notebooks from solutions/*.py changes nothing",
    "units": "ops, layers, models and all the rest: properties, bad input, equality with others",
    "variants": "each mistake is recognised by the function that defines it; other right answers are accepted",
    "solved": "solutions/*.ipynb run again under nbval; no fallback; every check says correct",
    "unsolved": "notebooks/*.ipynb run again under nbval; every check says not attempted; no solution inside",
    "browser": "JupyterLab in a headless browser: run what the widgets need, move them; answer an exercise",
}
OF_LESSONS = ("in step", "variants", "solved", "unsolved", "browser")  # the lanes that can be run for some lessons only
STYLE = {  # name: the command, found beside this Python
    "ruff format": ["ruff", "format", "--no-cache", "--check", "."],
    "ruff check": ["ruff", "check", "--no-cache", "."],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports"],
}
VARIANTS = "tests/exercises/test_variants.py"
NOTHING_RAN = 5  # pytest's status
TWO_WORKERS = ["-n", "2", "--dist", "loadscope"]  # by file, so that no notebook is split


@dataclass
class Result:
    """How a lane went."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def main(arguments: list[str] | None = None) -> int:
    """The command. Gives the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lane", action="append", choices=LANES, help="run this lane only")
    parser.add_argument(
        "--lessons", nargs="+", default=[], help="run these lessons' lanes only, without style and units"
    )
    parser.add_argument("--full", action="store_true", help="run every notebook once more in the lane 'in step'")
    options = parser.parse_args(arguments)
    try:
        lessons = [path.stem for path in lesson_paths(ROOT, options.lessons)] if options.lessons else []
    except BuildError as error:
        parser.error(str(error))
    lanes = options.lane or (OF_LESSONS if lessons else LANES)
    if "browser" in lanes and (said := announcement()):
        print(said, flush=True)
    results = {}
    with git_for_own_work(ROOT) as about_notebooks:
        print("".join(f"{sentence}\n" for sentence in about_notebooks), end="", flush=True)
        for lane in lanes:
            print(f"\n━━ {lane} ━━ {LANES[lane]}", flush=True)
            results[lane] = run_style() if lane == "style" else run_lane(lane, lessons, options.full)
            print(f"━━ {lane}: {results[lane]}, {results[lane].seconds:.0f} s", flush=True)
    print("\n" + "\n".join(f"{lane:10} {str(result):44} {result.seconds:6.0f} s" for lane, result in results.items()))
    total = Result()
    for result in results.values():
        total.passed += result.passed
        total.failed += result.failed
        total.skipped += result.skipped
        total.seconds += result.seconds
    print(f"{'all':10} {'':44} {total.seconds:6.0f} s\n{total}", flush=True)
    return 1 if total.failed else 0


def run_style() -> Result:
    """Run each tool of the lane "style", and show what the failing ones say."""
    result = Result()
    start = time.perf_counter()
    for name, command in STYLE.items():
        path = Path(sys.executable).with_name(command[0])
        done = subprocess.run(
            [path, *command[1:]], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        good = done.returncode == 0
        result.passed += good
        result.failed += not good
        print(f"{name}: {'passed' if good else 'FAILED'}" + ("" if good else f"\n{done.stdout.strip()}"), flush=True)
    result.seconds = time.perf_counter() - start
    return result


def run_lane(lane: str, lessons: Sequence[str] = (), full: bool = False) -> Result:
    """Run one lane's pytest, for all lessons or for those named; count what it reports.

    A lane in which nothing ran has failed. But the lessons that were named may have nothing to do in a browser.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        report, costs = Path(scratch, "report.xml"), Path(scratch, "costs.jsonl")
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, [str(NO_NETWORK), os.environ.get("PYTHONPATH")])),
            "COURSE_PROGRESS": str(Path(scratch, "progress.json")),
            "COURSE_COSTS": str(costs),
            "OMP_NUM_THREADS": "1",
            "MKL_NUM_THREADS": "1",
        }
        if full:
            environment["COURSE_LANES_FULL"] = "1"
        command = [sys.executable, "-m", "pytest", "-q", "-rs", "--import-mode=importlib", "-p", "no:cacheprovider"]
        command += [f"--junitxml={report}", *pytest_arguments(lane, lessons)]
        start = time.perf_counter()
        status = subprocess.run(command, cwd=ROOT, env=environment).returncode
        result = read_report(report)
        result.seconds = time.perf_counter() - start
        if costs.exists():
            print_costs(costs)
    if status == NOTHING_RAN and lane == "browser" and lessons:
        print("no widget in " + ", ".join(lessons))
    elif status != 0 and result.failed == 0:
        result.failed = 1
        why = ": it holds no test" if status == NOTHING_RAN else ""
        print(f"the lane {lane!r} ended with pytest's status {status}{why}")
    return result


def pytest_arguments(lane: str, lessons: Sequence[str] = ()) -> list[str]:
    """What to give to pytest for a lane, for all lessons or for those named."""
    chosen = ["-k", any_of(lessons)] if lessons else []
    match lane:
        case "in step":
            return [*chosen, "tests/notebooks/test_in_step.py"]
        case "units":
            elsewhere = ["tests/notebooks", "tests/browser", "tests/exercises/variants", VARIANTS]
            return [*TWO_WORKERS, "tests", *(f"--ignore={path}" for path in elsewhere)]
        case "variants":
            folders = sorted({f"lesson_{name[:2]}" for name in lessons})
            return ["-n", "2", "--dist", "worksteal", *(["-k", any_of(folders)] if lessons else []), VARIANTS]
        case "solved" | "unsolved":
            sources = [path for path in lesson_paths(ROOT) if not lessons or path.stem in lessons]
            notebooks = [notebook_to_test(source, solved=lane == "solved") for source in sources]
            return [
                *TWO_WORKERS,
                "--nbval",
                f"--nbval-cell-timeout={CELL_TIMEOUT}",
                f"--nbval-kernel-name={kernel_name()}",
                *chosen,
                f"tests/notebooks/test_{lane}.py",
                *(str(path.relative_to(ROOT)) for path in notebooks if path.exists()),
            ]
        case "browser":
            return [*chosen, "-s", "-v", "tests/browser"]
    raise ValueError(f"lane is {lane!r}; expected one of {', '.join(LANES)}")


def any_of(names: Iterable[str]) -> str:
    """The words for pytest's `-k` that choose the tests of these names."""
    return " or ".join(names)


def kernel_name() -> str:
    """The kernel for this machine: `course-gpu` where there is a GPU and COURSE_DEVICE does not say `cpu`."""
    wanted = os.environ.get("COURSE_DEVICE", "").strip().lower()
    if not wanted:
        question = "from lib.device import choose_device; print(choose_device().type)"
        wanted = subprocess.run(
            [sys.executable, "-c", question], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    return "course-cpu" if wanted == "cpu" else "course-gpu"


def read_report(report: Path) -> Result:
    """The counts in pytest's XML report; nothing at all if pytest did not come so far as to write one."""
    if not report.exists():
        return Result()
    suites = list(ElementTree.parse(report).getroot().iter("testsuite"))
    tests, failures, errors, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites) for name in ("tests", "failures", "errors", "skipped")
    )
    return Result(max(0, tests - failures - errors - skipped), failures + errors, skipped)


def print_costs(costs: Path) -> None:
    """What each notebook took, the dearest first."""
    rows = sorted(map(json.loads, costs.read_text(encoding="utf-8").splitlines()), key=lambda row: -row[1])
    for name, seconds, peak in rows:
        print(f"{name:44} {seconds:6.1f} s {peak / 1024**2:6.0f} MB")


if __name__ == "__main__":
    sys.exit(main())
