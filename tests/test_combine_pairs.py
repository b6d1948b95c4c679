"""Two folders joined into side-by-side pairs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.files import find_pairs, read_two, training_samples
from data.images import read_picture
from engine.errors import UserError
from scripts.combine_pairs import main

ROOT = Path(__file__).resolve().parents[1]


def draw(path: Path, size: tuple[int, int] = (20, 24), seed: int = 0) -> np.ndarray:
    """A picture of (width, height) in a file; its pixels."""
    pixels = np.random.default_rng([seed, *path.name.encode()]).integers(0, 256, (*size[::-1], 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    """A and B with the pictures train/1, train/2 and val/1."""
    for name in ("train/1", "train/2", "val/1"):
        draw(tmp_path / "A" / f"{name}.png")
        draw(tmp_path / "B" / f"{name}.bmp", seed=1)
    return tmp_path / "A", tmp_path / "B"


def run(*words) -> None:
    main([str(word) for word in words])


def error_of(*words, code: int = 1) -> str:
    with pytest.raises(UserError) as caught:
        run(*words)
    assert caught.value.code == code and "\n" not in str(caught.value)
    return str(caught.value)


def test_pairs_are_those_of_two_folders(two, tmp_path, capsys):
    a, b = two
    run(a, b, tmp_path / "my pairs")
    out = capsys.readouterr().out
    assert f"3 written -> {tmp_path / 'my pairs'}\n" in out
    assert f"next: python train_pix2pix.py 'data.root={(tmp_path / 'my pairs').as_posix()}'" in out
    written = find_pairs(tmp_path / "my pairs")
    assert [sample.name for sample in written] == ["train/1", "train/2", "val/1"]
    assert len(training_samples(tmp_path / "my pairs", "A", "B")) == 2
    for sample in written:
        left, right = read_two(sample)
        np.testing.assert_array_equal(left, read_picture(a / f"{sample.name}.png"))
        np.testing.assert_array_equal(right, read_picture(b / f"{sample.name}.bmp"))


def test_existing_pairs_are_kept_unless_overwrite(two, tmp_path, capsys):
    output = tmp_path / "out"
    old = draw(output / "val" / "1.png", (3, 3))
    run(*two, output)
    assert "2 written, 1 already there (--overwrite makes them again)" in capsys.readouterr().out
    np.testing.assert_array_equal(read_picture(output / "val" / "1.png"), old)
    run(*two, output, "--overwrite", "--workers", 1)
    assert "3 written ->" in capsys.readouterr().out
    assert read_picture(output / "val" / "1.png").shape == (24, 40, 3)


def test_sizes_that_differ(two, tmp_path, capsys):
    a, b = two
    draw(b / "val" / "1.bmp", (40, 30))
    words = [sys.executable, ROOT / "scripts" / "combine_pairs.py", a, b, tmp_path / "out"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "2 written, 1 failed" in done.stdout and "1 of 3 pairs failed; where" in done.stderr
    assert "--resize brings B's to A's" in done.stderr
    assert (
        done.stderr.count(f"{a / 'val' / '1.png'}: 20x24 pixels, but its partner {b / 'val' / '1.bmp'} has 40x30") == 2
    )
    run(a, b, tmp_path / "out", "--resize")
    assert "1 written, 2 already there" in capsys.readouterr().out
    left, right = read_two(find_pairs(tmp_path / "out" / "val")[0])
    np.testing.assert_array_equal(left, read_picture(a / "val" / "1.png"))
    resized = Image.open(b / "val" / "1.bmp").resize((20, 24), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(right, resized)


def test_every_kind_of_picture(tmp_path):
    """Grey, 16 bits, transparency: as everywhere."""
    for name in "AB":
        (tmp_path / name).mkdir()
    Image.new("LA", (20, 20), (0, 0)).save(tmp_path / "A" / "x.png")
    Image.fromarray(np.full((20, 20), 65535, np.uint16)).save(tmp_path / "B" / "x.png")
    run(tmp_path / "A", tmp_path / "B", tmp_path / "out")
    assert (read_picture(tmp_path / "out" / "x.png") == np.full((20, 40, 3), 255)).all()


def test_bad_files_stop_no_other(two, tmp_path, capsys):
    a, b = two
    (a / "train" / "1.png").write_bytes(b"no picture")
    for folder, suffix in ((a, "png"), (b, "bmp")):
        draw(folder / f"narrow.{suffix}", (20, 40))
        draw(folder / f"small.{suffix}", (7, 9))
    with pytest.raises(UserError, match="3 of 5 pairs failed") as caught:
        run(a, b, tmp_path / "out")
    lines = str(caught.value)
    for line in ("train/1.png: not a picture", "narrow.png: 20x40 pixels, too narrow", "small.png: only 7x9 pixels"):
        assert line in lines
    assert sorted(p.name for p in (tmp_path / "out").rglob("*.*")) == ["1.png", "2.png"]
    assert "2 written, 3 failed" in capsys.readouterr().out


def test_a_picture_without_partner(two, tmp_path):
    a, b = two
    draw(a / "train" / "3.png")
    line = error_of(a, b, tmp_path / "out")
    assert line.startswith(f"{a / 'train' / '3.png'}: no partner in {b}") and "more" not in line
    draw(b / "val" / "1.png")  # beside 1.bmp
    line = error_of(a, b, tmp_path / "out")
    assert "has the same name as" in line and line.endswith("(and 1 more)")
    assert not (tmp_path / "out").exists()


def test_mixed_up_folders(two, tmp_path):
    a, b = two
    assert f"{a}: A and B are the same folder" in error_of(a, a, tmp_path / "out", code=2)
    for output in (a, b, a / "pairs"):
        assert "is " in error_of(a, b, output, code=2)
    assert "no such folder" in error_of(a, tmp_path / "missing", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    assert "no pictures inside" in error_of(tmp_path / "empty", b, tmp_path / "out")
    (tmp_path / "file").touch()
    assert "cannot be written" in error_of(a, b, tmp_path / "file" / "out")
    with pytest.raises(SystemExit) as caught:
        run(a, b, tmp_path / "out", "--workers", 129)
    assert caught.value.code == 2 and not (tmp_path / "out").exists()
