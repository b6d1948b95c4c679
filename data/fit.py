"""The geometry between a picture of any size and the network's size, there and back."""

from dataclasses import dataclass
from itertools import product
from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

MODES = ("pad", "crop", "stretch")
BORDERS = {"replicate": {"mode": "edge"}, "white": {"mode": "constant", "constant_values": 255}}  # np.pad's arguments


def cover_crop(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Scale to cover size (height, width), then cut out the centre, as the original's predict.py.

    picture: uint8 [H, W, 3], or ids uint8 [H, W] or [H, W, 4], resized as resize does.
    """
    height, width, top, left = _cover_place(picture.shape[:2], size)
    if height * width > 16 * size[0] * size[1]:  # the whole of a 100000x2 picture would not fit into memory
        return resize(picture, size, _cover_box(picture.shape[:2], size))
    return resize(picture, (height, width))[top : top + size[0], left : left + size[1]]


@dataclass(frozen=True)
class Fitted:
    """A picture brought to the network's size, and what undoes it. Boxes are (top, left, height, width)."""

    picture: np.ndarray  # uint8 [h, w, 3], or ids and their colours [h, w, 4]
    size: tuple[int, int]  # height and width of the input
    inside: tuple[int, int, int, int]  # the part of `picture` that shows the input, not padding
    shown: tuple[int, int, int, int]  # the part of the input that `inside` shows


def fit_picture(picture: np.ndarray, size: tuple[int, int], mode: str = "pad", border: str = "replicate") -> Fitted:
    """Bring a picture, uint8 [H, W, 3], or ids and their colours, uint8 [H, W, 4], to size (height, width).

    pad: scaled to fit within, centred, its edges repeated around it (border: or white); crop: scaled to
    cover, the centre cut out; stretch: scaled to the size, whatever its shape.
    """
    assert mode in MODES and border in BORDERS, (mode, border)
    height, width = picture.shape[:2]
    whole = (0, 0, height, width)
    if mode == "stretch":
        return Fitted(resize(picture, size), (height, width), (0, 0, *size), whole)
    if mode == "crop":
        left, top, right, bottom = _cover_box((height, width), size)
        top, left = min(round(top), height - 1), min(round(left), width - 1)
        shown = (top, left, max(1, round(bottom) - top), max(1, round(right) - left))
        return Fitted(cover_crop(picture, size), (height, width), (0, 0, *size), shown)
    scale = min(size[0] / height, size[1] / width)
    inner = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    margins = ((top, size[0] - inner[0] - top), (left, size[1] - inner[1] - left), (0, 0))
    padded = np.pad(resize(picture, inner), margins, **BORDERS[border])
    return Fitted(padded, (height, width), (top, left, *inner), whole)


def unfit(maps: torch.Tensor | np.ndarray, fitted: Fitted) -> torch.Tensor:
    """Bring maps [C, h, w] of the network's size back to the input's: float [C, H, W], bilinear.

    What a crop had left out repeats the nearest edge of the crop.
    """
    maps = torch.as_tensor(maps).float()
    assert maps.shape[-2:] == fitted.picture.shape[:2], (maps.shape, fitted.picture.shape)
    top, left, height, width = fitted.inside
    maps = maps[:, top : top + height, left : left + width]
    top, left, height, width = fitted.shown
    maps = F.interpolate(maps[None], (height, width), mode="bilinear", align_corners=False, antialias=True)
    right, bottom = fitted.size[1] - width - left, fitted.size[0] - height - top
    return F.pad(maps, (left, right, top, bottom), mode="replicate")[0]


def tiles(height: int, width: int, size: tuple[int, int], overlap: int) -> list[tuple[int, int]]:
    """(top, left) of windows that cover a picture, evenly spread, neighbours sharing at least the overlap.

    A picture smaller than a window gets one at (0, 0): see pad_to.
    """
    assert 0 <= overlap < min(size), (overlap, size)
    return list(product(_starts(height, size[0], overlap), _starts(width, size[1], overlap)))


def pad_to(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture, uint8 [H, W, 3 or 4], with its last row and column repeated until it has at least size."""
    down, right = (max(0, room - side) for room, side in zip(size, picture.shape[:2], strict=True))
    return np.pad(picture, ((0, down), (0, right), (0, 0)), mode="edge")


def blend_weights(size: tuple[int, int], overlap: int) -> torch.Tensor:
    """Weights [h, w] of a tile, in (0, 1]: 1 in the middle, falling linearly over the overlap to the edge."""
    to_edge = (torch.minimum(torch.arange(1, n + 1), torch.arange(n, 0, -1)) for n in size)
    rows, columns = (distance.div(overlap + 1).clamp(max=1) for distance in to_edge)
    weights = rows[:, None] * columns[None, :]
    return weights / weights.max()


def _starts(length: int, window: int, overlap: int) -> list[int]:
    room = length - window
    if room <= 0:
        return [0]
    steps = ceil(room / (window - overlap))
    return [round(i * room / steps) for i in range(steps + 1)]


def _cover_place(shape: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
    """(height, width) of the covering picture, then (top, left) of its cut-out, rounded as the original."""
    (height, width), (rows, columns) = shape, size
    if height * columns < width * rows:
        scaled = rows, rows * width // height
    else:
        scaled = columns * height // width, columns
    return *scaled, (scaled[0] - rows) // 2, (scaled[1] - columns) // 2


def _cover_box(shape: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of the input that cover_crop shows."""
    height, width, top, left = _cover_place(shape, size)
    down, across = shape[0] / height, shape[1] / width
    return left * across, top * down, (left + size[1]) * across, (top + size[0]) * down


def resize(picture: np.ndarray, size: tuple[int, int], box=None) -> np.ndarray:
    """Resize to (height, width): uint8 [H, W, 3] bicubically; ids, uint8 [H, W] or with a colour beside each id
    [H, W, 4], by nearest neighbour. box: the part of the picture (left, top, right, bottom), all of it without."""
    method = Image.Resampling.BICUBIC if picture.shape[2:] == (3,) else Image.Resampling.NEAREST
    return np.array(Image.fromarray(picture).resize(size[::-1], method, box=box))
