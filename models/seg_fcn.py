"""A small fully convolutional segmentation generator with dilated convolutions and ASPP, from scratch."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.aspp import ASPP
from models.layers import Perturb, SubPixelConv, conv, norm_layer, pad_to_multiple, unchanged


class DilatedFCN(nn.Module):
    """Three strided 4x4 convs, two dilated 3x3 (Yu & Koltun 2016, arXiv:1511.07122), ASPP, two doublings.

    The original stops at half the resolution; here its logits are resized to the input's.
    conv_norm: none | spectral; norm: batch | instance | none.
    """

    def __init__(
        self,
        classes: int,
        width: int = 64,
        aspp_width: int = 256,
        in_channels: int = 3,
        conv_norm: str = "spectral",
        norm: str = "batch",
        eps: float = 1e-5,
        aspp_rates: tuple[int, ...] = (3, 6, 9),
    ):
        super().__init__()
        self.conv1 = conv(in_channels, width, 4, 2, 1, conv_norm=conv_norm)
        self.norm1 = norm_layer(norm, width, eps)
        self.conv2 = conv(width, width * 2, 4, 2, 1, conv_norm=conv_norm)
        self.norm2 = norm_layer(norm, width * 2, eps)
        self.conv3 = conv(width * 2, width * 4, 4, 2, 1, conv_norm=conv_norm)
        self.norm3 = norm_layer(norm, width * 4, eps)
        self.atrous1 = conv(width * 4, width * 4, 3, padding=2, dilation=2, conv_norm=conv_norm)
        self.norm4 = norm_layer(norm, width * 4, eps)
        self.atrous2 = conv(width * 4, width * 4, 3, padding=4, dilation=4, conv_norm=conv_norm)
        self.norm5 = norm_layer(norm, width * 4, eps)
        self.aspp = ASPP(width * 4, aspp_width, aspp_rates, conv_norm, norm, eps)
        self.up1 = SubPixelConv(width * 4, width * 2, conv_norm=conv_norm)
        self.up2 = SubPixelConv(width * 2, width, conv_norm=conv_norm)
        self.to_class = conv(width, classes, 3, padding=1, conv_norm=conv_norm)

    def half_resolution(self, x: Tensor, perturb: Perturb = unchanged) -> Tensor:
        """[B,in_channels,H,W] in [0,1], H and W multiples of 8 -> class logits [B,classes,H/2,W/2]."""
        h = F.relu(self.norm1(self.conv1(x)), inplace=True)
        h = F.relu(self.norm2(self.conv2(h)), inplace=True)
        h = F.relu(self.norm3(self.conv3(h)), inplace=True)
        h = F.relu(self.norm4(self.atrous1(h)), inplace=True)
        h = F.relu(self.norm5(self.atrous2(h)), inplace=True)
        h = self.aspp(perturb(h))
        h = F.relu(self.up1(h), inplace=True)
        h = F.relu(self.up2(h), inplace=True)
        return self.to_class(h)

    def forward(self, x: Tensor, perturb: Perturb = unchanged) -> Tensor:
        """[B,in_channels,H,W] in [0,1], any size -> class logits [B,classes,H,W]. perturb: of what enters the ASPP."""
        x, (height, width) = pad_to_multiple(x, 8)
        logits = self.half_resolution(x, perturb)
        logits = F.interpolate(logits, size=x.shape[-2:], mode="bilinear", align_corners=False)
        return logits[..., :height, :width]
