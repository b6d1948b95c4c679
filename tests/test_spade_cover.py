"""train_spade.py with its options, by pairwise cover, with a rough set, and with mistaken options."""

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_SPADE
from pairwise import all_pairs, cover, pairs_of, sample
from PIL import Image
from runs import equal, final, finite_run, log, same_training

import train_spade
from engine.errors import door
from losses import perceptual
from losses.perceptual import Perceptual
from train_spade import main, train

OPTIONS = Path(__file__).parents[1] / "options"
# nothing that another batch would move
PLAIN = ["model.conv_norm=none", "model.norm=none", "model.d_norm=none", "model.noise=false"]

# ---- options, by pairwise cover

FACTORS = {
    "loss.gan": ["bce", "lsgan", "hinge", "wgan"],
    "loss.penalty": ["none", "r1", "squared_sum"],
    "model.upsample": ["bilinear", "nearest", "subpixel", "deconv"],
    "loss.perceptual": [0, 10],
    "model.noise": ["true", "false"],
    "model.generator": ["mapping", "paper"],
    "model.discriminator": ["attention", "multiscale", "oasis"],
    "loss.diffaugment": ["none", "color,translation,cutout"],
    "data.batch": [1, 4],
}
MORE = int(os.environ.get("ATELIER_MORE", "0"))  # make test-more
CASES = cover(list(FACTORS.values()))


def test_the_cases_cover_every_pair_of_values():
    assert len(CASES) <= 24
    assert set().union(*map(pairs_of, CASES)) == all_pairs(list(FACTORS.values()))


def train_case(tiny_spade, folder: Path, monkeypatch, case: tuple) -> None:
    monkeypatch.setattr(train_spade, "Perceptual", partial(Perceptual, pretrained=False))
    monkeypatch.setattr(perceptual, "WIDTHS", (8,) * 5)
    chosen = dict(zip(FACTORS, case, strict=True))
    if chosen["model.discriminator"] == "oasis":  # all else is refused
        chosen |= {"loss.gan": "hinge", "loss.penalty": "none", "loss.feature_matching": 0}
    words = [f"{key}={value}" for key, value in chosen.items()]
    words += ["model.hidden=8", "run.steps=2", "optim.d_steps=1", "run.eval_every=2", "run.sample_every=2"]
    train(tiny_spade("run", *words))
    assert finite_run(folder / "run", 2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_combinations_of_options_train(tiny_spade, tmp_path, monkeypatch, case):
    train_case(tiny_spade, tmp_path, monkeypatch, case)


@pytest.mark.parametrize("case", sample(list(FACTORS.values()), MORE), ids=lambda case: "-".join(map(str, case)))
def test_many_combinations_of_options_train(tiny_spade, tmp_path, monkeypatch, case):
    train_case(tiny_spade, tmp_path, monkeypatch, case)


# ---- further options


@pytest.mark.parametrize(
    "words",
    [
        "model.style=3 data.rough=ROUGH model.d_norm=instance optim.poly_start=1",
        "model.conv_norm=none model.norm=none model.generator=paper model.hidden=4 model.style=3"
        " loss.feature_matching=0",
        "data.size=[64,128] data.augment=scale,crop loss.penalty_on=fake data.rough=ROUGH rough.mode=pass",
        "data.size=[128,64] model.style=3 loss.penalty_on=real,fake loss.diversity=1 run.precision=bf16",
        "data.augment=none data.color=false model.discriminator=multiscale model.num_discriminators=3 model.d_layers=2",
        "model.discriminator=oasis loss.penalty=none loss.feature_matching=0 data.color=false data.background=none"
        " loss.labelmix=0 model.d_norm=none",
        "model.discriminator=oasis loss.penalty=none loss.feature_matching=0 data.size=[128,64] data.rough=ROUGH"
        " loss.diffaugment=cutout run.precision=bf16 model.style=3 optim.d_steps=2",
        "data.background=none data.hair=face loss.diversity=1 loss.diversity_class=background data.val_share=0",
    ],
)
def test_further_options_train(tiny_spade, drawn_spade, tmp_path, words):
    words = words.replace("ROUGH", str(drawn_spade / "val")).split()
    train(tiny_spade("run", "run.steps=2", "run.eval_every=2", "run.sample_every=2", *words))
    assert finite_run(tmp_path / "run", 2)


def test_own_classes_as_grey_ids_without_colours(tiny_spade, tmp_path):
    rng = np.random.default_rng(0)
    for kind, channels in (("images", (3,)), ("labels", ())):
        (tmp_path / kind).mkdir()
        for name in "abcd":
            values = rng.integers(0, 256 if channels else 12, (70, 90, *channels), np.uint8)
            Image.fromarray(values).save(tmp_path / kind / f"{name}.png")
    names = ",".join(f"class{k}" for k in range(12))
    words = [f"data.root={tmp_path}", f"data.classes={names}", "data.background=none", "data.color=false"]
    train(tiny_spade("run", *words, "run.steps=2", "run.eval_every=2", "run.sample_every=2"))
    state = final(tmp_path / "run")
    assert finite_run(tmp_path / "run", 2)
    assert state["D"]["conv1.weight"].shape[1] == 12 + 3


def test_epochs_count_the_pictures_that_both_take(tiny_spade, capsys, tmp_path):
    train(tiny_spade("run", "run.epochs=4", "optim.d_steps=2"))  # 4 passes over 5 pictures, 3 x 2 in a step
    assert final(tmp_path / "run")["step"] == 4 and "run.epochs=4: 4 steps" in capsys.readouterr().out


@pytest.mark.parametrize(("start", "rates"), [(0.5, [1, 1, 1, 0.5]), (1, [1, 1, 1, 1])])
def test_the_rate_is_constant_then_falls(tiny_spade, tmp_path, start, rates):
    words = [f"optim.poly_start={start}", "optim.poly_power=1", "optim.g_lr=0.001", "optim.d_steps=1"]
    train(tiny_spade("run", *words))
    assert [1000 * line["lr"] for line in log(tmp_path / "run")] == pytest.approx(rates)


@pytest.mark.parametrize("name", ["spade", "spade_original"])
def test_dry_run_prints_sizes_and_touches_nothing(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train_spade.py", str(OPTIONS / f"{name}.yaml"), "--dry-run"])
    main()
    out = capsys.readouterr().out
    assert "G: 19.885 M parameters" in out and "D: 10.871 M parameters" in out
    assert not list(tmp_path.iterdir())


# ---- the rough set


def test_a_rough_set_of_no_weight_changes_nothing(tiny_spade, drawn_spade, tmp_path):
    rough = f"data.rough={drawn_spade / 'val'}"
    train(tiny_spade("none", *PLAIN, "optim.g_lr=0.01"))
    for weight in (0, 1):
        train(tiny_spade(f"rough{weight}", *PLAIN, "optim.g_lr=0.01", rough, f"rough.weight={weight}"))
    without, unseen, seen = (final(tmp_path / name) for name in ("none", "rough0", "rough1"))
    assert same_training(without, unseen)
    assert not equal(without["G"], seen["G"]) and not equal(without["D"], seen["D"])


@pytest.mark.parametrize(("mode", "passes"), [("sum", 1), ("pass", 2)])
def test_a_pass_over_the_rough_set_has_steps_of_its_own(tiny_spade, drawn_spade, tmp_path, mode, passes):
    words = [f"rough.mode={mode}", f"data.rough={drawn_spade / 'val'}", "optim.d_steps=3", "run.steps=2"]
    train(tiny_spade("run", *words))
    content = final(tmp_path / "run")
    done = {name: {int(state["step"]) for state in content[name]["state"].values()} for name in ("G_opt", "D_opt")}
    assert done == {"G_opt": {2 * passes}, "D_opt": {2 * 3 * passes}} and content["step"] == 2


@pytest.mark.parametrize("mode", ["sum", "pass"])
def test_the_log_tells_of_the_main_set(tiny_spade, drawn_spade, tmp_path, mode):
    words = [*PLAIN, "optim.g_lr=0", "optim.d_lr=0", "run.steps=1"]
    train(tiny_spade("main", *words))
    train(tiny_spade("rough", *words, f"data.rough={drawn_spade / 'val'}", f"rough.mode={mode}"))
    expected, found = log(tmp_path / "main")[-1], log(tmp_path / "rough")[-1]
    moved = {"images_per_s": 0, "grad_G": 0, "grad_D": 0}  # both sets move the networks
    assert found | moved == expected | moved


# ---- mistakes

MISTAKES = {
    "data.size=100": "data.size=100: G doubles six times, so use multiples of 64, such as 128",
    "data.size=native": "data.size=native: spade trains at one size",
    "data.hair=hare": "data.hair=hare: there is no such class; use data.color=false, or one of eye, face, hair,",
    "data.hair=background": "data.hair=background: is the background, which no label holds",
    "data.background=sky": "data.background=sky: there is no such class; use none or one of eye",
    "loss.diversity=1 model.noise=false": "loss.diversity=1: G draws no noise; use model.generator=mapping",
    "loss.diversity=1 model.generator=paper": "loss.diversity=1: G draws no noise; use model.generator=mapping",
    "loss.diversity=1 loss.diversity_class=background": "loss.diversity_class=background: there is no such class",
    "run.keep_best=miou,max run.eval_every=2": "run.keep_best=miou,max: there is no such metric; choose from val_l1",
    "model.code_width=12": "model.code_width=12: a mapping network starts with an eighth; use a multiple of 8",
    "model.discriminator=multiscale model.num_discriminators=3": "data.size=64: model.d_layers=3 with model.num_disc",
    "loss.penalty_on=none": "loss.penalty_on=none: it is taken nowhere; use real, fake or both, or loss.penalty=none",
    "loss.penalty_on=real_fake": "loss.penalty_on=real_fake: expected a list of (one of real|fake)",
    "data.recolor=0.5 data.color=false": "data.recolor=0.5: there are no hair colours (data.color=false); set it 0",
    "loss.diffaugment=flip": "loss.diffaugment=flip: expected a list of (one of color|translation|cutout)",
    "loss.labelmix=5": "loss.labelmix=5: attention gives no classes; use model.discriminator=oasis, or leave it out",
    "model.discriminator=oasis": "loss.feature_matching=2: model.discriminator=oasis, which learns classes, has no use"
    " for it; set it 0 (options/spade_oasis.yaml)",
    "model.discriminator=oasis loss.feature_matching=0": "loss.penalty=r1: model.discriminator=oasis, which learns",
    "model.discriminator=oasis loss.feature_matching=0 loss.penalty=none loss.gan=bce": "no use for it; leave it out",
    "model.discriminator=oasis loss.feature_matching=0 loss.penalty=none model.d_layers=2": "model.d_layers=2: model.d",
    "loss.gan=wgan-gp": "loss.gan=wgan-gp: expected one of bce|lsgan|hinge|wgan",
}


def refusal(tmp_path, monkeypatch, capsys, *words: str) -> tuple[str, int]:
    """What the script says of a mistake, in one line, and its exit code; it has written nothing."""
    monkeypatch.setattr(sys, "argv", ["train_spade.py", *TINY_SPADE, f"run.dir={tmp_path / 'run'}", *words])
    with pytest.raises(SystemExit) as caught:
        door(main)
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1 and not (tmp_path / "run").exists()
    return line, caught.value.code


@pytest.mark.parametrize("words", MISTAKES)
def test_mistaken_options_are_one_line(drawn_spade, tmp_path, monkeypatch, capsys, words):
    line, code = refusal(tmp_path, monkeypatch, capsys, f"data.root={drawn_spade}", *words.split())
    assert MISTAKES[words] in line and code == 2


def test_mistaken_data_are_one_line(drawn_spade, tmp_path, monkeypatch, capsys):
    root = tmp_path / "data"
    root.mkdir()
    Image.new("RGB", (150, 64)).save(root / "odd.png")
    monkeypatch.setattr(train_spade, "Perceptual", lambda *_: pytest.fail("a download before the data are checked"))
    line, code = refusal(tmp_path, monkeypatch, capsys, f"data.root={root}", "loss.perceptual=10")
    assert "odd.png: 150x64 pixels, neither picture|label (2:1) nor" in line and code == 1
    (root / "odd.png").unlink()
    for kind, side in (("images", 64), ("labels", 64), ("colors", 32)):
        (root / kind).mkdir()
        with Image.open(drawn_spade / "train" / kind / "000000.png") as picture:
            picture.resize((side, side), Image.Resampling.NEAREST).save(root / kind / "a.png")
    line, code = refusal(tmp_path, monkeypatch, capsys, f"data.root={root}")
    assert "a.png: 64x64 pixels, but its colour map" in line and "32x32" in line and code == 1
    line, code = refusal(tmp_path, monkeypatch, capsys, f"data.root={drawn_spade}", f"data.rough={root}")
    assert "but its colour map" in line and code == 1
