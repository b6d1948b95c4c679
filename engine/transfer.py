"""One file over HTTP: resumed where it broke off, tried again a few times; it knows nothing of hashes."""

import contextlib
import http.client
import json
import re
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

from engine.byte_progress import byte_progress, megabytes
from engine.errors import UserError
from engine.files import cannot_write
from engine.web_page import PAGE, confirm_address, explain, looks_like_html

TRIES = 4  # in a row that bring less than PROGRESS
PROGRESS = 2**20  # bytes
PAUSE = 1.0  # seconds before the second try, then twice as long each time
LONGEST_PAUSE = 60  # seconds that a server may ask for
TIMEOUT = 30  # seconds without a byte
AT_ONCE = 2**18  # bytes
AGAIN = (408, 425, 429, 500, 502, 503, 504)  # answers that may pass


class Failure(Exception):
    """Why an address does not give the file; `again`: another try may help, `pause`: after so many seconds."""

    def __init__(self, reason: str, again: bool = False, pause: float | None = None):
        super().__init__(reason)
        self.again, self.pause = again, pause


@dataclass(frozen=True)
class Version:
    """Which content an unfinished file is the beginning of."""

    url: str
    validator: str | None  # a strong ETag, or the date of the last change
    total: int | None  # bytes


def transfer(url: str, part: Path, size: int | None, checked: bool, title: str) -> bool:
    """Download into `part`, after the bytes that an earlier try left there; whether any of them were kept.

    Args:
        size: bytes that it must have, None: what the server says.
        checked: the caller can tell a whole file; else a server that does not say where the file ends is refused.
        title: of the bar.

    Raises:
        Failure: this address gives no whole file. What came of it stays for the next try.
        UserError: `part` cannot be written.
    """
    tries = 0
    while True:
        before = _size(part)
        try:
            return _attempt(url, part, size, checked, title)
        except Failure as failure:
            tries = 1 if _size(part) - before >= PROGRESS else tries + 1
            if not failure.again or tries == TRIES:
                raise
            pause = PAUSE * 2 ** (tries - 1) if failure.pause is None else failure.pause
            print(f"note: {url}: {failure}: trying again in {pause:.0f} s", flush=True)
            time.sleep(pause)


def drop(part: Path) -> None:
    """Forget an unfinished download."""
    for file in (part, _about(part)):
        file.unlink(missing_ok=True)


def _attempt(url: str, part: Path, size: int | None, checked: bool, title: str) -> bool:
    start, version = _unfinished(part, url)
    with _network_faults():
        answer = _open_file(url, _range(start, version))
    with contextlib.closing(answer):
        if answer.status == 416:  # nothing is left to come, or there never was as much
            if answer.headers["Content-Range"] == f"bytes */{start}":
                return True
            raise _start_over(part, "the server has a shorter file than began to come")
        if answer.status == 206:
            if not _continues(answer.headers["Content-Range"], start, version):
                raise _start_over(part, "the server continues another file than began to come")
        else:
            start = 0
        total = _total(answer, start)
        if size is not None and total is not None and total != size:
            page = answer.read(PAGE)
            raise Failure(
                explain(page, answer.url) if looks_like_html(page) else f"the file has {total} bytes, expected {size}"
            )
        if total is None and not answer.chunked and not checked:
            raise Failure("the server does not say how long the file is, so that nobody could tell whether all came")
        new = Version(url, _validator(answer), total)
        _write(answer, part, start, new, title)
        if total is not None and _size(part) != total:
            raise Failure(f"broke off after {megabytes(_size(part))} of {megabytes(total)}", again=True)
    return start > 0


def _start_over(part: Path, reason: str) -> Failure:
    drop(part)
    return Failure(reason, again=True, pause=0)


# What is there


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _about(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _unfinished(part: Path, url: str) -> tuple[int, Version | None]:
    """How many bytes of this address are there already, and of which version."""
    try:
        version = Version(**json.loads(_about(part).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return 0, None
    known = version.url == url and (version.validator or version.total)
    return (_size(part), version) if known else (0, None)


def _write(answer: http.client.HTTPResponse, part: Path, start: int, version: Version, title: str) -> None:
    try:
        free = shutil.disk_usage(part.parent).free
        if version.total is not None and version.total - start > free:
            raise UserError(
                f"{part}: needs {megabytes(version.total - start)}, but {megabytes(free)} are free: "
                "free some space or choose another folder"
            )
        _about(part).write_text(json.dumps(asdict(version)), encoding="utf-8")
        with part.open("r+b" if start else "wb") as file:
            file.seek(start)
            for chunk in byte_progress(_chunks(answer), version.total, title, start):
                file.write(chunk)
    except OSError as error:
        raise cannot_write(part, error) from None


# What comes


def _range(start: int, version: Version | None) -> dict[str, str]:
    if not start:
        return {}
    condition = {"If-Range": version.validator} if version.validator else {}
    return {"Range": f"bytes={start}-", **condition}


def _continues(content_range: str | None, start: int, version: Version | None) -> bool:
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range or "")
    return bool(found) and int(found[1]) == start and found[2] in ("*", str(version.total))


def _total(answer: http.client.HTTPResponse, start: int) -> int | None:
    length = answer.headers["Content-Length"] or ""
    return start + int(length) if length.isdigit() and not answer.chunked else None


def _validator(answer: http.client.HTTPResponse) -> str | None:
    etag = answer.headers["ETag"]
    return etag if etag and not etag.startswith("W/") else answer.headers["Last-Modified"]


def _chunks(answer: http.client.HTTPResponse) -> Iterator[bytes]:
    while True:
        with _network_faults():
            chunk = answer.read1(AT_ONCE)  # as it comes: what a broken connection brought is kept
        if not chunk:
            return
        yield chunk


def _open_file(url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    """The answer with (a piece of) the file, or 416, past Google Drive's page that wants a confirmation."""
    opener = _opener()
    answer = _open(opener, url, headers)
    if not _is_page(answer):
        return answer
    answer.close()
    page, here = _read_page(_open(opener, url, {}))  # without a Range: the whole of it
    confirmed = confirm_address(page, here)
    if confirmed is None:
        raise Failure(explain(page, here))
    answer = _open(opener, confirmed, headers)
    if _is_page(answer):
        raise Failure(explain(*_read_page(answer)))
    return answer


def _is_page(answer: http.client.HTTPResponse) -> bool:
    return answer.status != 416 and answer.headers.get_content_type() == "text/html"


def _read_page(answer: http.client.HTTPResponse) -> tuple[bytes, str]:
    with contextlib.closing(answer):
        return answer.read(PAGE), answer.url


def _opener() -> urllib.request.OpenerDirector:
    """Web addresses and nothing else, also where a redirect leads; proxies as the environment has them."""
    proxies = {scheme: url for scheme, url in urllib.request.getproxies().items() if scheme in ("http", "https")}
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(proxies),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPCookieProcessor(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


def _open(opener: urllib.request.OpenerDirector, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "atelier", **headers})
    try:
        return opener.open(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == 416 and "Range" in headers:
            return error
        with contextlib.closing(error):
            raise _refusal(error) from None


def _refusal(error: urllib.error.HTTPError) -> Failure:
    reason = f"the server answers {error.code} {' '.join(str(error.reason).split())}".strip()
    pause = _asked_pause(error.headers["Retry-After"])
    if error.code not in AGAIN:
        return Failure(reason)
    if pause is not None and pause > LONGEST_PAUSE:
        return Failure(f"{reason} and wants {pause:.0f} s of patience")
    return Failure(reason, again=True, pause=pause)


def _asked_pause(header: str | None) -> float | None:
    """The seconds of a Retry-After header, which is a number or a date."""
    if not header:
        return None
    try:
        if header.strip().isdigit():
            return float(header)
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


@contextlib.contextmanager
def _network_faults() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException, ValueError) as error:
        cause = error.reason if isinstance(error, urllib.error.URLError) else error
        # No name service, nobody at home, a false certificate or address: a second later they are as they were.
        final = isinstance(cause, (socket.gaierror, ConnectionRefusedError, ValueError, http.client.InvalidURL, str))
        reason = " ".join(str(getattr(cause, "strerror", None) or cause).split()) or type(cause).__name__
        raise Failure(f"the connection failed ({reason})", again=not final) from error
