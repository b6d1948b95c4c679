"""data/collecting/tags.py: the list of tags, their folders, and which pictures are wanted."""

from pathlib import Path

import pytest

from data.collecting.tags import LONGEST, Wanted, folder_name, read_tags
from engine.errors import UserError

ROOT = Path(__file__).parents[1]


def test_tags_are_read_once_each_in_order(tmp_path):
    path = tmp_path / "tags.txt"
    text = "\ufeff# mine\r\n\r\n  cirno  \r\n初音ミク\r\nCirno\r\nblue_hair\t solo # two\r\nc#_sharp\r\n\r\n"
    path.write_bytes(text.encode())
    assert read_tags(path) == ["cirno", "初音ミク", "blue_hair solo", "c#_sharp"]
    path.write_text("か\u3099\nが\n", encoding="utf-8")  # decomposed and composed
    assert read_tags(path) == ["が"]
    assert 20 < len(read_tags(ROOT / "data/tags.txt")) < 100


@pytest.mark.parametrize(
    "content, said",
    [
        (b"cirno\n\xff\xfec\x00", "line 2: is not UTF-8"),
        (b"cirno\x07", "line 1: 'cirno.x07' has control characters"),
        (b"a\n" + b"x" * (LONGEST + 1), "line 2: xxx.* has 201 characters"),
        (b"\nhttps://danbooru.donmai.us/posts/1", "line 2: https.* is an address"),
        (b"# nothing\n\n", "no tags inside"),
    ],
)
def test_bad_lines_are_named(tmp_path, content, said):
    (tmp_path / "tags.txt").write_bytes(content)
    with pytest.raises(UserError, match=said) as error:
        read_tags(tmp_path / "tags.txt")
    assert error.value.code == 2


def test_folders_have_names_that_every_file_system_takes():
    for tag in ("cirno", "初音ミク", "blue_hair solo", "rem_(re-zero)", "c++"):
        assert folder_name(tag) == tag
    odd = [
        "a/b",
        "a:b",
        "a\\b",
        "..",
        ".hidden",
        "con",
        "COM1.x",
        "$HOME",
        "~me",
        "{id}",
        "x" * 150,
        "鬼" * 60,
        "a?",
        "end.",
    ]
    names = [folder_name(tag) for tag in odd]
    assert len({name.casefold() for name in names}) == len(odd)
    for name in names:
        assert not set(name) & set('<>:"/\\|?*$%{}') and name[0] not in ".~" and name[-1] not in ". "
        assert len(name.encode()) < 140 and name.split(".")[0].lower() not in ("con", "com1")


def test_words_for_ratings_and_files_that_are_no_pictures():
    safe = Wanted(1, 9, "safe")
    for rating, reason in {
        "general": None,
        "Safe": None,
        "sensitive": "not rated safe",
        "r18": "not rated safe",
    }.items():
        assert safe.reason_against({"rating": rating, "extension": "jpg"}, False) == reason
    assert safe.reason_against({"extension": "JPG"}, True) is None  # without a rating
    assert safe.reason_against({"rating": "g", "extension": "webm"}, True) == "no picture"
    assert Wanted(1, 9, "explicit").reason_against({"rating": "r18"}, False) is None
