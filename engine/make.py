"""Many pictures made from files, in threads: what failed, what was left out, what was there already."""

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from engine.errors import UserError
from engine.files import whole_file
from engine.progress import progress


@dataclass
class Made:
    """What became of the jobs."""

    written: list[Path] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)  # a line for each source that could not be read
    left_out: Counter = field(default_factory=Counter)  # by reason

    def summary(self, existing: int) -> str:
        parts = [f"{len(self.written)} written"]
        if existing:
            parts.append(f"{existing} already there (--overwrite makes them again)")
        parts += [f"{count} left out: {reason}" for reason, count in sorted(self.left_out.items())]
        if self.failed:
            parts.append(f"{len(self.failed)} failed")
        return ", ".join(parts)


def make_pictures(
    make: Callable[..., Image.Image | str], jobs: Sequence[tuple[Path, ...]], workers: int = 0, title: str = "making"
) -> Made:
    """make(*sources) of every job (*sources, target), as PNG; a source that cannot be read stops no other.

    Args:
        make: returns the picture, or the reason why none is written; raises a UserError for a bad source.
        workers: threads that work (0: as 1). The files do not depend on it.
        title: of the bar.

    Raises:
        UserError: a target cannot be written.
    """

    def attempt(job: tuple[Path, ...]) -> UserError | str | None:
        try:
            picture = make(*job[:-1])
        except UserError as error:
            return error
        if isinstance(picture, str):
            return picture
        with whole_file(job[-1]) as part:
            picture.save(part, "PNG")
        return None

    made = Made()
    pool = ThreadPoolExecutor(max(1, workers))
    try:
        outcomes = pool.map(attempt, jobs)
        for outcome, (*sources, target) in zip(progress(outcomes, len(jobs), title, "picture"), jobs, strict=True):
            if outcome is None:
                made.written.append(target)
            elif isinstance(outcome, str):
                made.left_out[outcome] += 1
                tqdm.write(f"{sources[0]}: left out: {outcome}")
            else:
                made.failed.append(str(outcome))
                tqdm.write(f"error: {outcome}", file=sys.stderr)
    finally:
        pool.shutdown(cancel_futures=True)  # at Ctrl-C or a full disk the rest is not worked through
    return made
