"""Segmentation losses. log_p: float32 log-probabilities [B,C,H,W]; y: class ids [B,H,W] long, 255 is ignored.

All return a scalar and are 0 when no pixel counts. None waits for the device.

over: losses/whole_batch.py. lovasz_softmax has none, since it sorts all pixels: each process's part stands for itself.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from data.palette import IGNORED, one_hot
from losses.whole_batch import Mean, itself


def cross_entropy(
    log_p: Tensor, y: Tensor, weight: Tensor | None = None, mean: str = "valid", over: Mean = itself
) -> Tensor:
    """-log p of the label (Hung et al. 2018, arXiv:1802.07934, Eq. 3).

    weight: one factor per class [C]. mean: "valid" over the labelled pixels (weighted, if there are weights),
    "all" over B*C*H*W, as the Chainer original has it.
    """
    assert mean in ("valid", "all"), mean
    total = F.nll_loss(log_p, y, weight, ignore_index=IGNORED, reduction="none").sum()
    if mean == "all":
        return total / log_p.numel()
    valid = y != IGNORED
    counted = over(valid.sum().to(total) if weight is None else (weight[y.where(valid, 0)] * valid).sum())
    return total / torch.where(counted > 0, counted, 1)


def self_taught_loss(
    log_p: Tensor, confidence: Tensor, threshold: float, mean: str = "valid", over: Mean = itself
) -> Tensor:
    """Cross-entropy against the prediction's own labels where D trusts them (Hung et al. 2018, Eq. 5).

    confidence: D's logits [B,1,H,W], not differentiated; chosen pixels: sigmoid(confidence) > threshold.
    mean as in cross_entropy, "valid" being the chosen pixels.
    """
    with torch.no_grad():
        chosen = confidence.float().sigmoid().squeeze(1) > threshold
        y = log_p.argmax(1).where(chosen, IGNORED)
    return cross_entropy(log_p, y, mean=mean, over=over)


def focal_loss(log_p: Tensor, y: Tensor, gamma: float = 2.0, over: Mean = itself) -> Tensor:
    """-(1 - p_t)^gamma log p_t, mean over the labelled pixels (Lin et al. 2017, arXiv:1708.02002, Eq. 4)."""
    nll = F.nll_loss(log_p, y, ignore_index=IGNORED, reduction="none")
    rest = -torch.expm1(-nll)  # 1 - p_t without cancellation
    counted = over((y != IGNORED).sum().to(nll))
    return (rest.clamp_min(0).pow(gamma) * nll).sum() / torch.where(counted > 0, counted, 1)


def dice_loss(log_p: Tensor, y: Tensor, over: Mean = itself) -> Tensor:
    """1 - 2 sum(p t) / (sum p + sum t) per class over the batch, mean over the classes present in y.

    Milletari et al. 2016, arXiv:1606.04797, sec. 3, without the squares in the denominator.
    """
    p, t = log_p.exp(), one_hot(y, log_p.shape[1])
    valid = (y != IGNORED).unsqueeze(1)
    over_pixels = (0, 2, 3)
    size_t = over(t.sum(over_pixels))
    overlap = 2 * over((p * t).sum(over_pixels)) / (over((p * valid).sum(over_pixels)) + size_t).clamp_min(1e-12)
    present = size_t > 0
    return ((1 - overlap) * present).sum() / present.sum().clamp_min(1)


def lovasz_softmax(log_p: Tensor, y: Tensor) -> Tensor:
    """The Lovasz extension of 1 - IoU per class over the batch, mean over the classes present in y.

    Berman et al. 2018, arXiv:1705.08790, Eqs. 8-9, Alg. 1.
    """
    classes = log_p.shape[1]
    p = log_p.exp().transpose(0, 1).flatten(1)
    foreground = one_hot(y, classes).transpose(0, 1).flatten(1)
    # An error of 0 takes an ignored pixel to the end of the order, where it weighs nothing.
    errors = (foreground - p).abs() * (y != IGNORED).flatten()
    errors, order = errors.sort(dim=1, descending=True)
    with torch.no_grad():
        foreground = foreground.gather(1, order)
        size = foreground.sum(1, keepdim=True)
        inside = foreground.cumsum(1)
        outside = (1 - foreground).cumsum(1)
        jaccard = 1 - (size - inside) / (size + outside)
        gradient = torch.diff(jaccard, dim=1, prepend=torch.zeros_like(size))
    present = size.squeeze(1) > 0
    return ((errors * gradient).sum(1) * present).sum() / present.sum().clamp_min(1)
