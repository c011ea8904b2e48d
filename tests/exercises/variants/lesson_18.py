"""Answers to the exercises of lesson 18 as others write them."""

import itertools

import numpy as np
import torch

from lib.ops.masks import mask_iou

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


# --- stability_score --------------------------------------------------------------------------------------------------


def as_in_the_paper(logits, threshold, offset):
    high = logits > (threshold + offset)
    low = logits > (threshold - offset)
    shared = (high & low).flatten(1).sum(-1)
    either = (high | low).flatten(1).sum(-1)
    return torch.where(either == 0, 0.0, shared / either)


def by_iou_tables(logits, threshold, offset):
    return mask_iou(logits > threshold + offset, logits > threshold - offset).diagonal()


def by_means(logits, threshold, offset, above=torch.gt):
    high, low = (above(logits, threshold + sign * offset).double().mean((-2, -1)) for sign in (1, -1))
    return torch.nan_to_num(high / low, nan=0.0)


def score_by_score(logits, threshold, offset, none=0.0):
    scores = torch.zeros(len(logits))
    for i, one in enumerate(logits):
        low = one[one > threshold - offset]
        scores[i] = (low > threshold + offset).float().mean() if len(low) else none
    return scores


def with_small_number(logits, threshold, offset):
    moved = logits - threshold
    return (moved > offset).float().sum((1, 2)) / ((moved > -offset).float().sum((1, 2)) + 1e-9)


def counted_by_numpy(logits, threshold, offset):
    high = np.count_nonzero(logits.numpy() > threshold + offset, axis=(1, 2))
    low = np.count_nonzero(logits.numpy() > threshold - offset, axis=(1, 2))
    return torch.from_numpy(high / np.maximum(low, 1)).float()


def stays_numpy(logits, threshold, offset):
    return counted_by_numpy(logits, threshold, offset).numpy()


def unsafe(logits, threshold, offset, above=torch.gt):
    high, low = above(logits, threshold + offset), above(logits, threshold - offset)
    return (high & low).sum((1, 2)) / (high | low).sum((1, 2))


def upside_down(logits, threshold, offset, least=0):
    inside, around = (logits > threshold + offset).flatten(1), (logits > threshold - offset).flatten(1)
    return around.count_nonzero(1) / inside.count_nonzero(1).clamp(min=least)


def added_to_both(logits, threshold, offset):
    high, low = logits > threshold + offset, logits > threshold - offset
    return ((high & low).sum((1, 2)) + 1e-6) / ((high | low).sum((1, 2)) + 1e-6)


def pixels_that_agree(logits, threshold, offset):
    return ((logits > threshold + offset) == (logits > threshold - offset)).float().mean((1, 2))


def one_for_all(logits, threshold, offset):
    return (logits > threshold + offset).sum() / (logits > threshold - offset).sum().clamp(min=1)


def one_for_all_repeated(logits, threshold, offset):
    return one_for_all(logits, threshold, offset).expand(len(logits))


def row_by_row(logits, threshold, offset):
    high, low = logits > threshold + offset, logits > threshold - offset
    return (high.sum(2) / low.sum(2).clamp(min=1)).mean(1)


def pixels_lost(logits, threshold, offset):
    return 1 - score_by_score(logits, threshold, offset)


def whole_numbers(logits, threshold, offset):
    return (logits > threshold + offset).sum((1, 2)) // (logits > threshold - offset).sum((1, 2)).clamp(min=1)


def masks_last(logits, threshold, offset):
    return (logits > threshold + offset).sum((0, 1)) / (logits > threshold - offset).sum((0, 1)).clamp(min=1)


def distance_to_threshold(logits, threshold, offset):
    mask = logits > threshold
    sure = mask & ((logits - threshold).abs() > offset)
    return sure.sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)


# --- keep_masks -------------------------------------------------------------------------------------------------------


def all_conditions(logits, guesses, stability, least_guess, least_stability, largest):
    area = (logits > 0).flatten(1).sum(1)
    pixels = logits.shape[-1] * logits.shape[-2]
    good = (guesses >= least_guess) & (stability >= least_stability) & (area >= 1) & (area <= largest * pixels)
    return torch.where(good)[0]


def in_a_plain_loop(logits, guesses, stability, least_guess, least_stability, largest, more=lambda a, b: a >= b):
    kept = []
    for m in range(len(logits)):
        mask = logits[m] > 0
        if not more(guesses[m], least_guess) or not more(stability[m], least_stability):
            continue
        if mask.any() and mask.float().mean() <= largest:
            kept.append(m)
    return torch.tensor(kept, dtype=torch.long)


def by_places(logits, guesses, stability, least_guess, least_stability, largest):
    share = torch.sigmoid(logits).gt(0.5).double().mean((1, 2))
    dropped = (guesses < least_guess) + (stability < least_stability) + (share == 0) + (share > largest)
    return torch.arange(len(logits))[~dropped]


def places_cut_again_and_again(logits, guesses, stability, least_guess, least_stability, largest):
    places = torch.arange(len(guesses))
    places = places[guesses[places] >= least_guess]
    places = places[stability[places] >= least_stability]
    places = places[(logits[places] > 0).any(-1).any(-1)]
    return places[(logits[places] > 0).float().mean((-2, -1)) <= largest]


def by_numpy(logits, guesses, stability, least_guess, least_stability, largest):
    masks = logits.numpy() > 0
    fine = np.stack([guesses >= least_guess, stability >= least_stability, masks.any((1, 2))]).all(0)
    return torch.from_numpy(np.flatnonzero(fine & (masks.mean((1, 2)) <= largest)))


def as_a_list(*given):
    return in_a_plain_loop(*given).tolist()


def without_dtype(*given):
    return torch.tensor(in_a_plain_loop(*given).tolist())


def column(*given):
    good = torch.zeros(len(given[0]), dtype=torch.bool)
    good[all_conditions(*given)] = True
    return good.nonzero()


def truth_values(*given):
    good = torch.zeros(len(given[0]), dtype=torch.bool)
    good[all_conditions(*given)] = True
    return good


def kept_logits(logits, *given):
    return logits[all_conditions(logits, *given)]


def strict_everywhere(logits, guesses, stability, least_guess, least_stability, largest):
    share = (logits > 0).double().mean((1, 2))
    return torch.where((guesses > least_guess) & (stability > least_stability) & (share > 0) & (share < largest))[0]


def in_pixels(logits, guesses, stability, least_guess, least_stability, largest):
    area = (logits > 0).sum((1, 2))
    return torch.where((guesses >= least_guess) & (stability >= least_stability) & (area > 0) & (area <= largest))[0]


def guess_times_stability(logits, guesses, stability, least_guess, least_stability, largest):
    return all_conditions(logits, guesses * stability, stability, least_guess * least_stability, 0.0, largest)


def best_guess_first(logits, guesses, *given):
    order = guesses.argsort(descending=True)
    kept = all_conditions(logits, guesses, *given)
    return torch.tensor([m for m in order.tolist() if m in kept], dtype=torch.int64)


def step_by_step(logits, guesses, stability, least_guess, least_stability, largest):
    sure = guesses >= least_guess
    logits, stability = logits[sure], stability[sure]
    stable = stability >= least_stability
    share = (logits[stable] > 0).float().mean((1, 2))
    return ((share > 0) & (share <= largest)).nonzero()[:, 0]


def no_area_asked(logits, guesses, stability, least_guess, least_stability, largest):
    return torch.where((guesses >= least_guess) & (stability >= least_stability))[0]


def zeros_written(logits, *given):
    logits[logits < 0] = 0
    return all_conditions(logits, *given)


# --- mask_nms ---------------------------------------------------------------------------------------------------------


def table_first(masks, scores, threshold, above=torch.gt):
    iou, order = mask_iou(masks, masks), scores.sort(descending=True).indices
    gone, kept = torch.zeros(len(masks), dtype=torch.bool), []
    for place in order.tolist():
        if not gone[place]:
            kept.append(place)
            gone |= above(iou[place], threshold)
    return torch.tensor(kept, dtype=torch.long)


def against_the_kept(masks, scores, threshold, divisor=lambda one, other: (one | other).sum()):
    kept = []
    for place in sorted(range(len(scores)), key=lambda i: scores[i], reverse=True):
        one = masks[place]
        if all((one & masks[k]).sum() / divisor(one, masks[k]) <= threshold for k in kept):
            kept.append(place)
    return torch.tensor(kept).long()


def by_argmax(masks, scores, threshold):
    scores, kept = scores.clone(), []
    while (scores > -torch.inf).any():
        best = scores.argmax()
        kept.append(best)
        shared = (masks & masks[best]).sum((1, 2))
        either = (masks | masks[best]).sum((1, 2))
        scores[shared / either > threshold] = -torch.inf
        scores[best] = -torch.inf
    return torch.stack(kept) if kept else torch.zeros(0, dtype=torch.int64)


def calls_itself(masks, scores, threshold, places=None):
    places = scores.argsort(descending=True) if places is None else places
    if not len(places):
        return places
    iou = mask_iou(masks[places[:1]], masks[places])[0]
    iou[0] = 2
    return torch.cat([places[:1], calls_itself(masks, scores, threshold, places[iou <= threshold])])


def numbers_of_pixels(masks, scores, threshold):
    flat = masks.flatten(1).to(torch.int64)
    shared = flat @ flat.T
    size = shared.diagonal()
    alike = shared > threshold * (size[:, None] + size - shared)
    keep = torch.ones(len(masks), dtype=torch.bool)
    order = scores.argsort(descending=True)
    for n, i in enumerate(order):
        if keep[i]:
            later = order[n + 1 :]
            keep[later[alike[i, later]]] = False
    return order[keep[order]]


def list_order(masks, scores, threshold):
    return table_first(masks, -torch.arange(len(scores)), threshold)


def lowest_first(masks, scores, threshold):
    return against_the_kept(masks, -scores, threshold)


def yes_or_no(*given):
    keep = torch.zeros(len(given[0]), dtype=torch.bool)
    keep[table_first(*given)] = True
    return keep


def sorted_by_place(*given):
    return yes_or_no(*given).nonzero()[:, 0]


def masks_themselves(masks, *given):
    return masks[table_first(masks, *given)]


def at_the_threshold(masks, scores, threshold):
    return table_first(masks, scores, threshold, above=torch.ge)


def shared_by_smaller(masks, scores, threshold):
    return against_the_kept(masks, scores, threshold, lambda one, other: min(one.sum(), other.sum()))


def shared_by_sum(masks, scores, threshold):
    return against_the_kept(masks, scores, threshold, lambda one, other: one.sum() + other.sum())


def shared_by_picture(masks, scores, threshold):
    return against_the_kept(masks, scores, threshold, lambda one, other: one.numel())


def dead_ones_count(masks, scores, threshold):
    order = scores.argsort(descending=True)
    kept = [
        place
        for i, place in enumerate(order.tolist())
        if not (mask_iou(masks[place][None], masks[order[:i]]) > threshold).any()
    ]
    return torch.tensor(kept, dtype=torch.int64)


def in_the_sorted_list(masks, scores, threshold):
    order = scores.argsort(descending=True)
    return numbers_of_pixels(masks[order], scores[order], threshold)


def one_pass(masks, scores, threshold):
    order = scores.argsort(descending=True)
    iou = mask_iou(masks[order[:1]], masks[order])
    return torch.cat([order[:1], order[1:][iou[:, 1:].flatten() <= threshold]])


def never_ends_itself(masks, scores, threshold):
    keep = torch.ones(len(masks), dtype=torch.bool)
    iou = mask_iou(masks, masks)
    for i in scores.argsort(descending=True):
        if keep[i]:
            keep &= ~(iou[i] > threshold)
    return scores.argsort(descending=True)[keep[scores.argsort(descending=True)]]


def sorted_in_place(masks, scores, threshold):
    kept = table_first(masks, scores, threshold)
    scores[:] = scores.sort(descending=True).values
    return kept


def floats_for_none(*given):
    return torch.tensor(table_first(*given).tolist())


def plain_list(*given):
    return table_first(*given).tolist()


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
        ("clicks before not counted", lambda *given: clicked(*given, drawn=lambda said, true, n, s: (true, 3 + s))),
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
    "stability_score": [
        ("0 / 0", unsafe),
        ("not strict; 0 / 0", lambda *given: unsafe(*given, above=torch.ge)),
        ("not strict", lambda *given: by_means(*given, above=torch.ge)),
        ("an empty mask gets 1", added_to_both),
        ("an empty mask gets 1", lambda *given: score_by_score(*given, none=1.0)),
        ("agreement over the whole picture", pixels_that_agree),
        ("1 minus the result", pixels_lost),
        ("threshold forgotten", lambda logits, threshold, offset: as_in_the_paper(logits, 0, offset)),
        ("two inputs exchanged", lambda logits, threshold, offset: as_in_the_paper(logits, offset, threshold)),
        ("larger over smaller; 0 / 0", upside_down),
        ("larger over smaller", lambda *given: upside_down(*given, least=1)),
        ("NumPy array instead of a tensor", stays_numpy),
        ("wrong dtype", whole_numbers),
        ("batch axis missing", one_for_all),
        ("masks along the last axis", masks_last),
        (None, one_for_all_repeated),
        (None, row_by_row),
        ("only moved up", distance_to_threshold),
    ],
    "keep_masks": [
        ("yes or no instead of places", truth_values),
        ("masks instead of places", kept_logits),
        ("a column", column),
        ("wrong type", as_a_list),
        ("wrong dtype", without_dtype),
        ("all strict", strict_everywhere),
        ("guess strict; stability strict", lambda *given: in_a_plain_loop(*given, more=lambda a, b: a > b)),
        ("pixels, not a share", in_pixels),
        ("empty masks kept; large masks kept", no_area_asked),
        ("sorted by guess", best_guess_first),
        ("places in a shortened list, after 2 tests", step_by_step),
        ("input changed in place", zeros_written),
        ("two inputs exchanged", lambda logits, a, b, *bounds: all_conditions(logits, b, a, *bounds)),
        ("two inputs exchanged", lambda logits, a, b, least, other, x: all_conditions(logits, a, b, other, least, x)),
        ("0 taken in", lambda logits, *given: by_places(-((-logits).clamp(min=-9) - 1e-6), *given)),
        ("wrong shape", guess_times_stability),
    ],
    "mask_nms": [
        ("not sorted by score", list_order),
        ("the worst goes first", lowest_first),
        ("yes or no instead of places", yes_or_no),
        ("in the order of the list", sorted_by_place),
        ("masks instead of places", masks_themselves),
        ("an IoU of exactly the threshold drops", at_the_threshold),
        ("divided by the smaller mask", shared_by_smaller),
        ("shared pixels counted twice", shared_by_sum),
        ("divided by all pixels of the picture", shared_by_picture),
        ("removed masks remove", dead_ones_count),
        ("places in the sorted list", in_the_sorted_list),
        ("only one round", one_pass),
        ("dropped by itself", never_ends_itself),
        ("input changed in place", sorted_in_place),
        ("wrong type", plain_list),
        ("wrong dtype", floats_for_none),
    ],
}

RIGHT = {
    "grid_points": [by_mesh, in_two_loops, as_in_sam, by_repeats, by_division],
    "annotate_mask": [by_for, by_while, by_recursion, for_else, next_click_early],
    "merge_masks": [by_table, by_broadcast, in_plain_loops, in_numpy, largest_overlap, places_that_go],
    "stability_score": [
        as_in_the_paper,
        by_iou_tables,
        by_means,
        score_by_score,
        with_small_number,
        counted_by_numpy,
    ],
    "keep_masks": [all_conditions, in_a_plain_loop, by_places, places_cut_again_and_again, by_numpy],
    "mask_nms": [table_first, against_the_kept, by_argmax, calls_itself, numbers_of_pixels],
}
