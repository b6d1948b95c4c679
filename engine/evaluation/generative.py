"""How near a set of generated pictures is to a set of real ones, by their features: KID, FID, precision and recall.

Features are float64 [N, F] (engine/evaluation/features.py). Nothing here touches torch's own random state, so that a
training may call it between two steps. Needs torchmetrics (requirements-extra.txt).
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from engine.errors import UserError
from options.common import LEAST_COMPARED

MOST_IN_SUBSET, SUBSETS = 1000, 50
FID_SOUND = 5000  # pictures from which on FID's bias is small beside usual differences
PICTURES_PER_AXIS = 8  # of fewer the variance along an axis is too uncertain to divide by
NEIGHBOURS = 3  # Kynkäänniemi et al. 2019, arXiv:1904.06991, sec. 3
CHUNK = 1000  # rows of a matrix of distances


class Spread(NamedTuple):
    """A number over subsets drawn by lot."""

    mean: float
    std: float


def require_torchmetrics(source: str) -> None:
    """Raises UserError where torchmetrics is not installed. `source`: the option that needs it."""
    try:
        import torchmetrics  # noqa: F401 (only whether it is there)
    except ImportError:
        raise UserError(f"{source}: torchmetrics is not installed: pip install -r requirements-extra.txt") from None


def require_enough(count: int, what: str) -> None:
    """Raises UserError for a set that is too small to be compared."""
    if count < LEAST_COMPARED:
        reason = "of fewer, KID is mostly noise and FID mostly bias"
        raise UserError(f"{what}: {count} pictures, at least {LEAST_COMPARED} are compared ({reason}): add pictures")


def subset_size(real: int, fake: int) -> int:
    """How many pictures the subsets of `kid` and `kid_between_halves` hold, the same for both."""
    return min(MOST_IN_SUBSET, real // 2, fake)


@dataclass(frozen=True)
class MainAxes:
    """Features [N, F] -> [N, A] along the main axes of other ones, whose variance is 1 there."""

    mean: Tensor
    scale: Tensor  # [F, A]

    def __call__(self, x: Tensor) -> Tensor:
        return (x - self.mean) @ self.scale


def count_axes(count: int, most: int) -> int:
    """How many axes a set of so many pictures says enough about."""
    return min(most, count // PICTURES_PER_AXIS)


def main_axes(real: Tensor, most: int) -> MainAxes:
    """The main axes of real features [N, F], at most `most`: so that none drowns the others."""
    values, vectors = torch.linalg.eigh(real.T.cov())  # ascending
    count = count_axes(len(real), most)
    spread = values[-count:].clamp(min=1e-9 * float(values[-1]) + 1e-30).sqrt()
    return MainAxes(real.mean(0), vectors[:, -count:] / spread)


def as_compared(real: Tensor, fake: Tensor, axes: int | None) -> tuple[Tensor, Tensor]:
    """Both along the real one's main axes, at most so many; None: as they are."""
    if axes is None:
        return real, fake
    along = main_axes(real, axes)
    return along(real), along(fake)


def kid(real: Tensor, fake: Tensor, size: int, seed: int = 0, paired: bool = False) -> Spread:
    """Kernel inception distance (Bińkowski et al. 2018, arXiv:1801.01401, sec. 4): unbiased, so also below 0.

    The mean and the standard deviation over SUBSETS pairs of subsets of `size`; where both sets have just that size,
    of the sets themselves.

    paired: fake[i] was made to be like real[i]. Then these two are not independent: subsets are of pairs, and no
    picture meets its own partner; as if it did, KID would be too low, the more so the fewer the pictures.
    """
    from torchmetrics.image.kid import poly_mmd

    mmd = _mmd_of_pairs if paired else poly_mmd
    if len(real) == len(fake) == size:
        return Spread(float(mmd(real, fake)), 0.0)
    chance = torch.Generator().manual_seed(seed)
    if paired:
        rows = (torch.randperm(len(real), generator=chance)[:size] for _ in range(SUBSETS))
        return _spread([mmd(real[own], fake[own]) for own in rows])
    return _spread([mmd(_lot(real, chance)[:size], _lot(fake, chance)[:size]) for _ in range(SUBSETS)])


def kid_between_halves(real: Tensor, size: int, seed: int = 0) -> Spread:
    """The noise floor: `kid` of pairs of subsets of the real set that have no picture in common; size <= N / 2."""
    from torchmetrics.image.kid import poly_mmd

    chance = torch.Generator().manual_seed(seed)
    shuffled = (_lot(real, chance) for _ in range(SUBSETS))
    return _spread([poly_mmd(x[:size], x[size : 2 * size]) for x in shuffled])


def kid_of(real: Tensor, fake: Tensor, axes: int | None, paired: bool = False) -> float:
    """KID of features [N, F] against those [M, F] of real pictures, along `axes` (as_compared): for validation.

    paired: as in `kid`. On subsets of up to MOST_IN_SUBSET pictures; the same pictures give the same number.
    """
    real, fake = as_compared(real, fake, axes)
    return kid(real, fake, min(MOST_IN_SUBSET, len(real), len(fake)), paired=paired).mean


def fid(real: Tensor, fake: Tensor) -> float:
    """Fréchet inception distance (Heusel et al. 2017, arXiv:1706.08500, Eq. 6).

    By symmetric matrices alone: torchmetrics takes the eigenvalues of the product of the covariances, which do not
    converge for the pictures of a collapsed generator.
    """
    c, d = real.T.cov(), fake.T.cov()
    values, vectors = torch.linalg.eigh(c)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ d @ root).clamp(min=0).sqrt().sum()  # the trace of (c d)^(1/2)
    return float((real.mean(0) - fake.mean(0)).square().sum() + c.trace() + d.trace() - 2 * cross)


def precision_recall(real: Tensor, fake: Tensor, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, arXiv:1904.06991, Eq. 1 and 2) of sets of equal size.

    Precision: the share of fake features that lie in a ball around a real one which reaches to that one's k-th nearest
    other real feature; recall: the other way round.
    """
    assert len(real) == len(fake) > k, (real.shape, fake.shape, k)
    return _share_within(fake, real, k), _share_within(real, fake, k)


def compare(real: Tensor, fake: Tensor, axes: int | None, seed: int = 0, paired: bool = False) -> dict[str, float]:
    """All of the above of features [N, F] of real and [M, F] of generated pictures, along so many `axes` (as_compared).

    kid and kid_real_real (the noise floor) with their standard deviations, fid, and precision and recall of equal
    counts, drawn by lot from the larger set. paired: as in `kid`.
    """
    real, fake = as_compared(real, fake, axes)
    size, count, chance = subset_size(len(real), len(fake)), min(len(real), len(fake)), torch.Generator()
    ours, floor = kid(real, fake, size, seed, paired), kid_between_halves(real, size, seed)
    chance.manual_seed(seed)
    precision, recall = precision_recall(_lot(real, chance)[:count], _lot(fake, chance)[:count])
    kids = {"kid": ours.mean, "kid_std": ours.std, "kid_real_real": floor.mean, "kid_real_real_std": floor.std}
    return {**kids, "fid": fid(real, fake), "precision": precision, "recall": recall}


def protocol_of(real: int, fake: int, axes: int | None, paired: bool = False) -> dict[str, str]:
    """What `compare` does with so many pictures and axes, in words."""
    size = subset_size(real, fake)
    small = min(real, fake) < FID_SOUND
    biased = f"; biased upwards below some {FID_SOUND:,}: compare it at equal counts only" if small else ""
    apart = ", no picture against its own true one" if paired else ""
    along = f"along the first {count_axes(real, axes)} main axes of the real ones, variance 1 each" if axes else ""
    return {
        **({"features are compared": along} if axes else {}),
        "kid": f"mean and standard deviation over {SUBSETS} pairs of subsets of {size}{apart}; real_real: both of real "
        "pictures, disjoint",
        "fid": f"{real:,} real and {fake:,} generated pictures{biased}",
        "precision, recall": f"{min(real, fake):,} pictures of each, {NEIGHBOURS} neighbours",
    }


def _mmd_of_pairs(real: Tensor, fake: Tensor) -> Tensor:
    """The unbiased MMD^2 of pairs (Gretton et al. 2012, JMLR 13:723, Eq. 4) by KID's kernel: all but i = j."""
    from torchmetrics.image.kid import poly_kernel

    def mean(k: Tensor) -> Tensor:
        return (k.sum() - k.trace()) / (len(k) * (len(k) - 1))

    return mean(poly_kernel(real, real)) + mean(poly_kernel(fake, fake)) - 2 * mean(poly_kernel(real, fake))


def _share_within(points: Tensor, centres: Tensor, k: int) -> float:
    radii = torch.cat([torch.cdist(part, centres).kthvalue(k + 1).values for part in centres.split(CHUNK)])  # + itself
    inside = [(torch.cdist(part, centres) <= radii).any(1) for part in points.split(CHUNK)]
    return torch.cat(inside).double().mean().item()


def _lot(x: Tensor, chance: torch.Generator) -> Tensor:
    return x[torch.randperm(len(x), generator=chance)]


def _spread(values: list[Tensor]) -> Spread:
    stacked = torch.stack(values)
    return Spread(stacked.mean().item(), stacked.std(unbiased=False).item())
