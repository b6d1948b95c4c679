"""A page of inputs beside their outputs, and the same as one sheet."""

import base64
import html
import io
import os
from pathlib import Path
from urllib.parse import quote

import numpy as np
from PIL import Image

from data.images import read_picture
from engine.errors import UserError
from engine.files import whole_file
from engine.logs import contact_sheet

STYLE = """body{font:15px system-ui,sans-serif;margin:24px;background:#fafafa;color:#222}
main{display:grid;grid-template-columns:repeat(auto-fill,minmax(360px,1fr));gap:18px}
figure{margin:0;padding:10px;background:#fff;border-radius:8px;box-shadow:0 1px 4px #0002}
figure img{width:48%;image-rendering:auto;vertical-align:top;border-radius:4px}
figcaption{margin-top:6px;color:#555;overflow-wrap:anywhere}
.legend span{display:inline-block;margin-right:14px}
.legend i{display:inline-block;width:12px;height:12px;margin-right:5px}"""


def write_gallery(
    folder: Path, pairs: list[tuple[Path, Path]], title: str, legend: list[tuple[str, tuple[int, int, int]]] = ()
) -> Path:
    """`folder`/index.html with a thumbnail of every input (inside the page) beside its output (linked)."""
    keys = "".join(f'<span><i style="background:rgb{color}"></i>{html.escape(name)}</span>' for name, color in legend)
    figures = "\n".join(_figure(folder, source, output) for source, output in pairs)
    page = (
        f'<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content="width=device-width">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style><h1>{html.escape(title)}</h1>"
        f"<p>{len(pairs)} pictures: input, output.</p><p class=legend>{keys}</p>\n<main>\n{figures}\n</main></html>\n"
    )
    path = folder / "index.html"
    with whole_file(path) as part:
        part.write_text(page, encoding="utf-8")
    return path


def _figure(folder: Path, source: Path, output: Path) -> str:
    try:
        thumbnail = _thumbnail(source)
    except UserError:  # its output is from an earlier prediction
        thumbnail = ""
    link = html.escape(quote(Path(os.path.relpath(output, folder)).as_posix()))
    name = html.escape(output.relative_to(folder).with_suffix("").as_posix())
    return (
        f'<figure><img src="{thumbnail}" alt="input {name}" loading=lazy> '
        f'<a href="{link}"><img src="{link}" alt="output {name}" loading=lazy></a>'
        f"<figcaption>{name}</figcaption></figure>"
    )


def _thumbnail(path: Path, side: int = 320) -> str:
    picture = Image.fromarray(read_picture(path))
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()


def write_sheet(path: Path, pairs: list[tuple[Path, Path]], side: int = 160, columns: int = 4, most: int = 64) -> None:
    """One picture of input|output pairs, `columns` of them in a row, each within side x side."""
    cells = []
    for pair in pairs[:most]:
        for file in pair:
            picture = Image.fromarray(read_picture(file))
            picture.thumbnail((side, side))
            cell = Image.new("RGB", (side, side), "white")
            cell.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
            cells.append(np.asarray(cell))
    rows = [cells[i : i + 2 * columns] for i in range(0, len(cells), 2 * columns)]
    with whole_file(path) as part:
        Image.fromarray(contact_sheet(rows)).save(part, "PNG")
