"""The first contact: what `make install` does on a good day, and the one sentence it has for each bad one."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tiny_course import REPOSITORY, Course


def one_sentence(result: subprocess.CompletedProcess, *words: str) -> None:
    """The install failed, said so in one line that holds these words, and showed no traceback."""
    assert result.returncode == 1, result
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].endswith("."), result.stderr
    for word in words:
        assert word in lines[0]
    assert "Traceback" not in result.stdout + result.stderr


def installs(course: Course) -> None:
    """The next install builds something that works: nothing half-built was taken for built."""
    result = course.run()
    assert result.returncode == 0, result
    assert "is ready" in result.stdout
    assert course.stamp.exists() and not (course.root / ".venv" / "unfinished").exists()
    assert subprocess.run([course.python, "-c", "import lib"], cwd="/").returncode == 0


def test_second_install_is_instant_and_a_changed_list_is_noticed(course: Course):
    course.fake(quick=False)
    installs(course)
    log = course.root / "build" / "install.log"
    log.write_text("untouched")
    again = course.run()
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert log.read_text() == "untouched"  # pip was not even started
    (course.root / "constraints.txt").write_text("torch==9.9\n")
    assert "Updating" in course.run().stdout
    assert course.run().stdout == ""
    # An update that cannot reach the network leaves what was there, and is tried again.
    course.needs("package-of-another-day")
    one_sentence(course.run(), "network")
    assert subprocess.run([course.python, "-c", "import lib"], cwd="/").returncode == 0
    course.needs()
    assert course.run().stdout == ""


def test_without_network_an_environment_that_is_whole_is_used_as_it_is(course: Course):
    installs(course)
    stamp = course.stamp.read_text()
    project = course.root / "pyproject.toml"
    listed = project.read_text()
    project.write_text(listed.replace("requires = []", 'requires = ["backend-of-another-day"]'))
    for _ in range(2):  # it is tried each time
        result = course.run()
        assert result.returncode == 0 and "is ready" not in result.stdout
        assert "used without its update" in result.stderr and "could not reach the package index" in result.stderr
        assert len(result.stderr.splitlines()) == 1 and course.stamp.read_text() == stamp
    # One that lacks a package is not whole.
    project.write_text(project.read_text().replace("dependencies = []", 'dependencies = ["package-of-another-day"]'))
    one_sentence(course.run(), "could not reach the package index")
    project.write_text(listed)
    assert (course.run().returncode, course.run().stdout) == (0, "")


def test_python_too_old(course: Course):
    course.fake("sys.version_info = (3, 9, 2, 'final', 0)\n")
    one_sentence(course.run(), "needs Python 3.11 or newer", "is Python 3.9", "`make install PYTHON=")
    assert not (course.root / ".venv").exists()


def test_the_gate_parses_under_old_pythons_and_agrees_with_the_project():
    import tomllib

    source = (REPOSITORY / "tools" / "install.py").read_text()
    tree = ast.parse(source, feature_version=(3, 4))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    wanted = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["requires-python"]
    assert wanted == ">=3.11" and "OLDEST = (3, 11)" in source
    assert "OLDEST = (3, 11)" in (REPOSITORY / "tools" / "environment.py").read_text()


def test_no_venv_module(course: Course):
    course.fake("sys.modules['ensurepip'] = None")
    one_sentence(course.run(), "cannot make virtual environments", "apt install python3-venv")
    course.fake()
    installs(course)


def test_venv_module_fails(course: Course):
    broken = course.fakes / "python"
    broken.write_text("#!/bin/sh\necho 'ensurepip is not available' >&2; exit 1\n")
    broken.chmod(0o755)
    course.fake(f"sys._base_executable = {str(broken)!r}")
    one_sentence(course.run(), str(broken), "cannot make virtual environments")
    course.fake()
    installs(course)


def test_no_room_on_the_disk(course: Course):
    course.fake(free=3)
    if sys.platform == "linux":
        one_sentence(course.run(), "not enough room", "3.0 GB free", "TORCH_INDEX=https://download.pytorch.org/whl/cpu")
        small = course.run(TORCH_INDEX="http://127.0.0.1:9/whl/cpu")  # 3 GB hold this one
        assert small.stdout.startswith("Building")
    course.fake(free=0.1)
    one_sentence(course.run(TORCH_INDEX=""), "not enough room", "0.1 GB free")
    assert not course.stamp.exists()


def test_disk_fills_up_in_the_middle(course: Course):
    course.mood("raise OSError(28, 'No space left on device')")
    one_sentence(course.run(), "the disk is full")
    course.mood("")
    installs(course)


def test_no_network(course: Course):
    course.needs("package-of-another-day")
    one_sentence(course.run(), "could not reach the package index", "network")
    assert not course.stamp.exists() and (course.root / ".venv" / "unfinished").exists()


def test_no_package_for_this_python(course: Course):
    course.needs("package-of-another-day==3")
    one_sentence(course.run(PIP_NO_INDEX="1"), "make install CONSTRAINTS=", f"Python 3.{sys.version_info[1]}")


def test_killed_in_the_middle(course: Course):
    course.mood("import time; (ROOT / 'reached').touch(); time.sleep(60)")
    for number in (signal.SIGINT, signal.SIGKILL):
        process = course.start()
        reached = course.root / "reached"
        while not reached.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        reached.unlink()
        os.killpg(process.pid, number)
        out, err = process.communicate()
        assert process.returncode == (-9 if number == signal.SIGKILL else 130)
        assert "Traceback" not in err
        assert not course.stamp.exists()
    course.mood("")
    installs(course)


def test_two_at_once_build_once(course: Course):
    pair = [course.start(), course.start()]
    outputs = [process.communicate()[0] for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert sorted("Building" in output for output in outputs) == [False, True]
    assert course.run().stdout == ""


def test_moved_checkout_and_lost_python_are_rebuilt(course: Course):
    installs(course)
    course.root = course.root.rename(course.root.with_name("elsewhere"))
    assert "Building" in course.run().stdout
    where = [course.python, "-c", "import lib; print(lib.__file__)"]
    found = subprocess.run(where, cwd="/", capture_output=True, text=True)
    assert found.stdout.startswith(str(course.root))
    course.python.unlink()
    course.python.symlink_to("/nowhere/python3")
    assert "Building" in course.run().stdout
    assert course.run().stdout == ""


def test_an_environment_made_by_hand_is_taken_over(course: Course):
    (course.root / ".venv").mkdir()
    subprocess.run([course.copier, "-m", "venv", course.root / ".venv"], check=True)
    mine = course.root / ".venv" / "mine.txt"
    mine.touch()
    assert "Updating" in course.run().stdout
    assert course.stamp.exists() and mine.exists()


def test_choices_are_remembered_and_an_environment_that_does_not_start_is_not_stamped(course: Course):
    (course.root / "torchvision" / "__init__.py").write_text("raise RuntimeError('operator nms does not exist')")
    one_sentence(course.run(CONSTRAINTS=""), "do not start", "operator nms does not exist")
    assert not course.stamp.exists()
    (course.root / "torchvision" / "__init__.py").write_text("")
    (course.root / "constraints.txt").write_text("not a requirement at all\n")
    assert course.run(CONSTRAINTS="").returncode == 0
    assert json.loads(course.stamp.read_text())["constraints"] == ""
    assert course.run().stdout == ""  # the broken file is still not read
    one_sentence(course.run(CONSTRAINTS="lost.txt"), "lost.txt is missing")


def wheel(folder: Path, name: str, version: str) -> None:
    """Put a package that holds one empty module on the shelf of a package index."""
    import zipfile

    (folder / name).mkdir(parents=True)
    with zipfile.ZipFile(folder / name / f"{name}-{version}-py3-none-any.whl", "w") as file:
        about = f"{name}-{version}.dist-info"
        file.writestr(f"{name}_shelf.py", "")
        said = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nRequires-Dist: gone\n"
        file.writestr(f"{about}/METADATA", said)
        file.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any")
        file.writestr(f"{about}/RECORD", "")
    link = f"{name}-{version}-py3-none-any.whl"
    (folder / name / "index.html").write_text(f'<a href="{link.replace("+", "%2B")}">{link}</a>')


def test_torch_comes_from_the_named_index(course: Course, tmp_path: Path):
    shelf = tmp_path / "shelf" / "cpu"
    wheel(shelf, "torch", "2.15.0+cpu")
    wheel(shelf, "torchvision", "0.29.2+cpu")
    course.needs("torch>=2.11,!=2.13.*", "torchvision>=0.26")
    (course.root / "constraints.txt").write_text("torch==2.15.0\ntorchvision==0.29.2\n")
    # The rest then comes from the usual index, which here is out of reach: `gone`, which the two wheels want.
    one_sentence(course.run(TORCH_INDEX=shelf.as_uri()), "network")
    # It is remembered, although the build failed.
    one_sentence(course.run(), "network")
    installed = subprocess.run([course.python, "-m", "pip", "list"], capture_output=True, text=True).stdout
    assert "2.15.0+cpu" in installed and "0.29.2+cpu" in installed
