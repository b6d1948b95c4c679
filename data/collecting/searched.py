"""What crop_faces.py has searched, so that a run only does what is new."""

import contextlib
import csv
import threading
from collections.abc import Iterable
from pathlib import Path

from engine.files import cannot_write

NAME = "searched.csv"
COLUMNS = ("file", "bytes", "changed", "settings", "result")
WRITTEN = "written"


class Searched:
    """The list `folder`/searched.csv of pictures below `root`, the newest line last.

    A result holds as long as the picture's name, size and time are the same, and so are the `settings`.
    """

    def __init__(self, folder: Path, root: Path, settings: str):
        self.path, self.root, self.settings = folder / NAME, root, settings
        self._lock = threading.Lock()
        self._results: dict[tuple[str, ...], str] = {}
        self._most: dict[str, int] = {}  # crops of a picture, whatever its size, its time and the settings were
        for line in self._read():
            self._take(*line)

    def result(self, source: Path) -> str | None:
        """WRITTEN, or why there is no crop of the picture; None if it is new."""
        return self._results.get(self._key(source, self.settings))

    def most(self, source: Path) -> int:
        """How many crops of the picture there may be from earlier runs."""
        return self._most.get(self._name(source), 1)

    def note(self, results: Iterable[tuple[Path, str]]) -> None:
        """Add a line for each new result, at once, so that an interrupted run keeps it.

        Raises:
            UserError: the list cannot be written.
        """
        self._add([(self._key(source, self.settings), result) for source, result in results])

    def note_number(self, source: Path, number: int) -> None:
        """The picture's crops are about to be written: no result yet."""
        self._add([(self._key(source, ""), str(number))])

    def _add(self, found: list[tuple[tuple[str, ...], str]]) -> None:
        with self._lock:
            lines = [(*key, result) for key, result in found if key and self._results.get(key) != result]
            if not lines:
                return
            try:
                title = [] if self.path.exists() else [COLUMNS]
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8", errors="surrogateescape", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows([*title, *lines])
            except OSError as error:
                raise cannot_write(self.path, error) from error
            for line in lines:
                self._take(*line)

    def _read(self) -> list[list[str]]:
        try:
            text = self.path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError:  # none yet
            return []
        lines = []
        for line in text.split("\n"):  # one by one: one that a crash has cut off spoils no other
            with contextlib.suppress(csv.Error):
                lines += csv.reader([line])
        return [line for line in lines if len(line) == len(COLUMNS)]

    def _take(self, name: str, size: str, changed: str, settings: str, result: str) -> None:
        self._results[name, size, changed, settings] = result
        if result.isdecimal():
            self._most[name] = max(int(result), self._most.get(name, 1))

    def _name(self, source: Path) -> str:
        return source.relative_to(self.root).as_posix()

    def _key(self, source: Path, settings: str) -> tuple[str, ...]:
        try:
            state = source.stat()
        except OSError:  # whoever reads it says so in a line
            return ()
        return self._name(source), str(state.st_size), str(state.st_mtime_ns), settings
