"""Published weights where this program looks for them, imported on first use."""

from pathlib import Path

import torch

from engine import checkpoint
from engine.cache import cache_folder
from engine.download import fetch
from engine.errors import UserError
from engine.lock import locked
from models.imports import import_files
from options.published import Published, hint, read_list


def home(entry: Published) -> Path:
    """Where the files of an entry belong: the cache folder, or where torchvision looks for its own."""
    if entry.family == "torchvision":
        return Path(torch.hub.get_dir()) / "checkpoints"
    return cache_folder() / "weights"


def find(weights: str) -> Path:
    """The checkpoint that `--weights` means: a path, as checkpoint.find, else published weights of this name.

    Raises:
        UserError: neither, or the published weights cannot be had.
    """
    known = {name: entry for name, entry in read_list().items() if entry.predicts}
    if weights in known and not Path(weights).exists():
        return _imported(known[weights])
    path = checkpoint.find(weights)
    if not path.exists():
        raise UserError(
            f"{path}: no such checkpoint; name a run folder or a file from its checkpoints/, "
            f"or published weights ({hint(weights, known)})"
        )
    return path


def _imported(entry: Published) -> Path:
    """Our checkpoint of the published generator, in the cache folder."""
    by_hand = f", or run scripts/download_weights.py {entry.name} --from-file FILE"
    source = fetch(entry.files["G"], home(entry), by_hand=by_hand)
    path = home(entry) / f"{entry.name}.pt"
    if not _is_current(path, source):
        with locked(path):
            if not _is_current(path, source):  # else another process has made it meanwhile
                import_files([source], path, entry.options)
                print(f"{source} -> {path}")
    return path


def _is_current(path: Path, source: Path) -> bool:
    """Whether the import is there, and of this file by this version of the importers."""
    made_of = [source, *Path(__file__).parent.glob("*.py")]
    return path.is_file() and path.stat().st_mtime > max(file.stat().st_mtime for file in made_of)
