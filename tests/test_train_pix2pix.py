"""train_pix2pix.py: exact resume, learning, grids equal to predictions."""

import math
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import TINY_PIX2PIX
from PIL import Image
from runs import final, log, same_training

import predict
from engine import checkpoint
from engine.errors import UserError
from train_pix2pix import train

ROOT = Path(__file__).parents[1]


# ---- exact resume


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run.precision=bf16", "model.z=3", "loss.mode_seeking=1", "optim.g_first=true", "optim.decay=cosine"],
        ["loss.gan=wgan-gp", "model.d_norm=instance", "optim.d_steps=2", "data.preprocess=crop"],
        ["loss.r1=1", "loss.penalty_every=3", "loss.diffaugment=color,translation,cutout", "loss.feature_matching=1"],
    ],
)
def test_a_run_stopped_and_resumed_equals_one_that_never_stopped(tiny_pix2pix, tmp_path, words):
    words = [*words, "run.eval_every=2", "run.keep_best=val_l1,min", "run.sample_every=3"]
    train(tiny_pix2pix("whole", *words))
    half = tmp_path / "whole" / "checkpoints" / "step_00000004.pt"
    (tmp_path / "cut" / "checkpoints").mkdir(parents=True)
    (tmp_path / "cut" / "checkpoints" / half.name).write_bytes(half.read_bytes())
    train(tiny_pix2pix("cut", *words, "data.workers=2"))
    assert same_training(final(tmp_path / "whole"), final(tmp_path / "cut"))
    assert [line["step"] for line in log(tmp_path / "whole") if "val_l1" in line] == [2, 4, 6]
    samples = sorted(path.name for path in (tmp_path / "whole" / "samples").iterdir())
    assert samples == ["index.html", "real.png", "step_00000003.png", "step_00000006.png"]


def test_another_network_is_refused_on_resume(tiny_pix2pix):
    train(tiny_pix2pix("run", "run.steps=2"))
    for word in ("data.size=128", "data.direction=AtoB", "model.norm=instance"):
        with pytest.raises(UserError, match=f"{word.split('=')[0]} was .* another network"):
            train(tiny_pix2pix("run", "run.steps=2", word))


def test_a_folder_in_which_another_process_trains_is_refused(tiny_pix2pix, edge_pairs, tmp_path):
    words = [
        *TINY_PIX2PIX,
        f"data.root={edge_pairs}",
        f"run.dir={tmp_path / 'run'}",
        "run.steps=100000",
        "run.save_every=100000",
    ]
    process = subprocess.Popen([sys.executable, ROOT / "train_pix2pix.py", *words], stdout=subprocess.DEVNULL)
    log_file, deadline = tmp_path / "run" / "log.jsonl", time.monotonic() + 120
    while not log_file.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    try:
        with pytest.raises(UserError, match="another process is training here"):
            train(tiny_pix2pix("run"))
    finally:
        process.kill()
        process.wait()
    (tmp_path / "run" / "checkpoints").mkdir(exist_ok=True)
    (tmp_path / "run" / "checkpoints" / "step_00000003.pt.part").write_bytes(b"cut")
    train(tiny_pix2pix("run"))
    assert not list((tmp_path / "run").rglob("*.part"))


def test_a_checkpoint_with_a_nan_is_passed_over(tiny_pix2pix, tmp_path, capsys):
    train(tiny_pix2pix("run", "run.steps=4"))
    newest = checkpoint.steps(tmp_path / "run")[-1]
    content = torch.load(newest, weights_only=True)
    next(iter(content["G_ema"].values())).view(-1)[0] = math.nan
    checkpoint.save(newest, content)
    with pytest.raises(UserError, match="weight G_ema.* is not finite"):
        predict.load_network(str(tmp_path / "run"), torch.device("cpu"))
    train(tiny_pix2pix("run"))
    assert "resumed" in capsys.readouterr().out and final(tmp_path / "run")["step"] == 6


# ---- learning


def test_it_overfits_one_pair(tiny_pix2pix, tmp_path):
    words = "data.limit=1 data.batch=1 data.preprocess=none data.augment=none model.width=16 model.d_width=8".split()  # noqa: SIM905
    words += [
        "model.dropout=0",
        "optim.g_lr=1e-3",
        "optim.d_lr=1e-3",
        "run.steps=250",
        "ema.half_life=0",
        "model.norm=instance",
    ]
    train(tiny_pix2pix("run", *words, "run.save_every=250"))
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
def test_pictures_of_training_equal_predicted_ones(tiny_pix2pix, edge_pairs, tmp_path, monkeypatch, words):
    train(tiny_pix2pix("run", *words, "run.sample_every=6"))
    grid = cells(np.asarray(Image.open(tmp_path / "run" / "samples" / "step_00000006.png")))
    samples = 3 if "model.z=4" in words else 1
    more = ["--samples", str(samples)] if samples > 1 else []
    for part, rows in (("train", grid[:2]), ("val", grid[2:])):
        output = tmp_path / part
        words = ["--device", "cpu", "--weights", tmp_path / "run", "--input", edge_pairs / part, "--output", output]
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, words), *more])
        predict.main()
        for row, source in zip(rows, sorted((edge_pairs / part).iterdir())[:2], strict=True):
            whole = np.asarray(Image.open(source))
            assert np.array_equal(row[0], whole[:, 64:]) and np.array_equal(row[-1], whole[:, :64])
            for k in range(samples):
                ending = "" if k == 0 else f"_{k + 1}"
                assert np.array_equal(row[1 + k], np.asarray(Image.open(output / f"{source.stem}{ending}.png")))
