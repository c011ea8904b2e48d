"""Operations that move, merge, split or cut dimensions, and leave the numbers as they are."""

from dataclasses import replace
from math import prod

import torch

from lib.viz.explorer.place import Arguments, Place


def permute(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    return place.moved([dim % len(shape) for dim in named["dims"]].index(place.dim))


def transpose(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    a, b = (named.get(name, default) % len(shape) for name, default in (("dim0", 0), ("dim1", 1)))
    return place.moved({a: b, b: a}.get(place.dim, place.dim))


def view(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
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


def unsqueeze(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    return place.moved(place.dim + (place.dim >= named["dim"] % len(out)))


def squeeze(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    dims = named.get("dim", list(range(len(shape))))
    dims = {dim % len(shape) for dim in ([dims] if isinstance(dims, int) else dims)}
    squeezed = [dim for dim in dims if shape[dim] == 1]
    return place.lost() if place.dim in squeezed else place.moved(place.dim - sum(dim < place.dim for dim in squeezed))


def drop(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    """One index of a dimension is taken, and the dimension goes (select, unbind)."""
    dim = named["dim"] % len(shape)
    return place.lost() if place.dim == dim else place.moved(place.dim - (dim < place.dim))


def slice(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
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


def split(place: Place, named: Arguments, shape: torch.Size, out: torch.Size) -> Place:
    return place.lost() if place.dim == named["dim"] % len(shape) else place
