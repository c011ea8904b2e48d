from lib.models.fcn import FCN, SmallBackbone
from lib.viz.diagrams.fcn_plan import ARROWS, BOXES, SUMS, draw_fcn_plan


def test_the_plan_shows_the_layers_that_the_model_has():
    net = FCN(SmallBackbone(2), 3, stride=8)
    layers = {name for name, _ in net.named_children()} - {"backbone"} | {
        name for name, _ in net.backbone.named_children()
    }
    assert set(BOXES) - {"cut"} == layers


def test_every_box_is_reached_and_each_sum_has_two_summands():
    ends = [end for _, end in ARROWS]
    assert set(ends) == (set(BOXES) | set(SUMS)) - {"block1"}
    assert all(ends.count(name) == 2 for name in SUMS)
    assert all(start in BOXES or start in SUMS for start, _ in ARROWS)


def test_no_words_overlap():
    figure = draw_fcn_plan()
    figure.canvas.draw()
    places = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    assert len(places) > len(BOXES)
    assert not any(a.overlaps(b) for index, a in enumerate(places) for b in places[:index])
