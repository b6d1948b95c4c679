"""The generators of DCGAN and of animeGAN's fully connected variants: a latent becomes a picture."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.init import initialize
from models.layers import norm_layer

HIDDEN = 1024  # units of the fully connected layers, as in animeGAN


def stage_widths(width: int, size: int) -> list[int]:
    """Channels of the maps of 4x4, 8x8, ... up to the largest one, which has `width`: one stage more at 128."""
    assert size in (64, 96, 128), size
    return [width * 2**level for level in reversed(range(5 if size == 128 else 4))]


def picture_kernel(size: int) -> tuple[int, int, int]:
    """(kernel, stride, padding) between the picture and the largest map: of 32x32 at 64 and 96, of 64x64 at 128."""
    return (5, 3, 1) if size == 96 else (4, 2, 1)


class UpStack(nn.Module):
    """DCGAN's transposed convolutions (Radford et al. 2016, arXiv:1511.06434, Fig. 1), 1x1 to the picture.

    `extra_layers` 3x3 convolutions stand before the last layer, which has no norm. norm: batch | instance | none.
    As in animeGAN no convolution has a bias with batch norm; with the others those have one that no norm follows.
    slope: of the leaky ReLUs, 0 for ReLUs.
    """

    def __init__(self, cin: int, width: int, size: int, extra_layers: int, norm: str, slope: float):
        super().__init__()
        widths = stage_widths(width, size)
        bias = norm == "none"
        layers = [nn.ConvTranspose2d(cin, widths[0], 4, bias=bias)]
        layers += [nn.ConvTranspose2d(2 * c, c, 4, 2, 1, bias=bias) for c in widths[1:]]
        layers += [nn.Conv2d(width, width, 3, padding=1, bias=bias) for _ in range(extra_layers)]
        self.layers = nn.ModuleList(layers)
        self.norms = nn.ModuleList(norm_layer(norm, layer.out_channels) for layer in layers)
        self.to_picture = nn.ConvTranspose2d(width, 3, *picture_kernel(size), bias=norm != "batch")
        self.slope = slope
        initialize(self)

    def forward(self, x: Tensor) -> Tensor:
        """[B,cin] -> [B,3,size,size] in [-1,1]."""
        x = x[:, :, None, None]
        for layer, norm in zip(self.layers, self.norms, strict=True):
            x = F.leaky_relu(norm(layer(x)), self.slope, inplace=True)
        return torch.tanh(self.to_picture(x))


def with_classes(z: Tensor, y: Tensor | None) -> Tensor:
    """z [B,Z] with y [B,K] beside: [B,Z+K] (Mirza & Osindero 2014, arXiv:1411.1784, Fig. 1)."""
    return z if y is None else torch.cat((z, y), 1)


class DCGANGenerator(nn.Module):
    """DCGAN's generator with animeGAN's leaky ReLUs and extra layers (its model 1).

    Args:
        z: length of the latent. width: channels before the last layer, doubled at each halving of the size.
        size: side of the pictures, 64, 96 or 128. extra_layers: 3x3 convolutions before the last layer.
        classes: length of y, 0 for pictures of one kind. norm: batch | instance | none.

    The weights are N(0, 0.02), those of batch norms N(1, 0.02) (arXiv:1511.06434, sec. 4).
    """

    def __init__(
        self,
        z: int = 100,
        width: int = 64,
        size: int = 64,
        extra_layers: int = 1,
        classes: int = 0,
        norm: str = "batch",
    ):
        super().__init__()
        self.ups = UpStack(z + classes, width, size, extra_layers, norm, slope=0.2)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """z [B,Z], y [B,classes] in {0,1}, None without classes -> [B,3,size,size] in [-1,1]."""
        return self.ups(with_classes(z, y))


class FCGenerator(nn.Module):
    """animeGAN's models 2 and 3, after IllustrationGAN: two fully connected layers with dropout before the stack.

    decoder (model 2): two more that predict z back from the hidden vector. The fully connected layers start as
    torch's do. Otherwise as DCGANGenerator, without extra layers and with ReLUs.
    """

    def __init__(
        self,
        z: int = 100,
        width: int = 64,
        size: int = 64,
        classes: int = 0,
        norm: str = "batch",
        decoder: bool = False,
    ):
        super().__init__()
        self.fc1 = nn.Linear(z + classes, HIDDEN)
        self.fc2 = nn.Linear(HIDDEN, HIDDEN)
        self.dropout = nn.Dropout(0.5)
        self.decoder = None
        if decoder:
            self.decoder = nn.Sequential(nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Dropout(0.5), nn.Linear(HIDDEN, z))
        self.ups = UpStack(HIDDEN, width, size, 0, norm, slope=0.0)

    def forward(self, z: Tensor, y: Tensor | None = None, predict_z: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """z [B,Z], y [B,classes] in {0,1}, None without classes -> [B,3,size,size] in [-1,1].

        predict_z, which needs the decoder: (picture, prediction of z [B,Z]).
        """
        h = self.dropout(F.relu(self.fc1(with_classes(z, y))))
        h = self.dropout(F.relu(self.fc2(h)))
        picture = self.ups(h)
        return (picture, self.decoder(h)) if predict_z else picture
