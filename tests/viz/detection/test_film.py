import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from lib.viz.detection.boxes import class_colour
from lib.viz.detection.film import film_detections

FRAMES = [torch.full((3, 32, 48), 0.5)] * 2
BOX = torch.tensor([[10.0, 14.0, 30.0, 28.0]])


def answer(score):
    return {"boxes": BOX, "scores": torch.tensor([score]), "labels": torch.tensor([2])}


def test_sure_boxes_are_drawn_in_the_colour_of_their_class_and_unsure_ones_are_not():
    film = film_detections(FRAMES, [answer(0.9), answer(0.3)], scale=3, per_second=4)
    sure, unsure = film.frames
    assert sure.shape == (96, 144, 3) and film.per_second == 4
    colour = np.round(np.array(to_rgb(class_colour(2))) * 255)
    np.testing.assert_array_equal(sure[60, 30], colour)  # the left side of the box, x = 10
    assert (unsure == unsure[0, 0]).all()


def test_as_many_answers_as_frames():
    with pytest.raises(ValueError, match="^answers"):
        film_detections(FRAMES, [answer(0.9)])
