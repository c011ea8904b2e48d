"""SAM asked everywhere: all masks of a picture without anybody who clicks (lesson 18).

A grid of points covers the picture, and each point is a prompt that is answered by three masks. Most of these are bad,
or repeat each other. So each is measured, and filters follow one another: is the model sure of it, does it change
little with the threshold, is it cut off by the border of a crop, is it a duplicate. Small things are found in crops,
which the encoder sees enlarged.

Called as the generator of facebookresearch/segment-anything, with tensors in place of arrays and records.
Source: Kirillov et al. 2023, "Segment Anything", section 4, "Fully automatic stage", and appendix B, "Automatic mask
generation details". For its data set, SA-1B, the paper took grids of 32 × 32, 16 × 16 and 8 × 8 points in the picture,
in 2 × 2 and in 4 × 4 crops (`crop_n_layers=2, crop_n_points_downscale_factor=2`), and cleaned regions below 100 pixels.
It also dropped masks that cover 95 % of the picture; neither the official code nor this does.
"""

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import nms as box_nms

from lib.models.sam import Sam
from lib.models.sam_predictor import SamPredictor, check_image
from lib.ops.boxes import box_area
from lib.ops.mask_filters import mask_nms, near_inner_border, point_grid, remove_small_regions, stability_score
from lib.ops.masks import masks_to_boxes

Crop = tuple[int, int, int, int]  # xyxy, whole pixels
MASK_THRESHOLD = 0.0  # of logits


class FoundMasks(NamedTuple):
    """N masks of a picture, and what was measured. Its `len` is that of a tuple, 6; N is `len(found.masks)`."""

    masks: Tensor  # (N, H, W) bool
    boxes: Tensor  # (N, 4) xyxy floats, the places of the first and last pixels, as `masks_to_boxes`; 0 for no pixel
    predicted_iou: Tensor  # (N,) how good the model thinks that it is
    stability_score: Tensor  # (N,) of the logits, before small regions are removed; see `lib.ops.mask_filters`
    point_coords: Tensor  # (N, 2) x and y of the click that gave it
    crop_boxes: Tensor  # (N, 4) xyxy floats, pixels: the crop in which it was seen

    def only(self, which: Tensor) -> "FoundMasks":
        """Those that `which` picks: (N,) bool, or the places to be kept, in their order."""
        return FoundMasks(*(one[which] for one in self))

    def areas(self) -> Tensor:
        """Pixels of each: (N,)."""
        return self.masks.sum((1, 2))


class SamAutomaticMaskGenerator:
    """Finds all masks of a picture. Its steps are methods, and `generate` calls them in turn.

    Args:
        model: in eval mode.
        points_per_side: n, for a grid of n × n clicks; None: see `point_grids`.
        points_per_batch: prompts that are answered at once: memory against time.
        pred_iou_thresh: masks stay whose predicted IoU is above this; 0: all do.
        stability_score_thresh: masks stay whose stability is at least this.
        stability_score_offset: in logits, how far the two thresholds of stability lie from the one of the mask.
        box_nms_thresh: of two masks of a crop with a higher IoU one goes.
        crop_n_layers: 0: the picture is seen whole. 1: also in 2 × 2 crops. 2: also in 4 × 4 crops, and so on.
        crop_nms_thresh: as `box_nms_thresh`, between crops.
        crop_overlap_ratio: how much of the picture's shorter side the crops of layer 1 share; of layer 2 the half.
        crop_n_points_downscale_factor: in a crop of layer i the grid has n divided by this to the power of i.
        point_grids: in place of `points_per_side`: for each layer (P, 2), x and y as shares 0..1 of the crop's sides.
        min_mask_region_area: holes and islands with fewer pixels are removed; 0: none.
        nms: what overlaps in NMS, the "box", as in the paper and the official code, or the "mask".
        crop_border: pixels; a mask that comes so close to a crop's inner border counts as cut off. The official code
            has it as a constant, for photos.

    Raises:
        ValueError: there is not one of `points_per_side` and `point_grids`, a grid is missing, empty or not (P, 2), or
            a number is too small.
    """

    def __init__(
        self,
        model: Sam,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[Tensor] | None = None,
        min_mask_region_area: int = 0,
        nms: str = "box",
        crop_border: float = 20.0,
    ):
        self.predictor = SamPredictor(model)
        self.points_per_batch = points_per_batch
        self.pred_iou_thresh, self.stability_score_thresh = pred_iou_thresh, stability_score_thresh
        self.stability_score_offset = stability_score_offset
        self.box_nms_thresh, self.crop_nms_thresh, self.nms = box_nms_thresh, crop_nms_thresh, nms
        self.crop_n_layers, self.crop_overlap_ratio = crop_n_layers, crop_overlap_ratio
        self.crop_n_points_downscale_factor = crop_n_points_downscale_factor
        self.min_mask_region_area, self.crop_border = min_mask_region_area, crop_border
        self._check(points_per_side, point_grids)
        if point_grids is None and points_per_side is not None:
            sides = [int(points_per_side / crop_n_points_downscale_factor**i) for i in range(crop_n_layers + 1)]
            if min(sides) < 1:
                raise ValueError(f"points_per_side is {points_per_side}; no point is left in layer {sides.index(0)}")
            point_grids = [point_grid(n) for n in sides]
        self.point_grids = list(point_grids or [])

    @torch.no_grad()
    def generate(self, image: Tensor) -> FoundMasks:
        """All masks of a picture (3, H, W), 0..1: the best first, or with crops those from the smallest crops first.

        With `min_mask_region_area` masks that needed no cleaning come first.

        Raises:
            ValueError: it is no such picture, or too small for so many crops.
        """
        check_image(image)
        size = (image.shape[1], image.shape[2])
        crops = overlapping_crops(size, self.crop_n_layers, self.crop_overlap_ratio)
        found = together([self.of_crop(image, crop, self.point_grids[layer]) for layer, crop in crops])
        if len(crops) > 1:
            found = self.distinct_between_crops(found)
        return self.cleaned(found) if self.min_mask_region_area > 0 else found

    def of_crop(self, image: Tensor, crop: Crop, grid: Tensor) -> FoundMasks:
        """Good and distinct masks that are seen in a crop. `grid`: (P, 2), shares 0..1 of its sides."""
        left, top, right, bottom = crop
        self.predictor.set_image(image[:, top:bottom, left:right])
        points = grid.float() * grid.new_tensor([right - left, bottom - top], dtype=torch.float32)  # (P, 2) pixels
        batches = []
        for some in points.split(self.points_per_batch):
            found = self.stable(self.confident(self.candidates(some)))
            batches.append(self.uncut(in_picture(found, crop, (image.shape[1], image.shape[2])), image.shape[1:]))
        return self.distinct(together(batches))

    # -------------------------------------------------------------------------------------------- the steps

    @torch.no_grad()
    def candidates(self, points: Tensor) -> FoundMasks:
        """Three masks for each click (P, 2), in pixels of the picture or crop that the predictor has: N is 3 · P."""
        answer = self.predictor.predict_points(points)
        logits, ious = answer.masks.flatten(0, 1), answer.ious.flatten()  # (N, H, W), (N,)
        masks = logits > MASK_THRESHOLD
        height, width = masks.shape[1:]
        return FoundMasks(
            masks,
            _boxes(masks),
            ious,
            stability_score(logits, MASK_THRESHOLD, self.stability_score_offset),
            points.to(ious).repeat_interleave(answer.ious.shape[1], dim=0),  # (N, 2)
            ious.new_tensor([0, 0, width, height]).expand(len(ious), 4),
        )

    def confident(self, found: FoundMasks) -> FoundMasks:
        """Those that the model thinks good."""
        return found.only(found.predicted_iou > self.pred_iou_thresh) if self.pred_iou_thresh > 0 else found

    def stable(self, found: FoundMasks) -> FoundMasks:
        """Those that change little with the threshold."""
        return found.only(found.stability_score >= self.stability_score_thresh)

    def uncut(self, found: FoundMasks, size: Sequence[int]) -> FoundMasks:
        """Those that do not come close to a border of their crop that is inside of the picture of (height, width)."""
        return found.only(~near_inner_border(found.boxes, found.crop_boxes, (size[0], size[1]), self.crop_border))

    def distinct(self, found: FoundMasks) -> FoundMasks:
        """Of duplicates the one that the model thinks best. They come out with the best first."""
        return self._without_duplicates(found, found.predicted_iou, self.box_nms_thresh)

    def distinct_between_crops(self, found: FoundMasks) -> FoundMasks:
        """Of duplicates the one from the smallest crop, where the encoder saw the thing largest."""
        return self._without_duplicates(found, 1 / box_area(found.crop_boxes), self.crop_nms_thresh)

    def cleaned(self, found: FoundMasks) -> FoundMasks:
        """Without small holes and islands; of what became duplicates one that needed no cleaning, if there is one."""
        masks, untouched = found.masks.clone(), found.predicted_iou.new_ones(len(found.masks))
        for number, mask in enumerate(found.masks):
            filled, had_holes = remove_small_regions(mask, self.min_mask_region_area, "holes")
            masks[number], had_islands = remove_small_regions(filled, self.min_mask_region_area, "islands")
            untouched[number] = not (had_holes or had_islands)
        found = found._replace(masks=masks, boxes=_boxes(masks))
        return self._without_duplicates(found, untouched, max(self.box_nms_thresh, self.crop_nms_thresh))

    def _without_duplicates(self, found: FoundMasks, scores: Tensor, threshold: float) -> FoundMasks:
        if self.nms == "mask":
            return found.only(mask_nms(found.masks, scores, threshold))
        return found.only(box_nms(found.boxes, scores, threshold))

    def _check(self, points_per_side: int | None, point_grids: Sequence[Tensor] | None) -> None:
        for name, least in (("points_per_batch", 1), ("crop_n_layers", 0), ("crop_n_points_downscale_factor", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if self.nms not in ("box", "mask"):
            raise ValueError(f"nms is {self.nms!r}; expected 'box' or 'mask'")
        if (points_per_side is None) == (point_grids is None):
            both = "None" if point_grids is None else "given"
            raise ValueError(f"points_per_side and point_grids are both {both}; expected one of them")
        if point_grids is not None:
            shapes = [tuple(one.shape) for one in point_grids]
            fit = all(len(one) == 2 and one[0] > 0 and one[1] == 2 for one in shapes)
            if not fit or len(shapes) <= self.crop_n_layers:
                raise ValueError(
                    f"point_grids is {shapes}; expected (P, 2) for each of {self.crop_n_layers + 1} layers"
                )


def overlapping_crops(size: tuple[int, int], n_layers: int, overlap_ratio: float) -> list[tuple[int, Crop]]:
    """The whole picture, then 2 × 2 crops, 4 × 4 crops, and so on, each with its layer: 0, 1, 2 ...

    Neighbours in layer i overlap by the share `overlap_ratio` · 2 / 2^i of the picture's shorter side.

    Args:
        size: (height, width). n_layers: of crops; 0: the picture alone.

    Raises:
        ValueError: the picture is too small for so many crops.
    """
    height, width = size
    crops = [(0, (0, 0, width, height))]
    for layer in range(1, n_layers + 1):
        n = 2**layer
        overlap = int(overlap_ratio * min(size) * (2 / n))
        w, h = (math.ceil((overlap * (n - 1) + side) / n) for side in (width, height))
        for column, row in product(range(n), range(n)):
            left, top = column * (w - overlap), row * (h - overlap)
            if left >= width or top >= height:
                raise ValueError(f"size is {size}; too small for {n} × {n} crops that overlap by {overlap}")
            crops.append((layer, (left, top, min(left + w, width), min(top + h, height))))
    return crops


def in_picture(found: FoundMasks, crop: Crop, size: tuple[int, int]) -> FoundMasks:
    """What was found in a crop, moved to where it lies in the picture of (height, width)."""
    left, top, right, bottom = crop
    shift = found.boxes.new_tensor([left, top, left, top])
    masks = F.pad(found.masks, (left, size[1] - right, top, size[0] - bottom))  # (N, H, W)
    boxes, crop_boxes = found.boxes + shift, found.crop_boxes + shift
    return found._replace(masks=masks, boxes=boxes, point_coords=found.point_coords + shift[:2], crop_boxes=crop_boxes)


def together(several: Sequence[FoundMasks]) -> FoundMasks:
    """Masks of several batches or crops of one picture, one after another."""
    return FoundMasks(*(torch.cat(field) for field in zip(*several)))


def _boxes(masks: Tensor) -> Tensor:
    """`masks_to_boxes`, and (0, 0, 0, 0) for a mask without a pixel: (N, H, W) -> (N, 4)."""
    boxes, some = masks.new_zeros(len(masks), 4, dtype=torch.float32), masks.flatten(1).any(1)  # (N, 4), (N,)
    boxes[some] = masks_to_boxes(masks[some])
    return boxes
