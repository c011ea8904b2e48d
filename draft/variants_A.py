"""Answers to the exercises of lesson 19 as others write them."""

import itertools
import math

import numpy as np
import torch
import torch.nn.functional as F

# --- contrastive_logits -----------------------------------------------------------------------------------------------


def by_einsum(queries, tokens, words, bias):
    fit = torch.einsum("qd,td->qt", queries, tokens) / math.sqrt(queries.size(1)) + bias
    return torch.where(words, fit, -torch.inf)


def by_broadcast(queries, tokens, words, bias, pooled=lambda products: products.sum(-1), after=True):
    fit = pooled(queries[:, None] * tokens) / queries.shape[-1] ** 0.5
    fit = fit + bias if after else fit
    fit[:, ~words] = float("-inf")
    return fit


def mask_added(queries, tokens, words, bias):
    return queries @ tokens.t() * queries.shape[1] ** -0.5 + bias + torch.log(words.float())


def vectors_scaled_first(queries, tokens, words, bias):
    root = queries.shape[1] ** 0.25
    return F.linear(queries / root, tokens / root).add(bias).masked_fill(words.logical_not()[None], -math.inf)


def query_by_query(queries, tokens, words, bias):
    rows = [tokens @ query / math.sqrt(len(query)) + bias for query in queries]
    fit = torch.stack(rows) if rows else queries @ tokens.T
    return fit.masked_fill(words == False, -math.inf)  # noqa: E712


def doubles(queries, tokens, words, bias):
    return by_einsum(queries.double(), tokens.double(), words, bias)


def hidden_first(queries, tokens, words, bias):
    return (queries @ tokens.T).masked_fill(~words, -torch.inf) / queries.shape[1] ** 0.5 + bias


def loop_without_gradient(queries, tokens, words, bias):
    fit = torch.full((len(queries), len(tokens)), -math.inf)
    for q, t in itertools.product(range(len(queries)), range(len(tokens))):
        if words[t]:
            fit[q, t] = torch.dot(queries[q], tokens[t]).item() / queries.shape[1] ** 0.5 + bias
    return fit


def tokens_first(queries, tokens, words, bias):
    return (tokens @ queries.T / queries.shape[1] ** 0.5 + bias).masked_fill(~words[:, None], -math.inf)


def tokens_overwritten(queries, tokens, words, bias):
    tokens[~words] = -math.inf
    return queries @ tokens.T / queries.shape[1] ** 0.5 + bias


def words_by_product(queries, tokens, words, bias):
    return by_einsum(queries, tokens, torch.ones_like(words), bias) * words


# --- sub_sentence_mask ------------------------------------------------------------------------------------------------


def by_cumsum(ids, separator, compare=torch.ne):
    ends = (ids == separator).long()
    number = ends.cumsum(0) - ends
    same = number[:, None] == number
    return compare(number[:, None], number), same.tril(-1).sum(1)


def block_by_block(ids, separator, last=True, behind=1):
    size = len(ids)
    hidden, places = torch.ones(size, size, dtype=torch.bool), torch.zeros(size, dtype=torch.long)
    start = 0
    ends = (ids == separator).nonzero()[:, 0].tolist()
    for end in [*ends, size - 1] if last else ends:
        stop = end + behind
        hidden[start:stop, start:stop] = False
        places[start:stop] = torch.arange(stop - start)
        start = end + 1
    return hidden, places


def block_by_block_checked(ids, separator):
    """The last block may be empty, and a slice backwards is."""
    hidden, places = torch.full((len(ids), len(ids)), True), []
    phrase = []
    for i, token in enumerate(ids):
        phrase.append(i)
        places.append(len(phrase) - 1)
        if token == separator or i == len(ids) - 1:
            for one in phrase:
                hidden[one, phrase] = False
            phrase = []
    return hidden, torch.tensor(places)


def by_numpy(ids, separator):
    ends = ids.numpy() == separator
    number = np.concatenate([[0], np.cumsum(ends)[:-1]])
    starts = np.searchsorted(number, number)
    return torch.from_numpy(number[:, None] != number), torch.from_numpy(np.arange(len(ends)) - starts)


def by_split(ids, separator):
    lengths, run = [], 0
    for token in ids.tolist():
        run += 1
        if token == separator:
            lengths, run = [*lengths, run], 0
    lengths += [run] if run else []
    blocks = torch.block_diag(*(torch.ones(n, n) for n in lengths))
    return blocks == 0, torch.cat([torch.arange(n) for n in lengths])


def by_roll(ids, separator):
    begins = (ids == separator).roll(1)
    begins[0] = True
    number, index = begins.cumsum(0), torch.arange(len(ids))
    return number.unsqueeze(1) != number.unsqueeze(0), index - index[begins][number - 1]


def ended_before(ids, separator):
    number = (ids == separator).cumsum(0)
    first = torch.searchsorted(number, number)
    return number[:, None] != number, torch.arange(len(ids)) - first


def as_floats(ids, separator):
    hidden, places = by_cumsum(ids, separator)
    return hidden.float(), places


def whole_numbers(ids, separator):
    return by_cumsum(ids, separator)[0], by_cumsum(ids, separator)[1].float()


def first_separator_alone(ids, separator):
    """Looks for one separator, and has two phrases."""
    end = (ids == separator).nonzero()[0, 0]
    number = (torch.arange(len(ids)) > end).long()
    return number[:, None] != number, torch.arange(len(ids)) - number * (end + 1)


# --- select_queries ---------------------------------------------------------------------------------------------------


def by_topk(logits, num_queries, size, side):
    h, w = size
    _, cells = logits.max(dim=-1).values.topk(num_queries)
    row, column = torch.div(cells, w, rounding_mode="floor"), cells % w
    boxes = torch.stack([(column + 0.5) / w, (row + 0.5) / h, *2 * [torch.full(cells.shape, side)]], dim=-1)
    return cells, boxes


def by_mesh(logits, num_queries, size, side, indexing="ij", order=lambda x, y: (x, y), half=0.5):
    h, w = size
    y, x = torch.meshgrid((torch.arange(h) + half) / h, (torch.arange(w) + half) / w, indexing=indexing)
    boxes = torch.full((h * w, 4), side)
    boxes[:, :2] = torch.stack(order(x, y), -1).reshape(-1, 2)
    cells = logits.amax(1).argsort(descending=True)[:num_queries]
    return cells, boxes[cells]


def in_a_loop(logits, num_queries, size, side):
    best = [max(row) for row in logits.tolist()]
    cells = sorted(range(len(best)), key=lambda cell: -best[cell])[:num_queries]
    boxes = torch.zeros(num_queries, 4)
    for n, cell in enumerate(cells):
        row, column = divmod(cell, size[1])
        boxes[n] = torch.tensor([(column + 0.5) / size[1], (row + 0.5) / size[0], side, side])
    return torch.tensor(cells, dtype=torch.long), boxes


def by_argmax(logits, num_queries, size, side):
    best, cells = logits.max(1)[0].clone(), []
    for _ in range(num_queries):
        cells.append(int(best.argmax()))
        best[cells[-1]] = -torch.inf
    cells = torch.tensor(cells).long()
    x, y = (cells % size[1]).double(), (cells // size[1]).double()
    corner = torch.stack([x / size[1], y / size[0]], 1)
    half_cell = torch.tensor([0.5 / size[1], 0.5 / size[0]])
    return cells, torch.cat([corner + half_cell, torch.full((num_queries, 2), side)], 1)


def by_sigmoid_and_numpy(logits, num_queries, size, side):
    best = logits.double().sigmoid().numpy().max(axis=1)
    cells = np.argsort(-best)[:num_queries]
    rows, columns = np.unravel_index(cells, size)
    boxes = np.stack([(columns + 0.5) / size[1], (rows + 0.5) / size[0]] + 2 * [np.full(len(cells), side)], axis=1)
    return torch.from_numpy(cells), torch.from_numpy(boxes)


def width_first(logits, num_queries, size, side):
    return by_topk(logits, num_queries, size[::-1], side)


def map_order(logits, num_queries, size, side):
    best = logits.amax(1)
    cells = (best >= best.sort().values[len(best) - num_queries :].min()).nonzero()[:, 0] if num_queries else []
    cells = torch.as_tensor(cells, dtype=torch.int64)
    boxes = by_mesh(torch.arange(len(best))[:, None].float().neg(), len(best), size, side)[1]
    return cells, boxes[cells]


def lists(*given):
    cells, boxes = by_topk(*given)
    return cells.tolist(), boxes.tolist()


WRONG = {
    "contrastive_logits": [
        ("axes swapped", tokens_first),
        ("gradient cut off", loop_without_gradient),
        ("tokens set to −∞", tokens_overwritten),
        ("divided by D", lambda q, t, words, bias: vectors_scaled_first(q, t / q.shape[1] ** 0.5, words, bias)),
        ("mean, and scaled besides", lambda *given: by_broadcast(*given, pooled=lambda products: products.mean(-1))),
        ("bias forgotten", lambda *given: by_broadcast(*given, after=False)),
        ("0 times infinity", lambda q, t, words, bias: by_einsum(q, t, words | True, bias) + ~words * -math.inf),
        ("0 where there is no word", lambda *given: words_by_product(*given)),
        ("a low number for −∞", lambda *given: by_einsum(*given).clamp(min=-1e9)),
        ("a low number for −∞", lambda *given: by_einsum(*given).nan_to_num()),
        ("sigmoid taken", lambda *given: by_einsum(*given).sigmoid()),
        ("softmax taken", lambda *given: by_einsum(*given).softmax(-1)),
        ("words hidden", lambda q, t, words, bias: by_einsum(q, t, ~words, bias)),
        ("NumPy array instead of a tensor", lambda *given: by_einsum(*given).detach().numpy()),
    ],
    "sub_sentence_mask": [
        ("visible for hidden", lambda *given: by_cumsum(*given, compare=torch.eq)),
        ("separator with the next phrase, in both", ended_before),
        ("last phrase blind; last phrase at place 0", lambda *given: block_by_block(*given, last=False)),
        ("blocks that end too early", lambda *given: block_by_block(*given, last=False, behind=0)),
        ("wrong dtype", as_floats),
        ("wrong dtype", whole_numbers),
        ("returned in another order", lambda *given: by_split(*given)[::-1]),
        ("wrong type", lambda *given: by_split(*given)[0]),
        ("places from 1", lambda *given: (by_split(*given)[0], by_split(*given)[1] + 1)),
        (None, first_separator_alone),
        ("only part 1", lambda *given: by_cumsum(*given, compare=torch.gt)),
    ],
    "select_queries": [
        ("width before height", width_first),
        ("y before x", lambda *given: by_mesh(*given, order=lambda x, y: (y, x))),
        ("corners of the cells", lambda *given: by_mesh(*given, half=0)),
        ("in the order of the map", map_order),
        ("returned in another order", lambda *given: by_topk(*given)[::-1]),
        ("the worst cells", lambda logits, *given: by_topk(-logits.amax(1, keepdim=True), *given)),
        ("softmax over the words", lambda logits, *given: by_topk(logits.softmax(1), *given)),
        ("softmax over the words; by sorting", lambda logits, *given: by_mesh(logits.softmax(-1), *given)),
        ("all words averaged", lambda logits, *given: by_mesh(logits.sigmoid().mean(1, keepdim=True), *given)),
        ("all tokens averaged", lambda logits, *given: by_topk(logits.mean(1)[:, None], *given)),
        ("column by column", lambda *given: by_mesh(*given, indexing="xy")),
        ("wrong type", lists),
    ],
}

RIGHT = {
    "contrastive_logits": [
        by_einsum,
        by_broadcast,
        mask_added,
        vectors_scaled_first,
        query_by_query,
        doubles,
        hidden_first,
    ],
    "sub_sentence_mask": [by_cumsum, block_by_block, block_by_block_checked, by_numpy, by_split, by_roll],
    "select_queries": [by_topk, by_mesh, in_a_loop, by_argmax, by_sigmoid_and_numpy],
}
