"""models/foreign.py: what other programs saved is read as it is; broken and hostile files are refused, never run."""

import io
import pickle
import zipfile
from pathlib import Path

import chainer
import numpy as np
import pytest
import torch

from engine.errors import UserError
from models.foreign import read_arrays


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(array=None, header=None):
    """The bytes of a .npy file; `header` in place of its shape."""
    file = io.BytesIO()
    if header is None:
        np.lib.format.write_array(file, array, allow_pickle=True)
    else:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": header})
    return file.getvalue()


def test_arrays_are_read_as_they_were_saved(tmp_path):
    arrays = {
        "a/b": np.arange(6, dtype=np.float32).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "scalar": np.array(3),
        "none": np.zeros((0, 3)),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "x.npz", **arrays)
        read = read_arrays(tmp_path / "x.npz")
        assert read.keys() == arrays.keys()
        for key, array in arrays.items():
            np.testing.assert_array_equal(read[key], array)
    for legacy in (False, True):
        torch.save({"w": torch.ones(2)}, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
        assert torch.equal(read_arrays(tmp_path / "x.pth")["w"], torch.ones(2))


def hostile_files(folder):
    """name: (a file, what is said of it)."""
    mark = folder / "executed"
    whole = chainer.save(folder / "whole.npz", {"w": np.random.default_rng(0).random((40, 40))}).read_bytes()
    objects = npy(np.array([Hostile(mark)], dtype=object))
    for name, content in {
        "cut.npz": whole[:-200],
        "page.npz": b"<!DOCTYPE html><html>quota exceeded</html>",
        "empty.npz": b"",
        "pickle.pth": pickle.dumps({"w": Hostile(mark)}),
        "flipped.npz": whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:],  # its checksum is another
    }.items():
        (folder / name).write_bytes(content)
    torch.save({"w": Hostile(mark)}, folder / "code.pth")
    torch.save({"w": torch.ones(1).expand(100_000, 100_000)}, folder / "expanded.pth")
    torch.save([torch.ones(1)], folder / "list.pth")
    torch.save({"w": "text"}, folder / "text.pth")
    torch.save({"format": 1, "family": "seg"}, folder / "ours.pt")
    zipped(folder / "objects.npz", {"w.npy": objects})
    zipped(folder / "long.npz", {"w.npy": npy(header=(10**12,)) + b"\0" * 100})
    zipped(folder / "bzip2.npz", {"w.npy": npy(np.zeros(4))}, zipfile.ZIP_BZIP2)
    zipped(folder / "more.npz", {"w.npy": npy(np.zeros(4)), "run.py": b"print()"})
    zipped(folder / "texts.npz", {"w.npy": npy(np.array(["a"]))})
    zipped(folder / "other.zip", {"a.txt": b"a"})
    bomb = bytearray(zipped(folder / "bomb.npz", {"w.npy": npy(np.zeros(4))}).read_bytes())
    place = bomb.rindex(b"PK\x01\x02") + 24  # the size unpacked, in the directory
    bomb[place : place + 4] = (2**32 - 2).to_bytes(4, "little")
    (folder / "bomb.npz").write_bytes(bomb)
    return {
        "cut.npz": "damaged", "page.npz": "damaged", "empty.npz": "damaged", "flipped.npz": "damaged",
        "pickle.pth": "nothing in it was run", "code.pth": "holds code", "objects.npz": "Python objects",
        "expanded.pth": "the limit", "bomb.npz": "the limit", "long.npz": "no array of numbers",
        "bzip2.npz": "as NumPy never does", "more.npz": "run.py: twice, or no array",
        "texts.npz": "no array of numbers",
        "list.pth": "holds a list", "text.pth": "other things than tensors", "ours.pt": "of this program already",
        "other.zip": "damaged", "missing.npz": "no such file",
    }  # fmt: skip


def test_broken_and_hostile_files_are_refused_and_never_run(tmp_path):
    for name, words in hostile_files(tmp_path).items():
        with pytest.raises(UserError, match=words) as error:
            read_arrays(tmp_path / name)
        assert "\n" not in str(error.value) and name in str(error.value)
    assert not (tmp_path / "executed").exists()
