"""What surrounds the mathematics of train_spade.py: precision, averages, compilation, what is logged, validation."""

import copy
from dataclasses import replace
from functools import partial

import pytest
import torch
from runs import log
from torch import nn

import train_spade
from data.files import find_pairs
from data.loader import InOrder
from data.palette import ANIME
from data.spade import SpadePictures
from data.spade_io import paint
from engine.evaluation.measure_pairs import painted
from engine.evaluation.validation import PairValidation
from engine.run import Run
from losses.penalty import r1
from models import build
from models.layers import predicting
from models.spade_generator import SpadeGenerator
from train_spade import train


def test_bf16_is_used_wherever_no_penalty_is_due(tiny_spade, monkeypatch):
    """In a step with the lazy penalty, at the real pictures, and in one without."""
    computed = []
    for name, layer in (("generator", "to_picture"), ("discriminator", "conv1")):
        make = getattr(build, f"spade_{name}")

        def made(opt, name=name, layer=layer, make=make):
            network = make(opt)
            hook = lambda _, inputs, y: computed.append((name[0], y.dtype))  # noqa: E731
            getattr(network, layer).register_forward_hook(hook)
            return network

        monkeypatch.setattr(build, f"spade_{name}", made)
    train(tiny_spade("run", "run.precision=bf16", "optim.d_steps=1", "loss.penalty_every=2", "run.steps=2"))
    half, full = torch.bfloat16, torch.float32
    g_step = [("g", half), ("d", half), ("d", half)]
    assert computed[:6] == [("g", half), ("d", full), ("d", half), *g_step], "penalty, at the real pictures"
    assert computed[6:] == [("g", half), ("d", half), ("d", half), *g_step]


@pytest.mark.parametrize(("mode", "passes"), [("sum", 1), ("pass", 2)])
def test_gradients_are_averaged_once_before_every_optimiser_step(tiny_spade, drawn_spade, monkeypatch, mode, passes):
    events, names, adam = [], iter("GD"), train_spade.adam

    def watched(*args):
        optimiser, name = adam(*args), next(names)
        optimiser.register_step_pre_hook(lambda *_: events.append(f"{name} moves"))
        return optimiser

    monkeypatch.setattr(train_spade, "adam", watched)
    name_of = lambda network: "G" if isinstance(network, SpadeGenerator) else "D"  # noqa: E731
    monkeypatch.setattr(Run, "average", lambda _, network: events.append(f"{name_of(network)} averages"))
    words = [f"data.rough={drawn_spade / 'val'}", f"rough.mode={mode}", "optim.d_steps=2", "run.steps=2"]
    train(tiny_spade("run", *words))
    assert events == (["D averages", "D moves"] * 2 + ["G averages", "G moves"]) * passes * 2


@pytest.mark.parametrize("on", [True, False])
def test_g_is_compiled_if_asked_and_d_never(tiny_spade, monkeypatch, on):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda network: compiled.append(type(network)))
    train(tiny_spade("run", "run.steps=1", f"run.compile={str(on).lower()}"))
    assert compiled == [SpadeGenerator] * on


def test_the_penalty_is_logged_when_it_was_taken(tiny_spade, tmp_path):
    words = ["optim.d_steps=1", "loss.penalty_every=2"]
    train(tiny_spade("run", *words))
    assert ["gp" in line for line in log(tmp_path / "run")] == [True, False, True, False]
    assert all({"D_real", "D_fake", "adv", "feature_matching"} <= line.keys() for line in log(tmp_path / "run"))


@pytest.mark.parametrize(("stats", "size"), [("running", 2), ("batch", 1)])
def test_validation_takes_batches_where_pictures_do_not_see_each_other(tiny_spade, monkeypatch, stats, size):
    seen = []
    monkeypatch.setattr("train_spade.painted", lambda *given: seen.append(len(given[1])) or painted(*given))
    train(tiny_spade("run", "run.steps=1", "run.eval_every=1", f"sample.norm_stats={stats}"))
    assert seen == [2 // size]


@pytest.mark.parametrize(("stats", "sizes"), [("running", [3, 2]), ("batch", [1] * 5)])
@torch.no_grad()
def test_validation_is_the_mean_over_pictures(tiny_spade, drawn_spade, stats, sizes):
    torch.manual_seed(0)
    opt = tiny_spade("run", "data.batch=3", f"sample.norm_stats={stats}")
    pictures = SpadePictures(find_pairs(drawn_spade / "train", "images", "labels", "colors"), ANIME, opt.data, False)
    G, seen = build.spade_generator(opt), []
    for key, p in G.named_parameters():
        if "noise" in key:  # as if it were trained: chance, by name, is to be seen
            p.fill_(0.3)
    G.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    with predicting(G, stats):
        batches = InOrder(pictures, sizes[0])
        found = PairValidation(opt, 5, torch.device("cpu"))(painted(G, batches, opt, "fp32"), len(batches))
        assert seen == sizes
        show = partial(paint, G, opt=opt)
        alone = [(show(ids[None], color[None], names=[name])[0], x) for name, x, ids, color in pictures.first(5)]
    expected = sum((fake - (x.float() / 127.5 - 1)).abs().mean().item() for fake, x in alone) / 5
    assert found == {"val_l1": pytest.approx(expected, rel=1e-5)}


def penalty_gradient(opt, D, pictures, precision: str) -> torch.Tensor:
    """The gradient of R1 at D's weights, of a run of this precision (None: float64), flat."""
    m, x, c = pictures
    x = x.clone().requires_grad_()
    penalty = r1([D(torch.cat((m, x, c), 1))[0][-1]], x)
    run = Run(replace(opt.run, precision=precision))
    with run.autocast_backward(x.dtype == torch.float32):
        grads = torch.autograd.grad(penalty, [p for p in D.parameters() if p.dim() == 4])
    assert all(grad.dtype == x.dtype for grad in grads)
    return torch.cat([grad.double().flatten() for grad in grads])


def test_the_penaltys_backward_is_bf16_and_near_the_true_gradient(tiny_spade):
    opt = tiny_spade("run", "model.norm=instance")
    torch.manual_seed(0)
    D = build.spade_discriminator(opt).eval()
    pictures = [torch.rand(2, channels, 64, 64) for channels in (4, 3, 3)]
    true = penalty_gradient(opt, copy.deepcopy(D).double(), [p.double() for p in pictures], "fp32")
    full, low = (penalty_gradient(opt, D, pictures, precision) for precision in ("fp32", "bf16"))
    assert (full - true).norm() < 1e-4 * true.norm()
    assert 1e-4 * true.norm() < (low - true).norm() < 0.02 * true.norm(), "as bf16 has it, and no worse"
