# %% [markdown]
# # 03 · FCN and its skips: deep maps know what, shallower maps know where
#
# Lesson 01 gave every cell of a map its class, lesson 02 showed the way back to full size.
# Together they make a network that gives every *pixel* its class.
# That task is called **semantic segmentation**: the picture is divided by what its parts *are*, and two spheres get the same colour.
# A network that answers at every pixel is said to do **dense prediction**.
# This lesson's network is the **fully convolutional network**, FCN, of 2015, which made training from pixels to pixels the standard.
#
# The three networks below were trained for equally long.
# The first uses only its deepest map.
# The second also uses a finer map, from an earlier layer, and the third a still finer one.

# %%
from statistics import fmean

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import SEMANTIC_COLOURS, SEMANTIC_NAMES, Toyworld
from lib.device import choose_device
from lib.models.fcn import FCN, BackboneMaps, DilatedBackbone, DilatedFCN, SmallBackbone
from lib.training import load_checkpoint, toyworld_tensors
from lib.viz.masks.segmentation import draw_confusion, draw_segmentations

device = choose_device()

# %%
def load_fcn(name: str, stride: int) -> tuple[FCN, dict]:
    net = FCN(SmallBackbone(width=12), num_classes=7, stride=stride)
    made = load_checkpoint(net, REPOSITORY / f"data/checkpoints/{name}.safetensors")
    return net.to(device).eval(), made


@torch.no_grad()
def segment(net: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The class of every pixel: (N, 3, H, W) -> (N, H, W)."""
    scores = (net(some.to(device)) for some in images.split(25))    # (25, 7, H, W) each
    return torch.cat([some.max(dim=1).indices.cpu() for some in scores])    # argmax, only faster

# %%
held_out = Toyworld("val", length=150)                          # 150 scenes that no network saw
images, truth = toyworld_tensors(held_out)                      # bytes
images, truth = images.float() / 255, truth.long()              # (150, 3, 96, 96), (150, 96, 96)
CHOSEN = 33                                                     # one scene, all through this lesson
COLOURS = {"FCN-32s": "#D55E00", "FCN-16s": "#E69F00", "FCN-8s": "#0072B2",
           "dilated": "#CC79A7", "EfficientNet": "#009E73"}     # the same in every plot
trained = {stride: load_fcn(f"03_fcn{stride}s", stride) for stride in (32, 16, 8)}
answers = {f"FCN-{stride}s": segment(net, images[CHOSEN:CHOSEN + 1])[0]
           for stride, (net, _) in trained.items()}

# %%
def draw(maps: dict[str, torch.Tensor], index: int = CHOSEN) -> None:
    """One scene, several segmentations of it, and the truth."""
    maps = maps | {"truth": truth[index]}
    size = min(2.1, 9.5 / (len(maps) + 1))                      # inches: no wider than the page
    draw_segmentations(images[index], maps, SEMANTIC_NAMES, SEMANTIC_COLOURS, size)
    plt.show()


draw(answers)

# %% [markdown]
# **You will be able to**
#
# - turn coarse class scores into a segmentation, and say how good it can be at best;
# - score a segmentation with a confusion matrix and mean IoU, and say why the share of right pixels misleads;
# - train a network on all pixels of whole pictures at once;
# - fuse what deep maps know with what shallower maps know, and show what each of them adds;
# - say what a network loses through its depth, and what through its stride.
#
# | | |
# | --- | --- |
# | Time | 80 minutes: 43 for the five exercises, the rest to read; about 50 seconds of computing on two cores |
# | Builds on | lesson 01 (scores at every cell, stride, receptive field) and lesson 02 (transposed convolution, bilinear kernel) |
# | Paper | Long, Shelhamer & Darrell 2015, *Fully Convolutional Networks for Semantic Segmentation* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.
# The output of a cell that answers a *Predict* is folded: click on it to open it.

# %%
from tqdm.auto import tqdm

from lib.exercises import check, hint, progress, solution, use
from lib.ops.segmentation_metrics import boundary_f_score
from lib.training import Batches, History, fit
from lib.training.history import smoothed
from lib.viz import explore, feature_strip, show_images, show_numbers

# %% [markdown]
# ## 1. One answer per cell
#
# Given a score for every class at every cell, take the best class of each cell: that is a segmentation, a coarse one.
# How good can it be?
#
# No network is needed to find out.
# Take the *truth* of a scene, and keep only what a map with one cell per 32 × 32 pixels could say: the class that fills most of the cell.
# Then enlarge it again.
#
# (A *thing* in this course is an object: a sphere, crate, cylinder, cone or figure.
# Sky and ground are not things.)
#
# **Predict.**
# The scenes have 96 × 96 pixels, so stride 32 leaves 3 × 3 answers.
# What becomes of the sphere?
# And of the two figures behind it?

# %%
def shrink(classes: torch.Tensor, stride: int) -> torch.Tensor:
    """The most frequent class of each cell: (N, H, W) -> (N, H/stride, W/stride)."""
    one_hot = F.one_hot(classes, 7).movedim(-1, 1).float()      # (N, 7, H, W)
    return F.avg_pool2d(one_hot, stride).argmax(dim=1)


def enlarge(classes: torch.Tensor, stride: int) -> torch.Tensor:
    return classes.repeat_interleave(stride, dim=1).repeat_interleave(stride, dim=2)

# %% jupyter={"outputs_hidden": true}
shrunk = {stride: enlarge(shrink(truth, stride), stride) for stride in (32, 16, 8, 4, 2)}
draw({f"stride {stride}": shrunk[stride][CHOSEN] for stride in (32, 16, 8)})

# %% [markdown]
# No network has made a mistake here: this is the truth, in cells of 32, 16 and 8 pixels.
# A thing that does not fill most of a cell is gone.
#
# How bad is that?
# The simplest score is the share of pixels that are right.

# %%
def accuracy(predicted: torch.Tensor) -> float:
    return (predicted == truth).float().mean().item()


for stride in (8, 16, 32):
    print(f"stride {stride:>2}: {accuracy(shrunk[stride]):.0%} of the pixels are right")

# %% [markdown]
# Eighty-four percent at stride 32?
# It looked like next to nothing.
# **Predict**, before you run the next cell: take the truth and *erase every object*, so that only sky and ground are left.
# How many pixels are right then?

# %% jupyter={"outputs_hidden": true}
erased = truth.clamp(max=1)                                     # 0 sky, 1 ground, 2 to 6 things
print(f"no things at all: {accuracy(erased):.0%} of the pixels are right")

# %% [markdown]
# More than stride 32 got right.
# This world is mostly sky and ground, as most photos are mostly background.
# A score that stays high when every object is missing does not tell us what we want to know.

# %% [markdown]
# ## 2. A score in which every class counts alike
#
# First count all there is to count: how many pixels of each true class were taken for each class.
# This table is the **confusion matrix**.
# One row of it could say: of 1,000 sphere pixels, 700 were called sphere, 250 ground and 50 cone.
#
# Some pixels have no truth: in PASCAL VOC a thin border around each object was left out, since people do not agree about it.
# Their class number is 255, and they must not count.
#
# ### Exercise 1 · `confusion_matrix`
#
# *8 minutes · ★★☆*
#
# - `predicted`, `target`: class numbers of any shape, the same for both, such as (H, W) or (B, H, W).
# - `num_classes`: K.
#   Some classes may not occur.
# - `ignore_index`: pixels whose *target* is this number are left out.
#   What was predicted there does not matter.
# - Returns (K, K) counts, int64: **row = true class, column = predicted class**.
#   No loop over pixels: `torch.bincount` counts numbers.

# %% tags=["exercise"]
def confusion_matrix(predicted: torch.Tensor, target: torch.Tensor, num_classes: int,
                     ignore_index: int = 255) -> torch.Tensor:
    ### BEGIN SOLUTION
    counted = target != ignore_index
    pairs = target[counted] * num_classes + predicted[counted]  # one number for each (truth, guess)
    counts = torch.bincount(pairs, minlength=num_classes ** 2)  # (K·K,)
    return counts.view(num_classes, num_classes)
    ### END SOLUTION

# %%
check(confusion_matrix)

# %% [markdown]
# <details><summary>Hint: bincount counts one list, and I have two</summary>
#
# Make one number out of each pair, so that different pairs get different numbers.
# A matrix with K columns is stored row by row: at which place does (row, column) lie?
# </details>
# <details><summary>Hint: "shape is invalid for input of size ..."</summary>
#
# Too many numbers: did a pixel with truth 255 get through?
# Too few: the last classes do not occur, and `bincount` stops at the largest number it meets, unless you tell it how far to count.
# </details>

# %%
confusion_matrix = use(confusion_matrix)

# %%
matrix = confusion_matrix(shrunk[16], truth, 7)
figure = draw_confusion(matrix, SEMANTIC_NAMES)
figure.axes[0].set_title("the truth in cells of 16 pixels")
plt.show()
print(f"{matrix.sum().item():,} pixels, {matrix.trace().item():,} on the diagonal")

# %% [markdown]
# This is the truth in cells of 16 pixels, in percent of each row.
# Read it row by row: sky and ground are nearly complete.
# Of the figures, which are thin, only 35 % are left, and most of the rest was taken for ground.
# Pixel accuracy adds up the counts on the diagonal, and sky and ground have by far the most.
#
# So give each class *one* vote, whatever its size.
# Its score is **intersection over union**, IoU: the pixels that are this class in both maps, divided by the pixels that are this class in at least one.
# The mean over the classes is **mIoU**, the usual score for semantic segmentation.
#
# ### Exercise 2 · `mean_iou`
#
# *8 minutes · ★★☆*
#
# - `matrix`: (K, K) counts from above.
# - Returns a plain number.
#   For each class, three sums are in the matrix: what is right, what is truly this class, what was called this class.
# - A class that is neither in the truth nor predicted has nothing to be judged: leave it out of the mean.

# %% tags=["exercise"]
def mean_iou(matrix: torch.Tensor) -> float:
    ### BEGIN SOLUTION
    right = matrix.diagonal()                                   # (K,)
    union = matrix.sum(dim=0) + matrix.sum(dim=1) - right       # (K,)
    return (right / union).nanmean().item()                     # 0 / 0 is NaN, and is passed over
    ### END SOLUTION

# %%
check(mean_iou)

# %% [markdown]
# <details><summary>Hint: how do I get the union?</summary>
#
# Draw two overlapping circles.
# The row of a class is one of them, its column the other.
# Which part do both contain?
# </details>
# <details><summary>Hint: my result is NaN</summary>
#
# A class that occurs nowhere gives 0 / 0.
# Do not make it 0: that would punish the network for not finding what is not there.
# There is a mean that leaves NaNs out.
# </details>

# %%
mean_iou = use(mean_iou)

# %%
def miou(predicted: torch.Tensor) -> float:
    return mean_iou(confusion_matrix(predicted, truth, 7))


tried = {"no things at all": erased, "stride 32": shrunk[32], "stride 8": shrunk[8]}
for name, answer in tried.items():
    print(f"{name:<16} pixel accuracy {accuracy(answer):.2f}, mIoU {miou(answer):.2f}")

# %% [markdown]
# Now the scores agree with the eye: erasing all things costs five classes of seven.
#
# With this score we can ask what a stride costs, and which things suffer.
# Sort the pixels of things by how large the thing appears in the picture: *small* is less than 150 pixels, about 12 × 12;
# *large* is 600 pixels or more, about 25 × 25.

# %%
instances = torch.stack([held_out[index].instance for index in range(150)])     # 0: no thing
area = torch.stack([numbers.flatten().bincount()[numbers] for numbers in instances])
area[instances == 0] = 0                                        # (150, 96, 96): how large it is
sizes = {"small": (area > 0) & (area < 150), "middle": (area >= 150) & (area < 600),
         "large": area >= 600}


def found(predicted: torch.Tensor) -> dict[str, float]:
    """Of the pixels of small, middle and large things: the share that got the right class."""
    right = (predicted == truth).float()
    return {name: right[pixels].mean().item() for name, pixels in sizes.items()}

# %%
strides = sorted(shrunk)
shares = [found(shrunk[stride]) for stride in strides]
figure, axis = plt.subplots(figsize=(6.6, 3.4), layout="constrained")
for name, colour in zip(sizes, ("#D55E00", "#E69F00", "#0072B2")):
    values = [share[name] for share in shares]
    axis.plot(strides, values, "o-", color=colour, label=f"pixels found of {name} things")
axis.plot(strides, [miou(shrunk[stride]) for stride in strides], "ks--", label="mIoU")
axis.set(xscale="log", xticks=strides, xticklabels=strides, ylim=(0, 1), xlabel="stride in pixels",
         ylabel="share found, or mIoU", title="The truth in cells: what a stride costs")
axis.minorticks_off()
axis.legend(fontsize=8, loc="lower left")
plt.show()
assert all(share["small"] < share["middle"] < share["large"] for share in shares)

# %% [markdown]
# **Small things are lost first.**
# A map with one class per cell can hardly be better than this, however good the network that makes it.
# (The most frequent class is the best choice for the share of right pixels; in mIoU another one may be a little better.)
# Keep the 0.41 of stride 32 in mind: soon something will beat it.

# %% [markdown]
# ## 3. From pixels to pixels, in one go
#
# Now a real network.
# The part of it that turns the picture into feature maps is called the **backbone**; what is then done with the features comes after it.
# Ours has five blocks, each of which halves the map, and two layers in place of VGG's fully connected ones (lesson 01): fc6 and fc7.
# Here is what its layers do, and what one cell sees after each of them: its **receptive field**, computed as in lesson 01.

# %%
from lib.ops.receptive_field import Window, receptive_field


def windows(module: nn.Module) -> list[Window]:
    """The sliding windows in a module, in order: its convolutions and poolings. They are square."""
    def side(value: int | tuple[int, ...]) -> int:
        return value if isinstance(value, int) else value[0]

    layers = [layer for layer in module.modules() if isinstance(layer, (nn.Conv2d, nn.MaxPool2d))]
    return [Window(side(layer.kernel_size), side(layer.stride), 0, side(layer.dilation))
            for layer in layers]

# %%
def sees(stages: dict[str, nn.Module]) -> dict[str, int]:
    """How many pixels high and wide a cell sees after each stage."""
    so_far, pixels = [], {}
    for name, stage in stages.items():
        so_far += windows(stage)
        pixels[name] = receptive_field(so_far).size
    return pixels

# %%
fcn32s = FCN(SmallBackbone(width=12), num_classes=7, stride=32).to(device)
seen, x = sees(dict(fcn32s.backbone.named_children())), images[:1].to(device)
for name, stage in fcn32s.backbone.named_children():
    x = stage(x).detach()                                       # (1, C, h, w)
    layers = ", ".join(f"{w.kernel}×{w.kernel}" + f" stride {w.stride}" * (w.stride > 1)
                       for w in windows(stage))
    print(f"{name}: {x.shape[1]:>2} channels, {96 // x.shape[2]:>2} pixels per cell, "
          f"sees {seen[name]:>3} pixels; windows {layers}")
cell_scores = fcn32s.score_fr(x)
print("scores:", tuple(cell_scores.shape), " enlarged:", tuple(fcn32s.upscore(cell_scores).shape))

# %% [markdown]
# A 1×1 convolution gives 7 scores at every cell of fc7.
# One fixed transposed convolution with the bilinear kernel (lesson 02) enlarges these *scores* 32 times.
# That is **FCN-32s**: s for stride.
#
# Every one of these layers looks at a window and treats all places alike.
# A network of such layers only is itself one large sliding window, and this is what **fully convolutional** means.
# Nothing in it fixes the size of the picture, so **an FCN takes any size**: section 5 tries 70 × 91 pixels.
# (A flattening layer, or one weight per place, would end that.)
#
# How is it trained?
# A score for every class at every pixel is a classification at every pixel.
# So use the loss of classification at every pixel, and take the mean.
# It is the **cross entropy**: −log of the probability that the softmax gives to the true class.
#
# That sounds obvious today.
# Before 2015 segmentation was a chain of parts: cut out a window around each pixel or each candidate region, classify the window,
# smooth the outcome with another method.
# Each part was trained alone, and no part learned from the mistakes of the parts after it.
# In lesson 01 you slid a classifier of windows over a scene; its training still knew only windows.
# Here the *whole picture* goes in, the loss is taken at the pixels, and one gradient runs through everything: **end to end**.
# A batch of 8 pictures is 73,728 training examples, which share all the computing.
#
# ### Exercise 3 · `pixel_loss`
#
# *10 minutes · ★★☆*
#
# - `logits`: (B, K, H, W) scores.
#   They can be large: stay with *log* probabilities.
# - `target`: (B, H, W) classes; pixels with `ignore_index` are left out, of the sum and of the count.
# - Returns the mean of −log p(true class) over all pixels of the batch that count, as a tensor with one number.
#   Write it out, without `F.cross_entropy` and `F.nll_loss`.
#   Gradients must flow.

# %% tags=["exercise"]
def pixel_loss(logits: torch.Tensor, target: torch.Tensor, ignore_index: int = 255) -> torch.Tensor:
    ### BEGIN SOLUTION
    log_p = logits.log_softmax(dim=1).movedim(1, -1)            # (B, H, W, K)
    counted = target != ignore_index                            # (B, H, W)
    log_p_true = log_p[counted].gather(1, target[counted][:, None])     # (N, 1)
    return -log_p_true.mean()
    ### END SOLUTION

# %%
check(pixel_loss)

# %% [markdown]
# <details><summary>Hint: index 255 is out of bounds</summary>
#
# Throw the ignored pixels away *before* you look up the score of the true class.
# A mask of shape (B, H, W) can pick from a tensor whose first three axes are (B, H, W).
# </details>
# <details><summary>Hint: how do I pick one score per pixel?</summary>
#
# With N pixels left you have a table (N, K) and N column numbers.
# `gather` takes from each row the entry that an index of shape (N, 1) names.
# </details>
# <details><summary>Hint: I get inf or NaN for large scores</summary>
#
# exp(200) is more than a float holds.
# `log_softmax` never computes it.
# </details>

# %%
pixel_loss = use(pixel_loss)

# %%
train_images, train_truth = toyworld_tensors(Toyworld("train", length=800))


def loss(net: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    pictures, classes = batch
    return pixel_loss(net(pictures), classes)


def validate(net: nn.Module) -> dict[str, float]:
    return {"mIoU": miou(segment(net, images))}

# %%
torch.manual_seed(0)
fcn32s = FCN(SmallBackbone(width=12), num_classes=7, stride=32)
batches = Batches(train_images, train_truth, batch_size=8, shuffle=True, flip=True, seed=0)
history = fit(fcn32s, batches, loss, steps=60, learning_rate=4e-3, title="FCN-32s",
              validate=validate, validations=2)
print(history)

# %% [markdown]
# After a few seconds it has found sky and ground.
# Its mIoU is about that of the map without things.
# (Its pixel accuracy would already look good.)
#
# Things take longer: 1,600 steps, about two minutes.
# The course comes with the result.

# %%
start, _ = load_fcn("03_fcn32s_start", stride=32)
answer = segment(start, images)
print(f"FCN-32s after 1,600 steps: mIoU ≈ {miou(answer):.3f}")
print(f"the truth in cells of 32:  mIoU {miou(shrunk[32]):.3f}")
assert miou(answer) > miou(shrunk[32])

# %% [markdown]
# More than the truth in cells of 32!
# Stop and think how that can be.
# Each cell of the truth named one class for its 32 × 32 pixels, the most frequent one.
# What does a cell of the network have that a cell of the truth did not have?

# %% jupyter={"outputs_hidden": true}
with torch.no_grad():
    cell_scores = start.score_fr(start.backbone(images.to(device)).fc7).cpu()      # (150, 7, 3, 3)
blocks = enlarge(cell_scores.argmax(dim=1), 32)
print(f"best class of each cell, enlarged: mIoU ≈ {miou(blocks):.3f}")
print(f"scores enlarged, then the best:    mIoU ≈ {miou(answer):.3f}")
assert miou(answer) > miou(blocks) + 0.05
draw({"best class, enlarged": blocks[CHOSEN], "scores enlarged": answer[CHOSEN]})

# %% [markdown]
# A cell has **seven scores**, not one answer.
# Between two cells the scores are blended, and where one class overtakes the other there is an edge.
# By making a score a little higher, a cell pushes that edge a few pixels away.
# Training end to end, through the enlargement, taught the cells to lean in just that way.
# That is why the scores must be enlarged *before* the best class is taken.
#
# Still, the sphere is no circle, and the cylinder and the small things are gone.
# Nine cells cannot draw more.

# %% [markdown]
# ## 4. What, and where
#
# The detail is lost in the deepest map.
# But the network itself had it, some layers earlier.
# First the real network of lesson 01 on a real photo, from the first layers at the left to the last at the right:

# %%
from lib.datasets.photos import crop_square, load_photo
from lib.pretrained import efficientnet_lite0, prepare

classifier = efficientnet_lite0().to(device).requires_grad_(False)
photo = crop_square(load_photo("astronaut"), 224).to(device)
figure = feature_strip(classifier, prepare(photo), picture=photo)
figure.set_size_inches(9.6, 4.2)
plt.show()

# %% [markdown]
# From left to right the outlines dissolve.
# What is gained in return?
# Let us **measure** it, with two questions to each map:
#
# - **what**: is this pixel part of a sphere, crate, cylinder, cone or figure?
#   (Guessing: 20 %.)
# - **where**: does this pixel lie *on* an outline, or 3 to 8 pixels beside one?
#   (Guessing: 50 %.)
#
# Only a linear layer may answer, from the features of the one cell that the pixel lies in.
# Such a layer is called a **linear probe** (`lib/training/probes.py`).
# It can compute hardly anything by itself, so it shows what is already there to be read in the map.
#
# First we need the distance of every pixel to the nearest outline: grow the outlines by one pixel at a time, and count how long it takes to reach the pixel.

# %%
def distance_to_outline(classes: torch.Tensor) -> torch.Tensor:
    """0 on an outline, 1 beside it, ..., 12 for 12 and more: (N, H, W) -> (N, H, W)."""
    values = classes[:, None].float()                           # (N, 1, H, W)
    near = (F.max_pool2d(values, 3, 1, 1) > -F.max_pool2d(-values, 3, 1, 1)).float()
    distance = torch.zeros_like(values)
    for _ in range(12):
        distance += 1 - near
        near = F.max_pool2d(near, 3, stride=1, padding=1)
    return distance[:, 0]

# %%
distance = distance_to_outline(truth)
shown = 1 - distance[CHOSEN][None] / 12
show_images([images[CHOSEN], shown], ["the scene", "distance: white 0, black 12 or more"], size=2.6)
plt.show()

# %% [markdown]
# Now choose pixels to ask about: 250 of each kind of thing, and 1,000 on outlines and 1,000 beside them.

# %%
def choose(masks: list[torch.Tensor], count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` pixels of each mask (N, H, W): their places (M, 3), and the masks' numbers (M,)."""
    generator = torch.Generator().manual_seed(seed)
    places = [mask.nonzero() for mask in masks]                 # (pixels, 3): picture, row, column
    places = [some[torch.randperm(len(some), generator=generator)[:count]] for some in places]
    return torch.cat(places), torch.arange(len(masks)).repeat_interleave(count)


def questions(classes: torch.Tensor, seed: int) -> dict[str, tuple]:
    away = distance_to_outline(classes)
    kinds = [(classes == number) & (away >= 2) for number in range(2, 7)]
    beside_or_on = [(away >= 3) & (away <= 8), away == 0]
    return {"what": choose(kinds, 250, seed), "where": choose(beside_or_on, 1000, seed)}

# %%
from lib.training.probes import features_at, probe_accuracy

learn_images, learn_truth = train_images[:200].float() / 255, train_truth[:200].long()
learn, test = questions(learn_truth, seed=0), questions(truth, seed=1)

# %%
def what_and_where(stages: dict, learn_images: torch.Tensor, test_images: torch.Tensor) -> dict:
    """For each stage the shares of right answers to both questions, on unseen pictures."""
    asked = ((learn_images, learn), (test_images, test))
    seen, new = (features_at(stages, pictures, torch.cat([some["what"][0], some["where"][0]]))
                 for pictures, some in asked)                   # by stage: (1250 + 2000, C)
    knows = {name: [] for name in stages}
    for question, part in (("what", slice(0, 1250)), ("where", slice(1250, None))):
        answers, true_answers = learn[question][1], test[question][1]
        for name in stages:
            right = probe_accuracy(seen[name][part], answers, new[name][part], true_answers)
            knows[name].append(right)
    return knows

# %% [markdown]
# Two networks are asked: our FCN-32s, which was trained on this very world, and the EfficientNet of lesson 01,
# which was trained on photos of dogs and cups and has never seen toyworld.
#
# **Predict.**
# After which layers does the probe for *what* do best, and after which the probe for *where*?

# %%
fcn_stages = dict(start.backbone.named_children())
larger = nn.Upsample(size=(128, 128), mode="bilinear")          # it is used to larger things
photo_stages = {"stem": nn.Sequential(larger, classifier.conv_stem, classifier.bn1)}
photo_stages |= {f"block {number}": block for number, block in enumerate(classifier.blocks)}
photo_stages |= {"head": nn.Sequential(classifier.conv_head, classifier.bn2)}
asked = [(fcn_stages, learn_images, images), (photo_stages, prepare(learn_images), prepare(images))]
fcn_knows, photo_knows = (what_and_where(*one) for one in tqdm(asked, "asking two networks"))

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.6), layout="constrained", sharey=True)
for axis, knows, title in zip(axes, (fcn_knows, photo_knows),
                              ("FCN-32s, trained on toyworld", "EfficientNet, trained on photos")):
    what, where = zip(*knows.values())
    for values, style, colour, guess in ((what, "o-", "#0072B2", 0.2),
                                         (where, "s-", "#D55E00", 0.5)):
        axis.plot(list(knows), values, style, color=colour)
        axis.axhline(guess, color=colour, linestyle=":")
        for place, value in enumerate(values):
            above = value == max(what[place], where[place])     # the upper curve's numbers go above
            axis.annotate(f"{value:.0%}", (place, value), (0, 10 if above else -10), color=colour,
                          textcoords="offset points", ha="center", va="center", fontsize=8,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
    axis.set(title=title, ylim=(0.1, 1))
    axis.tick_params(axis="x", rotation=35, labelsize=8)
axes[0].set_ylabel("right answers on unseen pictures")
axes[0].text(-0.15, 0.82, "where?", color="#D55E00", fontsize=10)
axes[0].text(-0.15, 0.35, "what?", color="#0072B2", fontsize=10)
axes[0].text(6.2, 0.13, "dotted: guessing", color="grey", ha="right", fontsize=9)
plt.show()
for name, knows in (("FCN-32s", fcn_knows), ("EfficientNet", photo_knows)):
    best = [max(knows, key=lambda stage: knows[stage][question]) for question in (0, 1)]
    print(f"{name}: what is best after {best[0]}, where after {best[1]}")
    where = [there for _, there in knows.values()]
    assert where[0] + 0.03 < max(where) > where[-1] + 0.1       # where: best in between

# %% [markdown]
# *What* is known late, *where* early.
# But not in the very first layers: *where* is best at a stride of 4, in the second and in the third map (78 % and 90 %, after 72 % and 71 % in the first),
# and falls from there on.
# (The photo network gets the scenes enlarged, so its stride of 4 is 3 pixels of a scene.)
# In the photo network *what* is best a few stages before the end: from block 5 to block 6 it falls by ten points, though both have 4 × 4 cells.
# The last layers were made for ImageNet's thousand classes; that may be why.
#
# So the often quoted sentence "deep maps know what, shallow maps know where" needs one correction: *shallower* maps, not the shallowest.
# Now, **why** is it so?
#
# ### Why *what* rises: the window
#
# What differs from layer to layer is how much of the picture a cell sees.
# Draw the same answers to *what* over the size of that window.
# (The photo network sees the scenes enlarged from 96 to 128 pixels; its windows are given in pixels of the 96.)
#
# **Predict.**
# The sides of the things' boxes have 15 to 28 pixels in the middle half of all cases.
# At which window will the curve be steep?

# %%
boxes = torch.cat([held_out[index].boxes for index in range(150)])      # (things, 4)
sides = (boxes[:, 2:] - boxes[:, :2]).flatten()
low, high = sides.quantile(torch.tensor([0.25, 0.75])).tolist()
print(f"FCN-32s sees {[*sees(fcn_stages).values()]} pixels;",
      f"sides of things: {low:.0f} to {high:.0f}")

# %% jupyter={"outputs_hidden": true, "source_hidden": true}
figure, axis = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
axis.axvspan(low, high, color="#EEEEEE", label="sides of things, middle half")
for stages, knows, factor, label in ((fcn_stages, fcn_knows, 1, "FCN-32s"),
                                     (photo_stages, photo_knows, 96 / 128, "EfficientNet")):
    pixels = [factor * size for size in sees(stages).values()]
    axis.plot(pixels, [what for what, _ in knows.values()], "o-", color=COLOURS[label], label=label)
axis.axhline(0.2, color="grey", linestyle=":", label="guessing")
ticks = (2, 5, 10, 20, 50, 100, 200, 500)
axis.set(xscale="log", xticks=ticks, xticklabels=ticks, ylim=(0, 1), ylabel="what? right answers",
         xlabel="receptive field of a cell, in pixels",
         title="What a cell knows, over what it sees")
axis.minorticks_off()
axis.legend(fontsize=8, loc="lower right")
plt.show()

# %%
by_window = dict(zip(sees(fcn_stages).values(), (what for what, _ in fcn_knows.values())))
assert by_window[70] - by_window[10] > 0.3 > 0.15 > by_window[182] - by_window[70]

# %% [markdown]
# Two very different networks, and the same course.
# A cell that sees much less than a thing does little better than guessing: a patch of orange can be a cylinder or a sphere.
# *What* rises while the window grows from half the size of the things to about three times their size:
# in FCN-32s from 34 % at 10 pixels over 51 % at 30 to 76 % at 70.
# Once the window holds a whole thing with its surroundings, seeing more adds little: 80 % at 182 pixels.
# This is what people mean when they call a deep feature **semantic**, or **holistic**: it is made from the whole thing.
# (The window does not grow alone: a later layer has also computed more. The last of the open tasks below takes the two apart.)
#
# It explains the rise of *where* as well: a cell that sees 4 pixels cannot tell an outline from the edge of a floor tile.
#
# ### Why *where* falls: stride, or depth?
#
# The usual reason is the stride: in the last map 32 × 32 pixels share one cell, and whatever it says, it says to all of them.
# But stride and depth grew together here.
# They can be separated.
# Leave out the last two halvings, and spread the windows after them instead, so that each cell still sees as far.
# This is called **dilation** (French: *à trous*, with holes): a 3×3 window with dilation 4 looks at cells that lie 4 apart.

# %%
dilated = DilatedFCN(DilatedBackbone(width=12), num_classes=7).to(device).eval()
dilated.backbone.load_state_dict(start.backbone.state_dict())   # all the weights of FCN-32s
with torch.no_grad():
    some = images[:8].to(device)
    halved, dense = start.backbone(some).fc7, dilated.backbone(some).fc7
print("fc7 of FCN-32s:", tuple(halved.shape), " dilated:", tuple(dense.shape))
same = torch.allclose(halved, dense[:, :, 2::4, 2::4], atol=1e-4)
print("cells 2, 6, 10 of the dilated map are the cells of FCN-32s:", same)
assert same and sees(dict(dilated.backbone.named_children())) == sees(fcn_stages)

# %% [markdown]
# The same weights, layers and windows, and even the same features; the one difference: 16 cells where there was one.
#
# **Predict.**
# If the stride is what costs *where*, the dilated fc7 knows *where* as well as block3, the last map that both networks share.
# If the depth is to blame, it knows no more than the old fc7.
# Which is it?

# %% jupyter={"outputs_hidden": true}
dilated_knows = what_and_where(dict(dilated.backbone.named_children()), learn_images, images)
figure, axis = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
for knows, style, name, strides in ((fcn_knows, "o-", "FCN-32s", "2, 4, 8, 16, 32, 32, 32"),
                                    (dilated_knows, "s--", "dilated", "2, 4, 8, 8, 8, 8, 8")):
    axis.plot(list(knows), [where for _, where in knows.values()], style, color=COLOURS[name],
              label=f"{name}: stride {strides}")
axis.axhline(0.5, color="grey", linestyle=":", label="guessing")
axis.set(ylim=(0.45, 0.9), ylabel="where? right answers",
         title="The same weights, with and without the last two halvings")
axis.legend(fontsize=8)
plt.show()
for name in ("block3", "block4", "block5", "fc7"):
    print(f"{name}: where ≈ {fcn_knows[name][1]:.0%}, dilated ≈ {dilated_knows[name][1]:.0%}")
assert fcn_knows["fc7"][1] + 0.02 < dilated_knows["fc7"][1] < fcn_knows["block3"][1] - 0.05

# %% [markdown]
# Both, and with these weights the depth has the larger part.
# In block4, a cell for every 8 pixels brings back about half of what was lost since block3; in fc7 only about a quarter.
# The rest is missing although the cells are there.
# That is plausible: a cell that sees 182 pixels sees nearly the same as its neighbour 8 pixels on.
# And its seven scores had to serve 32 × 32 pixels at once, so it could make little use of the exact place.
# (Section 10 trains the dilated network further, and asks whether it can learn that.)
#
# No single map knows both.
# So ask several.

# %% [markdown]
# ## 5. Skips: scores from several maps
#
# How can the maps be brought together?
# The paper's answer is simple.
# Each map gets a 1×1 convolution of its own that makes **scores** of it.
# Then both hold the same kind of numbers: 7 at each cell, one for each class.
# The coarse scores are made twice as large, and the two are **added**.
# The finer map reaches the sum directly, and skips all the layers between; such a shortcut is called a **skip connection**, or just a **skip**.
#
# An example with the scores of one class.
# The coarse map says *thing* at the left and *no thing* at the right.
# The fine map has seen a detail: the thing reaches further in the middle rows.

# %%
coarse = torch.tensor([[[[3., -3.], [3., -3.]]]])               # (1, 1, 2, 2): scores of "thing"
fine = torch.zeros(1, 1, 4, 4)
fine[0, 0, 1:3, 2] = 4
doubled = F.interpolate(coarse, scale_factor=2, mode="bilinear")
figure = show_numbers({"coarse": coarse[0, 0], "coarse, enlarged": doubled[0, 0],
                       "fine": fine[0, 0], "sum": (doubled + fine)[0, 0]})
figure.set_size_inches(9.6, 2.6)
plt.show()

# %% [markdown]
# A score above 0 (red) means *thing* here.
# Where the fine map says nothing (0), the coarse one decides.
# Near the change from 3 to −3 the coarse scores are small, and there the fine map moves the edge.
#
# ### Exercise 4 · `fuse_scores`
#
# *5 minutes · ★☆☆*
#
# - `coarse`: (B, K, h, w) scores of a deep map.
# - `fine`: (B, K, 2h, 2w) scores of the map above it.
# - `upscore`: a layer that makes a map twice as large.
#   It starts as bilinear interpolation and has learned since, so use the layer, not `F.interpolate`.
# - Returns the fused scores, (B, K, 2h, 2w).
#   Gradients must flow to both maps.

# %% tags=["exercise"]
def fuse_scores(coarse: torch.Tensor, fine: torch.Tensor, upscore: nn.Module) -> torch.Tensor:
    ### BEGIN SOLUTION
    return upscore(coarse) + fine
    ### END SOLUTION

# %%
check(fuse_scores)

# %% [markdown]
# <details><summary>Hint: the shapes do not fit</summary>
#
# One of the two maps has to change its size.
# Shrinking the fine one would throw away its detail, which is all it is used for.
# </details>
# <details><summary>Hint: my result has twice as many channels</summary>
#
# Both maps hold the same K classes in the same order, so channel 3 of one and channel 3 of the other mean the same.
# Concatenating them would lose that.
# </details>

# %%
fuse_scores = use(fuse_scores)

# %% [markdown]
# Do it once, with the map at stride 16, and enlarge the result 16 times: **FCN-16s**.
# Do it again with the map at stride 8: **FCN-8s**.
# Here is the whole system, with the maps that it really makes of our scene:

# %%
from lib.viz.diagrams.fcn_plan import draw_fcn_plan

draw_fcn_plan(trained[8][0], images[CHOSEN], SEMANTIC_COLOURS)
plt.show()

# %% [markdown]
# - Blue is the backbone: the channels of each map (ch), and its stride.
#   All channels at once are shown as colours (their three main directions, as in lesson 01).
# - Yellow layers make 7 scores from features.
#   The picture in a yellow or green box shows the best class of each cell.
#   On their own, `score_pool3` is fine and wrong, `score_fr` is right and coarse.
# - Green layers enlarge scores: the two by 2 go on learning, the last one is fixed.
# - The orange arrows are the **skips**.
# - Pale are the exits of FCN-32s and FCN-16s, which have an `upscore` by 32 and by 16 in place of what follows.
#
# The one loss is taken at the answer, and its gradient runs back through every arrow, so all layers but the last `upscore` learn from it.
#
# The names of the yellow and green layers are those of the authors' released code.
# It does not explain `score_fr`; read it as "the scores of fc7", which come after its ReLU.
#
# One problem is left.
# A picture of 100 × 70 pixels cannot be halved five times without a remainder.
# So it is padded at the **right** and at the **bottom** to multiples of 32 before the backbone (here to 128 × 96),
# and the scores are cut to the picture's size at the end.
#
# ### Exercise 5 · `fcn_8s_scores`
#
# *12 minutes · ★★☆*
#
# The whole of FCN-8s, from the backbone's maps to the scores of every pixel.
#
# - `net` has the layers of the drawing: `score_fr`, `score_pool4`, `score_pool3`, `upscore2`, `upscore_pool4`, and `upscore` for the last step, by 8.
# - `maps`: `maps.pool3`, `maps.pool4` and `maps.fc7` at strides 8, 16 and 32 of the *padded* picture.
# - `height`, `width`: of the picture before padding.
# - Returns (B, K, height, width).
#   You may call your `fuse_scores`.
#   Gradients must flow.

# %% tags=["exercise"]
def fcn_8s_scores(net: FCN, maps: BackboneMaps, height: int, width: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    scores = net.score_fr(maps.fc7)                                             # stride 32
    scores = fuse_scores(scores, net.score_pool4(maps.pool4), net.upscore2)     # stride 16
    scores = fuse_scores(scores, net.score_pool3(maps.pool3), net.upscore_pool4)    # stride 8
    return net.upscore(scores)[:, :, :height, :width]
    ### END SOLUTION

# %%
check(fcn_8s_scores)

# %% [markdown]
# <details><summary>Hint: where do I start?</summary>
#
# At the right end of the drawing, with the deepest map.
# Write one line per (+).
# </details>
# <details><summary>Hint: everything is right for some pictures and wrong for others</summary>
#
# Those with multiples of 32 need no cut.
# For the others: where was the padding added, so which rows and columns are the picture's?
# </details>
# <details><summary>Hint: channels do not fit</summary>
#
# Each map has its own score layer.
# "pool3" is the map after block 3: large, shallow, 48 channels.
# "pool4" is smaller and has 60.
# </details>

# %%
fcn_8s_scores = use(fcn_8s_scores)

# %% [markdown]
# Put your two functions into a network.
# It has the layers of `lib.models.fcn.FCN`, and uses them as you wrote it.
# (`-width % 32` is Python for what is missing to the next multiple of 32: for 91 it is 5.)

# %%
class MyFCN(FCN):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        maps = self.backbone(F.pad(x, (0, -width % 32, 0, -height % 32), mode="replicate"))
        if self.stride == 8:
            return fcn_8s_scores(self, maps, height, width)
        scores = self.score_fr(maps.fc7)
        if self.stride == 16:
            scores = fuse_scores(scores, self.score_pool4(maps.pool4), self.upscore2)
        return self.upscore(scores)[:, :, :height, :width]

# %%
mine = MyFCN(SmallBackbone(width=12), num_classes=7, stride=8).to(device).eval()
mine.load_state_dict(trained[8][0].state_dict())
with torch.no_grad():
    odd = images[:2, :, :70, :91].to(device)
    same = torch.allclose(mine(odd), trained[8][0](odd), atol=1e-4)
print("your FCN-8s equals the one in lib/ on a picture of 70 × 91 pixels:", same)
assert same

# %% [markdown]
# ## 6. 32s, 16s and 8s, from the same start
#
# The paper did not train FCN-8s from random weights.
# It took the finished FCN-32s, added a score layer for the next map, and trained on.
# The new layer starts with all weights at **zero**.
#
# **Predict.**
# What does the new network say at step 0, before it has learned anything?

# %%
def continued(stride: int, kind: type = MyFCN) -> nn.Module:
    """An FCN with all that the FCN-32s has learned. Only what it adds is new."""
    net = kind(SmallBackbone(width=12), num_classes=7, stride=stride)
    learned = start.state_dict()
    del learned["upscore.weight"]                               # the last upsampling is not learned
    net.load_state_dict(learned, strict=False)
    return net.to(device).eval()

# %% jupyter={"outputs_hidden": true}
before = segment(start, images)
for stride in (32, 16, 8):
    same = (segment(continued(stride), images) == before).float().mean()
    print(f"FCN-{stride}s at step 0: {same:.1%} of the answers are the old ones")
    assert same > 0.9

# %% [markdown]
# It gives the old answers: adding zeros changes nothing.
# (The few that differ lie along outlines: enlarging by 2 and then by 16 is not quite enlarging by 32.)
# So the new network starts with all that the old one knew, and what it gains from here on it gains with the new map.
#
# Now the three go on from the same start: 80 steps each, the same pictures in the same order.

# %% jupyter={"source_hidden": true}
def draw_histories(histories: dict[str, History]) -> None:
    """Loss (smoothed) and mIoU of several trainings from the same start, by the step."""
    figure, axes = plt.subplots(1, 2, figsize=(9.6, 3.2), layout="constrained")
    at_start = miou(before)
    axes[1].axhline(at_start, color="grey", linestyle=":")
    for name, history in histories.items():
        axes[0].plot(smoothed(history.losses), color=COLOURS[name], label=name)
        axes[1].plot([0, *history.metric_steps], [at_start, *history.metrics["mIoU"]], "o-",
                     color=COLOURS[name], label=name)
    axes[0].set(title="loss on the training scenes, smoothed", xlabel="step",
                ylabel="cross entropy", ylim=(0, None))
    axes[1].set(title="mIoU on the held-out scenes", xlabel="step", ylabel="mIoU",
                xlim=(0, None), ylim=(0.4, 0.7))
    axes[0].legend()
    plt.show()

# %%
def train_on(net: nn.Module, steps: int = 80) -> History:
    batches = Batches(train_images, train_truth, batch_size=8, shuffle=True, flip=True, seed=10)
    return fit(net, batches, loss, steps=steps, validate=validate, validations=3, show=False)

# %%
nets = {stride: continued(stride) for stride in (32, 16, 8)}
histories = {f"FCN-{stride}s": train_on(net) for stride, net in tqdm(nets.items(), "training")}
draw_histories(histories)

# %%
def summary(predicted: torch.Tensor) -> dict[str, float]:
    """mIoU, how well outlines are met, and the share of pixels found of things by size."""
    outlines = boundary_f_score(predicted, truth, 7).nanmean(0)     # (7,), to within a pixel
    return {"mIoU": miou(predicted), "outlines": outlines.mean().item()} | found(predicted)


answers = {stride: segment(net, images) for stride, net in nets.items()}
scores = {stride: summary(answer) for stride, answer in answers.items()}
for stride, score in scores.items():
    print(f"FCN-{stride}s: ", "  ".join(f"{name} ≈ {value:.2f}" for name, value in score.items()))

# %%
for name in ("mIoU", "outlines", "middle"):
    assert scores[32][name] < scores[16][name] < scores[8][name], name
assert scores[8]["mIoU"] > scores[32]["mIoU"] + 0.05
assert abs(scores[32]["mIoU"] - miou(before)) < 0.03            # 32s stays where it was

# %% [markdown]
# **32s < 16s < 8s** in mIoU, after 80 further steps.
# FCN-32s, with no new map to ask, gains nothing; at first it even loses a little of the start's mIoU (dotted).
# *Outlines* is the boundary F-score: the share of true outline pixels that were met to within a pixel, and of predicted ones that are real, in one number.
# *Small*, *middle* and *large* are the shares of the pixels of such things that got the right class.
# Small things have gained least so far: 80 steps are too few for them (see below).
# Now look at the answers.

# %%
for index in (CHOSEN, 3):
    draw({f"FCN-{stride}s": answers[stride][index] for stride in nets}, index)

# %% [markdown]
# One seed says little, and 80 steps are few.
# For the networks at the top of this page the same was done with 400 steps and three seeds.
# Their results are stored beside the weights.

# %%
for stride, (_, made) in trained.items():
    runs = "  ".join(f"{run['mIoU']:.3f}" for run in made["val"])
    print(f"FCN-{stride}s after 400 further steps, three seeds: mIoU {runs}")
for run_32, run_16, run_8 in zip(*(trained[stride][1]["val"] for stride in (32, 16, 8))):
    assert run_32["mIoU"] < run_16["mIoU"] < run_8["mIoU"]

# %%
longer = {stride: segment(net, images) for stride, (net, _) in trained.items()}    # 32s, 16s, 8s
by_size = {stride: found(answer) for stride, answer in longer.items()}
for name in sizes:
    shares = [by_size[stride][name] for stride in longer]
    print(f"{name:<6} things found by 32s, 16s, 8s:", *(f"≈ {share:.2f}" for share in shares))
    assert shares == sorted(shares)
assert by_size[8]["small"] > 2 * by_size[32]["small"]
assert by_size[8]["large"] < 1.5 * by_size[32]["large"]

# %% [markdown]
# Now all sizes gain.
# Most pixels of large things were found before; of middle and small ones, the found share more than doubles.
#
# ### The lesson in one line
#
# What exactly did the skips add: names or outlines?
# Two scores for whole answers, in the spirit of the two probes:
#
# - **what**: of the thing pixels that are called *some* thing, the share with the right name;
# - **where**: the boundary F-score of things against no things, whatever their names.
#
# **Predict.**
# How do the two go from 32s to 16s to 8s?

# %%
def what_where(predicted: torch.Tensor) -> tuple[float, float]:
    thing, called_thing = truth >= 2, predicted >= 2
    named = (predicted == truth)[thing & called_thing].float().mean().item()
    outline = boundary_f_score(called_thing.long(), thing.long(), 2)            # (150, 2)
    return named, outline.nanmean().item()

# %% jupyter={"outputs_hidden": true}
for stride, answer in longer.items():
    what, where = what_where(answer)
    runs = trained[stride][1]["val"]                            # stored, seeds 0, 1 and 2
    print(f"FCN-{stride}s: what ≈ {what:.2f}, where ≈ {where:.2f}   (three seeds: what "
          + " ".join(f"{run['what']:.2f}" for run in runs) + ", where "
          + " ".join(f"{run['where']:.2f}" for run in runs) + ")")
three = [what_where(answer) for answer in longer.values()]
assert max(what for what, _ in three) - min(what for what, _ in three) < 0.03
assert three[0][1] + 0.1 < three[1][1] < three[2][1] - 0.1

# %% [markdown]
# **What: 0.83, 0.83, 0.82.
# Where: 0.19, 0.38, 0.60.**
# The skips added no *what* at all, and tripled *where*.

# %% [markdown]
# **Where in the picture is the gain?**
# You have the distance of every pixel to the nearest outline.
# Sort the mistakes of your three networks by it.

# %%
figure, axes = plt.subplots(1, 4, figsize=(9.6, 3), layout="constrained",
                            width_ratios=(1.5, 1, 1, 1))
for axis, (stride, answer) in zip(axes[1:], answers.items()):
    name, wrong = f"FCN-{stride}s", answer != truth
    rates = [wrong[distance == pixels].float().mean() for pixels in range(12)]
    axes[0].plot(range(12), rates, "o-", color=COLOURS[name], markersize=4, label=name)
    axis.imshow(wrong[CHOSEN], cmap="Greys")
    axis.set(title=name, xticks=[], yticks=[])
axes[2].set_xlabel("black: wrong")
axes[0].set(xlabel="pixels to the nearest outline", ylabel="share of wrong pixels", ylim=(0, None))
axes[0].legend()
plt.show()

# %%
gain = (answers[8] == truth).float() - (answers[32] == truth).float()   # 1 repaired, -1 spoiled
near, far = distance <= 3, distance > 3
print(f"up to 3 pixels from an outline: ≈ {100 * gain[near].mean():.1f} of 100 pixels repaired")
print(f"farther away:                   ≈ {100 * gain[far].mean():.1f} of 100 pixels repaired")
print(f"share of the repaired pixels that lie farther away: ≈ {gain[far].sum() / gain.sum():.0%}")
assert gain[near].mean() > 2 * gain[far].mean()

# %% [markdown]
# The gain is densest at the outlines, though many of the mended pixels lie farther away from them.
# On an outline itself even FCN-8s is often wrong: its cells are 8 pixels wide.

# %% [markdown]
# ## 7. Sum or concatenation?
#
# You will often read that FCN *concatenates* its maps.
# U-Net does, in the next lesson.
# Would it be better here?
# Concatenate the two sets of scores to 14 channels, and let a 1×1 convolution make 7 of them.
#
# The sum is a special case of this: with weights 1 for the same class and 0 for the others, the convolution *is* the sum.
# We start from there.
#
# **Predict.**
# Will the freedom pay, in the same 80 steps?

# %%
class ConcatFCN(FCN):
    def __init__(self, backbone: nn.Module, num_classes: int, stride: int):
        super().__init__(backbone, num_classes, stride)
        self.mix4, self.mix3 = (nn.Conv2d(2 * num_classes, num_classes, 1) for _ in range(2))
        for mix in (self.mix4, self.mix3):                      # start as the sum
            same_class = torch.eye(num_classes).repeat(1, 2)    # (K, 2K): 1 for the same class
            mix.weight.data = same_class[:, :, None, None]
            nn.init.zeros_(mix.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.backbone(x)
        scores = self.upscore2(self.score_fr(maps.fc7))
        scores = self.mix4(torch.cat([scores, self.score_pool4(maps.pool4)], dim=1))
        scores = self.upscore_pool4(scores)
        scores = self.mix3(torch.cat([scores, self.score_pool3(maps.pool3)], dim=1))
        return self.upscore(scores)

# %%
concat = continued(8, ConcatFCN)
with torch.no_grad():
    first = images[:4].to(device)
    equal_at_start = torch.allclose(concat(first), continued(8)(first), atol=1e-4)
print("the same as FCN-8s at step 0:", equal_at_start)
assert equal_at_start
for net in tqdm([concat], "training"):
    train_on(net)

# %% jupyter={"outputs_hidden": true}
concat_score = summary(segment(concat, images))
for name, score in {"sum": scores[8], "concatenation": concat_score}.items():
    print(f"{name:<14} mIoU ≈ {score['mIoU']:.3f}, outlines ≈ {score['outlines']:.3f}")
assert all(abs(concat_score[name] - scores[8][name]) < 0.05 for name in ("mIoU", "outlines"))

# %% [markdown]
# mIoU and *outlines* are nearly the same: with one seed and 80 steps, no difference that one could claim.
# There is a reason: the score layers before the sum are 1×1 convolutions too, and two in a row, with no ReLU between them, are one.
# Nearly everything that the mixing layer could do, the score layers can do alone.
# Concatenation can matter where *features*, not scores, are joined, and layers with a ReLU come after it: lesson 04.

# %% [markdown]
# ## 8. Look inside
#
# The explorer on the FCN-8s that you have just trained.
# Three things to look for:
#
# 1. Choose `score_fr`, view *channel*: 3 × 3 cells for each class.
#    Then `score_pool3`.
#    In which of the two do you recognise the scene, which one names the things, and whose scores are larger?
# 2. Channel 2 of `score_pool3` holds the scores of *sphere*.
#    Is it high on the sphere only, or on the cylinder, too?
# 3. Follow channel 4, *cylinder*, through `upscore2`, `upscore_pool4` and `upscore`.
#    Where do the edges of the cylinder appear?

# %%
explorer = explore(nets[8], images[CHOSEN].to(device))
explorer.layer = "score_pool3"
explorer.channel = SEMANTIC_NAMES.index("sphere")
explorer

# %% [markdown]
# <details><summary>What we see</summary>
#
# 1. The scene can be recognised in `score_pool3`, but its best class is often wrong: on its own it calls most of the sphere *cone* or *figure*.
#    `score_fr` has nine cells, and the two that lie on the sphere say so.
#    Its sphere scores go from about −20 to 5, those of `score_pool3` from −2 to 1: the deep map decides, the shallow one corrects.
# 2. It is high inside the sphere and low on the ground beside it, which moves the outline; but it is also high in some cells of the cylinder.
#    Whether there is a sphere at all, fc7 has to say.
# 3. In `upscore2` and `upscore_pool4` the cylinder is a blurred band.
#    Its edges appear in `upscore`, after the scores of pool3 have been added.
# </details>

# %% [markdown]
# ## 9. Break it: silence one map
#
# If deep maps know what and shallower maps know where, then silencing one map in the finished FCN-8s must hurt in its own way.
# Set the scores of one map to zero, and leave everything else as it was.
#
# **Predict** which of *what* and *where* falls when pool3 is silenced, and which when fc7 is.

# %%
def silenced(net: nn.Module, layer: str) -> torch.Tensor:
    hook = net.get_submodule(layer).register_forward_hook(lambda module, inputs, scores: 0 * scores)
    answer = segment(net, images)
    hook.remove()
    return answer

# %% jupyter={"outputs_hidden": true}
net, layers = trained[8][0], ("score_pool3", "score_pool4", "score_fr")
spoken = {"all maps": longer[8]} | {f"no {layer}": silenced(net, layer) for layer in layers}
broken = {name: what_where(answer) for name, answer in spoken.items()}
for name, (what, where) in broken.items():
    print(f"{name:<15} what ≈ {what:.2f}, where ≈ {where:.2f}")
draw({name: answer[CHOSEN] for name, answer in spoken.items()})

# %%
lost = {layer: [whole - part for whole, part in zip(broken["all maps"], broken[f"no {layer}"])]
        for layer in layers}
assert lost["score_fr"][0] > 0.1 > abs(lost["score_pool3"][0])              # what: fc7 is missed
assert lost["score_pool3"][1] > lost["score_fr"][1] + 0.1                   # where: pool3 is missed

# %% [markdown]
# Two very different failures.
# Without **pool3** the names are as right as before, but the outlines are lost.
# Without **fc7** it is the other way round: look at the answer beside the truth.
# The outlines are still there, though rougher, and they are filled with pieces of all classes, down to a patch of sky on the sphere.
# pool4 is missed least: its neighbours on both sides know much of what it knows.
#
# Deep maps know what, shallower maps know where, and nobody told the network to share the work like this.

# %% [markdown]
# ## 10. Another way to *where*: dilation
#
# Section 4 left a question open.
# The dilated backbone has a cell for every 8 pixels, and its deepest map knew *where* only a little better.
# But its weights had been trained at stride 32.
# So let it train on like the others, 400 steps from the same start with three seeds: once with its deepest map alone, and once with a skip from pool3 added.
#
# **Predict.**
# Does it reach the 0.60 of FCN-8s in *where* without any skip?
# Does a skip still help it?

# %% jupyter={"outputs_hidden": true}
others = {f"FCN-{stride}s": trained[stride] for stride in (32, 8)}      # and how they were made
for name, skip in (("dilated", False), ("dilated + skip", True)):
    net = DilatedFCN(DilatedBackbone(width=12), num_classes=7, skip=skip)
    path = REPOSITORY / f"data/checkpoints/03_fcn_dilated{'_skip' if skip else ''}.safetensors"
    made = load_checkpoint(net, path)
    others[name] = net.to(device).eval(), made
means = {name: [fmean(run[score] for run in one["val"]) for score in ("what", "where", "mIoU")]
         for name, (_, one) in others.items()}
for name, (what, where, overall) in means.items():
    print(f"{name:<15} what {what:.2f}, where {where:.2f}, mIoU {overall:.2f} (three seeds)")
draw({name: segment(net, images[3:4])[0] for name, (net, _) in others.items()}, 3)

# %%
where = {name: score[1] for name, score in means.items()}
assert where["FCN-32s"] + 0.25 < where["dilated"] < where["FCN-8s"] < where["dilated + skip"]
assert means["dilated"][0] > means["FCN-8s"][0] - 0.02          # what: nothing is lost

all_layers = {"fc7": nn.Sequential(*others["dilated"][0].backbone.children())}
trained_knows = what_and_where(all_layers, learn_images, images)
for name, knows in (("FCN-32s", fcn_knows), ("the same weights, dilated", dilated_knows),
                    ("trained further, dilated", trained_knows)):
    print(f"fc7, {name}: the probe for where gives ≈ {knows['fc7'][1]:.0%}")
assert trained_knows["fc7"][1] > dilated_knows["fc7"][1] + 0.03

# %% [markdown]
# Without any skip the dilated network comes close to FCN-8s, and a skip still helps it.
# The probe agrees: trained with a cell for every 8 pixels, the deepest map has most of *where* again (block3 has 76 %).
# So a deep map does not *have* to lose it.
# At stride 32 a cell can make little use of such detail, since its seven scores serve 32 × 32 pixels; training there lets the features drop it.
#
# There are two remedies: skips, which take the detail from a map that still has it, or dilation, which keeps a cell for every 8 pixels all the way.

# %%
from lib.timing import human_time, milliseconds

with torch.no_grad():
    for name in ("FCN-8s", "dilated"):
        net, some = others[name][0], images[:8].to(device)
        cells = net.backbone(some[:1]).fc7[0, 0].numel()
        taken = human_time(milliseconds(lambda: net(some)) / 1000)
        print(f"{name:<8}: {cells:>3} cells in fc7, eight pictures in ≈ {taken}")

# %% [markdown]
# The price is 16 times as many cells in the deepest and widest layers.
# As most of the time goes into the first ones, the whole takes not 16 times as long, but less than twice as long.
#
# **The full-size network.**
# The FCN that ships with torchvision, `fcn_resnet50`, is built like this: a ResNet-50 whose last two stages are dilated, stride 8, no skips.
# `lib/models/fcn.py` has it in torchvision's names, and with the same weights it gives the same answers:

# %%
from torchvision.models import segmentation

from lib.models.fcn import fcn_resnet50

torch.manual_seed(0)
theirs = segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True).eval()
ours = fcn_resnet50(num_classes=21).eval()
ours.load_state_dict(theirs.state_dict())                       # strict: every name and every shape
with torch.no_grad():
    picture = torch.rand(1, 3, 64, 96)
    same = torch.allclose(ours(picture)["out"], theirs(picture)["out"], rtol=1e-3, atol=1e-4)
print(f"{sum(tensor.numel() for tensor in ours.parameters()):,} parameters, same answers: {same}")
assert same
del ours, theirs

# %% [markdown]
# If you are online, these lines load the weights that torchvision trained on COCO, with the classes of VOC.
# The picture must be normalised as the docstring of `FCNResNet50.forward` says.
#
# ```python
# weights = segmentation.FCN_ResNet50_Weights.DEFAULT.get_state_dict(progress=True)      # 135 MB, once
# net = fcn_resnet50(); net.load_state_dict(weights)
# ```

# %% [markdown]
# ## 11. Recap
#
# | | asks | finest stride | good at | weak at |
# | --- | --- | --- | --- | --- |
# | FCN-32s | fc7 | 32 | naming what is large | outlines, small things |
# | FCN-16s | fc7 + pool4 | 16 | things of middle size as well | thin parts |
# | FCN-8s | fc7 + pool4 + pool3 | 8 | outlines, and some of the small things | details below 8 pixels |
# | dilated | fc7 at stride 8 | 8 | names, and outlines nearly as well | computing: 16 times as many deep cells |
#
# - The skips added no *what*, and tripled *where*.
# - *What* rises with the window, until it holds whole things.
#   *Where* peaks at stride 4, then falls through the stride, and because features trained at a large stride drop it.
# - An FCN takes pictures of any size, since all its layers are windows that treat all places alike.
#
# **In papers and on GitHub:** *semantic segmentation* or *dense prediction* (a class for every pixel);
# *fully convolutional network, FCN* (windows only, any size); *backbone* (the part that makes the features; also *encoder*);
# *skip connection* (a map that bypasses the layers between; in the FCN paper also *deep jet*);
# *linear probe*; *receptive field*; *atrous* or *dilated convolution*, and *output stride* (the stride of the deepest map: 32, or 8 when dilated);
# *mIoU* (also *Jaccard index*), *confusion matrix*, *ignore index* or *void* (pixels without truth).
#
# **What the paper reported.**
# With VGG-16, on a part of the PASCAL VOC 2011 validation pictures: mIoU 59.4 for FCN-32s, 62.4 for 16s, 62.7 for 8s,
# and 45.4 if only the last layer of FCN-32s is trained and the rest stays as the classifier left it.
# So in their numbers most of the gain came from training end to end, then from the first skip; the second one mainly made the outlines finer.
# On the VOC 2012 test pictures FCN-8s reached 62.2, a fifth more than the best system before it, in a fifth of a second per picture.
#
# **What was simpler here.**
# Our backbone is small and learned toyworld from random weights; the paper's was trained on ImageNet first.
# The paper used SGD with momentum, and trained one network after the other: 16s from 32s, then 8s from 16s.
# Ours all start from 32s, so that their budgets are equal.
# The paper pads by 100 pixels on all sides; we pad to a multiple of 32.
# And toyworld's things are small for a stride of 32, so our gains from 32s to 16s to 8s are larger than the paper's.
#
# ### Three questions
#
# **1.**
# A network calls every pixel "road" in a data set where 60 % of the pixels are road and 19 other classes share the rest.
# Its pixel accuracy is 0.60.
# What is its mIoU?
# (a) 0.60 (b) 0.03 (c) 0
#
# <details><summary>Answer</summary>
#
# **(b)** Road has 60 right pixels of a union of 100: IoU 0.6.
# The other 19 classes are in the truth and have no right pixel: 0 each.
# The mean is 0.6 / 20 = 0.03.
# (a) is the IoU of the large class alone; (c) forgets that road *was* right.
# </details>
#
# **2.**
# The score layer of pool3 starts at zero.
# Why can it learn at all?
# (a) its gradient does not depend on its own weights (b) it cannot, all zeros is a mistake (c) dropout breaks the symmetry
#
# <details><summary>Answer</summary>
#
# **(a)** The gradient of a weight is its input, from pool3, times what comes back from the loss.
# Neither is zero, and both differ from class to class and channel to channel.
# (b) would be right where two *layers in a row* are zero, or where equal weights would get equal gradients for ever.
# (c) There is no dropout here.
# </details>
#
# **3.**
# You double the size of every picture, and train FCN-32s and FCN-8s on them anew.
# What happens to the advantage of FCN-8s?
# (a) it grows (b) it stays as it is (c) it shrinks
#
# <details><summary>Answer</summary>
#
# **(c)** A thing now has four times as many pixels, so more cells of 32 × 32 fit in it, and its outline is a smaller share of it.
# (That is one reason why the paper's steps are smaller than ours: VOC's pictures have 500 pixels and large things.)
# (a) would be right for smaller pictures.
# (b) forgets that a stride is counted in pixels, and things are not.
# </details>
#
# ### Go on from here
#
# Open tasks, without a check.
#
# - **One skip more.**
#   Give FCN-8s a third skip, from block2 at stride 4, and train it on from the same start.
#   Which of *what* and *where* do you expect to grow?
#   (Lesson 04 measures such a network.)
# - **All at once.**
#   Train `FCN(SmallBackbone(12), 7, stride=8)` from random weights for as long as the two stages took together, 2,000 steps.
#   Expect that it learns well without the stages: lesson 04 trains its FCN-8s so, and the paper's authors later did the same.
#   Is it as good after as many steps?
# - **Window or depth?**
#   Cut out a window of w × w pixels around the pixel that is asked about, fill the rest of the picture with grey, and ask fc7 for *what*.
#   The depth stays, only the window changes.
#   If the window is what counts, the answers follow the curve of section 4: near guessing for w = 10, and little gained beyond 70.

# %%
progress("03")

# %% [markdown]
# **Next:** FCN has many layers on its way down, and one addition per step on its way back up.
# What if the way up had as many layers as the way down?
# Lesson 04: U-Net.
