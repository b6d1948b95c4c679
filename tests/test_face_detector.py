"""data/collecting/face_detector.py."""

import hashlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from data.collecting import face_detector
from data.collecting.face_crop import crop_face
from data.collecting.face_detector import Face, FaceDetector, read_cascade
from engine.errors import UserError
from scripts.crop_faces import main
from tests.file_server import Answer

pytest_plugins = ["tests.file_server"]

SHARED = Path(__file__).parents[2] / "shared" / "data" / "faces_in_pictures"
CONTENT = b"<opencv_storage/>"


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


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


def test_without_the_detector_nothing_is_begun(detector, cache, tmp_path):
    Image.new("RGB", (50, 50)).save(tmp_path / "a.png")
    detector.put("/face.xml", Answer(b"busy", status=404))
    with pytest.raises(UserError, match="lbpcascade_animeface.xml(.|\n)*--detector") as error:
        main(["--input", str(tmp_path / "a.png"), "--output", str(tmp_path / "out")])
    assert error.value.code == 1 and not (tmp_path / "out").exists()


def test_the_surest_face_comes_first_and_weak_ones_are_left_out(monkeypatch):
    asked = {}

    def search(picture, **how):
        asked.update(how, shape=picture.shape)
        boxes = np.array([[1, 2, 30, 31], [5, 6, 50, 50], [7, 8, 70, 70]])
        return boxes, np.zeros(3), np.array([1.0, 0.99, 3.5])

    monkeypatch.setattr(FaceDetector, "_load", lambda self: SimpleNamespace(detectMultiScale3=search))
    faces = FaceDetector(b"", "", 1.0, 48)(np.zeros((80, 90, 3), np.uint8))
    assert faces == [Face(7, 8, 70, 3.5), Face(1, 2, 31, 1.0)]
    assert asked["minSize"] == (48, 48) and asked["shape"] == (80, 90) and asked["outputRejectLevels"]

    nothing = ((), (), ())  # what OpenCV returns then
    monkeypatch.setattr(FaceDetector, "_load", lambda self: SimpleNamespace(detectMultiScale3=lambda *a, **k: nothing))
    assert FaceDetector(b"", "", 1.0, 48)(np.zeros((80, 90, 3), np.uint8)) == []


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
