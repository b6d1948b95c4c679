"""Hair colours: from a picture's hair, from a command line, by chance; a colour map holds one colour everywhere."""

import hashlib
import re

import numpy as np

from engine.errors import UserError

BLACK = np.zeros(3, np.uint8)  # where there is no hair to take a colour from


def hair_color(picture: np.ndarray, hair: np.ndarray) -> np.ndarray | None:
    """The median of the hair pixels per channel, uint8 [3]; None where there is no hair.

    picture: uint8 [H, W, 3]; hair: bool [H, W].
    """
    pixels = picture[hair]
    if not len(pixels):
        return None
    return np.floor(np.median(pixels, axis=0) + 0.5).astype(np.uint8)


def color_map(color: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """One colour everywhere: uint8 [3], 0..255 -> uint8 [H, W, 3]."""
    return np.broadcast_to(color, (*shape, 3)).copy()


def recolor(picture: np.ndarray, colors: np.ndarray, hair: np.ndarray, target: np.ndarray) -> None:
    """Gives the hair another colour, in place: in the picture and in its colour map.

    A tone curve per channel carries the map's colour in the hair (its median) to the target and keeps 0 and 255, so
    that shadows, lights and lines stay what they are.

    Args:
        picture, colors: uint8 [H, W, 3]; hair: bool [H, W]; target: uint8 [3].
    """
    color = hair_color(colors, hair)
    if color is None:
        return
    for channel, (old, new) in enumerate(zip(np.clip(color, 1, 254), target, strict=True)):
        curve = np.interp(np.arange(256), (0, old, 255), (0, new, 255)).round().astype(np.uint8)
        picture[hair, channel] = curve[picture[hair, channel]]
        colors[..., channel] = curve[colors[..., channel]]


def parse_color(word: str, source: str = "--hair-color") -> np.ndarray:
    """'#rrggbb', with or without the '#', as uint8 [3].

    Raises:
        UserError (code 2): it is no colour.
    """
    if not re.fullmatch(r"#?[0-9a-fA-F]{6}", word):
        raise UserError(f"{source} {word!r}: is no colour; write '#rrggbb' in quotes, such as '#5070c0', or random", 2)
    return np.array([int(word[-6:][i : i + 2], 16) for i in (0, 2, 4)], np.uint8)


def random_color(name: str, seed: int = 0) -> np.ndarray:
    """A colour from the whole cube, uint8 [3], a function of the arguments alone."""
    return np.frombuffer(hashlib.sha256(f"color/{seed}/{name}".encode()).digest()[:3], np.uint8)
