# %% [markdown]
# # 11 · FPN and RetinaNet: a map for every size
#
# One scene at three sizes: twice as large, as it is, and two thirds of that.
# One network found the boxes, each time in one look.
# The colour of a box says which of its three maps found it: small things the fine one, large things the coarse one.

# %%
import json

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import Toyworld
from lib.device import choose_device
from lib.models.retinanet import RetinaNetOutput, retinanet_small, retinanet_small_fpn
from lib.ops.boxes import clip_boxes_to_image
from lib.training import load_checkpoint
from lib.viz.detection.pyramid import draw_levels

STRIDES = (4, 8, 16)
device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"
net = retinanet_small_fpn().to(device)
made = load_checkpoint(net, folder / "11_retinanet.safetensors")
net = net.eval().requires_grad_(False)
stored = json.loads((folder / "11_runs.json").read_text())      # all that was measured for this lesson

# %%
val_world = Toyworld("val", length=200)
as_it_is = val_world[71].image                                  # (3, 96, 96)


def moved_anchors(output: RetinaNetOutput, size: tuple[int, int]) -> torch.Tensor:
    """All anchors of the first picture, moved as the network says: (A, 4)."""
    moved = net.box_coder.decode_single(output.bbox_regression[0], output.anchors)
    return clip_boxes_to_image(moved, size)


def level_of(boxes: torch.Tensor, moved: torch.Tensor, level_sizes: list[int]) -> torch.Tensor:
    """The level, from 0, of the moved anchor that each box is."""
    anchor = torch.cdist(boxes, moved).argmin(dim=1)            # (n,)
    return torch.bucketize(anchor, torch.tensor(level_sizes).cumsum(0).to(anchor), right=True)

# %%
wide, left, boxes, levels = torch.ones(3, 192, 352), 0, [], []
for side in (192, 96, 64):                                      # near, as it is, far
    at = F.interpolate(as_it_is[None].to(device), (side, side), mode="bilinear", antialias=True)
    answer, output = net(at)[0], net.predict(at)
    sure = answer["boxes"][answer["scores"] > 0.5]              # (n, 4)
    levels.append(level_of(sure, moved_anchors(output, (side, side)), output.level_sizes).cpu())
    wide[:, 192 - side:, left:left + side] = at[0].cpu()
    boxes.append(sure.cpu() + torch.tensor([left, 192 - side] * 2))
    left += side
boxes, levels = torch.cat(boxes), torch.cat(levels)

# %%
draw_levels(wide, {"one scene at three sizes": (boxes, levels)}, STRIDES, size=9)
plt.show()
print("boxes of each map:", dict(zip(STRIDES, torch.bincount(levels, minlength=3).tolist())))
assert len(levels.unique()) == 3

# %% [markdown]
# **You will be able to**
#
# - say which map of a network suits a thing, and what a map lacks that is too fine or too coarse;
# - build a feature pyramid: across, up, add, smooth;
# - show that concatenating is adding with one more matrix;
# - ask all levels with the same two heads, and bring their answers into one list;
# - say what the way down brought here and what it did not, and how that was measured.
#
# | | |
# | --- | --- |
# | Time | 90 minutes to read and do, about 40 seconds of computing on two cores |
# | Builds on | lesson 03 (skips), 04 (U-Net), 08 (anchors), 10 (RetinaNet on one map) |
# | Papers | Lin, Dollár, Girshick, He, Hariharan & Belongie 2017, *Feature Pyramid Networks for Object Detection*; Lin, Goyal, Girshick, He & Dollár 2017, *Focal Loss for Dense Object Detection* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.

# %%
from torch import nn
from torchvision.ops import batched_nms

from lib.exercises import check, hint, progress, solution, use
from lib.ops.boxes import box_iou
from lib.training import Batches, evaluate_detection, fit, toyworld_detection
from lib.viz import explore
from lib.viz.detection.boxes import box_patch, show_picture
from lib.viz.detection.detections import draw_boxes
from lib.viz.detection.focal import draw_runs
from lib.viz.detection.pyramid import draw_anchor_sizes, draw_pyramid, draw_size_levels, level_colour
from lib.viz.diagrams.retinanet_plan import draw_retinanet

# %% [markdown]
# **The whole, before its parts.**
# The idea is that of lesson 10's RetinaNet; but three maps are judged instead of one.
# A backbone makes such maps anyway, on its way.
# What is new: the way down between them (framed), and one pair of heads that judges all three.
# The frames have the colours of the three maps, and so have the boxes that come from them.

# %%
scene = val_world[96]
picture = scene.image.to(device)                                # (3, 96, 96)
draw_retinanet(net, picture)
plt.show()

# %% [markdown]
# ## 1. Which map has it?
#
# A convolutional network has maps of many sizes on its way.
# `SmallStages` hands out three of them, with strides of 4, 8 and 16 pixels.
#
# **Predict.**
# The scene has a crate of 43 pixels, and farther away a sphere of 9.
# How many cells wide is the sphere on each of the three maps?

# %%
stages = net.backbone.body                                      # SmallStages, trained
raw = list(stages(picture[None]).values())                      # 3 × (1, C_i, h_i, w_i), largest first
figure, axes = plt.subplots(1, 4, figsize=(9.5, 2.7), layout="constrained")
show_picture(axes[0], scene.image, "96 × 96 pixels")
for axis, one, stride in zip(axes[1:], raw, STRIDES):
    axis.imshow(one[0].mean(dim=0).cpu(), extent=(0, 96, 96, 0))
    axis.set_title(f"stride {stride}: {one.shape[2]} × {one.shape[3]} cells", fontsize=10)
    axis.axis("off")
for axis in axes:
    for box in scene.boxes[:2]:
        box_patch(axis, box, "white", width=1.2)
plt.show()

# %% jupyter={"outputs_hidden": true}
sides = (scene.boxes[:, 2:] - scene.boxes[:, :2]).prod(dim=1).sqrt()            # (4,) √(w·h), pixels
for name, side in (("crate", sides[0]), ("sphere", sides[1])):
    print(f"{name}, {side:.0f} pixels:",
          ", ".join(f"{side / stride:.1f} cells of stride {stride}" for stride in STRIDES))

# %% [markdown]
# On the coarsest map the sphere is half a cell: whatever that cell says is mostly about grass.
# On the finest map the crate is more than ten cells wide, and no cell of them sees it whole.
#
# So small things belong to fine maps and large things to coarse ones.
# One level further, cells are twice as wide: so a thing of **twice the side** belongs one level higher.
# The FPN paper writes that as its equation 1, for a box of width w and height h:
#
# > k = ⌊k₀ + log₂(√(w·h) / size)⌋
#
# Level k is the map with stride 2^k, and a thing with the side `size` belongs to level k₀.
#
# ### Exercise 1 · `roi_level`
#
# *8 minutes · ★☆☆*
#
# - `boxes`: (P, 4) xyxy in pixels; P may be 0.
#   `k_min`, `k_max`: the finest and the coarsest level that there is.
#   `size`, `level`: a box with √(w·h) = `size` belongs to `level`.
# - Returns (P,) int64: ⌊`level` + log₂(√(w·h) / `size`)⌋.
# - What would lie beyond `k_min` or `k_max` goes to the nearest level that exists; a box without area to `k_min`.

# %% tags=["exercise"]
def roi_level(boxes: torch.Tensor, k_min: int, k_max: int, size: float = 224,
              level: int = 4) -> torch.Tensor:
    ### BEGIN SOLUTION
    area = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1)            # (P,) pixels²
    levels = (level + (area.sqrt() / size).log2()).floor()      # (P,)
    return levels.clamp(k_min, k_max).long()
    ### END SOLUTION

# %%
check(roi_level)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# One number measures a box: the side of a square of the same area.
# Everything else happens to that number, in the order in which equation 1 is read from the inside.
# </details>
# <details><summary>Hint: levels that do not exist</summary>
#
# `tensor.clamp(low, high)` does it, and takes log₂ 0 = −∞ too, which no whole number can be.
# </details>

# %%
roi_level = use(roi_level)

# %% [markdown]
# All things of 200 scenes, with 16 pixels for level 3, the map of stride 8.
# **Predict.**
# What do the borders between the levels look like in this plane: straight lines, or curves?

# %% jupyter={"outputs_hidden": true}
val_images, val_targets = toyworld_detection(val_world)
all_boxes = torch.cat([target["boxes"] for target in val_targets])              # (656, 4)
all_levels = roi_level(all_boxes, 2, 4, size=16, level=3)
draw_size_levels(all_boxes, all_levels - 2, (16, 32), STRIDES)
plt.show()
all_sides = (all_boxes[:, 2:] - all_boxes[:, :2]).prod(dim=1).sqrt()            # (656,)
low, middle, high = all_sides.quantile(torch.tensor([0.05, 0.5, 0.95]))
print("things of each level:", torch.bincount(all_levels)[2:].tolist())
print(f"median side {middle:.0f} pixels; 5 % are below {low:.1f}, 5 % above {high:.0f};",
      f"{(all_sides < 32).float().mean():.0%} have less than 32² pixels")

# %% [markdown]
# Hyperbolas: between two levels, w · h is constant.
# A wide, low box goes where a square of the same area goes.
#
# COCO calls a thing *small* if its area is below 32² pixels, and that is most of toyworld.
# So this lesson has finer limits of its own, for √(w·h): below 12, 12 to 24, and above 24 pixels.
#
# ## 2. What a fine map lacks
#
# Why not find everything on the finest map?

# %%
from lib.ops.receptive_field import Window, receptive_field

halve, look = Window(4, 2, 1), Window(3, 1, 1)                  # the two convolutions of a stage
seen = {stride: receptive_field([halve] + [halve, look] * count).size
        for count, stride in enumerate(STRIDES, start=1)}
figure, axis = plt.subplots(figsize=(3.6, 3.6), layout="constrained")
show_picture(axis, scene.image, "what one cell of each map sees")
middle = (scene.boxes[0, :2] + scene.boxes[0, 2:]) / 2          # x, y of the crate
for level, side in enumerate(seen.values()):
    box_patch(axis, torch.cat([middle - side / 2, middle + side / 2]), level_colour(level))
axis.set(xlim=(-30, 96), ylim=(100, -8))
plt.show()
print("pixels seen by a cell:", seen)

# %% [markdown]
# A cell of the finest map sees 18 × 18 pixels, a stripe of the crate and parts of two more.
# Such stripes may belong to a crate, a cylinder or a cone.
# A fine map has places, and knows little; a coarse map knows, and has few places.
# Lesson 03 said so of scores: *deep maps know what, shallow maps know where*.
#
# The detectors so far chose one map in between, of stride 8.
# Measured by size, for the RetinaNet of lesson 10: of how many things is there a box of the right class with an IoU of at least 0.5,
# among the ten surest of the picture?

# %% jupyter={"outputs_hidden": true}
def values_of(runs: str, part: str, which: str) -> list[float]:
    """One number that was measured, for each seed."""
    return [run[part][which] for name, run in stored.items() if name.startswith(f"{runs}/")]


def mean_of(runs: str, part: str, which: str) -> float:
    values = values_of(runs, part, which)
    return sum(values) / len(values)


SIZES = ("below 12", "12 to 24", "above 24")
print("found by one map:", {size: f"{mean_of('runs/one map', 'recall', size):.0%}" for size in SIZES})
assert mean_of("runs/one map", "recall", SIZES[0]) < mean_of("runs/one map", "recall", SIZES[2]) - 0.2

# %% [markdown]
# Small things are missed most.
#
# One answer was **SSD**, in 2016: take boxes from *several* maps, as they are.
# Fine maps give small boxes, coarse maps give large ones, and each map has heads of its own.
# A small thing then has enough cells, which see 18 pixels.
# Is that enough to know what it is?
# The FPN paper says no, and builds a way down.
#
# ## 3. The way down
#
# First with random numbers: two maps, fine and coarse, with different numbers of channels.
# **Across**: a 1 × 1 convolution gives both the same number of channels.
# **Up**: the coarse one is enlarged, each cell becomes four.
# **Add**.
# **Smooth**: a 3 × 3 convolution.

# %%
torch.manual_seed(0)
fine, coarse = torch.randn(1, 48, 24, 24), torch.randn(1, 96, 12, 12)
across = [nn.Conv2d(48, 32, 1), nn.Conv2d(96, 32, 1)]
own, above = across[0](fine), across[1](coarse)                 # (1, 32, 24, 24), (1, 32, 12, 12)
enlarged = F.interpolate(above, size=own.shape[2:], mode="nearest")             # (1, 32, 24, 24)
merged = own + enlarged                                         # (1, 32, 24, 24)
smoothed = nn.Conv2d(32, 32, 3, padding=1)(merged)              # (1, 32, 24, 24)
print("across", tuple(above.shape), "· up", tuple(enlarged.shape), "· smooth", tuple(smoothed.shape))

# %% [markdown]
# These are the parts of the U-Net of lesson 04: up, join, convolve.
# New is that **answers leave at every size**, not only at the largest, and that the same heads give them.
#
# With three maps, the sum of the second step goes on down to the third.
# **Predict.**
# Somebody changes one number of the *smallest* of three maps.
# Which of the three results change?
# And if it is a number of the largest?
#
# ### Exercise 2 · `top_down`
#
# *12 minutes · ★★☆*
#
# - `maps`: a list of (B, C_i, h_i, w_i), the **largest first**; there may be one only.
#   `lateral[i]`: a 1 × 1 convolution C_i → C for `maps[i]`.
#   `smooth[i]`: a 3 × 3 convolution C → C.
# - From the smallest map to the largest: *merged* is the map after its `lateral`,
#   and for all but the smallest, plus the *merged* map of the level above, enlarged to exactly (h_i, w_i), `mode="nearest"`.
# - Returns a list of (B, C, h_i, w_i), the largest first: of each *merged* map `smooth`.
#   What goes on down is *merged*, before `smooth`.
# - The inputs stay as they are.

# %% tags=["exercise"]
def top_down(maps: list, lateral: list, smooth: list) -> list:
    ### BEGIN SOLUTION
    merged, results = None, []
    for one, across, last in zip(maps[::-1], lateral[::-1], smooth[::-1]):
        own = across(one)                                       # (B, C, h_i, w_i)
        if merged is not None:
            own = own + F.interpolate(merged, size=own.shape[2:], mode="nearest")
        merged = own
        results.append(last(merged))
    return results[::-1]
    ### END SOLUTION

# %%
check(top_down)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# Walk through all three lists backwards, and keep one variable: what comes from above.
# For the first map of the walk there is nothing above.
# </details>
# <details><summary>Hint: sizes do not fit, at odd sides only</summary>
#
# 3 rows enlarged by 2 are 6, and the map below may have 7.
# `F.interpolate` takes `size=` instead of `scale_factor=`.
# Lesson 04 lost a row at this place.
# </details>
# <details><summary>Hint: the smallest map is right, the others are not</summary>
#
# Two maps could go on down: before the 3 × 3 convolution, or after it.
# </details>

# %%
top_down = use(top_down)

# %% [markdown]
# The answer to the question above, tried out: one number of the smallest map, then one of the largest.

# %% jupyter={"outputs_hidden": true}
maps = [torch.randn(1, 8, side, side) for side in (24, 12, 6)]
lateral = [nn.Conv2d(8, 8, 1) for _ in maps]
smooth = [nn.Conv2d(8, 8, 3, padding=1) for _ in maps]
before = top_down(maps, lateral, smooth)
for name, place in (("smallest", 2), ("largest", 0)):
    changed = [one.clone() for one in maps]
    changed[place][0, 0, 3, 3] += 1
    pairs = zip(before, top_down(changed, lateral, smooth))
    cells = [int(((a - b).abs().amax(dim=1) > 1e-6).sum()) for a, b in pairs]
    print(f"one cell of the {name} map: {cells} cells of the three results change")

# %% [markdown]
# A change in the smallest map reaches all three; one in the largest map stays there.
# (One cell becomes 2 × 2, then 4 × 4 cells on the way, and the 3 × 3 convolution adds a rim: 9, 16 and 36.)
#
# The trained pyramid of our detector, run by your function, is the same as by `lib` and by torchvision:

# %%
from torchvision.ops import FeaturePyramidNetwork

fpn = net.backbone.fpn
theirs = FeaturePyramidNetwork([48, 96, 96], 48).to(device)
theirs.load_state_dict(fpn.state_dict())
mine = top_down(raw, list(fpn.inner_blocks), list(fpn.layer_blocks))            # 3 × (1, 48, h_i, w_i)
for other in (fpn, theirs):
    ours = other({str(level): one for level, one in enumerate(raw)}).values()
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(mine, ours))
print("the same maps as lib's and torchvision's:", [tuple(one.shape[1:]) for one in mine])

# %% [markdown]
# The pyramid, with real maps: on the left what goes across, on the right what leaves.
# Of the 48 channels, the mean of the absolute values.

# %%
with torch.no_grad():
    crossed = [inner(one) for inner, one in zip(fpn.inner_blocks, raw)]         # 3 × (1, 48, h_i, w_i)
draw_pyramid({title: [one[0].abs().mean(dim=0) for one in several] for title, several in
              (("across", crossed), ("after the way down", mine))}, STRIDES)
plt.show()
for stride, last, own, leaves in zip(STRIDES, fpn.layer_blocks, crossed, mine):
    change = (leaves - last(own)).abs().mean() / leaves.abs().mean()
    print(f"stride {stride:>2}: without what came from above, numbers change by {change:.0%}")

# %% [markdown]
# The smallest map has nothing above it.
# The largest map changes most: it is the sum of three.
#
# ## 4. Adding or concatenating?
#
# You will often read that adding *mixes* two maps and concatenating *keeps* both.
# Then it would be better to lay them side by side, and a 1 × 1 convolution brings 2 · C channels back to C.
#
# **Predict.**
# A 1 × 1 convolution of two maps laid side by side: how does it differ from the sum of two 1 × 1 convolutions, one for each map?
#
# ### Exercise 3 · `split_conv`
#
# *8 minutes · ★★☆*
#
# - `conv`: a 1 × 1 `nn.Conv2d` with bias; its input is two maps, concatenated along the channels.
#   `channels`: how many channels the first of them has.
# - Returns two 1 × 1 `nn.Conv2d`, `first` and `second`, such that `first(a) + second(b)` equals `conv(torch.cat([a, b], dim=1))`.

# %% tags=["exercise"]
def split_conv(conv: nn.Conv2d, channels: int) -> tuple:
    ### BEGIN SOLUTION
    first = nn.Conv2d(channels, conv.out_channels, 1)
    second = nn.Conv2d(conv.in_channels - channels, conv.out_channels, 1, bias=False)
    with torch.no_grad():
        first.weight.copy_(conv.weight[:, :channels])           # (K, channels, 1, 1)
        first.bias.copy_(conv.bias)
        second.weight.copy_(conv.weight[:, channels:])          # (K, the others, 1, 1)
    return first, second
    ### END SOLUTION

# %%
check(split_conv)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# The weight of a 1 × 1 convolution is a matrix: a row for each output, a column for each input channel.
# Which columns meet the first map?
# </details>
# <details><summary>Hint: off by the same number at every place</summary>
#
# `conv` adds its bias once.
# A new `nn.Conv2d` has a bias of its own, with random numbers, unless it is told not to.
# </details>

# %%
split_conv = use(split_conv)

# %%
conv = nn.Conv2d(48 + 32, 32, 1)
first, second = split_conv(conv, 48)
side_by_side = conv(torch.cat([fine, enlarged], dim=1))         # (1, 32, 24, 24)
assert torch.allclose(side_by_side, first(fine) + second(enlarged), atol=1e-4)
print("concatenate, then 1 × 1: the same as a 1 × 1 for each, then add;",
      f"{second.weight.numel():,} weights more than adding what comes from above as it is")

# %% [markdown]
# So concatenating with a 1 × 1 convolution *is* adding, with one more matrix for what comes from above.
# Lessons 03 and 04 measured no difference; section 8 measures it here.
# **Predict** the difference in AP.
#
# ## 5. Anchors of a level
#
# In lesson 10 one map had anchors of three sizes, 12, 20 and 34 pixels.
# With a pyramid, a level needs few sizes, because the next level has the larger ones.
#
# The FPN paper gives each level one size.
# RetinaNet gives it three: `base`, `base` · ∛2 and `base` · ∛4.
# One more such step would be `base` · 2, and there the next level begins.
# So, before rounding, all sizes together are evenly spaced on a log axis, three to a doubling.
#
# ### Exercise 4 · `level_anchors`
#
# *10 minutes · ★★☆*
#
# - `base`: the smallest size of this level, in pixels.
#   `stride`: pixels from cell to cell.
#   `height`, `width`: of the map, in cells.
# - Sizes: `base`, `base` · 2^(1/3), `base` · 2^(2/3), the last two rounded **down** to whole pixels.
#   Ratios height / width: ½, 1, 2.
#   An anchor of size s and ratio r is s / √r wide and s · √r high.
# - Round the four numbers around (0, 0) to whole pixels (`torch.round`); then move them to (column · `stride`, row · `stride`).
# - Returns (`height` · `width` · 9, 4) xyxy in the order of lesson 08: row, column, ratio, size.

# %% tags=["exercise"]
def level_anchors(base: int, stride: int, height: int, width: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    sizes = torch.tensor([base, int(base * 2 ** (1 / 3)), int(base * 2 ** (2 / 3))])
    root = torch.tensor([0.5, 1, 2]).sqrt()[:, None]            # (3, 1), ratios down, sizes across
    sides = torch.stack([sizes / root, sizes * root], dim=2).reshape(9, 2)      # widths, heights
    around_zero = (torch.cat([-sides, sides], dim=1) / 2).round()               # (9, 4)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    points = torch.stack([x, y, x, y], dim=2) * stride          # (height, width, 4)
    return (points[:, :, None] + around_zero).reshape(-1, 4)
    ### END SOLUTION

# %%
check(level_anchors)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# It is `make_anchors` of lesson 08, with sizes that you compute first.
# Nine boxes around (0, 0), then a copy of them for each cell.
# </details>
# <details><summary>Hint: some sizes are smaller than `base`</summary>
#
# Python reads `2 ** 1 / 3` as (2 ** 1) / 3.
# </details>
# <details><summary>Hint: the right boxes, in another order</summary>
#
# The last axis of the nine is the size, the one before it the ratio: all three *wide* ones come first.
# </details>

# %%
level_anchors = use(level_anchors)

# %%
bases, cells = (8, 16, 32), (24, 12, 6)
levels_of_anchors = [level_anchors(base, stride, side, side)
                     for base, stride, side in zip(bases, STRIDES, cells)]
anchors = torch.cat(levels_of_anchors)                          # (6804, 4)
assert torch.equal(anchors, net.predict(picture[None]).anchors.cpu())
draw_anchor_sizes(net.anchor_generator.sizes, all_sides, STRIDES)
plt.show()
counts = [len(one) for one in levels_of_anchors]
print(f"{len(anchors):,} anchors, of each level {counts}; {counts[0] / len(anchors):.0%} on the finest")

# %% [markdown]
# From 8 to 50 pixels, each size ∛2 = 1.26 times the one before (but for the rounding), over the histogram of things.
# Three quarters of all anchors are on the finest map.
# It has the most cells, and small things need them.
# It is also lesson 10's trouble once more: more anchors, but no more things.
#
# **Predict.**
# Do more anchors fit the things better: the small ones, or the large ones?
# For each thing the best IoU that any anchor has with it; the mean over all things, and over those of each size:

# %% jupyter={"outputs_hidden": true}
from lib.models.ssd import ssd_small

one_map, ssd = retinanet_small().to(device).eval(), ssd_small().to(device).eval()
kinds = torch.bucketize(all_sides, torch.tensor([12.0, 24.0]))  # (656,) 0, 1, 2: small, middle, large
sets = {"one map, 12 to 34 pixels": one_map.predict(picture[None])[0],
        "pyramid, 8 to 50 pixels": anchors, "SSD's default boxes": ssd.predict(picture[None])[0]}
fits = {}
for name, some in sets.items():
    some = some.detach().cpu()                                  # (A, 4)
    matches = torch.cat([net.proposal_matcher(box_iou(target["boxes"], some)) for target in val_targets])
    rare = (matches == -1).sum() / (matches >= 0).sum()         # −1: background
    best = box_iou(all_boxes, some).amax(dim=1)                 # (656,)
    fits[name] = float(best.mean())
    by_size = ", ".join(f"{best[kinds == kind].mean():.2f}" for kind in range(3))
    print(f"{name:<24} {len(some):>5,} boxes, best IoU {fits[name]:.2f} ({by_size});",
          f"1 positive to {rare:.0f} negative ones")
assert fits["pyramid, 8 to 50 pixels"] > fits["SSD's default boxes"] > fits["one map, 12 to 34 pixels"]

# %% [markdown]
# It is the small ones that gain: with a pyramid, things of all sizes are fitted equally well.
# And positives are three times as rare.
#
# RetinaNet never asks equation 1: a thing belongs to the anchors that overlap it enough, on whatever level they are.
# The equation is needed where boxes come from somewhere else: in the second stage of a Faster R-CNN (section 11).
#
# ## 6. The same heads everywhere
#
# SSD has heads for each map.
# Here **one** pair of heads, the class head and the box head, judges all levels with the same weights.
# Why can it?
# Because of what it is shown, counted in cells: a thing of 10 pixels has 2.5 cells at stride 4, and one of 40 pixels has 2.5 at stride 16.
# And after the way down all maps have the same number of channels, made to be read by the same heads.
#
# The answers of a level are a map with 9 · 6 channels for classes, and one with 9 · 4 for boxes.
# The loss, top-k and NMS want one long list, in the order of the anchors.
#
# ### Exercise 5 · `flatten_levels`
#
# *10 minutes · ★★☆*
#
# - `answers`: a list of (N, A · `numbers`, h_i, w_i), one for each level.
#   The channels hold all `numbers` of a cell's first anchor, then all of its second ...
# - Returns (N, Σ h_i · w_i · A, `numbers`): level after level, row after row, column after column, anchor after anchor.

# %% tags=["exercise"]
def flatten_levels(answers: list, numbers: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    lists = []
    for one in answers:
        split = one.unflatten(1, (-1, numbers))                 # (N, A, numbers, h, w)
        lists.append(split.permute(0, 3, 4, 1, 2).flatten(1, 3))        # (N, h · w · A, numbers)
    return torch.cat(lists, dim=1)
    ### END SOLUTION

# %%
check(flatten_levels)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# Give the anchors an axis of their own first: (N, A, `numbers`, h, w).
# Then which order of the axes makes rows come first, and `numbers` last?
# </details>
# <details><summary>Hint: the right shape, the wrong numbers</summary>
#
# `view` and `reshape` never change the order in which numbers lie.
# `permute` does.
# </details>

# %%
flatten_levels = use(flatten_levels)

# %%
class Heads(nn.Module):
    """The heads of a detector, and a way to bring their answers into a list."""

    def __init__(self, head: nn.Module, flatten):
        super().__init__()
        self.classify, self.regress = head.classification_head, head.regression_head
        self.flatten = flatten

    def forward(self, maps: list) -> tuple:
        logits = [self.classify.cls_logits(self.classify.conv(one)) for one in maps]
        moves = [self.regress.bbox_reg(self.regress.conv(one)) for one in maps]
        return self.flatten(logits, 6), self.flatten(moves, 4)


logits, moves = Heads(net.head, flatten_levels)(mine)           # (1, 6804, 6), (1, 6804, 4)
output = net.predict(picture[None])
assert torch.allclose(logits, output.cls_logits, atol=1e-4)
assert torch.allclose(moves, output.bbox_regression, atol=1e-4)
print("the same answers as the network's own:", tuple(logits.shape), tuple(moves.shape))

# %% [markdown]
# **Break it.**
# A wrong order: the columns of a map before its rows.
# The shape is right, and nothing complains.
# An untrained network learns for 25 steps with it, and one with the right order.
#
# **Predict.**
# Does the loss fall with the wrong order?
# And what would the trained network find, if it were asked with it?

# %% jupyter={"outputs_hidden": true}
from lib.ops.losses import hard_negatives


def three_to_one(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Lesson 10's choice: the positives, and for each its three hardest negatives."""
    losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(dim=1)    # (A,)
    return losses[hard_negatives(losses, wanted.any(dim=1))].sum()


def columns_first(answers: list, numbers: int) -> torch.Tensor:
    return flatten_levels([one.transpose(2, 3) for one in answers], numbers)

# %% jupyter={"outputs_hidden": true}
train_images, train_targets = toyworld_detection(Toyworld("train", length=2000))
sixty = Batches(val_images[:60], val_targets[:60])
trained, right_heads, after, ap50 = net, net.head, {}, {}
for name, flatten in {"right": flatten_levels, "columns first": columns_first}.items():
    trained.head = Heads(right_heads, flatten)
    ap50[name] = float(evaluate_detection(trained, sixty)["AP50"])
    trained.head = right_heads
    torch.manual_seed(0)
    trial = retinanet_small_fpn()
    trial.head, trial.classification_loss = Heads(trial.head, flatten), three_to_one
    batches = Batches(train_images, train_targets, batch_size=8, shuffle=True)
    losses = torch.tensor(fit(trial, batches, lambda model, batch: model.loss(*batch), steps=25,
                              learning_rate=2e-3, show=False).losses)
    after[name] = losses[-10:].mean()
    print(f"{name:<14} loss ≈ {losses[:5].mean():.2f} at first, ≈ {after[name]:.2f} after 25 steps;",
          f"trained network asked so: AP50 ≈ {ap50[name]:.2f}")
assert ap50["right"] > 0.5 > 0.1 > ap50["columns first"]
assert after["columns first"] < 1.2 * after["right"]

# %% [markdown]
# The loss falls, and hardly less than with the right order: in 25 steps little is learned that depends on it.
# Asked in the wrong order, the trained network is worth nothing.
# A falling loss does not prove that anchors and answers belong together; AP does.
#
# ## 7. Out again
#
# From 6,804 anchors with six answers each to a few boxes, in three steps.
#
# - **On each level, the best answers**: those above a threshold, and at most `top_k` of them.
#   Over all levels together, the finest map with its 76 % of the anchors could fill the list.
# - **NMS over all levels together**, class by class.
#   Levels overlap: a thing of 15 pixels is found on two.
# - Best first.
#
# ### Exercise 6 · `pyramid_detections`
#
# *15 minutes · ★★★*
#
# - `logits`: (A, K), one for each anchor and class.
#   `boxes`: (A, 4) xyxy, the moved anchors.
#   `level_sizes`: how many of the A anchors belong to each level, in their order; there may be 0.
# - The score of an answer is σ(logit), its label is its column, from 0.
#   An anchor may give several answers.
# - On each level the best `top_k` answers with a score *above* `threshold`, fewer if there are fewer.
# - Then `batched_nms(boxes, scores, labels, iou)` over all levels; it gives the places of those that stay, best first.
# - Returns boxes (n, 4), scores (n,), labels (n,) int64, best first.

# %% tags=["exercise"]
def pyramid_detections(logits: torch.Tensor, boxes: torch.Tensor, level_sizes: list, threshold: float,
                       top_k: int, iou: float) -> tuple:
    ### BEGIN SOLUTION
    found = []
    for scores, some in zip(logits.sigmoid().split(level_sizes), boxes.split(level_sizes)):
        flat = scores.flatten()                                 # (a · K,)
        sure = torch.where(flat > threshold)[0]
        sure = sure[flat[sure].argsort(descending=True)[:top_k]]                # best first
        anchor, label = sure // logits.shape[1], sure % logits.shape[1]
        found.append((some[anchor], flat[sure], label))
    boxes, scores, labels = (torch.cat(parts) for parts in zip(*found))
    kept = batched_nms(boxes, scores, labels, iou)
    return boxes[kept], scores[kept], labels[kept]
    ### END SOLUTION

# %%
check(pyramid_detections)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# `tensor.split(level_sizes)` cuts a tensor into one part for each level.
# Do one level, collect three tensors, and `torch.cat` at the end.
# </details>
# <details><summary>Hint: which anchor, which class?</summary>
#
# In a flattened (a, K) table, each anchor has K places in a row.
# `//` and `%` of a place by K give row and column.
# </details>
# <details><summary>Hint: too few detections</summary>
#
# Does an anchor give only its best class?
# An anchor that says *crate* with 0.4 and *cylinder* with 0.3 gives two answers.
# </details>

# %%
pyramid_detections = use(pyramid_detections)

# %% [markdown]
# With the trained network, it is what `lib.models.retinanet.RetinaNet` does:

# %%
moved = moved_anchors(output := net.predict(picture[None]), (96, 96))           # (6804, 4)
said = (output.cls_logits[0], moved, output.level_sizes)
boxes, scores, labels = pyramid_detections(*said, 0.05, 1000, 0.5)
theirs = net(picture[None])[0]
assert torch.equal(labels[:100], theirs["labels"])
assert torch.allclose(boxes[:100], theirs["boxes"], atol=1e-3)
passed = [int((one > 0.05).sum()) for one in output.cls_logits[0].sigmoid().split(output.level_sizes)]
print(f"the same {len(boxes)} detections; answers above 0.05 on each level: {passed}")

# %% [markdown]
# Here few answers pass the threshold, and `top_k` = 1,000 cuts nothing off; with a hundred thousand anchors and 90 classes it does.
#
# **Predict.**
# NMS on each level alone, instead of over all: how many more boxes does a scene get?

# %% jupyter={"outputs_hidden": true}
def level_by_level(logits: torch.Tensor, moved: torch.Tensor, level_sizes: list) -> tuple:
    parts = [pyramid_detections(some, at, [len(some)], 0.05, 1000, 0.5)
             for some, at in zip(logits.split(level_sizes), moved.split(level_sizes))]
    return tuple(torch.cat(several) for several in zip(*parts))


sure = {"NMS level by level": 0, "NMS over all levels": 0}
for image in val_images:
    one = net.predict(image[None].to(device).float() / 255)
    all_said = (one.cls_logits[0], moved_anchors(one, (96, 96)), one.level_sizes)
    sure["NMS level by level"] += int((level_by_level(*all_said)[1] > 0.3).sum())
    sure["NMS over all levels"] += int((pyramid_detections(*all_said, 0.05, 1000, 0.5)[1] > 0.3).sum())
print(f"{len(all_boxes) / 200:.1f} things in a scene; boxes of a score above 0.3:")
for name, count in sure.items():
    print(f"{name:<20} ≈ {count / 200:.1f}")
assert sure["NMS level by level"] > 1.1 * sure["NMS over all levels"]

# %%
alone = level_by_level(*said)
several = {"NMS level by level": alone[0][alone[1] > 0.3], "NMS over all levels": boxes[scores > 0.3]}
draw_levels(scene.image, {name: (some.cpu(), level_of(some, moved, output.level_sizes).cpu())
                          for name, some in several.items()}, STRIDES, truth=scene.boxes)
plt.show()
print({name: len(some) for name, some in several.items()})

# %% [markdown]
# Two levels often find the same thing.
# The surer one stays, and that decides which map a box is from.
# (What is still too many, 4.0 boxes for 3.3 things, are mistakes and second names: NMS works class by class,
# so a thing that is a little like two classes keeps a box of each. The sphere has two here.)
#
# ## 8. The claims
#
# *Small things are found better with a pyramid*, says the paper, and: *the way down does it*.
# A pyramid changes two things at once: there are **more maps**, and there is a **way down**.
# Three detectors tell them apart:
#
# - *one map*: the one of lesson 10, stride 8;
# - *no way down*: three maps, across and smooth, but nothing is added from above;
# - *FPN*: the same, with the way down, and with exactly the same parameters.
#
# *FPN* minus *no way down* is the way down and nothing else.
# *No way down* minus *one map* is the maps, and some more: the one of lesson 10 has another backbone, wider heads and anchors of 12 to 34 pixels.
# So there is a fourth, *stride 8 alone*: *no way down* of which only the middle map answers, with all nine sizes of anchors.
# Beside them: *concat* (section 4), *SSD*, and a wider *one map*, in case the extra time alone makes the difference.
# All learned from the same pictures, 1,000 steps, with three hard negatives for each positive (the best loss of lesson 10), three seeds.
# The learning rate of each was chosen from the same five values, by runs of 300 steps on the validation scenes.
# (*concat* and *stride 8 alone* use the rate of *FPN* and *no way down*, the wider one that of *one map*.)
#
# **Predict.**
# Write down the order of *one map*, *no way down* and *FPN*, and by how much they differ for things below 12 pixels.

# %% jupyter={"outputs_hidden": true}
KINDS = ("one map", "one map, wider", "no way down", "FPN", "concat", "SSD")
took = {kind: stored[f"about/{kind}"]["milliseconds"] for kind in KINDS}
draw_runs({f"{kind}, {took[kind]:.0f} ms": values_of(f"runs/{kind}", "val", "AP") for kind in KINDS},
          label="AP on 200 validation scenes, 1,000 steps; a dot for each seed", size=3.6)
plt.show()

# %% jupyter={"outputs_hidden": true}
HEAD = f"{'':15}AP     small  large   {'  '.join(f'{size:>9}' for size in SIZES)} pixels found"


def row(name: str, runs: str) -> None:
    ap, small, large = (mean_of(runs, "val", which) for which in ("AP", "AP_small", "AP_medium"))
    found = "  ".join(f"{mean_of(runs, 'recall', size):>9.0%}" for size in SIZES)
    print(f"{name:<15}{ap:.3f}  {small:.3f}  {large:.3f}   {found}")


print(HEAD)
for kind in KINDS:
    row(kind, f"runs/{kind}")
row("stride 8 alone", "more/middle alone/no way down")

# %% [markdown]
# (*small* and *large*: AP of the things below and above 32² pixels. COCO calls the second kind *medium*, and larger things *large*.)

# %% jupyter={"outputs_hidden": true}
for which, plus, minus in (
        ("three maps instead of one: no way down − stride 8 alone", "runs/no way down",
         "more/middle alone/no way down"),
        ("the way down: FPN − no way down", "runs/FPN", "runs/no way down"),
        ("a matrix on the way down: concat − FPN", "runs/concat", "runs/FPN")):
    pair = (values_of(name, "val", "AP") for name in (plus, minus))
    print(f"{which}: AP", ", ".join(f"{more - less:+.3f}" for more, less in zip(*pair)))
print("AP on the test scenes:", {kind: round(mean_of(f"runs/{kind}", "test", "AP"), 3) for kind in KINDS})
below = {kind: mean_of(f"runs/{kind}", "recall", SIZES[0]) for kind in KINDS}
assert min(below["no way down"], below["FPN"]) > below["one map, wider"] + 0.15

# %% [markdown]
# - **Small things gain from three maps instead of one**: their AP rises from 0.44 to 0.51, and of those below 12 pixels nearly twice as many are found.
#   It is the maps: *stride 8 alone* has the same backbone, heads and sizes, and is as poor at small things as *one map*.
#   More time alone does not do it either: the wider one finds few more of them.
# - **The way down does not help** here: it costs 0.01 to 0.02 with each seed.
# - A matrix on the way down (*concat*) changes nothing, as in lessons 03 and 04.
# - *SSD* has no way down either, is as good, and the fastest of those with three maps.
# - **Large things pay.**
#   They are found nearly as often, but their AP falls by about 0.1 in all detectors with three maps, *SSD* too: the boxes fit less exactly.
#   The map that answers for them has cells of 16 pixels, that of *one map* cells of 8; whether that is the reason was not tried.
#
# Why does the way down not help here?
# Look at section 2 again: what a fine map lacks is *seeing far enough to know*.
# But the fine map is asked for small things only.
# A thing of 10 pixels fits into the 18 that its cell sees, and three 3 × 3 convolutions follow (smooth, and two in a head): an answer rests on 42 pixels.
# So no map is asked for what it cannot see.
#
# If that is the reason, there is a test.
# Let the finest map answer **alone**, for things of every size: all nine sizes of anchors in each of its cells, 15,552 in all.
# Now it is asked for what it cannot see.
# Again with the way down and without, three seeds.
#
# **Predict.**
# Does the way down help now, and which things: small, middle or large ones?

# %% jupyter={"outputs_hidden": true}
print(HEAD)
for kind in ("no way down", "FPN"):
    row(kind, f"more/finest alone/{kind}")
with_it, without = (f"more/finest alone/{kind}" for kind in ("FPN", "no way down"))
gains = {which: mean_of(with_it, "val", which) - mean_of(without, "val", which)
         for which in ("AP_small", "AP_medium")}
print({which: f"{gain:+.3f}" for which, gain in gains.items()})
assert gains["AP_medium"] > 0.08 > gains["AP_small"]

# %% [markdown]
# Now it helps, and where it should: the AP of large things gains 0.14, that of small ones next to nothing.
# Without it, large things are found as often, but their boxes fit less: an answer that rests on 42 pixels does not see both ends of a thing of 50.
# (With it, one fine map is as good as three: 0.538. It finds fewer of the smallest, and large things lose less.)
#
# So the way down has a condition, here: **it helps a map that is asked for what it cannot see.**
# (It also adds layers; that is not separated from seeing farther.)
# Levels divide the work by size, which leaves little for it to do, here.
# In the paper it did a lot (section 13).
# A likely reason, not measured: to tell 80 kinds of things in photos from all else, one must know what is around them,
# and a cell of the finest map of a ResNet-50 sees 35 pixels.
#
# Is it perhaps a matter of time, or of the loss?
# The three levels once more, one seed each: 2,000 steps, and 1,000 steps with the focal loss (α = 0.5, γ = 1, as chosen in lesson 10).

# %% jupyter={"outputs_hidden": true}
print(HEAD)
for title in ("more steps", "focal loss"):
    print(title)
    for kind in ("no way down", "FPN"):
        row(kind, f"more/{title}/{kind}")

# %% [markdown]
# After 2,000 steps both have gained about 0.06, and what is left of the difference is smaller than that between two seeds.
# With the focal loss it is the same once more; and as in lesson 10, hard negatives are ahead of it after 1,000 steps.
#
# **Break it.**
# The same question, asked of the trained network: cut its way down, to the finest map alone, or to all maps.
# For the second, `NoWayDown` loads the very same weights.
#
# **Predict.**
# Which things are found less often: small, middle or large ones?
# Does it say the same as training without a way down did?

# %% jupyter={"outputs_hidden": true}
from lib.layers.fpn import FeaturePyramidNetwork as OurPyramid
from lib.layers.fpn import NoWayDown


class CutToFinest(OurPyramid):
    """Nothing comes down to the map of 24 rows."""

    def merge(self, inner: nn.Module, source: torch.Tensor, enlarged: torch.Tensor) -> torch.Tensor:
        return inner(source) + enlarged * (source.shape[2] != 24)


def found_by_size(model: nn.Module) -> torch.Tensor:
    """The share of things found below 12, from 12 to 24 and above 24 pixels: (3,)."""
    hits, kinds = [], torch.bucketize(all_sides, torch.tensor([12.0, 24.0]))    # (656,) 0, 1, 2
    for images, targets in Batches(val_images, val_targets):
        for answer, target in zip(model(images.to(device)), targets):
            iou = box_iou(target["boxes"], answer["boxes"][:10].cpu())          # (n, up to 10)
            right = target["labels"][:, None] == answer["labels"][:10].cpu()
            hits.append(((iou >= 0.5) & right).any(dim=1))
    return torch.stack([torch.cat(hits)[kinds == kind].float().mean() for kind in range(3)])

# %% jupyter={"outputs_hidden": true}
cut = {}
for name, pyramid in (("whole", fpn), ("nothing to stride 4", CutToFinest([48, 96, 96], 48)),
                      ("nothing to any", NoWayDown([48, 96, 96], 48))):
    pyramid.load_state_dict(fpn.state_dict())
    net.backbone.fpn = pyramid.to(device).eval()
    cut[name] = found_by_size(net)
    print(f"{name:<20}", ", ".join(f"{size}: ≈ {share:.0%}" for size, share in zip(SIZES, cut[name])))
net.backbone.fpn = fpn
assert cut["whole"][0] > cut["nothing to stride 4"][0] + 0.03
assert abs(cut["whole"][2] - cut["nothing to any"][2]) < 0.03

# %% [markdown]
# The small ones.
# They come from the finest map, and there this network has learned to rely on what comes from above.
# (That cutting everything hurts a little less than cutting the last step says nothing: 4 % are three things of 85.)
#
# And still, the network that *learned* without a way down is no worse (above).
# Both are true: cutting a part out of a trained network shows whether the network **relies** on it; training without it shows whether it is **needed**.
# A claim about a design needs the second.
#
# ## 9. Look inside
#
# The crate has 43 pixels, and a cell of the finest map sees 18.
#
# 1. `fpn.inner_blocks.0` is what goes across to the finest map, `fpn.layer_blocks.0` what leaves it.
#    Channel by channel: does the crate stand out more, as one thing and not as stripes, after the way down?
# 2. What do the heads say of the crate on the finest map?

# %%
explorer = explore(net.backbone, picture)
explorer.layer, explorer.channel = "fpn.layer_blocks.0", 28
explorer.cell = (12, 5)                                         # on the crate
explorer

# %%
by_level = output.cls_logits[0, :, 2].sigmoid().split(output.level_sizes)       # class 2: crate
print("the surest *crate* on each level:", ", ".join(
    f"stride {stride} ≈ {one.max():.2f}" for stride, one in zip(STRIDES, by_level)))
assert by_level[2].max() > by_level[0].max() + 0.3

# %% jupyter={"outputs_hidden": true}
figure, axes = plt.subplots(1, 3, figsize=(7.5, 2.8), layout="constrained")
chosen = {"across, channel 35": crossed[0][0, 35], "across, channel 16": crossed[0][0, 16],
          "what leaves, channel 28": mine[0][0, 28]}
for axis, (title, one) in zip(axes, chosen.items()):
    axis.imshow(one.detach().cpu())
    axis.set_title(title, fontsize=10)
    axis.axis("off")
plt.show()

# %% [markdown]
# <details><summary>What there is to see</summary>
#
# 1. No, rather less.
#    Of what goes across, channel 35 has the crate darker than all around it, as one thing; in channel 16 it is stripes.
#    Of what leaves, channel 28 is among the clearest: stripes again.
#    Nobody asks this map for large things, so it need not know of them.
# 2. Hardly anything: its anchors have 8 to 12 pixels, and none overlaps the crate enough to be positive.
#    The coarsest map is sure.
# </details>
#
# ## 10. SSD, and what it does otherwise
#
# | | SSD, 2016 | RetinaNet with FPN, 2017 |
# | --- | --- | --- |
# | the maps | as they are | after a way down |
# | heads | one pair for each map | one pair for all |
# | a cell says | 4 boxes (here), softmax with background | 9 anchors, sigmoids |
# | learns from | positives, three hard negatives for each | all answers, focal loss (in the paper) |
#
# Section 8 has one number for all four differences, and separates only the first, within RetinaNet.
# `lib/models/ssd.py` has SSD whole, tested equal to torchvision's.
#
# ## 11. At full size
#
# `retinanet_resnet50_fpn` has five levels, of stride 8 to 128, with 256 channels each: three come from ResNet-50,
# two more are made from the smallest by convolutions with stride 2.
# It is torchvision's: the same random weights in both give the same answers.

# %%
from functools import partial
from pathlib import Path

from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from lib.datasets.photos import load_photo, photo_boxes
from lib.models.retinanet import retinanet_resnet50_fpn

torch.manual_seed(0)
body = resnet_fpn_backbone(backbone_name="resnet50", weights=None, returned_layers=[2, 3, 4],
                           extra_blocks=LastLevelP6P7(256, 256),
                           norm_layer=partial(FrozenBatchNorm2d, eps=0.0))
theirs = detection.RetinaNet(body, num_classes=91, min_size=224, score_thresh=0.0).eval()
ours = retinanet_resnet50_fpn().eval()
ours.load_state_dict(theirs.state_dict())                       # strict: every name and every shape
ours.transform.min_size, ours.score_thresh = 224, 0.0           # quick; random weights are never sure

# %%
photo = load_photo("astronaut")                                 # (3, 512, 512)
with torch.no_grad():
    (mine,), (other,) = ours([photo]), theirs([photo])
    sizes = ours.predict(ours.transform([photo]).tensors).level_sizes
assert torch.allclose(mine["scores"], other["scores"], atol=1e-4)
assert torch.allclose(mine["boxes"], other["boxes"], atol=1e-2)
print(f"{sum(tensor.numel() for tensor in ours.parameters()):,} weights; anchors of each level {sizes}")
published = detection.RetinaNet_ResNet50_FPN_Weights.COCO_V1
print("torchvision's weights, AP on COCO's validation photos:",
      published.meta["_metrics"]["COCO-val2017"]["box_map"])
del theirs

# %% [markdown]
# On a machine with internet, `ours.load_state_dict(published.get_state_dict(progress=True))` loads them, 130 MB, once.
# Where they are on your disk already, the next cell uses them.

# %% tags=["nbval-ignore-output"]
if (Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name).exists():
    ours.load_state_dict(published.get_state_dict(progress=False))
    ours.transform.min_size, ours.score_thresh = 800, 0.05
    with torch.no_grad():
        answer = ours([photo])[0]
    sure_ones = answer["scores"] > 0.5
    draw_boxes(photo, *(answer[name][sure_ones] for name in ("boxes", "labels", "scores")),
               names=published.meta["categories"], title="a real photo", size=6)
    plt.show()

# %% [markdown]
# **And equation 1?**
# The full-size Faster R-CNN of lesson 08 has a pyramid too, with strides of 4 to 32.
# Its second stage cuts each proposal out of *one* map, and `roi_level` says which (`MultiScaleRoIAlign`).
# On boxes that a person marked, in a photo enlarged to 800 pixels:

# %%
names, marked = photo_boxes("astronaut")
levels = roi_level(marked * 800 / 512, 2, 5)                    # 224 pixels belong to level 4
draw_levels(photo, {"which map each is cut from": (marked, levels - 2)}, (4, 8, 16, 32), size=5)
plt.show()
print(", ".join(f"{name}: stride {2 ** int(level)}" for name, level in zip(names, levels)))

# %% [markdown]
# ## 12. One stage or two
#
# This closes the part of the course that began with R-CNN.
# The detectors since lesson 08, on the same 200 scenes, each after 2,000 steps.

# %% jupyter={"source_hidden": true}
from torchvision.ops import roi_align

from lib.models.faster_rcnn import faster_rcnn_small
from lib.models.yolo import yolo_v2_small
from lib.timing import human_time, milliseconds

faster, yolo = faster_rcnn_small().to(device).eval(), yolo_v2_small().to(device).eval()
names = ("08_faster_rcnn", "09_yolo_v2", "10_focal_loss")
for model, name in zip((faster, yolo, one_map), names):
    load_checkpoint(model, folder / f"{name}.safetensors")
faster.roi_heads.box_roi_pool.pool = partial(roi_align, sampling_ratio=2, aligned=True)
file = [json.loads((folder / f"{name}.json").read_text()) for name in names]
all_runs = {"Faster R-CNN, RoIAlign": (faster, file[0]["runs with RoIAlign"]),
            "YOLO of 2017": (yolo, file[1]["runs"]),
            "RetinaNet, one map": (one_map, file[2]["longer"]["hard negatives"]),
            "RetinaNet, FPN": (net, [stored["more/more steps/FPN/0"]])}

# %%
draw_runs({name: [run["val"]["AP"] for run in some] for name, (_, some) in all_runs.items()},
          label="AP on 200 validation scenes, 2,000 steps; a dot for each seed", size=3.4)
plt.show()
for name, (model, some) in all_runs.items():
    time = milliseconds(lambda: model(picture[None])) / 1000
    print(f"{name:<22} ≈ {human_time(time)} a picture,",
          f"AP {sum(run['val']['AP'] for run in some) / len(some):.3f}")

# %% [markdown]
# Three maps bring the single look from 0.52 to nearly 0.59 (one seed), next to the two-stage detector with RoIAlign, which has one map.
# This is what the RetinaNet paper set out to show: with the right loss, and maps for all sizes, one stage can be as good as two.
# Its lead in time has shrunk: judging 6,804 anchors takes longer than judging 1,296.
#
# ## 13. Recap

# %%
draw_retinanet(net, picture, timed=False)
plt.show()

# %% [markdown]
# | | one map (10) | SSD | FPN |
# | --- | --- | --- | --- |
# | a thing of 10 pixels has | 1 cell | 2.5 cells | 2.5 cells |
# | sizes of anchors | 12 to 34 | 8 to 45 | 8 to 50 |
# | heads | one pair | a pair for each map | one pair |
#
# **What we found.**
# Small things gain from maps for every size: their AP rose from 0.44 to 0.51; large things lost 0.1.
# The way down helps a map that is asked for what it cannot see: large things on the finest map alone, from 0.55 to 0.69.
# Where levels share the work, it added nothing.
#
# **What the papers reported.**
# FPN, on COCO, with a ResNet-50: of all things, how many do 1,000 proposals find (average recall)?
# 48.3 with one map of stride 16, 56.3 with the pyramid; of small things 32.0 and 44.9.
# Several maps without the way down: 49.5, of small things 30.5.
# The way down without what goes across: 46.1.
# Only the finest map of the pyramid, with 750,000 anchors: 51.3.
# So there the way down counted, for small things most of all.
# RetinaNet with a ResNet-101 reached 39.1 AP on COCO's test photos.
# torchvision's own: RetinaNet with ResNet-50 36.4, SSD300 with VGG-16 25.1; backbone and size of the pictures differ too.
#
# **What was simpler here.**
# Three levels instead of five, 48 channels instead of 256, heads of one convolution before the last instead of four.
# A backbone that nobody trained before, and things that are easily told apart.
#
# **In papers and on GitHub.**
# Our maps are C2, C3, C4 before the way down and P2, P3, P4 after it; the number is k, the stride 2^k.
# RetinaNet has P3 to P7.
# What goes across is a *lateral connection*, the way down the *top-down pathway*, and all of it the *neck*, between *backbone* and *heads*.
#
# **Go on from here.**
# Tasks without a check:
#
# - Add a fourth level of stride 32 (`LastLevelMaxPool` in `lib/layers/fpn.py`).
#   Which things could gain by it?
# - Add a way up behind the way down: from the finest map to the coarsest, by convolutions with stride 2 (PANet, 2018).
#
# ### Three questions
#
# **1.**
# A box of 448 × 112 pixels, with k₀ = 4 for 224: which map is it cut from?
# (a) stride 8 (b) stride 16 (c) stride 32
#
# <details><summary>Answer</summary>
#
# **(b)** √(448 · 112) = 224, so level 4, and 2⁴ = 16.
# (c) goes by the longer side.
# </details>
#
# **2.**
# Three maps, 32 channels each after the way down.
# Somebody takes the way down out of the trained network, and it finds fewer small things.
# What does that show?
# (a) small things need a way down (b) this network relies on it (c) the maps have too few channels
#
# <details><summary>Answer</summary>
#
# **(b)** For (a), one has to train without it.
# </details>
#
# **3.**
# A detector has anchors of 8, 16 and 32 pixels on maps of stride 4, 8 and 16, one size each.
# Photos twice as large come in, and it may grow by one level.
# Which one?
# (a) stride 32, anchors of 64 (b) stride 2, anchors of 4 (c) stride 16, anchors of 64
#
# <details><summary>Answer</summary>
#
# **(a)** Everything is twice as large, so the largest things need a level above.
# (c) would have the heads look at a thing of 4 × 4 cells there, and of 2 × 2 on all other levels.
# </details>

# %%
progress("11")

# %% [markdown]
# **Next:** a box says where a thing is, and half of what is inside is something else.
# Lesson 12: a mask for each box, with a pyramid under it.
