"""What Grounding DINO thinks of one picture and one caption, step by step (lesson 19)."""

from typing import NamedTuple

import torch
from torch import Tensor

from lib.layers.text_encoder import split_caption
from lib.models.grounding import Beginning, GroundingDINO
from lib.ops.boxes import box_cxcywh_normalized_to_xyxy
from lib.ops.phrases import phrase_scores
from lib.timing import milliseconds


class Seen(NamedTuple):
    """What the detector thinks of one picture and one caption."""

    phrases: list[str]  # P
    of_token: Tensor  # (T,) int64, the phrase of each token, -1: no word
    said: Tensor  # (T, D), tokens as they left the text encoder
    features: Tensor  # (C, h, w), the backbone's map
    looks: Tensor  # (T, h, w): where tokens look in the last layer of the enhancer
    fits: Tensor  # (h, w): how well each cell fits the word that it fits best, 0..1
    begin: Beginning  # of a batch of one
    boxes: Tensor  # (1 + layers, Q, 4) xyxy pixels: after the selection and after each decoder layer
    queries: Tensor  # (n,) which of them answer
    labels: Tensor  # (n,) and for which phrase
    milliseconds: dict[str, float]  # by the name of a part


@torch.no_grad()
def look(model: GroundingDINO, image: Tensor, caption: str, threshold: float) -> Seen:
    """What the detector does, step by step, as in its `forward`.

    Raises:
        ValueError: it pads pictures of this size.
    """
    batch, text = model.transform(image[None]), model.text_encoder.tokenize([caption])
    if batch.tensors.shape[2:] != batch.image_sizes[0]:
        raise ValueError(f"image is {tuple(image.shape)}, which the model pads; expected sides that need no padding")
    features, mask, places = model.backbone(batch)  # (1, C, h, w), (1, h, w), (1, D, h, w)
    start, vision_pos = (x.flatten(2).transpose(1, 2) for x in (model.input_proj_vision(features), places))
    no_cell, words = mask.flatten(1), text.phrases >= 0  # (1, h·w), (1, T)
    heard, text_pos = model.text_encoder(text), model.text_encoder.codes(text)  # (1, T, D) each

    def enhance() -> tuple[Tensor, Tensor, Tensor]:
        vision, said = start, heard
        for layer in model.encoder:
            fused = layer(vision, said, no_cell, text.padding, text.hidden, vision_pos, text_pos)
            vision, said = fused.vision, fused.text
        return vision, said, fused.text_maps  # (1, h·w, D), (1, T, D), (1, heads, T, h·w)

    vision, said, maps = enhance()
    begin = model.begin(vision, mask, said, words)
    queries = begin.content if model.query_embed is None else model.query_embed.weight.expand_as(begin.content)
    memory = vision, no_cell, vision_pos, said, text.padding
    states, boxes = model.decoder(queries, begin.boxes, *memory)  # (layers, 1, Q, ...)
    logits = model.class_embed(states[-1:], said, words)[0, 0]  # (Q, T)
    scores = phrase_scores(logits, text.phrases[0])  # (Q, P)
    found, labels = (scores >= threshold).nonzero().unbind(1)  # (n,) each
    every = torch.cat([begin.boxes, boxes[:, 0]])  # (1 + layers, Q, 4)
    took = {
        "text": milliseconds(lambda: model.text_encoder(text)),
        "backbone": milliseconds(lambda: model.backbone(batch)),
        "enhancer": milliseconds(enhance),
        "selection": milliseconds(lambda: model.begin(vision, mask, said, words)),
        "decoder": milliseconds(lambda: model.decoder(queries, begin.boxes, *memory)),
        "answers": milliseconds(lambda: model.class_embed(states, said, words)),
    }
    return Seen(
        split_caption(caption), text.phrases[0].cpu(), heard[0].cpu(), features[0].cpu(),
        maps[0].mean(0).unflatten(1, mask.shape[1:]).cpu(),
        begin.fit[0].max(1).values.sigmoid().view(mask.shape[1:]).cpu(), begin,
        box_cxcywh_normalized_to_xyxy(every.flatten(0, 1), (image.shape[1], image.shape[2])).view_as(every).cpu(),
        found.cpu(), labels.cpu(), took,
    )  # fmt: skip
