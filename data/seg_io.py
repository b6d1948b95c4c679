"""Reading and writing the seg family's pictures in prediction: label maps, overlays, pairs, samples, the original's
filter.
"""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from data.images import read_picture
from data.palette import IGNORED, Palette, colorize, encode_label, ids_by_color, palette_of
from engine.errors import UserError


def median_labels(ids: np.ndarray, palette: Any, size: int) -> np.ndarray:
    """The original's noise removal: a median of the colours; where it gives no class colour the class stays.

    ids uint8 [H, W] -> uint8 [H, W].
    """
    smooth = ids_by_color(cv2.medianBlur(colorize(ids, palette), size), palette, "exact")
    return np.where(smooth == IGNORED, ids, smooth)


def filter_reason(picture: np.ndarray, ids: np.ndarray) -> str | None:
    """Why the original's predict.py would leave a picture out, in its order of tests; None: it would not.

    picture uint8 [H, W, 3], ids uint8 [H, W] in the anime classes. Its thresholds hold at 256 x 256 and are scaled
    with the area. A picture without predicted background passes the first test (there 0/0 compared false).
    """
    background = ids == 4
    if background.any() and (picture[background] > 127).all(axis=1).mean() < 0.6:
        return "Black Background"
    area = ids.size / 256**2
    for class_id, least, reason in ((0, 32, "No Eye"), (1, 100, "No Face"), (2, 100, "No Hair")):
        if (ids == class_id).sum() < least * area:
            return reason
    return None


@torch.no_grad()
def sample_rows(
    G: torch.nn.Module, pictures: list[tuple[torch.Tensor, torch.Tensor | None]], palette: Palette
) -> list[list[np.ndarray]]:
    """Rows picture | label (white where there is none) | prediction."""
    device = next(G.parameters()).device
    rows = []
    for x, y in pictures:
        predicted = G(x[None].to(device).float() / 255).argmax(1)[0].byte().cpu().numpy()
        picture = x.permute(1, 2, 0).numpy()
        label = np.full_like(picture, 255) if y is None else colorize(y.numpy(), palette)
        rows.append([picture, label, colorize(predicted, palette)])
    return rows


def add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("seg")
    group.add_argument(
        "--overlay", action="store_true", help="also write NAME_overlay.png: the classes over the picture"
    )
    group.add_argument(
        "--filter",
        action="store_true",
        help="write nothing for pictures without white background, eyes, face or hair, as the original did",
    )
    group.add_argument(
        "--median", type=int, metavar="K", help="remove noise by a median of K x K pixels (odd, 3 to 255)"
    )


class SegPictures:
    """The seg family's side of engine/folder.py. `maps` are class probabilities [C, H, W]."""

    prepare = None
    dropout = False
    arguments = (add_arguments,)
    by_arguments = ()

    def __init__(self, opt: Any, args: Namespace):
        self.palette = palette_of(opt.data.classes)
        self.args = args
        self.legend = list(zip(self.palette.names, self.palette.colors, strict=True))
        self.extra_suffixes = {"_overlay.png": "overlay"} if args.overlay else {}
        if args.filter and opt.data.classes != "anime":
            raise UserError("--filter: needs the anime classes; this checkpoint has others, leave it out", 2)
        if args.median is not None and (not 3 <= args.median <= 255 or args.median % 2 == 0):
            raise UserError(f"--median {args.median}: expected an odd number from 3 to 255", 2)

    def read(self, path: Path) -> np.ndarray:
        picture = read_picture(path)
        if self.args.layout != "pair":
            return picture
        height, width = picture.shape[:2]
        if width != 2 * height:
            raise UserError(f"{path}: {width}x{height} pixels, not 2:1 as --layout pair says; leave it out")
        return picture[:, :height]

    @staticmethod
    def forward(network: torch.nn.Module, x: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
        """uint8 [B, 3, H, W] -> probabilities [B, C, H, W]."""
        return network(x.float() / 255).float().softmax(1)

    def rejects(self, picture: np.ndarray, maps: torch.Tensor) -> str | None:
        return filter_reason(picture, self._ids(maps)) if self.args.filter else None

    def outputs(self, picture: np.ndarray, maps: torch.Tensor) -> dict[str, Image.Image]:
        ids = self._ids(maps)
        if self.args.median:
            ids = median_labels(ids, self.palette, self.args.median)
        colors = colorize(ids, self.palette)
        if self.args.pairs:
            made = {"": Image.fromarray(np.concatenate([picture, colors], axis=1))}
        else:
            made = {"": encode_label(ids, self.palette)}
        if self.args.overlay:
            made["_overlay.png"] = Image.fromarray(((picture.astype(np.uint16) + colors) // 2).astype(np.uint8))
        return made

    def views(self, path: Path, network: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        return {"input": self.read(path)}, {}

    @staticmethod
    def _ids(maps: torch.Tensor) -> np.ndarray:
        return maps.max(0).indices.byte().numpy()  # as argmax(0), which takes 7 times as long on the CPU
