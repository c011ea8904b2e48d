"""The explorer of attention shows who looks where, whichever hand moved it."""

import base64

import matplotlib
import numpy as np
import pytest
import torch

from lib.layers.transformer import Transformer
from lib.viz.attention.explorer import MARK, explore_attention

IMAGE = torch.full((3, 32, 64), 0.5)
BOXES = torch.tensor([[0.0, 0, 64, 32], [16.0, 8, 40, 16], [-50.0, -50, -10, -10]])
SAYS = ["0: nothing", "1: crate 0.98", "2: cone 0.40"]


def shares(*shape: int) -> torch.Tensor:
    """Maps of any numbers that add up to 1 over the last two axes."""
    numbers = torch.rand(shape, generator=torch.Generator().manual_seed(len(shape))) + 0.1
    return numbers / numbers.sum((-2, -1), keepdim=True)


def among(layers: int = 2, heads: int = 4) -> list[torch.Tensor]:
    return list(shares(layers, heads, 4, 8, 4, 8))


def asked(layers: int = 3, heads: int = 4) -> list[torch.Tensor]:
    return list(shares(layers, heads, 3, 4, 8))


def explorer(**changes):
    return explore_attention(IMAGE, among(), asked(), SAYS, BOXES, **changes)


def controls(widget):
    return widget.children[0].children  # who looks, layer, head


def laid(widget) -> np.ndarray:
    """The map that lies over the photo."""
    return np.asarray(widget.figure().axes[0].images[-1].get_array())


def marked(widget) -> tuple[float, ...]:
    """Corner and size of the frame on the photo."""
    frame = next(
        patch
        for patch in widget.figure().axes[0].patches
        if matplotlib.colors.to_hex(patch.get_edgecolor()) == MARK.lower()
    )
    return (*frame.get_xy(), frame.get_width(), frame.get_height())


def point(widget, part: int, across: float, down: float, dragged: bool = False) -> None:
    """Click a place, in 0..1, of one of the axes: 0 is the photo, 2 the small maps."""
    box = widget.figure().axes[part].get_position(original=True)
    where = [box.x0 + across * box.width, 1 - box.y1 + down * box.height, dragged]
    widget._picture._handle_custom_msg({"what": "point", "where": where}, [])


def test_a_place_and_a_query_look_where_their_maps_say():
    widget = explorer()
    assert (widget.cell, widget.query, widget.layer, widget.head) == ((2, 4), None, 1, None)
    assert np.allclose(laid(widget), among()[1].mean(0)[2, 4])
    widget.cell, widget.layer, widget.head = (3, 1), 0, 2
    assert np.allclose(laid(widget), among()[0][2, 3, 1]) and marked(widget) == (8, 24, 8, 8)
    widget.query, widget.layer = 1, 1
    assert np.allclose(laid(widget), asked()[1][2, 1]) and marked(widget) == (16, 8, 24, 8)
    assert "1: crate 0.98, in decoder layer 1, head 2" in repr(widget)


def test_it_takes_what_a_transformer_gives():
    model = Transformer(8, 2, 1, 2, 16)
    src, queries = torch.rand(1, 8, 4, 8), torch.rand(3, 8)
    looked = model(src, torch.zeros(1, 4, 8, dtype=torch.bool), queries, torch.rand(1, 8, 4, 8), need_weights=True)
    cells, crossed = ([maps[0] for maps in part] for part in (looked.encoder_attention, looked.cross_attention))
    widget = explore_attention(IMAGE, cells, crossed, cell=(0, 7), query=2)
    widget.head = 1
    assert torch.equal(widget.heat(), crossed[1][1, 2].detach())
    widget.query = None
    assert torch.equal(widget.heat(), cells[0][1, 0, 7].detach()) and widget.layer == 0


def test_the_share_inside_a_box_counts_parts_of_cells():
    heat = torch.zeros(1, 3, 4, 8)
    heat[0, 0, 0, 0] = heat[0, 2, 0, 0] = 1
    heat[0, 1, 1, 2:6] = 0.25  # of pixels 16 to 48, the box has 16 to 40
    widget = explore_attention(IMAGE, [], [heat], SAYS, BOXES - torch.tensor([0, 0, 4.0, 0]), query=1)
    assert "inside its box: 62%, and the box is 8% of the photo" in repr(widget)
    widget.query = 0
    assert "most at row 0, column 0: 100.0%; an even look: 3.1% a cell; inside its box: 100%" in widget.words()
    widget.query = 2
    assert "inside its box: 0%, and the box is 0% of the photo" in widget.words()


def test_a_click_picks_a_place_and_a_small_map_picks_layer_and_head():
    widget = explorer(query=0)
    point(widget, 0, 0.99, 0.01)
    assert (widget.cell, widget.query, controls(widget)[0].value) == ((0, 7), None, -1)
    point(widget, 2, 0.5, 0.1)
    assert (widget.layer, widget.head) == (0, 1)
    point(widget, 2, 0.1, 0.9)
    assert (widget.layer, widget.head, controls(widget)[1].value) == (1, None, 1)
    before = widget._picture.value
    point(widget, 2, 0.5, 0.1, dragged=True)
    point(widget, 0, 1.4, 0.5)
    assert widget._picture.value == before


def test_arrow_keys_move_the_place_and_stop_at_the_edge():
    widget = explorer(query=1)
    said = []
    widget._picture.send = said.append
    for step, cell in (([0, -1], (2, 3)), ([5, 0], (3, 3)), ([0, -5], (3, 0)), ([-1, 0], (2, 0))):
        widget._picture._handle_custom_msg({"what": "step", "where": step}, [])
        assert (widget.cell, widget.query) == (cell, None)
    assert said == [{"answered": True}] * 4


def test_controls_and_traits_move_together_and_one_act_draws_once(monkeypatch):
    widget = explorer()
    drawn = []
    monkeypatch.setattr(widget, "figure", lambda: drawn.append(widget._drawn) or type(widget).figure(widget))
    who, layers, heads = controls(widget)
    who.value = 2
    assert widget.query == 2 and (layers.value, layers.max) == (2, 2)  # the last layer, as before
    layers.value, heads.value = 0, 3
    assert (widget.layer, widget.head) == (0, 3)
    widget.cell = (0, 0)
    assert (widget.query, widget.layer, layers.value, layers.max, who.value, heads.value) == (None, 0, 0, 1, -1, 3)
    heads.value = -1
    assert widget.head is None
    assert len(drawn) == 5 and len(set(drawn)) == 5


def test_lists_may_have_other_numbers_of_heads():
    widget = explore_attention(IMAGE, among(heads=4), asked(heads=2))
    widget.head = 3
    widget.query = 1
    assert widget.head is None and [value for _, value in controls(widget)[2].options] == [-1, 0, 1]
    widget.head = 1
    widget.query = None
    assert widget.head == 1 == controls(widget)[2].value and len(controls(widget)[2].options) == 5


def test_either_list_may_be_empty():
    cells = explore_attention(IMAGE, among(), [])
    assert [value for _, value in controls(cells)[0].options] == [-1]
    queries = explore_attention(IMAGE, [], asked())
    assert queries.query == 0 and controls(queries)[0].options[0] == ("query 0", 0)
    point(queries, 0, 0.5, 0.5)
    queries._picture._handle_custom_msg({"what": "step", "where": [1, 0]}, [])
    assert queries.query == 0 and "inside" not in repr(queries)
    with pytest.raises(ValueError, match="^query is None; expected 0 to 2"):
        queries.query = None
    with pytest.raises(ValueError, match="^cell"):
        queries.cell = (1, 1)


def test_readers_without_a_kernel_get_the_picture_and_the_text():
    widget = explorer()
    bundle = widget._repr_mimebundle_()
    assert base64.b64decode(bundle["image/png"]).startswith(b"\x89PNG")
    assert bundle["text/plain"] == f"AttentionExplorer: {widget._picture.words}" == repr(widget)


@pytest.mark.parametrize(
    ("name", "value"),
    [("cell", (4, 0)), ("cell", (0, -1)), ("query", 3), ("query", -1), ("layer", 2), ("layer", -1), ("head", 4)],
)
def test_what_cannot_be_set_is_named_and_nothing_changes(name, value):
    widget = explorer()
    with pytest.raises(ValueError, match=f"^{name} is"):
        setattr(widget, name, value)
    assert (widget.cell, widget.query, widget.layer, widget.head) == ((2, 4), None, 1, None)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: explore_attention(IMAGE[0], among(), []), "image"),
        (lambda: explore_attention(IMAGE, [], []), "among and asked"),
        (lambda: explore_attention(IMAGE, [maps[None] for maps in among()], []), r"among\[0\]"),
        (lambda: explore_attention(IMAGE, [shares(4, 4, 8, 8, 4)], []), r"among\[0\]"),
        (lambda: explore_attention(IMAGE, [among()[0], shares(4, 8, 4, 8, 4)], []), r"among\[1\]"),
        (lambda: explore_attention(IMAGE, [], [asked()[0][0]]), r"asked\[0\]"),
        (lambda: explore_attention(IMAGE, [], [asked()[0], asked()[1] * 2]), r"asked\[1\]"),
        (lambda: explore_attention(IMAGE, [], [asked()[0] * float("nan")]), r"asked\[0\]"),
        (lambda: explore_attention(IMAGE, among(), asked(), SAYS[:2]), "says"),
        (lambda: explore_attention(IMAGE, among(), asked(), boxes=BOXES[:2]), "boxes"),
        (lambda: explore_attention(IMAGE, among(), asked(), boxes=BOXES[0]), "boxes"),
        (lambda: explorer(cell=(4, 0)), "cell"),
        (lambda: explorer(query=3), "query"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
