"""The textbook steps that scripts/benchmark.py times the train scripts against.

Eager fp32 over our networks and random pictures, torch.optim.Adam as it is, every forward where a textbook has it. Each
takes the options and a device and returns (batch, step): batch() is what step(*batch) takes, a whole batch on the
device; step returns a loss.
"""

import time
from collections.abc import Callable, Iterator
from itertools import cycle
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from models import build
from scripts.timing.machine import synchronise

READY = 4  # batches that are made before the clock runs; the steps take them in turn

Loop = tuple[Callable[[], tuple], Callable[..., Tensor]]


def timed(loop: Loop, device: torch.device, window: int, windows: int) -> Iterator[float]:
    """Seconds per step of each window of so many steps, after one window that warms up."""
    batch, step = loop
    batches = cycle([batch() for _ in range(READY)])
    for number in range(1 + windows):
        synchronise(device)
        started = time.perf_counter()
        for _ in range(window):
            step(*next(batches))
        synchronise(device)
        if number:
            yield (time.perf_counter() - started) / window


def _pictures(opt: Any, device: torch.device, channels: int = 3) -> Tensor:
    return torch.rand(opt.data.batch, channels, *opt.data.size, device=device)


def _labels(opt: Any, device: torch.device) -> Tensor:
    """One-hot [B, 5, H, W]."""
    ids = torch.randint(0, 5, (opt.data.batch, *opt.data.size), device=device)
    return F.one_hot(ids, 5).permute(0, 3, 1, 2).float().contiguous()


def seg(opt: Any, device: torch.device) -> Loop:
    """Semi-supervised segmentation: a labelled and an unlabelled batch."""
    G, D = build.seg_generator(opt).to(device), build.seg_discriminator(opt).to(device)
    G_opt = torch.optim.Adam(G.parameters(), 2.5e-4, (0.9, 0.99), weight_decay=1e-4)
    D_opt = torch.optim.Adam(D.parameters(), 1e-4, (0.9, 0.99))

    def batch() -> tuple:
        return _pictures(opt, device), _labels(opt, device), _pictures(opt, device)

    def step(x: Tensor, real: Tensor, u: Tensor) -> Tensor:
        p = G(x).softmax(1)
        loss_G = -(real * (p + 1e-12).log()).mean() - 0.01 * D(p).mean()
        G_opt.zero_grad()
        loss_G.backward()
        G_opt.step()
        loss_D = 0.5 * (F.relu(1 - D(real)).mean() + F.relu(1 + D(p.detach())).mean())
        D_opt.zero_grad()
        loss_D.backward()
        D_opt.step()
        p = G(u).softmax(1)
        confidence = D(p)
        target = F.one_hot(p.argmax(1), 5).permute(0, 3, 1, 2) * (confidence.sigmoid() > 0.2)
        semi = -0.001 * confidence.mean() - 0.1 * (target.detach() * (p + 1e-12).log()).mean()
        G_opt.zero_grad()
        semi.backward()
        G_opt.step()
        return semi

    return batch, step


def pix2pix(opt: Any, device: torch.device) -> Loop:
    """Pairs, with the least-squares loss; D is frozen in G's step."""
    G, D = build.pix2pix_generator(opt).to(device), build.pix2pix_discriminator(opt).to(device)
    G_opt, D_opt = (torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (G, D))

    def batch() -> tuple:
        return _pictures(opt, device) * 2 - 1, _pictures(opt, device) * 2 - 1

    def step(x: Tensor, y: Tensor) -> Tensor:
        fake = G(x)
        fake_logits, real_logits = D(torch.cat((x, fake.detach()), 1))[0][-1], D(torch.cat((x, y), 1))[0][-1]
        loss_D = 0.5 * (fake_logits.square().mean() + (real_logits - 1).square().mean())
        D_opt.zero_grad()
        loss_D.backward()
        D_opt.step()
        D.requires_grad_(False)
        loss_G = (D(torch.cat((x, fake), 1))[0][-1] - 1).square().mean() + 100 * F.l1_loss(fake, y)
        G_opt.zero_grad()
        loss_G.backward()
        G_opt.step()
        D.requires_grad_(True)
        return loss_G

    return batch, step


def spade(opt: Any, device: torch.device) -> Loop:
    """Labels, hair colours and pictures: two steps of D with the original's penalty, then one of G."""
    G, D = build.spade_generator(opt).to(device), build.spade_discriminator(opt).to(device)
    G_opt = torch.optim.Adam(G.parameters(), 5e-5, (0.0, 0.9))
    D_opt = torch.optim.Adam(D.parameters(), 2e-4, (0.0, 0.9))

    def one() -> tuple:
        m = _labels(opt, device)[:, :4]
        return m, _pictures(opt, device) * 2 - 1, torch.rand(len(m), 3, 1, 1, device=device) * m[:, 2:3]

    def step(*batches: tuple) -> Tensor:
        for m, x, c in batches[:2]:
            fake = G(m, c).detach()
            x = x.clone().requires_grad_()
            real_logits, fake_logits = D(torch.cat((m, x, c), 1))[0][-1], D(torch.cat((m, fake, c), 1))[0][-1]
            (slope,) = torch.autograd.grad(real_logits.mean((1, 2, 3)).sum(), x, create_graph=True)
            penalty = 10 * slope.sum((1, 2, 3)).square().mean()
            loss_D = 0.5 * (F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean() + penalty)
            D_opt.zero_grad()
            loss_D.backward()
            D_opt.step()
        m, x, c = batches[2]
        fake = G(m, c)
        (reals,), (fakes,) = D(torch.cat((m, x, c), 1)), D(torch.cat((m, fake, c), 1))
        matching = sum(F.l1_loss(f, r.detach()) for f, r in zip(fakes[:-1], reals[:-1], strict=True))
        loss_G = -fakes[-1].mean() + 2 * matching
        G_opt.zero_grad()
        loss_G.backward()
        G_opt.step()
        return loss_G

    return lambda: (one(), one(), one()), step


def dcgan(opt: Any, device: torch.device) -> Loop:
    """Pictures alone: the fakes of D's step serve G's, and D is not frozen in it."""
    G, D = build.dcgan_generator(opt).to(device), build.dcgan_discriminator(opt).to(device)
    G_opt, D_opt = (torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (G, D))
    ones, zeros = torch.ones(opt.data.batch, device=device), torch.zeros(opt.data.batch, device=device)

    def step(x: Tensor) -> Tensor:
        D_opt.zero_grad()
        fake = G(torch.randn(opt.data.batch, opt.model.z, device=device))
        F.binary_cross_entropy_with_logits(D(x), ones).backward()
        F.binary_cross_entropy_with_logits(D(fake.detach()), zeros).backward()
        D_opt.step()
        G_opt.zero_grad()
        loss_G = F.binary_cross_entropy_with_logits(D(fake), ones)
        loss_G.backward()
        G_opt.step()
        return loss_G

    return lambda: (_pictures(opt, device) * 2 - 1,), step


LOOPS = {"seg": seg, "pix2pix": pix2pix, "spade": spade, "dcgan": dcgan}
