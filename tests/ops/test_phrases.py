"""Words make phrases."""

import pytest
import torch

from lib.ops.phrases import phrase_scores


def test_phrases_by_hand():
    probability = torch.tensor([[0.9, 0.5, 0.2, 0.3, 0.8], [0.1, 0.3, 0.7, 0.9, 0.4]])
    logits, phrases = probability.logit(), torch.tensor([1, 1, -1, 0, 1])
    logits[:, 2] = float("-inf")
    for pool, expected in (
        ("max", [[0.3, 0.9], [0.9, 0.4]]),
        ("min", [[0.3, 0.5], [0.9, 0.1]]),
        ("mean", [[0.3, 2.2 / 3], [0.9, 0.8 / 3]]),
    ):
        torch.testing.assert_close(phrase_scores(logits, phrases, pool), torch.tensor(expected))
    torch.testing.assert_close(phrase_scores(logits, phrases), phrase_scores(logits, phrases, "mean"))
    assert phrase_scores(logits, torch.full((5,), -1)).shape == (2, 0)
    assert phrase_scores(logits[:0], phrases).shape == (0, 2)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: phrase_scores(torch.zeros(2, 3), torch.zeros(2)), "phrase_of_token"),
        (lambda: phrase_scores(torch.zeros(3), torch.zeros(3)), "phrase_of_token"),
        (lambda: phrase_scores(torch.zeros(2, 3), torch.zeros(3), "sum"), "pool"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
