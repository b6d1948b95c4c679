"""The seg family's data: labelled and unlabelled pictures, from the options to endless streams and a validation set."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.augment import color_augment, mirror, to_size
from data.check import check_command, checked
from data.files import Sample, read_pair, sample_size, split_pairs, training_samples
from data.images import list_pictures, picture_size, read_picture
from data.palette import Palette, palette_of
from data.sample import drawn_set
from engine.errors import UserError


def _to_tensor(picture: np.ndarray) -> torch.Tensor:
    """uint8 [H, W, 3] -> uint8 [3, H, W]; it becomes a float in [0, 1] on the device."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


class LabeledPictures:
    """Items (x uint8 [3, H, W], y uint8 [H, W] with 255 ignored), augmented when training."""

    def __init__(self, samples: list[Sample], palette: Palette, data: Any, training: bool):
        self.samples, self.palette, self.data = samples, palette, data
        self.names = data.augment if training else ()

    def __len__(self) -> int:
        return len(self.samples)

    def item(self, index: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        data = self.data
        picture, label = read_pair(self.samples[index], self.palette, data.ignore, data.label_colors)
        if data.size != "native":
            picture, label = to_size([picture, label], data.size, self.names, rng)
        picture = color_augment(picture, self.names, rng)
        if "mirror" in self.names:
            picture, label = mirror([picture, label], rng)
        return _to_tensor(picture), torch.from_numpy(label)


class UnlabeledPictures:
    """Items x uint8 [3, H, W], augmented as the labelled ones."""

    def __init__(self, paths: list[Path], data: Any):
        self.paths, self.data = paths, data

    def __len__(self) -> int:
        return len(self.paths)

    def item(self, index: int, rng: np.random.Generator) -> torch.Tensor:
        picture, names = read_picture(self.paths[index]), self.data.augment
        if self.data.size != "native":
            (picture,) = to_size([picture], self.data.size, names, rng)
        picture = color_augment(picture, names, rng)
        if "mirror" in names:
            (picture,) = mirror([picture], rng)
        return _to_tensor(picture)


def first_items(*sources: LabeledPictures | UnlabeledPictures | None) -> list[tuple[torch.Tensor, torch.Tensor | None]]:
    """(x, y or None) of the first two pictures of every source, for the sample grids."""
    items = [s.item(i, np.random.default_rng(i)) for s in sources if s is not None for i in range(min(2, len(s)))]
    return [item if isinstance(item, tuple) else (item, None) for item in items]


def seg_data(opt: Any) -> tuple[LabeledPictures, LabeledPictures, UnlabeledPictures | None, Palette]:
    """Training, validation and unlabelled pictures (None without) of the options, checked once.

    Raises:
        UserError: a folder or a file is not as data/check.py wants it, or the sizes do not go together.
    """
    data = opt.data
    palette = palette_of(data.classes)
    root, unlabeled = _drawn(data) if data.root == "drawn" else (Path(data.root), data.unlabeled)
    train, val, line = split_pairs(root, data.val, data.val_share, data.limit)
    if data.extra:
        extra = training_samples(Path(data.extra))
        train = train + extra * data.extra_repeat
        line += f", {len(extra)} more from {data.extra}, {data.extra_repeat} times"
    paths = list_pictures(Path(unlabeled))[: data.unlabeled_limit] if unlabeled else []
    print(f"data: {line}" + (f", {len(paths)} unlabelled from {unlabeled}" if paths else ""))
    checked(train + val, paths, palette, data.ignore, data.label_colors, check_command(root, data))
    if opt.run.keep_best is not None and not val:
        raise UserError(
            "run.keep_best: there are no validation pictures; give data.val or data.val_share, or set it none"
        )
    if not paths and opt.teaches_unlabeled:
        print("note: no data.unlabeled: training on the labelled pictures alone")
    if data.size == "native":
        _same_size(train, paths, data.batch)
    pictures = UnlabeledPictures(paths, data) if paths else None
    return LabeledPictures(train, palette, data, True), LabeledPictures(val, palette, data, False), pictures, palette


def _drawn(data: Any) -> tuple[Path, Path]:
    """The drawn sample set of the options, made on first use: (root, unlabelled folder)."""
    made = drawn_set(data, labeled=data.drawn_labeled, unlabeled=data.drawn_unlabeled, val=data.drawn_val)
    return made, Path(data.unlabeled) if data.unlabeled else made / "unlabeled"


def _same_size(samples: list[Sample], paths: list[Path], batch: int) -> None:
    for items, size_of in ((samples, sample_size), (paths, picture_size)):
        sizes = {size_of(item): item for item in items} if batch > 1 else {}
        if len(sizes) > 1:
            (a, first), (b, second) = list(sizes.items())[:2]
            names = [getattr(item, "image", item) for item in (first, second)]
            raise UserError(
                f"data.size=native: {names[0]} is {a[0]}x{a[1]}, {names[1]} {b[0]}x{b[1]}; "
                "use data.batch=1, or give data.size",
                2,
            )
