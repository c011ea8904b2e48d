"""How well something fits a phrase of which each word was judged (lesson 19)."""

from torch import Tensor

POOLS = {"mean": "mean", "min": "amin", "max": "amax"}  # what a phrase makes of its words, in PyTorch's words


def phrase_scores(token_logits: Tensor, phrase_of_token: Tensor, pool: str = "mean") -> Tensor:
    """How well each query fits each phrase: the probabilities of the phrase's words, pooled.

    Args:
        token_logits: (Q, T).
        phrase_of_token: (T,) int64, to which phrase a word belongs, from 0; -1: no word.
        pool: "max": the best word counts, as in the authors' demo; "min": the worst word counts; "mean": all do, as in
            their evaluation on COCO.

    Returns:
        (Q, P) in 0..1.

    Raises:
        ValueError: shapes do not fit, or `pool` is another word.
    """
    if token_logits.ndim != 2 or phrase_of_token.shape != token_logits.shape[1:]:
        came = f"{tuple(phrase_of_token.shape)} for token_logits {tuple(token_logits.shape)}"
        raise ValueError(f"phrase_of_token is {came}; expected (T,) for (Q, T)")
    if pool not in POOLS:
        raise ValueError(f"pool is {pool!r}; expected one of {', '.join(POOLS)}")
    words = phrase_of_token >= 0
    number, probability = phrase_of_token[words], token_logits[:, words].sigmoid()  # (W,), (Q, W)
    scores = probability.new_zeros(len(probability), int(number.max()) + 1 if len(number) else 0)  # (Q, P)
    return scores.scatter_reduce(1, number.expand_as(probability), probability, POOLS[pool], include_self=False)
