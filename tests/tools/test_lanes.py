"""The lanes can fail: texts that differ, notebooks that differ, and a lane that runs nothing."""

import os
import subprocess
import sys

import nbformat
import pytest
import run_lanes
from kernel_run import ROOT, MemoryMeter
from near_text import NearText, near


@pytest.mark.parametrize(
    ("now", "then", "alike"),
    [
        ("loss 0.1234", "loss 0.1235", True),  # one unit of the last place
        ("loss 0.12", "loss 0.14", False),
        ("loss 123.4", "loss 124.2", True),  # within 1 %
        ("loss 123.4", "loss 126.2", False),
        ("loss 9.99", "loss  10.00", True),  # the gap widens with the number
        ("x -0.000", "x 0.000", True),
        ("x -0.5", "x 0.5", False),
        ("1.2e-05", "1.3e-05", True),
        ("1.2e-05", "1.2e-04", False),
        ("shape (2, 3)", "shape (2, 4)", False),  # whole numbers are exact
        ("version 2.15.0", "version 2.15.1", False),
        ("layer4.1.conv2", "layer4.1.conv1", False),
        ("nan 0.1", "0.1 0.1", False),
        ("the cat 0.9", "the dog 0.9", False),
        ("0.5 0.5", "0.5", False),
        ("[0.1, 0.2]", "[0.1, 0.2]", True),
        ("tensor([1., 2.])", "tensor([1., 3.])", False),
        ("", "", True),
    ],
)
def test_words_exactly_numbers_nearly(now, then, alike):
    assert near(now, then) == near(then, now) == alike
    assert (NearText(now) == then) == alike != (NearText(now) != then)


@pytest.mark.parametrize(
    ("now", "then", "alike"),
    [
        ("289 windows ≈ 48.1 ms: ≈ 7 times", "289 windows ≈ 9.3 ms: ≈ 21 times", True),
        ("288 windows ≈ 48.1 ms: ≈ 7 times", "289 windows ≈ 9.3 ms: ≈ 21 times", False),
        ("≈ -1%", "≈ 100%", True),
        ("≈ 1 s", "≈ 1 ms", False),
        ("≈ nan", "≈ 0.5", False),
        ("≈ 0.5", "0.5", False),
    ],
)
def test_measured_numbers_may_differ_and_words_may_not(now, then, alike):
    assert near(now, then) == near(then, now) == alike


def test_nbval_compares_notebooks(tmp_path):
    """The lane's own command on notebooks whose stored output is right, or not."""
    written = {
        "01_near": ("print(0.1235)", "0.1234\n", True),
        "02_word": ("print('cat')", "dog\n", False),
        "03_whole": ("print(1)", "2\n", False),
        "04_raises": ("1 / 0", None, False),
    }
    (tmp_path / "notebooks").mkdir()
    for name, (source, stored, _) in written.items():
        cell = nbformat.v4.new_code_cell(source, execution_count=1)
        cell.outputs = [nbformat.v4.new_output("stream", text=stored)] if stored else []
        # A progress bar is stored in words of our own: nbval must find the kernel's equal to them.
        bar = nbformat.v4.new_code_cell("from tqdm.auto import tqdm\nfor _ in tqdm(range(3)): pass", execution_count=2)
        bar.outputs = [nbformat.v4.new_output("display_data", {"text/plain": " (a progress bar of 3 steps)"})]
        nbformat.write(nbformat.v4.new_notebook(cells=[cell, bar]), tmp_path / "notebooks" / f"{name}.ipynb")
    ours = [a for a in run_lanes.pytest_arguments("unsolved") if a not in run_lanes.TWO_WORKERS and ".ipynb" not in a]
    ours = [a.replace("test_unsolved.py", "test_unsolved.py::test_there_are_lessons") for a in ours]
    costs = tmp_path / "costs.jsonl"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-rA",
            "--import-mode=importlib",
            "-p",
            "no:cacheprovider",
            f"--rootdir={tmp_path}",
            *ours,
            *sorted(map(str, (tmp_path / "notebooks").glob("*.ipynb"))),
        ],
        cwd=ROOT,
        env={**os.environ, "COURSE_COSTS": str(costs)},
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    for name, (_, _, passes) in written.items():
        about = [line for line in lines if f"{name}.ipynb::Cell" in line]
        results = [line.split()[0] for line in about if line.startswith(("PASSED", "FAILED"))]
        assert sorted(results) == (["PASSED", "PASSED"] if passes else ["FAILED", "PASSED"]), done.stdout
        assert f"notebooks/{name}.ipynb" in costs.read_text()


def test_a_lane_that_holds_no_test_has_failed(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(run_lanes, "pytest_arguments", lambda lane: [str(tmp_path)])
    assert run_lanes.main(["--lane", "units"]) == 1
    assert capfd.readouterr().out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_counts_are_pytests_own(monkeypatch, tmp_path, capfd):
    (tmp_path / "test_x.py").write_text(
        "import pytest\n"
        "@pytest.mark.parametrize('i', range(5))\n"
        "def test_a(i):\n    if i == 4:\n        pytest.skip('why not')\n    assert i != 3\n"
        "@pytest.fixture\ndef broken():\n    raise OSError\n"
        "def test_b(broken): pass\n"
    )
    monkeypatch.setattr(run_lanes, "pytest_arguments", lambda lane: [str(tmp_path)])
    assert run_lanes.main(["--lane", "units"]) == 1
    said = capfd.readouterr().out
    assert said.splitlines()[-1] == "3 passed, 2 failed, 1 skipped" and "why not" in said


@pytest.mark.parametrize(("device", "kernel"), [("cpu", "course-cpu"), ("cuda", "course-gpu"), ("mps", "course-gpu")])
def test_course_device_chooses_the_kernel(monkeypatch, device, kernel):
    monkeypatch.setenv("COURSE_DEVICE", device)
    assert run_lanes.kernel_name() == kernel


def test_the_meter_sees_the_peak():
    code = "import time; x = bytearray(300 * 2**20); time.sleep(1); del x; time.sleep(0.5)"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        meter = MemoryMeter(process.pid)
        process.wait()
        meter.stop()
    assert 300 * 2**20 < meter.peak_bytes < 400 * 2**20 and 1.4 < meter.seconds < 20
