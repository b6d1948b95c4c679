"""scripts/evaluate.py on tiny checkpoints of the four families, and train_dcgan.py validated by KID."""

import json
import shutil
import sys
import urllib.error
from functools import partial

import numpy as np
import pytest
import torch
from cheap import cheap
from PIL import Image
from runs import equal, final, log, same_training

import train_dcgan
import train_pix2pix
import train_seg
import train_spade
from engine import checkpoint
from engine.errors import UserError, door
from engine.evaluation import measure_dcgan, measure_pairs, validation
from scripts import evaluate


@pytest.fixture
def cheaply(monkeypatch):
    for module in (measure_dcgan, measure_pairs, validation):
        monkeypatch.setattr(module, "extractor_of", cheap)


@pytest.fixture(autouse=True)
def no_downloads(monkeypatch):
    import torchmetrics.image.lpip as theirs

    def fail(_):
        raise urllib.error.URLError("offline")

    monkeypatch.setattr(theirs, "LearnedPerceptualImagePatchSimilarity", fail)


@pytest.fixture
def ask(monkeypatch, tmp_path):
    """ask("--weights", ...): the JSON that scripts/evaluate.py writes."""

    def call(*words):
        file = tmp_path / "numbers.json"
        monkeypatch.setattr(sys, "argv", ["evaluate.py", *map(str, words), "--device", "cpu", "--json", str(file)])
        evaluate.main()
        return json.loads(file.read_text())

    return call


# ---- the four families


def test_seg(tiny, drawn, tmp_path, ask, capsys):
    train_seg.train(tiny("run", "run.steps=2", "run.eval_every=2"))
    words = ["--weights", tmp_path / "run", "--data", drawn]
    trained = log(tmp_path / "run")[-1]
    found = ask(*words, "--at", "network", "--batch", 2)["numbers"]
    assert {key: found[key] for key in ("miou", "pixel_accuracy", "iou/hair")} == pytest.approx(
        {key: trained[key] for key in ("miou", "pixel_accuracy", "iou/hair")}, rel=1e-6
    ), "as validation in training"
    found = ask(*words, "--fit", "tile", "--flip", "--scales", "0.75,1", "--output", tmp_path / "out")
    said = capsys.readouterr().out
    assert np.array(found["numbers"]["confusion"]).sum() == 3 * 32 * 32
    assert found["protocol"]["pictures"] == f"3 of {drawn} (val/)"
    assert "fit tile, scales 0.75, 1.0, mirrored too" in found["protocol"]["network"]
    assert all(words in said for words in found["protocol"].values())
    assert f"| miou | {found['numbers']['miou']:.4g} |" in said and "| hair |" in said
    assert (tmp_path / "out" / "confusion.png").is_file()


@pytest.mark.parametrize("z", [0, 3])
def test_pix2pix(tiny_pix2pix, edge_pairs, tmp_path, ask, capsys, z):
    train_pix2pix.train(tiny_pix2pix("run", "run.steps=2", "run.eval_every=2", f"model.z={z}"))
    found = ask("--weights", tmp_path / "run", "--data", edge_pairs, "--batch", 1 + z)
    assert found["numbers"]["l1"] == pytest.approx(log(tmp_path / "run")[-1]["val_l1"], abs=2 / 255)
    assert 0 < found["numbers"]["psnr"] < 40 and found["numbers"].keys() == {"l1", "psnr", "ssim"}
    assert found["protocol"]["kid, fid"] == "left out: 2 pictures, fewer than 50"
    assert "note: LPIPS is left out" in capsys.readouterr().out


@pytest.mark.parametrize("words", [[], ["data.color=false", "sample.norm_stats=batch"]])
def test_spade(tiny_spade, drawn_spade, tmp_path, ask, monkeypatch, cheaply, words):
    monkeypatch.setattr(measure_pairs, "LEAST_COMPARED", 5)
    train_spade.train(tiny_spade("run", "run.steps=1", "run.eval_every=1", *words))
    found = ask("--weights", tmp_path / "run", "--data", drawn_spade, "--split", "train", "--features", "random")
    assert found["protocol"]["features"] == "cheap, random"
    assert found["protocol"]["pictures"] == f"5 of {drawn_spade} (all but the validation pictures)"
    assert {"l1", "kid", "kid_std", "kid_real_real", "fid", "precision", "recall"} <= found["numbers"].keys()
    found = ask("--weights", tmp_path / "run", "--data", drawn_spade, "--features", "random")["numbers"]
    assert found["l1"] == pytest.approx(log(tmp_path / "run")[-1]["val_l1"], abs=2 / 255)


def test_dcgan(tiny_dcgan, many_faces, tmp_path, ask, capsys, cheaply):
    train_dcgan.train(tiny_dcgan("run", "run.steps=1"))
    words = ["--weights", tmp_path / "run", "--data", many_faces, "--features", "random"]
    found = ask(*words, "--limit", 50)
    assert found["numbers"].keys() == {
        *("kid", "kid_std", "kid_real_real", "kid_real_real_std", "fid", "precision", "recall")
    }
    assert found["numbers"]["fid"] > 0 and found["numbers"]["kid_real_real_std"] > 0
    protocol, said = found["protocol"], capsys.readouterr().out
    assert protocol["pictures"] == f"50 generated, seed 0; 50 real of {many_faces}"
    assert "subsets of 25" in protocol["kid"] and "biased upwards" in protocol["fid"]
    assert all(words in said for words in protocol.values()) and "| kid | " in said and " ± " in said


# ---- mistakes

MISTAKES = {
    "--count 20": "--count: 20 pictures, at least 50 are compared",
    "--count 0": "argument --count: 0: expected a whole number from 1 to ",
    "--seed 99999999999999999999": "argument --seed: 99999999999999999999: expected a whole number from 0 to ",
    "--json .": ".: is a folder; name a file",
    "--data drawn": "--data drawn: no such folder or zip",
    "--limit 30": "30 pictures, at least 50 are compared",
    "--flip": "--flip: is for seg, but the checkpoint is of dcgan; leave it out",
    "--scales 1,0": "argument --scales: 1,0: expected numbers from 0.1 to 8",
    "--scales nan": "argument --scales: nan: expected numbers from 0.1 to 8",
    "--features nothing": "--features nothing: expected inception, random, or a dcgan run folder or checkpoint",
    "--split test": "has no test/; leave it out",
}


@pytest.fixture(scope="module")
def trained(many_faces, tmp_path_factory):
    """A dcgan run of one step."""
    from conftest import TINY_DCGAN

    from options import dcgan
    from options.load import load

    folder = tmp_path_factory.mktemp("trained") / "run"
    words = [*TINY_DCGAN, f"data.root={many_faces}", f"run.dir={folder}", "run.steps=1", "data.cache=ram"]
    train_dcgan.train(load(dcgan.DcganOptions, words, dcgan.DEFAULT_FILE))
    return folder


@pytest.mark.parametrize("words", MISTAKES)
def test_mistakes_are_one_line(trained, many_faces, monkeypatch, capsys, words):
    defaults = [] if "--features" in words else ["--features", str(trained)]
    given = ["--weights", str(trained), "--data", str(many_faces), *defaults, *words.split()]
    monkeypatch.setattr(sys, "argv", ["evaluate.py", *given])
    with pytest.raises(SystemExit) as caught:
        door(evaluate.main)
    lines = capsys.readouterr().err.strip().splitlines()
    assert MISTAKES[words] in lines[-1] and caught.value.code in (1, 2)
    assert len(lines) == 1 or lines[0].startswith("usage: ")


def test_the_training_pictures_of_a_set_of_parts_are_named(trained, many_faces, tmp_path, ask, cheaply):
    (tmp_path / "set" / "train").mkdir(parents=True)
    for path in many_faces.iterdir():
        shutil.copy(path, tmp_path / "set" / "train")
    found = ask("--weights", trained, "--data", tmp_path / "set", "--features", "random")
    assert found["protocol"]["pictures"].endswith(f"52 real of {tmp_path / 'set' / 'train'}")


def test_labels_without_a_class_have_no_miou(tiny, root, tmp_path, ask):
    train_seg.train(tiny("run", "run.steps=1"))
    for path in (root / "labels").iterdir():
        Image.new("L", (24, 32), 255).save(path)
    with pytest.raises(UserError, match="no pixel of 3 labels has a class"):
        ask("--weights", tmp_path / "run", "--data", root)


# ---- in training: train_dcgan.py

KID = ("sample.kid_features=random", "sample.kid_count=50", "run.eval_every=2", "run.keep_best=kid,min", "run.keep=9")


def test_training_is_the_same_with_and_without_validation(tiny_dcgan, many_faces, tmp_path, cheaply):
    root = f"data.root={many_faces}"
    train_dcgan.train(tiny_dcgan("with", root, *KID))
    train_dcgan.train(tiny_dcgan("without", root))
    one, other = final(tmp_path / "with"), final(tmp_path / "without")
    assert all(equal(one[key], other[key]) for key in ("G", "D", "G_ema", "G_opt", "D_opt"))
    values = {line["step"]: line["kid"] for line in log(tmp_path / "with") if "kid" in line}
    assert values.keys() == {2, 4}
    best = checkpoint.load(tmp_path / "with" / "checkpoints" / "best.pt")["best"]
    assert best["value"] == min(values.values()) and values[best["step"]] == best["value"]


def test_a_validated_run_resumes_exactly(tiny_dcgan, many_faces, tmp_path, cheaply):
    root = f"data.root={many_faces}"
    train_dcgan.train(tiny_dcgan("whole", root, *KID))
    for name in ("step_00000002.pt", "best.pt"):
        half = tmp_path / "whole" / "checkpoints" / name
        (tmp_path / "cut" / "checkpoints").mkdir(parents=True, exist_ok=True)
        if name != "best.pt" or checkpoint.load(half)["step"] == 2:
            (tmp_path / "cut" / "checkpoints" / name).write_bytes(half.read_bytes())
    train_dcgan.train(tiny_dcgan("cut", root, *KID))
    assert same_training(final(tmp_path / "whole"), final(tmp_path / "cut"))
    kids = [[line["kid"] for line in log(tmp_path / name) if "kid" in line] for name in ("whole", "cut")]
    assert kids[0][-1] == kids[1][-1]


def test_training_measures_as_the_script_does(tiny_dcgan, many_faces, tmp_path, ask, cheaply, monkeypatch):
    """The same pictures are made; KID differs only by the subsets."""
    measured = []
    for name in ("kid_of", "compare"):
        function = getattr(measure_dcgan, name)
        keep = partial(
            lambda function, real, fake, *more: measured.append(fake) or function(real, fake, *more), function
        )
        monkeypatch.setattr(measure_dcgan, name, keep)
    train_dcgan.train(tiny_dcgan("run", f"data.root={many_faces}", *KID[:-1], "optim.g_lr=0.01"))
    checkpoint.find(tmp_path / "run").unlink()  # the best one: the script takes the newest
    by_script = ask("--weights", tmp_path / "run", "--data", many_faces, "--count", 50, "--features", "random")
    by_training = [line["kid"] for line in log(tmp_path / "run") if "kid" in line][-1]
    assert by_script["numbers"]["kid"] == pytest.approx(by_training, abs=3 * by_script["numbers"]["kid_std"])
    assert torch.equal(measured[-2], measured[-1]) and len(measured[-1]) == 50


def test_early_stop_by_kid(tiny_dcgan, many_faces, tmp_path, cheaply, monkeypatch):
    monkeypatch.setattr(measure_dcgan, "kid_of", lambda *_: 1.0)
    words = ("run.steps=9", "run.eval_every=1", "run.early_stop=2")
    train_dcgan.train(tiny_dcgan("run", f"data.root={many_faces}", *KID, *words))
    assert final(tmp_path / "run")["step"] == 3


def test_too_few_faces_or_no_torchmetrics_end_before_training(tiny_dcgan, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="sample.kid_features=random: .*: 9 pictures, at least 50 are compared"):
        train_dcgan.train(tiny_dcgan("run", *KID))
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(UserError, match="sample.kid_features=random: torchmetrics is not installed: pip install"):
        train_dcgan.train(tiny_dcgan("run", *KID))
    assert not (tmp_path / "run" / "checkpoints").exists() and torch.is_grad_enabled()
