"""Turn pictures and their label maps into picture|label|hair colour triples, which SPADE trains on, side by side.

    python scripts/build_spade_dataset.py --images pictures --labels labels --output datasets/triples --size 256

The labels are those that predict.py of the seg family wrote, or any others that train_seg.py reads, with the pictures'
names. Picture and label are scaled to cover a square and cut to it; the third part is one colour: the median of the
picture's hair. Written as NAME.png, sub-folders kept. A picture without hair in its label is left out, and one with
nothing but background, on which SPADE cannot train.

Exit code 0: all written; 1: some files failed, listed at the end; 2: wrong arguments.
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

from data.check import classes_word
from data.colors import BLACK, color_map, hair_color
from data.files import Sample, by_stem, read_pair
from data.fit import cover_crop
from data.images import require_size
from data.palette import ANIME, IGNORED, STRAY, LabelError, Palette, colorize, nothing_but
from engine.errors import UserError, door
from engine.files import require_writable
from engine.make import make_pictures
from scripts.check_data import add_label_arguments, label_settings, read_classes

RANGES = {"size": (64, 8192), "workers": (0, 128)}
UNIT = 64  # of which data.size of a spade run is a multiple
# What errors about labels call by a training's options, and how it is called here.
OPTIONS = {"data.label_colors=": "--label-colors ", "data.ignore": "--ignore", "data.classes": "--classes"}


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    palette = read_classes(args.classes or "anime")
    if args.hair not in palette.names:
        raise UserError(f"--hair {args.hair}: there is no such class; use one of {', '.join(palette.names)}", 2)
    jobs = find_jobs(args.images, args.labels, args.output)
    require_writable(args.output)
    todo = [job for job in jobs if args.overwrite or not job[2].is_file()]
    how = dict(size=args.size, hair=args.hair, keep_hairless=args.keep_hairless, **label_settings(args, palette))
    made = make_pictures(partial(make_triple, **how), todo, args.workers, "triples")
    print(f"{made.summary(len(jobs) - len(todo))} -> {args.output}")
    if made.written or len(todo) < len(jobs):
        print(f"next: {next_command(args, palette)}")
    if made.failed:
        raise UserError(f"{len(made.failed)} of {len(jobs)} files failed:\n  " + "\n  ".join(made.failed))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--images", required=True, type=Path, help="a folder of pictures (with its sub-folders)")
    parser.add_argument("--labels", required=True, type=Path, help="a folder of label maps with the pictures' names")
    parser.add_argument("--output", required=True, type=Path, help="the folder for the triples: the same names, as PNG")
    parser.add_argument("--size", type=int, default=256, help="side of the three parts, a multiple of 64 (default 256)")
    parser.add_argument("--hair", default="hair", metavar="CLASS", help="the class whose colour it is (default hair)")
    parser.add_argument("--keep-hairless", action="store_true", help="also write pictures without hair, colour black")
    add_label_arguments(parser)
    parser.add_argument(
        "--workers", type=int, default=min(128, os.cpu_count() or 1), help="threads (default: the cores)"
    )
    parser.add_argument("--overwrite", action="store_true", help="make again what is already there")
    args = parser.parse_args(arguments)
    for name, (least, most) in RANGES.items():
        if not least <= getattr(args, name) <= most:
            parser.error(f"--{name} {getattr(args, name)}: expected {least} to {most}")
    if args.size % UNIT:
        parser.error(f"--size {args.size}: expected a multiple of {UNIT}, such as {UNIT * round(args.size / UNIT)}")
    return args


def find_jobs(images: Path, labels: Path, output: Path) -> list[tuple[Path, Path, Path]]:
    """(picture, label, triple) of every name that has both; a line says how many have one alone.

    Raises:
        UserError: a folder is missing, two files have one name, there is no pair, or the output is an input.
    """
    for name, folder in (("images", images), ("labels", labels)):
        if folder.resolve() == output.resolve():
            raise UserError(f"--output {output}: is the folder of --{name}; name another one", 2)
    (pictures, problems), (maps, more) = by_stem(images), by_stem(labels)
    if problems + more:
        raise UserError((problems + more)[0])
    names = [name for name in pictures if name in maps]
    if not names:
        raise UserError(f"{labels}: no label has the name of a picture in {images}; both need the same but the suffix")
    lone = {"pictures without a label": len(pictures), "labels without a picture": len(maps)}
    counts = [f"{what}: {count - len(names)}" for what, count in lone.items() if count > len(names)]
    if counts:
        print(f"left out: {', '.join(counts)}")
    return [(pictures[name], maps[name], output / f"{name}.png") for name in names]


def make_triple(
    image: Path, label: Path, palette: Palette, ignore, match: str, size: int, hair: str, keep_hairless: bool
) -> Image.Image | str:
    """picture|label|hair colour, [size, 3 * size]; or why none is made: no hair to take a colour from, or no class.

    Raises:
        UserError: a file cannot be read, or too much of the label is ignored for a label in colours.
    """
    try:
        picture, ids = read_pair(Sample(image.stem, image, label), palette, ignore, match)
    except UserError as error:
        raise _with_own_arguments(error) from error
    require_size(picture, image)
    picture, ids = cover_crop(picture, (size, size)), cover_crop(ids, (size, size))
    ignored = (ids == IGNORED).mean()
    if ignored > STRAY:
        raise UserError(
            f"{label}: {100 * ignored:.1f} % of the pixels have no class, which a triple cannot say; "
            "train on the folders images/ and labels/"
        )
    if "background" in palette.names and nothing_but(ids, palette.names.index("background")):
        return "nothing but background"
    color = hair_color(picture, ids == palette.names.index(hair))
    if color is None and not keep_hairless:
        return f"no {hair}"
    colors = color_map(BLACK if color is None else color, ids.shape)
    return Image.fromarray(np.concatenate([picture, colorize(ids, palette), colors], axis=1))


def _with_own_arguments(error: UserError) -> UserError:
    """An error that, if it is about a label, names the arguments of this script instead of a training's options."""
    if not isinstance(error.__cause__, LabelError):
        return error
    found = words = str(error.__cause__)
    for option, argument in OPTIONS.items():
        words = words.replace(option, argument)
    return UserError(str(error).replace(found, words), error.code)


def next_command(args: argparse.Namespace, palette: Palette) -> str:
    words = ["python", "train_spade.py", f"data.root={args.output.as_posix()}", f"data.size={args.size}"]
    if palette != ANIME:
        words.append(f"data.classes={classes_word(tuple(zip(palette.names, palette.colors, strict=True)))}")
    if not palette.pure:
        words.append("data.label_colors=nearest")
    if "background" not in palette.names:
        words.append("data.background=none")
    if args.hair != "hair":
        words.append(f"data.hair={args.hair}")
    return shlex.join(words)


if __name__ == "__main__":
    door(main)
