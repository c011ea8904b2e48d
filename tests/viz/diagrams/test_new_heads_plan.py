import pytest
import torch
from matplotlib.colors import to_hex

from lib.datasets.toyworld import Toyworld
from lib.layers.frozen_trunk import FrozenTrunk
from lib.models.densepose import densepose_small
from lib.models.mask_rcnn import mask_rcnn_small
from lib.models.mesh_rcnn import mesh_rcnn_small
from lib.viz.diagrams.new_heads_plan import draw_new_heads, new_heads_plan
from lib.viz.diagrams.system import NEW
from tests.viz.texts import words


@pytest.fixture(scope="module")
def heads():
    torch.manual_seed(0)
    detector = mask_rcnn_small().eval()
    trunk = FrozenTrunk(detector.transform, detector.backbone)
    return densepose_small(trunk).eval(), mesh_rcnn_small(trunk).eval()


@pytest.fixture(scope="module")
def sample():
    return Toyworld("val", length=200)[32]


def test_eight_stages_three_of_them_new_and_no_gradient_reaches_the_trunk(heads, sample):
    figure = draw_new_heads(*heads, sample.image, sample.boxes)
    paper, *panels = figure.axes
    framed = [to_hex(panel.spines["left"].get_edgecolor()).upper() == NEW for panel in panels]
    assert framed == [False, False, False, True, False, True, False, True]
    assert all(part in words(figure) for part in ("frozen", "96 × 12 × 12", "3 × 96 × 96"))
    plan = new_heads_plan(*heads, sample.image, sample.boxes)
    assert [(loss.back_to, loss.at) for loss in plan.losses] == [(3, 3), (5, 5), (5, 5), (7, 7)]
    assert [stage.after for stage in plan.stages] == [None] * 5 + [2, None, None]
    assert all(stage.milliseconds > 0 for stage in plan.stages[1:])


def test_real_things_are_inside(heads, sample):
    figure = draw_new_heads(*heads, sample.image, sample.boxes[:3], timed=False)
    assert " ms" not in words(figure) and "3 × 8 × 8 × 8" in words(figure)
    _, _, trunk, regions, parts, painted, voxels, cubes, refined = figure.axes
    assert len(trunk.images) == len(painted.images) == 1
    assert len(regions.images) == len(parts.images) == len(voxels.images) == 3
    assert len(cubes.collections) == len(refined.collections) == 3


@pytest.mark.parametrize("count", [1, 6])
def test_one_box_fills_the_panel_and_of_many_four_are_shown(heads, sample, count):
    boxes = sample.boxes[:1].repeat(count, 1)
    panels = draw_new_heads(*heads, sample.image, boxes, timed=False).axes[1:]
    assert len(panels[2].images) == len(panels[6].collections) == min(count, 4)
    side = panels[2].images[0].get_extent()[1] - panels[2].images[0].get_extent()[0]
    assert side == pytest.approx(1.0 if count == 1 else 0.485)


def test_what_does_not_fit_is_refused(heads, sample):
    pose, shapes = heads
    with pytest.raises(ValueError, match="^boxes is empty"):
        draw_new_heads(pose, shapes, sample.image, torch.zeros(0, 4))
    with pytest.raises(ValueError, match="^pose knows 3 parts; expected 6"):
        draw_new_heads(densepose_small(pose.trunk, num_parts=3), shapes, sample.image, sample.boxes)
