"""What the families that paint pictures share in prediction: samples of an input, chance by name, pictures."""

import hashlib
import threading
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from engine.errors import UserError

MOST_SAMPLES = 999


class Notes:
    """Notes about the first file that they hold for, where files are read in threads."""

    def __init__(self) -> None:
        self.said: set[str] = set()
        self.lock = threading.Lock()

    def once(self, what: str, line: str) -> None:
        with self.lock:
            if what not in self.said:
                self.said.add(what)
                tqdm.write(line)


def add_sample_arguments(parser: ArgumentParser) -> None:
    """--samples and --sync."""
    group = parser.add_argument_group("pix2pix and spade")
    group.add_argument(
        "--samples", type=int, default=1, metavar="N", help="N pictures of each input: NAME.png, NAME_2.png, ..."
    )
    group.add_argument("--sync", action="store_true", help="the same chance (z, dropout, noise) for every picture")


def sample_suffixes(args: Namespace, one_picture: str | None) -> dict[str, str]:
    """Endings of the files of further samples -> their titles; none with --pairs, which puts all into one file.

    Args:
        one_picture: why this checkpoint makes only one picture of an input, None: it makes several.

    Raises:
        UserError (code 2): --samples out of range, --samples or --sync where there is no chance.
    """
    if not 1 <= args.samples <= MOST_SAMPLES:
        raise UserError(f"--samples {args.samples}: expected 1 to {MOST_SAMPLES}", 2)
    word = f"--samples {args.samples}" if args.samples > 1 else "--sync" if args.sync else None
    if word and one_picture:
        raise UserError(
            f"{word}: this checkpoint makes one picture of an input, always the same: {one_picture}; leave it out", 2
        )
    more = () if args.pairs else range(2, args.samples + 1)
    return {f"_{k}.png": f"output {k}" for k in more}


def sample_files(
    shown: np.ndarray, made: Sequence[np.ndarray], suffixes: dict[str, str], pairs: bool
) -> dict[str, Image.Image]:
    """The samples of an input, uint8 [H, W, 3] each, by their files' endings; pairs: side by side, the input first."""
    if pairs:
        return {"": Image.fromarray(np.concatenate([shown, *made], axis=1))}
    return {suffix: Image.fromarray(y) for suffix, y in zip(("", *suffixes), made, strict=True)}


def to_levels(y: Tensor) -> Tensor:
    """float in [-1, 1] -> uint8 of the same shape, rounded to the nearest."""
    return ((y.float() + 1) * 127.5 + 0.5).floor().clamp(0, 255).byte()


def to_picture(y: Tensor) -> np.ndarray:
    """float [1 or 3, H, W] in [-1, 1] -> uint8 [H, W, 3]."""
    return to_levels(y).expand(3, -1, -1).permute(1, 2, 0).contiguous().cpu().numpy()


def own_seed(name: str, sample: int, seed: int) -> int:
    """A seed for torch that is a function of the arguments alone."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{sample}/{name}".encode()).digest()[:7])


def own_generator(name: str, sample: int, seed: int) -> torch.Generator:
    """Chance that depends on the arguments alone: the same on every machine, in any batch and order."""
    return torch.Generator().manual_seed(own_seed(name, sample, seed))
