import math

import pytest
import torch
from transformers.models.detr.modeling_detr import DetrLearnedPositionEmbedding, DetrSinePositionEmbedding

from lib.layers.position import PositionEmbeddingLearned, PositionEmbeddingSine


def some_masks():
    """A picture of 4 × 6 cells, and one of 3 × 2 that is padded to the same size."""
    mask = torch.zeros(2, 4, 6, dtype=torch.bool)
    mask[1, 3:], mask[1, :, 2:] = True, True
    return mask


def test_two_rows_and_three_columns_by_hand():
    code = PositionEmbeddingSine(4, normalize=True)(torch.zeros(1, 2, 3, dtype=torch.bool))
    assert code.shape == (1, 8, 2, 3)
    y, x = math.pi, 4 * math.pi / 3  # the first of two rows, the second of three columns; the end is 2π
    waves = [[math.sin(a), math.cos(a), math.sin(a / 100), math.cos(a / 100)] for a in (y, x)]
    torch.testing.assert_close(code[0, :, 0, 1], torch.tensor(waves[0] + waves[1]), rtol=0, atol=1e-5)


def test_cells_are_counted_where_places_are_not_normalised():
    code = PositionEmbeddingSine(2)(torch.zeros(1, 5, 5, dtype=torch.bool))
    expected = torch.tensor([math.sin(3), math.cos(3), math.sin(4), math.cos(4)])  # the third row, the fourth column
    torch.testing.assert_close(code[0, :, 2, 3], expected)


@pytest.mark.parametrize("normalize", [False, True])
def test_waves_equal_transformers(normalize):
    mask = some_masks()
    theirs = DetrSinePositionEmbedding(10, normalize=normalize)
    expected = theirs(shape=(2, 20, 4, 6), device=mask.device, dtype=torch.float32, mask=~mask)
    torch.testing.assert_close(PositionEmbeddingSine(10, normalize=normalize)(mask), expected, rtol=0, atol=1e-6)


def test_padding_does_not_count():
    code, alone = PositionEmbeddingSine(6, normalize=True), torch.zeros(1, 3, 2, dtype=torch.bool)
    torch.testing.assert_close(code(some_masks())[1, :, :3, :2], code(alone)[0])


def test_a_picture_of_twice_the_size_has_the_same_codes_twice_as_dense():
    small, large = (torch.zeros(1, *size, dtype=torch.bool) for size in ((3, 4), (6, 8)))
    code = PositionEmbeddingSine(6, normalize=True)
    torch.testing.assert_close(code(large)[:, :, 1::2, 1::2], code(small), rtol=0, atol=1e-5)


def test_learned_codes_equal_transformers():
    torch.manual_seed(0)
    ours, theirs = PositionEmbeddingLearned(5), DetrLearnedPositionEmbedding(5)
    names = {"row_embed.weight": "row_embeddings.weight", "col_embed.weight": "column_embeddings.weight"}
    theirs.load_state_dict({names[name]: tensor for name, tensor in ours.state_dict().items()}, strict=True)
    mask = some_masks()
    expected = theirs(shape=(2, 10, 4, 6), device=mask.device, dtype=torch.float32)
    code = ours(mask)
    assert torch.equal(code, expected) and code.shape == (2, 10, 4, 6)
    code.sum().backward()
    assert ours.row_embed.weight.grad[:4].eq(12).all() and ours.row_embed.weight.grad[4:].eq(0).all()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: PositionEmbeddingSine(5), "num_pos_feats"),
        (lambda: PositionEmbeddingSine(4, scale=1.0), "scale"),
        (lambda: PositionEmbeddingSine(4)(torch.zeros(1, 2, 3)), "mask"),
        (lambda: PositionEmbeddingSine(4)(torch.zeros(2, 3, dtype=torch.bool)), "mask"),
        (lambda: PositionEmbeddingLearned(4)(torch.zeros(1, 2, 51, dtype=torch.bool)), "mask"),
        (lambda: PositionEmbeddingLearned(4)(torch.zeros(1, 2, 3)), "mask"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
