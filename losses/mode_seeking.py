"""The mode-seeking term: different noise shall give different pictures."""

from torch import Tensor

from losses.whole_batch import Mean, itself

EPS = 1e-5


def mode_seeking(y1: Tensor, y2: Tensor, z1: Tensor, z2: Tensor, mean: Mean = itself) -> Tensor:
    """1 / (mean |y1 - y2| / mean |z1 - z2| + 1e-5): the inverse of the ratio of Mao et al. 2019, arXiv:1903.05628.

    The paper maximises the ratio; its program minimises the inverse, as here. y [B, ...] are pictures of the
    same input for the noises z [B, ...]; the means go over the whole batch (mean: losses/whole_batch.py).
    """
    distance = mean((y1.float() - y2.float()).abs().mean()) / mean((z1.float() - z2.float()).abs().mean())
    return 1 / (distance + EPS)
