"""Answers to the exercises of lesson 07 as learners might write them: the wrong ones by the mistake they make."""

import math

import torch
import torch.nn.functional as F
import torchvision

# --- project_roi --------------------------------------------------------------------------------------------------


def cells(box, spatial_scale):
    return [math.floor(float(value) * spatial_scale + 0.5) for value in box]


def cut_off(box, spatial_scale):
    return tuple(int(value * spatial_scale) for value in box)


def outwards(box, spatial_scale):
    x1, y1, x2, y2 = (box * spatial_scale).tolist()
    return math.floor(x1), math.floor(y1), math.ceil(x2), math.ceil(y2)


def by_stride(box, spatial_scale):
    return tuple(round(value / spatial_scale) for value in box.tolist())


def behind_the_last(box, spatial_scale):
    x1, y1, x2, y2 = cells(box, spatial_scale)
    return x1, y1, x2 + 1, y2 + 1


def before_the_last(box, spatial_scale):
    x1, y1, x2, y2 = cells(box, spatial_scale)
    return x1, y1, x2 - 1, y2 - 1


def row_column(box, spatial_scale):
    x1, y1, x2, y2 = cells(box, spatial_scale)
    return y1, x1, y2, x2


def sizes(box, spatial_scale):
    x1, y1, x2, y2 = cells(box, spatial_scale)
    return x1, y1, x2 - x1, y2 - y1


def by_round(box, spatial_scale):
    return tuple(round(value * spatial_scale) for value in box.tolist())


def half_added(box, spatial_scale):
    return [math.floor(value * spatial_scale + 0.5) for value in box.tolist()]


def by_remainder(box, spatial_scale):
    scaled = box * spatial_scale
    down = scaled.long()
    return tuple((down + (scaled - down >= 0.5)).tolist())


# --- roi_max_pool -------------------------------------------------------------------------------------------------


def region(box, scale):
    return [int(torch.floor(value * scale + 0.5)) for value in box]


def pool(features, where, n, start=math.floor, end=math.ceil, plus=1, take=lambda x: x.amax((1, 2)), empty=0.0):
    x1, y1, x2, y2 = where
    out = torch.zeros(len(features), n, n)
    for i in range(n):
        for j in range(n):
            h, w = max(y2 - y1 + plus, 1) / n, max(x2 - x1 + plus, 1) / n
            part = features[:, y1 + start(i * h) : y1 + end((i + 1) * h), x1 + start(j * w) : x1 + end((j + 1) * w)]
            if part.numel() or empty is None:
                out[:, i, j] = take(part)
            else:
                out[:, i, j] = empty
    return out


def pixels_as_cells(features, box, output_size, spatial_scale):
    return pool(features, region(box, 1), output_size)


def no_plus_one(features, box, output_size, spatial_scale):
    return pool(features, region(box, spatial_scale), output_size, plus=0)


def cropped_short(features, box, output_size, spatial_scale):
    x1, y1, x2, y2 = region(box, spatial_scale)
    return F.adaptive_max_pool2d(features[:, y1:y2, x1:x2], output_size)


def diagonal(features, box, output_size, spatial_scale):
    return pool(features, region(box[[1, 0, 3, 2]], spatial_scale), output_size)


def averaged(features, box, output_size, spatial_scale):
    return pool(features, region(box, spatial_scale), output_size, take=lambda x: x.flatten(1).mean(1))


def both_down(features, box, output_size, spatial_scale):
    return pool(features, region(box, spatial_scale), output_size, end=math.floor)


def both_down_crashing(features, box, output_size, spatial_scale):
    return pool(
        features,
        region(box, spatial_scale),
        output_size,
        end=math.floor,
        empty=None,
        take=lambda x: x.flatten(1).max(dim=1).values,
    )


def both_up(features, box, output_size, spatial_scale):
    return pool(features, region(box, spatial_scale), output_size, start=math.ceil)


def same_size(features, box, output_size, spatial_scale):
    x1, y1, x2, y2 = region(box, spatial_scale)
    h, w = max((y2 - y1 + 1) // output_size, 1), max((x2 - x1 + 1) // output_size, 1)
    out = torch.zeros(len(features), output_size, output_size)
    for i in range(output_size):
        for j in range(output_size):
            part = features[:, y1 + i * h : y1 + i * h + h, x1 + j * w : x1 + j * w + w]
            if part.numel():
                out[:, i, j] = part.amax((1, 2))
    return out


def crashing(features, box, output_size, spatial_scale):
    return pool(features, region(box, spatial_scale), output_size, empty=None)


def infinite(features, box, output_size, spatial_scale):
    return pool(features, region(box, spatial_scale), output_size, empty=-math.inf)


def from_zero(features, box, output_size, spatial_scale):
    return pool(features, region(box, spatial_scale), output_size, take=lambda x: x.amax((1, 2)).relu())


def cut_first(features, box, output_size, spatial_scale):
    x1, y1, x2, y2 = region(box, spatial_scale)
    x2, y2 = min(x2, features.shape[2] - 1), min(y2, features.shape[1] - 1)
    return pool(features, (x1, y1, x2, y2), output_size)


def corners_down(features, box, output_size, spatial_scale):
    return pool(features, [int(value * spatial_scale) for value in box], output_size)


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


# --- sample_regions -----------------------------------------------------------------------------------------------


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


def one_to_one(overlaps, count, generator):
    positive, negative = kinds(overlaps)
    positive = shuffled(positive, generator, count // 2)
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
    first = positive[torch.randint(len(positive), (n,), generator=generator)] if n else positive
    m = min(len(negative), count - n)
    return first, negative[torch.randint(len(negative), (m,), generator=generator)] if m else negative


def not_looked_up(overlaps, count, generator):
    positive, negative = kinds(overlaps)
    first = torch.randperm(len(positive), generator=generator)[: count // 4]
    return first, shuffled(negative, generator, count - len(first))


def low_limit(overlaps, count, generator):
    positive, negative = torch.where(overlaps >= 0.3)[0], torch.where((overlaps < 0.3) & (overlaps >= 0.1))[0]
    positive = shuffled(positive, generator, count // 4)
    return positive, shuffled(negative, generator, count - len(positive))


def all_backgrounds(overlaps, count, generator):
    positive, negative = kinds(overlaps)
    return shuffled(positive, generator, count // 4), negative


def several_at_once(overlaps, count, generator):
    return torch.where(overlaps >= 0.5)[0][: count // 4], torch.where(overlaps < 0.5)[0][: 3 * count // 4]


def first_ones(overlaps, count, generator):
    positive, negative = kinds(overlaps)
    positive = positive[: count // 4]
    return positive, negative[: count - len(positive)]


def best_ones(overlaps, count, generator):
    order = overlaps.argsort(descending=True)
    positive = order[overlaps[order] >= 0.5][: count // 4]
    negative = order[(overlaps[order] < 0.5) & (overlaps[order] >= 0.1)]
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


# --- smooth_l1 ----------------------------------------------------------------------------------------------------


def pieces(d, beta, inside, outside):
    return torch.where(d.abs() < beta, inside, outside)


def only_squares(difference, beta):
    return difference.pow(2) / (2 * beta)


def only_sizes(difference, beta):
    return torch.abs(difference)


def jumping(difference, beta):
    return pieces(difference, beta, difference**2 / (2 * beta), difference.abs())


def twice_as_steep(difference, beta):
    return pieces(difference, beta, difference**2 / beta, difference.abs() - beta / 2)


def signed(difference, beta):
    return pieces(difference, beta, difference**2 / (2 * beta), difference - beta / 2)


def one_sided(difference, beta):
    return torch.where(difference < beta, difference**2 / (2 * beta), difference.abs() - beta / 2)


def without_beta(difference, beta):
    return pieces(difference, 1, difference**2 / 2, difference.abs() - 0.5)


def flat_parabola(difference, beta):
    return pieces(difference, beta, difference**2 / 2, difference.abs() - beta / 2)


def half_down(difference, beta):
    return pieces(difference, beta, difference**2 / (2 * beta), difference.abs() - 0.5)


def torchs_huber(difference, beta):
    return F.huber_loss(difference, torch.zeros_like(difference), delta=beta, reduction="none")


def swapped(difference, beta):
    return pieces(difference, beta, difference.abs() - beta / 2, difference**2 / (2 * beta))


def averaged_loss(difference, beta):
    return F.smooth_l1_loss(difference, torch.zeros_like(difference), beta=beta)


def by_the_smaller(difference, beta):
    small = difference.abs().clamp(max=beta)
    return small**2 / (2 * beta) + (difference.abs() - small)


def by_masks(difference, beta):
    inside = (difference.abs() < beta).float()
    return inside * difference**2 * 0.5 / beta + (1 - inside) * (difference.abs() - beta / 2)


# --- two_task_loss ------------------------------------------------------------------------------------------------


def losses(logits, regression, labels, targets, keep=None, four=None, divide=None, bend=1 / 9):
    n = len(labels)
    keep = labels > 0 if keep is None else keep
    four = regression.reshape(n, -1, 4)[torch.arange(n), labels] if four is None else four
    total = F.smooth_l1_loss(four[keep], targets[keep], beta=bend, reduction="sum")
    return F.cross_entropy(logits, labels), total / (n if divide is None else divide)


def with_background(class_logits, box_regression, labels, regression_targets):
    return losses(class_logits, box_regression, labels, regression_targets, keep=torch.ones_like(labels).bool())


def first_four(class_logits, box_regression, labels, regression_targets):
    return losses(class_logits, box_regression, labels, regression_targets, four=box_regression[:, 0:4])


def label_minus_one(class_logits, box_regression, labels, regression_targets):
    n = len(labels)
    four = torch.stack([box_regression[i, 4 * max(int(labels[i]) - 1, 0) :][:4] for i in range(n)])
    return losses(class_logits, box_regression, labels, regression_targets, four=four)


def winner(class_logits, box_regression, labels, regression_targets):
    best = class_logits.argmax(1)
    four = box_regression.view(len(labels), -1, 4)[range(len(labels)), best]
    return losses(class_logits, box_regression, labels, regression_targets, four=four)


def four_groups(class_logits, box_regression, labels, regression_targets):
    groups = box_regression.view(len(labels), 4, -1)
    four = torch.stack([groups[i, :, label] for i, label in enumerate(labels.tolist())])
    return losses(class_logits, box_regression, labels, regression_targets, four=four)


def every_class(class_logits, box_regression, labels, regression_targets):
    k, keep = class_logits.shape[1], labels > 0
    total = F.smooth_l1_loss(box_regression[keep], regression_targets[keep].repeat(1, k), beta=1 / 9, reduction="sum")
    return F.cross_entropy(class_logits, labels), total / len(labels)


def by_positives(class_logits, box_regression, labels, regression_targets):
    return losses(class_logits, box_regression, labels, regression_targets, divide=(labels > 0).sum())


def by_positives_guarded(class_logits, box_regression, labels, regression_targets):
    return losses(class_logits, box_regression, labels, regression_targets, divide=max((labels > 0).sum().item(), 1))


def mean_of_all(class_logits, box_regression, labels, regression_targets):
    return losses(class_logits, box_regression, labels, regression_targets, divide=4 * (labels > 0).sum())


def summed(class_logits, box_regression, labels, regression_targets):
    return losses(class_logits, box_regression, labels, regression_targets, divide=1)


def four_of(box_regression, labels):
    return torch.stack([box_regression[i, 4 * c : 4 * c + 4] for i, c in enumerate(labels.tolist())])


def squares(class_logits, box_regression, labels, regression_targets):
    d = (four_of(box_regression, labels) - regression_targets) * (labels > 0)[:, None]
    return F.cross_entropy(class_logits, labels), d.pow(2).sum() / len(labels)


def sizes_only(class_logits, box_regression, labels, regression_targets):
    d = (four_of(box_regression, labels) - regression_targets) * (labels > 0)[:, None]
    return F.cross_entropy(class_logits, labels), d.abs().sum() / len(labels)


def default_bend(class_logits, box_regression, labels, regression_targets):
    return losses(class_logits, box_regression, labels, regression_targets, bend=1.0)


def probabilities(class_logits, box_regression, labels, regression_targets):
    right = losses(class_logits, box_regression, labels, regression_targets)[1]
    return F.cross_entropy(torch.softmax(class_logits, 1), labels), right


def things_only(class_logits, box_regression, labels, regression_targets):
    right, keep = losses(class_logits, box_regression, labels, regression_targets)[1], labels != 0
    return F.cross_entropy(class_logits[keep], labels[keep]), right


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


WRONG = {
    "project_roi": [
        ("rounded down", cut_off),
        ("rounded outwards", outwards),
        ("divided by the scale", by_stride),
        ("one cell too far", behind_the_last),
        ("last cell taken away", before_the_last),
        ("rows before columns", row_column),
        ("width and height", sizes),
        ("a half to the even number", by_round),
    ],
    "roi_max_pool": [
        ("scale forgotten", pixels_as_cells),
        ("last cell left out", no_plus_one),
        ("last cell left out", cropped_short),
        ("rows for columns", diagonal),
        ("mean instead of maximum", averaged),
        ("ends rounded down", both_down),
        ("bins without cells", both_down_crashing),
        ("starts rounded up", both_up),
        ("the rest of the cells lost", same_size),
        ("an empty bin crashes", crashing),
        ("an empty bin is −∞", infinite),
        ("never below 0", from_zero),
        ("cut at the edge before it is divided", cut_first),
        ("corners rounded down", corners_down),
    ],
    "sample_regions": [
        ("background does not fill up", fixed_share),
        ("too many positives", every_positive),
        ("too many positives", one_to_one),
        ("background below 0.1 too", no_lower_limit),
        ("0.5 counts as background", above_half),
        ("drawn twice", put_back),
        ("positives that overlap too little", not_looked_up),
        ("positives that overlap too little", low_limit),
        ("too many backgrounds", all_backgrounds),
        ("background below 0.1 too", several_at_once),
        ("always the same regions", first_ones),
        ("always the same regions", best_ones),
        ("generator not used", own_chance),
        ("masks instead of numbers", masks),
        ("not one axis", columns),
        ("overlaps instead of numbers", values_themselves),
        ("not two tensors", one_list),
    ],
    "smooth_l1": [
        ("squared everywhere", only_squares),
        ("absolute everywhere", only_sizes),
        ("a jump at β", jumping),
        ("the half forgotten", twice_as_steep),
        ("sign kept", signed),
        ("every negative difference is small", one_sided),
        ("β ignored", without_beta),
        ("parabola not divided by β", flat_parabola),
        ("line lowered by a half", half_down),
        ("Huber's loss", torchs_huber),
        ("pieces swapped", swapped),
        ("one number for all", averaged_loss),
    ],
    "two_task_loss": [
        ("background has a box", with_background),
        ("the first class's numbers for all", first_four),
        ("the numbers of the class before", label_minus_one),
        ("the guessed class's numbers", winner),
        ("numbers before classes", four_groups),
        ("the boxes of all classes", every_class),
        ("divided by the positives", by_positives),
        ("divided by the positives, or by 1", by_positives_guarded),
        ("mean over the positives' numbers", mean_of_all),
        ("only added up", summed),
        ("squares instead of smooth L1", squares),
        ("L1 instead of smooth L1", sizes_only),
        ("β is 1", default_bend),
        ("softmax twice", probabilities),
        ("classes of the positives only", things_only),
        ("added together", summed_up),
    ],
}

RIGHT = {
    "project_roi": [half_added, by_remainder],
    "roi_max_pool": [padded_then_adaptive, row_by_row],
    "sample_regions": [by_random_keys, one_shuffle],
    "smooth_l1": [by_the_smaller, by_masks],
    "two_task_loss": [by_region, by_mask, by_torchvision],
}
