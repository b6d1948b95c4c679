"""The pictures of spade and pix2pix networks beside the true ones, and their numbers, for scripts/evaluate.py."""

from argparse import Namespace
from collections.abc import Iterator
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

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

Made = Iterator[tuple[Tensor, Tensor]]  # batches of made and of true pictures, [B, 1 or 3, H, W] in [-1, 1]


def painted(G: nn.Module, pictures: InOrder, opt: Any, precision: str, seed: int = 0) -> Made:
    """What G paints of the labels in their own hair colours. pictures: batches of SpadePictures."""
    names = iter([sample.name for sample in pictures.source.samples])
    for real, ids, colors in pictures:
        with autocast(next(G.parameters()).device, precision):
            fake = paint(G, ids, colors, opt, list(islice(names, len(ids))), seed=seed)
        yield fake, real.to(fake.device).float() / 127.5 - 1


def translated(G: nn.Module, pairs: InOrder, opt: Any, precision: str, seed: int = 0) -> Made:
    """What G makes of the inputs. pairs: batches of Pairs; of one where dropout predicts."""
    model, device = opt.model, next(G.parameters()).device
    names = iter([sample.name for sample in pairs.source.samples])
    for x, y in pairs:
        x, y = to_input(x.to(device), model.in_channels), to_input(y.to(device), model.out_channels)
        with autocast(device, precision):
            fake = translate(G, x, list(islice(names, len(x))), seed=seed, nz=model.z, dropout=opt.predict_dropout)
        yield fake, y


def measure_spade(G: nn.Module, opt: Any, args: Namespace, device: torch.device) -> tuple[dict, dict]:
    """(protocol, numbers) of the pictures that G paints of labels, in their own hair colours."""
    folders = (*FOLDERS, "colors" if opt.data.color else "")
    samples, words = chosen_samples(args.data, args.split, opt.data, *folders)
    batch = 1 if opt.sample.norm_stats == "batch" else args.batch
    source = SpadePictures(samples[: args.limit], palette_of(opt.data.classes), opt.data, False)
    pictures = InOrder(source, batch, opt.data.workers, device)
    with predicting(G, opt.sample.norm_stats):
        return _measure(painted(G, pictures, opt, args.precision, args.seed), pictures, words, opt, args, device)


def measure_pix2pix(G: nn.Module, opt: Any, args: Namespace, device: torch.device) -> tuple[dict, dict]:
    """(protocol, numbers) of the pictures that G makes of the inputs."""
    samples, words = chosen_samples(args.data, args.split, opt.data, "A", "B")
    batch = 1 if opt.sample.norm_stats == "batch" or opt.predict_dropout else args.batch
    pairs = InOrder(Pairs(samples[: args.limit], opt.data, False), batch, opt.data.workers, device)
    with predicting(G, opt.sample.norm_stats, opt.predict_dropout):
        return _measure(translated(G, pairs, opt, args.precision, args.seed), pairs, words, opt, args, device)


def _measure(
    made: Made, batches: InOrder, words: str, opt: Any, args: Namespace, device: torch.device
) -> tuple[dict, dict]:
    require_torchmetrics(f"the numbers of {opt.family}")
    count = len(batches.source)
    as_sets = count >= LEAST_COMPARED  # then KID and its like, too
    extractor = extractor_of(args.features, device) if as_sets else None
    lpips, found, features = lpips_metric(device), {"l1": [], "psnr": [], "ssim": []}, {"real": [], "fake": []}
    with torch.inference_mode():
        for pictures in progress(made, len(batches), "evaluate", "batch"):
            fake, real = (to_levels(x).expand(-1, 3, -1, -1) for x in pictures)
            for name, values in paired_metrics(fake, real).items():
                found[name].append(values)
            if lpips is not None:
                lpips.update(fake.float() / 127.5 - 1, real.float() / 127.5 - 1)
            if as_sets:
                features["real"].append(features_of([real], extractor))
                features["fake"].append(features_of([fake], extractor))
    numbers = {name: torch.cat(values).cpu().double().mean().item() for name, values in found.items()}
    numbers |= {} if lpips is None else {"lpips": lpips.compute().item()}
    protocol = {
        "pictures": f"{count} of {args.data} ({words})",
        "size": "{}x{}, resized and cropped as for validation in training".format(*opt.data.size[::-1]),
        "l1, psnr, ssim": "means over the pictures, rounded to 8 bits; l1 of values in [-1, 1], psnr in dB",
        "batch norm": f"{opt.sample.norm_stats} statistics",
        "seed": str(args.seed),
    }
    if not as_sets:
        return protocol | {"kid, fid": f"left out: {count} pictures, fewer than {LEAST_COMPARED}"}, numbers
    real, fake, axes = torch.cat(features["real"]), torch.cat(features["fake"]), extractor.axes
    protocol |= {"features": extractor.about} | protocol_of(count, count, axes, paired=True)
    return protocol, numbers | compare(real, fake, axes, args.seed, paired=True)
