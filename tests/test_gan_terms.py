"""Adversarial terms, WGAN-GP, feature matching and mode seeking against independent references."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from losses import gan
from losses.feature_matching import feature_matching
from losses.mode_seeking import mode_seeking
from losses.penalty import gradient_penalty, interpolate


def test_wgan_is_the_difference_of_means():
    real, fake = torch.randn(4, 1, 3, 3), torch.randn(4, 1, 3, 3)
    assert gan.real_loss("wgan", real) == -real.mean()
    assert gan.fake_loss("wgan", fake) == fake.mean()
    assert gan.generator_loss("wgan", fake) == -fake.mean()


def test_smoothing_lowers_the_target_of_real_samples():
    logits = torch.randn(64, dtype=torch.float64) * 3
    for target in (1.0, 0.9, 0.5):
        bce = F.binary_cross_entropy(logits.sigmoid(), torch.full_like(logits, target))
        assert gan.real_loss("bce", logits, 1 - target).item() == pytest.approx(bce.item(), rel=1e-5)
        squares = (logits - target).square().mean()
        assert gan.real_loss("lsgan", logits, 1 - target).item() == pytest.approx(squares.item(), rel=1e-5)
    best = math.log(0.9 / 0.1)  # the logit of the target: no slope there
    logit = torch.tensor([best], requires_grad=True)
    gan.real_loss("bce", logit, 0.1).backward()
    assert abs(logit.grad.item()) < 1e-6
    for mode in ("hinge", "wgan"):
        with pytest.raises(AssertionError, match=mode):
            gan.real_loss(mode, torch.zeros(2), 0.1)


def test_ds_loss_is_the_sum_of_its_terms_or_the_relativistic_one():
    real, fake = torch.randn(8), torch.randn(8)
    for mode in gan.MODES:
        assert gan.discriminator_loss(mode, real, fake) == gan.real_loss(mode, real) + gan.fake_loss(mode, fake)
    smooth = gan.real_loss("bce", real, 0.2) + gan.fake_loss("bce", fake)
    assert gan.discriminator_loss("bce", real, fake, 0.2) == smooth != gan.discriminator_loss("bce", real, fake)
    assert gan.discriminator_loss("relativistic", real, fake) == gan.relativistic_loss(real, fake)


def test_relativistic_loss_compares_pairs():
    better, worse = torch.randn(8, dtype=torch.float64), torch.randn(8, dtype=torch.float64)
    expected = sum(-math.log(1 / (1 + math.exp(w - b))) for b, w in zip(better.tolist(), worse.tolist(), strict=True))
    assert gan.relativistic_loss(better, worse).item() == pytest.approx(expected / 8, rel=1e-6)
    assert gan.relativistic_loss(better + 5, worse + 5).item() == pytest.approx(expected / 8, rel=1e-5)
    far = torch.tensor([1e4])
    assert gan.relativistic_loss(far, -far) == 0 and gan.relativistic_loss(-far, far).item() == pytest.approx(2e4)
    with pytest.raises(AssertionError, match="8"):
        gan.relativistic_loss(better, worse[:1])


def test_relativistic_loss_of_equals_pulls_them_apart():
    better, worse = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    loss = gan.relativistic_loss(better, worse)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2))
    assert better.grad.tolist() == [-0.25, -0.25] and worse.grad.tolist() == [0.25, 0.25]


def test_penalty_of_a_linear_critic_is_known():
    """D(x) = mean over the map of w . x: the gradient is w / pixels everywhere, its norm |w| / sqrt(pixels)."""
    w, pixels = torch.tensor([3.0, 4.0]), 16
    x = torch.randn(5, 2, 4, 4, requires_grad=True)
    norm = 5 / math.sqrt(pixels)
    for target in (0.0, 1.0, 2.0):
        logits = (x * w[:, None, None]).sum(1, keepdim=True)
        assert gradient_penalty([logits], x, target).item() == pytest.approx((norm - target) ** 2, rel=1e-5)
    logits = (x * w[:, None, None]).sum(1, keepdim=True)
    assert gradient_penalty([logits, 2 * logits], x).item() == pytest.approx(
        (norm - 1) ** 2 + (2 * norm - 1) ** 2, rel=1e-5
    )


def test_penalty_against_gradients_taken_one_by_one():
    torch.manual_seed(0)
    D = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Tanh(), nn.Conv2d(3, 1, 3)).double()
    x = torch.randn(4, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    expected = 0
    for sample in x.detach():
        sample = sample[None].requires_grad_()
        (g,) = torch.autograd.grad(D(sample).mean(), sample)
        expected += (g.norm() - 1) ** 2 / len(x)
    assert gradient_penalty([D(x)], x).item() == pytest.approx(expected.item(), rel=1e-5)  # logits are taken in float32


def test_penalty_gradients_by_differences():
    torch.manual_seed(0)
    D = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Conv2d(2, 1, 3))
    x = torch.randn(2, 1, 8, 8, requires_grad=True)
    gradient_penalty([D(x)], x).backward()
    weight, step = D[0].weight, 1e-2
    for place in ((0, 0, 1, 1), (1, 0, 0, 2)):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                weight[place] += sign * step
            values.append(gradient_penalty([D(x)], x).item())
            with torch.no_grad():
                weight[place] -= sign * step
        assert weight.grad[place].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=2e-2, abs=1e-5)


def test_penalty_at_a_flat_critic_is_finite():
    x = torch.randn(2, 1, 4, 4, requires_grad=True)
    weight = torch.zeros((), requires_grad=True)
    penalty = gradient_penalty([weight * x], x)
    penalty.backward()
    assert penalty.item() == pytest.approx(1, abs=1e-5) and torch.isfinite(weight.grad)


def test_interpolates_lie_between_with_one_share_per_sample():
    torch.manual_seed(0)
    real, fake = torch.randn(100, 3, 5, 5), torch.randn(100, 3, 5, 5)
    x = interpolate(real, fake)
    share = ((x - fake) / (real - fake)).flatten(1)
    assert x.requires_grad and share.std(1).max() < 1e-2
    share = share.mean(1)
    assert share.min() > 0 and share.max() < 1 and share.min() < 0.1 and share.max() > 0.9
    assert share.std().item() == pytest.approx(12**-0.5, abs=0.05), "uniform"


@pytest.mark.parametrize("mode", [*gan.MODES, "relativistic"])
def test_mean_outputs_are_probabilities_of_bce_only_and_scales_count_alike(mode):
    real, fake = ([torch.randn(2, 1, n, n, requires_grad=True) for n in (2, 5)] for _ in "xz")
    said = {"D_x": [], "D_G_z": []}
    for name, scales in (("D_x", real), ("D_G_z", fake)):
        for logits in scales:
            values = logits.flatten().tolist()
            said[name].append(sum(1 / (1 + math.exp(-v)) if mode == "bce" else v for v in values) / len(values))
    found = gan.mean_outputs(mode, real, fake)
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {name: sum(means) / 2 for name, means in said.items()}, rel=1e-5
    )
    assert not any(value.requires_grad for value in found.values())


def test_feature_matching_sums_the_layers_means():
    real = [[torch.randn(2, 3, 4, 4), torch.randn(2, 5, 2, 2)], [torch.randn(2, 1, 1, 1)]]
    fake = [[m + d for m, d in zip(maps, (0.5, -2.0), strict=False)] for maps in real]
    assert feature_matching(real, fake).item() == pytest.approx(0.5 + 2.0 + 0.5, rel=1e-6)
    leaf = torch.randn(1, 1, 2, 2, requires_grad=True)
    feature_matching([[leaf]], [[leaf * 2]]).backward()
    torch.testing.assert_close(leaf.grad, leaf.sign() * 2 / 4)  # nothing flows through the real maps


def test_mode_seeking_is_msgans_ratio():
    y1, y2 = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.5)
    z1, z2 = torch.zeros(2, 8), torch.full((2, 8), 2.0)
    assert mode_seeking(y1, y2, z1, z2).item() == pytest.approx(1 / (0.5 / 2 + 1e-5), rel=1e-6)
    assert mode_seeking(y1, y1, z1, z2).item() == pytest.approx(1e5, rel=1e-5), "equal pictures: bounded by eps"
