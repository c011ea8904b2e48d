"""Weights, pictures and targets with which a full-size detector is compared with torchvision's."""

import torch
from torch import nn

from lib.layers.backbone import Backbone


def redraw(model, generator):
    """New random weights everywhere, statistics and biases too, such that numbers neither die out nor explode."""
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=generator)
        elif tensor.ndim == 1 and "bn" in name + "downsample.1" * ("downsample.1" in name) and name.endswith("weight"):
            tensor.uniform_(0.4, 0.8, generator=generator)
        elif tensor.ndim == 1:
            tensor.normal_(0, 0.1, generator=generator)
        elif tensor.ndim >= 2:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)


@torch.no_grad()
def centre(layer, inputs, spread):
    """Give the answers of a layer mean 0 over all places and a spread."""
    dimensions = (0,) if layer.weight.ndim == 2 else (0, 2, 3)
    answers = layer(inputs)
    shape = (-1,) + (1,) * (layer.weight.ndim - 1)
    deviation = answers.std(dimensions)
    layer.weight *= (spread / deviation).view(shape)
    layer.bias.zero_()
    layer.bias -= layer(inputs).mean(dimensions)


@torch.no_grad()
def redraw_two_stages(theirs, images):
    """New random weights for torchvision's detector with two stages, which then finds something on `images`.

    Returns its pictures, maps and proposals: what a further head is to be centred on.
    """
    redraw(theirs, torch.Generator().manual_seed(0))
    heads = theirs.roi_heads
    batch, _ = theirs.transform(images)
    features = theirs.backbone(batch.tensors)
    hidden = theirs.rpn.head.conv(features["1"])
    centre(theirs.rpn.head.cls_logits, hidden, 2.0)
    centre(theirs.rpn.head.bbox_pred, hidden, 0.3)
    proposals, _ = theirs.rpn(batch, features)
    regions = heads.box_head(heads.box_roi_pool(features, proposals, batch.image_sizes))
    centre(heads.box_predictor.cls_score, regions, 3.0)
    centre(heads.box_predictor.bbox_pred, regions, 1.0)
    return batch, features, proposals


def equal_maps(features, their_features, names):
    """The maps bear these names, hold something, and are equal."""
    assert list(features) == list(their_features) == names
    for name, expected in their_features.items():
        assert expected.std() > 0.01, "an all but constant map would prove nothing"
        close(features[name], expected)


def close(ours, theirs, tolerance=1e-5):
    """Equal up to `tolerance` times the largest number."""
    assert ours.shape == theirs.shape
    assert ((ours - theirs).abs().max() / theirs.abs().max()).item() < tolerance


def some_pictures():
    """A light and a dark picture of different sizes."""
    generator = torch.Generator().manual_seed(1)
    rough = torch.rand(2, 3, 6, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(rough, (150, 200), mode="bicubic").clamp(0, 1)
    return [smooth[0], smooth[1, :, 20:, 70:]]


def some_targets():
    """What might be on `some_pictures`."""
    return [
        {
            "boxes": torch.tensor([[20.0, 30, 90, 120], [100, 10, 190, 100], [5, 5, 30, 40]]),
            "labels": torch.tensor([3, 88, 1]),
        },
        {"boxes": torch.tensor([[40.0, 20, 110, 100]]), "labels": torch.tensor([17])},
    ]


@torch.no_grad()
def redraw_transformer(model, seed=0):
    """New random weights everywhere in a transformer, also in what begins at zero: places, biases, relative places.

    Looks of the two-way decoder are not too sharp, or else they would make rounding errors large.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if tensor.ndim == 1 and name.endswith("weight"):  # of a normalisation
            tensor.uniform_(0.5, 1.5, generator=generator)
        elif tensor.ndim == 1 or "pos" in name or "embed.weight" in name or "token" in name:
            tensor.normal_(0, 0.3, generator=generator)
        else:
            tensor.normal_(0, (1.5 / tensor[0].numel()) ** 0.5, generator=generator)
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensor.mul_(0.5)


class Patches(Backbone):
    """A backbone whose cells do not see each other: so no padding leaks into a picture."""

    out_channels = 5

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 5, 8, stride=8)

    def forward(self, x):
        return {"0": self.conv(x)}
