"""The face of a sample character: head, ears, nose, mouth, brows, eyes, glasses."""

from __future__ import annotations

import numpy as np

from data.drawing.look import Look, chance, pick
from data.drawing.shapes import (
    EYE,
    FACE,
    Colour,
    Pen,
    bezier,
    darker,
    ellipse,
    lighter,
    mirrored,
    mix,
    points,
    spline,
)

DARK_LASH: Colour = (44, 32, 46)
EYE_LEVEL = 0.14


def feature_x(look: Look, x: float) -> float:
    """Where a feature at ``x`` of the frontal face lies when the head is turned."""
    return x * (1 - 0.08 * abs(look.turn)) + 0.20 * look.turn


def draw_head(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """The skin of the face from the crown to the chin."""
    jaw, chin = rng.uniform(0.46, 0.60), rng.uniform(0.98, 1.10)
    half = points((0.62, -1.2), (0.98, -0.55), (1.0, 0.0), (0.91, 0.42), (jaw, 0.80), (0.16, chin - 0.05))
    right, left = half.copy(), half[::-1] * (-1.0, 1.0)
    for cheek, far in ((right, look.turn > 0), (left, look.turn < 0)):
        cheek[:, 0] *= 1 - 0.10 * abs(look.turn) if far else 1.0
    shift = np.array((0.17 * look.turn, 0.0))
    right[-2:] += shift * (0.6, 1.0)
    left[:2] += shift * (0.6, 1.0)
    outline = np.concatenate((right, points((shift[0], chin)), left))
    pen.fill(spline(outline, closed=True), look.skin, FACE)


def draw_ears(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """Ears at both sides, pointed ones now and then; hair mostly hides them."""
    pointed = chance(rng, 0.08)
    for side in (-1.0, 1.0):
        if pointed:
            shape = points((0.9, -0.15), (1.25, -0.25), (1.75, -0.42), (1.4, 0.1), (1.1, 0.38), (0.9, 0.4))
        else:
            shape = points((0.9, -0.18), (1.08, -0.22), (1.16, -0.02), (1.08, 0.3), (0.94, 0.42), (0.85, 0.3))
        pen.fill(mirrored(spline(shape, closed=True), side), look.skin, FACE)
        inner = bezier((1.08, -0.08), (0.98, 0.02), (1.02, 0.24), 8)
        pen.stroke(mirrored(inner, side), 0.035, look.skin_shadow, FACE)


def draw_blush(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    strength = rng.uniform(0.10, 0.30)
    rosy = mix(look.skin, (250, 120, 120), 0.75)
    hatched = chance(rng, 0.25)
    for side in (-1.0, 1.0):
        x, y = feature_x(look, side * 0.58), EYE_LEVEL + 0.38
        for size in (1.0, 0.75, 0.5):
            pen.shade(ellipse(x, y, 0.27 * size, 0.14 * size), rosy, FACE, strength)
        if hatched:
            for step in (-0.1, 0.0, 0.1):
                line = bezier((x + step + 0.03, y - 0.06), (x + step, y), (x + step - 0.03, y + 0.06), 5)
                pen.stroke(line, 0.025, darker(rosy, 0.12), FACE)


def draw_nose(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    x, y = feature_x(look, 0.0) * 1.35, 0.47
    colour = darker(look.skin_shadow, 0.25)
    if chance(rng, 0.5):
        pen.stroke(bezier((x - 0.03, y - 0.03), (x + 0.03, y + 0.02), (x - 0.02, y + 0.04), 6), 0.03, colour, FACE)
    else:
        pen.fill(ellipse(x, y, 0.025, 0.02, 8), colour, FACE, line=False)


def draw_mouth(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """A small mouth: line, smile, open, cat, pout or round."""
    kind = pick(rng, ("line", "smile", "smile", "open", "open", "cat", "pout", "round"))
    x, y, width = feature_x(look, 0.0) * 1.15, rng.uniform(0.68, 0.74), rng.uniform(0.12, 0.2)
    dark = mix(darker(look.skin_shadow, 0.5), (150, 50, 60), 0.4)
    inside = (196, 84, 88)
    if kind == "open":
        depth = rng.uniform(0.10, 0.24)
        top = bezier((x - width, y - 0.03), (x, y + 0.03), (x + width, y - 0.03), 8)
        bottom = bezier((x + width, y - 0.03), (x, y + 2 * depth), (x - width, y - 0.03), 10)
        pen.fill(np.concatenate((top, bottom)), inside, FACE, line=False)
        pen.fill(ellipse(x, y + 0.62 * depth, width * 0.42, depth * 0.22, 10), (242, 150, 146), FACE, line=False)
        pen.stroke(top, 0.045, dark, FACE)
    elif kind == "round":
        pen.fill(ellipse(x, y + 0.02, width * 0.4, width * 0.45, 14), inside, FACE, line=False)
    elif kind == "cat":
        for side in (-1.0, 1.0):
            pen.stroke(
                bezier((x, y - 0.02), (x + side * 0.08, y + 0.09), (x + side * 0.16, y - 0.02), 8),
                0.04,
                dark,
                FACE,
            )
    else:
        bend = {"line": 0.01, "smile": 0.10, "pout": -0.08}[kind]
        pen.stroke(bezier((x - width, y), (x, y + bend), (x + width, y), 9), 0.045, dark, FACE)


def draw_brows(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """Tapered brows in a dark hair colour; mood lowers their inner or outer ends."""
    mood, height = rng.normal(0, 0.05), rng.uniform(0.44, 0.54)
    thick = rng.uniform(0.035, 0.075)
    for side in (-1.0, 1.0):
        inner = (feature_x(look, side * 0.24), EYE_LEVEL - height + mood)
        peak = (feature_x(look, side * 0.5), EYE_LEVEL - height - 0.10)
        outer = (feature_x(look, side * 0.76), EYE_LEVEL - height + 0.05 - mood)
        pen.stroke(bezier(inner, peak, outer), thick, darker(look.hair, 0.4), FACE, "both")


def draw_eyes(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """Both eyes, open by a common amount; now and then closed or winking."""
    mood = rng.random()
    if mood < 0.07:
        openness = (0.0, 0.0)
    elif mood < 0.13:
        openness = (0.0, 1.0) if chance(rng, 0.5) else (1.0, 0.0)
    else:
        openness = (rng.uniform(0.5, 0.7),) * 2 if mood < 0.24 else (rng.uniform(0.85, 1.1),) * 2
    gaze = 0.16 * look.turn + rng.normal(0, 0.05)
    half_width, half_height = rng.uniform(0.27, 0.315), rng.uniform(0.23, 0.285)
    slant, smiling = rng.normal(0, 0.12), chance(rng, 0.6)
    lash = DARK_LASH if chance(rng, 0.6) else darker(look.hair, 0.62)
    for side, opened, iris in zip((-1.0, 1.0), openness, look.irises, strict=True):
        x = feature_x(look, side * 0.49)
        far = side * look.turn > 0
        size = np.array((half_width * (1 - 0.2 * abs(look.turn) if far else 1.0), half_height))
        if opened == 0.0:
            draw_closed_eye(pen, (x, EYE_LEVEL + 0.08), side * size[0], smiling, lash)
        else:
            draw_open_eye(pen, look, (x, EYE_LEVEL), size * (side, 1.0), opened, slant, gaze * side, iris, lash)


def draw_closed_eye(pen: Pen, centre, width: float, smiling: bool, lash: Colour) -> None:
    """A closed eye: the band of the lashes, arched up when it smiles."""
    arch = -0.85 if smiling else 0.7
    spine = spline(points((-1.0, 0.15), (-0.45, arch * 0.75), (0.15, arch), (0.7, arch * 0.6), (1.12, 0.0)) * (1, 0.22))
    pen.stroke(spine * (width, 1.0) + centre, 0.10, lash, EYE)
    for tip in ((1.25, 0.02), (1.15, 0.12)):
        pen.stroke(bezier((0.75, arch * 0.12), (1.0, 0.05), tip, 5) * (width, 1.0) + centre, 0.05, lash, EYE, "end")


def draw_open_eye(
    pen: Pen,
    look: Look,
    centre,
    size: np.ndarray,
    opened: float,
    slant: float,
    gaze: float,
    iris: Colour,
    lash: Colour,
) -> None:
    """One eye; ``size`` is (half width with the side's sign, half height): +x of its units is outwards."""

    def place(shape: np.ndarray) -> np.ndarray:
        sheared = shape + np.stack((np.zeros(len(shape)), -slant * shape[:, 0]), axis=1)
        return sheared * size + centre

    lift = 2 * opened - 1
    upper = points((-0.92, 0.22), (-0.72, -0.36 * lift), (-0.15, -0.95 * lift), (0.45, -0.88 * lift), (0.95, -0.12))
    lower = points((0.95, -0.12), (0.80, 0.58), (0.15, 0.95), (-0.55, 0.84), (-0.92, 0.22))
    upper_lid, lower_lid = spline(upper), spline(lower)
    pen.fill(place(np.concatenate((upper_lid, lower_lid[1:-1]))), (252, 251, 253), EYE, line=False)
    draw_iris(pen, place, gaze, iris)
    pen.shade(place(np.concatenate((upper_lid, (upper_lid + (0, 0.36))[::-1]))), (96, 84, 128), EYE, 0.42)
    for x, y, radius in ((-0.26, -0.36, 0.19), (0.30, 0.46, 0.10)):
        # Highlights lie on the same side of both eyes, as under one lamp.
        spot = ellipse(gaze + x * np.sign(size[0]), y * min(opened, 1.0), radius, radius * 1.25, 12)
        pen.shade(place(spot), (255, 255, 255), EYE)
    pen.stroke(place(lower_lid[3:-9]), 0.035, mix(lash, look.skin_shadow, 0.45), EYE)
    wing = np.concatenate((upper_lid, points((1.12, -0.12), (1.26, -0.28))))
    band = wing + np.linspace(0.02, -0.10, len(wing))[:, None] * (0.0, 1.0)
    pen.stroke(place(band[4:-1]), 0.10, lash, EYE, "lash")
    crease = bezier((-0.55, -0.95 * lift - 0.22), (0.2, -1.35 * lift - 0.28), (0.95, -0.75 * lift - 0.1), 9)
    pen.stroke(place(crease), 0.025, darker(look.skin_shadow, 0.3), FACE)


def draw_iris(pen: Pen, place, gaze: float, iris: Colour) -> None:
    """Rim, bands from dark above to bright below, pupil and a light crescent."""
    rim = ellipse(gaze, 0.02, 0.68, 1.0)
    inner = ellipse(gaze, 0.02, 0.60, 0.91)
    pen.shade(place(rim), darker(iris, 0.65), EYE)
    for step in range(5):
        band = np.maximum(inner, (-np.inf, -0.9 + 0.36 * step))
        colour = mix(darker(iris, 0.5), lighter(iris, 0.42), step / 4)
        pen.shade(place(band), colour, EYE)
    pen.shade(place(ellipse(gaze, -0.02, 0.25, 0.40, 16)), darker(iris, 0.85), EYE)
    crescent = np.maximum(ellipse(gaze, 0.10, 0.40, 0.70), (-np.inf, 0.48))
    pen.shade(place(crescent), lighter(iris, 0.70), EYE, 0.6)


def draw_glasses(pen: Pen, look: Look, rng: np.random.Generator) -> None:
    """Thin frames drawn over the picture only: the label keeps what lies beneath."""
    colour = pick(rng, ((60, 44, 52), (150, 60, 66), (70, 80, 120), (120, 92, 60)))
    square = chance(rng, 0.4)
    for side in (-1.0, 1.0):
        x = feature_x(look, side * 0.49)
        ring = ellipse(x, EYE_LEVEL + 0.04, 0.42, 0.38, 32)
        if square:
            ring = np.clip(ring, (x - 0.37, EYE_LEVEL - 0.24), (x + 0.37, EYE_LEVEL + 0.32))
        pen.trace(np.concatenate((ring, ring[:2])), 0.035, colour)
        pen.trace(points((x + side * 0.4, EYE_LEVEL), (side * 1.02, EYE_LEVEL - 0.08)), 0.035, colour)
    left, right = feature_x(look, -0.49) + 0.41, feature_x(look, 0.49) - 0.41
    pen.trace(
        bezier((left, EYE_LEVEL), ((left + right) / 2, EYE_LEVEL - 0.06), (right, EYE_LEVEL), 6),
        0.035,
        colour,
    )
