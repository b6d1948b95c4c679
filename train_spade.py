"""Train SPADE: Park et al. 2019, "Semantic Image Synthesis with Spatially-Adaptive Normalization", arXiv:1903.07291,
with the mapping networks and the hair-colour map of SPADE-pix2pix-for-Anime.

    python train_spade.py [options/FILE.yaml] [key=value ...]

The same command resumes a stopped run. G paints a label map m, with colours c in the hair; x is the true picture; D
judges label, picture and colours together, patch by patch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from data.loader import batches, in_order
from data.spade import SpadePictures, network_inputs, spade_data
from data.spade_io import paint, sample_rows
from engine.ema import EMA
from engine.errors import door
from engine.progress import progress
from engine.run import Run
from engine.schedule import adam, poly, set_lr
from losses.diversity import diversity
from losses.feature_matching import feature_matching
from losses.gan import fake_loss, generator_loss, real_loss
from losses.kl import kl_divergence
from losses.penalty import r1, squared_sum
from losses.perceptual import Perceptual
from models import build
from models.layers import predicting
from models.spade_encoder import draw_style
from models.spade_generator import draw_noise, paint_twice
from options.common import with_steps
from options.load import command_line
from options.spade import DEFAULT_FILE, SpadeLossOptions, SpadeOptions

Batch = tuple[Tensor, Tensor, Tensor | None]  # m [B, L, H, W], x [B, 3, H, W] in [-1, 1], c [B, 3, H, W] in [0, 1]
Terms = dict[str, Tensor]  # scalars


def judge(run: Run, D: nn.Module, m: Tensor, x: Tensor, c: Tensor | None) -> list[list[Tensor]]:
    """D's maps of label, picture and colours; on the CPU it is faster without channels last, unlike G."""
    return D(run.place(torch.cat((m, x) if c is None else (m, x, c), 1), last_on_cpu=False))


def discriminator_terms(run: Run, D: nn.Module, real: Batch, fake: Tensor, loss: SpadeLossOptions, due: bool) -> Terms:
    """D's terms, summed over its scales; with the penalty due also that of its gradient at the pictures, in fp32."""
    m, x, c = real
    at_real, at_fake = (due and name in loss.penalty_on for name in ("real", "fake"))
    x, fake = x.detach().requires_grad_(at_real), fake.detach().float().requires_grad_(at_fake)
    with run.autocast(enabled=not at_real):
        real_logits = [maps[-1] for maps in judge(run, D, m, x, c)]
    with run.autocast(enabled=not at_fake):
        fake_logits = [maps[-1] for maps in judge(run, D, m, fake, c)]
    terms = {
        "D_real": sum(real_loss(loss.gan, logits) for logits in real_logits),
        "D_fake": sum(fake_loss(loss.gan, logits) for logits in fake_logits),
    }
    if due:
        places = [(real_logits, x)] * at_real + [(fake_logits, fake)] * at_fake
        penalty_of = r1 if loss.penalty == "r1" else squared_sum
        terms["gp"] = sum(penalty_of(logits, picture) for logits, picture in places)
    return terms


def generator_terms(
    run: Run, D: nn.Module, real: Batch, fake: Tensor, loss: SpadeLossOptions, perceptual: nn.Module | None
) -> Terms:
    """G's terms by the names of their weights: adversarial, feature matching, perceptual."""
    m, x, c = real
    with torch.no_grad():  # before the fake, as the original: each forward moves the power iterations
        real_maps = judge(run, D, m, x, c) if loss.feature_matching else []
    fake_maps = judge(run, D, m, fake, c)
    terms = {"adv": sum(generator_loss(loss.gan, maps[-1]) for maps in fake_maps)}
    if loss.feature_matching:
        terms["feature_matching"] = feature_matching([p[:-1] for p in real_maps], [p[:-1] for p in fake_maps])
    if perceptual is not None:
        terms["perceptual"] = perceptual(fake, x)
    return terms


def validate(G: nn.Module, pictures: SpadePictures, opt: SpadeOptions) -> dict[str, float]:
    """Mean L1 distance to the true pictures, in [-1, 1]; with batch statistics every picture alone."""
    size, total = 1 if opt.sample.norm_stats == "batch" else opt.data.batch, 0.0
    parts = [[s.name for s in pictures.samples[i : i + size]] for i in range(0, len(pictures), size)]
    loaded = progress(in_order(pictures, size, opt.data.workers), len(parts), "validation", "batch")
    for names, (x, ids, color) in zip(parts, loaded, strict=True):
        fake = paint(G, ids, color, opt, names).cpu()
        total += float(F.l1_loss(fake, x.float() / 127.5 - 1)) * len(names)
    return {"val_l1": total / len(pictures)}


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
        main, val, rough, palette = spade_data(opt)
        perceptual = Perceptual(loss.vgg, loss.perceptual_mode).to(run.device) if loss.perceptual else None
    opt = with_steps(opt, len(main), optim.d_steps + 1)
    run.start(opt, data=[s.name for s in main.samples], G=G, D=D, G_ema=G_ema, G_opt=G_opt, D_opt=D_opt)
    loading = dict(batch=data.batch, seed=opt.run.seed, start=run.step * (optim.d_steps + 1), share=run.share)
    loading |= dict(workers=data.workers, pin=run.device.type == "cuda")
    sources = [(main, 1.0)] if rough is None else [(main, 1.0), (rough, opt.rough.weight)]
    sets = [(batches(source, stream=i, **loading), weight) for i, (source, weight) in enumerate(sources)]
    passes = [sets] if opt.rough.mode == "sum" else [[one] for one in sets]  # steps on the weighted sum of each
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
            # ---- D steps: hinge (Lim & Ye 2017, arXiv:1705.02894) or its like, with the gradient penalty
            for k in range(optim.d_steps):
                due = loss.penalty != "none" and (run.step * optim.d_steps + k) % loss.penalty_every == 0
                for source, weight in parts:
                    m, x, c = network_inputs(next(source), data, run.place)
                    with torch.no_grad(), run.autocast():
                        fake = G(m, c, style=draw_style(G.encoder, x, run.draw)[0], noise=draw_noise(G, m, run.draw))
                    terms = discriminator_terms(run, D, (m, x, c), fake, loss, due)
                    gp = loss.gp * loss.penalty_every * terms.get("gp", 0)
                    with run.autocast_backward(due):
                        (weight * loss.d_weight * (terms["D_real"] + terms["D_fake"] + gp)).backward(inputs=D_params)
                    logged = terms | logged
                run.average(D)
                D_opt.step()
                D_opt.zero_grad()

            # ---- G step
            for source, weight in parts:
                m, x, c = network_inputs(next(source), data, run.place)
                with run.autocast():
                    style, *posterior = draw_style(G.encoder, x, run.draw)
                    terms = {} if style is None else {"kl": kl_divergence(*posterior)}
                    if loss.diversity:
                        fake, *others = paint_twice(G, m, c, style, run.draw)
                        inside = m[:, data.class_channel(loss.diversity_class)]
                        terms["diversity"] = diversity(fake, *others, inside, mean=run.mean)
                    else:
                        fake = G(m, c, draw_noise(G, m, run.draw), style)
                    terms |= generator_terms(run, D, (m, x, c), fake, loss, perceptual)
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
            with predicting(G_ema.module, opt.sample.norm_stats) as G_mean, run.autocast():
                run.validated(**validate(G_mean, val, opt))
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
