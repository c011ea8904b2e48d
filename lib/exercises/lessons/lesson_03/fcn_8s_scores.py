"""The scores of every pixel, from the three maps of a backbone: the whole of FCN-8s."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.map_pictures import compare_maps
from lib.models.fcn import FCN, BackboneMaps
from lib.ops.upsampling import transposed_conv_scatter


def enlarged(x: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    return transposed_conv_scatter(x, layer.weight, layer.stride[0], layer.padding[0])


def fuse_scores(coarse: Tensor, fine: Tensor, upscore: nn.Module) -> Tensor:
    """The fusion inside `lib.models.fcn.FCN`: coarse (B, K, h, w) made twice as large, plus fine (B, K, 2h, 2w)."""
    return upscore(coarse) + fine


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


def cases() -> list[Case]:
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


@mistake(
    "not cut to size",
    "Your scores still cover the padding. Cut them to `height` rows and `width` columns.",
)
def not_cut(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    return before_the_cut(net, maps)


@mistake(
    "resized instead of cut",
    "You squeeze the scores of the padded picture into the size of the picture, so every thing moves "
    "towards the top left. The padding has to be cut off.",
)
def resized(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    return F.interpolate(before_the_cut(net, maps), (height, width), mode="bilinear")


@mistake(
    "cut at the wrong side",
    "The padding was added at the right and at the bottom. You cut off the left and the top.",
)
def cut_at_the_start(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    return before_the_cut(net, maps)[:, :, -height:, -width:]


@mistake(
    "cut on all sides",
    "You keep the middle. That is what the paper does, where 100 pixels are added on all sides; here they "
    "were added at the right and at the bottom only.",
)
def cut_on_all_sides(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = before_the_cut(net, maps)
    top, left = (scores.shape[2] - height) // 2, (scores.shape[3] - width) // 2
    return scores[:, :, top : top + height, left : left + width]


@mistake(
    "height and width swapped",
    "You cut to `width` rows and `height` columns. Rows come first: (B, K, H, W).",
)
def rows_for_columns(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    return before_the_cut(net, maps)[:, :, :width, :height]


@mistake(
    "pool3 left out",
    "The scores of pool3 have no part in your result: this is FCN-16s, enlarged to the end.",
)
def without_pool3(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool4)
    return net.upscore(net.upscore_pool4(scores))[:, :, :height, :width]


@mistake(
    "pool4 left out",
    "The scores of pool4 have no part in your result.",
)
def without_pool4(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = net.upscore_pool4(net.upscore2(net.score_fr(maps.fc7))) + net.score_pool3(maps.pool3)
    return net.upscore(scores)[:, :, :height, :width]


@mistake(
    "one upsampling layer used twice",
    "`upscore2` does both of your doublings. Each has a layer, and so weights, of its own: see the list in the task.",
)
def one_layer_twice(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool4)
    return net.upscore(net.upscore2(scores) + net.score_pool3(maps.pool3))[:, :, :height, :width]


@mistake(
    "upsampling layers swapped",
    "`upscore_pool4` enlarges the scores of fc7 in yours, and `upscore2` those of the first sum. The drawing has them "
    "the other way round: `upscore_pool4` comes after the scores of pool4 have been added.",
)
def doublings_swapped(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = net.upscore_pool4(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool4)
    return net.upscore(net.upscore2(scores) + net.score_pool3(maps.pool3))[:, :, :height, :width]


@mistake(
    "pool3 and pool4 swapped",
    "pool3 is the *finer* map. From deep to shallow: fc7, then pool4, then pool3.",
)
def maps_swapped(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool3)
    return net.upscore(net.upscore_pool4(scores) + net.score_pool3(maps.pool4))[:, :, :height, :width]


@mistake(
    "the last layer not used",
    "The last step, by 8, has a layer of its own too: `net.upscore`. Use it, and not an interpolation: the "
    "weights of your net and of ours are not bilinear here.",
)
def last_by_interpolation(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    scores = net.upscore2(net.score_fr(maps.fc7)) + net.score_pool4(maps.pool4)
    scores = net.upscore_pool4(scores) + net.score_pool3(maps.pool3)
    return F.interpolate(scores, scale_factor=8, mode="bilinear")[:, :, :height, :width]


@mistake("columns not cut", "You cut the rows to `height`, and left the columns as they are. Cut them to `width`.")
def only_rows_cut(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    return before_the_cut(net, maps)[:, :, :height]


@mistake("rows not cut", "You cut the columns to `width`, and left the rows as they are. Cut them to `height`.")
def only_columns_cut(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    return before_the_cut(net, maps)[..., :width]


@mistake("softmax at the end", "You return probabilities. Asked are the scores; the loss makes probabilities of them.")
def softmax_at_the_end(net: FCN, maps: BackboneMaps, height: int, width: int) -> Tensor:
    return fcn_8s_scores(net, maps, height, width).softmax(dim=1)


EXERCISE = Exercise(
    name="fcn_8s_scores",
    reference=fcn_8s_scores,
    cases=cases,
    gives=Kind.MAP,
    mistakes=[
        not_cut,
        resized,
        cut_at_the_start,
        cut_on_all_sides,
        rows_for_columns,
        without_pool3,
        without_pool4,
        one_layer_twice,
        doublings_swapped,
        maps_swapped,
        last_by_interpolation,
        only_rows_cut,
        only_columns_cut,
        softmax_at_the_end,
    ],
    picture=compare_maps,
)
