"""The lanes can fail: texts that differ, notebooks that differ, and a lane that runs nothing."""

import subprocess
import sys
from pathlib import Path

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
    monkeypatch.setattr(run_lanes, "pytest_arguments", lambda lane, lessons: [str(tmp_path)])
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
    monkeypatch.setattr(run_lanes, "pytest_arguments", lambda lane, lessons: [str(tmp_path)])
    assert run_lanes.main(["--lane", "units"]) == 1
    said = capfd.readouterr().out
    assert said.splitlines()[-1] == "3 passed, 2 failed, 1 skipped" and "why not" in said


def test_a_lane_of_one_lesson_may_have_nothing_to_do_in_a_browser_and_nowhere_else(monkeypatch, tmp_path, capfd):
    monkeypatch.setattr(run_lanes, "pytest_arguments", lambda lane, lessons: [str(tmp_path)])
    first = run_lanes.lesson_paths(run_lanes.ROOT)[0].stem
    assert run_lanes.main(["--lane", "browser", "--lessons", first[:2]]) == 0
    assert f"no widget in {first}" in capfd.readouterr().out
    assert run_lanes.main(["--lane", "solved", "--lessons", first[:2]]) == 1
    assert run_lanes.main(["--lane", "browser"]) == 1


def test_some_lessons_lanes_leave_out_the_others(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(run_lanes, "kernel_name", lambda: "course-cpu")
    monkeypatch.setattr(run_lanes, "run_lane", lambda *given: asked.append(given) or run_lanes.Result(passed=1))
    assert run_lanes.main(["--lessons", "00", "01"]) == 0
    assert [lane for lane, *_ in asked] == ["in step", "variants", "solved", "unsolved", "browser"]
    names = ["00_start_here", "01_fc_vs_1x1_conv"]
    for lane, lessons, _ in asked:
        arguments = run_lanes.pytest_arguments(lane, lessons)
        assert lessons == names
        assert arguments[arguments.index("-k") + 1] in ("lesson_00 or lesson_01", " or ".join(names))
        notebooks = [argument for argument in arguments if argument.endswith(".ipynb")]
        assert len(notebooks) == (2 if lane in ("solved", "unsolved") else 0)
    with pytest.raises(SystemExit):
        run_lanes.main(["--lessons", "99"])
    assert "starts with '99'" in capsys.readouterr().err


def test_each_tool_of_the_style_lane_counts_and_a_failing_one_is_heard(monkeypatch, tmp_path, capsys):
    python = Path(sys.executable).name
    (tmp_path / "bad.py").write_text("import os\n")
    monkeypatch.setattr(run_lanes, "ROOT", tmp_path)
    monkeypatch.setattr(
        run_lanes,
        "STYLE",
        {
            "good": [python, "-c", "print('all is well')"],
            "bad": [python, "-c", "import sys; sys.exit('line 7 is odd')"],
            "ruff check": run_lanes.STYLE["ruff check"],
        },
    )
    assert run_lanes.main(["--lane", "style"]) == 1
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == "1 passed, 2 failed, 0 skipped"
    assert "good: passed" in said and "all is well" not in said
    assert "line 7 is odd" in said and "F401" in said


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
