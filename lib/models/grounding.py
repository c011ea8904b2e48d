"""Grounding DINO: a detector that is told in words what to look for (lesson 19).

"small red cone . blue sphere ." and a picture go in; picture and words look at each other; the cells that fit some word
best say where to begin; a decoder mends the boxes. There are no classes: an answer is how well a query fits each word.
Attribute names are mostly transformers'. Source: Liu et al. 2023, "Grounding DINO: Marrying DINO with Grounded
Pre-Training for Open-Set Object Detection", section 3. Not here: maps of several sizes, deformable attention, BERT, and
the denoising queries of Zhang et al. 2022, "DINO".
"""

from typing import NamedTuple, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from lib.layers.backbone import Backbone
from lib.layers.fusion import EnhancerLayer
from lib.layers.grounding_decoder import GroundingDecoder, moved_boxes, still_box_head
from lib.layers.joiner import Joiner
from lib.layers.position import PositionEmbeddingSine
from lib.layers.query_selection import ContrastiveEmbedding, first_boxes, select_queries
from lib.layers.rcnn_transform import GeneralizedRCNNTransform
from lib.layers.small_backbone import SmallBackbone
from lib.layers.text_encoder import TextEncoder
from lib.ops.boxes import (
    box_cxcywh_normalized_to_xyxy,
    box_cxcywh_to_xyxy,
    box_xyxy_to_cxcywh_normalized,
    generalized_box_iou,
)
from lib.ops.losses import sigmoid_focal_loss
from lib.ops.phrases import phrase_scores
from lib.ops.set_losses import Indices, cheapest_pairs, set_box_losses, weighted_losses
from lib.ops.targets import check_targets

Targets = list[dict[str, Tensor]]  # for each picture {"boxes": (n, 4) xyxy pixels, "labels": (n,) int64, from 0}
Sizes = list[tuple[int, int]]  # (height, width) of each picture

COSTS = {"class": 1.0, "bbox": 5.0, "giou": 2.0}  # of the published configuration, as are the weights
WEIGHTS = {"loss_ce": 2.0, "loss_bbox": 5.0, "loss_giou": 2.0}


class GroundingOutput(TypedDict):
    """What the Q queries answer to B pictures with captions of T tokens."""

    pred_logits: Tensor  # (B, Q, T): whether a word says something true of the query's thing; -inf where no word is
    pred_boxes: Tensor  # (B, Q, 4) middle x and y, width, height, as shares of each picture, 0..1
    phrases: Tensor  # (B, T) int64: to which phrase of its caption each word belongs, from 0; -1: no word
    image_sizes: Sizes  # of each picture as it came
    cell_logits: NotRequired[Tensor]  # (B, T, h, w): how well each cell fits each word, by which queries are selected
    enc_outputs: NotRequired["GroundingOutput"]  # what the selected cells answer, before the decoder
    aux_outputs: NotRequired[list["GroundingOutput"]]  # the same from each decoder layer but the last


class Beginning(NamedTuple):
    """Where the decoder's queries begin."""

    fit: Tensor  # (B, h·w, T): how well each cell fits each word, logits
    cells: Tensor  # (B, Q) int64, the cells that are chosen
    content: Tensor  # (B, Q, D), what these say
    boxes: Tensor  # (B, Q, 4), which boxes they propose, as shares of each picture


class GroundingDINO(nn.Module):
    """The detector.

    Args:
        backbone: a `Joiner`, with D numbers in its place codes.
        text_encoder: with vectors of D numbers.
        encoder: the layers of the feature enhancer.
        decoder: of which boxes and states are read.
        num_queries: Q, more than a picture has things.
        d_model: D, a multiple of 32.
        embed_init_target: what queries know at first: numbers that are learned, whatever the picture, as in the paper;
            or, if False, what their cells say. Deformable attention looks where a query's box is from the first step
            on. Ours has to learn to, and until then the cells alone tell queries what is in their boxes.
        first_side: of the box from which each cell's begins, as a share of the picture. The paper's code has 0.05 for
            its finest map, which is some five cells at stride 8.
        scaled: see `ContrastiveEmbedding`.
        transform: what happens to the pictures first.
    """

    def __init__(
        self,
        backbone: Joiner,
        text_encoder: TextEncoder,
        encoder: list[EnhancerLayer],
        decoder: GroundingDecoder,
        num_queries: int,
        d_model: int,
        transform: GeneralizedRCNNTransform,
        embed_init_target: bool = True,
        first_side: float = 0.05,
        scaled: bool = False,
    ):
        super().__init__()
        self.transform, self.backbone, self.text_encoder = transform, backbone, text_encoder
        self.num_queries, self.first_side = num_queries, first_side
        self.input_proj_vision = nn.Sequential(nn.Conv2d(backbone.num_channels, d_model, 1), nn.GroupNorm(32, d_model))
        self.encoder, self.decoder = nn.ModuleList(encoder), decoder
        self.enc_output, self.enc_output_norm = nn.Linear(d_model, d_model), nn.LayerNorm(d_model)
        self.encoder_output_bbox_embed = still_box_head(d_model)
        self.encoder_output_class_embed, self.class_embed = ContrastiveEmbedding(scaled), ContrastiveEmbedding(scaled)
        self.query_embed = nn.Embedding(num_queries, d_model) if embed_init_target else None

    def forward(self, images: Tensor | list[Tensor], captions: list[str]) -> GroundingOutput:
        """Look for phrases in pictures, for those of each caption in its own picture.

        Args:
            images: (B, 3, H, W), or a list of (3, H, W) of different sizes, 0..1.
            captions: B texts such as "small red cone . blue sphere ."; "" asks for nothing.

        Raises:
            ValueError: a picture has the wrong shape, there are not as many captions as pictures, or a picture has
                fewer cells than there are queries.
        """
        batch, text = self.transform(images), self.text_encoder.tokenize(captions)
        if len(captions) != len(batch.image_sizes):
            raise ValueError(f"captions has {len(captions)} texts; expected one for each of {len(images)} pictures")
        features, mask, places = self.backbone(batch)  # (B, C, h, w), (B, h, w), (B, D, h, w)
        vision, vision_pos = (x.flatten(2).transpose(1, 2) for x in (self.input_proj_vision(features), places))
        no_cell, words = mask.flatten(1), text.phrases >= 0  # (B, h·w), (B, T)
        said, text_pos = self.text_encoder(text), self.text_encoder.codes(text)  # (B, T, D) each
        for layer in self.encoder:
            fused = layer(vision, said, no_cell, text.padding, text.hidden, vision_pos, text_pos)
            vision, said = fused.vision, fused.text  # (B, h·w, D), (B, T, D)

        begin = self.begin(vision, mask, said, words)
        queries = begin.content.detach()  # (B, Q, D)
        if self.query_embed is not None:
            queries = self.query_embed.weight.expand_as(queries)
        seen = vision, no_cell, vision_pos, said, text.padding
        states, boxes = self.decoder(queries, begin.boxes.detach(), *seen)  # (layers, B, Q, ...)
        logits = self.class_embed(states, said, words)  # (layers, B, Q, T)

        def answers(logits: Tensor, boxes: Tensor) -> GroundingOutput:
            phrases, sizes = text.phrases, batch.original_sizes
            return {"pred_logits": logits, "pred_boxes": boxes, "phrases": phrases, "image_sizes": sizes}

        *layers, outputs = (answers(*one) for one in zip(logits, boxes))
        outputs["aux_outputs"] = layers
        outputs["enc_outputs"] = answers(_rows(begin.fit, begin.cells), begin.boxes)
        outputs["cell_logits"] = begin.fit.transpose(1, 2).unflatten(2, mask.shape[1:])
        return outputs

    def begin(self, vision: Tensor, mask: Tensor, text: Tensor, words: Tensor) -> Beginning:
        """Where the queries begin: at the cells that fit some word best, with the boxes that these propose.

        Args:
            vision: (B, h·w, D), enhanced. mask: (B, h, w) bool, True = padding.
            text: (B, T, D), enhanced. words: (B, T) bool, which of them count.
        """
        cells = self.enc_output_norm(self.enc_output(vision))  # (B, h·w, D)
        fit = self.encoder_output_class_embed(cells, text, words)  # (B, h·w, T)
        chosen = select_queries(fit.detach(), self.num_queries, mask.flatten(1))  # (B, Q)
        content, squares = _rows(cells, chosen), _rows(first_boxes(mask, self.first_side).to(cells), chosen)
        boxes = moved_boxes(squares, self.encoder_output_bbox_embed(content))  # (B, Q, 4)
        return Beginning(fit, chosen, content, boxes)

    @torch.no_grad()
    def predict(
        self, images: Tensor | list[Tensor], captions: list[str], threshold: float = 0.3, pool: str = "mean"
    ) -> list[dict[str, Tensor]]:
        """What is found.

        Args:
            threshold: a query answers for each phrase that it fits with at least this score, so for several where
                "cone" and "red cone" are asked at once.
            pool: see `phrase_scores`.

        Returns:
            For each picture {"boxes": (n, 4) xyxy pixels, "scores": (n,) 0..1, falling, "labels": (n,) int64, places of
            its caption's phrases, from 0}.

        Raises:
            ValueError: as `forward` and `phrase_scores`.
        """
        outputs, found = self(images, captions), []
        answers = zip(outputs["pred_logits"], outputs["phrases"], outputs["pred_boxes"], outputs["image_sizes"])
        for logits, phrases, boxes, size in answers:
            scores = phrase_scores(logits, phrases, pool)  # (Q, P)
            queries, labels = torch.nonzero(scores >= threshold, as_tuple=True)  # (n,) each
            order = scores[queries, labels].argsort(descending=True, stable=True)
            queries, labels = queries[order], labels[order]
            corners = box_cxcywh_normalized_to_xyxy(boxes[queries], size)  # (n, 4)
            found.append({"boxes": corners, "scores": scores[queries, labels], "labels": labels})
        return found


def _rows(x: Tensor, places: Tensor) -> Tensor:
    """Of each (N, C) of a batch the rows at `places`: (B, N, C), (B, Q) -> (B, Q, C)."""
    return x.gather(1, places[..., None].expand(-1, -1, x.shape[2]))


class GroundingCriterion(nn.Module):
    """The loss: match queries and things, then tell each query which words are true of it (section 3.5).

    All words of the phrase that names a thing are true of it, "small", "red" and "cone"; all other words of the caption
    are not, another phrase's "red" included. A query without a thing is to deny all words.

    Args:
        costs: how much the parts of the matching weigh; None: `COSTS`.
        weight_dict: how much each loss weighs, by name; None: `WEIGHTS`.
    """

    def __init__(self, costs: dict[str, float] | None = None, weight_dict: dict[str, float] | None = None):
        super().__init__()
        self.costs, self.weight_dict = costs or COSTS, weight_dict or WEIGHTS

    def forward(self, outputs: GroundingOutput, targets: Targets) -> dict[str, Tensor]:
        """All losses, not weighed yet.

        Args:
            outputs: the model's.
            targets: for each picture {"boxes": (n, 4) xyxy pixels, "labels": (n,) int64, the phrase of its caption that
                names the thing, from 0}; n may be 0.

        Returns:
            {"loss_ce", "loss_bbox", "loss_giou"}, each for a thing; with "_0", "_1" ... for the other decoder layers,
            with "_enc" for the selected cells. Each is matched anew.

        Raises:
            ValueError: an entry is missing or has the wrong shape, or a label is no phrase of its caption.
        """
        _check(outputs, targets)
        layers = {"": outputs} | {f"_{number}": one for number, one in enumerate(outputs.get("aux_outputs", []))}
        if "enc_outputs" in outputs:
            layers["_enc"] = outputs["enc_outputs"]
        boxes = [target["boxes"] for target in targets]
        losses: dict[str, Tensor] = {}
        for suffix, layer in layers.items():
            indices = self.match(layer, targets)
            parts = {"loss_ce": self.loss_labels(layer, targets, indices)}
            parts |= set_box_losses(layer["pred_boxes"], boxes, layer["image_sizes"], indices)
            losses |= {name + suffix: loss for name, loss in parts.items()}
        return losses

    def weighted(self, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is to become small: each loss times its weight."""
        return weighted_losses(losses, self.weight_dict)

    @torch.no_grad()
    def match(self, outputs: GroundingOutput, targets: Targets) -> Indices:
        """Which query is to answer for which thing: for each picture min(Q, n) pairs, the cheapest.

        Raises:
            ValueError: a prediction is not a number.
        """
        indices = []
        for number, target in enumerate(targets):
            boxes, size = outputs["pred_boxes"][number], outputs["image_sizes"][number]
            true_boxes = box_xyxy_to_cxcywh_normalized(target["boxes"].to(boxes), size)  # (n, 4)
            words = outputs["phrases"][number] >= 0  # (T,)
            logits, phrases = outputs["pred_logits"][number][:, words], outputs["phrases"][number][words]  # (Q, W)
            true = (phrases == target["labels"].to(phrases)[:, None]).to(boxes)  # (n, W)
            yes = sigmoid_focal_loss(logits, torch.ones_like(logits))  # (Q, W), what it costs if the word is true
            no = sigmoid_focal_loss(logits, torch.zeros_like(logits))  # (Q, W), and if it is not
            surprise = (yes - no) @ (true / true.sum(dim=1, keepdim=True)).T  # (Q, n), the mean over a thing's words
            distance = torch.cdist(boxes, true_boxes, p=1)  # (Q, n)
            overlap = generalized_box_iou(box_cxcywh_to_xyxy(boxes), box_cxcywh_to_xyxy(true_boxes))  # (Q, n)
            cost = self.costs["class"] * surprise + self.costs["bbox"] * distance - self.costs["giou"] * overlap
            if not cost.isfinite().all():
                raise ValueError("outputs has logits or boxes that are infinite or not a number; expected numbers")
            indices.append(cheapest_pairs(cost))
        return indices

    def loss_labels(self, outputs: GroundingOutput, targets: Targets, indices: Indices) -> Tensor:
        """Focal loss of all queries and words, summed, for each thing."""
        logits, phrases = outputs["pred_logits"], outputs["phrases"]
        true = torch.zeros(logits.shape, dtype=torch.bool, device=logits.device)  # (B, Q, T)
        for row, of_token, target, (queries, truths) in zip(true, phrases, targets, indices, strict=True):
            row[queries] = of_token == target["labels"].to(of_token)[truths][:, None]
        words = (phrases >= 0)[:, None].expand_as(logits)
        loss = sigmoid_focal_loss(logits[words], true[words].to(logits), reduction="sum")
        return loss / max(sum(len(target["labels"]) for target in targets), 1)


def _check(outputs: GroundingOutput, targets: Targets) -> None:
    if not {"pred_logits", "pred_boxes", "phrases", "image_sizes"} <= outputs.keys():
        raise ValueError(f"outputs has {', '.join(outputs)}; expected pred_logits, pred_boxes, phrases, image_sizes")
    logits, boxes, phrases = outputs["pred_logits"], outputs["pred_boxes"], outputs["phrases"]
    fits = logits.ndim == 3 and boxes.shape == (*logits.shape[:2], 4) and phrases.shape == logits.shape[::2]
    if not fits or len(outputs["image_sizes"]) != len(logits):
        came = f"pred_logits {tuple(logits.shape)}, pred_boxes {tuple(boxes.shape)}, phrases {tuple(phrases.shape)}"
        raise ValueError(f"outputs has {came}; expected (B, Q, T), (B, Q, 4), (B, T), and B image_sizes")
    check_targets(targets, len(logits))
    for number, (target, of_token) in enumerate(zip(targets, phrases, strict=True)):
        labels, count = target["labels"], int(of_token.max()) + 1
        if len(labels) and not 0 <= labels.min() <= labels.max() < count:
            came = f"the labels {labels.tolist()} in picture {number}"
            raise ValueError(f"targets has {came}; expected places of its caption's {count} phrases, from 0")


def grounding_small(
    words: tuple[str, ...], num_queries: int = 16, sub_sentence: bool = True, backbone: Backbone | None = None
) -> GroundingDINO:
    """The one of lesson 19, for toyworld at 96 × 96: 144 cells, 2 enhancer and 3 decoder layers.

    No resizing, no normalisation of pictures, no dropout.

    Args:
        words: the vocabulary. sub_sentence: see `TextEncoder`.
        backbone: pictures -> a map of stride 8, say that of a trained detector. None: `SmallBackbone()`.
    """
    dim, heads, inside = 96, 4, 256
    return GroundingDINO(
        Joiner(backbone or SmallBackbone(), PositionEmbeddingSine(dim // 2, normalize=True)),
        TextEncoder(words, dim, heads, 2, inside, sub_sentence),
        [EnhancerLayer(dim, heads, inside) for _ in range(2)],
        GroundingDecoder(dim, heads, 3, inside),
        num_queries,
        dim,
        GeneralizedRCNNTransform(None, 1333, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), size_divisible=8),
        embed_init_target=False,
        first_side=0.3,
        scaled=True,
    )
