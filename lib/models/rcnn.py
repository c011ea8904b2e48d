"""R-CNN: proposed boxes, each warped and shown to a network that was trained for something else (lesson 06).

Source: Girshick, Donahue, Darrell & Malik 2014, "Rich feature hierarchies for accurate object detection and semantic
segmentation", section 2 and appendices A to C. Four parts that do not know of each other: proposals (selective search,
`lib/ops/selective_search.py`), features (any network), a linear SVM for each class, and for each class a linear
regression that moves the box. `RCNN` takes the network as it is. The paper first fine-tunes it on warped boxes: that
is the last part of this file, and section 11 of the lesson.
"""

from collections.abc import Callable
from typing import NamedTuple, Self

import torch
import torch.nn.functional as F
from sklearn.svm import LinearSVC
from torch import Tensor, nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from lib.ops.box_coder import BoxCoder
from lib.ops.boxes import box_iou
from lib.ops.warp import context_warp

# ------------------------------------------------------------------------------------------------ what to learn from


def svm_labels(iou: Tensor, labels: Tensor, label: int) -> Tensor:
    """What each region is to the SVM of one class: 1 an example, 0 a counterexample, -1 not used.

    Examples are the true boxes of the class themselves. Counterexamples are all regions that overlap no thing of this
    class by 0.3 or more, things of other classes among them. What lies between, parts of a thing, is left out.

    Args:
        iou: (R, N) of all regions, the true boxes among them, with the N true boxes.
        labels: (N,) of the true boxes.
        label: the class of this SVM.

    Returns:
        (R,) int64.
    """
    of_class = iou[:, labels == label]  # (R, n)
    best = of_class.amax(dim=1) if of_class.shape[1] else iou.new_zeros(len(iou))  # (R,)
    kinds = torch.full_like(best, -1, dtype=torch.int64)
    kinds[best < 0.3] = 0
    kinds[best > 0.999] = 1
    return kinds


class Regions(NamedTuple):
    """All regions of some training pictures, their true boxes included. R regions, D features, K classes."""

    features: Tensor  # (R, D)
    kinds: Tensor  # (R, K): `svm_labels` for labels 1..K
    boxes: Tensor  # (R, 4)
    matched: Tensor  # (R, 4) the true box that overlaps it most
    overlap: Tensor  # (R,) their IoU
    labels: Tensor  # (R,) the label of that true box


def label_regions(features: Tensor, regions: Tensor, boxes: Tensor, labels: Tensor, num_classes: int) -> Regions:
    """What each region of one training picture is to be taken for.

    Args:
        features: (R, D) of the regions.
        regions: (R, 4) xyxy pixels, the true boxes among them.
        boxes, labels: (N, 4) and (N,), N at least 1: the true boxes and their classes, 1..K.
        num_classes: K + 1, with the background.
    """
    iou = box_iou(regions, boxes)  # (R, N)
    kinds = torch.stack([svm_labels(iou, labels, label) for label in range(1, num_classes)], dim=1)  # (R, K)
    overlap, place = iou.max(dim=1)
    return Regions(features, kinds, regions, boxes[place], overlap, labels[place])


class RCNN(nn.Module):
    """R-CNN: a list of proposals in, detections out.

    Args:
        features: the network, (B, 3, size, size) crops in 0..1 -> (B, width) features. It is called, never trained,
            and not stored with the weights.
        width: how many features it gives.
        num_classes: with the background, 0.
        size, context: of the crops, see `context_warp`. The paper's 16 of 227 is 5 of 64.
        score_threshold: detections below are left out. An SVM says "yes" above 0; -1 keeps the doubtful ones.
        nms_threshold: of two boxes of a class that overlap more, the lower one goes.
    """

    def __init__(
        self,
        features: Callable[[Tensor], Tensor],
        width: int,
        num_classes: int,
        size: int = 64,
        context: int = 5,
        score_threshold: float = -1.0,
        nms_threshold: float = 0.3,
    ):
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes!r}; expected the background and at least one class")
        self.features = features
        self.num_classes, self.size, self.context = num_classes, size, context
        self.score_threshold, self.nms_threshold = score_threshold, nms_threshold
        self.svm = nn.Linear(width, num_classes - 1).requires_grad_(False)
        self.regressor = nn.Linear(width, 4 * (num_classes - 1)).requires_grad_(False)
        for untrained in (*self.svm.parameters(), *self.regressor.parameters()):
            nn.init.zeros_(untrained)  # says neither yes nor no, and moves nothing
        self.coder = BoxCoder()

    @torch.no_grad()
    def forward(self, image: Tensor, proposals: Tensor) -> dict[str, Tensor]:
        """Detections of one picture.

        Args:
            image: (3, H, W) floats in 0..1.
            proposals: (P, 4) xyxy pixels.

        Returns:
            {"boxes": (D, 4), "scores": (D,) distances from the SVM's border, "labels": (D,)}, best first.
        """
        return self.detect(self.region_features(image, proposals), proposals, (image.shape[1], image.shape[2]))

    @torch.no_grad()
    def detect(
        self, features: Tensor, proposals: Tensor, size: tuple[int, int], scores: Tensor | None = None
    ) -> dict[str, Tensor]:
        """`forward` for proposals whose features (P, width) are known, on a picture of `size` (H, W).

        `scores` (P, K) stand in the place of those that the SVMs would give.
        """
        scores = self.svm(features) if scores is None else scores  # (P, K)
        rows, classes = (scores > self.score_threshold).nonzero(as_tuple=True)  # (D,) each: a box and a class
        scores = scores[rows, classes]
        moved = self.coder.decode_single(self.regressor(features), proposals).unflatten(1, (-1, 4))  # (P, K, 4)
        boxes = clip_boxes_to_image(moved[rows, classes], tuple(size))  # (D, 4)
        kept = batched_nms(boxes, scores, classes, self.nms_threshold)
        return {"boxes": boxes[kept], "scores": scores[kept], "labels": classes[kept] + 1}

    @torch.no_grad()
    def region_features(self, image: Tensor, boxes: Tensor) -> Tensor:
        """What the network says of each box, each on its own: (K, 4) -> (K, width), each row scaled to length 20."""
        if not len(boxes):
            return self.svm.weight.new_zeros(0, self.svm.in_features)
        crops = (context_warp(image, some, self.size, self.context) for some in boxes.split(64))  # (64, 3, size, size)
        return 20 * F.normalize(torch.cat([self.features(some) for some in crops]))  # (K, width)

    # -------------------------------------------------------------------------------------------- training, in parts

    def regions(self, image: Tensor, proposals: Tensor, boxes: Tensor, labels: Tensor) -> Regions:
        """The regions of one training picture: its proposals and its true boxes (N, 4) with labels (N,)."""
        everything = torch.cat([boxes, proposals])  # (R, 4)
        return label_regions(self.region_features(image, everything), everything, boxes, labels, self.num_classes)

    def fit_svms(
        self, regions: Regions, strength: float = 1e-3, negatives: int = 500, rounds: int = 1, seed: int = 0
    ) -> list[int]:
        """Train the SVM of each class, and then again with those counterexamples that it got wrong.

        Args:
            regions: of all training pictures, with features as `region_features` gives them.
            strength: C, the price of a mistake against the width of the margin.
            negatives: counterexamples that a class starts with, drawn at random.
            rounds: how often the hard negatives, those that score above -1, are added. 0: never.
            seed: for the draw.

        Returns:
            of each class, how many counterexamples it has used in the end.

        Raises:
            ValueError: a class has no example or no counterexample.
        """
        draw = torch.Generator().manual_seed(seed)
        used = []
        for index, kinds in enumerate(regions.kinds.T):
            examples, others = regions.features[kinds == 1].cpu(), regions.features[kinds == 0].cpu()
            if not len(examples) or not len(others):
                raise ValueError(
                    f"regions has {len(examples)} examples and {len(others)} counterexamples of class "
                    f"{index + 1}; expected at least one of each"
                )
            chosen = torch.zeros(len(others), dtype=torch.bool)
            chosen[torch.randperm(len(others), generator=draw)[:negatives]] = True
            for turn in range(rounds + 1):
                weight, bias = _linear_svm(examples, others[chosen], strength)
                if turn < rounds:
                    chosen |= others @ weight + bias > -1
            self.svm.weight[index], self.svm.bias[index] = weight, bias
            used.append(int(chosen.sum()))
        return used

    def fit_boxes(self, regions: Regions, ridge: float = 1000.0, overlap: float = 0.6) -> None:
        """Learn, class by class, to move a region to the thing that it overlaps by more than `overlap`.

        A linear regression from the features to the four numbers of `BoxCoder`, with `ridge` (the paper's λ) times
        the squared weights added to the squared errors. Source: appendix C.
        """
        weight = torch.zeros(self.num_classes - 1, 4, self.regressor.in_features)
        bias = torch.zeros(self.num_classes - 1, 4)
        for index in range(self.num_classes - 1):
            pairs = (regions.labels == index + 1) & (regions.overlap > overlap)
            if pairs.any():
                targets = self.coder.encode_single(regions.matched[pairs], regions.boxes[pairs])  # (n, 4)
                weight[index], bias[index] = _ridge_regression(regions.features[pairs], targets, ridge)
        self.regressor.weight.copy_(weight.flatten(0, 1))
        self.regressor.bias.copy_(bias.flatten())


def _linear_svm(examples: Tensor, others: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """The widest border between two sets: weight (D,) and bias, positive on the side of the examples."""
    answers = [1] * len(examples) + [-1] * len(others)
    svm = LinearSVC(C=strength, dual=False)
    svm.fit(torch.cat([examples, others]).numpy(), answers)
    return torch.from_numpy(svm.coef_[0]).float(), torch.tensor(svm.intercept_[0]).float()


def _ridge_regression(inputs: Tensor, targets: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Weight (T, D) and bias (T,) of the line through (n, D) -> (n, T) with small weights; the bias is free."""
    inputs, targets = inputs.cpu().double(), targets.cpu().double()
    centre, level = inputs.mean(0), targets.mean(0)
    inputs = inputs - centre
    square = inputs.T @ inputs + ridge * torch.eye(inputs.shape[1], dtype=torch.float64)  # (D, D)
    weight = torch.linalg.solve(square, inputs.T @ (targets - level)).T  # (T, D)
    return weight.float(), (level - weight @ centre).float()


# ------------------------------------------------------------------------------------------------ fine-tuning


class RegionClassifier(nn.Module):
    """What fine-tuning trains: the last stages of a network, and a linear layer whose softmax is over K + 1 classes.

    The batch normalisation in `stages` keeps the statistics that it came with. In a batch of crops in which every
    fourth shows a thing they would be those of no picture.

    Args:
        stages: maps of the stages before them -> (B, C, h, w).
        width: 4 · C features, see `describe`.
        num_classes: with the background, 0.

    Source: section 2.3 of the paper, which trains all of its network.
    """

    def __init__(self, stages: nn.Module, width: int, num_classes: int):
        super().__init__()
        self.stages, self.head = stages, nn.Linear(width, num_classes)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.stages.eval()
        return self

    def describe(self, maps: Tensor) -> Tensor:
        """The features as `RCNN.region_features` gives them: means over quarters, (B, width), rows of length 20."""
        return 20 * F.normalize(F.adaptive_avg_pool2d(self.stages(maps), 2).flatten(1))

    def forward(self, maps: Tensor) -> Tensor:
        return self.head(self.describe(maps))  # (B, K + 1)

    @torch.no_grad()
    def probabilities(self, features: Tensor) -> Tensor:
        """The softmax of `describe`d regions without the background's: (P, width) -> (P, K)."""
        return self.head(features).softmax(dim=1)[:, 1:]


def draw_batch(overlap: Tensor, draw: torch.Generator, things: int = 32, others: int = 96) -> Tensor:
    """A batch for fine-tuning: places of regions that overlap a thing by a half or more, then of others.

    Args:
        overlap: (R,) IoU of each region with the thing that it overlaps most.
        draw: a generator on the CPU. Any region may come more than once.
        things, others: how many of each.

    Returns:
        (things + others,) int64.

    Raises:
        ValueError: there is no region of one of the two kinds.
    """
    kinds = [(overlap >= 0.5).nonzero()[:, 0], (overlap < 0.5).nonzero()[:, 0]]
    if not all(map(len, kinds)):
        raise ValueError(f"overlap has {len(kinds[0])} of 0.5 or more and {len(kinds[1])} below; expected both")
    counts = zip(kinds, (things, others))
    return torch.cat([some[torch.randint(len(some), (n,), generator=draw).to(some.device)] for some, n in counts])
