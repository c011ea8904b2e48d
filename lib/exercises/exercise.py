"""What an exercise is: the inputs to try, the truth for each, and the mistakes that people make.

A lesson's checkers live in `lib/exercises/lesson_NN.py`, which ends in a list `EXERCISES`. A complete one:

    import torch
    from torch import Tensor, nn

    from lib.exercises.exercise import Case, Exercise, Mistake, Probe
    from lib.layers.convolutionalize import linear_as_1x1_conv   # the function that `use` falls back to


    def _cases() -> list[Case]:
        generator = torch.Generator().manual_seed(0)
        cases = []
        for label, inputs, outputs in [("3 channels, 2 classes", 3, 2), ("square, 4 to 4", 4, 4)]:
            linear = nn.Linear(inputs, outputs)
            linear.weight.data = torch.randn(outputs, inputs, generator=generator)
            linear.bias.data = torch.randn(outputs, generator=generator)
            # The truth comes from another road than the solution: a plain linear layer on each place in turn.
            expected = linear(_features(inputs).movedim(1, -1)).movedim(-1, 1).detach()    # (1, classes, 2, 3)
            cases.append(Case(label, (linear,), expected))
        return cases


    def _features(channels: int) -> Tensor:
        return torch.arange(channels * 6.0).reshape(1, channels, 2, 3).sin()              # (1, C, 2, 3)


    def _scores(conv: nn.Conv2d, linear: nn.Linear) -> Tensor:
        return conv(_features(linear.in_features))     # the learner returns an object; we compare what it does


    def _bias_lost(linear: nn.Linear) -> nn.Conv2d:
        conv = nn.Conv2d(linear.in_features, linear.out_features, 1, bias=False)
        conv.weight.data = linear.weight.data[:, :, None, None]
        return conv


    EXERCISES = [
        Exercise(
            name="linear_as_1x1_conv",                 # the learner's function has this name
            lesson="01_fc_vs_1x1_conv",                # solutions/01_fc_vs_1x1_conv.py
            summary="Turn a linear layer into a 1×1 convolution that gives the same scores",
            minutes=10,
            difficulty=1,
            reference=linear_as_1x1_conv,
            cases=_cases,
            returns=nn.Conv2d,                         # anything else is told so before `observe` is asked
            observe=_scores,
            mistakes=[
                Mistake("bias lost", "Every score is off by the class's bias. Compare `conv.bias` with `linear.bias`.",
                        wrong=_bias_lost),             # recognised by committing it ...
                Mistake("scores near zero", "...", when=lambda got, expected, case: bool(got.abs().max() < 1e-3)),
            ],                                         # ... or by its looks
            probes=[Probe("shares no memory", "...", passes=lambda function: ...)],
            hints=["Print `linear.weight.shape` and `conv.weight.shape`.", "..."],
        ),
    ]

Common mistakes need no words of their own: None returned, wrong type, shape, axes or dtype, NaN, inputs changed in
place, gradients cut off, a constant factor, sign or offset, chance, endless loops: see `general_mistakes.py` and
`value_mistakes.py` beside this file.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import torch
from torch import Tensor

from lib.exercises.values import compare, copy_of


class WrongResult(Exception):  # a verdict on what came back, not a defect of the program
    """Raised by an exercise's `observe` when what the learner returned cannot be looked at.

    Args:
        name: the mistake's name, as in `Mistake`.
        explanation: what was found and what was expected, for a beginner.
    """

    def __init__(self, name: str, explanation: str) -> None:
        super().__init__(explanation)
        self.name = name
        self.explanation = explanation


@dataclass(frozen=True, eq=False)
class Case:
    """One input, and the truth about it.

    Args:
        label: what is special about it, read by the learner: "a picture that is taller than wide".
        arguments: the positional arguments. Tensors, arrays, modules, lists, ...: the learner gets a fresh copy.
        expected: what the function must return; with `Exercise.observe`, what that must see. A tensor, array, number,
            string, None, or a tuple, list or dict of these. It must not come from the reference itself.
        gradients: optionally, by the name of a parameter ("features") or of a tensor inside it ("linear.weight"), the
            gradient of `weighted_sum(result)` with respect to it.
    """

    label: str
    arguments: tuple[Any, ...]
    expected: Any
    gradients: Mapping[str, Tensor] = dataclass_field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.arguments, tuple):
            raise ValueError(f"arguments of case {self.label!r} is a {type(self.arguments).__name__}; expected a tuple")
        compare(self.expected, self.expected, rtol=0.0, atol=0.0)  # raises ValueError for what cannot be compared

    @classmethod
    def from_truth(
        cls, label: str, arguments: tuple[Any, ...], truth: Callable, gradients_of: Sequence[str] = ()
    ) -> "Case":
        """A case whose expected values, and gradients, come from an independent function such as torchvision's.

        Args:
            label, arguments: as in `Case`.
            truth: a function with the exercise's parameters (same names), by another road than the solution.
            gradients_of: the parameters (or "linear.weight") to differentiate by.
        """
        expected = detached(truth(*copy_of(arguments)))
        if not gradients_of:
            return cls(label, arguments, expected)
        fresh = copy_of(arguments)
        leaves = gradient_leaves(truth, fresh, gradients_of)
        with torch.enable_grad():
            total = weighted_sum(truth(*fresh))
        gradients = torch.autograd.grad(total, list(leaves.values()))
        return cls(label, arguments, expected, dict(zip(leaves, gradients, strict=True)))


@dataclass(frozen=True, eq=False)
class Mistake:
    """One misunderstanding, and how to recognise it: give either `wrong` or `when`.

    Args:
        name: a few words, "weight transposed".
        explanation: for a beginner: what was done, and how to see it. Never the final line. `Backticks` mark code.
        wrong: the exercise's function with this mistake in it. A learner's function that gives what this gives on
            every case where this differs from the truth has made this mistake. It may crash: so does theirs, then.
        when: `when(got, expected, case)` on the first case that fails: True if it looks like this mistake.
    """

    name: str
    explanation: str
    wrong: Callable | None = None
    when: Callable[[Any, Any, Case], bool] | None = None

    def __post_init__(self) -> None:
        if (self.wrong is None) == (self.when is None):
            raise ValueError(f"mistake {self.name!r} needs exactly one of `wrong` and `when`")


@dataclass(frozen=True, eq=False)
class Probe:
    """A question to the learner's function that no list of inputs and outputs can ask.

    Args:
        name: the mistake that a no stands for.
        explanation: as in `Mistake`.
        passes: gets the learner's function, returns whether all is well. Asked only after every case is right.
    """

    name: str
    explanation: str
    passes: Callable[[Callable], bool]


@dataclass(frozen=True, eq=False, kw_only=True)
class Exercise:
    """One function (or class) for the learner to write. See the top of this file for a complete example.

    Args:
        name: the name of the function; one exercise of that name in the whole course.
        lesson: the lesson's file name without its ending.
        summary: what to write, in one line.
        minutes: what a beginner needs.
        difficulty: 1 a line or two, 2 some thought, 3 a real problem.
        reference: the course's own function, with the same parameters.
        cases: makes the inputs, each time anew, from fixed seeds. Small: everything should take well under a second.
        mistakes: the likely first.
        hints: in rising order, keyed to symptoms; Markdown. None holds the final expression.
        returns: optionally the class that the result must have.
        observe: optionally `observe(result, *arguments)`, turns the returned object into the values to compare.
            It may raise `WrongResult`.
        probes: asked after all cases are right.
        picture: optionally `picture(got, expected, case)`, draws yours against ours as a matplotlib `Figure`, or
            returns None where nothing can be drawn. `lib.exercises.pictures.compare_maps` is one.
        rtol, atol: values agree if |got - expected| <= atol + rtol * |expected|.
        seconds: for all cases together, before the learner's function is stopped.
    """

    name: str
    lesson: str
    summary: str
    minutes: int
    difficulty: int
    reference: Callable
    cases: Callable[[], list[Case]]
    mistakes: Sequence[Mistake]
    hints: Sequence[str]
    returns: type | None = None
    observe: Callable[..., Any] | None = None
    probes: Sequence[Probe] = ()
    picture: Callable[[Any, Any, Case], Any] | None = None
    rtol: float = 1e-4
    atol: float = 1e-5
    seconds: float = 10.0

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"name is {self.name!r}; expected the name of a function")
        if self.difficulty not in (1, 2, 3):
            raise ValueError(f"difficulty of {self.name} is {self.difficulty!r}; expected 1, 2 or 3")
        names = [mistake.name for mistake in [*self.mistakes, *self.probes]]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"mistakes of {self.name} name {twice} twice; expected a name for each")


def detached(values: Any) -> Any:
    """The same values without their history of gradients. Lists, tuples and dicts are walked through."""
    if isinstance(values, Tensor):
        return values.detach()
    if isinstance(values, Mapping):
        return {key: detached(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return (list if isinstance(values, list) else tuple)(detached(value) for value in values)
    return values


def weighted_sum(values: Any) -> Tensor:
    """One number from all floating-point tensors in `values`: their sum, the i-th element weighted by cos(i).

    Weighted, because a plain sum hides mistakes: the sum of a softmax is 1 whatever went in. The first element has
    weight 1, so for a function that returns one number this is that number. Zero if there is no such tensor.
    """
    if isinstance(values, Tensor) and values.is_floating_point():
        weights = torch.arange(values.numel(), dtype=values.dtype, device=values.device).cos().reshape(values.shape)
        return (values * weights).sum()
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, list | tuple):
        return sum((weighted_sum(value) for value in values), torch.zeros(()))
    return torch.zeros(())


def gradient_leaves(function: Callable, arguments: tuple[Any, ...], names: Sequence[str]) -> dict[str, Tensor]:
    """The tensors in `arguments` that `names` ("features", "linear.weight") speak of, each made to want a gradient.

    Args:
        function: whose parameters are meant.
        arguments: its positional arguments; the tensors named are switched to `requires_grad` where they lie.
        names: parameters of `function`, or attributes of them.
    """
    given = inspect.signature(function).bind(*arguments).arguments
    leaves = {}
    for name in names:
        parameter, *attributes = name.split(".")
        if parameter not in given:
            raise ValueError(f"gradients of {name!r} were asked, but the parameters are {sorted(given)}")
        leaf = given[parameter]
        for attribute in attributes:
            leaf = getattr(leaf, attribute)
        leaves[name] = leaf.requires_grad_()
    return leaves
