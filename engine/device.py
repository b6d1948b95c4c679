"""Where and how precisely the networks run."""

import contextlib
import ctypes
import platform
import sys
from collections.abc import Callable

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from engine.errors import UserError


def choose_device(name: str, option: str = "run.device=") -> torch.device:
    """The torch device of that name; auto takes cuda, else mps, else cpu. `option` is what an error calls it."""
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if has[device])
    if not has[name]:
        raise UserError(f"{option}{name}: this machine's torch has none; use {option}auto or {option}cpu", 2)
    return torch.device(name)


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """bf16 autocast, or nothing for fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def tune(device: torch.device, sizes_vary: bool) -> None:
    """On CUDA: fp32 matrix products in TF32, as convolutions are by torch's default, and each convolution by the
    algorithm that proves fastest; not where sizes vary, as it is sought anew for each."""
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        torch.backends.cudnn.benchmark = not sizes_vary


class Bf16Convolutions(TorchDispatchMode):
    """Convolutions in here take fp32 tensors as bf16 and give fp32 back: autocast for a backward pass.

    A gradient penalty's value is a small rest of large numbers and wants fp32; the gradient of that value does not.
    For SPADE's discriminator at 256x256 it differs from fp64's by 1 %, and by 96 % if the value, too, is of bf16.
    """

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func not in (torch.ops.aten.convolution.default, torch.ops.aten.convolution_backward.default):
            return func(*args, **(kwargs or {}))
        low = [a.bfloat16() if isinstance(a, torch.Tensor) and a.dtype == torch.float32 else a for a in args]
        out = func(*low, **(kwargs or {}))
        return (
            out.float()
            if isinstance(out, torch.Tensor)
            else tuple(part if part is None else part.float() for part in out)
        )


def weights_format(device: torch.device, compiled: bool = False) -> torch.memory_format:
    """How the weights of a stack of convolutions lie: channels last on CUDA and the CPU, where it is faster.

    compiled: transposed convolutions under torch.compile; inductor fails in the backward of chains of them with
    channels last on CUDA (https://github.com/pytorch/pytorch/issues/171622).
    """
    last = device.type == "cpu" or (device.type == "cuda" and not compiled)
    return torch.channels_last if last else torch.contiguous_format


def to_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """x on the device. On CUDA nothing waits for the copy, from pinned memory; x may be dropped at once.

    MPS does not keep what it still has to copy (https://github.com/pytorch/pytorch/issues/189690): there it is waited
    for.
    """
    if device.type == "cuda" and x.device.type == "cpu":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def to_host(x: torch.Tensor) -> Callable[[], torch.Tensor]:
    """Begin to copy x to the CPU. The call of what is returned waits for the copy; only on CUDA is there a wait."""
    if x.device.type != "cuda":
        host = x.cpu()
        return lambda: host
    host = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
    host.copy_(x, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(x.device))

    def wait() -> torch.Tensor:
        copied.synchronize()
        return host

    return wait


def keep_freed_memory(below: int = 60) -> None:
    """Let glibc keep the memory of freed tensors of less than so many MiB instead of giving it back to the system.

    A step on the CPU frees and takes the same blocks over and over; each time the system would map and clear their
    pages anew. Of the largest blocks it would keep holes, in which smaller ones settle: those it gives back. Elsewhere
    than on glibc there is nothing to do.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(-1, 2**31 - 1)  # M_TRIM_THRESHOLD
        mallopt(-3, below * 2**20) or mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD; before glibc 2.35 at most 32 MiB


def note_emulated_bf16(device: torch.device) -> None:
    """Say so when bf16 is asked of a device that computes it in fp32."""
    if device.type == "cuda":
        emulated = not torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)
        emulated = device.type == "cpu" and platform.machine() in ("x86_64", "AMD64") and not native()
    if emulated:
        print(f"note: bf16: this {device.type} only emulates it; fp32 may be faster")
