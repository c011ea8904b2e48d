# %% [markdown]
# # 18 · SAM's data engine: a model that labels its own training data
#
# One scene, three times.
# First, what an annotator drew within two minutes, helped by a network that had been taught nothing but spheres.
# Second, the same two minutes, with a network that had learned from 300 scenes of such masks.
# Third, what a still later network finds by itself, in about a second; nobody clicked.

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
from lib.viz.engine.everything import draw_mask_sets, show_everything

device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"
stored = json.loads((folder / "18_runs.json").read_text())      # all that was measured
world = Toyworld("val", 100, 96)


def model_after(name: str) -> sam.Sam:
    """The network as it was after a stage of the engine."""
    net = sam.sam_small()
    load_checkpoint(net, folder / f"18_{name}.safetensors")
    return net.to(device).eval().requires_grad_(False)

# %%
public, assisted, net = (model_after(name) for name in ("public", "assisted", "semi"))
sample = world[5]
image = sample.image.to(device)
wanted = nested_masks(sample).masks.to(device)          # (M, 96, 96), all that can be meant
nothing = wanted[:0]
ANNOTATOR = data_engine.Annotator()
generator = SamAutomaticMaskGenerator(
    net, points_per_side=16, pred_iou_thresh=0.5, stability_score_thresh=0.7, nms="mask")

# %%
helped = [data_engine.annotate(one, image, wanted, nothing, ANNOTATOR) for one in (public, assisted)]
sets = {"two minutes, at first": helped[0].masks, "two minutes, later": helped[1].masks,
        "in the end: nobody": generator.generate(image).masks}
draw_mask_sets(sample.image, {title: masks.cpu() for title, masks in sets.items()})
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
# | Time | 110 minutes to read and do, about half a minute of computing on two cores |
# | Builds on | lesson 17 (SAM), 08 (Faster R-CNN), 05 (NMS) |
# | Papers | Kirillov et al. 2023, *Segment Anything*, section 4 and appendix B |
#
# Numbers printed with ≈ may come out a little different on your machine.

# %%
from functools import partial

from torchvision.ops import roi_align
from tqdm.auto import tqdm

from lib.exercises import check, hint, progress, solution, use
from lib.models.faster_rcnn import faster_rcnn_small
from lib.models.sam_predictor import SamPredictor
from lib.ops.clicks import next_click
from lib.ops.mask_filters import point_grid
from lib.ops.masks import mask_iou
from lib.training.prompting import iou_by_clicks
from lib.viz.engine.engine_plan import EngineRow, draw_engine
from lib.viz.engine.filters import FilterStage, draw_funnel, draw_score_against_iou
from lib.viz.engine.levels import draw_levels
from lib.viz.engine.rounds import draw_rounds
from lib.viz.engine.stability import draw_grid, draw_stability
from lib.viz.engine.thresholds import explore_filters

# %% [markdown]
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
# It has three stages, drawn here for one scene.
# Blue masks were drawn without the annotator, orange ones by the annotator and the network together (a star is the first click for a mask).

# %%
detector = faster_rcnn_small(num_classes=2, pool=partial(roi_align, sampling_ratio=2, aligned=True))
load_checkpoint(detector, folder / "18_detector.safetensors")
detector = detector.to(device).eval().requires_grad_(False)
seen = detector(image[None])[0]
boxes = seen["boxes"][seen["scores"] >= 0.7]                    # (G, 4), one class: "object"
given = data_engine.confident_masks(assisted, detector, image)  # (G, 96, 96), a mask for each box
added = data_engine.annotate(assisted, image, wanted, given, ANNOTATOR).masks

# %%
runs = [run for name, run in stored.items() if name.startswith("engine/")]      # one for each seed
rounds = runs[0]["rounds"]


def in_words(name: str) -> str:
    """What a stage did, over all its rounds."""
    its = [one for one in rounds if one["round"].startswith(name)]
    scenes, masks = (sum(one[key] for one in its) for key in ("pictures", "masks"))
    return f"{len(its)} × {its[0]['pictures']} scenes: {masks / scenes:.1f} masks a scene"


def first_clicks(masks: torch.Tensor) -> torch.Tensor:
    """Where somebody clicks who wants these masks (M, 96, 96): (M, 2)."""
    clicks = [next_click(torch.zeros_like(one), one)[:2] for one in masks.cpu()]
    return torch.tensor(clicks).view(-1, 2).float()

# %%
first, final = sets["two minutes, later"], sets["in the end: nobody"]
assisted_row = EngineRow(
    "1 · assisted-manual", "annotator", "clicks, until the\nmask is good enough", sample.image,
    nothing.cpu(), first.cpu(), in_words("assisted"), points=first_clicks(first))
semi_row = EngineRow(
    "2 · semi-automatic", "detector,\nannotator", "boxes for what is easy,\nclicks for the rest",
    sample.image, given.cpu(), added.cpu(), in_words("semi"), points=first_clicks(added), boxes=boxes)
automatic_row = EngineRow(
    "3 · fully automatic", "grid of points", "a click everywhere,\nand filters", sample.image,
    final.cpu(), nothing.cpu(), in_words("automatic"), grid=point_grid(16) * 96,
    back="learns once more")
draw_engine([assisted_row, semi_row, automatic_row])
plt.show()

# %% [markdown]
# In our world we know the truth.
# So we can do what the authors could not: measure at each stage how good the masks are, and what is missing.
#
# A *truth* is anything that can be meant, as in lesson 17: a part, a thing, a group, the sky, the ground, each of at least 64 pixels.
# We call a mask *good* if its IoU with some truth is at least 0.7, and then that truth *has a mask*.
# (One mask can be good for two truths: a cylinder and its side hardly differ.)
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
# After five clicks that were not enough, our annotator draws by hand.
# You write this annotator.
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
#   If `most` clicks were not enough, the annotator draws by hand: the result is the true mask, after 3 + 1.5 · `most` + `by_hand` seconds.
# - Returns the mask, and the seconds as a Python number.

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
# There are two ways to end, inside the loop and after it.
# After the first click, one click has been made.
# Who draws by hand has looked and clicked before, and pays for that, too.
# </details>

# %%
annotate_mask = use(annotate_mask)

# %% [markdown]
# The first network of the engine was trained on 200 scenes, with masks of spheres and of nothing else: a public data set that knows a single kind of thing.
# (Its encoder began as lesson 17's masked autoencoder.)
# Nobody ever showed it the mask of a figure, a part, a group or the sky.
# The later network is the one after stage one.
#
# **Predict.**
# Your annotator asks for everything in ten scenes, with either network's help.
# For which masks is drawing by hand quicker than clicking with the first network?

# %%
def helper(net: sam.Sam, scene):
    """A network as `annotate_mask` wants it: points and labels in, a mask (96, 96) out."""
    predictor, small = SamPredictor(net), None
    predictor.set_image(scene.image.to(device))

    def ask(points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        nonlocal small                          # the last answer is handed back, as in lesson 17
        new = len(points) == 1                  # after one click: the best of three
        masks, guesses, logits = predictor.predict(
            points, labels, mask_input=None if new else small, multimask_output=new)
        small = logits[guesses.argmax()][None]
        return masks[guesses.argmax()].cpu()

    return ask


def good(said: torch.Tensor, true: torch.Tensor) -> bool:
    return mask_iou(said[None], true[None]).item() >= ANNOTATOR.accept

# %% jupyter={"outputs_hidden": true}
took = []       # of each mask the level, and the seconds by hand, with the first network, with the later
for scene in (world[place] for place in range(10)):
    helpers = [helper(net, scene) for net in (public, assisted)]
    for level, true in zip(nested_masks(scene).levels, nested_masks(scene).masks):
        outline = ANNOTATOR.trace * data_engine.outline(true)
        with_help = [annotate_mask(ask, next_click, good, outline, true, 5)[1] for ask in helpers]
        took.append([level.item(), 3 + outline, *with_help])

# %% jupyter={"outputs_hidden": true}
took = torch.tensor(took)
for number, level in enumerate(LEVELS):
    mean = took[took[:, 0] == number, 1:].mean(dim=0)
    print(f"{level:5}: {mean[0]:5.1f} s by hand, "
          f"≈ {mean[1]:5.1f} s with the first network, ≈ {mean[2]:5.1f} s with the later one")

# %% [markdown]
# The first network saves little, and for sky and ground it costs: the clicks fail, and come on top of the drawing.
# With the later one things and groups take 55 to 61 % of the time by hand.
# (A single mask takes 4.5 seconds if the first click is enough, and 7.5 seconds more than by hand if none is.)
#
# ## 3. Stage one: somebody clicks, the network learns
#
# **Assisted-manual.**
# The annotator gets 100 new scenes, and has two minutes for each; a mask that was begun is finished.
# What is most prominent comes first; for us that is the largest.
# Our library's annotator (`lib/training/data_engine.py`) has two more rules than yours: when the IoU is below 0.4 after two clicks there is no third one,
# and a mask that would take longer than a minute by hand is given up.
# Seconds spent on what is given up count, too.
# Then the network learns from all masks that were drawn so far, for 500 steps, and the next 100 scenes come: three rounds.
#
# **Predict.**
# From round to round the network gets better.
# What changes: how good the masks are, how long one takes, how many there are?

# %% jupyter={"outputs_hidden": true}
draw_rounds(rounds[:3], [run["rounds"][:3] for run in runs[1:]])
plt.show()
for one in rounds[:3]:
    print(f"{one['round']}: {one['masks']} masks of {one['pictures']} scenes, "
          f"mean IoU with the truth {one['IoU']:.3f}")

# %% [markdown]
# In the first round a mask takes nearly as long as by hand; in the third, with the same two minutes for each scene, less than half of that.
# So there are more masks: about four and a half in a scene, in place of less than three.
# Their quality does not rise, it *falls* a little.
# What is drawn by hand is perfect here, and the better the network, the less is drawn by hand; a clicked mask only has to reach 0.75.
# Speed and number are what an engine gains; quality is what the annotator demands.
#
# The shares of truths say what kinds there are now.
# The public data had masks of spheres alone; now there are parts, groups and things of all kinds.
#
# ## 4. Stage two: what is easy is found by itself
#
# Two minutes are soon over, and the annotator always begins with what is largest.
# The small and the odd are never reached.
#
# **Semi-automatic.**
# In the second stage the annotator finds the easy masks drawn already, and spends the two minutes on the rest.
# Who finds the easy ones?
# A detector: lesson 08's Faster R-CNN with a single class, "object", trained with a box around each mask so far.
# Its confident boxes are prompts, and the network draws.
#
# **Predict.**
# The network gets better from round to round.
# Does the annotator need less time for a mask in this stage than before, or more?

# %% jupyter={"outputs_hidden": true}
for one in rounds[2:5]:
    print(f"{one['round']}: {one['seconds a mask']:.0f} s for a mask that somebody added; "
          f"{one['given']} masks by the detector, {one['drawn']} added; {one['good']:.1%} good")
others = [[one["seconds a mask"] for one in run["rounds"][2:5]] for run in runs]
assert all(before < min(after) for before, *after in others)    # in each run

# %% [markdown]
# More: about 40 seconds, in place of 23 to 25.
# An average hides what it is taken over: the easy masks are there already, and what is left to people is hard.
# The paper saw the same; there it went from 14 seconds back up to 34.
#
# A scene now has more than five masks.
# But nobody looked at those of the detector.

# %%
for one in rounds[3:5]:
    good_given = one["good"] * one["masks"] - one["drawn"]      # all that was drawn is good
    share = good_given / one["given"]
    print(f"{one['round']}: of {one['given']} masks by the detector {share:.0%} are good")
    assert 0.5 < share < 0.8

# %% [markdown]
# A third of what the detector gave is not good, and the network will learn from it.
# So the number of masks grows more than the share of truths that have one (section 6 shows both).
#
# ### What nobody draws
#
# In the last figure one line stops early: of all *stuff*, never more than half has a mask.
# Stuff is sky and ground.

# %%
ious = {}
for name, number in {"sky": 0, "ground": 1}.items():
    true = [world[place].semantic == number for place in range(20)]     # (96, 96) each
    seconds = [ANNOTATOR.by_hand(one) for one in true]
    clicked = []                                                        # IoU after 1, 2, 3 clicks
    for place, one in enumerate(true):
        embedding = assisted.encode(world[place].image[None].to(device))
        clicked.append(iou_by_clicks(assisted, embedding, one[None].to(device), 3))
    ious[name] = torch.cat(clicked)[:, 2].mean()
    print(f"{name:6}: by hand {min(seconds):.0f} to {max(seconds):.0f} s; "
          f"three clicks on the network of stage one: IoU ≈ {ious[name]:.2f}")
assert ious["sky"] > 0.9 and ious["ground"] < 0.1

# %% [markdown]
# The outline of the ground runs around everything that stands on it.
# Drawn by hand it always takes longer than the minute after which our annotator gives up.
# So the network never gets a mask of ground to learn from, so clicking never works, so it is given up in the next round too.
# The detector learns from the same masks, and the third stage will ask the same network.
# **An engine never learns what nobody ever draws, and nothing in its own numbers says so.**
# We only see it since we know the truth.
# (Would it end if somebody drew ten grounds, whatever it costs? That is a task at the end of the lesson.)
#
# ### Old masks and new ones
#
# Sometimes there are two masks of one thing.
# Two people have worked on a scene, or somebody drew anew what the detector had given, because it was not good enough.
# Then the newer mask counts.
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
# Try it: the detector's masks of our scene, and what an annotator drew there who had not seen them.

# %%
by_annotator = sets["two minutes, later"].cpu()
merged = merge_masks(given.cpu(), by_annotator, data_engine.SAME)
draw_mask_sets(sample.image, {
    "by the detector's boxes": given.cpu(), "by the annotator": by_annotator, "merged": merged})
plt.show()

# %% [markdown]
# What both have drawn is there once, in the annotator's version; what only one of them has is there as well.
#
# ## 5. Stage three: nobody looks
#
# After stage two the network learned once more from all 500 scenes, for 1,500 steps.
# Now it is left alone.
# But who clicks?
# **A grid does**: the picture is cut into 16 × 16 cells of 6 × 6 pixels, with a click in the middle of each.
# (The paper takes 32 × 32 clicks, in pictures of 1,024 pixels.)
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

# %% [markdown]
# The network after stage two answers all these clicks at once, each with three masks and its guesses of their IoU.

# %%
predictor = SamPredictor(net)
points = grid_points(16, (96, 96))                              # (256, 2)


def flood(scene) -> tuple[torch.Tensor, torch.Tensor]:
    """All answers to all clicks: logits (768, 96, 96) and guesses (768,)."""
    predictor.set_image(scene.image.to(device))
    answers = predictor.predict_points(points)          # masks (256, 3, 96, 96), ious (256, 3)
    return answers.masks.flatten(0, 1).cpu(), answers.ious.flatten().cpu()

# %%
logits, guesses = flood(sample)
draw_grid(sample.image, points)
plt.show()
print(f"{len(logits)} masks, of a scene in which {len(wanted)} can be meant")

# %% [markdown]
# A thing of 400 pixels is clicked a dozen times, and of the three answers to a click, one or two are to questions that nobody asked.
# So filters follow, and none of them may know the truth.
#
# - **The guess**: the network says how good it thinks each mask is (its guess of the IoU, lesson 17).
# - **Stability**: a mask is where the logits are above 0.
#   If it looks quite different with a threshold of 1 or of −1, the network does not know where the border is.
#
# Here are the three answers to one click.
# The lines are the borders at the thresholds −1, 0 and 1.
# Where they lie close together the logits are steep; where the map is white the network cannot decide.

# %%
click = 8 * 16 + 12                                             # of the grid: row 8, column 12
three = logits[3 * click:3 * click + 3]                         # (3, 96, 96)
draw_stability(three, 1., [f"guess ≈ {guess:.2f}" for guess in guesses[3 * click:3 * click + 3]])
plt.show()

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
# So one mask lies inside the other.
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
masks, truths = logits > 0, nested_masks(sample).masks          # (768, 96, 96), (T, 96, 96)
real, closest = mask_iou(masks, truths).max(dim=1)              # (768,) each: IoU with the closest truth
stability = stability_score(logits, 0., 1.)                     # (768,)
draw_score_against_iou({"guess": (guesses, 0.5), "stability": (stability, 0.7)}, real)
plt.show()

# %%
def place_of_sky(scene) -> int:
    """Which of the truths of a scene is the sky: the first of the two that are stuff."""
    return nested_masks(scene).levels.tolist().index(LEVELS.index("stuff"))


other = closest != place_of_sky(sample)                 # (768,) bool, closest to something else
for name, score in {"guess": guesses, "stability": stability}.items():
    both = torch.stack([score, real])                           # (2, 768)
    of_all, of_others = torch.corrcoef(both)[0, 1], torch.corrcoef(both[:, other])[0, 1]
    print(f"correlation of {name} and real IoU: ≈ {of_all:.2f}; without the sky ≈ {of_others:.2f}")
    assert of_others > 0.5

# %% [markdown]
# Both are good judges in this scene, and the by-product is not the worse one.
# In the paper the guess has to be at least 0.88 and the stability at least 0.95; our network is small, and we ask for 0.5 and 0.7.
#
# ### Exercise 5 · `keep_masks`
#
# *10 minutes · ★★☆*
#
# SAM keeps a mask if it is sure of it, if the mask is stable, and if it is not nearly the whole picture (appendix B).
# We drop empty ones, too.
#
# - `logits`: (M, H, W) floats; M may be 0. A mask is where they are above 0.
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
# And a part inside a large whole has a small IoU with it: look at what you divide by.
# </details>
# <details><summary>Hint: it fails for no masks</summary>
#
# `torch.tensor([])` is a tensor of floats.
# Places are whole numbers: say `dtype=torch.int64`.
# </details>

# %%
mask_nms = use(mask_nms)

# %%
places = keep_masks(logits, guesses, stability, 0.5, 0.7, 0.95)
kept = places[mask_nms(masks[places], guesses[places], 0.7)]
draw_mask_sets(sample.image, {"all that is left": masks[places], "without duplicates": masks[kept]})
plt.show()

# %% [markdown]
# And this is what each filter takes away, and what it costs, over 20 scenes.

# %%
def left_after(scene) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """All masks (768, 96, 96), and the places of those left: at first, and after each filter."""
    logits, guesses = flood(scene)
    stability = stability_score(logits, 0., 1.)
    sure = keep_masks(logits, guesses, stability, 0.5, 0., 0.95)
    stable = keep_masks(logits, guesses, stability, 0.5, 0.7, 0.95)
    distinct = stable[mask_nms(logits[stable] > 0, guesses[stable], 0.7)]
    return logits > 0, [torch.arange(len(logits)), sure, stable, distinct]

# %%
scenes = [world[number] for number in range(20)]
left = [left_after(scene) for scene in tqdm(scenes, desc="scenes")]
overlaps = [mask_iou(masks, nested_masks(scene).masks)                          # (768, T) each
            for (masks, _), scene in zip(left, scenes)]

# %%
stages = []
for step, name in enumerate(("all answers", "guess ≥ 0.5", "stability ≥ 0.7", "no duplicates")):
    same = [table[places[step]] >= data_engine.SAME                     # (K, T) each
            for table, (_, places) in zip(overlaps, left)]
    good_ones = torch.cat([one.any(dim=1) for one in same])
    found = torch.cat([one.any(dim=0) for one in same])
    counts = int(good_ones.sum()), int((~good_ones).sum())
    stages.append(FilterStage(name, *counts, found.float().mean().item()))
draw_funnel(stages)
plt.show()

# %% [markdown]
# Read it from top to bottom.
#
# - All answers together have a good mask for less than half of the truths. What no click finds, no filter brings back.
# - The guess throws away two thirds of the masks, nearly all of them bad, and hardly costs a truth.
# - Stability leaves almost nothing but good masks. It costs more truths than the guess.
# - Without duplicates only three in four are good. How can that be?

# %%
of_sky = 0
for table, (_, places), scene in zip(overlaps, left, scenes):
    of_sky += int((table[places[2], place_of_sky(scene)] >= data_engine.SAME).sum())
print(f"of {stages[2].good} good masks before duplicates were removed, {of_sky} were the sky")
assert of_sky > stages[2].good / 2

# %% [markdown]
# The sky is answered some 170 times in each scene, always rightly, and one of these masks stays.
# Everything else, right or wrong, has a few copies only.
# Whoever measures quality before duplicates are removed measures the sky.
#
# Removing duplicates costs truths as well: where a part is nearly all that is seen of its thing, the two are more than 0.7 alike, and one goes.
#
# `SamAutomaticMaskGenerator` in `lib/models/automatic_masks.py` does all this, and looks at crops of a picture as well, to find small things.
# It has the parameters of the published one, and with the same network it gives the same masks.

# %%
theirs = generator.generate(image)
print(f"yours: {len(kept)} masks, the generator's: {len(theirs.masks)}")
assert theirs.masks.cpu().equal(masks[kept])

# %% [markdown]
# **Look inside.**
# Move the thresholds, and watch what comes and goes.
# (Masks without a pixel are left out from the start.)

# %%
explore_filters(sample.image, logits, guesses, truths=truths, start=(0.5, 0.7, 0.7))

# %% [markdown]
# What passes all filters and is still wrong?
# Here are four of the 20 scenes, each with the mask that is least like any truth.

# %%
worst = []
for (masks, places), table, scene in zip(left, overlaps, scenes):
    left_ious = table[places[-1]].amax(dim=1)                   # with the closest truth
    if len(left_ious):
        worst.append((left_ious.min().item(), scene.image, masks[places[-1][left_ious.argmin()]]))
worst.sort(key=lambda one: one[0])
figure, axes = plt.subplots(1, 4, figsize=(10, 2.9), layout="constrained")
for axis, (iou, picture, mask) in zip(axes, worst):
    show_everything(axis, picture, mask[None])
    axis.set_title(f"IoU ≈ {iou:.2f}")
plt.show()

# %% [markdown]
# The first is most of a thing that is too small to be a truth here (below 64 pixels), so it is rather our measure that errs.
# The second is a patch of a ball; the others run across several things.
# All of them have clear borders.
# The filters ask whether the network is sure; whether anybody would *want* this mask they cannot ask.
#
# ## 6. Was it worth it?
#
# In the engine, the third stage went over 800 scenes; and the whole engine ran three times, each time with its own seed, so with other scenes in each round.
# What did each stage give?

# %%
print("mean of all runs        masks a scene   seconds a mask   good     truths with a mask")
for number, one in enumerate(rounds):
    mean = {key: sum(run["rounds"][number].get(key, 0) for run in runs) / len(runs)
            for key in ("masks", "pictures", "seconds a mask", "good", "found")}
    print(f"{one['round']:12} {one['pictures']:4} scenes {mean['masks'] / mean['pictures']:11.1f} "
          f"{mean['seconds a mask']:15.0f} {mean['good']:11.0%} {mean['found']:14.0%}")
hours = [sum(one.get("seconds", 0) for one in run["rounds"]) / 3600 for run in runs]
print("an annotator's hours in all, in each run:", *(f"{one:.1f}" for one in hours))

# %%
draw_rounds(rounds, [run["rounds"] for run in runs[1:]])
plt.show()

# %% [markdown]
# Stage three costs nobody a second, and goes over as many scenes as one likes.
# But a scene gets about as many masks as in the very first round, more of them are wrong, and two thirds of what can be meant is missing.
# Of parts, only one in six or seven is found.
# (In stage two parts and things gain; groups, of which there are few, go down and up again.)
#
# And do masks that nobody looked at teach anything?
# From the network after stage two, four trainings go on for 500 steps each.
# They differ in the masks alone: once more those of stages one and two, in which people had a hand; those of stage three, made by the network itself;
# all of them; and, as the most that could be had, everything that can be meant in all these scenes.
# The networks are compared on 200 test scenes, which no stage has seen.
#
# **Predict.**
# Can a network learn something from its own answers?

# %% jupyter={"outputs_hidden": true}
def shown(title: str, measured: list[dict]) -> str:
    """IoU after three clicks, of all that can be meant and by level: the mean of all runs."""
    names = ("IoU by clicks", *(f"{level}, by clicks" for level in LEVELS))
    values = torch.tensor([[one[name][2] for name in names] for one in measured])      # (runs, 5)
    return f"{title:34}" + "".join(f"{value:8.3f}" for value in values.mean(dim=0))


HEAD = "IoU after three clicks".ljust(34) + "".join(f"{name:>8}" for name in ("all", *LEVELS))
print(HEAD)
stages_of = {"public data": "public", "after stage one": "assisted", "after stage two": "semi"}
for title, name in stages_of.items():
    print(shown(title, [run["tested"][name] for run in runs]))
for name in runs[0]["last"]:
    print(shown(f"  + 500 steps, {name}", [run["last"][name]["test"] for run in runs]))

# %%
rows = {"after stage two": [run["tested"]["semi"] for run in runs]}
rows |= {f"+ {name}": [run["last"][name]["test"] for run in runs] for name in runs[0]["last"]}
draw_levels(rows, clicks=3, title="500 steps more, with other masks each time")
plt.show()

# %%
for run in runs:                                # what holds in each run, not only on average
    tested, last = run["tested"], {name: one["test"] for name, one in run["last"].items()}
    for name in ("part, by clicks", "thing, by clicks"):
        assert tested["public"][name][2] < tested["assisted"][name][2] < tested["semi"][name][2]
        assert last["automatic"][name][2] < last["all"][name][2]
        assert last["all"][name][2] < last["assisted and semi"][name][2]
    print("masks:", {name: one["masks"] for name, one in run["last"].items()})

# %% [markdown]
# **For parts and things, what people and network made together teaches as much as the truth.**
# More than 2,000 masks of 500 scenes, some of them not good, do as well there as 10,000 perfect masks of 1,300 scenes.
# (With two limits: the network had learned from those 2,000 before, and 500 steps are too few to use 10,000.)
# What the truth adds is the ground, which nobody drew, and something for groups.
#
# **What the network made alone does harm.**
# With its own masks it gets worse at parts and things, in each run, and mixed with people's masks they drag those down as well.
# In the paper it is not so: there, a network that learned from the automatic masks alone was nearly as good as one that learned from all.
#
# **Find out why.**
# Three things can be wrong with masks that nobody looked at: some are like nothing that anybody means; the others are not exact; and most are not there at all.
# So, for one run, the training on the third stage's masks was repeated three times, each time with one more fault removed.

# %%
print(HEAD + "   masks")
print(shown("after stage two", [runs[0]["tested"]["semi"]]))
automatic = runs[0]["last"]["automatic"]
print(shown("  + 500 steps, automatic", [automatic["test"]]), f"{automatic['masks']:7}")
for name, one in stored["why"].items():
    print(shown(f"    ... {name}", [one["test"]]), f"{one['masks']:7}")
part = [one["test"]["part, by clicks"][2] for one in stored["why"].values()]
assert part[2] - part[1] > 2 * abs(part[1] - part[0])           # the last step counts most for parts

# %% [markdown]
# Read it column by column.
# Taking out what is wrong helps nothing.
# Making exact what is left helps things and groups.
# Parts, which lost most, come back only when everything is there, and then not quite to where they were.
# So what harms the parts is what is *missing*: the network finds what is easy, learns what is easy, and forgets the rest.
# (It is one run; differences of 0.01 or 0.02 say nothing.)
#
# The paper's network, with more clicks and enlarged pieces of each photo, found about a hundred masks in each of 11 million photos.
# Ours finds a third of what there is.
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
# | paper: retrained | 6 times | 5 times | – |
# | paper: seconds a mask | from 34 down to 14 | up to 34 again, for the hard ones | 0 |
# | ours (seed 0): scenes | 3 × 100 | 2 × 100 | 800 |
# | ours: masks | 1,164 | 1,029 | 2,146 |
# | ours: seconds a mask | from 46 down to 23 | up to 41 and 37 | 0 |
#
# **What we found.**
# In about fifteen hours of an annotator's time, a network that knew nothing but spheres became one that answers clicks on parts, things and groups.
# A mask took 43 to 50 seconds at first and 23 to 25 two rounds later; in stage two, where only the hard ones were left, about 40 again.
# What people and network made together taught as much about parts and things as the truth, and nothing about the ground, which nobody ever drew.
# What the network made alone, it made for nothing; but it found a third of what there was, and learning from that did harm.
# Guess and stability are good judges of a mask, and blind to what is not there.
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
# - **Ten grounds.** In the first round, draw the ground of ten scenes by hand, whatever it costs. Is one round enough for the engine to catch up?
# - **An impatient annotator.** Accept masks from an IoU of 0.6 on. More masks, or worse networks?
# - **Choose well.** Let the annotator have the 100 scenes in which the network is least sure. Do its rounds help more?
# - **Crops.** `crop_n_layers=1` looks at 2 × 2 enlarged pieces. What is found that was not, and what goes wrong?
#
# ### Three questions
#
# **1.**
# Why do the seconds for a mask rise in the second stage, although the network is better than before?
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
# A network labels pictures, and learns from its labels.
# It finds what is easy, and nothing else. What happened in our lesson?
# (a) it got better at everything (b) it got worse, mostly at what was missing from its labels (c) it got worse, because of its wrong labels
#
# <details><summary>Answer</summary>
#
# **(b)** Without the wrong labels it was no better; parts came back only with labels for everything.
# </details>

# %%
progress("18")

# %% [markdown]
# **Next:** words.
# Lesson 19 types a phrase, finds boxes, and lets SAM draw: Grounded SAM.
