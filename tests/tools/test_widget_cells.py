"""What a widget needs is found, and nothing else."""

import ast

import pytest
from build_notebooks import lesson_paths
from kernel_run import ROOT
from lesson_source import parse_code, read_lesson
from widget_cells import names_of, shows_a_widget, widget_cells

WIDGET = "explore_x(net)  # look"


def plain(text: str) -> str:
    return ast.unparse(parse_code(text))


@pytest.mark.parametrize(
    ("cells", "kept"),  # a number: this cell as it is
    [
        (["a = 1", "net = 2; b = 3"], ["net = 2"]),
        (["net = 1", "net = 2"], [1]),
        (["net = 1", "net = net + 1"], [0, 1]),
        (["def f(net):\n    return size * net", "size = 2", "net = f(1)", "net"], [0, 1, 2]),
        (["from lib import (a,\n    b)", "import c.d", "net = b(c.d)"], [0, 1, 2]),
        (["net = {}", "net[0] = 1\nprint(net)", "net.update(x)", "net.a.b = 3"], [0, "net[0] = 1", 2, 3]),
        (["import plt", "plt.show()", "plt.rc = 2", "net = plt.x"], [0, 3]),
        (["many = [1]", "one = 5", "net = [one for one in many if one]"], [0, 2]),
        (["one = 5", "for one in [1]:\n    net = one"], [1]),
        (["x = 1", "f = 3", "with open(x) as f:\n    net = f.read()"], [0, 2]),
        (["net: int = 1", "net += 1", "assert net"], [0, 1]),
        (["net = 1", "del net\nnet = 4"], ["net = 4"]),
        (["B, (g, *k) = 1, (2, 3)", "x = 1", "@g\nclass C(B):\n    x = k", "net = C"], [0, 2, 3]),
        (["x = 1", "try:\n    net = 1\nexcept E:\n    net = x"], [0, 1]),
        (["x = 1", "net = lambda x: x"], [1]),
        (["%matplotlib inline", "print(1)", "net = 1"], [2]),
        (["net, other = 1, 2", "fit(other, x)", "fit(net, x)", "print(net)"], [0, 2]),
        (["net = 1", "made = load_checkpoint(net, 'path')", "other = fit(thing, net)"], [0, 1]),
        (
            ["net = [1]", "def train(one):\n    return fit(one, x)", "log = {a: train(b) for a, b in enumerate(net)}"],
            [0, 1, 2],
        ),
        (["net = [1]", "for one in net:\n    fit(one)"], [0, 1]),
    ],
)
def test_what_makes_the_names_is_kept_in_order(cells, kept):
    found = widget_cells([*cells, WIDGET, "net = 5"])
    assert found[-1] == WIDGET  # with its comment
    assert found[:-1] == [plain(cells[one]) if isinstance(one, int) else one for one in kept]


def test_what_is_changed_is_told_from_what_is_bound():
    names = names_of(parse_code("a, *b = c\na.x = 1\nd[e] = f\ng.h.i(j)\nk(l)").body)
    assert names.bound == {"a", "b"} and names.changed == {"d", "g"}
    assert names.needed == {"c", "d", "e", "f", "g", "j", "k", "l"}


def test_no_widget_nothing_to_run():
    assert widget_cells(["x = 1", "print(x)", "explorer = 3"]) == []


def test_of_every_lesson_with_a_widget_a_part_is_enough():
    for source in lesson_paths(ROOT):
        cells = [cell.text for cell in read_lesson(source).cells if cell.kind == "code"]
        kept = widget_cells(cells)
        assert bool(kept) == any(map(shows_a_widget, cells))
        assert [text for text in cells if shows_a_widget(text)] == [text for text in kept if shows_a_widget(text)]
        assert len("".join(kept)) < 0.6 * len("".join(cells))
