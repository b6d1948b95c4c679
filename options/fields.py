"""What an option may hold: each kind reads a YAML or command-line value, or raises ValueError."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Kind:
    """`read(value)` returns the typed value or raises ValueError; `expected` says in words what it takes.

    raw: a word of the command line is taken as it stands, not as YAML (a folder named 007 is no number).
    """

    expected: str
    read: Callable[[Any], Any]
    raw: bool = False


def option(default: Any, kind: Kind, help: str) -> Any:
    """A field of an options dataclass with its kind and its meaning."""
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: default, metadata={"kind": kind, "help": help})
    return field(default=default, metadata={"kind": kind, "help": help})


def group(cls: type) -> Any:
    """A nested group of options."""
    return field(default_factory=cls)


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {least} to {most}"
    if least is not None:
        return f" of at least {least}"
    return f" of at most {most}" if most is not None else ""


def number(least: float | None = None, most: float | None = None, above: float | None = None) -> Kind:
    """A finite number from `least` to `most`, or one above `above`."""

    def read(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        value = float(value)  # PyYAML reads 2e-4 as text
        if not math.isfinite(value) or (least is not None and value < least) or (most is not None and value > most):
            raise ValueError
        if above is not None and value <= above:
            raise ValueError
        return value

    return Kind("a number" + (_range(least, most) if above is None else f" above {above}"), read)


def integer(least: int | None = None, most: int | None = None) -> Kind:
    as_number = number(least, most)

    def read(value: Any) -> int:
        if isinstance(value, int) and not isinstance(value, bool):
            as_number.read(value)
            return value
        value = as_number.read(value)
        if value != int(value):
            raise ValueError
        return int(value)

    return Kind("a whole number" + _range(least, most), read)


def flag() -> Kind:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}

    def read(value: Any) -> bool:
        if isinstance(value, bool):
            return value
        if str(value).lower() not in words:
            raise ValueError
        return words[str(value).lower()]

    return Kind("true or false", read)


def flag_or(*words: str) -> Kind:
    """A flag, or one of some words that say more."""
    plain, word = flag(), choice(*words)

    def read(value: Any) -> bool | str:
        return word.read(value) if value in words else plain.read(value)

    return Kind("true, false or " + "|".join(words), read)


def text(expected: str = "text") -> Kind:
    def read(value: Any) -> str:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)) or str(value) == "":
            raise ValueError
        return str(value)

    return Kind(expected, read, raw=True)


def path(expected: str) -> Kind:
    """A file or folder; `~` is the home folder."""

    def read(value: Any) -> str:
        return str(Path(text().read(value)).expanduser())

    return Kind(expected, read, raw=True)


def choice(*values: Any) -> Kind:
    def read(value: Any) -> Any:
        if isinstance(value, bool) or value not in values:
            raise ValueError
        return values[values.index(value)]

    return Kind("one of " + "|".join(map(str, values)), read)


def optional(kind: Kind) -> Kind:
    """`none` (or YAML's null) or the kind."""

    def read(value: Any) -> Any:
        return None if value is None or value == "none" else kind.read(value)

    return Kind(kind.expected + " or none", read, kind.raw)


def list_of(kind: Kind, length: int | None = None, expected: str | None = None) -> Kind:
    """A list; on the command line `a,b,c` or `[a, b, c]`, `none` for the empty list."""

    def read(value: Any) -> tuple:
        if value is None or value == "none":
            value = []
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        if not isinstance(value, (list, tuple)):
            value = [value]
        if length is not None and len(value) != length:
            raise ValueError
        return tuple(kind.read(part) for part in value)

    count = "a list of" if length is None else f"{length} of"
    return Kind(expected or f"{count} ({kind.expected})", read)


def size() -> Kind:
    """A picture size: N (square), [H, W], or native."""
    side = integer(8, 8192)

    def read(value: Any) -> Any:
        if value == "native":
            return value
        if isinstance(value, str) and "," in value:
            value = value.strip("[]").split(",")
        if isinstance(value, (list, tuple)):
            height, width = (side.read(part) for part in value)
            return (height, width)
        return (side.read(value), side.read(value))

    return Kind("N, [H, W] (8 to 8192) or native", read)


def classes() -> Kind:
    """Classes: `anime`, a list of names, or a mapping name: [r, g, b]; kept as a tuple of (name, colour or None)."""
    channel = integer(0, 255)

    def read(value: Any) -> Any:
        if value == "anime":
            return value
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",")]
        pairs = (
            value.items()
            if isinstance(value, dict)
            else [part if isinstance(part, (list, tuple)) else (part, None) for part in value or []]
        )
        read_pairs = tuple(
            (text().read(name), None if color is None else list_of(channel, 3).read(color)) for name, color in pairs
        )
        if not 2 <= len(read_pairs) <= 254 or len({name for name, _ in read_pairs}) != len(read_pairs):
            raise ValueError
        return read_pairs

    return Kind("anime, a list of 2 to 254 names, or a mapping name: [r, g, b]", read)
