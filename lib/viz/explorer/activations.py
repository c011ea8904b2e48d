"""Run a model once and keep every feature map that its modules give, each with its geometry on the picture."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from lib.training.modes import in_eval_mode
from lib.viz.explorer.arranging import arrange
from lib.viz.explorer.geometry import Geometry
from lib.viz.explorer.tracing import Tracer

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
        aside: how many tokens (class token, registers) were left out of the map, because they are no place.
    """

    name: str
    values: Tensor
    geometry: Geometry
    inner: bool
    aliases: list[str]
    aside: int = 0

    @property
    def shape(self) -> tuple[int, int, int]:
        return tuple(self.values.shape)

    def __str__(self) -> str:
        return f"{self.name} {self.shape} {self.describe()}"

    def describe(self) -> str:
        """Such as "stride 16, sees the whole picture, 1 token set aside"."""
        if not self.aside:
            return str(self.geometry)
        return f"{self.geometry}, {self.aside} token{'s' * (self.aside > 1)} set aside"


@dataclass
class Recording:
    """What one forward pass gave: the maps in the order in which they were computed, and who gave none.

    Attributes:
        maps: every feature map.
        without: for each module that gave tensors but no map, one line that says why.
    """

    maps: list[FeatureMap]
    without: dict[str, str]


def feature_maps(model: nn.Module, image: Tensor, max_bytes: int = MAX_BYTES) -> list[FeatureMap]:
    """Every feature map of `model` for one picture, in the order in which they were computed: the maps of `record`."""
    return record(model, image, max_bytes).maps


def record(model: nn.Module, image: Tensor, max_bytes: int = MAX_BYTES) -> Recording:
    """Call `model` once and keep what its modules give.

    The model is called on `image` as a batch of one, exactly as given and without gradients, in eval mode; its mode is
    restored after. A map is any (1, C, H, W) tensor with more than one cell that a module returns, alone or within
    tuples, lists and dicts. Maps kept as (1, H, W, C) or as tokens (1, H * W, C) are recognised and turned; tokens
    before or after them that stand for no place, such as a class token, are set aside.

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
    hooks = []
    try:
        with torch.no_grad(), in_eval_mode(model), Tracer(batch) as tracer:
            recorder = _Recorder(model, tracer, batch, max_bytes)
            for name, module in model.named_modules():
                if not isinstance(module, torch.jit.ScriptModule):  # its hooks would have to be scripts, too
                    hooks.append(module.register_forward_hook(recorder.hook_for(name)))
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    if not recorder.maps:
        raise ValueError(
            f"model is a {type(model).__name__} of which no module gives a map; expected at least one "
            "output of shape (1, C, H, W) with H * W > 1"
        )
    return recorder.recording()


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


def find_map(maps: list[FeatureMap], layer: str, without: dict[str, str] | None = None) -> FeatureMap:
    """The map of the module called `layer`.

    Args:
        without: why other modules have no map, to be told of `layer` if it is one of them.

    Raises:
        ValueError: there is none; the message lists the names of all stages.
    """
    for feature_map in maps:
        if layer == feature_map.name or layer in feature_map.aliases:
            return feature_map
    names = ", ".join(feature_map.name for feature_map in stages(maps))
    reason = f", which {without[layer]}" if without and layer in without else ""
    raise ValueError(f"layer is {layer!r}{reason}; expected a module that gives a map, such as {names}")


class _Recorder:
    """Collects the maps that the hooks of one forward pass meet."""

    def __init__(self, model: nn.Module, tracer: Tracer, picture: Tensor, max_bytes: int) -> None:
        self.maps: list[FeatureMap] = []
        self._without: dict[str, str] = {}
        self._tracer, self._size = tracer, (picture.shape[-2], picture.shape[-1])
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

    def recording(self) -> Recording:
        """What was collected."""
        mapped = {name for found in self.maps for name in (found.name, *found.aliases)}
        return Recording(self.maps, {name: why for name, why in self._without.items() if name not in mapped})

    def _record(self, name: str, inner: bool, tensor: Tensor) -> None:
        version, known = self._known.get(tensor, (None, None))
        if known is not None and version == _version(tensor):  # the same tensor again, under another name
            if known.name.startswith(f"{name}."):  # from the module around it: the better name
                known.name, name, known.inner = name, known.name, inner
            known.aliases.append(name)
            return
        trace = self._tracer.places(tensor)
        arranged = arrange(tensor, trace, *self._size)
        if trace is None and not isinstance(arranged, str) and not self._known_size(arranged.values):
            arranged = f"gives {tuple(tensor.shape)}: it does not depend on the picture"
        if isinstance(arranged, str):
            self._without[name] = arranged
            return
        feature_map = FeatureMap(name, compact(arranged.values), arranged.geometry, inner, [], arranged.aside)
        self.maps.append(feature_map)
        self._known[tensor] = (_version(tensor), feature_map)
        self._bytes += feature_map.values.nbytes
        while self._bytes > self._max_bytes and len(self.maps) > 1:
            largest = max(self.maps, key=lambda other: (other.inner, other.values.nbytes))
            self.maps.remove(largest)
            self._without[largest.name] = f"gives {largest.shape}: its map was let go, because memory ran short"
            self._bytes -= largest.values.nbytes

    def _known_size(self, values: Tensor) -> bool:
        """Whether a map of the picture had this size: then a constant, such as an encoding of places, belongs to it."""
        return any(values.shape[1:] == found.shape[1:] for found in self.maps)


def _version(tensor: Tensor) -> int:
    """How often a tensor was written to in place. A tensor of inference mode does not count it: 0."""
    return 0 if tensor.is_inference() else tensor._version


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


def compact(values: Tensor) -> Tensor:
    """A copy on the CPU as float16, or as float32 if a value is too large for it."""
    values = values.detach()
    half = values.half()
    return (half if torch.isfinite(half).all() else values.float()).to("cpu", copy=True)
