import pytest
import torch

from lib.datasets.toyworld import Toyworld
from lib.models.yolo import yolo_v1_small, yolo_v2_small
from lib.viz.diagrams.yolo_plan import draw_yolo


@pytest.mark.parametrize(("make", "boxes", "numbers"), [(yolo_v1_small, 288, 15), (yolo_v2_small, 720, 50)])
def test_five_stages_of_one_pass_and_all_losses_reach_the_backbone(make, boxes, numbers):
    torch.manual_seed(0)
    figure = draw_yolo(make().eval(), Toyworld("val", length=200)[32].image)
    paper, *panels = figure.axes
    words = " ".join(text.get_text() for axis in figure.axes for text in axis.texts)
    assert len(panels) == 5 and f"12 × 12 × {numbers}" in words and f"{boxes} boxes" in words
    arrows = [text.arrow_patch for text in paper.texts if getattr(text, "arrow_patch", None)]
    assert sum(arrow.get_linewidth() > 1.5 for arrow in arrows) == 3
