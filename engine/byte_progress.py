"""A bar over bytes, as engine/progress.py has one over items."""

import time
from collections.abc import Iterable, Iterator

from tqdm import tqdm


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count} bytes"


def byte_progress(
    chunks: Iterable[bytes], total: int | None, what: str, start: int = 0, every: float = 30.0
) -> Iterator[bytes]:
    """The chunks, with a bar on stderr if it takes more than a second or, where that is no terminal, a line at times.

    total: bytes at the end, None if unknown. start: bytes that were there before the first chunk.
    """
    done, said = start, time.monotonic()
    with tqdm(
        total=total, initial=start, desc=what, unit="B", unit_scale=True, delay=1, leave=False, disable=None
    ) as bar:
        for chunk in chunks:
            yield chunk
            bar.update(len(chunk))
            done += len(chunk)
            if bar.disable and time.monotonic() - said > every:
                said = time.monotonic()
                print(f"{what}: {megabytes(done)}{f' of {megabytes(total)}' if total else ''}", flush=True)
