"""The numbers of a dcgan network: generated faces against real ones, for scripts/evaluate.py and in training."""

from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from data.dcgan import Faces, dcgan_data
from engine.device import autocast
from engine.errors import UserError
from engine.evaluation.features import extractor_of, features_of
from engine.evaluation.generative import compare, kid_of, protocol_of, require_enough, require_torchmetrics
from engine.evaluation.validation import kid_extractor
from engine.progress import progress
from models.latents import generated
from models.layers import predicting

MOST_GENERATED = 5000  # pictures that are made unless --count says otherwise


def measure_dcgan(G: nn.Module, opt: Any, args: Namespace, device: torch.device) -> tuple[dict, dict]:
    """(protocol, numbers) of --count generated faces against those of --data.

    Raises:
        UserError: the data or the arguments are not as they should be.
    """
    require_torchmetrics("the numbers of dcgan")
    extractor = extractor_of(args.features, device)
    root = _root(args.data, args.split)
    data = replace(opt.data, root=str(root), limit=args.limit, labels="none", classes=(), batch=1, cache="auto")
    faces, _ = dcgan_data(replace(opt, data=data), device)
    count = args.count or min(len(faces), MOST_GENERATED)
    require_enough(len(faces), f"--data {root}")
    require_enough(count, "--count")
    with predicting(G, opt.sample.norm_stats):
        fakes = features_of(_said(_made(G, opt, count, args, device), count, 64, "generated"), extractor)
    reals = features_of(_said(faces.x.split(extractor.batch), len(faces), extractor.batch, "real"), extractor)
    classes = f", of {len(opt.data.classes)} classes by lot" if opt.data.classes else ""
    protocol = {
        "pictures": f"{count:,} generated{classes}, seed {args.seed}; {len(faces):,} real of {root}",
        "size": f"{opt.data.size[0]}x{opt.data.size[0]}, real ones resized to cover it and cropped, 8 bits",
        "features": extractor.about,
        "batch norm": f"{opt.sample.norm_stats} statistics",
    }
    axes = extractor.axes
    return protocol | protocol_of(len(faces), count, axes), compare(reals, fakes, axes, args.seed)


def training_kid(opt: Any, faces: Faces, device: torch.device) -> Callable[[nn.Module], float] | None:
    """A function G -> KID of its pictures of fixed latents against fixed training pictures; None if none is asked for.

    As sample.kid_features and sample.kid_count say. It draws nothing from the training's random state.

    Raises:
        UserError: as kid_extractor.
    """
    count, extractor = opt.sample.kid_count, kid_extractor(opt.sample, len(faces), opt.data.root, device)
    if extractor is None:
        return None
    chosen = torch.from_numpy(np.random.default_rng(0).permutation(len(faces))[:count]).to(faces.x.device)
    batches = (faces.x[rows] for rows in chosen.split(extractor.batch))
    real = features_of(_said(batches, len(chosen), extractor.batch, "training"), extractor)

    def kid(G: nn.Module) -> float:
        return kid_of(real, features_of(generated(G, opt, count), extractor), extractor.axes)

    return kid


def _root(data: Path, split: str) -> Path:
    """What --data and --split mean: DIR/val, or as in training DIR/train where it is there, else DIR."""
    if not data.exists():  # before it is taken for a data.root, of which "drawn" is no folder
        raise UserError(f"--data {data}: no such folder or zip; name the pictures to compare with", 2)
    there = (data / split if split in ("val", "test") else data / "train").absolute()
    if there.is_dir():
        return there
    if split in ("val", "test"):
        raise UserError(f"--split {split}: {data} has no {split}/; leave it out", 2)
    return data.absolute()


def _made(G: nn.Module, opt: Any, count: int, args: Namespace, device: torch.device) -> Iterator[Tensor]:
    with autocast(device, args.precision):
        yield from generated(G, opt, count, args.seed)


def _said(batches: Any, count: int, size: int, what: str) -> Iterator[Tensor]:
    return progress(batches, -(-count // size), f"features of {what} pictures", "batch")
