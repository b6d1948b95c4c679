"""The patch discriminator of SPADE-pix2pix-for-Anime."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.attention import SelfAttention
from models.layers import conv, norm_layer


def norm_act(norm: nn.Module, x: Tensor, slope: float) -> Tensor:
    """Norm and leaky ReLU of a map that is used elsewhere too."""
    return F.leaky_relu(norm(x), slope, inplace=not isinstance(norm, nn.Identity))


class ResBlock(nn.Module):
    """Norm, activation, 3x3 convolution, twice, and the same once as the shortcut. cin and cout differ.

    The original runs the first leaky ReLU twice, which makes its slope 0.04.
    """

    def __init__(self, cin: int, cout: int, conv_norm: str = "spectral", norm: str = "batch", eps: float = 2e-5):
        super().__init__()
        self.norm1 = norm_layer(norm, cin, eps)
        self.conv1 = conv(cin, cout, 3, padding=1, conv_norm=conv_norm)
        self.norm2 = norm_layer(norm, cout, eps)
        self.conv2 = conv(cout, cout, 3, padding=1, conv_norm=conv_norm)
        self.shortcut_norm = norm_layer(norm, cin, eps)
        self.shortcut_conv = conv(cin, cout, 3, padding=1, conv_norm=conv_norm)

    def forward(self, x: Tensor) -> Tensor:
        """[B,cin,H,W] -> [B,cout,H,W]."""
        shortcut = self.shortcut_conv(norm_act(self.shortcut_norm, x, 0.2))
        h = self.conv1(norm_act(self.norm1, x, 0.04))
        return self.conv2(F.leaky_relu(self.norm2(h), 0.2, inplace=True)) + shortcut


class SpadeDiscriminator(nn.Module):
    """A 70x70 PatchGAN's convolutions (Isola et al. 2017, arXiv:1611.07004) with self-attention at 1/8, one more 4x4
    convolution and three residual blocks. The defaults are the original's.

    conv_norm: none | spectral; norm: batch | instance | none.
    """

    def __init__(
        self,
        in_channels: int,
        width: int = 64,
        conv_norm: str = "spectral",
        norm: str = "batch",
        eps: float = 2e-5,
    ):
        super().__init__()
        self.conv1 = conv(in_channels, width, 4, 2, 1, conv_norm=conv_norm)
        self.conv2 = conv(width, width * 2, 4, 2, 1, conv_norm=conv_norm)
        self.norm2 = norm_layer(norm, width * 2, eps)
        self.conv3 = conv(width * 2, width * 4, 4, 2, 1, conv_norm=conv_norm)
        self.attention = SelfAttention(width * 4, conv_norm=conv_norm)
        self.norm3 = norm_layer(norm, width * 4, eps)
        self.conv4 = conv(width * 4, width * 8, 4, 1, 1, conv_norm=conv_norm)
        self.norm4 = norm_layer(norm, width * 8, eps)
        self.head = conv(width * 8, width * 8, 4, 1, 1, conv_norm=conv_norm)
        self.blocks = nn.Sequential(
            *(ResBlock(cin * width, cin * width // 2, conv_norm, norm, eps) for cin in (8, 4, 2))
        )
        self.to_logit = conv(width, 1, 3, padding=1, conv_norm=conv_norm)
        nn.init.normal_(self.to_logit.weight, 0.0, 0.05)

    def forward(self, x: Tensor) -> list[list[Tensor]]:
        """[B,in_channels,H,W] -> one list: five feature maps after their activations, then the logits.

        256x256: maps of 128, 64, 32, 31 and 30 a side, logits [B,1,30,30].
        """
        h1 = F.leaky_relu(self.conv1(x), 0.2, inplace=True)
        h2 = F.leaky_relu(self.norm2(self.conv2(h1)), 0.2, inplace=True)
        h3 = F.leaky_relu(self.norm3(self.attention(self.conv3(h2))), 0.2, inplace=True)
        h4 = F.leaky_relu(self.norm4(self.conv4(h3)), 0.2, inplace=True)
        h5 = F.leaky_relu(self.blocks(self.head(h4)), 0.2, inplace=True)
        return [[h1, h2, h3, h4, h5, self.to_logit(h5)]]
