"""Answers to the exercises of lesson 08 as learners might write them: the wrong ones by the mistake they make."""

import math

import torch
import torch.nn.functional as F
from torchvision.ops import batched_nms, clip_boxes_to_image, nms, remove_small_boxes
from torchvision.ops import sigmoid_focal_loss as focal

LIMIT = math.log(1000 / 16)

# --- make_anchors -------------------------------------------------------------------------------------------------


def looped(height, width, stride, sizes, ratios, shape=None, place=None, half=0.5, whole=round):
    """Every anchor by itself; `shape` and `place` say how one comes about."""
    shape = shape or (lambda size, ratio: (size / ratio**0.5, size * ratio**0.5))
    place = place or (lambda row, column: (column * stride, row * stride))
    boxes = []
    for row in range(height):
        for column in range(width):
            for ratio in ratios:
                for size in sizes:
                    (w, h), (x, y) = shape(size, ratio), place(row, column)
                    boxes.append([x - whole(w * half), y - whole(h * half), x + whole(w * half), y + whole(h * half)])
    return torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)


def rows_are_x(height, width, stride, sizes, ratios):
    return looped(height, width, stride, sizes, ratios, place=lambda row, column: (row * stride, column * stride))


def wide_for_tall(height, width, stride, sizes, ratios):
    return looped(height, width, stride, sizes, ratios, lambda size, ratio: (size * ratio**0.5, size / ratio**0.5))


def only_the_height(height, width, stride, sizes, ratios):
    return looped(height, width, stride, sizes, ratios, lambda size, ratio: (size, size * ratio))


def no_root(height, width, stride, sizes, ratios):
    return looped(height, width, stride, sizes, ratios, lambda size, ratio: (size / ratio, size * ratio))


def middles(height, width, stride, sizes, ratios):
    return looped(
        height, width, stride, sizes, ratios, place=lambda row, column: ((column + 0.5) * stride, (row + 0.5) * stride)
    )


def a_pixel_apart(height, width, stride, sizes, ratios):
    return looped(height, width, stride, sizes, ratios, place=lambda row, column: (column, row))


def broadcast(height, width, stride, sizes, ratios, order=(0, 1, 2, 3), ratios_last=False):
    size, ratio = torch.tensor(sizes, dtype=torch.float32), torch.tensor(ratios).sqrt()
    w, h = size / ratio[:, None], size * ratio[:, None]  # (ratios, sizes)
    if ratios_last:
        w, h = w.T, h.T
    base = torch.stack([-w, -h, w, h], dim=-1).reshape(1, 1, -1, 4).div(2).round()
    x = (torch.arange(width) * stride).view(1, -1, 1).expand(height, -1, 1)
    y = (torch.arange(height) * stride).view(-1, 1, 1).expand(-1, width, 1)
    return (base + torch.stack([x, y, x, y], dim=-1)).permute(order).reshape(-1, 4)


def anchor_after_anchor(height, width, stride, sizes, ratios):
    return broadcast(height, width, stride, sizes, ratios, (2, 0, 1, 3))


def downwards(height, width, stride, sizes, ratios):
    return broadcast(height, width, stride, sizes, ratios, (1, 0, 2, 3))


def sizes_outside(height, width, stride, sizes, ratios):
    return broadcast(height, width, stride, sizes, ratios, ratios_last=True)


def fractions(height, width, stride, sizes, ratios):
    return looped(height, width, stride, sizes, ratios, whole=float)


def whole_sides(height, width, stride, sizes, ratios):
    return looped(height, width, stride, sizes, ratios, half=1)


def from_the_corner_on(height, width, stride, sizes, ratios):
    boxes = looped(height, width, stride, sizes, ratios)
    places = looped(height, width, stride, sizes, ratios, lambda size, ratio: (0, 0))
    return boxes + places - boxes[:, [0, 1, 0, 1]]


def one_place_further(height, width, stride, sizes, ratios):
    return looped(
        height, width, stride, sizes, ratios, place=lambda row, column: ((column + 1) * stride, (row + 1) * stride)
    )


def always_square(height, width, stride, sizes, ratios):
    return looped(height, width, stride, sizes, ratios, lambda size, ratio: (size, size))


# --- match_anchors ------------------------------------------------------------------------------------------------


def one_by_one(iou, high=0.7, low=0.3, *, rescue=True, touch=True, between=-2, background=-1, above=False, upto=False):
    answer = []
    for anchor in range(iou.shape[1]):
        column = iou[:, anchor].tolist()
        best = max(column, default=0.0)
        mine = column.index(best) if column else -1
        most = [iou[truth].max().item() for truth in range(len(iou))]
        taken = any(overlap == top and (top > 0 or not touch) for overlap, top in zip(column, most))
        if column and ((best > high if above else best >= high) or (rescue and taken)):
            answer.append(mine)
        elif best < low or (upto and best == low):
            answer.append(background)
        else:
            answer.append(between)
    return torch.tensor(answer)


def only_thresholds(iou, high=0.7, low=0.3):
    return one_by_one(iou, high, low, rescue=False)


def between_is_background(iou, high=0.7, low=0.3):
    return one_by_one(iou, high, low, between=-1)


def mixed_up(iou, high=0.7, low=0.3):
    return one_by_one(iou, high, low, between=-1, background=-2)


def argmax_rescue(iou, high=0.7, low=0.3):
    matches = one_by_one(iou, high, low, rescue=False)
    for row in iou:
        if row.max() > 0:
            anchor = int(row.argmax())
            matches[anchor] = iou[:, anchor].argmax()
    return matches


def whoever_asks(iou, high=0.7, low=0.3):
    matches = one_by_one(iou, high, low, rescue=False)
    for truth in range(len(iou)):
        for anchor in range(iou.shape[1]):
            if iou[truth, anchor] == iou[truth].max() > 0:
                matches[anchor] = truth
    return matches


def strictly_above(iou, high=0.7, low=0.3):
    return one_by_one(iou, high, low, above=True)


def low_included(iou, high=0.7, low=0.3):
    return one_by_one(iou, high, low, upto=True)


def nearest_object(iou, high=0.7, low=0.3):
    if iou.shape[0] == 0:
        return torch.full((iou.shape[1],), -1)
    return iou.max(0).indices


def by_object(iou, high=0.7, low=0.3):
    return iou.max(1).indices


def zero_counts(iou, high=0.7, low=0.3):
    return one_by_one(iou, high, low, touch=False)


def from_one(iou, high=0.7, low=0.3):
    matches = one_by_one(iou, high, low)
    matches[matches >= 0] += 1
    return matches


def with_where(iou, high=0.7, low=0.3):
    if len(iou) == 0:
        return iou.new_full((iou.shape[1],), -1).long()
    best, truth = iou.max(0)
    level = torch.where(best >= high, truth, torch.where(best < low, -1, -2))
    top = iou.max(1, keepdim=True).values
    return torch.where(((iou == top) & (top > 0)).any(0), truth, level)


# --- decode_boxes -------------------------------------------------------------------------------------------------


def decoded(deltas, anchors, *, grow=torch.exp, limit=LIMIT, unit=None, start=0.5, reach=0.5):
    x1, y1, x2, y2 = anchors.T
    w, h = x2 - x1, y2 - y1
    tx, ty, tw, th = deltas.T
    new_w, new_h = w * grow(tw.clamp(max=limit)), h * grow(th.clamp(max=limit))
    unit_w, unit_h = unit(w, h, new_w, new_h) if unit else (w, h)
    x, y = x1 + start * w + tx * unit_w, y1 + start * h + ty * unit_h
    return torch.stack([x - reach * new_w, y - reach * new_h, x + reach * new_w, y + reach * new_h], dim=1)


def times_t(deltas, anchors):
    return decoded(deltas, anchors, grow=lambda t: t)


def one_plus(deltas, anchors):
    return decoded(deltas, anchors, grow=lambda t: t + 1)


def one_plus_unlimited(deltas, anchors):
    return decoded(deltas, anchors, grow=lambda t: t + 1, limit=math.inf)


def times_t_unlimited(deltas, anchors):
    return decoded(deltas, anchors, grow=lambda t: t, limit=math.inf)


def in_pixels(deltas, anchors):
    return decoded(deltas, anchors, unit=lambda w, h, *new: (1, 1))


def corner_moved(deltas, anchors):
    return decoded(deltas, anchors, start=0)


def unlimited(deltas, anchors):
    return decoded(deltas, anchors, limit=math.inf)


def as_cxcywh(deltas, anchors):
    x1, y1, x2, y2 = decoded(deltas, anchors).T
    return torch.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], dim=1)


def as_xywh(deltas, anchors):
    x1, y1, x2, y2 = decoded(deltas, anchors).T
    return torch.stack([x1, y1, x2 - x1, y2 - y1], dim=1)


def whole_reach(deltas, anchors):
    return decoded(deltas, anchors, reach=1)


def new_units(deltas, anchors):
    return decoded(deltas, anchors, unit=lambda w, h, new_w, new_h: (new_w, new_h))


def crossed_units(deltas, anchors):
    return decoded(deltas, anchors, unit=lambda w, h, *new: (h, w))


def same_size(deltas, anchors):
    return decoded(deltas, anchors, grow=torch.ones_like)


def with_corners(deltas, anchors):
    side = anchors[:, 2:] - anchors[:, :2]
    middle = anchors[:, :2] + side * (0.5 + deltas[:, :2])
    half = 0.5 * side * deltas[:, 2:].clamp(max=LIMIT).exp()
    return torch.hstack([middle - half, middle + half])


# --- filter_proposals ---------------------------------------------------------------------------------------------


def filtered(
    boxes,
    scores,
    size,
    pre,
    post,
    threshold,
    *,
    cut_in=True,
    cut_out=True,
    clip=True,
    small=True,
    order=None,
    suppress=True,
):
    order = scores.argsort(descending=True) if order is None else order
    order = order[:pre] if cut_in else order
    boxes, scores = boxes[order], scores[order]
    if clip:
        boxes = clip_boxes_to_image(boxes, size)
    if small:
        keep = remove_small_boxes(boxes, 1e-3)
        boxes, scores = boxes[keep], scores[keep]
    if suppress:
        boxes = boxes[nms(boxes, scores, threshold)]
    return boxes[:post] if cut_out else boxes


def never_clipped(boxes, scores, size, pre, post, threshold):
    return filtered(boxes, scores, size, pre, post, threshold, clip=False)


def clipped_at_the_end(boxes, scores, size, pre, post, threshold):
    boxes = filtered(boxes, scores, size, pre, post, threshold, clip=False, cut_out=False)
    boxes = clip_boxes_to_image(boxes, size)
    return boxes[remove_small_boxes(boxes, 1e-3)][:post]


def wide_is_high(boxes, scores, size, pre, post, threshold):
    return filtered(boxes, scores, (size[1], size[0]), pre, post, threshold)


def nothing_dropped(boxes, scores, size, pre, post, threshold):
    return filtered(boxes, scores, size, pre, post, threshold, small=False)


def suppressed_first(boxes, scores, size, pre, post, threshold):
    return filtered(boxes, scores, size, pre, post, threshold, cut_in=False, cut_out=False)[:pre][:post]


def all_in(boxes, scores, size, pre, post, threshold):
    return filtered(boxes, scores, size, pre, post, threshold, cut_in=False)


def all_out(boxes, scores, size, pre, post, threshold):
    return filtered(boxes, scores, size, pre, post, threshold, cut_out=False)


def cut_twice_before(boxes, scores, size, pre, post, threshold):
    return filtered(boxes, scores, size, min(pre, post), post, threshold)


def upside_down(boxes, scores, size, pre, post, threshold):
    order = scores.argsort()[:pre]
    boxes = clip_boxes_to_image(boxes[order], size)
    keep = remove_small_boxes(boxes, 1e-3)
    return boxes[keep][nms(boxes[keep], -scores[order][keep], threshold)][:post]


def as_they_come(boxes, scores, size, pre, post, threshold):
    return filtered(boxes, scores, size, pre, post, threshold, order=torch.arange(len(boxes)))


def sorted_places(boxes, scores, size, pre, post, threshold):
    chosen = scores.topk(min(pre, len(scores))).indices.sort().values
    boxes, scores = clip_boxes_to_image(boxes[chosen], size), scores[chosen]
    keep = remove_small_boxes(boxes, 1e-3)
    keep = keep[nms(boxes[keep], scores[keep], threshold)][:post]
    return boxes[keep.sort().values]


def doubles_left(boxes, scores, size, pre, post, threshold):
    return filtered(boxes, scores, size, pre, post, threshold, suppress=False)


def sure_ones(boxes, scores, size, pre, post, threshold):
    sure = torch.sigmoid(scores) > threshold
    return filtered(boxes[sure], scores[sure], size, pre, post, threshold)


def with_topk(boxes, scores, size, pre, post, threshold):
    scores, places = scores.sigmoid().topk(min(pre, len(scores)))
    boxes = boxes[places].clone()
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, size[1])
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, size[0])
    large = ((boxes[:, 2:] - boxes[:, :2]) >= 1e-3).all(1)
    boxes, scores = boxes[large], scores[large]
    return boxes[batched_nms(boxes, scores, torch.zeros_like(scores), threshold)[:post]]


# --- rpn_loss -----------------------------------------------------------------------------------------------------


def masks(matches):
    return matches > -2, matches > -1


def judge(objectness, labels):
    return F.binary_cross_entropy_with_logits(objectness, labels.to(objectness))


def move(deltas, targets, beta=1 / 9):
    return F.smooth_l1_loss(deltas, targets, beta=beta, reduction="sum")


def both(objectness, deltas, matches, targets):
    counted, positive = masks(matches)
    return (
        judge(objectness[counted], positive[counted]),
        move(deltas[positive], targets[positive]) / int(counted.sum()),
    )


def all_but_positives_are_background(objectness, deltas, matches, targets):
    positive = matches >= 0
    return judge(objectness, positive), move(deltas[positive], targets[positive]) / len(matches)


def over_everything(objectness, deltas, matches, targets):
    positive = matches >= 0
    return both(objectness, deltas, matches, targets)[0], move(deltas[positive], targets[positive]) / matches.numel()


def moves_background(objectness, deltas, matches, targets):
    counted, _ = masks(matches)
    return both(objectness, deltas, matches, targets)[0], move(deltas[counted], targets[counted]) / counted.sum()


def per_positive(objectness, deltas, matches, targets):
    return (
        both(objectness, deltas, matches, targets)[0],
        move(deltas[matches >= 0], targets[matches >= 0]) / (matches >= 0).sum(),
    )


def per_positive_or_one(objectness, deltas, matches, targets):
    return both(objectness, deltas, matches, targets)[0], move(deltas[matches >= 0], targets[matches >= 0]) / max(
        1, int((matches >= 0).sum())
    )


def averaged(objectness, deltas, matches, targets):
    return both(objectness, deltas, matches, targets)[0], F.smooth_l1_loss(
        deltas[matches >= 0], targets[matches >= 0], beta=1 / 9
    )


def summed(objectness, deltas, matches, targets):
    return both(objectness, deltas, matches, targets)[0], move(deltas[matches >= 0], targets[matches >= 0])


def judged_in_sum(objectness, deltas, matches, targets):
    counted, positive = masks(matches)
    judged = F.binary_cross_entropy_with_logits(objectness[counted], positive[counted].float(), reduction="sum")
    return judged, both(objectness, deltas, matches, targets)[1]


def twice_sigmoid(objectness, deltas, matches, targets):
    counted, positive = masks(matches)
    return judge(objectness[counted].sigmoid(), positive[counted]), both(objectness, deltas, matches, targets)[1]


def names_as_labels(objectness, deltas, matches, targets):
    counted, _ = masks(matches)
    return judge(objectness[counted], matches[counted].clamp(0)), both(objectness, deltas, matches, targets)[1]


def greater_than_zero(objectness, deltas, matches, targets):
    counted, positive = matches > -2, matches > 0
    return (judge(objectness[counted], positive[counted]), move(deltas[positive], targets[positive]) / counted.sum())


def yes_everywhere(objectness, deltas, matches, targets):
    positive = matches >= 0
    return judge(objectness[positive], torch.ones(int(positive.sum()))), both(objectness, deltas, matches, targets)[1]


def late_bend(objectness, deltas, matches, targets):
    counted, positive = masks(matches)
    return both(objectness, deltas, matches, targets)[0], move(deltas[positive], targets[positive], 1.0) / counted.sum()


def absolute(objectness, deltas, matches, targets):
    counted, positive = masks(matches)
    return (
        both(objectness, deltas, matches, targets)[0],
        F.l1_loss(deltas[positive], targets[positive], reduction="sum") / counted.sum(),
    )


def one_number(objectness, deltas, matches, targets):
    judged, moved = both(objectness, deltas, matches, targets)
    return judged + moved


def by_weights(objectness, deltas, matches, targets):
    """Masks as factors, and cross entropy as focal loss without focus."""
    counted, positive = (matches != -2).float(), (matches >= 0).float()
    judged = focal(objectness, positive, alpha=-1, gamma=0) * counted
    size = (deltas - targets).abs()
    each = torch.where(size < 1 / 9, 4.5 * size**2, size - 1 / 18)
    return judged.sum() / counted.sum(), (each * positive[:, None]).sum() / counted.sum()


# ------------------------------------------------------------------------------------------------------------------

WRONG = {
    "make_anchors": [
        ("x and y swapped", rows_are_x),
        ("ratio upside down", wide_for_tall),
        ("area not kept", only_the_height),
        ("ratio without a root", no_root),
        ("in the middle of the cells", middles),
        ("stride forgotten", a_pixel_apart),
        ("anchors before cells", anchor_after_anchor),
        ("column by column", downwards),
        ("ratios of each size", sizes_outside),
        ("not rounded", fractions),
        ("twice too large", whole_sides),
        ("corner at the place", from_the_corner_on),
        ("other places", one_place_further),
        ("other sizes", always_square),
    ],
    "match_anchors": [
        ("no anchor for small objects", only_thresholds),
        ("ignored became background", between_is_background),
        ("−1 and −2 swapped", mixed_up),
        ("one of two equally good anchors", argmax_rescue),
        ("stolen from another object", whoever_asks),
        ("exactly high is not enough", strictly_above),
        ("exactly low is background", low_included),
        ("thresholds not used", nearest_object),
        ("one anchor for each object", by_object),
        ("rescued by nothing", zero_counts),
        ("objects counted from 1", from_one),
    ],
    "decode_boxes": [
        ("exp forgotten", times_t),
        ("exp forgotten", times_t_unlimited),
        ("1 + t instead of exp", one_plus),
        ("1 + t instead of exp", one_plus_unlimited),
        ("moved by pixels", in_pixels),
        ("corner taken for the middle", corner_moved),
        ("no limit", unlimited),
        ("middle and size returned", as_cxcywh),
        ("corner and size returned", as_xywh),
        ("twice too large", whole_reach),
        ("moved in units of the new size", new_units),
        ("width and height swapped", crossed_units),
        ("size not changed", same_size),
    ],
    "filter_proposals": [
        ("not clipped", never_clipped),
        ("clipped last", clipped_at_the_end),
        ("width before height", wide_is_high),
        ("tiny ones kept", nothing_dropped),
        ("pre_nms comes after", suppressed_first),
        ("pre_nms ignored", all_in),
        ("post_nms ignored", all_out),
        ("post_nms comes before", cut_twice_before),
        ("worst first", upside_down),
        ("the first in the list", as_they_come),
        ("in their old order", sorted_places),
        ("nothing suppressed", doubles_left),
        ("threshold taken for a score", sure_ones),
    ],
    "rpn_loss": [
        ("ignored taken for background", all_but_positives_are_background),
        ("ignored ones counted", over_everything),
        ("background is moved", moves_background),
        ("divided by the positives", per_positive),
        ("divided by the positives, or by 1", per_positive_or_one),
        ("mean over the positives' numbers", averaged),
        ("box loss only added up", summed),
        ("objectness only added up", judged_in_sum),
        ("sigmoid twice", twice_sigmoid),
        ("the object's number as its label", names_as_labels),
        ("object 0 is background", greater_than_zero),
        ("positives only", yes_everywhere),
        ("β is 1", late_bend),
        ("L1 instead of smooth L1", absolute),
        ("added together", one_number),
    ],
}

RIGHT = {
    "make_anchors": [looped, broadcast],
    "match_anchors": [one_by_one, with_where],
    "decode_boxes": [decoded, with_corners],
    "filter_proposals": [filtered, with_topk],
    "rpn_loss": [both, by_weights],
}
