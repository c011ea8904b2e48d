"""How the boxes of a detector that reads words are mended, layer by layer (lesson 19)."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from torch import Tensor

from lib.viz.basics.draw import panels
from lib.viz.detection.boxes import box_patch, check_boxes, show_picture, thin_boxes

COLUMNS = 5


def draw_refined(image: Tensor, layers: Sequence[Tensor], titles: Sequence[str], size: float = 1.95) -> Figure:
    """The boxes of the same queries after the selection and after each decoder layer, side by side.

    Where a box was in the picture before is dotted.

    Args:
        image: (3, H, W) floats 0..1.
        layers: for each picture the boxes (n, 4) xyxy pixels; row i is always of the same query. n may be 0.
        titles: as many.
        size: width of a picture in inches.

    Raises:
        ValueError: there is no layer, there are other numbers of titles, or layers differ in their numbers of boxes.
    """
    if not layers:
        raise ValueError("layers is empty; expected at least one")
    if len(titles) != len(layers):
        raise ValueError(f"titles has {len(titles)} entries; expected {len(layers)}, one for each layer")
    shown = [check_boxes(f"layers[{number}]", boxes) for number, boxes in enumerate(layers)]
    counts = [len(boxes) for boxes in shown]
    if len(set(counts)) > 1:
        raise ValueError(f"layers has {counts} boxes; expected as many in each, row by row of the same queries")
    figure, axes = panels(len(shown), COLUMNS, size, image.shape[-2] / image.shape[-1])
    for number, (axis, boxes, title) in enumerate(zip(axes, shown, titles, strict=True)):
        show_picture(axis, image, title, dim=0.4)
        if number:
            thin_boxes(axis, shown[number - 1], "white", 1.3, 1.0, ":")
        for box in boxes:
            box_patch(axis, box, "white", width=1.4)
        axis.set(xlim=(0, image.shape[-1]), ylim=(image.shape[-2], 0))
    return figure
