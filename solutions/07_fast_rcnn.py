# %% [markdown]
# # 07 · Fast R-CNN: compute the picture once, cut the map a hundred times
#
# Lesson 06 found things in a picture by looking at about a hundred boxes, one after the other: cut out, stretch, run the network, repeat.
# Here one network looks at a hundred boxes of one picture in two ways.
# On the left it runs a hundred times.
# On the right it runs **once**, and the boxes are cut out of its *feature map*.

# %%
import math

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align, roi_pool
from torchvision.utils import make_grid

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import CLASSES, Toyworld
from lib.device import choose_device
from lib.models.fast_rcnn import fast_rcnn_small
from lib.ops.selective_search import selective_search_small
from lib.ops.warp import context_warp
from lib.timing import milliseconds
from lib.training import load_checkpoint
from lib.viz import pca_colours
from lib.viz.detection.boxes import thin_boxes

device = choose_device()
net = fast_rcnn_small(num_classes=6).to(device)
made = load_checkpoint(net, REPOSITORY / "data" / "checkpoints" / "07_fast_rcnn.safetensors")
net.eval().requires_grad_(False)                                # trained before; we only ask
backbone, head = net.backbone, net.roi_heads

# %%
scene = Toyworld("val", length=200)[32]
picture = scene.image.to(device)                                # (3, 96, 96)
proposals = selective_search_small(scene.image)[:100].to(device)        # (100, 4), lesson 06


@torch.no_grad()
def crop_by_crop(boxes):
    crops = context_warp(picture, boxes, size=96, context=0)    # (P, 3, 96, 96)
    maps = backbone(crops)["0"]                                 # (P, 96, 12, 12): P runs
    regions = F.adaptive_max_pool2d(maps, 5)                    # (P, 96, 5, 5): see section 3
    return head.box_predictor(head.box_head(regions))


@torch.no_grad()
def all_at_once(boxes):
    maps = backbone(picture[None])["0"]                         # (1, 96, 12, 12): one run
    regions = roi_pool(maps, [boxes], 5, 1 / 8)                 # (P, 96, 5, 5)
    return head.box_predictor(head.box_head(regions))

# %% jupyter={"source_hidden": true}
counts = (10, 25, 50, 100)                                      # proposals; drawn in section 11
slow = [milliseconds(lambda: crop_by_crop(proposals[:count])) for count in counts]
quick = [milliseconds(lambda: all_at_once(proposals[:count]), repeats=20) for count in counts]
crops = context_warp(picture, proposals, size=48, context=0).cpu()
figure, (left, right) = plt.subplots(1, 2, figsize=(9.4, 5), layout="constrained")
left.imshow(make_grid(crops, nrow=10, padding=3, pad_value=1).movedim(0, 2))
left.set_title(f"R-CNN: 100 crops, 100 runs\n≈ {slow[-1]:.0f} ms")
right.imshow(pca_colours(backbone(picture[None])["0"][0].cpu()), extent=(0, 12, 12, 0))
thin_boxes(right, proposals.cpu() / 8, "white", width=0.8)
right.set_title(f"Fast R-CNN: 1 run, 100 cuts in its map\n≈ {quick[-1]:.1f} ms")
for axis in (left, right):
    axis.set(xticks=[], yticks=[])
plt.show()
print(f"crop by crop ≈ {slow[-1]:.0f} ms, all at once ≈ {quick[-1]:.1f} ms,",
      f"≈ {slow[-1] / quick[-1]:.0f} times faster")

# %% [markdown]
# (The map has 12 × 12 cells.
# Its colours are the three directions in which its 96 channels differ most: cells of one colour hold similar numbers.)
#
# **You will be able to**
#
# - cut a region of any size out of a feature map, into a small map of fixed size, and say what the rounding costs;
# - choose which regions a detector learns from, and say why they should share pictures;
# - write one loss for two tasks, *what is it* and *where is it exactly*, and train all layers with it at once;
# - measure how much faster that is than R-CNN, and see what is slow now.
#
# | | |
# | --- | --- |
# | Time | 90 minutes: 53 for the five exercises, the rest to read; about 45 seconds of computing on two cores |
# | Builds on | lesson 01 (one pass over the whole picture), 05 (IoU, AP), 06 (proposals, box targets) |
# | Paper | Girshick 2015, *Fast R-CNN* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.
# The output of a cell that answers a *Predict* is folded: click on it to open it.
#
# Two words from papers that stand everywhere from here on.
# The part of a detector that turns the picture into a feature map is its **backbone** (or trunk).
# The layers behind it, which answer the question, are its **head**.

# %%
import json
import time

from torch import nn
from tqdm.auto import tqdm

from lib.exercises import check, hint, progress, solution, use
from lib.ops.box_coder import BoxCoder
from lib.ops.boxes import box_iou
from lib.ops.matching import Matcher
from lib.timing import human_time
from lib.training import Batches, evaluate_detection, fit, toyworld_detection
from lib.training.history import smoothed
from lib.viz import explore, show_numbers
from lib.viz.detection.detections import draw_detections, draw_matches
from lib.viz.detection.roi_grid import draw_roi_grid
from lib.viz.diagrams.rcnn_family import fast_rcnn_plan

# %% [markdown]
# **The whole, before its parts**, drawn like R-CNN in lesson 06.
# New is what has an orange frame: one map for all proposals, and a second stage that works on that map.
# Below you see what this buys apart from speed: both losses reach the backbone.

# %%
plan = fast_rcnn_plan(net, picture)         # of each stage: what it gives, and its milliseconds
plan.draw(timed=False)
plt.show()

# %% [markdown]
# ## 1. The same pixels, again and again
#
# Proposals overlap: many boxes hold the same piece of the picture, and R-CNN computes it anew for each of them.
#
# **Predict.**
# There are 100 boxes.
# In how many of them does an average pixel lie?
# Two, ten, fifty?

# %% jupyter={"outputs_hidden": true}
covered = torch.zeros(96, 96)
for x1, y1, x2, y2 in proposals.int().tolist():
    covered[y1:y2, x1:x2] += 1
print(f"an average pixel lies in {covered.mean():.0f} boxes, the busiest in {covered.max():.0f}")
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
axes[0].imshow(scene.image.movedim(0, 2))
axes[0].set_title("the picture")
heat = axes[1].imshow(covered, cmap="magma", vmin=0)
axes[1].set_title("in how many boxes a pixel lies")
figure.colorbar(heat, ax=axes[1], label="boxes")
for axis in axes:
    axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The same work twelve times over.
# And it is worse than that: every crop is stretched to the full size of the network's input, so 100 crops are 100 whole pictures.
#
# Lesson 01 met this before.
# A classifier slid over a picture, window by window, and then came the trick: *convolve the whole picture once*.
# A convolution gives the same answer for the same patch, wherever it lies.
# So what the network has to say about the pixels in a box is already there, in the map of the whole picture.
# We only have to **cut it out**.
#
# The same answer, with two exceptions.
# A cell of the map has also seen what lies *around* the box; a crop ends at its edge.
# And every crop was stretched to one size, so that R-CNN saw each thing equally large.
# In a map of the whole picture **every region keeps its own scale**.
# Section 3 counts what that means for small things.
#
# Two things stand in the way.
# The map is coarse: one cell for 8 × 8 pixels.
# And the boxes have all sizes, while the fully connected layers that come next want the same number of inputs every time.

# %% [markdown]
# ## 2. From pixels to cells
#
# The green figure of our scene has a box from x = 46 to 58 and from y = 32 to 68.
# Divide by the stride, 8: that is from 5.75 to 7.25, and from 4 to 8.5.
# There is no cell number 5.75.
# The paper does not say what to do with the fractions; its code **rounds to the nearest cell**, and so does torchvision.
#
# **Predict.**
# The figure is 12 pixels wide.
# How wide is the region that is cut out, and does the whole figure fit into it?

# %% jupyter={"outputs_hidden": true}
box = scene.boxes[0]                                            # the figure
draw_roi_grid(scene.image, box, stride=8, output_size=2, quantised=True)
plt.show()

# %% [markdown]
# From left to right it reads cells 6 and 7: they cover the pixels from 48 to 64.
# The region is a third wider than the figure, and yet two of the figure's pixel columns are left outside.
# From top to bottom it reads cells 4 to 9, down to pixel 80: 12 pixels of ground below the figure's feet.
# Four of them come from rounding 8.5 up to 9.
# The other eight come from a rule: the cell of the second corner **still belongs** to the region.
# You know it from lesson 05, as trap 3.
# Older code took x2 for the number of the *last pixel*, and counted `x2 - x1 + 1` of them; here it is the last *cell*, and the + 1 lives on.
#
# ### Exercise 1 · `project_roi`
#
# *5 minutes · ★☆☆*
#
# - `box`: (4,) floats, x1, y1, x2, y2 in pixels of the picture.
# - `spatial_scale`: cells per pixel, 1/8 for a map of stride 8.
# - Returns four whole numbers, `left, top, right, bottom`: the cells of both corners, **rounded to the nearest**, a half up.
#   The cell of the second corner still belongs to the region.

# %% tags=["exercise"]
def project_roi(box: torch.Tensor, spatial_scale: float) -> tuple[int, int, int, int]:
    ### BEGIN SOLUTION
    left, top, right, bottom = (box * spatial_scale + 0.5).floor().int().tolist()
    return left, top, right, bottom
    ### END SOLUTION

# %%
check(project_roi)

# %% [markdown]
# <details><summary>Hint: many cells are one too small</summary>
#
# `int(...)` and `//` cut the decimals off.
# What could you add before cutting, so that 5.75 becomes 6 and 7.25 becomes 7?
# </details>
# <details><summary>Hint: it is right, but for 2.5</summary>
#
# `round` takes a half to the nearest *even* number: 2.5 to 2, and 3.5 to 4.
# The paper's code takes it up.
# </details>
# <details><summary>Hint: it asks for whole numbers, and I have a tensor</summary>
#
# `.int()` makes whole numbers of a tensor, and `.tolist()` takes them out of it.
# </details>

# %%
project_roi = use(project_roi)

# %%
for box, label in zip(scene.boxes, scene.labels):
    left, top, right, bottom = project_roi(box, 1 / 8)
    wide, high = (box[2:] - box[:2]).int().tolist()
    print(f"{CLASSES[label - 1]:<9} {wide} × {high} pixels: columns {left} to {right},",
          f"rows {top} to {bottom}, {8 * (right - left + 1)} × {8 * (bottom - top + 1)} pixels")

# %% [markdown]
# Column 12, for the box at the right edge?
# The map has columns 0 to 11.
# The box ends where the picture ends, at 96, and 96 / 8 is 12.
# We will have to be careful there.

# %% [markdown]
# ## 3. Any size in, one size out: RoI pooling
#
# A **region of interest**, RoI, is now some number of cells wide and high.
# Divide it into a fixed grid of bins, say 2 × 2, and keep of each bin the largest number: max pooling, with bins as large as they need to be.
# By hand, on one channel of a small map:

# %%
small_map = torch.tensor([[1., 0., 8., 1., 0., 3., 1.],
                          [0., 5., 1., 0., 2., 1., 0.],
                          [2., 1., 0., 6., 1., 0., 4.],
                          [0., 3., 1., 2., 0., 7., 1.]])
pooled = roi_pool(small_map[None, None], [torch.tensor([[0., 0., 3., 3.]])], 2)[0, 0]
show_numbers({"a region of 4 × 4 cells": small_map[:, :4], "in 2 × 2 bins": pooled})
plt.show()

# %% [markdown]
# Four cells in two bins is easy.
# But what about 7 columns in 3 bins?
# A bin is 2⅓ columns wide, so the bins go from 0 to 2⅓, from 2⅓ to 4⅔ and from 4⅔ to 7.
# There are no thirds of cells.
# The rule: **a start is rounded down, an end is rounded up.**

# %%
figure, axis = plt.subplots(figsize=(8, 2), layout="constrained")
axis.barh(3, 7, color="lightgrey", height=0.8)
axis.vlines(range(8), 2.6, 3.4, color="black")
for number, (start, end) in enumerate([(0, 3), (2, 5), (4, 7)]):
    axis.barh(2 - number, end - start, left=start, height=0.6, color="#56B4E9")
    axis.barh(2 - number, 7 / 3, left=number * 7 / 3, height=0.25, color="#202020")
axis.set(yticks=[3, 2, 1, 0], yticklabels=["7 columns", "bin 0", "bin 1", "bin 2"], xticks=range(8))
axis.set(title="black: the bin as it should be; blue: the cells that count", xlabel="cells")
plt.show()

# %% [markdown]
# No cell is left out, and column 2 counts in both of the first two bins, column 4 in both of the last two.
#
# **Predict.**
# Here are all 7 columns of the map, to be pooled into 2 × 3 bins.
# In how many bins will the 8 show up?
# And the 5?

# %% jupyter={"outputs_hidden": true}
pooled = roi_pool(small_map[None, None], [torch.tensor([[0., 0., 6., 3.]])], (2, 3))[0, 0]
show_numbers({"a region of 4 × 7 cells": small_map, "in 2 × 3 bins": pooled})
plt.show()

# %% [markdown]
# The 8 stands in column 2, which two bins share, and it is the largest of both: it shows up twice.
# The 5 stands beside it in one of these bins, and is in no bin the largest: it is gone.
# If the region is *smaller* than the grid, bins share even more: one cell can fill them all.
#
# ### Exercise 2 · `roi_max_pool`
#
# *18 minutes · ★★★*
#
# - `features`: (C, h, w), the map of one picture.
#   `box`: (4,) pixels, inside of the picture.
#   `spatial_scale`: cells per pixel.
# - `output_size`: n bins down and n across.
# - Returns (C, n, n).
#   With `project_roi` you know the region, from `left` to `right` and from `top` to `bottom`, both ends included.
#   Bin i starts at i times the bin's size, rounded down, and ends at (i + 1) times it, rounded up.
# - At the right and lower edge a region may reach beyond the map, by one cell.
#   What is not there cannot be the largest.
#   If a bin has no cell at all, it is **0**.
#
# Loops over the bins are welcome.
# Gradients must flow.

# %% tags=["exercise"]
def roi_max_pool(features: torch.Tensor, box: torch.Tensor, output_size: int,
                 spatial_scale: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    left, top, right, bottom = project_roi(box, spatial_scale)
    n, wide, high = output_size, right - left + 1, bottom - top + 1     # cells
    pooled = features.new_zeros(len(features), n, n)            # (C, n, n)
    for i in range(n):
        rows = slice(top + i * high // n, top + math.ceil((i + 1) * high / n))
        for j in range(n):
            columns = slice(left + j * wide // n, left + math.ceil((j + 1) * wide / n))
            cells = features[:, rows, columns].flatten(1)       # (C, cells)
            if cells.shape[1] > 0:
                pooled[:, i, j] = cells.max(dim=1).values
    return pooled
    ### END SOLUTION

# %%
check(roi_max_pool)

# %% [markdown]
# <details><summary>Hint: where do I begin?</summary>
#
# With one bin.
# Which rows does it hold, which columns?
# Slice them out of `features`, and take the largest of each channel.
# Then put a loop around it, and another one.
# </details>
# <details><summary>Hint: how wide is the region?</summary>
#
# From cell 2 to cell 7, both included: count them on your fingers.
# </details>
# <details><summary>Hint: PyTorch says something about an empty tensor, or a reduction</summary>
#
# There is no largest of no numbers.
# Either a bin that should hold cells holds none (is its end rounded *up*?), or it lies outside of the map, and is 0.
# </details>
# <details><summary>Hint: how do I round up?</summary>
#
# `math.ceil` does.
# Rounding down is `math.floor`, or `int` for numbers that are not negative.
# </details>
# <details><summary>Hint: the numbers are right, the gradient is not</summary>
#
# Did you write into a tensor of zeros that you made with `torch.zeros`?
# That is fine, as long as no `.item()`, `.data` or `torch.tensor(...)` stands on the way.
# Lists and `torch.stack` work as well.
# </details>

# %%
roi_max_pool = use(roi_max_pool)

# %% [markdown]
# All proposals of our scene, pooled by your function and by torchvision's:

# %%
features = backbone(picture[None])["0"]                         # (1, 96, 12, 12)
ours = torch.stack([roi_max_pool(features[0], box, 5, 1 / 8) for box in proposals])
theirs = roi_pool(features, [proposals], 5, 1 / 8)              # (100, 96, 5, 5)
same = torch.equal(ours, theirs)
print(f"{tuple(ours.shape)}, equal to torchvision's roi_pool: {same}")
assert same

# %% [markdown]
# A hundred boxes of all sizes have become a hundred little maps of the same size, ready for a fully connected layer.
# That is the whole trick of the paper.
# From here on we use torchvision's version, which is the same and faster.
#
# Nor is its rule for the bins new: PyTorch has it as `F.adaptive_max_pool2d`.
# RoI pooling *is* adaptive max pooling of a slice, once you have cut the slice out.
# (At the right and lower edge the two differ, because there the slice is shorter than the region.)

# %%
left, top, right, bottom = project_roi(proposals[0], 1 / 8)
slice_of_map = features[0, :, top:bottom + 1, left:right + 1]
same = torch.equal(F.adaptive_max_pool2d(slice_of_map, 5), theirs[0])
print(f"a slice of {bottom - top + 1} × {right - left + 1} cells,",
      f"pooled by adaptive_max_pool2d: equal {same}")
assert same

# %% [markdown]
# ### What a small thing is left with
#
# The head gets 5 × 5 bins for every region, 25 numbers a channel.
# `crop_by_crop` above enlarged each crop to 96 × 96 pixels, so it had 12 × 12 cells to fill them from.
#
# **Predict.**
# Here, how many of the things in our world have at least 25 cells, without which the 25 bins *cannot* all hold numbers of their own?
# Most, half, few?

# %% jupyter={"outputs_hidden": true}
def cells_of(box) -> int:
    left, top, right, bottom = (min(cell, 11) for cell in project_roi(box, 1 / 8))
    return (right - left + 1) * (bottom - top + 1)


cells = torch.tensor([cells_of(box)
                      for sample in Toyworld("val", length=200) for box in sample.boxes])
print(f"{len(cells)} things; half of them have {cells.median()} cells or fewer,",
      f"{(cells >= 25).double().mean():.0%} have at least 25")

# %% [markdown]
# Few.
# In the others, bins repeat each other: for half of the things, no more than 12 of a channel's 25 numbers can differ.
# More bins would not help; only a finer map would (or a larger picture: the paper enlarges every photo to 600 pixels).
# This is what cutting *after* the network costs.
# On the test scenes, our R-CNN of lesson 06 has an AP of 0.60, and this network has 0.49.
# Is it the rounding?
# That is not shown yet: R-CNN also brought features from ImageNet along.
# Lesson 08 tries it, on a map of the same size: without rounding, AP rises by more than 0.15.
#
# ### What flows back?
#
# Only the largest cell of a bin reached the result.
# So only that cell can be blamed for it.
# Pool the cone, in columns 2 to 6 and rows 3 to 7, into 3 × 3 bins.
# Add up the bins, and ask for the gradient of the map.
# (The black frame is the cone's region.)

# %%
cone = scene.boxes[4:5].to(device)                              # (1, 4)
alive = (roi_pool(features, [cone], 3, 1 / 8)[0] > 0.05).all(dim=(1, 2))    # (96,): all bins won
liveliest = (features[0, :, 3:8, 2:7].std(dim=(1, 2)) * alive).argmax()
watched = features[:, liveliest][:, None].clone().requires_grad_()      # (1, 1, 12, 12)
roi_pool(watched, [cone], 3, 1 / 8).sum().backward()
around = (0, 0, slice(2, 9), slice(1, 8))                       # the cone's cells and one more
numbers = watched.detach()[around].cpu().round(decimals=1)      # (7, 7)
figure = show_numbers({f"channel {liveliest} of the map": numbers,
                       "gradient of the pooled cone": watched.grad[around].cpu()})
for axis in figure.axes:
    axis.add_patch(plt.Rectangle((0.5, 0.5), 5, 5, fill=False, linewidth=2.5))  # the cone's
plt.show()
won = watched.grad[watched.grad > 0]
print(f"{len(won)} cells have a gradient, together {won.sum():.0f}: one for each bin")

# %% [markdown]
# All other cells get nothing.
# Where bins overlap, a cell may win more than once.
# (The channel was chosen so that each bin has a clear winner.
# After a ReLU there are often bins with nothing but zeros; then the first zero is called the winner, and the ReLU before it lets nothing through anyway.)
# This is how a loss at a *region* will reach the *map*, and through it every layer before.

# %% [markdown]
# ## 4. What the rounding costs
#
# Rounding has a price.
# Take the figure's box and move it to the right, one pixel at a time.
# The picture in the box changes at every step.
#
# **Predict.**
# And the pooled features?

# %% jupyter={"outputs_hidden": true}
shifts = torch.arange(25.)                                      # pixels
moved = (scene.boxes[0] + shifts[:, None] * torch.tensor([1., 0., 1., 0.])).to(device)  # (25, 4)
cut = {"RoI pooling": roi_pool(features, [moved], 5, 1 / 8),
       "RoIAlign": roi_align(features, [moved], 5, 1 / 8, 2, aligned=True)}
figure, axis = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
for (name, regions), colour in zip(cut.items(), ("#D55E00", "#0072B2")):
    change = (regions - regions[0]).flatten(1).norm(dim=1) / regions[0].norm()
    style = "steps-post" if name == "RoI pooling" else "default"        # it stays until it jumps
    axis.plot(shifts, change.cpu(), "o-", color=colour, drawstyle=style, markersize=3, label=name)
    different = len(regions.flatten(1).unique(dim=0))
    print(f"{name:<12} {different} different results for {len(shifts)} boxes")
axis.set(title="the figure's box moves; its features follow, or jump",
         xlabel="box moved to the right, in pixels",
         ylabel="change, in lengths of\nthe first features")
axis.legend()
plt.show()
assert len(cut["RoI pooling"].flatten(1).unique(dim=0)) < 10

# %% [markdown]
# Stairs.
# For several pixels nothing happens; then an edge of the box crosses the middle of a cell, and everything jumps.
# The network cannot know where, within several pixels, the box really is: the information is *gone* before the first layer of the head.
#
# For naming a thing this hardly matters.
# For drawing its outline it does.
# The second curve shows another way to cut, without any rounding.
# It comes with Mask R-CNN, in lesson 12.

# %% [markdown]
# ## 5. Which regions to learn from
#
# So far the network was trained already.
# How did it learn?
# Each proposal is an example.
# Its truth comes from the true box of the scene (the **ground truth**) that it overlaps most (IoU, lesson 05).
# With at least a half, it counts as that thing (an *object*, in papers), and is a **positive**.
# With less, it is **background**, a negative.

# %%
overlaps, nearest = box_iou(proposals, scene.boxes.to(device)).max(dim=1)       # (100,) each
for name, kind in (("0.5 and more", overlaps >= 0.5), ("below 0.1", overlaps < 0.1),
                   ("in between", (overlaps >= 0.1) & (overlaps < 0.5))):
    print(f"overlap {name:<13} {int(kind.sum()):>3} proposals")

# %% [markdown]
# Most proposals show background.
# On photos, with 2,000 proposals, it is nearly all of them, and a network that learned from all alike would do well by saying *background* to everything.
# So a step learns from a small **sample** of each picture, 64 in the paper: at most a quarter positives, the rest background.
#
# The paper wants background with an overlap of *at least 0.1*: such a box touches a thing, and is easily mistaken for it.
# It does the work of lesson 06's search for counterexamples that are hard (*hard negative mining*), at no cost.
# (Many later programs, torchvision's among them, take everything below 0.5.)
#
# ### Exercise 3 · `sample_regions`
#
# *10 minutes · ★★☆*
#
# - `overlaps`: (P,), the highest IoU of each proposal with any true box.
#   `count`: how many to draw.
#   `generator`: for the random numbers, as in `torch.randperm(n, generator=generator)`.
# - **Positive**: 0.5 or more.
#   At most a quarter of `count`, rounded down.
# - **Background**: at least 0.1 and less than 0.5.
#   They fill up what is missing to `count`, as far as there are any.
# - Returns two tensors of places in `overlaps`: the positives drawn, the backgrounds drawn.
#   At random, and no place twice.

# %% tags=["exercise"]
def sample_regions(overlaps: torch.Tensor, count: int,
                   generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    positives = (overlaps >= 0.5).nonzero()[:, 0]
    backgrounds = ((overlaps >= 0.1) & (overlaps < 0.5)).nonzero()[:, 0]
    positives = positives[torch.randperm(len(positives), generator=generator)[:count // 4]]
    rest = count - len(positives)
    return positives, backgrounds[torch.randperm(len(backgrounds), generator=generator)[:rest]]
    ### END SOLUTION

# %%
check(sample_regions)

# %% [markdown]
# <details><summary>Hint: how do I draw without drawing twice?</summary>
#
# Shuffle all, and take the first few.
# `torch.randperm(5)` is 0 to 4 in random order.
# A slice that is longer than the list gives the whole list.
# </details>
# <details><summary>Hint: the overlaps of what I drew are wrong</summary>
#
# `torch.randperm(len(positives))` gives places in the list `positives`.
# Which places in `overlaps` stand there?
# </details>
# <details><summary>Hint: there are too few in all</summary>
#
# If there are only three positives, how much background is needed to fill up?
# </details>

# %%
sample_regions = use(sample_regions)

# %% [markdown]
# Draw 32 regions of our scene, and look where they lie:

# %%
positive, background = sample_regions(overlaps.cpu(), 32, torch.Generator().manual_seed(0))
print(f"{len(positive)} positives and {len(background)} backgrounds")
drawn = torch.cat([positive, background])
matches = nearest.cpu()[drawn].clone()
matches[len(positive):] = Matcher.BELOW_LOW_THRESHOLD           # -1: background
draw_matches(scene.image, proposals.cpu()[drawn], matches, scene.boxes,
             "thick: things; thin: 32 regions to learn from", labels=scene.labels)
plt.show()

# %% [markdown]
# Thick and numbered: the things, in the colours of their classes. Thin, in the same colour: their positives.
# White is the background, all of it near something.
# That is one picture's share of one step.

# %% [markdown]
# ## 6. Two tasks, one loss
#
# R-CNN learned in three separate pieces: first the network, then the SVMs, then the box regression.
# Fast R-CNN has one network with **two outputs** for each region: scores for the K classes (background is class 0),
# and four numbers for *each* class that say how to move the box: tx, ty, tw, th of lesson 06.
# One loss judges both (a *multi-task loss*).
#
# The SVMs are gone; a softmax over the K classes takes their place.
# An SVM for each class must be trained behind the network, on features that then may no longer change.
# A softmax is a layer like any other, and its loss can be sent back through all of them.
# It also lets the classes compete: what is surely a cone is no cylinder.
# R-CNN had lost three points of mAP with a softmax, since the network had been trained on loose positives and easy background.
# With the sampling of section 5 and all layers learning, the paper found it *better* than SVMs, by 0.1 to 0.8 points.
#
# How should an error in the four numbers be penalised?
# The square of the difference is the usual way.
# Its **slope** is what moves the weights, and it grows with the difference: one box that is far off pulls as hard as a hundred that are nearly right.
# The paper takes a parabola only in the middle, and a straight line outside: **smooth L1**.
# β says where one ends and the other begins.
#
# ### Exercise 4 · `smooth_l1`
#
# *6 minutes · ★☆☆*
#
# - `difference`: a tensor of any shape, prediction minus target.
#   `beta`: where the parabola ends.
# - Size below β: ½ · difference² / β.
#   Otherwise a straight line with slope 1 that *continues the parabola without a jump*.
# - Returns a tensor of the same shape, through which gradients flow.

# %% tags=["exercise"]
def smooth_l1(difference: torch.Tensor, beta: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    size = difference.abs()
    return torch.where(size < beta, 0.5 * difference ** 2 / beta, size - 0.5 * beta)
    ### END SOLUTION

# %%
check(smooth_l1)

# %% [markdown]
# <details><summary>Hint: how do I use two formulas in one tensor?</summary>
#
# `torch.where(condition, a, b)` takes each number from a where the condition is true, and from b elsewhere.
# </details>
# <details><summary>Hint: where does the line start?</summary>
#
# Put β into the parabola: how high is it there?
# A line with slope 1 that goes through this point is the size minus how much?
# </details>
# <details><summary>Hint: it is wrong for negative differences</summary>
#
# −3 is a large difference.
# Ask for its size.
# </details>

# %%
smooth_l1 = use(smooth_l1)

# %% [markdown]
# Two values of β beside the square, and the slope of each:

# %%
differences = torch.linspace(-3, 3, 241, requires_grad=True)
curves = {"half the square": 0.5 * differences ** 2,
          "smooth L1, β = 1": smooth_l1(differences, 1.0),
          "smooth L1, β = 1/9": smooth_l1(differences, 1 / 9)}
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
pens = (("#BBBBBB", 7), ("#0072B2", 3.5), ("#D55E00", 1.3))     # colour and width
for (name, loss), (colour, width) in zip(curves.items(), pens):
    slope, = torch.autograd.grad(loss.sum(), differences)
    for axis, values in zip(axes, (loss.detach(), slope)):
        axis.plot(differences.detach(), values, color=colour, linewidth=width, label=name)
axes[0].set(title="loss", xlabel="difference", ylim=(0, 3))
axes[1].set(title="its slope: how hard it pulls", xlabel="difference", ylim=(-3, 3))
axes[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# (Where curves coincide, the thinner one lies on the thicker.)
# On the right: the square pulls ever harder, smooth L1 never harder than 1.
# And where the prediction is nearly right, it pulls gently, so that the numbers can settle.
#
# The paper has β = 1.
# Its targets are scaled so that they spread by about 1 (section 7 does the same), so most errors lie on the parabola.
# The authors' code for Faster R-CNN wrote β as 1 / σ², with σ = 3 for its new part: β = 1/9.
# Errors above a ninth then pull with full force, and the box loss weighs more beside the class loss.
# torchvision uses 1/9 in both parts of its Faster R-CNN, and so do we.
#
# Now both tasks.
# For N sampled regions,
#
# $$L = \frac{1}{N}\sum_{\text{all}} -\log p_{\text{true class}} \;+\; \frac{1}{N}\sum_{\text{positives}} \text{smooth L1}(t_{\text{true class}} - t^*)$$
#
# A background region has no box to be moved onto, so it is not in the second sum.
# And of a region's K groups of four numbers, only the group of its **true class** is judged; what it says for the other classes is not.
# Smooth L1 of four numbers is the *sum* over the four.
#
# ### Exercise 5 · `two_task_loss`
#
# *14 minutes · ★★★*
#
# - `class_logits`: (N, K) scores.
#   `labels`: (N,) true classes, 0 is background.
# - `box_regression`: (N, 4 · K), four numbers for class 0, then four for class 1, and so on.
#   `regression_targets`: (N, 4), without meaning, and perhaps NaN, where the label is 0.
# - Returns the two sums above, as two tensors with one number each. β = 1/9.
#   Gradients must flow.

# %% tags=["exercise"]
def two_task_loss(class_logits: torch.Tensor, box_regression: torch.Tensor, labels: torch.Tensor,
                  regression_targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    class_loss = F.cross_entropy(class_logits, labels)
    positive = (labels > 0).nonzero()[:, 0]                     # (positives,)
    groups = box_regression.view(len(labels), -1, 4)            # (N, K, 4)
    predicted = groups[positive, labels[positive]]              # (positives, 4)
    box_loss = smooth_l1(predicted - regression_targets[positive], 1 / 9).sum() / len(labels)
    return class_loss, box_loss
    ### END SOLUTION

# %%
check(two_task_loss)

# %% [markdown]
# <details><summary>Hint: how do I pick the four numbers of the true class?</summary>
#
# Give the classes an axis of their own: (N, K, 4).
# Then index with two lists of the same length, `x[which_region, which_class]`, and you get one group for each pair.
# </details>
# <details><summary>Hint: NaN, or far too large</summary>
#
# Divide the second sum by N as well, all regions, not by the positives, of which there may be none.
# </details>
# <details><summary>Hint: the class loss is too small, or hardly changes</summary>
#
# `F.cross_entropy` wants the scores themselves, before any softmax, of all regions, background too.
# </details>

# %%
two_task_loss = use(two_task_loss)

# %% [markdown]
# ## 7. The whole detector, from your pieces
#
# First with the trained weights: your pooling in place of torchvision's, and everything behind it as it is.

# %%
answers = head.box_predictor(head.box_head(ours))               # (100, 6) and (100, 24)
expected = head.predict({"0": features}, [proposals], [(96, 96)])
same = all(torch.allclose(mine, other, atol=1e-4) for mine, other in zip(answers, expected))
print("your regions give the network's own answers, to 1e-4:", same)
assert same


def certain(found):
    return {name: values[found["scores"] > 0.6].cpu() for name, values in found.items()}


found, = head.postprocess_detections(*answers, [proposals], [(96, 96)])
print(f"{len(proposals)} proposals, {len(found['boxes'])} detections after NMS,",
      f"{len(certain(found)['boxes'])} with a score above 0.6")

# %% [markdown]
# What went in, what came out, and what is true:

# %%
hits = overlaps.cpu() >= 0.5
positives = {"boxes": proposals.cpu()[hits], "labels": scene.labels[nearest.cpu()[hits]]}
truth = {"boxes": scene.boxes, "labels": scene.labels}
shown = {"positives among the proposals": positives, "detections": certain(found), "truth": truth}
draw_detections(scene.image, shown, columns=3, size=3)
plt.show()

# %% [markdown]
# From many proposals around each thing, the scores pick one, the box numbers move it, and NMS (lesson 05) takes the others away.
# Three mistakes are left.
# The box of the purple cylinder reaches down to the foot of the pink one: there was a proposal that held both.
# Its upper part is also called a crate: NMS lets only detections of the same class remove each other.
# And the grey crate at the edge is missed.
#
# Now the training, with your sampling and your loss.
# It needs proposals for all its pictures, found once and kept.

# %% jupyter={"source_hidden": true}
def with_proposals(split: str, length: int, count: int):
    images, targets = toyworld_detection(Toyworld(split, length=length))
    for image, target in zip(tqdm(images[:count], f"searching {split}", leave=False), targets):
        target["proposals"] = selective_search_small(image / 255)[:100]
    return images[:count], targets[:count]


start = time.perf_counter()
train, val = with_proposals("train", 600, 150), with_proposals("val", 200, 50)
print(f"proposals for 200 pictures: ≈ {human_time(time.perf_counter() - start)}")

# %% [markdown]
# How large are the four numbers that the head must predict?
# Here they are for all positives among the proposals of 150 pictures, as lesson 06 defined them:

# %%
def targets_of_positives(target):
    overlaps, nearest = box_iou(target["proposals"], target["boxes"]).max(dim=1)        # (P,) each
    numbers = BoxCoder().encode_single(target["boxes"][nearest], target["proposals"])   # (P, 4)
    return numbers[overlaps >= 0.5]


spread = torch.cat([targets_of_positives(target) for target in train[1]]).std(dim=0)
for name, value, weight in zip(("tx", "ty", "tw", "th"), spread.tolist(), (10, 10, 5, 5)):
    print(f"{name} spreads by {value:.2f} (standard deviation),",
          f"times {weight} by {weight * value:.1f}")

# %% [markdown]
# A move is about a tenth of the proposal's width, a change of size about a fifth.
# Against the loss of the classes such small numbers would hardly count.
# So the targets are divided by what they usually spread by, 0.1, 0.1, 0.2 and 0.2; that is, multiplied by **10, 10, 5 and 5**.
# All four then spread by about 1.
# (The paper divides by the deviation that it measures; these rounded numbers come from the code, and torchvision kept them.
# What the head predicts is divided by the weights again before a box is moved.)
#
# The true boxes join the proposals, so that there is always a positive.

# %%
coder = BoxCoder(weights=(10, 10, 5, 5))
generator = torch.Generator()


def regions_to_learn_from(target):
    boxes = torch.cat([target["proposals"], target["boxes"]])   # (P, 4)
    overlaps, nearest = box_iou(boxes, target["boxes"]).max(dim=1)          # (P,) each
    drawn = sample_regions(overlaps.cpu(), 32, generator)
    positive, background = (places.to(device) for places in drawn)
    labels = torch.cat([target["labels"][nearest[positive]], torch.zeros_like(background)])
    chosen = torch.cat([positive, background])
    moves = coder.encode_single(target["boxes"][nearest[chosen]], boxes[chosen])
    return boxes[chosen], labels, moves

# %%
def my_loss(model, batch):
    images, targets = batch
    boxes, labels, moves = zip(*(regions_to_learn_from(target) for target in targets))
    maps = model.backbone(images)["0"]                          # (B, 96, 12, 12): once a picture
    regions = roi_pool(maps, list(boxes), 5, 1 / 8)             # (N, 96, 5, 5)
    answers = model.roi_heads.box_predictor(model.roi_heads.box_head(regions))
    class_loss, box_loss = two_task_loss(*answers, torch.cat(labels), torch.cat(moves))
    return {"class": class_loss, "box": box_loss}

# %% [markdown]
# ## 8. Regions that share a picture
#
# How many pictures should a step have?
# The paper takes 128 regions a step.
# A program that wants examples as different as possible draws each of them from another picture.
# SPPnet did so (He et al. 2014), which cut regions out of a feature map *before* Fast R-CNN did.
# Fast R-CNN draws **pictures first, then regions in them**: 2 pictures, and 64 regions of each (*hierarchical sampling*).
# For the head it makes no difference: 128 regions are 128 regions.
#
# **Predict.**
# How many times does a picture go through the backbone in one step, here and there?
# How much shorter is a step, forward and backward?

# %%
fresh = fast_rcnn_small().to(device)
most = sorted(range(150), key=lambda place: -len(train[1][place]["proposals"]))[:128]
images = train[0][most].to(device) / 255                        # (128, 3, 96, 96)
boxes = [train[1][place]["proposals"].to(device) for place in most]
labels = torch.zeros(128, dtype=torch.int64, device=device)
moves = torch.zeros(128, 4, device=device)

# %% jupyter={"outputs_hidden": true}
def one_step(pictures: int, each: int) -> None:
    """Forward and backward, for `each` regions of each picture."""
    maps = fresh.backbone(images[:pictures])["0"]               # (pictures, 96, 12, 12)
    regions = roi_pool(maps, [some[:each] for some in boxes[:pictures]], 5, 1 / 8)
    answers = fresh.roi_heads.box_predictor(fresh.roi_heads.box_head(regions))
    sum(two_task_loss(*answers, labels, moves)).backward()


shared = milliseconds(lambda: one_step(2, 64))
apart = milliseconds(lambda: one_step(128, 1), repeats=2)
print(f"64 regions of each of 2 pictures:   2 through the backbone, ≈ {shared:.0f} ms")
print(f"one region of each of 128:        128 through the backbone, ≈ {apart:.0f} ms,",
      f"≈ {apart / shared:.0f} times as long")

# %% [markdown]
# 64 times as many pictures go through the backbone.
# On a quiet machine the step gets some 30 to 45 times longer and not 64 times, because the head's share is the same in both.
# Memory grows, too: the way back needs every map that was made on the way there.
# For VGG16 and a photo of 600 × 1000, the first map alone has 64 × 600 × 1000 numbers, that is 154 MB.
# 128 photos need 20 GB for it, and a GPU of 2015 had 6 or 12.
#
# Nor does it help that only one region of a photo is wanted.
# In a deep network a single region sees nearly the whole photo, so all of it has to go through.
# This is what SPPnet could not afford.
# It computed the maps once, stored them, and trained only the layers behind the cut.
#
# **But are regions of one picture not too much alike?**
# They overlap, and have one light, one ground and the same few things.
# If so, 64 of them teach less than 64 from different pictures.
# The paper worried about it, found that training went well, and left it there.
# Let us see.
# These detectors were trained from nothing, with 64 regions in every step and three seeds each; the AP is that of 200 test scenes.
#
# **Predict.**
# After 300 steps, how do 8 pictures with 8 regions compare with 64 pictures and one region of each?
# And if both get the same *time*?

# %% jupyter={"outputs_hidden": true}
stored = json.loads((REPOSITORY / "data" / "checkpoints" / "07_shared_pictures.json").read_text())
for run in stored["runs"]:
    scores = ", ".join(f"{value:.2f}" for value in run["AP50"])
    print(f"{run['pictures']:>2} pictures × {run['regions of each']:>2} regions,",
          f"{run['steps']:>5,} steps: AP50 {scores}")

# %% [markdown]
# After the same number of steps, 8 pictures with 8 regions do as well as 64 with one: the difference is no larger than that between seeds.
# It takes an eighth of the backbone's work.
# In the time of the first line they get seven times as many steps, and reach about three times the AP50.
#
# The worry is not empty: with 2 pictures and 32 regions of each, a step does teach less.
# (A part of it may be BatchNorm's, which then measures mean and deviation on 2 pictures alone.
# The paper's VGG16 has none; this experiment does not tell the two apart.)
# Nor does it say where 64 pictures with one region each would end, trained seven times as long: nobody waited for it.

# %% [markdown]
# ## 9. End to end: what R-CNN cannot do
#
# In R-CNN, the network's features were computed, stored, and handed as plain numbers to a program that trains SVMs.
# The SVMs learned; the network did not hear from them.
# Here the loss stands behind the pooling, and a gradient runs through it into *every* layer.
# Look at its length after one step's loss:

# %%
torch.manual_seed(0)
fresh = fast_rcnn_small().to(device)
batch = next(iter(Batches(*train, batch_size=8, shuffle=True, flip=True)))
batch = batch[0].to(device), [{name: value.to(device) for name, value in target.items()}
                              for target in batch[1]]
generator.manual_seed(0)
sum(my_loss(fresh, batch).values()).backward()
for name in ("roi_heads.box_predictor.cls_score", "roi_heads.box_head.fc6",
             "backbone.body.2.0", "backbone.stem.0.0"):
    print(f"{name:<35} gradient of length {fresh.get_submodule(name).weight.grad.norm():.3f}")
assert fresh.backbone.stem[0][0].weight.grad.norm() > 0

# %% [markdown]
# The first convolution, `stem.0.0`, hears from every region of the picture what it should do better.
#
# Does it matter?
# Train two detectors with your loss, from the same first weights and on the same pictures in the same order.
# In one of them the backbone is **frozen**: only the head may learn.
#
# **Predict.**
# The backbone's weights are random at the start.
# Is a frozen random backbone useless?

# %%
def on_their_proposals(model, images, targets):
    return model(images, [target["proposals"] for target in targets])


def ap(model) -> dict:
    return evaluate_detection(model, Batches(*val), on_their_proposals, device)

# %% jupyter={"outputs_hidden": true}
losses, results = {}, {}
for name in tqdm(("backbone frozen", "end to end"), "two trainings"):
    torch.manual_seed(0)
    generator.manual_seed(0)
    model = fast_rcnn_small().to(device)
    model.backbone.requires_grad_(name == "end to end")
    batches = Batches(*train, batch_size=8, shuffle=True, flip=True)
    losses[name] = fit(model, batches, my_loss, steps=200, show=False).losses
    results[name] = ap(model)["AP50"]

# %% jupyter={"outputs_hidden": true}
figure, axis = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for (name, values), colour in zip(losses.items(), ("#0072B2", "#D55E00")):
    axis.plot(range(1, 201), values, color=colour, alpha=0.25, linewidth=0.8)
    axis.plot(range(1, 201), smoothed(values), color=colour, label=name)
    print(f"{name:<15} AP50 ≈ {results[name]:.2f}")
axis.set(title="both losses together, of each step and smoothed", xlabel="step", ylabel="loss",
         ylim=(0, None))
axis.legend()
plt.show()
assert results["end to end"] > results["backbone frozen"] + 0.05

# %% [markdown]
# Not useless: random filters see edges and colours too, and the head makes the best of them.
# But it is far behind.
# (Both had the learning rate that was found for the whole network.)
#
# These were 200 steps on 150 pictures.
# The checkpoint of this lesson was trained for 2,000, in both ways, with three seeds each.
# Its scores are below, on the *test* scenes too, on which no choice was based.

# %%
print(f"{made['steps']} steps of {made['batch']} pictures, {made['parameters']:,} weights")
for name, runs in made["runs"].items():
    for run in runs:
        print(f"{name:<15} seed {run['seed']}: AP50 {run['val']['AP50']:.2f} on val,",
              f"{run['test']['AP50']:.2f} on test")
worst = min(run["test"]["AP50"] for run in made["runs"]["end to end"])
assert worst > max(run["test"]["AP50"] for run in made["runs"]["backbone frozen"]) + 0.1

# %% [markdown]
# And this is how the network of seed 0 does on four more scenes.
# Look for what it misses, and for what it invents.

# %%
more = [34, 44, 26, 12]
scenes = val[0][more].float() / 255                             # (4, 3, 96, 96)
given = [{"proposals": val[1][index]["proposals"].to(device)} for index in more]
answers = on_their_proposals(net, scenes.to(device), given)
shown = {f"scene {index}": certain(found) for index, found in zip(more, answers)}
shown |= {f"scene {index}: truth": val[1][index] for index in more}
draw_detections(torch.cat([scenes, scenes]), shown)
plt.show()

# %% [markdown]
# It invents a cylinder in scene 26, where a crate stands.
# And it misses things that are small or half hidden: in scene 44 the sphere behind the orange crate, in scene 12 both figures and the cylinder behind the sphere.
#
# As for the frozen backbone: in the same number of steps, the head cannot make up for features that nobody made for the task.
# A *random* backbone is the hardest case.
# SPPnet froze one that had at least seen ImageNet; there, freezing costs less.
# The paper tried just that: 66.9 % mean AP on VOC 2007 when the loss reaches the convolutions, 61.4 % when it stops before them.
# SPPnet could have trained them, too, but at the price of section 8.
# Sharing pictures made it cheap, and Fast R-CNN trained right through the cut.

# %% [markdown]
# ## 10. Break it: one task less
#
# Is the second task worth the trouble?
# Take the trained network and switch its box numbers off: every detection stays where its proposal was.
#
# **Predict.**
# Which score loses more by it: AP50, which is content with an overlap of a half, or AP75?

# %%
class WithoutMoving(nn.Module):
    """A predictor whose four numbers are all 0."""

    def __init__(self, predictor):
        super().__init__()
        self.predictor = predictor

    def forward(self, x):
        class_logits, box_regression = self.predictor(x)
        return class_logits, torch.zeros_like(box_regression)

# %% jupyter={"outputs_hidden": true}
with_both = ap(net)
predictor = head.box_predictor
head.box_predictor = WithoutMoving(predictor)
without = ap(net)
head.box_predictor = predictor                                  # as it was
for name, result in (("both tasks", with_both), ("boxes not moved", without)):
    print(f"{name:<16} AP50 {result['AP50']:.2f}, AP75 {result['AP75']:.2f}, AP {result['AP']:.2f}")
assert with_both["AP75"] > without["AP75"] and with_both["AP50"] > without["AP50"]

# %% [markdown]
# Both lose about as much.
# So moving is worth more than a nicer frame: a proposal that overlaps its thing by a little less than a half becomes a hit by a small move.
# There is also a reason why it is not more.
# Proposals of selective search follow the edges of things, so many fit well already.
# In lesson 08 the boxes to start from will be crude, and moving them becomes essential.

# %% [markdown]
# ## 11. How fast, and what is slow now
#
# The race at the top of the page was also run with fewer boxes.
# The proposals are the same for both, and so are the weights.
# Each time is the shortest of several runs.
#
# **Predict.**
# From 50 boxes to 100: how much longer does each of the two take?

# %% jupyter={"outputs_hidden": true}
figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
axis.plot(counts, slow, "o-", color="#D55E00", label="crop by crop")
axis.plot(counts, quick, "o-", color="#0072B2", label="all at once")
axis.set(title="time for a picture whose proposals are known", xlabel="proposals",
         ylabel="milliseconds", xlim=(0, None), ylim=(0, None))
axis.legend()
plt.show()
for count, crops_ms, once_ms in zip(counts, slow, quick):
    print(f"{count:>3} proposals: ≈ {crops_ms:.0f} ms against ≈ {once_ms:.1f} ms,",
          f"≈ {crops_ms / once_ms:.0f} times")

# %% [markdown]
# R-CNN pays for each box anew: its time grows in step with their number.
# Fast R-CNN pays only for more pooling and more of the head; its backbone runs once, however many boxes there are.
# (If one point jumps out, your machine was busy while it was measured.)
#
# In the paper the head was a large part, too: with 2,000 boxes, the fully connected layers of VGG16 took nearly half of the time.
# They were made smaller by a **truncated SVD**: of a matrix of u × v weights only the t largest singular values are kept.
# What is left is the product of two thin matrices, u × t and t × v, with far fewer weights.
# That saved 30 % of the time and cost 0.3 points of mAP.
#
# So a picture takes a few milliseconds?
# Not quite.
# Somebody has to find the proposals.
# The drawing of the whole, near the top of the page, was made with a clock: `plan` holds the time of each stage.

# %%
took = {stage.name.replace("\n", " "): stage.milliseconds for stage in plan.stages[1:]}
figure, axis = plt.subplots(figsize=(7, 2.3), layout="constrained")
bars = axis.barh(list(took)[::-1], list(took.values())[::-1], color="#0072B2")
axis.bar_label(bars, fmt="≈ %.1f ms", padding=3)
axis.set(title="one picture, 100 proposals", xlabel="milliseconds")
axis.margins(x=0.25)
plt.show()
share = took["selective search"] / plan.milliseconds
print(f"selective search takes ≈ {100 * share:.0f} % of the time")
assert share > 0.5

# %% [markdown]
# Most of the time now goes into a part that knows nothing of things, learns nothing, and was written for a processor, not for a GPU.
# The paper's author is one of the four who removed it in the same year.

# %% [markdown]
# ## 12. Look inside
#
# The backbone of the trained detector, as in every lesson.
# Three things to look for:
#
# 1. `stem.0`: edges and colours, as in any network.
#    Can you still find the things' outlines in `body.2`?
# 2. Pick a cell of `body.2` on the figure.
#    How much of the picture does it see?
# 3. Find a channel of `body.2` that is bright on one kind of thing only.

# %%
explorer = explore(backbone, picture)
explorer.layer = "body.2"
explorer.cell = (6, 6)                                          # on the figure
explorer

# %% [markdown]
# <details><summary>Answers</summary>
#
# 1.
# No.
# In `stem.0` you see them in nearly every channel.
# In `body.2` many channels are bright on the sky or on the ground and dark where things are.
# Others have a few bright cells on things, and no outline at all.
# 2.
# 70 × 70 pixels, more than half of the picture's width and height, where the cell itself stands for 8 × 8.
# What is cut out for a small box was computed from its surroundings, too.
# 3.
# You will hardly find one.
# The next cell looks for the best of them, on all things of 50 pictures: they *prefer* a class, and like others as well.
# The classes are told apart by many channels together; that is the work of the head.
# </details>

# %% jupyter={"outputs_hidden": true}
of_class = {number: [] for number in range(1, 6)}               # (96,) a thing: its largest cells
for image, target in zip(val[0].to(device), val[1]):
    maps = backbone(image[None] / 255)["0"]                     # (1, 96, 12, 12)
    largest = roi_pool(maps, [target["boxes"].to(device)], 1, 1 / 8)[:, :, 0, 0]    # (N, 96)
    for values, label in zip(largest, target["labels"].tolist()):
        of_class[label].append(values)
means = torch.stack([torch.stack(values).mean(dim=0) for values in of_class.values()])  # (5, 96)
for number, name in enumerate(CLASSES):
    others = means[torch.arange(5) != number].max(dim=0).values     # (96,): the next class
    channel = (means[number] / (others + 0.1)).argmax()
    print(f"{name:<9} channel {channel:>2}: {means[number, channel]:.1f} on its own class,",
          f"{others[channel]:.1f} on the next")

# %% [markdown]
# And this is all that the head ever gets: 5 × 5 numbers for each channel.
# Below are the six channels in which figure and cone differ most.
#
# **Predict.**
# The figure's region is 2 cells wide (section 2).
# What will its 5 columns of bins look like?

# %%
two = scene.boxes[[0, 4]].to(device)                            # figure and cone
regions = roi_pool(features, [two], 5, 1 / 8).cpu()             # (2, 96, 5, 5)
differing = (regions[0] - regions[1]).abs().sum(dim=(1, 2)).topk(6).indices

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
figure, axes = plt.subplots(2, 6, figsize=(9, 3.6), layout="constrained")
for row, (axis_row, region) in enumerate(zip(axes, regions)):
    for axis, channel in zip(axis_row, differing):
        axis.imshow(region[channel], vmin=0, vmax=regions[:, channel].max())
        axis.set(xticks=[], yticks=[])
    axis_row[0].set_ylabel(("figure", "cone")[row], fontsize=11)
for axis, channel in zip(axes[0], differing):
    axis.set_title(f"channel {channel}", fontsize=10)
figure.suptitle("5 × 5 bins: dark 0, yellow the channel's largest number in both regions",
                fontsize=10)
plt.show()
assert torch.equal(regions[0, :, :, 0], regions[0, :, :, 1])
assert torch.equal(regions[0, :, :, 3], regions[0, :, :, 4])

# %% [markdown]
# The figure fills 25 bins with **two columns** of cells.
# The first two columns of bins are equal, the last two as well, and the one in between takes the larger number of both.
# The cone, 5 cells by 5, has a cell for each bin.

# %% [markdown]
# ## 13. Recap
#
# The same drawing once more, now with the times that it was made with:

# %%
plan.draw()
plt.show()

# %% [markdown]
# | | R-CNN | Fast R-CNN |
# | --- | --- | --- |
# | the network runs | once for each proposal | once for each picture |
# | a region becomes | a stretched crop of the picture | a pooled cut of the feature map |
# | its scale | every thing is enlarged to one size | small things have few cells |
# | trained | network, SVMs and boxes, one after the other | all layers at once, by one loss |
# | a step's regions | from many pictures | 64 from each of 2 |
# | classes | an SVM for each | one softmax, with background as a class |
# | what is slow | the network | the proposals |
#
# **What the paper reported.**
# With VGG16 and 2,000 proposals, Fast R-CNN trains 9 times faster than R-CNN and is 213 times faster at test time (0.22 s a picture instead of 47,
# with its fully connected layers compressed by truncated SVD and *without* the proposals).
# On PASCAL VOC 2012 it reached a mean AP of 66 % where R-CNN had 62 %.
# Training for both tasks made the *classes* better too.
#
# **What was simpler here.**
# Our backbone has 6 convolutions and learns from nothing in two minutes; the paper starts from ImageNet.
# A region becomes 5 × 5 cells instead of 7 × 7.
# We draw 32 regions from each of 8 pictures, and our scenes have so few proposals that positives are not rare.
#
# **Words of this lesson.**
# *Region of interest* (RoI): a box whose features are cut out of the map.
# *RoI pooling*: the cut, rounded to whole cells, with the largest number of each bin.
# *Backbone* and *head*: what makes the map, and what answers for a region of it.
# *Positive*, *negative*: a region that overlaps a ground-truth box by enough, or that does not.
# *Hierarchical sampling*: pictures first, then regions in them.
# *Smooth L1*: a square near 0, straight lines beyond.
# *Multi-task loss*: one sum for class and box, and one backward pass.
#
# **In papers and on GitHub:** RoIPool, `roi_pool`, `spatial_scale`; RoI head, `box_head`, `box_predictor`;
# foreground and background, `fg_iou_thresh`, `bg_iou_thresh`;
# `batch_size_per_image` (64 in the paper), `positive_fraction`; bounding-box regression, deltas, `bbox_reg_weights=(10, 10, 5, 5)`;
# Huber loss, which is smooth L1 times β.
#
# ### Three questions
#
# **1.**
# A map has stride 16.
# A box of 40 × 10 pixels is pooled into 7 × 7 bins.
# How many different cells does the result hold, at most?
# (a) 49 (b) about 8 (c) 400
#
# <details><summary>Answer</summary>
#
# **(b)** 40 / 16 is 2.5 and 10 / 16 is less than one, so the region has at most 4 × 2 cells, ends included.
# Bins share them.
# Small things are described by few cells, however many bins there are.
# </details>
#
# **2.**
# A picture's sample has no positive region.
# What is its box loss?
# (a) not a number (b) as large as for random boxes (c) 0
#
# <details><summary>Answer</summary>
#
# **(c)** The sum has no terms, and it is divided by the number of all regions.
# (a) happens if you divide by the positives.
# </details>
#
# **3.**
# You train with 128 regions from each of 2 pictures instead of 64.
# What does a step do twice as often?
# (a) RoI pooling and the head (b) the backbone, forward and backward (c) everything
#
# <details><summary>Answer</summary>
#
# **(a)** The backbone runs once for each picture, whatever happens behind it.
# (c) would be true of 4 pictures with 64 regions each; and of R-CNN, whose network runs for each region.
# </details>
#
# ### Go on from here
#
# - **Another cut, without training.**
#   Make a function `(maps, boxes, size, scale)` of `roi_align(maps, boxes, size, scale, 2, aligned=True)`.
#   Write it into the trained network, at `net.roi_heads.box_roi_pool.pool`, and call `ap(net)`.
#   It has the finer features of section 4, and yet AP falls by nearly a half: the head knows only the numbers that it was trained with.
#   Trained with RoIAlign, it wins (lesson 08 does it).
# - **Truncated SVD.**
#   Keep only the first t singular values of the weights of `head.box_head.fc6`, which are 96 × 2,400, and draw AP over t.
#   (`torch.linalg.svd` with `full_matrices=False` gives all 96.)
#   24 of the 96 are nearly as good as all, with a quarter of the multiplications; 6 are not.
# - **Which background?**
#   Train once with all background below 0.5, once with that below 0.1 only.
#   Expect the second to answer with boxes that hold half a thing, or two: it has never been told that they are wrong.

# %%
progress("07")

# %% [markdown]
# **Next:** the map already knows where things are, and yet we let another program search for boxes, and wait for it.
# Lesson 08 lets the network propose them itself.
