"""The explorer: every feature map of any model, to be looked at with the mouse, the keyboard or from Python.

The page draws (`drawing.js`, `panel.js`), Python holds the maps and the state: a layer's maps are sent once, as
`lib.viz.explorer.layers` says, and every change after that is painted where it is seen.
"""

import base64
from pathlib import Path

import anywidget
import numpy as np
import traitlets
from PIL import Image
from torch import Tensor, nn

from lib.viz.basics.draw import to_pixels
from lib.viz.explorer.activations import FeatureMap, Recording, check_image, compact, find_map, record, stages
from lib.viz.explorer.arranging import evenly
from lib.viz.explorer.layers import Layer
from lib.viz.explorer.page import PANEL, STYLE, about, png, script, write_page
from lib.viz.explorer.still import Look, still_picture

VIEWS = {"channel": "channel", "strongest": "strongest", "mean": "mean", "pca": "PCA"}


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
    return Explorer(type(model).__name__, record(model, image), to_pixels(picture))


def explore_maps(picture: Tensor, maps: dict[str, Tensor]) -> "Explorer":
    """Look at maps of your own over a picture in the same way: attention, masks, what queries look at.

    Args:
        picture: (3, H, W) floats 0..1.
        maps: by the name under which each is listed: (C, h, w) floats, of which cell (0, 0) lies in the upper left
            corner and cell (h - 1, w - 1) in the lower right one. h and w are at most H and W.

    Raises:
        ValueError: a bad picture, no map, or one that is not such a tensor.
    """
    height, width = check_image(picture).shape[-2:]
    for name, values in maps.items():
        fits = isinstance(values, Tensor) and values.ndim == 3 and values.numel() and values.is_floating_point()
        if not fits or values.shape[1] > height or values.shape[2] > width:
            came = f"{values.dtype} {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise ValueError(
                f"maps[{name!r}] is {came}; expected floats (C, h, w) with h, w of at most {height}, {width}"
            )
    if not maps:
        raise ValueError("maps is empty; expected at least one map")
    found = [
        FeatureMap(name, compact(values), evenly(*values.shape[1:], height, width, whole=False), False, [])
        for name, values in maps.items()
    ]
    explorer = Explorer("your own", Recording(found, {}), to_pixels(picture))
    explorer.layer = found[0].name
    return explorer


class Explorer(anywidget.AnyWidget):
    """What `explore` and `explore_maps` give. Each of these can be set from Python too, and the picture follows:

    Attributes:
        layer: the module shown, by its path.
        view: "channel", "strongest" (the sixteen strongest channels), "mean" (over channels) or "pca" (three main
            directions as red, green, blue).
        channel: the channel shown; setting it turns to the view "channel".
        opacity: of the map over the picture, 0 to 1.
        cell: (row, column) of the cell whose window and values are shown.
        maps: all maps that can be shown.
        without: for each module that gives no map, one line that says why.
    """

    _esm = script(*PANEL, "widget.js")
    _css = STYLE
    layer = traitlets.Unicode().tag(sync=True)
    view = traitlets.Unicode("channel").tag(sync=True)
    channel = traitlets.Int(0).tag(sync=True)
    opacity = traitlets.Float(0.7).tag(sync=True)
    cell = traitlets.Tuple(traitlets.Int(), traitlets.Int(), default_value=(0, 0)).tag(sync=True)
    _about = traitlets.Dict().tag(sync=True)  # what never changes: photo, names, colours, small stages
    _shown = traitlets.Dict().tag(sync=True)  # the head of the layer that Python turned to last

    def __init__(self, model_name: str, recording: Recording, photo: np.ndarray) -> None:
        self.maps, self.without = recording.maps, recording.without
        self._model_called, self._photo = model_name, photo
        self._layers = {found.name: Layer(found) for found in self.maps}
        self._from_page = self._turning = False
        first = self._layers[stages(self.maps)[0].name]
        super().__init__(
            layer=first.found.name,
            channel=first.order[0],
            cell=_cell_at(first, photo.shape[0] / 2, photo.shape[1] / 2),
            _about=about(model_name, recording, photo, self._layers),
            _shown=first.head(),
        )
        self.observe(self._on_layer, names="layer")
        self.observe(self._on_channel, names="channel")
        self.on_msg(self._on_question)

    # what it says of itself

    def __repr__(self) -> str:
        first, (height, width) = self.maps[0], self._photo.shape[:2]
        return f"Explorer: {len(self.maps)} maps of {self._model_called} on a {height}×{width} picture, first {first}"

    def _repr_mimebundle_(self, **arguments: dict) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**arguments)
        still = base64.b64encode(png(self.snapshot())).decode()  # without a kernel
        return data | {"text/plain": repr(self), "image/png": still}, metadata

    def snapshot(self) -> Image.Image:
        """What the explorer shows now, as one still picture on white."""
        look = Look(self._photo, self._layers[self.layer], self.view, self.channel, self.opacity, self.cell)
        shown = {
            "channel": f"channel {self.channel}",
            "strongest": "the strongest channels",
            "mean": "the mean of all channels",
            "pca": "PCA as colours",
        }[self.view]
        return still_picture(look, f"{self._model_called}, {look.layer.found}, {shown}")

    def save(self, path: str | Path) -> None:
        """Write one page with all stages, to be opened in any browser: no kernel, no network, no other file.

        Where all maps have the same size, as in a ViT, the page holds the blocks instead of stages. The layer that is
        shown now is always in it. Prints the file's name, its size and how many layers it holds.

        Args:
            path: of an HTML file; one that is there already is replaced.

        Raises:
            ValueError: the folder is not there.
        """
        listed = stages(self.maps)
        if len(listed) == 1:
            listed = [found for found in self.maps if not found.inner]
        names = dict.fromkeys([*(found.name for found in listed), self.layer])
        state = {name: getattr(self, name) for name in ("layer", "view", "channel", "opacity", "cell")}
        size = write_page(path, self._about, [self._layers[name] for name in names], state)
        print(f"{path}: {size / 1e6:.1f} MB, {len(names)} layers of {self._model_called}")

    # what may be set

    @traitlets.validate("layer")
    def _check_layer(self, proposal: dict) -> str:
        return find_map(self.maps, proposal["value"], self.without).name

    @traitlets.validate("view")
    def _check_view(self, proposal: dict) -> str:
        if proposal["value"] not in VIEWS:
            raise ValueError(f"view is {proposal['value']!r}; expected one of {', '.join(map(repr, VIEWS))}")
        return proposal["value"]

    @traitlets.validate("channel")
    def _check_channel(self, proposal: dict) -> int:
        channels = self._shape()[0]
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
        (row, column), (_, height, width) = proposal["value"], self._shape()
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"cell is {(row, column)}; expected a row below {height} and a column below {width}")
        return row, column

    def _shape(self) -> tuple[int, int, int]:
        return self._layers[find_map(self.maps, self.layer).name].found.shape

    # what follows from a change

    def set_state(self, sync_data: dict) -> None:
        """From the page, which sends all that belongs together: nothing follows from it here."""
        self._from_page = True
        try:
            super().set_state(sync_data)
        finally:
            self._from_page = False

    def _on_layer(self, change: dict) -> None:
        if not self._from_page:
            self._turn(self._layers[change["old"]], self._layers[change["new"]])

    def _turn(self, before: Layer, layer: Layer) -> None:
        """Python chose another layer: show its strongest channel, and the cell at the same place of the picture."""
        geometry, (row, column) = before.found.geometry, self.cell
        self._shown = layer.head()
        self._turning = True
        try:
            with self.hold_sync():
                self.channel = layer.order[0]
                self.cell = _cell_at(layer, geometry.y.centre(row) + 0.5, geometry.x.centre(column) + 0.5)
        finally:
            self._turning = False

    def _on_channel(self, change: dict) -> None:
        if not (self._from_page or self._turning):
            self.view = "channel"

    def _on_question(self, _: object, question: dict, __: object) -> None:
        """The page lacks something of a layer: its head, more channels, or the numbers of one cell."""
        layer = self._layers[question["layer"]]
        if "cell" in question:
            answer = layer.column(*question["cell"])
        elif "first" in question:
            answer = layer.part(question["first"], layer.piece)
        else:
            answer = layer.head()
        parts = [name for name, value in answer.items() if isinstance(value, bytes)]
        content = {name: value for name, value in answer.items() if name not in parts} | {"parts": parts}
        self.send(content, [answer[name] for name in parts])


def _cell_at(layer: Layer, down: float, across: float) -> tuple[int, int]:
    """The cell (row, column) at a place of the picture, in pixels from its upper left corner."""
    geometry, (_, height, width) = layer.found.geometry, layer.found.shape
    return geometry.y.cell_at(down, height), geometry.x.cell_at(across, width)
