"""DensePose: for each pixel of a person, which part of the body it shows and which place on that part (lesson 13).

A head of its own on a detector's maps, as the mask head is one. It answers two questions, a coarse and a fine one:
which part, by classification; and where on it, u and v, by regression. Each part has regressors of its own, since a
place on an arm has nothing to do with one on a leg; of those only the true part's are judged. The layers have the names
of the official weights. Source: Güler et al. 2018, "DensePose: Dense Human Pose Estimation In The Wild", section 3.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.layers.frozen_trunk import FrozenTrunk
from lib.ops.masks import paste_in_boxes


class DensePoseOutput(NamedTuple):
    """Raw answers for R regions, on a grid of S × S cells in each; P parts, and number 0 for no part."""

    parts: Tensor  # (R, P + 1, S, S) logits
    u: Tensor  # (R, P + 1, S, S) the place along u, if it is that part; number 0 means nothing
    v: Tensor  # (R, P + 1, S, S)


class DensePoseHead(nn.Module):
    """3 × 3 convolutions with ReLU; in the paper eight, with 512 channels, as in Mask R-CNN's head for key points."""

    def __init__(self, in_channels: int, channels: int = 512, convolutions: int = 8):
        super().__init__()
        self.convolutions = convolutions
        for number in range(1, convolutions + 1):
            layer = nn.Conv2d(in_channels if number == 1 else channels, channels, 3, padding=1)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
            self.add_module(f"body_conv_fcn{number}", layer)

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, s, s) -> (R, channels, s, s)."""
        for number in range(1, self.convolutions + 1):
            x = F.relu(self.get_submodule(f"body_conv_fcn{number}")(x))
        return x


class DensePosePredictor(nn.Module):
    """Three answers, each by a transposed convolution that doubles the grid, then enlarged once more by `up_scale`."""

    def __init__(self, in_channels: int, num_parts: int, up_scale: int = 2):
        super().__init__()
        self.up_scale = up_scale
        self.index_uv_lowres = nn.ConvTranspose2d(in_channels, num_parts + 1, 4, stride=2, padding=1)
        self.u_lowres = nn.ConvTranspose2d(in_channels, num_parts + 1, 4, stride=2, padding=1)
        self.v_lowres = nn.ConvTranspose2d(in_channels, num_parts + 1, 4, stride=2, padding=1)
        for layer, start in ((self.index_uv_lowres, 0.0), (self.u_lowres, 0.5), (self.v_lowres, 0.5)):
            nn.init.normal_(layer.weight, std=0.01)
            if layer.bias is not None:
                nn.init.constant_(layer.bias, start)  # 0.5: the middle of a chart

    def forward(self, x: Tensor) -> DensePoseOutput:
        """(R, C, s, s) -> three times (R, P + 1, S, S) with S = 2 · up_scale · s."""
        answers = [layer(x) for layer in (self.index_uv_lowres, self.u_lowres, self.v_lowres)]  # (R, P + 1, 2 s, 2 s)
        if self.up_scale > 1:
            answers = [F.interpolate(one, scale_factor=self.up_scale, mode="bilinear") for one in answers]
        return DensePoseOutput(*answers)


def densepose_loss(output: DensePoseOutput, parts: Tensor, uv: Tensor) -> dict[str, Tensor]:
    """What is to become small.

    u runs once around a limb and begins again: 0.99 lies right beside 0.01. So an error in u is counted on the circle,
    the short way round, which is at most 1/2. (The paper cuts its limbs open where it makes the charts, so that none
    closes into a ring.) Truth is known at each cell here; in the paper it is at some hundred points of a person, and a
    second network, the "teacher", fills in the rest.

    Args:
        output: for R regions.
        parts: (R, S, S) int64, 0 = no part of this person.
        uv: (R, 2, S, S) true places, 0..1; meaningless where there is no part.

    Returns:
        "loss_parts": cross entropy over all cells. "loss_uv": over the cells of parts alone, smooth L1 (its bend at
        0.1) of the true part's u plus that of its v. 0 where there are no cells.

    Raises:
        ValueError: a shape does not fit, or a part has no channel.
    """
    regions, channels, *grid = output.parts.shape
    if parts.shape != (regions, *grid):
        raise ValueError(f"parts is {tuple(parts.shape)}; expected {(regions, *grid)}")
    if uv.shape != (regions, 2, *grid):
        raise ValueError(f"uv is {tuple(uv.shape)}; expected {(regions, 2, *grid)}")
    if parts.numel() and not 0 <= parts.min() <= parts.max() < channels:
        raise ValueError(f"parts holds {parts.min()}..{parts.max()}; expected 0..{channels - 1}")
    seen = parts > 0  # (R, S, S)
    u, v = (one.gather(1, parts[:, None])[:, 0][seen] for one in (output.u, output.v))  # (cells,) each: the true part's
    around = (u - uv[:, 0][seen] + 0.5) % 1 - 0.5  # (cells,) -1/2..1/2, the short way round
    off = torch.stack([around, v - uv[:, 1][seen]])  # (2, cells)
    loss_uv = F.smooth_l1_loss(off, torch.zeros_like(off), beta=0.1, reduction="sum") / max(off.shape[1], 1)
    loss_parts = F.cross_entropy(output.parts, parts, reduction="sum") / max(parts.numel(), 1)
    return {"loss_parts": loss_parts, "loss_uv": loss_uv}


def densepose_inference(output: DensePoseOutput, boxes: Tensor, image_size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """From grids in boxes to the picture: c* = argmax of the parts, and [U, V] = what c*'s regressors say.

    Args:
        output: for K regions.
        boxes: (K, 4) xyxy pixels of the picture.
        image_size: its (height, width).

    Returns:
        For each box a picture of parts (K, H, W) int64, 0 = none, and of places (K, H, W, 2), 0..1, 0 where none is.
    """
    channels = output.parts.shape[1]
    pasted, inside = paste_in_boxes(torch.cat(output, dim=1), boxes, image_size)  # (K, 3 (P + 1), H, W), (K, H, W)
    logits, u, v = pasted.split(channels, dim=1)  # (K, P + 1, H, W) each
    parts = logits.argmax(1) * inside  # (K, H, W)
    u, v = (one.gather(1, parts[:, None])[:, 0] for one in (u, v))  # (K, H, W) each
    uv = torch.stack([u % 1, v.clamp(0, 1)], dim=3)  # (K, H, W, 2)
    return parts, uv * (parts > 0)[..., None]


class DensePoseRCNN(nn.Module):
    """A frozen trunk, and a head that reads bodies in boxes. Where the boxes come from is left open.

    Args:
        trunk: of a trained detector.
        num_parts: P, without "no part".
        output_size: s, cells along each side of a region; the answer has S = 2 · up_scale · s.
        channels, convolutions: of the head.
        up_scale: see `DensePosePredictor`.
    """

    def __init__(
        self,
        trunk: FrozenTrunk,
        num_parts: int = 24,
        output_size: int = 14,
        channels: int = 512,
        convolutions: int = 8,
        up_scale: int = 2,
    ):
        super().__init__()
        self.trunk, self.output_size = trunk, output_size
        self.head = DensePoseHead(trunk.out_channels, channels, convolutions)
        self.predictor = DensePosePredictor(channels, num_parts, up_scale)
        self.grid = 2 * up_scale * output_size

    def forward(self, images: Tensor | list[Tensor], boxes: list[Tensor]) -> list[dict[str, Tensor]]:
        """Read the bodies in boxes.

        Args:
            images: (B, 3, H, W), or a list of (3, H, W), 0..1.
            boxes: for each picture (K_i, 4) xyxy pixels, such as a detector's; K_i may be 0.

        Returns:
            For each picture {"boxes": (K, 4), "parts": (K, H, W) int64, "uv": (K, H, W, 2)}, see `densepose_inference`.

        Raises:
            ValueError: pictures and sets of boxes do not fit together.
        """
        sizes = [(image.shape[1], image.shape[2]) for image in images]
        output = self.predict(images, boxes)
        counts = [len(one) for one in boxes]
        found = []
        for answers, one, size in zip(zip(*(part.split(counts) for part in output)), boxes, sizes, strict=True):
            parts, uv = densepose_inference(DensePoseOutput(*answers), one, size)
            found.append({"boxes": one, "parts": parts, "uv": uv})
        return found

    def predict(self, images: Tensor | list[Tensor], boxes: list[Tensor]) -> DensePoseOutput:
        """Raw answers for all R = ΣK_i regions."""
        (regions,) = self.trunk.regions(images, boxes, self.output_size)  # (R, C, s, s)
        return self.predict_in(regions)

    def predict_in(self, regions: Tensor) -> DensePoseOutput:
        """Raw answers for regions (R, C, output_size, output_size) that were cut out of the trunk's maps."""
        return self.predictor(self.head(regions))

    def loss(self, images: Tensor | list[Tensor], targets: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """What is to become small: see `densepose_loss`.

        Args:
            images: as for `forward`.
            targets: for each picture {"boxes": (K, 4) xyxy pixels, "parts": (K, S, S), "uv": (K, 2, S, S)}, with
                S = `self.grid`; see `crop_charts`.

        Raises:
            ValueError: an entry has the wrong shape.
        """
        output = self.predict(images, [target["boxes"] for target in targets])
        parts, uv = (torch.cat([target[name] for target in targets]) for name in ("parts", "uv"))  # (R, S, S) each
        return densepose_loss(output, parts.long(), uv.to(output.u))


def densepose_small(trunk: FrozenTrunk, num_parts: int = 6) -> DensePoseRCNN:
    """The one of lesson 13, on a small detector's trunk: toyworld's figures have six parts; 28 × 28 cells in a box."""
    return DensePoseRCNN(trunk, num_parts, channels=64, convolutions=4, up_scale=1)
