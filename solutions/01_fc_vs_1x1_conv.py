# %% [markdown]
# # 01 · A fully connected layer is a 1×1 convolution
#
# An image classifier tells you **what** is in a picture.
# In this lesson you make it tell you **where**, with no training and not one new weight.
# The picture below is where you are heading: one network, one pass, three questions.

# %%
import matplotlib.pyplot as plt
import torch

from lib.datasets.photos import crop_square, load_photo, resize_photo
from lib.device import choose_device
from lib.layers.convolutionalize import class_heatmap as finished_heatmap
from lib.pretrained import efficientnet_lite0, imagenet_classes, prepare
from lib.viz import draw_glow

device = choose_device()
net = efficientnet_lite0().to(device).requires_grad_(False)     # trained on ImageNet; we only ask

# %%
photos = [crop_square(load_photo(name), 320) for name in ("chelsea", "coffee", "rocket")]
wide = torch.cat(photos, dim=2).to(device)                      # (3, 320, 960)
features = net.forward_features(prepare(wide))
questions = {"Egyptian cat": 285, "espresso": 967, "missile": 657}
heats = {name: finished_heatmap(features, net.classifier, index)[0]
         for name, index in questions.items()}
draw_glow(wide, heats, smooth=True)
plt.show()

# %% [markdown]
# The network was trained on pictures with **one label each**.
# Nobody ever told it where anything is.
#
# **You will be able to**
#
# - turn the last layer of any classifier into a convolution, and draw a heat map of any class;
# - turn a layer that flattens its input into a convolution, and run it on pictures of any size;
# - work out by hand how large a feature map is, and how much of the picture one of its cells sees;
# - say what a convolution assumes about pictures, and show what happens when that is not true.
#
# | | |
# | --- | --- |
# | Time | 50 minutes to read and do, about half a minute of computing on two cores |
# | Builds on | `nn.Linear` and `nn.Conv2d`: you have used them; nothing else |
# | Papers | Long, Shelhamer & Darrell 2015, *Fully Convolutional Networks for Semantic Segmentation*, section 3.1 · Lin et al. 2013, *Network In Network* · Zhou et al. 2016, *Learning Deep Features for Discriminative Localization* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.

# %%
import torch.nn.functional as F
from torch import nn

from lib.exercises import check, progress, use
from lib.ops.receptive_field import Window
from lib.viz import explore, feature_strip, show_images, show_numbers
from lib.viz.basics.sliding import draw_sliding

# %% [markdown]
# ## 1. What the classifier says, and what it loses
#
# Meet Chelsea.
# She is in most of this lesson.

# %%
photo = crop_square(load_photo("chelsea"), 224).to(device)      # (3, 224, 224)
scores = net(prepare(photo))                                    # (1, 1000)
chances = scores.softmax(dim=1)[0]                              # (1000,)
for index in chances.topk(3).indices.tolist():
    print(f"{index}  {imagenet_classes()[index]:<13} {chances[index]:.2f}")

# %% [markdown]
# The three best answers of 1,000 are all cats.
# Good.
# Now ask it where the cat is: it has no way to say.
# The answer is a list of 1,000 numbers, and none of them is a place.
#
# But the picture that went in had places.
# So somewhere on the way they got lost.
#
# **Predict.**
# The cell below sends the photo through the network one stage at a time, and prints the shape after each.
# After which line is *where* gone for good: a stage that shrinks the map, the pooling, or the classifier?

# %%
stages = {"stem": nn.Sequential(net.conv_stem, net.bn1)}
stages |= {f"block {number}": block for number, block in enumerate(net.blocks)}
stages |= {"head": nn.Sequential(net.conv_head, net.bn2)}
stages |= {"pooling": net.global_pool, "classifier": net.classifier}

outputs, x = {}, prepare(photo)
for name, stage in stages.items():
    x = outputs[name] = stage(x)
    print(f"{name:<11}{tuple(x.shape)}")

# %% [markdown]
# The stages do shrink the map, from 112 × 112 to 7 × 7, but 7 × 7 is still a map: it has a top left and a bottom right.
# The **pooling** takes the average over all 49 cells.
# After it there is one list of 1,280 numbers for the whole picture, and it would be the same list if the 49 cells had been in any other order.
#
# Here are some stages as pictures.
# Above, the one channel that varies most from place to place.
# Below, all channels at once: the three main directions in which they vary, as red, green and blue, so that places with similar numbers get similar colours.

# %%
feature_strip(net, prepare(photo), picture=photo)
plt.show()

# %% [markdown]
# Look at the lower row, fourth picture (`blocks.4`): both eyes have one colour and the nose another.
# The network is no longer drawing edges; it says *eye* and *nose*, and it says them **at the right places**.
# Even the 7 × 7 map still knows where.
#
# So the plan is: **do not throw the places away before asking for the class.
# Ask at every place.**

# %% [markdown]
# ## 2. The last layer is a table of weights
#
# Before the real thing, an example small enough to add up in your head: a map with 2 channels and 2 × 2 cells, and a classifier with 2 classes.
# It has one row of weights for each class, one column for each channel.

# %%
tiny = torch.tensor([[[1., 3.], [5., 7.]],
                     [[2., 0.], [0., 2.]]])                     # (channels 2, height 2, width 2)
classifier = nn.Linear(2, 2)
classifier.weight.data = torch.tensor([[1., -1.], [0., 2.]])    # (classes 2, channels 2)
classifier.bias.data = torch.tensor([0.5, -1.])
show_numbers({"channel 0": tiny[0], "channel 1": tiny[1], "weights": classifier.weight})
plt.show()

# %% [markdown]
# The classifier's own order is: average first, then multiply.
# Channel 0 averages to 4 and channel 1 to 1, so class 0 scores 1 · 4 − 1 · 1 + 0.5 = 3.5.
#
# **Predict.**
# What if we multiply first, at each of the four cells, and average the four scores afterwards?
# The same, more, or less?
# Take class 0 and try it on paper.

# %%
pooled = tiny.mean(dim=(1, 2))                                  # (2,)
print("average, then classify:", classifier(pooled).tolist())

# %%
cell_scores = torch.empty(2, 2, 2)                              # (classes, height, width)
for row in range(2):
    for column in range(2):
        cell_scores[:, row, column] = classifier(tiny[:, row, column])
print("classify, then average:", cell_scores.mean(dim=(1, 2)).tolist())
show_numbers({"class 0 at each cell": cell_scores[0], "class 1 at each cell": cell_scores[1]})
plt.show()

# %% [markdown]
# The same.
# An average and a linear layer are both sums of multiples, and such sums can be swapped.
# That small fact carries the whole lesson: **the classifier's score was always an average of scores at places.
# We only have to look at it one step earlier.**
#
# Now look at the loop again.
# It takes the numbers at one cell, multiplies them by a table of weights, adds a bias, and goes on to the next cell *with the same table*.
# That has a name.
# It is a convolution whose kernel is 1 cell high and 1 cell wide.

# %%
weight = classifier.weight[:, :, None, None]                    # (2, 2) -> (classes 2, channels 2, 1, 1)
by_convolution = F.conv2d(tiny[None], weight, classifier.bias)  # (1, 2, 2, 2)
print("equal to the loop:", torch.equal(by_convolution[0], cell_scores))

# %% [markdown]
# ### Exercise 1 · `linear_as_1x1_conv`
#
# *8 minutes · ★☆☆*
#
# Take an `nn.Linear` and give back an `nn.Conv2d` that computes the same scores at every cell of a map.
#
# - `linear`: C features in, K scores out, with a bias.
# - Returns a 1×1 convolution, C channels in, K channels out, holding **its own copy** of the numbers:
#   training the convolution later must not change the classifier that it came from.

# %% tags=["exercise"]
def linear_as_1x1_conv(linear: nn.Linear) -> nn.Conv2d:
    ### BEGIN SOLUTION
    conv = nn.Conv2d(linear.in_features, linear.out_features, kernel_size=1)
    with torch.no_grad():
        conv.weight.copy_(linear.weight[:, :, None, None])      # (K, C) -> (K, C, 1, 1)
        conv.bias.copy_(linear.bias)
    return conv
    ### END SOLUTION

# %%
check(linear_as_1x1_conv)

# %% [markdown]
# <details><summary>Hint: I do not know where to start</summary>
#
# Make both layers for a small case, say 3 features and 2 classes, and print the shapes of their four parameters.
# What is the difference?
# </details>
# <details><summary>Hint: PyTorch complains about a leaf variable and an in-place operation</summary>
#
# Writing into a parameter is not part of any computation that should be differentiated.
# There is a context manager that says so.
# </details>
# <details><summary>Hint: my scores are right, but the check says that memory is shared</summary>
#
# Assigning a tensor, or `.data`, only passes on a reference to the same numbers.
# Which method of a tensor writes the *values* of another one into it?
# </details>

# %%
linear_as_1x1_conv = use(linear_as_1x1_conv)

# %% [markdown]
# Use it on the real network.
# Its last layer has 1,280 × 1,000 weights and has never seen a map, only averages.

# %%
features = outputs["head"]                                      # (1, 1280, 7, 7)
everywhere = linear_as_1x1_conv(net.classifier).to(device).requires_grad_(False)
score_map = everywhere(features)                                # (1, 1000, 7, 7)
print("score map:", tuple(score_map.shape))
same = torch.allclose(score_map.mean(dim=(2, 3)), scores, atol=1e-4)
print("its average is the classifier's answer:", same)
assert same

# %% [markdown]
# Seven by seven answers, a thousand classes each, out of a network that had only ever given one.
# And their average is the old answer: nothing was added, something was *not thrown away*.

# %% [markdown]
# ## 3. Where is the cat?
#
# All 1,000 maps at once are a lot.
# Usually one class is wanted, and its map is a **weighted sum of the channels**: each cell's 1,280 numbers times the class's 1,280 weights.
#
# ### Exercise 2 · `class_heatmap`
#
# *8 minutes · ★★☆*
#
# The score of one class at every cell; the other 999 need not be computed.
#
# - `features`: (B, C, h, w), a batch of maps just before the pooling.
# - `classifier`: the `nn.Linear` from C features to K classes.
# - `class_index`: which class.
# - Returns (B, h, w): scores, bias included, no softmax.
#
# Right, it looks like the picture below this exercise: bright on the cat, dark elsewhere.

# %% tags=["exercise"]
def class_heatmap(features: torch.Tensor, classifier: nn.Linear, class_index: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    scores = torch.einsum("bchw,c->bhw", features, classifier.weight[class_index])
    return scores + classifier.bias[class_index]
    ### END SOLUTION

# %%
check(class_heatmap)

# %% [markdown]
# <details><summary>Hint: which numbers belong to one class?</summary>
#
# The weights are (K, C).
# One class is one row: C numbers, one for each channel of the map.
# </details>
# <details><summary>Hint: the shapes do not fit when I multiply</summary>
#
# Give the C weights a shape in which their axis lies under the channel axis of (B, C, h, w), with size 1 elsewhere.
# Or name the axes, and let `torch.einsum` do it.
# </details>
# <details><summary>Hint: my values are all a little too large or too small by the same amount</summary>
#
# Every class has one more number besides its C weights.
# It is added once per cell.
# </details>

# %%
class_heatmap = use(class_heatmap)

# %%
heat = class_heatmap(features, net.classifier, 285)[0]          # (7, 7)
print(f"Egyptian cat: from {heat.min():.1f} in the coldest cell to {heat.max():.1f} in the hottest")
draw_glow(photo, {"Egyptian cat": heat})
plt.show()

# %% [markdown]
# The face glows; the blurred background at the right does not.
# Each block is one of the 49 cells.
# That is all the network can say, and it is already a lot.
#
# The numbers can be read as votes.
# Every cell votes for *Egyptian cat* with its score, and the classifier only ever announced the mean.

# %%
show_numbers({"votes for Egyptian cat": heat.round()}, highlight=divmod(heat.argmax().item(), 7))
plt.show()
print(f"mean of the votes {heat.mean():.2f}, score of the classifier {scores[0, 285]:.2f}")

# %% [markdown]
# ## 4. Any size
#
# A convolution does not know how large its input is.
# It has a kernel, and puts it wherever it fits.
#
# **Predict.**
# The photo at 448 × 672 pixels instead of 224 × 224: what is the shape of the score map?
# What would the *pooling* network say to this size, and what would a network say that flattens its 7 × 7 map, as AlexNet and VGG did?

# %%
large = resize_photo(load_photo("chelsea"), 448, 672).to(device)
large_features = net.forward_features(prepare(large))           # (1, 1280, ?, ?)
print("features:  ", tuple(large_features.shape))
print("score map: ", tuple(everywhere(large_features).shape))
print("classifier:", imagenet_classes()[net(prepare(large)).argmax().item()])

# %% [markdown]
# Twice as high and three times as wide: 14 × 21 cells, one for every 32 × 32 pixels.
# Pooling does not mind either: an average of 294 cells is as good as one of 49.
# Now the third kind, a head that flattens.

# %%
flattening_head = nn.Sequential(nn.Flatten(), nn.Linear(1280 * 7 * 7, 10)).to(device)
print("at 224 × 224:", tuple(flattening_head(features).shape))
try:
    flattening_head(large_features)
except RuntimeError as error:
    print("at 448 × 672:", str(error).removeprefix("addmm: "))

# %% [markdown]
# Read the message.
# `376320` is 1280 · 14 · 21, what the large photo offers; `62720` is 1280 · 7 · 7, the number of weights that each class has.
# The layer has a weight for *channel 5 at row 2, column 6*, and none for row 12, because there was no row 12 when it was made.
# In section 6 you repair even this one.
#
# First the reward.
# With any size allowed, nobody says that a picture may hold one thing only.
# This is the wide picture from the top of the page, from your own function:

# %%
wide_features = net.forward_features(prepare(wide))             # (1, 1280, 10, 30)
wide_heats = {name: class_heatmap(wide_features, net.classifier, index)[0]
              for name, index in questions.items()}
for third, (name, heat) in enumerate(wide_heats.items()):
    row, column = divmod(heat.argmax().item(), heat.shape[1])
    print(f"{name:<13} hottest at row {row}, column {column:>2} of 10 × 30")
    assert column // 10 == third, "each thing should be found in its own third of the picture"
draw_glow(wide, wide_heats)
plt.show()

# %% [markdown]
# Three questions, one pass.
# And the classifier itself, what does it make of this picture?

# %%
mean_votes = net.classifier(wide_features.mean(dim=(2, 3)))[0]  # (1000,)
best_four = [imagenet_classes()[index] for index in mean_votes.topk(4).indices]
print("its answers, best first:", ", ".join(best_four))
for name, index in questions.items():
    place = (mean_votes > mean_votes[index]).sum().item() + 1
    print(f"{name:<13} best vote {wide_heats[name].max():.1f}, mean {mean_votes[index]:.1f}, place {place}")

# %% [markdown]
# Cats and coffee fill the first places.
# The rocket has cells that vote for *missile* about as strongly as any cell votes for the cat, but they are few, and the average over 300 cells dilutes them.
# **An average is a vote by area.**
# Small things lose it, and that is why a detector cannot end in a global average.

# %% [markdown]
# ## 5. How many cells, and what does each one see?
#
# Two numbers describe a map: how many cells it has, and how much of the picture each cell depends on.
# Both follow from the kernels, strides and paddings on the way, by arithmetic that you will need in every lesson.
#
# Take a row of `n` pixels, `p` more added at each end, and a kernel that is `k` wide.
# The kernel's left edge can stand at `n + 2p − k + 1` places.
# With stride `s` it uses the first of them, and then every `s`-th one for as long as it fits.

# %%
draw_sliding(7, Window(kernel=3, stride=2, padding=1))
plt.show()

# %% [markdown]
# ### Exercise 3 · `feature_size`
#
# *8 minutes · ★☆☆*
#
# The height and width of the map after a chain of layers.
#
# - `height`, `width`: of the picture, in pixels.
# - `layers`: a list of `Window(kernel, stride, padding)`, first layer first; each works the same way up and down as left and right.
#   Ask for `layer.kernel`, `layer.stride`, `layer.padding`; a fourth field, `dilation`, is 1 in this lesson.
# - Returns `(height, width)` of the last map as whole numbers.

# %% tags=["exercise"]
def feature_size(height: int, width: int, layers: list[Window]) -> tuple[int, int]:
    ### BEGIN SOLUTION
    for layer in layers:
        height = (height + 2 * layer.padding - layer.kernel) // layer.stride + 1
        width = (width + 2 * layer.padding - layer.kernel) // layer.stride + 1
    return height, width
    ### END SOLUTION

# %%
check(feature_size)

# %% [markdown]
# <details><summary>Hint: I get a cell too few or too many</summary>
#
# Count in the figure above: how far can the kernel's left edge travel, in pixels, before the right edge leaves the padded row?
# How many strides fit into that way?
# And do not forget the cell at the start.
# </details>
# <details><summary>Hint: my numbers are fractions</summary>
#
# A stride that does not fit any more is not taken at all.
# Python has a division that rounds down.
# </details>

# %%
feature_size = use(feature_size)

# %% [markdown]
# Now from the real network: every convolution in the order in which it works.
# (Its padding keeps a map's size at stride 1: half the kernel.)

# %%
windows = [Window(conv.kernel_size[0], conv.stride[0], conv.kernel_size[0] // 2)
           for conv in net.modules() if isinstance(conv, nn.Conv2d)]
print(len(windows), "convolutions")
for height, width in ((224, 224), (448, 672), (300, 451)):
    empty = prepare(torch.zeros(3, height, width, device=device))
    counted = tuple(net.forward_features(empty).shape[2:])
    by_hand = feature_size(height, width, windows)
    print(f"{height} × {width}: by hand {by_hand}, by the network {counted}")
    assert by_hand == counted

# %% [markdown]
# The second number is the **receptive field**: the side of the square of pixels that can influence one cell.
#
# Build it up from the first layer.
# One cell of a 3×3 convolution sees 3 pixels.
# A second 3×3 convolution sees 3 cells of the first; they overlap, so that is 3 + 2 = 5 pixels: each new neighbour adds *one step*.
# How many pixels is a step?
# As many as the strides so far multiply to.
# After a stride of 2, a neighbour lies 2 pixels further, and everything from there on grows twice as fast.
#
# **Predict.**
# The last map of our network has one cell for every 32 pixels.
# How many pixels does a cell see: about 32?
# 100?
# 200?
#
# ### Exercise 4 · `receptive_field`
#
# *10 minutes · ★★☆*
#
# - `layers`: a list of `Window(kernel, stride, padding)` as before, first layer first.
# - Returns `(size, step)`: the side of the square that one cell of the last map sees, and the distance between two neighbouring cells,
#   both in pixels of the picture.
#   With no layers at all: `(1, 1)`.

# %% tags=["exercise"]
def receptive_field(layers: list[Window]) -> tuple[int, int]:
    ### BEGIN SOLUTION
    size, step = 1, 1
    for layer in layers:
        size += (layer.kernel - 1) * step
        step *= layer.stride
    return size, step
    ### END SOLUTION

# %%
check(receptive_field)

# %% [markdown]
# <details><summary>Hint: I am right for one layer and wrong for two</summary>
#
# Write the two numbers down after each layer.
# A kernel of k cells reaches over k − 1 gaps between cells.
# How long is a gap *before* this layer, in pixels?
# </details>
# <details><summary>Hint: I am wrong as soon as a stride is there</summary>
#
# A layer's own stride moves its output cells apart.
# It cannot change what one of these cells sees.
# So in which order must the two numbers be brought up to date?
# </details>

# %%
receptive_field = use(receptive_field)

# %%
size, step = receptive_field(windows)
print(f"one cell of the last map sees {size} × {size} pixels; its neighbour the same, {step} pixels on")

# %% [markdown]
# Eight hundred and fifty-one pixels!
# Each of the 49 cells can see the *whole* photo of 224 × 224, and far beyond its edges.
# Then how can the heat map know where the cat is?
# Should not all cells say the same?
#
# They can see everything, but they do not look everywhere alike.
# There are many paths through the layers from the middle of the square to the cell, and hardly any from its rim.
# We can measure how much each pixel matters to one cell: its gradient.

# %%
big = prepare(resize_photo(crop_square(load_photo("chelsea")), 512, 512).to(device)).requires_grad_()
one_cell = class_heatmap(net.forward_features(big), net.classifier, 285)[0, 8, 8]
influence = torch.autograd.grad(one_cell, big)[0].abs().sum(dim=1)[0]       # (512, 512)
middle = 8 * 32 + 16                                                        # of cell 8, in pixels
for side in (32, 64, 224, 448):
    near = slice(middle - side // 2, middle + side // 2)
    share = influence[near, near].sum() / influence.sum()
    print(f"the middle {side:>3} × {side:<3} pixels hold ≈ {share:.0%} of the influence")

# %%
figure, axis = plt.subplots(figsize=(5.6, 5.6), layout="constrained")
axis.imshow(F.avg_pool2d(influence[None], 16)[0].cpu().sqrt(), extent=(0, 512, 512, 0), cmap="magma")
for side, colour in ((851, "#0072B2"), (224, "#E69F00")):
    corner = (middle - side / 2, middle - side / 2)
    axis.add_patch(plt.Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=2))
    axis.text(middle, middle + side / 2 - 8, f"{side} pixels", color=colour, ha="center")
axis.plot(middle, middle, "+", color="white", markersize=12, markeredgewidth=2)
axis.set(xlim=(-170, 714), ylim=(714, -170), title="how much each pixel matters to one cell")
plt.show()

# %% [markdown]
# About half of the influence comes from the 224 pixels around the middle: 7 % of the area that the cell can see.
# This is called the **effective** receptive field (Luo et al. 2016): bright in the middle, fading like a bell.
# That is why the heat map works, and also why it is blurry: a cell next to the cat still sees much cat.

# %% [markdown]
# ## 6. A layer that flattens is a convolution with a big kernel
#
# Back to the head that refused the large photo.
# VGG-16 ends in 512 channels of 7 × 7 cells, flattens them to 25,088 numbers, and has 4,096 × 25,088 weights, three quarters of all its weights, to read them.
# It looks like the very opposite of a convolution.
#
# But each of its 4,096 outputs has one weight *for each channel at each place* of the 7 × 7 map.
# Flattening does not lose the places, it only writes them into one long row:

# %%
small_map = torch.arange(12.).view(2, 2, 3)                     # (channels, height, width)
show_numbers({"channel 0": small_map[0], "channel 1": small_map[1]})
show_numbers({"flattened": small_map.flatten()[None]})
plt.show()

# %% [markdown]
# A row of the fully connected layer's weights lies beside such a row of numbers, weight by number.
# Put the weights back in the same places, and they are a kernel: in VGG's case 512 channels, 7 high, 7 wide.
# On a 7 × 7 map it fits just once.
# On a larger map it can slide.
#
# To see it at work, we train such a network ourselves.
# Its data come from **toyworld**, the small world of this course.
# In it we ask: *what lies under the middle of this 32 × 32 window?*
# Nothing, a sphere, box, cylinder, cone or figure?

# %%
from lib.datasets.toyworld import CLASSES, Toyworld
from lib.datasets.windows import class_map, cut_windows

world = Toyworld(split="train", length=600)
held_out = Toyworld(split="val", length=200)
train_windows, train_labels = cut_windows([world[i] for i in range(600)], size=32, count=6000, seed=0)
val_windows, val_labels = cut_windows([held_out[i] for i in range(200)], size=32, count=1200, seed=0)
names = ("nothing", *CLASSES)
print(f"{len(train_windows)} windows to train on, {len(val_windows)} to test on")
print("classes:", ", ".join(names))

# %%
examples = [train_windows[train_labels == label][example] for example in range(2) for label in range(6)]
figure = show_images(examples, [*names, *[""] * 6], columns=6, size=1.5)
for axis in figure.axes:
    axis.plot(15.5, 15.5, "+", color="white", markersize=10, markeredgewidth=2)
plt.show()

# %% [markdown]
# The cross marks the middle.
# Now a network of the old kind: convolutions without padding, then flatten, then a fully connected layer.
# (The batch normalisations are there to learn fast. Once trained, each is a fixed factor and offset per channel, the same at every place.)

# %%
def convolution(channels_in: int, channels_out: int, kernel: int, stride: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels_in, channels_out, kernel, stride, bias=False),
                         nn.BatchNorm2d(channels_out), nn.ReLU())


def make_backbone() -> nn.Module:
    return nn.Sequential(convolution(3, 16, kernel=4, stride=2),            # 32 -> 15 cells
                         convolution(16, 32, kernel=3, stride=2),           # 15 -> 7
                         convolution(32, 48, kernel=4, stride=1)).to(device)  # 7 -> 4

# %%
torch.manual_seed(0)
backbone, fc = make_backbone(), nn.Linear(48 * 4 * 4, 6).to(device)
window_classifier = nn.Sequential(backbone, nn.Flatten(), fc)
print("features of a window:", tuple(backbone(train_windows[:2].to(device)).shape[1:]))

# %%
def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int) -> None:
    images, labels = images.to(device), labels.to(device)
    optimiser = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=steps)
    model.train()
    for _ in range(steps):
        chosen = torch.randint(len(images), (32,))
        loss = F.cross_entropy(model(images[chosen]), labels[chosen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    model.eval()

# %%
@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    return (model(images.to(device)).argmax(dim=1).cpu() == labels).float().mean().item()


train(window_classifier, train_windows, train_labels, steps=1000)
score = accuracy(window_classifier, val_windows, val_labels)
print(f"right about ≈ {score:.0%} of new windows; guessing would give 17%")
assert score > 0.6

# %% [markdown]
# ### Exercise 5 · `flatten_fc_as_conv`
#
# *10 minutes · ★★☆*
#
# - `fc`: an `nn.Linear` that reads a flattened map, `channels · height · width` features in, K out.
# - `channels`, `height`, `width`: the map as it was before `flatten`.
# - Returns an `nn.Conv2d` whose kernel is as large as that map, with its own copy of the numbers.

# %% tags=["exercise"]
def flatten_fc_as_conv(fc: nn.Linear, channels: int, height: int, width: int) -> nn.Conv2d:
    ### BEGIN SOLUTION
    conv = nn.Conv2d(channels, fc.out_features, kernel_size=(height, width))
    with torch.no_grad():
        conv.weight.copy_(fc.weight.reshape(fc.out_features, channels, height, width))
        conv.bias.copy_(fc.bias)
    return conv
    ### END SOLUTION

# %%
check(flatten_fc_as_conv)

# %% [markdown]
# <details><summary>Hint: in which order did <code>flatten</code> put the numbers?</summary>
#
# Flatten a small map that holds 0, 1, 2, ... and look.
# Which index moves fastest, which slowest?
# The weights were learned in that order.
# </details>
# <details><summary>Hint: it works for square maps and fails for others</summary>
#
# `kernel_size` takes a pair: first how high, then how wide.
# </details>

# %%
flatten_fc_as_conv = use(flatten_fc_as_conv)

# %%
slider = nn.Sequential(backbone, flatten_fc_as_conv(fc, 48, 4, 4).to(device))
scene = held_out[3]
with torch.no_grad():
    one_window = slider(val_windows[:1].to(device))             # (1, 6, 1, 1)
    whole_scene = slider(scene.image[None].to(device))          # (1, 6, 17, 17)
print("on a window:", tuple(one_window.shape), " on a whole scene:", tuple(whole_scene.shape))

# %% [markdown]
# The same weights now take a whole scene.
# **Predict.**
# 17 × 17 answers: to which windows do they belong?
# And how close are they to what the old classifier says about those windows: roughly equal, or to the last digit?

# %%
crops = torch.stack([scene.image[:, row:row + 32, column:column + 32]
                     for row in range(0, 65, 4) for column in range(0, 65, 4)]).to(device)
with torch.no_grad():
    one_by_one = window_classifier(crops).T.view(6, 17, 17)     # (289, 6) -> (6, 17, 17)
difference = (whole_scene[0] - one_by_one).abs().max().item()
print(f"{len(crops)} windows, 4 pixels apart; equal to 1e-4: {difference < 1e-4}")
assert difference < 1e-4

# %% [markdown]
# Equal.
# Sliding the network is the *same computation* as cutting out every window, only done in one go.
# How much does that save?
# Neighbouring windows share 28 of their 32 columns, and the slider computes what they share once.

# %%
import time


@torch.no_grad()
def milliseconds(model: nn.Module, images: torch.Tensor) -> float:
    times = []
    for _ in range(10):
        start = time.perf_counter()
        model(images).sum().item()                              # .item() waits until a GPU is done
        times.append(1000 * (time.perf_counter() - start))
    return min(times)

# %%
slow = milliseconds(window_classifier, crops)
fast = milliseconds(slider, scene.image[None].to(device))
print(f"289 windows ≈ {slow:.1f} ms, one slide ≈ {fast:.1f} ms: ≈ {slow / fast:.0f} times faster")

# %% [markdown]
# Now the answers as a picture.
# A border of 16 mirrored pixels is added, so that windows can stand in the corners too.
# Each answer is drawn in the colour of its class.

# %%
with_border = F.pad(scene.image[None].to(device), (16, 16, 16, 16), mode="reflect")
with torch.no_grad():
    answers = slider(with_border)[0].argmax(dim=0).cpu()        # (25, 25)
colours = torch.tensor(plt.get_cmap("Dark2").colors)[[7, 0, 1, 2, 3, 5]]    # nothing is grey
pictures = [scene.image, colours[answers].movedim(2, 0), colours[class_map(scene)].movedim(2, 0)]
show_images(pictures, ["a new scene", "the slider: 25 × 25 answers", "the truth: 96 × 96"], size=2.8)
plt.show()

# %% [markdown]
# Look at the middle: a classifier of small windows, slid over a picture, has drawn a *segmentation*.
# Coarse, blobby, wrong in places, but it is one.
# This is the step that the FCN paper took in 2015, and lessons 02 to 04 make it sharp.

# %% [markdown]
# ## 7. What a layer that flattens cannot see
#
# A convolution assumes two things: what matters is *near*, and it matters *the same way everywhere*.
# A fully connected layer on flattened pixels assumes nothing.
# To it, a pixel is a column in a table, and the order of columns means nothing.
#
# That can be tested.
# Take one random rearrangement of the 32 × 32 = 1,024 pixels, and apply it to *every* picture.
# No information is lost: it could be undone.
# But what was near is now far.
#
# ### Exercise 6 · `shuffle_pixels`
#
# *8 minutes · ★★☆*
#
# - `images`: (B, C, H, W).
# - `order`: (H·W,), each of the numbers 0 …
#   H·W − 1 once.
#   Counting pixels row by row, new pixel `i` is old pixel `order[i]`.
# - Returns (B, C, H, W).
#   A pixel keeps its colour: all channels move together, in the same way in every picture.

# %% tags=["exercise"]
def shuffle_pixels(images: torch.Tensor, order: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    flat = images.flatten(start_dim=2)                          # (B, C, H·W)
    return flat[..., order].reshape(images.shape)
    ### END SOLUTION

# %%
check(shuffle_pixels)

# %% [markdown]
# <details><summary>Hint: I want to index two axes, rows and columns, with one list</summary>
#
# Make them one axis first, and two again afterwards.
# </details>
# <details><summary>Hint: the colours come out wrong</summary>
#
# If channels got mixed with pixels, too many axes were flattened together.
# Which ones should stay?
# </details>

# %%
shuffle_pixels = use(shuffle_pixels)

# %%
order = torch.randperm(32 * 32, generator=torch.Generator().manual_seed(0))
shuffled_train = shuffle_pixels(train_windows, order)
shuffled_val = shuffle_pixels(val_windows, order)
chosen = torch.stack([(train_labels == label).nonzero()[0, 0] for label in range(6)])
show_images([*train_windows[chosen], *shuffled_train[chosen]], [*names, *[""] * 6], columns=6, size=1.5)
plt.show()

# %% [markdown]
# To you, the lower row is noise.
# **Predict**, for each of two networks trained on it from scratch: does it do as well as on the upper row, a bit worse, or no better than chance (17 %)?

# %%
def flattening_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 64), nn.BatchNorm1d(64), nn.ReLU(),
                         nn.Linear(64, 6)).to(device)


def convolutional_network() -> nn.Module:
    return nn.Sequential(make_backbone(), nn.Flatten(), nn.Linear(48 * 4 * 4, 6).to(device))

# %%
pixels = {"in place": (train_windows, val_windows), "shuffled": (shuffled_train, shuffled_val)}
results = {}                                                    # (network, pixels) -> three accuracies
for make in (flattening_network, convolutional_network):
    for kind, (images, test_images) in pixels.items():
        for seed in range(3):
            torch.manual_seed(seed)
            model = make()
            train(model, images, train_labels, steps=400)
            right = accuracy(model, test_images, val_labels)
            results.setdefault((make.__name__, kind), []).append(right)

# %%
means = {}
for (network, kind), seeds in results.items():
    means[network, kind] = sum(seeds) / 3
    print(f"{network:<22} pixels {kind}:", "  ".join(f"≈ {score:.0%}" for score in seeds))

# %%
flat_cost, conv_cost = (100 * (means[network, "in place"] - means[network, "shuffled"])
                        for network in ("flattening_network", "convolutional_network"))
print(f"shuffling costs the flattening network ≈ {flat_cost:.0f} points of 100")
print(f"shuffling costs the convolutional network ≈ {conv_cost:.0f} points of 100")
assert abs(flat_cost) < 5 and conv_cost > 8

# %%
figure, axis = plt.subplots(figsize=(7.5, 2.4), layout="constrained")
for (network, kind), seeds in results.items():
    colour = "#0072B2" if kind == "in place" else "#E69F00"
    axis.plot(seeds, [f"{network}, {kind}".replace("_", " ")] * 3, "o", color=colour, markersize=8)
axis.axvline(1 / 6, color="grey", linestyle=":", label="guessing")
axis.set(xlim=(0.1, 0.8), ylim=(3.5, -0.5), xlabel="right answers on new windows, three seeds each")
axis.legend()
plt.show()

# %% [markdown]
# The flattening network does not notice: to it, the two tables are the same.
# The convolutions lose much of their lead.
# (They do not fall all the way to guessing: shuffled pixels still have their colours, and this network's last layer flattens too,
# so it can learn some of the new places by heart.)
#
# How much is lost depends on the task, and we chose one that shows it.
# The first that we tried was to name an object cut out along its box.
# There a convolutional network lost only a little: how *much* of the cut is object and how much is ground gives the shape away,
# and shuffling does not change amounts.
#
# That the flattening network *cannot* notice needs no experiment.
# Train it on whole pictures, rearrange the **columns of its weights** in the same order, and it gives the same answers for shuffled pictures.
# The next cell does just that.

# %%
torch.manual_seed(0)
model = flattening_network()
train(model, train_windows, train_labels, steps=100)
before = model(val_windows.to(device))
columns = torch.cat([channel * 1024 + order for channel in range(3)])       # (3072,): where each weight goes
model[1].weight.data = model[1].weight.data[:, columns.to(device)]
after = model(shuffled_val.to(device))
print("same answers, to 1e-4:", torch.allclose(before, after, atol=1e-4))

# %% [markdown]
# No weights of a convolution can be rearranged to do this.
# That is not a weakness, it is what makes it strong: it does not have to *learn* that pictures have neighbourhoods.
# On pictures the assumption is true, and it pays: look how far apart the two blue rows of dots are.

# %% [markdown]
# ## 8. Look inside
#
# The explorer below holds every map of the network for Chelsea's photo.
# Choose a layer, then a view: one channel, the strongest ones, their mean, or all channels at once as colours.
# Click on the picture, or move with the arrow keys, to see what one cell sees and what it has to say.
#
# Three questions to explore with:
#
# 1. In which block can the whiskers no longer be told from the background?
# 2. Find a channel that likes eyes.
#    In which block is the first one?
# 3. Pick the same place in every block.
#    When does what the cell *can* see become larger than the photo?

# %%
explorer = explore(net, prepare(photo), picture=photo)
explorer.layer = "blocks.2"
explorer.cell = (11, 9)                                         # on the left eye
explorer

# %% [markdown]
# ## 9. Break it: does the heat follow the cat?
#
# A claim that was never tested is a hope.
# If the heat map really shows *where*, it must move when the cat moves.
# Paste her at nine places on a grey canvas, and compare the centre of the heat with the centre of the cat.

# %%
cat = crop_square(load_photo("chelsea"), 160).to(device)


def heat_of_cat_at(top: int, left: int) -> torch.Tensor:
    canvas = torch.full((3, 480, 480), 0.5, device=device)
    canvas[:, top:top + 160, left:left + 160] = cat
    return class_heatmap(net.forward_features(prepare(canvas)), net.classifier, 285)[0]     # (15, 15)


def centre_of(heat: torch.Tensor) -> torch.Tensor:
    strong = (heat - 0.3 * heat.max()).clamp(min=0)             # only the cells that are clearly warm
    middles = torch.arange(15., device=device) * 32 + 16        # in pixels
    return torch.stack([strong.sum(1) @ middles, strong.sum(0) @ middles]) / strong.sum()

# %%
places = [(top, left) for top in (0, 160, 320) for left in (0, 160, 320)]
true_centres = torch.tensor(places) + 80.                       # (9, 2): row, column in pixels
heat_centres = torch.stack([centre_of(heat_of_cat_at(*place)) for place in places]).cpu()
for axis, name in enumerate(("rows", "columns")):
    match = torch.corrcoef(torch.stack([true_centres[:, axis], heat_centres[:, axis]]))[0, 1]
    print(f"correlation of the {name}: {match:.3f}")
    assert match > 0.99

# %%
figure, axis = plt.subplots(figsize=(4.8, 4.8), layout="constrained")
rows, columns = true_centres.T
heat_rows, heat_columns = heat_centres.T
axis.scatter(columns, rows, s=160, facecolors="none", edgecolors="black", label="centre of the cat")
axis.scatter(heat_columns, heat_rows, s=50, color="#E69F00", label="centre of the heat")
axis.set(xlim=(0, 480), ylim=(480, 0), xlabel="column, pixels", ylabel="row, pixels", title="nine cats")
axis.legend(loc="center", bbox_to_anchor=(0.5, 0.66))
plt.show()

# %% [markdown]
# The heat follows the cat.
# But not exactly.
# Take the cat in the middle as the measure: her heat lies a little above her centre.
# Then compare the eight others with her.

# %%
offset = heat_centres - true_centres                            # (9, 2): heat minus cat
pull = (offset[4] - offset) * (true_centres - 240).sign()       # towards the middle of the canvas
moved = true_centres != 240                                     # rows and columns away from it
print(f"pulled inwards by {pull[moved].mean():.1f} pixels on average, {pull[moved].max():.1f} at most")
assert pull[moved].mean() > 5

# %% [markdown]
# The others' heat is pulled inwards.
# At the border the layers see **padding**: zeros, which are no part of any cat, so the cells out there are less sure.
# Convolutions treat all places alike, except at the edge.
#
# **Predict.**
# Now move the cat by a single pixel to the right.
# Does the heat map move?
# And by 32 pixels?

# %%
start = heat_of_cat_at(160, 160)
for pixels in (1, 8, 16, 24, 32):
    moved = heat_of_cat_at(160, 160 + pixels)
    stayed = (moved - start).abs().mean()
    one_cell_on = (moved[:, 1:] - start[:, :-1]).abs().mean()
    print(f"{pixels:>2} pixels: {stayed:.2f} from the old map, {one_cell_on:.2f} from the old map one cell on")

# %%
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), layout="constrained", sharey=True)
for axis, pixels in zip(axes, (0, 16, 32)):
    axis.imshow(heat_of_cat_at(160, 160 + pixels).cpu(), cmap="magma", vmin=0, vmax=28)
    axis.set(title=f"moved by {pixels} pixels", xticks=range(0, 15, 2), yticks=range(0, 15, 2))
plt.show()
assert one_cell_on < 0.3 * stayed                               # by 32 pixels, the last of the loop

# %% [markdown]
# After 32 pixels, one full stride, the map is the old one moved by one cell, nearly to the number (the padding keeps it from being exact).
# In between it does not move, it *morphs*.
# People say that convolutions are shift-equivariant: move the input, and the output moves along.
# With strides that is only true for whole strides.

# %% [markdown]
# ## 10. How coarse is it?
#
# The heat map has one cell per 32 × 32 pixels, because five layers have a stride of 2 and 2⁵ = 32.
# Could we not just use a larger photo, and get more cells?

# %%
figure, axes = plt.subplots(1, 3, figsize=(10, 2.9), layout="constrained")
for axis, scale in zip(axes, (1, 2, 3)):
    photo_at_scale = resize_photo(load_photo("chelsea"), 224 * scale, 320 * scale).to(device)
    heat = class_heatmap(net.forward_features(prepare(photo_at_scale)), net.classifier, 285)[0]
    axis.imshow(heat.cpu(), cmap="magma")
    cells = f"{heat.shape[0]} × {heat.shape[1]} cells"
    axis.set(title=f"{224 * scale} × {320 * scale}: {cells}", xticks=[], yticks=[])
plt.show()

# %% [markdown]
# More cells, but not a sharper cat.
# At three times the size a cell looks at a patch of fur, and fur alone is not a face: the network learned cats that fill 224 pixels.
# The answer is not a larger question.
# It is to keep the knowledge of the coarse map and bring back the resolution of the fine ones.
# The first half of that, **upsampling**, is lesson 02.

# %% [markdown]
# ## 11. Recap
#
# | a layer | its weights | what it can read | what it says |
# | --- | --- | --- | --- |
# | fully connected, after an average | (K, C) | a list of C numbers | K scores for the picture |
# | the same as a **1×1 convolution** | (K, C, 1, 1) | any map with C channels | K scores for every cell |
# | fully connected, after `flatten` | (K, C · h · w) | a map of exactly h × w | K scores for the picture |
# | the same as an **h×w convolution** | (K, C, h, w) | any map of at least h × w | K scores for every place where it fits |
#
# In each pair, the numbers are the same.
# Only the way of holding them is different.
#
# **What the paper made of it.**
# Long, Shelhamer and Darrell turned AlexNet, VGG-16 and GoogLeNet into convolutions like this,
# put a 1×1 convolution with 21 outputs on top (the 20 classes of PASCAL VOC and background), and trained the whole on segmentation.
# They report that one pass over a 500 × 500 picture gives a 10 × 10 grid of AlexNet's answers in 22 ms, where a single 227 × 227 crop takes 1.2 ms:
# five times faster than a hundred crops.
# With the upsampling and the skips of the next two lessons they raised the best mean IoU on PASCAL VOC 2012 by a fifth, to 62.2.
#
# **What was simpler here.**
# Nothing was trained for segmentation yet.
# Our photo network averages at its end, so no weights had to be reshaped.
# The network that flattens is tiny, and we left out padding, so that sliding equals cropping exactly; with padding, as in VGG, it is only nearly so.
#
# ### Three questions
#
# **1.**
# A network ends in a map of 512 × 7 × 7, flattened into a layer with 4,096 outputs.
# What is the shape of the equal convolution's weight?
# (a) (4096, 512, 1, 1) (b) (4096, 512, 7, 7) (c) (512, 4096, 7, 7)
#
# <details><summary>Answer</summary>
#
# **(b)** One kernel per output, as large as the map.
# (a) has 49 times too few numbers: it is what an *average* before the layer would leave.
# (c) has the outputs where the inputs belong; PyTorch puts the outputs first.
# </details>
#
# **2.**
# You feed a picture twice as high and twice as wide.
# What happens to the receptive field of a cell in the last map?
# (a) it doubles (b) it stays (c) it halves
#
# <details><summary>Answer</summary>
#
# **(b)** It follows from kernels and strides alone, in pixels.
# There are four times as many cells, and each sees as many pixels as before, which now show a smaller part of the cat.
# (a) and (c) mix up the number of cells with what a cell sees.
# </details>
#
# **3.**
# Your heat map for "missile" is hot on the rocket, but the classifier's first answer is "tiger cat".
# What is wrong?
# (a) the heat map is (b) the classifier is (c) nothing
#
# <details><summary>Answer</summary>
#
# **(c)** Both are the same scores.
# The heat map shows them place by place, the classifier averages them, and in an average the larger thing wins.
# (a) and (b) each doubt one of two numbers that you have proved equal in section 2.
# </details>

# %%
progress()

# %% [markdown]
# **Next:** your heat maps have one cell for 32 × 32 pixels.
# Lesson 02 is about the way back up: how to make a small map large, and what can go wrong.
