"""Files moved aside instead of deleted, with a report by which they are moved back."""

import csv
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from itertools import count
from pathlib import Path

from data.collecting.clean import Fault
from engine.errors import UserError
from engine.files import cannot_write, whole_file
from engine.progress import progress

COLUMNS = ("file", "reason", "of", "detail", "moved_to")


@dataclass(frozen=True)
class Move:
    """A line of the report; absolute paths."""

    file: str
    reason: str
    of: str
    detail: str
    moved_to: str


def plan(faults: Mapping[Path, Fault], root: Path, moved: Path) -> list[Move]:
    """Where the files below `root` go: moved/REASON/ with their sub-folders, under a name that is free."""
    taken: set[str] = set()
    moves = []
    for path, fault in faults.items():
        target = _free(moved / fault.reason / path.relative_to(root), taken)
        of = os.path.abspath(fault.of) if fault.of else ""
        moves.append(Move(os.path.abspath(path), fault.reason, of, fault.detail, os.path.abspath(target)))
    return moves


def free_name(path: Path) -> Path:
    """The path, or NAME_2, NAME_3, ... if something is there."""
    return _free(path, set())


def _free(path: Path, taken: set[str]) -> Path:
    names = (path.with_name(f"{path.stem}_{number}{path.suffix}") for number in count(2))
    while os.path.lexists(path) or str(path).casefold() in taken:  # some file systems do not tell the case
        path = next(names)
    taken.add(str(path).casefold())
    return path


def write_report(path: Path, moves: Iterable[Move]) -> None:
    """The moves as CSV. Written before they are made, so that those of an interrupted run can be undone."""
    with (
        whole_file(path) as part,
        part.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file,
    ):
        lines = csv.writer(file)
        lines.writerow(COLUMNS)
        lines.writerows(map(astuple, moves))


def read_report(path: Path) -> list[Move]:
    """The moves of a report; a UserError names what is wrong with it."""
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            header, *lines = csv.reader(file)
        if tuple(header) != COLUMNS:
            raise ValueError(header)
        moves = [Move(*line) for line in lines if line]
    except OSError as error:
        raise UserError(f"--restore {path}: {error.strerror}: name the report.csv of a run", 2) from error
    except (csv.Error, TypeError, ValueError) as error:
        raise UserError(
            f"--restore {path}: no report of clean_images.py (columns {', '.join(COLUMNS)}): name its report.csv", 2
        ) from error
    if not all(move.file and move.moved_to for move in moves):
        raise UserError(f"--restore {path}: a line without file or moved_to: mend or remove it", 2)
    return moves


def move_files(moves: list[tuple[str, str]], title: str) -> list[str]:
    """Moves the files, (from, to), and returns a line for each that was not moved; nothing is overwritten.

    Raises:
        UserError: the place to move to cannot be written.
    """
    failed = []
    for source, target in progress(moves, len(moves), title):
        if os.path.lexists(target):
            failed.append(f"{target}: is there already: move it, {source} stays where it is")
        elif not os.path.lexists(source):
            failed.append(f"{source}: is no longer there: nothing to move to {target}")
        else:
            try:
                os.makedirs(os.path.dirname(target), exist_ok=True)
                shutil.move(source, target)
            except OSError as error:
                raise cannot_write(target, error) from error
    return failed


def restore(report: Path) -> tuple[int, int, list[str]]:
    """(how many files were moved back, how many had not been moved, a line for each that cannot be)."""
    moves = read_report(report)
    away = [move for move in moves if os.path.lexists(move.moved_to) or not os.path.lexists(move.file)]
    failed = move_files([(move.moved_to, move.file) for move in away], "moving back")
    return len(away) - len(failed), len(moves) - len(away), failed
