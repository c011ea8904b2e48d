"""Checkers of lesson 00, start here: one small exercise to meet `check`, `hint` and `use`."""

import torch
from torch import Tensor

from lib.exercises.exercise import Case, Exercise, Mistake


def count_pixels(image: Tensor) -> int:
    """How many pixels an image has. `image` is (C, H, W); the answer is H × W, whatever the number of channels."""
    _, height, width = image.shape
    return height * width


def _cases() -> list[Case]:
    # The truth is worked by hand.
    return [
        Case("a colour picture, 2 high and 5 wide", (torch.arange(30.0).reshape(3, 2, 5) / 30,), 10),
        Case("one channel (grey), 4 high and 5 wide", (torch.ones(1, 4, 5),), 20),
        Case("a square picture, all black", (torch.zeros(3, 7, 7),), 49),
        Case("seven channels, a single row of 9", (torch.full((7, 1, 9), 0.5),), 9),
        Case("an empty picture, 0 wide", (torch.zeros(3, 4, 0),), 0),
    ]


def _channels_by_side(case: Case) -> list[int]:
    channels, height, width = case.arguments[0].shape
    return [channels * height, channels * width]


EXERCISES = [
    Exercise(
        name="count_pixels",
        lesson="00_start_here",
        summary="Count the pixels of an image",
        minutes=2,
        difficulty=1,
        reference=count_pixels,
        cases=_cases,
        mistakes=[
            Mistake(
                "counted the channels too",
                "A pixel is one place in the picture. Red, green and blue are three numbers of the same pixel, "
                "so a colour picture does not have three times as many.",
                wrong=lambda image: image.numel(),
            ),
            Mistake(
                "height plus width",
                "Height and width were added. Draw 2 rows of 3 squares and count them.",
                wrong=lambda image: image.shape[1] + image.shape[2],
            ),
            Mistake(
                "channels taken for a side",
                "The shape is (channels, height, width). You multiplied the channels with one of the two sides: "
                "print `image.shape` and look at which number is which.",
                when=lambda got, expected, case: got in _channels_by_side(case),
            ),
            Mistake(
                "one side squared",
                "You multiplied one side with itself. Not every picture is square.",
                when=lambda got, expected, case: got in [side**2 for side in case.arguments[0].shape[1:]],
            ),
            Mistake(
                "counted the channels only",
                "`len(image)` is the length of the first axis alone, and that is the channels.",
                wrong=len,
            ),
            Mistake(
                "only one side",
                "This is how many pixels are in one row, or in one column. How many rows are there?",
                when=lambda got, expected, case: got in list(case.arguments[0].shape[1:]),
            ),
            Mistake(
                "counted the bright pixels",
                "You looked at what the pixels hold. A black pixel is a pixel, too: only the shape matters here.",
                wrong=lambda image: int((image > 0).any(dim=0).sum()),
            ),
        ],
        hints=[
            "Print `image.shape` for the picture above. What does each of the three numbers mean?",
            "A picture 2 high and 5 wide has 2 rows of 5 pixels. The number of channels does not matter.",
            "`a, b, c = image.shape` gives the three numbers names of their own. Which two do you need?",
        ],
    ),
]
