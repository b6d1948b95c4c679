"""Label pictures of every kind to class ids and back."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.palette import (
    ANIME,
    MATCHES,
    LabelError,
    Palette,
    colorize,
    decode_label,
    encode_label,
    ids_by_color,
    read_label,
)
from engine.errors import UserError

FIXTURE = Path(__file__).parents[2] / "shared" / "fixtures" / "data" / "label_onehot.npz"


@pytest.fixture
def ids():
    return np.random.default_rng(0).integers(0, 5, (16, 24), dtype=np.uint8)


def refusal(*arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        decode_label(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.shared
@pytest.mark.skipif(not FIXTURE.exists(), reason="needs ../shared")
def test_threshold_agrees_with_the_original_program():
    fixture = np.load(FIXTURE)
    onehot = fixture["onehot_float32_skip0"]
    expected = np.where(onehot.any(0), onehot.argmax(0), 255)
    assert (expected == 255).sum() == 360
    np.testing.assert_array_equal(ids_by_color(fixture["label_u8"], ANIME), expected)
    assert "3.9 %" in refusal(fixture["label_u8"], ANIME)


def test_threshold_is_strict():
    colors = np.array([[103, 102, 0], [0, 103, 102], [102, 102, 255], [103, 103, 103], [0, 0, 0]], np.uint8)
    assert ids_by_color(colors, ANIME).tolist() == [0, 1, 2, 255, 255]


@pytest.mark.parametrize("match", MATCHES)
def test_rgb_is_read_by_colour(ids, match):
    np.testing.assert_array_equal(decode_label(colorize(ids, ANIME), ANIME, match=match), ids)
    rgba = Image.fromarray(colorize(ids, ANIME)).convert("RGBA")
    np.testing.assert_array_equal(decode_label(rgba, ANIME, match=match), ids)


def test_nearest_reaches_sixty():
    colors = np.array([[255, 0, 60], [255, 0, 61], [230, 30, 30]], np.uint8)
    assert ids_by_color(colors, ANIME, "nearest").tolist() == [0, 255, 0]
    assert ids_by_color(colors, ANIME, "exact").tolist() == [255, 255, 255]


def test_nearest_takes_the_nearer_of_two():
    palette = Palette(("a", "b"), ((100, 0, 0), (140, 0, 0)))
    colors = np.array([[119, 0, 0], [121, 0, 0]], np.uint8)
    assert ids_by_color(colors, palette, "nearest").tolist() == [0, 1]


def test_closest_takes_the_nearest_class_at_any_distance():
    colors = np.array([[255, 0, 61], [120, 20, 20], [20, 30, 90], [200, 20, 130]], np.uint8)
    assert ids_by_color(colors, ANIME, "closest").tolist() == [0, 0, 2, 3]
    palette = Palette(("a", "b"), ((100, 0, 0), (140, 0, 0)))
    assert ids_by_color(np.array([[119, 90, 90], [121, 90, 90]], np.uint8), palette, "closest").tolist() == [0, 1]


def test_closest_reads_a_jpegs_colours_that_the_others_refuse(ids):
    ids = ids.repeat(8, 0).repeat(8, 1)
    file = BytesIO()
    Image.fromarray(colorize(ids, ANIME)).save(file, "JPEG", quality=60)
    picture = np.asarray(Image.open(file))
    for match in ("nearest", "exact"):
        assert "of no class" in refusal(picture, ANIME, match=match)
    decoded = decode_label(picture, ANIME, match="closest")
    assert (decoded != 255).all() and (decoded == ids).mean() > 0.9
    assert "data.label_colors=closest" in refusal(picture, ANIME, match="nearest")
    assert "data.label_colors=closest" not in refusal(picture, ANIME, match="exact"), "nearest comes first"


def test_closest_leaves_the_ids_of_grey_and_indexed_maps(ids):
    assert np.array_equal(decode_label(ids, ANIME, match="closest"), ids)
    assert np.array_equal(decode_label(Image.fromarray(ids).convert("RGB"), ANIME, match="closest"), ids)
    picture = Image.fromarray(ids)
    picture.putpalette([10, 20, 30, 200, 200, 0, 9, 9, 99, 90, 0, 0, 33, 66, 99])
    assert np.array_equal(decode_label(picture, ANIME, match="closest"), ids), "no colours of classes: indices"
    picture = Image.fromarray(ids + 20)  # no ids
    picture.putpalette([0] * 60 + [170, 20, 0, 20, 170, 0, 0, 20, 170, 170, 0, 170, 170, 170, 0])
    assert np.array_equal(decode_label(picture, ANIME, match="closest"), ids)


@pytest.mark.parametrize("mode", ["L", "I;16", "I", "RGB", "P", "LA"])
def test_ids_in_every_grey_mode(ids, mode):
    array = ids.astype({"I;16": np.uint16, "I": np.int32}.get(mode, np.uint8))
    picture = Image.fromarray(array)
    if mode == "P":
        picture.putpalette([value for grey in range(256) for value in (grey, grey, grey)])
    elif mode in ("RGB", "LA"):
        picture = picture.convert(mode)
    assert picture.mode == mode
    np.testing.assert_array_equal(decode_label(picture, ANIME), ids)


def test_one_bit_picture_holds_ids_0_and_1(ids):
    np.testing.assert_array_equal(decode_label(Image.fromarray(ids > 2), ANIME), ids > 2)


def test_ignored_ids(ids):
    ids[0, :3] = (11, 255, 0)
    decoded = decode_label(ids, ANIME, ignore=(11,))
    assert decoded[0, :3].tolist() == [255, 255, 0]
    np.testing.assert_array_equal(decoded[1:], ids[1:])
    assert (decode_label(ids, ANIME, ignore=(0, 11)) == 255).sum() == (ids == 0).sum() + 2


def test_a_class_may_be_ignored_and_wide_ids_too(ids):
    wide = ids.astype(np.int32)
    wide[0, 0] = 65535
    assert decode_label(wide, ANIME, ignore=(65535,))[0, 0] == 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_foreign_ids_are_named(ids, dtype):
    ids = ids.astype(dtype)
    ids[0, :3] = (7, 7, 9)
    line = refusal(ids, ANIME)
    assert "id 7, 9 (3 pixels)" in line and "5 classes" in line and "data.ignore" in line


def test_negative_ids_are_refused(ids):
    values = ids.astype(np.int32)
    values[0, 0] = -1
    assert "id -1" in refusal(values, ANIME)


def test_palette_picture_in_any_order_of_entries(ids):
    order = np.array([3, 0, 4, 1, 2])  # the index of each class
    picture = Image.fromarray(order[ids].astype(np.uint8))
    colors = np.zeros((5, 3), np.uint8)
    colors[order] = ANIME.table
    picture.putpalette(colors.tobytes())
    np.testing.assert_array_equal(decode_label(picture, ANIME), ids)


def test_palette_picture_in_foreign_colours_holds_ids(ids):
    picture = Image.fromarray(ids)
    picture.putpalette([90, 90, 90, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])
    np.testing.assert_array_equal(decode_label(picture, ANIME), ids)
    np.testing.assert_array_equal(decode_label(picture, Palette.from_names(list("abcde"))), ids)


def test_palette_picture_that_fits_neither(ids):
    picture = Image.fromarray(ids + np.uint8(10))
    picture.putpalette([90, 90, 90] * 256)
    line = refusal(picture, ANIME)
    assert "(90, 90, 90)" in line and "id 10, 11" in line
    assert "data.label_colors=nearest" in line and "data.ignore" in line


def test_few_stray_pixels_are_ignored_many_are_refused():
    rgb = colorize(np.full((20, 20), 2, np.uint8), ANIME)
    rgb[0, :8] = 0  # 2 % exactly
    assert (decode_label(rgb, ANIME) == 255).sum() == 8
    assert "data.label_colors=exact" in refusal(rgb, ANIME, match="exact")
    rgb[1, 0] = 0
    line = refusal(rgb, ANIME)
    assert "2.2 %" in line and "(0, 0, 0)" in line and "data.label_colors=nearest" in line


def test_threshold_needs_pure_colours():
    palette = Palette(("sky", "road"), ((128, 128, 128), (128, 64, 128)))
    rgb = colorize(np.array([[0, 1]], np.uint8), palette)
    assert "data.label_colors=nearest" in refusal(rgb, palette)
    assert decode_label(rgb, palette, match="nearest").tolist() == [[0, 1]]


def test_a_black_class_wins_over_the_id_of_black():
    palette = Palette(("hair", "paper"), ((0, 0, 255), (0, 0, 0)))
    assert decode_label(np.zeros((4, 4, 3), np.uint8), palette).tolist() == [[1] * 4] * 4


def test_encoded_labels_come_back(ids, tmp_path):
    ids[0, :5] = 255
    for palette in (ANIME, Palette.from_names([f"class{i}" for i in range(7)])):
        encode_label(ids, palette).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_label(tmp_path / "a.png", palette), ids)
        shown = np.asarray(Image.open(tmp_path / "a.png").convert("RGB"))
        np.testing.assert_array_equal(shown, colorize(ids, palette))
        assert shown[0, 0].tolist() == [0, 0, 0]


def test_read_label_names_the_file(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (4, 4), 99).save(path)
    with pytest.raises(UserError, match="a.png: id 99"):
        read_label(path, ANIME)


def test_generated_colours_are_distinct_and_not_grey():
    palette = Palette.from_names([str(i) for i in range(255)])
    assert len(set(palette.colors)) == len(palette) == 255
    assert all(len(set(color)) > 1 for color in palette.colors)
    few = palette.table[:30].astype(int)
    distances = ((few[:, None] - few[None]) ** 2).sum(-1) + 10**6 * np.eye(30, dtype=int)
    assert distances.min() > 60**2


def test_classes_from_options():
    palette = Palette.from_classes({"sky": [1, 2, 3], "road": (4, 5, 6)})
    assert palette == Palette(("sky", "road"), ((1, 2, 3), (4, 5, 6)))
    assert Palette.from_classes(["a", "b"]).names == ("a", "b")


@pytest.mark.parametrize(
    ("classes", "named"),
    [
        ({}, "list of names"),
        ("sky", "list of names"),
        (["sky", "road", "sky"], "sky is named twice"),
        ({"sky": [1, 2, 300]}, "300"),
        ({"sky": [1, 2]}, "no colour"),
        ({"sky": "blue"}, "'blue'"),
        ({"sky": [1, 2, 3], "road": [1, 2, 3]}, "sky's colour"),
        ([str(i) for i in range(256)], "at most 255"),
    ],
)
def test_bad_classes_are_named(classes, named):
    with pytest.raises(UserError, match=named):
        Palette.from_classes(classes)


@pytest.mark.parametrize("value", [0, 255])
def test_a_label_of_one_grey_is_no_map_of_ids(value):
    """All black is not all eye, all white not all ignored: neither is a class colour."""
    with pytest.raises(UserError, match="data.label_colors|data.classes"):
        decode_label(np.full((16, 16, 3), value, np.uint8), ANIME)


@pytest.mark.parametrize("match", MATCHES[:2])
@pytest.mark.parametrize("kind", ["ids", "colours", "indexed"])
def test_what_is_found_and_what_to_change_are_told_apart(kind, match):
    """Prediction has a remedy of its own: its options are the checkpoint's."""
    wrong = np.full((16, 16), 9, np.uint8)
    made = {"ids": wrong, "colours": np.dstack([wrong, wrong, 3 * wrong]), "indexed": Image.fromarray(wrong)}
    if kind == "indexed":
        made[kind].putpalette([90, 90, 90] * 256)
    with pytest.raises(LabelError) as caught:
        decode_label(made[kind], ANIME, match=match)
    found, remedy = str(caught.value).split(caught.value.remedy)[0], caught.value.remedy
    assert str(caught.value) == found + remedy and found.endswith(": ")
    assert "data." in remedy and "data.classes" not in found and "try" not in found
