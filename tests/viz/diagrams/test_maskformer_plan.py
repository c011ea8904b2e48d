import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb

from lib.datasets.toyworld import SEMANTIC_COLOURS, Toyworld
from lib.models.maskformer import maskformer_small
from lib.viz.diagrams.maskformer_plan import draw_maskformer, maskformer_plan
from lib.viz.diagrams.system import NEW
from lib.viz.masks.query_masks import glow
from tests.viz.texts import words


@pytest.fixture(scope="module")
def image():
    return Toyworld("val", length=200)[32].image


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return maskformer_small(7).eval()


def test_seven_stages_of_which_three_are_new(model, image):
    figure = draw_maskformer(model, image)
    _, *panels = figure.axes
    framed = [to_hex(panel.spines["left"].get_edgecolor()).upper() == NEW for panel in panels]
    assert framed == [False, False, True, False, False, True, True]
    shapes = ("3 × 96 × 96", "96 × 12 × 12", "64 × 24 × 24", "16 × 96", "16 × 8", "16 × 64", "16 × 24 × 24", " ms")
    assert all(part in words(figure) for part in shapes)


def test_each_loss_reaches_the_stages_that_learn_from_it(model, image):
    plan = maskformer_plan(model, image)
    assert [(stage.after, stage.also) for stage in plan.stages] == [(None, None)] * 3 + [
        (1, None), (None, None), (3, None), (None, 2)
    ]  # fmt: skip
    assert [(loss.back_to, loss.at, loss.past) for loss in plan.losses] == [(1, 4, (2,)), (1, 6, (4,)), (1, 6, (4,))]
    assert all(stage.milliseconds > 0 for stage in plan.stages[1:])
    parts = [(1, model.backbone), (2, model.pixel_decoder), (3, model.transformer), (4, model.class_embed),
             (5, model.mask_embed)]  # fmt: skip
    for name, loss in (("pred_logits", plan.losses[0]), ("pred_masks", plan.losses[1])):
        model.zero_grad()
        model(image[None])[name].square().sum().backward()
        learning = [number for number, part in parts if any(one.grad is not None for one in part.parameters())]
        assert learning == [number for number in range(loss.back_to, min(loss.at, 5) + 1) if number not in loss.past]
    model.zero_grad()


def test_real_maps_are_inside(model, image):
    figure = draw_maskformer(model, image, timed=False, colours=SEMANTIC_COLOURS)
    _, _, backbone, pixels, decoder, classes, embeddings, masks = figure.axes
    assert " ms" not in words(figure)
    assert len(backbone.images) == 2 and pixels.images[0].get_array().shape == (24, 24, 3)
    assert len(decoder.images) == 2 * 4 and decoder.images[1].get_array().shape == (12, 12)
    with torch.no_grad():
        output, looked = model.attention(image[None])
        probability = output["pred_logits"][0].softmax(dim=-1)  # (16, 8)
        vectors = model.mask_embed(looked.states[-1])[0]  # (16, 64)
    torch.testing.assert_close(torch.from_numpy(classes.images[0].get_array().data), probability)
    torch.testing.assert_close(torch.from_numpy(embeddings.images[0].get_array().data), vectors)
    surest = int(probability[:, 7].argmin())
    colour = [*map(to_rgb, SEMANTIC_COLOURS), to_rgb("#8A8A8A")][int(probability[surest].argmax())]
    tile = glow(image, output["pred_masks"][0, surest].sigmoid(), colour)
    assert len(masks.images) == 4 and np.allclose(masks.images[0].get_array(), tile)


def test_there_may_be_few_queries(image):
    torch.manual_seed(0)
    axes = draw_maskformer(maskformer_small(7, num_queries=2).eval(), image, timed=False).axes
    assert len(axes[4].images) == 2 * 2 and len(axes[7].images) == 2


def test_what_does_not_fit_is_refused(model, image):
    with pytest.raises(ValueError, match=r"^image is \(3, 90, 96\), which the model pads"):
        draw_maskformer(model, image[:, :90])
    with pytest.raises(ValueError, match="^colours has 3 entries; expected 7"):
        draw_maskformer(model, image, colours=SEMANTIC_COLOURS[:3])
