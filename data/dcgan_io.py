"""The dcgan family's files in prediction: pictures of latents by number, walks between these."""

import math
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from data.classes import near_classes
from data.images import read_picture
from data.picture_io import to_picture
from engine.device import to_host
from engine.errors import UserError
from engine.files import whole_file
from engine.folder import require_file_place
from engine.gallery import Figure
from engine.logs import contact_sheet
from engine.make import Made
from engine.png import write_png
from engine.progress import progress
from engine.threads import Threads, delayed
from models.latents import SLICE, draw_latents, generate, linear, spherical

COUNT, STEPS = 64, 10
MOST_PICTURES, MOST_ROWS, MOST_STEPS, MOST_IN_GRID = 1_000_000, 100, 100, 1024
LEG, FRAME_MS = 25, 40  # frames from one latent of a walk to the next; GIF counts in 10 ms


INTERPOLATIONS = {"spherical": spherical, "linear": linear}


def add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("dcgan")
    group.add_argument(
        "--count",
        type=int,
        metavar="N",
        help=f"N pictures, 0000.png and so on (default {COUNT}; with --interpolate none): each is a function of --seed "
        "and its number",
    )
    group.add_argument(
        "--class",
        action="append",
        metavar="NAME",
        help="the class of all pictures; several (again, or NAME,NAME) at once (default: each draws one)",
    )
    group.add_argument(
        "--interpolate",
        type=int,
        metavar="R",
        help="walks between the latents of the first R pictures and back to the first: interpolation.png in R rows, "
        "walk.webp and walk.gif",
    )
    group.add_argument("--interpolation", choices=tuple(INTERPOLATIONS), help="how a walk goes (default spherical)")
    group.add_argument("--steps", type=int, metavar="N", help=f"columns of interpolation.png (default {STEPS})")


class GeneratedPictures:
    """The dcgan family's files: what of a checkpoint with these options `args` ask for.

    Raises:
        UserError (code 2): arguments out of range, or that do not fit together or the checkpoint.
    """

    arguments = ()

    def __init__(self, opt: Any, args: Namespace):
        self.opt, self.output, self.seed, self.overwrite = opt, args.output, args.seed, args.overwrite
        self.y = _named_classes(getattr(args, "class"), opt.data.classes)
        self.rows = args.interpolate or 0
        self._check(args)
        self.count = (0 if self.rows else COUNT) if args.count is None else args.count
        self.steps = args.steps or STEPS
        self.between = INTERPOLATIONS[args.interpolation or "spherical"]
        digits = max(4, len(str(self.count - 1)))
        self.pictures = [self.output / f"{i:0{digits}}.png" for i in range(self.count)]
        self.walk = [self.output / name for name in ("interpolation.png", "walk.webp", "walk.gif") if self.rows]

    def _check(self, args: Namespace) -> None:
        limits = {"count": (1, MOST_PICTURES), "interpolate": (1, MOST_ROWS), "steps": (2, MOST_STEPS)}
        for name, (least, most) in limits.items():
            value = getattr(args, name)
            if value is not None and not least <= value <= most:
                raise UserError(f"--{name} {value}: expected {least} to {most}", 2)
        for name in ("interpolation", "steps"):
            if getattr(args, name) is not None and not self.rows:
                raise UserError(f"--{name} {getattr(args, name)}: says how --interpolate walks; add that", 2)
        if args.grid and self.rows and args.count is None:
            raise UserError("--grid: with --interpolate there are no single pictures; add --count", 2)

    def write(self, G: nn.Module, workers: int = 0) -> str:
        """Make the files that are not there yet, or all; says how many. `workers`: threads that write pictures.

        Raises:
            UserError: a file cannot be written, or something else stands in its place.
        """
        files = [*self.pictures, *self.walk]
        for file in files:
            require_file_place(file)
        existing = set() if self.overwrite else {file for file in files if file.is_file()}
        todo = [i for i, file in enumerate(self.pictures) if file not in existing]
        if todo:
            with Threads(workers) as threads:
                written = threads.in_order(self._write_picture, self._generated(G, todo), workers + SLICE)
                for _ in progress(written, len(todo), "generate", "picture"):
                    pass
        walk = [file for file in self.walk if file not in existing]
        if walk:
            self._write_walk(G, walk)
        return Made([*(self.pictures[i] for i in todo), *walk]).summary(len(existing))

    def _latents(self, indices: Sequence[int]) -> tuple[Tensor, Tensor | None]:
        z, y = draw_latents(self.opt, indices, self.seed)
        return z, y if self.y is None else self.y.expand(len(z), -1)

    def _generated(self, G: nn.Module, todo: list[int]) -> Iterator[tuple[int, Tensor]]:
        """(number, [3, S, S] in [-1, 1]) of these pictures, each with the same neighbours as if all were made."""
        slices = ((list(numbers), self._slice(G, place)) for place, numbers in groupby(todo, lambda i: i // SLICE))
        for numbers, fetch in delayed(slices, by=1):  # G makes the next slice while one is copied and written
            made = fetch()
            yield from ((i, made[i % SLICE]) for i in numbers)

    def _slice(self, G: nn.Module, place: int) -> Callable[[], Tensor]:
        return to_host(generate(G, *self._latents(range(place * SLICE, (place + 1) * SLICE))))

    def _write_picture(self, made: tuple[int, Tensor]) -> None:
        i, picture = made
        write_png(Image.fromarray(to_picture(picture)), self.pictures[i])

    def _write_walk(self, G: nn.Module, files: list[Path]) -> None:
        """The sheet and the animation: rows of a closed walk, each from a latent to the next."""
        z, y = self._latents(range(max(2, self.rows)))  # one row: there and, in the animation, back
        columns, frames = torch.linspace(0, 1, self.steps), torch.arange(LEG) / LEG
        t, sheet, film = torch.cat([columns, frames]), [], []
        for a in progress(range(len(z)), len(z), "walk", "row"):
            b = (a + 1) % len(z)
            made = generate(G, self.between(z[a], z[b], t), None if y is None else linear(y[a], y[b], t))
            shown = [to_picture(one) for one in made]
            sheet.append(shown[: self.steps])
            film += [Image.fromarray(one) for one in shown[self.steps :]]
        for file in files:
            if file.suffix == ".png":
                _save(Image.fromarray(contact_sheet(sheet[: self.rows])), file)
            else:
                _save(film[0], file, save_all=True, append_images=film[1:], duration=FRAME_MS, loop=0, lossless=True)

    def figures(self) -> Iterator[Figure]:
        """What the gallery shows."""
        if self.walk:
            sheet, film, _ = self.walk
            yield Figure("interpolation", {"rows": sheet, "walk": film})
        for file in self.pictures:
            yield Figure(file.stem, {"": file})

    def write_grid(self) -> None:
        """grid.png: the first pictures, in rows of 8, or as many as there are rows."""
        shown = [read_picture(file) for file in self.pictures[:MOST_IN_GRID]]
        across = max(8, math.ceil(math.sqrt(len(shown))))
        rows = [shown[i : i + across] for i in range(0, len(shown), across)]
        _save(Image.fromarray(contact_sheet(rows)), self.output / "grid.png")


def _save(picture: Image.Image, file: Path, **how: Any) -> None:
    with whole_file(file) as part:
        picture.save(part, file.suffix[1:].upper(), **how)


def _named_classes(given: Sequence[str] | None, classes: Sequence[str]) -> Tensor | None:
    """--class as y [K] of 0 and 1, None if it was not given."""
    if given is None:
        return None
    if not classes:
        raise UserError(f"--class {given[0]}: this checkpoint knows no classes (data.labels); leave it out", 2)
    y = torch.zeros(len(classes))
    for words in given:
        # a class may itself be called by a name with commas
        for name in [words] if words in classes else words.split(","):
            y[_class_id(name.strip(), classes)] = 1
    return y


def _class_id(name: str, classes: Sequence[str]) -> int:
    if name not in classes:
        raise UserError(f"--class {name}: no class of this checkpoint; {near_classes(name, classes)}", 2)
    return classes.index(name)
