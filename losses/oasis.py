"""OASIS: a discriminator that is a segmentation network and knows one class more, the fake one.

Sushko, Schönfeld et al. 2021, "You Only Need Adversarial Supervision for Semantic Image Synthesis", arXiv:2012.04781.

Everywhere: logits [B, N + 1, H, W], the fake class last; y: class ids [B, H, W] long, 255 is ignored: such pixels count
in no cross-entropy. All losses are float32 scalars, 0 when no pixel counts. over: losses/whole_batch.py.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from data.palette import IGNORED, one_hot
from engine.chance import Draw, alone
from losses.segmentation import cross_entropy
from losses.whole_batch import Mean, itself


def class_weights(y: Tensor, classes: int, over: Mean = itself) -> Tensor:
    """alpha [classes], the inverse of each class's share of the batch's pixels (Eq. 2); 0 for one that is not there."""
    share = over(one_hot(y, classes).mean((0, 2, 3)))
    return torch.where(share > 0, 1 / share, 0.0)


def class_loss(logits: Tensor, y: Tensor, over: Mean = itself) -> Tensor:
    """-log p of the true class, weighted by alpha: D's term on real pictures (Eq. 1, first), G's on its own (Eq. 3).

    Divided by the sum of the weights, which the equations are not: it is the mean over the classes that are there of
    each one's mean. So it does not grow with the number of classes, and weighs as much as the fake term.
    """
    weight = F.pad(class_weights(y, logits.shape[1] - 1, over), (0, 1))  # no label is the fake class
    return cross_entropy(F.log_softmax(logits.float(), 1), y, weight, over=over)


def fake_class_loss(logits: Tensor, y: Tensor, over: Mean = itself) -> Tensor:
    """-log p of the fake class, mean over the labelled pixels: D's term on fake pictures (Eq. 1, second)."""
    fake = torch.where(y == IGNORED, IGNORED, logits.shape[1] - 1)
    return cross_entropy(F.log_softmax(logits.float(), 1), fake, over=over)


@torch.no_grad()
def realness(logits: Tensor) -> Tensor:
    """The probability that D gives to a pixel being none of the fake class, mean over all pixels; to look at."""
    return 1 - F.softmax(logits.float(), 1)[:, -1].mean()


def labelmix_mask(y: Tensor, classes: int, draw: Draw = alone) -> Tensor:
    """M, bool [B, 1, H, W]: one lot for each class of each sample, so that its borders are those of the label map.

    Ignored pixels are a class of their own. draw: Run.draw, for a part of a batch.
    """
    lots = draw(lambda y: torch.randint(2, (len(y), classes + 1), device=y.device), y).bool()
    return lots.gather(1, y.where(y != IGNORED, classes).flatten(1)).view_as(y).unsqueeze(1)


def labelmix_loss(mixed: Tensor, real: Tensor, fake: Tensor, mask: Tensor) -> Tensor:
    """|| D(mix of x and x^) - mix of D(x) and D(x^) ||^2, the mean over all logits (Eq. 4).

    Args:
        mixed: D's logits of torch.where(mask, x, x^). real, fake: those of x and x^.
        mask: labelmix_mask's.
    """
    return F.mse_loss(mixed.float(), torch.where(mask, real, fake).float())
