"""Archives unpacked to a folder: sound ones, those that are out to do harm, and broken ones."""

import gzip
import io
import stat
import tarfile
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from data.archive import unpack
from engine.errors import UserError

FILES = {"train/1.jpg": b"one" * 400, "train/deep/2.jpg": b"two", "val/empty.txt": b""}
KINDS = ("zip", "tar", "tar.gz")
OUTSIDE = ["../a", "a/../../b", "/a", "C:/a", "c:a", "..\\a", "\\\\host\\share\\a", "a/.."]


def pack(path: Path, entries: dict[str, bytes], kind: str) -> Path:
    """An archive path.KIND with the entries under exactly these names; one that ends in / is a folder."""
    path = path.with_name(f"{path.name}.{kind}")
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in entries.items():
                entry = zipfile.ZipInfo()
                entry.filename, entry.compress_type = name, zipfile.ZIP_DEFLATED
                archive.writestr(entry, data)
        return path
    infos = [(tarfile.TarInfo(name), data) for name, data in entries.items()]
    for info, data in infos:
        info.size = len(data)
        if info.name.endswith("/"):
            info.type = tarfile.DIRTYPE
    return pack_tar(path, infos)


def pack_tar(path: Path, infos: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as archive:
        for info, data in infos:
            archive.addfile(info, io.BytesIO(data))
    return path


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def refused(path: Path) -> str:
    """The line about an archive that is not unpacked: nothing is left of it, and little memory was taken."""
    before = set(path.parent.rglob("*"))
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as caught:
            unpack(path, path.parent / "out")
        assert tracemalloc.get_traced_memory()[1] < 16e6
    finally:
        tracemalloc.stop()
    assert set(path.parent.rglob("*")) == before
    line = str(caught.value)
    assert line.startswith(str(path)) and line.isprintable()
    return line


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("top", ["", "maps/", "./maps/"])
def test_a_sound_archive(tmp_path, kind, top):
    entries = {top: b""} if top else {}
    path = pack(tmp_path / "a", entries | {top + name: data for name, data in FILES.items()} | {f"{top}x/": b""}, kind)
    unpack(path, tmp_path / "new" / "out")
    assert content(tmp_path / "new" / "out") == FILES and (tmp_path / "new" / "out" / "x").is_dir()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["out"]


@pytest.mark.parametrize("kind", KINDS)
def test_files_beside_the_only_folder_keep_it(tmp_path, kind):
    entries = {"maps/1.jpg": b"1", "README": b"2"}
    unpack(pack(tmp_path / "a", entries, kind), tmp_path / "out")
    assert content(tmp_path / "out") == entries
    unpack(pack(tmp_path / "b", {"only.jpg": b"3"}, kind), tmp_path / "single")
    assert content(tmp_path / "single") == {"only.jpg": b"3"}
    unpack(pack(tmp_path / "c", {"._maps": b"4", "maps/1.jpg": b"5"}, kind), tmp_path / "mac")
    assert content(tmp_path / "mac") == {"1.jpg": b"5"}


def test_large_files_and_an_earlier_attempt(tmp_path):
    """Longer than what is read at once; what a killed process left is no part of it; an empty folder is filled."""
    noise = np.random.default_rng(0).bytes(3 * 2**20 + 7)
    (tmp_path / "out.unfinished").mkdir()
    (tmp_path / "out.unfinished" / "old").touch()
    (tmp_path / "out").mkdir()
    for kind in KINDS:
        unpack(pack(tmp_path / "a", {"a": noise, "b": b"x" * 1025}, kind), tmp_path / "out")
        assert content(tmp_path / "out") == {"a": noise, "b": b"x" * 1025}
        for file in (tmp_path / "out").iterdir():
            file.unlink()


def test_long_names_and_other_headers(tmp_path):
    name = "/".join(["folder" * 10] * 4) + "/ä.jpg"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        with tarfile.open(tmp_path / "a.tar", "w", format=form) as archive:
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 3, 1.5
            archive.addfile(info, io.BytesIO(b"abc"))
        unpack(tmp_path / "a.tar", tmp_path / str(form))
        assert list(content(tmp_path / str(form)).values()) == [b"abc"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_path_that_leads_out(tmp_path, name, kind):
    line = refused(pack(tmp_path / "a", {"good": b"1", name: b"2"}, kind))
    assert f"the path leads out of the {kind[:3]}" in line
    assert not list(tmp_path.parent.glob("[ab]"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_in_a_tar(tmp_path, kind):
    info = tarfile.TarInfo("a")
    info.type, info.linkname = kind, "good"
    path = pack_tar(tmp_path / "a.tar", [(tarfile.TarInfo("good"), b""), (info, b"")])
    assert "/a: neither a file nor a folder" in refused(path)


def test_links_in_a_zip(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        entry = zipfile.ZipInfo("a")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    assert "/a: neither a file nor a folder" in refused(path)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb(tmp_path, kind):
    """20 MB of nothing, 20 kB packed; 16 MB are always allowed."""
    path = pack(tmp_path / "a", {f"{i}": bytes(5 * 2**20) for i in range(4)}, kind)
    assert "unpacks to more than 17 MB" in refused(path)
    unpack(pack(tmp_path / "b", {f"{i}": bytes(5 * 2**20) for i in range(3)}, kind), tmp_path / "fine")


def test_a_bomb_of_entries(tmp_path):
    path = pack(tmp_path / "a", {f"{i}": b"" for i in range(1200)}, "tar.gz")
    assert path.stat().st_size < 16 * 1200 and "too many entries" in refused(path)
    unpack(pack(tmp_path / "b", {f"{i}": b"" for i in range(1000)}, "tar.gz"), tmp_path / "fine")


def test_a_bomb_between_the_files(tmp_path):
    path = pack(tmp_path / "a", {"a": b"1"}, "tar")
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(path.read_bytes() + bytes(2**25)))
    assert "unpacks to more than 17 MB" in refused(tmp_path / "b.tar.gz")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_bomb_in_a_header(tmp_path, kind):
    """tarfile reads such headers at once, however long they are."""
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, 2**24
    path = pack_tar(tmp_path / "a.tar.gz", [(info, bytes(2**24))])
    assert "broken or cut off here (a header of impossible size)" in refused(path)


@pytest.mark.parametrize("size", [-512, -(2**40), 2**60])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE])
def test_a_header_of_impossible_size(tmp_path, size, kind):
    """Negative ones lead tarfile in circles (CVE-2019-20907)."""
    info = tarfile.TarInfo("a")
    info.type, info.size = kind, size
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    refused(tmp_path / "a.tar")


def test_a_sparse_file(tmp_path):
    """Its header says of which size it is, and no data has to follow."""
    info = tarfile.TarInfo("a")
    info.pax_headers = {"GNU.sparse.size": str(2**40), "GNU.sparse.map": "0,1"}
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info)
    assert "/a: neither a file nor a folder" in refused(tmp_path / "a.tar")


@pytest.mark.parametrize("kind", KINDS)
def test_cut_off_anywhere(tmp_path, kind):
    """Where the cut leaves all of the content, an archive may still be whole (tar ends in zeros)."""
    noise = np.random.default_rng(0)
    entries = {f"{i}": noise.bytes(700) for i in range(4)}
    path = pack(tmp_path / "a", entries, kind)
    whole = path.read_bytes()
    ends = [*range(1, len(whole), 509), *range(512, 8192, 512), len(whole) - 1]
    for end in sorted({end for end in ends if end < len(whole)}):
        path.write_bytes(whole[:end])
        if kind == "tar" and end >= 4 * (512 + 1024) + 512:
            unpack(path, tmp_path / f"out{end}")
            assert content(tmp_path / f"out{end}") == entries
        else:
            assert any(word in refused(path) for word in ("cut off", "no zip file that can be read", "neither a zip"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_byte(tmp_path, kind):
    path = pack(tmp_path / "a", {"a": b"1" * 900, "b": np.random.default_rng(0).bytes(900)}, kind)
    data = bytearray(path.read_bytes())
    place = data.index(b"ustar", 1024) if kind == "tar" else len(data) // 2
    data[place] ^= 1
    path.write_bytes(data)
    assert "broken or cut off" in refused(path)


@pytest.mark.parametrize("kind", KINDS)
def test_names_that_cannot_be(tmp_path, kind):
    for name in ("a\nb\x1b[1m", "a/b", "\x1b" * 300):
        with pytest.raises(UserError) as caught:
            unpack(pack(tmp_path / "x", {"a": b"1", name: b"2", "a\nb\x1b[1m/": b""}, kind), tmp_path / "out")
        assert str(caught.value).isprintable() and not (tmp_path / "out").exists()


def test_an_encrypted_zip(tmp_path):
    path = pack(tmp_path / "a", {"a": b"1"}, "zip")
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert "/a: encrypted" in refused(path)


def test_no_archive(tmp_path):
    for data in (b"", b"x" * 600, b"<!doctype html>"):
        (tmp_path / "a").write_bytes(data)
        assert "neither a zip, a tar nor a tar.gz" in refused(tmp_path / "a")
    (tmp_path / "a").write_bytes(gzip.compress(b"x" * 600))
    assert "broken or cut off" in refused(tmp_path / "a")
    assert "cannot be read" in refused(tmp_path / "missing")
    assert "cannot be read" in refused(tmp_path)


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*arguments) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    path = pack(tmp_path / "a", {"a": b"1"}, "tar.gz")
    with pytest.raises(UserError, match=r"cannot be written \(No space left"):
        unpack(path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [path]


def test_something_in_the_way(tmp_path):
    path = pack(tmp_path / "a", {"a": b"1"}, "zip")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    with pytest.raises(UserError, match="out: cannot be written"):
        unpack(path, tmp_path / "out")
    with pytest.raises(UserError, match="cannot be written"):
        unpack(path, path / "out")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.zip", "mine", "out"]
