"""Train pix2pix: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks",
arXiv:1611.07004; with a latent and mode seeking: Mao et al. 2019, arXiv:1903.05628.

    python train_pix2pix.py [options/FILE.yaml] [key=value ...]

The same command resumes a stopped run. Names as in the paper: G turns an input x (edges) into a picture, y is the true
one, D judges pairs of an input and a picture, patch by patch; z is the latent.
"""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.diffaugment import augment_alike
from data.loader import InOrder, batches
from data.pix2pix import pix2pix_data
from data.pix2pix_io import sample_rows, to_input
from engine.ema import EMA
from engine.errors import door
from engine.evaluation.measure_pairs import translated
from engine.evaluation.validation import PairValidation
from engine.run import Run
from engine.schedule import adam, cosine, poly, set_lr
from losses.feature_matching import feature_matching
from losses.gan import fake_loss, generator_loss, mean_outputs, real_loss
from losses.mode_seeking import mode_seeking
from losses.penalty import gradient_penalty, interpolate, r1
from losses.whole_batch import Mean, itself
from models import build
from models.init import initialize
from models.layers import predicting
from options.common import with_steps
from options.load import command_line
from options.pix2pix import DEFAULT_FILE, Pix2PixLossOptions, Pix2PixOptions

View = Callable[[Tensor], Tensor]  # pictures [B or 2B, C', H, W] in [-1, 1] -> what D sees of them
Terms = dict[str, Tensor]  # scalars


def seen(x: Tensor, augment: Callable[[Tensor], Tensor], pictures: Tensor) -> Tensor:
    """Inputs x [B, C, H, W] beside pictures [B or 2B, C', H, W], of which two of an input are augmented alike."""
    return torch.cat([augment(torch.cat((x, part), 1)) for part in pictures.split(len(x))])


def discriminator_terms(
    run: Run, D: nn.Module, view: View, y: Tensor, fake: Tensor, loss: Pix2PixLossOptions, due: bool = False
) -> Terms:
    """D's terms, summed over its scales, and its mean outputs: y [B, C', H, W], fake [B or 2B, C', H, W].

    With R1 due it is taken at y.
    """
    y = y.detach().requires_grad_(due)
    with run.autocast(enabled=not due):  # penalties are taken in fp32
        real_logits = [maps[-1] for maps in D(view(y))]
    with run.autocast():
        fake_logits = [maps[-1] for maps in D(view(fake.detach()))]
    terms = {
        "D_real": sum(real_loss(loss.gan_mode, logits) for logits in real_logits),
        "D_fake": sum(fake_loss(loss.gan_mode, logits) for logits in fake_logits),
        **mean_outputs(loss.gan_mode, real_logits, fake_logits),
    }
    return terms | ({"r1": r1(real_logits, y)} if due else {})


def generator_terms(
    D: nn.Module | None,
    view: View,
    y: Tensor,
    fake: Tensor,
    z: Tensor | None,
    loss: Pix2PixLossOptions,
    mean: Mean = itself,
) -> Terms:
    """G's terms, named as their weights; D None: no adversarial ones. mean: losses/whole_batch.py."""
    terms = {"l1": F.l1_loss(fake[: len(y)].float(), y)}  # Eq. 3; of two fakes the first meets y
    if loss.mode_seeking:
        terms["mode_seeking"] = mode_seeking(*fake.chunk(2), *z.chunk(2), mean)  # MSGAN, sec. 3.2
    if D is not None:
        fake_maps = D(view(fake))
        terms["adv"] = sum(generator_loss(loss.gan_mode, maps[-1]) for maps in fake_maps)  # Eq. 1
        if loss.feature_matching:
            with torch.no_grad():
                real_maps = D(view(y))
            first = [[f[: len(y)] for f in maps[:-1]] for maps in fake_maps]
            terms["feature_matching"] = feature_matching([maps[:-1] for maps in real_maps], first)
    return terms


def train(opt: Pix2PixOptions) -> None:
    run = Run(opt.run)

    # ---- networks
    G = initialize(build.pix2pix_generator(opt), opt.model.init, opt.model.init_gain).to(run.device)
    D = initialize(build.pix2pix_discriminator(opt), opt.model.init, opt.model.init_gain).to(run.device)
    G_ema = EMA(G, opt.ema.half_life, opt.ema.ramp_up)
    G_opt = adam(G.parameters(), opt.optim.g_lr, opt.optim.g_betas)
    D_opt = adam(D.parameters(), opt.optim.d_lr, opt.optim.d_betas)
    G_params, D_params = list(G.parameters()), list(D.parameters())
    run.synchronise(G, *([] if opt.loss.r1 else [D]))
    run.compile(G)  # not D: the penalties differentiate it twice, which compiled networks do not support

    # ---- data
    with run.in_turn():
        pairs, val = pix2pix_data(opt, run.device)
    validate = PairValidation(opt, len(val), run.device) if run.rank == 0 else None
    opt = with_steps(opt, len(pairs), opt.optim.d_steps)
    data, model, loss, optim = opt.data, opt.model, opt.loss, opt.optim
    run.start(opt, data=[sample.name for sample in pairs.samples], G=G, D=D, G_ema=G_ema, G_opt=G_opt, D_opt=D_opt)
    loading = dict(seed=opt.run.seed, workers=data.workers, device=run.device, share=run.share)
    xy = batches(pairs, data.batch, start=run.step * optim.d_steps, **loading)
    resnet = model.generator == "resnet"  # in bf16 on the CPU faster with channels last, the U-Net without
    decay = cosine if optim.decay == "cosine" else partial(poly, power=1)
    draws = 2 if loss.mode_seeking else 1  # latents, and so fakes, of each input
    colors = slice(model.in_channels, model.in_channels + model.out_channels)  # the picture, in what D sees
    held, shown = InOrder(val, 1, data.workers, run.device), pairs.first(2) + val.first(2)
    if run.step == 0:
        run.grid([[p.permute(1, 2, 0).numpy() for p in item[1:]] for item in shown], "real")

    # ---- loop
    while run.running():
        run.reseed()
        lr_factor = decay(run.step / run.steps, optim.decay_start)
        set_lr(G_opt, optim.g_lr * lr_factor)
        set_lr(D_opt, optim.d_lr * lr_factor)
        terms = {}

        for k in range(optim.d_steps):
            x, y = (run.place(p, last_on_cpu=resnet) for p in next(xy))
            x, y = to_input(x, model.in_channels), to_input(y, model.out_channels)
            z = run.draw(lambda x: torch.randn(draws * len(x), model.z, device=x.device), x) if model.z else None
            with run.autocast(), torch.set_grad_enabled(k == optim.d_steps - 1):  # only G's step needs the graph
                fake = G(x if draws == 1 else torch.cat((x, x)), z)

            # ---- D step: Eq. 1, with lazy R1 (arXiv:1801.04406, Eq. 9), or WGAN-GP's Eq. 3
            if opt.adversarial:
                due = loss.r1 > 0 and (run.step * optim.d_steps + k) % loss.penalty_every == 0
                view = partial(seen, x, augment_alike(loss.diffaugment, colors, run.draw))
                D_opt.zero_grad()
                terms |= discriminator_terms(run, D, view, y, fake, loss, due)
                loss_D = terms["D_real"] + terms["D_fake"]
                if due:
                    loss_D = loss_D + loss.penalty_every * loss.r1 / 2 * terms["r1"]
                if loss.gan == "wgan-gp":
                    between = interpolate(view(y), view(fake[: len(x)].float()), run.draw)
                    terms["gp"] = gradient_penalty([maps[-1] for maps in D(between)], between, loss.gp_target)
                    loss_D = loss_D + loss.gp * terms["gp"]
                (loss.d_weight * loss_D).backward(inputs=D_params)
                run.average(D)
                if not optim.g_first:
                    D_opt.step()

        # ---- G step: Eq. 4
        view = partial(seen, x, augment_alike(loss.diffaugment, colors, run.draw))
        with run.autocast():
            terms |= generator_terms(D if opt.adversarial else None, view, y, fake, z, loss, run.mean)
        loss_G = loss.l1 * terms["l1"] + loss.adv * terms.get("adv", 0)
        loss_G = loss_G + loss.mode_seeking * terms.get("mode_seeking", 0)
        loss_G = loss_G + loss.feature_matching * terms.get("feature_matching", 0)
        loss_G.backward(inputs=G_params)
        run.average(G)
        G_opt.step()
        G_opt.zero_grad()  # at once: the next forwards have their memory
        if opt.adversarial and optim.g_first:
            D_opt.step()  # both gradients are from the same weights

        # ---- average, log, look, validate, save
        run.step += 1
        G_ema.update(G, run.step, data.batch)
        run.log(**terms, lr=G_opt.param_groups[0]["lr"])
        if run.due(opt.run.sample_every):
            with predicting(G_ema.module, opt.sample.norm_stats, opt.predict_dropout) as G_mean, run.autocast():
                run.grid(sample_rows(G_mean, shown, opt))
        if run.due(opt.run.eval_every) and len(val):
            with predicting(G_ema.module, opt.sample.norm_stats, opt.predict_dropout) as G_mean:
                run.validated(**validate(translated(G_mean, held, opt, opt.run.precision), len(held)))
        if run.due(opt.run.save_every):
            run.save()
    run.finish()


def main() -> None:
    opt, dry_run = command_line(Pix2PixOptions, DEFAULT_FILE, __doc__)
    if dry_run:
        print(f"# G: {build.millions(build.pix2pix_generator(opt))} parameters")
        print(f"# D: {build.millions(build.pix2pix_discriminator(opt))} parameters")
    else:
        train(opt)


if __name__ == "__main__":
    door(main)
