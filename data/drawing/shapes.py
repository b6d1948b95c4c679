"""Curves, colours and the pen with which the sample characters are drawn.

Every shape is painted on the picture and on the label map with the same polygon, so that the two agree
pixel for pixel.  Coordinates of a part are in "head units": 1 is half the width of the face, (0, 0) lies
between the eyes, y points down.  A ``Frame`` places them on the canvas.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw

EYE, FACE, HAIR, OTHER, BACKGROUND = range(5)
WHITE = (255, 255, 255)

Colour = tuple[int, int, int]


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """``a`` with ``share`` (0..1) of ``b`` in it."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))


def darker(colour: Colour, share: float) -> Colour:
    """Darkened towards a cool violet, which looks cleaner than grey."""
    return mix(colour, (52, 30, 72), share)


def lighter(colour: Colour, share: float) -> Colour:
    return mix(colour, WHITE, share)


def points(*pairs: tuple[float, float]) -> np.ndarray:
    return np.array(pairs, dtype=np.float64)


def mirrored(shape: np.ndarray, side: float) -> np.ndarray:
    """The shape with x multiplied by ``side`` (1 or -1)."""
    return shape * (side, 1.0)


@functools.cache
def _catmull_rom(steps: int) -> np.ndarray:
    t = np.arange(steps)[:, None] / steps
    return np.hstack((-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2)) / 2


def spline(knots: np.ndarray, closed: bool = False, steps: int = 6) -> np.ndarray:
    """A Catmull-Rom curve through ``knots`` [N,2] -> [M,2]."""
    if closed:
        around = np.concatenate((knots[-1:], knots, knots[:2]))
    else:
        around = np.concatenate((knots[:1], knots, knots[-1:]))
    windows = np.stack((around[:-3], around[1:-2], around[2:-1], around[3:]), axis=1)
    curve = (_catmull_rom(steps) @ windows).reshape(-1, 2)
    return curve if closed else np.concatenate((curve, knots[-1:]))


@functools.cache
def _quadratic(steps: int) -> np.ndarray:
    t = np.linspace(0, 1, steps)[:, None]
    return np.hstack(((1 - t) ** 2, 2 * t * (1 - t), t**2))


def bezier(start, control, end, steps: int = 12) -> np.ndarray:
    """A quadratic Bézier curve -> [steps,2]."""
    return _quadratic(steps) @ np.array((start, control, end), dtype=np.float64)


@functools.cache
def _circle(steps: int) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, steps, endpoint=False)
    return np.stack((np.cos(angle), np.sin(angle)), axis=1)


def ellipse(x: float, y: float, rx: float, ry: float, steps: int = 24) -> np.ndarray:
    return _circle(steps) * (rx, ry) + (x, y)


def turned(shape: np.ndarray, degrees: float, about=(0.0, 0.0)) -> np.ndarray:
    angle = np.deg2rad(degrees)
    matrix = np.array(((np.cos(angle), np.sin(angle)), (-np.sin(angle), np.cos(angle))))
    return (shape - about) @ matrix + about


def ribbon(spine: np.ndarray, half_widths: np.ndarray) -> np.ndarray:
    """The outline of a band along ``spine`` [N,2] that is 2 * ``half_widths`` [N] wide -> [2N,2]."""
    along = np.empty_like(spine)
    along[1:-1] = spine[2:] - spine[:-2]
    along[0], along[-1] = spine[1] - spine[0], spine[-1] - spine[-2]
    across = along[:, ::-1] * (-1.0, 1.0)
    across *= (half_widths / np.maximum(np.hypot(across[:, 0], across[:, 1]), 1e-9))[:, None]
    return np.concatenate((spine + across, (spine - across)[::-1]))


@functools.cache
def taper(kind: str, steps: int) -> np.ndarray:
    """The relative width along a stroke: thin at "both" ends, at the "start", at the "end", or even."""
    t = np.linspace(0, 1, steps)
    profiles = {
        "both": np.sin(np.pi * t) ** 0.7 + 0.08,
        "start": t**0.8,
        "end": (1 - t) ** 0.8,
        "even": np.ones(steps),
        "lock": np.minimum(0.25 + 2.2 * t, 1) * (1 - t**2.4),
        "lash": np.minimum(0.3 + 1.1 * t, 1) * np.minimum(5 * (1 - t), 1),
    }
    return profiles[kind]


@dataclass(frozen=True)
class Frame:
    """Where head units lie on the canvas: origin and scale in canvas pixels, angle in degrees."""

    x: float
    y: float
    scale: float
    angle: float

    def __call__(self, shape: np.ndarray) -> np.ndarray:
        return turned(shape, self.angle) * self.scale + (self.x, self.y)

    def enlarged(self, factor: float) -> Frame:
        """The same frame on a canvas ``factor`` times as large."""
        return Frame(self.x * factor, self.y * factor, self.scale * factor, self.angle)


class Canvas:
    """A picture and its label map of ``side`` x ``side`` pixels."""

    def __init__(self, side: int):
        self.side = side
        self.picture = Image.new("RGB", (side, side), WHITE)
        self.label = Image.new("L", (side, side), BACKGROUND)
        self.on_picture = ImageDraw.Draw(self.picture)
        self.on_label = ImageDraw.Draw(self.label)


@functools.cache
def _is_class(class_id: int) -> list[int]:
    return [255 if value == class_id else 0 for value in range(256)]


class Pen:
    """Draws shapes given in head units on a canvas; ``line`` is the outline's width in head units."""

    def __init__(self, canvas: Canvas, frame: Frame, line: float, ink: float):
        self.canvas = canvas
        self.frame = frame
        self.line = line
        self.ink = ink

    def outline_of(self, colour: Colour) -> Colour:
        return darker(colour, self.ink)

    def fill(self, shape: np.ndarray, colour: Colour, class_id: int, line: bool = True) -> None:
        """A filled shape [N,2] of a class, outlined in its own darker colour if the drawing has lines."""
        flat = self.frame(shape).ravel().tolist()
        self.canvas.on_picture.polygon(flat, fill=colour)
        self.canvas.on_label.polygon(flat, fill=class_id)
        if line and self.line > 0:
            width = max(1, round(self.line * self.frame.scale))
            ring = flat + flat[:4]
            self.canvas.on_picture.line(ring, fill=self.outline_of(colour), width=width)
            self.canvas.on_label.line(ring, fill=class_id, width=width)

    def stroke(self, spine: np.ndarray, width: float, colour: Colour, class_id: int, kind: str = "both") -> None:
        """A line along ``spine`` [N,2], at most ``width`` head units wide."""
        thinnest = 1.2 / self.frame.scale
        half_widths = taper(kind, len(spine)) * (max(width, thinnest) / 2)
        flat = self.frame(ribbon(spine, half_widths)).ravel().tolist()
        self.canvas.on_picture.polygon(flat, fill=colour)
        self.canvas.on_label.polygon(flat, fill=class_id)

    def trace(self, spine: np.ndarray, width: float, colour: Colour) -> None:
        """An even line on the picture only: the label keeps what lies beneath."""
        flat = self.frame(spine).ravel().tolist()
        self.canvas.on_picture.line(flat, fill=colour, width=max(1, round(width * self.frame.scale)))

    def shade(self, shape: np.ndarray, colour: Colour, class_id: int, strength: float = 1.0) -> None:
        """Tints what lies inside ``shape`` and is of the class so far; the label stays as it is."""
        corners = self.frame(shape)
        side = self.canvas.side
        left, top = np.clip(np.floor(corners.min(axis=0)), 0, side).astype(int).tolist()
        right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1, 0, side).astype(int).tolist()
        if right <= left or bottom <= top:
            return
        box = (left, top, right, bottom)
        mask = Image.new("L", (right - left, bottom - top))
        ImageDraw.Draw(mask).polygon((corners - (left, top)).ravel().tolist(), fill=round(255 * strength))
        inside = self.canvas.label.crop(box).point(_is_class(class_id))
        self.canvas.picture.paste(colour, box, ImageChops.darker(mask, inside))
