"""The default segmentation generator: ResNet encoder, atrous convolutions, ASPP, sub-pixel upsampling."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.aspp import ASPP
from models.layers import Perturb, SubPixelConv, conv, norm_layer, pad_to_multiple, unchanged
from models.resnet import MSRAResNet101, ResNetEncoder


def _encoder(name: str, depth: str, pretrained: bool, frozen_bn: bool) -> nn.Module:
    if name != "msra101":
        return ResNetEncoder(name, depth, pretrained, frozen_bn)
    assert depth == "layer2" and not pretrained, "msra101 has only depth=layer2, and no weights to download"
    return MSRAResNet101(frozen_bn=frozen_bn)


class ResNetDeepLab(nn.Module):
    """S of Hung et al. 2018 (arXiv:1802.07934, sec. 3.1), after DeepLab-v2 (Chen et al., arXiv:1606.00915).

    encoder: resnet18 | resnet34 | resnet50 | resnet101 | msra101 (the original's Caffe ResNet-101: only
    depth=layer2, no pretrained weights). conv_norm (none | spectral), norm and eps are those of the decoder.
    """

    def __init__(
        self,
        classes: int,
        encoder: str = "resnet101",
        depth: str = "layer2",
        aspp_width: int = 256,
        conv_norm: str = "spectral",
        norm: str = "batch",
        eps: float = 1e-5,
        pretrained: bool = False,
        frozen_bn: bool = False,
    ):
        super().__init__()
        self.encoder = _encoder(encoder, depth, pretrained, frozen_bn)
        width = min(self.encoder.channels, 512)
        self.atrous1 = conv(self.encoder.channels, width, 3, padding=2, dilation=2, conv_norm=conv_norm)
        self.norm1 = norm_layer(norm, width, eps)
        self.atrous2 = conv(width, width, 3, padding=4, dilation=4, conv_norm=conv_norm)
        self.norm2 = norm_layer(norm, width, eps)
        self.aspp = ASPP(width, aspp_width, conv_norm=conv_norm, norm=norm, eps=eps)
        self.up1 = SubPixelConv(width, width // 2, conv_norm=conv_norm)
        self.up2 = SubPixelConv(width // 2, width // 4, conv_norm=conv_norm)
        self.up3 = SubPixelConv(width // 4, width // 8, conv_norm=conv_norm)
        self.to_class = conv(width // 8, classes, 3, padding=1, conv_norm=conv_norm)

    def forward(self, x: Tensor, perturb: Perturb = unchanged) -> Tensor:
        """RGB [B,3,H,W] in [0,1], any size -> class logits [B,classes,H,W]. perturb: of the encoder's features."""
        x, (height, width) = pad_to_multiple(x, 8)
        h = perturb(self.encoder(x))  # ends in a ReLU, on which the original's leaky ReLU changes nothing
        h = F.leaky_relu(self.norm1(self.atrous1(h)), 0.2, inplace=True)
        h = F.leaky_relu(self.norm2(self.atrous2(h)), 0.2, inplace=True)
        h = self.aspp(h)
        for up in (self.up1, self.up2, self.up3):
            h = F.leaky_relu(up(h), 0.2, inplace=True)
        return self.to_class(h)[..., :height, :width]
