"""One D step and one G step of the Chainer original, by the terms of losses/spade.py.

The fixtures hold the original's gradients but not the sample that they were taken at (NOTES.md, spade/train). So the
original is written down once more below, from NOTES.md, as plain functions in float64 without any of our layers; with
../shared it is itself held against the original's outputs, and the spectral norms' vectors against those after its G
step, which no sample changes.
"""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import chainer
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from losses.spade import discriminator_terms, generator_terms
from models.chainer_tables import SPADE_DISCRIMINATOR, SPADE_GENERATOR
from models.spade_discriminator import SpadeDiscriminator
from models.spade_generator import SpadeGenerator
from options.load import load
from options.spade import DEFAULT_FILE, SpadeOptions

SHARED = Path(__file__).parents[2] / "shared/fixtures/spade"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
SIZE, WIDTH = 128, 8
RUN = SimpleNamespace(autocast=lambda enabled=True: nullcontext(), place=lambda x, last_on_cpu=True: x, draw=None)


class Reference:
    """A network of the original in training mode: `state` by our names, in float64; power iterations move its u."""

    def __init__(self, state: dict[str, Tensor]):
        self.state = {
            k: v.detach().double().clone().requires_grad_(k.endswith(("weight", "bias", "gamma")))
            for k, v in state.items()
            if not k.endswith(("running_mean", "running_var", "tracked"))
        }

    def conv(self, name: str, x: Tensor, stride: int = 1, padding: int = 1, dilation: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        if f"{name}.u" in self.state:
            matrix, u = weight.flatten(1), self.state[f"{name}.u"]
            with torch.no_grad():
                v = u @ matrix / ((u @ matrix).norm() + 1e-6)
                u = matrix @ v / ((matrix @ v).norm() + 1e-6)
            self.state[f"{name}.u"] = u
            weight = weight / (u @ matrix @ v)
        return F.conv2d(x, weight, self.state.get(f"{name}.bias"), stride, padding, dilation)

    def batch_norm(self, x: Tensor, name: str | None = None) -> Tensor:
        variance, mean = torch.var_mean(x, (0, 2, 3), correction=0, keepdim=True)
        normed = (x - mean) / (variance + 2e-5).sqrt()
        if name is None:
            return normed
        scale, shift = (self.state[f"{name}.{leaf}"].view(1, -1, 1, 1) for leaf in ("weight", "bias"))
        return normed * scale + shift


def leaky(x: Tensor) -> Tensor:
    return torch.where(x >= 0, x, 0.2 * x)


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class ReferenceD(Reference):
    def __call__(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """-> logits, five maps."""
        h1 = leaky(self.conv("conv1", x, 2))
        h2 = leaky(self.batch_norm(self.conv("conv2", h1, 2), "norm2"))
        h3 = leaky(self.batch_norm(self.attention(self.conv("conv3", h2, 2)), "norm3"))
        h4 = leaky(self.batch_norm(self.conv("conv4", h3), "norm4"))
        h = self.conv("head", h4)
        for i in range(3):
            h = self.block(f"blocks.{i}", h)
        h5 = leaky(h)
        return self.conv("to_logit", h5), [h1, h2, h3, h4, h5]

    def attention(self, x: Tensor) -> Tensor:
        query, key, value = (
            self.conv(f"attention.{name}", x, padding=0).flatten(2) for name in ("query", "key", "value")
        )
        weights = torch.einsum("bci,bcj->bij", query, key).exp()
        weights = weights / weights.sum(1, keepdim=True)  # over the queries
        out = torch.einsum("bci,bij->bcj", value, weights).view(len(x), -1, *x.shape[2:])
        return x + self.state["attention.gamma"] * self.conv("attention.out", out, padding=0)

    def block(self, name: str, x: Tensor) -> Tensor:
        shortcut = self.conv(f"{name}.shortcut_conv", leaky(self.batch_norm(x, f"{name}.shortcut_norm")))
        h = self.conv(f"{name}.conv1", leaky(leaky(self.batch_norm(x, f"{name}.norm1"))))
        return self.conv(f"{name}.conv2", leaky(self.batch_norm(h, f"{name}.norm2"))) + shortcut


class ReferenceG(Reference):
    def __call__(self, label: Tensor, color: Tensor, noise: list[Tensor]) -> Tensor:
        maps = iter(noise)
        codes = [self.mapping("label_mapping", label), self.mapping("color_mapping", color)]
        h = self.conv("head", resized(label, tuple(side // 64 for side in label.shape[2:])))
        for i in range(7):
            h = self.block(f"blocks.{i}", h, codes[0], codes[1 if i >= 5 else 0], maps)
            if i < 6:
                h = resized(h, tuple(2 * side for side in h.shape[2:]))
        return torch.tanh(self.conv("to_picture", leaky(h)))

    def mapping(self, name: str, x: Tensor) -> Tensor:
        for i, dilation in enumerate((1, 1, 2, 4)):
            x = leaky(self.conv(f"{name}.convs.{i}", x, padding=dilation, dilation=dilation))
        return x

    def spade(self, name: str, x: Tensor, code: Tensor) -> Tensor:
        code = resized(code, x.shape[2:])
        gamma, beta = self.conv(f"{name}.gamma", code), self.conv(f"{name}.beta", code)
        return leaky(self.batch_norm(x) * (1 + gamma) + beta)

    def block(self, name: str, x: Tensor, code: Tensor, code1: Tensor, noise) -> Tensor:
        noisy = lambda h, adder: h + self.state[f"{name}.{adder}.gamma"] * next(noise)  # noqa: E731
        shortcut = x
        if f"{name}.shortcut_conv.weight" in self.state:
            h = self.spade(f"{name}.shortcut_norm", noisy(x, "shortcut_noise"), code)
            shortcut = self.conv(f"{name}.shortcut_conv", h, padding=0)
        h = self.conv(f"{name}.conv1", self.spade(f"{name}.norm1", noisy(x, "noise1"), code1))
        return self.conv(f"{name}.conv2", self.spade(f"{name}.norm2", noisy(h, "noise2"), code)) + shortcut


def networks(seed: int = 0) -> tuple[SpadeGenerator, SpadeDiscriminator]:
    """Small networks with every vector away from its initial value, in float64: in float32 the penalty's sum, which
    nearly cancels, and a batch norm of 2x2 values are off by up to 2 %.
    """
    torch.manual_seed(seed)
    G, D = SpadeGenerator(4, WIDTH, 16), SpadeDiscriminator(10, WIDTH)
    for network in (G, D):
        for name, p in network.named_parameters():
            if p.dim() == 1 or name.endswith("gamma"):
                p.data += 0.1 * torch.randn_like(p)
    D.attention.gamma.data.fill_(0.5)
    return G.double(), D.double()


def sample(batch: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Label, picture, colours inside the hair, float64."""
    torch.manual_seed(1)
    ids = torch.randint(0, 5, (batch, 1, SIZE // 16, SIZE // 16)).repeat_interleave(16, 2).repeat_interleave(16, 3)
    m = (ids == torch.arange(4).view(1, 4, 1, 1)).float()
    x = F.interpolate(torch.rand(batch, 3, SIZE // 4, SIZE // 4), scale_factor=4, mode="bilinear") * 2 - 1
    return m.double(), x.double(), (torch.rand(batch, 3, 1, 1) * m[:, 2:3]).double()


def d_loss_of_the_original(D: ReferenceD, real, fake: Tensor, case: tuple) -> dict[str, Tensor]:
    mode, penalty, places, gp = case
    m, x, c = real
    x = x.clone().requires_grad_()
    fake = fake.clone().requires_grad_()
    on_real, on_fake = D(torch.cat((m, x, c), 1))[0], D(torch.cat((m, fake, c), 1))[0]
    if mode == "hinge":
        terms = {"D_real": F.relu(1 - on_real).mean(), "D_fake": F.relu(1 + on_fake).mean()}
    else:
        terms = {"D_real": F.softplus(-on_real).mean(), "D_fake": F.softplus(on_fake).mean()}
    said = torch.sigmoid if mode == "bce" else torch.positive
    terms |= {"D_x": said(on_real).mean(), "D_G_z": said(on_fake).mean()}
    terms["gp"] = torch.zeros(())
    for place, logits, picture in (("real", on_real, x), ("fake", on_fake, fake)):
        if place in places:
            (slope,) = torch.autograd.grad(logits.mean((1, 2, 3)).sum(), picture, create_graph=True)
            slope = slope.flatten(1)
            value = slope.sum(1) ** 2 if penalty == "squared_sum" else (slope**2).sum(1)
            terms["gp"] = terms["gp"] + value.mean()
    (0.5 * (terms["D_real"] + terms["D_fake"] + gp * terms["gp"])).backward()
    return terms


def worst(network: torch.nn.Module, reference: Reference) -> float:
    """The largest relative L2 error of a parameter's gradient. Where the true one is 0, as of a bias before a norm,
    there is only rounding: it is measured against a millionth of the largest.
    """
    expected = {key: p.grad for key, p in reference.state.items() if p.requires_grad}
    floor = 1e-6 * max(g.norm() for g in expected.values())
    return max(
        ((p.grad - expected[key]).norm() / expected[key].norm().clamp_min(floor)).item()
        for key, p in network.named_parameters()
    )


def close_terms(terms: dict[str, Tensor], expected: dict[str, Tensor]):
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value.item(), rel=1e-5), name


def close_u(network: torch.nn.Module, reference: Reference):
    """The same number of power iterations: in train mode every forward makes one."""
    for key, u in network.state_dict().items():
        if key.endswith(".u"):
            torch.testing.assert_close(u, reference.state[key])


D_CASES = {  # mode, penalty, where, its weight: the cases of gradcheck.npz, and R1
    "D_real": ("hinge", "squared_sum", "real", 10),
    "D_real_gp1e6": ("hinge", "squared_sum", "real", 1e6),
    "D_realfake_bce_gp1e6": ("bce", "squared_sum", "real_fake", 1e6),
    "r1": ("hinge", "r1", "real_fake", 1e3),
}


@pytest.mark.parametrize("case", D_CASES.values(), ids=D_CASES)
def test_a_d_step_of_the_original(case):
    mode, penalty, places, gp = case
    G, D = networks()
    real = sample(batch=2 if penalty == "r1" else 1)  # with the original's own penalty it crashes at 2
    with torch.no_grad():
        fake = G(real[0], real[2])
    reference = ReferenceD(D.state_dict())
    where = f"loss.penalty_on={places.replace('_', ',')}"
    loss = load(SpadeOptions, [f"loss.gan={mode}", f"loss.penalty={penalty}", where], DEFAULT_FILE)
    terms = discriminator_terms(RUN, D, (*real, None), fake, loss.loss, True)
    (0.5 * (terms["D_real"] + terms["D_fake"] + gp * terms["gp"])).backward()
    close_terms(terms, d_loss_of_the_original(reference, real, fake, case))
    assert worst(D, reference) < 1e-5
    close_u(D, reference)


@pytest.mark.parametrize("fm", [2.0, 0.0])
def test_a_g_step_of_the_original(fm):
    G, D = networks()
    m, x, c = real = sample()
    noise = [torch.randn(1, 1, *shape, dtype=torch.float64) for shape in G.noise_shapes(SIZE, SIZE)]
    reference_g, reference_d = ReferenceG(G.state_dict()), ReferenceD(D.state_dict())
    loss = load(SpadeOptions, [f"loss.feature_matching={fm}"], DEFAULT_FILE).loss
    fake = G(m, c, noise=noise)
    terms = generator_terms(RUN, D, (*real, None), fake, loss)
    sum(getattr(loss, name) * term for name, term in terms.items()).backward(inputs=list(G.parameters()))

    fake = reference_g(m, c, noise)
    if fm:
        real_maps = reference_d(torch.cat((m, x, c), 1))[1]
    logits, fake_maps = reference_d(torch.cat((m, fake, c), 1))
    expected = {"adv": -logits.mean()}
    if fm:
        pairs = zip(real_maps, fake_maps, strict=True)
        expected["feature_matching"] = sum((f - r.detach()).abs().mean() for r, f in pairs)
    (expected["adv"] + fm * expected.get("feature_matching", 0)).backward()
    close_terms(terms, expected)
    assert worst(G, reference_g) < 1e-5
    close_u(G, reference_g)
    close_u(D, reference_d)


def arrays(name: str) -> dict[str, np.ndarray]:
    return dict(np.load(SHARED / name))


def inputs(io: dict[str, np.ndarray]) -> tuple[Tensor, Tensor]:
    """One-hot label without background, colours inside the hair, float64."""
    ids = torch.from_numpy(io["label_index_u8"]).unsqueeze(1)
    m = (ids == torch.arange(4).view(1, 4, 1, 1)).double()
    return m, torch.from_numpy(io["colour_u8"]).permute(0, 3, 1, 2) / 255.0 * m[:, 2:3]


@pytest.mark.shared
@needs_shared
def test_the_reference_is_the_original():
    io = arrays("d_sn/io.npz")
    m, c = inputs(io)
    x = torch.from_numpy(io["image_u8"]).permute(0, 3, 1, 2) / 255.0 * 2 - 1
    D = ReferenceD(chainer.state_dict(arrays("d_sn/dis.npz"), SPADE_DISCRIMINATOR))
    logits, maps = D(torch.cat((m, x, c), 1))
    torch.testing.assert_close(logits.float().detach(), torch.from_numpy(io["out_train"]), rtol=0, atol=2e-4)
    for i, (map_, stride) in enumerate(zip(maps, io["fm_strides"], strict=True)):
        expected = torch.from_numpy(io[f"fm{i}_train"])
        torch.testing.assert_close(map_[:, :, ::stride, ::stride].float().detach(), expected, rtol=0, atol=2e-4)

    io = arrays("g_sn/io.npz")
    m, c = inputs(io)
    G = ReferenceG(chainer.state_dict(arrays("g_sn/gen.npz"), SPADE_GENERATOR))
    picture = G(m, c, [torch.zeros(1)] * 18)[:, :, :: io["out_train_stride"], :: io["out_train_stride"]]
    torch.testing.assert_close(picture.float().detach(), torch.from_numpy(io["out_train"]), rtol=0, atol=3e-4)


@pytest.mark.shared
@needs_shared
def test_the_spectral_norms_after_the_originals_g_step():
    """One forward of G, one of D on the real and one on the fake: u after them depends on the weights alone."""
    G, D = SpadeGenerator(4, 8, 16), SpadeDiscriminator(10, 8)
    chainer.load(G, arrays("train/gen_before.npz"), SPADE_GENERATOR)
    chainer.load(D, arrays("train/dis_before.npz"), SPADE_DISCRIMINATOR)
    m, x, c = real = tuple(part.float() for part in sample())
    loss = load(SpadeOptions, ["loss.feature_matching=2"], DEFAULT_FILE).loss
    generator_terms(RUN, D, (*real, None), G(m, c), loss)
    after = arrays("train/gradcheck.npz")
    for network, part, table in ((G, "gen", SPADE_GENERATOR), (D, "dis", SPADE_DISCRIMINATOR)):
        prefix = f"after_G_nofm/{part}/"
        moved = {k.removeprefix(prefix): v for k, v in after.items() if k.startswith(prefix) and k.endswith("W_u")}
        state = network.state_dict()
        assert moved
        for key, u in chainer.state_dict(moved, table).items():
            torch.testing.assert_close(state[key], u, rtol=0, atol=1e-5)
