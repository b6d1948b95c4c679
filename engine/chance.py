"""Seeds, and random numbers for a part of a batch."""

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from engine import distributed

Sample = Callable[[Tensor], Tensor]  # x [B, ...] -> random rows, one or several for each of x
Draw = Callable[[Sample, Tensor], Tensor]  # (sample, x) -> sample(x), or this process's part of it: Run.draw


def alone(sample: Sample, x: Tensor) -> Tensor:
    """The Draw of a single process."""
    return sample(x)


def seed_all(*numbers: int) -> None:
    """Seed every generator from these numbers; one alone is the seed."""
    seed = numbers[0] if len(numbers) == 1 else int(np.random.SeedSequence(numbers).generate_state(1)[0])
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def whole_like(x: Tensor) -> Tensor:
    """Something of the shape, type and layout that the whole batch would have, of which x [B, ...] is a part."""
    last = x.dim() == 4 and not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    memory_format = torch.channels_last if last else torch.contiguous_format
    size = (len(x) * distributed.world(), *x.shape[1:])
    return torch.empty(size, dtype=x.dtype, device=x.device, memory_format=memory_format)


class SharedChance:
    """Chance that is the same in all processes, beside each one's own: it begins as torch's generators are now."""

    def __init__(self, device: torch.device):
        self.device = device
        self.states = self._read()

    def _read(self) -> tuple[Tensor, Tensor | None]:
        return torch.get_rng_state(), torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None

    def _write(self, states: tuple[Tensor, Tensor | None]) -> None:
        torch.set_rng_state(states[0])
        if states[1] is not None:
            torch.cuda.set_rng_state(states[1], self.device)

    def draw(self, sample: Sample, x: Tensor) -> Tensor:
        """This process's part of sample(the whole batch), x [B, ...] being its part.

        Of several rows for each of x the first rows of all come first, as in torch.cat((x, x)).
        """
        own = self._read()
        self._write(self.states)
        drawn = sample(whole_like(x))
        self.states = self._read()
        self._write(own)
        return torch.cat([distributed.share(part) for part in drawn.split(len(x) * distributed.world())])
