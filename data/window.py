"""Windows of stored planes, uint8 [C, h, w]: where they lie, and how they are cut, on any device."""

import numpy as np
import torch
from torch import Tensor

from data.fit import cover_crop, resize
from data.palette import IGNORED
from engine.device import to_device

LABEL = 3  # the plane of a label's ids, after those of its picture
LARGEST = 16  # times the window: what is stored beyond it is no larger than the picture itself
SCALES = (0.75, 1.5)  # of data.augment=scale
# Weights are whole multiples of 1 / UNITS: products with bytes and their sums are then exact in float32, and in TF32,
# so that the pixels do not depend on the device, the threads or the order of the sums.
UNITS = 1024
BLOCK = 32  # pixels of an axis that are resampled by one matrix: a larger one would be zero nearly everywhere

Shape = tuple[int, int]  # (height, width)


def stack(arrays: list[np.ndarray], shape: Shape | None = None) -> np.ndarray:
    """Pictures uint8 [h, w, 3] and ids uint8 [h, w] as planes, uint8 [C, h, w], resized to `shape` if it is given."""
    if shape is not None and shape != arrays[0].shape[:2]:
        arrays = [resize(array, shape) for array in arrays]
    return np.concatenate([a[None] if a.ndim == 2 else a.transpose(2, 0, 1) for a in arrays])


def stored_shape(shape: Shape, scaled: Shape, size: Shape) -> Shape:
    """What a picture is stored at whose windows of `size` are cut at the scale `scaled`: that, and they are slices.

    But as it is where that is far larger than the picture and the window, as of a picture of 100000x2 pixels.
    """
    most = max(shape[0] * shape[1], LARGEST * size[0] * size[1])
    return scaled if scaled[0] * scaled[1] <= most else shape


def cover(shape: Shape, size: Shape, factor: float = 1.0) -> Shape:
    """A picture's size when it is scaled to cover a window, times a factor."""
    factor *= max(size[0] / shape[0], size[1] / shape[1])
    return max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))


def covering(arrays: list[np.ndarray], size: Shape | str, names: tuple[str, ...]) -> np.ndarray:
    """The planes of pictures and ids that covering_window cuts from, `size` being data.size, native included.

    With `scale` they are stored at its largest scale, but never scaled up; without chance they are the window itself.
    """
    shape = arrays[0].shape[:2]
    if size == "native":
        return stack(arrays)
    if not by_chance(names):
        return stack([array if shape == tuple(size) else cover_crop(array, size) for array in arrays])
    if "scale" not in names:
        return stack(arrays, stored_shape(shape, cover(shape, size), size))
    return stack(arrays, min(cover(shape, size, SCALES[1]), shape))


def covering_window(
    planes: Tensor, size: Shape | str, names: tuple[str, ...], rng: np.random.Generator | None, label: int | None = None
) -> Tensor:
    """A window of the planes that `covering` made: by random_window where `names` ask for chance, else all of them."""
    if not by_chance(names):
        return planes
    return cut(planes, *random_window(tuple(planes.shape[1:]), size, names, rng), size, label)


def by_chance(names: tuple[str, ...]) -> list[str]:
    """Those of the augmentations that choose a window."""
    return sorted({"scale", "crop"}.intersection(names))


def random_window(shape: Shape, size: Shape, names: tuple[str, ...], rng: np.random.Generator) -> tuple[Shape, Shape]:
    """(a size to scale a picture to, the corner of a window of `size` in it) that covers the window.

    `scale`: that scale times 0.75 to 1.5; `crop`: a window anywhere instead of the middle.
    """
    scaled = cover(shape, size, rng.uniform(*SCALES) if "scale" in names else 1.0)
    return scaled, window_corner(scaled, size, rng if "crop" in names else None)


def window_corner(scaled: Shape, size: Shape, rng: np.random.Generator | None) -> tuple[int, int]:
    """(top, left) of a window of `size` in a picture of `scaled`: by chance, or in the middle without rng."""
    free = [max(0, have - want) for have, want in zip(scaled, size, strict=True)]
    top, left = (int(rng.integers(0, f + 1)) if rng else f // 2 for f in free)
    return top, left


def cut(planes: Tensor, scaled: Shape, corner: tuple[int, int], size: Shape, label: int | None = None) -> Tensor:
    """The window of `size` at `corner` of planes, uint8 [C, h, w], as they would be resized to `scaled`.

    Bicubic with antialiasing, the plane `label` by nearest neighbour; a plain slice where the planes have that size.
    Where `scaled` is below `size` the pictures' border is repeated and the label ignored. On the planes' device.
    """
    shown = tuple(min(have, want) for have, want in zip(scaled, size, strict=True))
    (top, left), shape = corner, tuple(planes.shape[1:])
    if shape == tuple(scaled):
        part = planes[:, top : top + shown[0], left : left + shown[1]]
    else:
        part = _bicubic(planes, scaled, corner, shown)
        if label is not None:
            part[label] = nearest(planes[label], scaled, corner, shown)
    return part if shown == tuple(size) else _padded(part, size, label)


def nearest(ids: Tensor, scaled: Shape, corner: tuple[int, int], size: Shape) -> Tensor:
    """The window of `size`, no larger than `scaled`, at `corner` of ids, uint8 [h, w], resized to `scaled`."""
    for axis in (0, 1):
        ratio = ids.shape[axis] / scaled[axis]
        places = ((torch.arange(size[axis], dtype=torch.float64) + corner[axis] + 0.5) * ratio).long()
        ids = ids.index_select(axis, to_device(places, ids.device))
    return ids


def _bicubic(planes: Tensor, scaled: Shape, corner: tuple[int, int], size: Shape) -> Tensor:
    """As `nearest`, of planes uint8 [C, h, w]: the columns, then the rows, as Pillow."""
    across, down = (_weights(planes.shape[1 + axis], scaled[axis], corner[axis], size[axis]) for axis in (1, 0))
    rows = slice(down[0][0].start, down[-1][0].stop)
    x = _resampled(planes[:, rows].to(torch.float32), across, 0)
    return _resampled(x.transpose(1, 2), down, rows.start).transpose(1, 2).to(torch.uint8)


def _resampled(x: Tensor, blocks: list[tuple[slice, np.ndarray]], origin: int) -> Tensor:
    """The last axis of x [C, N, have], which begins at `origin`, by _weights's blocks; whole numbers from 0 to 255."""
    parts = []
    with torch.autocast(x.device.type, enabled=False):  # validation reads under it
        for read, matrix in blocks:
            weights = to_device(torch.from_numpy(matrix), x.device)
            parts.append(x[..., read.start - origin : read.stop - origin] @ weights.T)
    return torch.cat(parts, -1).round_().clamp_(0, 255)


def _weights(have: int, scaled: int, start: int, count: int) -> list[tuple[slice, np.ndarray]]:
    """For the `count` pixels from `start` on of an axis of `have` pixels scaled to `scaled`, block by block: what is
    read, and its weights, float32 [pixels, read], multiples of 1 / UNITS that sum to 1.

    Cubic convolution (Keys 1981, a = -0.5), wider by the ratio where it scales down; what lies outside has no weight.
    """
    ratio = have / scaled
    stretch = max(ratio, 1.0)
    centre = (start + np.arange(count) + 0.5) * ratio
    lowest = np.floor(centre - 2 * stretch).astype(np.int64)
    places = lowest[:, None] + np.arange(int(np.ceil(4 * stretch)) + 1)
    weights = _keys((places + 0.5 - centre[:, None]) / stretch) * ((places >= 0) & (places < have))
    weights = np.rint(UNITS * weights / weights.sum(1, keepdims=True))
    weights[np.arange(count), weights.argmax(1)] += UNITS - weights.sum(1)  # what rounding has lost
    blocks = []
    for first in range(0, count, BLOCK):
        own, at = weights[first : first + BLOCK], places[first : first + BLOCK]
        read = slice(max(0, int(at[0, 0])), min(have, int(at[-1, -1]) + 1))
        matrix = np.zeros((len(own), read.stop - read.start), np.float32)
        pixels, taps = own.nonzero()
        matrix[pixels, at[pixels, taps] - read.start] = own[pixels, taps] / UNITS
        blocks.append((read, matrix))
    return blocks


def _keys(distance: np.ndarray) -> np.ndarray:
    x = np.abs(distance)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _padded(part: Tensor, size: Shape, label: int | None) -> Tensor:
    """Planes [C, h, w] in the middle of `size`: borders are repeated, outside of the label nothing is counted."""
    own = part.shape[1:]
    starts = [(want - have) // 2 for want, have in zip(size, own, strict=True)]
    for axis, (want, have, start) in enumerate(zip(size, own, starts, strict=True), 1):
        places = (torch.arange(want) - start).clamp(0, have - 1)
        part = part.index_select(axis, to_device(places, part.device))
    if label is not None:
        ids = part[label].clone()
        part[label] = IGNORED
        inside = tuple(slice(start, start + have) for start, have in zip(starts, own, strict=True))
        part[label][inside] = ids[inside]
    return part
