"""Things in photos, as COCO writes them down: one JSON file about a folder of pictures.

COCO's own files are of this form, and most tools with which people mark pictures can write it. So this is the way from
the course's models and measures to real data, or to one's own; `data/README.md` says where COCO is to be had.

>>> photos = CocoInstances("data/coco/val2017", "data/coco/annotations/instances_val2017.json")
>>> image, target = photos[0]
>>> for images, targets in DataLoader(photos, batch_size=2, collate_fn=collate): ...

Source: Lin et al. 2014, "Microsoft COCO: Common Objects in Context"; https://cocodataset.org/#format-data.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.utils.data import Dataset

from lib.ops.boxes import box_area, box_xywh_to_xyxy
from lib.ops.masks import decode_masks

Target = dict[str, Any]  # what is in a picture, by name; all tensors but the number of the picture

FAR = 1e6  # pixels: a corner that far away is a mistake


class CocoInstances(Dataset[tuple[Tensor, Target]]):
    """The pictures of a COCO file, in its order, and the things in them. Pictures without things are kept.

    The image (3, H, W) is of floats 0..1. Grey pictures are made RGB. A camera's note about how it was held (EXIF) is
    not looked at, as the outlines of COCO fit the pixels as they are stored. The target holds, for n things,

        boxes     (n, 4) float, xyxy pixels. The file's numbers: not rounded to pixels, not clipped to the picture
        labels    (n,) int64, from 1 without gaps: 1 + the place in `category_names`
        masks     (n, H, W) bool; one may be empty, of a thing thinner than a pixel
        area      (n,) float, square pixels: the file's number; where it has none, the mask's, else the box's
        iscrowd   (n,) int64, 1 for a group that nobody told apart
        image_id  the file's number of the picture, a plain int

    Dropped is an annotation whose box has no part in the picture: no width, no height, or wholly outside. `dropped`
    tells which.

    COCO's own numbers of its 80 categories go up to 90, with gaps. Models that torchvision trained on COCO answer with
    those, so compare them by `category_ids[label - 1]`.

    Masks are equal to pycocotools', pixel for pixel. Polygons are filled by pycocotools. Run lengths are decoded here,
    because pycocotools takes some that do not fill the picture, and what it then gives differs from call to call.

    Args:
        pictures: the folder with the picture files.
        annotations: the JSON file, with "images", "annotations" and "categories".
        masks: False for boxes alone: faster, and enough where a file has no outlines.
        crowds: False leaves groups out. For training, as our losses would take a group for one large thing; the
            evaluation wants them.

    Raises:
        FileNotFoundError: the folder or the JSON file is not there; on access, the picture is not.
        ValueError: the JSON file is not of COCO's form, speaks of a picture or a category that it does not list, or
            lacks an outline that is asked for; on access, a picture is damaged or of another size than the file says,
            or an outline is broken.
    """

    category_names: tuple[str, ...]  # in the order of the file's numbers
    category_ids: tuple[int, ...]  # the file's numbers of them
    dropped: tuple[int, ...]  # "id" of the annotations without a part in their picture

    def __init__(
        self, pictures: str | Path, annotations: str | Path, *, masks: bool = True, crowds: bool = True
    ) -> None:
        self.folder, self.file, self.with_masks = Path(pictures), Path(annotations), masks
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder} is not there; expected the folder with the pictures")
        content = _read_json(self.file)
        self.images = _records(self.file, content, "images", ("id", "file_name", "height", "width"))
        for image in self.images:
            if not _are_numbers([image["height"], image["width"]]):
                raise ValueError(f"{self.file} has picture {_short(image)}; expected height and width in pixels")
        categories = _records(self.file, content, "categories", ("id", "name"))
        categories = sorted(categories, key=lambda category: category["id"])
        self.category_names = tuple(category["name"] for category in categories)
        self.category_ids = tuple(category["id"] for category in categories)

        needed = ("id", "image_id", "category_id", "bbox") + (("segmentation",) if masks else ())
        images = {image["id"]: image for image in self.images}
        labels = {number: place for place, number in enumerate(self.category_ids, start=1)}
        things: dict[int, list[dict]] = {number: [] for number in images}  # by picture
        dropped = []
        for record in _records(self.file, content, "annotations", needed):
            self._check_annotation(record, images, labels)
            if not _has_part_in(record["bbox"], images[record["image_id"]]):
                dropped.append(record["id"])
            elif crowds or not record.get("iscrowd"):
                things[record["image_id"]].append(record | {"label": labels[record["category_id"]]})
        self.things = [things[image["id"]] for image in self.images]
        self.dropped = tuple(dropped)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        image, things = self.images[index], self.things[index]
        pixels = self._read_picture(image)  # (3, H, W)
        boxes = torch.tensor([thing["bbox"] for thing in things], dtype=torch.float64).reshape(-1, 4)
        boxes = box_xywh_to_xyxy(boxes).float()  # (n, 4)
        target: Target = {"boxes": boxes, "labels": torch.tensor([thing["label"] for thing in things]).long()}
        measured = box_area(boxes)  # (n,)
        if self.with_masks:
            masks = [self._read_mask(thing, image) for thing in things]  # (H, W) each
            target["masks"] = torch.stack(masks) if masks else torch.zeros(0, *pixels.shape[1:], dtype=torch.bool)
            measured = target["masks"].sum(dim=(1, 2)).float()
        noted = torch.tensor([thing.get("area", math.nan) for thing in things], dtype=torch.float32)  # (n,)
        target["area"] = torch.where(noted.isnan(), measured, noted)
        target["iscrowd"] = torch.tensor([thing.get("iscrowd", 0) for thing in things]).long()
        return pixels, target | {"image_id": image["id"]}

    def _check_annotation(self, record: dict, images: dict[int, dict], labels: dict[int, int]) -> None:
        said = f"{self.file} has annotation {record['id']}"
        if record["image_id"] not in images:
            raise ValueError(f"{said} of picture {record['image_id']}; expected one that 'images' lists")
        if record["category_id"] not in labels:
            raise ValueError(f"{said} of category {record['category_id']}; expected one that 'categories' lists")
        box = record["bbox"]
        if not isinstance(box, list) or len(box) != 4 or not _are_numbers(box):
            raise ValueError(f"{said} with the box {box}; expected left, top, width, height in pixels")
        for name in ("area", "iscrowd"):
            if not isinstance(record.get(name, 0), (int, float)):
                raise ValueError(f"{said} with {name} {record[name]!r}; expected a number, or no {name}")
        if self.with_masks and not record["segmentation"]:
            raise ValueError(f"{said} without an outline; expected polygons or run lengths, or masks=False")

    def _read_picture(self, image: dict) -> Tensor:
        """The pixels (3, H, W) float, 0..1."""
        path = self.folder / image["file_name"]
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there; expected picture {image['id']} of {self.file}")
        try:
            with Image.open(path) as picture:
                mode, pixels = picture.mode, np.array(picture.convert("RGB"))  # (H, W, 3) uint8
        except UnidentifiedImageError as error:
            raise ValueError(f"{path} is no picture; expected picture {image['id']} of {self.file}") from error
        except (OSError, SyntaxError) as error:  # Pillow's way to say that a file is broken
            raise ValueError(f"{path} is damaged: {error}") from error
        if mode[0] in "IF":
            raise ValueError(f"{path} is of Pillow's mode {mode!r}; expected 8 bits for a colour")
        expected = (image["height"], image["width"])
        if pixels.shape[:2] != expected:
            raise ValueError(f"{path} has (height, width) {pixels.shape[:2]}; expected {expected}, as {self.file} says")
        return torch.from_numpy(pixels).permute(2, 0, 1).float() / 255

    def _read_mask(self, thing: dict, image: dict) -> Tensor:
        """The pixels of a thing: (H, W) bool."""
        outline, size = thing["segmentation"], (image["height"], image["width"])
        try:
            return decode_runs(outline, size) if isinstance(outline, dict) else fill_polygons(outline, size)
        except ValueError as error:
            raise ValueError(f"{self.file} has annotation {thing['id']} with a broken outline: {error}") from error


def collate(batch: list[tuple[Tensor, Target]]) -> tuple[list[Tensor], list[Target]]:
    """For a DataLoader: a list of pictures, which differ in size, and a list of their targets."""
    return [image for image, _ in batch], [target for _, target in batch]


# ------------------------------------------------------------------------------------------------ outlines


def fill_polygons(polygons: list[list[float]], img_shape: tuple[int, int]) -> Tensor:
    """The pixels inside of any of the polygons, by pycocotools: [[x, y, x, y, ...], ...] -> (H, W) bool.

    A polygon of less than three corners has no inside.

    Raises:
        ValueError: these are no polygons.
    """
    for polygon in polygons if isinstance(polygons, list) else [polygons]:
        if not isinstance(polygon, list) or len(polygon) % 2 or not _are_numbers(polygon):
            raise ValueError(f"a polygon is {_short(polygon)}; expected a list of x, y, x, y .. in pixels")
    polygons = [polygon for polygon in polygons if len(polygon) >= 6]
    if not polygons:
        return torch.zeros(img_shape, dtype=torch.bool)
    return decode_masks([coco_mask.merge(coco_mask.frPyObjects(polygons, *img_shape))], img_shape)[0]


def decode_runs(code: dict, img_shape: tuple[int, int]) -> Tensor:
    """The pixels of a run-length code: {"size": [H, W], "counts": ...} -> (H, W) bool.

    The counts say how many pixels in a row are out, in, out, in and so on, column by column from the top left. They
    are a list of numbers, or a string that `unpack_runs` reads.

    Raises:
        ValueError: the code is of another size than `img_shape`, or its runs do not fill that.
    """
    height, width = img_shape
    if code.get("size") != [height, width]:
        raise ValueError(f"size is {code.get('size')}; expected {[height, width]}")
    counts = code.get("counts")
    runs = unpack_runs(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(run, int) and run >= 0 for run in runs):
        raise ValueError(f"counts is {_short(counts)}; expected whole numbers from 0, or a string of them")
    if sum(runs) != height * width:
        raise ValueError(f"counts add up to {sum(runs)} pixels; expected {height * width}")
    inside = np.arange(len(runs)) % 2 == 1  # (runs,)
    return torch.from_numpy(np.repeat(inside, runs).reshape(width, height)).T.contiguous()  # (W, H) -> (H, W)


def unpack_runs(text: str) -> list[int]:
    """The run lengths in a string such as pycocotools writes.

    A character holds six bits, counted from "0": five of a number, the lowest come first, and whether more of it
    follow. From the fourth on, a number is the difference to the last but one.

    Raises:
        ValueError: there is another character, or the last number is not complete.
    """
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - ord("0")
        if not 0 <= bits < 64:
            raise ValueError(f"counts has the character {character!r}; expected '0' to 'o'")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:  # a negative number
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("counts breaks off in the middle of a number")
    return runs


# ------------------------------------------------------------------------------------------------ the file


def _read_json(file: Path) -> dict:
    if not file.is_file():
        raise FileNotFoundError(f"{file} is not there; expected a JSON file in COCO's form")
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"{file} is no JSON: {error}; expected a file in COCO's form") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} holds a {type(content).__name__}; expected 'images', 'annotations' and 'categories'")
    return content


def _records(file: Path, content: dict, name: str, needed: tuple[str, ...]) -> list[dict]:
    """The list of that name. Each of its entries has what is needed, and an "id" of its own."""
    records = content.get(name)
    if not isinstance(records, list):
        raise ValueError(f"{file} has {', '.join(content) or 'nothing'}; expected a list of {name!r}")
    for record in records:
        if not isinstance(record, dict) or not all(key in record for key in needed):
            raise ValueError(f"{file} has {_short(record)} in {name!r}; expected {', '.join(needed)}")
    if len({record["id"] for record in records}) < len(records):
        raise ValueError(f"{file} has two {name!r} with the same id; expected one for each")
    return records


def _has_part_in(box: list[float], image: dict) -> bool:
    """Whether some of the box (left, top, width, height) lies in the picture."""
    left, top, width, height = box
    return min(left + width, image["width"]) > max(left, 0) and min(top + height, image["height"]) > max(top, 0)


def _are_numbers(values: list) -> bool:
    """Whether all could be pixels: no text, no nan, nothing endless."""
    return all(isinstance(value, (int, float)) and abs(value) < FAR for value in values)


def _short(value: object) -> str:
    """The value as text, the beginning alone where it is long."""
    text = repr(value)
    return text if len(text) <= 80 else text[:80] + " .."
