"""Pictures of tags from image boards, over the gallery-dl library: politely, resumable, each fetched once.

gallery-dl (GPL-2.0) is installed apart (requirements-extra.txt); this module and data/collecting/sites.py import it.
"""

import contextlib
import logging
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from gallery_dl import config, exception, extractor
from gallery_dl.extractor.message import Message
from gallery_dl.job import DownloadJob
from tqdm import tqdm

from data.collecting.pace import Pace
from data.collecting.sites import keys_from_environment
from data.collecting.tags import Wanted, folder_name
from engine.errors import UserError
from engine.files import cannot_write

REFUSALS = 3  # tags in a row that a site refuses to list, before the crawl stops asking


@dataclass
class Tally:
    """What became of a tag's pictures; gallery-dl reports to it as to its own output (start, skip, success, ...)."""

    tag: str
    listed: int = 0  # of the wanted kind, whether in the range or before it
    found: int = 0  # in the range
    downloaded: int = 0
    existing: int = 0
    left_out: Counter = field(default_factory=Counter)  # by reason
    unrated: int = 0
    problem: str = ""  # the last one
    status: int = 0  # gallery-dl's, 0 if all went well
    bar: tqdm | None = None
    said: float = field(default_factory=time.monotonic)

    @property
    def failed(self) -> int:
        return self.found - self.downloaded - self.existing

    def start(self, path: str) -> None: ...

    def progress(self, bytes_total: int, bytes_downloaded: int, bytes_per_second: int) -> None: ...

    def skip(self, path: str) -> None:
        self.existing += 1
        self._advance()

    def success(self, path: str) -> None:
        self.downloaded += 1
        self._advance()

    def _advance(self) -> None:
        self.bar.update()
        if self.bar.disable and time.monotonic() - self.said > 30:  # no terminal
            self.said = time.monotonic()
            print(f"{self.tag}: {self.summary()} so far", flush=True)

    def summary(self) -> str:
        counts = {"downloaded": self.downloaded, "already there": self.existing, "failed": self.failed, **self.left_out}
        return ", ".join([f"{self.found} found", *(f"{count} {what}" for what, count in counts.items() if count)])

    def trouble(self) -> str | None:
        """What the user should know at the end, None if all went well."""
        if self.failed:
            return f"{self.failed} failed ({self.problem})"
        if self.status:
            return f"cut short ({self.problem})" if self.found else self.problem
        return None if self.found else self._emptiness()

    def _emptiness(self) -> str:
        reasons = [f"{count} {reason}" for reason, count in self.left_out.items()]
        reasons += [f"{self.listed} before the range"] if self.listed else []
        return f"none wanted ({', '.join(reasons)})" if reasons else "no results"


class TagJob(DownloadJob):
    """A gallery-dl job that fetches the wanted pictures at a pace, and counts them in a tally."""

    def __init__(self, url: Any, parent: "TagJob | None" = None, order: tuple[Tally, Wanted, Pace] | None = None):
        super().__init__(url, parent)
        self.order = parent.order if parent else order
        self.out = self.order[0]
        if parent is None:  # a gallery that a search leads to keeps a folder of its own
            self.extractor.directory_fmt = ()
            # A picture is itself, whatever tag it was found by.
            self.extractor.archive_fmt = re.sub(r"^\w_\{search[^}]*\}_", "", self.extractor.archive_fmt)

    def _init(self) -> None:
        super()._init()
        self.order[2].govern(self.extractor.session)

    def dispatch(self, messages: Iterable[tuple]) -> int | None:
        return super().dispatch(self._wanted(messages))

    def _wanted(self, messages: Iterable[tuple]) -> Iterator[tuple]:
        tally, wanted, _ = self.order
        danbooru = self.extractor.basecategory == "Danbooru"
        for kind, url, about in messages:
            if kind == Message.Url:
                reason = wanted.reason_against(about, danbooru)
                if reason:
                    tally.left_out[reason] += 1
                    continue
                tally.listed += 1
                if tally.listed < wanted.first:
                    continue
                tally.found += 1
                tally.unrated += not about.get("rating")
            yield kind, url, about
            if tally.listed >= wanted.last:
                return

    def download(self, url: str) -> bool:
        try:
            return super().download(url)
        except OSError as error:  # gallery-dl lets only that of a full disk through, to end this tag: end all
            raise exception.TerminateExtraction() from error


class Reports(logging.Handler):
    """What gallery-dl warns of, as lines on stderr; keys in addresses are blotted out."""

    def __init__(self, tally: Tally, secrets: Iterable[str]):
        super().__init__(logging.WARNING)
        self.tally = tally
        self.secrets = {form for secret in secrets for form in (secret, quote_plus(secret))}

    def emit(self, record: logging.LogRecord) -> None:
        line = " ".join(record.getMessage().split())
        for secret in self.secrets:
            line = line.replace(secret, "***")
        if record.name != "download":  # which says that a file failed, after the reason
            self.tally.problem = line
        tqdm.write(f"{self.tally.tag}: {line}", file=sys.stderr)


def crawl(tallies: list[Tally], url: str, output: Path, wanted: Wanted, seconds: float, agent: str) -> Iterator[Tally]:
    """Fetch each tag's pictures into a folder of its own below `output`; yields each tally when it is done.

    Each picture is fetched once, into the folder of the first of its tags: output/fetched.sqlite3 remembers it, also
    when the file is removed. A sidecar NAME.json says what the site knows of it. A file that is cut off stays
    NAME.part, and the next crawl fetches the rest.

    Args:
        url: of a tag search, with {tag}.
        seconds: from one request to the next.
        agent: the user agent that the site sees.

    Raises:
        UserError: the disk is full, or the site refuses one tag after the other.
    """
    site = extractor.find(url)
    keys = keys_from_environment(site.category)
    for key, value in (_settings(output, seconds, agent) | keys).items():
        config.set((), key, value)
    secrets = [value for key, value in keys.items() if key not in ("username", "user-id")]
    pace, refused = Pace(seconds), 0
    for tally in tallies:
        count = wanted.last - wanted.first + 1
        with tqdm(total=count, desc=tally.tag, unit="picture", leave=False, disable=None) as bar:
            tally.bar = bar
            with _reports(tally, secrets):
                _fetch(tally, url, output / folder_name(tally.tag), wanted, pace)
        yield tally
        refused = refused + 1 if tally.status and not tally.found else 0
        if refused == REFUSALS:
            raise UserError(f"{site.root}: refused {refused} tags in a row ({tally.problem}): try again later")


def _fetch(tally: Tally, url: str, folder: Path, wanted: Wanted, pace: Pace) -> None:
    config.set((), "base-directory", str(folder.absolute()))
    job = TagJob(url.replace("{tag}", quote(tally.tag, safe="")), order=(tally, wanted, pace))
    try:
        tally.status = job.run()
    except exception.TerminateExtraction as error:
        raise cannot_write(folder, error.__cause__) from error


@contextlib.contextmanager
def _reports(tally: Tally, secrets: list[str]) -> Iterator[None]:
    handler = Reports(tally, secrets)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def _settings(output: Path, seconds: float, agent: str) -> dict[str, Any]:
    """gallery-dl's settings that this crawl depends on, whatever a file of settings says."""
    return {
        "user-agent": agent,
        "sleep-request": seconds,  # also where a site's own client makes the requests
        "sleep-429": 0,  # Pace waits
        "retry-codes": [408, 429],
        "path-restrict": "windows",
        "path-strip": "windows",
        "archive": str(output.absolute() / "fetched.sqlite3"),
        "postprocessors": [{"name": "metadata", "mode": "json"}],
        "input": False,  # never ask for a password
        "part": True,
        "skip": True,
    }
