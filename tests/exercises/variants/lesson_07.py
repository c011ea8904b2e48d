"""Answers to the exercises of lesson 07 as others write them."""

import math

import torch
import torch.nn.functional as F
import torchvision


def cells(box, spatial_scale):
    return [math.floor(float(value) * spatial_scale + 0.5) for value in box]


def half_added(box, spatial_scale):
    return [math.floor(value * spatial_scale + 0.5) for value in box.tolist()]


def by_remainder(box, spatial_scale):
    scaled = box * spatial_scale
    down = scaled.long()
    return tuple((down + (scaled - down >= 0.5)).tolist())


def region(box, scale):
    return [int(torch.floor(value * scale + 0.5)) for value in box]


def cropped_short(features, box, output_size, spatial_scale):
    x1, y1, x2, y2 = region(box, spatial_scale)
    return F.adaptive_max_pool2d(features[:, y1:y2, x1:x2], output_size)


def padded_then_adaptive(features, box, output_size, spatial_scale):
    x1, y1, x2, y2 = region(box, spatial_scale)
    wider = F.pad(features, (0, 20, 0, 20), value=-1e9)
    out = F.adaptive_max_pool2d(wider[:, y1 : y2 + 1, x1 : x2 + 1], output_size)
    return torch.where(out > -1e8, out, 0)


def row_by_row(features, box, output_size, spatial_scale):
    x1, y1, x2, y2 = region(box, spatial_scale)
    n, (_, height, width) = output_size, features.shape
    result = []
    for channel in features:
        bins = []
        for i in range(n):
            first, last = y1 + (i * (y2 - y1 + 1)) // n, y1 - (-(i + 1) * (y2 - y1 + 1)) // n
            for j in range(n):
                left, right = x1 + (j * (x2 - x1 + 1)) // n, x1 - (-(j + 1) * (x2 - x1 + 1)) // n
                values = [
                    channel[y, x] for y in range(first, min(last, height)) for x in range(left, min(right, width))
                ]
                bins.append(torch.stack(values).max() if values else channel.new_zeros(()))
        result.append(torch.stack(bins).view(n, n))
    return torch.stack(result)


def shuffled(places, generator, n):
    return places[torch.randperm(len(places), generator=generator)][:n]


def kinds(overlaps, low=0.1):
    return torch.where(overlaps >= 0.5)[0], torch.where((overlaps < 0.5) & (overlaps >= low))[0]


def fixed_share(overlaps, count, generator):
    positive, negative = kinds(overlaps)
    return shuffled(positive, generator, count // 4), shuffled(negative, generator, count - count // 4)


def every_positive(overlaps, count, generator):
    positive, negative = kinds(overlaps)
    positive = shuffled(positive, generator, count)
    return positive, shuffled(negative, generator, count - len(positive))


def no_lower_limit(overlaps, count, generator):
    positive, negative = kinds(overlaps, low=-1)
    positive = shuffled(positive, generator, count // 4)
    return positive, shuffled(negative, generator, count - len(positive))


def above_half(overlaps, count, generator):
    positive, negative = torch.where(overlaps > 0.5)[0], torch.where((overlaps <= 0.5) & (overlaps >= 0.1))[0]
    positive = shuffled(positive, generator, count // 4)
    return positive, shuffled(negative, generator, count - len(positive))


def put_back(overlaps, count, generator):
    positive, negative = kinds(overlaps)
    n = min(len(positive), count // 4)
    first = positive[torch.randint(len(positive), (n,), generator=generator)] if n else positive[:0]
    m = min(len(negative), count - n)
    return first, negative[torch.randint(len(negative), (m,), generator=generator)] if m else negative


def not_looked_up(overlaps, count, generator):
    positive, negative = kinds(overlaps)
    first = torch.randperm(len(positive), generator=generator)[: count // 4]
    return first, shuffled(negative, generator, count - len(first))


def all_backgrounds(overlaps, count, generator):
    positive, negative = kinds(overlaps)
    return shuffled(positive, generator, count // 4), negative


def first_ones(overlaps, count, generator):
    positive, negative = kinds(overlaps)
    positive = positive[: count // 4]
    return positive, negative[: count - len(positive)]


def own_chance(overlaps, count, generator):
    positive, negative = kinds(overlaps)
    positive = positive[torch.randperm(len(positive))[: count // 4]]
    return positive, negative[torch.randperm(len(negative))[: count - len(positive)]]


def masks(overlaps, count, generator):
    return overlaps >= 0.5, (overlaps >= 0.1) & (overlaps < 0.5)


def columns(overlaps, count, generator):
    return (overlaps >= 0.5).nonzero()[: count // 4], ((overlaps >= 0.1) & (overlaps < 0.5)).nonzero()[:count]


def values_themselves(overlaps, count, generator):
    positive, negative = fixed_share(overlaps, count, generator)
    return overlaps[positive], overlaps[negative]


def one_list(overlaps, count, generator):
    return torch.cat(fixed_share(overlaps, count, generator))


def by_random_keys(overlaps, count, generator):
    keys = torch.rand(len(overlaps), generator=generator)
    positive, negative = kinds(overlaps)
    positive = positive[keys[positive].argsort()[: count // 4]]
    return positive, negative[keys[negative].argsort()[: count - len(positive)]]


def one_shuffle(overlaps, count, generator):
    order = torch.randperm(len(overlaps), generator=generator).tolist()
    positive = [i for i in order if overlaps[i] >= 0.5][: count // 4]
    negative = [i for i in order if 0.1 <= overlaps[i] + 1e-7 and overlaps[i] < 0.5][: count - len(positive)]
    return torch.tensor(positive, dtype=torch.int64), torch.tensor(negative, dtype=torch.int64)


def by_the_smaller(difference, beta):
    small = difference.abs().clamp(max=beta)
    return small**2 / (2 * beta) + (difference.abs() - small)


def by_masks(difference, beta):
    inside = (difference.abs() < beta).float()
    return inside * difference**2 * 0.5 / beta + (1 - inside) * (difference.abs() - beta / 2)


def losses(logits, regression, labels, targets, keep=None, four=None, divide=None, bend=1 / 9):
    n = len(labels)
    keep = labels > 0 if keep is None else keep
    four = regression.reshape(n, -1, 4)[torch.arange(n), labels] if four is None else four
    total = F.smooth_l1_loss(four[keep], targets[keep], beta=bend, reduction="sum")
    return F.cross_entropy(logits, labels), total / (n if divide is None else divide)


def four_of(box_regression, labels):
    return torch.stack([box_regression[i, 4 * c : 4 * c + 4] for i, c in enumerate(labels.tolist())])


def squares(class_logits, box_regression, labels, regression_targets):
    d = (four_of(box_regression, labels) - regression_targets) * (labels > 0)[:, None]
    return F.cross_entropy(class_logits, labels), d.pow(2).sum() / len(labels)


def summed_up(class_logits, box_regression, labels, regression_targets):
    first, second = losses(class_logits, box_regression, labels, regression_targets)
    return first + second


def by_region(class_logits, box_regression, labels, regression_targets):
    n, total, right = len(labels), 0.0, 0.0
    for i, label in enumerate(labels.tolist()):
        right = right - class_logits[i].log_softmax(0)[label] / n
        if label:
            four = box_regression[i, 4 * label : 4 * label + 4]
            total = total + F.smooth_l1_loss(four, regression_targets[i], beta=1 / 9, reduction="sum") / n
    return right, total + 0 * box_regression.sum()


def by_mask(class_logits, box_regression, labels, regression_targets):
    n, k = class_logits.shape
    mask = F.one_hot(labels, k)[:, :, None] * (labels > 0)[:, None, None]  # (N, K, 1)
    d = (box_regression.view(n, k, 4) - regression_targets[:, None]) * mask
    each = torch.where(d.abs() < 1 / 9, 4.5 * d**2, d.abs() - 1 / 18)
    return F.nll_loss(class_logits.log_softmax(1), labels), each.sum() / n


def by_torchvision(class_logits, box_regression, labels, regression_targets):
    return torchvision.models.detection.roi_heads.fastrcnn_loss(
        class_logits, box_regression, [labels], [regression_targets]
    )


def columns_then_rows(box, spatial_scale):
    left, top, right, bottom = (int(torch.floor(edge * spatial_scale + 0.5)) for edge in box)
    return left, right, top, bottom


def x_before_y(features, box, output_size, spatial_scale):
    left, top, right, bottom = (int(torch.floor(edge * spatial_scale + 0.5)) for edge in box)
    wide, high, n = right - left + 1, bottom - top + 1, output_size
    pooled = torch.zeros(len(features), n, n)
    for i in range(n):
        for j in range(n):
            x1, x2 = left + math.floor(j * wide / n), left + math.ceil((j + 1) * wide / n)
            y1, y2 = top + math.floor(i * high / n), top + math.ceil((i + 1) * high / n)
            cells = features[:, x1:x2, y1:y2]
            if cells.numel():
                pooled[:, i, j] = cells.amax(dim=(1, 2))
    return pooled


def negative(difference, beta):
    size = difference.abs()
    return -torch.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)


def box_first(class_logits, box_regression, labels, regression_targets):
    return by_torchvision(class_logits, box_regression, labels, regression_targets)[::-1]


WRONG = {
    "project_roi": [("returned in another order", columns_then_rows)],
    "roi_max_pool": [("last cell left out", cropped_short), ("rows and columns exchanged", x_before_y)],
    "sample_regions": [
        ("too many positives", every_positive),
        ("background below 0.1 too", no_lower_limit),
        ("0.5 taken for background", above_half),
        ("drawn twice", put_back),
        ("positives that overlap too little", not_looked_up),
        ("too many backgrounds", all_backgrounds),
        ("always the same regions", first_ones),
        ("generator not used", own_chance),
        ("masks instead of numbers", masks),
        ("not one axis", columns),
        ("overlaps instead of numbers", values_themselves),
        ("not two tensors", one_list),
    ],
    "smooth_l1": [("sign flipped", negative)],
    "two_task_loss": [
        ("only part 2", squares),
        ("added together", summed_up),
        ("returned in another order", box_first),
        ("0 times without meaning", by_mask),
    ],
}

RIGHT = {
    "project_roi": [half_added, by_remainder],
    "roi_max_pool": [padded_then_adaptive, row_by_row],
    "sample_regions": [by_random_keys, one_shuffle],
    "smooth_l1": [by_the_smaller, by_masks],
    "two_task_loss": [by_region, by_torchvision],
}
