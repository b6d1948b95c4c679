"""The steps of train_pix2pix.py against loops written from the papers."""

import copy
import math
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import TINY_PIX2PIX
from PIL import Image
from runs import final, log

import train_pix2pix
from data.diffaugment import augment_alike
from losses.gan import fake_loss, generator_loss, real_loss
from models import build
from models.init import initialize
from models.layers import predicting
from options.load import load
from options.pix2pix import DEFAULT_FILE, Pix2PixOptions
from train_pix2pix import discriminator_terms, generator_terms, seen, train

RUN = SimpleNamespace(autocast=lambda enabled=True: nullcontext())

# ---- the steps


def networks(*words):
    torch.manual_seed(0)
    opt = load(Pix2PixOptions, [*TINY_PIX2PIX, *words], DEFAULT_FILE)
    return opt, build.pix2pix_generator(opt), build.pix2pix_discriminator(opt)


def test_terms_of_two_fakes_are_msgans():
    opt, G, D = networks(
        "model.z=3", "model.num_discriminators=2", "model.norm=instance", "model.d_norm=instance", "loss.mode_seeking=1"
    )
    x, y, z = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64), torch.randn(4, 3)
    fake = G(torch.cat((x, x)), z)
    first, second = fake.chunk(2)
    view = partial(seen, x, augment_alike(()))
    terms = discriminator_terms(RUN, D, view, y, fake, opt.loss)
    d_fake = [sum(fake_loss("lsgan", m[-1]) for m in D(torch.cat((x, f), 1))) for f in (first, second)]
    d_real = sum(real_loss("lsgan", m[-1]) for m in D(torch.cat((x, y), 1)))
    torch.testing.assert_close(2 * (terms["D_real"] + terms["D_fake"]), 2 * d_real + d_fake[0] + d_fake[1])
    terms = generator_terms(D, view, y, fake, z, opt.loss)
    adv = [sum(generator_loss("lsgan", m[-1]) for m in D(torch.cat((x, f), 1))) for f in (first, second)]
    torch.testing.assert_close(2 * terms["adv"], adv[0] + adv[1])
    torch.testing.assert_close(terms["l1"], (first - y).abs().mean())
    ratio = (first - second).abs().mean() / (z[:2] - z[2:]).abs().mean()
    torch.testing.assert_close(terms["mode_seeking"], 1 / (ratio + 1e-5))


def test_two_fakes_of_an_input_are_augmented_as_its_target_is():
    x, y = torch.rand(2, 1, 16, 16) + 0.5, torch.rand(2, 3, 16, 16) + 0.5
    view = partial(seen, x, augment_alike(("color", "translation", "cutout"), slice(1, 4)))
    on_y = view(y)
    assert torch.equal(view(torch.cat((y, y))), torch.cat((on_y, on_y)))
    assert not torch.equal(on_y[:, :1], x) and not torch.equal(on_y[:, 1:], y)


def test_without_adversarial_terms_d_does_not_learn(tiny_pix2pix, tmp_path):
    opt = tiny_pix2pix("run", "loss.adv=0", "run.steps=2")
    train(opt)
    terms = [line.keys() for line in log(tmp_path / "run")]
    assert all("adv" not in keys and "D_real" not in keys for keys in terms)
    assert final(tmp_path / "run")["D_opt"]["state"] == {}


STEPS = {
    "D first": "loss.feature_matching=2",
    "G first": "optim.g_first=true loss.gan=bce",
    "hinge, two scales": "loss.gan=hinge model.num_discriminators=2 loss.adv=3 loss.d_weight=0.3",
    "wgan-gp": "loss.gan=wgan-gp loss.gp=7 loss.gp_target=0.5 loss.d_weight=2",
    "mode seeking": "model.z=3 loss.mode_seeking=0.7 loss.gan=wgan-gp loss.adv=2 loss.l1=10 loss.feature_matching=5"
    " loss.diffaugment=cutout",
    "lazy R1, augmented": "loss.gan=bce loss.r1=6 loss.penalty_every=2 loss.diffaugment=color,translation loss.adv=2"
    " loss.feature_matching=2 model.num_discriminators=2",
}


def changed(x: torch.Tensor) -> torch.Tensor:
    """In the place of DiffAugment, without chance: all channels are moved, the picture's brighter."""
    x = x.roll(5, 3)
    return torch.cat((x[:, :3], x[:, 3:] * 1.5 + 0.1), 1)


@pytest.mark.parametrize("words", STEPS.values(), ids=STEPS)
def test_two_steps_are_the_textbooks(tiny_pix2pix, tmp_path, monkeypatch, words):
    """Weights after two steps of plain gradient descent in float64 against a loop written from the papers."""
    more = "run.steps=2 model.dropout=0 model.norm=instance model.d_norm=instance optim.g_lr=0.01 optim.d_lr=0.03"
    opt = tiny_pix2pix("run", *more.split(), *words.split(), "optim.decay_start=0", "ema.half_life=20", "ema.ramp_up=0")
    torch.manual_seed(0)
    G, D = (initialize(build(opt), "normal", 0.1).double() for build in BUILDERS)
    G2, D2 = copy.deepcopy(G), copy.deepcopy(D)
    seen, latents, between = [], [], []
    monkeypatch.setattr(build, "pix2pix_generator", lambda _: G)
    monkeypatch.setattr(build, "pix2pix_discriminator", lambda _: D)
    monkeypatch.setattr(train_pix2pix, "initialize", lambda network, *_: network)
    monkeypatch.setattr(train_pix2pix, "adam", lambda parameters, lr, betas: torch.optim.SGD(parameters, lr))
    asked = []
    monkeypatch.setattr(
        train_pix2pix, "augment_alike", lambda *given: asked.append(given) or (changed if given[0] else torch.clone)
    )
    monkeypatch.setattr(train_pix2pix, "to_input", lambda u, _: seen.append(u.double() / 127.5 - 1) or seen[-1])

    def drawn(real, fake, _):
        between.append((0.3 * real + 0.7 * fake).detach().requires_grad_())
        return between[-1]

    monkeypatch.setattr(train_pix2pix, "interpolate", drawn)
    G.register_forward_pre_hook(lambda _, inputs: latents.append(inputs[1]))
    for network in (G, D):  # the latent is float32
        network.register_forward_pre_hook(lambda _, inputs: tuple(i if i is None else i.double() for i in inputs))
    train(opt)

    loss, average = opt.loss, copy.deepcopy(G2)
    assert [given[:2] for given in asked] == [(loss.diffaugment, slice(3, 6))] * 4, "a draw for each network's step"

    def judged_by_d(x, picture):
        pair = torch.cat((x, picture), 1)
        return D2(changed(pair) if loss.diffaugment else pair)

    for step in range(2):
        x, y, z = seen[2 * step], seen[2 * step + 1], latents[step]
        z = None if z is None else z.double()
        fakes = G2(x, None if z is None else z[:2]), None if z is None else G2(x, z[2:])
        fakes = [fake for fake in fakes if fake is not None][: 2 if loss.mode_seeking else 1]
        real_d, fake_d, value = SCORES[loss.gan]
        loss_D = 0
        for scale in range(opt.model.num_discriminators):
            judged = [judged_by_d(x, fake.detach())[scale][-1] for fake in fakes]
            target = y.clone().requires_grad_()
            on_real = judged_by_d(x, target)[scale][-1]
            loss_D = loss_D + real_d(on_real).mean()
            for value_of_one in on_real.mean((1, 2, 3)) if loss.r1 and step == 0 else []:  # every second step, twice
                (slope,) = torch.autograd.grad(value_of_one, target, create_graph=True)
                loss_D = loss_D + 2 * loss.r1 / 2 * slope.square().sum() / 2
            loss_D = loss_D + sum(fake_d(logits).mean() for logits in judged) / len(judged)
        if loss.gan == "wgan-gp":
            for one in range(2):
                ends = [torch.cat((x, end), 1)[one : one + 1] for end in (y, fakes[0])]
                ends = [changed(end) if loss.diffaugment else end for end in ends]
                hat = (0.3 * ends[0] + 0.7 * ends[1]).detach().requires_grad_()
                (slope,) = torch.autograd.grad(D2(hat)[0][-1].mean(), hat, create_graph=True)
                loss_D = loss_D + loss.gp * (slope.norm() - loss.gp_target) ** 2 / 2
        slopes = torch.autograd.grad(loss.d_weight * loss_D, list(D2.parameters()))
        rate = 1 - step / 2

        def move(network, slopes, lr):
            with torch.no_grad():
                for p, slope in zip(network.parameters(), slopes, strict=True):
                    p -= lr * slope

        if not opt.optim.g_first:
            move(D2, slopes, 0.03 * rate)
        loss_G = loss.l1 * (fakes[0] - y).abs().mean()
        for scale in range(opt.model.num_discriminators):
            maps = [judged_by_d(x, fake)[scale] for fake in fakes]
            loss_G = loss_G + loss.adv * sum(value(m[-1]).mean() for m in maps) / len(maps)
            reals = judged_by_d(x, y)[scale][:-1]
            for real, fake in zip(reals, maps[0][:-1], strict=True):
                loss_G = loss_G + loss.feature_matching * (real.detach() - fake).abs().mean()
        if loss.mode_seeking:
            ratio = (fakes[0] - fakes[1]).abs().mean() / (z[:2] - z[2:]).abs().mean()
            loss_G = loss_G + loss.mode_seeking / (ratio + 1e-5)
        move(G2, torch.autograd.grad(loss_G, list(G2.parameters())), 0.01 * rate)
        if opt.optim.g_first:
            move(D2, slopes, 0.03 * rate)
        beta = 0.5 ** (2 / 20)
        with torch.no_grad():
            for p, live in zip(average.parameters(), G2.parameters(), strict=True):
                p.copy_(beta * p + (1 - beta) * live)
    content = final(tmp_path / "run")
    for name, network in (("G", G2), ("D", D2), ("G_ema", average)):
        for key, value in network.state_dict().items():
            torch.testing.assert_close(content[name][key], value, rtol=1e-4, atol=1e-6)  # losses are taken in float32


BUILDERS = (build.pix2pix_generator, build.pix2pix_discriminator)
SCORES = {  # D on real, D on fake, G
    "bce": (lambda d: F.softplus(-d), F.softplus, lambda d: F.softplus(-d)),
    "lsgan": (lambda d: (d - 1) ** 2, lambda d: d**2, lambda d: (d - 1) ** 2),
    "hinge": (lambda d: F.relu(1 - d), lambda d: F.relu(1 + d), lambda d: -d),
    "wgan-gp": (lambda d: -d, lambda d: d, lambda d: -d),
}


def test_val_l1_is_the_mean_distance_to_the_targets(tiny_pix2pix, edge_pairs, tmp_path):
    train(tiny_pix2pix("run", "run.steps=2", "run.eval_every=2", "ema.half_life=0"))
    (found,) = [line["val_l1"] for line in log(tmp_path / "run") if "val_l1" in line]
    opt = tiny_pix2pix("run")
    G = build.pix2pix_generator(opt)
    G.load_state_dict(final(tmp_path / "run")["G"])
    expected = []
    for path in (edge_pairs / "val").iterdir():
        whole = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad(), predicting(G, "batch"):
            expected.append((G(whole[..., 64:]) - whole[..., :64]).abs().mean())
    assert found == pytest.approx(float(sum(expected) / 2), rel=1e-5)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_the_rate_is_constant_then_falls(tiny_pix2pix, tmp_path, decay):
    train(tiny_pix2pix("run", "run.steps=8", f"optim.decay={decay}", "optim.g_lr=1"))
    rates = [line["lr"] for line in log(tmp_path / "run") if "lr" in line]
    falling = [1, 0.75, 0.5, 0.25] if decay == "linear" else [(1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    assert rates == pytest.approx([1, 1, 1, 1, *falling])
