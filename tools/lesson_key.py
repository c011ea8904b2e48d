"""The files that a lesson's outputs depend on, each with a short digest: equal digests, nothing to run again.

These are the lesson's source, the modules of `lib` that it imports, directly and through one another, the checkpoints
that any of these names (weights and figures), the exact versions in constraints.txt, and the builder's own version. The
exercises are imported at run time only, so they are added by rule: a lesson that uses `lib.exercises` depends on the
files in `lib/exercises/lessons/lesson_NN/` of its own number, and on what those import; on no other lesson's. Whatever
shows something of other lessons (their names, their exercises) must not be part of a lesson's stored output. If a rule
misses something, the lanes still notice: they run every notebook again.
"""

import ast
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock

BUILDER = "3"  # raise it when the builder would write other outputs from the same lesson
_PARSER = Lock()  # Python 3.11 cannot parse in two threads at once; two lessons are built at a time


def lesson_key(source: Path, root: Path) -> dict[str, str]:
    """The key of the lesson at `source`, in the checkout at `root`: a digest for each file's path from the root."""
    files = dependencies(source, root)
    texts = {file: _text(file) for file in files}
    checkpoints = (root / "data" / "checkpoints").glob("*.*")
    shipped = [path for path in checkpoints if path.suffix in (".json", ".safetensors")]
    used = [path for path in shipped if any(path.stem in text for text in texts.values())]
    contents = {file: text.encode() for file, text in texts.items()} | {path: path.read_bytes() for path in used}
    digests = {file.relative_to(root).as_posix(): _digest(content) for file, content in contents.items()}
    return dict(sorted(digests.items())) | {"builder": BUILDER}


def what_changed(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """In words, how one key differs from another: "lib/ops/boxes.py changed". Names five files at most; "" if equal."""
    differences = [
        f"{name} {'was added' if name not in then else 'was removed' if name not in now else 'changed'}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    more = [f"{len(differences) - 5} more"] if len(differences) > 5 else []
    return ", ".join(differences[:5] + more)


def dependencies(source: Path, root: Path) -> list[Path]:
    """The files behind a lesson: its source, the modules of `lib` that it comes to import, constraints.txt."""
    exercises = root / "lib" / "exercises"
    own = exercises / "lessons" / f"lesson_{source.stem.split('_')[0]}"
    found: set[Path] = set()
    waiting = [source]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        waiting += _imported(file, root)
        if file.is_relative_to(exercises):
            waiting += [*own.glob("*.py"), *_packages(own, root)]
    constraints = root / "constraints.txt"
    return sorted(found | ({constraints} if constraints.exists() else set()))


def _imported(file: Path, root: Path) -> Iterable[Path]:
    """The files of `lib` that a file imports, each with the packages around it."""
    names: set[str] = set()
    with _PARSER:
        tree = ast.parse(_text(file))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = file.relative_to(root).with_suffix("").parts[: -node.level]
                base = ".".join((*package, *filter(None, [node.module])))
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    places = [root.joinpath(*name.split(".")) for name in names if name.split(".")[0] == "lib"]
    modules = [place.with_suffix(".py") for place in places if place.with_suffix(".py").is_file()]
    return [*modules, *(init for place in places for init in _packages(place, root))]


def _packages(place: Path, root: Path) -> list[Path]:
    """The `__init__.py` of a folder and of every folder around it, up to `root`, where there is one."""
    folders = [place, *place.parents[: len(place.relative_to(root).parts) - 1]]
    return [folder / "__init__.py" for folder in folders if (folder / "__init__.py").is_file()]


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def _text(file: Path) -> str:
    """The text with plain line ends, so that a checkout on Windows gives the same key."""
    return file.read_text(encoding="utf-8")
