# %% [markdown]
# # 10 · The focal loss: whose loss is it?
#
# A detector in one look judges 1,296 anchors in each picture, and hardly any of them lies on a thing.
# Below, all its answers for one scene, of one trained network, are added up in two ways.
# Each dot is an anchor, as large as its share of the loss; both pictures have the same amount of ink.

# %%
import math

import matplotlib.pyplot as plt
import torch

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import CLASSES, Toyworld
from lib.device import choose_device
from lib.models.retinanet import retinanet_small
from lib.ops.boxes import box_iou
from lib.ops.losses import sigmoid_focal_loss
from lib.training import load_checkpoint
from lib.viz.detection.focal import draw_loss_of_places

device = choose_device()
folder = REPOSITORY / "data" / "checkpoints"
net, plain = retinanet_small().to(device), retinanet_small().to(device)
made = load_checkpoint(net, folder / "10_focal_loss.safetensors")           # taught by the focal loss
load_checkpoint(plain, folder / "10_cross_entropy.safetensors")             # by cross-entropy
net, plain = (model.eval().requires_grad_(False) for model in (net, plain))

# %%
val_world = Toyworld("val", length=200)
scene = val_world[185]
picture = scene.image.to(device)                                # (3, 96, 96)
anchors, logits = (part.cpu() for part in net.predict(picture[None])[:2])   # (1296, 4), (1, 1296, 6)


def tell(boxes: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What each anchor should say, (1296, 6) of 0 and 1; and which anchors count, (1296,)."""
    matches = net.proposal_matcher(box_iou(boxes, anchors))     # a thing's number; −1 none, −2 no opinion
    positive = torch.where(matches >= 0)[0]                     # (P,)
    wanted = torch.zeros(len(anchors), 6)
    wanted[positive, labels[matches[positive]]] = 1
    return wanted, matches != -2

# %%
wanted, counts = tell(scene.boxes, scene.labels)
on_thing = wanted.any(dim=1)                                    # (1296,)
added_up = {name: sigmoid_focal_loss(logits[0], wanted, -1, gamma).sum(dim=1) * counts
            for name, gamma in (("cross-entropy", 0), ("focal loss, γ = 2", 2))}
draw_loss_of_places(scene.image, anchors, added_up, on_thing)
plt.show()
background = [float(loss[~on_thing].sum() / loss.sum()) for loss in added_up.values()]
assert background[0] > 2 * background[1]

# %% [markdown]
# **You will be able to**
#
# - say whose loss it is: which share of it comes from background that is judged right already;
# - write the focal loss from logits, and its slope by hand;
# - choose α from counts, and the bias that a detector starts with;
# - do it the other way, and choose hard negatives;
# - compare losses fairly, and read the result even if it is not the one expected.
#
# | | |
# | --- | --- |
# | Time | 75 minutes to read and do, about 40 seconds of computing on two cores |
# | Builds on | lesson 05 (IoU, AP), 08 (anchors and their matching), 09 (one look) |
# | Paper | Lin, Goyal, Girshick, He & Dollár 2017, *Focal Loss for Dense Object Detection* |
#
# A number printed with ≈ was measured, and may come out a little different on your machine.

# %%
import torch.nn.functional as F
from torch import nn

from lib.exercises import check, hint, progress, solution, use
from lib.training import Batches, evaluate_detection, fit, toyworld_detection
from lib.viz import explore
from lib.viz.detection.curves import LINES
from lib.viz.detection.focal import draw_cumulative, draw_focal_curves, draw_runs, draw_to_scale
from lib.viz.detection.focal_explorer import explore_focal
from lib.viz.diagrams.retinanet_plan import draw_retinanet

# %% [markdown]
# **The whole, before its parts.**
# The backbone and the nine anchors of a cell are those of lesson 08.
# Nothing is proposed: one head says of every anchor which thing it is, another how its box must be moved.
# (The heads are drawn in a row; both read the same map.)

# %%
draw_retinanet(net, picture)
plt.show()

# %% [markdown]
# ## 1. Count
#
# Each anchor gives an answer for each class, on its own: a logit, and its sigmoid p is the probability of *yes*.
# There are six, because number 0 keeps the place of background, as in the two-stage detectors.
# Nobody asks for it: its truth is always *no*, and *background* is to say no to all.
#
# What an anchor should say is decided as in lesson 08, with other thresholds.
# An anchor with an IoU of at least 0.5 with a thing is **positive**, and so is the best anchor of each thing.
# Below 0.4 it is **negative**: background.
# What lies between does not count.
#
# **Predict.**
# A scene of toyworld has about three things, and 1,296 anchors.
# How many of them are positive?
# How many negatives are there for each positive?

# %% jupyter={"outputs_hidden": true}
train_images, train_targets = toyworld_detection(Toyworld("train", length=2000))
told = [tell(target["boxes"], target["labels"]) for target in train_targets]
positives = sum(int(wanted.any(dim=1).sum()) for wanted, _ in told)
negatives = sum(int(counts.sum()) for _, counts in told) - positives
print(f"a scene has {positives / 2000:.1f} positive and {negatives / 2000:.0f} negative anchors:",
      f"1 to {negatives / positives:.0f}")
assert negatives > 50 * positives

# %% jupyter={"outputs_hidden": true}
things = sum(len(target["boxes"]) for target in train_targets)
draw_to_scale({"second stage of lessons 07, 08: chosen 1 to 3": (1, 3),
               "boxes of YOLO (2016), lesson 09": (things, 2000 * 288 - things),
               "anchors of this lesson": (positives, negatives),
               "answers of this lesson": (positives, 6 * negatives + 5 * positives)},
              ("yes", "no"), "what a detector hears in training")
plt.show()

# %% [markdown]
# A two-stage detector chooses what it learns from, as lesson 07 did: a quarter positives.
# YOLO counted *nothing* half.
# Here everything counts.
# The paper's detector has about 100,000 anchors in a picture, and still a handful of positives.
#
# ## 2. Cross-entropy, answer by answer
#
# The loss of an answer is −log p_t, where **p_t is the probability that the truth gets**:
# p if the truth is *yes*, 1 − p if it is *no*.
# An answer with p_t = 0.9 is right, and still costs 0.105.
# Little; but there are 7,776 answers in a picture.
#
# **Predict.**
# A network with random weights whose logits are all about 0: which share of the loss comes from background?
# And after training with cross-entropy: more, or less?

# %%
val_images, val_targets = toyworld_detection(val_world)


def answers_of(model: nn.Module, count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and truth, (M, 6) each, of all anchors that count in the first validation scenes."""
    with torch.no_grad():
        logits = model.predict(val_images[:count].to(device).float() / 255).cls_logits.cpu()
    truth = [tell(target["boxes"], target["labels"]) for target in val_targets[:count]]
    wanted, counts = (torch.stack(part) for part in zip(*truth))    # (count, 1296, 6), (count, 1296)
    return logits[counts], wanted[counts]


def background_share(losses: torch.Tensor, wanted: torch.Tensor) -> float:
    """The share of the loss that comes from answers whose truth is no."""
    return float(losses[wanted == 0].double().sum() / losses.double().sum())

# %% jupyter={"outputs_hidden": true}
torch.manual_seed(0)
fresh = retinanet_small().to(device).eval()
nn.init.zeros_(fresh.head.classification_head.cls_logits.bias)
answers = {"untrained": answers_of(fresh), "taught by cross-entropy": answers_of(plain),
           "taught by focal loss": answers_of(net)}
whole = {}
for name, (logits, wanted) in answers.items():
    losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")   # (M, 6)
    easy = (wanted == 0) & (logits.sigmoid() < 0.1)             # background with p_t above 0.9
    whole[name] = background_share(losses, wanted)
    print(f"{name:<24} background has {whole[name]:.1%} of the cross-entropy;",
          f"{easy.sum() / (wanted == 0).sum():.1%} of background is easy,",
          f"with {losses[easy].sum() / losses.sum():.0%}")
assert whole["taught by cross-entropy"] < 0.5 < whole["taught by focal loss"] < 0.99 < whole["untrained"]

# %% [markdown]
# *Easy* is background with p_t above 0.9.
# In this section and from here on we count answers: *background* is every answer whose truth is *no*, the other five of a positive anchor too.
#
# - At the start, background has nearly all of the loss: all answers cost the same, and it has most answers.
# - A network that has learned 1,000 steps from cross-entropy judges background so well that only a quarter of the loss comes from it.
#   In our small world that can be done; keep it in mind for section 9.
# - Nearly all background is easy for the network taught by the focal loss, too.
#   But nobody asked it to be *more* than right, and added up with cross-entropy these answers would have 42 % of the loss.
#   (It was taught with α = 0.5 and γ = 1; section 9 says why.)
#
# ## 3. Turn it down
#
# The idea of the paper: an answer that is right already should count less.
# Multiply its loss with a factor that is 1 where p_t is 0, and falls to 0 where p_t is 1:
#
# > (1 − p_t)^γ
#
# γ says how fast it falls; with γ = 0 the factor is 1 everywhere.
# (Positives and background can have weights too, α and 1 − α; leave α at 0.5 for now, which halves both.)
#
# 1. With γ = 2, what is left of an answer with p_t = 0.9?
#    With 0.99, 0.5?
# 2. Move γ from 0 to 2.
#    Whose is the loss of these answers now?

# %% tags=["nbval-ignore-output"]
explore_focal(*(part[:25_000] for part in answers["taught by focal loss"]))

# %% [markdown]
# <details><summary>What there is to see</summary>
#
# 1. 0.01, 0.0001 and 0.25 of its cross-entropy.
#    A wrong answer with p_t = 0.1 keeps 0.81.
# 2. At γ = 0 the left-hand bars and the last one on the right are large: what is wrong, and what is easy, but in great number.
#    With γ = 2 the last bar has gone, and most of the loss is the positives'.
# </details>
#
# ### Exercise 1 · `focal_loss`
#
# *10 minutes · ★★☆*
#
# - `logits`: any shape.
#   `targets`: the same shape, floats 0 or 1.
#   `alpha`, `gamma`: numbers; 0 ≤ alpha ≤ 1, gamma ≥ 0.
# - Returns the loss of each answer, the same shape: −weight · (1 − p_t)^gamma · log p_t.
#   The weight is `alpha` where the target is 1, and 1 − `alpha` where it is 0.
# - Logits of ±100 give numbers, not inf or nan; and so do the gradients.

# %% tags=["exercise"]
def focal_loss(logits: torch.Tensor, targets: torch.Tensor, alpha: float, gamma: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    of_truth = torch.where(targets > 0, logits, -logits)        # p_t = σ(this), 1 − p_t = σ(−this)
    weight = alpha * targets + (1 - alpha) * (1 - targets)
    return -weight * (-of_truth).sigmoid() ** gamma * F.logsigmoid(of_truth)
    ### END SOLUTION

# %%
check(focal_loss)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# σ(−x) = 1 − σ(x).
# So where the truth is *no*, p_t is the sigmoid of the opposite logit.
# `torch.where` makes one tensor of both cases.
# </details>
# <details><summary>Hint: inf or nan for sure answers</summary>
#
# The sigmoid of −100 is so small that its logarithm is lost.
# `F.logsigmoid` gives the logarithm of a sigmoid in one go.
# </details>
# <details><summary>Hint: easy background keeps its loss</summary>
#
# The factor is made of p_t, not of p.
# </details>

# %%
focal_loss = use(focal_loss)

# %%
from torchvision.ops import sigmoid_focal_loss as theirs

logits, wanted = answers["taught by focal loss"]
assert torch.allclose(focal_loss(logits, wanted, 0.25, 2.0), theirs(logits, wanted, 0.25, 2.0), atol=1e-6)
print(f"equal to torchvision's on {logits.numel():,} answers")

# %% [markdown]
# ## 4. What pulls
#
# A network does not learn from a loss, but from its **slope**: how much the loss changes if the logit does.
# For cross-entropy it is simple: for a truth of *yes*, the slope is p − 1.
# A wrong answer pulls with almost 1, a right one with almost 0.
#
# **Predict.**
# With γ = 2 the loss of every answer is smaller.
# Is its slope smaller too, for a positive with p = 0.06?
# With p = 0.9?
#
# ### Exercise 2 · `focal_slope`
#
# *15 minutes · ★★★*
#
# - `logits`: any shape.
#   `targets`: the same shape, floats 0 or 1.
#   `gamma`: a number of at least 0.
# - Returns the derivative of −(1 − p_t)^gamma · log p_t with respect to each logit, the same shape.
#   α is left out.
# - By a formula of your own: autograd could do it, but shows nothing.
#   Finite for logits of ±100.

# %% tags=["exercise"]
def focal_slope(logits: torch.Tensor, targets: torch.Tensor, gamma: float) -> torch.Tensor:
    ### BEGIN SOLUTION
    sign = 2 * targets - 1                                      # of background, p_t falls with the logit
    p, miss, log_p = (sign * logits).sigmoid(), (-sign * logits).sigmoid(), F.logsigmoid(sign * logits)
    return sign * miss ** gamma * (gamma * p * log_p - miss)
    ### END SOLUTION

# %%
check(focal_slope)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# Take a truth of *yes* first, so p_t = σ(x).
# The derivative of σ(x) is σ(x) · (1 − σ(x)), that of log σ(x) is 1 − σ(x).
# </details>
# <details><summary>Hint: nearly right, but too small</summary>
#
# There are two factors, and both change with the logit.
# The product rule gives two terms.
# </details>
# <details><summary>Hint: right for things, wrong for background</summary>
#
# For background p_t = σ(−x).
# What does that do to the sign?
# </details>

# %%
focal_slope = use(focal_slope)

# %%
leaf = logits[:1000].clone().requires_grad_()
(by_autograd,) = torch.autograd.grad(focal_loss(leaf, wanted[:1000], 0.5, 2.0).sum(), leaf)
assert torch.allclose(0.5 * focal_slope(leaf.detach(), wanted[:1000], 2.0), by_autograd, atol=1e-6)
print("equal to autograd")

# %% jupyter={"outputs_hidden": true}
draw_focal_curves()
plt.show()
asked = torch.tensor([0.06, 0.9])
for gamma in (0, 2):
    pull = -focal_slope(asked.logit(), torch.ones(2), gamma)
    print(f"γ = {gamma}: the pull is {pull[0]:.3f} at p = 0.06 and {pull[1]:.3f} at p = 0.9")

# %% [markdown]
# With γ = 2 the loss at p = 0.06 is smaller than cross-entropy, and yet it pulls *harder*.
# Two things pull there: the logarithm, and the factor, which falls when the answer gets better.
# From about p = 0.3 on the pull is smaller than in cross-entropy, and for what is right it is hardly there.
# So the focal loss lets go of right answers; wrong ones pull as before, or a little more.
#
# ## 5. α
#
# The other knob is older: positives count α, background 1 − α.
# It does not ask whether an answer is easy, only which kind it is.
#
# ### Exercise 3 · `alpha_from_counts`
#
# *4 minutes · ★☆☆*
#
# - `positives`, `negatives`: how many of each there are, at least 1.
# - Returns the α with which both kinds weigh the same: α · positives = (1 − α) · negatives.

# %% tags=["exercise"]
def alpha_from_counts(positives: int, negatives: int) -> float:
    ### BEGIN SOLUTION
    return negatives / (positives + negatives)
    ### END SOLUTION

# %%
check(alpha_from_counts)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# Bring all terms with α to one side.
# </details>
# <details><summary>Hint: the wrong kind gets the large weight</summary>
#
# α is the weight of a positive, and positives are few.
# </details>

# %%
alpha_from_counts = use(alpha_from_counts)

# %%
print(f"both kinds of anchors weigh the same with α = {alpha_from_counts(positives, negatives):.3f}")

# %% [markdown]
# And with γ?
# **Predict.**
# The paper's best α is 0.75 for cross-entropy, and 0.25 with γ = 2: less than half, though positives are rare.
# Why would a positive need *less* weight then?

# %% jupyter={"outputs_hidden": true}
logits, wanted = answers["taught by focal loss"]
of_background = {}
for gamma in (0, 0.5, 1, 2):
    of_background[gamma] = background_share(focal_loss(logits, wanted, 0.5, gamma), wanted)
    print(f"γ = {gamma:<3}  background has {of_background[gamma]:.0%} of the loss")
assert of_background[0] > 0.5 > of_background[1] > of_background[2]

# %% [markdown]
# γ takes the loss away from background, since nearly all of it is easy.
# With γ = 2 it has a small part left: now the positives are too loud, and an α below ½ gives background some of its weight back.
# So α and γ belong together; whoever changes one must tune the other again.
#
# ## 6. Whose loss is it?
#
# A share for all background together says little about *which* background.
# The paper's figure 4 sorts the answers from the easiest to the hardest, and adds up their losses.
#
# ### Exercise 4 · `cumulative_share`
#
# *6 minutes · ★☆☆*
#
# - `losses`: (N,), at least 0; N may be 0, or a hundred thousand.
# - Returns (N,): entry i is the share of the whole loss that the i + 1 smallest losses have together.
#   So the last entry is 1.
# - If all losses are 0: zeros.

# %% tags=["exercise"]
def cumulative_share(losses: torch.Tensor) -> torch.Tensor:
    ### BEGIN SOLUTION
    so_far = losses.sort().values.cumsum(dim=0)                 # (N,)
    return so_far / losses.sum() if losses.sum() > 0 else torch.zeros_like(losses)
    ### END SOLUTION

# %%
check(cumulative_share)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# `tensor.cumsum(dim=0)` adds up from the left.
# What has to stand on the left?
# </details>
# <details><summary>Hint: nan</summary>
#
# 0 divided by 0.
# Nothing is nobody's share.
# </details>

# %%
cumulative_share = use(cumulative_share)

# %% [markdown]
# The network taught by the focal loss, as in the paper, and its answers weighed with four γ.
#
# **Predict.**
# What share of the background's loss comes from the easiest 99 % of its answers?
# With γ = 0, and with γ = 2?

# %%
def shares_of(name: str, kind: int) -> dict[str, torch.Tensor]:
    """For four γ: the cumulative share of the answers whose truth is `kind`."""
    logits, wanted = (part[answers[name][1] == kind].double() for part in answers[name])
    return {f"γ = {gamma:g}": cumulative_share(focal_loss(logits, wanted, 0.5, gamma))
            for gamma in (0, 0.5, 1, 2)}

# %% jupyter={"outputs_hidden": true}
focal_taught = "taught by focal loss"
shares = {"background": shares_of(focal_taught, 0), "positives": shares_of(focal_taught, 1)}
draw_cumulative(shares, starts={"background": 0.9})
plt.show()

# %% jupyter={"outputs_hidden": true}
for name in ("taught by focal loss", "taught by cross-entropy"):
    of_easy = {gamma: share[int(0.99 * len(share)) - 1] for gamma, share in shares_of(name, 0).items()}
    print(f"{name}: the easiest 99 of 100 backgrounds have", ", ".join(
        f"{share:.1%} ({gamma})" for gamma, share in of_easy.items()))
easy_share = {gamma: share[int(0.99 * len(share)) - 1] for gamma, share in shares["background"].items()}
assert easy_share["γ = 0"] > 0.3 and easy_share["γ = 2"] < 0.03

# %% [markdown]
# On the left, only the last tenth of the background is drawn; before it hardly anything happens.
#
# The lines of the positives lie nearer to each other: few of them are easy.
# For background, γ changes everything.
# With γ = 0 half of its loss is shared by the 99 easier ones of a hundred; with γ = 2 the hardest one has practically all.
#
# And again the network that learned from cross-entropy is different: it has pushed its easy answers so far down that little is left of them.
#
# ## 7. The first steps
#
# An untrained network says p = ½ everywhere, and is wrong a thousand times.
# The paper starts with another answer: *a thing is here with probability π = 0.01*.
# The weights of the last layer are tiny at the start, so its bias alone decides the answer.
#
# ### Exercise 5 · `prior_bias`
#
# *4 minutes · ★☆☆*
#
# - `prior`: a probability π between 0 and 1, without the ends.
# - Returns the bias b, a number, with σ(b) = π.

# %% tags=["exercise"]
def prior_bias(prior: float) -> float:
    ### BEGIN SOLUTION
    return -math.log((1 - prior) / prior)
    ### END SOLUTION

# %%
check(prior_bias)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# Solve 1 / (1 + e^−b) = π for b.
# First turn both sides upside down.
# </details>
# <details><summary>Hint: the sign</summary>
#
# A rare thing needs a bias below 0.
# </details>

# %%
prior_bias = use(prior_bias)

# %% [markdown]
# **Predict.**
# `loss` divides by the number of positive anchors of a picture.
# Our scene has 23 positives among 1,249 anchors that count, with six answers each; −log ½ = 0.69.
# About how large is the cross-entropy of the scene at the start: with bias 0, and with `prior_bias(0.01)`?

# %%
by_picture = []                                                 # background's share in each picture


def cross_entropy(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")       # (A', 6)
    by_picture.append(background_share(losses.detach(), wanted))
    return losses.sum()


def beginner(bias: float) -> nn.Module:
    torch.manual_seed(0)
    model = retinanet_small().to(device)
    model.classification_loss = cross_entropy
    nn.init.constant_(model.head.classification_head.cls_logits.bias, bias)
    return model

# %% jupyter={"outputs_hidden": true}
starts = {"bias 0": 0.0, "π = 0.01": prior_bias(0.01)}
truth = [{"boxes": scene.boxes.to(device), "labels": scene.labels.to(device)}]
for name, bias in starts.items():
    with torch.no_grad():
        first = beginner(bias).loss(picture[None], truth)["classification"].item()
    print(f"{name:<9} the first loss of our scene is {first:.1f}")

# %% [markdown]
# (1,249 · 6 · 0.69 / 23; and with the prior −log 0.01 = 4.6 for each *yes*, and −log 0.99 = 0.01 for each *no*, also divided by 23.)
#
# Does the start matter for long?
# Fifty steps with each.

# %%
batches = Batches(train_images, train_targets, batch_size=8, shuffle=True, flip=True, seed=0)
course, whose = {}, {}
for name, bias in starts.items():
    by_picture.clear()
    history = fit(beginner(bias), batches, lambda model, batch: model.loss(*batch), steps=50,
                  learning_rate=4e-3, show=False)
    course[name] = history.parts["classification"]
    whose[name] = torch.tensor(by_picture).view(50, 8).mean(dim=1)          # (50,), 8 pictures each

# %% jupyter={"source_hidden": true}
figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3), layout="constrained")
for name, style in zip(starts, ("-", "--")):
    left.semilogy(course[name], style, label=name)
    right.plot(whose[name], style, label=name)
left.set(xlabel="step", ylabel="class loss", title="cross-entropy")
right.set(xlabel="step", ylabel="share", title="what background has of it", ylim=(0, 1))
left.legend()
plt.show()

# %%
for name in starts:
    print(f"{name:<9} class loss {course[name][0]:.0f} in the first batch,",
          f"≈ {sum(course[name][-10:]) / 10:.1f} in the last ten;",
          f"background's share {whose[name][0]:.2f} at first, ≈ {whose[name][-10:].mean():.2f} at last")
assert course["bias 0"][0] > 20 * course["π = 0.01"][0] and whose["bias 0"][-10:].mean() < 0.5

# %% [markdown]
# Without the prior the first loss is much larger.
# (That of the batch more so: in a picture with few positives it is divided by a small number.)
# But after some ten steps both runs are nearly alike: to say *no* everywhere is quickly learned, the last bias can do it alone.
# From then on positives have most of the loss, in cross-entropy too.
#
# In the paper, training without the prior diverged.
# Here it does not.
# A likely reason, not measured: the paper used plain SGD, and `fit` uses AdamW, which divides each step by the size of the gradients.
# What the prior is worth to us, section 9 says: it was one of the settings that were tried.
#
# ## 8. The other way: choose
#
# Before the focal loss, detectors *chose* what to learn from.
# Lesson 08 drew background by lot.
# **Hard negative mining** takes the background whose loss is largest: SSD three for each positive.
# The rest counts nothing at this step; at the next, others may be the hardest.
#
# ### Exercise 6 · `hard_negatives`
#
# *10 minutes · ★★☆*
#
# - `losses`: (A,), the loss of each anchor, at least 0.
#   `positive`: (A,) bool.
#   `ratio`: a whole number.
# - Returns (A,) bool: which **negatives** to learn from, `ratio` for each positive, those with the largest losses.
#   Positives are False in it.
# - If there are fewer negatives: all of them.
#   If there is no positive: none.
# - Of equal losses, the lower index wins.

# %% tags=["exercise"]
def hard_negatives(losses: torch.Tensor, positive: torch.Tensor, ratio: int) -> torch.Tensor:
    ### BEGIN SOLUTION
    count = min(ratio * int(positive.sum()), int((~positive).sum()))
    among = losses.masked_fill(positive, float("-inf"))         # positives come last
    chosen = torch.zeros_like(positive)
    chosen[among.argsort(descending=True, stable=True)[:count]] = True
    return chosen
    ### END SOLUTION

# %%
check(hard_negatives)

# %% [markdown]
# <details><summary>Hint: where to begin</summary>
#
# `losses.argsort(descending=True, stable=True)` gives places, the hardest first.
# How do you keep positives from being among the first?
# </details>
# <details><summary>Hint: a positive is chosen</summary>
#
# Is 0 low enough for what must never be chosen?
# And what if fewer negatives are left than are asked for?
# </details>
# <details><summary>Hint: other places than expected</summary>
#
# If you sort the negatives alone, you get places in the shorter list.
# </details>

# %%
hard_negatives = use(hard_negatives)

# %%
losses = added_up["cross-entropy"]                              # (1296,), those of the first picture
chosen = hard_negatives(losses, on_thing, 3)
both = {"all": losses, "3 to 1": losses * (chosen | on_thing)}
draw_loss_of_places(scene.image, anchors, both, on_thing)
plt.show()
kept = losses[chosen].sum() / losses[~on_thing].sum()
print(f"{int(chosen.sum())} of {int((losses[~on_thing] > 0).sum()):,} negatives are chosen;",
      f"they have {kept:.0%} of background's loss")
assert kept > 0.5

# %% [markdown]
# The chosen are few, and have more than half of background's loss.
# (Both pictures have the same amount of ink again, so what is left is drawn larger.)
# The focal loss weighs where this one chooses: it needs no sorting and no border between *in* and *out*, but two numbers, α and γ.
#
# ## 9. The claim
#
# The paper says: focal loss > hard negatives, and > cross-entropy with weights > cross-entropy.
# We train the same network on the same pictures with all four.
#
# A comparison is only as fair as its settings.
# Each loss has a knob of its own (the focal loss a pair), and each got as many tries: three values, with the class loss multiplied by one and by four.
# Where it is not the knob, the prior is 0.01.
# So six runs of 300 steps for each loss, one seed, judged on the validation scenes.
# Their AP:

# %%
KNOBS = {"cross-entropy": ("prior",), "weighted": ("alpha",), "hard negatives": ("ratio",),
         "focal": ("alpha", "gamma")}
tried = made["tuning"]["settings"]
for loss, knobs in KNOBS.items():
    mine = [one for one in tried if one["loss"] == loss]        # six
    print(f"{loss} ({', '.join(knobs)})")
    for one, loud in zip(mine[:3], mine[3:]):
        print("   ", *(f"{one[knob]:<4g}" for knob in knobs),
              f" AP {one['AP']:.3f}; class loss × 4: {loud['AP']:.3f}")
best = max(one["AP"] for one in tried if one["loss"] != "hard negatives")
ahead = sum(one["AP"] > best for one in tried if one["loss"] == "hard negatives")
print(f"{ahead} of 6 settings of hard negatives are better than the best of all others, {best:.3f}")

# %% [markdown]
# `weighted` is cross-entropy with α.
# The best of the six was then trained for 1,000 steps, with three seeds.
#
# **Predict.**
# Write down the order of the four, and the distance of the first from the last in points of AP (0.01).

# %% jupyter={"outputs_hidden": true}
runs = {loss: [run["val"]["AP"] for run in made["runs"][loss]] for loss in KNOBS}
mean = {loss: sum(values) / len(values) for loss, values in runs.items()}
draw_runs(runs, label="AP on 200 validation scenes, 1,000 steps; a dot for each seed")
plt.show()
assert mean["weighted"] - mean["cross-entropy"] < 0.01 < mean["focal"] - mean["cross-entropy"]
assert mean["hard negatives"] > mean["focal"]

# %% jupyter={"outputs_hidden": true}
for loss in KNOBS:
    setting = made["chosen"][loss]
    print(f"{loss:<15}", *(f"{knob} {setting[knob]:g}," for knob in KNOBS[loss]),
          f"class loss × {setting['weight']:g}:", ", ".join(
              f"{split} {name} {sum(run[split][name] for run in made['runs'][loss]) / 3:.3f}"
              for split, name in (("val", "AP"), ("val", "AP50"), ("val", "AP75"), ("test", "AP"))))
gains = [focal - plain for focal, plain in zip(runs["focal"], runs["cross-entropy"])]
print("focal minus cross-entropy, seed by seed:", ", ".join(f"{gain:+.3f}" for gain in gains))

# %% [markdown]
# What it shows, and what not:
#
# - The focal loss beats cross-entropy with every seed, by one or two points in the mean.
#   The gain is larger in AP50: it finds more things, but places their boxes little better.
# - The prior matters little to cross-entropy here: 0.159, 0.148 and 0.142 with π = 0.01, 0.1 and 0.5.
# - α alone brings nothing.
#   The α that balances the counts (section 5) is near the largest that was tried, 0.98, and that was the worst.
# - **Hard negatives beat the focal loss** by about two points, on validation and on test scenes, against the paper.
#   They were ahead in the short runs already, with five of six settings.
# - The paper's own setting, α = 0.25 and γ = 2, was poor in our short runs; of the three pairs α = 0.5 with γ = 1 was the best.
#
# **And for longer?**
# Three of them once more, for 2,000 steps, with three seeds; and beside them the best of the short runs.
# **Predict.**
# Does mining stay ahead?
# Does cross-entropy catch up?

# %% jupyter={"outputs_hidden": true}
longer = {loss: [run["val"]["AP"] for run in made["longer"][loss]]
          for loss in ("cross-entropy", "hard negatives", "focal")}
points = {}                                                     # AP after 300, 1,000 and 2,000 steps
for loss, values in longer.items():
    best = max(one["AP"] for one in tried if one["loss"] == loss)
    points[loss] = best, mean[loss], sum(values) / len(values)

# %% jupyter={"source_hidden": true, "outputs_hidden": true}
figure, axis = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
for (loss, values), colour, marker in zip(points.items(), (LINES[0], *LINES[2:]), "oD^"):
    lead = [value - plain for value, plain in zip(values, points["cross-entropy"])]
    axis.plot((300, 1000, 2000), lead, marker=marker, color=colour, label=loss)
    print(f"{loss:<14}", ", ".join(f"{value:.3f} after {steps:,}" for steps, value in
                                   zip((300, 1000, 2000), values)), "steps; each seed:",
          ", ".join(f"{value:.3f}" for value in longer[loss]))
axis.set(xlabel="steps", ylabel="AP minus that of cross-entropy")
axis.legend(frameon=False)
plt.show()
leads = [mining - focal for mining, focal in zip(points["hard negatives"], points["focal"])]
assert leads[0] > leads[1] > leads[2] and min(longer["focal"]) > max(longer["cross-entropy"])

# %% [markdown]
# (300 steps: the best of six settings, one seed; then the mean of three seeds.
# Each is a run of its own, with a learning rate that falls to 0 at its end.)
# Mining learns faster.
# But its lead over the focal loss melts, from six points to about one,
# while the lead of the focal loss over cross-entropy grows, from nothing to more than two.
# So the order depends on how long one trains, and this need not be the last word either.
#
# **Rarer positives.**
# The focal loss cures a loss that drowns in easy background, and ours hardly drowns.
# That was measured: after some ten steps cross-entropy has most of its loss from positives (section 7),
# and after 1,000 easy background has 9 % of it (section 2).
# We have 90 negatives for a positive; the paper has many thousands.
#
# So the gain should grow when positives are rarer.
# The test: only those training scenes that hold **one** thing, 500 steps, the settings as above.

# %% jupyter={"outputs_hidden": true}
rare = {loss: [run["val"]["AP"] for run in made["one thing"][loss]]
        for loss in ("cross-entropy", "focal")}
alone = [one for one, target in zip(told, train_targets) if len(target["boxes"]) == 1]
yes = sum(int(wanted.any(dim=1).sum()) for wanted, _ in alone)
no = sum(int(counts.sum()) for _, counts in alone) - yes
print(f"{len(alone)} scenes with one thing: 1 positive anchor to {no / yes:.0f} negative ones")
for loss, values in rare.items():
    print(f"{loss:<14} AP", ", ".join(f"{value:.3f}" for value in values))
of_all, of_rare = (sum(some["focal"]) / sum(some["cross-entropy"]) for some in (runs, rare))
print(f"focal / cross-entropy: {of_all:.2f} with all scenes, {of_rare:.2f} with these")
assert min(rare["focal"]) > max(rare["cross-entropy"]) and of_rare > of_all

# %% [markdown]
# It does grow, from 4 % to 33 %.
# Careful: these runs are also shorter and have fewer pictures, so rareness is not the only thing that changed.
# Shortness alone does not explain it: after 300 steps with all scenes the two were nearly equal, 0.159 and 0.162 in the table of settings.
#
# Why mining is faster here, we do not know.
# The paper compared the two with a deep ResNet, on COCO, in 90,000 steps, and the focal loss was clearly ahead.
# What can be said: in short runs, try both.
#
# ## 10. Break it
#
# Mining keeps the *hardest* background.
# Does it have to be the hardest?
# The trained network learns on for 25 steps from the positives and: no background at all; the three *easiest* negatives for each positive; the three hardest.
#
# **Predict.**
# How many boxes does it find in a scene then?
# Which two of the three will be alike?

# %% jupyter={"outputs_hidden": true}
from copy import deepcopy

sixty = Batches(val_images[:60], val_targets[:60])
batches = Batches(train_images, train_targets, batch_size=8, shuffle=True, flip=True, seed=5)


def learn_from(order: int, ratio: int) -> nn.Module:
    """The network after 25 steps with the hardest negatives (`order` 1) or the easiest (−1)."""
    def chosen_loss(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none").sum(dim=1)
        positive = wanted.any(dim=1)
        rank = losses.detach() if order > 0 else losses.max().detach() - losses.detach()    # at least 0
        return losses[hard_negatives(rank, positive, ratio) | positive].sum()

    trial = deepcopy(net).requires_grad_(True)
    trial.classification_loss = chosen_loss
    fit(trial, batches, lambda model, batch: model.loss(*batch), steps=25, learning_rate=3e-3, ema=0.9,
        show=False)
    return trial

# %% jupyter={"outputs_hidden": true}
boxes = {}
trials = {"as it was": net, "no background": learn_from(1, 0), "the easiest": learn_from(-1, 3),
          "the hardest": learn_from(1, 3)}
for name, trial in trials.items():
    found = [answer["scores"] for images, _ in sixty for answer in trial(images.to(device))]
    boxes[name] = sum(map(len, found)) / 60
    sure = sum((one > 0.5).sum().item() for one in found) / 60
    print(f"{name:<14} ≈ {boxes[name]:.0f} boxes a scene, ≈ {sure:.1f} of a score above 0.5;",
          f"AP50 ≈ {float(evaluate_detection(trial, sixty)['AP50']):.2f}")
assert boxes["the easiest"] > 0.8 * boxes["no background"] > 2 * boxes["the hardest"]

# %% [markdown]
# The easiest background teaches as much as none at all.
# Without the hard ones the network soon finds things everywhere; three of them for each positive prevent it.
# AP50 falls much less than the boxes grow in number, as in lesson 09: the true things are still the surest.
# (It falls in all three: 25 steps are a rough restart.)
#
# ## 11. Look inside
#
# The layer `cls_logits` gives 54 channels, six for each of the nine anchors of a cell.
# Channel 6 · anchor + class; the anchors are in the order of lesson 08: three sizes wide, three square, three tall.
#
# Which of the nine say *crate* (class 2): channels 2, 8, 14, …, 50?
# Where, and only on the crate?

# %%
class Sure(nn.Module):
    """The network up to its probabilities, channels first."""

    def __init__(self, retina: nn.Module):
        super().__init__()
        self.backbone, self.head = retina.backbone, retina.head.classification_head
        self.sure = nn.Sigmoid()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.backbone(images)["0"]                   # (B, 96, 12, 12)
        return self.sure(self.head.cls_logits(self.head.conv(features)))    # (B, 54, 12, 12)


explorer = explore(Sure(net), picture)
explorer.layer, explorer.channel = "sure", 32                   # the large square anchor: is it a crate?
explorer.cell = (9, 4)
explorer

# %%
inside = Sure(net)(picture[None])[0].unflatten(0, (9, 6)).cpu()             # (9, 6, 12, 12)
print("the surest cell;  wide, square, tall anchors; of each a small, a middle and a large one")
for label, name in enumerate(("number 0", *CLASSES)):
    best = inside[:, label].amax(dim=(1, 2))                    # (9,)
    print(f"{name:<9}", *(f"{value:.2f}" for value in best))
assert inside[:, 0].max() < 0.05

# %% [markdown]
# <details><summary>What there is to see</summary>
#
# The middle and large ones: each says more than 0.3 in one to four cells around the middle of the crate; the large square one is the surest.
# The three small ones do not, with 0.08 at most: the crate is 24 × 27 pixels, and they overlap it too little to be positive.
# Only there? Not quite: the square one of middle size (channel 26) is a little sure of the cylinders as well.
# Number 0 says nothing anywhere: all its truths were *no*.
# </details>
#
# ## 12. One look or two
#
# The detectors of lessons 08 to 10, with the same backbone, on the same scenes, after 2,000 steps.

# %% jupyter={"source_hidden": true}
import json
from functools import partial

from torchvision.ops import roi_align

from lib.models.faster_rcnn import faster_rcnn_small
from lib.models.yolo import yolo_v1_small, yolo_v2_small
from lib.timing import human_time, milliseconds

others = {"Faster R-CNN": (faster_rcnn_small(), "08_faster_rcnn", "runs"),
          "with RoIAlign": (faster_rcnn_small(), "08_faster_rcnn", "runs with RoIAlign"),
          "YOLO of 2016": (yolo_v1_small(), "09_yolo_v1", "runs"),
          "YOLO of 2017": (yolo_v2_small(), "09_yolo_v2", "runs")}
took, all_runs = {}, {}
for name, (model, file, which) in others.items():
    load_checkpoint(model.to(device), folder / f"{file}.safetensors")
    if name == "with RoIAlign":
        model.roi_heads.box_roi_pool.pool = partial(roi_align, sampling_ratio=2, aligned=True)
    took[name] = milliseconds(lambda: model.eval()(picture[None])) / 1000
    stored = json.loads((folder / f"{file}.json").read_text())[which]
    all_runs[name] = [run["val"]["AP"] for run in stored]
took["RetinaNet"] = milliseconds(lambda: net(picture[None])) / 1000
all_runs["RetinaNet"] = longer["focal"]

# %%
draw_runs(all_runs, label="AP on 200 validation scenes, 2,000 steps; a dot for each seed", size=3.4)
plt.show()
judged = ("1,296, then 100", "1,296, then 100", "288", "720", "1,296")
for (name, values), count in zip(all_runs.items(), judged):
    print(f"{name:<13} {count:<15} boxes judged, ≈ {human_time(took[name])} a picture,",
          f"AP {sum(values) / len(values):.3f}")

# %% [markdown]
# RetinaNet is about as good as the YOLO of 2017, and slower: two heads of two 3 × 3 convolutions each, where YOLO has a single 1 × 1.
# Both are better than the two-stage detector that rounds, and worse than the one that does not.
# The paper says that with the right loss, one look is as good as two.
# Here it is not: the second stage with RoIAlign is 0.08 ahead.
# The paper's RetinaNet has a pyramid of maps, which ours lacks until lesson 11.
#
# ## 13. Recap

# %%
draw_retinanet(net, picture, timed=False)
plt.show()

# %% [markdown]
# | | all count | weights | a choice | focal |
# | --- | --- | --- | --- | --- |
# | what an answer counts | 1 | α, or 1 − α | 1 or 0 | (1 − p_t)^γ, and α or 1 − α |
# | asks which kind it is | no | yes | yes | yes, if α is not ½ |
# | asks how wrong it is | no | no | yes, by its rank | yes, by its own p |
# | must be chosen | prior | α | ratio | α and γ |
#
# **What the paper reported.**
# On COCO, with a ResNet-50 and an FPN (lesson 11), pictures of 600 pixels:
# cross-entropy diverged without the prior; with it, 30.2 AP; with α = 0.75, 31.1; the focal loss with γ = 2 and α = 0.25, 34.0.
# With a ResNet-101: hard negative mining 32.8 at best, focal loss 36.0.
# The largest RetinaNet with a ResNet-101 reached 39.1 on COCO's test scenes, more than the two-stage detectors of that time.
#
# **What was simpler here.**
# One map instead of five (lesson 11 adds them), heads of one convolution before the last instead of four, 1,296 anchors instead of about 100,000,
# at most 2,000 steps instead of 90,000.
#
# **In papers and on GitHub.**
# Our *background* is a *negative*; many negatives for a positive are *class imbalance*, easy ones *easy negatives*.
# The wrong answers are *hard examples*; choosing them while training is *online hard example mining*, OHEM.
# γ is the *focusing parameter*, and (1 − p_t)^γ the *modulating factor*.
# `sigmoid_focal_loss` of torchvision is your `focal_loss`.
# A negative `alpha` there means *no weights*, as in the pictures of the anchors.
#
# **Go on from here.**
# Tasks without a check:
#
# - Train with hard negatives and with the focal loss for 4,000 steps (`data/checkpoints/10_focal_loss.py` has all you need).
#   Which is ahead?
# - Do both: choose hard negatives, and weigh them with (1 − p_t)^γ.
# - Turn the labels of one thing in ten into wrong ones.
#   Which of the four losses suffers most?
#
# ### Three questions
#
# **1.**
# An answer for background has p = 0.1.
# How much of its cross-entropy is left with γ = 2, without α?
# (a) 0.81 (b) 0.01 (c) 0.1
#
# <details><summary>Answer</summary>
#
# **(b)** Its truth is *no*, so p_t = 0.9 and (1 − 0.9)² = 0.01.
# (a) would be a positive with p = 0.1.
# </details>
#
# **2.**
# Somebody raises γ from 1 to 3 and leaves α = 0.5.
# Now the detector finds a little of everything everywhere.
# What is worth a try first?
# (a) a larger α (b) a smaller π (c) a smaller α
#
# <details><summary>Answer</summary>
#
# **(c)** A larger γ takes weight from background, which is nearly all easy; a smaller α gives some of it back.
# (a) makes it worse.
# (b) changes the first steps only.
# </details>
#
# **3.**
# Somebody counts one positive to a million negatives and concludes that cross-entropy must drown.
# What should be looked at before?
# (a) whose share of the loss it is, during training (b) the number of classes (c) the number of parameters
#
# <details><summary>Answer</summary>
#
# **(a)** Counts say whose loss it is at the first step only.
# Here 99.8 % of it was background's, and a few steps later less than half.
# </details>

# %%
progress("10")

# %% [markdown]
# **Next:** one map at one stride, and anchors of three sizes.
# Small things have few anchors, and large ones more than they need.
# Lesson 11: a map for every size.
