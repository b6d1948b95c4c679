"""engine/download.py: against a server on this machine with the faults of real ones."""

import hashlib

import pytest

from engine import transfer
from engine.download import fetch
from engine.errors import UserError
from tests.file_server import CONTENT, CUT, HALF, OTHER, SHA256, Answer, a_file, names, refusal

pytest_plugins = ["tests.file_server"]


def test_fetched_once_and_checked_each_time(site, folder, capsys):
    file = a_file(site.put("/a", CONTENT), size=len(CONTENT))
    path = fetch(file, folder)
    assert path.read_bytes() == CONTENT and names(folder) == ["a.bin"]
    assert capsys.readouterr().out == f"{site.url}/a -> {path} (0.3 MB)\n"
    assert fetch(file, folder) == path and len(site.requests) == 1
    path.write_bytes(CONTENT[:-1])
    assert fetch(file, folder).read_bytes() == CONTENT and len(site.requests) == 2
    assert "note: " in capsys.readouterr().out


# The connection


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified", None])
def test_a_dropped_connection_is_resumed(validator, site, folder, naps):
    answer = Answer(CONTENT, validator=validator)
    file = a_file(site.put("/a", Answer(CONTENT, cut=HALF, validator=validator), answer))
    assert fetch(file, folder).read_bytes() == CONTENT and names(folder) == ["a.bin"]
    assert site.starts() == [None, f"bytes={HALF}-"] and site.requests[1].status == 206
    assert ("if-range" in site.requests[1].headers) == (validator is not None)
    assert naps == [transfer.PAUSE]


def test_what_came_stays_for_the_next_run(site, folder, naps):
    url = site.put("/a", CUT, Answer(CONTENT, cut=1000))
    message = refusal(a_file(url), folder, by_hand=", or ask a friend")
    assert "broke off after 0.2 MB of 0.3 MB" in message
    assert f"fetch {url} in a browser and put it at {folder / 'a.bin'}, or ask a friend" in message
    assert len(site.requests) == transfer.TRIES and naps == [1, 2, 4]
    assert names(folder) == ["a.bin.part", "a.bin.part.json"], "nothing half-written under the file's name"
    site.put("/a", CONTENT)
    assert fetch(a_file(url), folder).read_bytes() == CONTENT
    assert site.requests[-1].start == f"bytes={HALF + 3000}-" and names(folder) == ["a.bin"]


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (CUT, Answer(CONTENT, ranges=False)),
        (Answer(OTHER, cut=HALF), Answer(CONTENT)),  # If-Range: another version
        (Answer(OTHER[:-1], cut=HALF, validator=None), Answer(CONTENT, validator=None)),  # of another size
        (Answer(OTHER, cut=HALF, validator=None), Answer(CONTENT, validator=None)),  # seen by the hash alone
        (Answer(OTHER + OTHER, cut=len(OTHER) + 9, validator=None), Answer(CONTENT, validator=None)),  # 416
    ],
)
def test_pieces_of_two_files_are_not_joined(first, then, site, folder):
    file = a_file(site.put("/a", first, then))
    assert fetch(file, folder).read_bytes() == CONTENT and names(folder) == ["a.bin"]


@pytest.mark.parametrize("validator", ["ETag", None])
def test_they_are_not_joined_either_where_no_hash_tells(validator, site, folder):
    first = Answer(OTHER[:-1], cut=HALF, validator=validator)
    file = a_file(site.put("/a", first, Answer(CONTENT, validator=validator)), sha256=None)
    assert fetch(file, folder).read_bytes() == CONTENT


def test_a_mirror_does_not_continue_what_another_began(site, folder):
    first = site.put("/a", Answer(OTHER, cut=1000, validator=None))
    file = a_file(first, site.put("/b", Answer(CONTENT, validator=None)), sha256=None)
    assert fetch(file, folder).read_bytes() == CONTENT and site.starts()[-1] is None


def test_whole_but_not_renamed(site, folder):
    url = site.put("/a", Answer(CONTENT, cut=0))
    refusal(a_file(url), folder)
    (folder / "a.bin.part").write_bytes(CONTENT)  # killed between the last byte and the new name
    site.put("/a", CONTENT)
    assert fetch(a_file(url), folder).read_bytes() == CONTENT and site.requests[-1].status == 416


def test_many_drops_are_borne_as_long_as_there_is_progress(site, folder, monkeypatch):
    monkeypatch.setattr(transfer, "PROGRESS", 10_000)
    url = site.put("/a", *[Answer(CONTENT, cut=40_000)] * 6, CONTENT)
    assert fetch(a_file(url), folder).read_bytes() == CONTENT and len(site.requests) == 7


@pytest.mark.parametrize(("header", "pause"), [("7", 7), (None, 1), ("Mon, 01 Jan 2024 00:00:00 GMT", 0), ("soon", 1)])
def test_a_busy_server_is_asked_again(header, pause, site, folder, naps):
    busy = Answer(b"", 503, {"Retry-After": header} if header else {})
    assert fetch(a_file(site.put("/a", busy, CONTENT)), folder).read_bytes() == CONTENT and naps == [pause]


def test_a_server_that_wants_long_patience_is_left(site, folder, naps):
    url = site.put("/a", Answer(b"", 429, {"Retry-After": "3600"}))
    assert "answers 429 Too Many Requests and wants 3600 s" in refusal(a_file(url), folder)
    assert naps == [] and len(site.requests) == 1


def test_no_network(site, folder, naps):
    message = refusal(a_file("http://127.0.0.1:9/a"), folder)
    assert "http://127.0.0.1:9/a: the connection failed (Connection refused): check the network" in message
    assert naps == [] and names(folder) == []
    path = fetch(a_file(site.put("/a", CONTENT)), folder)
    assert fetch(a_file("http://127.0.0.1:9/a"), folder) == path, "what is there needs no network"


def test_the_end_of_a_file_must_be_known(site, folder):
    url = site.put("/a", Answer(CONTENT, framing="none"))
    assert "does not say how long" in refusal(a_file(url, sha256=None), folder) and names(folder) == []
    assert fetch(a_file(url), folder).read_bytes() == CONTENT  # the hash tells
    site.put("/a", Answer(CONTENT, framing="chunked", cut=HALF), Answer(CONTENT, framing="chunked"))
    assert fetch(a_file(url, sha256=None), folder / "b").read_bytes() == CONTENT


def test_a_proxy_is_respected(site, folder, monkeypatch):
    site.proxy = True
    site.put("/a", CONTENT)
    monkeypatch.setenv("http_proxy", site.url)
    monkeypatch.setenv("no_proxy", "")
    assert fetch(a_file("http://example.invalid/a"), folder).read_bytes() == CONTENT
    assert site.requests[0].path == "http://example.invalid/a"


# What comes


def test_a_working_mirror(site, folder):
    bad = site.put("/bad", OTHER)
    page = site.put("/page", Answer(b"<html>", headers={"Content-Type": "text/html"}))
    urls = (f"{site.url}/gone", bad, page, site.put("/good", CONTENT), site.put("/unused", CONTENT))
    assert fetch(a_file(*urls), folder).read_bytes() == CONTENT and names(folder) == ["a.bin"]
    assert [request.path for request in site.requests] == ["/gone", "/bad", "/page", "/page", "/good"]
    message = refusal(a_file(*urls[:2]), folder / "b")
    assert f"{urls[0]}: the server answers 404 Not Found; {bad}: another file" in message


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({}, f"SHA-256 is {hashlib.sha256(OTHER).hexdigest()}, expected {SHA256}"),
        ({"sha256": SHA256[:8]}, "SHA-256"),
        ({"sha256": None, "git_blob": "0" * 40}, "git blob id is"),
        ({"size": 5}, "has 300000 bytes, expected 5"),
        ({"sha256": None, "kind": "npz"}, "no npz file: it starts with "),
    ],
)
def test_another_file_is_refused(known, message, site, folder):
    assert message in refusal(a_file(site.put("/a", OTHER), **known), folder)
    site.put("/a", Answer(OTHER, framing="chunked"))
    assert message.removeprefix("the file ") in refusal(a_file(site.url + "/a", **known), folder)
    assert names(folder) == [] and len(site.requests) == 2


def test_a_git_blob_id(site, folder):
    hello = "ce013625030ba8dba906f756967f9e9ca394464a"  # echo hello | git hash-object --stdin
    fetch(a_file(site.put("/a", b"hello\n"), sha256=None, git_blob=hello), folder)
    assert names(folder) == ["a.bin"]


PAGES = [
    (b"<!DOCTYPE html><title>Google Drive - Quota exceeded</title>", '"Google Drive - Quota exceeded".*quota page'),
    (b"\n <html>Google Drive can't scan this file for viruses.", "virus-scan page"),
    (b"<html><title>\nSign \n in</title><form>", '"Sign in" came instead of the file, a login page'),
    (b"<html>nothing else</html>", "a web page came instead of the file"),
]


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
@pytest.mark.parametrize(("page", "message"), PAGES)
def test_a_page_instead_of_the_file(page, message, kind, site, folder):
    url = site.put("/a", Answer(page, headers={"Content-Type": kind}))
    for known in ({"sha256": None}, {"size": 5, "kind": "torch"}):
        with pytest.raises(UserError, match=message):
            fetch(a_file(url, **known), folder)
    assert names(folder) == []


def test_redirects(site, folder):
    def to(place: str) -> str:
        return site.put("/from", Answer(status=302, headers={"Location": place}))

    site.put("/a", CUT, CONTENT)
    assert fetch(a_file(to("/a")), folder).read_bytes() == CONTENT and site.starts()[-1] == f"bytes={HALF}-"
    for place in (f"file://{__file__}", "ftp://127.0.0.1/a", "/from"):
        assert "http://127.0.0.1" in refusal(a_file(to(place), sha256=None), folder / "b")
    assert names(folder / "b") == []


FORM = b"""<!DOCTYPE html><html><p>Google Drive can't scan this file for viruses.
<form id="download-form" action="%s" method="get"><input type="submit" value="Download anyway"/>
<input type="hidden" name="id" value="ID"><input type="hidden" name="confirm" value="t &amp; u"></form>
<input name="after" value="1"></html>"""
LINK = b'<html><a id="uc-download-link" href="/download?confirm=t+%26+u&amp;id=ID">Download anyway</a>'


@pytest.mark.parametrize("page", [FORM % b"/download", LINK])
def test_the_confirmation_of_google_drive(page, site, folder):
    kind = {"Content-Type": "text/html", "Set-Cookie": "code=7"}
    url = site.put("/uc?id=ID", Answer(page, headers=kind))
    query = "?id=ID&confirm=t+%26+u" if page != LINK else "?confirm=t+%26+u&id=ID"
    site.put("/download" + query, CUT, CONTENT)
    assert fetch(a_file(url, sha256=None), folder).read_bytes() == CONTENT
    assert [request.start for request in site.requests if "/download" in request.path] == [None, f"bytes={HALF}-"]
    assert site.requests[-1].headers["cookie"] == "code=7"


def test_a_confirmation_leads_to_no_other_host(site, folder):
    url = site.put("/uc", Answer(FORM % b"http://127.0.0.2/x", headers={"Content-Type": "text/html"}))
    assert "virus-scan page" in refusal(a_file(url), folder)


def test_a_page_behind_the_confirmation(site, folder):
    url = site.put("/uc", Answer(FORM % b"/download", headers={"Content-Type": "text/html"}))
    page = Answer(b"<html><title>Quota exceeded</title>", headers={"Content-Type": "text/html"})
    site.put("/download?id=ID&confirm=t+%26+u", page)
    assert "quota page" in refusal(a_file(url), folder) and names(folder) == []
