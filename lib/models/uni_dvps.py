"""Uni-DVPS: one decoder, one set of queries; each says a class, draws a mask and measures its depth (lesson 16).

The model is lesson 15's MaskFormer with two additions. A second inner product of queries and pixels gives each query a
map of depth. And gates let each task take its part of the features, which both tasks share. As a query then knows what
a thing is, what it looks like and how far away it is, the queries of two frames can be compared, and so things are
tracked (`lib.ops.tracking`) though nobody has trained for it.

Source: Kim, Oh, Kwon, Kim, Kwon & Oh 2024, "Uni-DVPS: Unified Model for Depth-Aware Video Panoptic Segmentation",
IEEE Robotics and Automation Letters. The code that they published is Mask2Former's, with a small network for each task
where the gate of the pixels is here, none for the queries, depth linear in the sigmoid, and one more query, for the
depth of the whole picture.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.layers.mlp import MLP
from lib.layers.small_backbone import SmallTwoMaps
from lib.layers.transformer import TransformerOutput
from lib.models.maskformer import (
    WEIGHTS,
    MaskFormer,
    MaskFormerCriterion,
    MaskFormerOutput,
    Targets,
    maskformer_small,
    on_batch,
    picture_masks,
)
from lib.ops.depth import scale_invariant_log_loss, valid_depth
from lib.ops.set_losses import Indices

TASKS = ("segmentation", "depth")
NEAR, FAR = 1.0, 100.0  # metres between which depth is sought
OPEN = 2.0  # a gate begins with this bias: it lets through sigmoid(2) = 0.88 of everything
DEPTH_WEIGHTS = WEIGHTS | {"loss_depth": 5.0}


class UniDVPSOutput(MaskFormerOutput):
    """What the Q queries answer to B pictures. The entries of "aux_outputs" have all that stands here too."""

    pred_depths: Tensor  # (B, Q, h, w) metres: what each query says of each pixel, inside its mask and outside
    queries: Tensor  # (B, Q, D), the queries' states, before any gate: what tracking compares


class PictureAnswer(NamedTuple):
    """What the Q queries say of one picture, at the size at which it came."""

    logits: Tensor  # (Q, K + 1)
    masks: Tensor  # (Q, H, W) logits
    depths: Tensor  # (Q, H, W) metres
    queries: Tensor  # (Q, D)


class FeatureGate(nn.Module):
    """x · sigmoid(W x + b): of each number a share passes, and all numbers at this place decide which.

    W begins as 0, so that the gate begins open, and the same everywhere.

    Args:
        dim: how many numbers there are at a place.
        axis: along which they lie: -1 for queries (..., D), 1 for maps (B, C, h, w), where it is a 1×1 convolution.
    """

    def __init__(self, dim: int, axis: int = -1):
        super().__init__()
        self.linear, self.axis = nn.Linear(dim, dim), axis
        nn.init.zeros_(self.linear.weight)
        nn.init.constant_(self.linear.bias, OPEN)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape with `dim` numbers along the axis -> the same shape.

        Raises:
            ValueError: there are other than `dim` numbers.
        """
        if x.ndim <= max(self.axis, 0) or x.shape[self.axis] != self.linear.in_features:
            expected = f"{self.linear.in_features} numbers along axis {self.axis}"
            raise ValueError(f"x is {tuple(x.shape)}; expected {expected}")
        return x * self.linear(x.movedim(self.axis, -1)).sigmoid().movedim(-1, self.axis)


class UniDVPS(nn.Module):
    """The model.

    Args:
        maskformer: all of it but the gates and the depth. It may have learned already; nothing in it is changed here.
        gate: whether each task has gates, one for queries and one for pixels. If not, both tasks get the same features.
        near, far: metres. Depth is near^(1 - s) · far^s, where s, the sigmoid of the inner product, goes from 0 to 1:
            equal steps of s are equal factors of depth.

    Raises:
        ValueError: not 0 < near < far.
    """

    def __init__(self, maskformer: MaskFormer, gate: bool = True, near: float = NEAR, far: float = FAR):
        super().__init__()
        if not 0 < near < far < float("inf"):
            raise ValueError(f"near is {near!r} and far is {far!r}; expected metres, 0 < near < far")
        dim, channels = maskformer.transformer.d_model, maskformer.pixel_decoder.mask_dim
        self.maskformer, self.near, self.far = maskformer, near, far
        self.depth_embed = MLP(dim, dim, channels, 3)
        self.query_gates = nn.ModuleDict({task: FeatureGate(dim) if gate else nn.Identity() for task in TASKS})
        self.pixel_gates = nn.ModuleDict({task: FeatureGate(channels, 1) if gate else nn.Identity() for task in TASKS})

    def forward(self, images: Tensor | list[Tensor]) -> UniDVPSOutput:
        """Segment and measure pictures (B, 3, H, W), or a list of (3, H, W), 0..1. See `MaskFormer.forward`."""
        return self.attention(images, need_weights=False)[0]

    def attention(
        self, images: Tensor | list[Tensor], need_weights: bool = True
    ) -> tuple[UniDVPSOutput, TransformerOutput]:
        """The same, and where every layer of the transformer looked."""
        batch, pixels, looked = self.maskformer.features(images, need_weights)
        states = looked.states if self.maskformer.aux_loss else looked.states[-1:]  # (layers, B, Q, D)
        queries = {task: gate(states) for task, gate in self.query_gates.items()}  # (layers, B, Q, D) each
        places = {task: gate(pixels) for task, gate in self.pixel_gates.items()}  # (B, C, h, w) each
        logits, masks = self.maskformer.heads(queries["segmentation"], places["segmentation"])
        depths = self.metres(self.depth_embed(queries["depth"]), places["depth"])
        layers: list[UniDVPSOutput] = [
            {"pred_logits": a, "pred_masks": b, "pred_depths": c, "queries": d, "images": batch}
            for a, b, c, d in zip(logits, masks, depths, states)
        ]
        outputs = layers.pop()
        if self.maskformer.aux_loss:
            outputs["aux_outputs"] = [*layers]
        return outputs, looked

    def metres(self, depth_embed: Tensor, pixels: Tensor) -> Tensor:
        """Depth embeddings (layers, B, Q, C) and pixels (B, C, h, w) -> depths (layers, B, Q, h, w)."""
        s = torch.einsum("lbqc,bchw->lbqhw", depth_embed, pixels).sigmoid()
        return self.near * (self.far / self.near) ** s


class UniDVPSCriterion(MaskFormerCriterion):
    """MaskFormer's matching and losses, and how wrong the depth of each matched query is inside its true mask.

    Depth has no say in the matching. What a query says of depth outside its mask is not asked.

    Args:
        num_classes, matcher, eos_coef: see `MaskFormerCriterion`.
        weight_dict: None: `DEPTH_WEIGHTS`.
        discount: how much of a common factor of all depths of a mask is forgiven, 0..1. Depth hardly varies within a
            thing, so what there is to learn is mostly this factor.
    """

    def __init__(
        self,
        num_classes: int,
        matcher: nn.Module | None = None,
        weight_dict: dict[str, float] | None = None,
        eos_coef: float = 0.1,
        discount: float = 0.5,
    ):
        super().__init__(num_classes, matcher, DEPTH_WEIGHTS if weight_dict is None else weight_dict, eos_coef)
        self.discount = discount

    def forward(self, outputs: MaskFormerOutput, targets: Targets) -> dict[str, Tensor]:
        """All losses, not weighed yet.

        Args:
            outputs: the model's.
            targets: as for `MaskFormerCriterion`, and "depth" (H, W) metres; what has none (`valid_depth`) may hold
                anything.

        Returns:
            As `MaskFormerCriterion`, and "loss_depth": the mean over the true masks that have a valid pixel.

        Raises:
            ValueError: see `MaskFormerCriterion`; or an output or a target has no depth, or of another shape.
        """
        _check_depth(outputs, targets)
        return super().forward(outputs, targets)

    def losses_of_layer(self, outputs: MaskFormerOutput, targets: Targets, indices: Indices) -> dict[str, Tensor]:
        """The losses of one decoder layer, by name."""
        depth = self.loss_depth(cast(UniDVPSOutput, outputs), targets, indices)
        return super().losses_of_layer(outputs, targets, indices) | {"loss_depth": depth}

    def loss_depth(self, outputs: UniDVPSOutput, targets: Targets, indices: Indices) -> Tensor:
        """`scale_invariant_log_loss`, for each true mask in its valid pixels, at the size of the true masks.

        The prediction is enlarged bilinearly in its logarithm, the unit of the loss.
        """
        images = outputs["images"]
        masks = on_batch([target["masks"] for target in targets], images)  # (n, H, W) each
        depths = on_batch([target["depth"][None] for target in targets], images)  # (1, H, W) each
        inside = [mask & valid_depth(depth) for mask, depth in zip(masks, depths)]  # (n, H, W) each
        said = torch.cat([one[queries] for one, (queries, _) in zip(outputs["pred_depths"], indices)])  # (M, h, w)
        valid = torch.cat([one[truths] for one, (_, truths) in zip(inside, indices)])  # (M, H, W)
        true = torch.cat([one.expand(len(truths), -1, -1) for one, (_, truths) in zip(depths, indices)])  # (M, H, W)
        said = F.interpolate(said.log()[:, None], true.shape[1:], mode="bilinear", align_corners=False)[:, 0].exp()
        return scale_invariant_log_loss(said, true.to(said), valid, self.discount)


def picture_answers(outputs: UniDVPSOutput) -> list[PictureAnswer]:
    """The answers to a batch, for each picture at its own size."""
    masks = picture_masks(outputs["pred_masks"], outputs["images"])
    logs = picture_masks(outputs["pred_depths"].log(), outputs["images"])  # enlarged as in the loss
    parts = zip(outputs["pred_logits"], masks, logs, outputs["queries"], strict=True)
    return [PictureAnswer(logits, mask, log.exp(), queries) for logits, mask, log, queries in parts]


def picture_depth(logits: Tensor, masks: Tensor, depths: Tensor) -> Tensor:
    """One map of depth: at each pixel the weighted geometric mean of what the queries say.

    A query weighs as much as it is sure that it has a class, times its mask's probability at the pixel. The mean is
    geometric, which is to say a mean of logarithms, as the loss is one of logarithms. An arithmetic mean would favour
    what is far: where ground of 50 m has a tenth of the weight and a thing of 4 m the rest, it says 8.6 m, the
    geometric one 5.2 m.

    Args:
        logits, masks, depths: of one picture, see `PictureAnswer`.

    Returns:
        (H, W) metres.

    Raises:
        ValueError: shapes do not fit.
    """
    if logits.ndim != 2 or masks.ndim != 3 or len(masks) != len(logits) or depths.shape != masks.shape:
        came = f"logits {tuple(logits.shape)}, masks {tuple(masks.shape)}, depths {tuple(depths.shape)}"
        raise ValueError(f"there came {came}; expected (Q, K + 1), (Q, H, W) and (Q, H, W)")
    something = logits[:, :-1].logsumexp(dim=1) - logits.logsumexp(dim=1)  # (Q,), log of 1 - P(nothing)
    weights = (something[:, None, None] + F.logsigmoid(masks)).softmax(dim=0)  # (Q, H, W), sum 1, never 0 / 0
    return (weights * depths.log()).sum(dim=0).exp()


def uni_dvps_small(
    num_classes: int, num_queries: int = 16, backbone: SmallTwoMaps | None = None, gate: bool = True
) -> UniDVPS:
    """The one of lesson 16, for toyworld at 96 × 96: `maskformer_small`, a depth head, and gates if wanted.

    Weights of lesson 15 go into `model.maskformer`, all of them: `load_checkpoint(model.maskformer, path)`. What begins
    at random then is `depth_embed`.
    """
    return UniDVPS(maskformer_small(num_classes, num_queries, backbone), gate)


def _check_depth(outputs: MaskFormerOutput, targets: Targets) -> None:
    if not {"pred_masks", "pred_depths", "images"} <= outputs.keys():
        raise ValueError(f"outputs has {', '.join(outputs)}; expected pred_masks, pred_depths and images among them")
    masks, depths = outputs["pred_masks"], cast(UniDVPSOutput, outputs)["pred_depths"]
    if depths.shape != masks.shape:
        raise ValueError(f"outputs has pred_depths {tuple(depths.shape)}; expected {tuple(masks.shape)}, as pred_masks")
    for number, (target, size) in enumerate(zip(targets, outputs["images"].original_sizes)):
        depth = target.get("depth")
        if not isinstance(depth, Tensor) or depth.shape != size or not depth.is_floating_point():
            came = f"{tuple(depth.shape)} {depth.dtype}" if isinstance(depth, Tensor) else repr(depth)
            raise ValueError(f"targets has the depth {came} for picture {number}; expected {size} floats")
