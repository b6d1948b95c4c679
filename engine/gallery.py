"""A page of inputs beside their outputs, and the same as one sheet."""

import base64
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from data.images import read_picture
from engine.files import whole_file
from engine.logs import contact_sheet

FEW_COLORS = 64  # label maps and edges
STYLE = """body{font:15px system-ui,sans-serif;margin:24px;background:#fafafa;color:#222}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,calc(var(--n)*170px + 20px)),1fr));gap:18px}
figure{margin:0;padding:10px;background:#fff;border-radius:8px;box-shadow:0 1px 4px #0002}
.row{display:grid;grid-template-columns:repeat(var(--n),1fr);gap:6px}
.row small{display:block;color:#888;margin-bottom:3px}
figure img{width:100%;vertical-align:top;border-radius:4px;outline:1px solid #0001}
figcaption{margin-top:6px;color:#555;overflow-wrap:anywhere}
.legend span{display:inline-block;margin-right:14px}
.legend i{display:inline-block;width:12px;height:12px;margin-right:5px}"""


@dataclass(frozen=True)
class Figure:
    """Pictures that belong together: title -> uint8 [H, W, 3], a file below the gallery's folder, or None: unknown."""

    name: str
    cells: Mapping[str, np.ndarray | Path | None]


def write_gallery(
    folder: Path,
    figures: Iterable[Figure],
    title: str,
    legend: Sequence[tuple[str, tuple[int, int, int]]] = (),
) -> Path:
    """`folder`/index.html: of every figure the arrays as thumbnails (inside the page) and the files (linked)."""
    titles: dict[str, None] = {}
    columns, shown = 1, []
    for figure in figures:
        shown.append(_figure(folder, figure))
        columns = max(columns, len(figure.cells))
        titles |= dict.fromkeys(figure.cells)
    keys = "".join(f'<span><i style="background:rgb{color}"></i>{html.escape(name)}</span>' for name, color in legend)
    body = "\n".join(shown)
    page = (
        f'<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>"
        f"<p>{len(shown)} pictures: {html.escape(', '.join(titles))}.</p><p class=legend>{keys}</p>\n"
        f'<main style="--n:{columns}">\n{body}\n</main></html>\n'
    )
    path = folder / "index.html"
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _figure(folder: Path, figure: Figure) -> str:
    name = html.escape(figure.name)
    cells = "".join(_cell(folder, html.escape(title), name, cell) for title, cell in figure.cells.items())
    return f"<figure><div class=row>{cells}</div><figcaption>{name}</figcaption></figure>"


def _cell(folder: Path, title: str, name: str, cell: np.ndarray | Path | None) -> str:
    shown = ""
    if isinstance(cell, Path):
        link = html.escape(quote(cell.relative_to(folder).as_posix()))
        shown = f'<a href="{link}"><img src="{link}" alt="{title} {name}" loading=lazy></a>'
    elif cell is not None:
        shown = f'<img src="{_thumbnail(cell)}" alt="{title} {name}" loading=lazy>'
    return f"<div><small>{title}</small>{shown}</div>"


def _thumbnail(array: np.ndarray, side: int = 320) -> str:
    """The picture in the text of the page: drawings of few colours as PNG, sharp, anything else as JPEG."""
    picture = Image.fromarray(array)
    kind = "PNG" if picture.getcolors(FEW_COLORS) else "JPEG"
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, kind, quality=85)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def write_sheet(path: Path, figures: Iterable[Figure], side: int = 160, across: int = 8, most: int = 64) -> None:
    """One picture of the first figures, a cell within side x side, in rows of at most `across` cells."""
    shown = [[_sheet_cell(cell, side) for cell in figure.cells.values()] for figure in islice(figures, most)]
    width = max(map(len, shown))
    blank = np.full((side, side, 3), 255, np.uint8)
    shown = [row + [blank] * (width - len(row)) for row in shown]
    beside = max(1, across // width)
    rows = [sum(shown[i : i + beside], []) for i in range(0, len(shown), beside)]
    with whole_file(path) as part:
        Image.fromarray(contact_sheet(rows)).save(part, "PNG")


def _sheet_cell(cell: np.ndarray | Path | None, side: int) -> np.ndarray:
    """uint8 [side, side, 3], the picture in the middle."""
    sheet = Image.new("RGB", (side, side), "white")
    if cell is not None:
        picture = Image.fromarray(read_picture(cell) if isinstance(cell, Path) else cell)
        picture.thumbnail((side, side))
        sheet.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return np.asarray(sheet)
