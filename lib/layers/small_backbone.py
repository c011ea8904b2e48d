"""The small backbones: pictures in, one map at stride 8 out (lessons 07 to 10), or one at each of three (lesson 11)."""

from torch import Tensor, nn

from lib.layers.backbone import Backbone
from lib.layers.conv_block import conv_block


class SmallBackbone(Backbone):
    """Three blocks that halve the map with their stride, then three that look further around.

    Made to learn toyworld in a minute from nothing: nothing runs at full size, and BatchNorm takes the place of
    ImageNet training (it also makes normalising the pictures beforehand unnecessary). One cell of the map sees 70 × 70
    pixels, more than the largest of toyworld's boxes. With width 24 it has 0.34 M parameters.

    Args:
        width: channels after the first block; after the second there are 2 times as many, from the third on 4 times.

    Attributes:
        out_channels: channels of the map.
        stride: pixels from one cell of the map to the next.
    """

    stride = 8

    def __init__(self, width: int = 24):
        super().__init__()
        self.out_channels = 4 * width
        self.stem = nn.Sequential(
            conv_block(3, width, kernel=4, stride=2),  # (B, width, H/2, W/2)
            conv_block(width, 2 * width, kernel=4, stride=2),  # (B, 2·width, H/4, W/4)
            conv_block(2 * width, 4 * width, kernel=4, stride=2),  # (B, 4·width, H/8, W/8)
        )
        self.body = nn.Sequential(*(conv_block(4 * width, 4 * width) for _ in range(3)))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Pictures (B, 3, H, W), 0..1, with multiples of 8 for H and W, into {"0": (B, 4 · width, H/8, W/8)}.

        The name "0" is the one that torchvision gives to the first map of a backbone.

        Raises:
            ValueError: `x` is not (B, 3, H, W).
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"x is {tuple(x.shape)}; expected (B, 3, H, W)")
        return {"0": self.body(self.stem(x))}  # (B, 4·width, H/8, W/8)


class SmallTwoMaps(SmallBackbone):
    """`SmallBackbone`, with the very same weights, which hands out its map of stride 4 as well (lesson 15).

    Attributes:
        channels: of the two maps, the largest map first: 2 and 4 times `width`.
    """

    def __init__(self, width: int = 24):
        super().__init__(width)
        self.channels = [2 * width, 4 * width]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Pictures (B, 3, H, W), 0..1, with multiples of 8 for H and W, into {"0": stride 4, "1": stride 8}.

        Raises:
            ValueError: `x` is not (B, 3, H, W).
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"x is {tuple(x.shape)}; expected (B, 3, H, W)")
        fine = self.stem[:2](x)  # (B, 2·width, H/4, W/4)
        return {"0": fine, "1": self.body(self.stem[2](fine))}  # and (B, 4·width, H/8, W/8)


class SmallStages(nn.Module):
    """The same kind of network, which hands out a map at each of its last three sizes: what a pyramid is built on.

    It begins as `SmallBackbone` does, and has about as much to compute: instead of three blocks at stride 8 that look
    further around, there is one at each of the strides 4, 8 and 16. One cell of the three maps sees 18 × 18, 46 × 46
    and 102 × 102 pixels. With width 24 it has 0.43 M parameters.

    Args:
        width: channels after the first block.

    Attributes:
        channels: of the three maps, the largest map first: 2, 4 and 4 times `width`.
        strides: pixels from one cell to the next, for each of them.
    """

    strides = (4, 8, 16)

    def __init__(self, width: int = 24):
        super().__init__()
        self.channels = [2 * width, 4 * width, 4 * width]
        self.stem = conv_block(3, width, kernel=4, stride=2)  # (B, width, H/2, W/2)
        before = [width, *self.channels[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(conv_block(inputs, outputs, kernel=4, stride=2), conv_block(outputs, outputs))
            for inputs, outputs in zip(before, self.channels, strict=True)
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Pictures (B, 3, H, W), 0..1, with multiples of 16 for H and W, into {"0", "1", "2"}: the largest map first.

        Raises:
            ValueError: `x` is not (B, 3, H, W).
        """
        if x.ndim != 4 or x.shape[1] != 3:
            raise ValueError(f"x is {tuple(x.shape)}; expected (B, 3, H, W)")
        one, maps = self.stem(x), {}
        for number, stage in enumerate(self.stages):
            one = maps[str(number)] = stage(one)  # (B, channels[number], H / strides[number], W / strides[number])
        return maps
