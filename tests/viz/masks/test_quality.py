import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from lib.ops.panoptic_metrics import panoptic_quality
from lib.viz.masks.quality import Pair, draw_quality, match, quality_sums

TRUTH = torch.tensor(
    [
        [1, 1, 1, 0, 0, 2, 2, 2],
        [1, 1, 1, 0, 0, 2, 2, 2],
        [1, 1, 1, 0, 0, 2, 2, 2],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [-1, -1, -1, 0, 5, 5, 5, 0],
        [-1, -1, -1, 0, 5, 5, 5, 0],
    ]
)
PREDICTED = torch.tensor(
    [
        [0, 3, 3, 0, 0, 7, 7, 0],
        [0, 3, 3, 0, 0, 7, 7, 0],
        [3, 3, 3, 0, 0, 0, 8, 8],
        [0, 0, 0, 0, 0, 0, 8, 8],
        [4, 4, 6, 6, 6, 6, 0, 0],
        [4, 4, 6, 6, 6, 6, 0, 0],
    ]
)


def words(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts]


def test_pairs_need_more_than_a_half_and_void_pixels_are_left_out():
    found = match(TRUTH, PREDICTED)
    assert found.pairs == [Pair(1, 3, 7, 9)]
    assert found.others == [Pair(2, 7, 4, 9), Pair(2, 8, 2, 11), Pair(5, 6, 4, 8)]  # 4/8 is not above 1/2
    assert (found.false, found.missed, found.ignored) == ([6, 7, 8], [2, 5], [4])


def test_the_sums_have_the_numbers_in():
    assert quality_sums(match(TRUTH, PREDICTED)) == [
        "SQ, the mean IoU of the pairs = 7/9 = 0.778",
        "RQ = TP / (TP + FP/2 + FN/2) = 1 / (1 + 3/2 + 2/2) = 0.286",
        "PQ = SQ · RQ = 0.778 · 0.286 = 0.222",
    ]
    two = quality_sums(match(TRUTH, TRUTH.clamp(min=0)))
    assert two[0].endswith("(9/9 + 9/9 + 6/6) / 3 = 1.000") and two[2].endswith("= 1.000")
    assert quality_sums(match(TRUTH, PREDICTED * 0))[0].endswith("no pair = 0.000")
    assert len(quality_sums(match(TRUTH * 0, PREDICTED * 0))) == 1


@pytest.mark.parametrize("seed", range(8))
def test_the_sums_agree_with_the_course_s_panoptic_quality(seed):
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(-1, 4, (3, 4), generator=generator).repeat_interleave(2, 0).repeat_interleave(2, 1)
    shift = torch.randint(0, 5, truth.shape, generator=generator) == 0
    predicted = torch.where(shift, torch.randint(0, 4, truth.shape, generator=generator), (truth % 4 + 1) % 5)
    real, other = truth.where(truth != 0, 9).where(truth != -1, 0), [{"id": 9, "label": 1}]
    ids = {name: [{"id": int(number), "label": 0} for number in numbers.unique() if number > 0]
           for name, numbers in (("truth", truth), ("predicted", predicted))}  # fmt: skip
    expected = panoptic_quality([(predicted, ids["predicted"])], [(real, ids["truth"] + other)], {0, 1}, set())
    found, ours = match(truth, predicted), expected["per_class"][0]
    assert (len(found.pairs), len(found.false), len(found.missed)) == (ours["TP"], ours["FP"], ours["FN"])
    for line, name in zip(quality_sums(found), ("SQ", "RQ", "PQ")):
        assert float(line.split("= ")[-1]) == pytest.approx(ours[name], abs=6e-4)


def test_partners_have_one_colour_those_without_are_grey_and_void_is_hatched():
    figure = draw_quality(TRUTH, PREDICTED)
    _, truth, predicted = figure.axes
    left, right = (np.asarray(axis.images[0].get_array()) for axis in (truth, predicted))
    assert np.array_equal(left[0, 0], right[0, 1]) and not np.array_equal(left[0, 0], left[0, 5])
    assert np.array_equal(left[0, 5], right[0, 5]) and np.ptp(left[0, 5]) == 0 and left[3, 0].tolist() == [1, 1, 1]
    for axis in (truth, predicted):
        hatched = {patch.get_xy()[::-1] for patch in axis.patches if patch.get_hatch()}
        assert hatched == {(row, column) for row in (4, 5) for column in (0, 1, 2)}
    red = {text.get_text() for text in predicted.texts if to_hex(text.get_color()) == "#b3261e"}
    assert red == {"6", "7", "8"} and len(truth.texts) == int((TRUTH > 0).sum())


def test_between_the_maps_stands_who_is_paired_with_whom():
    said = words(draw_quality(TRUTH, PREDICTED))
    for text in ("true 1, predicted 3: IoU 7/9", "TP", "true 5: no partner", "FN", "predicted 6: no partner", "FP",
                 "true 5, predicted 6: IoU 4/8", "≤ 1/2", "predicted 4: mostly void", "not counted"):  # fmt: skip
        assert text in said
    assert set(quality_sums(match(TRUTH, PREDICTED))) <= set(said)


@pytest.mark.parametrize(
    ("truth", "predicted", "named"),
    [
        (TRUTH[None], PREDICTED, "truth is"),
        (TRUTH.float(), PREDICTED, "truth is"),
        (TRUTH - 1, PREDICTED, "truth has the number -2"),
        (TRUTH, TRUTH, "predicted has the number -1; expected at least 0"),
        (TRUTH, PREDICTED[:5], r"predicted is \(5, 8\); expected \(6, 8\)"),
        (torch.ones(13, 2, dtype=torch.int64), torch.ones(13, 2, dtype=torch.int64), r"truth is \(13, 2\)"),
    ],
)
def test_bad_input_is_named(truth, predicted, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw_quality(truth, predicted)
