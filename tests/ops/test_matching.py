import pytest
import torch
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler as TheirSampler
from torchvision.models.detection._utils import Matcher as TheirMatcher

from lib.ops.matching import BalancedPositiveNegativeSampler, Matcher


@pytest.mark.parametrize("low_quality", [False, True])
@pytest.mark.parametrize("high, low", [(0.7, 0.3), (0.5, 0.5), (1.0, 0.0)])
@pytest.mark.parametrize("truths, candidates", [(1, 1), (3, 50), (7, 4)])
def test_matches_equal_torchvision(low_quality, high, low, truths, candidates):
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        quality = torch.rand(truths, candidates, generator=generator).mul(20).round().div(20)  # with ties
        quality = quality.clamp(min=0.05)
        ours, theirs = Matcher(high, low, low_quality)(quality), TheirMatcher(high, low, low_quality)(quality)
        assert ours.dtype == torch.int64 and torch.equal(ours, theirs)


def test_worked_by_hand():
    quality = torch.tensor([[0.9, 0.5, 0.2, 0.0, 0.0], [0.1, 0.6, 0.0, 0.4, 0.0]])
    assert Matcher(0.7, 0.3)(quality).tolist() == [0, -2, -1, -2, -1]
    assert Matcher(0.7, 0.3, True)(quality).tolist() == [0, 1, -1, -2, -1]
    assert Matcher(0.5, 0.5)(quality).tolist() == [0, 1, -1, -1, -1]
    assert (Matcher.BELOW_LOW_THRESHOLD, Matcher.BETWEEN_THRESHOLDS) == (-1, -2)


def test_a_rescued_candidate_goes_to_the_truth_that_it_overlaps_most():
    quality = torch.tensor([[0.8, 0.2], [0.6, 0.1]])  # candidate 0 is the best of both truths
    assert Matcher(0.9, 0.3, True)(quality).tolist() == [0, -1]


def test_a_truth_that_nothing_touches_takes_nothing():
    quality = torch.tensor([[0.8, 0.1, 0.0], [0.0, 0.0, 0.0]])
    assert Matcher(0.7, 0.3, True)(quality).tolist() == [0, -1, -1]


@pytest.mark.parametrize("shape", [(0, 5), (0, 0), (3, 0)])
def test_without_truths_or_candidates(shape):
    matches = Matcher(0.7, 0.3, True)(torch.zeros(shape))
    assert matches.dtype == torch.int64 and matches.tolist() == [-1] * shape[1]


def labels_of(positives, negatives, ignored, seed=0):
    ones, twos = positives - positives // 2, positives // 2
    labels = torch.tensor([1] * ones + [2] * twos + [0] * negatives + [-1] * ignored)
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]


@pytest.mark.parametrize(
    "positives, negatives, ignored", [(30, 200, 9), (3, 200, 9), (30, 5, 0), (0, 50, 5), (0, 0, 4), (0, 0, 0)]
)
def test_the_draw_equals_torchvision(positives, negatives, ignored):
    labels = [labels_of(positives, negatives, ignored), labels_of(8, 8, 8)]
    torch.manual_seed(3)
    ours = BalancedPositiveNegativeSampler(32, 0.25)(labels)
    torch.manual_seed(3)
    theirs = TheirSampler(32, 0.25)(labels)
    for mine, other in zip(ours, theirs, strict=True):
        for one, two in zip(mine, other, strict=True):
            assert one.dtype == torch.bool and torch.equal(one, two.bool())


def test_how_many_of_what():
    labels = labels_of(30, 200, 9)
    (positive,), (negative,) = BalancedPositiveNegativeSampler(32, 0.25)([labels])
    assert positive.sum() == 8 and negative.sum() == 24
    assert (labels[positive] >= 1).all() and (labels[negative] == 0).all()
    (positive,), (negative,) = BalancedPositiveNegativeSampler(32, 0.25)([labels_of(3, 200, 0)])
    assert positive.sum() == 3 and negative.sum() == 29, "background fills up what positives are missing"


def test_every_candidate_has_its_chance():
    torch.manual_seed(0)
    labels, drawn = labels_of(10, 40, 5), torch.zeros(55)
    for _ in range(600):
        (positive,), (negative,) = BalancedPositiveNegativeSampler(16, 0.25)([labels])
        drawn += (positive | negative).float() / 600
    torch.testing.assert_close(drawn[labels >= 1], torch.full((10,), 4 / 10), rtol=0, atol=0.1)
    torch.testing.assert_close(drawn[labels == 0], torch.full((40,), 12 / 40), rtol=0, atol=0.1)
    assert drawn[labels < 0].sum() == 0


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: Matcher(0.3, 0.7), "low_threshold"),
        (lambda: Matcher(1.5, 0.7), "low_threshold"),
        (lambda: Matcher(0.7, 0.3)(torch.zeros(4)), "match_quality_matrix"),
        (lambda: BalancedPositiveNegativeSampler(0, 0.25), "batch_size_per_image"),
        (lambda: BalancedPositiveNegativeSampler(3.5, 0.25), "batch_size_per_image"),
        (lambda: BalancedPositiveNegativeSampler(4, 1.25), "positive_fraction"),
        (lambda: BalancedPositiveNegativeSampler(4, 0.25)([torch.zeros(2, 2)]), "matched_idxs"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
