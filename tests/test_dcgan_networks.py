"""The dcgan networks: the facts of animeGAN's program, sizes, classes, initial weights, forwards written out."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models import build
from models.dcgan_discriminator import DCGANDiscriminator, FCDiscriminator
from models.dcgan_generator import DCGANGenerator, FCGenerator
from options.dcgan import DEFAULT_FILE, DcganOptions
from options.load import load

CONVS = (nn.Conv2d, nn.ConvTranspose2d)


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def of(network: nn.Module, *kinds: type) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, kinds)]


# ---- facts


def test_parameters_of_animegan():
    assert count(DCGANGenerator()) == 3_613_696 and count(DCGANGenerator(extra_layers=0)) == 3_576_704
    assert count(DCGANDiscriminator()) == 2_765_568 and count(DCGANDiscriminator(extra_layers=1)) == 5_125_888
    assert count(FCGenerator(decoder=True)) == 13_451_236 and count(FCGenerator()) == 12_299_136
    assert count(FCDiscriminator()) == 12_196_609


def shapes(network: nn.Module, *kinds: type) -> list[tuple]:
    """In the order of the state dict, in which weights are imported."""
    return [(tuple(m.weight.shape), m.stride, m.padding, m.bias is None) for m in of(network, *kinds)]


def test_layers_of_animegan():
    def up(cin, cout, stride=2, padding=1):
        return (cin, cout, 4, 4), (stride, stride), (padding, padding), True

    stack = [up(16, 8), up(8, 4), up(4, 2)]
    extra = [((2, 2, 3, 3), (1, 1), (1, 1), True)] * 2
    G = DCGANGenerator(5, width=2, extra_layers=2)
    assert shapes(G, *CONVS) == [up(5, 16, 1, 0), *stack, *extra, up(2, 3)]
    assert [m.num_features for m in of(G, nn.BatchNorm2d)] == [16, 8, 4, 2, 2, 2]
    G = FCGenerator(5, width=2, decoder=True)
    assert shapes(G, *CONVS) == [up(1024, 16, 1, 0), *stack, up(2, 3)]
    assert [(m.in_features, m.out_features) for m in of(G, nn.Linear)] == [(5, 1024), *[(1024, 1024)] * 2, (1024, 5)]

    def down(cin, cout, stride=2, padding=1):
        return (cout, cin, 4, 4), (stride, stride), (padding, padding), True

    stack = [down(3, 2), down(2, 4), down(4, 8), down(8, 16)]
    D = DCGANDiscriminator(width=2, extra_layers=1)
    assert shapes(D, *CONVS) == [*stack, ((16, 16, 3, 3), (1, 1), (1, 1), True), down(16, 1, 1, 0)]
    assert [m.num_features for m in of(D, nn.BatchNorm2d)] == [4, 8, 16, 16]
    D = FCDiscriminator(width=2)
    assert shapes(D, *CONVS) == [*stack, down(16, 1024, 1, 0)]
    assert [(m.in_features, m.out_features) for m in of(D, nn.Linear)] == [(1024, 1024), (1024, 1)]


def test_at_96_the_layer_at_the_picture_is_5x5_of_stride_3():
    for network, place in ((DCGANGenerator(size=96, width=2), -1), (DCGANDiscriminator(size=96, width=2), 0)):
        layer = of(network, *CONVS)[place]
        assert (layer.kernel_size, layer.stride, layer.padding) == ((5, 5), (3, 3), (1, 1))
        assert all(other.kernel_size != (5, 5) for other in of(network, *CONVS) if other is not layer)


def test_at_128_there_is_one_stage_more():
    G, D = DCGANGenerator(size=128, width=2), DCGANDiscriminator(size=128, width=2)
    assert of(G, *CONVS)[0].out_channels == 32 and of(D, *CONVS)[-1].in_channels == 32
    assert len(of(G, *CONVS)) == len(of(DCGANGenerator(width=2), *CONVS)) + 1


# ---- shapes


def inputs(size: int, classes: int, z: int = 5) -> tuple[Tensor, Tensor, Tensor | None]:
    """z, pictures and classes, the last sample with all of them."""
    torch.manual_seed(0)
    y = torch.eye(classes)[[0, 1, 1]].index_fill(0, torch.tensor(2), 1.0) if classes else None
    return torch.randn(3, z), torch.rand(3, 3, size, size) * 2 - 1, y


@pytest.mark.parametrize("size", [64, 96, 128])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("classes", [0, 4])
def test_pictures_and_logits(size, norm, classes):
    z, x, y = inputs(size, classes)
    how = dict(width=2, size=size, classes=classes, norm=norm)
    for G in (DCGANGenerator(5, **how), FCGenerator(5, **how)):
        pictures = G(z, y)
        assert pictures.shape == x.shape and pictures.abs().max() <= 1
    for D in (DCGANDiscriminator(**how), FCDiscriminator(**how)):
        assert D(x, y).shape == (3,)


@pytest.mark.parametrize(("norm", "without"), [("batch", 6), ("instance", 5), ("none", 0)])
def test_biases_are_where_no_norm_brings_them(norm, without):
    G = DCGANGenerator(width=2, norm=norm)
    assert sum(m.bias is None for m in of(G, *CONVS)) == without
    D = DCGANDiscriminator(width=2, extra_layers=2, norm=norm)
    assert sum(m.bias is None for m in of(D, *CONVS)) == {"batch": 7, "instance": 5, "none": 0}[norm]


def test_unknown_sizes_are_refused():
    for network in (DCGANGenerator, DCGANDiscriminator, FCGenerator, FCDiscriminator):
        with pytest.raises(AssertionError, match="32"):
            network(size=32)


def test_channels_last_and_bf16():
    z, x, _ = inputs(64, 0)
    for network, given in ((DCGANGenerator(5, 4), z), (DCGANDiscriminator(4), x), (FCDiscriminator(4).eval(), x)):
        expected = network(given)
        network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(network(given), expected, atol=1e-4, rtol=1e-3)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(network(given).float(), expected, atol=0.1, rtol=0.1)


# ---- against forwards written out


def normed(x: Tensor) -> Tensor:
    """Batch norm with scale 1 and shift 0."""
    mean = x.mean((0, 2, 3), keepdim=True)
    return (x - mean) / ((x - mean).square().mean((0, 2, 3), keepdim=True) + 1e-5).sqrt()


def leaky(x: Tensor, slope: float) -> Tensor:
    return torch.where(x > 0, x, slope * x)


def plain_norms(network: nn.Module) -> nn.Module:
    """In float64, with all norms' scales 1."""
    for m in of(network, nn.BatchNorm2d):
        nn.init.ones_(m.weight)
    return network.double()


def all_up(x: Tensor, layers: list[nn.Module], slope: float) -> Tensor:
    *hidden, last = layers
    for layer in hidden:
        apply = F.conv_transpose2d if isinstance(layer, nn.ConvTranspose2d) else F.conv2d
        x = leaky(normed(apply(x, layer.weight, None, layer.stride, layer.padding)), slope)
    return F.conv_transpose2d(x, last.weight, None, last.stride, last.padding).tanh()


def all_down(x: Tensor, layers: list[nn.Module]) -> Tensor:
    for i, layer in enumerate(layers):
        x = F.conv2d(x, layer.weight, None, layer.stride, layer.padding)
        x = leaky(normed(x) if i else x, 0.2)
    return x


@pytest.mark.parametrize("size", [64, 96, 128])
def test_generators_are_the_published_ones(size):
    z, _, y = inputs(size, 3)
    z, y = z.double(), y.double()
    joined = torch.cat((z, y), 1)
    G = plain_norms(DCGANGenerator(5, 2, size, 1, classes=3))
    torch.testing.assert_close(G(z, y), all_up(joined[:, :, None, None], of(G, *CONVS), 0.2))
    G = plain_norms(FCGenerator(5, 2, size, classes=3, decoder=True))
    G.dropout.eval()
    G.decoder.eval()
    first, second, third, fourth = of(G, nn.Linear)
    hidden = F.linear(F.linear(joined, first.weight, first.bias).relu(), second.weight, second.bias).relu()
    picture, z_again = G(z, y, predict_z=True)
    torch.testing.assert_close(picture, all_up(hidden[:, :, None, None], of(G, *CONVS), 0.0))
    expected = F.linear(F.linear(hidden, third.weight, third.bias).relu(), fourth.weight, fourth.bias)
    torch.testing.assert_close(z_again, expected)
    assert torch.equal(G(z, y), picture), "the same without the prediction"


@pytest.mark.parametrize("size", [64, 96, 128])
@pytest.mark.parametrize("classes", [0, 3])
def test_discriminators_are_the_published_ones(size, classes):
    _, x, y = inputs(size, classes)
    x, y = x.double(), y.double() if classes else None
    D = plain_norms(DCGANDiscriminator(2, size, 1, classes))
    *convs, last = of(D, *CONVS)
    h = all_down(x, convs)
    expected = F.conv2d(h, last.weight)[:, 0, 0, 0]
    if classes:
        (V,) = of(D, nn.Linear)  # [features, classes]
        expected = expected + torch.stack([V.weight @ y[b] @ h[b].sum((1, 2)) for b in range(3)])
    torch.testing.assert_close(D(x, y), expected)
    D = plain_norms(FCDiscriminator(2, size, classes))
    D.dropout.eval()
    *convs, last = of(D, *CONVS)
    hidden, to_logit, *V = of(D, nn.Linear)
    h = leaky(F.conv2d(all_down(x, convs), last.weight).flatten(1), 0.01)
    h = leaky(F.linear(h, hidden.weight, hidden.bias), 0.01)
    expected = F.linear(h, to_logit.weight, to_logit.bias)[:, 0]
    if classes:
        expected = expected + torch.stack([V[0].weight @ y[b] @ h[b] for b in range(3)])
    torch.testing.assert_close(D(x, y), expected)


def test_dropout_is_in_the_fully_connected_layers():
    z, x, _ = inputs(64, 0)
    G, D = FCGenerator(5, 2, norm="none", decoder=True), FCDiscriminator(2, norm="none")
    assert not torch.equal(G(z), G(z)) and not torch.equal(D(x), D(x))
    assert [m.p for network in (G, D) for m in of(network, nn.Dropout)] == [0.5, 0.5, 0.5]
    seen = []
    for layer in (G.fc2, G.ups, G.decoder, D.fc, D.to_logit):
        layer.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    G(z, predict_z=True)
    D(x)
    assert [(h == 0).float().mean().item() > 0.4 for h in seen] == [True] * 5
    assert torch.equal(seen[1], seen[2]), "z is predicted from the vector that the picture is made of"


def test_classes_change_pictures_and_logits_and_add_up():
    z, x, y = inputs(64, 3)
    G, D = DCGANGenerator(5, 4, classes=3).eval(), DCGANDiscriminator(4, classes=3).eval()
    pictures = G(z[:1].expand(3, -1), torch.eye(3))
    assert (pictures[0] != pictures[1]).any() and (pictures[1] != pictures[2]).any()
    one = x[:1].expand(4, -1, -1, -1)
    none, *single, both = D(torch.cat((one, x[:1])), torch.cat((torch.zeros(1, 3), torch.eye(3), y[2:])))
    torch.testing.assert_close(both - none, sum(logit - none for logit in single))
    assert len({logit.item() for logit in single}) == 3


# ---- initial weights, spectral norm, options


@pytest.mark.parametrize("network", [DCGANGenerator, DCGANDiscriminator, FCGenerator, FCDiscriminator])
def test_initial_weights(network):
    torch.manual_seed(0)
    network = network(classes=2)
    for layer in of(network, *CONVS):
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.04)
    scales = torch.cat([m.weight for m in of(network, nn.BatchNorm2d)])
    assert scales.mean().item() == pytest.approx(1, abs=3e-3) and scales.std().item() == pytest.approx(0.02, rel=0.1)
    assert not any(m.bias.any() for m in of(network, nn.BatchNorm2d))
    for layer in of(network, nn.Linear):  # torch's own: U(-1, 1) / sqrt(inputs), but for V
        bound = 0.02 * 3**0.5 if layer.bias is None else layer.in_features**-0.5
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.1)
        assert layer.bias is None or layer.bias.any()


def test_biases_without_norms_start_at_0():
    assert not any(m.bias.any() for m in of(DCGANDiscriminator(2, norm="none"), *CONVS))


@pytest.mark.parametrize("network", [DCGANDiscriminator, FCDiscriminator])
def test_spectral_norm_is_in_all_layers_of_d(network):
    D = network(2, classes=3, conv_norm="spectral")
    _, x, y = inputs(64, 3)
    layers = of(D, *CONVS, nn.Linear)

    def moved(train: bool) -> list[bool]:
        before = [layer.u.clone() for layer in layers]
        D.train(train)(x, y).mean().backward()
        return [not torch.equal(u, layer.u) for u, layer in zip(before, layers, strict=True)]

    assert all(moved(train=True)) and not any(moved(train=False))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in D.parameters())
    for layer in layers:
        left, sigma, right = torch.linalg.svd(layer.weight.detach().flatten(1), full_matrices=False)
        layer.u.copy_(left[:, 0])  # where the power iteration ends
        given = right[0].view_as(layer.weight[:1])
        result = layer(given)
        with torch.no_grad():
            layer.weight /= sigma[0]
        plain = F.linear if isinstance(layer, nn.Linear) else layer._conv_forward
        torch.testing.assert_close(result, plain(given, layer.weight, layer.bias), atol=1e-5, rtol=1e-4)


def test_options_become_networks():
    words = "model.z=7 model.g_width=2 model.d_width=3 model.g_norm=instance model.d_norm=none data.size=96".split()  # noqa: SIM905
    words += ["model.d_conv_norm=spectral", "data.labels=folders", "data.classes=a,b"]
    for variant, G, D in (
        ("dcgan", DCGANGenerator(7, 2, 96, 3, 2, "instance"), DCGANDiscriminator(3, 96, 2, 2, "none", "spectral")),
        ("illustration", FCGenerator(7, 2, 96, 2, "instance", True), FCDiscriminator(3, 96, 2, "none", "spectral")),
        ("fc", FCGenerator(7, 2, 96, 2, "instance"), FCDiscriminator(3, 96, 2, "none", "spectral")),
    ):
        extra = ["model.n_extra_g=3", "model.n_extra_d=2"] if variant == "dcgan" else []
        opt = load(DcganOptions, [*words, *extra, f"model.variant={variant}"], DEFAULT_FILE)
        for network, expected in ((build.dcgan_generator(opt), G), (build.dcgan_discriminator(opt), D)):
            assert str(network) == str(expected) and network.state_dict().keys() == expected.state_dict().keys()
