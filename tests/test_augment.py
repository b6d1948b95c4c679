"""Augmentation of a batch: each picture by its own draws, what is not named does not happen."""

import numpy as np
import pytest
import torch

from data.augment import augment, draw

NAMES = ("mirror", "gamma", "color")


def planes(count: int = 4, channels: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (count, channels, 9, 14), np.uint8))


def drawn(names: tuple[str, ...], seeds: range) -> torch.Tensor:
    return torch.from_numpy(np.stack([draw(names, np.random.default_rng(seed)) for seed in seeds]))


@pytest.mark.parametrize("channels", [3, 4, 7])
def test_half_of_the_pictures_are_mirrored_with_all_their_planes(channels):
    x, draws = planes(200, channels), drawn(("mirror",), range(200))
    found = augment(x.clone(), draws, ("mirror",))
    turned = [not torch.equal(a, b) for a, b in zip(found, x, strict=True)]
    assert turned == draws[:, 1].bool().tolist() and 75 < sum(turned) < 125
    for a, b, flipped in zip(found, x, turned, strict=True):
        assert torch.equal(a, b.flip(2) if flipped else b)


def test_gamma_is_the_originals_on_half_of_the_pictures():
    x, draws = planes(60), drawn(("gamma",), range(60))
    found = augment(x.clone(), draws, ("gamma",))
    expected = torch.from_numpy(np.round(255 * (x.numpy() / 255) ** (1 / 2.5)).astype(np.uint8))
    for a, b, bright, changed in zip(found, x, expected, draws[:, 0], strict=True):
        assert torch.equal(a[:3], (bright if changed else b)[:3]) and torch.equal(a[3:], b[3:])
    assert 15 < draws[:, 0].sum() < 45


def test_colour_jitter_is_brightness_then_saturation_then_contrast():
    x, draws = planes(6), drawn(("color",), range(6))
    found = augment(x.clone(), draws, ("color",))
    assert torch.equal(found[:, 3:], x[:, 3:]) and ((draws[:, 2:] >= 0.7) & (draws[:, 2:] <= 1.3)).all()
    for a, b, (brightness, contrast, saturation) in zip(found, x, draws[:, 2:].double(), strict=True):
        y = b[:3].double() * brightness
        grey = 0.299 * y[0] + 0.587 * y[1] + 0.114 * y[2]
        y = grey + saturation * (y - grey)
        y = (grey.mean() + contrast * (y - grey.mean())).clamp(0, 255)
        assert (a[:3].double() - y).abs().max() <= 0.5 + 1e-3


def test_what_is_not_named_is_neither_drawn_nor_done():
    rng = np.random.default_rng(5)
    assert draw((), rng).tolist() == [0, 0, 1, 1, 1] and rng.random() == np.random.default_rng(5).random()
    x = planes()
    assert torch.equal(augment(x.clone(), drawn(NAMES, range(4)), ()), x)


def test_a_part_of_a_batch_is_augmented_as_in_the_whole():
    x, draws = planes(5), drawn(NAMES, range(5))
    whole = augment(x.clone(), draws, NAMES)
    for i in range(5):
        assert torch.equal(augment(x[i : i + 1].clone(), draws[i : i + 1], NAMES), whole[i : i + 1])
