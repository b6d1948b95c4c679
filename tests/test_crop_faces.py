"""data/face_detector.py, data/face_crop.py and scripts/crop_faces.py."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.collecting import face_detector
from data.collecting.face_crop import crop_face
from data.collecting.face_detector import Face, FaceDetector, read_cascade
from engine.errors import UserError
from scripts import crop_faces
from scripts.crop_faces import main
from tests.file_server import Answer

pytest_plugins = ["tests.file_server"]

SHARED = Path(__file__).parents[2] / "shared" / "data" / "faces_in_pictures"
CONTENT = b"<opencv_storage/>"


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
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


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
    assert run.seen == before + 1, "pictures that have their crop are skipped"
    assert "0 faces written, 2 already there" in capsys.readouterr().out
    run("--overwrite")
    assert run.seen == before + 4


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

    monkeypatch.setattr(Image.Image, "save", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        run("--faces", "all")
    monkeypatch.undo()
    assert written(tmp_path / "out") == ["a_2.png"], "the first name comes last"


def test_only_pictures_with_a_single_face(run, tmp_path, capsys):
    scene((10, 10, 20, 90), (80, 40, 30, 200)).save(tmp_path / "in" / "two.png")
    scene((40, 40, 20, 90)).save(tmp_path / "in" / "one.png")
    run("--faces", "single")
    assert written(tmp_path / "out") == ["one.png"]
    assert "1 left out: several faces" in capsys.readouterr().out


def test_broken_pictures_are_named_and_the_others_done(run, tmp_path, capsys):
    scene((40, 40, 20, 90)).save(tmp_path / "in" / "good.png")
    (tmp_path / "in" / "broken.png").write_bytes((tmp_path / "in" / "good.png").read_bytes()[:60])
    (tmp_path / "in" / "empty.png").touch()
    with pytest.raises(UserError, match="2 of 3 files failed(.|\n)*broken.png(.|\n)*empty.png") as error:
        run("--workers", 2)
    assert error.value.code == 1 and written(tmp_path / "out") == ["good.png"]


def test_no_face_at_all_is_an_error(run, tmp_path):
    scene().save(tmp_path / "in" / "none.png")
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


@pytest.fixture
def detector(site, monkeypatch):
    """A file on a local server in the detector's place."""
    known = {"urls": (site.put("/face.xml", CONTENT),), "size": None, "sha256": hashlib.sha256(CONTENT).hexdigest()}
    monkeypatch.setattr(face_detector, "DETECTOR", replace(face_detector.DETECTOR, **known))
    return site


def test_the_detector_is_fetched_once_and_checked_every_time(detector, cache, capsys):
    assert read_cascade() == CONTENT and read_cascade() == CONTENT and len(detector.requests) == 1
    file = cache / "weights" / "lbpcascade_animeface.xml"
    assert written(cache) == [f"weights/{file.name}"] and str(file) in capsys.readouterr().out
    file.write_bytes(CONTENT[:-3])
    assert read_cascade() == CONTENT and len(detector.requests) == 2, "a damaged copy is fetched again"
    assert file.read_bytes() == CONTENT


def test_what_is_not_the_detector_is_refused(detector, cache):
    detector.put("/face.xml", Answer(b"<html>log in</html>"))
    with pytest.raises(UserError, match="a web page .*in a browser .*--detector") as error:
        read_cascade()
    assert error.value.code == 1 and written(cache) == []


def test_a_cache_that_cannot_be_written_costs_a_note(detector, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATELIER_CACHE", str(tmp_path / "file" / "cache"))
    assert read_cascade() == CONTENT and "note: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"no XML", CONTENT, b"<opencv_storage><a>1</a></opencv_storage>"]
)
def test_a_local_file_that_is_no_cascade(content, tmp_path):
    file = tmp_path / "mine.xml"
    file.write_bytes(content)
    with pytest.raises(UserError, match="mine.xml: no cascade that OpenCV can read") as error:
        FaceDetector(read_cascade(file), file.name, 1, 24)
    assert error.value.code == 2
    with pytest.raises(UserError, match="--detector .*gone"):
        read_cascade(tmp_path / "gone")


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
def test_the_face_of_a_real_picture(tmp_path):
    detector = SHARED / "lbpcascade_animeface.xml"
    assert hashlib.sha256(detector.read_bytes()).hexdigest() == face_detector.DETECTOR.sha256
    picture = np.asarray(Image.open(SHARED / "anime_image_misaka_mikoto.png").convert("RGB"))
    detect = FaceDetector(read_cascade(detector), "", 1, 48)
    (face,) = detect(picture)
    assert abs(face.left - 240) < 10 and abs(face.top - 67) < 10 and abs(face.side - 291) < 10 and face.score > 2
    assert FaceDetector(read_cascade(detector), "", face.score + 1, 48)(picture) == []
    assert FaceDetector(read_cascade(detector), "", 1, 500)(picture) == []
    main(["--input", str(SHARED), "--output", str(tmp_path), "--detector", str(detector), "--faces", "single"])
    crop = np.asarray(Image.open(tmp_path / "anime_image_misaka_mikoto.png"))
    np.testing.assert_array_equal(crop, crop_face(picture, face, 96, 0.5))
