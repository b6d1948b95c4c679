"""predict.py for the dcgan family: pictures by number, classes, walks between latents."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import predict
from data.dcgan_io import LEG
from data.picture_io import to_picture
from engine import checkpoint
from engine.errors import UserError
from engine.logs import contact_sheet
from models import build
from models.latents import SLICE, draw_latents, generate, linear, spherical
from models.layers import predicting
from options.dcgan import DEFAULT_FILE, DcganOptions
from options.load import load, to_dict

SMALL = "data.size=64 model.g_width=4 model.z=6 sample.norm_stats=running".split()  # noqa: SIM905
CLASSES = ["data.labels=folders", "data.classes=[red, blue hair, 'a, b']"]
THREE = ["0000.png", "0001.png", "0002.png"]
WALK = ["interpolation.png", "walk.gif", "walk.webp"]


def options(*words: str) -> DcganOptions:
    return load(DcganOptions, [*SMALL, *words], DEFAULT_FILE)


def make_checkpoint(path: Path, *words: str) -> Path:
    """A network as a checkpoint, its pictures as varied as if it were trained."""
    torch.manual_seed(0)
    opt = options(*words)
    state = build.dcgan_generator(opt).state_dict()
    for name, value in state.items():
        if name.endswith("weight") and value.ndim == 4:
            value *= 8
        if name.endswith("running_mean"):
            value.normal_()
    checkpoint.save(path, {"family": "dcgan", "step": 7, "options": to_dict(opt), "best": {}, "G_ema": state})
    return path


@pytest.fixture
def weights(tmp_path) -> Path:
    return make_checkpoint(tmp_path / "dcgan.pt")


@pytest.fixture
def conditional(tmp_path) -> Path:
    return make_checkpoint(tmp_path / "classes.pt", *CLASSES)


def run(monkeypatch, *words) -> None:
    monkeypatch.setattr(sys, "argv", ["predict.py", "--device", "cpu", *map(str, words)])
    predict.main()


def network(weights: Path) -> tuple[torch.nn.Module, DcganOptions]:
    return predict.load_network(str(weights), torch.device("cpu"))[:2]


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def written(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """But for the last bit of another batch's convolutions."""
    return a.shape == b.shape and np.abs(a - b).max() <= 1


def test_pictures_are_what_the_network_paints_of_their_latents(weights, tmp_path, monkeypatch, capsys):
    run(monkeypatch, "--weights", weights, "--output", tmp_path / "out", "--count", 3, "--seed", 4)
    assert written(tmp_path / "out") == THREE
    assert f"3 written -> {tmp_path / 'out'}" in capsys.readouterr().out
    G, opt = network(weights)
    z, _ = draw_latents(opt, range(3), 4)
    with torch.no_grad():
        for i, name in enumerate(THREE):
            picture = read(tmp_path / "out" / name)
            assert picture.shape == (64, 64, 3) and picture.std() > 10
            assert close(picture, to_picture(G(z[i : i + 1])[0]))
    assert not close(read(tmp_path / "out" / THREE[0]), read(tmp_path / "out" / THREE[1]))


def test_a_picture_is_the_same_at_any_batch_count_and_order_to_the_bit(weights, tmp_path, monkeypatch):
    common = ["--weights", weights]
    run(monkeypatch, *common, "--output", tmp_path / "all", "--count", SLICE + 5, "--batch", 1)
    run(monkeypatch, *common, "--output", tmp_path / "few", "--count", 3, "--batch", 7)
    for name in THREE:
        assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "few" / name).read_bytes()
    before = {path: path.read_bytes() for path in (tmp_path / "all").iterdir()}
    for number in (1, 8, SLICE + 2):
        (tmp_path / "all" / f"{number:04}.png").unlink()
    run(monkeypatch, *common, "--output", tmp_path / "all", "--count", SLICE + 5)
    assert before == {path: path.read_bytes() for path in (tmp_path / "all").iterdir()}


def test_workers_change_nothing_and_leave_nothing_half_written(weights, tmp_path, monkeypatch):
    found = []
    for workers in (0, 1, 4):
        output = tmp_path / f"out{workers}"
        run(monkeypatch, "--weights", weights, "--output", output, "--count", 2 * SLICE + 3, "--workers", workers)
        found.append({path.name: path.read_bytes() for path in output.iterdir()})
    assert len(found[0]) == 2 * SLICE + 3 and found[0] == found[1] == found[2]
    save = Image.Image.save

    def full_disk(picture, file, *words, **more):
        save(picture, file, *words, **more)
        if Path(file).name.startswith("0007"):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full_disk)
    with pytest.raises(UserError, match="0007.png: cannot be written .No space left on device"):
        run(monkeypatch, "--weights", weights, "--output", tmp_path / "full", "--count", 200, "--workers", 4)
    assert "0007.png" not in written(tmp_path / "full") and len(written(tmp_path / "full")) < 100
    assert all(name.endswith(".png") for name in written(tmp_path / "full"))


def test_existing_pictures_are_skipped_and_counted(weights, tmp_path, monkeypatch, capsys):
    common = ["--weights", weights, "--output", tmp_path, "--interpolate", 1]
    Image.new("RGB", (64, 64)).save(tmp_path / "0001.png")
    (tmp_path / "walk.gif").write_bytes(b"mine")
    run(monkeypatch, *common, "--count", 3)
    assert "4 written, 2 already there (--overwrite makes them again)" in capsys.readouterr().out
    assert read(tmp_path / "0001.png").max() == 0 and (tmp_path / "walk.gif").read_bytes() == b"mine"
    run(monkeypatch, *common, "--count", 3, "--overwrite")
    assert "6 written ->" in capsys.readouterr().out
    assert read(tmp_path / "0001.png").max() > 0 and Image.open(tmp_path / "walk.gif").format == "GIF"


def test_the_grid_of_64_is_that_of_training(weights, tmp_path, monkeypatch):
    run(monkeypatch, "--weights", weights, "--output", tmp_path / "out", "--grid")
    assert len(written(tmp_path / "out")) == 65, "64 pictures without --count"
    G, opt = network(weights)
    with predicting(G, opt.sample.norm_stats):
        made = [to_picture(one) for one in generate(G, *draw_latents(opt, range(64), seed=0))]
    sheet = contact_sheet([made[i : i + 8] for i in range(0, 64, 8)])
    assert np.array_equal(read(tmp_path / "out" / "grid.png"), sheet) and len(sheet) == 8 * 66 - 2


def test_batch_statistics_are_those_of_each_picture_alone(weights, tmp_path, monkeypatch):
    words = ["--weights", weights, "--output", tmp_path / "out", "--count", 3, "--norm-stats", "batch"]
    run(monkeypatch, *words)
    G, opt = network(weights)
    z, _ = draw_latents(opt, range(3))
    with torch.no_grad():
        alone = to_picture(G.train()(z[1:2])[0])
        together = to_picture(G(z)[1])
    assert close(read(tmp_path / "out" / "0001.png"), alone)
    assert not close(read(tmp_path / "out" / "0001.png"), together)


@pytest.mark.parametrize("words", [["model.variant=illustration"], ["model.variant=fc", "data.size=96"]])
def test_the_other_variants_predict_too(tmp_path, monkeypatch, words):
    weights = make_checkpoint(tmp_path / "any.pt", *words)
    run(monkeypatch, "--weights", weights, "--output", tmp_path / "out", "--count", 2, "--precision", "bf16")
    assert {read(tmp_path / "out" / name).shape[0] for name in written(tmp_path / "out")} == {96 if words[1:] else 64}


# ---- interpolation


@pytest.mark.parametrize("words", [[], ["--interpolation", "linear"]])
def test_a_walk_goes_by_the_pictures_of_the_same_seed(weights, tmp_path, monkeypatch, words):
    common = ["--weights", weights, "--seed", 2, "--output", tmp_path / "out"]
    run(monkeypatch, *common, "--interpolate", 3, "--steps", 4, "--count", 3, *words)
    assert written(tmp_path / "out") == THREE + WALK
    sheet = read(tmp_path / "out" / "interpolation.png")
    assert sheet.shape == (3 * 66 - 2, 4 * 66 - 2, 3)
    cells = [[sheet[66 * r : 66 * r + 64, 66 * c : 66 * c + 64] for c in range(4)] for r in range(3)]
    pictures = [read(tmp_path / "out" / name) for name in THREE]
    for row in range(3):
        assert close(cells[row][0], pictures[row]) and close(cells[row][-1], pictures[(row + 1) % 3])
    G, opt = network(weights)
    z, _ = draw_latents(opt, range(3), 2)
    way = linear if words else spherical
    assert close(cells[1][1], to_picture(generate(G, way(z[1], z[2], torch.tensor([1 / 3])))[0]))
    for name in ("walk.gif", "walk.webp"):
        film = Image.open(tmp_path / "out" / name)
        assert film.n_frames == 3 * LEG and film.size == (64, 64) and film.info["loop"] == 0, name
        film.load()
        assert film.info["duration"] == 40
        for leg in range(3):
            film.seek(leg * LEG)
            off = np.abs(np.asarray(film.convert("RGB")).astype(int) - pictures[leg])
            assert off.max() <= 1 if name == "walk.webp" else off.mean() < 6, (name, leg)  # GIF: 256 colours


def test_one_row_goes_there_and_its_film_back(weights, tmp_path, monkeypatch):
    run(monkeypatch, "--weights", weights, "--output", tmp_path, "--interpolate", 1, "--precision", "bf16")
    assert read(tmp_path / "interpolation.png").shape == (64, 10 * 66 - 2, 3)
    assert Image.open(tmp_path / "walk.webp").n_frames == 2 * LEG
    assert not (tmp_path / "0000.png").exists(), "only the walk without --count"


def test_the_gallery_shows_the_walk_and_the_pictures(weights, tmp_path, monkeypatch):
    run(monkeypatch, "--weights", weights, "--output", tmp_path, "--interpolate", 2, "--count", 3, "--gallery")
    page = (tmp_path / "index.html").read_text()
    assert set(re.findall('src="([^"]*)"', page)) == {*THREE, "interpolation.png", "walk.webp"}


# ---- classes


def test_classes_are_drawn_by_seed_and_number_or_given(conditional, tmp_path, monkeypatch):
    G, opt = network(conditional)
    z, y = draw_latents(opt, range(200), 1)
    assert y.shape == (200, 3) and torch.equal(y.sum(1), torch.ones(200)) and (y.sum(0) > 40).all()
    assert torch.equal(draw_latents(opt, [30, 5], 1)[1], y[[30, 5]])
    assert torch.equal(draw_latents(options(), range(200), 1)[0], z), "the latent does not depend on the classes"
    given = {
        "drawn": ([], y[:2]),
        "one": (["--class", "blue hair"], torch.tensor([[0.0, 1, 0]] * 2)),
        "list": (["--class", "red,blue hair"], torch.tensor([[1.0, 1, 0]] * 2)),
        "again": (["--class", "red", "--class", "a, b"], torch.tensor([[1.0, 0, 1]] * 2)),
    }
    for name, (words, expected) in given.items():
        run(monkeypatch, "--weights", conditional, "--output", tmp_path / name, "--count", 2, "--seed", 1, *words)
        for i in range(2):
            made = to_picture(generate(G, z[i : i + 1], expected[i : i + 1])[0])
            assert close(read(tmp_path / name / f"000{i}.png"), made), name
    assert not close(read(tmp_path / "one" / "0000.png"), read(tmp_path / "list" / "0000.png"))


def test_a_walk_between_classes_goes_by_their_pictures(conditional, tmp_path, monkeypatch):
    run(monkeypatch, "--weights", conditional, "--output", tmp_path, "--count", 2, "--interpolate", 2, "--steps", 2)
    sheet = read(tmp_path / "interpolation.png")
    assert close(sheet[:64, :64], read(tmp_path / "0000.png")) and close(sheet[:64, 66:], read(tmp_path / "0001.png"))


# ---- mistakes


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--count", 0], "--count 0: expected 1 to 1000000"),
        (["--count", 10**12], "--count 1000000000000: expected 1 to"),
        (["--interpolate", 0], "--interpolate 0: expected 1 to 100"),
        (["--interpolate", 2, "--steps", 1], "--steps 1: expected 2 to 100"),
        (["--steps", 5], "--steps 5: says how --interpolate walks"),
        (["--interpolation", "linear"], "--interpolation linear: says how"),
        (["--interpolate", 2, "--grid"], "--grid: with --interpolate there are no single pictures; add --count"),
        (["--input", "."], "--input: is for seg and pix2pix and spade, but the checkpoint is of dcgan; leave it out"),
        (["--fit", "crop"], "--fit: is for seg"),
        (["--limit", 3], "--limit: is for seg"),
        (["--pairs"], "--pairs: is for seg"),
        (["--layout", "pair"], "--layout: is for seg"),
        (["--samples", 3], "--samples: is for pix2pix and spade"),
        (["--class", "red"], r"--class red: this checkpoint knows no classes \(data.labels\); leave it out"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_written(weights, tmp_path, monkeypatch, words, line):
    with pytest.raises(UserError, match=line) as caught:
        run(monkeypatch, "--weights", weights, "--output", tmp_path / "out", *words)
    assert caught.value.code == 2 and "\n" not in str(caught.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("rde", "--class rde: no class of this checkpoint; did you mean red?"),
        ("red,xyz", "--class xyz: no class of this checkpoint; there are red, blue hair, a, b"),
        ("", "--class : no class of this checkpoint; there are red"),
    ],
)
def test_unknown_classes_are_named(conditional, tmp_path, monkeypatch, name, line):
    with pytest.raises(UserError, match=re.escape(line)) as caught:
        run(monkeypatch, "--weights", conditional, "--output", tmp_path / "out", "--class", name)
    assert caught.value.code == 2 and not (tmp_path / "out").exists()


def test_what_stands_in_the_way_is_named(weights, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: cannot be written .*file is a file.*choose another folder"):
        run(monkeypatch, "--weights", weights, "--output", tmp_path / "file", "--count", 1)
    (tmp_path / "out" / "0001.png").mkdir(parents=True)
    with pytest.raises(UserError, match="0001.png: a folder stands where an output should go"):
        run(monkeypatch, "--weights", weights, "--output", tmp_path / "out", "--count", 2)
    assert written(tmp_path / "out") == ["0001.png"]


def test_the_other_families_need_an_input_and_know_no_count(tmp_path, monkeypatch):
    from test_predict_pix2pix import make_checkpoint as make_pix2pix

    weights = make_pix2pix(tmp_path / "pix2pix.pt")
    common = ["--weights", weights, "--output", tmp_path / "out"]
    with pytest.raises(UserError, match="--input: is missing: pix2pix") as caught:
        run(monkeypatch, *common)
    assert caught.value.code == 2
    with pytest.raises(UserError, match="--count: is for dcgan, but the checkpoint is of pix2pix") as caught:
        run(monkeypatch, *common, "--input", tmp_path, "--count", 3)
    assert caught.value.code == 2 and not (tmp_path / "out").exists()
