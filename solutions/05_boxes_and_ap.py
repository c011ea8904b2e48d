# %% [markdown]
# # 05 · Boxes, and one number for a detector
#
# Until now every pixel got a class.
# From here on each **thing** (papers say *object*) gets a **box**: the smallest upright rectangle around it.
# Below, two detectors looked at the same scene.
# For each thing that they think is there, they give a class, a score and a box; the three together are a **detection**.
# (The colour is the class, the number at a box its score.)
# On the right is the truth (papers say *ground truth*): what really is there.
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
# B's boxes are nearly perfect, but it misses the cone, names one figure twice, and calls a piece of the ground a sphere.
# (A does so too, but it is less sure of it.)
# By the end of this lesson you will have written the number that every paper on detection prints for this.
# You will also know what it hides: for these two, the answer depends on one setting of it.
#
# **You will be able to**
#
# - read and convert boxes without falling into their four traps;
# - measure how well two boxes agree (IoU), and repair the measure so that a network can learn from it (GIoU);
# - turn a cloud of boxes into one box for each thing (NMS), and say where that must fail;
# - compute average precision by hand, and predict what it punishes and what it ignores;
# - sort a detector's mistakes by kind, and say which kind costs most.
#
# | | |
# | --- | --- |
# | Time | 2 hours: 84 minutes for the seven exercises, the rest to read; about half a minute of computing on two cores |
# | Builds on | tensors and slices; no network in this lesson |
# | Papers | Everingham et al. 2010, *The PASCAL Visual Object Classes Challenge* · Lin et al. 2014, *Microsoft COCO* · Rezatofighi et al. 2019, *Generalized Intersection over Union* · Bolya et al. 2020, *TIDE: A General Toolbox for Identifying Object Detection Errors* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.
# The output of a cell that answers a *Predict* is folded: click on it to open it.

# %% jupyter={"source_hidden": true}
import contextlib
import io

import torchvision
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lib.exercises import check, hint, progress, solution, use
from lib.ops.boxes import box_convert
from lib.viz import show_images
from lib.viz.detection.curves import draw_precision_recall
from lib.viz.detection.overlap import (count_squares, draw_apart, draw_box_paths, draw_landscapes,
                             draw_on_pixels, draw_overlap)
from lib.viz.detection.suppression import draw_suppression
from lib.viz.detection.suppression_explorer import explore_nms

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
# The other way round raises no error.
# It shows something else:

# %%
x1, y1, x2, y2 = cone.int().tolist()
right_order, wrong_order = scene.image[:, y1:y2, x1:x2], scene.image[:, x1:x2, y1:y2]
figure = show_images([right_order, wrong_order], ["rows y, columns x", "rows x, columns y"], size=2)
for axis in figure.axes:
    axis.set(xlim=(-0.5, 16.5), ylim=(16.5, -0.5))              # the same scale for both
plt.show()
print("shapes:", tuple(right_order.shape), tuple(wrong_order.shape))

# %% [markdown]
# **Trap 3: coordinates are edges, not pixels.**
# Look at the picture above again: pixel number 75 covers the stretch from 75 to 76.
# The box begins at the edge 75 and ends at the edge 88, so it is 88 − 75 = 13 pixels wide, and the slice `75:88` has exactly 13 columns.
#
# Older code, such as Pascal VOC's, saw x2 as the *number of the last pixel*, and wrote `x2 - x1 + 1` for the width.
# Does one pixel matter?
# Move a box by a third of its width, and measure in both ways how much it overlaps its old place (section 2 says how).

# %%
for side in (9, 90, 900):
    moved = side / 3
    edges = (side - moved) / (side + moved)
    old = (side - moved + 1) / (side + moved + 1)
    print(f"{side:>3} pixels wide, moved by {moved:>3.0f}: "
          f"overlap {edges:.3f}, with the old + 1 {old:.3f}")

# %% [markdown]
# For a box of 9 pixels, the same answer scores 8 % higher.
# Our cone is 13 pixels wide, so one pixel matters here: this course uses edges everywhere.
#
# **Trap 4: boxes have fractions.**
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
draw_boxes(scene.image, box_cxcywh_to_xyxy(wider), scene.labels, names=names,
           title="each box 40 % wider, about its middle")
plt.show()
assert torch.equal(box_cxcywh_to_xyxy(middles), scene.boxes)

# %% [markdown]
# ## 2. How much do two boxes agree?
#
# Put both on squared paper.
# Count the squares that lie in both (the **intersection**), and those that lie in at least one (the **union**).

# %%
pair = torch.tensor([[1., 1, 7, 5], [4, 3, 9, 8]])
draw_overlap({"two boxes on squared paper": pair})
plt.show()
print(count_squares(pair))

# %% [markdown]
# Their agreement is the *intersection over union*, the one divided by the other: **IoU** = 6 / 43 = 0.14.
# (In statistics it is called the Jaccard index.)
# It is 1 for equal boxes, and 0 when nothing is shared.
#
# To get the union without counting: 24 + 25 squares, but 6 of them are in both sums, so 24 + 25 − 6 = 43.
#
# **Predict.**
# A square box is moved to the right by a quarter of its side.
# What is its IoU with where it was: 0.75, 0.6, or 0.5?

# %% jupyter={"outputs_hidden": true}
quarter = torch.tensor([[0., 0, 8, 8], [2, 0, 10, 8]])
draw_overlap({"a quarter to the right": quarter}, size=3)
plt.show()
squares = count_squares(quarter)
print(squares, "IoU", squares["both"] / squares["either"])

# %% [markdown]
# Three quarters of the box still lie where it was, yet the IoU is **0.6**: what was left behind *and* what is newly covered count against it.
# Remember this when a paper asks for an IoU of 0.75: it is a strict demand.
#
# ### Exercise 2 · `pairwise_iou`
#
# *12 minutes · ★★☆*
#
# A detector gives many boxes, and a scene has several things, so each is compared with each.
#
# - `boxes1`: (N, 4) and `boxes2`: (M, 4), both xyxy; N or M may be 0.
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
# But the figure in the middle stands in front of the crate, so a good box for either also overlaps the other.
# Such pairs will cause trouble in section 3.
#
# **Predict.**
# A detector is off by 2 pixels to the right and 2 down.
# For which thing is that worse: one of 8 pixels, or one of 64?

# %% jupyter={"outputs_hidden": true, "source_hidden": true}
steps = torch.arange(0, 8.5, 0.5)                               # pixels
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for side in (8, 16, 32, 64):
    box = torch.tensor([[0., 0, side, side]])
    ious = pairwise_iou(box + steps[:, None], box)[:, 0]
    (line,) = axis.plot(steps, ious)
    axis.plot(steps[4], ious[4], "o", color=line.get_color())
    axis.annotate(f"{ious[4]:.2f}", (2, ious[4]), (5, 3), textcoords="offset points", fontsize=9)
    axis.text(8.1, ious[-1], f"{side} × {side}", va="center", color=line.get_color())
    print(f"{side:>2} × {side:<2} moved by 2 pixels: IoU {ious[4]:.2f}")
axis.axhline(0.5, color="grey", linestyle=":")
axis.text(3.8, 0.48, "below: not found", va="top", color="grey", fontsize=9)
axis.set(title="IoU of a square box with its own place, after a move", ylabel="IoU",
         xlabel="moved by … pixels, right and down; dots: by 2 pixels", xlim=(-0.2, 9.2),
         xticks=range(9))
plt.show()

# %% [markdown]
# Two pixels cost the large thing about a tenth.
# The small one falls below 0.5 (dotted), where most rules call it *not found*.
# **IoU is relative to size**: for this reason alone, before any network comes in, small things are hard.
#
# ### When nothing is shared
#
# Could a network learn from the IoU, with 1 − IoU as its loss?
# Draw the loss as a landscape: let a box of the right size stand with its middle on each pixel in turn; how large is the loss there?
# The true box is that of the figure in the middle of our scene.

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
# On the hatched part the loss is exactly 1 wherever you stand: its gradient is zero, and a box that begins there never learns where to go.
#
# The repair is to look at the empty space between the boxes.
# Draw the *smallest box around both*.
# The farther apart they are, the more of it is empty.

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
# - `boxes1`: (N, 4) and `boxes2`: (M, 4), xyxy; N or M may be 0.
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
# Outside the white line the loss is more than 1, since the empty share of the box around is more than the shared part of the union; there GIoU is negative.
#
# ### Break it: a box that learns
#
# Let a box walk downhill.
# It begins in the lower right corner, far from the figure.
# 200 steps of gradient descent (Adam), once with 1 − IoU, once with 1 − GIoU.
#
# **Predict.**
# Where does each of them end?
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

# %% jupyter={"outputs_hidden": true}
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
# The first box did not move at all.
# The second **arrived**, but not as you would have moved it: it grows on its way, because a larger box leaves less of the box around empty.
# At step 32 it is larger than the figure.
# Once they overlap well, it shrinks to fit.
# Later losses (DIoU, CIoU) were made to avoid this detour.
# GIoU itself comes back in lesson 14, for DETR.

# %% [markdown]
# ## 3. Too many boxes
#
# A detector looks at thousands of places, and every place near a thing says "here it is".
# Real detectors come in the next lessons.
# For now we **simulate** one: for each thing several boxes, each edge moved at random.
# The worse the box, the lower its score, give or take some chance, as with a trained network.

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
nms_of_raw = (scene.image, raw["boxes"], raw["scores"], scene.labels[raw["source"]])
print(len(raw["boxes"]), "boxes for", len(scene.boxes), "things")

# %% [markdown]
# Four boxes for each thing, and we want the best of the four.
# But nobody tells us which boxes belong together; their overlap has to tell.
# The rule is greedy, and old: **keep the best box, throw away all that overlap it by more than a threshold, repeat with what is left.**
# It is called *non-maximum suppression*, **NMS**: what is not the best of its neighbourhood is suppressed.
# Two rounds of it, with a threshold of 0.5:

# %%
middle = (26, 22, 94, 78)                                       # x1, y1, x2, y2 of what is shown
draw_suppression(*nms_of_raw, {"after one round": (0.5, 1), "after two rounds": (0.5, 2)},
                 part=middle)
plt.show()

# %% [markdown]
# Box a has the highest score, then b, and so on.
# The colours are those of the classes; NMS does not see them.
# The picture is cut, to be large enough; the four boxes of the figure at the left stand beyond it, and are counted.
# The first round keeps a and removes the three other boxes of the figure in the middle; the second does the same for the crate.
# Note that a removed box is out of the game: it removes nobody.
#
# ### Exercise 4 · `non_maximum_suppression`
#
# *15 minutes · ★★★*
#
# - `boxes`: (N, 4) xyxy; N may be 0.
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
# (If two scores are *equal*, the box that stands first in the list goes first.)
#
# ### Look inside: who removes whom
#
# Move the threshold, and go through the rounds.
# Point at a row of the list, and its box lights up.
#
# 1. At which threshold do you first see two boxes for one thing?
# 2. Below which one does a thing disappear that is really there?
#    Which one is it, and who removed it?

# %%
explore_nms(*nms_of_raw)

# %% [markdown]
# <details><summary>Answers</summary>
#
# 1. From 0.55: box i stays beside box f, and both are the cone.
#    At 0.5 f removed i, with an IoU of 0.54.
# 2. From 0.3 down.
#    At 0.35 the best box of the crate, b, is removed by a, the best one of the figure (their IoU is 0.39).
#    One bad box of the crate, k, is still left then; at 0.3 the crate is gone altogether.
# </details>
#
# For readers without a live notebook, a low and a high threshold:

# %% jupyter={"outputs_hidden": true}
draw_suppression(*nms_of_raw, {"threshold 0.2": (0.2, None), "threshold 0.75": (0.75, None)},
                 part=middle)
plt.show()
for threshold in (0.2, 0.75):
    kept = torchvision.ops.nms(raw["boxes"], raw["scores"], threshold)
    print(f"threshold {threshold}: boxes left from the things", raw["source"][kept].tolist())

# %% [markdown]
# With 0.2 the figure in the middle and the crate behind it cannot both survive: even their *true* boxes overlap by 0.38.
# With 0.75 things are named several times.
#
# ### One class at a time
#
# A figure and a crate may well stand in the same place.
# So NMS should only let boxes of the *same class* remove each other.
# That could be a loop over classes.
# There is a neater trick: **move each class to a place of its own, far from all others**, and run NMS once.

# %%
far_away = raw["boxes"].max() + 1                               # wider than the picture
apart = raw["boxes"] + raw["labels"][:, None] * far_away        # (16, 4)
draw_apart(apart, raw["labels"], names, step=far_away.item(), side=96)
plt.show()
kept = torchvision.ops.nms(apart, raw["scores"], 0.2)
print("threshold 0.2, by class: boxes left from the things", raw["source"][kept].tolist())
theirs = torchvision.ops.batched_nms(raw["boxes"], raw["scores"], raw["labels"], 0.2)
assert torch.equal(kept, theirs)

# %% [markdown]
# All four things are back, even with the low threshold.
# This is what `torchvision.ops.batched_nms` does, and what every detector of this course will call.
# (Its step from class to class is the same, the largest coordinate plus 1.
# That is far enough as long as boxes hardly reach beyond the left and upper edge of the picture; large lists it does class by class.)
#
# ### Break it: is there a right threshold?
#
# Now all 200 scenes, ten boxes for each thing.
# We count two errors: things **lost** (none of their boxes is left), and **surplus** boxes (each box of a thing beyond its first).
#
# **Predict.**
# Is there a threshold with neither?

# %%
generator = torch.Generator().manual_seed(0)
clouds = [cloud(each, 10, generator) for each in world]

def errors(threshold: float, by_class: bool) -> tuple[int, int]:
    lost = surplus = 0
    for boxes in clouds:
        groups = boxes["labels"] if by_class else torch.zeros_like(boxes["labels"])
        kept = torchvision.ops.batched_nms(boxes["boxes"], boxes["scores"], groups, threshold)
        left = boxes["source"][kept].bincount(minlength=int(boxes["source"].max()) + 1)
        lost += int((left == 0).sum())
        surplus += int((left - 1).clamp(min=0).sum())
    return lost, surplus

# %% jupyter={"outputs_hidden": true, "source_hidden": true}
print(sum(len(each.boxes) for each in world), "things")
print("threshold   all classes together      each class by itself")
for threshold in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
    together, by_class = errors(threshold, False), errors(threshold, True)
    print(f"{threshold:<12}{together[0]:>3} lost, {together[1]:>4} surplus"
          f"{by_class[0]:>9} lost, {by_class[1]:>4} surplus")
    assert sum(together) > 0 and sum(by_class) > 0 and by_class[0] <= together[0]

# %% [markdown]
# There is none.
# Low thresholds lose things that stand close to each other, high ones leave surplus boxes;
# class by class fewer are lost, but two figures side by side are still a problem.
# NMS has one number for two different questions: *are these boxes the same thing?* and *can two things be this close?*
# Most papers choose a value between 0.3 and 0.7.
# Soft-NMS (Bodla et al. 2017) lowers the scores of neighbours instead of removing them.
# Lesson 14 (DETR) will do without NMS altogether.

# %% [markdown]
# ## 4. From boxes to a verdict
#
# Back to the two detectors.
# First decide, detection by detection: **right or wrong?**
# A right one is called a *true positive* (TP) in papers, a wrong one a *false positive* (FP), and a thing that nobody found a *false negative* (FN).
# Three rules decide.
#
# 1. Go through the detections from the highest score to the lowest.
# 2. Each claims, of the things that are still *free*, the one that it overlaps most.
#    If that IoU is **at least** the threshold, the detection is right.
# 3. A thing can be claimed once.
#    A second detection of it is **wrong**: a duplicate.
#
# These are COCO's rules.
# Pascal VOC's second rule is another one: a detection claims the thing that it overlaps most, *free or not*.
# It is wrong if that one is taken, even where it would fit a free one.
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
# An empty list of numbers has no largest one.
# Without things, every detection is wrong.
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
# Thing 3, the cone, is in no line of this list.
# A detector is also judged by what it does *not* say.
#
# ### Precision and recall
#
# Go down the list, and stop somewhere: what stands above counts as *said*, what stands below does not.
#
# - **Precision**: which share of what was said is right?
#   TP / (TP + FP).
# - **Recall**: which share of the things was found?
#   TP / (TP + FN), and TP + FN is simply the number of things.
# - **F1**: both in one number, their harmonic mean 2 · precision · recall / (precision + recall), which is low as soon as one of them is.

# %%
right = hits.cumsum(dim=0)                                      # (5,) right ones so far
precision = right / torch.arange(1, len(hits) + 1)
recall = right / len(scene.boxes)
f1 = 2 * precision * recall / (precision + recall)
print("stop after   precision   recall     F1")
for n in range(len(hits)):
    print(f"{n + 1:>6}{precision[n]:>14.2f}{recall[n]:>10.2f}{f1[n]:>8.2f}")

# %% [markdown]
# F1 belongs to one place to stop, and which one is best depends on the use: a car would rather brake once too often, a photo album may miss a face.
# So keep the whole curve.
# It belongs to one class and one IoU threshold: another threshold makes other detections right, and another curve.
#
# **Predict.**
# When you go one step down the list: can recall fall?
# Can precision rise?

# %% jupyter={"outputs_hidden": true}
draw_precision_recall({"detector B": (recall, precision)}, interpolated=True)
plt.show()

# %% [markdown]
# Recall never falls.
# Precision can do both: a wrong detection pulls it down, a right one lifts it again.
# So the curve has **teeth**.
#
# Teeth are filled (the dashed line): at each recall we count *the best precision that can be had with this recall or more*.
# That is fair, since you could stop further down.
# Then the **average precision, AP**, is the area under the filled curve.
# COCO reads it off at 101 recalls (0, 0.01, 0.02 and so on up to 1) and takes the mean.
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
# If only 0.01 is missing: `torch.linspace` rounds some points a little too high, and a recall of exactly that point is missed.
# `torch.arange(101) / 100` does not.
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
# So is A better than B?
#
# ## 5. COCO's AP
#
# An IoU of 0.5 forgives a lot, and Pascal VOC asks for no more.
# The authors of COCO wanted good boxes to count: they average over **ten thresholds: 0.50, 0.55 and so on up to 0.95**.
#
# **Predict.**
# What happens to A's line as the threshold rises?
# And to B's?

# %%
thresholds = torch.arange(10) * 0.05 + 0.5
aps = {name: [average_precision_from_hits(
    mark_detections(found["boxes"], found["scores"], scene.boxes, t.item()), 4) for t in thresholds]
    for name, found in (("A", A), ("B", B))}

# %% jupyter={"outputs_hidden": true, "source_hidden": true}
figure, axis = plt.subplots(figsize=(6, 3.2), layout="constrained")
for (name, values), style in zip(aps.items(), ("o-", "s--")):
    axis.plot(thresholds, values, style, label=f"detector {name}: mean {sum(values) / 10:.3f}")
    print(f"detector {name}: AP50 {values[0]:.3f}, AP75 {values[5]:.3f}, AP {sum(values) / 10:.3f}")
axis.set(title="AP of the two detectors at ten thresholds", ylim=(-0.05, 1.05),
         xlabel="IoU a box needs to be right", ylabel="AP at this threshold")
axis.legend()
plt.show()
assert aps["A"][0] > aps["B"][0] and sum(aps["A"]) < sum(aps["B"])

# %% [markdown]
# There is the answer to the first question: **by AP50 it is A, by AP it is B.**
# Both numbers are right.
# AP50 asks *did you find it?*, AP75 *do you know where it ends?*, AP mixes all of it.
# When you read a table in a paper, look which of them is printed.
#
# The course's library has the whole evaluation.
# It gives the same numbers for the two detectors, if it is told that everything is of one class:

# %%
def one_class(answer: dict) -> dict:
    return answer | {"labels": torch.ones_like(answer["labels"])}

for name, found in (("A", A), ("B", B)):
    ours = average_precision([one_class(found)], [one_class(truth)])
    print(f"detector {name}: AP50 {ours['AP50']:.3f}, AP75 {ours['AP75']:.3f}, AP {ours['AP']:.3f}")
    assert abs(ours["AP"] - sum(aps[name]) / 10) < 1e-6

# %% [markdown]
# Four more things belong to COCO's evaluation.
#
# - **Classes.**
#   Everything is done for each class by itself, over *all pictures together*: one long list of detections, sorted by score.
#   The mean over the classes is the **mean average precision, mAP**, of Pascal VOC and of many papers.
#   COCO's AP is this mean over classes and over the ten thresholds, and is called AP all the same; you will also read *mAP@[.5:.95]*, and *mAP@.5* for AP50.
# - **Sizes.**
#   AP_small counts only things whose area is up to 32 × 32 pixels, AP_medium those up to 96 × 96, AP_large the rest.
#   These are fixed numbers of pixels, whatever the size of the picture.
#   Area is that of the thing's mask where the data has masks; we give boxes only, so here it is the box's.
# - **Recall.**
#   AR1, AR10, AR100 (*average recall*): recall, averaged over the ten thresholds, when only the best 1, 10 or 100 detections of each picture and class count.
#   It does not care about wrong ones among them.
# - **Crowds.**
#   COCO's files mark some boxes as a *crowd*, say forty people in one box.
#   A detection there is neither right nor wrong.
#
# Now a larger list: one simulated detection for each thing in 200 scenes, one in ten with a label drawn at random, and two boxes thrown anywhere in each scene.

# %% jupyter={"source_hidden": true}
def anywhere(count: int, generator: torch.Generator) -> torch.Tensor:
    corners, sides = torch.rand(2, count, 2, generator=generator)
    return torch.cat([corners * 80, corners * 80 + 8 + sides * 20], dim=1)  # (count, 4)

def detect(scene, generator: torch.Generator) -> dict:
    boxes, count = shaken(scene.boxes, 0.06, generator), len(scene.boxes)
    other = torch.randint(1, 6, (count + 2,), generator=generator)
    labels = torch.where(torch.rand(count, generator=generator) < 0.1, other[:count], scene.labels)
    fit = pairwise_iou(boxes, scene.boxes).diagonal() * (labels == scene.labels)
    fit = torch.cat([fit, torch.zeros(2)])                      # the last two: no thing of theirs
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
for key, value in ours.items():
    if key != "AP_per_class":
        print(f"{key:<10} {value:.3f}")
for label, value in ours["AP_per_class"].items():
    print(f"AP of {names[label]:<9} {value:.3f}")

# %% [markdown]
# `AP_large` is *nan*, not a number: a picture of 96 × 96 pixels has no thing with a larger area than that.
# AR1 is low because more than half of the scenes hold two things of one class, and with one detection only one of them can be found.
#
# Is our number *the* number?
# The authors of COCO publish their own code, pycocotools.
# It wants lists of dicts, and boxes as xywh.

# %% jupyter={"source_hidden": true}
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
theirs = evaluation.stats                                       # (12,), −1 where there is nothing
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
# 2. each detection given twice: the second half a pixel away, with 0.9 times the score;
# 3. 100 boxes thrown anywhere *in every scene*, with scores below all others;
# 4. only the detections with a score above 0.5 are kept;
# 5. all scores multiplied by 0.1;
# 6. all scores multiplied by 0.1, but only in every other scene;
# 7. the scores of each scene shuffled among its boxes.

# %% jupyter={"source_hidden": true}
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

def shuffled(answer: dict) -> dict:
    order = torch.randperm(len(answer["scores"]), generator=generator)
    return answer | {"scores": answer["scores"][order]}

# %%
changed = {
    "as they were": found,
    "1 moved by 2 pixels": [answer | {"boxes": answer["boxes"] + 2} for answer in found],
    "2 given twice": [twice(answer) for answer in found],
    "3 with 20,000 junk boxes": [with_junk(answer) for answer in found],
    "4 confident ones only": [confident(answer) for answer in found],
    "5 all scores × 0.1": [answer | {"scores": answer["scores"] * 0.1} for answer in found],
    "6 every other scene × 0.1": [answer | {"scores": answer["scores"] * (0.1 if place % 2 else 1)}
                                  for place, answer in enumerate(found)],
    "7 scores shuffled": [shuffled(answer) for answer in found],
}

# %% jupyter={"outputs_hidden": true, "source_hidden": true}
results = {title: average_precision(answers, targets) for title, answers in changed.items()}
print(f"{'':<28}AP     AP50   AP75   AR100")
for title, result in results.items():
    values = [f"{result[key]:.3f}" for key in ("AP", "AP50", "AP75", "AR100")]
    print(f"{title:<28}" + "  ".join(values))
figure, axis = plt.subplots(figsize=(7.5, 3), layout="constrained")
scores = [result["AP"] for result in results.values()]
bars = axis.barh(list(results), scores, color=["#888888"] + ["#0072B2"] * 7)
axis.bar_label(bars, [f"{score:.3f}" for score in scores], padding=3, fontsize=9)
axis.axvline(scores[0], color="#888888", linestyle=":")
axis.set(title="AP after each change; dotted: as they were", xlabel="AP", xlim=(0, 0.7))
axis.invert_yaxis()
plt.show()

# %%
start = results["as they were"]["AP"]
after = {title[0]: result["AP"] for title, result in results.items()}
assert after["1"] < 0.6 * start and after["2"] < 0.8 * start and after["7"] < 0.8 * start
assert abs(after["3"] - start) < 0.005 and abs(after["5"] - start) < 1e-6
assert after["4"] < start - 0.04 and after["6"] < start - 0.04
print("as described below")

# %% [markdown]
# - **Two pixels (1)** cost more than half of AP.
#   AP50 forgives most of it, AP75 hardly anything.
# - **Duplicates (2)** cost almost a third: each is a wrong detection among right ones.
#   That is why detectors need NMS.
# - **Junk (3) is free**, if its score is low!
#   By the time the list reaches it, all that the real boxes can earn has been earned.
#   (Some of the junk even hits, so AP50 and AR100 rise a little.)
#   So detectors flood their lists: a picture with a hundred useless boxes can belong to an excellent AP.
#   AP ranks; it does not say which boxes to *show*.
#   For that you choose a threshold of the score.
# - **Holding back unsure detections (4) costs**: the recall that they would have brought is lost.
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

# %% jupyter={"source_hidden": true}
print("moved by   AP_small        AP_medium")
fall, moved_keys = {}, ("AP_small", "AP_medium")
for pixels in range(4):
    answers = [answer | {"boxes": answer["boxes"] + pixels} for answer in found]
    moved = average_precision(answers, targets)
    fall[pixels] = [moved[key] / ours[key] for key in moved_keys]
    shares = [f"{moved[key]:.3f} ({share:>4.0%})" for key, share in zip(moved_keys, fall[pixels])]
    print(f"{pixels:>5}      {shares[0]}    {shares[1]}")
assert all(fall[pixels][0] < fall[pixels][1] for pixels in (1, 2, 3))

# %% [markdown]
# Three pixels are nearly fatal for the small things, which keep 12 % of their AP; the larger ones keep 63 %.
#
# One more look at section 3.
# There, no threshold of NMS was free of errors.
#
# **Predict.**
# Which threshold does AP prefer?

# %% jupyter={"outputs_hidden": true, "source_hidden": true}
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
# Looking at pictures, you would choose a lower threshold than AP does: a detector can have a fine number and an ugly picture.
#
# ## 7. An error budget
#
# AP says how good a detector is, and not what to mend first.
# So sort the wrong detections by kind, mend one kind at a time, and see how much AP that would bring.
# Hoiem et al. did this in 2012 (*Diagnosing Error in Object Detectors*); the toolbox TIDE does it today.
# Ask of each detection, from the highest score to the lowest, and let the first *yes* count:
#
# | kind | the question |
# | --- | --- |
# | right | Is there a free thing of its class with an IoU of at least 0.5? It claims the one that it overlaps most. |
# | duplicate | Is there any thing of its class with an IoU of at least 0.5? (It is taken.) |
# | badly placed | Is there any thing of its class with an IoU of at least 0.1? |
# | wrong name | Is there a thing of another class with an IoU of at least 0.5? |
# | nothing there | None of these. |
#
# A sixth kind has no detection: things that were **missed**, because no box is right, badly placed or wrongly named there.
#
# ### Exercise 7 · `name_errors`
#
# *15 minutes · ★★☆*
#
# - `boxes`: (N, 4) and `labels`: (N,), the detections of one picture, **the highest score first**.
# - `true_boxes`: (M, 4), `true_labels`: (M,).
# - Returns a list of N strings, each one of the five kinds, written as in the table.
#
# There may be no detections, or no things.

# %% tags=["exercise"]
def name_errors(boxes: torch.Tensor, labels: torch.Tensor, true_boxes: torch.Tensor,
                true_labels: torch.Tensor) -> list[str]:
    ### BEGIN SOLUTION
    names, free = [], torch.ones(len(true_boxes), dtype=torch.bool)
    for box, label in zip(boxes, labels):
        overlap = pairwise_iou(box[None], true_boxes)[0]                    # (M,)
        own, other = overlap * (true_labels == label), overlap * (true_labels != label)
        if (own * free >= 0.5).any():
            names.append("right")
            free[(own * free).argmax()] = False
        elif (own >= 0.5).any():
            names.append("duplicate")
        elif (own >= 0.1).any():
            names.append("badly placed")
        else:
            names.append("wrong name" if (other >= 0.5).any() else "nothing there")
    return names
    ### END SOLUTION

# %%
check(name_errors)

# %% [markdown]
# <details><summary>Hint: how do I begin?</summary>
#
# With the loop of `mark_detections`; the scores are sorted already.
# It answers the first question, once it looks only at things of the detection's own class.
# </details>
# <details><summary>Hint: how do I look at one class only?</summary>
#
# Multiply the IoUs by a mask, as for the taken things: where it is 0, no threshold is reached.
# </details>
# <details><summary>Hint: my duplicates have another name</summary>
#
# For the second question, taken things count.
# Which mask must not be used there?
# </details>

# %%
name_errors = use(name_errors)

# %% [markdown]
# Now mend.
# A badly placed box is replaced by the true box, a wrong name by the true one; if the thing is taken, the detection is deleted instead.
# Duplicates and boxes where nothing is are deleted.
# Missed things are struck from the truth, as if nobody had asked for them.

# %% jupyter={"source_hidden": true}
def by_score(answer: dict) -> dict:
    order = answer["scores"].argsort(descending=True, stable=True)
    return {key: value[order] for key, value in answer.items()}

def mended(kind: str, answer: dict, target: dict) -> dict:
    """One picture's detections, sorted by score, without the mistakes of one kind."""
    truths = target["boxes"], target["labels"]
    names = name_errors(answer["boxes"], answer["labels"], *truths)
    mine = torch.tensor([name == kind for name in names], dtype=torch.bool)             # (N,)
    overlap = pairwise_iou(answer["boxes"], target["boxes"])                            # (N, M)
    own = overlap * (answer["labels"][:, None] == target["labels"])
    boxes, labels = answer["boxes"].clone(), answer["labels"].clone()
    if kind == "badly placed":
        boxes[mine] = target["boxes"][own[mine].argmax(dim=1)]
    if kind == "wrong name":
        labels[mine] = target["labels"][overlap[mine].argmax(dim=1)]
    now = name_errors(boxes, labels, *truths)
    keep = torch.tensor([name == "right" for name in now], dtype=torch.bool) | ~mine
    return {"boxes": boxes[keep], "labels": labels[keep], "scores": answer["scores"][keep]}

def without_missed(answer: dict, target: dict) -> dict:
    overlap = pairwise_iou(answer["boxes"], target["boxes"])                            # (N, M)
    own = answer["labels"][:, None] == target["labels"]
    seen = ((overlap >= 0.5) | (overlap >= 0.1) & own).any(dim=0)                       # (M,)
    return {key: value[seen] for key, value in target.items()}

# %% [markdown]
# **Predict.**
# `found` has two boxes thrown anywhere in each scene, 400 in all (some of them touch a thing), and about 60 wrong names.
# Their scores are drawn alike.
# Which of the two costs more AP50?
# And what costs most in the experiments 1, 2 and 4?
# (Beside `found` as it was, the next cell takes three lists of section 6.
# List 4 is among them because it alone holds detections back.
# 3 and 5 are not, since AP did not change there; nor are 6 and 7, where only the order changed, and the table has no kind for that.)

# %% jupyter={"outputs_hidden": true, "source_hidden": true}
kinds = ("badly placed", "wrong name", "duplicate", "nothing there", "missed")
budgets = {}
print(" " * 41, *(f"{kind[:6]:<6}" for kind in kinds))
for title in ("as they were", "1 moved by 2 pixels", "2 given twice", "4 confident ones only"):
    answers = [by_score(answer) for answer in changed[title]]
    names_of = [name for answer, target in zip(answers, targets) for name in name_errors(
        answer["boxes"], answer["labels"], target["boxes"], target["labels"])]
    asked = [without_missed(answer, target) for answer, target in zip(answers, targets)]
    missed = sum(len(all_["boxes"]) - len(some["boxes"]) for all_, some in zip(targets, asked))
    gains = {}
    for kind in kinds[:-1]:
        better = [mended(kind, *pair) for pair in zip(answers, targets)]
        gains[kind] = average_precision(better, targets)["AP50"] - results[title]["AP50"]
    gains["missed"] = average_precision(answers, asked)["AP50"] - results[title]["AP50"]
    counts = {kind: names_of.count(kind) for kind in kinds} | {"missed": missed}
    budgets[title] = {kind: (counts[kind], gains[kind]) for kind in kinds}
    print(f"{title:<22} AP50 {results[title]['AP50']:.3f}  gains",
          *(f"{gains[kind]:+.3f}" for kind in kinds))

# %% jupyter={"outputs_hidden": true, "source_hidden": true}
figure, axes = plt.subplots(1, 4, figsize=(9.4, 2.6), sharex=True, sharey=True,
                            layout="constrained")
for axis, (title, budget) in zip(axes, budgets.items()):
    bars = axis.barh(list(budget), [gain for _, gain in budget.values()], color="#0072B2")
    said = [f"{gain:.3f} ({count} ×)" if count else "none" for count, gain in budget.values()]
    axis.bar_label(bars, said, padding=3, fontsize=8.5)
    axis.set_title(title, fontsize=10)
axes[0].set(xlim=(0, 0.62), xticks=(0, 0.2, 0.4))
axes[0].invert_yaxis()
figure.supxlabel("AP50 gained by mending them; in brackets, how many there are", fontsize=9)
plt.show()
gain = {title: {kind: won for kind, (_, won) in budget.items()}
        for title, budget in budgets.items()}
assert gain["as they were"]["wrong name"] > 3 * gain["as they were"]["nothing there"]
worst = ["wrong name", "badly placed", "duplicate", "missed"]
assert [max(each, key=each.get) for each in gain.values()] == worst

# %% [markdown]
# - **The number of mistakes says little.**
#   As they were, there are more than six boxes where nothing is for each wrong name, and the wrong names cost seven times as much.
#   A wrong name is a wrong detection in one class *and* a thing that the other class lacks: without it, recall never reaches 1.
#   A box on nothing only stands between right ones.
# - **Each experiment has its own bar**: moved boxes are badly placed, doubled ones are duplicates, and what was held back is missed.
#   AP50 alone said 0.73, 0.62 and 0.75, and nothing of this.
# - **The gains do not add up** to what is missing from 1: mending one kind changes what the others cost.
# - All of it is at an IoU of 0.5.
#   A stricter threshold moves boxes from *right* to *badly placed*.
#
# (TIDE has one more kind, *wrong name and badly placed at once*, which is *nothing there* for us.)
#
# ## 8. Recap
#
# | | what it answers | what to watch |
# | --- | --- | --- |
# | xyxy, xywh, cxcywh | where is the thing? | edges, not pixels; x first |
# | IoU | do two boxes agree? | relative to size; flat where nothing is shared |
# | GIoU | and if they do not touch? | grows first, then fits |
# | NMS | which boxes are the same thing? | one threshold, two errors |
# | AP at one IoU | how good is the ranking? | low scores are free |
# | COCO's AP | and how exact are the boxes? | a mean over thresholds and classes: look at its parts |
# | error budget | what should be mended first? | gains do not add up |
#
# **In papers and on GitHub:**
# thing: *object, instance* · true box: *ground truth, GT* · right, wrong, missed: *TP, FP, FN* · surplus box: *duplicate* ·
# filled teeth: *interpolated precision, precision envelope* · mean over classes: *mAP* · COCO's AP: *AP, mAP@[.5:.95]* ·
# NMS by class: *batched* or *class-aware NMS*, all classes together: *class-agnostic NMS* ·
# badly placed: *localisation error, Loc* · wrong name: *confusion, classification error, Cls* · nothing there: *background, Bkg*.
#
# **What the papers say.**
# Pascal VOC asks for an IoU of 0.5, set low on purpose, since people's boxes of the same thing differ too.
# It read the curve off at 11 points until 2009, and has taken the exact area since 2010.
# COCO's evaluation has ten thresholds, three sizes and crowds.
# The authors of GIoU trained YOLO v3, Faster R-CNN and Mask R-CNN with it, and all three gained AP over training with the usual losses on the four numbers.
#
# **What was simpler here.**
# Our detections were simulated: errors at random, equal in all directions, scores that know the damage.
# Real detectors make the same mistake again and again, and their scores are worse judges of a box.
# Our truth is exact; people's is not.
#
# ### Go on from here
#
# Three tasks without a check.
#
# 1. **Soft-NMS.**
#    Remove nothing, but multiply the score of each box that overlaps the best one by more than 0.5 by 1 − IoU, class by class.
#    Measure AP on `clouds`.
#    *Expect* a little more (here 0.7 points) than NMS at its best threshold: nothing is lost, and surplus boxes have sunk to where they cost little.
# 2. **Another way home.**
#    Let the box of section 2 walk with DIoU: IoU minus the squared distance of the middles divided by the squared diagonal of the box around.
#    Does it still grow?
#    *Expect* hardly a difference here: after 32 steps it measures about 41 × 39 pixels instead of 42 × 43.
#    A larger box around makes the distance a smaller share of its diagonal, so growing pays here too, and Adam moves all four numbers equally fast.
# 3. **Pascal VOC's rule.**
#    Write `mark_detections` with it, and count how many verdicts change on `clouds` after NMS at 0.6.
#    *Expect* none among about 2,100: it takes two things of one class that overlap each other a lot.
#    Then build such a pair.
#
# ### Three questions
#
# **1.**
# A box lies inside another one and covers a quarter of it.
# Their IoU?
# (a) 1 (b) 0.5 (c) 0.25
#
# <details><summary>Answer</summary>
#
# **(c)** The intersection is the small box, the union the large one.
# (a) would be the answer of someone who divides by the smaller box.
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
# Two detectors find the same boxes.
# The scores of the second are the square roots of the scores of the first.
# What differs?
# (a) AP only (b) only how many boxes you see when all with a score above 0.5 are drawn (c) both
#
# <details><summary>Answer</summary>
#
# **(b)** A square root keeps the order, and AP sees nothing else.
# But 0.3 becomes 0.55, so the second shows more boxes.
# If both lists were cut at 0.5, AP would differ: the second would hold more boxes of low score, which cost little and add recall.
# </details>

# %%
progress("05")

# %% [markdown]
# **Next:** all boxes of this lesson were invented by us.
# Who makes real ones?
# Lesson 06, R-CNN, asks a real photo for places where a thing *might* be, and a real network what it is.
