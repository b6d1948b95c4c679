"""The perceptual term: real and fake shall look alike to a VGG network trained on ImageNet."""

import http.client
import pickle
from pathlib import Path

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from engine.errors import UserError

CONVS = {"vgg16": (2, 2, 3, 3, 3), "vgg19": (2, 2, 4, 4, 4)}  # in each of the five stages
WIDTHS = (64, 128, 256, 512, 512)
WEIGHTS = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's RGB in [0, 1]


class Perceptual(nn.Module):
    """Distance of VGG features (Johnson et al. 2016, arXiv:1603.08155, Eq. 2; weights of Wang et al. 2018,
    arXiv:1711.11585, as in SPADE and in SPADE-pix2pix-for-Anime).

    The features are those after the last ReLU of each of the five stages: conv1_2, 2_2, 3_3, 4_3, 5_3 of VGG16 and
    conv1_2, 2_2, 3_4, 4_4, 5_4 of VGG19 (the original meant these and read 3_3, 4_3, 5_3). Frozen, without the layers
    beyond.

    Args:
        model: vgg16 | vgg19.
        mode: mae, the mean absolute difference | mse, half the mean square.
        pretrained: torchvision's ImageNet weights, downloaded once; UserError when they cannot be had.
    """

    def __init__(self, model: str = "vgg16", mode: str = "mae", pretrained: bool = True):
        super().__init__()
        assert model in CONVS and mode in ("mae", "mse"), (model, mode)
        self.mse = mode == "mse"
        self.stages = nn.ModuleList(_stage(i, count) for i, count in enumerate(CONVS[model]))
        if pretrained:
            _load_torchvision(self.stages, model)
        for name, values in (("mean", MEAN), ("std", STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, fake: Tensor, real: Tensor) -> Tensor:
        """fake, real: RGB [B, 3, H, W] in [-1, 1], sides of 16 or more -> float32 scalar; real is a constant."""
        with torch.no_grad():
            targets = self.features(real)
        distances = (self._distance(f.float(), t.float()) for f, t in zip(self.features(fake), targets, strict=True))
        return sum(weight * distance for weight, distance in zip(WEIGHTS, distances, strict=True))

    def features(self, x: Tensor) -> list[Tensor]:
        """x as in forward -> five maps [B, C_i, H/2^i, W/2^i], >= 0."""
        x = ((x + 1) / 2 - self.mean) / self.std
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps

    def _distance(self, fake: Tensor, real: Tensor) -> Tensor:
        return F.mse_loss(fake, real) / 2 if self.mse else F.l1_loss(fake, real)


def _stage(index: int, convs: int) -> nn.Sequential:
    """Stage `index` of a VGG: 3x3 convolutions, after a 2x2 max pooling except in the first (Simonyan & Zisserman 2015,
    arXiv:1409.1556, Table 1). One after the other the stages are the `features` of torchvision's networks.
    """
    layers = [nn.MaxPool2d(2)] if index else []
    cin = WIDTHS[index - 1] if index else 3
    for _ in range(convs):
        layers += [nn.Conv2d(cin, WIDTHS[index], 3, padding=1), nn.ReLU(inplace=True)]
        cin = WIDTHS[index]
    return nn.Sequential(*layers)


def _load_torchvision(stages: nn.ModuleList, model: str) -> None:
    """torchvision's ImageNet weights; UserError if they cannot be had."""
    weights = torchvision.models.get_model_weights(model).DEFAULT
    try:
        state = weights.get_state_dict(progress=True, check_hash=True)
    except (OSError, http.client.HTTPException, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        place = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        cause = " ".join(str(error).split())[:200]
        raise UserError(
            f"loss.perceptual: could not get the weights of {model} from {weights.url} ({cause}): "
            f"put that file at {place}, or switch the term off with loss.perceptual=0"
        ) from error
    flat = nn.Sequential(*(layer for stage in stages for layer in stage))
    features = {key.removeprefix("features."): value for key, value in state.items() if key.startswith("features.")}
    flat.load_state_dict(features)
