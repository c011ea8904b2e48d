# %% [markdown]
# # 02 · Upsampling: from a coarse map back to every pixel
#
# Lesson 01 ended with a heat map of 7 × 7 cells for a photo of 224 × 224 pixels.
# Here you learn four ways to make a small map large, and why one of them, the most popular, draws a **checkerboard** over its pictures.
# Below, two networks with random weights make a small scene large.
# They differ only in the layers that enlarge.

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
titles = ["24 × 24", "transposed convolution", "resize, then convolution"]
show_images([small_scene[0], *large], titles, size=3)
plt.show()

# %% [markdown]
# **You will be able to**
#
# - say what bilinear interpolation does, down to the half pixel, and write its kernel;
# - compute a transposed convolution by hand in two ways, and its output size;
# - predict from kernel and stride where a checkerboard appears, measure it, and avoid it.
#
# | | |
# | --- | --- |
# | Time | 45 minutes to read and do, about half a minute of computing on two cores |
# | Builds on | lesson 01: heat maps, kernel, stride and padding |
# | Papers | Long, Shelhamer & Darrell 2015, *Fully Convolutional Networks*, section 3.3 · Dumoulin & Visin 2016, *A guide to convolution arithmetic* · Odena, Dumoulin & Olah 2016, *Deconvolution and Checkerboard Artifacts* |

# %%
from lib.datasets.photos import crop_square, load_photo
from lib.device import choose_device
from lib.exercises import check, progress, use
from lib.layers.convolutionalize import class_heatmap
from lib.pretrained import efficientnet_lite0, prepare
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
draw_glow(photo, {"Egyptian cat": heat[0]})
plt.show()

# %% [markdown]
# A pixel inside a block gets the block's number.
# That is **nearest-neighbour** upsampling: copying.
# It invents nothing, but it draws edges where there are none: two pixels side by side differ a lot just because a block ends between them.
#
# **Bilinear** upsampling mixes instead.
# But between what?
# Draw a row of 4 cells above the 8 pixels that it should become.

# %%
figure, axis = plt.subplots(figsize=(8, 1.8), layout="constrained")
for cells, height, colour in ((4, 1, "#E69F00"), (8, 0, "#56B4E9")):
    middles = (torch.arange(cells) + 0.5) * 8 / cells
    axis.hlines(height, 0, 8, color="lightgrey", linewidth=14)
    axis.vlines(torch.arange(cells + 1) * 8 / cells, height - 0.25, height + 0.25, color="black")
    axis.plot(middles, [height] * cells, "o", color=colour, label=f"middles of {cells}")
axis.set(yticks=[], ylim=(-0.6, 1.6), xlabel="place, in pixels")
axis.legend(loc="upper right", bbox_to_anchor=(1.22, 1))
plt.show()

# %% [markdown]
# A cell is not a point but a piece of the row, and its number belongs to its **middle**.
# The first pixel's middle is at 0.5, the first cell's at 1, the second cell's at 3.
# So no pixel's middle coincides with a cell's: every pixel is a mix of the two nearest cells.
#
# **Predict.**
# The pixel at 1.5 lies between the cells at 1 and 3.
# Which shares do they get?

# %%
row = torch.tensor([[[0., 4., 8., 4.]]])                        # (1, 1, 4)
print("cells: ", row[0, 0].tolist())
print("pixels:", F.interpolate(row, scale_factor=2, mode="linear")[0, 0].tolist())

# %% [markdown]
# Three quarters of the nearer, one quarter of the farther: 0.75 · 0 + 0.25 · 4 = 1, the second number.
# At both ends there is no neighbour to mix with, and the end cell is repeated.
#
# There is another convention, `align_corners=True`.
# It puts the first cell on the first pixel and the last on the last, and stretches what is between.
# It looks harmless.
# Measure what it does to a place: put a peak two thirds along a row, enlarge the row, and see where it comes out.

# %%
peak = torch.zeros(1, 1, 8)
peak[0, 0, 5] = 1                                               # its middle is at 5.5 of 8
for aligned in (False, True):
    large_row = F.interpolate(peak, size=64, mode="linear", align_corners=aligned)[0, 0]
    place = (large_row * (torch.arange(64) + 0.5)).sum() / large_row.sum() / 8
    print(f"align_corners={aligned!s:<6} the peak at 5.5 comes out at {place:.2f}")

# %% [markdown]
# With `align_corners=True` it moved by a fifth of a cell.
# For a stride of 32 that is 6 pixels, the width of a far-away cone.
# This course always uses `False`: **a value belongs to the middle of its cell.**

# %% [markdown]
# ## 2. Mixing is a convolution
#
# Look at bilinear upsampling from the other side.
# Not *what does a pixel take*, but *what does a cell give*: put a 1 into one cell, and 0 everywhere else.

# %%
single = torch.zeros(1, 1, 5, 5)
single[0, 0, 2, 2] = 1
spread = F.interpolate(single, scale_factor=2, mode="bilinear")[0, 0]       # (10, 10)
show_numbers({"what the middle cell gives to the pixels": spread})
plt.show()

# %% [markdown]
# It is a little tent, 4 × 4 pixels, and every cell of every map gives the same tent, times its value.
# The numbers are products: 0.25 and 0.75 along the row, times 0.25 and 0.75 down the column.
#
# ### Exercise 1 · `bilinear_kernel`
#
# *10 minutes · ★★☆*
#
# The tent for any factor.
#
# - `factor`: how many times larger the map becomes, a whole number.
# - Returns (k, k) float32 with k = 2 · factor − factor % 2.
#   Along an axis, the weights fall in a straight line by 1/factor a pixel, the same way on both sides of the kernel's **middle**;
#   in the plane, weight of the row times weight of the column.
#
# For factor 2 it is the picture above.
# For factor 3 it is 5 wide, and its middle is 1.

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
# They must be the same read from both ends, and none may be as large as the factor.
# </details>

# %%
bilinear_kernel = use(bilinear_kernel)

# %%
show_numbers({f"factor {factor}": bilinear_kernel(factor) for factor in (2, 3, 4)})
plt.show()

# %% [markdown]
# ## 3. Convolution, run backwards
#
# *Each cell stamps a kernel onto the large map, times its value; where stamps overlap, they add up.*
# This is called a **transposed convolution**.
# With the tent as the stamp, it interpolates.
# But the stamp can be any numbers, so it can be **learned**.
# That made it famous.
#
# Watch one being done, stamp by stamp: a map of 2 × 2 cells, a kernel of 3 × 3, and 2 pixels from one stamp to the next.

# %%
cells = torch.tensor([[1., 2.], [3., 0.]])
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
# Follow the middle column: there, two stamps overlap, and their numbers are added.
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
# - Returns (B, K, H, W), just large enough for all stamps.
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
# <details><summary>Hint: how large is the result?</summary>
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
# PyTorch's version takes a `padding` too.
# It means the opposite of what you are used to: that many rows and columns are **cut off** all around at the end.
# So how large is the result?
#
# ### Exercise 3 · `transposed_size`
#
# *6 minutes · ★☆☆*
#
# - `size`: cells in a row; `kernel`, `stride`, `padding` of a transposed convolution.
# - Returns how many pixels come out.
#
# It should undo lesson 01's `feature_size`: a convolution with the same kernel, stride and padding turns the result back into `size` cells.

# %% tags=["exercise"]
def transposed_size(size: int, kernel: int, stride: int, padding: int) -> int:
    ### BEGIN SOLUTION
    return (size - 1) * stride + kernel - 2 * padding
    ### END SOLUTION

# %%
check(transposed_size)

# %% [markdown]
# <details><summary>Hint: I get too many, by exactly one stride or so</summary>
#
# Draw three stamps.
# How many times did you move on by one stride?
# </details>
# <details><summary>Hint: it is right without padding only</summary>
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
# Twice as large exactly: kernel 2 or kernel 4 with padding 1.
# With kernel 3, one pixel is missing (`output_padding=1` adds it).
# And the last line is FCN-32s: one single layer with a kernel of 64 × 64 takes 7 cells back to 224 pixels.
#
# Now put both halves together: a transposed convolution that stamps tents is bilinear upsampling.
# This is how the FCN paper **initialises** its upsampling layers: it begins with an interpolation, and may learn something better.

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
# At the rim the tents of neighbours that do not exist are missing, so the stamped map fades out, while interpolation repeats the last cell.
# That is the whole difference.

# %%
draw_glow(photo, {"Egyptian cat": by_stamps})
plt.show()

# %% [markdown]
# ## 4. The other view: gather instead of scatter
#
# A network library does not stamp.
# Stamps write to overlapping places, and parallel processors hate that.
# Ask from the output's side instead: *which cells reached this pixel, and with which part of their stamp?*
# Move the sliders.

# %%
explore_stamps(torch.arange(1., 10.).view(3, 3), stamp / 4, stride=2)

# %% [markdown]
# Some pixels are made by one cell, some by two, some by four: it depends on where the pixel lies between the stamps.
# Remember this for section 5.
#
# Follow one pixel as it moves to the right.
# The part of the stamp that reaches it moves to the *right* too, so seen from the pixel, cells on its **left** give the **right** part of their stamp.
# A convolution that gathers like this uses the kernel **turned by half a turn**.
# And if we write the cells far apart, `stride` pixels from each other with zeros between them, it is an ordinary convolution that moves one pixel at a time.
#
# ### Exercise 4 · `transposed_conv_zero_insertion`
#
# *12 minutes · ★★★*
#
# - `x`, `weight`, `stride` and the result as in exercise 2, but no loop: insert zeros, then call `F.conv2d` once.

# %% tags=["exercise"]
def transposed_conv_zero_insertion(x: torch.Tensor, weight: torch.Tensor, stride: int) -> torch.Tensor:
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
scattered, gathered = transposed_conv_scatter(x, weight, 2), transposed_conv_zero_insertion(x, weight, 2)
same = torch.allclose(scattered, gathered, atol=1e-5)
print("scatter and gather agree:", same)
assert same

# %% [markdown]
# **Why "transposed"?**
# A convolution is a linear map, so it can be written as one large matrix.
# For a row of 5 pixels, a kernel of 3 and a stride of 2, that matrix has 2 rows:

# %%
kernel = torch.tensor([1., 2., 3.])
pixels_to_cells = torch.zeros(2, 5)
for cell in range(2):
    pixels_to_cells[cell, 2 * cell:2 * cell + 3] = kernel
show_numbers({"convolution: 5 pixels to 2 cells": pixels_to_cells, "transposed": pixels_to_cells.T})
plt.show()

# %% [markdown]
# Read the right one column by column: each of the two cells stamps 1, 2, 3, two pixels apart.
# It has the *shape* that goes backwards.
# It is not the **inverse**: it does not bring the five pixels back.
# That is why "deconvolution", which you will meet in papers, is a poor name.
#
# You have used it all along.
# When a convolution learns, the gradient travels back through it, from cells to pixels.
# That is exactly this matrix:

# %%
pixels = torch.randn(1, 1, 9, 9, requires_grad=True)
kernel = torch.randn(1, 1, 3, 3)
gradient_of_cells = torch.randn(1, 1, 4, 4)
F.conv2d(pixels, kernel, stride=2).backward(gradient_of_cells)
same = torch.allclose(pixels.grad, F.conv_transpose2d(gradient_of_cells, kernel, stride=2), atol=1e-5)
print("the gradient of a convolution is a transposed convolution:", same)
assert same

# %% [markdown]
# ## 5. The checkerboard
#
# Back to the two pictures at the top.
# Why does one of them have a pattern?
# Take everything away that could be interesting: a map full of ones, a stamp full of ones.
# What comes out is the number of stamps on each pixel.
#
# **Predict.**
# Kernel 3, stride 2: is it the same number everywhere?
# And kernel 4, stride 2?

# %%
ones = torch.ones(1, 1, 4, 4)
counts = {f"kernel {k}, stride 2": transposed_conv_scatter(ones, torch.ones(1, 1, k, k), 2)[0, 0] for k in (3, 4)}
show_numbers(counts)
plt.show()

# %% [markdown]
# With kernel 3 the stamps overlap in every other row and column: 1, 2, 1, 2, and where such a row meets such a column, 4.
# Nobody asked for a pattern.
# It comes from the arithmetic: **2 does not divide 3**.
# With kernel 4 each pixel in the inside gets four stamps.
#
# So is a kernel that the stride divides safe?
# Look again with a stamp that is not full of ones.
# Pixels of different kinds are then made by different weights, which happen to be equal only in special stamps like the tent.

# %%
torch.manual_seed(0)
for k in (3, 4):
    random_stamp = torch.rand(1, 1, k, k)
    flat = transposed_conv_scatter(torch.ones(1, 1, 12, 12), random_stamp, 2)[0, 0, 4:-4, 4:-4]
    print(f"kernel {k}: a flat map comes out with {len(flat.round(decimals=3).unique())} different values")

# %% [markdown]
# Four values for four kinds of pixels, either way.
# An even kernel *can* be free of the pattern, an uneven one can hardly be.
#
# ### The cure: resize, then convolve
#
# Separate the two jobs.
# First make the map larger by copying, without any weights.
# Then let an ordinary convolution, which treats all pixels alike, do the learning.
#
# ### Exercise 5 · `resize_convolution`
#
# *6 minutes · ★☆☆*
#
# - `x`: (B, C, h, w); `factor`: how many times larger.
# - `weight`: (K, C, k, k), the weight of an ordinary convolution, k odd.
# - Returns (B, K, h · factor, w · factor): nearest-neighbour upsampling, then a convolution that keeps the size.

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
# What gives them back?
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
print(f"resize, then convolve: a flat map comes out with {len(flat.round(decimals=3).unique())} value")

# %% [markdown]
# ## 6. Measure it
#
# "I see a pattern" is not a measurement.
# A pattern that repeats every 2 pixels is a *frequency*, and a Fourier transform shows frequencies:
# in the picture of a spectrum, slow changes are in the middle, and the fastest possible one, up and down from pixel to pixel, is at the edge.

# %%
def spectrum(picture: torch.Tensor) -> torch.Tensor:
    strength = torch.fft.fftshift(torch.fft.fft2(picture[..., 4:92, 4:92]).abs(), dim=(-2, -1))
    return strength.mean(dim=0).log()                           # (C, 88, 88) -> (88, 88)

# %%
with torch.no_grad():
    made = {"transposed convolution": stamping(small_scene)[0, :, :96, :96],
            "resize, then convolution": resizing(small_scene)[0], "a real scene": scene}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.3), layout="constrained")
for axis, (title, picture) in zip(axes, made.items()):
    axis.imshow(spectrum(picture))
    axis.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The bright dots in the first one sit at the edges and corners (every 2 pixels) and halfway to them (every 4, from the first of the two layers).
# The scene itself has none.
#
# As a number: the share of a picture's variation that sits on those dots.
# `checkerboard_energy` in `lib/ops/upsampling.py` adds them up.

# %%
from lib.ops.upsampling import checkerboard_energy

for title, picture in made.items():
    share = checkerboard_energy(picture[..., 4:92, 4:92], 2).mean()
    print(f"{title:<25} {100 * share:7.3f} % of all variation repeats every 2 pixels")

# %% [markdown]
# ## 7. Break it: does training remove it?
#
# Random weights are one thing.
# A network that is *trained* could learn to avoid the pattern.
# Let both kinds learn the same task: make a scene of 96 × 96 out of its 24 × 24 version.
#
# **Predict.**
# After 200 steps: is the checkerboard of the transposed convolutions gone, smaller, or as strong as before?

# %%
from lib.training.fit import fit

def pictures(split: str, count: int) -> torch.Tensor:
    world = Toyworld(split=split, length=count)
    return torch.stack([world[i].image for i in range(count)])

train_scenes, val_scenes = pictures("train", 600), pictures("val", 200)[:64].to(device)

# %%
class Upsampler(nn.Module):
    """24 × 24 to 96 × 96 in two steps, each of them `make(channels in, channels out)`."""

    def __init__(self, make) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(),
                                    make(32, 16), nn.ReLU(), make(16, 3))

    def forward(self, scenes: torch.Tensor) -> torch.Tensor:
        return self.layers(F.interpolate(scenes, scale_factor=0.25, mode="area"))

# %%
makers = {
    "transposed, kernel 3": lambda i, o: nn.ConvTranspose2d(i, o, 3, 2, padding=1, output_padding=1),
    "transposed, kernel 4": lambda i, o: nn.ConvTranspose2d(i, o, 4, 2, padding=1),
    "resize, convolve": lambda i, o: nn.Sequential(nn.Upsample(scale_factor=2),
                                                   nn.Conv2d(i, o, 3, padding=1)),
}

# %%
@torch.no_grad()
def checkerboard(model: nn.Module) -> float:
    return checkerboard_energy(model(val_scenes)[..., 4:92, 4:92], 2).mean().item()

def batch() -> torch.Tensor:
    return train_scenes[torch.randint(len(train_scenes), (8,))]

def loss(model: nn.Module, scenes: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(model(scenes), scenes)

# %%
before, after, trained = {}, {}, {}
for name, make in makers.items():
    for seed in range(2):
        torch.manual_seed(seed)
        model = Upsampler(make).to(device)
        before.setdefault(name, []).append(checkerboard(model))
        fit(model, batch, loss, steps=200, learning_rate=5e-3, ema=None, seed=seed, show=False)
        after.setdefault(name, []).append(checkerboard(model))
        trained[name] = model

# %%
truth = checkerboard_energy(val_scenes[..., 4:92, 4:92], 2).mean().item()
print(f"the scenes themselves: {100 * truth:.3f} %")
for name in makers:
    first, last = (" ".join(f"≈ {100 * share:.3f}" for share in shares[name]) for shares in (before, after))
    print(f"{name:<21} untrained {first} %, trained {last} %")
worst_cure, best_stamp = max(after["resize, convolve"]), min(after["transposed, kernel 3"])
assert worst_cure < 0.5 * best_stamp

# %% [markdown]
# Training works against the pattern: many percent of everything become a few tenths of a percent.
# But it does not remove it, and the networks that resize hardly had it to begin with: they end close to the scenes' own value.
# A few tenths of a percent sound like nothing.
# Enlarge the *difference* between a result and the truth, and it is all over the picture:

# %%
with torch.no_grad():
    errors = [(model(val_scenes[3:4]) - val_scenes[3:4])[0, :, 30:62, 30:62] for model in trained.values()]
show_images([(0.5 + 4 * error.cpu()).clamp(0, 1) for error in errors], list(trained), columns=3, size=2.9)
plt.show()

# %% [markdown]
# ## 8. Look inside
#
# The explorer on the trained network with kernel 3.
# Go from layer to layer and watch for the grid: after the first transposed convolution it repeats every 2 cells.
#
# 1. Are there channels without any grid?
# 2. Pick a cell right after the second transposed convolution, and move it by one pixel at a time.
#    What happens to the part of the picture that it sees?

# %%
explorer = explore(trained["transposed, kernel 3"], val_scenes[3])
explorer.layer = "layers.2"
explorer

# %% [markdown]
# ## 9. Recap
#
# | | weights | what it is good for | what to watch |
# | --- | --- | --- | --- |
# | nearest neighbour | none | labels, masks: it never invents a class | blocks |
# | bilinear | none (a fixed tent) | scores and heat maps | half pixels: `align_corners=False` |
# | transposed convolution | learned | anything, if it begins as a tent | the checkerboard |
# | resize, then convolve | learned | pictures and features | more work: it convolves the large map |
#
# A fifth way belongs to the same family.
# **Unpooling** (Noh et al. 2015, and SegNet) remembers where each maximum of a pooling came from, and puts values back just there.
# The rest stays 0, for a convolution to fill.

# %%
edges = photo.mean(dim=0)[None, None, 64:96, 40:72]             # an eye, (1, 1, 32, 32)
maxima, places = F.max_pool2d(edges, 4, return_indices=True)
back = F.max_unpool2d(maxima, places, 4)
show_images([edges[0], maxima[0], back[0]], ["32 × 32", "its maxima, 8 × 8", "unpooled"], size=2.2)
plt.show()

# %% [markdown]
# **What the papers say.**
# The FCN paper upsamples its scores with transposed convolutions that begin as tents; in the released networks the last of them even stays fixed.
# Odena, Dumoulin and Olah described the checkerboard in 2016, on networks that generate pictures, and proposed to resize and then convolve.
# In U-Net (lesson 04), a transposed convolution with kernel 2 and stride 2 never overlaps at all;
# its four kinds of pixels still have four different sets of weights.
#
# **What was simpler here.**
# Our networks enlarge scenes, they do not invent them; in generative networks the pattern is stronger, because nothing pulls single pixels to a known value.
#
# ### Three questions
#
# **1.**
# A transposed convolution has kernel 4, stride 4, and no padding.
# How many stamps reach a pixel?
# (a) 1 (b) 4 (c) 16
#
# <details><summary>Answer</summary>
#
# **(a)** The stamps lie side by side, without overlap.
# (b) would be kernel 8 with stride 4: two in each direction.
# (c) is the number of weights in one stamp.
# </details>
#
# **2.**
# You convolve a picture, and then apply the transposed convolution with the *same* kernel.
# What do you get?
# (a) the picture (b) a blurred version of it (c) neither, in general
#
# <details><summary>Answer</summary>
#
# **(c)** A transposed matrix is not an inverse.
# (a) would need the inverse, which does not exist when the map has become smaller.
# (b) is what you see with smooth kernels that have only positive weights, such as the tent; with an edge detector you get edges of edges.
# </details>
#
# **3.**
# A map of *labels* (0 nothing, 1 sphere, 2 box) must become larger.
# Which way?
# (a) bilinear (b) nearest neighbour (c) transposed convolution
#
# <details><summary>Answer</summary>
#
# **(b)** Between "nothing" (0) and "crate" (2), bilinear mixing would find a "sphere" (1) along every edge, and so would the stamps in (c).
# Class numbers must not be averaged; scores may.
# </details>

# %%
progress()

# %% [markdown]
# **Next:** you can make a heat map as large as the photo, but it stays as blurred as it was: nothing here knows where the edge of the cat is.
# The network's earlier layers do.
# Lesson 03 asks them.
