"""Atrous spatial pyramid pooling (Chen et al. 2018, arXiv:1606.00915, sec. 3.2), without image pooling."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import conv, norm_layer


class ASPP(nn.Module):
    """A 1x1 and one 3x3 branch per rate (conv, norm, ReLU), concatenated, fused by a 3x3 conv and a ReLU.

    Rates (3, 6, 9) are the paper's (6, 12, 18) scaled from a 65x65 map to the 32x32 one of a 256x256 picture.
    """

    def __init__(
        self,
        channels: int,
        width: int,
        rates: tuple[int, ...] = (3, 6, 9),
        conv_norm: str = "spectral",
        norm: str = "batch",
        eps: float = 1e-5,
    ):
        super().__init__()
        self.convs = nn.ModuleList([conv(channels, width, 1, conv_norm=conv_norm)])
        for rate in rates:
            self.convs.append(conv(channels, width, 3, padding=rate, dilation=rate, conv_norm=conv_norm))
        self.norms = nn.ModuleList(norm_layer(norm, width, eps) for _ in self.convs)
        self.fuse = conv(width * len(self.convs), channels, 3, padding=1, conv_norm=conv_norm)

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,H,W] -> the same shape, >= 0."""
        branches = [F.relu(norm(branch(x)), inplace=True) for branch, norm in zip(self.convs, self.norms, strict=True)]
        return F.relu(self.fuse(torch.cat(branches, 1)), inplace=True)
