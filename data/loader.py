"""The endless, resumable loader: the batch of step k is a function of (seed, k), with any number of workers."""

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset


class Source(Protocol):
    """A data set whose items are drawn with a random generator of their own (augmentation)."""

    def __len__(self) -> int: ...
    def item(self, index: int, rng: np.random.Generator) -> Any: ...


class _Drawn(Dataset):
    """Item (position, index) of a source, its generator seeded by the position in the endless stream."""

    def __init__(self, source: Source, seed: tuple[int, ...]):
        self.source, self.seed = source, seed

    def __getitem__(self, key: tuple[int, int]) -> Any:
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


def batches(
    source: Source,
    batch: int,
    *,
    seed: int,
    stream: int = 0,
    start: int = 0,
    workers: int = 0,
    pin: bool = False,
    share: Callable[[list], list] | None = None,
) -> Iterator[Any]:
    """Collated batches without end, from that of step `start` on.

    Args:
        batch: pictures in a step, of all processes.
        seed: the run's seed; `stream` tells apart the loaders of one run.
        workers: loader processes; the batches do not depend on their number.
        pin: page-locked memory, for copies to a GPU.
        share: what a list of the whole batch becomes in this process (engine.run.Run.share); None: all of it.
    """
    return iter(
        DataLoader(
            _Drawn(source, (seed, stream)),
            batch_sampler=Order(len(source), batch, (seed, stream), start, share),
            num_workers=workers,
            worker_init_fn=_quiet_worker if workers else None,
            pin_memory=pin,
            generator=torch.Generator(),  # the iterator draws a base seed: not from the global generator
        )
    )


def in_order(source: Source, batch: int, workers: int = 0) -> Iterator[Any]:
    """One pass over a source in its order, without chance: for validation."""
    keys = [(index, index) for index in range(len(source))]
    return iter(
        DataLoader(
            _Drawn(source, (0, 0)),
            batch_sampler=[keys[i : i + batch] for i in range(0, len(keys), batch)],
            num_workers=workers,
            worker_init_fn=_quiet_worker if workers else None,
            generator=torch.Generator(),
        )
    )
