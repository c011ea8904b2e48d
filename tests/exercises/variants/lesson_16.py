"""Answers to the exercises of lesson 16 as others write them."""

import math
from collections import Counter
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import nn

# --- feature_gate -----------------------------------------------------------------------------------------------------


def by_linear(x, weight, bias):
    return x * torch.sigmoid(F.linear(x, weight, bias))


def by_matrices(x, weight, bias):
    return (x @ weight.T + bias).sigmoid() * x


def by_einsum_of_vectors(x, weight, bias, equation="...d,ed->...e"):
    return x / (1 + torch.exp(-torch.einsum(equation, x, weight) - bias))


def vector_after_vector(x, weight, bias):
    rows = x.reshape(-1, len(bias))
    passed = torch.zeros_like(rows)
    for i in range(len(rows)):
        passed[i] = rows[i] * torch.sigmoid(weight @ rows[i] + bias)
    return passed.view(x.shape)


def gated_linear_unit(x, weight, bias):
    return F.glu(torch.cat([x, F.linear(x, weight, bias)], dim=-1), dim=-1)


def as_a_convolution(x, weight, bias):
    maps = x.reshape(-1, len(bias), 1, 1)
    return (maps * F.conv2d(maps, weight[:, :, None, None], bias).sigmoid()).reshape(x.shape)


def by_half_a_tanh(x, weight, bias):
    answer = (weight.double() * x.double().unsqueeze(-2)).sum(-1) + bias
    return x * (1 + torch.tanh(answer / 2)) / 2


def a_layer_of_its_own(x, weight, bias, share=torch.sigmoid):
    layer = nn.Linear(len(bias), len(bias))
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return x * share(layer(x))


def a_layer_filled(x, weight, bias):
    layer = nn.Linear(len(bias), len(bias))
    layer.weight.data, layer.bias.data = weight, bias
    return x * layer(x).sigmoid()


def a_new_layer(x, weight, bias):
    return x * nn.Linear(len(bias), len(bias))(x).sigmoid()


def x_changed(x, weight, bias):
    share = by_linear(x, weight, bias) / x
    x *= share
    return x


def shares_cut_off(x, weight, bias):
    with torch.no_grad():
        share = F.linear(x, weight, bias).sigmoid()
    return x * share


def one_axis_in_front(x, weight, bias):
    B, Q, D = x.shape
    return by_linear(x.view(B * Q, D), weight, bias).view(B, Q, D)


# --- depth_maps -------------------------------------------------------------------------------------------------------


def inner_products(depth_embed, pixel_embed):
    return torch.einsum("bqc,bchw->bqhw", depth_embed, pixel_embed)


def by_powers(depth_embed, pixel_embed, near, far, link=torch.sigmoid):
    return near * (far / near) ** link(inner_products(depth_embed, pixel_embed))


def by_logarithms(depth_embed, pixel_embed, near, far, log=math.log, power=torch.exp):
    B, C, H, W = pixel_embed.shape
    s = torch.bmm(depth_embed, pixel_embed.view(B, C, H * W)).sigmoid()
    return power(log(near) + s * (log(far) - log(near))).view(B, -1, H, W)


def by_lerp(depth_embed, pixel_embed, near, far, way=torch.lerp):
    s = (depth_embed[..., None, None] * pixel_embed[:, None]).sum(2).sigmoid()
    return way(torch.tensor(near).log(), torch.tensor(far).log(), s).exp()


def by_two_powers(depth_embed, pixel_embed, near, far):
    """In double precision."""
    s = (depth_embed.double() @ pixel_embed.double().flatten(2)).unflatten(2, pixel_embed.shape[2:]).sigmoid()
    return near ** (1 - s) * far**s


def query_after_query(depth_embed, pixel_embed, near, far):
    pictures = []
    for queries, pixels in zip(depth_embed, pixel_embed):
        x = F.conv2d(pixels[None], queries[:, :, None, None])[0]
        pictures.append(near * torch.exp(math.log(far / near) / (1 + torch.exp(-x))))
    return torch.stack(pictures)


def by_ten(depth_embed, pixel_embed, near, far):
    return by_logarithms(depth_embed, pixel_embed, near, far, math.log10, lambda x: 10**x)


def linear_way(depth_embed, pixel_embed, near, far):
    s = torch.sigmoid(inner_products(depth_embed, pixel_embed))
    return (1 - s) * near + s * far


def disparity(depth_embed, pixel_embed, near, far):
    """As other networks do: from 1 / far to 1 / near."""
    s = torch.sigmoid(inner_products(depth_embed, pixel_embed))
    return 1 / (1 / far + (1 / near - 1 / far) * s)


def bounded(depth_embed, pixel_embed, near, far):
    return inner_products(depth_embed, pixel_embed).exp().clamp(near, far)


def as_softplus(depth_embed, pixel_embed, near, far):
    return F.softplus(inner_products(depth_embed, pixel_embed))


def without_history(depth_embed, pixel_embed, near, far):
    s = torch.special.expit(inner_products(depth_embed, pixel_embed)).numpy()
    return torch.from_numpy(near * (far / near) ** s)


def by_hand_without_bound(depth_embed, pixel_embed, near, far):
    return near + linear_way(depth_embed, pixel_embed, 0.0, far)


# --- depth_loss -------------------------------------------------------------------------------------------------------


def mask_after_mask(depths, true, valid, discount, nothing=lambda depths: depths.sum() * 0):
    losses = []
    for said, real, counts in zip(depths, true, valid):
        if counts.any():
            d = said[counts].log() - real[counts].log()
            losses.append((d**2).mean() - discount * d.mean() ** 2)
    return torch.stack(losses).mean() if losses else nothing(depths)


def all_at_once(depths, true, valid, discount, safe=torch.where, least=1, count=lambda n: (n > 0).sum()):
    """Pixels that are not valid are 1 m, in both."""
    d = safe(valid, depths, 1.0).log() - safe(valid, true, 1.0).log()
    n = valid.sum(dim=(1, 2))
    mean, of_squares = (x.sum(dim=(1, 2)) / n.clamp(min=least) for x in (d, d.square()))
    losses = of_squares - discount * mean**2
    return losses.sum() / count(n).clamp(min=least)


def log_hidden(depths, true, valid, discount):
    """The true depth has no gradient, so that what `where` hides of it does no harm."""
    d = torch.where(valid, depths.log() - true.log(), 0).flatten(1)
    n = valid.flatten(1).sum(1)
    kept = n > 0
    losses = d[kept].square().sum(1) / n[kept] - discount * (d[kept].sum(1) / n[kept]) ** 2
    return losses.mean() if kept.any() else depths[valid].sum()


def by_variance(depths, true, valid, discount, correction=0):
    """In double precision."""
    losses = torch.zeros(0, dtype=torch.float64)
    for i in range(len(valid)):
        d = torch.log(depths[i][valid[i]].double() / true[i][valid[i]].double())
        if len(d):
            losses = torch.cat([losses, (d.var(correction=correction) + (1 - discount) * d.mean() ** 2)[None]])
    return losses.mean() if len(losses) else 0 * depths.double().sum()


def true_put_right(depths, true, valid, discount, others=float("nan")):
    true = true.masked_fill(~valid, 1.0)
    d = (depths / true).log().masked_fill(~valid, others).flatten(1)
    d = d[valid.flatten(1).any(1)]
    if len(d) == 0:
        return (0 * depths).sum()
    return (d.square().nanmean(1) - discount * d.nanmean(1).square()).mean()


def with_index_add(depths, true, valid, discount):
    """Valid pixels in one row, each with the number of its mask."""
    number = valid.nonzero()[:, 0]
    d = depths[valid].log() - true[valid].log()
    n = torch.bincount(number, minlength=len(valid)).clamp(min=1)
    of_squares, mean = (torch.zeros(len(valid)).index_add(0, number, x) / n for x in (d**2, d))
    return (of_squares - discount * mean**2).sum() / max(len(number.unique()), 1)


def times_valid(depths, true, valid, discount):
    d = (depths.log() - true.log()) * valid
    n = valid.sum((1, 2)).clamp(min=1)
    losses = d.square().sum((1, 2)) / n - discount * (d.sum((1, 2)) / n) ** 2
    return losses.sum() / (valid.sum((1, 2)) > 0).sum().clamp(min=1)


def quotient_hidden(depths, true, valid, discount):
    d = torch.where(valid, torch.log(depths / true), torch.zeros_like(depths))
    return all_at_once(d.exp(), torch.ones_like(d), valid, discount)


def all_together(depths, true, valid, discount):
    d = depths[valid].log() - true[valid].log()
    return d.pow(2).mean() - discount * d.mean() ** 2


def zeros_in_the_mean(depths, true, valid, discount):
    d = torch.where(valid, depths.log() - true.log(), 0)
    return (d.square().mean((1, 2)) - discount * d.mean((1, 2)) ** 2).mean()


def zeros_in_the_whole_mean(depths, true, valid, discount):
    d = torch.where(valid, depths.log() - true.log(), 0)
    return d.square().mean() - discount * d.mean() ** 2


def mse(depths, true, valid, discount):
    return F.mse_loss(depths[valid], true[valid])


def metres_at_once(depths, true, valid, discount):
    d = torch.where(valid, depths - true, 0)
    return all_at_once(d.exp(), torch.ones_like(d), valid, discount)


def true_overwritten(depths, true, valid, discount):
    true[~valid] = 1
    return true_put_right(depths, true, valid, discount)


def as_lee_et_al(depths, true, valid, discount):
    return 10 * mask_after_mask(depths, true, valid, discount).sqrt()


def list_of_none(depths, true, valid, discount):
    return mask_after_mask(depths, true, valid, discount, nothing=lambda depths: torch.stack([]).mean())


# --- picture_depth ----------------------------------------------------------------------------------------------------


def as_the_task_says(logits, masks, depths, of=lambda logits: 1 - logits.softmax(-1)[:, -1], tiny=0.0):
    weights = of(logits)[:, None, None] * masks.sigmoid()
    weights = weights / (weights.sum(0, keepdim=True) + tiny)
    return torch.exp((weights * torch.log(depths)).sum(0))


def in_logarithms(logits, masks, depths):
    something = logits[:, :-1].logsumexp(1) - logits.logsumexp(1)
    weights = F.softmax(something.view(-1, 1, 1) + F.logsigmoid(masks), dim=0)
    return torch.einsum("qhw,qhw->hw", weights, depths.log()).exp()


def product_of_powers(logits, masks, depths):
    sure = F.softmax(logits, dim=1)[:, :-1].sum(1)
    weights = F.normalize(torch.einsum("q,qhw->qhw", sure, torch.sigmoid(masks)), p=1, dim=0)
    return torch.prod(depths**weights, dim=0)


def query_by_query_with_sums(logits, masks, depths, back=torch.exp, there=torch.log):
    above, below = torch.zeros(masks.shape[1:]), torch.zeros(masks.shape[1:])
    for scores, mask, depth in zip(logits, masks, depths):
        weight = (1 - torch.softmax(scores, 0)[-1]) / (1 + torch.exp(-mask))
        above += weight * there(depth)
        below += weight
    return back(above / below)


def to_base_10(logits, masks, depths):
    return query_by_query_with_sums(logits.double(), masks.double(), depths.double(), lambda x: 10**x, torch.log10)


def careful_with_1e_8(logits, masks, depths):
    return as_the_task_says(logits, masks, depths, tiny=1e-8)


def plain_average(logits, masks, depths):
    return query_by_query_with_sums(logits, masks, depths, lambda x: x, lambda x: x)


def sure_of_its_best_class(logits, masks, depths):
    return as_the_task_says(logits, masks, depths, of=lambda logits: logits.softmax(1)[:, :-1].max(1).values)


def classes_alone_in_the_softmax(logits, masks, depths):
    return as_the_task_says(logits, masks, depths, of=lambda logits: logits[:, :-1].softmax(1).sum(1))


def winner_takes_all(logits, masks, depths):
    best = ((1 - logits.softmax(1)[:, -1])[:, None, None] * masks.sigmoid()).argmax(0)
    return torch.stack([depths[q, y, x] for y, row in enumerate(best) for x, q in enumerate(row)]).view(best.shape)


def winner_of_the_masks(logits, masks, depths):
    return torch.take_along_dim(depths, masks.argmax(0)[None], 0)[0]


def logarithms_kept(logits, masks, depths):
    return as_the_task_says(logits, masks, depths).log()


def softmax_instead_of_division(logits, masks, depths):
    weights = ((1 - logits.softmax(1)[:, -1])[:, None, None] * masks.sigmoid()).softmax(0)
    return (weights * depths.log()).sum(0).exp()


def masks_are_the_weights(logits, masks, depths):
    return query_by_query_with_sums(torch.zeros_like(logits), masks, depths)


def sum_over_the_whole_picture(logits, masks, depths):
    weights = (1 - logits.softmax(1)[:, -1])[:, None, None] * masks.sigmoid()
    return (weights / weights.sum() * depths.log()).sum(0).exp()


def careful_with_1e_6(logits, masks, depths):
    return as_the_task_says(logits, masks, depths, tiny=1e-6)


def axis_kept(logits, masks, depths):
    return as_the_task_says(logits, masks, depths)[None]


# --- match_queries ----------------------------------------------------------------------------------------------------


def one_assignment(before, labels_before, now, labels_now, least, forbidden=0.0, shift=1.0, kept=None, sign=-1):
    cos = F.normalize(before, dim=-1) @ F.normalize(now, dim=-1).mT
    allowed = (labels_before[:, None] == labels_now[None]) & (cos >= least)
    rows, cols = linear_sum_assignment(torch.where(allowed, sign * (cos + shift), forbidden))
    result = torch.full((now.shape[0],), -1, dtype=torch.long)
    for r, c in zip(rows, cols):
        if allowed[r, c] if kept is None else kept:
            result[c] = int(r)
    return result


def now_as_rows(before, labels_before, now, labels_now, least):
    similarity = F.cosine_similarity(now[:, None], before[None], dim=2)
    gain = similarity + 1
    gain[similarity < least] = 0
    gain[labels_now[:, None] != labels_before] = 0
    partner = dict(zip(*map(np.ndarray.tolist, linear_sum_assignment(gain.numpy(), maximize=True))))
    return torch.tensor(
        [partner[i] if i in partner and gain[i, partner[i]] > 0 else -1 for i in range(len(now))], dtype=torch.int64
    )


def cosines_with_minus_1(before, labels_before, now, labels_now, least):
    """All gains one less, and as many of them in every way."""
    a = before.numpy().astype(float) / np.linalg.norm(before.numpy(), axis=1, keepdims=True)
    b = now.numpy().astype(float) / np.linalg.norm(now.numpy(), axis=1, keepdims=True)
    cos = a @ b.T
    cos[~((labels_before.numpy()[:, None] == labels_now.numpy()) & (cos >= least))] = -1
    places = np.full(len(b), -1)
    old, new = linear_sum_assignment(cos, maximize=True)
    good = cos[old, new] > -1
    places[new[good]] = old[good]
    return torch.from_numpy(places)


def class_by_class(before, labels_before, now, labels_now, least):
    result = -torch.ones(len(now), dtype=torch.int64)
    for label in set(labels_before.tolist()) & set(labels_now.tolist()):
        old, new = (labels_before == label).nonzero()[:, 0], (labels_now == label).nonzero()[:, 0]
        zeros = torch.zeros(len(old), dtype=torch.int64), torch.zeros(len(new), dtype=torch.int64)
        result[new] = torch.cat([torch.tensor([-1]), old])[
            one_assignment(before[old], zeros[0], now[new], zeros[1], least) + 1
        ]
    return result


def with_memory(before, labels_before, now, labels_now, least, worth=lambda cos: 1 + cos):
    """Segment by segment, for each set of partners that are taken."""
    norm = before.norm(dim=1)[:, None] * now.norm(dim=1)
    cos = (before @ now.T / norm).tolist()

    @cache
    def best(new, taken):
        if new == len(now):
            return 0.0, ()
        options = [(best(new + 1, taken)[0], -1)]
        for old in range(len(before)):
            if old not in taken and labels_before[old] == labels_now[new] and cos[old][new] >= least:
                options.append((worth(cos[old][new]) + best(new + 1, taken | {old})[0], old))
        total, old = max(options)
        return total, (old, *best(new + 1, taken | {old} if old >= 0 else taken)[1])

    return torch.tensor(best(0, frozenset())[1], dtype=torch.int64)


def nearest(before, labels_before, now, labels_now, least):
    if not len(before):
        return torch.full((len(now),), -1)
    cos = F.cosine_similarity(before[:, None], now[None], dim=2)
    cos[labels_before[:, None] != labels_now] = -2
    best, places = cos.max(0)
    return torch.where(best >= least, places, -1)


def greedy(before, labels_before, now, labels_now, least):
    cos = F.normalize(before) @ F.normalize(now).T
    cos = cos.masked_fill(labels_before[:, None] != labels_now, -torch.inf)
    result = torch.full((len(now),), -1)
    while cos.numel() and cos.max() >= least:
        r, c = divmod(int(cos.argmax()), cos.shape[1])
        result[c] = r
        cos[r], cos[:, c] = -torch.inf, -torch.inf
    return result


def by_inner_products(before, labels_before, now, labels_now, least):
    gain = before @ now.T + 1
    gain[(labels_before[:, None] != labels_now) | (gain - 1 < least)] = 0
    r, c = linear_sum_assignment(gain, maximize=True)
    result = torch.full((len(now),), -1)
    for i, j in zip(r, c):
        if gain[i, j]:
            result[j] = int(i)
    return result


def infinite_cost(before, labels_before, now, labels_now, least):
    return one_assignment(before, labels_before, now, labels_now, least, forbidden=torch.inf)


def large_cost(before, labels_before, now, labels_now, least):
    return one_assignment(before, labels_before, now, labels_now, least, forbidden=1e9)


def large_cost_without_1(before, labels_before, now, labels_now, least):
    return one_assignment(before, labels_before, now, labels_now, least, forbidden=1e9, shift=0.0)


def maximize_forgotten(before, labels_before, now, labels_now, least):
    return one_assignment(before, labels_before, now, labels_now, least, sign=1)


def all_pairs_kept(before, labels_before, now, labels_now, least):
    return one_assignment(before, labels_before, now, labels_now, least, kept=True)


def cosines_alone(before, labels_before, now, labels_now, least):
    return with_memory(before, labels_before, now, labels_now, least, worth=lambda cos: cos)


def looked_at_afterwards(before, labels_before, now, labels_now, least):
    cos = F.normalize(before) @ F.normalize(now).T
    result = torch.full((len(now),), -1)
    for r, c in zip(*linear_sum_assignment(cos, maximize=True)):
        if labels_before[r] == labels_now[c] and cos[r, c] >= least:
            result[c] = int(r)
    return result


def stacked(before, labels_before, now, labels_now, least):
    return torch.stack(list(one_assignment(before, labels_before, now, labels_now, least)))


# --- video_panoptic_quality -------------------------------------------------------------------------------------------


def count_window(p, t, least=0.5):
    """IoU, TP, FP, FN of one window."""
    ids, true_ids = p[p > 0].unique(), t[t > 0].unique()
    iou, matched = 0.0, 0
    for i in ids:
        for j in true_ids:
            x = ((p == i) & (t == j)).sum() / ((p == i) | (t == j)).sum()
            if x > least:
                iou += x.item()
                matched += 1
    return iou, matched, len(ids) - matched, len(true_ids) - matched


def added_up(predicted, truth, windows, count=count_window, step=lambda k: 1):
    result = []
    for k in windows:
        iou = tp = fp = fn = 0
        for t in range(0, predicted.shape[0] - k + 1, step(k)):
            a, b, c, d = count(predicted[t : t + k], truth[t : t + k])
            iou, tp, fp, fn = iou + a, tp + b, fp + c, fn + d
        below = tp + 0.5 * fp + 0.5 * fn
        result.append(iou / below if below else math.nan)
    return sum(result) / len(result)


def with_one_hot_products(predicted, truth, windows):
    """All tubes of the clip at once; those without a pixel in the window go."""
    one = [torch.stack([m == i for i in m.unique() if i] or [m < 0]) for m in (predicted, truth)]
    qualities = []
    for k in windows:
        sums = np.zeros(4)
        for start in range(len(truth) - k + 1):
            p, t = (m[:, start : start + k].flatten(1).double() for m in one)
            p, t = p[p.any(1)], t[t.any(1)]
            both = p @ t.T
            iou = both / (p.sum(1)[:, None] + t.sum(1) - both)
            pairs = iou > 1 / 2
            tp = pairs.sum()
            sums += [iou[pairs].sum(), tp, len(p) - tp, len(t) - tp]
        with np.errstate(invalid="ignore"):
            qualities.append(sums[0] / (sums[1] + sums[2:].sum() / 2))
    return float(np.mean(qualities))


def with_counters(predicted, truth, windows):
    total = 0.0
    for k in windows:
        ious, tubes = [], 0
        for p, t in zip(predicted.unfold(0, k, 1), truth.unfold(0, k, 1)):
            p, t = p.flatten().tolist(), t.flatten().tolist()
            mine, real, both = Counter(p), Counter(t), Counter(zip(p, t))
            tubes += len(mine.keys() - {0}) + len(real.keys() - {0})
            for (i, j), n in both.items():
                if i and j and 2 * n > mine[i] + real[j] - n:
                    ious.append(n / (mine[i] + real[j] - n))
        total += 2 * sum(ious) / tubes if tubes else math.nan  # two tubes of each pair
    return total / len(windows)


def in_numpy(predicted, truth, windows):
    def counted(p, t):
        return count_window(torch.from_numpy(p), torch.from_numpy(t))

    return np.float64(added_up(predicted.numpy(), truth.numpy(), windows, counted))


def averaged(predicted, truth, windows):
    return np.nanmean(
        [
            np.nanmean(
                [added_up(predicted[s : s + k], truth[s : s + k], [k]) for s in range(len(truth) - k + 1)] or [0.0]
            )
            for k in windows
        ]
    )


def side_by_side(predicted, truth, windows):
    return added_up(predicted, truth, windows, step=lambda k: k)


def single_frames(predicted, truth, windows):
    return added_up(predicted, truth, [1 for _ in windows])


def whole_clip(predicted, truth, windows):
    return added_up(predicted, truth, [len(truth)])


def numbers_of_the_clip(predicted, truth, windows):
    ids, true_ids = (len(m[m > 0].unique()) for m in (predicted, truth))

    def count(p, t):
        iou, tp, *_ = count_window(p, t)
        return iou, tp, ids - tp, true_ids - tp

    return added_up(predicted, truth, windows, count)


def pairs_in_each_frame(predicted, truth, windows):
    def count(p, t):
        return tuple(sum(column) for column in zip(*(count_window(a, b) for a, b in zip(p, t))))

    return added_up(predicted, truth, windows, count)


def at_least_half(predicted, truth, windows):
    return added_up(predicted, truth, windows, lambda p, t: count_window(p, t, 0.4999))


def zero_for_nothing(predicted, truth, windows):
    return np.nan_to_num(added_up(predicted, truth, windows)).item()


def summed_over_windows(predicted, truth, windows):
    return sum(added_up(predicted, truth, [k]) for k in windows)


def for_each_k(predicted, truth, windows):
    return [added_up(predicted, truth, [k]) for k in windows]


def returned_in_the_loop(predicted, truth, windows):
    for k in windows:
        return added_up(predicted, truth, [k])


def as_a_tensor(predicted, truth, windows):
    return torch.tensor([added_up(predicted, truth, [k]) for k in windows]).mean()


def divided_by_nothing(predicted, truth, windows):
    counts = [count_window(predicted[s : s + k], truth[s : s + k]) for k in windows for s in range(len(truth) - k + 1)]
    1 / sum(map(sum, counts))
    return added_up(predicted, truth, windows)


# --- all --------------------------------------------------------------------------------------------------------------


WRONG = {
    "feature_gate": [
        ("softmax", lambda x, w, b: x * F.linear(x, w, b).softmax(-1)),
        ("softmax", lambda x, w, b: x * F.softmax(x @ w.T + b)),
        ("softmax, weight transposed", lambda x, w, b: x * (x @ w + b).softmax(-1)),
        ("weight transposed", lambda *given: by_einsum_of_vectors(*given, equation="...d,de->...e")),
        ("bias forgotten", lambda x, w, b: x * (x @ w.T).sigmoid()),
        ("weight transposed, bias forgotten", lambda x, w, b: torch.sigmoid(x @ w) * x),
        ("sign flipped", lambda *given: -by_linear(*given)),
        ("weight and bias without gradient", a_layer_of_its_own),
        ("weight and bias without gradient", a_layer_filled),
        ("softmax", lambda *given: a_layer_of_its_own(*given, share=nn.Softmax(dim=-1))),
        ("changes from call to call", a_new_layer),
        ("input changed in place", x_changed),
        ("gradient cut off", shares_cut_off),
        ("gradient cut off", lambda x, w, b: torch.from_numpy(np.array(by_linear(x, w, b).detach()))),
        ("1 − share", lambda x, w, b: x * torch.sigmoid(-F.linear(x, w, b))),
        ("1 − share", lambda x, w, b: x - by_linear(x, w, b)),
        ("crashes for some inputs", one_axis_in_front),
        ("nothing returned", lambda *given: print(by_linear(*given))),
    ],
    "depth_maps": [
        ("equal steps in metres", linear_way),
        ("equal steps in metres", lambda *given: by_lerp(*given, way=lambda a, b, s: (a.exp().lerp(b.exp(), s)).log())),
        ("equal steps of 1 / depth, from far to near", disparity),
        ("near and far exchanged", lambda q, p, near, far: by_powers(q, p, far, near)),
        ("near and far exchanged", lambda q, p, near, far: by_two_powers(-q, p, near, far)),
        ("no sigmoid", lambda *given: by_powers(*given, link=torch.clone)),
        ("no sigmoid; equal steps in metres", lambda q, p, near, far: near + inner_products(q, p) * (far - near)),
        ("two bases", lambda *given: by_logarithms(*given, log=math.log10)),
        ("two bases", lambda *given: by_logarithms(*given, power=lambda x: 10**x)),
        ("two bases", lambda *given: by_logarithms(*given, log=math.log2)),
        ("logarithm taken", lambda *given: by_lerp(*given).log()),
        ("exponential, cut off", bounded),
        ("softplus for sigmoid; s alone", as_softplus),
        ("near + s times far", by_hand_without_bound),
        (
            "sigmoids before the product",
            lambda q, p, *ends: by_powers(q.sigmoid(), p.sigmoid(), *ends, link=torch.clone),
        ),
        (
            "sigmoids before the product; equal steps in metres",
            lambda q, p, near, far: near + inner_products(q.sigmoid(), p.sigmoid()) * (far - near),
        ),
        (
            "softmax over the queries; equal steps in metres",
            lambda q, p, a, b: a + inner_products(q, p).softmax(1) * (b - a),
        ),
        ("gradient cut off", without_history),
        ("gradient cut off", lambda *given: by_powers(*given, link=lambda x: x.sigmoid().detach())),
        ("axes swapped", lambda *given: by_powers(*given).transpose(2, 3)),
        (None, lambda *given: by_powers(*given, link=lambda x: x.sigmoid() ** 2)),
    ],
    "depth_loss": [
        ("NaN from pixels that are not valid", times_valid),
        ("NaN in the gradient", quotient_hidden),
        ("NaN for a mask without a valid pixel", lambda *given: all_at_once(*given, least=0)),
        ("NaN for nothing", lambda *given: mask_after_mask(*given, nothing=lambda depths: depths[:0].mean())),
        ("all masks as one; not 0 for nothing", all_together),
        ("all pixels counted; masks without a valid pixel counted", zeros_in_the_mean),
        ("all pixels counted; all masks as one", zeros_in_the_whole_mean),
        (
            "masks without a valid pixel counted",
            lambda *given: all_at_once(*given, count=lambda n: torch.tensor(len(n))),
        ),
        ("squared error in metres; not 0 for nothing", mse),
        ("metres", metres_at_once),
        ("n − 1", lambda *given: by_variance(*given, correction=1)),
        ("input changed in place", true_overwritten),
        (None, as_lee_et_al),
        ("root taken", lambda *given: mask_after_mask(*given).clamp(min=0).sqrt()),
        ("1 − discount", lambda a, b, v, discount: mask_after_mask(a, b, v, 1 - discount)),
        ("added", lambda a, b, v, discount: mask_after_mask(a, b, v, -discount)),
        ("no discount; all masks as one", lambda a, b, v, discount: all_together(a, b, v, 0)),
        ("crashes for some inputs", list_of_none),
        ("a zero without gradient", lambda *given: mask_after_mask(*given, nothing=lambda depths: torch.tensor(0.0))),
        ("wrong type", lambda *given: mask_after_mask(*given, nothing=lambda depths: 0.0)),
        ("wrong type", lambda *given: mask_after_mask(*given).item()),
        ("True and False exchanged", lambda a, b, v, discount: mask_after_mask(a, b, ~v, discount)),
        ("gradient cut off", lambda *given: mask_after_mask(*given).detach()),
    ],
    "picture_depth": [
        ("arithmetic mean", plain_average),
        ("the best class's probability", sure_of_its_best_class),
        ("class logits forgotten", classes_alone_in_the_softmax),
        ("class logits forgotten", masks_are_the_weights),
        ("the heaviest query alone", winner_takes_all),
        ("the heaviest query alone; class logits forgotten", winner_of_the_masks),
        ("logarithm taken", logarithms_kept),
        ("softmax of the weights", softmax_instead_of_division),
        ("divided by one sum for all pixels", sum_over_the_whole_picture),
        ("1e-06 added to the sum", careful_with_1e_6),
        ("one axis too many", axis_kept),
    ],
    "match_queries": [
        ("each takes its best", nearest),
        ("the best pair first", greedy),
        ("inner product", by_inner_products),
        ("as many pairs as possible", large_cost),
        ("as many pairs as possible", large_cost_without_1),
        ("as many pairs as possible", infinite_cost),
        ("smallest sum", maximize_forgotten),
        ("pairs that are ruled out kept", all_pairs_kept),
        ("sum of the cosines", cosines_alone),
        ("ruled out afterwards", looked_at_afterwards),
        ("crashes for some inputs", stacked),
    ],
    "video_panoptic_quality": [
        ("mean over the windows", averaged),
        ("windows side by side", side_by_side),
        ("frame by frame", single_frames),
        ("the frames of each window", pairs_in_each_frame),
        ("the whole clip as one window", whole_clip),
        ("absent ones counted", numbers_of_the_clip),
        ("an IoU of 1/2, more pairs than tubes", at_least_half),
        ("0 for nothing", zero_for_nothing),
        ("a sum for a mean", summed_over_windows),
        ("wrong type", for_each_k),
        ("the first k alone", returned_in_the_loop),
        ("a tensor instead of a number", as_a_tensor),
        ("crashes for some inputs", divided_by_nothing),
    ],
}

RIGHT = {
    "feature_gate": [
        by_linear,
        by_matrices,
        by_einsum_of_vectors,
        vector_after_vector,
        gated_linear_unit,
        as_a_convolution,
        by_half_a_tanh,
    ],
    "depth_maps": [
        by_powers,
        by_logarithms,
        by_lerp,
        by_two_powers,
        query_after_query,
        by_ten,
    ],
    "depth_loss": [
        mask_after_mask,
        all_at_once,
        log_hidden,
        by_variance,
        true_put_right,
        with_index_add,
    ],
    "picture_depth": [
        as_the_task_says,
        in_logarithms,
        product_of_powers,
        query_by_query_with_sums,
        to_base_10,
        careful_with_1e_8,
    ],
    "match_queries": [one_assignment, now_as_rows, cosines_with_minus_1, class_by_class, with_memory],
    "video_panoptic_quality": [added_up, with_one_hot_products, with_counters, in_numpy],
}
