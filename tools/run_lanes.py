"""All lanes of `make test`, one after the other; a failing lane does not stop the next.

    python tools/run_lanes.py                 every lane
    python tools/run_lanes.py --lane solved   one lane (may be given several times)
    python tools/run_lanes.py --full          "in step" runs every notebook once more and compares the pictures too

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
from dataclasses import dataclass
from pathlib import Path

from kernel_run import CELL_TIMEOUT, NO_NETWORK, ROOT

LANES = {
    "in step": "regenerating the notebooks from solutions/*.py changes nothing",
    "units": "ops, layers, models and all the rest: properties, bad input, equality with others",
    "mutants": "each plausible wrong answer is rejected by its name, each right one accepted",
    "solved": "solutions/*.ipynb run again under nbval; no fallback; every check says correct",
    "unsolved": "notebooks/*.ipynb run again under nbval; every check says not attempted; no solution inside",
    "browser": "JupyterLab in a headless browser: run all, use the explorer, answer an exercise",
}
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
    parser.add_argument("--full", action="store_true", help="run every notebook once more in the lane 'in step'")
    options = parser.parse_args(arguments)
    results = {}
    for lane in options.lane or LANES:
        print(f"\n━━ {lane} ━━ {LANES[lane]}", flush=True)
        results[lane] = run_lane(lane, options.full)
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


def run_lane(lane: str, full: bool) -> Result:
    """Run one lane's pytest; count what it reports. A lane in which nothing ran has failed."""
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
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-rs",
            "--import-mode=importlib",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *pytest_arguments(lane),
        ]
        start = time.perf_counter()
        status = subprocess.run(command, cwd=ROOT, env=environment).returncode
        result = read_report(report)
        result.seconds = time.perf_counter() - start
        if costs.exists():
            print_costs(costs)
    if status != 0 and result.failed == 0:
        result.failed = 1
        print(f"the lane {lane!r} ended with pytest's status {status}" + (": it holds no test" if status == 5 else ""))
    return result


def pytest_arguments(lane: str) -> list[str]:
    """What to give to pytest for a lane."""
    nbval = ["--nbval", f"--nbval-cell-timeout={CELL_TIMEOUT}"]
    match lane:
        case "in step":
            return ["tests/notebooks/test_in_step.py"]
        case "units":
            ignored = ["tests/notebooks", "tests/browser", "tests/mutants", "tests/test_mutants.py"]
            return [*TWO_WORKERS, "tests", *(f"--ignore={path}" for path in ignored)]
        case "mutants":
            return ["-n", "2", "--dist", "worksteal", "tests/test_mutants.py"]
        case "solved" | "unsolved":
            folder = "solutions" if lane == "solved" else "notebooks"
            notebooks = sorted(str(path.relative_to(ROOT)) for path in (ROOT / folder).glob("[0-9][0-9]_*.ipynb"))
            return [
                *TWO_WORKERS,
                *nbval,
                f"--nbval-kernel-name={kernel_name()}",
                f"tests/notebooks/test_{lane}.py",
                *notebooks,
            ]
        case "browser":
            return ["-s", "-v", "tests/browser"]
    raise ValueError(f"lane is {lane!r}; expected one of {', '.join(LANES)}")


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
