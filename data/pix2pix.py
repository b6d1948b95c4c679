"""The pix2pix family's data: pairs A|B, from the options to an endless stream and a validation set."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data.check import check_words, look_pix2pix, require_sound
from data.edges import make_pairs
from data.files import Sample, read_two, sample_size, split_pairs
from data.fit import cover_crop
from data.pictures import Pictures
from data.sample import VERSION, check_spec, drawn_set
from data.window import cut, stack, stored_shape, window_corner
from engine.errors import UserError
from engine.files import whole_file


class Pairs(Pictures):
    """Batches (x, y), uint8 [B, 3, H, W] each, the input and its target by data.direction, jittered alike in training.

    data.preprocess says how; its margin is that of data.load_size, by default 286 to 256 (Isola et al. 2017,
    arXiv:1611.07004, sec. 6.2), and none without chance. What a picture does not fill repeats its border.
    """

    def decode(self, sample: Sample) -> np.ndarray:
        size, pair = self.data.size, read_two(sample)
        if self.data.preprocess == "none":
            return stack([cover_crop(picture, size) for picture in pair])
        shape = pair[0].shape[:2]
        return stack(list(pair), stored_shape(shape, self._scaled(shape), size))

    def window(self, planes: Tensor, host: Tensor, rng: np.random.Generator | None) -> Tensor:
        if self.data.preprocess == "none":
            return planes
        scaled = self._scaled(tuple(planes.shape[1:]))
        corner = window_corner(scaled, self.data.size, None if self.data.preprocess == "scale_width" else rng)
        return cut(planes, scaled, corner, self.data.size)

    def _scaled(self, shape: tuple[int, int]) -> tuple[int, int]:
        """The size (H, W) that a picture of a shape is brought to before its window is cut; its own size stays."""
        (height, width), size, data = shape, self.data.size, self.data
        margin = 1.0 if not self.training else 286 / 256 if data.load_size is None else data.load_size / max(size)
        load = (round(size[0] * margin), round(size[1] * margin))
        if data.preprocess == "resize_and_crop":
            return load
        if data.preprocess == "crop":
            factor = max(1.0, size[0] / height, size[1] / width)
            return max(size[0], round(height * factor)), max(size[1], round(width * factor))
        across = size[1] if data.preprocess == "scale_width" or not self.training else data.load_size or load[1]
        return max(1, round(height * across / width)), across

    def parts(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        a, b = planes[:, :3], planes[:, 3:]
        return (a, b) if self.data.direction == "AtoB" else (b, a)

    def settings(self) -> list:
        return [self.data.preprocess, self.training, self.data.load_size, *super().settings()]

    def first(self, count: int) -> list[tuple[str, Tensor, Tensor]]:
        """(name, x, y) of the first pairs without chance, for the sample grids."""
        return [(sample.name, *parts) for sample, *parts in super().first(count)]


def pix2pix_data(opt: Any, device: torch.device | None = None) -> tuple[Pairs, Pairs]:
    """Training and validation pairs of the options, checked once. device: as in seg_data.

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
    pairs, held = Pairs(train, data, True), Pairs(val, data, False)
    pairs.keep("training pairs", device)
    held.keep("validation pairs", device)
    return pairs, held


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
