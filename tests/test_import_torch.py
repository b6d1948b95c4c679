"""The pix2pix networks of other programs, built here from their layer orders: ours, imported, compute the same."""

import pytest
import torch
from torch import Tensor, nn
from torch_programs import Program, as_old, assert_same, imported, lively

from engine import checkpoint
from engine.errors import UserError
from models import build
from models.import_torch import recognise
from models.imports import import_files, read_sources
from models.pix2pix_unet import UNet
from options.load import from_dict
from options.pix2pix import Pix2PixOptions

NORMS = ("batch", "instance", "none")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def norm_of(kind: str, channels: int) -> list[nn.Module]:
    norms = {"batch": nn.BatchNorm2d, "instance": nn.InstanceNorm2d, "none": lambda _: nn.Identity()}
    return [norms[kind](channels)]


# ---- generators


class Level(nn.Module):
    """A level of the reference's U-Net: what goes in stands beside what comes up; BicycleGAN has them the other way."""

    def __init__(self, parts: list[nn.Module], outermost: bool, bicycle: bool):
        super().__init__()
        self.model = nn.Sequential(*parts)
        self.outermost, self.bicycle = outermost, bicycle

    def forward(self, x: Tensor) -> Tensor:
        y = self.model(x)
        return y if self.outermost else torch.cat((y, x) if self.bicycle else (x, y), 1)


class LevelWithZ(nn.Module):
    """A level of BicycleGAN's U-Net with z at all levels."""

    def __init__(self, down: list[nn.Module], inner: nn.Module | None, up: list[nn.Module], outermost: bool):
        super().__init__()
        self.down, self.submodule, self.up = nn.Sequential(*down), inner, nn.Sequential(*up)
        self.outermost = outermost

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        h = self.down(torch.cat((x, z[:, :, None, None].expand(-1, -1, *x.shape[2:])), 1))
        y = self.up(self.submodule(h, z) if self.submodule else h)
        return y if self.outermost else torch.cat((y, x), 1)


def unet(
    depth: int = 7,
    norm: str = "batch",
    channels: int = 3,
    z: int = 0,
    at: str = "input",
    upsample: str | None = None,
    width: int = 2,
) -> nn.Module:
    """The reference's U-Net; with upsample=basic|bilinear BicycleGAN's, whose layers all have biases."""
    bias = norm == "instance" or bool(upsample)
    widths = [channels] + [width * min(2**level, 8) for level in range(depth)]
    block = None
    for level in reversed(range(depth)):
        outermost, innermost = level == 0, level == depth - 1
        outer, inner = widths[level], widths[level + 1]
        norms = lambda c: [] if upsample and norm == "none" else norm_of(norm, c)  # noqa: E731
        z_in = z if at == "all" or outermost else 0
        down = [*([] if outermost else [nn.LeakyReLU(0.2)]), nn.Conv2d(outer + z_in, inner, 4, 2, 1, bias=bias)]
        down += [] if outermost or innermost else norms(inner)
        cin, cout = inner * (1 if innermost else 2), 3 if outermost else outer
        if upsample == "bilinear":
            resize = nn.Upsample(scale_factor=2, mode="bilinear")
            up = [nn.ReLU(), resize, nn.ReflectionPad2d(1), nn.Conv2d(cin, cout, 3)]
        else:
            up = [nn.ReLU(), nn.ConvTranspose2d(cin, cout, 4, 2, 1, bias=bias or outermost)]
        up += [nn.Tanh()] if outermost else norms(cout)
        if at == "all" and z:
            block = LevelWithZ(down, block, up, outermost)
        else:
            block = Level([*down, *([block] if block else []), *up], outermost, bool(upsample))
    return lively(Program(model=block))


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("depth", [7, 8])
def test_the_references_unet(depth, norm, old, tmp_path):
    theirs = unet(depth, norm)
    state = theirs.state_dict()
    ours, found, opt = imported(as_old(state, theirs) if old else state, tmp_path)
    assert (opt.model.generator, opt.model.norm, opt.model.width) == ("unet", norm, 2)
    assert opt.data.size == (2**depth, 2**depth)
    assert bool(found.unused) == (old and norm == "instance")
    assert_same(theirs, ours, torch.rand(1, 3, 2**depth, 2**depth) * 2 - 1)


def test_the_references_test_program_draws_dropout_and_takes_each_pictures_own_statistics(tmp_path):
    _, found, opt = imported(unet(norm="batch", channels=1).state_dict(), tmp_path)
    assert (opt.sample.norm_stats, opt.model.dropout, opt.predict_dropout) == ("batch", 0.5, True)
    assert any("dropout" in note for note in found.notes)
    assert (opt.model.in_channels, opt.model.z) == (1, 0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("upsample", ["basic", "bilinear"])
@pytest.mark.parametrize(("at", "norm"), [("input", "instance"), ("input", "none"), ("all", "instance")])
def test_unet_with_a_latent(at, norm, upsample, channels, tmp_path):
    inner = unet(7, norm, channels, 8, at, upsample=upsample)
    ours, _, opt = imported(inner.state_dict(), tmp_path)
    assert (opt.model.z, opt.model.z_at, opt.model.in_channels, opt.model.norm) == (8, at, channels, norm)
    assert (opt.model.dropout, opt.sample.norm_stats) == (0, "running")
    x, z = torch.rand(1, channels, 128, 128) * 2 - 1, torch.randn(1, 8)
    theirs = inner
    if at == "input":
        theirs = Program(
            lambda x, z: inner(torch.cat((x, z[:, :, None, None].expand(-1, -1, 128, 128)), 1)), unet=inner
        )
    assert_same(theirs, ours, x, z)


def resnet(blocks: int, norm: str, dropout: bool, reflect: bool = True) -> nn.Module:
    bias, pad = norm == "instance", nn.ReflectionPad2d

    def block() -> nn.Module:
        def conv() -> list[nn.Module]:
            if not reflect:  # the padding is then the convolution's own
                return [nn.Conv2d(8, 8, 3, padding=1, bias=bias), *norm_of(norm, 8)]
            return [pad(1), nn.Conv2d(8, 8, 3, bias=bias), *norm_of(norm, 8)]

        return Residual([*conv(), nn.ReLU(), *([nn.Dropout(0.5)] if dropout else []), *conv()])

    layers = [pad(3), nn.Conv2d(3, 2, 7, bias=bias), *norm_of(norm, 2), nn.ReLU()]
    for c in (2, 4):
        layers += [nn.Conv2d(c, 2 * c, 3, 2, 1, bias=bias), *norm_of(norm, 2 * c), nn.ReLU()]
    layers += [block() for _ in range(blocks)]
    for c in (4, 2):
        layers += [nn.ConvTranspose2d(2 * c, c, 3, 2, 1, 1, bias=bias), *norm_of(norm, c), nn.ReLU()]
    return lively(Program(model=nn.Sequential(*layers, pad(3), nn.Conv2d(2, 3, 7), nn.Tanh())))


class Residual(nn.Module):
    def __init__(self, layers: list[nn.Module]):
        super().__init__()
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("blocks", "dropout"), [(6, True), (9, False)])
def test_the_references_resnet(blocks, dropout, norm, tmp_path):
    theirs = resnet(blocks, norm, dropout)
    ours, found, opt = imported(as_old(theirs.state_dict(), theirs), tmp_path)
    assert (opt.model.generator, opt.model.blocks, opt.model.width, opt.model.norm) == ("resnet", blocks, 2, norm)
    assert (opt.model.dropout, opt.predict_dropout, opt.sample.norm_stats) == (0.5 * dropout, dropout, "batch")
    assert_same(theirs, ours, torch.rand(1, 3, 32, 48) * 2 - 1)


# ---- discriminators


def patch(layers: int = 3, norm: str = "batch", width: int = 4, biases: bool = False, channels: int = 6) -> nn.Module:
    """biases: also in front of batch norms, as BicycleGAN's."""
    widths = [width * min(2**level, 8) for level in range(layers + 1)]
    parts = [nn.Conv2d(channels, width, 4, 2, 1), nn.LeakyReLU(0.2)]
    for level, (cin, cout) in enumerate(zip(widths, widths[1:], strict=False)):
        stride = 2 if level < layers - 1 else 1
        parts += [nn.Conv2d(cin, cout, 4, stride, 1, bias=biases or norm == "instance"), *norm_of(norm, cout)]
        parts += [nn.LeakyReLU(0.2)]
    return lively(nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, 1, 1)))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("layers", [1, 2, 3, 4])
def test_the_references_patch_discriminator(layers, norm, tmp_path):
    theirs = Program(model=patch(layers, norm))
    ours, _, opt = imported(as_old(theirs.state_dict(), theirs), tmp_path)
    assert (opt.model.d_layers, opt.model.d_norm, opt.model.d_width) == (layers, norm, 4)
    assert_same(theirs, ours, torch.rand(2, 6, 64, 64), pick=lambda y: y[0][-1])


@pytest.mark.parametrize("norm", NORMS)
def test_the_references_pixel_discriminator(norm, tmp_path):
    bias = norm == "instance"
    second = [nn.Conv2d(4, 8, 1, bias=bias), *norm_of(norm, 8), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 1, bias=bias)]
    theirs = lively(Program(net=nn.Sequential(nn.Conv2d(2, 4, 1), nn.LeakyReLU(0.2), *second)))
    ours, _, opt = imported(theirs.state_dict(), tmp_path)
    assert (opt.model.discriminator, opt.model.d_norm, opt.model.in_channels) == ("pixel", norm, 1)
    assert_same(theirs, ours, torch.rand(2, 2, 8, 8), pick=lambda y: y[0][-1])


@pytest.mark.parametrize("name", ["model_{}", "model{}"])
@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_discriminators_at_two_scales(norm, name, tmp_path):
    scales = [patch(3, norm, width, biases=True) for width in (4, 2)]
    state = {f"{name.format(k)}.{key}": value for k in (0, 1) for key, value in scales[k].state_dict().items()}
    ours, _, opt = imported(state, tmp_path)
    assert (opt.model.num_discriminators, opt.model.d_norm) == (2, norm)
    x = torch.rand(1, 6, 64, 64)
    assert_same(scales[0], ours, x, pick=lambda y: y[0][-1])
    half = nn.functional.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    assert_same(Program(lambda _: scales[1](half), scale=scales[1]), ours, x, pick=lambda y: y[1][-1])


# ---- files


def test_the_chimera_projects_mode_seeking_networks():
    """All names and shapes at full width, without memory: 54,794,627 and 3,463,586 parameters."""
    with torch.device("meta"):
        G = unet(8, "instance", 3, 8, "all", "basic", width=64)
        D = Program(**{f"model_{k}": patch(3, "instance", 64 // 2**k, biases=True) for k in (0, 1)})
        for theirs, role, builder, parameters in (
            (G, "G", build.pix2pix_generator, 54_794_627),
            (D, "D", build.pix2pix_discriminator, 3_463_586),
        ):
            found = recognise(theirs.state_dict())
            ours = builder(from_dict(Pix2PixOptions, found.options, "file"))
            assert sum(p.numel() for p in theirs.parameters()) == parameters
            assert sum(p.numel() for p in ours.parameters()) == parameters
            shapes = {key: value.shape for key, value in ours.state_dict().items()}
            assert {key: value.shape for key, value in found.states[role].items()} == shapes


def test_both_networks_make_one_checkpoint(tmp_path):
    torch.save(unet(norm="batch").state_dict(), tmp_path / "latest_net_G.pth")
    torch.save(Program(model=patch(2)).state_dict(), tmp_path / "latest_net_D.pth")
    import_files([tmp_path / f"latest_net_{role}.pth" for role in "DG"], tmp_path / "both.pt")
    content = checkpoint.load(tmp_path / "both.pt", "pix2pix")
    opt = from_dict(Pix2PixOptions, content["options"], "both.pt")
    assert (opt.data.size, opt.model.d_layers, content["step"]) == ((128, 128), 2, 0)
    for role, builder in (("G_ema", build.pix2pix_generator), ("D", build.pix2pix_discriminator)):
        checkpoint.load_network(builder(opt), content[role], "both.pt")


def test_a_discriminator_of_four_channels_takes_the_generators_word(tmp_path):
    torch.save(unet(channels=1).state_dict(), tmp_path / "G.pth")
    torch.save(Program(model=patch(channels=4)).state_dict(), tmp_path / "D.pth")
    _, opt = read_sources([tmp_path / "G.pth", tmp_path / "D.pth"])
    assert (opt.model.in_channels, opt.model.out_channels) == (1, 3)


def test_the_order_of_the_names_does_not_matter(tmp_path):
    theirs = unet(7)
    state = theirs.state_dict()
    ours, _, _ = imported({key: state[key] for key in sorted(state, reverse=True)}, tmp_path)
    assert_same(theirs, ours, torch.rand(1, 3, 128, 128))


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (lambda: Program(model=patch(channels=3)), "3 channels judges pictures alone"),
        (lambda: resnet(6, "batch", False, reflect=False), "zero padding"),
        (lambda: unet(norm="batch", upsample="basic"), "batch norm"),
        (lambda: unet(5), "data.size=32"),
    ],
)
def test_networks_without_a_counterpart_are_refused_with_a_line(network, says, tmp_path):
    with pytest.raises(UserError, match=says) as error:
        imported(network().state_dict(), tmp_path)
    assert str(error.value).startswith(str(tmp_path)) and "\n" not in str(error.value)


def test_what_does_not_fit_is_named_as_in_the_file(tmp_path):
    state = unet().state_dict() | {"model.model.9.weight": torch.ones(3)}
    del state["model.model.1.model.2.bias"]
    with pytest.raises(UserError, match="1 missing.*1 unknown .model.model.9.weight"):
        imported(state, tmp_path)


@pytest.mark.parametrize("state", [{}, UNet(depth=5, width=2).state_dict(), {"model.0.weight": torch.ones(2, 3, 4, 4)}])
def test_other_networks_are_none_of_these(state):
    assert recognise(state) is None


def test_one_missing_bias_is_no_network_without_norms(tmp_path):
    state = Program(model=patch(norm="instance")).state_dict()
    del state["model.5.bias"]
    with pytest.raises(UserError, match="1 missing .convs.2.bias"):
        imported(state, tmp_path)
