"""YOLO of 2016 and 2017: targets in, boxes out, and who learns what."""

import math

import pytest
import torch
from torch import nn
from torchvision.ops import box_iou

from lib.layers.backbone import Backbone
from lib.layers.small_backbone import SmallBackbone
from lib.models.yolo import (
    LAMBDA_COORD,
    LAMBDA_NOOBJ,
    YOLOv1,
    YOLOv2,
    cells_of,
    iou_of_pairs,
    owners_of_anchors,
    owners_of_cells,
    yolo_v1_small,
    yolo_v2_small,
)

ANCHORS = torch.tensor([[8.0, 8.0], [8.0, 24.0], [24.0, 16.0]])
SIZE, STRIDE, CLASSES = (32, 48), 8, 5
TRUTH = {
    "boxes": torch.tensor([[1.0, 2.0, 12.0, 20.0], [20.0, 4.0, 47.0, 19.0], [30.0, 18.0, 38.0, 31.0]]),
    "labels": torch.tensor([2, 5, 1]),
}
NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}


class Said(Backbone):
    """A backbone whose map is a parameter: with a head that changes nothing, the raw answers can be set."""

    def __init__(self, channels):
        super().__init__()
        self.out_channels = channels
        self.map = nn.Parameter(torch.zeros(1, channels, SIZE[0] // STRIDE, SIZE[1] // STRIDE))

    def forward(self, images):
        return {"0": self.map.expand(len(images), -1, -1, -1)}


def saying(model):
    """The model with a head that hands the map on, and its map seen as a grid (S, S, numbers)."""
    answers = model.head.out_channels
    model.backbone = Said(answers)
    model.head = nn.Identity()
    return model.eval(), model.backbone.map.data[0].permute(1, 2, 0)


def v1(**options):
    return YOLOv1(SmallBackbone(4), STRIDE, CLASSES, **options)


def v2(**options):
    return YOLOv2(SmallBackbone(4), STRIDE, CLASSES, ANCHORS, **options)


def perfect_v1():
    """A YOLOv1 whose first box of each responsible cell says the truth exactly, and whose other answers are 0."""
    model, grid = saying(v1())
    for (x1, y1, x2, y2), label in zip(TRUTH["boxes"].tolist(), TRUTH["labels"].tolist()):
        x, y, w, h = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        cell = grid[int(y // STRIDE), int(x // STRIDE)]
        cell[:5] = torch.tensor([x / STRIDE % 1, y / STRIDE % 1, math.sqrt(w / SIZE[1]), math.sqrt(h / SIZE[0]), 1.0])
        cell[10 + label - 1] = 1.0
    return model


def perfect_v2(sure=30.0):
    model, grid = saying(v2())
    answers = grid.unflatten(2, (3, 5 + CLASSES))
    answers[..., 4] = -sure
    for (x1, y1, x2, y2), label in zip(TRUTH["boxes"].tolist(), TRUTH["labels"].tolist()):
        x, y, w, h = (x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1
        shared = torch.minimum(ANCHORS, torch.tensor([w, h])).prod(1)
        best = int((shared / (ANCHORS.prod(1) + w * h - shared)).argmax())
        anchor = answers[int(y // STRIDE), int(x // STRIDE), best]
        places = torch.tensor([x, y]) / STRIDE % 1
        anchor[:2] = torch.logit(places.double()).float()
        anchor[2:4] = (torch.tensor([w, h]) / ANCHORS[best]).log()
        anchor[4], anchor[5 + label - 1] = sure, sure
    return model


@pytest.mark.parametrize("perfect", [perfect_v1, perfect_v2])
def test_a_truth_written_into_the_grid_comes_out_again_and_costs_nothing(perfect):
    model, images = perfect(), torch.rand(1, 3, *SIZE)
    found = model(images)[0]
    assert len(found["boxes"]) == 3 and (found["scores"] > 0.999).all()
    overlap = box_iou(TRUTH["boxes"], found["boxes"])
    assert overlap.max(dim=1).values.min() > 0.9999
    assert torch.equal(found["labels"][overlap.argmax(dim=1)], TRUTH["labels"])
    assert all(part < 1e-6 for part in model.loss(images, [TRUTH]).values())


@pytest.mark.parametrize("make", [v1, v2])
def test_only_the_responsible_box_learns_its_place(make):
    torch.manual_seed(0)
    model, grid = saying(make())
    grid += torch.rand(grid.shape) * 0.5 + 0.1
    parts = model.loss(torch.rand(1, 3, *SIZE), [TRUTH])
    (slope,) = torch.autograd.grad(parts["loss_xy"] + parts["loss_wh"], model.backbone.map)
    slope = slope[0].permute(1, 2, 0)  # (S, S, numbers)
    places = slope[..., :10].unflatten(-1, (2, 5)) if make is v1 else slope.unflatten(-1, (3, 5 + CLASSES))
    learning = (places[..., :4] != 0).any(-1)  # (S, S, B)
    assert learning.sum() == 3 and (learning.sum(-1) <= 1).all()
    rows, columns = cells_of(TRUTH["boxes"], STRIDE, (4, 6))
    assert learning.any(-1)[rows, columns].all()
    (silent,) = torch.autograd.grad(model.loss(torch.rand(1, 3, *SIZE), [TRUTH])["loss_no_object"], model.backbone.map)
    assert (silent.abs().sum(1)[0] > 0).sum() >= 21  # "nothing" is learned nearly everywhere


def test_equation_3_by_hand():
    model, grid = saying(v1(boxes=1))
    grid[:] = 0.5
    truth = {"boxes": torch.tensor([[8.0, 8.0, 16.0, 16.0]]), "labels": torch.tensor([1])}  # cell (1, 1), its middle
    parts = {name: part.item() for name, part in model.loss(torch.rand(2, 3, *SIZE), [truth, NOTHING]).items()}
    wide, high = 0.25 * SIZE[1], 0.25 * SIZE[0]  # what √w = √h = 0.5 means
    shared = 8 * min(8, high)
    overlap = shared / (64 + wide * high - shared)
    assert parts["loss_xy"] == 0
    roots = (math.sqrt(8 / 48) - 0.5) ** 2 + (math.sqrt(8 / 32) - 0.5) ** 2
    assert parts["loss_wh"] == pytest.approx(LAMBDA_COORD * roots / 2, rel=1e-5)
    assert parts["loss_object"] == pytest.approx((0.5 - overlap) ** 2 / 2, rel=1e-5)
    assert parts["loss_no_object"] == pytest.approx(LAMBDA_NOOBJ * (2 * 24 - 1) * 0.25 / 2)
    assert parts["loss_class"] == pytest.approx(5 * 0.25 / 2)  # one 1 wanted and four 0, all said 0.5


def test_of_two_boxes_in_one_cell_the_first_is_learned():
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [2.0, 2.0, 8.0, 8.0], [40.0, 24.0, 48.0, 32.0]])
    owners = owners_of_cells(boxes, STRIDE, (4, 6))
    assert owners[0, 0] == 0 and owners[3, 5] == 2 and (owners >= 0).sum() == 2
    tall = torch.tensor([[0.0, 0.0, 8.0, 8.0], [1.0, -8.0, 7.0, 16.0]])  # the same cell, other anchors
    owners = owners_of_anchors(tall, ANCHORS, STRIDE, (4, 6))
    assert owners[0, 0].tolist() == [0, 1, -1]


def test_a_middle_on_the_rim_belongs_to_the_last_cell():
    rows, columns = cells_of(torch.tensor([[44.0, 28.0, 52.0, 36.0], [-9.0, -9.0, 1.0, 1.0]]), STRIDE, (4, 6))
    assert rows.tolist() == [3, 0] and columns.tolist() == [5, 0]


def test_iou_of_pairs_is_the_diagonal():
    boxes1, boxes2 = (torch.rand(20, 4).sort(dim=1).values[:, [0, 1, 2, 3]] * 30 for _ in range(2))
    torch.testing.assert_close(iou_of_pairs(boxes1, boxes2), box_iou(boxes1, boxes2).diagonal())
    assert iou_of_pairs(torch.zeros(1, 4), torch.zeros(1, 4)) == 0


def test_a_box_of_2017_stays_with_its_cell_and_is_never_infinite():
    model, grid = saying(v2())
    grid += 1000.0
    boxes, scores = model.decode(model.grid(torch.rand(1, 3, *SIZE)))
    middles = (boxes[..., :2] + boxes[..., 2:]) / 2
    corners = model.corners(boxes[..., 0]) * STRIDE
    assert boxes.isfinite().all() and scores.isfinite().all()
    assert ((middles - corners - STRIDE).abs() < 1e-2).all()


@pytest.mark.parametrize(("width", "told"), [(20.0, False), (12.0, True)])
def test_an_anchor_that_overlaps_a_thing_is_not_told_that_nothing_is_there(width, told):
    model, grid = saying(v2())
    answers = grid.unflatten(2, (3, 5 + CLASSES))
    truth = {"boxes": torch.tensor([[2.0, 8.0, 22.0, 16.0]]), "labels": torch.tensor([1])}  # its middle: cell (1, 1)
    answers[1, 2, 0, 0] = -5.0  # the first anchor of the next cell, moved as far towards it as it goes
    answers[1, 2, 0, 2] = math.log(width / 8)
    overlap = box_iou(truth["boxes"], model.decode(model.grid(torch.rand(1, 3, *SIZE)))[0][0, 1, 2, :1])
    assert (overlap.item() < 0.6) == told
    (slope,) = torch.autograd.grad(model.loss(torch.rand(1, 3, *SIZE), [truth])["loss_no_object"], model.backbone.map)
    confidence = slope[0].permute(1, 2, 0).unflatten(-1, (3, 5 + CLASSES))[..., 4]
    assert (confidence[1, 2, 0] != 0) == told and confidence[1, 1, 2] == 0


@pytest.mark.parametrize("make", [v1, v2])
def test_a_batch_is_its_pictures(make):
    torch.manual_seed(0)
    model, images = make(score_thresh=0.0).eval(), torch.rand(2, 3, *SIZE)
    for one, alone in zip(model(images), (model(images[:1])[0], model(images[1:])[0])):
        torch.testing.assert_close(one, alone)
    both = model.loss(images, [TRUTH, NOTHING])
    alone = model.loss(images[:1], [TRUTH]), model.loss(images[1:], [NOTHING])
    for name in both:
        torch.testing.assert_close(both[name], (alone[0][name] + alone[1][name]) / 2)


@pytest.mark.parametrize("make", [v1, v2])
def test_without_any_thing_only_nothing_is_learned(make):
    parts = make().loss(torch.rand(2, 3, *SIZE), [NOTHING, NOTHING])
    assert all((part == 0) == (name != "loss_no_object") for name, part in parts.items())
    assert all(part.isfinite() for part in parts.values())


@pytest.mark.parametrize("make", [v1, v2])
def test_one_picture_is_learned(make):
    torch.manual_seed(0)
    model, images = make().train(), torch.rand(1, 3, *SIZE)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(120):
        optimizer.zero_grad()
        sum(model.loss(images, [TRUTH]).values()).backward()
        optimizer.step()
    model.eval()
    for module in model.modules():  # the picture's own statistics, as in training
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    found = model(images)[0]
    best = box_iou(TRUTH["boxes"], found["boxes"]).max(dim=1)
    assert best.values.min() > 0.7 and torch.equal(found["labels"][best.indices], TRUTH["labels"])


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: v1()(torch.rand(3, 32, 48)), "images"),
        (lambda: v1()(torch.rand(1, 3, 30, 48)), "images"),
        (lambda: YOLOv2(SmallBackbone(4), 8, 5, torch.rand(3)), "anchors"),
        (lambda: YOLOv2(SmallBackbone(4), 8, 5, torch.zeros(1, 2)), "anchors"),
        (lambda: v2().loss(torch.rand(1, 3, *SIZE), [TRUTH | {"labels": torch.tensor([2, 6, 1])}]), "targets"),
        (lambda: v2().loss(torch.rand(1, 3, *SIZE), [TRUTH | {"labels": torch.tensor([2, 0, 1])}]), "targets"),
        (lambda: v1().loss(torch.rand(2, 3, *SIZE), [TRUTH]), "targets"),
        (lambda: v1().loss(torch.rand(1, 3, *SIZE), [TRUTH | {"boxes": torch.zeros(3, 4)}]), "targets"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()


def test_the_small_ones_of_the_lesson_differ_in_their_last_layer_alone():
    first, second = yolo_v1_small(), yolo_v2_small()
    assert first.grid(torch.rand(1, 3, 96, 96)).shape == (1, 12, 12, 2 * 5 + 5)
    assert second.grid(torch.rand(1, 3, 96, 96)).shape == (1, 12, 12, 5 * (5 + 5))
    assert [tuple(weight.shape) for weight in first.backbone.state_dict().values()] == [
        tuple(weight.shape) for weight in second.backbone.state_dict().values()
    ]
