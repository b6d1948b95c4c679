"""Hair colours: from a picture's hair, from a command line, by chance; a colour map holds one colour everywhere."""

import hashlib
import re

import numpy as np
import torch
from torch import Tensor

from engine.device import to_device
from engine.errors import UserError

BLACK = np.zeros(3, np.uint8)  # where there is no hair to take a colour from
MOST_CONTRAST = 4.0  # how much larger tone_curves make the hair's differences at most


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


def recolor(picture: Tensor, colors: Tensor, hair: Tensor, curves: np.ndarray) -> tuple[Tensor, Tensor]:
    """(picture, colours) with hair of another colour: in the picture where it is, in its colour map everywhere.

    Args:
        picture, colors: uint8 [3, H, W]; hair: bool [1, H, W]; curves: tone_curves's.
    """
    tables = to_device(torch.from_numpy(curves), picture.device)
    changed = (torch.stack([t[p.int()] for t, p in zip(tables, x, strict=True)]) for x in (picture, colors))
    return torch.where(hair, next(changed), picture), next(changed)


def tone_curves(old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """uint8 [3, 256]: for each channel what becomes of its values where a colour, uint8 [3], becomes another.

    A curve carries the old colour, a map's median in the hair, to the new one, exactly; a flat map thus becomes the new
    colour, one that is not flat keeps its differences, as shadows, lights and lines do. It runs straight to 0 below and
    to 255 above, but nowhere steeper than MOST_CONTRAST: where the old colour is near an end it would tear the noise of
    saturated hair apart.
    """
    return np.stack([_tone_curve(int(a), int(b)) for a, b in zip(old, new, strict=True)])


def _tone_curve(old: int, new: int) -> np.ndarray:
    """uint8 [256], monotone: what becomes of each value where `old` becomes `new`."""
    below = min(new / max(old, 1), MOST_CONTRAST)
    above = min((255 - new) / max(255 - old, 1), MOST_CONTRAST)
    distance = np.arange(256) - old
    curve = new + np.where(distance < 0, below, above) * distance
    return curve.round().clip(0, 255).astype(np.uint8)


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
