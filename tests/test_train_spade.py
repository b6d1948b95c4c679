"""train_spade.py: exact resume, learning, grids equal to predictions, the steps against the papers."""

import copy
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from runs import equal, final, log, same_training
from test_pix2pix_steps import SCORES
from test_train_pix2pix import cells
from torch import nn

import predict
import train_spade
from data.images import read_picture
from data.palette import ANIME, colorize
from engine.errors import UserError
from engine.run import Run
from losses.penalty import r1
from losses.spade import discriminator_terms, generator_terms
from models import build
from train_spade import train

# ---- exact resume

RESUMED = {
    "default": ["optim.d_steps=1", "data.workers=2"],
    "bf16, lazy penalty, style, rough sum": [
        "run.precision=bf16",
        "loss.penalty_every=2",
        "model.style=4",
        "data.rough=ROUGH",
    ],
    "OASIS, augmented": [
        "model.discriminator=oasis",
        "loss.penalty=none",
        "loss.feature_matching=0",
        "loss.diffaugment=color,translation,cutout",
        "optim.d_steps=1",
    ],
    "lazy penalty, augmented": ["loss.penalty_every=3", "loss.diffaugment=translation", "optim.d_steps=1"],
    "rough pass, two D steps, diversity": [
        "data.rough=ROUGH",
        "rough.mode=pass",
        "optim.d_steps=2",
        "loss.diversity=1",
    ],
}


@pytest.mark.parametrize("words", RESUMED.values(), ids=RESUMED)
def test_a_run_stopped_and_resumed_equals_one_that_never_stopped(tiny_spade, drawn_spade, tmp_path, words):
    words = [word.replace("ROUGH", str(drawn_spade / "val")) for word in words]
    words += ["run.eval_every=2", "run.keep_best=val_l1,min", "run.sample_every=3"]
    train(tiny_spade("whole", *words, "data.workers=0"))
    half = tmp_path / "whole" / "checkpoints" / "step_00000002.pt"
    (tmp_path / "cut" / "checkpoints").mkdir(parents=True)
    (tmp_path / "cut" / "checkpoints" / half.name).write_bytes(half.read_bytes())
    train(tiny_spade("cut", *words))
    assert same_training(final(tmp_path / "whole"), final(tmp_path / "cut"))
    assert not equal(final(tmp_path / "whole")["G"], torch.load(half, weights_only=True)["G"])
    assert [line["step"] for line in log(tmp_path / "whole") if "val_l1" in line] == [2, 4]
    samples = sorted(path.name for path in (tmp_path / "whole" / "samples").iterdir())
    assert samples == ["index.html", "real.png", "step_00000003.png", "step_00000004.png"]


def test_another_network_is_refused_on_resume(tiny_spade):
    train(tiny_spade("run", "run.steps=1"))
    for word in ("data.color=false", "data.background=none", "model.noise=false", "model.style=2"):
        with pytest.raises(UserError, match=f"{word.split('=')[0]} was .* another network"):
            train(tiny_spade("run", "run.steps=1", word))


# ---- learning


def test_it_overfits_one_picture(tiny_spade, drawn_spade, tmp_path):
    """Nearer to the picture, as its own validation, than half the distance of the best single colour."""
    for part in ("train", "val"):
        for kind in ("images", "labels", "colors"):
            (tmp_path / part / kind).mkdir(parents=True)
            source = drawn_spade / "train" / kind / "000000.png"
            (tmp_path / part / kind / source.name).write_bytes(source.read_bytes())
    train(
        tiny_spade(
            *("run", f"data.root={tmp_path}", "data.augment=none", "data.batch=1"),
            *("model.norm=instance", "model.d_norm=instance"),
            *("loss.feature_matching=10", "loss.penalty=none", "optim.d_steps=1", "optim.g_lr=1e-3", "optim.d_lr=1e-3"),
            *("ema.half_life=0", "run.steps=110", "run.save_every=110", "run.eval_every=110"),
        )
    )
    picture = read_picture(tmp_path / "train" / "images" / "000000.png") / 127.5 - 1
    single = np.abs(picture - np.median(picture, axis=(0, 1))).mean()
    (found,) = [line["val_l1"] for line in log(tmp_path / "run") if "val_l1" in line]
    assert found < 0.5 * single


# ---- what training shows


@pytest.mark.parametrize(
    "words",
    [
        ["sample.norm_stats=batch", "model.style=4"],
        ["sample.norm_stats=running", "ema.half_life=0"],
        ["model.generator=paper", "model.hidden=8", "data.color=false"],
    ],
)
def test_pictures_of_training_equal_predicted_ones(tiny_spade, drawn_spade, tmp_path, monkeypatch, words):
    train(tiny_spade("run", *words, "optim.g_lr=0.01", "run.steps=2", "run.sample_every=2"))
    grid = cells(np.asarray(Image.open(tmp_path / "run" / "samples" / "step_00000002.png")))
    real = cells(np.asarray(Image.open(tmp_path / "run" / "samples" / "real.png")))[0]
    for part, rows in (("train", (0, 1)), ("val", (2, 3))):
        (tmp_path / part).mkdir()
        for row, name in zip(rows, ("000000.png", "000001.png"), strict=True):
            ids, color, picture = (
                np.asarray(Image.open(drawn_spade / part / kind / name)) for kind in ("labels", "colors", "images")
            )
            label = colorize(ids, ANIME)
            source = label if "data.color=false" in words else np.concatenate([label, color], axis=1)
            Image.fromarray(source).save(tmp_path / part / name)
            assert np.array_equal(grid[row][0], label)
            assert np.array_equal(grid[row][1], picture) and np.array_equal(real[row], picture)
        folders = ["--input", tmp_path / part, "--output", tmp_path / "out" / part]
        more = ["--weights", tmp_path / "run", "--device", "cpu", "--batch", 1]
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, folders + more)])
        predict.main()
        for row, name in zip(rows, ("000000.png", "000001.png"), strict=True):
            assert np.array_equal(grid[row][2], np.asarray(Image.open(tmp_path / "out" / part / name)))


# ---- the steps


def test_the_penalty_is_taken_in_fp32(tiny_spade):
    opt = tiny_spade("run", "run.precision=bf16", "loss.penalty_on=real,fake")
    run, D = Run(opt.run), build.spade_discriminator(opt).eval()
    m, x, c, fake = (torch.rand(2, channels, 64, 64) for channels in (4, 3, 3, 3))
    terms = discriminator_terms(run, D, (m, x, c, None), fake, opt.loss, True)
    both = [picture.clone().requires_grad_() for picture in (x, fake)]
    expected = [r1([D(torch.cat((m, picture, c), 1))[0][-1]], picture) for picture in both]
    torch.testing.assert_close(terms["gp"], sum(expected), rtol=1e-4, atol=0)
    assert "gp" not in discriminator_terms(run, D, (m, x, c, None), fake, opt.loss, False)


@pytest.mark.parametrize("policy", ["translation,cutout", "color"])
def test_one_draw_augments_all_that_d_sees_in_a_step(tiny_spade, policy):
    opt, seen = tiny_spade("run", f"loss.diffaugment={policy}"), []
    m, x, c, fake = (torch.rand(2, channels, 64, 64) + 0.5 for channels in (4, 3, 3, 3))

    def D(pictures):
        seen.append(pictures)
        return [[pictures[:, :1], pictures[:, 1:2]]]

    run = Run(opt.run)
    discriminator_terms(run, D, (m, x, c, None), fake, opt.loss, False)
    generator_terms(run, D, (m, x, c, None), fake, opt.loss)
    d_real, d_fake, g_real, g_fake = seen
    for on_x, on_fake in ((d_real, d_fake), (g_real, g_fake)):
        assert torch.equal(on_x[:, :4], on_fake[:, :4]) and torch.equal(on_x[:, 7:], on_fake[:, 7:])
        assert torch.equal(on_x == 0, on_fake == 0), "moved and cut alike"
    assert not torch.equal(d_real, g_real), "each network's step has a draw of its own"
    whole = torch.cat((m, x, c), 1)
    others = [k for k in range(10) if not 4 <= k < 7]
    assert torch.equal(d_real[:, others], whole[:, others]) == (policy == "color")


class Distance(nn.Module):
    """In the place of VGG."""

    def __init__(self, *_):
        super().__init__()

    def forward(self, fake, real):
        return (fake - real).square().mean()


STEPS = {
    "hinge, R1 at both": "loss.gan=hinge loss.gp=7 loss.penalty_on=real,fake loss.d_weight=0.3 loss.adv=2",
    "lsgan, rough sum, lazy": "loss.gan=lsgan optim.d_steps=3 data.rough=ROUGH rough.weight=0.4 loss.penalty_every=2",
    "wgan, rough pass, two scales": "loss.gan=wgan model.discriminator=multiscale data.rough=ROUGH rough.mode=pass"
    " loss.penalty=squared_sum loss.perceptual=3 loss.feature_matching=5",
    "bce, style, diversity": "loss.gan=bce model.style=3 loss.kl=0.2 loss.diversity=0.6 loss.penalty_on=fake",
}


@pytest.mark.parametrize("words", STEPS.values(), ids=STEPS)
def test_two_steps_are_the_papers(tiny_spade, drawn_spade, tmp_path, monkeypatch, words):
    """Weights after two steps of plain gradient descent in float64 against a loop written from the papers."""
    words = words.replace("ROUGH", str(drawn_spade / "val")).split()
    more = "model.norm=instance model.d_norm=instance optim.g_lr=0.001 optim.d_lr=0.002 optim.poly_start=0"
    opt = tiny_spade("run", "optim.d_steps=1", *more.split(), *words, "run.steps=2", "model.width=4", "model.d_width=4")
    monkeypatch.setattr(build, "initialize", lambda D, *_: D)  # weights so small make float32's errors large
    torch.manual_seed(0)
    G, D = build.spade_generator(opt).double(), build.spade_discriminator(opt).double()
    with torch.no_grad():  # as if it were trained: noise and attention have a strength
        for p in [*G.parameters(), *D.parameters()]:
            if p.numel() == 1 or (p.ndim == 4 and len(p) == 1):
                p.add_(0.3)
    G2, D2 = copy.deepcopy(G), copy.deepcopy(D)
    judged, drawn, randn = [], [], torch.randn
    monkeypatch.setattr(build, "spade_generator", lambda _: G)
    monkeypatch.setattr(build, "spade_discriminator", lambda _: D)
    monkeypatch.setattr(train_spade, "Perceptual", Distance)
    monkeypatch.setattr(train_spade, "adam", lambda parameters, lr, betas: torch.optim.SGD(parameters, lr))
    monkeypatch.setattr(torch, "randn", lambda *shape, **how: drawn.append(randn(*shape)) or drawn[-1])
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.full_like(x, 0.7))

    def double(parts):
        return [part.double() if isinstance(part, torch.Tensor) else part for part in parts]

    for network in filter(None, (G, D, G.encoder)):
        network.register_forward_pre_hook(
            lambda _, inputs, named: (
                tuple(double(inputs)),
                {k: double(v) if isinstance(v, list) else double([v])[0] for k, v in named.items()},
            ),
            with_kwargs=True,
        )
    D.register_forward_pre_hook(lambda _, inputs: judged.append(inputs[0].detach()))
    train(opt)
    judged, drawn = iter(judged), iter(drawn)
    monkeypatch.setattr(torch, "randn", randn)
    for step in range(2):
        follow(opt, step, G2, D2, judged, drawn)
    assert next(judged, None) is None, "D has judged nothing else"
    content = final(tmp_path / "run")
    for name, network in (("G", G2), ("D", D2)):
        for key, value in network.state_dict().items():
            torch.testing.assert_close(content[name][key], value, rtol=1e-5, atol=1e-7)  # losses are taken in float32


def follow(opt, step: int, G: nn.Module, D: nn.Module, judged, drawn) -> None:
    """One step on what a training's D has judged, real and fake by turns, and on the noise that it has drawn."""
    loss, (real_d, fake_d, value) = opt.loss, SCORES["wgan-gp" if opt.loss.gan == "wgan" else opt.loss.gan]
    rate = (1 - step / 2) ** opt.optim.poly_power
    penalty = {"r1": lambda g: g.square().sum(), "squared_sum": lambda g: g.sum().square()}[loss.penalty]
    weights = [1.0] if opt.data.rough is None else [1.0, opt.rough.weight]
    passes = [weights] if opt.rough.mode == "sum" else [[weight] for weight in weights]

    def batch():
        m, x, c = next(judged).split((4, 3, 3), 1)
        next(judged)
        return m, x, c

    def paint(m, x, c, twice=False):
        style = kl = None
        if G.encoder is not None:
            mean, log_variance = G.encoder(x)
            style = mean + 0.7 * (log_variance / 2).exp()
            kl = ((mean**2 + log_variance.exp() - 1 - log_variance) / 2).sum(1).mean()
        noise = [next(drawn).double() for _ in G.noise_shapes(64, 64)]
        if twice:  # in one batch, as each forward moves the power iterations
            m, c, style = (None if part is None else torch.cat((part, part)) for part in (m, c, style))
        return G(m, c, noise=noise, style=style).split(2), [n.split(2) for n in noise], kl

    for weights in passes:
        for k in range(opt.optim.d_steps):
            total = 0
            for weight in weights:
                m, x, c = batch()
                with torch.no_grad():
                    fake = paint(m, x, c)[0][0]
                loss_D = 0
                for picture, score, name in ((x, real_d, "real"), (fake, fake_d, "fake")):
                    picture = picture.clone().requires_grad_()
                    maps = [scale[-1] for scale in D(torch.cat((m, picture, c), 1))]
                    loss_D = loss_D + sum(score(map_).mean() for map_ in maps)
                    due = (step * opt.optim.d_steps + k) % loss.penalty_every == 0
                    for map_ in maps if due and name in loss.penalty_on else []:
                        for one in range(2):
                            (slope,) = torch.autograd.grad(map_[one].mean(), picture, create_graph=True)
                            loss_D = loss_D + loss.gp * loss.penalty_every * penalty(slope) / 2
                total = total + weight * loss.d_weight * loss_D
            move(D, total, 0.002 * rate)
        total = 0
        for weight in weights:
            m, x, c = batch()
            fakes, noises, kl = paint(m, x, c, twice=loss.diversity > 0)
            reals, maps = D(torch.cat((m, x, c), 1)), D(torch.cat((m, fakes[0], c), 1))
            loss_G = loss.adv * sum(value(scale[-1]).mean() for scale in maps)
            for real, fake in zip(reals, maps, strict=True):
                for r, f in zip(real[:-1], fake[:-1], strict=True):
                    loss_G = loss_G + loss.feature_matching * (r.detach() - f).abs().mean()
            loss_G = loss_G + loss.perceptual * (fakes[0] - x).square().mean()
            if kl is not None:
                loss_G = loss_G + loss.kl * kl
            if loss.diversity:
                hair = m[:, 2].bool()
                apart = (fakes[0] - fakes[1]).abs().mean(1)[hair].mean()
                between = torch.cat([(a - b).flatten() for a, b in noises]).abs().mean()
                loss_G = loss_G + loss.diversity / (apart / between + 0.1)
            total = total + weight * loss_G
        move(G, total, 0.001 * rate)


def move(network: nn.Module, loss: torch.Tensor, lr: float) -> None:
    slopes = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
    with torch.no_grad():
        for p, slope in zip(network.parameters(), slopes, strict=True):
            if slope is not None:  # the penalty has none at D's last bias
                p -= lr * slope
