"""Penalties on the gradient of a discriminator with respect to its input. Call them outside autocast."""

from collections.abc import Sequence

import torch
from torch import Tensor


def interpolate(real: Tensor, fake: Tensor) -> Tensor:
    """x^ = eps x + (1 - eps) x~ with one eps ~ U(0, 1) per sample, ready for a gradient (Gulrajani et al. 2017,
    arXiv:1704.00028, Algorithm 1). real, fake [B, ...] -> [B, ...].
    """
    eps = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device)
    return torch.lerp(fake.detach().float(), real.detach().float(), eps).requires_grad_()


def gradient_penalty(logits: Sequence[Tensor], x: Tensor, target: float = 1.0) -> Tensor:
    """E[(|| dD(x)/dx ||_2 - target)^2], summed over the discriminators (arXiv:1704.00028, Eq. 3).

    A discriminator's value for a sample is the mean of its map of logits, as it is in the loss.

    Args:
        logits: one tensor [B, ...] per discriminator, computed from x.
        x: [B, ...], requiring a gradient; the norm goes over all of a sample, its condition included.
    """
    total = x.new_zeros(())
    for map_ in logits:
        value = map_.float().flatten(1).mean(1).sum()  # samples do not see each other: one gradient for all
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)
        norm = gradient.flatten(1).square().sum(1).add(1e-12).sqrt()  # sqrt has no slope at 0
        total = total + (norm - target).square().mean()
    return total
