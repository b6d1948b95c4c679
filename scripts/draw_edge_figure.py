"""Draw docs/edges.png: auto-canny in a mane, and what --sigma, --low and --high of preprocess_edges.py do about it.

    python scripts/draw_edge_figure.py --output docs/edges.png

The picture is drawn here, from no photo: a head in a mane of some thousand strands of hair.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.edges import edge_picture
from engine.errors import door
from engine.files import whole_file

SIZE, FINE = 256, 4  # drawn FINE times as large, for smooth lines
DARK = (52, 30, 18)
SETTINGS = [{"sigma": 0.33}, {"sigma": 0.1}, {"sigma": 0.9}, {"low": 100, "high": 200}, {"low": 200, "high": 255}]


def draw_lion(seed: int = 0, strands: int = 4000) -> np.ndarray:
    """A lion's head from the front on a plain ground, uint8 [SIZE, SIZE, 3]."""
    canvas = Image.new("RGB", (SIZE * FINE, SIZE * FINE), (186, 172, 140))
    draw = ImageDraw.Draw(canvas)

    def oval(x: float, y: float, wide: float, high: float, color: tuple[int, int, int]) -> None:
        draw.ellipse([v * FINE for v in (x - wide, y - high, x + wide, y + high)], fill=color)

    def line(points: np.ndarray, color: tuple[int, int, int], width: float) -> None:
        draw.line([tuple(point) for point in np.asarray(points) * FINE], color, round(width * FINE), joint="curve")

    draw_mane(np.random.default_rng(seed), strands, line)
    for side in (-1, 1):
        oval(128 + 44 * side, 76, 17, 17, (186, 132, 74))
        oval(128 + 44 * side, 78, 10, 11, (120, 78, 46))
    oval(128, 128, 54, 62, (212, 160, 96))
    oval(128, 168, 31, 25, (236, 208, 168))
    for side in (-1, 1):
        oval(128 + 24 * side, 114, 10, 6, DARK)
        oval(128 + 24 * side, 114, 7, 5, (224, 170, 40))
        oval(128 + 24 * side, 114, 3, 4, DARK)
        line([(128, 166), (128 + 8 * side, 174), (128 + 20 * side, 172)], DARK, 2.5)
    draw.polygon([v * FINE for v in (113, 144, 143, 144, 128, 160)], fill=DARK)
    line([(128, 158), (128, 168)], DARK, 2.5)
    return np.array(canvas.resize((SIZE, SIZE), Image.Resampling.BOX))


def draw_mane(rng: np.random.Generator, strands: int, line) -> None:
    """Curved strands around the face, the outer ones first, in browns that vary from one to the next."""
    angles, starts = rng.uniform(0, 2 * np.pi, strands), np.sort(rng.uniform(35, 105, strands))[::-1]
    for angle, start in zip(angles, starts, strict=True):
        radius = np.linspace(start, start + rng.uniform(20, 45), 8)
        bend = angle + 0.2 * np.sin(5 * angle) * (radius / 100) ** 2 + rng.normal(0, 0.1) * np.linspace(0, 1, 8)
        points = np.stack([128 + radius * np.sin(bend), 132 + 1.05 * radius * np.cos(bend)], axis=1)
        shade = rng.uniform(0.5, 1.05)
        line(points, tuple(int(value * shade) for value in (178, 122, 66)), rng.uniform(0.8, 2))


def figure(picture: np.ndarray, columns: int = 3) -> Image.Image:
    """The picture and its edges by every setting, each under its caption and the share of its edge pixels."""
    wide, high = SIZE + 8, SIZE + 32
    cells = [("picture", picture)]
    for setting in SETTINGS:
        words = " ".join(f"--{name} {value}" for name, value in setting.items())
        edges = edge_picture(picture, **setting)
        cells.append((f"{words}: {100 * (edges > 0).mean():.1f} %", edges))
    sheet = Image.new("RGB", (columns * wide - 8, len(cells) // columns * high - 8), "white")
    for i, (text, cell) in enumerate(cells):
        left, top = i % columns * wide, i // columns * high
        sheet.paste(Image.fromarray(cell), (left, top + 24))
        ImageDraw.Draw(sheet).text((left + 2, top + 2), text, "black", ImageFont.load_default(15))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/edges.png"), metavar="FILE")
    with whole_file(parser.parse_args().output) as part:
        figure(draw_lion()).save(part, "PNG", optimize=True)


if __name__ == "__main__":
    door(main)
