"""Near duplicates: pictures whose perceptual hashes differ in few bits."""

import numpy as np
from PIL import Image

SIDE = 16
BITS = SIDE * SIDE
CONTRAST = 2  # grey levels; less is a flat area, whose signs compression would turn
BLOCK = 128  # hashes compared at once
COUNTS = np.array([value.bit_count() for value in range(2**16)], np.uint8)


def difference_hash(picture: np.ndarray) -> np.ndarray:
    """The dHash of a picture, uint8 [H, W, 3] -> uint8 [BITS / 8]: where it becomes lighter from left to right.

    On a grid of SIDE rows and SIDE + 1 columns of mean grey: the same at any size and shape of the picture.
    """
    grey = Image.fromarray(picture).convert("L").convert("F")
    cells = np.asarray(grey.resize((SIDE + 1, SIDE), Image.Resampling.BOX))
    return np.packbits(np.diff(cells, axis=1) > CONTRAST)


def bits_apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """In how many bits hashes, uint8 [..., BITS / 8], differ -> int [...]."""
    return COUNTS[np.bitwise_xor(a, b).view(np.uint16)].sum(axis=-1, dtype=np.int64)


def near_duplicates(hashes: np.ndarray, distance: int) -> dict[int, int]:
    """Which pictures to leave out: the index of each -> that of the first kept one that it is near to.

    Every one left out is within `distance` bits of a kept one that stands before it; no two kept ones are. Hashes
    within `distance` of all 0 or all 1 are kept and stand for no others: a smooth gradient has such a hash, in common
    with every other gradient of its direction.

    Args:
        hashes: uint8 [N, BITS / 8], the pictures to keep rather first.
    """
    assert 0 <= distance < BITS // 2
    ones = bits_apart(hashes, np.zeros_like(hashes))
    shaped = np.flatnonzero((ones > distance) & (ones < BITS - distance))
    # Compared with all kept ones, as products of signs: buckets of equal parts of the hash would save most of that on
    # even hashes, but nothing where many pictures have the same flat background, and be slow for large distances.
    kept = np.empty((len(shaped), BITS), np.float32)
    places, count, found = np.empty(len(shaped), np.int64), 0, {}
    for start in range(0, len(shaped), BLOCK):
        block = shaped[start : start + BLOCK]
        signs = np.unpackbits(hashes[block], axis=1) * np.float32(2) - 1
        end = count + len(block)
        kept[count:end], places[count:end] = signs, block
        near = signs @ kept[:end].T >= BITS - 2 * distance
        near[:, count:] = np.tril(near[:, count:], -1)  # those before it in the block
        stay = []
        for row, index in enumerate(block):
            if near[row].any():
                found[int(index)] = int(places[near[row].argmax()])
                near[:, count + row] = False
            else:
                stay.append(row)
        end = count + len(stay)
        kept[count:end], places[count:end] = signs[stay], block[stay]
        count = end
    return found
