"""Batch norm over the pictures of all processes, on GPUs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SyncBatchNorm2d(nn.SyncBatchNorm):
    """nn.SyncBatchNorm that takes this process's batch alone where it keeps no running statistics.

    So it is inside models.layers.batch_statistics, with which the first process looks at pictures while the others
    go on.
    """

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        if self.track_running_stats:
            return super().forward(x)
        return F.batch_norm(x, None, None, self.weight, self.bias, True, 0.0, self.eps)


@torch.no_grad()
def synchronise(network: nn.Module) -> None:
    """Every batch norm of the network becomes a SyncBatchNorm2d, in place: parameters and their names stay.

    Frozen ones, in eval mode, stay. It cannot be differentiated twice: not for a network whose gradient is penalised.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d) and module.training:
            module.__class__ = SyncBatchNorm2d
            module.process_group = None  # all
