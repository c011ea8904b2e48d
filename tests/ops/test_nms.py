import pytest
import torch
from torchvision import ops as peer

from lib.ops.boxes import box_iou
from lib.ops.nms import batched_nms, nms, suppressed_by

THRESHOLDS = [0.0, 0.1, 0.3, 0.5, 0.6, 2 / 3, 0.7, 1.0]


def crowd(seed, count, whole):
    """Many boxes in a small place. With `whole`, on integers: IoUs hit thresholds, scores tie, boxes have no area."""
    generator = torch.Generator().manual_seed(seed)
    corners, sides = torch.rand(2, count, 2, generator=generator)
    corners, sides, scores = corners * 20 - 4, sides * 10, torch.rand(count, generator=generator)
    if whole:
        corners, sides, scores = corners.round(), sides.round(), (scores * 6).round() / 6
    groups = torch.randint(4, (count,), generator=generator)
    return torch.cat([corners, corners + sides], 1), scores, groups


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("count", [0, 1, 7, 80])
def test_nms_equals_torchvision(count, whole, threshold):
    for seed in range(10):
        boxes, scores, groups = crowd(seed, count, whole)
        kept = nms(boxes, scores, threshold)
        assert kept.dtype == torch.int64 and torch.equal(kept, peer.nms(boxes, scores, threshold))
        boxes = boxes + 4  # torchvision's own trick wants no negative numbers
        kept = batched_nms(boxes, scores, groups, threshold)
        assert torch.equal(kept, peer.batched_nms(boxes, scores, groups, threshold))


def test_of_equal_scores_the_first_in_the_list_wins():
    boxes = torch.tensor([[0.0, 0, 4, 4], [0, 0, 4, 4], [10, 10, 12, 12], [0, 0, 4, 4]])
    assert nms(boxes, torch.ones(4), 0.5).tolist() == [0, 2] == peer.nms(boxes, torch.ones(4), 0.5).tolist()


def test_an_iou_equal_to_the_threshold_is_allowed():
    boxes, scores = torch.tensor([[0.0, 0, 4, 4], [0, 0, 2, 4]]), torch.tensor([0.9, 0.8])  # IoU 0.5
    assert nms(boxes, scores, 0.5).tolist() == [0, 1] and nms(boxes, scores, 0.49).tolist() == [0]


def test_a_suppressed_box_suppresses_nothing():
    chain = torch.tensor([[0.0, 0, 4, 4], [1, 0, 5, 4], [2, 0, 6, 4]])  # IoU of neighbours 0.6, of the ends 1/3
    scores = torch.tensor([0.9, 0.8, 0.7])
    assert nms(chain, scores, 0.5).tolist() == [0, 2]
    assert suppressed_by(chain, scores, 0.5).tolist() == [-1, 0, -1]


def test_suppressed_by_tells_the_truth():
    boxes, scores, _ = crowd(3, 60, whole=False)
    remover, kept = suppressed_by(boxes, scores, 0.3), nms(boxes, scores, 0.3)
    assert sorted(kept.tolist()) == (remover == -1).nonzero()[:, 0].tolist() and 0 < len(kept) < 60
    overlap = box_iou(boxes, boxes)
    for box, by in enumerate(remover.tolist()):
        better = [k for k in kept.tolist() if scores[k] > scores[box] and overlap[k, box] > 0.3]
        assert by == (better[0] if better else -1)  # the best of those that may


@pytest.mark.parametrize("shift", [0.0, -500.0])
def test_groups_do_not_touch_each_other(shift):
    boxes, scores, groups = crowd(5, 80, whole=False)
    boxes = boxes + shift
    kept = batched_nms(boxes, scores, groups, 0.2)
    expected = []
    for group in groups.unique():
        mine = (groups == group).nonzero()[:, 0]
        expected += mine[nms(boxes[mine], scores[mine], 0.2)].tolist()
    assert kept.tolist() == sorted(expected, key=lambda box: -scores[box])
    assert len(kept) > len(nms(boxes, scores, 0.2))


@pytest.mark.parametrize("groups", [[100_000, 100_000, 0], [-(10**12), -(10**12), 3], [10**18, 10**18, 10**18 + 1]])
def test_far_groups_keep_their_small_boxes_apart(groups):
    boxes = torch.tensor([[102.0, 102, 105, 105], [102, 102, 105, 105], [0, 0, 1333, 1333]])
    assert batched_nms(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor(groups), 0.5).tolist() == [0, 2]


@pytest.mark.parametrize(
    "call, start",
    [
        (lambda: nms(torch.zeros(3, 5), torch.zeros(3), 0.5), "boxes "),
        (lambda: nms(torch.zeros(3, 4, dtype=torch.int64), torch.zeros(3), 0.5), "boxes "),
        (lambda: nms(torch.zeros(3, 4), torch.zeros(2), 0.5), "scores "),
        (lambda: suppressed_by(torch.zeros(3, 4), torch.zeros(3, 1), 0.5), "scores "),
        (lambda: nms(torch.zeros(1, 4).numpy(), torch.zeros(1), 0.5), "boxes is a ndarray; expected a tensor "),
        (lambda: nms(torch.zeros(1, 4), [0.5], 0.5), "scores is a list; expected a tensor "),
        (lambda: batched_nms(torch.zeros(1, 4), torch.zeros(1), [0], 0.5), "idxs is a list; expected a tensor "),
        (lambda: batched_nms(torch.zeros(3, 4), torch.zeros(3), torch.zeros(2), 0.5), "idxs "),
    ],
)
def test_bad_input_is_named(call, start):
    with pytest.raises(ValueError, match=f"^{start}"):
        call()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_short_floats_are_judged_as_float32(dtype):
    generator = torch.Generator().manual_seed(0)
    corners = torch.randint(100, (40, 2), generator=generator) * 4.0  # whole multiples of 4 are exact in bfloat16
    boxes = torch.cat([corners, corners + 400], 1)  # areas of 160,000 are beyond float16
    scores, groups = torch.linspace(1, 0.5, 40), torch.arange(40) % 20
    boxes, scores = boxes.to(dtype), scores.to(dtype)
    assert torch.equal(nms(boxes, scores, 0.6), nms(boxes.float(), scores.float(), 0.6))
    assert torch.equal(batched_nms(boxes, scores, groups, 0.6), batched_nms(boxes.float(), scores.float(), groups, 0.6))
    assert 1 < len(nms(boxes, scores, 0.6)) < 40
