import pytest
import torch
from torch import nn

from lib.training.probes import features_at, probe_accuracy


def test_the_features_are_those_of_the_cell_that_holds_the_pixel():
    images = torch.rand(5, 3, 8, 12)
    places = torch.tensor([[4, 7, 11], [0, 0, 0], [2, 3, 5], [4, 0, 6]])  # in any order
    stages = {"half": nn.AvgPool2d(2), "whole": nn.AvgPool2d((4, 6))}
    found = features_at(stages, images, places, batch_size=2)
    for name, shrunk in (("half", nn.AvgPool2d(2)(images)), ("whole", nn.AvgPool2d((8, 12))(images))):
        side = 8 // shrunk.shape[2], 12 // shrunk.shape[3]
        expected = torch.stack([shrunk[n, :, r // side[0], c // side[1]] for n, r, c in places.tolist()])
        assert torch.allclose(found[name], expected)


def test_a_probe_finds_what_is_there_and_nothing_where_there_is_nothing():
    torch.manual_seed(0)
    answers = torch.arange(3).repeat(200)
    told = torch.randn(600, 4) + 5 * torch.nn.functional.one_hot(answers, 4)
    silent = torch.randn(600, 4)
    assert probe_accuracy(told[:300], answers[:300], told[300:], answers[300:]) > 0.97
    assert abs(probe_accuracy(silent[:300], answers[:300], silent[300:], answers[300:]) - 1 / 3) < 0.12


def test_a_probe_does_not_change_the_random_numbers_and_repeats():
    x, answers = torch.randn(60, 3), torch.arange(2).repeat(30)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    assert probe_accuracy(x, answers, x, answers) == probe_accuracy(x, answers, x, answers)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    "places",
    [torch.tensor([[2, 0, 0]]), torch.tensor([[0, 4, 0]]), torch.tensor([[0, 0, -1]]), torch.tensor([0, 0, 0])],
)
def test_places_outside_are_refused(places):
    with pytest.raises(ValueError, match="^places"):
        features_at({"all": nn.Identity()}, torch.rand(2, 3, 4, 4), places)
