import pytest
import torch

from lib.datasets.photos import crop_square, load_photo
from lib.layers.joiner import Joiner
from lib.layers.pixel_decoder import PixelDecoder
from lib.layers.position import PositionEmbeddingSine
from lib.layers.small_backbone import SmallBackbone
from lib.layers.transformer import Transformer
from lib.models.detr import DETR
from lib.models.maskformer import MaskFormer
from lib.pretrained import (
    LAST_MAP_CELLS,
    detr_from_transformers,
    detr_to_transformers,
    efficientnet_lite0,
    halfway_features,
    imagenet_classes,
    maskformer_from_transformers,
    maskformer_to_transformers,
    prepare,
    rename,
)


@pytest.fixture(scope="module")
def network():
    return efficientnet_lite0()


@pytest.mark.parametrize(
    "name, wanted",
    [
        ("chelsea", {"tabby", "tiger cat", "Egyptian cat"}),
        ("coffee", {"espresso"}),
        ("rocket", {"missile"}),
    ],
)
def test_the_network_recognises_the_photos(network, name, wanted):
    with torch.no_grad():
        scores = network(prepare(crop_square(load_photo(name), 224)))
    assert imagenet_classes()[scores.argmax().item()] in wanted


def test_the_last_map_sees_what_its_cells_say(network):
    picture = torch.rand(1, 3, 896, 896).requires_grad_()
    network.forward_features(picture)[0, :, 13, 13].sum().backward()
    touched = picture.grad.abs().sum(dim=(0, 1)).nonzero()  # (P, 2)
    first, last = LAST_MAP_CELLS.span(13)
    assert touched.min(dim=0).values.tolist() == [first, first]
    assert touched.max(dim=0).values.tolist() == [last, last]
    assert LAST_MAP_CELLS.middle(13) == (first + last + 1) / 2


def test_the_network_comes_ready_to_use(network):
    assert not network.training
    assert sum(p.numel() for p in network.parameters()) == 4_652_008
    with torch.no_grad():
        assert network.forward_features(torch.zeros(1, 3, 64, 96)).shape == (1, 1280, 2, 3)


def test_halfway_features_are_the_fifth_stages_in_four_quarters(network):
    torch.manual_seed(0)
    crops, seen = torch.rand(2, 3, 64, 64), []
    hook = network.blocks[4].register_forward_hook(lambda module, inputs, output: seen.append(output))
    with torch.no_grad():
        network(prepare(crops))
        features = halfway_features(network, crops)
    hook.remove()
    maps = seen[0]
    assert maps.shape == (2, 112, 4, 4) and features.shape == (2, 448)
    torch.testing.assert_close(features.view(2, 112, 2, 2)[:, :, 1, 0], maps[:, :, 2:, :2].mean((2, 3)))


def test_class_names():
    names = imagenet_classes()
    assert len(names) == 1000
    assert [names[i] for i in (281, 282, 285, 657, 967)] == [
        "tabby",
        "tiger cat",
        "Egyptian cat",
        "missile",
        "espresso",
    ]


def test_prepare_maps_0_to_1_onto_minus_1_to_1():
    photo = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1).expand(3, 2, 2)
    assert prepare(photo)[0, :, 0, 0].tolist() == [-1, 0, 1]
    assert prepare(photo[None].expand(4, 3, 2, 2)).shape == (4, 3, 2, 2)


@pytest.mark.parametrize(
    "photo", [torch.zeros(2, 2), torch.zeros(1, 4, 2, 2), torch.zeros(3, 2, 2, dtype=torch.uint8), "cat"]
)
def test_bad_input_is_named(photo):
    with pytest.raises(ValueError, match="^photo "):
        prepare(photo)


def detr_state():
    """Our names, but those of the backbone, with small tensors of which no two are alike."""
    torch.manual_seed(0)
    joiner = Joiner(SmallBackbone(2), PositionEmbeddingSine(4))
    state = DETR(joiner, Transformer(8, 2, 1, 11, 6), num_classes=3, num_queries=2).state_dict()
    state = {name: torch.randn_like(one) for name, one in state.items() if not name.startswith("backbone.")}
    return state | {"backbone.0.body.layer4.0.conv1.weight": torch.randn(2, 2, 1, 1)}


def test_names_of_transformers_detr_and_back():
    ours = detr_state()
    theirs = detr_to_transformers(ours)
    assert not set(ours) & set(theirs) and len(theirs) == len(ours) + 2 * 2 * (1 + 2 * 11)  # one in_proj becomes three
    layer = "transformer.decoder.layers.10"  # a number of two digits
    query, key, value = ours[f"{layer}.multihead_attn.in_proj_bias"].chunk(3)
    for letter, part in zip("qkv", (query, key, value)):
        assert torch.equal(theirs[f"model.decoder.layers.10.encoder_attn.{letter}_proj.bias"], part)
    assert torch.equal(theirs["model.decoder.layers.10.encoder_attn_layer_norm.weight"], ours[f"{layer}.norm2.weight"])
    assert torch.equal(
        theirs["model.encoder.layers.0.final_layer_norm.weight"], ours["transformer.encoder.layers.0.norm2.weight"]
    )
    back = detr_from_transformers(theirs)
    assert back.keys() == ours.keys() and all(torch.equal(back[name], ours[name]) for name in ours)
    shuffled = detr_from_transformers(dict(reversed(theirs.items())))
    assert all(torch.equal(shuffled[name], ours[name]) for name in ours)


def test_renames_are_strict():
    theirs = detr_to_transformers(detr_state())
    for call in (
        lambda: detr_from_transformers(theirs | {"model.mask_head.weight": torch.zeros(1)}),
        lambda: detr_to_transformers(theirs),
        lambda: detr_from_transformers(
            {name: one for name, one in theirs.items() if name != "model.encoder.layers.0.self_attn.k_proj.bias"}
        ),
        lambda: rename({"abc": torch.zeros(1)}, [("b", "x")]),
    ):
        with pytest.raises(ValueError, match="^state_dict "):
            call()


def maskformer_state():
    """Our names, of the backbone only a few, with small tensors of which no two are alike."""
    torch.manual_seed(0)
    parts = torch.nn.Identity(), PixelDecoder([2, 3, 4, 5], 8, 6, groups=2), Transformer(8, 2, 0, 11, 6)
    state = MaskFormer(*parts, num_classes=3, num_queries=2).state_dict()
    state = {name: torch.randn_like(one) for name, one in state.items()}
    block = "backbone.layer4.2."
    return state | {f"{block}conv3.weight": torch.randn(2, 2, 1, 1), f"{block}bn3.running_mean": torch.randn(2)}


def test_names_of_transformers_maskformer_and_back():
    ours = maskformer_state()
    theirs = maskformer_to_transformers(ours)
    # One in_proj becomes three; a normalisation counts its batches; the loss keeps its weights.
    assert not set(ours) & set(theirs) and len(theirs) == len(ours) + 2 * 2 * 2 * 11 + 1 + 1
    assert theirs["criterion.empty_weight"].tolist() == pytest.approx([1, 1, 1, 0.1])
    end, layer = "layers.2.layer.2.normalization", "decoder.layers.10"
    assert theirs[f"model.pixel_level_module.encoder.encoder.stages.3.{end}.num_batches_tracked"] == 0
    pyramid = "model.pixel_level_module.decoder.fpn"
    for name, other in {
        "pixel_decoder.adapters.0.0.weight": f"{pyramid}.layers.2.proj.0.weight",
        "pixel_decoder.adapters.2.1.bias": f"{pyramid}.layers.0.proj.1.bias",
        "pixel_decoder.layers.2.0.weight": f"{pyramid}.layers.0.block.0.weight",
        "pixel_decoder.layers.3.1.weight": f"{pyramid}.stem.1.weight",
        f"transformer.{layer}.norm2.bias": f"model.transformer_module.{layer}.encoder_attn_layer_norm.bias",
        "mask_embed.layers.1.bias": "mask_embedder.1.0.bias",
    }.items():
        assert torch.equal(ours[name], theirs[other])
    back = maskformer_from_transformers(theirs)
    assert back.keys() == ours.keys() and all(torch.equal(back[name], ours[name]) for name in ours)


def test_renames_of_maskformer_are_strict():
    theirs = maskformer_to_transformers(maskformer_state())
    without = "model.transformer_module.decoder.layers.0.self_attn.k_proj.bias"
    for call in (
        lambda: maskformer_from_transformers(theirs | {"model.transformer_module.encoder.weight": torch.zeros(1)}),
        lambda: maskformer_from_transformers({name: one for name, one in theirs.items() if name != without}),
        lambda: maskformer_to_transformers(theirs),
    ):
        with pytest.raises(ValueError, match="^state_dict "):
            call()
