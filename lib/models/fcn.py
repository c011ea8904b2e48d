"""FCN: a classifier turned into a convolution, its scores upsampled and added to those of finer maps (lesson 03).

Source: Long, Shelhamer & Darrell 2015, "Fully Convolutional Networks for Semantic Segmentation", sections 3 and 4.
First the paper's FCN-32s, 16s and 8s, with the layer names of its Caffe code, over a small backbone of ours, and an
FCN-4s that the paper does not have; then the version with a ResNet-50 that torchvision publishes.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.layers.conv_block import conv_block
from lib.layers.resnet import resnet50
from lib.ops.upsampling import bilinear_kernel


class BackboneMaps(NamedTuple):
    """The three maps that an FCN asks for its scores, named as in the paper."""

    pool3: Tensor  # (B, C3, H/8, W/8)
    pool4: Tensor  # (B, C4, H/16, W/16)
    fc7: Tensor  # (B, C7, H/32, W/32), after the former fully connected layers


class SmallBackbone(nn.Module):
    """A stand-in for VGG-16 that learns toyworld in a minute: five blocks, each halving the map, and two "fc" layers.

    The first two blocks halve with their stride and not with a pooling: nothing runs at full size. BatchNorm takes the
    place of ImageNet training. fc6 and fc7 are VGG's fully connected layers as convolutions (lesson 01), here 3×3 and
    1×1, padded to keep the size. With width 16 it has 0.40 M parameters.

    Args:
        width: channels after the first block; after the others there are 2, 4, 5 and 7 times as many.
    """

    def __init__(self, width: int = 16):
        super().__init__()
        self.block1 = conv_block(3, width, kernel=4, stride=2)
        self.block2 = conv_block(width, 2 * width, kernel=4, stride=2)
        self.block3 = nn.Sequential(conv_block(2 * width, 4 * width), conv_block(4 * width, 4 * width), nn.MaxPool2d(2))
        self.block4 = nn.Sequential(conv_block(4 * width, 5 * width), conv_block(5 * width, 5 * width), nn.MaxPool2d(2))
        self.block5 = nn.Sequential(conv_block(5 * width, 7 * width), nn.MaxPool2d(2))
        self.fc6 = conv_block(7 * width, 8 * width)
        self.fc7 = conv_block(8 * width, 8 * width, kernel=1)
        self.channels = (4 * width, 5 * width, 8 * width)  # of pool3, pool4 and fc7
        self.pool2_channels = 2 * width

    def forward(self, x: Tensor) -> BackboneMaps:
        """Pictures (B, 3, H, W), with multiples of 32 for H and W, into maps at strides 8, 16 and 32."""
        return self.from_pool2(self.pool2(x))

    def pool2(self, x: Tensor) -> Tensor:
        """The first two blocks: (B, 3, H, W) -> (B, 2·width, H/4, W/4). FCN-4s alone looks at this map."""
        return self.block2(self.block1(x))

    def from_pool2(self, pool2: Tensor) -> BackboneMaps:
        """The other blocks, from the map that `pool2` gives."""
        pool3 = self.block3(pool2)  # (B, 4·width, H/8, W/8)
        pool4 = self.block4(pool3)  # (B, 5·width, H/16, W/16)
        pool5 = self.block5(pool4)  # (B, 7·width, H/32, W/32)
        return BackboneMaps(pool3, pool4, self.fc7(self.fc6(pool5)))


class DilatedBackbone(SmallBackbone):
    """`SmallBackbone` without its last two halvings: the same layers and weights, all maps from block 3 on at stride 8.

    Where a map is not halved, the windows after it are spread instead (dilation 2, then 4), so each cell of fc7 sees as
    far as before. Loaded with the weights of a `SmallBackbone`, cells 2, 6, 10, ... of fc7 have the features of that
    network's cells 0, 1, 2, ...; the others hold the same for the places in between. Source: section 3.2 of the FCN
    paper ("filter rarefaction"); Chen et al. 2015, "Semantic Image Segmentation with Deep Convolutional Nets and Fully
    Connected CRFs", who trained with it.

    Args:
        width: as in `SmallBackbone`.
    """

    def __init__(self, width: int = 16):
        super().__init__(width)
        self.block4[2] = dense_pool(dilation=1, before=0)  # each window is now centred 4 pixels beyond its cell,
        look_further(self.block5.get_submodule("0.0"), 2)
        self.block5[1] = dense_pool(dilation=2, before=2)  # and now 4 pixels before it: half a cell remains
        look_further(self.fc6[0], 4)

    def forward(self, x: Tensor) -> BackboneMaps:
        """Pictures (B, 3, H, W), with multiples of 8 for H and W, into three maps (B, C, H/8, W/8)."""
        return super().forward(x)


def look_further(conv: nn.Module, dilation: int) -> None:
    """Make a 3×3 convolution take cells that lie `dilation` apart; the size of its map stays."""
    assert isinstance(conv, nn.Conv2d)
    conv.dilation = conv.padding = (dilation, dilation)


def dense_pool(dilation: int, before: int) -> nn.Sequential:
    """2×2 max pooling that keeps the size: the larger of two cells that lie `dilation` apart, along both axes.

    Cell i takes i - before and i - before + dilation. What lies beyond the map is 0, the least that a ReLU can leave.
    """
    after = dilation - before
    return nn.Sequential(nn.ZeroPad2d((before, after, before, after)), nn.MaxPool2d(2, stride=1, dilation=dilation))


class FCN(nn.Module):
    """FCN-32s, 16s, 8s or 4s: class scores at stride 32, refined by those at 16, 8 and 4, upsampled to the pixels.

    The scores of a map come from a 1×1 convolution that starts at zero, as in the paper: a finer map changes nothing
    until it has learned something. Upsampling is by transposed convolutions that start as bilinear interpolation:
    those by 2 go on learning, the last one is fixed, again as in the paper.

    Any size of picture: the paper pads 100 pixels on all sides and cuts the surplus off. Here the picture is padded at
    the right and at the bottom to multiples of 32, by repeating its last column and row, and the scores are cut to its
    size. Along the four edges the fixed upsampling fades all scores towards zero alike (see `bilinear_kernel`); which
    class is the highest does not change.

    Args:
        backbone: takes pictures whose sides are multiples of 32, returns `BackboneMaps` with `backbone.channels`.
        num_classes: K.
        stride: of the finest map that is asked: 32, 16 or 8, or 4, one step beyond the paper (lesson 04 compares).

    Raises:
        ValueError: `stride` is not one of the four, or `num_classes` is not positive.
    """

    def __init__(self, backbone: SmallBackbone, num_classes: int, stride: int = 8):
        super().__init__()
        if stride not in (4, 8, 16, 32):
            raise ValueError(f"stride is {stride!r}; expected 32, 16, 8 or 4")
        if num_classes < 1:
            raise ValueError(f"num_classes is {num_classes}; expected at least 1")
        self.backbone, self.stride = backbone, stride
        pool3, pool4, fc7 = backbone.channels
        self.score_fr = score_layer(fc7, num_classes)
        if stride <= 16:
            self.upscore2 = bilinear_deconvolution(num_classes, 2)
            self.score_pool4 = score_layer(pool4, num_classes)
        if stride <= 8:
            self.upscore_pool4 = bilinear_deconvolution(num_classes, 2)
            self.score_pool3 = score_layer(pool3, num_classes)
        if stride == 4:
            self.upscore_pool3 = bilinear_deconvolution(num_classes, 2)
            self.score_pool2 = score_layer(backbone.pool2_channels, num_classes)
        self.upscore = FixedUpscore(num_classes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of every pixel: (B, 3, H, W) -> (B, K, H, W), no softmax.

        Raises:
            ValueError: `x` is not (B, 3, H, W) with at least one pixel.
        """
        if x.ndim != 4 or x.shape[1] != 3 or 0 in x.shape[2:]:
            raise ValueError(f"x is {tuple(x.shape)}; expected (B, 3, H, W)")
        height, width = x.shape[2:]
        x = F.pad(x, (0, -width % 32, 0, -height % 32), mode="replicate")  # sides up to multiples of 32
        pool2 = self.backbone.pool2(x) if self.stride == 4 else None  # (B, C2, H/4, W/4)
        maps = self.backbone(x) if pool2 is None else self.backbone.from_pool2(pool2)
        scores = self.score_fr(maps.fc7)  # (B, K, H/32, W/32)
        if self.stride <= 16:
            scores = self.upscore2(scores) + self.score_pool4(maps.pool4)  # (B, K, H/16, W/16)
        if self.stride <= 8:
            scores = self.upscore_pool4(scores) + self.score_pool3(maps.pool3)  # (B, K, H/8, W/8)
        if pool2 is not None:
            scores = self.upscore_pool3(scores) + self.score_pool2(pool2)  # (B, K, H/4, W/4)
        return self.upscore(scores)[:, :, :height, :width]  # (B, K, H, W)


class DilatedFCN(nn.Module):
    """The scores of a dilated backbone at stride 8, upsampled to the pixels: as fine as FCN-8s, without a skip.

    Layers are named as in `FCN`. For the comparison of lesson 03 a skip from pool3 can be added.

    Args:
        backbone: takes pictures whose sides are multiples of 8, returns `BackboneMaps` with pool3 to fc7 at stride 8.
        num_classes: K.
        skip: whether the scores of pool3 are added as well.
    """

    def __init__(self, backbone: DilatedBackbone, num_classes: int, skip: bool = False):
        super().__init__()
        self.backbone = backbone
        pool3, _, fc7 = backbone.channels
        self.score_fr = score_layer(fc7, num_classes)
        self.score_pool3 = score_layer(pool3, num_classes) if skip else None
        self.upscore = FixedUpscore(num_classes, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores of every pixel: (B, 3, H, W) -> (B, K, H, W), no softmax."""
        height, width = x.shape[2:]
        maps = self.backbone(F.pad(x, (0, -width % 8, 0, -height % 8), mode="replicate"))
        scores = self.score_fr(maps.fc7)  # (B, K, H/8, W/8)
        if self.score_pool3 is not None:
            scores = scores + self.score_pool3(maps.pool3)
        return self.upscore(scores)[:, :, :height, :width]  # (B, K, H, W)


def score_layer(channels: int, num_classes: int) -> nn.Conv2d:
    """The 1×1 convolution from a map to class scores; all zeros at the start (section 4.3)."""
    layer = nn.Conv2d(channels, num_classes, 1)
    for tensor in layer.parameters():  # weight and bias
        nn.init.zeros_(tensor)
    return layer


def bilinear_deconvolution(channels: int, factor: int) -> nn.ConvTranspose2d:
    """A transposed convolution that starts as bilinear upsampling by `factor`, each channel by itself (section 3.3)."""
    layer = nn.ConvTranspose2d(channels, channels, 2 * factor - factor % 2, factor, padding=factor // 2, bias=False)
    start_as_bilinear(layer, factor)
    return layer


def start_as_bilinear(layer: nn.ConvTranspose2d, factor: int) -> None:
    """Set the weights (from K, to K, k, k) so that each class is enlarged by itself, bilinearly; the rest are zero."""
    own = range(layer.in_channels)
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.weight[own, own] = bilinear_kernel(factor)


class FixedUpscore(nn.ConvTranspose2d):
    """The last upsampling, which is never trained: `bilinear_deconvolution`, several times as fast.

    Its weights are a buffer and no parameter, and keep the paper's shape (K, K, k, k). From one class to another they
    are zero and stay so: only the K kernels from a class to itself are computed with.
    """

    def __init__(self, num_classes: int, factor: int):
        super().__init__(num_classes, num_classes, 2 * factor - factor % 2, factor, padding=factor // 2, bias=False)
        self.factor = factor
        start_as_bilinear(self, factor)
        weight = self.weight.detach()
        del self.weight
        self.register_buffer("weight", weight)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Scores (B, K, H, W) -> (B, K, factor · H, factor · W). Another `output_size` is not offered."""
        if output_size is not None:
            raise ValueError(f"output_size is {output_size}; expected None: the size is that of the input times factor")
        own = self.weight.diagonal().permute(2, 0, 1)[:, None]  # (K, 1, k, k)
        return F.conv_transpose2d(input, own, stride=self.factor, padding=self.factor // 2, groups=self.in_channels)


class FCNHead(nn.Sequential):
    """Scores from the map of a ResNet: 3×3 convolution to a quarter of the channels, then 1×1. torchvision's names."""

    def __init__(self, in_channels: int, num_classes: int):
        between = in_channels // 4
        super().__init__(
            nn.Conv2d(in_channels, between, 3, padding=1, bias=False),
            nn.BatchNorm2d(between),
            nn.ReLU(inplace=True),
            nn.Dropout(0.1),
            nn.Conv2d(between, num_classes, 1),
        )


class FCNResNet50(nn.Module):
    """FCN over a ResNet-50 whose last two stages look further (dilation) instead of halving the map: stride 8.

    No skips are needed then: one head, and bilinear upsampling. A second head on the stage before helps in training.

    Args:
        num_classes: K, background included.
        aux_loss: build the second head.
    """

    def __init__(self, num_classes: int, aux_loss: bool):
        super().__init__()
        self.backbone = resnet50(replace_stride_with_dilation=(False, True, True))
        self.classifier = FCNHead(2048, num_classes)
        self.aux_classifier = FCNHead(1024, num_classes) if aux_loss else None

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Class scores "out", and "aux" where there is a second head: (B, 3, H, W) -> (B, K, H, W) each, any size.

        Pictures are normalised by ImageNet's mean (0.485, 0.456, 0.406) and deviation (0.229, 0.224, 0.225).

        Raises:
            ValueError: `x` is not (B, 3, H, W).
        """
        maps = self.backbone(x)
        scores = {"out": self.classifier(maps["layer4"])}  # (B, K, H/8, W/8)
        if self.aux_classifier is not None:
            scores["aux"] = self.aux_classifier(maps["layer3"])  # (B, K, H/8, W/8)
        return {
            name: F.interpolate(score, x.shape[2:], mode="bilinear", align_corners=False)
            for name, score in scores.items()
        }  # (B, K, H, W)


def fcn_resnet50(num_classes: int = 21, aux_loss: bool = True) -> FCNResNet50:
    """torchvision's model of the same name, with random weights; its published weights load strictly.

    Those know the 20 classes of PASCAL VOC and background. They come with the second head: without `aux_loss` leave
    out what begins with "aux_classifier.".
    """
    return FCNResNet50(num_classes, aux_loss)
