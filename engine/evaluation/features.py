"""What pictures are compared by: features of Inception, of a network with random weights, or of one trained here."""

import http.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine import checkpoint
from engine.device import autocast, weights_format
from engine.errors import UserError
from losses.perceptual import CONVS, Perceptual
from models import build
from options.dcgan import DcganOptions
from options.load import from_dict

INCEPTION_URL = (  # that of torch-fidelity; the weights of the FID authors
    "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
)
AXES = 64  # main axes along which random features are compared


@dataclass(frozen=True)
class Extractor:
    """A network uint8 [B, 3, H, W] -> features [B, F], what a protocol says of it, and its device.

    axes: features are compared along at most so many main axes of the real ones; None: as they are.
    batch: pictures that the network is given at once, at most.
    """

    network: nn.Module
    about: str
    device: torch.device
    axes: int | None = None
    batch: int = 32


def features_of(batches: Iterable[Tensor], extractor: Extractor) -> Tensor:
    """The features of pictures, uint8 [B, 3, H, W] a batch: float64 [N, F] on the CPU. Always computed in fp32."""
    found = []
    for x in (part for batch in batches for part in batch.split(extractor.batch)):
        with torch.inference_mode(), autocast(extractor.device, "fp32"):
            found.append(extractor.network(x.to(extractor.device)).cpu().double())  # MPS has no float64
    return torch.cat(found)


def extractor_of(name: str, device: torch.device, option: str = "--features ") -> Extractor:
    """The extractor that `name` means: inception, random, or a dcgan run folder or checkpoint.

    Args:
        option: what an error calls it.

    Raises:
        UserError: it cannot be had.
    """
    if name == "random":
        network, about, axes = RandomVGG(), "random: VGG16 with random weights (seed 0), its five stages pooled", AXES
    elif name == "inception":
        network, about = Inception(option), "inception: Inception v3 of the FID authors, pictures resized to 299x299"
        axes = None
    else:
        network, about = _trained(name, option)
        axes = None
    network = network.to(device, memory_format=weights_format(device)).eval().requires_grad_(False)
    return Extractor(network, about, device, axes)


class RandomVGG(nn.Module):
    """VGG16's convolutions with weights by lot: its five stages, pooled over the picture, 1,472 features.

    Features of random networks tell sets of pictures apart where no trained network suits them (Naeem et al. 2020,
    arXiv:2002.09797). Weights as He et al. 2015 (arXiv:1502.01852, Eq. 10), drawn by numpy: the same on every machine.
    Nearly all variance of the features is contrast and brightness: hence Extractor.axes.
    """

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):  # the layers draw initial weights, in vain
            self.vgg = Perceptual("vgg16", pretrained=False)
        chance = np.random.default_rng(0)
        convs = [m for m in self.vgg.modules() if isinstance(m, nn.Conv2d)]
        assert len(convs) == sum(CONVS["vgg16"])
        for layer in convs:
            scale = np.float32((2 / layer.weight[0].numel()) ** 0.5)
            layer.weight.data = torch.from_numpy(chance.standard_normal(layer.weight.shape, np.float32) * scale)
            layer.bias.data.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """uint8 [B, 3, H, W], sides of 16 or more -> [B, 1472]."""
        return torch.cat([stage.mean((2, 3)) for stage in self.vgg.features(x.float() / 127.5 - 1)], 1)


class Inception(nn.Module):
    """The pooled features (2048) of the Inception v3 that KID and FID are defined by, as torchmetrics has it."""

    def __init__(self, option: str):
        super().__init__()
        other = f"or use {option}random, whose numbers are compared among themselves only"
        try:
            from torchmetrics.image.fid import NoTrainInceptionV3

            self.network = NoTrainInceptionV3("inception-v3-compat", ["2048"])
        except ImportError:
            get = "needs torch-fidelity, which downloads the weights: pip install torch-fidelity"
            raise UserError(f"{option}inception: {get}, {other}") from None
        except (OSError, http.client.HTTPException, RuntimeError) as error:
            place = Path(torch.hub.get_dir()) / "checkpoints" / Path(INCEPTION_URL).name
            cause = " ".join(str(error).split())[:100]
            raise UserError(
                f"{option}inception: could not get its weights ({cause}): put {INCEPTION_URL} at {place}, {other}"
            ) from None

    def forward(self, x: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] -> [B, 2048]."""
        return self.network(x)


class HiddenLayer(nn.Module):
    """The last convolutions of a dcgan discriminator, pooled over the picture.

    `size`: of the pictures that D was trained on; others are resized.
    """

    def __init__(self, D: nn.Module, size: tuple[int, int]):
        super().__init__()
        self.downs, self.size = D.downs, tuple(size)

    def forward(self, x: Tensor) -> Tensor:
        """uint8 [B, 3, H, W] -> [B, F]."""
        x = x.float() / 127.5 - 1
        if x.shape[2:] != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", align_corners=False, antialias=True)
        return self.downs(x).mean((2, 3))


def _trained(name: str, option: str) -> tuple[nn.Module, str]:
    """The discriminator of a dcgan run: it learned to tell real pictures of its kind from false ones."""
    if not Path(name).exists():
        raise UserError(f"{option}{name}: expected inception, random, or a dcgan run folder or checkpoint", 2)
    path = checkpoint.find(name)
    content = checkpoint.load(path)
    if content["family"] != "dcgan" or "D" not in content:
        what = f"a checkpoint of {content['family']}" if content["family"] != "dcgan" else "it holds no discriminator"
        raise UserError(f"{option}{name}: {what}; features come from the discriminator of a dcgan run", 2)
    opt = from_dict(DcganOptions, content["options"], str(path))
    D = build.dcgan_discriminator(opt)
    checkpoint.load_network(D, content["D"], path)
    side = opt.data.size[0]
    about = f"{path}: its discriminator at step {content['step']}, the last convolutions pooled, {side}x{side}"
    return HiddenLayer(D, opt.data.size), about
