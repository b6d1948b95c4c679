"""data/collecting/face_crop.py, searched.py and scripts/crop_faces.py."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.collecting import searched
from data.collecting.face_crop import crop_face
from data.collecting.face_detector import Face
from engine.errors import UserError
from scripts import crop_faces
from scripts.crop_faces import main


def squares(picture: np.ndarray) -> list[Face]:
    """A detector of the squares of full red: the box of each level of green in them, brighter is surer."""
    faces = []
    for level in np.unique(picture[picture[..., 0] == 255][:, 1]):
        rows, columns = np.nonzero((picture[..., 0] == 255) & (picture[..., 1] == level))
        faces.append(Face(columns.min(), rows.min(), np.ptp(rows) + 1, float(level)))
    return sorted(faces, key=lambda face: -face.score)


def scene(*places: tuple[int, int, int, int], size=(100, 140)) -> Image.Image:
    """Squares (left, top, side, score) on blue."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[..., 2] = 200
    for left, top, side, score in places:
        picture[top : top + side, left : left + side] = 255, score, 0
    return Image.fromarray(picture)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """main on tmp_path/in -> tmp_path/out, with the detector of squares; calls are counted in run.seen."""

    def detect(picture):
        call.seen += 1
        return squares(picture)

    def call(*words):
        main(["--input", str(tmp_path / "in"), "--output", str(tmp_path / "out"), "--size", "32", *map(str, words)])

    monkeypatch.setattr(crop_faces, "read_cascade", lambda local: b"")
    monkeypatch.setattr(crop_faces, "FaceDetector", lambda *args: detect)
    (tmp_path / "in" / "deep").mkdir(parents=True)
    call.seen = 0
    return call


def written(folder: Path) -> list[str]:
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in files if name != searched.NAME)


@pytest.mark.parametrize(
    ("face", "size", "place"),
    [
        (Face(40, 40, 20, 1), (100, 140), (30, 30, 40)),  # 10 pixels on each side
        (Face(0, 40, 20, 1), (100, 140), (0, 30, 40)),  # moved inside
        (Face(120, 80, 20, 1), (100, 140), (100, 60, 40)),
        (Face(10, 2, 20, 1), (30, 140), (5, 0, 30)),  # the margin shrinks
        (Face(0, 0, 30, 1), (30, 30), (0, 0, 30)),
    ],
)
def test_a_crop_is_the_box_with_its_margin_inside_the_picture(face, size, place):
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    left, top, side = place
    crop = crop_face(picture, face, side, 0.5)  # at its own size nothing is resampled
    np.testing.assert_array_equal(crop, picture[top : top + side, left : left + side])


def test_a_crop_is_made_smaller_without_aliasing():
    stripes = np.zeros((120, 120, 3), np.uint8)
    stripes[:, ::2] = 255
    crop = crop_face(stripes, Face(30, 30, 60, 1), 16, 0.5).astype(int)
    assert crop.shape == (16, 16, 3) and np.abs(crop - 127.5).max() < 12


def test_the_best_face_of_each_picture(run, tmp_path, capsys):
    scene((10, 10, 20, 90), (80, 40, 30, 200)).save(tmp_path / "in" / "two.png")
    scene((40, 40, 20, 90)).save(tmp_path / "in" / "deep" / "one.png")
    scene().save(tmp_path / "in" / "none.png")
    run()
    assert written(tmp_path / "out") == ["deep/one.png", "two.png"]
    best = np.asarray(Image.open(tmp_path / "out" / "two.png"))
    assert best.shape == (32, 32, 3) and tuple(best[16, 16]) == (255, 200, 0), "the surest face in the middle"
    out = capsys.readouterr().out
    assert "3 pictures: 2 faces written, 1 left out: no face" in out
    assert "next: python scripts/clean_images.py --input" in out

    before = run.seen
    run()
    assert run.seen == before, "what was searched is skipped"
    out = capsys.readouterr().out
    assert "0 faces written, 2 already there" in out and "1 left out: no face (searched before)" in out
    run("--overwrite")
    assert run.seen == before + 3


def test_all_faces_get_names_of_their_own(run, tmp_path):
    scene((10, 10, 20, 90), (80, 40, 30, 200), (50, 60, 20, 40)).save(tmp_path / "in" / "a.png")
    scene((10, 10, 20, 90), (80, 40, 30, 200)).save(tmp_path / "in" / "A_2.bmp")  # a.png's second, but for its case
    scene((10, 10, 20, 90)).save(tmp_path / "in" / "b_2.png")
    run("--faces", "all")
    assert written(tmp_path / "out") == sorted(["a.png", "a_3.png", "a_4.png", "A_2.png", "A_2_2.png", "b_2.png"])
    greens = [np.asarray(Image.open(tmp_path / "out" / name))[16, 16, 1] for name in ("a.png", "a_3.png", "a_4.png")]
    assert greens == [200, 90, 40], "the best first"


def test_an_interrupted_picture_is_done_again(run, tmp_path, monkeypatch):
    scene((10, 10, 20, 90), (80, 40, 30, 200)).save(tmp_path / "in" / "a.png")
    save, saved = Image.Image.save, []

    def die_at_the_second(self, path, *args):
        saved.append(path)
        if len(saved) == 2:
            raise KeyboardInterrupt
        save(self, path, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Image.Image, "save", die_at_the_second)
        run("--faces", "all")
    assert written(tmp_path / "out") == ["a_2.png"], "the first name comes last"
    run("--faces", "all")
    assert run.seen == 2 and written(tmp_path / "out") == ["a.png", "a_2.png"]


def test_only_pictures_with_a_single_face(run, tmp_path, capsys):
    scene((10, 10, 20, 90), (80, 40, 30, 200)).save(tmp_path / "in" / "two.png")
    scene((40, 40, 20, 90)).save(tmp_path / "in" / "one.png")
    run("--faces", "single")
    assert written(tmp_path / "out") == ["one.png"]
    assert "1 left out: several faces" in capsys.readouterr().out
    run("--faces", "single")
    assert run.seen == 2 and "1 left out: several faces (searched before)" in capsys.readouterr().out
    (tmp_path / "in" / "one.png").unlink()
    run("--faces", "single")  # "no face found" would be wrong


def test_only_new_and_changed_pictures_are_searched(run, tmp_path):
    for name in ("a", "b", "deep/a"):
        scene().save(tmp_path / "in" / f"{name}.png")
    scene((40, 40, 20, 90)).save(tmp_path / "in" / "face.png")
    run("--workers", 2)
    run()
    assert run.seen == 4
    time = (tmp_path / "in" / "b.png").stat().st_mtime_ns
    scene((40, 40, 20, 90)).save(tmp_path / "in" / "b.png")  # another size at the same time
    os.utime(tmp_path / "in" / "b.png", ns=(time, time))
    os.utime(tmp_path / "in" / "deep" / "a.png", (9, 9))
    scene().save(tmp_path / "in" / "new.png")
    run()
    assert run.seen == 7 and written(tmp_path / "out") == ["b.png", "face.png"]
    for more in (["--min-score", "0.5"], ["--min-face", "30"], ["--faces", "single"]):
        before = run.seen
        run(*more)
        run(*more)
        assert run.seen == before + 3, "other settings may find what was not found"
    run()
    assert run.seen == before + 3, "those of before are still known"


def test_a_list_that_a_crash_has_cut_off_costs_one_search(run, tmp_path):
    for name in "abc":
        scene((40, 40, 20, 90)).save(tmp_path / "in" / f"{name}.png")
        scene().save(tmp_path / "in" / f"{name}_none.png")
    run()
    file = tmp_path / "out" / searched.NAME
    file.write_bytes(b"x" * 200_000 + b"\n" + file.read_bytes()[:-20] + b'"\0')
    (tmp_path / "out" / "c.png").unlink()
    run()
    assert run.seen == 7 and written(tmp_path / "out") == ["a.png", "b.png", "c.png"]
    run()
    assert run.seen == 7


def test_crops_that_the_user_removed_do_not_come_back(run, tmp_path, capsys):
    for name in "ab":
        scene((40, 40, 20, 90)).save(tmp_path / "in" / f"{name}.png")
    run()
    (tmp_path / "out" / "a.png").unlink()
    run()
    assert run.seen == 2 and written(tmp_path / "out") == ["b.png"]
    assert "1 already there (--overwrite makes them again), 1 left out: crop removed since" in capsys.readouterr().out
    run("--overwrite")
    assert written(tmp_path / "out") == ["a.png", "b.png"]


def test_an_interrupted_run_keeps_what_it_knows(run, tmp_path, monkeypatch):
    scene((40, 40, 20, 90)).save(tmp_path / "in" / "a.png")
    scene().save(tmp_path / "in" / "b.png")
    scene((40, 40, 20, 90)).save(tmp_path / "in" / "c.png")

    def stop(self, path, *args):
        if path.name.startswith("c"):
            raise KeyboardInterrupt
        save(self, path, *args)

    save = Image.Image.save
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Image.Image, "save", stop)
        run("--workers", 1)
    (tmp_path / "out" / "a.png").unlink()
    run()
    assert run.seen == 4 and written(tmp_path / "out") == ["c.png"]


def test_overwriting_leaves_no_crop_of_an_earlier_run(run, tmp_path):
    def draw(*places):
        for name in ("a", "deep/a"):
            scene(*places).save(tmp_path / "in" / f"{name}.png")

    draw((10, 10, 20, 90), (80, 40, 30, 200), (50, 60, 20, 40))
    scene((10, 10, 20, 70)).save(tmp_path / "in" / "a_3.png")
    run("--faces", "all")
    (tmp_path / "out" / "a_9.png").write_bytes(b"mine")
    both = ["a.png", "a_2.png", "a_3.png", "a_4.png", "a_9.png", "deep/a.png", "deep/a_2.png", "deep/a_3.png"]
    assert written(tmp_path / "out") == both
    run("--overwrite")
    assert written(tmp_path / "out") == ["a.png", "a_3.png", "a_9.png", "deep/a.png"]
    draw()
    run("--overwrite", "--faces", "all")
    assert written(tmp_path / "out") == ["a_3.png", "a_9.png"], "no face, no crop"


def test_broken_pictures_are_named_and_the_others_done(run, tmp_path, capsys):
    scene((40, 40, 20, 90)).save(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "broken.png").write_bytes((tmp_path / "in" / "good.png").read_bytes()[:60])
    (tmp_path / "in" / "empty.png").touch()
    with pytest.raises(UserError, match="2 of 3 files failed(.|\n)*broken.png(.|\n)*empty.png") as error:
        run("--workers", 2)
    assert error.value.code == 1 and written(tmp_path / "out") == ["good.png"]


def test_no_face_at_all_is_an_error(run, tmp_path):
    scene().save(tmp_path / "in" / "none.png")
    for _ in range(2):
        with pytest.raises(UserError, match="no face found: lower --min-score"):
            run()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "4"], "--size 4: expected 16 to 8192"),
        (["--margin", "nan"], "--margin nan: expected 0 to 4"),
        (["--margin", "-1"], "--margin -1.0"),
        (["--min-score", "nan"], "--min-score nan"),
        (["--min-face", "3"], "--min-face 3: expected 24"),
        (["--faces", "most"], "invalid choice"),
    ],
)
def test_wrong_arguments(words, message, run, capsys):
    with pytest.raises(SystemExit) as error:
        run(*words)
    assert error.value.code == 2 and message in capsys.readouterr().err


def test_the_smallest_face_fills_the_crop_by_default():
    words = ["--input", "a", "--output", "b"]
    assert crop_faces.parse(words).min_face == 48
    assert crop_faces.parse([*words, "--size", "16"]).min_face == 24, "the detector's window"
    assert crop_faces.parse([*words, "--size", "128", "--margin", "0"]).min_face == 128
