"""Train semi-supervised segmentation: Hung et al. 2018, "Adversarial Learning for Semi-Supervised Semantic
Segmentation", arXiv:1802.07934; or weak-to-strong consistency (semi.method, losses/consistency.py).

    python train_seg.py [options/FILE.yaml] [key=value ...]

The same command resumes a stopped run. Names as in the paper: G (its S) segments a picture x, D tells label maps y
from predictions p, pixel by pixel; u are pictures without labels.
"""

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.loader import InOrder, batches
from data.palette import IGNORED, one_hot
from data.seg import first_items, seg_data
from data.seg_io import sample_rows
from engine.ema import EMA
from engine.errors import door
from engine.metrics import confusion_matrix, seg_metrics
from engine.run import Run
from engine.schedule import adam, encoder_groups, poly, set_lr
from losses.consistency import consistency_losses, pseudo_labels
from losses.gan import fake_loss, generator_loss, mean_outputs, real_loss
from losses.segmentation import cross_entropy, dice_loss, focal_loss, lovasz_softmax, self_taught_loss
from losses.whole_batch import Mean, itself
from models import build
from models.layers import predicting
from options.common import with_steps
from options.load import command_line
from options.seg import DEFAULT_FILE, SegLossOptions, SegOptions


def labeled_losses(
    G: nn.Module,
    D: nn.Module | None,
    x: Tensor,
    y: Tensor,
    loss: SegLossOptions,
    class_weights: Tensor | None = None,
    over: Mean = itself,
) -> dict[str, Tensor]:
    """The terms of a labelled batch. One forward of D serves both networks.

    x [B, 3, H, W] in [0, 1], y [B, H, W] ids with 255 ignored, class_weights [C]; D None: supervised only. over:
    losses/whole_batch.py.
    """
    log_p = F.log_softmax(G(x).float(), 1)
    terms = {"ce": cross_entropy(log_p, y, class_weights, loss.ce_mean, over)}  # Eq. 3
    if loss.dice:
        terms["dice"] = dice_loss(log_p, y, over)
    if loss.focal:
        terms["focal"] = focal_loss(log_p, y, over=over)
    if loss.lovasz:
        terms["lovasz"] = lovasz_softmax(log_p, y)
    if D is not None:
        real = D(one_hot(y, log_p.shape[1]))
        fake = D(log_p.exp() * (y != IGNORED).unsqueeze(1))  # ignored pixels are empty in both
        terms["D"] = 0.5 * (real_loss(loss.gan, real) + fake_loss(loss.gan, fake))  # Eq. 1
        terms["adv"] = generator_loss(loss.gan, fake)  # Eq. 4
        terms |= mean_outputs(loss.gan, [real], [fake])
    return terms


def unlabeled_losses(
    G: nn.Module, D: nn.Module, u: Tensor, loss: SegLossOptions, over: Mean = itself
) -> dict[str, Tensor]:
    """The terms of an unlabelled batch u [B, 3, H, W] in [0, 1]; over as in labeled_losses."""
    log_p = F.log_softmax(G(u).float(), 1)
    confidence = D(log_p.exp())
    return {
        "semi_adv": generator_loss(loss.gan, confidence),  # Eq. 4
        "semi_st": self_taught_loss(log_p, confidence, loss.semi_threshold, loss.ce_mean, over),  # Eq. 5
    }


@torch.no_grad()
def validate(G: nn.Module, pictures: Iterable, names: tuple[str, ...]) -> dict[str, float]:
    """mIoU, pixel accuracy and IoU per class of G over batches (x uint8, y)."""
    device = next(G.parameters()).device
    matrix = torch.zeros(len(names), len(names), dtype=torch.int64)
    for x, y in pictures:
        matrix += confusion_matrix(G(x.to(device).float() / 255).argmax(1).cpu(), y.cpu(), len(names))
    return seg_metrics(matrix, names)


def train(opt: SegOptions) -> None:
    run = Run(opt.run)
    run.require_equal_parts(opt.data.batch, pairs=opt.semi.consistency)  # CutMix stays in a process

    # ---- networks
    with run.in_turn():  # the first process downloads
        G = build.seg_generator(opt).to(run.device)
    D = build.seg_discriminator(opt).to(run.device)
    G_ema = EMA(G, opt.ema.half_life, opt.ema.ramp_up)
    G_groups = encoder_groups(G, opt.optim.backbone_factor)
    G_opt = adam(G_groups, opt.optim.g_lr, opt.optim.g_betas, opt.optim.weight_decay)
    D_opt = adam(D.parameters(), opt.optim.d_lr, opt.optim.d_betas)
    G_params = [p for p in G.parameters() if p.requires_grad]
    D_params = list(D.parameters())
    run.synchronise(G, D)
    run.compile(G)  # not D: compiled, the second forward before its backward would overwrite spectral norm's u

    # ---- data
    with run.in_turn():
        labeled, val, unlabeled, palette = seg_data(opt, run.device)
    opt = with_steps(opt, len(labeled))
    data, loss, semi = opt.data, opt.loss, opt.semi
    taught = unlabeled is not None and opt.teaches_unlabeled
    adversarial = semi.method == "adversarial" and (taught or loss.adv > 0)
    teacher = G_ema.module if semi.teacher == "ema" else G
    class_weights = None if loss.class_weights is None else torch.tensor(loss.class_weights, device=run.device)
    run.start(opt, data=[sample.name for sample in labeled.samples], G=G, D=D, G_ema=G_ema, G_opt=G_opt, D_opt=D_opt)
    loading = dict(seed=opt.run.seed, workers=data.workers, device=run.device, share=run.share)
    xy = batches(labeled, data.batch, stream=0, start=run.step, **loading)
    done = max(0, run.step - loss.semi_start)
    us = batches(unlabeled, data.batch, stream=1, start=done, **loading) if taught else None
    alone = data.size == "native" or opt.sample.norm_stats == "batch"  # validation then takes every picture alone
    held = InOrder(val, 1 if alone else data.batch, data.workers, run.device)
    shown = first_items(labeled, val, unlabeled)
    if run.step == 0:
        run.grid([[x.permute(1, 2, 0).numpy() for x, _ in shown]], "real")

    # ---- loop
    while run.running():
        x, y = next(xy)
        x, y = run.place(x).float() / 255, y.long()
        run.reseed()
        lr_factor = poly(run.step / run.steps, opt.optim.poly_start, opt.optim.poly_power)
        set_lr(G_opt, opt.optim.g_lr * lr_factor)
        set_lr(D_opt, opt.optim.d_lr * lr_factor)

        # ---- D and G step on labelled pictures, from one forward: D's Eq. 1, G's Eq. 2 without its last term
        G_opt.zero_grad()
        D_opt.zero_grad()
        with run.autocast():
            terms = labeled_losses(G, D if adversarial else None, x, y, loss, class_weights, run.mean)
        if adversarial:
            terms["D"].backward(inputs=D_params, retain_graph=True)
        loss_G = terms["ce"] + sum(
            getattr(loss, name) * terms[name] for name in ("adv", "dice", "focal", "lovasz") if name in terms
        )
        loss_G.backward(inputs=G_params)

        # ---- weak-to-strong consistency: its gradient joins that of the labelled pictures (UniMatch, sec. 3.4)
        u = run.place(next(us)).float() / 255 if taught and run.step >= loss.semi_start else None
        if u is not None and semi.consistency:
            with torch.no_grad(), predicting(teacher, opt.sample.norm_stats) as T, run.autocast():
                y_u = pseudo_labels(T(u), semi.threshold)
            with run.autocast():
                terms |= consistency_losses(G, u, y_u, semi.method, run.draw)
            strong, features = terms["semi_strong"], terms.get("semi_features")
            loss_u = strong if features is None else 0.5 * strong + 0.5 * features
            (semi.weight * loss_u).backward(inputs=G_params)
        run.average(G)
        G_opt.step()
        if adversarial:
            run.average(D)
            D_opt.step()
        terms = {name: term.detach() for name, term in terms.items()}  # D's graph would outlive the next forward

        # ---- adversarial: G step on unlabelled pictures, the rest of Eq. 2
        if u is not None and adversarial:
            G_opt.zero_grad()
            with run.autocast():
                terms |= unlabeled_losses(G, D, u, loss, run.mean)
            semi_loss = loss.semi_adv * terms["semi_adv"] + loss.semi_st * terms["semi_st"]
            semi_loss.backward(inputs=G_params)
            run.average(G)
            G_opt.step()

        # ---- average, log, look, validate, save
        run.step += 1
        G_ema.update(G, run.step, data.batch)
        run.log(**terms, lr=G_opt.param_groups[0]["lr"])
        if run.due(opt.run.sample_every):
            with predicting(G_ema.module, opt.sample.norm_stats) as G_mean, run.autocast():
                run.grid(sample_rows(G_mean, shown, palette))
        if run.due(opt.run.eval_every) and len(val):
            with predicting(G_ema.module, opt.sample.norm_stats) as G_mean, run.autocast():
                run.validated(**validate(G_mean, held, palette.names))
        if run.due(opt.run.save_every):
            run.save()
    run.finish()


def main() -> None:
    opt, dry_run = command_line(SegOptions, DEFAULT_FILE, __doc__)
    if dry_run:
        print(f"# G: {build.millions(build.seg_generator(opt, download=False))} parameters")
        print(f"# D: {build.millions(build.seg_discriminator(opt))} parameters")
    else:
        train(opt)


if __name__ == "__main__":
    door(main)
