"""What the exercises of lesson 03 are tried on: inputs, the truth by another road than the solution, and wrong answers.

The exercises themselves, with the words for each mistake, are in `lesson_03.py`.
"""

import math
from collections.abc import Callable
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.exercises.exercise import Case
from lib.models.fcn import FCN, BackboneMaps
from lib.ops import losses
from lib.ops import segmentation_metrics as metrics
from lib.ops.upsampling import transposed_conv_scatter


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=generator(seed))


def random_classes(*shape: int, classes: int, seed: int = 0, ignored: float = 0.0) -> Tensor:
    """Class numbers, a share of them 255."""
    drawn = torch.randint(classes, shape, generator=generator(seed))
    return drawn.masked_fill(torch.rand(shape, generator=generator(seed + 1)) < ignored, 255)


# --- confusion_matrix ---------------------------------------------------------------------------------------------


def confusion_cases() -> list[Case]:
    small = torch.tensor([[0, 1, 1], [2, 2, 1]]), torch.tensor([[0, 1, 2], [2, 2, 2]])
    part = torch.tensor([[0, 1, 1], [2, 2, 1]]), torch.tensor([[0, 1, 255], [255, 2, 0]])
    several = random_classes(2, 4, 5, classes=4, seed=3), random_classes(2, 4, 5, classes=4, seed=5, ignored=0.2)
    missing = random_classes(3, 4, classes=2, seed=7), random_classes(3, 4, classes=3, seed=9)
    nothing = torch.tensor([[0, 1]]), torch.tensor([[255, 255]])
    return [
        Case(label, (*maps, classes, 255), confusion_by_counting(*maps, classes, 255))
        for label, maps, classes in (
            ("six pixels, three classes", small, 3),
            ("two of six pixels ignored", part, 3),
            ("a batch of two pictures", several, 4),
            ("five classes, of which the last two are nowhere", missing, 5),
            ("every pixel ignored", nothing, 2),
        )
    ]


def confusion_by_counting(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    counts = [[0] * num_classes for _ in range(num_classes)]
    for guess, truth in zip(predicted.flatten().tolist(), target.flatten().tolist(), strict=True):
        if truth != ignore_index:
            counts[truth][guess] += 1
    return torch.tensor(counts)


def swapped(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    return metrics.confusion_matrix(predicted, target, num_classes, ignore_index).T


def ignored_counted(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    pairs = torch.bincount((target * num_classes + predicted).flatten(), minlength=num_classes**2)
    return pairs.view(num_classes, num_classes)


def ignored_as_background(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    return metrics.confusion_matrix(predicted, torch.where(target == ignore_index, 0, target), num_classes)


def minlength_forgotten(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    counted = target != ignore_index
    pairs = torch.bincount(target[counted] * num_classes + predicted[counted])
    return pairs.view(num_classes, num_classes)


def counted_once(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    return metrics.confusion_matrix(predicted, target, num_classes, ignore_index).clamp(max=1)


def shares(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    matrix = metrics.confusion_matrix(predicted, target, num_classes, ignore_index)
    return matrix / matrix.sum()


def shares_of_rows(predicted: Tensor, target: Tensor, num_classes: int, ignore_index: int) -> Tensor:
    matrix = metrics.confusion_matrix(predicted, target, num_classes, ignore_index)
    return matrix / matrix.sum(1, keepdim=True)


# --- mean_iou -----------------------------------------------------------------------------------------------------


def iou_cases() -> list[Case]:
    return [
        Case(label, (torch.tensor(rows),), mean_iou_by_fractions(rows))
        for label, rows in (
            ("two classes", [[3, 1], [2, 4]]),
            ("three classes of very different size", [[90, 6, 4], [2, 7, 1], [3, 0, 2]]),
            ("class 2 is in the truth but was never predicted", [[5, 1, 0], [0, 6, 0], [2, 1, 0]]),
            ("class 2 was predicted but is not in the truth", [[5, 1, 2], [0, 6, 0], [0, 0, 0]]),
            ("class 1 is nowhere", [[5, 0, 2], [0, 0, 0], [1, 0, 8]]),
        )
    ]


def mean_iou_by_fractions(rows: list[list[int]]) -> float:
    scores = []
    for number in range(len(rows)):
        right, union = rows[number][number], sum(rows[number]) + sum(row[number] for row in rows) - rows[number][number]
        if union:
            scores.append(Fraction(right, union))
    return float(sum(scores) / len(scores))


def is_mean_of(share: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[float, float, Case], bool]:
    """Recognises the mean over classes of `share(right, true, predicted)` on the case that it is shown."""

    def looks_like_it(got: float, expected: float, case: Case) -> bool:
        matrix = case.arguments[0].double()
        theirs = share(matrix.diagonal(), matrix.sum(1), matrix.sum(0)).nanmean().item()
        return abs(got - theirs) < 1e-5

    return looks_like_it


def absent_is_zero(matrix: Tensor) -> float:
    return metrics.iou_per_class(matrix).nan_to_num(0).mean().item()


def absent_is_one(matrix: Tensor) -> float:
    return metrics.iou_per_class(matrix).nan_to_num(1).mean().item()


def absent_is_nan(matrix: Tensor) -> float:
    return metrics.iou_per_class(matrix).mean().item()


def only_true_classes(matrix: Tensor) -> float:
    return metrics.iou_per_class(matrix)[matrix.sum(1) > 0].mean().item()


def all_classes_in_one(matrix: Tensor) -> float:
    right, total = matrix.diagonal().sum().item(), matrix.sum().item()
    return right / (2 * total - right)


def weighted_by_size(matrix: Tensor) -> float:
    pixels = matrix.sum(1).double()
    return ((metrics.iou_per_class(matrix).nan_to_num(0) * pixels).sum() / pixels.sum()).item()


# --- pixel_loss ---------------------------------------------------------------------------------------------------


def pixel_loss(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """`lib.ops.losses.cross_entropy` without weights for the classes, which lesson 03 does not ask for."""
    return losses.cross_entropy(logits, target, ignore_index)


def loss_cases() -> list[Case]:
    def truth(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
        return F.cross_entropy(logits, target, ignore_index=ignore_index)

    uneven = random_classes(2, 3, 4, classes=3, seed=5)
    uneven[0, :2] = 255  # the first picture has few pixels that count
    return [
        Case.from_truth(label, (logits, target, 255), truth, gradients_of=("logits",))
        for label, logits, target in (
            ("one picture of 2 × 4 pixels, 3 classes", random_values(1, 3, 2, 4), random_classes(1, 2, 4, classes=3)),
            ("two pictures, some pixels ignored", 2 * random_values(2, 3, 3, 4, seed=2), uneven),
            ("scores in the hundreds", 200 * random_values(2, 4, 4, 4, seed=3), random_classes(2, 4, 4, classes=4)),
        )
    ]


def surprise(logits: Tensor, target: Tensor) -> Tensor:
    """-log p of the true class (B, H, W), class 0 in place of ignored ones."""
    classes = target.masked_fill(target == 255, 0)
    return -logits.log_softmax(1).gather(1, classes[:, None])[:, 0]


def looked_up_255(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    return -logits.log_softmax(1).gather(1, target[:, None]).mean()


def softmax_along(axis: int, logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    counted = target != ignore_index
    chosen = logits.log_softmax(axis).gather(1, target.masked_fill(~counted, 0)[:, None])[:, 0]
    return -chosen[counted].mean()


def no_log(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    return -(-surprise(logits, target)).exp()[target != ignore_index].mean()


def one_minus_probability(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    return 1 - (-surprise(logits, target)).exp()[target != ignore_index].mean()


def summed(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    return surprise(logits, target)[target != ignore_index].sum()


def taken_for_class_0(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    return surprise(logits, target).mean()


def taken_for_last_class(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    classes = target.clamp(max=logits.shape[1] - 1)
    return -logits.log_softmax(1).gather(1, classes[:, None]).mean()


def divided_by_all(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    return (surprise(logits, target) * (target != ignore_index)).mean()


def picture_by_picture(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    counted = target != ignore_index
    return ((surprise(logits, target) * counted).sum((1, 2)) / counted.sum((1, 2))).mean()


def not_normalised(logits: Tensor, target: Tensor, ignore_index: int) -> Tensor:
    chosen = logits.gather(1, target.masked_fill(target == ignore_index, 0)[:, None])[:, 0]
    return -chosen[target != ignore_index].mean()


# --- fuse_scores and fcn_8s_scores --------------------------------------------------------------------------------


def make_upscore(classes: int, factor: int, seed: int) -> nn.ConvTranspose2d:
    """An upsampling layer with weights of its own, as after some training."""
    layer = nn.ConvTranspose2d(classes, classes, 2 * factor, factor, padding=factor // 2, bias=False)
    layer.weight.data = random_values(*layer.weight.shape, seed=seed) / factor
    return layer


def enlarged(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    return transposed_conv_scatter(x, layer.weight, layer.stride[0], layer.padding[0])


def fuse_scores(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    """The fusion inside `lib.models.fcn.FCN`: coarse (B, K, h, w) made twice as large, plus fine (B, K, 2h, 2w)."""
    return upscore(coarse) + fine


def fuse_cases() -> list[Case]:
    def truth(coarse: Tensor, fine: Tensor, upscore: nn.ConvTranspose2d) -> Tensor:
        return fine + enlarged(coarse, upscore)

    return [
        Case.from_truth(
            label,
            (
                random_values(batch, classes, h, w, seed=1),
                random_values(batch, classes, 2 * h, 2 * w, seed=2),
                make_upscore(classes, 2, seed=3),
            ),
            truth,
            gradients_of=("coarse", "fine"),
        )
        for label, batch, classes, h, w in (
            ("two classes, 2 × 3 cells and 4 × 6", 1, 2, 2, 3),
            ("two pictures, three classes", 2, 3, 3, 2),
            ("a single cell and 2 × 2", 1, 4, 1, 1),
        )
    ]


def interpolated(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    return F.interpolate(coarse, scale_factor=2, mode="bilinear") + fine


def copied(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    return F.interpolate(coarse, scale_factor=2) + fine


def shrunk(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    return coarse + F.avg_pool2d(fine, 2)


def fine_enlarged(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    return upscore(fine) + F.interpolate(coarse, scale_factor=4)


def added_first(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    return upscore(coarse + F.max_pool2d(fine, 2))


class MapsOnly(nn.Module):
    """Stands in for a backbone: `FCN` only asks it how many channels its maps have."""

    def __init__(self, channels: tuple[int, int, int]):
        super().__init__()
        self.channels = channels


def fcn_8s_scores(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    """What `lib.models.fcn.FCN.forward` does with the maps of its backbone, for stride 8."""
    scores = fuse_scores(net.score_fr(maps.fc7), net.score_pool4(maps.pool4), net.upscore2)  # stride 16
    scores = fuse_scores(scores, net.score_pool3(maps.pool3), net.upscore_pool4)  # stride 8
    return net.upscore(scores)[:, :, :height, :width]  # stride 1


def fcn_cases() -> list[Case]:
    return [
        Case.from_truth(
            label,
            (make_net(channels, classes), make_maps(channels, batch, h, w), height, width),
            fcn_8s_by_hand,
            gradients_of=("maps.pool3", "maps.pool4", "maps.fc7"),
        )
        for label, channels, classes, batch, h, w, height, width in (
            ("a picture of 32 × 64, multiples of 32", (2, 3, 4), 2, 1, 1, 2, 32, 64),
            ("a picture of 40 × 30, padded to 64 × 32", (2, 3, 4), 3, 1, 2, 1, 40, 30),
            ("two pictures of 33 × 33, all maps with as many channels", (3, 3, 3), 2, 2, 2, 2, 33, 33),
        )
    ]


def make_net(channels: tuple[int, int, int], classes: int) -> FCN:
    net = FCN(MapsOnly(channels), classes, stride=8)
    for seed, parameter in enumerate(net.parameters()):  # new score layers are zero, which would hide mistakes
        parameter.data = random_values(*parameter.shape, seed=seed) / math.sqrt(parameter[0].numel())
    return net.requires_grad_(False)


def make_maps(channels: tuple[int, int, int], batch: int, h: int, w: int) -> BackboneMaps:
    pool3, pool4, fc7 = channels
    return BackboneMaps(
        random_values(batch, pool3, 4 * h, 4 * w, seed=20),
        random_values(batch, pool4, 2 * h, 2 * w, seed=21),
        random_values(batch, fc7, h, w, seed=22),
    )


def fcn_8s_by_hand(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    def scores(layer: nn.Conv2d, features: Tensor) -> Tensor:
        summed_up = torch.einsum("bchw,kc->bkhw", features, layer.weight[:, :, 0, 0])
        return summed_up + layer.bias[:, None, None]

    coarse = scores(net.score_fr, maps.fc7)
    middle = scores(net.score_pool4, maps.pool4) + enlarged(coarse, net.upscore2)
    fine = scores(net.score_pool3, maps.pool3) + enlarged(middle, net.upscore_pool4)
    return enlarged(fine, net.upscore).narrow(2, 0, height).narrow(3, 0, width)


def before_the_cut(net: FCN, maps: BackboneMaps) -> Tensor:
    return fcn_8s_scores(net, maps, 8 * maps.pool3.shape[2], 8 * maps.pool3.shape[3])


def not_cut(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    return before_the_cut(net, maps)


def resized(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    return F.interpolate(before_the_cut(net, maps), (height, width), mode="bilinear")


def cut_at_the_start(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    return before_the_cut(net, maps)[:, :, -height:, -width:]


def cut_on_all_sides(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = before_the_cut(net, maps)
    top, left = (scores.shape[2] - height) // 2, (scores.shape[3] - width) // 2
    return scores[:, :, top : top + height, left : left + width]


def rows_for_columns(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    return before_the_cut(net, maps)[:, :, :width, :height]


def without_pool3(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool4)
    return net.upscore(net.upscore_pool4(scores))[:, :, :height, :width]


def without_pool4(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = net.upscore_pool4(net.upscore2(net.score_fr(maps.fc7))) + net.score_pool3(maps.pool3)
    return net.upscore(scores)[:, :, :height, :width]


def one_layer_twice(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool4)
    return net.upscore(net.upscore2(scores) + net.score_pool3(maps.pool3))[:, :, :height, :width]


def maps_swapped(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool3)
    return net.upscore(net.upscore_pool4(scores) + net.score_pool3(maps.pool4))[:, :, :height, :width]


def last_by_interpolation(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool4)
    scores = net.upscore_pool4(scores) + net.score_pool3(maps.pool3)
    return F.interpolate(scores, scale_factor=8, mode="bilinear")[:, :, :height, :width]
