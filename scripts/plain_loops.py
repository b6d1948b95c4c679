"""The textbook loops that scripts/benchmark.py times the train scripts against.

Eager fp32 over our networks and random pictures, torch.optim.Adam as it is, every forward where a textbook has it. Each
takes the options and returns the seconds of each of `steps` steps.
"""

import time
from typing import Any

import torch
import torch.nn.functional as F

from models import build


def seg(opt: Any, steps: int) -> list[float]:
    """Seconds of each step of a plain loop over random pictures."""
    G, D = build.seg_generator(opt), build.seg_discriminator(opt)
    G_opt = torch.optim.Adam(G.parameters(), 2.5e-4, (0.9, 0.99), weight_decay=1e-4)
    D_opt = torch.optim.Adam(D.parameters(), 1e-4, (0.9, 0.99))
    seconds = []
    for _ in range(steps):
        x, u, y = torch.rand(1, 3, 256, 256), torch.rand(1, 3, 256, 256), torch.randint(0, 5, (1, 256, 256))
        start = time.perf_counter()
        real = F.one_hot(y, 5).permute(0, 3, 1, 2).float()
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
        seconds.append(time.perf_counter() - start)
    return seconds


def pix2pix(opt: Any, steps: int) -> list[float]:
    """Seconds of each step of a plain loop over random pictures."""
    G, D = build.pix2pix_generator(opt), build.pix2pix_discriminator(opt)
    G_opt, D_opt = (torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (G, D))
    seconds = []
    for _ in range(steps):
        x, y = (torch.rand(1, 3, 256, 256) * 2 - 1 for _ in "xy")
        start = time.perf_counter()
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
        seconds.append(time.perf_counter() - start)
    return seconds


def spade(opt: Any, steps: int) -> list[float]:
    """Seconds of each iteration of a plain loop over random labels and pictures."""
    G, D = build.spade_generator(opt), build.spade_discriminator(opt)
    G_opt, D_opt = (
        torch.optim.Adam(G.parameters(), 5e-5, (0.0, 0.9)),
        torch.optim.Adam(D.parameters(), 2e-4, (0.0, 0.9)),
    )

    def batch() -> list:
        m = F.one_hot(torch.randint(0, 5, (1, 256, 256)), 5).permute(0, 3, 1, 2)[:, :4].float()
        return [m, torch.rand(1, 3, 256, 256) * 2 - 1, torch.rand(1, 3, 1, 1) * m[:, 2:3]]

    seconds = []
    for _ in range(steps):
        batches = [batch() for _ in range(3)]
        start = time.perf_counter()
        for m, x, c in batches[:2]:
            fake = G(m, c).detach()
            x.requires_grad_()
            real_logits, fake_logits = D(torch.cat((m, x, c), 1))[0][-1], D(torch.cat((m, fake, c), 1))[0][-1]
            (slope,) = torch.autograd.grad(real_logits.mean(), x, create_graph=True)
            penalty = 10 * slope.sum() ** 2
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
        seconds.append(time.perf_counter() - start)
    return seconds


def dcgan(opt: Any, steps: int) -> list[float]:
    """DCGAN: the fakes of D's step serve G's, and D is not frozen in it."""
    G, D = build.dcgan_generator(opt), build.dcgan_discriminator(opt)
    G_opt, D_opt = (torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (G, D))
    ones, zeros = torch.ones(opt.data.batch), torch.zeros(opt.data.batch)
    seconds = []
    for _ in range(steps):
        x = torch.rand(opt.data.batch, 3, *opt.data.size) * 2 - 1
        start = time.perf_counter()
        D_opt.zero_grad()
        fake = G(torch.randn(opt.data.batch, opt.model.z))
        F.binary_cross_entropy_with_logits(D(x), ones).backward()
        F.binary_cross_entropy_with_logits(D(fake.detach()), zeros).backward()
        D_opt.step()
        G_opt.zero_grad()
        F.binary_cross_entropy_with_logits(D(fake), ones).backward()
        G_opt.step()
        seconds.append(time.perf_counter() - start)
    return seconds
