"""The fully convolutional discriminator of Hung et al. 2018 (arXiv:1802.07934, sec. 3.1)."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import conv, deconv, norm_layer


class FCNDiscriminator(nn.Module):
    """Five strided 3x3 convolutions, then a learned 32x32 stamp that brings the map back to the input's size.

    conv_norm: none | spectral; norm: batch | instance | none.
    """

    def __init__(
        self,
        classes: int,
        width: int = 64,
        conv_norm: str = "spectral",
        norm: str = "batch",
        eps: float = 1e-5,
    ):
        super().__init__()
        self.conv1 = conv(classes, width, 3, 2, 1, conv_norm=conv_norm)
        self.conv2 = conv(width, width * 2, 3, 2, 1, conv_norm=conv_norm)
        self.norm2 = norm_layer(norm, width * 2, eps)
        self.conv3 = conv(width * 2, width * 4, 3, 2, 1, conv_norm=conv_norm)
        self.norm3 = norm_layer(norm, width * 4, eps)
        self.conv4 = conv(width * 4, width * 8, 3, 2, 1, conv_norm=conv_norm)
        self.norm4 = norm_layer(norm, width * 8, eps)
        self.conv5 = conv(width * 8, 1, 3, 2, 1, conv_norm=conv_norm)
        self.upscale = deconv(1, 1, 32, 32, conv_norm=conv_norm)
        nn.init.normal_(self.upscale.weight, 0.0, 0.05)

    def forward(self, p: Tensor) -> Tensor:
        """Class probabilities or one-hot labels [B,classes,H,W], any size -> confidence logits [B,1,H,W]."""
        h = F.leaky_relu(self.conv1(p), 0.2, inplace=True)
        h = F.leaky_relu(self.norm2(self.conv2(h)), 0.2, inplace=True)
        h = F.leaky_relu(self.norm3(self.conv3(h)), 0.2, inplace=True)
        h = F.leaky_relu(self.norm4(self.conv4(h)), 0.2, inplace=True)
        h = F.leaky_relu(self.conv5(h), 0.2, inplace=True)
        return self.upscale(h)[..., : p.shape[2], : p.shape[3]]
