"""Weights, pictures and targets with which a full-size detector is compared with torchvision's."""

import torch


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
