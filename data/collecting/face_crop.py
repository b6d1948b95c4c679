"""Squares around the faces of a picture."""

import re
from collections.abc import Callable, Collection, Iterator
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image

from data.collecting.face_detector import Face
from data.fit import resize
from data.images import read_picture
from engine.folder import Job, beside

WHICH = ("best", "all", "single")


def crop_face(picture: np.ndarray, face: Face, size: int, margin: float) -> np.ndarray:
    """The face, uint8 [size, size, 3], with `margin` times its side on each side of it.

    A square that would reach beyond the picture is moved inside; where the picture is too small for it, the margin
    shrinks. So a crop is never distorted and holds no invented border.
    """
    height, width = picture.shape[:2]
    side = min(round(face.side * (1 + 2 * margin)), height, width)
    left, top = (
        min(max(round(start + (face.side - side) / 2), 0), room - side)
        for start, room in ((face.left, width), (face.top, height))
    )
    return resize(picture[top : top + side, left : left + side], (size, size))


def crop_faces(
    source: Path,
    target: Path,
    *,
    detect: Callable[[np.ndarray], list[Face]],
    which: str,
    size: int,
    margin: float,
    taken: Collection[str] = (),
) -> dict[Path, Image.Image] | str:
    """The crops of a picture's faces by their files, or why there are none.

    Args:
        detect: the faces of a picture, uint8 [H, W, 3], the best first.
        which: best: the best face alone; all: each, as NAME.png, NAME_2.png, ...; single: the face of a picture
            that has only one.
        taken: see further_names.

    Raises:
        UserError: the picture cannot be read.
    """
    assert which in WHICH, which
    picture = read_picture(source)
    faces = detect(picture)
    if not faces:
        return "no face"
    if which == "single" and faces[1:]:
        return "several faces"
    targets = [target]
    if which == "all":
        targets += [name for name, _ in zip(further_names(target, taken), faces[1:], strict=False)]
    crops = {
        name: Image.fromarray(crop_face(picture, face, size, margin))
        for name, face in zip(targets, faces, strict=False)
    }
    return dict(reversed(crops.items()))  # NAME.png last: while it lacks, the picture is not done


def further_names(target: Path, taken: Collection[str]) -> Iterator[Path]:
    """NAME_2.png, NAME_3.png, ... without those that are in `taken`, in lower case."""
    names = (beside(target, f"_{number}.png") for number in count(2))
    return (name for name in names if str(name).casefold() not in taken)


def numbered(jobs: list[Job]) -> set[str]:
    """The targets that look like further faces of another picture, in lower case, for further_names."""
    return {str(job.target).casefold() for job in jobs if re.search(r"_\d+$", job.target.stem)}
