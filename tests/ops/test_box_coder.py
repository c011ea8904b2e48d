import pytest
import torch
from torchvision.models.detection._utils import BoxCoder as Theirs

from lib.ops.box_coder import BoxCoder


def some_boxes(count, seed=0, size=100):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 4, generator=generator) * size
    return torch.cat([torch.minimum(corners[:, :2], corners[:, 2:]), torch.maximum(corners[:, :2], corners[:, 2:])], 1)


WEIGHTS = [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0), (1.0, 2.0, 3.0, 4.0)]


@pytest.mark.parametrize("weights", WEIGHTS)
def test_encoding_equals_torchvision(weights):
    truths, proposals = [some_boxes(n, seed=n) for n in (5, 0, 3)], [some_boxes(n, seed=9 + n) for n in (5, 0, 3)]
    ours, theirs = BoxCoder(weights).encode(truths, proposals), Theirs(weights).encode(truths, proposals)
    assert [tuple(one.shape) for one in ours] == [(5, 4), (0, 4), (3, 4)]
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("classes", [1, 3])
def test_decoding_equals_torchvision(weights, classes):
    torch.manual_seed(0)
    proposals, codes = [some_boxes(4), some_boxes(0), some_boxes(2, seed=1)], torch.randn(6, 4 * classes) * 3
    ours, theirs = BoxCoder(weights).decode(codes, proposals), Theirs(weights).decode(codes, proposals)
    assert ours.shape == (6, classes, 4)
    torch.testing.assert_close(ours, theirs.view(6, classes, 4), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_decoding_undoes_encoding(weights):
    truths, proposals, coder = some_boxes(20), some_boxes(20, seed=5), BoxCoder(weights, bbox_xform_clip=10)
    codes = coder.encode_single(truths, proposals)
    torch.testing.assert_close(coder.decode_single(codes, proposals), truths, rtol=1e-3, atol=1e-2)


def test_worked_by_hand():
    proposal, truth = torch.tensor([[0.0, 0.0, 10.0, 20.0]]), torch.tensor([[5.0, 10.0, 25.0, 30.0]])
    codes = BoxCoder().encode_single(truth, proposal)
    torch.testing.assert_close(codes, torch.tensor([[1.0, 0.5, 0.6931472, 0.0]]))  # twice as wide: log 2


def test_the_size_is_limited():
    small = torch.tensor([[0.0, 0.0, 2.0, 2.0]])
    huge = BoxCoder(bbox_xform_clip=1.0).decode_single(torch.tensor([[0.0, 0.0, 50.0, 50.0]]), small)
    assert huge[0, 2] - huge[0, 0] == pytest.approx(2 * torch.e)
    limit = BoxCoder().decode_single(torch.tensor([[0.0, 0.0, 1e3, 1e3]]), torch.tensor([[0.0, 0.0, 16.0, 16.0]]))
    assert limit[0, 2] - limit[0, 0] == pytest.approx(1000)


def test_a_flat_proposal_gives_infinite_targets_as_torchvision_does():
    flat, truth = torch.tensor([[3.0, 3.0, 3.0, 8.0]]), torch.tensor([[1.0, 1.0, 5.0, 5.0]])
    theirs = Theirs((1.0, 1.0, 1.0, 1.0)).encode_single(truth, flat)
    assert not theirs.isfinite().all()
    torch.testing.assert_close(BoxCoder().encode_single(truth, flat), theirs, equal_nan=True)


def test_nothing_gives_nothing():
    coder, nothing = BoxCoder(), torch.zeros(0, 4)
    assert coder.encode_single(nothing, nothing).shape == (0, 4)
    assert coder.decode_single(torch.zeros(0, 8), nothing).shape == (0, 8)
    assert coder.decode(torch.zeros(0, 8), [nothing]).shape == (0, 2, 4)


@pytest.mark.parametrize(
    "call, named",
    [
        (lambda: BoxCoder((1, 1, 1)), "weights"),
        (lambda: BoxCoder((1, 1, 1, 0)), "weights"),
        (lambda: BoxCoder(bbox_xform_clip=0), "bbox_xform_clip"),
        (lambda: BoxCoder().encode_single(torch.zeros(2, 5), torch.zeros(2, 4)), "reference_boxes"),
        (lambda: BoxCoder().encode_single(torch.zeros(2, 4), torch.zeros(3, 4)), "proposals"),
        (lambda: BoxCoder().encode([torch.zeros(2, 4)], [torch.zeros(3, 4)]), "reference_boxes"),
        (lambda: BoxCoder().decode_single(torch.zeros(2, 6), torch.zeros(2, 4)), "rel_codes"),
        (lambda: BoxCoder().decode_single(torch.zeros(3, 4), torch.zeros(2, 4)), "rel_codes"),
        (lambda: BoxCoder().decode_single(torch.zeros(2, 4), torch.zeros(4)), "boxes"),
        (lambda: BoxCoder().decode(torch.zeros(2, 4), []), "boxes"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
