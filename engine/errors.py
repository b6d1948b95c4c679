"""The one exception for a user's mistake, and the door that turns it into a line and an exit code."""

import errno
import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake that the user can mend: one line with the source, the value and the remedy.

    `code` is the exit code of the process: 2 for options (as argparse), 1 for anything else.
    """

    def __init__(self, message: str, code: int = 1):
        super().__init__(message)
        self.code = code


def _out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and ("out of memory" in text or "not enough memory" in text)
    )


def door(main: Callable[[], None]) -> None:
    """Run a script's main and exit: a user's mistake is one line on stderr, a programmer's keeps its traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where another object took its place
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show must not end the run
    try:
        main()
    except UserError as error:
        # raised in a loader's worker it comes with that process's traceback before it
        line = str(error).strip().splitlines()[-1].split("UserError: ")[-1] if "Traceback" in str(error) else error
        print(f"error: {line}", file=sys.stderr)
        sys.exit(error.code)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        remedy = "lower data.batch or data.size (predict.py: --batch), or set run.precision=bf16"
        print(f"error: out of memory; {remedy}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EPERM, errno.EROFS, errno.EDQUOT, errno.EFBIG):
            raise
        print(
            f"error: {error.filename or 'a file'}: {error.strerror}; use another folder, or free space", file=sys.stderr
        )
        sys.exit(1)
