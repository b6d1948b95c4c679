"""scripts/study_dcgan.py on tiny trainings: what it measures, once, and what it shows."""

import json
import sys

import pytest
import torch
from cheap import cheap
from conftest import TINY_DCGAN
from PIL import Image

from engine.errors import UserError
from scripts import study_dcgan as study

FEW = "data.limit=20 run.steps=2 run.save_every=1 run.keep=2".split()  # noqa: SIM905
MANY = "run.steps=1 run.save_every=1".split()  # noqa: SIM905


@pytest.fixture
def ask(monkeypatch, many_faces, tmp_path):
    """ask("--only", ...): what results.json then holds."""
    few, lessons = {"none": [], "DiffAugment": ["loss.diffaugment=color"]}, {"96 pixels": ["data.size=96"]}
    settings = {name: [*FEW, *words] for name, words in few.items()}
    settings |= {name: [*MANY, *words] for name, words in lessons.items()}
    values = {"COMMON": TINY_DCGAN, "FEW": FEW, "FEW_FACES": few, "LESSONS": lessons, "SETTINGS": settings}
    for name, value in {**values, "GENERATED": 30, "extractor_of": cheap}.items():
        monkeypatch.setattr(study, name, value)

    def call(*words: str) -> dict:
        given = ["study_dcgan.py", "--data", str(many_faces), "--output", str(tmp_path), *words]
        monkeypatch.setattr(sys, "argv", given)
        study.main()
        return json.loads((tmp_path / "results.json").read_text())

    return call


def test_everything_is_trained_and_measured_once(ask, tmp_path, capsys, monkeypatch):
    results = ask("--only", "none", "96 pixels")
    assert results["kid"].keys() == {"none", "96 pixels"} and results["features"] == "cheap, random"
    assert results["kid"]["none"].keys() == {"1", "2"} and results["kid"]["96 pixels"].keys() == {"1"}
    assert results["kid"]["none"]["2"].keys() == {study.SEEN, study.UNSEEN}
    assert results["kid"]["96 pixels"]["1"].keys() == {study.ANY} and results["floor"].keys() == {
        *(study.SEEN, study.UNSEEN, study.ANY)
    }
    said = capsys.readouterr().out
    mean, std = results["kid"]["none"]["2"][study.UNSEEN]
    assert f"| none | 2 | {study.shown(results['kid']['none']['2'][study.SEEN])} | {mean:.3f} ± {std:.3f} |" in said
    assert "| DiffAugment |" not in said and min(Image.open(tmp_path / "kid.png").size) > 100
    assert Image.open(tmp_path / "faces.png").size == (180 + study.SHOWN * 66, 2 * 64 + 2)

    def never(*_):
        raise AssertionError("done before")

    with monkeypatch.context() as patch:
        patch.setattr(study, "train", never)
        patch.setattr(study, "Judge", never)
        assert ask("--only", "none", "96 pixels") == results
    assert ask()["kid"].keys() == {"none", "96 pixels", "DiffAugment"}


def test_the_sets_do_not_meet(ask, many_faces, monkeypatch):
    monkeypatch.setattr(study, "main_axes", lambda features, most: lambda x: x)
    sets = study.Judge(many_faces).sets
    assert [len(x) for x in sets.values()] == [20, 30, 30]
    seen, unseen = ({tuple(row) for row in sets[name].tolist()} for name in (study.SEEN, study.UNSEEN))
    assert len(seen) == 20 and len(unseen) == 30 and not seen & unseen
    monkeypatch.setattr(study, "GENERATED", 40)
    with pytest.raises(UserError, match="52 faces; the study needs 60"):
        study.Judge(many_faces)
    monkeypatch.setattr(study, "COMMON", [*study.COMMON, "data.batch=64"])  # not of the study's options: not its remedy
    with pytest.raises(UserError, match="52 faces; the study needs 60"):
        study.faces_of(many_faces)


def test_too_few_faces_show_before_the_trainings(ask, monkeypatch, tmp_path):
    monkeypatch.setattr(study, "GENERATED", 40)
    monkeypatch.setattr(study, "train", lambda opt: pytest.fail("trained"))
    with pytest.raises(UserError, match="52 faces; the study needs 60"):
        ask("--only", "none")
    assert not list(tmp_path.iterdir())


def test_what_another_process_trains_is_not_measured(ask, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(study, "train_unless_taken", lambda train, opt: None)
    monkeypatch.setattr(study, "measure_all", lambda *_: pytest.fail("measured"))
    with pytest.raises(FileNotFoundError):  # no results either
        ask("--only", "none")
    assert "none: not done yet" in capsys.readouterr().out and not (tmp_path / "results.json").exists()


def test_larger_pictures_are_measured_at_64():
    x = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert study.at_64(x) is x
    flat = study.at_64(torch.full((1, 3, 96, 96), 200, dtype=torch.uint8))
    assert flat.shape == (1, 3, 64, 64) and flat.unique().tolist() == [200]
