"""What a sample character may wear on the head: hats, ribbons, flowers, headphones, ears."""

from __future__ import annotations

import numpy as np

from data.drawing.clothes import bow
from data.drawing.hair import HairCut
from data.drawing.look import Look, chance, pick
from data.drawing.shapes import (
    OTHER,
    Colour,
    Pen,
    bezier,
    darker,
    ellipse,
    lighter,
    mirrored,
    points,
    ribbon,
    spline,
    turned,
)

FLOWER_COLOURS: tuple[Colour, ...] = (
    (242, 130, 150),
    (250, 246, 250),
    (250, 206, 110),
    (170, 140, 220),
    (222, 70, 84),
    (130, 180, 236),
)


def beret(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    side = float(rng.choice((-1.0, 1.0)))
    shape = spline(
        points(
            (-1.0, 0.30),
            (-1.22, -0.1),
            (-0.75, -0.55),
            (0.2, -0.66),
            (1.15, -0.42),
            (1.42, 0.05),
            (0.95, 0.26),
            (0.0, 0.14),
        ),
        closed=True,
    )
    place = np.array((side * 0.15, cut.top + 0.42))
    pen.fill(mirrored(turned(shape, -8), side) + place, look.trim, OTHER)
    pen.shade(
        mirrored(turned(shape * (0.8, 0.5) + (0.1, -0.16), -8), side) + place,
        lighter(look.trim, 0.4),
        OTHER,
        0.4,
    )
    pen.stroke(
        bezier((-1.0, 0.28), (0.0, 0.02), (0.95, 0.22)) * (side, 1) + place,
        0.07,
        darker(look.trim, 0.35),
        OTHER,
        "even",
    )
    pen.stroke(
        points((0.0, -0.6), (0.04, -0.72), (0.1, -0.82)) * (side, 1) + place,
        0.09,
        darker(look.trim, 0.2),
        OTHER,
        "even",
    )


def brimmed_hat(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """A straw or felt hat, or a witch's with a high tip."""
    colour = pick(rng, ((232, 208, 152), look.trim, (70, 58, 92), (244, 240, 236)))
    y = cut.top + 0.52
    if chance(rng, 0.4):
        tip = rng.uniform(-0.9, 0.9)
        crown = points((-1.02, y), (-0.55, y - 0.9), (tip, y - 1.75), (tip * 0.3 + 0.45, y - 0.85), (1.02, y))
    else:
        crown = spline(
            points((-1.02, y), (-0.98, y - 0.6), (-0.5, y - 0.92), (0.5, y - 0.92), (0.98, y - 0.6), (1.02, y))
        )
    pen.fill(crown, colour, OTHER)
    pen.fill(
        np.concatenate(
            (
                bezier((-1.02, y), (0, y - 0.12), (1.02, y)),
                bezier((1.0, y - 0.3), (0, y - 0.42), (-1.0, y - 0.3)),
            )
        ),
        look.cloth,
        OTHER,
    )
    brim = np.concatenate(
        (
            bezier((-2.0, y + 0.2), (0, y - 0.45), (2.0, y + 0.2)),
            bezier((1.95, y + 0.3), (0, y + 0.22), (-1.95, y + 0.3)),
        )
    )
    pen.fill(brim, lighter(colour, 0.1), OTHER)


def cap(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """A baseball cap whose brim points where the face looks."""
    v, y, top = cut.volume + 0.06, cut.top + 0.86, cut.top - 0.16
    crown = spline(
        points(
            (-v, y),
            (-v * 0.95, y - 0.45),
            (-v * 0.62, top + 0.18),
            (0, top),
            (v * 0.62, top + 0.18),
            (v * 0.95, y - 0.45),
            (v, y),
        )
    )
    pen.fill(np.concatenate((crown, bezier((v, y), (0, y - 0.22), (-v, y)))), look.trim, OTHER)
    x = 0.5 * look.turn
    for seam in (-0.45, 0.45):
        pen.stroke(
            bezier((x * 0.3, top), (x + seam * 1.3, top + 0.2), (x + seam * 1.5, y - 0.1)),
            0.03,
            darker(look.trim, 0.3),
            OTHER,
            "even",
        )
    back = bezier((x - 1.0, y - 0.12), (x, y - 0.38), (x + 1.0, y - 0.12))
    front = bezier((x + 1.05, y - 0.02), (x, y + 0.34), (x - 1.05, y - 0.02))
    pen.fill(np.concatenate((back, front)), darker(look.trim, 0.2), OTHER)
    pen.fill(ellipse(x * 0.8, y - 0.55, 0.18, 0.17, 12), lighter(look.cloth, 0.3), OTHER)


def head_bow(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    size = rng.uniform(0.4, 0.8)
    if chance(rng, 0.5):
        bow(pen, look.trim, rng.normal(0, 0.15), cut.top + 0.12, size)
    else:
        bow(pen, look.trim, float(rng.choice((-1.0, 1.0))) * 0.95, cut.top + 0.5, size * 0.8)


def twin_bows(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    y = rng.uniform(-1.2, -0.4)
    for side in (-1.0, 1.0):
        bow(pen, look.trim, side * cut.volume * 0.95, y, 0.45)


def flower(pen: Pen, colour: Colour, x: float, y: float, radius: float) -> None:
    """Five petals about a yellow heart."""
    for angle in np.arange(5) * 72.0:
        petal = spline(points((0.0, 0.0), (0.45, -0.42), (1.0, -0.22), (1.0, 0.22), (0.45, 0.42)), closed=True)
        pen.fill(turned(petal * radius, angle - 20) + (x, y), colour, OTHER)
    pen.fill(ellipse(x, y, radius * 0.28, radius * 0.28, 10), (250, 214, 110), OTHER)


def flowers(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    side, colour = float(rng.choice((-1.0, 1.0))), pick(rng, FLOWER_COLOURS)
    x, y = side * rng.uniform(0.8, 1.05), rng.uniform(-1.25, -0.7)
    for step in range(int(rng.integers(1, 4))):
        leaf = ellipse(0.5, 0.0, 0.34, 0.13, 12)
        pen.fill(turned(leaf, 40 + 70 * step) + (x, y), (120, 170, 120), OTHER)
        flower(pen, colour, x - side * 0.36 * step, y - 0.26 * step, rng.uniform(0.24, 0.38) * (1 - 0.2 * step))


def hair_clip(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    side = float(rng.choice((-1.0, 1.0)))
    for y in (-0.72, -0.54):
        pen.stroke(
            mirrored(points((0.62, y + 0.06), (0.78, y), (0.94, y - 0.06)), side),
            0.09,
            look.trim,
            OTHER,
            "even",
        )


def headphones(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    v = cut.volume + 0.08
    arc = spline(points((-v, -0.1), (-v * 0.92, -1.15), (0.0, cut.top - 0.08), (v * 0.92, -1.15), (v, -0.1)))
    pen.fill(ribbon(arc, np.full(len(arc), 0.09)), look.trim, OTHER)
    for side in (-1.0, 1.0):
        pen.fill(ellipse(side * v, 0.05, 0.24, 0.40, 20), darker(look.trim, 0.2), OTHER)
        pen.fill(ellipse(side * (v + 0.06), 0.05, 0.14, 0.26, 16), lighter(look.trim, 0.3), OTHER)


def headband(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """A band over the crown; a maid's has frills."""
    v, top = cut.volume, cut.top
    arc = spline(
        points(
            (-v * 0.95, -0.85),
            (-v * 0.72, top + 0.45),
            (0.0, top + 0.16),
            (v * 0.72, top + 0.45),
            (v * 0.95, -0.85),
        )
    )
    if chance(rng, 0.5):
        for x, y in arc[3:-3:2]:
            pen.fill(ellipse(x * 1.05, y - 0.12, 0.17, 0.17, 12), (252, 250, 252), OTHER)
    pen.fill(ribbon(arc, np.full(len(arc), 0.08)), look.trim, OTHER)


def animal_ears(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """Cat's ears, or a rabbit's, that stand behind the bangs."""
    tall = 1.5 if chance(rng, 0.3) else 0.75
    colour = pick(rng, (look.hair, (250, 246, 246), (70, 62, 74)))
    for side in (-1.0, 1.0):
        base = np.array((side * 0.72, cut.top + 0.38))
        half = 0.42 if tall < 1 else 0.26
        for size, fill in ((1.0, colour), (0.62, (246, 186, 190))):
            ear = spline(
                points(
                    (-half, 0.15),
                    (-half * 0.6, -tall * 0.55),
                    (0.12, -tall),
                    (half * 0.9, -tall * 0.45),
                    (half, 0.15),
                )
                * size
            )
            pen.fill(turned(mirrored(ear, side), side * 14) + base, fill, OTHER, line=size == 1.0)


def tiara(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    gold = pick(rng, ((240, 206, 110), (206, 212, 226)))
    y = cut.top + 0.36
    crown = points(
        (-0.6, y),
        (-0.66, y - 0.42),
        (-0.34, y - 0.2),
        (0.0, y - 0.58),
        (0.34, y - 0.2),
        (0.66, y - 0.42),
        (0.6, y),
    )
    pen.fill(np.concatenate((crown, bezier((0.6, y), (0, y - 0.14), (-0.6, y), 8))), gold, OTHER)
    pen.fill(ellipse(0.0, y - 0.24, 0.09, 0.11, 10), (222, 80, 100), OTHER)


EXTRAS = (
    beret,
    beret,
    brimmed_hat,
    cap,
    head_bow,
    head_bow,
    twin_bows,
    flowers,
    flowers,
    hair_clip,
    headphones,
    headband,
    animal_ears,
    tiara,
)


def draw_extra(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """Something on the head for half of the characters."""
    if chance(rng, 0.5):
        pick(rng, EXTRAS)(pen, look, cut, rng)
