"""What unlabelled pictures bring when labels are few, by each semi.method: the tables of docs/results.md.

    python scripts/study_few_labels.py [--part drawn] [--output runs/few_labels]
    python scripts/study_few_labels.py [--part camvid] --camvid DIR

drawn: 8 and 32 labelled and 500 unlabelled characters at 64x64, four methods, three seeds, of the characters and of the
training alike; the least probability of a pseudo-label is 0.8, the better of 0.8 and 0.95 for UniMatch after 600 steps
of the first seed. camvid: an eighth, a quarter and all of the labels at 240x180, all training pictures as unlabelled
ones, plain supervision against UniMatch, one seed. Equal steps, networks and weak augmentation for all methods of a
part; mIoU of the averaged weights after the last step on the validation pictures (100 drawn, CamVid's val).

The same command resumes, and several at once share the trainings: what another one trains is left to it. Writes
OUTPUT/results.json and prints Markdown; OUTPUT/PART.png shows what each method sees with the fewest labels.
"""

import argparse
import shutil
import statistics
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from PIL import Image

from data.files import training_samples
from data.sample import make_drawn_set
from data.seg import seg_data
from data.seg_io import sample_rows
from engine.errors import UserError, door
from engine.files import require_writable, whole_file
from engine.lock import locked
from engine.logs import contact_sheet
from models.layers import predicting
from options.load import load
from options.seg import DEFAULT_FILE, SegOptions
from predict import load_network
from scripts.studies.figures import caption
from scripts.studies.trainings import add_results, cpu_minutes, finished, log_of, train_unless_taken
from train_seg import train

METHODS = {"drawn": ("none", "adversarial", "fixmatch", "unimatch"), "camvid": ("none", "unimatch")}
METHOD = {
    "none": "semi.method=none",
    "adversarial": "semi.method=adversarial",
    "fixmatch": "semi.method=fixmatch semi.threshold=0.8",
    "unimatch": "semi.method=unimatch semi.threshold=0.8",
}
LABELS = {"drawn": ("8", "32"), "camvid": ("1/8", "1/4", "all")}
SEEDS = {"drawn": (0, 1, 2), "camvid": (0,)}
SMALL = """run.precision=bf16 run.sample_every=0 run.save_every=250 run.keep=1 run.keep_best=none run.log_every=50
    model.generator=unet model.width=16 model.d_width=16 model.dropout=0 model.conv_norm=none
    optim.g_lr=1e-3 ema.half_life=1000 data.workers=0 loss.gan=bce"""
DRAWN = dict(labeled=32, unlabeled=500, val=100, size=64)
SHOWN = 4  # rows of the sheet
STEPS = {"drawn": 1500, "camvid": 2000}
WORDS = {
    "drawn": "data.size=64 data.batch=8 data.augment=mirror,gamma,color,scale loss.semi_start=0",
    "camvid": """data.size=180,240 data.batch=4 data.augment=mirror,color,scale,crop data.ignore=11
        data.classes=sky,building,pole,road,pavement,tree,sign_symbol,fence,car,pedestrian,bicyclist
        loss.semi_start=0""",
}


class Training(NamedTuple):
    """One of the study's trainings: its options, and where it stands in the tables."""

    part: str
    labels: str
    method: str
    seed: int
    opt: SegOptions


def drawn_words(output: Path, labels: str, seed: int) -> list[str]:
    """The data of a training on drawn characters, made on first use; every seed has characters of its own."""
    root = output / f"drawn_{seed}"
    with locked(root):
        make_drawn_set(root, **DRAWN, seed=seed)
    return [f"data.root={root}", f"data.unlabeled={root / 'unlabeled'}", f"data.limit={labels}"]


def camvid_words(output: Path, labels: str, camvid: Path) -> list[str]:
    """The data of a training on CamVid; a share of the labels is every so manyth picture, as it is made of videos."""
    root, every = camvid / "train", 1 if labels == "all" else int(labels.split("/")[1])
    if every > 1:
        root = output / f"camvid_{every}"
        with locked(root):
            if not root.exists():
                copy_every(camvid / "train", every, root)
    return [f"data.root={root}", f"data.val={camvid / 'val'}", f"data.unlabeled={camvid / 'train' / 'images'}"]


def require_camvid(camvid: Path, part: str | None) -> None:
    """Raises a UserError if --camvid has no effect, or its folder another layout than the study copies."""
    if part == "drawn":
        raise UserError(f"--camvid {camvid}: has no effect with --part drawn; leave it out", 2)
    for name in ("train/images", "train/labels", "val"):
        if not (camvid / name).is_dir():
            raise UserError(f"--camvid {camvid}: has no {name}/; name a folder with train/ and val/ in that layout", 2)


def copy_every(source: Path, every: int, target: Path) -> None:
    """Every so manyth picture and label of a set, by name, as a set of its own."""
    unfinished = target.with_name(target.name + ".unfinished")
    for kind in ("images", "labels"):
        (unfinished / kind).mkdir(parents=True, exist_ok=True)
    for sample in training_samples(source)[::every]:
        for kind, file in (("images", sample.image), ("labels", sample.label)):
            shutil.copyfile(file, unfinished / kind / file.name)
    unfinished.rename(target)


def plan(part: str, output: Path, camvid: Path | None) -> Iterator[Training]:
    """The trainings of a part; the options of its methods differ in METHOD alone."""
    for seed, labels, method in product(SEEDS[part], LABELS[part], METHODS[part]):
        data = drawn_words(output, labels, seed) if part == "drawn" else camvid_words(output, labels, camvid)
        folder = output / f"{part}-{labels.replace('/', '_')}-{method}-{seed}"
        steps = STEPS[part]
        own = [f"run.dir={folder}", f"run.seed={seed}", f"run.steps={steps}", f"run.eval_every={steps}"]
        words = [*SMALL.split(), *WORDS[part].split(), *data, *own, *METHOD[method].split()]
        yield Training(part, labels, method, seed, load(SegOptions, words, DEFAULT_FILE))


def score(opt: SegOptions) -> float | None:
    """mIoU after the last step, None before."""
    found = [line["miou"] for line in log_of(Path(opt.run.dir)) if "miou" in line and line["step"] == opt.run.steps]
    return found[-1] if found else None


def results_of(trainings: list[Training]) -> dict:
    """miou and cpu_minutes of all seeds by part, share of labels and method; a mIoU is None where there is none yet."""
    results = {}
    for t in trainings:
        cells = results.setdefault(t.part, {}).setdefault(t.labels, {})
        cell = cells.setdefault(t.method, {"miou": [], "cpu_minutes": []})
        cell["miou"].append(score(t.opt))
        cell["cpu_minutes"].append(round(cpu_minutes(Path(t.opt.run.dir)), 2))
    return results


def print_table(part: str, rows: dict[str, dict]) -> None:
    """Markdown: a row for each share of labels, a column for each method."""
    print(f"\n| {part}: labels | " + " | ".join(METHODS[part]) + " |\n|" + "---|" * (1 + len(METHODS[part])))
    for labels, cells in rows.items():
        plain = cells["none"]["miou"]
        print(f"| {labels} | " + " | ".join(shown(cell["miou"], plain) for cell in cells.values()) + " |")
    took = [[m for cells in rows.values() for m in cells[method]["cpu_minutes"]] for method in METHODS[part]]
    print("| CPU minutes a training | " + " | ".join(f"{statistics.mean(found):.1f}" for found in took) + " |")


def shown(scores: list[float | None], plain: list[float | None]) -> str:
    """Mean, standard deviation and gain over plain supervision of the same seeds."""
    if None in (*scores, *plain):
        return f"{len(scores) - scores.count(None)} of {len(scores)} done"
    spread = f" ± {statistics.stdev(scores):.3f}" if len(scores) > 1 else ""
    gain = statistics.mean(scores) - statistics.mean(plain)
    return f"{statistics.mean(scores):.3f}{spread}" + (f" ({gain:+.3f})" if scores is not plain else "")


def write_sheet(trainings: list[Training], file: Path) -> None:
    """What the methods see in the first validation pictures: picture, label, a prediction by each.

    trainings: those of one share of the labels and one seed, all ended.
    """
    columns = []
    for t in trainings:
        G, opt, _ = load_network(t.opt.run.dir, torch.device("cpu"))
        _, val, _, palette = seg_data(opt)
        with predicting(G, opt.sample.norm_stats) as G_mean:
            columns.append(sample_rows(G_mean, [(x, y) for _, x, y in val.first(SHOWN)], palette))
    rows = [[*same[0][:2], *(row[2] for row in same)] for same in zip(*columns, strict=True)]
    head = [caption(text, rows[0][0].shape[1], 16) for text in ("picture", "label", *(t.method for t in trainings))]
    with whole_file(file) as part:
        Image.fromarray(contact_sheet([head, *rows])).save(part, format="png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=tuple(METHODS), help="only this part")
    parser.add_argument("--camvid", type=Path, metavar="DIR", help="CamVid: train/ and val/ with images/ and labels/")
    parser.add_argument("--output", type=Path, default=Path("runs/few_labels"), help="trainings and results")
    args = parser.parse_args()
    if args.part == "camvid" and not args.camvid:
        raise UserError("--part camvid: where is it? give --camvid DIR", 2)
    if args.camvid:
        require_camvid(args.camvid, args.part)
    require_writable(args.output)
    parts = [args.part] if args.part else ["drawn", "camvid"] if args.camvid else ["drawn"]
    trainings = [t for part in parts for t in plan(part, args.output, args.camvid)]
    for training in trainings:
        train_unless_taken(train, training.opt)
    results = results_of(trainings)
    for part, rows in results.items():
        print_table(part, rows)
        fewest = [t for t in trainings if (t.part, t.labels, t.seed) == (part, LABELS[part][0], SEEDS[part][0])]
        if all(finished(t.opt) for t in fewest):
            write_sheet(fewest, args.output / f"{part}.png")
    add_results(args.output / "results.json", results)  # of a part that this command leaves out the numbers stay


if __name__ == "__main__":
    door(main)
