"""Cut the faces out of pictures of drawn characters, as square PNGs of one size.

    python scripts/crop_faces.py --input crawled --output faces --size 96 --margin 0.5

The faces are found by OpenCV with nagadomi's lbpcascade_animeface, which is downloaded on first use. A crop is the
face's box with a margin on each side; near the picture's edge it is moved inside, and where the picture is too small
the margin shrinks. Written as NAME.png, sub-folders kept; pictures that have their crop already are skipped.

Exit code 0: all pictures searched; 1: some files failed, listed at the end, or no face was found; 2: wrong arguments.
"""

import argparse
import math
import os
import shlex
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.collecting.face_crop import WHICH, crop_faces, numbered
from data.collecting.face_detector import DETECTOR, WINDOW, FaceDetector, read_cascade
from engine.errors import UserError, door
from engine.files import require_writable
from engine.folder import find_jobs
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
    detect = FaceDetector(
        read_cascade(args.detector), str(args.detector or DETECTOR.name), args.min_score, args.min_face
    )
    crop = partial(
        crop_faces, detect=detect, which=args.faces, size=args.size, margin=args.margin, taken=numbered(jobs)
    )
    todo = [(job.source, job.target) for job in jobs if args.overwrite or not job.target.is_file()]
    made = make_files(crop, todo, args.workers, "faces")
    existing = len(jobs) - len(todo)
    print(f"{len(jobs)} pictures: {made.summary(existing, 'faces written')} -> {args.output}")
    if made.written or existing:
        print(f"next: python scripts/clean_images.py --input {shlex.quote(args.output.as_posix())}")
    if made.failed:
        raise UserError(f"{len(made.failed)} of {len(jobs)} files failed:\n  " + "\n  ".join(made.failed))
    if not made.written and not existing and not made.left_out["several faces"]:
        raise UserError(f"{args.input}: no face found: lower --min-score ({args.min_score:g}) or --min-face")


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
    parser.add_argument("--overwrite", action="store_true", help="make again what is already there")
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
