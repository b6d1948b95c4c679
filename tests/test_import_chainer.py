"""The Chainer originals' weights, imported: their outputs, and every kind of network."""

import json
from pathlib import Path

import chainer
import numpy as np
import pytest
import torch
import torch.nn.functional as F

import predict
from engine import checkpoint
from engine.errors import UserError
from models import build, import_chainer, imports
from models.chainer_tables import DILATED_FCN, FCN, RESNET_DEEPLAB, SPADE_DISCRIMINATOR, SPADE_GENERATOR, UNET
from models.imports import import_files, read_sources
from models.layers import predicting
from models.seg_deeplab import ResNetDeepLab
from models.seg_discriminator import FCNDiscriminator
from models.seg_fcn import DilatedFCN
from models.seg_unet import SegUNet
from models.spade_discriminator import SpadeDiscriminator
from models.spade_generator import SpadeGenerator
from options.load import from_dict
from options.seg import SegOptions
from options.spade import SpadeOptions

FIXTURES = Path(__file__).parent / "fixtures"
SHARED = Path(__file__).parents[2] / "shared/fixtures"
shared = [pytest.mark.shared, pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")]


def part(arrays, prefix):
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def excerpt(name, prefix):
    """Weights and the rest of a file of tests/fixtures."""
    arrays = dict(np.load(FIXTURES / f"{name}.npz"))
    return part(arrays, prefix), arrays


def pair(folder, name):
    """Weights and outputs of a folder of the shared fixtures."""
    return tuple(dict(np.load(SHARED / folder / f"{file}.npz")) for file in (name, "io"))


def imported(tmp_path, arrays, overrides=None):
    """The checkpoint of a file of `arrays`."""
    return import_files([chainer.save(tmp_path / "source.npz", arrays)], tmp_path / "ours.pt", overrides)


def discriminator(path):
    content = checkpoint.load(path)
    options, make = {
        "seg": (SegOptions, build.seg_discriminator),
        "spade": (SpadeOptions, build.spade_discriminator),
    }[content["family"]]
    D = make(from_dict(options, content["options"], str(path)))
    checkpoint.load_network(D, content["D"], path)
    return D


def images(u8):
    return torch.from_numpy(u8.astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2).contiguous()


def close(actual, expected, tolerance):
    stride = -(-actual.shape[-1] // expected.shape[-1])
    torch.testing.assert_close(actual[..., ::stride, ::stride], torch.from_numpy(expected), rtol=0, atol=tolerance)


def closest(outputs, name):
    """The array that is called `name`, or `name` with the stride that it was cut with."""
    return next(outputs[key] for key in outputs if key == name or key.startswith(f"{name}_s") and "stride" not in key)


# ---- the originals' outputs


@pytest.mark.parametrize(
    ("files", "tolerance", "train"),
    [
        (lambda: excerpt("dilatedfcn_sn", "gen/"), 1e-6, "out_train"),
        pytest.param(lambda: pair("seg/dilatedfcn_sn", "gen"), 1e-6, "out_train", marks=shared),
        pytest.param(lambda: pair("seg/unet_sn", "gen"), 1e-5, "out_train_nodrop", marks=shared),
    ],
)
@torch.no_grad()
def test_seg_generators_predict_as_the_original(tmp_path, files, tolerance, train):
    weights, outputs = files()
    G, opt, _ = predict.load_network(str(imported(tmp_path, weights)), torch.device("cpu"))
    assert opt.sample.norm_stats == "batch"
    forward = G.half_resolution if isinstance(G, DilatedFCN) else G
    x = images(outputs["images_u8"])
    for name, norm_stats in (("out_eval", "running"), (train, "batch")):
        with predicting(G, norm_stats):
            close(forward(x).softmax(1), closest(outputs, name), tolerance)


@torch.no_grad()
def test_resnet_deeplab_predicts_as_the_original(tmp_path):
    persistent, outputs = excerpt("resnet_msra", "persistent/")
    weights = chainer.formula_file(ResNetDeepLab(5, "msra101", eps=2e-5), RESNET_DEEPLAB) | persistent
    unused = {key: np.ones(3, np.float32) for key in ("resnet101/res4/a/conv1/W", "resnet101/fc6/b")}
    path = chainer.save(tmp_path / "source.npz", weights | unused)
    found, opt = read_sources([path])
    assert found.unused == list(unused) and "resnet101/res4/" in found.notes[0]
    assert (opt.model.encoder, opt.model.aspp_width) == ("msra101", 256)
    G = build.seg_generator(opt)
    G.load_state_dict(found.states["G"])
    for name, norm_stats in (("out_eval", "running"), ("out_train", "batch")):
        with predicting(G, norm_stats):
            close(G(images(outputs["image_u8"])).softmax(1), closest(outputs, name), 2e-6)


@torch.no_grad()
def test_fcn_discriminator_judges_as_the_original(tmp_path):
    weights, outputs = excerpt("fcn_sn", "dis/")
    D = discriminator(imported(tmp_path, weights))
    one_hot = F.one_hot(torch.from_numpy(outputs["onehot_index_u8"]).long(), 5).permute(0, 3, 1, 2).float().contiguous()
    close(D.eval()(one_hot), outputs["out_eval_onehot_s9"], 1e-6)
    close(D.train()(one_hot), outputs["out_train_onehot_s9"], 1e-6)


def conditions(outputs):
    """Label, one-hot without background, and colour inside the hair, class 2."""
    label = F.one_hot(torch.from_numpy(outputs["label_index_u8"]).long(), 5)[..., :4].permute(0, 3, 1, 2).float()
    return label.contiguous(), (images(outputs["colour_u8"]) * label[:, 2:3]).contiguous()


@pytest.mark.parametrize(
    ("files", "upsample", "tolerance"),
    [
        (lambda: excerpt("spade_nearest", "gen/"), "nearest", 3e-5),
        pytest.param(lambda: pair("spade/g_sn_nearest", "gen"), "nearest", 3e-5, marks=shared),
        pytest.param(lambda: pair("spade/g_sn", "gen"), "bilinear", 3e-4, marks=shared),
    ],
)
@torch.no_grad()
def test_spade_generators_paint_as_the_original(tmp_path, files, upsample, tolerance):
    weights, outputs = files()
    path = imported(tmp_path, weights, {"model": {"upsample": upsample}})
    G, opt, _ = predict.load_network(str(path), torch.device("cpu"))
    assert opt.sample.norm_stats == "batch" and opt.data.color
    for name, norm_stats in (("out_eval", "running"), ("out_train", "batch")):
        with predicting(G, norm_stats):
            close(G(*conditions(outputs)), closest(outputs, name), tolerance)


@pytest.mark.parametrize("folder", [pytest.param("spade/d_sn", marks=shared)])
@torch.no_grad()
def test_patch_discriminator_judges_as_the_original(tmp_path, folder):
    weights, outputs = pair(folder, "dis")
    D = discriminator(imported(tmp_path, weights))
    label, color = conditions(outputs)
    x = torch.cat((label, images(outputs["image_u8"]) * 2 - 1, color), 1).contiguous()
    for mode in ("eval", "train"):
        close(D.train(mode == "train")(x)[0][-1], outputs[f"out_{mode}"], 2e-4)


# ---- every kind, from names and shapes alone


@pytest.mark.parametrize(
    ("network", "table", "expected"),
    [
        (
            lambda: DilatedFCN(7, 6, 10, conv_norm="none"),
            DILATED_FCN,
            {"generator": "dilated_fcn", "width": 6, "aspp_width": 10, "conv_norm": "none", "norm": "batch"},
        ),
        (lambda: SegUNet(5, 4, conv_norm="none"), UNET, {"generator": "unet", "width": 4, "conv_norm": "none"}),
        (lambda: SegUNet(3, 6, norm="none"), UNET, {"width": 6, "conv_norm": "spectral", "norm": "none"}),
        (lambda: FCNDiscriminator(9, 6, conv_norm="none"), FCN, {"d_width": 6, "conv_norm": "none"}),
        (
            lambda: SpadeGenerator(4, 6, 16, upsample="subpixel"),
            SPADE_GENERATOR,
            {"width": 6, "code_width": 16, "upsample": "subpixel", "conv_norm": "spectral"},
        ),
        (
            lambda: SpadeGenerator(6, 4, 8, upsample="subpixel", conv_norm="none"),
            SPADE_GENERATOR,
            {"width": 4, "code_width": 8, "upsample": "subpixel", "conv_norm": "none"},
        ),
        (
            lambda: SpadeGenerator(2, 4, 8, color=False, norm="none"),
            SPADE_GENERATOR,
            {"upsample": "bilinear", "norm": "none"},
        ),
        (lambda: SpadeDiscriminator(10, 16, conv_norm="none"), SPADE_DISCRIMINATOR, {"d_width": 16}),
        (lambda: SpadeDiscriminator(7, 8), SPADE_DISCRIMINATOR, {"d_width": 8, "conv_norm": "spectral"}),
        (lambda: SpadeDiscriminator(13, 8), SPADE_DISCRIMINATOR, {"d_width": 8}),
    ],
)
def test_networks_of_any_size(tmp_path, network, table, expected):
    network = network()
    found, opt = read_sources([chainer.save(tmp_path / "source.npz", chainer.formula_file(network, table))])
    assert expected.items() <= found.options["model"].items()
    ((role, state),) = found.states.items()
    network.load_state_dict(state)  # strict
    own = {"seg": (build.seg_generator, build.seg_discriminator), "spade": (build.spade_generator,)}
    if role == "G":
        own[found.family][0](opt).load_state_dict(state)
    assert opt.model.norm_eps == 2e-5


def test_classes_and_colour_follow_from_the_shapes(tmp_path):
    def data(network, table):
        return read_sources([chainer.save(tmp_path / "source.npz", chainer.formula_file(network, table))])[1].data

    assert data(SegUNet(5, 2), UNET).classes == "anime"
    assert data(SegUNet(3, 2), UNET).class_names == ("class0", "class1", "class2")
    assert data(FCNDiscriminator(4, 2), FCN).class_names == ("class0", "class1", "class2", "class3")
    six = data(SpadeGenerator(6, 2, 8), SPADE_GENERATOR)
    assert (six.label_channels, six.background, six.hair, six.color) == (6, "class6", "class2", True)
    plain = data(SpadeGenerator(4, 2, 8, color=False), SPADE_GENERATOR)
    assert (plain.classes, plain.color) == ("anime", False)
    assert not data(SpadeDiscriminator(7, 8), SPADE_DISCRIMINATOR).color  # 4 labels and a picture
    assert data(SpadeDiscriminator(13, 8), SPADE_DISCRIMINATOR).label_channels == 7


@pytest.mark.parametrize(
    ("file", "family", "role"),
    [
        pytest.param("seg/spec_default_gen_resnetdeeplab", "seg", "G", marks=shared),
        pytest.param("seg/spec_default_gen_dilatedfcn", "seg", "G", marks=shared),
        pytest.param("seg/spec_default_gen_unet", "seg", "G", marks=shared),
        pytest.param("seg/spec_default_dis_fcn", "seg", "D", marks=shared),
        pytest.param("spade/spec_default_gen_spade", "spade", "G", marks=shared),
        pytest.param("spade/spec_default_dis_patch", "spade", "D", marks=shared),
    ],
)
def test_default_files_import_completely(file, family, role, monkeypatch):
    spec = json.loads((SHARED / f"{file}.json").read_text())
    keys = spec.get("keys", spec)
    arrays = {key: np.zeros(*value) for key, value in keys.items() if isinstance(value, list)}
    monkeypatch.setattr(imports, "read_arrays", lambda path: arrays)
    found, opt = read_sources([Path(file)])
    assert (found.family, list(found.states)) == (family, [role])
    assert len(found.states[role]) + len(found.unused) == len(arrays)
    assert all(key.startswith(("resnet101/res4/", "resnet101/res5/", "resnet101/fc6/")) for key in found.unused)
    assert bool(found.unused) == ("resnetdeeplab" in file)
    assert opt.model == from_dict(type(opt), {"model": found.options["model"]}, "defaults").model


@pytest.mark.parametrize("key", ["up1/W", "up1/c/W"])
def test_the_originals_deconv_upsampling_has_no_counterpart(tmp_path, key):
    arrays = chainer.formula_file(SpadeGenerator(4, 2, 8), SPADE_GENERATOR) | {key: np.zeros((16, 16, 3, 3))}
    with pytest.raises(UserError, match="source.npz: SPADEGenerator with upsampling_mode=deconv"):
        read_sources([chainer.save(tmp_path / "source.npz", arrays)])


def test_keys_that_are_named_twice_stay_unknown():
    state, _, _ = import_chainer.state_dict({"c1/W": np.zeros(1), "c1/c/W": np.zeros(1)}, FCN)
    assert set(state) == {"conv1.weight", "c1/c/W"}


@pytest.mark.parametrize("conv_norm", ["spectral", "none"])
@torch.no_grad()
def test_sub_pixel_upsampling_is_depth2space(conv_norm, tmp_path):
    """NOTES.md 1.1: channel (ry * r + rx) * C + c of the convolution goes to channel c, place (ry, rx)."""
    network = SpadeGenerator(4, 2, 8, upsample="subpixel", conv_norm=conv_norm)
    arrays = chainer.formula_file(network, SPADE_GENERATOR)
    found, opt = read_sources([chainer.save(tmp_path / "source.npz", arrays)])
    G = build.spade_generator(opt).eval()
    G.load_state_dict(found.states["G"])
    x = torch.randn(2, 16, 4, 6)
    path = "up3/c" if conv_norm == "none" else "up3/c/c"
    weight, bias = (torch.from_numpy(arrays[f"{path}/{leaf}"]) for leaf in ("W", "b"))
    if conv_norm == "spectral":
        rows, u = weight.flatten(1), torch.from_numpy(arrays[f"{path}/W_u"])
        v = F.normalize(u @ rows, dim=0)
        weight = weight / (F.normalize(rows @ v, dim=0) @ rows @ v)
    h = F.conv2d(x, weight, bias, padding=1)
    expected = h.view(2, 2, 2, 16, 4, 6).permute(0, 3, 4, 1, 5, 2).reshape(2, 16, 8, 12)
    torch.testing.assert_close(G.ups[2](x), expected, rtol=1e-4, atol=1e-5)
