"""Mode seeking inside a class: different noise shall paint, say, different hair under the same label."""

from collections.abc import Sequence

import torch
from torch import Tensor

from losses.whole_batch import Mean, itself


def diversity(
    y1: Tensor,
    y2: Tensor,
    z1: Sequence[Tensor],
    z2: Sequence[Tensor],
    mask: Tensor,
    eps: float = 0.1,
    mean: Mean = itself,
) -> Tensor:
    """1 / (mean |y1 - y2| over the mask's pixels / mean |z1 - z2| + eps): the inverse of the ratio of Mao et al. 2019,
    arXiv:1903.05628, as losses/mode_seeking.py has it over whole pictures. A float32 scalar, at most 1 / eps; 0 when
    the mask is empty.

    G's noise strengths start at 0, where the gradient grows with 1 / eps^2: MSGAN's 1e-5 would swamp all else.

    Args:
        y1, y2: pictures [B, C, H, W] of the same labels.
        z1, z2: the noises that they were made from, in the same order; the mean goes over all their values.
        mask: [B, H, W] in {0, 1}: where the class is.
        mean: losses/whole_batch.py.
    """
    pixels = mean(mask.sum())
    inside = mean(((y1.float() - y2.float()).abs() * mask.unsqueeze(1)).sum())
    inside = inside / torch.where(pixels > 0, pixels * y1.shape[1], 1)
    differences = [(a.float() - b.float()).abs() for a, b in zip(z1, z2, strict=True)]
    between = mean(sum(d.sum() for d in differences) / sum(d.numel() for d in differences))
    return torch.where(pixels > 0, 1 / (inside / between + eps), 0.0)
