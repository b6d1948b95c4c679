"""The mode-seeking term: different noise shall give different pictures."""

from torch import Tensor


def mode_seeking(y1: Tensor, y2: Tensor, z1: Tensor, z2: Tensor, eps: float = 1e-5) -> Tensor:
    """1 / (mean |y1 - y2| / mean |z1 - z2| + eps) (Mao et al. 2019, arXiv:1903.05628, Eq. 2).

    The paper maximises the ratio; its program minimises the inverse, as here. y [B, ...] are pictures of the same input
    for the noises z [B, ...]; the means go over the whole batch.
    """
    distance = (y1.float() - y2.float()).abs().mean() / (z1.float() - z2.float()).abs().mean()
    return 1 / (distance + eps)
