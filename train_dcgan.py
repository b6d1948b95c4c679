"""Train a DCGAN: Radford et al. 2016, "Unsupervised Representation Learning with Deep Convolutional Generative
Adversarial Networks", arXiv:1511.06434, with the variants of animeGAN.

    python train_dcgan.py [options/FILE.yaml] [key=value ...]

The same command resumes a stopped run. G turns a latent z into a picture; x is a true picture; D judges pictures; y is
their class, if data.labels gives one.
"""

from functools import partial

import torch
from torch import Tensor, nn

from data.dcgan import dcgan_data, face_batches
from data.dcgan_io import draw_latents, generate, random_latents
from data.diffaugment import diff_augment
from data.picture_io import to_picture
from engine.chance import Draw, alone
from engine.ema import EMA
from engine.errors import door
from engine.run import Run
from engine.schedule import adam, poly, set_lr
from losses.gan import fake_loss, generator_loss, real_loss, relativistic_loss
from losses.penalty import r1
from models import build
from models.layers import predicting
from options.common import with_steps
from options.dcgan import DEFAULT_FILE, DcganLossOptions, DcganOptions
from options.load import command_line

GRID = 8  # rows and columns of the sample grids


def seen(x: Tensor, noise: float, loss: DcganLossOptions, draw: Draw = alone) -> Tensor:
    """What D is shown of pictures [B, 3, H, W] in [-1, 1]: with DiffAugment and instance noise (arXiv:1610.04490)."""
    x = diff_augment(x, loss.diffaugment, draw=draw)
    return x + noise * draw(torch.randn_like, x) if noise else x


def swapped(real: Tensor, fake: Tensor, share: float, draw: Draw = alone) -> tuple[Tensor, Tensor]:
    """D's logits [B] by the label that they get: in a share of the pairs, by lot, real is called fake and fake real."""
    swap = draw(torch.rand_like, real) < share
    return torch.where(swap, fake, real), torch.where(swap, real, fake)


def discriminator_terms(
    run: Run, D: nn.Module, x: Tensor, fake: Tensor, y: Tensor | None, loss: DcganLossOptions, penalty: bool
) -> dict[str, Tensor]:
    """D's terms on what it sees of x and of G's pictures; with `penalty` also those of its gradient, in fp32.

    D_x and D_G_z are for the log: D's mean on real and fake pictures, a probability for bce, else a logit.
    """
    at_real, at_fake = penalty and loss.r1 > 0, penalty and loss.r2 > 0
    x, fake = x.detach().requires_grad_(at_real), fake.detach().requires_grad_(at_fake)
    with run.autocast(enabled=not at_real):
        on_real = D(x, y).float()
    with run.autocast(enabled=not at_fake):
        on_fake = D(fake, y).float()
    shown = torch.sigmoid if loss.gan == "bce" else torch.clone
    terms = {"D_x": shown(on_real).mean(), "D_G_z": shown(on_fake).mean()}
    called_real, called_fake = on_real, on_fake
    if loss.label_flip:
        called_real, called_fake = swapped(on_real, on_fake, loss.label_flip, run.draw)
    if loss.gan == "relativistic":
        terms["D"] = relativistic_loss(called_real, called_fake)
    else:
        terms["D"] = real_loss(loss.gan, called_real, loss.label_smoothing) + fake_loss(loss.gan, called_fake)
    if at_real:
        terms["r1"] = r1([on_real], x)
    if at_fake:
        terms["r2"] = r1([on_fake], fake)
    return terms


def adversarial(D: nn.Module, x: Tensor, fake: Tensor, y: Tensor | None, gan: str) -> Tensor:
    """G's adversarial term on what D sees of its pictures; relativistic: against the real ones."""
    logits = D(fake, y)
    if gan != "relativistic":
        return generator_loss(gan, logits)
    with torch.no_grad():
        on_real = D(x, y)
    return relativistic_loss(logits, on_real)


def train(opt: DcganOptions) -> None:
    run = Run(opt.run)

    # ---- data
    with run.in_turn():
        faces, classes = dcgan_data(opt, run.device)
    opt = with_steps(opt.with_classes(classes), len(faces))
    data, model, loss, optim = opt.data, opt.model, opt.loss, opt.optim

    # ---- networks
    last = dict(memory_format=torch.channels_last)  # faster on CUDA and CPU, here in fp32, too
    G = build.dcgan_generator(opt).to(run.device, **last)
    D = build.dcgan_discriminator(opt).to(run.device, **last)
    G_ema = EMA(G, opt.ema.half_life, opt.ema.ramp_up)
    G_opt = adam(G.parameters(), optim.g_lr, optim.g_betas)
    D_opt = adam(D.parameters(), optim.d_lr, optim.d_betas)
    G_params = list(G.parameters())
    decoded = model.variant == "illustration" and loss.z > 0
    run.synchronise(G, *([] if loss.r1 or loss.r2 else [D]))
    run.compile(G)  # not D: the penalties differentiate it twice, which compiled networks do not support
    run.start(opt, G=G, D=D, G_ema=G_ema, G_opt=G_opt, D_opt=D_opt)
    how = dict(seed=opt.run.seed, mirror="mirror" in data.augment, share=run.share)
    stream = face_batches(faces, data.batch, start=run.step, **how)
    if run.step == 0:
        run.grid(rows_of(faces.first(GRID * GRID)), "real")
    shown = draw_latents(opt, range(GRID * GRID), seed=0)

    # ---- loop
    while run.running():
        run.reseed()
        progress = run.step / run.steps
        lr_factor, noise = poly(progress, optim.decay_start, 1.0), loss.instance_noise * (1 - progress)
        set_lr(G_opt, optim.g_lr * lr_factor)
        set_lr(D_opt, optim.d_lr * lr_factor)
        pictures, y = next(stream)
        x = run.place(pictures).float() / 127.5 - 1
        y = None if y is None else y.to(run.device)
        z = run.draw(lambda x: random_latents(len(x), model.z, model.latent), x).to(run.device)
        sight = partial(seen, noise=noise, loss=loss, draw=run.draw)
        with run.autocast():
            fake, z_hat = G(z, y, predict_z=True) if decoded else (G(z, y), None)
            fake = fake.float()

        # ---- D step: ascend log D(x) + log(1 - D(G(z))) (Eq. 1 of arXiv:1406.2661) or its like, with R1 and R2
        penalty = run.step % loss.penalty_every == 0
        D_opt.zero_grad()
        terms = discriminator_terms(run, D, sight(x), sight(fake), y, loss, penalty)
        gp = loss.r1 * terms.get("r1", 0) + loss.r2 * terms.get("r2", 0)
        (terms["D"] + loss.penalty_every / 2 * gp).backward()
        run.average(D)
        D_opt.step()

        # ---- G step: ascend log D(G(z)), the non-saturating loss
        G_opt.zero_grad()
        with run.autocast():
            terms["G"] = adversarial(D, sight(x), sight(fake), y, loss.gan)
        if decoded:
            terms["z"] = nn.functional.mse_loss(z_hat.float(), z)
        (terms["G"] + loss.z * terms.get("z", 0)).backward(inputs=G_params)
        run.average(G)
        G_opt.step()

        # ---- average, log, look, save
        run.step += 1
        G_ema.update(G, run.step, data.batch)
        run.log(**terms, lr=G_opt.param_groups[0]["lr"])
        if run.due(opt.run.sample_every):
            with predicting(G_ema.module, opt.sample.norm_stats) as G_mean:
                run.grid(rows_of(generate(G_mean, *shown)))
        if run.due(opt.run.save_every):
            run.save()
    run.finish()


def rows_of(x: Tensor) -> list[list]:
    """Pictures [B, 3, H, W] in [-1, 1] as rows of a grid."""
    pictures = [to_picture(one) for one in x]
    return [pictures[i : i + GRID] for i in range(0, len(pictures), GRID)]


def main() -> None:
    opt, dry_run = command_line(DcganOptions, DEFAULT_FILE, __doc__)
    if dry_run:
        print(f"# G: {build.millions(build.dcgan_generator(opt))} parameters")
        print(f"# D: {build.millions(build.dcgan_discriminator(opt))} parameters")
    else:
        train(opt)


if __name__ == "__main__":
    door(main)
