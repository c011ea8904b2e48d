"""What each of PyTorch's operations does to the place of the picture in a tensor: one small rule per operation.

`lib.viz.explorer.tracing` calls `follow` for one axis of the picture at a time. Names are those of PyTorch's
own operations.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import prod
from typing import Any

import torch

from lib.viz.explorer.geometry import Axis, join


@dataclass(frozen=True)
class Place:
    """Along which dimension of a tensor one axis of the picture runs.

    Index `k` of dimension `dim` belongs to cell `k // inner % cells`: after flattening (H, W) into H * W tokens, rows
    have `inner` = W and columns `inner` = 1, both along the same dimension. `dim` is None where the axis got lost.

    Attributes:
        before, after: entries of `dim` that are no cells and stand before or after them: a class token, registers.
        pairs: the last two dimensions hold one number for each pair of tokens, as an attention matrix does.
    """

    axis: Axis
    dim: int | None
    cells: int
    inner: int = 1
    before: int = 0
    after: int = 0
    pairs: bool = False

    def mixed(self) -> "Place":
        return replace(self, axis=self.axis.mixed())

    def lost(self) -> "Place":
        return replace(self, axis=self.axis.mixed(), dim=None)

    def moved(self, dim: int) -> "Place":
        return replace(self, dim=dim)

    def alone(self, shape: torch.Size) -> bool:
        """Whether a dimension of the tensor is this axis and nothing else."""
        return self.dim is not None and self.inner == 1 and shape[self.dim] == self.cells

    def fits(self, shape: torch.Size) -> bool:
        if self.dim is None:
            return True
        if self.dim >= len(shape):
            return False
        return (shape[self.dim] - self.before - self.after) % (self.cells * self.inner) == 0

    @property
    def layout(self) -> tuple:
        """Two places of the same layout say of the same entries that they are the same cells."""
        return self.dim, self.cells, self.inner, self.before, self.after


Arguments = dict[str, Any]  # of an operation, by the names of its schema
Inputs = list[tuple[torch.Size, Place | None]]  # an operation's tensors: shape, and place if any


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
    """Whether a matrix product relates tokens to tokens: both sides follow the picture, and neither is summed over.

    Where both got lost on the way (windows of Swin), a product is taken for queries by keys, unless its left side is
    such a matrix already.
    """
    (_, left), (shape, right) = factors
    if left is None or right is None or left.pairs:
        return False
    if left.dim is None or right.dim is None:
        return left.dim is right.dim
    return left.dim != len(shape) - 1 and right.dim != len(shape) - 2


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


# Sliding windows. Each gives (step, first, last) of `Axis.slide`, for spatial dimension number `k`, with `n` cells
# before and `m` after.

Slide = tuple[Fraction | int, Fraction | int, Fraction | int]


def _window(slide: Callable[[Arguments, int, int, int, int], Slide], spatial: int = 2) -> Callable:
    """A rule for an operation on (..., H, W) that treats rows and columns each by its own window."""

    def rule(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
        k = place.dim - (len(shape) - spatial)  # 0 for the first of the spatial dimensions
        if k < -1:
            return place  # the batch
        if k == -1 or not place.alone(shape):
            return place.lost()  # channels are mixed with each other
        cells = out[place.dim]
        return Place(place.axis.slide(*slide(named, k, spatial, shape[place.dim], cells)), place.dim, cells)

    return rule


def _pick(values: list[int], k: int) -> int:
    return values[k] if len(values) > 1 else values[0]


def _convolution(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    kernel = named["weight"].shape[2:]

    def slide(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
        step, padding = _pick(named["stride"], k), _pick(named["padding"], k)
        reach = _pick(named["dilation"], k) * (kernel[k] - 1)
        if named["transposed"]:  # o = step i - padding + tap
            return Fraction(1, step), Fraction(padding - reach, step), Fraction(padding, step)
        return step, -padding, reach - padding

    return _window(slide, len(kernel))(place, named, shape, out)


def _pool(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    kernel, padding = _pick(named["kernel_size"], k), _pick(named["padding"], k)
    step = _pick(named["stride"], k) if named["stride"] else kernel
    reach = _pick(named.get("dilation") or [1], k) * (kernel - 1)
    return step, -padding, reach - padding


def _adaptive_pool(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    ratio = Fraction(n, m)  # from floor(i n / m) to ceil((i + 1) n / m) - 1
    slack = 0 if n % m == 0 else Fraction(m - 1, m)
    return ratio, -slack, ratio + slack - 1


def _ratio(named: Arguments, k: int, n: int, m: int) -> Fraction:
    """Input cells per output cell of a resize: from the scale if one was given, else from the sizes."""
    scale = (named.get("scales_h"), named.get("scales_w"))[k]
    return 1 / Fraction(scale).limit_denominator(1000) if scale else Fraction(n, m)


def _floor_slack(*numbers: Fraction | int) -> Fraction:
    """How far the floor of sums of multiples of `numbers` can lie below them."""
    denominator = prod({Fraction(number).denominator for number in numbers})
    return Fraction(denominator - 1, denominator)


def _nearest(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    ratio = _ratio(named, k, n, m)  # reads floor(ratio i)
    return ratio, -_floor_slack(ratio), 0


def _nearest_exact(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    ratio = _ratio(named, k, n, m)  # reads floor(ratio (i + 1/2))
    return ratio, ratio / 2 - _floor_slack(ratio, ratio / 2), ratio / 2


def _between(before: int, after: int) -> Callable:
    """Interpolation reads from `before` cells before the point it wants to `after` cells after it."""

    def slide(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
        if named["align_corners"]:
            ratio, offset = Fraction(n - 1, max(m - 1, 1)), Fraction(0)
        else:
            ratio = _ratio(named, k, n, m)
            offset = ratio / 2 - Fraction(1, 2)
        return ratio, offset - _floor_slack(ratio, offset) - before, offset + after

    return slide


def _padding(kind: str) -> Callable:
    def slide(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
        pad = named["pad" if kind == "constant" else "padding"]  # left, right, top, bottom
        at = 2 * (spatial - 1 - k)
        left, right = (pad[at], pad[at + 1]) if at < len(pad) else (0, 0)
        reads = {"constant": 0, "replication": 1, "reflection": 2}[kind]  # times what is read again
        return 1, -left - reads * right, -left + reads * left

    return slide


def _constant_pad(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    if place.dim < len(shape) - 2 or not place.alone(shape):
        return place if shape[place.dim] == out[place.dim] else place.lost()
    return _window(_padding("constant"))(place, named, shape, out)


def _shuffle(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    factor = named["upscale_factor"]
    return Fraction(1, factor), -Fraction(factor - 1, factor), 0


def _unshuffle(named: Arguments, k: int, spatial: int, n: int, m: int) -> Slide:
    return named["downscale_factor"], 0, named["downscale_factor"] - 1


# Shapes


def _permute(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    return place.moved([dim % len(shape) for dim in named["dims"]].index(place.dim))


def _transpose(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    a, b = (named.get(name, default) % len(shape) for name, default in (("dim0", 0), ("dim1", 1)))
    return place.moved({a: b, b: a}.get(place.dim, place.dim))


def _view(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    """Dimensions merged or split: find the one in which the axis still runs in equal steps."""
    if place.before or place.after:  # the whole dimension must stay as it is
        for dim in range(len(out)):
            if out[dim] == shape[place.dim] and prod(out[dim + 1 :]) == prod(shape[place.dim + 1 :]):
                return place.moved(dim)
        return place.lost()
    step = place.inner * prod(shape[place.dim + 1 :])  # elements from one cell to the next, if contiguous
    for dim in range(len(out)):
        below = prod(out[dim + 1 :])
        if place.cells > 1 and step % below == 0 and (below * out[dim]) % (step * place.cells) == 0:
            return replace(place, dim=dim, inner=step // below)
    return place.lost()


def _unsqueeze(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    return place.moved(place.dim + (place.dim >= named["dim"] % len(out)))


def _squeeze(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    dims = named.get("dim", list(range(len(shape))))
    dims = {dim % len(shape) for dim in ([dims] if isinstance(dims, int) else dims)}
    squeezed = [dim for dim in dims if shape[dim] == 1]
    return place.lost() if place.dim in squeezed else place.moved(place.dim - sum(dim < place.dim for dim in squeezed))


def _drop(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    """One index of a dimension is taken, and the dimension goes (select, unbind)."""
    dim = named["dim"] % len(shape)
    return place.lost() if place.dim == dim else place.moved(place.dim - (dim < place.dim))


def _slice(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    dim = named["dim"] % len(shape)
    if dim != place.dim:
        return place
    start, step = named["start"] or 0, named["step"]
    start = min(max(start + shape[dim] if start < 0 else start, 0), shape[dim])
    if not place.alone(shape):  # tokens: all cells are kept, or none can be told
        rest = shape[dim] - start - out[dim]
        if step != 1 or start > place.before or rest > place.after:
            return place.lost()
        return replace(place, before=place.before - start, after=place.after - rest)
    return Place(place.axis.slide(step, start, start), dim, out[dim])


def _split(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    return place.lost() if place.dim == named["dim"] % len(shape) else place


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
    "convolution": _convolution,
    **dict.fromkeys(["max_pool2d_with_indices", "avg_pool2d"], _window(_pool)),
    **dict.fromkeys(["_adaptive_avg_pool2d", "adaptive_max_pool2d"], _window(_adaptive_pool)),
    "upsample_nearest2d": _window(_nearest),
    "_upsample_nearest_exact2d": _window(_nearest_exact),
    "upsample_bilinear2d": _window(_between(0, 1)),
    "upsample_bicubic2d": _window(_between(1, 2)),
    "constant_pad_nd": _constant_pad,
    "reflection_pad2d": _window(_padding("reflection")),
    "replication_pad2d": _window(_padding("replication")),
    "pixel_shuffle": _window(_shuffle),
    "pixel_unshuffle": _window(_unshuffle),
    "permute": _permute,
    **dict.fromkeys(["transpose", "t"], _transpose),
    **dict.fromkeys(["view", "_unsafe_view", "reshape"], _view),
    "unsqueeze": _unsqueeze,
    "squeeze": _squeeze,
    **dict.fromkeys(["select", "unbind"], _drop),
    "slice": _slice,
    **dict.fromkeys(["split", "split_with_sizes"], _split),
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
