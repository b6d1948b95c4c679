"""Joint augmentation of a picture and its label map, or of two pictures, on uint8 arrays in the loader's workers."""

import numpy as np

from data.fit import cover_crop, resize
from data.palette import IGNORED

GAMMA = 1 / 2.5  # the original's gamma correction (datasets.py)
_GAMMA_TABLE = np.round(255 * (np.arange(256) / 255) ** GAMMA).astype(np.uint8)


def color_augment(picture: np.ndarray, names: tuple[str, ...], rng: np.random.Generator) -> np.ndarray:
    """Gamma and colour jitter, where named; picture uint8 [H, W, 3]."""
    if "gamma" in names and rng.random() < 0.5:
        picture = _GAMMA_TABLE[picture]
    if "color" in names:
        picture = _jitter(picture, *rng.uniform(0.7, 1.3, 3))
    return picture


def mirror(arrays: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """All arrays [H, W, ...] flipped left-right, or none."""
    if rng.random() < 0.5:
        return [np.ascontiguousarray(array[:, ::-1]) for array in arrays]
    return arrays


def to_size(
    arrays: list[np.ndarray], size: tuple[int, int], names: tuple[str, ...], rng: np.random.Generator
) -> list[np.ndarray]:
    """All arrays, pictures uint8 [H, W, 3] and ids uint8 [H, W], brought to `size`: a random window where named."""
    if "scale" in names or "crop" in names:
        return random_window(arrays, size, names, rng)
    if arrays[0].shape[:2] == tuple(size):
        return arrays
    return [cover_crop(array, size) for array in arrays]


def random_window(
    arrays: list[np.ndarray], size: tuple[int, int], names: tuple[str, ...], rng: np.random.Generator
) -> list[np.ndarray]:
    """The same window of `size` (H, W) of all arrays, scaled so that they cover the window.

    `scale`: that scale times 0.75 to 1.5 (below 1 the border is repeated and its label ignored); `crop`: a window
    anywhere instead of the middle.
    """
    height, width = arrays[0].shape[:2]
    factor = max(size[0] / height, size[1] / width) * (rng.uniform(0.75, 1.5) if "scale" in names else 1.0)
    scaled = (max(1, round(height * factor)), max(1, round(width * factor)))
    corner = window_corner(scaled, size, rng if "crop" in names else None)
    return [cut_window(array, scaled, corner, size) for array in arrays]


def window_corner(scaled: tuple[int, int], size: tuple[int, int], rng: np.random.Generator | None) -> tuple[int, int]:
    """(top, left) of a window of `size` (H, W) in a picture of `scaled`: by chance, or in the middle without rng."""
    free = [max(0, have - want) for have, want in zip(scaled, size, strict=True)]
    top, left = (int(rng.integers(0, f + 1)) if rng else f // 2 for f in free)
    return top, left


def cut_window(
    array: np.ndarray, scaled: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """The window of `size` at `corner` of an array resized to `scaled`, without resizing the rest.

    array: a picture uint8 [H, W, 3], whose border is repeated where `scaled` is below `size`, or ids uint8 [H, W],
    which are ignored there.
    """
    shown = tuple(min(have, want) for have, want in zip(scaled, size, strict=True))
    down, across = array.shape[0] / scaled[0], array.shape[1] / scaled[1]
    top, left = corner
    box = (left * across, top * down, (left + shown[1]) * across, (top + shown[0]) * down)
    window = resize(array, shown, box)
    if shown == tuple(size):
        return window
    pads = [((want - part) // 2, (want - part + 1) // 2) for want, part in zip(size, shown, strict=True)]
    if array.ndim == 2:
        return np.pad(window, pads, constant_values=IGNORED)
    return np.pad(window, [*pads, (0, 0)], mode="edge")


def _jitter(picture: np.ndarray, brightness: float, contrast: float, saturation: float) -> np.ndarray:
    """Brightness, contrast about the mean and saturation about the grey (BT.601), each a factor."""
    x = picture.astype(np.float32) * brightness
    grey = x @ np.array([0.299, 0.587, 0.114], np.float32)
    x = grey[..., None] + saturation * (x - grey[..., None])
    x = grey.mean() + contrast * (x - grey.mean())
    return np.clip(np.round(x), 0, 255).astype(np.uint8)
