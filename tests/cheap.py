"""A cheap extractor for tests of what compares sets of pictures."""

import torch
from torch import nn

from engine.evaluation.features import Extractor


class Levels(nn.Module):
    """A cheap extractor: mean colours of 16 fields."""

    def forward(self, x):
        return nn.functional.adaptive_avg_pool2d(x.float() / 255, 4).flatten(1)


def cheap(name: str, device: torch.device, option: str = "") -> Extractor:
    """In the place of engine.evaluation.features.extractor_of."""
    return Extractor(Levels().to(device), f"cheap, {name}", device)
