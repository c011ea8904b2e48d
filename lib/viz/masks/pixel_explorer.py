"""Click a pixel: which queries want it, and which other pixels are like it? (lesson 15)"""

from collections.abc import Sequence
from math import floor

import numpy as np
import torch
import torch.nn.functional as F
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from lib.viz.basics.click_picture import ClickPicture
from lib.viz.basics.draw import PAGE
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.detection.boxes import box_patch, show_picture
from lib.viz.masks.query_masks import Colour, check_answers

MARK = "#FF3B6B"  # the pixel's cell
SHOWN = 6  # queries at most
SAYS, COVERS = "#4D4D4D", "#A9A9A9"  # bars of the class and of the mask
LIKE = 0.5  # cells with a higher cosine are called like the pixel
SIDE, TOP, BELOW = 2.8, 0.3, 0.36  # inches: the longer side of a picture, above for titles, below for words
LIKE_X, BARS_X, RIM = 2.95, 6.95, 0.05  # inches: where the second picture and the bars begin, and around all

Frame = tuple[float, float, float, float]  # left, bottom, width, height of a part, as shares of the figure


def explore_pixels(
    image: Tensor,
    pixel_embed: Tensor,
    class_logits: Tensor,
    mask_logits: Tensor,
    names: Sequence[str],
    colours: Sequence[Colour],
    pixel: tuple[int, int] | None = None,
) -> "PixelExplorer":
    """Click a place of the picture and see who wants it, and which places have an embedding like its own.

    "Who wants this pixel": for the six queries with the largest product, the probability of their best class (that of
    "nothing" left aside), that of their mask there, and the product of both. In brackets are queries that
    say "nothing". Panoptic merging gives a pixel to the largest product of those queries that are sure.

    "Pixels like this one": the mask of a query whose mask embedding is this pixel's, made readable in two ways. The
    mean embedding of the picture is subtracted from all, as without that nearly all inner products are above 0. And
    each product is divided by the lengths of its two vectors (so it is their cosine, -1 to 1): embeddings of sky are
    several times as long as others, and would be the brightest in every map. Dividing changes no sign, so no mask.

    Args:
        image: (3, H, W) floats 0..1.
        pixel_embed: (C, h, w); its cells share the picture evenly.
        class_logits: (Q, K + 1), the last says "nothing".
        mask_logits: (Q, h', w'), such as with a cell for each pixel.
        names, colours: of the K classes.
        pixel: (row, column) in the picture; None: one in the middle.

    Raises:
        ValueError: a shape does not fit, there are other numbers of names or colours, or the pixel lies outside.
    """
    check_answers(image, class_logits, mask_logits, names, colours)
    if pixel_embed.ndim != 3 or pixel_embed.numel() == 0:
        raise ValueError(f"pixel_embed is {tuple(pixel_embed.shape)}; expected (C, h, w), a single picture's")
    tensors = (one.detach().cpu().float() for one in (image, pixel_embed, class_logits, mask_logits))
    explorer = PixelExplorer(*tensors, names, colours)
    if pixel is not None:
        explorer.pixel = pixel
    return explorer


class PixelExplorer(PictureWidget):
    """What `explore_pixels` gives.

    Attributes:
        pixel: (row, column) in the picture; it can be set from Python too.
    """

    pixel = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(0, 0))

    def __init__(
        self,
        image: Tensor,
        pixel_embed: Tensor,
        class_logits: Tensor,
        mask_logits: Tensor,
        names: Sequence[str],
        colours: Sequence[Colour],
    ) -> None:
        self.image, self.masks, self.names, self.colours = image, mask_logits.sigmoid(), names, colours
        self.says, self.labels = class_logits.softmax(dim=1)[:, :-1].max(dim=1)  # (Q,) each
        self.silent = class_logits.argmax(dim=1) == len(names)  # (Q,), says "nothing"
        centred = pixel_embed - pixel_embed.mean((1, 2), keepdim=True)  # (C, h, w)
        self.directions = F.normalize(centred, dim=0)  # (C, h, w), of length 1, or 0 where there is no difference
        self._drawn: tuple[int, int] | None = None
        label = "Picture of which one pixel is marked. Arrow keys move the mark, Shift with an arrow key by five cells."
        super().__init__([], picture=ClickPicture(self._point, self._step, label))
        self.pixel = (image.shape[1] // 2, image.shape[2] // 2)
        self.observe(self.draw, names="pixel")
        self.draw()

    @traitlets.validate("pixel")
    def _check_pixel(self, proposal: dict) -> tuple[int, int]:
        (row, column), (height, width) = proposal["value"], self.image.shape[1:]
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"pixel is {(row, column)}; expected a row below {height} and a column below {width}")
        return row, column

    # what is seen

    def wants(self) -> list[tuple[int, float, float, float]]:
        """The queries with the largest products: number, class probability, mask probability here, their product."""
        row, column = self._cell(self.masks)
        here = self.masks[:, row, column]  # (Q,)
        product = self.says * here  # (Q,)
        order = product.argsort(descending=True, stable=True)[:SHOWN]
        return [(query, *(float(one[query]) for one in (self.says, here, product))) for query in order.tolist()]

    def like(self) -> Tensor:
        """How like the pixel's embedding all others are, (h, w), -1 to 1: the cosine, without the mean embedding."""
        row, column = self._cell(self.directions)
        return torch.einsum("c,chw->hw", self.directions[:, row, column], self.directions)

    def words(self) -> str:
        """Where the pixel is, who wants it most, and how much of the picture is like it."""
        query, says, here, product = self.wants()[0]
        most = f"{query}: {self.names[self.labels[query]]}, {says:.2f} · {here:.2f} = {product:.2f}"
        share = (self.like() > LIKE).float().mean()
        where, like = "row {}, column {}".format(*self.pixel), f"like {share:.0%} of the picture (above {LIKE})"
        return f"{where}; wanted most by {most}; {like}"

    def __repr__(self) -> str:
        return f"PixelExplorer: {self.words()}"

    def draw(self, change: object = None) -> None:
        """Show `figure()`, unless it is shown already."""
        if self.pixel != self._drawn:
            self._drawn = self.pixel
            super().draw()
            self._picture.words = self.words()

    def figure(self) -> Figure:
        """The picture with the pixel's cell, the map of like pixels, and the bars of the queries."""
        (width, height), photo, like, bars = self._frames()
        figure = Figure(figsize=(width, height), facecolor="white")
        axis = figure.add_axes(photo)
        show_picture(axis, self.image, "click a pixel")
        self._mark(axis)
        self._like(figure, figure.add_axes(like))
        self._bars(figure.add_axes(bars))
        figure.text(photo[0], 0.5 * BELOW / height, self.words(), fontsize=9, va="center")
        return figure

    def _frames(self) -> tuple[tuple[float, float], Frame, Frame, Frame]:
        """Width and height of the figure in inches, and the places of the two pictures and of the bars."""
        high, wide = (SIDE * side / max(self.image.shape[1:]) for side in self.image.shape[1:])
        tall = max(high, 2.2)  # the bars need so much
        height = tall + TOP + BELOW
        bottom = (BELOW + tall - high) / height
        photo, like = ((left / PAGE, bottom, wide / PAGE, high / height) for left in (RIM, RIM + LIKE_X))
        bars = (BARS_X / PAGE, (BELOW + 0.42) / height, 1 - (BARS_X + 0.38) / PAGE, (tall - 0.42) / height)
        return (PAGE, height), photo, like, bars

    def _mark(self, axis: Axes) -> None:
        """Frame the cell of the embeddings that the pixel lies in."""
        (row, column), (high, wide) = self._cell(self.directions), self.image.shape[1:]
        down, across = high / self.directions.shape[1], wide / self.directions.shape[2]
        box_patch(axis, torch.tensor([column * across, row * down, (column + 1) * across, (row + 1) * down]), MARK)
        axis.set(xlim=(0, wide), ylim=(high, 0))

    def _like(self, figure: Figure, axis: Axes) -> None:
        height, width = self.image.shape[1:]
        shown = axis.imshow(
            self.like().numpy(), "RdBu_r", vmin=-1, vmax=1, interpolation="nearest", extent=(0, width, height, 0)
        )
        axis.set_title("pixels like this one (cosine)", fontsize=10)
        axis.axis("off")
        self._mark(axis)
        place = axis.get_position(original=True)
        bar = figure.add_axes((place.x1 + 0.07 / PAGE, place.y0, 0.1 / PAGE, place.height))
        figure.colorbar(shown, cax=bar, ticks=[-1, 0, 1])
        bar.tick_params(labelsize=8, length=0, pad=2)

    def _bars(self, axis: Axes) -> None:
        """Three bars for each of the queries that want the pixel most, the first on top."""
        wants = self.wants()
        for place, (query, says, here, product) in enumerate(wants):
            colour = self.colours[int(self.labels[query])]
            axis.barh(place - 0.29, says, 0.18, color=SAYS)
            axis.barh(place - 0.09, here, 0.18, color=COVERS)
            axis.barh(place + 0.16, product, 0.28, color=colour, edgecolor="black", linewidth=0.6)
            axis.text(product + 0.02, place + 0.16, f"{product:.2f}", va="center", fontsize=8)
        kinds = [(query, self.names[int(self.labels[query])]) for query, *_ in wants]
        texts = [f"({query}: {kind})" if self.silent[query] else f"{query}: {kind}" for query, kind in kinds]
        axis.set_yticks(range(len(wants)), texts, fontsize=8)
        axis.set(xlim=(0, 1), ylim=(SHOWN - 0.5, -0.5), xticks=np.linspace(0, 1, 3))
        axis.set_title("who wants this pixel", fontsize=10)
        axis.tick_params(labelsize=8, left=False)
        axis.spines[["top", "right"]].set_visible(False)
        names = ((SAYS, "class"), (COVERS, "mask"), ("white", "product"))
        handles = [Patch(facecolor=colour, edgecolor="black", linewidth=0.4, label=name) for colour, name in names]
        axis.legend(
            handles=handles, loc="upper center", bbox_to_anchor=(0.4, -0.09), ncols=3, frameon=False, fontsize=8,
            columnspacing=1.0, handlelength=1.2, handletextpad=0.4,
        )  # fmt: skip

    # hands

    def _cell(self, maps: Tensor) -> tuple[int, int]:
        """Row and column of the cell of maps (n, h, w) that the pixel lies in."""
        (row, column), (height, width) = self.pixel, self.image.shape[1:]
        return row * maps.shape[1] // height, column * maps.shape[2] // width

    def _point(self, across: float, down: float, dragged: bool) -> None:
        """On one of the two pictures: that pixel."""
        _, photo, like, _ = self._frames()
        for left, bottom, width, height in (photo, like):
            row = floor((down - (1 - bottom - height)) / height * self.image.shape[1])
            column = floor((across - left) / width * self.image.shape[2])
            if 0 <= row < self.image.shape[1] and 0 <= column < self.image.shape[2]:
                self.pixel = (row, column)

    def _step(self, rows: int, columns: int) -> None:
        """So many cells of the embeddings on, at most to the edge."""
        steps = zip(self.pixel, (rows, columns), self.image.shape[1:], self.directions.shape[1:])
        moved = ((place + round(step * side / cells), side) for place, step, side, cells in steps)
        row, column = (min(max(place, 0), side - 1) for place, side in moved)
        self.pixel = (row, column)
