"""What `judge` says about everything that a learner may write."""

import random
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe, WrongResult
from lib.exercises.engine.judge import judge
from lib.exercises.engine.map_pictures import compare_maps

SCALED = "def scaled(image, factor):\n    "


@pytest.mark.parametrize(
    "body",
    [
        "return image * factor",
        "return torch.stack([row * factor for row in image])",
        "image = image * factor; return image",
    ],
)
def test_right_answers_are_correct(exercise, cell, body):
    outcome = judge(exercise, cell(SCALED + body))
    assert (outcome.status, outcome.mistake) == ("correct", None)
    assert outcome.message == "Right on 2 inputs, gradients included."


@pytest.mark.parametrize(
    ("body", "status", "mistake"),
    [
        # the exercise's own mistakes
        ("return image + factor", "wrong", "added"),
        ("return torch.ones_like(image)", "wrong", "all ones"),
        # types
        ("image * factor", "wrong", "nothing returned"),
        ("return image.numpy() * factor", "wrong", "NumPy array instead of a tensor"),
        ("return (image * factor).tolist()", "wrong", "wrong type"),
        ("return 'done'", "wrong", "wrong type"),
        ("return image * factor,", "wrong", "wrapped in a tuple"),
        ("return image.mul", "wrong", "function not called"),
        ("yield image * factor", "wrong", "yield instead of return"),
        ("return (image * factor).to_sparse()", "wrong", "wrong type"),
        ("return (image * factor).to('meta')", "wrong", "wrong type"),
        # shapes
        ("return (image * factor)[None]", "wrong", "one axis too many"),
        ("return (image * factor).sum(0)", "wrong", "batch axis missing"),
        ("return (image * factor).T", "wrong", "axes swapped"),
        ("return (image * factor).reshape(image.shape[::-1])", "wrong", "axes swapped"),
        ("return (image * factor).flatten()", "wrong", "other shape"),
        ("return (image * factor)[:, None]", "wrong", "an axis of length 1"),
        ("return (image * factor)[:1]", "wrong", "wrong shape"),
        # dtypes
        ("return (image * factor).double()", "wrong", "wrong dtype"),
        ("return (image * factor).round().long()", "wrong", "wrong dtype"),
        # numbers
        ("return image * factor / 0", "wrong", "NaN or infinite"),
        ("return image * factor * float('nan')", "wrong", "NaN or infinite"),
        ("return -image * factor", "wrong", "sign flipped"),
        ("return image * factor / 2", "wrong", "off by a constant factor"),
        ("return image * factor - 1", "wrong", "off by a constant"),
        ("return image * 0", "wrong", "all zeros"),
        ("return (image * factor).flip(1)", "wrong", "mirrored"),
        ("return (image * factor).roll(1, 0)[:, [1, 0] + list(range(2, image.shape[1]))]", "wrong",
         "right numbers in the wrong places"),
        ("return image * factor + torch.randn(image.shape)", "wrong", "changes from call to call"),
        ("return image ** factor", "wrong", None),
        # gradients
        ("return image.detach() * factor", "wrong", "gradient cut off"),
        ("return image.data * factor", "wrong", "gradient cut off"),
        ("return torch.tensor(image.detach().numpy() * factor, dtype=torch.float32)", "wrong", "gradient cut off"),
        ("return torch.from_numpy(image.numpy() * factor).float()", "crashed", "gradient cut off"),
        ("return image * (factor - 1) + image.detach()", "wrong", "wrong gradient"),
        ("with torch.no_grad(): return image * factor", "wrong", "gradient cut off"),
        # side effects
        ("image *= factor; return image", "wrong", "input changed in place"),
        ("out = image * factor; image.zero_(); return out", "wrong", "input changed in place"),
        ("image += 0; return image * factor", "crashed", "input changed in place"),
        # crashes
        ("return image @ image", "crashed", None),
        ("return (image @ image if image.requires_grad else image) * factor", "crashed", "crashes with gradients"),
        ("return undefined", "crashed", None),
        ("return (image > 0) - (image > 1)", "crashed", None),  # torch: NotImplementedError
        ("return scaled(image, factor)", "crashed", "calls itself for ever"),
        ("raise SystemExit", "crashed", "exit() called"),
        ("raise KeyboardInterrupt", "crashed", "stopped"),
        ("raise BaseException('odd')", "crashed", None),
        ("input('?')", "crashed", "waits for the keyboard"),
        ("breakpoint()", "crashed", "waits for the keyboard"),
        # not attempted
        ("raise NotImplementedError('your turn')", "not attempted", None),
        ("raise NotImplementedError", "not attempted", None),
        ("pass", "not attempted", None),
        ("...", "not attempted", None),
        ("'''Says what it will do.'''", "not attempted", None),
        ("return", "not attempted", None),
    ],
)  # fmt: skip
def test_verdict(exercise, cell, body, status, mistake):
    outcome = judge(exercise, cell(SCALED + body))
    assert (outcome.status, outcome.mistake) == (status, mistake), outcome
    assert outcome.message and repr(outcome) and outcome._repr_html_()


@pytest.mark.parametrize(
    ("source", "mistake"),
    [
        ("def scaled(image): return image", "wrong parameters"),
        ("def scaled(): return 1", "wrong parameters"),
        ("def scaled(image, factor, more): return image", "wrong parameters"),
        ("def scaled(factor, image): return factor * image.sum()", "parameters in another order"),
        ("async def scaled(image, factor): return image", "async instead of def"),
    ],
)
def test_signature(exercise, cell, source, mistake):
    outcome = judge(exercise, cell(source))
    assert outcome.mistake == mistake, outcome


def test_other_names_of_parameters_and_defaults_are_fine(exercise, cell):
    assert judge(exercise, cell("def scaled(x, by=1, *rest, **others): return x * by")).status == "correct"


def test_wrong_outcome_tells_the_first_input_and_both_values(exercise, cell):
    outcome = judge(exercise, cell(SCALED + "return image + factor if image.shape[0] == 5 else image * factor"))
    assert outcome.mistake is None  # "added" would be wrong on the first case, and this is right there
    assert "5 by 8, times 3 (right on 1 of 2)" in outcome.message
    assert "tensor of shape (5, 8), float32" in outcome.message
    assert [row.what for row in outcome.table][:2] == ["result", "at [0, 0], one of 40 that differ (of 40)"]
    assert (outcome.table[1].yours, outcome.table[1].expected) == ("3", "0")


def test_a_small_difference_is_shown_with_enough_digits(exercise, cell):
    outcome = judge(exercise, cell(SCALED + "return image * factor * (1 + 3e-4 * (image > 5.5))"))
    assert (outcome.table[1].yours, outcome.table[1].expected) == ("12.004", "12")


def test_a_wrong_value_has_priority_over_a_mistake_that_only_fits_elsewhere(exercise, cell):
    body = "return image + factor if image.shape[0] == 2 else image * 7"
    assert judge(exercise, cell(SCALED + body)).mistake is None


def test_endless_loop_is_stopped_and_its_line_shown(exercise, cell):
    began = time.process_time()  # the loop's own time: it computes without a break, however busy the machine is
    outcome = judge(exercise, cell(SCALED + "total = 0\n    while True:\n        total += 1"), seconds=0.3)
    assert time.process_time() - began < 2
    assert (outcome.status, outcome.mistake) == ("crashed", "takes too long")
    assert outcome.line.startswith(("line 3 of scaled", "line 4 of scaled"))


@pytest.mark.parametrize("caught", ["except Exception", "except", "except BaseException"])
def test_endless_loop_that_swallows_exceptions_is_stopped(exercise, cell, caught):
    body = f"for _ in range(3):\n        try:\n            while True: pass\n        {caught}: pass\n    return image"
    began = time.process_time()
    assert judge(exercise, cell(SCALED + body), seconds=0.2).status != "correct"
    assert time.process_time() - began < 5


def test_sleeping_is_stopped(exercise, cell):
    outcome = judge(exercise, cell("import time\ndef scaled(image, factor):\n    time.sleep(60)"), seconds=0.2)
    assert outcome.mistake == "takes too long"


def test_endless_loop_is_stopped_on_another_thread(exercise, cell):
    outcomes = []
    looping = cell(SCALED + "while True: pass")
    thread = threading.Thread(target=lambda: outcomes.append(judge(exercise, looping, seconds=0.2)))
    thread.start()
    thread.join(5)
    assert outcomes and outcomes[0].mistake == "takes too long"
    assert "line 2 of scaled" in outcomes[0].line


@pytest.mark.parametrize(("body", "status"), [("return image * factor", "correct"), ("return undefined", "crashed"),
                                              ("return image.data * factor", "wrong")])  # fmt: skip
def test_verdicts_on_another_thread(exercise, cell, body, status):
    outcomes = []
    function = cell(SCALED + body)
    thread = threading.Thread(target=lambda: outcomes.append(judge(exercise, function)))
    thread.start()
    thread.join(10)
    assert outcomes[0].status == status


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timer")
def test_timer_and_its_handler_are_put_back(exercise, cell):
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(True))
    signal.setitimer(signal.ITIMER_REAL, 30)
    try:
        judge(exercise, cell(SCALED + "while True: pass"), seconds=0.1)
        assert 25 < signal.getitimer(signal.ITIMER_REAL)[0] < 30
        signal.raise_signal(signal.SIGALRM)
        assert rung == [True]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_global_states_are_put_back(exercise, cell):
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    expected = random.random(), np.random.rand(), torch.rand(1).item()
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    turned = (
        "import random\ndef scaled(image, factor):\n    random.seed(1); numpy.random.seed(1); torch.manual_seed(1)\n"
    )
    turned += "    torch.set_default_dtype(torch.float64); torch.set_grad_enabled(False)\n    return image * factor"
    judge(exercise, cell(turned))
    assert (random.random(), np.random.rand(), torch.rand(1).item()) == expected
    assert torch.get_default_dtype() == torch.float32 and torch.is_grad_enabled()


def test_inside_no_grad_gradients_are_judged_all_the_same(exercise, cell):
    with torch.no_grad():
        assert judge(exercise, cell(SCALED + "return image * factor")).status == "correct"
        assert not torch.is_grad_enabled()


def test_prints_are_caught_and_told(exercise, cell, capsys):
    outcome = judge(exercise, cell(SCALED + "for i in range(1000): print('line', i)\n    return image * factor"))
    assert outcome.status == "correct"
    assert "line 0\n" in outcome.message and "line 9\n" in outcome.message and "line 10\n" not in outcome.message
    assert outcome.message.endswith("... and more")
    assert capsys.readouterr() == ("", "")


def test_warnings_are_told_without_their_place(exercise, cell, recwarn):
    outcome = judge(
        exercise, cell("import warnings\n" + SCALED + "warnings.warn('careful')\n    return image * factor")
    )
    assert "UserWarning: careful" in outcome.message and "cell" not in outcome.message
    assert not recwarn.list


def test_crash_shows_the_learners_line_and_the_inputs_only(exercise, cell):
    outcome = judge(
        exercise, cell("\n\n" + SCALED + "bigger = image\n    return torch.matmul(bigger, image)  # here\n")
    )
    assert "mat1 and mat2 shapes cannot be multiplied" in outcome.message
    assert outcome.line == "line 3 of scaled:  return torch.matmul(bigger, image)  # here"
    assert dict(outcome.inputs)["image"] == "tensor of shape (2, 3), float32: [[1, 2, 3], [4, 5, 6]]"
    assert "sandbox" not in repr(outcome) and "Traceback" not in repr(outcome)


def test_crash_inside_a_library_is_shown_at_the_learners_line(exercise, cell):
    outcome = judge(exercise, cell(SCALED + "return nn.functional.conv2d(image, image, padding='odd')"))
    assert outcome.line.startswith("line 2 of scaled:  return nn.functional.conv2d")


def test_crash_in_a_helper_of_the_learners(exercise, cell):
    outcome = judge(
        exercise, cell("def helper(x):\n    y = x\n    return y.nope\ndef scaled(image, factor): return helper(image)")
    )
    assert outcome.line == "line 3 of helper:  return y.nope"


def test_a_helper_still_to_be_written(exercise, cell):
    source = (
        "def helper(x):\n    raise NotImplementedError('your turn')\ndef scaled(image, factor): return helper(image)"
    )
    outcome = judge(exercise, cell(source))
    assert outcome.status == "not attempted" and "It calls helper" in outcome.message


def test_not_implemented_inside_a_library_is_a_crash(exercise, cell):
    outcome = judge(exercise, cell(SCALED + "return nn.Module()(image)"))
    assert outcome.status == "crashed"


def test_not_attempted_is_the_same_each_time(exercise, cell):
    texts = {repr(judge(exercise, cell(SCALED + "raise NotImplementedError('your turn')"))) for _ in range(3)}
    assert texts == {
        "○ scaled: not attempted\n"
        'Write it in its cell, run that cell, then run this one again. Stuck? hint("scaled") helps.'
    }


def test_same_answer_to_everything():
    length = Exercise(
        name="area", reference=lambda a, b: a * b,
        cases=lambda: [Case("2, 3", (2, 3), 6), Case("3, 4", (3, 4), 12)], mistakes=[],
    )  # fmt: skip
    assert judge(length, lambda a, b: 6).mistake == "always the same answer"
    assert judge(length, lambda a, b: a * b * 2).mistake == "off by a constant factor"
    assert judge(length, lambda a, b: a * b + 1).mistake == "off by a constant"
    assert judge(length, lambda a, b: a * b / 1).mistake == "a float instead of an int"
    assert judge(length, lambda a, b: torch.tensor(a * b)).mistake == "a tensor instead of a number"
    assert judge(length, lambda a, b: np.int64(a * b)).status == "correct"
    assert judge(length, lambda a, b: True).mistake == "wrong type"


def test_containers():
    def cases():
        return [Case("one", (1,), {"boxes": torch.ones(2, 4), "names": ("a", "b")})]

    exercise = Exercise(name="detect", cases=cases,
                        reference=lambda n: None, mistakes=[])  # fmt: skip
    assert judge(exercise, lambda n: {"names": ["a", "b"], "boxes": torch.ones(2, 4)}).status == "correct"
    assert judge(exercise, lambda n: {"boxes": torch.ones(2, 4)}).mistake == "other keys"
    assert judge(exercise, lambda n: {"boxes": torch.ones(2, 4), "names": ["a"]}).mistake == "wrong number of things"
    assert judge(exercise, lambda n: {"boxes": torch.ones(4), "names": ["a", "b"]}).mistake == "batch axis missing"
    outcome = judge(exercise, lambda n: {"boxes": torch.ones(2, 4), "names": ["a", "c"]})
    assert outcome.table[0].what == "result['names'][1]" and outcome.table[0].yours == "'c'"


@pytest.fixture
def as_conv():
    """An exercise whose answer is a module, looked at through what it does."""

    def cases():
        linear = nn.Linear(3, 2)
        features = torch.arange(12.0).reshape(1, 3, 2, 2).sin()
        expected = linear(features.movedim(1, -1)).movedim(-1, 1).detach()
        return [Case("3 to 2", (linear,), expected)]

    def scores(conv, linear):
        if conv.kernel_size != (1, 1):
            raise WrongResult("kernel too large", f"The kernel is {conv.kernel_size}.")
        return conv(torch.arange(12.0).reshape(1, 3, 2, 2).sin())

    # A lesson's checkers lie in lib/exercises, so their lines are not taken for the learner's.
    scores.__code__ = scores.__code__.replace(co_filename=judge.__code__.co_filename)

    def right(linear):
        conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
        conv.weight.data = linear.weight.data[:, :, None, None].clone()
        conv.bias.data = linear.bias.data.clone()
        return conv

    def no_bias(linear):
        conv = right(linear)
        conv.bias = None
        return conv

    return Exercise(
        name="as_conv", reference=right, cases=cases,
        returns=nn.Conv2d, observe=scores, mistakes=[Mistake("bias lost", "", wrong=no_bias)],
        probes=[Probe("not trainable", "Nothing to train.",
                      passes=lambda function: function(nn.Linear(1, 1)).weight.requires_grad)],
    )  # fmt: skip


COPY = """def as_conv(linear):
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    conv.weight.data = linear.weight.data[:, :, None, None]
    conv.bias.data = linear.bias.data
"""


@pytest.mark.parametrize(
    ("source", "status", "mistake"),
    [
        (COPY + "    return conv", "correct", None),
        (COPY + "    conv.bias.data = 0 * conv.bias.data\n    return conv", "wrong", "bias lost"),
        ("def as_conv(linear): return nn.Conv2d(3, 2, 3)", "wrong", "kernel too large"),
        ("def as_conv(linear): return linear", "wrong", "wrong type"),
        ("def as_conv(linear): return nn.Conv2d", "wrong", "wrong type"),
        ("def as_conv(linear): return nn.Conv2d(3, 2, 1)", "wrong", "changes from call to call"),
        ("def as_conv(linear): return nn.Conv2d(5, 2, 1)", "wrong", None),
        (COPY + "    linear.bias.data += 1; conv.bias.data = linear.bias.data - 1\n    return conv", "wrong",
         "input changed in place"),
        (COPY + "    conv.requires_grad_(False)\n    return conv", "wrong", "not trainable"),
        (COPY + "    if linear.in_features == 1: raise ValueError('one')\n    return conv", "crashed", "not trainable"),
    ],
)  # fmt: skip
def test_modules_as_answers(as_conv, cell, source, status, mistake):
    outcome = judge(as_conv, cell(source))
    assert (outcome.status, outcome.mistake) == (status, mistake), outcome


def test_using_the_returned_module_fails_outside_of_the_learners_code(as_conv, cell):
    outcome = judge(as_conv, cell("def as_conv(linear): return nn.Conv2d(5, 2, 1)"))
    assert "but using it failed" in outcome.message and "Conv2d(5, 2" in outcome.message


def test_a_class_to_write(cell):
    class Doubled(nn.Module):
        def __init__(self, size):
            super().__init__()
            self.size = size

        def forward(self, x):
            return 2 * x

    exercise = Exercise(
        name="Doubled", reference=Doubled,
        cases=lambda: [Case("size 3", (3,), torch.full((3,), 2.0))], mistakes=[],
        returns=nn.Module, observe=lambda module, size: module(torch.ones(size)),
    )  # fmt: skip
    start = "class Doubled(nn.Module):\n    def __init__(self, size):\n        super().__init__()\n"
    start += "    def forward(self, x):\n"
    assert judge(exercise, Doubled).status == "correct"
    assert judge(exercise, cell(start + "        return x + x")).status == "correct"
    assert judge(exercise, cell(start + "        raise NotImplementedError('your turn')")).status == "not attempted"
    crashed = judge(exercise, cell(start + "        y = x\n        return y.nope"))
    assert (crashed.status, crashed.line) == ("crashed", "line 3 of forward:  return y.nope")
    forgotten = cell("class Doubled(nn.Module):\n    def __init__(self, size):\n        self.layer = nn.Linear(1, 1)\n")
    assert judge(exercise, forgotten).line == "line 2 of __init__:  self.layer = nn.Linear(1, 1)"


def test_a_mistake_that_crashes_is_recognised_by_the_same_crash(exercise, cell):
    multiplied = replace(
        exercise, mistakes=[Mistake("matrix product", "Use `*`.", wrong=lambda image, factor: image @ image)]
    )
    outcome = judge(multiplied, cell(SCALED + "return torch.mm(image, image)"))
    assert (outcome.status, outcome.mistake) == ("crashed", "matrix product")
    assert judge(multiplied, cell(SCALED + "return image.reshape(7, 7)")).mistake is None


def test_a_mistake_that_only_spoils_gradients(exercise, cell):
    own = replace(
        exercise,
        mistakes=[Mistake("half detached", "...", wrong=lambda image, factor: image * (factor - 1) + image.detach())],
    )
    assert judge(own, cell(SCALED + "return image.detach() + (factor - 1) * image")).mistake == "half detached"


def test_picture_of_yours_against_ours(exercise, cell):
    drawn = replace(exercise, picture=compare_maps)
    wrong = judge(drawn, cell(SCALED + "return image ** 3"))
    assert wrong.picture.startswith(b"\x89PNG")
    assert 'alt="yours beside the expected result"' in wrong._repr_html_()
    assert judge(drawn, cell(SCALED + "return 'nothing to draw'")).picture is None
    assert judge(drawn, cell(SCALED + "return image * factor")).picture is None

    def broken(got, expected, case):
        raise RuntimeError("a defect of the course")

    assert judge(replace(exercise, picture=broken), cell(SCALED + "return image ** 3")).status == "wrong"


def test_learner_function_cannot_spoil_the_next_check(exercise, cell):
    source = "seen = []\ndef scaled(image, factor):\n    seen.append(image.zero_())\n    return seen[0] * factor"
    assert judge(exercise, cell(source)).status == "wrong"
    assert judge(exercise, cell(SCALED + "return image * factor")).status == "correct"


def test_modules_that_cannot_print_themselves(as_conv, cell):
    source = (
        "class Mine(nn.Module):\n    def __repr__(self): raise ValueError('no')\ndef as_conv(linear): return Mine()"
    )
    assert judge(as_conv, cell(source)).mistake == "wrong type"


def test_exceptions_that_cannot_print_themselves(exercise, cell):
    source = "class Odd(Exception):\n    def __str__(self): raise ValueError\ndef scaled(image, factor): raise Odd"
    assert judge(exercise, cell(source)).message.startswith("Odd")
