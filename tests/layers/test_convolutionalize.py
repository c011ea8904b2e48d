import pytest
import torch
from torch import nn

from lib.layers.convolutionalize import class_heatmap, flatten_fc_as_conv, linear_as_1x1_conv


@pytest.mark.parametrize("bias", [True, False])
def test_1x1_conv_is_the_linear_layer_at_every_cell(bias):
    torch.manual_seed(0)
    linear, features = nn.Linear(6, 4, bias=bias), torch.randn(2, 6, 3, 5)
    scores = linear_as_1x1_conv(linear)(features)
    assert scores.shape == (2, 4, 3, 5)
    torch.testing.assert_close(scores, linear(features.movedim(1, -1)).movedim(-1, 1))


@pytest.mark.parametrize("bias", [True, False])
def test_flattening_fc_equals_its_convolution_at_the_training_size_and_slides_beyond_it(bias):
    torch.manual_seed(0)
    fc, conv = nn.Linear(3 * 4 * 5, 7, bias=bias), None
    conv = flatten_fc_as_conv(fc, 3, 4, 5)
    large = torch.randn(2, 3, 6, 9)
    scores = conv(large)
    assert scores.shape == (2, 7, 3, 5)
    for row in range(3):
        for column in range(5):
            crop = large[:, :, row : row + 4, column : column + 5]
            torch.testing.assert_close(scores[:, :, row, column], fc(crop.flatten(1)))


def test_converted_layers_keep_their_own_copy_of_the_weights():
    linear = nn.Linear(3, 2)
    conv = linear_as_1x1_conv(linear)
    before = linear.weight.clone()
    with torch.no_grad():
        conv.weight.add_(1)
    assert torch.equal(linear.weight, before)
    assert conv.weight.requires_grad and conv.bias.requires_grad


def test_converted_layers_keep_the_dtype():
    assert linear_as_1x1_conv(nn.Linear(3, 2, dtype=torch.float64)).weight.dtype == torch.float64


@pytest.mark.parametrize("bias", [True, False])
def test_mean_of_the_heatmap_is_the_score_of_the_mean(bias):
    torch.manual_seed(0)
    classifier, features = nn.Linear(6, 4, bias=bias), torch.randn(2, 6, 3, 5)
    heat = class_heatmap(features, classifier, 2)
    assert heat.shape == (2, 3, 5)
    torch.testing.assert_close(heat.mean((1, 2)), classifier(features.mean((2, 3)))[:, 2])


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: linear_as_1x1_conv(nn.Conv2d(1, 1, 1)), "linear"),
        (lambda: flatten_fc_as_conv(nn.Linear(12, 2), 3, 2, 3), "fc"),
        (lambda: flatten_fc_as_conv(nn.Linear(12, 2), 3, 2, 0), "width"),
        (lambda: flatten_fc_as_conv("fc", 3, 2, 2), "fc"),
        (lambda: class_heatmap(torch.zeros(1, 5, 2, 2), nn.Linear(6, 4), 0), "features"),
        (lambda: class_heatmap(torch.zeros(6, 2, 2), nn.Linear(6, 4), 0), "features"),
        (lambda: class_heatmap(torch.zeros(1, 6, 2, 2), nn.Linear(6, 4), 4), "class_index"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
