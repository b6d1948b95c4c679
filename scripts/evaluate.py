"""How good is a trained network? Its numbers on a set of pictures, each with its protocol.

    python scripts/evaluate.py --weights RUN --data DIR [--json FILE]
    python scripts/evaluate.py --weights SEG_RUN --data DIR --fit tile --flip --scales 0.75,1,1.25 --output FOLDER
    python scripts/evaluate.py --weights DCGAN_RUN --data FACES --features random --count 2000

seg: mIoU, the IoU of every class, pixel accuracy, confusion matrix. spade and pix2pix: L1, PSNR, SSIM, LPIPS, and KID,
FID, precision and recall of their pictures against the true ones. dcgan: the latter four. docs/evaluation.md says what
the numbers mean and which may be compared. All but seg need torchmetrics (pip install -r requirements-extra.txt).
"""

import argparse
import contextlib
import json
import math
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data.palette import palette_of
from data.split import SPLITS
from engine import checkpoint
from engine.device import choose_device, note_emulated_bf16
from engine.errors import UserError, door
from engine.evaluation.measure_dcgan import MOST_GENERATED, measure_dcgan
from engine.evaluation.measure_pairs import measure_pix2pix, measure_spade
from engine.evaluation.measure_seg import measure_seg
from engine.files import require_file, whole_file
from models import pretrained
from predict import load_network

FAMILIES = {"seg": measure_seg, "spade": measure_spade, "pix2pix": measure_pix2pix, "dcgan": measure_dcgan}
OF_FAMILIES = {  # arguments that not every family knows
    **dict.fromkeys(("at", "fit", "flip", "scales", "output"), ("seg",)),
    "batch": ("seg", "spade", "pix2pix"),
    **dict.fromkeys(("features", "seed"), ("spade", "pix2pix", "dcgan")),
    "count": ("dcgan",),
}


def scales(text: str) -> list[float]:
    with contextlib.suppress(ValueError):
        factors = [float(word) for word in text.split(",")]
        if all(0.1 <= factor <= 8 for factor in factors):
            return factors
    raise argparse.ArgumentTypeError(f"{text}: expected numbers from 0.1 to 8, such as 0.75,1,1.25")


def whole(least: int, most: int = 2**31):
    """An argument's type: a whole number in a range."""

    def integer(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text}: expected a whole number from {least} to {most}")
        return int(text)

    return integer


def parser() -> argparse.ArgumentParser:
    own = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    own.add_argument("--weights", required=True, metavar="W", help="a run folder, a checkpoint file or a name")
    own.add_argument("--data", required=True, type=Path, metavar="DIR", help="the pictures, in a layout to train on")
    own.add_argument(
        "--split",
        default="auto",
        choices=SPLITS,
        help="auto: DIR/val, or what training held out of DIR, else DIR/test, else all (dcgan: as in training)",
    )
    own.add_argument("--limit", type=whole(1), metavar="N", help="only the first N pictures")
    own.add_argument("--json", type=Path, metavar="FILE", help="also write protocol and numbers there")
    own.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    own.add_argument("--precision", default="fp32", choices=("fp32", "bf16"), help="of the network that is evaluated")
    own.add_argument("--batch", type=whole(1), default=8, help="seg, spade, pix2pix: pictures at once (default 8)")
    seg = own.add_argument_group("seg")
    seg.add_argument(
        "--at",
        default="native",
        choices=("native", "network"),
        help="native (default): at the labels' own size, as benchmarks; network: at data.size, as training validates",
    )
    seg.add_argument(
        "--fit",
        default="pad",
        choices=("pad", "crop", "stretch", "tile"),
        help="how a picture meets the network's size, as in predict.py; tile: sliding windows at native scale",
    )
    seg.add_argument("--flip", action="store_true", help="average over the picture and its mirror image")
    seg.add_argument(
        "--scales", type=scales, default=[1.0], metavar="A,B,...", help="average over scales (default 1), 0.1 to 8"
    )
    seg.add_argument("--output", type=Path, metavar="FOLDER", help="write the confusion matrix to FOLDER/confusion.png")
    pictures = own.add_argument_group("spade, pix2pix and dcgan")
    pictures.add_argument(
        "--features",
        default="inception",
        metavar="F",
        help="what KID, FID, precision and recall compare: inception (default), random (of a network with random "
        "weights), or a dcgan run (of its discriminator)",
    )
    pictures.add_argument("--seed", type=whole(0), default=0, help="of all that is drawn by lot (default 0)")
    most = f"default: as many as there are real ones, at most {MOST_GENERATED:,}"
    pictures.add_argument("--count", type=whole(1), metavar="N", help=f"dcgan: generated pictures ({most})")
    return own


def refuse_other_families(args: argparse.Namespace, family: str) -> None:
    """An argument that this checkpoint's family does not know is a mistake, not to be passed over."""
    for name, families in OF_FAMILIES.items():
        if family not in families and getattr(args, name) != parser().get_default(name):
            known = " and ".join(families)
            raise UserError(f"--{name}: is for {known}, but the checkpoint is of {family}; leave it out", 2)


def show(title: str, protocol: dict[str, str], numbers: dict[str, Any], classes: list[str]) -> None:
    """Protocol and numbers as Markdown; the standard deviation NAME_std stands behind NAME."""
    print(f"\n{title}\n\n" + "\n".join(f"- {name}: {words}" for name, words in protocol.items()))
    print("\n| | |\n|---|---|")
    for name, value in numbers.items():
        if isinstance(value, float) and not name.endswith("_std"):
            spread = f" ± {numbers[f'{name}_std']:.2g}" if f"{name}_std" in numbers else ""
            print(f"| {name} | {value:.4g}{spread} |")
    if classes:
        print("\nConfusion matrix: rows are true classes, in per cent of their pixels; columns what was predicted.\n")
        print(f"| | {' | '.join(classes)} |\n|---|{'---|' * len(classes)}")
        for name, row in zip(classes, numbers["confusion"], strict=True):
            print(f"| {name} | {' | '.join(f'{100 * n / max(1, sum(row)):.1f}' for n in row)} |")


def write_json(file: Path, content: dict[str, Any]) -> None:
    numbers = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in content["numbers"].items()}
    with whole_file(file) as part:
        part.write_text(json.dumps(content | {"numbers": numbers}, indent=1) + "\n", encoding="utf-8")


def evaluate(args: argparse.Namespace) -> tuple[Any, dict[str, str], dict[str, Any]]:
    """(options of the network, protocol, numbers) of the parser's arguments.

    Raises:
        UserError: as the family's measuring function, or an argument is of another family.
    """
    device = choose_device(args.device, "--device ")
    if args.precision == "bf16":
        note_emulated_bf16(device)
    path = pretrained.find(args.weights)
    network, opt, _ = load_network(str(path), device)
    refuse_other_families(args, opt.family)
    protocol, numbers = FAMILIES[opt.family](network, opt, args, device)
    return opt, {"weights": which(path)} | protocol | {"network's arithmetic": args.precision}, numbers


def which(path: Path) -> str:
    """What a protocol says of a checkpoint: a run folder's best one was chosen by what it may now be measured by."""
    content = checkpoint.load(path)
    kept = content["options"]["run"].get("keep_best")
    best = f", the best of its validations by {kept[0]}" if kept and path.name == "best.pt" else ""
    return f"{path}, step {content['step']}, averaged (G_ema){best}"


def main() -> None:
    args = parser().parse_args()
    if args.json:
        require_file(args.json)
    opt, protocol, numbers = evaluate(args)
    classes = list(palette_of(opt.data.classes).names) if opt.family == "seg" else []
    show(f"{args.weights} ({opt.family})", protocol, numbers, classes)
    if args.json:
        write_json(args.json, {"weights": args.weights, "family": opt.family, "protocol": protocol, "numbers": numbers})


if __name__ == "__main__":
    door(main)
