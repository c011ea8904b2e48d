"""The lanes can fail: texts that differ, notebooks that differ, and a lane that runs nothing."""

import subprocess
import sys

import pytest
import run_lanes
from kernel_run import MemoryMeter
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
