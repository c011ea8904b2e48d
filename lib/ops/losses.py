"""Losses: what a network is told about every pixel (lessons 03 and 04), or about every place of a detector (lesson 10).

For pixels, scores (logits) are (B, K, H, W), classes (B, H, W) whole numbers 0..K-1; pixels with class `ignore_index`
are left out and get no gradient. For places, any shape will do.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.ops.checks import check_tensor
from lib.ops.dtypes import widened


def cross_entropy(logits: Tensor, target: Tensor, ignore_index: int = 255, weight: Tensor | None = None) -> Tensor:
    """The mean surprise at the true class, -log of its softmax probability, over all pixels that count.

    Args:
        logits: (B, K, H, W) scores.
        target: (B, H, W) classes.
        weight: (K,), how much a pixel of each class counts; the mean is then a weighted one. None: all the same.

    Returns:
        One number, equal to `F.cross_entropy(logits, target, weight, ignore_index=ignore_index)`. If every pixel is
        ignored it is 0, with gradients of 0, where `F.cross_entropy` gives nan. float16 scores give a float32.

    Raises:
        ValueError: shapes do not fit, or a counted class is not in 0..K-1.

    Source: Long, Shelhamer & Darrell 2015, section 4.3 ("per-pixel multinomial logistic loss"); lesson 03.
    """
    counted, classes = _check(logits, target, ignore_index)
    if weight is not None and weight.shape != logits.shape[1:2]:
        raise ValueError(f"weight is {tuple(weight.shape)}; expected ({logits.shape[1]},), one number for each class")
    logits = torch.where(counted[:, None], widened(logits), 0)  # (B, K, H, W); a NaN times 0 would stay a NaN
    log_probability = logits - logits.logsumexp(dim=1, keepdim=True)  # (B, K, H, W)
    of_truth = log_probability.gather(1, classes[:, None])[:, 0]  # (B, H, W)
    share = counted.to(logits.dtype)  # (B, H, W), 0 where ignored
    if weight is not None:
        share = share * weight.to(logits)[classes]  # (B, H, W)
    total = share.sum()
    return -(of_truth * share).sum() / torch.where(total > 0, total, 1)


def dice_loss(logits: Tensor, target: Tensor, ignore_index: int = 255, smooth: float = 1.0) -> Tensor:
    """One minus the soft Dice overlap, averaged over classes: each class counts the same, however few its pixels.

    For one class, with its softmax probability p and its truth g (0 or 1) at every pixel of the batch,

        dice = (2 Σ p·g + smooth) / (Σ p² + Σ g² + smooth).

    The mean is over the classes that the batch holds at least one counted pixel of. A class that is nowhere in the
    batch has no overlap to gain; probability wasted on it is missing from the classes that are there.

    Args:
        logits: (B, K, H, W) scores.
        target: (B, H, W) classes.
        smooth: keeps a class of very few pixels from swinging between 0 and 1. It is counted in pixels.

    Returns:
        One number, 0 for a perfect answer, near 1 for the worst. If every pixel is ignored it is 0, with gradients
        of 0.

    Raises:
        ValueError: shapes do not fit, a counted class is not in 0..K-1, or `smooth` is negative.

    Source: Milletari, Navab & Ahmadi 2016, "V-Net", section 3, for one foreground class; the squares are theirs, and
    many later versions leave them out. The mean over classes and `smooth` are common additions. Lesson 04.
    """
    counted, classes = _check(logits, target, ignore_index)
    if smooth < 0:
        raise ValueError(f"smooth is {smooth!r}; expected a number of at least 0")
    logits = torch.where(counted[:, None], widened(logits), 0)  # (B, K, H, W), as in `cross_entropy`
    pixels = counted[:, None].to(logits.dtype)  # (B, 1, H, W), 0 where ignored
    probability = logits.softmax(dim=1) * pixels  # (B, K, H, W)
    truth = torch.zeros_like(logits).scatter(1, classes[:, None], pixels)  # (B, K, H, W), one-hot
    axes = [axis for axis in range(logits.ndim) if axis != 1]  # all but the classes
    overlap = (probability * truth).sum(axes)  # (K,)
    size = truth.sum(axes)  # (K,): Σ g² = Σ g
    dice = (2 * overlap + smooth) / (probability.square().sum(axes) + size + smooth).clamp(min=1e-12)
    present = (size > 0).to(logits.dtype)  # (K,)
    return ((1 - dice) * present).sum() / present.sum().clamp(min=1)


def sigmoid_focal_loss(
    inputs: Tensor, targets: Tensor, alpha: float = 0.25, gamma: float = 2.0, reduction: str = "none"
) -> Tensor:
    """Binary cross-entropy in which what is already right counts less.

    With p the probability that the network gives to the truth, a number of the result is

        -weight · (1 - p)^gamma · log p,      weight = alpha where the truth is 1, 1 - alpha where it is 0.

    Equal to `torchvision.ops.sigmoid_focal_loss`. Both powers of it are taken of logarithms, so that nothing becomes
    infinite or NaN, gradients included, however sure an answer is and whatever `gamma`.

    Args:
        inputs: logits of any shape.
        targets: 0 or 1, of the same shape, floats.
        alpha: how much the truth 1 counts; negative: all count the same, with weight 1.
        gamma: how fast easy answers lose their weight; 0 is cross-entropy.
        reduction: "none", "mean" or "sum".

    Raises:
        ValueError: shapes differ, `alpha` is above 1, `gamma` is negative, or the reduction is another word.

    Source: Lin, Goyal, Girshick, He & Dollár 2017, "Focal Loss for Dense Object Detection", equation 5.
    """
    _check_places(inputs, targets)
    _check_focal(alpha, gamma)
    for_truth = torch.where(targets > 0, inputs, -inputs)  # the logit of what is true: p = σ(for_truth)
    loss = -F.logsigmoid(for_truth) * (gamma * F.logsigmoid(-for_truth)).exp()  # 1 - p = σ(-for_truth)
    if alpha >= 0:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return _reduced(loss, reduction)


def sigmoid_focal_slope(inputs: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """The derivative of -(1 - p)^gamma · log p with respect to each logit, with p the probability given to the truth.

    For the truth 1 it is (1 - p)^gamma · (gamma · p · log p + p - 1), for the truth 0 the opposite. With gamma 0 that
    is σ(logit) minus the truth, the slope of cross-entropy.

    Args:
        inputs: logits of any shape.
        targets: 0 or 1, of the same shape, floats.
        gamma: as in `sigmoid_focal_loss`; its `alpha` is left out.

    Raises:
        ValueError: shapes differ, or `gamma` is negative.

    Source: Lin et al. 2017, appendix B; lesson 10.
    """
    _check_places(inputs, targets)
    _check_focal(0.0, gamma)
    sign = torch.where(targets > 0, 1.0, -1.0).to(inputs)
    p = (sign * inputs).sigmoid()
    return sign * (1 - p) ** gamma * (gamma * p * F.logsigmoid(sign * inputs) + p - 1)


def softmax_focal_loss(inputs: Tensor, targets: Tensor, gamma: float = 2.0, reduction: str = "none") -> Tensor:
    """The same for classes of which one is true: (1 - p)^gamma times the cross-entropy, p that of the true class.

    Args:
        inputs: (N, K) logits.
        targets: (N,) int64 classes, 0..K-1.
        gamma, reduction: see `sigmoid_focal_loss`. With gamma 0 it is `F.cross_entropy`.

    Returns:
        (N,), or one number.

    Raises:
        ValueError: shapes do not fit, `gamma` is negative, or the reduction is another word.
    """
    if inputs.ndim != 2 or targets.shape != inputs.shape[:1]:
        raise ValueError(f"inputs is {tuple(inputs.shape)}, targets {tuple(targets.shape)}; expected (N, K) and (N,)")
    _check_focal(0.0, gamma)
    surprise = F.cross_entropy(inputs, targets, reduction="none")  # (N,)
    wrong = (1 - (-surprise).exp()).clamp(min=torch.finfo(surprise.dtype).tiny)  # the slope of 0^gamma may be infinite
    return _reduced(surprise * wrong**gamma, reduction)


def hard_negatives(loss: Tensor, positive: Tensor, ratio: float = 3.0, least: int = 0) -> Tensor:
    """Which places to learn from: all positive ones, and the negative ones with the largest loss, `ratio` to one.

    Of equal losses the earlier places are taken.

    Args:
        loss: (N,) of each place.
        positive: (N,) bool.
        ratio: negatives for each positive.
        least: at least so many negatives (of those that there are), also where nothing is positive.

    Returns:
        (N,) bool.

    Raises:
        ValueError: shapes differ, or a number is negative.

    Source: Liu et al. 2016, "SSD: Single Shot MultiBox Detector", section 2.2, with a ratio of 3.
    """
    if loss.ndim != 1 or positive.shape != loss.shape:
        raise ValueError(f"loss is {tuple(loss.shape)}, positive {tuple(positive.shape)}; expected (N,) twice")
    if ratio < 0 or least < 0:
        raise ValueError(f"ratio is {ratio!r} and least {least!r}; expected numbers of at least 0")
    wanted = max(int(ratio * int(positive.sum())), least)
    among_negatives = loss.detach().masked_fill(positive, float("-inf"))  # (N,)
    wanted = min(wanted, int((~positive).sum()))
    hardest = among_negatives.argsort(descending=True, stable=True)[:wanted]  # `topk` leaves the order of ties open
    chosen = positive.clone()
    chosen[hardest] = True
    return chosen


def _check_places(inputs: Tensor, targets: Tensor) -> None:
    if inputs.shape != targets.shape:
        raise ValueError(f"targets is {tuple(targets.shape)}; expected {tuple(inputs.shape)}, as many as inputs")


def _check_focal(alpha: float, gamma: float) -> None:
    if alpha > 1:
        raise ValueError(f"alpha is {alpha!r}; expected a number from 0 to 1, or a negative one for no weight")
    if gamma < 0:
        raise ValueError(f"gamma is {gamma!r}; expected a number of at least 0")


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f'reduction is {reduction!r}; expected "none", "mean" or "sum"')
    return loss if reduction == "none" else loss.mean() if reduction == "mean" else loss.sum()


def _check(logits: Tensor, target: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Which pixels count, (B, H, W) bool, and the classes as int64 with 0 at those that do not."""
    check_tensor("logits", logits, "(B, K, H, W)")
    check_tensor("target", target, "(B, H, W)")
    if logits.ndim < 2 or not logits.is_floating_point():
        raise ValueError(f"logits is {tuple(logits.shape)} {logits.dtype}; expected floats (B, K, H, W)")
    if target.is_floating_point():
        raise ValueError(f"target is {target.dtype}; expected class numbers")
    expected = (logits.shape[0], *logits.shape[2:])
    if target.shape != expected:
        raise ValueError(f"target is {tuple(target.shape)}; expected {expected} for logits {tuple(logits.shape)}")
    counted = target != ignore_index
    classes = torch.where(counted, target, 0).long()
    if classes.numel() and not 0 <= classes.min() <= classes.max() < logits.shape[1]:
        raise ValueError(
            f"target holds {classes.min().item()}..{classes.max().item()}; expected classes "
            f"0..{logits.shape[1] - 1}, or {ignore_index} to ignore"
        )
    return counted, classes
