"""ResNet-50: the backbone under FCN, Faster R-CNN, RetinaNet, Mask R-CNN, DETR and MaskFormer.

Attribute names are torchvision's, so that its published weights load. Like torchvision's, the block has its stride on
the 3×3 convolution, not on the first 1×1 as in the paper. Source: He et al. 2016, "Deep Residual Learning for Image
Recognition", figure 5 and table 1; dilation in place of stride: Yu & Koltun 2016, "Multi-Scale Context Aggregation by
Dilated Convolutions". First used in lesson 03.
"""

from collections.abc import Callable

from torch import Tensor, nn

EXPANSION = 4  # a block's output has four times as many channels as its 3×3 convolution


class Bottleneck(nn.Module):
    """1×1 convolution (fewer channels), 3×3, 1×1 (more channels), and the input added to the result.

    Args:
        inplanes: channels in.
        planes: channels of the 3×3 convolution; out come 4 · planes.
        stride: of the 3×3 convolution.
        dilation: of the 3×3 convolution; it is padded by as much, so that it keeps the size.
        norm_layer: makes a normalisation from a number of channels.
    """

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        dilation: int = 1,
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        outplanes = planes * EXPANSION
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = norm_layer(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = norm_layer(planes)
        self.conv3 = nn.Conv2d(planes, outplanes, 1, bias=False)
        self.bn3 = norm_layer(outplanes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None  # the input as it is, where it has the right shape already
        if stride != 1 or inplanes != outplanes:
            shortcut = nn.Conv2d(inplanes, outplanes, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, norm_layer(outplanes))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inplanes, h, w) -> (B, 4 · planes, ceil(h / stride), ceil(w / stride))."""
        out = self.relu(self.bn1(self.conv1(x)))  # (B, planes, h, w)
        out = self.relu(self.bn2(self.conv2(out)))  # (B, planes, h / stride, w / stride)
        out = self.bn3(self.conv3(out))  # (B, 4 · planes, h / stride, w / stride)
        identity = x if self.downsample is None else self.downsample(x)
        return self.relu(out + identity)


class ResNet(nn.Module):
    """The convolutional part of a ResNet with bottleneck blocks: a picture in, the maps of its four stages out.

    Args:
        blocks: how many blocks each of the four stages has.
        replace_stride_with_dilation: for layer2, layer3 and layer4: keep the size of the map, and look further
            (dilation) where the stride would have made neighbours of distant cells.
        norm_layer: makes a normalisation from a number of channels.

    Raises:
        ValueError: not four stages, or not three choices about dilation.
    """

    def __init__(
        self,
        blocks: tuple[int, int, int, int],
        replace_stride_with_dilation: tuple[bool, bool, bool] = (False, False, False),
        norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ):
        super().__init__()
        if len(blocks) != 4:
            raise ValueError(f"blocks is {blocks!r}; expected one number of blocks for each of four stages")
        if len(replace_stride_with_dilation) != 3:
            raise ValueError(
                f"replace_stride_with_dilation is {replace_stride_with_dilation!r}; expected three "
                "choices, for layer2, layer3 and layer4"
            )
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = norm_layer(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        dilation = 1
        self.layer1 = _stage(64, 64, blocks[0], 1, dilation, dilation, norm_layer)
        for number, dilate in enumerate(replace_stride_with_dilation, start=2):
            planes, before = 32 * 2**number, dilation  # planes: 128, 256, 512
            dilation *= 2 if dilate else 1
            stage = _stage(planes * 2, planes, blocks[number - 1], 1 if dilate else 2, before, dilation, norm_layer)
            self.add_module(f"layer{number}", stage)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """The four maps by name, for pictures (B, 3, H, W), normalised as in training. Sizes are rounded up.

        "layer1" (B, 256, H/4, W/4), "layer2" (B, 512, H/8, W/8), "layer3" (B, 1024, H/16, W/16) and "layer4"
        (B, 2048, H/32, W/32); a stage whose stride is replaced keeps the size of the one before it.

        Raises:
            ValueError: `x` is not (B, 3, H, W).
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"x is {tuple(x.shape)}; expected (B, 3, H, W)")
        x = self.relu(self.bn1(self.conv1(x)))  # (B, 64, H/2, W/2)
        x = self.maxpool(x)  # (B, 64, H/4, W/4)
        maps = {}
        for name in ("layer1", "layer2", "layer3", "layer4"):
            x = maps[name] = self.get_submodule(name)(x)
        return maps


def _stage(
    inplanes: int,
    planes: int,
    blocks: int,
    stride: int,
    first_dilation: int,
    dilation: int,
    norm_layer: Callable[[int], nn.Module],
) -> nn.Sequential:
    """Several blocks, of which the first changes size and channels; it still has the dilation of the stage before."""
    first = Bottleneck(inplanes, planes, stride, first_dilation, norm_layer)
    others = [Bottleneck(planes * EXPANSION, planes, 1, dilation, norm_layer) for _ in range(blocks - 1)]
    return nn.Sequential(first, *others)


def resnet50(
    replace_stride_with_dilation: tuple[bool, bool, bool] = (False, False, False),
    norm_layer: Callable[[int], nn.Module] = nn.BatchNorm2d,
) -> ResNet:
    """ResNet-50 without its pooling and its classifier, random weights. torchvision's fit, apart from `fc.*`."""
    return ResNet((3, 4, 6, 3), replace_stride_with_dilation, norm_layer)
