import pytest
import torch

from lib.datasets.photos import PHOTOS, crop_square, load_photo, resize_photo


@pytest.mark.parametrize("name", PHOTOS)
def test_photos_are_colour_floats(name):
    photo = load_photo(name)
    assert photo.ndim == 3 and photo.shape[0] == 3 and photo.dtype == torch.float32
    assert 0 <= photo.min() < 0.2 and 0.8 < photo.max() <= 1
    assert not torch.equal(photo[0], photo[2]), "red and blue are the same: this is a grey picture"


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


@pytest.mark.parametrize("call, named", [
    (lambda: load_photo("dog"), "name"),
    (lambda: resize_photo(torch.zeros(4, 4), 2, 2), "photo"),
    (lambda: resize_photo(torch.zeros(3, 4, 4, dtype=torch.uint8), 2, 2), "photo"),
    (lambda: resize_photo(torch.zeros(3, 4, 4), 0, 2), "height"),
    (lambda: resize_photo(torch.zeros(3, 4, 4), 2, 2.5), "width"),
    (lambda: crop_square("cat"), "photo"),
    (lambda: crop_square(torch.zeros(3, 0, 4)), "photo"),
])
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
