"""The perceptual term against the Chainer original (NOTES.md, losses/perceptual.npz) and torchvision's VGGs."""

import urllib.error
from pathlib import Path

import chainer
import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import vgg

from engine.errors import UserError
from losses.perceptual import Perceptual

ARRAYS = dict(np.load(Path(__file__).parent / "fixtures/perceptual.npz"))
LAYOUT = {"vgg16": "D", "vgg19": "E"}  # torchvision's names of the layouts
# The index in torchvision's features after which each map is read: the last ReLU before a pooling.
TAPS = {"vgg16": (3, 8, 15, 22, 29), "vgg19": (3, 8, 17, 26, 35)}
WEIGHT_CLASS = {"vgg16": torchvision.models.VGG16_Weights, "vgg19": torchvision.models.VGG19_Weights}


def picture(name: str) -> torch.Tensor:
    return torch.from_numpy(ARRAYS[name].transpose(0, 3, 1, 2).astype(np.float32) / 255) * 2 - 1


def as_caffe(x: torch.Tensor, perceptual: Perceptual) -> torch.Tensor:
    """What to give for the network to see what the original's sees: BGR in [0, 255] minus Caffe's mean."""
    seen = (x.flip(1) + 1) / 2 * 255 - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    return 2 * (seen * perceptual.std + perceptual.mean) - 1


@pytest.fixture(scope="module")
def of_the_original() -> dict[str, torch.Tensor]:
    """VGG16's weights as the reference run generated them, under our names."""
    state = {}
    for key, value in Perceptual(pretrained=False).state_dict().items():
        _, stage, index, leaf = key.split(".")
        conv = (int(index) - (stage != "0")) // 2 + 1
        name = f"vgg16/conv{int(stage) + 1}_{conv}/{'W' if leaf == 'weight' else 'b'}"
        state[key] = torch.from_numpy(chainer.formula_array(name, tuple(value.shape)))
    return state


@pytest.mark.parametrize("mode", ["mae", "mse"])
def test_the_originals_value_and_gradient(mode, of_the_original):
    perceptual = Perceptual("vgg16", mode, pretrained=False)
    perceptual.load_state_dict(of_the_original)
    real, fake = picture("real_u8").requires_grad_(), picture("fake_u8").requires_grad_()
    loss = 10 * perceptual(as_caffe(fake, perceptual), as_caffe(real, perceptual)) / 255  # the original's distance
    assert loss.item() == pytest.approx(ARRAYS[f"loss_{mode.upper()}"].item(), rel=1e-5)
    loss.backward()
    expected = torch.from_numpy(ARRAYS[f"grad_fake_{mode.upper()}"])
    assert (fake.grad[0] - expected).norm() < 1e-2 * expected.norm()  # ties in pools and ReLUs fall as rounding wills
    assert real.grad is None and all(p.grad is None for p in perceptual.parameters())


def test_the_originals_features(of_the_original):
    perceptual = Perceptual("vgg16", pretrained=False)
    perceptual.load_state_dict(of_the_original)
    maps = perceptual.features(as_caffe(picture("real_u8"), perceptual))
    for name, map_ in zip(("1_2", "2_2", "3_3", "4_3", "5_3"), maps, strict=True):
        expected = torch.from_numpy(ARRAYS[f"feat_mean_conv{name}"])
        torch.testing.assert_close(map_.mean((0, 2, 3)), expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def served(monkeypatch):
    """served("vgg16"): its torchvision layers, whose weights the download then gives, classifier and all."""

    def serve(model: str) -> nn.Sequential:
        features = vgg.make_layers(vgg.cfgs[LAYOUT[model]], batch_norm=False).eval()
        state = {f"features.{k}": v for k, v in features.state_dict().items()} | {"classifier.0.weight": torch.ones(1)}
        monkeypatch.setattr(WEIGHT_CLASS[model], "get_state_dict", lambda *args, **kwargs: state)
        return features

    return serve


@pytest.mark.parametrize("model", TAPS)
@torch.no_grad()
def test_features_are_those_of_torchvisions_network(model, served):
    reference, perceptual = served(model), Perceptual(model)
    x = torch.rand(2, 3, 32, 48) * 2 - 1
    h = torchvision.transforms.functional.normalize((x + 1) / 2, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    expected = []
    for index, layer in enumerate(reference):
        h = layer(h)
        expected += [h.clone()] * (index in TAPS[model])
    maps = perceptual.features(x)
    for map_, other in zip(maps, expected, strict=True):
        torch.testing.assert_close(map_, other)
    assert sum(p.numel() for p in perceptual.parameters()) == sum(p.numel() for p in reference.parameters())
    y = torch.rand(2, 3, 32, 48) * 2 - 1
    distances = [(a - b).abs().mean() for a, b in zip(maps, perceptual.features(y), strict=True)]
    by_hand = sum(d * w for d, w in zip(distances, (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1), strict=True))
    torch.testing.assert_close(perceptual(x, y), by_hand)


@pytest.mark.parametrize("failure", [urllib.error.URLError("no route\nto host"), RuntimeError("invalid hash")])
@pytest.mark.parametrize("model", TAPS)
def test_weights_that_cannot_be_had_are_one_line(monkeypatch, model, failure):
    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(WEIGHT_CLASS[model], "get_state_dict", fail)
    with pytest.raises(UserError) as error:
        Perceptual(model)
    line = str(error.value)
    assert "\n" not in line and "loss.perceptual=0" in line and "https://" in line
    name = {"vgg16": "vgg16-397923af.pth", "vgg19": "vgg19-dcbb9e9d.pth"}[model]
    assert name in line and str(Path(torch.hub.get_dir()) / "checkpoints") in line


def test_of_equal_pictures_it_is_zero_and_under_autocast_float32():
    perceptual, x = Perceptual(pretrained=False), torch.rand(1, 3, 32, 32) * 2 - 1
    assert perceptual(x, x) == 0
    with torch.autocast("cpu", torch.bfloat16):
        loss = perceptual(x, -x)
    assert loss.dtype == torch.float32 and loss.item() == pytest.approx(perceptual(x, -x).item(), rel=0.05)
