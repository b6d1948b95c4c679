"""train_dcgan.py: exact resume, learning, grids equal to predictions, the steps against the papers."""

import copy
import sys
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from runs import equal, final, log, same_training
from test_train_pix2pix import cells

import predict
import train_dcgan
from data.images import read_picture
from engine.errors import UserError
from models import build
from train_dcgan import seen, swapped, train

# ---- exact resume

RESUMED = {
    "default": [],
    "bf16, all noises, penalties": [
        *("run.precision=bf16", "loss.instance_noise=0.2", "loss.label_flip=0.2", "loss.gan=relativistic"),
        *("loss.r1=1", "loss.r2=1", "loss.penalty_every=2", "loss.diffaugment=color,translation,cutout"),
    ],
    "decoder, classes, binary": ["model.variant=illustration", "data.labels=folders", "model.latent=binary"],
    "spectral, in memory": ["model.d_conv_norm=spectral", "loss.gan=hinge", "data.cache=ram", "optim.decay_start=0"],
}


@pytest.mark.parametrize("words", RESUMED.values(), ids=RESUMED)
def test_a_run_stopped_and_resumed_equals_one_that_never_stopped(tiny_dcgan, tmp_path, words):
    train(tiny_dcgan("whole", *words, "run.sample_every=3"))
    half = tmp_path / "whole" / "checkpoints" / "step_00000002.pt"
    (tmp_path / "cut" / "checkpoints").mkdir(parents=True)
    (tmp_path / "cut" / "checkpoints" / half.name).write_bytes(half.read_bytes())
    train(tiny_dcgan("cut", *words))
    assert same_training(final(tmp_path / "whole"), final(tmp_path / "cut"))
    assert not equal(final(tmp_path / "whole")["G"], torch.load(half, weights_only=True)["G"])
    samples = sorted(path.name for path in (tmp_path / "whole" / "samples").iterdir())
    assert samples == ["index.html", "real.png", "step_00000003.png", "step_00000004.png"]


def test_another_network_is_refused_on_resume(tiny_dcgan):
    train(tiny_dcgan("run", "run.steps=1"))
    for word in ("model.z=7", "model.variant=fc", "data.size=96", "data.labels=folders"):
        with pytest.raises(UserError, match="was .* is now .*: another network"):
            train(tiny_dcgan("run", "run.steps=1", word))


# ---- what training shows


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(
    "words", [["model.latent=binary", "sample.norm_stats=batch"], ["model.variant=fc", "data.labels=folders"]]
)
def test_the_grid_is_what_predict_makes(tiny_dcgan, tmp_path, monkeypatch, words, seed):
    train(tiny_dcgan("run", *words, f"run.seed={seed}", "optim.g_lr=0.01", "run.steps=2", "run.sample_every=2"))
    grid = sum(cells(np.asarray(Image.open(tmp_path / "run" / "samples" / "step_00000002.png"))), [])
    made = tmp_path / "made"
    folders = ["--weights", tmp_path / "run", "--output", made, "--device", "cpu", "--count", 64, "--batch", 5]
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, folders)])
    predict.main()
    pictures = [read_picture(path) for path in sorted(made.iterdir())]
    assert len(pictures) == len(grid) == 64
    assert all(np.array_equal(a, b) for a, b in zip(grid, pictures, strict=True))


def test_it_learns_the_mean_of_flat_pictures(tiny_dcgan, tmp_path):
    """Red pictures in, red pictures out."""
    root = tmp_path / "red"
    root.mkdir()
    for i in range(4):
        Image.new("RGB", (64, 64), (200 + 10 * i, 20, 20)).save(root / f"{i}.png")
    train(
        tiny_dcgan(
            *("run", f"data.root={root}", "run.steps=150", "run.save_every=150", "run.sample_every=150"),
            *("optim.g_lr=2e-3", "optim.d_lr=2e-3", "ema.half_life=0", "loss.gan=hinge", "model.d_norm=none"),
        )
    )
    grid = np.asarray(Image.open(tmp_path / "run" / "samples" / "step_00000150.png"))
    made = np.mean([cell.reshape(-1, 3).mean(0) for cell in sum(cells(grid), [])], axis=0)
    assert abs(made - [215, 20, 20]).max() < 40


# ---- the steps


def test_labels_are_swapped_in_a_share_of_the_pairs():
    real, fake = torch.arange(10000.0), -torch.arange(10000.0) - 1
    called_real, called_fake = swapped(real, fake, 0.3)
    flipped = called_real < 0
    assert 0.27 < flipped.float().mean() < 0.33
    assert torch.equal(called_real + called_fake, real + fake), "a pair stays a pair"
    assert torch.equal(called_fake[~flipped], fake[~flipped]) and torch.equal(called_fake[flipped], real[flipped])


def test_noise_on_what_d_sees(tiny_dcgan):
    x, plain = torch.zeros(2, 3, 64, 64), tiny_dcgan("run").loss
    assert seen(x, 0.0, plain) is x
    noise = seen(x, 0.5, plain)
    assert 0.48 < noise.std() < 0.52 and abs(noise.mean()) < 0.02


STEPS = {
    "model 1, bce": "loss.label_smoothing=0.1",
    "hinge, R1": "loss.gan=hinge loss.r1=3 loss.penalty_every=2",
    "lsgan, model 2": "loss.gan=lsgan model.variant=illustration loss.z=0.7 data.labels=folders",
    "relativistic, R1 and R2": "loss.gan=relativistic loss.r1=2 loss.r2=5 model.variant=fc model.latent=binary",
    "R1 and R2 through DiffAugment": "loss.diffaugment=color loss.r1=2 loss.r2=5 loss.instance_noise=0.5",
    "instance noise": "loss.instance_noise=0.5",
}
SCORES = {  # D on real, D on fake, G
    "bce": (lambda d: 0.9 * F.softplus(-d) + 0.1 * F.softplus(d), F.softplus, lambda d: F.softplus(-d)),
    "lsgan": (lambda d: (d - 1) ** 2, lambda d: d**2, lambda d: (d - 1) ** 2),
    "hinge": (lambda d: F.relu(1 - d), lambda d: F.relu(1 + d), lambda d: -d),
}


@pytest.mark.parametrize("words", STEPS.values(), ids=STEPS)
def test_three_steps_are_the_papers(tiny_dcgan, tmp_path, monkeypatch, words):
    """Weights after three steps of plain gradient descent in float64 against a loop written from the papers."""
    more = "run.steps=3 model.g_norm=instance model.d_norm=instance optim.g_lr=0.001 optim.d_lr=0.002 ema.half_life=20"
    opt = tiny_dcgan("run", *more.split(), "optim.decay_start=0", "ema.ramp_up=0", "data.augment=none", *words.split())
    with_classes = opt.with_classes(("a", "b") if opt.data.labels == "folders" else ())
    torch.manual_seed(0)
    G, D = (b(with_classes).double() for b in (build.dcgan_generator, build.dcgan_discriminator))
    for module in [*G.modules(), *D.modules()]:
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    with torch.no_grad():  # as if it were trained
        for p in [*G.parameters(), *D.parameters()]:
            p.mul_(2)
    G2, D2 = copy.deepcopy(G), copy.deepcopy(D)
    latents, judged, shown, attached = [], [], [], []
    share = torch.linspace(0, 2, 64, dtype=torch.double)  # of each column: what DiffAugment is replaced by

    def augment(x, policy, draw):
        shown.append(x.detach().double())
        attached.append(not x.is_leaf)
        return share * x if policy else x

    monkeypatch.setattr(train_dcgan, "diff_augment", augment)
    monkeypatch.setattr(build, "dcgan_generator", lambda _: G)
    monkeypatch.setattr(build, "dcgan_discriminator", lambda _: D)
    monkeypatch.setattr(train_dcgan, "adam", lambda parameters, lr, betas: torch.optim.SGD(parameters, lr))
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.full_like(x, 0.7))
    for network in (G, D):
        network.register_forward_pre_hook(
            lambda _, inputs: tuple(i.double() if isinstance(i, torch.Tensor) else i for i in inputs)
        )
    G.register_forward_pre_hook(lambda _, inputs: latents.append(inputs))
    D.register_forward_pre_hook(lambda _, inputs: judged.append(inputs[0].detach()))
    train(opt)

    assert attached == 3 * [False, False, True, *[False][: opt.loss.gan == "relativistic"]], "only G's step is G's"
    loss, average, judged, shown = opt.loss, copy.deepcopy(G2), iter(judged), iter(shown)
    for step in range(3):
        z, y = (part if part is None else part.double() for part in latents[step])
        noise = 0.7 * loss.instance_noise * (1 - step / 3)
        made = G2(z, y, predict_z=True) if opt.model.variant == "illustration" else (G2(z, y), None)
        fake, z_hat = made
        view = partial(torch.add, noise) if not loss.diffaugment else lambda x, noise=noise: share * x + noise
        x = next(shown)
        assert -1 <= x.min() < -0.5 and 0.5 < x.max() <= 1
        for picture, own in ((x, x), (fake.detach(), next(shown))):
            torch.testing.assert_close(own, picture, rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(next(judged), view(picture), rtol=1e-3, atol=1e-4)
        x, other = x.requires_grad_(), fake.detach().requires_grad_()
        on_real, on_fake = D2(view(x), y), D2(view(other), y)
        if loss.gan == "relativistic":
            loss_D = F.softplus(on_fake - on_real).mean()
        else:
            real_d, fake_d, value = SCORES[loss.gan]
            if loss.gan == "bce" and not loss.label_smoothing:
                real_d = value
            loss_D = real_d(on_real).mean() + fake_d(on_fake).mean()
        for gamma, logits, picture in ((loss.r1, on_real, x), (loss.r2, on_fake, other)):
            if gamma and step % loss.penalty_every == 0:
                (slope,) = torch.autograd.grad(logits.sum(), picture, create_graph=True)
                loss_D = loss_D + gamma / 2 * loss.penalty_every * slope.flatten(1).square().sum(1).mean()
        rate = 1 - step / 3
        move(D2, loss_D, 0.002 * rate)
        on_fake = D2(view(fake), y)
        next(judged), next(shown)
        if loss.gan == "relativistic":
            next(judged), next(shown)
            loss_G = F.softplus(D2(view(x), y).detach() - on_fake).mean()
        else:
            loss_G = SCORES[loss.gan][2](on_fake).mean()
        if z_hat is not None:
            loss_G = loss_G + loss.z * (z_hat - z).square().mean()
        move(G2, loss_G, 0.001 * rate)
        beta = 0.5 ** (4 / 20)
        with torch.no_grad():
            for p, live in zip(average.parameters(), G2.parameters(), strict=True):
                p.copy_(beta * p + (1 - beta) * live)
    assert next(judged, None) is next(shown, None) is None, "D has judged nothing else, nothing else was augmented"
    content = final(tmp_path / "run")
    for name, network in (("G", G2), ("D", D2), ("G_ema", average)):
        for key, value in network.state_dict().items():
            torch.testing.assert_close(content[name][key], value, rtol=1e-3, atol=3e-6)  # losses are taken in float32


def move(network: torch.nn.Module, loss: torch.Tensor, lr: float) -> None:
    slopes = torch.autograd.grad(loss, list(network.parameters()), allow_unused=True, retain_graph=True)
    with torch.no_grad():
        for p, slope in zip(network.parameters(), slopes, strict=True):
            if slope is not None:
                p -= lr * slope


def test_the_log_holds_ds_probabilities(tiny_dcgan, tmp_path):
    train(tiny_dcgan("run", "run.steps=2"))
    assert all(0 < line[key] < 1 for line in log(tmp_path / "run") for key in ("D_x", "D_G_z"))
    known = {"step", "D", "D_x", "D_G_z", "G", "lr", "grad_D", "grad_G", "images_per_s"}
    assert set(log(tmp_path / "run")[0]) == known


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("compiled", ["false", "true"])
@pytest.mark.parametrize("variant", ["dcgan", "illustration"])
def test_on_a_gpu_compiled_or_not(tiny_dcgan, tmp_path, variant, compiled):
    """Compiled, G keeps its weights contiguous: with channels last inductor fails in its backward."""
    words = ["run.device=cuda", f"run.compile={compiled}", f"model.variant={variant}", "run.sample_every=4"]
    train(tiny_dcgan("run", *words, "loss.r1=1", "loss.diffaugment=color,translation,cutout", "data.cache=disk"))
    assert final(tmp_path / "run")["step"] == 4
    assert (tmp_path / "run" / "samples" / "step_00000004.png").is_file()
