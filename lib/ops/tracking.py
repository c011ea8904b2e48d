"""Which segment of this frame is which of the last one? (lesson 16)

A frame's segments are described by features, one for each: the state of the query that found it, or its mask. Two
frames' features are compared pair by pair, and of all assignments the one with the most similarity is taken. So a thing
keeps its number from frame to frame, though no network was trained for it.

Sources: Kim et al. 2024, "Uni-DVPS", for matching the queries of successive frames; Kuhn 1955 for the assignment; the
rest is what trackers commonly do, such as Bewley et al. 2016, "Simple Online and Realtime Tracking".
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from lib.ops.masks import mask_iou
from lib.ops.panoptic import VOID, Panoptic, Segment

Match = Callable[[Tensor, Tensor, float, Tensor | None], Tensor]  # such as `match_queries`


def match_queries(before: Tensor, now: Tensor, least_similarity: float = 0.5, allowed: Tensor | None = None) -> Tensor:
    """Pair the queries of two frames by the cosine of the angle between them.

    Each is in one pair at most. Pairs that are not allowed or less similar than `least_similarity` are ruled out; of
    all ways to choose among the others the one with the largest sum of (similarity + 1) is taken.

    Args:
        before: (n, D) floats, of the frame before. n and m may be 0.
        now: (m, D) floats.
        least_similarity: -1..1.
        allowed: (n, m) bool, such as "both say the same class"; None: all are.

    Returns:
        (k, 2) int64: place in `before`, place in `now`; in the order of `before`.

    Raises:
        ValueError: shapes do not fit, a feature is infinite or not a number, or the least similarity is out of range.
    """
    for name, each in (("before", before), ("now", now)):
        if each.ndim != 2 or not each.is_floating_point() or each.shape[1] != before.shape[-1]:
            wanted = f"floats (any number, {before.shape[-1] if before.ndim == 2 else 'D'})"
            raise ValueError(f"{name} is {tuple(each.shape)} {each.dtype}; expected {wanted}")
        if not each.isfinite().all():
            raise ValueError(f"{name} has features that are infinite or not a number; expected numbers")
    if not -1 <= least_similarity <= 1:
        raise ValueError(f"least_similarity is {least_similarity!r}; expected a cosine, -1..1")
    cosine = F.normalize(before, dim=1) @ F.normalize(now, dim=1).T  # (n, m)
    return _assigned(cosine, 1.0, least_similarity, allowed)


def match_masks(before: Tensor, now: Tensor, least_iou: float = 0.1, allowed: Tensor | None = None) -> Tensor:
    """Pair the masks of two frames by how much they overlap. A thing that moves by its own width is lost.

    Args:
        before: (n, H, W) bool. now: (m, H, W) bool.
        least_iou: 0..1. Pairs without a shared pixel never match.
        allowed: see `match_queries`.

    Returns:
        (k, 2) int64, see `match_queries`; the largest sum of IoU.

    Raises:
        ValueError: shapes do not fit, or the least IoU is out of range.
    """
    for name, each in (("before", before), ("now", now)):
        if each.ndim != 3 or each.dtype != torch.bool or each.shape[1:] != before.shape[1:]:
            raise ValueError(f"{name} is {tuple(each.shape)} {each.dtype}; expected bool masks (any number, H, W)")
    if not 0 <= least_iou <= 1:
        raise ValueError(f"least_iou is {least_iou!r}; expected an IoU, 0..1")
    if not len(before) or not len(now):
        iou = torch.zeros(len(before), len(now))
    else:
        iou = mask_iou(before, now)  # (n, m)
    shared = iou > 0
    return _assigned(iou, 0.0, least_iou, shared if allowed is None else shared & allowed.to(shared.device))


@dataclass
class Track:
    """One thing through time."""

    feature: Tensor  # when it was seen last
    label: int
    age: int = 0  # frames since then


class Tracker:
    """Gives the segments of frame after frame numbers that last.

    A segment that matches a track takes over its number, and the track remembers this segment's feature. One that
    matches none is a birth, with a new number; numbers are never used again. A track that matches nothing is lost, but
    goes on being offered for `max_age` frames, so that a thing that was hidden gets its number back; then it ends.

    Args:
        match: `match_queries` or `match_masks`, or another of that kind.
        least: how similar a pair must be, as `match` measures it.
        max_age: frames. 0: a track must be found again in the very next frame.
        same_class: whether a segment's class must be that of the track.

    Raises:
        ValueError: `max_age` is negative.
    """

    def __init__(self, match: Match = match_queries, least: float = 0.5, max_age: int = 5, same_class: bool = True):
        if max_age < 0:
            raise ValueError(f"max_age is {max_age!r}; expected frames, at least 0")
        self.match, self.least, self.max_age, self.same_class = match, least, max_age, same_class
        self.tracks: dict[int, Track] = {}  # by number; those that are not over yet
        self.born = 0  # how many there have been

    def update(self, features: Tensor, labels: Tensor) -> Tensor:
        """One more frame.

        Args:
            features: (m, ...), one for each segment, as `match` wants them; m may be 0.
            labels: (m,) int64, their classes.

        Returns:
            (m,) int64, the number of each, from 1.

        Raises:
            ValueError: there are more labels or fewer; and what `match` raises.
        """
        if labels.shape != features.shape[:1]:
            raise ValueError(f"labels is {tuple(labels.shape)}; expected ({len(features)},), as many as features")
        numbers = torch.zeros(len(features), dtype=torch.int64)  # 0 = not known yet
        known = list(self.tracks)
        if known and len(features):
            before = torch.stack([self.tracks[number].feature for number in known])  # (n, ...)
            classes = torch.tensor([self.tracks[number].label for number in known])  # (n,)
            allowed = classes[:, None] == labels.cpu() if self.same_class else None  # (n, m)
            for old, new in self.match(before, features, self.least, allowed).tolist():
                numbers[new] = known[old]
        for track in self.tracks.values():  # only now: a frame that was refused has not passed
            track.age += 1
        for place, (feature, label) in enumerate(zip(features, labels.tolist())):
            if not numbers[place]:
                self.born += 1
                numbers[place] = self.born
            self.tracks[int(numbers[place])] = Track(feature, label)
        self.tracks = {number: track for number, track in self.tracks.items() if track.age <= self.max_age}
        return numbers


def query_features(panoptic: Panoptic, queries: Tensor) -> Tensor:
    """Of each segment of a frame the state of the query that it came from: states (Q, D) -> (segments, D).

    Raises:
        ValueError: a segment does not say its query.
    """
    _, segments = panoptic
    for segment in segments:
        if segment.get("query") is None:
            raise ValueError(f"panoptic has the segment {segment}; expected its query, as panoptic_inference gives it")
    return queries[torch.tensor([segment["query"] for segment in segments], dtype=torch.int64)]


def mask_features(panoptic: Panoptic) -> Tensor:
    """Of each segment of a frame its mask, (segments, H, W) bool."""
    numbers, segments = panoptic
    return numbers == torch.tensor([segment["id"] for segment in segments], dtype=numbers.dtype)[:, None, None]


def track_segments(frames: Sequence[Panoptic], features: Sequence[Tensor], tracker: Tracker) -> list[Tensor]:
    """Numbers that last, for the segments of each frame.

    Args:
        frames: one map (H, W) each, with its segments, which say whether they are things.
        features: for each frame one for each of its segments, in their order: `query_features` or `mask_features`.
        tracker: a new one.

    Returns:
        For each frame (segments,) int64, from 1 for things; 0 for stuff, of which there is one for each class.

    Raises:
        ValueError: frames and features do not fit.
    """
    if len(frames) != len(features):
        raise ValueError(f"features has {len(features)} entries; expected one for each of {len(frames)} frames")
    tracked = []
    for place, ((_, segments), of_frame) in enumerate(zip(frames, features)):
        if len(of_frame) != len(segments):
            raise ValueError(f"features[{place}] has {len(of_frame)} rows; expected {len(segments)}, as segments")
        thing = torch.tensor([bool(segment.get("isthing")) for segment in segments], dtype=torch.bool)
        labels = torch.tensor([segment["label"] for segment in segments], dtype=torch.int64)
        numbers = torch.zeros(len(segments), dtype=torch.int64)
        numbers[thing] = tracker.update(of_frame[thing.to(of_frame.device)], labels[thing])
        tracked.append(numbers)
    return tracked


def clip_panoptic(frames: Sequence[Panoptic], numbers: Sequence[Tensor]) -> Panoptic:
    """One panoptic map for a clip, from those of its frames and the lasting numbers of their segments.

    Things of one number are one segment of the clip, and so is all stuff of one class. A thing that was taken for
    several classes has the one of most of its pixels.

    Args:
        frames: maps (H, W), all alike in size, with their segments.
        numbers: for each frame (segments,) int64: above 0 for things, 0 for stuff; such as `track_segments` gives, or
            true track ids.

    Returns:
        (T, H, W) int64, 0 = void; and the segments {"id", "label", "isthing"} in the order in which they first appear.
        A thing's id is its number; those of stuff come after the highest number.

    Raises:
        ValueError: there is no frame, or frames and numbers do not fit.
    """
    if not frames or len(frames) != len(numbers):
        raise ValueError(f"frames has {len(frames)} entries and numbers {len(numbers)}; expected as many, at least one")
    maps = torch.stack([torch.full_like(one, VOID, dtype=torch.int64) for one, _ in frames])  # (T, H, W)
    highest = max((int(lasting.max()) for lasting in numbers if len(lasting)), default=0)
    ids: dict[tuple[bool, int], int] = {}  # (thing, its number) or (not, class) -> id in the clip
    pixels: dict[int, Counter[int]] = {}  # id -> class -> pixels
    for place, ((of_frame, segments), lasting) in enumerate(zip(frames, numbers)):
        if lasting.shape != (len(segments),):
            raise ValueError(f"numbers[{place}] is {tuple(lasting.shape)}; expected ({len(segments)},), as segments")
        for segment, number in zip(segments, lasting.tolist()):
            inside = of_frame == segment["id"]  # (H, W)
            who = (True, number) if number else (False, segment["label"])
            stuff = sum(not thing for thing, _ in ids)
            mine = ids.setdefault(who, number or highest + stuff + 1)
            maps[place][inside] = mine
            pixels.setdefault(mine, Counter())[segment["label"]] += int(inside.sum())
    labels = {mine: counts.most_common(1)[0][0] for mine, counts in pixels.items()}
    clip: list[Segment] = [{"id": mine, "label": labels[mine], "isthing": thing} for (thing, _), mine in ids.items()]
    return maps, clip


def _assigned(similarity: Tensor, shift: float, least: float, allowed: Tensor | None) -> Tensor:
    """The pairs (k, 2) with the largest sum of similarity + shift, which is at least 0, among those that may be."""
    if allowed is not None and (allowed.shape != similarity.shape or allowed.dtype != torch.bool):
        came = f"{tuple(allowed.shape)} {allowed.dtype}"
        raise ValueError(f"allowed is {came}; expected {tuple(similarity.shape)} bool")
    may_be = similarity >= least  # (n, m)
    if allowed is not None:
        may_be &= allowed.to(may_be.device)
    gain = torch.where(may_be, similarity + shift, 0)
    best = linear_sum_assignment(gain.double().cpu().numpy(), maximize=True)
    rows, columns = (torch.as_tensor(one, dtype=torch.int64) for one in best)
    kept = may_be.cpu()[rows, columns]
    return torch.stack([rows[kept], columns[kept]], dim=1)
