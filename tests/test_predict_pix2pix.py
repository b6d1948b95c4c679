"""predict.py for the pix2pix family: edges, photos and pairs to pictures."""

import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import predict
from data.edges import edge_picture
from data.fit import fit_picture, pad_to, unfit
from data.pix2pix_io import to_input, to_picture
from engine import checkpoint
from engine.errors import UserError
from engine.folder import Job
from engine.network import Network
from models import build
from options.load import load, to_dict
from options.pix2pix import Pix2PixOptions

SMALL = """data.size=64 model.width=4 model.norm=instance model.dropout=0 model.init=xavier model.init_gain=2
    sample.norm_stats=running""".split()  # noqa: SIM905
NAMES = ["deep/er/tall.png", "grey.png", "square.png", "wide.png"]


def make_checkpoint(path: Path, *words: str) -> Path:
    """An untrained pix2pix network as a checkpoint."""
    torch.manual_seed(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    empty = path.with_suffix(".yaml")
    empty.write_text("")
    opt = load(Pix2PixOptions, [*SMALL, *words], empty)
    state = build.pix2pix_generator(opt).state_dict()
    checkpoint.save(path, {"family": "pix2pix", "step": 7, "options": to_dict(opt), "best": {}, "G_ema": state})
    return path


@pytest.fixture
def plain(tmp_path) -> Path:
    return make_checkpoint(tmp_path / "plain.pt")


@pytest.fixture
def latent(tmp_path) -> Path:
    return make_checkpoint(tmp_path / "latent.pt", "model.z=3", "model.z_at=all")


def drawing(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Some rectangles, uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    picture = np.full((height, width, 3), 230, np.uint8)
    for _ in range(4):
        top, left = rng.integers(0, height - 4), rng.integers(0, width - 4)
        picture[top : top + height // 2, left : left + width // 3] = rng.integers(0, 256, 3)
    return picture


@pytest.fixture
def photos(tmp_path) -> Path:
    folder = tmp_path / "in"
    (folder / "deep" / "er").mkdir(parents=True)
    Image.fromarray(drawing(64, 64)).save(folder / "square.png")
    Image.fromarray(drawing(48, 80)).save(folder / "wide.png")
    Image.fromarray(drawing(70, 33)).save(folder / "deep" / "er" / "tall.webp", lossless=True)
    Image.fromarray(drawing(90, 90)).convert("L").save(folder / "grey.bmp")
    return folder


@pytest.fixture
def pairs(tmp_path) -> Path:
    folder = tmp_path / "pairs"
    folder.mkdir()
    for seed, name in enumerate("abc"):
        a, b = drawing(64, 64, seed), drawing(64, 64, seed + 10)
        Image.fromarray(np.concatenate([a, b], axis=1)).save(folder / f"{name}.png")
    return folder


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
@pytest.mark.parametrize("words", [[], ["model.in_channels=1", "model.out_channels=1", "model.generator=resnet"]])
def test_names_and_sizes_are_kept(photos, tmp_path, monkeypatch, fit, words):
    weights = make_checkpoint(tmp_path / "any.pt", "model.z=2", "model.blocks=1", *words)
    run(monkeypatch, "--weights", weights, "--input", photos, "--output", tmp_path / "out", "--fit", fit)
    assert written(tmp_path / "out") == NAMES
    for name in NAMES:
        picture = Image.open(tmp_path / "out" / name)
        (source,) = photos.glob(name[:-3] + "*")
        assert picture.mode == "RGB" and picture.size == Image.open(source).size
        assert np.asarray(picture).std() > 1


def test_the_output_is_what_the_network_paints(plain, photos, tmp_path, monkeypatch):
    run(monkeypatch, "--weights", plain, "--input", photos, "--output", tmp_path / "out")
    network, opt, _ = predict.load_network(str(plain), torch.device("cpu"))
    x = torch.from_numpy(drawing(64, 64)).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = to_picture(network(to_input(x, 3), None)[0])
    assert np.array_equal(read(tmp_path / "out" / "square.png"), expected)


def test_z_is_the_same_in_any_batch_and_with_any_limit(latent, photos, tmp_path, monkeypatch):
    common = ["--weights", latent, "--input", photos, "--samples", 2]
    for name, words in {"one": ["--batch", 1], "three": ["--batch", 3], "two": ["--limit", 2]}.items():
        run(monkeypatch, *common, *words, "--output", tmp_path / name)
    run(monkeypatch, *common, "--output", tmp_path / "other", "--seed", 1)
    assert written(tmp_path / "two") == ["deep/er/tall.png", "deep/er/tall_2.png", "grey.png", "grey_2.png"]
    for name in written(tmp_path / "one"):
        one = read(tmp_path / "one" / name)
        assert close(one, read(tmp_path / "three" / name)) and not close(one, read(tmp_path / "other" / name))
    for name in written(tmp_path / "two"):
        assert close(read(tmp_path / "one" / name), read(tmp_path / "two" / name))


def test_samples_differ_and_sync_gives_all_pictures_the_same_z(latent, tmp_path, monkeypatch):
    folder = tmp_path / "same"
    folder.mkdir()
    for name in "ab":
        Image.fromarray(drawing(64, 64)).save(folder / f"{name}.png")
    common = ["--weights", latent, "--input", folder, "--samples", 3]
    run(monkeypatch, *common, "--output", tmp_path / "free")
    run(monkeypatch, *common, "--output", tmp_path / "sync", "--sync")
    names = ["a.png", "a_2.png", "a_3.png", "b.png", "b_2.png", "b_3.png"]
    assert written(tmp_path / "free") == written(tmp_path / "sync") == names
    free, sync = ([read(tmp_path / kind / name) for name in names] for kind in ("free", "sync"))
    assert not any(close(free[i], free[j]) for i in range(6) for j in range(i))
    assert all(close(sync[k], sync[k + 3]) for k in range(3)) and not close(sync[0], sync[1])


def test_pairs_puts_the_samples_beside_the_input(latent, photos, tmp_path, monkeypatch):
    common = ["--weights", latent, "--input", photos, "--samples", 2]
    run(monkeypatch, *common, "--output", tmp_path / "out", "--pairs")
    run(monkeypatch, *common, "--output", tmp_path / "single")
    assert written(tmp_path / "out") == NAMES
    files = [tmp_path / "single" / name for name in ("wide.png", "wide_2.png")]
    row = np.concatenate([drawing(48, 80), *map(read, files)], axis=1)
    assert np.array_equal(read(tmp_path / "out" / "wide.png"), row)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
def test_pairs_as_inputs_show_the_half_of_the_direction(pairs, tmp_path, monkeypatch, capsys, direction):
    weights = make_checkpoint(tmp_path / "directed.pt", f"data.direction={direction}")
    (tmp_path / "halves").mkdir()
    for path in pairs.iterdir():
        half = read(path).astype(np.uint8)[:, :64] if direction == "AtoB" else read(path).astype(np.uint8)[:, 64:]
        Image.fromarray(half).save(tmp_path / "halves" / path.name)
    run(monkeypatch, "--weights", weights, "--input", pairs, "--output", tmp_path / "p")
    assert capsys.readouterr().out.count("note:") == 1
    run(monkeypatch, "--weights", weights, "--input", tmp_path / "halves", "--output", tmp_path / "s")
    for name in ("a.png", "b.png", "c.png"):
        assert np.array_equal(read(tmp_path / "p" / name), read(tmp_path / "s" / name))
    run(monkeypatch, "--weights", weights, "--input", pairs, "--output", tmp_path / "w", "--layout", "single")
    assert read(tmp_path / "w" / "a.png").shape == (64, 128, 3)


def test_edges_are_those_of_the_picture_as_the_network_sees_it(plain, photos, tmp_path, monkeypatch):
    """As scripts/preprocess_edges.py makes them: fitted first, then edges."""
    common = ["--weights", plain, "--input", photos, "--edges", "--sigma", 0.5, "--low", 20]
    run(monkeypatch, *common, "--output", tmp_path / "out")
    network, opt, _ = predict.load_network(str(plain), torch.device("cpu"))
    fitted = fit_picture(drawing(48, 80), (64, 64))
    edges = edge_picture(fitted.picture, 0.5, 20)
    assert (edges == 255).mean() > 0.02
    with torch.no_grad():
        y = network(to_input(torch.from_numpy(edges).permute(2, 0, 1)[None], 3), None)[0]
    assert np.array_equal(read(tmp_path / "out" / "wide.png"), to_picture(unfit(y, fitted)))


def test_seen_is_the_prepared_picture_without_padding():
    picture, prepare = drawing(48, 80), partial(edge_picture, sigma=0.2)
    networks = {fit: Network(None, (64, 64), fit, 1, torch.device("cpu"), prepare) for fit in ("pad", "tile")}
    fitted = fit_picture(picture, (64, 64)).picture
    assert np.array_equal(networks["pad"].seen(picture), prepare(fitted)[13:51])
    assert np.array_equal(networks["tile"].seen(picture), prepare(pad_to(picture, (64, 64)))[:48, :80])


def test_the_windows_of_a_picture_have_its_name():
    seen = []

    def forward(x, names):
        seen.append(list(names))
        return x.float()

    job = Job(Path("a.jpg"), Path("out/deep/a.png"), "deep/a")
    network = Network(forward, (32, 32), "tile", 2, torch.device("cpu"))
    list(network.maps([network.item(job, drawing(32, 70))]))
    assert [name for names in seen for name in names] == ["deep/a"] * 3


def test_edges_of_a_pair_come_from_its_photo(plain, pairs, tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for path in pairs.iterdir():
        Image.fromarray(read(path).astype(np.uint8)[:, 64:]).save(tmp_path / "photos" / path.name)
    common = ["--weights", plain, "--edges"]
    run(monkeypatch, *common, "--input", pairs, "--output", tmp_path / "p", "--layout", "pair")
    run(monkeypatch, *common, "--input", tmp_path / "photos", "--output", tmp_path / "s")
    assert np.array_equal(read(tmp_path / "p" / "b.png"), read(tmp_path / "s" / "b.png"))


def test_dropout_is_the_same_in_any_order(pairs, tmp_path, monkeypatch):
    weights = make_checkpoint(tmp_path / "drop.pt", "model.dropout=0.5", "sample.dropout=true", "model.norm=batch")
    common = ["--weights", weights, "--input", pairs, "--layout", "pair", "--samples", 2]
    run(monkeypatch, *common, "--output", tmp_path / "all")
    (pairs / "a.png").unlink()
    run(monkeypatch, *common, "--output", tmp_path / "rest", "--batch", 1)
    assert written(tmp_path / "rest") == ["b.png", "b_2.png", "c.png", "c_2.png"]
    for name in written(tmp_path / "rest"):
        assert np.array_equal(read(tmp_path / "all" / name), read(tmp_path / "rest" / name))
    assert not np.array_equal(read(tmp_path / "rest" / "b.png"), read(tmp_path / "rest" / "b_2.png"))


def test_the_gallery_has_columns_and_opens_from_disk(latent, pairs, tmp_path, monkeypatch):
    Image.fromarray(drawing(40, 40)).save(pairs / "Zebra & co.png")
    output = tmp_path / "out"
    run(monkeypatch, "--weights", latent, "--input", pairs, "--output", output, "--samples", 2, "--gallery", "--grid")
    page = (output / "index.html").read_text()
    cards = page.split("<figure>")[1:]
    captions = re.findall("<figcaption>(.*?)</figcaption>", page)
    assert captions == sorted(captions) == ["Zebra &amp; co", "a", "b", "c"]
    assert re.findall("<small>(.*?)</small>", cards[0]) == ["input", "output", "output 2"]
    assert re.findall("<small>(.*?)</small>", cards[1]) == ["input", "output", "output 2", "target"]
    assert page.count("<img") == page.count("loading=lazy") == 15
    links = re.findall('(?:src|href)="([^"]*)"', page)
    files = {link for link in links if not link.startswith("data:image/")}
    assert files == {
        "Zebra%20%26%20co.png",
        "Zebra%20%26%20co_2.png",
        *(f"{n}{k}.png" for n in "abc" for k in ("", "_2")),
    }
    assert Image.open(output / "grid.png").size == (8 * 162 - 2, 2 * 162 - 2), "two cards of four cells in a row"


def test_the_gallery_shows_the_edges_that_the_network_saw(plain, photos, tmp_path, monkeypatch):
    common = ["--weights", plain, "--input", photos, "--output", tmp_path / "out", "--edges", "--gallery"]
    run(monkeypatch, *common)
    page = (tmp_path / "out" / "index.html").read_text()
    assert re.findall("<small>(.*?)</small>", page)[:3] == ["picture", "edges", "output"]
    run(monkeypatch, *common, "--low", 5)
    page = (tmp_path / "out" / "index.html").read_text()
    found = re.findall("<small>(.*?)</small>(<img|<a)?", page)[:3]
    assert found == [("picture", "<img"), ("edges", ""), ("output", "<a")], "those of an earlier run are not known"
    (photos / "wide.png").write_bytes(b"")  # its output is there, its source cannot be read any more
    run(monkeypatch, *common)
    card = (tmp_path / "out" / "index.html").read_text().split("<figure>")[-1]
    assert card.count("<img") == 1 and "wide.png" in card


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--samples", 2], "--samples 2: this checkpoint makes one picture"),
        (["--overlay"], "--overlay: is for seg, but the checkpoint is of pix2pix; leave it out"),
        (["--median", 3], "--median: is for seg"),
        (["--sigma", 0.5], "--sigma: says how --edges draws"),
        (["--edges", "--high", 2041], "--high 2041: expected 0 to 2040"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_is_written(
    plain, photos, tmp_path, monkeypatch, words, line
):
    with pytest.raises(UserError, match=line) as caught:
        run(monkeypatch, "--weights", plain, "--input", photos, "--output", tmp_path / "out", *words)
    assert caught.value.code == 2 and "\n" not in str(caught.value) and not (tmp_path / "out").exists()


def test_an_odd_pair_stops_no_other(plain, pairs, tmp_path, monkeypatch, capsys):
    Image.new("RGB", (129, 64)).save(pairs / "odd.png")
    with pytest.raises(UserError, match="1 of 4 files failed"):
        run(monkeypatch, "--weights", plain, "--input", pairs, "--output", tmp_path / "out", "--layout", "pair")
    assert written(tmp_path / "out") == ["a.png", "b.png", "c.png"]
    assert "odd.png: 129 pixels wide" in capsys.readouterr().err
