"""Adversarial losses on logits: functions of the mode and of logits of any shape, to a float32 scalar.

mode: bce (Goodfellow et al. 2014, arXiv:1406.2661, non-saturating), lsgan (Mao et al. 2017, arXiv:1611.04076,
mean squares without the 1/2), hinge (Lim & Ye 2017, arXiv:1705.02894) or wgan (Arjovsky et al. 2017,
arXiv:1701.07875, Eq. 2, whose critic needs losses/penalty.py).
"""

import torch.nn.functional as F
from torch import Tensor

MODES = ("bce", "lsgan", "hinge", "wgan")


def real_loss(mode: str, logits: Tensor) -> Tensor:
    """D's term on real samples."""
    assert mode in MODES, mode
    logits = logits.float()
    if mode == "bce":
        return F.softplus(-logits).mean()
    if mode == "lsgan":
        return (logits - 1).square().mean()
    if mode == "wgan":
        return -logits.mean()
    return F.relu(1 - logits).mean()


def fake_loss(mode: str, logits: Tensor) -> Tensor:
    """D's term on fake samples."""
    assert mode in MODES, mode
    logits = logits.float()
    if mode == "bce":
        return F.softplus(logits).mean()
    if mode == "lsgan":
        return logits.square().mean()
    if mode == "wgan":
        return logits.mean()
    return F.relu(1 + logits).mean()


def generator_loss(mode: str, logits: Tensor) -> Tensor:
    """G's term on D's logits of the fakes: that they be taken for real."""
    return -logits.float().mean() if mode == "hinge" else real_loss(mode, logits)
