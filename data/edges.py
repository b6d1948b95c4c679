"""Edges of pictures by auto-canny, and picture|edges pairs to train pix2pix on."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from data.fit import BORDERS, fit_picture
from data.images import read_picture, require_size
from engine.errors import UserError
from engine.make import Made, make_pictures

PADS = tuple(BORDERS)
SIGMA = 0.33
STEEPEST = 2040  # the largest L1 gradient of 3x3 Sobel on 0..255


def auto_canny(
    picture: np.ndarray, sigma: float = SIGMA, low: int | None = None, high: int | None = None
) -> np.ndarray:
    """Canny's edges with thresholds around the picture's median: uint8 [H, W, 3] RGB -> uint8 [H, W], 0 or 255.

    Grey by BT.601, a 3x3 Gaussian blur, thresholds (1 -+ sigma) x the median of the blurred grey, whole numbers
    within 0..255; Sobel 3x3 and the L1 gradient, as cv2.Canny has them by default (Canny, PAMI 1986).

    Args:
        sigma: half the distance between the thresholds, as a share of the median, 0..1.
        low, high: fixed thresholds instead; where only one is given the other does not pass it.
    """
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), (3, 3), 0)
    median = np.median(grey)
    lower, upper = int(max(0, (1 - sigma) * median)), int(min(255, (1 + sigma) * median))
    if low is not None:
        lower, upper = low, max(low, upper)
    if high is not None:
        lower, upper = min(lower, high), high
    return cv2.Canny(grey, lower, upper)


def edge_picture(
    picture: np.ndarray, sigma: float = SIGMA, low: int | None = None, high: int | None = None
) -> np.ndarray:
    """auto_canny as a picture: uint8 [H, W, 3], white lines on black."""
    return cv2.cvtColor(auto_canny(picture, sigma, low, high), cv2.COLOR_GRAY2RGB)


def make_pair(
    picture: np.ndarray,
    size: int,
    pad: str = "replicate",
    sigma: float = SIGMA,
    low: int | None = None,
    high: int | None = None,
    edges_only: bool = False,
) -> np.ndarray:
    """uint8 [H, W, 3] -> picture|edges, uint8 [size, 2 * size, 3]; edges_only: uint8 [size, size, 3].

    The picture is fitted as predict.py --fit pad does (which pads by repeating the border), so that --edges there
    gives the edges of training at the same size.
    """
    fitted = fit_picture(picture, (size, size), "pad", pad).picture
    edges = edge_picture(fitted, sigma, low, high)
    return edges if edges_only else np.concatenate([fitted, edges], axis=1)


def add_arguments(parser: Any) -> None:
    """--sigma, --low and --high, for a parser or a group of its arguments."""
    parser.add_argument(
        "--sigma", type=float, default=SIGMA, help=f"edges: thresholds at (1 -+ this) x the median (default {SIGMA})"
    )
    parser.add_argument("--low", type=int, help="edges: a fixed lower threshold: weaker lines are left out")
    parser.add_argument("--high", type=int, help="edges: a fixed upper threshold: a line needs one pixel above it")


def settings(args: Any) -> dict[str, Any]:
    """auto_canny's arguments from those of add_arguments, checked.

    Raises:
        UserError (code 2): out of range, or --low above --high.
    """
    if not (math.isfinite(args.sigma) and 0 <= args.sigma <= 1):
        raise UserError(f"--sigma {args.sigma}: expected 0 to 1", 2)
    for name in ("low", "high"):
        value = getattr(args, name)
        if value is not None and not 0 <= value <= STEEPEST:
            raise UserError(f"--{name} {value}: expected 0 to {STEEPEST}", 2)
    if args.low is not None and args.high is not None and args.low > args.high:
        raise UserError(f"--low {args.low}: above --high {args.high}; swap them", 2)
    return {"sigma": args.sigma, "low": args.low, "high": args.high}


def make_pairs(jobs: Sequence[tuple[Path, Path]], size: int, workers: int = 0, **how: Any) -> Made:
    """make_pair of every (source, target) picture file: engine.make.make_pictures; `how`: its further arguments."""

    def make(source: Path) -> Image.Image:
        return Image.fromarray(make_pair(require_size(read_picture(source), source), size, **how))

    return make_pictures(make, jobs, workers, "edges")
