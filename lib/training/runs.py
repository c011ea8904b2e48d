"""The runs of a recipe in data/checkpoints, written down one by one: a recipe that was cut off goes on where it was."""

import json
from collections.abc import Callable
from pathlib import Path

from lib.files import write_atomically


def once(store: Path, name: str, make: Callable[[], dict]) -> dict:
    """What is stored under `name`; if nothing is, it is made, written down and printed.

    Args:
        store: a JSON file, {name: numbers and words}; it need not be there yet.
        name: of the run: "runs/RoIAlign/0".
        make: makes the run.
    """
    done: dict[str, dict] = json.loads(store.read_text()) if store.exists() else {}
    if name not in done:
        done[name] = make()
        write_atomically(store, (json.dumps(done, indent=1, ensure_ascii=False) + "\n").encode())
        print(name, done[name], flush=True)
    return done[name]
