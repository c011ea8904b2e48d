"""What each of PyTorch's operations does to the place of the picture in a tensor: one small rule per operation.

`lib.viz.explorer.tracing` calls `follow` for one axis of the picture at a time. Names are those of PyTorch's
own operations.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from lib.viz.explorer import reshaping, windows
from lib.viz.explorer.geometry import join
from lib.viz.explorer.place import Arguments, Inputs, Place


def follow(func: Any, named: Arguments, inputs: Inputs, out: torch.Size) -> Place:
    """The place, in a result of shape `out`, of an axis that at least one of the `inputs` of operation `func` has."""
    followed = [(shape, place) for shape, place in inputs if place is not None]
    shape, place = followed[0]
    name = func._schema.name.removeprefix("aten::").rstrip("_")  # add_ is add
    if torch.Tag.pointwise in func.tags or name in _CELL_BY_CELL:
        return _broadcast(inputs, out)
    if name in ("cat", "stack", "concat"):
        result = _stacked(name, named["dim"], inputs, out)
    elif name in _PRODUCTS:
        result = _product(name, inputs, out)
    elif name in _RULES:
        result = place if place.dim is None else _RULES[name](place, named, shape, out)
        if len(followed) > 1:  # a kernel, an index ... that depends on the picture
            result = result.mixed()
    else:
        result = place.mixed() if shape == out else place.lost()
    result = result if result.fits(out) else result.lost()
    if name in _PRODUCTS:
        return replace(result, pairs=_gives_pairs(inputs[-2:]))
    return replace(result, pairs=any(place.pairs and shape[-2:] == out[-2:] for shape, place in followed))


def _gives_pairs(factors: Inputs) -> bool:
    """Whether a matrix product relates tokens to tokens, or channels to channels: both sides follow the picture, and
    its places are summed over on both or on neither.

    Where both got lost on the way (windows of Swin), a product is taken for queries by keys, unless its left side is
    such a matrix already.
    """
    (_, left), (shape, right) = factors
    if left is None or right is None or left.pairs:
        return False
    if left.dim is None or right.dim is None:
        return left.dim is right.dim
    return (left.dim == len(shape) - 1) == (right.dim == len(shape) - 2)


def _broadcast(inputs: Inputs, out: torch.Size) -> Place:
    """Cell by cell: the union of what the operands see. An operand spread over all cells mixes them."""
    kept, mixes = [], False
    for shape, place in inputs:
        if place is None:
            continue
        dim = None if place.dim is None else place.dim + len(out) - len(shape)
        if dim is None or shape[place.dim] != out[dim]:
            mixes, lost = True, place.lost()
        else:
            kept.append(place.moved(dim))
    if not kept:
        return lost
    return _union(kept, mixes)


def _union(places: list[Place], mixes: bool = False) -> Place:
    alike = [place for place in places if place.layout == places[0].layout]
    axis = join([place.axis for place in alike], places[0].cells)
    result = replace(places[0], axis=axis)
    return result.mixed() if mixes or len(alike) < len(places) else result


def _stacked(name: str, dim: int, inputs: Inputs, out: torch.Size) -> Place:
    dim %= len(out)
    places = [place for _, place in inputs if place is not None]
    if name != "stack" and any(place.dim == dim for place in places):
        return _among_tokens(dim, inputs)
    if any(place.dim is None for place in places):
        return places[0].lost()
    joined = _union(places)
    return joined.moved(joined.dim + 1) if name == "stack" and joined.dim >= dim else joined


def _among_tokens(dim: int, inputs: Inputs) -> Place:
    """Tokens of the picture, with others put before or after them that are no place of it."""
    found = [k for k, (_, place) in enumerate(inputs) if place is not None and place.dim == dim]
    shape, place = inputs[found[0]]
    sizes = [other[dim] if len(other) == len(shape) else 0 for other, _ in inputs]  # an empty tensor of old times: 0
    others_stray = any(other is not None and other.dim not in (None, dim) for _, other in inputs)
    if len(found) > 1 or place.alone(shape) or others_stray:
        return place.lost()
    before, after = sum(sizes[: found[0]]), sum(sizes[found[0] + 1 :])
    if before + after >= shape[dim]:  # more strangers than tokens
        return place.lost()
    return replace(place, before=place.before + before, after=place.after + after)


def _product(name: str, inputs: Inputs, out: torch.Size) -> Place:
    """A matrix product keeps the rows of its left side and the columns of its right side; the rest is summed over."""
    kept, lost = [], None
    for position, (_, place) in enumerate(inputs[-2:]):  # before them, the bias of addmm
        if place is None:
            continue
        summed = len(out) - 1 if position == 0 else len(out) - 2
        if place.dim is None or place.dim == summed:
            lost = place.lost()
        else:
            kept.append(place)
    if any(place is not None for _, place in inputs[:-2]):
        kept = [place.mixed() for place in kept]
    return _union(kept, mixes=lost is not None) if kept else (lost or inputs[0][1].lost())


# Sums over dimensions, and operations that normalise


def _dims(named: Arguments, shape: torch.Size) -> set[int]:
    dims = named.get("dim")
    dims = [dims] if isinstance(dims, int) else (dims or range(len(shape)))
    return {dim % len(shape) for dim in dims}


def _reduce(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    dims = _dims(named, shape)
    if place.dim in dims:
        return place.lost()
    return place if named.get("keepdim") else place.moved(place.dim - sum(dim < place.dim for dim in dims))


def _along(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    return place.mixed() if place.dim in _dims(named, shape) else place


def _batch_norm(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    uses_this_batch = named.get("training", False)
    return place.mixed() if uses_this_batch else place


def _layer_norm(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    return place.mixed() if place.dim >= len(shape) - len(named["normalized_shape"]) else place


_PRODUCTS = {"mm", "bmm", "addmm", "baddbmm"}
_CELL_BY_CELL = {
    "clone",
    "detach",
    "alias",
    "contiguous",
    "_to_copy",
    "copy",
    "expand",
    "hardswish",
    "hardsigmoid",
    "_prelu_kernel",
    "softplus",
    "native_dropout",
    "mish",
    "where",
}
_RULES: dict[str, Callable[[Place, Arguments, torch.Size, torch.Size], Place]] = {
    "convolution": windows.convolution,
    **dict.fromkeys(["max_pool2d_with_indices", "avg_pool2d"], windows.window(windows.pool)),
    **dict.fromkeys(["_adaptive_avg_pool2d", "adaptive_max_pool2d"], windows.window(windows.adaptive_pool)),
    "upsample_nearest2d": windows.window(windows.nearest),
    "_upsample_nearest_exact2d": windows.window(windows.nearest_exact),
    "upsample_bilinear2d": windows.window(windows.between(0, 1)),
    "upsample_bicubic2d": windows.window(windows.between(1, 2)),
    "constant_pad_nd": windows.constant_pad,
    "reflection_pad2d": windows.window(windows.padding("reflection")),
    "replication_pad2d": windows.window(windows.padding("replication")),
    "pixel_shuffle": windows.window(windows.shuffle),
    "pixel_unshuffle": windows.window(windows.unshuffle),
    "permute": reshaping.permute,
    **dict.fromkeys(["transpose", "t"], reshaping.transpose),
    **dict.fromkeys(["view", "_unsafe_view", "reshape"], reshaping.view),
    "unsqueeze": reshaping.unsqueeze,
    "squeeze": reshaping.squeeze,
    **dict.fromkeys(["select", "unbind"], reshaping.drop),
    "slice": reshaping.slice,
    **dict.fromkeys(["split", "split_with_sizes"], reshaping.split),
    **dict.fromkeys(
        [
            "mean",
            "sum",
            "amax",
            "amin",
            "max",
            "min",
            "var",
            "std",
            "prod",
            "logsumexp",
            "argmax",
            "argmin",
            "norm",
            "linalg_vector_norm",
            "any",
            "all",
        ],
        _reduce,
    ),
    **dict.fromkeys(["_softmax", "_log_softmax", "cumsum", "sort", "topk"], _along),
    **dict.fromkeys(
        ["native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm"],
        _batch_norm,
    ),
    "native_layer_norm": _layer_norm,
}
