"""What a run writes beside its checkpoints: log.jsonl, TensorBoard, sample grids and their page."""

import contextlib
import html
import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from engine.files import cannot_write, whole_file


class Logs:
    """The log files of a run folder, cut back to `step` when a run resumes there."""

    def __init__(self, folder: Path, step: int):
        from torch.utils.tensorboard import SummaryWriter  # slow to import; --help and --dry-run do without

        self.folder = folder
        self.path = folder / "log.jsonl"
        try:
            _cut_back(self.path, step)
        except OSError as error:
            raise cannot_write(self.path, error) from None
        threading.excepthook = _quiet_disk_errors
        with self._tensorboard():
            self.writer = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    @contextlib.contextmanager
    def _tensorboard(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise cannot_write(self.folder / "tensorboard", error) from None

    def scalars(self, step: int, values: dict[str, float | None]) -> None:
        """One JSON line and one TensorBoard scalar each; a NaN (a class without pixels) becomes null."""
        values = {k: v if v is None or math.isfinite(v) else None for k, v in values.items()}
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({"step": step, **values}) + "\n")
        except OSError as error:
            raise cannot_write(self.path, error) from None
        with self._tensorboard():
            for name, value in values.items():
                if value is not None:
                    self.writer.add_scalar(name, value, step)

    def grid(self, name: str, step: int, rows: list[list[np.ndarray]]) -> None:
        """Rows of uint8 [H, W, 3] pictures as samples/NAME.png, in TensorBoard and on samples/index.html."""
        picture = contact_sheet(rows)
        path = self.folder / "samples" / f"{name}.png"
        with whole_file(path) as part:
            Image.fromarray(picture).save(part, "PNG")
        _write_page(path.parent)
        with self._tensorboard():
            self.writer.add_image("samples", picture, step, dataformats="HWC")

    def close(self) -> None:
        with self._tensorboard():
            self.writer.close()


def _quiet_disk_errors(args: threading.ExceptHookArgs) -> None:
    """TensorBoard's writing thread dies of a full disk with a traceback; the next call to it raises the same error."""
    if not issubclass(args.exc_type, OSError):
        threading.__excepthook__(args)


def contact_sheet(rows: list[list[np.ndarray]], gap: int = 2) -> np.ndarray:
    """Pictures uint8 [H, W, 3] of any sizes in rows and columns on white, `gap` pixels apart."""
    height = [max(p.shape[0] for p in row) for row in rows]
    columns = max(len(row) for row in rows)
    width = [max(row[c].shape[1] for row in rows if c < len(row)) for c in range(columns)]
    sheet = np.full((sum(height) + gap * (len(rows) - 1), sum(width) + gap * (columns - 1), 3), 255, np.uint8)
    for r, row in enumerate(rows):
        for c, p in enumerate(row):
            top, left = sum(height[:r]) + gap * r, sum(width[:c]) + gap * c
            sheet[top : top + p.shape[0], left : left + p.shape[1]] = p
    return sheet


def _cut_back(path: Path, step: int) -> None:
    """Drop the lines after `step`, and a line that a crash left unfinished."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except (ValueError, KeyError, TypeError):
            continue
    with whole_file(path) as part:
        part.write_text("".join(kept), encoding="utf-8")


def _write_page(folder: Path) -> None:
    """samples/index.html: the grids, newest first, then the real pictures."""
    grids = sorted(folder.glob("step_*.png"), reverse=True) + sorted(folder.glob("real*.png"))
    figures = "\n".join(
        f'<h2>{html.escape(path.stem)}</h2><img src="{html.escape(path.name)}" alt="{html.escape(path.stem)}">'
        for path in grids
    )
    title = html.escape(folder.resolve().parent.name)
    style = "<style>body{font:15px system-ui,sans-serif;margin:24px}img{max-width:100%}</style>"
    page = f"<!doctype html><meta charset=utf-8><title>{title}</title>{style}<h1>{title}</h1>\n{figures}\n"
    with whole_file(folder / "index.html") as part:
        part.write_text(page, encoding="utf-8")
