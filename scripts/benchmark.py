"""Time a training step of ours against plain PyTorch, in one run.

    python scripts/benchmark.py [--family seg pix2pix spade dcgan] [--rounds 3] [--steps 8] [--json FILE]
        [--reference CHECKOUT]

seg: the Chainer original's defaults (Caffe ResNet-101 generator, batch 1, 256x256, semi-supervised step on). Plain is
the textbook loop of scripts/plain_loops.py over our networks.
pix2pix: U-Net-256, PatchGAN, lsgan, batch 1, 256x256, dropout, no averaged weights. Plain as above; with --reference, a
checkout of the authors' PyTorch program (pytorch-CycleGAN-and-pix2pix), its optimize_parameters() on random pictures.

spade: the Chainer original's defaults without VGG (width 64, batch 1, 256x256, two D steps with the squared-sum
penalty, feature matching).

dcgan: animeGAN's defaults (model 1, one extra layer in G, batch 64, 64x64), no averaged weights.

Ours is the train script itself with its loader and logs. Every variant runs in fresh processes, in turn, `rounds`
times; the table gives medians, ratios against the first row, and the peak memory above that after the imports.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

FAMILIES = ("seg", "pix2pix", "spade", "dcgan")
OURS = {"ours fp32": "fp32", "ours bf16": "bf16"}  # variant: run.precision
WARM_UP = 2


def options(family: str, folder: str, steps: int, precision: str):
    """The options that are timed: short runs on a few drawn pictures, a log line for every step."""
    import importlib

    from options.load import load

    module = importlib.import_module(f"options.{family}")
    own = {
        "seg": "seg_original data.drawn_labeled=8 data.drawn_unlabeled=8 loss.semi_start=0",
        "pix2pix": "pix2pix data.drawn_train=8 ema.half_life=0",
        "spade": "spade_original data.drawn_train=8 loss.perceptual=0",
        "dcgan": "dcgan data.drawn_train=64 data.augment=none ema.half_life=0",
    }
    file, *words = own[family].split()
    words += f"""run.dir={folder}/run run.epochs=none run.steps={steps + WARM_UP} run.precision={precision}
        run.log_every=1 run.sample_every=0 run.eval_every=0 data.workers=1""".split()
    words += [] if family == "dcgan" else ["data.drawn_val=1"]
    names = {"seg": "SegOptions", "pix2pix": "Pix2PixOptions", "spade": "SpadeOptions", "dcgan": "DcganOptions"}
    cls = names[family]
    return load(getattr(module, cls), [str(ROOT / f"options/{file}.yaml"), *words], module.DEFAULT_FILE)


def ours(family: str, folder: str, steps: int, precision: str) -> list[float]:
    """Seconds of each step of the train script, from its log."""
    import importlib

    opt = options(family, folder, steps, precision)
    importlib.import_module(f"train_{family}").train(opt)
    lines = [json.loads(line) for line in (Path(folder) / "run" / "log.jsonl").open()]
    return [opt.data.batch / line["images_per_s"] for line in lines]


def reference_pix2pix(checkout: str, steps: int) -> list[float]:
    """Seconds of each optimize_parameters() of the authors' program at the same settings."""
    sys.path.remove(str(ROOT))  # its packages have our packages' names
    sys.path.insert(0, checkout)
    import torch
    from models.pix2pix_model import Pix2PixModel

    words = dict(
        isTrain=True, gpu_ids=[], device=torch.device("cpu"), checkpoints_dir=tempfile.gettempdir(), name="benchmark",
        preprocess="none", input_nc=3, output_nc=3, ngf=64, ndf=64, netG="unet_256", netD="basic", n_layers_D=3,
        norm="batch", no_dropout=False, init_type="normal", init_gain=0.02, gan_mode="lsgan", lr=2e-4, beta1=0.5,
        lambda_L1=100.0, direction="AtoB",
    )  # fmt: skip
    model = Pix2PixModel(argparse.Namespace(**words))
    seconds = []
    for _ in range(steps + WARM_UP):
        pictures = {half: torch.rand(1, 3, 256, 256) * 2 - 1 for half in "AB"}
        start = time.perf_counter()
        model.set_input({**pictures, "A_paths": [], "B_paths": []})
        model.optimize_parameters()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_mb() -> float:
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def child(family: str, variant: str, steps: int, reference: str | None) -> None:
    """Run one variant and print its numbers as the last line."""
    import torch.utils.tensorboard  # noqa: F401

    if variant in OURS:
        __import__(f"train_{family}")
    imports = peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        if variant in OURS:
            seconds = ours(family, folder, steps, OURS[variant])
        elif variant == "reference":
            seconds = reference_pix2pix(reference, steps)
        else:
            plain = __import__("scripts.plain_loops", fromlist=[family])
            seconds = getattr(plain, family)(options(family, folder, steps, "fp32"), steps + WARM_UP)
    print(json.dumps({"seconds": seconds[WARM_UP:], "peak_mb": peak_mb() - imports}))


def measure(family: str, variant: str, args: argparse.Namespace) -> dict:
    command = [sys.executable, __file__, "--family", family, "--child", variant, "--steps", str(args.steps)]
    command += ["--reference", str(args.reference.resolve())] if args.reference else []
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{family}, {variant} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(family: str, args: argparse.Namespace) -> dict[str, dict]:
    """The table of one family: variant -> median seconds and peak memory."""
    variants = ["reference" if args.reference and family == "pix2pix" else "plain", *OURS]
    found = {name: [] for name in variants}
    for _ in range(args.rounds):
        for name in variants:
            found[name].append(measure(family, name, args))
    rows = {
        name: {
            "seconds": median(s for one in runs for s in one["seconds"]),
            "peak_mb": median(one["peak_mb"] for one in runs),
        }
        for name, runs in found.items()
    }
    first = rows[variants[0]]["seconds"]
    print(f"{family:12} {'s / step':>9} {'ratio':>8} {'peak MB above imports':>22}")
    for name, row in rows.items():
        print(f"{name:12} {row['seconds']:9.3f} {first / row['seconds']:8.2f} {row['peak_mb']:22.0f}")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", nargs="+", choices=FAMILIES, default=FAMILIES, help="which families (default: all)")
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes per variant")
    parser.add_argument("--steps", type=int, default=8, help="timed steps in a process")
    parser.add_argument("--reference", type=Path, metavar="CHECKOUT", help="pix2pix: time the authors' program instead")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.family[0], args.child, args.steps, args.reference and str(args.reference))
    if args.reference and not (args.reference / "models" / "pix2pix_model.py").is_file():
        parser.error(f"--reference {args.reference}: holds no models/pix2pix_model.py; name a checkout of the program")

    import torch

    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    print(machine)
    rows = {family: compare(family, args) for family in args.family}
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
