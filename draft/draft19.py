# %% [markdown]
# # 19 · Grounded SAM: exercises 1 to 6

# %%
import torch

from lib.exercises import check, use
from lib.ops.boxes import box_iou
from lib.ops.masks import masks_to_boxes
from lib.ops.nms import nms

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
#   Two separators in a row are possible: the second one is then a phrase of its own, and so is one at the very beginning.
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

# %% [markdown]
# ### Exercise 4 · `phrase_labels`
#
# *20 minutes · ★★☆*
#
# The detector judges each query and each *word*. We want to know which query answers to which *phrase*.
# A phrase's score is the mean of its words' probabilities, so that one doubted word pulls it down: "red" for a blue cone.
#
# - `logits`: (Q, T) floats, one for each query and token; −inf where the token is no word. Q may be 0.
# - `phrases`: (T,) int64, to which phrase each token belongs, from 0; −1: no word (a separator, or padding).
#   There are P phrases, one more than the largest number, and P may be 0.
#   Each has at least one word; they need not have equally many.
# - The score of a query and a phrase is the mean, over the words of the phrase, of the probabilities (the sigmoid of the logits).
# - Every pair of a query and a phrase with a score of *at least* `threshold` is found: several queries may answer to one phrase, and one query to several.
# - Returns `queries` (n,) int64, `labels` (n,) int64 (the places of the phrases) and `scores` (n,) floats, best score first.
#   No two scores are alike, and n may be 0.

# %% tags=["exercise"]
def phrase_labels(logits: torch.Tensor, phrases: torch.Tensor,
                  threshold: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    numbers = torch.arange(int(phrases.max()) + 1)              # (P,)
    belongs = (phrases[:, None] == numbers).float()             # (T, P), 1 where a word is of a phrase
    scores = logits.sigmoid() @ belongs / belongs.sum(0)        # (Q, P)
    queries, labels = (scores >= threshold).nonzero(as_tuple=True)
    scores, order = scores[queries, labels].sort(descending=True)
    return queries[order], labels[order], scores                # (n,) each
    ### END SOLUTION

# %%
check(phrase_labels)

# %% [markdown]
# <details><summary>Hint: phrases of different lengths</summary>
#
# First make a table of scores, (Q, P).
# Its column number p needs the columns of the words where `phrases` is p.
# You can go through the phrases in a loop, or make a table (T, P) of zeros and ones: whether a token is a word of a phrase.
# What does a product with it sum up?
# </details>
# <details><summary>Hint: NaN, or scores that are too low</summary>
#
# 0 · −inf is NaN; the sigmoid of −inf is 0.
# And a −1 is no place: Python takes it for the last one.
# A separator adds nothing, but it must not be counted either.
# </details>
# <details><summary>Hint: it fails for no phrase, or if nothing fits</summary>
#
# `torch.stack` and `torch.cat` want at least one tensor, and `F.one_hot` at least one number: begin with a table of zeros, (Q, P), or compare instead.
# `torch.tensor([])` holds floats: say `dtype=torch.int64` for places.
# </details>
# <details><summary>Hint: from the table to pairs</summary>
#
# `nonzero(as_tuple=True)` of a table of truth values gives the rows and the columns of all that are True.
# All three parts need the same order.
# </details>

# %%
phrase_labels = use(phrase_labels)

# %% [markdown]
# ### Exercise 5 · `boxes_to_prompts`
#
# *15 minutes · ★★☆*
#
# The detector says boxes as shares of the picture; SAM wants corners, in the pixels of its own input.
# Between them lie another form, another unit, and the picture's edge.
#
# - `boxes`: (N, 4), the middle's x and y, the width and the height, as shares of the picture's sides. N may be 0, and boxes may stick out of the picture, or lie outside of it.
# - `size`: (H, W) of the picture. SAM sees it scaled by `side` / max(H, W), so that the longer side has `side` pixels;
#   it lies in the left upper corner of a square of `side` × `side`. Do not round the sides.
# - Returns `points` (N, 2, 2) floats: for each box the top-left and then the bottom-right corner, each as x, y, in SAM's pixels.
#   All corners are clamped to the *picture* (not to the square): 0 ≤ x ≤ its scaled width, 0 ≤ y ≤ its scaled height.
#   No half pixels are added or taken away.
# - And `labels` (N, 2) int64, the types of these points as in lesson 17: 2 for top-left, 3 for bottom-right.

# %% tags=["exercise"]
def boxes_to_prompts(boxes: torch.Tensor, size: tuple[int, int],
                     side: int) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    middle, sides = boxes[:, None, :2], boxes[:, None, 2:]      # (N, 1, 2), shares
    corners = middle + sides * torch.tensor([[-0.5], [0.5]])    # (N, 2, 2)
    height, width = size
    seen = torch.tensor([width, height]) * side / max(size)     # (2,) the picture, as SAM sees it
    labels = torch.tensor([[2, 3]]).repeat(len(boxes), 1)       # (N, 2)
    return corners.clamp(0, 1) * seen, labels
    ### END SOLUTION

# %%
check(boxes_to_prompts)

# %% [markdown]
# <details><summary>Hint: the points lie in wrong places</summary>
#
# Three steps, one after the other: from middle and size to two corners; to the picture's edges; from shares to pixels.
# x is a share of the width, y one of the height, and `size` begins with the height.
# Only then comes the factor, which is the same for both.
# </details>
# <details><summary>Hint: corners outside of the picture</summary>
#
# In which unit is the picture's edge simplest?
# A box whose middle lies inside may stick out, so it must have corners before they are clamped.
# </details>
# <details><summary>Hint: the shapes do not fit</summary>
#
# Four numbers x1, y1, x2, y2 in a row are two points already: `reshape` keeps the order.
# The pair of labels is the same for all boxes; `repeat` writes it N times, also if N is 0.
# </details>

# %%
boxes_to_prompts = use(boxes_to_prompts)

# %% [markdown]
# ### Exercise 6 · `auto_label`
#
# *25 minutes · ★★★*
#
# Detector and SAM together can label pictures that nobody has labelled, and a small network can be trained on that.
# A label is worth something only if it is right, so we keep what both agree on, and each thing once.
# The mask is a second opinion; the label is the detector's box.
#
# - `boxes`: (N, 4) xyxy in pixels, the detector's; `scores`: (N,), no two alike; `labels`: (N,) int64.
#   `masks`: (N, H, W) bool, what SAM answered to each box; some may be empty. N may be 0.
# - A box is *good* if all of this holds: its score is at least `threshold`; its mask is not empty;
#   the IoU of the box with the **tight** box around its mask is at least `agree`.
#   The tight box ends behind the last pixel: x2 is the last column + 1, y2 the last row + 1.
# - Then NMS, among the good ones alone, on the detector's boxes: the best score is kept, and all whose IoU with it is *above* `same` are dropped; and so on.
#   Labels do not matter here: a thing answers to one phrase, the best.
# - Returns the detector's boxes of the kept ones, (K, 4) floats, and their labels (K,) int64, best score first. K may be 0.
# - Helpers: `box_iou(boxes1, boxes2)` and `nms(boxes, scores, threshold)` of lesson 05; `masks_to_boxes(masks)` of lesson 12,
#   which gives the *last pixel* as x2 and y2, and refuses empty masks.

# %% tags=["exercise"]
def auto_label(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor, masks: torch.Tensor,
               threshold: float, same: float, agree: float) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    good = (scores >= threshold) & masks.flatten(1).any(1)      # (N,)
    boxes, scores, labels = boxes[good], scores[good], labels[good]
    tight = masks_to_boxes(masks[good]) + torch.tensor([0, 0, 1, 1])    # (n, 4)
    fits = box_iou(boxes, tight).diagonal() >= agree            # (n,) each with its own
    boxes, scores, labels = boxes[fits], scores[fits], labels[fits]
    kept = nms(boxes, scores, same)                             # (K,)
    return boxes[kept], labels[kept]
    ### END SOLUTION

# %%
check(auto_label)

# %% [markdown]
# <details><summary>Hint: where do I begin?</summary>
#
# Shorten the lists step by step: the score and the empty masks, then the agreement, then NMS.
# Whenever you shorten one list, shorten all that you still need, by the same tensor of truth values.
# </details>
# <details><summary>Hint: the IoU is a table</summary>
#
# `box_iou` compares each box with each tight box, (n, n).
# A box is to agree with the tight box of its *own* mask.
# Where in the table do these stand?
# </details>
# <details><summary>Hint: a good box is missing</summary>
#
# Which better box dropped it?
# If that one's mask does not fit it, it must be gone before it can drop others.
# And NMS compares the detector's boxes, not the tight ones.
# </details>
# <details><summary>Hint: a box or a label belongs to another thing</summary>
#
# `nms` gives places in the list that it was given, which is shorter than N.
# Look them up in lists of that length, boxes and labels alike.
# </details>

# %%
auto_label = use(auto_label)
