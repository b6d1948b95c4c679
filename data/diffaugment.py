"""DiffAugment: augmentation of all that D sees, real and fake, in training both networks, for small data sets.

Zhao et al. 2020, arXiv:2006.10738. Every sample has its own draw, from torch's global generator on the pictures'
device; gradients flow back to the pictures.
"""

from collections.abc import Callable, Collection
from itertools import count

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.chance import Draw, Sample, alone

POLICIES = ("color", "translation", "cutout")
NEARBY = 1 / 8  # the largest translation, a share of the side
HOLE = 1 / 2  # cutout's side, a share of the picture's


def diff_augment(x: Tensor, policy: Collection[str], colors: slice = slice(0, 3), draw: Draw = alone) -> Tensor:
    """x changed by the members of `policy`, always in the order color, translation, cutout.

    Args:
        x: pictures [B, C, H, W] in [-1, 1]; color may leave that range.
        policy: any of POLICIES.
        colors: the channels of one RGB picture, that color changes. The others move all channels alike, so that a
            picture stays on its label map.
        draw: Run.draw, for a part of a batch.
    """
    assert set(policy) <= set(POLICIES), policy
    if "color" in policy:
        rest = x[:, : colors.start], x[:, colors.stop :]
        x = torch.cat((rest[0], _colors_changed(x[:, colors], draw), rest[1]), 1)
    if "translation" in policy:
        x = translation(x, draw)
    if "cutout" in policy:
        x = cutout(x, draw)
    return x


def augment_alike(
    policy: Collection[str], colors: slice = slice(0, 3), draw: Draw = alone
) -> Callable[[Tensor], Tensor]:
    """diff_augment by one draw for each sample, whichever tensors [B, C, H, W] it is given one after another.

    For pairs: the features of a real and a fake picture of one label correspond only if both were moved alike.
    """
    drawn: list[Tensor] = []

    def augmented(x: Tensor) -> Tensor:
        place = count()

        def again(sample: Sample, x: Tensor) -> Tensor:
            number = next(place)
            if number == len(drawn):
                drawn.append(draw(sample, x))
            return drawn[number]

        return diff_augment(x, policy, colors, again)

    return augmented


def _colors_changed(x: Tensor, draw: Draw) -> Tensor:
    return contrast(saturation(brightness(x, draw), draw), draw)


def brightness(x: Tensor, draw: Draw = alone) -> Tensor:
    """x [B,C,H,W] + U(-0.5, 0.5)."""
    return x + _uniform(draw, x, -0.5, 0.5)


def saturation(x: Tensor, draw: Draw = alone) -> Tensor:
    """The distance of x [B,C,H,W] to its pixels' grey, the mean of the channels, times U(0, 2)."""
    return torch.lerp(x.mean(1, keepdim=True), x, _uniform(draw, x, 0.0, 2.0))


def contrast(x: Tensor, draw: Draw = alone) -> Tensor:
    """The distance of x [B,C,H,W] to its samples' means times U(0.5, 1.5)."""
    return torch.lerp(x.mean((1, 2, 3), keepdim=True), x, _uniform(draw, x, 0.5, 1.5))


def translation(x: Tensor, draw: Draw = alone) -> Tensor:
    """x [B,C,H,W] moved by up to 1/8 of its height and of its width; what comes in is 0."""
    batch, channels, height, width = x.shape
    down, right = (round(side * NEARBY) for side in (height, width))
    rows = torch.arange(height, device=x.device) + _integers(draw, x, 2 * down + 1)
    columns = torch.arange(width, device=x.device) + _integers(draw, x, 2 * right + 1)
    padded = F.pad(x, (right, right, down, down))
    moved = padded.gather(2, rows[:, None, :, None].expand(-1, channels, -1, padded.shape[3]))
    return moved.gather(3, columns[:, None, None, :].expand(-1, channels, height, -1))


def cutout(x: Tensor, draw: Draw = alone) -> Tensor:
    """x [B,C,H,W] with 0 in a box of half its height and width; its middle is anywhere, so the border may cut it."""
    inside = []
    for side in x.shape[2:]:
        hole = round(side * HOLE)
        start = _integers(draw, x, side + 1 - hole % 2) - hole // 2
        place = torch.arange(side, device=x.device)
        inside.append((place >= start) & (place < start + hole))
    rows, columns = inside
    return x.masked_fill((rows[:, :, None] & columns[:, None, :])[:, None], 0)


def _uniform(draw: Draw, x: Tensor, low: float, high: float) -> Tensor:
    """[B,1,1,1] of U(low, high) in x's type; the draw is the same in any type."""
    drawn = draw(lambda x: torch.rand(len(x), 1, 1, 1, device=x.device), x)
    return drawn.mul(high - low).add(low).to(x.dtype)


def _integers(draw: Draw, x: Tensor, count: int) -> Tensor:
    """[B,1] of 0 ... count - 1."""
    return draw(lambda x: torch.randint(count, (len(x), 1), device=x.device), x)
