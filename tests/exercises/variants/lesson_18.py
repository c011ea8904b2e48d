"""Answers to the exercises of lesson 18 as others write them."""

import itertools

import numpy as np
import torch

# --- grid_points ------------------------------------------------------------------------------------------------------


def by_mesh(n, size, places=lambda n, side: (torch.arange(n) + 0.5) * side / n, axis=-1, indexing="ij"):
    ys, xs = torch.meshgrid(places(n, size[0]), places(n, size[1]), indexing=indexing)
    return torch.stack([xs, ys], axis).reshape(-1, 2)


def in_two_loops(n, size, swapped=False):
    points = []
    for row in range(n):
        for column in range(n):
            x, y = (column + 0.5) * size[1] / n, (row + 0.5) * size[0] / n
            points.append((y, x) if swapped else (x, y))
    return torch.tensor(points)


def as_in_sam(n, size):
    """The paper's code: shares of the picture, then times (W, H)."""
    offset = 1 / (2 * n)
    one_side = np.linspace(offset, 1 - offset, n)
    x = np.tile(one_side[None, :], (n, 1))
    y = np.tile(one_side[:, None], (1, n))
    return torch.from_numpy(np.stack([x, y], axis=-1).reshape(-1, 2) * np.array(size[::-1]))


def by_repeats(n, size):
    h, w = size[0] / n, size[1] / n
    xs = torch.linspace(w / 2, size[1] - w / 2, n).repeat(n)
    ys = torch.linspace(h / 2, size[0] - h / 2, n).repeat_interleave(n)
    return torch.column_stack((xs, ys))


def by_division(n, size):
    cells = torch.arange(n * n)
    middles = torch.stack([cells % n, cells // n], dim=1) + 0.5
    return middles * torch.tensor([size[1], size[0]]) / n


def size_as_given(n, size):
    cells = torch.arange(n * n)
    return (torch.stack([cells % n, cells // n], 1) + 0.5) * torch.tensor(size) / n


def every_pair(n, size):
    xs, ys = ([(i + 0.5) * side / n for i in range(n)] for side in (size[1], size[0]))
    return torch.tensor(list(itertools.product(xs, ys)))


def steps_of_arange(n, size):
    xs = torch.arange(0, size[1], size[1] / n)
    ys = torch.arange(0, size[0], size[0] / n)
    return torch.cartesian_prod(ys, xs).flip(1)


def steps_of_linspace(n, size):
    xs, ys = (torch.linspace(0, side, n + 1)[:-1] for side in size[::-1])
    return torch.cartesian_prod(ys, xs).flip(1)


def divided_by_gaps(n, size):
    return torch.tensor([(x * size[1] / (n - 1), y * size[0] / (n - 1)) for y in range(n) for x in range(n)])


def whole_steps(n, size):
    h, w = size[0] // n, size[1] // n
    return torch.tensor([[w * x + w / 2, h * y + h / 2] for y in range(n) for x in range(n)])


def as_of_pixels(n, size):
    return by_mesh(n, size) - 0.5


# --- annotate_mask ----------------------------------------------------------------------------------------------------


def by_for(ask, click_at, good, by_hand, true, most):
    said = torch.zeros_like(true)
    points, labels = torch.zeros(0, 2), torch.zeros(0, dtype=torch.long)
    for n in range(most):
        x, y, label = click_at(said, true)
        points = torch.cat([points, torch.tensor([[x, y]])])
        labels = torch.cat([labels, torch.tensor([label])])
        said = ask(points, labels)
        if good(said, true):
            return said, 3.0 + 1.5 * (n + 1)
    return true, 3.0 + 1.5 * most + by_hand


def by_while(ask, click_at, good, by_hand, true, most):
    said, clicks, seconds, done = torch.full(true.shape, False), [], 3, False
    while not done and len(clicks) < most:
        clicks += [click_at(said, true)]
        seconds += 1.5
        table = torch.tensor(clicks)
        said = ask(table[:, :2].double(), table[:, 2])
        done = good(said, true)
    return [said, seconds] if done else [true.clone(), seconds + by_hand]


def by_recursion(ask, click_at, good, by_hand, true, most):
    def go_on(said, clicks):
        if len(clicks) == most:
            return true, 3 + 1.5 * most + by_hand
        clicks = [*clicks, click_at(said, true)]
        x, y, labels = zip(*clicks)
        said = ask(torch.tensor([x, y]).T.float(), torch.LongTensor(labels))
        return (said, 3 + 1.5 * len(clicks)) if good(said, true) else go_on(said, clicks)

    return go_on(true & False, [])


def for_else(ask, click_at, good, by_hand, true, most):
    points, labels = np.zeros((most, 2), np.float32), np.zeros(most, np.int64)
    mask, time = torch.zeros(true.shape[0], true.shape[1]).bool(), 3
    for i in range(most):
        *points[i], labels[i] = click_at(mask, true)
        time += 1.5
        mask = ask(torch.from_numpy(points[: i + 1]), torch.from_numpy(labels[: i + 1]))
        if good(mask, true):
            break
    else:
        mask, time = true, time + by_hand
    return mask, time


def next_click_early(ask, click_at, good, by_hand, true, most):
    """The next place is asked for only if there is a next click."""
    clicks = [click_at(torch.zeros_like(true), true)]
    while True:
        said = ask(torch.tensor([[float(c[0]), float(c[1])] for c in clicks]), torch.tensor([c[2] for c in clicks]))
        if good(said, true):
            return said, 3 + len(clicks) * 1.5
        if len(clicks) >= most:
            return true, 3 + len(clicks) * 1.5 + by_hand
        clicks.append(click_at(said, true))


def clicked(ask, click_at, good, by_hand, true, most, **changes):
    """A loop, some of whose lines are others."""
    order = changes.get("order", lambda said, true: (said, true))
    said, points, labels, n = torch.zeros_like(true), [], [], 0
    while n < most:
        x, y, label = click_at(*order(said, true))
        points.append(changes.get("point", lambda x, y: (x, y))(x, y))
        labels.append(changes.get("label", lambda label: label)(label))
        n += 1
        kept = changes.get("kept", lambda clicks: clicks)
        said = ask(torch.tensor(kept(points)).to(changes.get("dtype", torch.float32)), torch.tensor(kept(labels)))
        if good(said, true):
            return said, changes.get("found", lambda n: 3 + 1.5 * n)(n)
    return changes.get("drawn", lambda said, true, n, by_hand: (true, 3 + 1.5 * n + by_hand))(said, true, n, by_hand)


def made_anew(ask, click_at, good, by_hand, true, most):
    said = torch.zeros_like(true)
    for n in range(1, most + 1):
        x, y, label = click_at(said, true)
        said = ask(torch.tensor([[x, y]]).float(), torch.tensor([label]))
        if good(said, true):
            return said, 3 + 1.5 * n
    return true, 3 + 1.5 * most + by_hand


def one_click_as_it_is(ask, click_at, good, by_hand, true, most):
    x, y, label = click_at(torch.zeros_like(true), true)
    return ask(torch.tensor([float(x), float(y)]), torch.tensor(label)), 4.5


def while_not_good(ask, click_at, good, by_hand, true, most):
    said, points, labels = torch.zeros_like(true), [], []
    while not good(said, true):
        if len(points) == most:
            return true, 3 + 1.5 * most + by_hand
        x, y, label = click_at(said, true)
        points.append([x, y])
        labels.append(label)
        said = ask(torch.tensor(points).float(), torch.tensor(labels))
    return said, 3 + 1.5 * len(points)


def until_above(ask, click_at, good, by_hand, true, most):
    said, points, labels = torch.zeros_like(true), [], []
    while len(points) <= most:
        x, y, label = click_at(said, true)
        points.append([x, y])
        labels.append(label)
        said = ask(torch.tensor(points).float(), torch.tensor(labels))
        if good(said, true):
            return said, 3 + 1.5 * len(points)
    return true, 3 + 1.5 * len(points) + by_hand


def said_never_renewed(ask, click_at, good, by_hand, true, most):
    empty, clicks = torch.zeros_like(true), []
    for n in range(most):
        clicks.append(click_at(empty, true))
        answer = ask(torch.tensor([c[:2] for c in clicks]).float(), torch.tensor([c[2] for c in clicks]))
        if good(answer, true):
            return answer, 3 + 1.5 * (n + 1)
    return true, 3 + 1.5 * most + by_hand


def tested_the_mask_before(ask, click_at, good, by_hand, true, most):
    said, clicks = torch.zeros_like(true), []
    for n in range(most):
        clicks.append(click_at(said, true))
        answer = ask(torch.tensor([c[:2] for c in clicks]).float(), torch.tensor([c[2] for c in clicks]))
        if good(said, true):
            return answer, 3 + 1.5 * (n + 1)
        said = answer
    return true, 3 + 1.5 * most + by_hand


def float_mask(ask, click_at, good, by_hand, true, most):
    click_at(torch.zeros(true.shape), true)
    return by_for(ask, click_at, good, by_hand, true, most)


# --- merge_masks ------------------------------------------------------------------------------------------------------


def overlaps(old, new):
    a, b = old.flatten(1).float(), new.flatten(1).float()
    shared = a @ b.T
    return shared / (a.sum(1)[:, None] + b.sum(1) - shared)


def by_table(old, new, threshold, overlap=overlaps, axis=1):
    goes = (overlap(old, new) >= threshold).any(axis)
    return torch.cat((old[~goes], new), 0)


def by_broadcast(old, new, threshold):
    both = (old[:, None] & new[None]).sum((2, 3))
    either = (old[:, None] | new[None]).sum((2, 3))
    stays = (both / either < threshold).all(1)
    return torch.cat([old[stays], new])


def in_plain_loops(old, new, threshold, enough=lambda iou, threshold: iou >= threshold):
    kept = []
    for mask in old:
        if not any(enough(((mask & n).sum() / (mask | n).sum()).item(), threshold) for n in new):
            kept.append(mask)
    return torch.stack(kept + list(new)) if kept or len(new) else new


def in_numpy(old, new, threshold):
    a, b = old.numpy(), new.numpy()
    keep = np.ones(len(a), dtype=bool)
    for n in b:
        iou = (a & n).sum((1, 2)) / (a | n).sum((1, 2))
        keep &= iou < threshold
    return torch.from_numpy(np.concatenate([a[keep], b]))


def largest_overlap(old, new, threshold):
    if len(old) and len(new):
        old = old[overlaps(old, new).max(dim=1).values < threshold]
    return torch.vstack([old, new])


def places_that_go(old, new, threshold):
    gone = set((overlaps(old, new) >= threshold).nonzero()[:, 0].tolist())
    return torch.cat([old[[i for i in range(len(old)) if i not in gone]], new])


def largest_without_care(old, new, threshold):
    return torch.cat([old[overlaps(old, new).max(dim=1).values < threshold], new])


def stacked_without_care(old, new, threshold):
    kept = [m for m in old if not (overlaps(m[None], new) >= threshold).any()]
    return torch.stack(kept + list(new))


def growing_list(old, new, threshold):
    kept = list(old)
    for n in new:
        kept = [k for k in kept if (k & n).sum() / (k | n).sum() < threshold]
        kept.append(n)
    return torch.stack(kept) if kept else old


def only_if_new(old, new, threshold):
    kept = list(old)
    for n in new:
        if all((k & n).sum() / (k | n).sum() < threshold for k in kept):
            kept.append(n)
    return torch.stack(kept) if kept else old


def appended_in_the_inner_loop(old, new, threshold):
    kept = []
    for o in old:
        for n in new:
            if overlaps(o[None], n[None]) < threshold:
                kept.append(o)
    return torch.stack(kept + list(new)) if kept or len(new) else new


def flag_overwritten(old, new, threshold):
    kept = []
    for o in old:
        same = False
        for n in new:
            same = bool(overlaps(o[None], n[None]) >= threshold)
        if not same:
            kept.append(o)
    return torch.stack(kept + list(new)) if kept or len(new) else new


def ends_at_the_first(old, new, threshold):
    kept = []
    for o in old:
        for n in new:
            if overlaps(o[None], n[None]) < threshold:
                kept.append(o)
            break
        else:
            kept.append(o)
    return torch.stack(kept + list(new)) if kept or len(new) else new


def zipped(old, new, threshold):
    goes = [bool(overlaps(o[None], n[None]) >= threshold) for o, n in zip(old, new)]
    goes += [False] * (len(old) - len(goes))
    return torch.cat([old[~torch.tensor(goes, dtype=torch.bool)], new])


def as_floats(old, new, threshold):
    return by_table(old, new, threshold).float()


def by_dice(old, new, threshold):
    a, b = old.flatten(1).float(), new.flatten(1).float()
    return by_table(old, new, threshold, lambda *_: 2 * a @ b.T / (a.sum(1, keepdim=True) + b.sum(1)))


def old_emptied(old, new, threshold):
    old[(overlaps(old, new) >= threshold).any(1)] = False
    return torch.cat([old[old.flatten(1).any(1)], new])


def places(old, new, threshold):
    return (~(overlaps(old, new) >= threshold).any(1)).nonzero()[:, 0]


WRONG = {
    "grid_points": [
        ("height and width exchanged", size_as_given),
        ("y before x", lambda n, size: in_two_loops(n, size, swapped=True)),
        ("column by column", every_pair),
        ("column by column", lambda n, size: by_mesh(n, size[::-1], indexing="ij").flip(1)),
        ("corners of the cells", steps_of_arange),
        ("corners of the cells", steps_of_linspace),
        ("from edge to edge", lambda n, size: by_mesh(n, size, lambda n, side: torch.linspace(0, side, n))),
        ("from edge to edge", divided_by_gaps),
        ("cells of whole pixels", whole_steps),
        ("half a pixel too early", as_of_pixels),
        ("stacked in front, then reshaped", lambda n, size: by_mesh(n, size, axis=0)),
        ("wrong dtype", lambda n, size: by_division(n, size).long()),
        ("axes swapped", lambda n, size: by_repeats(n, size).T),
        ("NumPy array instead of a tensor", lambda n, size: by_repeats(n, size).numpy()),
        ("wrong type", lambda n, size: by_repeats(n, size).tolist()),
        ("shares of the picture", lambda n, size: by_division(n, (1, 1))),
        ("shares of the picture; in another order", lambda n, size: every_pair(n, (1, 1))),
        ("corners of the cells; y before x", lambda n, size: steps_of_arange(n, size).flip(1)),
    ],
    "annotate_mask": [
        ("the last click alone", made_anew),
        ("the last click alone", lambda *given: clicked(*given, kept=lambda clicks: clicks[-1:])),
        ("the empty mask tested", while_not_good),
        ("the empty mask shown each time", said_never_renewed),
        ("one click too many, counted", until_above),
        ("y before x", lambda *given: clicked(*given, point=lambda x, y: (y, x))),
        ("labels inverted", lambda *given: clicked(*given, order=lambda said, true: (true, said))),
        ("labels inverted", lambda *given: clicked(*given, label=lambda label: 1 - label)),
        ("all labels 1", lambda *given: clicked(*given, label=lambda label: 1)),
        ("clicks counted from 0", lambda *given: clicked(*given, found=lambda n: 3 + 1.5 * (n - 1))),
        ("never by hand", lambda *given: clicked(*given, drawn=lambda said, true, n, by_hand: (said, 3 + 1.5 * n))),
        ("clicks in vain not counted", lambda *given: clicked(*given, drawn=lambda said, true, n, s: (true, 3 + s))),
        ("by_hand alone", lambda *given: clicked(*given, drawn=lambda said, true, n, by_hand: (true, by_hand))),
        ("returned in another order", lambda *given: by_for(*given)[::-1]),
        ("wrong type", lambda *given: by_for(*given)[0]),
        (None, lambda *given: clicked(*given, dtype=torch.int64)),
        (None, lambda *given: clicked(*given, point=lambda x, y: (y,), kept=lambda clicks: clicks)),
        (None, one_click_as_it_is),
        (None, tested_the_mask_before),
        (None, float_mask),
    ],
    "merge_masks": [
        ("above the threshold alone", lambda *given: in_plain_loops(*given, enough=lambda iou, t: iou > t)),
        ("new ones compared with each other", growing_list),
        ("first come, first kept", only_if_new),
        ("once for each new one that differs", appended_in_the_inner_loop),
        ("the last new one alone", flag_overwritten),
        ("the first new one alone", ends_at_the_first),
        ("in pairs", zipped),
        ("Dice", by_dice),
        ("the old one stays", lambda old, new, t: torch.cat([old, new[~(overlaps(old, new) >= t).any(0)]])),
        ("new ones first", lambda old, new, t: torch.cat([new, places_that_go(old, new, t)[: -len(new) or None]])),
        ("wrong dtype", as_floats),
        ("input changed in place", old_emptied),
        ("crashes for some inputs", largest_without_care),
        ("crashes for some inputs", stacked_without_care),
        ("two inputs exchanged", lambda old, new, t: by_broadcast(new, old, t)),
        ("wrong shape", places),
        (None, lambda old, new, t: by_table(old, new, t, axis=0)),
    ],
}

RIGHT = {
    "grid_points": [by_mesh, in_two_loops, as_in_sam, by_repeats, by_division],
    "annotate_mask": [by_for, by_while, by_recursion, for_else, next_click_early],
    "merge_masks": [by_table, by_broadcast, in_plain_loops, in_numpy, largest_overlap, places_that_go],
}
