"""Picture files: listing and reading them, with one clear line for whatever is wrong with a file."""

import errno
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from engine.errors import UserError

SMALLEST = 8  # pixels of a side; below it there is nothing to learn from or to predict
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".tif", ".tiff"),
    *(".jp2", ".tga", ".ppm", ".pgm", ".pbm", ".pnm"),
)

# What turns a stored picture into the displayed one, by the value of its EXIF orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# A picture of 90 to 179 megapixels is merely large; above that Pillow refuses, and so do we, with a line.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")


def read_picture(path: Path | str) -> np.ndarray:
    """The picture as displayed, uint8 [H, W, 3] RGB, 0..255; the first frame of an animation.

    EXIF orientation is applied, transparency is flattened on white, grey becomes RGB, 16 bits become 8.
    Raises UserError with one line for a file that is missing, empty, broken, too large or no picture.
    """
    return _guarded(path, lambda picture: rgb_array(_loaded(picture)))


def system_failed(error: BaseException) -> bool:
    """Whether the system did not let a file be read (disk, network, memory, a permission, too many open files).

    That says nothing about the picture, which may well be read another time. A UserError is what its cause is. Broken
    bytes have no errno, or that of a position where there is nothing to read.
    """
    cause = error.__cause__ if isinstance(error, UserError) else error
    known = getattr(cause, "errno", None) not in (None, errno.EINVAL, errno.EOVERFLOW)
    return known or isinstance(cause, MemoryError)


def open_picture(path: Path | str) -> Image.Image:
    """The picture as displayed, loaded, in its own mode (as labels need it). Errors as read_picture."""
    return _guarded(path, _loaded)


def picture_size(path: Path | str) -> tuple[int, int]:
    """(width, height) of the picture as displayed, without decoding it where the format allows."""

    def size(picture: Image.Image) -> tuple[int, int]:
        # A TIFF's size is already the displayed one.
        turned = picture.format != "TIFF" and _orientation(picture) in (5, 6, 7, 8)
        return (picture.height, picture.width) if turned else picture.size

    return _guarded(path, size)


def rgb_array(picture: Image.Image) -> np.ndarray:
    """uint8 [H, W, 3] RGB of a loaded picture of any mode, transparency flattened on white."""
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        picture = Image.fromarray(_eight_bits(picture))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        if picture.mode == "La":  # Pillow has no direct way from premultiplied grey to RGBA
            picture = picture.convert("LA")
        picture = picture.convert("RGBA")
        paper = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(paper, picture)
    return np.array(picture.convert("RGB"))


def require_size(picture: np.ndarray, path: Path) -> np.ndarray:
    """The picture, uint8 [H, W, 3], if no side is below SMALLEST pixels; else a UserError names the file."""
    height, width = picture.shape[:2]
    if min(height, width) < SMALLEST:
        raise UserError(f"{path}: only {width}x{height} pixels, less than {SMALLEST}: remove it")
    return picture


def list_pictures(folder: Path | str) -> list[Path]:
    """All picture files below a folder, by suffix, hidden ones left out, in the same order on every system.

    Raises UserError if the folder is missing, is a file, cannot be read or holds no picture.
    """
    folder = Path(folder)
    if not folder.exists():
        raise UserError(f"{folder}: no such folder: check the path (now in {Path.cwd()})")
    if not folder.is_dir():
        raise UserError(f"{folder}: is a file, not a folder: name the folder that holds the pictures")
    found = [path for path in _walk(folder) if path.suffix.lower() in SUFFIXES]
    if not found:
        raise UserError(f"{folder}: no pictures inside (png, jpg, webp, bmp, gif, tif, ...): check the path")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def _walk(folder: Path):
    def refuse(error: OSError):
        raise UserError(f"{error.filename}: {error.strerror}: check the permissions of the folder") from error

    seen = set()
    for top, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(top)
        if real in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(top, name) for name in files if not name.startswith("."))


def _guarded(path: Path | str, work: Callable):
    """work(picture) on the opened file; whatever Pillow raises becomes one line."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise UserError(f"{path}: the file is empty (0 bytes): copy it again or remove it")
            file.seek(0)
            return work(Image.open(file))
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file: check the path (now in {Path.cwd()})") from error
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\((\d+) pixels\)", str(error))
        size = f"{int(pixels[1]) / 1e6:.0f} megapixels" if pixels else "very many pixels"
        raise UserError(
            f"{path}: {size}, the limit is {2 * Image.MAX_IMAGE_PIXELS / 1e6:.0f}: make it smaller"
        ) from error
    except Image.UnidentifiedImageError as error:
        raise UserError(f"{path}: not a picture that can be read: convert it to PNG or remove it") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on broken bytes
        if path.is_dir():  # a PermissionError on Windows, else an IsADirectoryError
            raise UserError(f"{path}: is a folder, not a picture: name a file") from error
        if isinstance(error, PermissionError):
            raise UserError(f"{path}: may not be read: check its permissions") from error
        reason = " ".join(str(error).split()) or type(error).__name__
        if system_failed(error):
            line = f"{path}: cannot be read ({reason}): check disk, network and memory, try again"
            raise UserError(line) from error
        raise UserError(f"{path}: broken or cut off ({reason}): copy it again or remove it") from error


def _loaded(picture: Image.Image) -> Image.Image:
    picture.load()
    turn = UPRIGHT.get(_orientation(picture))
    return picture if turn is None else picture.transpose(turn)


def _orientation(picture: Image.Image) -> int:
    try:
        return picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a broken EXIF block must not cost the picture
        return 1


def _eight_bits(picture: Image.Image) -> np.ndarray:
    """uint8 [H, W] of a 16-bit, 32-bit or float picture, by the smallest usual range that holds it."""
    values = np.nan_to_num(np.asarray(picture).astype(np.float64), posinf=0, neginf=0)
    top = values.max(initial=0)
    if picture.mode.startswith("I;16"):
        white = 65535
    else:
        ranges = (1, 255, 65535) if picture.mode == "F" else (255, 65535)
        white = next((usual for usual in ranges if top <= usual), top)
    return (values.clip(0) * (255 / white)).round().astype(np.uint8)
