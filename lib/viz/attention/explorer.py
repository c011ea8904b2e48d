"""Where does a place of a photo look, and where a query? One layer and one head at a time, or all at a glance."""

from math import floor

import ipywidgets
import numpy as np
import torch
import torch.nn.functional as F
import traitlets
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from lib.viz.basics.click_picture import ClickPicture
from lib.viz.basics.draw import PAGE
from lib.viz.basics.picture_widget import PictureWidget
from lib.viz.detection.boxes import box_patch, check_boxes, show_picture

NONE = -1  # in the menus: the clicked place instead of a query, the mean instead of a head
MARK = "#FF3B6B"  # who looks: the clicked cell, the query's box; and what of all maps is shown large
SIDE, TOP, BELOW = 3.9, 0.3, 0.36  # inches: the photo's longer side; a title above; a line of text below
TILES_X, TILES_WIDE = 5.3, 4.0  # inches: where the small maps begin, and how wide they are together
MOST_LINES = 40  # cells in a row, up to which their borders are drawn

Frame = tuple[float, float, float, float]  # left, bottom, width, height of a part, as shares of the figure


def explore_attention(
    image: Tensor,
    among: list[Tensor],
    asked: list[Tensor],
    says: list[str] | None = None,
    boxes: Tensor | None = None,
    cell: tuple[int, int] | None = None,
    query: int | None = None,
) -> "AttentionExplorer":
    """Click a place of the photo and see where it looks, or pick a query; by layer and by head.

    Args:
        image: (3, H, W) floats 0..1. The cells of a map share it evenly.
        among: for each layer (heads, h, w, h, w): of the cell at [y, x], how much it looks at each cell, which adds up
            to 1. A model has a batch axis in front: give `[0]` of it.
        asked: for each layer (heads, Q, h, w): of each query, how much it looks at each cell, which adds up to 1. One
            of the two lists may be empty.
        says: for each query what it says, such as "2: crate 0.98"; None: its number.
        boxes: (Q, 4) xyxy pixels, the box of each query.
        cell: (row, column) that looks first; None: one in the middle.
        query: that looks first; None: the cell does, if `among` has layers.

    Raises:
        ValueError: a shape does not fit, a map does not add up to 1, or both lists are empty.
    """
    if image.ndim != 3 or image.shape[0] != 3:
        raise ValueError(f"image is {tuple(image.shape)}; expected (3, H, W)")
    if not among and not asked:
        raise ValueError("among and asked are both empty; expected the maps of at least one layer")
    among = _checked("among", among, "(heads, h, w, h, w)", 5)
    asked = _checked("asked", asked, "(heads, Q, h, w)", 4)
    queries = asked[0].shape[1] if asked else 0
    if says is not None and len(says) != queries:
        raise ValueError(f"says has {len(says)} texts; expected {queries}, one for each query")
    if boxes is not None and len(check_boxes("boxes", boxes)) != queries:
        raise ValueError(f"boxes is {tuple(boxes.shape)}; expected ({queries}, 4), one for each query")
    explorer = AttentionExplorer(image.detach().cpu(), among, asked, says, boxes)
    if cell is not None:
        explorer.cell = cell
    if query is not None:
        explorer.query = query
    return explorer


def _checked(name: str, maps: list[Tensor], shape: str, axes: int) -> list[Tensor]:
    """The maps as floats on the processor."""
    maps = [one.detach().cpu().float() for one in maps]
    for number, one in enumerate(maps):
        if one.ndim != axes or one.numel() == 0 or (axes == 5 and one.shape[1:3] != one.shape[3:]):
            raise ValueError(f"{name}[{number}] is {tuple(one.shape)}; expected {shape}, a single picture's")
        if one.shape != maps[0].shape:
            raise ValueError(f"{name}[{number}] is {tuple(one.shape)}; expected {tuple(maps[0].shape)}, as {name}[0]")
        if not (one >= 0).all() or not torch.allclose(one.sum((-2, -1)), torch.tensor(1.0), atol=0.01):
            raise ValueError(f"{name}[{number}] does not add up to 1 over its last two axes; expected shares, 0..1")
    return maps


class AttentionExplorer(PictureWidget):
    """What `explore_attention` gives. Each of these can be set from Python too:

    Attributes:
        cell: (row, column) of the place that looks; setting it turns from a query to the place.
        query: number of the query that looks; None: the place does.
        layer: of the encoder if a place looks, of the decoder if a query does; 0 is the first.
        head: 0 is the first; None: the mean of all.
    """

    cell = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(0, 0))
    query = traitlets.Int(None, allow_none=True)
    layer = traitlets.Int(0)
    head = traitlets.Int(None, allow_none=True)

    def __init__(
        self, image: Tensor, among: list[Tensor], asked: list[Tensor], says: list[str] | None, boxes: Tensor | None
    ) -> None:
        self.image, self.among, self.asked = image, among, asked
        self.boxes = None if boxes is None else check_boxes("boxes", boxes)
        self.says = says or [f"query {number}" for number in range(asked[0].shape[1] if asked else 0)]
        self._drawn: tuple = ()
        self.query = None if among else 0
        if among:
            self.cell = tuple(side // 2 for side in self._grid())
        self.layer = len(self.maps()) - 1
        queries, wide = [(text, number) for number, text in enumerate(self.says)], {"description_width": "initial"}
        everyone = [("the place clicked", NONE), *queries] if among else queries
        who = ipywidgets.Dropdown(options=everyone, description="who looks", style=wide)
        self._layers = ipywidgets.IntSlider(self.layer, 0, self.layer, description="layer", style=wide)
        self._heads = ipywidgets.Dropdown(options=self._head_names(), description="head", style=wide)
        label = "Photo with where a place of it looks. Arrow keys move the place, Shift with an arrow key by five."
        super().__init__([who, self._layers, self._heads], picture=ClickPicture(self._point, self._step, label))
        self.observe(self._turn, names="query")
        self.observe(lambda _: setattr(self, "query", None), names="cell")
        self.link("layer", self._layers)
        ways = (lambda value: NONE if value is None else value, lambda value: None if value == NONE else value)
        for name, menu in (("query", who), ("head", self._heads)):
            traitlets.link((self, name), (menu, "value"), transform=ways)
        self.observe(self.draw, names=["query", "cell", "head"])
        self.draw()

    # what may be set

    @traitlets.validate("cell")
    def _check_cell(self, proposal: dict) -> tuple[int, int]:
        (row, column), (height, width) = proposal["value"], self._grid()
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"cell is {(row, column)}; expected a row below {height} and a column below {width}")
        return row, column

    @traitlets.validate("query")
    def _check_query(self, proposal: dict) -> int | None:
        query = proposal["value"]  # traitlets does not ask here whether None will do: see `_turn`
        if query is not None and not 0 <= query < len(self.says):
            raise ValueError(f"query is {query}; expected one of {len(self.says)} queries, or None if a place looks")
        return query

    @traitlets.validate("layer")
    def _check_layer(self, proposal: dict) -> int:
        if not 0 <= proposal["value"] < len(self.maps()):
            raise ValueError(f"layer is {proposal['value']}; expected 0 to {len(self.maps()) - 1}")
        return proposal["value"]

    @traitlets.validate("head")
    def _check_head(self, proposal: dict) -> int | None:
        head, heads = proposal["value"], len(self.maps()[0])
        if head is not None and not 0 <= head < heads:
            raise ValueError(f"head is {head}; expected 0 to {heads - 1}, or None for the mean of all")
        return head

    def _grid(self) -> tuple[int, int]:
        """Rows and columns of cells that can look; none if only queries can."""
        return self.among[0].shape[1:3] if self.among else (0, 0)

    # what is seen

    def maps(self) -> list[Tensor]:
        """The maps of who looks now, of each layer: `among` or `asked`."""
        return self.among if self.query is None else self.asked

    def looks(self, layer: int) -> Tensor:
        """Where who looks now does so in a layer: (1 + heads, h, w), the mean of all heads first."""
        at = (slice(None), *self.cell) if self.query is None else (slice(None), self.query)
        heads = self.maps()[layer][at]  # (heads, h, w)
        return torch.cat([heads.mean(0, keepdim=True), heads])

    def heat(self) -> Tensor:
        """The map that lies over the photo, (h, w)."""
        return self.looks(self.layer)[0 if self.head is None else 1 + self.head]

    def words(self) -> str:
        """The cell that is looked at most, and what the place itself or the query's box gets."""
        heat, (high, wide) = self.heat(), self.image.shape[1:]
        row, column = divmod(int(heat.argmax()), heat.shape[1])
        most = f"most at row {row}, column {column}: {heat.max():.1%}; an even look: {1 / heat.numel():.1%} a cell"
        if self.query is None:
            return f"{most}; at itself: {heat[self.cell]:.1%}"
        if self.boxes is None:
            return most
        x1, y1, x2, y2 = self.boxes[self.query].tolist()
        down, across = _covered(heat.shape[0], y1 / high, y2 / high), _covered(heat.shape[1], x1 / wide, x2 / wide)
        covered = torch.outer(down, across)  # (h, w)
        return f"{most}; inside its box: {(heat * covered).sum():.0%}, and the box is {covered.mean():.0%} of the photo"

    def title(self) -> str:
        """Who looks, in which layer and head."""
        who = "row {}, column {}, in encoder".format(*self.cell)
        if self.query is not None:
            who = f"{self.says[self.query]}, in decoder"
        return f"{who} layer {self.layer}, {'mean of all heads' if self.head is None else f'head {self.head}'}"

    def __repr__(self) -> str:
        return f"AttentionExplorer: {self.title()}; {self.words()}"

    def draw(self, change: object = None) -> None:
        """Show `figure()`, unless it is shown already: one act may change several of the controls."""
        state = (self.cell, self.query, self.layer, self.head)
        if state != self._drawn:
            self._drawn = state
            super().draw()
            self._picture.words = f"{self.title()}; {self.words()}"

    def figure(self) -> Figure:
        """The photo with the heat over it, large; small beside it, the maps of all layers and heads."""
        (width, height), photo, tiles = self._frames()
        figure = Figure(figsize=(width, height), facecolor="white")
        self._photo(figure.add_axes(photo))
        figure.text(photo[0], 1 - 0.5 * TOP / height, f"where it looks: {self.title()}", fontsize=10, va="center")
        figure.text(photo[0], 0.5 * BELOW / height, self.words(), fontsize=9, va="center")
        bar = figure.add_axes((photo[0] + photo[2] + 0.1 / width, photo[1], 0.13 / width, photo[3]))
        bar.imshow(np.linspace(1, 0, 256)[:, None], "viridis", aspect="auto", extent=(0, 1, 0, 1))
        bar.set(xticks=[], yticks=[0, 0.5, 1], yticklabels=[f"{part * self.heat().max():.1%}" for part in (0, 0.5, 1)])
        bar.tick_params(labelsize=8, left=False, labelleft=False, right=True, labelright=True)
        self._tiles(figure.add_axes(tiles))
        return figure

    def _frames(self) -> tuple[tuple[float, float], Frame, Frame]:
        """Width and height of the figure in inches, and the places of the photo and of the small maps."""
        high, wide = (SIDE * side / max(self.image.shape[1:]) for side in self.image.shape[1:])
        columns, rows, height = 1 + len(self.maps()[0]), len(self.maps()), high + TOP + BELOW
        share = min(TILES_WIDE / columns / wide, (1 - 0.55 / high) / rows)  # of the photo's width that a small map has
        across, down = share * columns * wide, share * rows * high
        photo = (0.05 / PAGE, BELOW / height, wide / PAGE, high / height)
        tiles = (TILES_X / PAGE, (BELOW + high - 0.35 - down) / height, across / PAGE, down / height)
        return (PAGE, height), photo, tiles

    def _photo(self, axis: Axes) -> None:
        heat, (height, width) = self.heat(), self.image.shape[1:]
        opacity = (0.35 + 0.45 * heat / heat.max()).numpy()  # the photo is seen best where nobody looks
        show_picture(axis, self.image, dim=0.6)
        axis.imshow(
            heat.numpy(), "viridis", vmin=0, alpha=opacity, interpolation="nearest", extent=(0, width, height, 0)
        )
        down, across = height / heat.shape[0], width / heat.shape[1]
        if max(heat.shape) <= MOST_LINES:
            line = {"color": "white", "linewidth": 0.4, "alpha": 0.5}
            axis.hlines(down * np.arange(1, heat.shape[0]), 0, width, **line)
            axis.vlines(across * np.arange(1, heat.shape[1]), 0, height, **line)
        if self.query is None:
            row, column = self.cell
            box_patch(axis, torch.tensor([column * across, row * down, (column + 1) * across, (row + 1) * down]), MARK)
        elif self.boxes is not None:
            box_patch(axis, self.boxes[self.query], MARK)
        axis.set(xlim=(0, width), ylim=(height, 0))

    def _tiles(self, axis: Axes) -> None:
        """A row for each layer, a column for the mean and for each head; each map from 0 to its own highest share."""
        looks = torch.stack([self.looks(layer) for layer in range(len(self.maps()))])  # (layers, 1 + heads, h, w)
        looks = F.pad(looks / looks.amax((2, 3), keepdim=True), (0, 1, 0, 1), value=float("nan"))  # a gap: h + 1, w + 1
        (rows, columns), sheet = looks.shape[:2], looks.transpose(1, 2).flatten(2).flatten(0, 1)
        axis.imshow(sheet.numpy(), "viridis", aspect="auto", interpolation="nearest", extent=(0, columns, rows, 0))
        axis.set(xticks=np.arange(columns) + 0.5, xticklabels=["all", *range(columns - 1)])
        axis.set(yticks=np.arange(rows) + 0.5, yticklabels=range(rows))
        axis.set_title("head", fontsize=8, pad=3)
        axis.set_ylabel("layer", fontsize=8)
        axis.tick_params(labelsize=8, length=0, bottom=False, labelbottom=False, labeltop=True)
        axis.spines[:].set_visible(False)
        axis.text(0, rows + 0.1, "each from 0 to its own highest share; click one", fontsize=8, va="top")
        corner, (h, w) = (0 if self.head is None else 1 + self.head, self.layer), self.heat().shape
        size = (w / (w + 1), h / (h + 1))
        axis.add_patch(Rectangle(corner, *size, fill=False, edgecolor=MARK, linewidth=2, clip_on=False))

    # hands

    def _point(self, across: float, down: float, dragged: bool) -> None:
        """On the photo: that place looks. On a small map: its layer and head."""
        _, photo, tiles = self._frames()
        cell = _part(photo, *self._grid(), across, down)
        tile = None if dragged else _part(tiles, len(self.maps()), 1 + len(self.maps()[0]), across, down)
        if cell is not None:
            self.cell, self.query = cell, None
        elif tile is not None:
            with self.hold_trait_notifications():
                self.layer, self.head = tile[0], tile[1] - 1 if tile[1] else None

    def _step(self, rows: int, columns: int) -> None:
        """From the cell to another one, which then looks."""
        if self.among:
            (row, column), (height, width) = self.cell, self._grid()
            self.cell = (min(max(row + rows, 0), height - 1), min(max(column + columns, 0), width - 1))
            self.query = None

    def _turn(self, change: dict) -> None:
        """From a place to a query, or back: other layers and heads. Whoever saw the last layer sees the last one."""
        if not self.maps():
            self.query = change["old"]
            raise ValueError(f"query is None; expected 0 to {len(self.says) - 1}, as among is empty")
        layers, heads = len(self.maps()), len(self.maps()[0])
        saw_last = self.layer == len(self.among if change["old"] is None else self.asked) - 1
        layer = layers - 1 if saw_last else min(self.layer, layers - 1)
        head = None if (self.head or 0) >= heads else self.head
        with self.hold_trait_notifications():
            self._layers.max, self._heads.options = layers - 1, self._head_names()
            self.layer, self.head = layer, head

    def _head_names(self) -> list[tuple[str, int]]:
        heads = len(self.maps()[0])
        return [("all (mean)", NONE), *((f"head {number}", number) for number in range(heads))]


def _covered(cells: int, low: float, high: float) -> Tensor:
    """Which part of each cell of a row or column lies between two places, (cells,); all three from 0 to 1."""
    edges = torch.linspace(0, 1, cells + 1)
    return ((edges[1:].clamp(max=high) - edges[:-1].clamp(min=low)) * cells).clamp(min=0)


def _part(frame: Frame, rows: int, columns: int, across: float, down: float) -> tuple[int, int] | None:
    """Row and column of the part of `frame` at a place of the figure; None where there is none."""
    left, bottom, width, height = frame
    row, column = floor((down - (1 - bottom - height)) / height * rows), floor((across - left) / width * columns)
    return (row, column) if 0 <= row < rows and 0 <= column < columns else None
