"""The player shows the frame that it stands at, whichever hand moved it."""

import base64

import numpy as np
import pytest
import torch

from lib.datasets.toyworld import SEMANTIC_COLOURS
from lib.viz.clips.depths import depth_colours
from lib.viz.clips.player import play_clip
from lib.viz.clips.steady import paint_clip

NAMES, COLOURS = ("sky", "sphere"), SEMANTIC_COLOURS[:2]
IMAGES = torch.linspace(0, 1, 3 * 3 * 8 * 8).view(3, 3, 8, 8)
MAPS = torch.ones(3, 8, 8, dtype=torch.int64)
MAPS[1:, 2:6, 2:6] = 5
CLIP = (MAPS, [{"id": 1, "label": 0, "isthing": False}, {"id": 5, "label": 1, "isthing": True}])
DEPTH = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0)) * 40 + 1


def player(images=IMAGES, panoptic=CLIP, depth=DEPTH, names=NAMES, colours=COLOURS, **changes):
    return play_clip(images, panoptic, depth, names, colours, **changes)


def controls(widget):
    return widget.children[0].children  # play, slider


def test_picture_segments_and_depth_of_the_frame_stand_side_by_side():
    axes = player(frame=2).figure().axes
    assert [axis.get_title() for axis in axes[:3]] == ["picture", "segments", "depth"]
    picture, segments, depth = (np.asarray(axis.images[0].get_array()) for axis in axes[:3])
    assert np.allclose(picture, IMAGES[2].permute(1, 2, 0), atol=0.003)
    assert np.allclose(segments, paint_clip("clip", CLIP, COLOURS)[2])
    assert np.allclose(depth, depth_colours(DEPTH[2]))
    assert [text.get_text() for text in axes[1].texts] == ["5"]
    assert axes[3].get_yticklabels()[-1].get_text() == "50 m"


def test_play_slider_and_frame_move_together_and_a_frame_is_drawn_once(monkeypatch):
    widget = player()
    play, slider = controls(widget)
    first, drawn = widget._picture.value, []
    monkeypatch.setattr(widget, "figure", lambda: drawn.append(widget.frame) or type(widget).figure(widget))
    slider.value = 1
    assert (widget.frame, play.value) == (1, 1) and widget._picture.value != first
    play.value = 2
    assert (widget.frame, slider.value) == (2, 2)
    widget.frame = 0
    assert (play.value, slider.value) == (0, 0) and widget._picture.value == first
    slider.value = 1
    assert drawn == [1, 2]
    assert (play.max, slider.max, play.interval) == (2, 2, 500)


def test_readers_without_a_kernel_get_the_picture_and_the_text():
    widget = player(frame=1)
    bundle = widget._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/plain"] == repr(widget) == "ClipPlayer: frame 1 of 3 (the first is 0); things: 5: sphere"
    assert player().words().endswith("things: none")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"images": IMAGES[0]}, "images"),
        ({"images": IMAGES[:0]}, "images"),
        ({"panoptic": (MAPS[:2], CLIP[1])}, "panoptic"),
        ({"panoptic": (MAPS, CLIP[1][:1])}, "panoptic"),
        ({"depth": DEPTH[0]}, "depth"),
        ({"colours": COLOURS[:1]}, "colours"),
        ({"frame": 3}, "frame"),
        ({"frame": -1}, "frame"),
        ({"per_second": 0}, "per_second"),
    ],
)
def test_bad_input_is_named(changes, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        player(**changes)
