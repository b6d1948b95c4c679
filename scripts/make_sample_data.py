"""Draws the sample data set, or a contact sheet of it."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from PIL import Image

from data.palette import ANIME
from data.sample import draw, make_drawn_set
from engine.errors import door


def draw_sheet(path: Path, columns: int, rows: int, size: int, seed: int) -> None:
    """Writes ``rows`` x ``columns`` characters, each as picture|label, to one picture."""
    characters = [draw(index, size, seed) for index in range(rows * columns)]
    pairs = [np.hstack((c.picture, ANIME.table[c.label])) for c in characters]
    grid = np.vstack([np.hstack(pairs[row * columns : (row + 1) * columns]) for row in range(rows)])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grid).save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("datasets/drawn"), metavar="DIR", help="where the set goes")
    parser.add_argument("--labeled", type=int, default=200, help="labelled characters for training")
    parser.add_argument("--unlabeled", type=int, default=800, help="pictures without labels")
    parser.add_argument("--val", type=int, default=100, help="labelled characters for validation")
    parser.add_argument("--size", type=int, default=128, help="pixels per side")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other characters")
    parser.add_argument("--workers", type=int, default=2, help="processes that draw (0: this one alone)")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="only write a 4 x 6 contact sheet, picture|label")
    args = parser.parse_args()
    if args.sheet:
        draw_sheet(args.sheet, 4, 6, args.size, args.seed)
        print(args.sheet)
        return
    root = make_drawn_set(
        args.output,
        labeled=args.labeled,
        unlabeled=args.unlabeled,
        val=args.val,
        size=args.size,
        seed=args.seed,
        workers=args.workers,
    )
    print(root)


if __name__ == "__main__":
    door(main)
