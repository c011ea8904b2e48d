# %% [markdown]
# # 06 · R-CNN: look at two thousand boxes, and name them
#
# How do you find things of which you know neither the place, nor the size, nor the number?
# You would have to look *everywhere*, and a photo has billions of boxes.
# On the left are about five thousand that are worth a look, on the right the hundred most promising ones.
# Orange: for each of seven things that a person marked, the box that fits it best.
# **Nothing here was learned.**
# These boxes come from merging patches that look alike.

# %%
import matplotlib.pyplot as plt
import torch

from lib.datasets.photos import PHOTOS, load_photo, photo_boxes, resize_photo
from lib.ops.selective_search import selective_search
from lib.viz.detection.detections import draw_proposals

# %%
photo = load_photo("astronaut")                                 # (3, 512, 512)
names, marked = photo_boxes("astronaut")                        # 7 boxes, drawn by hand
proposals = selective_search(photo)                             # (P, 4), the most promising first
draw_proposals(photo, {f"all {len(proposals):,}": proposals, "the first 100": proposals[:100]},
               truth=marked, columns=2, size=4.5)
plt.show()

# %% [markdown]
# **You will be able to**
#
# - write selective search: merge the patches of a picture until boxes around things fall out;
# - measure proposals by their recall, and say how many are enough;
# - make a detector from a network that was trained for something else, linear SVMs, and a regression for the box;
# - say where its seconds go, and why its parts cannot learn from each other.
#
# | | |
# | --- | --- |
# | Time | 75 minutes to read and do, about 35 seconds of computing on two cores |
# | Builds on | lesson 01 (the ImageNet network), 05 (IoU, NMS, AP) |
# | Papers | Girshick, Donahue, Darrell & Malik 2014, *Rich feature hierarchies for accurate object detection and semantic segmentation* (R-CNN) · Uijlings et al. 2013, *Selective Search for Object Recognition* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.

# %%
import time
from functools import partial

from sklearn.svm import LinearSVC

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import CLASSES, Toyworld
from lib.device import choose_device
from lib.exercises import check, progress, use
from lib.models.rcnn import RCNN, Regions, crop_resize
from lib.ops.box_coder import BoxCoder
from lib.ops.boxes import box_iou
from lib.ops.detection_metrics import average_precision
from lib.ops.selective_search import Region, oversegment, regions_of, selective_search_small
from lib.pretrained import efficientnet_lite0, halfway_features, imagenet_classes, prepare
from lib.training import load_checkpoint
from lib.viz import explore, show_images
from lib.viz.detection.curves import draw_recall_curve
from lib.viz.detection.detections import draw_boxes, draw_detections

device = choose_device()
network = efficientnet_lite0().to(device).requires_grad_(False)

# %% [markdown]
# ## 1. Why not look everywhere?
#
# We own a network that can tell a thousand kinds of things apart (lesson 01).
# Show it every box of the photo, and see where it is sure.
# This is called a **sliding window**.
#
# **Predict.**
# The photo has 512 × 512 pixels.
# How many boxes does it have, if their corners lie on whole pixels?
# And how long would the network take for them: minutes, days, or years?

# %%
with torch.no_grad():
    some = torch.rand(16, 3, 128, 128, device=device)
    network(prepare(some))                                      # the first call is slower
    begun = time.perf_counter()
    network(prepare(some)).sum().item()                         # .item() waits for the device
    per_box = (time.perf_counter() - begun) / 16
print(f"one box takes the network ≈ {1000 * per_box:.1f} ms")

# %%
ends = 512 * 513 // 2                                           # pairs left < right
every_box = ends**2
grid = (512 // 8)**2 * 10 * 3                                   # every 8 pixels, 10 sizes, 3 shapes
ways = {"every box": every_box, "a coarse grid": grid, "proposals": len(proposals)}
for kind, count in ways.items():
    hours = count * per_box / 3600
    print(f"{kind:<14} ≈ {count:>13,} boxes, ≈ {hours:9,.2f} hours")

# %% [markdown]
# Years for every box, minutes even for a coarse grid that will miss many things.
# So R-CNN asks a cheaper question first: **where could there be a thing at all?**
# It need not know which.
#
# ## 2. Patches, and what they have in common
#
# What is a thing?
# Often it is a part of the picture that hangs together: one colour, or one texture.
# So begin at the bottom, and cut the photo into small patches of even colour. scikit-image has a method for this; we take it as it is.

# %%
patches = oversegment(photo, scale=400, min_size=450, space="hsv")      # (512, 512) numbers
regions, neighbours = regions_of(photo, patches, space="hsv")
print(f"≈ {len(regions)} patches, ≈ {len(neighbours)} pairs of neighbours")

def painted(picture: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Every patch in its mean colour."""
    _, place, counts = numbers.flatten().unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(counts), 3).index_add_(0, place, picture.flatten(1).T)
    return (sums / counts[:, None])[place].T.reshape(picture.shape)     # (3, H, W)

# %%
show_images([photo, painted(photo, patches)], ["photo", f"{len(regions)} patches"], size=4)
plt.show()

# %% [markdown]
# Few of these patches are things.
# The helmet is several, and so is the flag.
# Things come out when patches **merge**, and the question is which two should merge first.
#
# A region remembers four facts: its `size` in pixels, the `box` around it, and two histograms:
# how its pixels are shared out over 75 bins of `colour`, and over 240 bins of `texture` (how steeply the colour rises, in eight directions).
# Each histogram sums to 1.
# From these facts comes a number for each pair:
#
# 1. **colour**: what the two histograms share.
#    In each bin, that is the smaller of the two numbers; summed over the bins.
# 2. **texture**: the same.
# 3. **size**: 1 − (size of both) / (size of the picture).
#    Small regions go first, or one region would swallow all others in turn.
# 4. **fill**: 1 − (gap) / (size of the picture).
#    The gap is what remains empty in the box around *both*: regions that fit into each other leave none.
#
# **Predict.**
# Two patches of the dark collar, or her hair and the wall beside it: which of the four numbers tells the two pairs apart?
#
# ### Exercise 1 · `region_similarity`
#
# *10 minutes · ★★☆*
#
# - `a`, `b`: regions, with `a.size`, `a.box` (a tuple x1, y1, x2, y2 of whole pixels), `a.colour` and `a.texture` (tensors).
# - `picture_size`: the number of pixels of the picture.
# - Returns the sum of the four numbers above: 0 (nothing in common) to nearly 4.

# %% tags=["exercise"]
def region_similarity(a: Region, b: Region, picture_size: int) -> float:
    ### BEGIN SOLUTION
    colour = torch.minimum(a.colour, b.colour).sum().item()
    texture = torch.minimum(a.texture, b.texture).sum().item()
    both = a.size + b.size
    width = max(a.box[2], b.box[2]) - min(a.box[0], b.box[0])
    height = max(a.box[3], b.box[3]) - min(a.box[1], b.box[1])
    gap = width * height - both
    return colour + texture + (1 - both / picture_size) + (1 - gap / picture_size)
    ### END SOLUTION

# %%
check(region_similarity)

# %% [markdown]
# <details><summary>Hint: how do I compare two histograms?</summary>
#
# Bin by bin: `torch.minimum` takes the smaller of two tensors, element by element.
# What do you get for two equal histograms?
# </details>
# <details><summary>Hint: what is the gap?</summary>
#
# Draw two rectangles on paper, and the box around both.
# Count its pixels; take away those that belong to the two regions.
# </details>
# <details><summary>Hint: my number is right for regions side by side, and wrong for others</summary>
#
# Where does the box around both begin?
# At the smaller of the two left ends, which need not be the one of `a`.
# </details>

# %%
region_similarity = use(region_similarity)

# %%
size = patches.numel()
rated = sorted((region_similarity(regions[a], regions[b], size), a, b) for a, b in neighbours)
shown = []
for similarity, a, b in (rated[-1], rated[0]):
    both = ((patches == a) | (patches == b)).float()
    shown.append(photo * both + (0.8 + 0.2 * photo.mean(dim=0)) * (1 - both))
    colour = torch.minimum(regions[a].colour, regions[b].colour).sum()
    print(f"similarity ≈ {similarity:.2f}, of which colour ≈ {colour:.2f}")
show_images(shown, ["the most similar neighbours", "the least similar neighbours"], size=4)
plt.show()

# %% [markdown]
# The first two share nine tenths of their colours, the other two hardly any.
# The other three numbers differ less.
#
# ## 3. Merge, and merge again
#
# When two regions merge, what does the new one remember?
# Its size and its box are easy.
# And its histograms?
# We could go back to the pixels and count again.
# But there is no need to.
#
# ### Exercise 2 · `merge_regions`
#
# *6 minutes · ★☆☆*
#
# - Returns the `Region(size, box, colour, texture)` that two regions make together, from their eight facts alone.
# - A histogram holds *shares* of a region's pixels.
#   Those of the new region must be what counting all its pixels would give.

# %% tags=["exercise"]
def merge_regions(a: Region, b: Region) -> Region:
    ### BEGIN SOLUTION
    size = a.size + b.size
    box = (min(a.box[0], b.box[0]), min(a.box[1], b.box[1]),
           max(a.box[2], b.box[2]), max(a.box[3], b.box[3]))
    colour = (a.size * a.colour + b.size * b.colour) / size
    texture = (a.size * a.texture + b.size * b.texture) / size
    return Region(size, box, colour, texture)
    ### END SOLUTION

# %%
check(merge_regions)

# %% [markdown]
# <details><summary>Hint: what should become of the histograms?</summary>
#
# A region of 900 red pixels merges with one of 100 blue ones.
# Which share of the new region is red?
# </details>
# <details><summary>Hint: my histogram does not sum to 1</summary>
#
# Share times size is a number of pixels.
# Add those, and divide by the number of all pixels.
# </details>

# %%
merge_regions = use(merge_regions)

# %% [markdown]
# Now the loop around it.
# Take the two most similar neighbours; make them one; say who the neighbours of the new region are, and how similar; and go on until one region is left.
# **Every** region on the way gives a box, the patches of the beginning and the whole picture among them.
#
# ### Exercise 3 · `group_regions`
#
# *15 minutes · ★★★*
#
# - `regions`: N regions.
#   `neighbours`: a list of pairs (a, b) of their numbers, each pair once.
# - Repeat while there are pairs: of all pairs, take the one with the highest similarity; append the merged region to the list, so it gets the next number.
#   The two old ones may not merge again.
#   Whoever was a neighbour of one of them is now a neighbour of the new one.
# - Returns the list of all regions: the N, and then the merged ones in the order of their birth.
#   The given list itself stays as it is.
# - Use your `region_similarity` and `merge_regions`.
#   No need to be fast.

# %% tags=["exercise"]
def group_regions(regions: list[Region], neighbours: list[tuple[int, int]],
                  picture_size: int) -> list[Region]:
    ### BEGIN SOLUTION
    regions = list(regions)
    rated = {(a, b): region_similarity(regions[a], regions[b], picture_size) for a, b in neighbours}
    while rated:
        a, b = max(rated, key=rated.get)
        new = len(regions)
        regions.append(merge_regions(regions[a], regions[b]))
        around = {place for pair in rated for place in pair if a in pair or b in pair} - {a, b}
        rated = {pair: value for pair, value in rated.items() if a not in pair and b not in pair}
        for place in sorted(around):
            rated[place, new] = region_similarity(regions[place], regions[new], picture_size)
    return regions
    ### END SOLUTION

# %%
check(group_regions)

# %% [markdown]
# <details><summary>Hint: what should I keep track of?</summary>
#
# The pairs that may merge, with their similarity.
# A dictionary from pair to number does it, and `max(rated, key=rated.get)` is the best pair.
# </details>
# <details><summary>Hint: a region is merged twice, or the loop never ends</summary>
#
# After merging a and b, no pair with a or b may be left.
# </details>
# <details><summary>Hint: it stops too early</summary>
#
# Before you drop the pairs of a and b, look at who else is in them.
# All of these touch the new region.
# </details>

# %%
group_regions = use(group_regions)

# %% [markdown]
# Watch it work.
# To paint what is left after some merges, each merged region needs to know its two parts;
# `group_regions` in `lib/ops/selective_search.py` gives them as well, and is otherwise what you wrote, with a queue that makes it fast.

# %%
from lib.ops.selective_search import group_regions as group_with_parts

everything = group_regions(regions, neighbours, size)
again, parts = group_with_parts(regions, neighbours, size, region_similarity)
same = [region.box for region in everything] == [region.box for region in again]
print(f"≈ {len(regions)} patches, ≈ {len(parts)} merges, ≈ {len(everything)} regions")
print("the same boxes as in lib:", same)
assert same

# %%
numbers, stages = patches.clone(), {}
for left in range(len(regions) - 1, 0, -1):                     # how many regions are left
    new = 2 * len(regions) - 1 - left
    for part in parts[new - len(regions)]:
        numbers[numbers == part] = new
    if left in (60, 35, 20, 13, 8, 5):
        stages[f"{left} regions left"] = painted(photo, numbers)
show_images(list(stages.values()), list(stages), columns=3, size=2.9)
plt.show()

# %% [markdown]
# From patches to parts, to things, to groups of things.
# When is each of the seven things at its best?

# %%
boxes = torch.tensor([region.box for region in everything]).float()     # in order of birth
overlaps, born = box_iou(boxes, marked).max(dim=0)
pooled = box_iou(proposals, marked).amax(dim=0)
for name, overlap, place, best in zip(names, overlaps, born.tolist(), pooled):
    left = min(len(regions), 2 * len(regions) - 1 - place)
    print(f"{name:<10} ≈ {left:>2} regions left: IoU ≈ {overlap:.2f}   all proposals: ≈ {best:.2f}")

# %% [markdown]
# The badge is a patch from the start; the helmet needs 16 merges, the shuttle 47.
# No single stage is *the* right one, so **all** regions of **all** stages become proposals.
# (The head is there from the start too: in this photo, face and hair run into each other.)
#
# And the flag never comes together: some of its stripes are more like the wall and the suit than like each other.
# One grouping makes mistakes that another one would not.
# So `selective_search`, used at the top of the page, pools eight groupings:
# two colour spaces, two sizes of (much smaller) patches, with and without the colour term.
# The last column is what they find together.

# %% [markdown]
# ## 4. How many proposals are enough?
#
# A thing without a proposal is lost: nothing after it can bring it back.
# So the question to a list of proposals is **recall**: which share of the things is found by the first *n* of them?
#
# ### Exercise 4 · `proposal_recall`
#
# *7 minutes · ★★☆*
#
# - `proposals`: (P, 4), the most promising first.
#   `truth`: (N, 4), N at least 1.
#   Both xyxy.
# - A thing is found if its IoU with *at least one* of the proposals so far is `iou_threshold` or more.
#   One proposal may find several things.
# - Returns (P,): the share of things found by the first 1, the first 2, ..., all P proposals.
#   `box_iou(boxes1, boxes2)` from lesson 05 gives (P, N).

# %% tags=["exercise"]
def proposal_recall(proposals: torch.Tensor, truth: torch.Tensor,
                    iou_threshold: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    best_so_far = box_iou(proposals, truth).cummax(dim=0).values        # (P, N)
    return (best_so_far >= iou_threshold).float().mean(dim=1)           # (P,)
    ### END SOLUTION

# %%
check(proposal_recall)

# %% [markdown]
# <details><summary>Hint: my curve goes up and down</summary>
#
# What was found once stays found.
# A running maximum down the rows of the IoU table knows the best overlap so far.
# </details>
# <details><summary>Hint: my recall is above 1</summary>
#
# Ten proposals on the same thing find one thing.
# </details>

# %%
proposal_recall = use(proposal_recall)

# %% [markdown]
# Five photos travel with this course, and someone has marked 29 things on them by hand: cup, spoon, helmet, wheel ...
# Not a data set, but enough to look at.
# What would be a fair rival for selective search?
#
# - **random boxes**: two corners drawn at random;
# - **a grid**: windows of seven sizes and three shapes, large ones first, each overlapping the next by half.
#
# **Predict.**
# With 100 boxes each: who finds the most?
# And with 1,000?

# %%
def random_boxes(count: int, height: int, width: int) -> torch.Tensor:
    draw = torch.Generator().manual_seed(0)
    corners = torch.rand(count, 2, 2, generator=draw) * torch.tensor([width, height])
    return torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1)         # (count, 4)


def grid_boxes(height: int, width: int) -> torch.Tensor:
    boxes = []
    for side in (1.0, 0.7, 0.5, 0.35, 0.25, 0.18, 0.12):        # of the shorter side of the picture
        for shape in (1.0, 0.5, 2.0):                           # height / width
            w, h = (side * min(height, width) * shape**power for power in (-0.5, 0.5))
            if w > width or h > height:
                continue
            boxes += [[x, y, x + w, y + h] for y in torch.arange(0, height - h + 1, h / 2).tolist()
                      for x in torch.arange(0, width - w + 1, w / 2).tolist()]
    return torch.tensor(boxes)

# %%
def recall_at(counts: list[int], proposals: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """How many things of a picture the first `counts` proposals find."""
    found = proposal_recall(proposals, truth, 0.5) * len(truth)
    return torch.stack([found[min(count, len(found)) - 1] for count in counts])

# %%
counts = [1, 3, 10, 30, 100, 300, 1000, 2000]
found, things = {}, 0
for name in PHOTOS:
    picture, (_, truth) = load_photo(name), photo_boxes(name)
    if name != "astronaut":                                     # the others a little smaller
        height, width = (round(side * 384 / picture.shape[2]) for side in picture.shape[1:])
        truth = truth * 384 / picture.shape[2]
        picture = resize_photo(picture, height, width)
    searched = proposals if name == "astronaut" else selective_search(picture)
    ways = {"selective search": searched, "random": random_boxes(2000, *picture.shape[1:]),
            "grid": grid_boxes(*picture.shape[1:])}
    for way, boxes in ways.items():
        found[way] = found.get(way, 0) + recall_at(counts, boxes, truth)
    things += len(truth)

# %%
recall = {way: number / things for way, number in found.items()}
draw_recall_curve({way: (counts, shares) for way, shares in recall.items()})
plt.show()
for way, shares in recall.items():
    print(f"{way:<17}", *(f"{count:,}: ≈ {share:.0%} " for count, share in zip(counts, shares)))
assert recall["selective search"][4] > max(recall["random"][4], recall["grid"][4]) + 0.2
assert recall["selective search"][6] > 0.9

# %% [markdown]
# The very first boxes are poor: the last merges of all are half a photo large.
# But with a thousand boxes, selective search finds all that a person marked, where chance finds little more than half.
# (We looked at these very photos when we chose the size of the patches, so do not trust the last percent. The paper reports 99 % on the test photos of PASCAL
# VOC 2007, with ten thousand boxes a photo.)
#
# Now the same on pictures that nobody looked at for this: 40 validation scenes of toyworld.
# They are small, so fewer patches and two groupings are enough.

# %%
val_world = Toyworld("val", length=40)
scenes = [val_world[index] for index in range(40)]
begun = time.perf_counter()
searches = [selective_search_small(scene.image) for scene in scenes]
seconds_search = (time.perf_counter() - begun) / len(scenes)
things = sum(len(scene.boxes) for scene in scenes)
found = sum(recall_at([30, 100, 300], boxes, scene.boxes) for boxes, scene in zip(searches, scenes))
guessed = sum(recall_at([30, 100, 300], random_boxes(300, 96, 96), scene.boxes) for scene in scenes)
mean = sum(map(len, searches)) / len(searches)
print(f"≈ {mean:.0f} proposals a scene, {things} things in all")
print("found by the first 30, 100, 300:", *(f"≈ {share:.0%} " for share in found / things))
print("by random boxes:                ", *(f"≈ {share:.0%} " for share in guessed / things))
assert found[1] / things > 0.85 and guessed[1] / things < 0.5

# %% [markdown]
# ## 5. From a box to a name
#
# Boxes have all shapes, and a network wants a square.
# R-CNN does the simplest thing: it **stretches** what is in the box, whatever that does to the shape.
# And it shows a little more than the box, since what is *around* a thing says where it ends.
# The margin is always equally wide in the *crop*: the paper's is 16 of 227 pixels.
#
# ### Exercise 5 · `context_warp`
#
# *8 minutes · ★★☆*
#
# - `image`: (3, H, W).
#   `boxes`: (K, 4) xyxy.
#   `size`: side of the crops.
#   `context`: width of the margin, *in pixels of the crop*.
# - Returns (K, 3, size, size).
#   The box fills the inner size − 2 · context pixels of its crop, in both directions.
# - Beyond the picture there is its mean colour, one number for each channel.
# - `crop_resize(image, boxes, size, outside)` cuts out and stretches.
#   The boxes may reach beyond the picture; `outside` (3,) is the colour found there.

# %% tags=["exercise"]
def context_warp(image: torch.Tensor, boxes: torch.Tensor, size: int, context: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    middle, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    half = half * size / (size - 2 * context)
    larger = torch.cat([middle - half, middle + half], dim=1)           # (K, 4)
    return crop_resize(image, larger, size, outside=image.mean(dim=(1, 2)))
    ### END SOLUTION

# %%
check(context_warp)

# %% [markdown]
# <details><summary>Hint: by how much must the box grow?</summary>
#
# The box fills size − 2 · context pixels, the crop has size pixels.
# What is the ratio?
# </details>
# <details><summary>Hint: my box grows, but to one side</summary>
#
# The middle stays where it is.
# Work with the middle and half of the width and height.
# </details>
# <details><summary>Hint: it fails only at the corner of the picture</summary>
#
# Do not push the box back into the picture: the thing would no longer be in the middle.
# And the mean *colour* has three numbers.
# </details>

# %%
context_warp = use(context_warp)

# %%
crops = context_warp(photo, marked, size=128, context=9)        # (7, 3, 128, 128)
show_images(list(crops), list(names), columns=7, size=1.5)
plt.show()

# %% [markdown]
# The seven boxes that were drawn by hand, as the network will see them.
# The shuttle is squeezed, the flag too; one can still tell what they are.
#
# And here is something astonishing.
# Take the first sixty proposals that are not tiny, warp them, and ask the ImageNet network what it sees.
# It has never been trained to find anything.

# %%
sides = (proposals[:, 2:] - proposals[:, :2]).amin(dim=1)
candidates = proposals[sides >= 50][:60]
chances = []
for few in candidates.split(15):
    seen = prepare(context_warp(photo, few, 128, 9).to(device))
    chances.append(network(seen).softmax(dim=1).cpu())          # (15, 1000)
chances = torch.cat(chances)                                    # (60, 1000)
best, classes = chances.max(dim=1)                              # of each box: how sure, and of what
leaders = [index for index in best.argsort(descending=True).tolist()     # the surest of each class
           if best[index] == best[classes == classes[index]].max()]
known = imagenet_classes()
for index in leaders[:6]:
    print(f"≈ {best[index]:.2f} {known[classes[index]]}")

# %%
for name, called in (("helmet", "football helmet"), ("shuttle", "space shuttle")):
    place = chances[:, known.index(called)].argmax()
    overlap = box_iou(candidates[place][None], marked[names.index(name)][None]).item()
    print(f"the best {called!r} (≈ {chances[place, known.index(called)]:.2f}) "
          f"overlaps the {name} by ≈ {overlap:.2f}")
    assert overlap > 0.5
four = [*leaders[:3], int(place)]                               # the three surest, and the shuttle
draw_boxes(photo, candidates[four], names=[known[classes[index]] for index in four], size=5)
plt.show()

# %% [markdown]
# **Detection without any training for it**: the helmet has a name and a box that fits, and even the shuttle is found.
# This is the discovery that R-CNN rests on: features learned from a million labelled photos carry over to other tasks.
#
# But look at what else it is sure of, even surer than of the shuttle.
# A network that was trained on photos *of* things has never heard the answer "nothing in particular".
# A softmax shares out a whole 1 among a thousand classes, whatever comes in.
# To detect, somebody has to learn what is **not** a thing.

# %% [markdown]
# ## 6. Examples and counterexamples
#
# For the classes of *our* world, R-CNN keeps the network as it is, and trains only a thin layer on top:
# for each class one **linear SVM**, a weighted sum of the features that should be positive for this class, and negative for everything else.
#
# As features we take what the network knows after five of its seven stages: 112 channels, in each quarter of the crop, 448 numbers.
# The last stages prepare for ImageNet's thousand classes, and our spheres and cones are not among them.

# %%
features = partial(halfway_features, network)
crowd = scenes[5]
crop = context_warp(crowd.image, crowd.boxes, 64, 5).to(device)
print("crops", tuple(crop.shape), "-> features", tuple(features(crop).shape))
show_images(list(crop.cpu()), [CLASSES[label - 1] for label in crowd.labels], columns=6, size=1.5)
plt.show()

# %% [markdown]
# What should an SVM learn from?
# For the cone's SVM:
#
# - the true boxes around cones are **examples**, and nothing else is;
# - regions that hardly overlap any cone are **counterexamples**: ground, sky, and the *other* things;
# - regions with a part of a cone are neither.
#   They are left out.
#
# **Predict.**
# A proposal has an IoU of 0.7 with a sphere and of 0.2 with a cone that peeps into it.
# What is it to the cone's SVM?
# And to the sphere's?
#
# ### Exercise 6 · `svm_labels`
#
# *8 minutes · ★★☆*
#
# - `iou`: (R, N) overlaps of R regions with the N true boxes of a picture.
#   The true boxes themselves are among the regions: their IoU is 1.
# - `labels`: (N,) the classes of the true boxes.
#   `label`: the class of this SVM.
# - Returns (R,) int64: 1 for an example; 0 for a counterexample, if the best IoU with a thing *of this class* is below 0.3; −1 for the rest.
# - Allow for rounding: take an IoU above 0.999 for 1.
#   There may be no thing of this class in the picture.

# %% tags=["exercise"]
def svm_labels(iou: torch.Tensor, labels: torch.Tensor, label: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    of_class = iou[:, labels == label]                          # (R, n)
    best = of_class.amax(dim=1) if of_class.shape[1] else iou.new_zeros(len(iou))
    kinds = torch.full_like(best, -1, dtype=torch.int64)
    kinds[best < 0.3] = 0
    kinds[best > 0.999] = 1
    return kinds
    ### END SOLUTION

# %%
check(svm_labels)

# %% [markdown]
# <details><summary>Hint: how do I look at one class only?</summary>
#
# `labels == label` is a mask over the columns of `iou`.
# A table can be indexed with it: `iou[:, mask]`.
# </details>
# <details><summary>Hint: an error about an empty dimension</summary>
#
# A class without any thing in the picture leaves a table without columns, and a maximum over nothing does not exist.
# What is the best overlap then?
# </details>
# <details><summary>Hint: too few counterexamples</summary>
#
# A region right on a sphere overlaps no cone.
# It is a counterexample for the cone, and the most useful one.
# </details>

# %%
svm_labels = use(svm_labels)

# %% [markdown]
# Twenty-six training scenes: search, warp, compute features, label.
# The features are the expensive part; they are computed once and kept.

# %%
train_world = Toyworld("train", length=26)
detector = RCNN(features, width=448, num_classes=6, size=64, context=5).to(device)
parts_of = []
for index in range(26):
    scene = train_world[index]
    found = detector.regions(scene.image.to(device), selective_search_small(scene.image).to(device),
                             scene.boxes.to(device), scene.labels.to(device))
    iou = box_iou(found.boxes.cpu(), scene.boxes)
    kinds = [svm_labels(iou, scene.labels, label) for label in range(1, 6)]
    parts_of.append(found._replace(kinds=torch.stack(kinds, dim=1).to(device)))
train = Regions(*(torch.cat(column) for column in zip(*parts_of)))
for name, column in zip(CLASSES, train.kinds.T):
    print(f"{name:<9}", *(f"{word} ≈ {(column == kind).sum():>5}  " for word, kind in
                          (("examples", 1), ("counterexamples", 0), ("left out", -1))))

# %% [markdown]
# A few dozen examples, thousands of counterexamples.
# First one SVM by hand, for the cones, with 100 counterexamples drawn at random.
# It looks at a scene that it has not seen:

# %%
def cone_svm(counterexamples: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Weight (448,) and bias of the SVM that learns from all cones and these counterexamples."""
    learned_from = torch.cat([cones, counterexamples])
    svm = LinearSVC(C=1e-3, dual=False).fit(train_features[learned_from], kinds[learned_from])
    return torch.from_numpy(svm.coef_[0]).float(), float(svm.intercept_[0])

cone = CLASSES.index("cone") + 1
kinds, train_features = train.kinds[:, cone - 1].cpu(), train.features.cpu()
cones, others = (kinds == 1).nonzero()[:, 0], (kinds == 0).nonzero()[:, 0]
drawn = torch.randperm(len(others), generator=torch.Generator().manual_seed(0))[:100]
weight, bias = cone_svm(others[drawn])

# %%
detector.seconds.clear()                                        # it keeps its own record of time
val_boxes = [boxes.to(device) for boxes in searches[:20]]
val_features = [detector.region_features(scene.image.to(device), boxes)
                for scene, boxes in zip(scenes, val_boxes)]
seconds = {name: spent / len(val_boxes) for name, spent in detector.seconds.items()}

# %%
scores = val_features[5].cpu() @ weight + bias                  # (P,): above 0 says "cone"
best = scores.argsort(descending=True)[:5]
draw_boxes(crowd.image, searches[5][best], scores=scores[best], title="the best five", size=4.5)
plt.show()

# %% [markdown]
# It works: of all boxes, it likes those around the cone best.
# But one scene is no measurement.
# Train the five SVMs like this, and count how often they say *yes* to what is no such thing, in 20 validation scenes:

# %%
def answers_yes(model: RCNN) -> tuple[int, int]:
    """How often an SVM says "yes", and how often there is no thing of its class (IoU 0.3)."""
    asked = wrong = 0
    for seen, boxes, scene in zip(val_features, searches, scenes):
        box, index = (model.svm(seen) > 0).nonzero(as_tuple=True)       # a box, and whose SVM
        near = box_iou(boxes, scene.boxes)[box.cpu()] >= 0.3            # (yeses, things)
        same = scene.labels == index[:, None].cpu() + 1
        asked, wrong = asked + len(box), wrong + int((~(near & same).any(dim=1)).sum())
    return asked, wrong

# %%
detector.fit_svms(train, negatives=100, rounds=0)               # all five, as you did for the cone
first = answers_yes(detector)
print(f"≈ {first[0]} times yes, ≈ {first[1]} of them false alarms")

# %% [markdown]
# Several in each scene.
# A random box is an easy counterexample: it seldom looks like anything.
# The SVMs have hardly seen what *could be taken for* a cone.
#
# ## 7. Learn from what you got wrong
#
# So let an SVM look at all counterexamples of the training scenes, pick those that it gets wrong, or nearly wrong (a score above −1), add them,
# and train again.
# They are called **hard negatives**.

# %%
hard = train_features[others] @ weight + bias > -1
print(f"≈ {len(others)} counterexamples for the cone, ≈ {int(hard.sum())} of them hard")
weight, bias = cone_svm(others[hard])
still = train_features[others] @ weight + bias > 0
print(f"after learning from them, ≈ {int(still.sum())} of all are still taken for a cone")

# %% [markdown]
# `RCNN` in `lib/models/rcnn.py` does this for each of its SVMs, in `fit_svms`.

# %%
detector.fit_svms(train, negatives=100, rounds=1)
second = answers_yes(detector)
print(f"≈ {second[0]} times yes, ≈ {second[1]} of them false alarms")
assert second[1] / second[0] < 0.3 * first[1] / first[0]

# %% [markdown]
# Hardly a false alarm is left; the price is that the SVMs say *yes* less often at all.
# (A detection may well have a score below 0. For AP only the order counts.)
#
# **Predict.**
# Compare three trainings: 100 random counterexamples a class; the same 100 and the hard ones; *all* of them.
# Which will be best?

# %%
truth = [{"boxes": scene.boxes, "labels": scene.labels} for scene in scenes[:20]]

def measured(model: RCNN) -> dict:
    found = [model.detect(*each, (96, 96)) for each in zip(val_features, val_boxes)]
    found = [{name: value.cpu() for name, value in one.items()} for one in found]
    return average_precision(found, truth)

# %%
ways = {"100 random": (100, 0), "100 + the hard ones": (100, 1), "all": (len(train.boxes), 0)}
scores = {}
for name, (negatives, rounds) in ways.items():
    used = detector.fit_svms(train, negatives=negatives, rounds=rounds)
    scores[name] = measured(detector)
    print(f"{name:<20} ≈ {sum(used) / 5:5,.0f} counterexamples a class, "
          f"AP50 ≈ {scores[name]['AP50']:.3f}")
assert scores["100 + the hard ones"]["AP50"] > scores["100 random"]["AP50"]
assert abs(scores["all"]["AP50"] - scores["100 + the hard ones"]["AP50"]) < 0.01

# %% [markdown]
# The hard ones give *exactly* what **all** give.
# That is no accident: an SVM's border rests only on what lies near it, and counterexamples that are far on the right side could as well not be there.
# In the paper, "all" were millions of regions, which fit into no memory; that is why this trick was needed.
# (Twenty scenes are few: with other random draws the gain was between 0.01 and 0.08. Section 11 has the numbers for 200 scenes.)
#
# ## 8. Move the box
#
# A proposal follows the edges of patches, not of things: a shadow may belong to it, or a foot be missing.
# Perhaps the features know.
# Let them say how the box should move, as four numbers:
#
# $$t_x = \frac{x - p_x}{p_w} \qquad t_y = \frac{y - p_y}{p_h} \qquad t_w = \log\frac{w}{p_w} \qquad t_h = \log\frac{h}{p_h}$$
#
# with $(x, y)$ the *middle* and $w, h$ the size of the true box, and $p$ for the proposal's.
# Shifts are counted in widths and heights of the proposal: the network sees only the stretched crop, in which pixels of the picture mean nothing.
# Sizes as logarithms: twice as large is $+0.69$, half as large $-0.69$, and no change is 0.
#
# **Predict.**
# A proposal is 20 wide, and the thing 10 pixels further right and equally wide.
# What are the four numbers?
# And for a proposal of 40?
#
# ### Exercise 7 · `box_targets`
#
# *8 minutes · ★★☆*
#
# - `proposals`, `truth`: (N, 4) each, xyxy; row by row a pair.
# - Returns (N, 4): tx, ty, tw, th.

# %% tags=["exercise"]
def box_targets(proposals: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    p_size, size = proposals[:, 2:] - proposals[:, :2], truth[:, 2:] - truth[:, :2]     # (N, 2)
    p_middle, middle = proposals[:, :2] + p_size / 2, truth[:, :2] + size / 2
    return torch.cat([(middle - p_middle) / p_size, (size / p_size).log()], dim=1)      # (N, 4)
    ### END SOLUTION

# %%
check(box_targets)

# %% [markdown]
# <details><summary>Hint: in which unit is a shift?</summary>
#
# Divide by something that is known when the detector is used.
# The true box is not.
# </details>
# <details><summary>Hint: the shift is wrong only if the size changes too</summary>
#
# If the upper left corner stays and the box grows, its middle moves.
# </details>

# %%
box_targets = use(box_targets)

# %%
pairs = train.overlap > 0.6
started, matched = train.boxes[pairs].cpu(), train.matched[pairs].cpu()
targets = box_targets(started, matched)
coder = BoxCoder()                                              # in lib/ops/box_coder.py
same = torch.allclose(targets, coder.encode_single(matched, started), atol=1e-5)
back = coder.decode_single(targets, started)                    # the way back
print(f"≈ {len(targets)} pairs; the same numbers as BoxCoder:", same)
print("decoded, they are the true boxes again:", torch.allclose(back, matched, atol=1e-3))
assert same

# %% [markdown]
# From 448 features to four numbers: a linear **ridge regression** for each class (straight lines with small weights), from pairs that overlap by more than 0.6.
# Far-away proposals are left out: nobody can tell from a crop of grass where the cone is.
#
# **Predict.**
# Some proposals fit badly (IoU 0.5 to 0.7), some well, some nearly perfectly (above 0.85).
# Which will gain from being moved?

# %%
detector.fit_svms(train)
detector.fit_boxes(train)
near = [box_iou(boxes.cpu(), scene.boxes).max(dim=1) for boxes, scene in zip(val_boxes, scenes)]
overlap = torch.cat([each.values for each in near])
wanted = torch.cat([scene.boxes[each.indices] for each, scene in zip(near, scenes)])
label = torch.cat([scene.labels[each.indices] for each, scene in zip(near, scenes)])
every = torch.cat(val_boxes)
moved = coder.decode_single(detector.regressor(torch.cat(val_features)), every)     # (P, 4 · 5)
moved = moved.unflatten(1, (5, 4)).cpu()[torch.arange(len(label)), label - 1]       # (P, 4)
for low, high in ((0.5, 0.7), (0.7, 0.85), (0.85, 1.01)):
    some = (overlap >= low) & (overlap < high)
    now = box_iou(moved[some], wanted[some]).diagonal().mean()
    print(f"≈ {int(some.sum()):>3} proposals of IoU {low} to {min(high, 1.0)}: "
          f"mean ≈ {overlap[some].mean():.3f} -> ≈ {now:.3f}")
    assert (now > overlap[some].mean() + 0.02) if low < 0.8 else (now < overlap[some].mean())

# %% [markdown]
# Boxes that are half right become better, and those in the middle too.
# But those that were nearly perfect become **worse**: the regression is never sure, it moves them as well, and away from perfect every way is wrong.
# Proposals from merged patches are often perfect on toyworld, whose things have crisp edges.
# So the gain is small here (section 11); the paper gained 3 to 4 points of mAP.
#
# ## 9. The whole detector
#
# Search, warp, network, SVMs, regression, NMS: that is R-CNN.
# With the course come SVMs and regressions that learned from 300 scenes instead of 26.
# Beside the live ones:

# %%
trained = RCNN(features, width=448, num_classes=6, size=64, context=5).to(device)
made = load_checkpoint(trained, REPOSITORY / "data" / "checkpoints" / "06_rcnn.safetensors")
for name, model in (("26 scenes, trained here", detector), (f"{made['pictures']} scenes", trained)):
    scores[name] = measured(model)
    print(f"{name:<24} AP50 ≈ {scores[name]['AP50']:.2f}, AP ≈ {scores[name]['AP']:.2f}")
print(f"test split, 200 scenes   AP50 {made['test']['AP50']:.2f}, AP {made['test']['AP']:.2f}")
assert scores["300 scenes"]["AP"] > scores["26 scenes, trained here"]["AP"]

# %%
four = (3, 5, 7, 10)
answers = {f"scene {place}": trained.detect(val_features[place], val_boxes[place], (96, 96))
           for place in four}
answers |= {f"truth {place}": truth[place] for place in four}
pictures = torch.stack([scenes[place].image for place in four]).repeat(2, 1, 1, 1)
draw_detections(pictures, answers, min_score=-0.5, columns=4, size=2.5)
plt.show()

# %% [markdown]
# The number at a box is its distance from the SVM's border.
# These SVMs are careful: many a right box stays a little below 0, so boxes from −0.5 on are drawn.
# (These 20 scenes are harder than most: on all 200 validation scenes its AP is about 0.61.)
#
# Most of this detector came for free: the proposals were computed, the network was trained on photos of dogs and cups.
# How much was trained on *our* task?

# %%
ours = sum(weight.numel() for weight in trained.parameters())
frozen = sum(weight.numel() for weight in network.parameters())
print(f"{ours:,} weights of SVMs and regressions, beside {frozen:,} of the network")

# %% [markdown]
# ## 10. Where the seconds go
#
# **Predict.**
# Search for proposals, warp, network, SVMs, moving the boxes, NMS: which stage takes the most time, and what share of all?

# %%
trained.seconds.clear()
measured(trained)                                               # the stages after the features
after = {name: spent / len(val_boxes) for name, spent in trained.seconds.items()}
stages = {"search": seconds_search} | seconds | after
whole = sum(stages.values())
for name, spent in stages.items():
    print(f"{name:<8} ≈ {1000 * spent:6.1f} ms a scene, ≈ {spent / whole:4.0%}")
assert stages["network"] > 0.5 * whole

# %%
figure, axis = plt.subplots(figsize=(8, 2.4), layout="constrained")
bars = axis.barh(list(stages), [1000 * spent for spent in stages.values()],
                 color=["#0072B2", "#56B4E9", "#D55E00", "#E69F00", "#009E73", "#CC79A7"])
axis.bar_label(bars, fmt="%.0f", padding=3)
axis.invert_yaxis()
axis.set(xlabel="milliseconds for one scene of 96 × 96 pixels")
plt.show()

# %% [markdown]
# The network, of course.
# But look at *what* it computes:

# %%
per_scene = sum(len(boxes) for boxes in val_boxes) / len(val_boxes)
computed = per_scene * 64 * 64
print(f"≈ {per_scene:.0f} crops of 64 × 64: ≈ {computed:,.0f} pixels, for a scene of {96 * 96:,}")
print(f"so the network computes the scene's area ≈ {computed / 96**2:.0f} times over")
assert computed > 30 * 96**2

# %% [markdown]
# The proposals overlap, and each time the same grass, the same edge of the same box are convolved again.
# In lesson 01 you saw that a convolution could do this **once**, for all places.
# Remember it for the next lesson.
#
# ## 11. Break it: take the parts away
#
# What is each idea worth?
# Three detectors learned from 300 scenes each, no scene twice, and were measured on the 200 validation scenes; then without one of their parts.
#
# **Predict.**
# Which one is worth the most: the context in the crop, the regression, or the hard negatives?

# %%
whole = [run["whole"]["AP"] for run in made["val"]]
print(f"{'whole':<42}", *(f"{value:.3f}" for value in whole))
lost = {}
for name in ("without context", "without regression", "without regression and hard negatives"):
    values = [run[name]["AP"] for run in made["val"]]
    lost[name] = sum(whole) / 3 - sum(values) / 3
    print(f"{name:<42}", *(f"{value:.3f}" for value in values), f"  lost {lost[name]:.3f}")
hard = lost["without regression and hard negatives"] - lost["without regression"]
print(f"so the hard negatives alone are worth {hard:.3f}")
assert hard > 3 * max(lost["without context"], lost["without regression"])

# %% [markdown]
# All three help, with each of the three seeds.
# Context and regression are worth a point or two; knowing what is *not* a thing is worth ten.
#
# And one part cannot be put in at all.
# The SVMs know what they would like to see: a feature that tells a cone from a cylinder.
# But they cannot tell the network.
# They were fitted by another program, on stored numbers, so **no gradient flows back**.
# The regression cannot tell the proposals where to look, either.
# Three trainings, one after the other, and none learns from the next.
# (The paper does train its network on warped boxes, with a softmax in place of the SVMs. But that is a fourth training, and its features are computed anew.)
#
# ## 12. Look inside
#
# What does the network see in a crop that was stretched?
# The explorer on the figure of our scene, warped to 64 × 64.
# Our features are the map `blocks.4`, averaged over quarters.
#
# 1. Go through the channels of `blocks.2`.
#    Do you find one for vertical edges?
#    What did the stretching do to them?
# 2. In `blocks.4` there are 4 × 4 cells.
#    How much of the crop does one of them see?
# 3. Which channels of `blocks.4` are strong on the figure, and which on the grass beside it?

# %%
figure_crop = context_warp(crowd.image, crowd.boxes[4:], 64, 5)
explorer = explore(network, prepare(figure_crop).to(device)[0], picture=figure_crop[0])
explorer.layer = "blocks.4"
explorer

# %% [markdown]
# ## 13. Recap
#
# | stage | what it does | how it is trained |
# | --- | --- | --- |
# | selective search | merges like patches; every region gives a box | not at all |
# | warp | stretches each box, with context, to a square | not at all |
# | network | turns a crop into features | on ImageNet |
# | SVMs | one for each class: this, or anything else | on stored features, with hard negatives |
# | regression | moves the box | on stored features |
# | NMS | one box for each thing (lesson 05) | not at all |
#
# **What the paper reported.**
# On PASCAL VOC 2010 a mAP of 53.7 %, where the best with the same proposals and hand-made features had 35.1 %.
# Its network (AlexNet) was trained on ImageNet, and then fine-tuned on warped proposals.
# Without the fine-tuning it did not matter much from which layer the features came:
# on VOC 2007 44.2 % from the last convolution, 46.2 and 44.7 % from the two layers after it; with it, 47.3, 53.1 and 54.2 %, and 58.5 % with the regression.
# About 2,000 proposals a photo; 13 seconds a photo on a GPU, or 53 seconds on a processor, for proposals and features together.
#
# **What was simpler here.**
# No fine-tuning; small crops (64 pixels for the paper's 227); 120 proposals instead of 2,000; a modern, small network.
# We chose from which stage to take the features, and the size of the crops, on validation scenes: the network's last layer was worse for toyworld.
# Crops of 32 pixels were worse, too; 96 pixels, tried with the last layer only, were better there and twice as slow.
#
# ### Three questions
#
# **1.**
# Selective search gives 2,000 boxes for a photo, and misses a thing entirely.
# Which later stage can find it?
# (a) the SVMs (b) the regression (c) none
#
# <details><summary>Answer</summary>
#
# **(c)** Later stages only choose and move.
# The regression (b) moves a box a little: it learned from pairs that overlap by more than 0.6.
# That is why recall comes first, and precision later.
# </details>
#
# **2.**
# You train the cone's SVM and forget to leave out the regions with IoU between 0.3 and 1.
# They all become counterexamples.
# What happens?
# (a) nothing, there are few of them (b) it says *no* to boxes that are nearly right (c) it finds only parts of cones
#
# <details><summary>Answer</summary>
#
# **(b)** A box with nine tenths of a cone looks nearly like a cone, and you tell the SVM that it is none.
# It then pulls its border towards the perfect boxes, which selective search seldom gives.
# (a) They are few, but they lie at the border, and only what lies there counts.
# (c) would come from taking parts as *examples*.
# </details>
#
# **3.**
# Where would you start to make R-CNN ten times faster?
# (a) faster proposals (b) a faster SVM (c) let the network see the picture once instead of once a box
#
# <details><summary>Answer</summary>
#
# **(c)** The network takes most of the time, and computes most of it again and again.
# (a) and (b) work on the small bars.
# Once (c) is done, though, the proposals become the largest bar: that is the story of lessons 07 and 08.
# </details>

# %%
progress()

# %% [markdown]
# **Next:** one convolution for the whole picture, and boxes cut out of its *features*.
# Lesson 07 makes R-CNN fast, and lets the gradient through.
