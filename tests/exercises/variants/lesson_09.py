"""Answers to the exercises of lesson 09 as others write them."""

import torch
import torch.nn.functional as F
from torchvision.ops import batched_nms, box_convert, box_iou, clip_boxes_to_image, nms

from lib.layers.small_backbone import SmallBackbone
from lib.models.yolo import YOLOv1, YOLOv2
from lib.ops.anchors import size_iou

# --- grid_targets -----------------------------------------------------------------------------------------------------


def box_by_box(boxes, size, stride):
    height, width = size
    owners = torch.full((height // stride, width // stride), -1, dtype=torch.int64)
    targets = torch.zeros(height // stride, width // stride, 4)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        row, column = min(int(y // stride), len(owners) - 1), min(int(x // stride), owners.shape[1] - 1)
        if owners[row, column] < 0:
            owners[row, column] = i
            targets[row, column] = torch.stack(
                [x / stride - column, y / stride - row, ((x2 - x1) / width).sqrt(), ((y2 - y1) / height).sqrt()]
            )
    return owners, targets


def all_at_once(boxes, size, stride):
    """From the last box to the first, so that the first one stays; then all targets in one go."""
    x, y, w, h = box_convert(boxes, "xyxy", "cxcywh").T
    rows, columns = (y / stride).long().clamp(max=size[0] // stride - 1), (x / stride).long()
    columns = columns.clamp(max=size[1] // stride - 1)
    numbers = torch.stack([x / stride - columns, y / stride - rows, (w / size[1]) ** 0.5, (h / size[0]) ** 0.5], dim=1)
    owners = torch.full((size[0] // stride, size[1] // stride), -1)
    for i in range(len(boxes) - 1, -1, -1):
        owners[rows[i], columns[i]] = i
    targets = torch.cat([numbers, torch.zeros(1, 4)])[owners]  # -1 is the row of zeros
    return owners, targets


def beyond_the_last_cell(boxes, size, stride):
    owners, targets = all_at_once(boxes, size, stride)
    for box in boxes:
        column, row = ((box[:2] + box[2:]) / 2 // stride).long()
        owners[row, column]  # noqa: B018
    return owners, targets


def counted_from_one(boxes, size, stride):
    owners, targets = all_at_once(boxes, size, stride)
    return owners + 1, targets


def targets_channels_first(boxes, size, stride):
    owners, targets = all_at_once(boxes, size, stride)
    return owners, targets.permute(2, 0, 1)


def size_as_width_and_height(boxes, size, stride):
    return all_at_once(boxes, size[::-1], stride)


def positions_swapped_only(boxes, size, stride):
    owners, targets = all_at_once(boxes, size, stride)
    return owners, targets[..., [1, 0, 2, 3]]


# --- decode_grid ------------------------------------------------------------------------------------------------------


def with_meshgrid(answers, stride):
    rows, columns = answers.shape[:2]
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    cx, cy = (x[..., None] + answers[..., 0]) * stride, (y[..., None] + answers[..., 1]) * stride
    w, h = answers[..., 2] ** 2 * columns * stride, answers[..., 3] ** 2 * rows * stride
    return torch.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], dim=-1)


def by_the_model(answers, stride):
    model = YOLOv1(SmallBackbone(4), stride, 1, boxes=answers.shape[2])
    return model.to_boxes(answers[None].flatten(3), answers[None])[0]


def cell_after_cell(answers, stride):
    height, width = answers.shape[0] * stride, answers.shape[1] * stride
    out = []
    for r in range(answers.shape[0]):
        for c in range(answers.shape[1]):
            x, y, a, b = answers[r, c].unbind(-1)
            out.append(torch.stack([(c + x) * stride, (r + y) * stride, a * a * width, b * b * height], dim=-1))
    return box_convert(torch.stack(out), "cxcywh", "xyxy").reshape(answers.shape)


def middles_and_sides(answers, stride):
    return box_convert(with_meshgrid(answers, stride), "xyxy", "cxcywh")


def whole_reach(answers, stride):
    x, y, w, h = middles_and_sides(answers, stride).unbind(-1)
    return torch.stack([x - w, y - h, x + w, y + h], dim=-1)


def without_gradient(answers, stride):
    return with_meshgrid(answers.detach(), stride)


def in_place(answers, stride):
    answers[..., 2:] **= 2
    return with_meshgrid(torch.cat([answers[..., :2], answers[..., 2:].sqrt()], dim=-1), stride)


# --- responsible_boxes ------------------------------------------------------------------------------------------------


def pair_by_pair(boxes, truth):
    best, overlap = torch.zeros(len(boxes), dtype=torch.int64), torch.zeros(len(boxes))
    for i in range(len(boxes)):
        iou = box_iou(boxes[i], truth[i : i + 1])[:, 0]
        best[i], overlap[i] = iou.argmax(), iou.max()
    return best, overlap


def written_out(boxes, truth):
    truth = truth[:, None]
    left_top = torch.max(boxes[..., :2], truth[..., :2])
    right_bottom = torch.min(boxes[..., 2:], truth[..., 2:])
    w, h = (right_bottom - left_top).clamp(min=0).unbind(-1)
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    area_of_truth = (truth[..., 2] - truth[..., 0]) * (truth[..., 3] - truth[..., 1])
    iou = w * h / (area + area_of_truth - w * h)
    best = iou.argmax(dim=1)
    return best, iou.gather(1, best[:, None])[:, 0]


def diagonal_of_all(boxes, truth):
    """All boxes against all truths, and of that the own pairs."""
    iou = box_iou(boxes.flatten(0, 1), truth).unflatten(0, boxes.shape[:2])  # (M, B, M)
    own = iou[torch.arange(len(truth)), :, torch.arange(len(truth))]
    overlap, best = own.max(1)
    return best, overlap


def stacked(boxes, truth):
    found = [box_iou(own, one[None])[:, 0].max(dim=0) for own, one in zip(boxes, truth)]
    return torch.stack([one.indices for one in found]), torch.stack([one.values for one in found])


def overlap_first(boxes, truth):
    return pair_by_pair(boxes, truth)[::-1]


def inclusive(boxes, truth):
    grown = torch.tensor([0, 0, 1, 1])
    return written_out(boxes + grown, truth + grown)


# --- yolo_loss --------------------------------------------------------------------------------------------------------


def with_loops(answers, classes, boxes, labels, stride):
    rows, columns, count = answers.shape[:3]
    owners, targets = box_by_box(boxes, (rows * stride, columns * stride), stride)
    decoded = with_meshgrid(answers[..., :4], stride)
    place = size = thing = nothing = kind = answers.sum() * 0 + classes.sum() * 0
    for r in range(rows):
        for c in range(columns):
            owner, best = int(owners[r, c]), None
            if owner >= 0:
                number, overlap = pair_by_pair(decoded[r, c][None].detach(), boxes[owner][None])
                best = int(number)
                place = place + 5 * ((answers[r, c, best, :2] - targets[r, c, :2]) ** 2).sum()
                size = size + 5 * ((answers[r, c, best, 2:4] - targets[r, c, 2:]) ** 2).sum()
                thing = thing + (answers[r, c, best, 4] - overlap[0]) ** 2
                wanted = torch.zeros(classes.shape[2])
                wanted[labels[owner] - 1] = 1
                kind = kind + ((classes[r, c] - wanted) ** 2).sum()
            for b in range(count):
                if b != best:
                    nothing = nothing + 0.5 * answers[r, c, b, 4] ** 2
    return torch.stack([place, size, thing, nothing, kind])


def with_masks(answers, classes, boxes, labels, stride):
    """No choosing: everything is computed everywhere and multiplied by 0 or 1."""
    rows, columns, count = answers.shape[:3]
    owners, targets = all_at_once(boxes, (rows * stride, columns * stride), stride)
    there = (owners >= 0).float()
    some = torch.cat([boxes, torch.tensor([[0.0, 0, 1, 1]])])[owners]  # the last row where nobody is
    best, overlap = written_out(with_meshgrid(answers[..., :4], stride).detach().flatten(0, 1), some.flatten(0, 1))
    mine = F.one_hot(best, count).view(rows, columns, count) * there[..., None]
    wrong = (answers[..., :4] - targets[:, :, None]) ** 2 * mine[..., None]
    one_hot = F.one_hot(torch.cat([labels, torch.tensor([1])])[owners] - 1, classes.shape[2])
    return torch.stack(
        [
            5 * wrong[..., :2].sum(),
            5 * wrong[..., 2:].sum(),
            ((answers[..., 4] - overlap.view(rows, columns, 1)) ** 2 * mine).sum(),
            0.5 * (answers[..., 4] ** 2 * (1 - mine)).sum(),
            ((classes - one_hot) ** 2 * there[..., None]).sum(),
        ]
    )


def by_the_models_loss(answers, classes, boxes, labels, stride):
    """`YOLOv1.loss` itself, with the answers in place of a network's."""
    model = YOLOv1(SmallBackbone(4), stride, classes.shape[2], boxes=answers.shape[2])
    model.grid = lambda images: torch.cat([answers.flatten(2), classes], dim=2)[None]
    return torch.stack(list(model.loss(torch.zeros(1, 3, 8, 8), [{"boxes": boxes, "labels": labels}]).values()))


def no_gradient_at_all(answers, classes, boxes, labels, stride):
    return torch.tensor(with_masks(answers, classes, boxes, labels, stride).tolist())


def object_after_nothing(answers, classes, boxes, labels, stride):
    return with_masks(answers, classes, boxes, labels, stride)[[0, 1, 3, 2, 4]]


def nothing_counts_in_full(answers, classes, boxes, labels, stride):
    return with_masks(answers, classes, boxes, labels, stride) * torch.tensor([1, 1, 1, 2, 1])


def confidence_through_a_sigmoid(answers, classes, boxes, labels, stride):
    confidence = answers[..., 4:].sigmoid()
    return with_masks(torch.cat([answers[..., :4], confidence], dim=3), classes, boxes, labels, stride)


# --- kmeans_round -----------------------------------------------------------------------------------------------------


def anchor_by_anchor(sizes, anchors):
    nearest = size_iou(sizes, anchors).argmax(dim=1)
    new = anchors.clone()
    for b in range(len(anchors)):
        if (nearest == b).any():
            new[b] = sizes[nearest == b].mean(0)
    return new


def by_one_hot(sizes, anchors):
    mine = F.one_hot((1 - size_iou(sizes, anchors)).argmin(dim=1), len(anchors)).float()  # (N, B)
    counts = mine.sum(dim=0)[:, None]
    return torch.where(counts > 0, mine.T @ sizes / counts.clamp(min=1), anchors)


def by_index_add(sizes, anchors):
    nearest = size_iou(sizes, anchors).max(1).indices
    sums = torch.zeros_like(anchors).index_add(0, nearest, sizes)
    counts = torch.bincount(nearest, minlength=len(anchors))
    sums[counts == 0] = anchors[counts == 0]
    return sums / counts.clamp(min=1)[:, None]


def by_one_hot_with_nan(sizes, anchors):
    mine = F.one_hot(size_iou(sizes, anchors).argmax(dim=1), len(anchors)).float()
    return mine.T @ sizes / mine.sum(dim=0)[:, None]


def anchors_changed(sizes, anchors):
    nearest = size_iou(sizes, anchors).argmax(dim=1)
    for b in range(len(anchors)):
        if (nearest == b).any():
            anchors[b] = sizes[nearest == b].mean(0)
    return anchors


# --- grid_detections --------------------------------------------------------------------------------------------------


def by_the_model_of_2017(grid, anchors, stride, threshold):
    model = YOLOv2(SmallBackbone(4), stride, grid.shape[2] // len(anchors) - 5, anchors, score_thresh=threshold)
    boxes, scores = model.decode(grid[None])
    return tuple(model.select(boxes[0], scores[0], (grid.shape[0] * stride, grid.shape[1] * stride)).values())


def flat(grid, anchors, stride, threshold):
    """One long list of anchors; suppressed first, chosen by the threshold last."""
    rows, columns, count = grid.shape[0], grid.shape[1], len(anchors)
    t = grid.reshape(rows * columns * count, -1)
    place = torch.arange(rows * columns).repeat_interleave(count)
    x = (place % columns + t[:, 0].sigmoid()) * stride
    y = (place // columns + t[:, 1].sigmoid()) * stride
    w, h = (anchors.repeat(rows * columns, 1) * t[:, 2:4].clamp(max=4).exp()).T
    boxes = torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], dim=1)
    boxes = clip_boxes_to_image(boxes, (rows * stride, columns * stride))
    scores = t[:, 4:5].sigmoid() * t[:, 5:].softmax(1)
    labels = torch.arange(1, scores.shape[1] + 1).expand_as(scores)
    boxes, scores, labels = boxes.repeat_interleave(scores.shape[1], 0), scores.flatten(), labels.flatten()
    kept = batched_nms(boxes, scores, labels, 0.5)
    kept = kept[scores[kept] > threshold]
    return boxes[kept], scores[kept], labels[kept]


def class_by_class(grid, anchors, stride, threshold):
    boxes, scores, labels = [torch.zeros(0, 4)], [torch.zeros(0)], [torch.zeros(0, dtype=torch.int64)]
    answers = grid.view(*grid.shape[:2], len(anchors), -1)
    height, width = grid.shape[0] * stride, grid.shape[1] * stride
    ys, xs = torch.arange(grid.shape[0]).view(-1, 1, 1), torch.arange(grid.shape[1]).view(1, -1, 1)
    cx, cy = (xs + answers[..., 0].sigmoid()) * stride, (ys + answers[..., 1].sigmoid()) * stride
    w = anchors[:, 0] * torch.exp(torch.minimum(answers[..., 2], torch.tensor(4.0)))
    h = anchors[:, 1] * torch.exp(torch.minimum(answers[..., 3], torch.tensor(4.0)))
    corners = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
    every = torch.stack([c.clamp(0, end) for c, end in zip(corners, [width, height] * 2)], dim=-1).view(-1, 4)
    of_class = (answers[..., 4, None].sigmoid() * F.softmax(answers[..., 5:], dim=3)).view(len(every), -1)
    for label in range(of_class.shape[1]):
        good = of_class[:, label] > threshold
        kept = nms(every[good], of_class[good, label], 0.5)
        boxes.append(every[good][kept])
        scores.append(of_class[good, label][kept])
        labels.append(torch.full((len(kept),), label + 1))
    order = torch.cat(scores).argsort(descending=True)
    return torch.cat(boxes)[order], torch.cat(scores)[order], torch.cat(labels)[order]


def labels_first(grid, anchors, stride, threshold):
    boxes, scores, labels = flat(grid, anchors, stride, threshold)
    return boxes, labels, scores


def middle_and_size(grid, anchors, stride, threshold):
    boxes, scores, labels = flat(grid, anchors, stride, threshold)
    return box_convert(boxes, "xyxy", "cxcywh"), scores, labels


WRONG = {
    "grid_targets": [
        ("crashes for some inputs", beyond_the_last_cell),
        ("counted from 1", counted_from_one),
        ("axes swapped", targets_channels_first),
        ("width before height", size_as_width_and_height),
        ("right numbers in the wrong places", positions_swapped_only),
    ],
    "decode_grid": [
        ("middle and size returned", middles_and_sides),
        ("twice too large", whole_reach),
        ("gradient cut off", without_gradient),
        ("input changed in place", in_place),
    ],
    "responsible_boxes": [
        ("crashes for some inputs", stacked),
        ("returned in another order", overlap_first),
        ("one pixel added", inclusive),
    ],
    "yolo_loss": [
        ("gradient cut off", no_gradient_at_all),
        ("the five numbers in another order", object_after_nothing),
        ("only the number for nothing", nothing_counts_in_full),
        ("only the numbers for object and nothing", confidence_through_a_sigmoid),
    ],
    "kmeans_round": [
        ("an empty anchor is NaN", by_one_hot_with_nan),
        ("input changed in place", anchors_changed),
    ],
    "grid_detections": [
        ("returned in another order", labels_first),
        ("middle and size returned", middle_and_size),
    ],
}

RIGHT = {
    "grid_targets": [box_by_box, all_at_once],
    "decode_grid": [with_meshgrid, by_the_model, cell_after_cell],
    "responsible_boxes": [pair_by_pair, written_out, diagonal_of_all],
    "yolo_loss": [with_loops, with_masks, by_the_models_loss],
    "kmeans_round": [anchor_by_anchor, by_one_hot, by_index_add],
    "grid_detections": [by_the_model_of_2017, flat, class_by_class],
}
