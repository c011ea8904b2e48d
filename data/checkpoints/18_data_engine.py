"""The checkpoints of lesson 18: SAM's data engine, round by round.

It runs on the training scenes of toyworld, each used once. Nobody knows their masks but the simulated annotator.

- "public": 700 steps on 200 scenes of which spheres alone have masks, as in a data set of one kind. The encoder starts
  as lesson 17's masked autoencoder.
- assisted-manual, three rounds: the annotator works on 100 new scenes with the model so far, which then learns from all
  masks of this stage, 500 steps.
- semi-automatic, two rounds: a detector with one class learns the boxes of all masks so far, 600 steps; what it finds
  in 100 new scenes is masked by the model, and the annotator adds what is missing. Then 500 steps on all masks, and
  1,500 more after the last round.
- fully automatic: a grid of 16 × 16 clicks on 800 new scenes.
- What it was worth: from there, 500 steps more on the masks of stages one and two, of stage three, of all three, or on
  everything that can be meant in the scenes of all three.
- Why: for seed 0, the last training on the third stage's masks once more, without those that are wrong, with these made
  exact, and with all truths of its scenes.

The same with three seeds. What is measured goes to 18_runs.json: of the masks, by the truth of their scenes; of the
models, on 100 validation scenes after each round, and on 200 test scenes after each stage and at the end. A run that is
in 18_runs.json already is not made again. For seed 0 the models after "public" and after the first two stages are kept,
in half precision.

    .venv/bin/python data/checkpoints/18_data_engine.py
"""

import copy
import random
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from lib.datasets.toyworld import Sample, Toyworld
from lib.datasets.toyworld.levels import LEVELS, nested_masks
from lib.models.automatic_masks import SamAutomaticMaskGenerator
from lib.models.mae import mae_small, start_from
from lib.models.sam import Sam, mask_ious, sam_small
from lib.ops.masks import mask_iou
from lib.training import fit, load_checkpoint, save_checkpoint
from lib.training.data_engine import (
    SAME,
    Annotator,
    annotate,
    around,
    confident_masks,
    judged,
    object_detector,
    summary,
)
from lib.training.prompting import MaskBatches, Prompted, iou_by_clicks, prompted_loss
from lib.training.runs import once

HERE = Path(__file__).parent
STORE = HERE / "18_runs.json"
SEEDS, PICTURES, MASKS, ROUNDS = (0, 1, 2), 8, 4, (1, 2, 3)
PUBLIC, PUBLIC_STEPS, PUBLIC_RATE, PUBLIC_KIND = 200, 700, 2e-3, "sphere"
ROUND, ROUND_STEPS, ROUND_RATE, ASSISTED, SEMI = 100, 500, 1e-3, 3, 2
DETECTOR_STEPS, LONG_STEPS, AUTOMATIC, LAST_STEPS = 600, 1500, 800, 500
GRID, GUESS, STABILITY, OFFSET = 16, 0.5, 0.7, 1.0
ANNOTATOR = Annotator()


def main() -> None:
    pool, val, test = (scenes(*one) for one in (("train", 2000), ("val", 100), ("test", 200)))
    for seed in SEEDS:
        once(STORE, f"engine/{seed}", lambda seed=seed: engine(pool, val, test, seed))
    once(STORE, "why", lambda: why(pool, test))


def scenes(split: str, count: int) -> list[Sample]:
    world = Toyworld(split, count, 96)
    return [world[index] for index in range(count)]


def engine(pool: Sequence[Sample], val: Sequence[Sample], test: Sequence[Sample], seed: int) -> dict:
    fresh = iter(random.Random(seed).sample(list(pool), len(pool)))
    samples, masks, rounds = [], [], []
    sam = started(seed)

    def work(name: str, count: int, detector: nn.Module | None = None) -> None:
        """The annotator's work on new scenes, and what the model learns from all masks so far."""
        done, judgements, seconds, clicks, by_hand, given_number, number = [], [], [], [], [], 0, 0
        for sample in (next(fresh) for _ in range(count)):
            wanted = nested_masks(sample).masks
            given = wanted[:0] if detector is None else confident_masks(sam, detector, sample.image)
            drawn = annotate(sam, sample.image, wanted, given, ANNOTATOR)
            done.append((sample, torch.cat([given, drawn.masks])))
            judgements.append(judged(done[-1][1], sample))
            seconds += drawn.seconds.tolist()
            clicks += drawn.clicks.tolist()
            by_hand += [ANNOTATOR.by_hand(mask) for mask in drawn.masks]
            given_number += len(given)
            number += len(drawn.masks)
        samples.extend(sample for sample, _ in done)
        masks.extend(mine for _, mine in done)
        learn(sam, samples, masks, ROUND_STEPS, ROUND_RATE, seed)
        rounds.append(
            {
                "round": name,
                "given": given_number,
                "drawn": number,
                "given up": len(seconds) - number,
                "seconds": sum(seconds),
                "seconds a mask": round(sum(seconds) / max(number, 1), 2),
                "by hand, a mask": round(sum(by_hand) / max(number, 1), 2),
                "clicks a mask": round(sum(clicks) / max(number, 1), 2),
                **summary(judgements),
                "model": measured(sam, val),
            }
        )
        print(seed, rounds[-1], flush=True)

    public = [next(fresh) for _ in range(PUBLIC)]
    learn(sam, public, [whole_things(sample) for sample in public], PUBLIC_STEPS, PUBLIC_RATE, seed)
    result: dict = {"public": {"pictures": PUBLIC, "model": measured(sam, val)}}
    tested = {"public": measured(sam, test)}
    print(seed, result, flush=True)
    keep(sam, "public", seed)
    for number in range(1, ASSISTED + 1):
        work(f"assisted {number}", ROUND)
    tested["assisted"] = measured(sam, test)
    keep(sam, "assisted", seed)
    for number in range(1, SEMI + 1):
        images = torch.stack([sample.image for sample in samples]).mul(255).round().byte()
        detector = object_detector(images, masks, DETECTOR_STEPS, seed)
        work(f"semi {number}", ROUND, detector)
    learn(sam, samples, masks, LONG_STEPS, PUBLIC_RATE, seed)
    tested["semi"] = measured(sam, test)
    print(seed, tested, flush=True)
    keep(sam, "semi", seed)
    keep(detector, "detector", seed)
    by_people = len(samples)
    generator = automatic_generator(sam)
    automatic = [next(fresh) for _ in range(AUTOMATIC)]
    made = [generator.generate(sample.image).masks for sample in automatic]
    rounds.append({"round": "automatic"} | summary([judged(*one) for one in zip(made, automatic, strict=True)]))
    print(seed, rounds[-1], flush=True)
    samples, masks = samples + automatic, masks + made
    after = {name: tensor.clone() for name, tensor in sam.state_dict().items()}
    last = {}
    for name, part in {
        "assisted and semi": slice(0, by_people),
        "automatic": slice(by_people, None),
        "all": slice(None),
        "truth": slice(None),
    }.items():
        sam.load_state_dict(after)
        truth = name == "truth"
        taught = [nested_masks(sample).masks for sample in samples] if truth else masks[part]
        learn(sam, samples[part], taught, LAST_STEPS, ROUND_RATE, seed)
        last[name] = {"masks": sum(map(len, taught)), "test": measured(sam, test)}
        print(seed, name, last[name], flush=True)
    return result | {"rounds": rounds, "tested": tested, "last": last}


def why(pool: Sequence[Sample], test: Sequence[Sample]) -> dict:
    """What is wrong with masks that nobody looked at: from seed 0's model after the second stage, as often as "last".

    First without the masks that are like no truth, then with the truth in place of each that is left, then with all
    truths of these scenes.
    """
    drawn = random.Random(SEEDS[0]).sample(list(pool), len(pool))
    begin = PUBLIC + (ASSISTED + SEMI) * ROUND
    samples = drawn[begin : begin + AUTOMATIC]
    sam = sam_small()
    load_checkpoint(sam, HERE / "18_semi.safetensors")
    sam.eval()
    after = {name: tensor.clone() for name, tensor in sam.state_dict().items()}
    taught: dict[str, list[Tensor]] = {"without wrong ones": [], "made exact": [], "all truths": []}
    generator = automatic_generator(sam)
    for sample in samples:
        made, truths = generator.generate(sample.image).masks, nested_masks(sample).masks
        overlap = mask_iou(made, truths)  # (M, T)
        good = (overlap >= SAME).any(1)
        taught["without wrong ones"].append(made[good])
        taught["made exact"].append(truths[overlap[good].argmax(1)])
        taught["all truths"].append(truths)
    result = {}
    for name, masks in taught.items():
        sam.load_state_dict(after)
        learn(sam, samples, masks, LAST_STEPS, ROUND_RATE, SEEDS[0])
        result[name] = {"masks": sum(map(len, masks)), "test": measured(sam, test)}
        print(name, result[name], flush=True)
    return result


def automatic_generator(sam: Sam) -> SamAutomaticMaskGenerator:
    return SamAutomaticMaskGenerator(
        sam, GRID, pred_iou_thresh=GUESS, stability_score_thresh=STABILITY, stability_score_offset=OFFSET, nms="mask"
    )


def started(seed: int) -> Sam:
    """A SAM whose encoder begins as lesson 17's masked autoencoder."""
    torch.manual_seed(seed)
    sam = sam_small()
    taught = mae_small(sam_small().image_encoder)
    load_checkpoint(taught, HERE / "17_mae.safetensors")
    start_from(sam.image_encoder, taught)
    return sam


def whole_things(sample: Sample) -> Tensor:
    """What a data set of old would have: whole spheres, (M, H, W)."""
    kind = torch.tensor([phrase.split()[-1] == PUBLIC_KIND for phrase in sample.phrases], dtype=torch.bool)
    return sample.masks[kind & (sample.masks.flatten(1).sum(1) >= 64)]


def learn(sam: Sam, samples: Sequence[Sample], masks: Sequence[Tensor], steps: int, rate: float, seed: int) -> None:
    drawn = random.Random(seed)

    def loss(model: nn.Module, batch: Prompted) -> dict[str, Tensor]:
        return prompted_loss(sam, batch, drawn.choice(ROUNDS))

    batches = MaskBatches([sample.image for sample in samples], masks, PICTURES, MASKS, seed)
    fit(sam, batches, loss, steps=steps, seed=seed, learning_rate=rate, show=False)


@torch.no_grad()
def measured(sam: Sam, samples: Sequence[Sample]) -> dict:
    """IoU after 1, 2, 3 clicks of all that can be meant, and by level; and with a box."""
    curves, levels, boxes = [], [], []
    for sample in samples:
        nested, embedding = nested_masks(sample), sam.encode(sample.image[None])
        curves.append(iou_by_clicks(sam, embedding, nested.masks, 3))
        levels.append(nested.levels)
        logits = sam(embedding, boxes=around(nested.masks)).single().masks
        large = nn.functional.interpolate(logits, nested.masks.shape[1:], mode="bilinear", align_corners=False)
        boxes.append(mask_ious(large, nested.masks)[:, 0])
    curve, level = torch.cat(curves), torch.cat(levels)
    return {
        "IoU by clicks": rounded(curve.mean(0)),
        **{f"{name}, by clicks": rounded(curve[level == number].mean(0)) for number, name in enumerate(LEVELS)},
        "box": round(torch.cat(boxes).mean().item(), 4),
    }


def rounded(values: Tensor) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def keep(model: nn.Module, name: str, seed: int) -> None:
    """Write the weights of seed 0 down, in half precision; the model itself stays as it is."""
    if seed == SEEDS[0]:
        half = copy.deepcopy(model).half()
        save_checkpoint(half, HERE / f"18_{name}.safetensors", {"seed": seed, "after": name})


if __name__ == "__main__":
    main()
