import pytest
import torch
import torch.nn.functional as F
import torchvision

from lib.ops.losses import (
    cross_entropy,
    dice_loss,
    hard_negatives,
    sigmoid_focal_loss,
    sigmoid_focal_slope,
    softmax_focal_loss,
)

LOSSES = [cross_entropy, dice_loss]


def case(seed=0, ignored=0.2, dtype=torch.float64, shape=(3, 4, 5, 6)):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(shape, generator=generator, dtype=dtype)
    target = torch.randint(shape[1], (shape[0], *shape[2:]), generator=generator)
    target = target.masked_fill(torch.rand(target.shape, generator=generator) < ignored, 255)
    return logits.requires_grad_(), target


def confident(target, classes, sure=30.0):
    """Scores that say `target`, with all certainty."""
    return sure * F.one_hot(target, classes).movedim(-1, 1).double()


def gradient(loss, logits):
    return torch.autograd.grad(loss, logits)[0]


@pytest.mark.parametrize("weight", [None, torch.tensor([0.2, 1.0, 3.0, 0.0])])
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_cross_entropy_equals_pytorch(weight, ignored):
    logits, target = case(ignored=ignored)
    ours = cross_entropy(logits, target, weight=weight)
    theirs = F.cross_entropy(logits, target, weight if weight is None else weight.double(), ignore_index=255)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient(ours, logits), gradient(theirs, logits))


def test_cross_entropy_of_huge_scores_is_finite():
    logits = torch.tensor([[1e4, -1e4]]).view(1, 2, 1, 1)
    assert cross_entropy(logits, torch.tensor([[[1]]])) == 2e4 and cross_entropy(logits, torch.tensor([[[0]]])) == 0


def test_cross_entropy_takes_vectors_too():
    logits, target = case(shape=(7, 4), ignored=0.2)
    torch.testing.assert_close(cross_entropy(logits, target), F.cross_entropy(logits, target, ignore_index=255))


def test_dice_by_hand():
    logits = torch.tensor([0.75, 0.25]).log().view(1, 2, 1, 1).expand(1, 2, 1, 2)  # both pixels: 0.75 and 0.25
    target = torch.tensor([[[0, 1]]])
    first = (2 * 0.75 + 1) / (2 * 0.75**2 + 1 + 1)
    second = (2 * 0.25 + 1) / (2 * 0.25**2 + 1 + 1)
    torch.testing.assert_close(dice_loss(logits, target), torch.tensor(1 - (first + second) / 2))


def test_dice_equals_a_loop_over_classes():
    logits, target = case(1)
    probability, counted = logits.softmax(1), target != 255
    terms = []
    for number in range(4):
        p, g = probability[:, number][counted], (target == number)[counted].double()
        terms.append(1 - (2 * (p * g).sum() + 0.5) / ((p * p).sum() + (g * g).sum() + 0.5))
    torch.testing.assert_close(dice_loss(logits, target, smooth=0.5), sum(terms) / 4)


def test_dice_of_the_best_and_the_worst_answer():
    target = torch.randint(3, (2, 20, 20), generator=torch.Generator().manual_seed(0))
    assert dice_loss(confident(target, 3), target) < 1e-6
    assert 0.99 < dice_loss(confident((target + 1) % 3, 3), target) <= 1
    assert dice_loss(confident((target + 1) % 3, 3), target, smooth=0) > 1 - 1e-6


def test_dice_judges_a_rare_class_like_a_common_one():
    target = torch.zeros(1, 20, 20, dtype=torch.int64)
    target[0, 0, :4] = 1
    missed = confident(torch.zeros_like(target), 2)
    assert dice_loss(missed, target, smooth=0) == pytest.approx(0.5, abs=0.01)  # one class of two is all wrong
    assert F.cross_entropy(missed / 6, target) < 0.06  # 1 % of the pixels


def test_dice_leaves_absent_classes_out_of_the_mean():
    logits, target = case(2, ignored=0)
    target = target.clamp(max=1)  # classes 2 and 3 are absent
    p = logits.softmax(1)
    expected = torch.stack(
        [
            1 - (2 * (p[:, k] * (target == k)).sum() + 1) / (p[:, k].square().sum() + (target == k).sum() + 1)
            for k in (0, 1)
        ]
    ).mean()
    torch.testing.assert_close(dice_loss(logits, target), expected)


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_right(loss):
    logits, target = case(3, shape=(2, 3, 3, 2))
    assert torch.autograd.gradcheck(lambda scores: loss(scores, target), logits)


@pytest.mark.parametrize("loss", LOSSES)
def test_ignored_pixels_change_nothing_and_get_no_gradient(loss):
    logits, target = case(4)
    ignored = (target == 255)[:, None].expand_as(logits)
    grads = gradient(loss(logits, target), logits)
    assert (grads[ignored] == 0).all() and (grads[~ignored] != 0).any()
    other = torch.where(ignored, -logits * 5, logits)
    torch.testing.assert_close(loss(other, target), loss(logits, target))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_at_an_ignored_pixel_changes_nothing(loss, wrong):
    logits, target = case(4)
    ignored = (target == 255)[:, None].expand_as(logits)
    broken = torch.where(ignored, wrong, logits.detach()).requires_grad_()
    assert loss(broken, target) == loss(logits, target)
    grads = gradient(loss(broken, target), broken)
    assert torch.equal(grads, gradient(loss(logits, target), logits)) and (grads[ignored] == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_float16_counts_more_pixels_than_it_has_numbers(loss):
    logits, target = case(8, shape=(1, 2, 300, 300), dtype=torch.float32)  # 90,000 pixels; float16 ends at 65,504
    torch.testing.assert_close(loss(logits.half(), target), loss(logits, target), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("loss", LOSSES)
def test_all_ignored_is_zero_with_a_gradient_of_zero(loss):
    logits, target = case(5, ignored=2.0)
    value = loss(logits, target)
    assert value == 0 and (gradient(value, logits) == 0).all()


@pytest.mark.parametrize("loss", LOSSES)
def test_order_of_the_batch_does_not_matter(loss):
    logits, target = case(6)
    order = torch.tensor([2, 0, 1])
    torch.testing.assert_close(loss(logits[order], target[order]), loss(logits, target))


@pytest.mark.parametrize("loss", LOSSES)
def test_small_types_of_target_and_another_number_to_ignore(loss):
    logits, target = case(7)
    torch.testing.assert_close(loss(logits, target.byte()), loss(logits, target))
    torch.testing.assert_close(loss(logits, target.where(target != 255, -1), ignore_index=-1), loss(logits, target))


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "logits, target, named",
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 5, dtype=torch.int64), "target"),
        (torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4), "target"),
        (torch.zeros(2, 3, 4, 4), torch.full((2, 4, 4), 3), "target"),
        (torch.zeros(2, 3, 4, 4), torch.full((2, 4, 4), -1), "target"),
        (torch.zeros(1, 2, 1, 1).numpy(), torch.zeros(1, 1, 1, dtype=torch.int64), "logits"),
        (torch.zeros(1, 2, 1, 1), [[[0]]], "target"),
        (torch.zeros(2, 3, 4, 4, dtype=torch.int64), torch.zeros(2, 4, 4, dtype=torch.int64), "logits"),
    ],
)
def test_bad_input_is_named(loss, logits, target, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        loss(logits, target)


def test_bad_weight_and_smooth_are_named():
    logits, target = case()
    with pytest.raises(ValueError, match="^weight "):
        cross_entropy(logits, target, weight=torch.ones(3))
    with pytest.raises(ValueError, match="^smooth "):
        dice_loss(logits, target, smooth=-1.0)


# ------------------------------------------------------------------------------------------------ places of a detector


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (-1.0, 0.0), (0.5, 0.5), (0.0, 5.0), (1.0, 1.0)])
def test_sigmoid_focal_loss_equals_torchvision(alpha, gamma, reduction):
    generator = torch.Generator().manual_seed(0)
    logits = (5 * torch.randn(4, 30, generator=generator, dtype=torch.float64)).requires_grad_()
    truth = (torch.rand(4, 30, generator=generator) < 0.3).double()
    ours = sigmoid_focal_loss(logits, truth, alpha, gamma, reduction)
    theirs = torchvision.ops.sigmoid_focal_loss(logits, truth, alpha, gamma, reduction)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(gradient(ours.sum(), logits), gradient(theirs.sum(), logits), rtol=1e-6, atol=1e-9)


def test_focal_loss_of_huge_logits_is_finite():
    logits = torch.tensor([500.0, -500.0, 500.0, -500.0], requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([1.0, 0.0, 0.0, 1.0]), alpha=-1.0)
    assert loss.tolist() == [0, 0, 500, 500] and gradient(loss.sum(), logits).isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 2.0])
def test_gradients_of_the_focal_loss_are_finite_for_any_gamma(gamma):
    logits = torch.tensor([100.0, 20.0, -20.0, -100.0, 500.0], requires_grad=True)
    for truth in (0.0, 1.0):
        loss = sigmoid_focal_loss(logits, torch.full_like(logits, truth), alpha=-1.0, gamma=gamma)
        assert loss.isfinite().all() and gradient(loss.sum(), logits).isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_slope_of_the_focal_loss_equals_autograd(gamma):
    logits = torch.linspace(-12, 12, 97, dtype=torch.float64).repeat(2, 1).requires_grad_()
    truth = torch.tensor([[0.0], [1.0]], dtype=torch.float64).expand_as(logits)
    loss = torchvision.ops.sigmoid_focal_loss(logits, truth, alpha=-1.0, gamma=gamma)
    slope = sigmoid_focal_slope(logits.detach(), truth, gamma)
    torch.testing.assert_close(slope, gradient(loss.sum(), logits), rtol=1e-6, atol=1e-12)
    assert (slope[0] > 0).all() and (slope[1] < 0).all()  # background is pushed down, an object up
    torch.testing.assert_close(slope[0], -slope[1].flip(0))


def test_slope_of_the_focal_loss_by_hand_and_of_huge_logits():
    half = 0.25 * (-torch.tensor(2.0).log() - 0.5)  # p = 1/2, gamma = 2
    torch.testing.assert_close(
        sigmoid_focal_slope(torch.zeros(2), torch.tensor([1.0, 0.0])), torch.stack([half, -half])
    )
    logits, truth = torch.tensor([100.0, -100.0, 100.0, -100.0]), torch.tensor([1.0, 0.0, 0.0, 1.0])
    for gamma in (0.0, 0.5, 2.0):
        torch.testing.assert_close(sigmoid_focal_slope(logits, truth, gamma), torch.tensor([0.0, 0.0, 1.0, -1.0]))


def test_softmax_focal_loss_is_cross_entropy_that_forgives_what_is_easy():
    logits, classes = torch.randn(20, 5, dtype=torch.float64), torch.arange(20) % 5
    plain = F.cross_entropy(logits, classes, reduction="none")
    torch.testing.assert_close(softmax_focal_loss(logits, classes, gamma=0.0), plain)
    p = logits.softmax(1).gather(1, classes[:, None])[:, 0]
    torch.testing.assert_close(softmax_focal_loss(logits, classes, gamma=2.0), (1 - p) ** 2 * plain)
    torch.testing.assert_close(softmax_focal_loss(logits, classes, reduction="mean"), ((1 - p) ** 2 * plain).mean())


def test_two_classes_by_softmax_and_by_sigmoid_are_the_same():
    logit, truth = torch.randn(30, dtype=torch.float64), torch.arange(30) % 2
    both = torch.stack([torch.zeros_like(logit), logit], dim=1)
    torch.testing.assert_close(softmax_focal_loss(both, truth), sigmoid_focal_loss(logit, truth.double(), alpha=-1.0))


def test_hard_negatives_are_three_to_one_and_the_worst():
    loss = torch.tensor([0.1, 5.0, 0.3, 0.2, 9.0, 0.4, 0.0, 0.5])
    positive = torch.tensor([0, 0, 0, 0, 1, 0, 0, 0]).bool()
    assert hard_negatives(loss, positive).nonzero()[:, 0].tolist() == [1, 4, 5, 7]
    assert hard_negatives(loss, positive, ratio=1.0).nonzero()[:, 0].tolist() == [1, 4]
    assert hard_negatives(loss, positive, ratio=50.0).all()
    assert not hard_negatives(loss, torch.zeros(8).bool()).any()
    assert hard_negatives(loss, torch.zeros(8).bool(), least=2).nonzero()[:, 0].tolist() == [1, 4]
    assert hard_negatives(loss[:0], positive[:0]).shape == (0,)


@pytest.mark.parametrize("count", [5, 200])
def test_hard_negatives_of_equal_losses_are_the_earlier_ones(count):
    positive = torch.arange(count) == 1
    assert hard_negatives(torch.ones(count), positive).nonzero()[:, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: sigmoid_focal_loss(torch.zeros(3), torch.zeros(3, 1)), "targets"),
        (lambda: sigmoid_focal_loss(torch.zeros(3), torch.zeros(3), alpha=1.5), "alpha"),
        (lambda: sigmoid_focal_loss(torch.zeros(3), torch.zeros(3), gamma=-1.0), "gamma"),
        (lambda: sigmoid_focal_loss(torch.zeros(3), torch.zeros(3), reduction="average"), "reduction"),
        (lambda: sigmoid_focal_slope(torch.zeros(3), torch.zeros(4)), "targets"),
        (lambda: sigmoid_focal_slope(torch.zeros(3), torch.zeros(3), gamma=-1.0), "gamma"),
        (lambda: softmax_focal_loss(torch.zeros(3), torch.zeros(3).long()), "inputs"),
        (lambda: hard_negatives(torch.zeros(3), torch.zeros(4).bool()), "loss"),
        (lambda: hard_negatives(torch.zeros(3), torch.zeros(3).bool(), ratio=-1.0), "ratio"),
    ],
)
def test_bad_input_of_focal_losses_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_a_sure_right_answer_has_no_softmax_focal_slope(gamma):
    logits = torch.tensor([[0.0, 100.0], [1.0, 0.0]], requires_grad=True)
    softmax_focal_loss(logits, torch.tensor([1, 1]), gamma, "sum").backward()
    assert logits.grad is not None and logits.grad.isfinite().all()
    assert logits.grad[0].abs().max() < 1e-30 and logits.grad[1, 1] < 0
