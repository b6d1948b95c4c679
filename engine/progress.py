"""A bar in a terminal, plain lines elsewhere, for everything that takes longer than a second or two."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from tqdm import tqdm


def progress(items: Iterable[Any], total: int, what: str, unit: str = "file", every: float = 30.0) -> Iterator[Any]:
    """The items, with a tqdm bar on stderr or, where that is no terminal, a line at the start, the end and between."""
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=what, unit=unit, leave=None)  # below another bar it vanishes
        return
    started = said = time.monotonic()
    units = unit + ("es" if unit.endswith("ch") else "s")
    print(f"{what}: {total} {units}", flush=True)
    done = 0
    for done, item in enumerate(items, 1):  # noqa: B007 (used after the loop)
        yield item
        if time.monotonic() - said > every:
            said = time.monotonic()
            print(f"{what}: {done} of {total} {units}", flush=True)
    print(f"{what}: {done} {units} in {time.monotonic() - started:.0f} s", flush=True)
