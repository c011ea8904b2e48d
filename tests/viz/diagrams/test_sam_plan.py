import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from lib.datasets.toyworld import Toyworld
from lib.models.sam import min_over_masks_loss, sam_small
from lib.viz.diagrams.sam_plan import draw_sam, sam_plan
from lib.viz.diagrams.system import NEW
from lib.viz.masks.query_masks import glow
from lib.viz.prompts.paint import BEST, MASK

POINT = (27, 45)


@pytest.fixture(scope="module")
def image():
    return Toyworld("val", length=200)[32].image


@pytest.fixture(scope="module", params=[(), ("red", "cone")], ids=["no words", "words"])
def net(request):
    torch.manual_seed(0)
    return sam_small(request.param).eval()


def words(figure):
    return " ".join(text.get_text() for axis in figure.axes for text in axis.texts)


def ask(net, image):
    return net(net.encode(image[None]), torch.tensor([[POINT]], dtype=torch.float32), torch.tensor([[1]]))


def test_what_is_new_is_framed(net, image):
    figure = draw_sam(net, image, POINT)
    _, *panels = figure.axes
    framed = [to_hex(panel.spines["left"].get_edgecolor()).upper() == NEW for panel in panels]
    assert framed == [False, True, True, True, False, True, True]
    tokens = 5 + 2 + 3 * (net.phrase_encoder is not None)
    shapes = ("3 × 96 × 96", "64 × 12 × 12", f"{tokens} × 64", "8 × 48 × 48", "3 × 48 × 48", "3 guesses", " ms")
    assert all(part in words(figure) for part in shapes)
    assert " ms" not in words(draw_sam(net, image, POINT, timed=False))


def test_real_maps_are_inside(net, image):
    figure = draw_sam(net, image, POINT, timed=False)
    _, clicked, embedding, tokens, looks, pixels, masks, guesses = figure.axes
    assert clicked.lines[0].get_xydata().tolist() == [[27.5, 45.5]]
    assert embedding.images[0].get_array().shape == (12, 12, 3) and pixels.images[0].get_array().shape == (48, 48, 3)
    decoder = net.mask_decoder
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).detach()
    assert np.allclose(tokens.images[0].get_array()[:5], own)
    assert len(looks.images) == 2 * 3
    with torch.no_grad():
        output = ask(net, image).several()
    best = int(output.ious[0].argmax())
    assert [text.get_text() for text in guesses.texts] == [f"{guess:.2f}" for guess in output.ious[0].tolist()]
    for number, (shown, mask) in enumerate(zip(masks.images, output.masks[0], strict=True)):
        colour = BEST if number == best else MASK
        assert np.allclose(shown.get_array(), glow(image, mask.sigmoid(), colour), atol=1e-4)
        assert guesses.texts[number].get_color() == colour


def test_each_loss_reaches_the_stages_that_learn_from_it(net, image):
    plan = sam_plan(net, image, POINT)
    assert [(stage.after, stage.also) for stage in plan.stages] == [
        (None, None), (None, None), (0, None), (None, 1), (None, None), (None, None), (3, None)
    ]  # fmt: skip
    assert [stage.milliseconds is None for stage in plan.stages] == [True] + 6 * [False]
    decoder = net.mask_decoder
    parts = [
        (1, net.image_encoder), (2, net.prompt_encoder), (3, decoder.transformer), (4, decoder.output_upscaling),
        (5, decoder.output_hypernetworks_mlps), (6, decoder.iou_prediction_head),
    ]  # fmt: skip
    true = torch.zeros(1, 96, 96, dtype=torch.bool)
    true[:, 30:60, 20:50] = True
    for name, loss in zip(("loss_mask", "loss_dice", "loss_iou"), plan.losses, strict=True):
        net.zero_grad()
        min_over_masks_loss(ask(net, image), true)[name].backward()
        learning = {number for number, part in parts if any(one.grad is not None for one in part.parameters())}
        assert learning == {number for number in range(loss.back_to, loss.at + 1) if number not in loss.past}
    net.zero_grad()


def test_what_does_not_fit_is_refused(net, image):
    with pytest.raises(ValueError, match=r"^image is \(3, 90, 96\); expected \(3, 96, 96\)"):
        draw_sam(net, image[:, :90], POINT)
    with pytest.raises(ValueError, match=r"^point is \(96, 3\)"):
        draw_sam(net, image, (96, 3))
