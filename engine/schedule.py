"""Learning-rate schedules: pure functions of the progress, so that a resumed run needs no state."""

import math
from collections.abc import Iterable

import torch
from torch import nn


def poly(progress: float, start: float = 0.4, power: float = 0.9) -> float:
    """Factor of the learning rate: 1, then polynomial decay to 0 (DeepLab, arXiv:1606.00915, section 4.1).

    Args:
        progress: share of the training that is done, 0 to 1.
        start: share of the training before the decay begins; 1: constant.
    """
    if progress < start or start >= 1:
        return 1.0
    return max(0.0, 1 - (progress - start) / (1 - start)) ** power


def cosine(progress: float, start: float = 0.0) -> float:
    """Factor of the learning rate: 1 until `start`, then half a cosine down to 0 (Loshchilov & Hutter 2017,
    arXiv:1608.03983, Eq. 5, without restarts).
    """
    if progress < start or start >= 1:
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (progress - start) / (1 - start)))


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set every parameter group to `lr` times the group's own `factor` (1 where it has none)."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("factor", 1.0)


def adam(groups: Iterable, lr: float, betas: tuple[float, float], weight_decay: float = 0.0) -> torch.optim.Adam:
    """torch's Adam with L2 weight decay, in its fused form, which is the fastest on CPU and CUDA alike."""
    return torch.optim.Adam(groups, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


def encoder_groups(network: nn.Module, factor: float) -> list[dict]:
    """A network's parameters that learn, in two groups: those of its `encoder` at `factor` times the rate."""
    named = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
    return [
        {"params": [p for name, p in named if not name.startswith("encoder.")]},
        {"params": [p for name, p in named if name.startswith("encoder.")], "factor": factor},
    ]
