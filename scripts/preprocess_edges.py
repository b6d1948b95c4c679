"""Turn pictures into picture|edges pairs, which pix2pix trains on, side by side.

    python scripts/preprocess_edges.py --input photos --output datasets/edges --size 256

Every picture below --input (or the one file) is scaled to fit a square, padded, and gets its edges by auto-canny:
the same that `predict.py --edges` computes. Written as NAME.png, sub-folders kept. Where fur or grass gives too many
lines, fixed thresholds leave only the strong ones: --low 200 --high 255.

Exit code 0: all written; 1: some files failed, listed at the end; 2: wrong arguments.
"""

import argparse
import os
import shlex
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.edges import PADS, add_arguments, make_pairs, settings
from engine.errors import UserError, door
from engine.files import require_writable
from engine.folder import find_jobs

RANGES = {"size": (16, 8192), "workers": (0, 128)}


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    how = settings(args) | {"pad": args.pad, "edges_only": args.edges_only}
    jobs = [(job.source, job.target) for job in find_jobs(args.input, args.output, ())]
    require_writable(args.output)
    todo = [job for job in jobs if args.overwrite or not job[1].is_file()]
    made = make_pairs(todo, args.size, args.workers, **how)
    print(f"{made.summary(len(jobs) - len(todo))} -> {args.output}")
    if len(made.failed) < len(jobs):
        print(f"next: {next_command(args)}")
    if made.failed:
        raise UserError(f"{len(made.failed)} of {len(jobs)} files failed:\n  " + "\n  ".join(made.failed))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--input", required=True, type=Path, help="a picture or a folder (with its sub-folders)")
    parser.add_argument("--output", required=True, type=Path, help="the folder for the pairs: the same names, as PNG")
    parser.add_argument("--size", type=int, default=256, help="side of the square pictures (default 256)")
    add_arguments(parser)
    parser.add_argument(
        "--pad",
        choices=PADS,
        default="replicate",
        help="around the picture: its border repeated (default, as predict.py --fit pad does), or white",
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--pairs", action="store_true", help="write picture|edges side by side (the default)")
    kind.add_argument("--edges-only", action="store_true", help="write the edges alone, to predict from")
    parser.add_argument(
        "--workers", type=int, default=min(128, os.cpu_count() or 1), help="threads (default: the cores)"
    )
    parser.add_argument("--overwrite", action="store_true", help="make again what is already there")
    args = parser.parse_args(arguments)
    for name, (least, most) in RANGES.items():
        if not least <= getattr(args, name) <= most:
            parser.error(f"--{name} {getattr(args, name)}: expected {least} to {most}")
    return args


def next_command(args: argparse.Namespace) -> str:
    output = args.output.as_posix()
    if args.edges_only:
        return f"python predict.py --weights RUN --input {shlex.quote(output)} --output PICTURES"
    size = "" if args.size == 256 else f" data.size={args.size}"
    return f"python train_pix2pix.py options/pix2pix_chimera.yaml {shlex.quote(f'data.root={output}')}{size}"


if __name__ == "__main__":
    door(main)
