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

from data.colors import BLACK, color_map, hair_color, parse_color, random_color
from data.files import by_stem, is_double, read_label_and_color, split_columns
from data.fit import cover_crop, resize
from data.images import picture_size, read_picture
from data.palette import IGNORED, LabelError, Palette, colorize, decode_label, palette_of
from data.picture_io import Notes, add_sample_arguments, own_generator, sample_files, sample_suffixes, to_picture
from data.spade import masked_color, one_hot_label
from engine.errors import UserError

MOST_NAMED = 12  # classes that an error lists


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
    style: Tensor | None = None,
) -> Tensor:
    """The pictures that G paints of label maps: [B, samples * 3, H, W] in [-1, 1], on G's device.

    Args:
        ids: uint8 [B, H, W], 255: no class.
        color: hair colours, uint8 [B, 3, H, W]; not looked at by a G without colour branch.
        names: of the B pictures; chance depends on (seed, name, sample) only.
        sync: the same chance for every name.
        style: [1, model.style] for all pictures instead of drawn ones; leaves the noises as they are.
    """
    if sync:
        names = [""] * len(names)
    assert len(names) == len(ids), (names, ids.shape)
    data, device = opt.data, next(G.parameters()).device
    m = one_hot_label(ids.to(device), len(data.class_names), data.background_id)
    c = masked_color(color.to(device), m, data.hair_channel) if data.color else None
    shapes, made = G.noise_shapes(*m.shape[2:]), []
    for sample in range(samples):
        drawn, noise = draw(names, sample, seed, opt.model.style, shapes)
        own = drawn if style is None else style.expand(len(names), -1)
        own, noise = None if own is None else own.to(device), [n.to(device) for n in noise]
        made.append(G(m, c, noise=noise, style=own).float())
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


@torch.no_grad()
def encode_style(G: torch.nn.Module, picture: np.ndarray) -> Tensor:
    """The mean style [1, model.style] that G's encoder sees in a picture, uint8 [H, W, 3] of the network's size."""
    x = torch.from_numpy(picture).permute(2, 0, 1)[None].to(next(G.parameters()).device)
    return G.encoder(x.float() / 127.5 - 1)[0].float()


def sample_rows(G: torch.nn.Module, shown: list[tuple], opt: Any, palette: Palette) -> list[list[np.ndarray]]:
    """Rows label | real | fake."""
    fakes = (to_picture(paint(G, ids[None], color[None], opt, [name])[0]) for name, _, ids, color in shown)
    firsts = ([colorize(ids.numpy(), palette), x.permute(1, 2, 0).numpy()] for _, x, ids, _ in shown)
    return [[*row, fake] for row, fake in zip(firsts, fakes, strict=True)]


def add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("spade")
    group.add_argument(
        "--hair-color",
        metavar="'#rrggbb'|random",
        help="of all pictures, or random: each its own by --seed (default: the colour beside a label, else random)",
    )
    group.add_argument(
        "--hair-from",
        metavar="DIR",
        help="take each label's hair colour from the picture of the same name in DIR: the median where the label says "
        "hair",
    )
    group.add_argument(
        "--style-from", metavar="PICTURE", help="the style of all pictures (model.style); default: each draws its own"
    )


class SpadeLabels:
    """The SPADE family's side of engine/folder.py. `maps` are the samples, [samples * 3, H, W] in [-1, 1].

    What it reads is uint8 [H, W, 4]: a label's ids and, beside each, its hair colour.
    """

    prepare = None
    dropout = False
    arguments = (add_arguments, add_sample_arguments)
    by_arguments = ("hair colour",)

    def __init__(self, opt: Any, args: Namespace):
        self.opt, self.args = opt, args
        self.palette = palette_of(opt.data.classes)
        self.legend = list(zip(self.palette.names, self.palette.colors, strict=True))
        self.extra_suffixes = sample_suffixes(args, self._one_picture())
        self._check(args)
        self.hair_color = parse_color(args.hair_color) if args.hair_color not in (None, "random") else None
        self.hair_pictures = _pictures_in(args.hair_from) if args.hair_from is not None else None
        self.style_picture = None
        if args.style_from is not None:
            self.style_picture = cover_crop(_read_style_picture(args.style_from), opt.data.size)  # as in training
        self.style: Tensor | None = None
        self.notes = Notes()

    def _one_picture(self) -> str | None:
        """Why there is only one picture of a label, None: chance makes several."""
        model = self.opt.model
        if model.generator == "mapping" and model.noise:
            return None
        if self.args.style_from is not None:
            return "it has no noise, and --style-from gives the style"
        return None if model.style else "it has neither noise nor a style (model.style)"

    def _check(self, args: Namespace) -> None:
        """Arguments that exclude each other, or that this checkpoint has no use for."""
        if args.hair_from is not None and args.hair_color is not None:
            raise UserError(f"--hair-from {args.hair_from}: --hair-color {args.hair_color} too; give one of them", 2)
        given = {
            "--hair-color": args.hair_color is not None,
            "--hair-from": args.hair_from is not None,
            "--layout pair": args.layout == "pair",
        }
        word = next((word for word, there in given.items() if there), None)
        if word and not self.opt.data.color:
            raise UserError(f"{word}: this checkpoint paints labels without hair colours (data.color); leave it out", 2)
        if args.style_from is not None and not self.opt.model.style:
            raise UserError(
                f"--style-from {args.style_from}: this checkpoint has no style (model.style); leave it out", 2
            )

    def read(self, path: Path) -> np.ndarray:
        stack, colored = self._read(path)
        if self.opt.data.color and not (stack[..., 0] == self.palette.names.index(self.opt.data.hair)).any():
            tqdm.write(f"note: {path}: no {self.opt.data.hair} in the label: its colour has no effect")
        elif self.opt.data.color and not colored:
            self.notes.once("random", f"note: {path}: no colour beside the label: a random one, as --hair-color random")
        return stack

    def _read(self, path: Path) -> tuple[np.ndarray, bool]:
        """(ids and colours uint8 [H, W, 4], whether the colour was asked for or read from the file)."""
        ids, colors = self._decoded(path)
        asked = self.args.hair_color is not None or self.hair_pictures is not None
        colored = colors is not None or asked
        if colors is None or asked:
            colors = color_map(self._color(path, ids), ids.shape)
        return np.dstack([ids, colors]), colored

    def _decoded(self, path: Path) -> tuple[np.ndarray, np.ndarray | None]:
        """read_label_and_color; its errors speak of the label, not of options, which here are the checkpoint's."""
        data = self.opt.data
        try:
            return read_label_and_color(path, self._is_pair(path), self.palette, data.ignore, data.label_colors)
        except UserError as error:
            label = error.__cause__
            if not isinstance(label, LabelError):
                raise
            trained_on = self._training_file(path)
            if trained_on:
                rest = "the picture" if data.color else "all but the label"
                raise UserError(
                    f"{path}: a file to train on, {trained_on} side by side: cut off {rest}, or give the folder of "
                    "label maps as --input"
                ) from error
            raise UserError(str(error).replace(label.remedy, _remedy(self.palette, data.label_colors))) from error

    def _training_file(self, path: Path) -> str | None:
        """What stands side by side in a file in which no label was found, if it is one that train_spade.py reads."""
        width, height = picture_size(path)
        if width == 3 * height and self._classes_in(split_columns(path, 3)[1]) > 1:
            return "picture|label|hair colour"
        if width == 2 * height:
            left, right = map(self._classes_in, split_columns(path, 2))
            # a hair colour may be that of one class
            return "picture|label" if right > 1 and not left else None
        return None

    def _classes_in(self, column: Image.Image) -> int:
        """How many classes a picture shows, 0 if it is no label."""
        try:
            ids = decode_label(column, self.palette, self.opt.data.ignore, self.opt.data.label_colors)
        except LabelError:
            return 0
        return len(np.setdiff1d(ids, IGNORED))

    def _color(self, path: Path, ids: np.ndarray) -> np.ndarray:
        """The colour of a picture whose file has none, or that --hair-color or --hair-from overrides."""
        if not self.opt.data.color:
            return BLACK
        if self.hair_color is not None:
            return self.hair_color
        source = self.args.input
        below = path.relative_to(source) if path != source else Path(path.name)
        name = below.with_suffix("").as_posix()
        if self.hair_pictures is not None:
            return self._color_from_picture(path, ids, name)
        return random_color(name, self.args.seed)

    def _color_from_picture(self, path: Path, ids: np.ndarray, name: str) -> np.ndarray:
        """The median colour of a label's hair in the picture of --hair-from that bears its name."""
        folder, hair = self.args.hair_from, self.opt.data.hair
        if name not in self.hair_pictures:
            raise UserError(
                f"{path}: --hair-from {folder}: holds no picture {name}: add it, or use --hair-color instead"
            )
        picture = read_picture(self.hair_pictures[name])
        (height, width), (rows, columns) = picture.shape[:2], ids.shape
        if not 0.95 < width * rows / (height * columns) < 1.05:  # such as picture|label side by side
            shapes = f"{width}x{height} pixels, of another shape than its label ({columns}x{rows}), which is stretched"
            self.notes.once("shape", f"note: {self.hair_pictures[name]}: {shapes} over it")
        color = hair_color(picture, resize(ids, (height, width)) == self.palette.names.index(hair))
        if color is None:
            raise UserError(
                f"{path}: no {hair} in the label, for --hair-from to take its colour: use --hair-color instead"
            )
        return color

    def _is_pair(self, path: Path) -> bool:
        """Whether the file is label|colour: as --layout says; auto: by its shape. Never without a colour branch."""
        if not self.opt.data.color or self.args.layout != "auto":
            return self.args.layout == "pair"
        double = is_double(path, self.opt.data.size)
        if double:
            shape = "has the shape of two pictures, taken as label|colour side by side"
            self.notes.once("pair", f"note: {path}: {shape}; --layout single changes that")
        return double

    def forward(self, network: torch.nn.Module, x: Tensor, names: Sequence[str]) -> Tensor:
        """uint8 [B, 4, H, W] -> [B, samples * 3, H, W] in [-1, 1]."""
        a = self.args
        if self.style is None and self.style_picture is not None:
            self.style = encode_style(network, self.style_picture)
        return paint(network, x[:, 0], x[:, 1:], self.opt, names, a.samples, a.seed, a.sync, self.style)

    def rejects(self, picture: np.ndarray, maps: Tensor) -> None:
        return None

    def outputs(self, picture: np.ndarray, maps: Tensor) -> dict[str, Image.Image]:
        made = [to_picture(sample) for sample in maps.chunk(self.args.samples)]
        return sample_files(colorize(picture[..., 0], self.palette), made, self.extra_suffixes, self.args.pairs)

    def views(self, path: Path, network: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        stack, _ = self._read(path)
        label = {"label": colorize(stack[..., 0], self.palette)}
        return label | ({"hair colour": stack[..., 1:]} if self.opt.data.color else {}), {}


def _pictures_in(folder: str) -> dict[str, Path]:
    """The pictures of --hair-from by their names below it."""
    try:
        pictures, problems = by_stem(Path(folder))
    except UserError as error:
        raise UserError(f"--hair-from: {error}") from error
    if problems:
        raise UserError(f"--hair-from: {problems[0]}")
    return pictures


def _read_style_picture(path: str) -> np.ndarray:
    try:
        return read_picture(path)
    except UserError as error:
        raise UserError(f"--style-from: {error}") from error


def _remedy(palette: Palette, match: str) -> str:
    """How to make a label that a checkpoint with these classes reads."""
    ids = f"ids 0 to {len(palette) - 1} in grey ({IGNORED}: no class)"
    if match == "threshold" and not palette.pure:
        return f"save it as {ids}"
    named = zip(palette.names[:MOST_NAMED], palette.colors, strict=False)
    colors = ", ".join(f"{name} {color}" for name, color in named) + (", ..." if palette.names[MOST_NAMED:] else "")
    return f"save it as PNG in the class colours ({colors}), or as {ids}"
