"""Moving pixels about."""

import torch


def shuffle_pixels(images: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    """Move every pixel to a new place: the same rearrangement for every picture and every colour channel.

    Args:
        images: (B, C, H, W).
        order: (H·W,) whole numbers, each of 0..H·W-1 once. New pixel number i (counted row by row) is old pixel
            number `order[i]`.

    Returns:
        (B, C, H, W), the rearranged pictures; `images` stays as it was.

    Raises:
        ValueError: `images` is not (B, C, H, W), or `order` is not a rearrangement of its H·W pixels.
    """
    if images.ndim != 4:
        raise ValueError(f"images is {tuple(images.shape)}; expected (B, C, H, W)")
    pixels = images.shape[2] * images.shape[3]
    if order.shape != (pixels,) or not torch.equal(order.sort().values.cpu(), torch.arange(pixels)):
        raise ValueError(f"order is {tuple(order.shape)}; expected each of 0..{pixels - 1} once, shape ({pixels},)")
    flat = images.flatten(start_dim=2)  # (B, C, H·W)
    return flat[:, :, order.long()].view_as(images)  # (B, C, H, W)
