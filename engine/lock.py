"""One process at a time: the others wait."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from engine.files import cannot_write

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

PAUSE = 0.1  # seconds


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold PATH.lock, which is gone afterwards, and without effect once its process is gone. Makes the folder.

    Raises:
        UserError: the folder cannot be written.
    """
    lock = path.with_name(path.name + ".lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = _wait(lock)
    except OSError as error:
        raise cannot_write(lock, error) from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows: another process waits with it
            lock.unlink()
        held.close()


def _wait(lock: Path) -> BinaryIO:
    said = False
    while True:
        file = lock.open("ab")
        if _taken(file):
            # The one that held it before removes it: what we hold then may be no longer what others find.
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                    return file
        elif not said:
            said = True
            print(f"{lock}: another process is at it: waiting", flush=True)
        file.close()
        time.sleep(PAUSE)


def _taken(file: BinaryIO) -> bool:
    """Whether the lock is ours now."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # unlike lockf it also holds off other threads
        else:
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    except OSError as error:
        return not isinstance(error, (BlockingIOError, PermissionError))  # else a file system without locks
    return True
