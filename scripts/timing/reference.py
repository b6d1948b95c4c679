"""The authors' PyTorch pix2pix, to time it; a checkout of pytorch-CycleGAN-and-pix2pix."""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parents[2]


def pix2pix(checkout: str, batch: int, device: torch.device) -> tuple:
    """Its optimize_parameters() at our settings, on random pictures: what scripts/timing/plain.py's loops return."""
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != ROOT]  # its packages have ours' names
    sys.path.insert(0, checkout)
    for name in [name for name in sys.modules if name.split(".")[0] in ("models", "options", "data")]:
        del sys.modules[name]
    from models.pix2pix_model import Pix2PixModel

    words = dict(
        isTrain=True, gpu_ids=[0] if device.type == "cuda" else [], device=device, name="benchmark",
        checkpoints_dir=tempfile.gettempdir(), preprocess="none", input_nc=3, output_nc=3, ngf=64, ndf=64,
        netG="unet_256", netD="basic", n_layers_D=3, norm="batch", no_dropout=False, init_type="normal",
        init_gain=0.02, gan_mode="lsgan", lr=2e-4, beta1=0.5, lambda_L1=100.0, direction="AtoB",
    )  # fmt: skip
    model = Pix2PixModel(argparse.Namespace(**words))

    def step(a: Tensor, b: Tensor) -> Tensor:
        model.set_input({"A": a, "B": b, "A_paths": [], "B_paths": []})
        model.optimize_parameters()
        return model.loss_G

    return lambda: tuple(torch.rand(batch, 3, 256, 256, device=device) * 2 - 1 for _ in "ab"), step
