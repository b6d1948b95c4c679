"""animeGAN's networks, built here from their layer order: ours, imported, compute the same. Files as of its time."""

import pickle
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch_programs import Program, assert_same, imported, lively

from engine import checkpoint
from engine.errors import UserError
from models import build
from models.imports import import_files, read_sources
from options.dcgan import DcganOptions
from options.load import from_dict

Z, WIDTH = 6, 2
DOTTED, UNDERSCORED = "extra-layers-{}.2.{}", "extra-layers-{}_2_{}"


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def kernel(side: int) -> tuple[int, int, int]:
    return {64: (4, 2, 1), 96: (5, 3, 1), 128: (6, 4, 1)}[side]


def ups(cin: int, relu: nn.Module) -> list[nn.Module]:
    """From 1x1 to 32x32."""
    layers = [nn.ConvTranspose2d(cin, 8 * WIDTH, 4, bias=False), nn.BatchNorm2d(8 * WIDTH), relu]
    for c in (4 * WIDTH, 2 * WIDTH, WIDTH):
        layers += [nn.ConvTranspose2d(2 * c, c, 4, 2, 1, bias=False), nn.BatchNorm2d(c), relu]
    return layers


def downs(side: int) -> list[nn.Module]:
    """To 4x4."""
    layers = [nn.Conv2d(3, WIDTH, *kernel(side), bias=False), nn.LeakyReLU(0.2)]
    for c in (WIDTH, 2 * WIDTH, 4 * WIDTH):
        layers += [nn.Conv2d(c, 2 * c, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * c), nn.LeakyReLU(0.2)]
    return layers


def named(layers: list[nn.Module], extra: int, channels: int, pattern: str, last: dict[str, nn.Module]) -> nn.Module:
    """Numbered layers, `extra` named ones and the last; under names with dots too, which PyTorch no longer adds."""
    main = nn.Sequential(*layers)
    for i in range(extra):
        main._modules[pattern.format(i, "conv")] = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        main._modules[pattern.format(i, "batchnorm")] = nn.BatchNorm2d(channels)
        main._modules[pattern.format(i, "relu")] = nn.LeakyReLU(0.2)
    main._modules.update(last)
    return main


def generator_1(side: int, extra: int, pattern: str) -> nn.Module:
    name = "final_layer.deconv" if pattern == DOTTED else "final_layer_deconv"
    last = {name: nn.ConvTranspose2d(WIDTH, 3, *kernel(side), bias=False), "tanh": nn.Tanh()}
    main = named(ups(Z, nn.LeakyReLU(0.2)), extra, WIDTH, pattern, last)
    return lively(Program(lambda z: main(z[:, :, None, None]), main=main))


def discriminator_1(side: int, extra: int, pattern: str) -> nn.Module:
    name = "final_layers.conv" if pattern == DOTTED else "final_layers_conv"
    last = {name: nn.Conv2d(8 * WIDTH, 1, 4, bias=False)}
    main = named(downs(side), extra, 8 * WIDTH, pattern, last)
    return lively(Program(lambda x: main(x).flatten(), main=main))


def generator_fc(side: int, decoder: bool) -> nn.Module:
    """Models 2 and 3."""

    def linear(cin: int, cout: int) -> list[nn.Module]:
        return [nn.Linear(cin, cout), nn.ReLU(), nn.Dropout(0.5)]

    fcs = nn.Sequential(*linear(Z, 1024), *linear(1024, 1024))
    last = [nn.ConvTranspose2d(WIDTH, 3, *kernel(side), bias=False), nn.Tanh()]
    convs = nn.Sequential(*ups(1024, nn.ReLU()), *last)
    parts = {"decode_fcs": nn.Sequential(*linear(1024, 1024), nn.Linear(1024, Z))} if decoder else {}
    return lively(Program(lambda z: convs(fcs(z)[:, :, None, None]), fcs=fcs, convs=convs, **parts))


def discriminator_fc(side: int) -> nn.Module:
    hidden = [nn.Conv2d(8 * WIDTH, 1024, 4, bias=False), nn.LeakyReLU(), nn.Dropout(0.5)]
    convs = nn.Sequential(*downs(side), *hidden)
    fcs = nn.Sequential(nn.Linear(1024, 1024), nn.LeakyReLU(), nn.Dropout(0.5), nn.Linear(1024, 1))
    return lively(Program(lambda x: fcs(convs(x).flatten(1)).flatten(), convs=convs, fcs=fcs))


@pytest.mark.parametrize("pattern", [DOTTED, UNDERSCORED])
@pytest.mark.parametrize(("side", "extra"), [(64, 0), (64, 1), (96, 2)])
def test_model_1(side, extra, pattern, tmp_path):
    theirs = generator_1(side, extra, pattern)
    ours, found, opt = imported(theirs.state_dict(), tmp_path)
    assert (opt.data.size, opt.model.n_extra_g, opt.model.z, opt.model.g_width) == ((side, side), extra, Z, WIDTH)
    assert (opt.model.variant, opt.sample.norm_stats, found.unused) == ("dcgan", "running", [])
    assert_same(theirs, ours, torch.randn(3, Z))

    theirs = discriminator_1(side, extra, pattern)
    ours, _, opt = imported(theirs.state_dict(), tmp_path)
    assert (opt.data.size, opt.model.n_extra_d, opt.model.d_width) == ((side, side), extra, WIDTH)
    assert_same(theirs, ours, torch.randn(3, 3, side, side))


@pytest.mark.parametrize("side", [64, 96])
@pytest.mark.parametrize(("decoder", "variant"), [(True, "illustration"), (False, "fc")])
def test_models_2_and_3(decoder, variant, side, tmp_path):
    theirs = generator_fc(side, decoder)
    ours, _, opt = imported(theirs.state_dict(), tmp_path)
    assert (opt.model.variant, opt.model.z, opt.data.size) == (variant, Z, (side, side))
    z = torch.randn(3, Z)
    assert_same(theirs, ours, z)
    if decoder:
        theirs.eval(), ours.eval()
        expected = theirs.decode_fcs(theirs.fcs(z))
        torch.testing.assert_close(ours(z, predict_z=True)[1], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("side", [64, 96])
def test_the_discriminator_of_model_2(side, tmp_path):
    theirs = discriminator_fc(side)
    ours, _, opt = imported(theirs.state_dict(), tmp_path)
    assert (opt.model.variant, opt.data.size) == ("illustration", (side, side))
    assert_same(theirs, ours, torch.randn(3, 3, side, side))


def test_both_networks_make_one_checkpoint(tmp_path):
    torch.save(generator_1(64, 1, DOTTED).state_dict(), tmp_path / "netG.pth")
    torch.save(discriminator_1(64, 2, DOTTED).state_dict(), tmp_path / "netD.pth")
    import_files([tmp_path / "netG.pth", tmp_path / "netD.pth"], tmp_path / "both.pt")
    content = checkpoint.load(tmp_path / "both.pt", "dcgan")
    opt = from_dict(DcganOptions, content["options"], "both.pt")
    assert (opt.model.n_extra_g, opt.model.n_extra_d) == (1, 2)
    checkpoint.load_network(build.dcgan_generator(opt), content["G_ema"], "both.pt")
    checkpoint.load_network(build.dcgan_discriminator(opt), content["D"], "both.pt")


def test_a_kernel_of_no_known_size_is_refused(tmp_path):
    with pytest.raises(UserError, match="6x6 kernel at the picture"):
        imported(generator_1(128, 0, UNDERSCORED).state_dict(), tmp_path)


def test_names_in_any_order(tmp_path):
    theirs = generator_1(64, 2, DOTTED)
    ours, _, _ = imported(dict(sorted(theirs.state_dict().items())), tmp_path)
    assert_same(theirs, ours, torch.randn(2, Z))


# ---- a file of its time


class Python2Pickler(pickle._Pickler):
    """Writes a state dict as PyTorch 0.1 under Python 2 did: byte strings, tensors rebuilt from a GPU's storages."""

    dispatch = pickle._Pickler.dispatch.copy()

    def save_text(self, text: str) -> None:
        self.write(pickle.SHORT_BINSTRING + bytes([len(text)]) + text.encode())
        self.memoize(text)

    dispatch[str] = save_text

    def persistent_id(self, value: object) -> tuple | None:
        if isinstance(value, torch.UntypedStorage):
            key, count = str(value.data_ptr()), value.nbytes() // 4
            return ("storage", torch.cuda.FloatStorage, key, "cuda:0", count, None)
        return None

    def reducer_override(self, value: object) -> tuple:
        if isinstance(value, Tensor):
            arguments = (value.untyped_storage(), value.storage_offset(), tuple(value.shape), value.stride())
            return torch._utils._rebuild_tensor, arguments
        if isinstance(value, OrderedDict):
            return OrderedDict, ([[key, part] for key, part in value.items()],)
        return NotImplemented


def save_as_python_2(state: dict[str, Tensor], path: Path) -> None:
    state = OrderedDict((key, value.clone()) for key, value in state.items())
    with open(path, "wb") as file:
        system = {"protocol_version": 1001, "little_endian": True}
        for part in (0x1950A86A20F9469CFC6C, 1001, system, state):
            Python2Pickler(file, 2).dump(part)
        storages = sorted((str(value.data_ptr()), value) for value in state.values())
        Python2Pickler(file, 2).dump([key for key, _ in storages])
        for _, value in storages:
            file.write(value.numel().to_bytes(8, "little") + value.numpy().tobytes())


def test_a_file_of_pytorch_0_1_and_python_2(tmp_path):
    theirs = generator_1(64, 1, DOTTED)
    state = {key: value for key, value in theirs.state_dict().items() if not key.endswith("num_batches_tracked")}
    save_as_python_2(state, tmp_path / "netG.pth")
    assert (tmp_path / "netG.pth").read_bytes()[:2] != b"PK"
    found, opt = read_sources([tmp_path / "netG.pth"])
    ours = build.dcgan_generator(opt)
    ours.load_state_dict(found.states["G"])
    assert_same(theirs, ours, torch.randn(2, Z))
