"""What one sample character looks like: colours, style of the drawing and pose, drawn by lot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data.drawing.shapes import Colour, Frame, darker, lighter, turned

# Base colours of hair; common ones stand more than once.
HAIR_COLOURS: tuple[Colour, ...] = (
    (226, 196, 140), (240, 216, 158), (206, 170, 120),  # blond
    (214, 212, 222), (232, 228, 234), (190, 194, 212),  # silver
    (196, 178, 216), (164, 142, 204), (140, 104, 168),  # lavender, violet
    (238, 178, 194), (230, 142, 166),  # pink
    (134, 96, 78), (98, 70, 62), (164, 118, 88), (116, 84, 80),  # brown
    (62, 58, 74), (48, 50, 66), (72, 62, 70),  # black
    (70, 84, 124), (104, 132, 190), (150, 186, 226),  # blue
    (116, 184, 178), (150, 206, 176),  # teal, mint
    (196, 84, 76), (222, 128, 84), (158, 62, 74),  # red, orange
)  # fmt: skip
IRIS_COLOURS: tuple[Colour, ...] = (
    (66, 128, 206), (58, 164, 196), (72, 168, 118), (138, 176, 72), (132, 92, 196), (186, 84, 160),
    (204, 72, 82), (224, 140, 52), (214, 176, 60), (136, 88, 58), (92, 104, 128), (60, 84, 150),
)  # fmt: skip
SKIN_COLOURS: tuple[Colour, ...] = (
    (255, 234, 222), (255, 240, 232), (254, 228, 212), (253, 236, 226), (250, 218, 196), (232, 190, 158),
)  # fmt: skip
CLOTH_COLOURS: tuple[Colour, ...] = (
    (250, 248, 250), (240, 238, 244), (60, 70, 112), (44, 48, 62), (214, 92, 96), (246, 190, 200),
    (130, 170, 214), (188, 214, 236), (122, 168, 134), (240, 220, 170), (178, 150, 204), (150, 104, 86),
    (236, 160, 104), (98, 62, 84), (216, 206, 196), (88, 130, 150),
)  # fmt: skip


# How much larger than the head's the units of the body are.
BODY_SCALE = 1.22


@dataclass(frozen=True)
class Look:
    """Colours, and the style and pose of one drawing; frames are for a canvas of side 1."""

    hair: Colour
    hair_shadow: Colour
    hair_light: Colour
    hair_tip: Colour
    skin: Colour
    skin_shadow: Colour
    irises: tuple[Colour, Colour]
    cloth: Colour
    trim: Colour
    line: float
    ink: float
    turn: float
    wash: float
    grain: float
    head: Frame
    body: Frame


def pick(rng: np.random.Generator, choices):
    return choices[int(rng.integers(len(choices)))]


def chance(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def varied(rng: np.random.Generator, colour: Colour, spread: float) -> Colour:
    """The colour with a little noise: a common shift in brightness and one for each channel."""
    shift = rng.normal(0, spread) + rng.normal(0, spread / 2, 3)
    return tuple(int(value) for value in np.clip(np.asarray(colour) + shift, 14, 255))


def choose_pose(rng: np.random.Generator) -> tuple[Frame, Frame]:
    """Frames of head and body: mostly busts, some close-ups, some small figures with arms and waist."""
    shot = rng.random()
    if shot < 0.14:
        scale, y = rng.uniform(0.24, 0.30), rng.uniform(0.46, 0.58)
    elif shot < 0.86:
        scale, y = rng.uniform(0.185, 0.255), rng.uniform(0.38, 0.48)
    else:
        scale, y = rng.uniform(0.115, 0.160), rng.uniform(0.27, 0.35)
    x = 0.5 + rng.normal(0, 0.05)
    if chance(rng, 0.06):
        x += float(rng.choice((-1, 1))) * rng.uniform(0.15, 0.30)
    lean = float(np.clip(rng.normal(0, 3), -7, 7))
    tilt = float(np.clip(lean + rng.normal(0, 7), -20, 20))
    # The head turns about the neck, so that the chin stays above the body.
    neck = np.array((0.0, 0.9))
    offset = (neck - turned(neck, tilt)) * scale
    head = Frame(x + offset[0], y + offset[1], scale, tilt)
    # turned() about the head's centre would swing the shoulders away: the body leans about the neck, too.
    offset = (neck - turned(neck, lean) * BODY_SCALE) * scale
    return head, Frame(x + offset[0], y + offset[1], scale * BODY_SCALE, lean)


def choose_look(rng: np.random.Generator) -> Look:
    hair = varied(rng, pick(rng, HAIR_COLOURS), 8)
    bright = sum(hair) / 765
    skin = varied(rng, pick(rng, SKIN_COLOURS), 3)
    iris = varied(rng, pick(rng, IRIS_COLOURS), 10)
    other_iris = varied(rng, pick(rng, IRIS_COLOURS), 10) if chance(rng, 0.07) else iris
    cloth = varied(rng, pick(rng, CLOTH_COLOURS), 6)
    trim = varied(rng, pick(rng, CLOTH_COLOURS), 6)
    if sum(abs(a - b) for a, b in zip(cloth, trim, strict=True)) < 130:
        trim = lighter(cloth, 0.75) if sum(cloth) < 420 else darker(cloth, 0.5)
    lineless = chance(rng, 0.15)
    head, body = choose_pose(rng)
    tip = varied(rng, pick(rng, HAIR_COLOURS), 8) if chance(rng, 0.14) else darker(hair, 0.12)
    return Look(
        hair=hair,
        hair_shadow=darker(hair, rng.uniform(0.22, 0.34)),
        hair_light=lighter(hair, 0.30 + 0.30 * bright),
        hair_tip=tip,
        skin=skin,
        skin_shadow=tuple(round(value * share) for value, share in zip(skin, (0.93, 0.79, 0.78), strict=True)),
        irises=(iris, other_iris),
        cloth=cloth,
        trim=trim,
        line=0.0 if lineless else rng.uniform(0.018, 0.045),
        ink=rng.uniform(0.45, 0.8),
        turn=float(np.clip(rng.normal(0, 0.5), -1, 1)),
        wash=rng.uniform(0.25, 0.75) if chance(rng, 0.45) else 0.0,
        grain=rng.uniform(0, 16),
        head=head,
        body=body,
    )
