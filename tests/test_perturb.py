"""data/perturb.py: each change against a loop over samples and pixels, without knowing the draws."""

import colorsys
import math

import pytest
import torch

from data.perturb import BOX, RADIUS, blur, boxes, cutmix, drop_channels, jitter, strong_view, strong_views


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1)


def test_factors_of_one_change_nothing():
    x, one = torch.rand(3, 3, 5, 4, dtype=torch.float64), column(1, 1, 1)
    torch.testing.assert_close(jitter(x, one, one, one, 0 * one), x)


def test_brightness_contrast_and_saturation_pixel_by_pixel():
    x = torch.rand(2, 3, 4, 3, dtype=torch.float64)
    made = jitter(x, column(1.4, 0.6), column(0.5, 1.5), column(1.5, 0.7), column(0, 0))
    luma = (0.299, 0.587, 0.114)
    for k, (brightness, contrast, saturation) in enumerate(((1.4, 0.5, 1.5), (0.6, 1.5, 0.7))):
        pixels = {(i, j): [min(1, float(v) * brightness) for v in x[k, :, i, j]] for i in range(4) for j in range(3)}
        mean = sum(w * v for pixel in pixels.values() for w, v in zip(luma, pixel, strict=True)) / 12
        for (i, j), pixel in pixels.items():
            pixel = [mean + contrast * (v - mean) for v in pixel]
            grey = sum(w * v for w, v in zip(luma, pixel, strict=True))
            expected = [min(1, max(0, grey + saturation * (v - grey))) for v in pixel]
            torch.testing.assert_close(made[k, :, i, j], torch.tensor(expected, dtype=torch.float64))


def test_a_third_of_a_turn_makes_red_green_and_leaves_grey():
    one = column(1)
    x = torch.tensor([[1.0, 0, 0], [0.4, 0.4, 0.4]], dtype=torch.float64).t()[None, :, :, None]
    made = jitter(x, one, one, one, one / 3)
    torch.testing.assert_close(made[0, :, 0, 0], torch.tensor([0.0, 1, 0], dtype=torch.float64))
    torch.testing.assert_close(made[0, :, 1, 0], x[0, :, 1, 0])
    hue, *_ = colorsys.rgb_to_hsv(*jitter(x, one, one, one, one / 12)[0, :, 0, 0].tolist())
    assert 0 < hue < 1 / 6, "towards yellow"


def test_blur_is_each_pictures_own_gaussian_over_repeated_borders():
    x, sigmas = torch.rand(2, 3, 9, 10, dtype=torch.float64), (0.7, 1.9)
    made = blur(x, column(*sigmas))
    for k, sigma in enumerate(sigmas):
        taps = [math.exp(-(d**2) / (2 * sigma**2)) for d in range(-RADIUS, RADIUS + 1)]
        for i, j in ((0, 0), (4, 5), (8, 2)):
            total = sum(
                taps[a + RADIUS] * taps[b + RADIUS] * x[k, :, min(8, max(0, i + a)), min(9, max(0, j + b))]
                for a in range(-RADIUS, RADIUS + 1)
                for b in range(-RADIUS, RADIUS + 1)
            )
            torch.testing.assert_close(made[k, :, i, j], total / sum(taps) ** 2)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_strong_views_differ_stay_in_range_and_keep_the_layout(layout):
    x, y = torch.rand(4, 3, 16, 12).contiguous(memory_format=layout), torch.randint(0, 5, (4, 16, 12))
    views, labels = strong_views(x, y, 2)
    assert views.shape == (8, 3, 16, 12) and labels.shape == (8, 16, 12)
    assert views.min() >= 0 and views.max() <= 1 and views.is_contiguous(memory_format=layout)
    assert not torch.equal(views[:4], views[4:])


def test_shares_of_grey_and_of_untouched_pictures():
    x = torch.rand(2000, 3, 2, 2, dtype=torch.float64)
    made = strong_view(x)
    grey = ((made - made.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-9).double().mean()
    untouched = (made == x).flatten(1).all(1).double().mean()
    assert 0.17 < grey < 0.23 and 0.06 < untouched < 0.10, "0.2, and 0.2 * 0.8 * 0.5"


def test_boxes_are_single_rectangles_of_half_the_area():
    made = boxes(torch.empty(200, 3, 40, 60))
    for box in made:
        rows, columns = box.any(1), box.any(0)
        assert torch.equal(box, rows[:, None] & columns[None]), "a product of a span of rows and one of columns"
        for span in (rows, columns):
            assert (torch.diff(span.int()).abs().sum() + span[0].int() + span[-1].int()) <= 2, "without gaps"
        assert abs(box.double().mean() - BOX) < 0.05
    assert made.any(0).double().mean() > 0.95 and not made.all(0).all(), "anywhere"


def test_cutmix_moves_pixel_and_label_together_from_the_neighbour():
    y = torch.randint(0, 250, (6, 8, 7))
    x = y[:, None].expand(-1, 3, -1, -1) / 255
    inside = boxes(x)
    mixed, labels = cutmix(x, y, inside)
    torch.testing.assert_close(mixed[:, 0] * 255, labels.float())
    for k in range(6):
        partner = k + 1 if k % 2 == 0 else k - 1
        for i in range(8):
            for j in range(7):
                assert labels[k, i, j] == y[partner if inside[k, i, j] else k, i, j]


def test_half_of_the_channels_are_dropped_whole_and_the_others_doubled():
    x = torch.rand(50, 40, 3, 2) + 0.1
    made = drop_channels(x)
    kept = made.flatten(2).any(2)
    torch.testing.assert_close(made, 2 * x * kept[..., None, None])
    assert abs(kept.double().mean() - 0.5) < 0.05 and kept.sum(1).unique().numel() > 5
