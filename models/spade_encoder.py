"""The style encoder of SPADE: a picture becomes a distribution of styles."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.chance import Draw, alone
from models.layers import conv, he_init, norm_layer


class StyleEncoder(nn.Module):
    """The image encoder of Park et al. 2019 (arXiv:1903.07291, Appendix A, Fig. 14): six strided 3x3 convolutions,
    width to 8 * width channels, each with a norm and a leaky ReLU, then one linear layer for each moment.

    Args:
        style: length of the latent. size: (H, W), multiples of 64; pictures of another size are resized to it.
        conv_norm: none | spectral. norm: batch | instance (both without affine parameters) | none; a last map of 1x1
            has none, of which an instance norm would leave nothing.
    """

    def __init__(
        self,
        width: int = 64,
        style: int = 256,
        size: tuple[int, int] = (256, 256),
        conv_norm: str = "spectral",
        norm: str = "instance",
        eps: float = 1e-5,
    ):
        super().__init__()
        assert size[0] % 64 == 0 and size[1] % 64 == 0, size
        self.size = tuple(size)
        channels = [3] + [width * min(2**level, 8) for level in range(6)]
        norms = [norm] * 5 + ["none" if self.size == (64, 64) else norm]
        self.convs = nn.ModuleList(
            conv(channels[i], channels[i + 1], 3, 2, 1, bias=norms[i] == "none", conv_norm=conv_norm) for i in range(6)
        )
        self.norms = nn.ModuleList(norm_layer(norms[i], channels[i + 1], eps, affine=False) for i in range(6))
        features = channels[-1] * (size[0] // 64) * (size[1] // 64)
        self.mean = he_init(nn.Linear(features, style))
        self.log_variance = he_init(nn.Linear(features, style))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """[B,3,H,W] in [-1,1] -> mean [B,style], log variance [B,style]."""
        h = picture
        if h.shape[2:] != self.size:
            h = F.interpolate(h, size=self.size, mode="bilinear", align_corners=False)
        for layer, norm in zip(self.convs, self.norms, strict=True):
            h = F.leaky_relu(norm(layer(h)), 0.2, inplace=True)
        h = h.flatten(1)
        return self.mean(h), self.log_variance(h)


def draw_style(
    encoder: StyleEncoder | None, x: Tensor, draw: Draw = alone
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """(style, mean, log variance), [B, style] each: a style drawn from the posterior of pictures x; Nones without one.

    The reparametrisation of Kingma & Welling 2014, arXiv:1312.6114, sec. 2.4. draw: Run.draw, for a part of a batch.
    """
    if encoder is None:
        return None, None, None
    mean, log_variance = encoder(x)
    return mean + draw(torch.randn_like, mean) * (0.5 * log_variance).exp(), mean, log_variance
