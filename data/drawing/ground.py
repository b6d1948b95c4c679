"""The ground behind a sample character: mostly white, else flat, gradient, pattern or a simple scene."""

from __future__ import annotations

import numpy as np

from data.drawing.look import chance, pick, varied
from data.drawing.shapes import (
    BACKGROUND,
    WHITE,
    Canvas,
    Colour,
    Frame,
    Pen,
    darker,
    ellipse,
    lighter,
    mix,
    points,
)

GROUND_COLOURS: tuple[Colour, ...] = (
    (246, 214, 220), (208, 228, 246), (214, 238, 224), (250, 236, 204), (226, 216, 244), (232, 232, 236),
    (172, 200, 226), (240, 186, 170), (120, 136, 170), (92, 84, 116), (168, 204, 180),
)  # fmt: skip


def draw_ground(canvas: Canvas, rng: np.random.Generator) -> None:
    """Fills the canvas; its label is background all over."""
    kind = rng.random()
    if kind < 0.75:
        level = 255 if chance(rng, 0.7) else int(rng.integers(244, 255))
        canvas.on_picture.rectangle((0, 0, canvas.side, canvas.side), fill=(level, level, level))
        return
    pen = Pen(canvas, Frame(0.0, 0.0, canvas.side, 0.0), line=0.0, ink=0.0)
    colour = varied(rng, pick(rng, GROUND_COLOURS), 6)
    pen.fill(points((0, 0), (1, 0), (1, 1), (0, 1)), colour, BACKGROUND)
    if kind >= 0.80:
        pick(rng, (gradient, gradient, stripes, dots, checks, bubbles, hills, night, window))(pen, colour, rng)


def gradient(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    end = pick(rng, (WHITE, *GROUND_COLOURS))
    edges = np.linspace(0, 1, 25)
    for top, bottom in zip(edges[:-1], edges[1:], strict=True):
        pen.fill(points((0, top), (1, top), (1, bottom), (0, bottom)), mix(colour, end, top), BACKGROUND)


def stripes(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    width, slant = rng.uniform(0.04, 0.12), rng.uniform(-0.6, 0.6)
    for x in np.arange(-1, 2, 2 * width):
        pen.fill(
            points((x, 0), (x + width, 0), (x + width + slant, 1), (x + slant, 1)),
            lighter(colour, 0.5),
            BACKGROUND,
        )


def dots(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    step = rng.uniform(0.10, 0.2)
    for row, y in enumerate(np.arange(0, 1.1, step)):
        for x in np.arange(-step * (row % 2) / 2, 1.1, step):
            pen.fill(ellipse(x, y, step * 0.25, step * 0.25, 12), lighter(colour, 0.6), BACKGROUND)


def checks(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    step = rng.uniform(0.10, 0.2)
    for row, y in enumerate(np.arange(0, 1, step)):
        for x in np.arange(step * (row % 2), 1, 2 * step):
            pen.fill(
                points((x, y), (x + step, y), (x + step, y + step), (x, y + step)),
                lighter(colour, 0.35),
                BACKGROUND,
            )


def bubbles(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    for x, y, radius in rng.uniform((0, 0, 0.03), (1, 1, 0.16), (14, 3)):
        pen.shade(ellipse(x, y, radius, radius), WHITE, BACKGROUND, 0.35)


def hills(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    """Sky, clouds and two rows of hills."""
    pen.fill(points((0, 0), (1, 0), (1, 1), (0, 1)), (186, 220, 246), BACKGROUND)
    for x, y in rng.uniform((0, 0.05), (1, 0.4), (3, 2)):
        for shift in (-0.06, 0.0, 0.07):
            pen.fill(ellipse(x + shift, y + abs(shift) * 0.3, 0.08, 0.04), (250, 252, 255), BACKGROUND)
    for level, green in ((0.62, (168, 206, 168)), (0.78, (132, 184, 132))):
        for x in rng.uniform(0, 1, 3):
            pen.fill(ellipse(x, level + 0.35, 0.5, 0.38, 32), green, BACKGROUND)


def night(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    deep = darker(colour, 0.7)
    pen.fill(points((0, 0), (1, 0), (1, 1), (0, 1)), deep, BACKGROUND)
    pen.fill(ellipse(rng.uniform(0.1, 0.9), 0.15, 0.09, 0.09), (252, 242, 200), BACKGROUND)
    for x, y, radius in rng.uniform((0, 0, 0.003), (1, 0.9, 0.008), (40, 3)):
        pen.fill(ellipse(x, y, radius, radius, 6), (250, 246, 226), BACKGROUND)


def window(pen: Pen, colour: Colour, rng: np.random.Generator) -> None:
    """A wall with a bright window."""
    x, y, width = rng.uniform(0.0, 0.5), rng.uniform(0.05, 0.2), rng.uniform(0.35, 0.5)
    frame = darker(colour, 0.3)
    pen.fill(points((x, y), (x + width, y), (x + width, y + 0.6), (x, y + 0.6)), frame, BACKGROUND)
    for column in (0.04, 0.52):
        for row in (0.03, 0.32):
            left, top = x + width * column, y + row
            pane = points(
                (left, top), (left + width * 0.44, top), (left + width * 0.44, top + 0.25), (left, top + 0.25)
            )
            pen.fill(pane, (222, 240, 252), BACKGROUND)
