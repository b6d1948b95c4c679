"""Spatially-adaptive normalisation and the layers around it, for both SPADE generators."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import SubPixelConv, conv, deconv, he_init, norm_layer

UPSAMPLINGS = 6  # both generators: from 1/64 of the picture's sides
BLOCK_WIDTHS = ((16, 16), (16, 16), (16, 16), (16, 8), (8, 4), (4, 2), (2, 1))  # in and out, times the last one's


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear with aligned corners, as Chainer's, without antialiasing: [B,C,H,W] -> [B,C,*size]."""
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class SPADE(nn.Module):
    """norm(x) * (1 + gamma) + beta, gamma and beta maps made of a code (Park et al. 2019, arXiv:1903.07291, Eq. 1-3).

    Eq. 1 has gamma where the authors' program, and this, have 1 + gamma.
    norm: batch | instance | none, without affine parameters.
    """

    def __init__(self, code_channels: int, channels: int, norm: str = "batch", eps: float = 1e-5):
        super().__init__()
        self.norm = norm_layer(norm, channels, eps, affine=False)
        self.gamma = conv(code_channels, channels, 3, padding=1)
        self.beta = conv(code_channels, channels, 3, padding=1)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """x [B,channels,H,W], code [B,code_channels,H,W] -> [B,channels,H,W]."""
        scale = F.conv2d(code, self.gamma.weight, self.gamma.bias + 1, padding=1)  # 1 + gamma without a pass of its own
        return self.beta(code).addcmul_(self.norm(x), scale)


class NoiseAdder(nn.Module):
    """x + gamma * noise: one noise map, a strength per channel that starts at 0 (Karras et al. 2019,
    arXiv:1812.04948, sec. 2). Active in eval mode too.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """x [B,channels,H,W], noise [B,1,H,W] -> [B,channels,H,W]."""
        return torch.addcmul(x, self.gamma.to(x.dtype), noise.to(x.dtype))


class SPADEResBlock(nn.Module):
    """Two times (noise, SPADE, leaky ReLU, 3x3 convolution), and a shortcut (arXiv:1903.07291, Fig. 4 and Appendix A).

    Where the channels change the shortcut is noise, SPADE, leaky ReLU and a 1x1 convolution without bias.

    Args:
        spade: channels -> a layer called with (x, code).
        conv_norm: none | spectral, of the block's own convolutions; SPADE's are plain.
        noise: whether there are noise adders; `adders` tells how many.
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        spade: Callable[[int], nn.Module],
        conv_norm: str = "spectral",
        noise: bool = True,
    ):
        super().__init__()
        self.learned_shortcut = cin != cout
        self.noisy = noise
        self.adders = noise * (3 if self.learned_shortcut else 2)
        if self.learned_shortcut:
            self.shortcut_norm = spade(cin)
            self.shortcut_conv = conv(cin, cout, 1, bias=False, conv_norm=conv_norm)
            self.shortcut_noise = NoiseAdder(cin) if noise else None
        self.norm1 = spade(cin)
        self.conv1 = conv(cin, cout, 3, padding=1, conv_norm=conv_norm)
        self.noise1 = NoiseAdder(cin) if noise else None
        self.norm2 = spade(cout)
        self.conv2 = conv(cout, cout, 3, padding=1, conv_norm=conv_norm)
        self.noise2 = NoiseAdder(cout) if noise else None

    def forward(self, x: Tensor, code: Tensor, noise: Iterator[Tensor], code1: Tensor | None = None) -> Tensor:
        """[B,cin,H,W] -> [B,cout,H,W].

        code: of x's size; code1: what the first norm takes instead, or None. noise: one map [B,1,H,W] for each adder,
        in the order shortcut, first, second.
        """
        shortcut = x
        if self.learned_shortcut:
            h = self.shortcut_noise(x, next(noise)) if self.noisy else x
            shortcut = self.shortcut_conv(F.leaky_relu(self.shortcut_norm(h, code), 0.2, inplace=True))
        h = self.noise1(x, next(noise)) if self.noisy else x
        h = self.conv1(F.leaky_relu(self.norm1(h, code if code1 is None else code1), 0.2, inplace=True))
        h = self.noise2(h, next(noise)) if self.noisy else h
        h = self.conv2(F.leaky_relu(self.norm2(h, code), 0.2, inplace=True))
        return h + shortcut


class StyleHead(nn.Module):
    """The first map of a generator from a style: one linear layer to 4x4 (arXiv:1903.07291, Appendix A, Fig. 12), the
    1/64 map of a 256x256 picture; resized for other sizes.
    """

    def __init__(self, style: int, channels: int):
        super().__init__()
        self.linear = he_init(nn.Linear(style, channels * 16))

    def forward(self, style: Tensor, size: tuple[int, int]) -> Tensor:
        """[B,style] -> [B,channels,*size]."""
        return resize(self.linear(style).unflatten(1, (-1, 4, 4)), size)


def upsampling(kind: str, channels: int, conv_norm: str = "none") -> nn.Module:
    """Twice the size, [B,channels,H,W] -> [B,channels,2H,2W].

    kind: bilinear | nearest (no parameters), subpixel (models.layers.SubPixelConv), deconv (4x4 transposed
    convolution of stride 2). The original's deconv, of stride 1, did not upsample.
    """
    assert kind in ("bilinear", "nearest", "subpixel", "deconv"), kind
    if kind == "subpixel":
        return SubPixelConv(channels, channels, conv_norm=conv_norm)
    if kind == "deconv":
        return deconv(channels, channels, 4, 2, 1, conv_norm=conv_norm)
    return nn.Upsample(scale_factor=2, mode=kind, align_corners=True if kind == "bilinear" else None)


def to_picture(channels: int) -> nn.Conv2d:
    """The last 3x3 convolution, to three channels, N(0, 0.05) as in the original."""
    layer = conv(channels, 3, 3, padding=1)
    nn.init.normal_(layer.weight, 0.0, 0.05)
    return layer


def first_size(label: Tensor) -> tuple[int, int]:
    """H/64, W/64 of a label map [B,L,H,W], whose sides have to be multiples of 64."""
    height, width = label.shape[2:]
    assert height % 2**UPSAMPLINGS == 0 and width % 2**UPSAMPLINGS == 0, tuple(label.shape)
    return height // 2**UPSAMPLINGS, width // 2**UPSAMPLINGS
