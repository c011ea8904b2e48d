"""Answers to the exercises of lesson 03 as others write them."""

import torch
import torch.nn.functional as F


def flat_counts(predicted, target, num_classes, ignore_index=255):
    keep = target != ignore_index
    return torch.bincount(target[keep] * num_classes + predicted[keep], minlength=num_classes**2)


def by_one_hot(predicted, target, num_classes, ignore_index=255):
    keep = target != ignore_index
    rows, columns = F.one_hot(target[keep], num_classes), F.one_hot(predicted[keep], num_classes)
    return rows.T @ columns


def sums(matrix):
    return matrix.diag().double(), matrix.sum(1).double(), matrix.sum(0).double()


def row_plus_column(matrix):
    right, true, guess = sums(matrix)
    return torch.nanmean(right / (true + guess)).item()


def dice(matrix):
    right, true, guess = sums(matrix)
    return torch.nanmean(2 * right / (true + guess)).item()


def recall(matrix):
    right, true, _ = sums(matrix)
    return torch.nanmean(right / true).item()


def precision(matrix):
    right, _, guess = sums(matrix)
    return torch.nanmean(right / guess).item()


def precision_with_plain_mean(matrix):
    right, _, guess = sums(matrix)
    return (right / guess).mean().item()


def still_a_tensor(matrix):
    right, true, guess = sums(matrix)
    return torch.nanmean(right / (true + guess - right))


def class_by_class(matrix):
    scores = []
    for number in range(len(matrix)):
        right = matrix[number, number].item()
        union = matrix[number].sum().item() + matrix[:, number].sum().item() - right
        if union > 0:
            scores.append(right / union)
    return sum(scores) / len(scores)


def from_mistakes(matrix):
    right = matrix.diag().double()
    missed, invented = matrix.sum(1) - right, matrix.sum(0) - right
    union = right + missed + invented
    return (right[union > 0] / union[union > 0]).mean().item()


def probabilities_of_the_truth(logits, target, ignore_index=255):
    keep = target != ignore_index
    p = logits.softmax(dim=1).movedim(1, -1)[keep]
    return p, target[keep]


def log_of_softmax(logits, target, ignore_index=255):
    p, classes = probabilities_of_the_truth(logits, target, ignore_index)
    return -p.log()[torch.arange(len(p)), classes].mean()


def total(logits, target, ignore_index=255):
    return F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="sum")


def background_instead(logits, target, ignore_index=255):
    return F.cross_entropy(logits, target.masked_fill(target == ignore_index, 0))


def last_instead_and_unstable(logits, target, ignore_index=255):
    p = logits.softmax(dim=1).gather(1, target.clamp(max=logits.shape[1] - 1)[:, None])
    return -p.log().mean()


def sign_lost(logits, target, ignore_index=255):
    return -F.cross_entropy(logits, target, ignore_index=ignore_index)


def by_one_hot_sum(logits, target, ignore_index=255):
    keep = (target != ignore_index).float()
    one_hot = F.one_hot(target * keep.long(), logits.shape[1]).movedim(-1, 1)
    per_pixel = -(logits.log_softmax(1) * one_hot).sum(1)
    return (per_pixel * keep).sum() / keep.sum()


def by_logsumexp(logits, target, ignore_index=255):
    keep = target != ignore_index
    scores = logits.permute(0, 2, 3, 1)[keep]
    true = scores[torch.arange(len(scores)), target[keep]]
    return (scores.logsumexp(1) - true).mean()


def stacked_as_pictures(coarse, fine, upscore):
    return torch.cat([F.interpolate(coarse, fine.shape[-2:]), fine])


def added_in_place(coarse, fine, upscore):
    fine += upscore(coarse)
    return fine


def by_torch_add(coarse, fine, upscore):
    return torch.add(fine, upscore(coarse))


def by_stack_and_sum(coarse, fine, upscore):
    return torch.stack([upscore(coarse), fine]).sum(dim=0)


def fused_by_loop(net, maps, height, width):
    scores = net.score_fr(maps.fc7)
    for up, score, finer in (
        (net.upscore2, net.score_pool4, maps.pool4),
        (net.upscore_pool4, net.score_pool3, maps.pool3),
    ):
        scores = up(scores) + score(finer)
    return net.upscore(scores)[..., :height, :width]


def by_unpacking(net, maps, height, width):
    pool3, pool4, fc7 = maps
    sixteenth = torch.stack([net.score_pool4(pool4), net.upscore2(net.score_fr(fc7))]).sum(0)
    eighth = torch.stack([net.score_pool3(pool3), net.upscore_pool4(sixteenth)]).sum(0)
    return net.upscore(eighth).narrow(2, 0, height).narrow(3, 0, width)


def pair_by_pair(predicted, target, num_classes, ignore_index=255):
    kept = target != ignore_index
    return torch.tensor(
        [
            [((target == row) & (predicted == column) & kept).sum().item() for column in range(num_classes)]
            for row in range(num_classes)
        ]
    )


def by_cross_entropy(logits, target, ignore_index=255):
    return F.cross_entropy(logits, target, ignore_index=ignore_index)


def pixel_by_pixel(logits, target, ignore_index=255):
    """Class by class as well: slow on a fast machine, too."""
    total, count = 0 * logits.sum(), 0
    for b, row, column in torch.cartesian_prod(*map(torch.arange, target.shape)).tolist():
        if target[b, row, column] != ignore_index:
            here = logits[b, :, row, column]
            shares = sum((here[k] - here.max()).exp() for k in range(len(here)))
            total = total - (here[target[b, row, column]] - here.max() - shares.log())
            count += 1
    return total / count


def overflowing(logits, target, ignore_index=255):
    counted = target != ignore_index
    own = logits.gather(1, target.masked_fill(~counted, 0)[:, None])[:, 0]
    return (logits.exp().sum(1).log() - own)[counted].mean()


WRONG = {
    "confusion_matrix": [("other shape", flat_counts)],
    "mean_iou": [
        ("overlap counted twice", row_plus_column),
        ("Dice for IoU", dice),
        ("divided by the true pixels only", recall),
        ("divided by the predicted pixels only", precision),
        (None, precision_with_plain_mean),
        ("a tensor instead of a number", still_a_tensor),
    ],
    "pixel_loss": [
        (None, background_instead),
        (None, last_instead_and_unstable),
        ("log of a softmax", log_of_softmax),
        ("NaN or infinite", overflowing),
        ("sign flipped", sign_lost),
        ("F.cross_entropy used", by_cross_entropy),
        ("too slow for the lesson", pixel_by_pixel),
    ],
    "fuse_scores": [("wrong shape", stacked_as_pictures), ("input changed in place", added_in_place)],
    "fcn_8s_scores": [],
}

RIGHT = {
    "confusion_matrix": [by_one_hot, pair_by_pair],
    "mean_iou": [class_by_class, from_mistakes],
    "pixel_loss": [by_one_hot_sum, by_logsumexp],
    "fuse_scores": [by_torch_add, by_stack_and_sum],
    "fcn_8s_scores": [fused_by_loop, by_unpacking],
}
