"""Weights in a file, with a note of how they were made beside them."""

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from lib.files import write_atomically

CHECKSUM = "sha256"  # its name in the note: what `sha256sum` says of the file with the weights


def save_checkpoint(model: nn.Module, path: str | Path, made: dict) -> None:
    """Write a model's weights and buffers to `path`, and `made` to the JSON file of the same name beside it.

    The same weights and the same `made` give the same bytes. A reader meets the old files or the new ones, never half
    a file. The JSON file also gets a checksum of the weights, so that a single wrong bit is noticed.

    Args:
        path: ends in ".safetensors"; its folder is made if need be.
        made: how the weights came about (seed, steps, scores, ...), such as `history.summary()`; no dates or durations.

    Raises:
        ValueError: `path` ends in something else, or `made` holds what JSON cannot, or a checksum of its own.
    """
    path = _checked(path)
    if not isinstance(made, dict) or CHECKSUM in made:
        raise ValueError(f"made is {made!r}; expected a dict without {CHECKSUM!r}, which is for the weights' checksum")
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    weights = save(tensors)
    noted = {**made, CHECKSUM: _checksum(weights)}
    try:
        note = json.dumps(noted, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"made cannot be written as JSON: {error}; expected a dict of plain numbers, strings, lists and dicts"
        ) from None
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, weights)
    write_atomically(path.with_suffix(".json"), note.encode())


def load_checkpoint(model: nn.Module, path: str | Path) -> dict:
    """Fill a model with the weights at `path`: all of them, and nothing else.

    Args:
        model: of the very shape that was saved; it keeps its device, dtype and mode. After an error it is unchanged.

    Returns:
        `made`, as it was saved; an empty dict if its JSON file is not there.

    Raises:
        ValueError: there is no such file, it or its JSON file is damaged, or names or shapes of its tensors do not
            match the model's.
    """
    path = _checked(path)
    if not path.is_file():
        raise ValueError(
            f"path is {path.name!r}, and there is no such file in {path.parent.name!r}; expected a "
            "checkpoint (`make checkpoints` trains the course's own)"
        )
    made = _note_of(path)
    stored = _weights_of(path, made.pop(CHECKSUM, None))
    wanted = model.state_dict()
    for what, names in (
        ("lacks", [name for name in wanted if name not in stored]),
        ("holds, unknown to the model,", sorted(name for name in stored if name not in wanted)),
        (
            "has other shapes for",
            [
                f"{name} {tuple(stored[name].shape)}, not {tuple(tensor.shape)}"
                for name, tensor in wanted.items()
                if name in stored and stored[name].shape != tensor.shape
            ],
        ),
    ):
        if names:
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            raise ValueError(
                f"path is {path.name!r}, which {what} {'; '.join(names[:4])}{more}; expected the "
                f"{len(wanted)} tensors of {type(model).__name__}"
            )
    model.load_state_dict(stored, strict=True)
    return made


def _checked(path: str | Path) -> Path:
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"path is {path.name!r}; expected a name that ends in '.safetensors'")
    return path


def _checksum(weights: bytes) -> str:
    return hashlib.sha256(weights).hexdigest()


def _note_of(path: Path) -> dict:
    """What the JSON file beside the weights says, checksum and all; an empty dict if it is not there."""
    note = path.with_suffix(".json")
    try:
        made = json.loads(note.read_text(encoding="utf-8")) if note.is_file() else {}
        if not isinstance(made, dict):
            raise ValueError(f"a {type(made).__name__}, no dict")
    except ValueError as error:
        raise ValueError(
            f"path is {path.name!r}, whose note {note.name!r} is damaged ({error}); expected JSON{_cure(note)}"
        ) from None
    return made


def _weights_of(path: Path, checksum: str | None) -> dict[str, Tensor]:
    """The tensors in a file. Without a checksum to compare with, only what cannot be read is noticed."""
    weights, note = path.read_bytes(), path.with_suffix(".json")
    if checksum not in (None, _checksum(weights)):
        raise ValueError(
            f"path is {path.name!r}, which is damaged: its checksum is not the one in {note.name!r}; expected the "
            f"weights that were saved{_cure(path, note)}"
        )
    try:
        return load(weights)
    except SafetensorError as error:
        raise ValueError(
            f"path is {path.name!r}, which is damaged ({error}); expected a safetensors file{_cure(path)}"
        ) from None


def _cure(*files: Path) -> str:
    names = " ".join(f"data/checkpoints/{file.name}" for file in files)
    return f". If it is one of the course's, take it back with `git checkout -- {names}`"
