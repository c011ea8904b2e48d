"""Count the pixels of an image."""

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, mistake
from lib.exercises.engine.kinds import Kind


def count_pixels(image: Tensor) -> int:
    """How many pixels an image has. `image` is (C, H, W); the answer is H × W, whatever the number of channels."""
    _, height, width = image.shape
    return height * width


def cases() -> list[Case]:
    # The truth is worked by hand.
    return [
        Case("a colour picture, 2 high and 5 wide", (torch.arange(30.0).reshape(3, 2, 5) / 30,), 10),
        Case("one channel (grey), 4 high and 7 wide", (torch.ones(1, 4, 7),), 28),
        Case("a square picture, all black", (torch.zeros(3, 6, 6),), 36),
        Case("seven channels, a single row of 9", (torch.full((7, 1, 9), 0.5),), 9),
    ]


@mistake(
    "counted the channels too",
    "A pixel is one place in the picture. Red, green and blue are three numbers of the same pixel, so a colour picture "
    "does not have three times as many.",
)
def all_numbers(image):
    return image.numel()


@mistake("height plus width", "Height and width were added. Draw 2 rows of 3 squares and count them.")
def sides_added(image):
    return image.shape[1] + image.shape[2]


SIDE = (
    "The shape is (channels, height, width). You multiplied the channels with one of the two sides: print "
    "`image.shape` and look at which number is which."
)


@mistake("channels times height", SIDE)
def channels_by_height(image):
    return image.shape[0] * image.shape[1]


@mistake("channels times width", SIDE)
def channels_by_width(image):
    return image.shape[0] * image.shape[2]


@mistake("height squared", "You multiplied the height with itself. Not every picture is square.")
def height_squared(image):
    return image.shape[1] ** 2


@mistake("width squared", "You multiplied the width with itself. Not every picture is square.")
def width_squared(image):
    return image.shape[2] ** 2


@mistake("counted the channels only", "`len(image)` is the length of the first axis alone, and that is the channels.")
def channels(image):
    return len(image)


@mistake("only the height", "This is how many rows there are. How many pixels are in each?")
def height(image):
    return image.shape[1]


@mistake("only the width", "This is how many pixels are in one row. How many rows are there?")
def width(image):
    return image.shape[2]


@mistake(
    "counted the bright pixels",
    "You looked at what the pixels hold. A black pixel is a pixel, too: only the shape matters here.",
)
def bright(image):
    return int((image > 0).any(dim=0).sum())


@mistake("always divided by 3", "You divided by 3. A picture may have one channel, or seven.")
def a_third(image):
    return image.numel() // 3


@mistake(
    "one row and one column missing", "You multiplied height − 1 with width − 1. Count the squares of a 2 × 3 sheet."
)
def one_row_and_column_less(image):
    return (image.shape[1] - 1) * (image.shape[2] - 1)


EXERCISE = Exercise(
    name="count_pixels",
    reference=count_pixels,
    cases=cases,
    takes={"image": Kind.MAP},
    gives=Kind.COUNT,
    mistakes=[
        all_numbers,
        sides_added,
        channels_by_height,
        channels_by_width,
        height_squared,
        width_squared,
        channels,
        height,
        width,
        bright,
        a_third,
        one_row_and_column_less,
    ],
)
