"""The picture of non-maximum suppression as a drawing in the page (SVG): see `suppression`.

A row of the list that is pointed at or clicked lights up its box, without asking Python.
"""

import base64
import io

import numpy as np
from PIL import Image

from lib.viz.basics.draw import to_pixels
from lib.viz.detection.boxes import ink_on
from lib.viz.detection.suppression import MOST_LINES, WIDTHS, Suppression, letter

SIDE, LINE, LIST, DISC = 430, 23, 450, 9  # screen pixels: the picture, a row, the list's width, a letter's radius
DASHES = {"kept": "none", "removed": "5 3", "undecided": "none"}
STYLE = """<style>
.nms-one { outline: none; cursor: pointer; }
.nms-one .nms-row { fill: transparent; }
.nms-one:hover .nms-row, .nms-one:focus .nms-row { fill: #F0E44288; }
.nms-one:hover .nms-box, .nms-one:focus .nms-box { stroke-width: 6; stroke-dasharray: none; stroke-opacity: 1; }
.nms-one:hover .nms-inside, .nms-one:focus .nms-inside { fill-opacity: 0.35; }
</style>"""


def drawing(suppression: Suppression, rounds: int | None) -> str:
    """The boxes on their picture, and the list, as HTML (an SVG drawing). A box and its row light up together."""
    pixels = to_pixels(suppression.image)  # (H, W, 3)
    scale = SIDE / max(pixels.shape[:2])
    high, wide = (scale * side for side in pixels.shape[:2])
    rows = suppression.lines(rounds)[:MOST_LINES]
    tall = max(high, LINE * (len(rows) + 2))
    parts = [
        f'<svg viewBox="0 0 {wide + LIST:.0f} {tall:.0f}" style="width: 100%; max-width: {wide + LIST:.0f}px; '
        'font: 14px sans-serif" role="img" aria-label="boxes and what became of them">',
        '<defs><marker id="nms-tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="context-stroke"/></marker></defs>',
        f'<image href="{_data_uri(pixels)}" width="{wide:.0f}" height="{high:.0f}" '
        'style="image-rendering: pixelated; filter: grayscale(0.6) brightness(0.75)"/>',
        f'<text x="{wide + 20:.0f}" y="{LINE * 0.7:.0f}" fill="currentColor" font-weight="bold">'
        f"IoU threshold {suppression.threshold:.2f}: {suppression.count(rounds)}</text>",
    ]
    states = suppression.states(rounds)
    for place in reversed(range(len(states))):
        row = rows[place] if place < len(rows) else ""
        parts.append(_svg_box(suppression, place, states[place], scale, row, wide + 20))
    for place in reversed(range(len(states))):
        parts.append(_svg_letter(suppression, place, states[place], scale))
    if len(states) > len(rows):
        parts.append(_svg_text(wide + 44, LINE * (len(rows) + 1.7), f"… and {len(states) - len(rows)} more"))
    return STYLE + "".join(parts) + "</svg>"


def _svg_box(suppression: Suppression, place: int, state: str, scale: float, row: str, list_x: float) -> str:
    """One box and its row of the list, in a group that lights up when either of them is pointed at or clicked."""
    x1, y1, x2, y2 = (scale * suppression.boxes[place]).tolist()
    colour, width = suppression.colour(place), 1.5 * WIDTHS[state]
    rectangle = f'<rect x="{x1:.1f}" y="{y1:.1f}" width="{x2 - x1:.1f}" height="{y2 - y1:.1f}" fill='
    parts = [
        '<g class="nms-one" tabindex="0">',
        f'{rectangle}"{colour}" class="nms-inside" fill-opacity="0" pointer-events="none"/>',
        f'{rectangle}"none" stroke="{ink_on(colour)}" stroke-width="{width + 2:.1f}" stroke-opacity="0.7"/>',
        f'{rectangle}"none" stroke="{colour}" stroke-width="{width:.1f}" stroke-dasharray="{DASHES[state]}" '
        'class="nms-box"/>',
    ]
    if row:
        top = LINE * (place + 1)
        parts += [
            f'<rect class="nms-row" x="{list_x:.0f}" y="{top}" width="{LIST - 20}" height="{LINE}"/>',
            f'<rect x="{list_x + 4:.0f}" y="{top + 5}" width="13" height="13" fill="{colour}" stroke="#202020"/>',
            _svg_text(list_x + 24, top + 16, row),
        ]
    return "".join(parts) + "</g>"


def _svg_letter(suppression: Suppression, place: int, state: str, scale: float) -> str:
    """A box's letter on a disc, and for a removed box the arrow to the letter of its remover."""
    spot, colour = scale * suppression.spots[place], suppression.colour(place)
    parts = []
    if state == "removed":
        way = scale * suppression.spots[suppression.keepers[place]] - spot  # (2,)
        end = spot + way * (1 - DISC / way.norm().clamp(min=DISC))  # at the rim of the other disc
        line = f'<line x1="{spot[0]:.1f}" y1="{spot[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}" '
        parts += [
            f'{line}stroke="{ink_on(colour)}" stroke-width="4"/>',
            f'{line}stroke="{colour}" stroke-width="2" marker-end="url(#nms-tip)"/>',
        ]
    x, y = spot.tolist()
    parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{DISC}" fill="{colour}" stroke="#202020"/>')
    parts.append(_svg_text(x, y + 4.5, letter(place), ink_on(colour), "middle"))
    return f'<g pointer-events="none">{"".join(parts)}</g>'


def _svg_text(x: float, y: float, text: str, colour: str = "currentColor", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}" xml:space="preserve">{text}</text>'


def _data_uri(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
