"""Class heat maps laid over the picture that they speak of."""

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from lib.ops.receptive_field import ReceptiveField

# Three colours that colour-blind readers tell apart (Okabe & Ito 2008).
GLOW_COLOURS = ("#E69F00", "#56B4E9", "#CC79A7")


def draw_glow(
    picture: torch.Tensor, heats: dict[str, torch.Tensor], smooth: bool = False, cells: ReceptiveField | None = None
) -> Figure:
    """A picture, and beside or below it the same picture dimmed, glowing where each heat map is high.

    The legend gives each map's highest score. A map has its own scale: two that glow alike need not have like scores.

    Args:
        picture: (3, H, W) floats in 0..1.
        heats: one to three maps (h, w) of scores by name. A score of 0 or less does not glow; the highest of a
            map glows most.
        smooth: blend between cells. Without it, each cell of a map is one block: what the network really said.
        cells: where the cells lie: each around the middle of what it sees, as in the explorer, and the outermost ones
            reach to the picture's edge. Without it, the cells share the picture evenly.

    Returns:
        The figure: side by side for a tall or square picture, one above the other for a wide one.

    Raises:
        ValueError: `picture` is not (3, H, W), a map is not (h, w), or there are none or more than three.
    """
    if picture.ndim != 3 or picture.shape[0] != 3:
        raise ValueError(f"picture is {tuple(picture.shape)}; expected (3, H, W)")
    if not 1 <= len(heats) <= len(GLOW_COLOURS):
        raise ValueError(f"heats has {len(heats)} maps; expected 1 to {len(GLOW_COLOURS)}")
    picture = picture.detach().cpu()
    height, width = picture.shape[1:]
    grey = picture.mean(0, keepdim=True)  # (1, H, W)
    glowing = 0.35 * grey.expand(3, -1, -1)  # dim: (3, H, W)
    labels = []
    for (name, heat), colour in zip(heats.items(), GLOW_COLOURS):
        strength = _stretch(name, heat.detach().cpu(), height, width, smooth, cells)
        tint = (0.5 + 0.5 * grey) * torch.tensor(to_rgb(colour)).view(3, 1, 1)  # (3, H, W), dark places glow as well
        glowing = glowing * (1 - strength) + tint * strength
        labels.append(Patch(color=colour, label=f"{name}, highest {heat.max():.1f}"))
    wide = width > 1.6 * height
    figure, axes = plt.subplots(
        *((2, 1) if wide else (1, 2)), figsize=(8, 6) if wide else (8, 4.7), layout="constrained"
    )
    answer = "where each class scores" if len(heats) > 1 else "where the network sees it"
    for axis, shown, title in zip(axes, (picture, glowing), ("the picture", answer)):
        axis.imshow(np.asarray(shown.clamp(0, 1).permute(1, 2, 0)))
        axis.set_title(title)
        axis.axis("off")
    scale = "dark: a score of 0 or less; brightest: the highest score" + (" of each class" if len(heats) > 1 else "")
    figure.legend(handles=labels, title=scale, loc="outside lower center", ncols=len(heats), frameon=False)
    return figure


def _stretch(
    name: str, heat: torch.Tensor, height: int, width: int, smooth: bool, cells: ReceptiveField | None
) -> torch.Tensor:
    """A map (h, w) as glow from 0 to 1 on (height, width) pixels."""
    if heat.ndim != 2:
        raise ValueError(f"heats[{name!r}] is {tuple(heat.shape)}; expected (h, w)")
    glow = (heat / heat.max().clamp(min=1e-6)).clamp(0, 1) ** 1.5  # weak votes fade, strong ones stand out
    down = _in_cells(height, heat.shape[0], cells)
    across = _in_cells(width, heat.shape[1], cells)
    grid = torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)  # (height, width, 2): x, y
    mode = "bicubic" if smooth else "nearest"
    stretched = F.grid_sample(glow[None, None].float(), grid[None], mode, padding_mode="border", align_corners=False)
    return stretched[0, 0].clamp(0, 1)


def _in_cells(pixels: int, count: int, cells: ReceptiveField | None) -> torch.Tensor:
    """Where each of `pixels` lies among `count` cells, (pixels,), from -1 to 1 as `grid_sample` wants it."""
    step = cells.stride if cells else pixels / count
    begin = cells.middle(0) - step / 2 if cells else 0.0  # the edge of cell 0
    return 2 * (torch.arange(pixels) + 0.5 - begin) / (step * count) - 1
