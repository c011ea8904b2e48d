import pytest
import torch

from lib.datasets.toyworld import Toyworld
from lib.datasets.windows import class_map, cut_windows


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COURSE_DATA", str(tmp_path_factory.mktemp("data")))
        world = Toyworld("val", length=12)
    return [world[i] for i in range(12)]


def test_class_map_follows_the_semantic_map(samples):
    for sample in samples:
        assert torch.equal(class_map(sample), (sample.semantic - 1).clamp(min=0))


def test_windows_are_balanced_and_cut_out_of_the_pictures(samples):
    windows, labels = cut_windows(samples, size=32, count=60, seed=0)
    assert windows.shape == (60, 3, 32, 32)
    assert labels.bincount().tolist() == [10] * 6
    for window, label in zip(windows[:10], labels[:10]):
        places = [
            (sample, y, x)
            for sample in samples
            for y in range(65)
            for x in range(65)
            if torch.equal(sample.image[:, y, x], window[:, 0, 0])
            and torch.equal(sample.image[:, y : y + 32, x : x + 32], window)
        ]
        assert any(class_map(sample)[y + 16, x + 16] == label for sample, y, x in places)


def test_a_count_that_cannot_be_shared_evenly(samples):
    _, labels = cut_windows(samples, size=32, count=8, seed=0)
    assert sorted(labels.bincount().tolist()) == [1, 1, 1, 1, 2, 2]


def test_the_seed_decides(samples):
    first, again, other = (cut_windows(samples, 32, 30, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


@pytest.mark.parametrize(
    "change, named",
    [
        ({"samples": []}, "samples"),
        ({"size": 31}, "size"),
        ({"size": 0}, "size"),
        ({"count": 0}, "count"),
        ({"size": 98}, "samples"),
    ],
)
def test_bad_input_is_named(samples, change, named):
    request = {"samples": samples, "size": 32, "count": 12, "seed": 0} | change
    with pytest.raises(ValueError, match=f"^{named} "):
        cut_windows(**request)
