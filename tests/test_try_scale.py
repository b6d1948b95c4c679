"""scripts/try_scale.py on few pictures: what it makes, watches and says."""

import mmap
import sys
from pathlib import Path

import pytest
from PIL import Image

from engine.errors import UserError
from scripts import try_scale

linux = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's /proc")


def test_pictures_are_made_once_and_a_cut_off_pack_again(tmp_path, monkeypatch):
    monkeypatch.setattr(try_scale, "PACK", 4)
    try_scale.make_data("seg", tmp_path, 13)
    pairs, unlabeled = (sorted((tmp_path / "seg" / name).rglob("*.png")) for name in ("pairs", "unlabeled"))
    assert (len(pairs), len(unlabeled)) == (7, 6)
    assert Image.open(pairs[0]).size == (64, 32) and Image.open(unlabeled[0]).size == (32, 32)
    assert len({path.read_bytes() for path in pairs + unlabeled}) == 13
    before = {path: path.stat().st_mtime_ns for path in pairs}
    lost = pairs[-1].parent
    lost.rename(lost.with_name(f".{lost.name}"))  # as a kill leaves it
    try_scale.make_data("seg", tmp_path, 13)
    after = {path: path.stat().st_mtime_ns for path in sorted((tmp_path / "seg" / "pairs").rglob("*.png"))}
    assert after.keys() == before.keys()
    assert {path for path in after if after[path] != before[path]} == {path for path in pairs if path.parent == lost}


@linux
def test_memory_is_that_of_this_process():
    before = try_scale.memory_mb(try_scale.os.getpid())
    with mmap.mmap(-1, 64 * 2**20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as taken:
        taken.write(bytes(64 * 2**20))  # mapped by itself: malloc may still hold what other tests freed
        grown = try_scale.memory_mb(try_scale.os.getpid()) - before
    assert 55 < grown < 140  # the zeros' own 64 MiB may have been freed by then, or not


def test_the_newest_whole_line_of_a_log(tmp_path):
    log = tmp_path / "log.jsonl"
    assert try_scale.steps_done(log) == 0
    log.write_text('{"step": 1}')
    assert try_scale.steps_done(log) == 0
    log.write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert try_scale.steps_done(log) == 2


@linux
def test_a_training_is_started_twice_and_judged(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(try_scale, "watch", lambda *words: whole(*words, every=0.02))
    words = ["--folder", str(tmp_path), "--family", "dcgan", "--count", "40", "--steps", "60"]
    monkeypatch.setattr(sys, "argv", ["try_scale.py", *words])
    with pytest.raises(SystemExit):
        try_scale.main()
    said = capsys.readouterr().out
    assert "dcgan, 40 pictures: cold start" in said
    verdicts = [line[4:].split()[:2] for line in said.splitlines() if line[:4] in ("PASS", "FAIL")]
    assert verdicts == [["dcgan:", "warm"], ["dcgan:", "memory"]]


whole = try_scale.watch


@pytest.mark.parametrize(("late", "warm", "code"), [(100, 5.0, 0), (200, 5.0, 1), (100, 61.0, 1)])
def test_growing_memory_or_a_slow_start_fails(tmp_path, monkeypatch, capsys, late, warm, code):
    seen = [(step, 100.0 if step < 50 else float(late)) for step in range(1, 101)]
    monkeypatch.setattr(try_scale, "watch", lambda *words: (warm, seen))
    monkeypatch.setattr(try_scale, "make_data", lambda *words: None)
    monkeypatch.setattr(sys, "argv", ["try_scale.py", "--folder", str(tmp_path), "--steps", "100", "--family", "seg"])
    with pytest.raises(SystemExit) as caught:
        try_scale.main()
    assert caught.value.code == code and capsys.readouterr().out.count("FAIL") == code


def test_a_failed_training_shows_what_it_said(tmp_path, monkeypatch):
    (tmp_path / "train_dcgan.py").write_text("raise SystemExit('error: no such folder')")
    monkeypatch.setattr(try_scale, "ROOT", tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        try_scale.watch("dcgan", tmp_path, 10)


@linux
def test_a_folder_that_cannot_be_is_a_line(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(sys, "argv", ["try_scale.py", "--folder", str(tmp_path / "file")])
    with pytest.raises(UserError, match="file: cannot be written"):
        try_scale.main()
