import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from lib.datasets.toyworld import SEMANTIC_COLOURS, Toyworld
from lib.models.uni_dvps import TASKS, uni_dvps_small
from lib.viz.basics.draw import COLOURS
from lib.viz.clips.depths import depth_colours
from lib.viz.diagrams.system import NEW
from lib.viz.diagrams.uni_dvps_plan import FAINT, draw_uni_dvps, uni_dvps_plan


@pytest.fixture(scope="module")
def image():
    return Toyworld("val", length=200)[32].image


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    net = uni_dvps_small(7).eval()
    for gates in (net.query_gates, net.pixel_gates):
        for gate in gates.values():
            torch.nn.init.normal_(gate.linear.weight, std=0.1)
    return net


def words(figure):
    return " ".join(text.get_text() for axis in figure.axes for text in axis.texts)


def test_what_maskformer_has_not_is_framed(net, image):
    figure = draw_uni_dvps(net, image)
    _, *panels = figure.axes
    framed = [to_hex(panel.spines["left"].get_edgecolor()).upper() == NEW for panel in panels]
    assert framed == [False, False, False, True, True, False, True, True]
    shapes = ("3 × 96 × 96", "64 × 24 × 24", "16 × 96", "4 gates", "16 × 8", "16 × 64", "16 × 24 × 24", " ms")
    assert all(part in words(figure) for part in shapes)
    assert "16 queries; each says a class, draws a mask and measures its depth" in words(figure)


def test_each_loss_reaches_the_stages_that_learn_from_it(net, image):
    plan = uni_dvps_plan(net, image)
    assert [(stage.after, stage.also) for stage in plan.stages[3:]] == [
        (None, None), (2, 1), (None, None), (4, None), (None, None)
    ]  # fmt: skip
    assert [stage.milliseconds is None for stage in plan.stages] == [True, False, False, True] + 4 * [False]
    model = net.maskformer
    parts = [
        (1, model.backbone), (1, model.pixel_decoder), (2, model.transformer), (4, net.query_gates),
        (4, net.pixel_gates), (5, model.class_embed), (5, model.mask_embed), (6, net.depth_embed),
    ]  # fmt: skip
    asked = ("pred_logits", "pred_masks", "pred_masks", "pred_depths")
    for name, loss in zip(asked, plan.losses, strict=True):
        net.zero_grad()
        net(image[None])[name].square().sum().backward()
        learning = {number for number, part in parts if any(one.grad is not None for one in part.parameters())}
        drawn = {number for number in range(loss.back_to, loss.at + 1) if number not in loss.past}
        assert drawn - {7} == learning, "stage 7 has nothing to learn"
    net.zero_grad()


def test_real_maps_are_inside(net, image):
    figure = draw_uni_dvps(net, image, timed=False, colours=SEMANTIC_COLOURS)
    _, _, pixels, asking, kept, gates, masks, embeddings, metres = figure.axes
    assert " ms" not in words(figure)
    assert pixels.images[0].get_array().shape == (24, 24, 3) and len(asking.images) == 2 * 4
    assert len(masks.images) == len(metres.images) == 4
    with torch.no_grad():
        output, looked = net.attention(image[None])
        vectors = net.depth_embed(net.query_gates["depth"](looked.states[-1]))[0]  # (16, 64)
        _, places, _ = net.maskformer.features(image[None])
        shares = []
        for task in TASKS:
            shares += [net.query_gates[task](output["queries"])[0] / output["queries"][0]]
            shares += [(net.pixel_gates[task](places) / places)[0].mean(dim=0)]
    torch.testing.assert_close(torch.from_numpy(kept.images[0].get_array().data), output["queries"][0])
    torch.testing.assert_close(torch.from_numpy(embeddings.images[0].get_array().data), vectors)
    for shown, share in zip(gates.images, shares, strict=True):
        expected = COLOURS[(255 * share).round().byte().numpy()]
        assert np.abs(shown.get_array().astype(int) - expected).max() <= 8, "a step of the colours at most"
    surest = int(output["pred_logits"][0].softmax(dim=-1)[:, 7].argmin())
    looks = looked.cross_attention[-1][0].mean(dim=0)[surest]
    assert np.allclose(asking.images[1].get_array(), looks / looks.max(), atol=1e-5), "the same query looks"
    share = FAINT + (1 - FAINT) * output["pred_masks"][0, surest].sigmoid().numpy()[..., None]
    expected = share * depth_colours(output["pred_depths"][0, surest]) + 1 - share
    assert np.allclose(metres.images[0].get_array(), expected, atol=1e-5)


def test_what_does_not_fit_is_refused(net, image):
    with pytest.raises(ValueError, match=r"^image is \(3, 90, 96\), which the model pads"):
        draw_uni_dvps(net, image[:, :90])
    with pytest.raises(ValueError, match="^colours has 3 entries; expected 7"):
        draw_uni_dvps(net, image, colours=SEMANTIC_COLOURS[:3])
    with pytest.raises(ValueError, match="^model has no gates"):
        draw_uni_dvps(uni_dvps_small(7, gate=False).eval(), image)
