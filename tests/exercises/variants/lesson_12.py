"""Answers to the exercises of lesson 12 as others write them."""

import torch
import torch.nn.functional as F
from torchvision.ops import roi_align

from lib.exercises.lessons.lesson_12.bilinear_sample import bilinear_sample

# --- mask_iou ---------------------------------------------------------------------------------------------------------


def all_pairs_at_once(masks1, masks2):
    both = (masks1[:, None] & masks2[None]).sum(dim=(2, 3))
    either = (masks1[:, None] | masks2[None]).sum(dim=(2, 3))
    return torch.where(either > 0, both / either, torch.zeros(()))


def row_by_row(masks1, masks2):
    iou = torch.zeros(len(masks1), len(masks2))
    for i in range(len(masks1)):
        shared = (masks1[i] & masks2).flatten(1).sum(dim=1).float()
        either = (masks1[i] | masks2).flatten(1).sum(dim=1)
        iou[i] = shared / either.clamp(min=1)
    return iou


def of_one_pair(masks1, masks2):
    return (masks1[0] & masks2[0]).sum() / (masks1[0] | masks2[0]).sum()


# --- bilinear_sample --------------------------------------------------------------------------------------------------


def point_by_point(feature, x, y):
    height, width = feature.shape[1:]
    columns = []
    for px, py in zip(x.tolist(), y.tolist()):
        px, py = min(max(px, 0.5), width - 0.5) - 0.5, min(max(py, 0.5), height - 0.5) - 0.5
        j, i = int(px), int(py)
        k, m = min(j + 1, width - 1), min(i + 1, height - 1)
        a, b = px - j, py - i
        above = (1 - a) * feature[:, i, j] + a * feature[:, i, k]
        columns.append((1 - b) * above + b * ((1 - a) * feature[:, m, j] + a * feature[:, m, k]))
    return torch.stack(columns, dim=1) if columns else feature.new_zeros(len(feature), 0)


def by_hats(feature, x, y):
    """Two matrices of triangles, as in `lib.ops.roi`."""
    height, width = feature.shape[1:]
    x, y = x.clamp(0.5, width - 0.5), y.clamp(0.5, height - 0.5)
    across = (1 - (x[:, None] - 0.5 - torch.arange(width)).abs()).clamp(min=0)  # (P, w)
    down = (1 - (y[:, None] - 0.5 - torch.arange(height)).abs()).clamp(min=0)  # (P, h)
    return torch.einsum("chw,ph,pw->cp", feature, down, across)


def without_gradient(feature, x, y):
    return point_by_point(feature.detach(), x, y)


def last_cell_missing(feature, x, y):
    column, row = (x - 0.5).clamp(min=0), (y - 0.5).clamp(min=0)
    j, i = column.floor().long(), row.floor().long()
    a, b = column - j, row - i
    above = (1 - a) * feature[:, i, j] + a * feature[:, i, j + 1]
    return (1 - b) * above + b * ((1 - a) * feature[:, i + 1, j] + a * feature[:, i + 1, j + 1])


# --- roi_align_one ----------------------------------------------------------------------------------------------------


def bin_by_bin(feature, box, output_size, spatial_scale):
    left, top, right, bottom = (box * spatial_scale).tolist()
    width, height = (right - left) / output_size, (bottom - top) / output_size
    rows = []
    for i in range(output_size):
        row = []
        for j in range(output_size):
            x = torch.tensor([left + (j + a) * width for a in (0.25, 0.75, 0.25, 0.75)])
            y = torch.tensor([top + (i + b) * height for b in (0.25, 0.25, 0.75, 0.75)])
            row.append(bilinear_sample(feature, x, y).mean(dim=1))
        rows.append(torch.stack(row, dim=1))
    return torch.stack(rows, dim=1)


def all_points_at_once(feature, box, output_size, spatial_scale):
    corners = box * spatial_scale
    steps = (torch.arange(output_size)[:, None] + torch.tensor([0.25, 0.75])).flatten() / output_size  # (2n,)
    x, y = (corners[k] + steps * (corners[k + 2] - corners[k]) for k in (0, 1))
    values = bilinear_sample(feature, x.repeat(len(y)), y.repeat_interleave(len(x)))
    return values.view(len(feature), output_size, 2, output_size, 2).mean(dim=(2, 4))


def points_in_the_wrong_order(feature, box, output_size, spatial_scale):
    values = all_points_at_once(feature, box, output_size, spatial_scale)
    return values.flip(1)


# --- mask_targets -----------------------------------------------------------------------------------------------------


def masks_chosen_first(masks, boxes, matched, size):
    chosen = masks[matched].float()[:, None]  # (P, 1, H, W)
    numbers = torch.arange(len(boxes))[:, None]
    return roi_align(chosen, torch.hstack([numbers, boxes]), (size, size), aligned=True).squeeze(1)


def one_by_one(masks, boxes, matched, size):
    targets = torch.zeros(len(boxes), size, size)
    for k in range(len(boxes)):
        mask = masks[matched[k]].float()[None, None]
        targets[k] = roi_align(mask, [boxes[k : k + 1]], size, spatial_scale=1, aligned=True)[0, 0]
    return targets


def channel_left_in(masks, boxes, matched, size):
    return masks_chosen_first(masks, boxes, matched, size)[:, None]


def cut_and_resized(masks, boxes, matched, size):
    targets = torch.zeros(len(boxes), size, size)
    for k, (x1, y1, x2, y2) in enumerate(boxes.round().int().tolist()):
        cut = masks[matched[k], y1:y2, x1:x2].float()
        targets[k] = F.interpolate(cut[None, None], (size, size), mode="nearest")[0, 0]
    return targets


# --- paste_mask -------------------------------------------------------------------------------------------------------


def by_sampling(mask, box, img_shape):
    x1, y1, x2, y2 = box
    x = (torch.arange(img_shape[1]) + 0.5 - x1) / (x2 - x1)  # (W,) 0..1 in the box
    y = (torch.arange(img_shape[0]) + 0.5 - y1) / (y2 - y1)
    values = bilinear_sample(mask[None], (x * len(mask)).repeat(len(y)), (y * len(mask)).repeat_interleave(len(x)))
    inside = ((y >= 0) & (y <= 1))[:, None] & ((x >= 0) & (x <= 1))
    return torch.where(inside, values.view(img_shape), torch.zeros(()))


def by_grid_sample(mask, box, img_shape):
    centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    y, x = torch.meshgrid(torch.arange(img_shape[0]) + 0.5, torch.arange(img_shape[1]) + 0.5, indexing="ij")
    grid = (torch.stack([x, y], dim=-1) - centre) / half  # (H, W, 2) -1..1
    read = F.grid_sample(mask[None, None], grid[None], padding_mode="border", align_corners=False)[0, 0]
    read[(grid.abs() > 1).any(dim=-1)] = 0
    return read


def stretched_over_everything(mask, box, img_shape):
    return F.interpolate(mask[None, None], img_shape, mode="bilinear", align_corners=False)[0, 0]


# --- mask_loss --------------------------------------------------------------------------------------------------------


def gathered(mask_logits, labels, targets):
    index = labels[:, None, None, None].expand(-1, 1, *mask_logits.shape[2:])
    own = mask_logits.gather(1, index)[:, 0]
    if own.numel() == 0:
        return own.sum()
    return F.binary_cross_entropy_with_logits(own, targets)


def by_softplus(mask_logits, labels, targets):
    own = torch.stack([masks[label] for masks, label in zip(mask_logits, labels)]) if len(labels) else mask_logits[:, 0]
    loss = F.softplus(own) - targets * own
    return loss.sum() / max(loss.numel(), 1)


def a_plain_zero(mask_logits, labels, targets):
    return by_softplus(mask_logits, labels, targets) if len(labels) else torch.zeros(())


WRONG = {
    "mask_iou": [(None, of_one_pair)],
    "bilinear_sample": [("gradient cut off", without_gradient), ("crashes for some inputs", last_cell_missing)],
    "roi_align_one": [("mirrored", points_in_the_wrong_order)],
    "mask_targets": [("wrong shape", channel_left_in), (None, cut_and_resized)],
    "paste_mask": [(None, stretched_over_everything)],
    "mask_loss": [("gradient cut off", a_plain_zero)],
}

RIGHT = {
    "mask_iou": [all_pairs_at_once, row_by_row],
    "bilinear_sample": [point_by_point, by_hats],
    "roi_align_one": [bin_by_bin, all_points_at_once],
    "mask_targets": [masks_chosen_first, one_by_one],
    "paste_mask": [by_sampling, by_grid_sample],
    "mask_loss": [gathered, by_softplus],
}
