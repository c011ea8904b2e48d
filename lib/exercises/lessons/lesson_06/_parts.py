"""Regions by hand for the exercises about selective search."""

import torch

from lib.ops.selective_search import Region


def made_region(size: int, box: tuple[int, int, int, int], seed: int, bins: int = 4) -> Region:
    draw = torch.Generator().manual_seed(seed)
    colour, texture = torch.rand(2, bins, generator=draw)
    return Region(size, box, colour / colour.sum(), texture / texture.sum())


def pairs() -> list[tuple[str, Region, Region, int]]:
    return [
        (
            "away from the corner of the picture",
            made_region(7, (5, 3, 9, 6), 8),
            made_region(4, (11, 9, 14, 12), 9),
            400,
        ),
        ("two squares side by side", made_region(4, (0, 0, 2, 2), 0), made_region(4, (2, 0, 4, 2), 1), 100),
        ("a small one inside a large one", made_region(60, (0, 0, 10, 10), 2), made_region(6, (3, 4, 6, 6), 3), 400),
        ("far apart at a slant", made_region(5, (10, 0, 13, 2), 4), made_region(9, (0, 20, 3, 24), 5), 600),
        ("all but the whole picture", made_region(30, (0, 0, 6, 8), 6), made_region(18, (0, 0, 8, 6), 7), 64),
    ]
