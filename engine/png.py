"""PNG files, written whole or not at all."""

from pathlib import Path

from PIL import Image

from engine.files import whole_file


def write_png(picture: Image.Image, path: Path) -> None:
    """The picture as PNG.

    Colours are compressed at zlib's level 2, 3 to 4 times as fast as at Pillow's 6 for files 3 to 10 % larger
    (scripts/predict_speed.py); indexed label maps are quick at 6, and at 2 they would be 40 % larger.

    Raises:
        UserError: it cannot be written.
    """
    with whole_file(path) as part:
        picture.save(part, "PNG", compress_level=6 if picture.mode == "P" else 2)
