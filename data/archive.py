"""Pictures in a zip file, read without unpacking it."""

import contextlib
import io
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from PIL import Image, ImageOps

from data.images import SUFFIXES, rgb_array
from engine.errors import UserError

LARGEST = 64 * 2**20  # bytes of a picture's file
# A zip bomb: no file of a picture shrinks to so small a share, but for large areas of one colour kept uncompressed.
STEEPEST, STEEP_FROM = 200, 2**20  # times, bytes


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
        if _escapes(name):
            raise UserError(f"{archive.filename}/{name}: the path leads out of the zip: do not unpack it; make it anew")
    by_path = {PurePosixPath(name): name for name in files}
    # macOS adds a hidden ._a.png for each a.png.
    shown = [path for path in by_path if not any(part.startswith(".") for part in path.parts)]
    names = [by_path[path] for path in sorted(shown) if path.suffix.lower() in SUFFIXES]
    if not names:
        raise UserError(f"{archive.filename}: no pictures inside (png, jpg, webp, bmp, gif, tif, ...): check the file")
    return names


def _escapes(name: str) -> bool:
    """Whether an entry's path is absolute or climbs above the archive, by the rules of any system."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return bool(posix.root or windows.root or windows.drive) or ".." in windows.parts


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
        raise UserError(
            f"{archive.filename}/{name}: broken or cut off ({reason or type(error).__name__}): replace or remove it"
        ) from error


def _read_entry(archive: zipfile.ZipFile, name: str) -> bytes:
    """An entry's bytes; UserError for one that is encrypted or swells beyond what a picture can be."""
    entry = archive.getinfo(name)
    where = f"{archive.filename}/{name}"
    if entry.flag_bits & 1:
        raise UserError(f"{where}: encrypted: unpack the zip with its password and name the folder")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # The others' decoders cannot be told how much to expand at most.
        raise UserError(f"{where}: neither stored nor deflated: zip it with the usual compression")
    swollen = entry.file_size > STEEP_FROM and entry.file_size > STEEPEST * entry.compress_size
    if swollen or entry.file_size > LARGEST:
        packed = f"{entry.file_size / 1e6:.0f} MB packed in {entry.compress_size / 1e6:.3f} MB"
        raise UserError(f"{where}: {packed}, more than a picture can be: remove it")
    with archive.open(entry) as file:  # ends at the size declared, and checks the sum; a plain read() expands all
        return file.read(entry.file_size)
