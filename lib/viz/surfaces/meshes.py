"""Meshes looked at: as a still picture, and as one that is turned with the mouse (lesson 13)."""

from math import cos, radians, sin

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backend_bases import MouseButton, MouseEvent
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from torch import Tensor

from lib.viz.basics.draw import PAGE

# On import, ipympl makes itself the backend of all figures of the notebook. Here it is to draw its own ones alone.
_use = matplotlib.use
matplotlib.use = lambda *_, **__: None
try:
    from ipympl.backend_nbagg import Canvas, FigureManager
finally:
    matplotlib.use = _use

Mesh = tuple[Tensor, Tensor]  # vertices (V, 3) x right, y down, z away; faces (F, 3)
Look = tuple[float, float]  # height and side of the eye, degrees: 30 to the right of where the camera stands, say
CAMERA: Look = (0.0, 0.0)  # along z, as the picture is seen
ASIDE: Look = (18.0, 30.0)  # a little from above, and from the right
GREY = "#9AA5B1"
LIGHT = (-0.4, 0.7, 0.6)  # comes from the left, from above, and from the eye: it stays there when a mesh is turned
LINE = 0.17  # height of a title's line, inches
LIVE = 8.0  # inches: a live figure is not made smaller where the page is narrow, as a still one is
ROOM, LEAST = 1.1, 1.02  # of a panel, in what the cube of space needs there: as it stands, and if it is turned


def draw_meshes(
    meshes: dict[str, Mesh],
    colours: dict[str, str] | None = None,
    look: Look = ASIDE,
    size: float = 2.1,
    axis_length: float = 1.0,
) -> Figure:
    """Meshes side by side, all seen from the same place, without perspective.

    Args:
        meshes: by title the vertices (V, 3) in x right, y down, z away, and the faces (F, 3); F may be 0.
        colours: by title; grey where there is none.
        look: height and side of the eye in degrees; `CAMERA` looks along z, as the picture does.
        size: width of one in inches; smaller where a row would be wider than the page.
        axis_length: of the space that is shown, along x, y and z: from minus this to this. It is to hold the meshes.

    Raises:
        ValueError: there is no mesh, a shape is wrong, a face names a vertex that is not there, a vertex is infinite or
            not a number, a colour belongs to no mesh, or a size is not above 0.
    """
    _check(meshes, colours or {}, size, axis_length)
    height, side = (radians(angle) for angle in look)
    across = abs(cos(side)) + abs(sin(side))  # how far the corners of a cube reach, seen from there
    reach = torch.tensor([across, abs(cos(height)) + abs(sin(height)) * across]) * ROOM * axis_length
    figure = plt.figure(facecolor="white")
    axes = _row(figure, list(meshes), size, reach)
    for axis, (title, mesh) in zip(axes, meshes.items()):
        paint_mesh(axis, mesh, (colours or {}).get(title, GREY), look)
    return figure


def explore_meshes(
    meshes: dict[str, Mesh],
    colours: dict[str, str] | None = None,
    look: Look = ASIDE,
    size: float = 2.1,
    axis_length: float = 1.0,
) -> "MeshExplorer":
    """The picture of `draw_meshes`, to be turned: drag any mesh with the mouse, and all turn alike."""
    _check(meshes, colours or {}, size, axis_length)
    return MeshExplorer(meshes, colours or {}, look, size, axis_length)


class MeshExplorer(Canvas):
    """What `explore_meshes` gives: ipympl's live figure. Readers without a kernel see it as a PNG."""

    def __init__(
        self, meshes: dict[str, Mesh], colours: dict[str, str], look: Look, size: float, axis_length: float
    ) -> None:
        self.meshes, self.colours, self.look = meshes, colours, look
        figure = Figure(facecolor="white")
        reach = torch.tensor([2.0, 3.0]).sqrt() * LEAST * axis_length  # of a cube's corners, whichever way it is turned
        axes = _row(figure, list(meshes), min(size, LIVE / len(meshes)), reach)
        self._painted = [
            paint_mesh(axis, mesh, colours.get(title, GREY), look) for axis, (title, mesh) in zip(axes, meshes.items())
        ]
        self._drawn, self._held = look, (0.0, 0.0)
        super().__init__(figure)
        self.toolbar_visible = self.header_visible = self.footer_visible = self.resizable = False
        manager = FigureManager(self, num=0)
        self.mpl_disconnect(manager.key_press_handler_id)  # no key changes the figure
        self.mpl_connect("button_press_event", self._drag)
        self.mpl_connect("motion_notify_event", self._drag)

    def turn(self, height: float, side: float) -> None:
        """Look from this height and side, in degrees, as dragging does."""
        self.look = (min(max(height, -90.0), 90.0), (side + 180) % 360 - 180)
        self.draw_idle()

    def draw(self) -> None:
        """Draw the meshes as they are looked at now."""
        self._aim()
        super().draw()

    def _aim(self) -> None:
        if self._drawn != self.look:
            for painted, (title, mesh) in zip(self._painted, self.meshes.items()):
                if len(mesh[1]):
                    _place(painted, mesh, self.colours.get(title, GREY), self.look)
            self._drawn = self.look

    def _drag(self, event: MouseEvent) -> None:
        """Half a turn for the width of a mesh: what is held follows the mouse."""
        if event.name == "motion_notify_event" and MouseButton.LEFT in event.buttons:
            degrees = 180 / self.figure.axes[0].bbox.width
            right, up = (degrees * (now - before) for now, before in zip((event.x, event.y), self._held))
            self.turn(self.look[0] - up, self.look[1] - right)
        self._held = (event.x, event.y)

    def __repr__(self) -> str:
        titles = ", ".join(title.replace("\n", " ") for title in self.meshes)
        height, side = (round(angle) for angle in self.look)
        above, right = "above" if height >= 0 else "below", "right" if side >= 0 else "left"
        return f"MeshExplorer: {titles}; seen from {abs(height)}° {above}, {abs(side)}° to the {right}"

    def _repr_mimebundle_(self, **arguments: object) -> dict:
        self._aim()
        bundle = super()._repr_mimebundle_(**arguments)
        del bundle["text/html"]  # the PNG once more
        return bundle | {"text/plain": repr(self)}


def paint_mesh(
    axis: Axes,
    mesh: Mesh,
    colour: str = GREY,
    look: Look = ASIDE,
    middle: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
) -> PolyCollection:
    """One mesh on a plain axis whose y runs up: the farthest face first, so that nearer ones hide it.

    Args:
        mesh: vertices (V, 3) and faces (F, 3).
        look: see `draw_meshes`.
        middle: where on the axis the mesh's origin falls.
        scale: units of the axis to a unit of the mesh.

    Raises:
        ValueError: as `draw_meshes`.
    """
    _check_mesh("mesh", mesh)
    painted = PolyCollection([], linewidths=0.3)
    axis.add_collection(painted, autolim=False)
    if len(mesh[1]):
        _place(painted, mesh, colour, look, middle, scale)
    else:
        axis.text(*middle, "no faces", ha="center", va="center", fontsize=8, color="#777777")
    return painted


def _place(
    painted: PolyCollection, mesh: Mesh, colour: str, look: Look,
    middle: tuple[float, float] = (0.0, 0.0), scale: float = 1.0,
) -> None:  # fmt: skip
    """Give the faces their places on the axis, their order, and the colours that they have in this light."""
    verts, faces = (one.detach().cpu() for one in mesh)
    corners = verts.double()[faces.long()]  # (F, 3, 3)
    height, side = (radians(angle) for angle in look)
    axes = torch.tensor(  # of the picture: right, up, and towards the eye; each as x right, y down, z away
        [
            [cos(side), 0, sin(side)],
            [-sin(height) * sin(side), -cos(height), sin(height) * cos(side)],
            [cos(height) * sin(side), -sin(height), -cos(height) * cos(side)],
        ]
    ).double()
    seen = corners @ axes.T  # (F, 3, 3)
    order = seen[..., 2].mean(1).argsort()  # (F,)
    normals = torch.linalg.cross(seen[:, 1] - seen[:, 0], seen[:, 2] - seen[:, 0])  # (F, 3), outwards
    normals = normals / normals.norm(dim=1, keepdim=True).clamp(min=1e-12)
    light = torch.tensor(LIGHT).double()
    bright = (0.62 + 0.38 * (normals @ (light / light.norm())))[order, None].numpy()  # (F, 1), 0.24 .. 1
    colours = np.clip(bright * (np.array(to_rgb(colour)) + 0.12), 0, 1)  # (F, 3)
    painted.set_verts(np.array(middle) + scale * seen[order, :, :2].numpy())
    painted.set(facecolor=colours, edgecolor=0.8 * colours)


def _row(figure: Figure, titles: list[str], size: float, reach: Tensor) -> list[Axes]:
    """Give the figure its size, and a bare axis below each title that reaches so far across and up from its middle."""
    across, up = reach.tolist()
    size = min(size, PAGE / len(titles))
    high = size * up / across
    head = 0.08 + LINE * max(title.count("\n") + 1 for title in titles)  # inches, for the titles
    figure.set_size_inches(size * len(titles), high + head)
    axes = []
    for place, title in enumerate(titles):
        axis = figure.add_axes((place / len(titles), 0, 1 / len(titles), high / (high + head)))
        axis.set(xlim=(-across, across), ylim=(-up, up))
        axis.set_title(title, fontsize=9, pad=3, linespacing=1.1)
        axis.axis("off")
        axis.set_navigate(False)
        axes.append(axis)
    return axes


def _check(meshes: dict[str, Mesh], colours: dict[str, str], size: float, axis_length: float) -> None:
    if not meshes:
        raise ValueError("meshes is empty; expected at least one")
    for title, mesh in meshes.items():
        _check_mesh(f"meshes[{title!r}]", mesh)
    for title in colours:
        if title not in meshes:
            raise ValueError(f"colours has {title!r}; expected titles of meshes: {', '.join(map(repr, meshes))}")
    for name, value in (("size", size), ("axis_length", axis_length)):
        if not value > 0:
            raise ValueError(f"{name} is {value!r}; expected a number above 0")


def _check_mesh(name: str, mesh: Mesh) -> None:
    if len(mesh) != 2:
        raise ValueError(f"{name} has {len(mesh)} parts; expected two, vertices (V, 3) and faces (F, 3)")
    verts, faces = mesh
    if verts.ndim != 2 or verts.shape[1] != 3 or faces.ndim != 2 or faces.shape[1] != 3:
        raise ValueError(f"{name} has {tuple(verts.shape)}, {tuple(faces.shape)}; expected (V, 3) and (F, 3)")
    if not verts.isfinite().all():
        raise ValueError(f"{name} has a vertex that is infinite or not a number; expected finite ones")
    if len(faces) and not 0 <= faces.min() <= faces.max() < len(verts):
        raise ValueError(f"{name} names vertices {faces.min()}..{faces.max()}; expected 0..{len(verts) - 1}")
