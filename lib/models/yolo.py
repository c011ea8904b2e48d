"""YOLO: the picture is cut into cells, and each cell says in one look what stands there and where (lesson 09).

Two detectors over the same kind of backbone. `YOLOv1`: each cell says boxes of any size. Source: Redmon, Divvala,
Girshick & Farhadi 2016, "You Only Look Once: Unified, Real-Time Object Detection", section 2 and equation 3. `YOLOv2`:
each box starts from an anchor, and has a class of its own. Source: Redmon & Farhadi 2017, "YOLO9000: Better, Faster,
Stronger", section 2.

S rows and columns of cells, B boxes a cell, C classes without background. Labels run from 1 to C, as everywhere in this
course. The paper of 2016 ends in two fully connected layers, which bind it to one size of picture; here, as in 2017,
the last layer is a 1×1 convolution (lesson 01).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import batched_nms

from lib.layers.backbone import Backbone
from lib.layers.small_backbone import SmallBackbone
from lib.ops.anchors import size_iou
from lib.ops.boxes import box_cxcywh_to_xyxy, box_iou, box_xyxy_to_cxcywh, clip_boxes_to_image
from lib.ops.targets import check_labels, check_targets

LAMBDA_COORD, LAMBDA_NOOBJ = 5.0, 0.5  # how much places count, and "nothing here" (2016, section 2.2)
OBJECT_SCALE = 5.0  # how much the confidence of a box with a thing counts, all else 1 (2017, its code: yolov2-voc.cfg)
NOT_NOTHING = 0.6  # a box that overlaps a truth by more is never told that nothing is there (2017, its code)
LARGEST_GROWTH = 4.0  # a box is at most e⁴ times as large as its anchor, so that none is infinite

Targets = list[dict[str, Tensor]]  # for each picture {"boxes": (n, 4) xyxy pixels, "labels": (n,) int64}


# ------------------------------------------------------------------------------------------------ who is responsible


def cells_of(boxes: Tensor, stride: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The cell in which the middle of each box lies: (n, 4) xyxy pixels -> rows (n,), columns (n,), int64.

    Args:
        stride: side of a cell, pixels.
        grid: rows and columns of cells; a middle on the outer edge belongs to the last cell.
    """
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2  # (n, 2) x, y
    columns, rows = (middles / stride).long().unbind(dim=1)  # (n,) each
    return rows.clamp(0, grid[0] - 1), columns.clamp(0, grid[1] - 1)


def owners_of_cells(boxes: Tensor, stride: int, grid: tuple[int, int]) -> Tensor:
    """Which box each cell answers for, (S, S) int64: its place among the boxes (n, 4), -1 = none.

    Where the middles of two boxes lie in one cell, the first keeps it and the other is not learned from.
    """
    owners = boxes.new_full(grid, -1, dtype=torch.int64)  # (S, S)
    rows, columns = cells_of(boxes, stride, grid)
    for place in reversed(range(len(boxes))):
        owners[rows[place], columns[place]] = place
    return owners


def owners_of_anchors(boxes: Tensor, anchors: Tensor, stride: int, grid: tuple[int, int]) -> Tensor:
    """Which box each anchor of each cell answers for, (S, S, B) int64: its place among the boxes (n, 4), -1 = none.

    A box goes to its cell, and there to the anchor (w, h) whose shape overlaps its own most. Again the first one keeps
    the place if two want it.
    """
    owners = boxes.new_full((*grid, len(anchors)), -1, dtype=torch.int64)  # (S, S, B)
    rows, columns = cells_of(boxes, stride, grid)
    best = size_iou(boxes[:, 2:] - boxes[:, :2], anchors).argmax(dim=1)  # (n,)
    for place in reversed(range(len(boxes))):
        owners[rows[place], columns[place], best[place]] = place
    return owners


def iou_of_pairs(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """IoU of box with box, not of all with all: two of (..., 4) xyxy that broadcast -> (...). 0 if both are empty."""
    sides = torch.minimum(boxes1[..., 2:], boxes2[..., 2:]) - torch.maximum(boxes1[..., :2], boxes2[..., :2])
    shared = sides.clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(dim=-1) for boxes in (boxes1, boxes2)]
    return shared / (areas[0] + areas[1] - shared).clamp(min=1e-9)


# ------------------------------------------------------------------------------------------------ what both share


class _YOLO(nn.Module):
    """A grid of answers on a backbone's map, from pictures to detections. What an answer means, a subclass knows."""

    def __init__(
        self, backbone: Backbone, stride: int, answers: int, score_thresh: float, nms_thresh: float, most: int
    ) -> None:
        super().__init__()
        self.backbone, self.stride = backbone, stride
        self.head = nn.Conv2d(backbone.out_channels, answers, 1)
        self.score_thresh, self.nms_thresh, self.detections_per_img = score_thresh, nms_thresh, most

    def grid(self, images: Tensor) -> Tensor:
        """The raw answers: pictures (N, 3, H, W), 0..1, -> (N, S, S, numbers of a cell).

        Raises:
            ValueError: `images` is not (N, 3, H, W), or its sides are no multiples of the stride.
        """
        if images.ndim != 4 or images.shape[1] != 3 or any(side % self.stride or not side for side in images.shape[2:]):
            raise ValueError(f"images is {tuple(images.shape)}; expected (N, 3, H, W), multiples of {self.stride}")
        (features,) = self.backbone(images).values()  # (N, C', S, S)
        return self.head(features).permute(0, 2, 3, 1)  # (N, S, S, numbers)

    def decode(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Raw answers (N, S, S, numbers) -> boxes (N, S, S, B, 4) xyxy pixels, class scores (N, S, S, B, C) 0..1."""
        raise NotImplementedError

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Detect: pictures (N, 3, H, W) -> for each {"boxes": (n, 4) xyxy, "scores": (n,), "labels": (n,) 1..C}."""
        boxes, scores = self.decode(self.grid(images))
        return [self.select(*one, (images.shape[2], images.shape[3])) for one in zip(boxes, scores, strict=True)]

    def select(self, boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> dict[str, Tensor]:
        """The detections of one picture of `size` (H, W), best first: what is sure enough, without duplicates.

        Args:
            boxes: (S, S, B, 4) xyxy pixels. scores: (S, S, B, C) 0..1.
        """
        flat = clip_boxes_to_image(boxes.reshape(-1, 4), size)  # (S · S · B, 4)
        places, classes = torch.where(scores.flatten(0, -2) > self.score_thresh)  # (n,) each: a box, and a class
        boxes, scores = flat[places], scores.flatten(0, -2)[places, classes]  # (n, 4), (n,)
        kept = batched_nms(boxes, scores, classes, self.nms_thresh)[: self.detections_per_img]
        return {"boxes": boxes[kept], "scores": scores[kept], "labels": classes[kept] + 1}

    def corners(self, grid: Tensor) -> Tensor:
        """The left upper corner of every cell, in cells: (S, S, 1, 2) x, y."""
        rows, columns = (torch.arange(side, device=grid.device, dtype=grid.dtype) for side in grid.shape[1:3])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return torch.stack([x, y], dim=2)[:, :, None]  # (S, S, 1, 2)

    def _shape_of(self, grid: Tensor) -> tuple[int, int]:
        return grid.shape[1], grid.shape[2]


# ------------------------------------------------------------------------------------------------ 2016


class YOLOv1(_YOLO):
    """Each cell says B boxes of any size, a confidence for each, and one class for them all: B · 5 + C numbers.

    A box is (x, y, √w, √h, confidence): x and y in the cell, 0..1; w and h as shares of the picture. The network says
    the roots, so that an error of a pixel counts more on a small box. Nothing keeps the numbers in their range.

    Args:
        backbone: pictures -> one map.
        stride: pixels from one cell of that map to the next.
        num_classes: C, without background.
        boxes: B.
        score_thresh, nms_thresh, detections_per_img: a box with a lower score, a box that overlaps a better one of its
            class by more, and all but the best so many are dropped.
    """

    def __init__(
        self,
        backbone: Backbone,
        stride: int,
        num_classes: int,
        boxes: int = 2,
        score_thresh: float = 0.05,
        nms_thresh: float = 0.5,
        detections_per_img: int = 100,
    ) -> None:
        super().__init__(backbone, stride, boxes * 5 + num_classes, score_thresh, nms_thresh, detections_per_img)
        self.boxes, self.num_classes = boxes, num_classes

    def parts(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Raw answers (N, S, S, B · 5 + C) -> boxes (N, S, S, B, 5) and classes (N, S, S, C)."""
        boxes, classes = grid.split([self.boxes * 5, self.num_classes], dim=-1)
        return boxes.unflatten(-1, (self.boxes, 5)), classes

    def decode(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Score of a class = confidence of the box times probability of the class (equation 1)."""
        answers, classes = self.parts(grid)
        scores = answers[..., 4:].clamp(0, 1) * classes.clamp(0, 1)[..., None, :]  # (N, S, S, B, C)
        return self.to_boxes(grid, answers), scores

    def to_boxes(self, grid: Tensor, answers: Tensor) -> Tensor:
        """Answers (N, S, S, B, 5) -> xyxy pixels (N, S, S, B, 4)."""
        middles = (self.corners(grid) + answers[..., :2]) * self.stride  # (N, S, S, B, 2)
        picture = middles.new_tensor([grid.shape[2], grid.shape[1]]) * self.stride  # width, height
        sizes = answers[..., 2:4].square() * picture  # (N, S, S, B, 2)
        return box_cxcywh_to_xyxy(torch.cat([middles, sizes], dim=-1))

    def loss(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """Squared errors, summed over a picture and averaged over the batch (equation 3).

        Args:
            images: (N, 3, H, W), 0..1.
            targets: for each picture {"boxes": (n, 4) xyxy pixels, "labels": (n,) int64, 1..C}; n may be 0.

        Returns:
            {"loss_xy", "loss_wh", "loss_object", "loss_no_object", "loss_class"}. In a cell with a thing, the box that
            overlaps it most is responsible: it alone learns the place, and a confidence equal to its IoU. All other
            boxes learn a confidence of 0. The class is learned by the cell.

        Raises:
            ValueError: an entry is missing or has the wrong shape, or a label is out of range.
        """
        check_targets(targets, len(images))
        check_labels(targets, self.num_classes)
        grid = self.grid(images)
        answers, classes = self.parts(grid)
        boxes = self.to_boxes(grid, answers).detach()  # (N, S, S, B, 4)
        owners = [owners_of_cells(one["boxes"], self.stride, self._shape_of(grid)) for one in targets]  # (S, S) each
        where, true_boxes, labels = _owned(owners, targets)  # cells with a thing, M in all
        overlap = iou_of_pairs(boxes[where], true_boxes[:, None])  # (M, B)
        best = overlap.argmax(dim=1)  # (M,) who is responsible
        said = answers[(*where, best)]  # (M, 5)
        middle_and_size = box_xyxy_to_cxcywh(true_boxes)  # (M, 4)
        in_cell = middle_and_size[:, :2] / self.stride - self.corners(grid)[where[1], where[2], 0]  # (M, 2) 0..1
        picture = middle_and_size.new_tensor([grid.shape[2], grid.shape[1]]) * self.stride
        roots = (middle_and_size[:, 2:] / picture).sqrt()  # (M, 2)
        nothing = torch.ones_like(answers[..., 4], dtype=torch.bool)  # (N, S, S, B)
        nothing[(*where, best)] = False
        wanted = F.one_hot(labels - 1, self.num_classes).to(classes)  # (M, C)
        losses = {
            "loss_xy": LAMBDA_COORD * (said[:, :2] - in_cell).square().sum(),
            "loss_wh": LAMBDA_COORD * (said[:, 2:4] - roots).square().sum(),
            "loss_object": (said[:, 4] - overlap.amax(dim=1)).square().sum(),
            "loss_no_object": LAMBDA_NOOBJ * answers[..., 4][nothing].square().sum(),
            "loss_class": (classes[where] - wanted).square().sum(),
        }
        return {name: loss / len(images) for name, loss in losses.items()}


# ------------------------------------------------------------------------------------------------ 2017


class YOLOv2(_YOLO):
    """Each cell has B anchors; each anchor says how it must be moved, how sure it is, and a class: B · (5 + C) numbers.

    The middle of a box cannot leave its cell, and its size is told relative to the anchor:

        x = (column + σ(tx)) · stride      w = anchor w · exp(tw)      confidence = σ(to)

    and y, h alike. Classes are a softmax.

    Args:
        anchors: (B, 2) widths and heights, pixels; `kmeans_anchors` finds good ones.
        others: see `YOLOv1`.
    """

    anchors: Tensor

    def __init__(
        self,
        backbone: Backbone,
        stride: int,
        num_classes: int,
        anchors: Tensor,
        score_thresh: float = 0.05,
        nms_thresh: float = 0.5,
        detections_per_img: int = 100,
    ) -> None:
        if anchors.ndim != 2 or anchors.shape[1] != 2 or not len(anchors) or (anchors <= 0).any():
            raise ValueError(f"anchors is {anchors.tolist()}; expected (B, 2) widths and heights above 0")
        super().__init__(
            backbone, stride, len(anchors) * (5 + num_classes), score_thresh, nms_thresh, detections_per_img
        )
        self.num_classes = num_classes
        self.register_buffer("anchors", anchors.float())

    def parts(self, grid: Tensor) -> Tensor:
        """Raw answers (N, S, S, B · (5 + C)) -> (N, S, S, B, 5 + C): tx, ty, tw, th, to, then the class logits."""
        return grid.unflatten(-1, (len(self.anchors), 5 + self.num_classes))

    def decode(self, grid: Tensor) -> tuple[Tensor, Tensor]:
        """Score of a class = confidence of the anchor times its own probability of the class."""
        answers = self.parts(grid)
        scores = answers[..., 4:5].sigmoid() * answers[..., 5:].softmax(dim=-1)  # (N, S, S, B, C)
        return self.to_boxes(grid, answers), scores

    def to_boxes(self, grid: Tensor, answers: Tensor) -> Tensor:
        """Answers (N, S, S, B, 5 + C) -> xyxy pixels (N, S, S, B, 4)."""
        middles = (self.corners(grid) + answers[..., :2].sigmoid()) * self.stride  # (N, S, S, B, 2)
        sizes = self.anchors * answers[..., 2:4].clamp(max=LARGEST_GROWTH).exp()  # (N, S, S, B, 2)
        return box_cxcywh_to_xyxy(torch.cat([middles, sizes], dim=-1))

    def loss(self, images: Tensor, targets: Targets) -> dict[str, Tensor]:
        """The same five parts as in `YOLOv1`, but responsible is the anchor that fits best, and it has its own class.

        Only that anchor learns place and class; its confidence is to equal its IoU. Other boxes learn a confidence of
        0, unless they overlap a thing by more than 0.6: those are left alone. The paper does not say how much each
        part weighs; the weights are those of its code.

        Raises:
            ValueError: an entry is missing or has the wrong shape, or a label is out of range.
        """
        check_targets(targets, len(images))
        check_labels(targets, self.num_classes)
        grid = self.grid(images)
        answers = self.parts(grid)
        boxes = self.to_boxes(grid, answers).detach()  # (N, S, S, B, 4)
        shape = self._shape_of(grid)
        owners = [owners_of_anchors(one["boxes"], self.anchors, self.stride, shape) for one in targets]  # (S, S, B)
        where, true_boxes, labels = _owned(owners, targets)  # anchors with a thing, M in all
        said = answers[where]  # (M, 5 + C)
        middle_and_size = box_xyxy_to_cxcywh(true_boxes)  # (M, 4)
        in_cell = middle_and_size[:, :2] / self.stride - self.corners(grid)[where[1], where[2], 0]  # (M, 2) 0..1
        growth = (middle_and_size[:, 2:] / self.anchors[where[3]]).log()  # (M, 2)
        confidence = answers[..., 4].sigmoid()  # (N, S, S, B)
        nothing = torch.stack([_best_overlap(one, target) for one, target in zip(boxes, targets)]) <= NOT_NOTHING
        nothing[where] = False
        overlap = iou_of_pairs(boxes[where], true_boxes)  # (M,)
        losses = {
            "loss_xy": (said[:, :2].sigmoid() - in_cell).square().sum(),
            "loss_wh": (said[:, 2:4] - growth).square().sum(),
            "loss_object": OBJECT_SCALE * (confidence[where] - overlap).square().sum(),
            "loss_no_object": confidence[nothing].square().sum(),
            "loss_class": F.cross_entropy(said[:, 5:], labels - 1, reduction="sum"),
        }
        return {name: loss / len(images) for name, loss in losses.items()}


def _owned(owners: list[Tensor], targets: Targets) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """Where there is a thing to answer for, M places: their indices (M,) each, true boxes (M, 4), labels (M,)."""
    where = torch.where(torch.stack(owners) >= 0)  # picture, row, column (and anchor), (M,) each
    pictures = [one >= 0 for one in owners]
    boxes = [target["boxes"][one[there]] for target, one, there in zip(targets, owners, pictures, strict=True)]
    labels = [target["labels"][one[there]] for target, one, there in zip(targets, owners, pictures, strict=True)]
    return where, torch.cat(boxes), torch.cat(labels)


def _best_overlap(boxes: Tensor, target: dict[str, Tensor]) -> Tensor:
    """For boxes (S, S, B, 4) of a picture the largest IoU with any thing: (S, S, B)."""
    if not len(target["boxes"]):
        return boxes.new_zeros(boxes.shape[:-1])
    return box_iou(boxes.reshape(-1, 4), target["boxes"].to(boxes)).amax(dim=1).reshape(boxes.shape[:-1])


# ------------------------------------------------------------------------------------------------ lesson 09's

# What `kmeans_anchors(sizes, 5)` finds in 2,000 of toyworld's train scenes, rounded to pixels: widths and heights.
SMALL_ANCHORS = ((10.0, 13.0), (16.0, 19.0), (20.0, 27.0), (28.0, 35.0), (39.0, 48.0))


def yolo_v1_small(num_classes: int = 5) -> YOLOv1:
    """The YOLO of 2016 in lesson 09, for toyworld at 96 × 96: `SmallBackbone`, 12 × 12 cells, two boxes a cell."""
    backbone = SmallBackbone()
    return YOLOv1(backbone, backbone.stride, num_classes)


def yolo_v2_small(num_classes: int = 5) -> YOLOv2:
    """The YOLO of 2017 in lesson 09: as `yolo_v1_small`, but with the five anchors that suit toyworld."""
    backbone = SmallBackbone()
    return YOLOv2(backbone, backbone.stride, num_classes, torch.tensor(SMALL_ANCHORS))
