"""The SPADE networks under every option: sizes, norms, style, precision, modes, second derivatives, compilation."""

import copy

import pytest
import torch
from spade_inputs import random_conditions

from models import build
from models.layers import SNConv2d, batch_statistics
from models.patch import MultiscaleDiscriminator, PatchDiscriminator
from models.spade_discriminator import SpadeDiscriminator
from models.spade_encoder import StyleEncoder
from models.spade_generator import SpadeGenerator
from models.spade_paper import PaperGenerator
from options.load import load
from options.spade import DEFAULT_FILE, SpadeOptions

SMALL = {
    "mapping": lambda **options: SpadeGenerator(4, 8, 16, **options),
    "paper": lambda **options: PaperGenerator(4, 4, 8, **options),
}


@pytest.mark.parametrize("conv_norm", ["none", "spectral"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("upsample", ["bilinear", "nearest", "subpixel", "deconv"])
@pytest.mark.parametrize("name", SMALL)
def test_generators_train(name, upsample, norm, conv_norm):
    """Batch 1 at 64x64, where the first map is 1x1; at 128x64 and with a larger batch in the next tests."""
    net = SMALL[name](upsample=upsample, norm=norm, conv_norm=conv_norm)
    y = net(*random_conditions(1, 64, 64))
    assert y.shape == (1, 3, 64, 64) and y.abs().max() <= 1
    y.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    keys = net.state_dict()
    assert any(k.endswith(".u") for k in keys) == (conv_norm == "spectral")
    assert any(k.endswith("running_mean") for k in keys) == (norm == "batch")


@pytest.mark.parametrize("name", SMALL)
def test_without_colour(name):
    net, (label, _) = SMALL[name](color=False), random_conditions(2, 128, 64)
    net(label).mean().backward()
    assert net(label).shape == (2, 3, 128, 64) and all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("size", [(64, 64), (256, 256), (64, 128)])
@pytest.mark.parametrize("name", SMALL)
def test_style(name, size):
    net, (label, color) = SMALL[name](style=5).eval(), random_conditions(2, *size)
    style = torch.randn(2, 5, requires_grad=True)
    y = net(label, color, style=style)
    y.square().sum().backward()
    assert y.shape == (2, 3, *size) and (style.grad != 0).all()


@pytest.mark.parametrize("conv_norm", ["none", "spectral"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("size", [(64, 64), (64, 192)])
def test_style_encoder(size, norm, conv_norm):
    net = StyleEncoder(4, 6, size, conv_norm, norm)
    mean, log_variance = net(torch.rand(2, 3, 96, 80))  # of another size
    assert mean.shape == log_variance.shape == (2, 6)
    assert not torch.allclose(mean[0], mean[1])
    (mean.sum() + log_variance.sum()).backward()
    assert all(p.grad is not None for p in net.parameters())


DISCRIMINATORS = {
    "spade": lambda **options: SpadeDiscriminator(10, 4, **options),
    "patch": lambda **options: PatchDiscriminator(10, 4, **options),
    "multiscale": lambda **options: MultiscaleDiscriminator(10, 4, **options),
}


@pytest.mark.parametrize("conv_norm", ["none", "spectral"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_discriminators_train(name, norm, conv_norm):
    net = DISCRIMINATORS[name](norm=norm, conv_norm=conv_norm)
    outputs = net(torch.randn(2, 10, 64, 128))
    assert len(outputs) == (2 if name == "multiscale" else 1)
    sum(map_.square().mean() for maps in outputs for map_ in maps).backward()
    assert all(p.grad is not None for p in net.parameters())
    convs = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert all(("u" in dict(m.named_buffers())) == (conv_norm == "spectral") for m in convs)


# ---- from options to networks


def options(*words: str) -> SpadeOptions:
    return load(
        SpadeOptions, ["data.size=64", "model.width=4", "model.d_width=8", "model.hidden=6", *words], DEFAULT_FILE
    )


def norms(network: torch.nn.Module) -> set:
    """(kind, eps) of its norms."""
    modules = torch.nn.modules
    kinds = {"batch": modules.batchnorm._BatchNorm, "instance": modules.instancenorm._InstanceNorm}
    return {(name, m.eps) for m in network.modules() for name, kind in kinds.items() if isinstance(m, kind)}


@pytest.mark.parametrize("discriminator", ["attention", "multiscale"])
@pytest.mark.parametrize(("norm", "d_norm"), [("batch", "instance"), ("instance", "batch"), ("none", "none")])
def test_g_and_d_have_norms_of_their_own_with_one_epsilon(discriminator, norm, d_norm):
    words = [f"model.norm={norm}", f"model.d_norm={d_norm}", "model.norm_eps=0.003", "model.style=5"]
    opt = options(f"model.discriminator={discriminator}", *words)
    G = build.spade_generator(opt)
    encoder, G.encoder = G.encoder, None
    expected = [set() if kind == "none" else {(kind, 0.003)} for kind in (norm, d_norm, "instance")]
    assert [norms(network) for network in (G, build.spade_discriminator(opt), encoder)] == expected


def test_the_multiscale_discriminators_are_equally_wide_and_start_as_the_authors():
    torch.manual_seed(0)
    D = build.spade_discriminator(options("model.discriminator=multiscale", "model.d_width=16"))
    widths = [[conv.out_channels for conv in scale.convs] for scale in D.scales]
    assert widths == [[16, 32, 64, 128]] * 2
    for conv in (m for m in D.modules() if isinstance(m, SNConv2d)):
        outputs, inputs = conv.weight.shape[:2]
        if inputs * outputs > 500:  # Glorot's variance 2 / (fan in + fan out), times 0.02^2
            assert conv.weight.std().item() == pytest.approx(0.02 * (2 / (16 * (inputs + outputs))) ** 0.5, rel=0.05)
        assert conv.bias is None or not conv.bias.any()


def test_the_width_inside_the_papers_spade_layers_is_an_option_of_its_own():
    G = build.spade_generator(options("model.generator=paper", "model.code_width=16"))
    assert G.blocks[0].norm1.hidden.out_channels == 6
    assert build.spade_generator(options("model.code_width=16")).label_mapping.convs[-1].out_channels == 16


def test_the_papers_set_up():
    opt = load(SpadeOptions, [str(DEFAULT_FILE.parent / "spade_paper.yaml")], DEFAULT_FILE)
    assert opt.model.hidden == 128 and opt.data.label_channels == 5 and not opt.data.color
    small = [str(DEFAULT_FILE.parent / "spade_paper.yaml"), "model.width=4", "model.d_width=8", "model.hidden=6"]
    opt = load(SpadeOptions, small, DEFAULT_FILE)
    G, D = build.spade_generator(opt), build.spade_discriminator(opt)
    assert isinstance(G, PaperGenerator) and G.encoder is None and norms(G) == {("batch", 1e-5)}
    assert isinstance(D, MultiscaleDiscriminator) and norms(D) == {("instance", 1e-5)} and len(D.scales) == 2


def test_maps_of_the_discriminator():
    maps = SpadeDiscriminator(10, 4)(torch.randn(1, 10, 256, 256))[0]
    shapes = [tuple(map_.shape[1:]) for map_ in maps]
    assert shapes == [(4, 128, 128), (8, 64, 64), (16, 32, 32), (32, 31, 31), (4, 30, 30), (1, 30, 30)]


# ---- precision, modes, derivatives


@torch.no_grad()
@pytest.mark.parametrize("name", [*SMALL, "spade", "encoder"])
def test_bf16_stays_close(name):
    torch.manual_seed(1)
    label, color = random_conditions()
    picture = torch.randn(2, 3, 64, 128)
    net, inputs = {
        "spade": (DISCRIMINATORS["spade"](), (torch.cat((label, picture, color), 1),)),
        "encoder": (StyleEncoder(4, 6, (64, 128)), (picture,)),
    }.get(name) or (SMALL[name](), (label, color))
    maps = lambda outputs: outputs[0] if isinstance(outputs, list) else outputs  # noqa: E731
    expected = maps(net.eval()(*inputs))
    dtypes = set()
    for module in net.modules():  # no float32 parameter, statistic or noise brings it back
        module.register_forward_hook(lambda module, args, y: dtypes.add(getattr(y, "dtype", torch.bfloat16)))
    with torch.autocast("cpu", torch.bfloat16):
        actual = maps(net(*inputs))
    assert dtypes == {torch.bfloat16}
    for a, b in zip(actual, expected, strict=True):
        assert a.dtype == torch.bfloat16
        assert (a - b).abs().mean() < 0.05 * b.abs().mean() + 0.01


@torch.no_grad()
@pytest.mark.parametrize("name", SMALL)
def test_batch_statistics(name):
    net, (label, color) = SMALL[name](), random_conditions()
    noise = [torch.randn(2, 1, *shape) for shape in net.noise_shapes(64, 128)]
    expected = copy.deepcopy(net)(label, color, noise)  # train mode
    before = copy.deepcopy(net.eval().state_dict())
    assert not torch.allclose(net(label, color, noise), expected, atol=1e-3)
    with batch_statistics(net):
        torch.testing.assert_close(net(label, color, noise), expected)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())


@pytest.mark.parametrize("conv_norm", ["none", "spectral"])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_a_gradient_penalty_has_the_right_gradient(norm, conv_norm):
    """d/dW of a penalty on dD/dx, through statistics and sigma, against a difference quotient along a direction."""
    torch.manual_seed(0)
    D = SpadeDiscriminator(3, 4, conv_norm, norm).double()
    x = torch.randn(2, 3, 48, 48, dtype=torch.float64, requires_grad=True)
    torch.nn.init.constant_(D.attention.gamma, 0.5)
    with torch.no_grad():  # sigma's u and v are constants for backward: exact once they have converged
        for _ in range(400 if conv_norm == "spectral" else 0):
            for layer in D.modules():
                if isinstance(layer, torch.nn.Conv2d):
                    layer(torch.zeros(1, layer.in_channels, 4, 4, dtype=torch.float64))

    def penalty(net):
        (gradient,) = torch.autograd.grad(net(x)[0][-1].mean((1, 2, 3)).sum(), x, create_graph=True)
        return 1e3 * gradient.square().sum((1, 2, 3)).mean()

    parameters = list(D.parameters())
    gradients = torch.autograd.grad(penalty(D), parameters, allow_unused=True)  # the last bias has none
    direction = [torch.randn_like(p) * p.abs().mean() for p in parameters]
    slope = sum((g * d).sum() for g, d in zip(gradients, direction, strict=True) if g is not None)
    values = []
    for step in (1e-6, -1e-6):
        moved = copy.deepcopy(D)
        with torch.no_grad():
            for p, d in zip(moved.parameters(), direction, strict=True):
                p += step * d
        values.append(penalty(moved).item())
    assert (values[0] - values[1]) / 2e-6 == pytest.approx(slope.item(), rel=1e-4)


@pytest.mark.parametrize("name", [*SMALL, "style", "spade", "encoder"])
def test_networks_compile_without_a_graph_break(name):
    torch._dynamo.reset()
    label, color = random_conditions(2, 64, 64)
    net, inputs = {
        "style": (SMALL["mapping"](style=4, noise=False), (label, color, None, torch.randn(2, 4))),
        "spade": (DISCRIMINATORS["spade"](), (torch.cat((label, label, color[:, :2]), 1),)),
        "encoder": (StyleEncoder(4, 6, (64, 64)), (color,)),
    }.get(name) or (SMALL[name](), (label, color))
    state = copy.deepcopy(net.state_dict())
    expected, expected_state = net(*inputs), copy.deepcopy(net.state_dict())
    net.load_state_dict(state)
    compiled = torch.compile(net, fullgraph=True, backend="eager")  # a host sync would break it
    torch.testing.assert_close(compiled(*inputs), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dict(net.state_dict()), dict(expected_state), rtol=1e-4, atol=1e-4)
