"""scripts/study_spade.py: what it measures, and which checkpoints it refuses."""

import json
import sys

import numpy as np
import pytest
import torch
from torch import nn

from engine.errors import door
from options import seg, spade
from options.load import load
from scripts import study_spade

SIZE = "data.size=64"


def spade_options(*words: str) -> spade.SpadeOptions:
    return load(spade.SpadeOptions, [SIZE, *words], spade.DEFAULT_FILE)


def seg_options(*words: str) -> seg.SegOptions:
    return load(seg.SegOptions, [SIZE, *words], seg.DEFAULT_FILE)


class Painter(nn.Module):
    """Paints the asked colour into the hair, grey elsewhere."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def noise_shapes(self, height: int, width: int) -> list:
        return []

    def forward(self, m, c=None, noise=None, style=None):
        return 2 * (c + 0.5 * (1 - m[:, 2:3])) - 1


class HairSeer(nn.Module):
    """Takes everything for hair."""

    def forward(self, x):
        return torch.eye(5)[2].view(1, 5, 1, 1).expand(len(x), 5, *x.shape[2:])


def study(monkeypatch, tmp_path, spade_opt, seg_opt, *words: str) -> None:
    found = {"S": (Painter(), spade_opt, None), "L": (HairSeer(), seg_opt, None)}
    monkeypatch.setattr(study_spade, "load_network", lambda weights, device: found[weights])
    words = ["--weights", "S", "--seg", "L", "--output", str(tmp_path / "out"), *words]
    monkeypatch.setattr(sys, "argv", ["study_spade.py", *words])
    door(study_spade.main)


def test_a_perfect_painter_correlates_fully(monkeypatch, tmp_path, capsys):
    study(monkeypatch, tmp_path, spade_options(), seg_options(), "--count", "3")
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert np.allclose(results["correlation"], 1, atol=1e-3) and (results["count"], results["size"]) == (3, 64)
    assert 0 < results["miou"]["painted"] == results["miou"]["true"] < 0.2, "one class of five"
    out = capsys.readouterr().out
    assert "| 3 unseen labels, 64x64 |" in out and "painting: 3 pictures" in out
    assert (tmp_path / "out" / "grid.png").is_file()


REFUSED = {
    "a seg run painting": (seg_options(), seg_options(), "--weights: a checkpoint of seg, not of spade"),
    "a spade run judging": (spade_options(), spade_options(), "--seg: a checkpoint of spade, not of seg"),
    "no colour branch": (spade_options("data.color=false"), seg_options(), "--weights: it colours no hair"),
    "colours of a face": (spade_options("data.hair=face"), seg_options(), "--weights: it colours no hair"),
    "own classes": (
        spade_options("data.classes=hair,background,sky"),
        seg_options(),
        "--weights: its classes (data.classes) are not anime's",
    ),
    "own classes judging": (spade_options(), seg_options("data.classes=a,b"), "--seg: its classes (data.classes) are"),
    "not square": (spade_options("data.size=[64,128]"), seg_options(), "--weights: data.size=[64, 128]: drawn"),
    "another size": (spade_options(), seg_options("data.size=128"), "--seg: data.size=[128, 128], but --weights has"),
    "any size": (spade_options(), seg_options("data.size=native", "data.batch=1"), "--seg: data.size=native, but"),
}


@pytest.mark.parametrize(("spade_opt", "seg_opt", "words"), REFUSED.values(), ids=REFUSED)
def test_other_checkpoints_are_one_line(monkeypatch, tmp_path, capsys, spade_opt, seg_opt, words):
    with pytest.raises(SystemExit) as caught:
        study(monkeypatch, tmp_path, spade_opt, seg_opt)
    line = capsys.readouterr().err
    assert line.startswith(f"error: {words}") and line.count("\n") == 1 and caught.value.code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("count", ["1", "0", "-3"])
def test_a_correlation_of_one_is_one_line(monkeypatch, tmp_path, capsys, count):
    with pytest.raises(SystemExit) as caught:
        study(monkeypatch, tmp_path, None, None, "--count", count)
    assert f"error: --count {count}: a correlation needs 2 labels" in capsys.readouterr().err
    assert caught.value.code == 2
