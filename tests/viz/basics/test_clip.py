"""A film: its frames come out again, and readers on paper see four of them."""

import base64
import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from lib.viz.basics.clip import Clip


def frames(count, side=24):
    """Grey frames with a white square that walks to the right."""
    pictures = np.full((count, side, side, 3), 90, np.uint8)
    for number, picture in enumerate(pictures):
        picture[4:8, 2 * number : 2 * number + 4] = 255
    return list(pictures)


def test_the_film_holds_the_frames_in_their_order_and_never_ends():
    wanted = frames(7)
    film = Image.open(io.BytesIO(Clip(wanted, per_second=5).gif()))
    assert film.info["duration"] == 200 and film.info["loop"] == 0
    shown = [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(film)]
    assert len(shown) == 7
    for got, frame in zip(shown, wanted):
        np.testing.assert_array_equal(got, frame)


def test_four_frames_stand_in_for_it_on_paper():
    wanted = frames(7)
    stills = Clip(wanted).stills()
    assert stills.shape == (24, 4 * 24 + 3 * 6, 3)
    for place, number in enumerate((0, 2, 4, 6)):
        np.testing.assert_array_equal(stills[:, place * 30 : place * 30 + 24], wanted[number])


def test_a_notebook_gets_film_picture_and_words():
    bundle = Clip(frames(3))._repr_mimebundle_()
    assert "3 frames of 24 × 24 pixels, 8 a second" in bundle["text/plain"]
    film = bundle["text/html"].split("base64,")[1].split('"')[0]
    assert base64.b64decode(film).startswith(b"GIF89a")
    assert Image.open(io.BytesIO(base64.b64decode(bundle["image/png"]))).size == (3 * 24 + 2 * 6, 24)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (([],), "frames"),
        ((frames(2) + frames(1, 20),), "frames"),
        (([np.zeros((4, 4, 3))],), "frames"),
        ((frames(2), 0), "per_second"),
    ],
)
def test_bad_input_is_named(arguments, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        Clip(*arguments)
