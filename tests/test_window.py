"""Windows of stored planes: picture and label move together, resized as by Pillow, with the same bits from anywhere."""

import numpy as np
import pytest
import torch
from PIL import Image

from data.sample import draw
from data.window import LABEL, UNITS, _weights, covering, covering_window, cut, stored_shape


def pair(height: int = 30, width: int = 40) -> list[np.ndarray]:
    """A picture whose every channel is 50 x its label, 0 to 3 in vertical stripes of 10 pixels."""
    label = np.broadcast_to((np.arange(width) // 10 % 4).astype(np.uint8), (height, width)).copy()
    return [np.repeat(50 * label[..., None], 3, axis=2).astype(np.uint8), label]


def window(arrays: list[np.ndarray], size: tuple[int, int], names: tuple[str, ...], seed: int) -> torch.Tensor:
    planes = torch.from_numpy(covering(arrays, size, names))
    return covering_window(planes, size, names, np.random.default_rng(seed), LABEL)


@pytest.mark.parametrize("names", [("crop",), ("scale",), ("scale", "crop"), ("mirror",)])
@pytest.mark.parametrize("shape", [(30, 40), (60, 90), (24, 28), (17, 31)])
def test_windows_keep_picture_and_label_together(names, shape):
    for seed in range(20):
        found = window(pair(*shape), (24, 28), names, seed)
        x, y = found[:3], found[LABEL]
        assert found.shape == (4, 24, 28) and found.dtype == torch.uint8
        counted = y != 255
        assert counted.all() or "scale" in names
        off = (x.int() - 50 * y.int()).abs() > 26
        assert (off & counted).float().mean() < 0.15, "only at the stripes' edges"


def test_without_chance_the_window_is_the_middle():
    x, y = pair(20, 40)
    found = window([x, y], (20, 20), ("mirror", "gamma"), 0)
    assert np.array_equal(found[:3].permute(1, 2, 0), x[:, 10:30]) and np.array_equal(found[LABEL], y[:, 10:30])


def test_small_scales_pad_with_ignored_labels_and_repeated_borders():
    padded = 0
    for seed in range(20):
        found = window(pair(32, 40), (32, 32), ("scale",), seed)
        ignored = found[LABEL] == 255
        padded += bool(ignored.any())
        rows, columns = (~ignored).any(1), (~ignored).any(0)
        assert torch.equal(~ignored, rows[:, None] & columns), "a frame"
        first = int(columns.int().argmax())
        assert (found[:3, :, :first] == found[:3, :, first : first + 1]).all()
    assert 3 < padded < 20


def test_native_pictures_stay_as_they_are():
    arrays = pair(13, 17)
    planes = torch.from_numpy(covering(arrays, "native", ()))
    assert np.array_equal(planes[LABEL], arrays[1]) and planes.shape == (4, 13, 17)
    assert covering_window(planes, "native", (), np.random.default_rng(0), LABEL) is planes


@pytest.mark.parametrize(
    ("shape", "names", "stored"),
    [
        ((100, 300), ("crop",), (20, 60)),
        ((100, 300), ("scale",), (30, 90)),
        ((10, 30), ("crop",), (20, 60)),
        ((10, 30), ("scale",), (10, 30)),
        ((24, 30), ("scale",), (24, 30)),
        ((100, 300), (), (20, 20)),
        ((1, 900), ("crop",), (1, 900)),
    ],
)
def test_what_is_stored(shape, names, stored):
    """Scaled down to what the largest window needs; up only where windows are then slices, and not too far."""
    assert covering(pair(*shape), (20, 20), names).shape == (4, *stored)


@pytest.mark.parametrize("shape", [(33, 70), (70, 33), (300, 301), (20, 25)])
def test_random_crops_are_slices_of_what_is_stored(shape):
    planes = torch.from_numpy(covering(pair(*shape), (20, 25), ("crop",)))
    for seed in range(10):
        found = covering_window(planes, (20, 25), ("crop",), np.random.default_rng(seed), LABEL)
        assert found.untyped_storage().data_ptr() == planes.untyped_storage().data_ptr()


def test_what_is_stored_is_not_far_larger_than_picture_and_window():
    assert stored_shape((2, 100000), (256, 12800000), (256, 256)) == (2, 100000)
    assert stored_shape((1000, 40000), (256, 10240), (256, 256)) == (256, 10240)
    assert stored_shape((100, 100), (286, 286), (256, 256)) == (286, 286)


SCALED = [(192, 150), (300, 235), (383, 299), (384, 351), (500, 391)]


@pytest.mark.parametrize("scaled", SCALED)
@pytest.mark.parametrize("noise", [False, True])
def test_a_window_is_pillows(scaled, noise):
    """Its resize with a box: bicubic with antialiasing; sums are rounded finer there."""
    picture = draw(3, 384).picture[:, :300]
    if noise:
        picture = np.random.default_rng(0).integers(0, 256, picture.shape, np.uint8)
    corner, size = (3, 5), (min(256, scaled[0] - 3), min(200, scaled[1] - 5))
    down, across = picture.shape[0] / scaled[0], picture.shape[1] / scaled[1]
    box = (corner[1] * across, corner[0] * down, (corner[1] + size[1]) * across, (corner[0] + size[0]) * down)
    expected = Image.fromarray(np.ascontiguousarray(picture)).resize(size[::-1], Image.Resampling.BICUBIC, box=box)
    planes = torch.from_numpy(picture.transpose(2, 0, 1).copy())
    off = cut(planes, scaled, corner, size).permute(1, 2, 0).numpy().astype(int) - np.asarray(expected)
    assert np.abs(off).max() <= 2 and np.abs(off).mean() < 0.1 and abs(off.mean()) < 0.05
    ids = planes[:1] // 64
    nearest = Image.fromarray(ids[0].numpy()).resize(size[::-1], Image.Resampling.NEAREST, box=box)
    assert (cut(ids, scaled, corner, size, 0)[0].numpy() != np.asarray(nearest)).mean() < 0.05, "half-way"


@pytest.mark.parametrize(("have", "scaled"), [(384, 192), (300, 300), (299, 500), (1000, 77), (5, 60)])
def test_weights_sum_to_one_and_are_whole_multiples(have, scaled):
    for start, count in ((0, scaled), (scaled // 3, scaled // 2)):
        blocks = _weights(have, scaled, start, count)
        assert sum(len(matrix) for _, matrix in blocks) == count
        for read, matrix in blocks:
            assert 0 <= read.start < read.stop <= have and matrix.shape[1] == read.stop - read.start
            assert (matrix.sum(1) == 1).all() and (matrix * UNITS % 1 == 0).all()
            assert (np.abs(matrix) * UNITS < 2048).all(), "exact in TF32 too"


def test_a_flat_picture_stays_flat():
    planes = torch.full((3, 50, 70), 201, dtype=torch.uint8)
    assert all((cut(planes, scaled, (0, 0), (20, 20)) == 201).all() for scaled in ((31, 43), (80, 112), (20, 28)))


def test_the_bits_do_not_depend_on_threads_order_or_autocast(monkeypatch):
    """In float64, in which every sum of theirs is exact, they are the same."""
    planes = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (4, 90, 130), np.uint8))
    how = ((71, 103), (4, 6), (60, 80), LABEL)
    expected = cut(planes, *how)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cut(planes, *how), expected)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        assert torch.equal(cut(planes, *how), expected)
    finally:
        torch.set_num_threads(threads)
    monkeypatch.setattr(torch, "float32", torch.float64)
    matrices = torch.from_numpy
    monkeypatch.setattr(torch, "from_numpy", lambda array: matrices(array).double())
    assert torch.equal(cut(planes, *how), expected)
