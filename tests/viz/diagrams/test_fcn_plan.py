import pytest
import torch

from lib.models.fcn import FCN, SmallBackbone
from lib.viz.diagrams.fcn_plan import ARROWS, BOXES, EXITS, SKIPS, SUMS, draw_fcn_plan

COLOURS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return FCN(SmallBackbone(2), 3, stride=8)


@pytest.fixture(scope="module")
def plan(net):
    return draw_fcn_plan(net, torch.rand(3, 70, 91), COLOURS)


def test_the_plan_shows_the_layers_that_the_model_has(net):
    layers = {name for name, _ in net.named_children()} - {"backbone"}
    layers |= {name for name, _ in net.backbone.named_children()}
    assert set(BOXES) - {"picture", "answer"} == layers


def test_every_box_is_reached_and_each_sum_has_two_summands():
    ends = [end for _, end in ARROWS]
    assert set(ends) == (set(BOXES) | set(SUMS) | set(EXITS)) - {"picture"}
    assert all(ends.count(name) == 2 for name in SUMS)
    assert all(start in BOXES or start in SUMS for start, _ in ARROWS)
    assert set(SKIPS.items()) <= set(ARROWS)


def test_every_box_holds_the_map_that_its_layer_made(plan, net):
    sizes = [tuple(image.get_array().shape[:2]) for image in plan.axes[0].images]
    assert len(sizes) == len(BOXES)
    by_name = dict(zip(BOXES, sizes))
    assert by_name["picture"] == by_name["answer"] == (70, 91)
    assert by_name["block1"] == (48, 48) and by_name["fc7"] == by_name["score_fr"] == (3, 3)
    assert by_name["score_pool3"] == by_name["upscore_pool4"] == (12, 12) and by_name["upscore"] == (96, 96)
    words = [text.get_text() for text in plan.axes[0].texts]
    assert words.count("skip") == 2 and "8 ch, stride 8" in words and "16 ch, stride 32" in words
    assert net.training, "the mode is given back"


def test_no_words_overlap(plan):
    plan.canvas.draw()
    places = [text.get_window_extent() for text in plan.axes[0].texts if text.get_text()]
    assert len(places) > len(BOXES)
    assert not any(a.overlaps(b) for index, a in enumerate(places) for b in places[:index])


@pytest.mark.parametrize(
    "stride, shape, colours, named",
    [(16, (3, 32, 32), COLOURS, "net"), (8, (1, 32, 32), COLOURS, "image"), (8, (3, 32, 32), COLOURS[:2], "colours")],
)
def test_what_is_refused(stride, shape, colours, named):
    with pytest.raises(ValueError, match=named):
        draw_fcn_plan(FCN(SmallBackbone(2), 3, stride), torch.rand(shape), colours)
