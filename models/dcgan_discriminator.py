"""The discriminators of DCGAN and of animeGAN's fully connected variants: a picture becomes one logit."""

import torch.nn.functional as F
from torch import Tensor, nn

from models.dcgan_generator import HIDDEN, picture_kernel, stage_widths
from models.init import initialize
from models.layers import conv, linear, norm_layer


class Projection(nn.Module):
    """<y V, features>, the logit's share of the classes (Miyato & Koyama 2018, arXiv:1802.05637, Eq. 3)."""

    def __init__(self, classes: int, features: int, conv_norm: str):
        super().__init__()
        self.embed = linear(classes, features, bias=False, conv_norm=conv_norm)
        nn.init.normal_(self.embed.weight, 0.0, 0.02)  # torch's own, U(-1, 1) for one class, would drown the logit

    def forward(self, y: Tensor, features: Tensor) -> Tensor:
        """y [B,classes] in {0,1}, features [B,F] -> [B]."""
        return (self.embed(y) * features).sum(1)


class DownStack(nn.Module):
    """DCGAN's strided convolutions (Radford et al. 2016, arXiv:1511.06434, sec. 3) with leaky ReLUs, down to 4x4.

    `extra_layers` 3x3 convolutions come last; the first layer has no norm. Norms and biases as in UpStack;
    conv_norm: none | spectral.
    """

    def __init__(self, width: int, size: int, extra_layers: int, norm: str, conv_norm: str):
        super().__init__()
        last, *widths = stage_widths(width, size)
        how = dict(bias=norm == "none", conv_norm=conv_norm)
        self.from_picture = conv(3, width, *picture_kernel(size), bias=norm != "batch", conv_norm=conv_norm)
        layers = [conv(c, 2 * c, 4, 2, 1, **how) for c in reversed(widths)]
        layers += [conv(last, last, 3, padding=1, **how) for _ in range(extra_layers)]
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(norm_layer(norm, layer.out_channels) for layer in layers)
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """[B,3,size,size] -> [B,F,4,4]; F is 8 * width, at 128 16 * width."""
        x = F.leaky_relu(self.from_picture(x), 0.2, inplace=True)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.leaky_relu(norm(layer(x)), 0.2, inplace=True)
        return x


class DCGANDiscriminator(nn.Module):
    """DCGAN's discriminator with animeGAN's extra layers (its model 1).

    Args:
        width: channels after the first layer, doubled at each halving of the size. size: 64, 96 or 128.
        extra_layers: 3x3 convolutions before the last layer. classes: length of y, 0 for pictures of one kind.
        norm: batch | instance | none. conv_norm: none | spectral, for every layer.

    Initial weights as DCGANGenerator's.
    """

    def __init__(
        self,
        width: int = 64,
        size: int = 64,
        extra_layers: int = 0,
        classes: int = 0,
        norm: str = "batch",
        conv_norm: str = "none",
    ):
        super().__init__()
        features = stage_widths(width, size)[0]
        self.downs = DownStack(width, size, extra_layers, norm, conv_norm)
        self.to_logit = initialize(conv(features, 1, 4, bias=norm != "batch", conv_norm=conv_norm))
        self.projection = Projection(classes, features, conv_norm) if classes else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """[B,3,size,size] in [-1,1], y [B,classes] in {0,1}, None without classes -> logits [B]."""
        h = self.downs(x)
        logits = self.to_logit(h).flatten()
        return logits + self.projection(y, h.sum((2, 3))) if self.projection else logits


class FCDiscriminator(nn.Module):
    """animeGAN's discriminator of models 2 and 3: two hidden layers of 1024 with dropout after the stack.

    The fully connected layers start as torch's do. Otherwise as DCGANDiscriminator, without extra layers.
    """

    def __init__(self, width: int = 64, size: int = 64, classes: int = 0, norm: str = "batch", conv_norm: str = "none"):
        super().__init__()
        features = stage_widths(width, size)[0]
        self.downs = DownStack(width, size, 0, norm, conv_norm)
        self.to_hidden = initialize(conv(features, HIDDEN, 4, bias=norm != "batch", conv_norm=conv_norm))
        self.fc = linear(HIDDEN, HIDDEN, conv_norm=conv_norm)
        self.to_logit = linear(HIDDEN, 1, conv_norm=conv_norm)
        self.dropout = nn.Dropout(0.5)
        self.projection = Projection(classes, HIDDEN, conv_norm) if classes else None

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """[B,3,size,size] in [-1,1], y [B,classes] in {0,1}, None without classes -> logits [B]."""
        h = self.dropout(F.leaky_relu(self.to_hidden(self.downs(x)).flatten(1), 0.01))
        h = self.dropout(F.leaky_relu(self.fc(h), 0.01))
        logits = self.to_logit(h).flatten()
        return logits + self.projection(y, h) if self.projection else logits
