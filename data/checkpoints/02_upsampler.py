"""The curves and networks of lesson 02: three ways of doubling a map, learned in six budgets of steps by three seeds.

Each point of a curve is a whole run, from the first weights to a learning rate of nothing, so a short run is not the
beginning of a longer one. Beside the weights of the longest run of seed 0 stands, in JSON, what every run came to on
the validation scenes. About twelve minutes of one processor core in all.

    .venv/bin/python data/checkpoints/02_upsampler.py
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lib.datasets.toyworld import Toyworld
from lib.layers.upsampler import Doubling, Upsampler, resized, transposed
from lib.ops.upsampling import checkerboard_energy
from lib.training import fit, save_checkpoint, toyworld_tensors

HERE = Path(__file__).parent
SEEDS, BUDGETS = (0, 1, 2), (75, 150, 300, 600, 1200, 2400)
BATCH, PICTURES, LEARNING_RATE = 8, 600, 5e-3

DOUBLINGS: dict[str, Doubling] = {
    "02_upsampler_kernel_3": transposed(3),
    "02_upsampler_kernel_4": transposed(4),
    "02_upsampler_resize": resized,
}


def main() -> None:
    train, _ = toyworld_tensors(Toyworld("train", PICTURES))
    val, _ = toyworld_tensors(Toyworld("val", 200))
    train, val = train / 255, val[:64] / 255
    for name, doubling in DOUBLINGS.items():
        runs = []
        for seed in SEEDS:
            for steps in (0, *BUDGETS):
                model = trained(doubling, train, steps, seed)
                runs.append({"seed": seed, "steps": steps} | measured(model, val))
                print(name, runs[-1], flush=True)
            if seed == SEEDS[0]:
                kept = model
        made = {"model": "Upsampler", "batch": BATCH, "pictures": PICTURES, "learning rate": LEARNING_RATE}
        save_checkpoint(kept, HERE / f"{name}.safetensors", made | {"seed": SEEDS[0], "steps": steps, "runs": runs})


def trained(doubling: Doubling, scenes: Tensor, steps: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)  # for the weights that it starts with
    model = Upsampler(doubling)
    if steps:
        fit(
            model,
            lambda: scenes[torch.randint(len(scenes), (BATCH,))],
            lambda model, scenes: F.mse_loss(model(scenes), scenes),
            steps=steps,
            learning_rate=LEARNING_RATE,
            ema=None,
            seed=seed,
            show=False,
        )
    return model.cpu()


@torch.no_grad()
def measured(model: nn.Module, scenes: Tensor) -> dict[str, float]:
    """The mean squared error, and the shares of the variation that repeat every 2 and every 4 pixels."""
    made = model(scenes)
    inside = made[..., 4:92, 4:92]  # without the rim, where the layers see padding
    return {
        "error": round(F.mse_loss(made, scenes).item(), 6),
        "every 2": round(checkerboard_energy(inside, 2).mean().item(), 7),
        "every 4": round(checkerboard_energy(inside, 4).mean().item(), 7),
    }


if __name__ == "__main__":
    main()
