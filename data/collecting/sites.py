"""The sites that gallery-dl knows: their tag searches, and the settings of an account."""

import json
import os
import re
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from gallery_dl import config, extractor

from engine.errors import UserError

PLACEHOLDERS = ("TAG", "TAGS", "QUERY", "SEARCH")  # of a tag in gallery-dl's example addresses
KEYS = ("username", "password", "api-key", "api-secret", "user-id", "access-token", "access-token-secret")


def read_settings(path: Path | None) -> None:
    """Let gallery-dl forget its settings, and take those of a JSON file of its own format.

    To be called before any other function here: gallery-dl looks at the roots of sites when it first loads a site.
    """
    config.clear()
    if path is None:
        return
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"--config {path}: no JSON file that can be read ({error}): see gallery-dl's manual", 2
        ) from error
    if not isinstance(settings, dict):
        raise UserError(f"--config {path}: expected a JSON object with the key extractor: see gallery-dl's manual", 2)
    for key, value in settings.items():
        config.set((), key, value)


def site_url(site: str) -> str:
    """The address of a tag search, with {tag}: of a site that gallery-dl knows by name, or `site` if it is one.

    Raises:
        UserError: gallery-dl does not know the site, or an address is without {tag}.
    """
    if "://" in site:
        if "{tag}" not in site:
            raise UserError(f"--site {site}: has no {{tag}}; write it where the tag goes", 2)
        if extractor.find(site.replace("{tag}", "tag")) is None:
            raise UserError(f"--site {site}: gallery-dl knows no such address; see its list of supported sites", 2)
        return site
    known = _tag_searches()
    if site not in known:
        near = get_close_matches(site, known, 3) or ["danbooru", "safebooru", "flickr"]
        raise UserError(f"--site {site}: gallery-dl knows no such tag search; did you mean {', '.join(near)}?", 2)

    return known[site]


def _tag_searches() -> dict[str, str]:
    """The address of each site's tag search, with {tag}, from the examples in gallery-dl's classes."""
    found = {}
    for kind in ("search", "tag"):  # a tag search is the better one
        for cls in extractor.extractors():
            blanks = re.findall(r"[A-Z]{3,}", cls.example)
            if cls.subcategory != kind or len(blanks) != 1 or blanks[0] not in PLACEHOLDERS:
                continue
            example = cls.example.replace(blanks[0], "{tag}")
            roots = [(cls.category, None)] if cls.category else [instance[:2] for instance in cls.instances]
            for name, root in roots:
                url = re.sub(r"https?://[^/]+", root, example, count=1) if root else example
                match = cls.from_url(url)
                if match and match.category == name:
                    found[name] = url
    return found


def is_local(url: str) -> bool:
    """Whether a site is on this machine."""
    return urlsplit(extractor.find(url).root).hostname in ("localhost", "127.0.0.1", "::1")


def keys_from_environment(category: str) -> dict[str, str]:
    """gallery-dl's settings of an account, from SITE_USERNAME, SITE_API_KEY and their like."""
    site = re.sub(r"\W", "_", category).upper()
    variables = {key: f"{site}_{key.replace('-', '_').upper()}" for key in KEYS}
    keys = {key: os.environ[variable] for key, variable in variables.items() if os.environ.get(variable)}
    if "api-key" in keys:  # what Danbooru calls so is gallery-dl's password
        keys.setdefault("password", keys["api-key"])
    return keys
