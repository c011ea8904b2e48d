import linecache

import numpy
import pytest
import torch
from torch import nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake


@pytest.fixture(autouse=True)
def own_progress_file(tmp_path, monkeypatch):
    file = tmp_path / "progress" / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(file))
    monkeypatch.delenv("COURSE_NO_FALLBACK", raising=False)
    return file


@pytest.fixture
def cell():
    """Runs a source as a notebook does: a cell with a name and lines of its own. Returns its last function or class."""
    count = 0

    def run(source):
        nonlocal count
        count += 1
        name = f"<cell {count}>"
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        names = {"torch": torch, "nn": nn, "numpy": numpy}
        known = set(names)
        exec(compile(source, name, "exec"), names)
        return [value for key, value in names.items() if key not in known and key != "__builtins__"][-1]

    return run


def scaled(image, factor):
    """The function that the tests' exercise asks for."""
    return image * factor


@pytest.fixture
def exercise():
    """`scaled(image, factor)`: a map times a number, with its gradient."""

    def cases():
        small = torch.arange(1.0, 7.0).reshape(2, 3)
        waves = torch.arange(40.0).reshape(5, 8).sin()
        # torch.mul is another road to the same truth
        return [
            Case.from_truth(label, (image, factor), lambda image, factor: torch.mul(image, factor), ("image",))
            for label, image, factor in [("2 by 3, times 2", small, 2.0), ("5 by 8, times 3", waves, 3.0)]
        ]

    return Exercise(
        name="scaled",
        reference=scaled,
        cases=cases,
        mistakes=[
            Mistake("added", "The number was added.", wrong=lambda image, factor: image + factor),
            Mistake("all ones", "Only ones.", when=lambda got, expected, case: bool((got == 1).all())),
        ],
    )
