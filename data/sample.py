"""Drawn sample characters: an anime portrait, its label map and its hair-colour map for every index.

They are Atelier's own data: any number of labelled pictures with nothing to download.  The same seed and
index give the same character, at any size with the same composition.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.drawing.bangs import choose_bangs, draw_crown, draw_loose_hairs, shade_forehead
from data.drawing.behind import draw_behind
from data.drawing.body import draw_body, draw_forearm
from data.drawing.extras import draw_extra
from data.drawing.face import (
    draw_blush,
    draw_brows,
    draw_ears,
    draw_eyes,
    draw_glasses,
    draw_head,
    draw_mouth,
    draw_nose,
)
from data.drawing.ground import draw_ground
from data.drawing.hair import choose_cut, draw_back_hair, draw_braids, draw_side_locks, draw_tails
from data.drawing.look import Look, chance, choose_look
from data.drawing.shapes import BACKGROUND, HAIR, OTHER, Canvas, Pen
from data.palette import ANIME, palette_of
from engine.errors import UserError
from engine.files import cannot_write
from engine.progress import progress

DRAWN_FOLDER = Path("datasets")
KINDS = ("images", "labels", "colors")
# Raised whenever the drawings change, so that an older set on disk is not taken for the same.
VERSION = 1
# Indices of the three parts never meet, and the first ones of a part do not depend on the counts.
FIRST_INDEX = {"train": 0, "val": 10_000_000, "unlabeled": 20_000_000}


@dataclass(frozen=True)
class Character:
    """One drawn character of side S.

    picture: uint8 [S,S,3] RGB; label: uint8 [S,S], 0 eye, 1 face, 2 hair, 3 other, 4 background;
    colors: uint8 [S,S,3], everywhere the base colour of the hair.
    """

    picture: np.ndarray
    label: np.ndarray
    colors: np.ndarray


def draw(index: int, size: int = 256, seed: int = 0) -> Character:
    """The character number ``index`` of the family ``seed``, ``size`` pixels wide and high."""
    rng = np.random.default_rng((seed, index))
    look = choose_look(rng)
    factor = max(2, -(-384 // size))
    canvas = Canvas(size * factor)
    draw_ground(canvas, rng)
    draw_figure(canvas, look, rng)
    counts = class_counts(np.asarray(canvas.label), factor)
    picture = np.asarray(canvas.picture.reduce(factor), dtype=np.float32)
    picture = tint(picture, counts / factor**2, look, rng)
    colors = np.broadcast_to(np.array(look.hair, dtype=np.uint8), (size, size, 3)).copy()
    return Character(picture, counts.argmax(axis=0).astype(np.uint8), colors)


def draw_figure(canvas: Canvas, look: Look, rng: np.random.Generator) -> None:
    """All parts of the character from the back to the front."""
    head = Pen(canvas, look.head.enlarged(canvas.side), look.line, look.ink)
    body = Pen(canvas, look.body.enlarged(canvas.side), look.line, look.ink)
    cut = choose_cut(look, rng)
    bangs = choose_bangs(cut, look, rng)
    draw_behind(body, look, rng)
    draw_tails(head, look, cut, rng)
    draw_back_hair(head, look, cut, rng)
    raised, sleeve = draw_body(body, look, rng)
    draw_ears(head, look, rng)
    draw_head(head, look, rng)
    draw_blush(head, look, rng)
    shade_forehead(head, look, bangs)
    draw_nose(head, look, rng)
    draw_mouth(head, look, rng)
    draw_brows(head, look, rng)
    draw_eyes(head, look, rng)
    if chance(rng, 0.08):
        draw_glasses(head, look, rng)
    if cut.style == "braids":
        draw_braids(head, look, cut, rng)
    draw_side_locks(head, look, cut, rng)
    draw_loose_hairs(head, look, cut, rng)
    draw_crown(head, look, cut, bangs, rng)
    draw_extra(head, look, cut, rng)
    for joints in raised:
        draw_forearm(body, look, joints, sleeve)


def class_counts(label: np.ndarray, factor: int) -> np.ndarray:
    """How often each class occurs in the blocks of ``factor`` x ``factor`` pixels -> [5,S,S]."""
    size = label.shape[0] // factor
    counts = np.zeros((len(ANIME), size, size), dtype=np.uint16)
    for row in range(factor):
        for column in range(factor):
            part = label[row::factor, column::factor]
            for class_id in range(len(ANIME)):
                counts[class_id] += part == class_id
    return counts


def tint(picture: np.ndarray, shares: np.ndarray, look: Look, rng: np.random.Generator) -> np.ndarray:
    """Soft colour over the drawing: hair that changes to its tips and has a grain, watercolour."""
    size = picture.shape[0]
    y = (np.arange(size, dtype=np.float32) + 0.5) / size
    below = np.clip((y - look.head.y) / (2.8 * look.head.scale), 0, 1)[:, None]
    change = (np.array(look.hair_tip) - look.hair).astype(np.float32)
    picture = picture + (shares[HAIR] * below)[..., None] * change * 0.8
    picture = picture + (shares[HAIR] * look.grain * noise(size, (7, 80), rng))[..., None]
    if look.wash > 0:
        clouds = 0.7 * noise(size, (6, 6), rng) + 0.3 * noise(size, (24, 24), rng)
        pale = look.wash * (0.25 + 0.25 * clouds) * (1 - shares[BACKGROUND])
        pale = pale * (0.6 + 0.6 * shares[OTHER] * below)
        picture = picture + np.clip(pale, 0, 0.7)[..., None] * (252 - picture)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def noise(size: int, cells: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Smooth noise in about -1..1 with ``cells`` (rows, columns) random values -> [size,size]."""
    grid = Image.fromarray(rng.uniform(-1, 1, cells).astype(np.float32))
    return np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))


def drawn_set(data: Any, *, labeled: int, unlabeled: int, val: int) -> Path:
    """The set that data.root=drawn stands for, by the data options `data`, made on first use.

    Raises:
        UserError: data.size is not square, data.classes are not anime's, or something else stands in the set's place.
    """
    if data.size == "native" or data.size[0] != data.size[1]:
        shown = data.size if data.size == "native" else list(data.size)
        raise UserError(f"data.size={shown}: drawn characters are square; give one number, or a data.root", 2)
    classes = getattr(data, "classes", "anime")  # pix2pix has none
    if palette_of(classes) != ANIME:
        names = ",".join(name for name, _ in classes)
        raise UserError(
            f"data.classes={names}: drawn characters have the classes of anime; leave it out, or give your data "
            "as data.root",
            2,
        )
    root = DRAWN_FOLDER / f"drawn-{labeled}-{unlabeled}-{val}-{data.size[0]}"
    counts = dict(labeled=labeled, unlabeled=unlabeled, val=val)
    return make_drawn_set(root, **counts, size=data.size[0], workers=data.workers)


def make_drawn_set(
    root: Path, *, labeled: int, unlabeled: int, val: int, size: int, seed: int = 0, workers: int = 0
) -> Path:
    """Draws a data set at ``root`` and returns it; a set that is there already with the same spec is kept.

    train/ and val/ get images/, labels/ (indexed PNG) and colors/, unlabeled/ gets pictures alone; the
    names are 000000.png and so on.  The set appears at ``root`` only when it is complete.

    Raises:
        UserError: ``root`` exists and holds anything else.
    """
    root = Path(root)
    counts = {"labeled": labeled, "unlabeled": unlabeled, "val": val}
    spec = {**counts, "size": size, "seed": seed, "version": VERSION}
    if size < 16 or seed < 0 or min(counts.values()) < 0 or not any(counts.values()):
        remedy = "give a size of at least 16 and counts of at least 0, one of them more"
        raise UserError(f"{root}: cannot draw {spec}; {remedy}", 2)
    if root.exists():
        check_spec(root, spec)
        return root
    unfinished = root.with_name(root.name + ".unfinished")
    try:
        make_folders(unfinished)
    except OSError as error:
        raise UserError(f"{root}: cannot be made ({error.strerror}); name another folder") from error
    jobs = [
        (part, number, size, seed, unfinished)
        for part, count in (("train", labeled), ("val", val), ("unlabeled", unlabeled))
        for number in range(count)
    ]
    try:
        for _ in progress(run_jobs(jobs, workers), len(jobs), f"drawing {root}", "character"):
            pass
        (unfinished / "drawn.json").write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
        unfinished.rename(root)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise cannot_write(root, error) from None
    return root


def make_folders(unfinished: Path) -> None:
    """Empty folders for a new set; what an interrupted run left there goes."""
    if unfinished.exists():
        shutil.rmtree(unfinished)
    for part in ("train", "val"):
        for kind in KINDS:
            (unfinished / part / kind).mkdir(parents=True)
    (unfinished / "unlabeled").mkdir()


def check_spec(root: Path, spec: dict) -> None:
    """Raises a UserError unless ``root`` holds a drawn set made to ``spec``."""
    remedy = "name another folder or remove this one"
    try:
        found = json.loads((root / "drawn.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise UserError(f"{root}: exists but is not a drawn set; {remedy}") from None
    if not isinstance(found, dict):
        raise UserError(f"{root}: exists but is not a drawn set; {remedy}")
    wrong = [f"{key} {found.get(key)} instead of {value}" for key, value in spec.items() if found.get(key) != value]
    if wrong:
        raise UserError(f"{root}: holds a drawn set with {', '.join(wrong)}; {remedy}")


def run_jobs(jobs: list[tuple], workers: int) -> Iterator[None]:
    if workers <= 0:
        yield from map(write_character, jobs)
        return
    # spawn on every system: it is the only way on Windows, and fork is unsafe once torch has threads.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(write_character, jobs, chunksize=8)


def write_character(job: tuple[str, int, int, int, Path]) -> None:
    """Draws one character (part, number, size, seed, root of the set) and writes its files."""
    part, number, size, seed, root = job
    character = draw(FIRST_INDEX[part] + number, size, seed)
    name = f"{number:06d}.png"
    if part == "unlabeled":
        Image.fromarray(character.picture).save(root / part / name)
        return
    # Pillow makes an indexed picture of a grey one that gets a palette.
    label = Image.fromarray(character.label)
    label.putpalette(ANIME.table.ravel().tolist())
    pictures = (Image.fromarray(character.picture), label, Image.fromarray(character.colors))
    for kind, picture in zip(KINDS, pictures, strict=True):
        picture.save(root / part / kind / name)
