import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from lib.layers.frozen_trunk import FrozenTrunk
from lib.models.densepose import (
    DensePoseHead,
    DensePoseOutput,
    DensePosePredictor,
    DensePoseRCNN,
    densepose_inference,
    densepose_loss,
    densepose_small,
)
from lib.models.faster_rcnn import faster_rcnn_small
from lib.training import load_checkpoint

CHECKPOINTS = Path(__file__).resolve().parents[2] / "data" / "checkpoints"


def output(regions=2, parts=3, size=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return DensePoseOutput(*(torch.randn(regions, parts + 1, size, size, generator=generator) for _ in range(3)))


def truth(regions=2, parts=3, size=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randint(0, parts + 1, (regions, size, size), generator=generator),
        torch.rand(regions, 2, size, size, generator=generator),
    )


def small_trunk():
    torch.manual_seed(0)
    detector = faster_rcnn_small()
    return FrozenTrunk(detector.transform, detector.backbone)


def small_model(output_size=5):
    return DensePoseRCNN(small_trunk(), num_parts=3, output_size=output_size, channels=8, convolutions=2)


# ------------------------------------------------------------------------------------------------ loss


def test_loss_equals_a_loop_over_cells():
    answers, (parts, uv) = output(), truth()
    of_parts, of_uv, seen = 0.0, 0.0, 0
    for r in range(2):
        for i in range(4):
            for j in range(4):
                part = int(parts[r, i, j])
                of_parts -= answers.parts[r, :, i, j].log_softmax(0)[part].item()
                if part:
                    seen += 1
                    u = answers.u[r, part, i, j].item() - uv[r, 0, i, j].item()
                    off = [
                        min((u + turn for turn in range(-9, 9)), key=abs),
                        (answers.v[r, part, i, j] - uv[r, 1, i, j]).item(),
                    ]
                    of_uv += sum(one**2 / 0.2 if abs(one) < 0.1 else abs(one) - 0.05 for one in off)
    losses = densepose_loss(answers, parts, uv)
    assert losses["loss_parts"].item() == pytest.approx(of_parts / 32, rel=1e-5)
    assert losses["loss_uv"].item() == pytest.approx(of_uv / seen, rel=1e-5)


def test_only_the_true_parts_places_are_judged():
    answers, (parts, uv) = output(), truth()
    answers = DensePoseOutput(*(one.requires_grad_() for one in answers))
    loss = densepose_loss(answers, parts, uv)["loss_uv"]
    judged = F.one_hot(parts, 4).permute(0, 3, 1, 2).bool() & (parts > 0)[:, None]
    for gradient in torch.autograd.grad(loss, [answers.u, answers.v]):
        assert torch.equal(gradient != 0, judged)


def test_u_is_counted_on_the_circle_and_v_is_not():
    ends = torch.tensor([[[[0.98]], [[0.98]]]])  # (1, 2, 1, 1): part 0 and part 1
    answers = DensePoseOutput(torch.zeros(1, 2, 1, 1), ends, ends)
    parts = torch.ones(1, 1, 1).long()
    beside = torch.tensor([[[[0.02]], [[0.98]]]])
    assert densepose_loss(answers, parts, beside)["loss_uv"].item() == pytest.approx(0.04**2 / 0.2, rel=1e-4)
    across = torch.tensor([[[[0.98]], [[0.02]]]])
    assert densepose_loss(answers, parts, across)["loss_uv"].item() == pytest.approx(0.96 - 0.05, rel=1e-4)


def test_no_regions_and_no_parts_cost_nothing():
    losses = densepose_loss(output(0), *truth(0))
    assert losses["loss_parts"] == 0 and losses["loss_uv"] == 0
    parts, uv = truth()
    losses = densepose_loss(output(), parts * 0, uv)
    assert losses["loss_parts"] > 0 and losses["loss_uv"] == 0


# ------------------------------------------------------------------------------------------------ inference


def test_inference_takes_the_best_parts_place_inside_of_the_box():
    parts, uv = truth(1, size=6)
    uv = uv * 0.9 + 0.05
    sure = F.one_hot(parts, 4).permute(0, 3, 1, 2) * 9.0
    places = [uv[:, k : k + 1] * F.one_hot(parts, 4).permute(0, 3, 1, 2) for k in range(2)]  # elsewhere 0, wrong
    found_parts, found_uv = densepose_inference(
        DensePoseOutput(sure, *places), torch.tensor([[3.0, 2, 9, 8]]), (10, 12)
    )
    expected = torch.zeros(1, 10, 12, dtype=torch.int64)
    expected[0, 2:8, 3:9] = parts[0]
    assert torch.equal(found_parts, expected) and (parts > 0).any() and (parts == 0).any()
    inside = found_uv[0, 2:8, 3:9].permute(2, 0, 1)
    torch.testing.assert_close(inside, uv[0] * (parts > 0))
    assert not found_uv[found_parts == 0].any()


def test_places_lie_on_the_chart():
    answers = DensePoseOutput(torch.zeros(1, 2, 3, 3), torch.full((1, 2, 3, 3), 1.2), torch.full((1, 2, 3, 3), 1.2))
    answers.parts[:, 1] = 5.0
    parts, uv = densepose_inference(answers, torch.tensor([[0.0, 0, 3, 3]]), (3, 3))
    torch.testing.assert_close(uv[parts > 0], torch.tensor([0.2, 1.0]).expand(9, 2))


# ------------------------------------------------------------------------------------------------ the model


def test_names_of_the_layers_are_the_official_ones_and_the_grid_is_the_papers():
    head, predictor = DensePoseHead(6, 5, 3), DensePosePredictor(5, 24)
    assert [name for name, _ in head.named_children()] == ["body_conv_fcn1", "body_conv_fcn2", "body_conv_fcn3"]
    assert [name for name, _ in predictor.named_children()] == ["index_uv_lowres", "u_lowres", "v_lowres"]
    answers = predictor(head(torch.rand(2, 6, 14, 14)))
    assert {one.shape for one in answers} == {(2, 25, 56, 56)}
    assert (answers.u - 0.5).abs().max() < 0.3  # it begins at the middle of the charts


def test_predictions_have_the_pictures_size_also_without_boxes():
    model = small_model().eval()
    boxes = [torch.tensor([[5.0, 6, 30, 50], [40, 8, 80, 60]]), torch.zeros(0, 4)]
    found = model(torch.rand(2, 3, 64, 96), boxes)
    assert found[0]["parts"].shape == (2, 64, 96) and found[0]["uv"].shape == (2, 64, 96, 2)
    assert found[1]["parts"].shape == (0, 64, 96) and found[1]["uv"].shape == (0, 64, 96, 2)
    assert torch.equal(found[0]["boxes"], boxes[0])
    assert not found[0]["parts"][0, :, 31:].any() and found[0]["parts"].dtype == torch.int64


def test_a_picture_alone_gives_what_it_gives_in_a_batch():
    model = small_model().eval()
    images, boxes = torch.rand(2, 3, 64, 64), [torch.tensor([[5.0, 6, 30, 50]]), torch.tensor([[9.0, 9, 60, 60]])]
    both = model(images, boxes)
    for number in range(2):
        (alone,) = model(images[number : number + 1], boxes[number : number + 1])
        assert (alone["parts"] == both[number]["parts"]).float().mean() > 0.999
        torch.testing.assert_close(alone["uv"], both[number]["uv"], atol=1e-3, rtol=0)


def test_learns_one_picture_by_heart_and_the_trunk_stays():
    model = small_model().train()
    before = {name: value.clone() for name, value in model.trunk.state_dict().items()}
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    parts = torch.zeros(1, 20, 20, dtype=torch.int64)
    parts[:, 2:10, 4:16], parts[:, 10:18, 4:16] = 1, 2
    places = torch.linspace(0.1, 0.8, 20)
    uv = torch.stack([places.expand(20, 20), places[:, None].expand(20, 20)])[None]
    target = {"boxes": torch.tensor([[8.0, 8, 56, 60]]), "parts": parts, "uv": uv}
    optimiser = torch.optim.Adam([one for one in model.parameters() if one.requires_grad], lr=0.01)
    for _ in range(150):
        losses = model.loss(images, [target])
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    with torch.no_grad():
        answers = model.predict(images, [target["boxes"]])
    assert (answers.parts.argmax(1) == parts).float().mean() > 0.9
    assert losses["loss_uv"] < 0.05
    assert all(torch.equal(before[name], value) for name, value in model.trunk.state_dict().items())


def test_losses_of_pictures_without_boxes_can_be_learned_from():
    model = small_model().train()
    empty = {"boxes": torch.zeros(0, 4), "parts": torch.zeros(0, 20, 20).long(), "uv": torch.zeros(0, 2, 20, 20)}
    losses = model.loss(torch.rand(2, 3, 64, 64), [empty, empty])
    sum(losses.values()).backward()
    assert all(loss == 0 for loss in losses.values())


def test_the_small_one():
    model = densepose_small(small_trunk())
    assert model.grid == 28
    answers = model.predict(torch.rand(1, 3, 96, 96), [torch.tensor([[5.0, 6, 30, 50]])])
    assert {one.shape for one in answers} == {(1, 7, 28, 28)}


PARTS, UV = truth()


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: densepose_loss(output(), PARTS[:1], UV), "parts"),
        (lambda: densepose_loss(output(), PARTS + 3, UV), "parts"),
        (lambda: densepose_loss(output(), PARTS, UV[:, :1]), "uv"),
        (lambda: small_model().predict(torch.rand(2, 3, 32, 32), [torch.zeros(1, 4)]), "boxes"),
        (lambda: small_model().predict(torch.rand(1, 3, 32, 32), [torch.zeros(1, 5)]), "boxes"),
        (lambda: densepose_inference(output(), torch.zeros(1, 4), (5, 5)), "maps"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()


def test_the_shipped_weights_fit_and_the_runs_show_what_the_lesson_says():
    made = load_checkpoint(densepose_small(small_trunk()), CHECKPOINTS / "13_densepose.safetensors")
    runs = json.loads((CHECKPOINTS / "13_runs.json").read_text())
    assert made["val"] == runs["densepose/detector/0"]["val"]
    detector, random = (
        [runs[f"densepose/{kind}/{seed}"]["test"] for seed in range(3)] for kind in ("detector", "random")
    )
    assert min(run["mIoU"] for run in detector) > 1.4 * max(run["mIoU"] for run in random)
    assert max(run["u"] for run in detector) < 0.8 * min(run["u"] for run in random)
