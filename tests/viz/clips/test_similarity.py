import pytest
import torch
from matplotlib.colors import to_hex

from lib.viz.clips.similarity import FADED, FORBIDDEN, PAIRED, crop_segment, draw_similarity

BEFORE = [torch.full((3, 8, 8), 0.2 + 0.1 * number) for number in range(2)]
NOW = [torch.full((3, 8, 8), 0.6 + 0.1 * number) for number in range(3)]
COSINES = torch.tensor([[0.91, float("nan"), -0.2], [0.1, 0.456, 0.7]])
PAIRS = torch.tensor([[0, 0], [1, 2]])


def test_every_allowed_pair_has_its_number_and_pairs_are_framed():
    table = draw_similarity(BEFORE, NOW, COSINES, PAIRS).axes[0]
    texts = {text.get_position(): text.get_text() for text in table.texts}
    assert texts == {
        (0.5, 0.5): "0.91",
        (2.5, 0.5): "-0.20",
        (0.5, 1.5): "0.10",
        (1.5, 1.5): "0.46",
        (2.5, 1.5): "0.70",
    }
    framed = [patch.get_bbox() for patch in table.patches if to_hex(patch.get_edgecolor()).upper() == PAIRED]
    assert [[int(box.y0), int(box.x0)] for box in framed] == PAIRS.tolist()
    (hatched,) = [patch for patch in table.patches if patch.get_hatch()]
    assert hatched.get_xy() == (1, 0) and to_hex(hatched.get_facecolor()).upper() == FORBIDDEN
    assert table.images[0].get_clim() == (0, 1)


def test_pictures_stand_beside_their_row_and_above_their_column():
    figure = draw_similarity(BEFORE, NOW, COSINES, PAIRS)
    table, *crops = (axis.get_position() for axis in figure.axes)
    assert len(crops) == 5
    for row, place in enumerate(crops[:2]):
        middle = table.y1 - (row + 0.5) * table.height / 2
        assert place.x1 <= table.x0 and (place.y0 + place.y1) / 2 == pytest.approx(middle)
    for column, place in enumerate(crops[2:]):
        middle = table.x0 + (column + 0.5) * table.width / 3
        assert place.y0 >= table.y1 and (place.x0 + place.x1) / 2 == pytest.approx(middle)
    shown = [float(axis.images[0].get_array()[0, 0, 0]) for axis in figure.axes[1:]]
    assert shown == pytest.approx([0.2, 0.3, 0.6, 0.7, 0.8], abs=0.003)
    assert [text.get_text() for text in figure.texts] == ["the frame before", "this frame"]
    figure = draw_similarity(BEFORE, NOW, COSINES, PAIRS, titles=("frame 0", "frame 3"))
    assert [text.get_text() for text in figure.texts] == ["frame 0", "frame 3"]


def test_many_segments_fit_on_a_page_and_there_may_be_no_pair():
    figure = draw_similarity(BEFORE, NOW * 6, torch.rand(2, 18), torch.zeros(0, 2, dtype=torch.int64))
    assert figure.get_figwidth() <= 9.41 and not figure.axes[0].patches


def test_a_crop_is_square_around_the_segment_and_dim_outside_of_it():
    image, mask = torch.full((3, 20, 30), 0.8), torch.zeros(20, 30, dtype=torch.bool)
    mask[4:12, 10:14] = True
    crop = crop_segment(image, mask, size=8, margin=0)  # 9 × 9 pixels around (8, 4)
    assert crop.shape == (3, 8, 8)
    assert crop[0, 4, 4] == pytest.approx(0.8) and crop[0, 4, 0] == pytest.approx(0.8 * FADED)
    corner = torch.zeros(20, 30, dtype=torch.bool)
    corner[0, 0] = True
    assert crop_segment((255 * image).byte(), corner, size=3, margin=1)[0, 0, 0] == 0, "beyond the picture it is black"
    assert crop_segment((255 * image).byte(), torch.ones(20, 30, dtype=torch.bool)).max() == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: draw_similarity(BEFORE[:1], NOW, COSINES, PAIRS), r"similarity is \(2, 3\); expected \(1, 3\)"),
        (lambda: draw_similarity([], NOW, COSINES[:0], PAIRS[:0]), "similarity is"),
        (lambda: draw_similarity(BEFORE, NOW, COSINES, PAIRS[0]), "pairs is"),
        (lambda: draw_similarity(BEFORE, NOW, COSINES, PAIRS.float()), "pairs is"),
        (lambda: draw_similarity(BEFORE, NOW, COSINES, PAIRS.flip(1)), r"pairs has \[2, 1\]"),
        (lambda: crop_segment(BEFORE[0], torch.zeros(8, 8, dtype=torch.bool)), "mask is"),
        (lambda: crop_segment(BEFORE[0], torch.ones(4, 8, dtype=torch.bool)), "mask is"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        call()
