"""A picture board on this machine, as gallery-dl knows two kinds of them, with the faults of real ones.

The fixtures are a plugin of the tests of crawling (PYTEST_DONT_REWRITE: those import the helpers first).
"""

import io
import json
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import quoteattr

import numpy as np
import pytest
from PIL import Image

from engine.errors import UserError
from scripts.crawl_images import main


@dataclass(frozen=True)
class Request:
    path: str
    tags: str
    agent: str
    start: str | None  # the Range header
    query: str
    at: float


@dataclass
class Board:
    """Posts by tag, what the next requests for a path meet, and what was asked."""

    url: str = ""
    posts: dict[str, list[dict]] = field(default_factory=dict)  # tag -> posts, newest first
    # path -> what its next requests meet: (status, Retry-After), "cut" (half a body) or "hold"
    faults: dict[str, list] = field(default_factory=lambda: defaultdict(list))
    requests: list[Request] = field(default_factory=list)
    held: threading.Event = field(default_factory=threading.Event)  # a "hold" has sent its half and waits
    released: threading.Event = field(default_factory=threading.Event)

    def reset(self) -> None:
        self.posts.clear()
        self.faults.clear()
        self.requests.clear()
        self.held.clear()
        self.released.clear()

    def fill(self, tag: str, ids: range, rating: str = "g", suffix: str = "png") -> None:
        posts = [{"id": i, "rating": rating, "file_ext": suffix, "tag_string": tag} for i in ids]
        self.posts[tag] = self.posts.get(tag, []) + posts

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]


def file_path(post: dict) -> str:
    return f"/data/{post['id']}.{post['file_ext']}"


def picture(path: str) -> bytes:
    """The file of a post, some 10 kB: noise whose seed is its number."""
    number = int("".join(filter(str.isdigit, path)))
    buffer = io.BytesIO()
    noise = np.random.default_rng(number).integers(0, 256, (60, 60, 3)).astype(np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    board: Board

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        agent = self.headers.get("User-Agent", "")
        asked = Request(
            address.path, query.get("tags", ""), agent, self.headers["Range"], address.query, time.monotonic()
        )
        self.board.requests.append(asked)
        faults = self.board.faults[address.path]
        fault = faults.pop(0) if faults else None
        if isinstance(fault, tuple):  # a status, Retry-After
            self.answer(b"busy", "text/plain", *fault)
        elif address.path == "/posts.json":
            self.answer(self.danbooru(query).encode(), "application/json")
        elif address.path == "/index.php":
            self.answer(self.gelbooru(query).encode(), "text/xml")
        elif address.path.startswith("/data/"):
            self.file(address.path, fault)
        else:
            self.answer(b"no such page", "text/plain", 404)

    def danbooru(self, query: dict) -> str:
        posts = self.board.posts.get(query.get("tags"), [])
        before = query.get("page", "").removeprefix("b")
        posts = [post for post in posts if not before or post["id"] < int(before)][: int(query["limit"])]
        about = {"created_at": "2024-01-02T03:04:05.000Z", "source": ""}
        kinds = {f"tag_string_{kind}": "" for kind in ("artist", "character", "copyright", "general", "meta")}
        return json.dumps([post | about | kinds | {"file_url": self.board.url + file_path(post)} for post in posts])

    def gelbooru(self, query: dict) -> str:
        posts = self.board.posts.get(query.get("tags"), [])
        page = posts[int(query["pid"]) * 100 :][:100]
        lines = []
        for post in page:
            about = {key: str(post[key]) for key in ("id", "rating")}
            about |= {"file_url": self.board.url + file_path(post), "md5": f"{post['id']:032x}", "tags": ""}
            about |= {"created_at": "Mon Jan 01 00:00:00 +0000 2024"}
            lines.append(f"<post {' '.join(f'{key}={quoteattr(value)}' for key, value in about.items())}/>")
        return f'<?xml version="1.0"?><posts count="{len(posts)}" offset="0">{"".join(lines)}</posts>'

    def file(self, path: str, fault: str | None) -> None:
        body, start = picture(path), 0
        if self.headers["Range"]:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(body) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        if fault is None:
            self.wfile.write(body[start:])
            return
        self.wfile.write(body[start : len(body) // 2])
        self.wfile.flush()
        if fault == "hold":
            self.board.held.set()
            self.board.released.wait(20)
        self.close_connection = True

    def answer(self, body: bytes, kind: str, status: int = 200, retry_after: str | int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            after = formatdate(time.time() + 9, usegmt=True) if retry_after == "date" else str(retry_after)
            self.send_header("Retry-After", after)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words) -> None: ...


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, address) -> None: ...  # a client that hangs up is part of the play


def serve() -> tuple[Board, Server]:
    """A board at a free port of this machine, served until the server's shutdown()."""
    board = Board()
    server = Server(("127.0.0.1", 0), type("BoardHandler", (Handler,), {"board": board}))
    board.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    return board, server


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """The board and the gallery-dl settings that lead to it: as the site `local`, like Danbooru, and as safebooru."""
    sites = pytest.importorskip("data.collecting.sites")
    board, server = serve()
    config = tmp_path_factory.mktemp("config") / "gallery-dl.json"
    roots = {"Danbooru": {"local": {"root": board.url}}, "gelbooru_v02": {"safebooru": {"root": board.url}}}
    config.write_text(json.dumps({"extractor": roots}))
    sites.read_settings(config)
    assert sites.site_url("local").startswith(board.url)  # gallery-dl learns the roots once in a process
    yield board, config
    server.shutdown()


@pytest.fixture
def board(served) -> Board:
    served[0].reset()
    return served[0]


@pytest.fixture
def naps(monkeypatch) -> list[float]:
    """Nobody sleeps; how long they would have."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


@pytest.fixture
def words(served, tmp_path):
    """The arguments of a crawl of some tags into tmp_path/out."""

    def make(*tags: str, site: str = "local", settings: dict | None = None) -> list[str]:
        config = tmp_path / "gallery-dl.json"
        config.write_text(json.dumps(json.loads(served[1].read_text()) | (settings or {})))
        (tmp_path / "tags.txt").write_text("\n".join(tags), encoding="utf-8")
        files = ["--tags", tmp_path / "tags.txt", "--output", tmp_path / "out", "--config", config]
        return [str(word) for word in (*files, "--site", site, "--sleep", 0)]

    return make


def files(folder: Path, suffix: str = ".png") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob(f"*{suffix}"))


def error_of(words: list[str]) -> str:
    """The line of the error, and what it lists."""
    with pytest.raises(UserError) as error:
        main(words)
    assert error.value.code == 1
    return str(error.value)
