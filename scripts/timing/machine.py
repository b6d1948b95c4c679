"""The machine that is timed on: its name, its matrix multiplications, the memory that a process has taken."""

import os
import platform
import sys
import time
from pathlib import Path

import torch

PRODUCTS = 5  # tries of a matrix multiplication, of which the fastest counts
SIDE = {"cpu": 2048, "cuda": 8192, "mps": 4096}  # of the matrices


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
    """Multiplications and additions a second, in 1e12, of large square matrices: fp32, on CUDA tf32, and bf16."""
    found = {}
    for name in ("fp32", "tf32", "bf16") if device.type == "cuda" else ("fp32", "bf16"):
        torch.set_float32_matmul_precision("high" if name == "tf32" else "highest")
        dtype = torch.bfloat16 if name == "bf16" else torch.float32
        side = SIDE[device.type]
        a, b = (torch.rand(side, side, dtype=dtype, device=device) for _ in "ab")
        found[name] = 2 * side**3 / min(_seconds(a, b, device) for _ in range(PRODUCTS)) / 1e12
    return found


def _seconds(a: torch.Tensor, b: torch.Tensor, device: torch.device) -> float:
    synchronise(device)
    started = time.perf_counter()
    a @ b
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
