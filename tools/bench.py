"""Measure the course on this machine: `make bench`. One thread throughout, so that the figures of two machines compare.

The explorer's figures are the kernel's share of an interaction: from the change to the new picture, no browser.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TQDM_DISABLE="1")  # before what reads them is imported

import shutil  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from pathlib import Path  # noqa: E402
from unittest.mock import patch  # noqa: E402

import nbformat  # noqa: E402
import torch  # noqa: E402
from kernel_run import CellRaised, execute  # noqa: E402
from run_lanes import kernel_name  # noqa: E402

from lib.datasets.photos import load_photo, resize_photo  # noqa: E402
from lib.datasets.toyworld import Toyworld  # noqa: E402
from lib.datasets.toyworld.cache import draw  # noqa: E402
from lib.pretrained import efficientnet_lite0, prepare  # noqa: E402
from lib.viz.explorer.explorer import VIEWS, explore  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
Rows = Iterator[tuple[str, str]]


def main() -> None:
    torch.set_num_threads(1)
    for title, measure in (
        ("Toyworld, 96×96", toyworld),
        ("Explorer, EfficientNet-Lite0 on a 224×224 photo", explorer),
        (f"Notebooks, kernel {kernel_name()}", notebooks),
        ("Disk", disk),
    ):
        print(f"\n{title}", flush=True)
        for what, figure in measure():
            print(f"  {what:<48} {figure}", flush=True)


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def toyworld() -> Rows:
    """Drawing on one core; then the pictures of a lesson on all cores, first anew and then from the cache."""
    draw("train", 0, 96)
    count = 100
    taken = seconds(lambda: [draw("train", index, 96) for index in range(count)])
    yield "drawn on one core", f"{count / taken:6.1f} images/s"
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, COURSE_DATA=folder):
        anew, cached = (seconds(lambda: Toyworld("train", 2000, 96)) for _ in range(2))
        world = Toyworld("train", 2000, 96)
        read = seconds(lambda: [world[index] for index in range(200)])
    yield f"2,000 images drawn on {os.cpu_count()} cores", f"{anew:6.1f} s"
    yield "2,000 images from the cache", f"{cached:6.2f} s"
    yield "samples with every truth, from the cache", f"{200 / read:6.0f} samples/s"


def explorer() -> Rows:
    """Opening it, and each kind of interaction on every layer that it lists."""
    photo = resize_photo(load_photo("chelsea"), 224, 224)  # (3, 224, 224)
    network = efficientnet_lite0()
    opened = []
    taken = seconds(lambda: opened.append(explore(network, prepare(photo)[0], picture=photo)))
    looking = opened[0]
    yield "opened", f"{taken * 1000:6.0f} ms, {len(looking.maps)} maps"
    times: dict[str, list[float]] = {}

    def change(what: str, name: str, value: object) -> None:
        times.setdefault(what, []).append(seconds(lambda: setattr(looking, name, value)))

    for chosen in looking.maps:
        change("another layer", "layer", chosen.name)
        channels, height, width = chosen.shape
        change("another channel", "channel", channels // 2 if looking.channel != channels // 2 else 0)
        for view, spoken in VIEWS.items():
            if looking.view != view:
                change(f"view: {spoken}", "view", view)
            if height * width > 1:
                away = (0, 0) if looking.cell != (0, 0) else (height - 1, width - 1)
                change("another cell", "cell", away)
            change("another opacity", "opacity", 1.2 - looking.opacity)
    for what, taken in times.items():
        middle, worst = statistics.median(taken) * 1000, max(taken) * 1000
        yield what, f"{middle:6.1f} ms, at worst {worst:.1f} ms ({len(taken)} times)"


def notebooks() -> Rows:
    """Each notebook, unsolved and solved, run from top to bottom in a fresh kernel."""
    os.environ.pop("TQDM_DISABLE", None)
    folders = (ROOT / "notebooks", ROOT / "solutions")
    found = sorted(path for folder in folders for path in folder.glob("[0-9][0-9]_*.ipynb"))
    if not found:
        yield "none is built yet", "make notebooks"
    for path in found:
        name = str(path.relative_to(ROOT))
        try:
            notebook = nbformat.read(path, as_version=4)
            cost = execute(notebook, kernel_name(), path.parent)
        except CellRaised as error:
            yield name, f"stopped at cell {error.index}: {error}"
        else:
            yield name, str(cost)


def disk() -> Rows:
    """What the course takes; files with several names count once."""
    for name in (".venv", "data", "notebooks", "solutions"):
        if (ROOT / name).exists():
            yield name, f"{size(ROOT / name) / 1e6:8.1f} MB"
    yield "free here", f"{shutil.disk_usage(ROOT).free / 1e6:8.1f} MB"


def size(folder: Path) -> int:
    """Bytes that the files in a folder take on the disk."""
    block = {}
    for parent, _, files in os.walk(folder):
        for file in files:
            found = os.lstat(os.path.join(parent, file))
            block[found.st_dev, found.st_ino] = getattr(found, "st_blocks", -(-found.st_size // 512)) * 512
    return sum(block.values())


if __name__ == "__main__":
    main()
