"""Depth, one number for each pixel: which pixels count, what a network learns from them, how wrong it is (lesson 16).

Depth is measured in metres along the camera's axis. Some pixels have none: the sky. And on open ground it grows beyond
all bounds towards the horizon, where one row of pixels covers kilometres; so it is judged up to a cap only.

Source: Eigen, Puhrsch & Fergus 2014, "Depth Map Prediction from a Single Image using a Multi-Scale Deep Network".
"""

import math

import torch
from torch import Tensor

DEPTH_CAP = 50.0  # metres; in toyworld all things are within 15, and nine tenths of the ground within 50


def valid_depth(depth: Tensor, cap: float = DEPTH_CAP) -> Tensor:
    """Which pixels count: true depth is a finite number above 0 and at most `cap` metres.

    Args:
        depth: metres, any shape; infinite (or 0, in some data sets) where there is none.
        cap: metres; infinity: no cap.

    Returns:
        bool, the same shape.

    Raises:
        ValueError: the cap is not above 0.
    """
    if not cap > 0:
        raise ValueError(f"cap is {cap!r}; expected metres, above 0")
    return depth.isfinite() & (depth > 0) & (depth <= cap)


def scale_invariant_log_loss(predicted: Tensor, true: Tensor, valid: Tensor, weight: float = 0.85) -> Tensor:
    """How wrong the logarithm of depth is, with a discount for what a single factor would put right.

    With d = log predicted - log true at the n valid pixels of a picture,

        loss = 1/n Σ d² - weight · (1/n Σ d)²,

    which is the variance of d, plus (1 - weight) times its squared mean. With weight 1 all depths may be wrong by the
    same factor; with weight 0 that counts in full. This is the loss itself, without the square root (and the factor 10)
    with which Lee et al. 2019, "From Big to Small", take it, and whose weight 0.85 is. The slope of a root is infinite
    at 0; here it is 0 where everything is right.

    Args:
        predicted: (H, W) or (B, H, W) metres, above 0 where valid.
        true: the same shape, metres, finite and above 0 where valid.
        valid: the same shape, bool, such as `valid_depth(true)`. What stands elsewhere does not matter.
        weight: 0..1. Eigen et al. take 0.5.

    Returns:
        One number: the mean over the pictures that have a valid pixel. If none has, it is 0, with gradients of 0.

    Raises:
        ValueError: shapes do not fit, a depth is not above 0, or `weight` is not in 0..1.

    Source: Eigen et al. 2014, equation 4.
    """
    _check(predicted, true, valid)
    if predicted.ndim not in (2, 3):
        raise ValueError(f"predicted is {tuple(predicted.shape)}; expected (H, W) or (B, H, W)")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight!r}; expected a number from 0 to 1")
    ones = torch.ones_like(predicted)
    d = torch.where(valid, predicted, ones).log() - torch.where(valid, true, ones).log()  # 0 where not valid
    pixels = valid.sum((-2, -1))  # () or (B,)
    n = pixels.clamp(min=1)
    mean = d.sum((-2, -1), keepdim=True) / n[..., None, None]  # (1, 1) or (B, 1, 1)
    variance = ((d - mean).square() * valid).sum((-2, -1)) / n
    loss = variance + (1 - weight) * mean[..., 0, 0].square()  # () or (B,); 0 for a picture without a valid pixel
    return loss.sum() / (pixels > 0).sum().clamp(min=1)


def depth_errors(predicted: Tensor, true: Tensor, valid: Tensor) -> dict[str, float]:
    """Three of the usual numbers, over all valid pixels together.

    Args:
        predicted, true, valid: see `scale_invariant_log_loss`; any shape.

    Returns:
        {"abs_rel": mean of |predicted - true| / true, "rmse": root of the mean squared error, in metres, "delta1":
        share of pixels where predicted / true and true / predicted are both below 1.25}. nan if no pixel is valid.

    Raises:
        ValueError: shapes differ, or a depth is not above 0.

    Source: Eigen et al. 2014, table 1.
    """
    _check(predicted, true, valid)
    mine, real = predicted[valid].double(), true[valid].double()  # (n,) each
    if not len(real):
        return dict.fromkeys(("abs_rel", "rmse", "delta1"), math.nan)
    error = (mine - real).abs()
    near = torch.maximum(mine / real, real / mine) < 1.25
    return {
        "abs_rel": (error / real).mean().item(),
        "rmse": error.square().mean().sqrt().item(),
        "delta1": near.double().mean().item(),
    }


def _check(predicted: Tensor, true: Tensor, valid: Tensor) -> None:
    for name, each in (("true", true), ("valid", valid)):
        if each.shape != predicted.shape:
            raise ValueError(f"{name} is {tuple(each.shape)}; expected {tuple(predicted.shape)}, as predicted")
    if valid.dtype != torch.bool:
        raise ValueError(f"valid is {valid.dtype}; expected bool")
    for name, each in (("predicted", predicted), ("true", true)):
        depth = each.detach()[valid]
        if not (depth.isfinite() & (depth > 0)).all():
            raise ValueError(f"{name} has a valid pixel whose depth is not a number above 0; expected metres")
