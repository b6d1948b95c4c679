"""Random conditions for the SPADE networks."""

import torch
import torch.nn.functional as F
from torch import Tensor


def random_conditions(batch: int = 2, height: int = 64, width: int = 128, labels: int = 4) -> tuple[Tensor, Tensor]:
    """A one-hot label in 8x8 squares, background all zero, and a colour masked by class 2."""
    ids = torch.randint(0, labels + 1, (batch, height // 8, width // 8))
    label = F.one_hot(ids, labels + 1)[..., :labels].permute(0, 3, 1, 2).float()
    label = F.interpolate(label, scale_factor=8)
    return label, torch.rand(batch, 3, height, width) * label[:, 2:3]
