"""Start trainings on very many pictures: how long the first and a later start take, and whether memory grows.

    python scripts/try_scale.py --folder FOLDER [--family dcgan seg] [--count 200000] [--steps 2000]

Makes --count small pictures in FOLDER, once: for dcgan a folder of them, for seg half of them as picture|label pairs
and half without labels. Then each family's train script, with small networks, starts twice in a process of its own:
cold, with an empty cache, and warm, for --steps steps. A start lasts until the first step is done. Memory is that of
the process and its loader workers which no file backs (Pss_Anon of Linux's smaps_rollup, what is shared counted once):
pages of a mapped cache come and go as the system likes. The last lines say PASS or FAIL; one FAIL makes the exit code
1. The pictures have just been written, so the disk is not what is timed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from PIL import Image

from data.palette import ANIME
from engine.errors import UserError, door
from engine.files import require_writable
from engine.make import in_threads
from engine.threads import default_workers

ROOT = Path(__file__).resolve().parents[1]
WARM_LIMIT = 60  # seconds
GROWTH_LIMIT = 64  # MiB from the early steps to the late ones
EARLY, LATE = (0.25, 0.4), (0.85, 1.0)  # shares of the training
FEW = 5  # steps of the cold start
PACK = 1000  # pictures in a sub-folder
CELLS = 4  # coloured squares along a picture's side
SIDE = {"dcgan": 64, "seg": 32}
WORDS = {
    "dcgan": "model.g_width=8 model.d_width=8 data.size=64 data.batch=32 data.root={folder}/dcgan",
    "seg": "model.generator=unet model.width=4 model.d_width=4 data.size=32 data.batch=8 loss.semi_start=0 "
    "run.eval_every=0 run.keep_best=none data.root={folder}/seg/pairs data.unlabeled={folder}/seg/unlabeled",
}
COMMON = "run.device=cpu run.epochs=none run.sample_every=0 run.save_every=1000000 run.log_every=1 data.workers=2"


def picture(rng: np.random.Generator, side: int, labelled: bool) -> Image.Image:
    """Coloured squares [side, side, 3]; labelled: beside them as many in the colours of the classes."""
    cells = rng.integers(0, 256, (CELLS, CELLS, 3), np.uint8)
    if labelled:
        cells = np.hstack([cells, ANIME.table[rng.integers(0, len(ANIME), (CELLS, CELLS))].astype(np.uint8)])
    scale = side // CELLS
    return Image.fromarray(cells.repeat(scale, 0).repeat(scale, 1))


def write_pack(folder: Path, count: int, side: int, labelled: bool) -> None:
    """A sub-folder of `count` pictures, which appears when it is whole."""
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    rng = np.random.default_rng(int(folder.name))
    for i in range(count):
        picture(rng, side, labelled).save(unfinished / f"{i:03d}.png", compress_level=1)
    unfinished.rename(folder)


def make_pictures(folder: Path, count: int, side: int, labelled: bool) -> None:
    """Pictures in sub-folders; those that an earlier call has made stay."""
    sizes = [min(PACK, count - start) for start in range(0, count, PACK)]
    jobs = [(folder / f"{i:06d}", size, side, labelled) for i, size in enumerate(sizes)]
    missing = [job for job in jobs if not job[0].is_dir()]
    if missing:
        for _ in in_threads(write_pack, missing, default_workers(), f"making {folder}", "folder"):
            pass


def make_data(family: str, folder: Path, count: int) -> None:
    if family == "dcgan":
        make_pictures(folder / "dcgan", count, SIDE["dcgan"], False)
    else:
        make_pictures(folder / "seg" / "pairs", count - count // 2, SIDE["seg"], True)
        make_pictures(folder / "seg" / "unlabeled", count // 2, SIDE["seg"], False)


def family_of(pid: int) -> list[int]:
    """The process and all that it has started."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found = [pid]
    for one in found:
        found += children.get(one, [])
    return found


def memory_mb(pid: int) -> float:
    """Anonymous memory of a process and its children, in MiB, shared pages by their shares."""
    total = 0
    for one in family_of(pid):
        try:
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss_Anon:"))
    return total / 1024


def steps_done(log: Path) -> int:
    """The newest whole line of a log.jsonl; 0 before the first."""
    lines = log.read_bytes().splitlines(keepends=True)[-2:] if log.is_file() else []
    whole = [line for line in lines if line.endswith(b"\n")]
    return json.loads(whole[-1])["step"] if whole else 0


def watch(family: str, folder: Path, steps: int, every: float = 0.5) -> tuple[float, list[tuple[int, float]]]:
    """(seconds until the first step is done, (step, MiB) every so many seconds after it) of a training."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    words = f"{WORDS[family].format(folder=folder)} {COMMON} run.dir={run} run.steps={steps}".split()
    environment = os.environ | {"ATELIER_CACHE": str(folder / "cache")}
    start, began, seen = time.monotonic(), None, []
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, f"train_{family}.py", *words], cwd=ROOT, env=environment, stdout=output, stderr=output
        )
        try:
            while process.poll() is None:
                done = steps_done(run / "log.jsonl")
                if done and began is None:
                    began = time.monotonic() - start
                if done:
                    seen.append((done, memory_mb(process.pid)))
                time.sleep(every if began else 0.02)
        finally:
            process.kill()
            process.wait()
    if process.returncode:
        raise UserError(f"train_{family}.py failed:\n{(folder / 'output.txt').read_text()}")
    return began, seen


def level(seen: list[tuple[int, float]], steps: int, between: tuple[float, float]) -> float:
    """The median memory while the training was between these shares of its steps."""
    inside = [memory for step, memory in seen if between[0] * steps <= step <= between[1] * steps and memory]
    if not inside:
        raise UserError(f"--steps {steps}: too few to see memory over; use more")
    return median(inside)


def verdict(good: bool, text: str) -> bool:
    print(f"{'PASS' if good else 'FAIL'}  {text}", flush=True)
    return good


def try_family(family: str, folder: Path, count: int, steps: int) -> bool:
    """Make, start cold, start warm; whether all is well."""
    make_data(family, folder, count)
    shutil.rmtree(folder / "cache", ignore_errors=True)
    cold, _ = watch(family, folder, FEW)
    warm, seen = watch(family, folder, steps)
    early, late = (level(seen, steps, part) for part in (EARLY, LATE))
    print(f"{family}, {count:,} pictures: cold start {cold:.1f} s, {steps} steps at {late:.0f} MB")
    fast = verdict(warm < WARM_LIMIT, f"{family}: warm start {warm:.1f} s, wanted below {WARM_LIMIT} s")
    words = f"{family}: memory {early:.0f} MB early, {late:.0f} MB late, wanted at most {GROWTH_LIMIT} MB more"
    return verdict(late - early <= GROWTH_LIMIT, words) and fast


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the pictures, their cache and the runs go")
    parser.add_argument("--family", nargs="+", choices=tuple(WORDS), default=tuple(WORDS))
    parser.add_argument("--count", type=int, default=200_000, help="pictures (default: 200000)")
    parser.add_argument("--steps", type=int, default=2000, help="of the warm start")
    args = parser.parse_args()
    for name, least in {"count": 40, "steps": 10}.items():
        if getattr(args, name) < least:
            parser.error(f"--{name} {getattr(args, name)}: expected a whole number of at least {least}")
    if not Path("/proc/self/smaps_rollup").exists():
        raise UserError("memory is read from Linux's /proc/PID/smaps_rollup, which this system has not")
    require_writable(args.folder)
    good = list(map(partial(try_family, folder=args.folder.resolve(), count=args.count, steps=args.steps), args.family))
    raise SystemExit(0 if all(good) else 1)


if __name__ == "__main__":
    door(main)
