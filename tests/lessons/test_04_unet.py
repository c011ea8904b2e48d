"""Lesson 04's last section on the real slices: the cells that a learner without the data never runs."""

import os
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
import torch.nn.functional as F

from lib.models.unet import UNet
from lib.ops.segmentation_metrics import confusion_matrix, iou_per_class
from lib.training import Batches, fit
from lib.viz import show_images
from tools.lesson_source import read_lesson

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("COURSE_SHARED_DATA") or ROOT.parent / "shared" / "data")
FEW_STEPS = 4


def section_of_microscopy():
    cells = [cell.text for cell in read_lesson(ROOT / "solutions" / "04_unet.py").cells if cell.kind == "code"]
    first = next(index for index, text in enumerate(cells) if "load_isbi_em()" in text)
    last = next(index for index, text in enumerate(cells) if "show_images" in text and index > first)
    return cells[first : last + 1]


def few_steps(model, batches, loss, *, steps, **options):
    return fit(model, batches, loss, steps=FEW_STEPS, show=False, device="cpu", **options)


def run(monkeypatch, folder):
    monkeypatch.setenv("COURSE_DATA", str(folder))
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))
    names = {
        "F": F,
        "UNet": UNet,
        "Batches": Batches,
        "fit": few_steps,
        "torch": torch,
        "plt": plt,
        "confusion_matrix": confusion_matrix,
        "iou_per_class": iou_per_class,
        "show_images": show_images,
        "device": torch.device("cpu"),
    }
    for text in section_of_microscopy():
        exec(compile(text, "solutions/04_unet.py", "exec"), names)
    return names


def test_without_the_data_it_says_so_and_goes_on(monkeypatch, tmp_path, capsys):
    names = run(monkeypatch, tmp_path)
    assert names["slices"] == []
    assert capsys.readouterr().out == "0 of 30 slices are here: the next cells do nothing\n"


@pytest.mark.skipif(not (SHARED / "isbi_em").is_dir(), reason=f"the ISBI EM data are not in {SHARED / 'isbi_em'}")
def test_the_section_trains_on_the_real_slices(monkeypatch, tmp_path, capsys):
    (tmp_path / "isbi_em").symlink_to(SHARED / "isbi_em", target_is_directory=True)
    names = run(monkeypatch, tmp_path)
    assert "30 of 30 slices" in capsys.readouterr().out
    assert names["guesses"].shape == (5, 512, 512)
    images, labels = names["tiles"](names["train_slices"])
    assert images.shape == (400, 1, 128, 128) and labels.shape == (400, 128, 128)
    first = names["train_slices"][0]
    second_of_first_row, first_of_second_row = (slice(0, 128), slice(128, 256)), (slice(128, 256), slice(0, 128))
    assert torch.equal(images[1, 0], (first.image[0][second_of_first_row] * 255).round().byte())
    assert torch.equal(labels[4].long(), first.label[first_of_second_row])
    assert 0 <= names["membrane"] <= 1 and 0 <= names["inside"] <= 1
