"""train_dcgan.py with its options, by pairwise cover, and with mistaken ones."""

import os
import sys
from pathlib import Path

import pytest
from conftest import TINY_DCGAN
from pairwise import all_pairs, cover, pairs_of, sample
from PIL import Image
from runs import final, finite_run, log

from engine.errors import door
from train_dcgan import main, train

OPTIONS = Path(__file__).parents[1] / "options"

# ---- options, by pairwise cover

FACTORS = {
    "model.variant": ["dcgan", "illustration", "fc"],
    "data.size": [64, 96, 128],
    "loss.gan": ["bce", "hinge", "lsgan", "relativistic"],
    "loss.instance_noise": [0, 0.1],
    "loss.label_flip": [0, 0.3],
    "loss.label_smoothing": [0, 0.1],
    "model.latent": ["gaussian", "binary"],
    "model.d_conv_norm": ["none", "spectral"],
    "model.d_norm": ["batch", "none"],
    "loss.diffaugment": ["[]", "[color, translation, cutout]"],
    "loss.r1": [0, 1],
    "data.labels": ["none", "folders"],
}
MORE = int(os.environ.get("ATELIER_MORE", "0"))  # make test-more
CASES = cover(list(FACTORS.values()))


def test_the_cases_cover_every_pair_of_values():
    assert len(CASES) <= 24
    assert set().union(*map(pairs_of, CASES)) == all_pairs(list(FACTORS.values()))


def train_case(tiny_dcgan, folder: Path, case: tuple) -> None:
    chosen = dict(zip(FACTORS, case, strict=True))
    if chosen["loss.gan"] in ("hinge", "relativistic"):
        chosen["loss.label_smoothing"] = 0  # refused: they have no target
    words = [f"{key}={value}" for key, value in chosen.items()]
    train(tiny_dcgan("run", *words, f"loss.r2={chosen['loss.r1']}", "run.steps=2", "run.sample_every=2"))
    assert finite_run(folder / "run", 2)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_combinations_of_options_train(tiny_dcgan, tmp_path, case):
    train_case(tiny_dcgan, tmp_path, case)


@pytest.mark.parametrize("case", sample(list(FACTORS.values()), MORE), ids=lambda case: "-".join(map(str, case)))
def test_many_combinations_of_options_train(tiny_dcgan, tmp_path, case):
    train_case(tiny_dcgan, tmp_path, case)


# ---- further options


@pytest.mark.parametrize(
    "words",
    [
        "model.n_extra_g=2 model.n_extra_d=2 run.precision=bf16 sample.norm_stats=batch",
        "model.g_norm=instance model.d_norm=instance loss.r1=1 loss.penalty_every=2 run.precision=bf16",
        "model.g_norm=none model.d_norm=none data.augment=[] ema.half_life=0 data.cache=ram optim.decay_start=0",
        "model.variant=illustration loss.z=0 data.labels=folders data.classes=b data.limit=4",
    ],
)
def test_further_options_train(tiny_dcgan, tmp_path, words):
    words = words.replace("[]", "none") if "data.augment=none" in words else words
    train(tiny_dcgan("run", "run.steps=2", "run.sample_every=2", *words.split()))
    assert finite_run(tmp_path / "run", 2)


def test_epochs_count_pictures(tiny_dcgan, capsys, tmp_path):
    train(tiny_dcgan("run", "run.epochs=2"))  # 2 passes over 9 pictures, 4 in a step
    assert final(tmp_path / "run")["step"] == 5 and "run.epochs=2: 5 steps" in capsys.readouterr().out


@pytest.mark.parametrize(("start", "rates"), [(0.5, [1, 1, 1, 0.5]), (1, [1, 1, 1, 1])])
def test_the_rate_is_constant_then_falls(tiny_dcgan, tmp_path, start, rates):
    train(tiny_dcgan("run", f"optim.decay_start={start}", "optim.g_lr=0.001"))
    assert [1000 * line["lr"] for line in log(tmp_path / "run")] == pytest.approx(rates)


@pytest.mark.parametrize("name", ["dcgan", "dcgan_animefaces", "dcgan_original"])
def test_dry_run_prints_the_originals_sizes_and_touches_nothing(tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train_dcgan.py", str(OPTIONS / f"{name}.yaml"), "--dry-run"])
    main()
    out = capsys.readouterr().out
    assert "G: 3.614 M parameters" in out and "D: 2.766 M parameters" in out
    assert not list(tmp_path.iterdir())


# ---- mistakes

MISTAKES = {
    "data.size=100": "data.size=100: the networks are made for 64, 96, 128; use one of them",
    "data.size=[64,96]": "data.size=(64, 96): the networks are made for 64, 96, 128",
    "data.size=native": "data.size=native: the networks are made for",
    "data.classes=a": "data.classes=['a']: data.labels=none gives no picture a class; set it",
    "data.classes=a,a data.labels=folders": "data.classes=['a', 'a']: a class stands there twice",
    "data.classes=cat data.labels=folders": "cat",
    "loss.gan=wgan": "loss.gan=wgan: expected one of bce|hinge|lsgan|relativistic",
    "loss.gan=hinge loss.label_smoothing=0.1": "loss.label_smoothing=0.1: hinge has no target to smooth",
    "loss.diffaugment=colour": "loss.diffaugment=colour: expected",
    "model.variant=fc model.n_extra_g=2": "model.n_extra_g=2: model.variant=fc has no such layers; use",
    "model.variant=illustration model.n_extra_d=1": "model.n_extra_d=1: model.variant=illustration has no such layers",
    "loss.z=0.5": "loss.z=0.5: model.variant=dcgan has no decoder; use model.variant=illustration, or leave it out",
    "model.variant=fc loss.z=0": "loss.z=0: model.variant=fc has no decoder",
    "loss.penalty_every=16": "loss.penalty_every=16: there is no penalty; set loss.r1 or loss.r2, or leave it out",
    "run.early_stop=2": "run.early_stop=2: needs run.keep_best",
    "run.keep_best=kid,min": "run.keep_best=kid,min: KID is of sample.kid_features; set that too",
    "run.keep_best=kid,max sample.kid_features=random": "run.keep_best=kid,max: would keep the worst; use kid,min",
    "run.keep_best=fid,min sample.kid_features=random": "run.keep_best=fid,min: there is no such metric; use kid,min",
    "run.eval_every=0 sample.kid_features=random": "sample.kid_features=random: run.eval_every=0 never validates",
    "sample.kid_count=60": "sample.kid_count=60: there is no validation; set sample.kid_features, or leave it out",
    "sample.kid_features=random": "9 pictures, at least 50 are compared",
    "data.batch=64": "data.batch=64",
    "data.root=nowhere": "nowhere",
    "data.labels=nowhere.csv": "nowhere.csv",
}


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_one_line(faces, tmp_path, monkeypatch, capsys, words):
    monkeypatch.setattr(
        sys,
        "argv",
        ["train_dcgan.py", *TINY_DCGAN, f"data.root={faces}", f"run.dir={tmp_path / 'run'}", *words.split()],
    )
    with pytest.raises(SystemExit) as caught:
        door(main)
    line = capsys.readouterr().err
    assert line.startswith("error: ") and line.count("\n") == 1 and MISTAKES[words] in line
    assert caught.value.code in (1, 2) and not (tmp_path / "run").exists()


def test_broken_pictures_are_named_and_left_out(tiny_dcgan, faces, tmp_path, capsys):
    root = tmp_path / "pictures"
    root.mkdir()
    for i in range(4):
        Image.new("RGB", (70, 64), (60 * i, 0, 0)).save(root / f"{i}.png")
    (root / "broken.png").write_bytes((root / "0.png").read_bytes()[:40])
    (root / "empty.jpg").write_bytes(b"")
    train(tiny_dcgan("run", f"data.root={root}", "run.steps=1"))
    said = capsys.readouterr()
    assert "broken.png" in said.out + said.err and "empty.jpg" in said.out + said.err
    assert finite_run(tmp_path / "run", 1)
