"""What the consistency methods do to unlabelled pictures: strong views, CutMix, dropped feature channels.

Every sample has its own draw; pictures are float [B, 3, H, W] in [0, 1] on any device. draw: Run.draw, for a part of a
batch.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.chance import Draw, alone

JITTER = 0.5  # brightness, contrast and saturation times 1 - JITTER to 1 + JITTER
HUE = 0.25  # the largest turn of the hue, of a whole one
SIGMA = (0.1, 2.0)  # pixels
RADIUS = 6  # of the blur, three of the largest sigmas
JITTERED, GREY, BLURRED = 0.8, 0.2, 0.5  # shares of the pictures
BOX = 0.5  # CutMix: the box's share of the area


def strong_views(x: Tensor, y: Tensor, count: int, draw: Draw = alone) -> tuple[Tensor, Tensor]:
    """`count` strong views of weak views x [B, 3, H, W], B even, and of their labels y [B, H, W]: one after the other.

    UniMatch (Yang et al. 2023, arXiv:2208.09910), sec. 3.1 and 3.3: colours and blur, then CutMix.
    """
    views = [cutmix(strong_view(x, draw), y, boxes(x, draw)) for _ in range(count)]
    return torch.cat([view for view, _ in views]), torch.cat([labels for _, labels in views])


def strong_view(x: Tensor, draw: Draw = alone) -> Tensor:
    """Colour jitter, grey and Gaussian blur, each on a share of the pictures, as in UniMatch's experiments."""
    u = draw(lambda x: torch.rand(len(x), 8, device=x.device), x).to(x.dtype)
    jittered, grey, blurred, sigma, *factors, hue = u[..., None, None, None].unbind(1)
    factors = [1 + JITTER * (2 * factor - 1) for factor in factors]
    x = torch.where(jittered >= JITTERED, x, jitter(x, *factors, HUE * (2 * hue - 1)))
    x = torch.where(grey >= GREY, x, to_grey(x))
    return torch.where(blurred >= BLURRED, x, blur(x, SIGMA[0] + (SIGMA[1] - SIGMA[0]) * sigma))


def jitter(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """x with changed colours, cut to [0, 1]: three factors and a turn of the hue in whole turns, all [B, 1, 1, 1].

    Contrast is about the picture's mean grey, saturation about each pixel's; the hue turns about the axis of greys.
    """
    x = (x * brightness).clamp(0, 1)
    x = torch.lerp(to_grey(x).mean((2, 3), keepdim=True), x, contrast)
    x = torch.lerp(to_grey(x), x, saturation)
    angle, mean = 2 * math.pi * hue, x.mean(1, keepdim=True)
    across = (x.roll(1, 1) - x.roll(-1, 1)) / math.sqrt(3)  # the axis times the colour, as vectors
    return (mean + (x - mean) * angle.cos() + across * angle.sin()).clamp(0, 1)


def to_grey(x: Tensor) -> Tensor:
    """ITU-R BT.601's luma [B, 1, H, W]."""
    return 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Each picture under a Gaussian of its own sigma [B, 1, 1, 1] in pixels; the border is repeated."""
    place = torch.arange(-RADIUS, RADIUS + 1, device=x.device)
    taps = (-(place**2) / (2 * sigma.flatten()[:, None] ** 2)).softmax(1)  # [B, taps]
    taps = taps.repeat_interleave(x.shape[1], 0)[:, None]
    planes = F.pad(x, (RADIUS,) * 4, mode="replicate").flatten(0, 1)[None]
    with torch.autocast(x.device.type, enabled=False):
        planes = F.conv2d(planes, taps[..., None], groups=len(taps))
        return F.conv2d(planes, taps[..., None, :], groups=len(taps)).view_as(x)


def boxes(x: Tensor, draw: Draw = alone) -> Tensor:
    """Where CutMix takes the other picture: bool [B, H, W], in each a box of half the area, of any place and aspect.

    French et al. 2020, arXiv:1906.01916, sec. 3.3.
    """
    aspect, top, left = draw(lambda x: torch.rand(len(x), 3, device=x.device), x).unbind(1)
    height = BOX**aspect
    rows, columns = _spans(x.shape[2], height, top), _spans(x.shape[3], BOX / height, left)
    return rows[:, :, None] & columns[:, None, :]


def _spans(side: int, share: Tensor, start: Tensor) -> Tensor:
    """bool [B, side]: a share of the side, from 0 (start 0) or up to its end (start 1)."""
    place = (torch.arange(side, device=share.device) + 0.5) / side
    start = (start * (1 - share))[:, None]
    return (place >= start) & (place < start + share[:, None])


def cutmix(x: Tensor, y: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """x [B, C, H, W] and y [B, H, W] with the boxes filled from the neighbour: B is even, 0 and 1 exchange, 2 and 3 ...

    Yun et al. 2019, arXiv:1905.04899. Neighbours keep a picture's partner in its own process.
    """
    return torch.where(boxes[:, None], _neighbours(x), x), torch.where(boxes, _neighbours(y), y)


def _neighbours(x: Tensor) -> Tensor:
    return x.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)


def drop_channels(features: Tensor, share: float = 0.5, draw: Draw = alone) -> Tensor:
    """Features [B, C, H, W] with a share of the channels 0 and the others scaled to keep the mean.

    UniMatch, sec. 3.2: the feature perturbation.
    """
    kept = draw(lambda x: torch.rand(*x.shape[:2], 1, 1, device=x.device), features) >= share
    return features * (kept / (1 - share)).to(features.dtype)
