"""LSGAN, WGAN-GP and MSGAN on the same data, and what mode seeking does: the README's pix2pix tables and grids.

    python scripts/study_pix2pix.py [--output runs/study_pix2pix] [--real ../shared/data/chimera] [--jobs 2]

The chimera project's three settings (options/pix2pix_chimera*.yaml) and MSGAN without its mode-seeking term, at 128x128
with 32 channels in the first layers, equal steps of batch 1, on drawn characters and, with --real, on a folder of pairs
with its edges on the right. For each: L1 on the validation pairs, and how much the pictures of an input differ by z.
OUTPUT/SET.png shows the first two validation pairs after a quarter, half and all of the steps.

The same command resumes: finished trainings are not done again. Writes OUTPUT/results.json and prints Markdown.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image

from data.pix2pix import pix2pix_data
from data.pix2pix_io import pictures_of, to_input
from engine.errors import UserError, door
from engine.logs import contact_sheet
from models.layers import predicting
from options.load import load
from options.pix2pix import DEFAULT_FILE, Pix2PixOptions
from predict import load_network
from scripts.studies.figures import caption

ROOT = Path(__file__).resolve().parent.parent
METHODS = {
    "LSGAN": ["pix2pix_chimera"],
    "WGAN-GP": ["pix2pix_chimera_wgan"],
    "MSGAN": ["pix2pix_chimera_msgan"],
    "MSGAN without mode seeking": ["pix2pix_chimera_msgan", "loss.mode_seeking=0"],
}
SIZE, LATENTS = 128, 5
COMMON = f"data.size={SIZE} model.width=32 model.d_width=32 run.epochs=none run.log_every=200 run.keep=1".split()


def folder_of(output: Path, data: str, method: str) -> Path:
    return output / f"{data}-{method.lower().replace(' ', '-')}"


def command(folder: Path, method: str, root: str, steps: int) -> list[str]:
    """The training of one method on one data set."""
    file, *more = METHODS[method]
    every = [f"run.{name}_every={steps // 4}" for name in ("sample", "save", "eval")]
    words = [*COMMON, *every, f"run.steps={steps}", f"data.root={root}", f"run.dir={folder}", *more]
    return [sys.executable, str(ROOT / "train_pix2pix.py"), str(ROOT / "options" / f"{file}.yaml"), *words]


def run_all(commands: list[list[str]], jobs: int) -> None:
    """Several trainings at once, each with its share of the cores, their output in OUTPUT/NAME.txt."""
    env = os.environ | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs)), "OMP_WAIT_POLICY": "PASSIVE"}

    def one(words: list[str]) -> None:
        folder = Path(next(word for word in words if word.startswith("run.dir=")).split("=")[1])
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".txt").open("w") as log:
            code = subprocess.run(words, env=env, stdout=log, stderr=log).returncode
        if code:
            raise UserError(f"{folder.with_suffix('.txt')}: the training failed ({code}); mend it and run this again")

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, commands))


def measure(folder: Path) -> dict[str, float]:
    """Of a finished run: L1 to the target, and the mean L1 between pictures of one input for different z."""
    G, opt, _ = load_network(str(folder), torch.device("cpu"))
    _, val = pix2pix_data(opt)
    samples = LATENTS if opt.model.z else 1
    distances, apart = [], []
    with predicting(G, opt.sample.norm_stats, opt.predict_dropout) as G_mean:
        for name, x, y in val.first(50):
            fakes = pictures_of(G_mean, opt, x, name, samples).split(opt.model.out_channels)
            distances.append(float((fakes[0] - to_input(y[None], opt.model.out_channels)[0]).abs().mean()))
            apart += [float((a - b).abs().mean()) for a, b in combinations(fakes, 2)]
    return {"l1": float(np.mean(distances)), "apart": float(np.mean(apart)) if apart else float("nan")}


def figure(output: Path, data: str, steps: int) -> None:
    """One row per method: two validation pairs, each as input, picture after 1/4, 1/2 and all of the steps, target."""
    captions = ["input", "1/4", "1/2", "end", "target"] * 2
    rows = []
    for method in list(METHODS)[:3]:
        samples = folder_of(output, data, method) / "samples"
        sheets = [np.asarray(Image.open(samples / f"step_{step:08d}.png")) for step in (steps // 4, steps // 2, steps)]
        columns = (sheets[0].shape[1] + 2) // (SIZE + 2)
        cells = []
        for row in (2, 3):  # 0 and 1 are training pairs
            cells += [
                cell(sheets[0], row, 0),
                *(cell(sheet, row, 1) for sheet in sheets),
                cell(sheets[0], row, columns - 1),
            ]
        rows.append([caption(method, 64, SIZE), *cells])
    head = [caption(text, SIZE if text else 64, 16) for text in ("", *captions)]
    Image.fromarray(contact_sheet([head, *rows])).save(output / f"{data}.png")


def cell(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    top, left = row * (SIZE + 2), column * (SIZE + 2)
    return sheet[top : top + SIZE, left : left + SIZE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/study_pix2pix"))
    parser.add_argument("--real", type=Path, metavar="DIR", help="also on these pairs, edges on the right")
    parser.add_argument("--steps", type=int, default=8000, help="steps of every training (default 8000)")
    parser.add_argument("--jobs", type=int, default=2, help="trainings at once (default 2)")
    args = parser.parse_args()
    if args.steps < 4 or args.steps % 4:
        parser.error(f"--steps {args.steps}: expected a multiple of 4, for pictures at a quarter and half of them")
    sets = {"drawn": "drawn"} | ({"real": str(args.real)} if args.real else {})
    commands = [
        command(folder_of(args.output, data, method), method, root, args.steps)
        for data, root in sets.items()
        for method in METHODS
    ]
    for words in commands[:: len(METHODS)]:  # one at a time: makes the drawn pairs, or finds what is wrong with DIR
        pix2pix_data(load(Pix2PixOptions, words[2:], DEFAULT_FILE))
    run_all(commands, args.jobs)
    results = {}
    for data in sets:
        results[data] = {method: measure(folder_of(args.output, data, method)) for method in METHODS}
        figure(args.output, data, args.steps)
        print(f"\n| {data}, {args.steps} steps | L1 to the target | L1 between {LATENTS} z |\n|---|---|---|")
        for method, found in results[data].items():
            apart = "-" if np.isnan(found["apart"]) else f"{found['apart']:.3f}"
            print(f"| {method} | {found['l1']:.3f} | {apart} |")
    (args.output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    door(main)
