"""Download a data set, unpack it safely, and say what to type next.

    python scripts/download_data.py --list
    python scripts/download_data.py facades

The names are those of options/datasets.yaml. The data goes to the folder --output/NAME; one that is there is kept.
An unfinished download is resumed by the same command; the archive lies in $ATELIER_CACHE/downloads or
~/.cache/atelier/downloads meanwhile, and is removed when it is unpacked. One with paths that lead out of it, links or
devices, with more than 100 times its bytes or an entry for every 16 of them (16 MB and 1,000 entries are always
allowed) is refused. The folder appears when it is whole.

Exit code 0: done; 1: not downloaded or not unpacked; 2: wrong arguments.
"""

import argparse
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml
from PIL import Image

from data.archive import unpack
from data.fit import resize
from data.images import read_picture
from engine.cache import cache_folder
from engine.download import File, fetch
from engine.errors import UserError, door
from engine.files import require_writable, whole_file
from engine.lock import locked
from options.published import hint
from scripts.download_weights import BY_HAND, described

LIST = Path(__file__).resolve().parents[1] / "options" / "datasets.yaml"


@dataclass(frozen=True)
class DataSet:
    """An entry of options/datasets.yaml."""

    file: File
    what: str
    licence: str
    verified: bool  # one of us has downloaded it
    command: str  # what to type next, with FOLDER
    square: dict[str, int] | None = None  # of a picture: margin and side; None: an archive


def main(arguments: list[str] | None = None) -> None:
    args = parse(arguments)
    sets = read_list()
    if args.list or args.name is None:
        print("\n".join(listing(sets)))
        return
    if args.name not in sets:
        raise UserError(f"{args.name}: no such data set; {hint(args.name, sets)} (--list shows all)", 2)
    chosen, folder = sets[args.name], args.output / args.name
    if is_there(folder):
        print(f"{folder}: is there already and kept; remove it to get it anew")
    else:
        print(f"{args.name}: {chosen.what}; {chosen.licence}")
        require_writable(folder)
        with locked(folder):
            if not is_there(folder):  # another process may have got it meanwhile
                download(chosen, folder, args.from_file)
        print(f"{args.name} -> {folder}")
    print(f"next: {chosen.command.replace('FOLDER', shlex.quote(folder.as_posix()))}")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("name", nargs="?", metavar="NAME", help="a data set of the list")
    parser.add_argument("--list", action="store_true", help="show the names, sizes and contents, download nothing")
    parser.add_argument(
        "--output", type=Path, default=Path("datasets"), metavar="DIR", help="where its folder goes (default: datasets)"
    )
    parser.add_argument("--from-file", type=Path, metavar="FILE", help="the archive or picture, fetched by hand")
    args = parser.parse_args(arguments)
    if args.from_file and args.name is None:
        parser.error(f"--from-file {args.from_file}: of which data set? Give its NAME, too")
    return args


def read_list() -> dict[str, DataSet]:
    """The data sets of options/datasets.yaml by name."""
    sets = {}
    for name, values in yaml.safe_load(LIST.read_text(encoding="utf-8")).items():
        about = values.pop("file")
        sets[name] = DataSet(file=File(**about | {"urls": tuple(about["urls"])}), **values)
    return sets


def listing(sets: dict[str, DataSet]) -> list[str]:
    """Every data set with what is known of its file, and whether anybody here has ever downloaded it."""
    lines = []
    for name, entry in sets.items():
        unsure = "" if entry.verified else "; not verified: nobody here could download it"
        lines += [f"{name}: {entry.what}{unsure}", f"    {entry.licence}", f"    {described(entry.file)}"]
    return lines


def is_there(folder: Path) -> bool:
    return folder.is_dir() and any(folder.iterdir())


def download(chosen: DataSet, folder: Path, from_file: Path | None) -> None:
    """The data set in `folder`, whole, or a UserError."""
    path = fetch(chosen.file, cache_folder() / "downloads", from_file, BY_HAND)
    if chosen.square is None:
        unpack(path, folder)
    else:
        picture = square(path, **chosen.square)
        with whole_file(folder / "sample.png") as part:
            picture.save(part, "PNG")
    path.unlink()


def square(path: Path, margin: int, side: int) -> Image.Image:
    """The square on top of a picture [H, W, 3] between two margins, as [side, side, 3]: what the original's
    get_sample_data.py cuts out."""
    picture = read_picture(path)
    height, width = picture.shape[:2]
    inner = width - 2 * margin
    if not 0 < inner <= height:
        raise UserError(f"{path}: {width}x{height} pixels: not the picture that was expected: fetch it by hand")
    return Image.fromarray(resize(picture[:inner, margin : width - margin], (side, side)))


if __name__ == "__main__":
    door(main)
