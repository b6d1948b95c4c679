"""The latents of the dcgan family, the ways between them, and the pictures that G makes of them."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from data.picture_io import own_generator, to_levels

SLICE = 16  # pictures in a forward of G: always as many, since convolutions may round otherwise in another batch


def random_latents(count: int, size: int, kind: str, chance: torch.Generator | None = None) -> Tensor:
    """z [count, size] from N(0, 1), or of -1 and 1 alike often; kind: gaussian | binary. `chance`: torch's own."""
    assert kind in ("gaussian", "binary"), kind
    if kind == "gaussian":
        return torch.randn(count, size, generator=chance)
    return torch.randint(0, 2, (count, size), generator=chance).float() * 2 - 1


def draw_latents(opt: Any, indices: Sequence[int], seed: int = 0) -> tuple[Tensor, Tensor | None]:
    """What G makes the pictures of these numbers of: a function of (seed, number) alone, in any batch and order.

    Returns:
        z [B, model.z]; y float [B, K], the one class of K that each draws, None without data.classes.
    """
    model, classes = opt.model, len(opt.data.classes)
    z = torch.cat([random_latents(1, model.z, model.latent, own_generator(f"{i}", 0, seed)) for i in indices])
    if not classes:
        return z, None
    drawn = [torch.randint(classes, (), generator=own_generator(f"{i}", 1, seed)) for i in indices]
    return z, nn.functional.one_hot(torch.stack(drawn), classes).float()


@torch.no_grad()
def generate(G: nn.Module, z: Tensor, y: Tensor | None = None) -> Tensor:
    """The pictures [B, 3, S, S] in [-1, 1] that G makes of z [B, Z] and y [B, K], on G's device.

    A picture does not depend on the others of the call, nor on their number, but on its place of SLICE. Where batch
    norms take the statistics of the batch (models.layers.predicting), every picture runs alone.
    """
    alone = any(isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training for m in G.modules())
    size = 1 if alone else SLICE
    device = next(G.parameters()).device
    filled = torch.arange(math.ceil(len(z) / size) * size).clamp(max=len(z) - 1)
    made = [G(z[i].to(device), None if y is None else y[i].to(device)).float() for i in filled.split(size)]
    return torch.cat(made)[: len(z)]


def generated(G: nn.Module, opt: Any, count: int, seed: int = 0) -> Iterator[Tensor]:
    """The pictures numbered below `count` as predict.py writes them: batches uint8 [B, 3, S, S], on G's device."""
    for start in range(0, count, 4 * SLICE):
        numbers = range(start, min(start + 4 * SLICE, count))
        yield to_levels(generate(G, *draw_latents(opt, numbers, seed)))


def linear(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """From a [N] to b [N] in a straight line: [T, N] at t [T] in [0, 1]."""
    return torch.lerp(a[None], b[None], t[:, None])


def spherical(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Shoemake's slerp as in White 2016, arXiv:1609.04468, from a [N] to b [N]: [T, N] at t [T] in [0, 1].

    The direction turns evenly from a's to b's and the length changes evenly: with lengths that differ, the weights
    sin((1 - t) w) / sin w and sin(t w) / sin w of a and b themselves explode as b nears -a. Opposite vectors turn
    in some plane.
    """
    p, q, t = a.double(), b.double(), t.double()[:, None]
    start, end = normalize(p, dim=0), normalize(q, dim=0)
    across = end - (start @ end) * start
    angle = torch.atan2(across.norm(), start @ end)
    if across.norm() < 1e-9:
        axis = nn.functional.one_hot(start.abs().argmin(), len(start)).double()
        across = axis - (start @ axis) * start
    turned = torch.cos(t * angle) * start + torch.sin(t * angle) * normalize(across, dim=0)
    return (turned * linear(p.norm()[None], q.norm()[None], t[:, 0])).to(a.dtype)
