"""Drawn faces: the heads of the sample characters, cut out as a set of anime faces is."""

import json
import math
import shutil
from pathlib import Path

import numpy as np
from PIL import Image

from data.drawing.look import choose_look
from data.sample import DRAWN_FOLDER, VERSION, check_spec, draw
from engine.files import whole_file
from engine.make import make_pictures

HALF = 1.45  # half a side of the window in head units (data/drawing/shapes.py): the face, and most of the hair


def draw_face(index: int, size: int) -> np.ndarray:
    """The face of the sample character `index`, uint8 [size, size, 3]: a square about the head with its hair."""
    head = choose_look(np.random.default_rng((0, index))).head  # where draw() puts it, on a canvas of side 1
    side = 2 * HALF * head.scale
    left, top = (min(max(0.0, middle - side / 2), 1 - side) for middle in (head.x, head.y))
    picture = draw(index, math.ceil(size / side)).picture
    box = tuple(edge * len(picture) for edge in (left, top, left + side, top + side))
    return np.array(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC, box=box))


def drawn_faces(count: int, size: int, workers: int = 0) -> Path:
    """The set that data.root=drawn stands for: a folder of `count` faces 000000.png ..., made on first use.

    Raises:
        UserError: something else stands in its place, or it cannot be written.
    """
    root = DRAWN_FOLDER / f"drawn-faces-{count}-{size}"
    spec = {"faces": count, "size": size, "version": VERSION}
    if root.exists():
        check_spec(root, spec)
        return root
    unfinished = root.with_name(root.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    jobs = [(index, unfinished / f"{index:06d}.png") for index in range(count)]
    make_pictures(lambda index: Image.fromarray(draw_face(index, size)), jobs, workers, f"drawing {root}")
    with whole_file(unfinished / "drawn.json") as part:
        part.write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
    unfinished.rename(root)
    return root
