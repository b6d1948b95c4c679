"""Check a data set: every problem on a line, then a summary.

    python scripts/check_data.py --root data/mine
    python scripts/check_data.py --root camvid --classes classes.yaml --ignore 11
    python scripts/check_data.py --family dcgan --root faces.zip

What each family reads, in train/, val/ and test/ or directly:
    seg      picture|label side by side, or images/ and labels/ with the same names
    spade    picture|label|hair colours or picture|label side by side, or images/, labels/ and, if there, colors/
    pix2pix  A|B side by side, or A/ and B/ with the same names
    dcgan    pictures in a folder or a zip

Exit code 0: sound; 1: problems; 2: wrong arguments.
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from data.archive import open_zip, pictures_in_zip
from data.check import (
    Survey,
    default_background,
    look_picture,
    look_pix2pix,
    look_seg,
    look_spade,
    look_zipped,
    survey,
)
from data.files import Sample, list_pairs, list_training, split_by_list
from data.images import list_pictures
from data.palette import IGNORED, MATCHES, Palette, palette_of
from engine.errors import UserError, door
from options.fields import classes

FOLDERS = {"seg": ("images", "labels"), "spade": ("images", "labels", "colors"), "pix2pix": ("A", "B")}
LABEL_ARGUMENTS = ("classes", "ignore", "label_colors")
UNUSED = {
    "seg": ("background",),
    "spade": ("extra", "unlabeled"),
    "pix2pix": ("extra", "unlabeled", "background", *LABEL_ARGUMENTS),
    "dcgan": ("val", "extra", "unlabeled", "background", *LABEL_ARGUMENTS),
}


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    palette = read_classes(args.classes or "anime")
    found, line = check_pictures(Path(args.root)) if args.family == "dcgan" else check_samples(args, palette)
    for problem in found.problems:
        print(problem)
    print(line)
    print_summary(found, palette)
    return 1 if found.problems else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--family", choices=UNUSED, default="seg", help="what the data is for (default: seg)")
    parser.add_argument("--root", required=True, metavar="DIR", help="the data set, as above (dcgan: or a zip)")
    parser.add_argument("--val", metavar="DIR|FILE", help="validation samples: a folder, or a list of names")
    parser.add_argument("--extra", metavar="DIR", help="seg: more labelled data, in any layout")
    parser.add_argument("--unlabeled", metavar="DIR", help="seg: a folder of pictures without labels")
    add_label_arguments(parser)
    parser.add_argument(
        "--background",
        metavar="CLASS|none",
        help="spade: as the option data.background; a label of it alone is a problem (default: background, if there)",
    )
    args = parser.parse_args(arguments)
    for name in UNUSED[args.family]:
        if getattr(args, name) is not None:
            parser.error(f"--{name.replace('_', '-')}: not for {args.family}: leave it out")
    return args


def add_label_arguments(parser: argparse.ArgumentParser) -> None:
    """LABEL_ARGUMENTS: how labels are read; None where not given."""
    parser.add_argument(
        "--classes",
        metavar="anime|NAMES|MAPPING|FILE.yaml",
        help="as the option data.classes: anime (the default), a,b,c or '{a: [r, g, b], b: [r, g, b]}', or a file "
        "that holds such a list or mapping",
    )
    parser.add_argument("--ignore", type=int, nargs="+", metavar="ID", help="ids left out (255 always is)")
    parser.add_argument(
        "--label-colors",
        choices=MATCHES,
        help="how a label's colours find their class: a channel above 0.4 is on (threshold, the default), "
        "the nearest class colour, or the exact one",
    )


def read_classes(word: str) -> Palette:
    """The classes of `--classes`: what the option data.classes takes on a command line, or a YAML file with it."""
    kind = classes()
    try:
        return palette_of(kind.read(read_yaml(word)))
    except (ValueError, TypeError, OverflowError) as error:
        raise UserError(f"--classes: {word}: expected {kind.expected}, or a FILE.yaml with them", 2) from error


def label_settings(args: argparse.Namespace, palette: Palette) -> dict[str, Any]:
    """The arguments of add_label_arguments for whatever reads labels."""
    return dict(palette=palette, ignore=args.ignore or [IGNORED], match=args.label_colors or "threshold")


def background_id(args: argparse.Namespace, palette: Palette) -> int | None:
    """The class of `--background`."""
    name = args.background or default_background(palette.names)
    if name is None or args.background == "none":
        return None
    if name not in palette.names:
        raise UserError(
            f"--background {name}: there is no such class; use none or one of {', '.join(palette.names)}", 2
        )
    return palette.names.index(name)


def read_yaml(word: str) -> Any:
    if Path(word).suffix not in (".yaml", ".yml"):
        try:
            return yaml.safe_load(word)
        except (yaml.YAMLError, ValueError):  # ValueError: what looks like a date and is none
            return word
    try:
        return yaml.safe_load(Path(word).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--classes: {word}: {error.strerror}: check the path", 2) from error
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"--classes: {word}: not YAML ({reason}): write name: [r, g, b]", 2) from error


def check_pictures(root: Path) -> tuple[Survey, str]:
    """The survey of pictures alone, in a folder or a zip, and a line about them."""
    if root.is_file() or root.suffix == ".zip":
        with open_zip(root) as archive:
            names = pictures_in_zip(archive)
            return survey(names, partial(look_zipped, archive=archive)), f"{len(names)} pictures in {root}"
    paths = list_pictures(root)
    return survey(paths, look_picture), f"{len(paths)} pictures in {root}"


def check_samples(args: argparse.Namespace, palette: Palette) -> tuple[Survey, str]:
    """The survey of all parts of a data set of pairs, and a line about them."""
    labels = label_settings(args, palette)
    spade = partial(look_spade, background=background_id(args, palette), **labels)
    looks = {"seg": partial(look_seg, **labels), "spade": spade, "pix2pix": look_pix2pix}
    samples, problems, counts = list_parts(Path(args.root), args.val, args.extra, FOLDERS[args.family])
    unlabeled = []
    if args.unlabeled:
        unlabeled = list_pictures(args.unlabeled)
        counts.append(f"{len(unlabeled)} unlabelled pictures in {args.unlabeled}")
    found = survey([*samples, *unlabeled], looks[args.family])
    found.problems = problems + found.problems
    return found, ", ".join(counts)


def list_parts(
    root: Path, val: str | None, extra: str | None, folders: tuple[str, ...]
) -> tuple[list[Sample], list[str], list[str]]:
    """(samples, problems, a count of each part): the training part, `val` or val/, test/, and `extra`."""
    train, problems = list_training(root, *folders)
    rest, counts = [], []

    def add(part: Path, listing) -> list[Sample]:
        try:
            samples, lines = listing(part, *folders)
        except UserError as error:
            samples, lines = [], [str(error)]
        rest.extend(samples)
        problems.extend(lines)
        counts.append(f"{len(samples)} in {part}")
        return samples

    if val and Path(val).is_file():
        try:
            split_by_list(train, Path(val))
        except UserError as error:
            problems.append(str(error))
    elif val or (root / "val").is_dir():
        held = {sample.image.resolve() for sample in add(Path(val or root / "val"), list_pairs)}
        train = [sample for sample in train if sample.image.resolve() not in held]  # as split_pairs does
    if (root / "test").is_dir():
        add(root / "test", list_pairs)
    if extra:
        add(Path(extra), list_training)
    unique = {(sample.image.absolute(), sample.label): sample for sample in [*train, *rest]}
    return list(unique.values()), list(dict.fromkeys(problems)), [f"{len(train)} training samples in {root}", *counts]


def print_summary(found: Survey, palette: Palette) -> None:
    print(f"{len(found.sizes)} sound, {len(found.problems)} with problems")
    if found.sizes:
        heights, widths = zip(*found.sizes, strict=True)
        print(f"sizes: {min(widths)} to {max(widths)} wide, {min(heights)} to {max(heights)} high")
    total = found.pixels.sum()
    if total:
        wide = max(len(name) for name in (*palette.names, "(ignored)"))
        rows = [*zip(palette.names, found.pixels, strict=False), ("(ignored)", found.pixels[IGNORED])]
        for name, count in rows:
            print(f"  {name:{wide}}  {100 * count / total:6.2f} %")


if __name__ == "__main__":
    door(lambda: sys.exit(main()))
