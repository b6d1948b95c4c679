"""Files from the network that can be trusted: whole, of the right kind, size and hash, or not there at all."""

import os
from dataclasses import dataclass
from pathlib import Path

from engine.byte_progress import byte_progress, megabytes
from engine.errors import UserError
from engine.file_hash import blocks, digests, record, recorded, records
from engine.files import cannot_write, require_writable, whole_file
from engine.lock import locked
from engine.transfer import Failure, drop, transfer
from engine.web_page import PAGE, explain, looks_like_html

# kind: what a file of it starts with
KINDS = {
    "any": (b"",),
    "zip": (b"PK\x03\x04",),
    "npz": (b"PK\x03\x04",),
    "torch": (b"PK\x03\x04", b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"),  # as of 1.6, and before
    "gzip": (b"\x1f\x8b",),
    "jpeg": (b"\xff\xd8\xff",),
    "png": (b"\x89PNG\r\n\x1a\n",),
    "xml": (b"<?xml", b"\xef\xbb\xbf<?xml"),
}


@dataclass(frozen=True)
class File:
    """A file of the network, and what is known of it."""

    name: str  # in the folder it is kept in
    urls: tuple[str, ...]  # http(s), tried in order; of Google Drive https://drive.google.com/uc?id=ID
    kind: str = "any"  # of KINDS
    size: int | None = None  # bytes
    sha256: str | None = None  # 64 hexadecimal digits, or the first ones of them
    git_blob: str | None = None  # the id under which git keeps the content (SHA-1)

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind
        assert self.name == Path(self.name).name and self.urls, self
        assert all(url.startswith(("http://", "https://")) for url in self.urls), self.urls

    @property
    def hash_known(self) -> bool:
        return self.git_blob is not None or self.sha256 is not None


def fetch(file: File, folder: Path, from_file: Path | None = None, by_hand: str = "") -> Path:
    """The file in `folder`, downloaded unless it is there; checked each time, whether new or not.

    An unfinished download stays as NAME.part and is resumed. Where no hash is known in advance, that of the first
    download is recorded in `folder`/hashes.json and checked from then on. Processes that want the same file wait for
    each other.

    Args:
        folder: made if it is missing.
        from_file: a file fetched by hand, copied instead of a download.
        by_hand: what the error says after "put it at PATH", such as " or name it by --from-file".

    Raises:
        UserError: no address gives the right file, `from_file` is another one, or the folder cannot be written.
    """
    path = folder / file.name
    if path.is_dir():
        raise UserError(f"{path}: a folder stands where a file should go: move it away, or choose another folder")
    if from_file is None and _fault(file, path) is None:
        return path
    require_writable(folder)
    with locked(path):
        if from_file is not None:
            _take(file, from_file, path)
        elif fault := _fault(file, path):  # not so if another process has fetched it meanwhile
            if path.exists():
                print(f"note: {path}: {fault}: downloaded again")
            _download(file, path, by_hand)
    return path


def _fault(file: File, path: Path) -> str | None:
    """What is wrong with the file at `path`, None if nothing."""
    if not path.is_file():
        return "is missing"
    try:
        _check(file, path, path, "found in its place")
    except Failure as failure:
        return str(failure)
    return None


def _take(file: File, source: Path, path: Path) -> None:
    """A file that the user has fetched by hand."""
    if not source.is_file():
        raise UserError(f"{source}: no such file: name the one that was fetched by hand", 2)
    try:
        _check(file, source, path, str(source))
    except Failure as failure:
        raise UserError(f"{source}: is not {file.name}: {failure}: fetch {file.urls[0]} once more") from None
    if path.is_file() and path.samefile(source):
        return
    with whole_file(path) as part:
        drop(part)
        with part.open("wb") as copy:
            for block in byte_progress(blocks(source), source.stat().st_size, f"copying {file.name}"):
                copy.write(block)
    print(f"{source} -> {path} ({megabytes(path.stat().st_size)})")


def _download(file: File, path: Path, by_hand: str) -> None:
    problems = []
    for url in file.urls:
        try:
            _download_from(file, url, path)
        except Failure as failure:
            problems.append(f"{url}: {failure}")
        else:
            print(f"{url} -> {path} ({megabytes(path.stat().st_size)})")
            return
    raise UserError(
        f"{file.name}: could not be downloaded: {'; '.join(problems)}: check the network or try later, "
        f"or fetch {file.urls[0]} in a browser and put it at {path}{by_hand}"
    )


def _download_from(file: File, url: str, path: Path) -> None:
    """The right file at `path`, of this address. Failure: it gives none."""
    part = path.with_name(path.name + ".part")
    for once_more in (True, False):
        in_pieces = transfer(url, part, file.size, file.hash_known or file.size is not None, file.name)
        try:
            _check(file, part, path, url)
            break
        except Failure as failure:
            drop(part)
            if not (in_pieces and once_more):
                raise
            print(f"note: {url}: what came in two pieces is wrong ({failure}): downloaded once more from the start")
    try:
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    drop(part)


def _check(file: File, content: Path, path: Path, source: str) -> None:
    """Refuse a `content` that is not the file; where no hash is known, record that of the first one.

    path: where the file is kept. source: where the content comes from.

    Raises:
        Failure: what is wrong with it.
        UserError: hashes.json cannot be read.
    """
    try:
        size = content.stat().st_size
        with content.open("rb") as opened:
            start = opened.read(PAGE)
        if file.size is not None and size != file.size and not looks_like_html(start):
            raise Failure(f"has {size} bytes, expected {file.size}")
        _check_kind(file, start, source)
        found = digests(content)
    except OSError as error:
        raise Failure(f"cannot be read ({error.strerror})") from None
    if file.sha256 is not None and not found.sha256.startswith(file.sha256):
        raise Failure(f"another file: its SHA-256 is {found.sha256}, expected {file.sha256}")
    if file.git_blob is not None and found.git_blob != file.git_blob:
        raise Failure(f"another file: its git blob id is {found.git_blob}, expected {file.git_blob}")
    if not file.hash_known:
        _check_record(path, found.sha256, source)


def _check_kind(file: File, start: bytes, source: str) -> None:
    if looks_like_html(start):
        raise Failure(explain(start, source))
    if not start.startswith(KINDS[file.kind]):
        raise Failure(f"no {file.kind} file: it starts with {start[:8]!r}")


def _check_record(path: Path, sha256: str, source: str) -> None:
    known, file = recorded(path), records(path.parent)
    if known == sha256:
        return
    if known is not None:
        raise Failure(
            f"another file than at first: its SHA-256 is {sha256}, recorded in {file} is {known} "
            f"(remove {path.name} there to take the new one)"
        )
    try:
        record(path, sha256, source)
    except UserError as error:  # a good file in a folder that cannot be written
        print(f"note: {error}; the hash of {path.name} stays unchecked")
    else:
        print(f"note: {path.name}: no hash is known in advance; its SHA-256 {sha256} is checked from now on ({file})")
