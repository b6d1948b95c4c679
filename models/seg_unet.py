"""The U-Net segmentation generator (Ronneberger et al. 2015, arXiv:1505.04597) in pix2pix's manner."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import Perturb, conv, deconv, norm_layer, pad_to_multiple, unchanged


class SegUNet(nn.Module):
    """A 3x3 convolution and four strided 4x4 ones down, four transposed 4x4 ones up with three skips.

    Dropout follows the norm of the three inner upsamplings. As in the original there is no skip at full
    resolution, and the transposed convolutions are never spectral.
    conv_norm: none | spectral; norm: batch | instance | none.
    """

    def __init__(
        self,
        classes: int,
        width: int = 64,
        in_channels: int = 3,
        dropout: float = 0.5,
        conv_norm: str = "spectral",
        norm: str = "batch",
        eps: float = 1e-5,
    ):
        super().__init__()
        self.down1 = conv(in_channels, width, 3, 1, 1, conv_norm=conv_norm)
        self.down_norm1 = norm_layer(norm, width, eps)
        self.down2 = conv(width, width * 2, 4, 2, 1, conv_norm=conv_norm)
        self.down_norm2 = norm_layer(norm, width * 2, eps)
        self.down3 = conv(width * 2, width * 4, 4, 2, 1, conv_norm=conv_norm)
        self.down_norm3 = norm_layer(norm, width * 4, eps)
        self.down4 = conv(width * 4, width * 8, 4, 2, 1, conv_norm=conv_norm)
        self.down_norm4 = norm_layer(norm, width * 8, eps)
        self.down5 = conv(width * 8, width * 16, 4, 2, 1, conv_norm=conv_norm)
        self.down_norm5 = norm_layer(norm, width * 16, eps)
        self.up1 = deconv(width * 16, width * 8, 4, 2, 1)
        self.up_norm1 = norm_layer(norm, width * 8, eps)
        self.up2 = deconv(width * 16, width * 4, 4, 2, 1)
        self.up_norm2 = norm_layer(norm, width * 4, eps)
        self.up3 = deconv(width * 8, width * 2, 4, 2, 1)
        self.up_norm3 = norm_layer(norm, width * 2, eps)
        self.up4 = deconv(width * 4, width, 4, 2, 1)
        self.up_norm4 = norm_layer(norm, width, eps)
        self.to_class = conv(width, classes, 3, padding=1, conv_norm=conv_norm)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, perturb: Perturb = unchanged) -> Tensor:
        """[B,in_channels,H,W] in [0,1], any size -> class logits [B,classes,H,W].

        perturb: of all that the way up takes from the way down, each by itself.
        """
        x, (height, width) = pad_to_multiple(x, 16)
        x1 = F.relu(self.down_norm1(self.down1(x)), inplace=True)
        x2 = F.relu(self.down_norm2(self.down2(x1)), inplace=True)
        x3 = F.relu(self.down_norm3(self.down3(x2)), inplace=True)
        x4 = F.relu(self.down_norm4(self.down4(x3)), inplace=True)
        x5 = F.relu(self.down_norm5(self.down5(x4)), inplace=True)
        h = F.relu(self.dropout(self.up_norm1(self.up1(perturb(x5)))), inplace=True)
        h = F.relu(self.dropout(self.up_norm2(self.up2(torch.cat((perturb(x4), h), 1)))), inplace=True)
        h = F.relu(self.dropout(self.up_norm3(self.up3(torch.cat((perturb(x3), h), 1)))), inplace=True)
        h = F.relu(self.up_norm4(self.up4(torch.cat((perturb(x2), h), 1))), inplace=True)
        return self.to_class(h)[..., :height, :width]
