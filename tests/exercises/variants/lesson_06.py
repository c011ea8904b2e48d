"""Answers to the exercises of lesson 06 as others write them."""

import torch
from torchvision.ops import box_convert, box_iou

from lib.ops.selective_search import merge_regions, region_similarity
from lib.ops.warp import crop_resize


def around(a, b):
    x1, y1 = min(a.box[0], b.box[0]), min(a.box[1], b.box[1])
    x2, y2 = max(a.box[2], b.box[2]), max(a.box[3], b.box[3])
    return (x2 - x1) * (y2 - y1)


def similar(a, b, picture_size):
    shared = sum(min(p, q) for p, q in zip(a.colour.tolist(), b.colour.tolist()))
    shared += sum(min(p, q) for p, q in zip(a.texture.tolist(), b.texture.tolist()))
    size = 1 - (a.size + b.size) / picture_size
    gap = (around(a, b) - a.size - b.size) / picture_size
    return shared + size + 1 - gap


def similar_in_one_line(a, b, picture_size):
    """min(p, q) = (p + q - |p - q|) / 2, and both histograms sum to 1."""
    differences = (a.colour - b.colour).abs().sum() + (a.texture - b.texture).abs().sum()
    return 4 - differences / 2 - around(a, b) / picture_size


def grouped(
    regions, neighbours, picture_size, best=max, touch_all=False, forget=True, pass_on=True, start=True, fresh=True
):
    regions = list(regions)
    count = len(regions)
    pairs = {tuple(sorted(pair)) for pair in neighbours}
    if touch_all:
        pairs = {(a, b) for b in range(count) for a in range(b)}
    rate = {pair: region_similarity(regions[pair[0]], regions[pair[1]], picture_size) for pair in sorted(pairs)}
    while rate and len(regions) < 2 * count - 1:
        a, b = best(rate, key=rate.get)
        regions.append(merge_regions(regions[a], regions[b]))
        new = len(regions) - 1
        near = sorted({x for pair in rate for x in pair if a in pair or b in pair} - {a, b})
        rate.pop((a, b))
        if forget:
            rate = {pair: value for pair, value in rate.items() if a not in pair and b not in pair}
        if pass_on:
            for x in near:
                rate[x, new] = region_similarity(regions[x], regions[new], picture_size) if fresh else 0.0
    return regions if start else regions[count:]


def grouped_recursively(regions, neighbours, picture_size):
    """The list of those still there, rebuilt with sets at each step."""
    touching = {i: set() for i in range(len(regions))}
    for a, b in neighbours:
        touching[a] |= {b}
        touching[b] |= {a}

    def step(regions, touching):
        pairs = [(a, b) for a in touching for b in touching[a] if a < b]
        if not pairs:
            return regions
        a, b = max(pairs, key=lambda pair: region_similarity(regions[pair[0]], regions[pair[1]], picture_size))
        new, near = len(regions), (touching[a] | touching[b]) - {a, b}
        rest = {
            i: (others - {a, b}) | ({new} if i in near else set()) for i, others in touching.items() if i not in (a, b)
        }
        return step([*regions, merge_regions(regions[a], regions[b])], rest | {new: near})

    return step(list(regions), touching)


def renamed(regions, neighbours, picture_size):
    regions, pairs = list(regions), list(neighbours)
    while pairs:
        best = max(pairs, key=lambda pair: region_similarity(regions[pair[0]], regions[pair[1]], picture_size))
        new = len(regions)
        regions.append(merge_regions(regions[best[0]], regions[best[1]]))
        pairs.remove(best)
        pairs = [(new if a in best else a, new if b in best else b) for a, b in pairs]
    return regions


def recall(proposals, truth, iou_threshold):
    hits = box_iou(proposals, truth) >= iou_threshold
    return (hits.float().cumsum(0) > 0).float().mean(1)


def recall_by_first_hit(proposals, truth, iou_threshold):
    hits = box_iou(proposals, truth) >= iou_threshold
    return torch.tensor([hits[:n].any(0).float().mean().item() for n in range(1, len(hits) + 1)])


def warp(image, boxes, size, context):
    step = (boxes[:, 2:] - boxes[:, :2]) / (size - 2 * context)
    grown = torch.cat([boxes[:, :2] - context * step, boxes[:, 2:] + context * step], 1)
    return crop_resize(image, grown, size, image.flatten(1).mean(1))


def warp_one_by_one(image, boxes, size, context):
    """Middle and size, as cxcywh; the finest sampling is that of all boxes together, so the largest goes along."""
    wide = box_convert(boxes, "xyxy", "cxcywh")
    wide[:, 2:] *= size / (size - 2 * context)
    wide = box_convert(wide, "cxcywh", "xyxy")
    largest = wide[(wide[:, 2:] - wide[:, :2]).amax(1).argmax()]
    mean = image.mean((1, 2))
    return torch.stack([crop_resize(image, torch.stack([one, largest]), size, mean)[0] for one in wide])


def kinds(iou, labels, label):
    best = torch.zeros(len(iou))
    for column in (labels == label).nonzero()[:, 0]:
        best = torch.maximum(best, iou[:, column])
    return torch.where(best > 0.999, 1, torch.where(best < 0.3, 0, -1))


def kinds_by_mask(iou, labels, label):
    best = (iou * (labels == label)).max(dim=1).values
    return (best > 0.999).long() - ((best >= 0.3) & (best <= 0.999)).long()


def half_is_no_part(iou, labels, label):
    best = (iou * (labels == label)).amax(1)
    return torch.where(best > 0.999, 1, torch.where(best < 0.5, 0, -1))


def background_touches_something(iou, labels, label):
    best = (iou * (labels == label)).amax(1)
    return torch.where(best > 0.999, 1, torch.where((best > 0) & (best < 0.3), 0, -1))


def nothing_learned_from_other_pictures(iou, labels, label):
    if label not in labels.tolist():
        return torch.full((len(iou),), -1)
    return kinds(iou, labels, label)


def example_from_nine_tenths(iou, labels, label):
    best = (iou * (labels == label)).amax(1)
    return torch.where(best > 0.9, 1, torch.where(best < 0.3, 0, -1))


def parts(boxes):
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    return boxes[:, 0] + width / 2, boxes[:, 1] + height / 2, width, height


def targets(proposals, truth):
    (px, py, pw, ph), (x, y, w, h) = parts(proposals), parts(truth)
    return torch.stack([(x - px) / pw, (y - py) / ph, torch.log(w / pw), torch.log(h / ph)], 1)


def targets_in_two_halves(proposals, truth):
    size, wanted = proposals[:, 2:] - proposals[:, :2], truth[:, 2:] - truth[:, :2]
    shift = (truth[:, :2] + truth[:, 2:] - proposals[:, :2] - proposals[:, 2:]) / 2 / size
    return torch.hstack([shift, wanted.log() - size.log()])


def sizes_first(proposals, truth):
    return targets(proposals, truth).roll(2, 1)


def height_before_width(proposals, truth):
    return targets(proposals, truth)[:, [0, 1, 3, 2]]


def y_before_x(proposals, truth):
    (px, py, pw, ph), (x, y, w, h) = parts(proposals), parts(truth)
    return torch.stack([(y - py) / ph, (x - px) / pw, torch.log(h / ph), torch.log(w / pw)], 1)


def around_from_zero(a, b, picture_size):
    shared = torch.minimum(a.colour, b.colour).sum().item() + torch.minimum(a.texture, b.texture).sum().item()
    return shared + 2 - max(a.box[2], b.box[2]) * max(a.box[3], b.box[3]) / picture_size


WRONG = {
    "region_similarity": [("a box that begins at (0, 0)", around_from_zero)],
    "group_regions": [("wrong shape", renamed)],
    "proposal_recall": [],
    "context_warp": [],
    "svm_labels": [
        ("too many counterexamples", half_is_no_part),
        ("too few counterexamples", background_touches_something),
        ("too few counterexamples", nothing_learned_from_other_pictures),
        ("too many examples", example_from_nine_tenths),
    ],
    "box_targets": [
        ("another order", sizes_first),
        ("another order", height_before_width),
        ("another order", y_before_x),
    ],
}

RIGHT = {
    "region_similarity": [similar, similar_in_one_line],
    "group_regions": [grouped, grouped_recursively],
    "proposal_recall": [recall, recall_by_first_hit],
    "context_warp": [warp, warp_one_by_one],
    "svm_labels": [kinds, kinds_by_mask],
    "box_targets": [targets, targets_in_two_halves],
}
