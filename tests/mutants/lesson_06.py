"""Answers to the exercises of lesson 06 as learners might write them: the wrong ones by the mistake they make."""

import torch
from torchvision.ops import box_convert, box_iou

from lib.models.rcnn import crop_resize
from lib.ops.selective_search import Region, merge_regions, region_similarity

# --- region_similarity ----------------------------------------------------------------------------------------------


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


def larger(a, b, picture_size):
    shared = torch.max(a.colour, b.colour).sum() + torch.max(a.texture, b.texture).sum()
    return float(shared) + 2 - around(a, b) / picture_size


def dot(a, b, picture_size):
    return float(a.colour @ b.colour + a.texture @ b.texture) + 2 - around(a, b) / picture_size


def distance(a, b, picture_size):
    apart = sum(
        abs(p - q) for p, q in zip([*a.colour.tolist(), *a.texture.tolist()], [*b.colour.tolist(), *b.texture.tolist()])
    )
    return apart + 2 - around(a, b) / picture_size


def averaged(a, b, picture_size):
    shared = torch.min(a.colour, b.colour).mean() + torch.min(a.texture, b.texture).mean()
    return float(shared) + 2 - around(a, b) / picture_size


def histograms(a, b):
    return float(torch.min(a.colour, b.colour).sum() + torch.min(a.texture, b.texture).sum())


def big_is_good(a, b, picture_size):
    both = (a.size + b.size) / picture_size
    return histograms(a, b) + both + 1 - (around(a, b) / picture_size - both)


def whole_box(a, b, picture_size):
    return histograms(a, b) + 1 - (a.size + b.size) / picture_size + 1 - around(a, b) / picture_size


def gaps_are_good(a, b, picture_size):
    both = (a.size + b.size) / picture_size
    return histograms(a, b) + 1 - both + 1 + (around(a, b) / picture_size - both)


def common_box(a, b, picture_size):
    width = min(a.box[2], b.box[2]) - max(a.box[0], b.box[0])
    height = min(a.box[3], b.box[3]) - max(a.box[1], b.box[1])
    both = a.size + b.size
    return histograms(a, b) + (1 - both / picture_size) + (1 - (width * height - both) / picture_size)


def gap_by_box(a, b, picture_size):
    both = a.size + b.size
    return histograms(a, b) + (1 - both / picture_size) + (1 - (around(a, b) - both) / around(a, b))


# --- merge_regions --------------------------------------------------------------------------------------------------


def union(a, b):
    return (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))


def merged(a, b):
    size = a.size + b.size
    colour, texture = ((x * a.size + y * b.size) / size for x, y in ((a.colour, b.colour), (a.texture, b.texture)))
    return Region(size, union(a.box, b.box), colour, texture)


def merged_by_lerp(a, b):
    share = b.size / (a.size + b.size)
    box = torch.stack([torch.tensor(a.box), torch.tensor(b.box)])
    box = tuple(box[:, :2].amin(0).tolist() + box[:, 2:].amax(0).tolist())
    return Region(a.size + b.size, box, torch.lerp(a.colour, b.colour, share), torch.lerp(a.texture, b.texture, share))


def half_and_half(a, b):
    return Region(a.size + b.size, union(a.box, b.box), (a.colour + b.colour) / 2, (a.texture + b.texture) / 2)


def crosswise(a, b):
    return merged(a._replace(size=b.size), b._replace(size=a.size))


def summed(a, b):
    return Region(a.size + b.size, union(a.box, b.box), a.colour + b.colour, a.texture + b.texture)


def in_pixels(a, b):
    return merged(a, b)._replace(
        colour=a.size * a.colour + b.size * b.colour, texture=a.size * a.texture + b.size * b.texture
    )


def overlap(a, b):
    p, q = a.box, b.box
    return merged(a, b)._replace(box=(max(p[0], q[0]), max(p[1], q[1]), min(p[2], q[2]), min(p[3], q[3])))


def size_of_box(a, b):
    return merged(a, b)._replace(size=around(a, b))


# --- group_regions --------------------------------------------------------------------------------------------------


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


def with_all(regions, neighbours, picture_size):
    return grouped(regions, neighbours, picture_size, touch_all=True)


def worst_first(regions, neighbours, picture_size):
    return grouped(regions, neighbours, picture_size, best=min)


def nothing_forgotten(regions, neighbours, picture_size):
    return grouped(regions, neighbours, picture_size, forget=False)


def renamed(regions, neighbours, picture_size):
    regions, pairs = list(regions), list(neighbours)
    while pairs:
        best = max(pairs, key=lambda pair: region_similarity(regions[pair[0]], regions[pair[1]], picture_size))
        new = len(regions)
        regions.append(merge_regions(regions[best[0]], regions[best[1]]))
        pairs.remove(best)
        pairs = [(new if a in best else a, new if b in best else b) for a, b in pairs]
    return regions


def orphans(regions, neighbours, picture_size):
    return grouped(regions, neighbours, picture_size, pass_on=False)


def without_the_start(regions, neighbours, picture_size):
    return grouped(regions, neighbours, picture_size, start=False)


def stale(regions, neighbours, picture_size):
    return grouped(regions, neighbours, picture_size, fresh=False)


# --- proposal_recall ------------------------------------------------------------------------------------------------


def recall(proposals, truth, iou_threshold):
    hits = box_iou(proposals, truth) >= iou_threshold
    return (hits.float().cumsum(0) > 0).float().mean(1)


def recall_by_first_hit(proposals, truth, iou_threshold):
    hits = box_iou(proposals, truth) >= iou_threshold
    return torch.tensor([hits[:n].any(0).float().mean().item() for n in range(1, len(hits) + 1)])


def alone(proposals, truth, iou_threshold):
    return torch.tensor([(box_iou(one[None], truth) >= iou_threshold).float().mean() for one in proposals])


def precision(proposals, truth, iou_threshold):
    good = (box_iou(proposals, truth).amax(1) >= iou_threshold).float() if len(proposals) else torch.zeros(0)
    return good.cumsum(0) / (1 + torch.arange(len(good)))


def again_and_again(proposals, truth, iou_threshold):
    return (box_iou(proposals, truth) >= iou_threshold).sum(1).cumsum(0) / len(truth)


def more_than(proposals, truth, iou_threshold):
    return recall(proposals, truth, iou_threshold + 1e-6)


def average_overlap(proposals, truth, iou_threshold):
    return torch.cummax(box_iou(proposals, truth), 0)[0].mean(1)


def end_only(proposals, truth, iou_threshold):
    hits = box_iou(proposals, truth) >= iou_threshold
    return torch.full((len(proposals),), hits.any(0).float().mean().item())


# --- context_warp ---------------------------------------------------------------------------------------------------


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


def picture_pixels(image, boxes, size, context):
    grown = boxes + torch.tensor([-context, -context, context, context])
    return crop_resize(image, grown, size, image.mean((1, 2)))


def bare(image, boxes, size, context):
    return crop_resize(image, boxes, size, image.mean((1, 2)))


def scaled(boxes, factor):
    wide = box_convert(boxes, "xyxy", "cxcywh")
    wide[:, 2:] *= factor
    return box_convert(wide, "cxcywh", "xyxy")


def one_side(image, boxes, size, context):
    return crop_resize(image, scaled(boxes, size / (size - context)), size, image.mean((1, 2)))


def by_whole_crop(image, boxes, size, context):
    margin = (boxes[:, 2:] - boxes[:, :2]) * context / size
    return crop_resize(image, torch.cat([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1), size, image.mean((1, 2)))


def shrunk(image, boxes, size, context):
    return crop_resize(image, scaled(boxes, 1 - 2 * context / size), size, image.mean((1, 2)))


def square(image, boxes, size, context):
    wide = box_convert(boxes, "xyxy", "cxcywh")
    wide[:, 2:] = wide[:, 2:].max(1, keepdim=True).values
    return warp(image, box_convert(wide, "cxcywh", "xyxy"), size, context)


def clipped(image, boxes, size, context):
    grown = scaled(boxes, size / (size - 2 * context))
    grown[:, 0::2] = grown[:, 0::2].clamp(0, image.shape[2])
    grown[:, 1::2] = grown[:, 1::2].clamp(0, image.shape[1])
    return crop_resize(image, grown, size, image.mean((1, 2)))


def black(image, boxes, size, context):
    return crop_resize(image, scaled(boxes, size / (size - 2 * context)), size, torch.zeros(3))


def grey(image, boxes, size, context):
    return crop_resize(image, scaled(boxes, size / (size - 2 * context)), size, torch.full((3,), image.mean().item()))


# --- svm_labels -----------------------------------------------------------------------------------------------------


def kinds(iou, labels, label):
    best = torch.zeros(len(iou))
    for column in (labels == label).nonzero()[:, 0]:
        best = torch.maximum(best, iou[:, column])
    return torch.where(best >= 0.9999, 1, torch.where(best < 0.3, 0, -1))


def kinds_by_mask(iou, labels, label):
    best = (iou * (labels == label)).max(dim=1).values
    return (best > 0.9999).long() - ((best >= 0.3) & (best <= 0.9999)).long()


def best_of(iou, mask):
    return (iou * mask).max(dim=1).values


def all_or_nothing(iou, labels, label):
    return (best_of(iou, labels == label) > 0.9999).long()


def half_is_enough(iou, labels, label):
    best = best_of(iou, labels == label)
    return torch.where(best >= 0.5, 1, torch.where(best < 0.3, 0, -1))


def any_thing(iou, labels, label):
    best = iou.max(dim=1).values
    return torch.where(best > 0.9999, 1, torch.where(best < 0.3, 0, -1))


def others_out(iou, labels, label):
    result = kinds(iou, labels, label)
    result[(best_of(iou, labels != label) >= 0.3) & (result == 0)] = -1
    return result


def exchanged(iou, labels, label):
    result = kinds(iou, labels, label)
    return torch.where(result == 1, 1, -1 - result)


def one_limit(iou, labels, label):
    best = iou[:, labels == label].max(dim=1).values  # crashes for a class that is not there
    return (best > 0.5).long()


def below_half(iou, labels, label):
    best = best_of(iou, labels == label)
    return torch.where(best > 0.9999, 1, torch.where(best < 0.5, 0, -1))


# --- box_targets ----------------------------------------------------------------------------------------------------


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


def no_log(proposals, truth):
    (px, py, pw, ph), (x, y, w, h) = parts(proposals), parts(truth)
    return torch.stack([(x - px) / pw, (y - py) / ph, w / pw, h / ph], 1)


def pixels(proposals, truth):
    (px, py, pw, ph), (x, y, w, h) = parts(proposals), parts(truth)
    return torch.stack([x - px, y - py, (w / pw).log(), (h / ph).log()], 1)


def true_size(proposals, truth):
    (px, py, pw, ph), (x, y, w, h) = parts(proposals), parts(truth)
    return torch.stack([(x - px) / w, (y - py) / h, (w / pw).log(), (h / ph).log()], 1)


def corners(proposals, truth):
    _, _, pw, ph = parts(proposals)
    result = targets(proposals, truth)
    return torch.stack(
        [(truth[:, 0] - proposals[:, 0]) / pw, (truth[:, 1] - proposals[:, 1]) / ph, result[:, 2], result[:, 3]], 1
    )


def way_back(proposals, truth):
    return targets(truth, proposals)


def x_w_y_h(proposals, truth):
    return targets(proposals, truth)[:, [0, 2, 1, 3]]


WRONG = {
    "region_similarity": [
        ("the larger of two bins", larger),
        ("histograms multiplied", dot),
        ("the difference of the histograms", distance),
        ("the mean of the bins", averaged),
        ("large regions first", big_is_good),
        ("pixels of the regions left in the gap", whole_box),
        ("a gap counted in favour", gaps_are_good),
        ("the overlap of the boxes", common_box),
        ("gap against the box", gap_by_box),
    ],
    "merge_regions": [
        ("both weighted alike", half_and_half),
        ("weights exchanged", crosswise),
        ("histograms added", summed),
        ("not divided by the size", in_pixels),
        ("the overlap of the boxes", overlap),
        ("the size of the box", size_of_box),
    ],
    "group_regions": [
        ("merges regions that do not touch", with_all),
        ("the least similar first", worst_first),
        ("old pairs left in", nothing_forgotten),
        ("a pair twice", renamed),
        ("the new region has no neighbours", orphans),
        ("only the merged ones", without_the_start),
        ("the new region is never compared", stale),
    ],
    "proposal_recall": [
        ("each proposal by itself", alone),
        ("share of the proposals", precision),
        ("a thing counted twice", again_and_again),
        ("exactly the threshold is refused", more_than),
        ("overlaps averaged", average_overlap),
        ("only the end of the curve", end_only),
    ],
    "context_warp": [
        ("context in pixels of the picture", picture_pixels),
        ("no context at all", bare),
        ("context on one side only", one_side),
        ("margin measured by the whole crop", by_whole_crop),
        ("grown by the inverse", shrunk),
        ("aspect kept", square),
        ("cut off at the picture's edge", clipped),
        ("black beyond the picture", black),
        ("one grey for all channels", grey),
    ],
    "svm_labels": [
        ("parts as counterexamples", all_or_nothing),
        ("one limit for everything", one_limit),
        ("nearly right as examples", half_is_enough),
        ("things of all classes", any_thing),
        ("other classes left out", others_out),
        ("0 and -1 exchanged", exchanged),
        ("counterexamples below a half", below_half),
    ],
    "box_targets": [
        ("logarithm forgotten", no_log),
        ("shift in pixels", pixels),
        ("divided by the true size", true_size),
        ("corner instead of middle", corners),
        ("the way back", way_back),
        ("another order", x_w_y_h),
    ],
}

RIGHT = {
    "region_similarity": [similar, similar_in_one_line],
    "merge_regions": [merged, merged_by_lerp],
    "group_regions": [grouped, grouped_recursively],
    "proposal_recall": [recall, recall_by_first_hit],
    "context_warp": [warp, warp_one_by_one],
    "svm_labels": [kinds, kinds_by_mask],
    "box_targets": [targets, targets_in_two_halves],
}
