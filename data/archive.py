"""Pictures in a zip file, read without unpacking it."""

import contextlib
import io
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

from data.images import SUFFIXES, rgb_array
from engine.errors import UserError


def open_zip(path: Path | str) -> zipfile.ZipFile:
    """The opened archive; UserError for a file that is no zip."""
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path}: no zip file that can be read ({error}): copy it again, or name a folder") from error


def pictures_in_zip(archive: zipfile.ZipFile) -> list[str]:
    """The names of all pictures inside, by suffix, hidden ones left out, sorted; UserError without any."""
    paths = [PurePosixPath(name) for name in archive.namelist() if not name.endswith("/")]
    found = [path for path in paths if path.suffix.lower() in SUFFIXES]
    # macOS adds a hidden ._a.png for each a.png.
    names = sorted({str(path) for path in found if not any(part.startswith(".") for part in path.parts)})
    if not names:
        raise UserError(f"{archive.filename}: no pictures inside (png, jpg, webp, bmp, gif, tif, ...): check the file")
    return names


def read_zipped(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """A picture as data.images.read_picture gives it, uint8 [H, W, 3] RGB; UserError names archive and file."""
    try:
        picture = Image.open(io.BytesIO(archive.read(name)))
        picture.load()
        with contextlib.suppress(Exception):  # a broken EXIF block must not cost the picture
            picture = ImageOps.exif_transpose(picture)
        return rgb_array(picture)
    except Exception as error:  # zipfile and Pillow's decoders raise nearly anything on broken bytes
        reason = "not a picture" if isinstance(error, Image.UnidentifiedImageError) else " ".join(str(error).split())
        raise UserError(
            f"{archive.filename}/{name}: broken or cut off ({reason or type(error).__name__}): replace or remove it"
        ) from error
