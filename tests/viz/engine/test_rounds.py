import pytest

from lib.viz.engine.rounds import draw_rounds
from tests.viz.texts import words


def rounds(shift: float = 0.0) -> list[dict]:
    """Three rounds; nobody draws in the last."""
    levels = {"found, part": 0.25, "found, thing": 0.5 + shift, "found, group": None, "found, stuff": 1.0}
    drawn = {"seconds a mask": 12.5 + shift, "by hand, a mask": 30.0}
    return [
        {"round": "assisted 1", "masks": 96, "pictures": 64, **levels, **drawn},
        {"round": "semi 1", "masks": 256, "pictures": 64, **levels, **drawn, "seconds a mask": 9.0},
        {"round": "automatic", "masks": 320, "pictures": 64, **levels, "seconds a mask": None},
    ]


def test_bars_and_lines_are_the_numbers_of_the_rounds():
    figure = draw_rounds(rounds())
    seconds, masks, found = figure.axes
    assert [bar.get_height() for bar in seconds.patches] == [12.5, 9.0]
    assert seconds.lines[0].get_xydata().tolist() == [[0, 30], [1, 30]] and seconds.lines[0].get_linestyle() == "--"
    assert [bar.get_height() for bar in masks.patches] == [1.5, 4, 5]
    assert [line.get_ydata().tolist() for line in found.lines] == [[0.25] * 3, [0.5] * 3, [], [1.0] * 3]
    assert words(figure) == "12.5 9.0 nobody draws 1.5 4.0 5.0"
    assert [text.get_text() for text in found.get_xticklabels()] == ["assisted 1", "semi 1", "automatic"]
    assert [text.get_text() for text in found.get_legend().get_texts()] == ["part", "thing", "group", "stuff"]


def test_other_seeds_are_thin_marks():
    figure = draw_rounds(rounds(), [rounds(0.25), rounds(-0.25)])
    seconds, masks, found = figure.axes
    marks = [
        line.get_xydata().tolist()
        for line in seconds.lines
        if line.get_marker() == "_" and line.get_linestyle() == "None"
    ]
    assert marks == [[[0, 12.75], [1, 9.0]], [[0, 12.25], [1, 9.0]]]
    assert [0.75, 0.25] == [line.get_ydata()[0] for line in found.lines if line.get_marker() == "s"][1:]
    assert "2 more seeds" in figure.get_suptitle()
    assert words(figure) == words(draw_rounds(rounds()))
    assert [text.xy for text in seconds.texts] == [(0, 12.75), (1, 9.0), (2, 0.0)]  # above the highest mark


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="^rounds is empty"):
        draw_rounds([])
    with pytest.raises(ValueError, match="^others has number 0 with other rounds"):
        draw_rounds(rounds(), [rounds()[:2]])
    short = [{name: value for name, value in rounds()[0].items() if name != "found, part"}]
    with pytest.raises(ValueError, match="^rounds has one without 'found, part'"):
        draw_rounds(short)
