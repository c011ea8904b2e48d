"""Answers to the exercises of lesson 04 as others write them."""

import torch
import torch.nn.functional as F
from torch import nn


def three(channels_in, channels_out, **options):
    return [nn.Conv2d(channels_in, channels_out, 3, padding=1, **options), nn.BatchNorm2d(channels_out), nn.ReLU()]


KEPT = {}


def made_once(channels_in, channels_out):
    if (channels_in, channels_out) not in KEPT:
        KEPT[channels_in, channels_out] = nn.Sequential(
            *three(channels_in, channels_out), *three(channels_out, channels_out)
        )
    return KEPT[channels_in, channels_out]


def not_kept(channels_in, channels_out):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [*three(channels_in, channels_out), *three(channels_out, channels_out)]

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x

    return Block()


def nothing_built(channels_in, channels_out):
    return three(channels_in, channels_out) + three(channels_out, channels_out)


def nested(channels_in, channels_out):
    first, second = three(channels_in, channels_out), three(channels_out, channels_out)
    return nn.Sequential(nn.Sequential(*first), nn.Sequential(*second))


def as_a_class(channels_in, channels_out):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.second = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
            self.first = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
            self.norms = nn.ModuleList(nn.BatchNorm2d(channels_out) for _ in range(2))

        def forward(self, x):
            return F.relu(self.norms[1](self.second(F.relu(self.norms[0](self.first(x))))))

    return Block()


def cut(above, skip):
    return above[..., : skip.shape[2], : skip.shape[3]]


def cut_off_from_gradient(below, skip, up, conv):
    return conv(torch.cat([skip.detach(), cut(up(below), skip)], 1))


def written_into_place(below, skip, up, conv):
    above = up(below)
    joined = skip.new_empty(len(skip), 2 * skip.shape[1], *skip.shape[2:])
    joined[:, : skip.shape[1]] = skip
    joined[:, skip.shape[1] :] = above[:, :, : skip.shape[2], : skip.shape[3]]
    return conv(joined)


def negative_padding(below, skip, up, conv):
    above = up(below)
    rows, columns = skip.shape[2] - above.shape[2], skip.shape[3] - above.shape[3]
    return conv(torch.concat((skip, F.pad(above, (0, columns, 0, rows))), dim=-3))


def by_recursion(x, top, downs, ups):
    def inside(x, downs, ups):
        if not downs:
            return x
        return ups[-1](inside(downs[0](x), downs[1:], ups[:-1]), x)

    return inside(top(x), list(downs), list(ups))


def by_index(x, top, downs, ups):
    maps = [top(x)]
    for down in downs:
        maps += [down(maps[-1])]
    x = maps[-1]
    for number in range(len(ups)):
        x = ups[number](x, maps[len(ups) - 1 - number])
    return x


def half(n):
    return -(-n // 2)


def fractions(size, depth):
    for _ in range(depth):
        size = (size - 4) / 2
    size -= 4
    for _ in range(depth):
        size = size * 2 - 4
    return size


def by_formula_of_the_bottom(size, depth):
    for _ in range(depth):
        size = half(size - 4)
    bottom = size - 4
    return bottom * 2**depth - 4 * (2**depth - 1)


def size_by_recursion(size, depth):
    return size - 4 if depth == 0 else 2 * size_by_recursion(half(size - 4), depth - 1) - 4


def parts(p, target):
    g = torch.zeros_like(p).scatter_(1, target[:, None], 1)
    return (p * g).sum((0, 2, 3)), (p**2).sum((0, 2, 3)), g.sum((0, 2, 3))


def from_parts(both, answer, truth):
    return (1 - (2 * both + 1) / (answer + truth + 1))[truth > 0].mean()


def detached(logits, target):
    return from_parts(*parts(logits.detach().softmax(1), target))


def second_class(logits, target):
    p = F.softmax(logits, dim=1)[:, 1]
    return 1 - (2 * torch.sum(p * target) + 1) / (p.square().sum() + target.square().sum() + 1)


def class_list(logits, target):
    both, answer, truth = parts(logits.softmax(1), target)
    return 1 - (2 * both + 1) / (answer + truth + 1)


def scattered(logits, target):
    return from_parts(*parts(logits.softmax(dim=1), target))


def in_a_loop(logits, target):
    p, losses = F.softmax(logits, 1), []
    for number in range(logits.shape[1]):
        g = (target == number).float()
        if g.any():
            losses.append(1 - (2 * (p[:, number] * g).sum() + 1) / ((p[:, number] ** 2).sum() + g.sum() + 1))
    return sum(losses) / len(losses)


def one_norm(channels_in, channels_out):
    norm = nn.BatchNorm2d(channels_out)
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        norm,
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        norm,
        nn.ReLU(),
    )


def without_scale_and_shift(channels_in, channels_out):
    block = nested(channels_in, channels_out)
    block[1][1] = nn.BatchNorm2d(channels_out, affine=False)
    return block


def emptying(x, top, downs, ups):
    x, kept = top(x), []
    while len(downs):
        kept.append(x)
        x = downs.pop(0)(x)
    for up in ups:
        x = up(x, kept.pop())
    return x


WRONG = {
    "double_conv": [
        ("blocks share their weights", made_once),
        ("no scale and shift to learn", without_scale_and_shift),
        ("no weights", not_kept),
        ("wrong type", nothing_built),
        ("one normalisation for both", one_norm),
    ],
    "up_with_skip": [("gradient cut off", cut_off_from_gradient)],
    "unet_forward": [("input changed in place", emptying)],
    "unpadded_size": [("a float instead of an int", fractions)],
    "dice_loss": [("gradient cut off", detached), (None, second_class), ("wrong shape", class_list)],
}

RIGHT = {
    "double_conv": [nested, as_a_class],
    "up_with_skip": [written_into_place, negative_padding],
    "unet_forward": [by_recursion, by_index],
    "unpadded_size": [by_formula_of_the_bottom, size_by_recursion],
    "dice_loss": [scattered, in_a_loop],
}
