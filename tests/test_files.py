"""The layouts of labelled pictures and the split for validation."""

import numpy as np
import pytest
from PIL import Image

from data.files import (
    Sample,
    find_pairs,
    list_pairs,
    read_pair,
    read_spade,
    read_two,
    sample_size,
    split_columns,
    split_pairs,
    training_samples,
)
from data.palette import ANIME, colorize, encode_label
from engine.errors import UserError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def names(samples) -> list[str]:
    return [sample.name for sample in samples]


def refusal(function, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        function(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_two_folders(tmp_path):
    touch(tmp_path, "images/b.jpg", "images/sub/a.png", "images/c.1.png")
    touch(tmp_path, "labels/b.png", "labels/sub/a.png", "labels/c.1.png")
    samples = find_pairs(tmp_path)
    assert names(samples) == ["b", "c.1", "sub/a"]
    assert samples[0] == Sample("b", tmp_path / "images/b.jpg", tmp_path / "labels/b.png")


def test_other_folder_names(tmp_path):
    touch(tmp_path, "A/1.png", "B/1.jpg")
    assert find_pairs(tmp_path, "A", "B")[0].label == tmp_path / "B/1.jpg"


def test_side_by_side(tmp_path):
    touch(tmp_path, "b.png", "a.png")
    expected = [Sample("a", tmp_path / "a.png", None), Sample("b", tmp_path / "b.png", None)]
    assert find_pairs(tmp_path) == expected


def test_missing_partners_are_named(tmp_path):
    touch(tmp_path, "images/a.png", "images/b.png", "labels/a.png")
    line = refusal(find_pairs, tmp_path)
    assert str(tmp_path / "images" / "b.png") in line and "no partner in" in line
    touch(tmp_path, "labels/b.png", *(f"labels/x{i}.png" for i in range(5)))
    line = refusal(find_pairs, tmp_path)
    assert "x0.png" in line and "(and 4 more: scripts/check_data.py lists them)" in line
    samples, problems = list_pairs(tmp_path)
    assert names(samples) == ["a", "b"] and len(problems) == 5 and "x4.png: no partner in" in problems[-1]


def test_bad_folders(tmp_path):
    assert "no such folder" in refusal(find_pairs, tmp_path / "missing")
    assert "no pictures" in refusal(find_pairs, tmp_path)
    touch(tmp_path, "images/a.png")
    assert "no labels/" in refusal(find_pairs, tmp_path)
    (tmp_path / "labels").mkdir()
    assert "labels: no pictures" in refusal(find_pairs, tmp_path)


@pytest.mark.parametrize("folder", [".", "images", "labels"])
def test_one_stem_twice(tmp_path, folder):
    if folder != ".":
        touch(tmp_path, "images/a.png", "labels/a.png")
    touch(tmp_path, *(f"{folder}/{name}" for name in ("a.png", "a.jpg", "a.gif")))
    assert "same name" in refusal(find_pairs, tmp_path)
    samples, problems = list_pairs(tmp_path)
    assert names(samples) == ["a"] and len(problems) == 2
    assert "a.jpg: has the same name as a.gif" in problems[0] and "a.png: has the same name as a.gif" in problems[1]


def test_three_folders(tmp_path):
    touch(tmp_path, *(f"{folder}/{name}.png" for folder in ("images", "labels", "colors") for name in "ab"))
    touch(tmp_path, "images/c.png", "labels/c.png", "colors/d.png")
    assert all(sample.color is None for sample in find_pairs(tmp_path))
    samples, problems = list_pairs(tmp_path, "images", "labels", "colors")
    assert names(samples) == ["a", "b"] and samples[0].color == tmp_path / "colors/a.png"
    lacking = [line.split(": give")[0] for line in problems]
    assert lacking == [
        f"{tmp_path / 'images/c.png'}: no partner in {tmp_path / 'colors'}",
        f"{tmp_path / 'colors/d.png'}: no partner in {tmp_path / 'images'}",
        f"{tmp_path / 'colors/d.png'}: no partner in {tmp_path / 'labels'}",
    ]


@pytest.mark.parametrize("part", ["", "train/"])
@pytest.mark.parametrize("layout", [["a.png"], ["images/a.png", "labels/a.png"]])
def test_training_samples_of_every_layout(tmp_path, part, layout):
    touch(tmp_path, *(part + name for name in layout), "val/x.png", "test/y.png")
    assert names(training_samples(tmp_path)) == ["a"]


def test_a_set_of_val_and_test_alone_trains_nothing(tmp_path):
    touch(tmp_path, "val/x.png", "test/y.png")
    assert "only in val/ and test/" in refusal(training_samples, tmp_path)


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (16, 20, 3), dtype=np.uint8), rng.integers(0, 5, (16, 20), dtype=np.uint8)


def test_read_pair_of_both_layouts(tmp_path, pair):
    picture, ids = pair
    touch(tmp_path, "images/a.png", "labels/a.png")
    Image.fromarray(picture).save(tmp_path / "images/a.png")
    encode_label(ids, ANIME).save(tmp_path / "labels/a.png")
    Image.fromarray(np.hstack([picture, colorize(ids, ANIME)])).save(tmp_path / "both.png")
    for sample in (*find_pairs(tmp_path), Sample("both", tmp_path / "both.png", None)):
        read = read_pair(sample, ANIME)
        np.testing.assert_array_equal(read[0], picture)
        np.testing.assert_array_equal(read[1], ids)
        assert sample_size(sample) == (20, 16)


def test_read_pair_names_what_is_wrong(tmp_path, pair):
    picture, ids = pair
    Image.fromarray(picture).save(tmp_path / "a.png")
    encode_label(ids[:8], ANIME).save(tmp_path / "half.png")
    line = refusal(read_pair, Sample("a", tmp_path / "a.png", tmp_path / "half.png"), ANIME)
    assert "20x16" in line and "20x8" in line and "half.png" in line
    assert "a.png: right half: " in refusal(read_pair, Sample("a", tmp_path / "a.png", None), ANIME)
    Image.fromarray(picture[:, 1:]).save(tmp_path / "odd.png")
    assert "19 pixels wide" in refusal(read_pair, Sample("odd", tmp_path / "odd.png", None), ANIME)


def test_split_columns(tmp_path, pair):
    Image.fromarray(np.hstack([pair[0]] * 3)).save(tmp_path / "a.png")
    for part in split_columns(tmp_path / "a.png", 3):
        np.testing.assert_array_equal(np.asarray(part), pair[0])


def test_read_spade_of_every_layout(tmp_path, pair):
    (picture, ids), colors = pair, 255 - pair[0]
    label = colorize(ids, ANIME)
    square = [part[:, :16] for part in (picture, label, colors)]
    Image.fromarray(np.hstack(square)).save(tmp_path / "three.png")
    Image.fromarray(np.hstack(square[:2])).save(tmp_path / "two.png")
    for name, part in (("p", picture), ("l", label), ("c", colors), ("small", colors[:8])):
        Image.fromarray(part).save(tmp_path / f"{name}.png")
    p, q, c, small = (tmp_path / f"{name}.png" for name in ("p", "l", "c", "small"))

    read = read_spade(Sample("three", tmp_path / "three.png", None), ANIME)
    np.testing.assert_array_equal(read[0], square[0])
    np.testing.assert_array_equal(read[1], ids[:, :16])
    np.testing.assert_array_equal(read[2], square[2])
    assert read_spade(Sample("two", tmp_path / "two.png", None), ANIME)[2] is None
    assert read_spade(Sample("p", p, q), ANIME)[2] is None
    np.testing.assert_array_equal(read_spade(Sample("p", p, q, c), ANIME)[2], colors)
    line = refusal(read_spade, Sample("p", p, q, small), ANIME)
    assert "p.png: 20x16 pixels, but its colour map" in line and "small.png has 20x8" in line
    for width in (20, 31, 47, 49, 64):
        Image.new("RGB", (width, 16)).save(tmp_path / "wrong.png")
        line = refusal(read_spade, Sample("wrong", tmp_path / "wrong.png", None), ANIME)
        assert f"wrong.png: {width}x16 pixels, neither picture|label (2:1) nor picture|label|hair colours (3:1)" in line
    Image.fromarray(np.hstack([square[0]] * 3)).save(tmp_path / "three.png")
    assert "three.png: middle of three columns: " in refusal(
        read_spade, Sample("three", tmp_path / "three.png", None), ANIME
    )


def test_read_two_of_both_layouts(tmp_path, pair):
    a, b = pair[0], 255 - pair[0]
    Image.fromarray(np.hstack([a, b])).save(tmp_path / "both.png")
    Image.fromarray(a).save(tmp_path / "a.png")
    Image.fromarray(b).save(tmp_path / "b.png")
    for sample in (Sample("both", tmp_path / "both.png", None), Sample("a", tmp_path / "a.png", tmp_path / "b.png")):
        for read, expected in zip(read_two(sample), (a, b), strict=True):
            np.testing.assert_array_equal(read, expected)
    line = refusal(read_two, Sample("a", tmp_path / "a.png", tmp_path / "both.png"))
    assert "a.png: 20x16" in line and "both.png has 40x16" in line


def test_split_by_share_is_stable(tmp_path):
    touch(tmp_path, *(f"{i:03}.png" for i in range(100)))
    train, held, line = split_pairs(tmp_path)
    assert len(train) + len(held) == 100 and 3 <= len(held) <= 20
    assert not set(train) & set(held)
    assert line.startswith(f"{len(train)} training samples") and f"{len(held)} for validation" in line
    touch(tmp_path, *(f"new{i}.png" for i in range(50)))
    again = split_pairs(tmp_path)
    assert set(held) <= set(again[1]) and set(train) <= set(again[0])


def test_split_of_few(tmp_path):
    touch(tmp_path, "a.png")
    assert [len(part) for part in split_pairs(tmp_path)[:2]] == [1, 0]
    touch(tmp_path, "b.png", "c.png")
    assert [len(part) for part in split_pairs(tmp_path, val_share=1e-9)[:2]] == [2, 1]
    assert [len(part) for part in split_pairs(tmp_path, val_share=0.999999)[:2]] == [1, 2]
    assert [len(part) for part in split_pairs(tmp_path, val_share=0)[:2]] == [3, 0]
    assert names(split_pairs(tmp_path, val_share=0, limit=2)[0]) == ["a", "b"]


@pytest.mark.parametrize("train", ["train/", ""])
def test_split_by_folders(tmp_path, train):
    touch(tmp_path, f"{train}a.png", f"{train}b.png", "val/c.png", "test/d.png")
    train_part, held, line = split_pairs(tmp_path)
    assert names(train_part) == ["a", "b"] and names(held) == ["c"]
    assert str(tmp_path / "val") in line


def test_val_folder_of_another_layout(tmp_path):
    touch(tmp_path, "train/a.png", "val/x.png", "other/images/b.png", "other/labels/b.png")
    train, held, _ = split_pairs(tmp_path, val=tmp_path / "other")
    assert names(train) == ["a"] and held[0].label


def test_val_folder_inside_the_root_is_not_trained_on(tmp_path):
    touch(tmp_path, "a.png", "held/b.png")
    train, held, _ = split_pairs(tmp_path, val=tmp_path / "held")
    assert names(train) == ["a"] and names(held) == ["b"]
    assert "no training samples" in refusal(split_pairs, tmp_path / "held", val=tmp_path)


def test_val_list(tmp_path):
    touch(tmp_path, "a.png", "b.png", "sub/c.png", "d.png")
    listing = tmp_path / "val.txt"
    listing.write_text("sub\\c\n\nb.png\n", encoding="utf-8")
    train, held, _ = split_pairs(tmp_path, val=listing)
    assert names(train) == ["a", "d"] and names(held) == ["b", "sub/c"]


def test_bad_val(tmp_path):
    touch(tmp_path, "a.png", "b.png")
    assert "no such folder or list" in refusal(split_pairs, tmp_path, val=tmp_path / "missing.txt")
    listing = tmp_path / "val.txt"
    listing.write_text("a\nz\ny\n")
    assert "2 names that are not in the data set, such as 'y'" in refusal(split_pairs, tmp_path, val=listing)
    listing.write_text("\n")
    assert "lists no names" in refusal(split_pairs, tmp_path, val=listing)
    listing.write_bytes(b"\xff\xfe\x00\xd8")
    assert "not a readable text file" in refusal(split_pairs, tmp_path, val=listing)
    listing.write_text("a\nb\n")
    assert "no training samples" in refusal(split_pairs, tmp_path, val=listing)
