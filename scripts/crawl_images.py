"""Fetch pictures by tags from an image board, over the gallery-dl library.

    python scripts/crawl_images.py --tags data/tags.txt --output pictures --range 1-1000 --contact me@example.org

Each tag's pictures go to a folder of its own below --output, each with what the site knows of it in a JSON file
beside it. A picture with several of the tags is fetched once, for the first of them. The same command goes on where a
crawl was stopped: OUTPUT/fetched.sqlite3 holds what was fetched, so that what you removed since does not come back.

Be a good guest: one request per second, and as slow as the site asks for; --contact tells the site whom to write to.
The pictures belong to their authors: see what each site and author allows.

Keys come from the environment alone: SITE_USERNAME, SITE_PASSWORD, SITE_API_KEY, SITE_API_SECRET, SITE_USER_ID,
SITE_ACCESS_TOKEN and SITE_ACCESS_TOKEN_SECRET with the site's name, such as DANBOORU_USERNAME and DANBOORU_API_KEY.

Needs gallery-dl: pip install -r requirements-extra.txt

Exit code 0: all fetched; 1: a tag gave nothing or files failed, listed at the end; 2: wrong arguments.
"""

import argparse
import re
import shlex
import sys
import time
import unicodedata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.collecting.tags import RATINGS, Wanted, read_tags
from engine.errors import UserError, door
from engine.files import require_writable


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    tags = read_tags(args.tags)
    try:
        from data.collecting import crawl, sites
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "gallery_dl":
            raise
        raise UserError("gallery-dl: is not installed: pip install -r requirements-extra.txt") from error

    sites.read_settings(args.config)
    url = sites.site_url(args.site)
    if not args.contact and not sites.is_local(url):
        raise UserError("--contact: is missing: a mail or web address by which the site can reach you", 2)
    require_writable(args.output)
    wanted = Wanted(*args.range, args.rating)
    agent = f"Atelier picture crawler ({args.contact or 'local'})"
    tallies, started = [crawl.Tally(tag) for tag in tags], time.monotonic()
    try:
        done = crawl.crawl(tallies, url, args.output, wanted, args.sleep, agent)
        for number, tally in enumerate(done, 1):
            seconds = time.monotonic() - started
            print(f"{number}/{len(tags)} {tally.tag}: {tally.summary()} ({seconds:.0f} s)", flush=True)
            started = time.monotonic()
    finally:  # also when it is stopped
        print(table([tally for tally in tallies if tally.bar is not None]))
    report(tallies, args.output)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument(
        "--tags", required=True, type=Path, help="a text file (UTF-8) with a tag on each line; # begins a comment"
    )
    parser.add_argument("--output", required=True, type=Path, help="the folder for the tags' folders")
    parser.add_argument(
        "--range",
        type=span,
        default=(1, 1000),
        metavar="A-B",
        help="of each tag, the A-th to the B-th picture that the site lists and --rating allows (default 1-1000)",
    )
    parser.add_argument(
        "--site",
        default="danbooru",
        help="danbooru (default), safebooru, flickr or any site with a tag search that gallery-dl knows by name; "
        "or the address of a tag search, with {tag}",
    )
    parser.add_argument("--contact", type=contact, help="your mail or web address, which the site sees")
    parser.add_argument("--sleep", type=float, default=1.0, help="seconds from one request to the next (default 1)")
    parser.add_argument(
        "--rating",
        choices=RATINGS,
        default="safe",
        help="leave out what the site rates beyond this (default safe; explicit leaves out nothing); "
        "pictures without a rating are kept",
    )
    parser.add_argument("--config", type=Path, help="a file of further gallery-dl settings (JSON)")
    args = parser.parse_args(arguments)
    if not 0 <= args.sleep <= 3600:
        parser.error(f"--sleep {args.sleep:g}: expected 0 to 3600 seconds")
    return args


def span(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,9})-(\d{1,9})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text}: expected A-B with 1 <= A <= B, such as 1-1000")
    return int(match[1]), int(match[2])


def contact(text: str) -> str:
    if not re.fullmatch(r"[!-~]+@[!-~]+\.[!-~]+|https?://[!-~]+", text):
        raise argparse.ArgumentTypeError(f"{text}: expected a mail or web address (ASCII), such as me@example.org")
    return text


def table(tallies: list) -> str:
    """The counts of all tags and their sum, a line each."""
    names = ["found", "downloaded", "already there", "failed", "left out"]
    counts = [(t.found, t.downloaded, t.existing, t.failed, t.left_out.total()) for t in tallies]
    total = [sum(row[i] for row in counts) for i in range(len(names))]
    tags = ["", *(t.tag for t in tallies), "all"]
    width = max(map(columns, tags))
    lines = []
    for tag, row in zip(tags, [names, *counts, total], strict=True):
        cells = (f"{cell:>{len(name)}}" for cell, name in zip(row, names, strict=True))
        lines.append("  ".join([tag + " " * (width - columns(tag)), *cells]))
    return "\n".join(lines)


def columns(text: str) -> int:
    """How wide a terminal shows it: kanji and their like take two columns, combining marks none."""
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.category(letter) == "Mn" for letter in text)


def report(tallies: list, output: Path) -> None:
    """What to do next, and what went wrong.

    Raises:
        UserError: a tag gave nothing, or a file failed.
    """
    unrated = sum(tally.unrated for tally in tallies)
    if unrated:
        print(f"{unrated} pictures without a rating were kept")
    if any(tally.downloaded or tally.existing for tally in tallies):
        print(f"next: python scripts/crop_faces.py --input {shlex.quote(output.as_posix())} --output faces")
    troubles = [f"{tally.tag}: {tally.trouble()}" for tally in tallies if tally.trouble()]
    if troubles:
        count = f"{len(troubles)} of {len(tallies)} tags gave nothing or not everything"
        raise UserError(f"{count}; the same command fetches what is missing:\n  " + "\n  ".join(troubles))


if __name__ == "__main__":
    door(main)
