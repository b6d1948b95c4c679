"""The machine that is timed on: its name, how fast it multiplies, the memory that a process has taken."""

import os
import platform
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F

TRIES = 5  # of a product, of which the fastest counts
SIDE = {"cpu": 2048, "cuda": 8192, "mps": 4096}  # of the matrices
PICTURES = {"cpu": 4, "cuda": 256, "mps": 32}  # [N, 256, 64, 64], that are convolved


def machine(device: torch.device) -> str:
    """One line: device, processor, cores and torch."""
    processor = f"{_processor()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads"
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.type == "cuda" else ""
    return f"{gpu}{processor}, torch {torch.__version__}"


def _processor() -> str:
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8", errors="replace").splitlines() if about.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def textbook_fp32() -> None:
    """fp32 that is fp32, also on CUDA, where convolutions otherwise take TF32."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def ceilings(device: torch.device) -> dict[str, float]:
    """Multiplications and additions a second, in 1e12: fp32, on CUDA tf32, and bf16.

    Of a product of large square matrices or of a 3x3 convolution, whichever is faster: on the CPU they are of two
    libraries, and on an AMD processor the convolution in fp32 was twice as fast.
    """
    found = {}
    for name in ("fp32", "tf32", "bf16") if device.type == "cuda" else ("fp32", "bf16"):
        torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = name == "tf32"
        made = partial(torch.rand, dtype=torch.bfloat16 if name == "bf16" else torch.float32, device=device)
        side, count = SIDE[device.type], PICTURES[device.type]
        a, b, w = made(side, side), made(side, side), made(256, 256, 3, 3)
        x = made(count, 256, 64, 64).contiguous(memory_format=torch.channels_last)
        products = {2 * side**3: partial(torch.matmul, a, b)}
        products[2 * count * 64**2 * 256**2 * 9] = partial(F.conv2d, x, w, padding=1)
        found[name] = (
            max(work / min(_seconds(run, device) for _ in range(TRIES)) for work, run in products.items()) / 1e12
        )
    return found


def _seconds(run: Callable[[], torch.Tensor], device: torch.device) -> float:
    synchronise(device)
    started = time.perf_counter()
    run()
    synchronise(device)
    return time.perf_counter() - started


def peak_mb(device: torch.device) -> float:
    """The most memory that this process has taken so far, in MiB: on CUDA the GPU's, else its own; nan on Windows."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:
        return float("nan")
    unit = 1 if sys.platform == "darwin" else 1024  # bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
