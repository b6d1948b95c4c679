"""The processes of one training, one for each device, as torchrun starts them: who they are, and how they meet.

Alone, without torchrun, everything here is there and costs nothing. No network is wrapped: gradients are averaged
where the train script says so (engine/run.py: Run.average).
"""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.errors import UserError

PATIENCE = timedelta(days=1)  # to wait for a process that prepares data or validates; one that has ended shows at once
GRACE = 5  # seconds in which the main thread may end by itself when another process is gone
GONE = (
    "another process of this training has ended; what it printed says why; "
    "the same command goes on from the last checkpoint"
)


def _joined() -> bool:
    return dist.is_available() and dist.is_initialized()


def rank() -> int:
    """The number of this process; number 0 writes the files."""
    return dist.get_rank() if _joined() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _joined() else 1


def join(device: torch.device) -> torch.device:
    """Join the others that torchrun has started, if it has. Returns this process's device.

    Raises:
        UserError: more processes than GPUs on this machine, or an MPS device, of which there is only one.
    """
    if not _joined() and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        device = _own_device(device)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, timeout=PATIENCE)
        dist.all_reduce(torch.zeros(1))  # connects all to all: a process that is lost now is noticed
    if rank() > 0:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (to the end) what all have to say the first one says
    return device


def _own_device(device: torch.device) -> torch.device:
    if device.type == "mps":
        raise UserError("run.device=mps: several processes need cuda or cpu; use run.device=cpu, or one process")
    if device.type == "cpu":
        return device
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if local >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise UserError(f"process {local} finds no GPU for itself: start at most {count} on this machine")
    device = torch.device("cuda", local)
    torch.cuda.set_device(device)
    return device


def refuse(message: str, code: int = 1) -> NoReturn:
    """A mistake that every process finds: the first one says it, all end."""
    if rank() > 0:
        with contextlib.suppress(UserError):
            most(0)  # until the first has ended: torchrun would stop it before it says a word
        raise SystemExit(code)
    raise UserError(message, code)


# ---- meetings: all processes call them, in the same order


@contextlib.contextmanager
def _together() -> Iterator[None]:
    """A broken connection as one line: it means that another process is gone."""
    try:
        yield
    except RuntimeError as error:
        if any(word in str(error).lower() for word in ("connection", "socket", "nccl")):
            raise UserError(f"process {rank()}: {GONE}") from None
        raise


def most(*numbers: int) -> list[int]:
    """The largest of each number over the processes. Does not wait for the device."""
    if world() == 1:
        return list(numbers)
    found = torch.tensor(numbers, dtype=torch.int64)
    with _together():
        dist.all_reduce(found, dist.ReduceOp.MAX)
    return found.tolist()


def means(values: list[float]) -> list[float]:
    """The mean of each value over the processes."""
    if world() == 1:
        return values
    found = torch.tensor(values, dtype=torch.float64)
    with _together():
        dist.all_reduce(found)
    return (found / world()).tolist()


@contextlib.contextmanager
def in_turn() -> Iterator[None]:
    """What is made once and then found: by the first process, then the first of each machine, then the others."""
    if world() == 1:
        yield
        return
    turn = 0 if rank() == 0 else 1 if os.environ.get("LOCAL_RANK") == "0" else 2
    for _ in range(turn):
        most(0)
    yield
    for _ in range(2 - turn):
        most(0)


@torch.no_grad()
def average_gradients(network: nn.Module) -> None:
    """Each gradient becomes its mean over the processes, in one flat all-reduce; what has none keeps none."""
    if not _joined():
        return
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    flat = torch.cat([grad.flatten() for grad in grads])
    with _together():
        dist.all_reduce(flat)
    flat /= world()
    for grad, part in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
        grad.copy_(part.view_as(grad))


class _Mean(torch.autograd.Function):
    """The mean over the processes. Every process's loss depends on every one's part, so gradients are averaged too."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        found = part.clone(memory_format=torch.contiguous_format)
        with _together():
            dist.all_reduce(found)
        return found / world()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return _Mean.apply(grad)


def mean(part: Tensor) -> Tensor:
    """The mean of a number, or of each of some, over the processes; gradients flow through it.

    For losses that are no means over samples: a quotient of sums over the whole batch is that of the means of the
    processes' sums.
    """
    return part if world() == 1 else _Mean.apply(part)


# ---- parts of a batch


def share(whole: Any) -> Any:
    """This process's part of a whole batch: a tensor, an array or a list, whose length all processes divide."""
    size, rest = divmod(len(whole), world())
    assert rest == 0, (len(whole), world())
    return whole[rank() * size : (rank() + 1) * size]


# ---- the end of one is the end of all


class Lifeline:
    """Ends this process when another one has gone, also while it validates or waits for a GPU.

    The first process waits for a word from each of the others and they for one from it, in threads. It comes when the
    training ends; a broken connection is the end of a process.
    """

    def __init__(self):
        self.group = dist.new_group(backend="gloo", timeout=timedelta(days=1000))
        self.peers = range(1, world()) if rank() == 0 else [0]
        self.threads = [threading.Thread(target=self._watch, args=(peer,), daemon=True) for peer in self.peers]
        for thread in self.threads:
            thread.start()

    def _watch(self, peer: int) -> None:
        try:
            dist.recv(torch.empty(1), peer, group=self.group)
        except RuntimeError:
            time.sleep(GRACE)
            print(f"error: process {rank()}: {GONE}", file=sys.stderr, flush=True)
            os._exit(1)

    def close(self) -> None:
        """Wait until all are here."""
        with _together():
            for peer in self.peers:
                dist.send(torch.zeros(1), peer, group=self.group)
        for thread in self.threads:
            thread.join()


def require_equal_parts(batch: int, pairs: bool = False) -> None:
    """Refuse a data.batch that the processes cannot share, or not by whole pairs."""
    least = world() * (2 if pairs else 1)
    if batch % least:
        what = "equally in pairs of pictures" if pairs else "equally"
        words = f"{world()} processes cannot share it {what}: use a multiple of {least}, or other processes"
        refuse(f"data.batch={batch}: {words}", 2)


def begin(step: int, networks: Iterable[nn.Module]) -> Lifeline | None:
    """Let all begin at the same step with the first process's weights. None for one process.

    Raises:
        UserError: they have not resumed from the same checkpoint.
    """
    if world() == 1:
        return None
    if most(step, -step) != [step, -step]:
        refuse("run.dir: not all processes see the same checkpoints; use a folder that they share")
    with torch.no_grad(), _together():
        for value in [value for network in networks for value in network.state_dict().values()]:
            whole = value.contiguous()
            dist.broadcast(whole, 0)
            value.copy_(whole)
    print(f"{world()} processes share every batch")
    return Lifeline()


def end(lifeline: Lifeline | None) -> None:
    """Wait for all, then part from them."""
    if lifeline is not None:
        lifeline.close()
        dist.destroy_process_group()
