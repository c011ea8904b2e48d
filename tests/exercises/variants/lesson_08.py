"""Answers to the exercises of lesson 08 as others write them."""

import math

import torch
import torch.nn.functional as F
from torchvision.ops import batched_nms, clip_boxes_to_image, nms, remove_small_boxes

LIMIT = math.log(1000 / 16)

# --- make_anchors -----------------------------------------------------------------------------------------------------


def looped(height, width, stride, sizes, ratios, shape=None, place=None):
    """Every anchor by itself; `shape` and `place` say how one comes about."""
    shape = shape or (lambda size, ratio: (size / ratio**0.5, size * ratio**0.5))
    place = place or (lambda row, column: (column * stride, row * stride))
    boxes = []
    for row in range(height):
        for column in range(width):
            for ratio in ratios:
                for size in sizes:
                    (w, h), (x, y) = shape(size, ratio), place(row, column)
                    boxes.append([x - round(w / 2), y - round(h / 2), x + round(w / 2), y + round(h / 2)])
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


def broadcast(height, width, stride, sizes, ratios):
    size, ratio = torch.tensor(sizes, dtype=torch.float32), torch.tensor(ratios).sqrt()
    w, h = size / ratio[:, None], size * ratio[:, None]  # (ratios, sizes)
    base = torch.stack([-w, -h, w, h], dim=-1).reshape(1, 1, -1, 4).div(2).round()
    x = (torch.arange(width) * stride).view(1, -1, 1).expand(height, -1, 1)
    y = (torch.arange(height) * stride).view(-1, 1, 1).expand(-1, width, 1)
    return (base + torch.stack([x, y, x, y], dim=-1)).reshape(-1, 4)


def one_place_further(height, width, stride, sizes, ratios):
    return looped(height, width, stride, sizes, ratios, place=lambda row, column: ((column + 1) * stride, row * stride))


def always_square(height, width, stride, sizes, ratios):
    return looped(height, width, stride, sizes, ratios, lambda size, ratio: (size, size))


def middle_and_size(height, width, stride, sizes, ratios):
    x1, y1, x2, y2 = broadcast(height, width, stride, sizes, ratios).T
    return torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=1)


def rows_first(height, width, stride, sizes, ratios):
    return broadcast(height, width, stride, sizes, ratios)[:, [1, 0, 3, 2]]


# --- match_anchors ----------------------------------------------------------------------------------------------------


def one_by_one(iou, high=0.7, low=0.3):
    answer = []
    for anchor in range(iou.shape[1]):
        column = iou[:, anchor].tolist()
        best = max(column, default=0.0)
        taken = any(overlap == iou[i].max().item() > 0 for i, overlap in enumerate(column))
        if column and (best >= high or taken):
            answer.append(column.index(best))
        else:
            answer.append(-1 if best < low else -2)
    return torch.tensor(answer)


def with_where(iou, high=0.7, low=0.3):
    if len(iou) == 0:
        return iou.new_full((iou.shape[1],), -1).long()
    best, truth = iou.max(0)
    level = torch.where(best >= high, truth, torch.where(best < low, -1, -2))
    top = iou.max(1, keepdim=True).values
    return torch.where(((iou == top) & (top > 0)).any(0), truth, level)


def no_object_forgotten(iou, high=0.7, low=0.3):
    best, truth = iou.max(0)
    matches = torch.where(best >= high, truth, torch.where(best < low, -1, -2))
    top = iou.max(1, keepdim=True).values
    return torch.where(((iou == top) & (top > 0)).any(0), truth, matches)


def rescue_first(iou, high=0.7, low=0.3):
    if len(iou) == 0:
        return torch.full((iou.shape[1],), -1)
    best, truth = iou.max(0)
    matches = truth.clone()
    top = iou.max(1, keepdim=True).values
    matches[((iou == top) & (top > 0)).any(0)] = 0
    matches[best < high] = -2
    matches[best < low] = -1
    return matches


# --- decode_boxes -----------------------------------------------------------------------------------------------------


def number_by_number(deltas, anchors):
    x1, y1, x2, y2 = anchors.T
    w, h = x2 - x1, y2 - y1
    tx, ty, tw, th = deltas.T
    new_w, new_h = w * tw.clamp(max=LIMIT).exp(), h * th.clamp(max=LIMIT).exp()
    x, y = x1 + w / 2 + tx * w, y1 + h / 2 + ty * h
    return torch.stack([x - new_w / 2, y - new_h / 2, x + new_w / 2, y + new_h / 2], dim=1)


def with_corners(deltas, anchors):
    side = anchors[:, 2:] - anchors[:, :2]
    middle = anchors[:, :2] + side * (0.5 + deltas[:, :2])
    half = 0.5 * side * deltas[:, 2:].clamp(max=LIMIT).exp()
    return torch.hstack([middle - half, middle + half])


def as_cxcywh(deltas, anchors):
    x1, y1, x2, y2 = number_by_number(deltas, anchors).T
    return torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=1)


def as_xywh(deltas, anchors):
    x1, y1, x2, y2 = number_by_number(deltas, anchors).T
    return torch.stack([x1, y1, x2 - x1, y2 - y1], dim=1)


def whole_reach(deltas, anchors):
    x1, y1, x2, y2 = number_by_number(deltas, anchors).T
    return torch.stack([x1 - (x2 - x1) / 2, y1 - (y2 - y1) / 2, x2 + (x2 - x1) / 2, y2 + (y2 - y1) / 2], dim=1)


def anchors_as_cxcywh(deltas, anchors):
    x, y, w, h = anchors.T
    tx, ty, tw, th = deltas.T
    new_w, new_h = w * tw.clamp(max=LIMIT).exp(), h * th.clamp(max=LIMIT).exp()
    x, y = x + tx * w, y + ty * h
    return torch.stack([x - new_w / 2, y - new_h / 2, x + new_w / 2, y + new_h / 2], dim=1)


def four_rows(deltas, anchors):
    return number_by_number(deltas, anchors).T


# --- filter_proposals -------------------------------------------------------------------------------------------------


def in_order(boxes, scores, size, pre, post, threshold):
    order = scores.argsort(descending=True)[:pre]
    boxes, scores = clip_boxes_to_image(boxes[order], size), scores[order]
    keep = remove_small_boxes(boxes, 1e-3)
    boxes, scores = boxes[keep], scores[keep]
    return boxes[nms(boxes, scores, threshold)][:post]


def with_topk(boxes, scores, size, pre, post, threshold):
    scores, places = scores.sigmoid().topk(min(pre, len(scores)))
    boxes = boxes[places].clone()
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, size[1])
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, size[0])
    large = ((boxes[:, 2:] - boxes[:, :2]) >= 1e-3).all(1)
    boxes, scores = boxes[large], scores[large]
    return boxes[batched_nms(boxes, scores, torch.zeros_like(scores), threshold)[:post]]


def at_most_pre(boxes, scores, size, pre, post, threshold):
    return in_order(boxes, scores, size, pre, max(pre, post), threshold)


def as_middle_and_size(boxes, scores, size, pre, post, threshold):
    x1, y1, x2, y2 = in_order(boxes, scores, size, pre, post, threshold).T
    return torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=1)


# --- rpn_loss ---------------------------------------------------------------------------------------------------------


def both(objectness, deltas, matches, targets):
    counted, positive = matches > -2, matches > -1
    judged = F.binary_cross_entropy_with_logits(objectness[counted], positive[counted].to(objectness))
    moved = F.smooth_l1_loss(deltas[positive], targets[positive], beta=1 / 9, reduction="sum")
    return judged, moved / int(counted.sum())


def by_weights(objectness, deltas, matches, targets):
    """Cross-entropy with weights, and the two branches of smooth L1 written out."""
    counted, positive = matches != -2, matches >= 0
    judged = F.binary_cross_entropy_with_logits(objectness, positive.float(), weight=counted.float(), reduction="sum")
    size = (deltas[positive] - targets[positive]).abs()
    each = torch.where(size < 1 / 9, 4.5 * size**2, size - 1 / 18)
    return judged / counted.sum(), each.sum() / counted.sum()


def other_order(objectness, deltas, matches, targets):
    judged, moved = both(objectness, deltas, matches, targets)
    return moved, judged


def one_number(objectness, deltas, matches, targets):
    return sum(both(objectness, deltas, matches, targets))


def through_the_sigmoid(objectness, deltas, matches, targets):
    counted, positive = matches != -2, matches >= 0
    p = objectness[counted].sigmoid()
    y = positive[counted].float()
    judged = -(y * p.log() + (1 - y) * (1 - p).log()).mean()
    return judged, both(objectness, deltas, matches, targets)[1]


WRONG = {
    "make_anchors": [
        ("other places", one_place_further),
        ("other sizes", always_square),
        ("middle and size returned", middle_and_size),
        ("x and y swapped", rows_first),
    ],
    "match_anchors": [("crashes for some inputs", no_object_forgotten), (None, rescue_first)],
    "decode_boxes": [
        ("middle and size returned", as_cxcywh),
        ("corner and size returned", as_xywh),
        ("twice too large", whole_reach),
        ("boxes read as middle and size", anchors_as_cxcywh),
        ("four rows instead of four columns", four_rows),
    ],
    "filter_proposals": [("post_nms ignored", at_most_pre), ("middle and size returned", as_middle_and_size)],
    "rpn_loss": [
        ("returned in another order", other_order),
        ("added together", one_number),
        ("NaN or infinite", through_the_sigmoid),
    ],
}

RIGHT = {
    "make_anchors": [looped, broadcast],
    "match_anchors": [one_by_one, with_where],
    "decode_boxes": [number_by_number, with_corners],
    "filter_proposals": [in_order, with_topk],
    "rpn_loss": [both, by_weights],
}
