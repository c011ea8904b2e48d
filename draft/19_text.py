# %% [markdown]
# # 19 · Grounded SAM: type a phrase, get a mask
#
# Three phrases, typed; three masks, drawn.
# No class list was ever written down for this network.
# It knows words, it knows what a thing looks like, and it was taught to bring the two together.
# One of the phrases is special: *no picture of training showed such a thing.*

# %%
import json

import matplotlib.pyplot as plt
import torch

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import CLASSES, COLOURS, SIZES, Toyworld
from lib.datasets.toyworld.pairs import HELD_OUT, WORDS, held_out, without_pairs
from lib.device import choose_device
from lib.models import sam
from lib.models.grounding import grounding_small
from lib.training import load_checkpoint
from lib.training.data_engine import masks_in_boxes
from lib.training.grounding import find_phrases
from lib.viz.words.answers import draw_phrases

device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"
stored = json.loads((folder / "19_runs.json").read_text())      # all measurements made for this lesson
world = Toyworld("val", 100, 96)

# %%
net = grounding_small(WORDS).to(device)
load_checkpoint(net, folder / "19_sub-sentence.safetensors")
segmenter = sam.sam_small(words=(*SIZES, *COLOURS, *CLASSES)).to(device)
load_checkpoint(segmenter, folder / "17_sam.safetensors")       # lesson 17's
net, segmenter = (model.eval().requires_grad_(False) for model in (net, segmenter))

# %%
sample = world[4]                                               # TO CHOOSE: a scene with a held-out pair
image = sample.image.to(device)
PHRASES = ("red cone", "crate", "small pink cylinder")          # TO CHOOSE
found = find_phrases(net, image, PHRASES, threshold=0.3)
masks = masks_in_boxes(segmenter, image, found["boxes"])        # (n, 96, 96)
draw_phrases(sample.image, PHRASES, found["boxes"].cpu(), found["scores"].cpu(), found["labels"].cpu(), masks.cpu())
plt.show()

# %% [markdown]
# **You will be able to**
#
# - make a detector whose classes are whatever was typed;
# - keep phrases in one sentence from changing each other;
# - let words choose where a detector begins to look;
# - turn scores of words into scores of phrases, and boxes into prompts;
# - label pictures without anybody, and measure what such labels are worth;
# - name, for each piece of a system that goes from words to masks, the lesson in which you built it.
#
# | | |
# | --- | --- |
# | Time | 160 minutes to read and do, about a minute of computing on two cores |
# | Builds on | lesson 14 (DETR), 10 (focal loss), 17 (SAM) |
# | Papers | Liu et al. 2023, *Grounding DINO*; Ren et al. 2024, *Grounded SAM*; Li et al. 2022, *GLIP* |
#
# Numbers printed with ≈ may come out a little different on your machine.
#
# **The big picture first.**

# %%
CAPTION = "small red cone . blue sphere ."
draw_grounded_sam(net, segmenter, sample.image, CAPTION)
plt.show()

# %% [markdown]
# (Do not try to understand all of it now; each block has its section, or had its lesson: the small numbers say which.)
#
# ## 1. Classes that are typed
#
# Every detector so far ended in a layer with one row of weights for each class.
# The score of a class is the inner product of its row with what the network knows of a place.
# What has no row cannot be said.
# To add "cone", somebody has to collect pictures of cones and train again.
#
# Now let the rows come from somewhere else: from a second network that reads.
# It turns the word "cone" into a vector, and that vector is the row.
# Type another word, and there is another row.
# Where the picture's vectors and the words' vectors fit together is learned; this is called **grounding** words in a picture.
#
# ### Exercise 1 · `contrastive_logits`
#
# EXERCISE contrastive_logits
# %% [markdown]
# **What this buys.**
# Our world has things in eight colours and five shapes: 40 pairs.
# Five of them are held out: of 2,000 training scenes, those that show one of them were put aside before any training.

# %%
train = Toyworld("train", 2000, 96)
seen = without_pairs(train[number] for number in range(2000))
counts = torch.zeros(len(COLOURS), len(CLASSES), dtype=torch.int64)
for scene in seen:
    for _, colour, kind in (phrase.split() for phrase in scene.phrases):
        counts[list(COLOURS).index(colour), CLASSES.index(kind)] += 1
draw_pairs(HELD_OUT, counts)
plt.show()
print(f"{len(seen)} of 2,000 scenes are left for training")

# %% [markdown]
# A *closed-set* detector, with one row for each of the 40 pairs, never sees a single example for five of its rows.
# A detector of words has seen red things, and it has seen cones.
#
# **Predict.**
# Can it find a red cone? Can the closed-set detector?
# (The answer is measured in section 6.)
#
# ## 2. A sentence of phrases
#
# Several things are asked for at once, in one caption, with a separator after each phrase: "small red cone . blue sphere ."
# Each word, and each separator, is a **token** with a vector of 96 numbers, and a small transformer (lesson 14) lets them look at each other.
# In the paper this is BERT, which has read many books before; ours has 15 words, and learns them with the detector.
#
# "red" should make a difference to "cone", and none to "sphere".
# So a token sees the tokens of its own phrase only, and places are counted anew in each phrase.
# The paper calls such a phrase a **sub-sentence**.
#
# ### Exercise 2 · `sub_sentence_mask`
#
# EXERCISE sub_sentence_mask
# %%
text = net.text_encoder.tokenize([CAPTION])
words = [word for phrase in split_caption(CAPTION) for word in (*phrase.split(), ".")]
hidden, places = sub_sentence_mask(text.ids[0].cpu(), SEPARATOR)
draw_sub_sentences(words, hidden)
plt.show()

# %% [markdown]
# **Break it.**
# A second network was trained in which all words of a caption see each other.
# Ask both for the same phrase, once alone, and once with seven others beside it.
#
# **Predict.**
# Does the answer change, and for which of the two?

# %% jupyter={"outputs_hidden": true}
mixed = grounding_small(WORDS, sub_sentence=False).to(device)
load_checkpoint(mixed, folder / "19_whole_caption.safetensors")
mixed = mixed.eval().requires_grad_(False)
for name, model in {"sub-sentences": net, "whole caption": mixed}.items():
    ...                                                         # best score of a phrase alone, and with seven others
runs = [run for name, run in stored.items() if name.startswith("seed/")]
for name in ("sub-sentence", "whole caption"):
    print(name, *(f"{run[name]['change in company']:.3f}" for run in runs))

# %% [markdown]
# COMPANY_TEXT
#
# ## 3. Words and picture look at each other
#
# Until here the words know nothing of the picture, and the picture nothing of the words.
# The **feature enhancer** changes that, before anything is sought.
# Each of its two layers does three things:
#
# 1. *Fusion*: each cell of the map looks at the words, and each word looks at the cells. One table of scores serves both: a softmax along its rows, and one along its columns.
# 2. The words look at each other, within their phrases.
# 3. The cells look at each other.

# %%
seen_by = look(net, sample.image, CAPTION, 0.3)                 # lib.viz.diagrams.grounded_sam_plan
draw_word_looks(sample.image, words, ...)
plt.show()

# %% [markdown]
# WORD_LOOKS_TEXT
#
# ## 4. Where to begin
#
# DETR's queries were learned once, and the same for each picture.
# Here they are chosen: a cell that fits some word well is a good place to begin.
# The paper calls this **language-guided query selection**.
#
# ### Exercise 3 · `select_queries`
#
# EXERCISE select_queries
# %%
WORD_FITS

# %% [markdown]
# WORD_FITS_TEXT
#
# ## 5. Mending boxes
#
# Then comes a decoder of three layers.
# In each, the queries look at each other, at the words, and at the picture, as in lesson 14, and each query says how its box has to move.
# The next layer starts from the moved box.

# %%
REFINED

# %% [markdown]
# The loss is DETR's, with two changes.
# Queries and things are matched at least cost (lesson 14), boxes learn by L1 and GIoU.
# But there is no softmax over classes: for each query and each *word* there is a yes or a no, with the focal loss (lesson 10).
# For a query matched to "small red cone" the words small, red and cone are true, and all other words of the caption are not.
#
# ### From words to a phrase
#
# A query now has a score for each word.
#
# ### Exercise 4 · `phrase_labels`
#
# EXERCISE phrase_labels
# %%
DOUBT

# %% [markdown]
# DOUBT_TEXT
#
# ## 6. Never seen together
#
# All was trained three times, with three seeds, and measured on 400 test scenes: AP at an IoU of 0.5, over the 35 pairs that were seen in training, and over the 5 that were not.

# %%
for name in ("closed", "sub-sentence", "whole caption"):
    seen_ap, new_ap = (torch.tensor([run[name][part]["AP50"] for run in runs]) for part in ("seen", "held out"))
    print(f"{name:14} seen pairs {seen_ap.mean():.3f}, held-out pairs {new_ap.mean():.3f}")

# %% [markdown]
# SEEN_TEXT
#
# ## 7. From boxes to masks
#
# A box is a prompt.
# SAM, from lesson 17, was never told about phrases for this; it gets the two corners of each box.
#
# ### Exercise 5 · `boxes_to_prompts`
#
# EXERCISE boxes_to_prompts
# %%
BOX_PROMPTS

# %% [markdown]
# And how good are these masks?
# Lesson 12's Mask R-CNN learned boxes and masks of five shapes together.
# Grounded SAM is asked for the same five, as words.

# %%
mask_rcnn = json.loads((folder / "12_runs.json").read_text())
for name in ("box", "mask", "mask in true boxes"):
    print(name, *(run["masks"][name] for run in runs))

# %% [markdown]
# MASK_TEXT
#
# ## 8. Labels that nobody drew
#
# What is such a system good for, in the end?
# It is slow, and large.
# But it can *label*: give it pictures and a list of words, and it writes down boxes and masks, from which a small fast detector learns.
# This is what Grounded SAM is most used for.
#
# A label is only worth something if it is right, so there are thresholds.
#
# ### Exercise 6 · `auto_label`
#
# EXERCISE auto_label
# %%
LABELS

# %% [markdown]
# LABELS_TEXT
#
# **Predict.**
# A YOLO of lesson 09 learns from such labels; another one learns from the truth, on the same scenes, for as many steps.
# By how much is it better?

# %% jupyter={"outputs_hidden": true}
for run in runs:
    labels = run["labels"]
    print(labels["scenes"], labels["labels"], labels["right"], labels["found"], labels["auto"], labels["truth"])

# %% [markdown]
# LABEL_TEXT
#
# ## 9. The last page
#
# Type a phrase.

# %%
Asker(net, segmenter, sample.image, "red cone . blue sphere .")

# %% [markdown]
# ASKER_TEXT
