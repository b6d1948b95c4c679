"""The hair of a sample character: back hair, tails, side locks, the crown with its bangs, gloss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.drawing.look import Look, chance, pick
from data.drawing.shapes import (
    HAIR,
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
    taper,
    turned,
)

# Common styles stand more than once.
STYLES = (
    "bob", "long", "long", "long", "wavy", "wavy", "hime", "twin tails", "pony tail", "short", "spiky",
    "braids", "buns",
)  # fmt: skip
BANGS = ("blunt", "pointed", "pointed", "middle", "swept", "swept", "parted", "one eye")


@dataclass(frozen=True)
class HairCut:
    """What the parts of the hair share: style, size about the skull, length below the eyes, waves."""

    style: str
    bangs: str
    volume: float
    top: float
    length: float
    wave: float
    part: float


def choose_cut(look: Look, rng: np.random.Generator) -> HairCut:
    style = pick(rng, STYLES)
    low, high = {
        "bob": (0.9, 1.3), "long": (2.4, 4.6), "wavy": (2.0, 4.4), "hime": (2.6, 4.6), "short": (0.6, 0.9),
        "spiky": (0.6, 1.0),
    }.get(style, (0.5, 1.0))  # fmt: skip
    return HairCut(
        style=style,
        bangs="blunt" if style == "hime" else pick(rng, BANGS),
        volume=rng.uniform(1.28, 1.48),
        top=rng.uniform(-1.86, -1.66),
        length=rng.uniform(low, high),
        wave=rng.uniform(0.10, 0.22) if style == "wavy" else rng.uniform(0.0, 0.035),
        part=float(np.clip(rng.normal(0, 0.25) + 0.2 * look.turn, -0.6, 0.6)),
    )


def strand(start, control, end, wave: float = 0.0, phase: float = 0.0, steps: int = 14) -> np.ndarray:
    """A curve for a lock, swinging sideways by ``wave`` towards its end."""
    curve = bezier(start, control, end, steps)
    if wave > 0:
        t = np.linspace(0, 1, steps)
        curve[:, 0] += wave * t * np.sin(phase + 7.5 * t * max(1.0, abs(end[1] - start[1]) / 2.2))
    return curve


def draw_lock(pen: Pen, spine: np.ndarray, half_width: float, colour: Colour) -> None:
    """A pointed lock with a shaded side and a bright hair along the other."""
    widths = taper("lock", len(spine)) * half_width
    pen.fill(ribbon(spine, widths), colour, HAIR)
    edges = ribbon(spine, widths)
    left, right = edges[: len(spine)], edges[len(spine) :][::-1]
    pen.shade(np.concatenate((left, (0.65 * left + 0.35 * right)[::-1])), darker(colour, 0.3), HAIR, 0.4)
    pen.stroke((0.3 * left + 0.7 * right)[2:-4], 0.045, lighter(colour, 0.22), HAIR)


def zigzag(tips: np.ndarray, notches: np.ndarray) -> np.ndarray:
    """The lower edge of hair: from notch to tip to notch, each lock bulging like a leaf."""
    edge = []
    for before, tip, after in zip(notches[:-1], tips, notches[1:], strict=True):
        for start, end in ((before, tip), (tip, after)):
            notch = before if end is tip else after
            control = (0.72 * notch[0] + 0.28 * tip[0], 0.35 * notch[1] + 0.65 * tip[1])
            edge.append(bezier(start, control, end, 6)[:-1])
    edge.append(notches[-1:])
    return np.concatenate(edge)


def draw_back_hair(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """The mass behind the head and the body, ending in tips."""
    spread = cut.volume + rng.uniform(-0.10, 0.15) + rng.uniform(0.04, 0.2) * max(cut.length - 1.2, 0) + 1.5 * cut.wave
    count = int(rng.integers(5, 9))
    notch_x = np.linspace(-spread, spread, count + 1)
    ragged = 0.10 + 0.10 * cut.length
    notches = np.stack((notch_x, cut.length - ragged * rng.uniform(0.3, 1.1, count + 1)), axis=1)
    notches[[0, -1], 1] -= 0.25 * ragged
    lean = rng.normal(0, 0.05) - 0.10 * np.linspace(-1, 1, count) * rng.uniform(-1.2, 1.2)
    tips = np.stack(
        ((notch_x[:-1] + notch_x[1:]) / 2 + lean, cut.length + ragged * rng.uniform(-0.2, 0.7, count)), axis=1
    )
    phase = rng.uniform(0, 6)
    side = strand((cut.volume, -0.5), (cut.volume + 0.12, cut.length * 0.45), notches[-1], cut.wave, phase, 18)
    other = strand((-cut.volume, -0.5), (-cut.volume - 0.12, cut.length * 0.45), notches[0], cut.wave, phase + 2, 18)
    roof = bezier((-cut.volume, -0.5), (0, cut.top - 0.6), (cut.volume, -0.5))
    outline = np.concatenate((roof, side[1:-1], zigzag(tips, notches)[::-1], other[1:-1][::-1]))
    flicks = int(rng.integers(1, 4)) if cut.length > 0.8 else 0
    for _ in range(flicks):
        end = float(rng.choice((-1.0, 1.0)))
        root = rng.uniform(0.2, 0.7) * cut.length
        tip = (end * (spread + rng.uniform(0.15, 0.5)), min(cut.length, root + rng.uniform(0.5, 1.3)))
        spine = strand((end * cut.volume * 0.9, root - 0.4), (end * (spread + 0.05), root + 0.4), tip)
        draw_lock(pen, spine, rng.uniform(0.09, 0.17), look.hair)
    pen.fill(outline, look.hair_shadow if cut.length < 1.4 else mix(look.hair, look.hair_shadow, 0.7), HAIR)
    ink = darker(look.hair_shadow, 0.28)
    for notch in notches[1:-1]:
        root = (notch[0] * 0.75, -0.2)
        pen.stroke(strand(notch, (notch[0], notch[1] * 0.5), root, cut.wave, phase, 10), 0.05, ink, HAIR, "end")
    for x in rng.uniform(-0.95, 0.95, 5) * spread:
        spine = strand(
            (x * 0.9, 0.0),
            (x, cut.length * 0.5),
            (x, cut.length * rng.uniform(0.7, 0.95)),
            cut.wave,
            phase,
            10,
        )
        pen.shade(ribbon(spine, taper("both", 10) * 0.06), look.hair, HAIR, 0.8)


def draw_tail(pen: Pen, look: Look, cut: HairCut, root, bend, tip, fat: float, rng: np.random.Generator) -> None:
    """A bunch of locks from one root: the outer ones behind, the fat one in front."""
    root, bend, tip = np.asarray(root), np.asarray(bend), np.asarray(tip)
    phase = rng.uniform(0, 6)
    wave = cut.wave * 1.5
    for _ in range(3):
        stray = rng.normal(0, 0.22, 2) * fat / 0.3
        draw_lock(
            pen,
            strand(root, bend + stray * 1.2, tip + stray * 1.4, wave, phase, 16),
            fat * 0.62,
            mix(look.hair, look.hair_shadow, 0.6),
        )
    draw_lock(pen, strand(root, bend, tip, wave, phase, 16), fat, look.hair)
    for share in (-0.45, 0.45):
        stray = np.array((share * fat, rng.uniform(-0.5, -0.1)))
        draw_lock(pen, strand(root, bend + stray, tip + stray * (1.5, 1.0), wave, phase, 14), fat * 0.4, look.hair)


def draw_tails(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """Twin tails or a pony tail, behind the head."""
    fat = rng.uniform(0.30, 0.46)
    if cut.style == "twin tails":
        high, length, out = rng.uniform(-1.1, 0.1), rng.uniform(2.2, 4.2), rng.uniform(0.2, 0.9)
        for side in (-1.0, 1.0):
            root = (side * (cut.volume - 0.1), high)
            bend = (side * (cut.volume + 0.5 + out), high + 0.2)
            tip = (side * (cut.volume + out * rng.uniform(0.3, 1.0)), high + length * rng.uniform(0.9, 1.05))
            draw_tail(pen, look, cut, root, bend, tip, fat, rng)
            pen.fill(ellipse(root[0] + side * 0.12, root[1] - 0.02, 0.17, 0.19, 14), look.trim, 3)
    elif cut.style == "pony tail":
        side = float(rng.choice((-1.0, 1.0)))
        root = (side * 0.55, cut.top + 0.35)
        bend = (side * rng.uniform(1.8, 2.6), cut.top - 0.3)
        tip = (side * rng.uniform(1.2, 2.0), rng.uniform(0.8, 2.4))
        draw_tail(pen, look, cut, root, bend, tip, fat * 1.2, rng)
    elif cut.style == "buns":
        for side in (-1.0, 1.0):
            x, y, radius = side * 0.95, cut.top + 0.22, fat * 1.15
            pen.fill(ellipse(x, y, radius, radius * 0.95), look.hair, HAIR)
            for turn in (0.35, 0.7):
                arc = bezier((x - radius * 0.8, y + 0.1), (x, y - radius * turn), (x + radius * 0.8, y + 0.1))
                pen.stroke(arc, 0.04, look.hair_shadow, HAIR)


def draw_braids(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """Two braids over the shoulders: overlapping leaves along a line, a tie and a tuft."""
    for side in (-1.0, 1.0) if chance(rng, 0.7) else (float(rng.choice((-1.0, 1.0))),):
        end = (side * rng.uniform(0.9, 1.5), rng.uniform(2.3, 3.4))
        path = bezier((side * 1.08, 0.3), (side * rng.uniform(1.2, 1.6), 1.5), end, 13)
        for number, (x, y) in enumerate(path[:-1]):
            half = side if number % 2 else -side
            leaf = turned(ellipse(half * 0.07, 0.0, 0.27, 0.15, 16), half * 38)
            pen.fill(leaf + (x, y), look.hair if number % 2 else mix(look.hair, look.hair_shadow, 0.3), HAIR)
        for stray in (-0.12, 0.0, 0.12):
            draw_lock(
                pen,
                bezier(path[-2], path[-1] + (stray / 2, 0.1), path[-1] + (stray, 0.45), 8),
                0.11,
                look.hair,
            )
        pen.fill(ellipse(*path[-2], 0.17, 0.11, 12), look.trim, 3)


def draw_side_locks(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """Locks in front of the ears and the shoulders that frame the face."""
    falling = cut.length > 1.5
    for side in (-1.0, 1.0):
        phase = rng.uniform(0, 6)
        if cut.style == "hime":
            shape = points((0.80, -0.7), (1.38, -0.6), (1.36, 0.4), (1.28, 1.05), (0.84, 1.02), (0.86, 0.2))
            pen.fill(mirrored(shape, side), look.hair, HAIR)
            for x in (0.98, 1.15):
                pen.stroke(
                    mirrored(bezier((x, 1.0), (x + 0.05, 0.3), (x + 0.05, -0.4)), side),
                    0.04,
                    look.hair_shadow,
                    HAIR,
                    "end",
                )
        for number in range(2 + falling):
            length = rng.uniform(0.6, 1.3) if not falling else rng.uniform(0.5, 0.95) * cut.length
            x = cut.volume - 0.10 - 0.14 * number
            out = rng.normal(0.1 if falling else -0.12, 0.10)
            root, bend = (side * (x - 0.15), -1.0), (side * (x + 0.16), 0.3 * length)
            spine = strand(root, bend, (side * (x + out), length), cut.wave, phase, 16)
            draw_lock(pen, spine, rng.uniform(0.17, 0.26) + 0.09 * falling, look.hair)
    if cut.style in ("short", "spiky", "bob"):
        draw_nape_flicks(pen, look, cut, rng)


def draw_nape_flicks(pen: Pen, look: Look, cut: HairCut, rng: np.random.Generator) -> None:
    """Short locks at the sides that flick outwards or, for a bob, curl in."""
    out = {"short": 0.25, "spiky": 0.55, "bob": -0.15}[cut.style]
    for side in (-1.0, 1.0):
        for y in (-0.5, -0.1, 0.3):
            tip = (side * (cut.volume + out * rng.uniform(0.5, 1.3)), y + rng.uniform(0.6, 0.9))
            draw_lock(
                pen,
                bezier((side * (cut.volume - 0.25), y - 0.5), (side * (cut.volume + 0.12), y + 0.1), tip, 10),
                0.2,
                look.hair,
            )
