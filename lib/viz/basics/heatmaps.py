"""Class heat maps laid over the picture that they speak of."""

import matplotlib.pyplot as plt
import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

# Three colours that colour-blind readers tell apart (Okabe & Ito 2008).
GLOW_COLOURS = ("#E69F00", "#56B4E9", "#CC79A7")


def draw_glow(picture: torch.Tensor, heats: dict[str, torch.Tensor], smooth: bool = False) -> Figure:
    """A picture, and beside or below it the same picture dimmed, glowing where each heat map is high.

    Args:
        picture: (3, H, W) floats in 0..1.
        heats: one to three maps (h, w) of scores by name. A score of 0 or less does not glow; the highest of a
            map glows most.
        smooth: blend between cells. Without it, each cell of a map is one block: what the network really said.

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
    glowing = 0.35 * picture.mean(0, keepdim=True).expand(3, -1, -1)  # dim and grey: (3, H, W)
    for (name, heat), colour in zip(heats.items(), GLOW_COLOURS):
        strength = _stretch(name, heat.detach().cpu(), height, width, smooth)
        tint = 0.5 * picture + 0.5 * torch.tensor(to_rgb(colour)).view(3, 1, 1)
        glowing = glowing * (1 - strength) + tint * strength
    wide = width > 1.6 * height
    figure, axes = plt.subplots(
        *((2, 1) if wide else (1, 2)), figsize=(8, 5.6) if wide else (8, 4.2), layout="constrained"
    )
    for axis, shown, title in zip(axes, (picture, glowing), ("the picture", "where the network sees it")):
        axis.imshow(np.asarray(shown.clamp(0, 1).permute(1, 2, 0)))
        axis.set_title(title)
        axis.axis("off")
    axes[1].legend(
        handles=[Patch(color=colour, label=name) for name, colour in zip(heats, GLOW_COLOURS)],
        loc="lower right",
        framealpha=0.85,
    )
    return figure


def _stretch(name: str, heat: torch.Tensor, height: int, width: int, smooth: bool) -> torch.Tensor:
    """A map (h, w) as glow from 0 to 1 on (height, width) pixels."""
    if heat.ndim != 2:
        raise ValueError(f"heats[{name!r}] is {tuple(heat.shape)}; expected (h, w)")
    glow = (heat / heat.max().clamp(min=1e-6)).clamp(0, 1) ** 1.5  # weak votes fade, strong ones stand out
    mode = {"mode": "bicubic", "align_corners": False} if smooth else {"mode": "nearest"}
    return F.interpolate(glow[None, None], (height, width), **mode)[0, 0].clamp(0, 1)
