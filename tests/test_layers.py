"""models/layers.py against the Chainer originals' numbers (tests/fixtures/ops.npz) and its own promises."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from models import layers
from models.import_chainer import pixel_shuffle_order
from models.resnet import MSRAResNet101, ResNetEncoder
from models.seg_unet import SegUNet

OPS = {k: torch.from_numpy(v) for k, v in np.load(Path(__file__).parent / "fixtures/ops.npz").items()}


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def spectral_layer(kind):
    layer = layers.SNConv2d(4, 6, 3, 1, 1) if kind == "conv" else layers.SNConvTranspose2d(4, 6, 4, 2, 1)
    state = {"weight": OPS[f"sn_{kind}_W"], "bias": OPS[f"sn_{kind}_b"], "u": OPS[f"sn_{kind}_u0"]}
    layer.load_state_dict(state, strict=True)
    return layer


@pytest.mark.parametrize("kind", ["conv", "deconv"])
def test_spectral_forward_and_gradients_follow_chainer(kind):
    layer = spectral_layer(kind)
    for step in (1, 2):
        x = OPS[f"sn_{kind}_x"].clone().requires_grad_()
        y = layer(x)
        grad_x, grad_w = torch.autograd.grad(y.square().sum(), (x, layer.weight))
        close(y.detach(), OPS[f"sn_{kind}_y_train{step}"])
        close(layer.u, OPS[f"sn_{kind}_u{step}"])
        close(grad_x, OPS[f"sn_{kind}_gx_train{step}"])
        close(grad_w, OPS[f"sn_{kind}_gW_train{step}"], 5e-5)  # sums up to 1e2
    layer.eval()
    for _ in range(2):  # eval iterates afresh from the same u each time
        close(layer(OPS[f"sn_{kind}_x"]).detach(), OPS[f"sn_{kind}_y_eval"])
    close(layer.u, OPS[f"sn_{kind}_u2"])


def test_power_iteration_also_runs_under_no_grad():
    layer = spectral_layer("conv")
    with torch.no_grad():
        layer(OPS["sn_conv_x"])
    close(layer.u, OPS["sn_conv_u1"])


def test_sigma_is_float32_under_autocast(monkeypatch):
    layer, mv, autocast = spectral_layer("conv"), torch.mv, []

    def watched_mv(*args):
        autocast.append(torch.is_autocast_enabled("cpu"))  # CUDA would compute mv in bf16
        return mv(*args)

    monkeypatch.setattr(torch, "mv", watched_mv)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(OPS["sn_conv_x"])
    assert y.dtype == torch.bfloat16 and autocast == [False, False]
    close(layer.u, OPS["sn_conv_u1"])


def test_two_forwards_before_one_backward():
    layer = spectral_layer("conv")
    x = OPS["sn_conv_x"]
    (layer(x).sum() + layer(x).sum()).backward()  # the second forward writes u, which the first must not need
    assert layer.weight.grad.isfinite().all()


def test_spectral_conv_is_twice_differentiable():
    layer = layers.SNConv2d(2, 2, 3, padding=1).double().eval()
    x = torch.randn(1, 2, 3, 3, dtype=torch.float64, requires_grad=True)
    weight = layer.weight.detach().clone().requires_grad_()

    def forward(x, weight):
        # u and v as constants: only the derivative through x is that of the function itself.
        return nn.functional.conv2d(x, layers.spectral_weight(weight, layer.u, 0, False), padding=1).tanh()

    assert torch.autograd.gradgradcheck(lambda x: forward(x, layer.weight.detach()), (x,))
    (gradient,) = torch.autograd.grad(forward(x, weight).sum(), x, create_graph=True)
    (through_w,) = torch.autograd.grad(gradient.square().sum(), weight)
    assert through_w.abs().sum() > 0


def test_sigma_approaches_the_largest_singular_value():
    layer = layers.SNConvTranspose2d(5, 7, 4)
    for _ in range(200):
        weight = layers.spectral_weight(layer.weight, layer.u, 1, True)
    largest = torch.linalg.matrix_norm(weight.detach().transpose(0, 1).flatten(1), 2)
    assert largest.item() == pytest.approx(1, abs=1e-3)


def test_conv_and_deconv_are_he_initialised():
    for layer, fan_in in (
        (layers.conv(64, 32, 3, conv_norm="spectral"), 64 * 9),
        (layers.deconv(32, 64, 4), 64 * 16),
    ):
        assert layer.weight.std().item() == pytest.approx((2 / fan_in) ** 0.5, rel=0.03)
        assert not layer.bias.any()
    assert set(layers.conv(1, 1, 1, conv_norm="spectral").state_dict()) == {"weight", "bias", "u"}
    assert set(layers.deconv(1, 1, 1, bias=False, conv_norm="spectral").state_dict()) == {"weight", "u"}


def test_batch_norm_follows_chainer():
    norm = layers.norm_layer("batch", 3, eps=2e-5)
    with torch.no_grad():
        norm.weight.copy_(OPS["bn_gamma"])
        norm.bias.copy_(OPS["bn_beta"])
    close(norm(OPS["bn_x"]), OPS["bn_y_train"])
    close(norm.running_mean, OPS["bn_avg_mean_after1"])
    close(norm.running_var, OPS["bn_avg_var_after1"])
    close(norm.eval()(OPS["bn_x"]), OPS["bn_y_eval_after1"])
    close(layers.norm_layer("batch", 3, eps=2e-5, affine=False)(OPS["bn_x"]), OPS["bn_noaffine_train"])


def test_batch_norm_of_one_value_is_beta():
    norm = layers.norm_layer("batch", 3, eps=2e-5)
    close(norm(OPS["bn_x_m1"]), OPS["bn_y_m1"])
    close(norm.running_var, OPS["bn_avg_var_m1"])
    close(norm.running_mean, 0.1 * OPS["bn_x_m1"].flatten())
    nn.init.constant_(norm.bias, 2.5)
    assert (norm(OPS["bn_x_m1"]) == 2.5).all()


@pytest.mark.parametrize("affine", [True, False])
def test_instance_norm_accepts_one_pixel(affine):
    norm = layers.norm_layer("instance", 3, affine=affine)
    assert not norm(torch.randn(2, 3, 1, 1)).any()
    mean = norm(torch.randn(2, 3, 4, 4)).mean((2, 3))
    close(mean, torch.zeros(2, 3))


@pytest.mark.parametrize(("case", "factor"), [("d2s", 2), ("d2s3", 3)])
def test_sub_pixel_order_of_chainer(case, factor):
    x, y = OPS[f"{case}_x"], OPS[f"{case}_y"]
    order = pixel_shuffle_order(np.arange(x.shape[1]), factor)
    assert torch.equal(nn.functional.pixel_shuffle(x[:, order], factor), y)


def test_sub_pixel_conv_multiplies_the_size():
    assert layers.SubPixelConv(3, 5, 3, "spectral")(torch.randn(2, 3, 4, 6)).shape == (2, 5, 12, 18)


def test_msra_pooling_covers_the_border():
    pool = MSRAResNet101().body.maxpool
    assert torch.equal(pool(OPS["pool_x"]), OPS["pool_k3s2"])
    assert torch.equal(pool(OPS["pool_x_odd"]), OPS["pool_k3s2_odd"])


@pytest.mark.parametrize("size", [(1, 1), (3, 17), (16, 32)])
def test_pad_to_multiple_repeats_the_border(size):
    x = torch.randn(1, 3, *size)
    padded, (height, width) = layers.pad_to_multiple(x, 16)
    assert (height, width) == size
    assert padded.shape[2] % 16 == padded.shape[3] % 16 == 0 and padded.shape[2] - height < 16
    assert torch.equal(padded[..., :height, :width], x)
    assert torch.equal(padded[..., -1, -1], x[..., -1, -1])
    assert (padded is x) == (size == (16, 32))


def test_batch_statistics_touch_nothing_else():
    net = SegUNet(3, width=2, dropout=0.0)
    x = torch.rand(2, 3, 16, 16)
    for _ in range(3):
        net(torch.rand(2, 3, 16, 16) * 4)
    net.eval()
    running = net(x)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with torch.no_grad(), layers.batch_statistics(net):
        net.dropout.p = 0.5  # eval mode: without effect
        batch = net(x)
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not any(m.training for m in net.modules())
    assert torch.equal(net(x), running)
    net.dropout.p = 0.0
    assert not torch.allclose(batch, running, atol=1e-3)
    close(net.train()(x), batch)  # the first train-mode forward from the same state


def test_batch_statistics_respect_frozen_norms():
    encoder = ResNetEncoder("resnet18", frozen_bn=True).eval()
    x = torch.rand(1, 3, 32, 32)
    expected = encoder(x)
    with layers.batch_statistics(encoder):
        assert torch.equal(encoder(x), expected)
    with layers.batch_statistics(free := ResNetEncoder("resnet18").eval()):
        actual = free(x)
    assert not torch.allclose(actual, free(x))
