"""One function per network: the only place where options become networks.

Used by training, prediction, import, export and evaluation. `opt` is a family's options object.
"""

from typing import Any

from torch import nn

from models.dcgan_discriminator import DCGANDiscriminator, FCDiscriminator
from models.dcgan_generator import DCGANGenerator, FCGenerator
from models.init import initialize
from models.patch import MultiscaleDiscriminator, PatchDiscriminator, PixelDiscriminator
from models.pix2pix_resnet import ResnetGenerator
from models.pix2pix_unet import UNet
from models.seg_deeplab import ResNetDeepLab
from models.seg_discriminator import FCNDiscriminator
from models.seg_fcn import DilatedFCN
from models.seg_unet import SegUNet
from models.spade_discriminator import SpadeDiscriminator
from models.spade_encoder import StyleEncoder
from models.spade_generator import SpadeGenerator
from models.spade_oasis import OasisDiscriminator
from models.spade_paper import PaperGenerator


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


def pix2pix_generator(opt: Any) -> nn.Module:
    """G of the pix2pix family: x [B, in, H, W] and z [B, Z] or None -> [B, out, H, W]; pictures in [-1, 1]."""
    m = opt.model
    same = dict(width=m.width, norm=m.norm, dropout=m.dropout, upsample=m.upsample, z=m.z, z_at=m.z_at)
    if m.generator == "resnet":
        return ResnetGenerator(m.in_channels, m.out_channels, m.blocks, **same)
    depth = min(opt.data.size).bit_length() - 1  # down to 1x1: 8 halvings of 256
    return UNet(m.in_channels, m.out_channels, depth, **same)


def pix2pix_discriminator(opt: Any) -> nn.Module:
    """D of the pix2pix family: input and picture [B, in + out, H, W] -> per scale its feature maps, the logits last."""
    m = opt.model
    channels = m.in_channels + m.out_channels
    if m.discriminator == "pixel":
        return PixelDiscriminator(channels, m.d_width, m.d_norm)
    if m.num_discriminators == 1:
        return PatchDiscriminator(channels, m.d_width, m.d_layers, m.d_norm)
    return MultiscaleDiscriminator(channels, m.d_width, m.d_layers, m.d_norm, m.num_discriminators)


def spade_generator(opt: Any) -> nn.Module:
    """G of the spade family: label [B, L, H, W], colours [B, 3, H, W] or None -> picture [B, 3, H, W] in [-1, 1].

    Its `encoder` gives a picture's style where model.style asks for one, else it is None.
    """
    m, labels = opt.model, opt.data.label_channels
    same = dict(
        width=m.width, color=opt.data.color, upsample=m.upsample, conv_norm=m.conv_norm, norm=m.norm, eps=m.norm_eps,
        style=m.style,
    )  # fmt: skip
    if m.generator == "paper":
        G = PaperGenerator(labels, hidden=m.hidden, **same)
    else:
        G = SpadeGenerator(labels, code_width=m.code_width, noise=m.noise, **same)
    G.encoder = StyleEncoder(m.width, m.style, opt.data.size, m.conv_norm, eps=m.norm_eps) if m.style else None
    return G


def spade_discriminator(opt: Any) -> nn.Module:
    """D of the spade family: label, picture, colours [B, L + 3 (+ 3), H, W] -> per scale its maps, logits last.

    OASIS's gets no label, which it has to find: its logits are of every pixel's class.
    """
    m, pictures = opt.model, 6 if opt.data.color else 3
    if m.discriminator == "oasis":
        levels = min(6, min(opt.data.size).bit_length() - 3)  # down to 4x4 at least; all sides are multiples of 64
        norms = dict(conv_norm=m.conv_norm, norm=m.d_norm, eps=m.norm_eps)
        return OasisDiscriminator(pictures, len(opt.data.class_names), m.d_width, levels, **norms)
    channels = opt.data.label_channels + pictures
    if m.discriminator == "multiscale":
        layout = dict(layers=m.d_layers, count=m.num_discriminators, halve_width=False)
        D = MultiscaleDiscriminator(channels, m.d_width, norm=m.d_norm, conv_norm=m.conv_norm, eps=m.norm_eps, **layout)
        return initialize(D, "xavier", 0.02)  # as in the SPADE authors' program
    return SpadeDiscriminator(channels, m.d_width, m.conv_norm, m.d_norm, m.norm_eps)


def dcgan_generator(opt: Any) -> nn.Module:
    """G of the dcgan family: z [B, Z], y [B, K] or None -> picture [B, 3, S, S] in [-1, 1]."""
    m = opt.model
    same = dict(z=m.z, width=m.g_width, size=opt.data.size[0], classes=len(opt.data.classes), norm=m.g_norm)
    if m.variant == "dcgan":
        return DCGANGenerator(extra_layers=m.n_extra_g, **same)
    return FCGenerator(decoder=m.variant == "illustration", **same)


def dcgan_discriminator(opt: Any) -> nn.Module:
    """D of the dcgan family: picture [B, 3, S, S], y [B, K] or None -> logits [B]."""
    m = opt.model
    same = dict(
        width=m.d_width, size=opt.data.size[0], classes=len(opt.data.classes), norm=m.d_norm, conv_norm=m.d_conv_norm
    )
    if m.variant == "dcgan":
        return DCGANDiscriminator(extra_layers=m.n_extra_d, **same)
    return FCDiscriminator(**same)


def millions(network: nn.Module) -> str:
    """Parameters in millions with three decimals."""
    return f"{sum(p.numel() for p in network.parameters()) / 1e6:.3f} M"
