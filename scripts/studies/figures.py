"""Captions for a study's contact sheets."""

import numpy as np
from PIL import Image, ImageDraw


def caption(text: str, width: int, height: int) -> np.ndarray:
    """Black words on a white cell, uint8 [height, width, 3]; lines end at a newline only."""
    picture = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(picture)
    draw.multiline_text((2, height // 2), text, "black", anchor="lm")
    return np.asarray(picture)
