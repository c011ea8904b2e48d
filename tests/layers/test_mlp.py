import pytest
import torch
from torch import nn

from lib.layers.mlp import MLP


def test_equals_linear_layers_with_relu_between_them():
    torch.manual_seed(0)
    ours = MLP(5, 7, 3, 3)
    theirs = nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 7), nn.ReLU(), nn.Linear(7, 3))
    assert list(ours.state_dict()) == [f"layers.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")]
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values())))
    x = torch.randn(2, 4, 5)
    torch.testing.assert_close(ours(x), theirs(x))


def test_one_layer_is_a_linear_layer():
    model, x = MLP(5, 7, 3, 1), torch.randn(2, 5)
    assert torch.equal(model(x), model.layers[0](x))


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="^num_layers "):
        MLP(5, 7, 3, 0)
