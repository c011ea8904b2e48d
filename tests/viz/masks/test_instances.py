import numpy as np
import pytest
import torch

from lib.viz.masks.instances import (
    draw_instances,
    draw_mixing,
    draw_moved,
    draw_small_masks,
    draw_targets,
    paint_mask,
)


def thing():
    mask = torch.zeros(1, 6, 8, dtype=torch.bool)
    mask[0, 2:4, 3:6] = True
    return {"masks": mask, "labels": torch.tensor([2]), "boxes": torch.tensor([[3.0, 2, 6, 4]])}


def test_a_mask_is_painted_where_it_is_with_a_line_around_its_pixels():
    figure = draw_instances({"one": (torch.rand(3, 6, 8), thing())}, boxes=False)
    (axis,) = figure.axes
    assert axis.get_title() == "one" and len(axis.images) == 2
    assert np.array_equal(axis.images[1].get_array()[..., 3] > 0, thing()["masks"][0].numpy())
    lines = sum(len(collection.get_segments()) for collection in axis.collections)
    assert lines == 2 * (2 + 3), "the edges of 2 × 3 pixels"


def test_the_legend_names_the_classes_that_are_seen():
    figure = draw_instances({"one": (torch.rand(3, 6, 8), thing())}, names=("ball", "crate", "cone"))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["crate"]


def test_numbers_above_a_half_are_the_thing():
    found = thing() | {"masks": thing()["masks"] * 0.4 + 0.2}  # 0.6 where the thing is
    axis = draw_instances({"one": (torch.rand(3, 6, 8), found)}).axes[0]
    assert (axis.images[1].get_array()[..., 3] > 0).sum() == 6


def test_a_mask_at_the_border_is_closed():
    axis = draw_instances({"one": (torch.rand(3, 6, 8), thing())}, boxes=False).axes[0]
    before = sum(len(collection.get_segments()) for collection in axis.collections)
    paint_mask(axis, torch.ones(6, 8, dtype=torch.bool), "red")
    assert sum(len(collection.get_segments()) for collection in axis.collections) - before == 2 * (6 + 8)


def test_every_target_stands_below_its_region():
    figure = draw_targets(torch.rand(3, 6, 8), thing()["masks"][0], {"a": (thing()["boxes"][0], torch.eye(4))})
    above, below = figure.axes
    assert above.get_title() == "a" and "4 × 4" in below.get_title()
    assert np.array_equal(below.images[0].get_array(), np.eye(4))


def test_small_masks_share_a_scale():
    figure = draw_small_masks({"a": torch.zeros(3, 3), "b": torch.full((3, 3), 0.5)})
    assert {axis.images[0].get_clim() for axis in figure.axes[:2]} == {(0, 1)}


def test_the_four_cells_around_a_point_bear_their_shares():
    axis = draw_mixing(torch.arange(9.0).view(3, 3), (1.25, 1.75), (0.1875, 0.5625, 0.0625, 0.1875)).axes[0]
    places = {text.get_text(): text.get_position() for text in axis.texts if text.get_text().startswith("×")}
    assert places["× 0.5625"] == pytest.approx((1.5, 1.1))


def test_curves_are_drawn_in_steps():
    axis = draw_moved(torch.arange(3.0), {"pooled": torch.tensor([1.0, 1, 2])}, "number").axes[0]
    assert axis.lines[0].get_drawstyle() == "steps-post" and axis.get_ylabel() == "number"


def test_nothing_to_draw_is_refused():
    with pytest.raises(ValueError, match="^pictures is empty"):
        draw_instances({})
