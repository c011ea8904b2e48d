"""What does a map know? Linear probes on the features of single cells (lesson 03).

A probe is a linear layer that answers a question from the features of one cell. It can hardly work anything out by
itself, so it shows what a map says openly. Source: Alain & Bengio 2016, "Understanding intermediate layers using linear
classifier probes".
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@torch.no_grad()
def features_at(
    stages: dict[str, nn.Module], images: Tensor, places: Tensor, batch_size: int = 25
) -> dict[str, Tensor]:
    """What each stage of a network has at some pixels: the features of the cells in which they lie.

    Args:
        stages: by name, in the order in which they work; each takes the map of the one before it.
        images: (N, C, H, W).
        places: (M, 3) whole numbers: picture, row and column of a pixel.

    Returns:
        For each stage (M, its channels), on the CPU.

    Raises:
        ValueError: a place lies outside of the images.
    """
    height, width = images.shape[2:]
    if places.ndim != 2 or places.shape[1] != 3:
        raise ValueError(f"places is {tuple(places.shape)}; expected (M, 3): picture, row, column")
    if len(places) and ((places < 0).any() or (places >= torch.tensor([len(images), height, width])).any()):
        raise ValueError(f"places goes beyond the {len(images)} images of {height} × {width}")
    device = next((p.device for stage in stages.values() for p in stage.parameters()), images.device)
    found: dict[str, Tensor] = {}
    for first in range(0, len(images), batch_size):
        x = images[first : first + batch_size].to(device)
        here = (places[:, 0] >= first) & (places[:, 0] < first + batch_size)  # (M,)
        picture, row, column = places[here].T
        for name, stage in stages.items():
            x = stage(x)  # (B, C, h, w)
            cells = x[picture - first, :, row * x.shape[2] // height, column * x.shape[3] // width]
            found.setdefault(name, torch.empty(len(places), x.shape[1]))[here] = cells.float().cpu()
    return found


def probe_accuracy(
    features: Tensor, answers: Tensor, test_features: Tensor, test_answers: Tensor, weight_decay: float = 0.01
) -> float:
    """Fit a linear layer to give the answers from the features; the share of right answers on others.

    Args:
        features, test_features: (M, C) floats. Each channel is first brought to mean 0 and deviation 1.
        answers, test_answers: (M,) whole numbers 0..K-1.
        weight_decay: times half the squared weights, added to the mean cross entropy.
    """
    mean, deviation = features.mean(0), features.std(0) + 1e-5  # (C,)
    x, test_x = (features - mean) / deviation, (test_features - mean) / deviation
    weight = torch.zeros(int(answers.max()) + 1, x.shape[1], requires_grad=True)  # (K, C)
    bias = torch.zeros(len(weight), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=60)

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(F.linear(x, weight, bias), answers) + weight_decay / 2 * weight.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    with torch.no_grad():
        return (F.linear(test_x, weight, bias).argmax(1) == test_answers).float().mean().item()
