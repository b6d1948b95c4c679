"""Train pix2pix: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial Networks",
arXiv:1611.07004; with a latent and mode seeking: Mao et al. 2019, arXiv:1903.05628.

    python train_pix2pix.py [options/FILE.yaml] [key=value ...]

The same command resumes a stopped run. Names as in the paper: G turns an input x (edges) into a picture, y is the true
one, D judges pairs of an input and a picture, patch by patch; z is the latent.
"""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.loader import batches, in_order
from data.pix2pix import Pairs, pix2pix_data
from data.pix2pix_io import to_input, to_picture, translate
from engine.ema import EMA
from engine.errors import door
from engine.run import Run
from engine.schedule import adam, cosine, poly, set_lr
from losses.feature_matching import feature_matching
from losses.gan import fake_loss, generator_loss, real_loss
from losses.mode_seeking import mode_seeking
from losses.penalty import gradient_penalty, interpolate
from losses.whole_batch import Mean, itself
from models import build
from models.init import initialize
from models.layers import predicting
from options.common import with_steps
from options.load import command_line
from options.pix2pix import DEFAULT_FILE, Pix2PixLossOptions, Pix2PixOptions


def discriminator_terms(
    D: nn.Module, x: Tensor, y: Tensor, fake: Tensor, loss: Pix2PixLossOptions
) -> dict[str, Tensor]:
    """D's terms, summed over its scales: x [B, C, H, W], y [B, C', H, W], fake [B or 2B, C', H, W], all in [-1, 1]."""
    real_maps = D(torch.cat((x, y), 1))
    fake_maps = D(torch.cat((input_of(fake, x), fake.detach()), 1))
    return {
        "D_real": sum(real_loss(loss.gan_mode, maps[-1]) for maps in real_maps),
        "D_fake": sum(fake_loss(loss.gan_mode, maps[-1]) for maps in fake_maps),
    }


def generator_terms(
    D: nn.Module | None,
    x: Tensor,
    y: Tensor,
    fake: Tensor,
    z: Tensor | None,
    loss: Pix2PixLossOptions,
    mean: Mean = itself,
) -> dict[str, Tensor]:
    """G's terms, named as their weights; D None: no adversarial ones. mean: losses/whole_batch.py."""
    terms = {"l1": F.l1_loss(fake[: len(y)].float(), y)}  # Eq. 3; of two fakes the first meets y
    if loss.mode_seeking:
        terms["mode_seeking"] = mode_seeking(*fake.chunk(2), *z.chunk(2), mean)  # MSGAN, sec. 3.2
    if D is not None:
        fake_maps = D(torch.cat((input_of(fake, x), fake), 1))
        terms["adv"] = sum(generator_loss(loss.gan_mode, maps[-1]) for maps in fake_maps)  # Eq. 1
        if loss.feature_matching:
            with torch.no_grad():
                real_maps = D(torch.cat((x, y), 1))
            first = [[f[: len(y)] for f in maps[:-1]] for maps in fake_maps]
            terms["feature_matching"] = feature_matching([maps[:-1] for maps in real_maps], first)
    return terms


def input_of(fake: Tensor, x: Tensor) -> Tensor:
    """The input of every fake: x once, or twice where there are two fakes of it."""
    return x if len(fake) == len(x) else torch.cat((x, x))


@torch.no_grad()
def pictures_of(G: nn.Module, opt: Pix2PixOptions, x: Tensor, name: str, samples: int = 1) -> Tensor:
    """What predict.py makes of the picture x, uint8 [3, H, W], of that name: [samples * C', H, W] in [-1, 1]."""
    x = to_input(x[None].to(next(G.parameters()).device), opt.model.in_channels)
    return translate(G, x, [name], samples, nz=opt.model.z, dropout=opt.predict_dropout)[0]


def validate(G: nn.Module, pairs: Pairs, opt: Pix2PixOptions) -> dict[str, float]:
    """Mean L1 distance to the targets, in [-1, 1]; every picture alone."""
    total = 0.0
    for sample, (x, y) in zip(pairs.samples, in_order(pairs, 1, opt.data.workers), strict=True):
        fake = pictures_of(G, opt, x[0], sample.name).cpu()
        total += float(F.l1_loss(fake, to_input(y, opt.model.out_channels)[0]))
    return {"val_l1": total / len(pairs)}


def sample_rows(G: nn.Module, shown: list[tuple], opt: Pix2PixOptions) -> list[list[np.ndarray]]:
    """Rows input | fake (three with a latent) | target."""
    rows = []
    for name, x, y in shown:
        fakes = pictures_of(G, opt, x, name, 3 if opt.model.z else 1).split(opt.model.out_channels)
        rows.append([x.permute(1, 2, 0).numpy(), *map(to_picture, fakes), y.permute(1, 2, 0).numpy()])
    return rows


def train(opt: Pix2PixOptions) -> None:
    run = Run(opt.run)

    # ---- networks
    G = initialize(build.pix2pix_generator(opt), opt.model.init, opt.model.init_gain).to(run.device)
    D = initialize(build.pix2pix_discriminator(opt), opt.model.init, opt.model.init_gain).to(run.device)
    G_ema = EMA(G, opt.ema.half_life, opt.ema.ramp_up)
    G_opt = adam(G.parameters(), opt.optim.g_lr, opt.optim.g_betas)
    D_opt = adam(D.parameters(), opt.optim.d_lr, opt.optim.d_betas)
    G_params = list(G.parameters())
    run.synchronise(G, D)
    run.compile(G)  # not D: the gradient penalty differentiates it twice, which compiled networks do not support

    # ---- data
    with run.in_turn():
        pairs, val = pix2pix_data(opt)
    opt = with_steps(opt, len(pairs), opt.optim.d_steps)
    data, model, loss, optim = opt.data, opt.model, opt.loss, opt.optim
    adversarial = loss.adv > 0 or loss.feature_matching > 0
    run.start(opt, data=[sample.name for sample in pairs.samples], G=G, D=D, G_ema=G_ema, G_opt=G_opt, D_opt=D_opt)
    loading = dict(seed=opt.run.seed, workers=data.workers, pin=run.device.type == "cuda", share=run.share)
    xy = batches(pairs, data.batch, start=run.step * optim.d_steps, **loading)
    resnet = model.generator == "resnet"  # in bf16 on the CPU faster with channels last, the U-Net without
    decay = cosine if optim.decay == "cosine" else partial(poly, power=1)
    draws = 2 if loss.mode_seeking else 1  # latents, and so fakes, of each input
    shown = pairs.first(2) + val.first(2)
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

            # ---- D step: Eq. 1, or WGAN-GP's Eq. 3
            if adversarial:
                D_opt.zero_grad()
                with run.autocast():
                    terms |= discriminator_terms(D, x, y, fake, loss)
                loss_D = terms["D_real"] + terms["D_fake"]
                if loss.gan == "wgan-gp":
                    between = interpolate(torch.cat((x, y), 1), torch.cat((x, fake[: len(x)].float()), 1), run.draw)
                    terms["gp"] = gradient_penalty([maps[-1] for maps in D(between)], between, loss.gp_target)
                    loss_D = loss_D + loss.gp * terms["gp"]
                (loss.d_weight * loss_D).backward()
                run.average(D)
                if not optim.g_first:
                    D_opt.step()

        # ---- G step: Eq. 4
        with run.autocast():
            terms |= generator_terms(D if adversarial else None, x, y, fake, z, loss, run.mean)
        loss_G = loss.l1 * terms["l1"] + loss.adv * terms.get("adv", 0)
        loss_G = loss_G + loss.mode_seeking * terms.get("mode_seeking", 0)
        loss_G = loss_G + loss.feature_matching * terms.get("feature_matching", 0)
        loss_G.backward(inputs=G_params)
        run.average(G)
        G_opt.step()
        G_opt.zero_grad()  # at once: the next forwards have their memory
        if adversarial and optim.g_first:
            D_opt.step()  # both gradients are from the same weights

        # ---- average, log, look, validate, save
        run.step += 1
        G_ema.update(G, run.step, data.batch)
        run.log(**terms, lr=G_opt.param_groups[0]["lr"])
        if run.due(opt.run.sample_every):
            with predicting(G_ema.module, opt.sample.norm_stats, opt.predict_dropout) as G_mean, run.autocast():
                run.grid(sample_rows(G_mean, shown, opt))
        if run.due(opt.run.eval_every) and len(val):
            with predicting(G_ema.module, opt.sample.norm_stats, opt.predict_dropout) as G_mean, run.autocast():
                run.validated(**validate(G_mean, val, opt))
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
