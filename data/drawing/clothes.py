"""The clothes of a sample character, from the neckline down."""

from __future__ import annotations

import numpy as np

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
    mix,
    points,
    ribbon,
    spline,
    turned,
)


def garment(pen: Pen, colour: Colour, neckline: np.ndarray, top=((0.97, 1.57), (1.14, 1.80))) -> None:
    """The upper dress: ``neckline`` is the right half of its top edge, outside in, ``top`` the shoulder."""
    side = points(top[-1], (0.98, 2.35), (0.88, 2.85), (0.72, 3.6), (1.02, 4.6), (1.3, 8.0))
    right = np.concatenate((neckline[::-1], points(*top[:-1]).reshape(-1, 2), spline(side)))
    pen.fill(np.concatenate((right, right[::-1] * (-1.0, 1.0))), colour, OTHER)
    for x in (-1.0, 1.0):
        fold = mirrored(bezier((0.9, 2.25), (0.75, 2.6), (0.5, 2.75), 8), x)
        pen.stroke(fold, 0.05, darker(colour, 0.2), OTHER, "end")
        shadow = mirrored(
            points((0.95, 2.3), (0.66, 3.0), (0.45, 3.6), (0.75, 4.6), (1.3, 8.0), (1.5, 8.0), (0.75, 3.6)), x
        )
        pen.shade(shadow, darker(colour, 0.35), OTHER, 0.35)


def bow(pen: Pen, colour: Colour, x: float, y: float, size: float) -> None:
    """A ribbon's bow with two loops, two ends and a knot."""
    for side in (-1.0, 1.0):
        end = points((0.05, 0.1), (0.42, 0.95), (0.66, 0.75), (0.18, 0.02)) * (side * size, size)
        pen.fill(end + (x, y), darker(colour, 0.12), OTHER)
        loop = spline(points((0.0, 0.0), (0.6, -0.45), (0.95, -0.3), (0.9, 0.35), (0.55, 0.38)), closed=True)
        pen.fill(loop * (side * size, size) + (x, y), colour, OTHER)
        fold = bezier((0.1, 0.0), (0.4, -0.05), (0.62, -0.12), 6) * (side * size, size)
        pen.stroke(fold + (x, y), 0.10 * size, darker(colour, 0.3), OTHER)
    pen.fill(ellipse(x, y, 0.17 * size, 0.2 * size, 12), lighter(colour, 0.1), OTHER)


def frill(pen: Pen, colour: Colour, half_width: float, y: float, height: float) -> None:
    """A ruffle across the breast with a scalloped lower edge."""
    x = np.linspace(-1, 1, 49)
    sag = y + 0.10 * (1 - x * x)
    wave = np.abs(np.sin(x * 4.5 * np.pi))
    upper = np.stack((x * half_width, sag), axis=1)
    lower = np.stack((x * half_width * 1.03, sag + height * (0.7 + 0.3 * wave)), axis=1)
    pen.fill(np.concatenate((upper, lower[::-1])), colour, OTHER)
    for fold in np.flatnonzero(wave < 0.1)[1:-1]:
        pen.stroke(
            np.linspace(lower[fold], 0.7 * upper[fold] + 0.3 * lower[fold], 5),
            0.045,
            darker(colour, 0.25),
            OTHER,
            "end",
        )


ROUND_NECK = bezier((0.62, 1.50), (0.48, 1.80), (0.0, 1.86), 8)
V_NECK = points((0.55, 1.48), (0.28, 1.85), (0.0, 2.25))
HIGH_NECK = points((0.34, 1.40), (0.31, 1.02), (0.0, 1.10))


def wear_sailor(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    garment(pen, lighter(look.cloth, 0.85), V_NECK)
    pen.fill(points((-0.34, 1.80), (0.34, 1.80), (0.0, 2.30)), lighter(look.cloth, 0.85), OTHER)
    collar = points((0.42, 1.30), (1.0, 1.62), (0.98, 2.12), (0.62, 2.16), (0.06, 2.42), (0.0, 2.30), (0.30, 1.86))
    for side in (-1.0, 1.0):
        pen.fill(mirrored(collar, side), look.trim, OTHER)
        pen.stroke(
            mirrored(points((0.90, 1.66), (0.89, 2.03), (0.60, 2.07), (0.12, 2.30)), side),
            0.05,
            lighter(look.trim, 0.8),
            OTHER,
            "even",
        )
    bow(
        pen,
        pick(rng, ((206, 70, 80), (90, 110, 180), (240, 180, 80), darker(look.trim, 0.3))),
        0.0,
        2.42,
        0.5,
    )


def wear_hoodie(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    garment(pen, look.cloth, ROUND_NECK)
    for side in (-1.0, 1.0):
        hood = spline(
            points((0.30, 1.18), (0.80, 1.20), (1.02, 1.52), (0.6, 1.9), (0.05, 2.12), (0.0, 1.86), (0.36, 1.60)),
            closed=True,
        )
        pen.fill(mirrored(hood, side), darker(look.cloth, 0.10), OTHER)
        pen.stroke(
            mirrored(bezier((0.24, 2.0), (0.30, 2.4), (0.22, 2.85), 8), side),
            0.06,
            lighter(look.trim, 0.3),
            OTHER,
            "even",
        )
    pen.fill(points((-0.6, 3.4), (0.6, 3.4), (0.8, 4.3), (-0.8, 4.3)), darker(look.cloth, 0.06), OTHER)


def wear_dress(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """A sleeveless dress with straps, a frill and a wide skirt."""
    neckline = bezier((0.86, 1.98), (0.45, 2.02), (0.0, 2.16), 8)
    garment(pen, look.cloth, neckline, top=((0.90, 1.99),))
    for side in (-1.0, 1.0):
        pen.fill(mirrored(points((0.56, 1.50), (0.70, 1.53), (0.78, 2.06), (0.60, 2.06)), side), look.trim, OTHER)
        skirt = points((0.0, 3.5), (0.72, 3.5), (1.5, 5.0), (2.2, 8.0), (0.0, 8.0))
        pen.fill(mirrored(skirt, side), look.cloth, OTHER, line=False)
        for x in (0.35, 0.95):
            pen.stroke(
                mirrored(bezier((x * 0.7, 3.7), (x, 4.5), (x * 1.7, 8.0)), side),
                0.06,
                darker(look.cloth, 0.2),
                OTHER,
                "start",
            )
    frill(pen, look.trim, 0.90, 2.00, 0.22)
    pen.fill(points((-0.74, 3.40), (0.74, 3.40), (0.74, 3.64), (-0.74, 3.64)), look.trim, OTHER)
    if chance(rng, 0.6):
        bow(pen, look.trim, 0.0, 2.3, 0.36)


def wear_shirt(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """A shirt with a collar and a tie or a bow, sometimes under a jacket."""
    white = lighter(look.cloth, 0.88)
    garment(pen, white, V_NECK)
    for y in np.arange(2.4, 6.0, 0.42):
        pen.fill(ellipse(0.0, y, 0.045, 0.045, 8), darker(white, 0.3), OTHER, line=False)
    if chance(rng, 0.65):
        for side in (-1.0, 1.0):
            lapel = points(
                (0.44, 1.36),
                (1.16, 1.66),
                (1.16, 2.2),
                (1.02, 3.6),
                (1.4, 8.0),
                (0.30, 8.0),
                (0.24, 3.3),
                (0.40, 2.2),
            )
            pen.fill(mirrored(lapel, side), look.cloth, OTHER)
            pen.fill(
                mirrored(points((0.46, 1.40), (0.86, 1.62), (0.70, 2.2), (0.30, 2.9), (0.36, 2.0)), side),
                darker(look.cloth, 0.14),
                OTHER,
            )
    for side in (-1.0, 1.0):
        pen.fill(
            mirrored(points((0.30, 1.22), (0.56, 1.42), (0.42, 1.94), (0.02, 1.76)), side),
            lighter(white, 0.6),
            OTHER,
        )
    if chance(rng, 0.5):
        pen.fill(points((-0.10, 1.80), (0.10, 1.80), (0.20, 3.0), (0.0, 3.25), (-0.20, 3.0)), look.trim, OTHER)
        pen.fill(points((-0.13, 1.72), (0.13, 1.72), (0.09, 1.98), (-0.09, 1.98)), darker(look.trim, 0.1), OTHER)
    else:
        bow(pen, look.trim, 0.0, 1.86, 0.42)


def wear_armour(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """A breastplate, a gorget and shoulder plates in metal colours."""
    metal = pick(rng, ((196, 204, 220), (222, 200, 150), (120, 126, 150), (170, 178, 190)))
    garment(pen, metal, HIGH_NECK)
    for side in (-1.0, 1.0):
        pen.shade(
            mirrored(spline(points((0.1, 1.9), (0.75, 1.95), (0.8, 2.5), (0.15, 2.8)), closed=True), side),
            lighter(metal, 0.5),
            OTHER,
            0.7,
        )
        for drop in (0.5, 0.25, 0.0):
            plate = spline(points((0.72, 1.48), (1.22, 1.50), (1.58, 1.95), (1.5, 2.25), (1.05, 2.1)), closed=True) + (
                0.0,
                drop,
            )
            pen.fill(mirrored(plate, side), mix(metal, look.trim, 0.2 if drop else 0.0), OTHER)
        pen.stroke(
            mirrored(bezier((0.95, 1.62), (1.25, 1.65), (1.42, 1.95), 8), side),
            0.05,
            lighter(metal, 0.8),
            OTHER,
        )
    pen.stroke(points((0.0, 1.8), (0.0, 2.5), (0.0, 3.2)), 0.05, darker(metal, 0.4), OTHER, "even")
    pen.fill(points((0.0, 1.66), (0.16, 1.86), (0.0, 2.1), (-0.16, 1.86)), look.trim, OTHER)


def wear_off_shoulder(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    garment(pen, look.cloth, bezier((1.12, 2.10), (0.5, 2.0), (0.0, 2.22), 8), top=((1.13, 2.11),))
    frill(pen, lighter(look.trim, 0.2), 1.24, 2.06, 0.34)
    if chance(rng, 0.5):
        pen.fill(points((-0.31, 1.18), (0.31, 1.18), (0.32, 1.32), (-0.32, 1.32)), look.trim, OTHER)


def wear_kimono(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    garment(pen, look.cloth, V_NECK)
    for side in (-1.0, 1.0):
        for inset, colour in ((0.0, lighter(look.trim, 0.7)), (0.11, look.trim)):
            band = ribbon(
                bezier((side * (0.40 + inset), 1.26), (side * 0.42, 1.9), (-side * 0.50, 2.95)),
                np.full(12, 0.11),
            )
            pen.fill(band, colour, OTHER)
    pen.fill(points((-0.92, 2.85), (0.92, 2.85), (0.86, 3.7), (-0.86, 3.7)), look.trim, OTHER)
    pen.stroke(points((-0.9, 3.26), (0.0, 3.3), (0.9, 3.26)), 0.14, lighter(look.cloth, 0.5), OTHER, "even")
    for x, y in rng.uniform((0.5, 1.8), (0.85, 2.7), (6, 2)) * np.tile(((1, 1), (-1, 1)), (3, 1)):
        for petal in (0.0, 120.0, 240.0):
            pen.fill(
                turned(ellipse(0.06, 0.0, 0.06, 0.05, 8), petal) + (x, y),
                lighter(look.trim, 0.35),
                OTHER,
                line=False,
            )


def wear_sweater(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    garment(pen, look.cloth, HIGH_NECK)
    pen.fill(
        spline(
            points((-0.38, 1.06), (0.0, 1.12), (0.38, 1.06), (0.42, 1.42), (0.0, 1.56), (-0.42, 1.42)),
            closed=True,
        ),
        lighter(look.cloth, 0.1),
        OTHER,
    )
    if chance(rng, 0.5):
        for y in (2.3, 2.7, 3.1, 3.5):
            half = 0.94 - 0.17 * (y - 2.3)
            pen.fill(
                points((-half, y), (half, y), (half - 0.03, y + 0.18), (0.03 - half, y + 0.18)),
                look.trim,
                OTHER,
                line=False,
            )


# Each with the sleeves that go with it.
CLOTHES = (
    (wear_sailor, ("long", "long", "short")),
    (wear_hoodie, ("long",)),
    (wear_dress, ("none", "short")),
    (wear_shirt, ("long", "long", "short")),
    (wear_armour, ("long", "none")),
    (wear_off_shoulder, ("none",)),
    (wear_kimono, ("long",)),
    (wear_sweater, ("long",)),
)
