"""Time a training step of ours against a plain PyTorch step of the same networks, in one run.

    python scripts/benchmark.py [--rounds 3] [--steps 8] [--json FILE]

Seg at the Chainer original's defaults (Caffe ResNet-101 generator, batch 1, 256x256, semi-supervised step on). Ours is
train_seg.py itself with its loader and logs. Plain is the textbook loop: eager fp32, D's step on a detached forward of
its own, torch.optim.Adam as it comes. Every variant runs in fresh processes, in turn, `rounds` times; the table gives
medians, ratios against plain, and the peak memory above that after the imports.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

VARIANTS = {"plain fp32": None, "ours fp32": "fp32", "ours bf16": "bf16"}
WARM_UP = 2


def options(folder: str, steps: int, precision: str):
    from options.load import load
    from options.seg import DEFAULT_FILE, SegOptions

    words = f"""run.dir={folder}/run run.epochs=none run.steps={steps + WARM_UP} run.precision={precision}
        run.log_every=1 run.sample_every=0 run.eval_every=0 data.drawn_labeled=8 data.drawn_unlabeled=8 data.drawn_val=1
        data.workers=1 loss.semi_start=0"""
    return load(SegOptions, [str(ROOT / "options/seg_original.yaml"), *words.split()], DEFAULT_FILE)


def ours(folder: str, steps: int, precision: str) -> list[float]:
    """Seconds of each step of train_seg.py, from its log."""
    from train_seg import train

    train(options(folder, steps, precision))
    lines = [json.loads(line) for line in (Path(folder) / "run" / "log.jsonl").open()]
    return [1 / line["images_per_s"] for line in lines]


def plain(folder: str, steps: int) -> list[float]:
    """Seconds of each step of a plain PyTorch loop over random pictures."""
    import torch
    import torch.nn.functional as F

    from models import build

    opt = options(folder, steps, "fp32")
    G, D = build.seg_generator(opt), build.seg_discriminator(opt)
    G_opt = torch.optim.Adam(G.parameters(), 2.5e-4, (0.9, 0.99), weight_decay=1e-4)
    D_opt = torch.optim.Adam(D.parameters(), 1e-4, (0.9, 0.99))
    seconds = []
    for _ in range(steps + WARM_UP):
        x, u, y = torch.rand(1, 3, 256, 256), torch.rand(1, 3, 256, 256), torch.randint(0, 5, (1, 256, 256))
        start = time.perf_counter()
        real = F.one_hot(y, 5).permute(0, 3, 1, 2).float()
        p = G(x).softmax(1)
        loss_G = -(real * (p + 1e-12).log()).mean() - 0.01 * D(p).mean()
        G_opt.zero_grad()
        loss_G.backward()
        G_opt.step()
        loss_D = 0.5 * (F.relu(1 - D(real)).mean() + F.relu(1 + D(p.detach())).mean())
        D_opt.zero_grad()
        loss_D.backward()
        D_opt.step()
        p = G(u).softmax(1)
        confidence = D(p)
        target = F.one_hot(p.argmax(1), 5).permute(0, 3, 1, 2) * (confidence.sigmoid() > 0.2)
        semi = -0.001 * confidence.mean() - 0.1 * (target.detach() * (p + 1e-12).log()).mean()
        G_opt.zero_grad()
        semi.backward()
        G_opt.step()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def child(variant: str, steps: int) -> None:
    """Run one variant and print its numbers as the last line."""
    import torch.utils.tensorboard  # noqa: F401

    import train_seg  # noqa: F401

    imports = peak_mb()
    with tempfile.TemporaryDirectory() as folder:
        precision = VARIANTS[variant]
        seconds = plain(folder, steps) if precision is None else ours(folder, steps, precision)
    print(json.dumps({"seconds": seconds[WARM_UP:], "peak_mb": peak_mb() - imports}))


def measure(variant: str, steps: int) -> dict:
    command = [sys.executable, __file__, "--child", variant, "--steps", str(steps)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{variant} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="fresh processes per variant")
    parser.add_argument("--steps", type=int, default=8, help="timed steps in a process")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the numbers")
    parser.add_argument("--child", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child, args.steps)

    import torch

    found = {name: [] for name in VARIANTS}
    for _ in range(args.rounds):
        for name in VARIANTS:
            found[name].append(measure(name, args.steps))
    rows = {
        name: {
            "seconds": median(s for one in runs for s in one["seconds"]),
            "peak_mb": median(one["peak_mb"] for one in runs),
        }
        for name, runs in found.items()
    }
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}"
    print(f"seg, one iteration of the original's defaults, {machine}")
    print(f"{'variant':12} {'s / step':>9} {'x plain':>8} {'peak MB above imports':>22}")
    for name, row in rows.items():
        ratio = rows["plain fp32"]["seconds"] / row["seconds"]
        print(f"{name:12} {row['seconds']:9.3f} {ratio:8.2f} {row['peak_mb']:22.0f}")
    if args.json:
        args.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
