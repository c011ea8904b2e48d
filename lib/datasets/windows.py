"""Small square windows cut from toyworld pictures, each labelled by what lies under its middle.

This is how segmentation was done before fully convolutional networks: classify one window around every pixel
(Ciresan et al. 2012, "Deep Neural Networks Segment Neuronal Membranes in Electron Microscopy Images").
"""

import torch

from lib.datasets.toyworld import Sample


def cut_windows(samples: list[Sample], size: int, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` windows, as many of each class as of every other, from random places that have room for one.

    Args:
        samples: the pictures to cut from; together they must show every class.
        size: height and width of a window in pixels, even.
        count: how many windows.
        seed: the same seed gives the same windows.

    Returns:
        windows: (count, 3, size, size) floats in 0..1.
        labels: (count,) whole numbers; 0 for sky or ground, otherwise the class of the object at the window's middle
            (row and column size / 2).

    Raises:
        ValueError: `samples` is empty, smaller than a window or lacks a class, `size` is odd, or `count` is below 1.
    """
    if not samples:
        raise ValueError("samples is empty; expected at least one toyworld sample")
    if size < 2 or size % 2:
        raise ValueError(f"size is {size}; expected a positive even number of pixels")
    if count < 1:
        raise ValueError(f"count is {count}; expected 1 or more")
    if min(samples[0].image.shape[1:]) < size:
        raise ValueError(f"samples are {tuple(samples[0].image.shape[1:])}; expected at least {size} pixels a side")
    classes = torch.stack([class_map(sample) for sample in samples])  # (S, H, W)
    half = size // 2
    middles = classes[:, half : classes.shape[1] - half + 1, half : classes.shape[2] - half + 1]
    generator = torch.Generator().manual_seed(seed)
    places = []
    for label in range(int(classes.max()) + 1):
        candidates = (middles == label).nonzero()  # (P, 3): sample, top row, left column
        if len(candidates) == 0:
            raise ValueError(f"samples show no place of class {label}; expected every class")
        share = count // (int(classes.max()) + 1) + (label < count % (int(classes.max()) + 1))
        places.append(candidates[torch.randint(len(candidates), (share,), generator=generator)])
    places = torch.cat(places)[torch.randperm(count, generator=generator)]
    windows = torch.stack([samples[s].image[:, y : y + size, x : x + size] for s, y, x in places.tolist()])
    labels = classes[places[:, 0], places[:, 1] + half, places[:, 2] + half]
    return windows, labels


def class_map(sample: Sample) -> torch.Tensor:
    """The class at every pixel: 0 for sky and ground, otherwise the label of the object seen there. (H, W)."""
    with_background = torch.cat([torch.zeros(1, dtype=sample.labels.dtype), sample.labels])
    return with_background[sample.instance]  # (H, W) object numbers -> (H, W) classes
