"""Where decoded pictures are: a mapped file, memory, a GPU, or nowhere (data.cache)."""

import os
import shutil

import torch
from torch import Tensor

from data.cache import Decoding, Rows, cannot_keep, in_memory, keep
from engine.byte_progress import megabytes
from engine.cache import cache_folder
from engine.errors import UserError

FREE_SHARE = 0.25  # of the GPU's free memory, and of the disk's, which data.cache=auto takes at most
TRIED = 16  # pictures from which the size of a cache is estimated


def decoded(decoding: Decoding, what: str, where: str, device: torch.device) -> Rows | None:
    """The pictures where data.cache (`where`) wants them; None: they are to be decoded each time. A line says which.

    what: is named in that line. auto: a mapped file if the disk has room, and a GPU if they fit well there; else none.

    Raises:
        UserError: a picture cannot be read, or data.cache=device has no room.
    """
    anew = f"data.cache: {what}: decoded anew each time"
    if where == "none":
        print(anew)
        return None
    if where == "auto" and not decoding.kept():
        need, most = estimated(decoding), FREE_SHARE * _free_disk()
        if need > most:
            print(f"{anew}: about {megabytes(need)}, more than {FREE_SHARE:.0%} of the free disk of {cache_folder()}")
            return None
    try:
        found = in_memory(decoding) if where == "ram" else keep(decoding)
    except OSError as error:
        print(f"{cannot_keep(decoding, error)}: {what} are decoded anew each time")
        return None
    if found.problems:  # all were sound when they were checked
        raise UserError(found.problems[0])
    rows, data = found.rows, placed(found.rows.data, where, device)
    if data is not rows.data:
        rows = rows.copied(data)
    print(f"data.cache: {what}: {megabytes(data.nbytes)} in {rows.file or f'memory of {data.device}'}")
    return rows


def estimated(decoding: Decoding) -> int:
    """Bytes that the pictures will take, from some of them."""
    names = decoding.names[:: max(1, len(decoding.names) // TRIED)]
    return round(sum(decoding.read(name).nbytes for name in names) / len(names) * len(decoding.names))


def _free_disk() -> int:
    folder = cache_folder().absolute()
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if os.path.exists(path))).free


def placed(pictures: Tensor, where: str, device: torch.device) -> Tensor:
    """Decoded pictures where data.cache wants them: on the GPU, or where they are.

    Raises:
        UserError: data.cache=device, and they do not fit.
    """
    if where not in ("auto", "device") or device.type == "cpu" or (where == "auto" and device.type != "cuda"):
        return pictures
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if where == "auto" and pictures.nbytes > FREE_SHARE * free:
            return pictures
        if pictures.nbytes > free:
            need = f"the pictures take {pictures.nbytes / 1e9:.1f} GB, the GPU has {free / 1e9:.1f} free"
            raise UserError(f"data.cache=device: {need}: use data.cache=auto")
    return pictures.to(device)
