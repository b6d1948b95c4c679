"""What a crawl asks for: the list of tags, which pictures of a tag, and the folder where they go."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from data.images import SUFFIXES
from engine.errors import UserError

LONGEST = 200  # characters of a tag; what is longer is a slip, such as a list on one line
UNSAFE = re.compile(r'[<>:"/\\|?*$%{}\x00-\x1f\x7f]')  # in file names of Windows, or given a meaning by gallery-dl
RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # no file names on Windows
RATINGS = ("safe", "sensitive", "questionable", "explicit")
RANKS = {"general": 0, "safe": 0, "sensitive": 1, "questionable": 2, "explicit": 3, "g": 0, "q": 2, "e": 3}


def read_tags(path: Path) -> list[str]:
    """The tags of a UTF-8 file, one on each line, in its order, each once; empty lines and # comments are skipped.

    A line of several tags asks for the pictures that have all of them.

    Raises:
        UserError: the file cannot be read, has a line that is no tag, or no tags.
    """
    try:
        lines = path.read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        reason = f"cannot be read ({error.strerror}): name a text file with a tag on each line, such as data/tags.txt"
        raise UserError(f"--tags {path}: {reason}", 2) from error
    tags = {}
    for number, line in enumerate(lines, 1):
        tag = _tag(line, f"--tags {path}, line {number}")
        if tag:
            tags.setdefault(tag.casefold(), tag)  # the sites do not tell upper from lower case
    if not tags:
        raise UserError(f"--tags {path}: no tags inside: write one on each line, as data/tags.txt does", 2)
    return list(tags.values())


def _tag(line: bytes, where: str) -> str:
    """The tag of a line, "" if there is none."""
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: is not UTF-8: save the file in this encoding", 2) from error
    text = re.sub(r"(^|\s)#.*", "", text)  # a # within a word may belong to a tag
    tag = unicodedata.normalize("NFC", re.sub(r"[ \t\u3000]+", " ", text).strip(" "))
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in tag):
        raise UserError(f"{where}: {tag!r} has control characters: write the tag as text", 2)
    if len(tag) > LONGEST:
        raise UserError(f"{where}: {tag[:30]}... has {len(tag)} characters: write one tag on each line", 2)
    if "://" in tag:
        raise UserError(f"{where}: {tag} is an address: write the tag alone, and name the site with --site", 2)
    return tag


def folder_name(tag: str) -> str:
    """The name of a tag's folder on any file system: the tag itself where that is possible.

    Where it is not, a hash of the tag keeps the folders of different tags apart. Never hidden, at most 120 bytes.
    """
    name = UNSAFE.sub("_", tag).strip(". ").removeprefix("~")
    while len(name.encode()) > 120:
        name = name[:-1]
    if RESERVED.fullmatch(name):
        name = f"_{name}"
    if name == tag:
        return name
    return f"{name.rstrip('. ') or 'tag'}-{hashlib.sha256(tag.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Wanted:
    """Which of a tag's pictures are fetched: numbers first..last of those that `rating` allows."""

    first: int
    last: int
    rating: str  # at most this one of RATINGS

    def reason_against(self, about: dict, danbooru: bool) -> str | None:
        """Why a file is left out, from what the site says about it; a file without a rating is not."""
        suffix = about.get("extension")
        if suffix and f".{suffix.lower()}" not in SUFFIXES:
            return "no picture"
        rating = str(about.get("rating") or "").casefold()
        allowed = RATINGS.index(self.rating)
        if not rating or allowed == RANKS["explicit"]:
            return None
        # "s" is sensitive on Danbooru, where general is the safest, and safe everywhere else.
        rank = int(danbooru) if rating == "s" else RANKS.get(rating, RANKS["explicit"])
        return f"not rated {self.rating}" if rank > allowed else None
