import re
from pathlib import Path

from lib.viz.diagrams.course_map import COLUMNS, LESSONS, PART_COLOURS, draw_course_map

ROOT = Path(__file__).parents[3]


def test_every_lesson_of_the_map_has_its_source():
    written = {int(path.name[:2]) for path in (ROOT / "solutions").glob("[0-9][0-9]_*.py")} - {0}
    assert {lesson.number for lesson in LESSONS} == written


def test_the_readme_lists_every_lesson():
    rows = re.findall(r"^\| (\d\d) \| .+? \|", (ROOT / "README.md").read_text(), flags=re.M)
    assert [int(number) for number in rows] == [lesson.number for lesson in LESSONS]


def test_the_map_shows_every_lesson_in_order_without_overlap():
    figure = draw_course_map()
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert [lesson.number for lesson in LESSONS] == list(range(1, 20))
    assert all(f"{lesson.number:02d}  {lesson.title}" in texts and lesson.adds in texts for lesson in LESSONS)
    assert {lesson.part for lesson in LESSONS} == set(PART_COLOURS)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    assert len(LESSONS) % COLUMNS, "the legend stands in the last row's empty place"
