"""A region of interest on the grid of a feature map: where rounding moves it, and its bins (lessons 07 and 12)."""

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from lib.viz.basics.draw import panels
from lib.viz.detection.boxes import CLASS_COLOURS, box_patch, check_boxes, show_picture, thin_boxes

ASKED, ROUNDED, BINS, POINTS = CLASS_COLOURS[1], CLASS_COLOURS[2], "#202020", CLASS_COLOURS[3]


def pooled_bins(box: Tensor, stride: int, output_size: int, quantised: bool) -> tuple[Tensor, Tensor]:
    """The region that is really read, and its bins, in pixels of the picture.

    Args:
        box: (4,) xyxy pixels.
        stride: pixels of a cell.
        output_size: bins along each side.
        quantised: as RoI pooling does it, with whole cells; else as RoIAlign does it, without any rounding.

    Returns:
        The region (4,) and the bins (output_size², 4), row by row. Bins of whole cells may overlap.
    """
    steps = torch.arange(output_size)
    cells = box.double() / stride  # (4,)
    if quantised:
        cells = (cells + 0.5).floor()  # a half goes up
        first, last = cells[:2], torch.maximum(cells[2:] + 1, cells[:2] + 1)  # the cell of the far corner is in
        width = (last - first) / output_size  # (2,) of a bin, in cells
        starts = first[:, None] + (steps * width[:, None]).floor()  # (2, output_size)
        ends = first[:, None] + ((steps + 1) * width[:, None]).ceil()
    else:
        first, last = cells[:2], cells[2:]
        width = (last - first) / output_size
        starts = first[:, None] + steps * width[:, None]  # (2, output_size)
        ends = starts + width[:, None]
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")  # (output_size, output_size) each
    bins = torch.stack([starts[0][columns], starts[1][rows], ends[0][columns], ends[1][rows]], dim=2)
    return (torch.cat([first, last]) * stride).float(), (bins.reshape(-1, 4) * stride).float()


def moved_edges(box: Tensor, region: Tensor) -> str:
    """By how many pixels each edge of the region (4,) lies right of, or below, that of the box (4,): "left +2, ..."."""
    edges = zip(("left", "top", "right", "bottom"), (region - box).tolist())
    return "edges moved, in pixels: " + ", ".join(f"{name} {by:+.3g}" for name, by in edges)


def draw_roi_grid(
    image: Tensor,
    box: Tensor,
    stride: int,
    output_size: int,
    quantised: bool = True,
    size: float = 4.5,
    around: float | None = None,
) -> Figure:
    """The picture with the cells of its feature map, a region, what is read of it, and the bins.

    Args:
        image: (3, H, W) floats 0..1.
        box: (4,) xyxy pixels, the region that was asked for.
        stride: pixels of a cell of the feature map.
        output_size: bins along each side.
        quantised: True rounds to whole cells (RoI pooling); False does not, and marks four points a bin (RoIAlign).
        size: width of the picture in inches.
        around: how many pixels of the picture to show on each side of the region; None: all of it.

    Raises:
        ValueError: `box` is not (4,), or `stride` or `output_size` is below 1.
    """
    if box.shape != (4,):
        raise ValueError(f"box has the shape {tuple(box.shape)}; expected (4,), xyxy pixels")
    for name, value in (("stride", stride), ("output_size", output_size)):
        if value < 1:
            raise ValueError(f"{name} is {value!r}; expected a whole number of at least 1")
    box = check_boxes("box", box[None])[0]
    region, bins = pooled_bins(box, stride, output_size, quantised)
    height, width = image.shape[-2:]
    figure, (axis,) = panels(1, 1, size, height / width)
    figure.set_figwidth(size + 2.2)
    show_picture(axis, image, moved_edges(box, region) if quantised else "nothing is rounded", dim=0.2)
    axis.hlines(range(0, height + 1, stride), 0, width, color="white", linewidth=0.6, alpha=0.7)
    axis.vlines(range(0, width + 1, stride), 0, height, color="white", linewidth=0.6, alpha=0.7)
    if quantised:
        box_patch(axis, region, ROUNDED, width=2.4, fill=0.25)
    thin_boxes(axis, bins, BINS, width=1.0, opacity=1.0)
    box_patch(axis, box, ASKED, width=2.4)
    handles = [Patch(facecolor="none", edgecolor=ASKED, linewidth=2, label="the region asked for")]
    if quantised:
        handles.append(Patch(facecolor=ROUNDED, edgecolor="#202020", label="the cells that are read"))
    else:
        quarters = torch.tensor([0.25, 0.75])
        sides = bins[:, 2:] - bins[:, :2]  # (bins, 2)
        points = torch.stack(
            [
                (bins[:, 0:1] + sides[:, 0:1] * quarters).repeat_interleave(2, 1),
                (bins[:, 1:2] + sides[:, 1:2] * quarters).repeat(1, 2),
            ],
            dim=2,
        )  # (bins, 4, 2)
        axis.plot(
            *points.reshape(-1, 2).T.numpy(),
            "o",
            color=POINTS,
            markersize=5,
            markeredgecolor="#202020",
            markeredgewidth=0.5,
        )
        handles.append(Patch(facecolor=POINTS, edgecolor="#202020", label="points that are read"))
    handles.append(Patch(facecolor="none", edgecolor=BINS, label=f"{output_size} × {output_size} bins"))
    if around is not None:
        left, top, right, bottom = box.tolist()
        axis.set(xlim=(left - around, right + around), ylim=(bottom + around, top - around))
    figure.legend(handles=handles, loc="outside right center", frameon=False, fontsize=9)
    return figure
