"""The seg networks against the Chainer originals, the paper's facts and the sizes that users bring."""

import urllib.error
from pathlib import Path

import chainer
import numpy as np
import pytest
import torch
import torchvision

from engine.errors import UserError
from models import resnet
from models.chainer_tables import DILATED_FCN, FCN, RESNET_DEEPLAB, UNET
from models.seg_deeplab import ResNetDeepLab
from models.seg_discriminator import FCNDiscriminator
from models.seg_fcn import DilatedFCN
from models.seg_unet import SegUNet

FIXTURES = Path(__file__).parent / "fixtures"
SHARED = Path(__file__).parents[2] / "shared/fixtures"


def part(arrays, prefix):
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def images(u8):
    # Contiguous: torch's CPU batch norm sums channels_last maps naively, with errors of 1e-5.
    return torch.from_numpy(u8.astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2).contiguous()


def close(actual, expected, tolerance):
    torch.testing.assert_close(actual, torch.from_numpy(expected), rtol=0, atol=tolerance)


def assert_state(net, arrays, table):
    """The running statistics and u after one train-mode forward, relative where they are large."""
    state = net.state_dict()
    expected = chainer.state_dict(part(arrays, "after_train/"), table)
    assert expected
    for key, value in expected.items():
        if key.endswith("num_batches_tracked"):
            continue  # Chainer's N stays 0
        torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-5, check_dtype=False, msg=key)


@torch.no_grad()
def test_dilated_fcn_is_the_original():
    arrays = dict(np.load(FIXTURES / "dilatedfcn_sn.npz"))
    net = chainer.load(DilatedFCN(5, 8, 16, eps=2e-5), part(arrays, "gen/"), DILATED_FCN)
    x = images(arrays["images_u8"])
    close(net.eval().half_resolution(x).softmax(1)[..., ::8, ::8], arrays["out_eval_s8"], 1e-6)
    close(net.train().half_resolution(x).softmax(1)[..., ::9, ::9], arrays["out_train_s9"], 1e-6)
    assert_state(net, arrays, DILATED_FCN)


@torch.no_grad()
def test_fcn_discriminator_is_the_original():
    arrays = dict(np.load(FIXTURES / "fcn_sn.npz"))
    net = chainer.load(FCNDiscriminator(5, 8, eps=2e-5), part(arrays, "dis/"), FCN)
    index = torch.from_numpy(arrays["onehot_index_u8"]).long()
    one_hot = torch.nn.functional.one_hot(index, 5).permute(0, 3, 1, 2).float().contiguous()
    soft = torch.from_numpy(arrays["soft_u8_32"].astype(np.float32) / np.float32(255))
    soft = torch.nn.functional.interpolate(soft, scale_factor=8)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    for name, x in (("soft", soft), ("onehot", one_hot)):
        net.load_state_dict(before)
        close(net.eval()(x)[..., ::9, ::9], arrays[f"out_eval_{name}_s9"], 1e-6)
        close(net.train()(x)[..., ::9, ::9], arrays[f"out_train_{name}_s9"], 1e-6)
    assert_state(net, arrays, FCN)


class StoredDropout(torch.nn.Module):
    """The masks that the original drew, one per call."""

    def __init__(self, arrays):
        super().__init__()
        self.masks = iter([arrays[f"drop_mask{i}_packed"] for i in range(3)])

    def forward(self, h):
        keep = np.unpackbits(next(self.masks))[: h.numel()].reshape(h.shape)
        return h * torch.from_numpy(keep) * 2


@pytest.mark.shared
@pytest.mark.skipif(not (SHARED / "seg/unet_sn/gen.npz").exists(), reason="needs ../shared")
@torch.no_grad()
def test_unet_is_the_original():
    arrays = dict(np.load(SHARED / "seg/unet_sn/io.npz"))
    weights = dict(np.load(SHARED / "seg/unet_sn/gen.npz"))
    x = images(arrays["images_u8"])
    net = chainer.load(SegUNet(5, 8, dropout=0, eps=2e-5), weights, UNET)
    close(net.eval()(x).softmax(1)[..., ::3, ::3], arrays["out_eval"], 1e-5)
    close(net.train()(x).softmax(1)[..., ::3, ::3], arrays["out_train_nodrop"], 1e-5)
    chainer.load(net, weights, UNET)
    net.dropout = StoredDropout(arrays)
    close(net(x).softmax(1)[..., ::3, ::3], arrays["out_train"], 1e-5)
    assert_state(net, arrays, UNET)


@torch.no_grad()
def test_msra_deeplab_is_the_original():
    arrays = dict(np.load(FIXTURES / "resnet_msra.npz"))
    net = ResNetDeepLab(5, "msra101", eps=2e-5)
    weights = chainer.formula_file(net, RESNET_DEEPLAB) | part(arrays, "persistent/")
    chainer.load(net, weights, RESNET_DEEPLAB)
    x = images(arrays["image_u8"])
    close(net.eval().encoder(x)[:, ::16, ::4, ::4], arrays["res3_s4"], 2e-4)  # up to 16
    close(net(x).softmax(1)[..., ::9, ::9], arrays["out_eval_s9"], 2e-6)
    close(net.train()(x).softmax(1)[..., ::9, ::9], arrays["out_train_s9"], 2e-6)
    assert_state(net, arrays, RESNET_DEEPLAB)


def test_keys_of_the_original():
    assert set(chainer.state_dict({"c9/c/W": np.zeros(1)}, FCN)) == {"c9/c/W"}  # unknown: fails in a strict loading
    assert chainer.state_dict({"resnet101/res4/a/conv1/W": np.zeros(1)}, RESNET_DEEPLAB) == {}
    assert set(chainer.state_dict({"up1/c/W": np.zeros((4, 1, 3, 3))}, DILATED_FCN)) == {
        "up1.conv.weight"  # conv_norm=original has no hook, so no second /c
    }


@pytest.mark.parametrize(
    ("net", "count"),
    [
        (DilatedFCN, 7_516_805),
        (SegUNet, 25_048_197),
        (FCNDiscriminator, 1_559_554),
        (lambda classes: ResNetDeepLab(classes, "msra101"), 20_756_677),  # 63.86 M with res4, res5, fc6
    ],
)
def test_parameter_counts_of_the_original(net, count):
    assert sum(p.numel() for p in net(5).parameters()) == count


SMALL = {
    "deeplab": lambda **options: ResNetDeepLab(4, "resnet18", aspp_width=8, **options),
    "fcn": lambda **options: DilatedFCN(4, width=4, aspp_width=8, **options),
    "unet": lambda **options: SegUNet(4, width=4, **options),
}


@pytest.mark.parametrize("size", [(37, 53), (8, 8), (1, 1)])
@pytest.mark.parametrize("name", SMALL)
def test_any_size_trains(name, size):
    net = SMALL[name]()
    logits = net(torch.rand(1, 3, *size))
    assert logits.shape == (1, 4, *size)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


@pytest.mark.parametrize("size", [(37, 53), (8, 8), (1, 1), (256, 256)])
def test_discriminator_map_has_the_size_of_its_input(size):
    assert FCNDiscriminator(4, width=4)(torch.rand(2, 4, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("net", [SMALL["fcn"](), FCNDiscriminator(3, width=4)])
def test_networks_compile_without_a_graph_break(net):
    x = torch.rand(2, 3, 24, 40)
    state = {k: v.clone() for k, v in net.state_dict().items()}
    expected = net(x)
    expected_state = {k: v.clone() for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    compiled = torch.compile(net, fullgraph=True, backend="eager")  # a host sync would break it
    torch.testing.assert_close(compiled(x), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dict(net.state_dict()), expected_state, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
@pytest.mark.parametrize("conv_norm", ["none", "spectral"])
@pytest.mark.parametrize("name", [*SMALL, "discriminator"])
def test_norms_are_options(name, conv_norm, norm):
    options = {"conv_norm": conv_norm, "norm": norm}
    net = FCNDiscriminator(3, width=4, **options) if name == "discriminator" else SMALL[name](**options)
    net(torch.rand(2, 3, 16, 16)).sum().backward()
    keys = [k for k in net.state_dict() if not k.startswith("encoder.")]
    assert any(k.endswith(".u") for k in keys) == (conv_norm == "spectral")
    assert any(k.endswith("running_mean") for k in keys) == (norm == "batch")


@pytest.mark.parametrize(
    ("name", "depth", "channels"),
    [
        ("resnet18", "layer2", 128),
        ("resnet34", "layer4", 512),
        ("resnet50", "layer4", 2048),
        ("resnet101", "layer2", 512),
    ],
)
def test_encoders_have_stride_8(name, depth, channels):
    encoder = resnet.ResNetEncoder(name, depth).eval()
    assert encoder.channels == channels
    assert encoder(torch.rand(1, 3, 64, 32)).shape == (1, channels, 8, 4)
    assert ("body.layer3.0.conv1.weight" in encoder.state_dict()) == (depth == "layer4")


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_dilated_encoder_sub_sampled_is_the_strided_network(name):
    encoder = resnet.ResNetEncoder(name, "layer4").eval()
    strided = torchvision.models.get_model(name, weights=None).eval()
    strided.load_state_dict(part(encoder.state_dict(), "body."), strict=False)  # all but fc
    x = torch.rand(1, 3, 64, 64)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[..., None, None]
    h = (x - mean) / std
    for layer in ("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4"):
        h = getattr(strided, layer)(h)
    torch.testing.assert_close(encoder(x)[..., ::4, ::4], h, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["resnet18", "msra101"])
def test_frozen_batch_norms_stay_frozen(name):
    net = ResNetDeepLab(3, name, frozen_bn=True, aspp_width=8)
    encoder = net.encoder
    before = {k: v.clone() for k, v in encoder.named_buffers()}
    for _ in range(2):  # also after coming back from eval
        net.eval().train()
        assert net.norm1.training
        encoder(torch.rand(2, 3, 16, 16)).sum().backward()
        assert all(torch.equal(v, before[k]) for k, v in encoder.named_buffers())
    assert encoder.body.bn1.weight.grad is None and encoder.body.conv1.weight.grad is not None


@pytest.mark.parametrize(
    "failure",
    [urllib.error.URLError("no route\nto host"), TimeoutError("timed out"), RuntimeError("invalid hash")],
)
def test_weights_that_cannot_be_had_are_one_line(monkeypatch, failure):
    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", fail)
    with pytest.raises(UserError) as error:
        ResNetDeepLab(3, "resnet18", pretrained=True)
    line = str(error.value)
    assert "\n" not in line and "model.pretrained=false" in line
    assert "resnet18-f37072fd.pth" in line and str(Path(torch.hub.get_dir()) / "checkpoints") in line


def test_pretrained_weights_arrive_in_the_encoder(monkeypatch):
    state = torchvision.models.resnet18(weights=None).state_dict()
    monkeypatch.setattr(torchvision.models.ResNet18_Weights, "get_state_dict", lambda *a, **k: state)
    encoder = ResNetDeepLab(3, "resnet18", pretrained=True).encoder
    assert torch.equal(encoder.body.layer2[1].conv2.weight, state["layer2.1.conv2.weight"])
