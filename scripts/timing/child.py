"""One measurement in a fresh process: python -m scripts.timing.child JOB, a JSON object; prints the result as JSON.

JOB: {"what": step | flops | loader | predict | ceilings, "family", "row", "device", "batch" (null: the family's),
"steps", "words" (options of the train script), "count", "reference"}
"""

import importlib
import json
import sys
import tempfile
from pathlib import Path

import torch

from engine.errors import door


def step(family: str, folder: str, job: dict) -> dict:
    """Seconds per step of each window, and the peak memory above that after the imports, in MiB."""
    import torch.utils.tensorboard  # noqa: F401 (the train scripts' logs take it)

    from scripts.timing import plain, reference, steps
    from scripts.timing.machine import peak_mb, textbook_fp32

    device = torch.device(job["device"])
    window = steps.window_of(device, job["steps"])
    ours = job["words"] is not None
    if ours:
        importlib.import_module(f"train_{family}")
    else:
        textbook_fp32()
    imports = peak_mb(device)
    run = f"run.log_every={window.steps} run.steps={window.steps * (1 + window.count)}".split()
    opt = steps.options(family, folder, job, *run, *(job["words"] or ()))
    if ours:
        seconds = list(steps.seconds_of_training(opt))
    else:
        if job["reference"]:
            loop = reference.pix2pix(job["reference"], opt.data.batch, device)
        else:
            loop = plain.LOOPS[family](opt, device)
        seconds = list(plain.timed(loop, device, window.steps, window.count))
    return {"seconds": seconds, "peak_mb": peak_mb(device) - imports}


def flops(family: str, folder: str, job: dict) -> dict:
    from scripts.timing import steps

    opt = steps.options(family, folder, job)
    return {"flops": steps.flops(family, folder, job), "batch": opt.data.batch, "size": list(opt.data.size)}


def loader(family: str, folder: str, job: dict) -> dict:
    from scripts.timing import steps

    return {"pictures_per_s": steps.loaded(family, folder, job)}


def predict(family: str, folder: str, job: dict) -> dict:
    from scripts import predict_speed

    words = ["--family", family, "--device", job["device"], "--count", job["count"], "--precision", "bf16"]
    args = predict_speed.arguments([str(word) for word in [*words, "--rounds", 1]])
    return {"pictures_per_s": predict_speed.measure(args, Path(folder))}


def ceilings(family: None, folder: str, job: dict) -> dict:
    from scripts.timing import machine

    device = torch.device(job["device"])
    return {"tflops": machine.ceilings(device), "machine": machine.machine(device)}


MEASUREMENTS = {"step": step, "flops": flops, "loader": loader, "predict": predict, "ceilings": ceilings}


def main() -> None:
    job = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        found = MEASUREMENTS[job["what"]](job.get("family"), folder, job)
    print(json.dumps(found))


if __name__ == "__main__":
    door(main)
