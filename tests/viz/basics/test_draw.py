"""The static pictures: sizes, colours, titles and bad input."""

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot

from lib.viz.basics.draw import fingerprint, overlay, show_images, to_pixels
from lib.viz.explorer.feature_pictures import (
    draw_receptive_field,
    feature_grid,
    feature_strip,
    pca_colours,
    strongest_channels,
)
from tests.viz.networks import SmallNet

matplotlib.use("agg")
IMAGE = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def test_fingerprint_tells_maps_apart_and_hides_rounding() -> None:
    values = torch.arange(6.0).reshape(1, 2, 3)
    assert fingerprint(values) == "(1, 2, 3) min 0.00 max 5.00 mean 2.500"
    assert fingerprint(values) == fingerprint(values.numpy() + 1e-7) != fingerprint(values + 0.1)
    assert fingerprint(torch.tensor([-1e-6, 0.0])) == "(2,) min 0.00 max 0.00 mean 0.000"
    with pytest.raises(ValueError, match="values has the shape"):
        fingerprint(torch.zeros(0, 3))


def test_to_pixels_takes_every_usual_picture() -> None:
    expected = (IMAGE.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    for picture in (IMAGE, IMAGE[None], IMAGE.permute(1, 2, 0).numpy(), expected, IMAGE.double()):
        np.testing.assert_array_equal(to_pixels(picture), expected)
    assert (to_pixels(IMAGE[:1])[..., 0] == to_pixels(IMAGE[:1])[..., 2]).all()
    stretched = to_pixels(IMAGE * 8 - 3)
    assert stretched.min() == 0 and stretched.max() == 255
    for bad in (torch.rand(2, 4, 4), torch.rand(2, 3, 4, 4), np.zeros((4, 4, 4, 3)), torch.rand(3, 0, 4)):
        with pytest.raises(ValueError, match="image has the shape"):
            to_pixels(bad)


def test_overlay_goes_from_picture_to_map() -> None:
    heat = torch.zeros(2, 3)
    heat[1, 2] = 1.0
    np.testing.assert_allclose(overlay(IMAGE, heat, 0.0), IMAGE.permute(1, 2, 0), atol=1 / 255)
    alone = overlay(IMAGE, heat, 1.0)
    assert alone.shape == (32, 48, 3)
    assert (alone[16:, 32:] == alone[-1, -1]).all() and (alone[:16] == alone[0, 0]).all()  # whole blocks
    assert alone[-1, -1].sum() > alone[0, 0].sum()  # brighter where higher
    assert len(np.unique(overlay(IMAGE, heat, 1.0, smooth=True).reshape(-1, 3), axis=0)) > 10
    with pytest.raises(ValueError, match="opacity is 1.5"):
        overlay(IMAGE, heat, 1.5)
    with pytest.raises(ValueError, match="heat has the shape"):
        overlay(IMAGE, heat[None])


def test_pca_colours_separate_what_differs() -> None:
    torch.manual_seed(0)
    features = torch.randn(20, 6, 8) * 0.01
    features[:, :, 4:] += torch.randn(20, 1, 1)  # two kinds of cell
    colours = pca_colours(features)
    assert colours.shape == (6, 8, 3) and 0 <= colours.min() and colours.max() <= 1
    assert abs(colours[:, :4, 0].mean() - colours[:, 4:, 0].mean()) > 0.8
    # the directions are those of a singular value decomposition, up to sign, for many and for few channels
    for channels in (5, 200):
        points = torch.randn(channels, 6, 8)
        centred = (points.flatten(1).T - points.flatten(1).T.mean(0)).double()
        u, s, _ = torch.linalg.svd(centred, full_matrices=False)
        red = pca_colours(points)[..., 0].ravel()
        assert abs(np.corrcoef(red, (u[:, 0] * s[0]).numpy())[0, 1]) > 0.999
    assert (pca_colours(torch.ones(4, 3, 3)) == 0).all()  # nothing differs
    assert (pca_colours(torch.rand(1, 3, 3))[..., 1:] == 0).all()  # one direction only
    with pytest.raises(ValueError, match="features has the shape"):
        pca_colours(torch.rand(3, 3))


def test_strongest_channels_vary_most() -> None:
    values = torch.stack([torch.full((4, 4), 9.0), torch.rand(4, 4), torch.rand(4, 4) * 5])
    assert strongest_channels(values) == [2, 1, 0]


def test_feature_grid_names_its_channels() -> None:
    torch.manual_seed(0)
    model = SmallNet()
    figure = feature_grid(model, IMAGE, "stem", channels=5)
    titled = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert len(titled) == 5 and len({title.split(":")[0] for title in titled}) == 5
    assert "5 strongest of 8 channels, stride 2, sees 3×3" in figure.get_suptitle()
    figure.canvas.draw()
    with pytest.raises(ValueError, match="layer is 'nothing'"):
        feature_grid(model, IMAGE, "nothing")
    with pytest.raises(ValueError, match="channels is 0"):
        feature_grid(model, IMAGE, "stem", channels=0)


def test_feature_strip_has_one_column_a_stage() -> None:
    figure = feature_strip(SmallNet(), IMAGE)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[0] == "the picture\n3×32×48" and titles[1].startswith("stem\n8×16×24")
    assert titles[2].startswith("body\n12×8×12")
    assert len(feature_strip(SmallNet(), IMAGE, layers=["body.0"]).axes) == 4


def test_receptive_field_is_drawn_where_it_lies() -> None:
    figure = draw_receptive_field(SmallNet(), IMAGE, "body", 2, -1)
    box = figure.axes[1].patches[-1].get_bbox()
    assert (box.x0, box.y0, box.x1, box.y1) == (40.5, 4.5, 47.5, 11.5)  # rows 5 to 11, columns 41 to 47
    assert "rows 5–11, columns 41–47" in figure.axes[2].get_title()
    with pytest.raises(ValueError, match="row, column is 8, 0; expected a cell of body"):
        draw_receptive_field(SmallNet(), IMAGE, "body", 8, 0)


def test_show_images() -> None:
    figure = show_images([IMAGE, IMAGE.permute(1, 2, 0).numpy()], ["tensor", "array"])
    assert [axis.get_title() for axis in figure.axes] == ["tensor", "array"]
    with pytest.raises(ValueError, match="titles has 1 entries for 2 images"):
        show_images([IMAGE, IMAGE], ["one"])
    with pytest.raises(ValueError, match="images has 0"):
        show_images([])
