"""Find the pictures of a folder that are no good for training, and move them aside.

    python scripts/clean_images.py --input faces --dry-run
    python scripts/clean_images.py --input faces --sheet faces-pages
    python scripts/clean_images.py --input faces --reject faces-pages/reject.txt
    python scripts/clean_images.py --restore faces-removed/report.csv

Looks for, in this order: empty files, broken ones, pictures too small, of nearly one colour, with the same pixels as
another, and near duplicates (by a perceptual hash); of duplicates the larger one is kept, of equal ones the first.
Nothing is deleted: they go to DIR-removed/REASON/, sub-folders kept, and report.csv there says what came from where
and why, so that --restore moves it back. --sheet writes pages of what stays; look at them, list the cells or names
that you do not want in a text file beside the pages, and pass it as --reject.

Exit code 0: done, whether or not something was found; 1: some files could not be read or moved; 2: wrong arguments.
"""

import argparse
import os
import shlex
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.collecting.aside import Move, free_name, move_files, plan, restore, write_report
from data.collecting.clean import REASONS, Fault, Limits, find_faults
from data.collecting.contact_pages import read_choice, require_new, write_pages
from data.images import list_pictures
from engine.errors import UserError, door
from engine.files import require_writable

RANGES = {"min_side": (1, 2**16), "flat": (0, 255), "workers": (0, 128)}
MOST_BITS = 48  # of 8,000 anime faces, pairs of as many are still one drawing in two versions; others begin at 58


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    failed = move_back(args.restore) if args.restore else clean(args)
    if failed:
        raise UserError(f"{len(failed)} files failed:\n  " + "\n  ".join(failed))


def clean(args: argparse.Namespace) -> list[str]:
    """Moves aside what is found; returns a line for each file that failed."""
    moved = args.moved or beside(args.input, "-removed")
    require_apart(args.input, moved)
    if args.sheet:
        require_apart(args.input, args.sheet)
        require_new(args.sheet)
    names = {path: _posix(path, args.input) for path in list_pictures(args.input)}
    rejected = choose(args, moved, names)
    limits = Limits(args.min_side, args.flat, args.near)
    found = find_faults(list(names), limits, rejected, args.workers)
    moves = plan(found.faults, args.input, moved)
    if args.dry_run:
        show(moves)
    elif moves:
        require_writable(moved)
    if moves and (args.report or not args.dry_run):
        report = free_name(args.report or moved / "report.csv")
        write_report(report, moves)
        print(f"report: {report}; undo: python scripts/clean_images.py --restore {shlex.quote(str(report))}")
    failed = found.failed
    if moves and not args.dry_run:
        failed = failed + move_files([(move.file, move.moved_to) for move in moves], "moving aside")
    print(f"{len(names)} pictures in {args.input}: {summary(moves, moved, args.dry_run)}")
    if args.sheet:
        kept = [name for path, name in names.items() if path not in found.faults]
        print(f"{write_pages(args.sheet, kept, args.input, args.workers)} pages -> {args.sheet}")
    return failed


def choose(args: argparse.Namespace, moved: Path, names: dict[Path, str]) -> dict[Path, Fault]:
    """The pictures that --reject names, with their fault."""
    if not args.reject:
        return {}
    places = [moved / reason for reason in REASONS]
    gone = {name for place in places for path in place.rglob("*") for name in (path.name, _posix(path, place))}
    chosen, before = read_choice(args.reject, args.input, names.values(), gone)
    if before:
        print(f"{before} of {args.reject} are moved aside already")
    return {path: chosen[name] for path, name in names.items() if name in chosen}


def _posix(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def beside(folder: Path, ending: str) -> Path:
    whole = Path(os.path.abspath(folder))  # of . and .. too
    return whole.with_name(whole.name + ending)


def require_apart(root: Path, other: Path) -> None:
    """Refuse a folder where a training on `root` would find the pictures again."""
    top = root.resolve()
    for folder in (other, *(other / reason for reason in REASONS)):
        place = folder.resolve()
        if place == top or top in place.parents:
            raise UserError(f"{other}: is inside --input {root}, where a training would read it; name another", 2)


def show(moves: list[Move]) -> None:
    for move in moves:
        of = f" of {move.of}" if move.of else ""
        print(f"{move.file}: {move.reason}{of}: {move.detail}")


def summary(moves: list[Move], moved: Path, dry_run: bool) -> str:
    counts = Counter(move.reason for move in moves)
    reasons = ", ".join(f"{counts[reason]} {reason}" for reason in REASONS if counts[reason])
    if not reasons:
        return "nothing found"
    return f"{reasons} -> {moved}" + (" (not moved: --dry-run)" if dry_run else "")


def move_back(report: Path) -> list[str]:
    done, there, failed = restore(report)
    print(f"{done} files moved back, {there} were in their place, {len(failed)} failed")
    return failed


def parse(arguments: list[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--input", type=Path, metavar="DIR", help="the folder (with its sub-folders)")
    what.add_argument("--restore", type=Path, metavar="REPORT", help="move back what a run moved, by its report")
    parser.add_argument("--moved", type=Path, metavar="DIR", help="where they go (default: DIR-removed beside --input)")
    parser.add_argument("--report", type=Path, metavar="FILE", help="the report's name (default: report.csv there)")
    parser.add_argument("--dry-run", action="store_true", help="only say what would be moved")
    parser.add_argument("--min-side", type=int, default=64, help="pixels of the shorter side (default 64)")
    parser.add_argument(
        "--flat",
        type=float,
        default=5.0,
        metavar="LEVELS",
        help="nearly one colour: standard deviation below this in red, green and blue, of 255 (default 5)",
    )
    parser.add_argument(
        "--near",
        type=bits,
        default=24,
        metavar=f"0..{MOST_BITS}|none",
        help="near duplicates: at most so many of the hash's 256 bits differ (default 24: copies of another size or "
        "quality, the same drawing with another expression; 48: also recoloured, or cropped a few pixels aside)",
    )
    parser.add_argument("--sheet", type=Path, metavar="DIR", help="write contact pages of what stays to a new folder")
    parser.add_argument(
        "--reject", type=Path, metavar="LIST", help="move aside what a text file names: a name or cell (2-15) per line"
    )
    parser.add_argument(
        "--workers", type=int, default=min(128, os.cpu_count() or 1), help="threads (default: the cores)"
    )
    args = parser.parse_args(arguments)
    for name, (least, most) in RANGES.items():
        if not least <= getattr(args, name) <= most:
            parser.error(f"--{name.replace('_', '-')} {getattr(args, name)}: expected {least} to {most}")
    given = [name for name, value in vars(args).items() if value != parser.get_default(name)]
    if args.restore and given != ["restore"]:
        parser.error(f"--restore: takes no --{min(set(given) - {'restore'}).replace('_', '-')}: leave it out")
    return args


def bits(word: str) -> int | None:
    if word == "none":
        return None
    if not word.isdecimal() or int(word) > MOST_BITS:
        raise argparse.ArgumentTypeError(f"{word}: expected 0 to {MOST_BITS}, or none")
    return int(word)


if __name__ == "__main__":
    door(main)
