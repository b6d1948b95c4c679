"""KID in the validation of train_pix2pix.py and train_spade.py, of a cheap extractor and a handful of pictures."""

import sys
from functools import partial

import numpy as np
import pytest
import torch
from cheap import Levels, cheap
from PIL import Image
from runs import equal, final, finite_run, log, same_training
from test_evaluation import slow_kid

import train_pix2pix
import train_spade
from data.picture_io import to_levels
from engine import checkpoint
from engine.errors import UserError
from engine.evaluation import generative, validation
from models import build
from models.layers import predicting

KID = ("sample.kid_features=random", "run.eval_every=2", "run.keep_best=kid,min", "run.keep=9", "run.steps=4")


@pytest.fixture
def few(monkeypatch):
    """Five pictures are enough."""
    monkeypatch.setattr(generative, "LEAST_COMPARED", 5)
    monkeypatch.setattr(validation, "extractor_of", cheap)


@pytest.fixture(params=["pix2pix", "spade"])
def trained(request, edge_pairs, drawn_spade):
    """trained(NAME, "key=value", ...): trains tiny networks of a family with five validation pictures."""
    if request.param == "pix2pix":
        make, train, root = request.getfixturevalue("tiny_pix2pix"), train_pix2pix.train, edge_pairs
    else:
        make, train, root = request.getfixturevalue("tiny_spade"), train_spade.train, drawn_spade
    return lambda name, *words: train(make(name, f"data.root={root / 'val'}", f"data.val={root / 'train'}", *words))


def test_training_is_the_same_with_and_without_kid(trained, tmp_path, few):
    trained("with", *KID)
    trained("without", "run.steps=4", "run.eval_every=2")
    one, other = final(tmp_path / "with"), final(tmp_path / "without")
    assert all(equal(one[key], other[key]) for key in ("G", "D", "G_ema", "G_opt", "D_opt"))
    lines, others = ([line for line in log(tmp_path / name) if "val_l1" in line] for name in ("with", "without"))
    assert [line["val_l1"] for line in lines] == [line["val_l1"] for line in others]
    values = {line["step"]: line["kid"] for line in lines}
    assert values.keys() == {2, 4} and not any("kid" in line for line in others)
    best = checkpoint.load(tmp_path / "with" / "checkpoints" / "best.pt")["best"]
    assert best["value"] == min(values.values()) and values[best["step"]] == best["value"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_validated_run_resumes_exactly(trained, tmp_path, few, precision):
    words = (*KID, f"run.precision={precision}")
    trained("whole", *words)
    (tmp_path / "cut" / "checkpoints").mkdir(parents=True)
    for name in ("step_00000002.pt", "best.pt"):
        half = tmp_path / "whole" / "checkpoints" / name
        if checkpoint.load(half)["step"] == 2:
            (tmp_path / "cut" / "checkpoints" / name).write_bytes(half.read_bytes())
    trained("cut", *words)
    assert same_training(final(tmp_path / "whole"), final(tmp_path / "cut")) and finite_run(tmp_path / "cut", 4)
    kids = [[line["kid"] for line in log(tmp_path / name) if "kid" in line] for name in ("whole", "cut")]
    assert kids[0][-1:] == kids[1], "of the last step"


@pytest.mark.parametrize("channels", [1, 3])
def test_kid_is_of_all_validation_pictures_of_8_bits(tiny_pix2pix, edge_pairs, tmp_path, few, channels):
    words = ("run.steps=2", "ema.half_life=0", f"model.out_channels={channels}", "optim.g_lr=0.01")
    opt = tiny_pix2pix("run", f"data.root={edge_pairs / 'val'}", f"data.val={edge_pairs / 'train'}", *KID, *words)
    train_pix2pix.train(opt)
    G, features = build.pix2pix_generator(opt), {"fake": [], "real": []}
    G.load_state_dict(final(tmp_path / "run")["G"])
    for path in sorted((edge_pairs / "train").iterdir()):
        picture, edges = (Image.open(path).crop((left, 0, left + 64, 64)) for left in (0, 64))
        with torch.no_grad(), predicting(G, "batch"):
            fake = to_levels(G(torch.from_numpy(np.array(edges)).permute(2, 0, 1)[None] / 127.5 - 1))
        real = torch.from_numpy(np.array(picture.convert("L").convert("RGB") if channels == 1 else picture))
        for name, x in (("fake", fake.expand(1, 3, 64, 64)), ("real", real.permute(2, 0, 1)[None])):
            features[name].append(Levels()(x)[0].double().numpy())
    expected = slow_kid(*(np.stack(features[name]) for name in ("real", "fake")), paired=True)
    (found,) = [line["kid"] for line in log(tmp_path / "run") if "kid" in line]
    assert found == pytest.approx(expected, rel=1e-5)


def test_too_few_pictures_or_no_torchmetrics_end_before_training(trained, tmp_path, monkeypatch):
    run = partial(trained, "run", *KID)
    with pytest.raises(UserError, match="sample.kid_features=random: validation: 5 pictures, at least 50 are compared"):
        run()
    with pytest.raises(UserError, match="sample.kid_features=random: run.eval_every=0 never validates; set both or"):
        run("run.keep_best=none", "run.eval_every=0")
    with pytest.raises(UserError, match="run.keep_best=kid,min: KID is of sample.kid_features; set that too"):
        run("sample.kid_features=none")
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(UserError, match="sample.kid_features=random: torchmetrics is not installed: pip install"):
        run()
    assert not (tmp_path / "run" / "checkpoints").exists()
