"""The check of a data set: each bad file is one line, and an unchanged set is read once."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data.check
from data.check import checked, look_seg, survey
from data.files import find_pairs
from data.images import list_pictures
from data.palette import ANIME, colorize
from engine.errors import UserError
from scripts.check_data import main


def problems(root) -> list[str]:
    return look_at([*find_pairs(root), *list_pictures(root / "unlabeled")])


def look_at(items: list) -> list[str]:
    return survey(items, partial(look_seg, palette=ANIME)).problems


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
    assert len(look_at(find_pairs(root) * 3)) == 1


def test_side_by_side_with_odd_width(tmp_path):
    rgb = np.hstack([np.zeros((16, 16, 3), np.uint8), colorize(np.ones((16, 16), np.uint8), ANIME)])
    Image.fromarray(rgb).save(tmp_path / "good.png")
    Image.fromarray(rgb[:, :-1]).save(tmp_path / "odd.png")
    found = look_at(find_pairs(tmp_path))
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


def test_a_vanished_file_is_named(root):
    samples = find_pairs(root)
    (root / "labels/b.png").unlink()
    with pytest.raises(UserError, match="labels.b.png: No such file") as caught:
        checked(samples, [], ANIME)
    assert "restore the file" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_to_nothing_is_named(root, capsys):
    (root / "images/b.png").unlink()
    (root / "images/b.png").symlink_to(root / "gone.png")
    with pytest.raises(UserError, match="images.b.png: .*link to nothing"):
        checked(find_pairs(root), [], ANIME)
    assert main(["--root", str(root)]) == 1
    assert f"{root / 'images/b.png'}: no such file" in capsys.readouterr().out


def test_a_cache_that_cannot_be_written_is_no_error(root, cache, monkeypatch):
    (cache / "file").touch()
    monkeypatch.setenv("ATELIER_CACHE", str(cache / "file"))
    checked(find_pairs(root), [], ANIME)
