"""Answers to the exercises of lesson 05 as others write them."""

import torch


def doubled(boxes):
    x, y, w, h = boxes.T
    return torch.stack([x - w, y - h, x + w, y + h], 1)


def both_x_first(boxes):
    x, y, w, h = boxes.T
    return torch.stack([x - w / 2, x + w / 2, y - h / 2, y + h / 2], 1)


def rows_first(boxes):
    x, y, w, h = boxes.T
    return torch.stack([y - h / 2, x - w / 2, y + h / 2, x + w / 2], 1)


def stacked_on_top(boxes):
    x, y, w, h = boxes.unbind(1)
    return torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2])


def in_halves(boxes):
    middle, side = boxes.split(2, dim=1)
    return torch.cat([middle - side / 2, middle + side / 2], dim=1)


def by_a_matrix(boxes):
    return boxes @ torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 1], [-0.5, 0, 0.5, 0], [0, -0.5, 0, 0.5]])


def parts(boxes1, boxes2, cut=True):
    a, b = boxes1.unsqueeze(1), boxes2.unsqueeze(0)
    w = torch.min(a[..., 2], b[..., 2]) - torch.max(a[..., 0], b[..., 0])
    h = torch.min(a[..., 3], b[..., 3]) - torch.max(a[..., 1], b[..., 1])
    if cut:
        w, h = w.clamp(min=0), h.clamp(min=0)
    area1 = (a[..., 2] - a[..., 0]) * (a[..., 3] - a[..., 1])
    area2 = (b[..., 2] - b[..., 0]) * (b[..., 3] - b[..., 1])
    return w * h, area1, area2


def plus_one(boxes1, boxes2):
    a, b = boxes1[:, None], boxes2[None]
    w = (torch.min(a[..., 2], b[..., 2]) - torch.max(a[..., 0], b[..., 0]) + 1).clamp(min=0)
    h = (torch.min(a[..., 3], b[..., 3]) - torch.max(a[..., 1], b[..., 1]) + 1).clamp(min=0)
    area1 = (a[..., 2] - a[..., 0] + 1) * (a[..., 3] - a[..., 1] + 1)
    area2 = (b[..., 2] - b[..., 0] + 1) * (b[..., 3] - b[..., 1] + 1)
    return w * h / (area1 + area2 - w * h)


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


def greedy(boxes, scores, iou_threshold, order=None, drop=lambda iou, threshold: iou > threshold):
    left = (scores.argsort(descending=True) if order is None else order).tolist()
    keep = []
    while left:
        best = left.pop(0)
        keep.append(best)
        left = [i for i in left if not drop(right_iou(boxes[best : best + 1], boxes[i : i + 1]).item(), iou_threshold)]
    return torch.tensor(keep, dtype=torch.long)


def resorted(boxes, scores, iou_threshold):
    return greedy(boxes, scores, iou_threshold).sort()[0]


def with_a_table(boxes, scores, iou_threshold):
    order = torch.argsort(scores, descending=True)
    table = right_iou(boxes[order], boxes[order])
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for i in range(len(boxes)):
        if alive[i]:
            alive[i + 1 :] &= table[i, i + 1 :] <= iou_threshold
    return order[alive]


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


def distance(boxes1, boxes2):
    return 1 - right_iou(boxes1, boxes2)


def negative(boxes1, boxes2):
    return -giou(boxes1, boxes2)


def as_column(boxes, scores, iou_threshold):
    return greedy(boxes, scores, iou_threshold)[:, None]


def misses(boxes, scores, truth, iou_threshold):
    return ~plain(boxes, scores, truth, iou_threshold)


def as_tensor(hits, num_truths):
    return torch.tensor(with_loops(hits, num_truths))


def name_one(own, other, claimed):
    if claimed:
        return "right"
    if own >= 0.5:
        return "duplicate"
    if own >= 0.1:
        return "badly placed"
    return "wrong name" if other >= 0.5 else "nothing there"


def class_by_class(boxes, labels, true_boxes, true_labels):
    names = [""] * len(boxes)
    for label in labels.unique():
        mine, theirs = (labels == label).nonzero()[:, 0], true_labels == label
        hits = plain(boxes[mine], -torch.arange(len(mine)), true_boxes[theirs], 0.5)
        for place, hit in zip(mine.tolist(), hits.tolist()):
            values = right_iou(boxes[place : place + 1], true_boxes)[0]
            own, other = (max(values[which].tolist(), default=0) for which in (theirs, ~theirs))
            names[place] = name_one(own, other, hit)
    return names


def one_after_the_other(boxes, labels, true_boxes, true_labels):
    taken, names = set(), []
    for i in range(len(boxes)):
        values = [right_iou(boxes[i : i + 1], true_boxes[j : j + 1]).item() for j in range(len(true_boxes))]
        own = {j: value for j, value in enumerate(values) if true_labels[j] == labels[i]}
        free = {j: value for j, value in own.items() if j not in taken and value >= 0.5}
        taken |= {max(free, key=free.get)} if free else set()
        other = max((value for j, value in enumerate(values) if j not in own), default=0)
        names.append(name_one(max(own.values(), default=0), other, bool(free)))
    return names


def with_underscores(boxes, labels, true_boxes, true_labels):
    return [name.replace(" ", "_") for name in class_by_class(boxes, labels, true_boxes, true_labels)]


WRONG = {
    "box_cxcywh_to_xyxy": [
        ("twice too large", doubled),
        ("x1, x2, y1, y2", both_x_first),
        ("x and y swapped", rows_first),
        ("four rows instead of four columns", stacked_on_top),
    ],
    "pairwise_iou": [
        ("one pixel added", plus_one),
        ("axes swapped", table_turned),
        ("boxes read as corner and size", as_xywh),
        ("1 minus the result", distance),
    ],
    "generalized_iou": [("sign flipped", negative)],
    "non_maximum_suppression": [("in the order of the list", resorted), ("a column", as_column)],
    "mark_detections": [("True and False swapped", misses)],
    "average_precision_from_hits": [("a tensor instead of a number", as_tensor)],
    "name_errors": [("another word", with_underscores)],
}

RIGHT = {
    "box_cxcywh_to_xyxy": [in_halves, by_a_matrix],
    "pairwise_iou": [right_iou, iou_by_loops],
    "generalized_iou": [giou, giou_from_iou],
    "non_maximum_suppression": [greedy, with_a_table],
    "mark_detections": [plain, with_a_mask],
    "average_precision_from_hits": [with_loops, with_masks],
    "name_errors": [class_by_class, one_after_the_other],
}
