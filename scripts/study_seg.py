"""What the unlabelled pictures bring, and how far drawn characters carry to real ones: the README's seg tables.

    python scripts/study_seg.py [--output runs/study] [--real DIR]

1. Few labels: 16 labelled and 500 unlabelled drawn characters at 128x128, supervised only against semi-supervised,
   equal steps, three seeds; mIoU of the last step's averaged weights on 100 unseen drawn characters.
2. With --real (picture|label pairs in the anime classes): the demo's training, and the demo's training with the first
   five real pairs added, each measured on the real pairs.

The same command resumes: finished trainings are not done again. Writes OUTPUT/results.json and prints Markdown.
"""

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from data.files import find_pairs  # noqa: E402
from data.loader import in_order  # noqa: E402
from data.seg import LabeledPictures, palette_of  # noqa: E402
from engine import checkpoint  # noqa: E402
from engine.errors import UserError, door  # noqa: E402
from models import build  # noqa: E402
from options.load import load  # noqa: E402
from options.seg import DEFAULT_FILE, SegOptions  # noqa: E402
from train_seg import train, validate  # noqa: E402

DEMO = str(ROOT / "options/seg_demo.yaml")
FEW = """run.steps=1500 run.save_every=250 run.sample_every=0 run.eval_every=500 run.keep=1 run.keep_best=none
    data.drawn_unlabeled=500 data.limit=16 loss.semi_start=300""".split()  # noqa: SIM905
METHODS = {"supervised only": ["loss.adv=0", "loss.semi_adv=0", "loss.semi_st=0"], "semi-supervised": []}
SEEDS = (0, 1, 2)
REAL_ADDED = 5  # real pairs that the second training gets; the others measure it
REAL_REPEAT = 20  # how often a pass goes over them, beside 200 drawn ones


def run(folder: Path, *words: str) -> Path:
    """Train on the demo's options with changes, unless the folder holds the last step already."""
    opt = load(SegOptions, [DEMO, f"run.dir={folder}", *words], DEFAULT_FILE)
    done = checkpoint.steps(folder)
    if not (done and int(done[-1].stem.split("_")[1]) >= opt.run.steps):
        train(opt)
    return folder


def last_miou(folder: Path) -> float:
    """The last validation in a run's log."""
    return [line["miou"] for line in map(json.loads, (folder / "log.jsonl").open()) if "miou" in line][-1]


def few_labels(output: Path) -> dict[str, list[float]]:
    scores = {name: [] for name in METHODS}
    for seed in SEEDS:
        for name, words in METHODS.items():
            folder = output / f"{name.replace(' ', '_')}_{seed}"
            scores[name].append(last_miou(run(folder, *FEW, f"run.seed={seed}", *words)))
    return scores


def real_miou(folder: Path, pairs: Path) -> dict[str, float]:
    """Metrics of a run's last averaged weights on real pairs, at the run's size."""
    path = checkpoint.steps(folder)[-1]
    opt = load(SegOptions, [str(folder / "options.yaml")], DEFAULT_FILE)
    G = build.seg_generator(opt, download=False)
    checkpoint.load_network(G, checkpoint.load(path, "seg")["G_ema"], path)
    palette = palette_of(opt.data.classes)
    pictures = in_order(LabeledPictures(find_pairs(pairs), palette, opt.data, False), 8)
    return validate(G.eval(), pictures, palette.names)


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
    demo = run(output / "demo")
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
