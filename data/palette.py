"""Class palettes, and label pictures to and from class ids (uint8, 0..C-1, 255 = ignored)."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from data.images import open_picture, rgb_array
from engine.errors import UserError

IGNORED = 255
MATCHES = ("threshold", "nearest", "closest", "exact")
THRESHOLD = 102  # the original's rule: a channel is on above 0.4 * 255
NEAR = 60  # the farthest, in RGB, that a colour may be from its class with match="nearest"
REACHES = {"nearest": NEAR, "closest": np.inf, "exact": 0}
STRAY = 0.02  # the largest share of pixels without a class that is taken for blurred edges
IDS_REMEDY = "add it to data.ignore, or its class to data.classes"


class LabelError(UserError):
    """A label that is not of the classes. `remedy` is its last part: what to change in the options of a training."""

    def __init__(self, found: str, remedy: str):
        super().__init__(f"{found}: {remedy}")
        self.remedy = remedy


@dataclass(frozen=True)
class Palette:
    """The classes of a label map: a name and an RGB colour (0..255) each; the place is the class id."""

    names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]

    def __post_init__(self):
        assert len(self.names) == len(self.colors) <= IGNORED

    def __len__(self) -> int:
        return len(self.names)

    @staticmethod
    def from_names(names) -> "Palette":
        """Colours for classes that have none: each far from those before it, none of them grey."""
        levels = np.stack(np.meshgrid(*[np.linspace(0, 255, 7, dtype=int)] * 3, indexing="ij"), -1)
        free = levels.reshape(-1, 3)
        distance = ((free - free.mean(-1, keepdims=True)) ** 2).sum(-1)
        colors = []
        for _ in names:
            color = free[distance.argmax()]
            colors.append(tuple(color.tolist()))
            distance = np.minimum(distance, ((free - color) ** 2).sum(-1))
        return Palette(tuple(names), tuple(colors))

    @staticmethod
    def from_classes(classes: dict | list, source: str = "data.classes") -> "Palette":
        """A palette from options: {name: [r, g, b]}, or a list of names; UserError names the class."""
        if not classes or not isinstance(classes, dict | list | tuple):
            raise UserError(f"{source}: {classes!r}: give a list of names, or name: [r, g, b] for each", 2)
        names = [str(name) for name in classes]
        if len(names) > IGNORED:
            raise UserError(f"{source}: {len(names)} classes: at most {IGNORED} fit into a label map", 2)
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise UserError(f"{source}: {min(twice)} is named twice: name every class once", 2)
        if not isinstance(classes, dict):
            return Palette.from_names(names)
        colors: dict[tuple, str] = {}
        for name, color in zip(names, classes.values(), strict=True):
            if not _is_color(color):
                raise UserError(f"{source}: {name}: {color!r} is no colour: write [r, g, b], 0 to 255", 2)
            if tuple(color) in colors:
                other = colors[tuple(color)]
                raise UserError(f"{source}: {name}: {list(color)} is {other}'s colour: give each its own", 2)
            colors[tuple(color)] = name
        return Palette(tuple(names), tuple(colors))

    @cached_property
    def table(self) -> np.ndarray:
        """uint8 [C, 3]."""
        return np.array(self.colors, np.uint8).reshape(-1, 3)

    @property
    def pure(self) -> bool:
        """Whether every channel is fully on or fully off, as match="threshold" needs."""
        return bool(np.isin(self.table, (0, 255)).all())


ANIME = Palette(
    ("eye", "face", "hair", "other", "background"),
    ((255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 0, 255), (255, 255, 0)),
)


def palette_of(classes: Any) -> Palette:
    """The palette of `data.classes`: anime, names with colours, or names alone."""
    if classes == "anime":
        return ANIME
    if all(color is None for _, color in classes):
        return Palette.from_classes([name for name, _ in classes])
    return Palette.from_classes(dict(classes))


def one_hot(ids: torch.Tensor, classes: int) -> torch.Tensor:
    """ids [B, H, W] -> float [B, classes, H, W] in {0, 1}, all zero on ignored pixels."""
    return (ids.unsqueeze(1) == torch.arange(classes, device=ids.device).view(1, -1, 1, 1)).float()


def nothing_but(ids: np.ndarray, class_id: int) -> bool:
    """Whether class ids, uint8 [...], hold one class alone, or pixels that are ignored."""
    return bool(((ids == class_id) | (ids == IGNORED)).all())


def read_label(path, palette: Palette, ignore=(IGNORED,), match: str = "threshold") -> np.ndarray:
    """Class ids, uint8 [H, W], of a label picture; errors name the file. See decode_label."""
    picture = open_picture(path)
    try:
        return decode_label(picture, palette, ignore, match)
    except UserError as error:
        raise UserError(f"{Path(path)}: {error}") from error


def decode_label(picture, palette: Palette, ignore=(IGNORED,), match: str = "threshold") -> np.ndarray:
    """Class ids, uint8 [H, W], 255 where ignored, of a label: a Pillow image, or array [H, W] or [H, W, 3].

    Grey pixels are ids. Indexed pictures are read by their colours if all of these are class colours, else
    by their indices. RGB is read by colour: match "threshold" (the original's functions.py, label2onehot:
    channels above 0.4 are on), "nearest" (within 60 of a class colour), "closest" (the nearest class colour at
    any distance, for lossy label colours such as a JPEG's: no colour is refused, not even a photo's) or "exact";
    but RGB that is grey and holds only ids is read as ids. `ignore`: the ids besides 255 that become 255.
    Raises LabelError, a UserError, for ids outside the classes, and when more than 2 % of the pixels ("exact":
    any) have a colour of no class; below that they are ignored.
    """
    assert match in MATCHES, match
    if isinstance(picture, Image.Image):
        if picture.mode == "P":
            return _decode_indexed(picture, palette, ignore, match)
        if picture.mode in ("LA", "La"):
            picture = picture.getchannel(0)
        grey = picture.mode in ("1", "L", "I", "F") or picture.mode.startswith("I;16")
        picture = np.asarray(picture) if grey else rgb_array(picture)
    if picture.ndim == 2:
        return _decode_ids(picture, palette, ignore)
    return _decode_colors(picture, palette, ignore, match)


def ids_by_color(rgb: np.ndarray, palette: Palette, match: str = "threshold") -> np.ndarray:
    """Class ids, uint8 [...], of RGB colours uint8 [..., 3]; 255 for the colour of no class."""
    if match == "threshold":
        if not palette.pure:
            raise LabelError(
                "data.label_colors=threshold needs class colours whose channels are 0 or 255",
                "use data.label_colors=nearest",
            )
        table = np.full(8, IGNORED, np.uint8)
        table[_bits(palette.table)] = np.arange(len(palette))
        return table[_bits(rgb)]
    packed = _packed(rgb)
    used = np.unique(packed)
    table = np.empty(1 << 24, np.uint8)  # only the entries of used colours are ever touched
    table[used] = _match_few(_unpacked(used), palette, match)
    return table[packed]


def encode_label(ids: np.ndarray, palette: Palette) -> Image.Image:
    """An indexed picture (mode P) of class ids, uint8 [H, W], in the palette's colours, ignored black."""
    picture = Image.fromarray(ids)
    picture.putpalette(_all_colors(palette).tobytes())
    return picture


def colorize(ids: np.ndarray, palette: Palette) -> np.ndarray:
    """uint8 [..., 3] RGB of class ids uint8 [...], ignored pixels black."""
    return _all_colors(palette)[ids]


def _is_color(color) -> bool:
    return (
        isinstance(color, list | tuple)
        and len(color) == 3
        and all(type(channel) is int and 0 <= channel <= 255 for channel in color)
    )


def _all_colors(palette: Palette) -> np.ndarray:
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(palette)] = palette.table
    return colors


def _decode_ids(values: np.ndarray, palette: Palette, ignore) -> np.ndarray:
    wrong = _foreign_ids(values, palette, ignore)
    if wrong:
        raise LabelError(_about_ids(values, wrong, palette), IDS_REMEDY)
    return np.where(np.isin(values, (*ignore, IGNORED)), IGNORED, values).astype(np.uint8)


def _foreign_ids(values: np.ndarray, palette: Palette, ignore) -> list:
    small = values.dtype == np.uint8  # np.unique would sort the pixels
    used = np.flatnonzero(np.bincount(values.ravel())) if small else np.unique(values)
    return used[~np.isin(used, (*range(len(palette)), *ignore, IGNORED))].tolist()


def _about_ids(values: np.ndarray, wrong: list, palette: Palette) -> str:
    listed = ", ".join(f"{value:g}" for value in wrong[:5]) + (", ..." if len(wrong) > 5 else "")
    count = int(np.isin(values, wrong).sum())
    return f"id {listed} ({count} pixels) outside the {len(palette)} classes (0 to {len(palette) - 1})"


def _decode_colors(rgb: np.ndarray, palette: Palette, ignore, match: str) -> np.ndarray:
    red = rgb[..., 0]
    if np.array_equal(red, rgb[..., 1]) and np.array_equal(red, rgb[..., 2]):
        class_colors = (ids_by_color(rgb, palette, "exact") != IGNORED).all()  # a class may be black
        several = len(set(np.unique(red).tolist()) - {*ignore, IGNORED}) > 1  # all black is no map of ids
        if several and not class_colors and not _foreign_ids(red, palette, ignore):
            return _decode_ids(red, palette, ignore)
    ids = ids_by_color(rgb, palette, match)
    stray = ids == IGNORED
    if _too_many(stray.mean() if stray.size else 0, match):
        raise LabelError(_about_colors(rgb, stray, match), _colors_remedy(palette, match))
    return ids


def _decode_indexed(picture: Image.Image, palette: Palette, ignore, match: str) -> np.ndarray:
    indices = np.asarray(picture)
    listed = np.array(picture.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(listed)] = listed
    # Our own label maps: the colours say the same as the indices, but for the ignored pixels.
    if np.array_equal(colors[: len(palette)], palette.table) and not _foreign_ids(indices, palette, ignore):
        return _decode_ids(indices, palette, ignore)
    if match == "threshold" and not palette.pure:
        match = "exact"
    # To "closest" every colour is that of a class, also in the palette of a map whose indices are the ids.
    by_color = ids_by_color(colors, palette, "nearest" if match == "closest" else match)[indices]
    stray = by_color == IGNORED
    if not stray.any():
        return by_color
    wrong = _foreign_ids(indices, palette, ignore)
    if not wrong:
        return _decode_ids(indices, palette, ignore)
    if match == "closest":
        return ids_by_color(colors, palette, match)[indices]
    if _too_many(stray.mean(), match):
        found = f"{_about_colors(colors[indices], stray, match)}, nor are its indices ids"
        found = f"{found}: {_about_ids(indices, wrong, palette)}"
        raise LabelError(found, f"{_colors_remedy(palette, match)}; ids: {IDS_REMEDY}")
    return by_color


def _too_many(share: float, match: str) -> bool:
    return share > (0 if match == "exact" else STRAY)


def _about_colors(rgb: np.ndarray, stray: np.ndarray, match: str) -> str:
    used, counts = np.unique(_packed(rgb[stray]), return_counts=True)
    color = tuple(_unpacked(used[counts.argmax()]).tolist())
    return (
        f"{100 * stray.mean():.1f} % of the pixels have a colour of no class, most often {color} "
        f"(data.label_colors={match})"
    )


def _colors_remedy(palette: Palette, match: str) -> str:
    others = ["closest (a JPEG's colours)" if match == "nearest" else "nearest"]
    others += ["threshold"] if palette.pure and match != "threshold" else []
    return "".join(f"try data.label_colors={other}, or " for other in others) + "add the colour to data.classes"


def _match_few(colors: np.ndarray, palette: Palette, match: str) -> np.ndarray:
    """Class ids of a list of colours, uint8 [N, 3], by the nearest class colour within the match's reach."""
    best = np.full(len(colors), np.inf, np.float32)
    ids = np.full(len(colors), IGNORED, np.uint8)
    reach = REACHES[match] ** 2
    for index, color in enumerate(palette.table.astype(np.float32)):
        distance = ((colors - color) ** 2).sum(-1)
        closer = (distance < best) & (distance <= reach)
        best[closer], ids[closer] = distance[closer], index
    return ids


def _bits(rgb: np.ndarray) -> np.ndarray:
    on = (rgb > THRESHOLD).view(np.uint8)
    return on[..., 0] * np.uint8(4) + on[..., 1] * np.uint8(2) + on[..., 2]


def _packed(rgb: np.ndarray) -> np.ndarray:
    wide = rgb.astype(np.uint32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def _unpacked(colors: np.ndarray) -> np.ndarray:
    return np.stack([colors >> 16, colors >> 8 & 255, colors & 255], axis=-1).astype(np.uint8)
