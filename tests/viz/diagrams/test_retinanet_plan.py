import torch

from lib.datasets.toyworld import Toyworld
from lib.models.retinanet import retinanet_small, retinanet_small_fpn
from lib.viz.diagrams.retinanet_plan import draw_retinanet


def test_five_stages_and_both_losses_reach_the_backbone():
    torch.manual_seed(0)
    figure = draw_retinanet(retinanet_small().eval(), Toyworld("val", length=200)[32].image)
    paper, *panels = figure.axes
    words = " ".join(text.get_text() for axis in figure.axes for text in axis.texts)
    assert len(panels) == 5 and "1,296 × 6" in words and "96 × 12 × 12" in words
    arrows = [text.arrow_patch for text in paper.texts if getattr(text, "arrow_patch", None)]
    assert sum(arrow.get_linewidth() > 1.5 for arrow in arrows) == 2


def test_a_pyramid_has_a_stage_of_its_own_and_all_its_levels_are_drawn():
    torch.manual_seed(0)
    figure = draw_retinanet(retinanet_small_fpn().eval(), Toyworld("val", length=200)[32].image, timed=False)
    _, _, raw, led, classes, *rest = figure.axes
    words = " ".join(text.get_text() for axis in figure.axes for text in axis.texts)
    assert len(rest) == 2 and "6,804 × 6" in words and "24, 12, 6" in words
    for panel in (raw, led, classes):
        widths = [image.get_extent()[1] - image.get_extent()[0] for image in panel.images]
        assert widths == [24, 12, 6]
    assert "the way\ndown" in words
