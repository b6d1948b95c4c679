"""The terms of SPADE's two steps, each a scalar: with a discriminator of patches, and with OASIS's, of classes.

run: the Run, for precision, layout, chance and means over all processes. loss: SpadeLossOptions. All that D sees in one
step is augmented by one draw for each sample: a pixel keeps its label, and feature matching compares the same places.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from data.diffaugment import augment_alike
from data.palette import IGNORED
from losses.feature_matching import feature_matching
from losses.gan import fake_loss, generator_loss, mean_outputs, real_loss
from losses.oasis import class_loss, fake_class_loss, labelmix_loss, labelmix_mask, realness
from losses.penalty import r1, squared_sum

Batch = tuple[Tensor, Tensor, Tensor | None, Tensor]  # as data.spade.network_inputs gives it
Terms = dict[str, Tensor]


# ---- patches: SPADE (Park et al. 2019, arXiv:1903.07291)


def judging(run: Any, D: nn.Module, real: Batch, loss: Any) -> Callable[[Tensor], list[list[Tensor]]]:
    """Pictures [B, 3, H, W] -> D's maps of label, picture and colours."""
    m, _, c, _ = real
    augment = augment_alike(loss.diffaugment, slice(m.shape[1], m.shape[1] + 3), run.draw)

    def judge(x: Tensor) -> list[list[Tensor]]:
        seen = augment(torch.cat((m, x) if c is None else (m, x, c), 1))
        return D(run.place(seen, last_on_cpu=False))  # on the CPU D is faster without channels last, unlike G

    return judge


def discriminator_terms(run: Any, D: nn.Module, real: Batch, fake: Tensor, loss: Any, due: bool) -> Terms:
    """D's terms, summed over its scales, and its mean outputs.

    With the penalty due also that of its gradient at the pictures, in fp32.
    """
    at_real, at_fake = (due and name in loss.penalty_on for name in ("real", "fake"))
    x, fake = real[1].detach().requires_grad_(at_real), fake.detach().float().requires_grad_(at_fake)
    judge = judging(run, D, real, loss)
    with run.autocast(enabled=not at_real):
        real_logits = [maps[-1] for maps in judge(x)]
    with run.autocast(enabled=not at_fake):
        fake_logits = [maps[-1] for maps in judge(fake)]
    terms = {
        "D_real": sum(real_loss(loss.gan, logits) for logits in real_logits),
        "D_fake": sum(fake_loss(loss.gan, logits) for logits in fake_logits),
        **mean_outputs(loss.gan, real_logits, fake_logits),
    }
    if due:
        places = [(real_logits, x)] * at_real + [(fake_logits, fake)] * at_fake
        penalty_of = r1 if loss.penalty == "r1" else squared_sum
        terms["gp"] = sum(penalty_of(logits, picture) for logits, picture in places)
    return terms


def generator_terms(run: Any, D: nn.Module, real: Batch, fake: Tensor, loss: Any) -> Terms:
    """G's terms by the names of their weights: adversarial, feature matching."""
    judge = judging(run, D, real, loss)
    with torch.no_grad():  # before the fake, as the original: each forward moves the power iterations
        real_maps = judge(real[1]) if loss.feature_matching else []
    fake_maps = judge(fake)
    terms = {"adv": sum(generator_loss(loss.gan, maps[-1]) for maps in fake_maps)}
    if loss.feature_matching:
        terms["feature_matching"] = feature_matching([p[:-1] for p in real_maps], [p[:-1] for p in fake_maps])
    return terms


# ---- classes: OASIS (Sushko, Schönfeld et al. 2021, arXiv:2012.04781)


def labeled(x: Tensor, real: Batch, augment: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """What OASIS's D sees of pictures x, with colours [B, 3 (+ 3), H, W], and its classes [B, H, W], augmented alike.

    What is moved in or cut out has no class.
    """
    *_, c, y = real
    ids = ((y + 1) % (IGNORED + 1)).unsqueeze(1).to(torch.float32)  # 0: ignored, as what the augmentations fill in
    seen = augment(torch.cat((x, ids) if c is None else (x, c, ids), 1))
    return seen[:, :-1], (seen[:, -1].detach().long() - 1) % (IGNORED + 1)


def oasis_discriminator_terms(run: Any, D: nn.Module, real: Batch, fake: Tensor, loss: Any) -> Terms:
    """D's terms of Eq. 1, its mean outputs, and the LabelMix consistency of Eq. 4."""

    def logits_of(seen: Tensor) -> Tensor:
        with run.autocast():
            return D(run.place(seen, last_on_cpu=False))[0][-1]

    augment = augment_alike(loss.diffaugment, draw=run.draw)
    (x, y), (fake, _) = labeled(real[1], real, augment), labeled(fake.detach().float(), real, augment)
    on_x, on_fake = logits_of(x), logits_of(fake)
    terms = {"D_real": class_loss(on_x, y, run.mean), "D_fake": fake_class_loss(on_fake, y, run.mean)}
    terms |= {"D_x": realness(on_x), "D_G_z": realness(on_fake)}
    if loss.labelmix:
        mask = labelmix_mask(y, on_x.shape[1] - 1, run.draw)
        terms["labelmix"] = labelmix_loss(logits_of(torch.where(mask, x, fake)), on_x, on_fake, mask)
    return terms


def oasis_generator_terms(run: Any, D: nn.Module, real: Batch, fake: Tensor, loss: Any) -> Terms:
    """G's adversarial term: that D find each pixel's class (Eq. 3)."""
    seen, y = labeled(fake, real, augment_alike(loss.diffaugment, draw=run.draw))
    return {"adv": class_loss(D(run.place(seen, last_on_cpu=False))[0][-1], y, run.mean)}
