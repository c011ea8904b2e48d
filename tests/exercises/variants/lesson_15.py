"""Answers to the exercises of lesson 15 as others write them."""

import math

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

# --- mask_logits ------------------------------------------------------------------------------------------------------


def by_matmul(mask_embed, pixel_embed):
    B, C, H, W = pixel_embed.shape
    return torch.bmm(mask_embed, pixel_embed.view(B, C, H * W)).view(B, -1, H, W)


def by_einsum(mask_embed, pixel_embed, equation="bqc,bchw->bqhw"):
    return torch.einsum(equation, mask_embed, pixel_embed)


def by_broadcasting(mask_embed, pixel_embed):
    return (mask_embed[:, :, :, None, None] * pixel_embed[:, None]).sum(dim=2)


def query_after_query(mask_embed, pixel_embed):
    B, Q, C = mask_embed.shape
    result = torch.zeros(B, Q, *pixel_embed.shape[2:])
    for b in range(B):
        for q in range(Q):
            for c in range(C):
                result[b, q] += mask_embed[b, q, c] * pixel_embed[b, c]
    return result


def pixels_last(mask_embed, pixel_embed):
    return (pixel_embed.permute(0, 2, 3, 1) @ mask_embed.mT[:, None]).movedim(3, 1)


def one_layer_for_each_picture(mask_embed, pixel_embed):
    return torch.cat([F.conv2d(p[None], q[..., None, None]) for q, p in zip(mask_embed, pixel_embed)])


def grouped_convolution(mask_embed, pixel_embed):
    B, Q, C = mask_embed.shape
    return F.conv2d(pixel_embed.flatten(0, 1)[None], mask_embed.reshape(B * Q, C, 1, 1), groups=B).unflatten(1, (B, Q))[
        0
    ]


def in_double_precision(mask_embed, pixel_embed):
    return by_broadcasting(mask_embed.double(), pixel_embed.double())


def through_numpy(mask_embed, pixel_embed):
    return torch.from_numpy(np.einsum("bqc,bchw->bqhw", mask_embed.numpy(), pixel_embed.numpy()))


def attention_scores(mask_embed, pixel_embed):
    return F.softmax(by_matmul(mask_embed, pixel_embed) / mask_embed.shape[-1] ** 0.5, dim=1)


def one_convolution_for_all(mask_embed, pixel_embed):
    return F.conv2d(pixel_embed, mask_embed.flatten(0, 1)[:, :, None, None])


def queries_of_picture_0(mask_embed, pixel_embed):
    return F.conv2d(pixel_embed, mask_embed[0, :, :, None, None])


def pixels_as_rows(mask_embed, pixel_embed):
    B, C, H, W = pixel_embed.shape
    return (mask_embed @ pixel_embed.view(B, H * W, C).mT).view(B, -1, H, W)


def reshaped_at_the_end(mask_embed, pixel_embed):
    B, C, H, W = pixel_embed.shape
    rows = pixel_embed.permute(0, 2, 3, 1).reshape(B, H * W, C)
    return (rows @ mask_embed.mT).reshape(B, mask_embed.shape[1], H, W)


def width_first(mask_embed, pixel_embed):
    B, C, H, W = pixel_embed.shape
    return (mask_embed @ pixel_embed.flatten(2)).reshape(B, -1, W, H)


def by_cosine_similarity(mask_embed, pixel_embed):
    return F.cosine_similarity(mask_embed[:, :, :, None, None], pixel_embed[:, None], dim=2)


def first_query(mask_embed, pixel_embed):
    return by_broadcasting(mask_embed[:, :1], pixel_embed)


# --- mask_losses ------------------------------------------------------------------------------------------------------


def with_torchvision(logits, masks, alpha=0.25, gamma=2.0, ones=1.0, axes=(1, 2)):
    targets = masks.float()
    focal = torchvision.ops.sigmoid_focal_loss(logits, targets, alpha=alpha, gamma=gamma).mean(dim=(1, 2))
    p = logits.sigmoid()
    return focal, 1 - (2 * (p * targets).sum(axes) + ones) / (p.sum(axes) + targets.sum(axes) + ones)


def as_published(logits, masks, alpha=0.25, gamma=2.0, numbers=torch.sigmoid):
    """In rows of pixels."""
    inputs, targets = logits.flatten(1), masks.flatten(1).to(logits.dtype)
    prob = inputs.sigmoid()
    ce = F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
    p_t = prob * targets + (1 - prob) * (1 - targets)
    loss = ce * (1 - p_t) ** gamma * (alpha * targets + (1 - alpha) * (1 - targets))
    q = numbers(inputs)
    dice = 1 - (2 * (q * targets).sum(-1) + 1) / (q.sum(-1) + targets.sum(-1) + 1)
    return loss.mean(1), dice


def by_cases(logits, masks, alpha=0.25, gamma=2.0, log=F.logsigmoid):
    """Two losses for each pixel, of which `torch.where` takes one."""
    p = torch.sigmoid(logits)
    inside = -alpha * (1 - p) ** gamma * log(logits)
    outside = -(1 - alpha) * p**gamma * log(-logits)
    each = torch.where(masks, inside, outside)
    overlap = 2 * torch.where(masks, p, 0).sum(2).sum(1) + 1
    return each.flatten(1).mean(1), 1 - overlap / (p.sum((1, 2)) + masks.sum((1, 2)) + 1)


def mask_after_mask(logits, masks, alpha=0.25, gamma=2.0):
    """A list of results; the zeros in front of it stand for no mask."""
    focal, dice = [logits.new_zeros(0)], [logits.new_zeros(0)]
    for x, mask in zip(logits, masks):
        signed = torch.where(mask, x, -x)
        weight = torch.where(mask, alpha, 1 - alpha)
        focal.append((weight * torch.sigmoid(-signed) ** gamma * F.softplus(-signed)).mean()[None])
        p = x.sigmoid()
        dice.append((1 - (2 * p[mask].sum() + 1) / (p.sum() + mask.sum() + 1))[None])
    return torch.cat(focal), torch.cat(dice)


def with_einsum(logits, masks, alpha=0.25, gamma=2.0):
    """In double precision, as a list."""
    x, g = logits.double(), masks.double()
    log_p, log_q = F.logsigmoid(x), F.logsigmoid(-x)
    each = -alpha * g * log_q.exp() ** gamma * log_p - (1 - alpha) * (1 - g) * log_p.exp() ** gamma * log_q
    both = torch.einsum("mhw,mhw->m", log_p.exp(), g)
    sizes = torch.einsum("mhw->m", log_p.exp() + g)
    return [each.mean((-1, -2)), (sizes - 2 * both) / (sizes + 1)]


def from_the_cross_entropy(logits, masks, alpha=0.25, gamma=2.0, reduction="none"):
    targets = masks.float()
    ce = F.binary_cross_entropy_with_logits(logits, targets, reduction=reduction)
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    each = weight * (1 - torch.exp(-ce)) ** gamma * ce
    return each.mean(dim=(1, 2)), with_torchvision(logits, masks)[1]


def logarithm_of_sigmoid(logits, masks, alpha=0.25, gamma=2.0, tiny=0.0, weigh=lambda g, a: torch.where(g, a, 1 - a)):
    p = torch.sigmoid(logits)
    p_t = torch.where(masks, p, 1 - p)
    each = -weigh(masks, alpha) * (1 - p_t) ** gamma * torch.log(p_t + tiny)
    return each.mean(dim=(1, 2)), with_torchvision(logits, masks)[1]


def by_binary_cross_entropy(logits, masks, alpha=0.25, gamma=2.0):
    p, g = logits.sigmoid(), masks.float()
    p_t = torch.where(masks, p, 1 - p)
    each = torch.where(masks, alpha, 1 - alpha) * (1 - p_t) ** gamma * F.binary_cross_entropy(p, g, reduction="none")
    return each.mean((1, 2)), with_torchvision(logits, masks)[1]


def everything_summed(logits, masks, alpha=0.25, gamma=2.0):
    focal = torchvision.ops.sigmoid_focal_loss(logits, masks.float(), alpha, gamma, reduction="mean")
    p, g = logits.sigmoid(), masks.float()
    return focal, 1 - (2 * (p * g).sum() + 1) / (p.sum() + g.sum() + 1)


def two_mistakes(logits, masks, alpha=0.25, gamma=2.0):
    """α on the wrong side, and no ones."""
    focal, _ = with_torchvision(logits, masks, 1 - alpha, gamma)
    return focal, with_torchvision(logits, masks, ones=0.0)[1]


def one_known_mistake(logits, masks, alpha=0.25, gamma=2.0):
    return with_torchvision(logits, masks, 1 - alpha, gamma)[0], with_torchvision(logits, masks, ones=3.0)[1]


def without_usual_numbers(logits, masks, alpha, gamma):
    return with_torchvision(logits, masks, alpha, gamma)


def listed(logits, masks, alpha=0.25, gamma=2.0):
    focal, dice = mask_after_mask(logits, masks, alpha, gamma)
    return torch.stack(list(focal)), torch.stack(list(dice))


def off_the_graph(logits, masks, alpha=0.25, gamma=2.0):
    focal, dice = with_torchvision(logits, masks, alpha, gamma)
    return focal, dice.detach()


def rows_averaged(logits, masks, alpha=0.25, gamma=2.0):
    return torchvision.ops.sigmoid_focal_loss(logits, masks.float(), alpha, gamma).mean(1), with_torchvision(
        logits, masks
    )[1]


# --- mask_cost --------------------------------------------------------------------------------------------------------


def by_products(
    class_logits,
    mask_logits,
    labels,
    masks,
    pixels=None,
    logit=F.logsigmoid,
    weight=(0.25, 0.75),
    probability=lambda x: x.softmax(-1),
):
    """Products of matrices for all pairs."""
    x, g = mask_logits.flatten(1), masks.flatten(1).float()
    p = x.sigmoid()
    inside, outside = -weight[0] * (1 - p) ** 2 * logit(x), -weight[1] * p**2 * logit(-x)
    focal = (inside @ g.T + outside @ (1 - g).T) / (pixels or x.shape[1])
    dice = 1 - (2 * p @ g.T + 1) / (p.sum(1, keepdim=True) + g.sum(1)[None] + 1)
    return 20 * focal + dice - probability(class_logits)[:, labels]


def pair_after_pair(class_logits, mask_logits, labels, masks, softmax=lambda x: x.softmax(0), both=with_torchvision):
    cost = torch.empty(len(mask_logits), len(masks))
    for q in range(len(mask_logits)):
        for j in range(len(masks)):
            focal, dice = both(mask_logits[q : q + 1], masks[j : j + 1])
            cost[q, j] = 20 * focal + dice - softmax(class_logits[q])[labels[j]]
    return cost


def row_after_row(class_logits, mask_logits, labels, masks):
    """For each query its mask beside all true masks."""
    rows = []
    for x, scores in zip(mask_logits, class_logits.softmax(dim=1)):
        focal, dice = as_published(x.expand(masks.shape), masks)
        rows.append(20 * focal + dice - scores[labels])
    return torch.stack(rows)


def all_pairs_as_one_list(class_logits, mask_logits, labels, masks, query_first=True):
    Q, n = len(mask_logits), len(masks)
    if query_first:
        focal, dice = by_cases(mask_logits.repeat_interleave(n, 0), masks.repeat(Q, 1, 1))
    else:
        focal, dice = by_cases(mask_logits.repeat(n, 1, 1), masks.repeat_interleave(Q, 0))
    p = class_logits.double().softmax(1).index_select(1, labels)
    return 20 * focal.view(Q, n) + dice.view(Q, n) - p


def with_einsum_of_pairs(class_logits, mask_logits, labels, masks):
    x, g = mask_logits, masks.float()
    each = torchvision.ops.sigmoid_focal_loss
    inside, outside = each(x, torch.ones_like(x)), each(x, torch.zeros_like(x))
    focal = torch.einsum("qhw,nhw->qn", inside - outside, g) + outside.sum((1, 2))[:, None]
    p = x.sigmoid()
    overlap = (2 * torch.einsum("qhw,nhw->qn", p, g) + 1) / (p.sum((1, 2))[:, None] + g.sum((1, 2)) + 1)
    one_hot = F.one_hot(labels, class_logits.shape[1]).float()
    return (
        focal * 20 / g[0].numel() + 1 - overlap - nn.Softmax(dim=1)(class_logits) @ one_hot.T if len(g) else p[:, 0, :0]
    )


def for_each_true_mask(class_logits, mask_logits, labels, masks):
    columns = []
    for mask, label in zip(masks, labels):
        focal, dice = with_torchvision(mask_logits, mask.expand_as(mask_logits))
        columns.append(20 * focal + dice - class_logits.softmax(1)[:, label])
    return torch.stack(columns)


def columns_of_true_masks(*given):
    return for_each_true_mask(*given).T


def swapped_and_turned(*given):
    return pair_after_pair(*given, both=lambda *two: with_torchvision(*two)[::-1]).T


def without_the_outside(class_logits, mask_logits, labels, masks):
    return by_products(class_logits, mask_logits, labels, masks, weight=(0.25, 0.0))


# --- all --------------------------------------------------------------------------------------------------------------


# --- semantic_inference -----------------------------------------------------------------------------------------------


def votes_by_matmul(class_logits, mask_logits, cut=-1, dim=-1):
    Q, H, W = mask_logits.shape
    p = F.softmax(class_logits, dim)[..., :cut]
    return (p.t() @ mask_logits.sigmoid().view(Q, H * W)).view(-1, H, W)


def query_by_query(class_logits, mask_logits):
    total = torch.zeros(class_logits.shape[1] - 1, *mask_logits.shape[1:])
    for scores, mask in zip(class_logits, mask_logits):
        p = torch.exp(scores - scores.max())
        p = p / p.sum()
        total += p[:-1, None, None] * torch.sigmoid(mask)[None]
    return total


def class_by_class(class_logits, mask_logits):
    p, m = class_logits.softmax(1), 1 / (1 + torch.exp(-mask_logits))
    return torch.stack([sum(p[q, k] * m[q] for q in range(len(p))) for k in range(p.shape[1] - 1)])


def broadcast(class_logits, mask_logits, last=lambda products: products.sum(0)):
    p = class_logits.log_softmax(-1).exp()[:, :-1]
    return last(p.unsqueeze(-1).unsqueeze(-1) * mask_logits.sigmoid().unsqueeze(1))


def classes_behind(class_logits, mask_logits):
    return votes_by_matmul(class_logits, mask_logits).permute(1, 2, 0)


def votes(class_logits, mask_logits):
    """The best class of each query that says one, weighed by its probability."""
    scores, labels = class_logits.softmax(-1).max(-1)
    total = torch.zeros(class_logits.shape[1] - 1, *mask_logits.shape[1:])
    for q in range(len(labels)):
        if labels[q] < class_logits.shape[1] - 1:
            total[labels[q]] += scores[q] * mask_logits[q].sigmoid()
    return total


# --- panoptic_inference -----------------------------------------------------------------------------------------------


def as_the_authors_do(
    class_logits, mask_logits, things, sure=0.8, kept=0.8, among=None, empty=None, inside=False, table=None
):
    scores, labels = F.softmax(class_logits, dim=-1).max(-1)
    mask_pred = mask_logits.sigmoid()
    keep = labels.ne(class_logits.shape[1] - 1) & (scores > sure)
    cur_scores, cur_classes, cur_masks = scores[keep], labels[keep], mask_pred[keep]
    panoptic_seg = torch.zeros(mask_logits.shape[1:], dtype=among or torch.int64)
    if cur_masks.shape[0] == 0:
        return panoptic_seg, [] if empty is None else empty
    ids = (cur_scores.view(-1, 1, 1) * cur_masks).argmax(0)
    classes, stuff, current = [], {}, 0
    for k in range(len(cur_classes)):
        pred_class = cur_classes[k].item()
        mask = ids == k
        area, original = mask.sum().item(), (cur_masks[k] >= 0.5).sum().item()
        if inside:
            mask = mask & (cur_masks[k] >= 0.5)
        if area > 0 and original > 0:
            if area / original < kept:
                continue
            if pred_class not in things:
                if pred_class in stuff:
                    panoptic_seg[mask] = stuff[pred_class]
                    continue
                stuff[pred_class] = current + 1
            current += 1
            panoptic_seg[mask] = current
            classes.append(pred_class if table is None else table(current, pred_class))
    return panoptic_seg, classes


def pixel_after_pixel(class_logits, mask_logits, things, sure=0.8, kept=0.8, least=lambda share, kept: share >= kept):
    Q, H, W = mask_logits.shape
    p, m = class_logits.softmax(1).numpy(), mask_logits.sigmoid().numpy()
    part = [q for q in range(Q) if p[q].argmax() < p.shape[1] - 1 and p[q].max() > sure]
    won = {q: [] for q in part}
    for y in range(H):
        for x in range(W):
            if part:
                won[max(part, key=lambda q: p[q].max() * m[q, y, x])].append((y, x))
    result, classes = np.zeros((H, W), dtype=np.int64), []
    for q in part:
        own = int((m[q] >= 0.5).sum())
        if not own or not won[q] or not least(len(won[q]) / own, kept):
            continue
        kind = int(p[q].argmax())
        if kind in things or kind not in classes:
            classes.append(kind)
            number = len(classes)
        else:
            number = classes.index(kind) + 1
        for y, x in won[q]:
            result[y, x] = number
    return torch.from_numpy(result), classes


def by_a_table(class_logits, mask_logits, things, sure=0.8, kept=0.8):
    """All queries at once; a table from winner to number."""
    Q = len(class_logits)
    scores, labels = class_logits.softmax(1).max(1)
    part = (labels != class_logits.size(1) - 1) * (scores > sure)
    products = torch.where(part[:, None, None], scores[:, None, None] * mask_logits.sigmoid(), -torch.inf)
    winner = F.one_hot(products.argmax(0), Q).bool()  # (H, W, Q)
    won, own = winner.sum((0, 1)), (mask_logits >= 0).sum((1, 2))
    stays = part & (won > 0) & (own > 0) & (won >= kept * own)
    table, classes = torch.zeros(Q, dtype=torch.long), []
    for q in stays.nonzero()[:, 0].tolist():
        before = [r for r in range(q) if stays[r] and labels[r] == labels[q] and labels[q].item() not in things]
        table[q] = table[before[0]] if before else len(classes) + 1
        if not before:
            classes.append(labels[q].item())
    return (winner * table).sum(2), classes


def logits_weighed(class_logits, mask_logits, things, sure=0.8, kept=0.8, together=torch.mul):
    """The product with the mask's logits."""
    scores, labels = class_logits.softmax(1).max(1)
    numbers, classes = torch.zeros(mask_logits.shape[1:], dtype=torch.int64), []
    part = torch.where((labels < class_logits.shape[1] - 1) & (scores > sure))[0]
    if len(part):
        winner = part[together(scores[part, None, None], mask_logits[part]).argmax(0)]
    for q in part.tolist():
        won, own = winner == q, mask_logits[q] >= 0
        if won.any() and own.any() and won.sum() / own.sum() >= kept:
            kind = labels[q].item()
            if kind in things or kind not in classes:
                classes.append(kind)
            numbers[won] = classes.index(kind) + 1 if kind not in things else len(classes)
    return numbers, classes


def crashes_without_any(class_logits, mask_logits, things, sure=0.8, kept=0.8):
    scores, labels = class_logits.softmax(1).max(1)
    part = (labels < class_logits.shape[1] - 1) & (scores > sure)
    (scores[part, None, None] * mask_logits.sigmoid()[part]).argmax(0)
    return as_the_authors_do(class_logits, mask_logits, things, sure, kept)


def divides_by_nothing(class_logits, mask_logits, things, sure=0.8, kept=0.8):
    for mask in mask_logits.sigmoid()[(class_logits.softmax(1)[:, :-1] > sure).any(1)]:
        1 / (mask >= 0.5).sum().item()
    return as_the_authors_do(class_logits, mask_logits, things, sure, kept)


# --- panoptic_quality -------------------------------------------------------------------------------------------------


def with_boolean_masks(predicted, truth, least=0.5, nothing=(math.nan,) * 3, ignored=(-1, 0), judge_void=True):
    void = truth == -1
    p_ids = [i for i in predicted.unique().tolist() if i != 0]
    t_ids = [i for i in truth.unique().tolist() if i not in ignored]
    ious, found_p, found_t = [], set(), set()
    for p in p_ids:
        a = (predicted == p) & ~void
        for t in t_ids:
            b = truth == t
            iou = ((a & b).sum() / (a | b).sum()).item()
            if iou > least:
                ious.append(iou)
                found_p.add(p)
                found_t.add(t)
    fp = 0
    for p in p_ids:
        whole = predicted == p
        if p not in found_p and (not judge_void or (whole & void).sum() <= whole.sum() / 2):
            fp += 1
    tp, fn = len(ious), len(t_ids) - len(found_t)
    if tp + fp + fn == 0:
        return nothing
    sq = sum(ious) / tp if tp else 0.0
    rq = tp / (tp + 0.5 * fp + 0.5 * fn)
    return sq * rq, sq, rq


def with_numpy(predicted, truth):
    p, t = predicted.numpy(), truth.numpy()
    valid = t != -1
    shared, counts = np.unique(np.stack([p[valid], t[valid]]), axis=1, return_counts=True)
    area_p, area_t = ({i: (x[valid] == i).sum() for i in np.unique(x)} for x in (p, t))
    pairs = {}
    for (a, b), n in zip(shared.T, counts):
        if a > 0 and b > 0 and 2 * n > area_p[a] + area_t[b] - n:
            pairs[a, b] = n / (area_p[a] + area_t[b] - n)
    left = set(np.unique(p)) - {0} - {a for a, _ in pairs}
    fp = sum(np.mean(t[p == a] == -1) <= 0.5 for a in left)
    fn = len(set(np.unique(t)) - {0, -1} - {b for _, b in pairs})
    all_of_them = len(pairs) + fp / 2 + fn / 2
    if all_of_them == 0:
        return np.nan, np.nan, np.nan
    pq, sq = sum(pairs.values()) / all_of_them, np.mean(list(pairs.values())) if pairs else 0
    return pq, sq, len(pairs) / all_of_them


def by_a_product(predicted, truth, area_of=lambda p, void: p[:, ~void].sum(1)):
    """All pairs at once: segments as rows of 0 and 1."""
    predicted, truth = predicted.flatten(), truth.flatten()
    p_ids, t_ids = predicted[predicted > 0].unique(), truth[truth > 0].unique()
    void = truth < 0
    p, t = ((x == ids[:, None]).double() for x, ids in ((predicted, p_ids), (truth, t_ids)))
    shared = p @ t.T
    iou = shared / (area_of(p, void)[:, None] + t.sum(1) - shared)
    pair = iou > 0.5
    tp, fn = int(pair.sum()), int((~pair.any(0)).sum())
    mostly_void = p[:, void].sum(1) > p.sum(1) / 2
    fp = int((~pair.any(1) & ~mostly_void).sum())
    if not (tp or fp or fn):
        return float("nan"), float("nan"), float("nan")
    sq, rq = (iou[pair].mean().item() if tp else 0.0), tp / (tp + (fp + fn) / 2)
    return sq * rq, sq, rq


def void_set_to_0(predicted, truth):
    """What is left of each predicted segment counts."""
    return with_boolean_masks(predicted.masked_fill(truth == -1, 0), truth)


def void_written_into(predicted, truth):
    quality = with_boolean_masks(predicted, truth)
    predicted[truth == -1] = 0
    return quality


def as_tensor_if_found(number):
    return torch.tensor(number) if number == number else number


def unguarded(predicted, truth):
    quality = with_boolean_masks(predicted, truth)
    return quality if quality[2] else 1 / 0


def recall_and_precision_exchanged(predicted, truth):
    pq, sq, rq = with_boolean_masks(predicted, truth)
    return sq, rq, pq


# --- all --------------------------------------------------------------------------------------------------------------


WRONG = {
    "mask_logits": [
        (None, attention_scores),
        ("all pictures with all, in one axis", one_convolution_for_all),
        ("queries of the first picture", queries_of_picture_0),
        ("pixels reshaped to rows", pixels_as_rows),
        ("(B, H · W, Q) reshaped", reshaped_at_the_end),
        ("W before H", width_first),
        ("cosine", by_cosine_similarity),
        ("wrong shape", first_query),
        ("axes swapped", lambda *given: by_einsum(*given, equation="bqc,bchw->bqwh")),
        ("axes swapped", lambda *given: by_einsum(*given, equation="bqc,bchw->bhwq")),
        ("axes swapped", lambda *given: by_einsum(*given, equation="bqc,bchw->qbhw")),
        ("not added up", lambda q, p: q[..., None, None] * p[:, None]),
        ("wrong dtype", lambda *given: by_einsum(*given).half()),
    ],
    "mask_losses": [
        ("returned in another order", lambda *given: with_torchvision(*given)[::-1]),
        ("added together", lambda *given: sum(with_torchvision(*given))),
        ("one tensor instead of a tuple", lambda *given: torch.stack(with_torchvision(*given))),
        ("infinite or NaN for sure pixels", logarithm_of_sigmoid),
        ("infinite or NaN for sure pixels", lambda *given: by_cases(*given, log=lambda x: x.sigmoid().log())),
        ("cut off for sure pixels", lambda *given: logarithm_of_sigmoid(*given, tiny=1e-8)),
        ("cut off for sure pixels", by_binary_cross_entropy),
        (
            "α on one side only; and infinite or NaN",
            lambda *given: logarithm_of_sigmoid(*given, weigh=lambda g, alpha: torch.where(g, alpha, 1.0)),
        ),
        (
            "α forgotten; and infinite or NaN",
            lambda *given: logarithm_of_sigmoid(*given, weigh=lambda g, alpha: 1),
        ),
        ("all masks as one, twice", everything_summed),
        ("α on the wrong side; ones left out", two_mistakes),
        ("α on the wrong side; the other number is wrong, too", one_known_mistake),
        ("other usual numbers", without_usual_numbers),
        (
            "other usual numbers",
            lambda logits, masks, alpha=0.75, gamma=2.0: with_torchvision(logits, masks, alpha, gamma),
        ),
        ("one cross-entropy for all pixels", lambda *given: from_the_cross_entropy(*given, reduction="mean")),
        ("logits in the overlap", lambda *given: as_published(*given, numbers=torch.clone)),
        ("crashes for some inputs", listed),
        ("gradient cut off", lambda *given: tuple(one.detach() for one in with_torchvision(*given))),
        ("wrong gradient", off_the_graph),
        ("wrong shape", rows_averaged),
        ("True and False exchanged", lambda logits, masks, *rest: with_torchvision(logits, ~masks, *rest)),
    ],
    "mask_cost": [
        ("axes swapped", lambda *given: by_products(*given).T),
        ("axes swapped", lambda *given: for_each_true_mask(*given) if len(given[3]) else given[1][:, 0, :0].T),
        ("crashes for some inputs", columns_of_true_masks),
        ("softmax forgotten", lambda *given: pair_after_pair(*given, softmax=lambda x: x)),
        ("−log p for −p", lambda *given: pair_after_pair(*given, softmax=lambda x: x.log_softmax(0))),
        ("20 and 1 exchanged", lambda *given: pair_after_pair(*given, both=lambda *two: with_torchvision(*two)[::-1])),
        ("sum of the pixels", lambda *given: by_products(*given, pixels=1)),
        ("inside alone", without_the_outside),
        (
            "−log p for −p; α on both sides",
            lambda *given: by_products(*given, weight=(0.25, 0.25), probability=lambda x: x.log_softmax(-1)),
        ),
        ("20 and 1 exchanged; axes swapped", swapped_and_turned),
        ("no table without true masks", lambda *given: by_products(*given) if len(given[3]) else torch.empty(0)),
        ("α on the wrong side", lambda *given: by_products(*given, weight=(0.75, 0.25))),
        ("pairs in another order", lambda *given: all_pairs_as_one_list(*given, query_first=False)),
        ("infinite or NaN for sure pixels", lambda *given: by_products(*given, logit=lambda x: x.sigmoid().log())),
        (
            "cut off for sure pixels",
            lambda *given: by_products(*given, logit=lambda x: x.sigmoid().clamp(min=1e-6).log()),
        ),
        ("classes counted from 1", lambda x, m, labels, g: by_products(x, m, labels - 1, g)),
        ("classes counted one too high", lambda x, m, labels, g: by_products(x, m, labels + 1, g)),
        ("True and False exchanged", lambda x, m, labels, g: by_products(x, m, labels, ~g)),
        ("sign flipped", lambda *given: -by_products(*given)),
    ],
    "semantic_inference": [
        ("nothing kept", lambda *given: votes_by_matmul(*given, cut=None)),
        ("softmax over the queries", lambda *given: votes_by_matmul(*given, dim=0)),
        ("the largest instead of the sum", lambda *given: broadcast(*given, last=lambda each: each.max(0).values)),
        ("mean instead of sum", lambda *given: broadcast(*given, last=lambda each: each.mean(0))),
        ("axes swapped", classes_behind),
        ("axes swapped", lambda *given: votes_by_matmul(*given).transpose(1, 2)),
        ("a vote for the best answer only", votes),
    ],
    "panoptic_inference": [
        ("wrong dtype", lambda *given: as_the_authors_do(*given, among=torch.float32)),
        ("wrong dtype", lambda *given: as_the_authors_do(*given, among=torch.int32)),
        ("returned in another order", lambda *given: as_the_authors_do(*given)[::-1]),
        ("exactly `kept` dropped", lambda *given: pixel_after_pixel(*given, least=lambda share, kept: share > kept)),
        ("only pixels inside its own mask stay", lambda *given: as_the_authors_do(*given, inside=True)),
        ("crashes for some inputs", crashes_without_any),
        ("crashes for some inputs", divides_by_nothing),
        ("wrong type", lambda *given: as_the_authors_do(*given)[0]),
        ("wrong type", lambda *given: as_the_authors_do(*given, table=lambda number, kind: (number, kind))),
        ("a tensor instead of a number", lambda *given: as_the_authors_do(*given, table=lambda n, k: torch.tensor(k))),
        ("only part 2", lambda *given: (as_the_authors_do(*given)[0], sorted(as_the_authors_do(*given)[1]))),
        ("the logits of the masks", logits_weighed),
        ("added instead of multiplied", lambda *given: logits_weighed(*given, together=lambda p, m: p + m.sigmoid())),
    ],
    "panoptic_quality": [
        ("an IoU of 1/2", lambda *given: with_boolean_masks(*given, least=0.4999)),
        ("every overlap is a pair", lambda *given: with_boolean_masks(*given, least=0)),
        ("0 for nothing", lambda *given: with_boolean_masks(*given, nothing=(0, 0, 0))),
        ("void taken for a true segment", lambda *given: with_boolean_masks(*given, ignored=(0,))),
        ("in void, and counted", lambda *given: with_boolean_masks(*given, judge_void=False)),
        ("mostly void, and counted", void_set_to_0),
        ("void stays in the union", lambda *given: by_a_product(*given, area_of=lambda p, void: p.sum(1))),
        ("returned in another order", recall_and_precision_exchanged),
        ("input changed in place", void_written_into),
        ("crashes for some inputs", unguarded),
        ("a tensor instead of a number", lambda *given: tuple(map(as_tensor_if_found, with_boolean_masks(*given)))),
        ("wrong type", lambda *given: dict(zip(("PQ", "SQ", "RQ"), with_boolean_masks(*given)))),
        ("wrong type", lambda *given: with_boolean_masks(*given)[0]),
    ],
}

RIGHT = {
    "mask_logits": [
        by_matmul,
        by_einsum,
        by_broadcasting,
        query_after_query,
        pixels_last,
        one_layer_for_each_picture,
        grouped_convolution,
        in_double_precision,
        through_numpy,
    ],
    "mask_losses": [
        with_torchvision,
        as_published,
        by_cases,
        mask_after_mask,
        with_einsum,
        from_the_cross_entropy,
    ],
    "mask_cost": [
        by_products,
        pair_after_pair,
        row_after_row,
        all_pairs_as_one_list,
        with_einsum_of_pairs,
    ],
    "semantic_inference": [votes_by_matmul, query_by_query, class_by_class, broadcast],
    "panoptic_inference": [
        as_the_authors_do,
        pixel_after_pixel,
        by_a_table,
        lambda *given: logits_weighed(*given, together=lambda p, m: p * m.sigmoid()),
    ],
    "panoptic_quality": [with_boolean_masks, with_numpy, by_a_product],
}
