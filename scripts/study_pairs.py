"""What helps networks of pairs on real pictures: DiffAugment and R1 in pix2pix, OASIS's discriminator in SPADE.

    python scripts/study_pairs.py --facades DIR [--chimera DIR] [--output runs/study_pairs]

Labels of facades -> photos (pix2pix with 50 and with all training pairs, spade with all), edges of chimeras -> photos
(pix2pix), at 128x128 and small widths, batch 4, bf16, one seed, equal steps for all methods of a table. Of the 69
facades and 70 chimeras that are held out: L1, PSNR, SSIM and KID of random features (docs/evaluation.md) of the last
averaged weights, by scripts/evaluate.py. OUTPUT/TABLE.png: what each method makes of the first held-out inputs.

The same command resumes, and several at once share the trainings. Writes OUTPUT/results.json and prints Markdown.
"""

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image

import train_pix2pix
import train_spade
from data.loader import InOrder
from data.picture_io import to_picture
from data.pix2pix import pix2pix_data
from data.spade import spade_data
from engine.errors import UserError, door
from engine.evaluation.generative import require_torchmetrics
from engine.evaluation.measure_pairs import painted, translated
from engine.files import require_writable, whole_file
from engine.logs import contact_sheet
from models.layers import predicting
from options.load import load
from options.pix2pix import DEFAULT_FILE, Pix2PixOptions
from options.spade import SpadeOptions
from predict import load_network
from scripts import evaluate
from scripts.studies.figures import caption
from scripts.studies.trainings import add_results, cpu_minutes, finished, train_unless_taken

OPTIONS = DEFAULT_FILE.parent
TRAIN = {"pix2pix": train_pix2pix.train, "spade": train_spade.train}
SIZE, SHOWN = 128, 6
COMMON = f"""run.epochs=none run.precision=bf16 run.log_every=50 run.save_every=500 run.sample_every=500
    run.eval_every=0 run.keep=1 data.size={SIZE} data.batch=4 data.workers=0"""
HELD = {"facades": "data.val_share=0.15", "chimera": "data.val_share=0.2"}  # by name: 69 of 400, 70 of 300
PIX2PIX = "run.steps=2000 model.width=32 model.d_width=32 ema.half_life=2000"
SPADE = """run.steps=1500 model.width=16 model.code_width=32 model.d_width=16 optim.g_lr=4e-4 optim.d_lr=3e-4
    ema.half_life=2000"""
PATCHES = "loss.penalty_every=8 loss.feature_matching=10"
OASIS = """model.discriminator=oasis model.d_norm=none loss.penalty=none loss.feature_matching=0 loss.d_weight=1"""
DIFFAUGMENT = "loss.diffaugment=color,translation,cutout"


class Table(NamedTuple):
    """Trainings that are compared: the experiment's file in options/, its data set, the methods' options."""

    file: str
    data: str
    words: str
    methods: dict[str, str]


TABLES = {
    "pix2pix, facades, 50 pairs": Table(
        "pix2pix_facades",
        "facades",
        f"{PIX2PIX} data.limit=50",
        {"plain": "", "DiffAugment": DIFFAUGMENT, "lazy R1": "loss.r1=10 loss.penalty_every=16"},
    ),
    "spade, facades, all pairs": Table(
        "spade_facades",
        "facades",
        SPADE,
        {"patches": PATCHES, "patches, DiffAugment": f"{PATCHES} {DIFFAUGMENT}", "OASIS": OASIS},
    ),
    "pix2pix, facades, all pairs": Table(
        "pix2pix_facades", "facades", PIX2PIX, {"plain": "", "DiffAugment": DIFFAUGMENT}
    ),
    "pix2pix, chimera, all pairs": Table(
        "pix2pix_chimera", "chimera", PIX2PIX, {"plain": "", "DiffAugment": DIFFAUGMENT}
    ),
}


def as_name(text: str) -> str:
    """A file's name for a table or method."""
    return "_".join("".join(c if c.isalnum() else " " for c in text).split())


def plan(roots: dict[str, Path], output: Path) -> dict[str, dict[str, Any]]:
    """Table -> method -> the options of its training, for the data sets that there are."""
    trainings = {}
    for name, table in TABLES.items():
        if table.data not in roots:
            continue
        kind = SpadeOptions if table.file.startswith("spade") else Pix2PixOptions
        for method, words in table.methods.items():
            own = [f"data.root={roots[table.data]}", f"run.dir={output / as_name(f'{name} {method}')}"]
            words = [*COMMON.split(), HELD[table.data], *table.words.split(), *words.split(), *own]
            opt = load(kind, [str(OPTIONS / f"{table.file}.yaml"), *words], OPTIONS / f"{kind.family}.yaml")
            trainings.setdefault(name, {})[method] = opt
    return trainings


def measure(opt: Any) -> dict[str, Any]:
    """scripts/evaluate.py's numbers of the last weights and their protocol; cpu_minutes of the training."""
    words = ["--weights", opt.run.dir, "--data", opt.data.root, "--split", "val", "--features", "random"]
    _, protocol, numbers = evaluate.evaluate(evaluate.parser().parse_args(words))
    return numbers | {"cpu_minutes": round(cpu_minutes(Path(opt.run.dir)), 1), "protocol": protocol}


def pictures_of(opt: Any, count: int) -> list[np.ndarray]:
    """What the last averaged network makes of the first validation inputs."""
    G, _, _ = load_network(opt.run.dir, torch.device("cpu"))
    if opt.family == "spade":
        _, held, *_ = spade_data(opt)
        dropout, make = False, painted
    else:
        _, held = pix2pix_data(opt)
        dropout, make = opt.predict_dropout, translated
    with predicting(G, opt.sample.norm_stats, dropout), torch.inference_mode():
        made = make(G, InOrder(held, 1), opt, "fp32")
        return [to_picture(next(made)[0][0]) for _ in range(count)]


def print_table(name: str, found: dict[str, dict[str, Any]]) -> None:
    """Markdown: a row for each measured method."""
    print(f"\n| {name} | L1 | PSNR | SSIM | KID | CPU minutes |\n|---|---|---|---|---|---|")
    for method, own in found.items():
        print(
            f"| {method} | {own['l1']:.3f} | {own['psnr']:.2f} | {own['ssim']:.3f} | "
            f"{own['kid']:.3f} ± {own['kid_std']:.3f} | {own['cpu_minutes']:.0f} |"
        )
    for own in list(found.values())[:1]:  # the photos are the same for all
        print(f"| true photos | | | | {own['kid_real_real']:.3f} ± {own['kid_real_real_std']:.3f} | |")


def write_sheet(trainings: dict[str, Any], file: Path) -> None:
    """A row for each method: what it makes of the first validation inputs."""
    rows = [
        [caption(method.replace(", ", ",\n"), 90, SIZE), *pictures_of(opt, SHOWN)] for method, opt in trainings.items()
    ]
    with whole_file(file) as part:
        Image.fromarray(contact_sheet(rows)).save(part, format="png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in HELD:
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"the folder of the {name} pairs")
    parser.add_argument("--output", type=Path, default=Path("runs/study_pairs"), help="trainings and results")
    args = parser.parse_args()
    roots = {name: root for name in HELD if (root := getattr(args, name)) is not None}
    if not roots:
        raise UserError("nothing to train on: give --facades DIR, --chimera DIR or both", 2)
    for name, root in roots.items():
        if not root.is_dir():
            raise UserError(f"--{name} {root}: no such folder; name the one with the pairs", 2)
    require_torchmetrics("KID")
    require_writable(args.output)
    trainings = plan(roots, args.output)
    for methods in trainings.values():
        for opt in methods.values():
            train_unless_taken(TRAIN[opt.family], opt)
    for name, methods in trainings.items():
        done = {method: opt for method, opt in methods.items() if finished(opt)}
        found = {method: measure(opt) for method, opt in done.items()}
        print_table(name, found)
        for method in methods.keys() - done.keys():
            print(f"{method}: not done yet")
        if done:
            write_sheet(done, args.output / f"{as_name(name)}.png")
        add_results(args.output / "results.json", {name: found})


if __name__ == "__main__":
    door(main)
