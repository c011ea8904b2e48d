"""Follow a picture through any network, operation by operation, and know what each cell of each tensor sees of it.

`Tracer` listens to PyTorch's own operations while a model runs, so that branches, skips, functions and reused modules
are all followed. For each tensor that depends on the picture it keeps two `Place`s, one for the picture's rows and one
for its columns. An operation that it does not know, or that mixes places, is taken to mix everything: a window that is
reported is never smaller than what a cell really sees. What leaves PyTorch (through NumPy, say) cannot be followed.
"""

from fractions import Fraction
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from lib.viz.explorer.geometry import Axis
from lib.viz.explorer.operations import follow
from lib.viz.explorer.place import Place

Trace = tuple[Place, Place]  # rows, columns


class Tracer(TorchDispatchMode):
    """A context in which tensors that depend on `picture` (1, C, H, W) are followed.

    >>> with torch.no_grad(), Tracer(picture) as tracer:
    ...     output = model(picture)
    >>> rows, columns = tracer.places(output)
    """

    def __init__(self, picture: Tensor) -> None:
        super().__init__()
        self._traces = WeakTensorKeyDictionary()
        self._overwritten: list[Tensor] = []  # tensors of which a part was written in place
        pixel = Axis(Fraction(1), Fraction(0), Fraction(0))
        height, width = picture.shape[-2:]
        self._traces[picture] = (Place(pixel, picture.ndim - 2, height), Place(pixel, picture.ndim - 1, width))

    def places(self, tensor: Tensor) -> Trace | None:
        """The places of the picture's rows and columns in `tensor`; None if it does not depend on the picture."""
        for other in self._overwritten:
            if _share_memory(tensor, other):
                rows, columns = self._traces[other]
                return rows.lost(), columns.lost()
        return self._traces.get(tensor)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        if (
            torch.is_inference_mode_enabled() and func._can_decompose()
        ):  # elsewhere PyTorch has done so before this call
            with self:
                return func.decompose(*args, **(kwargs or {}))
        output = func(*args, **(kwargs or {}))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        inputs = [(tensor.shape, self.places(tensor)) for tensor in tensors]
        if not any(trace for _, trace in inputs):
            return output
        named = {argument.name: argument.default_value for argument in func._schema.arguments}
        named |= dict(zip(named, args)) | (kwargs or {})
        written = [
            named[argument.name]
            for argument in func._schema.arguments
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        for result in tree_leaves(output):
            if isinstance(result, Tensor):
                before = self._traces.get(result)
                after = tuple(
                    follow(func, named, [(shape, trace and trace[axis]) for shape, trace in inputs], result.shape)
                    for axis in (0, 1)
                )
                self._traces[result] = after
                if any(result is tensor for tensor in written) and before != after:
                    self._note_overwriting(result, was_followed=before is not None)
        return output

    def _note_overwriting(self, tensor: Tensor, was_followed: bool) -> None:
        """After a write in place: other views of the same memory changed too, and are followed no more."""
        storage_size = tensor.untyped_storage().nbytes()
        is_part = tensor.numel() * tensor.element_size() < storage_size
        has_views = any(other is not tensor and _share_memory(other, tensor) for other in list(self._traces))
        if is_part or has_views or (tensor._is_view() and not was_followed):
            self._overwritten.append(tensor)


def _share_memory(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr() and a.numel() > 0
