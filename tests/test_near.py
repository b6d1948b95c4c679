"""data/collecting/near.py."""

import io
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.collecting.near import BITS, bits_apart, difference_hash, near_duplicates
from data.images import list_pictures, read_picture
from data.sample import draw

FACES = Path(__file__).parents[2] / "shared" / "data" / "animefaces"


@pytest.fixture(scope="module")
def drawings() -> list[Image.Image]:
    return [Image.fromarray(draw(i, 96).picture) for i in range(6)]


def test_the_hash_is_the_sign_of_the_slope():
    cells = np.random.default_rng(0).integers(0, 256, (16, 17))
    picture = np.repeat(np.repeat(cells, 8, 0), 8, 1)[..., None].repeat(3, 2).astype(np.uint8)
    expected = (cells[:, 1:] - cells[:, :-1] > 2).ravel()
    np.testing.assert_array_equal(np.unpackbits(difference_hash(picture)), expected)
    assert not difference_hash(np.full((50, 70, 3), 99, np.uint8)).any()


def test_copies_are_near_and_other_pictures_are_not(drawings):
    def recompressed(picture: Image.Image, side: int, quality: int) -> np.ndarray:
        file = io.BytesIO()
        picture.resize((side, side), Image.Resampling.BICUBIC).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file))

    hashes = np.stack([difference_hash(np.asarray(drawing)) for drawing in drawings])
    copies = np.stack([difference_hash(recompressed(drawing, 130, 60)) for drawing in drawings])
    apart = bits_apart(hashes[:, None], copies[None])
    assert np.diag(apart).max() <= 24 < 48 < apart[~np.eye(6, dtype=bool)].min()


def reference(hashes: np.ndarray, distance: int) -> dict[int, int]:
    """near_duplicates, pair by pair."""
    kept, left_out = [], {}
    bits = np.unpackbits(hashes, axis=1)
    for i in range(len(bits)):
        near = np.array(kept, int)[(bits[kept] != bits[i]).sum(axis=1) <= distance].tolist() if kept else []
        if near:
            left_out[i] = near
        else:
            kept.append(i)
    return left_out


@pytest.mark.parametrize("distance", [0, 1, 7, 24])
def test_near_duplicates_are_those_of_the_slow_way(distance):
    rng = np.random.default_rng(distance)
    centres = rng.integers(0, 2, (12, BITS))
    bits = centres[rng.integers(0, 12, 150)] ^ (rng.random((150, BITS)) < rng.choice([0, 0.01, 0.05], (150, 1)))
    hashes = np.packbits(bits.astype(np.uint8), axis=1)
    found, expected = near_duplicates(hashes, distance), reference(hashes, distance)
    assert found.keys() == expected.keys() and expected
    assert all(found[i] in expected[i] for i in found)


def test_many_pictures_take_seconds():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 256, (15_000, BITS // 8), np.uint8)
    hashes[8_000:8_200] = hashes[:200]
    hashes[8_000:8_200, 3] ^= 5
    scene = np.unpackbits(hashes[300]) ^ (rng.random((5_000, BITS)) < 0.02)  # 5,000 frames of one scene
    hashes[10_000:] = np.packbits(scene.astype(np.uint8), axis=1)
    tracemalloc.start()
    started = time.perf_counter()
    found = near_duplicates(hashes, 24)
    seconds, most = time.perf_counter() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == {8_000 + i: i for i in range(200)} | {10_000 + i: 300 for i in range(5_000)}
    assert seconds < 10 and most < 100e6, "a list of pairs would be 12 million long"


def test_a_smooth_gradient_is_near_to_nothing():
    ramp = np.linspace(250, 20, 96).astype(np.uint8)[None, :, None].repeat(96, 0).repeat(3, 2)
    steep = ramp // 2
    hashes = np.stack([difference_hash(picture) for picture in (ramp, steep, ramp[:, ::-1], steep[:, ::-1])])
    np.testing.assert_array_equal(np.unpackbits(hashes, axis=1).sum(1), [0, 0, BITS, BITS])
    assert near_duplicates(hashes, 0) == near_duplicates(hashes, 24) == {}

    few = np.zeros((2, BITS), np.uint8)
    few[:, :25] = 1  # bits enough to be a shape
    assert near_duplicates(np.packbits(few, axis=1), 24) == {1: 0}
    assert near_duplicates(np.packbits(1 - few, axis=1), 24) == {1: 0}
    assert near_duplicates(np.packbits(few, axis=1), 25) == near_duplicates(np.packbits(1 - few, axis=1), 25) == {}


def test_no_pictures():
    assert near_duplicates(np.empty((0, BITS // 8), np.uint8), 24) == {}


@pytest.mark.shared
@pytest.mark.skipif(not FACES.is_dir(), reason="needs ../shared")
def test_no_two_of_these_real_faces_are_near():
    hashes = np.stack([difference_hash(read_picture(path)) for path in list_pictures(FACES)[:2000]])
    assert near_duplicates(hashes, 48) == {}, "the most that --near allows"
    hashes = hashes[np.unpackbits(hashes, axis=1).sum(axis=1) > 76]  # the others stand apart
    found = near_duplicates(hashes, 76)
    assert found and found.keys() == reference(hashes, 76).keys()
