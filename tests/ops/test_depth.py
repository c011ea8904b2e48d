import math

import pytest
import torch

from lib.datasets.toyworld import toyworld_clip
from lib.ops.depth import DEPTH_CAP, depth_errors, scale_invariant_log_loss, valid_depth


def case(seed=0, shape=(3, 5, 6), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    true = 1 + 20 * torch.rand(shape, generator=generator, dtype=dtype)
    predicted = true * torch.exp(0.3 * torch.randn(shape, generator=generator, dtype=dtype) + 0.1)
    valid = torch.rand(shape, generator=generator) < 0.7
    return predicted.requires_grad_(), true, valid


def gradient(loss, predicted):
    return torch.autograd.grad(loss, predicted)[0]


# ------------------------------------------------------------------------------------------ which pixels


def test_what_counts():
    depth = torch.tensor([-1.0, 0.0, 1e-6, 50.0, 50.1, math.inf, math.nan])
    assert valid_depth(depth).tolist() == [False, False, True, True, False, False, False]
    assert valid_depth(depth, math.inf).tolist() == [False, False, True, True, True, False, False]


def test_in_toyworld_things_count_the_sky_does_not_and_nor_does_the_ground_far_away():
    sample = toyworld_clip(0, "val", length=1, size=96).frames[0]
    valid = valid_depth(sample.depth)
    assert sample.depth.max() == math.inf and valid[sample.instance > 0].all() and not valid[sample.semantic == 0].any()
    ground = valid[sample.semantic == 1]
    assert 0.5 < ground.float().mean() < 1 and sample.depth[valid].max() <= DEPTH_CAP


# ------------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize("weight", [0.0, 0.5, 0.85, 1.0])
def test_equal_to_equation_4(weight):
    predicted, true, valid = case()
    of_pictures = []
    for mine, real, counts in zip(predicted, true, valid):
        d = [math.log(a) - math.log(b) for a, b, ok in zip(*(x.flatten().tolist() for x in (mine, real, counts))) if ok]
        of_pictures.append(sum(each**2 for each in d) / len(d) - weight * (sum(d) / len(d)) ** 2)
    loss = scale_invariant_log_loss(predicted, true, valid, weight)
    assert loss.item() == pytest.approx(sum(of_pictures) / 3)
    one = scale_invariant_log_loss(predicted[1], true[1], valid[1], weight)
    assert one.shape == () and one.item() == pytest.approx(of_pictures[1])
    assert torch.autograd.gradcheck(lambda x: scale_invariant_log_loss(x, true, valid, weight), predicted)


def test_equal_to_the_sum_over_pairs():
    """Equation 2: what two pixels' depths are to each other, for weight 1."""
    predicted, true, _ = case(shape=(3, 4))
    d = (predicted.log() - true.log()).flatten()
    pairs = (d[:, None] - d).square().mean() / 2
    torch.testing.assert_close(scale_invariant_log_loss(predicted, true, true > 0, 1.0), pairs)


def test_a_common_factor_is_free_with_weight_1_alone():
    predicted, true, valid = case()
    for weight, free in ((1.0, True), (0.85, False)):
        before = scale_invariant_log_loss(predicted, true, valid, weight)
        after = scale_invariant_log_loss(3 * predicted, true, valid, weight)
        assert torch.isclose(before, after) == free
        assert scale_invariant_log_loss(2 * true, true, valid, weight).item() == pytest.approx(
            (1 - weight) * math.log(2) ** 2, abs=1e-12
        )


@pytest.mark.parametrize("factor", [1.0, 2.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_without_variance_the_slope_is_finite(factor, dtype):
    _, true, valid = case(dtype=dtype)
    predicted = (factor * true).requires_grad_()
    for weight in (0.85, 1.0):
        loss = scale_invariant_log_loss(predicted, true, valid, weight)
        assert loss >= 0 and gradient(loss, predicted).isfinite().all()
    if factor == 1:
        assert loss == 0 and not gradient(scale_invariant_log_loss(predicted, true, valid), predicted).any()


def test_what_is_not_valid_does_not_matter():
    predicted, true, valid = case()
    loss = scale_invariant_log_loss(predicted, true, valid)
    odd = torch.tensor([math.nan, math.inf, 0.0, -3.0])[torch.arange(90).view(3, 5, 6) % 4].double()
    other = torch.where(valid, predicted.detach(), odd).requires_grad_()
    again = scale_invariant_log_loss(other, torch.where(valid, true, odd.flip(2)), valid)
    assert loss == again and torch.equal(gradient(loss, predicted), gradient(again, other))
    assert not gradient(scale_invariant_log_loss(other, true, valid), other)[~valid].any()


def test_a_picture_without_a_valid_pixel_is_left_out():
    predicted, true, valid = case()
    valid[1] = False
    expected = scale_invariant_log_loss(predicted[::2], true[::2], valid[::2])
    torch.testing.assert_close(scale_invariant_log_loss(predicted, true, valid), expected)
    nothing = scale_invariant_log_loss(predicted, true * math.inf, torch.zeros_like(valid))
    assert nothing == 0 and not gradient(nothing, predicted).any()
    one = torch.full((1, 1), 2.0)
    assert scale_invariant_log_loss(one, one * 2, one > 0).item() == pytest.approx(0.15 * math.log(2) ** 2)


# ----------------------------------------------------------------------------------------------- errors


def test_errors_equal_a_loop():
    predicted, true, valid = case()
    pairs = list(zip(predicted[valid].tolist(), true[valid].tolist()))
    result = depth_errors(predicted, true, valid)
    assert list(result) == ["abs_rel", "rmse", "delta1"] and all(type(value) is float for value in result.values())
    assert result["abs_rel"] == pytest.approx(sum(abs(a - b) / b for a, b in pairs) / len(pairs))
    assert result["rmse"] == pytest.approx(math.sqrt(sum((a - b) ** 2 for a, b in pairs) / len(pairs)))
    assert result["delta1"] == sum(max(a / b, b / a) < 1.25 for a, b in pairs) / len(pairs)
    assert 0.2 < result["delta1"] < 0.9


def test_errors_by_hand():
    true = torch.tensor([2.0, 4.0, 8.0, math.inf])
    predicted = torch.tensor([2.0, 5.0, 6.5, 0.0])  # right; a factor of 1.25 exactly; 8 / 6.5 = 1.23
    result = depth_errors(predicted, true, valid_depth(true))
    assert result["abs_rel"] == pytest.approx((0.25 + 1.5 / 8) / 3) and result["delta1"] == pytest.approx(2 / 3)
    assert result["rmse"] == pytest.approx(math.sqrt((1 + 2.25) / 3))
    assert all(math.isnan(value) for value in depth_errors(true, true, true < 0).values())
    assert depth_errors(predicted[:1], true[:1], true[:1] > 0) == {"abs_rel": 0, "rmse": 0, "delta1": 1}


# -------------------------------------------------------------------------------------------- bad input


FINE, YES = torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bool)


@pytest.mark.parametrize("function", [scale_invariant_log_loss, depth_errors])
@pytest.mark.parametrize(
    "predicted, true, valid, start",
    [
        (FINE, torch.ones(3, 2), YES, r"true is \(3, 2\); expected \(2, 3\)"),
        (FINE, FINE, YES[:1], r"valid is \(1, 3\); expected \(2, 3\)"),
        (FINE, FINE, FINE, "valid is torch.float32; expected bool"),
        (0 * FINE, FINE, YES, "predicted has a valid pixel"),
        (math.nan * FINE, FINE, YES, "predicted has a valid pixel"),
        (FINE, math.inf * FINE, YES, "true has a valid pixel"),
        (FINE, -FINE, YES, "true has a valid pixel"),
    ],
)
def test_bad_input_is_named(function, predicted, true, valid, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        function(predicted, true, valid)


def test_other_bad_input_is_named():
    with pytest.raises(ValueError, match=r"^predicted is \(6,\)"):
        scale_invariant_log_loss(torch.ones(6), torch.ones(6), torch.ones(6) > 0)
    for weight in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="^weight is "):
            scale_invariant_log_loss(FINE, FINE, YES, weight)
    for cap in (0, -1.0, math.nan):
        with pytest.raises(ValueError, match="^cap is "):
            valid_depth(FINE, cap)
