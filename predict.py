"""Predict from folder to folder with a trained network, or make pictures from nothing (dcgan).

    python predict.py --weights RUN --input FOLDER --output FOLDER
    python predict.py --weights RUN --output FOLDER --count N --seed S --grid

W is a run folder (its best checkpoint, else its newest), a checkpoint file, or a name from options/weights.yaml, which
is downloaded and imported on first use; the family and its options come from it.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from data.dcgan_io import GeneratedPictures
from data.dcgan_io import add_arguments as add_generation_arguments
from data.pix2pix_io import Pix2PixPictures
from data.seg_io import SegPictures
from data.spade_io import SpadeLabels
from engine import checkpoint, folder
from engine.device import autocast, choose_device, note_emulated_bf16, weights_format
from engine.errors import UserError, door
from engine.files import require_writable
from engine.gallery import write_gallery, write_sheet
from engine.network import Network
from engine.progress import progress
from engine.threads import default_workers
from models import build, pretrained
from models.latents import SLICE
from models.layers import predicting
from options.dcgan import DcganOptions
from options.load import from_dict
from options.pix2pix import Pix2PixOptions
from options.seg import SegOptions
from options.spade import SpadeOptions


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """`words`: instead of the command line's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, metavar="W", help="a run folder, a checkpoint file or a name")
    parser.add_argument("--output", required=True, type=Path, help="the folder for the results")
    parser.add_argument(
        "--batch",
        type=int,
        default=8,
        help=f"pictures at once (default 8; dcgan: always {SLICE}, so that a seed's pictures never change)",
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--compile", action="store_true", help="torch.compile the network: for many pictures")
    parser.add_argument(
        "--workers",
        type=int,
        metavar="N",
        default=default_workers(),
        help="threads that read and write files while the network runs (default: the cores, at most 16; 0: none; fewer "
        "need less memory where pictures are large)",
    )
    parser.add_argument("--norm-stats", choices=("running", "batch"), help="overrides the run's sample.norm_stats")
    parser.add_argument(
        "--seed", type=int, default=0, help="of all that is drawn at random for a picture, by its name or number"
    )
    parser.add_argument("--overwrite", action="store_true", help="predict again what is already there")
    parser.add_argument("--gallery", action="store_true", help="also write index.html: the outputs beside their inputs")
    parser.add_argument("--grid", action="store_true", help="also write grid.png: one sheet of them")
    for add in family_arguments():
        add(parser)
    args = parser.parse_args(words)
    for name, least in {"batch": 1, "limit": 1, "workers": 0}.items():
        value = getattr(args, name)
        if value is not None and value < least:
            parser.error(f"--{name} {value}: expected a whole number of at least {least}")
    return args


def fitted_network(network: nn.Module, opt: Any, pictures: Any, args: argparse.Namespace) -> Network:
    """The network on pictures of any size, as `args` ask for it."""
    device, norm_stats = next(network.parameters()).device, args.norm_stats or opt.sample.norm_stats

    def forward(x: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
        mode = predicting(network, norm_stats, pictures.dropout)
        with torch.inference_mode(), autocast(device, args.precision), mode:
            return pictures.forward(network, x, names)

    # by its own statistics, or with dropout: every picture alone
    own = norm_stats == "batch" and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
    batch = 1 if own or pictures.dropout else args.batch
    return Network(forward, opt.data.size, args.fit, batch, device, pictures.prepare, full=args.compile)


def predict_files(network: nn.Module, opt: Any, family_pictures: type, args: argparse.Namespace) -> None:
    """Outputs of the pictures in --input."""
    if args.input is None:
        raise UserError(f"--input: is missing: {opt.family} predicts of pictures; name one, or a folder", 2)
    pictures = family_pictures(opt, args)
    reserved = ("grid.png",) if args.grid else ()
    jobs = folder.find_jobs(args.input, args.output, pictures.extra_suffixes, args.limit, reserved)
    require_writable(args.output)
    fitted = fitted_network(network, opt, pictures, args)
    report = folder.predict_folder(jobs, pictures, fitted, args.overwrite, args.workers)
    print(f"{report.summary()} -> {args.output}")
    shown = sorted(report.written + report.existing, key=lambda job: job.name)
    figures = partial(folder.figures, shown, pictures, fitted, set(report.existing))
    if args.gallery and shown:
        cards = progress(figures(), len(shown), "gallery", "picture")
        earlier = f", {len(report.existing)} of them from an earlier run" if report.existing else ""
        title = f"Predictions by {args.weights}{earlier}"
        print(f"gallery: {write_gallery(args.output, cards, title, pictures.legend)}")
    if args.grid and shown:
        write_sheet(args.output / "grid.png", figures())
    if report.failed:
        raise UserError(f"{len(report.failed)} of {len(jobs)} files failed:\n  " + "\n  ".join(report.failed))


def predict_latents(network: nn.Module, opt: Any, family_pictures: type, args: argparse.Namespace) -> None:
    """--count pictures and --interpolate walks, of latents drawn by their numbers."""
    pictures, device = family_pictures(opt, args), next(network.parameters()).device
    require_writable(args.output)
    with autocast(device, args.precision), predicting(network, args.norm_stats or opt.sample.norm_stats):
        summary = pictures.write(network, args.workers)
    print(f"{summary} -> {args.output}")
    if args.gallery:
        title = f"Pictures by {args.weights}, seed {args.seed}"
        print(f"gallery: {write_gallery(args.output, pictures.figures(), title)}")
    if args.grid:
        pictures.write_grid()


class Family(NamedTuple):
    """How a family predicts."""

    options: type
    build: Callable[[Any], nn.Module]  # the network that predicts, of the options
    pictures: type  # what it says about its files (data/FAMILY_io.py)
    add_arguments: Callable[[argparse.ArgumentParser], None] = folder.add_arguments  # beside those of `pictures`
    predict: Callable[[nn.Module, Any, type, argparse.Namespace], None] = predict_files
    # Whether its training places the network by Run.place_network: in another format the last bits differ from it.
    channels_last: bool = False


FAMILIES = {
    "seg": Family(SegOptions, partial(build.seg_generator, download=False), SegPictures),
    "pix2pix": Family(Pix2PixOptions, build.pix2pix_generator, Pix2PixPictures),
    "spade": Family(SpadeOptions, build.spade_generator, SpadeLabels),
    "dcgan": Family(
        DcganOptions, build.dcgan_generator, GeneratedPictures, add_generation_arguments, predict_latents, True
    ),
}


def family_arguments() -> dict[Callable[[argparse.ArgumentParser], None], list[str]]:
    """What adds further arguments to a parser -> the families that know these."""
    known = {}
    for name, family in FAMILIES.items():
        for add in (family.add_arguments, *family.pictures.arguments):
            known.setdefault(add, []).append(name)
    return known


def refuse_other_families(args: argparse.Namespace, family: str) -> None:
    """An argument that this checkpoint's family does not know is a mistake, not to be passed over."""
    for add, families in family_arguments().items():
        if family in families:
            continue
        parser = argparse.ArgumentParser(add_help=False)
        add(parser)
        for name, default in vars(parser.parse_args([])).items():
            if getattr(args, name) != default:
                word, others = f"--{name.replace('_', '-')}", " and ".join(families)
                raise UserError(f"{word}: is for {others}, but the checkpoint is of {family}; leave it out", 2)


def load_network(weights: str, device: torch.device):
    """(network in eval mode, its options, the family's pictures class) of a run folder, checkpoint or name."""
    path = pretrained.find(weights)
    content = checkpoint.load(path)
    if content["family"] not in FAMILIES:
        raise UserError(f"{path}: family {content['family']}: this program knows {', '.join(FAMILIES)}; update it")
    family = FAMILIES[content["family"]]
    try:
        opt = from_dict(family.options, content["options"], str(path))
    except UserError as error:
        raise UserError(f"{error}; or another version of this program made it: update this one") from None
    network = family.build(opt)
    if "G_ema" not in content:
        raise UserError(f"{path}: holds no G_ema, the network that predicts; use a checkpoint of a training run")
    checkpoint.load_network(network, content["G_ema"], path)
    print(f"{path}: {content['family']}, step {content['step']}, {build.millions(network)} parameters")
    memory_format = weights_format(device) if family.channels_last else torch.preserve_format
    return network.to(device, memory_format=memory_format).eval(), opt, family.pictures


def main() -> None:
    args = arguments()
    device = choose_device(args.device, "--device ")
    if args.precision == "bf16":
        note_emulated_bf16(device)
    network, opt, pictures = load_network(args.weights, device)
    refuse_other_families(args, opt.family)
    if args.compile:
        network.compile()
    try:
        FAMILIES[opt.family].predict(network, opt, pictures, args)
    except RuntimeError as error:
        if not any(name in str(error) for name in ("InvalidCxxCompiler", "TritonMissing")):
            raise
        raise UserError(
            "--compile: needs a C++ compiler, on a GPU Triton too; install them, or leave it out", 2
        ) from None


if __name__ == "__main__":
    door(main)
