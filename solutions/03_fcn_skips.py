# %% [markdown]
# # 03 · FCN and its skips: deep maps know what, shallow maps know where
#
# Lesson 01 got a class at every place, lesson 02 a way back to full size.
# Put together they give the network that made pixels-to-pixels training the way to do it: the **fully convolutional network**, FCN, of 2015.
# The three networks below were trained equally long.
# The first asks only its deepest map.
# The second also asks a map half way up, and the third one more.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import SEMANTIC_COLOURS, SEMANTIC_NAMES, Toyworld
from lib.device import choose_device
from lib.models.fcn import FCN, SmallBackbone, BackboneMaps
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
trained = {stride: load_fcn(f"03_fcn{stride}s", stride) for stride in (32, 16, 8)}
answers = {f"FCN-{stride}s": segment(net, images[CHOSEN:CHOSEN + 1])[0]
           for stride, (net, _) in trained.items()}


def draw(maps: dict[str, torch.Tensor], index: int = CHOSEN) -> None:
    """One scene, what several answers say of it, and the truth."""
    maps = maps | {"truth": truth[index]}
    draw_segmentations(images[index], maps, SEMANTIC_NAMES, SEMANTIC_COLOURS)
    plt.show()


draw(answers)

# %% [markdown]
# **You will be able to**
#
# - turn coarse class scores into a segmentation, and say how good it can be at best;
# - score a segmentation: confusion matrix and mean IoU, and why the share of right pixels lies;
# - train a network on all pixels of whole pictures at once;
# - fuse what deep maps know with what shallow maps know, and show what each of them adds.
#
# | | |
# | --- | --- |
# | Time | 70 minutes to read and do, less than a minute of computing on two cores |
# | Builds on | lesson 01 (scores at every cell, stride) and lesson 02 (transposed convolution, bilinear kernel) |
# | Paper | Long, Shelhamer & Darrell 2015, *Fully Convolutional Networks for Semantic Segmentation* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.

# %%
from lib.exercises import check, progress, use
from lib.ops.segmentation_metrics import boundary_f_score
from lib.training import Batches, fit
from lib.viz import explore, feature_strip, show_images, show_numbers

# %% [markdown]
# ## 1. One answer per cell
#
# A score for every class at every cell: take the best class of each cell, and you have a segmentation.
# How good can it be?
#
# No network is needed to find out.
# Take the *truth* of a scene, and keep only what a map with one cell per 32 × 32 pixels could say: the class that fills most of the cell.
# Then enlarge it again.
#
# **Predict.**
# The scenes have 96 × 96 pixels, so stride 32 leaves 3 × 3 answers.
# What becomes of the ball?
# Of the figure behind it?

# %%
def shrink(classes: torch.Tensor, stride: int) -> torch.Tensor:
    """The most frequent class of each cell: (N, H, W) -> (N, H/stride, W/stride)."""
    one_hot = F.one_hot(classes, 7).movedim(-1, 1).float()      # (N, 7, H, W)
    return F.avg_pool2d(one_hot, stride).argmax(dim=1)


def enlarge(classes: torch.Tensor, stride: int) -> torch.Tensor:
    return classes.repeat_interleave(stride, dim=1).repeat_interleave(stride, dim=2)

# %%
shrunk = {stride: enlarge(shrink(truth, stride), stride) for stride in (32, 16, 8, 4, 2)}
draw({f"stride {stride}": shrunk[stride][CHOSEN] for stride in (32, 16, 8)})

# %% [markdown]
# No network is wrong here.
# It is the truth, told in cells of 32, 16 and 8 pixels.
# A thing that does not fill most of a cell is gone.
#
# How bad is that?
# The plainest score is the share of pixels that are right.

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

# %%
erased = truth.clamp(max=1)                                     # 0 sky, 1 ground, 2 to 6 things
print(f"no things at all: {accuracy(erased):.0%} of the pixels are right")

# %% [markdown]
# Even more.
# This world is mostly sky and ground, as most photos are mostly background.
# A score that is content when every object is missing cannot tell us what we want to know.

# %% [markdown]
# ## 2. A score that cannot be fooled
#
# First count everything there is to count: how many pixels of each true class were taken for each class.
# This table is the **confusion matrix**.
# One line of it could read: of 1,000 sphere pixels, 700 were called sphere, 250 ground and 50 cone.
#
# One thing more.
# Some pixels have no truth: in PASCAL VOC a thin border around each object was left open, since people do not agree about it.
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
draw_confusion(matrix, SEMANTIC_NAMES)
plt.show()
print(f"{matrix.sum().item():,} pixels, {matrix.trace().item():,} on the diagonal")

# %% [markdown]
# This is the truth in cells of 16 pixels.
# Read it row by row: sky and ground are nearly complete.
# Of the figures, which are thin, only 35 % is left, and most of the rest went to the ground.
# Pixel accuracy adds up the diagonal, and the large rows drown the small ones.
#
# So give each class *one* vote, whatever its size.
# Its score is **intersection over union**: the pixels that are this class in both maps, divided by the pixels that are this class in at least one.
# The mean over classes is **mIoU**, the number by which segmentation has been judged ever since.
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
# Now the scores say what the eye saw.
# Erasing all things costs five classes of seven.
#
# With this, we can ask properly what a stride costs.
# And who pays?
# Sort the pixels of things by how large the thing appears in the picture: *small* is less than 150 pixels, about 12 × 12;
# *large* is 600 and more, about 25 × 25.

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
for stride, share in zip(strides, shares):
    print(f"stride {stride:>2}: mIoU {miou(shrunk[stride]):.2f}, pixels found of things that are "
          + ", ".join(f"{name} {value:.0%}" for name, value in share.items()))

# %%
figure, axis = plt.subplots(figsize=(6.6, 3.2), layout="constrained")
for name, colour in zip(sizes, ("#D55E00", "#E69F00", "#0072B2")):
    values = [share[name] for share in shares]
    axis.plot(strides, values, "o-", color=colour, label=f"{name} things")
axis.plot(strides, [miou(shrunk[stride]) for stride in strides], "ks--", label="mIoU")
axis.set(xscale="log", xticks=strides, xticklabels=strides, ylim=(0, 1), xlabel="stride",
         ylabel="pixels found")
axis.minorticks_off()
axis.legend(fontsize=8, loc="lower left")
plt.show()

# %% [markdown]
# **Small things die first.**
# Such a map can hardly be better than this, however clever the network that makes it.
# Keep the 0.41 of stride 32 in mind: soon something will beat it.

# %% [markdown]
# ## 3. From pixels to pixels, in one go
#
# Now a real network: five blocks that halve the map, and two layers that stand for VGG's fully connected ones (lesson 01).
# A 1×1 convolution gives 7 scores at every cell.
# One fixed transposed convolution with the bilinear kernel (lesson 02) enlarges the *scores* 32 times.
# That is **FCN-32s**.

# %%
fcn32s = FCN(SmallBackbone(width=12), num_classes=7, stride=32).to(device)
with torch.no_grad():
    maps = fcn32s.backbone(images[:1].to(device))
    cell_scores = fcn32s.score_fr(maps.fc7)
    print("deepest map:", tuple(maps.fc7.shape), " scores:", tuple(cell_scores.shape),
          " enlarged:", tuple(fcn32s.upscore(cell_scores).shape))

# %% [markdown]
# How is it trained?
# A score for every class at every pixel is a classification at every pixel.
# So use the loss of classification, at every pixel, and take the mean: the **cross entropy**, −log of the probability that the softmax gives to the true class.
#
# That sounds obvious today.
# Before 2015 segmentation was a chain of parts: cut out a window around each pixel or each candidate region, classify the window,
# smooth the outcome with another method.
# Each part was trained alone, and no part learned from the mistakes of the last.
# In lesson 01 you slid a classifier of windows over a scene; its training still knew only windows.
# Here the *whole picture* goes in, the loss stands at the pixels, and one gradient runs through everything: **end to end**.
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
history = fit(fcn32s, batches, loss, steps=60, learning_rate=4e-3, validate=validate,
              validations=2)
print(history)

# %% [markdown]
# A few seconds, and it has found sky and ground.
# Its mIoU is about that of the map without things.
# (Pixel accuracy would praise it already.)
#
# Things take longer: 1,600 steps, two minutes or so.
# We did that for you, and load the result.

# %%
start, _ = load_fcn("03_fcn32s_start", stride=32)
answer = segment(start, images)
print(f"FCN-32s after 1,600 steps: mIoU ≈ {miou(answer):.3f}")
print(f"the truth in cells of 32:  mIoU {miou(shrunk[32]):.3f}")
assert miou(answer) > miou(shrunk[32])

# %% [markdown]
# More than the truth!
# Stop and think how that can be.
# Each cell of the truth named one class for its 32 × 32 pixels, the best one.
# What does a cell of the network have that a cell of the truth had not?

# %%
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
# Still, that is a kite and not a ball, and the small things are gone.
# Nine cells cannot draw more.

# %% [markdown]
# ## 4. What, and where
#
# The detail is lost in the deep maps.
# But the network itself had it, some layers earlier.
# First the real network of lesson 01 on a real photo:

# %%
from lib.datasets.photos import crop_square, load_photo
from lib.pretrained import efficientnet_lite0, prepare

classifier = efficientnet_lite0().to(device).requires_grad_(False)
photo = crop_square(load_photo("astronaut"), 224).to(device)
feature_strip(classifier, prepare(photo), picture=photo)
plt.show()

# %% [markdown]
# From left to right the outlines dissolve.
# What is gained in return?
# Pictures suggest; let us **measure**, with two questions to each map:
#
# - **what**: is this pixel part of a sphere, crate, cylinder, cone or figure?
#   (Guessing: 20 %.)
# - **where**: does this pixel lie *on* an outline, or 3 to 8 pixels beside one?
#   (Guessing: 50 %.)
#
# Only a linear layer may answer, from the features of the one cell that the pixel lies in: a **probe** (`lib/training/probes.py`).
# It cannot work anything out for itself, so it shows what the map says openly.
#
# **Predict.**
# At which depth does the probe for *what* do best, and at which the probe for *where*?
#
# First the distance of every pixel to the nearest outline: grow the outlines by a pixel at a time, and count how long it takes.

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
shown = distance[CHOSEN][None] / 12
show_images([images[CHOSEN], shown], ["the scene", "distance to the nearest outline"], size=2.6)
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

# %%
backbone_stages = {name: start.backbone.get_submodule(name) for name in
                ("block1", "block2", "block3", "block4", "block5", "fc6", "fc7")}
fcn_knows = what_and_where(backbone_stages, learn_images, images)
for name, (what, where) in fcn_knows.items():
    print(f"{name}: what ≈ {what:.0%}, where ≈ {where:.0%}")

# %% [markdown]
# On the way down, the answer to *what* gets better, and the answer to *where* gets worse.
# No surprise about *where*: in the last map 32 × 32 pixels share one cell, and whatever it says, it says to all of them.
#
# That network was trained on this very world.
# What of the real one, which was trained on photos of dogs and cups, and has never seen toyworld?

# %%
larger = nn.Upsample(size=(128, 128), mode="bilinear")          # it is used to larger things
real_stages = {"stem": nn.Sequential(larger, classifier.conv_stem, classifier.bn1)}
real_stages |= {f"block {number}": block for number, block in enumerate(classifier.blocks)}
real_stages |= {"head": nn.Sequential(classifier.conv_head, classifier.bn2)}
real_knows = what_and_where(real_stages, prepare(learn_images), prepare(images))
for name, (what, where) in real_knows.items():
    print(f"{name:<7}: what ≈ {what:.0%}, where ≈ {where:.0%}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(10, 3.1), layout="constrained", sharey=True)
for axis, knows, title in zip(axes, (fcn_knows, real_knows),
                              ("FCN-32s, trained on toyworld", "EfficientNet, trained on photos")):
    what, where = zip(*knows.values())
    axis.plot(list(knows), what, "o-", color="#0072B2", label="what (guessing: 20 %)")
    axis.plot(list(knows), where, "s-", color="#D55E00", label="where (guessing: 50 %)")
    axis.set(title=title, ylim=(0.15, 1))
    axis.tick_params(axis="x", rotation=35, labelsize=8)
axes[0].legend(fontsize=8, loc="lower right")
plt.show()

# %%
for knows in (fcn_knows, real_knows):
    what, where = zip(*knows.values())
    assert what[-1] > what[0] + 0.1 and where[-1] < max(where) - 0.1
    assert where.index(max(where)) < what.index(max(what))      # where is known first, what later

# %% [markdown]
# The same two curves.
# **Deep maps know what, shallow maps know where.**
# In the network of photos *what* is best a few stages before the end: its last maps are so coarse here (4 × 4 cells) that most things have no cell of their
# own.
#
# No single map knows both.
# So ask several.

# %% [markdown]
# ## 5. Let both have their say
#
# How to bring them together?
# The paper's answer is as simple as can be.
# Each map is asked for **scores**, with a 1×1 convolution of its own.
# Then both speak the same language: 7 numbers at each cell, one for each class.
# The coarse scores are made twice as large, and the two are **added**.
#
# An example with the scores of one class.
# The coarse map says *thing* at the left and *no thing* at the right.
# The fine map has seen a detail: here the thing reaches further.

# %%
coarse = torch.tensor([[[[3., -3.], [3., -3.]]]])               # (1, 1, 2, 2): scores of "thing"
fine = torch.zeros(1, 1, 4, 4)
fine[0, 0, 1:3, 2] = 4
doubled = F.interpolate(coarse, scale_factor=2, mode="bilinear")
show_numbers({"coarse": coarse[0, 0], "coarse × 2": doubled[0, 0], "fine": fine[0, 0],
              "sum": (doubled + fine)[0, 0]})
plt.show()

# %% [markdown]
# Where the fine map says nothing, the coarse one decides.
# Near the change from 3 to −3 the coarse one is not sure, and there a word of the fine map moves the edge.
#
# ### Exercise 4 · `fuse_scores`
#
# *5 minutes · ★☆☆*
#
# - `coarse`: (B, K, h, w) scores of a deep map.
# - `fine`: (B, K, 2h, 2w) scores of the map above it.
# - `upscore`: a layer that makes a map twice as large.
#   It starts as bilinear interpolation and has learned since, so use it, and not an interpolation.
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
# Shrinking the fine one would throw away what it is here for.
# </details>
# <details><summary>Hint: my result has twice as many channels</summary>
#
# Both maps hold the same K classes in the same order, so channel 3 of one and channel 3 of the other mean the same.
# They need not lie behind each other.
# </details>

# %%
fuse_scores = use(fuse_scores)

# %% [markdown]
# Do it once, with the map at stride 16, and enlarge the result 16 times: **FCN-16s**.
# Do it again with the map at stride 8: **FCN-8s**.

# %%
from lib.viz.diagrams.fcn_plan import draw_fcn_plan

draw_fcn_plan()
plt.show()

# %% [markdown]
# Blue is the backbone, on the way down; below a name stands the stride of its map.
# Yellow layers make 7 scores from features.
# Green ones enlarge scores: the two by 2 go on learning, the last one is fixed.
#
# One thing is left.
# A picture of 100 × 70 pixels does not halve five times without a rest.
# So it is padded at the **right** and at the **bottom** to multiples of 32 before the backbone, here 128 × 96,
# and the scores are cut to the picture's size at the end.
#
# ### Exercise 5 · `fcn_8s_scores`
#
# *12 minutes · ★★★*
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
# "pool4" is smaller and has 72.
# </details>

# %%
fcn_8s_scores = use(fcn_8s_scores)

# %% [markdown]
# Put your two functions into a network.
# It has the layers of `lib.models.fcn.FCN`; how they are used is up to you.

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
print("your FCN-8s equals the one in lib/ on a picture of 70 × 91:", same)
assert same

# %% [markdown]
# ## 6. The race: 32s, 16s, 8s
#
# The paper did not train FCN-8s from nothing.
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

# %%
before = segment(start, images)
for stride in (32, 16, 8):
    same = (segment(continued(stride), images) == before).float().mean()
    print(f"FCN-{stride}s at step 0: {same:.1%} of the answers are the old ones")
    assert same > 0.9

# %% [markdown]
# The old answers.
# Adding zeros changes nothing.
# (The few others lie along outlines: enlarging by 2 and then by 16 is not quite enlarging by 32.)
# So the new network starts with all that the old one knew, and what it gains now it gains with the new map.
#
# Now the three go on from the same start: 80 steps each, the same pictures in the same order.

# %%
nets, scores = {}, {}
for stride in (32, 16, 8):
    print(f"FCN-{stride}s")
    nets[stride] = continued(stride)
    batches = Batches(train_images, train_truth, batch_size=8, shuffle=True, flip=True, seed=10)
    fit(nets[stride], batches, loss, steps=80, validate=validate, validations=2)

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
# **32s < 16s < 8s**, after a few seconds of further training.
# FCN-32s, with nothing new to ask, has nothing left to gain.
# *Outlines* is the boundary F-score: the share of true outline pixels that were met to within a pixel, and of predicted ones that are real, in one number.
# Now look at it.

# %%
for index in (CHOSEN, 3):
    draw({f"FCN-{stride}s": answers[stride][index] for stride in nets}, index)

# %% [markdown]
# One seed says little, and 80 steps are few.
# For the networks at the top of this page we did the same with 400 steps and three seeds.
# Their results are stored beside the weights.

# %%
for stride, (_, made) in trained.items():
    runs = [run["mIoU"] for run in made["val"]]
    print(f"FCN-{stride}s after 400 further steps: mIoU", "  ".join(f"{run:.3f}" for run in runs))
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
# All sizes gain.
# Large things were found before, and gain a little.
# Of middle and small ones, the found share more than doubles.

# %% [markdown]
# **Where in the picture is the gain?**
# You have the distance of every pixel to the nearest outline.
# Sort the mistakes of your three networks by it.

# %%
figure, axes = plt.subplots(1, 4, figsize=(11, 3.2), layout="constrained",
                            width_ratios=(1.5, 1, 1, 1))
for stride, colour in ((32, "#D55E00"), (16, "#E69F00"), (8, "#0072B2")):
    wrong = answers[stride] != truth
    rates = [wrong[distance == pixels].float().mean() for pixels in range(12)]
    axes[0].plot(range(12), rates, "o-", color=colour, markersize=4, label=f"FCN-{stride}s")
for axis, stride in zip(axes[1:], nets):
    axis.imshow((answers[stride] != truth)[CHOSEN], cmap="Greys")
    axis.set(title=f"mistakes of FCN-{stride}s", xticks=[], yticks=[])
axes[0].set(xlabel="pixels to the nearest outline", ylabel="wrong", ylim=(0, None))
axes[0].legend()
plt.show()

# %%
gain = (answers[8] == truth).float() - (answers[32] == truth).float()   # 1 repaired, -1 spoiled
near, far = distance <= 3, distance > 3
print(f"up to 3 pixels from an outline: ≈ {100 * gain[near].mean():.1f} of 100 pixels repaired")
print(f"farther away:                   ≈ {100 * gain[far].mean():.1f} of 100 pixels repaired")
assert gain[near].mean() > 2 * gain[far].mean()

# %% [markdown]
# The gain is at the outlines, and so in small things, which are nearly all outline.
# On an outline itself even FCN-8s is often wrong: its cells are 8 pixels wide.

# %% [markdown]
# ## 7. Sum or concatenation?
#
# It is often told that FCN *concatenates* its maps.
# That is U-Net, of the next lesson.
# But would it be better here?
# Lay the two sets of scores behind each other, 14 channels, and let a 1×1 convolution make 7 of them.
#
# The sum is one special case of this: with the right weights, the convolution *is* the sum.
# **Predict.**
# Which weights?
# And will the freedom pay, in the same 80 steps?

# %%
class ConcatFCN(FCN):
    def __init__(self, backbone: nn.Module, num_classes: int, stride: int):
        super().__init__(backbone, num_classes, stride)
        self.mix4, self.mix3 = (nn.Conv2d(2 * num_classes, num_classes, 1) for _ in range(2))
        for mix in (self.mix4, self.mix3):                      # start as the sum:
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
batches = Batches(train_images, train_truth, batch_size=8, shuffle=True, flip=True, seed=10)
fit(concat, batches, loss, steps=80, validate=validate, validations=2)

# %%
concat_score = summary(segment(concat, images))
for name, score in {"sum": scores[8], "concatenation": concat_score}.items():
    print(f"{name:<14} mIoU ≈ {score['mIoU']:.3f}, outlines ≈ {score['outlines']:.3f}")
assert abs(concat_score["mIoU"] - scores[8]["mIoU"]) < 0.05

# %% [markdown]
# A few thousandths at most, nothing to speak of.
# There is a reason: the score layers before the sum are 1×1 convolutions too, and two in a row are one.
# Nearly everything that the mixing layer could do, the score layers can do alone.
# Concatenation begins to matter where *features*, not scores, are joined, and where layers with a ReLU come after it: lesson 04.

# %% [markdown]
# ## 8. Look inside
#
# The explorer on the FCN-8s that you have just trained.
# Three things to look for:
#
# 1. Choose `score_fr`, view *channel*: 3 × 3 cells for each class.
#    Then `score_pool3`.
#    Which of the two would you recognise the scene by, and which names the things?
# 2. Channel 2 of `score_pool3` speaks of spheres.
#    Is it high on the ball, or also on the cylinder, or along outlines?
# 3. Follow the upper edge of the cylinder through `upscore2`, `upscore_pool4` and `upscore`.
#    Where does it become sharp?

# %%
explorer = explore(nets[8], images[CHOSEN].to(device))
explorer.layer = "score_pool3"
explorer.channel = SEMANTIC_NAMES.index("sphere")
explorer

# %% [markdown]
# ## 9. Break it: silence one map
#
# If deep maps know what and shallow maps know where, then silencing one map in the finished FCN-8s must hurt in its own way.
# Set the scores of one map to zero, everything else as it was.
# Two measures:
#
# - **what**: of the thing pixels that are called *some* thing, the share with the right name;
# - **where**: how well the outline between things and no things is met, whatever their names.
#
# **Predict** which number falls when pool3 is silenced, and which when fc7 is.

# %%
def silenced(net: nn.Module, layer: str) -> torch.Tensor:
    hook = net.get_submodule(layer).register_forward_hook(lambda module, inputs, scores: 0 * scores)
    answer = segment(net, images)
    hook.remove()
    return answer


def what_where(predicted: torch.Tensor) -> tuple[float, float]:
    thing, called_thing = truth >= 2, predicted >= 2
    named = (predicted == truth)[thing & called_thing].float().mean().item()
    outline = boundary_f_score(called_thing.long(), thing.long(), 2)            # (150, 2)
    return named, outline.nanmean().item()

# %%
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
# Two very different accidents.
# Without **pool3** the names are as right as before, but the outlines are lost.
# Without **fc7** it is the other way round: look at the last answer.
# The outlines are still there, though rougher, and they are filled with pieces of everything, down to a patch of sky on the ball. pool4 is missed least:
# its neighbours on both sides know much of what it knows.
#
# Deep maps know what, shallow maps know where.
# Nobody told the network to share the work like this.

# %% [markdown]
# ## 10. The full-size network
#
# What people use today is `fcn_resnet50`, with a ResNet-50 as backbone.
# `lib/models/fcn.py` has it, in torchvision's names, so that the weights that torchvision publishes (trained on COCO and VOC) load without a rename.
# Without a network we can still prove it: give both the same random weights, and compare.

# %%
from torchvision.models import segmentation

from lib.models.fcn import fcn_resnet50

torch.manual_seed(0)
theirs = segmentation.fcn_resnet50(weights=None, weights_backbone=None, aux_loss=True).eval()
ours = fcn_resnet50(num_classes=21).eval()
ours.load_state_dict(theirs.state_dict())                       # strict: every name and every shape
print(f"{sum(tensor.numel() for tensor in ours.parameters()):,} parameters")

# %%
with torch.no_grad():
    picture = torch.rand(1, 3, 64, 96)
    ours_out, theirs_out = ours(picture)["out"], theirs(picture)["out"]
gap = (ours_out - theirs_out).abs().max() / theirs_out.abs().max()
print("shape", tuple(ours_out.shape), " same answers:", bool(gap < 1e-5))
assert gap < 1e-5
del ours, theirs

# %% [markdown]
# With a network, these lines give you the trained one (the picture must be normalised as its docstring says):
#
# ```python
# weights = segmentation.FCN_ResNet50_Weights.DEFAULT.get_state_dict(progress=True)      # 135 MB, once
# net = fcn_resnet50(); net.load_state_dict(weights)
# ```
#
# It has no skips: it keeps stride 8 by another trick, **dilation**.
# The strides of the last two stages are left out, and their kernels are spread so that each still sees as far.
# Where stays, what comes, and the price is many more cells to compute in the deepest, widest layers.

# %% [markdown]
# ## 11. Recap
#
# | | asks | finest stride | good at | weak at |
# | --- | --- | --- | --- | --- |
# | FCN-32s | fc7 | 32 | naming what is large | outlines, small things |
# | FCN-16s | fc7 + pool4 | 16 | things of middle size as well | thin parts |
# | FCN-8s | fc7 + pool4 + pool3 | 8 | outlines, and some of the small things | details below 8 pixels |
#
# **What the paper reported.**
# With VGG-16, on a part of the PASCAL VOC 2011 validation pictures: mIoU 59.4 for FCN-32s, 62.4 for 16s, 62.7 for 8s,
# and 45.4 if only the last layer of FCN-32s is trained and the rest stays as the classifier left it.
# So most of the gain came from training end to end and from the first skip; the second one mainly made the outlines finer.
# On the VOC 2012 test pictures FCN-8s reached 62.2, a fifth more than the best system before it, in a fifth of a second per picture.
#
# **What was simpler here.**
# The backbone is small and learned toyworld from nothing, where the paper's had seen ImageNet.
# It trained with momentum SGD, one network after the other (16s from 32s, then 8s from 16s); ours all start from 32s, so that their budgets are equal.
# The paper pads by 100 pixels on all sides; we pad to a multiple of 32.
# And toyworld's things are small for a stride of 32, so our steps from 32s to 16s to 8s are larger than the paper's.
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
# (a) is what the large class says alone; (c) forgets that road *was* right.
# </details>
#
# **2.**
# The score layer of pool3 starts at zero.
# Why can it learn at all?
# (a) it cannot, all zeros is a mistake (b) its gradient does not depend on its own weights (c) dropout breaks the symmetry
#
# <details><summary>Answer</summary>
#
# **(b)** The gradient of a weight is its input, from pool3, times what comes back from the loss.
# Neither is zero, and both differ from class to class and channel to channel.
# Zeros are fatal where two *layers in a row* are zero, or where equal weights would get equal gradients for ever.
# (c) There is no dropout here.
# </details>
#
# **3.**
# You double the size of every picture, and train FCN-32s on them anew.
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

# %%
progress()

# %% [markdown]
# **Next:** FCN's way down is rich, and its way back up is one addition per step.
# What if the way up were as rich as the way down?
# Lesson 04: U-Net.
