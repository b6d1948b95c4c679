"""The drawn sample characters and the data set made of them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import sample
from data.palette import ANIME
from data.sample import draw, make_drawn_set
from engine.errors import UserError

TYPICAL_SHARES = np.array((0.016, 0.06, 0.33, 0.24, 0.34))


def files_below(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def characters():
    return [draw(index, 64) for index in range(60)]


def test_same_index_gives_the_same_bytes():
    first, again, other, seeded = draw(3, 64), draw(3, 64), draw(4, 64), draw(3, 64, seed=1)
    for name in ("picture", "label", "colors"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.picture, other.picture)
    assert not np.array_equal(first.picture, seeded.picture)


@pytest.mark.parametrize("size", (48, 128))
def test_shapes_and_types(size):
    character = draw(0, size)
    assert character.picture.shape == character.colors.shape == (size, size, 3)
    assert character.label.shape == (size, size)
    assert character.picture.dtype == character.label.dtype == character.colors.dtype == np.uint8
    assert character.label.max() <= 4


def test_composition_is_the_same_at_any_size():
    for index in range(5):
        small, large = draw(index, 64), draw(index, 256)
        assert (small.label == large.label[2::4, 2::4]).mean() > 0.95
        assert np.array_equal(small.colors[0, 0], large.colors[0, 0])


def test_class_shares_are_those_of_real_portraits(characters):
    labels = np.stack([character.label for character in characters])
    shares = np.bincount(labels.ravel(), minlength=5) / labels.size
    assert np.all(shares < 1.5 * TYPICAL_SHARES) and np.all(shares > TYPICAL_SHARES / 1.5), shares


def test_every_character_has_face_hair_and_ground(characters):
    for character in characters:
        assert {1, 2, 4} <= set(np.unique(character.label))


def test_label_agrees_with_white_ground(characters):
    """Where the ground is pure white, the picture is white well inside the background, but for fine hairs."""
    checked = 0
    for character in characters:
        ground = character.label == 4
        if np.mean(character.picture[ground] == 255) < 0.9:
            continue
        inside = ground.copy()
        for shift in (-1, 1):
            for axis in (0, 1):
                inside &= np.roll(ground, shift, axis)
        assert (character.picture[inside] == 255).mean() > 0.99
        checked += 1
    assert checked > 20


def test_colour_map_is_flat_and_has_the_hair_colour(characters):
    near = 0
    for character in characters:
        assert (character.colors == character.colors[0, 0]).all()
        median = np.median(character.picture[character.label == 2], axis=0)
        near += np.abs(median - character.colors[0, 0]).mean() < 40
    assert near >= 0.8 * len(characters)


def test_layout_and_files(tmp_path):
    root = make_drawn_set(tmp_path / "drawn", labeled=2, unlabeled=1, val=1, size=32)
    kinds = ("images", "labels", "colors")
    expected = {f"train/{kind}/00000{number}.png" for kind in kinds for number in (0, 1)}
    expected |= {f"val/{kind}/000000.png" for kind in kinds} | {"unlabeled/000000.png", "drawn.json"}
    assert files_below(root) == expected
    assert [path.name for path in tmp_path.iterdir()] == ["drawn"]
    character = draw(0, 32)
    with Image.open(root / "train/labels/000000.png") as label:
        assert label.mode == "P"
        assert np.array_equal(np.asarray(label), character.label)
        assert label.getpalette()[:15] == ANIME.table.ravel().tolist()
    assert np.array_equal(np.asarray(Image.open(root / "train/images/000000.png")), character.picture)
    assert np.array_equal(np.asarray(Image.open(root / "train/colors/000000.png")), character.colors)


def test_parts_differ_and_do_not_depend_on_the_counts(tmp_path):
    few = make_drawn_set(tmp_path / "few", labeled=1, unlabeled=1, val=1, size=32)
    more = make_drawn_set(tmp_path / "more", labeled=2, unlabeled=2, val=2, size=32)
    names = ("train/images/000000.png", "val/images/000000.png", "unlabeled/000000.png")
    assert len({(few / name).read_bytes() for name in names}) == 3
    for name in names:
        assert (few / name).read_bytes() == (more / name).read_bytes()


def test_interrupted_run_leaves_nothing_at_root(tmp_path, monkeypatch):
    def stop(index, size, seed):
        if index == 1:
            raise KeyboardInterrupt
        return draw(index, size, seed)

    root = tmp_path / "drawn"
    with monkeypatch.context() as patch:
        patch.setattr(sample, "draw", stop)
        with pytest.raises(KeyboardInterrupt):
            make_drawn_set(root, labeled=2, unlabeled=0, val=0, size=32)
    assert not root.exists()
    make_drawn_set(root, labeled=1, unlabeled=0, val=0, size=32)
    assert [path.name for path in tmp_path.iterdir()] == ["drawn"]
    assert not (root / "train/images/000001.png").exists()


def test_same_spec_returns_at_once_and_another_is_an_error(tmp_path, monkeypatch):
    root = tmp_path / "drawn"
    make_drawn_set(root, labeled=1, unlabeled=0, val=0, size=32)
    monkeypatch.setattr(sample, "draw", None)
    assert make_drawn_set(root, labeled=1, unlabeled=0, val=0, size=32) == root
    with pytest.raises(UserError, match="labeled 1 instead of 2"):
        make_drawn_set(root, labeled=2, unlabeled=0, val=0, size=32)


def test_foreign_folder_is_an_error(tmp_path):
    (tmp_path / "mine.txt").write_text("keep me")
    with pytest.raises(UserError, match="not a drawn set"):
        make_drawn_set(tmp_path, labeled=1, unlabeled=0, val=0, size=32)
    assert (tmp_path / "mine.txt").exists()


def test_script_draws_with_workers_and_reports_mistakes(tmp_path):
    script = Path(sample.__file__).parent.parent / "scripts" / "make_sample_data.py"
    command = [
        sys.executable,
        str(script),
        "--output",
        str(tmp_path / "set"),
        "--labeled",
        "1",
        "--unlabeled",
        "1",
    ]
    command += ["--val", "1", "--size", "32", "--workers", "1"]
    subprocess.run(command, check=True, capture_output=True)
    with Image.open(tmp_path / "set/val/images/000000.png") as picture:
        assert np.array_equal(np.asarray(picture), draw(sample.FIRST_INDEX["val"], 32).picture)
    failed = subprocess.run([*command, "--seed", "5"], capture_output=True, text=True)
    assert failed.returncode == 1
    assert len(failed.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("wrong", [{"size": 0}, {"labeled": -1}, {"labeled": 0}, {"seed": -1}])
def test_what_cannot_be_drawn_is_one_line(tmp_path, wrong):
    spec = {"labeled": 1, "unlabeled": 0, "val": 0, "size": 32} | wrong
    with pytest.raises(UserError, match="cannot draw") as caught:
        make_drawn_set(tmp_path / "set", **spec)
    assert caught.value.code == 2 and "\n" not in str(caught.value) and not (tmp_path / "set").exists()
