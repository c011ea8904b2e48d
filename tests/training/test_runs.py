import json

import pytest

from lib.training.runs import once


def test_a_run_is_made_once_and_written_down(tmp_path, capsys):
    made = []

    def make():
        made.append(len(made))
        return {"AP": 0.5, "seed": made[-1]}

    store = tmp_path / "runs.json"
    assert once(store, "a/0", make) == once(store, "a/0", make) == {"AP": 0.5, "seed": 0}
    assert once(store, "a/1", make)["seed"] == 1 and made == [0, 1]
    assert json.loads(store.read_text()) == {"a/0": {"AP": 0.5, "seed": 0}, "a/1": {"AP": 0.5, "seed": 1}}
    assert capsys.readouterr().out.count("\n") == 2


def test_what_was_made_before_stays_if_a_run_fails(tmp_path):
    store = tmp_path / "runs.json"
    once(store, "a", lambda: {"AP": 1})
    with pytest.raises(ZeroDivisionError):
        once(store, "b", lambda: {"AP": 1 / 0})
    assert json.loads(store.read_text()) == {"a": {"AP": 1}}
