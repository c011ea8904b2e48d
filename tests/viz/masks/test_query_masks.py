import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

from lib.viz.masks.query_masks import SILENT, draw_query_classes, draw_query_masks, said_by, show_edges
from tests.viz.texts import words

NAMES, COLOURS = ("sky", "cone"), ((0.6, 0.8, 0.9), (0.3, 0.4, 0.8))
IMAGE = torch.linspace(0, 1, 3 * 12 * 16).view(3, 12, 16)
CLASSES = torch.tensor([[0.0, 9, 0], [0, 0, 2], [3, 0, 0]])  # cone, nothing, sky
MASKS = torch.full((3, 6, 8), -9.0)
MASKS[0, 2:4, 3:6] = 9


def draw(image=IMAGE, classes=CLASSES, masks=MASKS, names=NAMES, colours=COLOURS, **more):
    return draw_query_masks(image, classes, masks, names, colours, **more)


def test_every_query_has_a_tile_with_its_number_class_and_probability():
    axes = draw().axes
    assert [axis.get_title() for axis in axes] == ["0: cone 1.00", "1: nothing 0.79", "2: sky 0.91"]
    assert [to_hex(axis.title.get_color()) for axis in axes] == ["#000000", SILENT.lower(), "#000000"]
    assert said_by(CLASSES[1:2], NAMES) == ["0: nothing 0.79"]


def test_the_picture_glows_in_the_colour_of_the_class_as_the_mask_is_probable():
    grey = 0.06 + 0.3 * (IMAGE * 255).round().mean(0).numpy()[..., None] / 255  # (12, 16, 1)
    for axis, mask, colour in zip(draw().axes, MASKS, (COLOURS[1], to_rgb(SILENT), COLOURS[0])):
        shown, share = np.asarray(axis.images[0].get_array()), 0.85 * mask.sigmoid().numpy()
        for row, column in ((0, 0), (5, 9), (11, 15)):  # a cell has 2 × 2 pixels
            part = share[row // 2, column // 2]
            expected = (1 - part) * grey[row, column] + part * np.asarray(colour)
            assert np.allclose(shown[row, column], expected, atol=1e-3)
        assert axis.images[0].get_extent() == [0, 16, 12, 0]


def test_a_line_runs_where_the_probability_crosses_a_half():
    first, second, _ = draw().axes
    segments = [tuple(map(tuple, line)) for lines in first.collections for line in lines.get_segments()]
    assert len(segments) == 2 * (2 + 3), "the edges of 2 × 3 cells"
    assert ((6, 4), (8, 4)) in segments and ((12, 6), (12, 8)) in segments, "a cell has 2 × 2 pixels"
    assert not any(len(lines.get_segments()) for lines in second.collections)


def test_edges_lie_between_all_cells_that_differ():
    axis = draw().axes[1]
    show_edges(axis, np.array([[1, 1, 2], [1, 3, 2]]), (2, 3), "red", 1)
    across, down = (lines.get_segments() for lines in axis.collections[-2:])
    assert len(across) == 1 and across[0].tolist() == [[1, 1], [2, 1]]
    assert [line[0, 0] for line in down] == [2, 1, 2]


def test_twenty_queries_fit_on_a_page():
    figure = draw(classes=CLASSES.repeat(7, 1)[:20], masks=MASKS.repeat(7, 1, 1)[:20])
    assert figure.get_figwidth() <= 9.41 and len(figure.axes) == 20
    tiles = [axis.get_subplotspec() for axis in figure.axes]
    assert (tiles[7].rowspan.start, tiles[7].colspan.start) == (1, 2)
    assert len({axis.get_subplotspec().colspan.start for axis in draw(columns=2).axes}) == 2


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"image": IMAGE[0]}, "image is"),
        ({"classes": CLASSES[:, :2]}, r"class_logits is \(3, 2\); expected \(Q, 3\)"),
        ({"classes": CLASSES[:0], "masks": MASKS[:0]}, r"class_logits is \(0, 3\)"),
        ({"masks": MASKS[:2]}, r"mask_logits is \(2, 6, 8\); expected \(3, h, w\)"),
        ({"masks": MASKS[0]}, "mask_logits is"),
        ({"colours": COLOURS[:1]}, "colours has 1"),
        ({"columns": 0}, "columns is 0"),
    ],
)
def test_bad_input_is_named(changes, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw(**changes)


def test_a_table_says_how_often_each_query_says_each_class():
    counts = torch.tensor([[9, 0, 1], [0, 4, 6]])
    figure = draw_query_classes(counts, ("sky", "ball"))
    (axis,) = figure.axes
    assert words(figure) == "9 0 1 0 4 6" and (axis.images[0].get_array() == counts.numpy()).all()
    assert [label.get_text() for label in axis.get_xticklabels()] == ["sky", "ball", "nothing"]


@pytest.mark.parametrize("counts", [torch.zeros(2, 4).long(), torch.zeros(2, 3), torch.zeros(3).long()])
def test_counts_that_do_not_fit_are_named(counts):
    with pytest.raises(ValueError, match="^counts "):
        draw_query_classes(counts, ("sky", "ball"))
