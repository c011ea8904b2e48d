"""Toyworld's pictures, rendered by all cores the first time and read from a file after that.

Nothing here needs torch: the helpers that render are plain Python processes which start in a moment, from a script, a
notebook or a test alike. A file holds what the renderer made, bit for bit; what is cheap to work out again (the
ground's depth, masks, boxes) is left out, and so is everything that the seed of a scene already says.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from lib.datasets.folders import REPOSITORY, data_dir
from lib.datasets.toyworld.render import Rendering, backdrop, render
from lib.datasets.toyworld.scene import Scene, random_clip, random_scene
from lib.files import write_atomically

SPLITS = ("train", "val", "test")
MAGIC = b"toyworld\n"
GENERATOR = ("figure", "scene", "cast", "meshes", "shade", "render", "cache")  # files that a cached byte depends on
TOLD_EVERY = 20  # a helper says so after each this many pictures


def generator_version() -> str:
    """Letters that change with the generator's source, so that pictures of older code are never taken for new."""
    digest = hashlib.blake2b(digest_size=6)
    for name in GENERATOR:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def seeded(split: str, index: int, what: int, attempt: int) -> np.random.Generator:
    """The random numbers of one scene. Splits, stills (what = 0) and clips (what = 1) never share a seed."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([SPLITS.index(split), index, what, attempt])))


def draw(split: str, index: int, size: int) -> tuple[Rendering, int]:
    """Still number `index` of a split, and the attempt at which its scene had an object large enough to see."""
    for attempt in range(100):
        rendering = render(random_scene(seeded(split, index, 0, attempt)), size)
        if rendering.solids:
            return rendering, attempt
    raise RuntimeError(f"no scene with a visible object for {split} {index} at size {size}")


def draw_clip(split: str, index: int, length: int, size: int) -> tuple[tuple[Rendering, Scene], ...]:
    """The frames of clip `index` of a split, each with its scene. Every object is well visible in the first frame."""
    for attempt in range(100):
        scenes = random_clip(seeded(split, index, 1, attempt), length)
        seen = {solid.phrase for solid in render(scenes[0], size).solids}
        if seen:
            scenes = [replace(s, solids=tuple(one for one in s.solids if one.phrase in seen)) for s in scenes]
            return tuple((render(scene, size, drop=False), scene) for scene in scenes)
    raise RuntimeError(f"no clip with a visible object for {split} {index} at size {size}")


def pack(split: str, indices: range, size: int, progress=lambda count: None) -> dict[str, np.ndarray]:
    """Render stills into a few large arrays. Truths that only objects have are kept for objects' pixels alone."""
    columns: dict[str, list] = {name: [] for name in ("image", "instance", "covers", "kept", "attempt", "pixels")}
    sparse: dict[str, list] = {name: [] for name in ("parts", "depth", "normals", "uv")}
    for count, index in enumerate(indices, start=1):
        one, attempt = draw(split, index, size)
        phrases = [solid.phrase for solid in random_scene(seeded(split, index, 0, attempt)).solids]
        kept = sum(1 << phrases.index(solid.phrase) for solid in one.solids)
        seen = one.instance > 0
        row = (one.image, one.instance, one.covers, np.uint8(kept), np.uint8(attempt), np.int64(seen.sum()))
        for name, value in zip(columns, row):
            columns[name].append(value)
        for name, value in (("parts", one.parts[seen]), ("depth", one.depth[seen])):
            sparse[name].append(value)
        sparse["normals"].append(one.normals[:, seen].T)  # (T, 3)
        sparse["uv"].append(one.uv[:, seen].T)  # (T, 2)
        if count % TOLD_EVERY == 0:
            progress(TOLD_EVERY)
    return {name: np.stack(rows) for name, rows in columns.items()} | {
        name: np.concatenate(rows) for name, rows in sparse.items()
    }


def unpack(arrays: dict[str, np.ndarray], ends: np.ndarray, split: str, index: int) -> tuple[Rendering, Scene]:
    """Still number `index` as it was rendered, and its scene with the objects that are seen. `ends`: sums of pixels."""
    size = arrays["image"].shape[-1]
    scene = random_scene(seeded(split, index, 0, int(arrays["attempt"][index])))
    solids = tuple(solid for k, solid in enumerate(scene.solids) if arrays["kept"][index] >> k & 1)
    instance = arrays["instance"][index]
    seen = instance > 0
    pixels = slice(int(ends[index - 1]) if index else 0, int(ends[index]))
    depth, normals = backdrop(scene.camera, size)
    parts, uv = np.zeros((size, size), np.uint8), np.zeros((2, size, size), np.float32)
    depth[seen], parts[seen] = arrays["depth"][pixels], arrays["parts"][pixels]
    normals[:, seen], uv[:, seen] = arrays["normals"][pixels].T, arrays["uv"][pixels].T
    image, covers = arrays["image"][index], arrays["covers"][index]
    return Rendering(image, instance, covers, parts, depth, normals, uv, solids), replace(scene, solids=solids)


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays with a checksum; a reader sees all of it or none, even while another process writes the same."""
    table = json.dumps([[name, str(array.dtype), array.shape] for name, array in arrays.items()]).encode()
    blocks = [len(table).to_bytes(8, "little"), table]
    blocks += [np.ascontiguousarray(array).reshape(-1).view(np.uint8).data for array in arrays.values()]
    digest = hashlib.blake2b(digest_size=32)
    for block in blocks:
        digest.update(block)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, b"".join((MAGIC, digest.digest(), *blocks)))


def read_arrays(path: Path) -> dict[str, np.ndarray] | None:
    """What `write_arrays` wrote, read-only; None if there is no such file or a single bit of it is wrong."""
    try:
        content = memoryview(path.read_bytes())
    except OSError:
        return None
    start = len(MAGIC) + 32
    digest = hashlib.blake2b(content[start:], digest_size=32).digest()
    if bytes(content[:start]) != MAGIC + digest:
        return None
    position = start + 8 + int.from_bytes(content[start : start + 8], "little")
    arrays = {}
    for name, dtype, shape in json.loads(bytes(content[start + 8 : position])):
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(content, dtype, count, position).reshape(shape)
        position += arrays[name].nbytes
    return arrays


def processors() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def progress_bar(split: str, length: int) -> tqdm:
    """A bar that appears only if the work is not done within two seconds, and goes when it is.

    Not at all where tqdm's own variable `TQDM_DISABLE` is set: its notebook version does not look at it by itself.
    """
    quiet = bool(os.environ.get("TQDM_DISABLE"))
    return tqdm(total=length, desc=f"toyworld {split}", unit="picture", delay=2, leave=False, disable=quiet)


def render_with_helpers(split: str, length: int, size: int, helpers: int) -> dict[str, np.ndarray]:
    """`pack` for stills 0 to length - 1, shared out among processes. A share whose helper fails is rendered here."""
    running: list[subprocess.Popen] = []
    stopped = threading.Event()
    bounds = [length * k // helpers for k in range(helpers + 1)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")])}

    def share(number: int) -> dict[str, np.ndarray] | None:
        start, stop, path = bounds[number], bounds[number + 1], Path(folder) / f"{number}.bin"
        command = [sys.executable, "-m", __name__, split, str(start), str(stop), str(size), str(path)]
        quiet = subprocess.DEVNULL
        try:
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=quiet, env=environment) as helper:
                running.append(helper)
                for _ in helper.stdout:
                    bar.update(TOLD_EVERY)
        except OSError:
            pass  # no process can be started on this machine: render the share below
        arrays = read_arrays(path)
        if arrays is None and not stopped.is_set():
            arrays = pack(split, range(start, stop), size)
        return arrays

    bar = progress_bar(split, length)
    with bar, tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(helpers) as pool:
        try:
            shares = list(pool.map(share, range(helpers)))
        except BaseException:  # above all a learner's interrupt: leave nobody working
            stopped.set()
            for helper in running:
                helper.kill()
            raise
    return {name: np.concatenate([arrays[name] for arrays in shares]) for name in shares[0]}


def load(split: str, length: int, size: int) -> dict[str, np.ndarray]:
    """The arrays of `pack` for a whole set: from the cache if it holds them undamaged, else rendered and stored there.

    Where nothing can be stored (a full disk, a folder that may not be written), a warning says so and the set is used.
    """
    folder, name = data_dir() / "toyworld", f"{split}-{length}x{size}"
    path = folder / f"{name}-{generator_version()}.bin"
    arrays = read_arrays(path)
    if arrays is not None:
        return arrays
    helpers = min(processors(), length // 50, 16)
    if helpers > 1:
        arrays = render_with_helpers(split, length, size, helpers)
    else:
        with progress_bar(split, length) as bar:
            arrays = pack(split, range(length), size, bar.update)
    try:
        write_arrays(path, arrays)
        for old in folder.glob(f"{name}-*.bin"):  # what an older generator left there
            if old != path:
                old.unlink(missing_ok=True)
    except OSError as error:
        warnings.warn(f"toyworld could not be stored and will be rendered again next time: {error}", stacklevel=3)
    return arrays


if __name__ == "__main__":  # a helper: split, first, end, size, file to write
    write_arrays(
        Path(sys.argv[5]),
        pack(sys.argv[1], range(int(sys.argv[2]), int(sys.argv[3])), int(sys.argv[4]), lambda n: print(n, flush=True)),
    )
