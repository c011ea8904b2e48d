"""How good are the tubes of one class in a clip: a window glides over it, and a changed number costs."""

from collections.abc import Callable
from functools import partial
from math import isnan, nan
from typing import TYPE_CHECKING, Any

from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.segment_pairs import best_of_each, over, ratio, same_number
from lib.exercises.engine.segment_pictures import draw_segments
from lib.exercises.lessons.lesson_16._tubes import (
    Counts,
    absent,
    added,
    clips,
    frame_by_frame,
    gliding,
    mean_of_lengths,
    quality,
    skipped,
    tube_by_tube,
)
from lib.ops import panoptic_metrics
from lib.ops.panoptic import Panoptic, Segment

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def video_panoptic_quality(predicted: Tensor, truth: Tensor, windows: list[int]) -> float:
    """The course's own, `lib.ops.panoptic_metrics.video_panoptic_quality`, for one class, 0; the rest is of class 1."""
    maps = [of_class_0(predicted)], [of_class_0(truth)]
    found = panoptic_metrics.video_panoptic_quality(*maps, {0}, {1}, windows)["per_window"]
    return sum(each["per_class"][0]["PQ"] for each in found.values()) / len(found)


def of_class_0(numbers: Tensor) -> Panoptic:
    """There 0 is void; here it is what is of no number. So all numbers move up."""
    listed: list[Segment] = [{"id": number + 1, "label": int(number == 0)} for number in numbers.unique().tolist()]
    return numbers + 1, listed


def cases() -> list[Case]:
    made = [Case(label, given, tube_by_tube(*given)) for label, given in clips().items()]
    # By hand. k = 1: IoUs 1, 2/3, 1, 1, 1. k = 2: 1, 5/6 and, in the second window, 1; 5 and 7 fit half of tube 1 each.
    return [Case(made[0].label, made[0].arguments, (14 / 3 / 5 + 17 / 6 / 4.5) / 2), *made[1:]]


def frames_of_each_window(predicted: Tensor, truth: Tensor, windows: list[int]) -> float:
    """As `tube_by_tube`, but each frame of a window is judged by itself."""
    frames: list[Counts] = tube_by_tube(predicted, truth, [1], told=lambda counts: counts[1])
    return mean_of_lengths({k: [added(frames[start : start + k]) for start in gliding(len(truth), k)] for k in windows})


def of_each_window(counts: dict[int, list[Counts]], empty: float | None = None) -> float:
    """The mean of the windows' PQ; those with nothing in them count as `empty`, or not at all (None)."""
    means = []
    for windows in counts.values():
        each = [quality([one]) if any(one[1:]) else empty for one in windows]
        known = [value for value in each if value is not None]
        means.append(sum(known) / len(known) if known else nan)
    return sum(means) / len(means)


def joined(counts: dict[int, list[Counts]], divide: Callable[..., float]) -> float:
    """From the counts added up over the windows of each length; `divide` makes a quality of IoU, TP, FP and FN."""
    sums = [added(windows) for windows in counts.values()]
    return sum(divide(*each) if any(each[1:]) else nan for each in sums) / len(sums)


def zero_for_nothing(counts: dict[int, list[Counts]]) -> float:
    found = mean_of_lengths(counts)
    return 0.0 if isnan(found) else found


def all_together(counts: dict[int, list[Counts]]) -> float:
    return quality([one for windows in counts.values() for one in windows])


HALF = "TP alone is counted whole, FP and FN by half."
GLIDES = "A window glides frame by frame: with T frames there are T − k + 1 windows of k frames."
WITHIN = "Only the pixels within the window are looked at: a number that has none there is no tube of that window."

Decision = tuple[str, str, dict[str, Any]]
Decisions = list[Decision]

OF_WINDOWS: Decisions = [
    (
        "frame by frame",
        "You judge frame by frame, whatever k is: then it costs nothing if a thing changes its number. A tube is all "
        "pixels of a number in the k frames of a window together.",
        {"lengths": lambda windows, frames: [1]},
    ),
    (
        "the whole clip as one window",
        f"Your tubes go through the whole clip, whatever k is. {GLIDES}",
        {"lengths": lambda windows, frames: [frames]},
    ),
    (
        "windows side by side",
        f"Your windows do not overlap: each begins where the last one ends. {GLIDES}",
        {"starts": lambda frames, length: range(0, frames - length + 1, length)},
    ),
    (
        "windows side by side, the last one short",
        f"Your windows do not overlap: each begins where the last one ends. {GLIDES}",
        {"starts": lambda frames, length: range(0, frames, length)},
    ),
    (
        "windows over the end",
        f"Your last windows reach over the end of the clip, and have fewer than k frames. {GLIDES}",
        {"starts": lambda frames, length: range(frames)},
    ),
    ("the last window left out", f"You left out the last window. {GLIDES}", {"starts": lambda t, k: range(t - k)}),
    ("the first window alone", f"You look at the first window alone. {GLIDES}", {"starts": lambda t, k: [0]}),
    (
        "the longest windows alone",
        "You return PQ of the largest k. The task asks for the mean over all `windows`.",
        {"lengths": lambda windows, frames: [max(windows)]},
    ),
    (
        "the last k alone",
        "You return PQ of the last k. The task asks for the mean over all `windows`.",
        {"lengths": lambda windows, frames: windows[-1:]},
    ),
    (
        "the first k alone",
        "You return PQ of the first k. The task asks for the mean over all `windows`. Is there a `return` in the loop?",
        {"lengths": lambda windows, frames: windows[:1]},
    ),
]

OF_TUBES: Decisions = [
    (
        "absent ones missed",
        f"You count true numbers of the clip as missed in windows in which they have no pixel. {WITHIN}",
        {"more_fn": absent},
    ),
    (
        "absent ones counted",
        f"You count numbers of the clip as wrong or missed in windows in which they have no pixel. {WITHIN}",
        {"more_fn": absent, "more_fp": absent},
    ),
    (
        "IoU frame by frame",
        "You measure the IoU in each frame and take the mean. It is measured once for a tube: pixels that both have "
        "over all k frames, by pixels that one of them has over all k frames.",
        {"overlap": frame_by_frame},
    ),
    (
        "an IoU of 1/2",
        "You take an IoU of exactly 1/2 for a pair. It must be *above* 1/2.",
        {"pairs": partial(over, least=1 / 2 - 1e-9)},
    ),
    (
        "an IoU of 1/2, one partner each",
        "You take an IoU of exactly 1/2 for a pair. It must be *above* 1/2.",
        {"pairs": partial(best_of_each, least=1 / 2 - 1e-9)},
    ),
    (
        "an IoU of 1/2, more pairs than tubes",
        "You take an IoU of exactly 1/2 for a pair. It must be *above* 1/2: only then can no tube be in two pairs.",
        {
            "pairs": partial(over, least=1 / 2 - 1e-9),
            "left": lambda numbers, paired: len(numbers) - len(paired),
        },
    ),
    (
        "the same number",
        "You pair tubes that bear the same number. A number means nothing across the two maps: look for overlap.",
        {"pairs": partial(same_number, least=1 / 2)},
    ),
    (
        "the best overlap is enough",
        "You pair each tube with its best partner, however small the overlap. A pair needs an IoU above 1/2.",
        {"pairs": best_of_each},
    ),
    (
        "every overlap is a pair",
        "You take all tubes that overlap for pairs. A pair needs an IoU above 1/2.",
        {"pairs": partial(over, least=0.0)},
    ),
    (
        "0 taken for a tube",
        "You count 0 among the numbers. It marks pixels that are of no tube.",
        {"none": ((), ())},
    ),
    (
        "share of the true tube",
        "You divided the shared pixels by those of the true tube alone. IoU divides by the pixels of either.",
        {"overlap": lambda mine, real: len(mine & real) / len(real)},
    ),
    (
        "every number up to the highest",
        f"You count every number from 1 to the highest. Numbers need not be consecutive. {WITHIN}",
        {"more_fp": skipped, "more_fn": skipped},
    ),
    (
        "shared pixels counted twice",
        "You divided by the pixels of the one plus those of the other. There the shared ones count twice.",
        {"overlap": lambda mine, real: len(mine & real) / (len(mine) + len(real))},
    ),
    (
        "Dice instead of IoU",
        "You measured 2 · shared / (one + other), which is Dice. The task asks for IoU.",
        {"overlap": lambda mine, real: 2 * len(mine & real) / (len(mine) + len(real))},
    ),
]

EACH_WINDOW = (
    "You take PQ of each window, and the mean of these. Counts and IoUs are added up over all windows of length k "
    "first, and make one PQ for each k."
)

ALL_LENGTHS: Decision = (
    "all lengths thrown together",
    "You added up the counts over all k, too, so that a k with more windows counts more. Take PQ of each k, then "
    "the mean.",
    {"told": all_together},
)
WHOLE: Decision = (
    "failures counted whole",
    f"You divided by TP + FP + FN. {HALF}",
    {"told": partial(joined, divide=lambda total, tp, fp, fn: total / (tp + fp + fn))},
)

OF_NUMBERS: Decisions = [
    ("mean over the windows", EACH_WINDOW, {"told": of_each_window}),
    ("mean over the windows, empty ones 0", EACH_WINDOW, {"told": partial(of_each_window, empty=0.0)}),
    ("mean over the windows, empty ones nan", EACH_WINDOW, {"told": partial(of_each_window, empty=nan)}),
    ALL_LENGTHS,
    (
        "mean IoU of the pairs",
        "You return the mean IoU of the pairs, which is SQ: tubes without a partner cost nothing. Divide by TP + FP/2 "
        "+ FN/2.",
        {"told": partial(joined, divide=lambda total, tp, fp, fn: ratio(total, tp))},
    ),
    (
        "pairs counted, not their IoUs",
        "You count each pair as 1, which gives RQ. Above the line stands the sum of the pairs' IoUs.",
        {"told": partial(joined, divide=lambda total, tp, fp, fn: tp / (tp + fp / 2 + fn / 2))},
    ),
    WHOLE,
    (
        "no FN",
        f"You did not count the true tubes without a partner. {HALF}",
        {"told": partial(joined, divide=lambda total, tp, fp, fn: ratio(total, tp + fp / 2))},
    ),
    (
        "no FP",
        f"You did not count the predicted tubes without a partner. {HALF}",
        {"told": partial(joined, divide=lambda total, tp, fp, fn: ratio(total, tp + fn / 2))},
    ),
    (
        "0 for nothing",
        "Right, but where nothing was counted you return 0, as if all had failed. The task asks for nan there.",
        {"told": zero_for_nothing},
    ),
]


def picture(got: Any, expected: Any, case: Case) -> "Figure":
    """The frames of both clips, one below the other, and above them the two numbers."""
    predicted, truth, windows = case.arguments
    frames, height, _ = truth.shape
    figure = draw_segments({"predicted": predicted.flatten(0, 1), "truth": truth.flatten(0, 1)}, alike=False)
    for axes in figure.axes:
        for frame in range(1, frames):
            axes.axhline(frame * height - 0.5, color="black")
    said = f"{frames} frames, one below the other; windows {windows}"
    figure.suptitle(f"{said}\nVPQ   yours: {float(got):.3f}   expected: {float(expected):.3f}", fontsize=9)
    return figure


EXERCISE = Exercise(
    name="video_panoptic_quality",
    reference=video_panoptic_quality,
    cases=cases,
    gives=Kind.NUMBERS,
    mistakes=[
        *(
            Mistake(name, told, wrong=partial(tube_by_tube, **made))
            for name, told, made in OF_WINDOWS + OF_TUBES + OF_NUMBERS
        ),
        Mistake("the frames of each window", OF_WINDOWS[0][1], wrong=frames_of_each_window),
        *(
            Mistake(
                f"{name}; {other}", f"Two things at once. {told} {also}", wrong=partial(tube_by_tube, **made, **more)
            )
            for name, told, made in (*OF_WINDOWS[2:4], OF_TUBES[0], OF_TUBES[2])
            for other, also, more in (OF_NUMBERS[0], ALL_LENGTHS, WHOLE)
        ),
        *(
            Mistake(
                f"{name}; 0 for nothing",
                f"Two things at once. {told} And where nothing was counted you return 0. The task asks for nan there.",
                wrong=partial(tube_by_tube, **made, told=zero_for_nothing),
            )
            for name, told, made in OF_WINDOWS[:7] + OF_TUBES[:7]
        ),
    ],
    picture=picture,
)
