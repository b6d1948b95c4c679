"""The U-Net generator of pix2pix (Isola et al. 2017, arXiv:1611.07004, sec. 6.1.1)."""

from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import norm_layer, up_conv, with_latent


class UNet(nn.Module):
    """Strided 4x4 convolutions down to 1x1 and as many layers up, with a skip at every resolution.

    As in the authors' PyTorch program: the innermost convolution has no norm, the layer above it keeps its own, and
    dropout sits in the depth - 5 layers after that one (the paper: in the first three of the decoder).

    Args:
        depth: number of halvings; sides of pictures are multiples of 2^depth (256: 8).
        width: channels of the first layer, doubled at each level up to 8 * width.
        norm: batch | instance | none; instance has no affine parameters.
        upsample: deconv (4x4 transposed convolution), or bilinear | nearest before a 3x3 convolution.
        z: length of the latent, 0 without; z_at: input, or all encoder levels (Zhu et al. 2017, arXiv:1711.11586,
            Fig. 3, "adding z to all"), where it enters in front of the activation.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        depth: int = 8,
        width: int = 64,
        norm: str = "batch",
        dropout: float = 0.5,
        upsample: str = "deconv",
        z: int = 0,
        z_at: str = "input",
    ):
        super().__init__()
        assert depth >= 5 and z_at in ("input", "all"), (depth, z_at)
        bias = norm != "batch"  # batch norm brings its own
        channels = [in_channels] + [width * min(2**level, 8) for level in range(depth)]
        self.z_levels = 0 if not z else 1 if z_at == "input" else depth
        self.downs = nn.ModuleList(
            nn.Conv2d(channels[i] + z * (i < self.z_levels), channels[i + 1], 4, 2, 1, bias=bias) for i in range(depth)
        )
        self.down_norms = nn.ModuleList(norm_layer(norm, c, affine=norm == "batch") for c in channels[2:-1])
        outs = channels[-2:0:-1]  # from the innermost layer outwards
        ins = [channels[-1], *(2 * c for c in outs)]  # above the innermost a skip comes beside
        self.ups = nn.ModuleList(up_conv(i, o, upsample, bias=bias) for i, o in zip(ins, outs, strict=False))
        self.up_norms = nn.ModuleList(norm_layer(norm, c, affine=norm == "batch") for c in outs)
        self.to_picture = up_conv(ins[-1], out_channels, upsample)
        self.dropout = nn.Dropout(dropout)
        self.dropped = range(1, depth - 4)  # which of ups

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """[B,in_channels,H,W] in [-1,1], z [B,z] -> [B,out_channels,H,W] in [-1,1]."""
        skips = []
        for level, (down, norm) in enumerate(zip_longest(self.downs, [None, *self.down_norms])):
            if level < self.z_levels:
                x = with_latent(x, z)
            # in place, also in the skip: the relu above gives the same of x and of leaky_relu(x)
            x = down(F.leaky_relu(x, 0.2, inplace=True) if level else x)
            x = norm(x) if norm else x
            skips.append(x)
        x = skips.pop()
        for level, (up, norm) in enumerate(zip(self.ups, self.up_norms, strict=True)):
            x = norm(up(F.relu(x, inplace=True)))
            if level in self.dropped:
                x = self.dropout(x)
            x = torch.cat((skips.pop(), x), 1)
        return torch.tanh(self.to_picture(F.relu(x, inplace=True)))
