# %% [markdown]
# # 00 · Start here
#
# Welcome.
# This course takes you from one small fact, *a fully connected layer is a 1×1 convolution*,
# to a system in which you type a phrase and get the outline of the thing you meant.
# On the way you build, piece by piece, the networks that taught computers to find things in pictures.
#
# You need Python, the basics of PyTorch, and a laptop.
# No GPU, and after the installation no internet.
#
# This first page takes ten minutes.
# It shows how a lesson works, so that the real ones can be about pictures.

# %% [markdown]
# ## The road

# %%
import matplotlib.pyplot as plt

from lib.viz.diagrams.course_map import draw_course_map

draw_course_map()
plt.show()

# %% [markdown]
# Each lesson adds one idea to those before it, so the best order is the order of the numbers.

# %% [markdown]
# ## How to read a lesson
#
# A lesson is a notebook: text, and cells of code to run.
# Click on a cell and press **Shift + Enter**: it runs, and the next one is selected.
# The pictures and numbers are already there from when the lesson was made; running the cells makes them yours.
#
# Try it with the next cell.
# It draws a picture from **toyworld**, the little world in which most lessons take place.

# %%
from lib.datasets.toyworld import Toyworld

sample = Toyworld(split="train", length=8)[0]
plt.figure(figsize=(4, 4))
plt.imshow(sample.image.permute(1, 2, 0))                       # (3, H, W) -> (H, W, 3)
plt.axis("off")
plt.show()
print("the picture is a tensor of shape", tuple(sample.image.shape))
print("it shows a", ", a ".join(sample.phrases))

# %% [markdown]
# Toyworld knows everything about its pictures: where each thing is, how far away, which pixels belong to it, what it is called.
# ("Thing" is this course's word for an object that can be counted.)
# So everything that you build can be compared with the truth; papers call it the **ground truth**.
#
# Now and then a lesson asks you to **predict** what a cell will show.
# The answer that is stored below the cell is folded away, so that you can think first: in your head, or in the text, which you may edit.
# Then run the cell, or click on the folded output to open it.
# A wrong prediction is where the learning happens.
#
# Try it: how many pixels high and wide is a toyworld picture, and what are its smallest and largest values?

# %% jupyter={"outputs_hidden": true}
channels, height, width = sample.image.shape
print(f"{height} × {width} pixels,",
      f"values from {sample.image.min():.2f} to {sample.image.max():.2f}")

# %% [markdown]
# A picture is always (3, H, W) here, with values from 0 to 1: black is 0, and 1 is as bright as a pixel can be.

# %% [markdown]
# ## How to do an exercise
#
# An exercise says what to write.
# Below it is an empty function.
# Here is a very small one.
#
# ### Exercise · `count_pixels`
#
# *2 minutes · ★☆☆*
#
# How many pixels does a picture have?
#
# - `image`: a tensor (C, H, W): channels, height, width.
# - Returns the number of pixels as a Python `int`.
#   A pixel counts once, however many colours it has.
#
# Replace the `raise` line with your own code, and run the cell.

# %% tags=["exercise"]
import torch


def count_pixels(image: torch.Tensor) -> int:
    ### BEGIN SOLUTION
    channels, height, width = image.shape
    return height * width
    ### END SOLUTION

# %% [markdown]
# Then ask whether it is right.
# `check` tries your function on several inputs.
# It tells you if it is **correct**; if it is **wrong**, it shows the first input for which it is, and, when it recognises the mistake, what the mistake is;
# if it **crashed**, it shows your line.

# %%
from lib.exercises import check, hint, progress, solution, use

check(count_pixels)

# %% [markdown]
# Be wrong on purpose!
# Return `image.numel()`, run both cells again, and read what the check says.
#
# Stuck?
# There are hints.
# Open one here, or type `hint("count_pixels")` into a cell of your own (press **B** to make one).
# Each call shows one hint more.
#
# <details><summary>Hint: what is in a shape?</summary>
#
# `image.shape` holds three numbers.
# Which of them say how many *places* there are?
# </details>
#
# Still stuck, or curious how we did it?
# `solution("count_pixels")` shows ours.
# Nobody counts how often you look.
#
# These rules hold for every exercise, unless its task says otherwise:
#
# - Tensors of numbers are float32, class numbers and places are int64, and all of them lie on the CPU during a check.
#   Return the same kind, and return all of it: what you print is shown to you, but it is not checked.
# - What goes in stays as it is: the caller may need it again.
#   `x = x + 1` makes a new tensor, `x += 1` changes the caller's.
# - The numbers and sizes of the check are not those of the lesson: write for any size, any number of classes, any batch.
# - Where a task says *gradients must flow*, they must reach its inputs; elsewhere this is not checked.
# - It may be slow, but not so slow that the lesson cannot go on with it: a loop over things is fine, a loop over every pixel often is not.
#
# The last cell of every exercise is this one.
# If your function is right, the rest of the lesson runs on it.
# If not, ours is used, and it says so: you can always read on, and come back later.

# %%
count_pixels = use(count_pixels)

# %%
print(f"the toyworld picture has {count_pixels(sample.image):,} pixels")

# %% [markdown]
# ## Look inside
#
# Every network of the course can be opened in the **explorer**.
# This is a real one, trained on a million photos, and this is a real cat.
# Choose a layer on the left, choose a view above the picture, and click on the picture.
# The frame shows which part of the photo one cell of the layer can see, and the bars show the numbers that the cell holds.
# Lesson 01 explains all of this; for now, just play.

# %%
from lib.datasets.photos import crop_square, load_photo
from lib.pretrained import efficientnet_lite0, prepare
from lib.viz import explore

photo = crop_square(load_photo("chelsea"), 224)                 # (3, 224, 224)
explore(efficientnet_lite0(), prepare(photo), picture=photo)

# %% [markdown]
# ## Your progress
#
# Your answers stay in the notebook (**Ctrl + S** saves it).
# What you have solved is also remembered in a small file on this machine.
# `progress("00")` shows one lesson, `progress()` the one whose exercise you checked last, `progress("all")` the whole course.

# %%
progress("00")

# %% [markdown]
# ## When something goes wrong
#
# | | |
# | --- | --- |
# | A cell does not stop | the ■ button in the toolbar |
# | Names are missing, or things look mixed up | menu *Kernel → Restart Kernel and Run All Cells* |
# | You want an exercise's first state back | menu *Edit → Undo*; or `git checkout notebooks/` for all of them, which throws your answers away |
# | You have a GPU | choose the kernel *Pixels to Prompts (GPU)* at the top right |
#
# The functions behind the lessons are in the folder `lib`: each paper has one file there, written to be read.
#
# On to lesson 01: [A fully connected layer is a 1×1 convolution](01_fc_vs_1x1_conv.ipynb).
