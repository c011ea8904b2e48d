"""A convolution on a graph: what a vertex takes from itself and from its neighbours."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_uniform, random_values
from lib.exercises.engine.kinds import Kind


def graph_conv(features: Tensor, edges: Tensor, w0: Tensor, w1: Tensor) -> Tensor:
    """The course's own, as `lib.layers.graph_conv.GraphConv` does it, without its biases."""
    own, sent = features @ w0.T, features @ w1.T  # (V, D) each
    start, end = edges.unbind(1)  # (E,) each
    return own.index_add(0, start, sent[end]).index_add(0, end, sent[start])


def cases() -> list[Case]:
    triangle, pairs = [(0, 1), (1, 2), (2, 0)], torch.combinations(torch.arange(4)).tolist()
    named = {
        "4 vertices, of which one has 3 neighbours": (4, 2, 3, [(0, 1), (2, 0), (0, 3)]),
        "a triangle, and a vertex without neighbours": (4, 3, 2, triangle),
        "as many features after as before": (5, 3, 3, [(4, 0), (0, 1), (2, 1), (2, 3), (3, 4), (1, 4)]),
        "4 vertices, each a neighbour of each": (4, 2, 4, pairs),
        "2 vertices, one edge": (2, 3, 2, [(1, 0)]),
        "12 vertices, 20 edges": (12, 4, 3, random_edges(12, 20, seed=5).tolist()),
        "no edge": (3, 2, 3, []),
    }
    made = []
    for seed, (label, (vertices, before, after, edges)) in enumerate(named.items()):
        w0, w1 = (random_values(after, before, seed=seed + more) for more in (10, 20))
        listed = torch.tensor(edges, dtype=torch.int64).reshape(-1, 2)
        arguments = (random_values(vertices, before, seed=seed), listed, w0, w1)
        made.append(Case.from_truth(label, arguments, by_matrix, gradients_of=("features", "w0", "w1")))
    return made


def random_edges(vertices: int, count: int, seed: int) -> Tensor:
    pairs = torch.combinations(torch.arange(vertices))  # (all pairs, 2)
    chosen = pairs[random_uniform(len(pairs), seed=seed).argsort()[:count]]  # (count, 2)
    return torch.where(random_uniform(count, 1, seed=seed + 1) < 0.5, chosen, chosen.flip(1))


def by_matrix(features: Tensor, edges: Tensor, w0: Tensor, w1: Tensor) -> Tensor:
    """The truth: a square table says who is whose neighbour, and a product of matrices does the sums."""
    neighbours = torch.zeros(len(features), len(features))
    for a, b in edges.tolist():
        neighbours[a, b] = neighbours[b, a] = 1
    return F.linear(features, w0) + neighbours @ F.linear(features, w1)


def both_ways(listed: Tensor) -> Tensor:
    return listed + listed.T


def degrees(listed: Tensor) -> Tensor:
    return both_ways(listed).sum(dim=1)  # (V,) how many neighbours


def convolved(
    features: Tensor,
    edges: Tensor,
    w0: Tensor,
    w1: Tensor,
    weights: Callable[[Tensor], Tensor] = both_ways,
    at_last: Callable[[Tensor, Tensor], Tensor] = lambda result, listed: result,
) -> Tensor:
    """`graph_conv` with its decisions open.

    Args:
        weights: from the edges as they are listed, (V, V), row: the first vertex, column: the second one, to how much
            a vertex (row) takes from another (column).
        at_last: what is done to the result, with the same table beside it.
    """
    listed = torch.zeros(len(features), len(features))
    listed[edges[:, 0], edges[:, 1]] = 1
    return at_last(F.linear(features, w0) + weights(listed) @ F.linear(features, w1), listed)


def written_once(features: Tensor, edges: Tensor, w0: Tensor, w1: Tensor, both: bool = True) -> Tensor:
    (start, end), total, sent = edges.T, features @ w0.T, features @ w1.T
    total[start] += sent[end]
    if both:
        total[end] += sent[start]
    return total


def from_one_neighbour(got: Tensor, case: Case, own_kept: bool) -> bool:
    """Whether each vertex has what one of its neighbours sends, on top of its own or in its place."""
    features, edges, w0, w1 = case.arguments
    own, sent = features @ w0.T, features @ w1.T  # (V, D) each
    for vertex, mine in enumerate(got):
        at_an_end = (edges == vertex).any(dim=1)
        neighbours = edges[at_an_end].sum(dim=1) - vertex  # of each of its edges the other end
        possible = sent[neighbours] + own[vertex] * own_kept if len(neighbours) else own[vertex][None]
        if (mine - possible).abs().amax(dim=1).min() > 1e-4:
            return False
    return True


def rows_for_columns(features: Tensor, edges: Tensor, w0: Tensor, w1: Tensor) -> Tensor:
    return graph_conv(features, torch.stack([edges[0], edges[1]], dim=1), w0, w1)


MISTAKES = [
    Mistake(
        "only the first of each edge receives",
        "Of each edge only the first vertex receives something from the second. They are neighbours of each other: "
        "each edge counts in both directions.",
        wrong=partial(convolved, weights=lambda listed: listed),
    ),
    Mistake(
        "only the second of each edge receives",
        "Of each edge only the second vertex receives something from the first. They are neighbours of each other: "
        "each edge counts in both directions.",
        wrong=partial(convolved, weights=lambda listed: listed.T),
    ),
    Mistake(
        "one neighbour alone",
        "Each of your vertices received something from only one of its neighbours. `x[places] = ...`, and "
        "`x[places] += ...` too, write once to a place that is named several times: the last one stays. `index_add` "
        "adds them all.",
        when=lambda got, expected, case: from_one_neighbour(got, case, own_kept=True),
    ),
    Mistake(
        "written over by one neighbour",
        "Each of your vertices holds what only one of its neighbours sent, and its own part is gone: `x[places] = ...` "
        "writes over what was there. Add, also where a place is named several times, as `index_add` does.",
        when=lambda got, expected, case: from_one_neighbour(got, case, own_kept=False),
    ),
    Mistake(
        "repeated places written once",
        "Where a vertex stands several times in the same column of `edges`, only the last of these edges counts in "
        "yours: `x[places] += ...` writes once to a place that is named several times. `index_add` adds them all.",
        wrong=written_once,
    ),
    Mistake(
        "only the first of each edge receives, and once",
        "Two things at once. Only the first vertex of each edge receives something, though both are neighbours of each "
        "other. And `x[places] += ...` writes once to a place that is named several times; `index_add` adds them all.",
        wrong=partial(written_once, both=False),
    ),
    Mistake(
        "mean instead of sum",
        "You took the mean over the neighbours. It should be the sum: who has more neighbours receives more.",
        wrong=partial(convolved, weights=lambda listed: both_ways(listed) / degrees(listed).clamp(min=1)[:, None]),
    ),
    Mistake(
        "mean instead of sum, and 0 / 0",
        "You took the mean over the neighbours, which is 0 / 0 for a vertex without any. It should be the sum.",
        wrong=partial(convolved, weights=lambda listed: both_ways(listed) / degrees(listed)[:, None]),
    ),
    Mistake(
        "its own neighbour",
        "You count each vertex as its own neighbour, too. What it takes from itself, it takes through w0 alone.",
        wrong=partial(convolved, weights=lambda listed: both_ways(listed) + torch.eye(len(listed))),
    ),
    Mistake(
        "mean over neighbours and itself",
        "Through w1 you take the mean over the neighbours *and* the vertex. It should be a sum over neighbours alone.",
        wrong=partial(
            convolved,
            weights=lambda listed: (both_ways(listed) + torch.eye(len(listed))) / (degrees(listed) + 1)[:, None],
        ),
    ),
    Mistake(
        "divided by how many were added",
        "You divided by the number of neighbours plus one. Nothing is divided: it is a sum.",
        wrong=partial(convolved, at_last=lambda result, listed: result / (degrees(listed) + 1)[:, None]),
    ),
    Mistake(
        "divided by the roots of degrees",
        "You divided by the roots of the numbers of neighbours at both ends of an edge, as another graph convolution "
        "does (Kipf and Welling, 2017). Here nothing is divided.",
        wrong=partial(
            convolved,
            weights=lambda listed: both_ways(listed) / (degrees(listed)[:, None] * degrees(listed)).clamp(min=1).sqrt(),
        ),
    ),
    Mistake(
        "w0 and w1 exchanged",
        "You exchanged the two: w0 is for a vertex's own features, w1 for those of its neighbours.",
        wrong=lambda features, edges, w0, w1: convolved(features, edges, w1, w0),
    ),
    Mistake(
        "w0 for all",
        "You used w0 for the neighbours, too. Their features go through w1.",
        wrong=lambda features, edges, w0, w1: convolved(features, edges, w0, w0),
    ),
    Mistake(
        "w1 for all",
        "You used w1 for a vertex's own features, too. They go through w0.",
        wrong=lambda features, edges, w0, w1: convolved(features, edges, w1, w1),
    ),
    Mistake(
        "weights not transposed",
        "Your weights are the wrong way round. w0 is (D, C), as in `nn.Linear`: each of its *rows* makes one of the D "
        "new numbers. Where D = C nothing crashes.",
        wrong=lambda features, edges, w0, w1: convolved(features, edges, w0.T, w1.T),
    ),
    Mistake(
        "own features left out",
        "You return what comes from the neighbours alone. Add w0 times the vertex's own features.",
        wrong=lambda features, edges, w0, w1: convolved(features, edges, torch.zeros_like(w0), w1),
    ),
    Mistake(
        "neighbours left out",
        "You return w0 times a vertex's own features, and nothing comes from its neighbours.",
        wrong=lambda features, edges, w0, w1: convolved(features, edges, w0, torch.zeros_like(w1)),
    ),
    Mistake(
        "itself for each of its edges",
        "For each edge you add the vertex's *own* features through w1. Asked are those of the vertex at the other end.",
        wrong=partial(convolved, weights=lambda listed: degrees(listed).diag()),
    ),
    Mistake(
        "each neighbour twice",
        "You count each neighbour twice. Each edge stands once in `edges`: once in each direction is enough.",
        wrong=partial(convolved, weights=lambda listed: 2 * both_ways(listed)),
    ),
    Mistake(
        "differences to the neighbours",
        "Through w1 you take how much the neighbours differ from the vertex. Asked are their features as they are.",
        wrong=partial(convolved, weights=lambda listed: both_ways(listed) - degrees(listed).diag()),
    ),
    Mistake(
        "ReLU taken",
        "Right but for the negative numbers, which became 0. No ReLU is asked for here: it comes later.",
        wrong=partial(convolved, at_last=lambda result, listed: result.relu()),
    ),
    Mistake(
        "rows of `edges` for columns",
        "You took the first two *rows* of `edges` for the two ends of all edges. A row is an edge, (E, 2): the ends "
        "are the two columns.",
        wrong=rows_for_columns,
    ),
]

EXERCISE = Exercise(
    name="graph_conv",
    reference=graph_conv,
    cases=cases,
    takes={"edges": Kind.INDICES},
    gives=Kind.NUMBERS,
    mistakes=MISTAKES,
)
