# %% [markdown]
# # 08 · Faster R-CNN: the network proposes its own boxes
#
# The upper pictures below: on the left, the hundred boxes that selective search (lesson 06) proposes;
# on the right, ten boxes from the network of this lesson.
# It read them from a feature map that it needs anyway.
# The lower pictures: what its second stage makes of them, and the truth (in papers: the ground truth).

# %%
import matplotlib.pyplot as plt
import torch

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import CLASSES, Toyworld
from lib.device import choose_device
from lib.models.faster_rcnn import faster_rcnn_small
from lib.ops.selective_search import selective_search_small
from lib.timing import human_time
from lib.training import load_checkpoint
from lib.viz.detection.detections import draw_detections, draw_proposals

device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"
net = faster_rcnn_small(num_classes=6).to(device)
made = load_checkpoint(net, folder / "08_faster_rcnn.safetensors")
net = net.eval().requires_grad_(False)                          # trained before; we only ask

# %%
val_world = Toyworld("val", length=200)
scene = val_world[185]
picture = scene.image.to(device)                                # (3, 96, 96)
searched = selective_search_small(scene.image)                  # (P, 4), best first
learned = net.proposals(picture[None])[0]                       # boxes (100, 4), scores (100,)
found = net(picture[None])[0]                                   # boxes, scores, labels

# %%
ten = learned["boxes"][:10]
draw_proposals(scene.image, {"searched: 100 boxes": searched[:100], "learned: 10 boxes": ten},
               truth=scene.boxes, size=3.2)
truth = {"boxes": scene.boxes, "labels": scene.labels}
draw_detections(scene.image, {"detections": found, "truth": truth}, min_score=0.5, size=3.2)
plt.show()

# %% [markdown]
# **You will be able to**
#
# - lay anchors over a picture and say which objects they reach and which they miss;
# - tell each anchor what it has to learn: this object, nothing, or no opinion;
# - turn the four numbers of an anchor into a box, and a thousand boxes into ten proposals;
# - train a network that proposes, and then a whole two-stage detector made of your own functions;
# - say which parts of it are the same in the full-size detector that people use.
#
# | | |
# | --- | --- |
# | Time | 90 minutes: 57 for the five exercises, the rest to read; about 40 seconds of computing on two cores |
# | Builds on | lesson 05 (IoU, NMS, recall, AP), 06 (selective search, box targets), 07 (RoI pooling, sampling, two losses) |
# | Paper | Ren, He, Girshick & Sun 2015, *Faster R-CNN: Towards Real-Time Object Detection with Region Proposal Networks* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.
# The output of a cell that answers a *Predict* is folded: click on it to open it.

# %%
import torch.nn.functional as F
from torch import nn
from torchvision.ops import batched_nms, clip_boxes_to_image, nms, remove_small_boxes, roi_pool

from lib.exercises import check, hint, progress, solution, use
from lib.layers.small_backbone import SmallBackbone
from lib.models.fast_rcnn import FastRCNNPredictor, TwoMLPHead, fast_rcnn_small, fastrcnn_loss
from lib.models.faster_rcnn import RPNHead
from lib.ops.box_coder import BoxCoder
from lib.ops.boxes import box_area, box_iou
from lib.ops.matching import BalancedPositiveNegativeSampler
from lib.training import Batches, evaluate_detection, fit, toyworld_detection
from lib.viz import explore
from lib.viz.detection.anchors import explore_anchors
from lib.viz.detection.curves import draw_recall_curve, draw_speed_accuracy
from lib.viz.detection.detections import draw_anchors, draw_boxes, draw_matches
from lib.viz.diagrams.rcnn_family import (
    draw_family, fast_rcnn_plan, faster_rcnn_plan, rcnn_plan, time_rcnn)

# %% [markdown]
# **The whole, before its parts.**
# From left to right: what comes out of each stage, for the scene above.
# New in this lesson is the stage in the orange frame; it stands where selective search stood.
# The lines below begin at the stage that a loss judges, and end at the first stage that learns from it:
# all four losses reach the backbone.

# %%
plan = faster_rcnn_plan(net, picture)       # of each stage: what it gives, and its milliseconds
plan.draw(timed=False)
plt.show()

# %% [markdown]
# ## 1. The last slow part
#
# Fast R-CNN runs its network once for a picture and cuts a hundred regions out of one map.
# What is left to wait for?
# Selective search: it looks at pixels and merges them, on the processor, and it knows nothing of what the network sees.
#
# **Predict.**
# Selective search takes most of the time of one detection with Fast R-CNN (lesson 07).
# How much quicker will the backbone and learned proposals be, together: twice, five times, ten times?

# %%
fast = fast_rcnn_small(num_classes=6).to(device)
load_checkpoint(fast, folder / "07_fast_rcnn.safetensors")
fast = fast.eval().requires_grad_(False)
fast_plan = fast_rcnn_plan(fast, picture)                       # lesson 07's detector on this scene

# %% jupyter={"outputs_hidden": true}
for stage in fast_plan.stages[1:]:
    name, ms = stage.name.replace("\n", " "), stage.milliseconds
    print(f"{name:<20} ≈ {human_time(ms / 1000)}, ≈ {ms / fast_plan.milliseconds:4.0%}")
search_ms = fast_plan.stages[1].milliseconds
learned_ms = plan.stages[1].milliseconds + plan.stages[2].milliseconds  # map and proposals
print(f"and in this lesson: backbone and proposals together ≈ {human_time(learned_ms / 1000)},",
      f"≈ {search_ms / learned_ms:.0f} times as quick as selective search")
assert search_ms > fast_plan.milliseconds / 2 and learned_ms < search_ms

# %% [markdown]
# In the paper it was the same, with larger numbers: 0.3 seconds for the network on a GPU, 1.5 for selective search on a CPU.
#
# (Each stage is measured once, together with what its drawing shows; all times on this page come from there.)
#
# But the network has just computed a map, and that map knows where things (objects) are.
# The trained network asks each cell of it one question, by two small convolutions that section 4 describes: *is there a thing?*
# The answer is called **objectness**.

# %% jupyter={"source_hidden": true}
def draw_sure(maps: dict[str, torch.Tensor]) -> None:
    """The picture, and objectness (12, 12) by name, each cell over the 8 × 8 pixels it covers."""
    side = min(3.0, 8.6 / (1 + len(maps)))                      # inches
    size = (side * (1 + len(maps)) + 0.8, side + 0.3)
    figure, axes = plt.subplots(1, 1 + len(maps), figsize=size, layout="constrained")
    axes[0].imshow(scene.image.permute(1, 2, 0), extent=(0, 96, 96, 0))
    axes[0].set_title("the picture", fontsize=10)
    for axis, (name, sure) in zip(axes[1:], maps.items()):
        axis.imshow(scene.image.mean(dim=0), extent=(0, 96, 96, 0), cmap="gray", vmin=0, vmax=1)
        shown = axis.imshow(sure.cpu(), extent=(0, 96, 96, 0), vmin=0, vmax=1, alpha=0.5)
        axis.set_title(name, fontsize=10)
    for axis in axes:
        axis.axis("off")
    figure.colorbar(shown, ax=axes, label="objectness")
    plt.show()

# %%
maps = net.backbone(picture[None])                              # {"0": (1, 96, 12, 12)}
objectness_map = net.rpn.head([maps["0"]])[0][0]                # for each of nine anchors
sure = objectness_map[0].sigmoid()                              # (9, 12, 12), 0 to 1
draw_sure({"is there a thing?": sure.amax(dim=0)})   # the surest of nine answers
print(f"{(sure.amax(dim=0) > 0.5).sum()} of 144 cells say yes")

# %% [markdown]
# (The yes lies a little to the right of each thing and below it; section 9 says why.)
#
# So ask each cell: *is there a thing here, and where is its box?*
# The first question is a class, which is easy.
# The second is four numbers, and there is a catch: a convolution gives one answer for a cell, but several things of very different size may stand there.
# And a network that starts from random weights is bad at large numbers.
#
# The way out: give each cell a few boxes to start from, small and large, wide and tall.
# The network need only say of each of them *is it about right?* and *how must it be changed?*
# Such a start is called an **anchor**.
#
# ## 2. Anchors
#
# Our network uses three sizes and three shapes, nine anchors for each cell.
#
# There are other ways to look for small and large things.
# One can run the network on the picture at several sizes (a pyramid of pictures), or slide windows of several sizes over the map (a pyramid of filters).
# A pyramid of *anchors* is cheaper than both: one picture, one map, one size of filter; only the number of answers for each cell grows.

# %%
sizes, ratios = net.rpn.anchor_generator.sizes[0], net.rpn.anchor_generator.aspect_ratios[0]
print("sizes:", sizes, "pixels; ratios, height / width:", ratios)

# %% [markdown]
# **Predict.**
# The map has 12 × 12 cells.
# How many anchors are there in all?
#
# A size s is the side of a square.
# The tall and the wide anchor have the **same area** s², and a ratio r = height / width.
# From w · h = s² and h / w = r follows w = s / √r and h = s · √r.
#
# One convention must be settled: at which point of the picture do the anchors of cell (row, column) stand?
# torchvision, and this course, put them at **x = column · stride, y = row · stride**, the left upper corner of the cell,
# and round the four numbers of an anchor to whole pixels.
# The authors' own code puts them in the *middle* of the cell, half a stride further right and down, and rounds width and height:
# its wide anchor of size 128 is 184 × 96 pixels, torchvision's 182 × 90.
# Both ways work.
# The network learns its moves from wherever the anchors stand, as long as they stay there.
# Section 10 shows what happens if one program mixes the two.
#
# ### Exercise 1 · `make_anchors`
#
# *15 minutes · ★★★*
#
# - `height`, `width`: rows and columns of the map.
#   `stride`: pixels from one cell to the next.
# - `sizes`, `ratios`: tuples of numbers.
# - Returns (height · width · A, 4) float32, xyxy, with A = len(ratios) · len(sizes).
#   The **middle** of each anchor of cell (row, column) lies at (column · stride, row · stride).
# - The order matters, because the network's answers will come in the same:
#   row by row, cell by cell, and for each cell all sizes of the first ratio, then all sizes of the second, ...
# - Round the four numbers of an anchor around the point (0, 0) to whole pixels, before you move it to its place.
#   Round as torchvision does, a half to the even number: 2.5 to 2, and 3.5 to 4.

# %% tags=["exercise"]
def make_anchors(height: int, width: int, stride: int, sizes: tuple, ratios: tuple) -> torch.Tensor:
    ### BEGIN SOLUTION
    side = torch.tensor(sizes, dtype=torch.float32)                     # (S,)
    root = torch.tensor(ratios, dtype=torch.float32).sqrt()[:, None]    # (R, 1)
    w, h = (side / root).flatten(), (side * root).flatten()             # (A,) each
    around_zero = (torch.stack([-w, -h, w, h], dim=1) / 2).round()      # (A, 4)
    rows, columns = torch.arange(height) * stride, torch.arange(width) * stride
    y, x = torch.meshgrid(rows, columns, indexing="ij")                 # (height, width) each
    places = torch.stack([x, y, x, y], dim=2).reshape(-1, 1, 4)         # (height · width, 1, 4)
    return (places + around_zero).reshape(-1, 4)
    ### END SOLUTION

# %%
check(make_anchors)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# Make the A anchors around the point (0, 0) first, two loops are fine.
# Print w · h and h / w of each.
# </details>
# <details><summary>Hint: how do they get to their places?</summary>
#
# A place adds (x, y, x, y) to a box.
# `torch.meshgrid(rows, columns, indexing="ij")` gives the y and the x of every cell.
# </details>
# <details><summary>Hint: right boxes, wrong order</summary>
#
# Shapes (places, 1, 4) and (1, A, 4) add up to (places, A, 4).
# `reshape(-1, 4)` then goes through the last axes first: all anchors of a place, then the next place.
# </details>

# %%
make_anchors = use(make_anchors)

# %%
anchors = make_anchors(12, 12, 8, sizes, ratios)                # (places · 9, 4)
centres = (anchors[::9, :2] + anchors[::9, 2:]) / 2             # (144, 2)
place = 6 * 12 + 4                                              # row 6, column 4
draw_anchors(scene.image, anchors[9 * place:9 * place + 9], centres, highlight=torch.arange(9),
             title="all places (dots), and the nine anchors of one")
plt.show()
assert torch.equal(anchors, net.rpn.anchor_generator((96, 96), [torch.zeros(1, 1, 12, 12)]))

# %% jupyter={"outputs_hidden": true}
print(f"{len(anchors):,} anchors")

# %% [markdown]
# Do such anchors suit the things in this world?
# Here is a scene with a small thing in it: the white crate at the back, on the left, has 11 × 13 pixels.
#
# 1. Which thing is hardest to reach?
# 2. Does it help to make all anchors half as large (scale 0.5)?
# 3. What does a stride of 16 do to it, and what a stride of 4?
#    What does stride 4 cost?
# 4. What do five shapes instead of three bring?

# %%
crowd = val_world[22]
explore_anchors(crowd.image, crowd.boxes, sizes=sizes)

# %% [markdown]
# <details><summary>What there is to see</summary>
#
# 1. The crate: its best anchor has an IoU of 0.53.
#    The cone is next, with 0.54.
# 2. No: 0.50.
#    Size is not what is wrong.
#    The nearest place lies 3.5 pixels below the crate's middle, and such a step alone costs a box of this size nearly half of its IoU.
# 3. With stride 16 the crate's best IoU is 0.26, with stride 4 it is 0.85: now there is a place near its middle.
#    The two spheres, about twice as large, gain nothing.
#    The price is four times as many anchors, 5,184, and the network has to answer for each of them.
# 4. Nothing in this scene, for 864 more anchors.
# </details>
#
# The anchors never fit exactly.
# They need not: they are a start.
#
# ## 3. Who is responsible for what?
#
# To train, each of the 1,296 anchors needs an answer to learn.
# It depends on the **IoU** with the true boxes:
#
# - 0.7 or more with some object: **positive**, it must find the object that it overlaps most;
# - less than 0.3 with every object: **background**;
# - in between: too close to call, it is **ignored**.
#
# **Predict.**
# How many of the five objects of our first scene have an anchor with an IoU of 0.7 or more?

# %% jupyter={"outputs_hidden": true}
iou = box_iou(scene.boxes, anchors)                             # (5, 1296)
for (x1, y1, x2, y2), label, best in zip(scene.boxes, scene.labels, iou.amax(dim=1)):
    print(f"{CLASSES[label - 1]:<9} {x2 - x1:3.0f} × {y2 - y1:3.0f} pixels, best anchor {best:.2f}")

# %% [markdown]
# Without more, most objects would have no anchor that is told to find them, and would never be learned.
# So there is one more rule, and it is easily forgotten:
#
# - the best anchors of each object are **positive**, whatever their IoU (if it is above 0).
#
# ### Exercise 2 · `match_anchors`
#
# *12 minutes · ★★☆*
#
# - `iou`: (M, A), overlap of M objects with A anchors.
#   M may be 0.
# - Returns (A,) int64: the number of an object, 0 to M − 1; or −1 for background (best overlap *below* `low`); or −2 for *ignored*.
#   An overlap of exactly `high` is positive.
# - Last rule: for each object, every anchor whose overlap with it equals the object's highest (and is above 0) is positive.
#   It belongs to the object that **the anchor** overlaps most, which in a crowd may be another one.

# %% tags=["exercise"]
def match_anchors(iou: torch.Tensor, high: float = 0.7, low: float = 0.3) -> torch.Tensor:
    ### BEGIN SOLUTION
    if len(iou) == 0:
        return torch.full((iou.shape[1],), -1, device=iou.device)
    best, nearest = iou.max(dim=0)                              # (A,) each
    matches = nearest.clone()
    matches[best < high] = -2
    matches[best < low] = -1
    highest = iou.amax(dim=1, keepdim=True)                     # (M, 1)
    rescued = ((iou == highest) & (highest > 0)).any(dim=0)     # (A,)
    matches[rescued] = nearest[rescued]
    return matches
    ### END SOLUTION

# %%
check(match_anchors)

# %% [markdown]
# <details><summary>Hint: the first three rules</summary>
#
# `iou.max(dim=0)` gives two things for each anchor: its highest overlap, and with which object.
# Start with the object, then overwrite.
# </details>
# <details><summary>Hint: the last rule</summary>
#
# Which entries of `iou` are equal to the highest of their row?
# Which columns have such an entry?
# Do it last, or the thresholds take it back.
# </details>
# <details><summary>Hint: it fails without objects</summary>
#
# There is no highest number of nothing.
# If M is 0, everything is background.
# </details>

# %%
match_anchors = use(match_anchors)

# %% [markdown]
# Your rules on our scene; each anchor has the colour of the object that it has to find:

# %%
matches = match_anchors(iou)
title = "who learns what: thick the objects, thin their anchors"
draw_matches(scene.image, anchors, matches, scene.boxes, title, labels=scene.labels)
plt.show()
positive, background, ignored = matches >= 0, matches == -1, matches == -2      # (1296,) each
print(f"{positive.sum()} positive, {background.sum():,} background, {ignored.sum()} ignored")

# %% [markdown]
# A handful against more than a thousand.
# If the loss took all of them, answering *nothing* everywhere would already score well.
# Lesson 07 met the same problem and had a remedy: draw a few of each picture, with a limit to one kind. Here it is 64 anchors, at most half of them positive.

# %%
def draw(matches: torch.Tensor, count: int, share: float) -> torch.Tensor:
    """The same matches with all but `count` ignored, of which at most `share` are positive."""
    sampler = BalancedPositiveNegativeSampler(count, positive_fraction=share)
    kinds = torch.where(matches >= 0, 1, torch.where(matches == -1, 0, -1))     # (A,)
    (positive,), (background,) = sampler([kinds])                               # (A,) bool each
    return torch.where(positive | background, matches, -2)

# %%
torch.manual_seed(0)
drawn = draw(matches, 64, 0.5)
print(f"{(drawn >= 0).sum()} positive, {(drawn == -1).sum()} background")

# %% [markdown]
# ## 4. Asking the cells
#
# The **region proposal network** (RPN) is tiny: a 3 × 3 convolution that looks around, and two 1 × 1 convolutions,
# for nine answers *is it a thing?* and nine times four numbers *how to change the anchor?*
# Lesson 01 again: a small classifier at every place at once.
#
# Objectness knows no classes: a crate and a figure are both just a thing.
# The word for that is **class-agnostic**.
# Each answer is one number, a logit: for a question with yes or no, one is enough, and the sigmoid makes a chance (probability) of it; at 0 it is one half.
# (The authors used two numbers and a softmax, whose outcome depends on the difference of the two alone.)
#
# **Predict.**
# Which shapes do the two have, for a map (1, 96, 12, 12)?

# %% jupyter={"outputs_hidden": true}
(objectness_map,), (delta_map,) = net.rpn.head([maps["0"]])
print("objectness:", tuple(objectness_map.shape), " changes:", tuple(delta_map.shape))

# %% [markdown]
# The answers lie in maps, the anchors in a list.
# Both must come in the same order, or each anchor gets the answer of another one.
# `make_anchors` goes row by row, cell by cell, anchor by anchor, so the channels have to be the **last** axis before we make a list of it.

# %%
def in_rows(objectness_map: torch.Tensor, delta_map: torch.Tensor) -> tuple:
    """(B, 9, h, w) and (B, 36, h, w) -> (B, A) and (B, A, 4), with A = h · w · 9."""
    objectness = objectness_map.permute(0, 2, 3, 1).flatten(1)
    return objectness, delta_map.permute(0, 2, 3, 1).reshape(len(delta_map), -1, 4)

# %%
objectness, deltas = in_rows(objectness_map, delta_map)
print(tuple(objectness.shape), tuple(deltas.shape))
best = objectness[0].argmax().item()
print("surest anchor:", *(f"{number:.0f}" for number in anchors[best]))
print("its changes:  ", *(f"{number:.2f}" for number in deltas[0, best]))

# %% [markdown]
# Four numbers, the same as in lesson 06: tx and ty move the middle, counted in widths and heights of the anchor,
# tw and th are logarithms of the change of size.
# There you turned a pair of boxes into four numbers.
# Now the way back:
#
# > x = xₐ + tx · wₐ,  y = yₐ + ty · hₐ,  w = wₐ · exp(tw),  h = hₐ · exp(th)
#
# ### Exercise 3 · `decode_boxes`
#
# *10 minutes · ★★☆*
#
# - `deltas`: (N, 4): tx, ty, tw, th.
#   `anchors`: (N, 4), xyxy.
# - Returns (N, 4), xyxy.
# - A network that knows nothing yet may say tw = 50, and exp(50) is no box.
#   Believe at most **log(1000 / 16)** of tw and of th: no box is more than 62.5 times as wide or as high as its anchor.
#   (The number comes from Detectron, a later implementation: a small anchor, 16 pixels, may grow to 1,000, about the side of a picture.)

# %% tags=["exercise"]
def decode_boxes(deltas: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    sides = anchors[:, 2:] - anchors[:, :2]                     # (N, 2) width, height
    middles = anchors[:, :2] + sides / 2                        # (N, 2)
    middles = middles + deltas[:, :2] * sides
    limit = torch.tensor(1000 / 16).log().item()
    sides = sides * deltas[:, 2:].clamp(max=limit).exp()
    return torch.cat([middles - sides / 2, middles + sides / 2], dim=1)
    ### END SOLUTION

# %%
check(decode_boxes)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# Turn the anchors into middle and size.
# At the end, turn middle and size back into corners.
# </details>
# <details><summary>Hint: check two cases by hand</summary>
#
# (0, 0, 0, 0) must give the anchor itself.
# (1, 0, 0, 0) must give its neighbour on the right: the same box, one width further.
# </details>
# <details><summary>Hint: the limit</summary>
#
# `tensor.clamp(max=...)`, before `exp`.
# There is no limit downwards: exp of a very negative number is just a very small box.
# </details>

# %%
decode_boxes = use(decode_boxes)

# %% [markdown]
# There and back again: from each anchor to the object that it was matched with, and back.

# %%
coder = BoxCoder()                                              # lesson 06's direction
goals = coder.encode_single(scene.boxes[matches[positive]], anchors[positive])
back = decode_boxes(goals, anchors[positive])
error = (back - scene.boxes[matches[positive]]).abs().max()
print(f"largest error of the round trip: below 0.001 pixels: {error < 1e-3}")
assert error < 1e-3

# %% [markdown]
# ## 5. From a thousand boxes to ten
#
# Decoded, the 1,296 anchors are 1,296 boxes, most of them worthless, the good ones in clouds.
# Four steps make a list of proposals:
#
# 1. take the `pre_nms` boxes with the highest objectness, to save work;
# 2. cut them at the border of the picture;
# 3. drop boxes that are narrower or lower than 0.001 pixels after that: there is nothing in them;
# 4. non-maximum suppression (lesson 05), and of the survivors the best `post_nms`.
#
# ### Exercise 4 · `filter_proposals`
#
# *10 minutes · ★★☆*
#
# - `boxes`: (N, 4) xyxy.
#   `objectness`: (N,) logits, the higher the surer.
#   `image_size`: (height, width).
# - `threshold`: two boxes with a higher IoU are one too many.
# - Returns (P, 4), at most `post_nms`, the best first.
#
# `clip_boxes_to_image(boxes, size)`, `remove_small_boxes(boxes, min_size)` and `nms(boxes, scores, threshold)` are at hand; the last two return *places*.
# In this exercise, the order is the point.

# %% tags=["exercise"]
def filter_proposals(boxes: torch.Tensor, objectness: torch.Tensor, image_size: tuple[int, int],
                     pre_nms: int, post_nms: int, threshold: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    order = objectness.argsort(descending=True)[:pre_nms]
    boxes, objectness = clip_boxes_to_image(boxes[order], image_size), objectness[order]
    large = remove_small_boxes(boxes, 0.001)
    boxes, objectness = boxes[large], objectness[large]
    return boxes[nms(boxes, objectness, threshold)[:post_nms]]
    ### END SOLUTION

# %%
check(filter_proposals)

# %% [markdown]
# <details><summary>Hint: the best n</summary>
#
# `objectness.argsort(descending=True)` are places, the best first.
# A slice takes the first n, and does not mind if there are fewer.
# </details>
# <details><summary>Hint: the wrong boxes survive</summary>
#
# Whenever boxes are chosen, the same must be chosen of `objectness`, or box and score no longer belong together.
# </details>
# <details><summary>Hint: does it need a sigmoid?</summary>
#
# Only the order counts here.
# Does a sigmoid change it?
# </details>

# %%
filter_proposals = use(filter_proposals)

# %% [markdown]
# What is left of the 1,296 boxes, from step to step:

# %%
anchors = anchors.to(device)
boxes = decode_boxes(deltas[0], anchors)                        # (1296, 4)
order = objectness[0].argsort(descending=True)
draw_proposals(scene.image, {
    "all anchors, moved": boxes, "the best 300": boxes[order[:300]],
    "without duplicates": filter_proposals(boxes, objectness[0], (96, 96), 300, 100, 0.7),
    "the best ten": filter_proposals(boxes, objectness[0], (96, 96), 300, 10, 0.7)}, size=2.35)
plt.show()

# %% [markdown]
# These are the proposals of a network that was trained before.
# How did it learn that?
#
# ## 6. Training the first stage
#
# Two questions, two losses, as in lesson 07.
# *Is it a thing?* is a yes or no: binary cross-entropy.
# *How to change the anchor?* is asked of positives only: smooth L1 against the four numbers that lead to their object.
#
# ### Exercise 5 · `rpn_loss`
#
# *10 minutes · ★★☆*
#
# - `objectness`: (A,) logits.
#   `deltas`: (A, 4).
#   `matches`: (A,), as `match_anchors` gives them.
# - `targets`: (A, 4), what `deltas` should be; without meaning, and perhaps NaN, where an anchor is not positive.
# - Returns two numbers, through which gradients reach `objectness` and `deltas`.
#   The mean binary cross-entropy over all anchors that are not ignored, with 1 for positives and 0 for background;
#   and the smooth L1 loss (β = 1/9) of the positives, **added up** and divided by the number of anchors that are not ignored.

# %% tags=["exercise"]
def rpn_loss(objectness: torch.Tensor, deltas: torch.Tensor, matches: torch.Tensor,
             targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    counted, positive = matches != -2, matches >= 0
    judged = F.binary_cross_entropy_with_logits(objectness[counted], positive[counted].float())
    moved = F.smooth_l1_loss(deltas[positive], targets[positive], beta=1 / 9, reduction="sum")
    return judged, moved / counted.sum()
    ### END SOLUTION

# %%
check(rpn_loss)

# %% [markdown]
# <details><summary>Hint: two masks</summary>
#
# Which anchors count at all?
# Which of them are positive?
# `tensor[mask]` picks.
# </details>
# <details><summary>Hint: which functions?</summary>
#
# `F.binary_cross_entropy_with_logits(logits, labels)`, the labels as floats; `F.smooth_l1_loss(..., beta=1 / 9, reduction="sum")`.
# </details>
# <details><summary>Hint: nan where there is no positive</summary>
#
# What do you divide by?
# </details>

# %%
rpn_loss = use(rpn_loss)

# %% [markdown]
# Everything is there.
# First the network: a backbone (a bit slimmer than the one above, to be quick) and a head, with random weights.
# Then the loss of a batch: for each picture, anchors are matched, 64 are drawn, and `rpn_loss` judges them.

# %%
class FirstStage(nn.Module):
    """Pictures (B, 3, H, W) -> objectness (B, 9, H/8, W/8) and changes (B, 36, H/8, W/8)."""

    def __init__(self, width: int = 16):
        super().__init__()
        self.backbone = SmallBackbone(width)
        self.head = RPNHead(self.backbone.out_channels, num_anchors=9)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        (objectness_map,), (delta_map,) = self.head([self.backbone(images)["0"]])
        return objectness_map, delta_map

# %%
def first_loss(objectness: torch.Tensor, deltas: torch.Tensor, targets: list[dict]) -> torch.Tensor:
    """Of B pictures, objectness (B, A) and changes (B, A, 4) -> the two losses (2,)."""
    losses = []
    for sure, moves, target in zip(objectness, deltas, targets):
        matches = draw(match_anchors(box_iou(target["boxes"], anchors)), 64, 0.5)
        goals = coder.encode_single(target["boxes"][matches.clamp(min=0)], anchors)
        losses.append(torch.stack(rpn_loss(sure, moves, matches, goals)))
    return torch.stack(losses).mean(dim=0)


def first_stage_loss(model: nn.Module, batch: tuple) -> dict[str, torch.Tensor]:
    images, targets = batch
    judged, moved = first_loss(*in_rows(*model(images)), targets)
    return {"objectness": judged, "boxes": moved}

# %% [markdown]
# What shall we watch?
# The **recall** of its ten best proposals: the share of all objects that one of them overlaps by half.
# And the proposals of our scene, as they get better.
# To have no duplicates among so few, we suppress from an overlap of 0.5 on, where the paper takes 0.7.

# %%
val_images, val_targets = toyworld_detection(val_world)
val_images = val_images.to(device).float() / 255                # (200, 3, 96, 96)


@torch.no_grad()
def propose(model, images, count: int, anchors=anchors, threshold=0.7) -> list[torch.Tensor]:
    """For each picture the best `count` proposals (count, 4)."""
    objectness, deltas = in_rows(*model(images))
    boxes = [decode_boxes(moves, anchors) for moves in deltas]              # (1296, 4) each
    return [filter_proposals(some, sure, (96, 96), 300, count, threshold).cpu()
            for some, sure in zip(boxes, objectness)]


def recall(proposals: list, targets: list, count: int, overlap: float = 0.5) -> float:
    """The share of all objects that one of the first `count` proposals overlaps enough."""
    best = [box_iou(target["boxes"], boxes[:count]).amax(dim=1)
            for boxes, target in zip(proposals, targets)]
    return (torch.cat(best) >= overlap).float().mean().item()

# %%
torch.manual_seed(0)
first_stage = FirstStage().to(device)
some_images, some_targets = val_images[:60], val_targets[:60]
snapshots, seen = {}, {}


def watch(model: nn.Module) -> dict[str, float]:
    step = 50 * len(snapshots)
    snapshots[step] = propose(model, picture[None], 10, threshold=0.5)[0]
    seen[step] = propose(model, some_images, 100, threshold=0.5)
    return {"recall of ten": recall(seen[step], some_targets, 10)}

# %%
watch(first_stage.eval())                                       # before the first step
train_scenes = toyworld_detection(Toyworld("train", length=2000))
batches = Batches(*train_scenes, batch_size=4, shuffle=True, flip=True)
fit(first_stage, batches, first_stage_loss, steps=300, learning_rate=4e-3, title="first stage",
    validate=watch, validations=6)

# %% [markdown]
# Its ten best proposals on our scene, before the first step, after 50 steps and at the end:

# %%
draw_proposals(scene.image, {f"step {step}": snapshots[step] for step in (0, 50, 300)},
               truth=scene.boxes, size=3)
plt.show()

# %% [markdown]
# And on 60 scenes that it does not learn from, for more and for fewer than ten:

# %%
numbers = [1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100]          # of proposals
rising = {step: [recall(seen[step], some_targets, count) for count in numbers] for step in seen}
figure = draw_recall_curve({f"step {step}": (numbers, rising[step]) for step in (0, 50, 150, 300)})
figure.axes[0].set_title("60 new scenes, while the first stage learns", fontsize=10)
plt.show()
of_ten = {step: rising[step][numbers.index(10)] for step in seen}
for step, share in of_ten.items():
    print(f"step {step:>3}: the ten best proposals find ≈ {share:.0%} of the objects")
assert of_ten[300] > 0.45 and of_ten[300] > of_ten[0] + 0.3

# %% [markdown]
# At the start it proposes whatever anchors its random weights happen to favour.
# Then the boxes gather around things.
# The recall of ten does not rise from each line to the next: now and then it falls back a little.
# So one score from the middle of a training says little; compare trainings at their ends.
# That was a short run, of the first stage alone.
#
# ## 7. Both stages at once
#
# A first stage that proposes, and Fast R-CNN behind it.
# Both want a map from a backbone.
# The point of the paper: **it can be the same map**.
# Then proposals cost a few milliseconds on top of the map, and the backbone learns from both.
#
# The paper trained in four rounds, one stage after the other, and mentions a simpler way with nearly the same result, *approximate joint training*:
# add all four losses, and one gradient step does for everything.
# That is how it is done today.
# (Approximate, because the second stage's loss also depends on where the proposals lie, and no gradient runs through their corners.)
#
# **You have written all parts of a two-stage detector.**
# Put them together.
# First the layers, under the names that torchvision gives them.
# (`roi_pool` does what your `roi_max_pool` of lesson 07 does, for many regions at once.)

# %%
class Detector(nn.Module):
    def __init__(self, width: int = 24):
        super().__init__()
        self.backbone = SmallBackbone(width)
        channels = self.backbone.out_channels
        self.rpn = nn.ModuleDict({"head": RPNHead(channels, num_anchors=9)})
        self.roi_heads = nn.ModuleDict({"box_head": TwoMLPHead(channels * 5 * 5, 96),
                                        "box_predictor": FastRCNNPredictor(96, num_classes=6)})

    def first(self, images: torch.Tensor) -> tuple:
        """Pictures -> the map, objectness (B, 1296), changes (B, 1296, 4)."""
        maps = self.backbone(images)["0"]                       # (B, C, 12, 12)
        (objectness_map,), (delta_map,) = self.rpn["head"]([maps])
        return maps, *in_rows(objectness_map, delta_map)

    def second(self, maps: torch.Tensor, regions: list) -> tuple:
        """The map and R regions -> class scores (R, 6), four numbers for each class (R, 24)."""
        small = roi_pool(maps, regions, 5, 1 / 8)               # (R, C, 5, 5)
        return self.roi_heads["box_predictor"](self.roi_heads["box_head"](small))

# %%
def proposals_of(objectness: torch.Tensor, deltas: torch.Tensor) -> list[torch.Tensor]:
    """For each picture its best 100 proposals (P, 4)."""
    return [filter_proposals(decode_boxes(moves, anchors), sure, (96, 96), 300, 100, 0.7)
            for sure, moves in zip(objectness.detach(), deltas.detach())]

# %% [markdown]
# To learn, the second stage needs what lesson 07 gave it: regions that are drawn from the proposals, their classes and their four numbers.
# Your `match_anchors` works for regions too, with 0.5 for both thresholds.
# (Its last rule changes nothing here.
# The true boxes join the proposals, so that there is something to learn from at the first step; and the best region of each object is then its own box.)
# `fastrcnn_loss` is your `two_task_loss` of lesson 07, for several pictures.
#
# The four numbers of the second stage are learned 10, 10, 5 and 5 times as large as those of the first.
# A proposal is off by little, so its numbers are small, and their loss would weigh little beside that of the classes.

# %%
tenfold = BoxCoder((10.0, 10.0, 5.0, 5.0))


def regions_to_learn(proposals: torch.Tensor, target: dict) -> tuple:
    """Of one picture: 32 regions (R, 4), their classes (R,) and their four numbers (R, 4)."""
    boxes = torch.cat([proposals, target["boxes"]])
    matches = draw(match_anchors(box_iou(target["boxes"], boxes), 0.5, 0.5), 32, 0.25)
    boxes, matches = boxes[matches != -2], matches[matches != -2]
    nearest = matches.clamp(min=0)
    labels = torch.where(matches >= 0, target["labels"][nearest], 0)
    return boxes, labels, tenfold.encode_single(target["boxes"][nearest], boxes)

# %%
def detector_loss(model: nn.Module, batch: tuple) -> dict[str, torch.Tensor]:
    images, targets = batch
    maps, objectness, deltas = model.first(images)
    judged, moved = first_loss(objectness, deltas, targets)
    drawn = map(regions_to_learn, proposals_of(objectness, deltas), targets)
    regions, labels, goals = map(list, zip(*drawn))
    named, placed = fastrcnn_loss(*model.second(maps, regions), labels, goals)
    return {"objectness": judged, "anchors moved": moved, "classes": named, "regions moved": placed}

# %% [markdown]
# And to detect: the same proposals, each judged by the second stage and moved once more.
# Each region has four numbers for *each class*.
# Divide them by 10, 10, 5 and 5, and it is your `decode_boxes` again.

# %%
@torch.no_grad()
def detect(model: nn.Module, images: torch.Tensor) -> list[dict[str, torch.Tensor]]:
    maps, objectness, deltas = model.first(images)
    proposals = proposals_of(objectness, deltas)
    scores, deltas = model.second(maps, proposals)
    counts = [len(boxes) for boxes in proposals]
    return [choose(*parts)
            for parts in zip(proposals, scores.split(counts), deltas.split(counts))]

# %%
def choose(proposals, scores, deltas) -> dict[str, torch.Tensor]:
    """Of one picture: proposals (P, 4), scores (P, 6) and changes (P, 24) -> detections."""
    deltas = deltas.reshape(-1, 4) / deltas.new_tensor([10, 10, 5, 5])      # (P · 6, 4)
    boxes = decode_boxes(deltas, proposals.repeat_interleave(6, dim=0))     # (P · 6, 4)
    boxes = clip_boxes_to_image(boxes, (96, 96)).view(-1, 6, 4)
    likely = scores.softmax(dim=1)                                          # (P, 6)
    likely[:, 0] = 0                                                        # background is no find
    place, label = (likely > 0.05).nonzero(as_tuple=True)
    boxes, likely = boxes[place, label], likely[place, label]
    keep = batched_nms(boxes, likely, label, 0.3)[:100]                     # class by class
    return {"boxes": boxes[keep], "scores": likely[keep], "labels": label[keep]}

# %% [markdown]
# Does it work?
# Before a detector gets two thousand pictures, give it eight, again and again.
# It must learn them by heart (*over-fit* them).
# If it cannot, something is wrong in a loss, an order or a box, and no amount of data will mend it.
# This is the cheapest test of a detector that there is.

# %%
torch.manual_seed(0)
own = Detector(width=16).to(device)
eight = Batches(train_scenes[0][:8], train_scenes[1][:8], batch_size=8)


def by_heart(model: nn.Module) -> dict[str, float]:
    measured = evaluate_detection(model, eight, lambda model, images, _: detect(model, images))
    return {name: float(measured[name]) for name in ("AP50", "AP75")}


history = fit(own, eight, detector_loss, steps=200, learning_rate=5e-3, title="eight scenes",
              validate=by_heart, validations=4)
history

# %% [markdown]
# Four of the eight, and the scores on the way:

# %%
for step, ap50, ap75 in zip(history.metric_steps, history.metrics["AP50"], history.metrics["AP75"]):
    print(f"step {step:>3}: AP50 ≈ {ap50:.2f}, AP75 ≈ {ap75:.2f} on the eight pictures")
four = [0, 2, 4, 6]
known = train_scenes[0][four].to(device).float() / 255          # (4, 3, 96, 96)
draw_detections(known.cpu(), {f"scene {number}, known by heart": answer for number, answer
                              in zip(four, detect(own, known))}, min_score=0.5, size=2.35)
plt.show()
assert history.metrics["AP50"][-1] > 0.9

# %% [markdown]
# Every step of it, from the anchors to the last suppression, runs through your functions.
# Of course it knows these eight pictures and no others.
#
# Now the same with much more to learn from: 2,000 pictures, 2,000 steps of 8 pictures each.
# That takes minutes, so the weights are in a file.
# The names of the layers agree, so they can be loaded into your detector, strictly: no name and no shape may differ.

# %%
print(f"trained: {made['steps']:,} steps of {made['batch']} pictures,",
      f"{made['parameters']:,} weights")
own = Detector(width=24).to(device).eval()
own.load_state_dict(net.state_dict())
mine, theirs = detect(own, val_images[:50]), net(val_images[:50])
for ours, lib in zip(mine, theirs):
    assert torch.equal(ours["labels"], lib["labels"])
    assert torch.allclose(ours["boxes"], lib["boxes"], atol=1e-3)
    assert torch.allclose(ours["scores"], lib["scores"], atol=1e-4)
print("50 new pictures: the same boxes, scores and classes as lib.models.faster_rcnn")

# %% [markdown]
# And this is how your detector does on four of them; below, the truth.
# What does it miss, and what does it take for something else?

# %%
four = [3, 41, 60, 177]
shown = {f"scene {number}": answer for number, answer in zip(four, detect(own, val_images[four]))}
shown |= {f"scene {number}: truth": val_targets[number] for number in four}
draw_detections(torch.cat([val_images[four].cpu()] * 2), shown, min_score=0.5, size=2.35)
plt.show()

# %% [markdown]
# It misses the small cone in scene 41, and in scene 177 it calls the half hidden crate a cone.
# The figure in scene 3 stretches both arms out of its box.
#
# ## 8. Searched or learned?
#
# How many proposals does it take to find an object?
# Recall against number, on 60 scenes that nobody learned from.
# The network's duplicates are suppressed at 0.7, as in the paper, and once more at 0.5:
# if an overlap of a half is enough, two boxes that overlap by more are one too many.
#
# **Predict.**
# Five learned boxes find a certain share of all objects.
# How many searched ones find as many: ten, twenty, fifty?

# %% jupyter={"outputs_hidden": true}
looker = FirstStage().to(device).eval()                         # your first stage ...
looker.backbone, looker.head = net.backbone, net.rpn.head       # ... with the trained weights
found_by = {"learned, duplicates from 0.7": propose(looker, some_images, 100),
            "learned, duplicates from 0.5": propose(looker, some_images, 100, threshold=0.5),
            "searched": [selective_search_small(image.cpu()) for image in some_images]}
curves = {name: [recall(boxes, some_targets, count) for count in numbers]
          for name, boxes in found_by.items()}
figure = draw_recall_curve({name: (numbers, shares) for name, shares in curves.items()})
figure.axes[0].set_title("60 new scenes: which share of the objects is found", fontsize=10)
plt.show()

# %% jupyter={"outputs_hidden": true}
print(" " * 29, "5 boxes  10     50     100    100 at IoU 0.9")
for name, boxes in found_by.items():
    asked = ((5, 0.5), (10, 0.5), (50, 0.5), (100, 0.5), (100, 0.9))
    shares = [recall(boxes, some_targets, count, overlap) for count, overlap in asked]
    print(f"{name:<29}", "  ".join(f"≈ {share:4.0%}" for share in shares))
assert (recall(found_by["learned, duplicates from 0.5"], some_targets, 5)
        > recall(found_by["searched"], some_targets, 50) - 0.03)

# %% [markdown]
# Five learned boxes do the work of about fifty searched ones: a tenth as many.
# Was it luck?
# The detector was trained three times, from three seeds, and measured on all 200 validation scenes:

# %%
by_search = made["recall of selective search"]
by_seed = [run["recall, doubles from 0.5"] for run in made["runs"]]
for count in ("5", "10", "100"):
    print(f"{count:>3} learned: ", ", ".join(f"{shares[count]:.1%}" for shares in by_seed))
for count in ("50", "100"):
    print(f"{count:>3} searched: {by_search[count]:.1%}")
assert min(shares["5"] for shares in by_seed) > by_search["50"] - 0.03

# %% [markdown]
# Read the other end too.
# With a hundred boxes, selective search has nearly caught up.
# And where an overlap of 0.9 is asked, its boxes are *far better*: in toyworld a thing ends where its colour ends, and a searched box ends there to the pixel.
# The first stage has cells of 8 × 8 pixels.
# It says where to look, roughly, and the second stage moves every box once more.
# Keep this in mind for section 11.

# %% [markdown]
# ## 9. Look inside
#
# Click through the first stage.
# At its end, in `chance`, are nine channels for the nine anchors: 0 to 2 the wide ones, 3 to 5 the square, 6 to 8 the tall, each small to large.
# The sigmoid has made chances of the logits.
# Colours run from a channel's lowest chance to its highest; in the live explorer both stand under the picture.
#
# 1. Which channels like the figure, which the crate in front?
# 2. In one channel even the highest chance is a *no*.
#    Which anchor is it, and why?
# 3. How much of the picture does one cell see?
#    Is that more than its anchors cover?

# %%
class Chances(nn.Module):
    """The first stage, and at its end the objectness as chances."""

    def __init__(self, first_stage: nn.Module):
        super().__init__()
        self.first_stage, self.chance = first_stage, nn.Sigmoid()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.chance(self.first_stage(images)[0])         # (B, 9, h, w)


explorer = explore(Chances(looker), picture)
explorer.layer, explorer.channel = "chance", 4                  # the square one of middle size
explorer

# %% [markdown]
# <details><summary>What there is to see</summary>
#
# 1. The figure (18 × 22 pixels, the arm included): 3, 4, 6 and 7 most of all, the small and middle anchors that are square or tall; the large ones say no.
#    The crate (24 × 27): 1, 4, 5, 7 and 8, the middle and large ones; the small ones say no.
#    So 3 and 6 tell the figure from the crate, by its size.
# 2. Channel 2, the anchor of 48 × 24 pixels, with 0.10 at most: nothing in this scene is so wide and so low.
# 3. 86 × 86 pixels, more than any anchor here, which are 48 pixels long at most.
#    It need not be so.
#    In the paper a cell of VGG's map sees 228 pixels, and the largest anchors are more than 700 long.
#    Such a box is extrapolated from a part: who sees a chest and shoulders knows about where the feet must be.
# </details>
#
# How sure is each cell that one of its wide, square or tall anchors sits on a thing?
# Each cell is drawn over the 8 × 8 pixels that it covers, and its anchors stand at its left upper corner.
# So the bright cells lie about half a cell to the right of the things' middles, and below them.

# %%
by_shape = sure.unflatten(0, (3, 3)).amax(dim=1)                # (shapes, 12, 12)
draw_sure(dict(zip(("wide", "square", "tall"), by_shape)))

# %% [markdown]
# The first stage knows no classes.
# But it knows shapes, and shapes go with classes.
# **Predict.**
# Which class will mostly be found by tall anchors?
# By wide ones?
#
# For each object of the 200 scenes that some box ends up on: which shape is the surest of those anchors?

# %% jupyter={"outputs_hidden": true}
shape_of = torch.arange(1296) // 3 % 3                          # 0 wide, 1 square, 2 tall
votes = torch.zeros(6, 3)
with torch.no_grad():
    answers = in_rows(*looker(val_images))
for logits, moves, target in zip(*(part.cpu() for part in answers), val_targets):
    overlap = box_iou(target["boxes"], decode_boxes(moves, anchors.cpu()))      # (N, 1296)
    surest = logits.expand_as(overlap).masked_fill(overlap < 0.5, -torch.inf)
    for label, row in zip(target["labels"], surest):
        if row.isfinite().any():                                # some box found it
            votes[label, shape_of[row.argmax()]] += 1
print("surest anchor:     wide  square  tall")
shares = votes / votes.sum(dim=1, keepdim=True)                 # (6, 3)
for name, (wide, square, tall) in zip(CLASSES, shares[1:].tolist()):
    print(f"{name:<16} ≈ {wide:5.0%}  ≈ {square:4.0%}  ≈ {tall:4.0%}")
assert shares[CLASSES.index("figure") + 1, 2] > shares[CLASSES.index("sphere") + 1, 2] + 0.2

# %% [markdown]
# Tall anchors are for figures.
# The wide ones are hardly ever the surest: little in toyworld is twice as wide as it is high.
#
# ## 10. Break it
#
# **Leave out the last rule of matching.**
# What would the network never have been told?

# %%
all_boxes = torch.cat([target["boxes"] for target in val_targets])      # (N, 4) of 200 scenes
best = box_iou(all_boxes, anchors.cpu()).amax(dim=1)                    # (N,)
small = box_area(all_boxes) < 16 ** 2
for name, has_positive in (("with the rule", best > 0), ("without it", best >= 0.7)):
    share_small, share_large = (has_positive[some].float().mean() for some in (small, ~small))
    print(f"{name:<14} a positive anchor for {share_small:4.0%} of the small objects,",
          f"{share_large:4.0%} of the large ones")
assert (best > 0).all() and (best >= 0.7).float().mean() < 0.5

# %% [markdown]
# Most objects would have no positive anchor, and the anchors nearest to them would be ignored or even background.
#
# **Give it fewer anchors to start from.**
# How well does the best anchor of an object fit, before anything is learned?

# %%
sets = {"1 size, 1 shape": (8, sizes[1:2], (1.0,)), "3 sizes, 1 shape": (8, sizes, (1.0,)),
        "3 sizes, 3 shapes": (8, sizes, ratios), "the same, stride 4": (4, sizes, ratios),
        "the same, stride 16": (16, sizes, ratios)}
reach = {}
for name, (stride, some_sizes, some_ratios) in sets.items():
    trial = make_anchors(96 // stride, 96 // stride, stride, some_sizes, some_ratios)
    best = box_iou(all_boxes, trial).amax(dim=1)
    reach[name] = (best >= 0.5).float().mean()
    print(f"{name:<19} {len(trial):>5,} anchors, mean of the best IoUs {best.mean():.2f},",
          f"0.5 or more for {reach[name]:4.0%}")
assert reach["1 size, 1 shape"] < reach["3 sizes, 1 shape"] < reach["3 sizes, 3 shapes"]

# %% [markdown]
# Sizes bring most (49 to 83 %), shapes little (87 %), a finer grid more (96 %).
#
# **Push the picture.**
# Every cell asks the same questions with the same weights.
# So a thing that is moved in the picture should get the same box, moved.
# The paper calls this *translation invariance*.
# Earlier learned proposals (MultiBox) did not have it: their 800 anchors belonged to fixed places in the picture.
#
# **Predict.**
# Push the pictures 8 pixels to the right.
# Do the proposals follow?
# And with 4 pixels?

# %% jupyter={"outputs_hidden": true}
def push(images: torch.Tensor, pixels: int) -> torch.Tensor:
    """The pictures moved to the right; the gap is filled with the first column."""
    return torch.cat([images[..., :1].expand(-1, -1, -1, pixels), images[..., :-pixels]], dim=3)


still, follows = propose(looker, some_images, 5), {}
for pixels in (8, 4):
    moved = [boxes + torch.tensor([pixels, 0, pixels, 0]) for boxes in still]       # (5, 4) each
    inside = [boxes[boxes[:, 2] < 92] for boxes in moved]       # still within the picture
    after = propose(looker, push(some_images, pixels), 30)
    follows[pixels] = torch.cat([box_iou(boxes, others).amax(dim=1)
                                 for boxes, others in zip(inside, after)]).mean()
    print(f"pushed by {pixels} pixels: the proposals are where they should be with a mean IoU of",
          f"≈ {follows[pixels]:.2f}")
assert follows[8] > follows[4] + 0.1

# %% [markdown]
# By a whole stride they follow; by half a stride they do so roughly.
# The invariance holds from cell to cell and no finer, because a stride skips pixels.
#
# **Move the anchors.**
# Here the two conventions of section 2 meet.
# A network has learned with torchvision's anchors, at the corners of the cells.
# Its weights are loaded into a program that puts anchors in the middle of the cells, 4 pixels further right and down, as the authors' code does.
# **Predict:** how much will be lost?
# And what if the anchors are right, but we ignore the four numbers and take the surest anchors as they are?

# %% jupyter={"outputs_hidden": true}
class NoMoves(nn.Module):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        objectness_map, delta_map = looker(images)
        return objectness_map, torch.zeros_like(delta_map)


trials = {"as it learned": propose(looker, val_images, 30),
          "anchors 4 pixels off": propose(looker, val_images, 30, anchors + 4),
          "anchors as they are": propose(NoMoves(), val_images, 30)}
result = {name: [recall(proposals, val_targets, 30, overlap) for overlap in (0.5, 0.7)]
          for name, proposals in trials.items()}
for name, (half, most) in result.items():
    print(f"{name:<21} recall of 30: ≈ {half:.0%} at IoU 0.5, ≈ {most:.0%} at IoU 0.7")
assert result["as it learned"][1] > result["anchors 4 pixels off"][1] + 0.2
assert result["as it learned"][1] > result["anchors as they are"][1] + 0.2

# %% [markdown]
# The answers of a network have no meaning without its anchors.
# Half a stride seems little, but it is about half the width of the narrowest cone.
# So weights of the authors' code cannot be used with torchvision's anchors, and no error would tell, even if somebody had converted every name and shape.
# And the four numbers are not a finishing touch: most of the exactness is in them.

# %% [markdown]
# ## 11. The family
#
# R-CNN, Fast R-CNN and Faster R-CNN, side by side: time for one picture, all stages together, and AP on the 200 validation scenes.
# The stages of the last two were measured at the top of the page and in section 1; R-CNN's follow now,
# all but selective search, which it shares with Fast R-CNN.

# %% jupyter={"source_hidden": true}
import json
from functools import partial

from lib.models.rcnn import RCNN
from lib.pretrained import efficientnet_lite0, halfway_features

network = efficientnet_lite0().to(device).requires_grad_(False)
rcnn = RCNN(partial(halfway_features, network), 448, num_classes=6, context=5).to(device)
of_rcnn = load_checkpoint(rcnn, folder / "06_rcnn.safetensors")          # its runs

# %% jupyter={"source_hidden": true}
plans = {"R-CNN": rcnn_plan(rcnn, picture, time_rcnn(rcnn, picture, search_ms)),
         "Fast R-CNN": fast_plan, "Faster R-CNN": plan}
seconds = {name: drawn.milliseconds / 1000 for name, drawn in plans.items()}     # all stages


def runs_of(name: str) -> dict:
    return json.loads((folder / f"{name}.json").read_text())


validated = {"R-CNN": [run["whole"] for run in of_rcnn["val"]],
             "Fast R-CNN": [run["val"] for run in runs_of("07_fast_rcnn")["runs"]["end to end"]],
             "Faster R-CNN": [run["val"] for run in runs_of("08_faster_rcnn")["runs"]]}
mean = {name: {which: sum(run[which] for run in runs) / len(runs) for which in ("AP", "AP50")}
        for name, runs in validated.items()}                    # over the seeds

# %%
figure = draw_speed_accuracy({name: (seconds[name], mean[name]["AP"]) for name in seconds})
figure.axes[0].set_title("AP on 200 scenes, and the time for one picture", fontsize=10)
plt.show()
for name, runs in validated.items():
    each = ", ".join(f"{run['AP']:.3f}" for run in runs)
    print(f"{name:<13} ≈ {human_time(seconds[name])} a picture,",
          f"AP {mean[name]['AP']:.3f} ({each}), AP50 {mean[name]['AP50']:.3f}")

# %% [markdown]
# Each step of the family moved work from *for each region* to *once for the picture*: first the features, then the proposals.
# That is what the seconds say.
# But here the fastest has the lowest AP; in the papers it had the highest!
# Why?
#
# The two detectors without ImageNet differ in their proposals, and in how many losses the backbone learns from.
# So exchange them: let each second stage judge the other's proposals.

# %% jupyter={"source_hidden": true}
with_both = [dict(target, searched=searched, learned=learned) for target, searched, learned in
             zip(some_targets, found_by["searched"], found_by["learned, duplicates from 0.7"])]
some_batches = Batches(some_images.cpu(), with_both)


def exchange(model: nn.Module, which: str) -> dict:
    def judge(model, images, targets):
        proposals = [target[which][:100] for target in targets]
        return model.roi_heads(model.backbone(images), proposals, [(96, 96)] * len(images))
    return evaluate_detection(model, some_batches, judge)

# %%
table = {(name, which): exchange(model, which) for name, model in (("Fast", fast), ("Faster", net))
         for which in ("searched", "learned")}
for (name, which), result in table.items():
    print(f"{name:<6} R-CNN's second stage, {which:<8} boxes: AP {result['AP']:.2f},",
          f"AP50 {result['AP50']:.2f}, AP75 {result['AP75']:.2f}")
assert table["Fast", "searched"]["AP75"] > table["Fast", "learned"]["AP75"]
assert table["Faster", "searched"]["AP75"] > table["Faster", "learned"]["AP75"]

# %% [markdown]
# AP50 changes little, up for one and down for the other: both kinds of boxes find the things.
# AP75 falls with learned boxes: searched ones fit better, with either second stage.
# It is the table of section 8 again.
# In toyworld, where every thing but the figure has a colour of its own and a sharp edge, selective search is at its best.
# Photos are not like that: there a shirt ends in the middle of a person.
# On PASCAL VOC, learned proposals were better, with the same network behind them.
#
# Still, a rough proposal should do no harm, as the second stage moves it.
# Can it?
# **Predict:** what does a region's 5 × 5 map say about where exactly the region lies, if RoI pooling has rounded it to cells of 8 × 8 pixels?
# Lesson 07 drew it.
# A pooling that does not round, *RoIAlign*, comes in lesson 12.
# The same detector was trained with it, too, as often and as long:

# %% jupyter={"outputs_hidden": true}
aligned = [run["val"]["AP"] for run in runs_of("08_faster_rcnn")["runs with RoIAlign"]]
each = ", ".join(f"{ap:.3f}" for ap in aligned)
print(f"Faster R-CNN with RoIAlign: AP {sum(aligned) / len(aligned):.3f} ({each})")
assert min(aligned) > max(mean["Fast R-CNN"]["AP"], mean["Faster R-CNN"]["AP"])

# %% [markdown]
# Rounding costs this detector 0.17 AP.
# The proposals are good enough; the rounding hid from the second stage what it had to correct.
# It hurts searched boxes less, probably because there is little to correct in them (Fast R-CNN was not trained with RoIAlign to find out).
# In the paper's pictures, 600 pixels and more to a side, a thing covers many more cells, and rounding to one of them matters less.
#
# How fair is the race otherwise?
# Fast and Faster R-CNN share backbone, second stage, pictures and steps.
# R-CNN is a different animal: its network learned ImageNet, more than a million photos, and looks at each region with 64 × 64 pixels;
# SVMs and box regressions were trained on 300 scenes.
# The others began with random weights, and a region is 5 × 5 cells, cut from a map whose cells are 8 × 8 pixels.
# In the papers, all three had ImageNet's weights.
#
# ## 12. The full-size network
#
# What people use is `fasterrcnn_resnet50_fpn`: a ResNet-50 as backbone, five maps of different stride instead of one (lesson 11),
# with one size of anchor each, and RoIAlign.
# The stages, the rules and the names are those that you wrote, and `lib/models/faster_rcnn.py` has it.
# Offline we can still show that it is torchvision's: give both the same random weights, and compare.

# %%
from pathlib import Path

from torchvision.models import detection
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

from lib.datasets.photos import load_photo
from lib.models.faster_rcnn import fasterrcnn_resnet50_fpn

torch.manual_seed(0)
body = resnet_fpn_backbone(backbone_name="resnet50", weights=None,
                           norm_layer=partial(FrozenBatchNorm2d, eps=0.0))
theirs = detection.FasterRCNN(body, num_classes=91, min_size=224).eval()
ours = fasterrcnn_resnet50_fpn().eval()
ours.load_state_dict(theirs.state_dict())                       # strict: every name and every shape
ours.transform.min_size = 224                                   # to be quick; the usual size is 800

# %% [markdown]
# The names fit, and so do the shapes.
# Do the answers?

# %%
photo = load_photo("coffee")                                    # (3, 400, 600)
with torch.no_grad():
    (mine,), (other,) = ours([photo]), theirs([photo])
assert torch.equal(mine["labels"], other["labels"])
assert torch.allclose(mine["boxes"], other["boxes"], atol=1e-2)
print(f"{sum(tensor.numel() for tensor in ours.parameters()):,} weights,",
      f"{len(mine['boxes'])} detections, the same in both")
del theirs

# %% [markdown]
# Random weights find nonsense, but the same nonsense.
# If you are online, two lines load the weights that torchvision publishes, trained on COCO:
#
# ```python
# weights = detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1.get_state_dict(progress=True)     # 160 MB, once
# ours.load_state_dict(weights)
# ```
#
# The next cell never downloads anything.
# Where the weights are on your disk already, it draws what they find on a real photo.
# Where they are not, it prints one line, and you have missed nothing else: every other picture on this page is drawn offline, too.

# %% tags=["nbval-ignore-output"]
published = detection.FasterRCNN_ResNet50_FPN_Weights.COCO_V1
if (Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name).exists():
    ours.load_state_dict(published.get_state_dict(progress=False))
    ours.transform.min_size = 800
    with torch.no_grad():
        answer = ours([photo])[0]
    sure_ones = answer["scores"] > 0.6
    draw_boxes(photo, *(answer[name][sure_ones] for name in ("boxes", "labels", "scores")),
               names=published.meta["categories"],
               title="a real photo, with published weights", size=6)
    plt.show()
else:
    print("The published weights are not on this disk.",
          "Run the two lines above, then this cell again.")

# %% [markdown]
# ## 13. Recap
#
# The family at work, one under the other, on the same scene.
# Look for three things: how often the network runs, what the proposals cost, and how far back the losses reach.
# (All bars have one scale, so most of the third drawing's are too low to be seen.
# The numbers above them are those of sections 1 and 11.)

# %%
draw_family(list(plans.values()))
plt.show()

# %% [markdown]
# | | R-CNN | Fast R-CNN | Faster R-CNN |
# | --- | --- | --- | --- |
# | proposals | searched | searched | learned, from the map |
# | backbone runs | once for each region | once for each picture | once for each picture |
# | trained | in three separate parts | second stage and backbone together | everything together |
#
# **What the paper reported.**
# On PASCAL VOC 2007, with 300 proposals and VGG-16: mAP 69.9 % trained on VOC 2007, where selective search with 2,000 proposals had 66.9 %;
# 73.2 % with VOC 2012 added.
# Five pictures a second on a GPU, everything included: of the 198 milliseconds, the proposals took 10.
# Selective search took about 1.5 seconds.
# One size and one shape of anchor cost 3 to 4 points of mAP against three times three.
# Without the four numbers (anchors as they are), mAP with a smaller network fell from 56.8 % to 52.1 %.
#
# **What was simpler here.**
# Pictures of 96 × 96 and a backbone of six layers that nobody trained before.
# 64 anchors a picture instead of 256.
# Both losses are divided by the number of drawn anchors, as torchvision does it,
# while the paper divides the boxes' loss by the number of places and weighs it by 10.
# The paper leaves out anchors that cross the border of the picture while it trains; here they take part.
#
# **In papers and on GitHub.**
# The first stage is the *region proposal network* (RPN), the second the *RoI head*, and the network that makes the map the *backbone*.
# An anchor is also an *anchor box*, a *prior* or a *default box*.
# *Is it a thing?* is *objectness*; that it does not ask for the class is *class-agnostic*.
# The four numbers are *box deltas* or *box regression*; the true boxes are the *ground truth*.
# The rules of section 3 are a *matcher* or *assigner*, and the last of them is `allow_low_quality_matches`.
# Suppressing duplicates is NMS.
# All four losses at once is *approximate joint training*, or simply *end to end*.
#
# **Go on from here.**
# Tasks without a check:
#
# - Leave the last rule out of `match_anchors`, and train the first stage again for 300 steps.
#   Compare the recall among things smaller than 16 × 16 pixels, not only that of all.
#   By the table of section 10 most of them have no positive anchor then; some will be found all the same, because they look like things that have one.
# - In `Detector.second`, take `roi_align(maps, regions, 5, 1 / 8, 2, True)` from `torchvision.ops` instead of `roi_pool`,
#   and learn the eight pictures by heart again.
#   In runs of 250 steps, AP on the eight was 0.49 to 0.59 after 100 steps with rounding (three seeds), and 0.71 to 0.74 without (two);
#   at the end 0.76 to 0.90, and 0.93 to 0.96.
# - Load the published weights, and try the other photos of `lib/datasets/photos.py`.
#   For the rocket it has no right answer, since COCO has no such class; see what it says instead, and how sure it is.
#
# ### Three questions
#
# **1.**
# A map of 20 × 30 cells, nine anchors each.
# How many numbers does the layer for the changes give?
# (a) 36 (b) 5,400 (c) 21,600
#
# <details><summary>Answer</summary>
#
# **(c)** Four for each of 20 · 30 · 9 anchors.
# (a) are its *channels*; (b) is the number of anchors, and of objectness scores.
# </details>
#
# **2.**
# Somebody trains without the last rule of matching.
# Some objects are proposed well, others hardly ever.
# Which are the others?
# (a) those that overlap another one (b) those whose size, shape or place lies between the anchors (c) those at the border
#
# <details><summary>Answer</summary>
#
# **(b)** No anchor reaches 0.7 with them, so no anchor was ever told to find them.
# An object that overlaps others (a) can still have an anchor for itself, and so can one at the border (c), as anchors reach beyond it.
# </details>
#
# **3.**
# The first stage removes a box only if it overlaps a better one by more than 0.7.
# A colleague sets this to 0.3, "to get rid of duplicates early".
# What happens?
# (a) nothing, the second stage removes duplicates anyway (b) of two things that overlap, one may lose all its proposals (c) the first stage becomes slower
#
# <details><summary>Answer</summary>
#
# **(b)** The first stage knows no classes: a figure in front of a cylinder is one cloud of boxes to it.
# What it throws away, the second stage never sees.
# The second one suppresses class by class.
# </details>

# %%
progress("08")

# %% [markdown]
# **Next:** the first stage asks each cell *is there a thing, and where is its box?*
# Why not ask *which* thing at once, and leave out the second stage?
# Lesson 09: YOLO.
