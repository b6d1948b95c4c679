"""predict.py for the spade family: label maps and hair colours to pictures."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import predict
from data.colors import random_color
from data.fit import cover_crop, fit_picture, unfit
from data.palette import ANIME, colorize, encode_label
from data.sample import draw
from data.spade_io import encode_style, paint, to_picture
from engine import checkpoint
from engine.errors import UserError
from models import build
from options.load import load, to_dict
from options.spade import DEFAULT_FILE, SpadeOptions

SAMPLES = Path(__file__).parents[2] / "shared" / "data" / "anime_seg" / "samples"
SMALL = "data.size=64 model.width=4 model.code_width=8".split()  # noqa: SIM905
COLORLESS = ("data.color=false", "data.background=none")
NAMES = ["deep/er/tall.png", "ids.png", "square.png", "wide.png"]


def make_checkpoint(path: Path, *words: str) -> Path:
    """An untrained network as a checkpoint; its noise is as strong as if it were trained."""
    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    opt = load(SpadeOptions, [*SMALL, *words], DEFAULT_FILE)
    state = build.spade_generator(opt).state_dict()
    strengths = [name for name, value in state.items() if value.shape[:1] == (1,) and value.ndim == 4]
    assert strengths or "model.noise=false" in words or "model.generator=paper" in words
    for name in strengths:
        state[name] = torch.randn_like(state[name])
    checkpoint.save(path, {"family": "spade", "step": 7, "options": to_dict(opt), "best": {}, "G_ema": state})
    return path


@pytest.fixture
def weights(tmp_path) -> Path:
    return make_checkpoint(tmp_path / "spade.pt")


def ids_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A drawn character's ids, stretched."""
    return np.asarray(Image.fromarray(draw(seed, 64).label).resize((width, height), Image.Resampling.NEAREST))


@pytest.fixture
def maps(tmp_path) -> Path:
    """Label maps alone: of several sizes, indexed, in colours and as ids."""
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    encode_label(ids_of(64, 64), ANIME).save(folder / "square.png")
    Image.fromarray(colorize(ids_of(48, 80), ANIME)).save(folder / "wide.png")
    encode_label(ids_of(70, 33), ANIME).save(folder / "deep" / "er" / "tall.png")
    Image.fromarray(ids_of(90, 90)).save(folder / "ids.png")
    return folder


def write_pair(path: Path, color: tuple[int, int, int], seed: int = 0, side: int = 64) -> Path:
    """label|colour, 2:1."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = np.broadcast_to(np.array(color, np.uint8), (side, side, 3))
    Image.fromarray(np.concatenate([colorize(ids_of(side, side, seed), ANIME), flat], axis=1)).save(path)
    return path


def run(monkeypatch, *words) -> None:
    monkeypatch.setattr(sys, "argv", ["predict.py", "--device", "cpu", *map(str, words)])
    predict.main()


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def close(a: np.ndarray, b: np.ndarray) -> bool:
    """But for the last bit of another batch's convolutions."""
    return a.shape == b.shape and np.abs(a - b).max() <= 1


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch", "tile"])
@pytest.mark.parametrize("keys", [[], ["model.generator=paper", "model.hidden=8"], COLORLESS])
def test_names_and_sizes_are_kept(maps, tmp_path, monkeypatch, fit, keys):
    any_weights = make_checkpoint(tmp_path / "any.pt", *keys)
    run(monkeypatch, "--weights", any_weights, "--input", maps, "--output", tmp_path / "out", "--fit", fit)
    assert written(tmp_path / "out") == NAMES
    for name in NAMES:
        picture = Image.open(tmp_path / "out" / name)
        assert picture.mode == "RGB" and picture.size == Image.open(maps / name).size
        assert np.asarray(picture).std() > 1


@pytest.mark.parametrize("name", ["square", "wide"])
def test_the_output_is_what_the_network_paints_of_the_nearest_ids(weights, maps, tmp_path, monkeypatch, name):
    common = ["--weights", weights, "--input", maps, "--output", tmp_path / "out"]
    run(monkeypatch, *common, "--hair-color", "#4060c0", "--seed", 5)
    network, opt, _ = predict.load_network(str(weights), torch.device("cpu"))
    ids = ids_of(64, 64) if name == "square" else ids_of(48, 80)
    fitted = fit_picture(np.dstack([ids, *(np.full_like(ids, level) for level in (0x40, 0x60, 0xC0))]), (64, 64))
    assert set(np.unique(fitted.picture[..., 0])) <= set(np.unique(ids)), "no ids between others"
    stack = torch.from_numpy(fitted.picture).permute(2, 0, 1)[None]
    y = paint(network, stack[:, 0], stack[:, 1:], opt, [name], seed=5)[0]
    assert close(read(tmp_path / "out" / f"{name}.png"), to_picture(unfit(y, fitted)).astype(int))


def test_a_pair_is_its_label_in_its_colour(weights, tmp_path, monkeypatch, capsys):
    write_pair(tmp_path / "pairs" / "a.png", (64, 96, 192))
    (tmp_path / "alone").mkdir()
    encode_label(ids_of(64, 64), ANIME).save(tmp_path / "alone" / "a.png")
    run(monkeypatch, "--weights", weights, "--input", tmp_path / "pairs", "--output", tmp_path / "p")
    assert capsys.readouterr().out.count("taken as label|colour side by side") == 1
    common = ["--weights", weights, "--input", tmp_path / "alone"]
    run(monkeypatch, *common, "--output", tmp_path / "s", "--hair-color", "#4060c0")
    run(monkeypatch, *common, "--output", tmp_path / "other", "--hair-color", "#c06040")
    assert np.array_equal(read(tmp_path / "p" / "a.png"), read(tmp_path / "s" / "a.png"))
    assert not close(read(tmp_path / "p" / "a.png"), read(tmp_path / "other" / "a.png"))


def test_random_colours_follow_name_and_seed(weights, tmp_path, monkeypatch, capsys):
    (tmp_path / "in").mkdir()
    for name in "ab":
        encode_label(ids_of(64, 64), ANIME).save(tmp_path / "in" / f"{name}.png")
    common = ["--weights", weights, "--input", tmp_path / "in", "--sync"]  # the noise alike, so that colours tell
    run(monkeypatch, *common, "--output", tmp_path / "silent")
    assert capsys.readouterr().out.count("a random one") == 1
    run(monkeypatch, *common, "--output", tmp_path / "asked", "--hair-color", "random")
    assert "a random one" not in capsys.readouterr().out
    color = "#" + bytes(random_color("b")).hex()
    run(monkeypatch, *common, "--output", tmp_path / "given", "--hair-color", color)
    pictures = [read(tmp_path / folder / "b.png") for folder in ("silent", "asked", "given")]
    assert close(pictures[0], pictures[1]) and close(pictures[0], pictures[2])
    assert not close(pictures[0], read(tmp_path / "silent" / "a.png"))


def test_samples_do_not_depend_on_batch_or_limit_and_sync_gives_all_the_same_noise(
    weights, maps, tmp_path, monkeypatch
):
    encode_label(ids_of(64, 64), ANIME).save(maps / "same.png")
    common = ["--weights", weights, "--input", maps, "--samples", 2, "--hair-color", "#4060c0"]
    for name, words in {"one": ["--batch", 1], "four": ["--batch", 4], "first": ["--limit", 1]}.items():
        run(monkeypatch, *common, *words, "--output", tmp_path / name)
    run(monkeypatch, *common, "--output", tmp_path / "seed", "--seed", 1)
    run(monkeypatch, *common, "--output", tmp_path / "sync", "--sync")
    assert written(tmp_path / "first") == ["deep/er/tall.png", "deep/er/tall_2.png"]
    for name in written(tmp_path / "one"):
        one = read(tmp_path / "one" / name)
        assert close(one, read(tmp_path / "four" / name)) and not close(one, read(tmp_path / "seed" / name))
    first, second, same = (read(tmp_path / "one" / name) for name in ("square.png", "square_2.png", "same.png"))
    assert not close(first, second) and not close(first, same)
    assert close(read(tmp_path / "sync" / "square_2.png"), read(tmp_path / "sync" / "same_2.png"))


def test_pairs_puts_the_label_beside_its_pictures(weights, maps, tmp_path, monkeypatch):
    common = ["--weights", weights, "--input", maps, "--samples", 2]
    run(monkeypatch, *common, "--output", tmp_path / "out", "--pairs")
    run(monkeypatch, *common, "--output", tmp_path / "single")
    assert written(tmp_path / "out") == NAMES
    made = [read(tmp_path / "single" / name) for name in ("ids.png", "ids_2.png")]
    assert np.array_equal(read(tmp_path / "out" / "ids.png"), np.hstack([colorize(ids_of(90, 90), ANIME), *made]))


def test_a_checkpoint_without_colour_branch_never_splits(tmp_path, monkeypatch, capsys):
    weights = make_checkpoint(tmp_path / "plain.pt", *COLORLESS)
    (tmp_path / "in").mkdir()
    Image.fromarray(ids_of(64, 128)).save(tmp_path / "in" / "a.png")
    run(monkeypatch, "--weights", weights, "--input", tmp_path / "in", "--output", tmp_path / "out")
    assert read(tmp_path / "out" / "a.png").shape == (64, 128, 3) and "note" not in capsys.readouterr().out


def test_the_gallery_shows_label_colour_and_samples(weights, tmp_path, monkeypatch):
    write_pair(tmp_path / "in" / "a.png", (0, 0, 255))
    common = ["--weights", weights, "--input", tmp_path / "in", "--output", tmp_path / "out", "--samples", 2]
    run(monkeypatch, *common, "--gallery", "--grid")
    page = (tmp_path / "out" / "index.html").read_text()
    assert re.findall("<small>(.*?)</small>", page) == ["label", "hair colour", "output", "output 2"]
    assert all(name in page for name in ANIME.names), "a legend"
    assert Image.open(tmp_path / "out" / "grid.png").size == (4 * 162 - 2, 160)


def test_no_colour_of_these_arguments_stands_beside_a_picture_of_an_earlier_run(weights, tmp_path, monkeypatch):
    write_pair(tmp_path / "in" / "a.png", (0, 0, 255))
    common = ["--weights", weights, "--input", tmp_path / "in", "--output", tmp_path / "out", "--gallery", "--grid"]
    run(monkeypatch, *common, "--hair-color", "#ff0000")
    write_pair(tmp_path / "in" / "b.png", (0, 0, 255))
    run(monkeypatch, *common, "--hair-color", "#00ff00")
    page = (tmp_path / "out" / "index.html").read_text()
    earlier, now = (re.findall("<small>(.*?)</small>(<img|<a)?", card) for card in page.split("<figure>")[1:])
    assert earlier == [("label", "<img"), ("hair colour", ""), ("output", "<a")]
    assert now == [("label", "<img"), ("hair colour", "<img"), ("output", "<a")]
    sheet = read(tmp_path / "out" / "grid.png")
    colors = sheet[:, 162:322], sheet[:, 3 * 162 + 162 : 3 * 162 + 322]
    assert (colors[0] == 255).all() and (colors[1][60:100, 60:100] != 255).any()


def test_a_colour_is_taken_from_the_picture_of_the_same_name(weights, maps, tmp_path, monkeypatch, capsys):
    shown = np.full((90, 90, 3), 255, np.uint8)
    shown[ids_of(90, 90) == 2] = (0x40, 0x60, 0xC0)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(shown).save(tmp_path / "pictures" / "ids.png")
    common = ["--weights", weights, "--input", maps]
    with pytest.raises(UserError, match="3 of 4 files failed"):
        run(monkeypatch, *common, "--output", tmp_path / "taken", "--hair-from", tmp_path / "pictures", "--gallery")
    assert capsys.readouterr().err.count("holds no picture") == 3
    run(monkeypatch, *common, "--output", tmp_path / "asked", "--hair-color", "#4060c0")
    assert close(read(tmp_path / "taken" / "ids.png"), read(tmp_path / "asked" / "ids.png"))
    assert (tmp_path / "taken" / "index.html").read_text().count("<figure>") == 1


def test_all_pictures_have_the_style_of_a_picture(tmp_path, monkeypatch):
    weights = make_checkpoint(tmp_path / "styled.pt", "model.style=4", "model.noise=false")
    (tmp_path / "in").mkdir()
    for name in "abc":
        encode_label(ids_of(64, 64), ANIME).save(tmp_path / "in" / f"{name}.png")
    picture = draw(3, 96).picture
    Image.fromarray(picture).save(tmp_path / "style.png")
    Image.fromarray(255 - picture).save(tmp_path / "other.png")
    common = ["--weights", weights, "--input", tmp_path / "in", "--hair-color", "#4060c0"]
    run(monkeypatch, *common, "--output", tmp_path / "drawn")
    for style in ("style", "other"):
        words = ["--style-from", tmp_path / f"{style}.png", "--batch", 2]
        run(monkeypatch, *common, "--output", tmp_path / style, *words)
    a, b, c = (read(tmp_path / "style" / f"{name}.png") for name in "abc")
    assert close(a, b) and close(a, c)
    assert not close(a, read(tmp_path / "other" / "a.png"))
    assert not close(read(tmp_path / "drawn" / "a.png"), read(tmp_path / "drawn" / "b.png")), "each its own by name"
    network, opt, _ = predict.load_network(str(weights), torch.device("cpu"))
    style = encode_style(network, cover_crop(picture, (64, 64)))
    color = torch.tensor([0x40, 0x60, 0xC0], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    y = paint(network, torch.from_numpy(ids_of(64, 64).copy())[None], color, opt, ["a"], style=style)[0]
    assert close(a, to_picture(y).astype(int))


@pytest.mark.parametrize(
    ("words", "keys", "line"),
    [
        (["--hair-color", "blue"], [], "--hair-color 'blue': is no colour; write '#rrggbb'"),
        (["--hair-color", "random"], COLORLESS, "--hair-color: this checkpoint paints labels without hair colours"),
        (["--layout", "pair"], COLORLESS, "--layout pair: this checkpoint paints labels without hair colours"),
        (["--hair-from", "."], COLORLESS, "--hair-from: this checkpoint paints labels without hair colours"),
        (["--hair-from", ".", "--hair-color", "#123456"], [], "--hair-from .: --hair-color #123456 too; give one"),
        (["--style-from", "a.png"], [], "--style-from a.png: this checkpoint has no style (model.style); leave it out"),
        (["--samples", 2], ["model.noise=false"], "--samples 2: this checkpoint makes one picture of an input"),
        (["--samples", 1000], [], "--samples 1000: expected 1 to 999"),
        (["--edges"], [], "--edges: is for pix2pix, but the checkpoint is of spade"),
        (["--overlay"], [], "--overlay: is for seg, but the checkpoint is of spade"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_written(
    maps, tmp_path, monkeypatch, words, keys, line
):
    weights = make_checkpoint(tmp_path / "any.pt", *keys)
    with pytest.raises(UserError, match=re.escape(line)) as caught:
        run(monkeypatch, "--weights", weights, "--input", maps, "--output", tmp_path / "out", *words)
    assert caught.value.code == 2 and "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_bad_labels_stop_no_other(weights, maps, tmp_path, monkeypatch, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(np.concatenate([noise // 4 + 100, noise], axis=1)).save(maps / "photos.png")
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(maps / "beyond.png")
    encode_label(np.full((64, 64), 4, np.uint8), ANIME).save(maps / "empty.png")
    common = ["--weights", weights, "--input", maps, "--output", tmp_path / "out", "--hair-color", "#4060c0"]
    with pytest.raises(UserError, match="2 of 7 files failed"):
        run(monkeypatch, *common)
    said = capsys.readouterr()
    assert "photos.png: left half: " in said.err and "beyond.png: id 9 (4096 pixels) outside the 5 classes" in said.err
    assert said.err.count("error: ") == 2
    assert said.out.count("empty.png: no hair in the label: its colour has no effect") == 1
    assert written(tmp_path / "out") == sorted([*NAMES, "empty.png"])


@pytest.mark.shared
@pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared")
def test_the_originals_inputs_go_through_in_both_forms(tmp_path, monkeypatch, capsys):
    weights = make_checkpoint(tmp_path / "full.pt", "data.size=256")
    names = ["sample0_blue.png", "sample0_green.png", "sample1.png"]
    run(monkeypatch, "--weights", weights, "--input", SAMPLES, "--output", tmp_path / "pairs", "--pairs")
    assert "3 predicted" in capsys.readouterr().out and written(tmp_path / "pairs") == names
    (tmp_path / "alone").mkdir()
    for name in names:
        source = Image.open(SAMPLES / name)
        row = read(tmp_path / "pairs" / name)
        assert np.array_equal(row[:, :256], np.asarray(source.convert("RGB"))[:, :256]), "as the original writes it"
        source.crop((0, 0, 256, 256)).save(tmp_path / "alone" / name)
    blue, green = (read(tmp_path / "pairs" / name)[:, 256:] for name in names[:2])
    assert not close(blue, green)
    common = ["--weights", weights, "--input", tmp_path / "alone"]
    run(monkeypatch, *common, "--output", tmp_path / "random")
    run(monkeypatch, *common, "--output", tmp_path / "blue", "--hair-color", "#0000ff")
    assert written(tmp_path / "random") == written(tmp_path / "blue") == names
    assert close(read(tmp_path / "blue" / names[0]), blue), "one label, one colour, one name: one picture"
