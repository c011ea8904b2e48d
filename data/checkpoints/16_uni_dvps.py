"""The checkpoint of lesson 16: Uni-DVPS on lesson 15's MaskFormer, and its rivals.

All runs learn from the same 2,000 frames, every second one of 400 moving clips' nine, in as many steps, and begin with
lesson 15's weights; the depth head is drawn at random. A query that is to say "nothing" weighs 0.4, see lesson 14.

- "tuning": short runs of one seed, judged on validation clips. Two learning rates: the smaller one is a little better
  in mIoU and VPQ, the larger one in depth; the smaller one is taken. And a depth loss that weighs ten times less, and
  ten times more, at that rate.
- "both": masks and depth, with a gate for each task. Seeds 0, 1 and 2; the weights of 0 are kept, in half precision.
- "both, no gate": both tasks get the same features. Seeds 0, 1 and 2.
- "masks alone" and "depth alone": two networks of full size, without gates, each taught one task; seed 0. The second is
  not told which query is to answer for what: it learns that `picture_depth` be right, with the loss and the pixels of
  "both", each true mask counting once. "two specialists" puts their answers together.

What is measured goes to 16_runs.json, run by run, on 40 validation clips of 12 frames, and for "both" once on 40 test
clips: mIoU; PQ; errors of depth, of all pixels and of things; VPQ and DVPQ with numbers that last by queries, by
overlap of masks, and by chance (all among segments of one class). The two thresholds of the panoptic merging and those
of the trackers are the best on validation clips. "row" is the depth error of who says for each row of pixels what it
was in training on average.

"matching", for "both" and "masks alone", is about things that were found in two frames of 200 validation clips: frames
1, 3 and 6 apart, and the last before a thing had vanished and the first after it. It says of how many the two segments
are paired by somebody who knows these two frames alone; how many were found by the query of the same number both times;
and how many have the same number from a tracker that saw all frames and forgets nothing. It says so of all, and of
those with rivals, where the class alone does not decide.

The frames lie in a file beside the course's data. About three hours of one idle processor core. A run that is in
16_runs.json already is not made again, so a recipe that was cut off goes on where it was; delete the file to begin
anew.

    .venv/bin/python data/checkpoints/16_uni_dvps.py
"""

from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lib.datasets.folders import data_dir
from lib.datasets.toyworld import SEMANTIC_NAMES
from lib.datasets.toyworld.cache import generator_version
from lib.datasets.toyworld.moving import moving_clip
from lib.files import write_atomically
from lib.models.maskformer import WEIGHTS, MaskFormerMatcher, maskformer_small
from lib.models.uni_dvps import (
    DEPTH_WEIGHTS,
    UniDVPS,
    UniDVPSCriterion,
    UniDVPSOutput,
    picture_answers,
    picture_depth,
    uni_dvps_small,
)
from lib.ops.depth import depth_errors, scale_invariant_log_loss, valid_depth
from lib.ops.masks import mask_iou
from lib.ops.panoptic import Panoptic, panoptic_inference, panoptic_of_masks, semantic_inference
from lib.ops.panoptic_metrics import (
    depth_aware_video_panoptic_quality,
    panoptic_quality,
    video_panoptic_quality,
)
from lib.ops.segmentation_metrics import confusion_matrix, mean_iou
from lib.ops.tracking import (
    Tracker,
    clip_panoptic,
    mask_features,
    match_masks,
    match_queries,
    query_features,
    track_segments,
)
from lib.timing import milliseconds
from lib.training import Batches, clip_segments, fit, load_checkpoint, save_checkpoint
from lib.training.runs import once

HERE = Path(__file__).parent
STORE = HERE / "16_runs.json"
SEEDS, BATCH, STEPS, TUNING_STEPS = (0, 1, 2), 16, 1000, 300
RATES, LEARNING_RATE = (5e-4, 1e-3), 5e-4
NOTHING, DISCOUNT = 0.4, 0.5
CLASSES = len(SEMANTIC_NAMES)  # K: sky, ground and five kinds of things
STUFF, THINGS = {0, 1}, set(range(2, CLASSES))
CLIPS = {  # of which split, how many, how many frames, and every which of them
    "train": ("train", 400, 9, 2),
    "val": ("val", 40, 12, 1),
    "test": ("test", 40, 12, 1),
    "matching": ("val", 200, 12, 1),
}
GAPS = (1, 3, 6)  # frames, for "matching"
THRESHOLDS = [(score, overlap) for score in (0.3, 0.5, 0.8) for overlap in (0.3, 0.5, 0.8)]
TRACKERS = {  # how to pair, and what is tried: least similarity, frames after which a track ends
    "queries": (match_queries, [(least, age) for least in (0.0, 0.5, 0.8) for age in (0, 6)]),
    "masks": (match_masks, [(least, age) for least in (0.0, 0.1, 0.3) for age in (0, 6)]),
}

Target = dict[str, Tensor]
ClipFrames = tuple[Tensor, list[Target]]  # as `clip_segments` gives
Pictures = tuple[Tensor, list[Target]]


class Said(NamedTuple):
    """What was answered to a clip, thresholds apart."""

    answers: list[tuple[Tensor, Tensor]]  # of each frame (Q, K + 1) and (Q, H, W)
    queries: list[Tensor]  # of each frame (Q, D)
    depth: Tensor  # (T, H, W) metres


def main() -> None:
    splits = {name: clips_of(name) for name in CLIPS}
    once(STORE, "row", lambda: depths_measured(row_depth(splits), splits["val"]))
    once(STORE, "size", size)
    for rate in RATES:
        once(STORE, f"tuning/{rate}", partial(run, splits, "both", 0, rate=rate, steps=TUNING_STEPS))
    for factor in (0.1, 10):
        once(STORE, f"tuning/depth x{factor}", partial(run, splits, "both", 0, factor=factor, steps=TUNING_STEPS))
    for seed in SEEDS:
        for kind in ("both", "both, no gate"):
            once(STORE, f"{kind}/{seed}", partial(run, splits, kind, seed))
    for kind in ("masks alone", "depth alone"):
        once(STORE, f"{kind}/0", partial(run, splits, kind, 0))
    once(STORE, "two specialists/0", partial(specialists, splits))


def clips_of(name: str) -> list[ClipFrames]:
    """One of `CLIPS`, rendered the first time."""
    split, count, length, step = CLIPS[name]
    path = data_dir() / "toyworld" / f"moving-{split}-{count}x{length}-{step}-{generator_version()}.pt"
    if not path.exists():
        clips = [clip_segments(moving_clip(index, split, length), range(0, length, step)) for index in range(count)]
        content = BytesIO()
        torch.save(clips, content)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
    return torch.load(path)


def frames_of(clips: list[ClipFrames]) -> Pictures:
    """All frames of all clips, as pictures."""
    return torch.cat([images for images, _ in clips]), [target for _, targets in clips for target in targets]


def weights_of(kind: str) -> Path:
    return data_dir() / "trained" / f"16_{kind.replace(' ', '_')}.pt"


def started(seed: int, gate: bool) -> UniDVPS:
    torch.manual_seed(seed)
    model = uni_dvps_small(CLASSES, gate=gate)
    load_checkpoint(model.maskformer, HERE / "15_maskformer.safetensors")
    return model


def run(
    splits: dict[str, list[ClipFrames]],
    kind: str,
    seed: int,
    rate: float = LEARNING_RATE,
    steps: int = STEPS,
    factor: float = 1.0,
) -> dict:
    model = started(seed, gate=kind == "both")
    weights = WEIGHTS if kind == "masks alone" else DEPTH_WEIGHTS | {"loss_depth": factor * DEPTH_WEIGHTS["loss_depth"]}
    matcher = MaskFormerMatcher(enlarge=True)  # see lesson 15
    criterion = UniDVPSCriterion(CLASSES, matcher, weights, eos_coef=NOTHING, discount=DISCOUNT)

    def loss(model: nn.Module, batch: Pictures) -> dict[str, Tensor]:
        outputs = model(batch[0])
        if kind == "depth alone":
            return {"loss_depth": depth_loss(outputs, batch[1])}
        return criterion.weighted(criterion(outputs, batch[1]))

    batches = Batches(*frames_of(splits["train"]), batch_size=BATCH, shuffle=True, flip=True, seed=seed)
    history = fit(model, batches, loss, steps=steps, seed=seed, learning_rate=rate, ema=0.99, show=False)
    result: dict[str, Any] = {"steps": steps, "seconds": round(history.seconds)}
    if kind == "depth alone":
        result["val"] = depths_measured([one.depth for one in asked(model, splits["val"])], splits["val"])
    else:
        result["val"] = measured(asked(model, splits["val"]), splits["val"])
    if steps < STEPS:
        return result
    if kind in ("both", "masks alone"):
        result["matching"] = matching(model, splits["matching"], result["val"]["thresholds"])
    if kind == "both":
        result["test"] = measured(asked(model, splits["test"]), splits["test"], result["val"])
    if kind.endswith("alone"):
        weights_of(kind).parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), weights_of(kind))
    if kind == "both" and seed == SEEDS[0]:
        made = {"learning rate": rate, "batch": BATCH, "clips": CLIPS["train"][1], "steps": STEPS, "seed": seed}
        names = ("mIoU", "PQ", "abs_rel", "VPQ by queries", "DVPQ by queries")
        made |= {split: {name: result[split][name] for name in names} for split in ("val", "test")}
        save_checkpoint(model.half(), HERE / "16_uni_dvps.safetensors", made)
    return result


def depth_loss(outputs: UniDVPSOutput, targets: list[Target]) -> Tensor:
    """How wrong the picture's depth is, each true mask counting once; the sum over the decoder layers."""
    valid = torch.cat([target["masks"] & valid_depth(target["depth"]) for target in targets])  # (M, H, W)
    true = torch.cat([target["depth"].expand_as(target["masks"]) for target in targets])  # (M, H, W)
    total = true.new_zeros(())
    for layer in (outputs, *outputs["aux_outputs"]):
        maps = [picture_depth(one.logits, one.masks, one.depths) for one in picture_answers(layer)]  # (H, W) each
        said = torch.cat([one.expand_as(target["masks"]) for one, target in zip(maps, targets, strict=True)])
        total = total + scale_invariant_log_loss(said, true, valid, DISCOUNT)
    return DEPTH_WEIGHTS["loss_depth"] * total


def specialists(splits: dict[str, list[ClipFrames]]) -> dict:
    """Masks of one network, depth of another."""
    said = []
    for kind in ("masks alone", "depth alone"):
        model = uni_dvps_small(CLASSES, gate=False)
        model.load_state_dict(torch.load(weights_of(kind)))
        said.append(asked(model, splits["val"]))
    together = [masks._replace(depth=depth.depth) for masks, depth in zip(*said, strict=True)]
    return {"val": measured(together, splits["val"])}


def size() -> dict:
    """Parameters, and milliseconds for a picture."""
    picture, result = torch.rand(1, 3, 96, 96), {}
    models = {"maskformer": maskformer_small(CLASSES)}
    models |= {f"gate {gate}": uni_dvps_small(CLASSES, gate=gate) for gate in (True, False)}
    for name, model in models.items():
        model.eval()
        with torch.no_grad():
            took = milliseconds(partial(model, picture), repeats=30)
        result[name] = {"parameters": sum(one.numel() for one in model.parameters()), "ms": round(took, 2)}
    return result


@torch.no_grad()
def asked(model: UniDVPS, clips: list[ClipFrames]) -> list[Said]:
    said = []
    for images, targets in clips:
        answers = [one for batch, _ in Batches(images, targets) for one in picture_answers(model.eval()(batch))]
        depth = torch.stack([picture_depth(one.logits, one.masks, one.depths) for one in answers])
        said.append(Said([one[:2] for one in answers], [one.queries for one in answers], depth))
    return said


def measured(said: list[Said], clips: list[ClipFrames], tried: dict | None = None) -> dict:
    """Everything. `tried`: what validation clips said, where the thresholds were chosen."""
    truths = [true_clip(targets) for _, targets in clips]
    choices = THRESHOLDS if tried is None else [tuple(tried["thresholds"])]
    merged = {pair: [merge(one, *pair) for one in said] for pair in choices}
    scores = {pair: qualities(frames, clips) for pair, frames in merged.items()}
    best = max(scores, key=lambda pair: scores[pair]["PQ"])
    frames = merged[best]
    result = miou(said, clips) | scores[best] | {"thresholds": list(best)}
    result |= depths_measured([one.depth for one in said], clips)
    for name in (*TRACKERS, "chance"):
        by_setting = {}
        for setting in settings(name, tried):
            tracked = tracked_by(name, setting, frames, said)
            by_setting[setting] = tracked, rounded(video_panoptic_quality(tracked, truths, THINGS, STUFF))
        chosen = max(by_setting, key=lambda setting: by_setting[setting][1]["VPQ"])
        tracked, video = by_setting[chosen]
        aware = rounded(
            depth_aware_video_panoptic_quality(
                tracked, truths, [one.depth for one in said], depths_of(clips), THINGS, STUFF
            )
        )
        result |= {f"{key} by {name}": value for key, value in (video | aware).items()}
        result |= {f"tracker by {name}": list(chosen)}
        if tried is None and len(by_setting) > 1:
            settings_tried = {str(setting): video["VPQ_things"] for setting, (_, video) in by_setting.items()}
            result |= {f"VPQ_things by {name}, by setting": settings_tried}
    return result


def settings(name: str, tried: dict | None) -> list[tuple[float, int]]:
    if tried is not None:
        return [tuple(tried[f"tracker by {name}"])]
    return TRACKERS[name][1] if name in TRACKERS else [(0.0, 0)]


def merge(said: Said, score: float, overlap: float) -> list[Panoptic]:
    return [panoptic_inference(*answer, THINGS, score, overlap) for answer in said.answers]


def tracked_by(name: str, setting: tuple[float, int], frames: list[list[Panoptic]], said: list[Said]) -> list[Panoptic]:
    """Clips with numbers that last."""
    generator = torch.Generator().manual_seed(0)
    match = TRACKERS[name][0] if name in TRACKERS else partial(match_by_chance, generator=generator)
    return [
        clip_panoptic(of_clip, track_segments(of_clip, features(name, of_clip, one), Tracker(match, *setting)))
        for of_clip, one in zip(frames, said, strict=True)
    ]


def features(name: str, frames: list[Panoptic], said: Said) -> list[Tensor]:
    if name == "masks":
        return [mask_features(one) for one in frames]
    return [query_features(one, queries) for one, queries in zip(frames, said.queries, strict=True)]


def match_by_chance(
    before: Tensor, now: Tensor, least: float, allowed: Tensor | None, generator: torch.Generator
) -> Tensor:
    """As `match_queries`, of queries that say nothing: any two of a class."""
    random = [torch.randn(len(one), 96, generator=generator) for one in (before, now)]
    return match_queries(random[0], random[1], -1.0, allowed)


def true_clip(targets: list[Target]) -> Panoptic:
    frames = [panoptic_of_masks(target["masks"], target["labels"], THINGS) for target in targets]
    return clip_panoptic(frames, [target["track_ids"] for target in targets])


def depths_of(clips: list[ClipFrames]) -> list[Tensor]:
    """(T, H, W) metres for each clip."""
    return [torch.stack([target["depth"] for target in targets]) for _, targets in clips]


def qualities(frames: list[list[Panoptic]], clips: list[ClipFrames]) -> dict[str, float]:
    """PQ of all frames as pictures."""
    flat = [one for of_clip in frames for one in of_clip]
    truth = [panoptic_of_masks(target["masks"], target["labels"], THINGS) for _, targets in clips for target in targets]
    return rounded(panoptic_quality(flat, truth, THINGS, STUFF))


def miou(said: list[Said], clips: list[ClipFrames]) -> dict[str, float]:
    matrix = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for one, (_, targets) in zip(said, clips, strict=True):
        for answer, target in zip(one.answers, targets, strict=True):
            true = (target["masks"] * target["labels"][:, None, None]).sum(dim=0)  # (H, W)
            matrix += confusion_matrix(semantic_inference(*answer).argmax(dim=0)[None], true[None], CLASSES)
    return {"mIoU": round(float(mean_iou(matrix)), 4)}


def row_depth(splits: dict[str, list[ClipFrames]]) -> list[Tensor]:
    """For each validation clip (T, H, W): the geometric mean of a row's valid depths in training."""
    true = torch.stack([target["depth"] for target in frames_of(splits["train"])[1]])  # (N, H, W)
    valid = valid_depth(true)
    logs = torch.where(valid, true, 1.0).log().sum((0, 2)) / valid.sum((0, 2)).clamp(min=1)  # (H,)
    return [logs.exp()[:, None].expand(len(images), -1, images.shape[3]) for images, _ in splits["val"]]


def depths_measured(depths: list[Tensor], clips: list[ClipFrames]) -> dict[str, float]:
    """Errors of all valid pixels, and of those of things."""
    said, true = torch.cat(depths), torch.cat(depths_of(clips))  # (N, H, W) each
    things = torch.stack(
        [target["masks"][target["labels"] >= min(THINGS)].any(dim=0) for _, targets in clips for target in targets]
    )
    valid = valid_depth(true)
    errors = depth_errors(said, true, valid)
    errors |= {f"{name} of things": value for name, value in depth_errors(said, true, valid & things).items()}
    return {name: round(value, 4) for name, value in errors.items()}


def matching(model: UniDVPS, clips: list[ClipFrames], thresholds: list[float]) -> dict[str, dict]:
    """How many things' segments in two frames are paired, by each way, when only the two frames are known."""
    counts: dict[str, dict[str, float]] = {}
    for clip in clips:
        ((one,), (_, targets)) = asked(model, [clip]), clip
        of_clip = merge(one, *thresholds)
        tracker = Tracker(match_queries, 0.0, max_age=len(targets))
        numbers = track_segments(of_clip, features("queries", of_clip, one), tracker)
        found = [segments_of_things(frame, target) for frame, target in zip(of_clip, targets, strict=True)]
        seen = [target["track_ids"][target["labels"] >= min(THINGS)].tolist() for target in targets]
        pairs = [
            (f"{gap} apart", first, first + gap, thing)
            for gap in GAPS
            for first in range(len(seen) - gap)
            for thing in set(seen[first]) & set(seen[first + gap])
        ]
        pairs += [("vanished between", *one) for one in gone_and_back(seen, found)]
        for kind, first, last, thing in pairs:
            record = counts.setdefault(kind, {})
            if thing not in found[first] or thing not in found[last]:
                add(record, "not found in both", 1)
                continue
            wanted = found[first][thing], found[last][thing]
            add_pair(
                record, of_clip, one, first, last, wanted, bool(numbers[first][wanted[0]] == numbers[last][wanted[1]])
            )
    return {kind: {name: round(value, 2) for name, value in record.items()} for kind, record in counts.items()}


def add_pair(
    record: dict[str, float],
    frames: list[Panoptic],
    said: Said,
    first: int,
    last: int,
    wanted: tuple[int, int],
    tracked: bool,
) -> None:
    """Count a thing whose segments in two frames are the `wanted` two: who pairs them? A tracker has, or has not."""
    thing = [torch.tensor([bool(one.get("isthing")) for one in frames[place][1]]) for place in (first, last)]
    label = [torch.tensor([one["label"] for one in frames[place][1]]) for place in (first, last)]
    allowed = (label[0][:, None] == label[1]) & thing[0][:, None] & thing[1]  # (n, m)
    rivals = max(int(allowed[wanted[0]].sum()), int(allowed[:, wanted[1]].sum()))  # of this class, itself too
    asked_for = [frames[place][1][segment].get("query") for place, segment in zip((first, last), wanted, strict=True)]
    hits: dict[str, float] = {"chance": 1 / rivals, "pairs": 1}
    hits |= {"same query": asked_for[0] == asked_for[1], "tracker": tracked}
    for name, match, least in (("queries", match_queries, -1.0), ("masks", match_masks, 0.0)):
        one, other = (features(name, frames, said)[place] for place in (first, last))
        hits[name] = list(wanted) in match(one, other, least, allowed).tolist()
        anyone = match(one, other, least, thing[0][:, None] & thing[1]).tolist()
        hits[f"{name}, class unknown"] = list(wanted) in anyone
    for name, hit in hits.items():
        add(record, name, hit)
        if rivals > 1:
            add(record, f"{name}, with rivals", hit)


def add(record: dict[str, float], name: str, value: float) -> None:
    record[name] = record.get(name, 0) + value


def segments_of_things(panoptic: Panoptic, target: Target) -> dict[int, int]:
    """Of the things that were found, by track id: the place of their segment. Found: IoU above 1/2, and the class."""
    masks = mask_features(panoptic)
    found = {}
    if not len(masks):
        return found
    overlap = mask_iou(target["masks"], masks)  # (n, segments)
    for number, label, row in zip(target["track_ids"].tolist(), target["labels"].tolist(), overlap):
        place = int(row.argmax())
        if number and row[place] > 0.5 and panoptic[1][place]["label"] == label:
            found[number] = place
    return found


def gone_and_back(seen: list[list[int]], found: list[dict[int, int]]) -> list[tuple[int, int, int]]:
    """(last frame before in which it was found, first frame after, thing), of what had no pixel for a while."""
    gaps = []
    for thing in sorted({number for frame in seen for number in frame}):
        shown = [place for place, frame in enumerate(seen) if thing in frame]
        for one, other in zip(shown, shown[1:]):
            before = [place for place in shown if place <= one and thing in found[place]]
            after = [place for place in shown if place >= other and thing in found[place]]
            if other > one + 1 and before and after:
                gaps.append((before[-1], after[0], thing))
    return gaps


def rounded(scores: dict[str, Any]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in scores.items() if not name.startswith("per_")}


if __name__ == "__main__":
    main()
