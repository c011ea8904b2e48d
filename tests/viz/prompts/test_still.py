import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from lib.datasets.toyworld import Toyworld
from lib.datasets.toyworld.levels import LEVELS, nested_masks
from lib.viz.prompts.paint import BEST, INSIDE, OUTSIDE
from lib.viz.prompts.still import busiest_pixel, draw_iou_by_clicks, draw_nested, draw_prompts

IMAGE = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(0))
MASKS = torch.zeros(3, 20, 30, dtype=torch.bool)
MASKS[0, 2:5, 3:9], MASKS[1, 2:10, 3:20], MASKS[2] = True, True, True


@pytest.fixture(scope="module")
def sample():
    return Toyworld("val", length=200)[32]


def painted(axis) -> np.ndarray:
    """(H, W) bool: where the mask on an axis is."""
    return np.asarray(axis.images[1].get_array())[..., 3] > 0


def test_each_mask_has_its_picture_and_the_best_guess_is_framed():
    figure = draw_prompts(IMAGE, MASKS, torch.tensor([0.5, 0.875, 0.25]), titles=["part", "thing", "all"])
    assert [axis.get_title() for axis in figure.axes] == [
        f"{name}\nIoU guessed {guess}" for name, guess in (("part", "0.50"), ("thing", "0.88"), ("all", "0.25"))
    ]
    for axis, mask in zip(figure.axes, MASKS, strict=True):
        assert (painted(axis) == mask.numpy()).all() and (axis.get_xlim(), axis.get_ylim()) == ((0, 30), (20, 0))
    assert [axis.axison for axis in figure.axes] == [False, True, False]
    assert to_hex(figure.axes[1].spines["left"].get_edgecolor()).upper() == BEST


def test_points_are_stars_and_crosses_on_the_middle_of_their_pixel():
    points, labels = torch.tensor([[3.0, 4.0], [20.0, 10.0]]), torch.tensor([1, 0])
    (axis,) = draw_prompts(IMAGE, points=points, labels=labels, box=torch.tensor([1.0, 2.0, 9.0, 8.0])).axes
    inside, outside = axis.lines
    assert (inside.get_marker(), inside.get_color(), inside.get_xydata().tolist()) == ("*", INSIDE, [[3.5, 4.5]])
    assert (outside.get_marker(), outside.get_color(), outside.get_xydata().tolist()) == ("X", OUTSIDE, [[20.5, 10.5]])
    assert axis.patches[-1].get_bbox().extents.tolist() == [1, 2, 9, 8] and len(axis.images) == 1


def test_all_masks_of_a_pixel_are_drawn_and_no_other(sample):
    nested = nested_masks(sample)
    x, y = busiest_pixel(nested.masks)
    covers = [number for number in range(len(nested.masks)) if nested.masks[number, y, x]]
    assert len(covers) == nested.masks.sum(0).max() == 3
    figure = draw_nested(sample)
    click, *meant = figure.axes
    assert click.lines[0].get_xydata().tolist() == [[x + 0.5, y + 0.5]] and len(click.images) == 1
    assert len(meant) == len(covers)
    for axis, number in zip(meant, covers, strict=True):
        assert (painted(axis) == nested.masks[number].numpy()).all()
        assert axis.get_title().startswith(LEVELS[nested.levels[number]])
        assert nested.phrases[number] in axis.get_title()
        assert axis.get_title().endswith(f"\n{int(nested.masks[number].sum())} pixels")
    assert [axis.get_title().split("\n")[0] for axis in draw_nested(sample, (0, 0)).axes[1:]] == ["stuff"]


def test_the_busiest_pixel_lies_where_masks_differ_in_size():
    masks = torch.zeros(4, 20, 30, dtype=torch.bool)
    masks[0, :, :10], masks[1, :, :9] = True, True  # 200 pixels, 180
    masks[2, 4:20, 15:30], masks[3, 6:11, 20:25] = True, True  # 240 and 25
    assert busiest_pixel(masks) == (22, 8)


def test_curves_begin_after_one_click():
    figure = draw_iou_by_clicks({"three": torch.tensor([0.5, 0.6, 0.7]), "one": torch.tensor([0.4, 0.6])})
    (axis,) = figure.axes
    assert [line.get_xdata().tolist() for line in axis.lines] == [[1, 2, 3], [1, 2]]
    assert axis.lines[0].get_ydata().tolist() == pytest.approx([0.5, 0.6, 0.7])
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["three", "one"]
    assert axis.lines[0].get_marker() != axis.lines[1].get_marker()


@pytest.mark.parametrize(
    ("draw", "named"),
    [
        (lambda: draw_prompts(IMAGE, MASKS, [0.5]), "ious has 1 entries; expected 3"),
        (lambda: draw_prompts(IMAGE, MASKS, titles=["a"]), "titles has 1 entries; expected 3"),
        (lambda: draw_prompts(IMAGE, MASKS[:, :4]), r"masks is of \(4, 30\) pixels; expected \(20, 30\)"),
        (lambda: draw_prompts(IMAGE, points=torch.zeros(2)), r"points is \(2,\)"),
        (lambda: draw_prompts(IMAGE, points=torch.zeros(2, 2), labels=torch.ones(1)), "labels has 1 entries"),
        (lambda: draw_prompts(IMAGE, box=torch.zeros(3)), "box"),
        (lambda: draw_iou_by_clicks({}), "curves is empty"),
        (lambda: draw_iou_by_clicks({"a": torch.zeros(2, 3)}), r"curves\['a'\] is \(2, 3\)"),
    ],
)
def test_bad_input_is_named(draw, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw()


def test_a_pixel_outside_is_named(sample):
    with pytest.raises(ValueError, match=r"^pixel is \(96, 0\)"):
        draw_nested(sample, (96, 0))
