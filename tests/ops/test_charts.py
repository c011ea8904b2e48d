import pytest
import torch

from lib.ops.charts import circular_distance, crop_charts, read_texture
from lib.ops.masks import paste_in_boxes


def maps(height=12, width=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    parts = torch.randint(0, 4, (2, height, width), generator=generator)
    return parts, torch.rand(2, 2, height, width, generator=generator)


# ------------------------------------------------------------------------------------------------ crop


def test_a_box_of_whole_pixels_is_cut_out_as_it_is():
    parts, uv = maps()
    cut_parts, cut_uv = crop_charts(parts, uv, torch.tensor([[3.0, 2, 8, 7], [10, 6, 15, 11]]), 5)
    assert torch.equal(cut_parts, torch.stack([parts[0, 2:7, 3:8], parts[1, 6:11, 10:15]]))
    assert torch.equal(cut_uv, torch.stack([uv[0, :, 2:7, 3:8], uv[1, :, 6:11, 10:15]]))


def test_crop_equals_a_loop_over_cells():
    parts, uv = maps()
    boxes, size = torch.tensor([[1.3, 0.2, 9.9, 11.7], [-2.5, 4.1, 20.0, 15.0]]), 7
    cut_parts, cut_uv = crop_charts(parts, uv, boxes, size)
    outside = 0
    for k, (left, top, right, bottom) in enumerate(boxes.tolist()):
        for i in range(size):
            for j in range(size):
                column, row = (
                    (left + (j + 0.5) / size * (right - left)) // 1,
                    (top + (i + 0.5) / size * (bottom - top)) // 1,
                )
                if 0 <= column < 16 and 0 <= row < 12:
                    assert cut_parts[k, i, j] == parts[k, int(row), int(column)]
                    assert torch.equal(cut_uv[k, :, i, j], uv[k, :, int(row), int(column)])
                else:
                    outside += 1
                    assert cut_parts[k, i, j] == 0 and not cut_uv[k, :, i, j].any()
    assert outside > 10
    assert [tuple(one.shape) for one in crop_charts(parts[:0], uv[:0], boxes[:0], 3)] == [(0, 3, 3), (0, 2, 3, 3)]


# ------------------------------------------------------------------------------------------------ paste


def test_paste_undoes_crop_where_cells_are_pixels():
    parts, _ = maps()
    box = torch.tensor([[3.0, 2, 8, 7], [-2, 8, 3, 13]])  # the second one reaches beyond the picture
    cut, _ = crop_charts(parts, torch.zeros(2, 2, 12, 16), box, 5)
    pasted, inside = paste_in_boxes(cut[:, None].float(), box, (12, 16))
    expected = torch.zeros(2, 12, 16, dtype=torch.bool)
    expected[0, 2:7, 3:8], expected[1, 8:12, 0:3] = True, True
    assert torch.equal(inside, expected)
    torch.testing.assert_close(pasted[:, 0][inside], parts[inside].float())
    assert paste_in_boxes(cut[:0, None].float(), box[:0], (12, 16))[0].shape == (0, 1, 12, 16)


# ------------------------------------------------------------------------------------------------ texture


def test_a_texture_is_read_at_the_middle_of_its_pixels_and_between_them():
    texture = torch.arange(2 * 3 * 2 * 4, dtype=torch.float32).reshape(2, 3, 2, 4)
    uv = torch.tensor([[0.125, 0.25], [0.875, 0.75], [0.25, 0.25], [0.5, 0.5], [0.0, 1.0]])
    picture = texture[1]
    expected = [picture[:, 0, 0], picture[:, 1, 3], picture[:, 0, :2].mean(1), picture[:, :, 1:3].mean((1, 2))]
    expected.append(picture[:, 1, 0])  # at a corner its own pixel
    torch.testing.assert_close(read_texture(texture, torch.ones(5).long(), uv), torch.stack(expected))
    assert not read_texture(texture, torch.zeros(5).long(), uv).any()


def test_each_part_has_a_page_of_its_own_and_any_shape_will_do():
    parts, uv = maps()
    uv = uv.permute(0, 2, 3, 1)
    texture = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    whole = read_texture(texture, parts, uv)
    assert whole.shape == (2, 12, 16, 3)
    for part in (1, 2, 3):
        alone = read_texture(texture, torch.full_like(parts, part), uv)
        assert torch.equal(whole[parts == part], alone[parts == part])
    assert not whole[parts == 0].any() and read_texture(texture, parts[:0], uv[:0]).shape == (0, 12, 16, 3)


def test_texture_gives_gradients_to_places():
    texture = torch.rand(2, 1, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    uv = torch.tensor([[0.33, 0.47], [0.61, 0.72]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda uv: read_texture(texture, torch.ones(2).long(), uv), uv)


def test_circular_distance_by_hand():
    one, two = torch.tensor([0.99, 0.1, 0.25, 0.5, 1.2]), torch.tensor([0.01, 0.4, 0.75, 0.5, 0.1])
    torch.testing.assert_close(circular_distance(one, two), torch.tensor([0.02, 0.3, 0.5, 0.0, 0.1]))
    torch.testing.assert_close(circular_distance(one, two), circular_distance(two, one))


PARTS, UV = maps()
BOXES = torch.tensor([[0.0, 0, 4, 4]] * 2)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: crop_charts(PARTS[0], UV, BOXES, 4), "parts"),
        (lambda: crop_charts(PARTS, UV, BOXES[:1], 4), "parts"),
        (lambda: crop_charts(PARTS, UV[:, :1], BOXES, 4), "uv"),
        (lambda: crop_charts(PARTS, UV, BOXES[0], 4), "boxes"),
        (lambda: crop_charts(PARTS, UV, BOXES, 0), "size"),
        (lambda: read_texture(UV[0], PARTS, UV), "texture"),
        (lambda: read_texture(UV, PARTS, UV), "uv"),
        (lambda: read_texture(UV, PARTS, UV.permute(0, 2, 3, 1)), "parts"),
    ],
)
def test_bad_input_is_named(call, named):
    with pytest.raises(ValueError, match=f"^{named} "):
        call()
