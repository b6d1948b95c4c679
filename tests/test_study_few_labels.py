"""scripts/study_few_labels.py: its trainings are whole, resumable, shared between processes, and tabled."""

import json
import sys

import pytest
from PIL import Image
from test_train_seg import camvid_like

from engine.errors import UserError
from scripts import study_few_labels as study


@pytest.fixture
def small(monkeypatch, tmp_path):
    """small("WORD", ...): the study with one step, few and tiny pictures, in tmp_path/out."""
    monkeypatch.setattr(study, "STEPS", {"drawn": 1, "camvid": 1})
    monkeypatch.setattr(study, "SEEDS", {"drawn": (0, 1), "camvid": (0,)})
    monkeypatch.setattr(study, "LABELS", {"drawn": ("2",), "camvid": ("1/2", "all")})
    monkeypatch.setattr(study, "DRAWN", dict(labeled=3, unlabeled=2, val=2, size=32))
    monkeypatch.setattr(study, "SMALL", study.SMALL.replace("width=16", "width=4"))
    words = "data.batch=2 data.augment=mirror loss.semi_start=0"
    camvid = f"{words} data.size=32,32 data.ignore=11 data.classes=sky,road,tree"
    monkeypatch.setattr(study, "WORDS", {"drawn": f"{words} data.size=32", "camvid": camvid})

    def run(*words: str) -> dict:
        monkeypatch.setattr(sys, "argv", ["study_few_labels.py", "--output", str(tmp_path / "out"), *words])
        study.main()
        return json.loads((tmp_path / "out" / "results.json").read_text())

    return run


def test_all_trainings_then_nothing_is_left_to_do(small, tmp_path, capsys):
    found = small("--part", "drawn")["drawn"]["2"]
    assert list(found) == ["none", "adversarial", "fixmatch", "unimatch"]
    assert all(len(cell["miou"]) == 2 and None not in cell["miou"] for cell in found.values())
    out = capsys.readouterr().out
    assert "| drawn: labels | none | adversarial | fixmatch | unimatch |" in out
    assert Image.open(tmp_path / "out" / "drawn.png").size == (
        6 * 34 - 2,
        16 + 2 * 34,
    )  # a head, two validation pictures
    times = [path.stat().st_mtime_ns for path in sorted((tmp_path / "out").rglob("log.jsonl"))]
    assert small("--part", "drawn")["drawn"]["2"] == found and len(times) == 8
    assert times == [path.stat().st_mtime_ns for path in sorted((tmp_path / "out").rglob("log.jsonl"))]


def test_camvid_takes_every_so_manyth_label_and_all_pictures(small, tmp_path):
    for part, count in (("train", 5), ("val", 2)):
        camvid_like(tmp_path / "camvid" / part, count)
    found = small("--part", "camvid", "--camvid", str(tmp_path / "camvid"))["camvid"]
    assert {labels: list(cells) for labels, cells in found.items()} == {
        labels: ["none", "unimatch"] for labels in ("1/2", "all")
    }
    names = [path.stem for path in sorted((tmp_path / "out" / "camvid_2" / "images").iterdir())]
    assert names == ["0", "2", "4"]
    assert small("--part", "drawn").keys() == {"camvid", "drawn"}, "the other part's numbers stay"


def test_a_cell_is_a_mean_a_spread_and_a_gain():
    assert study.shown([0.5, 0.7], [0.4, 0.5]) == "0.600 ± 0.141 (+0.150)"
    assert study.shown([0.5], [0.5]) == "0.500 (+0.000)"
    assert study.shown([0.5, None], [0.4, 0.5]) == "1 of 2 done"


def test_camvid_needs_its_folder(small, tmp_path):
    (tmp_path / "train").mkdir()
    for words, said in (
        (["--part", "camvid"], "give --camvid DIR"),
        (["--camvid", str(tmp_path)], "has no train/images/; name a folder with train/ and val/"),
        (["--part", "drawn", "--camvid", str(tmp_path)], "has no effect with --part drawn"),
    ):
        with pytest.raises(UserError, match=said):
            small(*words)
    assert not (tmp_path / "out").exists()
