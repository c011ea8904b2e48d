"""What a lesson's outputs depend on, as one short key: equal keys, nothing to run again.

The key covers the lesson's source, the modules of `lib` that it imports, directly and through one another, the
checkpoints that any of these names, the exact versions in constraints.txt, and the builder's own version. Modules that
Python finds out about at run time only are added by rule: the exercises of this lesson, and those of every lesson where
it shows `progress()` or `catalogue()`. If a rule misses something, the lanes still notice:
they run every notebook again.
"""

import ast
import hashlib
import re
from pathlib import Path

BUILDER = 1  # raise it when the builder would write other outputs from the same lesson


def lesson_key(source: Path, root: Path) -> str:
    """The key of the lesson at `source`, in the checkout at `root`."""
    files = dependencies(source, root)
    texts = [_text(file) for file in files]
    checkpoints = sorted((root / "data" / "checkpoints").glob("*.safetensors"))
    used = [path for path in checkpoints if any(path.stem in text for text in texts)]
    digest = hashlib.sha256(f"builder {BUILDER}\n".encode())
    for file, text in zip(files, texts):
        digest.update(f"{file.relative_to(root).as_posix()}\n{text}\0".encode())
    for path in used:
        digest.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def dependencies(source: Path, root: Path) -> list[Path]:
    """The files behind a lesson: its source, the modules of `lib` that it comes to import, constraints.txt."""
    number = source.stem.split("_")[0]
    found: set[Path] = set()
    waiting = [source]
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        waiting += _imported(file, root)
        if file.parent == root / "lib" / "exercises":
            whole = re.search(r"\b(progress|catalogue)\(", _text(source))
            waiting += (root / "lib" / "exercises").glob("lesson_*.py" if whole else f"lesson_{number}.py")
    constraints = root / "constraints.txt"
    return sorted(found | ({constraints} if constraints.exists() else set()))


def _imported(file: Path, root: Path) -> list[Path]:
    """The files of `lib` that a file imports, each with the packages around it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(_text(file))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = file.relative_to(root).with_suffix("").parts[: -node.level]
                base = ".".join((*package, *filter(None, [node.module])))
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    files = []
    for name in names:
        parts = name.split(".")
        if parts[0] != "lib":
            continue
        for depth in range(1, len(parts) + 1):
            place = root.joinpath(*parts[:depth])
            files += [path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()]
    return files


def _text(file: Path) -> str:
    """The text with plain line ends, so that a checkout on Windows gives the same key."""
    return file.read_text(encoding="utf-8")
