import base64

import ipywidgets
import pytest
import traitlets
from matplotlib.figure import Figure

from lib.viz.basics.picture_widget import PictureWidget


class Bar(PictureWidget):
    height = traitlets.Int(1)

    def __init__(self) -> None:
        self.slider = ipywidgets.IntSlider(1, 0, 9)
        super().__init__([self.slider], (ipywidgets.HTML("below"),))
        self.link("height", self.slider)
        self.draw()

    def figure(self) -> Figure:
        figure = Figure(figsize=(1, 1))
        figure.subplots().bar([0], [self.height])
        return figure

    def __repr__(self) -> str:
        return f"Bar: {self.height}"


def test_slider_and_trait_move_together_and_the_picture_follows():
    bar = Bar()
    first = bar._picture.value
    bar.slider.value = 5
    second = bar._picture.value
    assert bar.height == 5 and second != first
    bar.height = 1
    assert bar.slider.value == 1 and bar._picture.value == first


def test_readers_without_a_kernel_get_the_picture_and_the_text():
    bar = Bar()
    bundle = bar._repr_mimebundle_()
    assert bundle["text/plain"] == "Bar: 1"
    png = base64.b64decode(bundle["image/png"])
    assert png == bytes(bar._picture.value) and png.startswith(b"\x89PNG")
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_a_widget_without_a_figure_says_so():
    with pytest.raises(NotImplementedError):
        PictureWidget([]).draw()
