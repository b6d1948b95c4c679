"""The pix2pix networks: the facts of paper and programs, sizes, the latent, initial weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models import build
from models.init import KINDS, initialize
from models.layers import up_conv, with_latent
from models.patch import MultiscaleDiscriminator, PatchDiscriminator, PixelDiscriminator
from models.pix2pix_resnet import ResnetGenerator
from models.pix2pix_unet import UNet
from options.load import load
from options.pix2pix import DEFAULT_FILE, Pix2PixOptions


def count(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# ---- facts


def test_parameters_of_the_reference_implementation():
    opt = load(Pix2PixOptions, [], DEFAULT_FILE)
    assert build.millions(build.pix2pix_generator(opt)) == "54.414 M"
    assert build.millions(build.pix2pix_discriminator(opt)) == "2.769 M"
    assert count(ResnetGenerator(norm="instance")) == 11_378_179  # printed by the reference for 9 blocks as 11.378 M


def test_parameters_of_the_chimera_projects_mode_seeking_networks():
    words = "model.norm=instance model.z=8 model.z_at=all model.d_norm=instance model.num_discriminators=2".split()  # noqa: SIM905
    opt = load(Pix2PixOptions, words, DEFAULT_FILE)
    assert count(build.pix2pix_generator(opt)) == 54_794_627
    assert count(build.pix2pix_discriminator(opt)) == 3_463_586


@pytest.mark.parametrize(("layers", "field"), [(1, 16), (2, 34), (3, 70), (4, 142)])
def test_receptive_field_of_a_logit(layers, field):
    """The paper's 16x16 and 70x70 PatchGAN: which pixels move the logit in the middle."""
    D = PatchDiscriminator(2, 2, layers, norm="none").double()
    for p in D.parameters():  # all positive: nothing cancels
        nn.init.constant_(p, 0.1)
    x = torch.rand(1, 2, 256, 256, dtype=torch.float64, requires_grad=True)
    logits = D(x)[0][-1]
    logits[0, 0, logits.shape[2] // 2, logits.shape[3] // 2].backward()
    moved = x.grad[0].sum(0) != 0
    assert (moved.any(1).sum(), moved.any(0).sum()) == (field, field)


def test_maps_of_logits():
    x = torch.randn(1, 6, 256, 256)
    assert PatchDiscriminator(6, 4)(x)[0][-1].shape == (1, 1, 30, 30)
    assert [maps[-1].shape[2] for maps in MultiscaleDiscriminator(6, 4, count=3)(x)] == [30, 14, 6]
    assert PixelDiscriminator(6, 4)(x)[0][-1].shape == (1, 1, 256, 256)
    for halve, widths in ((True, [6, 3, 1]), (False, [6, 6, 6])):
        D = MultiscaleDiscriminator(6, 6, count=3, halve_width=halve)
        assert [maps[0].shape[1] for maps in D(x)] == widths


def test_a_pixel_discriminator_sees_one_pixel():
    D, x = PixelDiscriminator(2, 4, norm="none"), torch.rand(1, 2, 8, 8)
    before = D(x)[0][-1].clone()
    x[..., 3, 5] += 1
    assert (D(x)[0][-1] != before).sum() == 1


# ---- shapes


@pytest.mark.parametrize("upsample", ["deconv", "bilinear", "nearest"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("z_at", ["input", "all"])
def test_generators_keep_the_size(upsample, norm, z_at):
    how = dict(width=2, norm=norm, upsample=upsample, z=3, z_at=z_at)
    z = torch.randn(2, 3)
    for G, height, width in (
        (UNet(1, 3, 6, **how), 64, 128),
        (UNet(1, 3, 7, **how), 128, 128),
        (ResnetGenerator(1, 3, 1, **how), 20, 16),
    ):
        y = G(torch.randn(2, 1, height, width), z)
        assert y.shape == (2, 3, height, width) and y.abs().max() <= 1


@pytest.mark.parametrize("generator", [lambda **how: UNet(depth=6, **how), lambda **how: ResnetGenerator(**how)])
@pytest.mark.parametrize("z_at", ["input", "all"])
def test_z_changes_the_picture_and_all_of_it_is_used(generator, z_at):
    G = initialize(generator(width=4, z=5, z_at=z_at, norm="none"), "orthogonal", 1.0).eval()
    x, z = torch.randn(1, 3, 64, 64), torch.randn(1, 5, requires_grad=True)
    G(x, z).square().sum().backward()
    assert (z.grad != 0).all()
    plain = generator(width=4)
    wider = [a.in_channels - b.in_channels for a, b in zip(G.downs, plain.downs, strict=True)]
    assert wider == ([5] * len(wider) if z_at == "all" else [5] + [0] * (len(wider) - 1))


def test_dropout_sits_in_three_layers_of_the_256_net():
    assert list(UNet(depth=8, width=2).dropped) == [1, 2, 3] and list(UNet(depth=6, width=2).dropped) == [1]
    G, x = UNet(depth=6, width=4, dropout=0.5), torch.randn(2, 3, 64, 64)
    assert not torch.equal(G(x), G(x))
    G.eval()
    assert torch.equal(G(x), G(x))


def test_the_innermost_layer_has_no_norm_on_its_way_down():
    G = UNet(depth=8, width=2)
    assert (len(G.downs), len(G.down_norms), len(G.up_norms)) == (8, 6, 7)


def test_batch_of_one_trains_at_1x1():
    G = UNet(depth=6, width=2, norm="instance")
    G(torch.randn(1, 3, 64, 64)).mean().backward()
    assert all(p.grad is not None for p in G.parameters())


def test_up_conv_doubles():
    for kind in ("deconv", "bilinear", "nearest"):
        for kernel in (3, 4):
            assert up_conv(2, 5, kind, kernel)(torch.randn(1, 2, 7, 3)).shape == (1, 5, 14, 6)


def test_resize_convolution_is_even_where_a_deconvolution_is_not():
    """A constant map through equal weights: checkerboard from the 3x3 transposed convolution only."""
    for kind, even in (("nearest", True), ("bilinear", True), ("deconv", False)):
        layer = up_conv(1, 1, kind, kernel=3, bias=False)
        for p in layer.parameters():
            nn.init.ones_(p)
        inside = layer(torch.ones(1, 1, 8, 8))[..., 4:-4, 4:-4]
        assert (inside.std() < 1e-6) == even


# ---- against forwards written out


def normed(x):
    """Instance norm without affine parameters."""
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) / ((x - mean).square().mean((2, 3), keepdim=True) + 1e-5).sqrt()


def lrelu(x):
    return torch.where(x > 0, x, 0.2 * x)


def test_unet_is_the_published_one():
    """x -> C64-C128-C256-...: leaky relu before each convolution but the first, norm after all but first and last."""
    G = UNet(depth=5, width=3, norm="instance", dropout=0, z=2, z_at="all").double()
    x, z = torch.randn(2, 3, 64, 64, dtype=torch.float64), torch.randn(2, 2, dtype=torch.float64)
    plane = lambda h: z[:, :, None, None].expand(-1, -1, *h.shape[2:])  # noqa: E731
    down = [F.conv2d(torch.cat((x, plane(x)), 1), G.downs[0].weight, G.downs[0].bias, 2, 1)]
    for conv in G.downs[1:]:
        h = F.conv2d(lrelu(torch.cat((down[-1], plane(down[-1])), 1)), conv.weight, conv.bias, 2, 1)
        down.append(h if conv is G.downs[-1] else normed(h))
    h = down.pop()
    for up in G.ups:
        h = normed(F.conv_transpose2d(h.clamp(min=0), up.weight, up.bias, 2, 1))
        h = torch.cat((down.pop(), h), 1)
    last = G.to_picture
    h = F.conv_transpose2d(h.clamp(min=0), last.weight, last.bias, 2, 1).tanh()
    torch.testing.assert_close(G(x, z), h)


def reflected(x, conv, stride=1):
    pad = conv.kernel_size[0] // 2
    return F.conv2d(F.pad(x, [pad] * 4, mode="reflect"), conv.weight, conv.bias, stride)


def test_resnet_is_the_published_one():
    G = ResnetGenerator(blocks=2, width=3, norm="instance", dropout=0).double()
    x = torch.randn(2, 3, 16, 20, dtype=torch.float64)
    h = normed(reflected(x, G.downs[0])).relu()
    for conv in G.downs[1:]:
        h = normed(F.conv2d(h, conv.weight, conv.bias, 2, 1)).relu()
    for block in G.blocks:
        h = h + normed(reflected(normed(reflected(h, block.conv1)).relu(), block.conv2))
    for up in G.ups:
        h = normed(F.conv_transpose2d(h, up.weight, up.bias, 2, 1, 1)).relu()
    torch.testing.assert_close(G(x), reflected(h, G.to_picture).tanh())


def test_discriminators_are_the_published_ones():
    D = MultiscaleDiscriminator(4, 6, norm="instance").double()
    x = torch.randn(2, 4, 64, 64, dtype=torch.float64)
    # the halving: each value the mean of its 3x3 neighbourhood, the border not counted
    count = F.conv2d(torch.ones(1, 1, 64, 64, dtype=torch.float64), torch.ones(1, 1, 3, 3).double(), None, 2, 1)
    small = F.conv2d(x, torch.ones(4, 1, 3, 3).double(), None, 2, 1, groups=4) / count
    for scale, h, maps in zip(D.scales, (x, small), D(x), strict=True):
        for i, conv in enumerate(scale.convs):
            h = F.conv2d(h, conv.weight, conv.bias, 1 if i == 3 else 2, 1)
            h = lrelu(normed(h) if i else h)
            torch.testing.assert_close(maps[i], h)
        torch.testing.assert_close(maps[-1], F.conv2d(h, scale.to_logit.weight, scale.to_logit.bias, 1, 1))


def test_a_latent_keeps_the_memory_format():
    x = torch.randn(2, 3, 8, 8)
    last = with_latent(x.contiguous(memory_format=torch.channels_last), torch.randn(2, 5))
    assert last.is_contiguous(memory_format=torch.channels_last) and with_latent(x, torch.randn(2, 5)).is_contiguous()


# ---- initial weights


@pytest.mark.parametrize("kind", KINDS)
def test_initial_weights(kind):
    torch.manual_seed(0)
    layer, norm = nn.Conv2d(64, 64, 4), nn.BatchNorm2d(4096)
    initialize(nn.Sequential(layer, norm), kind, 0.02)
    rows = layer.weight.flatten(1)
    if kind == "normal":
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
    elif kind == "xavier":  # variance 2 / (fan_in + fan_out)
        assert layer.weight.std().item() == pytest.approx(0.02 * (2 / (2 * 64 * 16)) ** 0.5, rel=0.02)
    else:
        torch.testing.assert_close(rows @ rows.T, 0.02**2 * torch.eye(64), atol=1e-7, rtol=0)
    assert not layer.bias.any() and not norm.bias.any()
    assert norm.weight.mean().item() == pytest.approx(1, abs=2e-3)
    assert norm.weight.std().item() == pytest.approx(0.02, rel=0.05)
