"""Answers to the exercise of lesson 00 as others write them."""


def by_names(image):
    channels, height, width = image.shape
    return height * width


def of_one_channel(image):
    return image[0].numel()


def one_more(image):
    return image.shape[1] * image.shape[2] + 1


def as_float(image):
    return image.numel() / image.shape[0]


def as_pair(image):
    return image.shape[1], image.shape[2]


WRONG = {
    "count_pixels": [("one too many", one_more), ("a float instead of an int", as_float), ("wrong type", as_pair)],
}

RIGHT = {"count_pixels": [by_names, of_one_channel]}
