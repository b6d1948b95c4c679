"""train_pix2pix.py with its options, by pairwise cover."""

import math
import os
import sys
from pathlib import Path

import pytest
from pairwise import all_pairs, cover, pairs_of, sample
from runs import final, log

from train_pix2pix import main, train

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
    "loss.r1": [0, 1],
    "loss.diffaugment": ["none", "color,translation,cutout"],
}
MORE = int(os.environ.get("ATELIER_MORE", "0"))  # make test-more
CASES = cover(list(FACTORS.values()))


def test_the_cases_cover_every_pair_of_values():
    assert len(CASES) <= 24
    assert set().union(*map(pairs_of, CASES)) == all_pairs(list(FACTORS.values()))


def train_case(tiny_pix2pix, folder: Path, case: tuple) -> None:
    chosen = dict(zip(FACTORS, case, strict=True))
    z = chosen.pop("z")
    if chosen["loss.gan"] == "wgan-gp":
        chosen["loss.r1"] = 0  # refused: it has a penalty of its own
    words = [f"{key}={value}" for key, value in chosen.items()]
    d_norm = "instance" if chosen["loss.gan"] == "wgan-gp" and chosen["model.norm"] == "batch" else chosen["model.norm"]
    words += [f"model.d_norm={d_norm}", "model.blocks=1", "run.steps=3", "run.eval_every=3", "run.sample_every=3"]
    if z != "none":
        words += ["model.z=4", f"model.z_at={z}", "loss.mode_seeking=1"]
    train(tiny_pix2pix("run", *words))
    values = [v for line in log(folder / "run") for v in line.values()]
    assert final(folder / "run")["step"] == 3 and values and all(math.isfinite(v) for v in values)


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
def test_combinations_of_options_train(tiny_pix2pix, tmp_path, case):
    train_case(tiny_pix2pix, tmp_path, case)


@pytest.mark.parametrize("case", sample(list(FACTORS.values()), MORE), ids=lambda case: "-".join(map(str, case)))
def test_many_combinations_of_options_train(tiny_pix2pix, tmp_path, case):
    train_case(tiny_pix2pix, tmp_path, case)


@pytest.mark.parametrize(
    "words",
    [
        "model.discriminator=pixel loss.feature_matching=10 model.in_channels=1"
        " loss.r1=1 loss.penalty_every=2 optim.d_steps=2",
        "model.num_discriminators=3 model.d_layers=2 loss.feature_matching=10 model.out_channels=1"
        " loss.diffaugment=color,cutout",
        "model.generator=resnet model.blocks=2 data.size=[20,32] model.d_layers=2 data.preprocess=scale_width",
        "model.init=orthogonal sample.dropout=true data.size=[64,128] data.preprocess=scale_width_and_crop",
        "model.init=xavier data.load_size=80 optim.decay_start=1 sample.norm_stats=running data.val_share=0",
    ],
)
def test_further_options_train(tiny_pix2pix, tmp_path, words):
    train(tiny_pix2pix("run", "run.steps=2", "run.eval_every=2", "run.sample_every=2", *words.split()))
    assert final(tmp_path / "run")["step"] == 2


def test_epochs_count_the_pictures_that_d_takes(tiny_pix2pix, capsys, tmp_path):
    train(tiny_pix2pix("run", "run.epochs=4", "optim.d_steps=2"))  # 4 passes over 5 pictures, 2 x 2 in a step
    assert final(tmp_path / "run")["step"] == 5 and "run.epochs=4: 5 steps" in capsys.readouterr().out


def test_dry_run_prints_sizes_and_touches_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train_pix2pix.py", "--dry-run"])
    main()
    out = capsys.readouterr().out
    assert "G: 54.414 M parameters" in out and "D: 2.769 M parameters" in out
    assert not list(tmp_path.iterdir())
