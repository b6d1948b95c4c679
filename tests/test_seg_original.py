"""The first training iteration of the Chainer original (NOTES.md, seg/train), by train_seg.py's own terms."""

import warnings
from pathlib import Path

import chainer
import numpy as np
import pytest
import torch
from torch import nn

from models.chainer_tables import DILATED_FCN, FCN
from models.seg_discriminator import FCNDiscriminator
from models.seg_fcn import DilatedFCN
from options.load import load
from options.seg import DEFAULT_FILE, SegOptions
from train_seg import labeled_losses, unlabeled_losses

SHARED = Path(__file__).parents[2] / "shared/fixtures/seg/train"


class Half(nn.Module):
    """The original's dilated FCN ends at half resolution."""

    def __init__(self, network: DilatedFCN):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network.half_resolution(x)


class ChainerAdam:
    """Chainer's Adam: eps is added to the uncorrected sqrt(v); weight decay is L2."""

    def __init__(self, parameters, lr: float, beta1: float, beta2: float, decay: float):
        self.parameters, self.lr, self.betas, self.decay = list(parameters), lr, (beta1, beta2), decay

    @torch.no_grad()
    def first_step(self):
        b1, b2 = self.betas
        for p in self.parameters:
            grad = p.grad + self.decay * p
            m, v = (1 - b1) * grad, (1 - b2) * grad**2
            p -= self.lr * (1 - b2) ** 0.5 / (1 - b1) * m / (v.sqrt() + 1e-8)


def relative(network, arrays: dict[str, np.ndarray], prefix: str, table) -> list[float]:
    """Relative L2 errors of the convolution weights' gradients."""
    grads = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    expected = chainer.state_dict({key: value for key, value in grads.items() if key.endswith("/W")}, table)
    parameters = dict(network.named_parameters())
    assert expected
    return [((parameters[k].grad - g).norm() / g.norm()).item() for k, g in expected.items()]


@pytest.fixture
def plain_convolutions():
    """PyTorch's own: oneDNN's algorithms depend on the processor; on a Xeon they moved these gradients by 1e-3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of flags of other devices, which this sets too
        with torch.backends.mkldnn.flags(enabled=False):
            yield


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")
@pytest.mark.parametrize("mode", ["hinge", "bce", "mse"])
@pytest.mark.usefixtures("plain_convolutions")
def test_the_originals_first_iteration(mode):
    io = dict(np.load(SHARED / "io_hinge.npz")) | dict(np.load(SHARED / f"io_{mode}.npz"))
    net = DilatedFCN(5, 8, 16, conv_norm="spectral", eps=2e-5)
    chainer.load(net, dict(np.load(SHARED / "gen_before.npz")), DILATED_FCN)
    D = FCNDiscriminator(5, 8, conv_norm="spectral", eps=2e-5)
    chainer.load(D, dict(np.load(SHARED / "dis_before.npz")), FCN)
    G = Half(net)
    words = [f"loss.gan={'lsgan' if mode == 'mse' else mode}", "loss.ce_mean=all"]
    loss = load(SegOptions, words, DEFAULT_FILE).loss
    pick = lambda name, order: torch.from_numpy(io[name][io[order][0]].astype(np.float32)).contiguous()  # noqa: E731
    x, u = pick("x_f16", "order_main"), pick("u_f16", "order_semi")
    y = torch.from_numpy(io["t_index_u8"][io["order_main"][0]]).long()

    terms = labeled_losses(G, D, x, y, loss)
    terms["D"].backward(inputs=list(D.parameters()), retain_graph=True)
    (terms["ce"] + loss.adv * terms["adv"]).backward(inputs=list(G.parameters()))
    if mode == "hinge":
        assert max(relative(net, io, "grad_gen_sup/", DILATED_FCN)) < 1e-4
        assert max(relative(D, io, "grad_dis/", FCN)) < 1e-4
    ChainerAdam(G.parameters(), 2.5e-4, 0.9, 0.99, 1e-4).first_step()
    ChainerAdam(D.parameters(), 1e-4, 0.9, 0.99, 0).first_step()
    G.zero_grad()
    terms |= unlabeled_losses(G, D, u, loss)
    (loss.semi_adv * terms["semi_adv"] + loss.semi_st * terms["semi_st"]).backward(inputs=list(G.parameters()))
    if mode == "hinge":
        assert max(relative(net, io, "grad_gen_semi/", DILATED_FCN)) < 5e-3
    expected = {
        "D": io["loss/dis/loss"][0],
        "ce": io["loss/gen/ce_loss"][0],
        "adv": io["loss/gen/fake_loss"][0],
        "semi_adv": io["loss/gen/semi_fake_loss"][0],
        "semi_st": io["loss/gen/semi_st_loss"][0] / 0.1,
    }
    for name, value in expected.items():
        assert terms[name].item() == pytest.approx(value, abs=1e-5), name
