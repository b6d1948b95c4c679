"""The check of a data set: each bad file is one line, and an unchanged set is read once."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data.check
from data.check import check_seg, checked
from data.files import find_pairs
from data.images import list_pictures
from data.palette import ANIME, colorize, encode_label
from engine.errors import UserError
from scripts.check_data import main


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ATELIER_CACHE", str(folder))
    return folder


@pytest.fixture
def root(tmp_path):
    """Three sound samples in images/ and labels/, two unlabelled pictures."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels", "unlabeled"):
        (tmp_path / name).mkdir()
    for name in "abc":
        picture, ids = rng.integers(0, 256, (32, 24, 3)), rng.integers(0, 5, (32, 24))
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"images/{name}.png")
        encode_label(ids.astype(np.uint8), ANIME).save(tmp_path / f"labels/{name}.png")
    for name in "xy":
        picture = rng.integers(0, 256, (9, 50, 3))
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"unlabeled/{name}.png")
    return tmp_path


def problems(root) -> list[str]:
    return check_seg(find_pairs(root), list_pictures(root / "unlabeled"), ANIME)


def test_sound_data_have_no_problems(root):
    assert problems(root) == []


def cut(path: Path):
    path.write_bytes(path.read_bytes()[:-200])


BAD_FILES = {
    "cut off": ("images/b.png", cut, "broken or cut off"),
    "empty": ("images/b.png", lambda path: path.write_bytes(b""), "0 bytes"),
    "text": ("images/b.png", lambda path: path.write_text("hello" * 99), "not a picture"),
    "one pixel": ("unlabeled/x.png", Image.new("RGB", (1, 1)).save, "only 1x1 pixels"),
    "bomb": ("unlabeled/x.png", lambda path: Image.new("1", (20_000, 20_000)).save(path), "400 megapixels"),
    "size": ("labels/b.png", Image.new("L", (24, 31)).save, "24x31"),
    "id": ("labels/b.png", Image.new("L", (24, 32), 5).save, "id 5 (768 pixels) outside the 5 classes"),
    "colour": ("labels/b.png", Image.new("RGB", (24, 32), (0, 255, 255)).save, "(0, 255, 255)"),
    "cut label": ("labels/b.png", cut, "broken or cut off"),
    "cut unlabelled": ("unlabeled/x.png", cut, "broken or cut off"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_bad_file_is_one_line_that_names_it(root, kind):
    name, spoil, words = BAD_FILES[kind]
    spoil(root / name)
    found = problems(root)
    assert len(found) == 1
    assert str(root / name) in found[0] and words in found[0] and "\n" not in found[0]


@pytest.mark.parametrize("mode", ["RGBA", "L", "P", "I;16"])
def test_pictures_of_every_mode_are_sound(root, mode):
    Image.new(mode, (24, 32), 1).save(root / "images/b.png")
    assert Image.open(root / "images/b.png").mode == mode
    assert problems(root) == []


def test_exif_turned_picture_fits_its_label(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 24)).save(root / "images/b.png", exif=exif)
    assert problems(root) == []


def test_a_repeated_sample_is_read_once(root):
    (root / "images/b.png").write_bytes(b"")
    assert len(check_seg(find_pairs(root) * 3, [], ANIME)) == 1


def test_side_by_side_with_odd_width(tmp_path):
    rgb = np.hstack([np.zeros((16, 16, 3), np.uint8), colorize(np.ones((16, 16), np.uint8), ANIME)])
    Image.fromarray(rgb).save(tmp_path / "good.png")
    Image.fromarray(rgb[:, :-1]).save(tmp_path / "odd.png")
    found = check_seg(find_pairs(tmp_path), [], ANIME)
    assert len(found) == 1 and "odd.png: 31 pixels wide" in found[0]


def count_reads(monkeypatch) -> list:
    reads = []
    real = data.check.read_pair
    monkeypatch.setattr(data.check, "read_pair", lambda *a: reads.append(a) or real(*a))
    return reads


def test_unchanged_data_are_read_once(root, monkeypatch):
    reads = count_reads(monkeypatch)

    def run(**settings):
        checked(find_pairs(root), [], ANIME, **settings)

    run()
    run()
    assert len(reads) == 3
    run(match="nearest")
    run(ignore=(4,))
    assert len(reads) == 9
    Image.new("L", (24, 32), 1).save(root / "labels/a.png")
    run()
    assert len(reads) == 12


def test_problems_leave_no_stamp_and_are_counted(root):
    for name in "ab":
        (root / f"images/{name}.png").write_bytes(b"")
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            checked(find_pairs(root), [], ANIME, command="python scripts/check_data.py --root here")
        assert str(root / "images" / "a.png") in str(caught.value)
        assert "(and 1 more: run python scripts/check_data.py --root here)" in str(caught.value)


def test_a_cache_that_cannot_be_written_is_no_error(root, cache, monkeypatch):
    (cache / "file").touch()
    monkeypatch.setenv("ATELIER_CACHE", str(cache / "file"))
    checked(find_pairs(root), [], ANIME)


def test_script_on_sound_data(root, capsys):
    assert main(["--root", str(root), "--unlabeled", str(root / "unlabeled")]) == 0
    out = capsys.readouterr().out
    assert "5 sound, 0 with problems" in out
    assert "24 to 50 wide, 9 to 32 high" in out
    shares = [float(line.split()[1]) for line in out.splitlines() if line.endswith("%")]
    assert len(shares) == 6 and sum(shares) == pytest.approx(100, abs=0.05) and shares[-1] == 0


def test_script_prints_every_problem(root, capsys):
    for name in "ac":
        Image.new("L", (24, 32), 9).save(root / f"labels/{name}.png")
    assert main(["--root", str(root), "--ignore", "11"]) == 1
    out = capsys.readouterr().out
    assert out.count("id 9 (768 pixels)") == 2 and "1 sound, 2 with problems" in out
    assert main(["--root", str(root), "--ignore", "9", "11"]) == 0


def test_script_with_other_classes(root, capsys, tmp_path):
    classes = tmp_path / "classes.yaml"
    classes.write_text("sky: [1, 2, 3]\nroad: [4, 5, 6]\n")
    rgb = np.zeros((32, 24, 3), np.uint8) + np.array([1, 2, 3], np.uint8)
    for name in "abc":
        Image.fromarray(rgb).save(root / f"labels/{name}.png")
    arguments = ["--root", str(root), "--classes", str(classes)]
    assert main([*arguments, "--label-colors", "nearest"]) == 0
    assert "sky        100.00 %" in capsys.readouterr().out
    assert main(arguments) == 1
    assert "data.label_colors=nearest" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "words"), [("sky: [1, 2", "not YAML"), ("sky: blue", "'blue'"), (None, "No such file")]
)
def test_script_with_bad_classes(root, content, words):
    path = root / "classes.yaml"
    if content:
        path.write_text(content)
    with pytest.raises(UserError) as caught:
        main(["--root", str(root), "--classes", str(path)])
    assert caught.value.code == 2
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_script_as_a_user_runs_it(tmp_path):
    script = Path(__file__).parents[1] / "scripts" / "check_data.py"

    def run(*arguments):
        command = [sys.executable, script, *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)

    missing = run("--root", "missing")
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: missing: no such folder") and missing.stderr.count("\n") == 1
    assert run("--family", "none").returncode == 2
