"""Answers to the exercises of lesson 14 as others write them."""

import math
from itertools import combinations, permutations, product

import torch
import torch.nn.functional as F
import torchvision
from scipy.optimize import linear_sum_assignment
from torch import nn
from torchvision.ops import box_convert, complete_box_iou_loss, generalized_box_iou_loss, nms

from lib.exercises.lessons.lesson_14.set_loss import DECISIONS, opened
from lib.ops.boxes import box_cxcywh_to_xyxy, box_iou, generalized_box_iou

# --- sine_positions ---------------------------------------------------------------------------------------------------


def filled_by_slices(height, width, num_features, temperature=10000.0, start=1, turn=2 * math.pi):
    y = torch.arange(start, height + start) / height * turn
    x = torch.arange(start, width + start) / width * turn
    codes = torch.empty(2 * num_features, height, width)
    for i in range(num_features // 2):
        length = temperature ** (2 * i / num_features)
        codes[2 * i] = (y / length).sin()[:, None]
        codes[2 * i + 1] = (y / length).cos()[:, None]
        codes[num_features + 2 * i] = (x / length).sin()
        codes[num_features + 2 * i + 1] = (x / length).cos()
    return codes


def as_the_authors_write(height, width, num_features, pairs=True, later=1, scale=2 * math.pi):
    """A length for each channel, sine and cosine at every second one."""
    ones = torch.ones(height, width)
    y, x = ones.cumsum(0) - 1 + later, ones.cumsum(1) - 1 + later
    y, x = y / height * scale, x / width * scale
    channel = torch.arange(num_features, dtype=torch.float32)
    length = 10000 ** ((2 * torch.div(channel, 2, rounding_mode="floor") if pairs else channel) / num_features)
    y, x = y[:, :, None] / length, x[:, :, None] / length
    y = torch.stack((y[:, :, 0::2].sin(), y[:, :, 1::2].cos()), dim=3).flatten(2)
    x = torch.stack((x[:, :, 0::2].sin(), x[:, :, 1::2].cos()), dim=3).flatten(2)
    return torch.cat((y, x), dim=2).permute(2, 0, 1)


def by_exponential(height, width, num_features, halves=1.0, power=-1):
    def of(count):
        place = torch.linspace(2 * math.pi / count, 2 * math.pi, count)
        rate = torch.exp(torch.arange(0, num_features, 2) * (power * math.log(10000.0) * halves / num_features))
        angle = torch.outer(rate, place)  # (F/2, count)
        return torch.stack([torch.sin(angle), torch.cos(angle)], 1).reshape(num_features, count)

    rows, columns = of(height), of(width)
    return torch.cat([rows.unsqueeze(2).repeat(1, 1, width), columns.unsqueeze(1).repeat(1, height, 1)])


def as_lists(height, width, num_features, of_row=lambda r, h: 2 * math.pi * (r + 1) / h):
    def code(place):
        waves = [place / 10000 ** (2 * i / num_features) for i in range(num_features // 2)]
        return [number for angle in waves for number in (math.sin(angle), math.cos(angle))]

    cells = [
        [code(of_row(r, height)) + code(of_row(c, width)) for c in range(width)] for r in range(height)
    ]  # height × width × 2F
    return torch.tensor(cells).movedim(2, 0)


def channels_last(height, width, num_features):
    return filled_by_slices(height, width, num_features).movedim(0, 2)


def halves_of_sines(height, width, num_features):
    codes = filled_by_slices(height, width, num_features).unflatten(0, (2, -1))  # (2, F, h, w)
    return torch.cat([codes[:, 0::2], codes[:, 1::2]], dim=1).flatten(0, 1)


def steps_of_two(height, width, num_features, factor=2):
    length = 10000 ** (factor * torch.arange(0, num_features, 2) / num_features)
    y, x = (2 * math.pi * torch.arange(1, n + 1)[:, None] / n / length for n in (height, width))  # (n, F/2) each
    y, x = (torch.stack([angle.sin(), angle.cos()], 2).flatten(1).T for angle in (y, x))
    return torch.cat([y[:, :, None].expand(-1, -1, width), x[:, None].expand(-1, height, -1)])


def features_shared(height, width, num_features):
    return steps_of_two(height, width, num_features // 2, factor=1)


def double_precision(height, width, num_features):
    return filled_by_slices(height, width, num_features).double()


def last_row_first(height, width, num_features):
    return as_lists(height, width, num_features).flip(1)


# --- attention --------------------------------------------------------------------------------------------------------


def viewed(query, key, value, num_heads, hidden, divide=None, fill=float("-inf"), axis=-1):
    B, L, E = query.shape
    S, d = key.shape[1], E // num_heads
    q = query.view(B, L, num_heads, d).transpose(1, 2)
    k = key.view(B, S, num_heads, d).transpose(1, 2)
    v = value.view(B, S, num_heads, d).transpose(1, 2)
    scores = torch.matmul(q, k.transpose(-2, -1)) / math.sqrt(divide or d)
    scores = scores.masked_fill(hidden.unsqueeze(1).unsqueeze(2), fill)
    weights = F.softmax(scores, dim=axis)
    return torch.matmul(weights, v).transpose(1, 2).contiguous().view(B, L, E), weights


def by_einsum(query, key, value, num_heads, hidden):
    q, k, v = (x.reshape(*x.shape[:2], num_heads, -1) for x in (query, key, value))
    scores = torch.einsum("blhd,bshd->bhls", q, k) * q.shape[-1] ** -0.5
    scores = scores - 1e9 * hidden[:, None, None].float()
    weights = torch.softmax(scores, 3)
    return torch.einsum("bhls,bshd->blhd", weights, v).reshape(query.shape), weights


def head_by_head(query, key, value, num_heads, hidden):
    answers, weights = [], []
    for q, k, v in zip(*(x.chunk(num_heads, dim=-1) for x in (query, key, value))):
        e = torch.exp(q @ k.mT / q.shape[-1] ** 0.5) * ~hidden[:, None]
        weights.append(e / e.sum(-1, keepdim=True))
        answers.append(weights[-1] @ v)
    return torch.cat(answers, -1), torch.stack(weights, 1)


def by_torch(query, key, value, num_heads, hidden, **settings):
    E = query.shape[2]
    layer = nn.MultiheadAttention(E, num_heads, bias=False, batch_first=True)
    with torch.no_grad():
        layer.in_proj_weight.copy_(torch.eye(E).repeat(3, 1))
        layer.out_proj.weight.copy_(torch.eye(E))
    with torch.no_grad():
        return layer(query, key, value, hidden, **({"average_attn_weights": False} | settings))


def pictures_and_heads_as_one(query, key, value, num_heads, hidden, repeated=None):
    B, L, E = query.shape
    q, k, v = (x.reshape(B, -1, num_heads, E // num_heads).transpose(1, 2).flatten(0, 1) for x in (query, key, value))
    mask = (repeated or (lambda h: h.repeat_interleave(num_heads, 0)))(hidden)[:, None]  # (B · H, 1, S)
    weights = (torch.bmm(q, k.transpose(1, 2)) / (E // num_heads) ** 0.5).masked_fill(mask, -1e30).softmax(-1)
    answer = torch.bmm(weights, v).reshape(B, num_heads, L, -1).transpose(1, 2).reshape(B, L, E)
    return answer, weights.reshape(B, num_heads, L, -1)


def heads_behind_each_other(query, key, value, num_heads, hidden):
    B = len(query)
    q, k, v = (torch.cat(x.chunk(num_heads, 2)) for x in (query, key, value))  # (H · B, N, d)
    scores = (q @ k.mT / q.shape[2] ** 0.5).masked_fill(hidden.repeat(num_heads, 1)[:, None], float("-inf"))
    weights = scores.softmax(2)
    return torch.cat((weights @ v).chunk(num_heads), 2), weights.view(B, num_heads, *weights.shape[1:])


def reshaped(query, key, value, num_heads, hidden):
    (B, L, E), d = query.shape, query.shape[2] // num_heads
    q, k, v = (x.reshape(B, num_heads, -1, d) for x in (query, key, value))
    w = (q @ k.mT / d**0.5).masked_fill(hidden[:, None, None], -1e9).softmax(-1)
    return (w @ v).reshape(B, L, E), w


def shown_and_not_hidden(query, key, value, num_heads, hidden):
    return viewed(query, key, value, num_heads, ~hidden)


def multiplied_by_what_is_seen(query, key, value, num_heads, hidden):
    q, k, v = (x.unflatten(2, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    scores = q @ k.mT / q.shape[-1] ** 0.5 * ~hidden[:, None, None]
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2), scores.softmax(-1)


def answer_alone(*given):
    return viewed(*given)[0]


def weights_first(*given):
    return viewed(*given)[::-1]


# --- matching_cost ----------------------------------------------------------------------------------------------------


def by_cdist(logits, boxes, labels, true_boxes, p=1.0):
    cost_class = -logits.softmax(-1)[:, labels]
    cost_bbox = torch.cdist(boxes, true_boxes, p=p)
    cost_giou = -generalized_box_iou(box_cxcywh_to_xyxy(boxes), box_cxcywh_to_xyxy(true_boxes))
    return 5 * cost_bbox + cost_class + 2 * cost_giou


def by_product_with_one_hot(logits, boxes, labels, true_boxes):
    p = logits.softmax(1) @ F.one_hot(labels, logits.shape[1]).float().T
    gap = (boxes.unsqueeze(1) - true_boxes.unsqueeze(0)).abs().sum(-1)
    convert = torchvision.ops.box_convert
    giou = torchvision.ops.generalized_box_iou(*(convert(b, "cxcywh", "xyxy") for b in (boxes, true_boxes)))
    return gap.mul(5).sub(p).sub(giou, alpha=2)


def box_after_box(logits, boxes, labels, true_boxes):
    cost = boxes.new_zeros(len(boxes), len(true_boxes))
    for j in range(len(true_boxes)):
        p = torch.exp(logits[:, labels[j]] - logits.logsumexp(1))
        away = (boxes - true_boxes[j]).abs().sum(1)
        giou = generalized_box_iou(box_cxcywh_to_xyxy(boxes), box_cxcywh_to_xyxy(true_boxes[j : j + 1]))[:, 0]
        cost[:, j] = 5 * away - p - 2 * giou
    return cost


def stacked_columns(*given):
    logits, boxes, labels, true_boxes = given
    return torch.stack([box_after_box(logits, boxes, k[None], b[None])[:, 0] for k, b in zip(labels, true_boxes)], 1)


def for_each_true_box(*given):
    return by_cdist(*given).T


def logits_as_they_are(logits, boxes, labels, true_boxes):
    return by_cdist((logits.exp().sum(1, keepdim=True) * 0 + 1) * logits, boxes, labels, true_boxes) + (
        logits.softmax(-1)[:, labels] - logits[:, labels]
    )


def labels_from_one(logits, boxes, labels, true_boxes):
    return by_cdist(logits, boxes, labels - 1, true_boxes)


def mean_of_four(logits, boxes, labels, true_boxes):
    return by_cdist(logits, boxes, labels, true_boxes) - 3.75 * torch.cdist(boxes, true_boxes, p=1)


def plain_iou(logits, boxes, labels, true_boxes):
    a, b = box_cxcywh_to_xyxy(boxes), box_cxcywh_to_xyxy(true_boxes)
    return by_cdist(logits, boxes, labels, true_boxes) + 2 * generalized_box_iou(a, b) - 2 * box_iou(a, b)


def cross_entropy(logits, boxes, labels, true_boxes):
    p = logits.softmax(-1)[:, labels]
    return by_cdist(logits, boxes, labels, true_boxes) + p - p.log()


def one_box_for_one_query(logits, boxes, labels, true_boxes):
    p = logits.softmax(1)[torch.arange(len(labels)), labels]
    giou = generalized_box_iou(box_cxcywh_to_xyxy(boxes), box_cxcywh_to_xyxy(true_boxes))
    return 5 * torch.cdist(boxes, true_boxes, p=1) - p - 2 * giou


# --- match_by_trying --------------------------------------------------------------------------------------------------


def with_loops(cost, ways=permutations, better=lambda total, best: total < best, start=float("inf"), known=True):
    """A search in plain numbers; `known`: whether the dtype is said."""
    costs, (num_queries, n) = cost.tolist(), cost.shape
    best, best_way = start, ()
    for way in ways(range(num_queries), n):
        total = 0.0
        for box in range(n):
            total += costs[way[box]][box]
        if better(total, best):
            best, best_way = total, way
    return torch.tensor(best_way, dtype=torch.int64 if known else None)


def by_recursion(cost):
    def search(box, used):
        if box == cost.shape[1]:
            return 0.0, []
        tries = []
        for query in set(range(len(cost))) - used:
            rest, way = search(box + 1, used | {query})
            tries.append((cost[query, box].item() + rest, [query, *way]))
        return min(tries)

    return torch.tensor(search(0, frozenset())[1]).long()


def without_doubles(cost):
    """All n-tuples, of which those with a query twice are left out."""
    n = cost.shape[1]
    ways = [way for way in product(range(cost.shape[0]), repeat=n) if len(set(way)) == n]
    picked = torch.tensor(ways).long().reshape(len(ways), n)
    return picked[cost.gather(0, picked).sum(1).argmin()] if n else torch.empty(0, dtype=torch.long)


def orders_of_all_queries(cost):
    """Permutations of all Q, of which the first n count."""
    n = cost.shape[1]
    ways = {way[:n] for way in permutations(range(cost.shape[0]))}
    return torch.LongTensor(min(ways, key=lambda way: sum(cost[way[j]][j].item() for j in range(n))))


def sets_and_orders(cost):
    costs, n = cost.tolist(), cost.shape[1]
    ways = (order for some in combinations(range(len(costs)), n) for order in permutations(some))
    return torch.tensor(sorted(ways, key=lambda way: sum(costs[q][t] for t, q in enumerate(way)))[0], dtype=torch.long)


def by_scipy(cost, part=1):
    return torch.as_tensor(linear_sum_assignment(cost.T)[part])


def by_scipy_as_it_comes(cost, part=0):
    return torch.as_tensor(linear_sum_assignment(cost)[part])


def taken_out(cost):
    chosen, left = [], list(range(len(cost)))
    for column in cost.T:
        query = min(left, key=lambda q: column[q])
        left.remove(query)
        chosen.append(query)
    return torch.tensor(chosen)


def pairs_sorted(cost):
    """All pairs, the cheapest first; one is taken if query and box are free."""
    answer, used = torch.full((cost.shape[1],), -1), set()
    for place in cost.flatten().argsort().tolist():
        query, box = divmod(place, cost.shape[1])
        if answer[box] < 0 and query not in used:
            answer[box] = query
            used.add(query)
    return answer


def tensor_of_pairs(cost):
    return torch.stack([by_scipy(cost), torch.arange(cost.shape[1])], dim=1)


def queries_for_boxes(cost):
    """Boxes that try all queries."""
    n, num_queries = cost.shape
    best = min(permutations(range(num_queries), n), key=lambda way: sum(cost[i, way[i]] for i in range(n)))
    return torch.tensor(best)


def dearest_pair(cost):
    n = cost.shape[1]
    ways = permutations(range(len(cost)), n)
    return torch.tensor(min(ways, key=lambda way: max((cost[way[t], t] for t in range(n)), default=0))).long()


def into_the_cost(cost):
    chosen = torch.zeros(cost.shape[1], dtype=torch.int64)
    for _ in range(cost.shape[1]):
        query, box = divmod(cost.argmin().item(), cost.shape[1])
        chosen[box] = query
        cost[query, :] = cost[:, box] = 1e9
    return chosen


# --- set_loss ---------------------------------------------------------------------------------------------------------


def corners_of(boxes):
    return box_convert(boxes, "cxcywh", "xyxy")


def with_torch(logits, boxes, labels, true_boxes, queries, least=1, diagonal=torch.diag):
    """`least` is the least that the sums over boxes are divided by."""
    nothing, n = logits.shape[1] - 1, len(labels)
    wanted = torch.full((logits.shape[0],), nothing, dtype=torch.int64)
    wanted[queries] = labels
    weight = torch.ones(nothing + 1)
    weight[-1] = 0.1
    said, count = boxes[queries], max(n, least)
    overlap = diagonal(generalized_box_iou(corners_of(said), corners_of(true_boxes)))
    second = F.l1_loss(said, true_boxes, reduction="sum")
    if not count:
        return F.cross_entropy(logits, wanted, weight=weight), second / n, (1 - overlap).mean()
    return F.cross_entropy(logits, wanted, weight=weight), second / count, (1 - overlap).sum() / count


def by_definition(logits, boxes, labels, true_boxes, queries, weigh=lambda seen: torch.where(seen, 1.0, 0.1)):
    """One-hot rows, weights of queries, and an elementwise GIoU."""
    wanted = torch.zeros_like(logits)
    wanted[:, -1] = 1
    wanted[queries] = F.one_hot(labels, logits.shape[1]).float()
    weights = weigh(wanted[:, -1] == 0)
    first = -((wanted * logits.log_softmax(-1)).sum(-1) * weights).sum() / weights.sum()
    if labels.numel() == 0:
        return first, 0 * boxes.sum(), 0 * boxes.sum()
    said = boxes.index_select(0, queries)
    second = torch.linalg.vector_norm(said - true_boxes, ord=1, dim=1).mean()
    return first, second, generalized_box_iou_loss(corners_of(said), corners_of(true_boxes), reduction="mean", eps=0)


def with_loops_over_boxes(logits, boxes, labels, true_boxes, queries, nothing=None):
    """Two sums of cross-entropies; the losses of boxes begin with a 0 that wants a gradient."""
    rest = torch.tensor([q for q in range(len(logits)) if q not in queries.tolist()], dtype=torch.long)
    no = torch.full((len(rest),), logits.shape[1] - 1 if nothing is None else nothing)
    things = F.cross_entropy(logits[queries], labels, reduction="sum")
    others = F.cross_entropy(logits[rest], no, reduction="sum")
    second, third = torch.zeros((), requires_grad=True), torch.zeros((), requires_grad=True)
    for q, true_box in zip(queries, true_boxes):
        second = second + (boxes[q] - true_box).abs().sum() / len(queries)
        overlap = generalized_box_iou(corners_of(boxes[q])[None], corners_of(true_box)[None])
        third = third + (1 - overlap[0, 0]) / len(queries)
    return (things + 0.1 * others) / (len(queries) + 0.1 * len(rest)), second, third


def plain_zeros(*given):
    first, *rest = with_torch(*given)
    return first, *(rest if len(given[2]) else [torch.tensor(0.0), torch.tensor(0.0)])


def logarithm_of_softmax(logits, boxes, labels, true_boxes, queries, tiny=0.0):
    wanted = torch.full((len(logits),), logits.shape[1] - 1)
    wanted[queries] = labels
    weight = torch.where(wanted == logits.shape[1] - 1, 0.1, 1.0)
    each = -(logits.softmax(1) + tiny).log()[range(len(logits)), wanted]
    return (each * weight).sum() / weight.sum(), *with_torch(logits, boxes, labels, true_boxes, queries)[1:]


def by_a_mask(logits, boxes, labels, true_boxes, queries):
    seen = torch.zeros(len(logits), dtype=torch.bool)
    seen[queries] = True
    wanted = torch.full((len(logits),), logits.shape[1] - 1).masked_scatter(seen, labels)
    weight = torch.tensor([1.0] * (logits.shape[1] - 1) + [0.1])
    _, second, third = with_torch(logits, boxes[seen], labels, true_boxes, torch.arange(len(labels)))
    return F.cross_entropy(logits, wanted, weight), second, third


def other_things_ignored(logits, boxes, labels, true_boxes, queries):
    wanted = torch.full((len(logits),), -100)
    wanted[queries] = labels
    _, second, third = with_torch(logits, boxes, labels, true_boxes, queries)
    return F.cross_entropy(logits, wanted), second, third


def background_first(logits, boxes, labels, true_boxes, queries):
    wanted = torch.zeros(len(logits), dtype=torch.int64)
    wanted[queries] = labels + 1
    weight = torch.ones(logits.shape[1])
    weight[0] = 0.1
    return F.cross_entropy(logits, wanted, weight), *with_torch(logits, boxes, labels, true_boxes, queries)[1:]


def another_iou(logits, boxes, labels, true_boxes, queries):
    first, second, _ = with_torch(logits, boxes, labels, true_boxes, queries)
    third = complete_box_iou_loss(corners_of(boxes[queries]), corners_of(true_boxes), reduction="sum")
    return first, second, third / max(len(labels), 1)


def default_losses(logits, boxes, labels, true_boxes, queries):
    """Everything by default: `F.l1_loss` and `mean`."""
    first = with_torch(logits, boxes, labels, true_boxes, queries)[0]
    overlap = generalized_box_iou(corners_of(boxes[queries]), corners_of(true_boxes)).diag()
    return first, F.l1_loss(boxes[queries], true_boxes), (1 - overlap).mean()


def true_things_by_query(logits, boxes, labels, true_boxes, queries):
    return with_torch(logits, boxes, labels, true_boxes[queries], queries)


def off_the_graph(logits, boxes, *rest):
    return with_torch(logits, boxes.detach(), *rest)


# --- post_process -----------------------------------------------------------------------------------------------------


def by_mask(logits, boxes, image_size, least, reach=torch.ge, softmax=torch.softmax, sides=(1, 0, 1, 0)):
    scores, labels = softmax(logits, -1)[..., :-1].max(-1)
    x, y, w, h = boxes.unbind(-1)
    corners = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=1)
    corners = corners * torch.tensor([float(image_size[i]) for i in sides])
    keep = reach(scores, least)
    return corners[keep], scores[keep], labels[keep]


def query_after_query(logits, boxes, image_size, least):
    height, width = image_size
    kept, scores, labels = [], [], []
    for row, (x, y, w, h) in zip(logits, boxes):
        share = row.exp() / row.exp().sum()
        label = share[:-1].argmax()
        if share[label] >= least:
            kept.append(torch.stack([x * width, y * height, x * width, y * height]))
            kept[-1] += torch.stack([-w * width, -h * height, w * width, h * height]) / 2
            scores.append(share[label])
            labels.append(int(label))
    return torch.stack([torch.zeros(4), *kept])[1:], torch.tensor(scores), torch.tensor(labels, dtype=torch.int64)


def stacked(logits, boxes, image_size, least):
    rows = [by_mask(logits[i : i + 1], boxes[i : i + 1], image_size, least) for i in range(len(logits))]
    rows = [row for row in rows if len(row[1])]
    return tuple(torch.cat([row[i] for row in rows]) for i in range(3))


def in_pixels_first(logits, boxes, image_size, least):
    """Pixels, then corners; places instead of a mask; logarithms of shares."""
    h, w = image_size
    pixels = boxes.clone()
    pixels[:, 0::2] *= w
    pixels[:, 1::2] *= h
    things = F.log_softmax(logits, dim=1)[:, : logits.shape[1] - 1]
    labels = things.argmax(dim=1)
    scores = things.gather(1, labels.unsqueeze(1)).squeeze(1).exp()
    stay = (scores >= least).nonzero().flatten()
    return [box_convert(pixels, "cxcywh", "xyxy")[stay], scores[stay], labels[stay]]


def into_the_boxes(logits, boxes, image_size, least):
    boxes *= torch.tensor([image_size[1], image_size[0]] * 2)
    return by_mask(logits, boxes, (1, 1), least)


def corner_and_size(logits, boxes, image_size, least):
    found, *rest = by_mask(logits, boxes, image_size, least)
    return box_convert(found, "xyxy", "xywh"), *rest


def middle_and_size(logits, boxes, image_size, least):
    _, *rest = by_mask(logits, boxes, image_size, least)
    keep = logits.softmax(1)[:, :-1].amax(1) >= least
    return (boxes * torch.tensor(image_size).flip(0).repeat(2))[keep], *rest


def dropped_where_nothing_wins(logits, boxes, image_size, least):
    scores, labels = logits.softmax(1).max(1)
    keep = (labels != logits.shape[1] - 1) & (scores >= least)
    corners = by_mask(logits, boxes, image_size, 0.0)[0]
    return corners[keep], scores[keep], labels[keep]


def one_detection_each(logits, boxes, image_size, least):
    found, scores, labels = by_mask(logits, boxes, image_size, least)
    kept = nms(found, scores, 0.5).sort().values
    return found[kept], scores[kept], labels[kept]


def dictionary(*given):
    return dict(zip(("boxes", "scores", "labels"), by_mask(*given)))


def one_table(*given):
    found, scores, labels = by_mask(*given)
    return torch.cat([found, scores[:, None], labels[:, None]], dim=1)


def sides_of_a_square(logits, boxes, image_size, least):
    return by_mask(logits, boxes, image_size, least, sides=(0, 0, 0, 0))


# --- all --------------------------------------------------------------------------------------------------------------


def nan_without_boxes(made):
    def losses(*given):
        first, second, third = opened(*given, **made)
        return (first, second, third) if len(given[4]) else (first, second * torch.nan, third * torch.nan)

    return losses


WRONG = {
    "sine_positions": [
        ("the first row at 0", lambda *given: filled_by_slices(*given, start=0)),
        ("2π left out", lambda *given: as_the_authors_write(*given, scale=1)),
        ("2π left out, and the first row at 0", lambda *given: as_the_authors_write(*given, scale=1, later=0)),
        ("an exponent for each channel", lambda *given: as_the_authors_write(*given, pairs=False)),
        ("in the middles of cells", lambda *given: as_the_authors_write(*given, later=0.5)),
        ("rows counted from 1", lambda *given: as_lists(*given, of_row=lambda r, h: r + 1)),
        ("rows counted from 0", lambda *given: as_lists(*given, of_row=lambda r, h: r)),
        ("degrees", lambda *given: as_lists(*given, of_row=lambda r, h: 360 * (r + 1) / h)),
        ("degrees", lambda *given: filled_by_slices(*given, turn=360)),
        ("from 0 to 2π", lambda *given: as_lists(*given, of_row=lambda r, h: 2 * math.pi * r / (h - 1))),
        ("exponent i / F", lambda *given: by_exponential(*given, halves=0.5)),
        ("exponent 4i / F", steps_of_two),
        ("F for both together", features_shared),
        ("multiplied instead of divided", lambda *given: by_exponential(*given, power=1)),
        ("multiplied instead of divided", lambda *given: filled_by_slices(*given, temperature=1e-4)),
        ("sines first", halves_of_sines),
        ("two inputs exchanged", lambda height, width, num_features: by_exponential(width, height, num_features)),
        ("axes swapped", channels_last),
        ("wrong dtype", double_precision),
        ("mirrored", last_row_first),
    ],
    "attention": [
        ("divided by √E", lambda *given: viewed(*given, divide=given[0].shape[2])),
        ("not scaled", lambda *given: viewed(*given, divide=1)),
        ("score 0 for hidden keys", lambda *given: viewed(*given, fill=1e-9)),
        ("score 0 for hidden keys", multiplied_by_what_is_seen),
        ("a score too high for hidden keys", lambda *given: viewed(*given, fill=-5)),
        ("softmax over the queries", lambda *given: viewed(*given, axis=2)),
        (
            "softmax over the queries, a hidden key for all alike",
            lambda *given: viewed(*given, fill=torch.finfo(torch.float32).min, axis=2),
        ),
        ("softmax over the heads", lambda *given: viewed(*given, axis=1)),
        ("True and False exchanged", shown_and_not_hidden),
        ("weights averaged over the heads", lambda *given: by_torch(*given, average_attn_weights=True)),
        (
            "another picture's padding",
            lambda *given: pictures_and_heads_as_one(*given, repeated=lambda h: h.repeat(given[3], 1)),
        ),
        ("heads and pictures exchanged", heads_behind_each_other),
        ("cut without moving an axis", reshaped),
        ("wrong type", answer_alone),
        ("returned in another order", weights_first),
        ("two inputs exchanged", lambda query, key, value, *rest: by_einsum(query, value, key, *rest)),
    ],
    "matching_cost": [
        ("straight distance", lambda *given: by_cdist(*given, p=2.0)),
        ("axes swapped", for_each_true_box),
        ("crashes for some inputs", stacked_columns),
        ("softmax forgotten", logits_as_they_are),
        ("classes counted from 1", labels_from_one),
        ("mean instead of sum", mean_of_four),
        ("IoU for GIoU", plain_iou),
        ("−log p for −p", cross_entropy),
        ("p of one query for each box", one_box_for_one_query),
        ("sign flipped", lambda *given: -by_cdist(*given)),
        ("1 − p and 1 − GIoU", lambda *given: by_product_with_one_hot(*given) + 3),
    ],
    "match_by_trying": [
        ("only ascending queries", lambda cost: with_loops(cost, combinations)),
        ("a query for two boxes", lambda cost: with_loops(cost, lambda all_of, n: product(all_of, repeat=n))),
        ("float32 for nothing", lambda cost: with_loops(cost, known=False)),
        ("only ascending queries; float32 for nothing", lambda cost: with_loops(cost, combinations, known=False)),
        ("largest sum", lambda cost: with_loops(cost, better=lambda total, best: total > best, start=-1e9)),
        ("box after box; float32 for nothing", taken_out),
        ("the cheapest pair first", pairs_sorted),
        ("the dearest pair counts", dearest_pair),
        ("sorted", by_scipy_as_it_comes),
        ("boxes instead of queries", lambda cost: by_scipy_as_it_comes(cost, part=1)),
        ("counted from 1", lambda cost: with_loops(cost) + 1),
        ("wrong type", lambda cost: with_loops(cost).tolist()),
        ("wrong dtype", lambda cost: with_loops(cost).int()),
        ("wrong shape", tensor_of_pairs),
        ("rows taken for boxes", queries_for_boxes),
        ("input changed in place", into_the_cost),
    ],
    "set_loss": [
        ("the mean of nothing", lambda *given: with_torch(*given, least=0)),
        *((f"{name}; the mean of nothing", nan_without_boxes(made)) for name, _, made in DECISIONS),
        ("mean over four; the mean of nothing", default_losses),
        ("no gradient without boxes", plain_zeros),
        ("logarithm after the softmax", logarithm_of_softmax),
        ("matched queries only; the mean of nothing", other_things_ignored),
        ("queries in ascending order", by_a_mask),
        ("0.1 forgotten", lambda *given: by_definition(*given, weigh=lambda seen: torch.ones(len(seen)))),
        ("0.1 for the things", lambda *given: by_definition(*given, weigh=lambda seen: torch.where(seen, 0.1, 1.0))),
        ("returned in another order", lambda *given: with_torch(*given)[::-1]),
        ("added together", lambda *given: sum(with_torch(*given))),
        ("wrong type", lambda *given: tuple(loss.item() for loss in with_torch(*given))),
        ("gradient cut off", off_the_graph),
        ("true_boxes by query", true_things_by_query),
        ("only part 3", another_iou),
        ("logarithm after the softmax, limited", lambda *given: logarithm_of_softmax(*given, tiny=1e-12)),
        ("nothing is class 0, and the labels moved up", background_first),
    ],
    "post_process": [
        ("exactly `least` dropped", lambda *given: by_mask(*given, reach=torch.gt)),
        ("softmax forgotten", lambda *given: by_mask(*given, softmax=lambda x, dim: x)),
        ("width before height", lambda *given: by_mask(*given, sides=(0, 1, 0, 1))),
        ("where nothing is likeliest, dropped", dropped_where_nothing_wins),
        ("corner and size returned", corner_and_size),
        ("middle and size returned", middle_and_size),
        ("counted from 1", lambda *given: (*by_mask(*given)[:2], by_mask(*given)[2] + 1)),
        ("rounded", lambda *given: (by_mask(*given)[0].round(), *by_mask(*given)[1:])),
        ("returned in another order", lambda *given: tuple(by_mask(*given)[i] for i in (1, 2, 0))),
        ("returned in another order", lambda *given: tuple(by_mask(*given)[i] for i in (0, 2, 1))),
        ("input changed in place", into_the_boxes),
        ("crashes for some inputs", stacked),
        ("only part 1", sides_of_a_square),
        ("wrong type", dictionary),
        ("wrong type", one_table),
        ("NMS over all classes, in the queries' order", one_detection_each),
    ],
}

RIGHT = {
    "sine_positions": [
        filled_by_slices,
        as_the_authors_write,
        by_exponential,
        as_lists,
        lambda *given: steps_of_two(*given, factor=1),
    ],
    "attention": [viewed, by_einsum, head_by_head, by_torch, pictures_and_heads_as_one],
    "matching_cost": [by_cdist, by_product_with_one_hot, box_after_box],
    "match_by_trying": [with_loops, by_recursion, without_doubles, orders_of_all_queries, sets_and_orders, by_scipy],
    "set_loss": [with_torch, by_definition, with_loops_over_boxes],
    "post_process": [by_mask, query_after_query, in_pixels_first],
}
