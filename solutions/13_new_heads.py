# %% [markdown]
# # 13 · New heads: bodies and shapes from a frozen trunk
#
# Lesson 12 gave a detector a third answer, the mask.
# Here are two more, on the same trunk, without changing a single weight of it.
# **DensePose** says for each pixel of a figure which part of the body it shows and where on that part it lies.
# So clothes that were painted once, on a flat sheet, can be put on everybody in the picture.
# **Mesh R-CNN** gives each thing a shape in space that can be turned round.
# (The first cells load and show what the lesson explains; read them when you come back.)

# %%
import json

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import CLASSES, Toyworld
from lib.device import choose_device
from lib.layers.frozen_trunk import FrozenTrunk
from lib.models.densepose import densepose_small
from lib.models.mask_rcnn import mask_rcnn_small
from lib.models.mesh_rcnn import mesh_rcnn_small
from lib.ops.charts import read_texture as read_smoothly
from lib.training import load_checkpoint
from lib.viz import show_images
from lib.viz.surfaces.charts import paint_atlas, wear
from lib.viz.surfaces.meshes import draw_meshes

device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"
detector = mask_rcnn_small().to(device)                         # lesson 12's, as it was left there
load_checkpoint(detector, folder / "12_mask_rcnn.safetensors")
trunk = FrozenTrunk(detector.transform, detector.backbone).to(device)
stored = json.loads((folder / "13_runs.json").read_text())      # all that was measured for this lesson
val_world = Toyworld("val", length=100, size=192)

# %%
bodies, shapes = densepose_small(trunk).to(device), mesh_rcnn_small(trunk).to(device)
load_checkpoint(bodies, folder / "13_densepose.safetensors")
load_checkpoint(shapes, folder / "13_mesh_rcnn.safetensors")
bodies, shapes = bodies.eval().requires_grad_(False), shapes.eval().requires_grad_(False)
scene = val_world[16]
picture = scene.image.to(device)                                # (3, 192, 192)
found = detector(picture[None])[0]
figures = found["boxes"][(found["labels"] == 5) & (found["scores"] > 0.5)]      # (K, 4)

# %%
clothes = paint_atlas()                                         # (7, 48, 48, 3), see section 2
read = bodies(picture[None], [figures])[0]                      # a part, u and v for each pixel
dressed = scene.image
for parts, uv in zip(read["parts"].cpu(), read["uv"].cpu()):
    dressed = wear(dressed, parts, read_smoothly(clothes.permute(0, 3, 1, 2), parts, uv))
show_images([scene.image, dressed], ["a scene that no network has seen", "clothes put on it"], size=4)
plt.show()

# %% [markdown]
# **You will be able to**
#
# - put a new head on a trained detector without touching it, and prove that you did not;
# - say what a *chart* is, what a head must learn to read one, and read a painting through it;
# - turn voxels into a mesh, and let the mesh's corners read the picture, talk to each other and move;
# - measure how far two surfaces are apart, and say what that measure does not see.
#
# | | |
# | --- | --- |
# | Time | 110 minutes to read and do, about half a minute of computing on two cores |
# | Builds on | lesson 12 (RoIAlign, mask branch) |
# | Papers | Güler, Neverova & Kokkinos 2018, *DensePose*; Gkioxari, Malik & Johnson 2019, *Mesh R-CNN* |
#
# A number printed with ≈ is measured as you run it, and may come out a little different on your machine.

# %%
from torch import nn

from lib.datasets.toyworld.targets import frustum_mesh
from lib.exercises import check, hint, progress, solution, use
from lib.training import fit
from lib.viz import explore
from lib.viz.detection.focal import draw_runs
from lib.viz.diagrams.new_heads_plan import draw_new_heads
from lib.viz.surfaces.charts import draw_atlas, draw_charts
from lib.viz.surfaces.meshes import explore_meshes

# %% [markdown]
# **The whole, before its parts.**
# Everything up to the regions is the Mask R-CNN of lesson 12.
# The framed parts are new and learn: a DensePose head, and the two halves of a mesh head.
# They share only the trunk.

# %%
draw_new_heads(bodies, shapes, picture, figures[:1])
plt.show()

# %% [markdown]
# (21 are three times seven: for six parts and *no part* a score, a u and a v.
# The mesh head answers one more number: how deep the thing is, compared with its height.
# Section 11 needs it.)

# %% [markdown]
# Pictures have 192 × 192 pixels here, twice as many along a side as before.
# At 96 the arm of a figure is 2 pixels thick, and there is little to be read off 2 pixels.
# The network takes pictures of any size; section 5 looks at what that costs the detector.
#
# ## 1. A trunk that keeps still
#
# The **trunk** of a detector is all that comes before its heads: here, the backbone.
# **Freezing** it means that it stays what it is while something on top of it learns.
# Why should one want that?
# The other heads still find, name and draw as before, since nothing under them has moved.
# And a new head needs few pictures: it does not have to learn to see, only to read what is seen.
#
# To prove that nothing moved, here is a fingerprint of all numbers in a network, down to the last bit.

# %%
import hashlib


def bits(network: nn.Module) -> str:
    """A fingerprint of all weights and statistics: change one bit, and it changes."""
    numbers = [value.cpu().numpy().tobytes() for value in network.state_dict().values()]
    return hashlib.sha256(b"".join(numbers)).hexdigest()[:12]


before = {"trunk": bits(trunk), "detector": bits(detector)}
print(before)

# %% [markdown]
# **Predict.**
# Below, a copy of the backbone is frozen the way it is usually done: no weight requires a gradient.
# Then a head on top of it takes one training step.
# Which of the copy's numbers change?

# %% jupyter={"outputs_hidden": true}
from copy import deepcopy

copy = deepcopy(detector.backbone).requires_grad_(False)
head = nn.Conv2d(copy.out_channels, 1, 1).to(device)
model = nn.ModuleList([copy, head]).train()
optimiser = torch.optim.SGD(head.parameters(), lr=0.1)
head(copy(picture[None])["0"]).mean().backward()
optimiser.step()
then, now = detector.backbone.state_dict(), copy.state_dict()
moved = [name for name in now if not torch.equal(then[name], now[name])]
print(len(moved), "of", len(now), "tensors changed, such as", moved[:3])
assert moved and all("running" in name or "num_batches" in name for name in moved)

# %% [markdown]
# No weight has changed, but the **statistics of BatchNorm** have: in training mode they follow what runs through, without any gradient.
# From then on the detector would see through other glasses.
# So a frozen trunk must also stay in `eval` mode, whatever the model around it does.
# (A third leak is weight decay: an optimiser shrinks any weight that it was given and that has a gradient, be it a zero left from before.)
# `FrozenTrunk` of `lib/layers/frozen_trunk.py` closes all three.
#
# What never changes need not be computed twice.
# The regions that the new heads look at are cut **once**, before the training:

# %%
FIGURE = 5                                                      # its label


def cut_figures(world: Toyworld, output_size: int = 14) -> tuple:
    """What the trunk says in the boxes of all figures (R, 96, 14, 14), and where each figure is."""
    regions, places = [], []
    for number in range(len(world)):
        sample = world[number]
        things = torch.nonzero(sample.labels == FIGURE)[:, 0].tolist()
        if things:
            boxes = sample.boxes[things].to(device)
            regions += trunk.regions(sample.image[None].to(device), [boxes], output_size)
            places += [(number, thing) for thing in things]
    return torch.cat(regions), places


train_world = Toyworld("train", length=300, size=192)
train_regions, train_places = cut_figures(train_world)
val_regions, val_places = cut_figures(val_world)
print(len(train_places), "figures to learn from,", len(val_places), "held out;",
      "a region", tuple(train_regions.shape[1:]))

# %% [markdown]
# ## 2. An atlas of the body
#
# A mask says *that* a pixel is a person's.
# But which place on the person: the left elbow, the tip of the nose?
# We need a name for every point of a surface, and there are infinitely many.
#
# Maps of the earth solved that long ago.
# A round surface cannot be laid flat in one piece, so an *atlas* has several sheets, and on each a place is two numbers.
# DensePose does the same with the body.
# It is divided into **parts**, and each part has a **chart**: a square on which a place is (u, v), both from 0 to 1.
# On our figures there are six parts; u runs around a part and v along it, from top to bottom.

# %%
person = 1                                                      # the scene's second thing is a figure
mine = torch.where(scene.instance == person + 1, scene.parts, 0)   # (192, 192): the parts of one figure
draw_charts(scene.image, mine, scene.uv, scene.boxes[person])
plt.show()
print("parts", mine.unique().tolist(), "· u and v from", f"{scene.uv.min():.2f} to {scene.uv.max():.2f}")

# %% [markdown]
# u = ½ is the front of each part, and u = 0 meets u = 1 at its back.
# That is a *seam*: two pixels side by side, one with 0.99 and one with 0.01.
# Remember it, it will come back twice.
#
# With true charts at hand, what can be done with them?
# Paint the sheets, once:

# %%
draw_atlas(clothes)
plt.show()
print("a texture:", tuple(clothes.shape), "part, v, u, colour")

# %% [markdown]
# ### Exercise 1 · `read_texture`
#
# *10 minutes · ★☆☆*
#
# - `texture`: (P + 1, h, w, 3) floats, a painted picture of each part's chart, u to the right and v down; number 0 is never looked at.
# - `parts`: (H, W) int64, 0..P.
#   `uv`: (H, W, 2) floats 0..1, u first.
# - Returns (H, W, 3): at each pixel the colour of that pixel of its part's chart in which (u, v) falls.
#   A chart that is w pixels wide has its column c from u = c / w to (c + 1) / w; u = 1 belongs to the last column.
#   Rows with v likewise.
#   Where the part is 0, the colour is 0.

# %% tags=["exercise"]
def read_texture(texture: torch.Tensor, parts: torch.Tensor, uv: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    height, width = texture.shape[1:3]
    column = (uv[..., 0] * width).long().clamp(max=width - 1)   # (H, W)
    row = (uv[..., 1] * height).long().clamp(max=height - 1)
    return texture[parts, row, column] * (parts > 0)[..., None]
    ### END SOLUTION

# %%
check(read_texture)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# Three tensors of whole numbers, all (H, W), can index three axes at once: which sheet, which row, which column.
# </details>
# <details><summary>Hint: an index is out of range</summary>
#
# At u = 1 exactly, u · w is w, and the last column is w − 1.
# </details>
# <details><summary>Hint: the pattern lies on its side</summary>
#
# u runs to the right, so it chooses the *column*, which is the second axis of a sheet.
# </details>

# %%
read_texture = use(read_texture)

# %%
worn = read_texture(clothes, mine, scene.uv)                     # (192, 192, 3)
show_images([scene.image, wear(scene.image, mine, worn)], ["a figure", "by the true charts"], size=3.4)
plt.show()
print("pixels dressed:", int((mine > 0).sum()))

# %% [markdown]
# Nothing was drawn *in the picture*: stripes bend around the torso, rings run around the sleeves, and where the body turns away they end.
# All of it follows from three numbers for each pixel.
# Those are what the head is to find, without being told.
#
# ## 3. What the head is to learn
#
# The head sees a region of 14 × 14 cells and answers on a grid of 28 × 28, as the mask branch does.
# The truth must be brought to that grid.
#
# **Predict.**
# Two pixels at the seam have u = 0.98 and u = 0.04.
# A mask target was an average (lesson 12).
# What is the average of these two, and where on the body does it lie?

# %% jupyter={"outputs_hidden": true}
u = torch.tensor([0.98, 0.04])
print("their average:", f"{u.mean():.2f}", "· half a turn away from both")

# %% [markdown]
# 0.51 is the middle of the front, and both pixels are at the back.
# And half of a left arm (number 3) mixed with half of a left leg (number 5) would be a right arm (number 4).
# Numbers that are *names* or *angles* must not be averaged.
# So a cell takes the one pixel in which its middle lies.
#
# ### Exercise 2 · `chart_targets`
#
# *15 minutes · ★★☆*
#
# - `parts`: (H, W) int64 and `uv`: (H, W, 2) floats, of the whole picture.
#   `mask`: (H, W) bool, the visible pixels of one figure.
#   `box`: (4,) xyxy in pixels, any floats, with an area; it may reach beyond the picture.
#   `size`: S.
# - The box is divided into S × S equal cells.
#   A cell takes part, u and v from the pixel in which its middle falls: the one in column c covers x from c to c + 1.
# - Where that pixel is not the figure's (`mask`), or lies beyond the picture: part 0, and u = v = 0.
# - Returns (S, S) int64, and (2, S, S) floats, u first.

# %% tags=["exercise"]
def chart_targets(parts: torch.Tensor, uv: torch.Tensor, mask: torch.Tensor, box: torch.Tensor,
                  size: int) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    left, top, right, bottom = box.tolist()
    share = (torch.arange(size) + 0.5) / size                   # (S,) middles of the cells
    column = (left + share * (right - left)).floor().long()     # (S,)
    row = (top + share * (bottom - top)).floor().long()[:, None]                # (S, 1)
    height, width = parts.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)     # (S, S)
    row, column = row.clamp(0, height - 1), column.clamp(0, width - 1)
    mine = inside & mask[row, column] & (parts[row, column] > 0)
    return parts[row, column] * mine, (uv[row, column] * mine[..., None]).permute(2, 0, 1)
    ### END SOLUTION

# %%
check(chart_targets)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# Columns and rows are found apart: S middles along x, S along y.
# A column of rows, (S, 1), and a row of columns, (S,), index all S × S pixels at once.
# </details>
# <details><summary>Hint: pixels from the other side of the picture</summary>
#
# Index −1 is the last one.
# Ask first which cells lie in the picture, then bring the indices into range.
# </details>
# <details><summary>Hint: numbers between −1 and 0 become 0</summary>
#
# `.long()` cuts towards 0, so −0.4 would count as pixel 0.
# `floor` goes down.
# </details>

# %%
chart_targets = use(chart_targets)

# %%
box = scene.boxes[person]
target_parts, target_uv = chart_targets(scene.parts, scene.uv, scene.masks[person], box, 28)
draw_charts(None, target_parts, target_uv.permute(1, 2, 0))
plt.show()
print("cells with a part:", int((target_parts > 0).sum()), "of", target_parts.numel())

# %% [markdown]
# ## 4. Two questions, two losses
#
# *Which part* is a question of classes: seven of them, with a softmax, as in lesson 03.
# *Where on it* is a question of two numbers, and a pixel of an arm has nothing to learn about legs.
# So the head has a u and a v **for each part**, P + 1 maps each, and only the true part's are asked.
# (You know that from lesson 12: only the true class's mask learns.)
#
# The seam comes back here.
# Truth 0.01, answer 0.99: the difference is 0.98, yet the answer is off by a fiftieth of a turn.
# An error in u is counted the **short way round**.
#
# ### Exercise 3 · `densepose_loss`
#
# *15 minutes · ★★★*
#
# - `part_logits`, `u`, `v`: (R, P + 1, S, S) floats, what the head says, without any limits.
# - `parts`: (R, S, S) int64, the truth; 0 is no part.
#   `uv`: (R, 2, S, S) floats 0..1, the truth.
# - Returns two numbers.
#   The first: cross-entropy of the parts, the mean over all cells.
#   The second: over the cells that show a part, the mean of (smooth L1 of u + smooth L1 of v), read from the *true* part's maps.
#   Smooth L1 has its bend at 0.1 (`beta=0.1`).
#   u's error is the short way round the circle; v's is not.
# - With no region, both are 0; with no cell that shows a part, the second is.
#   `backward()` works all the same: each of the two numbers has a gradient.

# %% tags=["exercise"]
def densepose_loss(part_logits: torch.Tensor, u: torch.Tensor, v: torch.Tensor, parts: torch.Tensor,
                   uv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    seen = parts > 0                                            # (R, S, S)
    own_u, own_v = (maps.gather(1, parts[:, None])[:, 0][seen] for maps in (u, v))      # (cells,)
    around = (own_u - uv[:, 0][seen] + 0.5) % 1 - 0.5           # -1/2..1/2
    off = torch.stack([around, own_v - uv[:, 1][seen]])         # (2, cells)
    of_places = F.smooth_l1_loss(off, torch.zeros_like(off), beta=0.1, reduction="sum")
    of_parts = F.cross_entropy(part_logits, parts, reduction="sum")
    return of_parts / max(parts.numel(), 1), of_places / max(off.shape[1], 1)
    ### END SOLUTION

# %%
check(densepose_loss)

# %% [markdown]
# <details><summary>Hint: the true part's maps</summary>
#
# `gather` along axis 1 takes for each cell the channel that `parts` names.
# It wants an index with as many axes as the maps have.
# </details>
# <details><summary>Hint: the short way round</summary>
#
# A difference moved by a whole turn is the same place.
# Bring it between −½ and ½: add ½, take the remainder of a division by 1, subtract ½.
# </details>
# <details><summary>Hint: nan where nothing is to be seen</summary>
#
# A mean over nothing is nan.
# Add up, and divide by the count, or by 1 if there is none.
# </details>

# %%
densepose_loss = use(densepose_loss)

# %% [markdown]
# ## 5. Watch a head learn
#
# The head itself is short: four convolutions as in the mask branch, then three transposed convolutions that double the grid, one for each answer.
# Its targets and its loss are yours; what it looks at was cut in section 1.

# %%
from lib.models.densepose import DensePoseHead, DensePoseOutput, DensePosePredictor


def targets_of(world: Toyworld, places: list) -> tuple:
    """Parts (R, 28, 28) and places (R, 2, 28, 28) of figures."""
    cut = []
    for number, thing in places:
        sample = world[number]
        cut.append(chart_targets(sample.parts, sample.uv, sample.masks[thing], sample.boxes[thing], 28))
    return tuple(torch.stack(one) for one in zip(*cut))


train_parts, train_uv = targets_of(train_world, train_places)
val_parts, val_uv = targets_of(val_world, val_places)
print(tuple(train_parts.shape), tuple(train_uv.shape))

# %%
torch.manual_seed(0)
new_head = nn.Sequential(DensePoseHead(96, channels=64, convolutions=4),
                         DensePosePredictor(64, 6, up_scale=1)).to(device)
drawn = torch.Generator().manual_seed(0)


def some_figures() -> tuple:
    some = torch.randint(len(train_regions), (16,), generator=drawn)
    return train_regions[some.to(device)], train_parts[some], train_uv[some]


def loss(head: nn.Module, batch: tuple) -> dict:
    regions, parts, uv = batch
    of_parts, of_places = densepose_loss(*head(regions), parts, uv)
    return {"parts": of_parts, "places": 5 * of_places}

# %% [markdown]
# (An error of 0.1 in u is a small number beside a cross-entropy, so the places' loss counts five times.)
#
# How good is it?
# We count the share of body cells that get the right part, and how far u and v are off there, on average.
# To have something to compare with: the errors of a head that says u = ½ and v = ½ in every cell.

# %%
from lib.ops.charts import circular_distance


@torch.no_grad()
def how_good(head: nn.Module, regions: torch.Tensor, parts: torch.Tensor, uv: torch.Tensor) -> dict:
    """The share of the bodies' cells with the right part, and the mean error of u and v there."""
    said = DensePoseOutput(*(one.cpu() for one in head(regions)))
    body = parts > 0                                            # (R, 28, 28)
    right = (said.parts.argmax(dim=1) == parts)[body].float().mean().item()
    own_u, own_v = (maps.gather(1, parts[:, None])[:, 0][body] for maps in (said.u, said.v))
    return {"right part": right, "u off by": circular_distance(own_u, uv[:, 0][body]).mean().item(),
            "v off by": (own_v - uv[:, 1][body]).abs().mean().item()}


body = val_parts > 0                                            # (R, 28, 28)
constant = {"u off by": circular_distance(val_uv[:, 0][body], torch.tensor(0.5)).mean().item(),
            "v off by": (val_uv[:, 1][body] - 0.5).abs().mean().item()}
print("u = v = ½ everywhere", {name: f"{value:.3f}" for name, value in constant.items()})

# %% jupyter={"outputs_hidden": true}
history = fit(new_head, some_figures, loss, steps=200, learning_rate=3e-3, title="a DensePose head",
              validate=lambda head: how_good(head, val_regions, val_parts, val_uv))
learned = how_good(new_head, val_regions, val_parts, val_uv)
print("after 200 steps", {name: f"≈ {value:.3f}" for name, value in learned.items()})
assert learned["right part"] > 0.5 and learned["v off by"] < 0.6 * constant["v off by"]

# %% [markdown]
# Half a minute at most, and the head reads parts and v; u takes longer.
# And the trunk?

# %%
now = {"trunk": bits(trunk), "detector": bits(detector)}
print("before", before, "\nnow   ", now)
assert now == before

# %% [markdown]
# **Does the trunk's training matter?**
# A random network gives maps too, and a head can learn from them.
# Below, the head was taught with 2,000 pictures in 1,000 steps, three seeds each: on our detector's frozen trunk, and on a frozen trunk of random weights.
# (That is another one for each seed, its BatchNorm measured on pictures first.)
#
# **Predict** how much is left with the random one: nothing, half, nearly all?

# %% jupyter={"outputs_hidden": true}
KINDS = {"detector": "the detector's trunk", "random": "a random trunk"}


def runs_of(head: str, kind: str) -> list[dict]:
    return [run["val"] for name, run in stored.items() if name.startswith(f"{head}/{kind}/")]


figure = draw_runs({title: [run["mIoU"] for run in runs_of("densepose", kind)] for kind, title in KINDS.items()},
                   label="mean IoU of six parts, 200 validation scenes; a dot for each seed")
figure.axes[0].set_xlim(left=0)
plt.show()
for kind, title in KINDS.items():
    for name in ("mIoU", "right part", "u", "v"):
        print(f"{title:21} {name:11}", [f"{run[name]:.3f}" for run in runs_of("densepose", kind)])
print("u = v = ½ everywhere ", runs_of("densepose", "one half everywhere")[0])
assert min(run["mIoU"] for run in runs_of("densepose", "detector")) > \
    1.3 * max(run["mIoU"] for run in runs_of("densepose", "random"))

# %% [markdown]
# With the random trunk the mean IoU is three fifths of that.
# Of u the head has learned little: it is off by about 0.155, where ½ everywhere is off by 0.170; on the detector's trunk, by 0.12.
# So a trunk that was trained to find, to name and to draw things knows a good deal about arms and legs, although nobody ever asked it for them.
#
# Now the picture from the top once more, next to what the truth would give.
# The boxes are the detector's own; nothing here is told where the figures are.

# %%
def dress(image: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """The picture (3, H, W) with clothes on all figures in boxes (K, 4), as the head reads them."""
    read = bodies(image[None].to(device), [boxes])[0]
    for parts, uv in zip(read["parts"].cpu(), read["uv"].cpu()):
        image = wear(image, parts, read_texture(clothes, parts, uv))
    return image


pictures, titles = [], []
for number in (56, 80, 65):
    shown = val_world[number]
    said = detector(shown.image[None].to(device))[0]
    theirs = said["boxes"][(said["labels"] == FIGURE) & (said["scores"] > 0.5)]
    true_parts = torch.where(shown.parts <= 6, shown.parts, 0)
    true_clothes = read_texture(clothes, true_parts, shown.uv)
    pictures += [dress(shown.image, theirs), wear(shown.image, true_parts, true_clothes)]
    titles += [f"scene {number}: as the head reads it", "by the true charts"]
show_images(pictures, titles, columns=2, size=3.6)
plt.show()

# %% [markdown]
# Most stripes, zips and trouser seams are where they belong; the figure behind the cylinder lacks its lower legs, the one seen from the side is a patchwork.
#
# In scene 56 the raised hand wears a face: the detector took it for a small figure of its own, and a head reads whatever it is given.
# That is what twice as large pictures cost.
# The detector learned from pictures of 96 pixels, where a ball or a cone of that size was a whole thing.

# %% jupyter={"source_hidden": true}
from lib.ops.boxes import box_iou


@torch.no_grad()
def right_and_wrong(size: int) -> tuple[int, int]:
    """How many sure answers of the detector are right and how many wrong, in 40 scenes."""
    right, wrong = 0, 0
    for number in range(40):
        sample = val_world[number]
        image = F.interpolate(sample.image[None], (size, size), mode="bilinear", antialias=True)
        said = {name: value.cpu() for name, value in detector(image.to(device))[0].items()}
        sure = said["scores"] > 0.5
        overlap = box_iou(said["boxes"][sure] * 192 / size, sample.boxes)       # (K, N)
        hits = (overlap > 0.5) & (said["labels"][sure, None] == sample.labels)
        right, wrong = right + int(hits.any(dim=1).sum()), wrong + int((~hits.any(dim=1)).sum())
    return right, wrong


# %%
for size in (96, 192):
    right, wrong = right_and_wrong(size)
    print(f"{size} pixels: ≈ {right} right answers, ≈ {wrong} wrong ones")

# %% [markdown]
# It finds about as many things, and takes several times as many parts of things for things.
# So this trunk is better at reading in boxes than at finding boxes, at this size.
#
# And in the last scene something is quite wrong: **a face on the back of a head**.
# That figure walks away from us.
# Are figures seen from behind read as if they faced us?
#
# **Predict.**
# The error of u, for figures that face the camera and for those that turn their backs.

# %% jupyter={"outputs_hidden": true}
with torch.no_grad():
    of_region = bodies.predict_in(val_regions)
torso = val_parts == 2                                          # (R, 28, 28); u = 1/2 is its front
from_front = {"facing us": [], "turned away": []}
for said_u, true_u, where in zip(of_region.u[:, 2].cpu(), val_uv[:, 0], torso):
    if where.sum() > 20:
        away = circular_distance(true_u[where], torch.tensor(0.5)).mean() > 0.25    # mostly its back
        off = circular_distance(said_u[where], true_u[where]).mean().item()
        from_front["turned away" if away else "facing us"].append(off)
for title, errors in from_front.items():
    mean = sum(errors) / len(errors)
    print(f"{title:12} {len(errors):3} figures; the torso's u is off by {mean:.3f} of a turn")

# %% [markdown]
# Yes.
# For those that turn away, u is off by nearly half a turn, the largest error there is: front and back are mistaken for each other.
# They are one figure in seven, and what tells a back from a front is a little hair on a head of some 15 pixels.
# The mean error did not show that: a mean over mostly good answers hides a kind of picture on which nearly all answers are wrong.
# Look at pictures, and at groups.
#
# ## 6. A shape is a net of triangles
#
# Now the second head, and a harder question: what *shape* is the thing, also where nobody can see it?
#
# A surface in space is usually described by a **mesh**:
# **vertices**, which are points (x, y, z), and **faces**, triangles that name three vertices each.
# A shape made of cubes becomes a mesh by **cubify**: each cube brings eight corners and two triangles for each of its six sides;
# then corners that cubes share become one, and sides between two cubes are left out.
#
# **Predict.**
# How many vertices and triangles has one cube?
# And two cubes side by side?

# %% jupyter={"outputs_hidden": true}
from lib.ops.meshes import Meshes, cubify, sample_points_from_meshes

grids = {"one": [(0, 0, 0)], "two": [(0, 0, 0), (0, 0, 1)], "a corner": [(0, 0, 0), (0, 0, 1), (0, 1, 0)]}
cubes = {}
for title, cells in grids.items():
    voxels = torch.zeros(1, 2, 2, 2)                            # z, y, x: 0 empty, 1 occupied
    for z, y, x in cells:
        voxels[0, z, y, x] = 1
    mesh = cubify(voxels, 0.5, align="corner")
    verts, faces = mesh.verts[0], mesh.faces[0]                 # (V, 3), (F, 3)
    cubes[f"{title}: {len(verts)} vertices, {len(faces)} triangles"] = (verts, faces)
draw_meshes(cubes, size=2.6)
plt.show()
print(*cubes, sep="\n")

# %% [markdown]
# Each cube alone has 8 corners and 12 triangles.
# Two that touch share 4 corners and hide 2 sides, which is 4 triangles.
#
# **How near is a shape to another?**
# Two meshes of the same ball may have no vertex in common, and not even as many.
# So surfaces are compared, not vertices: many points are drawn at random from each, evenly over the surface.
# From each point of the one cloud one goes to the nearest point of the other.
# And back, because one way is not enough:
#
# **Predict.**
# A mesh is a single tiny triangle on the true surface.
# Which of the two ways is still short: from it to the truth, or from the truth to it?
#
# ### Exercise 4 · `chamfer_distance`
#
# *12 minutes · ★★☆*
#
# - `one`: (P, 3), `other`: (Q, 3) floats, points of two surfaces, at least one each; P and Q may differ.
# - Returns a number: the mean over `one` of the *squared* distance to the nearest point of `other`,
#   plus the mean over `other` of the squared distance to the nearest point of `one`.
# - Gradients reach both.
#   They are finite also where a point lies exactly on another.

# %% tags=["exercise"]
def chamfer_distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    squared = (one[:, None] - other).square().sum(dim=2)        # (P, Q)
    return squared.min(dim=1).values.mean() + squared.min(dim=0).values.mean()
    ### END SOLUTION

# %%
check(chamfer_distance)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# All P · Q differences fit into one tensor (P, Q, 3).
# </details>
# <details><summary>Hint: gradients of nan</summary>
#
# The square root is infinitely steep at 0.
# Squared distances need no root.
# </details>

# %%
chamfer_distance = use(chamfer_distance)

# %%
ring = torch.arange(200) / 200 * 6.2832
circle = torch.stack([ring.cos(), ring.sin(), 0 * ring], dim=1)                 # (200, 3)
higher = circle + torch.tensor([0, 0, 0.1])
for title, cloud in (("itself", circle), ("itself, 0.1 higher", higher), ("a point of it", circle[:1])):
    print(f"chamfer distance of a circle and {title}: {chamfer_distance(circle, cloud):.3f}")

# %% [markdown]
# A single point of the circle is perfect in one direction: it lies on the circle.
# In the other it is far from nearly all, 2.000 when squared.
# So it is with the tiny triangle on the true surface: the way from it is short, the way from the truth is long.
#
# ## 7. From a box to voxels
#
# A mask is a grid of cells with yes or no.
# A shape can be that too, with one axis more: **voxels**.
# So the *voxel branch* is a mask branch whose answer has a channel for each depth: behind each cell of the box a column of voxels.
#
# Where is that grid, in space?
# What a camera sees through a box is a pyramid without its tip, a **frustum**: it widens with the distance.
# It is bent to a cube from −1 to 1, such that x and y are places *in the box*, and z runs from the nearest to the farthest point of the thing.
# So every thing fills its cube, near or far, and a head that looks into the box needs no camera.
# The price: what is square in space is askew in the cube.

# %%
from lib.viz.surfaces.frustum import draw_frustum

crate_scene, which = val_world[4], 2                            # the scene's third thing is a crate
crate_box = crate_scene.boxes[which]
draw_frustum(*crate_scene.meshes[which], crate_box, crate_scene.intrinsics)
plt.show()

# %% [markdown]
# Each blue line on the left runs towards the camera, or across.
# The voxels at the back are larger than those at the front, in metres; in the picture they cover the same cells.
#
# Here is the crate in its cube, and its voxels in three grids.

# %%
from lib.ops.voxels import voxelize

crate = frustum_mesh(crate_scene, which, crate_box)             # vertices (V, 3), faces (F, 3)
solids = {"in its cube": crate}
for size in (4, 8, 16):
    grid = voxelize(*crate, size)                               # (size, size, size) bool: z, y, x
    mesh = cubify(grid[None].float(), 0.5, align="corner")
    solids[f"{size}³ voxels, {int(grid.sum())} occupied"] = (mesh.verts[0], mesh.faces[0])
draw_meshes(solids, size=2.3)
plt.show()

# %%
def points_of(mesh: tuple, count: int = 800, seed: int = 0) -> torch.Tensor:
    """Points drawn from a surface, (count, 3)."""
    drawn = torch.Generator().manual_seed(seed)
    return sample_points_from_meshes(Meshes([mesh[0]], [mesh[1]]), count, generator=drawn)[0]


true_points = points_of(crate, seed=9)
for title, mesh in solids.items():
    print(f"{title:26} chamfer distance {chamfer_distance(points_of(mesh), true_points):.4f}")

# %% [markdown]
# (Not even the crate itself has 0: other points of the same surface were drawn.)
# Finer grids come closer, at eight times the voxels for each doubling; but they still have steps.
#
# ## 8. Let the corners move
#
# A mesh need not stay where cubify put it: **move its vertices**.
# What tells them where to go?
# The chamfer distance, for it has a gradient.
#
# First without any network: the vertices themselves are the weights, and the truth is known.
#
# **Predict.**
# The 8³ voxels of the crate are pulled towards the truth, by nothing but the chamfer distance.
# What will the surface look like?

# %% jupyter={"outputs_hidden": true}
from lib.ops.mesh_losses import mesh_edge_loss, mesh_normal_consistency

start = cubify(voxelize(*crate, 8)[None].float(), 0.5, align="corner")


def pull(edge_weight: float, steps: int = 150) -> Meshes:
    """Move the vertices downhill: chamfer distance, and edges that are to be short."""
    moves = torch.zeros_like(start.verts_packed(), requires_grad=True)          # (V, 3)
    optimiser, drawn = torch.optim.Adam([moves], lr=0.01), torch.Generator().manual_seed(0)
    for _ in range(steps):
        mesh = start.offset_verts(moves)
        cloud = sample_points_from_meshes(mesh, 400, generator=drawn)[0]
        optimiser.zero_grad()
        (chamfer_distance(cloud, true_points) + edge_weight * mesh_edge_loss(mesh)).backward()
        optimiser.step()
    return start.offset_verts(moves.detach())

# %% jupyter={"outputs_hidden": true}
pulled = {"voxels": start, "chamfer alone": pull(0.0),
          "short edges too, × 0.2": pull(0.2), "short edges too, × 1": pull(1.0)}
draw_meshes({title: (mesh.verts[0], mesh.faces[0]) for title, mesh in pulled.items()}, size=2.3)
plt.show()
for title, mesh in pulled.items():
    near = chamfer_distance(points_of((mesh.verts[0], mesh.faces[0])), true_points)
    bend = mesh_normal_consistency(mesh)
    print(f"{title:22} chamfer distance ≈ {near:.4f}, neighbours bend by ≈ {bend:.2f}")
    assert (bend > 0.6) == (title == "chamfer alone")

# %% [markdown]
# The chamfer distance is satisfied, more than it should be: it is even less than the 0.0083 that other points of the true surface have.
# (The mesh was pulled to these very 800 points, and has learned them by heart.)
# And the surface is crumpled paper.
# It asks whether points lie well, not how the triangles between them do: they may fold, cross, and face anywhere.
# (*Bend* is 1 − cosine of the angle between neighbouring triangles: 0 where they lie flat, 1 at a right angle.)
# A second loss keeps **edges short**, and with the right weight the crate is a crate again, its corners a little round.
# With too much, it shrinks and loses its corners: a mesh that is a single point has the shortest edges of all.
#
# ## 9. A network that moves them
#
# In use nobody knows the truth.
# A vertex must be told where to go by the *picture*.
# So each stage of **refinement** does three things:
# the vertex reads the map where it lies; it hears from its neighbours; it moves.
#
# **Read the map**, called **vertex alignment**.
# A vertex lies somewhere in the box, and so between the cells of the region: a job for lesson 12's bilinear sampling.
#
# ### Exercise 5 · `vert_align`
#
# *10 minutes · ★★☆*
#
# - `feature`: (C, h, w), a region that was cut out by a box.
#   `verts`: (V, 3) floats, x, y and z; V may be 0.
# - x runs from −1 at the left *side* of the region to 1 at its right side, y from −1 at the top to 1 at the bottom.
#   z does not matter: points behind one another in the picture read the same value.
# - Returns (V, C): the region's value where each vertex falls, mixed from the four cells around it.
#   A cell's value belongs to its middle.
#   Beyond the outermost middles, also outside of the region, x and y are clamped to them.
# - Gradients reach `feature`, and the vertices' x and y.
# - PyTorch's `F.grid_sample` may do the reading.

# %% tags=["exercise"]
def vert_align(feature: torch.Tensor, verts: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    places = verts[None, None, :, :2]                           # (1, 1, V, 2)
    read = F.grid_sample(feature[None], places, padding_mode="border", align_corners=False)
    return read[0, :, 0].T                                      # (1, C, 1, V) -> (V, C)
    ### END SOLUTION

# %%
check(vert_align)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# `F.grid_sample` wants a batch of maps (N, C, h, w) and a grid of places (N, rows, columns, 2), x before y, from −1 to 1.
# A list of V places is a grid with one row.
# </details>
# <details><summary>Hint: values near the sides are too strong or too weak</summary>
#
# Two arguments say what −1 means (the middle of the outermost cell, or its outer side), and what lies beyond.
# </details>

# %%
vert_align = use(vert_align)

# %% [markdown]
# **Hear from the neighbours.**
# In a picture a 3 × 3 convolution mixes a pixel with its eight neighbours, each with weights of its own.
# A vertex has any number of neighbours, in no order.
# So all neighbours share one matrix, and what they say is added up.
# The vertex itself has another matrix: how it differs from its neighbours is what matters most.
#
# $$f_i' = W_0 f_i + \sum_{j \text{ next to } i} W_1 f_j$$
#
# ### Exercise 6 · `graph_conv`
#
# *12 minutes · ★★☆*
#
# - `features`: (V, C), of the vertices.
#   `edges`: (E, 2) int64, the two vertices of each edge; each edge once, either way round; E may be 0.
#   `w0`, `w1`: (D, C).
# - Returns (V, D): for each vertex `w0` times its own features, plus the *sum* over its neighbours of `w1` times theirs.
# - Gradients reach `features`, `w0` and `w1`.

# %% tags=["exercise"]
def graph_conv(features: torch.Tensor, edges: torch.Tensor, w0: torch.Tensor,
               w1: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    own, sent = features @ w0.T, features @ w1.T                # (V, D) each
    start, end = edges.unbind(dim=1)                            # (E,) each
    return own.index_add(0, start, sent[end]).index_add(0, end, sent[start])
    ### END SOLUTION

# %%
check(graph_conv)

# %% [markdown]
# <details><summary>Hint: only some neighbours arrive</summary>
#
# `sums[start] += sent[end]` writes once to each place, even if several edges end there.
# `index_add` adds them all.
# </details>
# <details><summary>Hint: each vertex hears half of its neighbours</summary>
#
# An edge (2, 5) makes 5 a neighbour of 2, and 2 a neighbour of 5.
# </details>

# %%
graph_conv = use(graph_conv)

# %% [markdown]
# How far does a message get?
# One vertex of the crate is given a 1, all others 0; then graph convolutions whose weights are all 1.
#
# **Predict.**
# After one of them, how many vertices have heard of it?
# And after nine: three stages of three?

# %% jupyter={"outputs_hidden": true}
message = torch.zeros(len(start.verts[0]), 1)
message[0] = 1
heard = []
for _ in range(9):
    message = graph_conv(message, start.edges_packed(), torch.ones(1, 1), torch.ones(1, 1)).clamp(max=1)
    heard.append(int((message > 0).sum()))
print("of", len(message), "vertices have heard of it:", heard)

# %% [markdown]
# A vertex reads one place of the picture, but it decides after it has heard from a whole neighbourhood.
# That is a receptive field, on a surface.
#
# One stage, written with what you wrote.
# (A layer also adds biases, and `tanh` keeps each move below 1.)

# %%
stage = shapes.mesh_head.stages[0]
regions = shapes.regions(crate_scene.image[None].to(device), [crate_box[None].to(device)])
voxels, extents, steps = shapes.predict_in(regions)             # (1, 8, 8, 8), (1,), four meshes
verts, edges = steps[0].verts_packed(), steps[0].edges_packed()
features = F.relu(stage.bottleneck(vert_align(regions[1][0], verts)))           # (V, 64)
for layer in stage.gconvs:
    known = torch.cat([features, verts], dim=1)                 # each vertex also knows where it is
    own_and_sent = graph_conv(known, edges, layer.w0.weight, layer.w1.weight)
    degree = torch.bincount(edges.flatten(), minlength=len(verts))[:, None]     # one bias a neighbour
    features = F.relu(own_and_sent + layer.w0.bias + degree * layer.w1.bias)
moves = torch.tanh(stage.verts_offset(torch.cat([features, verts], dim=1)))     # (V, 3)
assert torch.allclose(verts + moves, steps[1].verts_packed(), atol=1e-4)
print("by hand, stage 1 moves", tuple(moves.shape), "· equal to the network's")

# %% [markdown]
# ## 10. From voxels to a better mesh
#
# The mesh head has three such stages; each goes on with the features of the one before.
# It was trained on the same frozen trunk, with 1,000 scenes, in 800 steps of 16 things; a voxel is occupied from a probability of 0.4 on.
# Its losses, at each stage: chamfer distance, short edges, and *normals*: at points that are nearest to each other both surfaces should face the same way.
# Turn the meshes with the mouse; all turn together.

# %%
def steps_of(sample, thing: int) -> dict:
    """By title: the truth, the voxels, and the mesh after each stage."""
    with torch.no_grad():
        found = shapes(sample.image[None].to(device), [sample.boxes[thing][None].to(device)])[0]["meshes"]
    made = {f"stage {place}" if place else "voxels": (one.verts[0].cpu(), one.faces[0].cpu())
            for place, one in enumerate(found)}
    return {"the truth": frustum_mesh(sample, thing, sample.boxes[thing])} | made


explore_meshes(steps_of(crate_scene, which))

# %% [markdown]
# A cone and a figure:

# %%
for number, place in ((10, 0), (16, 1)):
    made = steps_of(val_world[number], place)
    draw_meshes({title: made[title] for title in ("the truth", "voxels", "stage 1", "stage 3")}, size=2.3)
    plt.show()
print("vertices of the figure's mesh, in its true box:", len(steps_of(val_world[16], 1)["stage 3"][0]))

# %% [markdown]
# Steps become slopes, and most of it in the first stage.
# The crate's edges come out round, as if it were half a cylinder; where the network is not sure, its mesh lies between the shapes that could be.
# And the figure has no arms even as voxels, and no gap between its legs: 8 cells across are few, and the voxel branch finds less than they could hold.
# Vertices cannot mend that, since moving them never grows an arm that is not there.
#
# **Does refinement help, stage by stage?**
# All things of 200 validation scenes that are seen whole; three seeds.
# *F1* is the share of points with a neighbour within 0.1, a twentieth of the box, combined from both directions (harmonic mean).
#
# **Predict.**
# Which classes gain most from moving vertices?

# %% jupyter={"source_hidden": true}
def of_stages(kind: str, group: str, metric: str) -> torch.Tensor:
    """A number after each stage, (seeds, 4): the voxels and three stages."""
    return torch.tensor([run[group][metric] for run in runs_of("mesh", kind)])


# %% jupyter={"outputs_hidden": true, "source_hidden": true}
figure, axes = plt.subplots(1, 2, figsize=(9.2, 3), layout="constrained")
for axis, metric in zip(axes, ("chamfer", "F1")):
    for kind, colour in (("detector", "#0072B2"), ("random", "#D55E00")):
        for row in of_stages(kind, "all", metric):
            axis.plot(range(4), row, marker="o", markersize=3, color=colour)
        axis.plot([], [], color=colour, label=KINDS[kind])
    axis.set_xticks(range(4), ("voxels", "stage 1", "stage 2", "stage 3"))
    axis.set_ylabel({"chamfer": "chamfer distance", "F1": "F1 at 0.1"}[metric])
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
axes[0].legend(frameon=False)
figure.suptitle("200 validation scenes; a line for each seed", fontsize=10)
plt.show()

# %% jupyter={"outputs_hidden": true}
for kind in KINDS:
    for metric in ("chamfer", "F1"):
        means = of_stages(kind, "all", metric).mean(dim=0).tolist()
        print(f"{KINDS[kind]:21} {metric:8}", [f"{value:.4f}" for value in means])
first = of_stages("detector", "all", "F1")                      # (3, 4)
assert first[:, 1].min() > first[:, 0].max() + 0.08 and (first[:, 3] - first[:, 1]).max() < 0.02

# %%
print("from the voxels to stage 3")
for name in CLASSES:
    f1, far = (of_stages("detector", name, metric).mean(dim=0).tolist() for metric in ("F1", "chamfer"))
    print(f"{name:9} F1 {f1[0]:.3f} -> {f1[3]:.3f}   chamfer distance {far[0]:.4f} -> {far[3]:.4f}")

# %% [markdown]
# Voxels alone have an F1 of 0.53, after the first stage 0.63; the second and third add next to nothing.
# So *stage by stage* is true of one stage here.
# Cones gain most, spheres and cylinders nearly as much.
# At figures F1 falls, although the chamfer distance falls as well.
# A likely reason: squares care most about what is far off, an arm that is missing, and draw the nearest vertices towards it;
# F1 does not care how far off a point is, and misses the points that lay well before.
#
# On a random trunk the voxels are worse, and refinement has little to go by: a vertex that reads noise does not know where to move.
#
# **And the short edges?**
# The same training without them, seed 0:

# %%
without = runs_of("mesh", "no edge loss")[0]["all"]
with_edges = runs_of("mesh", "detector")[0]["all"]
for title, run in (("with short edges", with_edges), ("without", without)):
    print(f"{title:17} chamfer distance {run['chamfer'][3]:.4f}, F1 {run['F1'][3]:.3f} after stage 3")

# %% [markdown]
# In these two measures it makes no difference.
# But the chamfer distance does not see folds, as section 8 has shown, and F1 asks for no more than nearness either.
# Whether the surfaces are smoother was not measured.
# (They may be smooth without the loss: neighbours read nearly the same place, and hear each other.)
#
# ## 11. What a picture cannot say
#
# Shapes stand in the cube of their box.
# To put them into the room, in metres, one must know how far away and how deep the thing is.
#
# How deep it is *compared with its height* can be told from the picture; a head with one number learns it.
# How far away it is cannot.
#
# **Predict.**
# The crate's mesh is placed into the room twice: 5 metres away, and 10 metres.
# How do its height in metres and its height in the picture differ?

# %% jupyter={"outputs_hidden": true}
from lib.models.mesh_rcnn import place_meshes

for distance in (5.0, 10.0):
    mesh = Meshes([steps[3].verts[0].cpu()], [steps[3].faces[0].cpu()])
    room = place_meshes(mesh, crate_box[None], extents.cpu(), torch.tensor([distance]),
                        crate_scene.intrinsics).verts[0]        # (V, 3) metres
    pixels = room[:, 1] / room[:, 2] * crate_scene.intrinsics[1, 1] + crate_scene.intrinsics[1, 2]
    metres, high = (one.max() - one.min() for one in (room[:, 1], pixels))
    print(f"{distance:g} m away: {metres:.2f} m high, and {high:.1f} pixels in the picture")

# %% [markdown]
# Twice as far and twice as large looks the same.
# No network can learn what is not there; what it could learn is how large crates usually are.
# The paper, too, takes the true distance when it compares meshes in metres.
#
# ## 12. Look inside
#
# What does a trunk know that was trained to find, to name and to draw, and never heard of heads or feet?
#
# 1. Look at channel 54, where the explorer begins.
#    What does it answer to?
# 2. Is there a channel that is brightest at the figure's head?
#    Does it answer to nothing else?

# %%
explorer = explore(trunk.backbone, picture)
explorer.layer, explorer.channel = "body.2", 54
explorer.cell = (14, 7)                                         # at the left foot
explorer

# %% [markdown]
# <details><summary>What there is to see</summary>
#
# 1. To the feet: its two brightest cells lie on them.
#    The lawn and the hands answer more weakly.
# 2. Channel 38 has its brightest cell on the head, but the next ones lie on the lawn.
#    Channel 18 is bright on the head too, and brighter still on a crate.
#    No channel *is* a head; the new head reads all 96 at once, and a few of them together are enough to tell.
# </details>
#
# ## 13. At full size
#
# `DensePoseRCNN` and `MeshRCNN` with their default arguments have the papers' heads:
# eight convolutions of 512 channels and 24 parts; 24³ voxels and three stages of 128 features.
# The paper's DensePose learned from 50,000 people on whom annotators had marked 5 million places, some hundred on each;
# a second network, the *teacher*, filled in the pixels between.
# Our truth is known at every pixel, because we made the world.
#
# **Predict.**
# Which of the papers' four parts below has most weights?

# %% jupyter={"outputs_hidden": true}
from lib.models.mesh_rcnn import MeshHead, VoxelHead

for name, part in (("DensePose head", DensePoseHead(256)), ("its answers", DensePosePredictor(512, 24)),
                   ("voxel branch", VoxelHead(256, 12)), ("three stages of refinement", MeshHead(256))):
    print(f"{name:27} {sum(weight.numel() for weight in part.parameters()):>11,} weights")

# %% [markdown]
# The DensePose head, nearly all in its eight convolutions of 512 channels.
# The three stages that move vertices have the fewest: every vertex goes through the same few matrices.
#
# ## 14. Recap

# %%
draw_new_heads(bodies, shapes, picture, figures[:1], timed=False)
plt.show()

# %% [markdown]
# | | mask branch (12) | DensePose | Mesh R-CNN |
# | --- | --- | --- | --- |
# | input | a region of the trunk's map | the same | the same |
# | answers | yes or no in each cell | a part in each cell; u and v for each part | yes or no in each voxel; then moves of vertices |
# | truth is cut | by averaging | without averaging | by drawing points from a surface |
# | losses | cross-entropy of the true class | cross-entropy, and smooth L1 of the true part's u and v | cross-entropy, chamfer distance, normals, short edges |
#
# **What we found.**
# The trunk's numbers are the same to the last bit, before and after.
# On the detector's trunk a DensePose head reaches a mean IoU of 0.53, on a random one 0.32; without a trained trunk it learns little of u.
# It reads figures that turn their backs as if they faced us.
# Moving vertices takes F1 from 0.53 to 0.63 in one stage, and two more stages add 0.01.
# Chamfer distance alone gives crumpled paper.
#
# **What the papers reported.**
# DensePose: about 50,000 people of COCO, 24 parts, several pictures a second on one GPU of 2018.
# Trained together with masks or key points, it becomes better.
# Mesh R-CNN, on photos of furniture (Pix3D): with voxels alone hardly any shape is right by the paper's measure, with refinement about half of them are.
#
# **What was simpler here.**
# Figures of six parts, truth at every pixel, true boxes in training.
# The trunk is frozen; both papers train it together with the heads.
# Meshes are judged in the cube of their box.
#
# **Words of this lesson.**
# *Trunk*: all of a network before its heads.
# *Frozen*: does not change while something else learns.
# *Chart*: a flat map of one part of a surface; *atlas*: all charts.
# *Seam*: where a chart's end meets its beginning.
# *Voxel*: a cell of a grid in space.
# *Mesh*: vertices and the triangles between them.
# *Frustum*: the part of space that is seen through a box.
# *Chamfer distance*: from each surface to the nearest place of the other, there and back, squared.
# *Graph convolution*: a vertex and the sum of its neighbours, each through a matrix.
#
# **Go on from here.**
# Tasks without a check:
#
# - Mirror figures in training.
#   Left and right change places, and u runs the other way: twice as many figures for nothing.
# - Start all meshes from a ball instead of voxels (voxels of a ball, through `cubify`).
#   Expect figures with arms grown together: moving vertices never makes a gap.
# - Take the trunk of lesson 11, a pyramid with a map of stride 4, instead of lesson 12's.
#   Parts gain a little (0.02 of mean IoU, when we tried it once).
#
# ### Three questions
#
# **1.**
# All weights of a trunk ask for no gradient, and the model is set to `train()`.
# What changes while a head learns?
# (a) nothing (b) BatchNorm's running mean and variance (c) the biases
#
# <details><summary>Answer</summary>
#
# **(b)** They follow what runs through, gradient or not.
# `eval()` stops them.
# </details>
#
# **2.**
# Truth u = 0.95, answer u = 0.05.
# How much is the answer off?
# (a) 0.90 (b) 0.10 (c) it depends on v
#
# <details><summary>Answer</summary>
#
# **(b)** From 0.95 on to 1, which is 0, and on to 0.05.
# </details>
#
# **3.**
# A mesh has a chamfer distance of nearly 0 from the truth.
# What may still be wrong with it?
# (a) nothing (b) a whole arm is missing (c) triangles that fold and cross
#
# <details><summary>Answer</summary>
#
# **(c)** Points that lie well are all it asks for.
# A missing arm costs: from the true arm's points the way to the nearest point is long.
# </details>

# %%
progress("13")

# %% [markdown]
# **Next:** all detectors so far ask thousands of places *is there something?* and then throw away nearly all answers.
# Lesson 14: DETR asks a hundred questions at once, and each gets one answer.
