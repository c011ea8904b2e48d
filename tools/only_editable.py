"""Lets hatchling install the course where it lies (`pip install -e .`), and nowhere else."""

import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class OnlyEditable(BuildHookInterface):
    """Refuses a wheel: it would lack notebooks and checkpoints, and downloads would go to site-packages."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable":
            sys.exit(
                "The course is used where it was cloned, with its notebooks and trained weights: "
                "`make lab`, or `pip install -e .` in the clone."
            )
