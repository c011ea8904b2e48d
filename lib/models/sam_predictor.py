"""SAM as one uses it: set a picture once, then ask as often as you like, in its own pixels (lesson 17).

Called as the predictor of facebookresearch/segment-anything, with tensors in place of arrays. Source: Kirillov et al.
2023, "Segment Anything".
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.models.sam import Sam, SamOutput


class SamPredictor:
    """Set a picture once, then ask as often as you like, in its own pixels.

    Args:
        model: in eval mode.

    Attributes:
        features: the encoded picture (1, D, h, w).
        original_size, input_size: H, W of the picture as it came, and as the encoder saw it, without padding.
    """

    def __init__(self, model: Sam):
        self.model = model
        self.features: Tensor | None = None
        self.original_size = self.input_size = (0, 0)

    @torch.no_grad()
    def set_image(self, image: Tensor) -> None:
        """Encode (3, H, W), 0..1, of any size: its longer side is brought to the encoder's.

        Raises:
            ValueError: it is no such picture.
        """
        check_image(image)
        self.original_size = (image.shape[1], image.shape[2])
        scale = self.model.image_encoder.img_size / max(self.original_size)
        self.input_size = (int(image.shape[1] * scale + 0.5), int(image.shape[2] * scale + 0.5))
        small = F.interpolate(
            image[None].to(self.model.pixel_mean), self.input_size, mode="bilinear", align_corners=False, antialias=True
        )
        self.features = self.model.encode(small)

    @torch.no_grad()
    def predict(
        self,
        point_coords: Tensor | None = None,
        point_labels: Tensor | None = None,
        box: Tensor | None = None,
        mask_input: Tensor | None = None,
        phrase: str | None = None,
        multimask_output: bool = True,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Ask with one prompt.

        Args:
            point_coords: (N, 2), x and y in pixels of the picture as it came. point_labels: (N,), 1 foreground, 0 not.
            box: (4,) xyxy.
            mask_input: (1, 4h, 4w) logits, such as the third of what an earlier call returned.
            phrase: words that the model knows.
            multimask_output: three masks or one.

        Returns:
            Masks (M, H, W) bool, guesses of their IoU (M,), and small logits (M, 4h, 4w).

        Raises:
            RuntimeError: no picture was set. ValueError: a shape does not fit, or as for `Sam`.
        """
        if self.features is None:
            raise RuntimeError("no picture is set; call set_image first")
        self._check(point_coords, point_labels, box, mask_input, phrase)
        on = self.features.device
        points = None if point_coords is None else self.to_input(point_coords)[None].to(on)  # (1, N, 2)
        labels = None if point_labels is None else point_labels[None].to(on)  # (1, N)
        boxes = None if box is None else self.to_input(box.view(2, 2)).view(1, 4).to(on)
        masks = None if mask_input is None else mask_input[None].to(on)  # (1, 1, 4h, 4w)
        phrases = None if phrase is None else [phrase]
        every = self.model(self.features, points, labels, boxes, masks, phrases)
        output = every.several() if multimask_output else every.single()
        return self.to_original(output.masks)[0] > 0, output.ious[0], output.masks[0]

    @torch.no_grad()
    def predict_points(self, points: Tensor) -> SamOutput:
        """Ask with many prompts at once, each a single click on foreground.

        Args:
            points: (P, 2), x and y in pixels of the picture as it came.

        Returns:
            Three masks for each, (P, 3, H, W) logits at the picture's size, and guesses of their IoU (P, 3).

        Raises:
            RuntimeError: no picture was set. ValueError: the shape does not fit.
        """
        if self.features is None:
            raise RuntimeError("no picture is set; call set_image first")
        if points.ndim != 2 or points.shape[1] != 2:
            raise ValueError(f"points is {tuple(points.shape)}; expected (P, 2)")
        clicks = self.to_input(points)[:, None].to(self.features.device)  # (P, 1, 2)
        output = self.model(self.features, clicks, clicks.new_ones(len(clicks), 1)).several()
        return SamOutput(self.to_original(output.masks), output.ious)

    def _check(
        self,
        point_coords: Tensor | None,
        point_labels: Tensor | None,
        box: Tensor | None,
        mask_input: Tensor | None,
        phrase: str | None,
    ) -> None:
        if point_coords is not None and (point_coords.ndim != 2 or point_coords.shape[1] != 2):
            raise ValueError(f"point_coords is {tuple(point_coords.shape)}; expected (N, 2)")
        wanted, came = (
            None if one is None else tuple(one.shape[:length]) for one, length in ((point_coords, 1), (point_labels, 9))
        )
        if wanted != came:
            raise ValueError(f"point_labels is {came}; expected {wanted}, one for each of point_coords")
        if box is not None and box.shape != (4,):
            raise ValueError(f"box is {tuple(box.shape)}; expected (4,)")
        small = (1, *self.model.prompt_encoder.mask_input_size)
        if mask_input is not None and mask_input.shape != small:
            raise ValueError(f"mask_input is {tuple(mask_input.shape)}; expected {small}")
        if phrase is not None and self.model.phrase_encoder is None:
            raise ValueError("phrase is given; expected None: this model has no phrase_encoder")

    def to_input(self, points: Tensor) -> Tensor:
        """Points (..., 2) of the picture as it came -> in pixels of the encoder's."""
        (height, width), (new_height, new_width) = self.original_size, self.input_size
        return points * points.new_tensor([new_width / width, new_height / height], dtype=torch.float32)

    def to_original(self, masks: Tensor) -> Tensor:
        """Logits (P, M, 4h, 4w) -> (P, M, H, W) of the picture as it came, without padding."""
        size = self.model.image_encoder.img_size
        masks = F.interpolate(masks, (size, size), mode="bilinear", align_corners=False)
        masks = masks[..., : self.input_size[0], : self.input_size[1]]
        return F.interpolate(masks, self.original_size, mode="bilinear", align_corners=False)


def check_image(image: Tensor) -> None:
    """Raise ValueError unless it is a picture: (3, H, W) floats, with at least a pixel."""
    if image.ndim != 3 or image.shape[0] != 3 or not image.numel() or not image.is_floating_point():
        raise ValueError(f"image is {tuple(image.shape)} {image.dtype}; expected (3, H, W) floats, 0..1")
