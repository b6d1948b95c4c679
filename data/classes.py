"""The classes of pictures, for class-conditional training: by sub-folder, or by a CSV file of tags."""

import csv
import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from data.images import SUFFIXES
from engine.errors import UserError

MOST_NAMED = 12  # classes that a line lists
MOST_CLASSES = 1000  # that are taken without being named

Tags = Mapping[str, Sequence[str]]  # of each picture, by its name


def tags_by_folder(names: Sequence[str], root: Path) -> dict[str, list[str]]:
    """The first folder of each picture's posix path as its only tag; a picture beside the folders has none.

    Raises:
        UserError: there are no two folders.
    """
    tags = {name: list(PurePosixPath(name).parts[:-1][:1]) for name in names}
    folders = {folder for found in tags.values() for folder in found}
    if len(folders) < 2:
        there = f"all pictures are in {min(folders)}/" if folders else "no picture is in one"
        raise UserError(
            f"data.labels=folders: {root}: a sub-folder is a class, but {there}: make a sub-folder for each class, "
            "or set data.labels=none"
        )
    return tags


def tags_by_csv(names: Sequence[str], root: Path, file: Path) -> dict[str, list[str]]:
    """The tags of each picture by a CSV file of file,tag[,tag...] lines, UTF-8; the first line may be a header.

    A picture is named by its path below `root`, with or without suffix (a crop of a.jpg may be a.png). Lines that
    name no picture are counted in a note; several lines of a picture add up.

    Raises:
        UserError: the file cannot be read, or names no picture.
    """
    by_stem: dict[str, list[str]] = {}
    for name in names:
        by_stem.setdefault(_stem(name), []).append(name)
    tags: dict[str, list[str]] = {name: [] for name in names}
    lines = _read_csv(file)
    named, unknown = 0, []
    for number, (first, *rest) in enumerate(lines):
        cell = first.replace("\\", "/").removeprefix("./")
        meant = [cell] if cell in tags else by_stem.get(_stem(cell), [])
        for name in meant:
            tags[name] += [tag for tag in rest if tag and tag not in tags[name]]
        named += bool(meant)
        if not meant and number:  # the first line may be a header
            unknown.append(cell)
    if not named:
        such = f"; it names {lines[0][0]!r}, the pictures are named as {names[0]!r}" if lines else "; it is empty"
        raise UserError(f"data.labels: {file}: no line names a picture of {root}{such}: write file,tag[,tag...] lines")
    if unknown:
        print(f"note: {file}: lines that name no picture of {root}: {len(unknown)}, such as {unknown[0]!r}")
    return tags


def _read_csv(file: Path) -> list[list[str]]:
    """The lines with anything in them, their cells without spaces around."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = [[cell.strip() for cell in row] for row in csv.reader(opened)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or "not a CSV file in UTF-8"
        raise UserError(
            f"data.labels: {file}: {reason}: expected none, folders, or a CSV file of file,tag[,tag...] lines"
        ) from error
    return [row for row in rows if any(row)]


def _stem(name: str) -> str:
    path = PurePosixPath(name)
    return name.removesuffix(path.suffix) if path.suffix.lower() in SUFFIXES else name


def choose_classes(tags: Tags, wanted: Sequence[str], root: Path) -> tuple[str, ...]:
    """The classes in order: those of data.classes, or all tags, sorted.

    Raises:
        UserError: no picture has any tag, none has one of the wanted, or there are more than MOST_CLASSES to take.
    """
    there = sorted({tag for found in tags.values() for tag in found})
    if not there:
        raise UserError(f"data.labels: no picture of {root} has a tag: write file,tag[,tag...] lines")
    unknown = next((name for name in wanted if name not in there), None)
    if unknown is not None:
        raise UserError(f"data.classes: {unknown}: no picture of {root} has this class; {near_classes(unknown, there)}")
    if not wanted and len(there) > MOST_CLASSES:
        raise UserError(
            f"data.labels: the pictures of {root} have {len(there):,} tags, more than {MOST_CLASSES:,} classes: "
            "name those to train on in data.classes"
        )
    return tuple(wanted) or tuple(there)


def near_classes(name: str, classes: Sequence[str]) -> str:
    """The remedy for an unknown class: names like it, or what there is."""
    near = difflib.get_close_matches(name, classes, 3, 0.5)
    return f"did you mean {' or '.join(near)}?" if near else f"there are {named(classes)}"


def named(words: Sequence[str]) -> str:
    """The first words of a list, and how many more there are."""
    more = f" and {len(words) - MOST_NAMED} more" if len(words) > MOST_NAMED else ""
    return ", ".join(words[:MOST_NAMED]) + more


def require_members(names: Sequence[str], tags: Tags, classes: Sequence[str], remedy: str) -> str:
    """How many of the pictures each class has, as words; UserError for a class without any."""
    counts = Counter(tag for name in names for tag in tags[name])
    empty = [name for name in classes if not counts[name]]
    if empty:
        raise UserError(f"data.classes: {named(empty)}: no picture left in this class: {remedy}")
    return named([f"{name} {counts[name]}" for name in classes])


def multi_hot(names: Sequence[str], tags: Tags, classes: Sequence[str]) -> Tensor:
    """y, uint8 [N, K]: 1 where a picture has the class, else 0."""
    y = torch.zeros(len(names), len(classes), dtype=torch.uint8)
    channel = {name: k for k, name in enumerate(classes)}
    places = [(row, channel[tag]) for row, name in enumerate(names) for tag in tags[name] if tag in channel]
    rows, columns = torch.tensor(places, dtype=torch.long).reshape(-1, 2).T
    y[rows, columns] = 1
    return y
