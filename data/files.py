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
    """A picture and its label; without a label file the picture's file holds both, side by side."""

    name: str  # posix path below its folder, without suffix
    image: Path
    label: Path | None


def find_pairs(folder: Path | str, first: str = "images", second: str = "labels") -> list[Sample]:
    """The samples of a folder, sorted: two sub-folders matched by stem, or side-by-side pictures.

    Raises UserError for an empty folder, a file without partner, or two files with one stem.
    """
    folder = Path(folder)
    there = [name for name in (first, second) if (folder / name).is_dir()]
    if len(there) == 1:
        missing = second if there == [first] else first
        raise UserError(f"{folder}: has {there[0]}/ but no {missing}/: add it, or name another folder")
    if not there:
        return [Sample(name, path, None) for name, path in by_stem(folder).items()]
    return [Sample(name, a, b) for name, a, b in match_stems(folder / first, folder / second)]


def match_stems(first: Path, second: Path) -> list[tuple[str, Path, Path]]:
    """(name, file, partner) of two folders whose files bear the same names but for the suffix, sorted."""
    files, partners = by_stem(first), by_stem(second)
    for here, there, folder, other in ((files, partners, first, second), (partners, files, second, first)):
        alone = [path for name, path in here.items() if name not in there]
        if alone:
            raise UserError(
                f"{alone[0]}: no partner in {other}{_and_more(alone, folder)}: "
                "give both the same name but for the suffix, or remove it"
            )
    return [(name, path, partners[name]) for name, path in files.items()]


def by_stem(folder: Path) -> dict[str, Path]:
    """The pictures below a folder by their path without suffix, sorted; two with one name are a UserError."""
    found: dict[str, Path] = {}
    for path in list_pictures(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise UserError(f"{path}: has the same name as {found[name].name}: rename or remove one")
        found[name] = path
    return dict(sorted(found.items()))


def read_pair(
    sample: Sample, palette: Palette, ignore=(IGNORED,), match: str = "threshold"
) -> tuple[np.ndarray, np.ndarray]:
    """(picture uint8 [H, W, 3], ids uint8 [H, W]) of a sample; a UserError names the file."""
    if sample.label is None:
        picture, label = split_columns(sample.image, 2)
        try:
            picture, ids = rgb_array(picture), decode_label(label, palette, ignore, match)
        except UserError as error:
            raise UserError(f"{sample.image}: right half: {error}") from error
    else:
        picture = read_picture(sample.image)
        ids = read_label(sample.label, palette, ignore, match)
    if picture.shape[:2] != ids.shape:
        raise UserError(
            f"{sample.image}: {picture.shape[1]}x{picture.shape[0]} pixels, but its label {sample.label} has "
            f"{ids.shape[1]}x{ids.shape[0]}: make them equal"
        )
    return picture, ids


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
) -> tuple[list[Sample], list[Sample], str]:
    """(training samples, validation samples, a line about them) of a data set.

    Training is root/train if there, else root. Validation is `val` (a folder, or a text file that lists
    names), else root/val, else val_share of the training samples, chosen by a hash of the name, so that
    adding files moves none. `limit` keeps the first training samples.
    """
    root = Path(root)
    train = _training_part(root, first, second)
    names = Path(val) if val else None
    if names is not None and not names.exists():
        raise UserError(f"data.val: {names}: no such folder or list: check the path (now in {Path.cwd()})")
    if names is not None and names.is_file():
        train, held = _split_by_list(train, names)
        source = f"listed in {names}"
    elif names is not None or (root / "val").is_dir():
        held = find_pairs(names or root / "val", first, second)
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


def _training_part(root: Path, first: str, second: str) -> list[Sample]:
    if (root / "train").is_dir():
        return find_pairs(root / "train", first, second)
    samples = find_pairs(root, first, second)
    # Side by side directly in the root: its val/ and test/ are no training data.
    return [s for s in samples if s.image.relative_to(root).parts[0] not in ("val", "test")]


def _split_by_list(samples: list[Sample], path: Path) -> tuple[list[Sample], list[Sample]]:
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


def _and_more(paths: list[Path], folder: Path) -> str:
    if len(paths) == 1:
        return ""
    named = ", ".join(path.relative_to(folder).as_posix() for path in paths[1:3])
    return f" (nor have {named}{f' and {len(paths) - 3} more' if len(paths) > 3 else ''})"
