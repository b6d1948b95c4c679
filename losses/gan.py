"""Adversarial losses on logits: functions of the mode and of logits of any shape, to a float32 scalar.

mode: bce (Goodfellow et al. 2014, arXiv:1406.2661, non-saturating), lsgan (Mao et al. 2017, arXiv:1611.04076,
mean squares without the 1/2), hinge (Lim & Ye 2017, arXiv:1705.02894) or wgan (Arjovsky et al. 2017,
arXiv:1701.07875, Eq. 2, whose critic needs losses/penalty.py).
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

MODES = ("bce", "lsgan", "hinge", "wgan")


def real_loss(mode: str, logits: Tensor, smoothing: float = 0.0) -> Tensor:
    """D's term on real samples.

    smoothing: one-sided (Salimans et al. 2016, arXiv:1606.03498, sec. 3.4); the target of bce and lsgan is 1 less it.
    """
    assert mode in MODES and (not smoothing or mode in ("bce", "lsgan")), (mode, smoothing)
    logits = logits.float()
    if mode == "bce":  # t softplus(-x) + (1 - t) softplus(x), where softplus(x) = x + softplus(-x)
        return (F.softplus(-logits) + smoothing * logits).mean()
    if mode == "lsgan":
        return (logits - (1 - smoothing)).square().mean()
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


def discriminator_loss(mode: str, real: Tensor, fake: Tensor, smoothing: float = 0.0) -> Tensor:
    """D's loss on its logits of real and of fake samples; mode: one of MODES, or relativistic (logits [B] in pairs).

    smoothing: as in real_loss.
    """
    if mode == "relativistic":
        return relativistic_loss(real, fake)
    return real_loss(mode, real, smoothing) + fake_loss(mode, fake)


def generator_loss(mode: str, logits: Tensor) -> Tensor:
    """G's term on D's logits of the fakes: that they be taken for real."""
    return -logits.float().mean() if mode == "hinge" else real_loss(mode, logits)


def relativistic_loss(better: Tensor, worse: Tensor) -> Tensor:
    """E[softplus(worse - better)]: that of two logits, paired by place, the one be above the other.

    The RSGAN of Jolicoeur-Martineau 2018, arXiv:1807.00734, and with R1 and R2 (losses/penalty.py) the objective of
    R3GAN, Huang et al. 2024, arXiv:2501.05441, Eq. 2. D's term is relativistic_loss(D(x), D(G(z))), G's
    relativistic_loss(D(G(z)), D(x)). better, worse: logits [B].
    """
    assert better.shape == worse.shape, (better.shape, worse.shape)
    return F.softplus(worse.float() - better.float()).mean()


@torch.no_grad()
def mean_outputs(mode: str, real: Sequence[Tensor], fake: Sequence[Tensor]) -> dict[str, Tensor]:
    """What D says on average of real (D_x) and of fake samples (D_G_z), to look at: probabilities for bce, else logits.

    real, fake: the logits of each of D's scales, which count alike.
    """
    said = torch.sigmoid if mode == "bce" else torch.positive
    means = [torch.stack([said(logits.float()).mean() for logits in scales]).mean() for scales in (real, fake)]
    return dict(zip(("D_x", "D_G_z"), means, strict=True))
