import pytest
from torch import nn

from lib.training.modes import in_eval_mode


def network():
    """In training, with a frozen part that is not."""
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU())).train()
    model[1].eval()
    return model


def modes(model):
    return [module.training for module in model.modules()]


def test_each_module_comes_back_in_its_own_mode():
    model = network()
    before = modes(model)
    with in_eval_mode(model):
        assert not any(modes(model))
    assert modes(model) == before and any(before) and not all(before)


def test_modes_come_back_after_an_error_and_whatever_is_set_inside():
    model = network()
    before = modes(model)
    with pytest.raises(KeyError), in_eval_mode(model):
        model.train()
        raise KeyError
    assert modes(model) == before
