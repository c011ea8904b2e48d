# %% [markdown]
# # 19 · Grounded SAM: exercises 1 to 3

# %%
import torch

from lib.exercises import check, use

# %% [markdown]
# ### Exercise 1 · `contrastive_logits`
#
# *15 minutes · ★☆☆*
#
# A detector with fixed classes has a matrix with a row for each of them, which was learned.
# Here the classes are whatever was typed: the vector of a word takes the place of such a row.
#
# - `queries`: (Q, D) floats; `tokens`: (T, D) floats.
#   Q or T may be 0; D is at least 1.
# - `words`: (T,) bool, True where a token is a word; separators and padding are none.
# - Returns (Q, T) floats: the inner product of each query with each token, divided by √D, plus `bias`, which is a number.
#   It is −∞ in the columns of tokens that are no words.
# - Gradients flow to queries and tokens.

# %% tags=["exercise"]
def contrastive_logits(queries: torch.Tensor, tokens: torch.Tensor, words: torch.Tensor,
                       bias: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    logits = queries @ tokens.T / queries.shape[1] ** 0.5 + bias    # (Q, T)
    return logits.masked_fill(~words, float("-inf"))
    ### END SOLUTION

# %%
check(contrastive_logits)

# %% [markdown]
# <details><summary>Hint: the result has a third axis, or its shapes do not fit</summary>
#
# All inner products of the rows of one table with the rows of another are one matrix product.
# Which of the two tables has to be turned, so that D meets D?
# </details>
# <details><summary>Hint: separators have a logit, or all is NaN</summary>
#
# 0 · ∞ is NaN, so multiplying by a mask does not help.
# `masked_fill(mask, value)` writes a value where the mask is True, along the last axis here.
# `words` is True where nothing should be written.
# </details>
# <details><summary>Hint: all numbers are too large, or off by little</summary>
#
# What is divided by √D, and what is not?
# D is the length of a vector, whatever Q and T are.
# </details>

# %%
contrastive_logits = use(contrastive_logits)

# %% [markdown]
# ### Exercise 2 · `sub_sentence_mask`
#
# *20 minutes · ★★☆*
#
# "small red cone . blue sphere ." asks for two things at once.
# If all its tokens saw each other, "red" would change what "sphere" means (Liu et al. 2023, figure 4).
#
# - `ids`: (T,) int64, the numbers of the tokens of one caption, T at least 1.
#   `separator`: the number of the token that ends a phrase.
# - A separator belongs to the phrase that it *ends*, as its last token.
#   Two separators in a row are possible: the second one is then a phrase of its own.
#   The caption need not end with a separator; what is left after the last one is a phrase, too.
# - A token sees all tokens of its phrase, itself too, and no others.
# - Returns two tensors.
#   `hidden`: (T, T) bool, True where the token of the row does *not* see the token of the column.
#   `places`: (T,) int64, where in its phrase each token stands, from 0.

# %% tags=["exercise"]
def sub_sentence_mask(ids: torch.Tensor, separator: int) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    ends = (ids == separator).long()
    phrase = ends.cumsum(0) - ends                  # (T,) how many phrases ended before each token
    hidden = phrase[:, None] != phrase              # (T, T)
    earlier = (~hidden).tril(-1)                    # (T, T) tokens of the same phrase that come before
    return hidden, earlier.sum(1)
    ### END SOLUTION

# %%
check(sub_sentence_mask)

# %% [markdown]
# <details><summary>Hint: where do I begin?</summary>
#
# Give each token the number of its phrase, (T,).
# Two tokens see each other if these numbers are equal.
# `x[:, None]` and `x` together make a table of all pairs.
# </details>
# <details><summary>Hint: a separator is in the wrong phrase</summary>
#
# `cumsum` counts how many separators there were so far, this one included.
# How many phrases had ended *before* this token?
# </details>
# <details><summary>Hint: places go on, or begin at 1</summary>
#
# A place is a number of tokens: those of the same phrase that come earlier.
# The table that says who sees whom knows which tokens these are; `tril` keeps what lies below its diagonal.
# </details>

# %%
sub_sentence_mask = use(sub_sentence_mask)

# %% [markdown]
# ### Exercise 3 · `select_queries`
#
# *20 minutes · ★★☆*
#
# The picture has many more cells than things.
# The decoder begins at the cells that fit some word best, so its queries know what was asked (algorithm 1 of the paper).
#
# - `logits`: (h · w, T), how well each cell fits each token; T is at least 1.
#   They are −∞ where a token is no word; at least one is a word.
# - The cells of the map, `size` = (h, w), are numbered row by row.
#   A cell counts as much as its *best* word; no two cells are alike in this.
# - Returns two tensors for the `num_queries` best cells, the best one first; `num_queries` is 0 to h · w.
#   `cells`: (num_queries,) int64, their numbers.
#   `boxes`: (num_queries, 4) floats, middle x and y, width and height, as shares of the picture, 0..1.
# - Each box lies around the middle of its cell, and is `side` wide and `side` high.
#   `side` is a share of the picture, too, and nothing is cut off at the picture's edge.

# %% tags=["exercise"]
def select_queries(logits: torch.Tensor, num_queries: int, size: tuple[int, int],
                   side: float) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    cells = logits.max(dim=1).values.topk(num_queries).indices      # (num_queries,)
    height, width = size
    x = (cells % width + 0.5) / width
    y = (cells // width + 0.5) / height
    sides = torch.full_like(x, side)
    return cells, torch.stack([x, y, sides, sides], dim=1)
    ### END SOLUTION

# %%
check(select_queries)

# %% [markdown]
# <details><summary>Hint: a cell comes twice, or has a number above h · w</summary>
#
# First one number for each cell: that of its best word.
# Only then look for the best cells.
# `topk` gives values and places.
# </details>
# <details><summary>Hint: the boxes lie in other cells</summary>
#
# A row of the map has w cells.
# The number of a cell divided by w: the whole part says the row, and what is left over says the column.
# Which of the two is x?
# </details>
# <details><summary>Hint: all boxes are too far to the left and too high</summary>
#
# A column's number says where a cell begins.
# Its middle lies half a *cell* further on, so add that before you divide.
# </details>

# %%
select_queries = use(select_queries)
