import pytest

from lib.viz.masks.mask_losses import draw_loss_of_silence

AREAS = [4, 16, 64, 1024]
CURVES = {"cross-entropy": [0.01, 0.02, 0.1, 0.45], "focal": [0.001, 0.002, 0.01, 0.44], "dice": [0.9] * 4}


def test_every_loss_is_a_line_over_the_logarithm_of_the_area_with_its_name_at_the_end():
    (axis,) = draw_loss_of_silence(AREAS, CURVES).axes
    assert axis.get_xscale() == "log" and axis.get_ylim()[0] == 0
    for line, losses in zip(axis.lines, CURVES.values(), strict=True):
        assert line.get_xdata().tolist() == AREAS and line.get_ydata().tolist() == losses
    names = {text.get_text(): (text.get_color(), text.get_position()[1]) for text in axis.texts}
    assert [names[name][0] for name in CURVES] == [line.get_color() for line in axis.lines]
    heights = [names[name][1] for name in ("focal", "cross-entropy", "dice")]
    assert heights[0] == pytest.approx(0.44 / axis.get_ylim()[1])
    assert heights[1] == pytest.approx(heights[0] + 0.065) and heights[2] == pytest.approx(0.9 / axis.get_ylim()[1])


@pytest.mark.parametrize(
    ("areas", "curves", "named"),
    [
        (AREAS, {}, "curves is empty"),
        (AREAS[:1], {"a": [1.0]}, "areas is"),
        ([4, 4], {"a": [1.0, 1.0]}, "areas is"),
        ([0, 4], {"a": [1.0, 1.0]}, "areas is"),
        (AREAS, {"a": [1.0] * 3}, r"curves\['a'\] has 3 numbers; expected 4"),
    ],
)
def test_bad_input_is_named(areas, curves, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw_loss_of_silence(areas, curves)
