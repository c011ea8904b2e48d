import pytest
import torch
from matplotlib.colors import to_hex

from lib.datasets.toyworld import Toyworld
from lib.models.detr import detr_small
from lib.viz.diagrams.detr_plan import detr_plan, draw_detr
from lib.viz.diagrams.system import NEW
from tests.viz.texts import words


@pytest.fixture(scope="module")
def image():
    return Toyworld("val", length=200)[32].image


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return detr_small().eval()


def test_seven_stages_and_all_after_the_backbone_are_new(model, image):
    figure = draw_detr(model, image)
    _, *panels = figure.axes
    framed = [to_hex(panel.spines["left"].get_edgecolor()).upper() == NEW for panel in panels]
    assert framed == [False, False, True, True, True, True, True]
    assert all(part in words(figure) for part in ("3 × 96 × 96", "96 × 12 × 12", "12 × 96", "12 × 7", "12 × 4", " ms"))


def test_both_heads_read_the_decoder_and_all_losses_reach_the_backbone(model, image):
    plan = detr_plan(model, image)
    assert [stage.after for stage in plan.stages] == [None] * 6 + [4]
    assert [(loss.back_to, loss.at, loss.past) for loss in plan.losses] == [(1, 5, ()), (1, 6, (5,)), (1, 6, (5,))]
    assert all(stage.milliseconds > 0 for stage in plan.stages[1:])


def test_real_maps_are_inside(model, image):
    figure = draw_detr(model, image, timed=False)
    _, _, _, codes, encoder, decoder, classes, boxes = figure.axes
    assert " ms" not in words(figure)
    assert len(codes.images) == 4 and len(encoder.images) == 2 and len(decoder.images) == 2 * 4
    assert encoder.images[1].get_array().shape == decoder.images[1].get_array().shape == (12, 12)
    output = model(image[None])
    probability = output["pred_logits"][0].softmax(dim=-1)  # (12, 7)
    torch.testing.assert_close(torch.from_numpy(classes.images[0].get_array().data), probability.detach())
    said = (probability.argmax(dim=1) != 6).sum()
    assert len(boxes.patches) == 2 * said and len(boxes.collections[0].get_segments()) == 12 - said
    assert f"{said} are something" in words(figure)


def test_the_encoder_may_be_left_out_and_there_may_be_few_queries(image):
    torch.manual_seed(0)
    model = detr_small(num_queries=2).eval()
    model.transformer.encoder.layers = torch.nn.ModuleList()
    _, _, _, _, encoder, decoder, _, _ = draw_detr(model, image, timed=False).axes
    assert len(encoder.images) == 1 and len(decoder.images) == 2 * 2


def test_a_picture_that_would_be_padded_is_refused(model, image):
    with pytest.raises(ValueError, match=r"^image is \(3, 90, 96\), which the model pads"):
        draw_detr(model, image[:, :90])
