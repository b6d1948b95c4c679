"""What is timed of a training: the options of each family, the train script's steps, their arithmetic, its loader."""

import importlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from options.load import load
from scripts.timing.machine import synchronise

ROOT = Path(__file__).resolve().parents[2]
CLASSES = {"seg": "SegOptions", "pix2pix": "Pix2PixOptions", "spade": "SpadeOptions", "dcgan": "DcganOptions"}
TIMED = {
    "seg": "seg_original loss.semi_start=0 data.drawn_unlabeled={pictures} data.drawn_labeled={pictures}",
    "pix2pix": "pix2pix ema.half_life=0 data.drawn_train={pictures}",
    "spade": "spade_original loss.perceptual=0 data.drawn_train={pictures}",
    "dcgan": "dcgan data.augment=none ema.half_life=0 data.drawn_train={pictures}",
}
LOADED = 64  # pictures whose loading is timed, at least


@dataclass(frozen=True)
class Window:
    """Steps between two looks at the clock, and how many such windows there are after the one that warms up."""

    steps: int
    count: int


def window_of(device: torch.device, steps: int) -> Window:
    """On the CPU two steps; elsewhere all, as a look waits for the device, and a training looks at log lines only."""
    size = min(2, steps) if device.type == "cpu" else steps
    return Window(size, -(-steps // size))


def options(family: str, folder: str, job: dict, *words: str) -> Any:
    """The options that are timed, on a few drawn pictures; `job` as scripts/timing/child.py takes it."""
    module = importlib.import_module(f"options.{family}")
    pictures = max(64 if family == "dcgan" else 8, job["batch"] or 0)
    file, *own = TIMED[family].format(pictures=pictures).split()
    own += f"run.dir={folder}/run run.epochs=none run.device={job['device']} data.workers=1".split()
    own += ["run.sample_every=0", "run.eval_every=0", "run.save_every=1000000"]
    own += [] if family == "dcgan" else ["data.drawn_val=1"]
    own += [f"data.batch={job['batch']}"] if job["batch"] else []
    words = [str(ROOT / f"options/{file}.yaml"), *own, *words]
    return load(getattr(module, CLASSES[family]), words, module.DEFAULT_FILE)


def train(opt: Any) -> None:
    importlib.import_module(f"train_{opt.family}").train(opt)


def seconds_of_training(opt: Any) -> Iterator[float]:
    """Seconds per step of each window of the train script, by its log, after the first."""
    train(opt)
    lines = [json.loads(line) for line in (Path(opt.run.dir) / "log.jsonl").open(encoding="utf-8")]
    for line in lines[1:]:
        yield opt.data.batch / line["images_per_s"]


def flops(family: str, folder: str, job: dict) -> float:
    """Multiplications and additions of matrix products and convolutions in a step, forward and backward.

    A lazy penalty counts in full in the step that takes it, its double backward too; the mean over a cycle of steps.
    """
    steps = getattr(options(family, folder, job).loss, "penalty_every", 1)
    opt = options(family, folder, job, f"run.steps={steps}")
    with FlopCounterMode(display=False) as counter:
        train(opt)
    return counter.get_total_flops() / steps


def loaded(family: str, folder: str, job: dict) -> float:
    """Pictures a second of the train loader alone, augmented, on the device; for seg the labelled ones."""
    opt, device = options(family, folder, job, *job["words"]), torch.device(job["device"])
    stream, count = batches_of(opt, device), max(4, -(-LOADED // opt.data.batch))
    next(stream)  # starts the workers
    synchronise(device)
    started = time.perf_counter()
    for _ in range(count):
        next(stream)
    synchronise(device)
    return count * opt.data.batch / (time.perf_counter() - started)


def batches_of(opt: Any, device: torch.device) -> Iterator:
    """The endless stream that the train script draws from."""
    from data.loader import batches

    data = opt.data
    if opt.family == "dcgan":
        from data.dcgan import dcgan_data, face_batches
        from engine.device import to_device

        faces, _ = dcgan_data(opt, device)
        pictures = face_batches(faces, data.batch, seed=0, mirror="mirror" in data.augment)
        return ((to_device(x, device), y) for x, y in pictures)
    source = getattr(importlib.import_module(f"data.{opt.family}"), f"{opt.family}_data")(opt, device)[0]
    return batches(source, data.batch, seed=0, workers=data.workers, device=device)
