"""scripts/build_spade_dataset.py: pictures and labels to picture|label|hair colour triples."""

import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.check import look_spade, survey
from data.colors import hair_color
from data.files import Sample, find_pairs, read_spade
from data.fit import cover_crop
from data.palette import ANIME, Palette, encode_label
from data.sample import draw
from data.spade import spade_data
from engine.errors import UserError
from options.load import load
from options.spade import DEFAULT_FILE, SpadeOptions
from scripts.build_spade_dataset import main, parse

ROOT = Path(__file__).parents[1]
HAIR = ANIME.names.index("hair")


def character(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A drawn character, stretched: picture and ids."""
    drawn = draw(seed, 64)
    picture = Image.fromarray(drawn.picture).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(picture), np.asarray(
        Image.fromarray(drawn.label).resize((width, height), Image.Resampling.NEAREST)
    )


@pytest.fixture
def root(tmp_path) -> Path:
    """images/ and labels/ of three characters, as predict.py of the seg family leaves labels."""
    for i, (name, shape) in enumerate({"square": (64, 64), "wide": (48, 90), "deep/tall": (70, 40)}.items()):
        picture, ids = character(*shape, seed=i)
        for kind, made in (("images", Image.fromarray(picture)), ("labels", encode_label(ids, ANIME))):
            path = tmp_path / kind / f"{name}.{'webp' if kind == 'images' else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            made.save(path, **({"lossless": True} if kind == "images" else {}))
    return tmp_path


def words(root: Path, *more) -> list[str]:
    where = ["--images", root / "images", "--labels", root / "labels", "--output", root / "out", "--size", 64]
    return [str(word) for word in (*where, *more)]


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_triples_hold_picture_label_and_the_hairs_median(root, capsys):
    main(words(root))
    assert written(root / "out") == ["deep/tall.png", "square.png", "wide.png"]
    for name in ("deep/tall", "square", "wide"):
        sample = Sample(name, root / "images" / f"{name}.webp", root / "labels" / f"{name}.png")
        whole, whole_ids, _ = read_spade(sample, ANIME)
        picture, ids = cover_crop(whole, (64, 64)), cover_crop(whole_ids, (64, 64))
        made = read_spade(Sample(name, root / "out" / f"{name}.png", None), ANIME)
        assert np.array_equal(made[0], picture) and np.array_equal(made[1], ids)
        assert (made[2] == hair_color(picture, ids == HAIR)).all() and made[2].shape == (64, 64, 3)
    said = capsys.readouterr().out
    assert f"3 written -> {root / 'out'}\n" in said and "left out" not in said
    command = shlex.split(said.split("next: ")[1])
    assert command == ["python", "train_spade.py", f"data.root={(root / 'out').as_posix()}", "data.size=64"]
    opt = load(SpadeOptions, command[2:], DEFAULT_FILE)
    train, val, rough, _ = spade_data(opt)
    assert len(train) == 2 and len(val) == 1 and rough is None


def test_pictures_without_hair_are_left_out_or_kept(root, capsys):
    encode_label(np.full((64, 64), 3, np.uint8), ANIME).save(root / "labels" / "square.png")
    main(words(root))
    said = capsys.readouterr().out
    assert f"{root / 'images' / 'square.webp'}: left out: no hair\n" in said
    assert "2 written, 1 left out: no hair -> " in said and "square.png" not in written(root / "out")
    main(words(root, "--keep-hairless"))
    assert "1 written, 2 already there" in capsys.readouterr().out
    assert not read_spade(Sample("a", root / "out" / "square.png", None), ANIME)[2].any()


def test_files_without_a_partner_are_counted(root, capsys):
    Image.new("RGB", (64, 64)).save(root / "images" / "filtered.png")
    for name in ("square_overlay", "grid"):
        Image.new("RGB", (64, 64)).save(root / "labels" / f"{name}.png")
    main(words(root))
    assert "left out: pictures without a label: 1, labels without a picture: 2\n" in capsys.readouterr().out
    assert len(written(root / "out")) == 3


def test_it_goes_on_where_it_stopped(root, capsys):
    main(words(root))
    (root / "out" / "wide.png").unlink()
    before = (root / "out" / "square.png").stat().st_mtime_ns
    main(words(root))
    assert "1 written, 2 already there (--overwrite makes them again)" in capsys.readouterr().out
    assert (root / "out" / "square.png").stat().st_mtime_ns == before
    main(words(root, "--overwrite", "--workers", 0))
    assert "3 written ->" in capsys.readouterr().out
    assert not list((root / "out").rglob("*.part"))


def test_bad_files_stop_no_other_and_the_exit_code_says_so(root):
    (root / "images" / "square.webp").write_bytes(b"")
    encode_label(np.zeros((48, 48), np.uint8), ANIME).save(root / "labels" / "wide.png")
    script = ROOT / "scripts" / "build_spade_dataset.py"
    done = subprocess.run([sys.executable, script, *words(root)], capture_output=True, text=True, cwd=root)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert written(root / "out") == ["deep/tall.png"] and "1 written, 2 failed" in done.stdout
    assert done.stderr.count("square.webp: the file is empty") == 2, "as it happens and in the list at the end"
    assert "wide.webp: 90x48 pixels, but its label" in done.stderr and "2 of 3 files failed" in done.stderr


def test_a_label_that_colours_cannot_say_is_named(root, capsys):
    ids = np.full((64, 64), HAIR, np.uint8)
    ids[:4] = 255
    encode_label(ids, ANIME).save(root / "labels" / "square.png")
    with pytest.raises(UserError, match="1 of 3 files failed"):
        main(words(root))
    assert "square.png: 6.2 % of the pixels have no class, which a triple cannot say" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("made", "more", "parts"),
    [
        (np.full((64, 64), 9, np.uint8), [], ["id 9 (4096 pixels)", "add it to --ignore, or its class to --classes"]),
        (np.full((64, 64, 3), 250, np.uint8), [], ["(--label-colors threshold): try --label-colors nearest, or add"]),
        (np.full((64, 64, 3), 0, np.uint8), ["--label-colors", "nearest"], ["try --label-colors closest", "--classes"]),
        (None, ["--classes", "{hair: [9, 9, 200], b: [90, 1, 2]}"], ["use --label-colors nearest"]),
    ],
)
def test_an_error_about_a_label_names_the_scripts_own_arguments(root, capsys, made, more, parts):
    folder = root / "data.classes"  # stands in every path, which stays as it is
    folder.mkdir()
    for kind in ("images", "labels"):
        (root / kind).rename(folder / kind)
    ids = character(64, 64)[1]
    picture = Image.fromarray(ANIME.table[ids] if made is None else made)
    picture.save(folder / "labels" / "square.png")
    with pytest.raises(UserError, match="files failed"):
        main(words(folder, *more))
    line = next(line for line in capsys.readouterr().err.splitlines() if "square.png" in line)
    assert f"{folder / 'labels' / 'square.png'}: " in line and all(part in line for part in parts), line
    assert "data." not in line.replace(str(folder), "")


def test_a_label_of_background_alone_makes_no_triple(root, capsys):
    encode_label(np.full((64, 64), ANIME.names.index("background"), np.uint8), ANIME).save(root / "labels/square.png")
    main(words(root, "--keep-hairless"))
    assert "2 written, 1 left out: nothing but background -> " in capsys.readouterr().out


def test_other_classes_come_back_as_they_went_in(root, capsys):
    palette = Palette(("sky", "it's wig", "rest"), ((10, 20, 30), (200, 60, 5), (90, 90, 250)))
    ids = np.random.default_rng(0).integers(0, 3, (64, 64), np.uint8)
    for path in (root / "labels").rglob("*.png"):
        encode_label(np.resize(ids, Image.open(path).size[::-1]), palette).save(path)
    classes = "{sky: [10, 20, 30], 'it''s wig': [200, 60, 5], rest: [90, 90, 250]}"
    main(words(root, "--classes", classes, "--hair", "it's wig"))
    command = shlex.split(capsys.readouterr().out.split("next: ")[1])
    opt = load(SpadeOptions, command[2:], DEFAULT_FILE)
    assert opt.data.hair == "it's wig" and opt.data.background is None and opt.data.label_colors == "nearest"
    found = survey(find_pairs(root / "out"), lambda sample: look_spade(sample, palette, match="nearest"))
    assert len(found.sizes) == 3 and not found.problems and not found.pixels[255] and not found.pixels[3:].any()
    assert np.array_equal(read_spade(Sample("a", root / "out/square.png", None), palette, match="nearest")[1], ids)
    assert spade_data(opt)[3] == palette


@pytest.mark.parametrize(
    ("more", "code", "line"),
    [
        (["--size", "15"], 2, "--size 15: expected 64 to 8192"),
        (["--size", "100"], 2, "--size 100: expected a multiple of 64, such as 128"),
        (["--workers", "-1"], 2, "--workers -1: expected 0 to 128"),
        (["--hair", "wig"], 2, "--hair wig: there is no such class; use one of eye, face, hair, other, background"),
        (["--classes", "3"], 2, "--classes: 3: expected"),
        (["--output", "images"], 2, "is the folder of --images"),
        (["--output", "labels"], 2, "is the folder of --labels"),
        (["--images", "missing"], 1, "missing: no such folder"),
        (["--labels", "other"], 1, "no label has the name of a picture in"),
    ],
)
def test_odd_arguments_are_refused(root, monkeypatch, capsys, more, code, line):
    monkeypatch.chdir(root)
    (root / "other").mkdir()
    Image.new("L", (64, 64)).save(root / "other" / "x.png")
    with pytest.raises((SystemExit, UserError)) as caught:
        main(words(root, *more))
    said = capsys.readouterr().err + str(caught.value)
    assert caught.value.code == code and line in said and not (root / "out").exists()


def test_two_pictures_of_one_name_are_refused(root):
    Image.new("RGB", (64, 64)).save(root / "images" / "square.png")
    with pytest.raises(UserError, match="has the same name as"):
        main(words(root))


def test_the_defaults(root):
    args = parse(words(root)[:-2])
    assert args.size == 256 and args.hair == "hair" and not args.keep_hairless and args.workers >= 1
