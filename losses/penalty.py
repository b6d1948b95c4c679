"""Penalties on the gradient of a discriminator with respect to its input. Call them outside autocast.

Everywhere: logits, one tensor [B, ...] per discriminator, computed from x [B, ...], which requires a gradient; a
discriminator's value for a sample, D(x), is the mean of its map of logits, as it is in the loss. The penalties are
differentiable and have no weight of their own.
"""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from engine.chance import Draw, alone


def interpolate(real: Tensor, fake: Tensor, draw: Draw = alone) -> Tensor:
    """x^ = eps x + (1 - eps) x~ with one eps ~ U(0, 1) per sample, ready for a gradient (Gulrajani et al. 2017,
    arXiv:1704.00028, Algorithm 1). real, fake [B, ...] -> [B, ...]. draw: Run.draw, for a part of a batch.
    """
    eps = draw(lambda x: torch.rand(len(x), *[1] * (x.dim() - 1), device=x.device), real)
    return torch.lerp(fake.detach().float(), real.detach().float(), eps).requires_grad_()


def _gradients(logits: Sequence[Tensor], x: Tensor) -> Iterator[Tensor]:
    """Per discriminator the gradient of the sum of D(x) over the batch with respect to each sample, flat [B, N].

    Where samples do not see each other that is each sample's own dD(x)/dx. Batch norm lets them: there it is also what
    a sample does to the others' values, as in the Chainer original.
    """
    for map_ in logits:
        value = map_.float().reshape(len(map_), -1).mean(1).sum()
        (gradient,) = torch.autograd.grad(value, x, create_graph=True)
        yield gradient.float().flatten(1)


def gradient_penalty(logits: Sequence[Tensor], x: Tensor, target: float = 1.0) -> Tensor:
    """E[(|| dD(x)/dx ||_2 - target)^2], summed over the discriminators (arXiv:1704.00028, Eq. 3).

    A discriminator's value for a sample is the mean of its map of logits, as it is in the loss.

    Args:
        logits: one tensor [B, ...] per discriminator, computed from x.
        x: [B, ...], requiring a gradient; the norm goes over all of a sample, its condition included.
    """
    norms = (g.square().sum(1).add(1e-12).sqrt() for g in _gradients(logits, x))  # sqrt has no slope at 0
    return sum((norm - target).square().mean() for norm in norms)


def r1(logits: Sequence[Tensor], x: Tensor) -> Tensor:
    """E[|| dD(x)/dx ||^2], summed over the discriminators (Mescheder et al. 2018, arXiv:1801.04406, Eq. 9, without its
    gamma/2). With x the fakes it is R2.
    """
    return sum(g.square().sum(1).mean() for g in _gradients(logits, x))


def squared_sum(logits: Sequence[Tensor], x: Tensor) -> Tensor:
    """E[(sum of dD(x)/dx over the sample)^2], summed over the discriminators: SPADE-pix2pix-for-Anime's penalty.

    The square of the sum where R1 has the sum of the squares: it only asks that a change of the picture's brightness
    leave D(x) alone. Kept for reproduction. The sum nearly cancels, so its value is ill-conditioned.
    """
    return sum(g.sum(1).square().mean() for g in _gradients(logits, x))
