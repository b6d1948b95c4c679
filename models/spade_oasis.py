"""OASIS's discriminator: Sushko, Schönfeld et al. 2021, arXiv:2012.04781."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import conv, norm_layer


class ResBlock(nn.Module):
    """Two times (norm, leaky ReLU, 3x3 convolution) and a shortcut, to half or twice the size (the discriminators'
    block of Brock et al. 2019, arXiv:1809.11096, Appendix B). The shortcut is a 1x1 convolution where channels change.

    scale: 0.5, averaged at the end, or 2, nearest before the first convolution. first: a picture comes in, which has
    no norm and no activation. conv_norm: none | spectral; norm: batch | instance | none.
    """

    def __init__(
        self, cin: int, cout: int, scale: float, first: bool = False, conv_norm: str = "spectral", norm: str = "none",
        eps: float = 1e-5,
    ):  # fmt: skip
        super().__init__()
        assert scale in (0.5, 2), scale
        self.scale = scale
        self.before = nn.Identity() if first else nn.Sequential(norm_layer(norm, cin, eps), nn.LeakyReLU(0.2))
        self.conv1 = conv(cin, cout, 3, padding=1, conv_norm=conv_norm)
        self.norm2 = norm_layer(norm, cout, eps)
        self.conv2 = conv(cout, cout, 3, padding=1, conv_norm=conv_norm)
        self.shortcut = nn.Identity() if cin == cout else conv(cin, cout, 1, conv_norm=conv_norm)

    def forward(self, x: Tensor) -> Tensor:
        """[B,cin,H,W] -> [B,cout,scale * H,scale * W]."""
        h, shortcut = self.before(x), self.shortcut(x)
        if self.scale == 2:
            h, shortcut = (F.interpolate(part, scale_factor=2, mode="nearest") for part in (h, shortcut))
        h = shortcut + self.conv2(F.leaky_relu(self.norm2(self.conv1(h)), 0.2))
        return F.avg_pool2d(h, 2) if self.scale == 0.5 else h


class OasisDiscriminator(nn.Module):
    """A U-Net of residual blocks that gives each pixel one of N classes, or calls it fake.

    `levels` blocks down, width to width * 2^((levels - 1) // 2) channels, as many up, each but the first beside the map
    from the way down. The paper has 6 for 256x256 and 256x512. The last convolution has no norm.
    conv_norm: none | spectral; norm: batch | instance | none (the paper's).
    """

    def __init__(
        self,
        in_channels: int,
        classes: int,
        width: int = 128,
        levels: int = 6,
        conv_norm: str = "spectral",
        norm: str = "none",
        eps: float = 1e-5,
    ):
        super().__init__()
        norms = dict(conv_norm=conv_norm, norm=norm, eps=eps)
        down = [width * 2 ** (level // 2) for level in range(levels)]
        up = [*down[-2::-1], max(1, width // 2)]
        beside = [0, *down[-2::-1]]
        self.down = nn.ModuleList(
            ResBlock(cin, cout, 0.5, first=level == 0, **norms)
            for level, (cin, cout) in enumerate(zip([in_channels, *down], down, strict=False))
        )
        self.up = nn.ModuleList(
            ResBlock(cin + more, cout, 2, **norms) for cin, more, cout in zip([down[-1], *up], beside, up, strict=False)
        )
        self.to_logits = conv(up[-1], classes + 1, 1)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """Pictures, with colours if there are any, [B,in_channels,H,W], multiples of 2^levels -> [[logits]].

        The logits [B,N+1,H,W], the fake class last, stand where other discriminators have a scale's last map.
        """
        maps = []
        for block in self.down:
            x = block(x)
            maps.append(x)
        x = self.up[0](maps.pop())
        for block in self.up[1:]:
            x = block(torch.cat((x, maps.pop()), 1))
        return [[self.to_logits(x)]]
