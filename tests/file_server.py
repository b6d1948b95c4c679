"""A server of files on this machine, with the faults of real ones.

The fixtures are a plugin of the tests of downloading (PYTEST_DONT_REWRITE: those import the helpers first).
"""

import hashlib
import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import transfer
from engine.download import File, fetch
from engine.errors import UserError

CONTENT = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = len(CONTENT) // 2


@dataclass
class Answer:
    """What a request meets."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None  # the connection breaks after so many bytes
    ranges: bool = True  # else a Range is ignored
    validator: str | None = "ETag"  # ETag | Last-Modified
    framing: str = "length"  # length | chunked | none: the connection's end is the file's
    hold: threading.Event | None = None  # the answer waits for it in the middle


CUT = Answer(CONTENT, cut=HALF)


@dataclass
class Request:
    path: str  # with the query; of a proxy the whole address
    headers: dict[str, str]
    status: int = 0

    @property
    def start(self) -> str | None:
        return self.headers.get("range")


@dataclass
class Site:
    """url + path -> answers, each given once, the last one for good; and what was asked."""

    url: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    proxy: bool = False  # serves the paths of any host

    def put(self, path: str, *answers: Answer | bytes) -> str:
        """The address of what is put there."""
        self.answers[path] = [answer if isinstance(answer, Answer) else Answer(answer) for answer in answers]
        return self.url + path

    def starts(self) -> list[str | None]:
        return [request.start for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    site: Site

    def do_GET(self) -> None:
        self.close_connection = True
        asked = Request(self.path, {key.lower(): value for key, value in self.headers.items()})
        self.site.requests.append(asked)
        path = "/" + self.path.split("/", 3)[3] if self.site.proxy else self.path
        left = self.site.answers.get(path, [Answer(b"no such file", 404)])
        answer = left.pop(0) if len(left) > 1 else left[0]
        asked.status = self.reply(answer)

    def reply(self, answer: Answer) -> int:
        body, status, headers = answer.body, answer.status, dict(answer.headers)
        validator = f'"{hashlib.md5(body).hexdigest()}"'
        if answer.validator == "Last-Modified":
            validator = f"Mon, 01 Jan 2024 00:00:{body[0] % 60:02} GMT"
        if answer.validator and status == 200:
            headers[answer.validator] = validator
        start = self.headers["Range"]
        if start and answer.ranges and status == 200 and self.headers.get("If-Range", validator) == validator:
            first = int(start.removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
            status, body = 206, body[first:]
            if not body:
                status, headers["Content-Range"] = 416, f"bytes */{first}"
        if answer.framing == "length":
            headers["Content-Length"] = str(len(body))
        elif answer.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        self.send_response(status)
        for key, value in {"Content-Type": "application/octet-stream", **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        if answer.hold is not None:
            self.wfile.write(body[: len(body) // 2])
            answer.hold.wait(30)
            body = body[len(body) // 2 :]
        sent = body if answer.cut is None else body[: answer.cut]
        if answer.framing == "chunked":
            self.wfile.write(f"{len(sent):x}\r\n".encode() + sent + b"\r\n" + (b"" if sent != body else b"0\r\n\r\n"))
        else:
            self.wfile.write(sent)
        return status

    def log_message(self, *args: object) -> None:
        pass


def a_file(*urls: str, sha256: str | None = SHA256, **known) -> File:
    return File("a.bin", urls, sha256=sha256, **known)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def refusal(*args, **kwargs) -> str:
    with pytest.raises(UserError) as error:
        fetch(*args, **kwargs)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def naps(monkeypatch) -> list[float]:
    """Nobody sleeps between tries; how long they would have."""
    slept = []
    monkeypatch.setattr(transfer, "time", SimpleNamespace(sleep=slept.append, time=time.time))
    return slept


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def site(monkeypatch, naps) -> Iterator[Site]:
    """An empty site, reached without a proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"site": site}))
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()
