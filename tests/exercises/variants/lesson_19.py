"""Answers to the exercises of lesson 19 as others write them."""

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F
import torchvision

from lib.ops.boxes import box_iou
from lib.ops.masks import masks_to_boxes
from lib.ops.nms import nms

# --- contrastive_logits -----------------------------------------------------------------------------------------------


def by_einsum(queries, tokens, words, bias):
    fit = torch.einsum("qd,td->qt", queries, tokens) / math.sqrt(queries.size(1)) + bias
    return torch.where(words, fit, -torch.inf)


def by_broadcast(queries, tokens, words, bias, pooled=lambda products: products.sum(-1)):
    fit = pooled(queries[:, None] * tokens) / queries.shape[-1] ** 0.5 + bias
    fit[:, ~words] = float("-inf")
    return fit


def mask_added(queries, tokens, words, bias):
    return queries @ tokens.t() * queries.shape[1] ** -0.5 + bias + torch.log(words.float())


def vectors_scaled_first(queries, tokens, words, bias):
    root = queries.shape[1] ** 0.25
    return F.linear(queries / root, tokens / root).add(bias).masked_fill(words.logical_not()[None], -math.inf)


def query_by_query(queries, tokens, words, bias):
    rows = [tokens @ query / math.sqrt(len(query)) + bias for query in queries]
    fit = torch.stack(rows) if rows else queries @ tokens.T
    return fit.masked_fill(words == False, -math.inf)  # noqa: E712


def hidden_first(queries, tokens, words, bias):
    return (queries @ tokens.T).masked_fill(~words, -torch.inf) / queries.shape[1] ** 0.5 + bias


def loop_without_gradient(queries, tokens, words, bias):
    fit = torch.full((len(queries), len(tokens)), -math.inf)
    for q, t in itertools.product(range(len(queries)), range(len(tokens))):
        if words[t]:
            fit[q, t] = torch.dot(queries[q], tokens[t]).item() / queries.shape[1] ** 0.5 + bias
    return fit


def tokens_first(queries, tokens, words, bias):
    return (tokens @ queries.T / queries.shape[1] ** 0.5 + bias).masked_fill(~words[:, None], -math.inf)


def tokens_overwritten(queries, tokens, words, bias):
    tokens[~words] = -math.inf
    return queries @ tokens.T / queries.shape[1] ** 0.5 + bias


# --- sub_sentence_mask ------------------------------------------------------------------------------------------------


def by_cumsum(ids, separator, compare=torch.ne):
    ends = (ids == separator).long()
    number = ends.cumsum(0) - ends
    same = number[:, None] == number
    return compare(number[:, None], number), same.tril(-1).sum(1)


def block_by_block(ids, separator, last=True, behind=1):
    size = len(ids)
    hidden, places = torch.ones(size, size, dtype=torch.bool), torch.zeros(size, dtype=torch.long)
    start = 0
    ends = (ids == separator).nonzero()[:, 0].tolist()
    for end in [*ends, size - 1] if last else ends:
        stop = end + behind
        hidden[start:stop, start:stop] = False
        places[start:stop] = torch.arange(stop - start)
        start = end + 1
    return hidden, places


def block_by_block_checked(ids, separator):
    """The last block may be empty, and a slice backwards is."""
    hidden, places = torch.full((len(ids), len(ids)), True), []
    phrase = []
    for i, token in enumerate(ids):
        phrase.append(i)
        places.append(len(phrase) - 1)
        if token == separator or i == len(ids) - 1:
            for one in phrase:
                hidden[one, phrase] = False
            phrase = []
    return hidden, torch.tensor(places)


def by_numpy(ids, separator):
    ends = ids.numpy() == separator
    number = np.concatenate([[0], np.cumsum(ends)[:-1]])
    starts = np.searchsorted(number, number)
    return torch.from_numpy(number[:, None] != number), torch.from_numpy(np.arange(len(ends)) - starts)


def by_split(ids, separator):
    lengths, run = [], 0
    for token in ids.tolist():
        run += 1
        if token == separator:
            lengths, run = [*lengths, run], 0
    lengths += [run] if run else []
    blocks = torch.block_diag(*(torch.ones(n, n) for n in lengths))
    return blocks == 0, torch.cat([torch.arange(n) for n in lengths])


def by_roll(ids, separator):
    begins = (ids == separator).roll(1)
    begins[0] = True
    number, index = begins.cumsum(0), torch.arange(len(ids))
    return number.unsqueeze(1) != number.unsqueeze(0), index - index[begins][number - 1]


def ended_before(ids, separator):
    number = (ids == separator).cumsum(0)
    first = torch.searchsorted(number, number)
    return number[:, None] != number, torch.arange(len(ids)) - first


def as_floats(ids, separator):
    hidden, places = by_cumsum(ids, separator)
    return hidden.float(), places


def first_separator_alone(ids, separator):
    """Looks for one separator, and has two phrases."""
    end = (ids == separator).nonzero()[0, 0]
    number = (torch.arange(len(ids)) > end).long()
    return number[:, None] != number, torch.arange(len(ids)) - number * (end + 1)


# --- select_queries ---------------------------------------------------------------------------------------------------


def by_topk(logits, num_queries, size, side):
    h, w = size
    _, cells = logits.max(dim=-1).values.topk(num_queries)
    row, column = torch.div(cells, w, rounding_mode="floor"), cells % w
    boxes = torch.stack([(column + 0.5) / w, (row + 0.5) / h, *2 * [torch.full(cells.shape, side)]], dim=-1)
    return cells, boxes


def by_mesh(logits, num_queries, size, side, indexing="ij"):
    h, w = size
    y, x = torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing=indexing)
    boxes = torch.full((h * w, 4), side)
    boxes[:, :2] = torch.stack([x, y], -1).reshape(-1, 2)
    cells = logits.amax(1).argsort(descending=True)[:num_queries]
    return cells, boxes[cells]


def in_a_loop(logits, num_queries, size, side):
    best = [max(row) for row in logits.tolist()]
    cells = sorted(range(len(best)), key=lambda cell: -best[cell])[:num_queries]
    boxes = torch.zeros(num_queries, 4)
    for n, cell in enumerate(cells):
        row, column = divmod(cell, size[1])
        boxes[n] = torch.tensor([(column + 0.5) / size[1], (row + 0.5) / size[0], side, side])
    return torch.tensor(cells, dtype=torch.long), boxes


def by_argmax(logits, num_queries, size, side):
    best, cells = logits.max(1)[0].clone(), []
    for _ in range(num_queries):
        cells.append(int(best.argmax()))
        best[cells[-1]] = -torch.inf
    cells = torch.tensor(cells).long()
    x, y = (cells % size[1]).double(), (cells // size[1]).double()
    corner = torch.stack([x / size[1], y / size[0]], 1)
    half_cell = torch.tensor([0.5 / size[1], 0.5 / size[0]])
    return cells, torch.cat([corner + half_cell, torch.full((num_queries, 2), side)], 1)


def by_sigmoid_and_numpy(logits, num_queries, size, side):
    best = logits.double().sigmoid().numpy().max(axis=1)
    cells = np.argsort(-best)[:num_queries]
    rows, columns = np.unravel_index(cells, size)
    boxes = np.stack([(columns + 0.5) / size[1], (rows + 0.5) / size[0]] + 2 * [np.full(len(cells), side)], axis=1)
    return torch.from_numpy(cells), torch.from_numpy(boxes)


def width_first(logits, num_queries, size, side):
    return by_topk(logits, num_queries, size[::-1], side)


def map_order(logits, num_queries, size, side):
    chosen = torch.zeros(len(logits), dtype=torch.bool)
    chosen[logits.amax(1).topk(num_queries).indices] = True
    cells = chosen.nonzero()[:, 0]
    return cells, boxes_of_cells(cells, size, side)


def boxes_of_cells(cells, size, side):
    """All cells in a row with falling numbers: `by_mesh` gives each its box."""
    return by_mesh(-torch.arange(size[0] * size[1])[:, None].float(), size[0] * size[1], size, side)[1][cells]


def all_boxes(logits, num_queries, size, side):
    cells = logits.amax(1).topk(num_queries).indices
    return cells, boxes_of_cells(torch.arange(len(logits)), size, side)


def values_for_cells(logits, num_queries, size, side):
    values, cells = logits.amax(1).topk(num_queries)
    return values, boxes_of_cells(cells, size, side)


# --- phrase_labels ----------------------------------------------------------------------------------------------------


def in_plain_loops(logits, phrases, threshold, mean=lambda p: p.mean(), enough=lambda a, b: a >= b):
    found = []
    for query in range(len(logits)):
        for phrase in range(phrases.max() + 1):
            score = mean(logits[query, phrases == phrase].sigmoid()).item()
            if enough(score, threshold):
                found.append((score, query, phrase))
    found = sorted(found, reverse=True)
    queries = torch.tensor([f[1] for f in found], dtype=torch.int64)
    labels = torch.tensor([f[2] for f in found], dtype=torch.int64)
    return queries, labels, torch.tensor([f[0] for f in found])


def by_matrix(logits, phrases, threshold):
    words = phrases >= 0
    of = (phrases[words][:, None] == torch.arange(int(phrases.max()) + 1)).float()  # (W, P)
    scores = logits[:, words].sigmoid() @ of / of.sum(0)
    places = torch.where(scores >= threshold)
    values, order = scores[places].sort(descending=True)
    return places[0][order], places[1][order], values


def by_one_hot(logits, phrases, threshold):
    words = phrases >= 0
    of = torch.nn.functional.one_hot(phrases[words]).float()  # (W, P)
    return ordered(logits[:, words].sigmoid() @ of / of.sum(0), threshold)


def as_a_product(logits, phrases, threshold):
    of = (phrases[:, None] == torch.arange(phrases.max() + 1)).double()
    scores = torch.einsum("qt,tp->qp", logits.double().sigmoid(), of / of.sum(0))
    values, places = scores.flatten().sort(descending=True)
    places, values = places[values >= threshold], values[values >= threshold]
    return torch.div(places, scores.shape[1] or 1, rounding_mode="floor"), places % (scores.shape[1] or 1), values


def by_index_add(logits, phrases, threshold):
    number = phrases.max() + 1
    words = phrases >= 0
    scores = torch.zeros(len(logits), number).index_add(1, phrases[words], logits.sigmoid()[:, words])
    pairs = (scores / phrases[words].bincount(minlength=number) >= threshold).nonzero()
    values = scores[pairs[:, 0], pairs[:, 1]] / (phrases[:, None] == pairs[:, 1]).sum(0)
    order = values.argsort(descending=True)
    return pairs[order, 0], pairs[order, 1], values[order]


def in_numpy(logits, phrases, threshold):
    words = phrases.numpy() >= 0
    p = 1 / (1 + np.exp(-logits.numpy()[:, words].astype(np.float64)))
    scores = np.zeros((len(p), phrases.max() + 1))
    for label in range(scores.shape[1]):
        scores[:, label] = p[:, phrases.numpy()[words] == label].mean(1)
    queries, labels = np.nonzero(scores >= threshold)
    order = np.argsort(-scores[queries, labels])
    queries, labels = queries[order], labels[order]
    return torch.from_numpy(queries), torch.from_numpy(labels), torch.from_numpy(scores[queries, labels])


def appended(logits, phrases, threshold):
    scores = logits.new_zeros(len(logits), int(phrases.max()) + 1)
    counts = torch.zeros(scores.shape[1])
    for t, phrase in enumerate(phrases.tolist()):
        if phrase != -1:
            scores[:, phrase] += logits[:, t].sigmoid()
            counts[phrase] += 1
    scores = scores / counts
    queries, labels = (scores >= threshold).nonzero().unbind(1)
    order = (-scores[queries, labels]).argsort()
    return [queries[order], labels[order], scores[queries, labels][order]]


def minus_1_as_place(logits, phrases, threshold):
    scores, counts = torch.zeros(len(logits), int(phrases.max()) + 1), torch.zeros(int(phrases.max()) + 1)
    for t, phrase in enumerate(phrases.tolist() if len(counts) else []):
        scores[:, phrase] += logits[:, t].sigmoid()
        counts[phrase] += 1
    return ordered(scores / counts, threshold)


def ordered(scores, threshold):
    queries, labels = (scores >= threshold).nonzero(as_tuple=True)
    order = scores[queries, labels].argsort(descending=True)
    return queries[order], labels[order], scores[queries, labels][order]


def columns(logits, phrases, numbers, pool=lambda words: words.sigmoid().mean(1)):
    made = [pool(logits[:, phrases == number]) for number in numbers]
    return torch.stack(made, 1) if made else torch.zeros(len(logits), 0)


def stacked_without_care(logits, phrases, threshold):
    return ordered(
        torch.stack([logits[:, phrases == p].sigmoid().mean(1) for p in range(phrases.max() + 1)], 1), threshold
    )


def by_unique(logits, phrases, threshold):
    return ordered(columns(logits, phrases, phrases.unique()), threshold)


def too_few(logits, phrases, threshold):
    return ordered(columns(logits, phrases, range(phrases.max())), threshold)


def argmax_of_query(logits, phrases, threshold):
    scores = columns(logits, phrases, range(phrases.max() + 1))
    if not scores.numel():
        return ordered(scores, threshold)
    best, labels = scores.max(1)
    queries = (best >= threshold).nonzero()[:, 0]
    queries = queries[best[queries].argsort(descending=True)]
    return queries, labels[queries], best[queries]


def logit_threshold(logits, phrases, threshold):
    scores = columns(logits, phrases, range(phrases.max() + 1), lambda w: w.mean(1).sigmoid())
    return ordered(scores, threshold)


def all_in_one_mean(logits, phrases, threshold):
    words = phrases >= 0
    mean = logits[:, words].sigmoid().mean(1)
    return ordered(mean[:, None].expand(-1, int(phrases.max()) + 1), threshold)


def empty_list_of_floats(logits, phrases, threshold):
    return tuple(torch.tensor(part.tolist()) for part in by_matrix(logits, phrases, threshold))


def two_columns(logits, phrases, threshold):
    queries, labels, scores = by_matrix(logits, phrases, threshold)
    return torch.stack([queries, labels], 1), scores


def best_phrase_first(logits, phrases, threshold):
    """Sorted, but within each query alone."""
    queries, labels, scores = in_plain_loops(logits, phrases, threshold)
    order = queries.argsort(stable=True)
    return queries[order], labels[order], scores[order]


def flattened(logits, phrases, threshold):
    """Places in the flattened table are taken for queries."""
    scores = columns(logits, phrases, range(phrases.max() + 1)).flatten()
    places = scores.argsort(descending=True)
    places = places[scores[places] >= threshold]
    return places, places % max(int(phrases.max()) + 1, 1), scores[places]


# --- boxes_to_prompts -------------------------------------------------------------------------------------------------


def cut_as_shares(boxes, size, side):
    x, y, w, h = boxes.unbind(1)
    corners = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1).clamp(0, 1)
    width, height = size[1] * side / max(size), size[0] * side / max(size)
    points = (corners * torch.tensor([width, height, width, height])).view(-1, 2, 2)
    return points, torch.tensor([2, 3]).expand(len(boxes), 2)


def box_by_box(boxes, size, side, longer=max):
    h, w = size
    factor = side / longer(h, w)
    points = torch.zeros(len(boxes), 2, 2)
    labels = torch.zeros(len(boxes), 2, dtype=torch.int64)
    for i, (cx, cy, bw, bh) in enumerate(boxes.tolist()):
        for j, sign in enumerate([-0.5, 0.5]):
            points[i, j, 0] = min(max((cx + sign * bw) * w, 0), w) * factor
            points[i, j, 1] = min(max((cy + sign * bh) * h, 0), h) * factor
            labels[i, j] = 2 + j
    return points, labels


def middle_and_half(boxes, size, side, signs=(-1, 1)):
    length = torch.tensor([size[1], size[0]]) * (side / max(size))
    middle, half = boxes[:, None, :2], boxes[:, None, 2:] / 2
    points = (middle + half * torch.tensor(signs)[:, None]) * length
    points = torch.minimum(points.clamp(min=0), length)
    return points, torch.full((len(boxes), 2), 2) + torch.arange(2)


def prompts_in_numpy(boxes, size, side):
    b = boxes.numpy().astype(np.float64)
    scale = np.array(size[::-1]) * side / np.max(size)
    points = np.stack([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], axis=1) * scale
    return torch.from_numpy(np.clip(points, 0, scale)), torch.from_numpy(np.tile(np.array([2, 3]), (len(b), 1)))


def by_matrix_product(boxes, size, side):
    to_corners = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]])
    corners = (boxes @ to_corners).clamp(0, 1).reshape(-1, 2, 2)
    ones = torch.ones(len(boxes), dtype=torch.long)
    return corners * torch.tensor(size).flip(0) * side / max(size), torch.stack([2 * ones, 3 * ones], 1)


def one_pair_of_labels(boxes, size, side):
    return cut_as_shares(boxes, size, side)[0], torch.tensor([2, 3])


def labels_by_list(boxes, size, side):
    return cut_as_shares(boxes, size, side)[0], torch.tensor([[2, 3]] * len(boxes))


def outside_dropped(boxes, size, side):
    points, labels = middle_and_half(boxes, size, side)
    inside = (points[:, 1] > points[:, 0]).all(1)
    return points[inside], labels[inside]


def no_half(boxes, size, side):
    return middle_and_half(boxes, size, side, signs=(0, 2))


def size_as_given(boxes, size, side):
    points, labels = middle_and_half(boxes, size, side)
    return points / torch.tensor(size).flip(0) * torch.tensor(size), labels


def changed_in_place(boxes, size, side):
    boxes[:, :2] -= boxes[:, 2:] / 2
    boxes[:, 2:] += boxes[:, :2]
    points = boxes.clamp(0, 1).view(-1, 2, 2) * torch.tensor(size).flip(0) * side / max(size)
    return points, torch.tensor([2, 3]).repeat(len(boxes), 1)


def cut_at_whole(points, labels, size, side):
    ends = torch.tensor(size[::-1]) * side / max(size)
    return torch.minimum(points, ends.round()), labels


def new_points(change):
    def changed(boxes, size, side):
        points, labels = middle_and_half(boxes, size, side)
        return change(points), labels

    return changed


# --- auto_label -------------------------------------------------------------------------------------------------------


def box_around(mask, swapped=False):
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    x1, y1, x2, y2 = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return torch.stack([y1, x1, y2, x2] if swapped else [x1, y1, x2, y2]).float()


def thing_by_thing(boxes, scores, labels, masks, threshold, same, agree, around=box_around):
    kept = []
    for i in scores.argsort(descending=True).tolist():
        if scores[i] < threshold or not masks[i].any():
            continue
        alone = all(box_iou(boxes[i][None], boxes[j][None]).item() <= same for j in kept)
        if alone and box_iou(boxes[i][None], around(masks[i])[None]).item() >= agree:
            kept.append(i)
    return boxes[kept], labels[kept]


def places_of_good(boxes, scores, labels, masks, threshold, same, agree):
    places = ((scores >= threshold) & (masks.sum((1, 2)) > 0)).nonzero()[:, 0]
    tight = torch.zeros(len(boxes), 4)
    tight[places] = torchvision.ops.masks_to_boxes(masks[places]) + torch.tensor([0, 0, 1, 1])
    places = places[box_iou(boxes, tight).diagonal()[places] >= agree]
    places = places[torchvision.ops.nms(boxes[places], scores[places], same)]
    return boxes[places], labels[places]


def labels_in_numpy(boxes, scores, labels, masks, threshold, same, agree):
    b, s, m = boxes.numpy().astype(float), scores.numpy(), masks.numpy()
    good = np.zeros(len(b), dtype=bool)
    for i in range(len(b)):
        ys, xs = np.where(m[i])
        if s[i] >= threshold and len(xs):
            good[i] = overlap((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), b[i]) >= agree
    kept = []
    for i in np.argsort(-s):
        if good[i] and not any(overlap(b[i], b[j]) > same for j in kept):
            kept.append(i)
    kept = torch.tensor(kept, dtype=torch.int64)
    return boxes[kept], labels[kept]


def overlap(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def with_torchvision(boxes, scores, labels, masks, threshold, same, agree, add=1):
    good = (scores >= threshold) & masks.flatten(1).any(1)
    boxes, scores, labels, masks = boxes[good], scores[good], labels[good], masks[good]
    tight = torchvision.ops.masks_to_boxes(masks)
    tight[:, 2:] += add
    scores[torchvision.ops.box_iou(boxes, tight).diag() < agree] = -1
    kept = torchvision.ops.nms(boxes, scores, same)
    kept = kept[scores[kept] >= 0]
    return boxes[kept], labels[kept]


def empty_ones_boxed(boxes, scores, labels, masks, threshold, same, agree):
    tight = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])
    good = (scores >= threshold) & (box_iou(boxes, tight).diagonal() >= agree)
    kept = nms(boxes[good], scores[good], same)
    return boxes[good][kept], labels[good][kept]


def empty_ones_looped(boxes, scores, labels, masks, threshold, same, agree):
    tight = torch.stack([box_around(mask) for mask in masks]) if len(masks) else boxes
    good = (scores >= threshold) & (box_iou(boxes, tight).diagonal() >= agree)
    kept = nms(boxes[good], scores[good], same)
    return boxes[good][kept], labels[good][kept]


def nms_at_once(boxes, scores, labels, masks, threshold, same, agree):
    places = nms(boxes, scores, same)
    places = places[(scores[places] >= threshold) & masks[places].flatten(1).any(1)]
    tight = masks_to_boxes(masks[places]) + torch.tensor([0, 0, 1, 1])
    places = places[box_iou(boxes[places], tight).diagonal() >= agree]
    return boxes[places], labels[places]


def places_of_few(boxes, scores, labels, masks, threshold, same, agree):
    """What NMS says is looked up in the lists that were given."""
    good = (scores >= threshold) & masks.flatten(1).any(1)
    tight = masks_to_boxes(masks[good]) + torch.tensor([0, 0, 1, 1])
    fits = box_iou(boxes[good], tight).diagonal() >= agree
    kept = nms(boxes[good][fits], scores[good][fits], same)
    return boxes[kept], labels[kept]


def labels_forgotten_once(boxes, scores, labels, masks, threshold, same, agree):
    good = (scores >= threshold) & masks.flatten(1).any(1)
    boxes, scores, masks, few = boxes[good], scores[good], masks[good], labels[good]
    tight = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])
    fits = box_iou(boxes, tight).diagonal() >= agree
    kept = nms(boxes[fits], scores[fits], same)
    return boxes[fits][kept], few[kept]


def whole_table(boxes, scores, labels, masks, threshold, same, agree, judge):
    good = (scores >= threshold) & masks.flatten(1).any(1)
    tight = masks_to_boxes(masks[good]) + torch.tensor([0, 0, 1, 1])
    fits = judge(box_iou(boxes[good], tight)) >= agree
    kept = nms(boxes[good][fits], scores[good][fits], same)
    return boxes[good][fits][kept], labels[good][fits][kept]


def none_is_flat(*given):
    boxes, labels = thing_by_thing(*given)
    return torch.tensor(boxes.tolist()), torch.tensor(labels.tolist(), dtype=torch.int64)


def labels_by_place(boxes, scores, labels, masks, *given):
    kept = thing_by_thing(boxes, scores, torch.arange(len(boxes)), masks, *given)[1]
    return boxes[kept], labels[kept.sort().values]


def masks_cut(boxes, scores, labels, masks, threshold, same, agree):
    masks[scores < threshold] = False
    return thing_by_thing(boxes, scores, labels, masks, threshold, same, agree)


WRONG = {
    "contrastive_logits": [
        ("axes swapped", tokens_first),
        ("gradient cut off", loop_without_gradient),
        ("tokens set to −∞", tokens_overwritten),
        ("divided by D", lambda q, t, words, bias: vectors_scaled_first(q, t / q.shape[1] ** 0.5, words, bias)),
        ("mean, and scaled besides", lambda *given: by_broadcast(*given, pooled=lambda products: products.mean(-1))),
        ("0 times infinity", lambda q, t, words, bias: by_einsum(q, t, words | True, bias) + ~words * -math.inf),
        ("0 where there is no word", lambda q, t, words, bias: by_einsum(q, t, words | True, bias) * words),
        ("a low number for −∞", lambda *given: by_einsum(*given).clamp(min=-1e9)),
        ("a low number for −∞", lambda *given: by_einsum(*given).nan_to_num()),
        ("softmax taken", lambda *given: by_einsum(*given).softmax(-1)),
    ],
    "sub_sentence_mask": [
        ("separator with the next phrase, in both", ended_before),
        ("last phrase blind; last phrase at place 0", lambda *given: block_by_block(*given, last=False)),
        ("blocks that end too early", lambda *given: block_by_block(*given, last=False, behind=0)),
        ("wrong dtype", as_floats),
        ("returned in another order", lambda *given: by_split(*given)[::-1]),
        ("only part 1", lambda *given: by_cumsum(*given, compare=torch.gt)),
        ("only part 1", lambda ids, separator: (ids[:, None] != ids, by_roll(ids, separator)[1])),
        (None, first_separator_alone),
    ],
    "select_queries": [
        ("width before height", width_first),
        ("in the order of the map", map_order),
        ("softmax over the words; by sorting", lambda logits, *given: by_mesh(logits.softmax(-1), *given)),
        ("all words averaged", lambda logits, *given: by_mesh(logits.sigmoid().mean(1, keepdim=True), *given)),
        ("all tokens averaged", lambda logits, *given: by_topk(logits.mean(1)[:, None], *given)),
        ("column by column", lambda *given: by_mesh(*given, indexing="xy")),
        ("wrong dtype", values_for_cells),
        ("only part 2", all_boxes),
    ],
    "phrase_labels": [
        ("the worst word; threshold strict", lambda *g: in_plain_loops(*g, torch.min, lambda a, b: a > b)),
        ("a sum of probabilities", lambda *given: in_plain_loops(*given, mean=torch.sum)),
        ("separators in the last phrase", minus_1_as_place),
        ("crashes for some inputs", stacked_without_care),
        ("crashes for some inputs", by_one_hot),
        ("labels counted from −1", by_unique),
        ("the last phrase lost", too_few),
        ("one phrase for each query", argmax_of_query),
        (
            "sigmoid forgotten",
            lambda *given: ordered(columns(*given[:2], range(given[1].max() + 1), lambda w: w.mean(1)), given[2]),
        ),
        ("sigmoid of the mean", logit_threshold),
        ("wrong dtype", empty_list_of_floats),
        ("wrong number of things", two_columns),
        ("returned in another order", lambda *given: by_matrix(*given)[::-1]),
        ("only part 1", flattened),
        (None, best_phrase_first),
        (None, all_in_one_mean),
    ],
    "boxes_to_prompts": [
        ("boxes read as corner and size", no_half),
        ("scaled by the shorter side", lambda *given: box_by_box(*given, longer=min)),
        ("height and width exchanged", size_as_given),
        ("height and width exchanged", lambda boxes, size, side: box_by_box(boxes, size[::-1], side)),
        ("one pair of labels for all", one_pair_of_labels),
        ("other shape", labels_by_list),
        ("axes swapped", new_points(lambda points: torch.stack([points[:, 0], points[:, 1]], 2))),
        ("rounded", new_points(torch.round)),
        (
            "cut at sides rounded down",
            lambda boxes, size, side: cut_at_whole(*cut_as_shares(boxes, size, side), size, side),
        ),
        ("wrong dtype", new_points(torch.Tensor.long)),
        ("input changed in place", changed_in_place),
        ("wrong shape", outside_dropped),
        ("off by a constant", new_points(lambda points: points - 0.5)),
        ("mirrored", new_points(lambda points: points.flip(1))),
        ("other shape", new_points(lambda points: points.flatten(1))),
        ("only part 1", lambda boxes, *given: middle_and_half(boxes.clamp(0, 1), *given)),
    ],
    "auto_label": [
        ("last pixel for edge", lambda *given: with_torchvision(*given, add=0)),
        ("empty masks not dropped", empty_ones_boxed),
        ("crashes for some inputs", empty_ones_looped),
        ("NMS first of all", nms_at_once),
        ("labels shortened once", labels_forgotten_once),
        ("boxes and labels not shortened", places_of_few),
        ("any mask will do", lambda *given: whole_table(*given, judge=lambda table: table.amax(1))),
        ("any box will do", lambda *given: whole_table(*given, judge=lambda table: table.max(0).values)),
        ("only part 2", labels_by_place),
        ("other shape", none_is_flat),
        ("wrong dtype", lambda *given: (thing_by_thing(*given)[0].long(), thing_by_thing(*given)[1])),
        ("wrong type", lambda *given: dict(zip(("boxes", "labels"), thing_by_thing(*given), strict=True))),
        ("input changed in place", masks_cut),
        ("two inputs exchanged", lambda b, s, c, m, t, same, agree: with_torchvision(b, s, c, m, t, agree, same)),
        ("returned in another order", lambda *given: with_torchvision(*given)[::-1]),
        (
            "rows and columns exchanged",
            lambda *g: thing_by_thing(*g, around=lambda mask: box_around(mask, swapped=True)),
        ),
    ],
}

RIGHT = {
    "contrastive_logits": [by_einsum, by_broadcast, mask_added, vectors_scaled_first, query_by_query, hidden_first],
    "sub_sentence_mask": [by_cumsum, block_by_block, block_by_block_checked, by_numpy, by_split, by_roll],
    "select_queries": [by_topk, by_mesh, in_a_loop, by_argmax, by_sigmoid_and_numpy],
    "phrase_labels": [in_plain_loops, by_matrix, as_a_product, by_index_add, in_numpy, appended],
    "boxes_to_prompts": [cut_as_shares, box_by_box, middle_and_half, prompts_in_numpy, by_matrix_product],
    "auto_label": [thing_by_thing, places_of_good, labels_in_numpy, with_torchvision],
}
