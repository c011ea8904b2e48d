import numpy as np
import pytest
import torch

from lib.viz.masks.segmentation import draw_confusion, draw_regions, draw_segmentations

NAMES, COLOURS = ("sky", "ground", "box"), ((0.0, 0.0, 1.0), (0.5, 0.5, 0.5), (1.0, 0.0, 0.0))


def test_every_class_has_its_colour_and_the_legend_names_those_that_are_there():
    figure = draw_segmentations(torch.rand(3, 4, 6), {"truth": torch.tensor([[0, 2, 0], [2, 2, 0]])}, NAMES, COLOURS)
    assert [axis.get_title() for axis in figure.axes] == ["picture", "truth"]
    shown = np.asarray(figure.axes[1].images[0].get_array())
    assert shown.shape == (2, 3, 3)
    assert np.allclose(shown[0], [COLOURS[0], COLOURS[2], COLOURS[0]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["sky", "box"]


def test_the_picture_can_be_left_out():
    assert len(draw_segmentations(None, {"a": torch.zeros(2, 2, dtype=torch.int64)}, NAMES, COLOURS).axes) == 1


def test_the_confusion_matrix_shows_shares_of_each_row_and_leaves_an_empty_one_empty():
    axis = draw_confusion(torch.tensor([[3, 1, 0], [0, 0, 0], [1, 0, 1]]), NAMES).axes[0]
    written = {text.get_position(): text.get_text() for text in axis.texts}
    assert written == {(0, 0): "75%", (1, 0): "25%", (2, 0): "0%", (0, 2): "50%", (1, 2): "0%", (2, 2): "50%"}
    assert [label.get_text() for label in axis.get_yticklabels()] == list(NAMES)


def test_regions_are_outlined_along_their_border_and_named():
    mask = torch.zeros(20, 30, dtype=torch.bool)
    mask[5:10, 12:20] = True
    corner = torch.zeros(20, 30, dtype=torch.bool)
    corner[15:, 25:] = True
    axis = draw_regions(torch.rand(3, 20, 30), {"two": {"patch 3": mask, "patch 8": corner}}).axes[0]
    assert axis.get_title() == "two" and [text.get_text() for text in axis.texts] == ["patch 3", "patch 8"]
    borders = [each.get_paths()[0].get_extents().extents for each in axis.collections]
    for border in borders[:3]:  # fill, halo, line
        assert np.allclose(border, (12, 5, 20, 10), atol=0.51)
    assert borders[3][2:] == pytest.approx((30, 20), abs=0.51) and axis.get_xlim() == (0, 30)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: draw_segmentations(None, {}, NAMES, COLOURS), "maps"),
        (lambda: draw_segmentations(None, {"a": torch.zeros(2, 2)}, NAMES, COLOURS), "maps"),
        (lambda: draw_segmentations(None, {"a": torch.full((2, 2), 3)}, NAMES, COLOURS), "maps"),
        (lambda: draw_segmentations(None, {"a": torch.zeros(1, 2, 2, dtype=torch.int64)}, NAMES, COLOURS), "maps"),
        (lambda: draw_segmentations(None, {"a": torch.zeros(2, 2, dtype=torch.int64)}, NAMES, COLOURS[:2]), "colours"),
        (lambda: draw_regions(torch.rand(3, 2, 2), {}), "regions"),
        (lambda: draw_regions(torch.rand(3, 2, 2), {"a": {"b": torch.ones(2, 3) > 0}}), r"regions\['a'\]\['b'\]"),
        (lambda: draw_regions(torch.rand(3, 2, 2), {"a": {"b": torch.zeros(2, 2) > 0}}), r"regions\['a'\]\['b'\]"),
        (lambda: draw_confusion(torch.zeros(2, 3), NAMES), "matrix"),
        (lambda: draw_confusion(torch.zeros(2, 2), NAMES), "matrix"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=rf"^{named}"):
        call()
