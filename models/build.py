"""One function per network: the only place where options become networks.

Used by training, prediction, import, export and evaluation. `opt` is a family's options object.
"""

from typing import Any

from torch import nn

from models.seg_deeplab import ResNetDeepLab
from models.seg_discriminator import FCNDiscriminator
from models.seg_fcn import DilatedFCN
from models.seg_unet import SegUNet


def seg_generator(opt: Any, download: bool = True) -> nn.Module:
    """G of the seg family: RGB [B, 3, H, W] in [0, 1] -> logits [B, C, H, W].

    download: whether `model.pretrained` may fetch the encoder's weights; prediction needs none.
    """
    m, classes = opt.model, len(opt.data.class_names)
    norms = dict(conv_norm=m.conv_norm, norm=m.norm, eps=m.norm_eps)
    if m.generator == "resnet_deeplab":
        return ResNetDeepLab(
            classes,
            m.encoder,
            m.depth,
            m.aspp_width,
            pretrained=m.pretrained and download,
            frozen_bn=m.frozen_bn,
            **norms,
        )
    if m.generator == "dilated_fcn":
        return DilatedFCN(classes, m.width, m.aspp_width, **norms)
    return SegUNet(classes, m.width, dropout=m.dropout, **norms)


def seg_discriminator(opt: Any) -> nn.Module:
    """D of the seg family: class maps [B, C, H, W] -> confidence logits [B, 1, H, W]."""
    m = opt.model
    return FCNDiscriminator(len(opt.data.class_names), m.d_width, conv_norm=m.conv_norm, norm=m.norm, eps=m.norm_eps)


def millions(network: nn.Module) -> str:
    """Parameters in millions with three decimals."""
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.3f} M"
