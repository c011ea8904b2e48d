"""Answers to the exercises of lesson 19 as others write them."""

import numpy as np
import torch
import torchvision

from lib.ops.boxes import box_iou
from lib.ops.masks import masks_to_boxes
from lib.ops.nms import nms

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


def by_einsum(logits, phrases, threshold):
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


def ordered(scores, threshold, above=torch.ge):
    queries, labels = above(scores, threshold).nonzero(as_tuple=True)
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


def words_only(logits, phrases, threshold):
    return ordered(columns(logits, phrases, range(phrases.max() + 1), lambda w: w.mean(1)), threshold)


def logit_threshold(logits, phrases, threshold):
    scores = columns(logits, phrases, range(phrases.max() + 1), lambda w: w.mean(1).sigmoid())
    return ordered(scores, threshold)


def all_in_one_mean(logits, phrases, threshold):
    words = phrases >= 0
    mean = logits[:, words].sigmoid().mean(1)
    return ordered(mean[:, None].expand(-1, int(phrases.max()) + 1), threshold)


def word_by_word(logits, phrases, threshold):
    return ordered_words(logits.sigmoid(), phrases, threshold)


def ordered_words(p, phrases, threshold):
    queries, tokens, values = ordered(p, threshold)
    return queries, phrases[tokens], values


def empty_list_of_floats(logits, phrases, threshold):
    return tuple(torch.tensor(part.tolist()) for part in by_matrix(logits, phrases, threshold))


def two_columns(logits, phrases, threshold):
    queries, labels, scores = by_matrix(logits, phrases, threshold)
    return torch.stack([queries, labels], 1), scores


def pair_table(logits, phrases, threshold):
    queries, labels, scores = by_matrix(logits, phrases, threshold)
    return torch.stack([queries, labels, scores], 1)


def labels_in_words(logits, phrases, threshold):
    queries, labels, scores = by_matrix(logits, phrases, threshold)
    first = (phrases[:, None] == labels).int().argmax(0)
    return queries, first, scores


def nan_mean(logits, phrases, threshold):
    """−inf stays: 0 · −inf is NaN."""
    of = (phrases[:, None] == torch.arange(phrases.max() + 1)).float()
    return ordered((logits @ of / of.sum(0)).sigmoid(), threshold)


def best_phrase_first(logits, phrases, threshold):
    """Sorted, but within each query alone."""
    queries, labels, scores = in_plain_loops(logits, phrases, threshold)
    order = queries.argsort(stable=True)
    return queries[order], labels[order], scores[order]


# --- boxes_to_prompts -------------------------------------------------------------------------------------------------


def cut_as_shares(boxes, size, side):
    x, y, w, h = boxes.unbind(1)
    corners = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], 1).clamp(0, 1)
    width, height = size[1] * side / max(size), size[0] * side / max(size)
    points = (corners * torch.tensor([width, height, width, height])).view(-1, 2, 2)
    return points, torch.tensor([2, 3]).expand(len(boxes), 2)


def box_by_box(boxes, size, side, longer=max, clip=lambda value, end: min(max(value, 0), end)):
    h, w = size
    factor = side / longer(h, w)
    points = torch.zeros(len(boxes), 2, 2)
    labels = torch.zeros(len(boxes), 2, dtype=torch.int64)
    for i, (cx, cy, bw, bh) in enumerate(boxes.tolist()):
        for j, sign in enumerate([-0.5, 0.5]):
            points[i, j, 0] = clip((cx + sign * bw) * w, w) * factor
            points[i, j, 1] = clip((cy + sign * bh) * h, h) * factor
            labels[i, j] = 2 + j
    return points, labels


def by_broadcast(boxes, size, side, signs=(-1, 1)):
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


def float_labels(boxes, size, side):
    points, labels = cut_as_shares(boxes, size, side)
    return points, labels.float()


def stacked_last(boxes, size, side):
    points, labels = by_broadcast(boxes, size, side)
    return torch.stack([points[:, 0], points[:, 1]], 2), labels


def rounded_points(boxes, size, side):
    points, labels = by_broadcast(boxes, size, side)
    return points.round(), labels


def whole_points(boxes, size, side):
    points, labels = by_broadcast(boxes, size, side)
    return points.long(), labels


def size_as_given(boxes, size, side):
    length = torch.tensor(size) * side / max(size)
    return by_broadcast(boxes, size, side)[0] / torch.tensor(size).flip(0) * torch.tensor(size), labels_of(
        boxes, length
    )


def labels_of(boxes, _):
    return torch.tensor([2, 3]).repeat(len(boxes), 1)


def changed_in_place(boxes, size, side):
    boxes[:, :2] -= boxes[:, 2:] / 2
    boxes[:, 2:] += boxes[:, :2]
    return (boxes.clamp(0, 1).view(-1, 2, 2) * torch.tensor(size).flip(0) * side / max(size)), labels_of(boxes, 0)


def outside_dropped(boxes, size, side):
    points, labels = by_broadcast(boxes, size, side)
    inside = (points[:, 1] > points[:, 0]).all(1)
    return points[inside], labels[inside]


def without_clamp(boxes, size, side):
    return box_by_box(boxes, size, side, clip=lambda value, end: value)


def no_half(boxes, size, side):
    return by_broadcast(boxes, size, side, signs=(0, 2))


def first_max(boxes, size, side):
    return box_by_box(boxes, size, side, longer=lambda h, w: w)


# --- auto_label -------------------------------------------------------------------------------------------------------


def box_around(mask, more=1, swapped=False):
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    x1, y1, x2, y2 = columns[0], rows[0], columns[-1] + more, rows[-1] + more
    return torch.stack([y1, x1, y2, x2] if swapped else [x1, y1, x2, y2]).float()


def thing_by_thing(boxes, scores, labels, masks, threshold, same, agree, around=box_around, enough=lambda a, b: a >= b):
    found = []
    for i in scores.argsort(descending=True):
        if scores[i] < threshold or not masks[i].any():
            continue
        tight = around(masks[i])
        alone = all(box_iou(boxes[i][None], boxes[j][None]).item() <= same for j, _ in found)
        if alone and enough(box_iou(boxes[i][None], tight[None]).item(), agree):
            found.append((i, tight))
    if not found:
        return torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    return torch.stack([tight for _, tight in found]), torch.stack([labels[i] for i, _ in found])


def places_of_good(boxes, scores, labels, masks, threshold, same, agree):
    places = ((scores >= threshold) & (masks.sum((1, 2)) > 0)).nonzero()[:, 0]
    tight = torch.zeros(len(boxes), 4)
    tight[places] = torchvision.ops.masks_to_boxes(masks[places]) + torch.tensor([0, 0, 1, 1])
    places = places[box_iou(boxes, tight).diagonal()[places] >= agree]
    places = places[torchvision.ops.nms(boxes[places], scores[places], same)]
    return tight[places], labels[places]


def shrinking(boxes, scores, labels, masks, threshold, same, agree):
    order = scores.argsort(descending=True)
    boxes, scores, labels, masks = boxes[order], scores[order], labels[order], masks[order]
    good = (scores >= threshold) & masks.any(2).any(1)
    tight = torch.stack([box_around(m) if m.any() else torch.zeros(4) for m in masks]) if len(masks) else boxes
    good &= box_iou(tight, boxes).diag() >= agree
    table = box_iou(boxes, boxes)
    kept = []
    for i in range(len(boxes)):
        if good[i]:
            kept.append(i)
            good &= table[i] <= same
    kept = torch.tensor(kept, dtype=torch.long)
    return tight[kept], labels[kept]


def labels_in_numpy(boxes, scores, labels, masks, threshold, same, agree):
    b, s, m = boxes.numpy().astype(float), scores.numpy(), masks.numpy()
    tight, good = np.zeros((len(b), 4)), np.zeros(len(b), dtype=bool)
    for i in range(len(b)):
        ys, xs = np.where(m[i])
        if s[i] >= threshold and len(xs):
            tight[i] = xs.min(), ys.min(), xs.max() + 1, ys.max() + 1
            good[i] = overlap(tight[i], b[i]) >= agree
    kept = []
    for i in np.argsort(-s):
        if good[i] and not any(overlap(b[i], b[j]) > same for j in kept):
            kept.append(i)
    return torch.from_numpy(tight[kept].reshape(-1, 4)).float(), labels[torch.tensor(kept, dtype=torch.int64)]


def overlap(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def with_torchvision(boxes, scores, labels, masks, threshold, same, agree, groups=None, add=1):
    good = (scores >= threshold) & masks.flatten(1).any(1)
    boxes, scores, labels, masks = boxes[good], scores[good], labels[good], masks[good]
    tight = torchvision.ops.masks_to_boxes(masks)
    tight[:, 2:] += add
    good = torchvision.ops.box_iou(boxes, tight).diag() >= agree
    boxes, scores, labels, tight = boxes[good], scores[good], labels[good], tight[good]
    group = torch.zeros_like(labels) if groups is None else labels
    kept = torchvision.ops.batched_nms(boxes, scores, group, same)
    return tight[kept], labels[kept]


def empty_ones_boxed(boxes, scores, labels, masks, threshold, same, agree):
    tight = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])
    good = (scores >= threshold) & (box_iou(boxes, tight).diagonal() >= agree)
    kept = nms(boxes[good], scores[good], same)
    return tight[good][kept], labels[good][kept]


def empty_ones_looped(boxes, scores, labels, masks, threshold, same, agree):
    tight = torch.stack([box_around(mask) for mask in masks]) if len(masks) else boxes
    good = (scores >= threshold) & (box_iou(boxes, tight).diagonal() >= agree)
    kept = nms(boxes[good], scores[good], same)
    return tight[good][kept], labels[good][kept]


def nms_at_once(boxes, scores, labels, masks, threshold, same, agree):
    places = nms(boxes, scores, same)
    places = places[(scores[places] >= threshold) & masks[places].flatten(1).any(1)]
    tight = masks_to_boxes(masks[places]) + torch.tensor([0, 0, 1, 1])
    fits = box_iou(boxes[places], tight).diagonal() >= agree
    return tight[fits], labels[places[fits]]


def labels_forgotten_once(boxes, scores, labels, masks, threshold, same, agree):
    good = (scores >= threshold) & masks.flatten(1).any(1)
    boxes, scores, masks, few = boxes[good], scores[good], masks[good], labels[good]
    tight = masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1])
    fits = box_iou(boxes, tight).diagonal() >= agree
    kept = nms(boxes[fits], scores[fits], same)
    return tight[fits][kept], few[kept]


def whole_table(boxes, scores, labels, masks, threshold, same, agree):
    good = (scores >= threshold) & masks.flatten(1).any(1)
    tight = masks_to_boxes(masks[good]) + torch.tensor([0, 0, 1, 1])
    fits = (box_iou(boxes[good], tight) >= agree).all(1)
    kept = nms(boxes[good][fits], scores[good][fits], same)
    return tight[fits][kept], labels[good][fits][kept]


def at_list_order(*given):
    boxes, labels = thing_by_thing(*given)
    kept = torch.tensor([i for i in range(len(given[0])) if any((box_around(given[3][i]) == b).all() for b in boxes)])
    return (boxes, labels) if not len(boxes) else (torch.stack([box_around(m) for m in given[3][kept]]), given[2][kept])


def none_is_flat(*given):
    boxes, labels = thing_by_thing(*given)
    return torch.tensor(boxes.tolist()), torch.tensor(labels.tolist(), dtype=torch.int64)


def boxes_whole(*given):
    boxes, labels = thing_by_thing(*given)
    return boxes.long(), labels


def masks_cut(boxes, scores, labels, masks, threshold, same, agree):
    masks[scores < threshold] = False
    return thing_by_thing(boxes, scores, labels, masks, threshold, same, agree)


WRONG = {
    "phrase_labels": [
        ("threshold strict", lambda *given: in_plain_loops(*given, enough=lambda a, b: a > b)),
        ("the best word", lambda *given: in_plain_loops(*given, mean=torch.max)),
        ("the worst word; threshold strict", lambda *g: in_plain_loops(*g, torch.min, lambda a, b: a > b)),
        ("a sum of probabilities", lambda *given: in_plain_loops(*given, mean=torch.sum)),
        ("separators in the last phrase", minus_1_as_place),
        ("crashes for some inputs", stacked_without_care),
        ("crashes for some inputs", by_one_hot),
        ("labels counted from −1", by_unique),
        ("the last phrase lost", too_few),
        ("one phrase for each query", argmax_of_query),
        ("sigmoid forgotten", words_only),
        ("sigmoid of the mean", logit_threshold),
        ("wrong dtype", empty_list_of_floats),
        ("wrong number of things", two_columns),
        ("wrong type", pair_table),
        (None, best_phrase_first),
        (None, all_in_one_mean),
        ("wrong shape", word_by_word),
        ("only part 2", labels_in_words),
        (None, nan_mean),
        ("returned in another order", lambda *given: by_matrix(*given)[::-1]),
    ],
    "boxes_to_prompts": [
        ("not cut", without_clamp),
        ("scaled by the width", first_max),
        ("scaled by the shorter side", lambda *given: box_by_box(*given, longer=min)),
        ("boxes read as corner and size", no_half),
        ("one pair of labels for all", one_pair_of_labels),
        ("other shape", labels_by_list),
        ("wrong dtype", float_labels),
        ("both x, then both y", stacked_last),
        ("rounded", rounded_points),
        ("wrong dtype", whole_points),
        ("height and width exchanged", size_as_given),
        ("input changed in place", changed_in_place),
        ("wrong shape", outside_dropped),
        ("height and width exchanged", lambda boxes, size, side: box_by_box(boxes, size[::-1], side)),
        ("returned in another order", lambda *given: by_broadcast(*given)[::-1]),
        ("wrong type", lambda *given: by_broadcast(*given)[0]),
    ],
    "auto_label": [
        ("last pixel for edge", lambda *given: with_torchvision(*given, add=0)),
        ("last pixel for edge", lambda *given: thing_by_thing(*given, around=lambda mask: box_around(mask, 0))),
        ("y before x in the tight boxes", lambda *g: thing_by_thing(*g, around=lambda mask: box_around(mask, 1, True))),
        ("agreement strict", lambda *given: thing_by_thing(*given, enough=lambda a, b: a > b)),
        ("NMS for each label alone", lambda *given: with_torchvision(*given, groups=True)),
        ("empty masks not dropped", empty_ones_boxed),
        ("crashes for some inputs", empty_ones_looped),
        ("NMS first of all", nms_at_once),
        ("labels shortened once", labels_forgotten_once),
        ("wrong shape", whole_table),
        ("in the order of the list", at_list_order),
        ("other shape", none_is_flat),
        ("wrong dtype", boxes_whole),
        ("input changed in place", masks_cut),
        ("two inputs exchanged", lambda b, s, c, m, t, same, agree: with_torchvision(b, s, c, m, t, agree, same)),
        ("two inputs exchanged", lambda b, s, c, m, t, same, agree: with_torchvision(b, s, c, m, agree, same, t)),
        ("returned in another order", lambda *given: with_torchvision(*given)[::-1]),
    ],
}

RIGHT = {
    "auto_label": [thing_by_thing, places_of_good, shrinking, labels_in_numpy, with_torchvision],
    "phrase_labels": [in_plain_loops, by_matrix, by_einsum, by_index_add, in_numpy, appended],
    "boxes_to_prompts": [cut_as_shares, box_by_box, by_broadcast, prompts_in_numpy, by_matrix_product],
}
