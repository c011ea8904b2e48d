"""Fully connected layers rewritten as convolutions, so that a classifier answers at every place of a picture.

Source: Long, Shelhamer & Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation", section 3.1.
Lesson 01 builds each of these by hand.
"""

import torch
from torch import nn

from lib.ops.checks import check_whole


def linear_as_1x1_conv(linear: nn.Linear) -> nn.Conv2d:
    """The same layer, applied at every cell of a feature map instead of to one vector.

    Args:
        linear: C features in, K scores out; weight (K, C).

    Returns:
        A 1×1 convolution from C to K channels, weight (K, C, 1, 1), with its own copy of the parameters, on the
        same device and of the same dtype.

    Raises:
        ValueError: `linear` is not an `nn.Linear`.
    """
    _need_linear("linear", linear)
    return flatten_fc_as_conv(linear, linear.in_features, 1, 1)


def flatten_fc_as_conv(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    """A layer that reads a whole flattened (channels, height, width) map, as a convolution with that map's size.

    On a map of just this size the kernel fits once, and the answer is (B, K, 1, 1): the old one. On a larger map it
    slides, and answers once for every position.

    Args:
        fc: channels · height · width features in, in the order of `torch.flatten` (channel by channel, row by row),
            K out.
        channels, height, width: the map that used to be flattened.

    Returns:
        A convolution with weight (K, channels, height, width), with its own copy of the parameters.

    Raises:
        ValueError: `fc` is not an `nn.Linear`, or does not take channels · height · width features.
    """
    _need_linear("fc", fc)
    for argument, size in (("channels", channels), ("height", height), ("width", width)):
        check_whole(argument, size, at_least=1)
    if fc.in_features != channels * height * width:
        raise ValueError(
            f"fc takes {fc.in_features} features; expected channels · height · width = "
            f"{channels} · {height} · {width} = {channels * height * width}"
        )
    conv = nn.Conv2d(
        channels,
        fc.out_features,
        (height, width),
        bias=fc.bias is not None,
        device=fc.weight.device,
        dtype=fc.weight.dtype,
    )
    with torch.no_grad():
        conv.weight.copy_(fc.weight.view(fc.out_features, channels, height, width))  # (K, C·h·w) -> (K, C, h, w)
        if fc.bias is not None and conv.bias is not None:
            conv.bias.copy_(fc.bias)
    return conv


def class_heatmap(features: torch.Tensor, classifier: nn.Linear, class_index: int) -> torch.Tensor:
    """The score of one class at every cell of a feature map (its "class activation map", with the bias).

    Averaged over the cells, it is the score that the classifier gives to the averaged features.

    Args:
        features: (B, C, h, w), the map just before global average pooling.
        classifier: the linear layer after the pooling, C in, K out.
        class_index: which of the K classes.

    Returns:
        (B, h, w) scores (logits, before any softmax).

    Raises:
        ValueError: `features` is not (B, C, h, w) with the classifier's C, or there is no class of that index.

    Source: Zhou et al. 2016, "Learning Deep Features for Discriminative Localization", equation 2.
    """
    _need_linear("classifier", classifier)
    if features.ndim != 4 or features.shape[1] != classifier.in_features:
        raise ValueError(f"features is {tuple(features.shape)}; expected (B, {classifier.in_features}, h, w)")
    if not 0 <= class_index < classifier.out_features:
        raise ValueError(f"class_index is {class_index}; expected 0..{classifier.out_features - 1}")
    weight = classifier.weight[class_index].view(1, -1, 1, 1)  # (1, C, 1, 1)
    scores = (features * weight).sum(dim=1)  # (B, h, w)
    return scores if classifier.bias is None else scores + classifier.bias[class_index]


def _need_linear(argument: str, layer: object) -> None:
    if not isinstance(layer, nn.Linear):
        raise ValueError(f"{argument} is a {type(layer).__name__}; expected an nn.Linear")
