"""The check of a whole data set before training: every file is read once, every problem is one line."""

import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.files import Sample, read_pair
from data.images import read_picture
from data.palette import IGNORED, Palette
from engine.errors import UserError
from engine.progress import progress

SMALLEST = 8  # pixels; below it there is nothing to learn from


@dataclass
class Survey:
    """What a check of a data set found."""

    problems: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)  # (height, width) of the sound pictures
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # per class id, [255] ignored


def survey_seg(
    samples: list[Sample],
    unlabeled: list[Path],
    palette: Palette,
    ignore=(IGNORED,),
    match: str = "threshold",
) -> Survey:
    """Read every sample and every unlabelled picture; the problems come in the order of the files."""

    def look(item: Sample | Path):
        try:
            if isinstance(item, Path):
                picture, counts = read_picture(item), 0
            else:
                picture, ids = read_pair(item, palette, ignore, match)
                counts = np.bincount(ids.ravel(), minlength=256)
        except UserError as error:
            return str(error), None, 0
        height, width = picture.shape[:2]
        if min(height, width) < SMALLEST:
            path = item if isinstance(item, Path) else item.image
            return f"{path}: only {width}x{height} pixels, less than {SMALLEST}: remove it", None, 0
        return None, (height, width), counts

    items = list(dict.fromkeys([*samples, *unlabeled]))  # a sample may be there several times, to weigh more
    survey = Survey()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        looks = progress(pool.map(look, items), len(items), "checking the data")
        for problem, size, counts in looks:
            if problem:
                survey.problems.append(problem)
            else:
                survey.sizes.append(size)
                survey.pixels += counts
    return survey


def check_seg(
    samples: list[Sample],
    unlabeled: list[Path],
    palette: Palette,
    ignore=(IGNORED,),
    match: str = "threshold",
) -> list[str]:
    """The problems of a data set, one line each; an empty list when every file is sound."""
    return survey_seg(samples, unlabeled, palette, ignore, match).problems


def checked(
    samples: list[Sample],
    unlabeled: list[Path],
    palette: Palette,
    ignore=(IGNORED,),
    match: str = "threshold",
    command: str = "python scripts/check_data.py --family seg --root DIR",
) -> None:
    """check_seg before training: the first problem becomes a UserError, unchanged files are not read again.

    command: what the error names for the list of all problems.
    """
    files = [path for sample in samples for path in (sample.image, sample.label) if path] + unlabeled
    stamp = stamp_path(files, [palette.names, palette.colors, sorted(ignore), match])
    if os.path.exists(stamp):  # unlike Path.exists, False where the cache may not be read
        return
    if not sys.stderr.isatty():
        print(f"checking {len(files)} files of the data set, once", flush=True)
    problems = check_seg(samples, unlabeled, palette, ignore, match)
    if problems:
        more = f" (and {len(problems) - 1} more: run {command})" if problems[1:] else ""
        raise UserError(problems[0] + more)
    write_stamp(stamp, len(files))


def stamp_path(files: list[Path], settings: list) -> Path:
    """The stamp of a check: its name is a hash of the files' names, sizes and times, and of the settings."""
    about = [(str(path.absolute()), (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files]
    key = hashlib.sha256(json.dumps([settings, about]).encode()).hexdigest()[:32]
    cache = os.environ.get("ATELIER_CACHE") or os.path.expanduser("~/.cache/atelier")
    return Path(cache) / "checked" / f"{key}.json"


def write_stamp(stamp: Path, count: int) -> None:
    """Leave a stamp; a cache that cannot be written only means that the data are read again."""
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps({"files": count}))
    except OSError:
        return
