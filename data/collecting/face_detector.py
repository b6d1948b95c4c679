"""Faces of drawn characters, found by OpenCV's cascade classifier with nagadomi's lbpcascade_animeface."""

import threading
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from engine.cache import cache_folder
from engine.download import fetch
from engine.errors import UserError
from engine.files import require_writable
from options.published import read_list

DETECTOR = read_list()["face-detector"].files["cascade"]
BY_HAND = ", or name the file by --detector"

WINDOW = 24  # pixels of the smallest face that the cascade knows
# Measured on 300 faces, 100 drawn characters and 100 photos: coarser steps miss more faces, fewer neighbours
# (windows that agree on a face) find more that are none; equalising the histogram brings nothing.
SCALE_STEP = 1.05
NEIGHBOURS = 5


@dataclass(frozen=True)
class Face:
    """A square box in a picture, in pixels, and how sure the detector is of it (about 1 to 7)."""

    left: int
    top: int
    side: int
    score: float


class FaceDetector:
    """Finds the faces of a picture, uint8 [H, W, 3] RGB: the surest first, of threads as many as you like.

    Args:
        cascade: the text of the cascade's XML file, `name`: what an error calls it.
        min_score: faces below are left out.
        min_face: smallest side of a face in pixels.

    Raises:
        UserError (code 2): this is no cascade.
    """

    def __init__(self, cascade: bytes, name: str, min_score: float, min_face: int):
        self.min_score, self.min_face = min_score, min_face
        self._cascade, self._name = cascade, name
        self._own = threading.local()  # a classifier keeps the picture that it searches
        self._classifier()

    def __call__(self, picture: np.ndarray) -> list[Face]:
        boxes, _, scores = self._classifier().detectMultiScale3(
            cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY),
            scaleFactor=SCALE_STEP,
            minNeighbors=NEIGHBOURS,
            minSize=(self.min_face, self.min_face),
            outputRejectLevels=True,
        )
        found = zip(boxes, scores, strict=True)
        faces = [Face(int(x), int(y), int(max(w, h)), float(score)) for (x, y, w, h), score in found]
        return sorted((face for face in faces if face.score >= self.min_score), key=lambda face: -face.score)

    def _classifier(self) -> cv2.CascadeClassifier:
        if not hasattr(self._own, "classifier"):
            self._own.classifier = self._load()
        return self._own.classifier

    def _load(self) -> cv2.CascadeClassifier:
        classifier = cv2.CascadeClassifier()
        try:  # from memory: OpenCV opens no file with an umlaut in its path on Windows
            text = self._cascade.decode("utf-8")
            storage = cv2.FileStorage(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
            sound = classifier.read(storage.getFirstTopLevelNode())
        except (UnicodeDecodeError, cv2.error, SystemError):
            sound = False
        if not sound:
            raise UserError(f"{self._name}: no cascade that OpenCV can read: name the XML file of one", 2)
        return classifier


def read_cascade(local: Path | None = None) -> bytes:
    """The cascade's XML: the file `local`, else the copy in the cache, fetched on first use, of the right SHA-256.

    Raises:
        UserError: it cannot be read (code 2), fetched, or is not the right one.
    """
    if local is not None:
        try:
            return local.read_bytes()
        except OSError as error:
            raise UserError(f"--detector {local}: {error.strerror}: check the path", 2) from error
    folder = cache_folder() / "weights"  # where scripts/download_weights.py puts it, too
    try:
        require_writable(folder)
    except UserError as error:
        if not (folder / DETECTOR.name).is_file():
            print(f"note: {error}; the detector will be fetched again next time")
            with TemporaryDirectory() as elsewhere:
                return fetch(DETECTOR, Path(elsewhere), by_hand=BY_HAND).read_bytes()
    return fetch(DETECTOR, folder, by_hand=BY_HAND).read_bytes()
