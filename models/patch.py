"""Patch discriminators: a map of logits, one for each patch of the picture, and the feature maps on the way."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import SNConv2d, norm_layer


class PatchDiscriminator(nn.Module):
    """PatchGAN (Isola et al. 2017, arXiv:1611.07004, sec. 6.1.2): `layers` strided 4x4 convolutions, two of stride 1.

    A logit sees 16, 34, 70 or 142 pixels a side with 1, 2, 3 or 4 layers. The first and the last convolution have no
    norm. norm: batch | instance (without affine parameters) | none; conv_norm: none | spectral.
    """

    def __init__(
        self,
        in_channels: int,
        width: int = 64,
        layers: int = 3,
        norm: str = "batch",
        conv_norm: str = "none",
        eps: float = 1e-5,
    ):
        super().__init__()
        assert conv_norm in ("none", "spectral"), conv_norm
        layer = SNConv2d if conv_norm == "spectral" else nn.Conv2d
        channels = [in_channels] + [width * min(2**level, 8) for level in range(layers + 1)]
        strides = [2] * layers + [1]
        self.convs = nn.ModuleList(
            layer(channels[i], channels[i + 1], 4, strides[i], 1, bias=i == 0 or norm != "batch")
            for i in range(layers + 1)
        )
        self.norms = nn.ModuleList(norm_layer(norm, c, eps, affine=norm == "batch") for c in channels[2:])
        self.to_logit = layer(channels[-1], 1, 4, 1, 1)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """[B,in_channels,H,W] -> one list: the feature maps [B,C_i,H_i,W_i] after each activation, the logits last."""
        maps = [F.leaky_relu(self.convs[0](x), 0.2, inplace=True)]
        for conv, norm in zip(self.convs[1:], self.norms, strict=True):
            maps.append(F.leaky_relu(norm(conv(maps[-1])), 0.2, inplace=True))
        return [[*maps, self.to_logit(maps[-1])]]


class PixelDiscriminator(nn.Module):
    """The 1x1 variant (arXiv:1611.07004, sec. 6.1.2): every pixel is judged alone.

    As in the authors' program the last convolution, too, has a bias only without batch norm.
    """

    def __init__(self, in_channels: int, width: int = 64, norm: str = "batch"):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1)
        self.conv2 = nn.Conv2d(width, width * 2, 1, bias=norm != "batch")
        self.norm2 = norm_layer(norm, width * 2, affine=norm == "batch")
        self.to_logit = nn.Conv2d(width * 2, 1, 1, bias=norm != "batch")

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """[B,in_channels,H,W] -> one list: two feature maps, then the logits [B,1,H,W]."""
        h1 = F.leaky_relu(self.conv1(x), 0.2, inplace=True)
        h2 = F.leaky_relu(self.norm2(self.conv2(h1)), 0.2, inplace=True)
        return [[h1, h2, self.to_logit(h2)]]


class MultiscaleDiscriminator(nn.Module):
    """Patch discriminators on the picture and on its halvings (Wang et al. 2018, arXiv:1711.11585, sec. 3.2).

    halve_width: the k-th has width / 2^k, as in Zhu et al. 2017, arXiv:1711.11586; else all have the same. With
    norm=instance, conv_norm=spectral and one width it is SPADE's (arXiv:1903.07291, Appendix A).
    """

    def __init__(
        self,
        in_channels: int,
        width: int = 64,
        layers: int = 3,
        norm: str = "batch",
        count: int = 2,
        conv_norm: str = "none",
        eps: float = 1e-5,
        halve_width: bool = True,
    ):
        super().__init__()
        widths = [max(1, width // 2**k) if halve_width else width for k in range(count)]
        self.scales = nn.ModuleList(PatchDiscriminator(in_channels, w, layers, norm, conv_norm, eps) for w in widths)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """[B,in_channels,H,W] -> one list per scale, as PatchDiscriminator's."""
        outputs = []
        for k, scale in enumerate(self.scales):
            if k:
                x = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
            outputs += scale(x)
        return outputs
