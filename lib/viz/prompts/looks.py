"""Codes of places, where a point's token looks, and patches that were hidden and filled in (lesson 17)."""

from collections.abc import Callable, Sequence
from typing import cast

import torch
from matplotlib.figure import Figure
from torch import Tensor

from lib.layers.prompt_encoder import PositionEmbeddingRandom
from lib.layers.two_way import DownscaledAttention, TwoWayAttentionBlock
from lib.models.sam import Sam
from lib.viz.attention.maps import FAINTEST, STRONGEST, mark_cell
from lib.viz.basics.draw import PAGE, panels
from lib.viz.detection.boxes import show_picture
from lib.viz.prompts.still import show_points

HIDDEN = 0.55  # grey of a patch that the encoder does not see


def draw_place_codes(
    pe_layer: PositionEmbeddingRandom,
    cells: Sequence[tuple[int, int]] = ((12, 12), (3, 5), (20, 17)),
    size: tuple[int, int] = (24, 24),
    width: float = 2.6,
) -> Figure:
    """How like the code of one place those of all places are: their inner product, divided by that with itself.

    Args:
        pe_layer: gives the codes.
        cells: (row, column) of the places, a picture for each.
        size: rows and columns of the map.
        width: of a picture in inches.

    Raises:
        ValueError: there is no cell, or one lies outside of the map.
    """
    if not cells:
        raise ValueError("cells is empty; expected at least one (row, column)")
    codes = pe_layer(size).detach().cpu()  # (D, h, w)
    rows, columns = size
    figure, axes = panels(len(cells), 4, width, rows / columns)
    figure.set_layout_engine("compressed")
    for axis, cell in zip(axes, cells, strict=True):
        mark_cell(axis, "cells", cell, size, size, width=2)
        own = codes[:, cell[0], cell[1]]  # (D,)
        like = torch.einsum("dhw,d->hw", codes, own) / own.square().sum()
        shown = axis.imshow(
            like.numpy(), cmap="RdBu_r", vmin=-1, vmax=1, extent=(0, columns, rows, 0), interpolation="nearest"
        )
        axis.set_title(f"row {cell[0]}, column {cell[1]}", fontsize=10)
    figure.colorbar(shown, ax=axes, shrink=0.85, ticks=(-1, 0, 1), label="like its code")
    return figure


def draw_click_attention(
    image: Tensor,
    maps: dict[str, Tensor],
    points: Tensor | None = None,
    labels: Tensor | None = None,
    columns: int = 4,
    size: float = 2.3,
) -> Figure:
    """Where a token looks in the picture, several maps on one scale: what is as bright is as much.

    Args:
        image: (3, H, W) floats 0..1.
        maps: by title (h, w), shares that add up to 1, such as of `looks_of_token`.
        points: (N, 2), x and y of pixels. labels: (N,), 1 = inside, 0 = outside.
        columns, size: pictures in a row, and the width of one in inches.

    Raises:
        ValueError: there is no map, or one is not (h, w).
    """
    if not maps:
        raise ValueError("maps is empty; expected at least one")
    for title, heat in maps.items():
        if heat.ndim != 2 or heat.numel() == 0:
            raise ValueError(f"maps[{title!r}] is {tuple(heat.shape)}; expected (h, w), not empty")
    height, width = image.shape[-2:]
    most = max(float(heat.max()) for heat in maps.values())
    figure, axes = panels(len(maps), columns, size, height / width)
    figure.set_layout_engine("compressed")
    for axis, (title, heat) in zip(axes, maps.items(), strict=True):
        show_picture(axis, image, title, dim=0.5)
        values = heat.detach().cpu()
        shown = axis.imshow(
            values.numpy(), cmap="viridis", vmin=0, vmax=most, interpolation="nearest", extent=(0, width, height, 0),
            alpha=(FAINTEST + (STRONGEST - FAINTEST) * values / max(most, 1e-12)).clamp(0, 1).numpy(),
        )  # fmt: skip
        if points is not None:
            show_points(axis, points, labels, size=11)
        axis.set(xlim=(0, width), ylim=(height, 0))
    bar = figure.colorbar(shown, ax=axes, shrink=0.85, ticks=(0, most), format="%.2g")
    bar.set_label("share of the attention")
    return figure


@torch.no_grad()
def looks_of_token(model: Sam, ask: Callable[[], object], token: int) -> dict[str, Tensor]:
    """Where a token looks in the picture, each time that tokens look at it: two blocks, and once more at the end.

    Args:
        model: that is asked.
        ask: asks it with one prompt, such as `lambda: model(embedding, points, labels)`.
        token: its number among all: 0 guesses the IoU, 1 to 4 stand for masks, 5 is the first of the prompt.

    Returns:
        By title (h, w), the mean over the heads; the shares add up to 1.

    Raises:
        ValueError: nothing was asked, or there is no such token.
    """
    transformer, seen = model.mask_decoder.transformer, []

    def keep(attention: DownscaledAttention, given: tuple[Tensor, ...]) -> None:
        seen.append(attention.weights(given[0], given[1])[0].mean(0).cpu())  # (T, h·w)

    blocks = [cast(TwoWayAttentionBlock, layer).cross_attn_token_to_image for layer in transformer.layers]
    hooks = [one.register_forward_pre_hook(keep) for one in (*blocks, transformer.final_attn_token_to_image)]
    try:
        ask()
    finally:
        for hook in hooks:
            hook.remove()
    if len(seen) != len(hooks):
        raise ValueError(f"ask let tokens look {len(seen)} times; expected {len(hooks)}, one prompt")
    if not 0 <= token < len(seen[0]):
        raise ValueError(f"token is {token}; expected 0 to {len(seen[0]) - 1}")
    titles = [f"block {number}" for number in range(1, len(hooks))] + ["at the end"]
    size = model.prompt_encoder.image_embedding_size
    return {title: one[token].unflatten(0, size) for title, one in zip(titles, seen, strict=True)}


def draw_masked_patches(image: Tensor, hidden: Tensor, filled: dict[str, Tensor], size: float = 2.4) -> Figure:
    """A picture whole, what the encoder sees of it, and the hidden patches as they were filled in, in several ways.

    Args:
        image: (3, H, W) floats 0..1.
        hidden: (N,) bool, True = hidden, patches row by row.
        filled: by title, as `image`; it is seen where a patch was hidden, cut to 0..1.
        size: width of a picture in inches.

    Raises:
        ValueError: shapes do not fit, or the picture cannot be cut into N square patches.
    """
    for title, one in filled.items():
        if one.shape != image.shape:
            raise ValueError(f"filled[{title!r}] is {tuple(one.shape)}; expected {tuple(image.shape)}, as image")
    height, width = image.shape[1:]
    side = max(1, round((height * width / max(hidden.numel(), 1)) ** 0.5))  # of a patch
    count = 0 if height % side or width % side else (height // side) * (width // side)
    if count == 0 or hidden.shape != (count,) or hidden.dtype != torch.bool:
        came = f"{tuple(hidden.shape)} {hidden.dtype}"
        raise ValueError(f"hidden is {came}; expected bools, one for each square patch of {height} × {width}")
    cover = hidden.cpu().view(height // side, width // side).repeat_interleave(side, 0).repeat_interleave(side, 1)
    shown = {"the picture": image.cpu()}
    shown[f"the encoder sees {1 - hidden.float().mean():.0%}"] = torch.where(cover, torch.tensor(HIDDEN), image.cpu())
    for title, one in filled.items():
        shown[title] = torch.where(cover, one.cpu().clamp(0, 1), image.cpu())
    figure, axes = panels(len(shown), len(shown), min(size, PAGE / len(shown)), height / width)
    for axis, (title, one) in zip(axes, shown.items(), strict=True):
        show_picture(axis, one, title)
    return figure
