"""Answers to the exercises of lesson 12 as others write them."""

import math

import torch
import torch.nn.functional as F
from torchvision.ops import masks_to_boxes, roi_align

# --- mask_iou ---------------------------------------------------------------------------------------------------------


def by_broadcasting(masks1, masks2):
    shared = (masks1[:, None] & masks2[None]).sum(dim=(2, 3))
    either = (masks1[:, None] | masks2[None]).sum(dim=(2, 3))
    return torch.where(either > 0, shared / either, 0.0)


def by_einsum(masks1, masks2):
    a, b = masks1.float(), masks2.float()
    shared = torch.einsum("nhw,mhw->nm", a, b)
    return shared / (a.sum((1, 2))[:, None] + b.sum((1, 2)) - shared + 1e-9)


def pair_by_pair(masks1, masks2, none=0.0):
    table = torch.zeros(len(masks1), len(masks2))
    for i in range(len(masks1)):
        for j in range(len(masks2)):
            either = (masks1[i] | masks2[j]).sum()
            table[i, j] = (masks1[i] & masks2[j]).sum() / either if either > 0 else none
    return table


def nan_to_num(masks1, masks2):
    one, other = masks1.reshape(len(masks1), -1).long(), masks2.reshape(len(masks2), -1).long()
    shared = (one[:, None] * other).sum(-1)
    return (shared / (one.sum(1).unsqueeze(1) + other.sum(1) - shared)).nan_to_num(0)


def divided_by_zero(masks1, masks2):
    return (masks1[:, None] & masks2).sum((2, 3)) / (masks1[:, None] | masks2).sum((2, 3))


def exclusive_or(masks1, masks2):
    return (masks1[:, None] & masks2).sum((2, 3)) / (masks1[:, None] ^ masks2).sum((2, 3)).clamp(min=1)


def added(masks1, masks2):
    one, other = masks1.flatten(1).float(), masks2.flatten(1).float()
    return one @ other.T / (one[:, None] + other).sum(2).clamp(min=1e-6)


# --- bilinear_sample --------------------------------------------------------------------------------------------------


def four_weights(feature, x, y):
    _, h, w = feature.shape
    x, y = torch.clamp(x, 0.5, w - 0.5) - 0.5, torch.clamp(y, 0.5, h - 0.5) - 0.5
    x0, y0 = torch.floor(x).long(), torch.floor(y).long()
    x1, y1 = torch.clamp(x0 + 1, max=w - 1), torch.clamp(y0 + 1, max=h - 1)
    a = feature[:, y0, x0] * ((x0 + 1 - x) * (y0 + 1 - y))
    b = feature[:, y0, x1] * ((x - x0) * (y0 + 1 - y))
    c = feature[:, y1, x0] * ((x0 + 1 - x) * (y - y0))
    return a + b + c + feature[:, y1, x1] * ((x - x0) * (y - y0))


def tents(feature, x, y):
    """How much each row and each column counts, as matrices."""
    _, h, w = feature.shape
    x, y = x.clamp(0.5, w - 0.5)[:, None], y.clamp(0.5, h - 0.5)[:, None]
    across = (1 - (x - torch.arange(w) - 0.5).abs()).clamp(min=0)  # (P, w)
    down = (1 - (y - torch.arange(h) - 0.5).abs()).clamp(min=0)  # (P, h)
    return torch.einsum("chw,ph,pw->cp", feature, down, across)


def rim_padded(feature, x, y):
    padded = F.pad(feature[None], (1, 1, 1, 1), mode="replicate")[0]
    x, y = x.clamp(0, feature.shape[2]) + 0.5, y.clamp(0, feature.shape[1]) + 0.5
    i, j = y.floor().long().clamp(max=padded.shape[1] - 2), x.floor().long().clamp(max=padded.shape[2] - 2)
    u, v = x - j, y - i
    upper = torch.lerp(padded[:, i, j], padded[:, i, j + 1], u.expand(len(feature), -1))
    lower = torch.lerp(padded[:, i + 1, j], padded[:, i + 1, j + 1], u.expand(len(feature), -1))
    return upper + v * (lower - upper)


def point_at_a_time(feature, x, y, half=0.5):
    _, h, w = feature.shape
    found = []
    for px, py in zip(x.tolist(), y.tolist()):
        px, py = min(max(px - half, 0), w - 1), min(max(py - half, 0), h - 1)
        j, i = int(px), int(py)
        j1, i1 = min(j + 1, w - 1), min(i + 1, h - 1)
        u, v = px - j, py - i
        upper = feature[:, i, j] * (1 - u) + feature[:, i, j1] * u
        found.append(upper * (1 - v) + (feature[:, i1, j] * (1 - u) + feature[:, i1, j1] * u) * v)
    return torch.stack(found, dim=1) if found else feature.new_zeros(len(feature), 0)


def stacked_point_by_point(feature, x, y):
    return torch.stack([four_weights(feature, a[None], b[None])[:, 0] for a, b in zip(x, y)], dim=1)


def nearest_middle(feature, x, y):
    _, h, w = feature.shape
    return feature[:, y.long().clamp(0, h - 1), x.long().clamp(0, w - 1)]


# --- roi_align_one ----------------------------------------------------------------------------------------------------


def all_points_at_once(feature, box, output_size, spatial_scale, first=0.5, sample=four_weights):
    x1, y1, x2, y2 = box * spatial_scale
    n = 2 * output_size
    x = x1 + (torch.arange(n) + first) * (x2 - x1) / n
    y = y1 + (torch.arange(n) + first) * (y2 - y1) / n
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    values = sample(feature, xx.reshape(-1), yy.reshape(-1)).reshape(-1, n, n)
    return F.avg_pool2d(values, 2)


def bin_by_bin(feature, box, output_size, spatial_scale, places=(0.25, 0.75)):
    x1, y1, x2, y2 = (box * spatial_scale).tolist()
    w, h = (x2 - x1) / output_size, (y2 - y1) / output_size
    result = feature.new_zeros(len(feature), output_size, output_size)
    for i in range(output_size):
        for j in range(output_size):
            points = [(x1 + (j + a) * w, y1 + (i + b) * h) for a in places for b in places]
            x, y = torch.tensor(points).T
            result[:, i, j] = four_weights(feature, x, y).mean(dim=1)
    return result


def by_grid_sample(feature, box, output_size, spatial_scale):
    n, (_, h, w) = 2 * output_size, feature.shape
    middles = (torch.arange(n) + 0.5) / n
    x, y = (torch.lerp(start, end, middles) for start, end in (box * spatial_scale).view(2, 2).T)
    grid = torch.stack([(2 * x / w - 1).expand(n, n), (2 * y / h - 1)[:, None].expand(n, n)], dim=2)
    read = F.grid_sample(feature[None], grid[None], padding_mode="border", align_corners=False)
    return F.adaptive_avg_pool2d(read, output_size)[0]


def half_taken_twice(feature, box, output_size, spatial_scale):
    return bin_by_bin(feature, box - 0.5 / spatial_scale, output_size, spatial_scale)


def whole_cells(feature, box, output_size, spatial_scale):
    return all_points_at_once(feature, (box * spatial_scale).round() / spatial_scale, output_size, spatial_scale)


def x_before_y(feature, box, output_size, spatial_scale):
    return all_points_at_once(feature, box, output_size, spatial_scale, sample=lambda f, x, y: four_weights(f, y, x))


# --- mask_targets -----------------------------------------------------------------------------------------------------


def region_by_region(masks, boxes, matched, size, **settings):
    settings = {"aligned": True} | settings
    targets = torch.zeros(len(boxes), size, size)
    for i, (box, thing) in enumerate(zip(boxes, matched)):
        targets[i] = roi_align(masks[thing].float()[None, None], [box[None]], size, **settings)[0, 0]
    return targets


def a_picture_for_each_region(masks, boxes, matched, size):
    chosen = masks[matched].unsqueeze(1).float()
    return roi_align(chosen, list(boxes.split(1)), (size, size), aligned=True).squeeze(1)


def numbers_in_front(masks, boxes, matched, size):
    regions = torch.hstack([matched.to(boxes.dtype).reshape(-1, 1), boxes])
    return roi_align(masks.unsqueeze(1).to(boxes.dtype), regions, size, 1.0, -1, True)[:, 0]


def as_channels(masks, boxes, matched, size):
    """Every region cut from all masks, then the right one taken."""
    cut = roi_align(masks[None].float(), [boxes], size, aligned=True)
    return cut[torch.arange(len(boxes)), matched]


def all_of_the_first(masks, boxes, matched, size):
    return roi_align(masks[:, None].float(), [boxes], size, aligned=True)[:, 0]


def things_in_order(masks, boxes, matched, size):
    return region_by_region(masks, boxes, range(len(boxes)), size)


def own_boxes(masks, boxes, matched, size):
    return region_by_region(masks, masks_to_boxes(masks[matched]), matched, size)


def not_squeezed(masks, boxes, matched, size):
    return as_channels(masks, boxes, matched, size)[:, None]


def stacked_targets(masks, boxes, matched, size):
    return torch.stack([region_by_region(masks, box[None], [i], size)[0] for box, i in zip(boxes, matched)])


# --- paste_mask -------------------------------------------------------------------------------------------------------


def two_interpolations(mask, box, img_shape):
    """Rows and columns do not depend on each other: weights as matrices."""

    def weights(start, end, side):
        place = (torch.arange(side) + 0.5 - start) / (end - start)
        cell = (place * len(mask) - 0.5).clamp(0, len(mask) - 1)
        return (1 - (cell[:, None] - torch.arange(len(mask))).abs()).clamp(min=0) * ((place >= 0) & (place <= 1))[
            :, None
        ]

    x1, y1, x2, y2 = box
    return weights(y1, y2, img_shape[0]) @ mask @ weights(x1, x2, img_shape[1]).T


def only_the_pixels_inside(mask, box, img_shape):
    picture = torch.zeros(img_shape)
    x1, y1, x2, y2 = box.tolist()
    columns = [i for i in range(img_shape[1]) if x1 <= i + 0.5 <= x2]
    rows = [i for i in range(img_shape[0]) if y1 <= i + 0.5 <= y2]
    for i in rows:
        for j in columns:
            x = torch.tensor([(j + 0.5 - x1) / (x2 - x1) * mask.shape[1]])
            y = torch.tensor([(i + 0.5 - y1) / (y2 - y1) * mask.shape[0]])
            picture[i, j] = four_weights(mask[None], x, y).item()
    return picture


def read_everywhere(mask, box, img_shape, padding="border", inside=True, corners=False):
    x1, y1, x2, y2 = box
    x = (torch.arange(img_shape[1]) + 0.5 - x1) / (x2 - x1)
    y = (torch.arange(img_shape[0]) + 0.5 - y1) / (y2 - y1)
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) * 2 - 1
    read = F.grid_sample(mask[None, None], grid[None], padding_mode=padding, align_corners=corners)[0, 0]
    within = ((x > 0) & (x < 1))[None, :] & ((y > 0) & (y < 1))[:, None]
    return torch.where(within, read, 0) if inside else read


def whole_pixels_between(mask, box, img_shape):
    """From the first pixel whose middle is in the box to the last; but the mask is stretched over just these."""
    h, w = img_shape
    x1, y1, x2, y2 = (math.floor(side + 0.5) for side in box.tolist())
    picture = torch.zeros(img_shape)
    if x2 > x1 and y2 > y1:
        large = F.interpolate(mask[None, None], size=(y2 - y1, x2 - x1), mode="bilinear", align_corners=False)[0, 0]
        for i in range(max(y1, 0), min(y2, h)):
            for j in range(max(x1, 0), min(x2, w)):
                picture[i, j] = large[i - y1, j - x1]
    return picture


def pasted_by_slices(mask, box, img_shape):
    x1, y1, x2, y2 = box.round().long().tolist()
    picture = torch.zeros(img_shape)
    picture[y1:y2, x1:x2] = F.interpolate(mask[None, None], size=(y2 - y1, x2 - x1), mode="bilinear")[0, 0]
    return picture


# --- mask_loss --------------------------------------------------------------------------------------------------------


def gathered(mask_logits, labels, targets):
    if labels.numel() == 0:
        return mask_logits.sum() * 0.0
    index = labels[:, None, None, None].expand(-1, 1, *mask_logits.shape[2:])
    return F.binary_cross_entropy_with_logits(mask_logits.gather(1, index)[:, 0], targets)


def by_definition(mask_logits, labels, targets):
    own = mask_logits[torch.arange(len(labels)), labels]
    each = own.clamp(min=0) - own * targets + torch.log1p(torch.exp(-own.abs()))
    return each.sum() / max(each.numel(), 1)


def one_hot_chosen(mask_logits, labels, targets):
    chosen = F.one_hot(labels, mask_logits.shape[1]).bool()
    own = mask_logits[chosen]
    each = -(targets * F.logsigmoid(own) + (1 - targets) * F.logsigmoid(-own))
    return each.mean() if len(labels) else each.sum()


def plain_zero(mask_logits, labels, targets):
    return gathered(mask_logits, labels, targets) if len(labels) else torch.tensor(0.0)


def asked_for_a_gradient(mask_logits, labels, targets):
    if len(labels) == 0:
        return torch.zeros((), requires_grad=True)
    return gathered(mask_logits, labels, targets)


def all_masks(mask_logits, labels, targets):
    if len(labels) == 0:
        return mask_logits.sum() * 0
    wanted = targets.unsqueeze(1).repeat(1, mask_logits.shape[1], 1, 1)
    return F.binary_cross_entropy_with_logits(mask_logits, wanted)


def per_region(mask_logits, labels, targets):
    own = mask_logits[torch.arange(len(labels)), labels]
    return F.binary_cross_entropy_with_logits(own, targets, reduction="none").mean(dim=(1, 2))


def cells_summed(mask_logits, labels, targets):
    return gathered(mask_logits, labels, targets) * targets.shape[1] * targets.shape[2]


WRONG = {
    "mask_iou": [
        ("0 / 0 for empty masks", divided_by_zero),
        ("empty masks agree", lambda *given: pair_by_pair(*given, none=1.0)),
        ("shared pixels counted twice", added),
        (None, exclusive_or),
        ("axes swapped", lambda masks1, masks2: by_einsum(masks2, masks1)),
        ("wrong dtype", lambda *given: by_broadcasting(*given).double()),
        ("True and False exchanged", lambda masks1, masks2: by_broadcasting(~masks1, ~masks2)),
        ("1 minus the result", lambda *given: 1 - by_einsum(*given)),
    ],
    "bilinear_sample": [
        ("half a cell off", lambda *given: point_at_a_time(*given, half=0.0)),
        ("the cell instead of a mix", nearest_middle),
        ("right numbers in the wrong places", lambda *given: four_weights(*given).T.reshape(len(given[0]), -1)),
        ("x taken for rows", lambda feature, x, y: tents(feature, y, x)),
        ("axes swapped", lambda *given: tents(*given).T),
        ("gradient cut off", lambda *given: rim_padded(*given).detach()),
    ],
    "roi_align_one": [
        ("points at 0 and ½", lambda *given: all_points_at_once(*given, first=0.0)),
        ("half a cell off, to the left and up", half_taken_twice),
        ("rounded to whole cells", whole_cells),
        ("one point in the middle", lambda *given: bin_by_bin(*given, places=(0.5,))),
        ("points in the bin's corners", lambda *given: bin_by_bin(*given, places=(0, 1))),
        ("axes swapped", lambda *given: by_grid_sample(*given).transpose(1, 2)),
        ("rows and columns exchanged", x_before_y),
        ("x and y swapped", lambda feature, box, *rest: by_grid_sample(feature, box[[1, 0, 3, 2]], *rest)),
        ("off by a constant factor", lambda *given: 4 * all_points_at_once(*given)),
    ],
    "mask_targets": [
        ("`matched` ignored", things_in_order),
        ("always the first mask", all_of_the_first),
        ("the thing's own box cut", own_boxes),
        ("half a pixel off", lambda *given: region_by_region(*given, aligned=False)),
        ("too few points", lambda *given: region_by_region(*given, sampling_ratio=2)),
        ("nothing but 0 and 1", lambda *given: (as_channels(*given) >= 0.5).float()),
        ("an axis of length 1", not_squeezed),
        ("crashes for some inputs", stacked_targets),
        ("wrong dtype", lambda *given: as_channels(*given) > 0.5),
    ],
    "paste_mask": [
        ("box rounded", whole_pixels_between),
        ("outside of the box the rim goes on", lambda *given: read_everywhere(*given, inside=False)),
        ("the rim fades out", lambda *given: read_everywhere(*given, padding="zeros")),
        ("the rim fades out beyond the box", lambda *given: read_everywhere(*given, padding="zeros", inside=False)),
        ("corners aligned", lambda *given: read_everywhere(*given, corners=True)),
        ("rounded", lambda *given: (read_everywhere(*given) > 0.5).float()),
        ("width before height", lambda mask, box, shape: read_everywhere(mask, box, shape[::-1])),
        ("box rounded", pasted_by_slices),
    ],
    "mask_loss": [
        ("no gradient without regions", plain_zero),
        ("the masks of all classes", all_masks),
        ("wrong shape", per_region),
        ("the mask of the class before", lambda logits, labels, targets: gathered(logits, labels - 1, targets)),
        ("sigmoid twice", lambda logits, *rest: one_hot_chosen(logits.sigmoid(), *rest)),
        ("cells added up", cells_summed),
        ("wrong type", lambda *given: gathered(*given).item()),
    ],
}

RIGHT = {
    "mask_iou": [by_broadcasting, by_einsum, pair_by_pair, nan_to_num],
    "bilinear_sample": [four_weights, tents, rim_padded, point_at_a_time, stacked_point_by_point],
    "roi_align_one": [all_points_at_once, bin_by_bin, by_grid_sample],
    "mask_targets": [region_by_region, a_picture_for_each_region, numbers_in_front, as_channels],
    "paste_mask": [two_interpolations, only_the_pixels_inside, read_everywhere],
    "mask_loss": [gathered, by_definition, one_hot_chosen, asked_for_a_gradient],
}
