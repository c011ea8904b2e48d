"""Answers to the exercises of lesson 00 as learners might write them: the wrong ones by the mistake they make."""

import math

import torch


def every_number(image):
    total = 1
    for length in image.shape:
        total = total * length
    return total


def sides_added(image):
    _, height, width = image.shape
    return height + width


def first_two_axes(image):
    height, width = image.shape[:2]
    return height * width


def one_row(image):
    return len(image[0][0]) if image.shape[1] else 0


def not_black(image):
    return int(torch.count_nonzero(image.sum(dim=0)))


def square_only(image):
    return image.shape[-1] ** 2


def outer_length(image):
    return image.shape[0]


def as_tensor(image):
    return torch.tensor(image.shape[1:]).prod()


def mean_over_channels(image):
    return image.numel() / image.shape[0]


def printed(image):
    print(image.shape[1] * image.shape[2])


def painted(image):
    image.fill_(1.0)
    return int(image[0].sum())


WRONG = {
    "count_pixels": [
        ("counted the channels too", every_number),
        ("height plus width", sides_added),
        ("channels taken for a side", first_two_axes),
        ("only one side", one_row),
        ("counted the bright pixels", not_black),
        ("one side squared", square_only),
        ("counted the channels only", outer_length),
        ("a tensor instead of a number", as_tensor),
        ("a float instead of an int", mean_over_channels),
        ("nothing returned", printed),
        ("input changed in place", painted),
    ],
}


def by_shape(image):
    return math.prod(image.shape[1:])


def one_channel(image):
    return image[0].numel()


def counted(image):
    return sum(1 for row in image[0] for _ in row)


RIGHT = {"count_pixels": [by_shape, one_channel, counted]}
