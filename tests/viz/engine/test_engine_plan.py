import numpy as np
import pytest
import torch

from lib.viz.engine.engine_plan import ADDED, BACK, GIVEN, MODEL, EngineRow, draw_engine, shades
from lib.viz.engine.everything import paint_everything
from tests.viz.texts import words

IMAGE = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(0))
MASKS = torch.zeros(3, 24, 24, dtype=torch.bool)
MASKS[0, 2:8, 2:8], MASKS[1, 10:20, 3:9], MASKS[2, :6] = True, True, True
GRID = torch.cartesian_prod(torch.tensor([6.0, 18.0]), torch.tensor([6.0, 18.0]))
ROWS = [
    EngineRow(
        "1 · manual", "annotator", "clicks", IMAGE, MASKS[:0], MASKS[:2], "64 pictures, 15.2 s a mask",
        torch.tensor([[4.0, 4.0], [5.0, 12.0], [20.0, 20.0]]), torch.tensor([1, 1, 0]),
    ),
    EngineRow(
        "2 · half", "detector", "boxes", IMAGE, MASKS[:1], MASKS[1:], "128 pictures",
        points=torch.tensor([[5.0, 12.0]]), boxes=torch.tensor([[2.0, 2, 8, 8]]), model="trained twice",
    ),
    EngineRow("3 · automatic", "grid", "asks", IMAGE, MASKS, MASKS[:0], "no seconds", grid=GRID, back=""),
]  # fmt: skip


def pictures(figure):
    """The axes of prompts and of masks, row by row."""
    _, *axes = figure.axes
    return list(zip(axes[::2], axes[1::2], strict=True))


def test_prompts_are_drawn_as_what_they_are():
    (manual, _), (half, _), (automatic, _) = pictures(draw_engine(ROWS))
    assert [line.get_marker() for line in manual.lines] == ["*", "*", "X"]
    assert manual.lines[2].get_xydata().tolist() == [[20.5, 20.5]]
    *_, dashed = half.collections
    assert dashed.get_segments()[0].tolist()[:2] == [[2, 2], [8, 2]] and dashed.get_linestyle()[0][1] is not None
    assert automatic.lines[0].get_xydata().tolist() == GRID.tolist()
    said = words(draw_engine(ROWS))
    assert all(part in said for part in ("3 clicks", "1 box, 1 click", "4 points", "2 masks", "3 masks"))


def test_masks_have_the_colour_of_who_made_them():
    for (_, axis), row in zip(pictures(draw_engine(ROWS)), ROWS, strict=True):
        masks = torch.cat([row.given, row.added])
        colours = shades(masks, [GIVEN] * len(row.given) + [ADDED] * len(row.added))
        assert (np.asarray(axis.images[0].get_array()) == paint_everything(IMAGE, masks, colours)).all()
    assert ("nobody drew" in words(draw_engine(ROWS))) and ("nobody drew" not in words(draw_engine(ROWS[:1])))


def test_larger_masks_are_lighter():
    small, large = shades(torch.stack([MASKS[0], torch.ones(24, 24, dtype=torch.bool)]), [ADDED, ADDED])
    assert all(a < b for a, b in zip(small, large) if a < 1) and max(large) <= 1


def test_each_way_back_leads_to_the_model():
    figure = draw_engine(ROWS)
    said = words(figure)
    assert said.count(BACK) == 2 and "trained twice" in said and "SAM" in said
    assert all(row.title in said and row.who in said and row.how in said and row.words in said for row in ROWS)
    paper = figure.axes[0]
    (box,) = (patch for patch in paper.patches if patch.get_x() == MODEL)
    edge = MODEL + box.get_width()
    back = [text.xy for text in paper.texts if getattr(text, "arrow_patch", None) and text.xy[0] == edge]
    assert len(back) == 2
    assert all(box.get_y() < y < box.get_y() + box.get_height() for _, y in back)


@pytest.mark.parametrize(
    ("rows", "named"),
    [
        ([], "rows is empty"),
        ([ROWS[0], ROWS[1]._replace(given=MASKS[:, :4])], r"rows has number 1 with given of \(3, 4, 24\)"),
    ],
)
def test_bad_input_is_named(rows, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw_engine(rows)
