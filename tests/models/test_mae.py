"""Masked autoencoder: patches and loss as transformers', what is hidden stays hidden, everything learns."""

import pytest
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining

from lib.layers.vit import ImageEncoderViT
from lib.models.mae import (
    MAEOutput,
    MaskedAutoencoder,
    mae_loss,
    mae_small,
    normalized_patches,
    patchify,
    random_masking,
    start_from,
    unpatchify,
)
from lib.models.sam import sam_small
from tests.models.peers import redraw_transformer


def tiny():
    """4 × 4 patches of 8 × 8 pixels, windows and relative places included."""
    torch.manual_seed(0)
    encoder = ImageEncoderViT(32, 8, 16, 2, 2, 8, window_size=3, global_attn_indexes=(1,))
    return MaskedAutoencoder(encoder, 12, 2, 2)


def their_layout(patches):
    """(B, N, 3 · p · p), channels first -> as in transformers, where a pixel's three colours stand together."""
    side = round((patches.shape[2] // 3) ** 0.5)
    return patches.unflatten(2, (3, side * side)).transpose(2, 3).flatten(2)


# ------------------------------------------------------------------------------------------------ patches


@pytest.mark.parametrize(("channels", "height", "width", "side"), [(3, 8, 12, 4), (1, 6, 3, 3), (2, 5, 7, 1)])
def test_patches_and_back(channels, height, width, side):
    images = torch.rand(2, channels, height, width)
    patches = patchify(images, side)
    assert patches.shape == (2, height // side * (width // side), channels * side * side)
    for number in range(patches.shape[1]):
        top, left = number // (width // side) * side, number % (width // side) * side
        assert torch.equal(patches[:, number], images[:, :, top : top + side, left : left + side].flatten(1))
    assert torch.equal(unpatchify(patches, side, (height, width)), images)


@pytest.fixture(scope="module")
def theirs():
    config = ViTMAEConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=16, patch_size=4,
        decoder_hidden_size=8, decoder_num_hidden_layers=1, decoder_num_attention_heads=1, decoder_intermediate_size=8,
    )  # fmt: skip
    return ViTMAEForPreTraining(config).eval()


@torch.no_grad()
@pytest.mark.parametrize("norm_pix", [True, False])
def test_patches_and_loss_equal_transformers(theirs, norm_pix):
    theirs.config.norm_pix_loss = norm_pix
    images, noise = torch.rand(3, 3, 16, 16), torch.rand(3, 16)
    assert torch.equal(their_layout(patchify(images, 4)), theirs.patchify(images))
    expected = theirs(images, noise=noise)
    predicted = expected.logits.unflatten(2, (16, 3)).transpose(2, 3).flatten(2)  # in our layout
    assert torch.equal(unpatchify(predicted, 4, (16, 16)), theirs.unpatchify(expected.logits))
    hidden = expected.mask.bool()
    assert hidden.sum(1).tolist() == [12, 12, 12]
    loss = mae_loss(MAEOutput(predicted, hidden), images, 4, norm_pix)
    torch.testing.assert_close(loss, expected.loss)


def test_patches_are_normalised():
    patches = normalized_patches(5 + 3 * torch.rand(2, 4, 48))
    torch.testing.assert_close(patches.mean(2), torch.zeros(2, 4), rtol=0, atol=1e-4)
    torch.testing.assert_close(patches.std(2), torch.ones(2, 4), rtol=0, atol=1e-4)
    assert not normalized_patches(torch.full((1, 2, 48), 0.5)).any(), "one colour has no pattern"


def test_the_loss_counts_hidden_patches_only():
    images = torch.rand(2, 3, 8, 12)
    hidden = torch.tensor([[True, False, False, True, False, False], [False] * 5 + [True]])
    predicted = torch.randn(2, 6, 48, requires_grad=True)
    loss = mae_loss(MAEOutput(predicted, hidden), images, 4, norm_pix=False)
    torch.testing.assert_close(loss, (predicted - patchify(images, 4))[hidden].square().mean())
    loss.backward()
    assert torch.equal(predicted.grad.abs().sum(2) > 0, hidden)
    nothing = mae_loss(MAEOutput(predicted, torch.zeros(2, 6).bool()), images, 4)
    assert nothing.item() == 0


# ------------------------------------------------------------------------------------------------ masking


@pytest.mark.parametrize(
    ("patches", "ratio", "visible"), [(144, 0.75, 36), (16, 0.75, 4), (10, 0.0, 10), (7, 0.5, 3), (3, 0.6, 1)]
)
def test_so_many_patches_stay(patches, ratio, visible):
    keep, hidden = random_masking(5, patches, ratio)
    assert keep.shape == (5, visible) and keep.dtype == torch.int64 and hidden.shape == (5, patches)
    assert (keep[:, 1:] > keep[:, :-1]).all() and keep.min() >= 0 and keep.max() < patches
    assert (hidden.sum(1) == patches - visible).all() and not hidden.gather(1, keep).any()


def test_all_patches_are_equally_likely_and_a_seed_repeats():
    keep, hidden = random_masking(4000, 16, 0.75, torch.Generator().manual_seed(0))
    assert (hidden.float().mean(0) - 0.75).abs().max() < 0.03
    both = (~hidden).float().T @ (~hidden).float() / 4000
    assert (both[~torch.eye(16).bool()] - 4 / 16 * 3 / 15).abs().max() < 0.02, "pairs too"
    assert torch.equal(keep, random_masking(4000, 16, 0.75, torch.Generator().manual_seed(0))[0])
    assert len(hidden.unique(dim=0)) > 1000, "each picture has its own"


# ------------------------------------------------------------------------------------------------ the model


@torch.no_grad()
def test_hidden_pixels_are_not_seen_and_visible_ones_are():
    model, images = tiny(), torch.rand(2, 3, 32, 32)
    redraw_transformer(model)
    keep, hidden = random_masking(2, 16, 0.75, torch.Generator().manual_seed(1))
    output = model(images, keep)
    assert output.predicted.shape == (2, 16, 192) and torch.equal(output.hidden, hidden)
    pixels = patchify(images, 8)
    pixels[hidden] = torch.rand(24, 192)
    assert torch.equal(model(unpatchify(pixels, 8, (32, 32)), keep).predicted, output.predicted)
    pixels[0, keep[0, 2]] = torch.rand(192)
    changed = (model(unpatchify(pixels, 8, (32, 32)), keep).predicted - output.predicted).abs().amax(2) > 1e-5
    assert changed[0].all() and not changed[1].any(), "all patches of that picture, none of the other"


@torch.no_grad()
def test_places_are_kept():
    """The same patches in another order of `keep` are the same picture; at other places they are another."""
    model, images = tiny(), torch.rand(1, 3, 32, 32)
    redraw_transformer(model)
    keep = torch.tensor([[1, 6, 8, 15]])
    expected = model(images, keep).predicted
    torch.testing.assert_close(model(images, keep[:, [2, 0, 3, 1]]).predicted, expected)
    moved = patchify(images, 8)[:, [1, 0, *range(2, 16)]]
    other = model(unpatchify(moved, 8, (32, 32)), torch.tensor([[0, 6, 8, 15]])).predicted
    assert not torch.allclose(other, expected, atol=1e-3)


def test_everything_learns_but_what_the_encoder_does_not_use_yet():
    model, images = tiny(), torch.rand(2, 3, 32, 32)
    keep, _ = random_masking(2, 16, 0.75)
    mae_loss(model(images, keep), images, 8).backward()
    still = {name for name, one in model.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0}
    assert still == {name for name, _ in model.named_parameters() if ".rel_pos_" in name or ".neck." in name}


def test_the_small_one_learns_the_encoder_of_sam():
    torch.manual_seed(0)
    sam = sam_small()
    model, images = mae_small(sam.image_encoder), torch.rand(2, 3, 96, 96)
    assert model.encoder is sam.image_encoder
    keep, _ = random_masking(2, 144, 0.75)
    output = model(images, keep)
    assert output.predicted.shape == (2, 144, 192) and output.hidden.sum() == 2 * 108
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(4):
        optimiser.zero_grad()
        loss = mae_loss(model(images, keep), images, 8)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


# ------------------------------------------------------------------------------------------------ bad input

TINY, PICTURES = tiny(), torch.zeros(2, 3, 32, 32)
KEEP = torch.tensor([[0, 1], [2, 3]])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: patchify(torch.zeros(3, 8, 8), 4), "images"),
        (lambda: patchify(torch.zeros(1, 3, 8, 10), 4), "images"),
        (lambda: patchify(torch.zeros(1, 3, 8, 8), 0), "patch_size"),
        (lambda: unpatchify(torch.zeros(1, 6, 48), 4, (8, 8)), "patches"),
        (lambda: unpatchify(torch.zeros(1, 4, 50), 4, (8, 8)), "patches"),
        (lambda: unpatchify(torch.zeros(1, 4, 48), 4, (8, 9)), "size"),
        (lambda: random_masking(2, 16, 1.0), "ratio"),
        (lambda: random_masking(2, 16, -0.1), "ratio"),
        (lambda: random_masking(2, 16, 0.99), "ratio"),
        (lambda: MaskedAutoencoder(TINY.encoder, 10, 1, 2), "dim"),
        (lambda: MaskedAutoencoder(TINY.encoder, 12, 1, 5), "num_heads"),
        (lambda: TINY(torch.zeros(2, 3, 40, 32), KEEP), "images"),
        (lambda: TINY(torch.zeros(3, 32, 32), KEEP), "images"),
        (lambda: TINY(PICTURES, KEEP[:1]), "keep"),
        (lambda: TINY(PICTURES, KEEP[0]), "keep"),
        (lambda: TINY(PICTURES, KEEP.float()), "keep"),
        (lambda: TINY(PICTURES, KEEP + 14), "keep"),
        (lambda: TINY(PICTURES, KEEP - 1), "keep"),
        (lambda: mae_loss(TINY(PICTURES, KEEP), PICTURES, 4), "output"),
        (lambda: mae_loss(TINY(PICTURES, KEEP), PICTURES[:1], 8), "output"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()


def test_an_encoder_starts_from_what_was_learned_but_for_its_neck():
    torch.manual_seed(1)
    taught, encoder = tiny(), ImageEncoderViT(32, 8, 16, 2, 2, 8, window_size=3, global_attn_indexes=(1,))
    redraw_transformer(taught)
    before = {name: one.clone() for name, one in encoder.state_dict().items()}
    start_from(encoder, taught)
    for name, one in encoder.state_dict().items():
        assert one.equal(before[name] if name.startswith("neck") else taught.encoder.state_dict()[name]), name
    with pytest.raises(RuntimeError, match="size mismatch"):
        start_from(ImageEncoderViT(32, 8, 32, 2, 2, 8, window_size=3, global_attn_indexes=(1,)), taught)
