import json
import os
import stat
import subprocess
import sys

import pytest
from filelock import FileLock

from lib.exercises import check, progress
from lib.exercises.progress import record

RIGHT = "def count_pixels(image):\n    return image.shape[1] * image.shape[2]"


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"exercises": []}', '{"exercises": {"count_pixels": "maybe"}}', '{"exercises": {"a": 1}}',
     "\x00\x01", '{"exercises": null}', "[" * 100_000],
)  # fmt: skip
def test_a_damaged_file_is_set_aside(own_progress_file, content, cell):
    own_progress_file.parent.mkdir()
    own_progress_file.write_text(content)
    outcome = check(cell(RIGHT))
    assert outcome.status == "correct" and "progress.json.damaged" in outcome.message
    assert own_progress_file.with_name("progress.json.damaged").read_text() == content
    assert json.loads(own_progress_file.read_text())["exercises"] == {"count_pixels": "correct"}
    assert check(cell(RIGHT)).notice == ""


def test_a_damaged_file_is_noticed_by_progress_too(own_progress_file):
    own_progress_file.parent.mkdir()
    own_progress_file.write_bytes(b"\xff\xfe broken")
    assert "damaged" in repr(progress()) and own_progress_file.with_name("progress.json.damaged").exists()
    assert "damaged" not in repr(progress())


def test_exercises_of_other_versions_are_kept(own_progress_file):
    own_progress_file.parent.mkdir()
    own_progress_file.write_text('{"version": 1, "exercises": {"long_gone": "correct"}}')
    assert record("count_pixels", correct=False) == ""
    assert json.loads(own_progress_file.read_text())["exercises"] == {"count_pixels": "tried", "long_gone": "correct"}


def test_a_folder_that_cannot_be_written(monkeypatch, tmp_path, cell):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "file" / "progress.json"))
    outcome = check(cell(RIGHT))
    assert outcome.status == "correct" and "could not be saved" in outcome.message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(own_progress_file, cell):
    own_progress_file.parent.mkdir(mode=0o500)
    assert "could not be saved" in check(cell(RIGHT)).message


def names_in(folder):
    """The files of a folder but for the lock, which may stay."""
    return sorted(file.name for file in folder.iterdir() if file.suffix != ".lock")


def test_nothing_is_left_behind(own_progress_file):
    record("count_pixels", correct=True)
    assert names_in(own_progress_file.parent) == ["progress.json"]


def test_the_file_may_be_read_by_others(own_progress_file):
    before = os.umask(0o022)
    try:
        record("count_pixels", correct=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(own_progress_file.stat().st_mode) == 0o644


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="making a device needs root")
def test_a_device_is_never_renamed_nor_replaced(own_progress_file, cell):
    own_progress_file.parent.mkdir()
    os.mknod(own_progress_file, 0o666 | stat.S_IFCHR, os.makedev(1, 3))  # a null device of our own
    assert "no ordinary file" in repr(progress("00"))
    assert "no ordinary file" in check(cell(RIGHT)).message
    assert stat.S_ISCHR(own_progress_file.stat().st_mode) and names_in(own_progress_file.parent) == ["progress.json"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_never_read(own_progress_file, cell):
    own_progress_file.parent.mkdir()
    os.mkfifo(own_progress_file)
    assert "no ordinary file" in check(cell(RIGHT)).message


def test_behind_a_link_the_file_itself_is_written(own_progress_file, tmp_path, cell):
    own_progress_file.parent.mkdir()
    real = tmp_path / "real.json"
    real.write_text('{"version": 1, "exercises": {}}')
    own_progress_file.symlink_to(real)
    check(cell(RIGHT))
    assert own_progress_file.is_symlink()
    assert json.loads(real.read_text())["exercises"] == {"count_pixels": "correct"}


def test_a_byte_order_mark_is_no_damage(own_progress_file):
    own_progress_file.parent.mkdir()
    own_progress_file.write_bytes(b"\xef\xbb\xbf" + b'{"version": 1, "exercises": {"count_pixels": "correct"}}')
    assert "1 of 1 solved" in repr(progress("00"))


def test_a_file_of_a_newer_version_is_left_alone(own_progress_file, cell):
    own_progress_file.parent.mkdir()
    text = '{"version": 2, "exercises": {"count_pixels": {"state": "correct"}}}'
    own_progress_file.write_text(text)
    assert "newer version" in check(cell(RIGHT)).message
    assert own_progress_file.read_text() == text


def test_what_was_set_aside_before_is_kept(own_progress_file, cell):
    own_progress_file.parent.mkdir()
    for content in ("first", "second"):
        own_progress_file.write_text(content)
        check(cell(RIGHT))
    kept = [own_progress_file.with_name(f"progress.json.damaged{end}").read_text() for end in ("", ".2")]
    assert kept == ["first", "second"]


def test_a_write_that_fails_leaves_the_old_file(own_progress_file, monkeypatch):
    record("count_pixels", correct=False)
    before = own_progress_file.read_text()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    assert "No space left" in record("count_pixels", correct=True)
    assert own_progress_file.read_text() == before
    assert names_in(own_progress_file.parent) == ["progress.json"]


def test_another_notebook_that_writes_is_waited_for(own_progress_file, monkeypatch):
    monkeypatch.setitem(record.__globals__, "LOCK_PATIENCE", 0.1)
    own_progress_file.parent.mkdir()
    with FileLock(f"{own_progress_file}.lock"):
        assert "another notebook" in record("count_pixels", correct=True)
    assert record("count_pixels", correct=True) == ""
    assert own_progress_file.exists()


def test_several_notebooks_at_once(own_progress_file):
    source = (
        "import sys\n"
        "from lib.exercises.progress import record\n"
        "for i in range(20):\n"
        "    notice = record(f'exercise_{sys.argv[1]}_{i}', correct=True)\n"
        "    assert notice == '', notice\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", source, str(number)]) for number in range(3)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    assert len(json.loads(own_progress_file.read_text())["exercises"]) == 60
