"""Weights files of other programs: read as plain arrays, nothing in them is ever run.

What is read becomes an `Imported`, see models/imports.py.
"""

import math
import warnings
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from engine.errors import UserError

LARGEST = 2**31  # bytes once unpacked: nine times the largest original, a ResNetDeepLab
CODE = ("unsupported global", "unsupported class", "unrecognized function", "object arrays cannot be loaded")


@dataclass
class Imported:
    """Networks of another program under our names.

    Attributes:
        family: seg | spade | pix2pix | dcgan.
        options: nested, only what the file determines, as options.load.from_dict takes it.
        states: "G" and/or "D" -> state dict. A key that our network does not have stays under the file's own name.
        origin: the program and the network, for people.
        notes: what a user should know, a line each.
        unused: keys of the file that its own network never runs, left out of the states.
        sources: "G" and/or "D" -> our key -> the file's, for messages; may be left empty.
    """

    family: str
    options: dict[str, Any]
    states: dict[str, dict[str, Tensor]]
    origin: str
    notes: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)
    sources: dict[str, dict[str, str]] = field(default_factory=dict)


def read_arrays(path: Path) -> dict[str, np.ndarray | Tensor]:
    """The arrays of a NumPy npz (arrays) or of a PyTorch state dict (tensors on the CPU), by name.

    Raises:
        UserError: missing, damaged, holding code or anything but arrays of numbers, or larger than LARGEST.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; name a weights file of another program (.npz, .pth, .pt)")
    try:
        with open(path, "rb") as file:
            if file.read(4) == b"PK\x03\x04":
                with zipfile.ZipFile(file) as archive:
                    _refuse_large(path, sum(member.file_size for member in archive.infolist()))
                    if any(name.endswith(".npy") for name in archive.namelist()):
                        return _read_npz(path, archive)
        return _read_torch(path)
    except UserError:
        raise
    except Exception as error:  # what zipfile, NumPy, torch and pickle raise on damaged bytes is of any type
        if any(word in str(error).lower() for word in CODE):
            raise UserError(f"{path}: holds code, not only weights: refused and not run; get another copy") from None
        raise UserError(
            f"{path}: damaged, cut short or not weights alone (.npz, .pth, .pt), nothing in it was run; get it again"
        ) from None


def _refuse_large(path: Path, size: int) -> None:
    if size > LARGEST:
        raise UserError(f"{path}: would unpack to {size:.3g} bytes, the limit is {LARGEST}: refused; get another copy")


def _read_npz(path: Path, archive: zipfile.ZipFile) -> dict[str, np.ndarray]:
    arrays = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if not member.filename.endswith(".npy") or name in arrays:
            raise UserError(f"{path}: {member.filename}: twice, or no array; save the file again with numpy.savez")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others unpack without a limit
            raise UserError(f"{path}: {member.filename}: compressed as NumPy never does; save it with numpy.savez")
        with archive.open(member) as file:
            arrays[name] = _read_npy(f"{path}: {name}", file, member.file_size)
    return arrays


def _read_npy(source: str, file: BinaryIO, size: int) -> np.ndarray:
    """One .npy of `size` bytes. Its header is believed only where it agrees with the size."""
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = header[np.lib.format.read_magic(file)](file)
    if dtype.hasobject:
        raise UserError(f"{source}: holds Python objects, not numbers: refused and not run; get another copy")
    if dtype.kind not in "fiub" or math.prod(shape) * dtype.itemsize != size - file.tell():
        raise UserError(f"{source}: {dtype} of shape {shape} is no array of numbers, or is cut short; get it again")
    values = np.frombuffer(file.read(size), dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def _read_torch(path: Path) -> dict[str, Tensor]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, dict) and {"format", "family"} <= content.keys():
        raise UserError(f"{path}: is a checkpoint of this program already; use it as it is")
    if not isinstance(content, dict) or not all(_is_plain(key, value) for key, value in content.items()):
        kind = "other things than tensors" if isinstance(content, dict) else f"a {type(content).__name__}"
        raise UserError(f"{path}: holds {kind}, not a network's state dict; save network.state_dict()")
    _refuse_large(path, sum(value.numel() * value.element_size() for value in content.values()))
    return content


def _is_plain(key: Any, value: Any) -> bool:
    return (
        isinstance(key, str)
        and isinstance(value, Tensor)
        and value.layout is torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )
