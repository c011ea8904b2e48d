import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from lib.viz.detection.boxes import (
    CLASS_COLOURS,
    best_overlaps,
    box_patch,
    check_boxes,
    class_colour,
    place_tags,
    show_picture,
)

# How a reader without green-, red- or blue-sensitive cells sees linear RGB: Machado, Oliveira & Fernandes 2009.
BLINDNESS = {
    "none": np.eye(3),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def lab(colour, eye):
    linear = np.array([v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in to_rgb(colour)])
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(
        eye @ linear, 0, 1
    )
    x, y, z = np.cbrt(xyz / [0.9505, 1, 1.089])
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", BLINDNESS)
def test_the_five_classes_can_be_told_apart_by_every_eye(eye):
    seen = [lab(colour, BLINDNESS[eye]) for colour in CLASS_COLOURS[1:6]]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 20  # 2.3 is just noticeable


def test_colours_go_round_but_never_to_the_background():
    assert class_colour(0) == CLASS_COLOURS[0]
    assert class_colour(8) == class_colour(1) and class_colour(90) != CLASS_COLOURS[0]


def picture(boxes, texts, size=96):
    figure, axis = plt.subplots(figsize=(4, 4))
    axis.set_position([0, 0, 1, 1])
    show_picture(axis, torch.full((3, size, size), 0.5))
    place_tags(axis, boxes, texts, ["#D55E00"] * len(boxes), inches=4)
    return figure, axis


def test_a_pixel_lies_where_boxes_say():
    figure, axis = plt.subplots()
    show_picture(axis, torch.rand(3, 20, 30))
    assert axis.get_xlim() == (0, 30) and axis.get_ylim() == (20, 0)


@pytest.mark.parametrize("seed", range(5))
def test_texts_lie_in_the_picture_off_each_other_and_off_every_middle(seed):
    torch.manual_seed(seed)
    corners = 96 * torch.rand(6, 2) * 0.8
    boxes = torch.cat([corners, (corners + 8 + 40 * torch.rand(6, 2)).clamp(max=96)], dim=1)
    figure, axis = picture(boxes, [f"cylinder 0.{number}" for number in range(6)])
    figure.draw_without_rendering()
    placed = [text.get_window_extent().transformed(axis.transData.inverted()) for text in axis.texts]
    assert len(placed) >= 4
    middles = ((boxes[:, :2] + boxes[:, 2:]) / 2).tolist()
    for extent in placed:
        low, high = min(extent.y0, extent.y1), max(extent.y0, extent.y1)
        assert extent.x0 >= -0.5 and extent.x1 <= 96.5 and low >= -0.5 and high <= 96.5
        assert not any(extent.x0 < x < extent.x1 and low < y < high for x, y in middles)
    for a, b in itertools.combinations(placed, 2):
        assert not (
            a.x0 < b.x1 and b.x0 < a.x1 and min(a.y0, a.y1) < max(b.y0, b.y1) and min(b.y0, b.y1) < max(a.y0, a.y1)
        )


def test_a_text_stands_above_its_box_and_below_at_the_upper_edge():
    _, axis = picture(torch.tensor([[30.0, 40, 70, 80], [30.0, 0, 70, 20]]), ["a", "b"])
    above, below = (text.get_position()[1] for text in axis.texts)
    assert above < 40 and below > 20


def test_a_tiny_box_keeps_its_middle_and_an_empty_text_is_left_out():
    _, axis = picture(torch.tensor([[46.0, 46, 50, 50], [1.0, 1, 9, 9]]), ["sphere 0.99", ""])
    assert len(axis.texts) == 1 and axis.texts[0].get_position()[1] < 46


def test_a_box_is_seen_on_its_own_colour():
    figure, axis = plt.subplots(figsize=(2, 2), dpi=100)
    axis.set_position([0, 0, 1, 1])
    ground = torch.tensor(to_rgb(CLASS_COLOURS[2])).view(3, 1, 1).expand(3, 20, 20)
    show_picture(axis, ground)
    figure.canvas.draw()
    before = np.asarray(figure.canvas.buffer_rgba()).copy()
    box_patch(axis, torch.tensor([5.0, 5, 15, 15]), CLASS_COLOURS[2])
    figure.canvas.draw()
    changed = (np.asarray(figure.canvas.buffer_rgba()) != before).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 200 and abs(rows.min() / 10 - 5) < 0.5 and abs(columns.max() / 10 - 15) < 0.5


def test_best_overlaps():
    truth = torch.tensor([[0.0, 0, 10, 10], [50.0, 50, 60, 60]])
    overlap, best = best_overlaps(torch.tensor([[0.0, 0, 10, 5], [0.0, 0, 10, 8]]), truth)
    torch.testing.assert_close(overlap, torch.tensor([0.8, 0.0]))
    assert best[0] == 1
    overlap, best = best_overlaps(torch.zeros(0, 4), truth)
    assert overlap.tolist() == [0, 0] and best.tolist() == [-1, -1]


def test_bad_boxes_are_named():
    with pytest.raises(ValueError, match="^candidates is"):
        check_boxes("candidates", torch.zeros(4))
