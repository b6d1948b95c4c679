"""Many pictures made from files, in threads: what failed, what was left out, what was there already."""

import contextlib
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from engine.errors import UserError
from engine.files import whole_file
from engine.progress import progress

AHEAD = 256  # jobs begun before the result of the first of them is taken


@dataclass
class Made:
    """What became of the jobs."""

    written: list[Path] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # a line for each source that could not be read
    left_out: Counter = field(default_factory=Counter)  # by reason

    def summary(self, existing: int, what: str = "written") -> str:
        parts = [f"{len(self.written)} {what}"]
        if existing:
            parts.append(f"{existing} already there (--overwrite makes them again)")
        parts += [f"{count} left out: {reason}" for reason, count in sorted(self.left_out.items())]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        return ", ".join(parts)


def in_threads(
    work: Callable[..., Any], jobs: Sequence[tuple], workers: int, title: str, unit: str = "picture"
) -> Iterator[Any]:
    """work(*job) of every job, in their order, with a bar. Close it to leave out what is not yet begun.

    No more than AHEAD jobs are begun or done before their result is taken, so that results do not pile up in memory.
    """
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        yield from progress(_results(pool, work, jobs), len(jobs), title, unit)
    finally:
        pool.shutdown(cancel_futures=True)


def _results(pool: ThreadPoolExecutor, work: Callable[..., Any], jobs: Sequence[tuple]) -> Iterator[Any]:
    waiting = deque()
    for job in jobs:
        if len(waiting) == AHEAD:
            yield waiting.popleft().result()
        waiting.append(pool.submit(work, *job))
    while waiting:
        yield waiting.popleft().result()


def make_files(
    make: Callable[..., dict[Path, Image.Image] | str], jobs: Sequence[tuple], workers: int = 0, title: str = "making"
) -> Made:
    """make(*job) of every job, (source, ...), as PNG; a source that cannot be read stops no other.

    Args:
        make: returns the pictures by their files, written in this order, or the reason why none is written; raises
            a UserError for a bad source.
        workers: threads that work (0: as 1). The files do not depend on it.
        title: of the bar.

    Raises:
        UserError: a file cannot be written.
    """

    def attempt(*job: Any) -> UserError | str | list[Path]:
        try:
            pictures = make(*job)
        except UserError as error:
            return error
        if isinstance(pictures, str):
            return pictures
        for target, picture in pictures.items():
            with whole_file(target) as part:
                picture.save(part, "PNG")
        return list(pictures)

    made = Made()
    # closing: at Ctrl-C or a full disk the rest is not worked through
    with contextlib.closing(in_threads(attempt, jobs, workers, title)) as outcomes:
        for outcome, (source, *_) in zip(outcomes, jobs, strict=True):
            if isinstance(outcome, UserError):
                made.failed.append(str(outcome))
                tqdm.write(f"error: {outcome}", file=sys.stderr)
            elif isinstance(outcome, str):
                made.left_out[outcome] += 1
                tqdm.write(f"{source}: left out: {outcome}")
            else:
                made.written += outcome
    return made


def make_pictures(
    make: Callable[..., Image.Image | str], jobs: Sequence[tuple[Path, ...]], workers: int = 0, title: str = "making"
) -> Made:
    """As make_files, with one picture, make(*sources), of every job (*sources, target)."""

    def single(*job: Path) -> dict[Path, Image.Image] | str:
        picture = make(*job[:-1])
        return picture if isinstance(picture, str) else {job[-1]: picture}

    return make_files(single, jobs, workers, title)
