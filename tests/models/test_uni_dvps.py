"""Uni-DVPS: MaskFormer when its gates are open, depths between near and far, a loss that asks only inside masks."""

import math

import pytest
import torch
from torch import nn

from lib.layers.rcnn_transform import ImageList
from lib.models.maskformer import WEIGHTS, MaskFormerCriterion, maskformer_small
from lib.models.uni_dvps import (
    DEPTH_WEIGHTS,
    FAR,
    NEAR,
    FeatureGate,
    UniDVPS,
    UniDVPSCriterion,
    picture_answers,
    picture_depth,
    uni_dvps_small,
)
from lib.training import load_checkpoint, save_checkpoint

K, QUERIES, SIZE = 4, 6, (32, 48)


def small(gate=True, seed=0):
    torch.manual_seed(seed)
    return uni_dvps_small(K, QUERIES, gate=gate).eval()


def some_pictures(count=2):
    return torch.rand(count, 3, *SIZE, generator=torch.Generator().manual_seed(1))


def some_targets(counts=(3, 2), size=SIZE, seed=2):
    """Upright strips that share no pixel, and a depth with sky in the upper quarter."""
    generator = torch.Generator().manual_seed(seed)
    targets = []
    for count in counts:
        strips = torch.arange(size[1]).expand(size) * max(count, 1) // size[1]
        masks = strips == torch.arange(count)[:, None, None]
        depth = 2 + 20 * torch.rand(size, generator=generator)
        depth[: size[0] // 4] = math.inf
        targets.append({"masks": masks, "labels": torch.randint(0, K, (count,), generator=generator), "depth": depth})
    return targets


def open_gates(model):
    for gate in (*model.query_gates.values(), *model.pixel_gates.values()):
        nn.init.constant_(gate.linear.bias, 100.0)


# -------------------------------------------------------------------------------------------------------- gates


@pytest.mark.parametrize("shape, axis", [((2, 5, 7), -1), ((7,), -1), ((3, 7, 4, 6), 1), ((0, 7, 4, 6), 1)])
def test_a_gate_multiplies_each_number_by_what_its_place_says(shape, axis):
    torch.manual_seed(0)
    gate = FeatureGate(7, axis)
    nn.init.normal_(gate.linear.weight)
    x = torch.randn(shape)
    weight, bias = gate.linear.weight, gate.linear.bias
    letters = "bchw" if axis == 1 else "bqc"[-len(shape) :]
    inside = torch.einsum(f"dc,{letters}->{letters.replace('c', 'd')}", weight, x)
    inside = inside + (bias[:, None, None] if axis == 1 else bias)
    torch.testing.assert_close(gate(x), x / (1 + (-inside).exp()))


def test_a_new_gate_is_open_and_alike_everywhere():
    x = torch.randn(2, 7, 4, 6)
    torch.testing.assert_close(FeatureGate(7, 1)(x), x * 0.880797)


@pytest.mark.parametrize("shape, axis", [((2, 6), -1), ((2, 6, 7, 7), 1), ((7,), 1), ((), -1)])
def test_a_gate_names_a_wrong_shape(shape, axis):
    with pytest.raises(ValueError, match="^x is .*expected 7 numbers along axis"):
        FeatureGate(7, axis)(torch.zeros(shape))


@torch.no_grad()
@pytest.mark.parametrize("gate", [True, False])
def test_with_open_gates_the_panoptic_part_is_maskformers(gate):
    model = small(gate)
    if gate:
        open_gates(model)
    said, expected = model(some_pictures()), model.maskformer(some_pictures())
    for ours, theirs in zip([said, *said["aux_outputs"]], [expected, *expected["aux_outputs"]], strict=True):
        torch.testing.assert_close(ours["pred_logits"], theirs["pred_logits"])
        torch.testing.assert_close(ours["pred_masks"], theirs["pred_masks"])


@torch.no_grad()
def test_each_task_has_gates_of_its_own():
    model = small()
    before = model(some_pictures())
    for gates in (model.query_gates, model.pixel_gates):
        nn.init.constant_(gates["depth"].linear.bias, -0.5)
    after = model(some_pictures())
    assert torch.equal(after["pred_masks"], before["pred_masks"])
    assert torch.equal(after["pred_logits"], before["pred_logits"])
    assert not torch.allclose(after["pred_depths"], before["pred_depths"], rtol=1e-3)
    for gates in (model.query_gates, model.pixel_gates):
        nn.init.constant_(gates["segmentation"].linear.bias, -0.5)
    last = model(some_pictures())
    assert torch.equal(last["pred_depths"], after["pred_depths"])
    assert not torch.allclose(last["pred_masks"], after["pred_masks"], rtol=1e-3)


# -------------------------------------------------------------------------------------------------------- model


@torch.no_grad()
def test_shapes_and_bounds():
    model = small()
    said, looked = model.attention(some_pictures())
    assert len(said["aux_outputs"]) == 2 and len(looked.cross_attention) == 3
    for layer, state in zip([*said["aux_outputs"], said], looked.states, strict=True):
        assert layer["pred_logits"].shape == (2, QUERIES, K + 1)
        assert layer["pred_masks"].shape == layer["pred_depths"].shape == (2, QUERIES, 8, 12)
        assert torch.equal(layer["queries"], state), "before any gate"
        assert layer["pred_depths"].min() >= NEAR and layer["pred_depths"].max() <= FAR
        assert layer["pred_depths"].std() > 0.01
    model.maskformer.aux_loss = False
    assert "aux_outputs" not in model(some_pictures())


def test_equal_steps_are_equal_factors():
    model = UniDVPS(maskformer_small(K, QUERIES), near=2.0, far=32.0)
    pixels = torch.tensor([-100.0, 0.0, 100.0, math.log(3)])[None, None, None]  # (1, 1, 1, 4): s = 0, 1/2, 1, 3/4
    metres = model.metres(torch.ones(1, 1, 1, 1), pixels)
    torch.testing.assert_close(metres.flatten(), torch.tensor([2.0, 8.0, 32.0, 16.0]))


@torch.no_grad()
def test_a_batch_says_what_its_pictures_say_alone():
    model = small()
    together = picture_answers(model(some_pictures()))
    for picture, answer in zip(some_pictures(), together, strict=True):
        (alone,) = picture_answers(model([picture]))
        for one, other in zip(alone, answer, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)
        assert answer.masks.shape == answer.depths.shape == (QUERIES, *SIZE) and answer.queries.shape == (QUERIES, 96)


@pytest.mark.parametrize("near, far", [(0, 10), (-1, 10), (5, 5), (5, 2), (1, math.inf), (math.nan, 10)])
def test_bad_bounds_are_named(near, far):
    with pytest.raises(ValueError, match="^near is .* and far is "):
        UniDVPS(maskformer_small(K, QUERIES), near=near, far=far)


def test_lesson_15s_weights_are_a_start(tmp_path):
    trained = maskformer_small(K, QUERIES)
    save_checkpoint(trained.half(), tmp_path / "weights.safetensors", {})
    model = small()
    load_checkpoint(model.maskformer, tmp_path / "weights.safetensors")
    state = model.state_dict()
    old = {f"maskformer.{name}" for name in trained.state_dict()}
    assert {name.split(".")[0] for name in state.keys() - old} == {"depth_embed", "query_gates", "pixel_gates"}
    assert all(torch.equal(state[f"maskformer.{name}"], one.float()) for name, one in trained.state_dict().items())
    plain = small(gate=False).state_dict()
    assert {name.split(".")[0] for name in plain.keys() - old} == {"depth_embed"}


# -------------------------------------------------------------------------------------------------------- loss


def said_of(targets, depths, size=SIZE):
    """Answers in which query i is sure of true mask i; depths (B, Q, H, W) at the size of the pictures."""
    count = len(targets)
    logits = torch.zeros(count, QUERIES, K + 1)
    logits[..., K] = 30
    masks = torch.full((count, QUERIES, *size), -30.0)
    for number, target in enumerate(targets):
        for place, (mask, label) in enumerate(zip(target["masks"], target["labels"])):
            logits[number, place, K], logits[number, place, label] = 0, 30
            masks[number, place][mask] = 30
    images = ImageList(torch.zeros(count, 3, *size), [size] * count, [size] * count)
    return {"pred_logits": logits, "pred_masks": masks, "pred_depths": depths, "images": images}


def test_the_loss_of_depth_by_hand():
    targets = some_targets((3, 1))
    factors = torch.tensor([[2.0, 1.0, 0.5, 9, 9, 9], [4.0, 9, 9, 9, 9, 9]])
    true = torch.stack([target["depth"] for target in targets])[:, None].clamp(max=60)
    outputs = said_of(targets, true * factors[..., None, None])
    losses = UniDVPSCriterion(K, discount=0.75)(outputs, targets)
    assert losses.keys() == {"loss_ce", "loss_mask", "loss_dice", "loss_depth"}
    expected = 0.25 * sum(math.log(factor) ** 2 for factor in (2, 1, 0.5, 4)) / 4
    assert losses["loss_depth"].item() == pytest.approx(expected, rel=1e-4)
    assert UniDVPSCriterion(K, discount=1.0)(outputs, targets)["loss_depth"].item() == pytest.approx(0, abs=1e-5)


def test_masks_without_a_valid_pixel_do_not_count():
    targets = some_targets((2,))
    targets[0]["depth"][targets[0]["masks"][1]] = math.inf
    outputs = said_of(targets, 2 * targets[0]["depth"].clamp(max=30).expand(1, QUERIES, -1, -1))
    loss = UniDVPSCriterion(K, discount=0.0)(outputs, targets)["loss_depth"]
    assert loss.item() == pytest.approx(math.log(2) ** 2, rel=1e-4), "the mean is over one mask"


def test_outside_its_mask_and_in_the_sky_nothing_is_asked():
    targets = some_targets((3, 0))
    depths = torch.full((2, QUERIES, *SIZE), 7.0, requires_grad=True)
    UniDVPSCriterion(K)(said_of(targets, depths), targets)["loss_depth"].backward()
    asked = depths.grad != 0
    expected = torch.zeros_like(asked)
    expected[0, :3] = targets[0]["masks"] & targets[0]["depth"].isfinite()
    assert torch.equal(asked, expected)


def test_what_each_loss_teaches():
    model, targets = small().train(), some_targets()
    for gate in (*model.query_gates.values(), *model.pixel_gates.values()):
        nn.init.normal_(gate.linear.weight, std=0.1)
    losses = UniDVPSCriterion(K)(model(some_pictures()), targets)
    depth = ("depth_embed", "query_gates.depth", "pixel_gates.depth")
    masks = (
        "maskformer.class_embed", "maskformer.mask_embed", "query_gates.segmentation", "pixel_gates.segmentation",
    )  # fmt: skip
    for name, own, other in (("loss_depth", depth, masks), ("loss_mask", masks[1:], depth), ("loss_ce", (), depth)):
        model.zero_grad()
        losses[name].backward(retain_graph=True)
        reached = {key: one.grad is not None and bool(one.grad.any()) for key, one in model.named_parameters()}
        assert not any(reached[key] for key in reached if key.startswith(other)), name
        for part in (*own, "maskformer.query_embed", "maskformer.backbone", "maskformer.transformer"):
            assert any(reached[key] for key in reached if key.startswith(part)), (name, part)


@pytest.mark.parametrize("counts", [(0, 0), (0, 2), (QUERIES + 2, 1)])
def test_losses_of_all_layers_with_any_number_of_masks(counts):
    model, targets = small().train(), some_targets(counts)
    criterion = UniDVPSCriterion(K)
    outputs = model(some_pictures())
    losses = criterion(outputs, targets)
    plain = MaskFormerCriterion(K)(outputs, targets)
    assert losses.keys() == plain.keys() | {"loss_depth", "loss_depth_0", "loss_depth_1"}
    for name, loss in plain.items():
        torch.testing.assert_close(losses[name], loss)
    total = sum(criterion.weighted(losses).values())
    total.backward()
    assert total.isfinite() and all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert any(counts) or losses["loss_depth"] == 0


def test_weights():
    losses = {"loss_ce": torch.tensor(1.0), "loss_depth": torch.tensor(1.0), "loss_depth_0": torch.tensor(2.0)}
    depth = DEPTH_WEIGHTS["loss_depth"]
    assert UniDVPSCriterion(K).weighted(losses) == {"loss_ce": 1, "loss_depth": depth, "loss_depth_0": 2 * depth}
    assert UniDVPSCriterion(K, weight_dict=WEIGHTS).weighted(losses) == {"loss_ce": 1}, "masks alone"
    assert "loss_depth" not in WEIGHTS


def test_truth_goes_with_a_picture_that_is_resized_and_padded():
    targets = some_targets((2,))
    depths = 3 + 10 * torch.rand(1, QUERIES, *SIZE)
    criterion = UniDVPSCriterion(K)
    expected = criterion(said_of(targets, depths), targets)["loss_depth"]
    big = {"masks": targets[0]["masks"], "depth": targets[0]["depth"][None]}
    big = {name: one.repeat_interleave(2, 1).repeat_interleave(2, 2) for name, one in big.items()}
    double = [targets[0] | big | {"depth": big["depth"][0]}]
    outputs = said_of(targets, depths)
    outputs["images"] = outputs["images"]._replace(original_sizes=[(2 * SIZE[0], 2 * SIZE[1])])
    torch.testing.assert_close(criterion(outputs, double)["loss_depth"], expected)
    wide = said_of(targets, depths)
    for name in ("pred_masks", "pred_depths"):
        wide[name] = nn.functional.pad(wide[name], (0, 16), value=5.0 if name == "pred_depths" else -30.0)
    wide["images"] = wide["images"]._replace(tensors=torch.zeros(1, 3, SIZE[0], SIZE[1] + 16))
    torch.testing.assert_close(criterion(wide, targets)["loss_depth"], expected)


@pytest.mark.parametrize("bad", [None, torch.zeros(31, 48), torch.zeros(1, 32, 48), torch.zeros(32, 48).long()])
def test_a_bad_depth_is_named(bad):
    targets = some_targets()
    targets[1].pop("depth")
    if bad is not None:
        targets[1]["depth"] = bad
    outputs = said_of(targets, torch.full((2, QUERIES, *SIZE), 3.0))
    with pytest.raises(ValueError, match=r"^targets has the depth .* for picture 1; expected \(32, 48\) floats"):
        UniDVPSCriterion(K)(outputs, targets)


def test_bad_outputs_are_named():
    targets = some_targets()
    outputs = said_of(targets, torch.full((2, QUERIES, 8, 8), 3.0))
    with pytest.raises(ValueError, match=r"^outputs has pred_depths \(2, 6, 8, 8\); expected \(2, 6, 32, 48\)"):
        UniDVPSCriterion(K)(outputs, targets)
    outputs.pop("pred_depths")
    with pytest.raises(ValueError, match="^outputs has pred_logits, pred_masks, images; expected"):
        UniDVPSCriterion(K)(outputs, targets)


# -------------------------------------------------------------------------------------------------------- answers


def test_the_depth_of_a_picture_by_hand():
    logits = torch.tensor([[0.9, 0.1], [0.4, 0.6], [1e-9, 1.0]]).log()
    masks = torch.tensor([0.5, 0.25, 1.0]).logit(eps=1e-6)[:, None, None]
    depths = torch.tensor([2.0, 50.0, 90.0])[:, None, None]
    weights = 0.9 * 0.5, 0.4 * 0.25
    expected = (2.0 ** weights[0] * 50.0 ** weights[1]) ** (1 / sum(weights))
    torch.testing.assert_close(picture_depth(logits, masks, depths), torch.tensor([[expected]]))


def test_the_numbers_of_the_docstring():
    logits = torch.tensor([[30.0, 0.0]] * 2)
    masks = torch.tensor([0.1, 0.9]).logit()[:, None, None]
    depth = picture_depth(logits, masks, torch.tensor([50.0, 4.0])[:, None, None])
    assert depth.item() == pytest.approx(5.15, abs=0.01) and 0.1 * 50 + 0.9 * 4 == pytest.approx(8.6)


def test_where_no_mask_is_there_is_still_a_depth_and_a_gradient():
    logits = torch.tensor([[-200.0, 200.0], [-200.0, 200.0]], requires_grad=True)
    masks = torch.full((2, 3, 3), -400.0, requires_grad=True)
    depths = torch.tensor([2.0, 8.0])[:, None, None].expand(2, 3, 3).clone().requires_grad_()
    depth = picture_depth(logits, masks, depths)
    torch.testing.assert_close(depth, torch.full((3, 3), 4.0))
    depth.sum().backward()
    assert all(one.grad.isfinite().all() for one in (logits, masks, depths))


@pytest.mark.parametrize(
    "shapes", [((2,), (2, 3, 3), (2, 3, 3)), ((2, 3), (3, 3, 3), (3, 3, 3)), ((2, 3), (2, 3, 3), (2, 3, 4))]
)
def test_bad_shapes_are_named(shapes):
    with pytest.raises(ValueError, match="^there came logits"):
        picture_depth(*(torch.ones(shape) for shape in shapes))
