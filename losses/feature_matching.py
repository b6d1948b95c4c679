"""Feature matching: the fake's maps inside the discriminators shall equal the real one's."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor


def feature_matching(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean absolute differences, summed over discriminators and layers (Wang et al. 2018, arXiv:1711.11585, Eq. 4).

    Args:
        real, fake: per discriminator its feature maps [B, C_i, H_i, W_i], without the logits; the real ones are
            constants for backward.
    """
    return sum(
        F.l1_loss(f.float(), r.detach().float())
        for real_maps, fake_maps in zip(real, fake, strict=True)
        for r, f in zip(real_maps, fake_maps, strict=True)
    )
