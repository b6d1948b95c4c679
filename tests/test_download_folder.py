"""engine/download.py: the folder, its record of hashes, files fetched by hand, several processes at once."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine import lock
from engine.download import fetch
from tests.file_server import CONTENT, HALF, OTHER, SHA256, Answer, a_file, names, refusal

pytest_plugins = ["tests.file_server"]

ROOT = Path(__file__).parents[1]


# The record of hashes


def test_an_unknown_hash_is_recorded_and_checked(site, folder, capsys):
    file = a_file(site.put("/a", CONTENT), sha256=None)
    path = fetch(file, folder)
    assert f"SHA-256 {SHA256} is checked from now on ({folder / 'hashes.json'})" in capsys.readouterr().out
    about = json.loads((folder / "hashes.json").read_text())
    assert about["a.bin"]["sha256"] == SHA256 and about["a.bin"]["source"] == site.url + "/a"
    fetch(file, folder)
    assert capsys.readouterr().out == ""
    path.write_bytes(OTHER)
    assert fetch(file, folder).read_bytes() == CONTENT, "a changed copy is fetched again"
    site.put("/a", OTHER)
    path.unlink()
    assert f"another file than at first: its SHA-256 is {hashlib.sha256(OTHER).hexdigest()}" in refusal(file, folder)
    assert names(folder) == ["hashes.json"]
    (folder / "hashes.json").unlink()
    assert fetch(file, folder).read_bytes() == OTHER


def test_a_file_put_there_by_hand_is_recorded(folder):
    folder.mkdir()
    (folder / "a.bin").write_bytes(CONTENT)
    assert fetch(a_file("http://127.0.0.1:9/a", sha256=None), folder) == folder / "a.bin"
    assert json.loads((folder / "hashes.json").read_text())["a.bin"]["sha256"] == SHA256


@pytest.mark.parametrize("content", ["{", "[]", '{"a.bin": 1}', '{"a.bin": {"sha256": 1}}'])
def test_a_damaged_record(content, site, folder):
    folder.mkdir()
    (folder / "hashes.json").write_text(content)
    assert "hashes.json: " in refusal(a_file(site.put("/a", CONTENT), sha256=None), folder)
    assert (folder / "hashes.json").read_text() == content


# Files fetched by hand


def test_a_file_fetched_by_hand(folder, tmp_path):
    mine, file = tmp_path / "mine", a_file("http://127.0.0.1:9/a")
    mine.write_bytes(CONTENT)
    path = fetch(file, folder, from_file=mine)
    assert path.read_bytes() == CONTENT and fetch(file, folder, from_file=path) == path and names(folder) == ["a.bin"]
    mine.write_bytes(OTHER)
    assert f"{mine}: is not a.bin: another file" in refusal(file, folder, from_file=mine)
    mine.write_bytes(b"<html>Quota exceeded")
    assert "quota page" in refusal(file, folder, from_file=mine)
    assert "no such file" in refusal(file, folder, from_file=tmp_path / "gone") and path.read_bytes() == CONTENT


# The folder


def test_a_folder_that_cannot_be_written(site, tmp_path, monkeypatch):
    file = a_file(site.put("/a", CONTENT))
    (tmp_path / "file").touch()
    assert "cannot be written" in refusal(file, tmp_path / "file" / "cache")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "no permission" in refusal(file, tmp_path) and site.requests == []
    (tmp_path / "a.bin").write_bytes(CONTENT)
    assert fetch(file, tmp_path) == tmp_path / "a.bin", "what is there needs no permission to write"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(site, folder):
    folder.mkdir(mode=0o555)
    assert "no permission" in refusal(a_file(site.put("/a", CONTENT)), folder)


def test_a_folder_in_the_place_of_the_file(site, folder):
    (folder / "a.bin").mkdir(parents=True)
    assert "a folder stands" in refusal(a_file(site.put("/a", CONTENT)), folder)


def test_a_full_disk(site, folder, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    assert "needs 0.3 MB, but 1000 bytes are free" in refusal(a_file(site.put("/a", CONTENT)), folder)


# Several processes

PROGRAM = """
import sys
from pathlib import Path
from engine.download import File, fetch
from engine.errors import door
door(lambda: fetch(File("a.bin", (sys.argv[1],)), Path(sys.argv[2])))
"""


def start(url: str, folder: Path) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, url, folder], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def wait_for(condition) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_two_processes_at_once_download_once(site, folder):
    hold = threading.Event()
    url = site.put("/a", Answer(CONTENT, hold=hold))
    first = start(url, folder)
    wait_for(lambda: site.requests)
    second = start(url, folder)
    assert "another process is at it: waiting" in second.stdout.readline()
    hold.set()
    for process in (first, second):
        process.communicate(timeout=20)
        assert process.returncode == 0
    assert len(site.requests) == 1 and (folder / "a.bin").read_bytes() == CONTENT
    assert names(folder) == ["a.bin", "hashes.json"]


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
def test_a_killed_process_leaves_what_the_next_one_resumes(site, folder):
    hold = threading.Event()
    url = site.put("/a", Answer(CONTENT, hold=hold), CONTENT)
    process = start(url, folder)
    part = folder / "a.bin.part"
    wait_for(lambda: part.exists() and part.stat().st_size > HALF // 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    hold.set()
    assert "a.bin" not in names(folder)
    assert fetch(a_file(url), folder).read_bytes() == CONTENT and names(folder) == ["a.bin"]
    assert site.requests[-1].status == 206


def test_threads_take_turns(tmp_path):
    inside, most = [], []

    def work() -> None:
        with lock.locked(tmp_path / "x"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.01)
            inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 4 and names(tmp_path) == []


def test_a_lock_that_was_removed_meanwhile_is_not_held(tmp_path, monkeypatch):
    take, file = lock._taken, tmp_path / "x.lock"

    def take_late(held) -> bool:
        monkeypatch.setattr(lock, "_taken", take)
        file.unlink()  # by the process that had it
        return take(held)

    monkeypatch.setattr(lock, "_taken", take_late)
    with lock.locked(tmp_path / "x"):
        assert file.exists()
