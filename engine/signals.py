"""SIGINT and SIGTERM, noted until the loop asks for them."""

import signal
from typing import Any


class Signals:
    """From now on a signal is only noted.

    Attributes:
        number: the signal that came, 0 before.
    """

    def __init__(self, at_once: bool):
        """at_once: the second one raises KeyboardInterrupt."""
        self.number, self.at_once = 0, at_once
        self._handlers = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}

    def _note(self, number: int, _: Any) -> None:
        if self.number and self.at_once:
            raise KeyboardInterrupt
        self.number = number

    def ignore(self) -> None:
        """From now on a signal is nothing: the process is ending."""
        for number in self._handlers:
            signal.signal(number, signal.SIG_IGN)

    def restore(self) -> None:
        """The handlers that were there before."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
