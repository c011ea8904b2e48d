"""R-CNN, Fast R-CNN and Faster R-CNN drawn alike, at work on one picture (lessons 06 to 08)."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from lib.models.fast_rcnn import FastRCNN, RoIHeads
from lib.models.faster_rcnn import FasterRCNN
from lib.models.rcnn import RCNN
from lib.ops.selective_search import selective_search_small
from lib.ops.warp import context_warp
from lib.timing import milliseconds
from lib.viz.basics.draw import to_pixels
from lib.viz.diagrams.panels import Draw, all_boxes, count_of, detections, feature_map, picture_stage, shape_of
from lib.viz.diagrams.system import Loss, Plan, Stage, slowest

SEARCHED = 100  # proposals of selective search
SHOWN = 16  # regions that a drawing shows
LEAST_SCORE = 0.5  # of a detection that is drawn; R-CNN's scores are distances, and 0 is its border


def draw_rcnn(model: RCNN, image: Tensor, times: Sequence[float] | None = None) -> Figure:
    """R-CNN on a picture (3, H, W): four parts, and no gradient runs from one to another.

    Args:
        times: milliseconds of search, warp, network and SVMs, as `time_rcnn` measures them; None draws none.

    Raises:
        ValueError: `times` are not four.
    """
    return rcnn_plan(model, image, (0.0,) * 4 if times is None else times).draw(timed=times is not None)


@torch.no_grad()
def time_rcnn(model: RCNN, image: Tensor, search_ms: float | None = None) -> list[float]:
    """Milliseconds of the four stages of R-CNN on a picture (3, H, W): search, warp, network, SVMs.

    Args:
        search_ms: of selective search where they have been measured already; None measures them.
    """
    size = (image.shape[1], image.shape[2])
    proposals = selective_search_small(image.cpu())[:SEARCHED].to(image)
    features = model.region_features(image, proposals)  # (P, width)
    search = milliseconds(lambda: selective_search_small(image.cpu()), repeats=3) if search_ms is None else search_ms
    warp = milliseconds(lambda: context_warp(image, proposals, model.size, model.context), repeats=3)
    both = milliseconds(lambda: model.region_features(image, proposals), repeats=3)
    judge = milliseconds(lambda: model.detect(features, proposals, size), repeats=3)
    return [search, warp, max(both - warp, 0.0), judge]


def draw_family(plans: Sequence[Plan]) -> list[Figure]:
    """Several detectors, one under the other, with bars of one scale."""
    scale = max(slowest(plan.stages) for plan in plans)
    return [plan.draw(scale=scale) for plan in plans]


# ------------------------------------------------------------------------------------------------ stage by stage


@torch.no_grad()
def rcnn_plan(model: RCNN, image: Tensor, times: Sequence[float] | None = None) -> Plan:
    """R-CNN on a picture (3, H, W): four parts, and no gradient runs from one to another.

    Args:
        model: in eval mode.
        times: milliseconds of search, warp, network and SVMs, as `time_rcnn` measures them; None measures them.

    Raises:
        ValueError: `times` are not four.
    """
    times = time_rcnn(model, image) if times is None else times
    if len(times) != 4:
        raise ValueError(f"times has {len(times)} numbers; expected four: search, warp, network, SVMs")
    search, warp, network, judge = times
    proposals = selective_search_small(image.cpu())[:SEARCHED].to(image)
    crops = context_warp(image, proposals, model.size, model.context)  # (P, 3, size, size)
    features = model.region_features(image, proposals)  # (P, width)
    found = model.detect(features, proposals, (image.shape[1], image.shape[2]))
    stages = (
        picture_stage(image),
        _search(image, proposals, search, new=True),
        Stage("cut out,\nwarp", _grid(crops[:SHOWN]), shape_of(crops), warp, new=True),
        Stage("network, once\nfor each crop", _matrix(features), f"{len(features)} × {features.shape[1]}\nfeatures",
              network, new=True),
        Stage("SVMs, box\nregression, NMS", _matrix(model.svm(features)),
              f"{len(features)} × {model.num_classes - 1} scores", judge, new=True),
        Stage("detections", detections(image, found, 0.0), count_of(found, 0.0)),
    )  # fmt: skip
    losses = (
        Loss("ImageNet's classes", 3, 3),
        Loss("SVMs: squared hinge", 4, 4),
        Loss("boxes: squared error", 4, 4),
    )
    return Plan(stages, losses, "R-CNN: every proposal is a picture of its own")


@torch.no_grad()
def fast_rcnn_plan(model: FastRCNN, image: Tensor, search_ms: float | None = None) -> Plan:
    """Fast R-CNN on a picture (3, H, W): one map for all proposals, and a gradient that reaches the backbone.

    Arguments as in `rcnn_plan`.
    """
    proposals = selective_search_small(image.cpu())[:SEARCHED].to(image)
    features = model.backbone(image[None])  # {"0": (1, C, h, w)}
    sizes = [(image.shape[1], image.shape[2])]
    run = milliseconds(lambda: model.backbone(image[None]))
    stages = (
        picture_stage(image),
        _search(image, proposals, search_ms),
        Stage("backbone,\nonce", feature_map(features["0"][0]), shape_of(features["0"][0]), run, new=True),
        *_second_stage(model.roi_heads, features, proposals, sizes, new=True),
        _answer(image, model.roi_heads, features, proposals, sizes),
    )
    losses = (Loss("which class?", 4, 2), Loss("where exactly?", 4, 2))
    return Plan(stages, losses, "Fast R-CNN: all proposals are cut out of one map")


@torch.no_grad()
def faster_rcnn_plan(model: FasterRCNN, image: Tensor) -> Plan:
    """Faster R-CNN on a picture (3, H, W): the proposals come from the map, and all of it learns."""
    batch = model.transform(image[None])
    features = model.backbone(batch.tensors)  # {"0": (1, C, h, w)}
    proposals = model.rpn(batch, features)[0]["boxes"]  # (P, 4)
    run = milliseconds(lambda: model.backbone(batch.tensors))
    propose = milliseconds(lambda: model.rpn(batch, features))
    stages = (
        picture_stage(image),
        Stage("backbone,\nonce", feature_map(features["0"][0]), shape_of(features["0"][0]), run),
        Stage("region proposal\nnetwork", all_boxes(image, proposals[:10]), f"{len(proposals)} boxes;\nthe best ten",
              propose, new=True),
        *_second_stage(model.roi_heads, features, proposals, batch.image_sizes, new=False),
        _answer(image, model.roi_heads, features, proposals, batch.image_sizes),
    )  # fmt: skip
    losses = (
        Loss("a thing?", 2, 1),
        Loss("the anchor's move", 2, 1),
        Loss("which class?", 4, 1),
        Loss("where exactly?", 4, 1),
    )
    return Plan(stages, losses, "Faster R-CNN: the network proposes its own boxes")


# ------------------------------------------------------------------------------------------------ stages they share


def _search(image: Tensor, proposals: Tensor, time: float | None, new: bool = False) -> Stage:
    if time is None:
        time = milliseconds(lambda: selective_search_small(image.cpu()))
    return Stage("selective\nsearch", all_boxes(image, proposals), f"{len(proposals)} boxes", time, new)


def _second_stage(
    heads: RoIHeads, features: dict[str, Tensor], proposals: Tensor, sizes: list[tuple[int, int]], new: bool
) -> tuple[Stage, Stage]:
    """RoI pooling, and the two heads on what it gives."""
    regions = heads.box_roi_pool(features, [proposals], sizes)  # (P, C, rows, columns)
    logits, _ = heads.box_predictor(heads.box_head(regions))  # (P, K)
    pool = milliseconds(lambda: heads.box_roi_pool(features, [proposals], sizes))
    judge = milliseconds(lambda: heads.box_predictor(heads.box_head(regions)))
    count, channels, rows, columns = regions.shape
    return (
        Stage(
            "RoI pooling",
            feature_map(_mosaic(regions[:SHOWN])),
            f"{count} × {channels} × {rows} × {columns}",
            pool,
            new,
        ),
        Stage(
            "head: class\nand box",
            _matrix(logits.softmax(dim=1)),
            f"{count} × {logits.shape[1]} probabilities,\n{count} × {4 * logits.shape[1]} moves",
            judge,
            new,
        ),
    )


def _answer(
    image: Tensor, heads: RoIHeads, features: dict[str, Tensor], proposals: Tensor, sizes: list[tuple[int, int]]
) -> Stage:
    logits, moves = heads.predict(features, [proposals], sizes)
    found = heads.postprocess_detections(logits, moves, [proposals], sizes)[0]
    time = milliseconds(lambda: heads.postprocess_detections(logits, moves, [proposals], sizes))
    return Stage("NMS, class\nby class", detections(image, found, LEAST_SCORE), count_of(found, LEAST_SCORE), time)


# ------------------------------------------------------------------------------------------------ what a panel shows


def _mosaic(regions: Tensor) -> Tensor:
    """Sixteen regions (16, C, r, c) side by side: (C, 4 · r, 4 · c). Missing ones are zero."""
    count, channels, rows, columns = regions.shape
    full = regions.new_zeros(SHOWN, channels, rows, columns)
    full[:count] = regions
    return full.reshape(4, 4, channels, rows, columns).permute(2, 0, 3, 1, 4).reshape(channels, 4 * rows, 4 * columns)


def _grid(crops: Tensor) -> Draw:
    tiles = make_grid(crops.cpu(), nrow=4, padding=2, pad_value=1.0)
    return lambda axis: axis.imshow(to_pixels(tiles))


def _matrix(values: Tensor) -> Draw:
    """A row for each region, a column for each number."""
    return lambda axis: axis.imshow(values.cpu().numpy(), aspect="auto", interpolation="nearest", cmap="magma")
