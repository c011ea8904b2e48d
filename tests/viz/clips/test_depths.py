import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from lib.viz.clips.depths import DEPTH_COLOURS, NO_DEPTH, WRONG_COLOURS, depth_colours, draw_depths

IMAGE = torch.full((3, 2, 3), 0.5)
TRUE = torch.tensor([[float("inf"), 80.0, 10.0], [2.0, 4.0, 50.0]])
SAID = {"good": TRUE.clamp(max=60), "half": TRUE.clamp(max=60) / 2}


def test_depth_is_logarithmic_from_1_to_50_metres_and_grey_where_there_is_none():
    colours = depth_colours(torch.tensor([1.0, 50.0, 50**0.5, 0.5, 400.0, float("inf"), 0.0, float("nan")]))
    for place, share in enumerate((0.0, 1.0, 0.5, 0.0, 1.0)):
        assert np.allclose(colours[place], DEPTH_COLOURS(share)[:3], atol=0.02)
    assert np.allclose(colours[5:], to_rgb(NO_DEPTH))
    assert depth_colours(torch.ones(2, 3, 4)).shape == (2, 3, 4, 3)


def test_picture_truth_and_answers_stand_above_and_the_errors_below():
    figure = draw_depths(IMAGE, TRUE, SAID)
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == [
        "picture", "true depth", "good", "half", "mean error 0.0%", "mean error 50.0%"
    ]  # fmt: skip
    true, half, wrong = (figure.axes[place].images[0] for place in (1, 3, 7))
    assert np.allclose(true.get_array(), depth_colours(TRUE)) and np.allclose(
        half.get_array(), depth_colours(SAID["half"])
    )
    error = wrong.get_array()
    assert error.mask.tolist() == [[True, True, False], [False, False, False]], "80 m is beyond the cap"
    assert np.allclose(error.compressed(), 0.5) and wrong.get_clim() == (0, 0.5) and wrong.get_cmap() is WRONG_COLOURS


def test_each_row_has_its_scale():
    *_, wrong, depth = draw_depths(IMAGE, TRUE, SAID).axes
    assert [text.get_text() for text in depth.get_yticklabels()] == ["1 m", "2 m", "5 m", "10 m", "20 m", "50 m"]
    assert wrong.get_yticklabels()[-1].get_text() == "50%"


def test_four_answers_fit_on_a_page():
    figure = draw_depths(IMAGE, TRUE, {str(number): SAID["half"] for number in range(4)})
    assert figure.get_figwidth() <= 9.41


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((IMAGE[0], TRUE, SAID), "true is"),
        ((IMAGE, TRUE[:1], SAID), "true is"),
        ((IMAGE, TRUE * float("inf"), SAID), "true has"),
        ((IMAGE, TRUE, {}), "said is empty"),
        ((IMAGE, TRUE, {"a": TRUE[None]}), r"said\['a'\] is \(1, 2, 3\)"),
    ],
)
def test_bad_input_is_named(arguments, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw_depths(*arguments)
