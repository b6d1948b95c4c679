"""Time a training step of ours against plain PyTorch, in one run.

    python scripts/benchmark.py [--family seg pix2pix spade] [--rounds 3] [--steps 8] [--reference DIR] [--json FILE]

seg: the Chainer original's defaults (Caffe ResNet-101 generator, batch 1, 256x256, semi-supervised step on). Plain is
the textbook loop over our networks: eager fp32, D's step on a detached forward of its own, torch.optim.Adam as is.
pix2pix: U-Net-256, PatchGAN, lsgan, batch 1, 256x256, dropout, no averaged weights. Plain as above; with --reference, a
checkout of the authors' PyTorch program (pytorch-CycleGAN-and-pix2pix), its optimize_parameters() on random pictures.

spade: the Chainer original's defaults without VGG (width 64, batch 1, 256x256, two D steps with the squared-sum
penalty, feature matching).

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

FAMILIES = ("seg", "pix2pix", "spade")
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
    }
    file, *words = own[family].split()
    words += f"""run.dir={folder}/run run.epochs=none run.steps={steps + WARM_UP} run.precision={precision}
        run.log_every=1 run.sample_every=0 run.eval_every=0 data.drawn_val=1 data.workers=1""".split()
    cls = {"seg": "SegOptions", "pix2pix": "Pix2PixOptions", "spade": "SpadeOptions"}[family]
    return load(getattr(module, cls), [str(ROOT / f"options/{file}.yaml"), *words], module.DEFAULT_FILE)


def ours(family: str, folder: str, steps: int, precision: str) -> list[float]:
    """Seconds of each step of the train script, from its log."""
    import importlib

    importlib.import_module(f"train_{family}").train(options(family, folder, steps, precision))
    lines = [json.loads(line) for line in (Path(folder) / "run" / "log.jsonl").open()]
    return [1 / line["images_per_s"] for line in lines]


def plain_seg(folder: str, steps: int) -> list[float]:
    """Seconds of each step of a plain loop over random pictures."""
    import torch
    import torch.nn.functional as F

    from models import build

    opt = options("seg", folder, steps, "fp32")
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


def plain_pix2pix(folder: str, steps: int) -> list[float]:
    """Seconds of each step of a plain loop over random pictures."""
    import torch
    import torch.nn.functional as F

    from models import build

    opt = options("pix2pix", folder, steps, "fp32")
    G, D = build.pix2pix_generator(opt), build.pix2pix_discriminator(opt)
    G_opt, D_opt = (torch.optim.Adam(network.parameters(), 2e-4, (0.5, 0.999)) for network in (G, D))
    seconds = []
    for _ in range(steps + WARM_UP):
        x, y = (torch.rand(1, 3, 256, 256) * 2 - 1 for _ in "xy")
        start = time.perf_counter()
        fake = G(x)
        fake_logits, real_logits = D(torch.cat((x, fake.detach()), 1))[0][-1], D(torch.cat((x, y), 1))[0][-1]
        loss_D = 0.5 * (fake_logits.square().mean() + (real_logits - 1).square().mean())
        D_opt.zero_grad()
        loss_D.backward()
        D_opt.step()
        D.requires_grad_(False)
        loss_G = (D(torch.cat((x, fake), 1))[0][-1] - 1).square().mean() + 100 * F.l1_loss(fake, y)
        G_opt.zero_grad()
        loss_G.backward()
        G_opt.step()
        D.requires_grad_(True)
        seconds.append(time.perf_counter() - start)
    return seconds


def plain_spade(folder: str, steps: int) -> list[float]:
    """Seconds of each iteration of a plain loop over random labels and pictures."""
    import torch
    import torch.nn.functional as F

    from models import build

    opt = options("spade", folder, steps, "fp32")
    G, D = build.spade_generator(opt), build.spade_discriminator(opt)
    G_opt, D_opt = (
        torch.optim.Adam(G.parameters(), 5e-5, (0.0, 0.9)),
        torch.optim.Adam(D.parameters(), 2e-4, (0.0, 0.9)),
    )

    def batch() -> list:
        m = F.one_hot(torch.randint(0, 5, (1, 256, 256)), 5).permute(0, 3, 1, 2)[:, :4].float()
        return [m, torch.rand(1, 3, 256, 256) * 2 - 1, torch.rand(1, 3, 1, 1) * m[:, 2:3]]

    seconds = []
    for _ in range(steps + WARM_UP):
        batches = [batch() for _ in range(3)]
        start = time.perf_counter()
        for m, x, c in batches[:2]:
            fake = G(m, c).detach()
            x.requires_grad_()
            real_logits, fake_logits = D(torch.cat((m, x, c), 1))[0][-1], D(torch.cat((m, fake, c), 1))[0][-1]
            (slope,) = torch.autograd.grad(real_logits.mean(), x, create_graph=True)
            penalty = 10 * slope.sum() ** 2
            loss_D = 0.5 * (F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean() + penalty)
            D_opt.zero_grad()
            loss_D.backward()
            D_opt.step()
        m, x, c = batches[2]
        fake = G(m, c)
        (reals,), (fakes,) = D(torch.cat((m, x, c), 1)), D(torch.cat((m, fake, c), 1))
        matching = sum(F.l1_loss(f, r.detach()) for f, r in zip(fakes[:-1], reals[:-1], strict=True))
        loss_G = -fakes[-1].mean() + 2 * matching
        G_opt.zero_grad()
        loss_G.backward()
        G_opt.step()
        seconds.append(time.perf_counter() - start)
    return seconds


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
            seconds = {"seg": plain_seg, "pix2pix": plain_pix2pix, "spade": plain_spade}[family](folder, steps)
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
