"""The SPADE family's data: pictures, label maps and hair colours, from the options to streams and a validation set."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.augment import mirror, to_size
from data.check import look_spade, require_sound, spade_check_command
from data.colors import BLACK, color_map, hair_color, recolor
from data.files import Sample, read_spade, split_pairs, training_samples
from data.palette import Palette, nothing_but, one_hot, palette_of
from data.sample import drawn_set
from engine.errors import UserError

FOLDERS = ("images", "labels")
WINDOWS = 10  # how many random windows are tried for one that shows more than background


class SpadePictures:
    """Items (picture uint8 [3, H, W], ids uint8 [H, W] with 255 ignored, colours uint8 [3, H, W]).

    The colours are the file's, else the median of the whole picture's hair, black where it shows none; without
    data.color they are empty, [3, 0, 0]. Augmented when training.
    """

    def __init__(self, samples: list[Sample], palette: Palette, data: Any, training: bool):
        self.samples, self.palette, self.data, self.training = samples, palette, data, training

    def __len__(self) -> int:
        return len(self.samples)

    def item(self, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        return self._item(index, rng if self.training else None)

    def first(self, count: int) -> list[tuple[str, Tensor, Tensor, Tensor]]:
        """(name, picture, ids, colours) of the first samples without chance, for the sample grids."""
        return [(self.samples[i].name, *self._item(i, None)) for i in range(min(count, len(self)))]

    def _item(self, index: int, rng: np.random.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        data, names = self.data, self.data.augment if rng else ()
        picture, ids, colors = read_spade(self.samples[index], self.palette, data.ignore, data.label_colors)
        if data.color:
            hair = ids == self.palette.names.index(data.hair)
            if colors is None:
                color = hair_color(picture, hair)
                colors = BLACK if color is None else color  # [3] until the end: nothing to cut or turn
            if rng and data.recolor and rng.random() < data.recolor:
                picture, colors = picture.copy(), colors.copy()
                recolor(picture, colors, hair, rng.integers(0, 256, 3, np.uint8))
        drawn = data.color and colors.ndim == 3
        arrays = self._window([picture, ids, colors] if drawn else [picture, ids], names, rng)
        if "mirror" in names:
            arrays = mirror(arrays, rng)
        if not drawn:
            arrays.append(color_map(colors, data.size) if data.color else np.empty((0, 0, 3), np.uint8))
        picture, ids, colors = map(np.ascontiguousarray, arrays)
        planes = [torch.from_numpy(array).permute(2, 0, 1).contiguous() for array in (picture, colors)]
        return planes[0], torch.from_numpy(ids), planes[1]

    def _window(
        self, arrays: list[np.ndarray], names: tuple[str, ...], rng: np.random.Generator | None
    ) -> list[np.ndarray]:
        """All arrays at data.size: a random window where `names` ask for one, not of background alone (look_spade)."""
        size, background = self.data.size, self.data.background_id
        for _ in range(WINDOWS if {"scale", "crop"} & set(names) else 0):
            window = to_size(arrays, size, names, rng)
            if background is None or not nothing_but(window[1], background):
                return window
        return to_size(arrays, size, (), rng)


def one_hot_label(ids: Tensor, classes: int, background: int | None) -> Tensor:
    """The label map that the networks see: float [B, L, H, W] in {0, 1}, a channel for every class but the background.

    ids: uint8 or long [B, H, W] with `classes` classes; 255 (ignored) and the background are zero in all channels.
    """
    label = one_hot(ids, classes)
    return label if background is None else torch.cat((label[:, :background], label[:, background + 1 :]), 1)


def masked_color(color: Tensor, label: Tensor, hair_channel: int) -> Tensor:
    """The colour map inside the hair, black elsewhere: uint8 [B, 3, H, W] -> float in [0, 1].

    label: one_hot_label's; hair_channel: the hair's place in it.
    """
    return color.float() / 255 * label[:, hair_channel : hair_channel + 1]


def network_inputs(
    batch: tuple[Tensor, Tensor, Tensor], data: Any, place: Callable[..., Tensor]
) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    """A loader's batch (pictures, ids, colours) on the device, as the networks take it.

    place: Run.place. Returns labels [B, L, H, W], pictures [B, 3, H, W] in [-1, 1], masked colours [B, 3, H, W] in
    [0, 1], None without data.color, and class ids [B, H, W] long, 255 being ignored.
    """
    picture, ids, color = batch
    x = place(picture, last_on_cpu=False).float() / 127.5 - 1
    y = ids.to(x.device, non_blocking=True).long()
    m = one_hot_label(y, len(data.class_names), data.background_id)
    c = masked_color(color.to(x.device, non_blocking=True), m, data.hair_channel) if data.color else None
    return place(m), x, c if c is None else place(c), y


def spade_data(opt: Any) -> tuple[SpadePictures, SpadePictures, SpadePictures | None, Palette]:
    """Training, validation and rough pictures (None without data.rough) of the options, checked once.

    Raises:
        UserError: a folder or a file is not as data/check.py wants it.
    """
    data = opt.data
    palette = palette_of(data.classes)
    folders = (*FOLDERS, "colors" if data.color else "")
    root = Path(data.root)
    if data.root == "drawn":
        root = drawn_set(data, labeled=data.drawn_train, unlabeled=0, val=data.drawn_val)
    train, val, line = split_pairs(root, data.val, data.val_share, data.limit, *folders)
    rough = training_samples(Path(data.rough), *folders) if data.rough else []
    print(f"data: {line}" + (f", {len(rough)} rough ones from {data.rough}" if rough else ""))
    _check(train + val, palette, data, spade_check_command(root, data.val, data))
    if rough:
        _check(rough, palette, data, spade_check_command(data.rough, None, data))
    if opt.run.keep_best is not None and not val:
        raise UserError(
            "run.keep_best: there are no validation pictures; give data.val or data.val_share, or set it none"
        )
    return (
        SpadePictures(train, palette, data, True),
        SpadePictures(val, palette, data, False),
        SpadePictures(rough, palette, data, True) if rough else None,
        palette,
    )


def _check(samples: list[Sample], palette: Palette, data: Any, command: str) -> None:
    background = data.background_id
    look = partial(look_spade, palette=palette, ignore=data.ignore, match=data.label_colors, background=background)
    settings = ["spade", len(samples), palette.names, palette.colors, sorted(data.ignore), data.label_colors]
    settings.append(background)
    require_sound(samples, look, settings, command)
