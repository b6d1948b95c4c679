"""What tests of trainings look at in a run folder."""

import json
import math
from pathlib import Path

import torch

from engine import checkpoint


def final(folder: Path) -> dict:
    """The newest checkpoint."""
    return checkpoint.load(checkpoint.steps(folder)[-1])


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").open()]


def finite_run(folder: Path, steps: int) -> bool:
    """Whether a run ended at this step and logged finite numbers only."""
    values = [value for line in log(folder) for value in line.values()]
    return final(folder)["step"] == steps and bool(values) and all(map(math.isfinite, values))


def equal(a, b) -> bool:
    """Bit-equal nested dicts and lists of tensors and plain values."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def same_training(a: dict, b: dict) -> bool:
    """Whether two checkpoints hold the same networks, averages, optimisers and best score."""
    return all(equal(a[key], b[key]) for key in ("step", "best", "G", "D", "G_ema", "G_opt", "D_opt"))
