"""The explorer: every feature map of any model, to be looked at with the mouse, the keyboard or from Python."""

import base64
from pathlib import Path

import anywidget
import ipywidgets
import numpy as np
import traitlets
from PIL import Image, ImageDraw
from torch import Tensor, nn

from lib.viz.basics.draw import to_pixels
from lib.viz.explorer.activations import FeatureMap, check_image, feature_maps, find_map, stages
from lib.viz.explorer.feature_pictures import pca_colours, strongest_channels
from lib.viz.explorer.painting import Canvas, enlarge, frame, label, png, snapshot, tint

HERE = Path(__file__).parent
VIEWS = {"channel": "channel", "strongest": "strongest", "mean": "mean", "pca": "PCA"}
SHOWN, CROP, GRID, BARS = 440, 168, 4, 8  # screen pixels of picture and enlargement; tiles in a row; bars


def explore(model: nn.Module, image: Tensor, picture: Tensor | None = None) -> "Explorer":
    """Look inside any model: each layer that gives a map, its channels, and what each of their cells sees.

    The model is called once, on `image` as a batch of one, exactly as given, in eval mode and without gradients. The
    maps are kept on the CPU as float16; beyond 1 GiB the largest maps of inner layers are let go.

    Args:
        image: (C, H, W) floats, as the model wants them.
        picture: what to show as the photo, (3, H, W) floats 0..1, if not `image`: for models that want a normalised
            input. Without it, an `image` beyond 0..1 is stretched to be shown.

    Raises:
        ValueError: a bad image or picture, or a model of which no module gives a map.
    """
    batch = check_image(image)
    if picture is not None and picture.shape[-2:] != batch.shape[-2:]:
        raise ValueError(
            f"picture is {tuple(picture.shape[-2:])} (height, width); expected the size of the image, "
            f"{tuple(batch.shape[-2:])}"
        )
    if picture is None:
        picture = batch if batch.shape[1] in (1, 3) else batch.mean(1, keepdim=True)  # (1, 1 or 3, H, W)
    return Explorer(type(model).__name__, feature_maps(model, image), to_pixels(picture))


class _Picture(anywidget.AnyWidget):
    """The picture that can be clicked. Sends {"pick": [across, down]} in 0..1, or {"step": [rows, columns]}."""

    _esm = HERE / "picture.js"
    _css = HERE / "explorer.css"
    png = traitlets.Bytes().tag(sync=True)
    label = traitlets.Unicode().tag(sync=True)
    spoken = traitlets.Unicode().tag(sync=True)


class _Bars(anywidget.AnyWidget):
    """The channels of one cell, [number, value] each. Sends {"channel": number} when one is clicked."""

    _esm = HERE / "bars.js"
    _css = HERE / "explorer.css"
    bars = traitlets.List().tag(sync=True)
    chosen = traitlets.Int().tag(sync=True)


class Explorer(ipywidgets.VBox):
    """What `explore` gives. Each of these can be set from Python too, and the picture follows:

    Attributes:
        layer: the module shown, by its path.
        view: "channel", "strongest" (the sixteen strongest channels), "mean" (over channels) or "pca" (three main
            directions as red, green, blue).
        channel: the channel shown; setting it turns to the view "channel".
        opacity: of the map over the picture, 0 to 1.
        cell: (row, column) of the cell whose window and values are shown.
        maps: all maps that can be shown.
    """

    layer = traitlets.Unicode()
    view = traitlets.Unicode("channel")
    channel = traitlets.Int(0)
    opacity = traitlets.Float(0.7)
    cell = traitlets.Tuple(traitlets.Int(), traitlets.Int())

    def __init__(self, model_name: str, maps: list[FeatureMap], photo: np.ndarray) -> None:
        self.maps = maps
        self._model_called, self._canvas = model_name, Canvas(photo, SHOWN)
        self._tile = Canvas(self._canvas.base, SHOWN // GRID - 2)
        self._refreshing = True  # nothing is drawn before all is set up
        self._build_controls()
        super().__init__(
            children=[
                self._caption,
                ipywidgets.HBox(
                    [self._left, self._middle, self._right],
                    layout=ipywidgets.Layout(flex_flow="row wrap", grid_gap="8px"),
                ),
            ]
        )
        self._map = self._lists["stages"][0]
        self.layer = self._map.name
        self._take_layer(self._map, down=0.5, across=0.5)
        self._refreshing = False
        self.observe(self._on_change, names=["layer", "view", "channel", "opacity", "cell"])
        self._refresh()

    # what a model and a cell are called

    def __repr__(self) -> str:
        first, height, width = self.maps[0], *self._canvas.photo.shape[:2]
        return (
            f"Explorer: {len(self.maps)} maps of {self._model_called} on a {height}×{width} picture, first "
            f"{first.name} {first.shape} {first.geometry}"
        )

    def _repr_mimebundle_(self, **arguments: object) -> dict:
        bundle = dict(super()._repr_mimebundle_(**arguments))
        bundle["text/plain"] = repr(self)
        bundle["image/png"] = base64.b64encode(png(self.snapshot(), small=True)).decode()  # without a kernel
        return bundle

    def snapshot(self) -> Image.Image:
        """What the explorer shows now, as one still picture on white."""
        title = f"{self._model_called}, {self._map}, {self._view_name()}"
        return snapshot(self._paint(), self._paint_crop(), title, "\n".join(self._cell_lines()), self._strongest_here())

    # changes, from Python or from the controls

    @traitlets.validate("layer")
    def _check_layer(self, proposal: dict) -> str:
        return find_map(self.maps, proposal["value"]).name

    @traitlets.validate("view")
    def _check_view(self, proposal: dict) -> str:
        if proposal["value"] not in VIEWS:
            raise ValueError(f"view is {proposal['value']!r}; expected one of {', '.join(map(repr, VIEWS))}")
        return proposal["value"]

    @traitlets.validate("channel")
    def _check_channel(self, proposal: dict) -> int:
        channels = self._map.shape[0]
        if not 0 <= proposal["value"] < channels:
            raise ValueError(f"channel is {proposal['value']}; expected 0 to {channels - 1} for {self.layer}")
        return proposal["value"]

    @traitlets.validate("opacity")
    def _check_opacity(self, proposal: dict) -> float:
        if not 0 <= proposal["value"] <= 1:
            raise ValueError(f"opacity is {proposal['value']}; expected a number from 0 to 1")
        return proposal["value"]

    @traitlets.validate("cell")
    def _check_cell(self, proposal: dict) -> tuple[int, int]:
        (row, column), (_, height, width) = proposal["value"], self._map.shape
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"cell is {(row, column)}; expected a row below {height} and a column below {width}")
        return row, column

    def _on_change(self, change: dict) -> None:
        if self._refreshing:
            return
        self._refreshing = True  # what follows from this change is drawn with it, once
        try:
            if change["name"] == "layer":
                places = [np.flatnonzero(under == cell) / len(under) for under, cell in zip(self._under, self.cell)]
                down, across = (place.mean() if len(place) else 0.5 for place in places)
                self._take_layer(find_map(self.maps, self.layer), down, across)
            elif change["name"] == "channel":
                self.view = "channel"
            self._show_state_in_controls()
        finally:
            self._refreshing = False
        self._refresh()

    def _take_layer(self, chosen: FeatureMap, down: float, across: float) -> None:
        """Turn to a map: its strongest channel, and the cell at the same place of the picture (both 0..1)."""
        self._map = chosen
        self._values = chosen.values.float().numpy()  # (C, h, w)
        self._order = strongest_channels(chosen.values)
        self._under = self._canvas.cells_under(chosen.geometry, *chosen.shape[1:])
        self._pca: np.ndarray | None = None  # worked out when it is first looked at
        self.channel = self._order[0]
        self.cell = self._cell_at(down, across)
        self._show_state_in_controls()

    def _cell_at(self, down: float, across: float) -> tuple[int, int]:
        rows, columns = self._under
        row = rows[min(int(down * len(rows)), len(rows) - 1)]
        column = columns[min(int(across * len(columns)), len(columns) - 1)]
        return (int(row) if row >= 0 else self.cell[0]), (int(column) if column >= 0 else self.cell[1])

    def _on_message(self, _: object, content: dict, __: object) -> None:
        """From the browser: a place on the picture, arrow keys, or a bar."""
        _, height, width = self._map.shape
        if "channel" in content:
            self.view, self.channel = "channel", content["channel"]
        elif "step" in content:
            row, column = self.cell[0] + content["step"][0], self.cell[1] + content["step"][1]
            self.cell = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
        elif "pick" in content:
            across, down = content["pick"]
            if self.view == "strongest":  # a tile: look at its channel
                tile = min(int(down * GRID), GRID - 1) * GRID + min(int(across * GRID), GRID - 1)
                if tile < len(self._order):
                    self.channel = self._order[tile]
                    self.view = "channel"
                return
            self.cell = self._cell_at(down, across)

    # what is shown

    def _refresh(self) -> None:
        cell_lines = self._cell_lines()
        with self.hold_sync():
            self._picture.png = png(self._paint())
            self._crop.value = png(self._paint_crop())
            with self._bars.hold_sync():
                self._bars.bars, self._bars.chosen = self._strongest_here(), self.channel
            channels, height, width = self._map.shape
            self._caption.value = (
                f'<div class="explorer-text"><b>{self.layer}</b>: {channels} channels of '
                f"{height}×{width} cells, {self._map.geometry}</div>"
            )
            self._cell_text.value = '<div class="explorer-text">' + "<br>".join(cell_lines) + "</div>"
            self._scale_text.value = self._scale()
            self._picture.label = (
                f"Picture with {self._view_name()} of {self.layer}. Arrow keys move the cell, "
                "Shift with an arrow key moves it by five."
            )
            self._picture.spoken = ", ".join(cell_lines)

    def _view_name(self) -> str:
        return {
            "channel": f"channel {self.channel}",
            "strongest": "the strongest channels",
            "mean": "the mean of all channels",
            "pca": "PCA as colours",
        }[self.view]

    def _cell_lines(self) -> list[str]:
        (row, column), (x1, y1, x2, y2) = self.cell, self._map.geometry.window(*self.cell)
        if x2 <= x1 or y2 <= y1:
            return [f"cell: row {row}, column {column}", "sees nothing but padding", "", ""]
        return [
            f"cell: row {row}, column {column}",
            f"sees {y2 - y1}×{x2 - x1} pixels",
            f"rows {y1}–{y2 - 1}",
            f"columns {x1}–{x2 - 1}",
        ]

    def _scale(self) -> str:
        if self.view == "pca":
            text = "<small>like colours: like features</small>"
        elif self.view == "strongest":
            return '<div class="explorer-text"><small>each from its lowest to its highest; click one</small></div>'
        else:
            values = self._values[self.channel] if self.view == "channel" else self._values.mean(0)
            text = f'<small>{values.min():.2f}<span class="explorer-scale"></span>{values.max():.2f}</small>'
        return f'<div class="explorer-text explorer-legend">{text}<small>click, drag or arrow keys</small></div>'

    def _strongest_here(self) -> list[tuple[int, float]]:
        values = self._values[:, self.cell[0], self.cell[1]]
        order = np.argsort(-np.abs(values), kind="stable")[:BARS]
        return [(int(channel), float(values[channel])) for channel in order]

    def _paint(self) -> Image.Image:
        if self.view == "strongest":
            return self._paint_grid()
        if self.view == "pca":
            if self._pca is None:
                self._pca = (pca_colours(self._map.values) * 255).astype(np.uint8)
            colours = self._pca
        else:
            colours = tint(self._values[self.channel] if self.view == "channel" else self._values.mean(0))
        picture = Image.fromarray(self._canvas.lay(colours, self._under, self.opacity))
        draw, scale = ImageDraw.Draw(picture), self._canvas.scale
        frame(draw, tuple(edge * scale for edge in self._map.geometry.window(*self.cell)), picture.size, width=3)
        rows, columns = (np.flatnonzero(under == cell) for under, cell in zip(self._under, self.cell))
        if len(rows) and len(columns):
            frame(draw, (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1), picture.size, width=1)
        return picture

    def _paint_grid(self) -> Image.Image:
        sheet = Image.new("RGB", (self._canvas.width, self._canvas.height), (128, 128, 128))
        small = self._tile
        rows, columns = (
            under[np.arange(shown) * len(under) // shown]
            for under, shown in zip(self._under, (small.height, small.width))
        )
        for position, channel in enumerate(self._order[: GRID * GRID]):
            tile = Image.fromarray(small.lay(tint(self._values[channel]), (rows, columns), self.opacity))
            label(ImageDraw.Draw(tile), (0, 0), f"{channel}")
            down, across = divmod(position, GRID)
            sheet.paste(tile, (across * sheet.width // GRID + 1, down * sheet.height // GRID + 1))
        return sheet

    def _paint_crop(self) -> Image.Image:
        return enlarge(self._canvas.photo, self._map.geometry.window(*self.cell), CROP)

    # controls

    def _build_controls(self) -> None:
        block_maps = [feature_map for feature_map in self.maps if not feature_map.inner]
        self._lists = {"stages": stages(self.maps), "blocks": block_maps or self.maps, "all": self.maps}
        self._caption, self._cell_text, self._scale_text = (ipywidgets.HTML() for _ in range(3))
        self._detail = ipywidgets.ToggleButtons(
            options=list(self._lists),
            style={"button_width": "57px"},
            tooltips=["one layer for each size of map", "blocks and outermost layers", "every module that gives a map"],
        )
        self._detail.add_class("explorer-detail")
        self._select = ipywidgets.Select(tooltip="layer", layout=ipywidgets.Layout(width="184px", height="372px"))
        self._select.add_class("explorer-layers")
        self._views = ipywidgets.ToggleButtons(
            options=[(text, name) for name, text in VIEWS.items()],
            style={"button_width": "82px"},
            tooltips=[
                "the channel chosen below",
                "the sixteen channels that vary most",
                "over all channels",
                "cells with like features in like colours",
            ],
        )
        wide, style = ipywidgets.Layout(width="98%"), {"description_width": "56px"}
        self._slider = ipywidgets.IntSlider(description="channel", layout=wide, style=style, tooltip="channel")
        self._opacity = ipywidgets.FloatSlider(
            description="opacity", max=1, step=0.05, layout=wide, style=style, tooltip="opacity"
        )
        self._picture, self._bars = _Picture(), _Bars()
        self._crop = ipywidgets.Image(format="png")
        self._left = ipywidgets.VBox([self._detail, self._select])
        self._middle = ipywidgets.VBox(
            [self._views, self._picture, self._scale_text, self._slider, self._opacity],
            layout=ipywidgets.Layout(flex="1 1 340px", max_width="448px"),
        )
        self._right = ipywidgets.VBox(
            [
                self._cell_text,
                self._crop,
                ipywidgets.HTML('<div class="explorer-text"><small>channels of this cell</small></div>'),
                self._bars,
            ],
            layout=ipywidgets.Layout(width="172px"),
        )
        self._detail.observe(self._on_control, names="value")
        self._select.observe(self._on_control, names="value")
        self._slider.observe(self._on_control, names="value")
        traitlets.link((self, "view"), (self._views, "value"))
        traitlets.link((self, "opacity"), (self._opacity, "value"))
        for widget in (self._picture, self._bars):
            widget.on_msg(self._on_message)

    def _on_control(self, change: dict) -> None:
        if self._refreshing:  # not a hand, but `_show_state_in_controls`
            return
        if change["owner"] is self._slider:
            self.channel = change["new"]
        elif change["owner"] is self._select:
            self.layer = change["new"]
        else:
            self._refreshing = True
            self._fill_list()
            self._refreshing = False

    def _fill_list(self) -> None:
        listed = self._lists[self._detail.value]
        self._select.options = [(_entry(feature_map), feature_map.name) for feature_map in listed]
        self._select.value = self.layer if any(feature_map is self._map for feature_map in listed) else None

    def _show_state_in_controls(self) -> None:
        """Make list and slider agree with `layer` and `channel`."""
        if self._select.value != self.layer:
            if not any(feature_map is self._map for feature_map in self._lists[self._detail.value]):
                self._detail.value = "all"
            self._fill_list()
        self._slider.max = self._map.shape[0] - 1
        self._slider.value = self.channel


def _entry(feature_map: FeatureMap) -> str:
    """A line of the list: the end of a long name, and the size."""
    name, size = feature_map.name, f"{feature_map.shape[1]}×{feature_map.shape[2]}"
    room = 22 - len(size)
    shown = name if len(name) <= room else "…" + name[1 - room :]
    return f"{shown:<{room}} {size}".replace(" ", "\u00a0")  # spaces that a browser does not fold
