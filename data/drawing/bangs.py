"""The front hair of a sample character: the crown with its bangs, gloss, spikes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.drawing.hair import HairCut, draw_lock, zigzag
from data.drawing.look import Look, chance
from data.drawing.shapes import FACE, HAIR, Pen, bezier, mix, points, ribbon, spline, taper


@dataclass(frozen=True)
class Bangs:
    """Tips [N,2] and notches [N+1,2] of the strands, and the outline [M,2] of all the front hair."""

    tips: np.ndarray
    notches: np.ndarray
    outline: np.ndarray


def fringe(cut: HairCut, look: Look, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Tips and notches of the bangs from the left temple to the right one."""
    count = int(rng.integers(9, 12)) if cut.bangs == "blunt" else int(rng.integers(5, 8))
    notch_x = np.linspace(-1.08, 1.08, count + 1)
    notch_x[1:-1] += rng.normal(0, 0.05, count - 1)
    x = (notch_x[:-1] + notch_x[1:]) / 2 + 0.12 * look.turn
    lean, y = rng.normal(0, 0.04, count), rng.uniform(-0.22, 0.02, count)
    depth = rng.uniform(0.22, 0.5, count + 1)
    if cut.bangs == "blunt":
        y, depth = rng.uniform(-0.20, -0.12, count) + 0.05 * x**2, rng.uniform(0.05, 0.18, count + 1)
    elif cut.bangs == "middle":
        y = np.where(np.abs(x - 0.12 * look.turn) < 0.2, 0.22, y)
    elif cut.bangs == "swept":
        side = 1.0 if cut.part < 0 else -1.0
        lean, y = lean + side * 0.22, -0.2 + side * x * 0.20 + rng.normal(0, 0.04, count)
    elif cut.bangs == "parted":
        lean, y = (
            lean + 0.28 * np.sign(x - cut.part),
            -0.75 + 0.72 * np.minimum(np.abs(x - cut.part) + 0.12, 1.0),
        )
    elif cut.bangs == "one eye":
        side = 1.0 if cut.part < 0 else -1.0
        lean, y = lean + side * 0.12, np.where(side * x > 0.15, rng.uniform(0.3, 0.62), y - 0.05)
    notch_y = np.concatenate((y[:1], (y[:-1] + y[1:]) / 2, y[-1:])) - depth
    notch_y[[0, -1]] = 0.05
    return np.stack((x + lean, y), axis=1), np.stack((notch_x, notch_y), axis=1)


def choose_bangs(cut: HairCut, look: Look, rng: np.random.Generator) -> Bangs:
    """The front hair: over the skull from the right temple to the left one, then along the bangs' edge."""
    tips, notches = fringe(cut, look, rng)
    v, top = cut.volume, cut.top
    over = points((v, -0.45), (v * 0.9, -1.08), (v * 0.55, top + 0.13), (0, top))
    over = np.concatenate((over, over[-2::-1] * (-1.0, 1.0)))
    leaves = []
    for side, notch in ((-1.0, notches[0]), (1.0, notches[-1])):
        # A lock at each temple leads from the skull into the bangs.
        tip = (side * (v - rng.uniform(0.05, 0.2)), rng.uniform(0.15, 0.75))
        outer = bezier((side * v, -0.45), (side * (v + 0.05), 0.0), tip, 8)
        leaves.append(np.concatenate((outer, bezier(tip, (side * 1.12, tip[1] - 0.2), notch, 6)[1:-1])))
    outline = np.concatenate((spline(over), leaves[0], zigzag(tips, notches), leaves[1][::-1]))
    return Bangs(tips, notches, outline)


def draw_crown(pen: Pen, look: Look, cut: HairCut, bangs: Bangs, rng: np.random.Generator) -> None:
    """The top of the head with the bangs, their hairs and the band of gloss."""
    pen.fill(bangs.outline, look.hair, HAIR)
    root = np.array((cut.part, cut.top + 0.12))
    ink = mix(look.hair_shadow, pen.outline_of(look.hair), 0.6 if pen.line else 0.0)
    for notch in bangs.notches[1:-1]:
        control = (0.85 * notch[0] + 0.15 * root[0], root[1] + 0.35)
        end = notch + (root - notch) * rng.uniform(0.5, 0.95)
        pen.stroke(bezier(notch, (notch + control) / 2, end), rng.uniform(0.035, 0.055), ink, HAIR, "end")
    for tip in bangs.tips:
        spine = bezier(tip, (1.05 * tip[0], (tip[1] + root[1]) / 2), root + (tip - root) * 0.35, 10)
        pen.shade(ribbon(spine, taper("end", 10) * 0.09), look.hair_shadow, HAIR, 0.45)
    for x in np.concatenate((rng.uniform(-1, -0.4, 3), rng.uniform(0.4, 1, 3))) * cut.volume * 0.9:
        spine = bezier((x, -0.2), (x * 1.02, -1.0), root + (x * 0.35, 0.12), 10)
        pen.stroke(spine, 0.035, mix(look.hair, look.hair_shadow, 0.8), HAIR)
    draw_gloss(pen, look, cut, rng)


def draw_gloss(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """The ring of light about the crown: jagged bands that follow the skull."""
    if chance(rng, 0.15):
        return
    strength, low = rng.uniform(0.45, 0.85), rng.uniform(0.62, 0.74)
    for start, stop in ((-1.1, -0.35), (-0.28, 0.62), (0.70, 1.1)):
        angle = np.linspace(start, stop, 2 * int((stop - start) * 6) + 3)
        jag = np.where(np.arange(len(angle)) % 2, 1.0, 0.35) * rng.uniform(0.5, 1.2, len(angle))
        jag[[0, -1]] = 0.0
        rim = np.stack((cut.volume * np.sin(angle), (cut.top + 0.35) * np.cos(angle)), axis=1)
        upper = rim * (low + 0.10 * jag)[:, None] + (0.0, -0.35)
        lower = rim * (low - 0.10 * jag)[:, None] + (0.0, -0.35)
        pen.shade(np.concatenate((upper, lower[::-1])), look.hair_light, HAIR, strength)


def shade_forehead(pen: Pen, look: Look, bangs: Bangs) -> None:
    """The shadow that the bangs cast on the face: their edge once more, a little lower."""
    pen.shade(bangs.outline + (0.03, 0.09), look.skin_shadow, FACE, 0.8)


def draw_loose_hairs(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """Sometimes a hair that stands up from the crown, and spikes for spiky hair."""
    if cut.style == "spiky":
        for angle in np.linspace(-1.2, 1.2, 7) + rng.normal(0, 0.06, 7):
            root = np.array((np.sin(angle) * 0.95, -0.45 - 0.95 * np.cos(angle)))
            tip = root + np.array((np.sin(angle * 1.25), -np.cos(angle * 1.25))) * rng.uniform(0.45, 0.75)
            draw_lock(pen, bezier(root * 0.9, (root + tip) / 2 + (0.05, -0.05), tip, 8), 0.26, look.hair)
    if chance(rng, 0.3):
        side = float(rng.choice((-1.0, 1.0)))
        spine = bezier(
            (cut.part, cut.top + 0.1),
            (cut.part + side * 0.05, cut.top - 0.45),
            (cut.part + side * 0.45, cut.top - 0.25),
        )
        pen.fill(ribbon(spine, taper("lock", len(spine)) * 0.07), look.hair, HAIR)
