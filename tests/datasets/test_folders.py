from pathlib import Path

from lib.datasets.folders import REPOSITORY, data_dir


def test_the_repository_has_the_data_unless_another_folder_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("COURSE_DATA", raising=False)
    assert data_dir() == REPOSITORY / "data" and data_dir().is_dir()
    monkeypatch.setenv("COURSE_DATA", "")
    assert data_dir() == REPOSITORY / "data"
    monkeypatch.setenv("COURSE_DATA", str(tmp_path / "mine"))
    assert data_dir() == tmp_path / "mine"


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COURSE_DATA", "~/course")
    assert data_dir() == Path.home() / "course"
    assert not list(tmp_path.iterdir())
