"""SAM drawn whole, like the models before it: a picture is encoded once, prompts are answered often (lesson 17)."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lib.layers.prompt_encoder import FOREGROUND
from lib.models.sam import Sam
from lib.timing import milliseconds
from lib.viz.detection.boxes import show_picture
from lib.viz.diagrams.panels import Draw, asking, feature_map, shape_of, tile_places, tiles, vectors
from lib.viz.diagrams.system import Loss, Plan, Stage
from lib.viz.masks.query_masks import glow
from lib.viz.prompts.looks import looks_of_token
from lib.viz.prompts.paint import BEST, MASK
from lib.viz.prompts.still import show_points

OWN = 5  # tokens that the decoder brings itself: one for the guess of IoU, four for masks


def draw_sam(model: Sam, image: Tensor, point: tuple[int, int], timed: bool = True) -> Figure:
    """SAM on a picture and one click: one embedding of the picture, tokens of the prompt, three masks, three guesses.

    The decoder's tile shows where the click's token looks in each block and at the end. Of the three masks the one that
    is guessed to be best is in orange, and so is its guess.

    Args:
        model: in eval mode.
        image: (3, S, S), of the encoder's size.
        point: x, y of the pixel that is clicked.
        timed: with the times.

    Raises:
        ValueError: the picture has another size, or the pixel lies outside of it.
    """
    return sam_plan(model, image, point).draw(timed)


@torch.no_grad()
def sam_plan(model: Sam, image: Tensor, point: tuple[int, int]) -> Plan:
    """The stages: picture, its embedding; tokens of the prompt, two-way decoder; enlarged map, masks; guesses."""
    size = model.image_encoder.img_size
    if image.shape != (3, size, size):
        raise ValueError(f"image is {tuple(image.shape)}; expected {(3, size, size)}, as the encoder takes it")
    if not all(0 <= place < size for place in point):
        raise ValueError(f"point is {point}; expected x and y from 0 to {size - 1}")
    on, decoder = model.pixel_mean.device, model.mask_decoder
    image = image.to(on)
    points = torch.tensor([[point]], dtype=torch.float32, device=on)  # (1, 1, 2)
    labels = torch.tensor([[FOREGROUND]], device=on)  # (1, 1)
    embedding = model.encode(image[None])  # (1, D, h, w)
    sparse, dense = model.prompt_encoder(points, labels)  # (1, 2, D), (1, D, h, w)
    if model.phrase_encoder is not None:
        sparse = torch.cat([sparse, model.phrase_encoder([""])], dim=1)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])[None]  # (1, 5, D)
    tokens, places = torch.cat([own, sparse], dim=1), model.prompt_encoder.get_dense_pe()
    states, cells = decoder.transformer(embedding + dense, places, tokens)  # (1, 5 + N, D), (1, h·w, D)
    answered = cells.transpose(1, 2).unflatten(2, embedding.shape[2:])  # (1, D, h, w)
    pixels = decoder.output_upscaling(answered)  # (1, D/8, 4h, 4w)
    mlps, three = decoder.output_hypernetworks_mlps, range(1, decoder.num_mask_tokens)
    output = model(embedding, points, labels).several()
    masks, ious = output.masks[0].cpu(), output.ious[0].cpu()  # (3, 4h, 4w), (3,)
    best = int(ious.argmax())
    colours = [BEST if number == best else MASK for number in range(len(masks))]
    drawn = [glow(image, mask.sigmoid(), colour) for mask, colour in zip(masks, colours, strict=True)]
    looks = looks_of_token(model, lambda: model(embedding, points, labels), OWN)

    def draw_masks() -> Tensor:
        made = torch.stack([mlps[number](states[:, 1 + number]) for number in three], dim=1)  # (1, 3, D/8)
        return torch.einsum("pmc,pchw->pmhw", made, pixels)

    stages = (
        Stage("picture,\nand a click", _clicked(image, points[0]), shape_of(image)),
        Stage("ViT: embedding,\nonce a picture", feature_map(embedding[0]),
              f"{shape_of(embedding[0])};\nkept for all prompts", milliseconds(lambda: model.encode(image[None])),
              new=True),
        Stage("prompt as tokens,\n5 own ones above", vectors(tokens[0].cpu()),
              f"{shape_of(tokens[0])}; own:\nfor IoU, for 4 masks",
              milliseconds(lambda: model.prompt_encoder(points, labels)), new=True, after=0),
        Stage(f"two-way decoder\n× {len(decoder.transformer.layers)}", asking(image, torch.stack(list(looks.values()))),
              f"{shape_of(states[0])};\nwhere the click looks",
              milliseconds(lambda: decoder.transformer(embedding + dense, places, tokens)), new=True, also=1),
        Stage("the map, as tokens\nleft it, enlarged", feature_map(pixels[0]),
              f"{shape_of(pixels[0])};\na vector a pixel", milliseconds(lambda: decoder.output_upscaling(answered))),
        Stage("× vectors of mask\ntokens = 3 masks", tiles(drawn), f"{shape_of(masks)};\norange: guessed best",
              milliseconds(draw_masks), new=True),
        Stage("how good is\neach of them?", _guesses(ious, colours), f"{shape_of(ious)} guesses\nof their IoU",
              milliseconds(lambda: decoder.iou_prediction_head(states[:, 0])), new=True, after=3),
    )  # fmt: skip
    losses = (
        Loss("the closest mask: in it? (focal)", 5, 1),
        Loss("the closest mask: overlap? (dice)", 5, 1),
        Loss("how far off is the guess?", 6, 1, past=(4, 5)),
    )
    return Plan(stages, losses, "SAM: one embedding for a picture, three masks for a click, a guess of each one's IoU")


def _clicked(image: Tensor, points: Tensor) -> Draw:
    def draw(axis: Axes) -> None:
        show_picture(axis, image)
        show_points(axis, points, size=11)
        axis.set(xlim=(0, image.shape[2]), ylim=(image.shape[1], 0))

    return draw


def _guesses(ious: Tensor, colours: list[str]) -> Draw:
    """The guesses as numbers, each where its mask's tile is."""

    def draw(axis: Axes) -> None:
        for (x, y, side), guess, colour in zip(tile_places(len(ious)), ious.tolist(), colours, strict=True):
            axis.text(x + side / 2, y + side / 2, f"{guess:.2f}", ha="center", va="center", fontsize=11, color=colour)
        axis.set(xlim=(0, 1), ylim=(0, 1), facecolor="white")

    return draw
