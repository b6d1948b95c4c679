"""train_pix2pix.py: exact resume, overfitting, grids equal to predictions, the order of the steps, options."""

import copy
import json
import math
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pairwise import all_pairs, cover, pairs_of, sample
from PIL import Image

import predict
import train_pix2pix
from data.sample import draw
from engine import checkpoint
from engine.errors import UserError
from losses.gan import fake_loss, generator_loss, real_loss
from models import build
from models.init import initialize
from models.layers import predicting
from options.load import load
from options.pix2pix import DEFAULT_FILE, Pix2PixOptions
from train_pix2pix import discriminator_terms, generator_terms, main, train

TINY = """
    run.device=cpu run.steps=6 run.log_every=1 run.sample_every=0 run.save_every=2 run.eval_every=0
    data.size=64 data.batch=2 data.workers=0 model.width=4 model.d_width=4 ema.half_life=20
""".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def pairs(tmp_path_factory) -> Path:
    """5 training and 2 validation pairs picture|edges at 64x64."""
    from data.edges import make_pair

    folder = tmp_path_factory.mktemp("pairs")
    for part, numbers in (("train", range(5)), ("val", range(5, 7))):
        (folder / part).mkdir()
        for i in numbers:
            Image.fromarray(make_pair(draw(i, 64).picture, 64)).save(folder / part / f"{i}.png")
    return folder


@pytest.fixture
def tiny(pairs, tmp_path):
    """Options of a tiny run: tiny("NAME", "key=value", ...); its folder is tmp_path/NAME."""

    def make(name: str, *words: str) -> Pix2PixOptions:
        return load(Pix2PixOptions, [*TINY, f"data.root={pairs}", f"run.dir={tmp_path / name}", *words], DEFAULT_FILE)

    return make


def final(folder: Path) -> dict:
    return checkpoint.load(checkpoint.steps(folder)[-1], "pix2pix")


def log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").open()]


def equal(a, b) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


# ---- exact resume


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run.precision=bf16", "model.z=3", "loss.mode_seeking=1", "optim.g_first=true", "optim.decay=cosine"],
        ["loss.gan=wgan-gp", "model.d_norm=instance", "optim.d_steps=2", "data.preprocess=crop"],
    ],
)
def test_a_run_stopped_and_resumed_equals_one_that_never_stopped(tiny, tmp_path, words):
    words = [*words, "run.eval_every=2", "run.keep_best=val_l1,min", "run.sample_every=3"]
    train(tiny("whole", *words))
    half = tmp_path / "whole" / "checkpoints" / "step_00000004.pt"
    (tmp_path / "cut" / "checkpoints").mkdir(parents=True)
    (tmp_path / "cut" / "checkpoints" / half.name).write_bytes(half.read_bytes())
    train(tiny("cut", *words, "data.workers=2"))
    whole, cut = final(tmp_path / "whole"), final(tmp_path / "cut")
    assert all(equal(whole[key], cut[key]) for key in ("step", "best", "G", "D", "G_ema", "G_opt", "D_opt"))
    assert [line["step"] for line in log(tmp_path / "whole") if "val_l1" in line] == [2, 4, 6]
    samples = sorted(path.name for path in (tmp_path / "whole" / "samples").iterdir())
    assert samples == ["index.html", "real.png", "step_00000003.png", "step_00000006.png"]


def test_another_network_is_refused_on_resume(tiny):
    train(tiny("run", "run.steps=2"))
    for word in ("data.size=128", "data.direction=AtoB", "model.norm=instance"):
        with pytest.raises(UserError, match=f"{word.split('=')[0]} was .* another network"):
            train(tiny("run", "run.steps=2", word))


# ---- learning


def test_it_overfits_one_pair(tiny, tmp_path):
    words = "data.limit=1 data.batch=1 data.preprocess=none data.augment=none model.width=16 model.d_width=8".split()  # noqa: SIM905
    words += [
        "model.dropout=0",
        "optim.g_lr=1e-3",
        "optim.d_lr=1e-3",
        "run.steps=250",
        "ema.half_life=0",
        "model.norm=instance",
    ]
    train(tiny("run", *words, "run.save_every=250"))
    assert log(tmp_path / "run")[-1]["l1"] < 0.05 < log(tmp_path / "run")[0]["l1"]


def cells(sheet: np.ndarray, size: int = 64, gap: int = 2) -> list[list[np.ndarray]]:
    rows, columns = ((side + gap) // (size + gap) for side in sheet.shape[:2])
    place = [slice(k * (size + gap), k * (size + gap) + size) for k in range(max(rows, columns))]
    return [[sheet[place[r], place[c]] for c in range(columns)] for r in range(rows)]


@pytest.mark.parametrize(
    "words",
    [
        ["sample.norm_stats=batch", "sample.dropout=true"],
        ["sample.norm_stats=running", "sample.dropout=false"],
        ["sample.norm_stats=batch", "model.z=4", "model.z_at=all", "ema.half_life=0"],
    ],
)
def test_pictures_of_training_equal_predicted_ones(tiny, pairs, tmp_path, monkeypatch, words):
    train(tiny("run", *words, "run.sample_every=6"))
    grid = cells(np.asarray(Image.open(tmp_path / "run" / "samples" / "step_00000006.png")))
    samples = 3 if "model.z=4" in words else 1
    more = ["--samples", str(samples)] if samples > 1 else []
    for part, rows in (("train", grid[:2]), ("val", grid[2:])):
        output = tmp_path / part
        argv = f"predict.py --device cpu --weights {tmp_path / 'run'} --input {pairs / part} --output {output}".split()
        monkeypatch.setattr(sys, "argv", [*argv, *more])
        predict.main()
        for row, source in zip(rows, sorted((pairs / part).iterdir())[:2], strict=True):
            whole = np.asarray(Image.open(source))
            assert np.array_equal(row[0], whole[:, 64:]) and np.array_equal(row[-1], whole[:, :64])
            for k in range(samples):
                ending = "" if k == 0 else f"_{k + 1}"
                assert np.array_equal(row[1 + k], np.asarray(Image.open(output / f"{source.stem}{ending}.png")))


# ---- the steps


def networks(*words):
    torch.manual_seed(0)
    opt = load(Pix2PixOptions, [*TINY, *words], DEFAULT_FILE)
    return opt, build.pix2pix_generator(opt), build.pix2pix_discriminator(opt)


def test_terms_of_two_fakes_are_msgans():
    opt, G, D = networks(
        "model.z=3", "model.num_discriminators=2", "model.norm=instance", "model.d_norm=instance", "loss.mode_seeking=1"
    )
    x, y, z = torch.randn(2, 3, 64, 64), torch.randn(2, 3, 64, 64), torch.randn(4, 3)
    fake = G(torch.cat((x, x)), z)
    first, second = fake.chunk(2)
    terms = discriminator_terms(D, x, y, fake, opt.loss)
    d_fake = [sum(fake_loss("lsgan", m[-1]) for m in D(torch.cat((x, f), 1))) for f in (first, second)]
    d_real = sum(real_loss("lsgan", m[-1]) for m in D(torch.cat((x, y), 1)))
    torch.testing.assert_close(2 * (terms["D_real"] + terms["D_fake"]), 2 * d_real + d_fake[0] + d_fake[1])
    terms = generator_terms(D, x, y, fake, z, opt.loss)
    adv = [sum(generator_loss("lsgan", m[-1]) for m in D(torch.cat((x, f), 1))) for f in (first, second)]
    torch.testing.assert_close(2 * terms["adv"], adv[0] + adv[1])
    torch.testing.assert_close(terms["l1"], (first - y).abs().mean())
    ratio = (first - second).abs().mean() / (z[:2] - z[2:]).abs().mean()
    torch.testing.assert_close(terms["mode_seeking"], 1 / (ratio + 1e-5))


def test_without_adversarial_terms_d_does_not_learn(tiny, tmp_path):
    opt = tiny("run", "loss.adv=0", "run.steps=2")
    train(opt)
    terms = [line.keys() for line in log(tmp_path / "run")]
    assert all("adv" not in keys and "D_real" not in keys for keys in terms)
    assert final(tmp_path / "run")["D_opt"]["state"] == {}


STEPS = {
    "D first": "loss.feature_matching=2",
    "G first": "optim.g_first=true loss.gan=bce",
    "hinge, two scales": "loss.gan=hinge model.num_discriminators=2 loss.adv=3 loss.d_weight=0.3",
    "wgan-gp": "loss.gan=wgan-gp loss.gp=7 loss.gp_target=0.5 loss.d_weight=2",
    "mode seeking": "model.z=3 loss.mode_seeking=0.7 loss.gan=wgan-gp loss.adv=2 loss.l1=10 loss.feature_matching=5",
}


@pytest.mark.parametrize("words", STEPS.values(), ids=STEPS)
def test_two_steps_are_the_textbooks(tiny, tmp_path, monkeypatch, words):
    """Weights after two steps of plain gradient descent in float64 against a loop written from the papers."""
    more = "run.steps=2 model.dropout=0 model.norm=instance model.d_norm=instance optim.g_lr=0.01 optim.d_lr=0.03"
    opt = tiny("run", *more.split(), *words.split(), "optim.decay_start=0", "ema.half_life=20", "ema.ramp_up=0")
    torch.manual_seed(0)
    G, D = (initialize(build(opt), "normal", 0.1).double() for build in BUILDERS)
    G2, D2 = copy.deepcopy(G), copy.deepcopy(D)
    seen, latents, between = [], [], []
    monkeypatch.setattr(build, "pix2pix_generator", lambda _: G)
    monkeypatch.setattr(build, "pix2pix_discriminator", lambda _: D)
    monkeypatch.setattr(train_pix2pix, "initialize", lambda network, *_: network)
    monkeypatch.setattr(train_pix2pix, "adam", lambda parameters, lr, betas: torch.optim.SGD(parameters, lr))
    monkeypatch.setattr(train_pix2pix, "to_input", lambda u, _: seen.append(u.double() / 127.5 - 1) or seen[-1])

    def drawn(real, fake):
        between.append((0.3 * real + 0.7 * fake).detach().requires_grad_())
        return between[-1]

    monkeypatch.setattr(train_pix2pix, "interpolate", drawn)
    G.register_forward_pre_hook(lambda _, inputs: latents.append(inputs[1]))
    for network in (G, D):  # the latent is float32
        network.register_forward_pre_hook(lambda _, inputs: tuple(i if i is None else i.double() for i in inputs))
    train(opt)

    loss, average = opt.loss, copy.deepcopy(G2)
    for step in range(2):
        x, y, z = seen[2 * step], seen[2 * step + 1], latents[step]
        z = None if z is None else z.double()
        fakes = G2(x, None if z is None else z[:2]), None if z is None else G2(x, z[2:])
        fakes = [fake for fake in fakes if fake is not None][: 2 if loss.mode_seeking else 1]
        real_d, fake_d, value = SCORES[loss.gan]
        loss_D = 0
        for scale in range(opt.model.num_discriminators):
            judged = [D2(torch.cat((x, fake.detach()), 1))[scale][-1] for fake in fakes]
            loss_D = loss_D + real_d(D2(torch.cat((x, y), 1))[scale][-1]).mean()
            loss_D = loss_D + sum(fake_d(logits).mean() for logits in judged) / len(judged)
        if loss.gan == "wgan-gp":
            for one in range(2):
                hat = 0.3 * torch.cat((x, y), 1)[one : one + 1] + 0.7 * torch.cat((x, fakes[0]), 1)[one : one + 1]
                hat = hat.detach().requires_grad_()
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
            maps = [D2(torch.cat((x, fake), 1))[scale] for fake in fakes]
            loss_G = loss_G + loss.adv * sum(value(m[-1]).mean() for m in maps) / len(maps)
            reals = D2(torch.cat((x, y), 1))[scale][:-1]
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


def test_val_l1_is_the_mean_distance_to_the_targets(tiny, pairs, tmp_path):
    train(tiny("run", "run.steps=2", "run.eval_every=2", "ema.half_life=0"))
    (found,) = [line["val_l1"] for line in log(tmp_path / "run") if "val_l1" in line]
    opt = tiny("run")
    G = build.pix2pix_generator(opt)
    G.load_state_dict(final(tmp_path / "run")["G"])
    expected = []
    for path in (pairs / "val").iterdir():
        whole = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad(), predicting(G, "batch"):
            expected.append((G(whole[..., 64:]) - whole[..., :64]).abs().mean())
    assert found == pytest.approx(float(sum(expected) / 2), rel=1e-5)


@pytest.mark.parametrize("decay", ["linear", "cosine"])
def test_the_rate_is_constant_then_falls(tiny, tmp_path, decay):
    train(tiny("run", "run.steps=8", f"optim.decay={decay}", "optim.g_lr=1"))
    rates = [line["lr"] for line in log(tmp_path / "run") if "lr" in line]
    falling = [1, 0.75, 0.5, 0.25] if decay == "linear" else [(1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    assert rates == pytest.approx([1, 1, 1, 1, *falling])


# ---- options, by pairwise cover

FACTORS = {
    "loss.gan": ["bce", "lsgan", "hinge", "wgan-gp"],
    "model.generator": ["unet", "resnet"],
    "model.norm": ["batch", "instance", "none"],
    "model.upsample": ["deconv", "bilinear", "nearest"],
    "z": ["none", "input", "all"],
    "data.batch": [1, 4],
    "data.size": [64, 256],
    "run.precision": ["fp32", "bf16"],
}
MORE = int(os.environ.get("ATELIER_MORE", "0"))  # make test-more
CASES = cover(list(FACTORS.values()))


def test_the_cases_cover_every_pair_of_values():
    assert len(CASES) <= 24
    assert set().union(*map(pairs_of, CASES)) == all_pairs(list(FACTORS.values()))


def train_case(tiny, folder: Path, case: tuple) -> None:
    chosen = dict(zip(FACTORS, case, strict=True))
    z = chosen.pop("z")
    words = [f"{key}={value}" for key, value in chosen.items()]
    d_norm = "instance" if chosen["loss.gan"] == "wgan-gp" and chosen["model.norm"] == "batch" else chosen["model.norm"]
    words += [f"model.d_norm={d_norm}", "model.blocks=1", "run.steps=3", "run.eval_every=3", "run.sample_every=3"]
    if z != "none":
        words += ["model.z=4", f"model.z_at={z}", "loss.mode_seeking=1"]
    train(tiny("run", *words))
    values = [v for line in log(folder / "run") for v in line.values()]
    assert final(folder / "run")["step"] == 3 and values and all(math.isfinite(v) for v in values)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_combinations_of_options_train(tiny, tmp_path, case):
    train_case(tiny, tmp_path, case)


@pytest.mark.parametrize("case", sample(list(FACTORS.values()), MORE), ids=lambda case: "-".join(map(str, case)))
def test_many_combinations_of_options_train(tiny, tmp_path, case):
    train_case(tiny, tmp_path, case)


@pytest.mark.parametrize(
    "words",
    [
        "model.discriminator=pixel loss.feature_matching=10 model.in_channels=1",
        "model.num_discriminators=3 model.d_layers=2 loss.feature_matching=10 model.out_channels=1",
        "model.generator=resnet model.blocks=2 data.size=[20,32] model.d_layers=2 data.preprocess=scale_width",
        "model.init=orthogonal sample.dropout=true data.size=[64,128] data.preprocess=scale_width_and_crop",
        "model.init=xavier data.load_size=80 optim.decay_start=1 sample.norm_stats=running data.val_share=0",
    ],
)
def test_further_options_train(tiny, tmp_path, words):
    train(tiny("run", "run.steps=2", "run.eval_every=2", "run.sample_every=2", *words.split()))
    assert final(tmp_path / "run")["step"] == 2


def test_epochs_count_the_pictures_that_d_takes(tiny, capsys, tmp_path):
    train(tiny("run", "run.epochs=4", "optim.d_steps=2"))  # 4 passes over 5 pictures, 2 x 2 in a step
    assert final(tmp_path / "run")["step"] == 5 and "run.epochs=4: 5 steps" in capsys.readouterr().out


def test_dry_run_prints_sizes_and_touches_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train_pix2pix.py", "--dry-run"])
    main()
    out = capsys.readouterr().out
    assert "G: 54.414 M parameters" in out and "D: 2.769 M parameters" in out
    assert not list(tmp_path.iterdir())
