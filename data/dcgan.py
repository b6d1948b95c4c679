"""The dcgan family's data: pictures of a folder or a zip, from the options to an endless stream of batches."""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZipFile

import numpy as np
import torch
from torch import Tensor

from data.archive import open_zip, pictures_in_zip, read_zipped
from data.augment import mirror as mirrored
from data.cache import Cached, Decoding, cached
from data.classes import Tags, choose_classes, multi_hot, require_members, tags_by_csv, tags_by_folder
from data.decoded import placed
from data.faces import drawn_faces
from data.fit import cover_crop
from data.images import list_pictures, read_picture, require_size
from data.loader import Order
from engine.device import to_device
from engine.errors import UserError

VERSION = 1  # raised whenever decoding changes, so that no older cache is taken
MOST_NAMED = 10  # skipped files that are listed


@dataclass(frozen=True)
class Faces:
    """Decoded pictures, uint8 [N, 3, S, S], and their classes, uint8 [N, K] of 0 and 1 or None, on one device."""

    x: Tensor
    y: Tensor | None
    about: Sequence[str] = ()  # of each picture its name and its classes

    def __len__(self) -> int:
        return len(self.x)

    def first(self, count: int) -> Tensor:
        """The first pictures, float [count, 3, S, S] in [-1, 1], for the sample grids."""
        return self.x[:count].float() / 127.5 - 1


def face_batches(
    faces: Faces,
    batch: int,
    *,
    seed: int,
    start: int = 0,
    mirror: bool = False,
    share: Callable[[Any], Any] = lambda whole: whole,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """(x uint8 [B, 3, S, S], y float [B, K] or None) without end, from step `start` on, on the faces' device.

    The batch of step k is a function of (seed, k).

    Args:
        mirror: half of the pictures left-right, by lot.
        share: this process's part of a whole batch (engine.run.Run.share).
    """
    for step, keys in enumerate(Order(len(faces), batch, (seed,), start, share), start):
        rows = to_device(torch.tensor([index for _, index in keys]), faces.x.device)
        x = faces.x.index_select(0, rows)
        if mirror:
            lot = share(np.random.default_rng((seed, 1, step)).random(batch) < 0.5)
            x = mirrored(x, torch.from_numpy(lot))
        y = None if faces.y is None else faces.y.index_select(0, rows).float()
        yield x, y


def dcgan_data(opt: Any, device: torch.device) -> tuple[Faces, tuple[str, ...]]:
    """(the pictures of the options, the names of their classes), decoded once; what is broken is named and skipped.

    Raises:
        UserError: no picture can be read, fewer than data.batch, a class without any, a bad list of labels.
    """
    data = opt.data
    with contextlib.ExitStack() as stack:
        source = _open_source(data, stack)
        names, tags, classes = _labelled(source, data)
        names = names[: data.limit]
        read = partial(_read, source, size=data.size)
        decoding = Decoding(read, names, source.files(names), ["dcgan", VERSION, *data.size], data.workers)
        found = cached(decoding, data.cache != "ram")
    _name_skipped(found.problems)
    _require_enough(source.root, found, data)
    sizes = f"{len(found.names):,} pictures of {source.root} at {data.size[1]}x{data.size[0]}"
    skipped = f", {len(found.problems)} skipped" if found.problems else ""
    stored = found.rows.all((3, *data.size))
    pictures = placed(stored, data.cache, device)
    where = f"in {found.rows.file}" if pictures is stored and found.rows.file else f"in memory of {pictures.device}"
    print(f"data: {sizes}{skipped}, {where}")
    if not classes:
        return Faces(pictures, None, found.names), classes
    remedy = "raise data.limit" if data.limit else "mend its files, or leave it out of data.classes"
    print(f"classes: {require_members(found.names, tags, classes, remedy)}")
    y, wanted = multi_hot(found.names, tags, classes), set(classes)
    about = [f"{name}: {', '.join(sorted(wanted.intersection(tags[name])))}" for name in found.names]
    return Faces(pictures, y.to(pictures.device), about), classes


@dataclass(frozen=True)
class _Source:
    """Where the pictures are: the posix paths of all below a folder, or in a zip."""

    root: Path
    names: list[str]
    archive: ZipFile | None

    def files(self, names: Sequence[str]) -> list[Path]:
        """What the bytes of the pictures depend on; a link to nothing is left for reading to name."""
        paths = [self.root] if self.archive else [self.root / name for name in names]
        return [path for path in paths if os.path.exists(path)]


def _open_source(data: Any, stack: contextlib.ExitStack) -> _Source:
    root = drawn_faces(data.drawn_train, data.size[0], data.workers) if data.root == "drawn" else Path(data.root)
    if root.is_file() or (root.suffix == ".zip" and not root.is_dir()):
        archive = stack.enter_context(open_zip(root))
        return _Source(root, _to_train_on(pictures_in_zip(archive), root), archive)
    if (root / "train").is_dir():  # as the other families
        root = root / "train"
    names = [path.relative_to(root).as_posix() for path in list_pictures(root)]
    return _Source(root, _to_train_on(names, root), None)


def _to_train_on(names: list[str], root: Path) -> list[str]:
    """Without those in val/ and test/, which are kept apart to measure with, as in the other families."""
    kept = [name for name in names if name.split("/")[0] not in ("val", "test")]
    if names and not kept:
        raise UserError(f"{root}: all its pictures are in val/ or test/, which are to measure with; name one of them")
    return kept


def _read(source: _Source, name: str, size: tuple[int, int]) -> np.ndarray:
    """A picture brought to `size` (H, W), uint8 [3, H, W]."""
    path = source.root / name
    picture = read_zipped(source.archive, name) if source.archive else read_picture(path)
    return np.ascontiguousarray(cover_crop(require_size(picture, path), size).transpose(2, 0, 1))


def _labelled(source: _Source, data: Any) -> tuple[list[str], Tags, tuple[str, ...]]:
    """(names of the pictures that have a class, all their tags, the classes), by data.labels and data.classes."""
    if data.labels == "none":
        return source.names, {}, ()
    by_path = _by_path(source)
    if data.labels == "folders":
        found = tags_by_folder(list(by_path), source.root)
    else:
        found = tags_by_csv(list(by_path), source.root, Path(data.labels))
    tags = {by_path[path]: own for path, own in found.items()}
    classes = choose_classes(tags, data.classes, source.root)
    wanted = set(classes)
    names = [name for name in source.names if not wanted.isdisjoint(tags[name])]
    if len(names) < len(source.names):
        print(f"data: {len(source.names) - len(names):,} left out: in none of the classes")
    return names, tags, classes


def _by_path(source: _Source) -> dict[str, str]:
    """The names by the pictures' paths; in a zip below the one top folder that zipping a folder makes."""
    tops = {PurePosixPath(name).parts[:-1][:1] for name in source.names}
    depth = len(tops.pop()) if source.archive and len(tops) == 1 else 0
    return {PurePosixPath(*PurePosixPath(name).parts[depth:]).as_posix(): name for name in source.names}


def _require_enough(root: Path, found: Cached, data: Any) -> None:
    if not found.names:
        raise UserError(f"{root}: none of {len(found.problems)} pictures can be read; the first: {found.problems[0]}")
    if len(found.names) < data.batch:
        count = f"{len(found.names)} pictures" + (f" ({len(found.problems)} skipped)" if found.problems else "")
        more = "lower it, or raise data.limit" if data.limit else "lower it, or add pictures"
        raise UserError(f"{root}: {count}, fewer than data.batch={data.batch}: {more}")


def _name_skipped(problems: Sequence[str]) -> None:
    for line in problems[:MOST_NAMED]:
        print(f"skipped: {line}")
    if problems[MOST_NAMED:]:
        print(f"skipped: and {len(problems) - MOST_NAMED} more")
