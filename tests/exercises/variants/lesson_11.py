"""Answers to the exercises of lesson 11 as others write them."""

import math

import torch
import torch.nn.functional as F
from torch import nn
from torchvision.ops import batched_nms, box_area, box_convert, nms

from lib.ops.anchors import cell_anchors, grid_anchors

# --- roi_level --------------------------------------------------------------------------------------------------------


def thresholds_in_a_loop(boxes, k_min, k_max, size=224, level=4):
    levels = []
    for x1, y1, x2, y2 in boxes.tolist():
        k = k_min
        while k < k_max and ((x2 - x1) * (y2 - y1)) ** 0.5 >= size * 2 ** (k + 1 - level):
            k += 1
        levels.append(k)
    return torch.tensor(levels, dtype=torch.int64)


def half_the_logarithm_of_the_area(boxes, k_min, k_max, size=224, level=4):
    return (level + 0.5 * torch.log2(box_area(boxes)) - math.log2(size)).floor().long().clamp(k_min, k_max)


def natural_logarithms_divided(boxes, k_min, k_max, size=224, level=4):
    steps = torch.log(box_area(boxes).sqrt() / size) / math.log(2)
    return (level + steps).clamp(k_min, k_max).long()


def bucketized(boxes, k_min, k_max, size=224, level=4):
    edges = torch.tensor([size * 2.0 ** (k - level) for k in range(k_min + 1, k_max + 1)])
    return k_min + torch.bucketize(box_area(boxes).sqrt(), edges, right=True)


def last_numbers_as_sides(boxes, k_min, k_max, size=224, level=4):
    side = (boxes[:, 2] * boxes[:, 3]).sqrt()
    return torch.floor(level + torch.log2(side / size)).clamp(k_min, k_max).long()


def logarithm_of_zero(boxes, k_min, k_max, size=224, level=4):
    steps = [math.floor(level + math.log2(area**0.5 / size)) for area in box_area(boxes).tolist()]
    return torch.tensor(steps, dtype=torch.int64).clamp(k_min, k_max)


# --- top_down ---------------------------------------------------------------------------------------------------------


def by_recursion(maps, lateral, smooth):
    def merged(i):
        own = lateral[i](maps[i])
        return own if i == len(maps) - 1 else own + F.interpolate(merged(i + 1), size=own.shape[-2:])

    return [last(merged(i)) for i, last in enumerate(smooth)]


def laterals_first(maps, lateral, smooth, join=torch.add):
    inner = [across(one) for across, one in zip(lateral, maps)]
    for i in range(len(inner) - 2, -1, -1):
        inner[i] = join(inner[i], nn.Upsample(size=inner[i].shape[2:])(inner[i + 1]))
    return tuple(last(one) for last, one in zip(smooth, inner))


def by_index(maps, lateral, smooth):
    merged, results = None, []
    for one, across, last in zip(reversed(maps), reversed(lateral), reversed(smooth)):
        own = across(one)
        if merged is not None:
            rows = torch.arange(own.shape[2]) * merged.shape[2] // own.shape[2]
            columns = torch.arange(own.shape[3]) * merged.shape[3] // own.shape[3]
            own += merged[:, :, rows][:, :, :, columns]
        merged = own
        results.append(last(merged))
    return results[::-1]


def maps_overwritten(maps, lateral, smooth):
    for i in reversed(range(len(maps))):
        maps[i] = lateral[i](maps[i])
        if i + 1 < len(maps):
            maps[i] = maps[i] + F.interpolate(maps[i + 1], size=maps[i].shape[2:])
    return [last(one) for last, one in zip(smooth, maps)]


# --- split_conv -------------------------------------------------------------------------------------------------------


def new_pair(conv, channels, **of_second):
    others = conv.in_channels - channels
    return nn.Conv2d(channels, conv.out_channels, 1), nn.Conv2d(others, conv.out_channels, 1, **of_second)


def data_sliced(conv, channels):
    first, second = new_pair(conv, channels, bias=False)
    first.weight.data, first.bias.data = conv.weight.data[:, :channels].clone(), conv.bias.data.clone()
    second.weight.data = conv.weight.data[:, channels:].clone()
    return first, second


def weights_shared(conv, channels):
    first, second = new_pair(conv, channels)
    one, other = conv.weight.split([channels, conv.in_channels - channels], dim=1)
    first.weight, second.weight, first.bias = nn.Parameter(one), nn.Parameter(other), conv.bias
    nn.init.zeros_(second.bias)
    return first, second


def bias_in_the_second(conv, channels):
    second, first = new_pair(conv, conv.in_channels - channels, bias=False)
    with torch.no_grad():
        first.weight.copy_(conv.weight[:, :channels])
        second.weight.copy_(conv.weight[:, channels:])
        second.bias.copy_(conv.bias)
    return [first, second]


def half_a_bias_each(conv, channels):
    pair = new_pair(conv, channels)
    for part, weight in zip(pair, (conv.weight[:, :channels], conv.weight[:, channels:])):
        part.load_state_dict({"weight": weight, "bias": conv.bias / 2})
    return pair


def by_outputs(conv, channels):
    first, second = new_pair(conv, channels)
    first.weight.data, second.weight.data = conv.weight.data[:channels], conv.weight.data[channels:]
    return first, second


def random_second_bias(conv, channels):
    first, second = new_pair(conv, channels)
    first.weight.data, second.weight.data = conv.weight.data[:, :channels], conv.weight.data[:, channels:]
    first.bias.data = conv.bias.data
    return first, second


def last_ones_counted_from_the_end(conv, channels):
    first, second = data_sliced(conv, channels)
    second.weight.data = conv.weight.data[:, -channels:]
    return first, second


def made_the_wrong_way_round(conv, channels):
    right = data_sliced(conv, channels)
    exchanged = [nn.Conv2d(part.out_channels, part.in_channels, 1) for part in right]
    for part, one in zip(exchanged, right):
        part.weight, part.bias = one.weight, one.bias
    return tuple(exchanged)


def the_given_one_changed(conv, channels):
    _, second = data_sliced(conv, channels)
    conv.weight.data, conv.in_channels = conv.weight.data[:, :channels], channels
    return conv, second


def bias_cut_too(conv, channels):
    first, second = random_second_bias(conv, channels)
    first.bias.data, second.bias.data = conv.bias.data[:channels], conv.bias.data[channels:]
    return first, second


# --- level_anchors ----------------------------------------------------------------------------------------------------


def by_ops(base, stride, height, width, factors=(1, 2 ** (1 / 3), 2 ** (2 / 3))):
    around_zero = cell_anchors([int(base * factor) for factor in factors], (0.5, 1.0, 2.0))
    return grid_anchors(around_zero, (height, width), (stride, stride))


def anchor_by_anchor(base, stride, height, width):
    anchors = []
    for row in range(height):
        for column in range(width):
            for ratio in (0.5, 1, 2):
                for size in (base, math.floor(base * 2 ** (1 / 3)), math.floor(base * 4 ** (1 / 3))):
                    x, y = round(size / ratio**0.5 / 2), round(size * ratio**0.5 / 2)
                    anchors.append([column * stride - x, row * stride - y, column * stride + x, row * stride + y])
    return torch.tensor(anchors).float()


def all_in_tensors(base, stride, height, width):
    sizes = (base * 2 ** (torch.arange(3) / 3)).floor()  # (3,)
    stretch = torch.tensor([0.5, 1, 2])[:, None] ** 0.5
    w, h = (sizes / stretch).flatten(), (sizes * stretch).flatten()  # (9,)
    x, y = torch.arange(width).repeat(height) * stride, torch.arange(height).repeat_interleave(width) * stride
    places = torch.stack([x, y, x, y], dim=1)[:, None]  # (cells, 1, 4)
    return (places + (torch.stack([-w, -h, w, h], dim=1) / 2).round()).flatten(0, 1)


def step_by_step(base, stride, height, width):
    second = int(base * 2 ** (1 / 3))
    return by_ops(base, stride, height, width, factors=(1, second / base, int(second * 2 ** (1 / 3)) / base))


# --- flatten_levels ---------------------------------------------------------------------------------------------------


def channels_last(answers, numbers):
    return torch.cat([one.permute(0, 2, 3, 1).reshape(len(one), -1, numbers) for one in answers], dim=1)


def cells_in_a_row(answers, numbers):
    flat = torch.cat([one.flatten(2) for one in answers], dim=2)  # (N, A · numbers, all cells)
    return flat.transpose(1, 2).reshape(len(flat), -1, numbers)


def split_and_stacked(answers, numbers):
    levels = []
    for one in answers:
        anchors = torch.stack(one.split(numbers, dim=1))  # (A, N, numbers, h, w)
        levels.append(anchors.permute(1, 3, 4, 0, 2).flatten(1, 3))
    return torch.cat(levels, dim=1)


def viewed(answers, numbers):
    return torch.cat([one.permute(0, 2, 3, 1).view(len(one), -1, numbers) for one in answers], dim=1)


def all_levels_reshaped_at_once(answers, numbers):
    return torch.cat([one.flatten(2) for one in answers], dim=2).reshape(len(answers[0]), -1, numbers)


def pictures_mixed(answers, numbers):
    return torch.cat([one.permute(0, 2, 3, 1).reshape(1, -1, numbers) for one in answers], dim=1)


# --- pyramid_detections -----------------------------------------------------------------------------------------------


def by_split(logits, boxes, level_sizes, threshold, top_k, iou, least=lambda said, top_k: said.numel()):
    """The best first, then the threshold."""
    parts = []
    for said, own in zip(logits.split(level_sizes), boxes.split(level_sizes)):
        scores, places = said.sigmoid().flatten().topk(min(top_k, least(said, top_k)))
        places, scores = places[scores > threshold], scores[scores > threshold]
        parts.append((own[places // said.shape[1]], scores, places % said.shape[1]))
    boxes, scores, labels = map(torch.cat, zip(*parts))
    kept = batched_nms(boxes, scores, labels, iou)
    return boxes[kept], scores[kept], labels[kept]


def answer_by_answer(logits, boxes, level_sizes, threshold, top_k, iou):
    found, first = [], 0
    for size in level_sizes:
        anchors, classes = range(first, first + size), range(logits.shape[1])
        level = [(torch.sigmoid(logits[i, k]).item(), i, k) for i in anchors for k in classes]
        found += sorted((answer for answer in level if answer[0] > threshold), reverse=True)[:top_k]
        first += size
    scores = torch.tensor([score for score, _, _ in found])
    anchors = torch.tensor([i for _, i, _ in found], dtype=torch.int64)
    labels = torch.tensor([k for _, _, k in found], dtype=torch.int64)
    kept = batched_nms(boxes[anchors], scores, labels, iou)
    return boxes[anchors][kept], scores[kept], labels[kept]


def rows_and_columns(logits, boxes, level_sizes, threshold, top_k, iou):
    """Places of the scores as two numbers from the start; NMS class by class."""
    scores, first, rows, columns = logits.sigmoid(), 0, [], []
    for size in level_sizes:
        row, column = (scores[first : first + size] > threshold).nonzero(as_tuple=True)
        order = scores[row + first, column].argsort(descending=True)[:top_k]
        rows.append(row[order] + first)
        columns.append(column[order])
        first += size
    rows, columns = torch.cat(rows), torch.cat(columns)
    kept = []
    for k in range(logits.shape[1]):
        own = (columns == k).nonzero()[:, 0]
        kept.append(own[nms(boxes[rows[own]], scores[rows[own], k], iou)])
    kept = torch.cat(kept)
    kept = kept[scores[rows[kept], columns[kept]].argsort(descending=True)]
    return boxes[rows[kept]], scores[rows[kept], columns[kept]], columns[kept]


def labels_from_one(*given):
    boxes, scores, labels = by_split(*given)
    return boxes, scores, labels + 1


def labels_second(*given):
    boxes, scores, labels = by_split(*given)
    return boxes, labels, scores


def scores_left_behind(*given):
    found, scores, labels = by_split(*given)
    return found, by_split(*given[:5], 1.0)[1][: len(scores)], labels


WRONG = {
    "roi_level": [
        ("boxes read as corner and size", last_numbers_as_sides),
        ("one pixel added", lambda boxes, *rest: bucketized(boxes + torch.tensor([0, 0, 1, 1]), *rest)),
        ("crashes for some inputs", logarithm_of_zero),
        ("wrong dtype", lambda *given: bucketized(*given).float()),
    ],
    "top_down": [
        ("wrong number of things", lambda *given: laterals_first(*given)[1:]),
        ("input changed in place", maps_overwritten),
        ("gradient cut off", lambda *given: [one.detach() for one in laterals_first(*given)]),
        ("only the smallest map is right", lambda *given: laterals_first(*given, join=torch.mul)),
    ],
    "split_conv": [
        ("split along the outputs", by_outputs),
        ("another bias", random_second_bias),
        ("weights not copied", new_pair),
        ("weights of the wrong shape", last_ones_counted_from_the_end),
        ("in and out exchanged", made_the_wrong_way_round),
        ("not two convolutions", lambda conv, channels: (conv.weight[:, :channels], conv.weight[:, channels:])),
        ("input changed in place", the_given_one_changed),
        ("bias of the wrong length", bias_cut_too),
        ("weights of the wrong shape", lambda conv, channels: (conv, conv)),
    ],
    "level_anchors": [
        ("wrong dtype", lambda *given: anchor_by_anchor(*given).long()),
        ("two inputs exchanged", lambda base, stride, height, width: by_ops(base, stride, width, height)),
        ("two inputs exchanged", lambda base, stride, height, width: by_ops(stride, base, height, width)),
        ("other sizes", step_by_step),
        ("middle and size returned", lambda *given: box_convert(by_ops(*given), "xyxy", "cxcywh")),
    ],
    "flatten_levels": [
        ("crashes for some inputs", viewed),
        ("wrong type", lambda answers, numbers: [channels_last([one], numbers) for one in answers]),
        ("right numbers in the wrong places", all_levels_reshaped_at_once),
        ("axes swapped", lambda *given: channels_last(*given).transpose(1, 2)),
        ("other shape", pictures_mixed),
        ("gradient cut off", lambda *given: torch.tensor(channels_last(*given).tolist())),
    ],
    "pyramid_detections": [
        ("crashes for some inputs", lambda *given: by_split(*given, least=lambda said, top_k: top_k)),
        ("wrong shape", lambda *given: by_split(*given, least=lambda said, top_k: len(said))),
        ("counted from 1", labels_from_one),
        ("returned in another order", labels_second),
        ("sigmoid forgotten", lambda logits, *rest: by_split(torch.logit(logits.clamp(1e-6, 1 - 1e-6)), *rest)),
        ("two inputs exchanged", lambda a, b, sizes, threshold, k, iou: by_split(a, b, sizes, iou, k, threshold)),
        ("only part 2", scores_left_behind),
    ],
}

RIGHT = {
    "roi_level": [
        thresholds_in_a_loop,
        half_the_logarithm_of_the_area,
        natural_logarithms_divided,
        bucketized,
    ],
    "top_down": [by_recursion, laterals_first, by_index],
    "split_conv": [data_sliced, weights_shared, bias_in_the_second, half_a_bias_each],
    "level_anchors": [by_ops, anchor_by_anchor, all_in_tensors],
    "flatten_levels": [channels_last, cells_in_a_row, split_and_stacked],
    "pyramid_detections": [by_split, answer_by_answer, rows_and_columns],
}
