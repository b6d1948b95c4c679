"""Files that are written whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from engine.errors import UserError


class Taken(UserError):
    """A folder in which another process trains."""


def cannot_write(path: object, error: Exception) -> UserError:
    """A full disk, an unwritable folder and their like, in one line."""
    reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return UserError(f"{path}: cannot be written ({reason}); free some space or choose another folder")


def require_writable(folder: Path) -> None:
    """Refuse a folder that cannot be made or written to, before any work is done for it.

    Raises:
        UserError: a file or a folder without permission stands in the way.
    """
    there = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    if not there.is_dir():
        raise cannot_write(folder, NotADirectoryError(20, f"{there} is a file"))
    if not os.access(there, os.W_OK):
        raise cannot_write(folder, PermissionError(13, f"no permission to write to {there}"))


def require_file(path: Path) -> None:
    """As require_writable, for a file: refuse a folder in its place, too."""
    require_writable(path.absolute().parent)
    if path.is_dir():
        raise UserError(f"{path}: is a folder; name a file")


def take_folder(folder: Path) -> object:
    """Make the folder, refuse it if another process has it, remove what a kill in mid-write left unfinished.

    The lock lasts as long as the object returned, or the process.

    Raises:
        Taken: another process has the folder.
        UserError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder)
        for part in folder.rglob("*.part"):
            part.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from None
    return lock


def _lock(folder: Path) -> object:
    try:
        import fcntl
    except ImportError:  # Windows: open files cannot be replaced there, which shows the clash by itself
        return None
    file = (folder / ".lock").open("w")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # not inherited by the loader's workers, gone with the process
    except BlockingIOError:
        raise Taken(f"{folder}: another process is training here; wait for it, or choose another run.dir") from None
    except OSError:  # a file system without locks
        return None
    return file


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary name to write to, renamed to `path` at the end: a crash or a full disk leaves what stood there.

    Raises:
        UserError: it cannot be written.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
