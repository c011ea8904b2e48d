import base64
import io
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from lib.ops.meshes import cubify
from lib.viz.basics.draw import PAGE
from lib.viz.surfaces.meshes import ASIDE, CAMERA, draw_meshes, explore_meshes, paint_mesh

EMPTY = (torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.int64))


def stairs(full: bool = False):
    voxels = torch.ones(1, 3, 3, 3) if full else torch.zeros(1, 3, 3, 3)
    voxels[0, 0, 0, 0] = voxels[0, 0, 1, :2] = voxels[0, 0, 2] = 1  # in front, going down to the right
    meshes = cubify(voxels, 0.5, align="corner")
    return meshes.verts[0], meshes.faces[0]


def pixels(figure) -> np.ndarray:
    """(H, W, 3): the figure as it is drawn."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def ink(picture: np.ndarray) -> np.ndarray:
    """(H, W) bool: what is not white."""
    return (picture < 250).any(2)


def test_every_mesh_stands_below_its_title_in_one_row():
    meshes = {f"mesh {number}": stairs() for number in range(5)}
    figure = draw_meshes(meshes, {"mesh 3": "#D55E00"})
    assert [axis.get_title() for axis in figure.axes] == list(meshes)
    assert figure.get_figwidth() == pytest.approx(PAGE)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    for axis in figure.axes:
        title = axis.title.get_window_extent(renderer)
        assert title.y0 >= axis.get_window_extent(renderer).y1 and title.y1 <= figure.bbox.y1
    colours = [np.array(axis.collections[0].get_facecolor())[:, :3].mean(0) for axis in figure.axes]
    assert np.allclose(colours[0], colours[1]) and not np.allclose(colours[0], colours[3])


def rims(picture: np.ndarray, panels: int, head: float) -> np.ndarray:
    """What there is on the rims of panels in a row below `head`, a share of the height: (pixels,) bool."""
    seen = ink(picture)[round(head * len(picture)) + 1 :]
    return np.concatenate([np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])
                           for part in np.array_split(seen, panels, axis=1)])  # fmt: skip


@pytest.mark.parametrize("look", [CAMERA, ASIDE, (35.3, 45.0), (-35.3, 135.0), (90.0, 45.0), (0.0, -45.0)])
def test_nothing_is_cut_off_however_a_cube_is_turned(look):
    cubes = {"one": stairs(full=True), "two\nlines": stairs(full=True)}
    figure = draw_meshes(cubes, look=look)
    head = 1 - figure.axes[0].get_position().height
    assert not rims(pixels(figure), 2, head).any()
    explorer = explore_meshes(cubes)
    explorer.turn(*look)
    picture = Image.open(io.BytesIO(base64.b64decode(explorer._repr_mimebundle_()["image/png"]))).convert("RGB")
    head = 1 - explorer.figure.axes[0].get_position().height
    assert not rims(np.asarray(picture), 2, head).any() and ink(np.asarray(picture)).mean() > 0.1


def test_from_the_camera_a_mesh_lies_as_in_the_picture():
    seen = ink(pixels(draw_meshes({"": stairs()}, look=CAMERA)))
    rows, columns = np.nonzero(seen)
    seen = seen[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    thirds = [[part.mean() > 0.5 for part in np.array_split(row, 3, axis=1)] for row in np.array_split(seen, 3)]
    assert thirds == [[True, False, False], [True, True, False], [True, True, True]]


def test_sides_that_face_the_light_are_brighter():
    verts, faces = stairs(full=True)
    a, b, c = verts[faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)  # x right, y down, z away
    for axis in range(3):
        towards, away = ((verts, faces[normals[:, axis] * sign > 1e-6]) for sign in (-1, 1))
        bright = [
            one.collections[0].get_facecolor().mean()
            for one in draw_meshes({"a": towards, "b": away}, look=CAMERA).axes
        ]
        assert bright[0] > bright[1] + 0.05, "light comes from the left, from above and from before"


def test_a_mesh_without_faces_is_said_to_have_none():
    figure = draw_meshes({"nothing": EMPTY, "something": stairs()})
    pixels(figure)
    assert [text.get_text() for text in figure.axes[0].texts] == ["no faces"]


@pytest.mark.parametrize("show", [draw_meshes, explore_meshes])
@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (({},), "meshes is empty"),
        (({"a": (torch.zeros(2, 2), EMPTY[1])},), r"meshes\['a'\] has \(2, 2\)"),
        (({"a": (torch.zeros(2, 3), torch.zeros(1, 4).long())},), r"meshes\['a'\] has"),
        (({"a": (torch.zeros(2, 3), torch.tensor([[0, 1, 2]]))},), r"meshes\['a'\] names vertices 0\.\.2"),
        (({"a": (torch.full((3, 3), torch.nan), torch.tensor([[0, 1, 2]]))},), r"meshes\['a'\] has a vertex"),
        (({"a": (*EMPTY, 1)},), r"meshes\['a'\] has 3 parts"),
        (({"a": EMPTY}, {"b": "red"}), "colours has 'b'"),
        (({"a": EMPTY}, None, ASIDE, 0), "size is 0"),
        (({"a": EMPTY}, None, ASIDE, 2.0, -1.0), "axis_length is -1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(show, arguments, word):
    with pytest.raises(ValueError, match=f"^{word}"):
        show(*arguments)
    assert plt.get_fignums() == []


# ------------------------------------------------------------------------------------------------ to be turned


def test_readers_without_a_kernel_get_a_picture_and_a_text_that_are_the_same_each_time():
    bundles = [explore_meshes({"before": stairs(), "after\nall": EMPTY})._repr_mimebundle_() for _ in range(2)]
    widget = "application/vnd.jupyter.widget-view+json"
    assert all(set(bundle) == {"text/plain", "image/png", widget} for bundle in bundles)
    texts, pictures = ({bundle[kind] for bundle in bundles} for kind in ("text/plain", "image/png"))
    assert texts == {"MeshExplorer: before, after all; seen from 18° above, 30° to the right"}
    assert len(pictures) == 1
    picture = Image.open(io.BytesIO(base64.b64decode(pictures.pop())))
    assert picture.width <= 100 * PAGE and ink(np.asarray(picture.convert("RGB"))).mean() > 0.05


def outlines(explorer) -> list[np.ndarray]:
    """(F, 4, 2) for each mesh: its faces, as they lie on the page."""
    return [np.stack([path.vertices for path in axis.collections[0].get_paths()]) for axis in explorer.figure.axes]


def test_all_meshes_turn_alike():
    explorer = explore_meshes({"a": stairs(), "nothing": EMPTY, "b": stairs()}, look=CAMERA)
    first = explorer._repr_mimebundle_()["image/png"]
    explorer.turn(40, -100)
    assert explorer.look == (40, -100) and "40° above, 100° to the left" in repr(explorer)
    turned = explorer._repr_mimebundle_()["image/png"]
    assert turned == explore_meshes(explorer.meshes, look=(40, -100))._repr_mimebundle_()["image/png"] != first
    explorer.turn(-100, 190)
    assert explorer.look == (-90, -170), "not beyond the pole; angles stay small"
    assert "90° below, 170° to the left" in repr(explorer)


def mouse(explorer, kind: str, x: float, y: float, buttons: int, button: int = 0) -> None:
    """What the page sends: x right and y down, in pixels."""
    event = {"type": kind, "x": x, "y": y, "button": button, "buttons": buttons, "modifiers": [], "guiEvent": None}
    explorer._handle_message(explorer, event, [])


def test_what_is_held_follows_the_mouse():
    explorer = explore_meshes({"a": stairs(), "b": stairs()}, look=CAMERA, size=2.0)
    explorer.draw()
    before = outlines(explorer)
    mouse(explorer, "button_press", 100, 120, 1)
    mouse(explorer, "motion_notify", 150, 140, 1)
    mouse(explorer, "motion_notify", 160, 150, 1)
    assert explorer.look == pytest.approx((27, -54)), "180° for 200 pixels: down and to the right"
    explorer.draw()
    after = outlines(explorer)
    assert np.allclose(after[0], after[1]) and not np.allclose(after[0], before[0])
    mouse(explorer, "button_release", 160, 150, 0)
    mouse(explorer, "motion_notify", 200, 100, 0)
    assert explorer.look == pytest.approx((27, -54)), "let go"
    mouse(explorer, "button_press", 20, 20, 1)
    mouse(explorer, "motion_notify", 20, 30, 1)
    assert explorer.look == pytest.approx((36, -54)), "held anew, it does not leap"


@pytest.mark.parametrize(("button", "buttons"), [(1, 4), (2, 2)])
def test_other_buttons_turn_nothing(button, buttons):
    explorer = explore_meshes({"a": stairs()})
    mouse(explorer, "button_press", 100, 120, buttons, button)
    mouse(explorer, "motion_notify", 150, 160, buttons, button)
    assert explorer.look == ASIDE


def test_no_key_changes_the_figure():
    explorer = explore_meshes({"a": stairs()})
    for key in ("kp", "ko", "kq", "kg", "kl"):
        explorer._handle_message(explorer, {"type": "key_press", "key": key, "guiEvent": None}, [])
    assert explorer.manager.toolbar.mode.name == "NONE"
    mouse(explorer, "button_press", 50, 50, 1)
    mouse(explorer, "motion_notify", 60, 50, 1)
    assert explorer.look != ASIDE and explorer.figure.axes[0].get_xscale() == "linear"


def test_other_figures_keep_their_backend_and_none_stays_open():
    asked = (
        "import matplotlib.pyplot as plt; plt.switch_backend('svg')\n"
        "import torch\nfrom lib.viz.surfaces.meshes import explore_meshes\n"
        "explore_meshes({'a': (torch.zeros(0, 3), torch.zeros(0, 3).long())})\n"
        "print(plt.get_backend(), plt.get_fignums(), type(plt.figure().canvas).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["svg", "[]", "FigureCanvasSVG"]


# ------------------------------------------------------------------------------------------------ on a plain axis


@pytest.mark.parametrize("look", [CAMERA, ASIDE, (-20.0, 130.0)])
def test_on_a_plain_axis_a_mesh_looks_as_on_its_own(look):
    own = pixels(draw_meshes({"": stairs()}, look=look, size=3))
    figure = plt.figure(figsize=(3, 3), facecolor="white")
    axis = figure.add_axes((0, 0, 1, 1))
    axis.axis("off")
    paint_mesh(axis, stairs(), look=look)
    axis.set(xlim=(-2, 2), ylim=(-2, 2))
    cut = []
    for picture in (own, pixels(figure)):
        rows, columns = np.nonzero(ink(picture))
        cut.append(picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].astype(np.uint8))
    one, other = (np.asarray(Image.fromarray(some).resize((60, 60))).astype(int) for some in cut)
    assert np.abs(one - other).mean() < 8


def test_a_mesh_on_a_plain_axis_stands_where_it_is_told():
    axis = plt.figure().add_subplot()
    paint_mesh(axis, stairs(full=True), look=CAMERA, middle=(5.0, 3.0), scale=0.5)
    corners = np.concatenate([path.vertices for path in axis.collections[0].get_paths()])
    assert np.allclose(corners.min(0), (4.5, 2.5)) and np.allclose(corners.max(0), (5.5, 3.5))
    paint_mesh(axis, EMPTY)
    with pytest.raises(ValueError, match="^mesh has"):
        paint_mesh(axis, (torch.zeros(3, 2), EMPTY[1]))
