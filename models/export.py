"""The network that predicts as a plain function of tensors: every chance an input, every constant worked out."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.layers import SNConv2d, SNConvTranspose2d, predicting, spectral_weight
from models.spade_layers import UPSAMPLINGS

VALUES = {
    "unit": "[0, 1]",
    "signed": "[-1, 1]",
    "normal": "drawn from N(0, 1)",
    "sign": "-1 or 1, drawn alike often",
    "one_hot": "0 or 1, at most one channel 1",
    "logits": "any",
}


@dataclass(frozen=True)
class Port:
    """A tensor [B, channels, H / share, W / share] of a picture of H x W, or [B, channels] without a share.

    values: one of VALUES.
    """

    name: str
    channels: int
    share: int | None
    values: str
    meaning: str

    def shape(self, height: int, width: int) -> tuple[int, ...]:
        """All but the batch, at a picture's size."""
        return (self.channels,) if self.share is None else (self.channels, height // self.share, width // self.share)


@dataclass(frozen=True)
class Function:
    """What a family's network computes.

    Attributes:
        inputs, output: its tensors.
        call: (network, inputs in their order) -> output.
        multiple: H and W of a picture are multiples of it, of any number; None: only data.size.
        pad: to multiples of what the network itself pads its one input.
    """

    inputs: tuple[Port, ...]
    output: Port
    call: Callable[..., Tensor]
    multiple: int | None
    pad: int = 1


def function_of(network: nn.Module, opt: Any) -> Function:
    """The function that prediction computes with `network`, of a checkpoint's options `opt`."""
    return {"seg": _seg, "pix2pix": _pix2pix, "spade": _spade, "dcgan": _dcgan}[opt.family](network, opt)


def _seg(network: nn.Module, opt: Any) -> Function:
    picture = Port("picture", 3, 1, "unit", "RGB")
    logits = Port("logits", len(opt.data.class_names), 1, "logits", "softmax over the channels gives probabilities")
    return Function((picture,), logits, _call, multiple=1, pad=16 if opt.model.generator == "unet" else 8)


def _pix2pix(network: nn.Module, opt: Any) -> Function:
    m = opt.model
    inputs = [Port("x", m.in_channels, 1, "signed", "RGB" if m.in_channels == 3 else "grey")]
    inputs += [Port("z", m.z, None, "normal", "the latent: another one gives another picture")] * bool(m.z)
    multiple = 4 if m.generator == "resnet" else 2 ** len(network.downs)
    return Function(tuple(inputs), _picture(m.out_channels), _call, multiple)


def _spade(network: nn.Module, opt: Any) -> Function:
    data, style = opt.data, opt.model.style
    multiple = 2**UPSAMPLINGS
    inputs = [Port("label", data.label_channels, 1, "one_hot", "a channel for each of label_channels")]
    inputs += [Port("color", 3, 1, "unit", f"RGB of the {data.hair} where the label says so, else 0")] * data.color
    inputs += [Port("style", style, None, "normal", "the style: another one gives another picture")] * bool(style)
    shares = [multiple // height for height, _ in network.noise_shapes(multiple, multiple)]
    inputs += [Port(f"noise{i}", 1, share, "normal", "noise, 0 for none") for i, share in enumerate(shares, 1)]
    call = partial(_paint, color=data.color, style=bool(style))
    return Function(tuple(inputs), _picture(3), call, multiple)


def _paint(network: nn.Module, label: Tensor, *rest: Tensor, color: bool, style: bool) -> Tensor:
    rest = list(rest)
    c = rest.pop(0) if color else None
    s = rest.pop(0) if style else None
    return network(label, c, noise=rest, style=s)


def _dcgan(network: nn.Module, opt: Any) -> Function:
    m, classes = opt.model, len(opt.data.classes)
    z = Port("z", m.z, None, "normal" if m.latent == "gaussian" else "sign", "the latent of a picture")
    y = Port("y", classes, None, "one_hot", "the class of a picture; several 1 mix classes")
    return Function((z, y) if classes else (z,), _picture(3), _call, None)


def _call(network: nn.Module, *inputs: Tensor) -> Tensor:
    return network(*inputs)


def _picture(channels: int) -> Port:
    return Port("picture", channels, 1, "signed", "RGB" if channels == 3 else "grey")


class PictureNorm(nn.Module):
    """Instance norm (Ulyanov et al. 2016, arXiv:1607.08022), and so batch norm of a picture that runs alone.

    Written out: torch's asks for the size of the map, whose answer an exported graph would keep.
    """

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """[B,C,H,W] -> [B,C,H,W]."""
        x = x - x.mean((2, 3), keepdim=True)
        x = x * torch.rsqrt(x.square().mean((2, 3), keepdim=True) + self.eps)
        return x if self.weight is None else x * self.weight[:, None, None] + self.bias[:, None, None]


def fixed(network: nn.Module, norm_stats: str) -> nn.Module:
    """A copy in eval mode that computes the same of every picture, whatever the others of its batch.

    W / sigma stands in place of every spectrally normalised W. With norm_stats "batch" the batch norms take each
    picture's own statistics, as prediction does, which runs such pictures alone.
    """
    network = copy.deepcopy(network).eval()
    for layer in network.modules():
        _divide_by_sigma(layer)
    with predicting(network, norm_stats):
        own = [name for name, layer in network.named_modules() if _takes_own_statistics(layer)]
    for name in own:
        network.set_submodule(name, PictureNorm(network.get_submodule(name)))
    return network


def _takes_own_statistics(layer: nn.Module) -> bool:
    batch = isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training
    return batch or isinstance(layer, nn.InstanceNorm2d)


@torch.no_grad()
def _divide_by_sigma(layer: nn.Module) -> None:
    for spectral, plain, out_dim in ((SNConv2d, nn.Conv2d, 0), (SNConvTranspose2d, nn.ConvTranspose2d, 1)):
        if isinstance(layer, spectral):
            layer.weight.copy_(spectral_weight(layer.weight, layer.u, out_dim, write_back=False))
            del layer.u
            layer.__class__ = plain  # which it is, but for the division
