# %% [markdown]
# # 17 · SAM: any mask for any prompt
#
# One scene, and three ways to say what is wanted: a click, a box, and two clicks ("the head, but not the torso").
# The network does not say what anything *is*.
# It answers a hint with a mask of whatever you pointed at: an arm, a figure, the sky.
# And it looks at the picture only once; after that, each answer takes a few milliseconds.

# %%
import json

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import CLASSES, COLOURS, SIZES, Toyworld
from lib.device import choose_device
from lib.models import mae, sam
from lib.models.sam_predictor import SamPredictor
from lib.training import load_checkpoint
from lib.viz.prompts.still import draw_prompts, show_prompt

device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"
net = sam.sam_small(words=(*SIZES, *COLOURS, *CLASSES)).to(device)
load_checkpoint(net, folder / "17_sam.safetensors")
net = net.eval().requires_grad_(False)
stored = json.loads((folder / "17_runs.json").read_text())      # all measurements made for this lesson
world = Toyworld("val", 100, 96)

# %%
sample = world[83]
predictor = SamPredictor(net)
predictor.set_image(sample.image.to(device))                    # looks at the picture: once
CLICK = torch.tensor([[22., 44.]])                              # x and y of one point
INSIDE = torch.tensor([1])                                      # "this", not "not this"

# %%
prompts = {"a click": {"point_coords": CLICK, "point_labels": INSIDE},
           "a box": {"box": sample.boxes[1]},
           "this, but not that": {"point_coords": torch.tensor([[22., 35.], [22., 44.]]),
                                  "point_labels": torch.tensor([1, 0])}}
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for axis, (title, prompt) in zip(axes, prompts.items()):
    masks, guesses, _ = predictor.predict(**prompt, multimask_output=title == "a click")
    show_prompt(axis, sample.image, masks[guesses.argmax()].cpu(), prompt.get("point_coords"),
                prompt.get("point_labels"), prompt.get("box"))
    axis.set_title(title)
plt.show()

# %% [markdown]
# **You will be able to**
#
# - teach a transformer to see without a single label, by hiding most of each picture;
# - turn points, boxes, masks and words into tokens that a network can look at;
# - follow a click through SAM's decoder, step by step, to a mask;
# - explain why one click needs three answers, and why only the best of them may learn;
# - correct a mask click by click, and measure how many clicks it takes;
# - cut out, recolour and blur what you point at.
#
# | | |
# | --- | --- |
# | Time | 170 minutes to read and do, about a minute of computing on two cores |
# | Builds on | lesson 14 (attention, queries), 15 (masks as inner products, focal and dice loss) |
# | Papers | Kirillov et al. 2023, *Segment Anything*; He et al. 2022, *Masked Autoencoders*; Li et al. 2022, *ViTDet*; Tancik et al. 2020, *Fourier Features* |
#
# Numbers printed with ≈ may come out a little different on your machine.

# %%
import numpy as np
from scipy.ndimage import distance_transform_edt

from lib.datasets.photos import load_photo, photo_boxes
from lib.datasets.toyworld.levels import LEVELS, nested_masks
from lib.exercises import check, hint, progress, solution, use
from lib.layers.two_way import DownscaledAttention
from lib.layers.vit import window_partition
from lib.ops import mask_losses
from lib.ops.clicks import middle_click
from lib.ops.masks import mask_iou
from lib.timing import milliseconds
from lib.viz import explore
from lib.viz.detection.boxes import box_patch
from lib.viz.diagrams.sam_plan import draw_sam
from lib.viz.prompts.clicker import Clicker
from lib.viz.prompts.looks import draw_click_attention, draw_masked_patches, draw_place_codes
from lib.viz.prompts.still import draw_iou_by_clicks, draw_nested

# %% [markdown]
# **The big picture first.**
# An *image encoder*, a transformer, turns the picture into a map of 12 × 12 cells with 64 numbers each.
# A *prompt encoder* turns what you say into a few *tokens*, vectors of 64 numbers as well.
# A *mask decoder*, which is small, lets tokens and map look at each other, and draws masks.
# The encoder does most of the work, and knows nothing of the prompt: so its map can be kept, and asked again and again.
#
# Our network was trained for 4,000 steps on 2,000 scenes of toyworld.
# In each step somebody asks for four masks in each of eight scenes, by a click, a box or a phrase, and corrects the answer up to twice.

# %%
draw_sam(net, sample.image, (22, 44))
plt.show()

# %% [markdown]
# (Do not try to understand all of it now; each tile has its section.
# The arrows at the bottom of the drawing say how far the gradient of each loss reaches.)
#
# ## 1. One task in place of many
#
# A detector answers "which of my classes are where?"
# What it was not taught, it cannot find.
# SAM's task is another: **given a prompt, return a valid mask.**
# A prompt is any hint of what is meant in a picture: a point on it, a box around it, a rough mask of it, a few words.
#
# "Valid" is needed because a hint can mean several things.
#
# **Predict.**
# Somebody clicks on the torso of a figure.
# What may they want?

# %% jupyter={"outputs_hidden": true}
nested = nested_masks(sample)
print({level: int((nested.levels == number).sum()) for number, level in enumerate(LEVELS)})
draw_nested(sample, (22, 44))
plt.show()

# %% [markdown]
# The torso; the whole figure; or the figure together with what stands in front of it or behind it.
# None of these is wrong.
# In this lesson a *part* is one of a figure's six parts, one side of a crate, or the top or the side of a cylinder, a *thing* is one object,
# and a *group* is all objects that touch each other in the picture.
# Sky and ground can be asked for as well.
# (Masks of fewer than 64 pixels, one patch of our encoder, are left out; so the small yellow crate counts in the group alone.)
# A mask is valid if it is close to *one* of those that hold the point.
#
# **Try it.**
# Click on something: three masks answer, with what the network guesses of their IoU.
# Click again to correct, drag a box, and find something that it gets wrong.
# Then give it a picture of your own in place of `sample.image`, as a tensor (3, H, W) from 0 to 1.

# %%
clicker = Clicker(predictor, sample.image)
clicker.click(22, 44)                                           # a first click; yours come next
clicker

# %% [markdown]
# ## 2. Learning to see without labels
#
# A transformer has few ideas of its own about pictures.
# A convolution is built to look at neighbours; a transformer has to learn even that.
# That takes many pictures.
# Masks are expensive; pictures alone are cheap.
#
# A **masked autoencoder** (MAE) makes its own exercises from them: hide most of a picture, and have the network fill it in.
# Nobody can fill in the hidden half of a cylinder without having found out that there is a cylinder.
#
# 1. Cut the picture into patches of 8 × 8 pixels: 144 of them. Each becomes a **token**, 128 numbers, by one linear layer; a code of its place is added.
# 2. Hide three quarters of the tokens, drawn at random. The *encoder* gets the rest, and nothing else.
# 3. A light *decoder* gets the encoder's tokens, and for each hidden one a placeholder with its place. It predicts the pixels of every patch.
# 4. The loss is the squared error in the hidden patches.
#
# **Predict.**
# How many tokens does the encoder see?
# An attention layer compares each token with each: how much work is saved there?
#
# <details><summary>Answer</summary>
#
# 36 of 144.
# The encoder has a quarter of the tokens, and a sixteenth of the pairs: 36² = 1,296 in place of 144² = 20,736.
# That is the second reason to hide so much.
# The first: if little is hidden, copying from the neighbours is enough, and there is nothing to understand.
# </details>
#
# ### Exercise 1 · `mask_patches`
#
# *10 minutes · ★☆☆*
#
# - `tokens`: (B, N, D) floats, the N patches of B pictures.
# - `noise`: (B, N) floats, drawn at random, no two alike in a row.
# - `ratio`: the share that is to be hidden, from 0 to below 1.
#   In each picture V = int(N * (1 - ratio)) patches stay visible; N and ratio are such that this is at least one.
#   They are those with the **smallest** noise, in the order in which they stood in the picture.
# - Returns two tensors: the visible tokens (B, V, D), and hidden (B, N) bool, True where a patch is hidden.

# %% tags=["exercise"]
def mask_patches(tokens: torch.Tensor, noise: torch.Tensor,
                 ratio: float) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    visible = int(tokens.shape[1] * (1 - ratio))                                # V
    keep = noise.argsort(dim=1)[:, :visible].sort(dim=1).values                 # (B, V)
    hidden = torch.ones_like(noise, dtype=torch.bool).scatter(1, keep, False)   # (B, N)
    return tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[2])), hidden
    ### END SOLUTION

# %%
check(mask_patches)

# %% [markdown]
# <details><summary>Hint: the right tokens, in the wrong order</summary>
#
# Sorting the noise tells you *which* patches stay, in the order of their noise.
# Sort their numbers once more before you fetch them.
# </details>
# <details><summary>Hint: each picture has its own patches</summary>
#
# `tokens[:, keep]` would take every picture's choice from every picture.
# `gather` along axis 1 takes from each picture its own, but wants an index of the shape of the result: one for each of the D numbers.
# </details>

# %%
mask_patches = use(mask_patches)

# %% [markdown]
# A small autoencoder was trained on 2,000 scenes, 1,500 steps, without labels.
# Here it fills in what your function hides, in a scene that it has never seen.

# %%
filler = mae.mae_small(sam.sam_small().image_encoder).to(device)
load_checkpoint(filler, folder / "17_mae.safetensors")
filler = filler.eval().requires_grad_(False)

# %%
def filled_in(image: torch.Tensor, ratio: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a picture (3, 96, 96): what is hidden, (144,) bool, and the picture filled in, (3, 96, 96)."""
    noise = torch.rand(1, 144, generator=torch.Generator().manual_seed(seed))
    numbers, hidden = mask_patches(torch.arange(144.)[None, :, None], noise, ratio)     # which stay
    x = net.preprocess(image[None].to(device))                  # (1, 3, 96, 96), colours normalised
    said = filler(x, numbers[..., 0].long().to(device))         # predicted: (1, 144, 192)
    true = mae.patchify(x, 8)                                   # (1, 144, 192)
    painted = said.predicted * true.std(2, keepdim=True) + true.mean(2, keepdim=True)
    whole = torch.where(hidden[..., None].to(device), painted, true)            # visible ones as they are
    picture = mae.unpatchify(whole, 8, (96, 96))[0] * net.pixel_std + net.pixel_mean
    return hidden[0], picture.clamp(0, 1).cpu()

# %% [markdown]
# The network predicts the *pattern* of a patch, standardised to mean 0 and standard deviation 1: the paper found that this teaches more than raw colours do.
# (Both are taken over all 192 numbers of a patch, three colours of 64 pixels.)
# To get a picture, each patch is given its true mean and standard deviation here.
# So brightness and contrast are no achievement, but colours and patterns are; in the last picture each hidden patch has its true mean, and nothing else.
#
# **Predict.**
# What comes back better: the line between ground and sky, or a thing that is hidden whole?

# %% jupyter={"outputs_hidden": true}
hidden, picture = filled_in(sample.image, 0.75)
patches = mae.patchify(sample.image[None], 8)                   # (1, 144, 192)
flat = mae.unpatchify(patches.mean(2, keepdim=True).expand_as(patches), 8, (96, 96))[0]
draw_masked_patches(sample.image, hidden, {"filled in by the network": picture,
                                           "true means only": flat})
plt.show()

# %% [markdown]
# Sky and ground get their colours, and the horizon goes on behind the hidden patches.
# Of things there is little more than a blur.
#
# How large is the error, and what does it depend on?
# Because patterns are standardised, predicting a flat grey everywhere gives an error of 1.
# (A patch counts as on a thing if one pixel of it is.)

# %%
pictures = torch.stack([world[number].image for number in range(50)])
on_things = torch.stack([world[number].instance > 0 for number in range(50)])   # (50, 96, 96)
things = mae.patchify(on_things[:, None].float(), 8).amax(dim=2) > 0            # (50, 144)
x = net.preprocess(pictures.to(device))
true = mae.normalized_patches(mae.patchify(x, 8))               # (50, 144, 192)

# %%
for ratio in (0.25, 0.5, 0.75, 0.9):
    keep, hidden = mae.random_masking(50, 144, ratio, torch.Generator().manual_seed(0))
    said = filler(x, keep.to(device)).predicted                 # (50, 144, 192)
    wrong = (said - true).square().mean(dim=2).cpu()            # (50, 144)
    errors = [wrong[hidden & one].mean() for one in (~things, things)]
    print(f"{ratio:.0%} hidden: error ≈ {errors[0]:.2f} on sky and ground, ≈ {errors[1]:.2f} on things")

# %% [markdown]
# Sky and ground are filled in well: they look the way they usually do at that place.
# Things are much harder, and with 90 % hidden hardly better than a flat grey.
# And is a thing of which *nothing* is seen filled in at all?

# %%
keep, hidden = mae.random_masking(50, 144, 0.75, torch.Generator().manual_seed(0))
wrong = (filler(x, keep.to(device)).predicted - true).square().mean(dim=2).cpu()               # (50, 144)
errors = {"hidden whole": [], "seen in part": []}
for number in range(50):
    for mask in world[number].masks:
        its = mae.patchify(mask[None, None].float(), 8)[0].amax(dim=1) > 0      # (144,): its patches
        gone = its & hidden[number]
        if gone.any():
            name = "hidden whole" if gone.equal(its) else "seen in part"
            errors[name].append(wrong[number, gone].mean())
for name, values in errors.items():
    print(f"things {name}: {len(values):3d}, error ≈ {torch.stack(values).mean():.2f}")

# %% [markdown]
# Hardly: nobody can know what was there.
# A thing of which a piece is seen can be guessed a little better, and that is what there is to learn about things.
#
# The decoder, and its pictures, are thrown away.
# What is kept is the encoder: it is where SAM's training starts.
# Whether that helps in our small world is measured in section 9.
#
# ## 3. Windows, and a few looks at the whole
#
# SAM wants large pictures: 1024 × 1024 pixels in patches of 16 are 4,096 tokens, and in an attention layer each looks at each.
# So in most layers a token looks only at those in its **window** of 14 × 14.
# In a few layers, four of twelve in the smallest of the paper's encoders, it attends to all tokens: that is enough for information to spread everywhere.

# %%
side, window = 64, 14
windows = (-(-side // window)) ** 2                             # 5 × 5, padded at the end
print(f"pairs, all with all: {side**4 / 1e6:.1f} million")
print(f"pairs in windows:    {windows * window**4 / 1e6:.2f} million")

# %% [markdown]
# Ours has 12 × 12 tokens, windows of 6 × 6 in layers 1 and 3, and layers 2 and 4 attend to all tokens.
# Here is where the token at the star looks, as the mean over the four heads; its window is framed.

# %%
def seen_by(block, x: torch.Tensor, row: int, column: int) -> torch.Tensor:
    """Where a token looks in the map x (1, 12, 12, D), the mean over the heads: (12, 12)."""
    size = block.window_size or 12                              # of a window; 0: all are one window
    maps = block.attn.weights(window_partition(block.norm1(x), size)).mean(1)   # (windows, size², size²)
    number, place = row // size * (12 // size) + column // size, row % size * size + column % size
    top, left, look = row // size * size, column // size * size, torch.zeros(12, 12)
    look[top:top + size, left:left + size] = maps[number, place].view(size, size)
    return look

# %%
looks, x = {}, net.image_encoder.patch_embed(net.preprocess(sample.image[None].to(device)))
x = x + net.image_encoder.pos_embed                             # (1, 12, 12, 128)
for number, block in enumerate(net.image_encoder.blocks, 1):
    title = f"layer {number}: " + ("window" if block.window_size else "all")
    looks[title] = seen_by(block, x, 5, 2).cpu()                # the token in row 5, column 2
    x = block(x)                                                # (1, 12, 12, 128)
figure = draw_click_attention(sample.image, looks, torch.tensor([[20., 44.]]), INSIDE)
for axis in (figure.axes[0], figure.axes[2]):
    box_patch(axis, torch.tensor([0., 0., 48., 48.]), "white", width=1)         # its window
plt.show()

# %% [markdown]
# In layers 1 and 3 it cannot look out of its own quarter of the picture; in the two others it looks far away, at other things too.
# Each score gets a term for *where* the other token lies: the query's inner product with a learned vector for the distance along the rows,
# and with another one for the distance along the columns.
# These are **relative positions**.
#
# ## 4. A point is a place and a type
#
# A click is two numbers, x and y, and whether it says "this" or "not this".
# The decoder wants tokens of 64 numbers.
#
# The type is easy: a learned vector for "foreground", one for "background".
# For the place, two numbers are too few: a linear layer of x and y cannot single out a spot.
# So the place becomes 32 waves in random directions, each read off as a sine and a cosine (**Fourier features**), and added to the type's vector.
#
# $$\text{code}(p) = \bigl[\sin(2\pi\, p\, G),\; \cos(2\pi\, p\, G)\bigr], \qquad p \in [-1, 1]^2,\; G \in \mathbb{R}^{2 \times 32}\text{, drawn once and kept.}$$
#
# Why waves?
# The inner product of two codes is Σ cos(2π (p − q) · g): it depends on the difference p − q alone, wherever the two lie.
# Near each other all cosines are 1; far apart some are up and some down, and they cancel.
#
# **Predict.**
# The inner product of one place's code with those of all cells is a map.
# Where is it large?
# And for a place in the corner of the picture?

# %% jupyter={"outputs_hidden": true}
draw_place_codes(net.prompt_encoder.pe_layer, cells=((5, 2), (8, 8), (0, 0)), size=(12, 12))
plt.show()

# %% [markdown]
# A spot, about two cells wide, at the place itself, wherever it is; in the corner a quarter of it.
# (The faint rest is what 32 waves do not cancel; more waves leave less.)
# An attention layer works with inner products of this kind, so with such codes it *can* find the place of a click in the map.
#
# A **box** is two points, its top left and its bottom right corner, with a type of their own each.
# And there is a fifth type, "no point": a learned vector without a place, which pads shorter prompts.
#
# ### Exercise 2 · `embed_points`
#
# *20 minutes · ★★☆*
#
# - `points`: (P, N, 2) floats, x and y in pixels, N points of each of P prompts.
#   Pixels are counted from 0, and the *middle* of a pixel lies half a pixel further on: half a pixel is added to x and y, for all types alike, corners too.
# - `labels`: (P, N) int64, the types: 1 foreground, 0 background, 2 the top left corner of a box, 3 the bottom right one, −1 no point.
# - `waves`: (2, F), the matrix G.
#   `types`: (5, 2F), a vector for each type: row 0 belongs to −1, row 1 to 0, and so on to row 4, which belongs to 3.
#   `size`: (H, W) of the picture.
# - The place becomes a fraction of the width and of the height, 0 to 1, and then a number from −1 to 1.
#   That times `waves`, times 2π; first all sines, then all cosines.
#   The token is this code plus the type's vector; that of a "no point" is the type's vector alone.
# - Returns (P, N, 2F). N may be 0.

# %% tags=["exercise"]
def embed_points(points: torch.Tensor, labels: torch.Tensor, waves: torch.Tensor, types: torch.Tensor,
                 size: tuple[int, int]) -> torch.Tensor:
    ### BEGIN SOLUTION
    height, width = size
    places = 2 * (points + 0.5) / points.new_tensor([width, height]) - 1        # (P, N, 2), -1..1
    phase = 2 * torch.pi * places @ waves                                       # (P, N, F)
    code = torch.cat([phase.sin(), phase.cos()], dim=-1)                        # (P, N, 2F)
    return code * (labels != -1)[..., None] + types[labels + 1]
    ### END SOLUTION

# %%
check(embed_points)

# %% [markdown]
# <details><summary>Hint: right for square pictures only</summary>
#
# x runs along the width, and `size` names the height first.
# </details>
# <details><summary>Hint: the order of the steps</summary>
#
# Half a pixel is added to pixels, before anything is divided.
# −1 to 1 is twice the fraction, minus 1.
# With `points.new_tensor([width, height])` both are divided at once.
# </details>

# %%
embed_points = use(embed_points)

# %% [markdown]
# With your function, a click and a box become tokens of the network itself.

# %%
encoder = net.prompt_encoder
kinds_of = (encoder.not_a_point_embed, *encoder.point_embeddings)
types = torch.cat([one.weight for one in kinds_of])                             # (5, 64)
waves = encoder.pe_layer.positional_encoding_gaussian_matrix                    # (2, 32)
box = torch.tensor([[20., 30., 60., 80.]], device=device)                       # (1, 4)
corners, kinds = box.view(1, 2, 2), torch.tensor([[2, 3]], device=device)
mine = embed_points(corners, kinds, waves, types, (96, 96))                     # (1, 2, 64)
theirs, _ = encoder(boxes=box)
print("a box is two points:", torch.allclose(mine, theirs, atol=1e-5))
assert torch.allclose(mine, theirs, atol=1e-5)

# %% [markdown]
# A **mask** as a prompt, such as the network's own last answer, is another matter: it has a place already.
# Two small convolutions shrink it from 48 × 48 to the map's 12 × 12, with 64 numbers a cell, and it is *added* to the picture's map.
# Where no mask is given, a learned vector is added everywhere.
#
# ## 5. Nine steps from a click to a mask
#
# The decoder begins with a few tokens: those of the prompt, and five of its own, which are learned.
# Four of the five will become masks; one, the *IoU token*, will guess how good these are.
#
# | step | who | what |
# | --- | --- | --- |
# | 1 | tokens | look at each other |
# | 2 | tokens → picture | each token looks at all cells |
# | 3 | tokens | each thinks for itself (an MLP) |
# | 4 | picture → tokens | each cell looks at all tokens |
# | | | 1 to 4 once more, with weights of their own |
# | 5 | tokens → picture | a last look |
# | 6 | picture | the map is enlarged fourfold along each side, 12 × 12 → 48 × 48, by two transposed convolutions |
# | 7 | mask tokens | each becomes a vector of 8 numbers, by an MLP of its own (a **hypernetwork**: it makes weights) |
# | 8 | vector · pixel | the inner product with each of the 48 × 48 pixels: a mask |
# | 9 | IoU token | an MLP guesses the IoU of each mask |
#
# What is new here is step 4.
# In DETR and MaskFormer the queries ask the picture, and the picture stays as it is.
# Here it hears of the prompt, and changes: after "this, not that", the cells of *this* can become different from those of *that*.
# It is called a **two-way** decoder.
#
# ### Exercise 3 · `two_way_block`
#
# *25 minutes · ★★★*
#
# Steps 1 to 4.
#
# - `block` has three attentions, `self_attn`, `token_to_image` and `image_to_token`; each is called with three tensors, in the order queries, keys, values.
#   It has `mlp`, and four normalisations, `norm1` to `norm4`, each of which takes one tensor.
# - `tokens`: (P, T, D); `cells`: (P, S, D), the map as a list of S cells.
#   `token_codes`, `cell_codes`: the same shapes, the codes of their places.
# - After each step, its result is **added** to what was there, and the sum is normalised: by `norm1`, `norm2`, `norm3` (tokens) and `norm4` (cells).
# - In steps 1, 2 and 4 the codes are added to queries and keys, and never to values.
#   Codes say where to look; values are what is taken home.
# - Each step works with what the steps before it have made.
# - Returns tokens and cells, renewed.

# %% tags=["exercise"]
def two_way_block(block, tokens: torch.Tensor, cells: torch.Tensor, token_codes: torch.Tensor,
                  cell_codes: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    ### BEGIN SOLUTION
    q = tokens + token_codes                                                    # (P, T, D)
    tokens = block.norm1(tokens + block.self_attn(q, q, tokens))
    q, k = tokens + token_codes, cells + cell_codes                             # (P, T, D), (P, S, D)
    tokens = block.norm2(tokens + block.token_to_image(q, k, cells))
    tokens = block.norm3(tokens + block.mlp(tokens))
    q = tokens + token_codes                                                    # they are others now
    return tokens, block.norm4(cells + block.image_to_token(k, q, tokens))
    ### END SOLUTION

# %%
check(two_way_block)

# %% [markdown]
# <details><summary>Hint: the tokens are right, the cells are not</summary>
#
# In step 4 the cells ask: they are the queries, and the tokens are keys and values.
# Which tokens: those that came in, or those of step 3?
# </details>
# <details><summary>Hint: a step in one line</summary>
#
# Step 2: queries are tokens + their codes, keys are cells + their codes, values are the cells.
# What comes back has the shape of the tokens.
# </details>

# %%
two_way_block = use(two_way_block)

# %% [markdown]
# Now follow one click through the network.
# The tokens are the five of its own and those of the prompt.
# A click is followed by a "no point", and by three "no word": our prompts can also be phrases of up to three words (section 8).

# %%
points, labels = CLICK[None].to(device), INSIDE[None].to(device)                # (1, 1, 2), (1, 1)
embedding = predictor.features                                                  # (1, 64, 12, 12)
said, rough = encoder(points, labels)                           # (1, 2, 64), (1, 64, 12, 12)
words = net.phrase_encoder([""])                                                # (1, 3, 64)
own = torch.cat([net.mask_decoder.iou_token.weight, net.mask_decoder.mask_tokens.weight])       # (5, 64)
tokens = torch.cat([own[None], said, words], dim=1)                             # (1, 10, 64)
cells = (embedding + rough).flatten(2).transpose(1, 2)                          # (1, 144, 64)
codes = encoder.get_dense_pe().flatten(2).transpose(1, 2)                       # (1, 144, 64)
print("tokens", tuple(tokens.shape), " cells", tuple(cells.shape))

# %% [markdown]
# The first block has one peculiarity.
# At its beginning the tokens *are* their codes: so in its step 1 no codes are added, and what a token hears takes the place of what it was.
# The second is yours.

# %%
first, second = net.mask_decoder.transformer.layers
states, heard = first(tokens, cells, tokens, codes)             # (1, 10, 64), (1, 144, 64)
second.token_to_image = second.cross_attn_token_to_image        # the names of the exercise
second.image_to_token = second.cross_attn_image_to_token
mine = two_way_block(second, states, heard, tokens, codes)
theirs = second(states, heard, tokens, codes)
same = [torch.allclose(one, other, atol=1e-4) for one, other in zip(mine, theirs)]
print("tokens and cells equal to the network's:", same)
assert all(same)

# %% [markdown]
# Where does the token of the click look, in step 2 of the first block?
#
# **Predict.**
# Before any training, do you expect it to look at the place of the click?
#
# <details><summary>Answer</summary>
#
# With weights drawn as usual, no.
# The score is the inner product of W₁ (code of the click) and W₂ (code of a cell).
# With two random matrices drawn apart it is a random number: large in some wrong cell, if the weights are large.
# If both are the *same* orthogonal matrix, the score is the inner product of the two codes themselves, and that is largest at the click.
# Our small network starts so, and five times as loud as usual (`looks_at_its_place` in `lib/models/sam.py`).
# The paper's starts from ordinary random weights and learns this, from a billion masks.
# </details>

# %%
def click_looks(model) -> torch.Tensor:
    """Where the click's token looks in step 2 of the first block, the mean over the heads: (12, 12)."""
    attention = model.mask_decoder.transformer.layers[0].cross_attn_token_to_image
    code = encoder.pe_layer.of_places((points + 0.5) / 96)                      # (1, 1, 64)
    return attention.weights(code, codes).mean(1)[0, 0].view(12, 12).detach().cpu()

# %%
torch.manual_seed(0)
usual, apart, identical = (sam.sam_small().to(device) for _ in range(3))
usual.mask_decoder.transformer.layers[0].cross_attn_token_to_image = DownscaledAttention(64, 2).to(device)
keys = apart.mask_decoder.transformer.layers[0].cross_attn_token_to_image.k_proj.weight
torch.nn.init.orthogonal_(keys, gain=5**0.5)                    # as loud as W₁, and drawn apart

# %% jupyter={"outputs_hidden": true}
models = {"as usual": usual, "loud, drawn apart": apart, "loud, identical": identical, "trained": net}
looks = {title: click_looks(model) for title, model in models.items()}
draw_click_attention(sample.image, looks, CLICK, INSIDE)
plt.show()
for title, look in looks.items():                               # the click lies in row 5, column 2
    row, column = divmod(look.argmax().item(), 12)
    print(f"{title:18} click's cell ≈ {look[5, 2]:.3f}, most ≈ {look.max():.3f} in row {row}, column {column}")

# %% [markdown]
# (To see what places alone say, the maps are drawn for their codes, without what the cells say of the picture.)
# As usual, the token looks at all cells a little.
# Loud but drawn apart, it has a favourite cell that has nothing to do with the click.
# Loud and identical, it finds its place before the first step of training, and training has left it so.
#
# Steps 7 and 8 are next.
# You know them from MaskFormer: a token becomes a vector, and the inner product with each pixel's vector is a logit.
#
# ### Exercise 4 · `draw_masks`
#
# *10 minutes · ★☆☆*
#
# - `states`: (P, M, D) floats: of each of P prompts, at least one, the states of its M mask tokens.
# - `mlps`: a list of M functions, (P, D) → (P, C). The m-th belongs to the m-th mask token.
# - `pixels`: (P, C, H, W), the enlarged map of each prompt.
# - Mask m of a prompt is, at each pixel, the inner product of the m-th vector and the pixel's C numbers.
# - Returns (P, M, H, W), logits.

# %% tags=["exercise"]
def draw_masks(states: torch.Tensor, mlps: list, pixels: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    vectors = torch.stack([mlp(states[:, m]) for m, mlp in enumerate(mlps)], dim=1)     # (P, M, C)
    return torch.einsum("pmc,pchw->pmhw", vectors, pixels)
    ### END SOLUTION

# %%
check(draw_masks)

# %% [markdown]
# <details><summary>Hint: the wrong shape after the MLP</summary>
#
# `states[:, m]` is (P, D): the m-th mask token of all prompts.
# Stack the M results along a new axis 1.
# </details>
# <details><summary>Hint: the inner product</summary>
#
# "pmc,pchw->pmhw": the axis that is missing on the right is summed over.
# Both sides have p: the vectors of a prompt belong with its own pixels.
# </details>

# %%
draw_masks = use(draw_masks)

# %%
decoder = net.mask_decoder
states, heard = decoder.transformer(embedding + rough, encoder.get_dense_pe(), tokens)
pixels = decoder.output_upscaling(heard.transpose(1, 2).view(1, 64, 12, 12))    # (1, 8, 48, 48)
drawn = draw_masks(states[:, 1:5], list(decoder.output_hypernetworks_mlps), pixels)
guesses = decoder.iou_prediction_head(states[:, 0])             # (1, 4), and drawn is (1, 4, 48, 48)
theirs = net(embedding, points, labels)
print("equal to the network's masks:", torch.allclose(drawn, theirs.masks, atol=1e-3))
assert torch.allclose(drawn, theirs.masks, atol=1e-3)

# %% [markdown]
# Four masks, each with a guess of its IoU.
# The first is for unambiguous prompts; a single click is answered by the other three.

# %%
masks, guesses, _ = predictor.predict(CLICK, INSIDE)            # (3, 96, 96) bool, (3,)
draw_prompts(sample.image, masks, ious=guesses, points=CLICK, labels=INSIDE,
             titles=[f"mask {number}" for number in (1, 2, 3)])
plt.show()
meant = nested.masks[nested.masks[:, 44, 22]]                   # part, thing and group (3, 96, 96)
print(f"{'IoU with the':14} part  thing  group")
for number, row in enumerate(mask_iou(masks.cpu(), meant), 1):
    print(f"mask {number}:        " + "  ".join(f"≈ {value:.2f}" for value in row))

# %% [markdown]
# Mask 1 is closest to the part, mask 2 to the thing, and the group is met badly.
# Mask 3 is the ground, and does not even hold the click; its guess says that it is nothing.
#
# ## 6. One click, three answers
#
# A click on a torso means the torso, or the figure, or its group.
# Nobody can know which; in training each of them is asked for now and then.
# What does a network learn that must give *one* answer?
#
# **Predict.**
# Of four people who click there, one means the torso, two the figure, one the group.
# One map of probabilities is to have the least cross-entropy with what they mean, on average.
# What is its value on the torso? On the rest of the figure? On the rest of the group?
#
# <details><summary>Answer</summary>
#
# At each pixel the share of those who mean it: 1 on the torso, ¾ on the rest of the figure, ¼ on the rest of the group.
# Cut at ½ it is the figure: right for two, and wrong for the two others.
# And if there are three answers, each of which learns from everybody, all three learn the same.
# </details>
#
# SAM lets three masks answer, and **only the one that is closest to what was meant learns**.
# Then it pays to be different: a mask that is usually closest to torsos is trained on torsos alone, and becomes better at them.
#
# ### Exercise 5 · `min_over_masks`
#
# *15 minutes · ★★☆*
#
# All arguments are (P, M) floats: for each of P prompts, numbers of its M masks.
#
# - `focal`, `dice`: the two losses of each mask (lesson 15).
#   `guesses`: the IoU that the network expects. `ious`: the IoU that it reached.
# - Of each prompt, the mask whose 20 · focal + dice is smallest counts, with that sum.
#   (20 and 1 are the paper's weights.)
# - The guesses of *all* masks learn: (guess − IoU)², the mean over all prompts and masks.
# - Returns one number: the mean over the prompts of the first, plus the second.

# %% tags=["exercise"]
def min_over_masks(focal: torch.Tensor, dice: torch.Tensor, guesses: torch.Tensor,
                   ious: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    closest = (20 * focal + dice).amin(dim=1)                                   # (P,)
    return closest.mean() + (guesses - ious).square().mean()
    ### END SOLUTION

# %%
check(min_over_masks)

# %% [markdown]
# <details><summary>Hint: too small</summary>
#
# One mask may have the smallest focal loss and another the smallest dice loss.
# Which *one* is the best has to be decided by their weighted sum.
# </details>
# <details><summary>Hint: who learns what?</summary>
#
# The minimum lets the gradient through to one mask of each prompt.
# The guesses are another matter: each should know how good its own mask is, the bad ones too.
# </details>

# %%
min_over_masks = use(min_over_masks)

# %% [markdown]
# Does it pay to be different?
# Try it with no network at all: three maps of logits, and one click that means the three masks above in turn.
# They begin as discs around the click, of three sizes.
# In each step all maps are told what is meant this time; either all three learn, or the closest alone.

# %%
rows, columns = torch.meshgrid(torch.arange(96), torch.arange(96), indexing="ij")
far = ((columns - 22)**2 + (rows - 44)**2).sqrt()               # how far from the click
discs = torch.stack([torch.where(far < radius, 2., -2.) for radius in (5, 12, 22)])     # (3, 96, 96)

# %%
def learned(maps: torch.Tensor, closest_only: bool, steps: int = 150) -> torch.Tensor:
    """Maps of logits (3, 96, 96) after they were told, in turn, what the click means."""
    maps = maps.clone().requires_grad_()
    optimizer = torch.optim.Adam([maps], lr=0.2)
    for step in range(steps):
        truth = meant[step % 3].expand(3, -1, -1)
        focal, dice = (measure(maps, truth, reduction="none")[None]             # (1, 3) each
                       for measure in (mask_losses.focal_loss, mask_losses.dice_loss))
        no_guess = torch.zeros(1, 3)
        loss = (20 * focal + dice).mean()
        if closest_only:
            loss = min_over_masks(focal, dice, no_guess, no_guess)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return maps.detach()

# %% jupyter={"outputs_hidden": true}
results = {"start": discs, "all three learn": learned(discs, False),
           "the closest learns": learned(discs, True)}
figure, axes = plt.subplots(3, 3, figsize=(7.5, 7.8), layout="compressed")
for row, (title, maps) in zip(axes, results.items()):
    for number, (axis, one) in enumerate(zip(row, maps.sigmoid()), 1):
        shown = axis.imshow(one, cmap="magma", vmin=0, vmax=1)
        axis.set(title=f"map {number}", xticks=[], yticks=[])
    row[0].set_ylabel(title)
    hits = mask_iou(meant, maps > 0).amax(dim=1)                # of each truth, the map that is closest
    print(f"{title:18} part, thing and group: IoU", [round(hit, 2) for hit in hits.tolist()])
figure.colorbar(shown, ax=axes, shrink=0.5, label="probability of a pixel")
plt.show()

# %% [markdown]
# In the middle row all three have become the same map, an average: brightest on the torso, darker on the rest of the figure, darkest on the rest of the group.
# (Here each is meant equally often.)
# Cut at ½ it is the figure, three times.
#
# Below, the first map has become the torso.
# The second was the closest to the figure *and* to the group, has learned from both, and is their average; cut at ½ it is the figure.
# The third was never the closest, so it has learned nothing.
#
# That is the price of this loss: *the winner takes all*.
# Whoever is ahead learns, and is further ahead; three masks need not become three specialists.
# In a network the masks share nearly all of their weights, and are asked for many clicks in many pictures.
# Still, it is worth looking whether one is idle.
#
# **And in the network?**
# We trained three kinds of SAM, 700 steps each, with three seeds.
# They differ in who answers a single click: three masks of which the closest learns; three which all learn; one mask.
# Then we clicked in the middle of each part in 100 validation scenes.
# Such a click has two or three truths: a part, its thing, perhaps its group.
#
# - *closest*: of each truth, the IoU with the answer that is closest to it; *found*: how often that is above ½.
# - *shown*: the IoU of the answer with the best guess, with the truth that it is closest to. Is it a mask of *something*?

# %%
def runs_of(kind: str) -> list[dict]:
    """What was measured on validation scenes in the runs of a kind, one for each seed."""
    return [run["val"] for name, run in stored.items() if name.rpartition("/")[0] == kind]


COLUMNS = {"several, best": "closest", "several, truths found": "found", "several, shown": "shown"}
print(f"{'':26}", *(f"{title:>22}" for title in COLUMNS.values()))
for kind, title in (("MAE", "three, the closest learns"), ("mean", "three, all learn"), ("one", "one")):
    values = [" ".join(f"{run[name]:.3f}" for run in runs_of(kind)) for name in COLUMNS]
    print(f"{title:26}", *(f"{three:>22}" for three in values))
best, all_learn = ([run["several, truths found"] for run in runs_of(kind)] for kind in ("MAE", "mean"))
assert min(best) > max(all_learn) + 0.2

# %% [markdown]
# With three masks of which the closest learns, about half of all truths are found (48 to 62 %); with the other two kinds, a quarter or so.
# Three answers that all learn do hardly better than one.
# And the mask that is shown first is closer to a mask of *something*; an average is close to nothing in particular.
#
# Mind what this compares: networks with each other.
# How many truths would *one flawless* mask find, drawn for one of the click's truths at random?

# %%
found, best = [], []
for number in range(100):
    inside = nested_masks(world[number])
    for part in inside.masks[inside.levels == 0]:
        x, y = middle_click(part)
        truths = inside.masks[inside.masks[:, y, x]]            # all that hold the click (n, 96, 96)
        overlap = mask_iou(truths, truths)                      # row by row: if this one were drawn
        found += (overlap > 0.5).float().flatten().tolist()
        best += overlap.flatten().tolist()
print(f"one flawless mask:          closest ≈ {np.mean(best):.2f}, found ≈ {np.mean(found):.2f}")
kept = stored["kept"]["val"]
print(f"our network, 4,000 steps:   closest {kept['several, best']:.2f}, found {kept['several, truths found']:.2f}")

# %% [markdown]
# More than the three ragged ones of 700 steps: truths that lie in each other overlap, and above ½ counts as found.
# So three masks are no cure for poor masks; they are better than one of the same quality.
# Trained for longer, our network finds more than the one flawless mask, and still comes less close.
#
# Is one of the three idle?
# Let us click in the middle of every mask of 30 scenes, and count which of the three is the closest.

# %%
NAMES = (*LEVELS[:3], "sky", "ground")
closest = {(name, number): [] for name in NAMES for number in range(3)}         # pixels of masks meant
for index in range(30):
    scene = world[index]
    predictor.set_image(scene.image.to(device))
    inside = nested_masks(scene)
    for level, mask in zip(inside.levels.tolist(), inside.masks):
        drawn, _, _ = predictor.predict(torch.tensor([middle_click(mask)]).float(), INSIDE)
        best = mask_iou(mask[None], drawn.cpu())[0].argmax().item()
        name = LEVELS[level] if level < 3 else ("sky", "ground")[scene.semantic[mask][0]]
        closest[name, best].append(mask.sum().item())
predictor.set_image(sample.image.to(device))

# %%
print(f"{'closest is':10}", *(f"{f'mask {number}':>12}" for number in (1, 2, 3)))
for name in NAMES:
    print(f"{name:10}", *(f"≈ {len(closest[name, number]):10d}" for number in range(3)))
for number in range(3):
    sizes = [size for name in NAMES[:3] for size in closest[name, number]]
    print(f"mask {number + 1} is closest to {len(sizes)} parts, things and groups, median size",
          f"≈ {np.median(sizes):.0f} pixels" if sizes else "–")

# %% [markdown]
# They have divided the work, by size more than by level: mask 1 takes parts and smaller things, mask 2 larger things, groups and most skies.
# Nobody told them to.
# Mask 3 is best at the ground, and at nothing else: whoever clicks on a thing gets two useful answers, not three.
#
# ## 7. Click by click
#
# A mask is seldom right at once.
# Whoever wants a better one clicks again: on a spot that is missing, or on one that should not be there.
# The network gets all clicks so far, and its own last answer as a mask.
# It was trained in this way too: after the first answer, a wrong pixel, drawn at random, is clicked, up to twice.
#
# To *measure*, there should be no luck in it.
# So our annotator clicks in the middle of what is wrong.
#
# ### Exercise 6 · `next_click`
#
# *20 minutes · ★★☆*
#
# - `predicted`, `true`: (H, W) bool tensors, which differ somewhere.
# - Two regions are wrong: all pixels that were *missed* (true, but not predicted), and all that were *taken* (predicted, but not true).
# - A pixel's **depth** is its distance to the nearest pixel that does not belong to its region.
#   Beyond the picture's border nothing belongs to it.
#   `distance_transform_edt(array)` gives, for each pixel that is True, the distance to the nearest False;
#   put a border of one False pixel around first (`numpy.pad`), and take it away afterwards.
# - The click is the deepest pixel of the two regions; of several in a region the first, row by row; if both regions are equally deep, that of what was missed.
# - Returns (x, y, label), three whole numbers: column, row, and 1 if the pixel was missed, 0 if it was taken.

# %% tags=["exercise"]
def next_click(predicted: torch.Tensor, true: torch.Tensor) -> tuple[int, int, int]:
    ### BEGIN SOLUTION
    regions = [true & ~predicted, predicted & ~true]            # missed, taken
    depths = [distance_transform_edt(np.pad(one.numpy(), 1))[1:-1, 1:-1] for one in regions]
    label, depth = (1, depths[0]) if depths[0].max() >= depths[1].max() else (0, depths[1])
    y, x = divmod(int(depth.argmax()), depth.shape[1])
    return x, y, label
    ### END SOLUTION

# %%
check(next_click)

# %% [markdown]
# <details><summary>Hint: at the picture's border</summary>
#
# Without a border of False, a region that touches the picture's edge looks deep there, and the click lands on the edge.
# </details>
# <details><summary>Hint: why two distance transforms?</summary>
#
# A missed region and a taken one may lie side by side.
# Measured together, the line between them would be deep inside.
# </details>

# %%
next_click = use(next_click)

# %% [markdown]
# Your annotator at work, who wants the group.

# %%
def clicked(true: torch.Tensor, number: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """The masks after 1, 2, ... clicks of your annotator: points (N, 2), labels (N,), mask (96, 96)."""
    points, labels, said, small, steps = [], [], torch.zeros_like(true), None, []
    for count in range(number):
        if said.equal(true):
            break
        x, y, label = next_click(said, true)
        points, labels = [*points, (float(x), float(y))], [*labels, label]
        masks, guesses, logits = predictor.predict(torch.tensor(points), torch.tensor(labels),
                                                   mask_input=small, multimask_output=count == 0)
        best = guesses.argmax()
        said, small = masks[best].cpu(), logits[best][None]
        steps.append((torch.tensor(points), torch.tensor(labels), said))
    return steps

# %% jupyter={"outputs_hidden": true}
wanted = nested.masks[nested.levels == 2][0]                    # a group
steps = clicked(wanted, 4)
figure, axes = plt.subplots(1, len(steps), figsize=(10, 3), layout="constrained")
for axis, (given, kind, mask) in zip(axes, steps):
    show_prompt(axis, sample.image, mask, given, kind)
    axis.set_title(f"clicks: {len(given)}, IoU {mask_iou(mask[None], wanted[None]).item():.2f}")
plt.show()

# %% [markdown]
# All masks of 200 test scenes, by level:

# %%
final = stored["kept"]["test"]
draw_iou_by_clicks({level: torch.tensor(final[f"{level}, by clicks"]) for level in LEVELS})
plt.show()
for count in (1, 2, 3, 5, 8):
    print(f"after {count}: mean IoU {final['IoU by clicks'][count - 1]:.3f}")

# %% [markdown]
# The second click helps most, but for sky and ground: from then on the single mask answers and not the three, and there it is a little worse.
# After one click the IoU of parts is low, for a good reason: the network cannot know that the *part* is meant, and may well show the thing.
# After the second click there is less to guess.
#
# And what is left after eight?
# The masks are drawn on 48 × 48 pixels; does that cost so much?

# %%
inside = torch.cat([nested_masks(world[number]).masks for number in range(30)])
small = F.interpolate(inside[:, None].float(), (48, 48), mode="area")
back = F.interpolate(small, (96, 96), mode="bilinear", align_corners=False)[:, 0] > 0.5
same = torch.stack([mask_iou(one[None], other[None])[0, 0] for one, other in zip(inside, back)])
print(f"true masks, brought to 48 × 48 pixels and back: mean IoU {same.mean():.2f}")

# %% [markdown]
# No.
# It must be what the network has learned, from patches of 8 × 8 pixels and with three clicks at most.
#
# ## 8. Looked at once, asked often
#
# How long does each part take, for one picture?

# %%
part = {"encode the picture": lambda: predictor.set_image(sample.image),
        "answer a click": lambda: predictor.predict(CLICK, INSIDE)}
for name, work in part.items():
    print(f"{name:20} ≈ {milliseconds(work, repeats=10):.1f} ms")
encoder_size, all_size = (sum(one.numel() for one in model.parameters())
                          for model in (net.image_encoder, net))
print(f"{encoder_size / all_size:.0%} of the weights are the encoder's")

# %% [markdown]
# (An answer takes longer than the steps in the drawing add up to: here the mask is also brought to the picture's size, and Python has its share.)
# In our small world both are quick.
# The paper's largest encoder has 632 million weights and takes about 0.15 s on a data centre's GPU, and far longer on a laptop.
# The decoder has 4 million, and answers in about 50 ms in a web browser.
# That is why a picture can be looked at on a server, once, and be clicked on at home.
#
# **Words.**
# A phrase is a prompt like any other, if its words can become tokens.
# The paper takes them from CLIP, a network that has learned from 400 million pictures and their captions to give a picture and its caption the same vector.
# Ours has fifteen words, one learned vector for each, and "no word" for padding.
# In training, one prompt in eight was a phrase that means one thing of the scene, words left out if it was clear without them.

# %%
for phrase in sample.phrases[:4]:
    masks, guesses, _ = predictor.predict(phrase=phrase, multimask_output=False)
    print(f"{phrase:18} {int(masks.sum()):4d} pixels, IoU guessed ≈ {guesses[0]:.2f}")

# %% [markdown]
# How good is each kind of prompt? The mean IoU on 200 test scenes:

# %%
print(f"a click {final['IoU by clicks'][0]:.3f}, a box {final['box']:.3f}, a phrase {final['phrase']:.3f}")

# %% [markdown]
# It has **not** learned to listen.
# A click says where to look; a word does not, and must be compared with what is seen everywhere.
# The phrases of 4,000 steps were not enough to find out what "red" or "cone" look like.
# And our start may stand in the way: it makes places loud and all else quiet, and a word has no place.
# (The network knows that it failed: it draws nothing, and its guesses are near 0. A guess is a plain number, and may even come out below 0.)
# That is why the paper borrows CLIP's words, and why Grounded SAM (lesson 19) leaves words to a detector, and gives SAM its boxes.
#
# ## 9. Does the head start help?
#
# SAM's encoder begins as a masked autoencoder.
# Does it help ours?
# Here are trainings of 700 steps that differ in nothing else: with the masks of 2,000 scenes (three seeds), with those of 100 scenes,
# and with a quarter of the learning rate, so that less of the start is overwritten.
# The numbers are about things, which are asked for most.
#
# **Predict.**
# Where should the head start help most?

# %% jupyter={"outputs_hidden": true}
print(f"{'IoU of things after':28} {'1 click':>22} {'3 clicks':>22}")
for name in ("", ", 100 labelled", ", slower"):
    for start in ("MAE", "random"):
        curves = [run["thing, by clicks"] for run in runs_of(start + name)]
        columns = [" ".join(f"{curve[clicks - 1]:.3f}" for curve in curves) for clicks in (1, 3)]
        print(f"{start + name:28}", *(f"{three:>22}" for three in columns))

# %% [markdown]
# Nowhere clearly.
# With 2,000 labelled scenes two of three seeds are alike; in the third the random start did worse, and three seeds cannot say whether that is luck.
# With 100, and at the slower rate, the head start is ahead by 0.02 at most, with one seed each.
#
# Look at the table once more: 100 labelled scenes are as good as 2,000!
# In 700 steps the network does not run out of masks to learn from, so there is nothing that a head start could save.
# And our autoencoder knows what sky and ground look like, which is easy anyway; of things it has learned little, as section 2 shows.
# The paper's has seen over a million photos.
# We keep the head start because the paper has it.
#
# ## 10. Use it
#
# A mask is a selection, and a selection can be painted.

# %%
def edited(image: torch.Tensor, mask: torch.Tensor) -> dict[str, torch.Tensor]:
    """What can be done with a mask (H, W) of a picture (3, H, W)."""
    inside = mask[None]
    soft = F.avg_pool2d(image[None], 9, stride=1, padding=4, count_include_pad=False)[0]
    return {"recoloured": torch.where(inside, image[[2, 0, 1]], image),
            "all else blurred": torch.where(inside, image, soft),
            "cut out": torch.where(inside, image, torch.ones_like(image))}

# %%
masks, guesses, _ = predictor.predict(box=sample.boxes[1], multimask_output=False)
pictures = edited(sample.image, masks[0].cpu())
figure, axes = plt.subplots(1, 3, figsize=(10, 3.6), layout="constrained")
for axis, (title, one) in zip(axes, pictures.items()):
    axis.imshow(one.permute(1, 2, 0))
    axis.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# **And on a photo?**
# Our network has seen generated scenes alone.
# How far does that get us?
# Here are four photos, with a box drawn by hand around something on each.

# %% jupyter={"outputs_hidden": true}
figure, axes = plt.subplots(1, 4, figsize=(10, 3), layout="constrained")
for axis, name in zip(axes, ("chelsea", "coffee", "astronaut", "rocket")):
    photo, (things, boxes) = load_photo(name), photo_boxes(name)
    predictor.set_image(photo.to(device))
    masks, guesses, _ = predictor.predict(box=boxes[0], multimask_output=False)
    show_prompt(axis, photo, masks[0].cpu(), box=boxes[0])
    axis.set_title(f"{name}: {things[0]}\nIoU guessed {guesses[0]:.2f}")
plt.show()

# %% [markdown]
# Not at all.
# Of the cup, the astronaut and the rocket it draws nothing; of the cat some patches at the edge of the face, half of them outside of the box.
# Its guesses are honest about the three (0.15 at most), and fooled by the cat (0.42): it has never learned what a bad mask of a photo looks like.
# It was taught 2,000 scenes of five kinds of things; the published network was taught 11 million photos.
#
# The published network has the same parts under the same names (`sam_vit_b` in `lib/models/sam.py`), with 94 million weights.
# `SamPredictor` works with it unchanged.
# Where you have internet, fetch its file (375 MB), and its weights go in as they are:
#
# ```python
# url = "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth"
# published = sam.sam_vit_b()
# published.load_state_dict(torch.hub.load_state_dict_from_url(url))
# Clicker(SamPredictor(published.eval()), load_photo("chelsea"))
# ```
#
# Encoding a photo then takes some seconds on a laptop, and a click one or two tenths of a second.
#
# ## 11. Look inside
#
# Every map of the encoder, from patches to the neck.
# Hover over a cell to see which pixels it is made of.

# %%
explorer = explore(net.image_encoder, net.preprocess(sample.image[None].to(device))[0])
explorer

# %% [markdown]
# ## 12. Recap

# %%
draw_sam(net, sample.image, (22, 44), timed=False)
plt.show()

# %% [markdown]
# | | MaskFormer (15) | SAM |
# | --- | --- | --- |
# | the picture is looked at | for one set of questions, learned | once, for any number of prompts |
# | a query is | learned, the same in every picture | made of the prompt |
# | the picture | is asked | is asked, and hears the prompt (two-way) |
# | a mask is | an inner product | an inner product |
# | says a class | yes | no: a guess of its own IoU |
# | who learns from a true mask | the query that was matched to it | the closest of three |
#
# **What we found.**
# Of 200 test scenes, one click gives a mean IoU of 0.598, two 0.690, eight 0.749; a box 0.641.
# Three masks of which the closest learns find 62, 48 and 61 % of what a click can mean (three seeds).
# If all three learn it is 26, 24 and 25 %; with one mask 27, 22 and 15 %.
# The price is that the winner takes all: in our network one of the three draws nothing but ground.
# Words were not learned (0.11), a start from a masked autoencoder helped little or not at all, and photos are out of reach.
#
# **What the paper reported.**
# SAM's encoder is a ViT-H with 632 million weights that began as a masked autoencoder.
# It was trained on 11 million pictures with 1.1 billion masks; how these came about is lesson 18.
# With a single click in the middle of a thing, on 23 data sets that it had never seen, it was better than RITM, a network made for clicking, on 16.
# Masks for a click were judged by people: they gave SAM between 7 and 9 of 10 points.
#
# **What was simpler here.**
# A network with 1.2 million weights, pictures of 96 × 96 and 2,000 scenes; up to three rounds of answers in training, where the paper has eleven.
# Our decoder starts with loud, identical projections of queries and keys.
# A first box gets one mask here, and three there.
# Words are fifteen learned vectors, not CLIP.
#
# **Words of this lesson.**
# *Prompt*: a hint of what is meant; a point, a box, a mask, words.
# *Valid mask*: one of those that may be meant.
# *Masked autoencoder*: fills in hidden patches, and learns to see by it.
# *Token*: a vector that stands for a patch, a point or an answer.
# *Windowed attention*: each token looks at its window alone.
# *Relative position*: how far apart two tokens lie, as a learned part of their score.
# *Fourier features*: a place as sines and cosines of waves in random directions.
# *Two-way decoder*: tokens look at the picture, and the picture at the tokens.
# *Hypernetwork*: a network that makes the weights of another, here the vector that draws a mask.
# *Ambiguity*: one prompt, several valid masks.
#
# **Go on from here.**
# Tasks without a check; `data/checkpoints/17_sam.py` is how all networks of this lesson were trained:
#
# - **More than three.** Give the decoder five mask tokens in place of four. Do clicks find more of their truths?
# - **A stingy annotator.** Compare clicks in the middle of the error with clicks drawn at random in it. How many more are needed for an IoU of 0.9?
# - **Hide less.** Train the autoencoder with 25 % hidden, and start SAM from it.
# - **An ordinary start.** Leave out `looks_at_its_place`, and train for 700 steps. What does it answer to a click?
#
# ### Three questions
#
# **1.**
# The three masks of a model are trained with the *mean* of their three losses.
# What do they become?
# (a) three different masks (b) three times nearly the same (c) one good mask and two empty ones
#
# <details><summary>Answer</summary>
#
# **(b)** Each is pulled toward every truth alike, so all end at the same compromise.
# </details>
#
# **2.**
# You want masks of 200 things in one large photo.
# What is done 200 times?
# (a) encoder, prompt encoder and decoder (b) prompt encoder and decoder (c) the decoder alone
#
# <details><summary>Answer</summary>
#
# **(b)** The picture is encoded once; each prompt needs tokens, and an answer.
# The 200 can even go through together: P prompts are a batch.
# </details>
#
# **3.**
# In a masked autoencoder the loss counts all patches, not only the hidden ones.
# Why is that worse?
# (a) the visible ones are easy to copy, and take a part of the network's effort (b) the loss becomes infinite (c) the decoder no longer knows what was hidden
#
# <details><summary>Answer</summary>
#
# **(a)** Copying teaches nothing about what pictures look like.
# </details>

# %%
progress("17")

# %% [markdown]
# **Next:** where do a billion masks come from?
# Lesson 18: a model that labels its own training data.
