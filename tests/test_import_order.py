"""Imports inside lib run one way, as on the map of the house; and a model knows earlier lessons' models only."""

import ast
from pathlib import Path

import pytest

LIB = Path(__file__).resolve().parents[1] / "lib"

# Which parts a part may import from, besides itself and the leaves.
BASE = {"ops", "layers", "models", "pretrained", "datasets"}
MAY_IMPORT = {
    "ops": set(),
    "layers": {"ops"},
    "models": {"ops", "layers"},
    "pretrained": {"ops", "layers", "models"},
    "datasets": {"ops"},
    "training": BASE,
    "viz": BASE | {"training"},
    "exercises": BASE | {"training", "viz"},
}
LEAVES = {"lib.device", "lib.files", "lib.datasets.folders"}  # anyone may import them; they import nothing of lib
# The models in the order of the lessons.
MODELS = [
    "fcn",
    "unet",
    "rcnn",
    "fast_rcnn",
    "faster_rcnn",
    "yolo",
    "retinanet",
    "mask_rcnn",
    "densepose",
    "mesh_rcnn",
    "detr",
    "maskformer",
    "uni_dvps",
    "sam",
    "grounding",
]


def modules(lib: Path) -> dict[str, Path]:
    """Each module below `lib` by its dotted name; a package by its folder's."""
    names = {}
    for path in sorted(lib.rglob("*.py")):
        parts = path.relative_to(lib.parent).with_suffix("").parts
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return names


def imports(name: str, path: Path, known: dict[str, Path]) -> list[tuple[int, str]]:
    """The modules of lib that a module imports, wherever in its text, each with its line."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
                base = ".".join([*parts[: len(parts) - node.level + 1], *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.append((node.lineno, inner if inner in known else base))
    return [(line, target) for line, target in found if target.split(".")[0] == "lib"]


def violations(lib: Path) -> list[str]:
    """All imports against the order, as `file:line: what`."""
    known = modules(lib)
    wrong = []
    for name, path in known.items():
        part = name.split(".")[1] if "." in name else ""
        for line, target in imports(name, path, known):
            if target == "lib" or target in LEAVES and name not in LEAVES:
                continue
            target_part = target.split(".")[1]
            if name in LEAVES or not part:
                problem = "is a leaf and imports nothing of lib"
            elif part not in MAY_IMPORT:
                problem = f"is in no known part of lib (they are {', '.join(MAY_IMPORT)})"
            elif target_part != part and target_part not in MAY_IMPORT[part]:
                problem = f"may not import {target}"
            elif part == target_part == "models" and _lesson(target) > _lesson(name):
                problem = f"may not import {target}, which belongs to a later lesson"
            else:
                continue
            wrong.append(f"{path.relative_to(lib.parent).as_posix()}:{line}: {name} {problem}")
    return wrong


def _lesson(name: str) -> int:
    return MODELS.index(name.split(".")[2]) if len(name.split(".")) > 2 else -1


def test_imports_run_one_way():
    assert violations(LIB) == []


def test_every_part_and_model_has_its_place():
    known = modules(LIB)
    parts = {name.split(".")[1] for name in known if "." in name} - {"device", "files"}
    models = {name.split(".")[2] for name in known if name.startswith("lib.models.")}
    assert parts <= set(MAY_IMPORT) and models <= set(MODELS)


@pytest.mark.parametrize(
    ("name", "line", "refused"),
    [
        ("ops/boxes", "from lib.layers import resnet", True),
        ("ops/boxes", "import lib.viz.basics.draw", True),
        ("ops/boxes", "from lib.device import choose_device", False),
        ("ops/boxes", "from ..layers.resnet import x", True),
        ("layers/resnet", "from lib.ops.boxes import x", False),
        ("models/fcn", "from lib.models.unet import x", True),
        ("models/unet", "from lib.models import fcn", False),
        ("models/unet", "from .fcn import x", False),
        ("models/fcn", "def late():\n    from lib.datasets.toyworld import x", True),
        ("datasets/toyworld", "from lib.ops.boxes import x", False),
        ("datasets/folders", "from lib.ops.boxes import x", True),
        ("training/loop", "from lib.viz import draw", True),
        ("viz/draw", "from lib.training import loop", False),
        ("exercises/engine", "from lib.viz import draw", False),
        ("viz/draw", "from lib.exercises import check", True),
        ("utils/drawer", "import lib.ops.boxes", True),
        ("device", "from lib.ops import boxes", True),
    ],
)
def test_a_wrong_arrow_is_seen(tmp_path, name, line, refused):
    others = [
        "ops/boxes",
        "layers/resnet",
        "models/fcn",
        "models/unet",
        "viz/draw",
        "datasets/folders",
        "training/loop",
    ]
    for module in (*others, name):
        file = tmp_path / "lib" / f"{module}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        (file.parent / "__init__.py").touch()
        file.touch()
    (tmp_path / "lib" / f"{name}.py").write_text(line + "\n")
    assert bool(violations(tmp_path / "lib")) == refused
