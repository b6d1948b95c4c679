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
from data.diffaugment import diff_augment
from data.picture_io import to_picture
from engine.chance import Draw, alone
from engine.device import to_device
from engine.ema import EMA
from engine.errors import door
from engine.evaluation.measure_dcgan import training_kid
from engine.run import Run
from engine.schedule import adam, poly, set_lr
from losses.gan import discriminator_loss, fake_loss, generator_loss, mean_outputs, real_loss, relativistic_loss
from losses.penalty import r1
from models import build
from models.latents import draw_latents, generate, random_latents
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
    if not share:
        return real, fake
    swap = draw(torch.rand_like, real) < share
    return torch.where(swap, fake, real), torch.where(swap, real, fake)


def train(opt: DcganOptions) -> None:
    run = Run(opt.run)

    # ---- data
    with run.in_turn():
        faces, classes = dcgan_data(opt, run.device)
    opt = with_steps(opt.with_classes(classes), len(faces))
    data, model, loss, optim = opt.data, opt.model, opt.loss, opt.optim

    # ---- networks
    G = run.place_network(build.dcgan_generator(opt), compiled=True)
    D = run.place_network(build.dcgan_discriminator(opt))
    G_ema = EMA(G, opt.ema.half_life, opt.ema.ramp_up)
    G_opt = adam(G.parameters(), optim.g_lr, optim.g_betas)
    D_opt = adam(D.parameters(), optim.d_lr, optim.d_betas)
    G_params, D_params = list(G.parameters()), list(D.parameters())
    apart = loss.gan != "relativistic" and not loss.label_flip  # D's loss is a sum: one graph of D at a time
    decoded = model.variant == "illustration" and loss.z > 0
    kid = training_kid(opt, faces, run.device) if run.rank == 0 else None
    run.synchronise(G, *([] if loss.r1 or loss.r2 else [D]))
    run.compile(G)  # not D: the penalties differentiate it twice, which compiled networks do not support
    run.start(opt, data=faces.about, G=G, D=D, G_ema=G_ema, G_opt=G_opt, D_opt=D_opt)
    loading = dict(mirror="mirror" in data.augment, start=run.step, share=run.share)
    stream = face_batches(faces, data.batch, seed=opt.run.seed, **loading)
    if run.step == 0:
        run.grid(rows_of(faces.first(GRID * GRID)), "real")
    shown = draw_latents(opt, range(GRID * GRID), seed=0)

    # ---- loop
    while run.running():
        run.reseed()
        progress = run.step / run.steps
        lr_factor = poly(progress, optim.decay_start, 1.0)
        set_lr(G_opt, optim.g_lr * lr_factor)
        set_lr(D_opt, optim.d_lr * lr_factor)
        view = partial(seen, noise=loss.instance_noise * (1 - progress), loss=loss, draw=run.draw)
        pictures, y = next(stream)
        x = run.place(pictures).float() / 127.5 - 1
        y = None if y is None else to_device(y, run.device)
        z = to_device(run.draw(lambda x: random_latents(len(x), model.z, model.latent), x), run.device)
        with run.autocast():
            fake, z_hat = G(z, y, predict_z=True) if decoded else (G(z, y), None)
            fake = fake.float()

        # ---- D step: ascend log D(x) + log(1 - D(G(z))) (Eq. 1 of arXiv:1406.2661) or its like. R1 and R2 are of D's
        # gradient at the pictures themselves: what D sees of them is part of the function, as in StyleGAN2-ADA
        penalized = run.step % loss.penalty_every == 0
        at_x, at_fake = penalized and loss.r1 > 0, penalized and loss.r2 > 0
        x, constant = x.requires_grad_(at_x), fake.detach().requires_grad_(at_fake)
        with run.autocast(enabled=not at_x):  # penalties are taken in fp32
            on_x = D(view(x), y).float()
        terms = {"r1": r1([on_x], x)} if at_x else {}
        loss_D = loss.penalty_every / 2 * loss.r1 * terms.get("r1", 0)
        if apart:
            terms["D"] = real_loss(loss.gan, on_x, loss.label_smoothing)
            (terms["D"] + loss_D).backward(inputs=D_params)
            loss_D = 0
        with run.autocast(enabled=not at_fake):
            on_fake = D(view(constant), y).float()
        if at_fake:
            terms["r2"] = r1([on_fake], constant)
        if apart:
            on_D = fake_loss(loss.gan, on_fake)
            terms["D"] = terms["D"].detach() + on_D
        else:
            called = swapped(on_x, on_fake, loss.label_flip, run.draw)
            on_D = terms["D"] = discriminator_loss(loss.gan, *called, loss.label_smoothing)
        loss_D = loss_D + on_D + loss.penalty_every / 2 * loss.r2 * terms.get("r2", 0)
        loss_D.backward(inputs=D_params)
        run.average(D)
        D_opt.step()
        D_opt.zero_grad()

        # ---- G step: ascend log D(G(z)), the non-saturating loss; relativistic: beside D(x)
        with run.autocast():
            logits = D(view(fake), y)
            if loss.gan == "relativistic":
                with torch.no_grad():
                    real_logits = D(view(x), y)
                terms["G"] = relativistic_loss(logits, real_logits)
            else:
                terms["G"] = generator_loss(loss.gan, logits)
        if decoded:
            terms["z"] = nn.functional.mse_loss(z_hat.float(), z)
        (terms["G"] + loss.z * terms.get("z", 0)).backward(inputs=G_params)
        run.average(G)
        G_opt.step()
        G_opt.zero_grad()  # at once: the next forwards have their memory

        # ---- average, log, look, validate, save
        run.step += 1
        G_ema.update(G, run.step, data.batch)
        run.log(**terms, **mean_outputs(loss.gan, [on_x], [on_fake]), lr=G_opt.param_groups[0]["lr"])
        if run.due(opt.run.sample_every):
            with predicting(G_ema.module, opt.sample.norm_stats) as G_mean:
                run.grid(rows_of(generate(G_mean, *shown)))
        if run.due(opt.run.eval_every) and kid:
            with predicting(G_ema.module, opt.sample.norm_stats) as G_mean:
                run.validated(kid=kid(G_mean))
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
