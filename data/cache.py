"""Decoded pictures in a file that is mapped into memory, made once for a data set and its settings.

$ATELIER_CACHE/pictures/KEY.u8 holds the bytes, KEY.json what they are of. The KEY is a hash of the settings and of
every file's path, size and time.
"""

import contextlib
import json
import math
import os
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.images import system_failed
from engine.byte_progress import byte_progress, megabytes
from engine.cache import cache_folder, cache_key
from engine.errors import UserError
from engine.file_hash import blocks
from engine.make import in_threads

STALE = 24 * 3600  # seconds after which an unfinished file is that of a process long gone

Read = Callable[[str], np.ndarray]


@dataclass
class Cached:
    """The pictures that could be read, uint8 [N, *shape], their names, a line for each that could not be read."""

    pictures: Tensor
    names: list[str]
    problems: list[str]
    file: Path | None  # None: in memory alone


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
        read: returns uint8 of `shape`; a UserError for a bad picture becomes a line of the problems, but one for a
            file that the system did not let it read (data.images.system_failed) is raised: kept, it would leave a sound
            picture out for ever. Called in threads.
        names: of the pictures, each once.
        files: all that is read of; a change of their size or time makes the cache anew.
        settings: what else the bytes depend on, plain values.
        workers: threads that read (0: as 1). The bytes do not depend on it.
        disk: False: in memory, no file. So, too, with a note, where the cache cannot be written.

    Raises:
        UserError: a file of `files` is gone, or cannot be read now.
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
        _make(file, _Reader(read, names, workers), shape, files)
        _say_how_much(file.parent)
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
    for block in byte_progress(blocks(file), file.stat().st_size, f"checking {file.name}"):
        total = zlib.crc32(block, total)
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
        jobs = [(name,) for name in self.names]
        with contextlib.closing(in_threads(self._attempt, jobs, self.workers, "decoding")) as outcomes:
            for name, outcome in zip(self.names, outcomes, strict=True):
                if isinstance(outcome, UserError):
                    self.problems.append(str(outcome))
                else:
                    self.kept.append(name)
                    yield outcome

    def _attempt(self, name: str) -> np.ndarray | UserError:
        try:
            return self.read(name)
        except UserError as error:
            # a link to nothing stays a problem: where it leads once it leads somewhere, is another data set
            if system_failed(error) and not isinstance(error.__cause__, FileNotFoundError):
                raise
            return error


def _in_memory(read: Read, names: Sequence[str], shape: tuple[int, ...], workers: int) -> Cached:
    reader = _Reader(read, names, workers)
    pictures = np.empty((len(names), *shape), np.uint8)
    for row, picture in enumerate(reader):
        pictures[row] = picture
    return Cached(torch.from_numpy(pictures[: len(reader.kept)]), reader.kept, reader.problems, None)


def _make(file: Path, reader: _Reader, shape: tuple[int, ...], files: Sequence[Path]) -> None:
    """Write a cache file, then its json: who sees the json finds the pictures whole. OSError: it cannot be written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(file.parent)
    checksum = 0
    with _own_file(file) as part, part.open("wb") as opened:  # not mapped: there a full disk would be a fatal signal
        for picture in reader:
            assert picture.shape == shape and picture.dtype == np.uint8, (picture.shape, picture.dtype)
            data = picture.tobytes()
            checksum = zlib.crc32(data, checksum)
            opened.write(data)
        if reader.problems:
            cache_key(files, [])  # a UserError for one that went meanwhile, as when a network folder is cut off
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


def _say_how_much(folder: Path) -> None:
    """A note where more caches lie than the one just made: nothing else ever removes them."""
    sizes = [path.stat().st_size for path in folder.glob("*.u8")]
    if sizes[1:]:
        print(f"note: {folder}: {megabytes(sum(sizes))} in {len(sizes)} caches; it may be deleted when nothing trains")


def _remove_stale(folder: Path) -> None:
    """Drop what a kill in mid-write left, but not what another process is writing now."""
    for part in folder.glob("*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > STALE:
                part.unlink()
