"""The pix2pix family's data: pairs A|B, from the options to an endless stream and a validation set."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.augment import cut_window, mirror, window_corner
from data.check import check_words, look_pix2pix, require_sound
from data.edges import make_pairs
from data.files import Sample, read_two, sample_size, split_pairs
from data.fit import cover_crop
from data.sample import VERSION, check_spec, drawn_set
from engine.errors import UserError
from engine.files import whole_file


class Pairs:
    """Items (x, y), uint8 [3, H, W] each, the input and its target by data.direction, jittered alike when training."""

    def __init__(self, samples: list[Sample], data: Any, training: bool):
        self.samples, self.data, self.training = samples, data, training

    def __len__(self) -> int:
        return len(self.samples)

    def item(self, index: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        return self._item(index, rng if self.training else None)

    def first(self, count: int) -> list[tuple[str, torch.Tensor, torch.Tensor]]:
        """(name, x, y) of the first pairs without chance, for the sample grids."""
        return [(self.samples[i].name, *self._item(i, None)) for i in range(min(count, len(self)))]

    def _item(self, index: int, rng: np.random.Generator | None) -> tuple[torch.Tensor, torch.Tensor]:
        data = self.data
        pair = read_two(self.samples[index])
        pair = jitter(pair, data.size, data.load_size, data.preprocess, rng)
        if rng and "mirror" in data.augment:
            pair = mirror(pair, rng)
        a, b = (torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))) for picture in pair)
        return (a, b) if data.direction == "AtoB" else (b, a)


def jitter(
    pair: tuple[np.ndarray, np.ndarray],
    size: tuple[int, int],
    load_size: int | None,
    mode: str,
    rng: np.random.Generator | None,
) -> list[np.ndarray]:
    """Both pictures, uint8 [H, W, 3], brought to `size` by the mode of data.preprocess, through the same window.

    The margin for the window is that of load_size, by default 286 to 256 (Isola et al. 2017, arXiv:1611.07004, sec.
    6.2). rng None: without chance and margin, in the middle. What a picture does not fill repeats its border.
    """
    if mode == "none":
        return [cover_crop(picture, size) for picture in pair]
    height, width = pair[0].shape[:2]
    margin = 1.0 if rng is None else 286 / 256 if load_size is None else load_size / max(size)
    load = (round(size[0] * margin), round(size[1] * margin))
    if mode == "resize_and_crop":
        scaled = load
    elif mode == "crop":
        factor = max(1.0, size[0] / height, size[1] / width)
        scaled = (max(size[0], round(height * factor)), max(size[1], round(width * factor)))
    else:
        across = size[1] if mode == "scale_width" or rng is None else load_size or load[1]
        scaled = (max(1, round(height * across / width)), across)
    corner = window_corner(scaled, size, None if mode == "scale_width" else rng)
    return [cut_window(picture, scaled, corner, size) for picture in pair]


def pix2pix_data(opt: Any) -> tuple[Pairs, Pairs]:
    """Training and validation pairs of the options, checked once.

    Raises:
        UserError: a folder or a file is not as data/check.py wants it.
    """
    data = opt.data
    root = _drawn(data) if data.root == "drawn" else Path(data.root)
    if (root / "trainA").is_dir():
        raise UserError(f"{root}: holds trainA/; pairs are A/ and B/ with the same names, or A|B side by side")
    train, val, line = split_pairs(root, data.val, data.val_share, data.limit, "A", "B")
    width, height = sample_size(train[0])
    print(f"data: {line}, {data.direction}, the first {width}x{height} pixels each")
    command = shlex.join(check_words("pix2pix", root=root, val=data.val))
    require_sound(train + val, look_pix2pix, ["pix2pix", len(train)], command)
    if opt.run.keep_best is not None and not val:
        raise UserError("run.keep_best: there are no validation pairs; give data.val or data.val_share, or set it none")
    return Pairs(train, data, True), Pairs(val, data, False)


def _drawn(data: Any) -> Path:
    """The drawn characters of the options as picture|edges pairs, made on first use."""
    counts = dict(labeled=data.drawn_train, unlabeled=0, val=data.drawn_val)
    drawn = drawn_set(data, **counts)
    root = drawn.with_name(drawn.name.replace("drawn", "drawn-edges", 1))
    spec = {**counts, "size": data.size[0], "edges": 1, "version": VERSION}
    if root.exists():
        check_spec(root, spec)
        return root
    unfinished = root.with_name(root.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    for part in ("train", "val"):
        sources = sorted((drawn / part / "images").iterdir())
        made = make_pairs([(path, unfinished / part / path.name) for path in sources], data.size[0], data.workers)
        assert not made.failed, made.failed
    with whole_file(unfinished / "drawn.json") as part:
        part.write_text(json.dumps(spec, indent=1) + "\n", encoding="utf-8")
    unfinished.rename(root)
    return root
