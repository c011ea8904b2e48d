"""Outputs as they are stored: the same run gives the same bytes, and a reader without a kernel sees everything.

Widgets live in a kernel, so what is stored of one is the static picture or text that it carries along; pictures keep
their pixels and lose the name of the program that drew them; addresses and a progress bar's clock go.
"""

import base64
import io
import re

from nbformat import NotebookNode
from PIL import Image

WIDGET = "application/vnd.jupyter.widget-view+json"
LARGE_PICTURE = 150_000  # bytes; a larger one is stored as a JPEG
JPEG_QUALITY = 90

# tests/nbval_sanitise.cfg holds the same rewriting, for the outputs that nbval compares with the stored ones.
ADDRESS = (re.compile(r"\bat 0x[0-9a-fA-F]{6,}"), "at 0x0")
PROGRESS_BAR = (re.compile(r"^(.*?)\s*0%\|[^|]*\| 0/(\S+) \[.*\]$", re.MULTILINE), r"\1 (a progress bar of \2 steps)")
_EMBEDDED_PNG = re.compile(r"(data:image/png;base64,)([A-Za-z0-9+/=\s]+)")


def tidy(notebook: NotebookNode) -> None:
    """Bring all outputs of an executed notebook to the form in which they are stored, in place."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [_tidy_output(output) for output in cell.outputs]
            cell.metadata.pop("execution", None)


def _tidy_output(output: NotebookNode) -> NotebookNode:
    if output.output_type == "stream":
        output.text = _plain(output.text)
    elif output.output_type == "error":
        output.evalue = _plain(output.evalue)
        output.traceback = [f"{output.ename}: {output.evalue}"]  # the frames hold paths of the machine that ran it
    else:
        output.data.pop(WIDGET, None)
        for kind, value in list(output.data.items()):
            if kind == "image/png":
                del output.data[kind]
                stored_as, data = plain_picture(value)
                output.data[stored_as] = data
            elif kind.startswith("text/") or kind == "image/svg+xml":
                value = _EMBEDDED_PNG.sub(
                    lambda found: found[1] + plain_picture(found[2], photo=False)[1].strip(), value
                )
                output.data[kind] = _plain(value)
    return output


def _plain(text: str) -> str:
    for pattern, replacement in (ADDRESS, PROGRESS_BAR):
        text = pattern.sub(replacement, text)
    return text


def plain_picture(encoded: str, *, photo: bool = True) -> tuple[str, str]:
    """A PNG (base64) as a function of its pixels alone, without metadata: its kind and its bytes (base64).

    A large one, photos mostly, becomes a JPEG of full colour resolution where `photo` allows it. (A palette of 256
    colours would mix the others out of dots, and dots look like the patterns that some lessons speak of.)
    """
    picture = Image.open(io.BytesIO(base64.b64decode(encoded)))
    if picture.mode == "RGBA" and picture.getextrema()[3][0] == 255:
        picture = picture.convert("RGB")  # opaque everywhere
    kind, data = "image/png", _png_bytes(picture)
    if photo and len(data) > LARGE_PICTURE and picture.mode == "RGB":
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0, optimize=True)
        if len(buffer.getvalue()) < len(data):
            kind, data = "image/jpeg", buffer.getvalue()
    return kind, base64.b64encode(data).decode("ascii") + "\n"


def _png_bytes(picture: Image.Image) -> bytes:
    picture.info.clear()
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
