"""Answers to the exercises of lesson 17 as others write them."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt
from torch import nn

# --- mask_patches -----------------------------------------------------------------------------------------------------


def by_gather(tokens, noise, ratio):
    B, N, D = tokens.shape
    keep = noise.argsort(dim=1)[:, : int(N * (1 - ratio))].sort(dim=1)[0]
    hidden = torch.ones(B, N, dtype=torch.bool)
    hidden.scatter_(1, keep, False)
    return torch.gather(tokens, 1, keep.unsqueeze(-1).repeat(1, 1, D)), hidden


def by_ranks(tokens, noise, ratio):
    visible = int(noise.size(1) * (1 - ratio))
    hidden = noise.argsort(1).argsort(1) >= visible
    return tokens[~hidden].reshape(len(tokens), visible, -1), hidden


def picture_after_picture(tokens, noise, ratio, largest=False, sort=True, count=lambda n, r: int(n * (1 - r))):
    seen, hidden = [], []
    for x, n in zip(tokens, noise):
        keep = n.topk(count(len(n), ratio), largest=largest).indices
        keep = keep.sort().values if sort else keep
        mask = torch.full((len(n),), True)
        mask[keep] = False
        seen.append(x[keep])
        hidden.append(mask)
    return torch.stack(seen), torch.stack(hidden)


def by_kth_value(tokens, noise, ratio):
    largest_that_stays = noise.kthvalue(int(noise.shape[1] * (1 - ratio)), dim=1, keepdim=True).values
    hidden = noise > largest_that_stays
    return torch.stack([x[~h] for x, h in zip(tokens, hidden)]), hidden


def in_numpy_numbers(tokens, noise, ratio):
    n = noise.numpy()
    keep = np.sort(np.argsort(n, axis=1)[:, : max(1, math.floor(n.shape[1] * (1 - ratio)))], axis=1)
    hidden = np.ones(n.shape, bool)
    np.put_along_axis(hidden, keep, False, axis=1)
    return tokens[torch.arange(len(n))[:, None], torch.from_numpy(keep)], torch.from_numpy(hidden)


def as_in_mae(tokens, noise, ratio):
    """The paper's code: shuffled, cut off, and the mask brought back to the old order; the tokens sorted at last."""
    shuffle = noise.argsort(1)
    restore = shuffle.argsort(1)
    visible = int(noise.shape[1] * (1 - ratio))
    mask = torch.ones_like(noise)
    mask[:, :visible] = 0
    keep = shuffle[:, :visible].sort(1).values
    return tokens.take_along_dim(keep[:, :, None], 1), mask.gather(1, restore).bool()


def as_in_mae_word_for_word(tokens, noise, ratio):
    shuffle = torch.argsort(noise, dim=1)
    keep = shuffle[:, : int(noise.shape[1] * (1 - ratio))]
    mask = torch.ones(noise.shape)
    mask[:, : keep.shape[1]] = 0
    mask = torch.gather(mask, 1, torch.argsort(shuffle, dim=1))
    return tokens.gather(1, keep.unsqueeze(-1).repeat(1, 1, tokens.shape[-1])), mask.bool()


def not_restored(tokens, noise, ratio):
    visible, hidden = by_gather(tokens, noise, ratio)
    mask = torch.ones_like(hidden)
    mask[:, : visible.shape[1]] = False
    return visible, mask


def hidden_ones_first(tokens, noise, ratio):
    hide = noise.argsort(1)[:, : int(noise.shape[1] * ratio)]
    hidden = torch.zeros_like(noise, dtype=torch.bool).scatter(1, hide, True)
    return tokens[~hidden].view(len(tokens), -1, tokens.shape[2]), hidden


def hidden_ones_last(tokens, noise, ratio):
    hide = noise.argsort(1, descending=True)[:, : int(noise.shape[1] * ratio)]
    hidden = torch.zeros_like(noise, dtype=torch.bool).scatter(1, hide, True)
    return tokens[~hidden].view(len(tokens), -1, tokens.shape[2]), hidden


def one_choice(tokens, noise, ratio):
    keep = noise[0].argsort()[: int(noise.shape[1] * (1 - ratio))].sort().values
    hidden = torch.ones_like(noise, dtype=torch.bool)
    hidden[:, keep] = False
    return tokens[:, keep], hidden


def whole_batch_at_once(tokens, noise, ratio):
    keep = noise.argsort(1)[:, : int(noise.shape[1] * (1 - ratio))].sort(1).values
    hidden = torch.ones_like(noise, dtype=torch.bool)
    hidden[:, keep] = False  # every choice for every picture
    return by_gather(tokens, noise, ratio)[0], hidden


def by_threshold(tokens, noise, ratio):
    hidden = noise > 1 - ratio
    return tokens[~hidden].view(len(tokens), -1, tokens.shape[2]), hidden


def zeros(tokens, noise, ratio):
    hidden = by_ranks(tokens, noise, ratio)[1]
    return tokens.masked_fill(hidden.unsqueeze(2), 0), hidden


# --- embed_points -----------------------------------------------------------------------------------------------------


def as_the_task_says(points, labels, waves, types, size):
    H, W = size
    place = (points + 0.5) / torch.tensor([W, H])
    angles = 2 * math.pi * ((2 * place - 1) @ waves)
    code = torch.cat([angles.sin(), angles.cos()], dim=-1)
    code[labels == -1] = 0
    return code + types[labels + 1]


def number_by_number(points, labels, waves, types, size, half=0.5):
    x = ((points[..., 0] + half) / size[1]).mul(2).sub(1)
    y = ((points[..., 1] + half) / size[0]).mul(2).sub(1)
    angles = 2 * np.pi * (x[..., None] * waves[0] + y[..., None] * waves[1])
    code = torch.cat((torch.sin(angles), torch.cos(angles)), 2)
    return torch.where((labels == -1)[..., None], 0.0, code) + types[labels + 1]


def with_complex_numbers(points, labels, waves, types, size):
    sides = torch.tensor([size[1], size[0]], dtype=torch.float64)
    z = torch.exp(2j * math.pi * ((2 * points.double() + 1 - sides) / sides) @ waves.to(torch.complex128))
    return (
        torch.cat([z.imag, z.real], -1) * (labels >= 0).unsqueeze(-1)
        + F.one_hot(labels + 1, 5).double() @ types.double()
    )


def label_by_label(points, labels, waves, types, size):
    places = (points + 0.5).clone()
    places[..., 0] /= size[1]
    places[..., 1] /= size[0]
    angles = torch.einsum("pnc,cf->pnf", places * 2 - 1, 2 * math.pi * waves)
    tokens = torch.cat([torch.sin(angles), torch.cos(angles)], dim=-1)
    tokens[labels == -1] = 0.0
    for label in range(-1, 4):
        tokens[labels == label] += types[label + 1]
    return tokens


def by_embedding(points, labels, waves, types, size, order=(0, 1)):
    middle = torch.tensor(size).flip(0) / 2
    angles = 2 * torch.pi * (points + 0.5 - middle) / middle @ waves
    parts = angles.sin(), angles.cos()
    code = torch.cat([parts[i] for i in order], -1).masked_fill(labels[..., None] == -1, 0)
    return F.embedding(labels + 1, types) + code


def sides_as_given(points, labels, waves, types, size):
    return as_the_task_says(points, labels, waves, types, size[::-1])


def from_0_to_1(points, labels, waves, types, size, turn=2 * math.pi):
    angles = (points + 0.5) / torch.tensor(size[::-1]) @ waves * turn
    return torch.cat([angles.sin(), angles.cos()], -1) * (labels != -1)[..., None] + types[labels + 1]


def place_stays(points, labels, waves, types, size):
    return (
        as_the_task_says(points, labels.clamp(min=0), waves, types, size)
        - types[labels.clamp(min=0) + 1]
        + types[labels + 1]
    )


def angles_zeroed(points, labels, waves, types, size):
    angles = 2 * math.pi * (2 * (points + 0.5) / torch.tensor(size[::-1]) - 1) @ waves
    angles[labels == -1] = 0
    return torch.cat([angles.sin(), angles.cos()], -1) + types[labels + 1]


def points_zeroed(points, labels, waves, types, size):
    points = points * (labels != -1)[..., None]
    return place_stays(points, labels, waves, types, size)


def point_changed_in_place(points, labels, waves, types, size):
    points += 0.5
    return number_by_number(points, labels, waves, types, size, half=0)


# --- two_way_block ----------------------------------------------------------------------------------------------------


def four_steps(block, tokens, cells, token_codes, cell_codes):
    q = k = tokens + token_codes
    tokens = block.norm1(tokens + block.self_attn(q, k, tokens))
    q, k = tokens + token_codes, cells + cell_codes
    tokens = block.norm2(tokens + block.token_to_image(q, k, cells))
    tokens = block.norm3(tokens + block.mlp(tokens))
    q, k = cells + cell_codes, tokens + token_codes
    return tokens, block.norm4(cells + block.image_to_token(q, k, tokens))


def with_helper(block, tokens, cells, token_codes, cell_codes, values_too=False):
    def look(attend, norm, x, cx, y, cy):
        return norm(attend(x + cx, y + cy, y + cy if values_too else y) + x)

    t, ct, c, cc = tokens, token_codes, cells, cell_codes
    t = look(block.self_attn, block.norm1, t, ct, t, ct)
    t = look(block.token_to_image, block.norm2, t, ct, c, cc)
    t = block.norm3(block.mlp(t) + t)
    return t, look(block.image_to_token, block.norm4, c, cc, t, ct)


def as_a_list(block, tokens, cells, token_codes, cell_codes):
    keys = cells + cell_codes  # cells do not change before step 4
    added = block.self_attn(tokens + token_codes, tokens + token_codes, tokens)
    one = block.norm1(torch.add(tokens, added))
    two = block.norm2(one + block.token_to_image(one + token_codes, keys, cells))
    three = block.norm3(two + block.mlp(two))
    return [three, block.norm4(cells + block.image_to_token(keys, three + token_codes, three))]


def prompt_by_prompt(block, tokens, cells, token_codes, cell_codes):
    every = [
        four_steps(block, *(x[None] for x in one)) for one in zip(tokens, cells, token_codes, cell_codes, strict=True)
    ]
    return torch.cat([t for t, _ in every]), torch.cat([c for _, c in every])


def exactly(block, *given):
    return four_steps(block, *(x.double() for x in given))


def in_place(block, tokens, cells, token_codes, cell_codes):
    tokens += block.self_attn(tokens + token_codes, tokens + token_codes, tokens)
    return four_steps(block, tokens, cells, token_codes, cell_codes)


def plain_looks(block, tokens, cells, token_codes, cell_codes):
    return four_steps(block, tokens, cells, 0 * token_codes, 0 * cell_codes)


def cells_as_they_were(block, tokens, cells, token_codes, cell_codes):
    return four_steps(block, tokens, cells, token_codes, cell_codes)[0], cells


def q_of_the_start(block, tokens, cells, token_codes, cell_codes):
    q, k = tokens + token_codes, cells + cell_codes
    tokens = block.norm1(tokens + block.self_attn(q, q, tokens))
    tokens = block.norm2(tokens + block.token_to_image(q, k, cells))
    tokens = block.norm3(tokens + block.mlp(tokens))
    return tokens, block.norm4(cells + block.image_to_token(k, q, tokens))


def cells_from_the_given(block, tokens, cells, token_codes, cell_codes):
    old = tokens
    tokens, _ = four_steps(block, tokens, cells, token_codes, cell_codes)
    cells = cells + block.image_to_token(cells + cell_codes, old + token_codes, old)
    return tokens, block.norm4(cells)


def sum_kept(block, tokens, cells, token_codes, cell_codes):
    tokens, cells = tokens + token_codes, cells + cell_codes
    return four_steps(block, tokens, cells, torch.zeros_like(tokens), torch.zeros_like(cells))


def without_sums(block, tokens, cells, token_codes, cell_codes):
    q = tokens + token_codes
    tokens = block.norm1(block.self_attn(q, q, tokens))
    tokens = block.norm2(block.token_to_image(tokens + token_codes, cells + cell_codes, cells))
    tokens = block.norm3(block.mlp(tokens))
    return tokens, block.norm4(block.image_to_token(cells + cell_codes, tokens + token_codes, tokens))


def mlp_last(block, tokens, cells, token_codes, cell_codes):
    q = tokens + token_codes
    tokens = block.norm1(tokens + block.self_attn(q, q, tokens))
    tokens = block.norm2(tokens + block.token_to_image(tokens + token_codes, cells + cell_codes, cells))
    cells = block.norm4(cells + block.image_to_token(cells + cell_codes, tokens + token_codes, tokens))
    return block.norm3(tokens + block.mlp(tokens)), cells


# --- draw_masks -------------------------------------------------------------------------------------------------------


def stacked_along_1(states, mlps, pixels):
    vectors = torch.stack([mlps[m](states[:, m]) for m in range(states.shape[1])], dim=1)
    P, C, H, W = pixels.shape
    return (vectors @ pixels.view(P, C, H * W)).view(P, -1, H, W)


def as_in_the_paper(states, mlps, pixels):
    hyper_in_list = []
    for i in range(len(mlps)):
        hyper_in_list.append(mlps[i](states[:, i, :]))
    hyper_in = torch.stack(hyper_in_list, dim=1)
    b, c, h, w = pixels.shape
    return (hyper_in @ pixels.view(b, c, h * w)).view(b, -1, h, w)


def mask_after_mask(states, mlps, pixels, added=torch.sum, pick=lambda states, m: states[:, m]):
    masks = [added(mlp(pick(states, m))[:, :, None, None] * pixels, dim=1) for m, mlp in enumerate(mlps)]
    return torch.stack(masks, dim=1)


def two_loops(states, mlps, pixels, row=lambda states, p, m: states[p, m]):
    P, M, _ = states.shape
    masks = torch.zeros(P, M, *pixels.shape[2:])
    for p in range(P):
        for m in range(M):
            vector = mlps[m](row(states, p, m).unsqueeze(0)).squeeze(0)
            masks[p, m] = torch.einsum("c,chw->hw", vector, pixels[p])
    return masks


def as_grouped_convolution(states, mlps, pixels):
    P, C, H, W = pixels.shape
    vectors = torch.cat([mlp(token.squeeze(1)) for mlp, token in zip(mlps, states.split(1, dim=1))], dim=1)
    filters = vectors.reshape(-1, C, 1, 1)
    return F.conv2d(pixels.reshape(1, P * C, H, W), filters, groups=P).reshape(P, -1, H, W)


def all_states_through_each(states, mlps, pixels):
    vectors = torch.stack(
        [mlp(states.flatten(0, 1)).unflatten(0, states.shape[:2])[:, m] for m, mlp in enumerate(mlps)]
    )
    return torch.tensordot(vectors, pixels, dims=([2], [1])).diagonal(dim1=1, dim2=2).permute(3, 0, 1, 2)


def concatenated_in_front(states, mlps, pixels):
    vectors = torch.cat([mlp(states[:, m]) for m, mlp in enumerate(mlps)])
    return stacked(vectors.view(states.shape[0], states.shape[1], -1), pixels)


def stacked(vectors, pixels):
    return torch.einsum("pmc,pchw->pmhw", vectors, pixels)


def through_all_in_turn(states, mlps, pixels):
    return stacked(nn.Sequential(*mlps)(states), pixels)


def prompt_number(states, mlps, pixels):
    return stacked(torch.stack([mlps[p](states[p]) for p in range(len(states))]), pixels)


def states_cut_off(states, mlps, pixels):
    return mask_after_mask(states.detach(), mlps, pixels)


def list_of_masks(states, mlps, pixels):
    return list(mask_after_mask(states, mlps, pixels).unbind(1))


def axes_left(states, mlps, pixels):
    return torch.stack([(mlp(states[:, m])[:, :, None, None] * pixels).sum(1) for m, mlp in enumerate(mlps)])


def as_the_decoder_counts(states, mlps, pixels):
    return mask_after_mask(states, mlps, pixels, pick=lambda states, m: states[:, 1 + m])


# --- min_over_masks ---------------------------------------------------------------------------------------------------


def smallest(focal, dice, guesses, ious, loss=F.mse_loss):
    return (20 * focal + dice).min(dim=1).values.mean() + loss(guesses, ious)


def by_numbers(focal, dice, guesses, ious, score=lambda focal, dice: 20 * focal + dice):
    rows, best = torch.arange(len(focal)), score(focal, dice).argmin(dim=1)
    mask_loss = 20 * focal[rows, best].mean() + dice[rows, best].mean()
    return mask_loss + ((guesses - ious) ** 2).mean()


def min_by_gather(focal, dice, guesses, ious, axis=1):
    total = focal * 20.0 + dice * 1.0
    with torch.no_grad():
        best = total.argmin(dim=axis, keepdim=True)
    return total.gather(axis, best).mean() + torch.pow(guesses - ious, 2).mean()


def in_plain_loops(focal, dice, guesses, ious, least=min):
    P, M = focal.shape
    total = 0
    for p in range(P):
        total = total + least([20 * focal[p, m] + dice[p, m] for m in range(M)]) / P
        total = total + sum((guesses[p, m] - ious[p, m]) ** 2 for m in range(M)) / (P * M)
    return total


def sorted_in_double(focal, dice, guesses, ious):
    total = (20 * focal.double() + dice.double()).sort(dim=1)[0][:, 0]
    return total.mean() + (guesses.double() - ious.double()).square().mean()


def by_one_hot(focal, dice, guesses, ious):
    total = 20 * focal + dice
    counts = F.one_hot(total.argmin(-1), total.shape[-1])
    return (total * counts).sum() / len(total) + (guesses - ious.detach()).pow(2).sum(1).mean() / total.shape[1]


def one_column_for_all(focal, dice, guesses, ious):
    total = 20 * focal + dice
    return total[:, total.argmin(1)].mean() + F.mse_loss(guesses, ious)


def rows_picked(focal, dice, guesses, ious):
    total = 20 * focal + dice
    return total[total.argmin(1)].mean() + F.mse_loss(guesses, ious)


def as_weights(focal, dice, guesses, ious):
    total = 20 * focal + dice
    return (total * total.neg().softmax(1)).sum(1).mean() + F.mse_loss(guesses, ious)


def guesses_first(focal, dice, guesses, ious):
    best = guesses.argmax(1, keepdim=True)
    return (20 * focal + dice).gather(1, best).mean() + F.mse_loss(guesses, ious)


def best_of_everything(focal, dice, guesses, ious):
    return torch.min(20 * focal + dice + (guesses - ious) ** 2, dim=1)[0].mean()


def its_guess_alone(focal, dice, guesses, ious):
    total = 20 * focal + dice
    best = total.argmin(1, keepdim=True)
    return total.gather(1, best).mean() + F.mse_loss(guesses.gather(1, best), ious.gather(1, best))


# --- next_click -------------------------------------------------------------------------------------------------------


def depth_in_frame(region):
    return distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]


def two_maps(predicted, true, depth=depth_in_frame):
    missed, taken = depth((true & ~predicted).numpy()), depth((predicted & ~true).numpy())
    label = int(missed.max() >= taken.max())
    deepest = missed if label else taken
    y, x = np.unravel_index(deepest.argmax(), deepest.shape)
    return int(x), int(y), label


def in_torch(predicted, true, framed=lambda region: F.pad(region, (1, 1, 1, 1))):
    best = []
    for region in (true & ~predicted, predicted & ~true):
        depth = torch.from_numpy(distance_transform_edt(framed(region).numpy()))
        y, x = (depth == depth.max()).nonzero()[0].tolist()
        best.append((float(depth.max()), x - 1, y - 1))
    label = 0 if best[1][0] > best[0][0] else 1
    return best[1 - label][1], best[1 - label][2], label


def with_max(predicted, true):
    found = []
    for label, region in [(1, true > predicted), (0, predicted > true)]:
        depth = depth_in_frame(region)
        for (y, x), d in np.ndenumerate(depth):
            found.append((d, label, -y, -x))
    _, label, y, x = max(found)
    return -x, -y, label


def by_hand(predicted, true):
    H, W = true.shape
    frame = [(y, x) for y in range(-1, H + 1) for x in range(-1, W + 1)]
    answer, deepest = None, 0.0
    for label in (True, False):
        region = ((true == label) & (predicted != label)).tolist()
        outside = np.array([(y, x) for y, x in frame if not (0 <= y < H and 0 <= x < W and region[y][x])])
        for y in range(H):
            for x in range(W):
                if region[y][x]:
                    d = np.hypot(*(outside - (y, x)).T).min()
                    if d > deepest + 1e-9:
                        answer, deepest = [x, y, int(label)], d
    return answer


def stacked_pair(predicted, true):
    wrong = torch.stack([~predicted & true, predicted & ~true]).numpy()
    depth = np.stack([depth_in_frame(one) for one in wrong])
    which, y, x = np.unravel_index(depth.argmax(), depth.shape)
    return x, y, 1 - which


def sum_of_both(predicted, true):
    depth = depth_in_frame((predicted & ~true).numpy()) + depth_in_frame((true & ~predicted).numpy())
    y, x = divmod(int(depth.argmax()), depth.shape[1])
    return x, y, int(true[y, x])


def xor(predicted, true):
    depth = distance_transform_edt((predicted != true).numpy())
    y, x = np.unravel_index(np.argmax(depth), depth.shape)
    return int(x), int(y), int(true[y, x].item())


def xor_in_frame(predicted, true):
    depth = depth_in_frame((predicted != true).numpy())
    y, x = np.unravel_index(np.argmax(depth), depth.shape)
    return int(x), int(y), 1 if true[y, x] else 0


def middle_of_the_larger(predicted, true):
    missed, taken = true & ~predicted, predicted & ~true
    label = 1 if missed.sum() >= taken.sum() else 0
    y, x = (missed if label else taken).nonzero().float().mean(0).round().int().tolist()
    return x, y, label


def row_first(predicted, true):
    x, y, label = two_maps(predicted, true)
    return y, x, label


def what_the_model_said(predicted, true):
    x, y, _ = two_maps(predicted, true)
    return x, y, int(predicted[y, x])


def frame_kept(predicted, true):
    x, y, label = in_torch(predicted, true)
    return x + 1, y + 1, label


def subtracted(predicted, true):
    return two_maps(predicted, true, lambda region: distance_transform_edt(region - 0))


def frame_of_true(predicted, true):
    def depth(region):
        return distance_transform_edt(np.pad(region, 1, constant_values=True))[1:-1, 1:-1]

    return two_maps(predicted, true, depth)


def label_as_bool(predicted, true):
    x, y, label = two_maps(predicted, true)
    return x, y, label == 1


def numbers_in_tensors(predicted, true):
    return tuple(map(torch.tensor, two_maps(predicted, true)))


def one_tensor(predicted, true):
    return torch.tensor(two_maps(predicted, true))


def mask_changed(predicted, true):
    true &= ~predicted
    return two_maps(predicted, true)


WRONG = {
    "mask_patches": [
        ("order of the noise", as_in_mae_word_for_word),
        ("order of the noise", lambda *given: picture_after_picture(*given, sort=False)),
        ("largest noise", lambda *given: picture_after_picture(*given, largest=True)),
        ("order of the noise; largest noise", lambda *given: picture_after_picture(*given, largest=True, sort=False)),
        ("rounded to the nearest", lambda *given: picture_after_picture(*given, count=lambda n, r: round(n * (1 - r)))),
        ("rounded up", hidden_ones_last),
        ("rounded up", lambda *given: picture_after_picture(*given, count=lambda n, r: n - int(n * r))),
        ("the share that stays", lambda x, noise, ratio: by_gather(x, noise, 1 - ratio)),
        ("largest noise; rounded up", hidden_ones_first),
        ("mask in the order of the noise", not_restored),
        ("one choice for all pictures", one_choice),
        ("mask of all choices together", whole_batch_at_once),
        ("set to 0 instead of taken away", zeros),
        ("True and False swapped", lambda *given: (by_ranks(*given)[0], ~by_ranks(*given)[1])),
        ("returned in another order", lambda *given: by_ranks(*given)[::-1]),
        ("wrong dtype", lambda *given: (by_ranks(*given)[0], by_ranks(*given)[1].float())),
        ("gradient cut off", lambda x, *given: by_gather(x.detach(), *given)),
        ("wrong type", lambda *given: by_gather(*given)[0]),
        (None, by_threshold),
    ],
    "embed_points": [
        ("half a pixel forgotten", lambda *given: number_by_number(*given, half=0)),
        ("height and width exchanged", sides_as_given),
        ("points read as y, x", lambda points, *given: by_embedding(points.flip(-1), *given)),
        ("y before x", lambda p, labels, waves, *given: as_the_task_says(p, labels, waves.flip(0), *given)),
        ("not brought to −1..1", from_0_to_1),
        ("not brought to −1..1; 2π forgotten", lambda *given: from_0_to_1(*given, turn=1)),
        ("half a pixel forgotten; not brought to −1..1", lambda points, *given: from_0_to_1(points - 0.5, *given)),
        ("cosines first", lambda *given: by_embedding(*given, order=(1, 0))),
        ("place kept for no point", place_stays),
        ("cosines kept for no point", angles_zeroed),
        ("no point put at pixel 0", points_zeroed),
        ("input changed in place", point_changed_in_place),
        ("gradient cut off", lambda p, labels, waves, types, size: by_embedding(p, labels, waves, types.data, size)),
        (
            "types one row off",
            lambda p, labels, waves, types, size: by_embedding(p, labels, waves, types.roll(1, 0), size),
        ),
        ("wrong shape", lambda *given: as_the_task_says(*given)[..., : given[2].shape[1]]),
    ],
    "two_way_block": [
        ("codes in the values, all steps", lambda *given: with_helper(*given, values_too=True)),
        ("no codes, all steps", plain_looks),
        ("step 4 left out", cells_as_they_were),
        ("step 1's sum in steps 2 and 4", q_of_the_start),
        ("old tokens in step 4", cells_from_the_given),
        ("codes added at the start alone", sum_kept),
        ("nothing added", without_sums),
        ("step 4 before step 3", mlp_last),
        ("returned in another order", lambda *given: four_steps(*given)[::-1]),
        ("gradient cut off", lambda block, *given: four_steps(block, *(x.detach() for x in given))),
        ("wrong type", lambda *given: four_steps(*given)[0]),
        ("input changed in place", in_place),
    ],
    "draw_masks": [
        ("sigmoid taken", lambda *given: mask_after_mask(*given).sigmoid()),
        ("yes or no", lambda *given: stacked_along_1(*given) > 0),
        ("the first MLP for all masks", lambda states, mlps, pixels: stacked(mlps[0](states), pixels)),
        ("the last MLP for all masks", lambda s, mlps, p: two_loops(s, [mlps[-1] for _ in mlps], p)),
        ("MLPs in reverse order", lambda s, mlps, p: mask_after_mask(s, mlps[::-1], p)),
        ("(M, P) reshaped to (P, M)", concatenated_in_front),
        ("mean for sum", lambda *given: mask_after_mask(*given, added=torch.mean)),
        ("one token for all masks", lambda *given: mask_after_mask(*given, pick=lambda states, m: states[:, 0])),
        ("the token before", lambda *given: mask_after_mask(*given, pick=lambda states, m: states[:, m - 1])),
        ("a token too far", as_the_decoder_counts),
        ("states of the first prompt", lambda *given: two_loops(*given, row=lambda states, p, m: states[0, m])),
        ("no MLP", lambda states, mlps, pixels: stacked(states, pixels)),
        ("axes swapped", axes_left),
        ("gradient cut off", states_cut_off),
        ("wrong type", list_of_masks),
        (None, through_all_in_turn),
        ("MLPs by prompts", prompt_number),
        ("the first MLP for all masks; sigmoid taken", lambda s, mlps, p: stacked(mlps[0](s), p).sigmoid()),
    ],
    "min_over_masks": [
        ("mean of the masks", lambda f, d, g, i: 20 * f.mean() + d.mean() + F.mse_loss(g, i)),
        ("minima taken apart", lambda f, d, g, i: 20 * f.min(1)[0].mean() + d.min(1)[0].mean() + F.mse_loss(g, i)),
        ("20 forgotten", lambda *given: by_numbers(*[given[0] / 20, *given[1:]])),
        ("weights exchanged", lambda f, d, g, i: smallest(d, f, g, i)),
        ("chosen without the 20", lambda *given: by_numbers(*given, score=torch.add)),
        ("chosen by the focal loss", lambda *given: by_numbers(*given, score=lambda focal, dice: focal)),
        ("chosen by the guess", guesses_first),
        ("the worst mask", lambda *given: in_plain_loops(*given, least=max)),
        ("sum of the masks", lambda *given: in_plain_loops(*given, least=sum)),
        ("one prompt for each mask", lambda *given: min_by_gather(*given, axis=0)),
        ("all prompts with all best masks", one_column_for_all),
        ("all three losses of one mask", best_of_everything),
        ("the best mask's guess alone", its_guess_alone),
        ("absolute error of the guesses", lambda *given: smallest(*given, loss=F.l1_loss)),
        ("guesses forgotten", lambda f, d, g, i: (20 * f + d).amin(1).mean()),
        ("gradient cut off", lambda f, d, g, i: smallest(f, d, g.detach(), i)),
        ("gradient cut off", lambda f, d, g, i: smallest(f.detach(), d.detach(), g, i)),
        ("gradient cut off", lambda *given: smallest(*given).detach()),
        ("wrong type", lambda *given: smallest(*given).item()),
        (None, rows_picked),
        (None, as_weights),
    ],
    "next_click": [
        ("row and column exchanged", row_first),
        ("label inverted", what_the_model_said),
        ("missed and taken exchanged", lambda predicted, true: two_maps(true, predicted)),
        ("frame not taken off", frame_kept),
        ("border not counted", subtracted),
        ("border not counted", lambda *given: two_maps(*given, depth=distance_transform_edt)),
        ("border not counted", frame_of_true),
        ("all wrong pixels together", xor_in_frame),
        ("all wrong pixels together; border not counted", xor),
        ("centroid, rounded, of the larger region", middle_of_the_larger),
        ("the first of both", sum_of_both),
        ("wrong type", label_as_bool),
        ("a tensor instead of a number", numbers_in_tensors),
        ("wrong type", one_tensor),
        ("input changed in place", mask_changed),
    ],
}

RIGHT = {
    "mask_patches": [by_gather, by_ranks, picture_after_picture, by_kth_value, in_numpy_numbers, as_in_mae],
    "embed_points": [as_the_task_says, number_by_number, with_complex_numbers, label_by_label, by_embedding],
    "two_way_block": [four_steps, with_helper, as_a_list, prompt_by_prompt, exactly],
    "draw_masks": [
        stacked_along_1,
        as_in_the_paper,
        mask_after_mask,
        two_loops,
        as_grouped_convolution,
        all_states_through_each,
    ],
    "min_over_masks": [smallest, by_numbers, min_by_gather, in_plain_loops, sorted_in_double, by_one_hot],
    "next_click": [two_maps, in_torch, with_max, by_hand, stacked_pair],
}
