"""The endless, resumable loader: the batch of step k is a function of (seed, k), with any number of workers.

Items are read and cut by workers; what is done to a whole batch is done on the device.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from engine.device import to_device

CPU = torch.device("cpu")


class Source(Protocol):
    """A data set whose items are drawn with a random generator of their own (data.pictures.Pictures)."""

    on_device: bool  # the items are on a GPU: they come from this process

    def __len__(self) -> int: ...
    def item(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]: ...
    def finished(self, planes: Tensor, draws: Tensor) -> Any: ...


class _Drawn(Dataset):
    """Item (position, index) of a source, its generator seeded by the position in the endless stream."""

    def __init__(self, source: Source, seed: tuple[int, ...]):
        self.source, self.seed = source, seed

    def __getitem__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        position, index = key
        return self.source.item(index, np.random.default_rng((*self.seed, 1, position)))


class Order:
    """Batches of (position, index): every pass a fresh permutation; a partial batch is filled from the next pass.

    share: the part of each batch's list that is taken (engine.run.Run.share); None: all of it.
    """

    def __init__(
        self, count: int, batch: int, seed: tuple[int, ...], start: int, share: Callable[[list], list] | None = None
    ):
        self.count, self.batch, self.seed, self.start, self.share = count, batch, seed, start, share

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        position, epoch, order = self.start * self.batch, -1, None
        while True:
            keys = []
            for _ in range(self.batch):
                if position // self.count != epoch:
                    epoch = position // self.count
                    order = np.random.default_rng((*self.seed, 0, epoch)).permutation(self.count)
                keys.append((position, int(order[position % self.count])))
                position += 1
            yield keys if self.share is None else self.share(keys)


def _quiet_worker(_: int) -> None:
    """Ctrl-C and a signal to the group (timeout, schedulers) are the main process's to handle: it saves and exits."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgrp"):
        os.setpgrp()


def _loader(
    source: Source, seed: tuple[int, ...], keys: Iterable[list[tuple[int, int]]], workers: int, device: torch.device
) -> DataLoader:
    """The items of a source by lists of keys, collated."""
    workers = 0 if source.on_device else workers
    return DataLoader(
        _Drawn(source, seed),
        batch_sampler=keys,
        num_workers=workers,
        worker_init_fn=_quiet_worker,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda" and not source.on_device,
        generator=torch.Generator(),  # the iterator draws a base seed: not from the global generator
    )


def _finished(source: Source, items: Iterable[tuple[Tensor, Tensor]], device: torch.device) -> Iterator[Any]:
    for planes, draws in items:
        yield source.finished(to_device(planes, device), draws)


def batches(
    source: Source,
    batch: int,
    *,
    seed: int,
    stream: int = 0,
    start: int = 0,
    workers: int = 0,
    device: torch.device = CPU,
    share: Callable[[list], list] | None = None,
) -> Iterator[Any]:
    """Finished batches without end, from that of step `start` on, on the device.

    Args:
        batch: pictures in a step, of all processes.
        seed: the run's seed; `stream` tells apart the loaders of one run.
        workers: loader processes; the batches do not depend on their number.
        share: what a list of the whole batch becomes in this process (engine.run.Run.share); None: all of it.
    """
    order = Order(len(source), batch, (seed, stream), start, share)
    return _finished(source, iter(_loader(source, (seed, stream), order, workers, device)), device)


class InOrder:
    """Passes over a source in its order, without chance, for validation: finished batches on the device.

    The workers begin with the first pass and stay for the next.
    """

    def __init__(self, source: Source, batch: int, workers: int = 0, device: torch.device = CPU):
        self.source, self.device = source, device
        keys = [(index, index) for index in range(len(source))]
        parts = [keys[i : i + batch] for i in range(0, len(keys), batch)]
        self.loader = _loader(source, (0, 0), parts, workers, device)

    def __len__(self) -> int:
        """How many batches."""
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        return _finished(self.source, self.loader, self.device)
