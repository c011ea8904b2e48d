# %% [markdown]
# # 04 · U-Net: the way up is as rich as the way down
#
# Lesson 03 ended with FCN-8s: it names the things, and draws them with a thick brush.
# Below is the same scene, cut up by FCN-8s and by the network of this lesson.
# Both have about as many weights, and learned from the same pictures in as many steps.
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
# - say what its bridges carry, and show what is lost when one of them is cut;
# - make a network take pictures of any size, and work out what it gives back without padding;
# - train for a class that covers one pixel in a hundred, and say why the usual loss cannot.
#
# | | |
# | --- | --- |
# | Time | 60 minutes to read and do, about half a minute of computing on two cores |
# | Builds on | lesson 01 (sizes, receptive fields), 02 (transposed convolution), 03 (FCN-8s, mIoU) |
# | Papers | Ronneberger, Fischer & Brox 2015, *U-Net: Convolutional Networks for Biomedical Image Segmentation* · Milletari, Navab & Ahmadi 2016, *V-Net*, for the dice loss |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.

# %%
from functools import partial

import torch.nn.functional as F
from torch import nn

from lib.datasets.photos import crop_square, load_photo
from lib.exercises import check, progress, use
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
#
# **Predict.**
# The finest map it asks has 64 channels, on 12 × 12 cells.
# How many numbers per cell make it across to the way up?

# %%
maps = fcn.backbone(picture[None])
bridge = fcn.score_pool3(maps.pool3)
print("the map that is asked:", tuple(maps.pool3.shape))
print("what crosses over:    ", tuple(bridge.shape))

# %% [markdown]
# Seven: one per class.
# All else that the map knew, where an edge runs, which way it leans, what texture lies beside it, had to become "more cone, less ground" *right there*,
# at one cell in 8 × 8 pixels.
# After that it is gone.
#
# U-Net has a simple idea: **send the whole map across, and let the way up decide.**
# And do it at every level, the finest too.

# %%
fine = unet.top(unet.stem(picture[None]))                       # (1, 28, 24, 24)
coarse = unet.contracting[0](fine)                              # (1, 56, 12, 12)
bridges = {"FCN-8s, finest": bridge, "U-Net, coarse": coarse, "U-Net, fine": fine}
for name, crossing in bridges.items():
    print(f"{name:<14} {tuple(crossing.shape[1:])}: {crossing.numel():>6,} numbers")

# %%
shown = [picture, *(pca_colours(crossing[0].cpu()) for crossing in bridges.values())]
show_images(shown, ["picture", *bridges], columns=4, size=2.5)
plt.show()

# %% [markdown]
# These are all channels at once as colours, as in lesson 01.
# The FCN's bridge says *that* something is there.
# On the fine bridge of the U-Net you can still see where each thing ends.

# %% [markdown]
# ## 2. The part that is used everywhere
#
# Every level of the U does the same: two 3×3 convolutions in a row.
# Why two small ones and not one large one?
#
# **Predict.**
# How many pixels does one cell see after *two* 3×3 convolutions?
# Which single convolution sees as much, and which of the two ways has fewer weights?

# %%
print("two 3×3 see", receptive_field([Window(3), Window(3)]).size, "pixels across")
two = nn.Sequential(nn.Conv2d(32, 32, 3, bias=False), nn.Conv2d(32, 32, 3, bias=False))
one = nn.Conv2d(32, 32, 5, bias=False)
for name, layer in (("two 3×3", two), ("one 5×5", one)):
    print(f"{name}: {sum(weight.numel() for weight in layer.parameters()):,} weights")

# %% [markdown]
# As much in sight, for 18 weights where 25 were needed, and there is room for a ReLU between the two.
# Without one, two convolutions in a row would be a single convolution that was written down in two pieces.
#
# ### Exercise 1 · `double_conv`
#
# *7 minutes · ★☆☆*
#
# - Returns a module: 3×3 convolution, batch normalisation, ReLU, and the same again.
# - The first convolution goes from `channels_in` to `channels_out`; the second stays there.
# - The map keeps its size: (B, channels_in, H, W) → (B, channels_out, H, W).
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
# The two are put behind each other along the channels, and a `double_conv` reads both.
# One says *what* is here, the other *where exactly* it ends.
#
# There is one trap.
# **Predict.**
# A map of 25 rows is halved and later doubled.
# How many rows come back?
# Halving may drop the odd row, or round up and give it a cell of its own.

# %%
rows = torch.arange(25.).view(1, 1, 25, 1)
for name, ceil_mode in (("rounding down", False), ("rounding up", True)):
    halved = F.max_pool2d(rows, (2, 1), ceil_mode=ceil_mode)
    few = halved.shape[2]
    print(f"{name}: 25 -> {few} -> {2 * few} rows, last row seen: {halved.max():.0f}")

# %% [markdown]
# Neither gives 25.
# Rounding down loses a row for good: the deep maps never see row 24.
# So this course rounds **up**, and has one row too many on the way back.
# It belongs to no row of the skip, and it is always the last one.
# So cut it off.
#
# ### Exercise 2 · `up_with_skip`
#
# *10 minutes · ★★☆*
#
# - `below`: (B, 2C, h, w), the map from one level deeper.
# - `skip`: (B, C, H, W), the map that was kept on this level.
#   2h is H or H + 1, and so for the width.
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
# **Predict.**
# The first step *up* starts at the bottom.
# Which of the kept maps does it need: the one kept first, or the one kept last?
#
# ### Exercise 3 · `unet_forward`
#
# *10 minutes · ★★☆*
#
# - `x`: the picture, (B, C, H, W).
#   `top`: the module of the first level, called once, on `x`.
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
# Sky and ground first, then blobs, then outlines.
# All seven classes take longer: a sphere and a crate are told apart by their shading.
# The network at the top of the page is the same as yours with 7 classes.
# It made 2,000 steps on 2,000 scenes, a minute and a half of one core.

# %% [markdown]
# ## 6. The paper's own U has no padding
#
# A padded convolution reads zeros beyond the edge of the picture, and nothing in the world looks like that.
# The paper would rather have none: each 3×3 convolution then loses one cell on all four sides, and the result is **smaller than the picture**.
# Pictures of any size are done in tiles that overlap.

# %%
papers_own = UNet(1, num_classes=2, width=4, depth=4, padding=0)        # the paper has width=64
tile = crop_square(load_photo("astronaut"), 572).mean(dim=0, keepdim=True)   # (1, 572, 572) grey
draw_u(papers_own, tile)
plt.show()

# %% [markdown]
# The numbers are those of figure 1 in the paper, but for the channels, of which it has 16 times as many (and our weights are random:
# look at the sizes, not at the maps): **572** pixels in, **388** out.
# Without padding the skips are larger than what comes from below, so here it is the *skips* that are cut, on all sides.
#
# **Predict.**
# Follow one side with a pencil: 572, then two convolutions, then half of it.
# Which number stands at the bottom?
#
# ### Exercise 4 · `unpadded_size`
#
# *6 minutes · ★☆☆*
#
# - `size`: a side of the picture.
#   `depth`: how many times the map is halved.
# - Two 3×3 convolutions without padding on each level of the way down, two at the bottom, two on each level of the way up.
#   Odd sides are halved rounding up.
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
# From here on we pad again: scores for every pixel are worth more to us than clean edges.

# %% [markdown]
# ## 7. Sharper, in numbers
#
# Now the comparison from the top of the page, on 200 scenes of the *test* split: no network learned from them, and nothing was chosen by them.
#
# mIoU counts pixels, and most pixels are far from any edge.
# So we also measure **outlines**: draw the line between things and background in the answer and in the truth.
# How much of each lies within one pixel of the other?
# The harmonic mean of both shares is the **boundary F-score**: 1 is perfect.

# %%
@torch.no_grad()
def scores(model: nn.Module, images: torch.Tensor, classes: torch.Tensor) -> tuple[float, float]:
    """mIoU over the seven classes, and the boundary F-score of things against background."""
    answers = torch.cat([model(batch.to(device)).argmax(dim=1).cpu()
                         for batch, _ in Batches(images, classes)])             # (N, 96, 96)
    matrix = confusion_matrix(answers, classes, num_classes=7)
    things, true_things = (answers > 1).long(), (classes > 1).long()            # 0 sky, 1 ground
    outlines = boundary_f_score(things, true_things, num_classes=2, tolerance=1)[:, 1]
    return mean_iou(matrix), outlines.nanmean().item()

# %%
test_images, test_classes = toyworld_tensors(Toyworld("test", length=200))
measured = {}
for name, network in networks.items():
    measured[name] = scores(network, test_images, test_classes)
    weights = sum(parameter.numel() for parameter in network.parameters())
    miou, outlines = measured[name]
    print(f"{name:<7} {weights:,} weights: mIoU {miou:.2f}, outlines {outlines:.2f}")
assert measured["U-Net"][1] > measured["FCN-8s"][1] + 0.1

# %% [markdown]
# In *what*, the two are close.
# In *where*, they are not, though the FCN has more weights.
# One training each says little, so here are three, with other random numbers, scored on the validation scenes.

# %%
for name, note in made.items():
    print(f"{name} after {note['steps']} steps of {note['batch']} pictures")
    for run in note["val"]:
        print(f"    seed {run['seed']}: mIoU {run['mIoU']:.2f}, outlines {run['outline F']:.2f}")
worst = min(run["outline F"] for run in made["U-Net"]["val"])
assert worst > max(run["outline F"] for run in made["FCN-8s"]["val"]) + 0.1

# %% [markdown]
# What holds the FCN back is its last step, which enlarges the scores eightfold: an arm that is thinner than 8 pixels has no cell of its own.
# Here are the outlines themselves, in four scenes: truth in white, FCN-8s in blue, U-Net in orange.

# %%
figure, axes = plt.subplots(1, 4, figsize=(11, 3), layout="constrained")
corners = [(29, 46, 0), (15, 23, 18), (26, 40, 52), (56, 33, 28)]       # scene, row, column
for axis, (index, row, column) in zip(axes, corners):
    sample = val_world[index]
    axis.imshow(sample.image.movedim(0, 2) * 0.6)
    axis.contour(sample.semantic > 1, [0.5], colors="white", linewidths=1)
    for network, colour in ((fcn, "#56B4E9"), (unet, "#E69F00")):
        guess = network(sample.image[None].to(device))[0].argmax(dim=0).cpu()
        axis.contour(guess > 1, [0.5], colors=colour, linewidths=2)
    axis.set(xlim=(column, column + 44), ylim=(row + 44, row), xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The blue line rounds off what is thin and fills what is hollow.
# The orange one mostly lies on the white one, and where it does not, it is off by a pixel or two.

# %% [markdown]
# ## 8. When the class is rare
#
# The paper's cell borders, a tumour in a scan, a pedestrian far down the road: often the class that matters covers hardly any pixels.
# Here is such a task from toyworld: **is this pixel part of a figure?**

# %%
figures = (classes == SEMANTIC_NAMES.index("figure")).to(torch.uint8)       # (600, 96, 96)
val_figures = (val_classes == SEMANTIC_NAMES.index("figure")).to(torch.uint8)
print(f"{figures.float().mean():.1%} of all pixels are part of a figure")

# %% [markdown]
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
# The 1 keeps a class with a handful of pixels from swinging wildly.

# %%
truth = torch.tensor([[0., 1., 1., 0.]])
for name, answer in (("never", [0., 0., 0., 0.]), ("a hint", [0., 0.4, 0.4, 0.]),
                     ("all over", [1., 1., 1., 1.]), ("perfect", [0., 1., 1., 0.])):
    p = torch.tensor([answer])
    dice = (2 * (p * truth).sum() + 1) / ((p * p).sum() + (truth * truth).sum() + 1)
    print(f"{name:<9} dice {dice:.2f}, so the loss is {1 - dice:.2f}")

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

# %%
rare = Batches(images, figures, batch_size=8, shuffle=True, flip=True, seed=0)
finders = {}
for name, loss in (("cross-entropy", F.cross_entropy), ("dice", dice_loss)):
    torch.manual_seed(0)
    finders[name] = MyUNet(width=16, classes=2)
    fit(finders[name], rare, lambda model, batch: loss(model(batch[0]), batch[1]),
        steps=300, learning_rate=6e-3, show=False)

# %%
recall = {}
for name, finder in finders.items():
    with torch.no_grad():
        guess = torch.cat([finder(batch.to(device)).argmax(dim=1).cpu()         # (50, 96, 96)
                           for batch, _ in Batches(val_images, val_figures)])
    matrix = confusion_matrix(guess, val_figures.long(), num_classes=2)
    recall[name], iou = (matrix[1, 1] / matrix[1].sum()).item(), iou_per_class(matrix)[1]
    print(f"{name:<14} finds ≈ {recall[name]:.0%} of their pixels, IoU ≈ {iou:.2f}")
assert recall["dice"] > recall["cross-entropy"] + 0.3

# %%
crowd = [29, 15, 49, 56]
few = val_images[crowd].float().to(device) / 255                # (4, 3, 96, 96)
with torch.no_grad():
    chances = [finder(few).softmax(dim=1)[:, 1].cpu() for finder in finders.values()]
figure, axes = plt.subplots(3, 4, figsize=(9, 7), layout="constrained")
for row, shown in enumerate([few.cpu().movedim(1, 3), *chances]):
    axes[row, 0].set_ylabel(["picture", *finders][row], fontsize=12)
    for axis, values in zip(axes[row], shown):
        axis.imshow(values, cmap="magma", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The chance of a figure at each pixel, from black (0) to pale yellow (1).
# Cross-entropy *has* noticed them, but it gives them less than a half, so its answer is *no* everywhere.
# Why does it hold back?
#
# At first a network cannot tell the pixels apart: it gives the same chance $p$ everywhere.
# Which way does each loss push this $p$?
# We can ask for the slope.

# %%
shares = figures.float().mean(dim=(1, 2))                       # (600,)
usual = (shares - shares.mean()).abs().argmin()                 # a scene with the usual share
one_scene = figures[usual][None].long()                         # (1, 96, 96)


def push(loss, chance: float) -> float:
    """How hard a loss pushes the rare class's score up, if its chance is the same everywhere."""
    score = torch.tensor(chance).logit().requires_grad_()
    logits = torch.stack([torch.zeros(()), score])[None, :, None, None].expand(1, 2, 96, 96)
    return -torch.autograd.grad(loss(logits, one_scene), score)[0].item()

# %%
levels = torch.logspace(-2.7, -0.6, 60)
figure, axis = plt.subplots(figsize=(7.5, 3), layout="constrained")
losses = {"cross-entropy": (F.cross_entropy, "#0072B2"), "dice": (dice_loss, "#E69F00")}
for name, (loss, colour) in losses.items():
    pushes = torch.tensor([push(loss, chance) for chance in levels.tolist()])
    axis.plot(levels, pushes, color=colour, label=name, linewidth=2)
    rest = levels[(pushes < 0).nonzero()[0, 0]].item()
    print(f"{name:<14} is content with a chance of about {rest:.2f} at every pixel")
axis.axhline(0, color="grey", linewidth=1)
axis.set(xscale="log", xlabel="chance of a figure, the same everywhere", ylabel="push: up or down")
axis.legend()
plt.show()

# %% [markdown]
# Above the grey line the loss pushes $p$ up, below it down.
# Cross-entropy comes to rest where $p$ is the share of the class, and from down there it is a long way to a half, above which a figure is at last *found*.
# Dice rests several times higher: a hint is enough.
#
# With enough steps cross-entropy finds the figures too: the networks at the top of the page learned from nothing else.
# Many people simply add the two losses.
# Dice has its price: it does not ask how sure the network should be, so its chances are no longer honest ones.
# (The paper met rare pixels in another way: it gave more weight to those where two cells nearly touch.)

# %% [markdown]
# ## 9. Put behind each other, or added?
#
# The FCN *adds* what comes across; the U-Net puts it *behind* the other channels, and a convolution mixes them.
# Adding is cheaper: half the channels to read.
# Is it as good?
# The third network that came with this lesson adds, and has 30 channels at the top instead of 28, to have no fewer weights.

# %%
adder = UNet(3, num_classes=7, width=30, depth=2, stem_stride=4, skip="add").to(device)
made["adding"] = load_checkpoint(adder, folder / "04_unet_add.safetensors")
for name in ("U-Net", "adding"):
    print(f"{name}: {made[name]['parameters']:,} weights, {made[name]['steps']} steps")
    for run in made[name]["val"]:
        print(f"    seed {run['seed']}: mIoU {run['mIoU']:.2f}, outlines {run['outline F']:.2f}")
joined, added = (sum(run["mIoU"] for run in made[name]["val"]) / 3 for name in ("U-Net", "adding"))
assert abs(joined - added) < 0.03

# %% [markdown]
# No difference that three trainings could show: the two take turns.
# So the joining is not what sets it apart from the FCN.
# Whole maps, one level finer, and layers on the way up to read them, that is what both of these have.
# Adding ties channel 5 of one map to channel 5 of the other, but both maps were learned with that in mind.
# Putting them behind each other leaves the choice to the next convolution, at the price of reading twice as many channels.
# Lesson 11 meets a network that adds.

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
# ## 11. Break it: cut one bridge at a time
#
# What does each bridge carry?
# Take the *where* out of it: replace each channel of a skip by its own mean over the map.
# It still says what it says on average, but no longer at which place.
#
# **Predict.**
# Cut the fine or the coarse bridge: which one costs more of the outlines?
# Which one more of the classes?

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

# %%
for name, (miou, outlines) in broken.items():
    print(f"{name:<18} mIoU {miou:.2f}, outlines {outlines:.2f}")
assert broken["fine bridge cut"][1] < broken["coarse bridge cut"][1] - 0.1

# %%
draw_segmentations(picture, drawn, SEMANTIC_NAMES, SEMANTIC_COLOURS)
plt.show()

# %% [markdown]
# Cut the **fine** bridge, and the outlines are gone.
# Cut the **coarse** one, and the outlines stay, but the crate becomes a cone: *what* crosses over there.
# So the two do different work, as the idea of the U would have it.
#
# And the bottom?
# Its map is 6 × 6 cells.
# Made flat, it costs almost nothing: in our small scenes the 12 × 12 map knows enough already.
# A network need not use a level just because it is there.
# The only way to know is to cut it.

# %% [markdown]
# ## 12. Where it comes from: cells under a microscope
#
# The paper is about medicine.
# Its first task: a slice of brain through an electron microscope, and the membranes between the cells are to be found, from **30 labelled slices**.
# These pictures belong to their owners, so they do not come with the course.
# To get them:
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

# %%
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
# | | FCN-8s | U-Net |
# | --- | --- | --- |
# | what crosses over | K scores per cell, at strides 8 and 16 | all channels, at every level |
# | how it is joined | added | put behind the other channels, then convolved |
# | the way up | three enlargements of K maps | as many layers and channels as the way down |
# | its finest map | one cell in 8 × 8 pixels | here one in 4 × 4, in the paper one for each pixel |
#
# **What the paper reported.**
# It won the ISBI cell tracking challenge 2015 by a large margin: a mean IoU of 92 % on PhC-U373, where the second best had 83 %, and of 77.5 % on DIC-HeLa,
# where the second best had 46 %.
# On the electron microscopy of the ISBI 2012 challenge it reached a warping error of 0.000353, the best until then,
# with no more than an average over seven rotated copies of each picture.
# All this from 20 to 35 labelled pictures a task, thanks to elastic deformations: each picture was bent like rubber, in ever new ways.
# To keep touching cells apart, the loss gave a large weight to the thin borders between them.
#
# **What was simpler here.**
# Our U goes down twice instead of four times, has 28 channels at the top instead of 64, batch normalisation (which the paper does not have), padding,
# and a stem with stride 4.
# We flipped pictures and did not bend them.
# Both networks were trained for a minute and a half: how they compare after two days is another question.
#
# **How fair was the race?**
# Both had the same scenes, the same steps and the same learning rate, and the FCN has more weights.
# But we searched for a U-Net that learns in so short a time: several widths, depths, stems and first weights were tried on the validation scenes,
# and this one was kept because it did well there.
# A deeper one with a finer stem, closer to the paper's, had not learned all classes by then.
# The FCN was not searched for again when the U-Net was.
# So trust the gap in the outlines, which is wide, and not the small one in mIoU.
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
# (a) an error, as 75 is odd (b) it works, if odd maps are handled (c) it works only for multiples of 16
#
# <details><summary>Answer</summary>
#
# **(b)** No layer has a fixed size, and the surplus row is cut off beside each skip.
# (c) is the rule for U-Nets that halve rounding down and do not cut, as many on the internet do; there (a) happens.
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

# %%
progress()

# %% [markdown]
# **Next:** a map of classes cannot count: two cones that touch are one blue region.
# Lesson 05 begins with boxes: one for each thing, and a way to measure whether they are right.
