# %% [markdown]
# # NN · Name: the one idea in a few words
#
# What the picture below shows, and why somebody would want it.
# Copy this file to `solutions/NN_name.py` and replace every line; a name without a number in front is no lesson.

# %%
import matplotlib.pyplot as plt
import torch

from lib.datasets.toyworld import Toyworld
from lib.device import choose_device
from lib.viz import show_images

device = choose_device()
scene = Toyworld("val", length=200)[185]                        # the picture of the result comes first
show_images([scene.image], ["the picture"], size=3)
plt.show()

# %% [markdown]
# **You will be able to**
#
# - do one thing;
# - say why another one works.
#
# | | |
# | --- | --- |
# | Time | 60 minutes to read and do, about half a minute of computing on two cores |
# | Builds on | lesson 05 (IoU), 08 (anchors) |
# | Paper | Authors year, *Title* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.

# %%
from lib.exercises import check, hint, progress, solution, use

# %% [markdown]
# ## 1. One idea
#
# What is missing so far, in plain words.
# A **new word** is defined where it first stands.
#
# **Predict.**
# What will happen to the shape?

# %%
halves = scene.image[:, ::2, ::2]                               # (3, 48, 48)
print(tuple(scene.image.shape), "->", tuple(halves.shape))
assert halves.shape == (3, 48, 48)

# %% [markdown]
# What was seen, and the rule with its condition.
#
# ### Exercise 1 · `name_of_the_function`
#
# *10 minutes · ★☆☆*
#
# - `values`: (N,) float32, in pixels.
# - Returns (N,) float32.
#   N may be 0.

# %% tags=["exercise"]
def name_of_the_function(values: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    return 2 * values
    ### END SOLUTION

# %%
check(name_of_the_function)

# %% [markdown]
# <details><summary>Hint: a symptom</summary>
#
# What to look at; never the final expression.
# </details>
# <details><summary>Hint: another symptom</summary>
#
# What to print.
# </details>

# %%
name_of_the_function = use(name_of_the_function)

# %%
print(name_of_the_function(torch.arange(3.0)))                  # use what was written, at once

# %% [markdown]
# The fast operation, or the published module, gives the same; assert it.
#
# ## 2. Look inside
#
# The explorer on this lesson's own model: `explore(...)` of `lib.viz`, live, and as a static figure for who reads on GitHub.
#
# ## 3. Break it
#
# The experiment that shows the lesson's claim: where the curve has flattened, beside the trivial baseline, with numbers printed and asserted.
#
# ## 4. Recap
#
# **What the paper reported.**
# Data set, measure, numbers.
#
# **What was simpler here.**
# Pictures, layers, steps.
#
# **Words of this lesson.**
# Each in a sentence.
#
# ### Three questions
#
# **1.**
# A question that needs thinking.
# (a) one (b) two (c) three
#
# <details><summary>Answer</summary>
#
# **(b)** Why, and why not the others.
# </details>
#
# ### Go on from here
#
# - An open task, and what one may expect of it.

# %%
progress("NN")

# %% [markdown]
# **Next:** the question that this lesson leaves open.
# Lesson NN: name.
