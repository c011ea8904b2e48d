import pytest
import torch

from lib.ops.set_losses import set_cross_entropy, weighted_losses


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
