"""scripts/crawl_images.py and a site's faults: busy, unavailable, cut off, refusing; and a full disk."""

import errno
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.errors import UserError
from scripts.crawl_images import main
from tests import booru
from tests.booru import error_of, files

ROOT = Path(__file__).parents[1]
pytest_plugins = ["tests.booru"]


@pytest.mark.parametrize("path", ["/data/5.png", "/posts.json"])
@pytest.mark.parametrize("after, least, most", [(7, 6, 7), ("date", 6, 9), (None, 58, 60), (86400, 590, 600)])
def test_too_many_requests_wait_as_long_as_the_site_asks(board, words, tmp_path, naps, path, after, least, most):
    board.fill("cirno", range(5, 4, -1))
    board.faults[path] = [(429, after)]
    main(words("cirno"))
    assert len(board.asked(path)) == 2
    assert least <= max(naps) <= most
    assert files(tmp_path / "out") == ["cirno/local_5_5.png"]


@pytest.mark.parametrize("path", ["/data/5.png", "/posts.json"])
@pytest.mark.parametrize("after", [None, 11])
def test_an_unavailable_site_is_asked_again(board, words, tmp_path, naps, path, after):
    board.fill("cirno", range(5, 4, -1))
    board.faults[path] = [(503, after), (503, None)]
    main(words("cirno"))
    assert len(board.asked(path)) == 3
    assert (max(naps) > 9) == (after is not None)
    assert files(tmp_path / "out") == ["cirno/local_5_5.png"]


def test_a_body_that_is_cut_off_is_fetched_to_its_end(board, words, tmp_path, naps, capsys):
    board.fill("cirno", range(5, 4, -1))
    board.faults["/data/5.png"] = ["cut"]
    main(words("cirno"))
    assert (tmp_path / "out/cirno/local_5_5.png").read_bytes() == booru.picture("5")
    assert [request.start is None for request in board.asked("/data/5.png")] == [True, False]
    assert "1 found, 1 downloaded" in capsys.readouterr().out


def test_what_stays_cut_off_is_no_whole_file_and_the_next_crawl_fetches_the_rest(board, words, tmp_path, naps):
    board.fill("cirno", range(6, 4, -1))
    board.faults["/data/5.png"] = ["cut"]
    stubborn = words("cirno", settings={"retries": 0})
    message = error_of(stubborn)
    assert "cirno: 1 failed" in message and "bytes" in message.casefold()
    out = tmp_path / "out/cirno"
    assert files(out) == ["local_6_6.png"]
    half = (out / "local_5_5.png.part").stat().st_size
    assert 0 < half < len(booru.picture("5"))
    board.requests.clear()
    main(stubborn)
    assert [request.start for request in board.asked("/data/5.png")] == [f"bytes={half}-"]
    assert not board.asked("/data/6.png")
    assert (out / "local_5_5.png").read_bytes() == booru.picture("5")
    assert files(out, ".part") == []


def test_a_crawl_that_is_killed_in_the_middle_of_a_file_goes_on_there(board, words, tmp_path, naps):
    board.fill("cirno", range(7, 4, -1))
    board.faults["/data/6.png"] = ["hold"]
    script = [sys.executable, ROOT / "scripts/crawl_images.py", *words("cirno")]
    with subprocess.Popen(script, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        assert board.held.wait(20)
        out, half = tmp_path / "out/cirno", len(booru.picture("6")) // 2
        for _ in range(200):  # until it has reached the disk
            if files(out, ".part"):
                break
            board.released.wait(0.05)
        process.kill()
        process.communicate()
    board.released.set()
    assert files(out) == ["local_7_7.png"]
    start = (out / "local_6_6.png.part").stat().st_size
    board.requests.clear()
    main(words("cirno"))
    again = board.asked("/data/6.png")
    assert [request.start for request in again] == [f"bytes={start}-" if start else None] and start <= half
    assert not board.asked("/data/7.png")
    for i in (5, 6, 7):
        assert (out / f"local_{i}_{i}.png").read_bytes() == booru.picture(str(i))


def test_requests_keep_the_pace(board, words):
    board.fill("cirno", range(5, 0, -1))
    board.faults["/data/3.png"] = [(503, None)]
    words = words("cirno", settings={"retries": 0})
    words[words.index("--sleep") + 1] = "0.1"
    with pytest.raises(UserError, match="1 failed"):
        main(words)
    times = [request.at for request in board.requests]
    assert len(times) == 6 and np.diff(times).min() > 0.06


def test_a_missing_file_stops_no_other(board, words, tmp_path, naps, capsys):
    board.fill("cirno", range(6, 4, -1))
    board.faults["/data/6.png"] = [(404, None)]
    assert "cirno: 1 failed ('404 Not Found'" in error_of(words("cirno"))
    assert "cirno: '404 Not Found'" in capsys.readouterr().err
    assert files(tmp_path / "out") == ["cirno/local_5_5.png"]


def test_a_list_that_breaks_off_is_told(board, words, tmp_path, naps):
    board.fill("cirno", range(400, 200, -1))
    fill = board.posts["cirno"]
    board.posts["cirno"] = [post | {"rating": "e" if post["id"] < 399 else "g"} for post in fill]
    board.faults["/posts.json"] = [None, (403, None)]
    assert "cirno: cut short (HttpError: '403 Forbidden'" in error_of(words("cirno"))
    assert len(files(tmp_path / "out")) == 2


def test_a_site_that_refuses_tag_after_tag_is_left_alone_and_keys_stay_secret(board, words, naps, capsys, monkeypatch):
    monkeypatch.setenv("SAFEBOORU_API_KEY", "open+sesame")
    monkeypatch.setenv("SAFEBOORU_USER_ID", "7")
    board.faults["/index.php"] = [(403, None)] * 9
    message = error_of(words(*"abcdef", site="safebooru"))
    assert message.startswith(f"{board.url}: refused 3 tags in a row (HttpError: '403 Forbidden'")
    assert len(board.requests) == 3 and "api_key=open%2Bsesame&user_id=7" in board.requests[0].query
    printed = capsys.readouterr()
    assert "sesame" not in message + printed.out + printed.err and "api_key=***" in printed.err


def test_a_full_disk_ends_the_crawl_with_a_line(board, words, naps, monkeypatch):
    path = pytest.importorskip("gallery_dl.path")

    def full(self, mode="wb"):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(path.PathFormat, "open", full)
    board.fill("cirno", range(6, 4, -1))
    board.fill("rem", range(6, 4, -1))
    message = error_of(words("cirno", "rem"))
    assert "cannot be written (No space left on device)" in message and "\n" not in message
    assert len(board.asked("/posts.json")) == 1
