"""Decoded pictures in a file that is mapped into memory, made once for a data set and its settings.

$ATELIER_CACHE/pictures/KEY.u8 holds the bytes, KEY.json what they are of. The KEY is a hash of the settings and of
every file's path, size and time.
"""

import contextlib
import hashlib
import json
import math
import os
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import UserError
from engine.progress import progress

BLOCK = 512  # pictures decoded ahead of the one that is written
STALE = 24 * 3600  # seconds after which an unfinished file is that of a process long gone

Read = Callable[[str], np.ndarray]


@dataclass
class Cached:
    """The pictures that could be read, uint8 [N, *shape], their names, a line for each that could not be read."""

    pictures: Tensor
    names: list[str]
    problems: list[str]
    file: Path | None  # None: in memory alone


def cache_folder() -> Path:
    """Where what can be made or downloaded again lies: $ATELIER_CACHE, or ~/.cache/atelier."""
    return Path(os.environ.get("ATELIER_CACHE") or os.path.expanduser("~/.cache/atelier"))


def cache_key(files: Sequence[Path], settings: list) -> str:
    """A hash of the files' names, sizes and times, and of the settings, plain values. UserError: a file is gone."""
    about = []
    for path in files:
        try:
            stat = path.stat()
        except OSError as error:
            raise UserError(
                f"{path}: {error.strerror}, or a link to nothing: restore the file, or remove it"
            ) from error
        about.append((str(path.absolute()), stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(json.dumps([settings, about]).encode()).hexdigest()[:32]


def cached(
    read: Read,
    names: Sequence[str],
    shape: tuple[int, ...],
    files: Sequence[Path],
    settings: list,
    workers: int = 0,
    disk: bool = True,
) -> Cached:
    """read(name) of every name, from the cache if it was made before.

    Args:
        read: returns uint8 of `shape`; a UserError for a bad picture becomes a line of the problems. Called in threads.
        names: of the pictures, each once.
        files: all that is read of; a change of their size or time makes the cache anew.
        settings: what else the bytes depend on, plain values.
        workers: threads that read (0: as 1). The bytes do not depend on it.
        disk: False: in memory, no file. So, too, with a note, where the cache cannot be written.

    Raises:
        UserError: a file of `files` is gone.
    """
    if not disk:
        return _in_memory(read, names, shape, workers)
    key = cache_key(files, [*settings, list(shape), list(names)])
    file = cache_folder() / "pictures" / f"{key}.u8"
    found = _opened(file, shape)
    if found is not None:
        return found
    reason = "what was written reads differently"
    try:
        _make(file, read, names, shape, workers)
    except OSError as error:
        reason = error.strerror or str(error)
    found = _opened(file, shape)  # also after an error: Windows lets no one replace what another process has mapped
    if found is None:
        print(f"note: {file.parent}: no cache can be kept ({reason}): the pictures stay in memory")
        found = _in_memory(read, names, shape, workers)
    return found


def _opened(file: Path, shape: tuple[int, ...]) -> Cached | None:
    """The pictures of a cache file; None if there is none or it is damaged, which a note says."""
    about = file.with_suffix(".json")
    if not os.path.exists(about):  # unlike Path.exists, False where the cache may not be read
        return None
    try:
        content = json.loads(about.read_text(encoding="utf-8"))
        names, problems = list(content["names"]), list(content["problems"])
        if (file.stat().st_size, _checksum(file)) == (len(names) * math.prod(shape), content["crc32"]):
            return Cached(_mapped(file, len(names), shape), names, problems, file)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    print(f"note: {file}: damaged: made again")
    return None


def _checksum(file: Path) -> int:
    total = 0
    with file.open("rb") as opened:
        while part := opened.read(1 << 20):
            total = zlib.crc32(part, total)
    return total


def _mapped(file: Path, count: int, shape: tuple[int, ...]) -> Tensor:
    if not count:
        return torch.empty(0, *shape, dtype=torch.uint8)  # nothing to map
    # "c": torch wants memory that may be written; the file itself stays as it is.
    return torch.from_numpy(np.memmap(file, np.uint8, mode="c", shape=(count, *shape)))


@dataclass
class _Reader:
    """The pictures one after the other, in threads; keeps count of what was read."""

    read: Read
    names: Sequence[str]
    workers: int
    kept: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[np.ndarray]:
        for name, outcome in zip(self.names, progress(self._all(), len(self.names), "decoding"), strict=True):
            if isinstance(outcome, UserError):
                self.problems.append(str(outcome))
            else:
                self.kept.append(name)
                yield outcome

    def _all(self) -> Iterator[np.ndarray | UserError]:
        pool = ThreadPoolExecutor(max(1, self.workers))
        try:
            for start in range(0, len(self.names), BLOCK):  # a slow disk must not let them pile up in memory
                yield from pool.map(self._attempt, self.names[start : start + BLOCK])
        finally:
            pool.shutdown(cancel_futures=True)

    def _attempt(self, name: str) -> np.ndarray | UserError:
        try:
            return self.read(name)
        except UserError as error:
            return error


def _in_memory(read: Read, names: Sequence[str], shape: tuple[int, ...], workers: int) -> Cached:
    reader = _Reader(read, names, workers)
    pictures = np.empty((len(names), *shape), np.uint8)
    for row, picture in enumerate(reader):
        pictures[row] = picture
    return Cached(torch.from_numpy(pictures[: len(reader.kept)]), reader.kept, reader.problems, None)


def _make(file: Path, read: Read, names: Sequence[str], shape: tuple[int, ...], workers: int) -> None:
    """Write a cache file, then its json: who sees the json finds the pictures whole. OSError: it cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(file.parent)
    reader, checksum = _Reader(read, names, workers), 0
    with _own_file(file) as part, part.open("wb") as opened:  # not mapped: there a full disk would be a fatal signal
        for picture in reader:
            assert picture.shape == shape and picture.dtype == np.uint8, (picture.shape, picture.dtype)
            data = picture.tobytes()
            checksum = zlib.crc32(data, checksum)
            opened.write(data)
    content: dict[str, Any] = {"crc32": checksum, "names": reader.kept, "problems": reader.problems}
    with _own_file(file.with_suffix(".json")) as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")


@contextlib.contextmanager
def _own_file(path: Path) -> Iterator[Path]:
    """A name to write to that no other process uses, renamed to `path` at the end."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _remove_stale(folder: Path) -> None:
    """Drop what a kill in mid-write left, but not what another process is writing now."""
    for part in folder.glob("*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > STALE:
                part.unlink()
