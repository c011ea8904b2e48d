import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from lib.datasets.toyworld import CLASSES
from lib.viz.detection.detections import (
    CLASS_COLOURS,
    draw_anchors,
    draw_boxes,
    draw_detections,
    draw_matches,
    draw_proposals,
)

IMAGE = torch.full((3, 96, 96), 0.5)
BOXES = torch.tensor([[10.0, 20, 40, 50], [55.0, 50, 90, 90]])
TRUTH = {"boxes": BOXES, "labels": torch.tensor([1, 4])}
PREDICTION = {
    "boxes": torch.cat([BOXES, BOXES + 3]),
    "labels": torch.tensor([1, 4, 2, 2]),
    "scores": torch.tensor([0.9, 0.2, 0.7, 0.05]),
}


def pixels_of(figure, colour):
    """How many pixels of the picture have nearly this colour."""
    figure.canvas.draw()
    shown = np.asarray(figure.canvas.buffer_rgba())[..., :3].astype(int)
    return int((abs(shown - np.array([round(255 * part) for part in to_rgb(colour)])).max(axis=2) < 12).sum())


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_boxes_have_the_colours_of_their_classes_their_names_and_scores():
    figure = draw_boxes(
        IMAGE, BOXES, TRUTH["labels"], torch.tensor([0.91, 0.5]), ["ground", "sphere", "", "", "cone"], "both"
    )
    assert [text.get_text() for text in figure.axes[0].texts] == ["sphere 0.91", "cone 0.50"]
    assert figure.axes[0].get_title() == "both"
    assert pixels_of(figure, CLASS_COLOURS[1]) > 200 and pixels_of(figure, CLASS_COLOURS[4]) > 200
    assert pixels_of(figure, CLASS_COLOURS[2]) == 0
    assert all(text.get_fontsize() >= 8 for text in figure.axes[0].texts)


def test_boxes_without_labels_are_told_apart_by_name_and_colour():
    figure = draw_boxes(IMAGE, BOXES, names=["A", "B"])
    assert [text.get_text() for text in figure.axes[0].texts] == ["A", "B"]
    assert pixels_of(figure, CLASS_COLOURS[1]) > 200 and pixels_of(figure, CLASS_COLOURS[2]) > 200


def test_no_boxes_is_a_picture_too():
    assert not draw_boxes(IMAGE, torch.zeros(0, 4)).axes[0].patches


def test_detections_side_by_side_with_a_legend_of_the_classes_that_are_there():
    figure = draw_detections(IMAGE, {"truth": TRUTH, "found": PREDICTION}, min_score=0.1)
    truth, found = figure.axes
    assert [truth.get_title(), found.get_title()] == ["truth", "found"]
    assert not truth.texts and [text.get_text() for text in found.texts] == ["0.90", "0.70", "0.20"]
    assert legend(figure) == ["sphere", "crate", "cone"]
    assert pixels_of(figure, CLASS_COLOURS[4]) > 300


def test_detections_of_several_pictures_and_of_none():
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
    figure = draw_detections(torch.stack([IMAGE, 0 * IMAGE]), {"a": empty, "b": empty}, columns=1)
    assert not figure.legends
    means = [np.asarray(axis.images[0].get_array()).mean() for axis in figure.axes]
    assert means[0] > means[1]


def test_proposals_show_the_best_for_each_object_and_count_them():
    proposals = torch.cat([BOXES[:1] + 1, torch.tensor([[0.0, 0, 5, 5]])])
    figure = draw_proposals(IMAGE, {"searched": proposals}, truth=BOXES)
    axis = figure.axes[0]
    assert axis.get_title() == "searched\n1 of 2 objects found"
    assert [text.get_text() for text in axis.texts] == ["0.88"]  # 29² / (2 · 30² - 29²)
    assert len(legend(figure)) == 3
    assert len(axis.collections[0].get_segments()) == 2
    assert pixels_of(figure, CLASS_COLOURS[1]) > 150


def test_proposals_name_the_objects_and_the_legend_only_what_is_there():
    figure = draw_proposals(IMAGE, {"searched": BOXES}, truth=BOXES, names=["cup", "spoon"])
    assert sorted(text.get_text() for text in figure.axes[0].texts) == ["cup 1.00", "spoon 1.00"]
    assert legend(figure) == ["a proposal", "best for an object, with its IoU"]


def test_thousands_of_proposals_are_faint():
    few, many = (draw_proposals(IMAGE, {"a": boxes}).axes[0].collections[0] for boxes in (BOXES, BOXES.repeat(600, 1)))
    assert many.get_alpha() < 0.5 * few.get_alpha()


def test_titles_of_two_lines_are_not_cut_off():
    figure = draw_proposals(IMAGE, {f"step {step}": BOXES for step in range(4)}, truth=BOXES)
    figure.canvas.draw()
    assert all(axis.title.get_window_extent().y1 <= figure.bbox.y1 for axis in figure.axes)


def test_top_takes_the_proposals_with_the_highest_scores():
    boxes = torch.cat([torch.zeros(3, 2), torch.full((3, 2), 9.0)], 1) + torch.tensor([[0.0], [10], [20]])
    figure = draw_proposals(IMAGE, {"a": {"boxes": boxes, "scores": torch.tensor([0.1, 0.9, 0.5])}}, top=2)
    drawn = figure.axes[0].collections[0].get_segments()
    assert [segment[0].tolist() for segment in drawn] == [[10, 10], [20, 20]]
    assert len(legend(figure)) == 1


def test_matches_have_the_colour_of_their_truth_and_are_counted():
    candidates = torch.cat([BOXES + 2, BOXES - 2, torch.rand(200, 4)])
    matches = torch.cat([torch.tensor([0, 1, 0, -2]), torch.full((200,), -1)])
    figure = draw_matches(IMAGE, candidates, matches, BOXES, "matches")
    assert legend(figure) == [
        "object 0: 2 positive",
        "object 1: 1 positive",
        "background: 200\n(23 are drawn)",
        "ignored: 1",
    ]
    halo, background, ignored, first, second = (len(lines.get_segments()) for lines in figure.axes[0].collections)
    assert (halo, background, ignored, first, second) == (23, 23, 1, 2, 1)
    assert [text.get_text() for text in figure.axes[0].texts] == ["0", "1"]
    assert pixels_of(figure, CLASS_COLOURS[1]) > 300


def test_matches_of_truths_with_labels_have_the_colours_and_names_of_classes():
    figure = draw_matches(IMAGE, BOXES + 2, torch.tensor([0, 1]), BOXES, labels=TRUTH["labels"])
    assert legend(figure) == [f"{CLASSES[0]} 0: 1 positive", f"{CLASSES[3]} 1: 1 positive", "background: 0"]
    assert pixels_of(figure, CLASS_COLOURS[1]) > 200 and pixels_of(figure, CLASS_COLOURS[4]) > 200
    assert pixels_of(figure, CLASS_COLOURS[2]) == 0


def test_anchors_beyond_the_border_are_seen_and_named_by_shape_and_size():
    anchors = torch.tensor([[-20.0, 30, 40, 60], [40.0, 40, 50, 60], [0.0, 0, 9, 9]])
    figure = draw_anchors(IMAGE, anchors, torch.tensor([[10.0, 45]]), torch.tensor([0, 1]), "two of three")
    assert figure.axes[0].get_xlim()[0] <= -20
    assert legend(figure) == ["wide:\n60 × 30", "tall:\n10 × 20"]
    assert len(figure.axes[0].collections[0].get_segments()) == 1
    assert figure.axes[0].lines[0].get_xydata().tolist() == [[10, 45]]
    assert pixels_of(figure, CLASS_COLOURS[1]) > 200


def test_anchors_of_one_shape_share_a_colour():
    sides = torch.tensor([[16.0, 8], [28, 14], [12, 12], [20, 20], [8, 16]])
    anchors = torch.cat([50 - sides / 2, 50 + sides / 2], dim=1)
    figure = draw_anchors(IMAGE, anchors, highlight=torch.arange(5))
    assert legend(figure) == ["wide:\n16 × 8, 28 × 14", "square:\n12 × 12, 20 × 20", "tall:\n8 × 16"]
    assert pixels_of(figure, CLASS_COLOURS[5]) == 0  # three colours are enough


EMPTY = torch.zeros(0, dtype=torch.int64)
ONE = torch.ones(1, dtype=torch.int64)  # too few


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: draw_boxes(IMAGE, torch.zeros(4)), "boxes"),
        (lambda: draw_boxes(IMAGE, BOXES, torch.ones(3, dtype=torch.int64)), "labels"),
        (lambda: draw_boxes(IMAGE, BOXES, scores=torch.ones(3)), "scores"),
        (lambda: draw_boxes(IMAGE, BOXES, TRUTH["labels"], names=["a"]), "names"),
        (lambda: draw_boxes(IMAGE, BOXES, names=["a"]), "names"),
        (lambda: draw_boxes(IMAGE, BOXES, torch.tensor([1, -1]), names=["ground", "sphere"]), "labels has -1"),
        (lambda: draw_detections(IMAGE, {}), "answers"),
        (lambda: draw_detections(IMAGE, {"a": TRUTH | {"labels": ONE}}), r"answers\['a'\]\['labels'\]"),
        (lambda: draw_detections(IMAGE, {"a": TRUTH | {"scores": ONE}}), r"answers\['a'\]\['scores'\]"),
        (lambda: draw_detections(torch.zeros(2, 3, 9, 9), {"a": TRUTH, "b": TRUTH, "c": TRUTH}), "image"),
        (lambda: draw_detections(IMAGE, {"a": TRUTH}, names=["ground", "sphere"]), r"answers\['a'\]"),
        (lambda: draw_detections(IMAGE, {"a": {"boxes": torch.zeros(4), "labels": EMPTY}}), r"answers\['a'\]"),
        (lambda: draw_proposals(IMAGE, {}), "proposals"),
        (lambda: draw_proposals(IMAGE, {"a": {"boxes": BOXES, "scores": ONE}}), r"proposals\['a'\]\['scores'\]"),
        (lambda: draw_proposals(IMAGE, {"a": torch.zeros(3)}), r"proposals\['a'\]"),
        (lambda: draw_proposals(IMAGE, {"a": BOXES}, truth=BOXES, names=["cup"]), "names"),
        (lambda: draw_proposals(IMAGE, {"a": BOXES}, names=["cup"]), "names"),
        (lambda: draw_matches(IMAGE, BOXES, EMPTY, BOXES), "matches"),
        (lambda: draw_matches(IMAGE, BOXES, torch.tensor([0, 2]), BOXES), "matches"),
        (lambda: draw_matches(IMAGE, BOXES[0], EMPTY, BOXES), "candidates"),
        (lambda: draw_matches(IMAGE, BOXES, torch.tensor([0, 1]), BOXES, labels=EMPTY), "labels"),
        (lambda: draw_anchors(IMAGE, BOXES[0]), "anchors"),
        (lambda: draw_anchors(IMAGE, BOXES, torch.zeros(3)), "centres"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=rf"^{named}"):
        call()
