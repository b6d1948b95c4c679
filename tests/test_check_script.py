"""scripts/check_data.py: every family, every problem on its line, the command that training names."""

import shlex
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.check import check_command, checked
from data.files import find_pairs
from data.images import list_pictures
from data.palette import ANIME, Palette, colorize
from engine.errors import UserError
from options.seg import SegDataOptions
from scripts.check_data import main, read_classes


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
    ("content", "words"), [("sky: [1, 2", "not YAML"), ("sky: blue", "name: [r, g, b]"), (None, "No such file")]
)
def test_script_with_bad_classes(root, content, words):
    path = root / "classes.yaml"
    if content:
        path.write_text(content)
    with pytest.raises(UserError) as caught:
        main(["--root", str(root), "--classes", str(path)])
    assert caught.value.code == 2
    assert words in str(caught.value) and str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_classes_as_the_option_takes_them(tmp_path):
    two = Palette(("a", "b"), ((1, 2, 3), (4, 5, 6)))
    assert read_classes("anime") == ANIME
    assert read_classes("a,b, c") == read_classes("[a, b, c]") == Palette.from_names(["a", "b", "c"])
    assert read_classes("{a: [1,2,3], b: [4,5,6]}") == two
    (tmp_path / "c.yml").write_text("a: [1, 2, 3]\nb: [4, 5, 6]\n")
    assert read_classes(str(tmp_path / "c.yml")) == two
    for bad in ("one", "a,a", "{a: [1,2], b: [4,5,6]}", "{a: [1", "7"):
        with pytest.raises(UserError, match="--classes: .*expected") as caught:
            read_classes(bad)
        assert caught.value.code == 2


def test_every_problem_of_every_part_is_listed(tmp_path, root, capsys):
    """Partners, stems and broken files of train/, val/, test/, a list file and --extra, in one go."""
    data = tmp_path / "set"
    for part in ("train", "val", "test"):
        for name in ("images", "labels"):
            (data / part / name).mkdir(parents=True)
            for stem in "abc":
                (data / part / name / f"{stem}.png").write_bytes((root / name / f"{stem}.png").read_bytes())
    for name in ("x", "y"):
        (data / "train/images" / f"{name}.png").touch()
    (data / "val/labels/z.png").touch()
    (data / "val/images/a.jpg").touch()
    (data / "test/images/c.png").write_bytes(b"")
    (data / "listed.txt").write_text("a\nnobody\n")
    extra = tmp_path / "extra/train"
    extra.mkdir(parents=True)
    Image.new("RGB", (31, 16)).save(extra / "odd.png")

    arguments = ["--root", str(data), "--extra", str(extra.parent)]
    assert main(arguments) == 1
    out = capsys.readouterr().out
    for words in ("x.png: no partner", "y.png: no partner", "z.png: no partner", "c.png: the file is empty"):
        assert out.count(words) == 1, words
    assert out.count("a.png: has the same name as a.jpg") == 1 and "odd.png: 31 pixels wide" in out
    assert "3 training samples" in out and "with problems" in out
    assert main([*arguments, "--val", str(data / "listed.txt")]) == 1
    assert "such as 'nobody'" in capsys.readouterr().out


def test_script_on_spade(root, capsys):
    rgb = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    label = colorize(np.ones((16, 16), np.uint8), ANIME)
    columns = root / "columns"
    columns.mkdir()
    Image.fromarray(np.hstack([rgb, label, rgb])).save(columns / "three.png")
    Image.fromarray(np.hstack([rgb, label])).save(columns / "two.png")
    arguments = ["--family", "spade", "--root"]
    assert main([*arguments, str(columns)]) == 0
    assert "face        100.00 %" in capsys.readouterr().out
    Image.fromarray(np.hstack([rgb, rgb, label])).save(columns / "three.png")
    assert main([*arguments, str(columns)]) == 1
    assert "three.png: middle of three columns" in capsys.readouterr().out

    assert main([*arguments, str(root)]) == 0
    (root / "colors").mkdir()
    for name in "ab":
        Image.new("RGB", (24, 32 if name == "a" else 31)).save(root / f"colors/{name}.png")
    assert main([*arguments, str(root)]) == 1
    out = capsys.readouterr().out
    assert "c.png: no partner in" in out and "b.png has 24x31" in out and "1 sound, 2 with problems" in out


def test_script_on_pix2pix(tmp_path, capsys):
    for name in ("val", "A", "B"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (32, 16)).save(tmp_path / "val/both.png")
    for name in ("A/1.png", "B/1.jpg", "A/2.png"):
        Image.new("RGB", (16, 16)).save(tmp_path / name)
    arguments = ["--family", "pix2pix", "--root", str(tmp_path)]
    Image.new("RGB", (16, 16)).save(tmp_path / "B/2.png")
    assert main(arguments) == 0
    assert "3 sound" in capsys.readouterr().out
    Image.new("RGB", (16, 17)).save(tmp_path / "B/2.png")
    (tmp_path / "val/both.png").write_bytes(b"no")
    assert main(arguments) == 1
    out = capsys.readouterr().out
    assert "2.png: 16x16 pixels, but its partner" in out and "both.png: not a picture" in out
    assert "%" not in out


def test_script_on_dcgan(tmp_path, capsys):
    faces = tmp_path / "faces"
    (faces / "more").mkdir(parents=True)
    Image.new("RGB", (16, 16), (9, 8, 7)).save(faces / "a.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("L", (24, 16)).save(faces / "more/b.jpg", exif=turned)
    packed = tmp_path / "faces.zip"

    def pack():
        with zipfile.ZipFile(packed, "w") as archive:
            for path in faces.rglob("*.*"):
                archive.write(path, path.relative_to(faces))
            archive.writestr("__MACOSX/._a.png", b"hidden")
            archive.writestr("readme.txt", b"no picture")

    pack()
    for root in (faces, packed):
        assert main(["--family", "dcgan", "--root", str(root)]) == 0
        assert "2 sound, 0 with problems\nsizes: 16 to 16 wide, 16 to 24 high" in capsys.readouterr().out
    (faces / "more/b.jpg").write_bytes((faces / "more/b.jpg").read_bytes()[:200])
    Image.new("RGB", (1, 1)).save(faces / "c.png")
    (faces / "d.png").write_text("hello")
    pack()
    for root in (faces, packed):
        assert main(["--family", "dcgan", "--root", str(root)]) == 1
        out = capsys.readouterr().out
        assert "1 sound, 3 with problems" in out and f"{root / 'c.png'}: only 1x1 pixels" in out
        assert f"{root / 'more/b.jpg'}: broken" in out and f"{root / 'd.png'}: " in out
    packed.write_bytes(packed.read_bytes()[:100])
    with pytest.raises(UserError, match="faces.zip: no zip file"):
        main(["--family", "dcgan", "--root", str(packed)])


def test_wrong_arguments_are_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--family", "none", "--root", "."])
    assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        main(["--family", "pix2pix", "--root", ".", "--label-colors", "exact"])
    assert caught.value.code == 2 and "--label-colors: not for pix2pix" in capsys.readouterr().err


def run_command(line: str) -> int:
    python, script, *arguments = shlex.split(line)
    assert python == "python" and Path(script).name == "check_data.py"
    return main(arguments)


def test_the_command_that_training_names_lists_its_problem(root, capsys):
    """Every option of the data set travels: a folder with a space, colours, ignored ids, extra and val."""
    classes = (("sky", (1, 2, 3)), ("it's road", (200, 100, 6)), ("yes", (9, 200, 9)))
    data = SegDataOptions(root=str(root), classes=classes, ignore=(7, 255), label_colors="nearest")
    extra, held = root / "my extra", root / "held"
    for folder in (extra, held):
        for name in ("images", "labels"):
            (folder / name).mkdir(parents=True)
            Image.new("L", (16, 16), 7).save(folder / name / "e.png")
    for name in "abc":
        Image.new("RGB", (24, 32), (199, 100, 6)).save(root / f"labels/{name}.png")
    data = replace(data, extra=str(extra), val=str(held), unlabeled=str(root / "unlabeled"))
    assert run_command(check_command(root, data)) == 0
    assert "it's road" in capsys.readouterr().out

    Image.new("L", (16, 16), 8).save(extra / "labels/e.png")
    (held / "labels/e.png").write_bytes(b"")
    (root / "unlabeled/x.png").write_bytes(b"")
    command = check_command(root, data)
    samples = find_pairs(root) + find_pairs(held) + find_pairs(extra)
    palette = Palette.from_classes(dict(classes))
    words = shlex.split(command)
    assert read_classes(words[words.index("--classes") + 1]) == palette
    with pytest.raises(UserError) as caught:
        checked(samples, list_pictures(root / "unlabeled"), palette, data.ignore, data.label_colors, command)
    problem, more = str(caught.value).split(" (and 2 more: run ")
    assert more == command + ")"
    assert run_command(command) == 1
    out = capsys.readouterr().out
    assert problem in out.splitlines() and "3 with problems" in out


def test_the_command_of_plain_options_is_short(tmp_path, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    assert check_command("pics", SegDataOptions(root="pics")) == (
        "python scripts/check_data.py --family seg --root pics"
    )
    named = SegDataOptions(root="pics", classes=(("a", None), ("no", None)))
    assert read_classes(shlex.split(check_command("pics", named))[-1]).names == ("a", "no")
    drawn = check_command(tmp_path, SegDataOptions(root="drawn"))
    assert drawn.endswith(f"--unlabeled {(tmp_path / 'unlabeled').as_posix()}")
    monkeypatch.chdir(tmp_path)
    assert Path(shlex.split(check_command("pics", named))[1]).is_file()


def test_script_as_a_user_runs_it(tmp_path):
    script = Path(__file__).parents[1] / "scripts" / "check_data.py"
    missing = subprocess.run(
        [sys.executable, script, "--root", "missing"], capture_output=True, text=True, cwd=tmp_path
    )
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: missing: no such folder") and missing.stderr.count("\n") == 1
