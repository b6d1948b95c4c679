"""Hair colours: medians, colour words, colours by chance."""

import numpy as np
import pytest

from data.colors import color_map, hair_color, parse_color, random_color
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
