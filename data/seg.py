"""The seg family's data: labelled and unlabelled pictures, from the options to endless streams and a validation set."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.check import check_command, checked
from data.files import Sample, read_pair, sample_size, split_pairs, training_samples
from data.images import list_pictures, picture_size, read_picture
from data.palette import Palette, palette_of
from data.pictures import Pictures
from data.sample import drawn_set
from data.window import LABEL, covering, covering_window
from engine.errors import UserError
from options.common import steps_of


class LabeledPictures(Pictures):
    """Batches (x uint8 [B, 3, H, W], y uint8 [B, H, W] with 255 ignored), augmented when training."""

    def __init__(self, samples: list[Sample], palette: Palette, data: Any, training: bool):
        super().__init__(samples, data, training)
        self.palette = palette

    def decode(self, sample: Sample) -> np.ndarray:
        arrays = read_pair(sample, self.palette, self.data.ignore, self.data.label_colors)
        return covering(arrays, self.data.size, self.names)

    def window(self, planes: Tensor, host: Tensor, rng: np.random.Generator | None) -> Tensor:
        return covering_window(planes, self.data.size, self.names, rng, LABEL)

    def parts(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        return planes[:, :3], planes[:, LABEL]

    def settings(self) -> list:
        palette, data = self.palette, self.data
        return [palette.names, palette.colors, sorted(data.ignore), data.label_colors, *super().settings()]


class UnlabeledPictures(Pictures):
    """Batches x uint8 [B, 3, H, W], augmented as the labelled ones."""

    def __init__(self, paths: list[Path], data: Any):
        super().__init__(paths, data, True)

    def decode(self, sample: Path) -> np.ndarray:
        return covering([read_picture(sample)], self.data.size, self.names)

    def window(self, planes: Tensor, host: Tensor, rng: np.random.Generator | None) -> Tensor:
        return covering_window(planes, self.data.size, self.names, rng)

    def parts(self, planes: Tensor) -> Tensor:
        return planes


def first_items(*sources: LabeledPictures | UnlabeledPictures | None) -> list[tuple[Tensor, Tensor | None]]:
    """(x, y or None) of the first two pictures of every source without chance, for the sample grids."""
    items = [item for source in sources if source is not None for item in source.first(2)]
    return [(x, y[0] if y else None) for _, x, *y in items]


def seg_data(
    opt: Any, device: torch.device | None = None
) -> tuple[LabeledPictures, LabeledPictures, UnlabeledPictures | None, Palette]:
    """Training, validation and unlabelled pictures (None without) of the options, checked once.

    device: of the training, for which they are decoded once as data.cache says; None: they are read when asked for.

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
    elif opt.teaches_unlabeled and (start := opt.loss.semi_start) >= (steps := steps_of(opt, len(train))):
        print(f"note: loss.semi_start={start}: the {steps} steps end before: unlabelled pictures teach nothing")
    if data.size == "native":
        _same_size(train, paths, data.batch)
    labeled, held = LabeledPictures(train, palette, data, True), LabeledPictures(val, palette, data, False)
    pictures = UnlabeledPictures(paths, data) if paths else None
    labeled.keep("training pictures", device)
    held.keep("validation pictures", device)
    if pictures is not None and opt.teaches_unlabeled:  # else they are only looked at, in the sample grids
        pictures.keep("unlabelled pictures", device)
    return labeled, held, pictures, palette


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
