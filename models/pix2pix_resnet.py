"""The ResNet generator (Johnson et al. 2016, arXiv:1603.08155, supplementary; Zhu et al. 2017, arXiv:1703.10593,
sec. 7.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import norm_layer, up_conv, with_latent


class ResnetBlock(nn.Module):
    """x + norm(conv(dropout(relu(norm(conv(x)))))), 3x3, borders reflected."""

    def __init__(self, channels: int, norm: str, dropout: float, bias: bool):
        super().__init__()
        affine = norm == "batch"
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=bias)
        self.norm1 = norm_layer(norm, channels, affine=affine)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=bias)
        self.norm2 = norm_layer(norm, channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        h = F.relu(self.norm1(self.conv1(x)), inplace=True)
        return x + self.norm2(self.conv2(self.dropout(h)))


class ResnetGenerator(nn.Module):
    """7x7 convolution, two strided ones, `blocks` residual blocks at a quarter of the side, two layers up, 7x7 out.

    Args: as of models/pix2pix_unet.py; sides of pictures are multiples of 4, from 16 up.
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 3,
        blocks: int = 9,
        width: int = 64,
        norm: str = "batch",
        dropout: float = 0.5,
        upsample: str = "deconv",
        z: int = 0,
        z_at: str = "input",
    ):
        super().__init__()
        assert z_at in ("input", "all"), z_at
        bias, affine = norm != "batch", norm == "batch"
        self.z_levels = 0 if not z else 1 if z_at == "input" else 3
        z_in = [z * (level < self.z_levels) for level in range(3)]
        self.downs = nn.ModuleList(
            [
                nn.Conv2d(in_channels + z_in[0], width, 7, padding=3, padding_mode="reflect", bias=bias),
                nn.Conv2d(width + z_in[1], width * 2, 3, 2, 1, bias=bias),
                nn.Conv2d(width * 2 + z_in[2], width * 4, 3, 2, 1, bias=bias),
            ]
        )
        self.down_norms = nn.ModuleList(norm_layer(norm, width * 2**i, affine=affine) for i in range(3))
        self.blocks = nn.Sequential(*(ResnetBlock(width * 4, norm, dropout, bias) for _ in range(blocks)))
        self.ups = nn.ModuleList(up_conv(width * 2 * i, width * i, upsample, kernel=3, bias=bias) for i in (2, 1))
        self.up_norms = nn.ModuleList(norm_layer(norm, width * i, affine=affine) for i in (2, 1))
        self.to_picture = nn.Conv2d(width, out_channels, 7, padding=3, padding_mode="reflect")

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """[B,in_channels,H,W] in [-1,1], z [B,z] -> [B,out_channels,H,W] in [-1,1]."""
        for level, (down, norm) in enumerate(zip(self.downs, self.down_norms, strict=True)):
            if level < self.z_levels:
                x = with_latent(x, z)
            x = F.relu(norm(down(x)), inplace=True)
        x = self.blocks(x)
        for up, norm in zip(self.ups, self.up_norms, strict=True):
            x = F.relu(norm(up(x)), inplace=True)
        return torch.tanh(self.to_picture(x))
