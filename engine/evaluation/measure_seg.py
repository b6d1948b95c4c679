"""The numbers of a segmentation network on labelled pictures, for scripts/evaluate.py."""

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from data.files import Sample, read_pair
from data.loader import InOrder
from data.palette import Palette, palette_of
from data.seg import LabeledPictures
from data.seg_io import SegPictures
from data.split import chosen_samples
from engine.device import autocast
from engine.evaluation.segmentation import confusion_of, flipped_too, require_matplotlib, views_of, write_confusion
from engine.files import require_writable
from engine.metrics import seg_metrics
from engine.progress import progress
from models.layers import predicting


def measure_seg(G: nn.Module, opt: Any, args: Namespace, device: torch.device) -> tuple[dict, dict]:
    """(protocol, numbers): engine.metrics.seg_metrics and the confusion matrix.

    Raises:
        UserError: the data or the arguments are not as they should be.
    """
    palette, norm_stats = palette_of(opt.data.classes), opt.sample.norm_stats
    if args.output:
        require_matplotlib()
        require_writable(args.output)
    samples, words = chosen_samples(args.data, args.split, opt.data)
    samples = samples[: args.limit]

    def forward(x: torch.Tensor, names: list[str]) -> torch.Tensor:
        return SegPictures.forward(G, x, names)

    batch = 1 if norm_stats == "batch" else args.batch
    average = flipped_too(forward) if args.flip else forward
    views = views_of(average, opt.data.size, args.fit, args.scales, batch, device)
    pairs = progress(_labelled(samples, palette, opt.data, args.at), len(samples), "evaluate", "picture")
    with torch.inference_mode(), autocast(device, args.precision), predicting(G, norm_stats):
        matrix = confusion_of(pairs, views, len(palette))
    if args.output:
        write_confusion(matrix, palette.names, args.output / "confusion.png")
    size = "native" if opt.data.size == "native" else "{}x{}".format(*opt.data.size[::-1])
    at = "the labels' own size" if args.at == "native" else f"{size}, cropped as for validation in training"
    mirrored = ", mirrored too" if args.flip else ""
    protocol = {
        "pictures": f"{len(samples)} of {args.data} ({words})",
        "measured at": at,
        "network": f"at {size}, fit {args.fit}, scales {', '.join(map(str, args.scales))}{mirrored}",
        "pixels": f"{int(matrix.sum()):,}, IoU over all of them together, ids {list(opt.data.ignore)} left out",
        "batch norm": f"{norm_stats} statistics",
    }
    return protocol, {**seg_metrics(matrix, palette.names), "confusion": matrix.tolist()}


def _labelled(samples: list[Sample], palette: Palette, data: Any, at: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(picture uint8 [H, W, 3], ids uint8 [H, W]) of the samples, as they are or as in training (`at` network)."""
    if at == "native":
        yield from (read_pair(sample, palette, data.ignore, data.label_colors) for sample in samples)
        return
    for x, y in InOrder(LabeledPictures(samples, palette, data, False), 1, data.workers):
        yield x[0].permute(1, 2, 0).numpy(), y[0].numpy()
