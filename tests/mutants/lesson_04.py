"""Answers to the exercises of lesson 04 as learners might write them: the wrong ones by the mistake they make."""

import torch
import torch.nn.functional as F
from torch import nn

# --- double_conv --------------------------------------------------------------------------------------------------


def three(channels_in, channels_out, **options):
    return [nn.Conv2d(channels_in, channels_out, 3, padding=1, **options), nn.BatchNorm2d(channels_out), nn.ReLU()]


def a_single_one(channels_in, channels_out):
    return nn.Sequential(*three(channels_in, channels_out, bias=False))


def a_five(channels_in, channels_out):
    conv = nn.Conv2d(channels_in, channels_out, 5, padding="same")
    return nn.Sequential(conv, nn.BatchNorm2d(channels_out), nn.ReLU())


def without_padding(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def without_norm(channels_in, channels_out):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1),
        nn.ReLU(),
    )


def straight(channels_in, channels_out):
    return nn.Sequential(*three(channels_in, channels_out)[:2], *three(channels_out, channels_out)[:2])


def relu_once(channels_in, channels_out):
    return nn.Sequential(*three(channels_in, channels_out)[:2], *three(channels_out, channels_out))


def open_end(channels_in, channels_out):
    return nn.Sequential(*three(channels_in, channels_out), *three(channels_out, channels_out)[:2])


def norm_after_relu(channels_in, channels_out):
    first, second = three(channels_in, channels_out), three(channels_out, channels_out)
    return nn.Sequential(first[0], first[2], first[1], second[0], second[2], second[1])


def late(channels_in, channels_out):
    return nn.Sequential(*three(channels_in, channels_in), *three(channels_in, channels_out))


def copied_line(channels_in, channels_out):
    return nn.Sequential(*three(channels_in, channels_out), *three(channels_in, channels_out))


def layer_reused(channels_in, channels_out):
    layers = three(channels_in, channels_out)
    return nn.Sequential(*layers, *layers)


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


# --- up_with_skip -------------------------------------------------------------------------------------------------


def cut(above, skip):
    return above[..., : skip.shape[2], : skip.shape[3]]


def below_first(below, skip, up, conv):
    return conv(torch.cat((cut(up(below), skip), skip), 1))


def below_first_no_cut(below, skip, up, conv):
    return conv(torch.hstack([up(below), skip]))


def no_cut(below, skip, up, conv):
    return conv(torch.cat([skip, up(below)], dim=1))


def from_the_end(below, skip, up, conv):
    above = up(below)
    top, left = above.shape[2] - skip.shape[2], above.shape[3] - skip.shape[3]
    return conv(torch.cat([skip, above[:, :, top:, left:]], 1))


def resized(below, skip, up, conv):
    above = F.interpolate(up(below), size=tuple(skip.shape[-2:]), mode="bilinear")
    return conv(torch.cat([skip, above], 1))


def skip_resized(below, skip, up, conv):
    above = up(below)
    return conv(torch.cat([F.interpolate(skip, size=tuple(above.shape[-2:])), above], 1))


def skip_filled_up(below, skip, up, conv):
    above = up(below)
    down, right = above.shape[2] - skip.shape[2], above.shape[3] - skip.shape[3]
    return conv(torch.cat([F.pad(skip, [0, right, 0, down]), above], 1))


def plus(below, skip, up, conv):
    return conv(skip + cut(up(below), skip))


def alone(below, skip, up, conv):
    return conv(cut(up(below), skip))


def same_twice(below, skip, up, conv):
    above = cut(up(below), skip)
    return conv(torch.cat([above] * 2, 1))


def plus_twice(below, skip, up, conv):
    both = cut(up(below), skip) + skip
    return conv(torch.cat([both, both], 1))


def along_width(below, skip, up, conv):
    return conv(torch.cat([skip, cut(up(below), skip)], -1))


def along_batch(below, skip, up, conv):
    return conv(torch.cat([skip, cut(up(below), skip)]))


def joined_only(below, skip, up, conv):
    return torch.hstack([skip, cut(up(below), skip)])


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


# --- unet_forward -------------------------------------------------------------------------------------------------


def in_order(x, top, downs, ups):
    x = top(x)
    skips = []
    for down in downs:
        skips.append(x)
        x = down(x)
    for up, skip in zip(ups, skips):
        x = up(x, skip)
    return x


def kept_after(x, top, downs, ups):
    x = top(x)
    skips = [x]
    for down in downs:
        x = down(x)
        skips.append(x)
    for up in ups:
        x = up(x, skips.pop())
    return x


def kept_too_early(x, top, downs, ups):
    skips = [x]
    x = top(x)
    for down in downs:
        x = down(x)
        skips.append(x)
    for up, skip in zip(ups, skips[-2::-1]):
        x = up(x, skip)
    return x


def first_skip(x, top, downs, ups):
    x = first = top(x)
    for down in downs:
        x = down(x)
    for up in ups:
        x = up(x, first)
    return x


def last_skip(x, top, downs, ups):
    x = top(x)
    skip = x
    for down in downs:
        skip = x
        x = down(x)
    for up in ups:
        x = up(x, skip)
    return x


def arguments_swapped(x, top, downs, ups):
    x, skips = top(x), []
    for down in downs:
        skips.append(x)
        x = down(x)
    for up, skip in zip(ups, reversed(skips)):
        x = up(skip, x)
    return x


def bottom_again(x, top, downs, ups):
    x, skips = top(x), []
    for down in downs:
        skips.append(x)
        x = down(x)
    result = x
    for up in ups:
        result = up(x, skips.pop())
    return result


def backwards(x, top, downs, ups):
    x, skips = top(x), []
    for down in downs:
        skips.append(x)
        x = down(x)
    for up in list(ups)[::-1]:
        x = up(x, skips.pop())
    return x


def topless(x, top, downs, ups):
    skips = []
    for down in downs:
        skips.append(x)
        x = down(x)
    for up in ups:
        x = up(x, skips.pop())
    return x


def only_down(x, top, downs, ups):
    return nn.Sequential(top, *downs)(x)


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


# --- unpadded_size ------------------------------------------------------------------------------------------------


def counted(down, bottom, up):
    def count(size, depth):
        for _ in range(depth):
            size = down(size)
        size = bottom(size)
        for _ in range(depth):
            size = up(size)
        return size

    return count


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


# --- dice_loss ----------------------------------------------------------------------------------------------------


def parts(p, target):
    g = torch.zeros_like(p).scatter_(1, target[:, None], 1)
    return (p * g).sum((0, 2, 3)), (p**2).sum((0, 2, 3)), g.sum((0, 2, 3))


def from_parts(both, answer, truth):
    return (1 - (2 * both + 1) / (answer + truth + 1))[truth > 0].mean()


def overlap_itself(logits, target):
    return 1 - from_parts(*parts(logits.softmax(1), target))


def no_softmax(logits, target):
    return from_parts(*parts(logits, target))


def sigmoids(logits, target):
    return from_parts(*parts(torch.sigmoid(logits), target))


def last_axis(logits, target):
    return from_parts(*parts(F.softmax(logits, dim=-1), target))


def first_axis(logits, target):
    return from_parts(*parts(F.softmax(logits, dim=0), target))


def decided(logits, target):
    hard = torch.zeros_like(logits).scatter(1, logits.argmax(1, keepdim=True), 1)
    return from_parts(*parts(hard, target))


def detached(logits, target):
    return from_parts(*parts(logits.detach().softmax(1), target))


def once(logits, target):
    both, answer, truth = parts(logits.softmax(1), target)
    return (1 - (both + 1) / (answer + truth + 1))[truth > 0].mean()


def unsmoothed(logits, target):
    both, answer, truth = parts(logits.softmax(1), target)
    return (1 - 2 * both / (answer + truth))[truth > 0].mean()


def plain_sums(logits, target):
    p = logits.softmax(1)
    both, _, truth = parts(p, target)
    return from_parts(both, p.sum((0, 2, 3)), truth)


def all_classes(logits, target):
    both, answer, truth = parts(logits.softmax(1), target)
    return (1 - (2 * both + 1) / (answer + truth + 1)).mean()


def one_sum(logits, target):
    both, answer, truth = (part.sum() for part in parts(logits.softmax(1), target))
    return 1 - (2 * both + 1) / (answer + truth + 1)


def each_picture(logits, target):
    p = logits.softmax(1)
    g = torch.zeros_like(p).scatter_(1, target[:, None], 1)
    both, answer, truth = (value.sum((2, 3)) for value in (p * g, p * p, g))
    return (1 - (2 * both + 1) / (answer + truth + 1))[truth > 0].mean()


def foreground_only(logits, target):
    both, answer, truth = (part[1:] for part in parts(logits.softmax(1), target))
    return from_parts(both, answer, truth)


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


WRONG = {
    "double_conv": [
        ("one convolution only", a_single_one),
        ("one 5×5 for two 3×3", a_five),
        ("no padding", without_padding),
        ("normalisation forgotten", without_norm),
        ("no ReLU at all", straight),
        ("no ReLU between", relu_once),
        ("no ReLU at the end", open_end),
        ("ReLU before the normalisation", norm_after_relu),
        ("widened by the second one", late),
        ("second one reads the input's channels", copied_line),
        ("one convolution used twice", layer_reused),
        ("blocks share their weights", made_once),
        ("no weights", not_kept),
        ("wrong type", nothing_built),
    ],
    "up_with_skip": [
        ("skip put behind", below_first),
        ("skip put behind, nothing cut", below_first_no_cut),
        ("not cut to size", no_cut),
        ("cut at the wrong end", from_the_end),
        ("squeezed instead of cut", resized),
        ("skip stretched", skip_resized),
        ("skip padded", skip_filled_up),
        ("skip added", plus),
        ("skip forgotten", alone),
        ("one map twice", same_twice),
        ("sum put in twice", plus_twice),
        ("joined along the width", along_width),
        ("joined along the batch", along_batch),
        ("conv forgotten", joined_only),
        ("gradient cut off", cut_off_from_gradient),
    ],
    "unet_forward": [
        ("finest skip handed out first", in_order),
        ("bottom kept as a skip", kept_after),
        ("the picture for a skip", kept_too_early),
        ("always the finest skip", first_skip),
        ("always the coarsest skip", last_skip),
        ("skip and map swapped", arguments_swapped),
        ("always from the bottom", bottom_again),
        ("ups in reverse", backwards),
        ("top forgotten", topless),
        ("never went up", only_down),
    ],
    "unpadded_size": [
        ("2 lost per level for 4", counted(lambda n: half(n - 2), lambda n: n - 2, lambda n: 2 * n - 2)),
        ("bottom forgotten", counted(lambda n: half(n - 4), lambda n: n, lambda n: 2 * n - 4)),
        ("way up loses nothing", counted(lambda n: half(n - 4), lambda n: n - 4, lambda n: 2 * n)),
        ("way down loses nothing", counted(half, lambda n: n - 4, lambda n: 2 * n - 4)),
        ("halved before the convolutions", counted(lambda n: half(n) - 4, lambda n: n - 4, lambda n: 2 * n - 4)),
        ("cut before doubling", counted(lambda n: half(n - 4), lambda n: n - 4, lambda n: 2 * (n - 4))),
        ("rounded down", counted(lambda n: (n - 4) // 2, lambda n: n - 4, lambda n: 2 * n - 4)),
        ("half cells counted", lambda size, depth: round(fractions(size, depth))),
        ("a float instead of an int", fractions),
    ],
    "dice_loss": [
        ("similarity for loss", overlap_itself),
        ("scores not made probabilities", no_softmax),
        ("sigmoid for softmax", sigmoids),
        ("softmax over the columns", last_axis),
        ("softmax over the pictures", first_axis),
        ("argmax has no slope", decided),
        ("gradient cut off", detached),
        ("factor 2 forgotten", once),
        ("the 1 forgotten", unsmoothed),
        ("probabilities not squared", plain_sums),
        ("absent classes counted", all_classes),
        ("all classes in one sum", one_sum),
        ("picture by picture", each_picture),
        ("first class left out", foreground_only),
        ("class 1 only", second_class),
        ("wrong shape", class_list),
    ],
}

RIGHT = {
    "double_conv": [nested, as_a_class],
    "up_with_skip": [written_into_place, negative_padding],
    "unet_forward": [by_recursion, by_index],
    "unpadded_size": [by_formula_of_the_bottom, size_by_recursion],
    "dice_loss": [scattered, in_a_loop],
}
