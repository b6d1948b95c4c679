"""Self-attention over the places of a map."""

import torch
from torch import Tensor, nn

from models.layers import conv


class SelfAttention(nn.Module):
    """x + gamma * attention(x), gamma starting at 0 (Zhang et al. 2019, arXiv:1805.08318, Eq. 1-3).

    As in the SPADE original the values are narrow too, channels / division, and widened by a last 1x1 convolution.
    conv_norm: none | spectral. Memory grows with (H * W)^2.
    """

    def __init__(self, channels: int, division: int = 8, conv_norm: str = "none"):
        super().__init__()
        width = max(1, channels // division)
        self.query = conv(channels, width, 1, conv_norm=conv_norm)
        self.key = conv(channels, width, 1, conv_norm=conv_norm)
        self.value = conv(channels, width, 1, conv_norm=conv_norm)
        self.out = conv(width, channels, 1, conv_norm=conv_norm)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """[B,channels,H,W] -> the same shape."""
        query, key, value = (layer(x).flatten(2) for layer in (self.query, self.key, self.value))
        # Eq. 1: for every key the weights of all queries sum to 1. Keys are rows: softmax is fast over the last axis.
        # Not torch's fused attention: it has no second derivative, which gradient penalties need.
        weights = torch.softmax(key.transpose(1, 2) @ query, 2)
        attended = (value @ weights.transpose(1, 2)).view(len(x), -1, *x.shape[2:])
        return x + self.gamma.to(x.dtype) * self.out(attended)
