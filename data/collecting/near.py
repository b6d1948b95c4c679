"""Near duplicates: pictures whose perceptual hashes differ in few bits."""

from collections import defaultdict

import numpy as np
from PIL import Image

SIDE = 16
BITS = SIDE * SIDE
CONTRAST = 2  # grey levels; less is a flat area, whose signs compression would turn
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
    """Which pictures to leave out: the index of each -> that of the kept one it is near to.

    Every one left out is within `distance` bits of a kept one that stands before it; no two kept ones are.

    Args:
        hashes: uint8 [N, BITS / 8], the pictures to keep rather first.
    """
    assert 0 <= distance < BITS
    _, first, inverse = np.unique(hashes, axis=0, return_index=True, return_inverse=True)
    kept_by = first[inverse.ravel()]  # equal hashes: the first of them stands for all
    earlier = defaultdict(list)
    for a, b in first[_near_pairs(hashes[first], distance)]:
        earlier[max(a, b)].append(min(a, b))
    for index in sorted(earlier):
        kept = [other for other in earlier[index] if kept_by[other] == other]
        if kept:
            kept_by[index] = min(kept)
    kept_by = kept_by[kept_by]
    return {index: int(kept) for index, kept in enumerate(kept_by) if index != kept}


def _near_pairs(hashes: np.ndarray, distance: int) -> np.ndarray:
    """int [P, 2]: all pairs within `distance` bits; some may come twice.

    Of distance + 1 parts of the bits two such hashes have at least one in common, so only pairs with an equal part
    are compared. The parts are drawn by lot, as neighbouring bits of a flat background are equal in many pictures.
    """
    bits = np.unpackbits(hashes, axis=1)
    lots = np.random.default_rng(0).permutation(BITS)
    found = [np.empty((0, 2), np.int64)]
    for part in np.array_split(lots, distance + 1):
        packed = np.packbits(bits[:, part], axis=1)
        keys = np.unique(packed, axis=0, return_inverse=True)[1].ravel()
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        at, shift = np.arange(len(keys)), 0
        while len(at):  # each key with the next, the second next, ... as long as they are equal
            shift += 1
            at = at[at + shift < len(keys)]
            at = at[keys[at] == keys[at + shift]]
            a, b = order[at], order[at + shift]
            near = bits_apart(hashes[a], hashes[b]) <= distance
            found.append(np.stack([a[near], b[near]], axis=1))
    return np.concatenate(found)
