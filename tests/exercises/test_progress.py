import json
import os
import subprocess
import sys
import time

import pytest

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
    assert "could not be read" in repr(progress())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(own_progress_file, cell):
    own_progress_file.parent.mkdir(mode=0o500)
    assert "could not be saved" in check(cell(RIGHT)).message


def test_nothing_is_left_behind(own_progress_file):
    record("count_pixels", correct=True)
    assert [file.name for file in own_progress_file.parent.iterdir()] == ["progress.json"]


def test_a_write_that_fails_leaves_the_old_file(own_progress_file, monkeypatch):
    record("count_pixels", correct=False)
    before = own_progress_file.read_text()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    assert "No space left" in record("count_pixels", correct=True)
    assert own_progress_file.read_text() == before
    assert [file.name for file in own_progress_file.parent.iterdir()] == ["progress.json"]


def test_a_lock_left_behind_is_broken_and_a_fresh_one_respected(own_progress_file, monkeypatch):
    monkeypatch.setattr(MODULE, "LOCK_PATIENCE", 0.1)
    own_progress_file.parent.mkdir()
    lock = own_progress_file.with_name("progress.json.lock")
    lock.touch()
    assert "another notebook" in record("count_pixels", correct=True)
    os.utime(lock, (time.time() - 60, time.time() - 60))
    assert record("count_pixels", correct=True) == ""
    assert own_progress_file.exists() and not lock.exists()


def test_several_notebooks_at_once(own_progress_file):
    source = (
        "import sys\nfrom dataclasses import replace\nfrom lib.exercises.catalogue import find\n"
        "from lib.exercises.progress import record\n"
        "for i in range(20):\n"
        "    notice = record(replace(find('count_pixels'), name=f'exercise_{sys.argv[1]}_{i}'), correct=True)\n"
        "    assert notice == '', notice\n"
    )
    running = [subprocess.Popen([sys.executable, "-c", source, str(number)]) for number in range(3)]
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    assert len(json.loads(own_progress_file.read_text())["exercises"]) == 60
