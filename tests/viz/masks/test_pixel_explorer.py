"""The explorer of pixels shows who wants a pixel and which are like it, whichever hand moved it."""

import base64

import matplotlib
import numpy as np
import pytest
import torch

from lib.viz.masks.pixel_explorer import MARK, explore_pixels

NAMES, COLOURS = ("sky", "cone"), ((0.6, 0.8, 0.9), (0.3, 0.4, 0.8))
IMAGE = torch.full((3, 32, 64), 0.5)
CLASSES = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
MASKS = torch.randn(8, 16, 32, generator=torch.Generator().manual_seed(1)) * 2
EMBED = torch.randn(5, 4, 8, generator=torch.Generator().manual_seed(2)) + 3


def explorer(image=IMAGE, embed=EMBED, classes=CLASSES, masks=MASKS, names=NAMES, colours=COLOURS, **changes):
    return explore_pixels(image, embed, classes, masks, names, colours, **changes)


def marked(widget, part: int) -> tuple[float, ...]:
    """Corner and size of the frame on the photo (0) or on the map (1)."""
    frame = next(
        patch
        for patch in widget.figure().axes[part].patches
        if matplotlib.colors.to_hex(patch.get_edgecolor()) == MARK.lower()
    )
    return (*frame.get_xy(), frame.get_width(), frame.get_height())


def point(widget, part: int, across: float, down: float) -> None:
    """Click a place, in 0..1, of one of the axes: 0 is the photo, 1 the map of like pixels, 3 the bars."""
    box = widget.figure().axes[part].get_position(original=True)
    where = [box.x0 + across * box.width, 1 - box.y1 + down * box.height, False]
    widget._picture._handle_custom_msg({"what": "point", "where": where}, [])


def test_six_queries_want_a_pixel_the_largest_product_first():
    widget = explorer(pixel=(9, 63))
    says, here = CLASSES.softmax(1)[:, :2].amax(1), MASKS[:, 4, 31].sigmoid()
    wants = widget.wants()
    assert [query for query, *_ in wants] == (says * here).argsort(descending=True)[:6].tolist()
    for query, *numbers in wants:
        expected = [float(says[query]), float(here[query]), float(says[query] * here[query])]
        assert numbers == pytest.approx(expected)
    bars = widget.figure().axes[3]
    widths = [bar.get_width() for bar in bars.patches]
    assert widths == pytest.approx([number for _, *numbers in wants for number in numbers])
    kind = NAMES[int(CLASSES[wants[0][0], :2].argmax())]
    assert bars.get_yticklabels()[0].get_text() == f"{wants[0][0]}: {kind}"
    assert f"wanted most by {wants[0][0]}: {kind}" in repr(widget)


def test_like_pixels_have_a_large_cosine_without_the_mean():
    widget = explorer(pixel=(31, 8))
    centred = EMBED - EMBED.mean((1, 2), keepdim=True)
    products = (centred[:, 3, 1, None, None] * centred).sum(0)
    expected = products / (centred.norm(dim=0) * centred[:, 3, 1].norm())
    shown = widget.figure().axes[1].images[0]
    assert np.allclose(shown.get_array(), expected, atol=1e-5) and shown.get_clim() == (-1, 1)
    assert widget.like()[3, 1] == pytest.approx(1)
    assert torch.equal(widget.like() > 0, products > 0), "the same mask as that of the inner products"
    assert marked(widget, 0) == marked(widget, 1) == (8, 24, 8, 8)
    assert f"like {(expected > 0.5).float().mean():.0%} of the picture" in widget.words()


def test_a_mask_that_is_nowhere_and_few_queries_are_shown_too():
    widget = explorer(classes=CLASSES[:2], masks=MASKS[:2] * 0 - 99, embed=EMBED * 0)
    assert len(widget.wants()) == 2 and widget.wants()[0][3] < 1e-6
    assert len(widget.figure().axes[3].patches) == 6 and "like 0% of the picture" in widget.words()


def test_clicks_on_both_pictures_and_arrow_keys_move_the_pixel():
    widget = explorer()
    assert widget.pixel == (16, 32)
    point(widget, 0, 0.99, 0.01)
    assert widget.pixel == (0, 63)
    point(widget, 1, 0.51, 0.51)
    assert widget.pixel == (16, 32)
    before = widget._picture.value
    point(widget, 3, 0.5, 0.5)
    assert widget.pixel == (16, 32) and widget._picture.value == before
    said = []
    widget._picture.send = said.append
    for step, pixel in (([0, -1], (16, 24)), ([5, 0], (31, 24)), ([0, -5], (31, 0)), ([-1, 0], (23, 0))):
        widget._picture._handle_custom_msg({"what": "step", "where": step}, [])
        assert widget.pixel == pixel
    assert said == [{"answered": True}] * 4 and widget._picture.words == widget.words()


def test_readers_without_a_kernel_get_the_picture_and_the_text():
    widget = explorer()
    bundle = widget._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/plain"] == f"PixelExplorer: {widget._picture.words}" == repr(widget)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"image": IMAGE[0]}, "image"),
        ({"embed": EMBED[None]}, "pixel_embed"),
        ({"classes": CLASSES[:, :2]}, "class_logits"),
        ({"masks": MASKS[:3]}, "mask_logits"),
        ({"colours": COLOURS[:1]}, "colours"),
        ({"pixel": (32, 0)}, "pixel"),
        ({"pixel": (0, -1)}, "pixel"),
    ],
)
def test_bad_input_is_named(changes, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        explorer(**changes)
