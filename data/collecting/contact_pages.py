"""Contact pages of a folder's pictures, and the user's own choice from them."""

import csv
import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from data.collecting.clean import Fault
from data.images import read_picture
from engine.errors import UserError
from engine.files import whole_file
from engine.logs import contact_sheet
from engine.make import in_threads

ACROSS, DOWN = 10, 8
SIDE, CAPTION = 120, 28  # pixels of a cell's picture, and of the two lines below it
CELLS = "cells.csv"


def require_new(folder: Path) -> None:
    """Refuse a folder with files: pages of another day would give the cells of a user's list another meaning."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--sheet {folder}: is there already: name a new folder, or remove it", 2)


def write_pages(folder: Path, names: list[str], root: Path, workers: int) -> int:
    """`folder`/page_001.jpg ... of the pictures root/NAME, each cell with its number and name; returns how many.

    cells.csv there says which file a cell is. A picture that cannot be read is an empty cell.
    """
    cells = [(f"{page}-{cell}", name) for page, cell, name in _numbers(names)]
    pages = [cells[i : i + ACROSS * DOWN] for i in range(0, len(cells), ACROSS * DOWN)]
    with whole_file(folder / CELLS) as part, part.open("w", encoding="utf-8", errors="surrogateescape") as file:
        csv.writer(file, lineterminator="\n").writerows([("cell", "file"), *cells])
    jobs = [(folder / f"page_{number:03d}.jpg", page, root) for number, page in enumerate(pages, 1)]
    for _ in in_threads(_write_page, jobs, workers, "contact pages", "page"):
        pass
    return len(pages)


def _numbers(names: list[str]) -> Iterable[tuple[int, int, str]]:
    for index, name in enumerate(names):
        page, cell = divmod(index, ACROSS * DOWN)
        yield page + 1, cell + 1, name


def _write_page(path: Path, cells: list[tuple[str, str]], root: Path) -> None:
    drawn = [_cell(number, name, root) for number, name in cells]
    sheet = contact_sheet([drawn[i : i + ACROSS] for i in range(0, len(drawn), ACROSS)], gap=6)
    with whole_file(path) as part:
        Image.fromarray(sheet).save(part, "JPEG", quality=88)


def _cell(number: str, name: str, root: Path) -> np.ndarray:
    """uint8 [SIDE + CAPTION, SIDE, 3]: the picture, below it the cell's number and the end of the name."""
    cell = Image.new("RGB", (SIDE, SIDE + CAPTION), "white")
    try:
        picture = Image.fromarray(read_picture(root / name))
        picture.thumbnail((SIDE, SIDE))
        cell.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    except UserError:
        pass
    pen, font = ImageDraw.Draw(cell), ImageFont.load_default()
    shown = name.encode("utf-8", "replace").decode()
    while len(shown) > 1 and pen.textlength(shown, font) > SIDE:
        shown = shown[1:]
    pen.text((0, SIDE + 1), number, "black", font)
    pen.text((0, SIDE + 14), shown, "dimgrey", font)
    return np.asarray(cell)


def read_choice(file: Path, root: Path, names: Iterable[str], gone: Collection[str]) -> tuple[dict[str, Fault], int]:
    """(the names that a user's list rejects, how many more it holds that are `gone` already).

    A line is a name below `root` or a path, with suffix, or a page's cell such as 2-15, by the cells.csv that lies
    beside the list. Blank lines and lines from # on are skipped.

    Raises:
        UserError: the list cannot be read, or has lines that mean no picture.
    """
    names = set(names)
    by_file_name: dict[str, list[str]] = {}
    for name in names:
        by_file_name.setdefault(name.rpartition("/")[2], []).append(name)
    cells = _read_cells(file.parent / CELLS)
    chosen, unknown, before = {}, [], 0
    for line in _lines(file):
        name = _below(line, root, names)
        cell = re.fullmatch(r"\d+-\d+", line)
        if name not in names and cell and line in cells:
            name = cells[line]
        same = by_file_name.get(name, [])
        if name not in names and len(same) == 1:
            name = same[0]
        if name in names:
            chosen[name] = Fault("rejected", line)
        elif name in gone:
            before += 1
        else:
            unknown.append(line)
    if unknown:
        shown = ", ".join(unknown[:5]) + (f" and {len(unknown) - 5} more" if unknown[5:] else "")
        raise UserError(
            f"--reject {file}: {shown}: no such picture below {root}: write a name as below the folder (the whole one "
            f"where it is there twice), or a cell such as 2-15 with {CELLS} beside the list"
        )
    return chosen, before


def _below(line: str, root: Path, names: set[str]) -> str:
    """The name below `root` that a line means, if it is a name or a path to one."""
    name = line.replace("\\", "/").removeprefix("./")
    if name in names:
        return name
    path = Path(os.path.abspath(line))
    top = Path(os.path.abspath(root))
    return path.relative_to(top).as_posix() if path.is_relative_to(top) else name


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise UserError(f"--reject {file}: {error.strerror}: check the path", 2) from error
    return [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]


def _read_cells(file: Path) -> dict[str, str]:
    if not file.is_file():
        return {}
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            return {line["cell"]: line["file"] for line in csv.DictReader(lines)}
    except (KeyError, csv.Error, OSError) as error:
        raise UserError(f"{file}: not the cells that --sheet writes: make the pages again") from error
