# %% [markdown]
# # 02 · Upsampling: from a coarse map back to every pixel
#
# Lesson 01 ended with a heat map of 7 × 7 cells for a photo of 224 × 224 pixels.
# Making a small map large is called **upsampling**.
# Here you learn five ways to do it, and why one of the most popular can draw a **checkerboard** over its pictures.
# Below, two untrained networks, with random weights, make a small scene large.
# They differ only in the layers that enlarge; their results are drawn in grey.

# %%
import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from lib.datasets.toyworld import Toyworld
from lib.viz import show_images

# %%
scene = Toyworld(split="val", length=200)[3].image              # (3, 96, 96)
small_scene = F.interpolate(scene[None], scale_factor=0.25, mode="area")    # (1, 3, 24, 24)
torch.manual_seed(0)
stamping = nn.Sequential(nn.ConvTranspose2d(3, 16, 3, stride=2), nn.ReLU(),
                         nn.ConvTranspose2d(16, 3, 3, stride=2))
resizing = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(),
                         nn.Upsample(scale_factor=2), nn.Conv2d(16, 3, 3, padding=1))
with torch.no_grad():
    large = [network(small_scene)[0].mean(dim=0, keepdim=True) for network in (stamping, resizing)]
titles = ["input, 24 × 24", "transposed convolutions", "resize, then convolve, twice"]
show_images([small_scene[0], *large], titles, size=3)
plt.show()

# %% [markdown]
# **You will be able to**
#
# - say what bilinear interpolation does, down to the half pixel, and write its kernel;
# - compute a transposed convolution by hand in two ways, and its output size;
# - read off a kernel whether it draws a checkerboard, measure one, and avoid it.
#
# | | |
# | --- | --- |
# | Time | 80 minutes: 46 for the five exercises, the rest to read; about half a minute of computing on two cores |
# | Builds on | lesson 01: heat maps, kernel, stride and padding |
# | Papers | Long, Shelhamer & Darrell 2015, *Fully Convolutional Networks*, section 3.3 · Dumoulin & Visin 2016, *A guide to convolution arithmetic* · Odena, Dumoulin & Olah 2016, *Deconvolution and Checkerboard Artifacts* · Shi et al. 2016, *Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural Network* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.
# The output of a cell that answers a *Predict* is folded: click on it to open it.

# %%
from lib.datasets.folders import REPOSITORY
from lib.datasets.photos import crop_square, load_photo
from lib.device import choose_device
from lib.exercises import check, hint, progress, solution, use
from lib.layers.convolutionalize import class_heatmap
from lib.layers.upsampler import Upsampler, resized, transposed
from lib.ops.upsampling import checkerboard_energy
from lib.ops.receptive_field import ReceptiveField
from lib.pretrained import LAST_MAP_CELLS, efficientnet_lite0, prepare
from lib.timing import milliseconds
from lib.training import fit, load_checkpoint, toyworld_tensors
from lib.viz import draw_glow, explore, show_numbers
from lib.viz.basics.stamps import explore_stamps

device = choose_device()

# %% [markdown]
# ## 1. Copy, or mix
#
# This is where lesson 01 stopped: Chelsea, and how much each of 7 × 7 cells says *Egyptian cat*.

# %%
photo = crop_square(load_photo("chelsea"), 224)
net = efficientnet_lite0().requires_grad_(False)
heat = class_heatmap(net.forward_features(prepare(photo)), net.classifier, 285)     # (1, 7, 7)
draw_glow(photo, {"Egyptian cat": heat[0]}, cells=LAST_MAP_CELLS)      # placed as in lesson 01
plt.show()

# %% [markdown]
# A pixel inside a block gets the block's number.
# That is **nearest-neighbour** upsampling: copying.
# It makes up no new values, but it draws edges where there are none: two pixels side by side differ a lot only because a block ends between them.
#
# **Bilinear** upsampling mixes neighbouring cells instead.
# Which cells, and how much of each?
# Here is a row of 4 cells, and below it the 8 pixels that it should become.

# %%
figure, axis = plt.subplots(figsize=(8, 2), layout="constrained")
for cells, name, height, colour in ((4, "cells", 1, "#E69F00"), (8, "pixels", 0, "#56B4E9")):
    middles = (torch.arange(cells) + 0.5) * 8 / cells
    axis.hlines(height, 0, 8, color="lightgrey", linewidth=14)
    axis.vlines(torch.arange(cells + 1) * 8 / cells, height - 0.25, height + 0.25, color="black")
    axis.plot(middles, [height] * cells, "o", color=colour, label=f"middles of the {cells} {name}")
axis.set(yticks=[], ylim=(-0.6, 1.6), xlabel="place, in pixels",
         title="4 cells above the 8 pixels that they become")
axis.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
plt.show()

# %% [markdown]
# A cell is not a point but a stretch of the row, and its number belongs to its **middle**.
# The first pixel's middle is at 0.5, the first cell's at 1, the second cell's at 3.
# So no pixel's middle coincides with a cell's: every pixel is a mix of the two nearest cells.
#
# **Predict.**
# The pixel at 1.5 lies between the cells at 1 and 3.
# How much of the pixel's number comes from each?

# %% jupyter={"outputs_hidden": true}
row = torch.tensor([[[0., 4., 8., 4.]]])                        # (1, 1, 4)
print("cells: ", row[0, 0].tolist())
print("pixels:", F.interpolate(row, scale_factor=2, mode="linear")[0, 0].tolist())

# %% [markdown]
# Three quarters come from the nearer cell, one quarter from the farther: 0.75 · 0 + 0.25 · 4 = 1, the second number.
# Beyond the middles of the two end cells there is no second neighbour, and the end cell is repeated.
#
# There is another convention, `align_corners=True`.
# It puts the middle of the first cell on the middle of the first pixel, the last on the last, and spaces the others evenly in between.
# Does that move things?
# Put a peak two thirds along a row, enlarge the row, and see where it comes out.

# %%
peak = torch.zeros(1, 1, 8)
peak[0, 0, 5] = 1                                               # its middle is at 5.5 of 8
for aligned in (False, True):
    large_row = F.interpolate(peak, size=64, mode="linear", align_corners=aligned)[0, 0]
    place = (large_row * (torch.arange(64) + 0.5)).sum() / large_row.sum() / 8
    print(f"align_corners={aligned!s:<6} the peak at 5.5 comes out at {place:.2f}")

# %% [markdown]
# With `align_corners=True` it moved by a fifth of a cell.
# For cells of 32 pixels that is 6 pixels.
# This course always uses `False`, in which **a value belongs to the middle of its cell.**
# Papers call this convention *half-pixel centres*.

# %% [markdown]
# ## 2. Mixing is a convolution
#
# So far we asked what a pixel takes.
# Now ask what a cell gives: put a 1 into one cell, and 0 everywhere else.

# %%
single = torch.zeros(1, 1, 5, 5)
single[0, 0, 2, 2] = 1
spread = F.interpolate(single, scale_factor=2, mode="bilinear")[0, 0]       # (10, 10)
show_numbers({"what the middle cell gives to the pixels around it": spread[2:8, 2:8]})
plt.show()

# %% [markdown]
# It looks like a small tent of 4 × 4 pixels, and every cell of every map gives the same tent, times its value.
# The numbers are products: 0.25, 0.75, 0.75, 0.25 along the row, times the same four down the column.
# (In these tables a number is exact if four decimals are enough, and otherwise has three digits.)
#
# How large is the tent for other factors?
# Along a row it falls to 0 at a distance of `factor` pixels from the cell's middle, on both sides.
# For an even factor the cell's middle lies between two pixels, and 2 · factor pixels get something.
# For an odd factor it lies on a pixel, and the two pixels at a distance of exactly `factor` get 0: 2 · factor − 1 are left.
#
# ### Exercise 1 · `bilinear_kernel`
#
# *10 minutes · ★★☆*
#
# The tent for any factor.
#
# - `factor`: how many times larger the map becomes, a whole number.
# - Returns (k, k) float32 with k = 2 · factor − factor % 2.
#   Along an axis, a weight at distance d from the **middle** of the kernel is 1 − d / factor, d in pixels;
#   in the plane, it is the weight along the row times the weight along the column.
#
# For factor 2 it is the picture above.
# For factor 3 it is 5 wide, and the weight at its middle is 1.

# %% tags=["exercise"]
def bilinear_kernel(factor: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    side = 2 * factor - factor % 2
    distance = (torch.arange(side) - (side - 1) / 2).abs()      # from the middle of the kernel
    slope = 1 - distance / factor
    return torch.outer(slope, slope)
    ### END SOLUTION

# %%
check(bilinear_kernel)

# %% [markdown]
# <details><summary>Hint: where is the middle?</summary>
#
# Four weights are numbered 0, 1, 2, 3.
# Their middle is between 1 and 2.
# Five are numbered 0 to 4.
# Write a formula for both.
# </details>
# <details><summary>Hint: my kernel has a zero at its rim, or is not symmetric</summary>
#
# Print the distances of all weights from the middle.
# Read from either end they must be the same, and none may be as large as the factor.
# </details>

# %%
bilinear_kernel = use(bilinear_kernel)

# %%
show_numbers({f"factor {factor}": bilinear_kernel(factor) for factor in (2, 3)})
plt.show()

# %% [markdown]
# ## 3. Convolution, run backwards
#
# *Each cell stamps a kernel onto the large map, times its value; where stamps overlap, they add up.*
# This is called a **transposed convolution**.
# With the tent as the stamp, it interpolates.
# But the numbers of the stamp can be any, and so they can be **learned**, like those of any convolution.
# That is why it is used so much.
#
# Watch one being done, stamp by stamp: a map of 2 × 2 cells, a kernel of 3 × 3, and a **stride** of 2: 2 pixels from one stamp to the next.

# %%
cells = torch.tensor([[1., 2.], [3., 1.]])
stamp = torch.tensor([[1., 2., 1.], [2., 4., 2.], [1., 2., 1.]])
canvas, steps = torch.zeros(5, 5), {}
for row in range(2):
    for column in range(2):
        canvas[2 * row:2 * row + 3, 2 * column:2 * column + 3] += cells[row, column] * stamp
        steps[f"after cell ({row}, {column})"] = canvas.clone()
show_numbers({"the cells": cells, "the stamp": stamp})
show_numbers({title: steps[title] for title in list(steps)[:2]})
show_numbers({title: steps[title] for title in list(steps)[2:]})
plt.show()

# %% [markdown]
# In the middle column and in the middle row two stamps overlap, and at the pixel in the centre all four do.
# There, their numbers are added: 1 + 2 + 3 + 1 = 7.
#
# ### Exercise 2 · `transposed_conv_scatter`
#
# *12 minutes · ★★☆*
#
# The same, with batches and channels.
# Each input channel has a stamp for each output channel.
#
# - `x`: (B, C, h, w).
# - `weight`: (C, K, k, k), **input channels first**: `weight[c, o]` is what input channel c stamps onto output channel o.
# - `stride`: pixels from one stamp to the next.
# - Returns (B, K, H, W), exactly large enough for all stamps.
#
# Loops over rows and columns are welcome; `F.conv_transpose2d` is not.

# %% tags=["exercise"]
def transposed_conv_scatter(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    (batch, _, height, width), (_, channels, k, _) = x.shape, weight.shape
    out = x.new_zeros(batch, channels, (height - 1) * stride + k, (width - 1) * stride + k)
    for row in range(height):
        for column in range(width):
            stamp = torch.einsum("bc,coij->boij", x[:, :, row, column], weight)
            top, left = row * stride, column * stride
            out[:, :, top:top + k, left:left + k] += stamp
    return out
    ### END SOLUTION

# %%
check(transposed_conv_scatter)

# %% [markdown]
# <details><summary>Hint: how large is the result? Or: the last stamp does not fit</summary>
#
# The first stamp needs k pixels.
# How many does each further one add?
# </details>
# <details><summary>Hint: my overlaps are wrong</summary>
#
# Where two stamps meet, does the second replace the first, or is it added?
# </details>
# <details><summary>Hint: what does one cell stamp when there are many channels?</summary>
#
# The cell holds C numbers for each picture: (B, C).
# The stamp has the axes (C, K, k, k).
# The axis C is summed over, the others stay: write that down for `torch.einsum`.
# </details>

# %%
transposed_conv_scatter = use(transposed_conv_scatter)

# %%
torch.manual_seed(0)
x, weight = torch.randn(2, 3, 4, 5), torch.randn(3, 6, 3, 3)
ours, theirs = transposed_conv_scatter(x, weight, 2), F.conv_transpose2d(x, weight, stride=2)
same = torch.allclose(ours, theirs, atol=1e-5)
print("equal to F.conv_transpose2d:", same)
assert same

# %% [markdown]
# PyTorch's version also takes a `padding`.
# It does the opposite of an ordinary convolution's: that many rows and columns are **cut off** on all four sides at the end.
# So how large is the result?
#
# ### Exercise 3 · `transposed_size`
#
# *6 minutes · ★☆☆*
#
# - `size`: cells in a row; `kernel`, `stride`, `padding` of a transposed convolution.
# - Returns how many pixels come out.
#
# It undoes lesson 01's `feature_size`: a convolution with the same kernel, stride and padding turns the result into `size` cells again.

# %% tags=["exercise"]
def transposed_size(size: int, kernel: int, stride: int, padding: int) -> int:
    ### BEGIN SOLUTION
    return (size - 1) * stride + kernel - 2 * padding
    ### END SOLUTION

# %%
check(transposed_size)

# %% [markdown]
# <details><summary>Hint: I get too many, by one stride</summary>
#
# Draw three stamps.
# How many times did you move on by one stride?
# </details>
# <details><summary>Hint: it is right only without padding</summary>
#
# Padding is cut off here, not added.
# At how many ends?
# </details>

# %%
transposed_size = use(transposed_size)

# %%
for kernel, stride, padding in ((2, 2, 0), (3, 2, 1), (4, 2, 1), (64, 32, 16)):
    print(f"kernel {kernel:>2}, stride {stride:>2}, padding {padding:>2}: 7 cells become",
          transposed_size(7, kernel, stride, padding))

# %% [markdown]
# Kernel 2, and kernel 4 with padding 1, make the map exactly twice as large.
# With kernel 3 one pixel is missing.
# It has to be, for one of two cases: with kernel 3, stride 2 and padding 1, an ordinary convolution turns 13 pixels into 7 cells, and 14 pixels too.
# (Of 14 it leaves out only the zero that is padded at the far end.)
# On the way back from 7 cells somebody must say which of the two is wanted.
# This is what `output_padding` is for: 0 gives 13 pixels, 1 gives 14.
# The last line is FCN-32s: one single layer with a kernel of 64 × 64 takes 7 cells back to 224 pixels.
#
# Now put both halves together: a transposed convolution that stamps tents is bilinear upsampling.
# This is how the FCN paper **initialises** its upsampling layers: each starts as an interpolation, and those before the last may learn something better.

# %%
tent = bilinear_kernel(32)[None, None]                          # (1, 1, 64, 64)
by_stamps = F.conv_transpose2d(heat[None], tent, stride=32, padding=16)[0, 0]       # (224, 224)
by_interpolation = F.interpolate(heat[None], scale_factor=32, mode="bilinear")[0, 0]
inside = slice(16, -16)
difference = (by_stamps - by_interpolation)[inside, inside].abs().max()
print(f"equal to 1e-4 away from the rim: {difference < 1e-4}")
print(f"at the rim, they differ by up to {(by_stamps - by_interpolation).abs().max():.1f}")
assert difference < 1e-4

# %% [markdown]
# They differ only at the rim.
# There, the tents of neighbours that do not exist are missing, so the stamped map fades out, while interpolation repeats the last cell.

# %%
moved = ReceptiveField(size=32, stride=1, start=0)              # by 16 pixels, as in lesson 01
draw_glow(photo, {"Egyptian cat": by_stamps}, cells=moved)
plt.show()

# %% [markdown]
# A network that labels every pixel has not one such map but one for each of K classes, and its upsampling layer takes K channels to K channels.
# Its weight is (K, K, k, k): a stamp from every class to every class.
#
# **Predict.**
# For 21 classes and a kernel of 4 × 4 these are 21 · 21 · 16 = 7,056 numbers.
# How many of them are not 0 when the layer interpolates each class by itself?

# %% jupyter={"outputs_hidden": true}
layer = nn.ConvTranspose2d(21, 21, 4, stride=2, padding=1, bias=False)
own = torch.arange(21)
with torch.no_grad():
    layer.weight.zero_()
    layer.weight[own, own] = bilinear_kernel(2)                 # from each class to itself
    scores = torch.randn(1, 21, 6, 6)
    difference = layer(scores) - F.interpolate(scores, scale_factor=2, mode="bilinear")
same = (difference[..., 1:-1, 1:-1].abs().max() < 1e-5).item()
print(f"{layer.weight.count_nonzero()} of {layer.weight.numel():,} weights are not 0")
print(f"equal to bilinear upsampling away from the rim: {same}")
assert same

# %% [markdown]
# 21 · 16 = 336: the tents stand on the diagonal of the 21 × 21 stamps, and 95 % of the weights are 0.
# Training may fill them, and then one class's scores are moved by another's.

# %% [markdown]
# ## 4. The other view: gather instead of scatter
#
# On a GPU one would rather not stamp: stamps write to places that overlap, and processors that work at the same time would have to wait for one another.
# So ask from the output's side: *which cells reached this pixel, and with which part of their stamp?*
# Move the sliders.
# A cell and the part of its stamp that it gives have frames of the same colour.

# %%
explore_stamps(torch.arange(1., 10.).view(3, 3), torch.arange(1., 10.).view(3, 3), stride=2)

# %% [markdown]
# Some pixels are made by one cell, some by two, some by four: it depends on where the pixel lies between the stamps.
# We shall need this in section 5.
#
# A pixel gets the *right* part of the stamp of the cell on its left, and the *left* part of the stamp of the cell on its right; likewise for above and below.
# So a convolution that gathers needs the kernel **turned by half a turn**.
# And if the cells are written `stride` pixels apart, with zeros between them, it is an ordinary convolution that moves one pixel at a time.
#
# ### Exercise 4 · `transposed_conv_zero_insertion`
#
# *12 minutes · ★★★*
#
# - `x`, `weight`, `stride` and the result are those of exercise 2, but without a loop: insert zeros, then call `F.conv2d` once.

# %% tags=["exercise"]
def transposed_conv_zero_insertion(x: torch.Tensor, weight: torch.Tensor,
                                   stride: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    batch, channels, height, width = x.shape
    spread = x.new_zeros(batch, channels, (height - 1) * stride + 1, (width - 1) * stride + 1)
    spread[:, :, ::stride, ::stride] = x
    turned = weight.flip(2, 3).transpose(0, 1)                  # (C, K, k, k) -> (K, C, k, k)
    return F.conv2d(spread, turned, padding=weight.shape[2] - 1)
    ### END SOLUTION

# %%
check(transposed_conv_zero_insertion)

# %% [markdown]
# <details><summary>Hint: how do I insert zeros?</summary>
#
# Make a map of zeros of the right size, and write x into every `stride`-th row and column of it.
# A slice takes a step: `a[::3]`.
# </details>
# <details><summary>Hint: conv2d complains about channels</summary>
#
# `F.conv2d` wants its weight as (out, in, k, k).
# Yours is (in, out, k, k).
# </details>
# <details><summary>Hint: the size is too small</summary>
#
# Every place where the kernel touches the map at all must count, even with a single corner.
# How much padding allows that?
# </details>
# <details><summary>Hint: the right numbers, but mirrored</summary>
#
# Cells on the left give the right part of their stamp.
# </details>

# %%
transposed_conv_zero_insertion = use(transposed_conv_zero_insertion)

# %%
scattered = transposed_conv_scatter(x, weight, 2)
gathered = transposed_conv_zero_insertion(x, weight, 2)
same = torch.allclose(scattered, gathered, atol=1e-5)
print("scatter and gather agree:", same)
assert same

# %% [markdown]
# **Why "transposed"?**
# A convolution is a linear map, so it can be written as one large matrix.
# For a row of 5 pixels, the kernel (1, 2, 3) and a stride of 2, that matrix has 2 rows:

# %%
kernel = torch.tensor([1., 2., 3.])
pixels_to_cells = torch.zeros(2, 5)
for cell in range(2):
    pixels_to_cells[cell, 2 * cell:2 * cell + 3] = kernel
show_numbers({"convolution: 5 pixels to 2 cells": pixels_to_cells, "transposed": pixels_to_cells.T})
plt.show()

# %% [markdown]
# Read the right one column by column: each of the two cells stamps 1, 2, 3, two pixels apart.
# It goes from 2 numbers back to 5, but it is not the **inverse**: it does not bring the five pixels back.
# That is why "deconvolution", which you will meet in papers, is a poor name.
#
# You have used transposed convolutions before.
# When a convolution learns, the gradient travels back through it, from cells to pixels, and is multiplied by just this transposed matrix:

# %%
pixels = torch.randn(1, 1, 9, 9, requires_grad=True)
kernel = torch.randn(1, 1, 3, 3)
gradient_of_cells = torch.randn(1, 1, 4, 4)
F.conv2d(pixels, kernel, stride=2).backward(gradient_of_cells)
by_transposed = F.conv_transpose2d(gradient_of_cells, kernel, stride=2)         # (1, 1, 9, 9)
same = torch.allclose(pixels.grad, by_transposed, atol=1e-5)
print("the gradient of a convolution is a transposed convolution:", same)
assert same

# %% [markdown]
# ## 5. The checkerboard
#
# Back to the two pictures at the top of the lesson.
# Why does one of them have a pattern?
# Take away everything else: a map full of ones, a stamp full of ones.
# What comes out is the number of stamps on each pixel.
#
# **Predict.**
# Kernel 3, stride 2: is it the same number everywhere?
# And kernel 4, stride 2?

# %% jupyter={"outputs_hidden": true}
ones = torch.ones(1, 1, 3, 3)
counts = {f"kernel {k}, stride 2": transposed_conv_scatter(ones, torch.ones(1, 1, k, k), 2)[0, 0]
          for k in (3, 4)}
show_numbers(counts)
plt.show()

# %% [markdown]
# With kernel 3 the stamps overlap in every other row and column: 1, 2, 1, 2, and where such a row meets such a column, 4.
# With kernel 4 each pixel away from the rim gets four stamps.
# Nothing in the map asked for a pattern; it comes from the arithmetic: 2 divides 4, and it does not divide 3.
#
# But a stamp need not be full of ones.
# Look along one row, with any stamp (w0, w1, w2) and a stride of 2.
# Every other pixel gets w1 of one cell.
# The pixels between them get w0 of the cell on their right and w2 of the cell on their left.
# On a flat map all cells are equal, and so the row is flat again if **w0 + w2 = w1**.
#
# The general **rule**: number the weights from 0, and sort them by the remainder of their number when divided by the stride.
# A flat map comes out flat, away from the rim, if the weights of every remainder have the same sum.
# (In the plane, remainders of row and column together make stride · stride such sums; with many channels, each stamp has to obey.)
#
# **Predict.**
# Which of these five stamps leave a flat row flat?
# And which leave a rising row 0, 1, 2, 3 … straight?

# %% jupyter={"outputs_hidden": true}
rows = torch.stack([torch.ones(8), torch.arange(8.)])[:, None]  # flat and rising, (2, 1, 8)
for weights in ([1, 1, 1], [1, 2, 1], [1, 3, 2], [1, 3, 3, 1], [1, 2, 3, 4]):
    stamp_row = torch.tensor(weights, dtype=torch.float32)
    sums = [int(stamp_row[remainder::2].sum()) for remainder in range(2)]
    made = F.conv_transpose1d(rows, stamp_row[None, None], stride=2)            # (2, 1, 17)
    flat, rising = made[:, 0, 3:9].int().tolist()               # away from the rim
    print(f"{weights!s:<13} sums {sums[0]} and {sums[1]}:",
          f"  flat becomes {flat}   rising becomes {rising}")
    assert (len(set(flat)) == 1) == (sums[0] == sums[1])

# %% [markdown]
# So an odd kernel *can* be free of the pattern: [1, 2, 1], the stamp of section 3, obeys the rule.
# And a kernel that the stride divides can break it: [1, 2, 3, 4] does.
# What divisibility gives is that every remainder has **equally many** weights.
# Then weights that are all alike obey the rule.
# With kernel 3 one kind of pixel gets twice as many weights as the other (in the plane, up to four times), and training has to make up for that.
#
# The rule speaks of flat maps, and only of them.
# [1, 3, 2] obeys it, and yet a rising row comes out in uneven steps of 1 and 2, since its stamp leans to one side.
# [1, 2, 1] and the tent [1, 3, 3, 1] interpolate linearly, so they leave a straight line straight as well.
#
# Random weights obey no rule.
# In the plane there are then four kinds of pixels, made by four different sets of weights:

# %%
torch.manual_seed(0)
for k in (3, 4):
    random_stamp = torch.rand(1, 1, k, k)
    flat = transposed_conv_scatter(torch.ones(1, 1, 12, 12), random_stamp, 2)[0, 0, 4:-4, 4:-4]
    values = flat.round(decimals=3).unique()
    print(f"kernel {k}: a flat map comes out with {len(values)} different values")

# %% [markdown]
# ### The same pattern in gradients
#
# Section 4 proved that the gradient of a convolution is a transposed convolution.
# So a network needs no upsampling layer to have a checkerboard: a convolution with a stride can make one **on the way back**.
#
# **Predict.**
# A convolution of kernel 3 and stride 2, with weights that are all 1, and a gradient of 1 at each of its cells.
# Which pixels get the largest gradient?

# %% jupyter={"outputs_hidden": true}
for k in (3, 4):
    pixels = torch.rand(1, 1, k + 4, k + 4, requires_grad=True)         # 3 windows in a row
    F.conv2d(pixels, torch.ones(1, 1, k, k), stride=2).sum().backward()
    same = torch.equal(pixels.grad[0, 0], counts[f"kernel {k}, stride 2"])
    print(f"kernel {k}, stride 2: the gradients are the table of the stamps above: {same}")
    assert same

# %% [markdown]
# They are the tables that you have just seen, number by number.
# With kernel 3, of every four pixels one lies in four windows, two in two, and one in a single window.
# So how much is learned from a pixel depends on whether its row and column are even or odd.
# With kernel 4 all pixels away from the rim count the same.
# In pictures that are made by following gradients to the pixels, such as heat maps of what a network looks at, this grid can be seen.
# A trained network may even it out, since it can choose its weights.
# The EfficientNet of lesson 01 has five convolutions with a stride of 2, and their kernels are 3 or 5.
# Yet in this photo its four kinds of pixels get gradients that differ by less than a fifth:

# %%
pixels = prepare(photo).clone().requires_grad_()
net(pixels)[0, 285].backward()
strength = pixels.grad[0].abs().sum(dim=0)                      # (224, 224)
means = torch.stack([strength[row::2, column::2].mean() for row in range(2) for column in range(2)])
print("mean gradient of the four kinds of pixels, against that of all:",
      *(f"≈ {mean:.2f}" for mean in means / strength.mean()))
assert (means / strength.mean() - 1).abs().max() < 0.3

# %% [markdown]
# ### One way out: resize, then convolve
#
# Separate the two jobs.
# First make the map larger by copying, without any weights.
# Then let an ordinary convolution, which has the same weights for all pixels, do the learning.
#
# ### Exercise 5 · `resize_convolution`
#
# *6 minutes · ★☆☆*
#
# - `x`: (B, C, h, w); `factor`: how many times larger.
# - `weight`: (K, C, k, k), the weight of an ordinary convolution, k odd.
# - Returns (B, K, h · factor, w · factor): nearest-neighbour upsampling, then a convolution that keeps the size, with zeros around the map.

# %% tags=["exercise"]
def resize_convolution(x: torch.Tensor, weight: torch.Tensor, factor: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    large = F.interpolate(x, scale_factor=factor, mode="nearest")
    return F.conv2d(large, weight, padding=weight.shape[-1] // 2)
    ### END SOLUTION

# %%
check(resize_convolution)

# %% [markdown]
# <details><summary>Hint: the result is a little too small</summary>
#
# A kernel of 3 loses a pixel at each side, a kernel of 5 two.
# What brings them back?
# </details>
# <details><summary>Hint: the values differ a little, everywhere</summary>
#
# Which comes first, the larger map or the convolution?
# And does your resizing copy or mix?
# </details>

# %%
resize_convolution = use(resize_convolution)

# %%
torch.manual_seed(0)
flat = resize_convolution(torch.ones(1, 1, 12, 12), torch.rand(1, 1, 3, 3), 2)[0, 0, 4:-4, 4:-4]
values = flat.round(decimals=3).unique()
print(f"resize, then convolve: a flat map comes out with {len(values)} value")

# %% [markdown]
# ### The opposite: pixel shuffle
#
# One can also give each of the four kinds of pixels its own weights openly.
# A **sub-pixel convolution** makes 4 · K channels with an ordinary convolution on the *small* map,
# and **pixel shuffle** rearranges every four channels into 2 × 2 pixels.
# With a kernel of 3 it is a transposed convolution with a kernel of 6, and so just as free to draw a checkerboard:

# %%
x, weight = torch.randn(1, 5, 6, 6), torch.randn(4 * 2, 5, 3, 3)         # 5 channels to 2
shuffled = F.pixel_shuffle(F.conv2d(x, weight, padding=1), 2)                       # (1, 2, 12, 12)
stamp_6 = F.pixel_shuffle(weight.flip(2, 3).transpose(0, 1), 2)     # turned, shuffled: (5, 2, 6, 6)
same = torch.allclose(shuffled, F.conv_transpose2d(x, stamp_6, stride=2, padding=2), atol=1e-5)
print("a sub-pixel convolution is a transposed convolution:", same)
assert same

# %% [markdown]
# ### For the curious: back through a pooling
#
# Two relatives come from going back through a pooling.
# **Bed of nails** writes each value into one corner of its block and 0 elsewhere: those are the inserted zeros of exercise 4.
# **Max unpooling** (Noh et al. 2015, and SegNet) remembers where each maximum of a max pooling came from, and puts the value back there.
# In both, a convolution has to fill the zeros.

# %%
edges = photo.mean(dim=0)[None, None, 64:96, 40:72]             # an eye, (1, 1, 32, 32)
maxima, places = F.max_pool2d(edges, 4, return_indices=True)
back = F.max_unpool2d(maxima, places, 4)
titles = ["half an eye, 32 × 32", "its maxima, 8 × 8", "unpooled, 32 × 32"]
show_images([edges[0], maxima[0], back[0]], titles, size=2.2)
plt.show()

# %% [markdown]
# ## 6. Measure it
#
# How strong is the pattern in a picture that shows something else as well?
# Cut the picture into tiles of 4 × 4 pixels, and take the mean of all tiles.
# What belongs to the scene lies differently in each tile and averages out.
# What repeats every 4 pixels, or every 2, lies at the same place in all of them and stays.

# %%
def mean_tile(picture: torch.Tensor, side: int) -> torch.Tensor:
    inside = picture[:, 4:92, 4:92].mean(dim=0)                 # grey, without the rim: (88, 88)
    return inside.unflatten(1, (-1, side)).unflatten(0, (-1, side)).mean(dim=(0, 2))

# %%
with torch.no_grad():
    made = {"transposed convolutions": stamping(small_scene)[0, :, :96, :96],
            "resize, then convolve": resizing(small_scene)[0], "a real scene": scene}
tiles = {title: mean_tile(picture, 4) for title, picture in made.items()}
show_numbers({f"{title}\nin hundredths": (100 * (tile - tile.mean())).round(decimals=1)
              for title, tile in tiles.items()})
plt.show()

# %% [markdown]
# Each table is the mean tile, as differences from its own mean, in hundredths (0 is black and 100 is white in a scene).
# In the first, most numbers go up and down every 2 pixels: that comes from the second of its two layers.
# But columns 0 and 2 differ as well, and so do rows 0 and 2: that comes from the first layer, whose pattern is 4 pixels wide by then.
#
# As one number: the **share** of the picture's variance that its mean tile accounts for.
# 0 is no pattern, 1 is nothing but pattern.
# `checkerboard_energy` in `lib/ops/upsampling.py` computes it from the picture's frequencies, which comes to the same:

# %%
for title, picture in made.items():
    inside = picture[:, 4:92, 4:92].mean(dim=0)
    share = mean_tile(picture, 4).var(correction=0) / inside.var(correction=0)
    assert torch.allclose(share, checkerboard_energy(inside, 4), atol=1e-4)
    every_2, every_4 = (100 * checkerboard_energy(picture[:, 4:92, 4:92], period).mean()
                        for period in (2, 4))
    print(f"{title:<24} repeats every 2 pixels: {every_2:6.2g} %",
          f"  every 2 or 4 pixels: {every_4:6.2g} %")

# %% [markdown]
# Even the real scene does not have exactly 0: it is brighter at the top, in the sky, and so a little in the upper rows of each tile.
# So a network's pictures should be compared with the scenes, not with 0.
# From here on we count what repeats every 2 pixels.
#
# ## 7. Break it: does training remove it?
#
# Random weights are one thing.
# A network that is trained could learn to avoid the pattern.
# Let three networks learn the same task: make a scene of 96 × 96 out of its 24 × 24 version.
# They differ only in the two layers that double the map.

# %%
kinds = {"transposed, kernel 3": transposed(3), "transposed, kernel 4": transposed(4),
         "resize, convolve": resized}
print(Upsampler(kinds["transposed, kernel 3"]).layers)

# %%
train_scenes = toyworld_tensors(Toyworld("train", length=600))[0].to(device) / 255
val_scenes = toyworld_tensors(Toyworld("val", length=200))[0][:64].to(device) / 255

def batch() -> torch.Tensor:
    return train_scenes[torch.randint(len(train_scenes), (8,))]

def loss(model: nn.Module, scenes: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(model(scenes), scenes)

# %% [markdown]
# A result means little without something to compare it with.
# So the plain interpolations, which have no weights and are not trained, take part too.

# %%
def report(name: str, made: torch.Tensor) -> tuple[float, float]:
    """The mean squared error of pictures (64, 3, 96, 96), and the share of their pattern in %."""
    error = F.mse_loss(made, val_scenes).item()
    pattern = 100 * checkerboard_energy(made[..., 4:92, 4:92], 2).mean().item()
    print(f"{name:<41} error ≈ {error:.5f}   repeats every 2 pixels ≈ {pattern:.3f} %")
    return error, pattern

small_scenes = F.interpolate(val_scenes, scale_factor=0.25, mode="area")        # (64, 3, 24, 24)
interpolated = {mode: report(mode + ", no weights",
                             F.interpolate(small_scenes, scale_factor=4, mode=mode))
                for mode in ("nearest", "bilinear", "bicubic")}
_, of_scenes = report("the scenes themselves", val_scenes)

# %% [markdown]
# (**Bicubic** mixes 4 × 4 cells instead of 2 × 2, with weights on a curve instead of a straight line.
# And the blocks of nearest neighbour are 4 pixels wide here, so none of them repeats every 2.)
#
# **Predict.**
# After 150 steps of training, is the checkerboard of the transposed convolutions gone, smaller, or as strong as before?
# And which of the three networks has a smaller error than bilinear interpolation?

# %%
def train(doubling, loss, steps: int) -> nn.Module:
    torch.manual_seed(0)
    model = Upsampler(doubling).to(device)
    fit(model, batch, loss, steps=steps, learning_rate=5e-3, ema=None, seed=0, show=False)
    return model.requires_grad_(False)

# %% jupyter={"outputs_hidden": true}
early, measured = {}, {}
for name, doubling in kinds.items():
    torch.manual_seed(0)
    with torch.no_grad():
        report(f"{name}, untrained", Upsampler(doubling).to(device)(val_scenes))
    early[name] = train(doubling, loss, steps=150)
    measured[name] = report(f"{name}, 150 steps", early[name](val_scenes))
assert measured["resize, convolve"][1] < 0.3 * min(measured[name][1] for name in list(kinds)[:2])
assert min(measured[name][1] for name in list(kinds)[:2]) > 5 * of_scenes
assert min(error for error, _ in measured.values()) > 2 * interpolated["bilinear"][0]

# %% [markdown]
# Training works against the pattern: it falls from tens of percent to a few tenths of a percent.
# But after 150 steps it is still there, many times as strong as in the scenes, while the network that resizes hardly had it in the first place.
#
# It would be wrong to stop here.
# Look at the errors: all three are several times worse than bilinear interpolation.
# These networks have only begun to learn, and what they show is how they *begin*.
# So the same three were trained for longer, by three seeds each; every dot below is a whole training of its own, of 75 to 2,400 steps.
# (It took eleven minutes; `data/checkpoints/02_upsampler.py` does it again.)

# %%
files = {"transposed, kernel 3": "02_upsampler_kernel_3",
         "transposed, kernel 4": "02_upsampler_kernel_4", "resize, convolve": "02_upsampler_resize"}
late, runs = {}, {}
for name, file in files.items():
    late[name] = Upsampler(kinds[name])
    path = REPOSITORY / f"data/checkpoints/{file}.safetensors"
    runs[name] = load_checkpoint(late[name], path)["runs"]
    late[name].to(device).requires_grad_(False)

def of_seeds(name: str, steps: int, what: str) -> list[float]:
    return sorted(run[what] for run in runs[name] if run["steps"] == steps)

# %% jupyter={"source_hidden": true}
budgets = sorted({run["steps"] for run in runs["resize, convolve"]} - {0})
figure, axes = plt.subplots(1, 2, figsize=(9.4, 4), layout="constrained")
shown = (("error", 1, "mean squared error"),
         ("every 2", 100, "repeats every 2 pixels, % of variance"))
for axis, (what, factor, title) in zip(axes, shown):
    for name, colour in zip(kinds, ("#D55E00", "#CC79A7", "#0072B2")):
        values = factor * torch.tensor([of_seeds(name, steps, what) for steps in budgets])
        axis.fill_between(budgets, values[:, 0], values[:, 2], color=colour, alpha=0.2, linewidth=0)
        axis.plot(budgets, values[:, 1], "o-", color=colour, label=name)
    axis.set(xscale="log", yscale="log", xlabel="steps of training", title=title)
    axis.set_xticks(budgets, budgets)
    axis.minorticks_off()
for mode, style in (("bilinear", "--"), ("bicubic", ":")):
    axes[0].axhline(interpolated[mode][0], color="black", linestyle=style,
                    label=f"{mode}, no weights")
axes[0].set_yticks([0.002, 0.005, 0.01, 0.02], ["0.002", "0.005", "0.01", "0.02"])
axes[1].axhline(of_scenes, color="black", linestyle="-", linewidth=1, label="the scenes themselves")
axes[1].axvline(150, color="grey", linestyle=":")
axes[1].text(160, 0.0042, "where we stopped", color="grey", fontsize=9)
axes[1].set_yticks([0.01, 0.03, 0.1, 0.3, 1], ["0.01", "0.03", "0.1", "0.3", "1"])
for axis in axes:
    axis.legend(fontsize=9)
plt.show()

# %% [markdown]
# The line is the middle one of three seeds, the band reaches from the lowest to the highest.

# %%
for steps in (150, 600, 2400):
    for name in kinds:
        errors, patterns = of_seeds(name, steps, "error"), of_seeds(name, steps, "every 2")
        print(f"{steps:>5} steps, {name:<20} errors", *(f"{error:.5f}" for error in errors),
              "  pattern", *(f"{100 * pattern:.3f} %" for pattern in patterns))
assert all(of_seeds(name, 2400, "every 2")[-1] < 1.3 * of_scenes / 100 for name in kinds)
assert all(of_seeds(name, 2400, "error")[-1] < interpolated["bilinear"][0] for name in kinds)
assert all(of_seeds(name, 2400, "error")[0] > interpolated["bicubic"][0] for name in kinds)

# %% [markdown]
# So **training does remove the checkerboard, here**: after 2,400 steps all three networks have as little of it as the scenes themselves.
# By then the transposed convolutions with kernel 4 are nearly as good as resizing.
# But it goes slowly, and until then part of the training is spent on a fault that the resizing network never had:
# from 150 to 1,200 steps the middle one of its three runs is ahead.
#
# The curves show two more things.
# Only between 1,200 and 2,400 steps do all three beat bilinear interpolation, which learns nothing; none beats bicubic.
# And the resizing network is ahead per step, not per second, because it convolves the large map.
# For each cell of the small map and each pair of channels it multiplies 4 · 9 = 36 times, the transposed ones 9 and 16 times:

# %%
for name, model in late.items():
    print(f"{name:<21} ≈ {milliseconds(lambda: model(val_scenes[:8])):5.1f} ms for 8 scenes")

# %% [markdown]
# The *errors* as pictures, for a part of one scene, as the mean of the three channels: white is right, red is too bright, blue is too dark.

# %%
scene_3 = val_scenes[3:4]
errors = {f"{name}\n{steps} steps": (model(scene_3) - scene_3)[0, :, 30:62, 30:62].cpu()
          for steps, models in ((150, early), (2400, late)) for name, model in models.items()}
figure, axes = plt.subplots(2, 3, figsize=(9.4, 6.4), layout="constrained")
for axis, (title, error) in zip(axes.flat, errors.items()):
    drawn = axis.imshow(error.mean(dim=0), cmap="RdBu_r", vmin=-0.15, vmax=0.15)
    axis.set(title=title, xticks=[], yticks=[])
figure.colorbar(drawn, ax=axes, shrink=0.6, label="error")
plt.show()

# %% [markdown]
# Above, after 150 steps, the grid lies over nearly everything that the transposed convolutions made.
# Below, after 2,400, what is left are the outlines, which 24 × 24 pixels do not hold: there all three are wrong in the same places.
# In smooth places a faint trace of the grid is left, about as strong as what we measured in the scenes themselves.
#
# ### Why it went away
#
# The loss compares every pixel with its known value, so the pattern is an error like any other, and the gradient works on it until it is gone.
# Is that the reason?
# Take it away, and change nothing else: a loss that only sees the *means* of 2 × 2 pixels, in which a pattern of that size cancels.
#
# **Predict.**
# What becomes of the checkerboard now?

# %% jupyter={"outputs_hidden": true}
def blurred_loss(model: nn.Module, scenes: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(F.avg_pool2d(model(scenes), 2), F.avg_pool2d(scenes, 2))

blurred = {}
for name in ("transposed, kernel 4", "resize, convolve"):
    model = train(kinds[name], blurred_loss, steps=150)
    _, blurred[name] = report(f"{name}, 150 steps, blurred", model(val_scenes))
assert blurred["transposed, kernel 4"] > 10 and blurred["resize, convolve"] < 0.1

# %% [markdown]
# Nothing forces the pattern to go, and it does not.
# More training does not help: it was 37 % after 600 steps and 52 % after 2,400 (measured once each, not run here).
# Resizing has no pattern under the same loss, because it cannot easily draw one.
# Networks that *invent* pictures are in this position.
# In a GAN, a second network judges whether a picture looks real, and nothing pulls a single pixel to a known value.
#
# ### A second way out: start as a tent
#
# It is close to what the FCN paper does: keep the transposed convolution, but let each stamp start as a tent, here times one random number.
# A sum of tents obeys the rule, so at the start there is no pattern to unlearn.

# %%
def tents(channels: int, out: int) -> nn.Module:
    layer = transposed(4)(channels, out)
    mix = torch.randn(channels, out, 1, 1) * (2 / channels) ** 0.5
    layer.weight.data = mix * bilinear_kernel(2)                # (channels, out, 4, 4)
    return layer

from_tents = train(tents, loss, steps=150)(val_scenes)
_, pattern = report("kernel 4, began as tents, 150 steps", from_tents)
assert pattern < 0.3 * measured["transposed, kernel 4"][1]

# %% [markdown]
# ## 8. Look inside
#
# The explorer on the network with kernel 3, as it was after 150 steps.
# Go from layer to layer and watch for the grid: after the first transposed convolution it repeats every 2 cells.
#
# 1. Are there channels without any grid?
# 2. Which channels of `layers.2` have the strongest grid, and does the last layer show it?

# %%
explorer = explore(early["transposed, kernel 3"], val_scenes[3])
explorer.layer = "layers.2"
explorer

# %% jupyter={"outputs_hidden": true}
with torch.no_grad():
    maps = early["transposed, kernel 3"].layers[:3](small_scenes[3:4])[0]           # (16, 48, 48)
grids = 100 * checkerboard_energy(maps[:, 4:-4, 4:-4], 2)                           # (16,)
print(f"repeats every 2 cells, channel by channel: ≈ {grids.min():.0f} % to ≈ {grids.max():.0f} %")
assert grids.min() > 1 and grids.median() > 10

# %% [markdown]
# <details><summary>Answers</summary>
#
# 1. In `layers.2` none is free of it: the cell above measures each channel as in section 6, and most have a good part of their variance in the grid.
# 2. Nearly all of them show it to the eye; the last layer has learned to let most of it cancel.
# </details>
#
# ## 9. Recap
#
# - A flat map comes out flat if the weights of every remainder have the same sum.
# - A loss that sees every pixel removes the grid, slowly; one that cannot see it leaves it (more than 10 % of the variance, and with resizing less than 0.1 %).
# - Stamps that start as tents, or resizing first, have hardly any grid to begin with.
#
# | | weights | what it is good for | what to watch |
# | --- | --- | --- | --- |
# | nearest neighbour | none | labels, masks: it makes up no class | blocks |
# | bilinear | none (a fixed tent) | scores and heat maps; the thing to compare with | half pixels: `align_corners=False` |
# | transposed convolution | learned | anything | the checkerboard: let it start as a tent |
# | resize, then convolve | learned | pictures and features | 36 multiplications where kernel 4 needs 16 |
# | sub-pixel convolution (pixel shuffle) | learned | making photos larger; all the work is on the small map | the checkerboard, as above |
#
# **In papers and on GitHub:** *upsampling*; *nearest-neighbour*, *bilinear* and *bicubic interpolation*; *transposed convolution*, also called
# *deconvolution*, *fractionally strided convolution* or *up-convolution* (`ConvTranspose2d`); *checkerboard artifacts*;
# *resize-convolution* (`Upsample`, then `Conv2d`); *sub-pixel convolution* or *pixel shuffle* (`PixelShuffle`); *bed of nails*; *max unpooling* (`MaxUnpool2d`).
#
# **What the papers say.**
# In the FCN paper the upsampling layers start as tents; the last one stays fixed, and those inside the network go on learning.
# In the code that its authors released, all of them stay fixed (`lr_mult: 0`), in FCN-8s all three.
# Odena, Dumoulin and Olah described the checkerboard in 2016, on networks that invent pictures, and in gradients.
# They proposed to resize and then convolve.
# In U-Net (lesson 04), a transposed convolution with kernel 2 and stride 2 never overlaps at all;
# its four kinds of pixels still have four different weights.
#
# **What was simpler here.**
# Our networks enlarge scenes and know the right answer at every pixel; they are small, and have no direct way from the small picture to the large one.
#
# ### Three questions
#
# **1.**
# A transposed convolution has stride 2 and the stamp (w0, w1, w2) along each axis.
# For which weights does a flat map come out flat, away from the rim?
# (a) for none, because 2 does not divide 3 (b) only if all three are equal (c) if w0 + w2 = w1
#
# <details><summary>Answer</summary>
#
# **(c)** Every other pixel gets w1 alone, those between them get w0 and w2.
# (a) is true of stamps whose weights are all alike; that is what divisibility is about.
# (b) is the stamp of ones, which gives 1, 2, 1, 2.
# </details>
#
# **2.**
# You convolve a picture, and then apply the transposed convolution with the *same* kernel.
# What do you get?
# (a) in general, neither of these two (b) the picture (c) a blurred version of it
#
# <details><summary>Answer</summary>
#
# **(a)** A transposed matrix is not an inverse.
# (b) would need the inverse, which does not exist when the map has become smaller.
# (c) is what you see with smooth kernels that have only positive weights, such as the tent; with an edge detector you get edges of edges.
# </details>
#
# **3.**
# A map of *labels* (0 nothing, 1 sphere, 2 crate) must become larger.
# Which way?
# (a) bilinear (b) nearest neighbour (c) transposed convolution
#
# <details><summary>Answer</summary>
#
# **(b)** Between "nothing" (0) and "crate" (2), bilinear mixing would find a "sphere" (1) along every edge, and so would the stamps in (c).
# Class numbers must not be averaged; scores may be.
# </details>
#
# ### Go on from here
#
# There is no check for these.
#
# - Write a fourth kind with `nn.PixelShuffle` and train it for 150 and for 600 steps.
#   Expect a strong pattern at the start, as with any random stamps, and nearly the scenes' own value at 600.
# - Let a network learn only what has to be *added* to bilinear interpolation, with zeros for the weights of its last layer.
#   Expect an error below bilinear's after 150 steps, and below bicubic's after 600: it need not learn again what interpolation knows.
# - Find a stamp of 5 numbers for a stride of 3 that is free of the pattern and is not a tent, and let `F.conv_transpose1d` confirm it.
#   Then count how many of the 5 can be chosen freely.
#   Expect 3: two of the three sums must equal the third.

# %%
progress("02")

# %% [markdown]
# **Next:** you can make a heat map as large as the photo, but it stays as blurred as it was, because nothing here knows where the edge of the cat is.
# The network's earlier layers do, and lesson 03 uses them.
