"""Check a data set: every problem on a line, then a summary.

    python scripts/check_data.py --root data/mine
    python scripts/check_data.py --root camvid --classes classes.yaml --ignore 11

Exit code 0: sound; 1: problems; 2: wrong arguments.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml

from data.check import Survey, survey_seg
from data.files import split_pairs
from data.images import list_pictures
from data.palette import ANIME, IGNORED, MATCHES, Palette
from engine.errors import UserError, door


def main(arguments: list[str] | None = None) -> int:
    args = parse(arguments)
    palette = ANIME if args.classes == "anime" else load_classes(Path(args.classes))
    train, val, line = split_pairs(args.root, args.val)
    unlabeled = list_pictures(args.unlabeled) if args.unlabeled else []
    survey = survey_seg(train + val, unlabeled, palette, args.ignore, args.label_colors)
    for problem in survey.problems:
        print(problem)
    print(line + (f", {len(unlabeled)} unlabelled pictures" if unlabeled else ""))
    print_summary(survey, palette)
    return 1 if survey.problems else 0


def parse(arguments: list[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--family", choices=["seg"], default="seg", help="what the data is for")
    parser.add_argument(
        "--root",
        required=True,
        metavar="DIR",
        help="picture|label side by side, or images/ and labels/; or train/ and val/ holding either",
    )
    parser.add_argument("--val", metavar="DIR|FILE", help="validation samples: a folder, or a list of names")
    parser.add_argument("--unlabeled", metavar="DIR", help="a folder of pictures without labels")
    parser.add_argument(
        "--classes",
        default="anime",
        metavar="FILE.yaml",
        help="the classes: 'name: [r, g, b]' on each line, or a list of names (default: the five of anime)",
    )
    parser.add_argument(
        "--ignore", type=int, nargs="+", default=[IGNORED], metavar="ID", help="ids left out (255 always is)"
    )
    parser.add_argument(
        "--label-colors",
        choices=MATCHES,
        default="threshold",
        help="how a label's colours find their class: a channel above 0.4 is on (threshold, the default), "
        "the nearest class colour, or the exact one",
    )
    return parser.parse_args(arguments)


def load_classes(path: Path) -> Palette:
    try:
        classes = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--classes: {path}: {error.strerror}: check the path", 2) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"--classes: {path}: not YAML ({reason}): write name: [r, g, b]", 2) from error
    return Palette.from_classes(classes, f"--classes: {path}")


def print_summary(survey: Survey, palette: Palette) -> None:
    print(f"{len(survey.sizes)} sound, {len(survey.problems)} with problems")
    if survey.sizes:
        heights, widths = zip(*survey.sizes, strict=True)
        print(f"sizes: {min(widths)} to {max(widths)} wide, {min(heights)} to {max(heights)} high")
    total = survey.pixels.sum()
    if total:
        wide = max(len(name) for name in (*palette.names, "(ignored)"))
        rows = [*zip(palette.names, survey.pixels, strict=False), ("(ignored)", survey.pixels[IGNORED])]
        for name, count in rows:
            print(f"  {name:{wide}}  {100 * count / total:6.2f} %")


if __name__ == "__main__":
    door(lambda: sys.exit(main()))
