"""The mapping network of the SPADE family: a condition becomes a code at its full resolution, once per forward."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import conv


class MappingNetwork(nn.Module):
    """Four 3x3 convolutions with dilation 1, 1, 2, 4 and leaky ReLUs, width / 8 to width channels: sees 17x17 pixels.

    The constant-resolution network ("ConstantFCN") of SPADE-pix2pix-for-Anime, which takes the place of the hidden
    convolution that every layer of SPADE has of its own (arXiv:1903.07291, Fig. 2).
    """

    def __init__(self, in_channels: int, width: int = 32):
        super().__init__()
        channels = [in_channels] + [max(1, width // share) for share in (8, 4, 2, 1)]
        self.convs = nn.ModuleList(
            conv(channels[i], channels[i + 1], 3, padding=dilation, dilation=dilation)
            for i, dilation in enumerate((1, 1, 2, 4))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B,in_channels,H,W] -> code [B,width,H,W]."""
        for layer in self.convs:
            x = F.leaky_relu(layer(x), 0.2, inplace=True)
        return x
