"""Hair colours: medians, other colours, colour words, colours by chance."""

import numpy as np
import pytest
import torch

from data.colors import color_map, hair_color, parse_color, random_color, recolor, tone_curves
from engine.errors import UserError


def test_the_hairs_colour_is_the_median_of_its_pixels_per_channel():
    picture = np.zeros((4, 5, 3), np.uint8)
    hair = np.zeros((4, 5), bool)
    hair[1, :3] = True
    picture[1, :3] = [[10, 200, 0], [20, 100, 0], [90, 150, 255]]
    picture[3] = 255  # not hair
    color = hair_color(picture, hair)
    assert color.dtype == np.uint8 and color.tolist() == [20, 150, 0]
    hair[1, 2] = False
    assert hair_color(picture, hair).tolist() == [15, 150, 0], "of two pixels the middle"
    picture[1, 0, 0] = 11
    assert hair_color(picture, hair)[0] == 16, "15.5 is rounded up"


def test_a_picture_without_hair_has_no_colour():
    assert hair_color(np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), bool)) is None


def test_a_colour_map_is_flat_and_its_own():
    color = np.array([1, 2, 3], np.uint8)
    colors = color_map(color, (4, 6))
    assert colors.shape == (4, 6, 3) and colors.dtype == np.uint8 and (colors == color).all()
    colors[0, 0] = 9
    assert (colors[1:] == color).all() and color.tolist() == [1, 2, 3]


BLUE, WHITE, BLACK, BROWN = (np.array(c, np.uint8) for c in ((0, 0, 255), (255,) * 3, (0,) * 3, (120, 70, 30)))


def hair_of(color: np.ndarray, noise: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture of chance whose hair, an odd number of pixels, is the colour +- noise; and where the hair is."""
    rng = np.random.default_rng(0)
    picture, hair = rng.integers(0, 256, (16, 16, 3), np.uint8), np.zeros((16, 16), bool)
    hair[1:12, 2:11] = True
    steps = np.linspace(-noise, noise, hair.sum()).round().astype(int)
    steps = np.stack([rng.permutation(steps) for _ in range(3)], 1)
    picture[hair] = np.clip(color + steps, 0, 255)
    return picture, hair


def recolored(picture: np.ndarray, colors: np.ndarray, hair: np.ndarray, target: np.ndarray) -> list[np.ndarray]:
    """(picture, colours), all [H, W, 3], with the hair in another colour."""
    planes = (torch.from_numpy(array.transpose(2, 0, 1).copy()) for array in (picture, colors))
    curves = tone_curves(hair_color(colors, hair), target)
    return [part.permute(1, 2, 0).numpy() for part in recolor(*planes, torch.from_numpy(hair)[None], curves)]


@pytest.mark.parametrize("target", [BLUE, WHITE, BLACK, BROWN], ids=str)
@pytest.mark.parametrize("color", [BLUE, WHITE, BLACK, BROWN], ids=str)
def test_recoloured_hair_has_the_colour_and_so_has_its_map(color, target):
    before, hair = hair_of(color, 4)
    assert np.array_equal(hair_color(before, hair), color)
    picture, colors = recolored(before, color_map(color, hair.shape), hair, target)
    assert (colors == target).all()
    assert np.array_equal(hair_color(picture, hair), target)
    assert np.array_equal(picture[~hair], before[~hair])
    off = np.abs(picture[hair].astype(int) - target), np.abs(before[hair].astype(int) - color)
    assert (off[0] <= 4 * off[1]).all(), "noise grows at most 4-fold"
    order = [np.argsort(part[hair], axis=0, kind="stable") for part in (before, picture)]
    for channel in range(3):  # what was lighter is not darker
        assert (np.diff(picture[hair][order[0][:, channel], channel].astype(int)) >= 0).all()


def test_recolouring_keeps_black_and_white_where_the_curve_is_not_too_steep():
    picture, hair = np.full((4, 4, 3), 100, np.uint8), np.ones((4, 4), bool)
    picture[0, 0], picture[0, 1], picture[0, 2] = 0, 255, 50
    picture, _ = recolored(picture, np.full_like(picture, 100), hair, np.array([200, 50, 100], np.uint8))
    assert picture[0, 0].tolist() == [0, 0, 0] and picture[0, 1].tolist() == [255, 255, 255]
    assert picture[0, 2].tolist() == [100, 25, 50] and picture[3, 3].tolist() == [200, 50, 100]
    near = np.array([[[0, 1, 254], [1, 255, 255]]], np.uint8)  # to the ends it is one step
    colors = color_map(np.array([1, 254, 254], np.uint8), (1, 2))
    near, _ = recolored(near, colors, np.ones((1, 2), bool), np.array([3, 252, 253], np.uint8))
    assert near.tolist() == [[[0, 1, 253], [3, 255, 255]]]


def test_a_map_that_is_not_flat_keeps_its_differences():
    colors, hair = np.full((4, 5, 3), 100, np.uint8), np.ones((4, 5), bool)
    colors[0], colors[1] = 80, 130
    _, colors = recolored(colors, colors, hair, np.array([50, 100, 150], np.uint8))
    assert colors[0, 0].tolist() == [40, 80, 120] and colors[2, 0].tolist() == [50, 100, 150]
    assert colors[1, 0].tolist() == [50 + round(30 * 205 / 155), 130, 150 + round(30 * 105 / 155)]


@pytest.mark.parametrize("word", ["#5070c0", "#5070C0", "5070c0"])
def test_colour_words(word):
    assert parse_color(word).tolist() == [0x50, 0x70, 0xC0]


@pytest.mark.parametrize(
    "word", ["blue", "#fff", "#12345g", "##123456", "#1234567", "", "0x5070c0", "#5070c0\n", "٠٠٠٠٠٠"]
)
def test_what_is_no_colour_is_one_line(word):
    with pytest.raises(UserError, match="--hair-color .*is no colour; write '#rrggbb'") as caught:
        parse_color(word)
    assert caught.value.code == 2


def test_random_colours_are_a_function_of_name_and_seed():
    colors = np.stack([random_color(f"a/{i}") for i in range(500)]).astype(float)
    assert (abs(colors.mean(0) - 127.5) < 15).all() and colors.min() < 10 and colors.max() > 245
    assert random_color("a").tolist() == random_color("a").tolist() == random_color("a", 0).tolist()
    assert random_color("a").tolist() != random_color("a", 1).tolist()
