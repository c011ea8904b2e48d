"""The same seed gives the same bytes, whoever renders; the cache returns them, and is never trusted blindly."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from lib.datasets.folders import REPOSITORY
from lib.datasets.toyworld import Toyworld
from lib.datasets.toyworld import cache as toyworld_cache
from lib.datasets.toyworld.cache import draw, generator_version, load, pack, read_arrays, unpack, write_arrays

# Pictures and truths of some stills. A change here means that every number in the lessons may have to be run again.
PINNED = {
    ("train", 0): "bb566ec0f1338d36571cb53f",
    ("train", 7): "0cd4aa0930e36d5fd72c0332",
    ("val", 1): "a883aba3381d5bd925ef86df",
    ("test", 2): "5408323bd7a0b166e77fb5ab",
}
FIELDS = ("image", "instance", "covers", "parts", "depth", "normals", "uv")


def fingerprint(split, index, size=96):
    rendering, _ = draw(split, index, size)
    digest = hashlib.blake2b(digest_size=12)
    for name in FIELDS:
        digest.update(np.ascontiguousarray(getattr(rendering, name)).tobytes())
    return digest.hexdigest()


def child(code, data):
    environment = os.environ | {"COURSE_DATA": str(data), "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def assert_same(one, two):
    assert one.keys() == two.keys()
    for name in one:
        assert one[name].dtype == two[name].dtype and np.array_equal(one[name], two[name]), name


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_DATA", str(tmp_path))
    return tmp_path / "toyworld"


def test_bytes_are_the_ones_we_know():
    assert {key: fingerprint(*key) for key in PINNED} == PINNED


def test_bytes_do_not_depend_on_order_or_process(tmp_path):
    forwards = [fingerprint("train", index, 48) for index in range(6)]
    assert [fingerprint("train", index, 48) for index in reversed(range(6))] == forwards[::-1]
    code = (
        "from lib.datasets.toyworld.cache import draw; import sys, hashlib\n"
        "r, _ = draw('train', 5, 48); d = hashlib.blake2b(digest_size=12)\n"
        f"for n in {FIELDS}: d.update(getattr(r, n).copy(order='C').tobytes())\n"
        "print(d.hexdigest(), 'torch' in sys.modules)"
    )
    process = child(code, tmp_path)
    out, error = process.communicate()
    assert out.split() == [forwards[5], "False"], error  # and a helper does not wait for torch to load


def test_no_two_pictures_are_alike():
    images = [draw(split, index, 32)[0].image.tobytes() for split in toyworld_cache.SPLITS for index in range(12)]
    assert len(set(images)) == len(images)


def test_unpacking_gives_back_what_was_rendered():
    arrays = pack("val", range(8), 64)
    ends = np.cumsum(arrays["pixels"])
    for index in (0, 3, 7):
        (fresh, _), (again, scene) = draw("val", index, 64), unpack(arrays, ends, "val", index)
        assert fresh.solids == again.solids == scene.solids
        for name in FIELDS:
            one, two = getattr(fresh, name), getattr(again, name)
            assert one.dtype == two.dtype and one.tobytes() == np.ascontiguousarray(two).tobytes(), name


def test_a_picture_is_the_same_however_many_there_are(folder):
    few, more = Toyworld("val", 3, 32), Toyworld("val", 6, 32)
    assert torch.equal(few[2].image, more[2].image) and few[2].phrases == more[2].phrases


def test_second_time_comes_from_the_file(folder, monkeypatch):
    first = load("val", 5, 32)
    monkeypatch.setattr(toyworld_cache, "pack", None)  # nobody may render now
    assert_same(load("val", 5, 32), first)


@pytest.mark.parametrize("damage", ["flip", "flip head", "truncate", "empty", "garbage", "longer"])
def test_a_damaged_file_is_rebuilt(folder, damage):
    good = {name: array.copy() for name, array in load("val", 4, 32).items()}
    (path,) = folder.glob("*.bin")
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 4
    elif damage == "flip head":
        content[60] ^= 1
    else:
        content = {"truncate": content[:-9], "empty": b"", "garbage": b"no", "longer": content + b"x"}[damage]
    path.write_bytes(bytes(content))
    assert read_arrays(path) is None
    assert_same(load("val", 4, 32), good)
    assert read_arrays(path) is not None


def test_another_generator_has_another_file_and_the_old_one_goes(folder, monkeypatch):
    load("val", 2, 32)
    (before,) = folder.glob("*.bin")
    assert generator_version() in before.name
    monkeypatch.setattr(toyworld_cache, "generator_version", lambda: "newer")
    load("val", 2, 32)
    (after,) = folder.glob("*.bin")
    assert after.name == "val-2x32-newer.bin"


def test_helpers_render_the_same_and_a_failing_one_is_replaced(folder, monkeypatch):
    monkeypatch.setattr(toyworld_cache, "processors", lambda: 2)
    alone = pack("val", range(100), 32)
    assert_same(load("val", 100, 32), alone)
    for path in folder.iterdir():
        path.unlink()
    for broken in (str(REPOSITORY / "no such python"), "/bin/false"):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", broken)
            assert_same(toyworld_cache.render_with_helpers("val", 20, 32, 2), pack("val", range(20), 32))


@pytest.mark.parametrize("named", [".", "toyworld"])  # by COURSE_DATA: the folder around the file, or the file
def test_a_folder_that_takes_nothing_is_no_obstacle(folder, named, monkeypatch):
    folder.write_text("a file where the folder should be")
    monkeypatch.setenv("COURSE_DATA", str(folder.parent / named))
    with pytest.warns(UserWarning, match="could not be stored"):
        assert len(Toyworld("val", 2, 32)) == 2


def test_two_processes_may_fill_it_at_once(tmp_path):
    code = "from lib.datasets.toyworld.cache import load; print(int(load('train', 24, 48)['image'].sum()))"
    processes = [child(code, tmp_path) for _ in range(2)]
    answers = [process.communicate() for process in processes]
    assert answers[0][0] == answers[1][0] != "", answers
    (path,) = (tmp_path / "toyworld").iterdir()  # one whole file, nothing left over
    assert read_arrays(path) is not None


def test_written_arrays_come_back(tmp_path):
    arrays = {"a": np.arange(7, dtype=np.int64), "empty": np.zeros((0, 3), np.float32), "b": np.ones((2, 3), np.uint8)}
    write_arrays(tmp_path / "x.bin", arrays)
    assert_same(read_arrays(tmp_path / "x.bin"), arrays)
    assert read_arrays(tmp_path / "absent.bin") is None
