"""The whole course on one page: nineteen lessons, and what each adds to the one before."""

from typing import NamedTuple

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Patch


class Lesson(NamedTuple):
    """One stop on the road: its number, its subject, the one idea it adds, and the part of the course it belongs to."""

    number: int
    title: str
    adds: str
    part: str


LESSONS = (
    Lesson(1, "FC = 1×1 conv", "a classifier that\nanswers at every place", "pixels"),
    Lesson(2, "Upsampling", "from a coarse map back\nto every pixel", "pixels"),
    Lesson(3, "FCN and skips", "deep maps know what,\nshallow maps know where", "pixels"),
    Lesson(4, "U-Net", "a way back up that is as\nrich as the way down", "pixels"),
    Lesson(5, "Boxes and AP", "how to say where, and how\nto measure if it is right", "boxes"),
    Lesson(6, "R-CNN", "propose regions,\nclassify each", "boxes"),
    Lesson(7, "Fast R-CNN", "one feature map\nfor all regions", "boxes"),
    Lesson(8, "Faster R-CNN", "let the network propose:\nanchors", "boxes"),
    Lesson(9, "YOLO", "no proposals: one look,\none answer per cell", "boxes"),
    Lesson(10, "Focal loss", "do not drown in\neasy background", "boxes"),
    Lesson(11, "FPN, RetinaNet", "every size at its\nown level", "boxes"),
    Lesson(12, "Mask R-CNN", "a mask in every box,\nwithout rounding", "masks"),
    Lesson(13, "New heads", "body surfaces and meshes\nfrom the same backbone", "masks"),
    Lesson(14, "DETR", "a set of answers,\nno anchors, no NMS", "queries"),
    Lesson(15, "MaskFormer", "one model for semantic,\ninstance and panoptic", "queries"),
    Lesson(16, "Uni-DVPS", "the same in video,\nwith depth", "queries"),
    Lesson(17, "SAM", "a mask for every\nclick", "prompts"),
    Lesson(18, "SAM data engine", "a model that labels\nits own training data", "prompts"),
    Lesson(19, "Grounded SAM", "type a phrase,\nget a mask", "prompts"),
)
COLUMNS = 4
# Colours that colour-blind readers tell apart (Okabe & Ito 2008), lightened; the name of the part stands beside them.
PART_COLOURS = {"pixels": "#CDE8F7", "boxes": "#FBE3B5", "masks": "#CFEBDF", "queries": "#F0D5E4", "prompts": "#F7D3BD"}


def draw_course_map() -> Figure:
    """The lessons as a road that runs left, right, left again."""
    figure, axis = plt.subplots(figsize=(11, 8), layout="constrained")
    rows = -(-len(LESSONS) // COLUMNS)
    places = [_place(index) for index in range(len(LESSONS))]
    for (x, y), (next_x, next_y) in zip(places, places[1:]):
        along, down = next_x - x, next_y - y  # one of the two is 0, the other 1 or -1
        start, end = (x + 0.44 * along, y + 0.34 * down), (next_x - 0.44 * along, next_y - 0.34 * down)
        axis.add_patch(
            FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=13, color="#777777", shrinkA=0, shrinkB=0)
        )
    for lesson, (x, y) in zip(LESSONS, places):
        axis.add_patch(
            FancyBboxPatch(
                (x - 0.41, y - 0.31),
                0.82,
                0.62,
                boxstyle="round,pad=0.02,rounding_size=0.06",
                facecolor=PART_COLOURS[lesson.part],
                edgecolor="#333333",
            )
        )
        axis.text(
            x, y + 0.16, f"{lesson.number:02d}  {lesson.title}", ha="center", va="center", fontsize=11, weight="bold"
        )
        axis.text(x, y - 0.11, lesson.adds, ha="center", va="center", fontsize=9.5)
    axis.legend(
        handles=[Patch(color=colour, label=part) for part, colour in PART_COLOURS.items()],
        loc="center",
        bbox_to_anchor=(COLUMNS - 1, 1 - rows),
        bbox_transform=axis.transData,
        frameon=False,
    )
    axis.set(xlim=(-0.5, COLUMNS - 0.5), ylim=(0.45 - rows, 0.45))
    axis.axis("off")
    return figure


def _place(index: int) -> tuple[float, float]:
    """Where the middle of a lesson's box lies: even rows run to the right, odd rows to the left."""
    row, column = divmod(index, COLUMNS)
    return (column if row % 2 == 0 else COLUMNS - 1 - column), -row
