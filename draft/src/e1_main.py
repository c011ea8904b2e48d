# %% [markdown]
# # 18 · SAM's data engine

# %%
import torch

from lib.exercises import check, use
from lib.ops.masks import mask_iou

# %% [markdown]
# ### Exercise 1 · `grid_points`
#
# *10 minutes · ★☆☆*
#
# - `n`: a whole number, at least 1.
# - `size`: (H, W) of the picture in pixels.
# - The picture is cut into n × n equal cells: n columns, n rows.
#   The points are the middles of the cells, row by row: first the top row, from left to right.
# - Returns (n · n, 2) floats, x and y in pixels.
#   The picture spans 0 to W and 0 to H, so the only cell of n = 1 has its middle at (W / 2, H / 2).
#   Nothing is rounded: a cell need not be a whole number of pixels wide or high.

# %% tags=["exercise"]
def grid_points(n: int, size: tuple[int, int]) -> torch.Tensor:
    ### BEGIN SOLUTION
    height, width = size
    shares = (torch.arange(n) + 0.5) / n                                        # (n,), 0..1
    y, x = torch.meshgrid(shares * height, shares * width, indexing="ij")       # (n, n) each
    return torch.stack([x, y], dim=-1).view(-1, 2)                              # (n · n, 2)
    ### END SOLUTION

# %%
check(grid_points)

# %% [markdown]
# <details><summary>Hint: the first point lies at 0, or the last one at the edge</summary>
#
# Two cells of a picture that is 6 wide are 3 wide each.
# Their middles are 1.5 and 4.5: half a cell from the edge, and then a whole cell further on.
# </details>
# <details><summary>Hint: the right points in another order</summary>
#
# Row by row, y changes slowly and x fast, although x is named first in a point.
# `torch.meshgrid(a, b, indexing="ij")` gives two tables in which a changes from row to row, and b from column to column.
# </details>

# %%
grid_points = use(grid_points)

# %% [markdown]
# ### Exercise 2 · `annotate_mask`
#
# *20 minutes · ★★☆*
#
# - `true`: (H, W) bool, the mask that the annotator has in mind.
#   `most`: how many clicks are allowed, at least 1.
# - `click_at(said, true)` returns the next click, (x, y, label), as in lesson 17.
#   `said` is the mask as it is: before the first click one without any pixel, (H, W) bool, and then the last answer.
# - `ask(points, labels)` is the model. It returns its answer, a mask (H, W) bool.
#   It remembers nothing, so it gets **all** clicks so far, in their order: points (N, 2) floats, labels (N,) int64.
# - `good(said, true)` returns True if an answer is good enough. Each answer is tested, and nothing else.
# - `by_hand`: how many seconds it takes to draw the mask by hand.
# - As soon as an answer is good, it is the result, after 3 seconds (one look) + 1.5 seconds for each click.
#   If `most` clicks were in vain, the annotator draws by hand: the result is the true mask, after 3 + 1.5 · `most` + `by_hand` seconds.
# - Returns the mask, and the seconds as a number.

# %% tags=["exercise"]
def annotate_mask(ask, click_at, good, by_hand: float, true: torch.Tensor,
                  most: int) -> tuple[torch.Tensor, float]:
    ### BEGIN SOLUTION
    said, points, labels = torch.zeros_like(true), [], []
    for clicks in range(1, most + 1):
        x, y, label = click_at(said, true)
        points.append([float(x), float(y)])
        labels.append(label)
        said = ask(torch.tensor(points), torch.tensor(labels))                  # (H, W)
        if good(said, true):
            return said, 3 + 1.5 * clicks
    return true, 3 + 1.5 * most + by_hand
    ### END SOLUTION

# %%
check(annotate_mask)

# %% [markdown]
# <details><summary>Hint: it never gets good, or too late</summary>
#
# What does the model know after the third click?
# Nothing but what you hand it this time: all three points, and all three labels.
# And `click_at` has to see the newest answer, or it sends you where you have been already.
# </details>
# <details><summary>Hint: right masks, wrong seconds</summary>
#
# There are two ways to end, inside of the loop and after it.
# After the first click, one click has been made.
# Who draws by hand has looked and clicked in vain, and pays for that, too.
# </details>

# %%
annotate_mask = use(annotate_mask)

# %% [markdown]
# ### Exercise 3 · `merge_masks`
#
# *10 minutes · ★★☆*
#
# - `old`: (M, H, W) bool, the masks that are there. `new`: (N, H, W) bool, those that come.
#   M and N may be 0; no mask is without a pixel.
# - An old and a new mask are *the same* if their IoU is at least `threshold` (above 0, at most 1).
#   `mask_iou(old, new)` gives the IoU of each old mask with each new one, (M, N).
# - Old masks that are the same as some new one go. The others stay, in their order; after them come **all** new ones, in their order.
#   Old ones are not compared with each other, nor are new ones.
# - Returns (K, H, W) bool.

# %% tags=["exercise"]
def merge_masks(old: torch.Tensor, new: torch.Tensor, threshold: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    same = mask_iou(old, new) >= threshold                                      # (M, N)
    return torch.cat([old[~same.any(dim=1)], new])                              # (K, H, W)
    ### END SOLUTION

# %%
check(merge_masks)

# %% [markdown]
# <details><summary>Hint: the wrong masks go</summary>
#
# Old masks lie along the rows of the table, new ones along its columns.
# An old mask goes if *some* place in its row says "the same".
# </details>
# <details><summary>Hint: it crashes where there are no new masks, or none at all</summary>
#
# An empty row has no largest number, but `any` of nothing is False.
# `torch.stack` wants at least one mask; `torch.cat` is content with (0, H, W).
# </details>

# %%
merge_masks = use(merge_masks)
