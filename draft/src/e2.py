# %% [markdown]
# # 18 · SAM's data engine: exercises 4 to 6

# %%
import torch

from lib.exercises import check, use
from lib.ops.masks import mask_iou

# %% [markdown]
# ### Exercise 4 · `stability_score`
#
# *10 minutes · ★☆☆*
#
# A mask ends where its logits fall below a threshold.
# If they fall steeply there, the threshold hardly matters: the mask is **stable**.
# If they fall slowly, the network is not sure where the thing ends (Kirillov et al. 2023, appendix B).
#
# - `logits`: (M, H, W) floats; M may be 0.
# - Two masks are compared for each map: where its logits are above `threshold` + `offset`, and where they are above `threshold` − `offset`.
#   Both comparisons are strict, and `offset` is at least 0.
# - Returns (M,) floats, 0..1: the IoU of the two masks; 0 if the second one is empty.

# %% tags=["exercise"]
def stability_score(logits: torch.Tensor, threshold: float, offset: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    smaller = (logits > threshold + offset).sum((1, 2))         # (M,)
    larger = (logits > threshold - offset).sum((1, 2))          # (M,)
    return smaller / larger.clamp(min=1)
    ### END SOLUTION

# %%
check(stability_score)

# %% [markdown]
# <details><summary>Hint: what do both share?</summary>
#
# A pixel that is above the higher bound is above the lower one, too.
# So one mask lies inside of the other.
# Which pixels are shared then, and which belong to either?
# </details>
# <details><summary>Hint: NaN</summary>
#
# Where no pixel is above the lower bound, both counts are 0.
# A divisor that is at least 1 changes no other mask's score.
# </details>

# %%
stability_score = use(stability_score)

# %% [markdown]
# ### Exercise 5 · `keep_masks`
#
# *10 minutes · ★★☆*
#
# SAM keeps a mask if it is sure of it, if the mask is stable, and if it is not nearly the whole picture (appendix B).
# We drop empty ones, too.
#
# - `logits`: (M, H, W) floats. A mask is where they are above 0.
# - `guesses`: (M,), the IoU that the network expects of each mask.
#   `stability`: (M,), as in exercise 4.
# - A mask is kept if all of this holds: its guess is at least `least_guess`; its stability is at least `least_stability`;
#   it has at least one pixel; it covers at most the share `largest` (0..1) of the picture.
# - Returns (K,) int64: the places of the kept masks among the M, in order.

# %% tags=["exercise"]
def keep_masks(logits: torch.Tensor, guesses: torch.Tensor, stability: torch.Tensor,
               least_guess: float, least_stability: float, largest: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    share = (logits > 0).float().mean((1, 2))                   # (M,) of the picture
    good = (guesses >= least_guess) & (stability >= least_stability)
    good = good & (share > 0) & (share <= largest)
    return good.nonzero()[:, 0]                                 # (K,)
    ### END SOLUTION

# %%
check(keep_masks)

# %% [markdown]
# <details><summary>Hint: several conditions at once</summary>
#
# Each condition is a tensor of M truth values.
# `&` joins two of them, place by place; Python's `and` cannot.
# Put each comparison in parentheses, since `&` binds more tightly than `>=`.
# </details>
# <details><summary>Hint: a share</summary>
#
# `largest` does not depend on how large the picture is.
# What is the mean of a mask, if True is 1 and False is 0?
# </details>
# <details><summary>Hint: the shape is (K, 1)</summary>
#
# `nonzero` gives a row for each place that is True, with one number for each axis.
# Here there is one axis: take the only column.
# </details>

# %%
keep_masks = use(keep_masks)

# %% [markdown]
# ### Exercise 6 · `mask_nms`
#
# *20 minutes · ★★☆*
#
# Many points lie on one thing, and each is answered with nearly the same mask.
# Non-maximum suppression (lesson 05) keeps the best of them; here it compares the masks themselves.
#
# - `masks`: (M, H, W) bool, none empty; M may be 0.
#   `scores`: (M,), no two alike.
# - The mask with the highest score is kept, and all others whose IoU with it is *above* `threshold` are dropped.
#   Then the same with the best of what is left, and so on.
#   `mask_iou(masks1, masks2)` of lesson 12 gives a table (N, M) of IoUs.
# - Returns (K,) int64: the places of the kept masks among the M, best score first.

# %% tags=["exercise"]
def mask_nms(masks: torch.Tensor, scores: torch.Tensor, threshold: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    left = scores.argsort(descending=True)                      # places, best first
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best.item())
        overlap = mask_iou(masks[best][None], masks[left])[0]   # (left,)
        left = left[overlap <= threshold]
    return torch.tensor(kept, dtype=torch.int64)
    ### END SOLUTION

# %%
check(mask_nms)

# %% [markdown]
# <details><summary>Hint: where do I begin?</summary>
#
# Sort the *places* by score, and keep a list of those that are not decided yet.
# In each round it loses its first place, and the places of the masks that go.
# It ends when the list is empty.
# </details>
# <details><summary>Hint: a mask is gone that should have stayed</summary>
#
# Which mask dropped it?
# If that one had been dropped itself, it must not count.
# And a part inside of a large whole has a small IoU with it: look at what you divide by.
# </details>
# <details><summary>Hint: it fails for no masks</summary>
#
# `torch.tensor([])` is a tensor of floats.
# Places are whole numbers: say `dtype=torch.int64`.
# </details>

# %%
mask_nms = use(mask_nms)
