"""SPADE's losses against the Chainer original (NOTES.md, losses/spade_losses.npz) and independent references."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as torchs_kl

from losses import gan
from losses.diversity import diversity
from losses.feature_matching import feature_matching
from losses.kl import kl_divergence
from losses.mode_seeking import mode_seeking
from losses.penalty import gradient_penalty, r1, squared_sum

ARRAYS = dict(np.load(Path(__file__).parent / "fixtures/spade_losses.npz"))
CHAINER_MODE = {"bce": "bce", "lsgan": "mse", "hinge": "hinge", "wgan": "wgan"}


def tensor(name: str) -> torch.Tensor:
    return torch.from_numpy(ARRAYS[name].copy())


def leaf(name: str) -> torch.Tensor:
    return tensor(name).requires_grad_()


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(
        actual.detach(), torch.as_tensor(expected, dtype=actual.dtype), rtol=tolerance, atol=1e-6
    )


class Toy(nn.Module):
    """The reference run's discriminator: conv k4 s2 p1, tanh, leaky relu, conv k3 p1."""

    def __init__(self):
        super().__init__()
        for name in ("W1", "b1", "W2", "b2"):
            self.register_parameter(name, nn.Parameter(tensor(f"toy_{name}")))

    def forward(self, x):
        h = F.leaky_relu(torch.tanh(F.conv2d(x, self.W1, self.b1, 2, 1)), 0.2)
        return F.conv2d(h, self.W2, self.b2, 1, 1)


def close_gradients(D: Toy, stored: str):
    for name, p in D.named_parameters():
        grad = torch.zeros_like(p) if p.grad is None else p.grad
        expected = tensor(f"{stored}grad_{name}")
        assert (grad - expected).norm() <= 1e-5 * expected.norm() + 1e-6, name


def test_squared_sum_is_the_originals_compute_grad():
    D, x = Toy(), leaf("cg_x")
    penalty = squared_sum([D(x)], x)
    close(penalty, ARRAYS["cg_value"].mean())
    (len(x) * penalty).backward()  # the original leaves one value per sample, the fixture differentiates their sum
    close_gradients(D, "cg_")
    single = [squared_sum([D(sample)], sample).item() for sample in x.detach()[:, None].requires_grad_()]
    assert single == pytest.approx(ARRAYS["cg_value"].tolist(), rel=1e-5)


def test_r1_is_not():
    D, x = Toy(), leaf("cg_x")
    close(r1([D(x)], x), ARRAYS["cg_r1_would_be"].mean())


@pytest.mark.parametrize("place", ["real", "fake", "real_fake", "none"])
@pytest.mark.parametrize("mode", CHAINER_MODE)
def test_discriminator_loss_of_the_original(mode, place):
    stored = f"dis_loss/{CHAINER_MODE[mode]}/{place}/"
    D, real, fake = Toy(), leaf("real_g"), leaf("fake_g")
    on_real, on_fake = D(real), D(fake)
    loss_real, loss_fake = gan.real_loss(mode, on_real), gan.fake_loss(mode, on_fake)
    gp = torch.zeros(())
    if place in ("real", "real_fake"):
        gp = gp + squared_sum([on_real], real)
    if place in ("fake", "real_fake"):
        gp = gp + squared_sum([on_fake], fake)
    factor = 1.0 if mode == "wgan" else 0.5  # the original's wgan is the whole difference
    close(factor * (loss_real + loss_fake), ARRAYS[stored + "adv_loss"])
    if mode != "wgan":  # there it reports zeros
        close(loss_real, ARRAYS[stored + "real_loss"])
        close(loss_fake, ARRAYS[stored + "fake_loss"])
    close(factor * 10 * gp, ARRAYS[stored + "gp"])
    loss = factor * (loss_real + loss_fake + 10 * gp)
    close(loss, ARRAYS[stored + "loss"])
    loss.backward(inputs=list(D.parameters()))
    close_gradients(D, stored)


@pytest.mark.parametrize("fm", [10, 0])
@pytest.mark.parametrize("mode", CHAINER_MODE)
def test_generator_loss_of_the_original(mode, fm):
    stored = f"gen_loss/{CHAINER_MODE[mode]}/fm{fm}/"
    logits, real = leaf("gl_fake_d"), [tensor(f"gl_real_fm{i}") for i in range(5)]
    fake = [leaf(f"gl_fake_fm{i}") for i in range(5)]
    adv, matching = gan.generator_loss(mode, logits), fm / 5 * feature_matching([real], [fake])
    close(adv, ARRAYS[stored + "adv_loss"])
    close(matching, ARRAYS[stored + "fm_loss"])
    loss = adv + matching
    close(loss, ARRAYS[stored + "loss"])
    loss.backward()
    close(logits.grad, ARRAYS[stored + "grad_fake_d"])
    if fm:
        for i, map_ in enumerate(fake):
            close(map_.grad, ARRAYS[f"{stored}grad_fm{i}"])


def curved(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 1, 3)).double()


@pytest.mark.parametrize("penalty", [r1, squared_sum])
def test_penalties_against_gradients_taken_one_by_one(penalty):
    networks = [curved(1), curved(2)]
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    expected = 0.0
    for D in networks:
        for sample in x.detach():
            sample = sample[None].requires_grad_()
            (g,) = torch.autograd.grad(D(sample).mean(), sample)
            expected += (g.square().sum() if penalty is r1 else g.sum().square()).item() / len(x)
    assert penalty([D(x) for D in networks], x).item() == pytest.approx(expected, rel=1e-5)


def test_r1_is_the_gradient_penalty_with_target_zero():
    D, x = curved(3).float(), torch.randn(3, 2, 8, 8, requires_grad=True)
    close(r1([D(x)], x), gradient_penalty([D(x)], x, 0.0).item())


@pytest.mark.parametrize("penalty", [r1, squared_sum])
def test_penalties_slopes_by_differences(penalty):
    D, x = curved(4), torch.randn(2, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    penalty([D(x)], x).backward(inputs=list(D.parameters()))
    weight, step = D[0].weight, 1e-2
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[1, 0, 2, 1] += sign * step
        values.append(penalty([D(x)], x).item())
        with torch.no_grad():
            weight[1, 0, 2, 1] -= sign * step
    slope = (values[0] - values[1]) / (2 * step)
    assert weight.grad[1, 0, 2, 1].item() == pytest.approx(slope, rel=2e-2, abs=1e-6)


def test_diversity_is_the_originals_inside_the_mask():
    """The original divides by all the picture's pixels, we by the mask's."""
    y1, y2, label = tensor("div_g_x"), tensor("div_sample_y"), tensor("div_label")
    mask = label[:, 3]
    loss = diversity(y1, y2, [tensor("div_z")], [tensor("div_sample_z")], mask, 1e-5)
    ratio = (1 / loss - 1e-5) * mask.mean()
    close(ratio, ARRAYS["div_ratio"])
    close(1 / (ratio + 1e-5), ARRAYS["div_loss"])


def test_diversity_over_everything_is_mode_seeking():
    y1, y2, z1, z2 = torch.rand(2, 3, 4, 4), torch.rand(2, 3, 4, 4), torch.randn(2, 8), torch.randn(2, 8)
    close(diversity(y1, y2, [z1], [z2], torch.ones(2, 4, 4), 1e-5), mode_seeking(y1, y2, z1, z2))
    parts = [z.view(2, 2, 4).split((1, 3), 2) for z in (z1, z2)]  # of unequal size: all values count alike
    close(diversity(y1, y2, *parts, torch.ones(2, 4, 4), 1e-5), mode_seeking(y1, y2, z1, z2))


def test_diversity_sees_the_mask_alone():
    y1 = torch.zeros(2, 3, 4, 4, requires_grad=True)
    mask = torch.zeros(2, 4, 4)
    mask[0, 1:3, 1:3] = 1  # the second sample lacks the class
    y2 = torch.where(mask[:, None] > 0, 0.5, 100.0).expand_as(y1)
    loss = diversity(y1, y2, [torch.zeros(2, 1, 2, 2)], [torch.full((2, 1, 2, 2), 2.0)], mask, 1e-5)
    assert loss.item() == pytest.approx(1 / (0.5 / 2 + 1e-5), rel=1e-6)
    loss.backward()
    assert ((y1.grad != 0) == (mask[:, None] != 0)).all()


def test_diversity_without_the_class_or_a_difference():
    y, z = torch.rand(1, 3, 4, 4, requires_grad=True), [torch.zeros(1, 1, 4, 4)]
    other = [torch.ones(1, 1, 4, 4)]
    nothing = diversity(y, y.detach() + 1, z, other, torch.zeros(1, 4, 4), 1e-5)
    same = diversity(y, y.detach(), z, other, torch.ones(1, 4, 4), 1e-5)
    (nothing + same).backward()
    assert nothing == 0 and same.item() == pytest.approx(1e5, rel=1e-5), "equal pictures: bounded by eps"
    assert not y.grad.any()


def test_kl_is_torchs():
    torch.manual_seed(0)
    mean, log_variance = torch.randn(4, 6), torch.randn(4, 6)
    expected = torchs_kl(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0)).sum(1).mean()
    close(kl_divergence(mean, log_variance), expected.item())
    assert kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3)) == 0
    assert kl_divergence(mean.bfloat16(), log_variance.bfloat16()).dtype == torch.float32


def test_losses_compile_without_a_graph_break():
    y, z = torch.rand(2, 3, 4, 4), [torch.rand(2, 3)]
    args = (y, torch.rand(2, 3, 4, 4), z, [torch.rand(2, 3)], torch.ones(2, 4, 4))
    for loss, inputs in ((diversity, args), (kl_divergence, (torch.rand(2, 3), torch.rand(2, 3)))):
        close(torch.compile(loss, fullgraph=True, backend="eager")(*inputs), loss(*inputs))
