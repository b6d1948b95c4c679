"""The SPADE family's data: pictures, label maps and hair colours, from the options to streams and a validation set."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.check import look_spade, require_sound, spade_check_command
from data.colors import BLACK, color_map, hair_color, recolor, tone_curves
from data.files import Sample, read_spade, split_pairs, training_samples
from data.palette import Palette, nothing_but, one_hot, palette_of
from data.pictures import Pictures
from data.sample import drawn_set
from data.window import LABEL, by_chance, cover, covering, cut, nearest, random_window, window_corner
from engine.device import to_device
from engine.errors import UserError

FOLDERS = ("images", "labels")
WINDOWS = 10  # how many random windows are tried for one that shows more than background


class SpadePictures(Pictures):
    """Batches (pictures uint8 [B, 3, H, W], ids uint8 [B, H, W] with 255 ignored, colours uint8 [B, 3, H, W]).

    The colours are the file's, else the median of the whole picture's hair, black where it shows none; without
    data.color they are empty, [B, 0, H, W]. Augmented when training.
    """

    def __init__(self, samples: list[Sample], palette: Palette, data: Any, training: bool):
        super().__init__(samples, data, training)
        self.palette = palette

    def decode(self, sample: Sample) -> np.ndarray:
        data = self.data
        picture, ids, colors = read_spade(sample, self.palette, data.ignore, data.label_colors)
        if data.color and colors is None:
            color = hair_color(picture, ids == self._hair)
            colors = color_map(BLACK if color is None else color, ids.shape)
        arrays = [picture, ids, *([colors] if data.color else [])]
        return covering(arrays, data.size, self.names)

    @property
    def _hair(self) -> int:
        return self.palette.names.index(self.data.hair)

    def window(self, planes: Tensor, host: Tensor, rng: np.random.Generator | None) -> Tensor:
        """As in Pictures; with data.recolor some have hair of another colour, in picture and colour map."""
        if rng and self.data.recolor and rng.random() < self.data.recolor:
            planes = self._recolored(planes, host, rng.integers(0, 256, 3, np.uint8))
        if not by_chance(self.names):
            return planes
        return cut(planes, *self._place(host, rng), self.data.size, LABEL)

    def _recolored(self, planes: Tensor, host: Tensor, target: np.ndarray) -> Tensor:
        color = hair_color(host[LABEL + 1 :].permute(1, 2, 0).numpy(), host[LABEL].numpy() == self._hair)
        if color is None:
            return planes
        picture, ids, colors = planes.split([LABEL, 1, 3])
        picture, colors = recolor(picture, colors, ids == self._hair, tone_curves(color, target))
        return torch.cat([picture, ids, colors])

    def _place(self, host: Tensor, rng: np.random.Generator) -> tuple[tuple[int, int], tuple[int, int]]:
        """random_window's, not of background alone (look_spade) if ten tries find one; else the middle."""
        shape, size, background = tuple(host.shape[1:]), self.data.size, self.data.background_id
        for _ in range(WINDOWS):
            scaled, corner = random_window(shape, size, self.names, rng)
            shown = tuple(map(min, scaled, size))
            if background is None or not nothing_but(nearest(host[LABEL], scaled, corner, shown).numpy(), background):
                return scaled, corner
        return cover(shape, size), window_corner(cover(shape, size), size, None)

    def parts(self, planes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return planes[:, :LABEL], planes[:, LABEL], planes[:, LABEL + 1 :]

    def settings(self) -> list:
        palette, data = self.palette, self.data
        hair = self._hair if data.color else None
        return [palette.names, palette.colors, sorted(data.ignore), data.label_colors, hair, *super().settings()]

    def first(self, count: int) -> list[tuple[str, Tensor, Tensor, Tensor]]:
        """(name, picture, ids, colours) of the first samples without chance, for the sample grids."""
        return [(sample.name, *parts) for sample, *parts in super().first(count)]


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
    y = to_device(ids, x.device).long()
    m = one_hot_label(y, len(data.class_names), data.background_id)
    c = masked_color(to_device(color, x.device), m, data.hair_channel) if data.color else None
    return place(m), x, c if c is None else place(c), y


def spade_data(
    opt: Any, device: torch.device | None = None
) -> tuple[SpadePictures, SpadePictures, SpadePictures | None, Palette]:
    """Training, validation and rough pictures (None without data.rough) of the options, checked once.

    device: as in seg_data.

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
    main, held = SpadePictures(train, palette, data, True), SpadePictures(val, palette, data, False)
    second = SpadePictures(rough, palette, data, True) if rough else None
    main.keep("training pictures", device)
    held.keep("validation pictures", device)
    if second is not None:
        second.keep("rough pictures", device)
    return main, held, second, palette


def _check(samples: list[Sample], palette: Palette, data: Any, command: str) -> None:
    background = data.background_id
    look = partial(look_spade, palette=palette, ignore=data.ignore, match=data.label_colors, background=background)
    settings = ["spade", len(samples), palette.names, palette.colors, sorted(data.ignore), data.label_colors]
    settings.append(background)
    require_sound(samples, look, settings, command)
