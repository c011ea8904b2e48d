# %% [markdown]
# # 14 · DETR: detection as a set
#
# Here are three scenes that the network has never seen, with every answer that it is confident about.
# There were no anchors and no proposals, and nothing was removed from its answers: non-maximum suppression is gone.
# The network asks twelve questions of every picture, all at once, and the answer to most of them is "nothing".

# %%
import json

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import CLASSES, Toyworld
from lib.device import choose_device
from lib.models.detr import PostProcess, detr_small
from lib.training import load_checkpoint
from lib.viz.detection.detections import draw_detections

device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"
net = detr_small().to(device)
made = load_checkpoint(net, folder / "14_detr.safetensors")
net = net.eval().requires_grad_(False)
stored = json.loads((folder / "14_runs.json").read_text())      # all that was measured for this lesson
val_world = Toyworld("val", length=200)

# %%
def sure(found: dict, least: float = 0.5) -> dict:
    """The answers with a score of at least `least`."""
    keep = found["scores"] >= least
    return {name: values[keep].cpu() for name, values in found.items()}


numbers = (80, 156, 50)
images = torch.stack([val_world[number].image for number in numbers])           # (3, 3, 96, 96)
answers = PostProcess()(net(images.to(device)))         # for each picture 12 boxes, scores, labels
draw_detections(images, {f"scene {number}": sure(one) for number, one in zip(numbers, answers)}, size=3)
plt.show()
for number, one in zip(numbers, answers):
    print(f"scene {number}: ≈ {len(sure(one)['labels'])} confident answers of 12,",
          f"{len(val_world[number].labels)} things")
assert all(2 <= len(sure(one)["labels"]) <= 8 for one in answers)

# %% [markdown]
# (It is not perfect: in the second scene the small cylinder behind the cone is missed, and the cone's box ends too early.
# In the third the crate behind the figure is taken for a cylinder.)
#
# **You will be able to**
#
# - tell a network that sees a *set* of cells where each of them is;
# - implement attention, and read its maps;
# - match answers to things so that each thing has exactly one, by brute force, and say what the Hungarian algorithm saves;
# - write the loss of a set, and measure how much it leaves for non-maximum suppression to do;
# - look inside a transformer: which cells a cell looks at, and which questions the queries have learned to ask.
#
# | | |
# | --- | --- |
# | Time | 140 minutes to read and do, about half a minute of computing on two cores |
# | Builds on | lesson 05 (GIoU, NMS, AP), 09 (YOLO) |
# | Papers | Carion et al. 2020, *End-to-End Object Detection with Transformers*; Vaswani et al. 2017, *Attention Is All You Need* |
#
# A number printed with ≈ is measured as you run it, and may come out a little different on your machine.

# %%
import math
from itertools import permutations

from torch import nn

from lib.exercises import check, hint, progress, solution, use
from lib.ops.boxes import box_cxcywh_to_xyxy, generalized_box_iou
from lib.training import Batches, evaluate_detection, toyworld_detection
from lib.viz.attention.explorer import explore_attention
from lib.viz.attention.maps import draw_attention, draw_positions
from lib.viz.attention.queries import draw_queries
from lib.viz.detection.focal import draw_runs
from lib.viz.detection.matching import draw_matching
from lib.viz.diagrams.detr_plan import draw_detr

# %% [markdown]
# **The big picture first.**
# The backbone is YOLO's of lesson 09; all else is new.
# Its map has 144 cells.
# In the **encoder** these cells look at each other.
# In the **decoder** twelve **queries** look at the cells, and at each other.
# Each query then gives one answer: a class and a box, or "nothing".
# (The arrows below the stages show, for each loss, how far back its gradient runs: here everything learns, down to the first layer.)

# %%
scene = val_world[156]
picture = scene.image.to(device)                                # (3, 96, 96)
draw_detr(net, picture)
plt.show()

# %% [markdown]
# ## 1. Saying a thing once
#
# All detectors so far repeat themselves.
# Many anchors or cells lie near a thing, and each of them reports it.
# Afterwards **non-maximum suppression** (NMS, lesson 05) deletes every box that overlaps a surer one.
# It is a hand-written rule with a hand-set threshold, and the network never learns of it.
#
# **Predict.**
# How many confident answers (0.5 or more) does lesson 09's YOLO of 2017 give for 100 things, before NMS?

# %% jupyter={"outputs_hidden": true}
from lib.models.yolo import yolo_v2_small

yolo = yolo_v2_small().to(device)
load_checkpoint(yolo, folder / "09_yolo_v2.safetensors")
yolo = yolo.eval().requires_grad_(False)
shown = {}
for title, threshold in (("YOLO before NMS", 1.0), ("YOLO after NMS", 0.5)):
    yolo.nms_thresh = threshold                                 # 1: nothing is deleted
    shown[title] = sure(yolo(picture[None])[0])
shown["DETR"] = sure(answers[1])
draw_detections(scene.image, shown, columns=3, size=3)
plt.show()
for words in ("", " with NMS"):
    names = ("answers", "duplicates", "AP", "AP50")
    run = {name: stored["yolo v2"]["val"][name + words] for name in names}
    print(f"YOLO{words or ' without NMS':12}", run)

# %% [markdown]
# 177 confident answers for 100 things, of which 89 are duplicates, and without NMS the AP50 falls from 0.84 to 0.62.
# (AP counts a duplicate as a wrong answer.)
#
# Why can YOLO not simply say each thing once?
# Each of its cells decides on its own, from what it sees.
# Two neighbouring cells see nearly the same ball, so they give nearly the same answer, and neither knows what the other says.
#
# To do without NMS, two things are needed:
#
# - answers that can *hear each other*, so that one speaks and the others keep silent: **attention**;
# - a training objective that rewards exactly *one* answer for each thing: **matching**.
#
# ## 2. A set of cells
#
# The backbone's map has 96 numbers in each of 12 × 12 cells.
# The transformer takes the cells as a **set**: 144 *tokens* of 96 numbers, in no particular order.
# It does not know which cell is next to which.
#
# **Predict.**
# The cells of a picture are shuffled before they go into the encoder, without their places.
# What happens to its output?

# %% jupyter={"outputs_hidden": true}
features, mask, places = net.backbone(net.transform(picture[None]))     # (1, 96, 12, 12), (1, 12, 12)
cells = net.input_proj(features).flatten(2).transpose(1, 2)     # (1, 144, 96)
order = torch.randperm(144, generator=torch.Generator().manual_seed(0)).to(device)
straight = net.transformer.encoder(cells).memory                # (1, 144, 96)
shuffled = net.transformer.encoder(cells[:, order]).memory
same = torch.allclose(straight[:, order], shuffled, atol=1e-4)
print("shuffled in the same way, and otherwise equal:", same)

# %% [markdown]
# Each cell comes out with the same numbers as before, wherever it lies.
# A convolution would have noticed; this encoder cannot tell a map from a heap of its cells.
# So each cell has to carry its place with it.
#
# Two more numbers, row and column, would say it.
# But the encoder compares cells by *inner products* (section 3), and with those it should be easy to ask for "the cells near me".
# So a place is written as **waves** of many lengths, each as a sine and a cosine: like the hands of many clocks, fast ones and slow ones.
#
# ### Exercise 1 · `sine_positions`
#
# *15 minutes · ★★☆*
#
# - `height`, `width`: whole numbers, rows and columns of the map.
#   `num_features`: F, an even number.
# - Returns (2F, height, width) float32: a code for each cell.
# - Row r (from 0) lies at y = 2π (r + 1) / height, column c at x = 2π (c + 1) / width.
# - A place becomes F numbers: for i = 0, 1, … F/2 − 1 the sine, then the cosine, of place / 10000^(2i/F).
#   So sine and cosine take turns.
# - The first F channels are the row's numbers, the last F the column's.

# %% tags=["exercise"]
def sine_positions(height: int, width: int, num_features: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    lengths = 10000 ** (torch.arange(0, num_features, 2) / num_features)        # (F/2,)

    def waves(count: int) -> torch.Tensor:
        places = 2 * math.pi * torch.arange(1, count + 1) / count               # (count,)
        angles = places[:, None] / lengths                      # (count, F/2)
        return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1).T    # (F, count)

    rows = waves(height)[:, :, None].expand(-1, -1, width)      # (F, height, width)
    columns = waves(width)[:, None].expand(-1, height, -1)
    return torch.cat([rows, columns])
    ### END SOLUTION

# %%
check(sine_positions)

# %% [markdown]
# <details><summary>Hint: sine and cosine in turn</summary>
#
# `torch.stack` along a new last axis puts a sine and its cosine side by side.
# Flattening the last two axes lets them take turns.
# </details>
# <details><summary>Hint: from one axis to the map</summary>
#
# All cells of a row share the row's numbers.
# Compute them for a column of rows only, then `expand` along the other axis.
# </details>
# <details><summary>Hint: the lengths</summary>
#
# There are F/2 of them.
# The exponents 2i/F run from 0 to nearly 1 in steps of 2/F.
# </details>

# %%
sine_positions = use(sine_positions)

# %%
codes = sine_positions(12, 12, 48)                              # (96, 12, 12)
assert torch.allclose(codes, places[0].cpu(), atol=1e-4)        # the codes that the network is given
draw_positions(codes, cell=(7, 3), channels=(0, 1, 6, 48, 49, 54))
plt.show()

# %% [markdown]
# The upper three maps tell rows apart, the lower three columns.
# On the right: how similar the other cells' codes are to the marked cell's, by their inner product.
# It falls with the distance, so "near me" is something that a network can look for.
# (It does not fall far. Most of the waves are so long that the whole picture is a small part of one.)
#
# And it depends only on the *distance*, not on where the two cells are:

# %%
row_codes = codes[:48, :, 0]                                    # (48, 12), the part that tells rows
alike = row_codes.T @ row_codes                                 # (12, 12) between all pairs of rows
for apart in (0, 1, 3, 6):
    pairs = alike.diagonal(apart)                               # all pairs of rows so far apart
    print(f"{apart} rows apart: {pairs.min():.3f} to {pairs.max():.3f}")
    assert pairs.max() - pairs.min() < 1e-3

# %% [markdown]
# (For one wave, sin a · sin b + cos a · cos b = cos(a − b): only the difference is left.)
#
# In DETR these codes are added to the cells in every layer anew, both where a cell looks and where it is looked at.
#
# ## 3. Attention
#
# How does a cell learn what the others contain?
# It holds up a **query**: what am I looking for?
# Every cell holds up a **key**: what is to be found here?
# And every cell has a **value**: what it gives to those who look at it.
#
# The inner product of a query and a key is a score.
# A softmax over all keys turns a cell's scores into weights that add up to 1, and the cell receives the mean of the values with these weights.
# It is like looking a word up in a dictionary, except that every entry fits a little.
#
# Inner products of long vectors are large by chance: with d independent numbers of size 1, they are about √d.
# The softmax of large scores puts nearly all its weight on one key, and has hardly any gradient; so scores are divided by √d.
#
# **Heads.**
# One look is one mean.
# To look for several things at once, the numbers are cut into H equal parts, and each part looks for itself.
#
# ### Exercise 2 · `attention`
#
# *20 minutes · ★★★*
#
# - `query`: (B, L, E) floats, who looks.
#   `key`: (B, S, E), what is looked at.
#   `value`: (B, S, E), what is received from there.
# - `num_heads`: H, a divisor of E.
#   Head number 0 has the first E/H of the E numbers of all three, head 1 the next E/H, and so on.
# - `hidden`: (B, S) bool, True at keys that nobody looks at, such as padding.
#   There is always a key that is not hidden.
# - In each head: scores q · k / √(E/H); hidden keys get weight 0; softmax over the keys; the mean of the values with these weights.
#   The heads' answers are concatenated again, in their order.
# - Returns two tensors: (B, L, E), and the weights (B, H, L, S).

# %% tags=["exercise"]
def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, num_heads: int,
              hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    q, k, v = (x.unflatten(2, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    scores = q @ k.transpose(2, 3) / q.shape[3] ** 0.5          # (B, H, L, S)
    scores = scores.masked_fill(hidden[:, None, None], float("-inf"))
    weights = scores.softmax(dim=3)
    return (weights @ v).transpose(1, 2).flatten(2), weights    # (B, L, E), (B, H, L, S)
    ### END SOLUTION

# %%
check(attention)

# %% [markdown]
# <details><summary>Hint: heads as an axis of their own</summary>
#
# `unflatten` cuts the last axis into (H, E/H).
# Bring H in front of the cells, and one matrix product serves all heads of all pictures.
# </details>
# <details><summary>Hint: hidden keys</summary>
#
# Their *scores* must be −∞ before the softmax; then their weights are 0 and the others still add up to 1.
# </details>
# <details><summary>Hint: right numbers in the wrong places</summary>
#
# Undo in the reverse order what you did to get the heads: first the axes, then the cut.
# </details>

# %%
attention = use(attention)

# %% [markdown]
# Nothing in your function is learned.
# A layer has four linear maps around it, and those are: three make queries, keys and values out of the cells, one mixes what the heads found.
# Here is the attention of our encoder's first layer, by hand:

# %%
layer = net.transformer.encoder.layers[0].self_attn
placed = cells + places.flatten(2).transpose(1, 2)              # (1, 144, 96)
to_query, to_key, to_value = layer.in_proj_weight.chunk(3)      # (96, 96) each
b_query, b_key, b_value = layer.in_proj_bias.chunk(3)
nothing_hidden = torch.zeros(1, 144, dtype=torch.bool, device=device)
mean, weights = attention(F.linear(placed, to_query, b_query), F.linear(placed, to_key, b_key),
                          F.linear(cells, to_value, b_value), 4, nothing_hidden)
theirs = layer(placed, placed, cells)[0]
equal = torch.allclose(layer.out_proj(mean), theirs, atol=1e-4)
print("weights", tuple(weights.shape), "· equal to the layer:", equal)

# %% [markdown]
# Places go into queries and keys, but not into values: they say where to look, and are not passed on.
#
# After the attention comes a small network that treats each cell alone.
# After each of these two steps the result is added to what went in, and normalised (LayerNorm).
# That is an encoder layer; you find it in `lib/layers/transformer.py`, in ten lines.
#
# ## 4. Where do cells look?
#
# There are 144 × 144 weights in each head, four heads in a layer, two layers.
# Below are three cells of one scene, and where each of them looks in the first layer (the mean of its heads).

# %%
said, looked = net.attention(picture[None])                     # the answers, and all attention maps
first = looked.encoder_attention[0][0].mean(dim=0).cpu()        # (12, 12, 12, 12): cell to cell
lookers = {"from the sphere": (5, 7), "from the cone": (5, 3), "from the figure": (7, 4)}
maps = {title: first[cell] for title, cell in lookers.items()}  # (12, 12) each
draw_attention(scene.image, maps, lookers, columns=3, size=3)
plt.show()
print(f"the weights of a cell add up to {first[5, 7].sum():.3f}")

# %% [markdown]
# The brightest cells lie in the middle of things: their own, and others.
# (This backbone was YOLO's, and for YOLO the cell in a thing's middle has to answer for it.)
# But the brightest cell gets only 3 to 9 %, where an even look would give 0.7 %: more than half of the attention is spread over the picture.
#
# Is that the rule?
# We take all things of 200 scenes, each time from the cell that the thing fills most, and add up the attention that stays on the same thing.
#
# **Predict.**
# A thing fills 4.7 % of the picture on average, so 4.7 % would be chance.
# What share is it in a trained encoder, and what share goes to *other* things?

# %% jupyter={"outputs_hidden": true}
def runs_of(kind: str) -> list[dict]:
    """What was measured in the runs of a kind, one for each seed."""
    return [run for name, run in stored.items() if name.startswith(f"{kind}/")]


def attention_to(what: str, runs: str = "attention") -> torch.Tensor:
    """The share of attention that goes there, (layers, heads), the mean of three seeds."""
    return torch.tensor([run[runs][what] for run in runs_of("set")]).mean(dim=0)


for title, name in (("before training", "attention, untrained"), ("trained", "attention")):
    for layer in (0, 1):
        own, others = (attention_to(what, name)[layer] for what in ("own", "others"))
        print(f"{title:15} layer {layer}: own thing {own.mean():.3f}, other things {others.mean():.3f}")
own, others = attention_to("own area"), attention_to("others' area")
print(f"share of the picture:    own thing {own:.3f}, other things {others:.3f}")
assert min(torch.tensor(run["attention"]["own"])[1].mean() for run in runs_of("set")) > \
    2 * attention_to("own area")

# %% [markdown]
# Before training it is chance.
# Afterwards a cell looks at things more than at the ground.
# Its own thing gets 2.2 times chance in the first layer and 4.2 times in the second.
# Other things get 1.5 and 1.2 times chance.
# So the second layer separates a thing from its neighbours better than the first.
# (In two of the three trainings one head of the second layer has specialised in this: half of its attention stays on the thing.
# The network in this notebook has no such head.)
#
# ## 5. Twelve questions at once
#
# The decoder begins with **object queries**: twelve vectors of 96 numbers, learned like any weight, and the same for every picture.
# (The field uses the word twice: for what a token holds up in attention, and for these twelve tokens.)
# What each of them knows of the picture begins as zeros; the learned vector is added in every layer, as the places are for cells.
# In each of three layers they look at each other, then at the encoder's cells; then a small network treats each alone.
# All twelve are computed at once: none waits for what another has said.
#
# The queries differ only in these numbers.
# What have they learned to ask?
#
# **Predict.**
# Do queries specialise in classes, in places, in sizes, or in nothing?

# %% jupyter={"outputs_hidden": true}
val_images, val_targets = toyworld_detection(val_world)         # (200, 3, 96, 96) bytes
outputs = net(val_images.to(device) / 255)
scores = outputs["pred_logits"].softmax(dim=-1)[..., :-1].amax(dim=-1)          # (200, 12)
kept = scores >= 0.5
draw_queries(outputs["pred_boxes"].cpu(), kept.cpu())
plt.show()
print("confident answers in 200 scenes:", " ".join(f"≈ {count}" for count in kept.sum(dim=0).tolist()))
classes = outputs["pred_logits"][..., 1:-1].argmax(dim=-1)      # (200, 12): 0 is a sphere
for query in (9, 5):
    counts = classes[:, query][kept[:, query]].bincount(minlength=5).tolist()
    print(f"query {query}:", ", ".join(f"{name} ≈ {count}" for name, count in zip(CLASSES, counts)))

# %% [markdown]
# In places, and in sizes. (A dot's area is the area of the box.)
# Queries 9, 1, 2, 11 and 5 share the foreground, from left to right, and give large boxes; the others share the horizon, and give small ones.
# Query 6 is almost idle.
# No query asks for a class: each reports whatever stands in its place.
#
# And where does a query look?

# %%
answer = {name: value.cpu() for name, value in PostProcess()(said)[0].items()}
where = looked.cross_attention[-1][0].mean(dim=0).cpu()         # (12, 12, 12): of each query
pairs = zip(answer["labels"].tolist(), answer["scores"].tolist())
says = [f"{number}: {CLASSES[label - 1]} {score:.2f}" if score >= 0.5 else f"{number}: nothing"
        for number, (label, score) in enumerate(pairs)]
speakers = torch.nonzero(answer["scores"] >= 0.5)[:, 0].tolist()
draw_attention(scene.image, {says[number]: where[number] for number in speakers}, columns=4, size=2.4)
plt.show()

# %% [markdown]
# At a cell or two on its thing, where the encoder has gathered what it needs.
# (In the paper, decoder queries look at the ends of things: heads, feet, tips. Here a cell has 8 pixels, and the thing three to five cells.)
#
# **Do the queries hear each other?**
# Let each query answer twice: in company, as it was trained, and all alone, with nobody to look at but itself.
#
# **Predict.**
# What changes?

# %% jupyter={"outputs_hidden": true}
from lib.ops.boxes import box_iou


def asked(queries: list[int]) -> list[dict]:
    """The answers of some of the queries, without the others, in the first 60 scenes."""
    whole = net.query_embed.weight.data
    net.query_embed.weight.data = whole[queries]
    found = PostProcess()(net(val_images[:60].to(device) / 255))
    net.query_embed.weight.data = whole
    return [{name: value.cpu() for name, value in one.items()} for one in found]


def count(found: list[dict]) -> tuple[int, int]:
    """How many things are found, and how many answers repeat what another has said."""
    things = duplicates = 0
    for one, target in zip(found, val_targets):
        one = sure(one)
        right = box_iou(one["boxes"], target["boxes"]) >= 0.5    # (answers, things)
        right &= one["labels"][:, None] == target["labels"]
        things += int(right.any(dim=0).sum())
        duplicates += int((right.sum(dim=0) - 1).clamp(min=0).sum())
    return things, duplicates


# %% jupyter={"outputs_hidden": true}
single = [asked([number]) for number in range(12)]              # twelve times one answer for each scene
alone = [{name: torch.cat([one[name] for one in scene_answers]) for name in ("boxes", "scores", "labels")}
         for scene_answers in zip(*single)]
together = asked(list(range(12)))
for title, found in (("together", together), ("alone", alone)):
    things, duplicates = count(found)
    print(f"{title:9} ≈ {things} things found, ≈ {duplicates} duplicates")
assert count(alone)[0] < 0.8 * count(together)[0]

# %% [markdown]
# Alone, they find three fifths of the things.
# So an answer depends on the other queries; a query does not simply report what stands in its place.
# *How* it depends is not shown by this: if queries only silenced each other, they would say more alone, not less.
# (And no query was ever alone in training. Section 9 has a cleaner experiment.)
#
# ## 6. Which query is responsible for which thing?
#
# In training there are twelve answers and, say, three true things.
# Which answer is to be corrected towards which thing?
# With anchors that was a question of overlap (lesson 08), and several anchors could answer for the same thing.
# Here each thing gets exactly **one** query, and the other queries are to say "nothing".
#
# Let every pair of a query and a true thing have a **cost**: small if the query's answer is nearly right already.
#
# ### Exercise 3 · `matching_cost`
#
# *10 minutes · ★★☆*
#
# - `logits`: (Q, K + 1) floats; the last column says "nothing".
#   `boxes`: (Q, 4) floats, shares of the picture 0..1: middle x, middle y, width, height.
# - `labels`: (n,) int64, 0..K − 1.
#   (Here K = 6: class 0 is the background of earlier lessons, which no label bears, and 6 is "nothing".)
#   `true_boxes`: (n, 4), in the same form as `boxes`.
#   n may be 0.
# - Returns (Q, n): 5 · (the sum of the four absolute differences) − p − 2 · GIoU.
#   Here p is the probability, by a softmax over all K + 1, that the query gives to the true thing's class.
# - `generalized_box_iou` takes (Q, 4) and (n, 4) in xyxy, in any unit, and gives (Q, n); `box_cxcywh_to_xyxy` turns boxes into xyxy.
#   Both are imported.

# %% tags=["exercise"]
def matching_cost(logits: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor,
                  true_boxes: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    probability = logits.softmax(dim=1)[:, labels]              # (Q, n)
    distance = (boxes[:, None] - true_boxes).abs().sum(dim=2)   # (Q, n)
    overlap = generalized_box_iou(box_cxcywh_to_xyxy(boxes), box_cxcywh_to_xyxy(true_boxes))
    return 5 * distance - probability - 2 * overlap
    ### END SOLUTION

# %%
check(matching_cost)

# %% [markdown]
# <details><summary>Hint: all pairs at once</summary>
#
# An axis of length 1 in the right place, and two tables of boxes broadcast to (Q, n, 4).
# </details>
# <details><summary>Hint: the class</summary>
#
# `labels` picks columns of the probabilities, one for each true thing, also the same one twice.
# </details>

# %%
matching_cost = use(matching_cost)

# %% [markdown]
# (Why both distances?
# The sum of differences grows with the size of a box; GIoU does not depend on it.
# And why the probability itself, when the loss will use its logarithm?
# A probability is at most 1, but −log p may be any number, and would drown the other two.)
#
# Here is a scene with three things, one of them a figure in front of the green cylinder.
# The picture shows the twelve answers of the network, the table what each pair costs.

# %%
from lib.ops.boxes import box_xyxy_to_cxcywh_normalized
from scipy.optimize import linear_sum_assignment


@torch.no_grad()
def costs_in(network: nn.Module, numbers: list[int]) -> list[torch.Tensor]:
    """What each pair costs in some validation scenes, (Q, n) for each."""
    outputs, costs = network(val_images[numbers].to(device) / 255), []
    for number, logits, boxes in zip(numbers, outputs["pred_logits"].cpu(), outputs["pred_boxes"].cpu()):
        true_boxes = box_xyxy_to_cxcywh_normalized(val_targets[number]["boxes"], (96, 96))      # (n, 4)
        costs.append(matching_cost(logits, boxes, val_targets[number]["labels"], true_boxes))
    return costs


def names_of(target: dict) -> list[str]:
    return [CLASSES[label - 1] for label in target["labels"].tolist()]


# %%
number = 195
target, (cost,) = val_targets[number], costs_in(net, [number])
best = torch.as_tensor(linear_sum_assignment(cost.T)[1])        # (n,): the best matching, see below
twelve = PostProcess()(net(val_images[[number]].to(device) / 255))[0]["boxes"].cpu()
draw_matching(val_world[number].image, twelve, target["boxes"], cost, best, names_of(target))
plt.show()

# %% [markdown]
# For the figure (A) query 5 is the cheapest, at 1.50; but it is the cheapest for the cylinder (B) too.
# Going on to query 10 costs the figure 0.16, and would cost the cylinder 0.52.
# So the cylinder gets query 5, and the figure query 10.
#
# The matching wanted is the one with the smallest **sum**.
# "Each thing takes its cheapest query" is not enough: two things may want the same one.
#
# ### Exercise 4 · `match_by_trying`
#
# *12 minutes · ★★☆*
#
# - `cost`: (Q, n) floats, n ≤ Q; n may be 0.
#   Entries may be negative.
# - Returns (n,) int64: for each true thing the number of its query, no query twice, so that the sum of the n costs is as small as possible.
# - Try all ways.
#   (The check asks for at most 7 queries and 4 things, and there are no ties.)
# - `permutations(range(Q), n)` of `itertools` is imported: all ordered choices of n of Q numbers.

# %% tags=["exercise"]
def match_by_trying(cost: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    num_queries, n = cost.shape
    ways = torch.tensor(list(permutations(range(num_queries), n)))              # (ways, n)
    ways = ways.to(torch.int64).view(-1, n) if n else torch.zeros(1, 0, dtype=torch.int64)
    totals = cost[ways, torch.arange(n)].sum(dim=1)             # (ways,)
    return ways[totals.argmin()]
    ### END SOLUTION

# %%
check(match_by_trying)

# %% [markdown]
# <details><summary>Hint: order matters</summary>
#
# (2, 5) gives query 2 to the first thing and query 5 to the second; (5, 2) is another way.
# </details>
# <details><summary>Hint: nothing to match</summary>
#
# With n = 0 there is exactly one way: the empty one.
# </details>

# %%
match_by_trying = use(match_by_trying)

# %% [markdown]
# How many ways are there?
# For 12 queries and 3 things 12 · 11 · 10 = 1,320, for 12 and 6 already 665,280; for 100 queries and 20 things about 10³⁹.
# The **Hungarian algorithm** (Kuhn 1955) finds the best without trying them all; the time of its modern forms grows with the cube of the size.
# SciPy has one as `linear_sum_assignment`, and a network is trained with that.

# %%
from time import perf_counter

drawn = torch.Generator().manual_seed(0)
for queries, things in ((8, 3), (9, 4), (9, 5)):
    cost = torch.rand(queries, things, generator=drawn)
    start = perf_counter()
    tried = match_by_trying(cost)
    middle = perf_counter()
    hungarian = torch.as_tensor(linear_sum_assignment(cost.T)[1])
    end = perf_counter()
    assert torch.equal(tried, hungarian)
    print(f"{queries} queries, {things} things, {math.perm(queries, things):6,} ways: "
          f"trying ≈ {1000 * (middle - start):.1f} ms, Hungarian ≈ {1000 * (end - middle):.2f} ms")

# %% [markdown]
# **Is it worth it?**
# One could also give each thing its cheapest query.
# Or go *greedily*: take the cheapest pair of all, cross out its query and its thing, take the cheapest pair that is left, and so on.
#
# **Predict.**
# In how many of 200 scenes does that go wrong, for a network that knows nothing yet and for the trained one?

# %% jupyter={"outputs_hidden": true}
def greedy(cost: torch.Tensor) -> float:
    """The sum of costs, if the cheapest pair goes first."""
    cost, total = cost.clone(), 0.0
    for _ in range(cost.shape[1]):
        query, thing = divmod(int(cost.argmin()), cost.shape[1])
        total += float(cost[query, thing])
        cost[query], cost[:, thing] = float("inf"), float("inf")
    return total


torch.manual_seed(0)
untrained = detr_small(backbone=net.backbone[0]).to(device).eval().requires_grad_(False)
for title, network in (("untrained", untrained), ("trained", net)):
    shared = worse = 0
    for cost in costs_in(network, list(range(200))):
        best = float(cost[linear_sum_assignment(cost)].sum())
        shared += len(cost.argmin(dim=0).unique()) < cost.shape[1]
        worse += greedy(cost) > best + 1e-4
    print(f"{title:9}: two things want one query in ≈ {shared} scenes; greedy is worse in ≈ {worse}")
    assert (shared > 50) == (network is untrained)

# %% [markdown]
# An untrained network's answers are all alike, and in every other scene two things want the same query.
# There greedy is often a little worse, in a trained network hardly ever.
# What matters most is that no query is given twice; that the sum is the smallest possible comes second.
#
# ## 7. The loss of a set
#
# Once it is known who answers for what, the rest is what you know: cross-entropy for classes, distances for boxes.
#
# ### Exercise 5 · `set_loss`
#
# *15 minutes · ★★★*
#
# - One picture.
#   `logits` (Q, K + 1), `boxes` (Q, 4), `labels` (n,), `true_boxes` (n, 4): as for `matching_cost`.
#   `queries`: (n,) int64, for each true thing its query, as `match_by_trying` gives them.
# - Returns three tensors with one number each.
#   First: the cross-entropy over all Q queries.
#   A matched query should say its thing's class, every other one "nothing", number K.
#   A query that should say "nothing" weighs 0.1, the others 1; divide by the sum of the weights.
#   Second: over the n things, the mean of the sum of the four absolute differences.
#   Third: over the n things, the mean of 1 − GIoU.
# - With n = 0 the second and the third are 0.
#   `backward()` works all the same: each of the three has a gradient.

# %% tags=["exercise"]
def set_loss(logits: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor, true_boxes: torch.Tensor,
             queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    nothing = logits.shape[1] - 1                               # K
    wanted = torch.full((len(logits),), nothing, device=logits.device)          # (Q,)
    wanted[queries] = labels
    weight = torch.ones(nothing + 1, device=logits.device)
    weight[nothing] = 0.1
    said, n = boxes[queries], max(len(labels), 1)               # (n, 4)
    overlap = generalized_box_iou(box_cxcywh_to_xyxy(said), box_cxcywh_to_xyxy(true_boxes)).diagonal()
    return (F.cross_entropy(logits, wanted, weight), (said - true_boxes).abs().sum() / n,
            (1 - overlap).sum() / n)
    ### END SOLUTION

# %%
check(set_loss)

# %% [markdown]
# <details><summary>Hint: a weighted mean</summary>
#
# `F.cross_entropy` takes a weight for each class, and divides by the sum of the weights of what was wanted.
# </details>
# <details><summary>Hint: pairs, not all pairs</summary>
#
# `generalized_box_iou` compares every box with every other.
# Only those of a query with its own thing count.
# </details>
# <details><summary>Hint: nan where nothing is to be found</summary>
#
# A mean over nothing is nan.
# Add up, and divide by the count, or by 1 if there is none.
# </details>

# %%
set_loss = use(set_loss)

# %% [markdown]
# Why does "nothing" weigh less?
# Most queries should say it, and their loss would drown out the others': the imbalance of lesson 10.
# In the paper 100 queries look for some 7 things, and with 0.1 the other 93 weigh as much as 9.
# Here 12 look for some 3.3, and with 0.1 the others would weigh less than one thing.
# So our network was trained with **0.5**: then "nothing" weighs 4.4 in all, a third more than the things, as in the paper.
# Section 8 shows what 0.1 does here.
#
# In training, the same loss is asked of the answers after *every* decoder layer, each with a matching of its own, and added up.
# So each layer has to be useful by itself.
#
# **Watch it learn.**
# Four pictures, and a transformer that knows nothing, on the trained backbone, which stays frozen.
# In each step: ask, match, take the loss of the matching (yours, so with 0.1), go downhill.
# Only the last layer's answers are used.

# %%
lesson = [50, 156, 38, 12]                                      # numbers of four scenes
torch.manual_seed(0)
learner = detr_small().to(device).eval()                        # it has no dropout
learner.backbone = net.backbone
four = val_images[lesson].to(device) / 255
truths = [(val_targets[number]["labels"].to(device),
           box_xyxy_to_cxcywh_normalized(val_targets[number]["boxes"].to(device), (96, 96)))
          for number in lesson]
weights = [weight for weight in learner.parameters() if weight.requires_grad]
optimiser = torch.optim.AdamW(weights, lr=1e-3)

# %%
seen, owners = {}, []
for step in range(151):
    outputs, total, chosen = learner(four), 0.0, []
    for logits, boxes, truth in zip(outputs["pred_logits"], outputs["pred_boxes"], truths):
        cost = matching_cost(logits, boxes, *truth).detach().cpu()
        queries = torch.as_tensor(linear_sum_assignment(cost.T)[1])             # (n,)
        classes, distance, overlap = set_loss(logits, boxes, *truth, queries.to(device))
        total = total + classes + 5 * distance + 2 * overlap
        chosen.append(queries.tolist())
    owners.append(chosen)
    if step in (0, 20, 60, 150):
        seen[f"step {step}"] = {name: value.detach() for name, value in PostProcess()(outputs)[0].items()}
    optimiser.zero_grad()
    total.backward()
    optimiser.step()

# %%
shown = {}
for (title, found), step in zip(seen.items(), (0, 20, 60, 150)):
    mine = owners[step][0]                                      # who answers for the first scene's things
    shown[title] = {name: value[mine].cpu() for name, value in found.items()}
draw_detections(val_world[lesson[0]].image, shown, size=2.4)
plt.show()

# %%
flat = torch.tensor([sum(step, []) for step in owners])         # (151, all things)
moved = (flat[1:] != flat[:-1]).float().mean(dim=1)             # (150,): the share that changes its query
for start in (0, 10, 30, 60, 120):
    share = moved[start:start + 20].mean()
    print(f"steps {start:3} to {start + 20:3}: ≈ {share:.0%} of the things change their query in a step")
assert moved[:10].mean() > 3 * moved[120:140].mean()

# %% [markdown]
# (At step 0 "background" is class 0, which no label bears; an untrained network does not know that.)
#
# At first the answers are nearly the same box in the middle, and in every step a third of the things change their query.
# So a query is told one thing now and the opposite a moment later.
# Once each query has its place, the matching hardly changes any more, and classes and boxes are learned fast.
# This instability is one reason why DETR takes long to train.
#
# ## 8. Reading the answers
#
# ### Exercise 6 · `post_process`
#
# *8 minutes · ★★☆*
#
# - One picture.
#   `logits` (Q, K + 1), `boxes` (Q, 4): as for `matching_cost`.
#   `image_size`: (height, width) in pixels.
#   `least`: a number 0..1.
# - Returns three tensors: boxes (m, 4) xyxy in pixels, scores (m,), labels (m,) int64.
# - A query's label is its most probable class other than "nothing"; its score is the probability of that class, by the softmax over all K + 1.
# - The m queries with a score of at least `least` stay, in the order of their numbers; m may be 0.
#   There is no NMS.

# %% tags=["exercise"]
def post_process(logits: torch.Tensor, boxes: torch.Tensor, image_size: tuple[int, int],
                 least: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    scores, labels = logits.softmax(dim=1)[:, :-1].max(dim=1)   # (Q,) each
    height, width = image_size
    pixels = box_cxcywh_to_xyxy(boxes) * boxes.new_tensor([width, height, width, height])
    keep = scores >= least
    return pixels[keep], scores[keep], labels[keep]
    ### END SOLUTION

# %%
check(post_process)

# %% [markdown]
# <details><summary>Hint: a query that is sure of nothing</summary>
#
# Its classes share what "nothing" leaves.
# So take the softmax over all K + 1 first, then leave the last column out.
# </details>
# <details><summary>Hint: wide pictures</summary>
#
# x and width are shares of the picture's width, y and height of its height; the size comes as (height, width).
# </details>

# %%
post_process = use(post_process)

# %%
logits, boxes = said["pred_logits"][0].cpu(), said["pred_boxes"][0].cpu()
boxes, certainty, labels = post_process(logits, boxes, (96, 96), 0.5)
for box, score, label in zip(boxes.tolist(), certainty.tolist(), labels.tolist()):
    print(f"≈ {score:.2f} {CLASSES[label - 1]:8} at", [f"≈ {side:.0f}" for side in box])

# %% [markdown]
# **What would NMS add?**
# Both detectors were measured on 200 validation scenes, with their answers as they are, and after NMS at an overlap of 0.5; DETR with three seeds.
#
# **Predict.**
# NMS lifts YOLO's AP50 from 0.62 to 0.84.
# And DETR's?

# %% jupyter={"outputs_hidden": true}
measured = {f"{name}{words}": [run[f"AP50{nms}"] for run in runs]
            for name, runs in (("YOLO", [stored["yolo v2"]["val"]]),
                               ("DETR", [run["val"][-1] for run in runs_of("set")]))
            for words, nms in ((" without NMS", ""), (" with NMS", " with NMS"))}
draw_runs(measured, label="AP50 on 200 validation scenes; a dot for each seed",
          colours=["#D55E00", "#D55E00", "#0072B2", "#0072B2"])
plt.show()
for name in ("AP", "AP50", "AP75", "duplicates"):
    for after in ("", " with NMS"):
        print(f"DETR, {name + after:19}", [run["val"][-1][name + after] for run in runs_of("set")],
              f"   YOLO, {name + after:19}", stored["yolo v2"]["val"][name + after])
for run in runs_of("set"):
    assert abs(run["val"][-1]["AP50 with NMS"] - run["val"][-1]["AP50"]) < 0.02

# %% [markdown]
# NMS lifts DETR's AP50 by less than 0.006, and its AP *falls* a little, as its AP75 does.
# Of two answers for the same thing NMS keeps the one with the higher score, and the one that it deletes may have had the better box.
# There are 4 duplicates for 100 things, where YOLO has 89.
#
# The network answers after each decoder layer, so one can see where the duplicates go.
# And "nothing" that weighs 0.1: here are two shorter trainings (2,500 steps, seed 0).

# %%
def in_short(kind: str, layer: int) -> dict:
    """The means over a kind's seeds."""
    runs = [run["val"][layer] for run in runs_of(kind)]
    names = ("AP50", "AP50 with NMS", "duplicates")
    return {name: round(sum(run[name] for run in runs) / len(runs), 3) for name in names}


for layer in range(3):
    print(f"after decoder layer {layer}:   ", in_short("set", layer))
for kind, weight in (("a half", 0.5), ("a tenth", 0.1)):
    print(f'"nothing" weighs {weight}:  ', in_short(kind, -1))

# %% [markdown]
# After the first layer NMS still gains 0.01, and there are twice as many duplicates as after the last.
# In the first layer the queries have nothing to tell each other yet; later each can know what the others have found.
#
# With 0.1 there are 45 duplicates for 100 things instead of 10, and NMS gains 0.055.
# Where two queries are candidates for one thing, each is right half of the time, and "nothing" at a tenth of the weight tells both to speak up.
# So "no NMS" does not come from the architecture alone: the weight has to suit the number of queries, and the training has to be long enough.
#
# **Is it a better detector, then?**

# %%
detr = nn.Sequential(net, PostProcess()).eval()
for title, detector in (("YOLO", yolo), ("DETR", detr)):
    result = evaluate_detection(detector, Batches(val_images, val_targets))
    names = ("AP", "AP50", "AP_small", "AP_medium")
    print(title, {name: f"≈ {float(result[name]):.2f}" for name in names})
assert not net.training

# %% [markdown]
# As good, with a somewhat better AP and a somewhat worse AP50.
# It took 4,000 steps of 16 pictures on top of YOLO's 2,000 steps of 8, whose backbone it was given.
# In the paper DETR is worse at small things; we do not see that here: our map has stride 8, fine enough for small things.
#
# ## 9. Take the matching away
#
# Is it the matching that keeps duplicates away, or would attention alone do?
# We go on training each of the three networks for 500 steps, in two ways.
# In one everything stays as it was.
# In the other every query that overlaps a thing by half answers for it, however many others do, as anchors do in lesson 08.
# The network, its attention and all else stay the same.
#
# **Predict.**
# How many duplicates for 100 things?

# %% jupyter={"outputs_hidden": true}
KINDS = {"set, 500 more": "one query for each thing", "nearest, 500 more": "all queries that overlap it"}
draw_runs({title: [run["val"][-1]["duplicates"] for run in runs_of(kind)]
           for kind, title in KINDS.items()},
          label="duplicates for 100 things, three seeds", size=2.2)
plt.show()
for kind, title in KINDS.items():
    for name in ("answers", "AP50", "AP50 with NMS"):
        print(f"{title:27} {name:13}", [run["val"][-1][name] for run in runs_of(kind)])
assert min(run["val"][-1]["duplicates"] for run in runs_of("nearest, 500 more")) > \
    3 * max(run["val"][-1]["duplicates"] for run in runs_of("set, 500 more"))

# %% [markdown]
# 251 duplicates instead of 4, after only 500 steps: more than three queries now answer for each thing that is found.
# Without NMS the AP50 is 0.28; with NMS it is 0.79, nearly as before.
# The queries can still hear each other, but nothing tells them to keep silent: they have become anchors.
# It is the matching that teaches them to use what they hear.
#
# ## 10. More things than queries
#
# N queries can name N things at most.
# Toyworld's scenes have six at most, so nothing is lost.
# What if there were only **three** queries?
# That network was trained from the start with three, in the same way as the others (seed 0).

# %%
figure, axis = plt.subplots(figsize=(6, 3.4), layout="constrained")
for kind, title in (("set/0", "12 queries"), ("three queries/0", "3 queries")):
    found = stored[kind]["found by number"]                     # by how many things a scene has
    axis.plot([int(number) for number in found], list(found.values()), marker="o", label=title)
    print(f"{title:10} find of 1, 2 … 6 things:", list(found.values()))
axis.plot([1, 6], [1, 6], "--", color="#888888", label="all of them")
axis.set(xlabel="things in the scene", ylabel="things found, on average", title="200 validation scenes")
axis.legend(frameon=False)
plt.show()
assert stored["three queries/0"]["found by number"]["6"] <= 3

# %% [markdown]
# With three queries, scenes of four, five and six things give hardly more than those of three: each query names one thing, and the rest is lost.
# With twelve the curve goes on rising.
# So N has to be larger than any picture's number of things, and a query costs little.
# (The paper tried it with pictures filled with copies of one thing: up to 50 were all found, and of 100 only some 30.)
#
# ## 11. Look inside
#
# Click a place of the picture: where does that cell look?
# Or choose a query, and see where it looks.
# The small maps on the right are all layers and heads; click one to enlarge it.
#
# 1. Look from the figure's belly (row 7, column 4) in layer 0: which head looks at the figure most?
# 2. Choose query 9, which answers for the cone, and go through its three layers.
#    Does it find its thing at once, or step by step?
# 3. Query 3 looks at the cone too, and its box fits better than query 9's, but it says "nothing".
#    On whom does that depend?
#    Guess before you open the cell below the explorer.

# %%
of_cells = [maps[0] for maps in looked.encoder_attention]       # (4, 12, 12, 12, 12) for each layer
of_queries = [maps[0] for maps in looked.cross_attention]       # (4, 12, 12, 12) for each layer
explorer = explore_attention(scene.image, of_cells, of_queries, says, answer["boxes"], cell=(7, 4))
explorer.layer = 0
explorer

# %% jupyter={"outputs_hidden": true}
def third_query(without: int | None) -> torch.Tensor:
    """What query 3 says of the scene, (7,) probabilities, if another query is left out."""
    queries = [number for number in range(12) if number != without]
    whole = net.query_embed.weight.data
    net.query_embed.weight.data = whole[queries]
    logits = net(picture[None])["pred_logits"][0, queries.index(3)]
    net.query_embed.weight.data = whole
    return logits.softmax(dim=0)


for without, title in ((None, "in full company"), (9, "without query 9, the cone's"),
                       (1, "without query 1, the figure's")):
    probability = third_query(without)
    print(f"{title:31} cone ≈ {probability[4]:.2f}, nothing ≈ {probability[6]:.2f}")

# %% [markdown]
# <details><summary>What there is to see</summary>
#
# 1. Head 3: a third of its attention goes to two cells on the figure.
# 2. Its brightest cell is the same in all three, and gets 22 %, 42 %, 30 %.
#    It lies in the place where this query always answers, at the left, so little had to be searched.
# 3. Not on query 9, which speaks for the cone: without it, query 3 says "nothing" all the same.
#    But without query 1, which speaks for the figure, it says *cone*.
#    So what the queries tell each other is not as simple as "this one is mine".
# </details>
#
# ## 12. At full size
#
# `detr_resnet50` has the paper's sizes: 100 queries, six layers of encoder and of decoder, eight heads, 256 numbers in each token.

# %%
from lib.models.detr import detr_resnet50

torch.manual_seed(0)
large = detr_resnet50().eval().requires_grad_(False)
for name, part in (("backbone", large.backbone), ("encoder", large.transformer.encoder),
                   ("decoder", large.transformer.decoder), ("all", large)):
    print(f"{name:9} {sum(weight.numel() for weight in part.parameters()):>11,} weights")

# %%
from lib.datasets.photos import load_photo

photo = load_photo("astronaut")                                 # (3, 512, 512)
large.transform.min_size = 320                                  # COCO's are brought to 800
said_large, looked_large = large.attention([photo])
print("answers", tuple(said_large["pred_logits"].shape), tuple(said_large["pred_boxes"].shape))
print("attention of one encoder layer", tuple(looked_large.encoder_attention[0].shape))

# %% [markdown]
# Every cell looks at every cell, so a map that is twice as large along each side costs sixteen times the weights.
# At 800 × 1,066 pixels there are 25 × 34 = 850 cells, which is why DETR takes the last map, of stride 32, and none of the finer ones.
# Small things suffer for it.
#
# The published weights have the same names as ours.
# On a machine with internet they come from the address below, 159 MB; where they are on your disk already, the next cell uses them.

# %% tags=["nbval-ignore-output"]
from pathlib import Path

from lib.viz.detection.detections import draw_boxes

address = "https://dl.fbaipublicfiles.com/detr/detr-r50-e632da11.pth"
downloaded = Path(torch.hub.get_dir()) / "checkpoints" / Path(address).name
if downloaded.exists():
    large.load_state_dict(torch.load(downloaded, weights_only=True)["model"])
    large.transform.min_size = 800
    found = sure(PostProcess()(large([photo]))[0], least=0.7)
    draw_boxes(photo, found["boxes"], scores=found["scores"])
    plt.show()

# %% [markdown]
# ## 13. Recap

# %%
draw_detr(net, picture, timed=False)
plt.show()

# %% [markdown]
# | | YOLO (09) | DETR |
# | --- | --- | --- |
# | who answers | each cell, for each of its anchors | twelve learned queries |
# | what they see | a part of the picture around the cell | the whole picture, and each other |
# | who learns to answer for a thing | the cell of its middle, the anchor of its shape | the query of the cheapest matching |
# | all others learn | "nothing", unless they overlap it well | "nothing" |
# | duplicates | removed by NMS | rarely produced |
# | most things in a picture | as many as cells times anchors | as many as queries |
#
# **What we found.**
# YOLO needs NMS: AP50 0.62 without it, 0.84 with it, and 89 duplicates for 100 things.
# DETR does not: 0.82 either way, and 4 duplicates; its AP falls a little with NMS.
# Let every overlapping query answer instead of one, and after 500 steps there are 251: it is the matching that prevents them.
# Let "nothing" weigh 0.1 with twelve queries, and there are 45.
# A query asks for a place and a size; three queries find three things at most.
# From a cell on a thing, the encoder's attention stays on it 2 to 4 times as much as by chance.
#
# **What the paper reported**, on COCO.
# AP 42.0, as a Faster R-CNN with a pyramid and a longer training than usual.
# Large things are found better (AP 61.1 instead of 53.4), small ones worse (20.5 instead of 26.6).
# NMS helps the answers of the first decoder layer, and does a little harm to the last one's.
# Training takes 300 to 500 epochs, where the others need a few dozen to a hundred; several later papers fix that.
#
# **What was simpler here.**
# A backbone that YOLO trained on the same pictures, instead of ImageNet; stride 8 and 144 cells.
# Two encoder layers and three decoder layers instead of six each; no dropout.
# "Nothing" weighs 0.5.
#
# **Words of this lesson.**
# *Token*: one of the vectors that a transformer takes; here, a cell or a query.
# *Attention*: each token receives a mean of the others' values, weighted by how well its query fits their keys.
# *Head*: a part of the numbers that looks for itself.
# *Encoder*: layers in which the cells look at each other; *decoder*: layers in which queries look at each other and at the cells.
# *Object query*: a learned vector that asks for one thing.
# *Bipartite matching*: pairs between two groups, here queries and things, no member twice.
# *Hungarian algorithm*: finds the matching of the smallest sum.
#
# **Go on from here.**
# Tasks without a check:
#
# - Leave the places out of the queries and keys of the *decoder* (`pos` in `TransformerDecoder`).
#   Do the boxes suffer more than the classes?
# - Train with 0.1 for "nothing", then look at `draw_queries` again.
#   Which queries overlap now?
#
# ### Three questions
#
# **1.**
# A picture has 5 things, the network 12 queries.
# How many terms does the cross-entropy have, and how many the distance of boxes?
# (a) 5 and 5 (b) 12 and 5 (c) 12 and 12
#
# <details><summary>Answer</summary>
#
# **(b)** Every query is told what to say, seven of them "nothing".
# Only a matched query has a box to be compared with.
# </details>
#
# **2.**
# The cells are shuffled together with their place codes.
# What happens to the twelve answers?
# (a) nothing (b) the boxes are shuffled too (c) they are useless
#
# <details><summary>Answer</summary>
#
# **(a)** The cells are a set.
# Each still carries its own place, and the queries receive sums over all cells, in which order does not matter.
# </details>
#
# **3.**
# Two queries give the same right answer for a ball, both with probability 0.9.
# What does the loss say in training?
# (a) both are right (b) one is right, the other should have said "nothing" (c) both should share the ball
#
# <details><summary>Answer</summary>
#
# **(b)** The matching gives the ball to one of them, to the cheaper one, if only by a hair.
# The other pays for every bit of its 0.9.
# </details>

# %%
progress("14")

# %% [markdown]
# **Next:** a query that can name a class and a box can also name a *mask*.
# Lesson 15: one network for semantic, instance and panoptic segmentation.
