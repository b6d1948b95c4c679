"""Decoded pictures in a file that is mapped into memory, made once for a data set and its settings.

$ATELIER_CACHE/pictures/KEY.u8 holds the bytes, KEY.json what they are of. The KEY is a hash of the settings and of
every file's path, size and time.
"""

import contextlib
import json
import os
import time
import uuid
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
MUCH = 10**9  # bytes of all caches together; less nobody need be told of

Read = Callable[[str], np.ndarray]


class Rows:
    """Pictures of any shapes, uint8 [C, h, w] each, one behind the other in memory, in a mapped file or on a GPU.

    Args:
        data: uint8, all their bytes.
        shapes: of each picture, int [N, 3].
        file: that is mapped: another process then maps it too, instead of being sent the bytes.

    Attributes:
        host: the same rows where the CPU may look at them; itself but for a copy on a GPU.
    """

    def __init__(self, data: Tensor, shapes: np.ndarray, file: Path | None = None):
        self.data, self.shapes, self.file, self.host = data, shapes, file, self
        self.starts = np.concatenate([[0], np.cumsum(shapes.prod(1))])

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, row: int) -> Tensor:
        """A picture, uint8 [C, h, w], not copied."""
        return self.data[self.starts[row] : self.starts[row + 1]].view(*self.shapes[row].tolist())

    def copied(self, data: Tensor) -> "Rows":
        """These rows in a copy of their bytes."""
        rows = Rows(data, self.shapes)
        rows.host = self
        return rows

    def all(self, shape: tuple[int, ...]) -> Tensor:
        """All pictures, uint8 [N, C, h, w], not copied, where each has this shape [C, h, w]."""
        return self.data.view(len(self), *shape)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | ({"data": None} if self.file else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state
        if self.file:
            self.data = _mapped(self.file, int(self.starts[-1]))


@dataclass
class Cached:
    """The pictures that could be read, their names, a line for each that could not be read."""

    rows: Rows
    names: list[str]
    problems: list[str]


@dataclass
class Decoding:
    """What is to be decoded.

    Args:
        read: returns a picture, uint8 [C, h, w]; a UserError for a bad one becomes a line of the problems, but one for
            a file that the system did not let it read (data.images.system_failed) is raised: kept, it would leave a
            sound picture out for ever. Called in threads.
        names: of the pictures, each once.
        files: all that is read of; a change of their size or time makes the cache anew.
        settings: what else the bytes depend on, plain values.
        workers: threads that read (0: as 1). The bytes do not depend on it.
    """

    read: Read
    names: Sequence[str]
    files: Sequence[Path]
    settings: list
    workers: int = 0

    @cached_property
    def file(self) -> Path:
        """Of the cache. UserError: a file of `files` is gone."""
        return cache_folder() / "pictures" / f"{cache_key(self.files, [*self.settings, list(self.names)])}.u8"

    def kept(self) -> bool:
        """Whether there is a cache already, sound or not."""
        return os.path.exists(self.file.with_suffix(".json"))  # unlike Path.exists, False where it may not be read


def cached(decoding: Decoding, disk: bool = True) -> Cached:
    """The pictures from their cache, made if there is none; in memory without `disk` or, with a note, where no cache
    can be kept.

    Raises:
        UserError: a file is gone, or cannot be read now.
    """
    try:
        return keep(decoding) if disk else in_memory(decoding)
    except OSError as error:
        print(f"{cannot_keep(decoding, error)}: the pictures stay in memory")
    return in_memory(decoding)


def keep(decoding: Decoding) -> Cached:
    """The pictures from their cache, made if there is none.

    Raises:
        UserError: a file is gone, or cannot be read now.
        OSError: no cache can be kept.
    """
    found = _opened(decoding)
    if found is not None:
        return found
    failure = OSError("what was written reads differently")
    try:
        _make(decoding)
        _say_how_much(decoding.file.parent)
    except OSError as error:
        failure = error
    found = _opened(decoding)  # also after an error: Windows lets no one replace what another process has mapped
    if found is None:
        raise failure
    return found


def cannot_keep(decoding: Decoding, error: OSError) -> str:
    """The beginning of a note."""
    return f"note: {decoding.file.parent}: no cache can be kept ({error.strerror or error})"


def in_memory(decoding: Decoding) -> Cached:
    """The pictures decoded into memory; errors as `keep`."""
    reader, data = _Reader(decoding), bytearray()
    for picture in reader:
        data += picture.tobytes()
    return Cached(Rows(_tensor(np.frombuffer(data, np.uint8)), reader.all_shapes()), reader.kept, reader.problems)


def _opened(decoding: Decoding) -> Cached | None:
    """The pictures of a cache file; None if there is none or it is damaged, which a note says."""
    if not decoding.kept():
        return None
    file = decoding.file
    try:
        content = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
        names, problems = list(content["names"]), list(content["problems"])
        shapes = np.array(content["shapes"], np.int64).reshape(len(names), 3)
        if _sound(file, int(shapes.prod(1).sum()), content):
            return Cached(Rows(_mapped(file, file.stat().st_size), shapes, file), names, problems)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    print(f"note: {file}: damaged: made again")
    return None


def _sound(file: Path, size: int, content: dict[str, Any]) -> bool:
    """Whether a cache file is what was written. One that nobody has touched since is not read: it may be large."""
    stat = file.stat()
    return stat.st_size == size and (stat.st_mtime_ns == content["time"] or _checksum(file) == content["crc32"])


def _checksum(file: Path) -> int:
    total = 0
    for block in byte_progress(blocks(file), file.stat().st_size, f"checking {file.name}"):
        total = zlib.crc32(block, total)
    return total


def _mapped(file: Path, size: int) -> Tensor:
    # "c": torch wants memory that may be written; the file itself stays as it is. Nothing cannot be mapped.
    return _tensor(np.memmap(file, np.uint8, mode="c", shape=(size,)) if size else np.empty(0, np.uint8))


def _tensor(data: np.ndarray) -> Tensor:
    return torch.from_numpy(data) if data.size else torch.empty(0, dtype=torch.uint8)


@dataclass
class _Reader:
    """The pictures one after the other, in threads; keeps count of what was read."""

    decoding: Decoding
    kept: list[str] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[np.ndarray]:
        names = self.decoding.names
        jobs = [(name,) for name in names]
        with contextlib.closing(in_threads(self._attempt, jobs, self.decoding.workers, "decoding")) as outcomes:
            for name, outcome in zip(names, outcomes, strict=True):
                if isinstance(outcome, UserError):
                    self.problems.append(str(outcome))
                else:
                    assert outcome.ndim == 3 and outcome.dtype == np.uint8, (outcome.shape, outcome.dtype)
                    self.kept.append(name)
                    self.shapes.append(outcome.shape)
                    yield outcome

    def all_shapes(self) -> np.ndarray:
        return np.array(self.shapes, np.int64).reshape(-1, 3)

    def _attempt(self, name: str) -> np.ndarray | UserError:
        try:
            return self.decoding.read(name)
        except UserError as error:
            # a link to nothing stays a problem: where it leads once it leads somewhere, is another data set
            if system_failed(error) and not isinstance(error.__cause__, FileNotFoundError):
                raise
            return error


def _make(decoding: Decoding) -> None:
    """Write a cache file, then its json: who sees the json finds the pictures whole. OSError: it cannot be written."""
    file, reader, checksum = decoding.file, _Reader(decoding), 0
    file.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(file.parent)
    with _own_file(file) as part, part.open("wb") as opened:  # not mapped: there a full disk would be a fatal signal
        for picture in reader:
            data = picture.tobytes()
            checksum = zlib.crc32(data, checksum)
            opened.write(data)
        opened.flush()
        os.fsync(opened.fileno())  # its size and time shall not outlive a power cut without its bytes
        stat = os.fstat(opened.fileno())
        if reader.problems:
            cache_key(
                decoding.files, []
            )  # a UserError for one that went meanwhile, as when a network folder is cut off
    content: dict[str, Any] = {"crc32": checksum, "time": stat.st_mtime_ns, "names": reader.kept}
    content |= {"shapes": reader.all_shapes().tolist(), "problems": reader.problems}
    with _own_file(file.with_suffix(".json")) as part:
        part.write_text(json.dumps(content), encoding="utf-8")


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
    """A note where more caches lie than the one just made, and much: nothing else ever removes them."""
    sizes = [path.stat().st_size for path in folder.glob("*.u8")]
    if sizes[1:] and sum(sizes) > MUCH:
        print(f"note: {folder}: {megabytes(sum(sizes))} in {len(sizes)} caches; it may be deleted when nothing trains")


def _remove_stale(folder: Path) -> None:
    """Drop what a kill in mid-write left, but not what another process is writing now."""
    for part in folder.glob("*.part"):
        with contextlib.suppress(OSError):
            if time.time() - part.stat().st_mtime > STALE:
                part.unlink()
