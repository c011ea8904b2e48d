"""Charts: where on the surface of a thing a pixel lies, as a part and a place u, v in that part's flat map (lesson 13).

A surface cannot be laid flat in one piece, so it is cut into parts; each has a chart, a square from 0 to 1 along u and
v, as an atlas has a page for each country. Here are the truth as a head sees it, cut out of boxes; the way back, from
boxes to the picture; and what charts are good for: whatever is painted on them once can be read at every pixel. Source:
Güler et al. 2018, "DensePose: Dense Human Pose Estimation In The Wild".
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.ops.boxes import check_boxes


def crop_charts(parts: Tensor, uv: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """What is at the middle of each cell of a grid in each box, taken from the pixel that it falls in.

    Nothing is mixed: half an arm and half a leg would be no part at all.

    Args:
        parts: (K, H, W) whole numbers, for each box its own map, 0 where there is nothing of its thing.
        uv: (K, 2, H, W) floats.
        boxes: (K, 4) xyxy pixels.
        size: S, cells along each side.

    Returns:
        (K, S, S) int64 and (K, 2, S, S). Beyond the picture the part is 0, u and v are 0.

    Raises:
        ValueError: a shape does not fit or `size` is below 1.
    """
    check_boxes("boxes", boxes)
    if parts.ndim != 3 or len(parts) != len(boxes):
        raise ValueError(f"parts is {tuple(parts.shape)}; expected ({len(boxes)}, H, W), a map for each box")
    height, width = parts.shape[1:]
    if uv.shape != (len(boxes), 2, height, width):
        raise ValueError(f"uv is {tuple(uv.shape)}; expected ({len(boxes)}, 2, {height}, {width})")
    if size < 1:
        raise ValueError(f"size is {size!r}; expected at least 1")
    share = (torch.arange(size, device=boxes.device) + 0.5) / size  # (S,)
    columns = (boxes[:, 0:1] + share * (boxes[:, 2:3] - boxes[:, 0:1])).floor().long()[:, None, :]  # (K, 1, S)
    rows = (boxes[:, 1:2] + share * (boxes[:, 3:4] - boxes[:, 1:2])).floor().long()[:, :, None]  # (K, S, 1)
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)  # (K, S, S)
    columns, rows = columns.clamp(0, width - 1), rows.clamp(0, height - 1)
    box = torch.arange(len(boxes), device=boxes.device)[:, None, None]  # (K, 1, 1)
    cut_parts = parts.long()[box, rows, columns] * inside  # (K, S, S)
    cut_uv = uv.permute(0, 2, 3, 1)[box, rows, columns] * inside[..., None]  # (K, S, S, 2)
    return cut_parts, cut_uv.permute(0, 3, 1, 2)


def read_texture(texture: Tensor, parts: Tensor, uv: Tensor) -> Tensor:
    """The colour that is painted on the surface at each pixel.

    Args:
        texture: (P + 1, C, h, w), for each part a picture of its chart, u to the right and v down; part 0 is painted
            too, and nobody looks there.
        parts: (...) whole numbers, 0..P.
        uv: (..., 2) floats; beyond 0..1 the chart's rim is repeated.

    Returns:
        (..., C): bilinear between the texture's pixels, 0 where the part is 0.

    Raises:
        ValueError: a shape does not fit or a part is not painted.
    """
    if texture.ndim != 4:
        raise ValueError(f"texture is {tuple(texture.shape)}; expected (P + 1, C, h, w)")
    if uv.shape != (*parts.shape, 2):
        raise ValueError(f"uv is {tuple(uv.shape)}; expected {(*parts.shape, 2)}, as the parts")
    if parts.numel() and not 0 <= parts.min() <= parts.max() < len(texture):
        raise ValueError(f"parts holds {parts.min()}..{parts.max()}; expected 0..{len(texture) - 1}, as painted")
    place = uv.reshape(-1, 2).clamp(0, 1)  # (N, 2)
    colours = texture.new_zeros(len(place), texture.shape[1])
    for part in parts.unique().tolist():
        if part:
            here = torch.nonzero(parts.flatten() == part)[:, 0]  # (n,)
            grid = (place[here] * 2 - 1)[None, None]  # (1, 1, n, 2)
            read = F.grid_sample(texture[part : part + 1], grid.to(texture), padding_mode="border", align_corners=False)
            colours[here] = read[0, :, 0].T  # (n, C)
    return colours.reshape(*parts.shape, texture.shape[1])


def circular_distance(one: Tensor, two: Tensor) -> Tensor:
    """How far apart two places on a circle of length 1 are, any shape: at most 1/2, since 0.99 lies beside 0.01."""
    ahead = (one - two) % 1
    return torch.minimum(ahead, 1 - ahead)
