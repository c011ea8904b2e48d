"""Blocks the network in every Python that starts with this folder on PYTHONPATH, kernels and workers among them.

Python imports one module of this name at start-up. If the machine has another one, it runs afterwards, as it would
have without us.
"""

import importlib.util
import sys
from importlib.machinery import PathFinder
from pathlib import Path

HERE = Path(__file__).resolve().parent


def _run_the_one_behind() -> None:
    behind = PathFinder.find_spec("sitecustomize", [p for p in sys.path if Path(p or ".").resolve() != HERE])
    if behind is not None and behind.loader is not None:
        behind.loader.exec_module(importlib.util.module_from_spec(behind))


_spec = importlib.util.spec_from_file_location("loopback_only", HERE / "loopback_only.py")
_loopback_only = importlib.util.module_from_spec(_spec)
sys.modules["loopback_only"] = _loopback_only
_spec.loader.exec_module(_loopback_only)
_loopback_only.block_network()
_run_the_one_behind()
