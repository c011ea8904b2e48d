"""Captions drawn for scenes, phrases asked in turns, and labels that nobody drew."""

import pytest
import torch

from lib.datasets.toyworld import Toyworld
from lib.datasets.toyworld.pairs import WORDS, names
from lib.models.grounding import grounding_small
from lib.training.grounding import CaptionBatches, auto_label, find_phrases, phrase_truth

WORLD = Toyworld("val", 4, 96)
SAMPLES = [WORLD[number] for number in range(4)]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return grounding_small(WORDS).eval()


def test_batches_name_each_thing_by_a_phrase_that_fits_it():
    images, captions, targets = CaptionBatches(SAMPLES, 6, seed=1)()
    assert images.shape == (6, 3, 96, 96) and len(captions) == len(targets) == 6
    mirrored = 0
    for image, caption, target in zip(images, captions, targets):
        sample = next(one for one in SAMPLES if image.equal(one.image) or image.equal(one.image.flip(-1)))
        phrases = [phrase.strip() for phrase in caption.split(" .") if phrase.strip()]
        assert all(
            names(phrases[label], thing) for label, thing in zip(target["labels"].tolist(), sample.phrases, strict=True)
        )
        turned = sample.boxes[:, [2, 1, 0, 3]] * sample.boxes.new_tensor([-1, 1, -1, 1])
        turned = turned + turned.new_tensor([96, 0, 96, 0])
        straight = image.equal(sample.image)
        assert target["boxes"].equal(sample.boxes if straight else turned)
        mirrored += not straight
    assert 0 < mirrored < 6


def test_the_same_seed_draws_the_same_batches():
    first, second, other = (CaptionBatches(SAMPLES, 4, seed=seed) for seed in (3, 3, 4))
    assert first().captions == second().captions != other().captions
    assert first().captions == second().captions


def test_phrases_are_asked_in_turns_and_numbered_through(model):
    phrases = ("red cone", "sphere", "small blue crate")
    together = find_phrases(model, SAMPLES[0].image, phrases, at_once=2, threshold=0.0)
    assert set(together["labels"].tolist()) == {0, 1, 2}
    assert together["boxes"].shape == (len(together["scores"]), 4)
    alone = find_phrases(model, SAMPLES[0].image, phrases[2:], at_once=2, threshold=0.0)
    third = together["labels"] == 2
    torch.testing.assert_close(together["scores"][third], alone["scores"])
    torch.testing.assert_close(together["boxes"][third], alone["boxes"])


def test_truth_of_phrases():
    sample = SAMPLES[0]
    kinds = [thing.split()[2] for thing in sample.phrases]
    truth = phrase_truth(sample, (sample.phrases[0], kinds[0], "blue"))
    fits = [place for place, kind in enumerate(kinds) if kind == kinds[0]]
    blue = [place for place, thing in enumerate(sample.phrases) if "blue" in thing.split()]
    assert truth["labels"].tolist() == [0] + [1] * len(fits) + [2] * len(blue)
    assert truth["boxes"].equal(sample.boxes[[0, *fits, *blue]]) and truth["masks"].equal(
        sample.masks[[0, *fits, *blue]]
    )
    nothing = phrase_truth(sample, ("no such thing",))
    assert nothing["boxes"].shape == (0, 4) and nothing["masks"].shape == (0, 96, 96)


def masks_of(*boxes):
    masks = torch.zeros(len(boxes), 10, 12, dtype=torch.bool)
    for mask, (left, top, right, bottom) in zip(masks, boxes):
        mask[top:bottom, left:right] = True
    return masks


def test_labels_of_what_is_sure_fits_and_is_there_once():
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 5], [6, 1, 10, 5], [6, 6, 10, 10], [1, 6, 4, 9], [5, 0, 6, 1]])
    scores = torch.tensor([0.7, 0.9, 0.5, 0.8, 0.29, 0.6])
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    masks = masks_of((0, 0, 4, 4), (0, 0, 4, 4), (6, 1, 10, 4), (6, 6, 7, 7), (1, 6, 4, 9), (0, 0, 0, 0))
    made = auto_label(boxes, scores, labels, masks, threshold=0.3, same=0.5, agree=0.6)
    # 0 is 1 once more, with another label; of 3 the mask is a sixteenth of its box; 4 is not sure; 5 is empty.
    assert made["labels"].tolist() == [1, 2]
    assert made["boxes"].equal(boxes[[1, 2]])


def test_no_labels_of_nothing():
    nothing = torch.zeros(0)
    made = auto_label(
        nothing.view(0, 4), nothing, nothing.long(), torch.zeros(0, 5, 5, dtype=torch.bool), 0.5, 0.5, 0.5
    )
    assert made["boxes"].shape == (0, 4) and made["labels"].shape == (0,)


def test_what_is_refused(model):
    with pytest.raises(ValueError, match="samples has 0 scenes"):
        CaptionBatches([])
    with pytest.raises(ValueError, match="pictures is 0"):
        CaptionBatches(SAMPLES, 0)
    with pytest.raises(ValueError, match="at_once is 0"):
        find_phrases(model, SAMPLES[0].image, ("cone",), at_once=0)
    with pytest.raises(ValueError, match="phrases has 0 entries"):
        find_phrases(model, SAMPLES[0].image, ())
    with pytest.raises(ValueError, match="as many of each"):
        auto_label(torch.zeros(2, 4), torch.zeros(1), torch.zeros(2), masks_of((0, 0, 1, 1)), 0.5, 0.5, 0.5)
