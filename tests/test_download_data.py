"""Data sets from a server of this machine to a folder."""

import io
import multiprocessing
import os
import shlex
import tarfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from engine.errors import UserError
from options import dcgan, pix2pix, published
from options.load import load
from scripts import download_data
from tests.file_server import Answer, Site

pytest_plugins = ["tests.file_server"]

ROOT = Path(__file__).resolve().parents[1]
NAMES = ["facades", "maps", "edges2shoes", "edges2handbags", "night2day", "anime-faces", "seg-sample"]
FILES = {"train/1.jpg": b"one", "val/2.jpg": b"two"}
PIXELS = np.random.default_rng(0).integers(0, 256, (90, 100, 3)).astype(np.uint8)


def jpeg(pixels: np.ndarray = PIXELS) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    return file.getvalue()


def archive(names: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for name, data in names.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


@pytest.fixture
def sets(site, tmp_path, monkeypatch) -> Site:
    """A server of the data sets pairs, whose first address leads nowhere, and picture; the work is done in tmp_path."""
    known = {"what": "pairs", "licence": "mine", "verified": True}
    urls = [f"{site.url}/gone", site.put("/pairs", archive({f"pairs/{name}": data for name, data in FILES.items()}))]
    pairs = {"name": "pairs.tar.gz", "urls": urls, "kind": "gzip"}
    picture = {"name": "picture.jpg", "urls": [site.put("/picture", jpeg())], "kind": "jpeg"}
    entries = {
        "pairs": {**known, "file": pairs, "command": "python train_pix2pix.py data.root=FOLDER"},
        "picture": {**known, "file": picture, "command": "look FOLDER", "square": {"margin": 10, "side": 32}},
    }
    (tmp_path / "sets.yaml").write_text(yaml.safe_dump(entries))
    monkeypatch.setattr(download_data, "LIST", tmp_path / "sets.yaml")
    monkeypatch.chdir(tmp_path)
    return site


def run(*words) -> None:
    download_data.main([str(word) for word in words])


def error_of(*words, code: int = 1) -> str:
    with pytest.raises(UserError) as caught:
        run(*words)
    assert caught.value.code == code and "\n" not in str(caught.value)
    return str(caught.value)


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_from_the_mirror_to_the_next_command(sets, tmp_path, cache, capsys):
    run("pairs", "--output", "my data")
    assert content(tmp_path / "my data") == {f"pairs/{name}": data for name, data in FILES.items()}
    assert [request.path for request in sets.requests] == ["/gone", "/pairs"]
    out = capsys.readouterr().out
    assert "pairs: pairs; mine\n" in out
    assert out.endswith("next: python train_pix2pix.py data.root='my data/pairs'\n")
    assert list(content(cache)) == ["downloads/hashes.json"], "the archive is gone, its hash is known from now on"
    run("pairs", "--output", "my data")
    out = capsys.readouterr().out
    assert "is there already and kept" in out and "next: python" in out and len(sets.requests) == 2


def test_a_folder_with_content_is_kept_an_empty_one_filled(sets, tmp_path, capsys):
    (tmp_path / "datasets" / "pairs").mkdir(parents=True)
    run("pairs")
    assert content(tmp_path / "datasets" / "pairs") == FILES
    (tmp_path / "datasets" / "picture").mkdir()
    (tmp_path / "datasets" / "picture" / "mine").touch()
    run("picture")
    assert content(tmp_path / "datasets" / "picture") == {"mine": b""}
    (tmp_path / "file").touch()
    assert "cannot be written" in error_of("pairs", "--output", "file")


def test_the_sample_picture_is_cut_as_the_original_does(sets, tmp_path):
    run("picture")
    whole = Image.open(io.BytesIO(jpeg()))
    expected = whole.crop((10, 0, 90, 80)).resize((32, 32), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(Image.open(tmp_path / "datasets" / "picture" / "sample.png"), expected)


@pytest.mark.parametrize("size", [(20, 50), (100, 70)])
def test_another_picture_than_expected(sets, tmp_path, size):
    sets.put("/picture", jpeg(np.zeros((*size[::-1], 3), np.uint8)))
    assert "not the picture that was expected" in error_of("picture")
    assert not (tmp_path / "datasets" / "picture").exists()


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (archive({"../out.jpg": b"1"}), "leads out of the tar"),
        (archive({"a": bytes(2**25)}), "unpacks to more than"),
        (archive(FILES)[:-20], "broken or cut off"),
        (b"<!doctype html><title>Sign in</title>", "pairs.tar.gz: could not be downloaded"),
    ],
    ids=["outside", "bomb", "cut", "page"],
)
def test_what_is_no_sound_archive_leaves_nothing(sets, tmp_path, data, line):
    sets.put("/pairs", data)
    assert line in error_of("pairs")
    assert list((tmp_path / "datasets").iterdir()) == []


def test_fetched_by_hand(sets, tmp_path, capsys):
    mine = tmp_path / "mine.tar.gz"
    mine.write_bytes(archive(FILES))
    run("pairs", "--from-file", mine)
    assert content(tmp_path / "datasets" / "pairs") == FILES and mine.is_file() and not sets.requests
    mine.write_bytes(b"<html>")
    assert str(mine) in error_of("pairs", "--from-file", mine, "--output", "other")
    sets.answers.clear()
    assert "--from-file" in error_of("pairs", "--output", "other")
    with pytest.raises(SystemExit) as caught:
        run("--from-file", mine)
    assert caught.value.code == 2


def test_another_archive_than_the_first_time(sets, tmp_path):
    run("pairs")
    sets.put("/pairs", archive({"other": b"3"}))
    error_of("pairs", "--output", "other")
    assert content(tmp_path / "other") == {}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_two_processes_at_once(sets, tmp_path):
    hold = threading.Event()
    sets.put("/pairs", Answer(archive(FILES), hold=hold))
    both = [multiprocessing.get_context("fork").Process(target=run, args=("pairs",)) for _ in range(2)]
    for process in both:
        process.start()
    started = time.monotonic()
    while len(sets.requests) < 2 and time.monotonic() - started < 20:  # then one waits in the middle of the file
        time.sleep(0.01)
    time.sleep(0.3)
    hold.set()
    for process in both:
        process.join(30)
    assert [process.exitcode for process in both] == [0, 0]
    assert content(tmp_path / "datasets") == {f"pairs/{name}": data for name, data in FILES.items()}
    assert [request.path for request in sets.requests] == ["/gone", "/pairs"]


def test_the_list(capsys):
    run("--list")
    listed = capsys.readouterr().out
    run()
    assert capsys.readouterr().out == listed
    lines = listed.splitlines()
    assert [line.split(":")[0] for line in lines[::3]] == NAMES
    assert all("not verified" in line for line in lines[::3])
    assert lines[2].startswith("    facades.tar.gz, 30.2 MB, hash recorded on first download, https://")


def test_an_unknown_name():
    assert error_of("facade", code=2).startswith("facade: no such data set; did you mean facades?")
    assert "known: facades, maps" in error_of("imagenet", code=2)


@pytest.mark.parametrize("name", NAMES)
def test_the_next_command_is_one_that_works(name):
    python, script, *words = shlex.split(download_data.read_list()[name].command.replace("FOLDER", "datasets/x"))
    assert python == "python" and (ROOT / script).is_file()
    if script == "predict.py":
        assert published.read_list()[words[words.index("--weights") + 1]].predicts
        return
    module, options = {
        "train_pix2pix.py": (pix2pix, pix2pix.Pix2PixOptions),
        "train_dcgan.py": (dcgan, dcgan.DcganOptions),
    }[script]
    words[0] = str(ROOT / words[0])
    assert load(options, words, module.DEFAULT_FILE).data.root == "datasets/x"
