"""What is wrong with the pictures of a folder: empty, broken, small, flat, duplicates."""

import contextlib
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from data.collecting.near import BITS, bits_apart, difference_hash, near_duplicates
from data.images import read_picture, system_failed
from engine.errors import UserError
from engine.make import in_threads

# In the order in which they are looked for; a picture gets the first that fits.
REASONS = ("rejected", "empty", "broken", "small", "flat", "duplicate", "near")


@dataclass(frozen=True)
class Fault:
    """Why a picture is to be left out."""

    reason: str  # one of REASONS
    detail: str
    of: Path | None = None  # duplicate, near: the picture that is kept


@dataclass(frozen=True)
class Limits:
    """min_side: pixels of the shorter side; flat: levels of deviation from the mean colour, of 255; near: bits of
    difference between the hashes, None: near duplicates stay."""

    min_side: int
    flat: float
    near: int | None


@dataclass(frozen=True)
class Seen:
    """What is kept in mind of a picture without fault of its own."""

    pixels: int
    content: bytes  # a hash of its decoded pixels
    look: np.ndarray  # its difference_hash


@dataclass
class Found:
    faults: dict[Path, Fault] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)  # lines about files that the system did not let us read


def find_faults(paths: list[Path], limits: Limits, rejected: Mapping[Path, Fault], workers: int) -> Found:
    """The faults of the pictures; `rejected` ones are not looked at, nor kept instead of a duplicate."""
    found = Found(faults=dict(rejected))
    jobs = [(path, limits) for path in paths if path not in rejected]
    seen: dict[Path, Seen] = {}
    with contextlib.closing(in_threads(_attempt, jobs, workers, "looking at the pictures")) as outcomes:
        for (path, _), outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, Seen):
                seen[path] = outcome
            elif isinstance(outcome, Fault):
                found.faults[path] = outcome
            else:
                found.failed.append(str(outcome))
    found.faults |= find_duplicates(seen, limits.near)
    return found


def find_duplicates(seen: Mapping[Path, Seen], near: int | None) -> dict[Path, Fault]:
    """The faults of pictures that repeat another one: the larger is kept, of equal ones the first."""
    faults = {}
    kept: dict[bytes, Path] = {}
    for path in sorted(seen, key=lambda path: -seen[path].pixels):
        original = kept.setdefault(seen[path].content, path)
        if original != path:
            faults[path] = Fault("duplicate", "the same pixels", original)
    if near is not None and kept:
        rest = list(kept.values())
        looks = np.stack([seen[path].look for path in rest])
        for index, original in near_duplicates(looks, near).items():
            detail = f"{bits_apart(looks[index], looks[original])} of {BITS} bits differ"
            faults[rest[index]] = Fault("near", detail, rest[original])
    return faults


def inspect(path: Path, limits: Limits) -> Seen | Fault:
    """A look at one picture.

    Raises:
        UserError: the system does not let us read the file, which says nothing about the picture.
    """
    try:
        if not path.stat().st_size:
            return Fault("empty", "0 bytes")
        picture = read_picture(path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: check the file") from error
    except UserError as error:
        if system_failed(error):
            raise
        return Fault("broken", str(error).removeprefix(f"{path}: "))
    height, width = picture.shape[:2]
    if min(height, width) < limits.min_side:
        return Fault("small", f"{width}x{height} pixels")
    deviation = picture.reshape(-1, 3).std(axis=0).max()
    if deviation < limits.flat:
        return Fault("flat", f"deviates by {deviation:.1f} levels")
    content = hashlib.sha256(f"{width}x{height}".encode() + picture.tobytes()).digest()
    return Seen(height * width, content, difference_hash(picture))


def _attempt(path: Path, limits: Limits) -> Seen | Fault | UserError:
    try:
        return inspect(path, limits)
    except UserError as error:
        return error
