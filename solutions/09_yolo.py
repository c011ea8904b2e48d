# %% [markdown]
# # 09 · YOLO: one look
#
# A film of sixteen frames.
# Each frame is handled on its own, by one pass of one small network: no proposals, no second stage.
# The boxes come straight out of its last layer.

# %%
import matplotlib.pyplot as plt
import torch

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import CLASSES, Toyworld, toyworld_clip
from lib.device import choose_device
from lib.models.faster_rcnn import faster_rcnn_small
from lib.models.yolo import yolo_v1_small
from lib.timing import human_time, milliseconds
from lib.training import load_checkpoint
from lib.viz.detection.film import film_detections

device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"
net, faster = yolo_v1_small().to(device), faster_rcnn_small().to(device)
made = load_checkpoint(net, folder / "09_yolo_v1.safetensors")
load_checkpoint(faster, folder / "08_faster_rcnn.safetensors")
net, faster = (model.eval().requires_grad_(False) for model in (net, faster))

# %% tags=["nbval-ignore-output"]
clip = toyworld_clip(2, "val", length=16)
frames = torch.stack([frame.image for frame in clip.frames]).to(device)     # (16, 3, 96, 96)
film_detections(frames.cpu(), [net(frame[None])[0] for frame in frames], min_score=0.3)

# %%
ms = {name: milliseconds(lambda: model(frames[:1])) for name, model in (("YOLO", net), ("Faster R-CNN", faster))}
for name, time in ms.items():
    print(f"{name:<12} ≈ {human_time(time / 1000)} a frame, ≈ {1000 / time:.0f} frames a second")
assert ms["YOLO"] < ms["Faster R-CNN"]

# %% [markdown]
# **You will be able to**
#
# - say which cell answers for a thing, and read the block of numbers that a one-stage detector gives;
# - write its loss, and say which of its numbers learn from a picture and which do not;
# - find anchors in the data, by k-means;
# - turn the raw numbers of the newer YOLO into detections;
# - say what one look costs: in AP, and where.
#
# | | |
# | --- | --- |
# | Time | 110 minutes to read and do, about 45 seconds of computing on two cores |
# | Builds on | lesson 05 (IoU, NMS, AP), 08 (anchors, who is responsible for what) |
# | Papers | Redmon, Divvala, Girshick & Farhadi 2016, *You Only Look Once*; Redmon & Farhadi 2017, *YOLO9000: Better, Faster, Stronger* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.

# %%
import torch.nn.functional as F
from torch import nn
from torchvision.ops import batched_nms, clip_boxes_to_image

from lib.exercises import check, hint, progress, solution, use
from lib.layers.small_backbone import SmallBackbone
from lib.models.yolo import YOLOv1, cells_of, yolo_v2_small
from lib.ops.anchors import kmeans_anchors, size_iou
from lib.ops.boxes import box_iou
from lib.training import Batches, evaluate_detection, fit, toyworld_detection
from lib.viz import explore
from lib.viz.detection.curves import draw_speed_accuracy
from lib.viz.detection.detections import draw_boxes, draw_detections
from lib.viz.detection.grid import draw_cells, draw_learning, draw_pair, draw_sizes
from lib.viz.detection.grid_explorer import explore_grid
from lib.viz.diagrams.yolo_plan import draw_yolo

# %% [markdown]
# **The whole, before its parts.**
# Compare it with the drawings of lessons 06 to 08: after the backbone there is one layer, and then only arithmetic.

# %%
val_world = Toyworld("val", length=200)
scene = val_world[185]
picture = scene.image.to(device)                                # (3, 96, 96)
draw_yolo(net, picture)
plt.show()

# %% [markdown]
# ## 1. The cells
#
# The first stage of lesson 08 asked each cell *is there a thing, and where is its box?*
# A second stage then asked which thing it is.
# YOLO asks each cell everything at once.
#
# For that, it must be clear which cell has to answer for a thing.
# The rule: **the cell in which the middle of the thing's box lies**.
# One thing, one cell.
#
# **Predict.**
# The scene is cut into 12 × 12 cells of 8 × 8 pixels.
# In which row and column is the cell that answers for the figure?
# For the red cone?

# %%
draw_cells(scene.image, scene.boxes, scene.labels, owned=False, size=3.6)
plt.show()

# %% jupyter={"outputs_hidden": true}
rows, columns = cells_of(scene.boxes, 8, (12, 12))
for label, row, column in zip(scene.labels, rows, columns):
    print(f"{CLASSES[label - 1]:<9} row {row}, column {column}")
draw_cells(scene.image, scene.boxes, scene.labels, size=3.6)
plt.show()

# %% [markdown]
# What does a cell say?
# For each of B boxes five numbers: x and y of the middle, √w and √h of its sides, and a confidence.
# And C numbers for the classes, which all its boxes share.
# That makes a block of S × S × (B · 5 + C) numbers: the whole output of the network.
#
# 1. The paper has S = 7, B = 2, C = 20.
#    How many numbers?
# 2. How many boxes can it say at most?
#    And how many things of different classes in one cell?
# 3. Push S from 12 to 3: when do two things of this scene share a cell?

# %%
explore_grid(scene.image, scene.boxes, scene.labels, row=8, column=3)

# %% [markdown]
# <details><summary>What there is to see</summary>
#
# 1. 7 · 7 · 30 = 1,470.
# 2. 7 · 7 · 2 = 98 boxes.
#    One class for each cell: two boxes of a cell can only be two things of the same class.
# 3. At S = 3: the orange cylinder and the cone.
#    (The switch *2017* is for section 7.)
# </details>
#
# x and y run from 0 to 1 **in the cell**: (0, 0) is its left upper corner.
# w and h are shares of the **whole picture**, since a thing is often larger than a cell; why there are roots, section 2 says.
#
# ### Exercise 1 · `grid_targets`
#
# *15 minutes · ★★☆*
#
# What the cells should say.
#
# - `boxes`: (n, 4) xyxy in pixels; n may be 0.
#   `size`: (height, width) of the picture, multiples of `stride`.
#   `stride`: the side of a cell in pixels.
# - Returns two tensors, on the device of `boxes`.
#   *Owners*, (rows, columns) int64: for each cell the number of the box whose middle lies in it, −1 if there is none.
#   Of several boxes in one cell, the **first** in the list.
# - *Targets*, (rows, columns, 4) float32: x, y, √(w / width), √(h / height) of that box; zeros where there is none.
# - A middle exactly between two cells belongs to the right or lower one; on the right or bottom edge of the picture, to the last cell.
#   Middles beyond the picture do not occur.

# %% tags=["exercise"]
def grid_targets(boxes: torch.Tensor, size: tuple[int, int], stride: int) -> tuple:
    ### BEGIN SOLUTION
    rows, columns = size[0] // stride, size[1] // stride
    owners = boxes.new_full((rows, columns), -1, dtype=torch.int64)
    targets = boxes.new_zeros(rows, columns, 4)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2 / stride        # (n, 2) x, y, counted in cells
    shares = (boxes[:, 2:] - boxes[:, :2]) / boxes.new_tensor([size[1], size[0]])       # (n, 2)
    for number in reversed(range(len(boxes))):                  # so that the first has the last word
        x, y = middles[number]
        column, row = min(int(x), columns - 1), min(int(y), rows - 1)
        owners[row, column] = number
        targets[row, column, :2] = torch.stack([x - column, y - row])
        targets[row, column, 2:] = shares[number].sqrt()
    return owners, targets
    ### END SOLUTION

# %%
check(grid_targets)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# A loop over the boxes is fine.
# Count the middle in cells: its whole part is the cell, the rest is x or y.
# </details>
# <details><summary>Hint: my things lie mirrored at the diagonal</summary>
#
# x chooses the column, y the row, and a tensor wants the row first.
# </details>
# <details><summary>Hint: the wrong one of two boxes in one cell</summary>
#
# Who writes last stays.
# In which order must the boxes be written so that the first one stays?
# </details>

# %%
grid_targets = use(grid_targets)

# %%
owners, targets = grid_targets(scene.boxes, (96, 96), 8)
print(f"{(owners >= 0).sum()} of {owners.numel()} cells have something to say")
print("the crate's cell:", *(f"{number:.2f}" for number in targets[rows[1], columns[1]]))

# %% [markdown]
# ## 2. Back from the grid to pixels
#
# The way back: four numbers of a cell into a box in pixels.
#
# ### Exercise 2 · `decode_grid`
#
# *8 minutes · ★★☆*
#
# - `answers`: (rows, columns, B, 4): x, y, √w, √h of B boxes for each cell.
#   The picture has rows · `stride` × columns · `stride` pixels.
# - Returns (rows, columns, B, 4): the same boxes, xyxy in pixels.
# - A network may say anything: x = 1.3 lies in the next cell, and a root may be negative.
#   Take both as they are; a negative root is squared like any other.

# %% tags=["exercise"]
def decode_grid(answers: torch.Tensor, stride: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    rows, columns = answers.shape[:2]
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    corners = torch.stack([x, y], dim=2)[:, :, None].to(answers)        # (rows, columns, 1, 2) in cells
    middles = (corners + answers[..., :2]) * stride             # (rows, columns, B, 2) pixels
    picture = answers.new_tensor([columns, rows]) * stride      # (2,) width, height
    sides = answers[..., 2:].square() * picture                 # (rows, columns, B, 2) pixels
    return torch.cat([middles - sides / 2, middles + sides / 2], dim=-1)
    ### END SOLUTION

# %%
check(decode_grid)

# %% [markdown]
# <details><summary>Hint: all boxes lie in the left upper corner</summary>
#
# x and y count from the corner of the *own* cell.
# `torch.meshgrid` of rows and columns gives each cell its corner, as in `make_anchors`.
# </details>
# <details><summary>Hint: width and height come out wrong</summary>
#
# The share is the square of the root, and a share of what?
# In a wide picture, width and height differ.
# </details>

# %%
decode_grid = use(decode_grid)

# %%
back = decode_grid(targets[:, :, None], 8)[owners >= 0][:, 0]   # (5, 4)
error = (back - scene.boxes[owners[owners >= 0]]).abs().max()
assert error < 1e-3
print("the round trip is exact to 0.001 pixels")

# %% [markdown]
# Why roots?
# A box that is 2 pixels too wide is a good box for a large thing, and a poor one for a small one.
# **Predict.**
# How many times larger is the squared error of such a box at 8 pixels than at 96: for w, and for √w?

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
widths = torch.linspace(8, 96, 45)                              # pixels
wrong = widths + 2
errors = {"w: squared error": (wrong / 96 - widths / 96).square(),
          "√w: squared error": ((wrong / 96).sqrt() - (widths / 96).sqrt()).square(),
          "what is lost of the IoU": 1 - widths / wrong}
figure, axis = plt.subplots(figsize=(5.6, 2.8), layout="constrained")
for (name, error), style in zip(errors.items(), ("--", "-", ":")):
    axis.plot(widths, error / error.max(), style, label=name)
axis.set(xlabel="true width, pixels; the box is 2 pixels wider", ylabel="error, as a share of its largest")
axis.legend(fontsize=9)
plt.show()
for name, error in errors.items():
    print(f"{name:<24} at 8 pixels {error[0] / error[-1]:.1f} times what it is at 96")

# %% [markdown]
# The error of w is the same for all.
# With roots, the same two pixels weigh more on a small box, nearly as IoU weighs them.
#
# ## 3. Who is responsible?
#
# A cell says B = 2 boxes.
# Which of them should learn to be the thing's box?
# In lesson 08 each box had its anchor, and the anchor decided.
# Here nothing tells the two apart, so the network's own answer decides:
# **the box that overlaps the thing most at this moment** is *responsible*.
# It learns the place; the other one learns that nothing is there.
# The authors hoped that the two boxes would thus become specialists: one for wide things, say, and one for tall.
#
# ### Exercise 3 · `responsible_boxes`
#
# *8 minutes · ★★☆*
#
# - `boxes`: (M, B, 4) xyxy, the B boxes of M cells; M may be 0.
#   `truth`: (M, 4), the true box of each of these cells, never empty.
#   A box may be empty, or lie elsewhere.
# - Returns two tensors: for each cell the number of the box with the largest IoU, 0 to B − 1, (M,) int64;
#   of equal ones the first.
#   And that IoU, (M,) float32.

# %% tags=["exercise"]
def responsible_boxes(boxes: torch.Tensor, truth: torch.Tensor) -> tuple:
    ### BEGIN SOLUTION
    truth = truth[:, None]                                      # (M, 1, 4)
    corner, end = torch.maximum(boxes[..., :2], truth[..., :2]), torch.minimum(boxes[..., 2:], truth[..., 2:])
    shared = (end - corner).clamp(min=0).prod(dim=2)            # (M, B)
    area, true_area = (some[..., 2:].sub(some[..., :2]).prod(dim=2) for some in (boxes, truth))
    iou = shared / (area + true_area - shared)                  # (M, B)
    return iou.argmax(dim=1), iou.amax(dim=1)
    ### END SOLUTION

# %%
check(responsible_boxes)

# %% [markdown]
# <details><summary>Hint: why not box_iou?</summary>
#
# `box_iou` compares all with all.
# Here the boxes of row i meet the truth of row i alone.
# `truth[:, None]` has the shape (M, 1, 4), which fits beside (M, B, 4).
# </details>
# <details><summary>Hint: an overlap of boxes that do not touch</summary>
#
# Then the shared width or height comes out negative, and two negative sides make a positive area.
# </details>

# %%
responsible_boxes = use(responsible_boxes)

# %% [markdown]
# ## 4. The loss
#
# Everything is a squared error, summed over a picture.
# With the weights of the paper:
#
# | | which numbers | should be | weight |
# | --- | --- | --- | --- |
# | place | x, y of the responsible box | those of `grid_targets` | 5 |
# | size | √w, √h of the responsible box | those of `grid_targets` | 5 |
# | object | confidence of the responsible box | its IoU with the thing | 1 |
# | nothing | confidence of **all other** boxes | 0 | 0.5 |
# | class | the C class numbers of a cell with a thing | 1 for its class, 0 for the others | 1 |
#
# So the confidence learns to say: *how well does this box fit?*
# And *nothing* has half a weight, because nearly all boxes hear it.
#
# **Predict.**
# Our scene has five things; each cell says 2 · 5 + 5 = 15 numbers.
# Which numbers of which cells get no gradient at all, neither up nor down?
#
# ### Exercise 4 · `yolo_loss`
#
# *15 minutes · ★★★*
#
# - `answers`: (S, S', B, 5): x, y, √w, √h, confidence.
#   `classes`: (S, S', C).
#   Both raw, of one picture.
# - `boxes`: (n, 4) xyxy; n may be 0.
#   `labels`: (n,) int64, 1 to C.
#   `stride`: the side of a cell in pixels.
# - Returns (5,): place, size, object, nothing, class, each a sum over the picture, with its weight.
# - The IoU is a goal, not something to be learned: **no gradient** runs through it.
# - Where two things share a cell, the owner of `grid_targets` counts, and the other is not learned.
# - `grid_targets`, `decode_grid` and `responsible_boxes` are at hand.

# %% tags=["exercise"]
def yolo_loss(answers: torch.Tensor, classes: torch.Tensor, boxes: torch.Tensor,
              labels: torch.Tensor, stride: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    rows, columns, count = answers.shape[:3]
    owners, targets = grid_targets(boxes, (rows * stride, columns * stride), stride)
    row, column = torch.where(owners >= 0)                      # (M,) each
    owner = owners[row, column]                                 # (M,)
    decoded = decode_grid(answers[..., :4].detach(), stride)    # (S, S', B, 4)
    best, iou = responsible_boxes(decoded[row, column], boxes[owner])       # (M,) each
    said, wanted = answers[row, column, best], targets[row, column]         # (M, 5), (M, 4)
    nothing = torch.ones_like(answers[..., 4], dtype=torch.bool)            # (S, S', B)
    nothing[row, column, best] = False
    one_hot = F.one_hot(labels[owner] - 1, classes.shape[2])    # (M, C)
    return torch.stack([5 * (said[:, :2] - wanted[:, :2]).square().sum(),
                        5 * (said[:, 2:4] - wanted[:, 2:]).square().sum(),
                        (said[:, 4] - iou).square().sum(),
                        0.5 * answers[..., 4][nothing].square().sum(),
                        (classes[row, column] - one_hot).square().sum()])
    ### END SOLUTION

# %%
check(yolo_loss)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# `torch.where(owners >= 0)` gives rows and columns of the M cells with a thing.
# With three index tensors of length M, `answers[row, column, best]` takes M boxes at once.
# </details>
# <details><summary>Hint: "nothing" is too small or too large</summary>
#
# A mask (S, S', B) that is True everywhere, and False for the M responsible boxes.
# The second box of a cell with a thing belongs to *nothing*.
# </details>
# <details><summary>Hint: the values are right, the gradients are not</summary>
#
# Through which of your tensors could a gradient reach √w from the *object* sum?
# `tensor.detach()` stops it.
# </details>

# %%
yolo_loss = use(yolo_loss)

# %% [markdown]
# Your loss, and its gradient for each number of the grid.
# One little map for each of the 15 numbers; grey is exactly 0.
# Bright is large, whatever the sign, and each map has its own scale.

# %%
names = [f"{name}, box {box}" for box in (1, 2) for name in ("x", "y", "√w", "√h", "confidence")]
grid = net.grid(picture[None])[0].detach().requires_grad_()     # (12, 12, 15)
answers, classes = (part[0] for part in net.parts(grid[None]))  # (12, 12, 2, 5), (12, 12, 5)
loss = yolo_loss(answers, classes, scene.boxes.to(device), scene.labels.to(device), 8)
(slopes,) = torch.autograd.grad(loss.sum(), grid)
draw_learning(slopes, [*names, *CLASSES])
plt.show()

# %%
learns = (slopes != 0).flatten(0, 1).sum(dim=0).tolist()        # (15,) cells
print("cells that learn x:", learns[0], "in box 1,", learns[5], "in box 2; a class:", learns[10])
assert learns[0] + learns[5] == learns[10] == 5 and learns[4] == learns[9] == 144

# %% [markdown]
# All 288 confidences learn, most of them *nothing*.
# Place and size learn in five boxes, classes in five cells.
# The rest of the block is grey: nobody cares what an empty cell says about place and class, as long as it is not confident.
#
# ## 5. Train it
#
# A slim backbone, one 1 × 1 convolution, random weights, and your loss.

# %%
def learners_loss(model: nn.Module, batch: tuple) -> dict[str, torch.Tensor]:
    images, targets = batch
    answers, classes = model.parts(model.grid(images))          # (N, 12, 12, 2, 5), (N, 12, 12, 5)
    sums = [yolo_loss(*parts, target["boxes"], target["labels"], 8)
            for *parts, target in zip(answers, classes, targets)]
    return dict(zip(("place", "size", "object", "nothing", "class"), torch.stack(sums).mean(dim=0)))

# %% [markdown]
# `lib.models.yolo.YOLOv1` has the same loss, for a whole batch at once:

# %%
val_images, val_targets = toyworld_detection(val_world)
some = next(iter(Batches(val_images[:8], val_targets[:8])))
some = (some[0].to(device), [{name: value.to(device) for name, value in one.items()} for one in some[1]])
for mine, theirs in zip(learners_loss(net, some).values(), net.loss(*some).values()):
    assert torch.allclose(mine, theirs, rtol=1e-4)
print("the same five sums as lib.models.yolo.YOLOv1")

# %%
torch.manual_seed(0)
own = YOLOv1(SmallBackbone(width=16), 8, num_classes=5).to(device)
train_images, train_targets = toyworld_detection(Toyworld("train", length=2000))
sixty = Batches(val_images[:60], val_targets[:60])
crate = scene.boxes[1].to(device)
pairs, fits, started = {}, {}, float(evaluate_detection(own, sixty)["AP50"])


def watch(model: nn.Module) -> dict[str, float]:
    """AP50 on 60 scenes; and the two boxes of the crate's cell are kept, to be looked at."""
    answers, _ = model.parts(model.grid(picture[None]))
    both = decode_grid(answers[0, ..., :4], 8)[rows[1], columns[1]]         # (2, 4)
    pairs[f"exam {len(pairs) + 1}"] = both
    fits[f"exam {len(fits) + 1}"] = box_iou(crate[None], both)[0].cpu()
    return {"AP50": float(evaluate_detection(model, sixty)["AP50"])}

# %%
batches = Batches(train_images, train_targets, batch_size=8, shuffle=True, flip=True)
history = fit(own, batches, learners_loss, steps=500, learning_rate=8e-3, title="YOLO, your loss",
              validate=watch, validations=4)
history

# %%
print(f"AP50 on 60 new scenes: {started:.2f} before, ≈ {history.metrics['AP50'][-1]:.2f} after 500 steps")
four = [3, 41, 60, 177]
shown = val_images[four].to(device).float() / 255               # (4, 3, 96, 96)
surest = [{name: values[:4] for name, values in answer.items()} for answer in own(shown)]
draw_detections(shown.cpu(), dict(zip([f"scene {number}" for number in four], surest)), min_score=0, size=2.35)
plt.show()
assert history.metrics["AP50"][-1] > started + 0.1

# %% [markdown]
# The four surest boxes of each scene.
# It finds things, but the boxes are poor, and it is sure of none.
# The two boxes of the crate's cell, at the four exams:

# %%
draw_pair(scene.image, pairs, scene.boxes[1], fits)
plt.show()
print("responsible:", [int(overlap.argmax()) + 1 for overlap in fits.values()])

# %% [markdown]
# While they learn, the task may pass from one box to the other.
#
# Do two boxes become specialists?
# For that, ask `net` from the top of this page, which was trained for longer: 2,000 steps.
# For each thing of 200 scenes: which of the two boxes of its cell fits better?

# %%
winners, sizes = [], []
for number, target in enumerate(val_targets):
    answers, _ = net.parts(net.grid(val_images[number:number + 1].to(device).float() / 255))
    row, column = cells_of(target["boxes"], 8, (12, 12))
    both = decode_grid(answers[0, ..., :4], 8).cpu()[row, column]           # (n, 2, 4)
    winners.append(responsible_boxes(both, target["boxes"])[0])
    sizes.append(target["boxes"][:, 2:] - target["boxes"][:, :2])
winners, sizes = torch.cat(winners), torch.cat(sizes)           # (N,), (N, 2)

# %%
draw_sizes(sizes, winners, ("box 1 is responsible", "box 2 is responsible"),
           title="the things of 200 scenes", size=3.6)
plt.show()
for number in (0, 1):
    area = sizes[winners == number].prod(dim=1).sqrt().mean()
    print(f"box {number + 1}: responsible for {(winners == number).float().mean():.0%} of the things,",
          f"mean √area {area:.0f} pixels")

# %% [markdown]
# Hardly: box 1 takes a quarter of the things, mostly small or narrow ones, but box 2 takes such too.
# At most things *both* boxes of `net` are a little confident (section 8 shows it).
# Before the truth is known it cannot tell which will be nearer, so each box says less than its IoU.
# So most of its scores are low: 0.3 is already sure.
#
# ## 6. What it cannot say
#
# **Two middles in one cell.**
# A cell has one class, and `grid_targets` gives it one thing.
# How many things are lost that way?
# It depends on the size of the cells.
#
# **Predict.**
# In 2,000 scenes of toyworld: which share of all things gets no cell with a stride of 8?
# With 32?

# %% jupyter={"outputs_hidden": true}
boxes_of = [target["boxes"] for target in train_targets]
things, lost = sum(map(len, boxes_of)), {}
for stride in (4, 8, 16, 32):
    kept = [(grid_targets(boxes, (96, 96), stride)[0] >= 0).sum() for boxes in boxes_of]
    lost[stride] = things - int(sum(kept))
    print(f"stride {stride:>2}: {lost[stride]:>5,} of {things:,} things share a cell and lose it, {lost[stride] / things:.1%}")
draw_cells(scene.image, scene.boxes, scene.labels, strides=(8, 16, 32), size=2.9)
plt.show()
assert lost[8] < 0.01 * things < 0.1 * things < lost[32]

# %% [markdown]
# With our 12 × 12 cells it hardly ever happens.
# With 3 × 3 it is a fifth: the orange cylinder (dotted) loses its cell to the cone.
# The paper has 7 × 7 cells of 64 pixels, and says itself that flocks of birds are a problem.
#
# **Any box from any cell.**
# Nothing tells a cell what a box looks like: it must learn all widths and heights from nothing, 2 to 65 pixels in toyworld.
# In lesson 08, anchors spared the network that: it only had to say the change.
#
# ### Anchors from the data
#
# In lesson 08 somebody chose sizes and shapes by hand.
# Why not ask the data?
# Take the widths and heights of all true boxes, and look for B of them that are near to all: **k-means**.
# Start with B anchors; each box goes to its nearest anchor; each anchor becomes the mean of its boxes; again, until hardly anything changes.
#
# What is *near*?
# With the distance in pixels, a large box with an error of 10 % would weigh more than a small one that is twice too large.
# So near means: a high IoU if both boxes are laid corner on corner.
# `size_iou(sizes, anchors)`, (N, 2) and (B, 2) → (N, B), is at hand.
#
# ### Exercise 5 · `kmeans_round`
#
# *8 minutes · ★★☆*
#
# One round.
#
# - `sizes`: (N, 2) widths and heights.
#   `anchors`: (B, 2).
# - All sizes choose among the anchors as they came in: each the one with the largest IoU, of equal ones the first.
# - Returns (B, 2), in the order of `anchors`: each the mean of its sizes.
#   An anchor that no size has chosen stays as it is.

# %% tags=["exercise"]
def kmeans_round(sizes: torch.Tensor, anchors: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    nearest = size_iou(sizes, anchors).argmax(dim=1)            # (N,)
    moved = anchors.clone()
    for number in range(len(anchors)):
        if (nearest == number).any():
            moved[number] = sizes[nearest == number].mean(dim=0)
    return moved
    ### END SOLUTION

# %%
check(kmeans_round)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# Which anchor is nearest to each size?
# Then a loop over the anchors.
# </details>
# <details><summary>Hint: nan in one row</summary>
#
# The mean of nothing is nan.
# </details>
# <details><summary>Hint: right at first, wrong after some anchors</summary>
#
# Do you write into the anchors while you still compare with them?
# `tensor.clone()`.
# </details>

# %%
kmeans_round = use(kmeans_round)

# %%
all_sizes = torch.cat([boxes[:, 2:] - boxes[:, :2] for boxes in boxes_of])      # (6358, 2)


def find_anchors(count: int, rounds: int = 60) -> torch.Tensor:
    torch.manual_seed(0)
    anchors = all_sizes[torch.randperm(len(all_sizes))[:count]]                 # to begin with
    for _ in range(rounds):
        anchors = kmeans_round(all_sizes, anchors)
    return anchors[anchors.prod(dim=1).argsort()]                               # the smallest first


def mean_fit(anchors: torch.Tensor) -> float:
    """The mean IoU of the boxes with the anchor that fits each best."""
    return size_iou(all_sizes, anchors).amax(dim=1).mean().item()

# %%
anchors = find_anchors(5)
names = [f"{w:.0f} wide, {h:.0f} high" for w, h in anchors.tolist()]
draw_sizes(all_sizes, size_iou(all_sizes, anchors).argmax(dim=1), names, anchors,
           title="6,358 boxes, and the five anchors found in them", size=4)
plt.show()

# %% [markdown]
# How many anchors?
# And does the distance matter?
# The mean IoU of all boxes with their best anchor, against the number of anchors:

# %% jupyter={"source_hidden": true}
def by_pixels(count: int) -> torch.Tensor:
    """The same k-means, with the distance in pixels."""
    torch.manual_seed(0)
    anchors = all_sizes[torch.randperm(len(all_sizes))[:count]]
    for _ in range(60):
        nearest = torch.cdist(all_sizes, anchors).argmin(dim=1)
        anchors = torch.stack([all_sizes[nearest == number].mean(dim=0) for number in range(count)])
    return anchors


square, tall = torch.tensor([12.0, 20, 34])[:, None], torch.tensor([0.5, 1, 2]).sqrt()
by_hand = torch.stack([square / tall, square * tall], dim=2).reshape(-1, 2)     # (9, 2), lesson 08
fits_by = {"1 − IoU": {}, "pixels": {}}
for count in range(1, 10):
    fits_by["1 − IoU"][count] = mean_fit(find_anchors(count))
    fits_by["pixels"][count] = mean_fit(by_pixels(count))

# %%
figure, axis = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
for (name, fit_of), marker in zip(fits_by.items(), "os"):
    axis.plot(list(fit_of), list(fit_of.values()), marker=marker, label=f"k-means by {name}")
axis.plot([9], [mean_fit(by_hand)], "D", label="lesson 08's nine, by hand")
axis.set(xlabel="number of anchors", ylabel="mean IoU with the best anchor", ylim=(0.45, 0.85))
axis.legend(fontsize=9, loc="lower right")
plt.show()
print("five anchors:", {name: round(fit_of[5], 3) for name, fit_of in fits_by.items()})
print(f"nine by hand: {mean_fit(by_hand):.3f}")
assert fits_by["1 − IoU"][5] > mean_fit(by_hand)

# %% [markdown]
# Five anchors from the data fit better than nine chosen by hand.
# The distance matters less than one might think: 0.760 with 1 − IoU, 0.750 with pixels.
# Toyworld's boxes differ little in shape; in the paper, on PASCAL VOC's boxes, it was 0.610 and 0.587.
#
# ## 7. The YOLO of 2017
#
# The second version changes what a cell says.
# Each cell has B = 5 anchors, and each anchor says:
#
# > x = (column + σ(tx)) · stride,  w = anchor width · exp(tw),  confidence = σ(to)
#
# and y, h alike.
#
# - σ, the sigmoid, keeps the middle **in its cell**, and the confidence between 0 and 1.
# - The size is a change of the anchor's, as in lesson 08.
#   tw = 0 means *as large as the anchor*: a good start, before anything is learned.
# - Each anchor has its **own classes**, a softmax.
#   Two things may share a cell, if they go to different anchors.
# - Responsible is the anchor whose shape fits the thing best: known before training, and the same all along.
#
# Set the switch of the widget in section 1 to *2017*: the block is now S × S × B · (5 + C).
#
# ### Exercise 6 · `grid_detections`
#
# *12 minutes · ★★★*
#
# From the raw block to detections.
#
# - `grid`: (S, S', B · (5 + C)), raw: for each anchor tx, ty, tw, th, to, then C class logits; then the next anchor.
#   `anchors`: (B, 2) widths and heights in pixels.
#   `stride`: the side of a cell.
# - Limit tw and th to at most 4 before `exp`, so that no box is infinite; there is no lower limit.
# - The score of a class is σ(to) times its softmax probability.
#   **Every** class of every anchor with a score *above* `threshold` is a detection.
# - Clip the boxes to the picture (S · stride × S' · stride), then suppress duplicates class by class:
#   `batched_nms(boxes, scores, labels, 0.5)` gives the places of those that stay, the best first.
# - Returns boxes (n, 4) xyxy, scores (n,), labels (n,) int64 from **1** to C, best first.

# %% tags=["exercise"]
def grid_detections(grid: torch.Tensor, anchors: torch.Tensor, stride: int, threshold: float) -> tuple:
    ### BEGIN SOLUTION
    rows, columns = grid.shape[:2]
    answers = grid.reshape(rows, columns, len(anchors), -1)     # (S, S', B, 5 + C)
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    corners = torch.stack([x, y], dim=2)[:, :, None].to(grid)   # (S, S', 1, 2) in cells
    middles = (corners + answers[..., :2].sigmoid()) * stride   # (S, S', B, 2)
    sides = anchors * answers[..., 2:4].clamp(max=4).exp()      # (S, S', B, 2)
    boxes = torch.cat([middles - sides / 2, middles + sides / 2], dim=-1).reshape(-1, 4)
    scores = answers[..., 4:5].sigmoid() * answers[..., 5:].softmax(dim=-1)
    scores = scores.flatten(0, 2)                               # (S · S' · B, C)
    place, label = torch.where(scores > threshold)              # (n,) each
    boxes = clip_boxes_to_image(boxes[place], (rows * stride, columns * stride))
    scores = scores[place, label]
    kept = batched_nms(boxes, scores, label, 0.5)
    return boxes[kept], scores[kept], label[kept] + 1
    ### END SOLUTION

# %%
check(grid_detections)

# %% [markdown]
# <details><summary>Hint: one number after the other</summary>
#
# `grid.reshape(rows, columns, B, −1)` gives each anchor its 5 + C numbers as the last axis.
# The boxes are `decode_grid` with other formulas.
# </details>
# <details><summary>Hint: too few detections</summary>
#
# An anchor may say *crate* with 0.4 and *cylinder* with 0.3.
# Both count, with the same box.
# `torch.where(scores > threshold)` gives a place and a class for each.
# </details>
# <details><summary>Hint: all labels are one too small</summary>
#
# Class number 0 of the softmax is label 1.
# </details>

# %%
grid_detections = use(grid_detections)

# %% [markdown]
# With trained weights: the same backbone, pictures, steps and learning rate as for `net`.

# %%
newer = yolo_v2_small().to(device)
made_newer = load_checkpoint(newer, folder / "09_yolo_v2.safetensors")
newer = newer.eval().requires_grad_(False)
assert torch.equal(kmeans_anchors(all_sizes, 5).round(), newer.anchors.cpu())   # found as you found them
mine = [grid_detections(grid, newer.anchors, 8, 0.05) for grid in newer.grid(shown)]
for (boxes, _, labels), theirs in zip(mine, newer(shown)):
    assert torch.allclose(boxes[:100], theirs["boxes"], atol=1e-3)
    assert torch.equal(labels[:100], theirs["labels"])
print("the same detections as lib.models.yolo.YOLOv2")

# %%
draw_detections(shown.cpu(), {f"scene {number}": dict(zip(("boxes", "scores", "labels"), answer))
                              for number, answer in zip(four, mine)}, min_score=0.5, size=2.35)
plt.show()

# %% [markdown]
# **What do anchors bring before training?**
# A root near 0 is a box without size; a tw near 0 is a box of its anchor's size.
# Both networks with random weights: the mean, over all things of 200 scenes, of the best IoU with any box of the thing's own cell.

# %% jupyter={"outputs_hidden": true}
begin = {}
for name, make in (("2016", yolo_v1_small), ("2017", yolo_v2_small)):
    torch.manual_seed(0)
    raw = make().to(device).eval()
    with torch.no_grad():
        boxes, _ = raw.decode(raw.grid(val_images.to(device).float() / 255))    # (200, 12, 12, B, 4)
    best = []
    for mine, target in zip(boxes.cpu(), val_targets):
        row, column = cells_of(target["boxes"], 8, (12, 12))
        best.append(responsible_boxes(mine[row, column], target["boxes"])[1])
    begin[name] = torch.cat(best).mean().item()
    print(f"YOLO of {name}: {begin[name]:.2f}")
assert begin["2017"] > begin["2016"] + 0.3

# %% [markdown]
# And after training, three seeds each, on the 200 validation scenes:

# %%
runs = {"2016": made["runs"], "2017": made_newer["runs"]}


def mean_of(runs: list[dict], which: str) -> float:
    return sum(run["val"][which] for run in runs) / len(runs)


for name, some_runs in runs.items():
    each = ", ".join(f"{run['val']['AP']:.3f}" for run in some_runs)
    print(f"YOLO of {name}: AP {mean_of(some_runs, 'AP'):.3f} ({each}),",
          ", ".join(f"{which} {mean_of(some_runs, which):.3f}" for which in ("AP50", "AP75", "recall")))

# %% [markdown]
# The newer one has more AP with every seed, 0.06 in the mean, and the gain is larger in AP75: the boxes fit better.
# Recall gains 3 points.
# In the paper, anchors alone gained recall (81 to 88 %) and lost a little mAP; here several changes come together.
#
# And the things that share a cell?
# With 12 × 12 cells they are too few to be counted.
# So both were trained once more with cells of 16 pixels, the same number of steps.
# With such cells 245 of the 6,358 things of section 6 lost theirs; with an owner for each *anchor* of a cell, 69 do.
# What is found was counted on 1,000 validation scenes: a detection of its class, of any score, with an IoU of at least 0.5.
# **Predict.**
# By how much do anchors raise the share that is found?

# %% jupyter={"outputs_hidden": true}
import json

from lib.models.yolo import owners_of_anchors

without = things - sum(int((owners_of_anchors(boxes, newer.anchors.cpu(), 16, (6, 6)) >= 0).sum())
                       for boxes in boxes_of)
print(f"things without an owner, cells of 16 pixels: {lost[16]} with cells alone, {without} with anchors")
coarse = json.loads((folder / "09_yolo_coarse.json").read_text())
for name, some_runs in zip(("2016", "2017"), coarse.values()):
    shares = {which: sum(run["recall"][which] for run in some_runs) / len(some_runs) for which in ("all", "shared")}
    print(f"YOLO of {name}: AP {mean_of(some_runs, 'AP'):.3f};",
          f"found of all things {shares['all']:.1%}, of those that share a cell {shares['shared']:.1%}")

# %% [markdown]
# They do not.
# Fewer than half of the things that share a cell are found, with anchors and without, and AP is the same too.
# So the missing owner was not what made them hard.
# A likely reason, not measured: two things whose middles are so near cover each other, and one is seen in part only.
# The gain of the newer YOLO at 12 × 12 cells does not come from sharing cells either, which hardly ever happens there.
#
# ## 8. Look inside
#
# The last layer of the first network gives 15 channels, in the order of section 1.
# Channels 4 and 9 are the two confidences, 10 to 14 the classes.
#
# 1. Channel 4 or 9: how many cells are confident for one thing?
#    One, as the loss asked?
# 2. Channels 10 to 14: where does the network say *crate* or *cylinder*?
#    Only in the cells that were asked?
# 3. How much of the picture does one cell see?

# %%
class Grid(nn.Module):
    """The network up to its raw numbers, channels first."""

    def __init__(self, yolo: nn.Module):
        super().__init__()
        self.backbone, self.head = yolo.backbone, yolo.head

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone(images)["0"])            # (B, 15, 12, 12)


explorer = explore(Grid(net), picture)
explorer.layer, explorer.channel = "head", 9
explorer.cell = (8, 3)                                          # the crate's
explorer

# %% [markdown]
# <details><summary>What there is to see</summary>
#
# 1. Several: the cylinders and the figure have their middles near the border of rows 5 and 6, and cells of both rows are confident.
#    NMS removes the duplicates.
#    Box 2 is about twice as confident as box 1, in the same cells.
# 2. No.
#    In the sky, channel 14 says *figure* with about 1 (row 2), and channel 13 *cone* with about 2 (row 0).
#    Hardly a cell of the sky was ever asked for a class; its confidence is 0, and so is the product.
# 3. 70 × 70 pixels, more than the largest box of toyworld.
# </details>
#
# ## 9. Break it
#
# Two weights stand in the loss, 5 and 0.5.
# Is 0.5 for *nothing* so important?
# The trained network learns on for 40 steps, with 0, with 0.5 as before, and with 5.
#
# **Predict.**
# What happens to the confidence in each case?
# And to AP50?

# %% jupyter={"outputs_hidden": true}
from copy import deepcopy

hundred = Batches(val_images[:100], val_targets[:100])
batches = Batches(train_images, train_targets, batch_size=8, shuffle=True, flip=True, seed=5)
broken = {}
for weight in (0, 0.5, 5):
    def weighed(model: nn.Module, batch: tuple) -> dict[str, torch.Tensor]:
        sums = model.loss(*batch)
        return sums | {"loss_no_object": sums["loss_no_object"] * weight / 0.5}

    trial = deepcopy(net).requires_grad_(True)
    fit(trial, batches, weighed, steps=40, learning_rate=1e-3, ema=0.9, show=False)
    found = [answer for images, _ in hundred for answer in trial(images.to(device))]
    sure = sum((answer["scores"] > 0.3).sum().item() for answer in found) / 100
    broken[weight] = (sum(len(answer["boxes"]) for answer in found) / 100, sure,
                      float(evaluate_detection(trial, hundred)["AP50"]))
    print("weight {:>3}: ≈ {:5.1f} boxes a picture, ≈ {:4.1f} of a score above 0.3; AP50 ≈ {:.2f}".format(
        weight, *broken[weight]))
assert broken[0][0] > 5 * broken[0.5][0] and broken[0.5][2] > broken[5][2]

# %% [markdown]
# With weight 0 nobody learns *nothing*: the confidence of empty cells drifts up, and each picture has a hundred boxes, the most that are kept.
# AP50 hardly minds, because true things are still the surest.
# With 5, *nothing* drowns the few things: confidence falls everywhere, hardly any box is sure, and AP50 falls.
# Of 288 boxes all but a handful hear *nothing*: 0.5 is a compromise, found by hand.
#
# ## 10. How fast, at what price?
#
# The two detectors of this lesson beside those of lesson 08: Faster R-CNN with RoI pooling, and with RoIAlign, which does not round.

# %% jupyter={"source_hidden": true}
from functools import partial

from torchvision.ops import roi_align

runs_08 = json.loads((folder / "08_faster_rcnn.json").read_text())
took = {"Faster R-CNN": milliseconds(lambda: faster(picture[None]), repeats=20)}
rounding = faster.roi_heads.box_roi_pool.pool
faster.roi_heads.box_roi_pool.pool = partial(roi_align, sampling_ratio=2, aligned=True)
took["Faster R-CNN, RoIAlign"] = milliseconds(lambda: faster(picture[None]), repeats=20)
faster.roi_heads.box_roi_pool.pool = rounding
took |= {"YOLO of 2016": milliseconds(lambda: net(picture[None]), repeats=20),
         "YOLO of 2017": milliseconds(lambda: newer(picture[None]), repeats=20)}
all_runs = {"Faster R-CNN": runs_08["runs"], "Faster R-CNN, RoIAlign": runs_08["runs with RoIAlign"],
            "YOLO of 2016": runs["2016"], "YOLO of 2017": runs["2017"]}

# %%
draw_speed_accuracy({name: (took[name] / 1000, mean_of(all_runs[name], "AP")) for name in took})
plt.show()
for name, some_runs in all_runs.items():
    print(f"{name:<22} ≈ {human_time(took[name] / 1000)} a picture,", ", ".join(
        f"{which} {mean_of(some_runs, which):.3f}" for which in ("AP", "AP50", "AP75", "AP_small")))

# %% [markdown]
# One look is the fastest.
# At what price?
# Compared with the detector that rounds, none: rounding to cells of 8 pixels costs more than the second stage brings.
# With RoIAlign, the second stage is worth 0.08 AP over the YOLO of 2017: it looks at every box once more, with its own features.
# In AP50 the difference is small: YOLO finds the things, and its boxes fit less exactly.
# The paper says the same of its own: most of its errors are in the place.
#
# **A real photo.**
# torchvision publishes no weights for YOLO, and ours has seen five kinds of toys.
# What does it say of a photo?

# %%
from lib.datasets.photos import load_photo

photo = F.interpolate(load_photo("coffee")[None], (128, 192), mode="bilinear", antialias=True).to(device)
answer = newer(photo)[0]
sure = answer["scores"] > 0.3
draw_boxes(photo[0].cpu(), *(answer[name][sure].cpu() for name in ("boxes", "labels", "scores")),
           names=("background", *CLASSES), size=4)
plt.show()
print(f"{int(sure.sum())} boxes of a score above 0.3, on 16 × 24 cells")

# %% [markdown]
# Nonsense, and it is sure of it: it was never shown anything but its five things, nor such light.
# It takes any picture whose sides are multiples of 8, since its last layer is a convolution (lesson 01).
# A published YOLO, where the package `ultralytics` is installed, needs two lines:
#
# ```python
# from ultralytics import YOLO
# YOLO("yolo11n.pt")("photo.jpg")[0].show()          # the weights are downloaded once, 5 MB
# ```
#
# ## 11. Recap
#
# The YOLO of 2017 at work; compare it with the one of 2016 at the top.

# %%
draw_yolo(newer, picture)
plt.show()

# %% [markdown]
# | | Faster R-CNN | YOLO, 2016 | YOLO, 2017 |
# | --- | --- | --- | --- |
# | who answers for a thing | every anchor that overlaps it enough | the cell of its middle, and there the better box | the cell of its middle, and there the best anchor |
# | a box starts from | an anchor, then a proposal | nothing | an anchor, found by k-means |
# | class | second stage, for each proposal | once for a cell | for each anchor |
# | looks | one, and one more for each proposal | one | one |
#
# **What the papers reported.**
# On PASCAL VOC 2007, on one GPU: YOLO 63.4 mAP at 45 frames a second, Fast YOLO, with a smaller network, 52.7 at 155;
# Faster R-CNN with VGG-16 73.2 at 7.
# The YOLO of 2017, with pictures of 416 × 416: 76.8 at 67.
# Anchors alone changed mAP from 69.5 to 69.2, and recall from 81 % to 88 %.
# Five anchors by k-means fit VOC's boxes with a mean IoU of 61.0 %, nine chosen by hand with 60.9 %.
#
# **What was simpler here.**
# A backbone of six layers that nobody trained before; the papers' networks learned ImageNet first.
# The network of 2016 ends in two fully connected layers, so it takes one size of picture only; ours is a convolution all through.
# Both papers change the pictures more (scale, crop, colour); the second trains with pictures of many sizes,
# and joins a finer map to its last one.
#
# **In papers and on GitHub.**
# A detector without second stage is *one-stage*, *single-shot* or *dense*.
# Our *responsible* is an *assignment*, and the weights 5 and 0.5 are *λ_coord* and *λ_noobj*; the confidence is also *objectness*.
# Anchors found by k-means are *dimension clusters* or *priors*; that σ keeps the middle in its cell is *direct location prediction*.
# The author's own framework is *darknet*.
#
# **Go on from here.**
# Tasks without a check:
#
# - Train `own` with a loss on w and h instead of their roots (change `grid_targets` and `decode_grid`).
#   Compare AP_small.
# - Let `newer` start from nine anchors, and from one.
#   What changes: AP, or how fast it learns?
# - Show `net` pictures in which two spheres stand side by side, nearer and nearer (push one picture over another).
#   From which distance on does it say one?
#
# ### Three questions
#
# **1.**
# A YOLO of 2016 with 10 × 10 cells, three boxes a cell and eight classes: how many numbers?
# (a) 2,300 (b) 3,900 (c) 1,100
#
# <details><summary>Answer</summary>
#
# **(a)** 100 · (3 · 5 + 8).
# (b) would be the layout of 2017, where each box has its own classes: 100 · 3 · 13.
# </details>
#
# **2.**
# The IoU in the *object* sum is not detached.
# What could the network do to make this sum small, that nobody wants?
# (a) nothing, the gradient is the same (b) say a confidence of 0 for all boxes (c) move a box *away* from the thing where its confidence is low
#
# <details><summary>Answer</summary>
#
# **(c)** The sum pulls confidence and IoU together, from both sides.
# An unsure box would make itself worse, to be as bad as it said.
# (b) is possible with and without `detach`, and costs something where there is a thing.
# </details>
#
# **3.**
# In which picture does the YOLO of 2016 with 7 × 7 cells do worst?
# (a) one large cat (b) a shelf with a hundred bottles (c) four cars far apart
#
# <details><summary>Answer</summary>
#
# **(b)** It has 98 boxes in all, and one class and two boxes for each cell; several bottles have their middles in one.
# </details>

# %%
progress("09")

# %% [markdown]
# **Next:** 144 cells, about three things.
# Almost all cells have one answer to learn, *nothing*, and they are many.
# Half a weight was a makeshift.
# Lesson 10: the focal loss.
