"""Run a model once and keep every feature map that its modules give, each with its geometry on the picture."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from lib.viz.explorer.geometry import Axis, Geometry
from lib.viz.explorer.tracing import Trace, Tracer

MAX_BYTES = 2**30  # of maps kept at once: a large ViT would otherwise fill the memory of a laptop


@dataclass
class FeatureMap:
    """What one module gave for one picture.

    Attributes:
        name: the module's path in the model, as in `model.get_submodule(name)`; `path#2` is its second call, `path[1]`
            or `path[key]` one of several outputs, and the model itself is called "output".
        values: (C, H, W) on the CPU. float16, which keeps three digits, unless a value is too large for it.
        geometry: where its cells lie on the picture and what they see.
        inner: whether the module is a single layer within a block, and no block itself.
        aliases: other modules that gave the very same tensor, such as the last layer of a `Sequential`.
    """

    name: str
    values: Tensor
    geometry: Geometry
    inner: bool
    aliases: list[str]

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(self.values.shape)

    def __str__(self) -> str:
        return f"{self.name} {self.shape} {self.geometry}"


def feature_maps(model: nn.Module, image: Tensor, max_bytes: int = MAX_BYTES) -> list[FeatureMap]:
    """Every feature map of `model` for one picture, in the order in which they were computed.

    The model is called once, on `image` as a batch of one, exactly as given and without gradients, in eval mode; its
    mode is restored after. A map is any (1, C, H, W) tensor with more than one cell that a module returns, alone or
    within tuples, lists and dicts. Maps kept as (1, H, W, C) or as tokens (1, H * W, C) are recognised and turned.

    Args:
        image: (C, H, W) or (1, C, H, W) floats, prepared as the model wants them.
        max_bytes: when the maps grow larger than this, the largest maps of inner layers are dropped, and if that is not
            enough, the largest of all.

    Raises:
        ValueError: `image` is not such a tensor, or no module gives a map.
    """
    batch = check_image(image)
    parameter = next(model.parameters(), None)
    batch = batch.to(batch.device if parameter is None else parameter.device)
    recorder = _Recorder(model, max_bytes)
    modes = {module: module.training for module in model.modules()}
    hooks = [module.register_forward_hook(recorder.hook_for(name)) for name, module in model.named_modules()]
    try:
        model.eval()
        with torch.no_grad(), Tracer(batch) as tracer:
            recorder.tracer, recorder.picture = tracer, batch
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode
    if not recorder.maps:
        raise ValueError(
            f"model is a {type(model).__name__} of which no module gives a map; expected at least one "
            "output of shape (1, C, H, W) with H * W > 1"
        )
    return recorder.maps


def check_image(image: Tensor) -> Tensor:
    """`image` as a batch of one (1, C, H, W), or a ValueError that says what is wrong with it."""
    if not isinstance(image, Tensor):
        raise ValueError(f"image is a {type(image).__name__}; expected a tensor (C, H, W)")
    if image.ndim not in (3, 4) or (image.ndim == 4 and image.shape[0] != 1) or 0 in image.shape:
        raise ValueError(f"image has the shape {tuple(image.shape)}; expected (C, H, W) or (1, C, H, W), not empty")
    if not image.is_floating_point():
        raise ValueError(f"image has the dtype {image.dtype}; expected floats, such as pixels / 255")
    if not torch.isfinite(image).all():
        raise ValueError("image has infinite or NaN values; expected finite numbers")
    return image.detach() if image.ndim == 4 else image.detach()[None]


def stages(maps: list[FeatureMap]) -> list[FeatureMap]:
    """One map for each size that the picture passes through: of the outermost modules in such a run, the last."""
    runs: list[list[FeatureMap]] = []
    for feature_map in maps:
        if runs and runs[-1][-1].shape[1:] == feature_map.shape[1:]:
            runs[-1].append(feature_map)
        else:
            runs.append([feature_map])
    return [min(reversed(run), key=lambda feature_map: feature_map.name.count(".")) for run in runs]


def find_map(maps: list[FeatureMap], layer: str) -> FeatureMap:
    """The map of the module called `layer`.

    Raises:
        ValueError: there is none; the message lists the names of all stages.
    """
    for feature_map in maps:
        if layer == feature_map.name or layer in feature_map.aliases:
            return feature_map
    names = ", ".join(feature_map.name for feature_map in stages(maps))
    raise ValueError(f"layer is {layer!r}; expected a module that gives a map, such as {names}")


class _Recorder:
    """Collects the maps that the hooks of one forward pass meet."""

    def __init__(self, model: nn.Module, max_bytes: int) -> None:
        self.maps: list[FeatureMap] = []
        self.tracer: Tracer
        self.picture: Tensor
        self._max_bytes, self._bytes = max_bytes, 0
        self._calls: dict[str, int] = {}
        self._known = WeakTensorKeyDictionary()  # tensor -> its version and its map
        self._blocks = {
            name
            for name, module in model.named_modules()
            if any(True for child in module.children() for _ in child.parameters())
        }

    def hook_for(self, name: str):
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            self._calls[name] = self._calls.get(name, 0) + 1
            call = f"#{self._calls[name]}" if self._calls[name] > 1 else ""
            inner = "." in name and name not in self._blocks
            for suffix, tensor in _tensors(output):
                self._record(f"{name or 'output'}{call}{suffix}", inner, tensor)

        return hook

    def _record(self, name: str, inner: bool, tensor: Tensor) -> None:
        version, known = self._known.get(tensor, (None, None))
        if known is not None and version == tensor._version:  # the same tensor again, under another name
            if known.name.startswith(f"{name}."):  # from the module around it: the better name
                known.name, name, known.inner = name, known.name, inner
            known.aliases.append(name)
            return
        arranged = _arrange(tensor, self.tracer.places(tensor), *self.picture.shape[-2:])
        if arranged is not None:
            values, geometry = arranged
            feature_map = FeatureMap(name, _compact(values), geometry, inner, [])
            self.maps.append(feature_map)
            self._known[tensor] = (tensor._version, feature_map)
            self._bytes += feature_map.values.nbytes
            while self._bytes > self._max_bytes and len(self.maps) > 1:
                largest = max(self.maps, key=lambda other: (other.inner, other.values.nbytes))
                self.maps.remove(largest)
                self._bytes -= largest.values.nbytes


def _tensors(output: object, suffix: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors in an output made of tuples, lists and dicts, each with its way there such as "[0][masks]"."""
    if isinstance(output, Tensor):
        yield suffix, output
    elif isinstance(output, dict):
        for key, value in output.items():
            yield from _tensors(value, f"{suffix}[{key}]")
    elif isinstance(output, (tuple, list)):
        for index, value in enumerate(output):
            yield from _tensors(value, f"{suffix}[{index}]")


def _arrange(tensor: Tensor, places: Trace | None, height: int, width: int) -> tuple[Tensor, Geometry] | None:
    """`tensor` as a map (C, h, w) with its geometry; None if it is not a map."""
    if not tensor.is_floating_point() or tensor.ndim < 3 or tensor.numel() == 0:
        return None
    if places is not None and None not in (places[0].dim, places[1].dim):
        rows, columns = places
        values = tensor
        if rows.dim == columns.dim:  # tokens: (..., h * w, ...) -> (..., h, w, ...)
            if (rows.cells * columns.cells, rows.inner, columns.inner) != (tensor.shape[rows.dim], columns.cells, 1):
                return None
            values = tensor.unflatten(rows.dim, (rows.cells, columns.cells))
            columns = columns.moved(columns.dim + 1)
        elif not (rows.alone(tensor.shape) and columns.alone(tensor.shape)):
            return None
        values = values.movedim((rows.dim, columns.dim), (-2, -1)).squeeze(0)
        geometry = Geometry(rows.axis, columns.axis, height, width)
    else:  # lost on the way: spread the cells over the picture
        if tensor.ndim != 4:
            return None
        if not _like(tensor.shape[2:], height, width):
            if not _like(tensor.shape[1:3], height, width):
                return None
            tensor = tensor.movedim(3, 1)  # (1, H, W, C)
        values = tensor.squeeze(0)
        axes = [
            Axis(stride := Fraction(pixels, cells), Fraction(0), stride - 1, whole=True)
            for pixels, cells in zip((height, width), tensor.shape[-2:])
        ]
        geometry = Geometry(*axes, height, width)
    if values.ndim != 3 or values.shape[1] * values.shape[2] < 2:
        return None
    return values, geometry


def _like(cells: torch.Size, height: int, width: int) -> bool:
    """Whether so many rows and columns have the proportions of the picture, but for rounding."""
    return abs(cells[0] * width - cells[1] * height) <= height + width


def _compact(values: Tensor) -> Tensor:
    half = values.half()
    return (half if torch.isfinite(half).all() else values.float()).to("cpu", copy=True)
