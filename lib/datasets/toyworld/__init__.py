"""Toyworld: one small world with every kind of truth. `dataset` says what a sample is; the others draw it.

`scene` says what stands where, `figure` how a person stands, `cast` where rays meet it, `meshes` its surface as
triangles, `shade` how it looks, `render` puts picture and truths together, `cache` keeps them in a file.

Everything that `dataset` offers can be imported from here. It is fetched when it is first asked for, because the
processes that render are of this package too, and start in a moment only if nobody imports torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lib.datasets.toyworld.dataset import *  # noqa: F403


def __getattr__(name: str) -> Any:
    dataset = import_module("lib.datasets.toyworld.dataset")
    if name in dataset.__all__:
        return getattr(dataset, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
