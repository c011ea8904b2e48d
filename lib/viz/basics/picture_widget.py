"""What the small widgets have in common: some controls, and a picture that is drawn anew when one of them moves."""

import base64
import io

import ipywidgets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


class PictureWidget(ipywidgets.VBox):
    """Controls in a row, and below them a picture. Readers without a kernel see it as a PNG with `repr` as its text.

    A subclass calls `link` for each control, and gives `figure`, which draws the state that the controls describe.

    Args:
        controls: sliders, menus, ... in the order in which they are shown.
        below: what stands under the picture.
        picture: what shows the PNG that is its `value`, such as a `ClickPicture`; None: an `ipywidgets.Image`.
    """

    def __init__(
        self,
        controls: list[ipywidgets.Widget],
        below: tuple[ipywidgets.Widget, ...] = (),
        picture: ipywidgets.DOMWidget | None = None,
    ) -> None:
        self._picture = ipywidgets.Image(format="png") if picture is None else picture
        super().__init__([ipywidgets.HBox(controls), self._picture, *below])

    def link(self, name: str, control: ipywidgets.Widget) -> None:
        """Tie the trait `name` to a control's value, both ways, and draw anew when it changes."""
        ipywidgets.link((self, name), (control, "value"))
        self.observe(self.draw, names=name)

    def figure(self) -> Figure:
        """The picture, as the controls stand."""
        raise NotImplementedError

    def draw(self, change: object = None) -> None:
        """Show `figure()`. `change` is what ipywidgets tells an observer."""
        buffer = io.BytesIO()
        FigureCanvasAgg(self.figure()).print_png(buffer)
        self._picture.value = buffer.getvalue()

    def _repr_mimebundle_(self, **arguments: object) -> dict:
        bundle = dict(super()._repr_mimebundle_(**arguments))
        bundle["text/plain"] = repr(self)
        bundle["image/png"] = base64.b64encode(self._picture.value).decode()
        return bundle
