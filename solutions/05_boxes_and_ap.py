# %% [markdown]
# # 05 · Boxes, and one number for a detector
#
# Until now every pixel got a class.
# From here on things get a **box**.
# Below, two detectors looked at the same scene: one from a class, one score and one box for each thing that they think is there.
# On the right is the truth.
# **Which detector is better?**

# %%
import matplotlib.pyplot as plt
import torch

from lib.datasets.toyworld import CLASSES, Toyworld
from lib.ops.detection_metrics import average_precision
from lib.viz.detection.detections import draw_boxes, draw_detections

# %%
world = Toyworld("val", length=200)
scene = world[50]
truth = {"boxes": scene.boxes, "labels": scene.labels}          # (4, 4) and (4,)
A = {"boxes": torch.tensor([[42., 29, 80, 64], [30, 30, 60, 66], [2, 12, 28, 58],
                            [77, 33, 91, 51], [10, 70, 34, 90]]),
     "scores": torch.tensor([0.92, 0.85, 0.80, 0.70, 0.30]),
     "labels": torch.tensor([2, 5, 5, 4, 1])}
B = {"boxes": torch.tensor([[60., 58, 84, 72], [0, 7, 24, 55], [34, 33, 62, 70],
                            [38, 26, 75, 60], [1, 9, 23, 52]]),
     "scores": torch.tensor([0.60, 0.90, 0.55, 0.95, 0.75]),
     "labels": torch.tensor([1, 5, 5, 2, 5])}
draw_detections(scene.image, {"detector A": A, "detector B": B, "the truth": truth}, size=3.1)
plt.show()

# %% [markdown]
# A finds all four things, but its boxes are sloppy.
# B's boxes are nearly perfect, but it misses the cone, says one figure twice, and calls a piece of the ground a sphere.
# By the end of this lesson you will have written the number that every paper on detection prints for this.
# You will also know what it hides: for these two, the answer depends on one setting of it.
#
# **You will be able to**
#
# - read and convert boxes without falling into their four traps;
# - measure how well two boxes agree (IoU), and repair the measure so that a network can learn from it (GIoU);
# - turn a cloud of boxes into one box for each thing (NMS), and say where that must fail;
# - compute average precision by hand, and predict what it punishes and what it ignores.
#
# | | |
# | --- | --- |
# | Time | 80 minutes to read and do, under half a minute of computing on two cores |
# | Builds on | tensors and slices; no network in this lesson |
# | Papers | Everingham et al. 2010, *The PASCAL Visual Object Classes Challenge* · Lin et al. 2014, *Microsoft COCO* · Rezatofighi et al. 2019, *Generalized Intersection over Union* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.

# %%
import contextlib
import io

import torchvision
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lib.exercises import check, progress, use
from lib.ops.boxes import box_convert
from lib.viz import show_images
from lib.viz.detection.curves import draw_precision_recall
from lib.viz.detection.overlap import (count_squares, draw_apart, draw_box_paths, draw_landscapes,
                             draw_on_pixels, draw_overlap)
from lib.viz.detection.suppression import draw_suppression, explore_nms

# %% [markdown]
# ## 1. Four numbers, four traps
#
# Here is the cone, so large that you see its pixels, with its box.

# %%
cone = scene.boxes[3]                                           # (4,)
draw_on_pixels(scene.image, cone)
plt.show()
print("the cone's box:", cone.tolist())

# %% [markdown]
# **Trap 1: which four numbers?**
# Three forms are in use, and nothing in a tensor tells you which one you hold.

# %%
for form, meaning in (("xyxy", "left, top, right, bottom"), ("xywh", "left, top, width, height"),
                      ("cxcywh", "middle x, middle y, width, height")):
    print(f"{form:<7}{str(box_convert(cone, 'xyxy', form).tolist()):<26}{meaning}")

# %% [markdown]
# This course, like torchvision, holds boxes as **xyxy**.
# Files of the COCO data set have xywh.
# Networks like to predict cxcywh, because a thing's place and its size are then separate numbers.
#
# **Trap 2: x comes first in a box, the row comes first in a picture.**
# To cut the cone out, write `image[:, y1:y2, x1:x2]`.
# The other way round is no error.
# It just shows something else:

# %%
x1, y1, x2, y2 = cone.int().tolist()
right_order, wrong_order = scene.image[:, y1:y2, x1:x2], scene.image[:, x1:x2, y1:y2]
show_images([right_order, wrong_order], ["rows y, columns x", "rows x, columns y"], size=1.8)
plt.show()
print("shapes:", tuple(right_order.shape), tuple(wrong_order.shape))

# %% [markdown]
# **Trap 3: coordinates are edges, not pixels.**
# Look at the picture above again: pixel number 75 covers the stretch from 75 to 76.
# The box begins at the edge 75 and ends at the edge 88, so it is 88 − 75 = 13 pixels wide, and the slice `75:88` has exactly 13 columns.
#
# Older code, such as Pascal VOC's, saw x2 as the *number of the last pixel*, and wrote `x2 - x1 + 1` for the width.
# Does one pixel matter?
# Move a box by a third of its width, and measure the overlap (in a minute you will know how) in both ways.

# %%
for side in (9, 90, 900):
    moved = side / 3
    edges = (side - moved) / (side + moved)
    old = (side - moved + 1) / (side + moved + 1)
    print(f"{side:>3} pixels wide, moved by {moved:>3.0f}: "
          f"overlap {edges:.3f}, with the old + 1 {old:.3f}")

# %% [markdown]
# For a box of 9 pixels the same answer gets 8 % more.
# Our cone is 13 pixels wide, so we use edges.
# **Trap 4** waits behind it: a box may have fractions.
# A box can end at 87.4, and half a width may be 4.5.
# Keep floats; round only to cut out pixels.
#
# ### Exercise 1 · `box_cxcywh_to_xyxy`
#
# *5 minutes · ★☆☆*
#
# - `boxes`: (N, 4) floats, each row middle x, middle y, width, height.
# - Returns (N, 4): left, top, right, bottom.
#   Gradients must flow.

# %% tags=["exercise"]
def box_cxcywh_to_xyxy(boxes: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    middle, sides = boxes[:, :2], boxes[:, 2:]
    return torch.cat([middle - sides / 2, middle + sides / 2], dim=1)
    ### END SOLUTION

# %%
check(box_cxcywh_to_xyxy)

# %% [markdown]
# <details><summary>Hint: where do I begin?</summary>
#
# Draw one box on paper and mark its middle.
# How far is it from there to the left edge?
# </details>
# <details><summary>Hint: how do I take the tensor apart, and put it together?</summary>
#
# `boxes.unbind(dim=1)` gives four columns, `boxes[:, :2]` two at a time.
# `torch.stack` and `torch.cat` put together; mind the `dim`.
# </details>

# %%
box_cxcywh_to_xyxy = use(box_cxcywh_to_xyxy)

# %%
names = ("background", *CLASSES)
middles = box_convert(scene.boxes, "xyxy", "cxcywh")            # (4, 4)
wider = middles * torch.tensor([1, 1, 1.4, 1])                  # one factor widens a box
draw_boxes(scene.image, box_cxcywh_to_xyxy(wider), scene.labels, names=names, title="40 % wider")
plt.show()
assert torch.equal(box_cxcywh_to_xyxy(middles), scene.boxes)

# %% [markdown]
# ## 2. How much do two boxes agree?
#
# Put both on squared paper.
# Count the squares that lie in both (the **intersection**), and those that lie in at least one (the **union**).

# %%
pair = torch.tensor([[1., 1, 7, 5], [4, 3, 9, 8]])
draw_overlap({"two boxes": pair})
plt.show()
print(count_squares(pair))

# %% [markdown]
# Their agreement is the intersection divided by the union: **IoU** = 6 / 43 = 0.14.
# It is 1 for equal boxes, and 0 when nothing is shared.
#
# Note how the union came about: 24 + 25 squares, but 6 of them were counted twice.
# So 24 + 25 − 6 = 43.
#
# **Predict.**
# A square box is moved to the right by a quarter of its side.
# What is its IoU with where it was: 0.75, 0.6, or 0.5?

# %%
quarter = torch.tensor([[0., 0, 8, 8], [2, 0, 10, 8]])
draw_overlap({"a quarter to the right": quarter}, size=3)
plt.show()
squares = count_squares(quarter)
print(squares, "IoU", squares["both"] / squares["either"])

# %% [markdown]
# Three quarters are shared, yet the IoU is **0.6**, since what was left behind *and* what was newly covered count against it.
# Remember this when a paper asks for an IoU of 0.75: it is a strict demand.
#
# ### Exercise 2 · `pairwise_iou`
#
# *12 minutes · ★★☆*
#
# A detector gives many boxes, and a scene has several things.
# So compare each with each.
#
# - `boxes1`: (N, 4) and `boxes2`: (M, 4), both xyxy.
# - Returns (N, M): row i, column j is the IoU of `boxes1[i]` and `boxes2[j]`.
#   Gradients must flow: later in this lesson a box learns from them.
#
# What do you get for boxes that lie apart?
# Draw such a pair before you trust your formula.

# %% tags=["exercise"]
def pairwise_iou(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    top_left = torch.maximum(boxes1[:, None, :2], boxes2[:, :2])            # (N, M, 2)
    bottom_right = torch.minimum(boxes1[:, None, 2:], boxes2[:, 2:])        # (N, M, 2)
    intersection = (bottom_right - top_left).clamp(min=0).prod(dim=2)       # (N, M)
    area1 = (boxes1[:, 2:] - boxes1[:, :2]).prod(dim=1)                     # (N,)
    area2 = (boxes2[:, 2:] - boxes2[:, :2]).prod(dim=1)                     # (M,)
    return intersection / (area1[:, None] + area2 - intersection)
    ### END SOLUTION

# %%
check(pairwise_iou)

# %% [markdown]
# <details><summary>Hint: where does the intersection begin and end?</summary>
#
# It begins where the *second* of the two boxes begins.
# So of two left edges, which one?
# And of two right edges?
# </details>
# <details><summary>Hint: how do I compare each with each without loops?</summary>
#
# `boxes1[:, None]` is (N, 1, 4), `boxes2` is (M, 4).
# PyTorch stretches them against each other to (N, M, 4).
# Loops are fine too, if you keep tensors.
# </details>
# <details><summary>Hint: boxes far apart get a large IoU</summary>
#
# The width of their intersection is negative, and so is its height.
# What is the product of two negative numbers?
# `clamp(min=0)` helps, at the right moment.
# </details>

# %%
pairwise_iou = use(pairwise_iou)

# %%
print("detector A (rows) and the things (columns):")
print(pairwise_iou(A["boxes"], scene.boxes).round(decimals=2))
theirs = torchvision.ops.box_iou(A["boxes"], B["boxes"])        # (5, 5)
same = torch.allclose(pairwise_iou(A["boxes"], B["boxes"]), theirs)
print("equal to torchvision.ops.box_iou:", same)
assert same

# %% [markdown]
# Read it by columns: each thing has one box of A that overlaps it by more than half.
# But the figure in the middle stands in front of the crate, so a good box for one also overlaps the other.
# Such pairs will cause trouble in section 3.
#
# **Predict.**
# A detector is off by 2 pixels to the right and 2 down.
# For which thing is that worse: one of 8 pixels, or one of 64?

# %%
steps = torch.arange(0, 8.5, 0.5)                               # pixels
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for side in (8, 16, 32, 64):
    box = torch.tensor([[0., 0, side, side]])
    ious = pairwise_iou(box + steps[:, None], box)[:, 0]
    axis.plot(steps, ious, label=f"{side} × {side}")
    print(f"{side:>2} × {side:<2} moved by 2 pixels: IoU {ious[4]:.2f}")
axis.axhline(0.5, color="grey", linestyle=":")
axis.set(xlabel="moved by … pixels, right and down", ylabel="IoU")
axis.legend()
plt.show()

# %% [markdown]
# Two pixels cost the large thing a tenth.
# The small one falls below 0.5, where most rules call it *not found*.
# **IoU is relative to size**: small things are hard for this reason alone, before any network comes in.
#
# ### When nothing is shared
#
# Could a network learn from the IoU, with 1 − IoU as its loss?
# Draw the loss as a landscape: for each place of a box's middle, how large is it?
# The truth is the figure in the middle of our scene.

# %%
figure_box = scene.boxes[1]                                     # (4,)
y, x = torch.meshgrid(torch.arange(96.) + 0.5, torch.arange(96.) + 0.5, indexing="ij")
sides = (figure_box[2:] - figure_box[:2]).expand(96 * 96, 2)
everywhere = box_cxcywh_to_xyxy(torch.cat([torch.stack([x, y], 2).view(-1, 2), sides], dim=1))

iou_loss = 1 - pairwise_iou(everywhere, figure_box[None]).view(96, 96)
draw_landscapes({"1 − IoU": iou_loss})
plt.show()
print(f"exactly 1 on {(iou_loss == 1).float().mean():.0%} of the places")

# %% [markdown]
# A funnel in a **desert**.
# On the flat part the loss is 1 wherever you stand: its gradient is zero, and a box that begins there never learns where to go.
#
# The repair looks at the emptiness between the boxes.
# Draw the *smallest box around both*.
# The farther they are apart, the more of it is empty.

# %%
near = torch.tensor([[0., 0, 4, 4], [5, 1, 8, 5]])
far = torch.tensor([[0., 0, 4, 4], [9, 3, 12, 7]])
draw_overlap({"overlapping": pair - 1, "near": near, "far": far}, around=True, size=2.9)
plt.show()

# %% [markdown]
# **GIoU** = IoU − (empty part of the box around) / (the box around).
# For *near*: the box around has 8 · 5 = 40 squares, the boxes have 16 + 12 = 28, so 12 are empty, and GIoU = 0 − 12 / 40 = −0.3.
# For *far* do it yourself, before the exercise does.
#
# ### Exercise 3 · `generalized_iou`
#
# *10 minutes · ★★☆*
#
# - `boxes1`: (N, 4) and `boxes2`: (M, 4), xyxy.
# - Returns (N, M), between −1 and 1; gradients must flow.
#   1 for equal boxes only.

# %% tags=["exercise"]
def generalized_iou(boxes1: torch.Tensor, boxes2: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    iou = pairwise_iou(boxes1, boxes2)                                      # (N, M)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(dim=1) for boxes in (boxes1, boxes2)]
    union = (areas[0][:, None] + areas[1]) / (1 + iou)      # areas = union + shared
    corner1 = torch.minimum(boxes1[:, None, :2], boxes2[:, :2])             # (N, M, 2)
    corner2 = torch.maximum(boxes1[:, None, 2:], boxes2[:, 2:])             # (N, M, 2)
    around = (corner2 - corner1).prod(dim=2)                                # (N, M)
    return iou - (around - union) / around
    ### END SOLUTION

# %%
check(generalized_iou)

# %% [markdown]
# <details><summary>Hint: where does the box around begin?</summary>
#
# It must hold both boxes.
# Of the two left edges, which one?
# </details>
# <details><summary>Hint: I need the union, but pairwise_iou only gives the quotient</summary>
#
# Compute the intersection once more.
# Or find the union from the IoU and the two areas: both areas together are the union plus the intersection.
# </details>

# %%
generalized_iou = use(generalized_iou)

# %%
for title, boxes in (("near", near), ("far", far)):
    print(f"{title}: GIoU {generalized_iou(boxes[:1], boxes[1:]).item():.3f}")
giou_loss = 1 - generalized_iou(everywhere, figure_box[None]).view(96, 96)
draw_landscapes({"1 − IoU": iou_loss, "1 − GIoU": giou_loss})
plt.show()

# %% [markdown]
# No desert any more: from everywhere the ground falls towards the truth.
#
# ### Break it: a box that learns
#
# Let a box walk downhill.
# It begins in the lower right corner, far from the figure.
# 200 steps of gradient descent (Adam), once with 1 − IoU, once with 1 − GIoU.
#
# **Predict.**
# Where do the two end?
# And does a box keep its size on the way?

# %%
def walk(agreement, steps: int = 200) -> dict:
    box = torch.tensor([[84., 85, 12, 12]], requires_grad=True)             # middle and sides
    optimizer, path = torch.optim.Adam([box], lr=1.0), {}
    for step in range(steps + 1):
        xyxy = box_cxcywh_to_xyxy(box)
        if step in (0, 8, 16, 24, 32, steps):
            path[step] = xyxy[0].detach()
        optimizer.zero_grad()
        (1 - agreement(xyxy, figure_box[None])).sum().backward()
        optimizer.step()
    return path

# %%
paths = {"with 1 − IoU": walk(pairwise_iou), "with 1 − GIoU": walk(generalized_iou)}
draw_box_paths(scene.image, figure_box, paths)
plt.show()
last = {title: pairwise_iou(path[200][None], figure_box[None]).item()
        for title, path in paths.items()}
for title, path in paths.items():
    moved = (path[200] - path[0]).abs().max()
    print(f"{title}: moved by up to ≈ {moved:.1f} pixels, IoU at the end ≈ {last[title]:.2f}")
assert last["with 1 − IoU"] == 0 and last["with 1 − GIoU"] > 0.85

# %% [markdown]
# The first box did not move by a hair.
# The second **arrived**, but not as you would have moved it: it grows on its way, because a larger box leaves less of the box around empty.
# At step 32 it is larger than the figure.
# Once they overlap well, it shrinks to fit.
# The authors of later losses (DIoU, CIoU) set out to repair this detour.
# You will use GIoU itself in lesson 14, for DETR.

# %% [markdown]
# ## 3. Too many boxes
#
# A detector looks at thousands of places, and everything near a thing says "here it is".
# Real detectors come in the next lessons.
# For now we **simulate** one: for each thing several boxes, each edge moved at random.
# The score falls with the damage, with a bit of chance, as a trained network's would.

# %%
def shaken(boxes: torch.Tensor, noise, generator: torch.Generator) -> torch.Tensor:
    """Each edge moved at random, by about `noise` times the box's own width or height."""
    sides = (boxes[:, 2:] - boxes[:, :2]).repeat(1, 2)                      # (N, 4)
    return boxes + noise * sides * torch.randn(boxes.shape, generator=generator)

def cloud(scene, copies: int, generator: torch.Generator) -> dict:
    source = torch.arange(len(scene.boxes)).repeat_interleave(copies)       # whose box it was
    noise = 0.03 + 0.17 * torch.rand(len(source), 1, generator=generator)
    boxes = shaken(scene.boxes[source], noise, generator)                   # (N·copies, 4)
    overlap = pairwise_iou(boxes, scene.boxes)[torch.arange(len(source)), source]
    scores = (overlap + 0.1 * torch.randn(len(source), generator=generator)).clamp(0.01, 0.99)
    return {"boxes": boxes, "scores": scores, "labels": scene.labels[source], "source": source}

# %%
raw = cloud(scene, 4, torch.Generator().manual_seed(13))
draw_suppression(scene.image, raw["boxes"], raw["scores"], threshold=0.5, rounds=0)
plt.show()
print(len(raw["boxes"]), "boxes for", len(scene.boxes), "things")

# %% [markdown]
# Four boxes for each thing.
# We want the best one of each, but nobody tells us which boxes belong together.
# The overlap has to tell.
# The rule is greedy, and old: **keep the best box, throw away all that overlap it by more than a threshold, repeat with what is left.**
# It is called *non-maximum suppression*, NMS.
# Two rounds of it:

# %%
for rounds in (1, 2):
    draw_suppression(scene.image, raw["boxes"], raw["scores"], threshold=0.5, rounds=rounds)
plt.show()

# %% [markdown]
# An arrow leads from each removed box to the one that removed it.
# Note that a removed box is out of the game: it removes nobody.
#
# ### Exercise 4 · `non_maximum_suppression`
#
# *15 minutes · ★★★*
#
# - `boxes`: (N, 4) xyxy.
#   `scores`: (N,), all different.
# - `iou_threshold`: a box goes if its IoU with a kept box is **above** this.
# - Returns the places of the kept boxes, (kept,) int64, the highest score first.

# %% tags=["exercise"]
def non_maximum_suppression(boxes: torch.Tensor, scores: torch.Tensor,
                            iou_threshold: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    left = scores.argsort(descending=True)                      # places, best first
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best.item())
        overlap = pairwise_iou(boxes[best][None], boxes[left])[0]           # (left,)
        left = left[overlap <= iou_threshold]
    return torch.tensor(kept, dtype=torch.int64)
    ### END SOLUTION

# %%
check(non_maximum_suppression)

# %% [markdown]
# <details><summary>Hint: how do I keep track?</summary>
#
# Keep a list of the *places* that are not decided yet, the best first.
# In each round it loses its first place, and the places of the boxes that go.
# </details>
# <details><summary>Hint: a box is gone that should have stayed</summary>
#
# Who removed it?
# If that box had been removed itself, it must not count.
# Only kept boxes remove.
# </details>
# <details><summary>Hint: it fails for no boxes</summary>
#
# `torch.tensor([])` is a tensor of floats.
# Places are whole numbers: say `dtype=torch.int64`.
# </details>

# %%
non_maximum_suppression = use(non_maximum_suppression)

# %%
kept = non_maximum_suppression(raw["boxes"], raw["scores"], 0.5)
same = torch.equal(kept, torchvision.ops.nms(raw["boxes"], raw["scores"], 0.5))
print("kept:", kept.tolist(), "from the things", raw["source"][kept].tolist())
print("equal to torchvision.ops.nms:", same)
assert same

# %% [markdown]
# torchvision's function does the same, only faster.
# From here on we use it where there is much to do.
# (Of boxes with *equal* scores it takes the one that stands first in the list.)
#
# ### Look inside: who removes whom
#
# Move the threshold, and go through the rounds.
#
# 1. From which threshold on do you see two boxes for one thing?
# 2. Below which one does a *true* thing disappear?
#    Which one is it, and who removed it?

# %%
explore_nms(scene.image, raw["boxes"], raw["scores"], threshold=0.5)

# %% [markdown]
# For readers without a live notebook, a low and a high threshold:

# %%
for threshold in (0.2, 0.75):
    draw_suppression(scene.image, raw["boxes"], raw["scores"], threshold=threshold)
    kept = torchvision.ops.nms(raw["boxes"], raw["scores"], threshold)
    print(f"threshold {threshold}: boxes left from the things", raw["source"][kept].tolist())
plt.show()

# %% [markdown]
# With 0.2 the figure in the middle and the crate behind it cannot both live: their *true* boxes overlap by 0.38.
# With 0.75 things are named several times.
#
# ### One class at a time
#
# A figure and a crate may well stand in the same place.
# So NMS should only let boxes of the *same class* remove each other.
# That could be a loop over classes.
# There is a neater trick: **move each class to a place of its own, far from all others**, and run NMS once.

# %%
far_away = raw["boxes"].max() + 1                               # farther than any box reaches
apart = raw["boxes"] + raw["labels"][:, None] * far_away        # (16, 4)
draw_apart(apart, raw["labels"], names)
plt.show()
kept = torchvision.ops.nms(apart, raw["scores"], 0.2)
print("threshold 0.2, by class: boxes left from the things", raw["source"][kept].tolist())
theirs = torchvision.ops.batched_nms(raw["boxes"], raw["scores"], raw["labels"], 0.2)
assert torch.equal(kept, theirs)

# %% [markdown]
# All four things are back, even with the low threshold.
# This is what `torchvision.ops.batched_nms` does, and what every detector of this course will call.
#
# ### Break it: is there a right threshold?
#
# Now all 200 scenes, ten boxes for each thing.
# We count two errors: things **lost** (none of their boxes is left), and **duplicates** (more than one is left).
#
# **Predict.**
# Is there a threshold with neither?

# %%
generator = torch.Generator().manual_seed(0)
clouds = [cloud(each, 10, generator) for each in world]

def errors(threshold: float, by_class: bool) -> tuple[int, int]:
    lost = duplicates = 0
    for boxes in clouds:
        groups = boxes["labels"] if by_class else torch.zeros_like(boxes["labels"])
        kept = torchvision.ops.batched_nms(boxes["boxes"], boxes["scores"], groups, threshold)
        left = boxes["source"][kept].bincount(minlength=int(boxes["source"].max()) + 1)
        lost += int((left == 0).sum())
        duplicates += int((left - 1).clamp(min=0).sum())
    return lost, duplicates

# %%
print(sum(len(each.boxes) for each in world), "things")
print("threshold   all classes together      each class by itself")
for threshold in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
    together, by_class = errors(threshold, False), errors(threshold, True)
    print(f"{threshold:<12}{together[0]:>3} lost, {together[1]:>4} twice"
          f"{by_class[0]:>11} lost, {by_class[1]:>4} twice")
    assert sum(together) > 0 and sum(by_class) > 0 and by_class[0] <= together[0]

# %% [markdown]
# There is none.
# Low thresholds lose things that stand close to each other, high ones leave duplicates;
# class by class fewer are lost, but two figures side by side are still a problem.
# NMS has one number for two different questions: *are these boxes the same thing?* and *can two things be this close?*
# Papers settle for 0.3 to 0.7.
# Soft-NMS (Bodla et al. 2017) lowers the scores of neighbours instead of removing them.
# Lesson 14 (DETR) will do without NMS altogether.

# %% [markdown]
# ## 4. From boxes to a verdict
#
# Back to the two detectors.
# First decide, detection by detection: **right or wrong?**
# Three rules.
#
# 1. The detections are gone through by falling score: the most certain first.
# 2. Each claims, of the things that are still *free*, the one that it overlaps most.
#    If that IoU is **at least** the threshold, it is right.
# 3. A thing can be claimed once.
#    A second detection of it is **wrong**: a duplicate.
#
# In this section we pretend that there is only one class, *thing*.
#
# ### Exercise 5 · `mark_detections`
#
# *12 minutes · ★★☆*
#
# - `boxes`: (N, 4), `scores`: (N,), all different.
#   `truth`: (M, 4), the true boxes.
# - Returns (N,) bool, **in the order of falling score**: was this detection right?
#
# There may be no detections, or no true boxes.

# %% tags=["exercise"]
def mark_detections(boxes: torch.Tensor, scores: torch.Tensor, truth: torch.Tensor,
                    iou_threshold: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    hits = torch.zeros(len(boxes), dtype=torch.bool)
    free = torch.ones(len(truth), dtype=torch.bool)
    for place, detection in enumerate(scores.argsort(descending=True)):
        overlap = pairwise_iou(boxes[detection][None], truth)[0] * free     # (M,), 0 where taken
        if len(truth) and overlap.max() >= iou_threshold:
            hits[place] = True
            free[overlap.argmax()] = False
    return hits
    ### END SOLUTION

# %%
check(mark_detections)

# %% [markdown]
# <details><summary>Hint: how do I remember which things are taken?</summary>
#
# With a mask over the true boxes.
# A taken one must not be chosen: what could you do to its IoU?
# </details>
# <details><summary>Hint: it crashes without true boxes</summary>
#
# Of no numbers there is no largest one.
# Everything is wrong then.
# </details>

# %%
mark_detections = use(mark_detections)

# %%
hits = mark_detections(B["boxes"], B["scores"], scene.boxes, 0.5)
order = B["scores"].argsort(descending=True)
best, which = pairwise_iou(B["boxes"][order], scene.boxes).max(dim=1)
print("detector B, at IoU 0.5")
for n in range(len(hits)):
    print(f"score {B['scores'][order[n]]:.2f}, best IoU {best[n]:.2f}, with thing {which[n]}:",
          "right" if hits[n] else "wrong")

# %% [markdown]
# The third overlaps thing 2 by 0.84, and is wrong all the same: thing 2 was taken.
# One true thing, number 3 (the cone), is in no line of this list.
# A detector is also judged by what it does *not* say.
#
# ### Precision and recall
#
# Go down the list, and stop somewhere: everything above is *said*, everything below is not.
#
# - **precision**: of what was said, how much is right?
# - **recall**: of the true things, how many were found?

# %%
right = hits.cumsum(dim=0)                                      # (5,) right ones so far
precision = right / torch.arange(1, len(hits) + 1)
recall = right / len(scene.boxes)
print("stop after   precision   recall")
for n in range(len(hits)):
    print(f"{n + 1:>6}{precision[n]:>14.2f}{recall[n]:>10.2f}")

# %% [markdown]
# There is no single best place to stop; it depends on the use.
# So keep the whole curve.
#
# **Predict.**
# When you go one step down the list: can recall fall?
# Can precision rise?

# %%
draw_precision_recall({"detector B": (recall, precision)}, interpolated=True)
plt.show()

# %% [markdown]
# Recall never falls.
# Precision can do both: a wrong detection pulls it down, a right one lifts it again.
# So the curve has **teeth**.
#
# Teeth are filled (the dashed line): at each recall we count *the best precision that can be had with this recall or more*.
# It is only fair, since you could stop further down.
# Then the **average precision, AP**, is the area under the filled curve.
# COCO reads it off at 101 recalls, 0, 0.01, 0.02, …
# 1, and takes the mean.
# Where the curve does not reach, precision is 0.
# Here: 51 points at 1, 25 points at 0.6, and 25 points at 0, so AP = (51 · 1 + 25 · 0.6 + 25 · 0) / 101 = 0.653.
#
# ### Exercise 6 · `average_precision_from_hits`
#
# *15 minutes · ★★★*
#
# - `hits`: (N,) bool, in the order of falling score.
#   N may be 0.
# - `num_truths`: how many true things there are, at least 1.
# - Returns the AP, a float.

# %% tags=["exercise"]
def average_precision_from_hits(hits: torch.Tensor, num_truths: int) -> float:
    ### BEGIN SOLUTION
    right = hits.cumsum(dim=0)                                              # (N,)
    precision, recall = right / torch.arange(1, len(hits) + 1), right / num_truths
    total = 0.0
    for point in torch.arange(101) / 100:
        reached = precision[recall >= point]            # what can be had with this recall or more
        total += reached.max().item() if len(reached) else 0.0
    return total / 101
    ### END SOLUTION

# %%
check(average_precision_from_hits)

# %% [markdown]
# <details><summary>Hint: how do I begin?</summary>
#
# You have seen the first two lines: precision and recall after each detection.
# Then, for each of the 101 recalls, ask: which detections are at least that far?
# </details>
# <details><summary>Hint: my AP is a little too small</summary>
#
# Did you fill the teeth?
# At each recall the *best* precision further down the list counts.
# </details>
# <details><summary>Hint: my AP is too large</summary>
#
# Recall is a share of the true things, also of those that nobody found.
# What does a point get that the curve never reaches?
# </details>

# %%
average_precision_from_hits = use(average_precision_from_hits)

# %%
for name, found in (("A", A), ("B", B)):
    hits = mark_detections(found["boxes"], found["scores"], scene.boxes, 0.5)
    print(f"detector {name}: {hits.int().tolist()}  AP at IoU 0.5: "
          f"{average_precision_from_hits(hits, 4):.3f}")

# %% [markdown]
# A is perfect!
# Its one wrong box came last, when all things had been found.
# So: A is better than B?
#
# ## 5. COCO's AP
#
# An IoU of 0.5 forgives a lot.
# Pascal VOC asked for just that.
# The authors of COCO wanted good boxes to count: they take **ten thresholds, 0.50, 0.55, …
# 0.95**, and average.
#
# **Predict.**
# What happens to A's line as the threshold rises?
# And to B's?

# %%
thresholds = torch.arange(10) * 0.05 + 0.5
aps = {name: [average_precision_from_hits(
    mark_detections(found["boxes"], found["scores"], scene.boxes, t.item()), 4) for t in thresholds]
    for name, found in (("A", A), ("B", B))}

# %%
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for (name, values), style in zip(aps.items(), ("o-", "s--")):
    axis.plot(thresholds, values, style, label=f"detector {name}")
    print(f"detector {name}: AP50 {values[0]:.3f}, AP75 {values[5]:.3f}, AP {sum(values) / 10:.3f}")
axis.set(xlabel="IoU threshold", ylabel="AP at this threshold", ylim=(-0.05, 1.05))
axis.legend()
plt.show()
assert aps["A"][0] > aps["B"][0] and sum(aps["A"]) < sum(aps["B"])

# %% [markdown]
# There is the answer to the first question: **by AP50 it is A, by AP it is B.**
# Both numbers are right.
# AP50 asks *did you find it?*, AP75 *do you know where it ends?*, AP mixes all of it.
# When you read a table in a paper, look which of them is printed.
#
# Our library has the whole evaluation.
# It says the same for the two detectors, if it is told that everything is of one class:

# %%
def one_class(answer: dict) -> dict:
    return answer | {"labels": torch.ones_like(answer["labels"])}

for name, found in (("A", A), ("B", B)):
    ours = average_precision([one_class(found)], [one_class(truth)])
    print(f"detector {name}: AP50 {ours['AP50']:.3f}, AP75 {ours['AP75']:.3f}, AP {ours['AP']:.3f}")
    assert abs(ours["AP"] - sum(aps[name]) / 10) < 1e-6

# %% [markdown]
# Three things are left to say about COCO's number.
#
# - **Classes.**
#   Everything is done for each class by itself, over *all pictures together*: one long list of detections, sorted by score.
#   AP is the mean over the classes.
#   (Many papers write mAP for it.)
# - **Sizes.**
#   AP_small counts only things whose area is up to 32 × 32 pixels, AP_medium those up to 96 × 96, AP_large the rest.
#   These are fixed numbers of pixels, whatever the size of the picture.
# - **Crowds.**
#   COCO's files mark some boxes as a *crowd*, forty people in one box.
#   A detection there is neither right nor wrong.
#
# Now a larger list: one simulated detection for each thing in 200 scenes, one label in ten wrong, and two boxes on nothing in each scene.

# %%
def anywhere(count: int, generator: torch.Generator) -> torch.Tensor:
    corners, sides = torch.rand(2, count, 2, generator=generator)
    return torch.cat([corners * 80, corners * 80 + 8 + sides * 20], dim=1)  # (count, 4)

def detect(scene, generator: torch.Generator) -> dict:
    boxes, count = shaken(scene.boxes, 0.06, generator), len(scene.boxes)
    other = torch.randint(1, 6, (count + 2,), generator=generator)
    labels = torch.where(torch.rand(count, generator=generator) < 0.1, other[:count], scene.labels)
    fit = pairwise_iou(boxes, scene.boxes).diagonal() * (labels == scene.labels)
    fit = torch.cat([fit, torch.zeros(2)])                      # nothing fits the boxes on nothing
    scores = 0.5 * fit + 0.5 * torch.rand(count + 2, generator=generator)
    return {"boxes": torch.cat([boxes, anywhere(2, generator)]), "scores": scores,
            "labels": torch.cat([labels, other[count:]])}

# %%
generator = torch.Generator().manual_seed(0)
targets = [{"boxes": each.boxes, "labels": each.labels} for each in world]
found = [detect(each, generator) for each in world]
shown = {"found": found[50], "the truth": targets[50]}
draw_detections(scene.image, shown, size=3.1)
plt.show()

# %%
ours = average_precision(found, targets)
print({key: round(value, 3) for key, value in ours.items() if key != "AP_per_class"})
for label, value in ours["AP_per_class"].items():
    print(f"AP of {names[label]:<9} {value:.3f}")

# %% [markdown]
# `AP_large` is *nan*, not a number: a picture of 96 × 96 pixels has no thing with a larger area than that.
# AR is the average recall with so many detections a picture; it does not care about wrong ones.
#
# Is our number *the* number?
# The authors of COCO publish their own code, pycocotools.
# It wants lists of dicts, and boxes as xywh.

# %%
def coco_rows(answers: list[dict]) -> list[dict]:
    rows = []
    for picture, answer in enumerate(answers):
        boxes = box_convert(answer["boxes"].double(), "xyxy", "xywh").tolist()
        scores = answer.get("scores", torch.ones(len(boxes))).tolist()
        for box, label, score in zip(boxes, answer["labels"].tolist(), scores):
            rows.append({"id": len(rows) + 1, "image_id": picture, "category_id": label,
                         "iscrowd": 0, "bbox": box, "area": box[2] * box[3], "score": score})
    return rows

def coco_set(answers: list[dict]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": [{"id": picture} for picture in range(len(answers))],
                    "categories": [{"id": label} for label in range(1, 6)],
                    "annotations": coco_rows(answers)}
    coco.createIndex()
    return coco

# %%
with contextlib.redirect_stdout(io.StringIO()):                 # it talks a lot
    evaluation = COCOeval(coco_set(targets), coco_set(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
theirs = evaluation.stats                                       # (12,), −1 where nothing is to find
mine = torch.tensor([ours[key] for key in ours if key != "AP_per_class"]).nan_to_num(nan=-1)
difference = (mine - torch.tensor(theirs)).abs().max()
print(f"AP: ours {ours['AP']:.4f}, pycocotools {theirs[0]:.4f}")
print(f"all 12 numbers equal to 1e-6: {difference < 1e-6}")
assert difference < 1e-6

# %% [markdown]
# ## 6. Break it: what AP punishes, and what it ignores
#
# Now change the detections in seven ways, and measure.
#
# **Predict, before you run the next cells.**
# For each: does AP fall a lot, fall a little, or stay?
#
# 1. all boxes moved by 2 pixels to the right and down;
# 2. each detection said twice: a second box half a pixel away, with 0.9 times the score;
# 3. 100 boxes on nothing *in every scene*, with scores below all others;
# 4. only the detections with a score above 0.5 are kept;
# 5. all scores multiplied by 0.1;
# 6. all scores multiplied by 0.1, but only in every other scene;
# 7. the scores of each scene dealt out anew, at random.

# %%
def twice(answer: dict) -> dict:
    return {"boxes": torch.cat([answer["boxes"], answer["boxes"] + 0.5]),
            "labels": answer["labels"].repeat(2),
            "scores": torch.cat([answer["scores"], answer["scores"] * 0.9])}

def with_junk(answer: dict) -> dict:
    labels = torch.randint(1, 6, (100,), generator=generator)
    scores = 1e-4 * torch.rand(100, generator=generator)
    return {"boxes": torch.cat([answer["boxes"], anywhere(100, generator)]),
            "labels": torch.cat([answer["labels"], labels]),
            "scores": torch.cat([answer["scores"], scores])}

def confident(answer: dict) -> dict:
    return {key: value[answer["scores"] > 0.5] for key, value in answer.items()}

def dealt_anew(answer: dict) -> dict:
    shuffled = torch.randperm(len(answer["scores"]), generator=generator)
    return answer | {"scores": answer["scores"][shuffled]}

# %%
changed = {
    "as they were": found,
    "1 moved by 2 pixels": [answer | {"boxes": answer["boxes"] + 2} for answer in found],
    "2 said twice": [twice(answer) for answer in found],
    "3 with 20,000 junk boxes": [with_junk(answer) for answer in found],
    "4 confident ones only": [confident(answer) for answer in found],
    "5 all scores × 0.1": [answer | {"scores": answer["scores"] * 0.1} for answer in found],
    "6 every other scene × 0.1": [answer | {"scores": answer["scores"] * (0.1 if place % 2 else 1)}
                                  for place, answer in enumerate(found)],
    "7 scores dealt out anew": [dealt_anew(answer) for answer in found],
}

# %%
results = {title: average_precision(answers, targets) for title, answers in changed.items()}
print(f"{'':<28}AP     AP50   AP75   AR100")
for title, result in results.items():
    values = [f"{result[key]:.3f}" for key in ("AP", "AP50", "AP75", "AR100")]
    print(f"{title:<28}" + "  ".join(values))

# %%
start = results["as they were"]["AP"]
after = {title[0]: result["AP"] for title, result in results.items()}
assert after["1"] < 0.6 * start and after["2"] < 0.8 * start and after["7"] < 0.8 * start
assert abs(after["3"] - start) < 0.005 and abs(after["5"] - start) < 1e-6
assert after["4"] < start - 0.04 and after["6"] < start - 0.04
print("as described below")

# %% [markdown]
# - **Two pixels (1)** cost more than half of AP.
#   AP50 forgives most of it, AP75 nothing.
# - **Duplicates (2)** cost almost a third: each is a wrong detection between right ones.
#   That is why NMS is there.
# - **Junk (3) is free**, if its score is low!
#   When the list reaches it, recall has been earned.
#   So detectors flood their lists: a picture with a hundred boxes on nothing can belong to an excellent AP.
#   AP ranks; it does not say which boxes to *show*.
#   For that you choose a threshold of the score.
# - **Being modest (4) costs.**
#   Whoever throws away unsure detections loses the recall that they would have brought.
#   Never compare the AP of lists that were cut off at different scores.
# - **The scores themselves (5) do not matter, only their order.**
#   A score of 0.9 need not mean "right nine times in ten": AP cannot see it.
# - But the order is **over all pictures (6)**.
#   Scores must be comparable from picture to picture.
# - **The order is worth a lot (7).**
#   The same boxes, with the scores of each scene exchanged among them, and a third of AP is gone.
#   AR100 has not moved at all: it sees only whether a box is there.
#
# And who suffers most from small shifts?
# You know already from section 2.
# Split the things by size:

# %%
print("moved by   AP_small   AP_medium")
fall = {}
for pixels in range(4):
    answers = [answer | {"boxes": answer["boxes"] + pixels} for answer in found]
    moved = average_precision(answers, targets)
    fall[pixels] = [moved[key] / ours[key] for key in ("AP_small", "AP_medium")]
    print(f"{pixels:>5}{moved['AP_small']:>14.3f}{moved['AP_medium']:>12.3f}")
assert all(fall[pixels][0] < fall[pixels][1] for pixels in (1, 2, 3))

# %% [markdown]
# Three pixels are nearly fatal for the small things; larger ones keep more than half of their AP.
#
# One more look at section 3.
# There, no threshold of NMS was free of errors.
# Which one does AP prefer?

# %%
print("NMS threshold   boxes left      AP")
by_threshold = {}
for threshold in (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9):
    left = []
    for raw in clouds:
        kept = torchvision.ops.batched_nms(raw["boxes"], raw["scores"], raw["labels"], threshold)
        left.append({key: raw[key][kept] for key in ("boxes", "scores", "labels")})
    by_threshold[threshold] = average_precision(left, targets)["AP"]
    boxes_left = sum(len(each["boxes"]) for each in left)
    print(f"{threshold:<16}{boxes_left:>10}{by_threshold[threshold]:>8.3f}")
assert by_threshold[0.5] > max(by_threshold[0.1], by_threshold[0.9])

# %% [markdown]
# Between 0.3 and 0.6 AP hardly cares, although at 0.6 there are about three boxes for each thing.
# Duplicates with a lower score than most right boxes are nearly as free as junk.
# Looking at pictures, you would choose a lower threshold than AP does.
# Keep that in mind whenever you see a detector with a fine number and an ugly picture.
#
# ## 7. Recap
#
# | | what it answers | what to watch |
# | --- | --- | --- |
# | xyxy, xywh, cxcywh | where is the thing? | edges, not pixels; x first |
# | IoU | do two boxes agree? | relative to size; flat where nothing is shared |
# | GIoU | and if they do not touch? | grows first, then fits |
# | NMS | which boxes are the same thing? | one threshold, two errors |
# | AP at one IoU | how good is the ranking? | low scores are free |
# | COCO's AP | and how exact are the boxes? | a mean over thresholds and classes: look at its parts |
#
# **What the papers say.**
# Pascal VOC asked for an IoU of at least 0.5, kept low on purpose since even people's boxes differ.
# It read the curve off at 11 points until 2009, and has taken the exact area since 2010.
# COCO came with ten thresholds, three sizes and crowds.
# The authors of GIoU trained YOLO v3, Faster R-CNN and Mask R-CNN with it, and all three gained AP over training with the usual losses on the four numbers.
#
# **What was simpler here.**
# Our detections were simulated: errors at random, equal in all directions, scores that know the damage.
# Real ones have habits, and real scores are worse judges.
# Our truth is exact; people's is not.
#
# ### Three questions
#
# **1.**
# A box lies inside of another one and covers a quarter of it.
# Their IoU?
# (a) 0.25 (b) 0.5 (c) 1
#
# <details><summary>Answer</summary>
#
# **(a)** The intersection is the small box, the union the large one.
# (c) would be the answer of someone who divides by the smaller box.
# GIoU is 0.25 as well: the box around is the large box, and nothing in it is empty.
# </details>
#
# **2.**
# Your detector finds each thing exactly, and then again with a slightly lower score.
# Five things; scores 0.9 (first time), 0.8 (second time), for all alike.
# The AP at IoU 0.5?
# (a) 1 (b) 0.5 (c) depends on NMS only
#
# <details><summary>Answer</summary>
#
# **(a)** All five right ones come before all five duplicates: recall 1 is reached with precision 1.
# If the scores of different things lie far apart, duplicates mix in between, and AP falls as in our second experiment.
# (c) NMS happened before; AP sees only the list.
# </details>
#
# **3.**
# Two detectors are compared.
# One paper cut its lists at a score of 0.05, the other at 0.5.
# Who has the advantage in AP?
# (a) the first (b) the second (c) neither
#
# <details><summary>Answer</summary>
#
# **(a)** Low-scoring boxes cost nothing and may add recall.
# The second list looks tidier, and that is worth nothing to AP.
# </details>

# %%
progress()

# %% [markdown]
# **Next:** all boxes of this lesson were invented by us.
# Who makes real ones?
# Lesson 06, R-CNN, asks a real photo for places where a thing *might* be, and a real network what it is.
