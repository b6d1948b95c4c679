"""scripts/crawl_images.py with the real gallery-dl, against a board on this machine."""

import json
import sys

import pytest

from data.images import read_picture
from engine.errors import UserError
from scripts.crawl_images import main
from tests import booru
from tests.booru import error_of, files

pytest_plugins = ["tests.booru"]


def test_pictures_go_to_a_folder_of_their_tag_each_with_what_the_site_knows(board, words, tmp_path, naps, capsys):
    board.fill("cirno", range(30, 27, -1))
    board.fill("初音ミク", range(10, 8, -1))
    main([*words("cirno", "初音ミク"), "--contact", "me@example.org"])
    out = tmp_path / "out"
    assert files(out) == [
        *(f"cirno/local_{i}_{i}.png" for i in (28, 29, 30)),
        "初音ミク/local_10_10.png",
        "初音ミク/local_9_9.png",
    ]
    for path in out.rglob("*.png"):
        assert path.read_bytes() == booru.picture(path.stem.split("_")[-1])
        about = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
        assert about["id"] == int(path.stem.split("_")[-1]) and about["search_tags"] == path.parent.name
    assert read_picture(out / "cirno/local_30_30.png").shape == (60, 60, 3)
    assert all("me@example.org" in request.agent for request in board.requests)
    printed = capsys.readouterr().out
    assert "2/2 初音ミク: 2 found, 2 downloaded" in printed
    table = printed.splitlines()[-5:-1]
    assert table[-1].split() == ["all", "5", "5", "0", "0", "0"]
    assert [line.index(number) for line, number in zip(table, ["f", "3", "2", "5"], strict=True)] == [10, 14, 10, 14]
    assert "next: python scripts/crop_faces.py --input" in printed


def test_a_second_crawl_fetches_nothing_not_even_what_the_user_removed(board, words, tmp_path, naps, capsys):
    board.fill("cirno", range(3, 0, -1))
    main(words("cirno"))
    (tmp_path / "out/cirno/local_2_2.png").unlink()
    board.requests.clear()
    main(words("cirno"))
    assert [request.path for request in board.requests] == ["/posts.json"]
    assert "1/1 cirno: 3 found, 3 already there" in capsys.readouterr().out
    assert len(files(tmp_path / "out")) == 2


def test_a_picture_with_two_of_the_tags_is_fetched_once(board, words, tmp_path, naps):
    board.fill("cirno", range(3, 0, -1))
    board.fill("blue_hair", range(4, 1, -1))
    main(words("cirno", "blue_hair"))
    assert [path.split("_")[-1] for path in files(tmp_path / "out/cirno")] == ["1.png", "2.png", "3.png"]
    assert files(tmp_path / "out/blue_hair") == ["local_4_4.png"]
    assert len([request for request in board.requests if request.path.startswith("/data/")]) == 4


def test_the_range_counts_what_the_rating_allows_and_asks_for_no_page_more(board, words, tmp_path, naps, capsys):
    for i in range(420, 0, -1):  # every third is safe
        board.fill("cirno", range(i, i - 1, -1), "gqe"[i % 3])
    main([*words("cirno"), "--range", "66-68"])
    assert files(tmp_path / "out") == [f"cirno/local_{i}_{i}.png" for i in (219, 222, 225)]
    assert len(board.asked("/posts.json")) == 2  # of 200 posts: the third is not needed
    assert "3 found, 3 downloaded" in capsys.readouterr().out


@pytest.mark.parametrize(
    "site, allowed, expected",
    [
        ("local", "safe", "g"),  # on Danbooru s is sensitive
        ("local", "sensitive", "gs"),
        ("local", "explicit", "gsqe"),
        ("safebooru", "safe", "gs"),
        ("safebooru", "questionable", "gsq"),
    ],
)
def test_ratings(board, words, tmp_path, naps, capsys, site, allowed, expected):
    for i, rating in enumerate("gsqe", 1):
        board.fill("cirno", range(i, i + 1), rating)
    main([*words("cirno", site=site), "--rating", allowed])
    fetched = [json.loads(path.read_text())["rating"] for path in sorted((tmp_path / "out").rglob("*.json"))]
    assert fetched == list(expected)
    left_out = len("gsqe") - len(expected)
    assert (f"{left_out} not rated {allowed}" in capsys.readouterr().out) == bool(left_out)


def test_pictures_without_a_rating_are_counted(board, words, tmp_path, naps, capsys):
    board.fill("cirno", range(2, 0, -1), rating="")
    main(words("cirno"))
    assert "2 pictures without a rating were kept" in capsys.readouterr().out


def test_tags_that_give_nothing_are_named_at_the_end(board, words, tmp_path, naps):
    board.fill("solo", range(3, 1, -1), "s")
    board.fill("video", range(5, 4, -1), suffix="mp4")
    board.fill("cirno", range(8, 6, -1))
    message = error_of(words("nosuch", "solo", "video", "cirno"))
    assert message.splitlines()[0].startswith("3 of 4 tags gave nothing or not everything")
    assert [line.strip() for line in message.splitlines()[1:]] == [
        "nosuch: no results",
        "solo: none wanted (2 not rated safe)",
        "video: none wanted (1 no picture)",
    ]
    assert len(files(tmp_path / "out")) == 2
    assert error_of([*words("cirno"), "--range", "4-9"]).endswith("cirno: none wanted (2 before the range)")


def test_sites_by_name_and_address(served):
    sites = pytest.importorskip("data.collecting.sites")
    assert sites.site_url("danbooru") == "https://danbooru.donmai.us/posts?tags={tag}"
    assert sites.site_url("flickr") == "https://flickr.com/search/?text={tag}"
    assert sites.site_url("yandere") == "https://yande.re/post?tags={tag}"
    assert sites.site_url("https://konachan.com/post?tags={tag}") == "https://konachan.com/post?tags={tag}"
    assert sites.is_local(sites.site_url("local")) and not sites.is_local(sites.site_url("flickr"))
    for site, said in {
        "danboru": "did you mean danbooru",
        "???": "did you mean danbooru, safebooru, flickr",
        "https://konachan.com/post": "has no {tag}",
        "https://example.org/{tag}": "no such address",
    }.items():
        with pytest.raises(UserError, match=said) as error:
            sites.site_url(site)
        assert error.value.code == 2


@pytest.mark.parametrize(
    "more, said",
    [
        (["--site", "danbooru"], "--contact: is missing"),
        (["--config", "missing.json"], "--config missing.json: no JSON file"),
        (["--tags", "missing.txt"], "--tags missing.txt: cannot be read"),
        (["--output", "FILE"], "cannot be written"),
    ],
)
def test_wrong_arguments_are_a_line(board, words, tmp_path, more, said):
    (tmp_path / "FILE").write_text("")
    more = [str(tmp_path / word) if word == "FILE" else word for word in more]
    with pytest.raises(UserError, match=said) as error:
        main([*words("cirno"), *more])
    assert "\n" not in str(error.value) and not board.requests


@pytest.mark.parametrize(
    "more",
    [
        ["--range", "5-2"],
        ["--range", "0-2"],
        ["--range", "7"],
        ["--contact", "me"],
        ["--sleep", "-1"],
        ["--sleep", "nan"],
    ],
)
def test_wrong_values_are_refused_by_the_parser(words, more, capsys):
    with pytest.raises(SystemExit) as error:
        main([*words("cirno"), *more])
    assert error.value.code == 2 and more[0] in capsys.readouterr().err


def test_without_gallery_dl_the_line_says_how_to_install_it(board, words, monkeypatch):
    ours = ("data.collecting.crawl", "data.collecting.sites")
    for name in [name for name in sys.modules if name.split(".")[0] == "gallery_dl" or name in ours]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("crawl", "sites"):
        monkeypatch.delattr(f"data.collecting.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "gallery_dl", None)
    with pytest.raises(UserError, match="pip install -r requirements-extra.txt"):
        main(words("cirno"))
