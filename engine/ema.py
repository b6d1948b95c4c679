"""Exponential moving average of a network's weights."""

import copy

import torch
from torch import nn


class EMA:
    """The averaged copy `module` of a network; with a half-life of 0 the network itself.

    The half-life is counted in images, so that it does not depend on the batch, and ramps up with the images seen
    (Karras et al. 2020, arXiv:2006.06676, Appendix B). Buffers are copied, not averaged.
    """

    def __init__(self, network: nn.Module, half_life: float, ramp_up: float = 0.05):
        self.module = copy.deepcopy(network).requires_grad_(False) if half_life else network
        self.half_life = half_life
        self.ramp_up = ramp_up

    @torch.no_grad()
    def update(self, network: nn.Module, step: int, batch: int) -> None:
        """After optimiser step number `step` (from 1) of `batch` images."""
        if not self.half_life:
            return
        half_life = min(self.half_life, step * batch * self.ramp_up) if self.ramp_up else self.half_life
        beta = 0.5 ** (batch / half_life)
        torch._foreach_lerp_(list(self.module.parameters()), list(network.parameters()), 1 - beta)
        for mine, live in zip(self.module.buffers(), network.buffers(), strict=True):
            mine.copy_(live)

    def state_dict(self) -> dict:
        return self.module.state_dict()
