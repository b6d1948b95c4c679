"""Time training steps of ours against plain PyTorch, then prediction and the loaders, in one run.

    python scripts/benchmark.py [--family seg pix2pix spade dcgan] [--device auto] [--batch N] [--compile]
        [--only step predict loader] [--rounds 3] [--steps N] [--json FILE] [--reference CHECKOUT]

seg: the Chainer original's defaults (Caffe ResNet-101 generator, batch 1, 256x256, semi-supervised step on).
pix2pix: U-Net-256, PatchGAN, lsgan, batch 1, 256x256, dropout, no averaged weights; with --reference, a checkout of the
authors' PyTorch program (pytorch-CycleGAN-and-pix2pix), that is its first row.
spade: the Chainer original's defaults without VGG (width 64, batch 1, 256x256, two D steps with the squared-sum
penalty, feature matching).
dcgan: animeGAN's defaults (model 1, one extra layer in G, batch 64, 64x64), no averaged weights.
--batch sets another batch for all rows.

plain is the textbook loop of scripts/timing/plain.py over our networks: eager, fp32 without TF32, contiguous, on random
pictures that are made before. ours is the train script itself with its loader and logs: fp32 (on CUDA TF32 and channels
last), bf16, then both with run.compile, on CUDA also with CUDA graphs. On the CPU compiled rows take minutes to build:
only with --compile.

Every row runs in fresh processes, in turn, `rounds` times; the tables give medians and ratios against the first row.
The clock is read after windows of two steps, on a GPU after all; a first window warms up. Peak MB: on CUDA the GPU's,
else the process's above its peak after the imports. TFLOP: matrix products and convolutions of our step, forward and
backward, counted once, a lazy penalty in the steps that take it. The ceiling is the best of large matrix products and
convolutions of the row's type, in the same run.
"""

import argparse
import json
import shlex
import subprocess
import sys
from datetime import date
from functools import partial
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from engine.device import choose_device  # noqa: E402
from engine.errors import UserError, door  # noqa: E402
from engine.files import require_file, whole_file  # noqa: E402
from engine.threads import default_workers  # noqa: E402
from scripts.timing import tables  # noqa: E402

FAMILIES = ("seg", "pix2pix", "spade", "dcgan")
PARTS = ("step", "predict", "loader")
STEPS = {"cpu": 8, "cuda": 100, "mps": 20}  # timed in a process
COUNT = {"cpu": 16, "cuda": 512, "mps": 64}  # pictures that are predicted
PRECISIONS = ("fp32", "bf16")


def rows(device: str, compiled: bool) -> dict[str, list[str]]:
    """The rows after the first: run's words of the train script."""
    modes = {"": "false"}
    if compiled or device == "cuda":
        modes |= {" compiled": "true"}
    if device == "cuda":
        modes |= {" graphs": "reduce-overhead"}
    return {
        f"ours {precision}{name}": [f"run.precision={precision}", f"run.compile={mode}"]
        for name, mode in modes.items()
        for precision in PRECISIONS
    }


def measure(args: argparse.Namespace, what: str, **job: object) -> dict:
    """What scripts/timing/child.py finds, in a fresh process."""
    reference = str(args.reference.resolve()) if args.reference and job.get("family") == "pix2pix" else None
    job = {"what": what, "device": args.device, "batch": args.batch, "steps": args.steps, "reference": reference, **job}
    command = [sys.executable, "-m", "scripts.timing.child", json.dumps(job)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise UserError(
            f"{what} {job.get('family', '')} {job.get('words') or ''} failed:\n{done.stderr or done.stdout}"
        )
    return json.loads(done.stdout.splitlines()[-1])


def compare(family: str, args: argparse.Namespace) -> dict:
    """The rows of one family: median seconds of a step and peak memory, by name, and what a step is."""
    found = measure(args, "flops", family=family)  # first: it also draws the pictures
    first = "reference" if args.reference and family == "pix2pix" else "plain"
    jobs = {first: None, **rows(args.device, args.compile)}
    runs = {name: [] for name in jobs}
    for _ in range(args.rounds):
        for name, words in jobs.items():
            runs[name].append(measure(args, "step", family=family, words=words))
    found["rows"] = {
        name: {
            "seconds": median(s for one in own for s in one["seconds"]),
            "peak_mb": median(one["peak_mb"] for one in own),
            "ceiling": ceiling_of(name, args.device),
        }
        for name, own in runs.items()
    }
    return found


def ceiling_of(row: str, device: str) -> str:
    """The type whose matrix products limit a row."""
    if "bf16" in row:
        return "bf16"
    return "tf32" if device == "cuda" and row.startswith("ours") else "fp32"


def load(family: str, args: argparse.Namespace) -> dict[str, float]:
    """Pictures a second of the train loader, cached and decoded each time; dcgan's are always cached."""
    workers = [f"data.workers={default_workers()}"]
    ways = {"cached": ["data.workers=0"]}
    if family != "dcgan":
        ways |= {f"cached, {workers[0]}": workers, f"decoded, {workers[0]}": [*workers, "data.cache=none"]}
    return {name: measure(args, "loader", family=family, words=words)["pictures_per_s"] for name, words in ways.items()}


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=FAMILIES, help="which families (default: all)")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="which parts (default: all)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"))
    parser.add_argument("--batch", type=int, metavar="N", help="of every row (default: each family's own)")
    parser.add_argument("--compile", action="store_true", help="on the CPU, too, time compiled rows")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes for each row")
    parser.add_argument("--steps", type=int, help="timed steps in a process (default: 8, on a GPU more)")
    parser.add_argument("--reference", type=Path, metavar="CHECKOUT", help="pix2pix: time the authors' program instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers")
    args = parser.parse_args(words)
    for name in ("batch", "rounds", "steps"):
        if (value := getattr(args, name)) is not None and value < 1:
            parser.error(f"--{name} {value}: expected a whole number of at least 1")
    if args.reference and not (args.reference / "models" / "pix2pix_model.py").is_file():
        parser.error(f"--reference {args.reference}: holds no models/pix2pix_model.py; name a checkout of the program")
    if args.json:
        require_file(args.json)
    args.device = choose_device(args.device, "--device ").type
    args.steps = args.steps or STEPS[args.device]
    return args


def main() -> None:
    args = arguments()
    show = partial(print, flush=True)
    top = measure(args, "ceilings")
    command = shlex.join(["python", "scripts/benchmark.py", *sys.argv[1:]])
    found = {"machine": top["machine"], "date": date.today().isoformat(), "command": command, "ceilings": top["tflops"]}
    peaks = ", ".join(f"{name} {value:.2f}" for name, value in top["tflops"].items())
    show(f"`{command}`, {found['date']}: {top['machine']}; large products: {peaks} TFLOP/s\n")
    if "step" in args.only:
        found["step"] = {}
        for family in args.family:
            found["step"][family] = compare(family, args)
            show(tables.steps(family, found["step"][family], top["tflops"]) + "\n")
        show(tables.ratios(found["step"]) + "\n")
    if "predict" in args.only:
        count = COUNT[args.device]
        found["predict"] = {
            family: measure(args, "predict", family=family, count=count)["pictures_per_s"] for family in args.family
        }
        show(tables.speeds("Prediction from files to files, pictures a second", found["predict"]) + "\n")
    if "loader" in args.only:
        found["loader"] = {family: load(family, args) for family in args.family}
        show(tables.speeds("The train loader alone, pictures a second", found["loader"]) + "\n")
    if args.json:
        with whole_file(args.json) as part:
            part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    door(main)
