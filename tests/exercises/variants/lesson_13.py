"""Answers to the exercises of lesson 13 as others write them."""

import torch
import torch.nn.functional as F

# --- read_texture -----------------------------------------------------------------------------------------------------


def part_by_part(texture, parts, uv, numbers=None):
    """A loop over the parts, and a table of the chart's pixels."""
    p, h, w, _ = texture.shape
    colours = torch.zeros(*parts.shape, 3)
    for part in numbers(p) if numbers else range(1, p):
        here = parts == part
        u, v = uv[here].T
        column = torch.floor(u * w).to(torch.int64).clip(0, w - 1)
        row = torch.floor(v * h).to(torch.int64).clip(0, h - 1)
        colours[here] = texture[part].reshape(h * w, 3)[row * w + column]
    return colours


def by_edges(texture, parts, uv):
    _, h, w, _ = texture.shape
    columns = torch.bucketize(uv[..., 0].contiguous(), torch.arange(1, w) / w, right=True)
    rows = torch.bucketize(uv[..., 1].contiguous(), torch.arange(1, h) / h, right=True)
    return torch.where((parts > 0).unsqueeze(-1), texture[parts, rows, columns], 0)


def pixel_after_pixel(texture, parts, uv, last=True):
    p, h, w, _ = texture.shape
    result = torch.zeros(parts.shape + (3,))
    for i in range(parts.shape[0]):
        for j in range(parts.shape[1]):
            if parts[i, j] > 0:
                column, row = int(uv[i, j, 0] * w), int(uv[i, j, 1] * h)
                if last:
                    column, row = min(column, w - 1), min(row, h - 1)
                result[i, j] = texture[parts[i, j], row, column]
    return result


def by_a_flat_list(texture, parts, uv):
    _, h, w, _ = texture.shape
    x, y = ((uv * torch.tensor([w, h])).int().long()[..., i].clamp(max=(w, h)[i] - 1) for i in (0, 1))
    return texture.flatten(0, 2)[(parts * h + y) * w + x].masked_fill((parts == 0)[..., None], 0.0)


def sampled(texture, parts, uv, mode="nearest"):
    colours = torch.zeros(*parts.shape, 3)
    for part in range(1, len(texture)):
        grid = (2 * uv - 1)[None]
        read = F.grid_sample(texture[part].permute(2, 0, 1)[None], grid, mode, "border", align_corners=False)
        colours[parts == part] = read[0].permute(1, 2, 0)[parts == part]
    return colours


def colours_first(texture, parts, uv):
    return by_edges(texture, parts, uv).permute(2, 0, 1)


def colours_from_0_to_255(texture, parts, uv):
    return (255 * by_edges(texture, parts, uv)).to(torch.uint8)


# --- chart_targets ----------------------------------------------------------------------------------------------------


def with_loops(parts, uv, mask, box, size, wider=0):
    x1, y1, x2, y2 = box.tolist()
    found, places = torch.zeros(size, size).long(), torch.zeros(2, size, size)
    for i in range(size):
        for j in range(size):
            x = x1 + (j + 0.5) * (x2 - x1 + wider) / size
            y = y1 + (i + 0.5) * (y2 - y1 + wider) / size
            if not (0 <= x < parts.shape[1] and 0 <= y < parts.shape[0]):
                continue
            if mask[int(y), int(x)]:
                found[i, j] = parts[int(y), int(x)]
                places[:, i, j] = uv[int(y), int(x)]
    return found, places


def with_a_rim_of_nothing(parts, uv, mask, box, size):
    """Everything in one stack with zeros around it, as far as the box may reach."""
    stack = torch.cat([parts[None].float(), uv.permute(2, 0, 1)]) * mask
    stack = F.pad(stack, (50, 50, 50, 50))
    steps = (torch.arange(size) * 2 + 1) / (2 * size)
    x = torch.floor(box[0] + steps * (box[2] - box[0])).int() + 50
    y = torch.floor(box[1] + steps * (box[3] - box[1])).int() + 50
    read = stack[:, y][:, :, x]
    return read[0].long(), read[1:]


def by_grid_sample(parts, uv, mask, box, size, indexing="ij", mode="nearest"):
    h, w = parts.shape
    x1, y1, x2, y2 = box
    share = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(y1 + share * (y2 - y1), x1 + share * (x2 - x1), indexing=indexing)
    grid = torch.stack([x / w, y / h], dim=-1) * 2 - 1
    stack = torch.cat([parts.unsqueeze(0), uv.permute(2, 0, 1)]) * mask
    read = F.grid_sample(stack[None], grid[None], mode=mode, padding_mode="zeros", align_corners=False)[0]
    return read[0].round().long(), read[1:]


def flat_indices(parts, uv, mask, box, size):
    h, w = parts.shape
    middle = (torch.arange(size) + 0.5) / size
    x = torch.lerp(box[0], box[2], middle).repeat(size)
    y = torch.lerp(box[1], box[3], middle).repeat_interleave(size)
    good = (x >= 0) & (x < w) & (y >= 0) & (y < h)
    place = torch.where(good, y.floor() * w + x.floor(), 0).long()
    good = good & mask.flatten()[place]
    found = torch.where(good, parts.flatten()[place], 0)
    return found.view(size, size), torch.where(good[:, None], uv.reshape(-1, 2)[place], 0).T.reshape(2, size, size)


def unchecked(parts, uv, mask, box, size):
    middle = (torch.arange(size) + 0.5) / size
    x = (box[0] + middle * (box[2] - box[0])).floor().long()
    y = (box[1] + middle * (box[3] - box[1])).floor().long()
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    own = mask[yy, xx]
    return parts[yy, xx] * own, uv[yy, xx].permute(2, 0, 1) * own


def clamped(parts, uv, mask, box, size):
    middle = (torch.arange(size) + 0.5) / size
    x = (box[0] + middle * (box[2] - box[0])).floor().long().clamp(0, parts.shape[1] - 1)
    y = (box[1] + middle * (box[3] - box[1])).floor().long().clamp(0, parts.shape[0] - 1)
    own = mask[y][:, x]
    return parts[y][:, x] * own, uv[y][:, x].permute(2, 0, 1) * own


def not_rounded_down(parts, uv, mask, box, size):
    middle = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(*(box[i] + middle * (box[i + 2] - box[i]) for i in (1, 0)), indexing="ij")
    x, y = x.long(), y.long()
    good = (x >= 0) & (y >= 0) & (x < parts.shape[1]) & (y < parts.shape[0])
    x, y = x * good, y * good
    good = good & mask[y, x]
    return parts[y, x] * good, uv[y, x].permute(2, 0, 1) * good


def resized_crop(parts, uv, mask, box, size):
    x1, y1, x2, y2 = box.round().long().tolist()
    stack = torch.cat([parts[None], uv.permute(2, 0, 1)]) * mask
    crop = stack[:, max(y1, 0) : y2, max(x1, 0) : x2]
    read = F.interpolate(crop[None], size=(size, size), mode="nearest")[0]
    return read[0].long(), read[1:]


def places_last(*given):
    found, places = flat_indices(*given)
    return found, places.permute(1, 2, 0)


def parts_as_floats(*given):
    found, places = flat_indices(*given)
    return found.float(), places


def own_left_in(parts, uv, mask, box, size):
    return flat_indices(parts, uv, torch.ones_like(mask), box, size)


# --- densepose_loss ---------------------------------------------------------------------------------------------------


def with_indices(part_logits, u, v, parts, uv, turn=lambda d: (d + 0.5) % 1 - 0.5, beta=0.1):
    r, i, j = torch.nonzero(parts, as_tuple=True)
    channel = parts[r, i, j]
    du = turn(u[r, channel, i, j] - uv[r, 0, i, j])
    dv = v[r, channel, i, j] - uv[r, 1, i, j]
    if parts.numel() == 0:
        return part_logits.sum() * 0, u.sum() * 0
    first = F.cross_entropy(part_logits, parts)
    if len(r) == 0:
        return first, u.sum() * 0
    zero = torch.zeros_like(du)
    return first, F.smooth_l1_loss(du, zero, beta=beta) + F.smooth_l1_loss(dv, zero, beta=beta)


def by_definition(part_logits, u, v, parts, uv):
    """One-hot channels, a logarithm of the softmax, and the bend by hand."""
    chosen = F.one_hot(parts, part_logits.shape[1]).movedim(-1, 1)
    first = -(part_logits.log_softmax(1) * chosen).sum() / max(parts.numel(), 1)
    seen = (parts > 0).float()
    du = ((u * chosen).sum(1) - uv[:, 0]).remainder(1)
    du = torch.minimum(du, 1 - du)
    dv = ((v * chosen).sum(1) - uv[:, 1]).abs()
    second = sum(torch.where(d < 0.1, d**2 / 0.2, d - 0.05) for d in (du, dv))
    return first, (second * seen).sum() / seen.sum().clamp(min=1)


def with_shifted_targets(part_logits, u, v, parts, uv):
    """The truth moved by whole turns to where it is nearest; 0 made of nothing but asked for a gradient."""
    seen = parts > 0
    own_u = torch.take_along_dim(u, parts.unsqueeze(1), dim=1).squeeze(1)[seen]
    own_v = torch.take_along_dim(v, parts.unsqueeze(1), dim=1).squeeze(1)[seen]
    aim = uv[:, 0][seen] + torch.round(own_u.detach() - uv[:, 0][seen])
    nothing = torch.zeros((), requires_grad=True)
    first = F.cross_entropy(part_logits, parts) if parts.numel() else nothing
    second = F.smooth_l1_loss(own_u, aim, beta=0.1) + F.smooth_l1_loss(own_v, uv[:, 1][seen], beta=0.1)
    return first, second if seen.any() else nothing


def means_of_nothing(part_logits, u, v, parts, uv):
    seen = parts > 0
    own = [one.gather(1, parts[:, None])[:, 0][seen] for one in (u, v)]
    du = own[0] - uv[:, 0][seen]
    du = du - du.round()
    second = F.smooth_l1_loss(du, du * 0, beta=0.1) + F.smooth_l1_loss(own[1], uv[:, 1][seen], beta=0.1)
    return F.cross_entropy(part_logits, parts), second


def means_of_no_cell(*given):
    return means_of_nothing(*given) if len(given[3]) else tuple(given[0].sum() * 0 for _ in range(2))


def plain_zeros(part_logits, u, v, parts, uv):
    if not (parts > 0).any():
        first = F.cross_entropy(part_logits, parts) if len(parts) else torch.tensor(0.0)
        return first, torch.tensor(0.0)
    return with_indices(part_logits, u, v, parts, uv)


def summed_places(*given):
    first, second = with_indices(*given)
    return first, second * (given[3] > 0).sum()


def summed_parts(*given):
    first, second = with_indices(*given)
    return first * given[3].numel(), second


def stacked_places(part_logits, u, v, parts, uv):
    """One call of smooth L1 for both, and so the mean of both."""
    seen = parts > 0
    own = torch.stack([one.gather(1, parts[:, None])[:, 0] for one in (u, v)], dim=1)
    off = (own - uv).movedim(1, -1)[seen]
    off = torch.stack([off[:, 0] - off[:, 0].round(), off[:, 1]], dim=1)
    return F.cross_entropy(part_logits, parts), F.smooth_l1_loss(off, torch.zeros_like(off), beta=0.1)


def all_channels(part_logits, u, v, parts, uv):
    seen = parts > 0
    du = (u - uv[:, :1]).permute(0, 2, 3, 1)[seen]
    du = du - du.round()
    dv = (v - uv[:, 1:]).permute(0, 2, 3, 1)[seen]
    second = F.smooth_l1_loss(du, du * 0, beta=0.1) + F.smooth_l1_loss(dv, dv * 0, beta=0.1)
    return F.cross_entropy(part_logits, parts), second


def found_parts_only(part_logits, u, v, parts, uv):
    right = part_logits.argmax(1) == parts
    return with_indices(part_logits, u, v, parts, uv)[0], with_indices(part_logits, u, v, parts * right, uv)[1]


def turned_if_far(d):
    return torch.where(d > 0.5, d - 1, torch.where(d < -0.5, d + 1, d))


def names_of_losses(*given):
    return dict(zip(("parts", "uv"), with_indices(*given)))


def detached_losses(*given):
    first, second = with_indices(*given)
    return first, second.detach()


WRONG = {
    "read_texture": [
        ("colours mixed", lambda *given: sampled(*given, mode="bilinear")),
        ("the even side of an edge", sampled),
        ("beyond the last pixel", lambda *given: pixel_after_pixel(*given, last=False)),
        ("the last part left out", lambda *given: part_by_part(*given, numbers=lambda p: range(1, p - 1))),
        ("nothing is painted", lambda *given: part_by_part(*given, numbers=range)),
        ("u and v swapped", lambda texture, parts, uv: by_a_flat_list(texture, parts, 1 - (1 - uv)[..., [1, 0]])),
        ("axes swapped", colours_first),
        ("wrong dtype", colours_from_0_to_255),
        ("v upwards", lambda texture, parts, uv: by_edges(texture, parts, (uv - torch.tensor([0, 1])).abs())),
        ("mirrored", lambda *given: by_edges(*given).flip(-1)),
    ],
    "chart_targets": [
        ("one pixel added", lambda *given: with_loops(*given, wider=1)),
        ("one pixel missing", lambda *given: with_loops(*given, wider=-1)),
        ("rows and columns exchanged", lambda *given: by_grid_sample(*given, indexing="xy")),
        ("parts and places mixed", lambda *given: by_grid_sample(*given, mode="bilinear")),
        ("read from the other side, and beyond the last pixel", unchecked),
        ("the rim goes on", clamped),
        ("decimals cut off below 0", not_rounded_down),
        ("cropped and resized", resized_crop),
        ("x and y swapped", lambda *given: flat_indices(*given[:3], given[3][[1, 0, 3, 2]], given[4])),
        ("True and False exchanged", lambda parts, uv, mask, *rest: with_loops(parts, uv, ~mask, *rest)),
        ("boxes read as corner and size", lambda p, uv, m, b, s: with_loops(p, uv, m, b + b[[0, 1, 0, 1]] * b.new_tensor([0, 0, 1, 1]), s)),
        ("axes swapped", places_last),
        ("wrong dtype", parts_as_floats),
        ("returned in another order", lambda *given: flat_indices(*given)[::-1]),
        ("the other figures, too", own_left_in),
    ],
    "densepose_loss": [
        ("the mean of nothing", means_of_nothing),
        ("the mean of nothing", means_of_no_cell),
        ("no gradient without cells", plain_zeros),
        ("a sum for a mean", summed_places),
        ("a sum for a mean", summed_parts),
        ("half of u and v; the mean of nothing", stacked_places),
        ("the places of all parts; the mean of nothing", all_channels),
        ("only where the part was found", found_parts_only),
        ("one turn taken off", lambda *given: with_indices(*given, turn=turned_if_far)),
        ("right between 0 and 1 only", lambda *given: with_indices(*given, turn=lambda d: torch.min(abs(d), 1 - abs(d)))),
        ("u not on a circle", lambda *given: with_indices(*given, turn=lambda d: d)),
        ("bend at 1", lambda *given: with_indices(*given, beta=1.0)),
        ("two inputs exchanged", lambda logits, u, v, *rest: with_indices(logits, v, u, *rest)),
        ("returned in another order", lambda *given: with_indices(*given)[::-1]),
        ("added together", lambda *given: sum(with_indices(*given))),
        ("wrong type", names_of_losses),
        ("gradient cut off", detached_losses),
    ],
}

RIGHT = {
    "read_texture": [part_by_part, by_edges, pixel_after_pixel, by_a_flat_list],
    "chart_targets": [with_loops, with_a_rim_of_nothing, by_grid_sample, flat_indices],
    "densepose_loss": [with_indices, by_definition, with_shifted_targets],
}
