# %% [markdown]
# # 07 · Fast R-CNN: compute the picture once, cut the map a hundred times
#
# Lesson 06 found things in a picture by looking at about a hundred boxes, one after the other: cut out, stretch, run the network, repeat.
# Here is the same network doing the same hundred boxes in two ways.
# On the left it runs a hundred times.
# On the right it runs **once**, and the boxes are cut out of its *feature map*.

# %%
import math
import statistics
import time

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torchvision.ops import roi_align, roi_pool
from torchvision.utils import make_grid

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import CLASSES, Toyworld
from lib.device import choose_device
from lib.models.fast_rcnn import fast_rcnn_small
from lib.models.rcnn import context_warp
from lib.ops.selective_search import selective_search_small
from lib.training import load_checkpoint
from lib.viz import pca_colours
from lib.viz.detection.boxes import CLASS_COLOURS, thin_boxes

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
    maps = backbone(crops)["0"]                                    # (P, 96, 12, 12): P runs
    return head.box_predictor(head.box_head(F.adaptive_max_pool2d(maps, 5)))


@torch.no_grad()
def all_at_once(boxes):
    maps = backbone(picture[None])["0"]                            # (1, 96, 12, 12): one run
    regions = roi_pool(maps, [boxes], 5, 1 / 8)                 # (P, 96, 5, 5)
    return head.box_predictor(head.box_head(regions))

# %%
def seconds(function, *arguments, repeats: int = 5) -> float:
    """The median of a few runs."""
    function(*arguments)                                        # the first run of all is slower
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(*arguments)
        if device.type == "cuda":
            torch.cuda.synchronize()                            # a GPU is asked, and answers later
        times.append(time.perf_counter() - start)
    return statistics.median(times)

# %%
slow, quick = seconds(crop_by_crop, proposals, repeats=3), seconds(all_at_once, proposals)
crops = context_warp(picture, proposals, size=48, context=0).cpu()
figure, (left, right) = plt.subplots(1, 2, figsize=(9.4, 5), layout="constrained")
left.imshow(make_grid(crops, nrow=10, padding=3, pad_value=1).movedim(0, 2))
left.set_title(f"R-CNN: 100 pictures through the network\n{1000 * slow:.0f} ms")
right.imshow(pca_colours(backbone(picture[None])["0"][0].cpu()), extent=(0, 12, 12, 0))
thin_boxes(right, proposals.cpu() / 8, "white", width=0.8)
right.set_title(f"Fast R-CNN: 1 picture, 100 cuts in its map\n{1000 * quick:.1f} ms")
for axis in (left, right):
    axis.set(xticks=[], yticks=[])
plt.show()
print(f"crop by crop ≈ {1000 * slow:.0f} ms, all at once ≈ {1000 * quick:.1f} ms,",
      f"≈ {slow / quick:.0f} times faster")
assert slow > 8 * quick

# %% [markdown]
# **You will be able to**
#
# - cut a region of any size out of a feature map, into a small map of fixed size, and say what the rounding costs;
# - choose which regions a detector learns from;
# - write one loss for two tasks, *what is it* and *where is it exactly*, and train all layers by it at once;
# - measure how much faster that is than R-CNN, and see what is slow now.
#
# | | |
# | --- | --- |
# | Time | 60 minutes to read and do, about 40 seconds of computing on two cores |
# | Builds on | lesson 01 (one pass over the whole picture), 05 (IoU, AP), 06 (proposals, box targets) |
# | Paper | Girshick 2015, *Fast R-CNN* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.

# %%
from torch import nn

from lib.exercises import check, progress, use
from lib.ops.box_coder import BoxCoder
from lib.ops.boxes import box_iou
from lib.ops.matching import Matcher
from lib.training import Batches, evaluate_detection, fit, toyworld_detection
from lib.viz import explore, show_numbers
from lib.viz.detection.detections import draw_detections, draw_matches
from lib.viz.detection.roi_grid import draw_roi_grid

# %% [markdown]
# ## 1. The same pixels, again and again
#
# Proposals overlap: many boxes hold the same piece of the picture, and R-CNN computes it anew for each of them.
#
# **Predict.**
# There are 100 boxes.
# In how many of them does an average pixel lie?
# Two, ten, fifty?

# %%
covered = torch.zeros(96, 96)
for x1, y1, x2, y2 in proposals.int().tolist():
    covered[y1:y2, x1:x2] += 1
print(f"an average pixel lies in {covered.mean():.0f} boxes, the busiest in {covered.max():.0f}")
figure, axes = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
axes[0].imshow(scene.image.movedim(0, 2))
axes[0].set_title("the picture")
heat = axes[1].imshow(covered, cmap="magma", vmin=0)
axes[1].set_title("in how many boxes a pixel lies")
figure.colorbar(heat, ax=axes[1])
for axis in axes:
    axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# Twelve times the same work.
# And it is worse than that: every crop is stretched to the full size of the network's input, so 100 crops are 100 whole pictures.
#
# Lesson 01 met this before.
# A classifier slid over a picture, window by window, and then came the trick: *convolve the whole picture once*.
# A convolution gives the same answer for the same patch, wherever it lies.
# So the features of a box are already there, in the map of the whole picture.
# We only have to **cut them out**.
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
# The paper **rounds to the nearest cell**.
#
# **Predict.**
# The figure is 12 pixels wide.
# How wide is the region that is cut out, and does the whole figure fit into it?

# %%
box = scene.boxes[0]                                            # the figure
draw_roi_grid(scene.image, box, stride=8, output_size=2, quantised=True)
plt.show()

# %% [markdown]
# Cells 6 and 7: they cover the pixels from 48 to 64.
# The region is a third wider than the figure, and yet two of its pixel columns are left outside.
# Keep this in mind.
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
    axis.barh(2 - number, end - start, left=start, height=0.6, color=CLASS_COLOURS[number + 1])
    axis.barh(2 - number, 7 / 3, left=number * 7 / 3, height=0.25, color="#202020")
axis.set(yticks=[3, 2, 1, 0], yticklabels=["7 columns", "bin 0", "bin 1", "bin 2"], xticks=range(8))
plt.show()

# %% [markdown]
# Dark: the bin as it should be.
# In colour: the cells that count.
# No cell is left out, and column 2 counts in both of the first two bins.
#
# **Predict.**
# Here are all 7 columns of the map, to be pooled into 2 × 3 bins.
# In how many bins will the 8 show up?
# And the 5?

# %%
pooled = roi_pool(small_map[None, None], [torch.tensor([[0., 0., 6., 3.]])], (2, 3))[0, 0]
show_numbers({"a region of 4 × 7 cells": small_map, "in 2 × 3 bins": pooled})
plt.show()

# %% [markdown]
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

# %%
features = backbone(picture[None])["0"]                            # (1, 96, 12, 12)
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
# **What flows back?**
# Only the largest cell of a bin reached the result.
# So only that cell can be blamed for it.
# Pool the cone, in columns 2 to 6 and rows 3 to 7, into 3 × 3 bins.
# Add up the bins, and ask for the gradient of the map.

# %%
cone = scene.boxes[4:5].to(device)                              # (1, 4)
liveliest = features[0, :, 3:8, 2:7].std(dim=(1, 2)).argmax()   # a channel with something to see
watched = features[:, liveliest][:, None].clone().requires_grad_()      # (1, 1, 12, 12)
roi_pool(watched, [cone], 3, 1 / 8).sum().backward()
around = (0, 0, slice(2, 9), slice(1, 8))                       # the cone's cells and one more
show_numbers({f"channel {liveliest}": watched.detach()[around].cpu().round(decimals=1),
              "gradient of the pooled cone": watched.grad[around].cpu()})
plt.show()
won = watched.grad[watched.grad > 0]
print(f"{len(won)} cells have a gradient, together {won.sum():.0f}: one for each bin")

# %% [markdown]
# All other cells get nothing.
# Where bins overlap, a cell may win more than once.
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

# %%
shifts = torch.arange(25.)                                      # pixels
moved = (scene.boxes[0] + shifts[:, None] * torch.tensor([1., 0., 1., 0.])).to(device)  # (25, 4)
cut = {"RoI pooling": roi_pool(features, [moved], 5, 1 / 8),
       "RoIAlign": roi_align(features, [moved], 5, 1 / 8, 2, aligned=True)}
figure, axis = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
for (name, regions), colour in zip(cut.items(), ("#D55E00", "#0072B2")):
    change = (regions - regions[0]).flatten(1).norm(dim=1) / regions[0].norm()
    axis.plot(shifts, change.cpu(), "o-", color=colour, markersize=3, label=name)
    different = len(regions.flatten(1).unique(dim=0))
    print(f"{name:<12} {different} different results for {len(shifts)} boxes")
axis.set(xlabel="box moved to the right, in pixels", ylabel="change of the features")
axis.legend()
plt.show()
assert len(cut["RoI pooling"].flatten(1).unique(dim=0)) < 10

# %% [markdown]
# Stairs.
# For pixels on end nothing happens; then an edge of the box crosses the middle between two cells, and everything jumps.
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
# Its truth comes from the box of the scene that it overlaps most (IoU, lesson 05): at least a half, and it counts as that thing, a **positive**.
# Less, and it is **background**.

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

# %%
positive, background = sample_regions(overlaps.cpu(), 32, torch.Generator().manual_seed(0))
print(f"{len(positive)} positives and {len(background)} backgrounds")
drawn = torch.cat([positive, background])
matches = nearest.cpu()[drawn].clone()
matches[len(positive):] = Matcher.BELOW_LOW_THRESHOLD           # -1: background
draw_matches(scene.image, proposals.cpu()[drawn], matches, scene.boxes, "32 regions to learn from")
plt.show()

# %% [markdown]
# In colour the positives, each in the colour of its thing; in grey the background, all of it near something.
# That is one picture's share of one step.

# %% [markdown]
# ## 6. Two tasks, one loss
#
# R-CNN learned in three separate pieces: the network, then the SVMs, then the box regression.
# Fast R-CNN has one network with **two outputs** for each region: scores for the K classes (background is class 0),
# and four numbers for *each* class that say how to move the box, the tx, ty, tw, th of lesson 06.
# One loss judges both.
#
# How should a wrong box number be judged?
# The square of the difference is the usual way.
# Its **slope** is what moves the weights, and it grows with the difference: one box that is far off pulls as hard as a hundred that are nearly right.
# The paper takes a parabola only in the middle, and a straight line outside: **smooth L1**.
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
#   The paper has β = 1; torchvision, and this lesson, 1/9.

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

# %%
differences = torch.linspace(-3, 3, 241, requires_grad=True)
curves = {"half the square": 0.5 * differences ** 2,
          "smooth L1, β = 1": smooth_l1(differences, 1.0),
          "smooth L1, β = 1/9": smooth_l1(differences, 1 / 9)}
figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for (name, loss), colour in zip(curves.items(), ("#888888", "#0072B2", "#D55E00")):
    slope, = torch.autograd.grad(loss.sum(), differences)
    for axis, values in zip(axes, (loss.detach(), slope)):
        axis.plot(differences.detach(), values, color=colour, label=name)
axes[0].set(title="loss", xlabel="difference", ylim=(0, 3))
axes[1].set(title="its slope: how hard it pulls", xlabel="difference", ylim=(-3, 3))
axes[0].legend(fontsize=8)
plt.show()

# %% [markdown]
# At the right: the square pulls ever harder, smooth L1 never harder than 1.
# And where the prediction is nearly right, it pulls gently, so that the numbers can settle.
#
# Now both tasks.
# For N sampled regions,
#
# $$L = \frac{1}{N}\sum_{\text{all}} -\log p_{\text{true class}} \;+\; \frac{1}{N}\sum_{\text{positives}} \text{smooth L1}(t_{\text{true class}} - t^*)$$
#
# A background region has no box to be moved onto, so it is not in the second sum.
# And of a region's K groups of four numbers, only the group of its **true class** is judged:
# the network may say how the box would move *if* this were a cone, without being asked.
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
# Its upper part is also called a box: NMS lets only detections of the same class remove each other.
# And the grey box at the edge is missed.
#
# Now the training, with your sampling and your loss.
# The true boxes join the proposals, so that there is always a positive.

# %%
coder = BoxCoder(weights=(10, 10, 5, 5))                        # lesson 06, times 10 and 5
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

# %%
def with_proposals(split: str, length: int, count: int):
    images, targets = toyworld_detection(Toyworld(split, length=length))
    for image, target in zip(images[:count], targets):
        target["proposals"] = selective_search_small(image / 255)[:100]
    return images[:count], targets[:count]


start = time.perf_counter()
train, val = with_proposals("train", 600, 150), with_proposals("val", 200, 50)
print(f"proposals for 200 pictures: ≈ {time.perf_counter() - start:.0f} seconds")

# %% [markdown]
# ## 8. End to end: what R-CNN cannot do
#
# In R-CNN, the network's features were computed, stored, and handed to a program that trains SVMs.
# The SVMs learned; the network did not.
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

# %%
stored = fresh.backbone(context_warp(picture, proposals[:8], 96, 0))["0"].detach().cpu().numpy()
print(f"what R-CNN hands to its SVMs: {type(stored).__name__} {stored.shape}, plain numbers,",
      "no way back")

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

# %%
results = {}
for name in ("backbone frozen", "end to end"):
    torch.manual_seed(0)
    generator.manual_seed(0)
    model = fast_rcnn_small().to(device)
    model.backbone.requires_grad_(name == "end to end")
    fit(model, Batches(*train, batch_size=8, shuffle=True, flip=True), my_loss, steps=200,
        show=name == "end to end")
    results[name] = ap(model)["AP50"]
for name, value in results.items():
    print(f"{name:<13} AP50 ≈ {value:.2f}")
assert results["end to end"] > results["backbone frozen"] + 0.05

# %% [markdown]
# Not useless: random filters see edges and colours too, and the head makes the best of them.
# But it is far behind.
# (Both had the learning rate that was found for the whole network.)
#
# These were seconds of training.
# The checkpoint of this lesson was trained for longer, in both ways, with three seeds each.
# Its scores are below, on the *test* scenes too, by which nothing was chosen.

# %%
print(f"{made['steps']} steps of {made['batch']} pictures, {made['parameters']:,} weights")
for name, runs in made["runs"].items():
    for run in runs:
        print(f"{name:<13} seed {run['seed']}: AP50 {run['val']['AP50']:.2f} on val,",
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
draw_detections(scenes, {f"scene {index}": certain(found) for index, found in zip(more, answers)})
plt.show()

# %% [markdown]
# It misses things that are small or half hidden: in scene 44 the orange sphere behind the box, in scene 12 the figure behind the sphere.
#
# As for the frozen backbone: in as many steps, the head cannot make up for features that nobody made for the task.
# That was the weak point of SPPnet (He et al. 2014), which cut regions out of a feature map *before* Fast R-CNN did, but trained only what came behind the cut.
# Fast R-CNN's step was to train right through it.

# %% [markdown]
# ## 9. Break it: one task less
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

# %%
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
# That it is not more has a reason, too.
# Proposals of selective search follow the edges of things, so many fit well already.
# In lesson 08 the boxes to start from will be crude, and moving them becomes essential.

# %% [markdown]
# ## 10. How fast, and what is slow now
#
# The race from the top of the page, for more and for fewer boxes.
# The proposals are the same for both, and so are the weights.

# %%
counts = (10, 25, 50, 100)
by_crops = [seconds(crop_by_crop, proposals[:count], repeats=3) for count in counts]
at_once = [seconds(all_at_once, proposals[:count], repeats=15) for count in counts]
figure, axis = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
axis.plot(counts, [1000 * value for value in by_crops], "o-", color="#D55E00", label="crop by crop")
axis.plot(counts, [1000 * value for value in at_once], "o-", color="#0072B2", label="all at once")
axis.set(xlabel="proposals", ylabel="milliseconds a picture", yscale="log")
axis.legend()
plt.show()
for count, slow, quick in zip(counts, by_crops, at_once):
    print(f"{count:>3} proposals: ≈ {1000 * slow:.0f} ms against ≈ {1000 * quick:.1f} ms,",
          f"≈ {slow / quick:.0f} times")
assert by_crops[-1] > 8 * at_once[-1]

# %% [markdown]
# Twice the boxes is twice the time for R-CNN, and hardly any more for Fast R-CNN.
#
# So a picture takes a few milliseconds?
# Not quite.
# Somebody has to find the proposals.

# %%
whole, alone = seconds(net, picture[None], [proposals]), seconds(backbone, picture[None])
stages = {"selective search": seconds(selective_search_small, scene.image), "backbone": alone,
          "pooling, head, NMS": max(whole - alone, 0)}
figure, axis = plt.subplots(figsize=(7, 1.6), layout="constrained")
axis.barh(list(stages)[::-1], [1000 * value for value in stages.values()][::-1], color="#0072B2")
axis.set(xlabel="milliseconds a picture")
plt.show()
share = stages["selective search"] / sum(stages.values())
print(f"selective search takes ≈ {100 * share:.0f} % of the time")
assert share > 0.5

# %% [markdown]
# Most of the time now goes into a part that knows nothing of things, learns nothing, and cannot run on a GPU.
# The paper's author is one of the four who removed it in the same year.

# %% [markdown]
# ## 11. Look inside
#
# The backbone of the trained detector, as in every lesson.
# Three things to look for:
#
# 1. `stem.0`: edges and colours, as in any network.
#    Which of them survive to `body.2`?
# 2. Pick a cell of `body.2` on the figure.
#    How much of the picture does it see?
#    More than the cell's 8 × 8 pixels.
# 3. Find a channel that is bright on one kind of thing only.

# %%
explorer = explore(backbone, picture)
explorer.layer = "body.2"
explorer.cell = (6, 6)                                          # on the figure
explorer

# %% [markdown]
# And this is all that the head ever gets: 5 × 5 numbers for each channel.
# Below are the six channels in which figure and cone differ most.

# %%
two = scene.boxes[[0, 4]].to(device)                            # figure and cone
regions = roi_pool(features, [two], 5, 1 / 8).cpu()             # (2, 96, 5, 5)
differing = (regions[0] - regions[1]).abs().sum(dim=(1, 2)).topk(6).indices
figure, axes = plt.subplots(2, 6, figsize=(9, 3.4), layout="constrained")
for row, (axis_row, region) in enumerate(zip(axes, regions)):
    for axis, channel in zip(axis_row, differing):
        axis.imshow(region[channel], vmin=0, vmax=regions[:, channel].max())
        axis.set(title=f"channel {channel}", xticks=[], yticks=[])
    axis_row[0].set_ylabel(("figure", "cone")[row], fontsize=11)
plt.show()

# %% [markdown]
# ## 12. Recap
#
# | | R-CNN | Fast R-CNN |
# | --- | --- | --- |
# | the network runs | once for each proposal | once for each picture |
# | a region becomes | a stretched crop of the picture | a pooled cut of the feature map |
# | trained | network, SVMs and boxes, one after the other | all layers at once, by one loss |
# | classes | an SVM for each | one softmax, with background as a class |
# | what is slow | the network | the proposals |
#
# **What the paper reported.**
# With VGG16 and 2,000 proposals, Fast R-CNN trains 9 times faster than R-CNN and is 213 times faster at test time (0.22 s a picture instead of 47,
# with its fully connected layers compressed and *without* the proposals).
# On PASCAL VOC 2012 it reached a mean AP of 66 % where R-CNN had 62 %.
# With the convolutions frozen, VOC 2007 fell from 66.9 % to 61.4 %.
# Training for both tasks made the *classes* better too.
#
# **What was simpler here.**
# Our backbone has 6 convolutions and learns from nothing in two minutes; the paper starts from ImageNet.
# A region becomes 5 × 5 cells instead of 7 × 7.
# We draw 32 regions from each of 8 pictures (the paper: 64 from each of 2), and our scenes have so few proposals that positives are not rare.
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
# **(b)** 40 / 16 is 2.5 and 10 / 16 is less than one, so the region has about 4 × 2 cells, ends included.
# Bins share them.
# Small things are described by few cells, however many bins there are.
# </details>
#
# **2.**
# A picture's sample has no positive region.
# What is its box loss?
# (a) not a number (b) 0 (c) as large as for random boxes
#
# <details><summary>Answer</summary>
#
# **(b)** The sum has no terms, and it is divided by the number of all regions.
# (a) happens if you divide by the positives.
# </details>
#
# **3.**
# You double the number of proposals.
# What takes twice as long?
# (a) the backbone (b) RoI pooling and the head (c) everything
#
# <details><summary>Answer</summary>
#
# **(b)** The backbone runs once whatever happens.
# In R-CNN (c) would have been true.
# </details>

# %%
progress()

# %% [markdown]
# **Next:** the map already knows where things are, and yet we let another program search for boxes, and wait for it.
# Lesson 08 lets the network propose them itself.
