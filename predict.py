"""Predict from folder to folder with a trained network.

    python predict.py --weights RUN --input FOLDER --output FOLDER

W is a run folder (its best checkpoint, else its newest) or a checkpoint file; the family and its options come from it.
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import nn

from data.pix2pix_io import Pix2PixPictures
from data.seg_io import SegPictures
from data.spade_io import SpadeLabels
from engine import checkpoint
from engine.device import autocast, choose_device, note_emulated_bf16
from engine.errors import UserError, door
from engine.files import require_writable
from engine.folder import Network, figures, find_jobs, predict_folder
from engine.gallery import write_gallery, write_sheet
from engine.progress import progress
from models import build
from models.layers import predicting
from options.load import from_dict
from options.pix2pix import Pix2PixOptions
from options.seg import SegOptions
from options.spade import SpadeOptions

# family: options, the network that predicts, its pictures
FAMILIES = {
    "seg": (SegOptions, partial(build.seg_generator, download=False), SegPictures),
    "pix2pix": (Pix2PixOptions, build.pix2pix_generator, Pix2PixPictures),
    "spade": (SpadeOptions, build.spade_generator, SpadeLabels),
}


def family_arguments() -> dict[Callable[[argparse.ArgumentParser], None], list[str]]:
    """What adds further arguments to a parser -> the families that know these."""
    known = {}
    for family, (_, _, pictures) in FAMILIES.items():
        for add in pictures.arguments:
            known.setdefault(add, []).append(family)
    return known


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, metavar="W", help="a run folder or a checkpoint file")
    parser.add_argument("--input", required=True, type=Path, help="a picture or a folder (with its sub-folders)")
    parser.add_argument("--output", required=True, type=Path, help="the folder for the results: the same names, as PNG")
    parser.add_argument(
        "--fit",
        choices=("pad", "crop", "stretch", "tile"),
        default="pad",
        help="how a picture meets the network's size: pad (default), crop, stretch, or tile (windows at native scale)",
    )
    parser.add_argument("--batch", type=int, default=8, help="pictures at once (default 8)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument(
        "--layout",
        choices=("auto", "single", "pair"),
        default="auto",
        help="what a 2:1 picture is: single, or a pair of input and target (auto: as the family has it)",
    )
    parser.add_argument("--norm-stats", choices=("running", "batch"), help="overrides the run's sample.norm_stats")
    parser.add_argument(
        "--seed", type=int, default=0, help="of what is drawn at random for a picture, by its name below --input"
    )
    parser.add_argument("--limit", type=int, help="only the first N pictures")
    parser.add_argument("--overwrite", action="store_true", help="predict again what is already there")
    parser.add_argument("--pairs", action="store_true", help="write input|output side by side as NAME.png")
    parser.add_argument("--gallery", action="store_true", help="also write index.html: inputs beside their outputs")
    parser.add_argument("--grid", action="store_true", help="also write grid.png: one sheet of inputs and outputs")
    for add in family_arguments():
        add(parser)
    args = parser.parse_args()
    for name in ("batch", "limit"):
        value = getattr(args, name)
        if value is not None and value < 1:
            parser.error(f"--{name} {value}: expected a whole number of at least 1")
    return args


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
    """(network in eval mode, its options, the family's pictures class) of a run folder or checkpoint."""
    path = checkpoint.find(weights)
    content = checkpoint.load(path)
    if content["family"] not in FAMILIES:
        raise UserError(f"{path}: family {content['family']}: this program knows {', '.join(FAMILIES)}; update it")
    options, build_network, pictures = FAMILIES[content["family"]]
    try:
        opt = from_dict(options, content["options"], str(path))
    except UserError as error:
        raise UserError(f"{error}; or another version of this program made it: update this one") from None
    network = build_network(opt)
    if "G_ema" not in content:
        raise UserError(f"{path}: holds no G_ema, the network that predicts; use a checkpoint of a training run")
    checkpoint.load_network(network, content["G_ema"], path)
    print(f"{path}: {content['family']}, step {content['step']}, {build.millions(network)} parameters")
    return network.to(device).eval(), opt, pictures


def main() -> None:
    args = arguments()
    device = choose_device(args.device, "--device ")
    if args.precision == "bf16":
        note_emulated_bf16(device)
    network, opt, family_pictures = load_network(args.weights, device)
    refuse_other_families(args, opt.family)
    pictures = family_pictures(opt, args)
    reserved = ("grid.png",) if args.grid else ()
    jobs = find_jobs(args.input, args.output, pictures.extra_suffixes, args.limit, reserved)
    require_writable(args.output)
    norm_stats = args.norm_stats or opt.sample.norm_stats

    def forward(x: torch.Tensor, names: Sequence[str]) -> torch.Tensor:
        mode = predicting(network, norm_stats, pictures.dropout)
        with torch.inference_mode(), autocast(device, args.precision), mode:
            return pictures.forward(network, x, names)

    # by its own statistics, or with dropout: every picture alone
    own = norm_stats == "batch" and any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in network.modules())
    batch = 1 if own or pictures.dropout else args.batch
    fitted = Network(forward, opt.data.size, args.fit, batch, device, pictures.prepare)
    report = predict_folder(jobs, pictures, fitted, args.overwrite)
    print(f"{report.summary()} -> {args.output}")
    shown = sorted(report.written + report.existing, key=lambda job: job.name)
    if args.gallery and shown:
        cards = progress(figures(shown, pictures, fitted), len(shown), "gallery", "picture")
        earlier = f", {len(report.existing)} of them from an earlier run" if report.existing else ""
        title = f"Predictions by {args.weights}{earlier}"
        print(f"gallery: {write_gallery(args.output, cards, title, pictures.legend)}")
    if args.grid and shown:
        write_sheet(args.output / "grid.png", figures(shown, pictures, fitted))
    if report.failed:
        raise UserError(f"{len(report.failed)} of {len(jobs)} files failed:\n  " + "\n  ".join(report.failed))


if __name__ == "__main__":
    door(main)
