"""Prediction from folder to folder: which files, in which batches, what failed. The family reads and writes."""

import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from data.fit import Fitted, blend_weights, fit_picture, pad_to, tiles, unfit
from data.images import list_pictures, require_size
from engine.errors import UserError
from engine.files import whole_file
from engine.gallery import Figure
from engine.progress import progress


class Pictures(Protocol):
    """What a family says about its files (data/FAMILY_io.py)."""

    arguments: Sequence[Callable]  # each adds to the parser of predict.py; families may share them
    extra_suffixes: Mapping[str, str]  # endings of further files written beside NAME.png (NAME + ending) -> titles
    prepare: Callable[[np.ndarray], np.ndarray] | None  # Network's
    dropout: bool  # whether the network's dropout is on; every picture then runs alone
    legend: Sequence[tuple[str, tuple[int, int, int]]]  # names and colours under the gallery's title

    def read(self, path: Path) -> np.ndarray: ...  # uint8 [H, W, 3], or ids and their colours [H, W, 4]
    def forward(self, network: torch.nn.Module, x: torch.Tensor, names: Sequence[str]) -> torch.Tensor: ...  # Network's
    def rejects(self, picture: np.ndarray, maps: torch.Tensor) -> str | None: ...  # why nothing is written
    def outputs(self, picture: np.ndarray, maps: torch.Tensor) -> dict[str, Image.Image]: ...  # ending -> picture

    def views(self, path: Path, network: "Network") -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """What the gallery shows before and after the outputs: title -> uint8 [H, W, 3]."""


def add_arguments(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("seg, pix2pix and spade")
    group.add_argument(
        "--input", type=Path, help="a picture or a folder (with its sub-folders); outputs have the same names, as PNG"
    )
    group.add_argument(
        "--fit",
        choices=("pad", "crop", "stretch", "tile"),
        default="pad",
        help="how a picture meets the network's size: pad (default), crop, stretch, or tile (windows at native scale)",
    )
    group.add_argument(
        "--layout",
        choices=("auto", "single", "pair"),
        default="auto",
        help="what a 2:1 picture is: single, or a pair of input and target (auto: as the family has it)",
    )
    group.add_argument("--limit", type=int, help="only the first N pictures")
    group.add_argument("--pairs", action="store_true", help="write input|output side by side as NAME.png")


@dataclass(frozen=True)
class Job:
    source: Path
    target: Path
    name: str  # posix path below the folder, without suffix


@dataclass
class Report:
    """What became of the files of a folder."""

    written: list[Job] = field(default_factory=list)
    existing: list[Job] = field(default_factory=list)
    rejected: Counter = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def summary(self) -> str:
        parts = [f"{len(self.written)} predicted"]
        if self.existing:
            parts.append(f"{len(self.existing)} already there (--overwrite predicts them again)")
        parts += [f"{count} left out: {reason}" for reason, count in sorted(self.rejected.items())]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        return ", ".join(parts)


def find_jobs(
    source: Path, output: Path, suffixes: Collection[str], limit: int | None = None, reserved: tuple[str, ...] = ()
) -> list[Job]:
    """The input files and where their outputs go: NAME.png, sub-folders kept.

    Args:
        suffixes: endings of further files beside NAME.png; `reserved`: names in `output` that no picture may take.

    Raises:
        UserError: no input, an output that is an input or a file, or two inputs with one output name.
    """
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output}: is a file; name a folder")
    if source.is_file():
        paths, base = [source], source.parent
    else:
        paths, base = list_pictures(source), source
        if output.resolve() == source.resolve():
            raise UserError(f"--output {output}: is the input folder; name another one")
        inside = output.resolve()
        paths = [path for path in paths if inside not in path.resolve().parents]
    below = [path.relative_to(base) for path in paths[:limit]]
    jobs = [Job(base / path, output / path.with_suffix(".png"), path.with_suffix("").as_posix()) for path in below]
    taken = {str(output / name).casefold(): Path("the program") for name in reserved}
    for job in jobs:
        if job.target.resolve() == job.source.resolve():
            raise UserError(f"{job.source}: its output would overwrite it; name another --output")
        for suffix in ("", *suffixes):
            target = beside(job.target, suffix)
            require_file_place(target)
            name = str(target).casefold()  # some file systems do not tell the case
            if name in taken:
                raise UserError(f"{job.source}: its output {target} is also that of {taken[name]}; rename one")
            taken[name] = job.source
    return jobs


def require_file_place(target: Path) -> None:
    if target.is_dir():
        raise UserError(f"{target}: a folder stands where an output should go; name another --output")


def beside(target: Path, suffix: str) -> Path:
    """NAME.png, or NAME + suffix beside it."""
    return target.with_name(target.stem + suffix) if suffix else target


class Network:
    """A network applied to pictures of any size: `maps(pictures)` are [C, H, W] on the CPU at each input's size.

    Args:
        forward: uint8 tensor [B, 3 (4), h, w] and the names of the B pictures -> float maps [B, C, h, w], on `device`.
        size: the network's size (H, W), or native: every picture as it is.
        fit: pad | crop | stretch | tile (windows at native scale, overlapping by a quarter).
        prepare: uint8 [h, w, C] -> uint8 [h, w, C], done to a picture at the scale at which the network sees it.
    """

    TILE = 512  # a window's side where the options give no size

    def __init__(
        self, forward: Callable, size: Any, fit: str, batch: int, device: torch.device, prepare: Callable | None = None
    ):
        self.forward, self.size, self.fit, self.batch, self.device = forward, size, fit, batch, device
        self.prepare = prepare or (lambda picture: picture)

    def maps(self, items: Iterable[tuple[Job, np.ndarray]]) -> Iterator[tuple[Job, np.ndarray, torch.Tensor]]:
        """(job, picture) -> (job, picture, maps), in batches of equal size."""
        waiting: dict[tuple, list] = {}
        for job, picture in items:
            if self.fit == "tile":
                yield job, picture, self._tiled(job.name, picture)
                continue
            fitted = self._fitted(picture)
            group = waiting.setdefault(fitted.picture.shape, [])
            group.append((job, picture, fitted))
            if len(group) == self.batch:
                yield from self._run(waiting.pop(fitted.picture.shape))
            elif sum(map(len, waiting.values())) >= 4 * self.batch:  # many sizes: do not hold them all
                yield from self._run(waiting.pop(max(waiting, key=lambda shape: len(waiting[shape]))))
        for group in waiting.values():
            yield from self._run(group)

    def seen(self, picture: np.ndarray) -> np.ndarray:
        """The picture as the network sees it, uint8 [h, w, 3], without padding."""
        if self.fit == "tile":
            height, width = picture.shape[:2]
            return self._windowed(picture)[:height, :width]
        fitted = self._fitted(picture)
        top, left, height, width = fitted.inside
        return fitted.picture[top : top + height, left : left + width]

    def _fitted(self, picture: np.ndarray) -> Fitted:
        if self.size == "native":
            whole = (0, 0, *picture.shape[:2])
            fitted = Fitted(picture, picture.shape[:2], whole, whole)
        else:
            fitted = fit_picture(picture, self.size, self.fit)
        return replace(fitted, picture=self.prepare(fitted.picture))

    def _run(self, group: list) -> Iterator[tuple[Job, np.ndarray, torch.Tensor]]:
        maps = self._forward([fitted.picture for _, _, fitted in group], [job.name for job, _, _ in group])
        for (job, picture, fitted), own in zip(group, maps, strict=True):
            yield job, picture, unfit(own, fitted)

    def _forward(self, pictures: list[np.ndarray], names: list[str]) -> torch.Tensor:
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
        return self.forward(x.to(self.device), names).float().cpu()

    def _window(self) -> tuple[int, int]:
        return (self.TILE, self.TILE) if self.size == "native" else tuple(self.size)

    def _windowed(self, picture: np.ndarray) -> np.ndarray:
        """The picture that the windows are cut from, at least as large as one."""
        return self.prepare(pad_to(picture, self._window()))

    def _tiled(self, name: str, picture: np.ndarray) -> torch.Tensor:
        """Overlapping windows at native scale, blended by linear ramps."""
        size = self._window()
        overlap = min(size) // 4
        height, width = picture.shape[:2]
        padded = self._windowed(picture)
        places, weight = tiles(*padded.shape[:2], size, overlap), blend_weights(size, overlap)
        total = norm = None
        for i in range(0, len(places), self.batch):
            group = places[i : i + self.batch]
            windows = [padded[top : top + size[0], left : left + size[1]] for top, left in group]
            for (top, left), own in zip(group, self._forward(windows, [name] * len(group)), strict=True):
                if total is None:
                    total = torch.zeros(own.shape[0], *padded.shape[:2])
                    norm = torch.zeros(padded.shape[:2])
                total[:, top : top + size[0], left : left + size[1]] += own * weight
                norm[top : top + size[0], left : left + size[1]] += weight
        return (total / norm)[:, :height, :width]


def predict_folder(jobs: list[Job], pictures: Pictures, network: Network, overwrite: bool) -> Report:
    """Predict every job; a file that fails is reported and the others go on."""
    report = Report()
    todo = []
    for job in jobs:
        names = [beside(job.target, suffix) for suffix in ("", *pictures.extra_suffixes)]
        done = all(name.is_file() for name in names) and not overwrite
        (report.existing if done else todo).append(job)

    def fail(error: UserError) -> None:
        report.failed.append(str(error))
        tqdm.write(f"error: {error}", file=sys.stderr)

    def read() -> Iterator[tuple[Job, np.ndarray]]:
        for job in progress(todo, len(todo), "predict", "picture"):
            try:
                yield job, require_size(pictures.read(job.source), job.source)
            except UserError as error:
                fail(error)

    for job, picture, maps in network.maps(read()):
        reason = pictures.rejects(picture, maps)
        if reason:
            report.rejected[reason] += 1
            tqdm.write(f"{job.source}: left out: {reason}")
            continue
        for suffix, output in pictures.outputs(picture, maps).items():
            with whole_file(beside(job.target, suffix)) as part:
                output.save(part, "PNG")
        report.written.append(job)
    return report


def figures(jobs: Iterable[Job], pictures: Pictures, network: Network) -> Iterator[Figure]:
    """What the gallery shows of every job: the family's views around the outputs that are there."""
    titles = {"": "output", **pictures.extra_suffixes}
    for job in jobs:
        try:
            before, after = pictures.views(job.source, network)
        except UserError:  # its output is from an earlier prediction
            before, after = {"input": None}, {}
        outputs = {title: beside(job.target, suffix) for suffix, title in titles.items()}
        yield Figure(job.name, before | outputs | after)
