import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from lib.datasets.toyworld import Toyworld
from lib.ops.charts import read_texture
from lib.viz.basics.draw import PAGE
from lib.viz.surfaces.charts import (
    AROUND,
    BODY,
    NOTHING,
    PART_COLOURS,
    draw_atlas,
    draw_charts,
    paint_atlas,
    part_colours,
    wear,
)


def some_charts(height=9, width=7):
    parts = torch.zeros(height, width, dtype=torch.int64)
    parts[2:5, 1:4], parts[5, 5], parts[0, 0] = 2, 6, 9  # a torso, a bit of leg, and something that is no body
    uv = torch.rand(height, width, 2, generator=torch.Generator().manual_seed(0))
    return parts, uv


# ------------------------------------------------------------------------------------------------ the atlas


@pytest.mark.parametrize("size", [8, 48])
def test_the_atlas_is_a_picture_for_each_part(size):
    atlas = paint_atlas(size)
    assert atlas.shape == (7, size, size, 3) and atlas.dtype == torch.float32
    assert 0 <= atlas.min() and atlas.max() <= 1
    assert np.allclose(atlas[0], np.broadcast_to(to_rgb(NOTHING), atlas[0].shape), atol=1e-5)
    assert len({chart.numpy().tobytes() for chart in atlas}) == 7, "each part can be told from the others"
    with pytest.raises(ValueError, match="^size is 7"):
        paint_atlas(7)


def test_the_atlas_closes_behind_and_has_two_sides():
    atlas = paint_atlas()
    assert torch.allclose(atlas[:, :, 0], atlas[:, :, -1]), "u = 0 and u = 1 are one place"
    mirrored = atlas.flip(2)
    same = torch.isclose(atlas, mirrored, atol=1e-4).flatten(1).all(1).tolist()
    assert same == [True, True, False, True, True, True, True], "only the heart is on one side"
    red = (atlas[2] - torch.tensor(to_rgb("#D8232A"))).abs().sum(2) < 0.05
    columns = torch.nonzero(red)[:, 1]
    assert (columns < 24).all(), "at the left hand's side, u = 1/4"


def test_every_step_along_u_and_v_is_seen():
    for chart in paint_atlas()[1:]:
        for along in (0, 1):  # v, u
            changes = chart.diff(dim=along).abs().amax(2).amax(1 - along) > 0.2
            assert changes.sum() >= 4, "edges along both"


def test_a_painted_figure_wears_its_colours_on_the_right_sides(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    sample = Toyworld("val", length=17, size=96)[16]  # one figure, which looks at us
    parts = sample.parts * (sample.parts <= 6)
    seen = read_texture(paint_atlas().permute(0, 3, 1, 2), parts, sample.uv)  # (H, W, 3)
    for left, right in ((3, 4), (5, 6)):
        assert (seen[parts == left].mean(0) - seen[parts == right].mean(0))[2] > 0.2, "left is bluer"
    red, green, _ = seen.unbind(2)
    columns = torch.arange(96).expand(96, 96)
    heart = (parts == 2) & (red > 0.6) & (green < 0.3)
    dark = (parts == 2) & (red < 0.3) & (green < 0.3)  # the zip, and the belt
    assert columns[heart].float().mean() > columns[dark].float().mean() + 1, "its left is on the right of the picture"
    rows = torch.arange(96)[:, None].expand(96, 96)
    mouth, eyes = ((parts == 1) & mask for mask in ((red > 0.6) & (green < 0.3), (red < 0.15)))
    assert mouth.any() and eyes.any() and rows[mouth].float().mean() > rows[eyes].float().mean()


def test_an_atlas_is_drawn_chart_by_chart():
    atlas = paint_atlas(16)
    figure = draw_atlas(atlas)
    assert [axis.get_title() for axis in figure.axes] == list(BODY)
    assert figure.get_figwidth() <= PAGE + 0.01
    for axis, chart in zip(figure.axes, atlas[1:]):
        assert np.abs(axis.images[0].get_array() / 255 - chart.numpy()).max() < 0.01
        assert axis.images[0].get_extent() == [0, 1, 1, 0] and list(axis.get_xticks()) == [0, 0.5, 1]
    assert [axis.get_title() for axis in draw_atlas(atlas[:3], ("a", "b")).axes] == ["a", "b"]


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((torch.rand(7, 3, 8, 8),), "texture"),
        ((torch.rand(1, 8, 8, 3),), "texture"),
        ((torch.rand(4, 8, 8, 3),), "names"),
        ((torch.rand(3, 8, 8, 3), ("a",)), "names"),
    ],
)
def test_an_atlas_that_does_not_fit_is_refused(arguments, word):
    with pytest.raises(ValueError, match=f"^{word}"):
        draw_atlas(*arguments)


# ------------------------------------------------------------------------------------------------ charts of a picture


def panels_of(figure):
    return [axis for axis in figure.axes if axis.get_title()]


def test_picture_part_u_and_v_stand_side_by_side():
    parts, uv = some_charts()
    figure = draw_charts(torch.rand(3, 9, 7), parts, uv)
    picture, which, around, along = panels_of(figure)
    assert picture.get_title() == "picture" and figure.get_figwidth() <= PAGE + 0.01
    body = ((parts > 0) & (parts < 7)).numpy()
    assert np.allclose(which.images[0].get_array()[body], part_colours(parts)[body])
    assert [text.get_text() for text in which.get_legend().get_texts()] == list(BODY)
    for axis, values in ((around, uv[..., 0]), (along, uv[..., 1])):
        shown = axis.images[0].get_array()
        assert np.array_equal(shown.mask, ~body) and np.allclose(shown[body], values.numpy()[body])
        assert axis.images[0].get_clim() == (0, 1)
        assert np.allclose(axis.images[0].get_cmap().get_bad()[:3], to_rgb(NOTHING))
        (bar,) = axis.child_axes
        assert list(bar.get_xticks()) == [0, 0.5, 1] and bar.images[0].get_cmap()(0.3) == axis.images[0].get_cmap()(0.3)


def test_a_grid_of_targets_has_no_picture():
    parts, uv = some_charts(6, 6)
    assert [axis.get_title().split(",")[0] for axis in panels_of(draw_charts(None, parts, uv))] == ["part", "u", "v"]


def test_a_box_is_cut_out_with_a_margin():
    parts, uv = torch.zeros(50, 60, dtype=torch.int64), torch.zeros(50, 60, 2)
    parts[20:30, 10:15] = 1
    picture, which, *_ = panels_of(draw_charts(torch.rand(3, 50, 60), parts, uv, torch.tensor([10.0, 20, 15, 30])))
    assert picture.images[0].get_array().shape == (12, 7, 3)
    edge = draw_charts(None, parts, uv, torch.tensor([-5.0, 30, 20, 70]))
    assert panels_of(edge)[0].images[0].get_array().shape[:2] == (24, 24), "not beyond the picture"


def test_the_colours_of_u_meet_behind_and_those_of_parts_differ():
    assert np.allclose(AROUND(0.0), AROUND(1.0))
    colours = part_colours(torch.arange(-1, 8))
    assert np.allclose(colours[[0, 1, 8]], to_rgb(NOTHING)) and np.allclose(colours[2], to_rgb(PART_COLOURS[0]))
    assert len(np.unique(colours[1:8], axis=0)) == 7


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"parts": torch.zeros(9).long()}, "parts"),
        ({"uv": torch.zeros(2, 9, 7)}, "uv"),
        ({"image": torch.rand(3, 7, 9)}, "image"),
        ({"box": torch.zeros(1, 4)}, "box"),
        ({"box": torch.tensor([3.0, 3, 3, 5])}, "box"),
        ({"box": torch.tensor([30.0, 3, 40, 5])}, "box"),
    ],
)
def test_charts_that_do_not_fit_are_refused(change, word):
    parts, uv = some_charts()
    with pytest.raises(ValueError, match=f"^{word} is"):
        draw_charts(**{"image": torch.rand(3, 9, 7), "parts": parts, "uv": uv} | change)
    assert plt.get_fignums() == []


# ------------------------------------------------------------------------------------------------ clothes


def test_clothes_are_worn_where_a_part_is_and_the_picture_shades_them():
    image = torch.full((3, 4, 6), 0.5)
    image[:, :, 3:] = 0.3
    parts = torch.zeros(4, 6, dtype=torch.int64)
    parts[1:3] = 2
    worn = wear(image, parts, torch.tensor([0.8, 0.4, 0.0]).expand(4, 6, 3))
    assert torch.equal(worn[:, parts == 0], image[:, parts == 0])
    lit, shaded = worn[:, 1, 0], worn[:, 1, 5]
    assert (lit[:2] > shaded[:2]).all() and torch.allclose(lit / lit[0], shaded / shaded[0])
    assert (0 <= worn).all() and (worn <= 1).all()


def test_nobody_to_dress_changes_nothing():
    image = torch.rand(3, 4, 6)
    worn = wear(image, torch.zeros(4, 6, dtype=torch.int64), torch.zeros(4, 6, 3))
    assert torch.equal(worn, image) and worn is not image


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((torch.rand(4, 6), torch.zeros(4, 6).long(), torch.zeros(4, 6, 3)), "image"),
        ((torch.rand(3, 4, 6), torch.zeros(6, 4).long(), torch.zeros(4, 6, 3)), "parts"),
        ((torch.rand(3, 4, 6), torch.zeros(4, 6).long(), torch.zeros(3, 4, 6)), "colours"),
    ],
)
def test_clothes_that_do_not_fit_are_refused(arguments, word):
    with pytest.raises(ValueError, match=f"^{word} is"):
        wear(*arguments)
