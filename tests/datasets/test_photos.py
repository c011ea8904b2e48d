import pytest
import torch

from lib.datasets.photos import PHOTOS, crop_square, load_photo, photo_boxes, resize_photo


@pytest.mark.parametrize("name", PHOTOS)
def test_photos_are_colour_floats(name):
    photo = load_photo(name)
    assert photo.ndim == 3 and photo.shape[0] == 3 and photo.dtype == torch.float32
    assert 0 <= photo.min() < 0.2 and 0.8 < photo.max() <= 1
    assert not torch.equal(photo[0], photo[2]), "red and blue are the same: this is a grey picture"


@pytest.mark.parametrize("name", PHOTOS)
def test_hand_drawn_boxes_lie_on_their_photo(name):
    names, boxes = photo_boxes(name)
    height, width = load_photo(name).shape[1:]
    assert boxes.shape == (len(names), 4) and len(set(names)) == len(names) >= 4
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= torch.tensor([width, height])).all()
    assert (boxes[:, 2:] - boxes[:, :2] >= 15).all()


def test_the_helmet_is_where_its_box_says():
    names, boxes = photo_boxes("astronaut")
    x1, y1, x2, y2 = boxes[names.index("helmet")].int().tolist()
    photo = load_photo("astronaut")
    assert photo[:, y1:y2, x1:x2].mean() < 0.7 * photo.mean(), "it is black, and most of the photo is not"


def test_resize_keeps_a_flat_colour_and_the_range():
    flat = torch.full((3, 30, 50), 0.25)
    torch.testing.assert_close(resize_photo(flat, 17, 90), torch.full((3, 17, 90), 0.25))
    small = resize_photo(load_photo("chelsea"), 32, 48)
    assert small.shape == (3, 32, 48) and 0 <= small.min() and small.max() <= 1


def test_crop_square_takes_the_middle():
    wide = torch.zeros(3, 4, 10)
    wide[:, :, 3:7] = 1
    assert torch.equal(crop_square(wide), torch.ones(3, 4, 4))
    assert torch.equal(crop_square(wide.movedim(1, 2)), torch.ones(3, 4, 4))
    assert crop_square(wide, 8).shape == (3, 8, 8)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: load_photo("dog"), "name"),
        (lambda: photo_boxes("dog"), "name"),
        (lambda: resize_photo(torch.zeros(4, 4), 2, 2), "photo"),
        (lambda: resize_photo(torch.zeros(3, 4, 4, dtype=torch.uint8), 2, 2), "photo"),
        (lambda: resize_photo(torch.zeros(3, 4, 4), 0, 2), "height"),
        (lambda: resize_photo(torch.zeros(3, 4, 4), 2, 2.5), "width"),
        (lambda: crop_square("cat"), "photo"),
        (lambda: crop_square(torch.zeros(3, 0, 4)), "photo"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
