"""Mirror, gamma and colour jitter of a whole batch, uint8 planes, on its device; drawn for each position on the CPU."""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from engine.device import to_device

GAMMA = 1 / 2.5  # the original's gamma correction (datasets.py)
FACTORS = (0.7, 1.3)  # of colour jitter
GREY = (0.299, 0.587, 0.114)  # BT.601


def draw(names: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """What becomes of a picture, float32 [5]: whether gamma, whether mirrored, brightness, contrast, saturation."""
    gamma = "gamma" in names and rng.random() < 0.5
    factors = rng.uniform(*FACTORS, 3) if "color" in names else np.ones(3)
    mirrored = "mirror" in names and rng.random() < 0.5
    return np.array([gamma, mirrored, *factors], np.float32)


def augment(planes: Tensor, draws: Tensor, names: tuple[str, ...]) -> Tensor:
    """The planes of a batch, uint8 [B, C, H, W], by the draws [B, 5] of its pictures; may change its argument.

    Gamma and jitter concern the first three planes, a picture's RGB; the mirror turns all planes. draws: on the CPU.
    """
    gamma, mirrored, factors = draws[:, 0].bool(), draws[:, 1].bool(), draws[:, 2:]
    if "gamma" in names:
        _gamma(planes[:, :3], gamma)
    if "color" in names:
        planes[:, :3] = _jitter(planes[:, :3], *to_device(factors.contiguous(), planes.device).unbind(1))
    return mirror(planes, mirrored) if "mirror" in names else planes


def mirror(x: Tensor, chosen: Tensor) -> Tensor:
    """x [B, C, H, W] with the chosen ones, bool [B] on the CPU, left-right; in place."""
    rows = to_device(chosen.nonzero()[:, 0], x.device)  # where they are chosen is known here: the GPU need not say
    return x.index_copy_(0, rows, x.index_select(0, rows).flip(3))


def _gamma(x: Tensor, chosen: Tensor) -> None:
    rows = to_device(chosen.nonzero()[:, 0], x.device)
    x.index_copy_(0, rows, _gamma_table(x.device)[x.index_select(0, rows).int()])


@cache
def _gamma_table(device: torch.device) -> Tensor:
    return torch.from_numpy(np.round(255 * (np.arange(256) / 255) ** GAMMA).astype(np.uint8)).to(device)


def _jitter(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Brightness, saturation about the grey, contrast about the mean grey; uint8 [B, 3, H, W], factors [B].

    All three are linear, so that they are one sum of the mean grey, the grey and the picture.
    """
    # A sum of whole numbers: it does not depend on the order, so not on threads and processes.
    mean = _grey(x.sum((2, 3), dtype=torch.int64).to(torch.float32) / (x.shape[2] * x.shape[3]))
    whole = x.to(torch.float32)
    parts = brightness * (1 - contrast) * mean[:, 0], brightness * contrast * (1 - saturation)
    of_mean, of_grey, of_x = (f[:, None, None, None] for f in (*parts, brightness * contrast * saturation))
    return (of_x * whole + of_grey * _grey(whole) + of_mean).round_().clamp_(0, 255).to(torch.uint8)


def _grey(x: Tensor) -> Tensor:
    """[B, 3, ...] -> [B, 1, ...]."""
    return GREY[0] * x[:, :1] + GREY[1] * x[:, 1:2] + GREY[2] * x[:, 2:]
