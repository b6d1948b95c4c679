"""What every family's log lines tell of both networks: norms of their gradients, and D's mean outputs."""

import pytest
import torch
from runs import log
from torch.optim.optimizer import register_optimizer_step_pre_hook

import train_dcgan
import train_pix2pix
import train_seg
import train_spade
from models import build

TRAIN = {"seg": train_seg, "pix2pix": train_pix2pix, "spade": train_spade, "dcgan": train_dcgan}
CASES = {
    "seg": "loss.gan=bce loss.semi_start=0",
    "pix2pix": "model.num_discriminators=2 optim.d_steps=2 run.precision=bf16",
    "pix2pix G first": "optim.g_first=true loss.gan=bce loss.d_weight=3",
    "spade": "optim.d_steps=1 model.discriminator=multiscale loss.gan=bce run.precision=bf16",
    "dcgan": "loss.gan=bce loss.instance_noise=0.1",
    "dcgan hinge": "loss.gan=hinge loss.r1=1",
}


def last_maps(made) -> list[torch.Tensor]:
    """The logits of D, scale by scale, whatever it returns."""
    return [maps[-1].detach().double() for maps in made] if isinstance(made, list) else [made.detach().double()]


@pytest.mark.parametrize("name", CASES)
def test_a_line_tells_of_both_networks(request, tmp_path, monkeypatch, name):
    family, said, norms, of_D = name.split()[0], [], [], set()
    make = getattr(build, f"{family}_discriminator")

    def listening(opt):
        D = make(opt)
        D.register_forward_hook(lambda _, inputs, made: said.append(last_maps(made)))
        of_D.update(D.parameters())
        return D

    monkeypatch.setattr(build, f"{family}_discriminator", listening)

    def moves(optimiser, *_):
        moved = [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        kind = "grad_D" if moved[0] in of_D else "grad_G"
        norms.append((kind, sum(p.grad.double().square().sum() for p in moved).sqrt().item()))

    tiny = request.getfixturevalue("tiny" if family == "seg" else f"tiny_{family}")
    opt, handle = tiny("run", "run.steps=1", *CASES[name].split()), register_optimizer_step_pre_hook(moves)
    try:
        TRAIN[family].train(opt)
    finally:
        handle.remove()
    (line,) = log(tmp_path / "run")
    twice = name in ("seg", "pix2pix")  # steps of one network
    assert len(norms) == 2 + twice and min(value for _, value in norms) > 0
    assert {key: line[key] for key in ("grad_G", "grad_D")} == pytest.approx(dict(norms), rel=1e-5), "the last moves"
    score = torch.sigmoid if opt.loss.gan == "bce" else torch.positive
    for key, logits in zip(("D_x", "D_G_z"), said[2:4] if name == "pix2pix" else said[:2], strict=True):
        assert line[key] == pytest.approx(sum(score(maps).mean().item() for maps in logits) / len(logits), rel=1e-4)


def test_a_network_that_does_not_learn_has_no_norm(tiny_pix2pix, tiny, tmp_path):
    train_pix2pix.train(tiny_pix2pix("run", "run.steps=1", "loss.adv=0"))
    train_seg.train(tiny("seg", "run.steps=1", "semi.method=none"))
    for folder in ("run", "seg"):
        (line,) = log(tmp_path / folder)
        assert line["grad_G"] > 0 and not {"grad_D", "D_x", "D_G_z"} & line.keys()
