"""What the page is made of: its scripts, its style, what it is told of a model, and the page that lives in one file."""

import base64
import html
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from lib.viz.explorer.activations import FeatureMap, Recording, stages
from lib.viz.explorer.layers import TABLE, Layer

HERE = Path(__file__).parent
AT_ONCE = 2**21  # bytes of stages that are sent with the widget itself, to be there while the kernel is busy
# the drawing, what was sent, buttons and bars, the panel, and what a reader does to it: no Jupyter in them
PANEL = ("drawing.js", "store.js", "controls.js", "panel.js", "show.js", "hands.js")
STYLE = (HERE / "explorer.css").read_text(encoding="utf-8")


def script(*names: str) -> str:
    """Scripts of this folder, one after the other: a page in a single file cannot import one from another."""
    return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)


def png(picture: Image.Image) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    return buffer.getvalue()


def about(model_name: str, recording: Recording, photo: np.ndarray, layers: dict[str, Layer]) -> dict:
    """What the page is told once: the photo (H, W, 3) bytes, the colours, every layer's line, the small stages."""
    listed = stages(recording.maps)
    names = {found.name for found in listed}
    heads, room = [], AT_ONCE
    for found in listed:
        room -= found.values.numel()
        if room >= 0:
            heads.append(layers[found.name].head())
    return {
        "model": model_name,
        "height": photo.shape[0],
        "width": photo.shape[1],
        "photo": png(Image.fromarray(photo)),
        "table": TABLE.tobytes(),
        "layers": [_line(found, found.name in names) for found in recording.maps],
        "without": [{"layer": name, "why": why} for name, why in recording.without.items()],
        "heads": heads,
    }


def _line(found: FeatureMap, stage: bool) -> dict:
    channels, height, width = found.shape
    words = f"{channels} channel{'s' * (channels > 1)} of {height}×{width} cells, {found.describe()}"
    return {"layer": found.name, "size": f"{height}×{width}", "words": words, "stage": stage, "inner": found.inner}


def write_page(path: str | Path, told: dict, layers: list[Layer], state: dict) -> int:
    """Write a page with these layers, complete, and give its size in bytes.

    Raises:
        ValueError: the folder of `path` is not there.
    """
    path = Path(path).expanduser()
    if not path.parent.is_dir():
        raise ValueError(f"path is {str(path)!r}; expected a file in a folder that is there")
    kept = {layer.found.name for layer in layers}
    told = told | {
        "layers": [line for line in told["layers"] if line["layer"] in kept],
        "heads": [layer.head() | layer.part(0, layer.found.shape[0]) for layer in layers],
    }
    data = json.dumps({"about": told, "state": state}, default=_as_text).replace("<", "\\u003c")
    page = (HERE / "saved.html").read_text(encoding="utf-8")
    for mark, text in {
        "TITLE": html.escape(f"Inside {told['model']}"),
        "STYLE": STYLE,
        "DATA": data,
        "SCRIPT": script(*PANEL, "saved.js"),
    }.items():
        page = page.replace(f"<!--{mark}-->", text)
    path.write_text(page, encoding="utf-8")
    return path.stat().st_size


def _as_text(value: object) -> dict:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"cannot be saved: {type(value).__name__}")
