"""Web pages that come where a file should: what they say, and where Google Drive's confirm button leads."""

import re
from html.parser import HTMLParser
from urllib.parse import urlencode, urljoin, urlsplit

PAGE = 2**20  # bytes of a page that are read
# what a page says, or where it is -> what it is
REASONS = {
    r"quota|too many users have viewed or downloaded": "Google Drive's quota page: try again tomorrow",
    r"virus scan|scan this file for viruses": "Google Drive's virus-scan page, with no way on that this program knows",
    r"accounts\.google\.com|request access|you need (access|permission)": "a page that wants a login",
    r"log ?in|sign ?in": "a login page",
    r"not found|does not exist|no longer available": "a page that says there is no such file",
}


def looks_like_html(start: bytes) -> bool:
    """Whether a file that starts so is a web page."""
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return start.startswith((b"<!doctype html", b"<html", b"<head", b"<!--"))


def explain(page: bytes, url: str) -> str:
    """What the page says that came in a file's place."""
    text = " ".join(page[:PAGE].decode("utf-8", "replace").split())
    reason = next((reason for words, reason in REASONS.items() if re.search(words, f"{url} {text}", re.I)), "")
    title = re.search(r"<title[^>]*>(.*?)</title", text, re.I)
    named = title[1].strip()[:80] if title else ""
    said = f' "{named}"' if named else ""
    return f"a web page{said} came instead of the file{f', {reason}' if reason else ''}"


def confirm_address(page: bytes, url: str) -> str | None:
    """Where the button "download anyway" of Google Drive's page leads, None if this is no such page.

    It is followed within Google, or on the page's own host.
    """
    parser = _Buttons()
    parser.feed(page[:PAGE].decode("utf-8", "replace"))
    if parser.form is not None:
        action, fields = parser.form
        address = urljoin(url, action)
        if fields:
            address += ("&" if urlsplit(address).query else "?") + urlencode(fields)
    elif parser.link is not None:
        address = urljoin(url, parser.link)
    else:
        return None
    here, there = urlsplit(url), urlsplit(address)
    google = all(f".{part.hostname}".endswith((".google.com", ".googleusercontent.com")) for part in (here, there))
    return address if there.scheme in ("http", "https") and (google or here.netloc == there.netloc) else None


class _Buttons(HTMLParser):
    """The download form, (action, its hidden fields), and the older link with a confirm code."""

    def __init__(self) -> None:
        super().__init__()
        self.form: tuple[str, dict[str, str]] | None = None
        self.link: str | None = None
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        about = {key: value or "" for key, value in attrs}
        if tag == "form" and about.get("id") in ("download-form", "downloadForm"):
            self.form, self._inside = (about.get("action", ""), {}), True
        elif tag == "input" and self._inside and about.get("name"):
            self.form[1][about["name"]] = about.get("value", "")
        elif tag == "a" and "confirm=" in about.get("href", ""):
            self.link = about["href"]

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
