"""How far two clouds of points are from each other."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake, Probe
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind
from lib.ops import mesh_losses


def chamfer_distance(one: Tensor, other: Tensor) -> Tensor:
    """The course's own, `lib.ops.mesh_losses.chamfer_distance`, for one pair of clouds."""
    return mesh_losses.chamfer_distance(one[None], other[None])[0]


def cases() -> list[Case]:
    few, more = torch.tensor([[0.0, 0, 0], [4, 0, 0]]), torch.tensor([[0.0, 3, 1], [4, 1, 2], [9, 0, 0]])
    by_hand = torch.tensor((10 + 5) / 2 + (10 + 5 + 25) / 3)
    moved = {
        "5 points and 3 points": (random_values(5, 3, seed=1), random_values(3, 3, seed=2)),
        "as many on both sides": (random_values(4, 3, seed=3), random_values(4, 3, seed=4)),
        "one point each": (random_values(1, 3, seed=5), random_values(1, 3, seed=6)),
        "one point against 5": (random_values(1, 3, seed=7), random_values(5, 3, seed=8)),
        "60 points and 40 points": (random_values(60, 3, seed=9), random_values(40, 3, seed=10) / 2),
    }
    return [
        Case("2 points and 3 points, in whole numbers", (few, more), by_hand),
        *(Case.from_truth(label, clouds, by_tree, gradients_of=("one", "other")) for label, clouds in moved.items()),
        *(Case.from_truth(label, clouds, by_tree) for label, clouds in on_one_another().items()),
    ]


def on_one_another() -> dict[str, tuple[Tensor, Tensor]]:
    cloud = random_values(4, 3, seed=11)
    return {
        "some points lie exactly on others": (cloud, torch.cat([cloud[1:3], random_values(3, 3, seed=12)])),
        "a cloud and itself, in another order": (cloud, cloud[[2, 0, 3, 1]]),
    }


def by_tree(one: Tensor, other: Tensor) -> Tensor:
    """The truth: scipy finds the nearest points."""
    from scipy.spatial import KDTree  # here, because it takes longer to import than a check to run

    there, back = (
        torch.from_numpy(KDTree(to.detach().numpy()).query(points.detach().numpy())[1])
        for points, to in ((one, other), (other, one))
    )  # (P,), (Q,) places
    return (one - other[there]).square().sum(1).mean() + (other - one[back]).square().sum(1).mean()


def squared(steps: Tensor) -> Tensor:
    return steps.square().sum(dim=2)


def length(steps: Tensor) -> Tensor:
    return steps.norm(dim=2)


def compared(
    one: Tensor,
    other: Tensor,
    far: Callable[[Tensor], Tensor] = squared,
    nearest: Callable[[Tensor, int], Tensor] = torch.amin,
    over: Callable[[Tensor], Tensor] = torch.mean,
    together: Callable[[Tensor, Tensor], Tensor] = torch.add,
) -> Tensor:
    """`chamfer_distance` with its decisions open.

    Args:
        far: from the steps between all pairs (P, Q, 3) to how far it is, (P, Q).
        nearest: along which axis one of each row or column is taken, and which.
        over: from the distances of one cloud's points to one number.
        together: from the way there and the way back to the result.
    """
    table = far(one[:, None] - other)  # (P, Q)
    return together(over(nearest(table, 1)), over(nearest(table, 0)))


def joined(one: Tensor, other: Tensor, count: Callable[[int, int], tuple[int, int]]) -> Tensor:
    """`chamfer_distance` with sums that are divided by other numbers than P and Q."""
    by_one, by_other = count(len(one), len(other))
    return compared(one, other, over=torch.sum, together=lambda there, back: there / by_one + back / by_other)


def axis_by_axis(one: Tensor, other: Tensor) -> Tensor:
    steps = (one[:, None] - other).square()  # (P, Q, 3)
    return steps.amin(1).sum(1).mean() + steps.amin(0).sum(1).mean()


def nearest_stand_still(one: Tensor, other: Tensor) -> Tensor:
    return compared(one, other.detach(), together=lambda there, back: there) + compared(
        one.detach(), other, together=lambda there, back: back
    )


def steady_on_one_another(function: Callable) -> bool:
    for clouds in on_one_another().values():
        one, other = (cloud.clone().requires_grad_() for cloud in clouds)
        if not all(grad.isfinite().all() for grad in torch.autograd.grad(function(one, other), [one, other])):
            return False
    return True


ROWS = (
    "You compare the first point with the first, the second with the second. The clouds have no common order: each "
    "point is compared with all of the other cloud, and the nearest counts."
)

MISTAKES = [
    Mistake(
        "not squared",
        "You took the distances as they are. Asked are their squares.",
        wrong=partial(compared, far=length),
    ),
    Mistake(
        "only there",
        "You went from `one` to `other`, but not back. Points of `other` that are near nothing cost nothing then.",
        wrong=partial(compared, together=lambda there, back: there),
    ),
    Mistake(
        "only back",
        "You went from `other` to `one`, but not back. Points of `one` that are near nothing cost nothing then.",
        wrong=partial(compared, together=lambda there, back: back),
    ),
    Mistake(
        "there twice",
        "You went from `one` to `other` twice. The second half begins at the points of `other`.",
        wrong=partial(compared, together=lambda there, back: 2 * there),
    ),
    Mistake(
        "back twice",
        "You went from `other` to `one` twice. One half begins at the points of `one`.",
        wrong=partial(compared, together=lambda there, back: 2 * back),
    ),
    Mistake(
        "sums instead of means",
        "You added up over the points. It should be a mean for each cloud, so that more points do not cost more.",
        wrong=partial(compared, over=torch.sum),
    ),
    Mistake(
        "mean of both halves",
        "Yours is half as large: you took the mean of the way there and the way back. It should be their sum.",
        wrong=partial(compared, together=lambda there, back: (there + back) / 2),
    ),
    Mistake(
        "one mean over all points",
        "You took one mean over the points of both clouds. Asked are two means, one for each cloud, and their sum.",
        wrong=partial(joined, count=lambda p, q: (p + q, p + q)),
    ),
    Mistake(
        "divided by the other cloud's points",
        "You divided the sum over each cloud by the number of points of the *other*. Where both have as many, nobody "
        "notices.",
        wrong=partial(joined, count=lambda p, q: (q, p)),
    ),
    Mistake(
        "mean over coordinates",
        "Yours is a third of what it should be: you took the mean over x, y and z. A squared distance is their *sum*.",
        wrong=partial(compared, far=lambda steps: steps.square().mean(dim=2)),
    ),
    Mistake(
        "the longer way alone",
        "You took the larger one of the way there and the way back. It should be their sum.",
        wrong=partial(compared, together=torch.maximum),
    ),
    Mistake(
        "the farthest point alone",
        "In each half you took the largest of the distances, so that one point decides. It should be their mean.",
        wrong=partial(compared, over=torch.amax),
    ),
    Mistake(
        "Hausdorff distance",
        "That is the Hausdorff distance: the largest of all the ways to a nearest point. It should be a mean, squared, "
        "for each cloud, and their sum.",
        wrong=partial(compared, far=length, over=torch.amax, together=torch.maximum),
    ),
    Mistake(
        "Hausdorff distance, squared",
        "That is the Hausdorff distance, squared: the largest of all the ways to a nearest point. It should be a mean "
        "for each cloud, and their sum.",
        wrong=partial(compared, over=torch.amax, together=torch.maximum),
    ),
    Mistake("row by row", ROWS, wrong=lambda one, other: (one - other).square().sum(1).mean()),
    Mistake("row by row, there and back", ROWS, wrong=lambda one, other: 2 * (one - other).square().sum(1).mean()),
    Mistake("row by row, mean over coordinates", ROWS, wrong=lambda one, other: (one - other).square().mean()),
    Mistake(
        "mean over all pairs",
        "You took the mean over all pairs of points. For each point only the *nearest* of the other cloud counts.",
        wrong=partial(compared, nearest=torch.mean),
    ),
    Mistake(
        "mean over all pairs, once",
        "You took the mean over all pairs of points. For each point only the *nearest* of the other cloud counts, and "
        "both clouds' points are asked.",
        wrong=partial(compared, nearest=torch.mean, together=lambda there, back: there),
    ),
    Mistake(
        "the farthest for the nearest",
        "For each point you took the point of the other cloud that is *farthest* away. The nearest counts.",
        wrong=partial(compared, nearest=torch.amax),
    ),
    Mistake(
        "the nearest pair alone",
        "You took the smallest of all distances, so that one pair decides. *Each* point has a nearest one: take "
        "the mean over the points.",
        wrong=partial(compared, over=torch.amin),
    ),
    Mistake(
        "a cloud and itself",
        "Yours is 0, whatever the clouds. Is each compared with itself? Then every point is its own nearest one.",
        wrong=lambda one, other: compared(one, one) + compared(other, other),
    ),
    Mistake(
        "places instead of distances",
        "You took the mean over the *places* of the nearest points, their numbers in the list, instead of how far away "
        "they are. `min(dim=...)` returns values and places.",
        wrong=partial(compared, nearest=lambda table, axis: table.argmin(axis).float()),
    ),
    Mistake(
        "nearest in each coordinate",
        "You took the nearest in x, the nearest in y and the nearest in z one by one: they may belong to three points. "
        "First work out distances, then the nearest.",
        wrong=axis_by_axis,
    ),
    Mistake(
        "city blocks",
        "You added up the absolute differences of the coordinates. Asked are the *squares* of the distances.",
        wrong=partial(compared, far=lambda steps: steps.abs().sum(dim=2)),
    ),
    Mistake(
        "root of each mean",
        "You took the root of the way there and of the way back. Asked are the means of the squares as they are.",
        wrong=partial(compared, over=lambda far: far.mean().sqrt()),
    ),
    Mistake(
        "squared after the mean",
        "You took the mean of the distances and squared that. Square first, then take the mean: it is not the same.",
        wrong=partial(compared, far=length, over=lambda far: far.mean().square()),
    ),
    Mistake(
        "the nearest points stand still",
        "The numbers are right, but a gradient reaches only the points from which you measure, not those that they are "
        "measured to. Both ends move. Is something detached?",
        wrong=nearest_stand_still,
    ),
]

EXERCISE = Exercise(
    name="chamfer_distance",
    reference=chamfer_distance,
    cases=cases,
    gives=Kind.LOSS,
    mistakes=MISTAKES,
    probes=[
        Probe(
            "no slope at 0",
            "The numbers are right. But where a point lies exactly on another, your gradient is NaN or infinite: there "
            "a root is infinitely steep. The squared distance needs no root.",
            passes=steady_on_one_another,
        )
    ],
)
