import itertools

import pytest
import torch

from lib.ops.boxes import box_xyxy_to_cxcywh_normalized
from lib.ops.set_losses import cheapest_pairs, set_box_losses, set_cross_entropy, weighted_losses


def test_matched_queries_say_their_class_and_the_others_nothing():
    torch.manual_seed(0)
    logits, weight = torch.randn(2, 4, 3), torch.tensor([1.0, 1.0, 0.1])
    labels = [torch.tensor([1, 0]), torch.zeros(0, dtype=torch.int64)]
    none = torch.zeros(0, dtype=torch.int64)
    got = set_cross_entropy(logits, labels, [(torch.tensor([0, 2]), torch.tensor([1, 0])), (none, none)], weight)
    wanted = [[0, 2, 1, 2], [2, 2, 2, 2]]
    pairs = [(weight[k], -logits[b, q].log_softmax(0)[k]) for b, row in enumerate(wanted) for q, k in enumerate(row)]
    torch.testing.assert_close(got, sum(w * loss for w, loss in pairs) / sum(w for w, _ in pairs))


def test_each_layers_loss_has_the_weight_of_its_name():
    losses = {name: torch.tensor(1.0) for name in ("loss_ce", "loss_ce_0", "loss_cell", "cardinality_error")}
    assert weighted_losses(losses, {"loss_ce": 2.0, "loss_bbox": 5.0}) == {
        "loss_ce": pytest.approx(2.0),
        "loss_ce_0": pytest.approx(2.0),
    }


@pytest.mark.parametrize("shape", [(5, 3), (3, 3), (2, 4)])
def test_the_cheapest_pairs_are_those_that_trying_finds(shape):
    cost = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    queries, truths = cheapest_pairs(cost)
    rows, fewer = (cost, queries) if shape[0] < shape[1] else (cost.T, truths)
    tried = min(
        sum(rows[place, one].item() for place, one in enumerate(order))
        for order in itertools.permutations(range(rows.shape[1]), len(rows))
    )
    assert len(queries.unique()) == len(truths.unique()) == min(shape) and fewer.dtype == torch.int64
    assert cost[queries, truths].sum().item() == pytest.approx(tried) and queries.tolist() == sorted(queries.tolist())


def test_nothing_to_pair():
    queries, truths = cheapest_pairs(torch.zeros(4, 0))
    assert queries.shape == truths.shape == (0,) and queries.dtype == truths.dtype == torch.int64


def test_boxes_by_hand():
    boxes, size = torch.tensor([[10.0, 20, 30, 40], [0, 0, 40, 20]]), (100, 200)
    said = box_xyxy_to_cxcywh_normalized(boxes.flip(0), size).repeat(2, 1, 1)
    said[0, 0, 0] += 0.1  # the second box, 20 pixels too far to the right: half of it is missed, a third overlaps
    none = torch.zeros(0, dtype=torch.int64)
    pairs = [(torch.tensor([0, 1]), torch.tensor([1, 0])), (none, none)]
    losses = set_box_losses(said, [boxes, boxes[:0]], [size, size], pairs)
    assert losses["loss_bbox"].item() == pytest.approx(0.1 / 2)
    assert losses["loss_giou"].item() == pytest.approx((1 - 1 / 3) / 2)
    nothing = set_box_losses(said, [boxes[:0]] * 2, [size] * 2, [(none, none)] * 2)
    assert nothing["loss_bbox"].item() == nothing["loss_giou"].item() == 0
