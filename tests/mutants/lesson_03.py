"""Answers to the exercises of lesson 03 as learners might write them: the wrong ones by the mistake they make."""

import torch
import torch.nn.functional as F

# --- confusion_matrix ---------------------------------------------------------------------------------------------


def predicted_first(predicted, target, num_classes, ignore_index=255):
    keep = target != ignore_index
    index = predicted[keep] * num_classes + target[keep]
    return torch.bincount(index, minlength=num_classes * num_classes).reshape(num_classes, num_classes)


def everything_counted(predicted, target, num_classes, ignore_index=255):
    index = (num_classes * target + predicted).flatten()
    return torch.bincount(index, minlength=num_classes * num_classes).reshape(num_classes, num_classes)


def ignored_set_to_zero(predicted, target, num_classes, ignore_index=255):
    target = target.clone()
    target[target == ignore_index] = 0
    index = (num_classes * target + predicted).flatten()
    return torch.bincount(index, minlength=num_classes * num_classes).reshape(num_classes, num_classes)


def as_far_as_it_goes(predicted, target, num_classes, ignore_index=255):
    keep = target != ignore_index
    return torch.bincount(target[keep] * num_classes + predicted[keep]).reshape(num_classes, num_classes)


def added_with_indices(predicted, target, num_classes, ignore_index=255):
    matrix = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    keep = target != ignore_index
    matrix[target[keep], predicted[keep]] += 1
    return matrix


def of_all_pixels(predicted, target, num_classes, ignore_index=255):
    matrix = by_one_hot(predicted, target, num_classes, ignore_index)
    return matrix / matrix.sum()


def of_each_true_class(predicted, target, num_classes, ignore_index=255):
    matrix = by_one_hot(predicted, target, num_classes, ignore_index)
    return matrix / matrix.sum(dim=1)[:, None]


def flat_counts(predicted, target, num_classes, ignore_index=255):
    keep = target != ignore_index
    return torch.bincount(target[keep] * num_classes + predicted[keep], minlength=num_classes**2)


def by_one_hot(predicted, target, num_classes, ignore_index=255):
    keep = target != ignore_index
    rows, columns = F.one_hot(target[keep], num_classes), F.one_hot(predicted[keep], num_classes)
    return rows.T @ columns


def by_loop_over_pairs(predicted, target, num_classes, ignore_index=255):
    return torch.tensor(
        [
            [((target == row) & (predicted == column)).sum().item() for column in range(num_classes)]
            for row in range(num_classes)
        ]
    )


def counted_and_cut(predicted, target, num_classes, ignore_index=255):
    index = (target * num_classes + predicted).flatten()  # 255 lies beyond the matrix
    return torch.bincount(index, minlength=num_classes**2)[: num_classes**2].view(num_classes, num_classes)


# --- mean_iou -----------------------------------------------------------------------------------------------------


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


def kept_from_zero(matrix):
    right, true, guess = sums(matrix)
    return (right / (true + guess - right).clamp(min=1)).mean().item()


def smoothed(matrix):
    right, true, guess = sums(matrix)
    return ((right + 1e-9) / (true + guess - right + 1e-9)).mean().item()


def plain_mean(matrix):
    right, true, guess = sums(matrix)
    return (right / (true + guess - right)).mean().item()


def classes_of_the_truth(matrix):
    right, true, guess = sums(matrix)
    there = true > 0
    return (right / (true + guess - right))[there].mean().item()


def one_for_all(matrix):
    right, true, guess = sums(matrix)
    return (right.sum() / (true + guess - right).sum()).item()


def by_frequency(matrix):
    right, true, guess = sums(matrix)
    there = true > 0
    return ((right / (true + guess - right))[there] * true[there]).sum().item() / true.sum().item()


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


# --- pixel_loss ---------------------------------------------------------------------------------------------------


def mask_forgotten(logits, target, ignore_index=255):
    log_p = torch.log_softmax(logits, dim=1)
    return -log_p.gather(1, target.unsqueeze(1)).mean()


def over_pictures(logits, target, ignore_index=255):
    keep = target != ignore_index
    log_p = F.log_softmax(logits, dim=0).movedim(1, -1)[keep]
    return -log_p[torch.arange(len(log_p)), target[keep]].mean()


def over_columns(logits, target, ignore_index=255):
    keep = target != ignore_index
    log_p = F.log_softmax(logits, dim=-1).movedim(1, -1)[keep]
    return -log_p[torch.arange(len(log_p)), target[keep]].mean()


def probabilities_of_the_truth(logits, target, ignore_index=255):
    keep = target != ignore_index
    p = logits.softmax(dim=1).movedim(1, -1)[keep]
    return p, target[keep]


def minus_p(logits, target, ignore_index=255):
    p, classes = probabilities_of_the_truth(logits, target, ignore_index)
    return -p[torch.arange(len(p)), classes].mean()


def one_minus_p(logits, target, ignore_index=255):
    p, classes = probabilities_of_the_truth(logits, target, ignore_index)
    return (1 - p[torch.arange(len(p)), classes]).mean()


def log_of_softmax(logits, target, ignore_index=255):
    p, classes = probabilities_of_the_truth(logits, target, ignore_index)
    return -p.log()[torch.arange(len(p)), classes].mean()


def raw_scores(logits, target, ignore_index=255):
    keep = target != ignore_index
    scores = logits.movedim(1, -1)[keep]
    return -scores[torch.arange(len(scores)), target[keep]].mean()


def total(logits, target, ignore_index=255):
    return F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="sum")


def background_instead(logits, target, ignore_index=255):
    return F.cross_entropy(logits, target.masked_fill(target == ignore_index, 0))


def last_instead(logits, target, ignore_index=255):
    return F.cross_entropy(logits, target.clamp(max=logits.shape[1] - 1))


def last_instead_and_unstable(logits, target, ignore_index=255):
    p = logits.softmax(dim=1).gather(1, target.clamp(max=logits.shape[1] - 1)[:, None])
    return -p.log().mean()


def mean_of_all(logits, target, ignore_index=255):
    return F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none").mean()


def mean_of_means(logits, target, ignore_index=255):
    return torch.stack(
        [F.cross_entropy(one[None], classes[None], ignore_index=ignore_index) for one, classes in zip(logits, target)]
    ).mean()


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


# --- fuse_scores --------------------------------------------------------------------------------------------------


def stacked(coarse, fine, upscore):
    return torch.cat((upscore(coarse), fine), 1)


def stacked_as_pictures(coarse, fine, upscore):
    return torch.cat([F.interpolate(coarse, fine.shape[-2:]), fine])


def mean_of_both(coarse, fine, upscore):
    return 0.5 * upscore(coarse) + 0.5 * fine


def down_to_coarse(coarse, fine, upscore):
    return coarse + F.avg_pool2d(fine, kernel_size=2)


def up_the_fine_one(coarse, fine, upscore):
    return F.interpolate(coarse, scale_factor=4, mode="nearest") + upscore(fine)


def sum_then_up(coarse, fine, upscore):
    return upscore(F.max_pool2d(fine, 2) + coarse)


def bilinear_without_the_layer(coarse, fine, upscore):
    return fine + F.interpolate(coarse, size=fine.shape[2:], mode="bilinear", align_corners=False)


def nearest_without_the_layer(coarse, fine, upscore):
    return fine + coarse.repeat_interleave(2, 2).repeat_interleave(2, 3)


def coarse_alone(coarse, fine, upscore):
    return upscore(coarse)


def difference(coarse, fine, upscore):
    return upscore(coarse) - fine


def added_in_place(coarse, fine, upscore):
    fine += upscore(coarse)
    return fine


def by_torch_add(coarse, fine, upscore):
    return torch.add(fine, upscore(coarse))


def by_stack_and_sum(coarse, fine, upscore):
    return torch.stack([upscore(coarse), fine]).sum(dim=0)


# --- fcn_8s_scores ------------------------------------------------------------------------------------------------


def whole(net, maps):
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool4)
    return net.upscore(net.upscore_pool4(scores) + net.score_pool3(maps.pool3))


def padding_left_on(net, maps, height, width):
    return whole(net, maps)


def squeezed(net, maps, height, width):
    return F.interpolate(whole(net, maps), size=(height, width), mode="bilinear", align_corners=False)


def last_rows(net, maps, height, width):
    scores = whole(net, maps)
    return scores[:, :, scores.shape[2] - height :, scores.shape[3] - width :]


def middle(net, maps, height, width):
    scores = whole(net, maps)
    top, left = (scores.shape[2] - height) // 2, (scores.shape[3] - width) // 2
    return scores[..., top : top + height, left : left + width]


def width_first(net, maps, height, width):
    return whole(net, maps)[..., :width, :height]


def sixteen(net, maps, height, width):
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool4)
    return net.upscore(net.upscore_pool4(scores))[..., :height, :width]


def skipped_a_skip(net, maps, height, width):
    scores = net.upscore_pool4(net.upscore2(net.score_fr(maps.fc7))) + net.score_pool3(maps.pool3)
    return net.upscore(scores)[..., :height, :width]


def copy_and_paste(net, maps, height, width):
    scores = net.score_fr(maps.fc7)
    for score, finer in ((net.score_pool4, maps.pool4), (net.score_pool3, maps.pool3)):
        scores = net.upscore2(scores) + score(finer)
    return net.upscore(scores)[..., :height, :width]


def crossed(net, maps, height, width):
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool3)
    return net.upscore(net.upscore_pool4(scores) + net.score_pool3(maps.pool4))[..., :height, :width]


def plain_times_8(net, maps, height, width):
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool4)
    scores = net.upscore_pool4(scores) + net.score_pool3(maps.pool3)
    return F.interpolate(scores, scale_factor=8, mode="bilinear", align_corners=False)[..., :height, :width]


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


WRONG = {
    "confusion_matrix": [
        ("rows and columns swapped", predicted_first),
        ("ignored pixels counted", everything_counted),
        ("ignored pixels taken for class 0", ignored_set_to_zero),
        ("last classes missing", as_far_as_it_goes),
        ("each pair counted once", added_with_indices),
        ("shares for counts", of_all_pixels),
        ("shares of each row", of_each_true_class),
        ("other shape", flat_counts),
    ],
    "mean_iou": [
        ("overlap counted twice", row_plus_column),
        ("Dice for IoU", dice),
        ("divided by the true pixels only", recall),
        ("divided by the predicted pixels only", precision),
        ("divided by the predicted pixels only", precision_with_plain_mean),
        ("absent class counted as 0", kept_from_zero),
        ("absent class counted as 1", smoothed),
        ("absent class gives NaN", plain_mean),
        ("wrongly predicted class left out", classes_of_the_truth),
        ("all classes thrown together", one_for_all),
        ("weighted by size", by_frequency),
        ("a tensor instead of a number", still_a_tensor),
    ],
    "pixel_loss": [
        ("ignored pixels looked up", mask_forgotten),
        ("softmax over the batch", over_pictures),
        ("softmax over the columns", over_columns),
        ("log forgotten", minus_p),
        ("1 − p for −log p", one_minus_p),
        ("softmax forgotten", raw_scores),
        ("sum instead of mean", total),
        ("ignored pixels taken for class 0", background_instead),
        ("ignored pixels taken for the last class", last_instead),
        ("ignored pixels taken for the last class", last_instead_and_unstable),
        ("divided by all pixels", mean_of_all),
        ("averaged picture by picture", mean_of_means),
        ("NaN or infinite", log_of_softmax),
        ("sign flipped", sign_lost),
    ],
    "fuse_scores": [
        ("concatenated", stacked),
        ("concatenated", stacked_as_pictures),
        ("averaged", mean_of_both),
        ("fine scores made small", down_to_coarse),
        ("the wrong map enlarged", up_the_fine_one),
        ("added before enlarging", sum_then_up),
        ("plain interpolation", bilinear_without_the_layer),
        ("plain copies", nearest_without_the_layer),
        ("fine scores forgotten", coarse_alone),
        ("subtracted", difference),
        ("input changed in place", added_in_place),
    ],
    "fcn_8s_scores": [
        ("not cut to size", padding_left_on),
        ("resized instead of cut", squeezed),
        ("cut at the wrong side", last_rows),
        ("cut on all sides", middle),
        ("height and width swapped", width_first),
        ("pool3 left out", sixteen),
        ("pool4 left out", skipped_a_skip),
        ("one upsampling layer used twice", copy_and_paste),
        ("pool3 and pool4 swapped", crossed),
        ("the last layer not used", plain_times_8),
    ],
}

RIGHT = {
    "confusion_matrix": [by_one_hot, by_loop_over_pairs, counted_and_cut],
    "mean_iou": [class_by_class, from_mistakes],
    "pixel_loss": [by_one_hot_sum, by_logsumexp],
    "fuse_scores": [by_torch_add, by_stack_and_sum],
    "fcn_8s_scores": [fused_by_loop, by_unpacking],
}
