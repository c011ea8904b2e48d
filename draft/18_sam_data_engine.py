# %% [markdown]
# # 18 · SAM's data engine: a model that labels its own training data
#
# One scene, three times.
# First, what an annotator drew within a minute, helped by a network that had seen nothing but spheres and boxes.
# Second, the same minute with the network that had learned from such minutes.
# Third, what the last network finds by itself, in less than a second; nobody clicked.

# %%
import json

import matplotlib.pyplot as plt
import torch

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import Toyworld
from lib.datasets.toyworld.levels import LEVELS, nested_masks
from lib.device import choose_device
from lib.models import sam
from lib.models.automatic_masks import SamAutomaticMaskGenerator
from lib.training import data_engine, load_checkpoint
from lib.viz.engine.everything import draw_mask_sets

device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"
stored = json.loads((folder / "18_runs.json").read_text())      # all measurements made for this lesson
world = Toyworld("val", 100, 96)


def model_after(name: str) -> sam.Sam:
    """The network as it was after a stage of the engine."""
    net = sam.sam_small()
    load_checkpoint(net, folder / f"18_{name}.safetensors")
    return net.to(device).eval().requires_grad_(False)

# %%
public, assisted, last = (model_after(name) for name in ("public", "assisted", "all"))
sample = world[83]
wanted, nothing = nested_masks(sample).masks.to(device), torch.zeros(0, 96, 96, dtype=torch.bool, device=device)
ANNOTATOR = data_engine.Annotator()
minutes = {name: data_engine.annotate(net, sample.image.to(device), wanted, nothing, ANNOTATOR).masks.cpu()
           for name, net in {"a minute, at first": public, "a minute, later": assisted}.items()}
SETTINGS = dict(points_per_side=16, pred_iou_thresh=0.4, stability_score_thresh=0.6, nms="mask")
found = SamAutomaticMaskGenerator(last, **SETTINGS).generate(sample.image.to(device))

# %%
draw_mask_sets(sample.image, minutes | {"in the end: nobody": found.masks.cpu()})
plt.show()

# %% [markdown]
# **You will be able to**
#
# - say what a mask costs, in seconds of somebody's life;
# - let a network and an annotator work together, and count the time;
# - ask for everything at once, with a grid of clicks;
# - tell good masks from bad ones without knowing the truth;
# - throw away duplicates, and keep a figure *and* its torso;
# - measure whether a network can learn from its own labels.
#
# | | |
# | --- | --- |
# | Time | 150 minutes to read and do, about a minute of computing on two cores |
# | Builds on | lesson 17 (SAM), 08 (Faster R-CNN), 05 (NMS) |
# | Papers | Kirillov et al. 2023, *Segment Anything*, section 4 and appendix B |
#
# Numbers printed with ≈ may come out a little different on your machine.
#
# ## 1. A billion masks, by hand?
#
# Lesson 17's network learned from masks of toyworld, which cost nothing: whoever draws a scene knows where everything is.
# For photos, somebody has to draw them.
# For the COCO data set people clicked along outlines, and needed 79 seconds a mask.
# SAM was trained with 1.1 billion masks.

# %%
working_year = 2000 * 3600                                      # seconds: 250 days of 8 hours
print(f"1.1 billion masks by hand: {1.1e9 * 79 / working_year:,.0f} working years")

# %% [markdown]
# Nobody has so many.
# But the network of lesson 17 draws a mask after one click or two.
# If it helps, drawing gets faster; with more masks it learns more; then it helps better.
# The paper calls this its **data engine**.
# It has three stages:
#
# PLAN
#
# In our world we know the truth.
# So we can do what the authors could not: measure at each stage how good the masks are, and what is missing.
#
# ## 2. An annotator with a clock
#
# Our annotator is simulated: a program that knows what it wants, clicks as in lesson 17, and counts seconds.
#
# | | seconds |
# | --- | --- |
# | choose what is next, and look at the result | 3 |
# | a click | 1.5 |
# | an outline drawn by hand, for each side of a pixel | 0.5 |
#
# These are our numbers, not the paper's; with them, a mask by hand takes about as long as in COCO.
# An answer is *good enough* when its IoU with what was wanted is at least 0.75.
# (Real annotators cannot compute that; they look.)
# After five clicks in vain, our annotator draws by hand.
#
# ### Exercise 1 · `annotate_mask`
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
# The first network of the engine has seen 200 scenes with masks of whole spheres and boxes alone, as in a public data set of few kinds.
# Give it to your annotator, and ask for everything in the scene: it has never seen a figure, a part, a group or the sky as a mask.

# %%
def timed(net: sam.Sam, scene, true: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Your annotator draws one mask (96, 96) with a network's help: the mask and the seconds."""
    predictor, small = SamPredictor(net), None
    predictor.set_image(scene.image.to(device))

    def ask(points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal small                                          # its last answer is handed back, as in lesson 17
        masks, guesses, logits = predictor.predict(points, labels, mask_input=small,
                                                   multimask_output=len(points) == 1)
        best = guesses.argmax()
        small = logits[best][None]
        return masks[best].cpu()

    def good(said: torch.Tensor, true: torch.Tensor) -> bool:
        return mask_iou(said[None], true[None]).item() >= ANNOTATOR.accept

    return annotate_mask(ask, next_click, good, ANNOTATOR.trace * data_engine.outline(true), true, ANNOTATOR.clicks)

# %%
nested = nested_masks(sample)
print("                     by hand  first network  later network")
for level, true in zip(nested.levels.tolist(), nested.masks):
    seconds = [timed(net, sample, true)[1] for net in (public, assisted)]
    print(f"{LEVELS[level]:6} {int(true.sum()):5} pixels: {ANNOTATOR.by_hand(true):5.1f} s"
          + "".join(f"      ≈ {one:5.1f} s" for one in seconds))

# %% [markdown]
# TIMED
#
# ## 3. Stage one: somebody clicks, the network learns
#
# **Assisted-manual.**
# The annotator gets 100 new scenes, and has a minute for each.
# What is most prominent comes first; for us that is the largest.
# What would take more than 30 seconds by hand is given up after five clicks.
# Then the network learns from all masks that were drawn so far, and the next 100 scenes come: three rounds.
#
# **Predict.**
# From round to round the network gets better.
# What changes: how good the masks are, how long one takes, or how many there are?

# %% jupyter={"outputs_hidden": true}
runs = [run for name, run in stored.items() if name.startswith("engine/")]
draw_rounds(runs[0]["rounds"], [run["rounds"] for run in runs[1:]])
plt.show()

# %% [markdown]
# ROUNDS
#
# ## 4. Stage two: what is easy is found by itself
#
# LOOK_AT_LEVELS
#
# **Semi-automatic.**
# In the second stage the annotator finds the easy masks drawn already, and spends the minute on the rest.
# Who finds the easy ones?
# A detector: lesson 08's Faster R-CNN with a single class, "object", trained with a box around each mask so far.
# Its confident boxes are prompts, and the network draws.

# %%
detector = faster_rcnn_small(num_classes=2, pool=partial(roi_align, sampling_ratio=2, aligned=True))
load_checkpoint(detector, folder / "18_detector.safetensors")
detector = detector.to(device).eval().requires_grad_(False)
given = data_engine.confident_masks(assisted, detector, sample.image.to(device))
done = data_engine.annotate(assisted, sample.image.to(device), wanted, given, ANNOTATOR)
draw_mask_sets(sample.image, {"by the detector's boxes": given.cpu(), "added by the annotator": done.masks.cpu()})
plt.show()
print(f"added: {len(done.masks)} masks, ≈ {done.seconds.sum() / max(len(done.masks), 1):.0f} s each")

# %% [markdown]
# SEMI
#
# Sometimes people draw what is there already, because it is not good enough.
# Then the new mask counts, for somebody has looked at it.
#
# ### Exercise 2 · `merge_masks`
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
# %% [markdown]
# MERGED
#
# ## 5. Stage three: nobody looks
#
# By now the network answers well enough to be left alone.
# But who clicks?
# **A grid does**: one click in the middle of every sixth by sixth pixel, 16 × 16 in all.
# (The paper takes 32 × 32, in pictures of 1,024 pixels.)
#
# ### Exercise 3 · `grid_points`
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
# %%
net = model_after("semi")
predictor = SamPredictor(net)
predictor.set_image(sample.image.to(device))
points = grid_points(16, (96, 96))                              # (256, 2)
answers = predictor.predict_points(points)                      # masks (256, 3, 96, 96), ious (256, 3)
logits, guesses = answers.masks.flatten(0, 1).cpu(), answers.ious.flatten().cpu()               # (768, 96, 96), (768,)
draw_grid(sample.image, points)
plt.show()
print(f"{len(logits)} masks, of a scene in which {len(wanted)} can be meant")

# %% [markdown]
# Most of them are bad: of the three answers to a click, one or two are to questions that nobody asked.
# And a thing of 400 pixels is clicked a dozen times.
# So filters follow, and none of them knows the truth.
#
# - **The guess**: the network says how good it thinks each mask is.
# - **Stability**: a mask is where the logits are above 0. If it looks quite different with a threshold of 1 or of −1, the network does not know where the border is.
#
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
# **Predict.**
# Which of the two knows better what is a good mask?
# The guess was trained for it; stability is only a by-product.

# %% jupyter={"outputs_hidden": true}
masks, truths = logits > 0, nested.masks                        # (768, 96, 96), (T, 96, 96)
real = torch.cat([mask_iou(some, truths) for some in masks.split(128)]).amax(dim=1)     # IoU with the closest truth
stability = stability_score(logits, 0., 1.)                     # (768,)
draw_score_against_iou({"guess": (guesses, 0.4), "stability": (stability, 0.6)}, real)
plt.show()

# %% [markdown]
# SCORES
#
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
# Now the duplicates.
# A detector drops boxes that overlap too much (lesson 05), and the published code does that too: it compares the *boxes* of masks.
#
# **Predict.**
# What can go wrong with boxes that cannot go wrong with masks?
#
# <details><summary>Answer</summary>
#
# Two masks with the same box need not be the same: a figure with arms stretched out, and the group of the figure and the crate in front of it.
# With boxes, one of the two is dropped.
# (Boxes are quicker to compare, and in large photos that counts.)
# </details>
#
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
# %%
places = keep_masks(logits, guesses, stability, 0.4, 0.6, 0.95)
kept = places[mask_nms(masks[places], guesses[places], 0.7)]
draw_mask_sets(sample.image, {"all that is left": masks[places], "without duplicates": masks[kept]})
plt.show()

# %% [markdown]
# And this is what each filter takes away, and what it costs, over 20 scenes.

# %%
def left_after(scene, steps: tuple[float, float, float]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Masks after each filter, by their IoU with all truths: [(K, T), ...], from all 768 to those without duplicates."""
    predictor.set_image(scene.image.to(device))
    answers = predictor.predict_points(points)
    logits, guesses = answers.masks.flatten(0, 1).cpu(), answers.ious.flatten().cpu()
    masks, stability = logits > 0, stability_score(logits, 0., 1.)
    sure = (guesses >= steps[0]).nonzero()[:, 0]
    stable = keep_masks(logits, guesses, stability, *steps[:2], 1.)
    distinct = stable[mask_nms(masks[stable], guesses[stable], steps[2])]
    overlap = torch.cat([mask_iou(some, nested_masks(scene).masks) for some in masks.split(128)])
    return [overlap, overlap[sure], overlap[stable], overlap[distinct]]

# %%
FUNNEL_DRAWN

# %% [markdown]
# FUNNEL
#
# `SamAutomaticMaskGenerator` in `lib/models/automatic_masks.py` does all this, and looks at crops of a picture as well, to find small things.
# It has the parameters of the published one, and with the same network it gives the same masks.

# %%
generator = SamAutomaticMaskGenerator(net, **SETTINGS)
theirs = generator.generate(sample.image.to(device))
print(f"yours: {len(kept)} masks, the generator's: {len(theirs.masks)}")
assert theirs.masks.cpu().equal(masks[kept])

# %% [markdown]
# **Look inside.**
# Move the thresholds, and watch what comes and goes.

# %%
explore_filters(sample.image, logits, guesses, truths=truths, start=(0.4, 0.6, 0.7))

# %% [markdown]
# WRONG_ONES
#
# ## 6. Was it worth it?
#
# In the engine, the third stage went over 800 scenes.
# What did each stage give?

# %%
TABLE_STAGES

# %% [markdown]
# STAGES
#
# And do masks that nobody looked at teach anything?
# From the network after stage two, five trainings go on for 500 steps each.
# They differ in the masks alone: those of stage one; of one and two; of three, made by the network itself; all of them;
# and, as the most that could be had, everything that can be meant in all these scenes.
#
# **Predict.**
# Can a network learn something from its own answers?

# %% jupyter={"outputs_hidden": true}
TABLE_LAST

# %% [markdown]
# LAST
#
# ## 7. Recap
#
# | | assisted-manual | semi-automatic | fully automatic |
# | --- | --- | --- | --- |
# | who says where | annotator's clicks | detector's boxes, then the annotator | a grid |
# | who draws | the network | the network | the network |
# | who says that it is good | the annotator | the detector's score, the annotator | guess and stability |
# | paper: pictures | 120,000 | 180,000 | 11 million |
# | paper: masks | 4.3 million | 5.9 million more | 1.1 billion |
# | paper: trained anew | 6 times | 5 times | – |
# | paper: seconds a mask | from 34 down to 14 | up to 34 again, for the hard ones | 0 |
# OURS
#
# **What we found.**
# FOUND
#
# **What the paper reported.**
# After the first stage a picture had 44 masks in place of 20, and after the second 72.
# Of the 1.1 billion masks, 99.1 % were made fully automatically.
# People who corrected 500 pictures' masks by hand changed little: 94 % of the pairs, before and after, had an IoU above 0.9.
# A network trained on the automatic masks alone was nearly as good as one trained on all.
#
# **What was simpler here.**
# The annotator is a program, which knows the truth and never tires.
# A grid of 16 × 16 on 96 pixels, no crops.
# Later networks go on from earlier ones with a few hundred steps.
#
# **Words of this lesson.**
# *Data engine*: model and annotators in a loop.
# *Assisted-manual, semi-automatic, fully automatic*: its three stages.
# *Prompt grid*: clicks at regular places.
# *Stability score*: how little a mask changes with the threshold.
# *Mask NMS*: of masks that overlap too much only the best stays.
# *Pseudo-label*: a label made by a model, from which a model learns.
#
# **Go on from here.**
# Tasks without a check:
#
# - **An impatient annotator.** Accept masks from an IoU of 0.6 on. More masks, or worse networks?
# - **Choose well.** Let the annotator have the 100 scenes in which the network is least sure. Do its rounds help more?
# - **Crops.** `crop_n_layers=1` looks at 2 × 2 enlarged pieces. What is found that was not, and what goes wrong?
#
# ### Three questions
#
# **1.**
# Why does the seconds-a-mask figure rise in the second stage, although the network is better than before?
# (a) the detector takes time (b) the easy masks are there already, and only hard ones are left to people (c) the network forgets
#
# <details><summary>Answer</summary>
#
# **(b)** An average over what is left says nothing about the network alone.
# </details>
#
# **2.**
# A mask has logits of 20 inside, −20 outside, and is the wrong thing.
# What does stability say?
# (a) near 1 (b) near 0 (c) that depends on the thing
#
# <details><summary>Answer</summary>
#
# **(a)** Stability knows how sharp a border is, not what is inside it.
# </details>
#
# **3.**
# A network labels pictures, and learns from all its labels, unfiltered.
# What is to be expected?
# (a) it gets better with each round (b) its mistakes become its teachers (c) nothing changes, since it knows all that already
#
# <details><summary>Answer</summary>
#
# **(b)** What it gets wrong comes back as truth. Filters, and other prompts than those that made the mask, are what there is to gain.
# </details>

# %%
progress("18")

# %% [markdown]
# **Next:** words.
# Lesson 19 types a phrase, finds boxes, and lets SAM draw: Grounded SAM.
