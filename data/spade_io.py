"""Reading and writing the SPADE family's pictures in prediction: label maps, hair colours, noise by name, samples."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from data.colors import BLACK, color_map, parse_color, random_color
from data.files import is_double, read_label_and_color
from data.palette import colorize, palette_of
from data.picture_io import add_sample_arguments, own_generator, sample_files, sample_suffixes, to_picture
from data.spade import masked_color, one_hot_label
from engine.errors import UserError


@torch.no_grad()
def paint(
    G: torch.nn.Module,
    ids: Tensor,
    color: Tensor,
    opt: Any,
    names: Sequence[str],
    samples: int = 1,
    seed: int = 0,
    sync: bool = False,
) -> Tensor:
    """The pictures that G paints of label maps: [B, samples * 3, H, W] in [-1, 1], on G's device.

    Args:
        ids: uint8 [B, H, W], 255: no class.
        color: hair colours, uint8 [B, 3, H, W]; not looked at by a G without colour branch.
        names: of the B pictures; chance depends on (seed, name, sample) only.
        sync: the same chance for every name.
    """
    if sync:
        names = [""] * len(names)
    assert len(names) == len(ids), (names, ids.shape)
    data, device = opt.data, next(G.parameters()).device
    m = one_hot_label(ids.to(device), len(data.class_names), data.background_id)
    c = masked_color(color.to(device), m, data.hair_channel) if data.color else None
    shapes, made = G.noise_shapes(*m.shape[2:]), []
    for sample in range(samples):
        style, noise = draw(names, sample, seed, opt.model.style, shapes)
        style, noise = None if style is None else style.to(device), [n.to(device) for n in noise]
        made.append(G(m, c, noise=noise, style=style).float())
    return torch.cat(made, 1)


def draw(
    names: Sequence[str], sample: int, seed: int, style: int, shapes: Sequence[tuple[int, int]]
) -> tuple[Tensor | None, list[Tensor]]:
    """N(0, 1) for B pictures, by (seed, name, sample): a style [B, style], None if 0, and noises [B, 1, h, w]."""
    styles, noises = [], []
    for name in names:
        chance = own_generator(name, sample, seed)
        styles.append(torch.randn(style, generator=chance))
        noises.append([torch.randn(1, *shape, generator=chance) for shape in shapes])
    return torch.stack(styles) if style else None, [torch.stack(same) for same in zip(*noises, strict=True)]


def add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("spade")
    group.add_argument(
        "--hair-color",
        metavar="'#rrggbb'|random",
        help="of all pictures, or random: each its own by --seed (default: the colour beside a label, else random)",
    )


class SpadeLabels:
    """The SPADE family's side of engine/folder.py. `maps` are the samples, [samples * 3, H, W] in [-1, 1].

    What it reads is uint8 [H, W, 4]: a label's ids and, beside each, its hair colour.
    """

    prepare = None
    dropout = False
    arguments = (add_arguments, add_sample_arguments)

    def __init__(self, opt: Any, args: Namespace):
        self.opt, self.args = opt, args
        self.palette = palette_of(opt.data.classes)
        self.legend = list(zip(self.palette.names, self.palette.colors, strict=True))
        draws = opt.model.style or (opt.model.generator == "mapping" and opt.model.noise)
        self.extra_suffixes = sample_suffixes(args, None if draws else "it has neither noise nor a style (model.style)")
        self._check(args)
        self.hair_color = parse_color(args.hair_color) if args.hair_color not in (None, "random") else None
        self.said: set[str] = set()

    def _check(self, args: Namespace) -> None:
        if self.opt.data.color:
            return
        word = "--hair-color" if args.hair_color is not None else "--layout pair" if args.layout == "pair" else None
        if word:
            raise UserError(f"{word}: this checkpoint paints labels without hair colours (data.color); leave it out", 2)

    def read(self, path: Path) -> np.ndarray:
        stack, colored = self._read(path)
        if self.opt.data.color and not (stack[..., 0] == self.palette.names.index(self.opt.data.hair)).any():
            tqdm.write(f"note: {path}: no {self.opt.data.hair} in the label: its colour has no effect")
        elif self.opt.data.color and not colored:
            self._say("random", f"note: {path}: no colour beside the label: a random one, as --hair-color random")
        return stack

    def _read(self, path: Path) -> tuple[np.ndarray, bool]:
        """(ids and colours uint8 [H, W, 4], whether the colour was asked for or read from the file)."""
        data = self.opt.data
        ids, colors = read_label_and_color(path, self._is_pair(path), self.palette, data.ignore, data.label_colors)
        colored = colors is not None or self.args.hair_color is not None
        if colors is None or self.args.hair_color is not None:
            colors = color_map(self._color(path), ids.shape)
        return np.dstack([ids, colors]), colored

    def _color(self, path: Path) -> np.ndarray:
        """The colour of a picture whose file has none, or that --hair-color overrides."""
        if not self.opt.data.color:
            return BLACK
        if self.hair_color is not None:
            return self.hair_color
        source = self.args.input
        name = path.relative_to(source) if path != source else Path(path.name)
        return random_color(name.with_suffix("").as_posix(), self.args.seed)

    def _is_pair(self, path: Path) -> bool:
        """Whether the file is label|colour: as --layout says; auto: by its shape. Never without a colour branch."""
        if not self.opt.data.color or self.args.layout != "auto":
            return self.args.layout == "pair"
        double = is_double(path, self.opt.data.size)
        if double:
            shape = "has the shape of two pictures, taken as label|colour side by side"
            self._say("pair", f"note: {path}: {shape}; --layout single changes that")
        return double

    def _say(self, what: str, line: str) -> None:
        """A note about the first file that it holds for."""
        if what not in self.said:
            self.said.add(what)
            tqdm.write(line)

    def forward(self, network: torch.nn.Module, x: Tensor, names: Sequence[str]) -> Tensor:
        """uint8 [B, 4, H, W] -> [B, samples * 3, H, W] in [-1, 1]."""
        a = self.args
        return paint(network, x[:, 0], x[:, 1:], self.opt, names, a.samples, a.seed, a.sync)

    def rejects(self, picture: np.ndarray, maps: Tensor) -> None:
        return None

    def outputs(self, picture: np.ndarray, maps: Tensor) -> dict[str, Image.Image]:
        made = [to_picture(sample) for sample in maps.chunk(self.args.samples)]
        return sample_files(colorize(picture[..., 0], self.palette), made, self.extra_suffixes, self.args.pairs)

    def views(self, path: Path, network: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        stack, _ = self._read(path)
        label = {"label": colorize(stack[..., 0], self.palette)}
        return label | ({"hair colour": stack[..., 1:]} if self.opt.data.color else {}), {}
