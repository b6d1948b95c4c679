"""predict.py with --workers and --compile, and the script that times them."""

import json
import re
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_predict import make_checkpoint, run, written

from data.palette import ANIME, encode_label
from data.picture_io import Notes
from engine.errors import UserError
from engine.png import write_png
from scripts import predict_speed


@pytest.fixture
def weights(tmp_path) -> Path:
    return make_checkpoint(tmp_path / "seg.pt")


@pytest.fixture
def pictures(tmp_path) -> Path:
    folder, rng = tmp_path / "in", np.random.default_rng(0)
    folder.mkdir()
    for i, shape in enumerate([(32, 32, 3), (40, 60, 3), (32, 32, 3), (70, 20, 3), (32, 32, 3)]):
        Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(folder / f"{i}.png")
    return folder


def test_workers_change_nothing_and_cannot_be_fewer_than_none(weights, pictures, tmp_path, monkeypatch, capsys):
    (pictures / "broken.png").write_text("no picture")
    found = []
    for workers in (0, 1, 4):
        output = tmp_path / f"out{workers}"
        words = ["--weights", weights, "--input", pictures, "--output", output, "--overlay", "--batch", 2]
        with pytest.raises(UserError, match="1 of 6 files failed"):
            run(monkeypatch, *words, "--workers", workers)
        found.append([(name, (output / name).read_bytes()) for name in written(output)])
    assert len(found[0]) == 10 and found[0] == found[1] == found[2]
    with pytest.raises(SystemExit):
        run(monkeypatch, *words, "--workers", -1)
    assert "--workers -1: expected a whole number of at least 0" in capsys.readouterr().err


def test_a_compiled_network_predicts_the_same(weights, pictures, tmp_path, monkeypatch):
    compiled, compile_it = [], torch.nn.Module.compile

    def compile_quickly(network):
        compiled.append(network)
        compile_it(network, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_quickly)
    common = ["--weights", weights, "--input", pictures, "--batch", 3]
    run(monkeypatch, *common, "--output", tmp_path / "plain")
    assert not compiled
    run(monkeypatch, *common, "--output", tmp_path / "compiled", "--compile")
    assert len(compiled) == 1
    assert written(tmp_path / "plain") == written(tmp_path / "compiled")
    for name in written(tmp_path / "plain"):
        plain, other = (np.asarray(Image.open(tmp_path / folder / name)) for folder in ("plain", "compiled"))
        assert (plain != other).mean() < 0.01


def test_a_missing_compiler_is_one_line(weights, pictures, tmp_path, monkeypatch):
    def compile_nothing(network):
        def fail(*inputs):
            raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")

        network.forward = fail

    monkeypatch.setattr(torch.nn.Module, "compile", compile_nothing)
    words = ["--weights", weights, "--input", pictures, "--output", tmp_path / "out"]
    with pytest.raises(UserError, match="--compile: needs a C.. compiler"):
        run(monkeypatch, *words, "--compile")


def test_a_note_comes_once_from_many_threads(capsys):
    notes = Notes()
    together = threading.Barrier(8)

    def say(i):
        together.wait()
        notes.once("pair", f"note {i}")

    threads = [threading.Thread(target=say, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(re.findall("note", capsys.readouterr().out)) == 1


def test_png_files_hold_what_is_given(tmp_path):
    rng = np.random.default_rng(0)
    colors = rng.integers(0, 256, (9, 7, 3), np.uint8)
    write_png(Image.fromarray(colors), tmp_path / "new" / "a.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / "a.png")), colors)
    ids = rng.integers(0, 5, (9, 7), np.uint8)
    write_png(encode_label(ids, ANIME), tmp_path / "b.png")
    label = Image.open(tmp_path / "b.png")
    assert label.mode == "P" and np.array_equal(np.asarray(label), ids)


@pytest.mark.parametrize(
    ("family", "words"),
    [("pix2pix", ["model.width=2"]), ("spade", ["model.width=8", "model.code_width=8"])],
)
def test_the_script_times_every_row(tmp_path, monkeypatch, capsys, family, words):
    words = ["--family", family, "--set", "data.size=64", *words, "--count", 3, "--size", 64, "--device", "cpu"]
    words += ["--workers", 2, "--rounds", 1, "--precision", "bf16", "--json", tmp_path / "speed.json"]
    monkeypatch.setattr(sys, "argv", ["predict_speed.py", *map(str, words)])
    predict_speed.main()
    table = capsys.readouterr().out
    speeds = json.loads((tmp_path / "speed.json").read_text())["pictures_per_s"]
    names = ["plain", "workers 0", "workers 2", "workers 2 --precision bf16"]
    assert list(speeds) == [*names, "reading alone", "network alone", "writing alone"]
    assert all(speed > 0 and name in table for name, speed in speeds.items())


def test_mistakes_are_a_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        predict_speed.arguments(["--rounds", "0"])
    assert "--rounds 0: expected a whole number of at least 1" in capsys.readouterr().err
    with pytest.raises(UserError, match="is a folder"):  # now, not after the measuring
        predict_speed.arguments(["--json", str(tmp_path)])
