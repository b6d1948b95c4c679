"""The check of a whole data set before training: every file is read once, every problem is one line."""

import json
import os
import shlex
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import yaml

from data.archive import read_zipped
from data.files import Sample, read_pair, read_spade, read_two
from data.images import read_picture, require_size
from data.palette import IGNORED, Palette, nothing_but
from engine.cache import cache_folder, cache_key
from engine.errors import UserError
from engine.progress import progress

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "check_data.py"


@dataclass
class Survey:
    """What a check of a data set found."""

    problems: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)  # (height, width) of the sound pictures
    pixels: np.ndarray = field(default_factory=lambda: np.zeros(256, np.int64))  # per class id, [255] ignored


# A look reads all files of an item and returns its picture's (height, width) and its pixels of each class
# (int [256], 0 where there are no classes); what is wrong with a file is a UserError that names it.
Look = Callable[[Any], tuple[tuple[int, int], Any]]


def look_seg(item: Sample | Path, palette: Palette, ignore=(IGNORED,), match: str = "threshold"):
    """The look at a labelled sample, or at an unlabelled picture."""
    if isinstance(item, Path):
        return look_picture(item)
    picture, ids = read_pair(item, palette, ignore, match)
    return _size(picture, item.image), np.bincount(ids.ravel(), minlength=256)


def look_spade(
    sample: Sample, palette: Palette, ignore=(IGNORED,), match: str = "threshold", background: int | None = None
):
    """The look at a picture, its label and, if there, its hair colours.

    background: the class that is left out of the label. Where there is no other, G and D see a map of zeros, and
    each norm of a constant multiplies the gradient by 1 / sqrt(eps): one such step ruins the weights for good.
    """
    picture, ids, _ = read_spade(sample, palette, ignore, match)
    if background is not None and nothing_but(ids, background):
        raise UserError(
            f"{sample.label or sample.image}: its label is {palette.names[background]} alone, which leaves nothing to "
            "paint and would ruin the training: take the picture out of the data set"
        )
    return _size(picture, sample.image), np.bincount(ids.ravel(), minlength=256)


def look_pix2pix(sample: Sample):
    """The look at A and B."""
    a, _ = read_two(sample)
    return _size(a, sample.image), 0


def look_picture(path: Path):
    """The look at a picture that stands alone."""
    return _size(read_picture(path), path), 0


def look_zipped(name: str, archive: ZipFile):
    """The look at a picture in a zip."""
    return _size(read_zipped(archive, name), Path(archive.filename, name)), 0


def _size(picture: np.ndarray, path: Path) -> tuple[int, int]:
    return require_size(picture, path).shape[:2]


def survey(items: list, look: Look) -> Survey:
    """A look at every item, once each; the problems come in the order of the items."""

    def attempt(item):
        try:
            return None, *look(item)
        except UserError as error:
            return str(error), None, 0

    items = list(dict.fromkeys(items))  # a sample may be there several times, to weigh more
    found = Survey()
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for problem, size, counts in progress(pool.map(attempt, items), len(items), "checking the data"):
            if problem:
                found.problems.append(problem)
            else:
                found.sizes.append(size)
                found.pixels += counts
    return found


def require_sound(items: list, look: Look, settings: list, command: str) -> None:
    """The survey before a training: the first problem becomes a UserError, unchanged files are not read again.

    settings: what else the result depends on, plain values; command: what the error names for the list of all.
    """
    files = [path for item in items for path in files_of(item)]
    stamp = stamp_path(files, settings)
    if os.path.exists(stamp):  # unlike Path.exists, False where the cache may not be read
        return
    problems = survey(items, look).problems
    if problems:
        more = f" (and {len(problems) - 1} more: run {command})" if problems[1:] else ""
        raise UserError(problems[0] + more)
    write_stamp(stamp, len(files))


def files_of(item: Sample | Path) -> list[Path]:
    return [item] if isinstance(item, Path) else [path for path in (item.image, item.label, item.color) if path]


def checked(
    samples: list[Sample],
    unlabeled: list[Path],
    palette: Palette,
    ignore=(IGNORED,),
    match: str = "threshold",
    command: str = "python scripts/check_data.py --family seg --root DIR",
) -> None:
    """require_sound for a seg training."""
    settings = ["seg", len(samples), palette.names, palette.colors, sorted(ignore), match]
    look = partial(look_seg, palette=palette, ignore=ignore, match=match)
    require_sound([*samples, *unlabeled], look, settings, command)


def check_command(root: Path | str, data: Any) -> str:
    """The shell command that lists all problems of what a seg run with the data options `data` reads from `root`."""
    unlabeled = data.unlabeled
    if data.root == "drawn" and unlabeled is None:  # the drawn set brings its own
        unlabeled = Path(root) / "unlabeled"
    words = check_words("seg", root=root, val=data.val, extra=data.extra, unlabeled=unlabeled)
    return shlex.join(words + _label_words(data))


def spade_check_command(root: Path | str, val: str | None, data: Any) -> str:
    """As check_command, for a spade run's main set or its rough one."""
    words = check_words("spade", root=root, val=val) + _label_words(data)
    if data.background != default_background(data.class_names):
        words += ["--background", data.background or "none"]
    return shlex.join(words)


def default_background(names: tuple[str, ...]) -> str | None:
    """What check_data.py takes for a spade run's background: the default of data.background, or none."""
    return "background" if "background" in names else None


def _label_words(data: Any) -> list[str]:
    """The arguments that say how labels are read, where they are not the default."""
    words = []
    if data.classes != "anime":
        words += ["--classes", classes_word(data.classes)]
    if set(data.ignore) - {IGNORED}:
        words += ["--ignore", *map(str, data.ignore)]
    if data.label_colors != "threshold":
        words += ["--label-colors", data.label_colors]
    return words


def check_words(family: str, **paths: Path | str | None) -> list[str]:
    """The words of a check_data.py command with the paths that are there, by argument name."""
    script = SCRIPT.relative_to(Path.cwd()) if SCRIPT.is_relative_to(Path.cwd()) else SCRIPT
    words = ["python", script.as_posix(), "--family", family]
    for name, path in paths.items():
        words += [f"--{name}", Path(path).as_posix()] if path else []
    return words


def classes_word(classes: tuple) -> str:
    """The classes of the options, ((name, colour or None), ...), as YAML on one line."""
    plain = {name: None if color is None else list(color) for name, color in classes}
    named = plain if any(plain.values()) else list(plain)
    return yaml.safe_dump(
        named, default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf")
    ).strip()


def stamp_path(files: list[Path], settings: list) -> Path:
    """The stamp of a check: its name is a hash of the files' names, sizes and times, and of the settings."""
    return cache_folder() / "checked" / f"{cache_key(files, settings)}.json"


def write_stamp(stamp: Path, count: int) -> None:
    """Leave a stamp; a cache that cannot be written only means that the data are read again."""
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(json.dumps({"files": count}))
    except OSError:
        return
