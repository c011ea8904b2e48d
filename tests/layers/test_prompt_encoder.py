"""Prompts as tokens: equal to the official prompt encoder; codes of places; words."""

import itertools

import pytest
import torch
from segment_anything.modeling import prompt_encoder as peer

from lib.layers.prompt_encoder import PhraseEncoder, PositionEmbeddingRandom, PromptEncoder
from tests.models.peers import redraw_transformer

CONFIGURATION = (12, (3, 4), (48, 64), 8)  # D, cells, pixels, channels inside


@pytest.fixture(scope="module")
def pair():
    theirs, ours = peer.PromptEncoder(*CONFIGURATION), PromptEncoder(*CONFIGURATION)
    redraw_transformer(theirs)
    theirs.pe_layer.positional_encoding_gaussian_matrix.normal_(generator=torch.Generator().manual_seed(1))
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return ours, theirs


def some_points():
    generator = torch.Generator().manual_seed(2)
    points = torch.rand(5, 4, 2, generator=generator) * torch.tensor([64.0, 48])
    return points, torch.randint(-1, 2, (5, 4), generator=generator)


def some_boxes():
    corners = torch.rand(5, 2, 2, generator=torch.Generator().manual_seed(3)) * torch.tensor([64.0, 48])
    return corners.sort(dim=1).values.flatten(1)


def some_masks():
    return 4 * torch.randn(5, 1, 12, 16, generator=torch.Generator().manual_seed(4))


@torch.no_grad()
@pytest.mark.parametrize(("clicked", "boxed", "masked"), list(itertools.product((False, True), repeat=3))[1:])
def test_equals_the_official_encoder(pair, clicked, boxed, masked):
    ours, theirs = pair
    points, labels = some_points() if clicked else (None, None)
    boxes, masks = some_boxes() if boxed else None, some_masks() if masked else None
    answers = ours(points, labels, boxes, masks)
    expected = theirs((points, labels) if clicked else None, boxes, masks)
    number = (4 + (not boxed)) * clicked + 2 * boxed
    assert answers[0].shape == (5, number, 12) and answers[1].shape == (5, 12, 3, 4)
    for mine, other in zip(answers, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.get_dense_pe(), theirs.get_dense_pe(), rtol=0, atol=1e-5)


def test_weights_go_back(pair):
    ours, theirs = pair
    theirs.load_state_dict(ours.state_dict(), strict=True)


@torch.no_grad()
def test_a_box_is_two_points_of_two_types_and_no_point_has_no_place(pair):
    ours, _ = pair
    boxes = some_boxes()
    corners, types = boxes.view(5, 2, 2), torch.tensor([2, 3]).expand(5, 2)
    tokens, dense = ours(corners, types)
    torch.testing.assert_close(tokens[:, :2], ours(boxes=boxes)[0])
    assert torch.equal(tokens[:, 2], ours.not_a_point_embed.weight.expand(5, -1))
    assert torch.equal(dense, ours.no_mask_embed.weight[0].view(1, 12, 1, 1).expand(5, 12, 3, 4))
    nowhere = torch.full((5, 2), -1)
    assert torch.equal(ours(corners, nowhere)[0], ours(corners + 7, nowhere)[0])


@torch.no_grad()
def test_points_may_be_whole_or_exact_numbers(pair):
    ours, _ = pair
    points, labels = some_points()
    whole = points.long()
    for same in (whole.float(), whole.double()):
        torch.testing.assert_close(ours(whole, labels)[0], ours(same, labels.int())[0])


def test_every_parameter_learns(pair):
    ours, _ = pair
    points, labels = some_points()
    ours.zero_grad()
    for prompt in ((points, labels, some_boxes(), some_masks()), (points, labels, None, None)):
        tokens, dense = ours(*prompt)
        (tokens.mul(torch.rand_like(tokens)).sum() + dense.mul(torch.rand_like(dense)).sum()).backward()
    assert [name for name, one in ours.named_parameters() if not one.grad.abs().sum() > 0] == []


# ------------------------------------------------------------------------------------------------ places


@torch.no_grad()
def test_codes_of_a_map_are_those_of_its_cells_middles():
    layer = PositionEmbeddingRandom(6)
    codes = layer((3, 5))
    assert codes.shape == (12, 3, 5)
    for row in range(3):
        for column in range(5):
            place = torch.tensor([(column + 0.5) / 5, (row + 0.5) / 3])
            torch.testing.assert_close(codes[:, row, column], layer.of_places(place))
    assert list(layer.parameters()) == [] and list(layer.state_dict()) == ["positional_encoding_gaussian_matrix"]


@torch.no_grad()
def test_codes_are_alike_where_places_are_near():
    torch.manual_seed(0)
    layer = PositionEmbeddingRandom(5000)
    places = torch.rand(20, 2)
    steps = torch.tensor([[0.0, 0], [0.05, 0], [0, 0.05], [0.1, 0], [0.06, 0.08], [0.3, 0]])
    codes = layer.of_places(places[:, None] + steps)  # (20, 6, D)
    alike = (codes[:, :1] * codes).sum(-1) / 5000  # (20, 6)
    expected = torch.exp(-8 * torch.pi**2 * steps.square().sum(1))  # what Gaussian waves give on average
    torch.testing.assert_close(alike, expected.expand(20, -1), rtol=0, atol=0.05)
    torch.testing.assert_close(alike, alike[:1].expand(20, -1), rtol=0, atol=1e-4)  # the same wherever one begins


# ------------------------------------------------------------------------------------------------ words


@torch.no_grad()
def test_a_word_is_a_vector():
    encoder = PhraseEncoder(("small", "red", "cone"), 5)
    tokens = encoder(["Red cone", "", "small red CONE"])
    none, small, red, cone = encoder.embed.weight
    expected = torch.stack([red, cone, none, none, none, none, small, red, cone]).view(3, 3, 5)
    assert torch.equal(tokens, expected)
    assert encoder([]).shape == (0, 3, 5)


BAD = PromptEncoder(*CONFIGURATION)
WORDS = PhraseEncoder(("small", "red", "cone"), 4)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: PromptEncoder(7, (3, 4), (48, 64)), "embed_dim"),
        (lambda: PromptEncoder(8, (3, 4), (48, 64), 6), "mask_in_chans"),
        (lambda: BAD(), "points, boxes and masks"),
        (lambda: BAD(torch.zeros(2, 2), torch.ones(2)), "points"),
        (lambda: BAD(torch.zeros(2, 1, 3), torch.ones(2, 1)), "points"),
        (lambda: BAD(torch.zeros(2, 1, 2)), "labels"),
        (lambda: BAD(torch.zeros(2, 1, 2), torch.ones(2)), "labels"),
        (lambda: BAD(torch.zeros(2, 1, 2), torch.ones(1, 1)), "labels"),
        (lambda: BAD(None, torch.ones(2, 1), torch.zeros(2, 4)), "labels"),
        (lambda: BAD(torch.zeros(2, 1, 2), torch.full((2, 1), 4)), "labels"),
        (lambda: BAD(torch.zeros(2, 1, 2), torch.full((2, 1), -2)), "labels"),
        (lambda: BAD(boxes=torch.zeros(4)), "boxes"),
        (lambda: BAD(boxes=torch.zeros(2, 2, 2)), "boxes"),
        (lambda: BAD(torch.zeros(2, 1, 2), torch.ones(2, 1), torch.zeros(3, 4)), "boxes"),
        (lambda: BAD(masks=torch.zeros(2, 12, 16)), "masks"),
        (lambda: BAD(masks=torch.zeros(2, 1, 48, 64)), "masks"),
        (lambda: BAD(masks=torch.ones(2, 1, 12, 16, dtype=torch.bool)), "masks"),
        (lambda: BAD(boxes=torch.zeros(3, 4), masks=torch.zeros(2, 1, 12, 16)), "masks"),
        (lambda: WORDS(["blue cone"]), "phrases"),
        (lambda: WORDS(["small red red cone"]), "phrases"),
        (lambda: WORDS("cone"), "phrases"),
        (lambda: PhraseEncoder(("Red",), 4), "words"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
