"""The feature pyramid: maps of several sizes that all know what is there; and cutting regions out of them.

Beside it two that do without one of its parts, to see what it is good for. Attribute names are torchvision's. Source:
Lin et al. 2017, "Feature Pyramid Networks for Object Detection", section 3, figure 3 and equation 1. First used by the
full-size Faster R-CNN (lesson 08), explained in lesson 11.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from lib.layers.backbone import Backbone
from lib.ops.roi import assign_levels


class FeaturePyramidNetwork(nn.Module):
    """A top-down pathway: the deepest map is enlarged step by step, and at each size the backbone's own map is added.

    Args:
        in_channels_list: channels of the backbone's maps, the largest map first.
        out_channels: channels of all maps of the pyramid.
        extra_blocks: adds maps beyond the smallest one, see `LastLevelMaxPool`; None: adds nothing.
    """

    def __init__(self, in_channels_list: list[int], out_channels: int, extra_blocks: nn.Module | None = None):
        super().__init__()
        self.inner_blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(c, out_channels, 1)) for c in in_channels_list)
        self.layer_blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(out_channels, out_channels, 3, padding=1)) for _ in in_channels_list
        )
        for block in (*self.inner_blocks, *self.layer_blocks):
            nn.init.kaiming_uniform_(block[0].weight, a=1)
            nn.init.zeros_(block[0].bias)
        self.extra_blocks, self.out_channels = extra_blocks, out_channels
        self.register_load_state_dict_pre_hook(_accept_old_names)

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Maps (B, C_i, h_i, w_i), the largest first -> as many of (B, out_channels, h_i, w_i), and the extra ones."""
        names, sources = list(maps), list(maps.values())
        if len(sources) != len(self.inner_blocks):
            raise ValueError(f"maps has {len(sources)} maps; expected {len(self.inner_blocks)}")
        merged = self.inner_blocks[-1](sources[-1])  # (B, out, h_last, w_last)
        results = [self.layer_blocks[-1](merged)]
        for source, inner, layer in list(zip(sources, self.inner_blocks, self.layer_blocks, strict=True))[-2::-1]:
            enlarged = F.interpolate(merged, size=source.shape[2:], mode="nearest")  # (B, out, h_i, w_i)
            merged = self.merge(inner, source, enlarged)
            results.insert(0, layer(merged))
        pyramid = dict(zip(names, results, strict=True))
        return pyramid if self.extra_blocks is None else pyramid | self.extra_blocks(pyramid)

    def merge(self, inner: nn.Module, source: Tensor, enlarged: Tensor) -> Tensor:
        """The backbone's map (B, C_i, h, w) and what comes from above (B, out, h, w) -> (B, out, h, w): their sum."""
        return inner(source) + enlarged


class ConcatPyramid(FeaturePyramidNetwork):
    """The same, but both maps lie side by side before the 1×1 convolution, and nothing is added.

    A 1×1 convolution of two maps is the sum of a 1×1 convolution of each. So this is adding all the same, with weights
    of its own for what comes from above: `out_channels`² more for every map but the smallest. Lesson 11 compares them.
    """

    def __init__(self, in_channels_list: list[int], out_channels: int, extra_blocks: nn.Module | None = None):
        both = [channels + out_channels for channels in in_channels_list[:-1]]
        super().__init__([*both, in_channels_list[-1]], out_channels, extra_blocks)

    def merge(self, inner: nn.Module, source: Tensor, enlarged: Tensor) -> Tensor:
        """The backbone's map (B, C_i, h, w) and what comes from above (B, out, h, w) -> (B, out, h, w)."""
        return inner(torch.cat([source, enlarged], dim=1))


class NoWayDown(FeaturePyramidNetwork):
    """No way down: a map knows what the backbone knows at its size, and nothing of what the smaller ones have seen.

    This is how SSD takes its boxes from several maps (Liu et al. 2016). Parameters and their names are those of
    `FeaturePyramidNetwork`: the same weights can be loaded into both. Section 5.1 of the paper makes this comparison.
    """

    def forward(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Maps (B, C_i, h_i, w_i), the largest first -> as many of (B, out_channels, h_i, w_i), and the extra ones."""
        if len(maps) != len(self.inner_blocks):
            raise ValueError(f"maps has {len(maps)} maps; expected {len(self.inner_blocks)}")
        parts = zip(maps.items(), self.inner_blocks, self.layer_blocks, strict=True)
        pyramid = {name: layer(inner(source)) for (name, source), inner, layer in parts}
        return pyramid if self.extra_blocks is None else pyramid | self.extra_blocks(pyramid)


class LastLevelMaxPool(nn.Module):
    """One more, smaller map for large objects: every second cell of the smallest one. The name is torchvision's."""

    def forward(self, pyramid: dict[str, Tensor]) -> dict[str, Tensor]:
        """{..., last: (B, C, h, w)} -> {"pool": (B, C, ceil(h / 2), ceil(w / 2))}."""
        last = list(pyramid.values())[-1]
        return {"pool": F.max_pool2d(last, kernel_size=1, stride=2)}


class LastLevelP6P7(nn.Module):
    """Two more, smaller maps, each by a convolution with stride 2: those of RetinaNet. The name is torchvision's.

    P6 is made from P5, as in torchvision (in the paper from the backbone's C5), P7 from P6. Source: Lin et al. 2017,
    "Focal Loss for Dense Object Detection", footnote 2.

    Args:
        channels: of all maps of the pyramid.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.p6 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        self.p7 = nn.Conv2d(channels, channels, 3, stride=2, padding=1)
        for conv in (self.p6, self.p7):
            nn.init.kaiming_uniform_(conv.weight, a=1)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, pyramid: dict[str, Tensor]) -> dict[str, Tensor]:
        """{..., last: (B, C, h, w)} -> {"p6": (B, C, ceil(h / 2), ceil(w / 2)), "p7": half of that, rounded up}."""
        p6 = self.p6(list(pyramid.values())[-1])
        return {"p6": p6, "p7": self.p7(F.relu(p6))}


class BackboneWithPyramid(Backbone):
    """A backbone and a pyramid on top of it.

    Args:
        body: gives a dict of maps, the largest first, such as `ResNet` or `SmallStages`; of these the last ones are
            used, as many as the pyramid takes.
        fpn: the pyramid.

    Attributes:
        out_channels: of every map of the pyramid; a detector asks for it.
    """

    def __init__(self, body: nn.Module, fpn: FeaturePyramidNetwork):
        super().__init__()
        self.body, self.fpn, self.out_channels = body, fpn, fpn.out_channels

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Pictures (B, 3, H, W) -> {"0": the largest map, "1": ..., and the extra ones}, (B, out_channels, h, w)."""
        used = list(self.body(x).values())[-len(self.fpn.inner_blocks) :]
        return self.fpn({str(number): one for number, one in enumerate(used)})


class BackboneWithFPN(BackboneWithPyramid):
    """torchvision's class of the same name: a backbone, a `FeaturePyramidNetwork`, and always smaller maps beyond it.

    Args:
        body: see `BackboneWithPyramid`.
        in_channels_list: channels of those maps of the body that are used, the last ones.
        out_channels: channels of the maps of the pyramid.
        extra_blocks: what adds smaller maps; None: `LastLevelMaxPool`.
    """

    def __init__(
        self, body: nn.Module, in_channels_list: list[int], out_channels: int, extra_blocks: nn.Module | None = None
    ):
        super().__init__(
            body, FeaturePyramidNetwork(in_channels_list, out_channels, extra_blocks or LastLevelMaxPool())
        )


class MultiScaleRoIAlign(nn.Module):
    """RoIAlign from a pyramid: each region is cut out of the map that suits its size (equation 1 of the paper).

    Args:
        featmap_names: which maps to cut from, the largest first. With one map it is plain RoIAlign.
        output_size: cells of a cut-out, (rows, columns) or one number for both.
        sampling_ratio: points along each side of a cell, see `lib.ops.roi.roi_align`.
        canonical_scale, canonical_level: a region of this side (in pixels) belongs to level k0, whose map has stride
            2^k0; one of half the side belongs to the level before it.
    """

    def __init__(
        self,
        featmap_names: list[str],
        output_size: int | tuple[int, int],
        sampling_ratio: int,
        *,
        canonical_scale: int = 224,
        canonical_level: int = 4,
    ):
        super().__init__()
        self.featmap_names, self.sampling_ratio = featmap_names, sampling_ratio
        self.output_size = (output_size, output_size) if isinstance(output_size, int) else output_size
        self.canonical_scale, self.canonical_level = canonical_scale, canonical_level

    def forward(self, maps: dict[str, Tensor], boxes: list[Tensor], image_sizes: list[tuple[int, int]]) -> Tensor:
        """Cut regions out of maps.

        Args:
            maps: by name, (B, C, h, w) each; those with other names than `featmap_names` are left alone.
            boxes: for each picture (P_i, 4) xyxy pixels of what the backbone was given.
            image_sizes: (height, width) of each picture, from which the stride of a map is inferred.

        Returns:
            (P_1 + ... + P_B, C, rows, columns), picture by picture.
        """
        chosen = [maps[name] for name in self.featmap_names]
        scales = [infer_scale(one, image_sizes) for one in chosen]
        if len(chosen) == 1:
            return roi_align(chosen[0], boxes, self.output_size, scales[0], self.sampling_ratio)
        levels = self.levels(boxes, scales)  # (P,)
        regions = torch.cat([F.pad(one, (1, 0), value=number) for number, one in enumerate(boxes)])  # (P, 5)
        pooled = chosen[0].new_zeros(len(regions), chosen[0].shape[1], *self.output_size)
        for level, (one, scale) in enumerate(zip(chosen, scales, strict=True)):
            here = torch.where(levels == level)[0]
            pooled[here] = roi_align(one, regions[here], self.output_size, scale, self.sampling_ratio)
        return pooled  # (P, C, rows, columns)

    def levels(self, boxes: list[Tensor], scales: list[float]) -> Tensor:
        """Which map suits each box, (P,) from 0; `scales` are cells a pixel, 1 / 2^k of the map of level k."""
        k_min, k_max = (-round(torch.tensor(scale).log2().item()) for scale in (scales[0], scales[-1]))
        return assign_levels(torch.cat(boxes), k_min, k_max, self.canonical_scale, self.canonical_level) - k_min


def infer_scale(feature: Tensor, image_sizes: list[tuple[int, int]]) -> float:
    """Cells a pixel, 1/stride: the power of two nearest to what the sizes say, since maps are padded a little."""
    height = max(height for height, _ in image_sizes)
    return 2.0 ** round(torch.tensor(feature.shape[2] / height).log2().item())


def _accept_old_names(module: FeaturePyramidNetwork, state_dict: dict, prefix: str, *_: object) -> None:
    """Weights published before torchvision 0.14 say `inner_blocks.0.weight` for `inner_blocks.0.0.weight`."""
    for block in ("inner_blocks", "layer_blocks"):
        for number in range(len(module.inner_blocks)):
            for kind in ("weight", "bias"):
                old = f"{prefix}{block}.{number}.{kind}"
                if old in state_dict:
                    state_dict[f"{prefix}{block}.{number}.0.{kind}"] = state_dict.pop(old)
