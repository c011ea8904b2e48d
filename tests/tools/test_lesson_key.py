"""What makes a lesson run again."""

import pytest
from lesson_key import dependencies, lesson_key

FILES = {
    "solutions/01_first.py": "from lib.ops import boxes\nfrom lib.exercises import check\n",
    "solutions/02_second.py": "import lib.models.unet as unet\n",
    "solutions/00_start.py": "from lib.exercises import progress\nprogress()\n",
    "lib/__init__.py": "",
    "lib/ops/__init__.py": "",
    "lib/ops/boxes.py": "from ..layers import norm\n",
    "lib/layers/__init__.py": "",
    "lib/layers/norm.py": "def f():\n    import lib.device\n",
    "lib/device.py": "",
    "lib/models/unet.py": "WEIGHTS = 'unet_toyworld'\n",
    "lib/exercises/__init__.py": "from lib.exercises.engine import check\n",
    "lib/exercises/engine.py": "",
    "lib/exercises/lesson_01.py": "import lib.viz.basics.draw\n",
    "lib/exercises/lesson_02.py": "",
    "lib/viz/basics/draw.py": "",
    "constraints.txt": "numpy==2\n",
    "data/checkpoints/unet_toyworld.safetensors": "weights",
    "data/checkpoints/detr.safetensors": "weights",
}


@pytest.fixture
def root(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_dependencies_are_followed(root):
    found = {path.relative_to(root).as_posix() for path in dependencies(root / "solutions/01_first.py", root)}
    assert found == set(FILES) - {
        "solutions/02_second.py",
        "solutions/00_start.py",
        "lib/models/unet.py",
        "lib/exercises/lesson_02.py",
        "data/checkpoints/unet_toyworld.safetensors",
        "data/checkpoints/detr.safetensors",
    }


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("lib/ops/boxes.py", {"01_first"}),
        ("lib/device.py", {"01_first"}),
        ("lib/models/unet.py", {"02_second"}),
        ("lib/exercises/lesson_01.py", {"01_first", "00_start"}),  # 00 shows the progress in all lessons
        ("lib/viz/basics/draw.py", {"01_first", "00_start"}),
        ("lib/exercises/lesson_02.py", {"00_start"}),
        ("solutions/02_second.py", {"02_second"}),
        ("constraints.txt", {"00_start", "01_first", "02_second"}),
        ("data/checkpoints/unet_toyworld.safetensors", {"02_second"}),
        ("data/checkpoints/detr.safetensors", set()),
    ],
)
def test_a_change_reaches_the_lessons_that_see_it(root, changed, stale):
    lessons = sorted((root / "solutions").glob("*.py"))
    before = {path.stem: lesson_key(path, root) for path in lessons}
    (root / changed).write_text(FILES[changed] + "# changed\n")
    assert {path.stem for path in lessons if lesson_key(path, root) != before[path.stem]} == stale


def test_line_ends_do_not_matter(root):
    source = root / "solutions/01_first.py"
    before = lesson_key(source, root)
    (root / "lib/ops/boxes.py").write_bytes(FILES["lib/ops/boxes.py"].replace("\n", "\r\n").encode())
    assert lesson_key(source, root) == before
