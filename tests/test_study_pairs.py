"""scripts/study_pairs.py on tiny trainings: all of a table are trained, measured and shown, once."""

import json
import sys

import pytest
from cheap import cheap
from conftest import TINY_PIX2PIX, TINY_SPADE
from PIL import Image

from engine.errors import UserError
from engine.evaluation import measure_pairs
from scripts import study_pairs as study


@pytest.fixture
def ask(monkeypatch, drawn_spade, edge_pairs, tmp_path):
    """ask("--facades", DIR, ...): results.json of one step of tiny networks; drawn pictures stand for the real ones."""
    pix2pix, spade = " ".join(TINY_PIX2PIX), " ".join(TINY_SPADE)
    values = {
        "COMMON": "run.save_every=1",
        "HELD": {"facades": f"data.val={drawn_spade / 'train'}", "chimera": f"data.val={edge_pairs / 'train'}"},
        "TABLES": {
            "pix2pix, all": study.Table(
                "pix2pix", "chimera", f"{pix2pix} run.steps=1", {"plain": "", "R1": "loss.r1=1"}
            ),
            "spade, all": study.Table("spade", "facades", f"{spade} run.steps=2", {"patches": ""}),
        },
        "SHOWN": 2,
        "SIZE": 64,
    }
    for name, value in values.items():
        monkeypatch.setattr(study, name, value)
    monkeypatch.setattr(measure_pairs, "LEAST_COMPARED", 5)
    monkeypatch.setattr(measure_pairs, "extractor_of", cheap)
    monkeypatch.setattr(measure_pairs, "lpips_metric", lambda device: None)

    def call(*words: str) -> dict:
        monkeypatch.setattr(sys, "argv", ["study_pairs.py", "--output", str(tmp_path / "the out"), *words])
        study.main()
        return json.loads((tmp_path / "the out" / "results.json").read_text())

    return call


def test_everything_is_trained_measured_and_shown_once(ask, drawn_spade, edge_pairs, tmp_path, capsys, monkeypatch):
    folders = ["--chimera", str(edge_pairs / "val"), "--facades", str(drawn_spade / "val")]
    results = ask(*folders)
    assert {name: list(own) for name, own in results.items()} == {
        "pix2pix, all": ["plain", "R1"],
        "spade, all": ["patches"],
    }
    plain = results["pix2pix, all"]["plain"]
    said = capsys.readouterr().out
    assert f"| plain | {plain['l1']:.3f} | {plain['psnr']:.2f} | {plain['ssim']:.3f} | {plain['kid']:.3f} ±" in said
    assert plain["protocol"]["pictures"].startswith("5 of ") and plain["cpu_minutes"] >= 0
    assert Image.open(tmp_path / "the out" / "pix2pix_all.png").size == (90 + 2 * 66, 2 * 64 + 2)
    assert Image.open(tmp_path / "the out" / "spade_all.png").size == (90 + 2 * 66, 64)

    monkeypatch.setattr(study, "TRAIN", dict.fromkeys(study.TRAIN, lambda opt: pytest.fail("done before")))
    assert ask(*folders) == results == ask(*folders[:2]), "what the second leaves out stays"


def test_what_is_not_done_is_named(ask, edge_pairs, monkeypatch, capsys):
    monkeypatch.setattr(study, "TRAIN", dict.fromkeys(study.TRAIN, lambda opt: None))
    assert ask("--chimera", str(edge_pairs / "val")) == {"pix2pix, all": {}}
    assert "plain: not done yet" in capsys.readouterr().out


def test_without_a_data_set_there_is_nothing_to_do(ask, tmp_path):
    with pytest.raises(UserError, match="give --facades DIR, --chimera DIR or both"):
        ask()
    with pytest.raises(UserError, match="--chimera .*nowhere: no such folder; name the one with the pairs"):
        ask("--chimera", str(tmp_path / "nowhere"))
    assert not (tmp_path / "the out").exists()
