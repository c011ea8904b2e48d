"""Which processor the course computes on."""

import os

import torch


def choose_device() -> torch.device:
    """The device named by the environment variable `COURSE_DEVICE`, else the best one this machine has.

    Best means: an NVIDIA GPU (`cuda`), then Apple's (`mps`), then the processor (`cpu`). The kernel "Pixels to
    Prompts (CPU)" sets `COURSE_DEVICE=cpu`.

    Raises:
        ValueError: `COURSE_DEVICE` is not one of cpu, cuda, mps, or names a device that this machine does not have.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    wanted = os.environ.get("COURSE_DEVICE", "").strip().lower()
    if not wanted:
        return torch.device(next(name for name, there in available.items() if there))
    if wanted not in available:
        raise ValueError(f"COURSE_DEVICE is {wanted!r}; expected one of 'cpu', 'cuda', 'mps'")
    if not available[wanted]:
        raise ValueError(f"COURSE_DEVICE is {wanted!r}, but this machine has no such device; try 'cpu'")
    return torch.device(wanted)
