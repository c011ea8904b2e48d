"""The asker asks once for each caption, encodes the picture once, and shows what is sure enough."""

import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from lib.datasets.toyworld.pairs import WORDS
from lib.models.grounding import grounding_small
from lib.models.sam import sam_small
from lib.training.data_engine import masks_in_boxes
from lib.viz.words.asker import LEAST, Asker, Found, free_spot, sheet

IMAGE = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = grounding_small(WORDS, num_queries=3).eval()
    torch.nn.init.constant_(model.class_embed.bias, 0.0)  # scores around 0.5
    return model


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return sam_small().eval()


@pytest.fixture
def calls(model, sam, monkeypatch):
    """Which parts were asked, in order."""
    said = []
    for name, part, method in (("encode", sam, "encode"), ("predict", model, "predict")):
        real = getattr(part, method)
        monkeypatch.setattr(part, method, lambda *given, name=name, real=real: said.append(name) or real(*given))
    return said


def controls(asker):
    field, find, slider = asker.children[0].children
    return field, find, slider


def shown(asker) -> bytes:
    return asker._picture.value


def test_the_picture_is_encoded_once_and_a_caption_is_asked_once(model, sam, calls):
    asker = Asker(model, sam, IMAGE)
    assert calls == ["encode"] and asker.found.phrases == () and "nothing is asked yet" in repr(asker)
    field, find, slider = controls(asker)
    before = shown(asker)
    field.value = "red cone . sphere"
    assert calls == ["encode", "predict"] and asker.found.phrases == ("red cone", "sphere") and shown(asker) != before
    find.click()
    slider.value = 0.9
    assert calls == ["encode", "predict"]
    asker.caption = "crate"
    assert calls == ["encode", "predict", "predict"] and field.value == "crate"


def test_what_is_shown_is_what_both_models_say(model, sam):
    asker = Asker(model, sam, IMAGE, "red cone . sphere")
    expected = model.predict(IMAGE[None], ["red cone . sphere"], asker.threshold)[0]
    assert len(expected["boxes"]) > 0
    for name, value in expected.items():
        torch.testing.assert_close(getattr(asker.found, name), value)
    assert (asker.found.masks == masks_in_boxes(sam, IMAGE, expected["boxes"])).float().mean() > 0.999
    middle = expected["scores"].median().item() + 1e-4
    asker.threshold = middle
    assert asker.found.scores.min() >= middle and len(asker.found.masks) == (expected["scores"] >= middle).sum()
    asker.threshold = 0.99
    assert len(asker.found.boxes) == 0 and "0 × red cone, 0 × sphere" in repr(asker)


def test_words_that_are_not_known_are_named(model, sam):
    asker = Asker(model, sam, IMAGE, "red <dog> . <dog> . big cat .")
    assert asker.unknown() == ["<dog>", "cat"]
    line = asker.children[-1].value
    assert "never learned “&lt;dog&gt;”, “cat”. It knows: small, " in line and " ms" in line
    asker.caption = "red cone"
    assert asker.unknown() == [] and "never learned" not in asker.children[-1].value


def test_times_of_all_parts_are_said(model, sam):
    asker = Asker(model, sam, IMAGE, "cone")
    assert set(asker.milliseconds) == {"SAM's encoder", "detector", "masks"} and min(asker.milliseconds.values()) > 0
    assert all(part in repr(asker) for part in ("SAM encoded the picture once in ≈ ", "detector ≈ ", "masks ≈ "))


def test_readers_without_a_kernel_see_the_picture(model, sam):
    asker = Asker(model, sam, IMAGE, "cone")
    bundle = asker._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]) == shown(asker) and bundle["text/plain"] == repr(asker)
    assert Image.open(io.BytesIO(shown(asker))).width <= 1.5 * 950
    assert asker.still().legends[0].get_texts()


def test_a_picture_of_any_size_can_be_asked(model, sam):
    asker = Asker(model, sam, torch.rand(3, 40, 72), "cone")
    assert asker.found.masks.shape[1:] == (40, 72) and len(asker.found.masks) == len(asker.found.boxes) > 0


def test_the_sheet_shows_what_is_found_in_its_own_colours():
    masks = torch.zeros(1, 96, 96, dtype=torch.bool)
    masks[0, 40:60, 40:60] = True
    boxes, phrases = torch.tensor([[24.0, 24, 72, 72]]), ("cone", "sphere")
    pixels = np.asarray(sheet(IMAGE, Found(phrases, boxes, torch.tensor([0.5]), torch.tensor([1]), masks))).astype(int)
    assert (pixels[9 + 6 * 48, 9 + 6 * 24 + 1] == 255).all(), "the left line of the box, six pixels for one"
    assert (pixels[9 + 6 * 50, 9 + 6 * 40] == 255).all(), "the mask's edge"
    own = 255 * IMAGE[:, 50, 50].numpy()
    assert np.abs(pixels[9 + 6 * 50 + 3, 9 + 6 * 50 + 3] - own).max() <= 1, "inside"
    assert np.ptp(pixels[9 + 6 * 80 + 3, 9 + 6 * 80 + 3]) <= 1, "grey outside"


def test_tags_keep_off_the_edge_and_off_each_other():
    size, paper = (20.0, 10.0), (100, 100)
    above = free_spot((30, 30, 60, 60), size, paper, [])
    assert above == (30, 20, 50, 30)
    assert free_spot((30, 30, 70, 60), size, paper, [above]) == (50, 20, 70, 30)
    below = free_spot((30, 5, 60, 60), size, paper, [])
    assert below == (30, 60, 50, 70)
    assert free_spot((0, 0, 100, 100), size, paper, []) == (0, 0, 20, 10)


def test_the_threshold_ends_where_the_detector_was_asked(model, sam):
    assert controls(Asker(model, sam, IMAGE))[2].min == LEAST
