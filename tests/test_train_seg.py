"""train_seg.py: exact resume, signals, overfitting, combinations of options, bad input."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import tiny_words
from PIL import Image
from runs import final, same_training
from torch import nn

from engine import checkpoint
from engine.errors import UserError
from losses.segmentation import cross_entropy
from models.seg_discriminator import FCNDiscriminator
from options.load import load
from options.seg import DEFAULT_FILE, SegOptions
from train_seg import labeled_losses, main, train

ROOT = Path(__file__).parents[1]


# ---- exact resume


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_stopped_and_resumed_equals_one_that_never_stopped(tiny, tmp_path, precision):
    words = [f"run.precision={precision}", "run.eval_every=2", "run.keep_best=miou,max", "run.sample_every=3"]
    train(tiny("whole", *words))
    train(tiny("cut", *words, "run.steps=4"))
    # poly decay and the semi-supervised start depend on run.steps, so stop a run of 6 steps, not one of 4
    for path in (tmp_path / "cut" / "checkpoints").iterdir():
        path.unlink()
    half = tmp_path / "whole" / "checkpoints" / "step_00000004.pt"
    (tmp_path / "cut" / "checkpoints" / half.name).write_bytes(half.read_bytes())
    train(tiny("cut", *words, "data.workers=2"))
    assert same_training(final(tmp_path / "whole"), final(tmp_path / "cut"))
    lines = [json.loads(line) for line in (tmp_path / "whole" / "log.jsonl").open()]
    terms = [line for line in lines if "ce" in line]
    assert [line["step"] for line in terms] == [1, 2, 3, 4, 5, 6]
    assert all({"ce", "D", "adv", "lr", "images_per_s"} <= line.keys() for line in terms)
    assert [("semi_st" in line) for line in terms] == [False, False, True, True, True, True]
    assert [line["step"] for line in lines if "miou" in line] == [2, 4, 6]
    samples = sorted(path.name for path in (tmp_path / "whole" / "samples").iterdir())
    assert samples == ["index.html", "real.png", "step_00000003.png", "step_00000006.png"]


def test_kill_minus_nine_and_the_same_command(drawn, tmp_path):
    words = tiny_words(drawn, tmp_path / "killed", "run.steps=60", "data.workers=2", "run.save_every=5")
    command = [sys.executable, ROOT / "train_seg.py", *words]
    env = os.environ | {"OMP_NUM_THREADS": "1"}  # as many threads as here: sums are taken in the same order
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=tmp_path, env=env)
    deadline = time.monotonic() + 120
    while not checkpoint.steps(tmp_path / "killed") and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.steps(tmp_path / "killed"), process.stdout.read()
    train(load(SegOptions, words, DEFAULT_FILE))
    whole = tiny_words(drawn, tmp_path / "whole", "run.steps=60", "run.save_every=5")
    train(load(SegOptions, whole, DEFAULT_FILE))
    assert same_training(final(tmp_path / "killed"), final(tmp_path / "whole"))


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs process groups")
def test_a_signal_to_the_whole_group_saves_and_exits(drawn, tmp_path):
    """As `timeout` and schedulers send it: the loader's workers must not fall over first."""
    words = tiny_words(drawn, tmp_path / "run", "run.steps=100000", "data.workers=2", "run.save_every=100000")
    process = subprocess.Popen(
        [sys.executable, ROOT / "train_seg.py", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=tmp_path,
        start_new_session=True,
    )
    log, deadline = tmp_path / "run" / "log.jsonl", time.monotonic() + 120
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGTERM)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 143, said
    assert b"stopped by SIGTERM" in said and final(tmp_path / "run")["step"] > 0


# ---- learning


def test_it_overfits_one_batch(tiny, tmp_path):
    words = ["data.limit=2", "data.augment=none", "run.steps=150", "loss.semi_start=1000", "optim.g_lr=1e-2"]
    train(tiny("run", *words, "model.dropout=0", "model.conv_norm=none", "model.width=8", "run.save_every=150"))
    ce = [json.loads(line)["ce"] for line in (tmp_path / "run" / "log.jsonl").open()]
    assert ce[-1] < 0.15 < ce[0]


def test_supervised_only_is_the_cross_entropy_alone():
    G, loss = nn.Conv2d(3, 5, 1), load(SegOptions, [], DEFAULT_FILE).loss
    x, y = torch.rand(2, 3, 8, 8), torch.randint(0, 5, (2, 8, 8))
    terms = labeled_losses(G, None, x, y, loss)
    assert list(terms) == ["ce"]
    assert torch.equal(terms["ce"], cross_entropy(G(x).log_softmax(1), y))


def test_ignored_pixels_reach_neither_the_loss_nor_d():
    G, loss = nn.Conv2d(3, 5, 1), load(SegOptions, [], DEFAULT_FILE).loss
    D = FCNDiscriminator(5, 4, conv_norm="none").eval()
    x, y = torch.rand(1, 3, 32, 32), torch.randint(0, 5, (1, 32, 32))
    y[:, :, 20:] = 255
    before = labeled_losses(G, D, x, y, loss)
    x[:, :, :, 20:] = 0.5
    after = labeled_losses(G, D, x, y, loss)
    assert all(torch.equal(before[name], after[name]) for name in ("ce", "adv", "D"))


# ---- options, by pairwise cover


@pytest.mark.parametrize(
    "words",
    [
        "generator=resnet_deeplab encoder=resnet18 frozen_bn=true | gan=lsgan dice=1 | sample.norm_stats=batch",
        "generator=resnet_deeplab encoder=resnet18 depth=layer4 norm=instance | gan=hinge lovasz=1",
        "generator=dilated_fcn norm=none | gan=hinge lovasz=0.5 | data.augment=color,scale,crop",
        "generator=dilated_fcn conv_norm=none | gan=lsgan focal=1 ce_mean=all | ema.half_life=0",
        "generator=unet | gan=bce class_weights=2,1,1,1,1 | optim.backbone_factor=0.1 optim.poly_start=1",
        "generator=unet norm=instance | adv=0 semi_adv=0 semi_st=0 | data.unlabeled=none",
        "generator=unet | adv=0 | data.size=[40,24] data.augment=none data.unlabeled_limit=2 data.limit=3",
    ],
)
def test_combinations_of_options_train(tiny, tmp_path, words):
    model, loss, others = ([*part.split()] for part in f"{words} | ".split("|")[:3])
    words = [*(f"model.{word}" for word in model), *(f"loss.{word}" for word in loss), *others]
    train(tiny("run", "model.aspp_width=8", "run.steps=3", "run.eval_every=3", "loss.semi_start=1", *words))
    assert final(tmp_path / "run")["step"] == 3


def camvid_like(folder: Path, count: int) -> Path:
    """Pictures of 45x30 with grey id labels: 3 classes, 11 ignored."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (30, 45, 3), np.uint8)).save(folder / "images" / f"{i}.jpg")
        Image.fromarray(rng.choice(np.array([0, 1, 2, 11], np.uint8), (30, 45))).save(folder / "labels" / f"{i}.png")
    return folder


OTHER = [
    "data.size=native",
    "data.augment=mirror",
    "data.classes=[sky, road, tree]",
    "data.ignore=11",
    "data.unlabeled=none",
]


def test_other_classes_at_native_size_by_options_alone(tiny, tmp_path):
    camvid_like(tmp_path / "set" / "train", 4), camvid_like(tmp_path / "set" / "val", 2)
    train(tiny("run", f"data.root={tmp_path / 'set'}", *OTHER, "run.eval_every=6"))
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert {"miou", "iou/sky", "iou/road", "iou/tree"} <= last.keys()


def test_native_pictures_of_different_sizes_need_batch_one(tiny, tmp_path):
    root = camvid_like(tmp_path / "set", 4)
    Image.new("RGB", (20, 20)).save(root / "images" / "odd.png")
    Image.new("L", (20, 20)).save(root / "labels" / "odd.png")
    words = [f"data.root={root}", *OTHER, "data.val_share=0"]
    with pytest.raises(UserError, match="data.size=native: .* use data.batch=1"):
        train(tiny("run", *words))
    train(tiny("run", *words, "data.batch=1", "run.steps=5"))


# ---- a user's mistakes


def broken(root: Path, what: str) -> None:
    image, label = root / "images" / "1.jpg", root / "labels" / "1.png"
    if what == "partner":
        label.unlink()
    elif what == "size":
        Image.new("L", (20, 20)).save(label)
    elif what == "id":
        Image.fromarray(np.full((30, 45), 7, np.uint8)).save(label)
    elif what == "cut":
        image.write_bytes(image.read_bytes()[:200])
    elif what == "empty":
        image.write_bytes(b"")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("partner", ["1.jpg", "no partner"]),
        ("size", ["1.jpg", "45x30", "20x20"]),
        ("id", ["1.png", "id 7", "data.ignore"]),
        ("cut", ["1.jpg"]),
        ("empty", ["1.jpg", "0 bytes"]),
    ],
)
def test_a_broken_file_is_named_before_training(tiny, tmp_path, what, words):
    root = camvid_like(tmp_path / "set", 4)
    broken(root, what)
    with pytest.raises(UserError) as caught:
        train(tiny("run", f"data.root={root}", *OTHER))
    line = str(caught.value)
    assert "\n" not in line and all(word in line for word in words), line
    assert not (tmp_path / "run").exists(), "nothing half-written"


def test_a_run_of_another_family_is_refused(tiny, tmp_path):
    content = {"family": "dcgan", "step": 1, "options": {}}
    checkpoint.save(tmp_path / "run" / "checkpoints" / "step_00000001.pt", content)
    with pytest.raises(UserError, match="family dcgan, not seg"):
        train(tiny("run"))


def test_dry_run_prints_sizes_and_touches_nothing(drawn, tmp_path, monkeypatch, capsys):
    words = tiny_words(drawn, tmp_path / "run", "model.width=64", "model.d_width=64", "--dry-run")
    monkeypatch.setattr(sys, "argv", ["train_seg.py", *words])
    main()
    out = capsys.readouterr().out
    assert "G: 25.048 M parameters" in out and "D: 1.560 M parameters" in out
    assert not (tmp_path / "run").exists()


def test_the_script_says_a_mistake_in_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, ROOT / "train_seg.py", "run.stesp=3"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == "error: command line: unknown key run.stesp; did you mean run.steps?\n"
