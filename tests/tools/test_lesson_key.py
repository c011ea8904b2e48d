"""What makes a lesson run again."""

import pytest
from build_notebooks import lesson_paths
from kernel_run import ROOT
from lesson_key import dependencies, lesson_key, what_changed

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
    "lib/exercises/__init__.py": "from lib.exercises.classroom import check, progress\n",
    "lib/exercises/classroom.py": "from lib.exercises.engine import judge\n",
    "lib/exercises/engine/__init__.py": "",
    "lib/exercises/engine/judge.py": "",
    "lib/exercises/engine/kinds.py": "",
    "lib/exercises/lessons/__init__.py": "",
    "lib/exercises/lessons/lesson_01/__init__.py": "",
    "lib/exercises/lessons/lesson_01/area.py": "from lib.exercises.engine import kinds\nimport lib.viz.basics.draw\n",
    "lib/exercises/lessons/lesson_01/width.py": "",
    "lib/exercises/lessons/lesson_02/double_conv.py": "",
    "lib/viz/basics/draw.py": "",
    "constraints.txt": "numpy==2\n",
    "data/checkpoints/unet_toyworld.safetensors": "weights",
    "data/checkpoints/unet_toyworld.json": "figures",
    "data/checkpoints/unet_toyworld.py": "recipe",
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
        "lib/exercises/lessons/lesson_02/double_conv.py",
        "data/checkpoints/unet_toyworld.json",
        "data/checkpoints/unet_toyworld.safetensors",
        "data/checkpoints/unet_toyworld.py",
        "data/checkpoints/detr.safetensors",
    }


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("lib/ops/boxes.py", {"01_first"}),
        ("lib/device.py", {"01_first"}),
        ("lib/models/unet.py", {"02_second"}),
        ("lib/exercises/lessons/lesson_01/area.py", {"01_first"}),  # 00 shows the progress of its own exercises
        ("lib/exercises/lessons/lesson_01/width.py", {"01_first"}),
        ("lib/exercises/lessons/lesson_02/double_conv.py", set()),  # 02 does not ask for its exercises
        ("lib/exercises/lessons/__init__.py", {"00_start", "01_first"}),
        ("lib/exercises/engine/judge.py", {"00_start", "01_first"}),
        ("lib/exercises/engine/kinds.py", {"01_first"}),
        ("lib/viz/basics/draw.py", {"01_first"}),
        ("solutions/02_second.py", {"02_second"}),
        ("constraints.txt", {"00_start", "01_first", "02_second"}),
        ("data/checkpoints/unet_toyworld.safetensors", {"02_second"}),
        ("data/checkpoints/unet_toyworld.json", {"02_second"}),
        ("data/checkpoints/unet_toyworld.py", set()),
        ("data/checkpoints/detr.safetensors", set()),
    ],
)
def test_a_change_reaches_the_lessons_that_see_it_and_is_named(root, changed, stale):
    before = {path: lesson_key(path, root) for path in (root / "solutions").glob("*.py")}
    (root / changed).write_text(FILES[changed] + "# changed\n")
    said = {path.stem: what_changed(key, lesson_key(path, root)) for path, key in before.items()}
    assert said == {name: f"{changed} changed" if name in stale else "" for name in said}


def test_what_came_and_went_is_named_and_a_long_list_cut(root):
    source = root / "solutions/01_first.py"
    before = lesson_key(source, root)
    (root / "lib/exercises/lessons/lesson_01/width.py").rename(root / "lib/exercises/lessons/lesson_01/wide.py")
    assert what_changed(before, lesson_key(source, root)) == (
        "lib/exercises/lessons/lesson_01/wide.py was added, lib/exercises/lessons/lesson_01/width.py was removed"
    )
    assert what_changed({}, dict.fromkeys("abcdefg", "1")).endswith("e was added, 2 more")
    assert before["builder"] != "" and what_changed(before, before | {"builder": "0"}) == "builder changed"


def test_every_exercise_of_the_course_belongs_to_the_lesson_that_sets_it():
    """One word in lesson 06, in its text, a hint or an exercise, runs lesson 06 again and no other."""
    lessons = ROOT / "lib" / "exercises" / "lessons"
    for source in lesson_paths(ROOT):
        number = source.stem[:2]
        files = [path.relative_to(lessons).parts[0] for path in dependencies(source, ROOT) if lessons in path.parents]
        assert {name for name in files if name.startswith("lesson_")} <= {f"lesson_{number}"}
        assert [path for path in dependencies(source, ROOT) if path.parent == ROOT / "solutions"] == [source]


def test_line_ends_do_not_matter(root):
    source = root / "solutions/01_first.py"
    before = lesson_key(source, root)
    (root / "lib/ops/boxes.py").write_bytes(FILES["lib/ops/boxes.py"].replace("\n", "\r\n").encode())
    assert lesson_key(source, root) == before
