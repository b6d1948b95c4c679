"""What the unlabelled pictures bring, and how far drawn characters carry to real ones: the README's seg tables.

    python scripts/study_seg.py [--output runs/study] [--real DIR]

1. Few labels: 16 labelled and 500 unlabelled drawn characters at 128x128, supervised only against semi-supervised,
   equal steps, three seeds; mIoU of the last step's averaged weights on 100 unseen drawn characters.
2. With --real (picture|label pairs in the anime classes): the demo's training, and the demo's training with the first
   five real pairs added, each measured on the real pairs.

3. OUTPUT/cases.png: the demo's best and worst cases among the unseen drawn characters.

The same command resumes: finished trainings are not done again. Writes OUTPUT/results.json and prints Markdown.
"""

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
from PIL import Image

from data.files import find_pairs
from data.loader import InOrder
from data.palette import ANIME
from data.seg import LabeledPictures, seg_data
from data.seg_io import sample_rows
from engine import checkpoint
from engine.errors import UserError, door
from engine.logs import contact_sheet
from models import build
from options.load import load
from options.seg import DEFAULT_FILE, SegOptions
from scripts.studies.trainings import finished, log_of
from train_seg import train, validate

DEMO = str(DEFAULT_FILE.with_name("seg_demo.yaml"))
FEW = """run.steps=1500 run.save_every=250 run.sample_every=0 run.eval_every=500 run.keep=1 run.keep_best=none
    data.drawn_unlabeled=500 data.limit=16 loss.semi_start=300""".split()  # noqa: SIM905
METHODS = {"supervised only": ["loss.adv=0", "loss.semi_adv=0", "loss.semi_st=0"], "semi-supervised": []}
SEEDS = (0, 1, 2)
REAL_ADDED = 5  # real pairs that the second training gets; the others measure it
REAL_REPEAT = 20  # how often a pass goes over them, beside 200 drawn ones


def run(folder: Path, *words: str) -> Path:
    """Train on the demo's options with changes, unless the folder holds the last step already."""
    opt = load(SegOptions, [DEMO, f"run.dir={folder}", *words], DEFAULT_FILE)
    if not finished(opt):
        train(opt)
    return folder


def last_miou(folder: Path) -> float:
    """The last validation in a run's log."""
    return [line["miou"] for line in log_of(folder) if "miou" in line][-1]


def few_labels(output: Path) -> dict[str, list[float]]:
    scores = {name: [] for name in METHODS}
    for seed in SEEDS:
        for name, words in METHODS.items():
            folder = output / f"{name.replace(' ', '_')}_{seed}"
            scores[name].append(last_miou(run(folder, *FEW, f"run.seed={seed}", *words)))
    return scores


def trained(folder: Path) -> tuple[torch.nn.Module, SegOptions]:
    """A run's last averaged network in eval mode, and its options."""
    path = checkpoint.steps(folder)[-1]
    opt = load(SegOptions, [str(folder / "options.yaml")], DEFAULT_FILE)
    G = build.seg_generator(opt, download=False)
    checkpoint.load_network(G, checkpoint.load(path, "seg")["G_ema"], path)
    return G.eval(), opt


def real_miou(folder: Path, pairs: Path) -> dict[str, float]:
    """Metrics of a run on real pairs, at the run's size."""
    G, opt = trained(folder)
    pictures = InOrder(LabeledPictures(find_pairs(pairs), ANIME, opt.data, False), 8)
    return validate(G, pictures, ANIME.names)


def write_cases(folder: Path, output: Path, count: int = 6) -> None:
    """A sheet of the best (left) and worst cases (right), picture | label | prediction, by each picture's mIoU."""
    G, opt = trained(folder)
    _, val, _, _ = seg_data(opt)
    items = [(x[0], y[0]) for x, y in InOrder(val, 1)]
    scores = [validate(G, [(x[None], y[None])], ANIME.names)["miou"] for x, y in items]
    order = sorted(range(len(items)), key=scores.__getitem__)
    best, worst = (
        sample_rows(G, [items[i] for i in part], ANIME) for part in (order[: -count - 1 : -1], order[:count])
    )
    gap = np.full((opt.data.size[0], 24, 3), 255, np.uint8)
    Image.fromarray(contact_sheet([[*good, gap, *bad] for good, bad in zip(best, worst, strict=True)])).save(output)
    print(
        f"{output}: mIoU {scores[order[-1]]:.3f} to {scores[order[-count]]:.3f} left, "
        f"{scores[order[0]]:.3f} to {scores[order[count - 1]]:.3f} right"
    )


def real_pairs(output: Path, real: Path) -> dict[str, dict[str, float]]:
    files = sorted(real.glob("*.png"))
    if len(files) <= REAL_ADDED:
        raise UserError(
            f"--real {real}: {len(files)} PNG pairs; give more than {REAL_ADDED}, picture|label side by side"
        )
    folders = {}
    for name, part in (("added", files[:REAL_ADDED]), ("held", files[REAL_ADDED:]), ("all", files)):
        folders[name] = output / "real" / name
        folders[name].mkdir(parents=True, exist_ok=True)
        for file in part:
            shutil.copyfile(file, folders[name] / file.name)
    demo = output / "demo"
    added = run(output / "demo_real", f"data.extra={folders['added']}", f"data.extra_repeat={REAL_REPEAT}")
    return {
        f"demo, all {len(files)}": real_miou(demo, folders["all"]),
        f"demo, the other {len(files) - REAL_ADDED}": real_miou(demo, folders["held"]),
        f"with {REAL_ADDED} added, the other {len(files) - REAL_ADDED}": real_miou(added, folders["held"]),
        "demo, unseen drawn": {"miou": last_miou(demo)},
        f"with {REAL_ADDED} added, unseen drawn": {"miou": last_miou(added)},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/study"), help="folder of the trainings and results")
    parser.add_argument("--real", type=Path, metavar="DIR", help="real picture|label pairs in the anime classes")
    args = parser.parse_args()
    scores = few_labels(args.output)
    results = {"few_labels": scores}
    write_cases(run(args.output / "demo"), args.output / "cases.png")
    if args.real:
        results["real_pairs"] = real_pairs(args.output, args.real)
    (args.output / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print("\n| 16 labels | mIoU, mean | spread (standard deviation) | seeds |\n|---|---|---|---|")
    for name, values in scores.items():
        listed = ", ".join(f"{value:.3f}" for value in values)
        print(f"| {name} | {statistics.mean(values):.3f} | {statistics.stdev(values):.3f} | {listed} |")
    for name, metrics in results.get("real_pairs", {}).items():
        print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in metrics.items()))


if __name__ == "__main__":
    door(main)
