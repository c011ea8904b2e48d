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


# --- densepose_loss ---------------------------------------------------------------------------------------------------


def with_indices(part_logits, u, v, parts, uv, turn=lambda d: (d + 0.5) % 1 - 0.5):
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
    return first, F.smooth_l1_loss(du, zero, beta=0.1) + F.smooth_l1_loss(dv, zero, beta=0.1)


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


# --- vert_align -------------------------------------------------------------------------------------------------------


def along_a_column(feature, verts, xy=lambda verts: verts[:, :2], **settings):
    """The vertices as a column of a grid; every setting but the defaults is spelled out."""
    settings = {"padding_mode": "border", "align_corners": False} | settings
    grid = xy(verts).reshape(1, -1, 1, 2)
    return F.grid_sample(feature.unsqueeze(0), grid, **settings).squeeze(3).squeeze(0).t()


def four_corners(feature, verts, move=-0.5, sides=(2, 1)):
    x, y = verts[:, 0], verts[:, 1]
    _, h, w = feature.shape
    x = ((x + 1) / 2 * feature.shape[sides[0]] + move).clamp(0, w - 1)
    y = ((y + 1) / 2 * feature.shape[sides[1]] + move).clamp(0, h - 1)
    x0, y0 = x.detach().floor().long(), y.detach().floor().long()
    x1, y1 = (x0 + 1).clamp(max=w - 1), (y0 + 1).clamp(max=h - 1)
    cells = feature.permute(1, 2, 0)
    u, v = (x - x0).unsqueeze(1), (y - y0).unsqueeze(1)
    return (
        cells[y0, x0] * (1 - u) * (1 - v)
        + cells[y0, x1] * u * (1 - v)
        + cells[y1, x0] * (1 - u) * v
        + cells[y1, x1] * u * v
    )


def vertex_after_vertex(feature, verts):
    c, h, w = feature.shape
    padded = F.pad(feature[None], (1, 1, 1, 1), mode="replicate")[0]
    rows = []
    for x, y, _ in verts:
        px = ((x + 1) * w / 2).clamp(0, w) + 0.5
        py = ((y + 1) * h / 2).clamp(0, h) + 0.5
        j, i = min(int(px), w), min(int(py), h)
        upper = torch.lerp(padded[:, i, j], padded[:, i, j + 1], px - j)
        lower = torch.lerp(padded[:, i + 1, j], padded[:, i + 1, j + 1], px - j)
        rows.append(torch.lerp(upper, lower, py - i))
    return torch.stack(rows) if rows else feature.new_zeros(0, c)


def stacked_vertices(feature, verts):
    return torch.stack([vertex_after_vertex(feature, vert[None])[0] for vert in verts])


def cell_of_each(feature, verts):
    _, h, w = feature.shape
    column = ((verts[:, 0] + 1) / 2 * w).long().clamp(0, w - 1)
    row = ((verts[:, 1] + 1) / 2 * h).long().clamp(0, h - 1)
    return feature[:, row, column].T


def in_floats(feature, verts):
    """Numbers taken out of their tensors."""
    places = torch.tensor(verts[:, :2].tolist()).reshape(-1, 2)
    return along_a_column(feature, places)


def stretched_over_the_middles(feature, verts):
    """-1 and 1 are taken to the first and the last cell."""
    last = torch.tensor([feature.shape[2] - 1, feature.shape[1] - 1])
    cells = torch.minimum(((verts[:, :2] + 1) / 2 * last).clamp(min=0), last)
    return four_corners(feature, (2 * cells + 1) / (last + 1) - 1)


# --- graph_conv -------------------------------------------------------------------------------------------------------


def table_of_neighbours(features, edges, w0, w1, own=0.0):
    neighbours = own * torch.eye(len(features))
    neighbours[edges[:, 0], edges[:, 1]] = 1.0
    neighbours[edges[:, 1], edges[:, 0]] = 1.0
    return features @ w0.T + neighbours @ features @ w1.T


def edge_after_edge(features, edges, w0, w1, both=True):
    rows = [w0 @ feature for feature in features]
    for i, j in edges.tolist():
        rows[i] = rows[i] + w1 @ features[j]
        if both:
            rows[j] = rows[j] + w1 @ features[i]
    return torch.stack(rows)


def both_directions_added(features, edges, w0, w1):
    both = torch.cat([edges, edges[:, [1, 0]]], dim=0)
    summed = torch.zeros_like(features)
    summed = summed.scatter_add(0, both[:, :1].expand(-1, features.shape[1]), features[both[:, 1]])
    return F.linear(features, w0) + F.linear(summed, w1)


def accumulated(features, edges, w0, w1):
    result = torch.mm(features, w0.t())
    sent = torch.mm(features, w1.t())
    result.index_put_((edges[:, 0],), sent[edges[:, 1]], accumulate=True)
    return result.index_put_((edges[:, 1],), sent[edges[:, 0]], accumulate=True)


def with_incidence(features, edges, w0, w1):
    """One-hot ends: a table of who stands at which end of which edge."""
    start, end = F.one_hot(edges, len(features)).float().unbind(1)
    return torch.einsum("vc,dc->vd", features, w0) + (start.T @ end + end.T @ start) @ features @ w1.T


def set_in_a_loop(features, edges, w0, w1, kept=True):
    own = features @ w0.T
    result = own.clone()
    for i, j in edges.tolist():
        result[i] = w1 @ features[j] + own[i] * kept
        result[j] = w1 @ features[i] + own[j] * kept
    return result


def set_column_by_column(features, edges, w0, w1):
    result, sent = F.linear(features, w0), F.linear(features, w1)
    result[edges[:, 1]] = sent[edges[:, 0]]
    result[edges[:, 0]] = sent[edges[:, 1]]
    return result


def joined_and_set(features, edges, w0, w1):
    result, sent = features @ w0.T, features @ w1.T
    places, others = torch.cat([edges, edges.flip(1)]).T
    result[places] += sent[others]
    return result


def means_of_neighbours(features, edges, w0, w1):
    both = torch.cat([edges, edges.flip(1)])
    summed = torch.zeros(len(features), len(w1)).index_add(0, both[:, 0], F.linear(features[both[:, 1]], w1))
    counts = torch.bincount(both[:, 0], minlength=len(features)).unsqueeze(1)
    return F.linear(features, w0) + summed / counts


def into_the_features(features, edges, w0, w1):
    start, end = edges.T
    features.index_add_(0, start, features[end].clone())
    return features @ w0.T


def untransposed(features, edges, w0, w1):
    result = features @ w0
    for i, j in edges.tolist():
        result[i] += features[j] @ w1
        result[j] += features[i] @ w1
    return result


def side_by_side(features, edges, w0, w1):
    both = torch.cat([edges, edges.flip(1)])
    summed = torch.zeros_like(features).index_add(0, both[:, 0], features[both[:, 1]])
    return torch.cat([features @ w0.T, summed @ w1.T], dim=1)


# --- chamfer_distance -------------------------------------------------------------------------------------------------


def by_cdist(one, other, power=2):
    far = torch.cdist(one, other)
    return far.min(dim=1).values.pow(power).mean() + far.min(dim=0).values.pow(power).mean()


def by_places(one, other, kept=lambda points: points):
    with torch.no_grad():
        far = ((one.unsqueeze(1) - other.unsqueeze(0)) ** 2).sum(-1)
    there, back = far.argmin(dim=1), far.argmin(dim=0)
    return (one - kept(other[there])).pow(2).sum(1).mean() + (other - kept(one[back])).pow(2).sum(1).mean()


def point_after_point(one, other, best=min):
    def way(points, to):
        total = 0.0
        for point in points:
            total = total + best(((point - place) ** 2).sum() for place in to)
        return total / len(points)

    return way(one, other) + way(other, one)


def squares_multiplied_out(one, other):
    far = (one * one).sum(1)[:, None] + (other * other).sum(1)[None] - 2 * one @ other.T
    far = far.clamp(min=0)
    return far.amin(1).mean() + far.amin(0).mean()


def sorted_ways(one, other):
    far = (one.repeat_interleave(len(other), 0) - other.repeat(len(one), 1)).square().sum(1).view(len(one), len(other))
    return torch.sort(far, dim=1)[0][:, 0].mean() + torch.topk(far, 1, dim=0, largest=False)[0].mean()


def root_and_square(one, other):
    far = ((one[:, None] - other[None]) ** 2).sum(2).sqrt()
    return (far.min(1)[0] ** 2).mean() + (far.min(0)[0] ** 2).mean()


def root_and_square_afterwards(one, other):
    far = (one[:, None] - other[None]).square().sum(2)
    return far.amin(1).sqrt().square().mean() + far.amin(0).sqrt().square().mean()


def from_one_to_itself(one, other):
    return torch.cdist(one, one).square().amin(1).mean() + torch.cdist(other, other).square().amin(1).mean()


def second_half_stands_still(one, other):
    far = torch.cdist(one, other.detach()).square()
    return far.amin(1).mean() + far.amin(0).mean()


def with_places(one, other):
    far = torch.cdist(one, other).square()
    return far.min(1)[1].float().mean() + far.min(0)[1].float().mean()


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
        (
            "boxes read as corner and size",
            lambda p, uv, m, b, s: with_loops(p, uv, m, b + b[[0, 1, 0, 1]] * b.new_tensor([0, 0, 1, 1]), s),
        ),
        ("axes swapped", places_last),
        ("wrong dtype", parts_as_floats),
        ("returned in another order", lambda *given: flat_indices(*given)[::-1]),
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
        (
            "one turn taken off",
            lambda *given: with_indices(*given, turn=lambda d: torch.min(abs(d), 1 - abs(d))),
        ),
        ("two inputs exchanged", lambda logits, u, v, *rest: with_indices(logits, v, u, *rest)),
        ("returned in another order", lambda *given: with_indices(*given)[::-1]),
        ("added together", lambda *given: sum(with_indices(*given))),
        ("wrong type", names_of_losses),
        ("gradient cut off", detached_losses),
    ],
    "vert_align": [
        ("axes swapped", lambda *given: along_a_column(*given).T),
        ("zeros beyond the border; axes swapped", lambda *given: along_a_column(*given, padding_mode="zeros").T),
        ("reshaped instead of transposed", lambda *given: along_a_column(*given).T.reshape(len(given[1]), -1)),
        ("gradient cut off", lambda feature, verts: along_a_column(feature, verts.detach())),
        ("gradient cut off", lambda feature, verts: along_a_column(feature.detach(), verts)),
        ("gradient cut off", in_floats),
        ("corners aligned", stretched_over_the_middles),
        ("half a cell off", lambda *given: four_corners(*given, move=0)),
        ("half a cell off, the other way", lambda *given: four_corners(*given, move=-1)),
        ("width and height exchanged", lambda *given: four_corners(*given, sides=(1, 2))),
        ("the cell instead of a mix", cell_of_each),
        ("x and y swapped", lambda feature, verts: four_corners(feature.transpose(1, 2), verts)),
        ("y upwards", lambda feature, verts: four_corners(feature.flip(1), verts)),
        ("x to the left", lambda feature, verts: vertex_after_vertex(feature.flip(2), verts)),
        ("z for y", lambda *given: along_a_column(*given, xy=lambda verts: verts[:, ::2])),
        ("one axis too many", lambda *given: along_a_column(*given)[None]),
        ("crashes for some inputs", stacked_vertices),
    ],
    "graph_conv": [
        ("only the first of each edge receives", lambda *given: edge_after_edge(*given, both=False)),
        ("one neighbour alone", set_in_a_loop),
        ("one neighbour alone", joined_and_set),
        ("written over by one neighbour", set_column_by_column),
        ("written over by one neighbour", lambda *given: set_in_a_loop(*given, kept=False)),
        ("its own neighbour", lambda *given: table_of_neighbours(*given, own=1.0)),
        ("mean instead of sum, and 0 / 0", means_of_neighbours),
        ("w0 and w1 exchanged", lambda features, edges, w0, w1: accumulated(features, edges, w1, w0)),
        ("weights not transposed", lambda features, edges, w0, w1: with_incidence(features, edges, w0.T, w1.T)),
        ("weights not transposed", untransposed),
        ("axes swapped", lambda *given: both_directions_added(*given).T),
        ("sign flipped", lambda *given: -both_directions_added(*given)),
        ("wrong shape", side_by_side),
        ("input changed in place", into_the_features),
        ("gradient cut off", lambda features, *rest: table_of_neighbours(features.detach(), *rest)),
        ("gradient cut off", lambda *given: accumulated(*given).detach()),
    ],
    "chamfer_distance": [
        ("not squared", lambda *given: by_cdist(*given, power=1)),
        (None, lambda *given: by_cdist(*given, power=3)),
        ("the farthest for the nearest", lambda *given: point_after_point(*given, best=max)),
        ("the nearest points stand still", lambda *given: by_places(*given, kept=torch.detach)),
        ("no slope at 0", root_and_square),
        ("no slope at 0", root_and_square_afterwards),
        ("a cloud and itself", from_one_to_itself),
        ("gradient cut off", second_half_stands_still),
        ("places instead of distances", with_places),
        ("root taken", lambda *given: by_cdist(*given).sqrt()),
        ("mean of both halves", lambda *given: squares_multiplied_out(*given) / 2),
        ("one axis too many", lambda *given: by_cdist(*given)[None]),
        ("wrong type", lambda *given: by_cdist(*given).item()),
        ("wrong type", lambda *given: (by_cdist(*given), None)),
        ("gradient cut off", lambda *given: by_cdist(*given).detach()),
    ],
}

RIGHT = {
    "read_texture": [part_by_part, by_edges, pixel_after_pixel, by_a_flat_list],
    "chart_targets": [with_loops, with_a_rim_of_nothing, by_grid_sample, flat_indices],
    "densepose_loss": [with_indices, by_definition, with_shifted_targets],
    "vert_align": [along_a_column, four_corners, vertex_after_vertex],
    "graph_conv": [table_of_neighbours, edge_after_edge, both_directions_added, accumulated, with_incidence],
    "chamfer_distance": [by_cdist, by_places, point_after_point, squares_multiplied_out, sorted_ways],
}
