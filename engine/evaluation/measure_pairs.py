"""The numbers of spade and pix2pix networks: their pictures against the true ones, for scripts/evaluate.py."""

from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from data.files import Sample
from data.loader import InOrder
from data.palette import palette_of
from data.picture_io import to_levels
from data.pix2pix import Pairs
from data.pix2pix_io import to_input, translate
from data.spade import FOLDERS, SpadePictures
from data.spade_io import paint
from data.split import chosen_samples
from engine.device import autocast
from engine.evaluation.features import extractor_of, features_of
from engine.evaluation.generative import compare, protocol_of, require_torchmetrics
from engine.evaluation.paired import lpips_metric, paired_metrics
from engine.progress import progress
from models.layers import predicting
from options.common import LEAST_COMPARED

Made = Iterator[tuple[Tensor, Tensor]]  # batches of made and of true pictures, uint8 [B, 3, H, W]


def measure_spade(G: nn.Module, opt: Any, args: Namespace, device: torch.device) -> tuple[dict, dict]:
    """(protocol, numbers) of the pictures that G paints of labels, in their own hair colours."""
    folders = (*FOLDERS, "colors" if opt.data.color else "")
    samples, words = chosen_samples(args.data, args.split, opt.data, *folders)
    samples = samples[: args.limit]
    batch = 1 if opt.sample.norm_stats == "batch" else args.batch

    def made() -> Made:
        source = SpadePictures(samples, palette_of(opt.data.classes), opt.data, False)
        batches = InOrder(source, batch, opt.data.workers, device)
        for names, (real, ids, colors) in zip(_names(samples, batch), batches, strict=True):
            with autocast(device, args.precision):
                fake = paint(G, ids, colors, opt, names, seed=args.seed)
            yield to_levels(fake), real

    with predicting(G, opt.sample.norm_stats):
        return _measure(made(), samples, words, batch, opt, args, device)


def measure_pix2pix(G: nn.Module, opt: Any, args: Namespace, device: torch.device) -> tuple[dict, dict]:
    """(protocol, numbers) of the pictures that G makes of the inputs."""
    model, dropout = opt.model, opt.predict_dropout
    samples, words = chosen_samples(args.data, args.split, opt.data, "A", "B")
    samples = samples[: args.limit]
    batch = 1 if opt.sample.norm_stats == "batch" or dropout else args.batch

    def made() -> Made:
        batches = InOrder(Pairs(samples, opt.data, False), batch, opt.data.workers, device)
        for names, (x, y) in zip(_names(samples, batch), batches, strict=True):
            x, y = to_input(x, model.in_channels), to_input(y, model.out_channels)
            with autocast(device, args.precision):
                fake = translate(G, x, names, seed=args.seed, nz=model.z, dropout=dropout)
            yield tuple(to_levels(pictures).expand(-1, 3, -1, -1) for pictures in (fake, y))

    with predicting(G, opt.sample.norm_stats, dropout):
        return _measure(made(), samples, words, batch, opt, args, device)


def _names(samples: list[Sample], batch: int) -> list[list[str]]:
    return [[sample.name for sample in samples[i : i + batch]] for i in range(0, len(samples), batch)]


def _measure(
    made: Made, samples: list[Sample], words: str, batch: int, opt: Any, args: Namespace, device: torch.device
) -> tuple[dict, dict]:
    require_torchmetrics(f"the numbers of {opt.family}")
    as_sets = len(samples) >= LEAST_COMPARED  # then KID and its like, too
    extractor = extractor_of(args.features, device) if as_sets else None
    lpips, found, features = lpips_metric(device), {"l1": [], "psnr": [], "ssim": []}, {"real": [], "fake": []}
    with torch.inference_mode():
        for fake, real in progress(made, -(-len(samples) // batch), "evaluate", "batch"):
            for name, values in paired_metrics(fake, real).items():
                found[name].append(values)
            if lpips is not None:
                lpips.update(fake.float() / 127.5 - 1, real.float() / 127.5 - 1)
            if as_sets:
                features["real"].append(features_of([real], extractor))
                features["fake"].append(features_of([fake], extractor))
    numbers = {name: torch.cat(values).double().mean().item() for name, values in found.items()}
    numbers |= {} if lpips is None else {"lpips": lpips.compute().item()}
    protocol = {
        "pictures": f"{len(samples)} of {args.data} ({words})",
        "size": "{}x{}, resized and cropped as for validation in training".format(*opt.data.size[::-1]),
        "l1, psnr, ssim": "means over the pictures, rounded to 8 bits; l1 of values in [-1, 1], psnr in dB",
        "batch norm": f"{opt.sample.norm_stats} statistics",
        "seed": str(args.seed),
    }
    if not as_sets:
        return protocol | {"kid, fid": f"left out: {len(samples)} pictures, fewer than {LEAST_COMPARED}"}, numbers
    real, fake, axes = torch.cat(features["real"]), torch.cat(features["fake"]), extractor.axes
    protocol |= {"features": extractor.about} | protocol_of(len(samples), len(samples), axes)
    return protocol, numbers | compare(real, fake, axes, args.seed)
