"""Train SPADE: Park et al. 2019, "Semantic Image Synthesis with Spatially-Adaptive Normalization", arXiv:1903.07291,
with the mapping networks and the hair-colour map of SPADE-pix2pix-for-Anime.

    python train_spade.py [options/FILE.yaml] [key=value ...]

The same command resumes a stopped run. G paints a label map m, with colours c in the hair; x is the true picture; D
judges label, picture and colours together, patch by patch, or finds each pixel's class y (OASIS, arXiv:2012.04781).
"""

import torch

from data.loader import InOrder, batches
from data.spade import network_inputs, spade_data
from data.spade_io import sample_rows
from engine.ema import EMA
from engine.errors import door
from engine.evaluation.measure_pairs import painted
from engine.evaluation.validation import PairValidation
from engine.run import Run
from engine.schedule import adam, poly, set_lr
from losses.diversity import diversity
from losses.kl import kl_divergence
from losses.perceptual import Perceptual
from losses.spade import (
    discriminator_terms,
    generator_terms,
    oasis_discriminator_terms,
    oasis_generator_terms,
)
from models import build
from models.layers import predicting
from models.spade_encoder import draw_style
from models.spade_generator import draw_noise, paint_twice
from options.common import with_steps
from options.load import command_line
from options.spade import DEFAULT_FILE, SpadeOptions


def train(opt: SpadeOptions) -> None:
    run = Run(opt.run)

    # ---- networks
    G = build.spade_generator(opt).to(run.device)  # with the style encoder, if there is one
    D = build.spade_discriminator(opt).to(run.device)
    G_ema = EMA(G, opt.ema.half_life, opt.ema.ramp_up)
    G_opt = adam(G.parameters(), opt.optim.g_lr, opt.optim.g_betas)
    D_opt = adam(D.parameters(), opt.optim.d_lr, opt.optim.d_betas)
    G_params, D_params = list(G.parameters()), list(D.parameters())  # what a backward fills: not the pictures
    run.synchronise(G, *([D] if opt.loss.penalty == "none" else []))
    run.compile(G)  # not D: the penalty differentiates it twice, which compiled networks do not support

    # ---- data
    data, loss, optim = opt.data, opt.loss, opt.optim
    with run.in_turn():
        main, val, rough, palette = spade_data(opt, run.device)
        perceptual = Perceptual(loss.vgg, loss.perceptual_mode).to(run.device) if loss.perceptual else None
    validate = PairValidation(opt, len(val), run.device) if run.rank == 0 else None
    opt = with_steps(opt, len(main), optim.d_steps + 1)
    run.start(opt, data=[s.name for s in main.samples], G=G, D=D, G_ema=G_ema, G_opt=G_opt, D_opt=D_opt)
    loading = dict(batch=data.batch, seed=opt.run.seed, start=run.step * (optim.d_steps + 1), share=run.share)
    loading |= dict(workers=data.workers, device=run.device)
    sources = [(main, 1.0)] if rough is None else [(main, 1.0), (rough, opt.rough.weight)]
    sets = [(batches(source, stream=i, **loading), weight) for i, (source, weight) in enumerate(sources)]
    oasis = opt.model.discriminator == "oasis"
    passes = [sets] if opt.rough.mode == "sum" else [[one] for one in sets]  # steps on the weighted sum of each
    held = InOrder(val, 1 if opt.sample.norm_stats == "batch" else data.batch, data.workers, run.device)
    shown = main.first(2) + val.first(2)
    if run.step == 0:
        run.grid([[x.permute(1, 2, 0).numpy() for _, x, *_ in shown]], "real")

    # ---- loop
    while run.running():
        run.reseed()
        lr_factor = poly(run.step / run.steps, optim.poly_start, optim.poly_power)
        set_lr(G_opt, optim.g_lr * lr_factor)
        set_lr(D_opt, optim.d_lr * lr_factor)
        logged = {}  # terms as they come first: the main set's
        for parts in passes:
            # ---- D steps: hinge (Lim & Ye 2017, arXiv:1705.02894) or its like, with the gradient penalty; or OASIS's
            for k in range(optim.d_steps):
                due = loss.penalty != "none" and (run.step * optim.d_steps + k) % loss.penalty_every == 0
                for source, weight in parts:
                    real = network_inputs(next(source), data, run.place)
                    m, x, c, _ = real
                    with torch.no_grad(), run.autocast():
                        fake = G(m, c, style=draw_style(G.encoder, x, run.draw)[0], noise=draw_noise(G, m, run.draw))
                    if oasis:
                        terms = oasis_discriminator_terms(run, D, real, fake, loss)
                    else:
                        terms = discriminator_terms(run, D, real, fake, loss, due)
                    regular = loss.gp * loss.penalty_every * terms.get("gp", 0)
                    regular = regular + loss.labelmix * terms.get("labelmix", 0)
                    with run.autocast_backward(due):
                        loss_D = loss.d_weight * (terms["D_real"] + terms["D_fake"] + regular)
                        (weight * loss_D).backward(inputs=D_params)
                    logged = terms | logged
                run.average(D)
                D_opt.step()
                D_opt.zero_grad()

            # ---- G step
            for source, weight in parts:
                real = network_inputs(next(source), data, run.place)
                m, x, c, _ = real
                with run.autocast():
                    style, *posterior = draw_style(G.encoder, x, run.draw)
                    terms = {} if style is None else {"kl": kl_divergence(*posterior)}
                    if loss.diversity:
                        fake, *others = paint_twice(G, m, c, style, run.draw)
                        inside = m[:, data.class_channel(loss.diversity_class)]
                        terms["diversity"] = diversity(fake, *others, inside, mean=run.mean)
                    else:
                        fake = G(m, c, draw_noise(G, m, run.draw), style)
                    terms |= (oasis_generator_terms if oasis else generator_terms)(run, D, real, fake, loss)
                    if perceptual is not None:
                        terms["perceptual"] = perceptual(fake, x)
                loss_G = loss.adv * terms["adv"] + loss.feature_matching * terms.get("feature_matching", 0)
                loss_G = loss_G + loss.perceptual * terms.get("perceptual", 0)
                loss_G = loss_G + loss.diversity * terms.get("diversity", 0) + loss.kl * terms.get("kl", 0)
                (weight * loss_G).backward(inputs=G_params)
                logged = terms | logged
            run.average(G)
            G_opt.step()
            G_opt.zero_grad()  # at once: the next forwards have their memory

        # ---- average, log, look, validate, save
        run.step += 1
        G_ema.update(G, run.step, data.batch)
        run.log(**logged, lr=G_opt.param_groups[0]["lr"])
        if run.due(opt.run.sample_every):
            with predicting(G_ema.module, opt.sample.norm_stats) as G_mean, run.autocast():
                run.grid(sample_rows(G_mean, shown, opt, palette))
        if run.due(opt.run.eval_every) and len(val):
            with predicting(G_ema.module, opt.sample.norm_stats) as G_mean:
                run.validated(**validate(painted(G_mean, held, opt, opt.run.precision), len(held)))
        if run.due(opt.run.save_every):
            run.save()
    run.finish()


def main() -> None:
    opt, dry_run = command_line(SpadeOptions, DEFAULT_FILE, __doc__)
    if dry_run:
        print(f"# G: {build.millions(build.spade_generator(opt))} parameters")
        print(f"# D: {build.millions(build.spade_discriminator(opt))} parameters")
    else:
        train(opt)


if __name__ == "__main__":
    door(main)
