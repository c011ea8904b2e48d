"""Measure the course on this machine: `make bench`. One thread throughout, so that the figures of two machines compare.

The explorer's figures are the kernel's share; how soon the page answers is measured by the browser lane.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TQDM_DISABLE="1")  # before what reads them is imported

import shutil  # noqa: E402
import statistics  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Iterator  # noqa: E402
from contextlib import redirect_stdout  # noqa: E402
from functools import partial  # noqa: E402
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
from lib.viz.explorer.explorer import explore  # noqa: E402

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
    """Opening it, making each of its layers ready to be sent, the still picture of a notebook, and the saved page."""
    photo = resize_photo(load_photo("chelsea"), 224, 224)  # (3, 224, 224)
    network = efficientnet_lite0()
    opened = []
    taken = seconds(lambda: opened.append(explore(network, prepare(photo)[0], picture=photo)))
    looking = opened[0]
    yield "opened", f"{taken * 1000:6.0f} ms, {len(looking.maps)} maps"
    layers = [seconds(partial(setattr, looking, "layer", chosen.name)) for chosen in looking.maps]
    middle, worst = statistics.median(layers) * 1000, max(layers) * 1000
    yield "a layer made ready", f"{middle:6.1f} ms, at worst {worst:.1f} ms ({len(layers)} layers)"
    yield "still picture", f"{seconds(looking._repr_mimebundle_) * 1000:6.0f} ms"
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(None):
        path = Path(folder) / "inside.html"
        taken = seconds(lambda: looking.save(path))
        bytes_saved = path.stat().st_size
    yield "saved as one page", f"{taken * 1000:6.0f} ms, {bytes_saved / 1e6:.1f} MB"


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
