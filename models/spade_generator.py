"""The SPADE generator with mapping networks, label map and hair colour to illustration."""

from functools import partial
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.chance import Draw, alone
from models.layers import conv
from models.mapping import MappingNetwork
from models.spade_layers import (
    BLOCK_WIDTHS,
    SPADE,
    UPSAMPLINGS,
    SPADEResBlock,
    StyleHead,
    first_size,
    resize,
    to_picture,
    upsampling,
)


class SpadeGenerator(nn.Module):
    """The generator of SPADE-pix2pix-for-Anime, after Park et al. 2019 (arXiv:1903.07291, Fig. 4).

    Two mapping networks make a code of the label and one of the colour, once; every block takes them resized to its
    map. The colour code enters at the first norm of the last two blocks, the label code everywhere else. The first
    map is the label resized to 1/64, or the style; six doublings follow. The defaults are the original's.

    Args:
        labels: channels of the label. width: of the last but one block; the first ones have 8 * width.
        code_width: channels of the codes. color: whether there is a colour branch.
        upsample: bilinear | nearest | subpixel | deconv. conv_norm: none | spectral.
        norm: batch | instance | none, inside SPADE. noise: whether there are noise adders.
        style: length of the style latent, 0 without.
    """

    def __init__(
        self,
        labels: int = 4,
        width: int = 64,
        code_width: int = 32,
        color: bool = True,
        upsample: str = "bilinear",
        conv_norm: str = "spectral",
        norm: str = "batch",
        eps: float = 2e-5,
        noise: bool = True,
        style: int = 0,
    ):
        super().__init__()
        assert width >= 2, width
        self.label_mapping = MappingNetwork(labels, code_width)
        self.color_mapping = MappingNetwork(3, code_width) if color else None
        spade = partial(SPADE, code_width, norm=norm, eps=eps)
        channels = [(cin * width // 2, cout * width // 2) for cin, cout in BLOCK_WIDTHS]
        first = channels[0][0]
        self.head = StyleHead(style, first) if style else conv(labels, first, 3, padding=1, conv_norm=conv_norm)
        self.style = style
        self.blocks = nn.ModuleList(SPADEResBlock(cin, cout, spade, conv_norm, noise) for cin, cout in channels)
        self.ups = nn.ModuleList(upsampling(upsample, cout, conv_norm) for _, cout in channels[:UPSAMPLINGS])
        self.to_picture = to_picture(channels[-1][1])

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        """(h, w) of each noise map for a picture of that size, in the order in which `forward` takes them."""
        sizes = [(height >> level, width >> level) for level in range(UPSAMPLINGS, -1, -1)]
        return [size for size, block in zip(sizes, self.blocks, strict=True) for _ in range(block.adders)]

    def forward(
        self,
        label: Tensor,
        color: Tensor | None = None,
        noise: list[Tensor] | None = None,
        style: Tensor | None = None,
    ) -> Tensor:
        """label [B,labels,H,W] one-hot (background all zero), sides multiples of 64 -> picture [B,3,H,W] in [-1,1].

        color: [B,3,H,W] in [0,1], masked by the hair class; None without a colour branch.
        noise: N(0,1) maps [B,1,h,w] as `noise_shapes` says; None draws them. style: [B,style] if there is one.
        """
        size = first_size(label)
        maps = iter(draw_noise(self, label) if noise is None else noise)
        label_code = self.label_mapping(label)
        color_code = self.color_mapping(color) if self.color_mapping is not None else None
        h = self.head(style, size) if self.style else self.head(resize(label, size))
        for level, (block, up) in enumerate(zip_longest(self.blocks, self.ups)):
            at = partial(resize, size=h.shape[2:])
            colored = color_code is not None and level >= UPSAMPLINGS - 1
            h = block(h, at(label_code), maps, at(color_code) if colored else None)
            h = up(h) if up is not None else h
        return torch.tanh(self.to_picture(F.leaky_relu(h, 0.2, inplace=True)))


def draw_noise(G: nn.Module, label: Tensor, draw: Draw = alone, times: int = 1) -> list[Tensor]:
    """The noise of G for `times` pictures of each label: maps [times * B, 1, h, w]. draw: Run.draw."""
    shapes = G.noise_shapes(*label.shape[2:])
    return [draw(lambda x, s=s: torch.randn(times * len(x), 1, *s, device=x.device), label) for s in shapes]


def paint_twice(
    G: nn.Module, label: Tensor, color: Tensor | None, style: Tensor | None, draw: Draw = alone
) -> tuple[Tensor, Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Two pictures [B, 3, H, W] of each label, and the noises [B, 1, h, w] of each.

    In one forward, so that both see the same weights after spectral norm and the same batch statistics. draw: Run.draw.
    """
    noise = draw_noise(G, label, draw, times=2)
    label, color, style = (None if part is None else torch.cat((part, part)) for part in (label, color, style))
    first, second = G(label, color, noise=noise, style=style).chunk(2)
    return first, second, *zip(*(part.chunk(2) for part in noise), strict=True)
