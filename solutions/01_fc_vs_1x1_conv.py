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
from lib.pretrained import LAST_MAP_CELLS, efficientnet_lite0, imagenet_classes, prepare
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
draw_glow(wide, heats, smooth=True, cells=LAST_MAP_CELLS)
plt.show()

# %% [markdown]
# The network was trained on pictures with **one label each**.
# Nobody ever told it where anything is.
# (A cell may score in several classes.
# A score far below the best of its class hardly shows; section 4 has the numbers.)
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
# | Time | 1½ hours: 52 minutes of exercises, 38 to read; less than a minute of computing on two cores |
# | Builds on | basic PyTorch: you have used `nn.Linear`, `nn.Conv2d` and an optimizer |
# | Papers | Long, Shelhamer & Darrell 2015, *Fully Convolutional Networks for Semantic Segmentation*, section 3.1 · Lin et al. 2013, *Network In Network* · Zhou et al. 2016, *Learning Deep Features for Discriminative Localization* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.
# The output of a cell that answers a *Predict* is folded: click on it to open it.

# %%
import torch.nn.functional as F
from matplotlib.patches import Patch
from torch import nn
from tqdm.auto import tqdm

from lib.exercises import check, hint, progress, solution, use
from lib.ops.receptive_field import Window
from lib.timing import milliseconds
from lib.viz import explore, feature_strip, show_images, show_numbers
from lib.viz.basics.sliding import draw_sliding

# %% [markdown]
# ## 1. What the classifier says, and what it loses
#
# Meet Chelsea.
# She is in most of this lesson.
# The network that looks at her is an EfficientNet-Lite0:
# a stem, seven stages of convolutions (called `blocks` in the code), a last convolution called the head, and a classifier.
# All but the classifier is what later lessons call a **backbone**: the part that turns a picture into features, whatever these are used for.

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
# (The names are the network's own, as in the pictures further down and in the explorer; `bn1` ends the stem, and `bn2` ends the head.)

# %% jupyter={"outputs_hidden": true}
stages = {"bn1": nn.Sequential(net.conv_stem, net.bn1)}
stages |= {f"blocks.{number}": block for number, block in enumerate(net.blocks)}
stages |= {"bn2": nn.Sequential(net.conv_head, net.bn2)}
stages |= {"global_pool": net.global_pool, "classifier": net.classifier}

outputs, x = {}, prepare(photo)
for name, stage in stages.items():
    x = outputs[name] = stage(x)
    print(f"{name:<12}{tuple(x.shape)}")

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
# Look at the lower row, fourth picture (`blocks.4`): the network is no longer drawing edges.
# It gives both eyes one colour and the nose another, as if it had a word for each.
# And it does so **at the right places**.
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
show_numbers({"channel 0": tiny[0], "channel 1": tiny[1],
              "weights: row = class,\ncolumn = channel": classifier.weight})
plt.show()

# %% [markdown]
# The classifier's own order is: average first, then multiply.
# Channel 0 averages to 4 and channel 1 to 1, so class 0 scores 1 · 4 − 1 · 1 + 0.5 = 3.5.
#
# **Predict.**
# What if we multiply first, at each of the four cells, and average the four scores afterwards?
# The same, more, or less?
# Take class 0 and try it on paper.

# %% jupyter={"outputs_hidden": true}
pooled = tiny.mean(dim=(1, 2))                                  # (2,)
print("average, then classify:", classifier(pooled).tolist())

# %% jupyter={"outputs_hidden": true}
cell_scores = torch.empty(2, 2, 2)                              # (classes, height, width)
for row in range(2):
    for column in range(2):
        cell_scores[:, row, column] = classifier(tiny[:, row, column])
print("classify, then average:", cell_scores.mean(dim=(1, 2)).tolist())
show_numbers({"class 0 at each cell": cell_scores[0], "class 1 at each cell": cell_scores[1]})
plt.show()

# %% [markdown]
# The same.
# Both are weighted sums.
# The average sums over places, with the same weights for every channel; the linear layer sums over channels, with the same weights at every place.
# Such sums may be taken in either order.
# The whole lesson rests on it: **the classifier's score was always an average of scores at places.
# We only have to look at it one step earlier.**
#
# It holds on three conditions.
# The average weighs all channels alike, and the linear layer all places.
# The weights of the average sum to 1, so the bias comes out as it went in.
# And both steps are weighted sums, with nothing else between them or in them.
# A classifier of two layers, `average → linear → ReLU → linear`, breaks the last condition, and so does a maximum in the place of the average.
# Here is what a single ReLU does:

# %%
print("average first, then ReLU:", classifier(pooled).relu().tolist())
print("ReLU first, then average:", cell_scores.relu().mean(dim=(1, 2)).tolist())

# %% [markdown]
# A negative vote lowers the average, but it does not survive a ReLU.
# Our photo network has one linear layer after its pooling and nothing else, so for it the swap is exact.
#
# Now look at the loop above again.
# It takes the numbers at one cell, multiplies them by a table of weights, adds a bias, and goes on to the next cell *with the same table*.
# That has a name.
# It is a convolution whose kernel is 1 cell high and 1 cell wide.

# %%
weight = classifier.weight[:, :, None, None]                    # (classes 2, channels 2, 1, 1)
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
#   The copy can be trained.

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
features = outputs["bn2"]                                       # (1, 1280, 7, 7)
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
# Such a map is called a **class activation map**, CAM for short (Zhou et al. 2016).
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
# If it is right, it will look like the picture below this exercise: brightest on the cat's face; her fur at the rim stays dark, too.

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
draw_glow(photo, {"Egyptian cat": heat}, cells=LAST_MAP_CELLS)
plt.show()

# %% [markdown]
# The face glows, most of all the cheek and the muzzle; the blurred background at the right does not, and fur at the rim of the photo hardly does.
# Each block is one of the 49 cells, drawn around the middle of what the cell sees.
# (Section 5 works out where that is, and why the first column is wider than the others and the last one narrower.)
#
# The scores, also called **logits**, can be read as votes.
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
# The whole photo at 448 × 672 pixels instead of its middle at 224 × 224: what is the shape of the score map?
# What would the *pooling* network make of this size, and what would a network do that flattens its 7 × 7 map, as VGG did?

# %% jupyter={"outputs_hidden": true}
large = resize_photo(load_photo("chelsea"), 448, 672).to(device)
large_features = net.forward_features(prepare(large))           # (1, 1280, ?, ?)
print("features:  ", tuple(large_features.shape))
print("score map: ", tuple(everywhere(large_features).shape))
print("classifier:", imagenet_classes()[net(prepare(large)).argmax().item()])

# %% [markdown]
# Twice as high and three times as wide: 14 × 21 cells, one for every 32 × 32 pixels.
# Pooling takes any size, too: the average of 294 cells is as good as that of 49.
# Now the third kind, a head that flattens.

# %% jupyter={"outputs_hidden": true}
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
# Once any size is allowed, a picture may hold more than one thing.
# This is the wide picture from the top of the page, from your own function:

# %%
wide_features = net.forward_features(prepare(wide))             # (1, 1280, 10, 30)
wide_heats = {name: class_heatmap(wide_features, net.classifier, index)[0]
              for name, index in questions.items()}
for third, (name, heat) in enumerate(wide_heats.items()):
    row, column = divmod(heat.argmax().item(), heat.shape[1])
    best = [part.max().item() for part in heat.split(10, dim=1)]    # in each third of the picture
    print(f"{name:<13} hottest at row {row}, column {column:>2} of 10 × 30;",
          "best on cat, cup, rocket:", ", ".join(f"{score:.1f}" for score in best))
    assert column // 10 == third, "each thing should be found in its own third of the picture"
draw_glow(wide, wide_heats, cells=LAST_MAP_CELLS)
plt.show()

# %% [markdown]
# Three questions, one pass.
# There are stray votes as well.
# Cells on the cup vote for *missile*, with a quarter of the rocket's best score at most,
# and cells on the rocket for *Egyptian cat*, with not quite a third of the cat's best: too little to glow here.
#
# And the classifier itself, what does it make of this picture?

# %%
mean_votes = net.classifier(wide_features.mean(dim=(2, 3)))[0]  # (1000,)
best_four = [imagenet_classes()[index] for index in mean_votes.topk(4).indices]
print("its answers, best first:", ", ".join(best_four))
for name, index in questions.items():
    place = (mean_votes > mean_votes[index]).sum().item() + 1
    print(f"{name:<13} best vote {wide_heats[name].max():.1f},",
          f"mean {mean_votes[index]:.1f}, place {place}")

# %% [markdown]
# Cats and coffee fill the first places.
# The rocket has cells that vote for *missile* about as strongly as any cell votes for the cat, but they are few, and the average over 300 cells dilutes them.
# **An average is a vote by area.**
# Small things lose it, and that is why a detector must not average over the whole picture.

# %% [markdown]
# ## 5. How many cells, and what does each one see?
#
# Two numbers describe a map: how many cells it has, and how much of the picture each cell depends on.
# Both follow from the kernels, strides and paddings on the way, by arithmetic that you will need in every lesson.
# (The **stride** is how far the kernel moves from one cell to the next; **padding** is zeros that are added around the map.)
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
#   Read `layer.kernel`, `layer.stride`, `layer.padding`; a fourth field, `dilation`, is 1 in this lesson.
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
# How many strides fit into that distance?
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
# Now for the real network: every convolution in the order in which it works.
# We count its padding as half the kernel on either side.
# That gives the right number of cells; how it is really divided between left and right comes further down.

# %%
windows = [Window(conv.kernel_size[0], conv.stride[0], conv.kernel_size[0] // 2)
           for conv in net.modules() if isinstance(conv, nn.Conv2d)]
print(len(windows), "convolutions")
for height, width in ((224, 224), (448, 672), (300, 451)):
    empty = prepare(torch.zeros(3, height, width, device=device))
    counted = tuple(net.forward_features(empty).shape[2:])
    by_hand = feature_size(height, width, windows)
    print(f"{height} × {width}: by hand {by_hand}, by the network {counted}")
    assert tuple(by_hand) == counted

# %% [markdown]
# The second number is the **receptive field**: the side of the square of pixels that can influence one cell.
#
# Build it up from the first layer.
# One cell of a 3×3 convolution sees 3 pixels.
# A second 3×3 convolution sees 3 cells of the first; they overlap, so that is 3 + 2 = 5 pixels: each new neighbour adds *one step*.
# How many pixels is a step?
# The product of all strides so far.
# After a stride of 2, a neighbour lies 2 pixels further on, and everything from there on grows twice as fast:
#
# | after | a cell sees | a step is |
# | --- | --- | --- |
# | 3×3, stride 1 | 3 pixels | 1 pixel |
# | then 3×3, stride 2 | 5 pixels | 2 pixels |
# | then 3×3, stride 1 | 9 pixels | 2 pixels |
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

# %% jupyter={"outputs_hidden": true}
size, step = receptive_field(windows)
print(f"one cell of the last map sees {size} × {size} pixels;",
      f"its neighbour the same, {step} pixels on")

# %% [markdown]
# Eight hundred and fifty-one pixels!
# Each of the 49 cells can see the *whole* photo of 224 × 224, and far beyond its edges.
#
# ### For the curious: where exactly is a cell?
#
# The window's size says nothing about its place.
# That depends on how the padding is divided.
# This network pads as TensorFlow does ("same"): just enough zeros for one cell per stride.
# When their number is odd, the extra one goes to the right and below.
# (How many that is depends on the picture's size; what follows is for sides that are multiples of 32.)
# A 3×3 kernel with stride 2 gets no zero on the left and one on the right, so each such layer moves the windows to the right.

# %%
start, step = 0, 1                                              # of what cell 0 sees, in pixels
for kernel, stride, *_ in windows:
    start -= (kernel - stride) // 2 * step                      # the padding on the left
    step *= stride
print(f"cell 0 sees pixels {start} to {start + size - 1};",
      f"the middle of its window is at {start + size / 2}")
assert (size, step, start) == LAST_MAP_CELLS

# %% [markdown]
# So the window of cell *i* has its middle at 32 · *i* + 31.5, and not at 32 · *i* + 16, the middle of the *i*-th block of 32 pixels, as one might guess.
# All pictures of this lesson, and the explorer, draw a cell around the middle of its window.
# The first column of cells then begins at pixel 15.5; it also fills the rim before that, and so it looks wider.
# (With PyTorch's usual padding, half the kernel on *both* sides, the middle would be at 32 · *i* + 0.5.
# The place is always worth a look before you draw a map over a picture.)
#
# ### What a cell uses of what it sees
#
# If every cell can see the whole photo, how can the heat map know where the cat is?
# Shouldn't all cells say the same?
#
# They can see everything, but they do not look everywhere alike.
# There are many paths through the layers from the middle of the square to the cell, and hardly any from its rim.
# We can measure how much each pixel matters to one cell: the size of the gradient of the cell's score.
# It depends on the picture, so we average it over a few pictures of noise, large enough for the whole window.

# %%
net.set_grad_checkpointing()                # saves memory: maps are computed again on the way back
noise = torch.Generator().manual_seed(0)
influence = torch.zeros(896, 896)
for _ in tqdm(range(3), desc="noise pictures"):
    picture = prepare(torch.rand(3, 896, 896, generator=noise).to(device)).requires_grad_()
    score = class_heatmap(net.forward_features(picture), net.classifier, 285)[0, 13, 13]
    influence += torch.autograd.grad(score, picture)[0][0].abs().sum(dim=0).cpu()   # (896, 896)
net.set_grad_checkpointing(False)

# %%
middle = LAST_MAP_CELLS.middle(13)                              # 447.5
shares = {}
for side in (32, 64, 224, 448, 851):
    near = slice(int(middle - side / 2), int(middle + side / 2))
    shares[side] = (influence[near, near].sum() / influence.sum()).item()
    print(f"the middle {side:>3} × {side:<3} pixels: {side**2 / 851**2:6.1%} of the window, "
          f"≈ {shares[side]:.0%} of the influence")
assert 0.5 < shares[224] < 0.7

# %%
pixels = torch.arange(896) + 0.5
balance = [(influence.sum(axis) @ pixels / influence.sum()).item()      # row, column
           for axis in (1, 0)]
up, left = middle - balance[0], middle - balance[1]
print(f"the influence is centred ≈ {up:.0f} pixels above",
      f"and ≈ {left:.0f} left of the window's middle")
assert 8 < up < 24 and 8 < left < 24

# %% jupyter={"source_hidden": true}
figure, axis = plt.subplots(figsize=(6.4, 5.6), layout="constrained")
shown = F.avg_pool2d(influence[None], 16)[0].sqrt()             # the root shows weak influence, too
drawn = axis.imshow(shown / shown.max(), extent=(0, 896, 896, 0), cmap="magma")
for side, colour in ((851, "#56B4E9"), (224, "#E69F00")):
    corner = (middle - side / 2, middle - side / 2)
    axis.add_patch(plt.Rectangle(corner, side, side, fill=False, edgecolor=colour, linewidth=2,
                                 label=f"{side} × {side} pixels"))
axis.plot(middle, middle, "+", color="white", markersize=14, markeredgewidth=2,
          label="middle of the window")
axis.plot(balance[1], balance[0], "x", color="#009E73", markersize=10, markeredgewidth=2.5,
          label="middle of the influence")
axis.set(title="how much each pixel matters to cell (13, 13)\nmean of three pictures of noise",
         xlabel="column, pixels", ylabel="row, pixels")
axis.legend(loc="upper left", fontsize=8, labelcolor="white", facecolor="black", framealpha=0.6)
figure.colorbar(drawn, label="square root of the influence, highest = 1")
plt.show()

# %% [markdown]
# More than half of the influence comes from the 224 × 224 pixels around the middle: 7 % of the area that the cell can see.
# This part is called the **effective** receptive field (Luo et al. 2016): strongest near the middle, and fading outwards like a bell.
# That is why the heat map works, and also why it is blurry: a cell next to the cat still sees a lot of cat.
#
# Look at the two crosses.
# The brightest spot is near the window's middle, but the influence as a whole lies about half a cell further up and to the left.
# That is near the middle of the cell's own block of 32 pixels.
# A likely reason: in a photo of 224 pixels the last window's middle is at 223.5, on the very edge, so in training it paid to look up and to the left.
# So what a cell *can* see and what it *uses* have different middles.
# You will need this in section 9.

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
show_numbers({"flattened": small_map.flatten()[None]}).set_size_inches(9.4, 1.5)
plt.show()

# %% [markdown]
# Each row of the weight matrix is as long as this row of numbers: one weight for each number.
# Put the weights back in the same places, and they are a kernel:

# %%
one_row = torch.tensor([1., 0, -1, 2, 0, -2, 0, 3, 0, 0, -3, 0])    # the weights of one output
kernel = one_row.view(2, 2, 3)                                  # (channels, height, width)
show_numbers({"one row of the weight matrix": one_row[None]}).set_size_inches(9.4, 1.5)
show_numbers({"the same as a kernel: channel 0": kernel[0], "channel 1": kernel[1]})
plt.show()

# %% [markdown]
# In VGG's case a kernel has 512 channels and is 7 high and 7 wide.
# On a 7 × 7 map it fits just once.
# On a larger map it can slide.
#
# And the layers after it?
# VGG has two more, `fc7` and `fc8`.
# Once `fc6` is a convolution, what `fc7` reads is one list of 4,096 numbers *for each place*, so `fc7` is the case of section 2: a 1×1 convolution.
# So is `fc8`.
#
# | layer of VGG-16 | weights | as a convolution | answers on 7 × 7 cells | on 14 × 21 cells |
# | --- | --- | --- | --- | --- |
# | `fc6` | (4096, 25088) | **7×7**: (4096, 512, 7, 7) | 1 × 1 | 8 × 15 |
# | `fc7` | (4096, 4096) | **1×1**: (4096, 4096, 1, 1) | 1 × 1 | 8 × 15 |
# | `fc8` | (1000, 4096) | **1×1**: (1000, 4096, 1, 1) | 1 × 1 | 8 × 15 |
#
# To see the big kernel at work, we train such a network ourselves.
# Its data come from **toyworld**, the small world of this course.
# In it we ask: *what lies under the middle of this 32 × 32 window?*
# Nothing, a sphere, crate, cylinder, cone or figure (a small person)?

# %%
from lib.datasets.toyworld import CLASSES, Toyworld
from lib.datasets.windows import class_map, cut_windows

world = Toyworld(split="train", length=600)
held_out = Toyworld(split="val", length=200)
train_windows, train_labels = cut_windows([world[i] for i in range(600)],
                                          size=32, count=6000, seed=0)
val_windows, val_labels = cut_windows([held_out[i] for i in range(200)],
                                      size=32, count=1200, seed=0)
names = ("nothing", *CLASSES)
print(f"{len(train_windows)} windows to train on, {len(val_windows)} to test on")
print("classes:", ", ".join(names))

# %%
examples = [train_windows[train_labels == label][example]
            for example in range(2) for label in range(6)]
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
def train(model: nn.Module, images: torch.Tensor, labels: torch.Tensor, steps: int,
          bar: bool = True) -> None:
    images, labels = images.to(device), labels.to(device)
    optimiser = torch.optim.Adam(model.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=5e-3, total_steps=steps)
    model.train()
    for _ in tqdm(range(steps), desc="training", disable=not bar):
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
print(f"right on ≈ {score:.0%} of new windows; guessing would give 17%")
assert score > 0.6

# %% [markdown]
# ### Exercise 5 · `flatten_fc_as_conv`
#
# *10 minutes · ★★☆*
#
# - `fc`: an `nn.Linear` that reads a flattened map, `channels · height · width` features in, K out.
# - `channels`, `height`, `width`: the map as it was before `flatten`.
# - Returns an `nn.Conv2d` whose kernel is as large as that map, with its own copy of the numbers, which can be trained.

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

# %% [markdown]
# First the whole head of VGG, made small: 8 channels instead of 512, 16 numbers instead of 4,096.
# One kernel of 7×7 and two of 1×1, from your two functions:

# %%
head = nn.Sequential(nn.Flatten(), nn.Linear(8 * 7 * 7, 16), nn.ReLU(),
                     nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 10))
fc6, fc7, fc8 = head[1], head[3], head[5]
convolutions = nn.Sequential(flatten_fc_as_conv(fc6, 8, 7, 7), nn.ReLU(),
                             linear_as_1x1_conv(fc7), nn.ReLU(), linear_as_1x1_conv(fc8))
one, larger = torch.rand(1, 8, 7, 7), torch.rand(1, 8, 14, 21)
print("equal on 7 × 7:", torch.allclose(convolutions(one).flatten(1), head(one), atol=1e-5))
print("on 14 × 21:", tuple(convolutions(larger).shape))

# %% [markdown]
# Then the network that we trained.

# %%
slider = nn.Sequential(backbone, flatten_fc_as_conv(fc, 48, 4, 4).to(device))
scene = held_out[3]
with torch.no_grad():
    one_window = slider(val_windows[:1].to(device))             # (1, 6, 1, 1)
    whole_scene = slider(scene.image[None].to(device))          # (1, 6, 17, 17)
print("on a window:", tuple(one_window.shape), " on a whole scene:", tuple(whole_scene.shape))

# %% [markdown]
# The same weights now take a whole scene.
#
# **Predict.**
# 17 × 17 answers: to which windows do they belong?
# And how close are they to what the old classifier says about those windows: roughly equal, or up to rounding?

# %% jupyter={"outputs_hidden": true}
crops = torch.stack([scene.image[:, row:row + 32, column:column + 32]
                     for row in range(0, 65, 4) for column in range(0, 65, 4)]).to(device)
with torch.no_grad():
    one_by_one = window_classifier(crops).T.view(6, 17, 17)     # (289, 6) -> (6, 17, 17)
difference = (whole_scene[0] - one_by_one).abs().max().item()
print(f"{len(crops)} windows, 4 pixels apart; equal to 1e-4: {difference < 1e-4}")
assert difference < 1e-4

# %% [markdown]
# Equal, up to rounding.
# Sliding the network is the *same computation* as cutting out every window, only done in one go.
# (That is exact because this network has no padding.
# With padding, a window that was cut out has zeros at its edge where the scene has a neighbourhood.)
#
# How much does that save?
# Neighbouring windows share 28 of their 32 columns, and the slider computes what they share once.

# %%
whole = scene.image[None].to(device)                            # (1, 3, 96, 96)
with torch.no_grad():
    slow = milliseconds(lambda: window_classifier(crops), repeats=10)
    fast = milliseconds(lambda: slider(whole), repeats=10)
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
titles = ["a new scene", "the slider: 25 × 25 answers", "the truth: 96 × 96"]
figure = show_images(pictures, titles, size=2.8)
patches = [Patch(color=colour, label=name) for name, colour in zip(names, colours.tolist())]
figure.legend(handles=patches, loc="outside lower center", ncols=6)
plt.show()

# %% [markdown]
# Look at the middle: a classifier of small windows, slid over a picture, has named the class at every place.
# That task is called **semantic segmentation**: the class of *every pixel*, where "semantic" means that classes are named, not single objects.
# It is coarse and wrong in places, but it is a segmentation.
# Any task with an answer at every place is called **dense prediction**.
#
# Now the name of the whole thing.
# Convolutions, poolings with a window, and functions of single numbers such as ReLU have two things in common.
# Each of their outputs looks at a window, and all places are treated alike.
# A network made of such layers only is itself one large sliding window.
# It is called **fully convolutional**, an FCN, and it takes pictures of any size (as long as one window fits).
# This is the step that the FCN paper took in 2015, and lessons 02 to 04 make it sharp.
#
# One thing has changed on the way.
# The mean of *this* score map is the mean of many windows' answers.
# It is not what the old network would have said of the scene, for that one cannot read a scene at all.
# Only a network that averages just before its one linear layer keeps its answer, as in section 2.

# %% [markdown]
# ## 7. For the curious: what a layer that flattens cannot see
#
# (This section stands alone; if you are short of time, go on with section 8.)
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
# - `order`: (H·W,), each of the numbers from 0 to H·W − 1 once.
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
show_images([*train_windows[chosen], *shuffled_train[chosen]], [*names, *[""] * 6],
            columns=6, size=1.5)
plt.show()

# %% [markdown]
# To you, the lower row is noise.
#
# **Predict**, for each of two networks trained on it from scratch: does it do as well as on the upper row, a bit worse, or no better than chance (17 %)?

# %%
def flattening_network() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 64), nn.BatchNorm1d(64), nn.ReLU(),
                         nn.Linear(64, 6)).to(device)


def convolutional_network() -> nn.Module:
    return nn.Sequential(make_backbone(), nn.Flatten(), nn.Linear(48 * 4 * 4, 6).to(device))

# %%
pixels = {"in place": (train_windows, val_windows), "shuffled": (shuffled_train, shuffled_val)}
results = {}                                                    # (network, pixels) -> accuracies
runs = [(make, kind, seed) for make in (flattening_network, convolutional_network)
        for kind in pixels for seed in range(3)]
for make, kind, seed in tqdm(runs, desc="twelve trainings"):
    images, test_images = pixels[kind]
    torch.manual_seed(seed)
    model = make()
    train(model, images, train_labels, steps=400, bar=False)
    right = accuracy(model, test_images, val_labels)
    results.setdefault((make.__name__, kind), []).append(right)

# %% jupyter={"outputs_hidden": true}
means = {}
for (network, kind), seeds in results.items():
    means[network, kind] = sum(seeds) / 3
    print(f"{network:<22} pixels {kind}:", "  ".join(f"≈ {score:.0%}" for score in seeds))

# %% jupyter={"outputs_hidden": true}
flat_cost, conv_cost = (100 * (means[network, "in place"] - means[network, "shuffled"])
                        for network in ("flattening_network", "convolutional_network"))
print(f"shuffling costs the flattening network ≈ {round(flat_cost)} points of 100")
print(f"shuffling costs the convolutional network ≈ {round(conv_cost)} points of 100")
lead = 100 * (means["convolutional_network", "in place"] - means["flattening_network", "in place"])
assert abs(flat_cost) < 5 and lead > 10 and conv_cost > lead / 2
assert means["convolutional_network", "shuffled"] > 0.3         # not yet guessing

# %% jupyter={"outputs_hidden": true}
figure, axis = plt.subplots(figsize=(7.5, 2.6), layout="constrained")
for (network, kind), seeds in results.items():
    colour = "#0072B2" if kind == "in place" else "#E69F00"
    axis.plot(seeds, [f"{network}, {kind}".replace("_", " ")] * 3, "o", color=colour, markersize=8,
              label=kind if network == "flattening_network" else None)
axis.axvline(1 / 6, color="grey", linestyle=":", label="guessing")
axis.set(xlim=(0, 0.8), ylim=(3.5, -0.5), xlabel="share of right answers on new windows",
         title="after 400 steps, three seeds each")
axis.legend()
plt.show()

# %% [markdown]
# The flattening network does not notice: to it, the two tables are the same.
# The convolutions lose more than half of their lead.
# (They do not fall all the way to guessing: shuffled pixels still have their colours, and this network's last layer flattens too,
# so it can learn some of the new places by heart.)
# And 400 steps are not the end.
# After 2,000 steps (one seed, measured once and not run here) the convolutions are right on 79 % of the windows in place and in 56 % shuffled,
# the flattening network in 54 % and 53 %: the gap grows.
#
# How much is lost depends on the task, and we chose one that shows it.
# The first that we tried was to name an object cut out along its box.
# There a convolutional network lost only a little: how *much* of the cut is object and how much is ground gives the shape away,
# and shuffling does not change amounts.
#
# That the flattening network *cannot* notice needs no experiment.
# Train it on pictures as they are, rearrange the **columns of its weights** in the same order, and it gives the same answers for shuffled pictures.
# The next cell does just that.

# %%
torch.manual_seed(0)
model = flattening_network()
train(model, train_windows, train_labels, steps=100)
before = model(val_windows.to(device))
columns = torch.cat([channel * 1024 + order for channel in range(3)])       # (3072,): where to
model[1].weight.data = model[1].weight.data[:, columns.to(device)]
after = model(shuffled_val.to(device))
print("same answers, to 1e-4:", torch.allclose(before, after, atol=1e-4))

# %% [markdown]
# No weights of a convolution can be rearranged to do this.
# This is also its strength: it does not have to *learn* that pictures have neighbourhoods.
# On pictures the assumption is true, and it pays: look how far apart the two blue rows of dots are.

# %% [markdown]
# ## 8. Look inside
#
# The explorer below holds every map of the network for Chelsea's photo.
# Choose a layer, then a view: one channel, the strongest ones, their mean, or all channels at once as colours.
# Click on the picture, or move with the arrow keys, to see what one cell sees and what it has to say.
#
# Cells are drawn around the middle of what they see, as section 5 says; hence the wide first column in the deeper layers.
#
# Three questions to explore with:
#
# 1. In which block can single whiskers no longer be seen? (All channels at once as colours, "PCA", show it best.)
# 2. Find a channel that is high on both eyes and nowhere else.
#    Which is the earliest layer that has one, and can it know what an eye is?
# 3. Pick the same place in every block.
#    When does what the cell *can* see become larger than the photo?

# %%
explorer = explore(net, prepare(photo), picture=photo)
explorer.layer = "blocks.2"
explorer.cell = (11, 9)                                         # on the left eye
explorer

# %% [markdown]
# <details><summary>What we found</summary>
#
# 1. In `blocks.1`, with 56 × 56 cells, the whiskers at the lower left are still single lines.
#    In `blocks.2`, with 28 × 28, they are one patch with a colour of its own.
#    The network still knows *that* there are whiskers, but no longer where each one is.
# 2. Channel 20 of `bn1` is high on both eyes and nearly nowhere else, in the very first stage.
#    But its cells see 3 × 3 pixels: it knows a dark green, not an eye.
#    The first such channel whose cells see a whole eye is channel 57 of `blocks.3` (147 × 147 pixels); channel 76 of `blocks.4` is another.
# 3. In `blocks.4`: there a cell sees 339 × 339 pixels, and the photo has 224 × 224.
#    In `blocks.3` it is 147 × 147.
# </details>

# %% [markdown]
# ## 9. Break it: does the heat follow the cat?
#
# If the heat map really shows *where*, it must move when the cat moves.
# Paste her at nine places on a grey canvas, and compare the centre of the heat with the centre of the cat.

# %%
cat = crop_square(load_photo("chelsea"), 160).to(device)


def heat_of(cat: torch.Tensor, top: int, left: int, side: int = 480) -> torch.Tensor:
    canvas = torch.full((3, side, side), 0.5, device=device)
    canvas[:, top:top + 160, left:left + 160] = cat
    features = net.forward_features(prepare(canvas))            # (1, 1280, h, w)
    return class_heatmap(features, net.classifier, 285)[0]


def centre_of(heat: torch.Tensor) -> torch.Tensor:
    strong = (heat - 0.3 * heat.max()).clamp(min=0)             # only cells that are clearly warm
    middles = torch.arange(15., device=device) * 32 + 31.5      # of the cells' windows, in pixels
    return (torch.stack([strong.sum(1) @ middles, strong.sum(0) @ middles]) / strong.sum()).cpu()

# %%
places = [(top, left) for top in (0, 160, 320) for left in (0, 160, 320)]
true_centres = torch.tensor(places) + 80.                       # (9, 2): row, column in pixels
heat_centres = torch.stack([centre_of(heat_of(cat, *place)) for place in places])
for axis, name in enumerate(("rows", "columns")):
    match = torch.corrcoef(torch.stack([true_centres[:, axis], heat_centres[:, axis]]))[0, 1]
    print(f"correlation of the {name}: {match:.3f}")
    assert match > 0.99

# %%
figure, axis = plt.subplots(figsize=(4.8, 5.2), layout="constrained")
rows, columns = true_centres.T
heat_rows, heat_columns = heat_centres.T
axis.plot(torch.stack([columns, heat_columns]), torch.stack([rows, heat_rows]), color="#E69F00")
axis.scatter(columns, rows, s=160, facecolors="none", edgecolors="black",
             label="centre of the cat")
axis.scatter(heat_columns, heat_rows, s=50, color="#E69F00", label="centre of the heat")
axis.set(xlim=(0, 480), ylim=(480, 0), xlabel="column, pixels", ylabel="row, pixels",
         title="the centres of nine cats and of their heat")
figure.legend(loc="outside lower center", ncols=2, frameon=False)
plt.show()

# %% [markdown]
# The heat follows the cat.
# But not exactly, and there are two things to explain.
# (For the curious: if you are short of time, go on at *Predict*, where the cat moves by a single pixel.)
#
# **The cat in the middle** has no border near her, and still her heat is not centred on her.
# Is that the cat (her face is not in the middle of her photo) or the network?
# Her mirror image tells: what belongs to the cat changes its sign, what belongs to the network does not.

# %%
mirrored = {"as she is": cat, "left and right swapped": cat.flip(2), "upside down": cat.flip(1)}
for name, shown in mirrored.items():
    down, right = (centre_of(heat_of(shown, 160, 160)) - 240).tolist()
    print(f"{name:<23} {down:+5.1f} pixels down, {right:+5.1f} to the right")

# %% [markdown]
# To the right it is about 12 pixels for her and for her mirror image, so that is the network.
# We have met it in section 5: what a cell uses lies to the left of its window's middle, so it finds a cat that lies to the left of it.
# Up and down it is both: −2 and +19 have a mean of 8, the network's share, and she herself adds 10 pixels upwards, where her face is.
# (This one is rough: the network has hardly ever been shown a cat upside down.)
#
# **The eight others.**
# Take the middle cat as the reference, and compare the others with her.

# %%
def pull_inwards(centres: torch.Tensor) -> torch.Tensor:
    offset = centres - true_centres                             # (9, 2): heat minus cat
    moved = true_centres != 240                                 # away from the canvas's middle
    return ((offset[4] - offset) * (true_centres - 240).sign())[moved]


pull = pull_inwards(heat_centres)
print(f"pulled inwards by {pull.mean():.1f} pixels on average, {pull.max():.1f} at most")

# %% [markdown]
# Their heat is pulled towards the middle of the canvas.
# Two causes suggest themselves.
# A map ends at the picture's edge, so the part of the heat that would lie outside is **cut off**, and what is left has its centre further in.
# And near the edge the layers see **padding**: zeros, which are no part of any cat.
#
# They can be separated.
# Put the cat on a canvas so large that no edge is near, and only *cut* her map to the 15 × 15 cells that the small canvas would have had.
# That is cutting without padding.

# %%
free = heat_of(cat, 480, 480, side=1120)                        # (35, 35), no edge near the cat
cuts = [free[15 - top // 32:30 - top // 32, 15 - left // 32:30 - left // 32]
        for top, left in places]
cut_pull = pull_inwards(torch.stack([centre_of(cut) for cut in cuts]))
print(f"by cutting alone: {cut_pull.mean():.1f} of the {pull.mean():.1f} pixels")
print(f"so by padding:    {pull.mean() - cut_pull.mean():.1f}")
assert pull.mean() > 8 and 0.3 < cut_pull.mean() / pull.mean() < 0.7

# %% [markdown]
# Half and half.
# Convolutions treat all places alike, except at the edge.
#
# **Predict.**
# Now move the cat by a single pixel to the right.
# Does the heat map move?
# And by 32 pixels?

# %% jupyter={"outputs_hidden": true}
start = heat_of(cat, 160, 160)
for pixels in (1, 8, 16, 24, 32):
    moved = heat_of(cat, 160, 160 + pixels)
    stayed = (moved - start).abs().mean()
    one_cell_on = (moved[:, 1:] - start[:, :-1]).abs().mean()
    print(f"{pixels:>2} pixels: {stayed:.2f} from the old map,",
          f"{one_cell_on:.2f} from the old map one cell on")

# %% jupyter={"outputs_hidden": true}
figure, axes = plt.subplots(1, 3, figsize=(9.4, 3.2), layout="constrained", sharey=True)
for axis, pixels in zip(axes, (0, 16, 32)):
    drawn = axis.imshow(heat_of(cat, 160, 160 + pixels).cpu(), cmap="magma", vmin=0, vmax=28)
    axis.set(title=f"cat moved by {pixels} pixels", xlabel="cell",
             xticks=range(2, 13, 2), yticks=range(2, 13, 2), xlim=(1.5, 12.5), ylim=(12.5, 1.5))
figure.colorbar(drawn, label="score for Egyptian cat")
plt.show()
assert one_cell_on < 0.3 * stayed                               # by 32 pixels, the last of the loop

# %% [markdown]
# After 32 pixels, one full stride, the map is the old one moved by one cell, nearly to the number (the padding keeps it from being exact).
# In between it does not move; its cells change their values, from the old map to the moved one.
# People say that convolutions are shift-equivariant: move the input, and the output moves along.
# With strides that is only true for whole strides.

# %% [markdown]
# ## 10. How coarse is it?
#
# The heat map has one cell per 32 × 32 pixels, because five layers have a stride of 2 and 2⁵ = 32.
# Could we not just use a larger photo, and get more cells?

# %%
scale_heats = []
for scale in (1, 2, 3):
    photo_at_scale = resize_photo(load_photo("chelsea"), 224 * scale, 320 * scale).to(device)
    features_at_scale = net.forward_features(prepare(photo_at_scale))
    scale_heats.append(class_heatmap(features_at_scale, net.classifier, 285)[0])

# %%
figure, axes = plt.subplots(1, 3, figsize=(9.4, 2.9), layout="constrained")
for axis, scale, heat in zip(axes, (1, 2, 3), scale_heats):
    drawn = axis.imshow(heat.cpu(), cmap="magma", vmin=0, vmax=22)
    rows, columns = heat.shape
    axis.set(title=f"{224 * scale} × {320 * scale} pixels: {rows} × {columns} cells\n"
                   f"mean score {heat.mean():.1f}, highest {heat.max():.1f}",
             xticks=[], yticks=[])
figure.colorbar(drawn, label="score for Egyptian cat")
plt.show()
means_by_scale = [heat.mean().item() for heat in scale_heats]
assert means_by_scale[0] > means_by_scale[1] > means_by_scale[2]
assert scale_heats[2].max() > scale_heats[0].max()              # some spots are hotter than ever

# %% [markdown]
# More cells, but not a sharper cat: the mean score falls, and the map breaks into spots, some of them hotter than ever.
# At three times the size a cell looks at a patch of fur, and fur alone is not a face: the network learned cats that fill 224 pixels.
# So a larger photo does not help to see the cat as a whole.
# What helps is to keep the knowledge of the coarse map and to bring back the resolution of the fine ones.
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
# In each pair, the numbers are the same; only their arrangement is different.
#
# **The words of this lesson.**
# *Backbone*: the part of a network that turns a picture into features.
# *Class activation map* (CAM): the score of one class at every cell.
# *Fully convolutional network* (FCN): made only of layers that look at a window and treat all places alike, so it takes any size.
# *Semantic segmentation*: the class of every pixel; *dense prediction*: any answer at every place.
# *Receptive field*: what a cell can see; *effective receptive field*: what it uses of that.
#
# **In papers and on GitHub:** *pointwise convolution* (1×1), *convolutionalize* (turn linear layers into convolutions), *GAP* (global average pooling),
# *CAM*, *logits* (scores), *output stride* (pixels for one cell of the last map), *padding* `"same"` and `"valid"`, *RF* and *ERF* (receptive field, effective),
# *translation equivariance* (section 9), *inductive bias* (what a layer assumes: section 7).
#
# **What the paper made of it.**
# Long, Shelhamer and Darrell turned AlexNet, VGG-16 and GoogLeNet into convolutions like this,
# put a 1×1 convolution with 21 outputs in the place of the last layer (the 20 classes of PASCAL VOC and background), and trained the whole on segmentation.
# They report that one pass over a 500 × 500 picture gives a 10 × 10 grid of AlexNet's answers in 22 ms, where a single 227 × 227 crop takes 1.2 ms:
# five times faster than a hundred crops.
# With the upsampling and the skips of the next two lessons they raised the best score on PASCAL VOC 2012 by a fifth, to 62.2.
# (The score is *mean IoU*, which lesson 03 explains.)
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
# What is the shape of the weight of the convolution that equals it?
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
# (a) nothing (b) the heat map (c) the classifier
#
# <details><summary>Answer</summary>
#
# **(a)** Both are the same scores.
# The heat map shows them place by place, the classifier averages them, and in an average the larger thing wins.
# (b) and (c) each doubt one of two numbers that you have proved equal in section 2.
# </details>
#
# ### Go on from here
#
# No check, and no single right answer.
#
# - **A class that is not there.**
#   `load_photo("astronaut")` shows a person, and ImageNet has no such class.
#   Crop her to 320 pixels, print the best eight classes, and draw the maps of three of them.
#   Expect *bobsled* and several helmets, and a map that shows which part of the photo each of these votes is about.
# - **A finer map without training.**
#   `net.blocks[5][0].conv_dw.stride = (1, 1)` leaves out the last of the five strides.
#   Expect 14 × 14 cells, a mean score that falls from 9.2 to 2.7, and *Egyptian cat* still first.
#   Why does the score fall?
#   (The layers after it now meet neighbours that lie 16 pixels apart, where they learned 32. `dilation` is the cure.)
# - **A maximum for the average.**
#   Let the classifier take the *highest* vote instead of the mean one.
#   What becomes of the rocket in the wide picture, and what of photos in which one cell is wrong?

# %%
progress("01")

# %% [markdown]
# **Next:** your heat maps have one cell for 32 × 32 pixels.
# Lesson 02 is about the way back up: how to make a small map large, and what can go wrong.
