"""Join two folders into side-by-side pairs A|B, which pix2pix trains on.

    python scripts/combine_pairs.py edges photos datasets/pairs

Each picture of A meets the one of B that has the same name but for the suffix, in the same sub-folder (train/, val/,
...), and both are written side by side as NAME.png there. Both must have one size; --resize brings B's to A's,
bicubically.

Exit code 0: all written; 1: a picture has no partner, or some failed, listed at the end; 2: wrong arguments.
"""

import argparse
import os
import shlex
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from data.files import Sample, match_stems, read_two
from data.fit import resize
from data.images import read_picture, require_size
from engine.errors import UserError, door
from engine.files import require_writable
from engine.make import make_pictures


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    jobs = find_jobs(args.a, args.b, args.output)
    require_writable(args.output)
    todo = [job for job in jobs if args.overwrite or not job[2].is_file()]
    made = make_pictures(partial(join, stretch=args.resize), todo, args.workers, "joining")
    print(f"{made.summary(len(jobs) - len(todo))} -> {args.output}")
    if made.written or len(todo) < len(jobs):
        root, run = f"data.root={args.output.as_posix()}", f"run.dir=runs/{args.output.name}"
        print(f"next: {shlex.join(['python', 'train_pix2pix.py', root, run, 'data.direction=AtoB'])}")
        print("(AtoB makes B from A, BtoA makes A from B)")
    if made.failed:
        differ = "" if args.resize else "; where sizes differ, --resize brings B's to A's"
        raise UserError(f"{len(made.failed)} of {len(jobs)} pairs failed{differ}:\n  " + "\n  ".join(made.failed))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("a", type=Path, metavar="A", help="a folder of pictures (with sub-folders): the left halves")
    parser.add_argument("b", type=Path, metavar="B", help="a folder with the same names: the right halves")
    parser.add_argument("output", type=Path, metavar="OUTPUT", help="the folder for the pairs")
    parser.add_argument("--resize", action="store_true", help="bring a picture of B to the size of A's")
    parser.add_argument(
        "--workers", type=int, default=min(128, os.cpu_count() or 1), help="threads (default: the cores)"
    )
    parser.add_argument("--overwrite", action="store_true", help="make again what is already there")
    args = parser.parse_args(arguments)
    if not 0 <= args.workers <= 128:
        parser.error(f"--workers {args.workers}: expected 0 to 128")
    return args


def find_jobs(a: Path, b: Path, output: Path) -> list[tuple[Path, Path, Path]]:
    """(picture of A, picture of B, pair) of every name.

    Raises:
        UserError: a folder is missing, lies in another, or two are one; two files have one name; one has no partner.
    """
    if a.resolve() == b.resolve():
        raise UserError(f"{b}: A and B are the same folder; name two", 2)
    for folder in (a, b):
        if output.resolve().is_relative_to(folder.resolve()):
            raise UserError(f"{output}: is {folder} or inside it, which holds what is joined; name another one", 2)
    matches, problems = match_stems(a, b)
    if problems:
        raise UserError(problems[0] + (f" (and {len(problems) - 1} more)" if problems[1:] else ""))
    return [(left, right, output / f"{name}.png") for name, left, right in matches]


def join(a: Path, b: Path, stretch: bool) -> Image.Image:
    """A|B, uint8 [H, 2 * W, 3], of two pictures; UserError names the file that cannot be read or does not fit."""
    if stretch:
        left, right = read_picture(a), read_picture(b)
        right = resize(right, left.shape[:2])
    else:
        left, right = read_two(Sample(a.stem, a, b))
    require_size(left, a)
    height, width = left.shape[:2]
    if 2 * width <= height:
        raise UserError(f"{a}: {width}x{height} pixels, too narrow to be told from one picture as a pair: cut it")
    return Image.fromarray(np.concatenate([left, right], axis=1))


if __name__ == "__main__":
    door(main)
