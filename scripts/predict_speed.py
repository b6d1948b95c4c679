"""Time prediction from files to files: pictures per second, and which stage limits them.

    python scripts/predict_speed.py [--family pix2pix] [--set model.width=8 ...] [--weights W] [--input FOLDER]
        [--count 64] [--batch 8] [--workers N] [--device auto] [--precision bf16] [--compile] [--rounds 3] [--json FILE]

plain is the textbook loop: read a batch, run the network in fp32, write its pictures with Pillow's defaults. Then
predict.py's own functions without threads, with N threads, and with --precision and --compile if asked for. They take
turns in one process; the table gives the medians of `rounds` and ratios against plain. The rows below say what each
stage makes alone, reading and writing in N threads: the slowest limits the whole. The network is untrained and sees
drawn characters of its size, unless --weights and --input name others; a noisy picture takes longer to compress.
"""

import argparse
import contextlib
import importlib
import io
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

import predict
from data.sample import make_drawn_set
from engine import checkpoint, folder
from engine.device import choose_device
from engine.errors import UserError, door
from engine.files import require_file, whole_file
from engine.network import Item
from engine.threads import Threads, default_workers
from options.load import load, to_dict
from scripts.timing.machine import machine


def untrained(family: str, words: list[str], file: Path) -> Path:
    """A checkpoint of the family's network with these options as its initialisation leaves it."""
    opt = load(predict.FAMILIES[family].options, words, importlib.import_module(f"options.{family}").DEFAULT_FILE)
    torch.manual_seed(0)
    state = predict.FAMILIES[family].build(opt).state_dict()
    checkpoint.save(file, {"family": family, "step": 0, "options": to_dict(opt), "best": {}, "G_ema": state})
    return file


class Case:
    """A network with its pictures and files, as predict.py has them with these words."""

    def __init__(self, *words: object):
        self.args = predict.arguments([str(word) for word in words])
        network, opt, pictures = predict.load_network(self.args.weights, choose_device(self.args.device))
        if self.args.compile:
            network.compile()
        self.pictures = pictures(opt, self.args)
        self.network = predict.fitted_network(network, opt, self.pictures, self.args)
        suffixes = self.pictures.extra_suffixes
        self.jobs = folder.find_jobs(self.args.input, self.args.output, suffixes, self.args.limit)

    def predict(self, workers: int) -> None:
        report = folder.predict_folder(self.jobs, self.pictures, self.network, overwrite=False, workers=workers)
        if report.failed:
            raise UserError(report.failed[0])

    def plain(self) -> None:
        """The textbook loop; its batches are those of predict.py where all pictures have one size."""
        for i in range(0, len(self.jobs), self.network.batch):
            items = [self.item(job) for job in self.jobs[i : i + self.network.batch]]
            for item in self.network.maps(items):
                for suffix, output in self.outputs(item).items():
                    path = folder.beside(item.job.target, suffix)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    output.save(path)

    def item(self, job: folder.Job) -> Item:
        return self.network.item(job, self.pictures.read(job.source))

    def outputs(self, item: Item) -> dict:
        return self.pictures.outputs(item.picture, self.network.restored(item))

    def stages(self, workers: int) -> dict[str, Callable[[], object]]:
        """What each stage does for all pictures. What the later ones take in is made here."""
        items = list(map(self.item, self.jobs))
        made = list(self.network.maps(items))
        write = partial(folder._write, self.pictures, self.network)
        return {
            "reading alone": lambda: in_threads(self.item, self.jobs, workers),
            "network alone": lambda: list(self.network.maps(items)),
            "writing alone": lambda: in_threads(write, made, workers),
        }


def in_threads(work: Callable, items: list, workers: int) -> None:
    with Threads(workers) as threads:
        for _ in threads.in_order(work, items, window=len(items)):
            pass


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):  # notes and bars
        work()
    return time.perf_counter() - started


class Generation:
    """dcgan's pictures of noise, which has nothing to read, as predict.py makes them with these words."""

    def __init__(self, *words: object):
        self.args = predict.arguments([str(word) for word in words])
        self.network, self.opt, self.pictures = predict.load_network(self.args.weights, choose_device(self.args.device))
        if self.args.compile:
            self.network.compile()
        self.jobs = range(self.args.count)

    def predict(self, workers: int) -> None:
        args = argparse.Namespace(**vars(self.args) | {"workers": workers})
        predict.predict_latents(self.network, self.opt, self.pictures, args)


def measure(args: argparse.Namespace, scratch: Path) -> dict[str, float]:
    """Pictures per second of every row."""
    weights = args.weights or untrained(args.family, args.set, scratch / "untrained.pt")
    words = ["--weights", weights, "--output", scratch / "out", "--device", args.device]
    extra = [*(["--precision", args.precision] if args.precision != "fp32" else []), *["--compile"] * args.compile]
    if args.family == "dcgan":
        case_of = partial(Generation, *words, "--count", args.count)
    else:
        source = args.input or drawn(args.family, args.count, args.size, scratch / "drawn")
        case_of = partial(Case, *words, "--input", source, "--limit", args.count, "--batch", args.batch)
    case = case_of()
    rows = {} if args.family == "dcgan" else {"plain": case.plain}
    rows |= {"workers 0": lambda: case.predict(0), f"workers {args.workers}": lambda: case.predict(args.workers)}
    if extra:
        fast = case_of(*extra)
        rows[f"workers {args.workers} {' '.join(extra)}"] = lambda: fast.predict(args.workers)
    if args.family != "dcgan":
        rows |= case.stages(args.workers)
    found = {name: [] for name in rows}
    for turn in range(args.rounds + 1):
        for name, work in rows.items():
            shutil.rmtree(scratch / "out", ignore_errors=True)
            took = seconds(work)
            if turn:  # the first warms up
                found[name].append(len(case.jobs) / took)
    return {name: median(speeds) for name, speeds in found.items()}


def drawn(family: str, count: int, size: int, folder: Path) -> Path:
    """Pictures to predict from, or for spade labels."""
    labeled = count if family == "spade" else 0
    make_drawn_set(folder, labeled=labeled, unlabeled=count - labeled, val=0, size=size)
    return folder / ("train/labels" if labeled else "unlabeled")


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=tuple(predict.FAMILIES), default="pix2pix", help="of the untrained network")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="options of the untrained network")
    parser.add_argument("--weights", metavar="W", help="a run folder, a checkpoint file or a name instead")
    parser.add_argument("--input", type=Path, help="a folder of pictures (spade: labels) instead of drawn ones")
    parser.add_argument("--count", type=int, default=64, help="pictures")
    parser.add_argument("--size", type=int, default=256, help="of drawn pictures")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--workers", type=int, default=default_workers(), help="threads that read and write")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers")
    args = parser.parse_args(words)
    for name, least in {"count": 1, "size": 8, "batch": 1, "workers": 0, "rounds": 1}.items():
        if getattr(args, name) < least:
            parser.error(f"--{name} {getattr(args, name)}: expected a whole number of at least {least}")
    if args.json:
        require_file(args.json)
    return args


def main() -> None:
    args = arguments()
    where = machine(choose_device(args.device, "--device "))
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(args, Path(scratch))
    print(where)
    print(f"{'':36} {'pictures/s':>10} {'ratio':>7}")
    first = next(iter(rows.values()))
    for name, speed in rows.items():
        print(f"{name:36} {speed:10.1f} {speed / first:7.2f}")
    if args.json:
        with whole_file(args.json) as part:
            part.write_text(json.dumps({"machine": where, "pictures_per_s": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    door(main)
