"""Joint augmentation: picture and label move together, and what is not named does not happen."""

import numpy as np
import pytest

from data.augment import color_augment, mirror, random_window


def pair(height: int = 30, width: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A picture whose every channel is 50 x its label, in vertical stripes of 10 pixels."""
    label = np.broadcast_to((np.arange(width) // 10).astype(np.uint8), (height, width)).copy()
    return np.repeat(50 * label[..., None], 3, axis=2).astype(np.uint8), label


@pytest.mark.parametrize("names", [(), ("crop",), ("scale",), ("scale", "crop")])
def test_windows_keep_picture_and_label_together(names):
    picture, label = pair()
    for seed in range(20):
        x, y = random_window([picture, label], (24, 28), names, np.random.default_rng(seed))
        assert x.shape == (24, 28, 3) and y.shape == (24, 28)
        counted = y != 255
        assert counted.all() or "scale" in names
        off = np.abs(x[..., 0].astype(int) - 50 * y.astype(int)) > 26
        assert (off & counted).mean() < 0.15, "only at the stripes' edges"


def test_without_names_the_window_is_the_middle():
    picture, label = pair(20, 40)
    x, y = random_window([picture, label], (20, 20), (), np.random.default_rng(0))
    assert np.array_equal(x, picture[:, 10:30]) and np.array_equal(y, label[:, 10:30])


def test_small_scales_pad_with_ignored_labels():
    picture, label = pair(32, 32)
    windows = [random_window([picture, label], (32, 32), ("scale",), np.random.default_rng(s))[1] for s in range(20)]
    assert any((y == 255).any() for y in windows) and any((y != 255).all() for y in windows)


def test_mirror_turns_all_or_none():
    picture, label = pair()
    turned = 0
    for seed in range(20):
        x, y = mirror([picture, label], np.random.default_rng(seed))
        flipped = np.array_equal(y, label[:, ::-1])
        turned += flipped
        assert np.array_equal(x, picture[:, ::-1] if flipped else picture)
    assert 3 < turned < 17


def test_gamma_is_the_originals_on_half_of_the_pictures():
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    expected = np.round(255 * (picture / 255) ** (1 / 2.5))
    changed = 0
    for seed in range(20):
        x = color_augment(picture, ("gamma",), np.random.default_rng(seed))
        assert np.array_equal(x, picture) or np.array_equal(x, expected)
        changed += not np.array_equal(x, picture)
    assert 3 < changed < 17


def test_colour_jitter_changes_colours_within_the_range():
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    x = color_augment(picture, ("color",), np.random.default_rng(1))
    assert x.dtype == np.uint8 and x.shape == picture.shape and not np.array_equal(x, picture)
    assert np.array_equal(color_augment(picture, (), np.random.default_rng(1)), picture)
