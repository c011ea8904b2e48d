import pytest
import torch
from transformers.models.maskformer import modeling_maskformer as theirs

from lib.ops import losses
from lib.ops.mask_losses import dice_loss, focal_loss, pairwise_dice_loss, pairwise_focal_loss

SINGLE, PAIRWISE = (dice_loss, focal_loss), (pairwise_dice_loss, pairwise_focal_loss)


def case(masks=4, truths=4, shape=(30,), seed=0, scale=3.0):
    """Logits, and true masks of which the first has no pixel and the last all."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(masks, *shape, generator=generator, dtype=torch.float64)
    targets = (torch.rand(truths, *shape, generator=generator) < 0.3).double()
    if truths > 1:
        targets[0], targets[-1] = 0, 1
    return logits.requires_grad_(), targets


def gradient(loss, logits):
    return torch.autograd.grad(loss.sum(), logits)[0]


def assert_same(ours, reference, logits):
    torch.testing.assert_close(ours, reference)
    torch.testing.assert_close(gradient(ours, logits), gradient(reference, logits))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("masks", [1, 2, 5])
def test_equal_to_transformers(seed, masks):
    logits, targets = case(masks, masks, seed=seed)
    assert_same(dice_loss(logits, targets), theirs.dice_loss(logits, targets, masks), logits)
    assert_same(focal_loss(logits, targets), theirs.sigmoid_focal_loss(logits, targets, masks), logits)
    assert_same(dice_loss(logits, targets, "sum") / 7, theirs.dice_loss(logits, targets, 7), logits)
    reference = theirs.sigmoid_focal_loss(logits, targets, 7, alpha=0.6, gamma=1.5)
    assert_same(focal_loss(logits, targets, 0.6, 1.5, "sum") / 7, reference, logits)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("masks, truths", [(5, 3), (1, 1), (2, 6)])
def test_pairs_equal_to_transformers(seed, masks, truths):
    logits, targets = case(masks, truths, seed=seed)
    assert_same(pairwise_dice_loss(logits, targets), theirs.pair_wise_dice_loss(logits, targets), logits)
    assert_same(pairwise_focal_loss(logits, targets), theirs.pair_wise_sigmoid_focal_loss(logits, targets), logits)
    reference = theirs.pair_wise_sigmoid_focal_loss(logits, targets, alpha=0.6, gamma=1.5)
    assert_same(pairwise_focal_loss(logits, targets, 0.6, 1.5), reference, logits)


@pytest.mark.parametrize("single, pairwise", list(zip(SINGLE, PAIRWISE)))
def test_a_pair_costs_what_its_loss_is(single, pairwise):
    logits, targets = case(5, 3, shape=(6, 7))
    cost = pairwise(logits, targets)
    for place, truth in enumerate(targets):
        torch.testing.assert_close(cost[:, place], single(logits, truth.expand(5, -1, -1), reduction="none"))


@pytest.mark.parametrize("loss", [*SINGLE, *PAIRWISE])
def test_maps_are_rows_of_pixels_and_truths_may_be_bool(loss):
    logits, targets = case(shape=(5, 6))
    torch.testing.assert_close(loss(logits, targets), loss(logits.flatten(1), targets.flatten(1) > 0))


def test_dice_by_hand():
    logits = torch.tensor([[0.75, 0.25, 0.5]]).logit()
    truth = torch.tensor([[1.0, 0.0, 0.0]])
    torch.testing.assert_close(dice_loss(logits, truth), torch.tensor(1 - (2 * 0.75 + 1) / (1.5 + 1 + 1)))
    empty = torch.zeros(1, 3)
    torch.testing.assert_close(dice_loss(logits, empty), torch.tensor(1 - 1 / 2.5))
    assert dice_loss(torch.full((1, 3), -200.0), empty) == 0
    assert dice_loss(torch.full((1, 3), 200.0), torch.ones(1, 3)) == 0


def test_dice_does_not_see_background_that_is_sure():
    logits, targets = case(1, 1, shape=(10,))
    wider = [torch.cat([one, torch.full((1, 1000), value)], 1) for one, value in ((logits, -200.0), (targets, 0.0))]
    torch.testing.assert_close(dice_loss(*wider), dice_loss(logits, targets))
    torch.testing.assert_close(focal_loss(*wider), focal_loss(logits, targets) * 10 / 1010)


@pytest.mark.parametrize("loss", [*SINGLE, *PAIRWISE])
def test_finite_however_sure(loss):
    logits = torch.tensor([[200.0, -200.0, 0.0], [-200.0, 200.0, 0.0]], requires_grad=True)
    value = loss(logits, torch.tensor([[0, 1, 1], [0, 0, 0]]))
    assert value.isfinite().all() and gradient(value, logits).isfinite().all()


@pytest.mark.parametrize("loss", SINGLE)
def test_no_mask_costs_nothing(loss):
    logits = torch.zeros(0, 4, 5, requires_grad=True)
    value = loss(logits, torch.zeros(0, 4, 5))
    assert value == 0 and gradient(value, logits).shape == (0, 4, 5)
    assert loss(logits, torch.zeros(0, 4, 5), reduction="none").shape == (0,)


@pytest.mark.parametrize("loss", PAIRWISE)
def test_no_truth_has_no_column(loss):
    logits, _ = case(3, shape=(4, 5))
    assert loss(logits, torch.zeros(0, 4, 5)).shape == (3, 0)
    assert loss(logits[:0], torch.zeros(2, 4, 5)).shape == (0, 2)


def test_it_is_another_dice_than_that_of_classes():
    logits, targets = case(1, 1)
    of_classes = losses.dice_loss(torch.stack([-logits / 2, logits / 2], 1), targets.long())
    assert not torch.isclose(dice_loss(logits, targets), of_classes, atol=0.01)


@pytest.mark.parametrize("loss", [*SINGLE, *PAIRWISE])
@pytest.mark.parametrize(
    "logits, targets, start",
    [
        (torch.zeros(3), torch.zeros(3), r"logits is \(3,\)"),
        (torch.zeros(2, 3, 4, 5), torch.zeros(2, 3, 4, 5), r"logits is \(2, 3, 4, 5\)"),
        (torch.zeros(2, 0), torch.zeros(2, 0), r"logits is \(2, 0\)"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3), r"logits is \(2, 3\) torch.int64"),
        (torch.zeros(2, 3), torch.zeros(2, 4), r"targets is \(2, 4\); expected \(2, 3\)"),
        (torch.zeros(2, 3), torch.tensor(1.0), r"targets is \(\); expected \(2, 3\)"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 12), r"targets is \(2, 12\); expected \(2, 3, 4\)"),
        (torch.zeros(2, 3), torch.full((2, 3), 0.5), "targets has numbers other than 0 and 1"),
        (torch.zeros(2, 3), torch.full((2, 3), torch.nan), "targets has numbers other than 0 and 1"),
    ],
)
def test_bad_input_is_named(loss, logits, targets, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        loss(logits, targets)


def test_what_only_some_refuse():
    with pytest.raises(ValueError, match=r"^targets is \(3, 4\); expected \(2, 4\)"):
        dice_loss(torch.zeros(2, 4), torch.zeros(3, 4))
    for loss in SINGLE:
        with pytest.raises(ValueError, match="^reduction is 'all'; expected one of"):
            loss(torch.zeros(2, 4), torch.zeros(2, 4), reduction="all")
    for loss in (focal_loss, pairwise_focal_loss):
        with pytest.raises(ValueError, match="^gamma is -1"):
            loss(torch.zeros(2, 4), torch.zeros(2, 4), gamma=-1)
