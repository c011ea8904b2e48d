import pytest
import torch

from lib.models.uni_dvps import FeatureGate
from lib.viz.clips.gates import START, draw_gates


def test_the_start_that_is_marked_is_where_a_gate_begins():
    x = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert (FeatureGate(4)(x) / x).detach().flatten().tolist() == pytest.approx([START] * 20)


def test_each_gate_has_a_histogram_on_the_same_scale_with_its_mean():
    shares = {"depth, queries": torch.tensor([[0.11, 0.11], [0.51, 1.0]]), "depth, pixels": torch.full((2, 3, 4), 0.26)}
    shares["segmentation"] = torch.tensor([0.0])
    figure = draw_gates(shares)
    shown, empty = figure.axes[:3], figure.axes[3]
    assert [axis.get_title() for axis in shown] == [
        "depth, queries: mean 0.43", "depth, pixels: mean 0.26", "segmentation: mean 0.00"
    ]  # fmt: skip
    assert {axis.get_xlim() for axis in shown} == {(0, 1)} and len({axis.get_ylim() for axis in shown}) == 1
    for axis, expected in zip(shown, ({4: 0.5, 20: 0.25, 39: 0.25}, {10: 1.0}, {0: 1.0})):
        heights = [bar.get_height() for bar in axis.patches]
        assert len(heights) == 40 and {place: high for place, high in enumerate(heights) if high} == expected
        assert axis.lines[0].get_xdata()[0] == START
    assert shown[0].texts[0].get_text() == "at the start: 0.88" and not empty.axison


@pytest.mark.parametrize(
    ("shares", "named"),
    [
        ({}, "shares is empty"),
        ({"a": torch.zeros(0)}, r"shares\['a'\] is \(0,\)"),
        ({"a": torch.tensor([1.5])}, r"shares\['a'\] is"),
        ({"a": torch.tensor([float("nan")])}, r"shares\['a'\] is"),
    ],
)
def test_bad_input_is_named(shares, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw_gates(shares)
