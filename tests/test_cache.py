"""The cache of decoded pictures: the same bytes from everywhere, a change noticed, damage mended, no disk needed."""

import errno
import os
import pickle
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from data.cache import STALE, Decoding, Rows, cached
from engine.errors import UserError

SHAPE = (3, 4, 5)
NAMES = [f"{i}.bin" for i in range(7)]
BAD = ("2.bin", "5.bin")


def picture(name: str) -> np.ndarray:
    return np.random.default_rng(int(Path(name).stem)).integers(0, 256, SHAPE).astype(np.uint8)


@pytest.fixture
def folder(tmp_path) -> Path:
    """A file for each name: the picture's bytes, in BAD ones nothing."""
    for name in NAMES:
        (tmp_path / name).write_bytes(b"" if name in BAD else picture(name).tobytes())
    return tmp_path


class Reader:
    """Reads the folder's files and counts how many."""

    def __init__(self, folder: Path):
        self.folder, self.reads = folder, 0

    def read(self, name: str) -> np.ndarray:
        self.reads += 1
        data = (self.folder / name).read_bytes()
        if not data:
            raise UserError(f"{name}: empty")
        return np.frombuffer(data, np.uint8).reshape(SHAPE)

    def cached(self, names=tuple(NAMES), settings=("test",), workers=0, **more):
        return cached(self.decoding(names, settings, workers), **more)

    def decoding(self, names=tuple(NAMES), settings=("test",), workers=0) -> Decoding:
        return Decoding(self.read, names, [self.folder / name for name in names], list(settings), workers)


@pytest.fixture
def reader(folder) -> Reader:
    return Reader(folder)


def files(cache: Path) -> list[str]:
    return sorted(path.suffix for path in (cache / "pictures").iterdir())


def sound(found, kept=tuple(name for name in NAMES if name not in BAD)) -> bool:
    true = torch.from_numpy(np.stack([picture(name) for name in kept]))
    return found.names == list(kept) and torch.equal(found.rows.all(SHAPE), true)


@pytest.mark.parametrize("more", [{"workers": 0}, {"workers": 4}, {"disk": False}])
def test_the_pictures_and_the_problems(reader, cache, more):
    found = reader.cached(**more)
    assert sound(found) and found.problems == ["2.bin: empty", "5.bin: empty"]
    if "disk" in more:
        assert found.rows.file is None and not (cache / "pictures").exists()
    else:
        assert found.rows.file.parent == cache / "pictures" and files(cache) == [".json", ".u8"]


def test_more_pictures_than_are_decoded_ahead(reader, monkeypatch):
    monkeypatch.setattr("engine.make.AHEAD", 2)
    assert sound(reader.cached(workers=3))


@pytest.mark.parametrize("more", [{}, {"disk": False}])
@pytest.mark.parametrize("number", [errno.EIO, errno.EMFILE, errno.EACCES, errno.ESTALE])
def test_what_the_system_does_not_let_us_read_is_not_kept(reader, cache, number, more):
    """A network share that fails for a moment must not leave sound pictures out for ever."""
    plain = reader.read

    def read(name):
        if name == NAMES[3]:
            reason = OSError(number, os.strerror(number))
            raise UserError(f"{name}: cannot be read") from reason
        return plain(name)

    reader.read = read
    with pytest.raises(UserError, match="3.bin: cannot be read"):
        reader.cached(**more)
    assert not (cache / "pictures").exists() or files(cache) == []
    reader.read = plain
    assert sound(reader.cached(**more))


def test_a_share_cut_off_while_it_is_read_is_not_kept(reader, folder, cache):
    """Its files are gone for the reader, as a link to nothing is, but were there when it began."""
    plain = reader.read

    def read(name):
        if name == NAMES[4]:
            (folder / name).rename(folder / "away")
        try:
            return plain(name)
        except FileNotFoundError as error:
            raise UserError(f"{name}: no such file") from error

    reader.read = read
    with pytest.raises(UserError, match="4.bin: No such file"):
        reader.cached()
    assert files(cache) == []


def test_a_broken_file_may_be_one_that_names_a_place_outside(reader):
    """Seeking to it is the system's error EINVAL, but the bytes' fault."""
    plain = reader.read

    def read(name):
        try:
            return plain(name)
        except UserError:
            raise UserError(f"{name}: broken") from OSError(errno.EINVAL, "Invalid argument")

    reader.read = read
    assert reader.cached().problems == ["2.bin: broken", "5.bin: broken"]


def test_many_bytes_in_more_caches_than_one_are_mentioned(reader, capsys, monkeypatch):
    monkeypatch.setattr("data.cache.MUCH", 500)
    first = reader.cached().rows.file
    assert "note" not in capsys.readouterr().out
    reader.cached(settings=["other"])
    assert f"note: {first.parent}: 600 bytes in 2 caches; it may be deleted" in capsys.readouterr().out
    reader.cached()
    assert "note" not in capsys.readouterr().out, "only when one is added"


def test_what_was_decoded_is_not_read_again(reader):
    first, again = reader.cached(), reader.cached()
    assert reader.reads == len(NAMES)
    assert sound(again) and again.problems == first.problems and again.rows.file == first.rows.file


def test_writing_to_the_pictures_does_not_change_the_file(reader):
    reader.cached().rows.data.zero_()
    assert sound(reader.cached()) and reader.reads == len(NAMES)


def test_every_change_is_noticed(reader, folder):
    made = {reader.cached().rows.file}
    others = reader.cached(settings=["other"]), reader.cached(NAMES[::-1]), reader.cached(NAMES[:3])
    made |= {other.rows.file for other in others}
    (folder / BAD[0]).write_bytes(picture(BAD[0]).tobytes())
    found = reader.cached()
    made.add(found.rows.file)
    assert sound(found, [name for name in NAMES if name != BAD[1]])
    stat = (folder / NAMES[0]).stat()
    os.utime(folder / NAMES[0], ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    made.add(reader.cached().rows.file)
    assert len(made) == 6


def touch(file: Path) -> None:
    """Another time of a file, whatever the clock's steps."""
    if file.exists():
        os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))


DAMAGE = {
    "a bit": lambda file: file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:]),
    "cut off": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + b"x"),
    "gone": lambda file: file.unlink(),
    "json cut off": lambda file: file.with_suffix(".json").write_text('{"crc32": 1, "na'),
    "json of something else": lambda file: file.with_suffix(".json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_cache_is_made_again(reader, capsys, damage):
    file = reader.cached().rows.file
    damage(file)
    touch(file)
    capsys.readouterr()
    assert sound(reader.cached()) and reader.reads == 2 * len(NAMES)
    assert f"note: {file}: damaged: made again\n" in capsys.readouterr().out
    assert sound(reader.cached()) and reader.reads == 2 * len(NAMES)


def test_a_cache_that_was_only_touched_is_taken_after_a_look_at_its_bytes(reader, capsys, monkeypatch):
    touch(reader.cached().rows.file)
    assert sound(reader.cached()) and reader.reads == len(NAMES)
    touch(reader.cached(settings=["other"]).rows.file)
    monkeypatch.setattr("data.cache._checksum", lambda file: 0)
    capsys.readouterr()
    reader.cached(settings=["other"])
    assert "damaged" in capsys.readouterr().out


def test_an_untouched_cache_is_not_read_through(reader, monkeypatch):
    reader.cached()
    monkeypatch.setattr("data.cache._checksum", None)
    assert sound(reader.cached())


@pytest.mark.parametrize("disk", [True, False])
def test_rows_of_any_shapes(reader, disk):
    def ragged(name: str) -> np.ndarray:
        number = int(Path(name).stem)
        return np.full((1 + number % 3, 2 + number, 7 - number), number, np.uint8)

    reader.read = ragged
    for _ in range(2):
        rows = reader.cached(disk=disk).rows
        others = [rows, pickle.loads(pickle.dumps(rows)), rows.copied(rows.data.clone())]
        assert others[2].host is rows and rows.host is rows
        for found in others:
            assert isinstance(found, Rows) and len(found) == len(NAMES)
            for row, name in zip(range(len(NAMES)), NAMES, strict=True):
                assert np.array_equal(found[row], ragged(name))


def test_another_process_maps_the_file_itself(reader):
    assert len(pickle.dumps(reader.cached().rows)) < len(pickle.dumps(reader.cached(disk=False).rows))


def test_a_stop_between_the_two_files_is_no_damage(reader, capsys):
    reader.cached().rows.file.with_suffix(".json").unlink()
    capsys.readouterr()
    assert sound(reader.cached()) and "note" not in capsys.readouterr().out


def test_no_sound_picture(reader):
    for _ in range(2):
        found = reader.cached(BAD)
        assert found.rows.all(SHAPE).shape == (0, *SHAPE) and len(found.problems) == 2


def test_a_folder_that_cannot_be_written(reader, cache, monkeypatch, capsys):
    (cache / "file").touch()
    monkeypatch.setenv("ATELIER_CACHE", str(cache / "file"))
    found = reader.cached()
    assert sound(found) and len(found.problems) == 2 and found.rows.file is None
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert len(notes) == 1 and str(cache / "file") in notes[0] and "stay in memory" in notes[0]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
def test_a_full_disk(reader, cache, capsys):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        found = reader.cached()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sound(found) and found.rows.file is None and files(cache) == []
    assert "stay in memory" in capsys.readouterr().out


def test_an_interrupted_run_leaves_nothing(reader, cache, monkeypatch):
    def stop(name):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(reader, "read", stop)
        reader.cached()
    assert files(cache) == []
    assert sound(reader.cached())


def test_several_at_once(folder, cache):
    readers = [Reader(folder) for _ in range(6)]
    with ThreadPoolExecutor(len(readers)) as pool:
        assert all(map(sound, pool.map(lambda reader: reader.cached(workers=2), readers)))
    assert files(cache) == [".json", ".u8"]


def test_what_a_kill_left_goes_but_not_what_another_writes(reader, cache):
    (cache / "pictures").mkdir()
    old, new = (cache / "pictures" / f"{name}.u8.0.part" for name in ("old", "new"))
    old.touch(), new.touch()
    os.utime(old, times=(time.time() - STALE - 60,) * 2)
    reader.cached()
    assert not old.exists() and new.exists()


def test_a_file_that_is_gone_is_named(reader, folder):
    (folder / NAMES[3]).unlink()
    with pytest.raises(UserError, match="3.bin: No such file"):
        reader.cached()
