"""Answers to the exercises of lesson 10 as others write them."""

import math
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

# --- focal_loss -------------------------------------------------------------------------------------------------------


def by_torchvision(logits, targets, alpha, gamma):
    return sigmoid_focal_loss(logits, targets, alpha, gamma)


def from_cross_entropy(logits, targets, alpha, gamma):
    ce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (alpha * targets + (1 - alpha) * (1 - targets)) * (1 - torch.exp(-ce)) ** gamma * ce


def one_after_another(logits, targets, alpha, gamma):
    losses = []
    for x, t in zip(logits.flatten(), targets.flatten()):
        if t:
            losses.append(-alpha * (1 - x.sigmoid()) ** gamma * F.logsigmoid(x))
        else:
            losses.append(-(1 - alpha) * x.sigmoid() ** gamma * F.logsigmoid(-x))
    return torch.stack(losses).view_as(logits) if losses else logits


def positive_mask_filled(logits, targets, alpha, gamma):
    out, on = torch.empty_like(logits), targets.bool()
    out[on] = alpha * (1 - logits[on].sigmoid()) ** gamma * F.softplus(-logits[on])
    out[~on] = (1 - alpha) * logits[~on].sigmoid() ** gamma * F.softplus(logits[~on])
    return out


def powers_in_logarithms(logits, targets, alpha, gamma):
    log_p, log_rest = F.logsigmoid(logits), F.logsigmoid(-logits)
    of_objects = alpha * targets * torch.exp(gamma * log_rest) * log_p
    return -of_objects - (1 - alpha) * (1 - targets) * torch.exp(gamma * log_p) * log_rest


def as_in_the_paper(logits, targets, alpha, gamma):
    p = torch.sigmoid(logits)
    p_t = p * targets + (1 - p) * (1 - targets)
    return -(alpha * targets + (1 - alpha) * (1 - targets)) * (1 - p_t) ** gamma * torch.log(p_t)


def with_numpy(logits, targets, alpha, gamma):
    p = 1 / (1 + np.exp(-logits.numpy()))
    p_t = np.where(targets == 1, p, 1 - p)
    return torch.from_numpy(-np.where(targets == 1, alpha, 1 - alpha) * (1 - p_t) ** gamma * np.log(p_t)).float()


def exponential_too_large(logits, targets, alpha, gamma):
    x = torch.where(targets == 1, logits, -logits)
    surprise = torch.log(1 + torch.exp(-x))
    return torch.where(targets == 1, alpha, 1 - alpha) * (1 - x.sigmoid()) ** gamma * surprise


def small_number_added(logits, targets, alpha, gamma):
    p_t = torch.where(targets == 1, logits, -logits).sigmoid()
    return -torch.where(targets == 1, alpha, 1 - alpha) * (1 - p_t) ** gamma * torch.log(p_t + 1e-8)


def clamped(logits, targets, alpha, gamma):
    p = torch.sigmoid(logits).clamp(1e-6, 1 - 1e-6)
    p_t = torch.where(targets == 1, p, 1 - p)
    return -torch.where(targets == 1, alpha, 1 - alpha) * (1 - p_t) ** gamma * p_t.log()


def entropy_of_probabilities(logits, targets, alpha, gamma):
    ce = F.binary_cross_entropy(logits.sigmoid(), targets, reduction="none")
    return torch.where(targets == 1, alpha, 1 - alpha) * (1 - torch.exp(-ce)) ** gamma * ce


def minus_lost(logits, targets, alpha, gamma):
    return -from_cross_entropy(logits, targets, alpha, gamma)


def sigmoid_in_place(logits, targets, alpha, gamma):
    return as_in_the_paper(logits.sigmoid_().logit(), targets, alpha, gamma)


def whole_gamma(logits, targets, alpha, gamma):
    return from_cross_entropy(logits, targets, alpha, int(gamma))


def alpha_by_pos_weight(logits, targets, alpha, gamma):
    ce = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=torch.tensor(alpha), reduction="none")
    return (1 - torch.exp(-ce)) ** gamma * ce


# --- focal_slope ------------------------------------------------------------------------------------------------------


def both_kinds_written_out(logits, targets, gamma):
    p, rest = logits.sigmoid(), (-logits).sigmoid()
    of_objects = rest**gamma * (gamma * p * F.logsigmoid(logits) - rest)
    of_background = p**gamma * (p - gamma * rest * F.logsigmoid(-logits))
    return torch.where(targets == 1, of_objects, of_background)


def in_double_precision_with_numpy(logits, targets, gamma):
    sign = 2 * targets.double().numpy() - 1
    log_p, log_rest = -np.logaddexp(0, -sign * logits.numpy()), -np.logaddexp(0, sign * logits.numpy())
    slope = sign * np.exp(gamma * log_rest) * (gamma * np.exp(log_p) * log_p - np.exp(log_rest))
    return torch.from_numpy(slope).float()


def from_the_cross_entropy(logits, targets, gamma):
    ce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = torch.exp(-ce)
    return (1 - 2 * targets) * (1 - p_t) ** gamma * (gamma * p_t * ce + 1 - p_t)


def logit_after_logit(logits, targets, gamma):
    out = torch.zeros_like(logits).flatten()
    for i, (x, t) in enumerate(zip(logits.flatten().tolist(), targets.flatten().tolist())):
        z = x if t else -x
        p, rest = 1 / (1 + math.exp(-z)), 1 / (1 + math.exp(z))
        slope = rest**gamma * (gamma * p * math.log(p) - rest)
        out[i] = slope if t else -slope
    return out.view_as(logits)


def probability_kept_from_0_and_1(logits, targets, gamma):
    sign = 2 * targets - 1
    p_t = (sign * logits).sigmoid().clamp(1e-7, 1 - 1e-7)
    return sign * (1 - p_t) ** gamma * (gamma * p_t * p_t.log() + p_t - 1)


def by_autograd(logits, targets, gamma):
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(sigmoid_focal_loss(leaf, targets, -1, gamma).sum(), leaf)[0]


def by_autograd_with_log(logits, targets, gamma):
    leaf = logits.clone().requires_grad_()
    p_t = torch.where(targets == 1, leaf.sigmoid(), 1 - leaf.sigmoid())
    (-((1 - p_t) ** gamma) * p_t.log()).sum().backward()
    return leaf.grad


def downhill(logits, targets, gamma):
    return -both_kinds_written_out(logits, targets, gamma)


def only_the_size(logits, targets, gamma):
    return both_kinds_written_out(logits, targets, gamma).abs()


def sign_forgotten(logits, targets, gamma):
    p_t = torch.where(targets == 1, logits, -logits).sigmoid()
    log_p = F.logsigmoid(torch.where(targets == 1, logits, -logits))
    return (1 - p_t) ** gamma * (gamma * p_t * log_p - (1 - p_t))


def by_a_small_step(logits, targets, gamma):
    more, less = (sigmoid_focal_loss(logits + step, targets, -1, gamma) for step in (1e-3, -1e-3))
    return (more - less) / 2e-3


# --- alpha_from_counts ------------------------------------------------------------------------------------------------


def the_rest_of_positives(positives, negatives):
    return 1 - positives / (positives + negatives)


def from_the_odds(positives, negatives):
    return 1 / (1 + positives / negatives)


def exactly(positives, negatives):
    return float(Fraction(negatives, positives + negatives))


def numpys(positives, negatives):
    return np.array([negatives, positives])[0] / (positives + negatives)


def inverse_frequencies(positives, negatives):
    return (1 / positives) / (1 / positives + 1 / negatives)


def two_places(positives, negatives):
    return round(negatives / (positives + negatives), 2)


def an_alpha_in_a_tensor(positives, negatives):
    return torch.tensor(negatives / (positives + negatives))


# --- cumulative_share -------------------------------------------------------------------------------------------------


def numpys_cumsum(losses):
    so_far = np.sort(losses.numpy()).cumsum()
    return torch.from_numpy(so_far / so_far[-1] if so_far.any() else so_far)


def not_a_number_made_0(losses):
    rising, _ = torch.sort(losses)
    return torch.nan_to_num(torch.cumsum(rising, 0) / rising.sum())


def running_total(losses):
    total, so_far, shares = sum(losses.tolist()), 0.0, []
    for loss in sorted(losses.tolist()):
        so_far += loss
        shares.append(so_far / total if total else 0.0)
    return torch.tensor(shares)


def shares_first(losses):
    total = losses.sum()
    return (losses / total if total > 0 else losses).sort().values.cumsum(0)


def a_millionth_added(losses):
    return losses.sort().values.cumsum(0) / (losses.sum() + 1e-6)


def at_least_1(losses):
    return losses.sort().values.cumsum(0) / losses.sum().clamp(min=1)


def put_back(losses):
    rising, order = losses.sort()
    out = torch.zeros_like(losses)
    out[order] = rising.cumsum(0)
    return out / losses.sum().clamp(min=1e-12)


def sorted_in_place(losses):
    losses[:] = losses.sort().values
    return not_a_number_made_0(losses)


def a_list(losses):
    return running_total(losses).tolist()


def in_percent(losses):
    return 100 * shares_first(losses)


def last_without_looking(losses):
    so_far = losses.sort().values.cumsum(0)
    return torch.zeros_like(so_far) if so_far[-1] == 0 else so_far / so_far[-1]


def nothing_is_1(losses):
    return torch.nan_to_num(losses.sort().values.cumsum(0) / losses.sum(), nan=1.0)


def largest_first_turned(losses):
    return shares_first(losses) + losses.sort(descending=True).values.cumsum(0).flip(0)


# --- prior_bias -------------------------------------------------------------------------------------------------------


def difference_of_logarithms(prior):
    return math.log(prior) - math.log(1 - prior)


def one_over(prior):
    return -math.log(1 / prior - 1)


def pytorchs_logit(prior):
    return torch.logit(torch.tensor(prior)).item()


def numpys_log(prior):
    return np.log(prior / (1 - prior))


def base_10(prior):
    return math.log10(prior / (1 - prior))


def base_2(prior):
    return math.log2(prior / (1 - prior))


def half_of_it(prior):
    return math.atanh(2 * prior - 1)


def small_number_in_the_logarithm(prior):
    return math.log(prior / (1 - prior) + 1e-6)


def a_bias_in_a_tensor(prior):
    return -torch.log(torch.tensor((1 - prior) / prior))


# --- hard_negatives ---------------------------------------------------------------------------------------------------


def mask_of(places, count):
    mask = torch.zeros(count, dtype=torch.bool)
    mask[places] = True
    return mask


def how_many(positive, ratio):
    return min(ratio * int(positive.sum()), int((~positive).sum()))


def positives_last(losses, positive, ratio):
    order = losses.masked_fill(positive, -torch.inf).sort(descending=True, stable=True).indices
    return mask_of(order[: how_many(positive, ratio)], len(losses))


def by_ranks(losses, positive, ratio):
    ranks = losses.masked_fill(positive, -1).argsort(descending=True, stable=True).argsort()
    return (ranks < ratio * positive.sum()) & ~positive


def negatives_alone(losses, positive, ratio):
    places = (~positive).nonzero().flatten()
    hardest = losses[places].argsort(descending=True, stable=True)[: ratio * int(positive.sum())]
    return mask_of(places[hardest], len(losses))


def sorted_by_python(losses, positive, ratio):
    negatives = [i for i in range(len(losses)) if not positive[i]]
    hardest = sorted(negatives, key=lambda i: -losses[i].item())[: ratio * sum(positive.tolist())]
    return torch.tensor([i in hardest for i in range(len(losses))], dtype=torch.bool)


def numpys_order(losses, positive, ratio):
    order = np.argsort(-np.where(positive, -1, losses), kind="stable")
    return mask_of(order[: how_many(positive, ratio)], len(losses))


def by_topk(losses, positive, ratio):
    hardest = losses.masked_fill(positive, -torch.inf).topk(how_many(positive, ratio)).indices
    return mask_of(hardest, len(losses))


def backwards(losses, positive, ratio):
    order = np.argsort(np.where(positive, -1, losses), kind="stable")[::-1]
    return mask_of(order[: how_many(positive, ratio)].copy(), len(losses))


def the_last_ones(losses, positive, ratio):
    order = losses.masked_fill(positive, -1).argsort(stable=True)
    return mask_of(order[-how_many(positive, ratio) :], len(losses))


def limit(losses, positive, ratio):
    count = how_many(positive, ratio)
    return losses[~positive].sort(descending=True).values[count - 1] if count else torch.tensor(torch.inf)


def as_hard_as_the_last(losses, positive, ratio):
    return (losses >= limit(losses, positive, ratio)) & ~positive


def harder_than_the_last(losses, positive, ratio):
    return (losses > limit(losses, positive, ratio)) & ~positive


def limit_for_positives_too(losses, positive, ratio):
    return losses >= limit(losses, positive, ratio)


def in_the_shorter_list(losses, positive, ratio):
    return mask_of(losses[~positive].argsort(descending=True)[: how_many(positive, ratio)], len(losses))


def too_many_of_the_list(losses, positive, ratio):
    places = torch.where(~positive)[0]
    return mask_of(places[losses[places].topk(ratio * int(positive.sum())).indices], len(losses))


def at_least_one_positive(losses, positive, ratio):
    order = losses.masked_fill(positive, -1).argsort(descending=True, stable=True)
    count = min(ratio * max(1, int(positive.sum())), int((~positive).sum()))
    return mask_of(order[:count], len(losses))


def every_negative_for_no_positive(losses, positive, ratio):
    return positives_last(losses, positive, ratio) if positive.any() else ~positive


def losses_of_positives_changed(losses, positive, ratio):
    losses[positive] = -1
    return positives_last(losses, positive, ratio)


def zeros_and_ones(losses, positive, ratio):
    return positives_last(losses, positive, ratio).int()


def any_negatives(losses, positive, ratio):
    places = torch.where(~positive)[0]
    return mask_of(places[torch.randperm(len(places))[: how_many(positive, ratio)]], len(losses))


WRONG = {
    "focal_loss": [
        ("infinite or NaN for sure answers", as_in_the_paper),
        ("infinite or NaN for sure answers", with_numpy),
        ("infinite or NaN for sure answers", exponential_too_large),
        ("cut off for sure answers", small_number_added),
        ("cut off for sure answers", clamped),
        ("cut off for sure answers", entropy_of_probabilities),
        ("sign flipped", minus_lost),
        ("input changed in place", sigmoid_in_place),
        (None, whole_gamma),
        (None, alpha_by_pos_weight),
    ],
    "focal_slope": [
        ("infinite or NaN for sure answers", by_autograd),
        ("infinite or NaN for sure answers", by_autograd_with_log),
        ("sign flipped", downhill),
        ("absolute value", only_the_size),
        ("background pulled up", sign_forgotten),
        (None, by_a_small_step),
    ],
    "alpha_from_counts": [
        ("a tensor instead of a number", an_alpha_in_a_tensor),
        (None, two_places),
    ],
    "cumulative_share": [
        ("the last is not 1", a_millionth_added),
        ("the last is not 1", at_least_1),
        ("right numbers in the wrong places", put_back),
        ("input changed in place", sorted_in_place),
        ("wrong type", a_list),
        ("off by a constant factor", in_percent),
        ("crashes for some inputs", last_without_looking),
        ("1 where every loss is 0", nothing_is_1),
        (None, largest_first_turned),
    ],
    "prior_bias": [
        ("logarithm to base 10", base_10),
        ("logarithm to base 2", base_2),
        ("off by a constant factor", half_of_it),
        ("a tensor instead of a number", a_bias_in_a_tensor),
        (None, small_number_in_the_logarithm),
    ],
    "hard_negatives": [
        ("another one of a tie", by_topk),
        ("another one of a tie", backwards),
        ("the last 0 are all", the_last_ones),
        ("all that are as hard as the last", as_hard_as_the_last),
        ("the last one left out", harder_than_the_last),
        ("some positives in the mask", limit_for_positives_too),
        ("places in the shorter list", in_the_shorter_list),
        ("more asked for than there are", too_many_of_the_list),
        ("some for no positive too", at_least_one_positive),
        ("some for no positive too", every_negative_for_no_positive),
        ("input changed in place", losses_of_positives_changed),
        ("wrong dtype", zeros_and_ones),
        ("changes from call to call", any_negatives),
    ],
}

RIGHT = {
    "focal_loss": [
        by_torchvision,
        from_cross_entropy,
        one_after_another,
        positive_mask_filled,
        powers_in_logarithms,
    ],
    "focal_slope": [
        both_kinds_written_out,
        in_double_precision_with_numpy,
        from_the_cross_entropy,
        logit_after_logit,
        probability_kept_from_0_and_1,
    ],
    "alpha_from_counts": [the_rest_of_positives, from_the_odds, exactly, numpys, inverse_frequencies],
    "cumulative_share": [numpys_cumsum, not_a_number_made_0, running_total, shares_first],
    "prior_bias": [difference_of_logarithms, one_over, pytorchs_logit, numpys_log],
    "hard_negatives": [positives_last, by_ranks, negatives_alone, sorted_by_python, numpys_order],
}
