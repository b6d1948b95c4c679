"""Cut the faces out of pictures of drawn characters, as square PNGs of one size.

    python scripts/crop_faces.py --input crawled --output faces --size 96 --margin 0.5

The faces are found by OpenCV with nagadomi's lbpcascade_animeface, which is downloaded on first use. A crop is the
face's box with a margin on each side; near the picture's edge it is moved inside, and where the picture is too small
the margin shrinks. Written as NAME.png, sub-folders kept. OUTPUT/searched.csv says what was found in each picture, so
that the same command only searches new ones, and crops that you removed since do not come back.

Exit code 0: all pictures searched; 1: some files failed, listed at the end, or no face was found; 2: wrong arguments.
"""

import argparse
import hashlib
import math
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable
from functools import partial
from itertools import islice
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.collecting.face_crop import WHICH, crop_faces, further_names, numbered
from data.collecting.face_detector import DETECTOR, WINDOW, FaceDetector, read_cascade
from data.collecting.searched import WRITTEN, Searched
from engine.errors import UserError, door
from engine.files import cannot_write, require_writable
from engine.folder import Job, find_jobs
from engine.make import make_files

RANGES = {
    "size": (16, 8192),
    "margin": (0, 4),
    "min_score": (-1000, 1000),
    "min_face": (WINDOW, 8192),
    "workers": (0, 128),
}


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    jobs = find_jobs(args.input, args.output, ())
    require_writable(args.output)
    cascade = read_cascade(args.detector)
    detect = FaceDetector(cascade, str(args.detector or DETECTOR.name), args.min_score, args.min_face)
    taken = numbered(jobs)
    crop = partial(crop_faces, detect=detect, which=args.faces, size=args.size, margin=args.margin, taken=taken)
    settings = f"{hashlib.sha256(cascade).hexdigest()[:16]} {args.faces} {args.min_score:g} {args.min_face}"
    root = args.input.parent if args.input.is_file() else args.input
    searched = Searched(args.output, root, settings)

    def crop_and_note(source: Path, target: Path) -> dict[Path, Image.Image] | str:
        crops = crop(source, target)
        if args.overwrite:  # no face of an earlier run stays beside the new ones
            further = further_names(target, taken)
            remove({target, *islice(further, searched.most(source) - 1)} - set(crops))
        if isinstance(crops, str):
            searched.note([(source, crops)])
        elif len(crops) > 1:
            searched.note_number(source, len(crops))
        return crops

    todo, existing, left_out = sort_out(jobs, searched, args.overwrite)
    try:
        made = make_files(crop_and_note, todo, args.workers, "faces")
    finally:  # also when it is stopped
        searched.note((job.source, WRITTEN) for job in jobs if job.target.is_file())
    made.left_out += left_out
    print(f"{len(jobs)} pictures: {made.summary(existing, 'faces written')} -> {args.output}")
    if made.written or existing:
        print(f"next: python scripts/clean_images.py --input {shlex.quote(args.output.as_posix())}")
    if made.failed:
        raise UserError(f"{len(made.failed)} of {len(jobs)} files failed:\n  " + "\n  ".join(made.failed))
    if made.left_out.total() == len(jobs) and all(reason.startswith("no face") for reason in made.left_out):
        raise UserError(f"{args.input}: no face found: lower --min-score ({args.min_score:g}) or --min-face")


def sort_out(jobs: list[Job], searched: Searched, overwrite: bool) -> tuple[list[tuple[Path, Path]], int, Counter]:
    """(what is to be searched, how many crops are there, how many pictures earlier runs left out by reason)."""
    todo, existing, left_out = [], 0, Counter()
    for job in jobs:
        result = None if overwrite else searched.result(job.source)
        if overwrite or not (job.target.is_file() or result):
            todo.append((job.source, job.target))
        elif job.target.is_file():
            existing += 1
        elif result == WRITTEN:
            left_out["crop removed since (--overwrite makes it again)"] += 1
        else:
            left_out[f"{result} (searched before)"] += 1
    return todo, existing, left_out


def remove(crops: Iterable[Path]) -> None:
    for crop in crops:
        try:
            crop.unlink(missing_ok=True)
        except OSError as error:
            raise cannot_write(crop, error) from error


def parse(arguments: list[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--input", required=True, type=Path, help="a picture or a folder (with its sub-folders)")
    parser.add_argument("--output", required=True, type=Path, help="the folder for the faces: the same names, as PNG")
    parser.add_argument("--size", type=int, default=96, help="side of the crops (default 96)")
    parser.add_argument(
        "--margin", type=float, default=0.5, help="margin on each side, in sides of the face's box (default 0.5)"
    )
    parser.add_argument(
        "--faces",
        choices=WHICH,
        default="best",
        help="of each picture: the best face (default), all (NAME.png, NAME_2.png, ...), "
        "or the face of pictures with a single one",
    )
    parser.add_argument(
        "--min-score",
        type=float,
        default=1.0,
        metavar="S",
        help="least score of a face: most faces have 2 to 4, most of what is none below 2 (default 1)",
    )
    parser.add_argument(
        "--min-face",
        type=int,
        metavar="N",
        help="smallest side of a face's box in pixels (default: such that no margin or face is enlarged)",
    )
    parser.add_argument("--detector", type=Path, metavar="FILE", help="a local lbpcascade_animeface.xml, or another")
    parser.add_argument(
        "--workers", type=int, default=min(128, os.cpu_count() or 1), help="threads (default: the cores)"
    )
    parser.add_argument("--overwrite", action="store_true", help="search all pictures again, and replace their crops")
    args = parser.parse_args(arguments)
    if args.min_face is None and args.margin >= 0:
        args.min_face = min(max(WINDOW, math.ceil(args.size / (1 + 2 * args.margin))), RANGES["min_face"][1])
    for name, (least, most) in RANGES.items():
        value = getattr(args, name)
        if value is None or not least <= value <= most:
            parser.error(f"--{name.replace('_', '-')} {value}: expected {least} to {most}")
    return args


if __name__ == "__main__":
    door(main)
