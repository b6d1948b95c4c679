"""Prediction from folder to folder: which files, in which batches, what failed. The family reads and writes."""

import sys
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from data.images import list_pictures, require_size
from engine.errors import UserError
from engine.gallery import Figure
from engine.network import Item, Network
from engine.png import write_png
from engine.progress import progress
from engine.threads import Threads


class Pictures(Protocol):
    """What a family says about its files (data/FAMILY_io.py). read, rejects and outputs run in threads."""

    arguments: Sequence[Callable]  # each adds to the parser of predict.py; families may share them
    extra_suffixes: Mapping[str, str]  # endings of further files written beside NAME.png (NAME + ending) -> titles
    prepare: Callable[[np.ndarray], np.ndarray] | None  # Network's
    dropout: bool  # whether the network's dropout is on; every picture then runs alone
    legend: Sequence[tuple[str, tuple[int, int, int]]]  # names and colours under the gallery's title
    by_arguments: Collection[str]  # titles of those views that show what the command's arguments make of an input

    def read(self, path: Path) -> np.ndarray: ...  # uint8 [H, W, 3], or ids and their colours [H, W, 4]
    def forward(self, network: torch.nn.Module, x: torch.Tensor, names: Sequence[str]) -> torch.Tensor: ...  # Network's
    def rejects(self, picture: np.ndarray, maps: torch.Tensor) -> str | None: ...  # why nothing is written
    def outputs(self, picture: np.ndarray, maps: torch.Tensor) -> dict[str, Image.Image]: ...  # ending -> picture

    def views(self, path: Path, network: Network) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
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


def predict_folder(jobs: list[Job], pictures: Pictures, network: Network, overwrite: bool, workers: int = 0) -> Report:
    """Predict every job; a file that fails is reported and the others go on.

    Reading and writing are done in `workers` threads while the network runs (0: one after the other). The outputs do
    not depend on them. At most 2 * workers + 8 * batch pictures are in memory at once.

    Raises:
        UserError: an output cannot be written.
    """
    report, todo = Report(), []
    for job in jobs:
        names = [beside(job.target, suffix) for suffix in ("", *pictures.extra_suffixes)]
        done = all(name.is_file() for name in names) and not overwrite
        (report.existing if done else todo).append(job)
    window = workers + network.batch  # so that the next batch is read while one runs
    with Threads(workers) as threads:
        read = threads.in_order(partial(_read, pictures, network), todo, window)
        items = network.maps(_sound(read, report))
        written = threads.in_order(partial(_write, pictures, network), items, window)
        for job, reason in progress(written, len(todo), "predict", "picture"):
            if reason is None:
                report.written.append(job)
            else:
                report.rejected[reason] += 1
                tqdm.write(f"{job.source}: left out: {reason}")
    return report


def _read(pictures: Pictures, network: Network, job: Job) -> Item | UserError:
    try:
        return network.item(job, require_size(pictures.read(job.source), job.source))
    except UserError as error:
        return error


def _sound(read: Iterable[Item | UserError], report: Report) -> Iterator[Item]:
    """What could be read; what could not is reported."""
    for item in read:
        if isinstance(item, UserError):
            report.failed.append(str(item))
            tqdm.write(f"error: {item}", file=sys.stderr)
        else:
            yield item


def _write(pictures: Pictures, network: Network, item: Item) -> tuple[Job, str | None]:
    """(job, why nothing was written of it)."""
    maps = network.restored(item)
    reason = pictures.rejects(item.picture, maps)
    if reason is None:
        for suffix, output in pictures.outputs(item.picture, maps).items():
            write_png(output, beside(item.job.target, suffix))
    return item.job, reason


def figures(
    jobs: Iterable[Job], pictures: Pictures, network: Network, earlier: Collection[Job] = ()
) -> Iterator[Figure]:
    """What the gallery shows of every job: the family's views around the outputs that are there.

    earlier: jobs whose outputs are from an earlier run; its arguments are not known, nor what they made of an input.
    """
    titles = {"": "output", **pictures.extra_suffixes}
    for job in jobs:
        try:
            before, after = pictures.views(job.source, network)
        except UserError:  # its output is from an earlier prediction
            before, after = {"input": None}, {}
        if job in earlier:
            before, after = (
                {title: None if title in pictures.by_arguments else view for title, view in views.items()}
                for views in (before, after)
            )
        outputs = {title: beside(job.target, suffix) for suffix, title in titles.items()}
        yield Figure(job.name, before | outputs | after)
