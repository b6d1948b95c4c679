"""Archives that nobody vouches for: pictures read out of a zip, a zip or a tar unpacked to a folder."""

import contextlib
import errno
import gzip
import io
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from data.images import SUFFIXES, rgb_array, system_failed
from engine.errors import UserError
from engine.files import cannot_write
from engine.progress import progress

LARGEST = 64 * 2**20  # bytes of a picture's file
# A zip bomb: no file of a picture shrinks to so small a share, but for large areas of one colour kept uncompressed.
STEEPEST, STEEP_FROM = 200, 2**20  # times, bytes

# What an archive may become when it is unpacked.
SWELL, SWELL_FROM = 100, 2**24  # bytes: so many times its own, and these in any case
SPARSEST, ENTRIES_FROM = 16, 1000  # entries: one for so many of its bytes, and these in any case
CHUNK = 2**20  # bytes read at once
# What is the disk's fault and not the archive's.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.EIO)

Entry = tuple[str, IO[bytes] | None, int]  # its path, its content (None: a folder), bytes of the archive read so far


def open_zip(path: Path | str) -> zipfile.ZipFile:
    """The opened archive; UserError for a file that is no zip."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: no zip file that can be read ({reason}): copy it again, or name a folder") from error


def pictures_in_zip(archive: zipfile.ZipFile) -> list[str]:
    """The names of all pictures inside, by suffix, hidden ones left out, sorted.

    Raises:
        UserError: there is none, or a file's path leads out of the archive.
    """
    files = [name for name in archive.namelist() if not name.endswith("/")]
    for name in files:
        _require_inside(Path(archive.filename), name, "zip")
    by_path = {PurePosixPath(name): name for name in files}
    # macOS adds a hidden ._a.png for each a.png.
    shown = [path for path in by_path if not any(part.startswith(".") for part in path.parts)]
    names = [by_path[path] for path in sorted(shown) if path.suffix.lower() in SUFFIXES]
    if not names:
        raise UserError(f"{archive.filename}: no pictures inside (png, jpg, webp, bmp, gif, tif, ...): check the file")
    return names


def _require_inside(path: Path, name: str, kind: str) -> None:
    """Refuse an entry whose path is absolute or climbs above the archive, by the rules of any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    if posix.root or windows.root or windows.drive or ".." in windows.parts:
        raise _refusal(path, name, f"the path leads out of the {kind}: do not unpack it; make it anew")


def _refusal(path: Path, name: str, problem: str) -> UserError:
    return UserError(f"{path}/{name if name.isprintable() else ascii(name)}: {problem}")


def read_zipped(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """A picture as data.images.read_picture gives it, uint8 [H, W, 3] RGB; UserError names archive and file."""
    try:
        picture = Image.open(io.BytesIO(_read_entry(archive, name)))
        picture.load()
        with contextlib.suppress(Exception):  # a broken EXIF block must not cost the picture
            picture = ImageOps.exif_transpose(picture)
        return rgb_array(picture)
    except UserError:
        raise
    except Exception as error:  # zipfile and Pillow's decoders raise nearly anything on broken bytes
        reason = "not a picture" if isinstance(error, Image.UnidentifiedImageError) else " ".join(str(error).split())
        reason = reason or type(error).__name__
        if system_failed(error):
            line = f"{archive.filename}/{name}: cannot be read ({reason}): check disk, network and memory, try again"
            raise UserError(line) from error
        raise UserError(f"{archive.filename}/{name}: broken or cut off ({reason}): replace or remove it") from error


def _read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """An entry's bytes; UserError for one that is encrypted or swells beyond what a picture can be."""
    entry = archive.getinfo(name)
    _require_plain(archive, entry)
    swollen = entry.file_size > STEEP_FROM and entry.file_size > STEEPEST * entry.compress_size
    if swollen or entry.file_size > LARGEST:
        packed = f"{entry.file_size / 1e6:.0f} MB packed in {entry.compress_size / 1e6:.3f} MB"
        raise UserError(f"{archive.filename}/{name}: {packed}, more than a picture can be: remove it")
    with archive.open(entry) as file:  # ends at the size declared, and checks the sum; a plain read() expands all
        return file.read(entry.file_size)


def _require_plain(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    """Refuse an entry that is encrypted, or packed so that nobody knows how much it becomes."""
    path = Path(archive.filename)
    if entry.flag_bits & 1:
        raise _refusal(path, entry.filename, "encrypted: unpack the zip with its password and name the folder")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # The others' decoders cannot be told how much to expand at most.
        problem = "neither stored nor deflated: zip it with the usual compression"
        raise _refusal(path, entry.filename, problem)


def unpack(path: Path, folder: Path) -> None:
    """Unpack a zip, a tar or a tar.gz to a folder that is missing or empty, whole or not at all.

    A folder that alone stands at the archive's top becomes `folder` itself. One process at a time (engine/lock.py).

    Raises:
        UserError: it is no such archive, is broken or cut off; an entry's path leads out of it; an entry is a link, a
            device or encrypted; it becomes more than SWELL times its bytes or has more than one entry for every
            SPARSEST of them; the folder cannot be written.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512)
            size = file.seek(0, os.SEEK_END)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}): check the path") from error
    if head.startswith(b"PK"):
        entries = _zip_entries(path, size)
    elif head.startswith(b"\x1f\x8b") or head[257:262] == b"ustar":
        entries = _tar_entries(path, size)
    else:
        raise UserError(f"{path}: neither a zip, a tar nor a tar.gz: check the file")
    with _whole_folder(folder) as part, contextlib.closing(entries):
        for _ in progress(_megabytes(_write(path, entries, part)), size // 10**6, f"unpacking {path.name}", "megabyte"):
            pass


def _megabytes(positions: Iterator[int]) -> Iterator[int]:
    """Something for each megabyte passed."""
    done = 0
    for position in positions:
        yield from range(done, position // 10**6)
        done = position // 10**6


def _write(path: Path, entries: Iterator[Entry], folder: Path) -> Iterator[int]:
    """Write each entry below a folder; yields the bytes of the archive read so far."""
    name = ""
    try:
        for name, content, position in entries:
            target = folder / name
            if content is None:
                target.mkdir(parents=True, exist_ok=True)
            else:
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    shutil.copyfileobj(content, file, CHUNK)
            yield position
    except UserError:
        raise
    except Exception as error:  # zipfile and tarfile raise nearly anything on broken bytes
        if getattr(error, "errno", None) in FULL:
            raise cannot_write(folder, error) from error
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        raise _refusal(path, name, f"broken or cut off here ({reason}): fetch the archive again") from error


def _zip_entries(path: Path, size: int) -> Iterator[Entry]:
    with open_zip(path) as archive:
        entries = archive.infolist()
        for entry in entries:
            _require_inside(path, entry.filename, "zip")
            _require_plain(archive, entry)
            if stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refusal(path, entry.filename, "neither a file nor a folder: do not unpack this zip")
        _require_count(path, size, len(entries))
        if sum(entry.file_size for entry in entries) > _most_bytes(size):
            raise _swollen(path, size)
        done = 0
        for entry in entries:
            done += entry.compress_size
            if entry.is_dir():
                yield entry.filename, None, done
            else:
                with archive.open(entry) as content:
                    yield entry.filename, content, done


def _tar_entries(path: Path, size: int) -> Iterator[Entry]:
    with path.open("rb") as file, gzip.open(file) if file.peek(2)[:2] == b"\x1f\x8b" else file as plain:
        stream = _Forward(plain, path, size)
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for count, entry in enumerate(archive, 1):
                _require_count(path, size, count)
                _require_inside(path, entry.name, "tar")
                if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE) or entry.issparse():
                    raise _refusal(path, entry.name, "neither a file nor a folder: do not unpack this tar")
                yield entry.name, None if entry.isdir() else archive.extractfile(entry), file.tell()
        if stream.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes a broken header, or none, for the end
            raise UserError(f"{path}: broken or cut off: fetch the archive again")
        while stream.read(CHUNK):  # to the checksum
            pass


class _Forward:
    """The bytes of a tar in order, few at once, no more than it may have: tarfile does whatever a header says."""

    def __init__(self, file: IO[bytes], path: Path, size: int):
        self.file, self.path, self.size = file, path, size
        self.position, self.last = 0, b""

    def tell(self) -> int:
        return self.position

    def read(self, count: int) -> bytes:
        if not 0 <= count <= CHUNK:
            raise tarfile.ReadError("a header of impossible size")
        self.last = self.file.read(count)
        self.position += len(self.last)
        if self.position > _most_bytes(self.size):
            raise _swollen(self.path, self.size)
        return self.last

    def seek(self, position: int) -> None:
        if position < self.position:
            raise tarfile.ReadError("a header that points back")
        while self.position < position and self.read(min(CHUNK, position - self.position)):
            pass


def _most_bytes(size: int) -> int:
    return max(SWELL * size, SWELL_FROM)


def _swollen(path: Path, size: int) -> UserError:
    most = f"{_most_bytes(size) / 1e6:.0f} MB, the most that {size / 1e6:.3f} MB may become"
    return UserError(f"{path}: unpacks to more than {most}: do not unpack it")


def _require_count(path: Path, size: int, count: int) -> None:
    if count > max(size // SPARSEST, ENTRIES_FROM):
        raise UserError(f"{path}: too many entries for its {size / 1e6:.3f} MB: do not unpack it")


@contextlib.contextmanager
def _whole_folder(folder: Path) -> Iterator[Path]:
    """A folder to fill that is renamed at the end: a crash or a full disk leaves none."""
    part = folder.with_name(folder.name + ".unfinished")
    try:
        shutil.rmtree(part, ignore_errors=True)  # of a process killed
        part.mkdir(parents=True)
        yield part
        with contextlib.suppress(OSError):
            folder.rmdir()  # an empty one; Windows renames to none
        os.rename(_top(part), folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _top(folder: Path) -> Path:
    """The folder itself, or the one that alone stands in it."""
    inside = [path for path in folder.iterdir() if not path.name.startswith(("._", "__MACOSX"))]  # macOS adds these
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
