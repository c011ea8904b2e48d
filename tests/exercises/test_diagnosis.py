"""What is named is true of every input; slips and misreadings are found from the kinds alone."""

import pytest
import torch
import torch.nn.functional as F

from lib.exercises.engine.exercise import Case, Exercise, Mistake, mistake
from lib.exercises.engine.inputs import boxes_of, crowded_boxes, random_classes, random_values
from lib.exercises.engine.judge import judge
from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.outcome import Status


def grown(boxes, margin):
    """The function of an exercise about boxes."""
    return boxes + boxes.new_tensor([-1.0, -1, 1, 1]) * margin


def grown_exercise(**changes):
    def cases():
        some = {"one box": boxes_of((3.3, 4.6, 12, 9)), "three boxes": crowded_boxes(3, 1), "no box": boxes_of()}
        return [Case(label, (boxes, 2.0), grown(boxes, 2.0)) for label, boxes in some.items()]

    settings = {"takes": {"boxes": Kind.BOXES}, "gives": Kind.BOXES} | changes
    return Exercise(name="grown", reference=grown, cases=cases, **settings)


def named(exercise, function):
    outcome = judge(exercise, function)
    assert outcome.status is Status.WRONG, outcome
    return outcome.mistake


@pytest.mark.parametrize(
    ("spoil", "name"),
    [
        (lambda b: torch.cat([(b[:, :2] + b[:, 2:]) / 2, b[:, 2:] - b[:, :2]], 1), "middle and size returned"),
        (lambda b: torch.cat([b[:, :2], b[:, 2:] - b[:, :2]], 1), "corner and size returned"),
        (lambda b: b[:, [1, 0, 3, 2]], "x and y swapped"),
        (lambda b: b.T, "four rows instead of four columns"),
        (lambda b: b + torch.tensor([0, 0, 1.0, 1]), "one pixel larger"),
        (lambda b: b + 0.5, "half a pixel off"),
        (lambda b: b.round(), "rounded"),
        (lambda b: b.flip(0), None),  # one box is right, however often it is turned round
        (lambda b: 2 * b, "off by a constant factor"),
        (lambda b: b * torch.tensor([1.0, 1, 1, 2]), "only y2"),
        (lambda b: b + torch.tensor([3.0, 0, 3, 0]), "other places"),
    ],
)
def test_slips_with_boxes(spoil, name):
    function = lambda boxes, margin: spoil(grown(boxes, margin))  # noqa: E731
    if name is None:
        assert named(grown_exercise(), function) == "in reverse order"
    else:
        assert named(grown_exercise(), function) == name


@pytest.mark.parametrize(
    ("read", "name"),
    [
        (lambda b: torch.cat([b[:, :2], b[:, :2] + b[:, 2:]], 1), "boxes read as corner and size"),
        (lambda b: b[:, [0, 2, 1, 3]], "x1, x2, y1, y2"),
        (lambda b: b + torch.tensor([0, 0, 1.0, 1]), "one pixel larger"),
    ],
)
def test_misreadings_of_boxes(read, name):
    # The area alone cannot tell a corner from a middle: what is said is true of both.
    area = lambda boxes: (boxes[:, 2:] - boxes[:, :2]).prod(1)  # noqa: E731
    if name == "one pixel larger":
        name = "one pixel added"
    exercise = Exercise(
        name="area",
        reference=lambda boxes: area(boxes),
        cases=lambda: [Case(str(i), (crowded_boxes(i, i),), area(crowded_boxes(i, i))) for i in (1, 3)],
        takes={"boxes": Kind.BOXES},
        gives=Kind.NUMBERS,
    )
    assert named(exercise, lambda boxes: area(read(boxes))) == name


def test_nothing_is_said_that_one_input_speaks_against():
    def one_pixel_larger_if_alone(boxes, margin):
        return grown(boxes, margin) + (torch.tensor([0, 0, 1.0, 1]) if len(boxes) == 1 else 0)

    def rounded_if_many(boxes, margin):
        return grown(boxes, margin).round() if len(boxes) > 1 else grown(boxes, margin)

    for function in (one_pixel_larger_if_alone, rounded_if_many):
        assert named(grown_exercise(), function) in (None, "only x2, y2"), judge(grown_exercise(), function)


def test_an_own_mistake_that_explains_only_some_inputs_is_not_named():
    @mistake("moved", "The box was moved.")
    def moved(boxes, margin):
        return grown(boxes, margin) + 3.7

    def moved_if_alone(boxes, margin):
        return grown(boxes, margin) + (3.7 if len(boxes) == 1 else 5.1)

    exercise = grown_exercise(mistakes=[moved])
    assert named(exercise, moved.wrong) == "moved"
    assert named(exercise, moved_if_alone) == "other places"


def test_when_must_hold_for_every_failing_input_and_never_sees_another_shape():
    seen = []

    def when(got, expected, case):
        seen.append(got.shape == expected.shape)
        return len(got) == 1

    exercise = grown_exercise(mistakes=[Mistake("odd", "", when=when)])
    assert named(exercise, lambda boxes, margin: grown(boxes, margin) ** 2 + 0.123) != "odd"
    named(exercise, lambda boxes, margin: grown(boxes, margin).sum(1))
    assert all(seen)


def test_an_own_mistake_and_a_slip_on_top_of_it_are_both_told():
    @mistake("margin doubled", "You grew the box twice.")
    def doubled(boxes, margin):
        return grown(boxes, 2 * margin)

    exercise = grown_exercise(mistakes=[doubled])
    two = named(exercise, lambda boxes, margin: doubled.wrong(boxes, margin)[:, [1, 0, 3, 2]])
    assert two == "margin doubled; x and y swapped"


def test_an_own_mistake_is_told_although_another_input_crashes():
    @mistake("margin doubled", "You grew the box twice.")
    def doubled(boxes, margin):
        return grown(boxes, 2 * margin)

    def crashing(boxes, margin):
        return doubled.wrong(boxes, margin) if boxes[0].sum() else None

    outcome = judge(grown_exercise(mistakes=[doubled]), crashing)
    assert outcome.mistake == "margin doubled" and "no box" in outcome.explanation


# --- losses and tuples ------------------------------------------------------------------------------------------------


def losses(logits, labels):
    """Two losses, for an exercise with a tuple."""
    return F.cross_entropy(logits, labels), logits.abs().mean()


def loss_exercise():
    def cases():
        made = []
        for seed, (count, classes) in enumerate([(2, 3), (5, 4), (7, 3)]):
            arguments = (random_values(count, classes, seed=seed), random_classes(count, classes=classes, seed=seed))
            made.append(Case(f"{count} rows", arguments, losses(*arguments)))
        return made

    takes = {"logits": Kind.LOGITS, "labels": Kind.CLASSES}
    return Exercise(name="losses", reference=losses, cases=cases, takes=takes, gives=(Kind.LOSS, Kind.LOSS))


@pytest.mark.parametrize(
    ("wrong", "name", "said"),
    [
        (lambda x, y: losses(x, y)[::-1], "returned in another order", "Both parts"),
        (lambda x, y: sum(losses(x, y)), "added together", "sum"),
        (lambda x, y: (losses(x, y)[0] * len(y), losses(x, y)[1]), "a sum for a mean", "Only part 1"),
        (lambda x, y: (losses(x, y)[0], losses(x, y)[1] * x.numel()), "a sum for a mean", "elements of `logits`"),
        (lambda x, y: (losses(x, y)[0] / len(y), losses(x, y)[1]), "divided once too often", "Only part 1"),
        (lambda x, y: (losses(x, y)[0], losses(x, y)[1] * x.shape[1]), "a sum for a mean", "axis 1 of `logits`"),
        (lambda x, y: (-losses(x, y)[0], losses(x, y)[1]), "sign flipped", "Only part 1"),
        (lambda x, y: (losses(x, y)[0] / 0.6931472, losses(x, y)[1]), "logarithm to base 2", "base 2"),
        (lambda x, y: (losses(x, y)[0] + 0.25, losses(x, y)[1]), "off by a constant", "Only part 1"),
        (lambda x, y: (losses(x, y)[0] ** 3, losses(x, y)[1]), "only part 1", "part 2 is right"),
        (lambda x, y: losses(x, y)[0], "wrong type", "tensor"),
    ],
)
def test_slips_with_losses(wrong, name, said):
    outcome = judge(loss_exercise(), lambda logits, labels: wrong(logits, labels))
    assert (outcome.mistake, said in outcome.explanation) == (name, True), outcome


def test_probabilities_taken_for_scores_and_the_other_way_round():
    def negative_log(logits, labels):
        return F.nll_loss(logits, labels), logits.abs().mean()

    assert named(loss_exercise(), negative_log) == "only part 1"  # reads both parts from other numbers: no name

    def best(logits):
        return -F.log_softmax(logits, dim=1).amax(1)

    exercise = Exercise(
        name="best",
        reference=best,
        cases=lambda: [Case(str(i), (random_values(i, 3),), best(random_values(i, 3))) for i in (2, 5)],
        takes={"logits": Kind.LOGITS},
        gives=Kind.NUMBERS,
    )
    assert named(exercise, lambda logits: -logits.log().amax(1)) == "softmax forgotten"
    assert named(exercise, lambda logits: -logits.amax(1)) == "log-softmax forgotten"
    assert named(exercise, lambda logits: -F.log_softmax(-logits, dim=1).amax(1)) == "sign of the scores"


# --- maps, counts, indices --------------------------------------------------------------------------------------------


def tilted(image):
    """A map that knows up from down and left from right."""
    return image.cumsum(-1) + 2 * image.cumsum(-2)


MAPS = Exercise(
    name="tilted",
    reference=tilted,
    cases=lambda: [Case(str(s), (random_values(*s),), tilted(random_values(*s))) for s in ((2, 3, 4), (1, 5, 5))],
    takes={"image": Kind.MAP},
    gives=Kind.MAP,
)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        (lambda image: tilted(image).transpose(-1, -2), "axes swapped"),
        (lambda image: tilted(image).movedim(0, -1), "axes swapped"),
        (lambda image: tilted(image).flip(-1), "mirrored"),
        (lambda image: tilted(image).roll(1, -1), "shifted by one cell"),
        (lambda image: tilted(image.flip(-2)), "upside down"),
        (lambda image: F.pad(tilted(image)[:, 1:-1, 1:-1], (1, 1, 1, 1)), "only at the border"),
        (lambda image: tilted(image) * image, None),
    ],
)
def test_slips_with_maps(wrong, name):
    assert named(MAPS, wrong) == name


def test_too_many_and_too_few_entries_are_said():
    def kept(values):
        return values[values > 0]

    signs = (torch.tensor([1.0, -1, 2, 3]), torch.tensor([-2.0, -1, 4, -3]))
    exercise = Exercise(
        name="kept",
        reference=kept,
        cases=lambda: [Case("signs", (one,), kept(one)) for one in signs],
        gives=Kind.NUMBERS,
    )
    more, fewer = (judge(exercise, wrong) for wrong in (lambda values: values, lambda values: values[values > 2]))
    assert "too many entries: 4 where there should be 3" in more.explanation, more
    assert "too few entries: 1 where there should be 3" in fewer.explanation, fewer


def test_slips_with_counts_and_places():
    def count(values):
        return len(values)

    numbers = Exercise(
        name="count",
        reference=count,
        cases=lambda: [Case(str(n), (random_values(n),), n) for n in (3, 7)],
        gives=Kind.COUNT,
    )
    assert named(numbers, lambda values: len(values) + 1) == "one too many"
    assert named(numbers, lambda values: len(values) - 1) == "one too few"
    assert named(numbers, lambda values: 2 * len(values)) == "doubled"

    def order(values):
        return values.argsort(descending=True)

    places = Exercise(
        name="order",
        reference=order,
        cases=lambda: [Case(str(n), (random_values(n, seed=n),), order(random_values(n, seed=n))) for n in (3, 7)],
        takes={"values": Kind.LOGITS},
        gives=Kind.INDICES,
    )
    assert named(places, lambda values: values.argsort(descending=True) + 1) == "counted from 1"
    assert named(places, lambda values: values.argsort()) == "in reverse order"
    assert named(places, lambda values: values.argsort(descending=True)[:, None]) == "a column"


# --- what the task forbids, and what the lesson needs -----------------------------------------------------------------


def test_a_forbidden_function_is_named():
    exercise = Exercise(
        name="loss",
        reference=lambda x, y: F.cross_entropy(x, y),
        cases=lambda: [
            Case(
                "one",
                (random_values(2, 3), torch.tensor([0, 2])),
                F.cross_entropy(random_values(2, 3), torch.tensor([0, 2])),
            )
        ],
        forbidden=[F.cross_entropy],
    )
    assert named(exercise, lambda x, y: F.cross_entropy(x, y)) == "F.cross_entropy used"
    assert named(exercise, lambda x, y: torch.nn.CrossEntropyLoss()(x, y)) == "F.cross_entropy used"
    assert judge(exercise, lambda x, y: -x.log_softmax(1)[range(len(y)), y].mean()).status is Status.CORRECT


def test_too_slow_for_the_lesson(monkeypatch):
    monkeypatch.setattr("lib.exercises.engine.judge.LESSON_SECONDS", 0.2)

    def slow(values):
        return torch.tensor([float(value) for value in values for _ in range(50)][::50])

    exercise = Exercise(
        name="copy",
        reference=lambda values: values.clone(),
        cases=lambda: [Case("three", (random_values(3),), random_values(3))],
        lesson_size=lambda: (random_values(200_000),),
    )
    outcome = judge(exercise, slow)
    assert outcome.mistake == "too slow for the lesson" and "200000" in outcome.explanation
    assert judge(exercise, lambda values: values + 0).status is Status.CORRECT
