"""Hashes of files, and the record of those that were not known in advance."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.byte_progress import byte_progress
from engine.errors import UserError
from engine.files import whole_file
from engine.lock import locked

BLOCK = 2**20  # bytes read at once


@dataclass(frozen=True)
class Digests:
    sha256: str
    git_blob: str  # git's id of the content: SHA-1 over "blob SIZE", a zero byte, the content


def digests(path: Path) -> Digests:
    """The hashes of a file, in one reading, with a bar."""
    size = path.stat().st_size
    sha256, git_blob = hashlib.sha256(), hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    for block in byte_progress(blocks(path), size, f"checking {path.name}"):
        sha256.update(block)
        git_blob.update(block)
    return Digests(sha256.hexdigest(), git_blob.hexdigest())


def blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def records(folder: Path) -> Path:
    return folder / "hashes.json"


def recorded(path: Path) -> str | None:
    """The SHA-256 that was recorded for the file of this name.

    Raises:
        UserError: the record cannot be read.
    """
    entry = _read(records(path.parent)).get(path.name)
    return entry["sha256"] if entry else None


def record(path: Path, sha256: str, source: str) -> None:
    """Note the SHA-256 of a file in hashes.json of its folder, with where it came from and when.

    Raises:
        UserError: the record cannot be read or written.
    """
    file = records(path.parent)
    with locked(file):
        known = _read(file)
        known[path.name] = {"sha256": sha256, "source": source, "date": time.strftime("%Y-%m-%d")}
        with whole_file(file) as part:
            part.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _read(file: Path) -> dict[str, dict[str, str]]:
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        sound = all(isinstance(entry["sha256"], str) for entry in known.values())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{file}: cannot be read ({error}): mend it or remove it") from error
    if not sound:
        raise UserError(f"{file}: holds a SHA-256 that is no text: mend it or remove it")
    return known
