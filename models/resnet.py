"""ResNet encoders of stride 8 (He et al. 2016, arXiv:1512.03385): torchvision's and the Caffe ResNet-101."""

import http.client
import pickle
from collections import OrderedDict
from functools import partial
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from engine.errors import UserError
from models.layers import BatchNorm2d

STEM = ("conv1", "bn1", "relu", "maxpool")
STAGES = {"layer2": ("layer1", "layer2"), "layer4": ("layer1", "layer2", "layer3", "layer4")}


def _pretrained_state(name: str) -> dict[str, Tensor]:
    """torchvision's DEFAULT (ImageNet) weights of `name`; UserError if they cannot be had."""
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        return weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, http.client.HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        cause = " ".join(str(error).split())[:200]
        raise UserError(
            f"model.pretrained: could not get the weights of {name} from {weights.url} ({cause}): "
            f"put that file at {place}, or set model.pretrained=false"
        ) from error


def _dilate(stage: nn.Module, rate: int) -> None:
    """Take the stride out of a stage and dilate what follows it by `rate` (DeepLab's atrous algorithm).

    The strided layers still see the old resolution, so they keep the rate before: sub-sampled, the result is
    the strided network's, and pretrained weights stay valid.
    """
    for layer in stage.modules():
        if isinstance(layer, nn.Conv2d):
            dilation = rate // 2 if layer.stride == (2, 2) else rate
            layer.stride = (1, 1)
            if layer.kernel_size == (3, 3):
                layer.dilation = layer.padding = (dilation, dilation)


def _body(resnet: nn.Module, depth: str) -> nn.Sequential:
    """The layers of a torchvision ResNet up to `depth`, under their own names."""
    return nn.Sequential(OrderedDict((name, getattr(resnet, name)) for name in STEM + STAGES[depth]))


class _Encoder(nn.Module):
    """A network whose batch norms can be frozen: with `frozen_bn` they keep their statistics in train mode too."""

    def __init__(self, frozen_bn: bool):
        super().__init__()
        self.frozen_bn = frozen_bn

    def train(self, mode: bool = True):
        super().train(mode)
        for layer in self.modules():
            if self.frozen_bn and isinstance(layer, nn.BatchNorm2d):
                layer.eval().requires_grad_(False)
        return self


class ResNetEncoder(_Encoder):
    """resnet18 | resnet34 | resnet50 | resnet101 of torchvision at stride 8.

    depth: layer2 (cut there) or layer4 (layer3 and layer4 dilated by 2 and 4 instead of strided).
    pretrained: ImageNet weights, downloaded by torchvision; UserError when they cannot be had.
    frozen_bn: batch norms keep their statistics in train mode, and their affine parameters get no gradient.
    `channels` is the number of output channels.
    """

    def __init__(self, name: str, depth: str = "layer2", pretrained: bool = False, frozen_bn: bool = False):
        super().__init__(frozen_bn)
        assert name in ("resnet18", "resnet34", "resnet50", "resnet101") and depth in STAGES, (name, depth)
        resnet = torchvision.models.get_model(name, weights=None, norm_layer=BatchNorm2d)
        if pretrained:
            resnet.load_state_dict(_pretrained_state(name))
        if depth == "layer4":
            _dilate(resnet.layer3, 2)
            _dilate(resnet.layer4, 4)
        self.body = _body(resnet, depth)
        self.channels = resnet.fc.in_features // (1 if depth == "layer4" else 4)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1), persistent=False)
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        """RGB [B,3,H,W] in [0,1], H and W multiples of 8 -> features [B,channels,H/8,W/8], >= 0."""
        return self.body((x - self.mean) / self.std)


class MSRAResNet101(_Encoder):
    """The Caffe ResNet-101 (KaimingHe/deep-residual-networks) up to res3, as in Chainer's ResNet101Layers.

    It differs from torchvision's: BGR in [0,255] minus a mean, a bias in conv1, an unpadded first pooling
    that covers the border, the stride of res3 on its first 1x1 convolution. No weights are downloaded.
    `channels` is 512.
    """

    def __init__(self, eps: float = 2e-5, frozen_bn: bool = False):
        super().__init__(frozen_bn)
        resnet = torchvision.models.resnet101(weights=None, norm_layer=partial(BatchNorm2d, eps=eps))
        resnet.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        resnet.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        resnet.layer2[0].conv1.stride, resnet.layer2[0].conv2.stride = (2, 2), (1, 1)
        self.body = _body(resnet, "layer2")
        self.channels = 512
        # 103.063 as the original has it (the Caffe model's mean is 103.939).
        mean = torch.tensor([103.063, 115.903, 123.152]).view(1, 3, 1, 1)
        self.register_buffer("mean", mean, persistent=False)
        self.train()

    def forward(self, x: Tensor) -> Tensor:
        """RGB [B,3,H,W] in [0,1], H and W multiples of 8 -> features [B,512,H/8,W/8], >= 0."""
        return self.body(x.flip(1) * 255 - self.mean)
