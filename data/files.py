"""The layouts in which pictures and their labels lie in folders, and the split for validation."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from data.images import list_pictures, open_picture, picture_size, read_picture, rgb_array
from data.palette import IGNORED, Palette, decode_label, read_label
from engine.errors import UserError


@dataclass(frozen=True)
class Sample:
    """A picture and its label (pix2pix: A and B); without a label file the picture's file holds both, side by side."""

    name: str  # posix path below its folder, without suffix
    image: Path
    label: Path | None
    color: Path | None = None  # spade: the hair colours, where they are a file of their own


def find_pairs(folder: Path | str, first: str = "images", second: str = "labels", third: str = "") -> list[Sample]:
    """The samples of a folder, sorted: sub-folders matched by stem (the third may lack), or side-by-side pictures.

    Raises UserError for an empty folder, a file without partner, or two files with one stem.
    """
    return _sound(*list_pairs(folder, first, second, third))


def list_pairs(
    folder: Path | str, first: str = "images", second: str = "labels", third: str = ""
) -> tuple[list[Sample], list[str]]:
    """As find_pairs, but a file without partner or a stem met twice is one line of the problems returned beside."""
    folder = Path(folder)
    there = [name for name in (first, second, third) if name and (folder / name).is_dir()]
    missing = [name for name in (first, second) if name not in there]
    if there and missing:
        raise UserError(f"{folder}: has {there[0]}/ but no {missing[0]}/: add it, or name another folder")
    if there:
        matches, problems = match_stems(*(folder / name for name in there))
        return [Sample(*match) for match in matches], problems
    found, problems = by_stem(folder)
    return [Sample(name, path, None) for name, path in found.items()], problems


def training_samples(root: Path | str, first: str = "images", second: str = "labels", third: str = "") -> list[Sample]:
    """The training part of a data set in any layout: find_pairs of root/train if there, else of root itself."""
    return _sound(*list_training(root, first, second, third))


def list_training(
    root: Path | str, first: str = "images", second: str = "labels", third: str = ""
) -> tuple[list[Sample], list[str]]:
    """As training_samples, the problems beside, as list_pairs."""
    root = Path(root)
    if (root / "train").is_dir():
        return list_pairs(root / "train", first, second, third)
    samples, problems = list_pairs(root, first, second, third)
    # Side by side directly in the root: its val/ and test/ are no training data.
    kept = [s for s in samples if s.image.relative_to(root).parts[0] not in ("val", "test")]
    if samples and not kept:
        raise UserError(f"{root}: pictures only in val/ and test/: put those to train on into {root / 'train'}")
    return kept, problems


def _sound(samples: list[Sample], problems: list[str]) -> list[Sample]:
    if problems:
        more = f" (and {len(problems) - 1} more: scripts/check_data.py lists them)" if problems[1:] else ""
        raise UserError(problems[0] + more)
    return samples


def match_stems(*folders: Path) -> tuple[list[tuple], list[str]]:
    """((name, a file of each folder) ..., problems) of folders whose files bear the same names but for the suffix."""
    listed = [by_stem(folder) for folder in folders]
    problems = [line for _, lines in listed for line in lines]
    matches = []
    for name in sorted({name for files, _ in listed for name in files}):
        paths = [files.get(name) for files, _ in listed]
        lacking = [folder for folder, path in zip(folders, paths, strict=True) if path is None]
        problems += [
            f"{next(filter(None, paths))}: no partner in {folder}: "
            "give both the same name but for the suffix, or remove it"
            for folder in lacking
        ]
        if not lacking:
            matches.append((name, *paths))
    return matches, problems


def by_stem(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The pictures below a folder by their path without suffix, sorted; a line for each whose name is taken."""
    found: dict[str, Path] = {}
    problems = []
    for path in list_pictures(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            problems.append(f"{path}: has the same name as {found[name].name}: rename or remove one")
        else:
            found[name] = path
    return dict(sorted(found.items())), problems


def read_pair(
    sample: Sample, palette: Palette, ignore=(IGNORED,), match: str = "threshold"
) -> tuple[np.ndarray, np.ndarray]:
    """(picture uint8 [H, W, 3], ids uint8 [H, W]) of a sample; a UserError names the file."""
    if sample.label is None:
        picture, label = split_columns(sample.image, 2)
        return rgb_array(picture), _decode_column(label, f"{sample.image}: right half", palette, ignore, match)
    picture, ids = read_picture(sample.image), read_label(sample.label, palette, ignore, match)
    _require_equal(sample.image, picture, "its label", sample.label, ids)
    return picture, ids


def read_spade(
    sample: Sample, palette: Palette, ignore=(IGNORED,), match: str = "threshold"
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """(picture uint8 [H, W, 3], ids uint8 [H, W], hair colours uint8 [H, W, 3] or None); a UserError names the file.

    A side-by-side picture three times as wide as high holds three columns, one twice as wide two, without colours.
    """
    if sample.label is None and _square_columns(sample.image) == 3:
        picture, label, colors = split_columns(sample.image, 3)
        ids = _decode_column(label, f"{sample.image}: middle of three columns", palette, ignore, match)
        return rgb_array(picture), ids, rgb_array(colors)
    picture, ids = read_pair(sample, palette, ignore, match)
    if sample.color is None:
        return picture, ids, None
    colors = read_picture(sample.color)
    _require_equal(sample.image, picture, "its colour map", sample.color, colors)
    return picture, ids, colors


def _square_columns(path: Path) -> int:
    """How many squares a picture of the spade family holds side by side: 2 or 3."""
    width, height = picture_size(path)
    if width not in (2 * height, 3 * height):
        raise UserError(
            f"{path}: {width}x{height} pixels, neither picture|label (2:1) nor picture|label|hair colours (3:1): "
            "make the parts square, or use the folders images/ and labels/"
        )
    return width // height


def read_label_and_color(
    path: Path, pair: bool, palette: Palette, ignore=(IGNORED,), match: str = "threshold"
) -> tuple[np.ndarray, np.ndarray | None]:
    """(ids uint8 [H, W], hair colours uint8 [H, W, 3]) of a label|colour picture, or (`pair` False) of a label alone,
    the colours None; a UserError names the file."""
    if not pair:
        return _decode_column(open_picture(path), str(path), palette, ignore, match, "label map"), None
    label, colors = split_columns(path, 2)
    ids = _decode_column(label, f"{path}: left half", palette, ignore, match, "label|colour picture")
    return ids, rgb_array(colors)


def is_double(path: Path, size: tuple[int, int]) -> bool:
    """Whether a file has the shape of two pictures of `size` (H, W) side by side."""
    width, height = picture_size(path)
    return width * size[0] == 2 * height * size[1]


def read_two(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """(A, B), uint8 [H, W, 3] each, of a pix2pix sample; a UserError names the file."""
    if sample.label is None:
        width, height = picture_size(sample.image)
        if width <= height:
            raise UserError(
                f"{sample.image}: {width}x{height} pixels, too narrow for a pair A|B side by side: "
                "make pairs by scripts/preprocess_edges.py, or use folders A/ and B/"
            )
        a, b = map(rgb_array, split_columns(sample.image, 2))
        return a, b
    a, b = read_picture(sample.image), read_picture(sample.label)
    _require_equal(sample.image, a, "its partner", sample.label, b)
    return a, b


def _decode_column(
    column: Image.Image, where: str, palette: Palette, ignore, match: str, kind: str = "picture|label pair"
) -> np.ndarray:
    try:
        return decode_label(column, palette, ignore, match)
    except UserError as error:
        raise UserError(f"{where}: {error}; or is this no {kind}?") from error


def _require_equal(path: Path, picture: np.ndarray, what: str, other: Path, its: np.ndarray) -> None:
    (height, width), (its_height, its_width) = picture.shape[:2], its.shape[:2]
    if (height, width) != (its_height, its_width):
        raise UserError(
            f"{path}: {width}x{height} pixels, but {what} {other} has {its_width}x{its_height}: make them equal"
        )


def split_columns(path: Path, parts: int) -> list[Image.Image]:
    """The parts of a side-by-side picture, left to right, in the mode of the file."""
    picture = open_picture(path)
    width, rest = divmod(picture.width, parts)
    if rest:
        raise UserError(
            f"{path}: {picture.width} pixels wide, which does not part into {parts} pictures side by side: "
            "make the width a multiple, or use two folders"
        )
    return [picture.crop((i * width, 0, (i + 1) * width, picture.height)) for i in range(parts)]


def sample_size(sample: Sample) -> tuple[int, int]:
    """(width, height) of a sample's picture, from the header of its file."""
    width, height = picture_size(sample.image)
    return (width if sample.label else width // 2), height


def split_pairs(
    root: Path | str,
    val: Path | str | None = None,
    val_share: float = 0.1,
    limit: int | None = None,
    first: str = "images",
    second: str = "labels",
    third: str = "",
) -> tuple[list[Sample], list[Sample], str]:
    """(training samples, validation samples, a line about them) of a data set.

    Training is root/train if there, else root. Validation is `val` (a folder, or a text file that lists
    names), else root/val, else val_share of the training samples, chosen by a hash of the name, so that
    adding files moves none. `limit` keeps the first training samples.
    """
    root = Path(root)
    train = training_samples(root, first, second, third)
    names = Path(val) if val else None
    if names is not None and not names.exists():
        raise UserError(f"data.val: {names}: no such folder or list: check the path (now in {Path.cwd()})")
    if names is not None and names.is_file():
        train, held = split_by_list(train, names)
        source = f"listed in {names}"
    elif names is not None or (root / "val").is_dir():
        held = find_pairs(names or root / "val", first, second, third)
        source = f"from {names or root / 'val'}"
        taken = {sample.image.resolve() for sample in held}
        train = [sample for sample in train if sample.image.resolve() not in taken]
    else:
        train, held = _split_by_hash(train, val_share)
        source = f"a share of {val_share:g} by name" if held else "none held out"
    if not train:
        raise UserError(f"{root}: no training samples beside those of data.val: check both")
    train = train[:limit]
    return train, held, f"{len(train)} training samples from {root}, {len(held)} for validation ({source})"


def split_by_list(samples: list[Sample], path: Path) -> tuple[list[Sample], list[Sample]]:
    """(the rest, the samples that a text file lists by name, with or without suffix)."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"data.val: {path}: not a readable text file: list one name per line") from error
    listed = {line.strip().replace("\\", "/") for line in lines if line.strip()}
    if not listed:
        raise UserError(f"data.val: {path}: lists no names: write one per line, or leave data.val out")
    held = [s for s in samples if s.name in listed or f"{s.name}{s.image.suffix}" in listed]
    unknown = listed - {s.name for s in held} - {f"{s.name}{s.image.suffix}" for s in held}
    if unknown:
        raise UserError(
            f"data.val: {path}: {len(unknown)} names that are not in the data set, such as {min(unknown)!r}: "
            "write them as below the folder, with or without suffix"
        )
    chosen = set(held)
    return [s for s in samples if s not in chosen], held


def _split_by_hash(samples: list[Sample], share: float) -> tuple[list[Sample], list[Sample]]:
    if share <= 0 or len(samples) < 2:
        return samples, []
    ranks = {s: int.from_bytes(hashlib.sha256(s.name.encode()).digest()[:8]) / 2**64 for s in samples}
    ordered = sorted(samples, key=ranks.get)
    count = sum(rank < share for rank in ranks.values())
    held = set(ordered[: min(max(count, 1), len(samples) - 1)])
    return [s for s in samples if s not in held], [s for s in samples if s in held]
