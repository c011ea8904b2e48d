import pytest
import torch

from lib.datasets.toyworld import Toyworld
from lib.datasets.toyworld.levels import nested_masks
from lib.models.sam import SamOutput
from lib.training.data_engine import (
    Annotator,
    annotate,
    around,
    confident_masks,
    covered,
    draw_mask,
    judged,
    object_detector,
    outline,
    summary,
)

SIDE = 24


class Ready:
    """In place of a model: answers with what is put before it, one answer after another, large as 24 × 24."""

    def __init__(self, *answers):
        self.answers, self.asked, self.given = [torch.where(one, 5.0, -5.0) for one in answers], [], []

    def encode(self, images):
        return images

    def __call__(self, embedding, points=None, labels=None, boxes=None, masks=None):
        self.asked.append((points, labels))
        self.given.append(masks)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        count = 1 if points is not None else len(boxes)
        return SamOutput(answer.expand(count, 4, SIDE, SIDE), torch.tensor([[0.0, 0.1, 0.2, 0.3]]).expand(count, 4))


def square(x1, y1, x2, y2):
    mask = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    mask[y1:y2, x1:x2] = True
    return mask


WANTED, HALF = square(4, 6, 12, 14), square(4, 6, 12, 10)


def test_a_good_answer_costs_a_look_and_a_click():
    model = Ready(WANTED)
    mask, seconds, clicks = draw_mask(model, torch.zeros(1), WANTED, Annotator(look=3, click=1.5))
    assert mask.equal(WANTED) and (seconds, clicks) == (4.5, 1)
    ((points, labels),) = model.asked
    assert points.tolist() == [[[7.0, 9.0]]] and labels.tolist() == [[1]]
    assert model.given == [None]


def test_each_click_is_in_what_is_wrong_and_the_last_answer_is_handed_back():
    model = Ready(HALF, WANTED)
    _, seconds, clicks = draw_mask(model, torch.zeros(1), WANTED, Annotator(look=3, click=1.5))
    assert (seconds, clicks) == (6.0, 2)
    points, labels = model.asked[1]
    assert 4 <= points[0, 1, 0] < 12 and 10 <= points[0, 1, 1] < 14 and labels.tolist() == [[1, 1]]
    assert (model.given[1][0, 0] > 0).equal(HALF)


def test_what_is_never_good_enough_is_drawn_by_hand():
    annotator = Annotator(clicks=2, look=3, click=1.5, trace=0.5)
    mask, seconds, clicks = draw_mask(Ready(HALF), torch.zeros(1), WANTED, annotator)
    assert mask.equal(WANTED) and clicks == 2
    assert seconds == 3 + 2 * 1.5 + 0.5 * 32 == annotator.by_hand(WANTED) + 3


def test_two_clicks_without_hope_are_the_last():
    annotator = Annotator(clicks=5, look=3, click=1.5, trace=0.5)
    quarter = square(4, 6, 12, 8)
    mask, seconds, clicks = draw_mask(Ready(quarter), torch.zeros(1), WANTED, annotator)
    assert mask.equal(WANTED) and clicks == 2 and seconds == annotator.by_hand(WANTED) + 3
    assert draw_mask(Ready(HALF), torch.zeros(1), WANTED, annotator)[2] == 5  # an IoU of 1/2 leaves hope
    assert draw_mask(Ready(quarter, WANTED), torch.zeros(1), WANTED, annotator)[2] == 2  # the first answer may be poor


def test_what_would_take_too_long_by_hand_is_given_up():
    annotator = Annotator(clicks=2, look=3, click=1.5, trace=0.5, patience=18.9)
    assert draw_mask(Ready(HALF), torch.zeros(1), WANTED, annotator) == (None, 6.0, 2)
    wanted = torch.stack([WANTED, square(20, 20, 22, 22)])
    done = annotate(Ready(square(20, 20, 22, 22)), torch.zeros(3, SIDE, SIDE), wanted, wanted[:0], annotator)
    assert done.masks.equal(wanted[1:]) and done.drawn.tolist() == [False, True]
    assert done.seconds.tolist() == [6.0, 4.5] and done.clicks.tolist() == [2, 1]


def test_an_outline_is_counted_in_sides_of_pixels_and_not_at_the_border():
    assert outline(WANTED) == 32
    assert outline(square(0, 0, 3, 2)) == 5
    assert outline(torch.ones(SIDE, SIDE, dtype=torch.bool)) == 0


def test_a_picture_is_annotated_from_large_to_small_until_the_time_is_over():
    sizes = [square(0, 0, 3, 3), square(10, 10, 20, 20), square(0, 10, 6, 16)]
    wanted = torch.stack(sizes)
    model = Ready(sizes[1], sizes[2], sizes[0])
    done = annotate(model, torch.zeros(3, SIDE, SIDE), wanted, wanted[:0], Annotator(look=3, click=1))
    assert (
        done.masks.equal(wanted[[1, 2, 0]]) and done.seconds.tolist() == [4, 4, 4] and done.clicks.tolist() == [1] * 3
    )
    short = annotate(
        Ready(sizes[1], sizes[2]),
        torch.zeros(3, SIDE, SIDE),
        wanted,
        wanted[:0],
        Annotator(look=3, click=1, per_picture=5),
    )
    assert short.masks.equal(wanted[[1, 2]])  # the second was begun in time


def test_what_is_given_is_not_drawn_again():
    wanted = torch.stack([square(10, 10, 20, 20), square(0, 10, 6, 16)])
    given = square(10, 10, 20, 19)[None]
    done = annotate(Ready(wanted[1]), torch.zeros(3, SIDE, SIDE), wanted, given, Annotator())
    assert done.masks.equal(wanted[1:])
    nothing = annotate(Ready(wanted[1]), torch.zeros(3, SIDE, SIDE), wanted, wanted, Annotator())
    assert nothing.masks.shape == (0, SIDE, SIDE) and len(nothing.seconds) == len(nothing.clicks) == 0


def test_the_same_means_an_iou_of_seven_tenths():
    whole = square(0, 0, 10, 10)[None]
    assert covered(whole, square(0, 0, 10, 7)[None]).tolist() == [True]
    assert covered(whole, square(0, 0, 10, 6)[None]).tolist() == [False]
    assert covered(whole, whole[:0]).tolist() == [False] and covered(whole[:0], whole).tolist() == []


def test_the_truth_of_a_scene_is_judged_to_be_perfect():
    sample = Toyworld("val", 1, 96)[0]
    nested = nested_masks(sample)
    judgement = judged(nested.masks, sample)
    assert judgement["iou"].eq(1).all() and judgement["found"].all() and judgement["level"].equal(nested.levels)
    nothing = judged(nested.masks[:0], sample)
    assert not nothing["found"].any() and len(nothing["iou"]) == len(nothing["level"]) == 0


def test_a_summary_counts_masks_and_truths():
    one = {
        "iou": torch.tensor([1.0, 0.5]),
        "level": torch.tensor([1, 1]),
        "found": torch.tensor([True, False, False]),
        "found level": torch.tensor([1, 1, 0]),
    }
    said = summary([one, one])
    assert (said["pictures"], said["masks"], said["IoU"], said["good"], said["found"]) == (2, 4, 0.75, 0.5, 0.3333)
    assert said["found, thing"] == 0.5 and said["found, part"] == 0 and said["found, stuff"] is None
    assert summary([one | {"iou": torch.zeros(0), "level": torch.zeros(0).long()}])["IoU"] is None


def test_boxes_hold_the_last_pixel():
    assert around(WANTED[None]).tolist() == [[4, 6, 12, 14]]


def test_a_detector_learns_where_masks_are_and_its_boxes_become_masks():
    scenes = torch.zeros(8, 3, 96, 96, dtype=torch.uint8)
    masks = []
    for number, scene in enumerate(scenes):
        x, y = 8 + 8 * number, 70 - 7 * number
        scene[:, y : y + 20, x : x + 20] = 255
        masks.append((scene[0] > 0)[None])
    detector = object_detector(scenes, masks, steps=60)
    found = detector(scenes[3:4].float() / 255)[0]
    best = found["boxes"][found["scores"].argmax()]
    assert (best - around(masks[3])[0]).abs().max() < 6

    class Boxed(Ready):
        def encode(self, images):
            return images

    assert len(confident_masks(Boxed(WANTED), detector, scenes[3].float() / 255, threshold=0.5)) >= 1
    nothing = confident_masks(Boxed(WANTED), detector, scenes[3].float() / 255, threshold=1.1)
    assert nothing.shape == (0, 96, 96)


@pytest.mark.parametrize(
    ("wanted", "given", "named"), [((1, 5, 24), (0, 24, 24), "wanted"), ((0, 24, 24), (1, 24), "given")]
)
def test_bad_input_is_named(wanted, given, named):
    with pytest.raises(ValueError, match=f"^{named} is"):
        annotate(
            Ready(WANTED),
            torch.zeros(3, SIDE, SIDE),
            torch.zeros(wanted, dtype=torch.bool),
            torch.zeros(given, dtype=torch.bool),
            Annotator(),
        )
