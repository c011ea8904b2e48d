"""The drawing of Grounded SAM shows real maps, and its losses reach what they say they reach."""

import pytest
import torch
from matplotlib.colors import to_hex

from lib.datasets.toyworld.pairs import WORDS
from lib.models.grounding import GroundingCriterion, grounding_small
from lib.models.sam import sam_small
from lib.training.data_engine import masks_in_boxes
from lib.viz.detection.boxes import class_colour
from lib.viz.diagrams.grounded_sam_plan import draw_grounded_sam, grounded_sam_plan, tokens_of
from lib.viz.diagrams.system import NEW
from lib.viz.words.seen import look
from tests.viz.texts import words

IMAGE = torch.rand(3, 96, 96, generator=torch.Generator().manual_seed(0))
CAPTION = "small red cone . sphere"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return grounding_small(WORDS, num_queries=3).eval()


@pytest.fixture(scope="module")
def sam():
    torch.manual_seed(0)
    return sam_small().eval()


@pytest.fixture(scope="module")
def plan(model, sam):
    return grounded_sam_plan(model, sam, IMAGE, CAPTION, threshold=0.0)


def test_what_is_new_is_framed_and_each_part_says_its_lesson(plan):
    figure = plan.draw()
    paper, *panels = figure.axes
    framed = [to_hex(panel.spines["left"].get_edgecolor()).upper() == NEW for panel in panels]
    assert framed == [True] * 6 + [False] * 6
    lessons = ["L19", "L14, L19", "L14, L19", "L19", "L14, L19", "L19", "", "L09", "L17", "L17", "L17", "L17"]
    assert [stage.lesson for stage in (*plan.upper, *plan.lower)] == lessons
    for panel, lesson in zip(panels, lessons, strict=True):
        assert lesson in [text.get_text() for text in panel.texts] or not lesson
    shapes = ("6 tokens", "2 phrases", "6 × 96", "144 × 96", "3 × 96;", "6 boxes found", "96 × 12 × 12", "64 × 12 × 12",
              "6 × 2 × 64", "6 × 96 × 96", " ms")  # fmt: skip
    assert all(part in words(figure) for part in shapes)
    assert figure.get_figwidth() <= 10


def test_without_times_it_is_lower_and_says_none(plan):
    assert " ms" not in words(plan.draw(timed=False))
    assert plan.draw(timed=False).get_figheight() < plan.draw().get_figheight()


def test_real_maps_are_inside(plan, sam, model):
    _, tokens, said, looks, cells, mended, answers, _, backbone, embedding, prompts, decoder, masks = plan.draw().axes
    assert [text.get_text() for text in tokens.texts if text.get_text() != "L19"] == tokens_of(
        ["small red cone", "sphere"]
    )
    colours = [to_hex(patch.get_facecolor()).upper() for patch in tokens.patches]
    assert colours == [class_colour(1)] * 3 + [class_colour(2)]
    assert said.images[0].get_array().shape == (6, 96) and len(looks.images) == 2 * 4
    assert len(cells.lines[0].get_xdata()) == 3 and len(mended.collections) == 6 * 4 and len(answers.patches) == 6 * 2
    assert backbone.images[0].get_array().shape == embedding.images[0].get_array().shape == (12, 12, 3)
    assert prompts.images[0].get_array().shape == (12, 64) and len(decoder.images) == 4
    seen = look(model, IMAGE, CAPTION, 0.0)
    truth = masks_in_boxes(sam, IMAGE, seen.boxes[-1][seen.queries])
    for shown, mask in zip(masks.images[1:], truth, strict=True):
        assert ((shown.get_array()[..., 3] > 0) == mask.numpy()).all()


def test_where_nothing_is_found_sam_is_not_asked(model, sam):
    figure = draw_grounded_sam(model, sam, IMAGE, "cone", threshold=1.0)
    assert "0 boxes found" in words(figure) and "no box" in words(figure)
    assert "1 token" not in words(figure) and "2 tokens" in words(figure), "the word and what ends the phrase"


def test_each_loss_reaches_the_stages_that_learn_from_it(model, plan):
    learners = {
        "text": model.text_encoder, "backbone": model.backbone, "enhancer": model.encoder,
        "selection": torch.nn.ModuleList([model.enc_output, model.encoder_output_bbox_embed]), "decoder": model.decoder,
    }  # fmt: skip
    reached = {1: {"text", "backbone"}, 2: {"enhancer"}, 3: {"selection"}, 4: {"decoder"}, 5: set()}
    target = [{"boxes": torch.tensor([[20.0, 30.0, 50.0, 60.0]]), "labels": torch.tensor([1])}]
    names = (("loss_ce",), ("loss_bbox", "loss_giou"), ("loss_ce_enc", "loss_bbox_enc", "loss_giou_enc"))
    for several, loss in zip(names, plan.losses, strict=True):
        model.zero_grad()
        losses = GroundingCriterion()(model(IMAGE[None], [CAPTION]), target)
        sum(losses[name] for name in several).backward()
        learning = {name for name, part in learners.items() if any(one.grad is not None for one in part.parameters())}
        stages = [number for number in range(loss.back_to, loss.at + 1) if number not in loss.past]
        assert learning == set().union(*(reached[number] for number in stages))
    model.zero_grad()


@pytest.mark.parametrize(
    ("image", "caption", "named"),
    [(IMAGE[:, :88], "cone", r"image is \(3, 88, 96\)"), (IMAGE, " . ", "caption is ' . '")],
)
def test_what_does_not_fit_is_refused(model, sam, image, caption, named):
    with pytest.raises(ValueError, match=f"^{named}"):
        draw_grounded_sam(model, sam, image, caption)
