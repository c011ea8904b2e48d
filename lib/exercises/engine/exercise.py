"""What an exercise is: the inputs to try, the truth for each, and the mistakes that people make.

One exercise, one file: `lib/exercises/lessons/lesson_01/linear_as_1x1_conv.py` ends in an `EXERCISE` of that name. Its
task, hints, minutes and stars stand in the lesson (`solutions/01_fc_vs_1x1_conv.py`). A complete file:

    \"\"\"Turn a linear layer into a 1×1 convolution that gives the same scores.\"\"\"

    from torch import Tensor, nn

    from lib.exercises.engine.exercise import Case, Exercise, mistake
    from lib.exercises.engine.inputs import random_linear, random_values
    from lib.exercises.engine.kinds import Kind
    from lib.layers.convolutionalize import linear_as_1x1_conv    # the function that `use` falls back to


    def cases() -> list[Case]:
        linears = {"3 channels, 2 classes": random_linear(3, 2), "square, 4 to 4": random_linear(4, 4)}
        return [Case(label, (linear,), scores_place_by_place(linear)) for label, linear in linears.items()]


    def scores_place_by_place(linear: nn.Linear) -> Tensor:
        # The truth comes from another road than the solution: a plain linear layer on each place in turn.
        return linear(features(linear).movedim(1, -1)).movedim(-1, 1).detach()             # (1, classes, 2, 3)


    def features(linear: nn.Linear) -> Tensor:
        return random_values(1, linear.in_features, 2, 3)                                  # (1, C, 2, 3)


    def observe(conv: nn.Conv2d, linear: nn.Linear) -> Tensor:
        return conv(features(linear))      # the learner returns an object; we compare what it does


    @mistake("bias lost", "Every score is off by the class's bias. Compare `conv.bias` with `linear.bias`.")
    def bias_lost(linear: nn.Linear) -> nn.Conv2d:
        conv = nn.Conv2d(linear.in_features, linear.out_features, 1, bias=False)
        conv.weight.data = linear.weight.data[:, :, None, None]
        return conv


    EXERCISE = Exercise(
        name="linear_as_1x1_conv",
        reference=linear_as_1x1_conv,
        cases=cases,
        returns=nn.Conv2d,                 # anything else is told so before `observe` is asked
        observe=observe,
        gives=Kind.LOGITS,                 # the slips that anybody makes with logits are found without more words
        mistakes=[bias_lost],
    )

Common slips need no words of their own. Whatever the kind: None returned, wrong type, shape, axes or dtype, NaN, inputs
changed in place, gradients cut off, chance, endless loops (`general.py`). By the kinds that `takes` and `gives` name:
another form of box, x for y, transposed, mirrored, shifted, rounded, a sum for a mean, ... (`slips.py`,
`misreadings.py`).
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import Any

import torch
from torch import Tensor

from lib.exercises.engine.kinds import Kind
from lib.exercises.engine.values import compare, copy_of


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
            gradient of `weighted_sum(result)` with respect to it. Only where the task asks for gradients.
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
    """One misunderstanding, and how to recognise it: give either `wrong` or `when`. `@mistake(...)` is the short way.

    It is named only if it is true of every input that was tried.

    Args:
        name: a few words, "weight transposed".
        explanation: for a beginner: what was done, and how to see it. Never the final line. `Backticks` mark code.
        wrong: the exercise's function with this mistake in it. A learner's function that gives what this gives on
            every case, the right ones too, has made this mistake. It may crash: so does theirs, then.
        when: `when(got, expected, case)`, asked on every case that fails, if what came back has the right type, shape
            and dtype: True if it looks like this mistake. Where there are many ways to write it, and for nothing else.
    """

    name: str
    explanation: str
    wrong: Callable | None = None
    when: Callable[[Any, Any, Case], bool] | None = None

    def __post_init__(self) -> None:
        if (self.wrong is None) == (self.when is None):
            raise ValueError(f"mistake {self.name!r} needs exactly one of `wrong` and `when`")


def mistake(name: str, explanation: str) -> Callable[[Callable], Mistake]:
    """A decorator: the function below it is the exercise's function with this mistake in it; see `Mistake`."""
    return lambda wrong: Mistake(name, explanation, wrong=wrong)


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
        name: the name of the function, and of the file that the exercise stands in.
        reference: the course's own function, with the same parameters.
        cases: makes the inputs, each time anew, from fixed seeds. Small: everything should take well under a second.
            The first one is what most learners are shown: small, and such that common mistakes give different numbers;
            never an empty one.
        takes: the kind of each parameter of which one is known, by its name.
        gives: the kind of the result, or of what `observe` sees; for a tuple, the kinds of its parts.
        mistakes: what is particular to this exercise, the likely first.
        returns: optionally the class that the result must have.
        observe: optionally `observe(result, *arguments)`, turns the returned object into the values to compare.
            It may raise `WrongResult`.
        probes: asked after all cases are right.
        forbidden: functions of PyTorch that the task forbids (`F.cross_entropy` where it is to be written).
        required: functions of PyTorch that the task wants to be called.
        lesson_size: optionally makes arguments as large as the lesson's: the function must be done with them soon, or
            it is called too slow.
        picture: optionally `picture(got, expected, case)`, draws yours against ours as a matplotlib `Figure`, or
            returns None where nothing can be drawn. `compare_maps` and `compare_boxes` are two.
        rtol, atol: values agree if |got - expected| <= atol + rtol * |expected|.
        seconds: for all cases together, before the learner's function is stopped.
    """

    name: str
    reference: Callable
    cases: Callable[[], list[Case]]
    takes: Mapping[str, Kind] = dataclass_field(default_factory=dict)
    gives: Kind | tuple[Kind, ...] = Kind.ANYTHING
    mistakes: Sequence[Mistake] = ()
    returns: type | None = None
    observe: Callable[..., Any] | None = None
    probes: Sequence[Probe] = ()
    forbidden: Sequence[Callable] = ()
    required: Sequence[Callable] = ()
    lesson_size: Callable[[], tuple[Any, ...]] | None = None
    picture: Callable[[Any, Any, Case], Any] | None = None
    rtol: float = 1e-4
    atol: float = 1e-5
    seconds: float = 10.0

    def __post_init__(self) -> None:
        if not self.name.isidentifier():
            raise ValueError(f"name is {self.name!r}; expected the name of a function")
        unknown = sorted(set(self.takes) - set(self.parameters))
        if unknown:
            raise ValueError(f"takes of {self.name} names {unknown}; expected some of {list(self.parameters)}")
        names = [*(known.name for known in self.mistakes), *(probe.name for probe in self.probes)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"mistakes of {self.name} name {twice} twice; expected a name for each")

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of the function's parameters, in order."""
        return tuple(inspect.signature(self.reference).parameters)


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
