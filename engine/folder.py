"""Prediction from folder to folder: which files, in which batches, what failed. The family reads and writes."""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
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
from engine.progress import progress


class Pictures(Protocol):
    """What a family says about its files (data/FAMILY_io.py)."""

    extra_suffixes: tuple[str, ...]  # endings of further files written beside NAME.png: NAME + ending

    def read(self, path: Path) -> np.ndarray: ...  # uint8 [H, W, 3]
    def rejects(self, picture: np.ndarray, maps: torch.Tensor) -> str | None: ...  # why nothing is written
    def outputs(self, picture: np.ndarray, maps: torch.Tensor) -> dict[str, Image.Image]: ...  # ending -> picture


@dataclass(frozen=True)
class Job:
    source: Path
    target: Path


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
    source: Path, output: Path, suffixes: tuple[str, ...], limit: int | None = None, reserved: tuple[str, ...] = ()
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
    jobs = [Job(path, output / path.relative_to(base).with_suffix(".png")) for path in paths[:limit]]
    taken = {str(output / name).casefold(): Path("the program") for name in reserved}
    for job in jobs:
        if job.target.resolve() == job.source.resolve():
            raise UserError(f"{job.source}: its output would overwrite it; name another --output")
        for suffix in ("", *suffixes):
            target = beside(job.target, suffix)
            if target.is_dir():
                raise UserError(f"{target}: a folder stands where an output should go; name another --output")
            name = str(target).casefold()  # some file systems do not tell the case
            if name in taken:
                raise UserError(f"{job.source}: its output {target} is also that of {taken[name]}; rename one")
            taken[name] = job.source
    return jobs


def beside(target: Path, suffix: str) -> Path:
    """NAME.png, or NAME + suffix beside it."""
    return target.with_name(target.stem + suffix) if suffix else target


class Network:
    """A network applied to pictures of any size: `maps(pictures)` are [C, H, W] on the CPU at each input's size.

    Args:
        forward: uint8 tensor [B, 3, h, w] -> float maps [B, C, h, w], both on `device`.
        size: the network's size (H, W), or native: every picture as it is.
        fit: pad | crop | stretch | tile (windows at native scale, overlapping by a quarter).
    """

    TILE = 512  # a window's side where the options give no size

    def __init__(self, forward: Callable, size: Any, fit: str, batch: int, device: torch.device):
        self.forward, self.size, self.fit, self.batch, self.device = forward, size, fit, batch, device

    def maps(self, items: Iterable[tuple[Any, np.ndarray]]) -> Iterator[tuple[Any, np.ndarray, torch.Tensor]]:
        """(key, picture) -> (key, picture, maps), in batches of equal size."""
        waiting: dict[tuple, list] = {}
        for key, picture in items:
            if self.fit == "tile":
                yield key, picture, self._tiled(picture)
                continue
            fitted = self._fitted(picture)
            group = waiting.setdefault(fitted.picture.shape, [])
            group.append((key, picture, fitted))
            if len(group) == self.batch:
                yield from self._run(waiting.pop(fitted.picture.shape))
            elif sum(map(len, waiting.values())) >= 4 * self.batch:  # many sizes: do not hold them all
                yield from self._run(waiting.pop(max(waiting, key=lambda shape: len(waiting[shape]))))
        for group in waiting.values():
            yield from self._run(group)

    def _fitted(self, picture: np.ndarray) -> Fitted:
        if self.size == "native":
            whole = (0, 0, *picture.shape[:2])
            return Fitted(picture, picture.shape[:2], whole, whole)
        return fit_picture(picture, self.size, self.fit)

    def _run(self, group: list) -> Iterator[tuple[Any, np.ndarray, torch.Tensor]]:
        maps = self._forward([fitted.picture for _, _, fitted in group])
        for (key, picture, fitted), own in zip(group, maps, strict=True):
            yield key, picture, unfit(own, fitted)

    def _forward(self, pictures: list[np.ndarray]) -> torch.Tensor:
        x = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous()
        return self.forward(x.to(self.device)).float().cpu()

    def _tiled(self, picture: np.ndarray) -> torch.Tensor:
        """Overlapping windows at native scale, blended by linear ramps."""
        size = (self.TILE, self.TILE) if self.size == "native" else tuple(self.size)
        overlap = min(size) // 4
        height, width = picture.shape[:2]
        padded = pad_to(picture, size)
        places, weight = tiles(*padded.shape[:2], size, overlap), blend_weights(size, overlap)
        total = norm = None
        for i in range(0, len(places), self.batch):
            group = places[i : i + self.batch]
            windows = [padded[top : top + size[0], left : left + size[1]] for top, left in group]
            for (top, left), own in zip(group, self._forward(windows), strict=True):
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
