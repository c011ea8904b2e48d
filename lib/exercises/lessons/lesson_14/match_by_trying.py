"""Which query is for which true box: the cheapest of all ways to give each box a query of its own."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import combinations, permutations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lib.exercises.engine.exercise import Case, Exercise, Mistake
from lib.exercises.engine.inputs import random_values
from lib.exercises.engine.kinds import Kind

Ways = Callable[[range, int], Iterable[tuple[int, ...]]]


def match_by_trying(cost: Tensor) -> Tensor:
    """The course's own: Q · (Q − 1) · ... ways, the cheapest of which is taken."""
    return tried(cost)


def tried(
    cost: Tensor,
    ways: Ways = permutations,
    total: Callable[[Tensor], Tensor] = lambda costs: costs.sum(dim=1),
    best: Callable[[Tensor], Tensor | int] = torch.argmin,
) -> Tensor:
    """`match_by_trying` with its decisions open.

    Args:
        ways: from the numbers of the queries, and n, to the W ways that are tried, n queries each.
        total: from the n costs of each way (W, n) to what it costs (W,).
        best: from what the ways cost to the place of the one that is taken.
    """
    queries, count = cost.shape
    listed = torch.tensor(list(ways(range(queries), count)), dtype=torch.int64)  # (W, n)
    return listed[best(total(cost[listed, torch.arange(count)]))]


def cases() -> list[Case]:
    by_hand = torch.tensor([[1.0, 2.0], [5.0, 9.0], [4.0, 6.0]])  # both boxes want query 0
    gain = torch.tensor([[-3.1, -0.5], [-2.9, 0.2], [0.4, -0.2], [-0.6, -0.1]])
    named = {
        "3 queries, 2 boxes": by_hand,
        "4 queries, 2 boxes, most costs are negative": gain,
        "5 queries, 3 boxes": 2 * random_values(5, 3, seed=3),
        "as many boxes as queries": random_values(4, 4, seed=9) + 1,
        "7 queries, 4 boxes": random_values(7, 4, seed=4) - 1,
        "7 queries, 4 boxes, all costs above 0": random_values(7, 4, seed=9).exp() + 1,
        "one box": random_values(6, 1, seed=6),
        "no box": torch.zeros(4, 0),
    }
    return [Case(label, (cost,), by_scipy(cost)) for label, cost in named.items()]


def by_scipy(cost: Tensor) -> Tensor:
    """The truth, by the Hungarian algorithm, which need not try. Boxes as rows: then their queries come in order."""
    return torch.from_numpy(linear_sum_assignment(cost.T.numpy())[1])


def in_turn(cost: Tensor) -> Tensor:
    """Box by box, its cheapest query among those left."""
    cost, chosen = cost.clone(), []
    for box in range(cost.shape[1]):
        chosen.append(int(cost[:, box].argmin()))
        cost[chosen[-1]] = torch.inf
    return torch.tensor(chosen, dtype=torch.int64)


def cheapest_pair_first(cost: Tensor) -> Tensor:
    """The cheapest of all pairs, then the cheapest of what is left ..."""
    cost, chosen = cost.clone(), torch.zeros(cost.shape[1], dtype=torch.int64)
    for _ in chosen:
        query, box = divmod(int(cost.argmin()), len(chosen))
        chosen[box] = query
        cost[query], cost[:, box] = torch.inf, torch.inf
    return chosen


def query_by_query(cost: Tensor) -> Tensor:
    """Query by query, its cheapest box among those left, until all are given away."""
    return in_turn(cost[: cost.shape[1]].T).argsort()


def box_of_each_query(cost: Tensor) -> Tensor:
    boxes = torch.full((len(cost),), -1)
    boxes[match_by_trying(cost)] = torch.arange(cost.shape[1])
    return boxes


def smallest_sum(cost: Tensor) -> Tensor:
    found = match_by_trying(cost)
    return cost[found, torch.arange(len(found))].sum()


def rows_exchanged(cost: Tensor) -> Tensor:
    ways = permutations(range(cost.shape[0]), cost.shape[1])
    best = min(ways, key=lambda way: sum(cost[box, query] for box, query in enumerate(way)))
    return torch.tensor(best, dtype=torch.int64)


def shape_exchanged(cost: Tensor) -> Tensor:
    count, queries = cost.shape
    ways = permutations(range(queries), count)
    return torch.tensor(min(ways, key=lambda way: sum(cost[box, query] for box, query in enumerate(way))))


def only_below_0(cost: Tensor) -> Tensor:
    smallest, best = 0.0, None
    for way in permutations(range(cost.shape[0]), cost.shape[1]):
        total = sum(cost[query, box].item() for box, query in enumerate(way))
        if total < smallest:
            smallest, best = total, way
    return torch.tensor(best)


def float32_for_nothing(function: Callable[[Tensor], Tensor], cost: Tensor) -> Tensor:
    """As a function gives it, but made by `torch.tensor` without a word on dtype."""
    found = function(cost)
    return found if found.numel() else torch.tensor([])


DECISIONS: list[tuple[str, str, Callable[[Tensor], Tensor]]] = [
    (
        "a query for two boxes",
        "Each of your boxes takes its cheapest query, and two boxes may want the same one. No query stands twice.",
        lambda cost: cost.argmin(dim=0),
    ),
    (
        "box after box",
        "You go from box to box, and each takes the cheapest query that is left. An early one may take a query that a "
        "later one needs more. Only the *sum* counts: try all ways.",
        in_turn,
    ),
    (
        "the cheapest pair first",
        "You take the cheapest pair, then the cheapest of what is left. The first saves a little, and what is left may "
        "be dear. Only the *sum* counts: try all ways.",
        cheapest_pair_first,
    ),
    (
        "query after query",
        "You go from query to query, and each takes the cheapest box that is left. So the first n queries get them "
        "all. Any query may be taken, and only the *sum* counts: try all ways.",
        query_by_query,
    ),
    (
        "only ascending queries",
        "In all ways that you try the queries ascend: query 2 for box 0 and query 0 for box 1 is never tried. "
        "`itertools.combinations` gives each choice of queries once; `permutations` gives it in all its orders.",
        partial(tried, ways=combinations),
    ),
    (
        "only the first queries",
        "You try the first n queries in all orders, and never the others. Any n of the Q may be the cheapest.",
        partial(tried, ways=lambda queries, count: permutations(queries[:count])),
    ),
    (
        "sorted",
        "The right queries, but in ascending order: it is lost which of them is for which box. Number j of the result "
        "is the query of box j.",
        lambda cost: match_by_trying(cost).sort().values,
    ),
    (
        "boxes instead of queries",
        "The right pairs, but you give the numbers of the *boxes*, in the order of their queries. The task asks "
        "for the numbers of the queries, in the order of the boxes.",
        lambda cost: match_by_trying(cost).argsort(),
    ),
    (
        "largest sum",
        "You took the dearest way of all. The sum should be as *small* as possible.",
        partial(tried, best=torch.argmax),
    ),
    (
        "the last way",
        "You give the last of all ways. Is the smallest sum so far kept together with its way?",
        partial(tried, best=lambda sums: len(sums) - 1),
    ),
    (
        "absolute costs",
        "You added up the sizes of the costs, without their signs. A cost of −3 is cheaper than one of 0.",
        lambda cost: tried(cost.abs()),
    ),
    (
        "sum nearest to 0",
        "You took the way whose sum is nearest to 0. A sum of −3 is smaller than one of 0.",
        partial(tried, best=lambda sums: sums.abs().argmin()),
    ),
    (
        "the dearest pair counts",
        "You compare ways by their dearest pair. What should be small is the *sum* of the n costs.",
        partial(tried, total=lambda costs: costs.amax(dim=1) if costs.numel() else costs.sum(dim=1)),
    ),
    (
        "rows and columns exchanged",
        "You look up `cost[box, query]`. A row is a query, a column is a true box.",
        rows_exchanged,
    ),
]

FLOAT = "without boxes you return an empty tensor of float32, as `torch.tensor([])` is. Say the `dtype`: int64."

EXERCISE = Exercise(
    name="match_by_trying",
    reference=match_by_trying,
    cases=cases,
    gives=Kind.INDICES,
    mistakes=[
        *(Mistake(name, explanation, wrong=wrong) for name, explanation, wrong in DECISIONS),
        Mistake(
            "float32 for nothing",
            f"Right but for one thing: {FLOAT}",
            wrong=partial(float32_for_nothing, match_by_trying),
        ),
        *(
            Mistake(
                f"{name}; float32 for nothing",
                f"Two things at once. {explanation} And {FLOAT}",
                wrong=partial(float32_for_nothing, wrong),
            )
            for name, explanation, wrong in DECISIONS
        ),
        Mistake(
            "rows taken for boxes",
            "You take the shape of `cost` for (n, Q). It is (Q, n): a row is a query, a column is a true box.",
            wrong=shape_exchanged,
        ),
        Mistake(
            "a box for each query",
            "You give Q numbers, for each query its box or −1. The task asks for n: for each *box* its query.",
            wrong=box_of_each_query,
        ),
        Mistake(
            "each query's cheapest box",
            "You give Q numbers, for each query the box that costs it least. The task asks for n: for each "
            "*box* its query, so that the sum is small.",
            wrong=lambda cost: cost.argmin(dim=1),
        ),
        Mistake(
            "only sums below 0",
            "Where no sum is below 0 you find nothing. Did your search begin with a best sum of 0? Begin with "
            "infinity.",
            wrong=only_below_0,
        ),
        Mistake(
            "sum instead of queries",
            "You return the smallest sum. The task asks for the way that has it: for each box the number of its query.",
            wrong=smallest_sum,
        ),
    ],
)
