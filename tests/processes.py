"""Trainings by several processes, as torchrun starts them, and by one, in double precision, for comparison."""

import os
import socket
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch

from engine.run import Run
from models import build

DEATH = 30  # seconds in which a process ends after another one has


class Case(NamedTuple):
    """A training."""

    family: str
    options: Any
    killed_at: int = 0  # the step at which process 1 ends without a word, as by kill -9; 0: never


def environment(rank: int, port: int, world: int = 2) -> dict[str, str]:
    """What torchrun sets."""
    names = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world, MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
    return {name: str(value) for name, value in names.items()}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def in_double(patch: Callable[[Any, str, Any], None]) -> None:
    """From now on networks, chance and losses are float64; `patch` sets an attribute."""
    torch.set_default_dtype(torch.float64)
    patch(torch.Tensor, "float", torch.Tensor.double)


def trained(case: Case, patch: Callable[[Any, str, Any], None]) -> dict[str, dict]:
    """The state dicts of G and D after train(opt)."""
    networks = {}
    for name in ("generator", "discriminator"):
        make = getattr(build, f"{case.family}_{name}")
        patch(build, f"{case.family}_{name}", lambda *a, make=make, name=name: networks.setdefault(name, make(*a)))
    import_module(f"train_{case.family}").train(case.options)
    return {name: network.state_dict() for name, network in networks.items()}


def die_at(step: int) -> None:
    """This process's run ends there."""
    reseed = Run.reseed
    Run.reseed = lambda run: os._exit(9) if run.step == step else reseed(run)


def process(rank: int, ports: list[int], cases: list[Case], folder: Path) -> None:
    """One of two processes: what it has after each case, or how it ended, in folder/CASE.RANK.pt."""
    torch.set_num_threads(1)
    in_double(setattr)
    original = dict(vars(build))
    for number, (case, port) in enumerate(zip(cases, ports, strict=True)):
        os.environ.update(environment(rank, port))
        for name, value in original.items():
            setattr(build, name, value)
        if rank == 1 and case.killed_at:
            die_at(case.killed_at)
        try:
            found = trained(case, setattr)
        except BaseException as error:
            traceback.print_exc()
            found = {"error": f"{type(error).__name__}: {error}"}
            if torch.distributed.is_initialized():  # as if the process had ended
                torch.distributed.destroy_process_group()
        torch.save(found, folder / f"{number}.{rank}.pt")


def by_two(cases: list[Case], folder: Path) -> list[tuple[dict | None, dict | None]]:
    """What both processes have after each case; None: it was killed, which may happen in the last one."""
    ports = [free_port() for _ in cases]
    first, second = torch.multiprocessing.spawn(process, (ports, cases, folder), nprocs=2, join=False).processes
    try:
        second.join(240)
        first.join(DEATH)
        assert not first.is_alive() and not second.is_alive()
    finally:
        first.kill()
        second.kill()
    files = [[folder / f"{i}.{rank}.pt" for rank in range(2)] for i in range(len(cases))]
    return [tuple(torch.load(file) if file.exists() else None for file in both) for both in files]
