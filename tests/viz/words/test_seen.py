"""A detector looked at step by step says what it says at once."""

import pytest
import torch

from lib.datasets.toyworld.pairs import WORDS
from lib.models.grounding import grounding_small
from lib.viz.words.seen import look

IMAGE = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
CAPTION = "small red cone . sphere"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return grounding_small(WORDS, num_queries=3).eval()


def test_the_detector_is_looked_at_as_it_answers(model):
    seen = look(model, IMAGE, CAPTION, 0.0)
    with torch.no_grad():
        output, found = model(IMAGE[None], [CAPTION]), model.predict(IMAGE[None], [CAPTION], 0.0)[0]
    fits = output["cell_logits"][0].sigmoid().amax(0)  # (h, w)
    torch.testing.assert_close(seen.fits, fits)
    assert seen.boxes.shape == (1 + 3, 3, 4) and seen.looks.shape == (6, 12, 12)
    torch.testing.assert_close(seen.looks.sum((1, 2)), torch.ones(6))
    answered = seen.boxes[-1][seen.queries]
    assert len(answered) == len(found["boxes"]) == 3 * 2
    for label in (0, 1):
        mine, theirs = answered[seen.labels == label], found["boxes"][found["labels"] == label]
        torch.testing.assert_close(mine.sort(0).values, theirs.sort(0).values)


def test_a_picture_that_is_padded_is_refused(model):
    with pytest.raises(ValueError, match=r"^image is \(3, 88, 92\), which the model pads"):
        look(model, IMAGE[:, :88, :92], CAPTION, 0.0)
