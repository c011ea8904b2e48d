"""Answers to the exercises of lesson 05 as learners might write them: the wrong ones by the mistake they make."""

import torch

# --- box_cxcywh_to_xyxy -------------------------------------------------------------------------------------------


def doubled(boxes):
    x, y, w, h = boxes.T
    return torch.stack([x - w, y - h, x + w, y + h], 1)


def from_the_middle(boxes):
    x, y, w, h = boxes.T
    return torch.stack([x, y, x + w, y + h], 1)


def lying(boxes):
    x, y, w, h = boxes.T
    return torch.stack([x - h / 2, y - w / 2, x + h / 2, y + w / 2], 1)


def both_x_first(boxes):
    x, y, w, h = boxes.T
    return torch.stack([x - w / 2, x + w / 2, y - h / 2, y + h / 2], 1)


def rows_first(boxes):
    x, y, w, h = boxes.T
    return torch.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], 1)


def whole_halves(boxes):
    x, y, w, h = boxes.unbind(1)
    return torch.stack([x - w // 2, y - h // 2, x + w // 2, y + h // 2], 1)


def stacked_on_top(boxes):
    x, y, w, h = boxes.unbind(1)
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def in_halves(boxes):
    middle, side = boxes.split(2, dim=1)
    return torch.cat([middle - side / 2, middle + side / 2], dim=1)


def by_a_matrix(boxes):
    return boxes @ torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]])


# --- pairwise_iou -------------------------------------------------------------------------------------------------


def parts(boxes1, boxes2, cut=True):
    a, b = boxes1.unsqueeze(1), boxes2.unsqueeze(0)
    w = torch.min(a[..., 2], b[..., 2]) - torch.max(a[..., 0], b[..., 0])
    h = torch.min(a[..., 3], b[..., 3]) - torch.max(a[..., 1], b[..., 1])
    if cut:
        w, h = w.clamp(min=0), h.clamp(min=0)
    area1 = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area2 = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return w * h, area1, area2


def not_cut_off(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2, cut=False)
    return both / (area1 + area2 - both)


def cut_off_late(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2, cut=False)
    both = torch.relu(both)
    return both / (area1 + area2 - both)


def added_up(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2)
    return both / (area1 + area2)


def plus_one(boxes1, boxes2):
    a, b = boxes1[:, None], boxes2[None]
    w = (torch.min(a[..., 2], b[..., 2]) - torch.max(a[..., 0], b[..., 0]) + 1).clamp(min=0)
    h = (torch.min(a[..., 3], b[..., 3]) - torch.max(a[..., 1], b[..., 1]) + 1).clamp(min=0)
    area1 = (a[..., 2] - a[..., 0] + 1) * (a[..., 3] - a[..., 1] + 1)
    area2 = (b[..., 2] - b[..., 0] + 1) * (b[..., 3] - b[..., 1] + 1)
    return w * h / (area1 + area2 - w * h)


def of_the_smaller(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2)
    return both / torch.min(area1, area2)


def of_the_first(boxes1, boxes2):
    both, area1, _ = parts(boxes1, boxes2)
    return both / area1


def one_by_one(boxes1, boxes2):
    left_top = torch.maximum(boxes1[:, :2], boxes2[:, :2])
    right_bottom = torch.minimum(boxes1[:, 2:], boxes2[:, 2:])
    both = (right_bottom - left_top).clamp(min=0).prod(1)
    area1 = (boxes1[:, 2:] - boxes1[:, :2]).prod(1)
    area2 = (boxes2[:, 2:] - boxes2[:, :2]).prod(1)
    return both / (area1 + area2 - both)


def table_turned(boxes1, boxes2):
    return right_iou(boxes2, boxes1)


def as_xywh(boxes1, boxes2):
    first, second = (torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1) for boxes in (boxes1, boxes2))
    return right_iou(first, second)


def right_iou(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2)
    return both / (area1 + area2 - both)


def iou_by_loops(boxes1, boxes2):
    rows = []
    for a in boxes1:
        row = []
        for b in boxes2:
            w = torch.clamp(torch.minimum(a[2], b[2]) - torch.maximum(a[0], b[0]), min=0)
            h = torch.clamp(torch.minimum(a[3], b[3]) - torch.maximum(a[1], b[1]), min=0)
            area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
            row.append(w * h / (area - w * h))
        rows.append(torch.stack(row))
    return torch.stack(rows) if rows else boxes1.sum() * torch.zeros(0, len(boxes2))


# --- generalized_iou ----------------------------------------------------------------------------------------------


def around(boxes1, boxes2):
    a, b = boxes1[:, None], boxes2[None]
    return (torch.max(a[..., 2:], b[..., 2:]) - torch.min(a[..., :2], b[..., :2])).prod(-1)


def giou(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2)
    union, outer = area1 + area2 - both, around(boxes1, boxes2)
    return both / union - 1 + union / outer


def giou_from_iou(boxes1, boxes2):
    iou = right_iou(boxes1, boxes2)
    _, area1, area2 = parts(boxes1, boxes2)
    outer = around(boxes1, boxes2)
    return iou - (outer - (area1 + area2) / (1 + iou)) / outer


def plus_penalty(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2)
    outer = around(boxes1, boxes2)
    return both / (area1 + area2 - both) + (outer - (area1 + area2 - both)) / outer


def only_penalty(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2)
    outer = around(boxes1, boxes2)
    return -(outer - (area1 + area2 - both)) / outer


def of_the_union(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2)
    union = area1 + area2 - both
    return both / union - (around(boxes1, boxes2) - union) / union


def minus_intersection(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2)
    outer = around(boxes1, boxes2)
    return both / (area1 + area2 - both) - (outer - both) / outer


def inside_out(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2)
    outer = parts(boxes1, boxes2, cut=False)[0]
    union = area1 + area2 - both
    return both / union - (outer - union) / outer


def giou_not_cut(boxes1, boxes2):
    both, area1, area2 = parts(boxes1, boxes2, cut=False)
    union, outer = area1 + area2 - both, around(boxes1, boxes2)
    return both / union - (outer - union) / outer


# --- non_maximum_suppression --------------------------------------------------------------------------------------


def greedy(boxes, scores, iou_threshold, order=None, drop=lambda iou, threshold: iou > threshold):
    left = (scores.argsort(descending=True) if order is None else order).tolist()
    keep = []
    while left:
        best = left.pop(0)
        keep.append(best)
        left = [i for i in left if not drop(right_iou(boxes[best : best + 1], boxes[i : i + 1]).item(), iou_threshold)]
    return torch.tensor(keep, dtype=torch.long)


def unsorted(boxes, scores, iou_threshold):
    return greedy(boxes, scores, iou_threshold, order=torch.arange(len(boxes)))


def upwards(boxes, scores, iou_threshold):
    return greedy(boxes, scores, iou_threshold, order=scores.argsort())


def dead_remove(boxes, scores, iou_threshold):
    order, keep = scores.argsort(descending=True).tolist(), []
    for place, i in enumerate(order):
        if all(right_iou(boxes[[i]], boxes[[j]]).item() <= iou_threshold for j in order[:place]):
            keep.append(i)
    return torch.tensor(keep, dtype=torch.long)


def wrong_sign(boxes, scores, iou_threshold):
    return greedy(boxes, scores, iou_threshold, drop=lambda iou, threshold: iou <= threshold)


def sorted_places(boxes, scores, iou_threshold):
    order = scores.argsort(descending=True)
    return greedy(boxes[order], scores[order], iou_threshold)


def resorted(boxes, scores, iou_threshold):
    return greedy(boxes, scores, iou_threshold).sort()[0]


def gives_boxes(boxes, scores, iou_threshold):
    return boxes[greedy(boxes, scores, iou_threshold)]


def gives_mask(boxes, scores, iou_threshold):
    mask = torch.zeros(len(boxes), dtype=torch.bool)
    mask[greedy(boxes, scores, iou_threshold)] = True
    return mask


def at_least(boxes, scores, iou_threshold):
    return greedy(boxes, scores, iou_threshold, drop=lambda iou, threshold: iou >= threshold)


def best_only(boxes, scores, iou_threshold):
    if len(boxes) == 0:
        return torch.zeros(0, dtype=torch.long)
    order = scores.argsort(descending=True)
    overlap = right_iou(boxes[order[:1]], boxes[order])[0]
    overlap[0] = 0
    return order[overlap <= iou_threshold]


def with_a_table(boxes, scores, iou_threshold):
    order = torch.argsort(scores, descending=True)
    table = right_iou(boxes[order], boxes[order])
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for i in range(len(boxes)):
        if alive[i]:
            alive[i + 1 :] &= table[i, i + 1 :] <= iou_threshold
    return order[alive]


# --- mark_detections ----------------------------------------------------------------------------------------------


def mark(boxes, scores, truth, iou_threshold, order=None, once=True, enough=lambda iou, threshold: iou >= threshold):
    free, hits = list(range(len(truth))), []
    for i in (scores.argsort(descending=True) if order is None else order).tolist():
        values = {j: right_iou(boxes[i : i + 1], truth[j : j + 1]).item() for j in free}
        best = max(values, key=values.get, default=None)
        hit = best is not None and enough(values[best], iou_threshold)
        hits.append(hit)
        if hit and once:
            free.remove(best)
    return torch.tensor(hits, dtype=torch.bool)


def counted_twice(boxes, scores, truth, iou_threshold):
    return mark(boxes, scores, truth, iou_threshold, once=False)


def as_listed(boxes, scores, truth, iou_threshold):
    return mark(boxes, scores, truth, iou_threshold, order=torch.arange(len(boxes)))


def scattered_back(boxes, scores, truth, iou_threshold):
    return mark(boxes, scores, truth, iou_threshold)[scores.argsort(descending=True).argsort()]


def first_fit(boxes, scores, truth, iou_threshold):
    taken, hits = [False] * len(truth), []
    for i in scores.argsort(descending=True):
        hits.append(False)
        for j in range(len(truth)):
            if not taken[j] and right_iou(boxes[i][None], truth[j][None]) >= iou_threshold:
                taken[j] = hits[-1] = True
                break
    return torch.tensor(hits, dtype=torch.bool)


def as_in_voc(boxes, scores, truth, iou_threshold):
    hits, taken = torch.zeros(len(boxes), dtype=torch.bool), torch.zeros(len(truth), dtype=torch.bool)
    if len(truth) == 0:
        return hits
    for n, i in enumerate(scores.argsort(descending=True)):
        value, j = right_iou(boxes[i][None], truth)[0].max(0)
        if value >= iou_threshold and not taken[j]:
            hits[n] = taken[j] = True
    return hits


def taken_by_a_miss(boxes, scores, truth, iou_threshold):
    free = torch.ones(len(truth))
    hits = torch.zeros(len(boxes), dtype=torch.bool)
    for n, i in enumerate(scores.argsort(descending=True)):
        if free.any():
            overlap = right_iou(boxes[i][None], truth)[0] * free - (1 - free)
            hits[n] = overlap.max() >= iou_threshold
            free[overlap.argmax()] = 0
    return hits


def touching(boxes, scores, truth, iou_threshold):
    return mark(boxes, scores, truth, iou_threshold, enough=lambda iou, threshold: iou > 0)


def strictly_more(boxes, scores, truth, iou_threshold):
    return mark(boxes, scores, truth, iou_threshold, enough=lambda iou, threshold: iou > threshold)


def by_object(boxes, scores, truth, iou_threshold):
    order = scores.argsort(descending=True)
    hits = torch.zeros(len(boxes), dtype=torch.bool)
    if len(boxes):
        for j in range(len(truth)):
            overlap = right_iou(boxes[order], truth[j : j + 1])[:, 0]
            if overlap.max() >= iou_threshold:
                hits[overlap.argmax()] = True
    return hits


def with_a_mask(boxes, scores, truth, iou_threshold):
    free = torch.ones(len(truth), dtype=torch.bool)
    hits = torch.zeros(len(boxes), dtype=torch.bool)
    for n, i in enumerate(scores.argsort(descending=True)):
        overlap = torch.where(free, right_iou(boxes[i][None], truth)[0], torch.tensor(-1.0))
        if len(truth) and overlap.max() >= iou_threshold:
            hits[n] = True
            free[overlap.argmax()] = False
    return hits


def plain(boxes, scores, truth, iou_threshold):
    return mark(boxes, scores, truth, iou_threshold)


# --- average_precision_from_hits ----------------------------------------------------------------------------------


def lists(hits, num_truths):
    right, recall, precision = 0, [], []
    for n, hit in enumerate(hits.tolist(), 1):
        right += hit
        recall.append(right / num_truths)
        precision.append(right / n)
    return recall, precision


def at_points(recall, precision, points=101, beyond=0.0):
    total = 0.0
    for k in range(points):
        reached = [p for r, p in zip(recall, precision) if r >= k / (points - 1)]
        total += max(reached) if reached else beyond
    return total / points


def with_loops(hits, num_truths):
    return at_points(*lists(hits, num_truths))


def with_masks(hits, num_truths):
    right = hits.double().cumsum(0)
    precision, recall = right / torch.arange(1, len(hits) + 1), right / num_truths
    table = precision * (recall >= torch.linspace(0, 1, 101, dtype=torch.float64)[:, None])  # (101, N)
    return table.amax(1).mean().item() if len(hits) else 0.0


def toothed(hits, num_truths):
    recall, precision = lists(hits, num_truths)
    total = 0.0
    for k in range(101):
        total += next((p for r, p in zip(recall, precision) if r >= k / 100), 0.0)
    return total / 101


def carried_right(hits, num_truths):
    recall, precision = lists(hits, num_truths)
    precision = [max(precision[: n + 1]) for n in range(len(precision))]
    total = 0.0
    for k in range(101):
        total += next((p for r, p in zip(recall, precision) if r >= k / 100), 0.0)
    return total / 101


def share_of_detections(hits, num_truths):
    return at_points(*lists(hits, len(hits))) if len(hits) else 0.0


def at_the_hits(hits, num_truths):
    precision = lists(hits, num_truths)[1]
    return sum(p for p, hit in zip(precision, hits.tolist()) if hit) / num_truths


def of_the_found(hits, num_truths):
    precision = lists(hits, num_truths)[1]
    found = [p for p, hit in zip(precision, hits.tolist()) if hit]
    return sum(found) / len(found) if found else 0.0


def carried_on(hits, num_truths):
    recall, precision = lists(hits, num_truths)
    return at_points(recall, precision, beyond=precision[-1] if precision else 0.0)


def trapezes(hits, num_truths):
    recall, precision = lists(hits, num_truths)
    return sum((recall[n] - recall[n - 1]) * (precision[n] + precision[n - 1]) / 2 for n in range(1, len(recall)))


def exact(hits, num_truths):
    recall, precision = lists(hits, num_truths)
    return sum(max(precision[n:]) / num_truths for n, hit in enumerate(hits.tolist()) if hit) if recall else 0


def eleven(hits, num_truths):
    return at_points(*lists(hits, num_truths), points=11)


WRONG = {
    "box_cxcywh_to_xyxy": [
        ("whole sides instead of halves", doubled),
        ("middle taken for the corner", from_the_middle),
        ("width and height swapped", lying),
        ("order x, x, y, y", both_x_first),
        ("y before x", rows_first),
        ("half a pixel cut off", whole_halves),
        ("four rows instead of four columns", stacked_on_top),
    ],
    "pairwise_iou": [
        ("a gap counted as overlap", not_cut_off),
        ("gaps cut off too late", cut_off_late),
        ("shared area counted twice in the union", added_up),
        ("one pixel too many", plus_one),
        ("divided by the smaller box", of_the_smaller),
        ("divided by the first box", of_the_first),
        ("box by box instead of each with each", one_by_one),
        ("rows and columns swapped", table_turned),
        ("xyxy read as xywh", as_xywh),
        ("gradient cut off", lambda boxes1, boxes2: right_iou(boxes1.detach(), boxes2)),
    ],
    "generalized_iou": [
        ("empty share added", plus_penalty),
        ("IoU left out", only_penalty),
        ("that is the IoU", right_iou),
        ("share of the union", of_the_union),
        ("too much called empty", minus_intersection),
        ("box around from the inner corners", inside_out),
        ("a gap counted as overlap", giou_not_cut),
    ],
    "non_maximum_suppression": [
        ("not sorted by score", unsorted),
        ("the worst goes first", upwards),
        ("removed boxes still remove", dead_remove),
        ("keeps what it should remove", wrong_sign),
        ("places in the sorted list", sorted_places),
        ("best not first", resorted),
        ("boxes instead of places", gives_boxes),
        ("a mask instead of places", gives_mask),
        ("an overlap of exactly the threshold removed", at_least),
        ("only one round", best_only),
    ],
    "mark_detections": [
        ("one object claimed twice", counted_twice),
        ("in the order of the list", as_listed),
        ("answered in the order of the list", scattered_back),
        ("the first object that fits, not the best", first_fit),
        ("gives up when its best object is taken", as_in_voc),
        ("a miss takes its object", taken_by_a_miss),
        ("threshold forgotten", touching),
        ("an overlap of exactly the threshold refused", strictly_more),
        ("objects choose instead of detections", by_object),
    ],
    "average_precision_from_hits": [
        ("the teeth not filled", toothed),
        ("filled from the wrong side", carried_right),
        ("recall divided by the detections", share_of_detections),
        ("mean of the precision at the hits", at_the_hits),
        ("objects that were missed do not count", of_the_found),
        ("the end of the curve carried on", carried_on),
        ("area under the raw teeth", trapezes),
        ("exact area instead of 101 points", exact),
        ("eleven points", eleven),
    ],
}

RIGHT = {
    "box_cxcywh_to_xyxy": [in_halves, by_a_matrix],
    "pairwise_iou": [right_iou, iou_by_loops],
    "generalized_iou": [giou, giou_from_iou],
    "non_maximum_suppression": [greedy, with_a_table],
    "mark_detections": [plain, with_a_mask],
    "average_precision_from_hits": [with_loops, with_masks],
}
