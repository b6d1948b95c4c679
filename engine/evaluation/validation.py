"""What trainings validate generators by: the distance to the true pictures, and KID where sample.kid_features asks."""

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from data.picture_io import to_levels
from engine.evaluation.features import Extractor, extractor_of, features_of
from engine.evaluation.generative import kid_of, require_enough, require_torchmetrics
from engine.progress import progress


def kid_extractor(sample: Any, count: int, what: str, device: torch.device) -> Extractor | None:
    """The extractor of sample.kid_features for real sets of `count` pictures, `what`; None if no KID is asked for.

    Raises:
        UserError: torchmetrics, the extractor or enough pictures cannot be had.
    """
    if not sample.takes_kid:
        return None
    option = "sample.kid_features="
    require_torchmetrics(f"{option}{sample.kid_features}")
    require_enough(count, f"{option}{sample.kid_features}: {what}")
    return extractor_of(sample.kid_features, device, option)


class PairValidation:
    """Validation of a network whose pictures have true ones, always the same; it leaves torch's random state alone.

    The true pictures' features are taken in the first validation and kept.
    """

    def __init__(self, opt: Any, count: int, device: torch.device):
        """opt: the options of spade or pix2pix; count: the validation pictures.

        Raises:
            UserError: as kid_extractor.
        """
        self.extractor = kid_extractor(opt.sample, count, "validation", device)
        self.real: Tensor | None = None

    def __call__(self, made: Iterable[tuple[Tensor, Tensor]], batches: int) -> dict[str, float]:
        """val_l1, the mean distance in [-1, 1], and with sample.kid_features kid, of all pictures.

        made: so many batches of made and of true pictures [B, 1 or 3, H, W] in [-1, 1].
        """
        total, count, fakes, reals = 0.0, 0, [], []
        for fake, real in progress(made, batches, "validation", "batch"):
            total += float(F.l1_loss(fake, real)) * len(fake)
            count += len(fake)
            if self.extractor is not None:
                fakes.append(self._features(fake))
            if self.extractor is not None and self.real is None:
                reals.append(self._features(real))
        metrics = {"val_l1": total / count}
        if self.extractor is None:
            return metrics
        self.real = torch.cat(reals) if self.real is None else self.real
        return metrics | {"kid": kid_of(self.real, torch.cat(fakes), self.extractor.axes, paired=True)}

    def _features(self, x: Tensor) -> Tensor:
        """As scripts/evaluate.py has them, of 8 bits and three channels."""
        return features_of([to_levels(x).expand(-1, 3, -1, -1)], self.extractor)
