"""Segmentation as benchmarks measure it: windows, several scales and mirrored pictures, averaged."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from data.fit import resize
from engine.errors import UserError
from engine.files import whole_file
from engine.metrics import confusion_matrix
from engine.network import Network

Forward = Callable[[Tensor, Sequence[str]], Tensor]


class View(NamedTuple):
    """A network at one scale: pictures are resized by `factor` before it fits them to its size."""

    network: Network
    factor: float


class Place(NamedTuple):
    """Which picture of a group an item is (engine.network.Item.job)."""

    name: str
    index: int


def flipped_too(forward: Forward) -> Forward:
    """`forward`, maps [B, C, h, w] of x [B, 3, h, w], averaged over pictures and mirrored pictures."""
    return lambda x, names: (forward(x, names) + forward(x.flip(3), names).flip(3)) / 2


def views_of(
    forward: Forward, size: Any, fit: str, scales: Iterable[float], batch: int, device: torch.device
) -> list[View]:
    """A view for each scale.

    Args:
        forward, size, fit, batch: as engine.network.Network's. With tile, or a native size, the picture is scaled;
            otherwise the size to which it is fitted.
    """
    if fit == "tile" or size == "native":
        return [View(Network(forward, size, fit, batch, device), scale) for scale in scales]
    sizes = [tuple(max(1, round(scale * side)) for side in size) for scale in scales]
    return [View(Network(forward, scaled, fit, batch, device), 1.0) for scaled in sizes]


def probabilities(pictures: Sequence[np.ndarray], views: Sequence[View]) -> list[Tensor]:
    """Class probabilities, float [C, H, W] at each picture's own size (uint8 [H, W, 3]), averaged over the views."""
    totals: list[Any] = [0] * len(pictures)
    for network, factor in views:
        items = [network.item(Place(str(i), i), _scaled(picture, factor)) for i, picture in enumerate(pictures)]
        for item in network.maps(items):
            maps, size = network.restored(item), pictures[item.job.index].shape[:2]
            if maps.shape[1:] != size:
                maps = F.interpolate(maps[None], size, mode="bilinear", align_corners=False, antialias=True)[0]
            totals[item.job.index] += maps / len(views)
    return totals


def confusion_of(pairs: Iterable[tuple[np.ndarray, np.ndarray]], views: Sequence[View], classes: int) -> Tensor:
    """The confusion matrix of pairs (picture uint8 [H, W, 3], ids uint8 [H, W]), as engine.metrics.confusion_matrix."""
    matrix = torch.zeros(classes, classes, dtype=torch.int64)
    for group in _groups(pairs, max(network.batch for network, _ in views)):
        for (_, ids), maps in zip(group, probabilities([picture for picture, _ in group], views), strict=True):
            matrix += confusion_matrix(maps.argmax(0), torch.from_numpy(ids), classes)
    return matrix


def write_confusion(matrix: Tensor, names: Sequence[str], file: Path) -> None:
    """A PNG of a confusion matrix, int64 [C, C]: each row, a true class, in per cent of its pixels.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    figure_of = require_matplotlib()
    shares = 100 * matrix.double() / matrix.sum(1, keepdim=True).clamp(min=1)
    side = 2 + 0.5 * len(names)
    axes = (figure := figure_of(figsize=(side, side), layout="constrained")).subplots()
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true, per cent of its pixels")
    for row, column in np.ndindex(shares.shape):
        share = float(shares[row, column])
        color = "white" if share > 50 else "black"
        axes.text(column, row, f"{share:.0f}", ha="center", va="center", color=color, fontsize=8)
    with whole_file(file) as part:
        figure.savefig(part, format="png", dpi=110)


def require_matplotlib() -> type:
    """matplotlib's Figure; UserError where it is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("matplotlib is not installed: pip install -r requirements-extra.txt") from None
    return Figure


def _scaled(picture: np.ndarray, factor: float) -> np.ndarray:
    height, width = (max(1, round(factor * side)) for side in picture.shape[:2])
    return picture if (height, width) == picture.shape[:2] else resize(picture, (height, width))


def _groups(pairs: Iterable, size: int) -> Iterator[list]:
    iterator = iter(pairs)
    while group := list(islice(iterator, size)):
        yield group
