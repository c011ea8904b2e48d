# %% [markdown]
# # 15 · MaskFormer: one set of masks, three tasks
#
# Here are three answers to one scene that the network has never seen: what is at each pixel, where each thing is, and both at once.
# They come from one network, one training, and one forward pass.
# It never says of any pixel what it is.
# It gives a set of masks, and a class for each.

# %%
import json

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import SEMANTIC_COLOURS, SEMANTIC_NAMES, Toyworld
from lib.device import choose_device
from lib.models.maskformer import maskformer_small, picture_masks
from lib.ops import panoptic as tasks
from lib.training import load_checkpoint
from lib.viz.masks.panoptic import draw_panoptic

device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"
net = maskformer_small(num_classes=7).to(device)
made = load_checkpoint(net, folder / "15_maskformer.safetensors")
net = net.eval().requires_grad_(False)
stored = json.loads((folder / "15_runs.json").read_text())      # all that was measured for this lesson
val_world = Toyworld("val", length=200)
THINGS, STUFF = {2, 3, 4, 5, 6}, {0, 1}                         # sky and ground are 0 and 1
LIMITS = (0.5, 0.8)                                             # of the panoptic merging, see section 9

# %%
def asked(network, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """For each picture what the queries say: class logits (16, 8), and mask logits (16, 96, 96)."""
    said = network(images.to(device))
    masks = picture_masks(said["pred_masks"], said["images"])
    return [(logits.cpu(), one.cpu()) for logits, one in zip(said["pred_logits"], masks)]


# %%
number = 157
scene = val_world[number]
((classes, masks),) = asked(net, scene.image[None])             # one forward pass
semantic = tasks.semantic_inference(classes, masks).argmax(dim=0)               # (96, 96)
panoptic, segments = tasks.panoptic_inference(classes, masks, THINGS, *LIMITS)  # (96, 96), and a list
things = [segment for segment in segments if segment["isthing"]]
only_things = panoptic * torch.isin(panoptic, torch.tensor([thing["id"] for thing in things]))
shown = {"semantic: a class for each pixel": tasks.panoptic_of_classes(semantic, set()),
         "instance: a mask for each thing": (only_things, things), "panoptic: both": (panoptic, segments)}
draw_panoptic(scene.image, shown, SEMANTIC_NAMES, SEMANTIC_COLOURS)
plt.show()
print("things:", [SEMANTIC_NAMES[thing["label"]] for thing in things])

# %% [markdown]
# **You will be able to**
#
# - say what semantic, instance and panoptic segmentation ask for, and what each of them forgets;
# - see a mask as an inner product, and a per-pixel classifier as a special case of it;
# - write the two losses of a mask, and match masks to things;
# - turn one set of masks into all three answers, and say what the merging loses;
# - compute panoptic quality by hand, and in code.
#
# | | |
# | --- | --- |
# | Time | 150 minutes to read and do, about a minute of computing on two cores |
# | Builds on | lesson 04 (dice loss), 10 (focal loss), 11 (pyramid), 14 (queries, matching) |
# | Papers | Cheng, Schwing & Kirillov 2021, *Per-Pixel Classification is Not All You Need*; Kirillov et al. 2019, *Panoptic Segmentation* |
#
# A number printed with ≈ is measured as you run it, and may come out a little different on your machine.

# %%
from scipy.optimize import linear_sum_assignment
from tqdm.auto import tqdm

from lib.exercises import check, hint, progress, solution, use
from lib.models.maskformer import MaskFormerCriterion, MaskFormerMatcher, PerPixelBaseline
from lib.ops.boxes import box_xyxy_to_cxcywh_normalized
from lib.ops.masks import mask_iou, masks_to_boxes
from lib.ops.panoptic import instance_inference, panoptic_of_classes, panoptic_of_masks
from lib.training import toyworld_segments
from lib.viz.attention.explorer import explore_attention
from lib.viz.attention.queries import draw_queries
from lib.viz.basics.numbers import show_numbers
from lib.viz.detection.focal import draw_runs
from lib.viz.diagrams.maskformer_plan import draw_maskformer
from lib.viz.masks.pixel_explorer import explore_pixels
from lib.viz.masks.quality import draw_quality
from lib.viz.masks.query_masks import draw_query_classes, draw_query_masks
from lib.viz.masks.segmentation import draw_segmentations

# %% [markdown]
# **The big picture first.**
# Backbone and transformer are those of lesson 14's DETR, and the training went on from its weights: sixteen **queries** ask about the picture,
# and each answers with a class, or "nothing".
# Three parts are new.
# The **pixel decoder**, a small pyramid like lesson 11's, gives 64 numbers to each of 24 × 24 places: the *pixel embeddings*.
# Each query has 64 numbers too, its *mask embedding*, in place of DETR's box.
# And the inner product of the two is the **mask**.
#
# (The arrows below show how far back each loss's gradient runs. Where an arrow is dotted, it passes a stage by.)

# %%
picture = scene.image.to(device)                                # (3, 96, 96)
draw_maskformer(net, picture, colours=SEMANTIC_COLOURS)
plt.show()

# %% [markdown]
# ## 1. Three questions about a picture
#
# **Semantic segmentation** (lessons 01 to 04) asks of each pixel: *what* are you?
# Two figures that touch are one region of "figure".
#
# **Instance segmentation** (lesson 12) asks for each thing's mask.
# Sky and ground are not part of the answer.
# Masks may overlap, and each has a score.
#
# **Panoptic segmentation** asks for both: each pixel belongs to at most one **segment**, and a segment has a class.
# Things that can be counted (**things**: sphere, crate, figure) have a segment each.
# What cannot be counted (**stuff**: sky, ground) has one for all its pixels.
#
# For years these were three kinds of network.
# FCN and U-Net give each pixel K scores, one for each class.
# Mask R-CNN finds boxes, and then a mask in each.
# For the panoptic task, people ran both kinds, and merged what they said with hand-written rules.
#
# Why can a per-pixel network not simply answer all three?
# Here is one: the same backbone, from DETR too, the same pixel decoder, and as many steps of training on the same pictures;
# its last layer gives each pixel seven scores.
# To get things from it, we count each connected patch of one class as one thing, and leave patches of fewer than 32 pixels out.
#
# **Predict.**
# How many spheres will it find in this scene?

# %%
pixelwise = PerPixelBaseline(maskformer_small(7), 7).to(device)
load_checkpoint(pixelwise, folder / "15_per_pixel.safetensors")
pixelwise = pixelwise.eval().requires_grad_(False)
truth = panoptic_of_masks(*toyworld_segments(val_world)[1][number].values(), THINGS)

# %% jupyter={"outputs_hidden": true}
pixel_classes = pixelwise(picture[None])[0].argmax(dim=0).cpu()                 # (96, 96)
patches = panoptic_of_classes(pixel_classes, THINGS, least=32)  # smaller patches are left out
draw_panoptic(scene.image, {"truth": truth, "a class for each pixel": patches,
                            "a set of masks": (panoptic, segments)}, SEMANTIC_NAMES, SEMANTIC_COLOURS)
plt.show()
for title, (_, found) in (("truth", truth), ("per pixel", patches), ("masks", (panoptic, segments))):
    print(f"{title:10}", sorted(SEMANTIC_NAMES[one["label"]] for one in found if one["label"] in THINGS))

# %% [markdown]
# One.
# Nearly every pixel of the three spheres says "sphere", rightly; but no pixel says *which*.
# (The numbers in the pictures only tell segments apart: a truth and an answer may number them differently.)
#
# More classes would not help.
# If there were a class "sphere number one" and a class "sphere number two", which sphere would be number one?
# The numbers are arbitrary, and a pixel cannot know which it is meant to say.
#
# A mask has no such trouble.
# Three spheres are three masks with the same class.
# So the question is turned round: not a class for each pixel, but
#
# > a set of masks, and a class for each mask.
#
# The paper calls it **mask classification**.
# How many masks there are is open, and it is a *set*: there is no first one.
# Lesson 14 has shown how to learn that: queries, and matching.
#
# ## 2. A mask is an inner product
#
# A query can say a class with a linear layer and a box with four numbers.
# How can it say a mask of 9,216 pixels?
#
# It does not draw it.
# It holds up 64 numbers, and every pixel holds up 64 numbers too.
# Where the two vectors agree, the pixel is in the mask.
#
# ### Exercise 1 · `mask_logits`
#
# *10 minutes · ★☆☆*
#
# - `mask_embed`: (B, Q, C) floats, C numbers for each query of each picture.
# - `pixel_embed`: (B, C, H, W) floats, C numbers for each pixel.
# - Returns (B, Q, H, W): for each query and each pixel *of the same picture* the inner product of their C numbers.
#   No sigmoid: these are logits.

# %% tags=["exercise"]
def mask_logits(mask_embed: torch.Tensor, pixel_embed: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    return torch.einsum("bqc,bchw->bqhw", mask_embed, pixel_embed)
    ### END SOLUTION

# %%
check(mask_logits)

# %% [markdown]
# <details><summary>Hint: no operation takes tensors of three and of four axes</summary>
#
# For an inner product it does not matter where a pixel lies.
# Put the pixels of a picture in one row for a while.
# </details>
# <details><summary>Hint: pictures get mixed</summary>
#
# `@` multiplies the last two axes, and goes along all axes before them in pairs: picture 0 with picture 0, and so on.
# With `torch.einsum`, a letter that stands in both inputs and in the result is such an axis; a letter that is missing in the result is added up.
# </details>

# %%
mask_logits = use(mask_logits)

# %% [markdown]
# Your function draws the sixteen masks of our scene, from the sixteen mask embeddings and the pixel embeddings.

# %%
batch = net.transform(picture[None])
maps = net.backbone(batch.tensors)                              # strides 4 and 8
pixel_embed = net.pixel_decoder(maps)                           # (1, 64, 24, 24)
said, looked = net.attention(picture[None])                     # the answers, and where queries looked
mask_embed = net.mask_embed(looked.states[-1])                  # (1, 16, 64)
drawn = mask_logits(mask_embed, pixel_embed)                    # (1, 16, 24, 24)
print("equal to the network's own masks:", torch.allclose(drawn, said["pred_masks"], atol=1e-4))
assert torch.allclose(drawn, said["pred_masks"], atol=1e-4)

# %%
draw_query_masks(scene.image, classes, masks, SEMANTIC_NAMES, SEMANTIC_COLOURS, columns=4)
plt.show()
confident = (classes.softmax(dim=1)[:, :-1].amax(dim=1) > 0.5).sum()
print(f"≈ {confident} of 16 queries are more than 0.5 sure of a class;",
      f"the scene has {len(truth[1])} segments")

# %% [markdown]
# All sixteen masks, each in the colour of its query's class.
# Some of those that say "nothing" draw something too, here a scrap of a sphere, there a bit of the figure.
# A query that is to say "nothing" has no loss for its mask, so nobody has told them not to.
#
# **Have you seen this before?**
# An inner product at each pixel with the same C numbers is a **1×1 convolution** (lesson 01).
# So each query writes the weights of a small convolution, for this picture alone, and the convolution draws its mask.
#
# The per-pixel network's last layer is a 1×1 convolution too, with a vector of 64 numbers for each *class*.
# Its vectors are learned once, and are the same for every picture.
# In other words, it has seven queries that never look at the picture.

# %%
fixed = pixelwise.predictor.weight[:, :, 0, 0]                  # (7, 64): the classes' vectors
embedded = pixelwise.pixel_decoder(pixelwise.backbone(batch.tensors))           # (1, 64, 24, 24)
scores = mask_logits(fixed[None], embedded) + pixelwise.predictor.bias[:, None, None]
assert torch.allclose(scores, pixelwise.predictor(embedded), atol=1e-4)
print("the per-pixel head, as seven masks:", tuple(scores.shape))

# %% [markdown]
# Two differences remain.
# The seven scores compete at every pixel (a softmax over classes); each mask is judged by itself (a sigmoid), and masks may overlap.
# And the seven vectors are fixed.
#
# **Predict.**
# Does a query always speak of the same class?

# %% jupyter={"outputs_hidden": true}
images, targets = toyworld_segments(val_world)                  # (200, 3, 96, 96) bytes; masks and labels
answers = [one for start in range(0, 200, 50) for one in asked(net, images[start:start + 50] / 255)]
said_class = torch.stack([logits.argmax(dim=1) for logits, _ in answers])       # (200, 16)
counts = F.one_hot(said_class, 8).sum(dim=0)                    # (16, 8)
draw_query_classes(counts, SEMANTIC_NAMES)
plt.show()
print(f"query 10: sky in ≈ {counts[10, 0]} of 200 scenes; query 6: ground in ≈ {counts[6, 1]}")

# %% [markdown]
# Queries 10 and 6 always speak of the same class: one of the sky, one of the ground, in every scene.
# For stuff there is one segment in each scene, so a query can specialise in it, as a class's vector does.
#
# Nine others speak of things, and each of them of every class of thing.
# The other five never say anything.
#
# If the nine have not divided the classes among themselves, what have they divided?
# As in lesson 14, we mark the middle of everything that each query has spoken of.

# %%
boxes, kept = torch.zeros(200, 16, 4), said_class < 7           # 7 is "nothing"
for place, (_, drawn) in enumerate(answers):
    kept[place] &= (drawn > 0).flatten(1).any(dim=1)            # an empty mask has no box
    around = masks_to_boxes(drawn[kept[place]] > 0)
    boxes[place, kept[place]] = box_xyxy_to_cxcywh_normalized(around, (96, 96))
draw_queries(boxes, kept, columns=8)
plt.show()

# %% [markdown]
# The picture: each query has a part of it for its own.
# (Twelve of them were DETR's queries in lesson 14, and had divided the picture among themselves there.)
#
# ## 3. What a pixel knows
#
# The pixel embeddings are the other half of every mask.
# What have they learned?
# Take one pixel's embedding as if it were a mask embedding, and see what it would draw: which pixels are like this one?
# (The right picture shows cosines: inner products of vectors of length 1, after the scene's mean vector was subtracted from all.)

# %%
explore_pixels(scene.image, pixel_embed[0].cpu(), classes, masks, SEMANTIC_NAMES, SEMANTIC_COLOURS,
               pixel=(52, 27))

# %% [markdown]
# The middle of the left sphere is clicked: most like it is the rest of the left sphere, then the middle one, and hardly the right one.
# So these numbers do not only say "sphere": they say *which* sphere, as no class could.
# Click on the others, and on the figure, to see it again.
# The bars show which queries want the pixel (in brackets those that say "nothing").
# Where one bar is long and all others are short, the merging in section 9 will be easy.
#
# ## 4. The loss of a mask
#
# A true mask says yes or no of each pixel, and so a loss is easy to find: cross-entropy, averaged over the pixels.
# But a sphere far away has some 40 pixels of 9,216.
# A mask that says "no" everywhere is right at 99.6 % of the pixels.
#
# You know two remedies.
# The **focal loss** (lesson 10) makes pixels that are right and sure count less.
# The **dice loss** (lesson 04; here without its squares) compares what two masks share with what they have.
# MaskFormer uses both.
#
# ### Exercise 2 · `mask_losses`
#
# *20 minutes · ★★☆*
#
# - `logits`: (M, H, W) floats.
#   `masks`: (M, H, W) bool, the true masks.
#   M may be 0, and a true mask may be empty.
#   `alpha`, `gamma`: numbers.
# - Returns two tensors (M,), a number for each mask; p is the sigmoid of a logit.
#   First, the focal loss: the mean over all H · W pixels of −α_t · (1 − p_t)^γ · log p_t.
#   In the true mask p_t = p and α_t = α, outside p_t = 1 − p and α_t = 1 − α.
#   Second, the dice loss: 1 − (2 Σ p·g + 1) / (Σ p + Σ g + 1), with sums over all H · W pixels, and g = 1 in the true mask, 0 outside.
# - Both are finite, and so are their gradients, for logits as large as ±200.
#   (So do not take the logarithm of a sigmoid: `F.binary_cross_entropy_with_logits` is −log p_t.)

# %% tags=["exercise"]
def mask_losses(logits: torch.Tensor, masks: torch.Tensor, alpha: float = 0.25,
                gamma: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    p, g = logits.sigmoid(), masks.to(logits)                   # (M, H, W) each
    wrong = torch.where(masks, 1 - p, p)                        # 1 - p_t
    weight = torch.where(masks, alpha, 1 - alpha) * wrong**gamma
    surprise = F.binary_cross_entropy_with_logits(logits, g, reduction="none")  # -log p_t
    shared, both = (p * g).sum(dim=(1, 2)), (p + g).sum(dim=(1, 2))             # (M,) each
    return (weight * surprise).mean(dim=(1, 2)), 1 - (2 * shared + 1) / (both + 1)
    ### END SOLUTION

# %%
check(mask_losses)

# %% [markdown]
# <details><summary>Hint: infinite or NaN for sure pixels</summary>
#
# The sigmoid of −200 is exactly 0 in single precision, and its logarithm −∞.
# `F.logsigmoid` takes both steps at once; so does the cross-entropy that takes logits.
# Mind that 1 − σ(x) is σ(−x).
# </details>
# <details><summary>Hint: p_t without two cases</summary>
#
# Outside a mask, p_t is the sigmoid of the logit with its sign turned.
# So turn these signs first (`torch.where`), and treat all pixels alike afterwards.
# The same goes for the weights.
# </details>
# <details><summary>Hint: one number for all masks, or H numbers for each</summary>
#
# Give a mask one axis of pixels (`flatten(1)`), and every sum and mean goes along that axis alone.
# True and False must become numbers before they are multiplied.
# </details>

# %%
mask_losses = use(mask_losses)

# %% [markdown]
# **What does silence cost?**
# A mask whose logits are −4 everywhere: "no", fairly sure.
# We ask each loss what it costs, for true masks from 4 pixels to half of the picture.
#
# **Predict.**
# Which of the three curves is nearly flat?

# %% jupyter={"outputs_hidden": true}
from lib.viz.masks.mask_losses import draw_loss_of_silence

areas, silent = [4, 16, 64, 256, 1024, 4608], torch.full((1, 96, 96), -4.0)
curves: dict[str, list[float]] = {"cross-entropy": [], "focal": [], "dice": []}
for area in areas:
    mask = (torch.arange(96 * 96) < area).view(1, 96, 96)
    focal, dice = mask_losses(silent, mask)
    cross = F.binary_cross_entropy_with_logits(silent, mask.float())
    for name, value in zip(curves, (cross, focal[0], dice[0])):
        curves[name].append(float(value))
draw_loss_of_silence(areas, curves)
plt.show()

# %% [markdown]
# Dice: it costs about the same to miss a sphere of 4 pixels as to miss half of the picture.
# Under cross-entropy, missing the small thing costs 0.02, and missing the large one a hundred times as much.
# Even of these 0.02, nine tenths are the price of the pixels that are right, 0.018 for every mask: the four missed ones drown in it.
# The focal loss takes that price away, but a large thing still costs a thousand times as much as a small one.
# So dice is there to give each *mask* the same say, and the focal loss to get single pixels right, above all those that are still in doubt.
# (The focal loss is counted 20 times, as most of its values are small: 0.03 for a missed mask of 256 pixels.)
#
# ## 5. Which query, which mask?
#
# As in lesson 14: each true mask gets exactly one query, so that the sum of the costs is as small as possible.
# There the cost compared boxes; here it compares masks.
#
# ### Exercise 3 · `mask_cost`
#
# *20 minutes · ★★★*
#
# - One picture.
#   `class_logits`: (Q, K + 1) floats; the last column says "nothing".
#   `mask_logits`: (Q, H, W) floats.
# - `labels`: (n,) int64, the true classes, 0..K − 1.
#   `masks`: (n, H, W) bool, the true masks.
#   n may be 0.
# - Returns (Q, n): 20 · focal + dice − p, finite for logits of ±200 too.
#   Focal and dice compare the query's mask with the true mask, as in exercise 2, with α = 0.25 and γ = 2.
#   p is the probability, by a softmax over all K + 1, that the query gives to the true mask's class.

# %% tags=["exercise"]
def mask_cost(class_logits: torch.Tensor, mask_logits: torch.Tensor, labels: torch.Tensor,
              masks: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    p, g = mask_logits.flatten(1).sigmoid(), masks.flatten(1).to(mask_logits)   # (Q, P), (n, P)
    if_inside = 0.25 * (1 - p)**2 * -F.logsigmoid(mask_logits.flatten(1))       # (Q, P)
    if_outside = 0.75 * p**2 * -F.logsigmoid(-mask_logits.flatten(1))
    focal = (if_inside @ g.T + if_outside @ (1 - g).T) / p.shape[1]             # (Q, n)
    dice = 1 - (2 * p @ g.T + 1) / (p.sum(dim=1)[:, None] + g.sum(dim=1) + 1)
    return 20 * focal + dice - class_logits.softmax(dim=1)[:, labels]
    ### END SOLUTION

# %%
check(mask_cost)

# %% [markdown]
# <details><summary>Hint: it begins with a loop</summary>
#
# `mask_losses` judges M masks, each beside its own truth.
# To lay one true mask beside all Q queries, repeat it Q times (`expand_as`); that gives one column of the table.
# Make the table first: then n = 0 needs no case of its own.
# </details>
# <details><summary>Hint: all pairs without a loop</summary>
#
# What a pixel costs depends on the query's logit and on whether it is True or False: two tables of (Q, H · W), computed once for all true masks.
# Which of the two counts, the true masks say, as 0 and 1.
# Choosing and adding up is a product of matrices, and so is Σ p·g.
# </details>
# <details><summary>Hint: the class</summary>
#
# `labels` picks columns of the probabilities, one for each true mask, also the same one twice.
# "Nothing" takes part in the softmax, and is never picked.
# </details>

# %%
mask_cost = use(mask_cost)

# %%
target = targets[number]
cost = mask_cost(classes, masks, target["labels"], target["masks"])             # (16, n)
queries, truths = (torch.as_tensor(one) for one in linear_sum_assignment(cost))
for query, true in zip(queries.tolist(), truths.tolist()):
    cheapest = cost[:, true].argsort()[:3].tolist()
    listed = ", ".join(f"{one} at ≈ {cost[one, true]:.2f}" for one in cheapest)
    print(f"{SEMANTIC_NAMES[target['labels'][true]]:9} gets query {query:2}; the cheapest are {listed}")

# %% [markdown]
# Each segment gets the query that has drawn it, and the second best is clearly more expensive.
#
# **At which size are masks compared?**
# True masks have 96 × 96 pixels, drawn ones 24 × 24.
# Above the drawn ones were enlarged.
# To save time, the paper's code goes the other way in the matching: it shrinks the true masks, and of each 4 × 4 pixels it takes the *first*.
#
# **Predict.**
# Does that make a difference?

# %% jupyter={"outputs_hidden": true}
names = [SEMANTIC_NAMES[label] for label in target["labels"].tolist()]
small_masks = said["pred_masks"][0].cpu()                       # (16, 24, 24), as they are drawn
small_cost = mask_cost(classes, small_masks, target["labels"], target["masks"][:, ::4, ::4])
small_queries = torch.as_tensor(linear_sum_assignment(small_cost.T)[1])         # (n,): of each segment
large_queries = torch.as_tensor(linear_sum_assignment(cost.T)[1])
for place, name in enumerate(names):
    small_query, large_query = int(small_queries[place]), int(large_queries[place])
    print(f"{name:9} 96 × 96: query {large_query:2} at ≈ {cost[large_query, place]:.2f}   "
          f"24 × 24: query {small_query:2} at ≈ {small_cost[small_query, place]:.2f}")

# %% jupyter={"outputs_hidden": true}
def matched(logits: torch.Tensor, drawn: torch.Tensor, target: dict, step: int) -> list[int]:
    """The query of each segment, if masks are compared in every `step`-th pixel."""
    table = mask_cost(logits, drawn, target["labels"], target["masks"][:, ::step, ::step])
    return linear_sum_assignment(table.T)[1].tolist()


outputs = net(images.to(device) / 255)
differ = 0
for place, (logits, drawn) in enumerate(answers):
    fine = matched(logits, drawn, targets[place], 1)
    coarse = matched(logits, outputs["pred_masks"][place].cpu(), targets[place], 4)
    differ += fine != coarse
print(f"the matchings differ in ≈ {differ} of 200 scenes")

# %% [markdown]
# In our scene every segment still gets the same query, but look at the costs.
# In the small masks all edges lie a little to the lower right (the middle of a cell is 1½ pixels away from its first pixel),
# and so the best answers look bad: the ground costs 1.71 instead of −0.87, and the sky 0.29 instead of −0.98.
# In 41 of 200 scenes some segment gets another query than the one that has drawn it best.
# That query is then taught to draw a thing that another one has drawn already.
#
# The network of this lesson was matched at the large size (`MaskFormerMatcher(enlarge=True)` in `lib`).
# We trained one more, alike in all but this, that was matched with shrunk masks; sections 7 and 12 say what became of it.
# (At 512 pixels, as in the paper, 1½ pixels are little. Here a thing may be eight pixels wide.)
#
# ## 6. The loss of the set, term by term
#
# Once it is known which query answers for which mask, the loss of the paper, $\mathcal{L}_\text{mask-cls}$, has three terms:
#
# - the cross-entropy of all 16 answers: a matched query should say its segment's class, the others "nothing" (with weight 0.4 here,
#   since there are few queries, see lesson 14; in the paper 0.1);
# - 20 times the focal loss of the *matched* masks;
# - their dice loss.
#
# Here it is for our scene, by your functions and by the class in `lib/`:

# %%
focal, dice = mask_losses(masks[queries], target["masks"][truths])              # (n,) each
wanted = torch.full((16,), 7)                                   # 7 is "nothing"
wanted[queries] = target["labels"][truths]
weights = torch.tensor([1.0] * 7 + [0.4])
classified = F.cross_entropy(classes, wanted, weights)
criterion = MaskFormerCriterion(7, MaskFormerMatcher(enlarge=True), eos_coef=0.4).to(device)
theirs = criterion(said, [{name: value.to(device) for name, value in target.items()}])
mine = {"loss_ce": classified, "loss_mask": focal.mean(), "loss_dice": dice.mean()}
for name, weight in (("loss_ce", 1), ("loss_mask", 20), ("loss_dice", 1)):
    other = float(theirs[name])
    print(f"{name:9} ≈ {mine[name]:.4f} by hand, ≈ {other:.4f} in lib, counts {weight:2} times")
    assert abs(mine[name] - other) < 1e-3

# %% [markdown]
# **Watch it learn.**
# Two scenes, and a network that knows nothing but its backbone, which stays frozen.
# In each step: ask, match, take the loss of the matching (all yours), go downhill.

# %%
lesson = [157, 7]                                               # numbers of two scenes
torch.manual_seed(0)
learner = maskformer_small(7).to(device).eval()                 # it has no dropout
learner.backbone = net.backbone
two, taught = images[lesson].to(device) / 255, [targets[place] for place in lesson]
optimiser = torch.optim.AdamW([one for one in learner.parameters() if one.requires_grad], lr=1e-3)
small = [F.adaptive_avg_pool2d(one["masks"].float(), 24) > 0.5 for one in taught]

# %%
seen = {}
for step in tqdm(range(301), desc="training"):
    outputs, total = learner(two), torch.zeros((), device=device)
    for place, (logits, drawn) in enumerate(zip(outputs["pred_logits"], outputs["pred_masks"])):
        labels, true = taught[place]["labels"].to(device), small[place].to(device)
        cost = mask_cost(logits, drawn, labels, true).detach().cpu()
        queries, truths = (torch.as_tensor(one, device=device) for one in linear_sum_assignment(cost))
        focal, dice = mask_losses(drawn[queries], true[truths])
        wanted = torch.full((16,), 7, device=device)
        wanted[queries] = labels[truths]
        total = total + F.cross_entropy(logits, wanted, weights.to(device)) + (20 * focal + dice).mean()
        if place == 0 and step in (0, 30, 100, 300):
            seen[f"step {step}"] = drawn[queries].detach().cpu(), labels[truths].cpu()
    optimiser.zero_grad()
    total.backward()
    optimiser.step()

# %% [markdown]
# (Here the true masks are shrunk to the 24 × 24 at which masks are drawn, to save time.)

# %%
def as_segments(drawn: torch.Tensor, labels: torch.Tensor):
    """Each pixel belongs to the most probable of the masks that were matched."""
    winner = F.interpolate(drawn[None], size=(96, 96), mode="bilinear")[0].argmax(dim=0)        # (96, 96)
    return winner + 1, [{"id": place + 1, "label": label, "isthing": label in THINGS}
                        for place, label in enumerate(labels.tolist())]


draw_panoptic(val_world[lesson[0]].image, {title: as_segments(*one) for title, one in seen.items()},
              SEMANTIC_NAMES, SEMANTIC_COLOURS, columns=5, size=1.9)
plt.show()

# %% [markdown]
# At step 0 the six masks are noise.
# At step 30 one mask has taken all three spheres together.
# At step 100 sky, ground and figure have come out, but the spheres are still one mask for the most part, and at step 300 each has its own.
# (The colours are those of the segments that the masks were matched with. The two scenes are validation scenes: here we only want to see how masks come about.)
#
# ## 7. First task: a class for each pixel
#
# Sixteen queries have said a class and drawn a mask each; how does a pixel get a class?
# Let each query vote.
# Its vote for a class is the probability of the class times the probability that the pixel is in its mask.
#
# ### Exercise 4 · `semantic_inference`
#
# *10 minutes · ★★☆*
#
# - `class_logits`: (Q, K + 1) floats; the last column says "nothing".
#   `mask_logits`: (Q, H, W) floats.
# - Returns (K, H, W): for each of the K classes, at each pixel, the sum over the queries of two probabilities multiplied:
#   that the query says this class (softmax over all K + 1), and that the pixel is in its mask (sigmoid).

# %% tags=["exercise"]
def semantic_inference(class_logits: torch.Tensor, mask_logits: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    probability = class_logits.softmax(dim=1)[:, :-1]           # (Q, K)
    return torch.einsum("qk,qhw->khw", probability, mask_logits.sigmoid())
    ### END SOLUTION

# %%
check(semantic_inference)

# %% [markdown]
# <details><summary>Hint: K + 1 maps come out, or every query is sure of something</summary>
#
# A query that says "nothing" has little left for the K classes, and so it paints little.
# That is lost if its last column goes before the softmax; and if it never goes, "nothing" is painted too.
# </details>
# <details><summary>Hint: the numbers are below 0, or hundreds</summary>
#
# Both inputs are logits.
# The K + 1 answers of a query compete with each other; the pixels of a mask do not.
# </details>
# <details><summary>Hint: the shapes do not fit</summary>
#
# First think of one query: from its K numbers and its (H, W) map make (K, H, W).
# Then the queries are added up.
# `torch.einsum` does both at once: name the axes q, k, h, w, and leave out the one that is summed over.
# </details>

# %%
semantic_inference = use(semantic_inference)

# %%
votes = semantic_inference(classes, masks)                      # (7, 96, 96)
draw_segmentations(scene.image, {"masks": votes.argmax(dim=0), "a class for each pixel": pixel_classes,
                                 "truth": scene.semantic}, SEMANTIC_NAMES, SEMANTIC_COLOURS)
plt.show()
print(f"the votes at a pixel add up to ≈ {votes.sum(dim=0).min():.2f} to ≈ {votes.sum(dim=0).max():.2f}")

# %% [markdown]
# The votes are no probabilities: where two queries of a class overlap they add up to more than 1, and where all hesitate to less.
# Only their order counts.
# Three spheres vote for the same class, so here they are one region again: that is what the task asks for.
#
# Is it better than a class for each pixel?
# Both were measured on 200 validation scenes: the per-pixel network trained with three seeds, MaskFormer with two,
# and once more with shrunk masks in the matching.
#
# **Predict.**
# Which of them has the higher mIoU?

# %% jupyter={"outputs_hidden": true}
def runs_of(kind: str) -> list[dict]:
    """What was measured in the runs of a kind, one for each seed."""
    return [run for name, run in stored.items() if name.startswith(f"{kind}/")]


KINDS = {"pixels": "a class for each pixel", "masks": "a set of masks",
         "shrunk": "masks, matched when shrunk"}
draw_runs({title: [run["val"]["mIoU"] for run in runs_of(kind)] for kind, title in KINDS.items()},
          label="mIoU on 200 validation scenes; a dot for each training")
plt.show()
for kind, title in KINDS.items():
    print(f"{title:26} mIoU", [run["val"]["mIoU"] for run in runs_of(kind)])

# %% [markdown]
# The per-pixel network: 0.880, and MaskFormer 0.860 on average.
# (Matched with shrunk masks it is 0.844: the paper's shortcut costs nearly as much as all the rest of the difference.)
# In the paper, masks win where there are many classes (150 in ADE20K), and the two are about equal with 19 (Cityscapes); here there are seven.
# A query decides for all pixels of a thing at once.
# Where it is wrong, or where no query answers for a small thing, all of the thing's pixels are lost; a per-pixel network may have half of them right.
#
# ## 8. Second task: a mask for each thing
#
# Instances are there already: each query of a thing's class is one.
# A detection needs a score, too, to be ranked by (lesson 05).
# It is the product of two things that can be in doubt: how sure the query is of its class, and how sure its mask is, on average, of the pixels inside.

# %%
found = instance_inference(classes, masks, THINGS)              # masks, labels and scores, the best first
best = zip(found["labels"][:4].tolist(), found["scores"].tolist(), found["masks"])
for label, score, mask in best:
    print(f"{SEMANTIC_NAMES[label]:9} ≈ {score:.2f}, ≈ {int(mask.sum())} pixels")

# %%
mask_rcnn = json.loads((folder / "12_runs.json").read_text())
theirs = [mask_rcnn[f"runs/RoIAlign/{seed}"]["val"] for seed in range(3)]
ours = [run["val"] for run in runs_of("masks")]
for name in ("AP", "AP50", "AP75"):
    print(f"{name:5} MaskFormer, two seeds: {[run[name] for run in ours]}  ",
          f"Mask R-CNN, three seeds: {[run['mask ' + name] for run in theirs]}")

# %% [markdown]
# Better than Mask R-CNN: AP 0.61 and 0.60 against 0.58, and with AP50 and AP75 it is the same.
# There are no boxes, no anchors, and no NMS.
# (It has also been trained for longer: its backbone and transformer were lesson 14's DETR before.)
#
# ## 9. Third task: to which segment does a pixel belong?
#
# Now each pixel may belong to one segment only, but masks overlap.
#
# 1. Queries that say "nothing", or are not sure of their class, do not take part.
# 2. Each pixel goes to the query with the largest product of class probability and mask probability.
# 3. A query may win only a little of what it had drawn, because surer ones cover the rest.
#    Such a leftover is dropped: its pixels become void.
#
# ### Exercise 5 · `panoptic_inference`
#
# *30 minutes · ★★★*
#
# - `class_logits`: (Q, K + 1), `mask_logits`: (Q, H, W): as before.
#   `things`: the set of classes that can be counted; all others are stuff.
#   `sure`, `kept`: numbers 0..1.
# - A query takes part if its most probable class is not "nothing", and has a probability *above* `sure`.
# - Each pixel goes to the query, of those that take part, with the largest product of the probability of its class and the mask probability there.
# - A query keeps the pixels that it won if they are *at least* the share `kept` of the pixels in its own mask (those with a mask probability of at least 0.5).
#   Otherwise it is dropped, and so it is if it won no pixel or if its own mask is empty: the pixels that it won become 0, and do not go to the next best.
# - The segments that are left are numbered 1, 2, … in the order of their queries.
#   Queries of one class of stuff share one number, the first of them.
# - Returns a map (H, W) int64 with the number of each pixel's segment, 0 = none; and a list with the class of segment 1, of segment 2, …
#   If nobody takes part: all 0, and an empty list.

# %% tags=["exercise"]
def panoptic_inference(class_logits: torch.Tensor, mask_logits: torch.Tensor, things: set[int],
                       sure: float = 0.8, kept: float = 0.8) -> tuple[torch.Tensor, list[int]]:
    ### BEGIN SOLUTION
    score, label = class_logits.softmax(dim=1).max(dim=1)       # (Q,) each
    speaks = (label < class_logits.shape[1] - 1) & (score > sure)
    segments = torch.zeros(mask_logits.shape[1:], dtype=torch.int64, device=mask_logits.device)
    names: list[int] = []
    if not speaks.any():
        return segments, names
    masks = mask_logits[speaks].sigmoid()                       # (S, H, W)
    winner = (score[speaks, None, None] * masks).argmax(dim=0)  # (H, W)
    for query, kind in enumerate(label[speaks].tolist()):
        won, own = winner == query, (masks[query] >= 0.5).sum()
        if not won.any() or own == 0 or won.sum() / own < kept:
            continue
        if kind in things or kind not in names:
            names.append(kind)
        segments[won] = len(names) if kind in things else names.index(kind) + 1
    return segments, names
    ### END SOLUTION

# %%
check(panoptic_inference)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# Keep the queries that take part, and forget the others: then no number has to be skipped later.
# One `argmax` over these queries says for each pixel who wins it.
# After that a loop over the queries is fine.
# </details>
# <details><summary>Hint: too many segments stay, or too few</summary>
#
# Two areas are compared: how many pixels the query *won*, and how many its own mask has.
# The first does not care where these pixels lie; the second does not care what others have won.
# Both may be 0.
# </details>
# <details><summary>Hint: the numbers have gaps, or the ground comes twice</summary>
#
# Give a number only when you know that the query stays.
# For stuff, look first whether its class stands in the list already; its place there says the number.
# </details>

# %%
panoptic_inference = use(panoptic_inference)
# %%
def merged(logits: torch.Tensor, drawn: torch.Tensor, sure: float = 0.5, kept: float = 0.8):
    """Your map, and what its segments are, as pictures and measures want it."""
    numbers, names = panoptic_inference(logits, drawn, THINGS, sure, kept)
    return numbers, [{"id": place + 1, "label": kind, "isthing": kind in THINGS}
                     for place, kind in enumerate(names)]


yours = merged(classes, masks)
draw_panoptic(scene.image, {"truth": truth, "merged": yours}, SEMANTIC_NAMES, SEMANTIC_COLOURS)
plt.show()
print(f"≈ {(yours[0] == 0).float().mean():.1%} of the pixels are void;", "segments:",
      [SEMANTIC_NAMES[one["label"]] for one in yours[1]])

# %% [markdown]
# **What does the merging lose?**
# Take every true thing of the 200 scenes for which some query has the class right, and a mask with an IoU above 0.5.
# After the merging, is it still there?
#
# **Predict.**
# Why are most of the lost things lost?

# %% [markdown]
# The first function below finds these things, each with its query.
# The second looks for the thing after the merging, and if it is not there, asks why.

# %%
def found_things(answer, target: dict) -> list[tuple[torch.Tensor, int, int]]:
    """Of each true thing that a query has found: its mask, its class, and the query."""
    (logits, drawn), things = answer, []
    for kind, true in zip(target["labels"].tolist(), target["masks"]):
        fits = mask_iou(drawn > 0, true[None])[:, 0] * (logits.argmax(dim=1) == kind)           # (16,)
        if kind in THINGS and fits.max() > 0.5:
            things.append((true, kind, int(fits.argmax())))
    return things


# %%
def fates_of(answer, target: dict, sure: float, kept: float = 0.8) -> list[str]:
    """What the merging makes of each of these things."""
    (logits, drawn), fates = answer, []
    numbers, segments = merged(logits, drawn, sure, kept)
    score, label = logits.softmax(dim=1).max(dim=1)             # (16,) each
    speaks = (label < 7) & (score > sure)
    winner = (score[:, None, None] * drawn.sigmoid() * speaks[:, None, None]).argmax(dim=0)     # (96, 96)
    for true, kind, query in found_things(answer, target):
        same = [numbers == one["id"] for one in segments if one["label"] == kind]
        if same and mask_iou(torch.stack(same), true[None]).max() > 0.5:
            fates.append("kept")
        elif not speaks[query]:
            fates.append("lost: not sure enough of its class")
        elif (winner == query).sum() < kept * (drawn[query] > 0).sum():
            fates.append("lost: others cover too much of it")
        else:
            fates.append("lost: fits badly")
    return fates


# %% jupyter={"outputs_hidden": true}
from collections import Counter

for sure in (0.8, 0.5):
    fates = Counter(fate for one in zip(answers, targets) for fate in fates_of(*one, sure))
    print(f"`sure` = {sure}: of ≈ {fates.total()} things found")
    for fate, count in fates.most_common():
        print(f"   ≈ {count:3} {fate}")
print("things in the 200 scenes:", sum(int((one["labels"] > 1).sum()) for one in targets))

# %%
print("PQ    `kept` = 0.3    0.5    0.8")
by_limits = stored["masks/0"]["val"]["PQ by thresholds"]
for sure in (0.1, 0.3, 0.5, 0.8):
    row = [by_limits[f"{sure}, {kept}"] for kept in (0.3, 0.5, 0.8)]
    print(f"`sure` = {sure}    ", "  ".join(f"{quality:.3f}" for quality in row))

# %% [markdown]
# Of 656 things, 543 are found by some query, with the right class.
# With the paper's 0.8 the merging loses 28 of them, 18 of these because their query was not sure enough.
# With 0.5 only 16 are lost, and PQ (section 10) rises a little, from 0.802 to 0.805; so all pictures above were merged with 0.5 (`LIMITS`).
# The share `kept` hardly matters here.
#
# Some are lost because they "fit badly" afterwards.
# There is no rule that a pixel has to be in the mask of its winner: it goes to the best of those that take part, however badly that one fits.
# So pixels that nobody wants make things grow.
#
# ## 10. How good is a panoptic answer?
#
# mIoU counts pixels, and does not see that two figures were taken for one.
# AP needs scores, and lets masks overlap.
# The panoptic task has a measure of its own, **panoptic quality**.
#
# A predicted and a true segment of the same class are a **pair** if their IoU is above ½.
# That leaves no choice.
# IoU above ½ means that the predicted segment covers more than half of the true one.
# Two predicted segments share no pixel, so they cannot both cover more than half of it; and the other way round, no prediction has two partners.
# So nothing has to be matched, and no scores are needed.
#
# For each class, count the pairs (TP), predicted segments without a partner (FP) and true ones without (FN).
#
# $$\text{PQ} = \underbrace{\frac{\sum_{\text{pairs}} \text{IoU}}{\text{TP}}}_{\text{SQ: how well do pairs fit?}} \cdot
# \underbrace{\frac{\text{TP}}{\text{TP} + \frac12 \text{FP} + \frac12 \text{FN}}}_{\text{RQ: how much was found?}}$$
#
# (RQ is the F1 score: precision and recall in one number.)
#
# Pixels that nobody could label are **void** in the truth.
# They are taken out of the predicted segments, and a prediction that lies mostly in void is not held against the network.
#
# **Work it out by hand.**
# All segments below are figures.
# How large are TP, FP and FN, and what is PQ?

# %%
figures = torch.tensor([[1, 1, 1, 0, 0, 2, 2, 0],
                        [1, 1, 1, 0, 0, 2, 2, 0],
                        [1, 1, 1, 0, 0, 2, 2, 0],
                        [0, 0, 0, 3, 3, 0, -1, -1],
                        [0, 0, 0, 3, 3, 0, -1, -1]])            # -1: void
predicted = torch.tensor([[5, 5, 0, 0, 0, 7, 7, 7],
                          [5, 5, 0, 0, 0, 7, 7, 7],
                          [5, 5, 0, 0, 0, 7, 7, 0],
                          [0, 0, 0, 8, 0, 0, 9, 9],
                          [0, 0, 0, 8, 0, 0, 9, 0]])
show_numbers({"truth (−1: void)": figures, "predicted": predicted})
plt.show()

# %% jupyter={"outputs_hidden": true}
draw_quality(figures, predicted)
plt.show()

# %% [markdown]
# Segments 1 and 5 share 6 of 9 pixels, 2 and 7 share 6 of 8: two pairs.
# Segments 3 and 8 share 2 of 4: that is ½, and not above, so one is missed and the other is a false alarm.
# Segment 9 lies in void and is not counted.
# SQ is the mean of ⅔ and ¾, RQ is 2 / (2 + ½ + ½) = ⅔, and PQ is 0.472.
#
# ### Exercise 6 · `panoptic_quality`
#
# *25 minutes · ★★★*
#
# - `predicted`, `truth`: (H, W) int64, the segments of *one* class in one picture.
#   The numbers say which pixels belong together; they are at least 1, need not be consecutive, and mean nothing across the two maps.
#   0: no segment of this class.
#   −1, in `truth` alone: void.
# - A predicted and a true segment are a pair if their IoU is above ½.
#   The IoU is what they share, divided by the true area plus the predicted area without its void pixels minus what they share.
# - Of predicted segments without a partner, those of which more than half of the pixels are void do not count; the others are FP.
#   True segments without a partner are FN.
# - Returns three floats (PQ, SQ, RQ): SQ is the mean IoU of the pairs, or 0 if there is none; RQ = TP / (TP + FP/2 + FN/2); PQ = SQ · RQ.
#   If TP, FP and FN are all 0, all three are nan.

# %% tags=["exercise"]
def panoptic_quality(predicted: torch.Tensor, truth: torch.Tensor) -> tuple[float, float, float]:
    ### BEGIN SOLUTION
    found = [number for number in predicted.unique().tolist() if number > 0]
    real = [number for number in truth.unique().tolist() if number > 0]
    void, overlaps, paired = truth == -1, [], set()
    for number in found:
        for other in real:
            mine, true = (predicted == number) & ~void, truth == other
            iou = int((mine & true).sum()) / int((mine | true).sum())
            if iou > 0.5:
                overlaps.append(iou)
                paired.add(number)
    alarms = [number for number in found
              if number not in paired and void[predicted == number].float().mean() <= 0.5]
    counted = len(overlaps) + len(alarms) / 2 + (len(real) - len(overlaps)) / 2
    if not counted:
        return float("nan"), float("nan"), float("nan")
    sq, rq = sum(overlaps) / max(len(overlaps), 1), len(overlaps) / counted
    return sq * rq, sq, rq
    ### END SOLUTION

# %%
check(panoptic_quality)

# %% [markdown]
# <details><summary>Hint: how to find the pairs</summary>
#
# For each number of a map make a mask, and compare each with each.
# Nothing has to be chosen: segments of one map share no pixel, so with an IoU above 1/2 each has at most one partner.
# </details>
# <details><summary>Hint: right without void, wrong with it</summary>
#
# Void plays two parts.
# It goes from a predicted segment before its IoU is measured.
# And it decides whether a segment that found no partner is held against the prediction: there the segment with all its pixels is meant.
# </details>
# <details><summary>Hint: division by zero, or nan where 0 is asked for</summary>
#
# There are two different zeros.
# If nothing at all was counted there is nothing to judge: nan.
# If something was counted but there is no pair, everything failed: 0.
# </details>

# %%
panoptic_quality = use(panoptic_quality)

# %%
pq, sq, rq = panoptic_quality(predicted, figures)
print(f"by hand: PQ {pq:.3f} = SQ {sq:.3f} × RQ {rq:.3f}")
assert abs(pq - 17 / 36) < 1e-6


def of_class(panoptic, kind: int) -> torch.Tensor:
    """The segments of one class: other pixels are 0."""
    numbers, segments = panoptic
    chosen = [one["id"] for one in segments if one["label"] == kind]
    return numbers * torch.isin(numbers, torch.tensor(chosen))


for title, said_so in (("per pixel", patches), ("masks", (panoptic, segments))):
    pq, sq, rq = panoptic_quality(of_class(said_so, 2), of_class(truth, 2))
    print(f"spheres of our scene, {title:9}: PQ ≈ {pq:.3f} = SQ ≈ {sq:.3f} × RQ ≈ {rq:.3f}")

# %% [markdown]
# For a whole data set, TP, FP, FN and the sum of IoUs of each class are first added up over all pictures; then PQ is computed for each class,
# and then the mean over classes.
# (PQ = SQ · RQ holds for each class, but not for the means.)
#
# ## 11. Three tasks, one forward pass
#
# `answers` holds what the sixteen queries say of each of 200 scenes, computed once, in section 2.
# All three tasks are now a few lines each, with no further training, and no further look at the pictures.

# %%
from lib.ops import panoptic_metrics
from lib.ops.detection_metrics import average_precision
from lib.ops.segmentation_metrics import confusion_matrix, mean_iou

seen_classes = torch.stack([semantic_inference(*one).argmax(dim=0) for one in answers])
true_classes = torch.stack([val_world[place].semantic for place in range(200)])
miou = mean_iou(confusion_matrix(seen_classes, true_classes, 7))


def boxed(one: dict, keep: torch.Tensor) -> dict:
    """Some of the masks, with the boxes that `average_precision` wants beside them."""
    some = {name: value[keep] for name, value in one.items()}
    return some | {"boxes": masks_to_boxes(some["masks"]) if keep.any() else torch.empty(0, 4)}


instances = [instance_inference(*one, THINGS) for one in answers]
ap = average_precision([boxed(one, one["scores"] >= 0) for one in instances],
                       [boxed(one, one["labels"] > 1) for one in targets], "segm")

# %%
truths = [panoptic_of_masks(one["masks"], one["labels"], THINGS) for one in targets]
quality = panoptic_metrics.panoptic_quality([merged(*one) for one in answers], truths, THINGS, STUFF)
measured = stored["masks/0"]["val"] | {"PQ": stored["masks/0"]["val"]["PQ by thresholds"]["0.5, 0.8"]}
for task, name, value in (("semantic", "mIoU", miou), ("instance", "AP", ap["AP"]),
                          ("panoptic", "PQ", quality["PQ"])):
    print(f"{task}: {name:4} ≈ {float(value):.3f}")
    assert abs(float(value) - measured[name]) < 0.01
# %% [markdown]
# One network, one training, one forward pass, and three numbers that used to need three networks.
# (The per-pixel network can give only the first, and, through connected patches, the third.)
#
# ## 12. Does it separate what per-pixel classes glue together?
#
# Among 1,000 validation scenes there are 249 pairs of things of one class that touch each other.
# Of how many pairs are both things found (each with a segment of its class and an IoU above ½)?
#
# **Predict.**
# How many will each network find?

# %% jupyter={"outputs_hidden": true}
draw_runs({title: [run["pairs"]["both"] / run["pairs"]["pairs"] for run in runs_of(kind)]
           for kind, title in KINDS.items()},
          label="share of touching pairs of which both are found", size=2.4)
plt.show()
COLUMNS = ("PQ", "PQ_things", "PQ_stuff", "SQ_things", "RQ_things")
print(f"{'':26}", *(f"{name:>9}" for name in COLUMNS), "  both  one, of 249 pairs")
for kind, title in KINDS.items():
    for run in runs_of(kind):
        print(f"{title:26}", *(f"{run['val'][name]:9.3f}" for name in COLUMNS),
              f"{run['pairs']['both']:6} {run['pairs']['one']:4}")

# %% [markdown]
# The per-pixel network finds both things in only 1 of 249 pairs, with each of its three seeds.
# In some 195 pairs it finds one of the two: the patch is both of them together, and fits the larger one well enough.
# MaskFormer finds both in 116 and 115 pairs, and in 89 if it was matched with shrunk masks.
#
# In PQ it is ahead by little: 0.808 against 0.794 (on 200 scenes, each training with those limits that suit it best on these scenes).
# Such pairs are few, and even MaskFormer finds both in less than half of them.
# Stuff (PQ) is a little better pixel by pixel, and things fit as well (SQ); what masks add is that more things are found (RQ).
# So toyworld, with few classes and few things, is nearly as well served by classes and patches.
# A street full of people is not.
#
# ## 13. Look inside
#
# Choose a query, and see where it looks, layer by layer and head by head; or click a place, and see where that cell looks.
#
# 1. Queries 9, 2 and 5 speak for the three spheres.
#    How much of their attention lies on their own sphere, already in layer 0?
# 2. Query 0 speaks for the figure at the right.
#    Does it find it at once?
# 3. Query 6 draws the ground.
#    Does it look at all of it?

# %%
of_cells = [maps[0] for maps in looked.encoder_attention]       # (4, 12, 12, 12, 12) for each layer
of_queries = [maps[0] for maps in looked.cross_attention]       # (4, 16, 12, 12) for each layer
label = classes.argmax(dim=1).tolist()
says = [f"{query}: {[*SEMANTIC_NAMES, 'nothing'][kind]}" for query, kind in enumerate(label)]
explore_attention(scene.image, of_cells, of_queries, says, query=0)

# %% [markdown]
# <details><summary>What there is to see</summary>
#
# 1. Nearly all in two heads, half or more in a third, and nothing in head 0.
#    (The transformer came from DETR, which had learned to find things.)
# 2. No.
#    In layers 0 and 1 it looks at the spheres; in layer 2 three of its heads look at the figure alone.
# 3. No, at a few places; in layers 1 and 2 most of its attention is not even on the ground.
#    The ground is where it always is; a query that draws it need not look for it.
# </details>

# %% [markdown]
# ## 14. At full size
#
# `maskformer_resnet50` has the paper's sizes for ADE20K: 100 queries, six decoder layers, 256 numbers in each embedding, 150 classes.

# %%
from lib.models.maskformer import maskformer_resnet50

torch.manual_seed(0)
large = maskformer_resnet50().eval().requires_grad_(False)
for name, part in (("backbone", large.backbone), ("pixel decoder", large.pixel_decoder),
                   ("transformer", large.transformer), ("all", large)):
    print(f"{name:13} {sum(weight.numel() for weight in part.parameters()):>11,} weights")

# %%
from lib.datasets.photos import load_photo

photo = load_photo("coffee")                                    # (3, 400, 600)
large.transform.min_size = 256                                  # the paper resizes to 512
said_large = large([photo])
print("classes", tuple(said_large["pred_logits"].shape), "masks", tuple(said_large["pred_masks"].shape))

# %% [markdown]
# The published weights have other names; `maskformer_from_transformers` gives them ours.
# On a machine with internet they come from the address below, 167 MB; where they are on your disk already, the next cell uses them.

# %% tags=["nbval-ignore-output"]
from pathlib import Path

from lib.pretrained import maskformer_from_transformers

address = "https://huggingface.co/facebook/maskformer-resnet50-ade/resolve/main/pytorch_model.bin"
downloaded = Path(torch.hub.get_dir()) / "checkpoints" / "maskformer-resnet50-ade.bin"
if downloaded.exists():
    large.load_state_dict(maskformer_from_transformers(torch.load(downloaded, weights_only=True)))
    large.transform.min_size = 512
    ((large_classes, large_masks),) = asked(large, photo[None])
    plt.imshow(tasks.semantic_inference(large_classes, large_masks).argmax(dim=0), cmap="tab20")
    plt.show()

# %% [markdown]
# ## 15. Recap

# %%
draw_maskformer(net, picture, timed=False, colours=SEMANTIC_COLOURS)
plt.show()

# %% [markdown]
# | | a class for each pixel (01–04) | Mask R-CNN (12) | MaskFormer |
# | --- | --- | --- | --- |
# | who answers | each pixel | each box that was proposed | sixteen learned queries |
# | with what | K scores | a class, a box, a mask in the box | a class, a mask of the whole picture |
# | weights of the last 1×1 convolution | K fixed vectors | a fixed vector for each class | a vector for each query, written for this picture |
# | how many things | no things at all | as many as boxes | up to sixteen |
# | sky and ground | yes | no | yes |
# | duplicates | – | removed by NMS | rarely produced (matching) |
#
# **What we found.**
# From one forward pass: mIoU 0.859, mask AP 0.611, PQ 0.805.
# A per-pixel network with the same backbone, pixel decoder and budget: mIoU 0.880,
# and PQ 0.794 if each connected patch counts as a thing (means of three seeds).
# Of 249 touching pairs of one class it separates 1, MaskFormer 116.
# Matched with shrunk masks, as in the paper's code, it separates 89, and has mIoU 0.844 and AP 0.578.
# The merging loses 28 of 543 things if a query must be more than 0.8 sure, and 16 with 0.5.
#
# **What the paper reported.**
# On ADE20K, with 150 classes, mask classification beats classes for each pixel at equal backbones (mIoU 44.5 with a ResNet-50),
# and the more so the more classes there are; on Cityscapes, with 19 classes, the two are about equal.
# The same model without any change reached PQ 46.5 on COCO's panoptic task with a ResNet-50, where DETR, which learns boxes first and masks afterwards,
# had 43.4.
#
# **What was simpler here.**
# A backbone and transformer that lesson 14's DETR trained on the same pictures, instead of ImageNet;
# two encoder layers and three decoder layers instead of six (for the panoptic task the paper also adds six encoder layers).
# A pixel decoder of two maps; 64 numbers in an embedding instead of 256; 16 queries instead of 100.
# "Nothing" weighs 0.4.
#
# **Words of this lesson.**
# *Semantic, instance, panoptic segmentation*: a class for each pixel; a mask for each thing; each pixel in one segment that has a class.
# *Thing*: what can be counted; *stuff*: what cannot.
# *Segment*: the pixels of one thing, or of all stuff of one class.
# *Mask classification*: a set of masks, and a class for each.
# *Pixel decoder*: makes an embedding for each pixel; *mask embedding*: the vector with which a query draws.
# *Void*: pixels that belong to no segment.
# *Panoptic quality (PQ)*: segmentation quality (SQ) times recognition quality (RQ).
#
# **Go on from here.**
# Tasks without a check:
#
# - **Shrink better.** The paper's shortcut takes the first of 4 × 4 pixels.
#   Take their mean instead, so that edges stay where they are, and count again in how many scenes the matching differs.
# - **Masks that attend.** Mask2Former (2022) lets a query look only where the previous layer put its mask, and needs far fewer steps.
#   Add a mask to the cross-attention in `lib/layers/transformer.py`, train for 1,000 steps, and compare.
# - **A second chance.** Where a query is dropped in the merging, give its pixels to the next best instead of void.
#   Does PQ rise?
#   (SQ may rise or fall. Why?)
# - **Overlapping truths.** Train with `amodal_masks`, in which a thing continues behind others (`Sample.amodal_masks`).
#   Which of the three tasks benefits, and which breaks?
#
# ### Three questions
#
# **1.**
# A picture has sky, ground and two spheres.
# How many masks does a set of masks need for the semantic task, and how many for the panoptic task?
# (a) 3 and 4 (b) 4 and 4 (c) 3 and 3
#
# <details><summary>Answer</summary>
#
# **(a)** For the semantic task the spheres can share a mask: three classes.
# For the panoptic task each sphere needs its own.
# A network trained with four masks answers both: the two spheres' votes add up.
# </details>
#
# **2.**
# A prediction splits one true figure into halves of equal size, without a pixel too many.
# What is its PQ for figures?
# (a) ½ (b) ⅓ (c) 0
#
# <details><summary>Answer</summary>
#
# **(c)** Each half has an IoU of exactly ½, and a pair needs more.
# No pair, two false alarms, one missed.
# </details>
#
# **3.**
# Why does a query that says "nothing" draw a mask at all?
# (a) it is the mask of the background (b) it must draw something, and no loss tells it what (c) it covers what is void
#
# <details><summary>Answer</summary>
#
# **(b)** Every query has a mask embedding.
# Focal and dice loss apply to matched queries only, and with a class probability near 0 the mask counts for little in all three tasks.
# </details>

# %%
progress("15")

# %% [markdown]
# **Next:** the same in a video, and with depth.
# Lesson 16: queries that stay with their things from frame to frame.
