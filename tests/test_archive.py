"""Zip files that are out to do harm, and the odd ones that are not."""

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.archive import open_zip, pictures_in_zip, read_zipped
from engine.errors import UserError

PIXELS = np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3)


def png(pixels: np.ndarray = PIXELS) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pack(path: Path, entries: dict[str, bytes], how: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipFile:
    with zipfile.ZipFile(path, "w", how) as archive:
        for name, data in entries.items():
            entry = zipfile.ZipInfo()
            entry.filename, entry.compress_type = name, how  # ZipInfo(name) and write() would tidy the name
            archive.writestr(entry, data)
    return open_zip(path)


def refused(archive: zipfile.ZipFile, name: str) -> str:
    """The line about a picture, and what reading it took at most stays far below what it would expand to."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            read_zipped(archive, name)
        assert tracemalloc.get_traced_memory()[1] < 8e6
    finally:
        tracemalloc.stop()
    line = str(caught.value)
    assert line.startswith(f"{archive.filename}/{name}: ") and "\n" not in line
    return line


@pytest.mark.parametrize(
    "name",
    ["../a.png", "a/../../b.png", "/a.png", "C:/a.png", "c:a.png", "..\\a.png", "\\\\host\\share\\a.png", "../x"],
)
def test_a_path_that_leads_out_is_refused(tmp_path, name):
    archive = pack(tmp_path / "z.zip", {"good.png": png(), name: png()})
    with pytest.raises(UserError) as caught:
        pictures_in_zip(archive)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'z.zip'}/{name}: the path leads out of the zip") and "\n" not in line


def test_odd_names_that_stay_inside(tmp_path):
    names = ["./a.png", "b..c/..d.png", "re:zero/é 1.PNG", "x//y.png"]
    archive = pack(tmp_path / "z.zip", dict.fromkeys([*names, "no.txt", ".hidden.png", "__MACOSX/._a.png"], png()))
    found = pictures_in_zip(archive)
    assert sorted(found) == sorted(set(names) - {"b..c/..d.png"})  # a leading dot hides
    assert all(np.array_equal(read_zipped(archive, name), PIXELS) for name in found)


@pytest.mark.parametrize("size", [2 * 2**20, 65 * 2**20])
def test_a_bomb_is_a_broken_picture(tmp_path, size):
    archive = pack(tmp_path / "z.zip", {"bomb.png": bytes(size)})
    assert f"{size / 1e6:.0f} MB packed in 0.0" in refused(archive, "bomb.png")


def test_a_large_flat_picture_is_no_bomb(tmp_path):
    flat = io.BytesIO()
    Image.new("RGB", (500, 500)).save(flat, "BMP")
    archive = pack(tmp_path / "z.zip", {"flat.bmp": flat.getvalue()})
    assert read_zipped(archive, "flat.bmp").shape == (500, 500, 3)


def test_a_stored_file_beyond_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("data.archive.LARGEST", 1000)
    archive = pack(tmp_path / "z.zip", {"a.png": png(), "b.png": bytes(1001)}, zipfile.ZIP_STORED)
    assert "more than a picture can be" in refused(archive, "b.png")
    assert np.array_equal(read_zipped(archive, "a.png"), PIXELS)


def test_a_bomb_that_lies_about_its_size_is_not_expanded(tmp_path):
    path = tmp_path / "z.zip"
    pack(path, {"a.png": bytes(50 * 2**20)}).close()
    true, false = struct.pack("<I", 50 * 2**20), struct.pack("<I", 1000)
    data = path.read_bytes()
    assert data.count(true) == 2  # beside the file, and in the directory
    path.write_bytes(data.replace(true, false))
    assert "broken or cut off (Bad CRC-32" in refused(open_zip(path), "a.png")


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_decoder_without_bounds_is_not_started(tmp_path, how):
    archive = pack(tmp_path / "z.zip", {"a.png": bytes(30 * 2**20)}, how)
    assert "neither stored nor deflated" in refused(archive, "a.png")


def test_more_pixels_than_the_limit(tmp_path):
    file = io.BytesIO()
    Image.new("1", (14000, 13000)).save(file, "PNG")
    archive = pack(tmp_path / "z.zip", {"a.png": file.getvalue()})
    assert "182000000 pixels" in refused(archive, "a.png")


def test_encrypted_is_said(tmp_path):
    path = tmp_path / "z.zip"
    pack(path, {"a.png": png()}).close()
    data = bytearray(path.read_bytes())
    data[6] |= 1  # the flags beside the file, and in the directory
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert "encrypted: " in refused(open_zip(path), "a.png")


@pytest.mark.parametrize("damage", [lambda data: data[:40], lambda data: b"", lambda data: b"x" * 500])
def test_no_zip(tmp_path, damage):
    path = tmp_path / "z.zip"
    pack(path, {"a.png": png()}).close()
    path.write_bytes(damage(path.read_bytes()))
    for file in (path, tmp_path / "missing.zip"):
        with pytest.raises(UserError, match="no zip file that can be read") as caught:
            open_zip(file)
        assert "\n" not in str(caught.value)
