"""What happens to pictures before the backbone of a detector sees them, and to its boxes afterwards (lessons 07, 08).

Pictures of any size are normalised, brought to a common scale and padded to one batch; boxes go with them, and come
back. Named and computed as in torchvision. Sources: Girshick 2015, "Fast R-CNN", section 5.2 (shortest side 600);
Ren et al. 2015, "Faster R-CNN", section 3.3; torchvision's 800 and 1333 are those of Lin et al. 2017.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.ops.checks import check_tensor


class ImageList(NamedTuple):
    """A batch of pictures of different sizes."""

    tensors: Tensor  # (B, 3, H, W), padded at the right and at the bottom with zeros
    image_sizes: list[tuple[int, int]]  # (height, width) of each picture in it, without the padding
    original_sizes: list[tuple[int, int]]  # (height, width) of each picture as it came


class GeneralizedRCNNTransform(nn.Module):
    """Normalise, resize, pad.

    Args:
        min_size: the shorter side of a picture becomes this many pixels. None: pictures keep their size.
        max_size: unless the longer side would become more than this; then it becomes this.
        image_mean, image_std: of each channel; it is moved and scaled to mean 0 and deviation 1.
        size_divisible: sides of the batch are padded to multiples of this.
    """

    def __init__(
        self,
        min_size: int | None,
        max_size: int,
        image_mean: tuple[float, ...],
        image_std: tuple[float, ...],
        size_divisible: int = 32,
    ):
        super().__init__()
        self.min_size, self.max_size, self.size_divisible = min_size, max_size, size_divisible
        self.image_mean, self.image_std = image_mean, image_std

    def forward(self, images: Tensor | list[Tensor]) -> ImageList:
        """Pictures (B, 3, H, W), or a list of (3, H, W) of different sizes, 0..1, into one batch.

        Raises:
            ValueError: a picture is something else, or there is none.
        """
        if len(images) == 0:
            raise ValueError("images is empty; expected at least one picture")
        for number, image in enumerate(images):
            check_tensor(f"images[{number}]", image, "(3, H, W)")
            if image.ndim != 3 or image.shape[0] != 3 or 0 in image.shape or not image.is_floating_point():
                raise ValueError(f"images has a picture {tuple(image.shape)} {image.dtype}; expected (3, H, W) floats")
        resized = [self.resize(self.normalize(image)) for image in images]  # (3, h, w) each
        sizes = [(image.shape[1], image.shape[2]) for image in resized]
        step = self.size_divisible
        height, width = (-(-max(sides) // step) * step for sides in zip(*sizes, strict=True))  # rounded up
        padded = [F.pad(image, (0, width - w, 0, height - h)) for image, (h, w) in zip(resized, sizes, strict=True)]
        return ImageList(torch.stack(padded), sizes, [(image.shape[1], image.shape[2]) for image in images])

    def normalize(self, image: Tensor) -> Tensor:
        """(3, H, W) -> (3, H, W): each channel minus its mean, divided by its deviation."""
        mean, std = image.new_tensor(self.image_mean), image.new_tensor(self.image_std)
        return (image - mean[:, None, None]) / std[:, None, None]

    def resize(self, image: Tensor) -> Tensor:
        """(3, H, W) -> (3, h, w): the aspect stays, up to rounding down to whole pixels."""
        if self.min_size is None:
            return image
        shorter, longer = sorted(image.shape[1:])
        scale = min(self.min_size / shorter, self.max_size / longer)
        return F.interpolate(
            image[None], scale_factor=scale, mode="bilinear", align_corners=False, recompute_scale_factor=True
        )[0]

    def resize_targets(self, targets: list[dict[str, Tensor]], images: ImageList) -> list[dict[str, Tensor]]:
        """The truth for pictures as they came -> for those in the batch: "boxes", "proposals" and "masks" are moved."""
        moved = []
        for target, old, new in zip(targets, images.original_sizes, images.image_sizes, strict=True):
            boxes = {name: target[name] for name in ("boxes", "proposals") if name in target}
            masks = {"masks": resize_masks(target["masks"], new)} if "masks" in target else {}
            moved.append(target | masks | {name: resize_boxes(one, old, new) for name, one in boxes.items()})
        return moved

    def postprocess(self, predictions: list[dict[str, Tensor]], images: ImageList) -> list[dict[str, Tensor]]:
        """Predictions for the pictures in the batch -> for the pictures as they came."""
        return [
            prediction | {"boxes": resize_boxes(prediction["boxes"], new, old)}
            for prediction, new, old in zip(predictions, images.image_sizes, images.original_sizes, strict=True)
        ]


def padding_mask(images: ImageList) -> Tensor:
    """Where a batch holds no picture: (B, H, W) bool, True = padding. Attention must know (lesson 14)."""
    mask = torch.ones(len(images.tensors), *images.tensors.shape[2:], dtype=torch.bool, device=images.tensors.device)
    for one, (height, width) in zip(mask, images.image_sizes, strict=True):
        one[:height, :width] = False
    return mask


def resize_boxes(boxes: Tensor, old_size: tuple[int, int], new_size: tuple[int, int]) -> Tensor:
    """Boxes (N, 4) xyxy on a picture of (height, width) `old_size` -> on the same picture resized to `new_size`."""
    rows, columns = (boxes.new_tensor(new) / boxes.new_tensor(old) for new, old in zip(new_size, old_size, strict=True))
    return boxes * torch.stack([columns, rows, columns, rows])


def resize_masks(masks: Tensor, new_size: tuple[int, int]) -> Tensor:
    """Masks (N, H, W) -> (N, *new_size), each pixel as the one that lies nearest was."""
    if tuple(masks.shape[1:]) == tuple(new_size):
        return masks
    return F.interpolate(masks[:, None].float(), new_size, mode="nearest")[:, 0].to(masks.dtype)
