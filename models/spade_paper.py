"""The SPADE generator of the paper, Park et al. 2019, arXiv:1903.07291."""

from functools import partial
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import conv
from models.spade_layers import (
    BLOCK_WIDTHS,
    SPADE,
    UPSAMPLINGS,
    SPADEResBlock,
    StyleHead,
    first_size,
    to_picture,
    upsampling,
)


class PaperSPADE(SPADE):
    """SPADE with a hidden convolution and a ReLU of its own between the condition and gamma, beta (Fig. 2)."""

    def __init__(self, condition: int, hidden: int, channels: int, norm: str = "batch", eps: float = 1e-5):
        super().__init__(hidden, channels, norm, eps)
        self.hidden = conv(condition, hidden, 3, padding=1)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x [B,channels,H,W], condition [B,condition,H,W] -> [B,channels,H,W]."""
        return super().forward(x, F.relu(self.hidden(condition), inplace=True))


class PaperGenerator(nn.Module):
    """The paper's generator (Fig. 4, Appendix A, Fig. 12): seven SPADE blocks, 16 * width to width channels.

    Its condition is label and colour, concatenated, resized by nearest neighbour for each block. Without a style the
    first map is a convolution of the condition at 1/64. As in the authors' program the ReLUs outside of SPADE leak
    0.2 and a shortcut's convolution is 1x1; the shortcut has its activation, as in the paper.

    Args:
        hidden: channels between condition and gamma, beta. color: whether a colour comes with the label.
        upsample: nearest | bilinear | subpixel | deconv. conv_norm: none | spectral, of the blocks' convolutions.
        norm: batch | instance | none, inside SPADE. style: length of the style latent, 0 without (the paper: 256).
    """

    def __init__(
        self,
        labels: int,
        width: int = 64,
        hidden: int = 128,
        color: bool = True,
        upsample: str = "nearest",
        conv_norm: str = "spectral",
        norm: str = "batch",
        eps: float = 1e-5,
        style: int = 0,
    ):
        super().__init__()
        condition = labels + 3 * color
        self.color = color
        self.style = style
        spade = partial(PaperSPADE, condition, hidden, norm=norm, eps=eps)
        channels = [(cin * width, cout * width) for cin, cout in BLOCK_WIDTHS]
        first = channels[0][0]
        self.head = StyleHead(style, first) if style else conv(condition, first, 3, padding=1)
        self.blocks = nn.ModuleList(SPADEResBlock(cin, cout, spade, conv_norm, noise=False) for cin, cout in channels)
        self.ups = nn.ModuleList(upsampling(upsample, cout, conv_norm) for _, cout in channels[:UPSAMPLINGS])
        self.to_picture = to_picture(channels[-1][1])

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """None: there is no noise."""
        return []

    def forward(
        self,
        label: Tensor,
        color: Tensor | None = None,
        noise: list[Tensor] | None = None,
        style: Tensor | None = None,
    ) -> Tensor:
        """label [B,labels,H,W] one-hot (background all zero), sides multiples of 64 -> picture [B,3,H,W] in [-1,1].

        color: [B,3,H,W] in [0,1], None without; noise is ignored; style: [B,style] if there is one.
        """
        condition = torch.cat((label, color), 1) if self.color else label
        size = first_size(label)
        h = self.head(style, size) if self.style else self.head(F.interpolate(condition, size=size))
        for block, up in zip_longest(self.blocks, self.ups):
            h = block(h, F.interpolate(condition, size=h.shape[2:]), iter(()))
            h = up(h) if up is not None else h
        return torch.tanh(self.to_picture(F.leaky_relu(h, 0.2, inplace=True)))
