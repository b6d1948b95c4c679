"""Samples of a family as planes: decoded each time or once for all, windows cut from them, batches augmented."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from copy import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.augment import augment, draw
from data.cache import Decoding, Rows
from data.check import files_of
from data.decoded import decoded
from data.window import by_chance

VERSION = 1  # raised whenever decoding changes, so that no older cache is taken


class Pictures(ABC):
    """Samples whose items are windows of their planes, uint8 [C, H, W], and what becomes of them in their batch.

    The pixels of an item depend on the generator that it is drawn with, and not on data.cache or the device.

    Attributes:
        samples: what is read; the same one may be there several times.
        data: the family's data options.
        training: whether items are cut and augmented by chance.
        rows: the decoded planes, if they are kept; see `keep`.
    """

    def __init__(self, samples: list, data: Any, training: bool):
        self.samples, self.data, self.training = samples, data, training
        self.rows: Rows | None = None

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def names(self) -> tuple[str, ...]:
        """The augmentations."""
        return self.data.augment if self.training else ()

    @property
    def on_device(self) -> bool:
        """Whether the planes, and so the items, are on a GPU, where no other process can cut them."""
        return self.rows is not None and self.rows.host is not self.rows

    # ---- what a family says

    @abstractmethod
    def decode(self, sample: Any) -> np.ndarray:
        """The planes that windows are cut from, uint8 [C, h, w], without chance; a UserError names the file."""

    @abstractmethod
    def window(self, planes: Tensor, host: Tensor, rng: np.random.Generator | None) -> Tensor:
        """A window of the planes, uint8 [C, H, W], in the middle without rng; host: the same planes on the CPU."""

    @abstractmethod
    def parts(self, planes: Tensor) -> Any:
        """A batch of planes [B, C, H, W] as the train script takes it."""

    def settings(self) -> list:
        """What decoding depends on beside the files, plain values."""
        return [list(self.data.size), by_chance(self.names)]

    # ---- what follows from it

    def keep(self, what: str, device: torch.device | None) -> None:
        """Decode all samples once, if data.cache says so; device: None: never.

        Raises:
            UserError: a sample cannot be read, or there is no room for them.
        """
        if device is None or not self.samples or self.data.size == "native":
            return
        samples = {str(number): sample for number, sample in enumerate(dict.fromkeys(self.samples))}
        files = [path for sample in samples.values() for path in files_of(sample)]
        decoding = Decoding(
            lambda name: self.decode(samples[name]),
            list(samples),
            files,
            [type(self).__name__, VERSION, *self.settings()],
            self.data.workers,
        )
        self.rows = decoded(decoding, f"{len(samples):,} {what}", self.data.cache, device)
        numbers = {sample: number for number, sample in enumerate(samples.values())}
        self.row_of = np.array([numbers[sample] for sample in self.samples])

    def item(self, index: int, rng: np.random.Generator | None) -> tuple[Tensor, Tensor]:
        """(window uint8 [C, H, W], what augmentation does to it in its batch, float32 [5])."""
        if self.rows is None:
            planes = host = torch.from_numpy(self.decode(self.samples[index]))
        else:
            planes, host = (rows[self.row_of[index]] for rows in (self.rows, self.rows.host))
        window = self.window(planes, host, rng if self.training else None)
        return window, torch.from_numpy(draw(self.names, rng))

    def finished(self, planes: Tensor, draws: Tensor) -> Any:
        """What the train script takes of a batch of items, planes [B, C, H, W]; draws [B, 5] on the CPU."""
        return self.parts(augment(planes, draws, self.names))

    def first(self, count: int) -> Iterator[tuple]:
        """(sample, *parts) of the first samples without chance, for the sample grids."""
        still = copy(self)
        still.training, still.rows = False, None
        for index, sample in enumerate(self.samples[:count]):
            planes, draws = still.item(index, None)
            parts = still.finished(planes[None], draws[None])
            yield sample, *(part[0] for part in (parts if isinstance(parts, tuple) else (parts,)))
