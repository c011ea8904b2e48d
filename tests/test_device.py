import pytest
import torch

from lib.device import choose_device


def _machine_with(monkeypatch, cuda, mps):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize("cuda, mps, best", [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")])
def test_the_best_device_there_is(monkeypatch, cuda, mps, best):
    monkeypatch.delenv("COURSE_DEVICE", raising=False)
    _machine_with(monkeypatch, cuda, mps)
    assert choose_device() == torch.device(best)


def test_the_environment_decides(monkeypatch):
    _machine_with(monkeypatch, cuda=True, mps=False)
    monkeypatch.setenv("COURSE_DEVICE", " CPU ")
    assert choose_device() == torch.device("cpu")


@pytest.mark.parametrize("wanted", ["tpu", "cuda"])
def test_a_device_that_is_not_there_is_named(monkeypatch, wanted):
    _machine_with(monkeypatch, cuda=False, mps=False)
    monkeypatch.setenv("COURSE_DEVICE", wanted)
    with pytest.raises(ValueError, match=f"COURSE_DEVICE is '{wanted}'"):
        choose_device()
