"""The cache folder, and the names in it of what was made of files."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from engine.errors import UserError


def cache_folder() -> Path:
    """Where what can be made or downloaded again lies: $ATELIER_CACHE, or ~/.cache/atelier."""
    return Path(os.environ.get("ATELIER_CACHE") or os.path.expanduser("~/.cache/atelier"))


def cache_key(files: Sequence[Path], settings: list) -> str:
    """A hash of the files' names, sizes and times, and of the settings, plain values. UserError: a file is gone."""
    about = []
    for path in files:
        try:
            stat = path.stat()
        except OSError as error:
            raise UserError(
                f"{path}: {error.strerror}, or a link to nothing: restore the file, or remove it"
            ) from error
        about.append((str(path.absolute()), stat.st_size, stat.st_mtime_ns))
    return hashlib.sha256(json.dumps([settings, about]).encode()).hexdigest()[:32]
