"""What a sample character may wear on the back: wings, a cape, a large bow."""

from __future__ import annotations

import numpy as np

from data.drawing.clothes import bow
from data.drawing.look import Look, chance, pick
from data.drawing.shapes import OTHER, Pen, bezier, darker, mirrored, points, ribbon, spline, taper


def wings(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """Feathered wings that spread from the shoulders."""
    colour = pick(rng, ((250, 248, 252), (84, 74, 100), (250, 220, 226)))
    lift = rng.uniform(-0.5, 0.6)
    for side in (-1.0, 1.0):
        for length, drop in ((1.2, 1.9), (1.7, 1.5), (2.1, 1.0), (2.4, 0.4), (2.5, -0.2)):
            tip = (0.6 + length, 1.4 + drop + lift)
            feather = ribbon(
                bezier((0.5, 1.9), (0.5 + 0.6 * length, 0.7 + 0.7 * drop + lift), tip),
                taper("lock", 12) * 0.34,
            )
            pen.fill(mirrored(feather, side), darker(colour, 0.05 + 0.05 * drop), OTHER)


def cape(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """A cape that falls behind the arms."""
    half = points(
        (0.3, 1.25),
        (1.1, 1.45),
        (1.55, 2.2),
        (rng.uniform(1.7, 2.4), 3.8),
        (rng.uniform(1.9, 3.0), 8.0),
        (0.0, 8.0),
    )
    for side in (-1.0, 1.0):
        pen.fill(mirrored(spline(half), side), darker(look.trim, 0.15), OTHER)
        for x in (1.2, 1.6):
            pen.stroke(
                mirrored(bezier((x, 2.0), (x + 0.2, 3.5), (x + 0.4, 7.0)), side),
                0.06,
                darker(look.trim, 0.4),
                OTHER,
                "start",
            )


def back_bow(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    bow(pen, look.trim, 0.0, rng.uniform(2.0, 2.8), rng.uniform(1.9, 2.5))


def draw_behind(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """Something large on the back of every sixth character."""
    if chance(rng, 0.17):
        pick(rng, (wings, cape, cape, back_bow))(pen, look, rng)
