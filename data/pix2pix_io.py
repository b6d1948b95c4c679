"""Reading and writing the pix2pix family's pictures in prediction: tensors, latents, A|B pictures, edges, samples."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.edges import SIGMA, edge_picture
from data.edges import add_arguments as add_edge_arguments
from data.edges import settings as edge_settings
from data.files import Sample, is_double, read_two
from data.images import read_picture
from data.picture_io import (
    Notes,
    add_sample_arguments,
    own_generator,
    own_seed,
    sample_files,
    sample_suffixes,
    to_picture,
)
from engine.errors import UserError

BT601 = (19595, 38470, 7471)  # of 65536: the weights of Pillow's mode L


def to_input(pictures: Tensor, channels: int) -> Tensor:
    """uint8 [B, 3, H, W] RGB -> float [B, channels, H, W] in [-1, 1]; 1 channel: grey, rounded as Pillow does."""
    if channels == 1:
        red, green, blue = pictures.int().unbind(1)
        grey = (BT601[0] * red + BT601[1] * green + BT601[2] * blue + 0x8000) >> 16
        pictures = grey.unsqueeze(1)
    return pictures.float() / 127.5 - 1


def latent(name: str, sample: int, size: int, seed: int = 0) -> Tensor:
    """z [size] from N(0, 1), a function of the arguments alone, in any batch and order."""
    return torch.randn(size, generator=own_generator(name, sample, seed))


@torch.no_grad()
def translate(
    G: torch.nn.Module,
    x: Tensor,
    names: Sequence[str],
    samples: int = 1,
    seed: int = 0,
    sync: bool = False,
    nz: int = 0,
    dropout: bool = False,
) -> Tensor:
    """The pictures that G makes of x [B, C, H, W] in [-1, 1]: [B, samples * C_out, H, W] in [-1, 1].

    Args:
        names: of the B pictures; chance depends on (seed, name, sample) only.
        sync: the same chance for every name.
        nz: length of G's latent z, 0: none.
        dropout: G's dropout is on and draws as (seed, name, sample) say; x then holds one picture.
    """
    if sync:
        names = [""] * len(names)
    assert len(names) == len(x) and (not dropout or len(x) == 1), (names, x.shape)
    made = []
    for sample in range(samples):
        z = torch.stack([latent(name, sample, nz, seed) for name in names]).to(x.device) if nz else None
        if dropout:
            with torch.random.fork_rng([] if x.device.type == "cpu" else [x.device], device_type=x.device.type):
                torch.manual_seed(own_seed(names[0], sample, seed))
                made.append(G(x, z).float())
        else:
            made.append(G(x, z).float())
    return torch.cat(made, 1)


def pictures_of(G: torch.nn.Module, opt: Any, x: Tensor, name: str, samples: int = 1) -> Tensor:
    """What predict.py makes of the picture x, uint8 [3, H, W], of that name: [samples * C', H, W] in [-1, 1]."""
    x = to_input(x[None].to(next(G.parameters()).device), opt.model.in_channels)
    return translate(G, x, [name], samples, nz=opt.model.z, dropout=opt.predict_dropout)[0]


def sample_rows(G: torch.nn.Module, shown: list[tuple], opt: Any) -> list[list[np.ndarray]]:
    """Rows input | fake (three with a latent) | target."""
    rows = []
    for name, x, y in shown:
        fakes = pictures_of(G, opt, x, name, 3 if opt.model.z else 1).split(opt.model.out_channels)
        rows.append([x.permute(1, 2, 0).numpy(), *map(to_picture, fakes), y.permute(1, 2, 0).numpy()])
    return rows


def add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("pix2pix")
    group.add_argument("--edges", action="store_true", help="the input is photos or drawings: use their edges")
    add_edge_arguments(group)


class Pix2PixPictures:
    """The pix2pix family's side of engine/folder.py. `maps` are the samples, [samples * C, H, W] in [-1, 1]."""

    legend = ()
    arguments = (add_arguments, add_sample_arguments)
    by_arguments = ("edges",)

    def __init__(self, opt: Any, args: Namespace):
        self.args, self.size, self.model = args, opt.data.size, opt.model
        self.input_half = 0 if opt.data.direction == "AtoB" else 1
        self.dropout = opt.predict_dropout
        self._check(args)
        self.prepare = partial(edge_picture, **edge_settings(args)) if args.edges else None
        one = "it has neither a latent (model.z) nor dropout in prediction (sample.dropout)"
        self.extra_suffixes = sample_suffixes(args, None if self.model.z or self.dropout else one)
        self.notes = Notes()

    @staticmethod
    def _check(args: Namespace) -> None:
        for name, default in {"sigma": SIGMA, "low": None, "high": None}.items():
            if getattr(args, name) != default and not args.edges:
                raise UserError(f"--{name}: says how --edges draws; add --edges, or leave it out", 2)

    def read(self, path: Path) -> np.ndarray:
        return self._read(path)[0]

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        """(what is translated, the target if the file holds one), uint8 [H, W, 3] each."""
        if not self._is_pair(path):
            return read_picture(path), None
        halves = read_two(Sample(path.stem, path, None))
        target = halves[1 - self.input_half]
        return target if self.args.edges else halves[self.input_half], target

    def _is_pair(self, path: Path) -> bool:
        """Whether the file is A|B: as --layout says; auto: by its shape, two networks' inputs wide (2:1 if square)."""
        if self.args.layout != "auto":
            return self.args.layout == "pair"
        double = is_double(path, self.size)
        if double:
            taken, other = ("one picture", "pair") if self.args.edges else ("A|B side by side", "single")
            shape = f"has the shape of two pictures, taken as {taken}"
            self.notes.once("pair", f"note: {path}: {shape}; --layout {other} changes that")
        return double and not self.args.edges

    def forward(self, network: torch.nn.Module, x: Tensor, names: Sequence[str]) -> Tensor:
        """uint8 [B, 3, H, W] -> [B, samples * C, H, W] in [-1, 1]."""
        a = self.args
        x = to_input(x, self.model.in_channels)
        return translate(network, x, names, a.samples, a.seed, a.sync, self.model.z, self.dropout)

    def rejects(self, picture: np.ndarray, maps: Tensor) -> None:
        return None

    def outputs(self, picture: np.ndarray, maps: Tensor) -> dict[str, Image.Image]:
        made = [to_picture(sample) for sample in maps.chunk(self.args.samples)]
        return sample_files(picture, made, self.extra_suffixes, self.args.pairs)

    def views(self, path: Path, network: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        picture, target = self._read(path)
        after = {} if target is None else {"target": target}
        if not self.args.edges:
            return {"input": picture}, after
        before = {"picture": picture} if target is None else {}  # else the target is that picture
        return before | {"edges": network.seen(picture)}, after
