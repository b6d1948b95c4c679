"""Weak-to-strong consistency: what G says of a weak view is the label of the strong ones.

FixMatch (Sohn et al. 2020, arXiv:2001.07685), pixel by pixel as in UniMatch (Yang et al. 2023, arXiv:2208.09910).
"""

from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.palette import IGNORED
from data.perturb import drop_channels, strong_views
from engine.chance import Draw, alone


@torch.no_grad()
def pseudo_labels(logits: Tensor, threshold: float) -> Tensor:
    """Logits [B, C, H, W] -> ids [B, H, W], 255 where the largest probability is below the threshold."""
    confidence, y = logits.float().softmax(1).max(1)
    return y.where(confidence >= threshold, IGNORED)


def consistency_loss(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy of logits [B, C, H, W] with pseudo-labels y [B, H, W], 255 counting as 0: a mean over all pixels.

    FixMatch, Eq. 4; UniMatch, sec. 3.1.
    """
    return F.cross_entropy(logits.float(), y, ignore_index=IGNORED, reduction="none").mean()


def consistency_losses(G: nn.Module, u: Tensor, y: Tensor, method: str, draw: Draw = alone) -> dict[str, Tensor]:
    """The terms of weak views u [B, 3, H, W] in [0, 1], B even, with pseudo-labels y; method: fixmatch | unimatch.

    semi_strong: on one strong view (FixMatch), or the mean over two (UniMatch, sec. 3.3). semi_features: UniMatch's
    feature perturbation (sec. 3.2). semi_labeled: the share of pixels with a pseudo-label, to look at.
    """
    views, labels = strong_views(u, y, 2 if method == "unimatch" else 1, draw)
    terms = {"semi_labeled": (y != IGNORED).float().mean(), "semi_strong": consistency_loss(G(views), labels)}
    if method == "unimatch":
        terms["semi_features"] = consistency_loss(G(u, perturb=partial(drop_channels, draw=draw)), y)
    return terms
