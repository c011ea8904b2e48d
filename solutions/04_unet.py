# %% [markdown]
# # 04 · U-Net: the way up is as rich as the way down
#
# Lesson 03 ended with FCN-8s: it names the things, and draws them with a thick brush.
# Below is one scene, segmented by FCN-8s and by the network of this lesson.
# This FCN-8s is wider than that of lesson 03: the two have about equally many weights, and learned from the same pictures in equally many steps.
# Look at the corners of the crate.

# %%
import matplotlib.pyplot as plt
import torch

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import SEMANTIC_COLOURS, SEMANTIC_NAMES, Toyworld
from lib.device import choose_device
from lib.models.fcn import FCN, SmallBackbone
from lib.models.unet import UNet
from lib.training import load_checkpoint
from lib.viz.masks.segmentation import draw_segmentations

device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"

# %%
unet = UNet(3, num_classes=7, width=28, depth=2, stem_stride=4).to(device)
fcn = FCN(SmallBackbone(16), num_classes=7, stride=8).to(device)
made = {"U-Net": load_checkpoint(unet, folder / "04_unet.safetensors"),
        "FCN-8s": load_checkpoint(fcn, folder / "04_unet_fcn8s.safetensors")}
networks = {"FCN-8s": fcn, "U-Net": unet}
for network in networks.values():
    network.eval().requires_grad_(False)                        # trained before; we only ask

# %%
val_world = Toyworld("val", length=200)
scene = val_world[29]
picture = scene.image.to(device)                                # (3, 96, 96)
answers = {name: network(picture[None])[0].argmax(dim=0).cpu()          # (96, 96)
           for name, network in networks.items()}
answers["truth"] = scene.semantic
draw_segmentations(picture, answers, SEMANTIC_NAMES, SEMANTIC_COLOURS)
zoom = (slice(42, 90), slice(0, 48))                            # rows, columns
zoomed = {f"{name}, enlarged": answer[zoom] for name, answer in answers.items()}
draw_segmentations(picture[:, *zoom], zoomed, SEMANTIC_NAMES, SEMANTIC_COLOURS)
plt.show()

# %% [markdown]
# **You will be able to**
#
# - write the three parts of a U-Net, assemble them, and run trained weights through them;
# - say what its bridges carry, show what is lost when one of them is cut, and separate three causes of sharper outlines;
# - make a network take pictures of any size, and work out what it gives back without padding;
# - train for a class that covers one pixel in a hundred, and say why the usual loss takes so long to say *yes* to it;
# - bend a picture, and weight the pixels between two cells that touch, as the paper did.
#
# | | |
# | --- | --- |
# | Time | 80 minutes: 45 for the five exercises, the rest to read; under a minute of computing on two cores |
# | Builds on | lesson 01 (sizes, receptive fields), 02 (transposed convolution), 03 (FCN-8s, mIoU) |
# | Papers | Ronneberger, Fischer & Brox 2015, *U-Net: Convolutional Networks for Biomedical Image Segmentation* · Milletari, Navab & Ahmadi 2016, *V-Net*, for the dice loss |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.
# The output of a cell that answers a *Predict* is folded: click on it to open it.
# A *thing* is this course's word for an object: a sphere, a crate, a cylinder, a cone or a figure.

# %%
from functools import partial

import torch.nn.functional as F
from scipy.ndimage import label
from torch import nn
from tqdm.auto import tqdm

from lib.datasets.cells import Cells, bend, draw_cells, weight_map
from lib.datasets.photos import load_photo
from lib.exercises import check, hint, progress, solution, use
from lib.ops.segmentation_metrics import boundary_f_score, confusion_matrix, iou_per_class, mean_iou
from lib.ops.receptive_field import Window, receptive_field
from lib.training import Batches, fit, toyworld_tensors
from lib.viz import explore, pca_colours, show_images, show_numbers
from lib.viz.diagrams.u_diagram import draw_u

# %% [markdown]
# ## 1. What comes back in an FCN
#
# FCN-8s goes down to a coarse map, and on the way up it asks two finer maps for help.
# **How** does it ask?
# It lets a 1×1 convolution turn each of them into class scores, and adds the scores.
# What crosses from the way down to the way up we call a **bridge**; papers say **skip connection**.
#
# **Predict.**
# The finest map it asks has 64 channels, on 12 × 12 cells.
# How many numbers per cell make it across to the way up?

# %% jupyter={"outputs_hidden": true}
maps = fcn.backbone(picture[None])
bridge = fcn.score_pool3(maps.pool3)
print("the map that is asked:", tuple(maps.pool3.shape))
print("what crosses over:    ", tuple(bridge.shape))

# %% [markdown]
# Seven: one per class.
# Everything else the map knew (where an edge runs, which way it leans, what texture lies beside it) had to be squeezed into
# "more cone, less ground" *right there*, at one cell per 8 × 8 pixels.
# After that it is gone.
#
# U-Net has a simple idea: **send the whole map across, and let the way up decide.**
# And do it at every level, the finest too.

# %%
fine = unet.top(unet.stem(picture[None]))                       # (1, 28, 24, 24)
coarse = unet.contracting[0](fine)                              # (1, 56, 12, 12)
crossing = {"FCN-8s: its pool3": maps.pool3, "what it sends across": bridge,
            "U-Net's coarse bridge": coarse, "U-Net's fine bridge": fine}
shown = [picture, *(pca_colours(values[0].cpu()) for values in crossing.values())]
titles = [f"{name}\n{len(values[0])} channels, stride {96 // values.shape[2]}"
          for name, values in crossing.items()]
show_images(shown, ["picture\n", *titles], columns=5, size=2)
plt.show()

# %% [markdown]
# All channels at once as colours, as in lesson 01.
# The FCN sends the second of these across, the U-Net the two at the right.
# So they differ in two ways at once.
# The U-Net sends *more channels*; and it sends a *finer map*, one cell per 4 × 4 pixels, on which you can see where each thing ends.
# At the same stride, 8, no map looks sharper than another, with 7 channels or with 64.
# Which of the two is it that helps?
# This picture cannot say, and section 8 will find out.

# %% [markdown]
# ## 2. The part that is used everywhere
#
# Every level of the U does the same: two 3×3 convolutions in a row.
# Why two small ones and not one large one?
#
# **Predict.**
# How many pixels does one cell see after *two* 3×3 convolutions?
# Which single convolution sees as much, and which of the two ways has fewer weights?

# %% jupyter={"outputs_hidden": true}
print("two 3×3 see", receptive_field([Window(3), Window(3)]).size, "pixels across")
two = nn.Sequential(nn.Conv2d(32, 32, 3, bias=False), nn.Conv2d(32, 32, 3, bias=False))
one = nn.Conv2d(32, 32, 5, bias=False)
for name, layer in (("two 3×3", two), ("one 5×5", one)):
    print(f"{name}: {sum(weight.numel() for weight in layer.parameters()):,} weights")

# %% [markdown]
# They see just as far, with 18 weights per pair of channels instead of 25, and there is room for a ReLU between the two.
# Without one, two convolutions in a row would be a single convolution that was written down in two pieces.
#
# ### Exercise 1 · `double_conv`
#
# *7 minutes · ★☆☆*
#
# - Returns a module: 3×3 convolution, batch normalisation, ReLU, and the same again.
# - The first convolution goes from `channels_in` to `channels_out`; the second stays there.
# - The map keeps its size, with zeros around it: (B, channels_in, H, W) → (B, channels_out, H, W).
# - Each normalisation learns its own scale and shift.
# - The convolutions may have a bias or not: the normalisation takes it away again.

# %% tags=["exercise"]
def double_conv(channels_in: int, channels_out: int) -> nn.Module:
    ### BEGIN SOLUTION
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
        nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )
    ### END SOLUTION

# %%
check(double_conv)

# %% [markdown]
# <details><summary>Hint: how do I put layers in a row?</summary>
#
# `nn.Sequential` takes layers and runs them one after the other.
# It is a module itself.
# </details>
# <details><summary>Hint: PyTorch says that it expected 3 channels and got 4</summary>
#
# The second convolution reads what the first one wrote.
# How many channels are those?
# </details>
# <details><summary>Hint: my map comes out smaller than it went in</summary>
#
# By how much?
# Each convolution takes a cell off on every side.
# There is an argument that puts a border around the map first.
# </details>

# %%
double_conv = use(double_conv)

# %%
block = double_conv(3, 14)
print("a batch of two pictures:", tuple(block(torch.rand(2, 3, 96, 96)).shape))

# %% [markdown]
# ## 3. One step up
#
# On the way down, max pooling halves the map and the next `double_conv` doubles the channels.
# On the way up, a transposed convolution does the opposite: it doubles the map and halves the channels.
# U-Net's has a kernel of 2 × 2 and a stride of 2.
# In lesson 02 stamps overlapped, and left a checkerboard.
# These do not: each cell becomes a square of four of its own.

# %%
tiny = torch.tensor([[[[1., 2.], [3., 4.]]]])                   # (1, 1, 2, 2)
up_convolution = nn.ConvTranspose2d(1, 1, kernel_size=2, stride=2, bias=False)
up_convolution.weight.data = torch.tensor([[[[1., 0.], [0., -1.]]]])
with torch.no_grad():
    doubled = up_convolution(tiny)                              # (1, 1, 4, 4)
show_numbers({"map": tiny[0, 0], "stamp": up_convolution.weight[0, 0], "doubled": doubled[0, 0]})
plt.show()

# %% [markdown]
# Now the skip comes in: a map of this size, kept from the way down.
# The two are **concatenated** along the channel axis, `torch.cat(…, dim=1)`, and a `double_conv` reads both.
# The one from below has seen more of the picture, the skip is exact about places. (Section 11 finds out which of them carries what.)
#
# There is one trap.
# **Predict.**
# A map of 25 rows is halved and later doubled.
# How many rows come back?
# Halving may drop the odd row, or round up and give it a cell of its own.

# %% jupyter={"outputs_hidden": true}
rows = torch.arange(25.).view(1, 1, 25, 1)
for name, ceil_mode in (("rounding down", False), ("rounding up", True)):
    halved = F.max_pool2d(rows, (2, 1), ceil_mode=ceil_mode)
    few = halved.shape[2]
    print(f"{name}: 25 -> {few} -> {2 * few} rows;",
          f"the last cell answers for row {halved.max():.0f}")

# %% [markdown]
# Neither gives 25.
# Rounding down leaves row 24 without a cell of its own.
# The two convolutions before the pooling have carried something of it into row 23, so it is not unseen, but nothing below can answer *for* it.
# So this course rounds **up**, and has one row too many on the way back.
# It belongs to no row of the skip, and it is always the last one.
# So cut it off.
#
# The paper avoids the question: it asks for a size at which **every map that is pooled has even sides**.
# Many U-Nets on GitHub do the same, and only take multiples of 16.
#
# ### Exercise 2 · `up_with_skip`
#
# *10 minutes · ★★☆*
#
# - `below`: (B, 2C, h, w), the map from one level deeper.
# - `skip`: (B, C, H, W), the map that was kept on this level.
#   2h is H or H + 1, and the same holds for the width.
# - `up`: a module that doubles `below` and gives C channels.
#   `conv`: a module that reads 2C channels.
# - Double; cut off the last row or column where there is one too many; put the skip **first** and the other map behind it; convolve.
#   Gradients must flow to both maps.

# %% tags=["exercise"]
def up_with_skip(below: torch.Tensor, skip: torch.Tensor, up: nn.Module,
                 conv: nn.Module) -> torch.Tensor:
    ### BEGIN SOLUTION
    above = up(below)                                           # (B, C, 2h, 2w)
    above = above[:, :, :skip.shape[2], :skip.shape[3]]         # (B, C, H, W)
    return conv(torch.cat([skip, above], dim=1))                # (B, 2C, H, W) -> what conv gives
    ### END SOLUTION

# %%
check(up_with_skip)

# %% [markdown]
# <details><summary>Hint: it says that sizes of tensors must match</summary>
#
# Print both shapes.
# Which of the two maps is too large, and by how much?
# </details>
# <details><summary>Hint: my shapes are right and my values are not</summary>
#
# Is it wrong for all inputs, or only for odd sides?
# For all: in which order are the channels?
# For odd sides: which row did you take away, the first or the last?
# </details>
# <details><summary>Hint: conv complains about the number of channels</summary>
#
# It reads twice as many as the skip has.
# Adding two maps does not change the number of channels.
# What does?
# </details>

# %%
up_with_skip = use(up_with_skip)

# %%
level = unet.expanding[0]                                       # trained: from 112 to 56 channels
bottom = unet.contracting[1](coarse)                            # (1, 112, 6, 6)
one_up = up_with_skip(bottom, coarse, level.up, level.conv)
print(tuple(bottom.shape), "and", tuple(coarse.shape), "give", tuple(one_up.shape))

# %% [markdown]
# ## 4. The U
#
# All parts are there.
# This is the whole network, drawn from a forward pass: every little picture is a map that the network really made of the scene at the left.
# The sheets behind a map stand for its channels, one more each time they double.
# The way down is called the **contracting path** or **encoder**, the way up the **expanding path** or **decoder**.

# %%
draw_u(unet, picture, SEMANTIC_COLOURS)
plt.show()

# %% [markdown]
# Follow it.
# Blue goes down: half the size, twice the channels.
# Orange comes up again.
# Green crosses over.
# **The way up is as rich as the way down**; in an FCN, everything that comes up has seven channels.
#
# Why do the channels *double*?
# Half the side is a quarter of the cells.
# A convolution costs cells × channels in × channels out, and ¼ · 2 · 2 = 1: so every level takes about as long as the one above it.
#
# **Predict.**
# The first step *up* starts at the bottom.
# Which of the kept maps does it need: the one kept first, or the one kept last?
#
# ### Exercise 3 · `unet_forward`
#
# *10 minutes · ★★☆*
#
# - `x`: the picture, (B, C, H, W).
#   `top`: the module of the first level; it takes `x`.
# - `downs`: modules, finest first; each takes a map to the next level down.
# - `ups`: modules, *coarsest first*, as many as `downs`; `up(below, skip)` takes a map to the next level up.
# - Returns the map after the last step up.
#   With no `downs` and no `ups`, that is `top(x)`.
#   Gradients must flow.

# %% tags=["exercise"]
def unet_forward(x: torch.Tensor, top: nn.Module, downs: nn.ModuleList,
                 ups: nn.ModuleList) -> torch.Tensor:
    ### BEGIN SOLUTION
    x = top(x)
    skips = []
    for down in downs:
        skips.append(x)
        x = down(x)
    for up in ups:
        x = up(x, skips.pop())
    return x
    ### END SOLUTION

# %%
check(unet_forward)

# %% [markdown]
# <details><summary>Hint: which maps are kept?</summary>
#
# Those that a step down starts from, just before it is made.
# The map at the very bottom is not kept: where would it cross over to?
# </details>
# <details><summary>Hint: it works for one step and fails for two</summary>
#
# Write down the order in which the maps were kept, and beside it the order in which the steps up need them.
# </details>

# %%
unet_forward = use(unet_forward)

# %% [markdown]
# Your two functions are a U-Net.
# Run the trained weights through them, and compare with the network from the top of the page.

# %%
ups = [partial(up_with_skip, up=level.up, conv=level.conv) for level in unet.expanding]
stem = unet.stem(picture[None])                                 # (1, 28, 24, 24)
by_hand = unet.score(unet_forward(stem, unet.top, unet.contracting, ups))       # (1, 7, 96, 96)
same = (by_hand - unet(picture[None])).abs().max().item() < 1e-5
print("your U gives the trained network's scores, to 1e-5:", same)
assert same

# %% [markdown]
# Two small things stand outside the U.
# Our time is short, so a **stem** comes first, one convolution with stride 4: the finest level works on 24 × 24 cells, at a sixteenth of the cost.
# And at the end a **score** layer paints 4 × 4 pixels from each cell's 28 channels.
# The paper has no stem, and a 1×1 convolution for the scores.
#
# ## 5. Train one
#
# Now a network of your own, from your three functions, with random weights.

# %%
class Down(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.conv = double_conv(channels, 2 * channels)

    def forward(self, x):
        return self.conv(self.pool(x))                          # half the size, twice the channels

# %%
class Up(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2)
        self.conv = double_conv(2 * channels, channels)

    def forward(self, below, skip):
        return up_with_skip(below, skip, self.up, self.conv)

# %%
class MyUNet(nn.Module):
    def __init__(self, width: int, classes: int, depth: int = 2):
        super().__init__()
        widths = [width * 2**level for level in range(depth)]   # 28, 56
        self.stem = nn.Sequential(nn.Conv2d(3, width, 8, stride=4, padding=2),
                                  nn.BatchNorm2d(width), nn.ReLU())
        self.top = double_conv(width, width)
        self.downs = nn.ModuleList(Down(channels) for channels in widths)
        self.ups = nn.ModuleList(Up(channels) for channels in reversed(widths))
        self.score = nn.ConvTranspose2d(width, classes, 4, stride=4)

    def forward(self, x):
        return self.score(unet_forward(self.stem(x), self.top, self.downs, self.ups))

# %% [markdown]
# For a first run of a few seconds it gets an easier question: sky, ground, or a **thing** of any kind?
# While it learns, we ask it five times about our scene, and keep what it says.

# %%
images, classes = toyworld_tensors(Toyworld("train", length=600))
val_images, val_classes = toyworld_tensors(val_world)
three_names, three_colours = ("sky", "ground", "thing"), SEMANTIC_COLOURS[:3]
batches = Batches(images, classes.clamp(max=2), batch_size=8, shuffle=True, flip=True, seed=0)
diary = []


def validate(model: nn.Module) -> dict[str, float]:
    diary.append(model(picture[None])[0].argmax(dim=0).cpu())
    guess = model(val_images[:40].float().to(device) / 255).argmax(dim=1).cpu()
    truth = val_classes[:40].clamp(max=2).long()
    return {"mIoU": mean_iou(confusion_matrix(guess, truth, num_classes=3))}

# %%
torch.manual_seed(0)
mine = MyUNet(width=28, classes=3)
history = fit(mine, batches, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
              steps=150, learning_rate=6e-3, validate=validate)
print(f"mIoU ≈ {history.last['mIoU']:.2f} after {history.steps} steps")
assert history.last["mIoU"] > 0.8

# %%
pages = {f"after {step} steps": answer for step, answer in zip(history.metric_steps, diary)}
draw_segmentations(None, pages, three_names, three_colours)
plt.show()

# %% [markdown]
# At first nearly everything is a *thing*; then sky, ground and blobs are there; then the edges are tidied.
# All seven classes take longer: things have to be told apart by their shape and shading.
# The network at the top of the page is the same as yours with 7 classes.
# It made 2,000 steps on 2,000 scenes, a minute and a half on one core.

# %% [markdown]
# ## 6. The paper's own U has no padding
#
# A padded convolution reads zeros beyond the edge of the picture, and nothing in the world looks like that.
# The paper would rather have none: each 3×3 convolution then loses one cell on all four sides, and the result is **smaller than the picture**.
# So a large picture is done in tiles: each tile that goes in overlaps its neighbours, and the results lie side by side.
# At the edge of the picture something must still be there for the tile to read.
# The paper **mirrors** the picture at its edge.

# %%
grey = F.interpolate(load_photo("astronaut")[None], (388, 388), mode="area").mean(dim=1)
tile = F.pad(grey, (92, 92, 92, 92), mode="reflect")            # (1, 572, 572), 92 on all sides
figure, axis = plt.subplots(figsize=(3.6, 3.6), layout="constrained")
axis.imshow(tile[0], cmap="gray")
axis.add_patch(plt.Rectangle((92, 92), 388, 388, fill=False, edgecolor="#E69F00", linewidth=2))
axis.set(xticks=[0, 92, 480, 572], yticks=[0, 92, 480, 572])
axis.set_title("read: 572 × 572; answered: inside the frame", fontsize=10)
plt.show()

# %% [markdown]
# **Predict.**
# Follow one side with a pencil: 572, then two convolutions, then half of it, four times, and two convolutions more.
# Which number stands at the bottom of the U?
# Then open the output of this cell.

# %% jupyter={"outputs_hidden": true}
papers_own = UNet(1, num_classes=2, width=4, depth=4, padding=0)        # the paper has width=64
draw_u(papers_own, tile)
plt.show()

# %% [markdown]
# 28.
# The numbers are those of the paper's own drawing of the U: **572** pixels in, **388** out.
# Only the channels (ch) differ: the paper has 16 times as many, and its weights were trained, ours are random. (Look at the sizes, not at the maps.)
# Without padding the skips are larger than what comes from below, so here it is the *skips* that are cut, on all sides.
#
# ### Exercise 4 · `unpadded_size`
#
# *6 minutes · ★☆☆*
#
# - `size`: a side of the picture.
#   `depth`: how many times the map is halved.
# - Two 3×3 convolutions without padding on each level of the way down, two at the bottom, two on each level of the way up.
#   Odd sides are halved rounding up. (This is the course's rule. The paper's is to have none.)
# - Returns the side of the result, a whole number.

# %% tags=["exercise"]
def unpadded_size(size: int, depth: int) -> int:
    ### BEGIN SOLUTION
    for _ in range(depth):
        size = (size - 4 + 1) // 2
    size -= 4
    for _ in range(depth):
        size = 2 * size - 4
    return size
    ### END SOLUTION

# %%
check(unpadded_size)

# %% [markdown]
# <details><summary>Hint: how much does one level take?</summary>
#
# One 3×3 convolution cannot stand on the first or on the last cell of a row.
# There are two of them.
# </details>
# <details><summary>Hint: I get 388 for 572, and other sides are wrong</summary>
#
# Does a side on the way become odd?
# Half of 9 is 5 here.
# </details>

# %%
unpadded_size = use(unpadded_size)

# %%
for size in (188, 300, 572):
    given = papers_own(torch.zeros(1, 1, size, size)).shape[2]
    print(f"{size} in: by hand {unpadded_size(size, 4)}, by the network {given}")
    assert unpadded_size(size, 4) == given

# %% [markdown]
# And the paper's rule, that every map that is pooled has an even side?

# %%
def sides_pooled(size: int, depth: int) -> list[int]:
    """The sides of the maps that are pooled, from the top down."""
    sides = []
    for _ in range(depth):
        sides.append(size - 4)
        size = (size - 4) // 2
    return sides

# %%
fits = [size for size in range(188, 300) if all(side % 2 == 0 for side in sides_pooled(size, 4))]
print("these sides fit:", fits)
print("572 fits too:", sides_pooled(572, 4))

# %% [markdown]
# Every sixteenth: four halvings, 2⁴.
#
# From here on we pad again: scores for every pixel are worth more to us than clean edges.

# %% [markdown]
# ## 7. Sharper, in numbers
#
# Now the comparison from the top of the page, on 200 scenes of the *test* split: no network learned from them, and no choice was based on them.
#
# mIoU counts pixels, and mixes two kinds of mistakes: the wrong name, and the right name in the wrong place.
# So we measure these two apart, as lesson 03 did:
#
# - ***what***: among the pixels that are part of a thing and were called some thing, the share with the **right name**;
# - ***where***: draw the line between things and background in the answer and in the truth.
#   How much of each lies within one pixel of the other?
#   The harmonic mean of both shares is the **boundary F-score** of the **outlines**: 1 is perfect.

# %%
@torch.no_grad()
def scores(model: nn.Module, images: torch.Tensor, classes: torch.Tensor) -> dict[str, float]:
    """mIoU; right names of thing pixels called a thing; outlines of things and background."""
    answers = torch.cat([model(batch.to(device)).argmax(dim=1).cpu()
                         for batch, _ in Batches(images, classes)])             # (N, 96, 96)
    matrix = confusion_matrix(answers, classes, num_classes=7)
    things = matrix[2:, 2:]                                                     # 0 is sky, 1 ground
    outlines = boundary_f_score((answers > 1).long(), (classes > 1).long(), num_classes=2)[:, 1]
    return {"mIoU": mean_iou(matrix), "right names": (things.trace() / things.sum()).item(),
            "outlines": outlines.nanmean().item()}


def print_scores(table: dict[str, dict[str, float]]) -> None:
    for name, row in table.items():
        print(f"{name:<32}" + ", ".join(f"{what} {score:.2f}" for what, score in row.items()))

# %%
test_images, test_classes = toyworld_tensors(Toyworld("test", length=200))
measured = {name: scores(network, test_images, test_classes) for name, network in networks.items()}
print_scores(measured)
for name, network in networks.items():
    print(f"{name} has {sum(parameter.numel() for parameter in network.parameters()):,} weights")
assert measured["U-Net"]["outlines"] > measured["FCN-8s"]["outlines"] + 0.1

# %% [markdown]
# In *what*, the two are close; the FCN is even a little ahead.
# In *where*, they are not.
# One training each says little, so here are three, with other random numbers, scored on the validation scenes.

# %%
def three_seeds(name: str, what: str) -> list[float]:
    return [run[what] for run in made[name]["val"]]

# %%
for name in networks:
    print(f"{name} after {made[name]['steps']} steps of {made[name]['batch']} pictures:",
          *(f"{what} " + ", ".join(f"{score:.2f}" for score in three_seeds(name, file)) + ";"
            for what, file in (("mIoU", "mIoU"), ("outlines", "outline F"))))
assert min(three_seeds("U-Net", "outline F")) > max(three_seeds("FCN-8s", "outline F")) + 0.1

# %% [markdown]
# Here are the outlines themselves, in three scenes; the pale area is the truth.

# %% jupyter={"source_hidden": true}
figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.7), layout="constrained")
corners = [(15, 23, 18), (26, 40, 52), (56, 33, 28)]                    # scene, row, column
pens = {"FCN-8s": "#56B4E9", "U-Net": "#E69F00"}
for axis, (index, row, column) in zip(axes, corners):
    sample = val_world[index]
    axis.imshow(sample.image.mean(dim=0) * 0.8, cmap="gray", vmin=0, vmax=1)
    axis.contourf(sample.semantic > 1, [0.5, 1], colors="white", alpha=0.4)
    for name, network in networks.items():
        answer = network(sample.image[None].to(device))[0].argmax(dim=0).cpu()
        axis.contour(answer > 1, [0.5], colors=pens[name], linewidths=2)
    axis.set(xlim=(column - 0.5, column + 43.5), ylim=(row + 43.5, row - 0.5), xticks=[], yticks=[])
    axis.set_title(f"scene {index}", fontsize=10)
lines = [plt.Line2D([], [], color=colour, linewidth=2, label=name) for name, colour in pens.items()]
figure.legend(handles=[plt.Rectangle((0, 0), 1, 1, facecolor="#BBBBBB", label="truth"), *lines],
              loc="outside lower center", ncols=3, frameon=False)
plt.show()

# %% [markdown]
# The blue line rounds off what is thin and fills what is hollow.
# The orange one mostly lies on the rim of the truth, and where it does not, it is mostly a hand, a thin arm or the gap between two legs that is missing.

# %% [markdown]
# ## 8. Which of the three is it?
#
# Our U-Net differs from FCN-8s in three things:
#
# 1. its finest bridge starts **one level finer**, at one cell per 4 × 4 pixels instead of 8 × 8;
# 2. it has **layers on the way up**, where the FCN enlarges scores and adds;
# 3. its bridges carry **whole maps**, not seven channels.
#
# To tell causes apart, change one thing at a time.
# So here are networks that lie between the two, trained on the same scenes for equally many steps, all with about equally many weights:
#
# - **FCN-4s**: an FCN-8s with one more score layer, on the map at stride 4. Only (1) is new.
# - **Squeezed U-Net**: a 1×1 convolution leaves each bridge seven channels. (1) and (2), but not (3).
# - **U-Net that adds** where ours concatenates. All three.
# - **U-Net without bridges**, trained so from the start.
#
# **Predict.**
# From FCN-8s to U-Net the outlines rise from 0.74 to 0.88.
# Which of the three steps brings most of it?

# %%
options = {"num_classes": 7, "width": 30, "depth": 2, "stem_stride": 4}
between = {"FCN-4s": (FCN(SmallBackbone(16), num_classes=7, stride=4), "fcn4s"),
           "U-Net, squeezed bridges": (UNet(3, squeeze=7, **options), "squeezed"),
           "U-Net that adds": (UNet(3, skip="add", **options), "add"),
           "U-Net without bridges": (UNet(3, skip="none", **options), "no_bridges")}
for name, (network, file) in between.items():
    made[name] = load_checkpoint(network, folder / f"04_unet_{file}.safetensors")
    measured[name] = scores(network.to(device).eval(), test_images, test_classes)

# %% jupyter={"outputs_hidden": true}
order = ["FCN-8s", "FCN-4s", "U-Net, squeezed bridges", "U-Net", "U-Net that adds",
         "U-Net without bridges"]
print("200 test scenes, one training each:")
print_scores({name: measured[name] for name in order})
print("\n200 validation scenes, three trainings each:")
for name in order:
    outlines, by_class = (" ".join(f"{score:.2f}" for score in three_seeds(name, what))
                          for what in ("outline F", "boundary F"))
    print(f"{name:<24} outlines {outlines}, of each class by itself {by_class}")

# %% jupyter={"source_hidden": true}
figure, axis = plt.subplots(figsize=(8, 2.8), layout="constrained")
for row, name in enumerate(order):
    dots = three_seeds(name, "outline F")
    colour = pens["FCN-8s" if name.startswith("FCN") else "U-Net"]
    axis.plot(dots, [row] * len(dots), "o", color=colour, markersize=8, alpha=0.7)
    axis.text(0.92, row, f"mean {sum(dots) / 3:.2f}", va="center")
axis.set_yticks(range(len(order)), order)
axis.invert_yaxis()
axis.set(xlabel="boundary F-score of the outlines",
         title="one dot for each of three trainings, 200 validation scenes")
axis.grid(axis="x", alpha=0.4)
plt.show()

# %%
mean = {name: sum(three_seeds(name, "outline F")) / 3 for name in order}
assert mean["FCN-4s"] - mean["FCN-8s"] > 2 * (mean["U-Net"] - mean["FCN-4s"])
assert min(three_seeds("U-Net", "outline F")) > max(three_seeds("FCN-4s", "outline F"))
assert mean["U-Net without bridges"] < mean["FCN-8s"]
assert abs(mean["U-Net that adds"] - mean["U-Net"]) < 0.01

# %% [markdown]
# **The finer level brings most of it**, 0.10 of 0.13 on the validation scenes.
# An arm that is thinner than 8 pixels has no cell of its own at stride 8, and a fixed enlargement cannot draw it.
# One more score layer does that for an FCN, and this FCN-4s is as good as the U-Net in mIoU and in the names.
#
# The layers on the way up and whole maps instead of seven channels add about 0.03 together; how it divides between the two, three trainings do not show.
# That is little, but all three agree that the U-Net ends above FCN-4s in the outlines of things against background.
# In the outlines of each class by itself, where a wrong name counts too, FCN-4s is ahead: 0.69 against 0.67.
# (FCN-4s and the squeezed U-Net also differ in their last step.
# The FCN enlarges by a fixed bilinear kernel, the U-Net by stamps of 4 × 4 pixels that it has learned.)
#
# And without any bridge, although everything else is there, the outlines are worse than those of FCN-8s, and the names, too.
# What was pooled away does not come back by itself.
#
# **Concatenate or add?**
# Added maps need half the channels to be read, so this network has 30 channels at the top instead of 28, to have no fewer weights.
# No difference that three trainings could show.
# A convolution of two concatenated maps is the sum of two convolutions, one for each; to add first means that both must be the same one.
# It ties channel 5 of one map to channel 5 of the other, but both maps were learned with that in mind.
# Lesson 11 meets a network that adds.

# %% [markdown]
# ## 9. When the class is rare
#
# The paper's cell borders, a tumour in a scan, a pedestrian far down the road: often the class that matters covers hardly any pixels.
# Here is such a task from toyworld: **is this pixel part of a figure?**

# %%
figures = (classes == SEMANTIC_NAMES.index("figure")).to(torch.uint8)       # (600, 96, 96)
val_figures = (val_classes == SEMANTIC_NAMES.index("figure")).to(torch.uint8)
print(f"{figures.float().mean():.1%} of all pixels are part of a figure")

# %% [markdown]
# (A *figure* is the class: one of the little people.)
# A network that always says *no* is right at 98.5 % of the pixels, and useless.
# Cross-entropy, which takes the mean over all pixels, is nearly content with it.
#
# So let us ask for something else.
# **Dice** counts what answer and truth have in common, against what they hold together.
# For one class, with its probability $p$ and its truth $g$ (0 or 1) at every pixel of the batch,
#
# $$\text{dice} = \frac{2 \sum p\,g + 1}{\sum p^2 + \sum g^2 + 1}$$
#
# Saying *no* everywhere makes the sum above the line 0, however many pixels are background.
# The two ones keep a class with a handful of pixels from swinging wildly, and are no more than that where there are many.
# (With the 4 true pixels below they still count: *never* gets 1/5 and not 0.)

# %%
truth = torch.zeros(100)
truth[40:44] = 1                                                # 4 pixels of 100
for name, answer in (("never", 0 * truth), ("a fifth of a yes, everywhere", 0 * truth + 0.2),
                     ("yes everywhere", 0 * truth + 1), ("0.4 in the right place", 0.4 * truth),
                     ("perfect", truth)):
    dice = (2 * (answer * truth).sum() + 1) / ((answer**2).sum() + (truth**2).sum() + 1)
    print(f"{name:<29} dice {dice:.2f}, so the loss is {1 - dice:.2f}")

# %% [markdown]
# ### Exercise 5 · `dice_loss`
#
# *12 minutes · ★★★*
#
# - `logits`: (B, K, H, W) scores.
#   `target`: (B, H, W), the class of each pixel as a whole number.
# - Make the scores probabilities.
#   Take the dice of each class as above, its sums over **all pixels of the whole batch**.
# - Returns one number: the mean of 1 − dice over the classes that **at least one pixel of the batch** has.
#   Gradients must flow.

# %% tags=["exercise"]
def dice_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    p = logits.softmax(dim=1)                                   # (B, K, H, W)
    g = F.one_hot(target, logits.shape[1]).movedim(3, 1)        # (B, H, W, K) -> (B, K, H, W)
    overlap = (p * g).sum(dim=(0, 2, 3))                        # (K,)
    size = g.sum(dim=(0, 2, 3))                                 # (K,), as g * g is g
    dice = (2 * overlap + 1) / ((p * p).sum(dim=(0, 2, 3)) + size + 1)
    return (1 - dice)[size > 0].mean()
    ### END SOLUTION

# %%
check(dice_loss)

# %% [markdown]
# <details><summary>Hint: the truth has no axis for the classes</summary>
#
# Give it one: a map of ones and zeros for each class.
# PyTorch has a function that does it, and puts the new axis last.
# </details>
# <details><summary>Hint: I get as many numbers as there are pictures, or a single overlap for all</summary>
#
# Which axes should be gone after the sum?
# Pictures, rows and columns.
# One stays.
# </details>
# <details><summary>Hint: it is right until a class is missing from the batch</summary>
#
# Its overlap can only be 0.
# Pick the classes that have pixels, and only then take the mean.
# </details>

# %%
dice_loss = use(dice_loss)

# %% [markdown]
# Now two small U-Nets, with the same first weights, the same pictures in the same order and the same number of steps.
# Only the loss is different.
#
# **Predict.**
# After 300 steps, how many of the figures' pixels will each of them find: most, about half, a few, or none?
# (The share that is found is called **recall**.)

# %%
rare = Batches(images, figures, batch_size=8, shuffle=True, flip=True, seed=0)
finders = {}
for name, loss in tqdm((("cross-entropy", F.cross_entropy), ("dice", dice_loss)), "two trainings"):
    torch.manual_seed(0)
    finders[name] = MyUNet(width=16, classes=2)
    fit(finders[name], rare, lambda model, batch: loss(model(batch[0]), batch[1]),
        steps=300, learning_rate=6e-3, show=False)

# %%
def recall(chance: torch.Tensor, name: str, threshold: float) -> tuple[float, float]:
    """The share of the figures' pixels that are found above the threshold, and their IoU."""
    matrix = confusion_matrix((chance > threshold).long(), val_figures.long(), num_classes=2)
    share, iou = (matrix[1, 1] / matrix[1].sum()).item(), iou_per_class(matrix)[1].item()
    print(f"{name:<13} yes above {threshold}: ≈ {share:.0%} of their pixels found, IoU ≈ {iou:.2f}")
    return share, iou

# %% jupyter={"outputs_hidden": true}
val_chances = {}
for name, finder in finders.items():
    with torch.no_grad():
        chances = [finder(batch.to(device)).softmax(dim=1)[:, 1].cpu()      # (50, 96, 96) each
                   for batch, _ in Batches(val_images, val_figures)]
    val_chances[name] = torch.cat(chances)                                  # (200, 96, 96)
at_half = {name: recall(chance, name, 0.5) for name, chance in val_chances.items()}
assert at_half["dice"][0] > at_half["cross-entropy"][0] + 0.3

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
crowd = [29, 15, 49, 56]
few = val_images[crowd].float().to(device) / 255                # (4, 3, 96, 96)
with torch.no_grad():
    chances = [finder(few).softmax(dim=1)[:, 1].cpu() for finder in finders.values()]
figure, axes = plt.subplots(3, 4, figsize=(9, 5.8), layout="constrained")
for row, shown in enumerate([few.cpu().movedim(1, 3), *chances]):
    axes[row, 0].set_ylabel(["picture", *finders][row], fontsize=12)
    for axis, values in zip(axes[row], shown):
        shown_map = axis.imshow(values, cmap="magma", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
for column, index in enumerate(crowd):
    axes[0, column].set_title(f"scene {index}", fontsize=10)
bar = figure.colorbar(shown_map, ax=axes[1:], shrink=0.8, label="probability of a figure")
bar.ax.axhline(0.5, color="#56B4E9", linewidth=3)               # above it the answer is yes
plt.show()

# %% [markdown]
# Cross-entropy *has* noticed them, but it gives them less than a half, so its answer is *no* nearly everywhere.
# What if *yes* began at 0.3 already?

# %%
lower = {name: recall(chance, name, 0.3) for name, chance in val_chances.items()}
assert lower["cross-entropy"][0] > at_half["cross-entropy"][0] + 0.3
assert all(abs(low - half) < 0.2 for low, half in zip(lower["cross-entropy"], at_half["dice"]))

# %% [markdown]
# Then it finds about as many of their pixels as dice does at a half, and the IoUs are alike.
# The two know about the same, and the loss decides which probability they give it.
# So why does cross-entropy hold back?
#
# At first a network cannot tell the pixels apart: it gives the same probability $p$ everywhere.
# Where does each loss come to rest, if a share $s$ of the pixels is *figure*?
#
# - Cross-entropy, $-s \log p - (1 - s) \log (1 - p)$, is lowest at $p = s$.
# - The dice of the figures is $2ps / (p^2 + s)$, and is highest at $p = \sqrt{s}$: the slope is zero where $p^2 + s = 2p^2$.
#
# For $s = 0.015$ the root is 0.12, eight times as much.
# (`dice_loss` also counts the dice of the background, which pulls this down to 0.11.)
# Ask the losses themselves, by their gradient: which way do they push this $p$?

# %%
shares = figures.float().mean(dim=(1, 2))                       # (600,)
usual = (shares - shares.mean()).abs().argmin()                 # a scene with the usual share
one_scene = figures[usual][None].long()                         # (1, 96, 96)


def push(loss, chance: float) -> float:
    """How hard a loss pushes the rare class's score up, if its chance is the same everywhere."""
    score = torch.tensor(chance).logit().requires_grad_()
    logits = torch.stack([torch.zeros(()), score])[None, :, None, None].expand(1, 2, 96, 96)
    return -torch.autograd.grad(loss(logits, one_scene), score)[0].item()

# %% jupyter={"source_hidden": true}
levels = torch.logspace(-2.7, -0.6, 400)
figure, axis = plt.subplots(figsize=(7.5, 3), layout="constrained")
losses = {"cross-entropy": (F.cross_entropy, "#0072B2"), "dice": (dice_loss, "#E69F00")}
rests = {}
for name, (loss, colour) in losses.items():
    pushes = torch.tensor([push(loss, chance) for chance in levels.tolist()])
    rests[name] = levels[(pushes < 0).nonzero()[0, 0]].item()
    print(f"{name:<14} comes to rest at a probability of {rests[name]:.3f}")
    axis.plot(levels, pushes, color=colour, label=name, linewidth=2)
    axis.plot(rests[name], 0, "o", color=colour)
    axis.annotate(f"rests at {rests[name]:.3f}", (rests[name], 0), (0, -16), color=colour,
                  textcoords="offset points", ha="right")
axis.axhline(0, color="grey", linewidth=1)
axis.text(0.0021, 0.04, "above the line: pushed up", va="center", color="grey")
axis.text(0.0021, -0.08, "below the line: pushed down", va="center", color="grey")
ticks = (0.003, 0.01, 0.03, 0.1, 0.2)
axis.set(xscale="log", xticks=ticks, xticklabels=ticks,
         xlabel="probability of a figure, the same at every pixel",
         ylabel="push on the score",
         ylim=(-0.1, 0.055),
         title=f"a scene with {one_scene.float().mean():.1%} figure")
axis.minorticks_off()
axis.legend(loc="upper right")
plt.show()

# %%
share = one_scene.float().mean().item()
assert abs(rests["cross-entropy"] - share) < 0.001
assert 0.85 * share**0.5 < rests["dice"] < share**0.5

# %% [markdown]
# Cross-entropy comes to rest where $p$ is the share of the class.
# From there the probability must still climb to one half before a single pixel is called *figure*.
# Dice rests several times higher, and so has less far to go.
#
# With enough steps cross-entropy finds the figures too: the networks at the top of the page learned from nothing else.
# Many people simply add the two losses.
# Dice has its price: its probabilities are no longer *calibrated*: 0.9 does not mean nine times in ten.
# (The paper met rare pixels in another way: it gave more weight to those where two cells nearly touch.
# Section 12 tries it.)

# %% [markdown]
# ## 10. Look inside
#
# The explorer holds every map of the trained U-Net for our scene.
# Three questions to explore with:
#
# 1. Compare `top` with `expanding.1`: same size, same number of channels.
#    Which one knows a figure from a cone?
# 2. In `contracting.1`, at the bottom, what is left of the figure's arms?
# 3. Find a channel that draws only the edges, and see how far down it survives.

# %%
explorer = explore(unet, picture)
explorer.layer = "expanding.1"
explorer.cell = (17, 8)                                         # on the crate
explorer

# %% [markdown]
# <details><summary>Answers</summary>
#
# 1. `expanding.1`. In `top`, hardly any channel fills a thing: most draw edges of one direction, wherever there are any (channels 0 and 7).
#    In `expanding.1` whole things light up, the crate in channels 12 and 22, the blue cone in 16 and 26.
# 2. Nothing that one could call an arm. A cell of the bottom has 16 × 16 pixels, and an arm is 2 to 4 pixels wide.
#    Most channels hold whole rows, sky or ground, and some are black.
# 3. Channels 0 and 7 of `top` draw outlines.
#    In `contracting.0` channel 2 still shows a coarse outline around the things; at the bottom there is none.
# </details>

# %% [markdown]
# ## 11. Break it: cut one bridge at a time
#
# What does each bridge carry?
# Take the *where* out of it: replace each channel of a skip by its own mean over the map.
# It still says what it says on average, but no longer at which place.
#
# **Predict.**
# Cut the fine or the coarse bridge: which one costs more of the outlines?
# Which one more of the right names?

# %%
def without_places(module, inputs):
    """Called before a step up: each channel of the skip becomes its own mean."""
    below, skip = inputs
    return below, skip.mean(dim=(2, 3), keepdim=True).expand_as(skip)


def without_bottom(module, inputs):
    below, skip = inputs
    return below.mean(dim=(2, 3), keepdim=True).expand_as(below), skip

# %%
some_images, some_classes = val_images[:100], val_classes[:100].long()
cuts = {"fine bridge cut": (1, without_places), "coarse bridge cut": (0, without_places),
        "bottom flat": (0, without_bottom)}
broken = {"all whole": scores(unet, some_images, some_classes)}
drawn = {"all whole": answers["U-Net"]}
for name, (step, hook) in cuts.items():
    cut = unet.expanding[step].register_forward_pre_hook(hook)
    broken[name] = scores(unet, some_images, some_classes)
    drawn[name] = unet(picture[None])[0].argmax(dim=0).cpu()
    cut.remove()

# %% jupyter={"outputs_hidden": true}
print_scores(broken)
fine_cut, coarse_cut = broken["fine bridge cut"], broken["coarse bridge cut"]
assert fine_cut["outlines"] < coarse_cut["outlines"] - 0.3              # where crosses the fine
assert coarse_cut["right names"] < fine_cut["right names"] - 0.2        # what, the coarse one

# %% jupyter={"outputs_hidden": true}
draw_segmentations(picture, drawn, SEMANTIC_NAMES, SEMANTIC_COLOURS)
plt.show()

# %% [markdown]
# Cut the **fine** bridge, and the outlines are gone, while the names are nearly as right as before.
# Cut the **coarse** one, and most of the outlines stay, but half of the names are wrong: three quarters of the crate become a cone and a quarter a sphere.
# So the two do different work: *where* crosses over the fine bridge, and *what* over the coarse one.
# (mIoU alone would hide this. It falls in both cases, and more for the fine bridge.)
#
# This is a network that *relies* on its bridges.
# The one of section 8 that was trained without any is not as bad as this one with only its fine bridge cut: its outlines were ≈ 0.70.
#
# And the bottom?
# Its map is 6 × 6 cells.
# Made flat, it costs almost nothing: in our small scenes the 12 × 12 map knows enough already.
# A network need not use a level just because it is there.
# The only way to know is to cut it.

# %% [markdown]
# ## 12. Where it comes from: cells under a microscope
#
# The paper is about medicine: cells are to be told apart, and somebody must first have drawn their outlines by hand, which takes hours a picture.
# So there are few labelled pictures, 20 to 35 a task, and the cells *touch*.
# Those pictures belong to their owners and do not come with the course, so here are cells that the computer draws.
#
# At each pixel the question is *inside of a cell, or not*?
# Pixels that say *inside* and hang together are then taken for **one cell**.
# In places the membrane between two cells can hardly be seen.

# %%
drawn_cells = [draw_cells(seed) for seed in range(10)]          # to learn from
other_cells = [draw_cells(1000 + seed) for seed in range(30)]   # to be tested on
one = drawn_cells[0]
figure, axes = plt.subplots(1, 2, figsize=(6, 3.2), layout="constrained")
axes[0].imshow(one.image[0], cmap="gray", vmin=0, vmax=1)
numbers = torch.where(one.cells > 0, one.cells % 20, torch.nan)         # nan outside: black
axes[1].imshow(numbers, cmap=plt.get_cmap("tab20b").with_extremes(bad="black"))
for axis, title in zip(axes, ("picture", f"truth: {one.cells.max()} cells, one colour each")):
    axis.set_title(title, fontsize=10)
    axis.axis("off")
plt.show()

# %% [markdown]
# ### Bend them like rubber
#
# A bent cell is still a cell, so each labelled picture can be bent in ever new ways, and its truth with it.
# The paper calls this **elastic deformation**: random displacements on a coarse grid of 3 × 3 points, interpolated to every pixel.
# `bend` in `lib/datasets/cells.py` does it.
# Here is one picture bent five times; the lines were straight before.

# %%
def bent(sample: Cells, seed: int) -> Cells:
    return Cells(*bend(sample.image, sample.cells, seed))

# %%
lined = one.image.clone()
lined[0, 8::16], lined[0, :, 8::16] = 1, 1
views = [lined, *(bend(lined, one.cells, seed)[0] for seed in range(5))]
show_images(views, ["as drawn", *(f"bent, seed {seed}" for seed in range(5))], columns=6, size=1.6)
plt.show()

# %% [markdown]
# ### Look hardest where two cells nearly touch
#
# A membrane that is two pixels wide has few pixels, and to miss a few of them costs the mean over all pixels hardly anything.
# But it makes two cells one.
# So the paper gives each pixel a weight in the cross-entropy,
#
# $$w = w_c + w_0 \exp\left(-\frac{(d_1 + d_2)^2}{2 \sigma^2}\right), \qquad w_0 = 10,\ \sigma = 5 \text{ pixels}$$
#
# where $d_1$ and $d_2$ are the distances to the nearest and to the second nearest cell, and $w_c$ balances the classes.
# Between two cells that nearly touch both distances are small, and the weight is large.
# Beside a cell that stands alone $d_2$ is large, and nothing is added.
# Here $w_c = 1$, and inside of cells nothing is added.

# %%
weights = weight_map(one.cells)
between_two = (slice(28, 60), slice(8, 40))                     # rows, columns: enlarged
figure, axes = plt.subplots(1, 4, figsize=(9.6, 2.5), layout="constrained")
for axis, part, title in zip(axes, (..., ..., between_two, between_two),
                             ("picture", "weight of each pixel", "enlarged", "its weights")):
    if title in ("picture", "enlarged"):
        axis.imshow(one.image[0][part], cmap="gray", vmin=0, vmax=1)
    else:
        heat = axis.imshow(weights[part], cmap="magma", vmin=1, vmax=11)
    axis.set_title(title, fontsize=10)
    axis.axis("off")
figure.colorbar(heat, ax=axes, label="weight", ticks=[1, 6, 11])
print(f"weights from {weights.min():.1f} to {weights.max():.1f}")
plt.show()

# %% [markdown]
# Does it help because of *where* the weights are, or because it makes *outside* count more at all?
# So we train three networks on the ten pictures, each bent ten times.
# For the first every pixel counts 1, for the second all pixels outside count the same, together as much as in the map, and the third gets the map.
#
# **Predict.**
# In the 30 other pictures there are about 660 cells.
# How many of them will each network merge with a neighbour?

# %%
def even_weights(cells: torch.Tensor) -> torch.Tensor:
    """All pixels outside count the same, together as much as in the weight map."""
    return torch.where(cells == 0, weight_map(cells)[cells == 0].mean(), 1.0)


learn = [bent(sample, 100 * number + seed)
         for number, sample in enumerate(drawn_cells) for seed in range(10)]
cell_images = torch.stack([sample.image for sample in learn])                   # (100, 1, 96, 96)
insides = torch.stack([(sample.cells > 0).long() for sample in learn])          # (100, 96, 96)
weightings = {"every pixel counts 1": torch.ones_like,
              "outside counts more, all alike": even_weights, "the paper's map": weight_map}

# %%
def weighted(model: nn.Module, batch: list[torch.Tensor]) -> torch.Tensor:
    """Cross-entropy, each pixel with its weight."""
    images, inside, weight = batch
    return (F.cross_entropy(model(images), inside, reduction="none") * weight).sum() / weight.sum()


def train_on_cells(weighting) -> UNet:
    weight = torch.stack([weighting(sample.cells).float() for sample in learn])     # (100, 96, 96)
    chance = torch.Generator().manual_seed(0)

    def batch():
        chosen = torch.randint(len(learn), (4,), generator=chance)
        return cell_images[chosen], insides[chosen], weight[chosen]

    torch.manual_seed(0)
    network = UNet(1, num_classes=2, width=8, depth=2)
    fit(network, batch, weighted, steps=60, learning_rate=6e-3, show=False)
    return network

# %%
microscopists = {name: train_on_cells(weighting)
                 for name, weighting in tqdm(weightings.items(), "three trainings")}

# %% [markdown]
# A true cell lies in the piece of *inside* that covers most of it.
# Where two cells lie in the same piece, both are merged.

# %%
def merged(inside: torch.Tensor, cells: torch.Tensor) -> int:
    """How many true cells share their connected piece of the answer with another one."""
    pieces = torch.from_numpy(label(inside.numpy())[0]).long()                  # (H, W), 0 outside
    homes = [pieces[cells == number].bincount()[1:] for number in cells.unique() if number]
    homes = [covered.argmax().item() for covered in homes if covered.any()]
    return sum(homes.count(home) > 1 for home in homes)

# %% jupyter={"outputs_hidden": true}
other_images = torch.stack([sample.image for sample in other_cells]).to(device)
true_cells = torch.stack([sample.cells for sample in other_cells])              # (30, 96, 96)
found, together = {}, {}
for name, network in microscopists.items():
    with torch.no_grad():
        found[name] = network(other_images).argmax(dim=1).cpu()                 # (30, 96, 96)
    together[name] = sum(merged(*pair) for pair in zip(found[name], true_cells))
    right = (found[name] == (true_cells > 0)).float().mean()
    print(f"{name:<32} merged ≈ {together[name]:>3} cells, right at ≈ {right:.1%} of the pixels")
alike_everywhere, outside_more, by_map = together.values()
assert by_map < 0.5 * alike_everywhere and outside_more < 0.6 * alike_everywhere
assert alike_everywhere - outside_more > outside_more - by_map  # most of the gain

# %% jupyter={"outputs_hidden": true}
show_images([other_images[0].cpu(), (true_cells[0] > 0).float()[None],
             *(answers[0].float()[None] for answers in found.values())],
            ["picture", "truth", "every pixel\ncounts 1", "outside counts\nmore, all alike",
              "the paper's map"],
            columns=5, size=1.9)
plt.show()

# %% [markdown]
# (White is *inside*. This is after 60 steps, and the numbers still fall: after 100 it was 292, 105 and 71 cells, measured once and not run here.)
# The weights help a great deal: far fewer cells are merged.
# They have a price: the membranes come out thicker, and so *fewer* pixels are right.
# Which of the two you want depends on whether you count cells or pixels.
#
# Most of the gain comes from *outside* counting more at all.
# Where exactly the weight lies matters less in these pictures, since much of their outside *is* thin membrane;
# the more empty space there is between the cells, the more an even weight would be spent on it.
#
# ### The real ones
#
# The paper's first task: a slice of brain through an electron microscope, and the membranes between the cells are to be found, from **30 labelled slices**.
# If you want to see them:
#
# 1. download <https://github.com/zhixuhao/unet> (*Code*, *Download ZIP*);
# 2. copy `image/` and `label/` out of its `data/membrane/train/` into `data/isbi_em/`, so that there are `image/0.png` to `image/29.png`,
#    and the same in `label/`;
# 3. run the cells below again.
#    The training takes a minute or two.

# %%
from lib.datasets.isbi_em import load_isbi_em, split_isbi_em

try:
    slices = load_isbi_em()
except FileNotFoundError:
    slices = []
print(f"{len(slices)} of 30 slices are here" + ("" if slices else ": the next cells do nothing"))

# %% jupyter={"source_hidden": true}
def tiles(slices: list, side: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Every slice cut into squares: (N, 1, side, side) bytes, and their classes (N, side, side)."""
    images = torch.stack([(sample.image * 255).round().byte() for sample in slices])
    labels = torch.stack([sample.label.to(torch.uint8) for sample in slices])   # (slices, 512, 512)
    images = images.unfold(2, side, side).unfold(3, side, side)     # (slices, 1, 4, 4, side, side)
    labels = labels.unfold(1, side, side).unfold(2, side, side)     # (slices, 4, 4, side, side)
    return images.reshape(-1, 1, side, side), labels.reshape(-1, side, side)

# %%
if slices:
    train_slices, last_five = split_isbi_em(slices)         # 25 to learn from, 5 to be tested on
    microscopist = UNet(1, num_classes=2, width=16, depth=3, stem_stride=2)
    fit(microscopist, Batches(*tiles(train_slices), batch_size=8, shuffle=True, flip=True),
        lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), steps=600)

# %%
if slices:
    with torch.no_grad():
        guesses = torch.stack([microscopist(sample.image[None].to(device))[0].argmax(dim=0).cpu()
                               for sample in last_five])        # (5, 512, 512): whole, no tiles
    labels = torch.stack([sample.label for sample in last_five])
    membrane, inside = iou_per_class(confusion_matrix(guesses, labels, num_classes=2)).tolist()
    print(f"IoU on the last five slices: membranes ≈ {membrane:.2f}, inside ≈ {inside:.2f}")
    show_images([last_five[0].image, guesses[0].float()[None], last_five[0].label.float()[None]],
                ["a slice nobody showed it", "the U-Net", "drawn by hand"], size=3.2)
    plt.show()

# %% [markdown]
# ## 13. Recap
#
# | | FCN-8s | FCN-4s | U-Net |
# | --- | --- | --- | --- |
# | what crosses over | K scores per cell, at strides 8 and 16 | the same, and at stride 4 | all channels, at every level |
# | how it is joined | added | added | concatenated, then convolved |
# | the way up | three enlargements of K maps | four | as many layers and channels as the way down |
# | its finest map | one cell per 8 × 8 pixels | one per 4 × 4 | here one per 4 × 4, in the paper one for each pixel |
# | outlines of things | 0.76 | 0.86 | 0.89 |
#
# - Of the gain in the outlines, most comes from the finer level; the rich way up adds 0.03.
# - Cut in the finished network, the fine bridge takes *where* with it and the coarse one *what*; the bottom is hardly missed.
# - A rare class: cross-entropy starts from its small share and stays below a half for long, where dice says *yes* early.
#   With a lower threshold both find about as much.
# - More weight for *outside* keeps cells apart, at the price of thicker membranes.
#
# **In papers and on GitHub:**
# way down, *contracting path* or *encoder* · way up, *expanding path* or *decoder* · bridge, *skip connection* ·
# joined along the channels, *concatenated* (`torch.cat`) · bottom, *bottleneck* · transposed convolution on the way up, *up-convolution* ·
# tiles that read beyond what they answer, *overlap-tile strategy* · mirroring, *reflection padding* · bending, *elastic deformation* ·
# truth, *ground truth* · our dice loss, *soft dice* · a rare class, *class imbalance* · probability that means what it says, *calibrated*.
#
# **What the paper reported.**
# It won the ISBI cell tracking challenge 2015 by a large margin.
# On PhC-U373 (brain tumour cells under a phase contrast microscope) its mean IoU was 92 %, the second best had 83 %.
# On DIC-HeLa (cancer cells that lie close together) it was 77.5 %, against 46 %.
# On the electron microscopy of the ISBI 2012 challenge it reached a *warping error* of 0.000353, the best until then.
# (The warping error counts only those wrong pixels that split or merge a cell; lines that are merely shifted cost nothing.)
# For that it needed no more than an average over seven rotated copies of each picture.
#
# **What was simpler here.**
# Our U goes down twice instead of four times, has 28 channels at the top instead of 64, batch normalisation (which the paper does not have), padding,
# and a stem with stride 4.
# On toyworld we flipped pictures and did not bend them.
# All networks were trained for a minute and a half: how they compare after two days is another question.
#
# **How fair was the race?**
# All had the same scenes, the same steps and the same learning rate, and the FCNs have more weights.
# But we searched for a U-Net that learns in so short a time: several widths, depths, stems and first weights were tried on the validation scenes,
# and this one was kept because it did well there.
# A deeper one with a finer stem, closer to the paper's, had not learned all classes by then.
# The FCNs were not searched for again when the U-Net was.
# So trust the wide gap in the outlines, between stride 8 and stride 4, and not the small ones in mIoU.
#
# ### Three questions
#
# **1.**
# A U-Net with 64 channels at the top, four levels down.
# How many channels does the first `double_conv` on the way *up* read?
# (a) 512 (b) 1,024 (c) 1,536
#
# <details><summary>Answer</summary>
#
# **(b)** At the bottom there are 64 · 2⁴ = 1,024.
# The up-convolution halves them to 512, and the skip brings another 512.
# (a) is what adding would give; (c) forgets that the up-convolution halves the channels.
# </details>
#
# **2.**
# You run a trained U-Net, padded and fully convolutional, on pictures of 100 × 75 pixels, although it learned on 96 × 96.
# What happens?
# (a) it works, if odd maps are handled (b) an error, as 75 is odd (c) it works only for multiples of 16
#
# <details><summary>Answer</summary>
#
# **(a)** No layer has a fixed size, and the surplus row is cut off beside each skip.
# (The network in `lib` also pads the picture before its stem and cuts the answer, so that not even the last few columns are missing.)
# (c) is the rule for U-Nets that halve rounding down and do not cut, as many on the internet do; there (b) happens.
# </details>
#
# **3.**
# In a scan, 1 pixel in 1,000 is tumour.
# After an hour of training with cross-entropy, the network is right at 99.9 % of the pixels.
# What do you know?
# (a) it is very good (b) it is broken (c) nothing yet
#
# <details><summary>Answer</summary>
#
# **(c)** Saying *no* everywhere scores the same.
# (a) and (b) both read more out of the number than is in it: look at the IoU or the recall of the rare class.
# </details>
#
# ### Go on from here
#
# Without a check, but with what you may expect.
#
# - **One level finer.** Train `UNet(3, 7, width=20, depth=3, stem_stride=2)` with the recipe `data/checkpoints/04_unet.py`.
#   Expect about four times the computing at its top level, better outlines, and, after only 2,000 steps, worse names. How many steps until they catch up?
# - **Both losses.** Train `MyUNet(16, 2)` of section 9 with the sum of cross-entropy and dice.
#   Does it find the figures, and is 0.9 now right nine times in ten? Sort the pixels into ten bins by their probability and count.
# - **How much bending?** Train on the cells without bending, and with `sigma` 2, 4, 8 and 16.
#   In our trial, without bending the network with the weight map merged about twice as many cells after 150 steps.
#   Too much of it makes shapes that no cell has; where is that point?

# %%
progress("04")

# %% [markdown]
# **Next:** a map of classes cannot count: two cones that touch are one blue region.
# Lesson 05 begins with boxes: one for each thing, and a way to measure whether they are right.
