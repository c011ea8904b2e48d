import matplotlib.pyplot as plt
import pytest
import torch

from lib.models.unet import UNet
from lib.viz.diagrams.u_diagram import draw_u, steps_of


@pytest.fixture
def drawn():
    made = []
    yield lambda *arguments: made.append(draw_u(*arguments)) or made[-1]
    for figure in made:
        plt.close(figure)


def tiny(**options):
    torch.manual_seed(0)
    return UNet(**({"in_channels": 3, "num_classes": 4, "width": 2, "depth": 2} | options))


def test_the_steps_are_what_the_modules_gave():
    model, image = tiny(stem_stride=2).eval(), torch.rand(3, 20, 12)
    down, up = steps_of(model, image)
    assert [(step.name, step.level, tuple(step.values.shape)) for step in down] == [
        ("top", 0, (2, 10, 6)),
        ("contracting.0", 1, (4, 5, 3)),
        ("contracting.1", 2, (8, 3, 2)),
    ]
    assert [(step.name, step.level, tuple(step.values.shape)) for step in up] == [
        ("expanding.0", 1, (4, 5, 3)),
        ("expanding.1", 0, (2, 10, 6)),
    ]
    with torch.no_grad():
        top = model.top(model.stem(image[None]))
        torch.testing.assert_close(down[0].values, top[0])
        torch.testing.assert_close(down[1].values, model.contracting[0](top)[0])


def test_drawing_leaves_the_model_as_it_was(drawn):
    model = tiny().train()
    model.top.eval()  # frozen
    before = {name: value.clone() for name, value in model.state_dict().items()}
    drawn(model, torch.rand(3, 8, 8))
    assert model.training and not model.top.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_every_map_is_labelled_with_its_shape_and_every_skip_with_its_channels(drawn):
    model, image = tiny(in_channels=1, padding=0, width=1), torch.rand(1, 60, 64)
    figure = drawn(model, image)
    down, up = steps_of(model, image)
    texts = [text.get_text() for text in figure.axes[0].texts]
    for step in down + up:
        assert "{} × {} × {}".format(*step.values.shape) in texts
    # 60 rows - 4 = 56, halved 28 - 4 = 24, halved 12 - 4 = 8; up: 16 - 4 = 12, and 24.
    assert [text for text in texts if " ch" in text] == ["2 ch, 24 → 16", "1 ch, 56 → 24"]


def test_a_padded_skip_is_not_cut(drawn):
    texts = [text.get_text() for text in drawn(tiny(), torch.rand(3, 24, 24)).axes[0].texts]
    assert [text for text in texts if " ch" in text] == ["4 ch", "2 ch"]


@pytest.mark.parametrize(("skip", "joined"), [("concat", "up, concatenate,"), ("add", "up, add,"), ("none", "up, ")])
def test_the_way_up_says_how_it_joins(drawn, skip, joined):
    texts = [text.get_text() for text in drawn(tiny(skip=skip), torch.rand(3, 24, 24)).axes[0].texts]
    assert texts.count(joined + "\n2 convolutions") == 2


def test_labels_do_not_overlap(drawn):
    figure = drawn(tiny(depth=4, width=14), torch.rand(3, 96, 96), torch.rand(4, 3))
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
    assert not any(a.overlaps(b) for index, a in enumerate(boxes) for b in boxes[:index])


def test_the_answer_is_drawn_in_the_colours_of_the_classes(drawn):
    model, image, colours = tiny(), torch.rand(3, 16, 16), torch.rand(4, 3)
    figure = drawn(model, image, colours)
    last = figure.axes[0].images[-1].get_array()
    with torch.no_grad():
        classes = model.eval()(image[None])[0].argmax(0)
    torch.testing.assert_close(torch.from_numpy(last.data), colours[classes])
    assert len(figure.axes[0].images) == len(drawn(model, image).axes[0].images) + 1


def test_bad_input_is_told():
    with pytest.raises(ValueError, match=r"^image is \(1, 3, 8, 8\); expected \(C, H, W\)"):
        draw_u(tiny(), torch.rand(1, 3, 8, 8))
    with pytest.raises(ValueError, match="^colours has 2 entries; expected 4"):
        draw_u(tiny(), torch.rand(3, 8, 8), torch.rand(2, 3))
