"""The four numbers that lead from a proposal to the thing."""

import torch
from torch import Tensor
from torchvision.ops import box_convert

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.kinds import Kind
from lib.ops.box_coder import BoxCoder


def cases() -> list[Case]:
    draw = torch.Generator().manual_seed(2)
    proposals = torch.tensor([[10.0, 10, 30, 50], [0, 0, 8, 8], [40, 20, 90, 30]])
    moved = proposals + 3 * torch.randn(3, 4, generator=draw)
    inputs = [
        ("moved, and another size", (proposals[:1], torch.tensor([[18.0, 14, 48, 44]]))),
        ("a box moved to the right by half its width", (proposals[:1], proposals[:1] + torch.tensor([10.0, 0, 10, 0]))),
        ("a box that is twice as large", (torch.tensor([[10.0, 10, 20, 14]]), torch.tensor([[5.0, 8, 25, 16]]))),
        ("three boxes", (proposals, moved)),
        ("the very same boxes", (proposals, proposals.clone())),
        ("none", (proposals[:0], proposals[:0])),
    ]
    return [Case(label, arguments, targets_by_convert(*arguments)) for label, arguments in inputs]


def targets_by_convert(proposals: Tensor, truth: Tensor) -> Tensor:
    p, g = (box_convert(boxes, "xyxy", "cxcywh").double() for boxes in (proposals, truth))
    return torch.stack(
        [
            (g[:, 0] - p[:, 0]) / p[:, 2],
            (g[:, 1] - p[:, 1]) / p[:, 3],
            g[:, 2].log() - p[:, 2].log(),
            g[:, 3].log() - p[:, 3].log(),
        ],
        dim=1,
    ).float()


def box_targets(proposals: Tensor, truth: Tensor) -> Tensor:
    """`lib.ops.box_coder.BoxCoder().encode_single`, with the proposals first."""
    return BoxCoder().encode_single(truth, proposals)


def targets_with(divide=True, by_truth=False, ratio=None, corner=False, backwards=False):
    """`box_targets` with one thing done otherwise."""

    def targets(proposals: Tensor, truth: Tensor) -> Tensor:
        if backwards:
            proposals, truth = truth, proposals
        p, g = (box_convert(boxes, "xyxy", "cxcywh") for boxes in (proposals, truth))
        shift = truth[:, :2] - proposals[:, :2] if corner else g[:, :2] - p[:, :2]
        unit = g[:, 2:] if by_truth else p[:, 2:]
        sides = (g[:, 2:] / p[:, 2:]).log() if ratio is None else ratio(g[:, 2:], p[:, 2:])
        return torch.cat([shift / unit if divide else shift, sides], dim=1)

    return targets


def in_another_order(got: Tensor, expected: Tensor, case: Case) -> bool:
    return torch.allclose(got.sort(dim=1).values, expected.sort(dim=1).values, rtol=1e-4, atol=1e-5)


EXERCISE = Exercise(
    name="box_targets",
    reference=box_targets,
    cases=cases,
    takes={"proposals": Kind.BOXES, "truth": Kind.BOXES},
    gives=Kind.NUMBERS,
    mistakes=[
        Mistake(
            "logarithm forgotten",
            "The last two numbers are 1 where nothing changes. Take their logarithm: then no change is 0, twice as"
            " large and half as large are equally far from it.",
            wrong=targets_with(ratio=lambda g, p: g / p),
        ),
        Mistake(
            "logarithm upside down",
            "Your last two numbers have the wrong sign: log(proposal / truth). It is the truth's side divided by the "
            "proposal's.",
            wrong=targets_with(ratio=lambda g, p: (p / g).log()),
        ),
        Mistake(
            "logarithm to base 10",
            "You took the logarithm to base 10. Here it is the natural one, `log`.",
            wrong=targets_with(ratio=lambda g, p: (g / p).log10()),
        ),
        Mistake(
            "logarithm to base 2",
            "You took the logarithm to base 2. Here it is the natural one, `log`.",
            wrong=targets_with(ratio=lambda g, p: (g / p).log2()),
        ),
        Mistake(
            "relative change for the logarithm",
            "Your last two numbers are (w − pw) / pw, nearly right for small changes. Take the logarithm of w / pw.",
            wrong=targets_with(ratio=lambda g, p: g / p - 1),
        ),
        Mistake(
            "difference of sizes",
            "Your last two numbers are pixels: the sides' difference. Take the logarithm of their ratio.",
            wrong=targets_with(ratio=lambda g, p: g - p),
        ),
        Mistake(
            "shift in pixels",
            "Your first two numbers are pixels. A shift of 5 pixels is much for a small box and nothing for a large"
            " one: divide by the proposal's width and height.",
            wrong=targets_with(divide=False),
        ),
        Mistake(
            "divided by the true size",
            "You divided the shift by the size of the true box. When the numbers are used, only the proposal is known.",
            wrong=targets_with(by_truth=True),
        ),
        Mistake(
            "corner instead of middle",
            "You compared the upper left corners. The shift is that of the *middles*.",
            wrong=targets_with(corner=True),
        ),
        Mistake(
            "the way back",
            "Your numbers lead from the true box to the proposal.",
            wrong=targets_with(backwards=True),
        ),
        Mistake(
            "another order",
            "Your four numbers are right, but not in the order tx, ty, tw, th.",
            when=in_another_order,
        ),
    ],
)
