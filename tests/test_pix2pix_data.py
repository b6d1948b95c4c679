"""The pix2pix family's pairs: jitter, direction, layouts, the drawn set."""

from types import SimpleNamespace

import numpy as np
import pytest
from pictures import finished
from PIL import Image

from data.edges import edge_picture
from data.files import find_pairs, read_two
from data.pix2pix import Pairs, pix2pix_data
from engine.errors import UserError
from options.load import load
from options.pix2pix import DEFAULT_FILE, Pix2PixOptions

MODES = ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none")


def ramps(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures that tell where they were cut: rows and columns as brightness."""
    rows = np.linspace(0, 255, height)[:, None].repeat(width, 1)
    columns = np.linspace(0, 255, width)[None].repeat(height, 0)
    both = np.stack([rows, columns, np.zeros_like(rows)], 2).round().astype(np.uint8)
    return both, both.copy()


def jitter(
    monkeypatch,
    pair: tuple[np.ndarray, np.ndarray],
    size: tuple[int, int],
    load_size: int | None,
    mode: str,
    seed: int | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Both pictures [H, W, 3] as training brings them by chance, or (seed None) as validation does."""
    monkeypatch.setattr("data.pix2pix.read_two", lambda sample: pair)
    data = SimpleNamespace(size=size, load_size=load_size, preprocess=mode, augment=(), direction="AtoB")
    return tuple(p.permute(1, 2, 0).numpy() for p in finished(Pairs([None], data, seed is not None), 0, seed or 0))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(64, 64), (50, 90), (90, 50), (200, 40), (30, 20), (1, 3000), (3000, 1)])
@pytest.mark.parametrize("seed", [3, None])
def test_every_mode_gives_the_size_and_the_same_window_of_both(monkeypatch, mode, shape, seed):
    a, b = jitter(monkeypatch, ramps(*shape), (48, 32), None, mode, seed)
    assert a.shape == b.shape == (48, 32, 3) and np.array_equal(a, b)


@pytest.mark.parametrize("mode", MODES)
def test_without_chance_a_picture_of_the_size_stays_as_it_is(monkeypatch, mode):
    pair = ramps(64, 64)
    assert np.array_equal(jitter(monkeypatch, pair, (64, 64), None, mode, None)[0], pair[0])


@pytest.fixture
def windows(monkeypatch):
    """windows(mode, shape): [N, 4], the share of the picture seen: top, bottom, left, right, for N draws at 32x32."""

    def seen(mode: str, shape: tuple[int, int], load_size: int | None = None) -> np.ndarray:
        pair, found = ramps(*shape), []
        for seed in range(60):
            a = jitter(monkeypatch, pair, (32, 32), load_size, mode, seed)[0] / 255
            found.append([a[0, :, 0].mean(), a[-1, :, 0].mean(), a[:, 0, 1].mean(), a[:, -1, 1].mean()])
        return np.array(found)

    return seen


def test_resize_and_crop_moves_within_286_of_256(windows):
    seen = windows("resize_and_crop", (100, 200))
    assert seen[:, 0].std() > 0.01 and seen[:, 2].std() > 0.01
    assert np.allclose(seen[:, 1] - seen[:, 0], 256 / 286, atol=0.03)  # stretched: the same share of both sides
    assert np.allclose(seen[:, 3] - seen[:, 2], 256 / 286, atol=0.03)
    wide = windows("resize_and_crop", (100, 200), load_size=64)
    assert np.allclose(wide[:, 3] - wide[:, 2], 0.5, atol=0.03)


def test_crop_keeps_the_scale(windows):
    seen = windows("crop", (64, 128))
    assert np.allclose(seen[:, 1] - seen[:, 0], 0.5, atol=0.03) and np.allclose(
        seen[:, 3] - seen[:, 2], 0.25, atol=0.03
    )
    assert seen[:, 2].min() < 0.1 and seen[:, 3].max() > 0.9


def test_scale_width_shows_all_of_the_width_by_no_chance(windows):
    seen = windows("scale_width", (128, 64))
    assert (seen == seen[0]).all()
    assert np.allclose(seen[0], [0.25, 0.75, 0, 1], atol=0.03)


def test_scale_width_and_crop_keeps_the_shape(windows):
    seen = windows("scale_width_and_crop", (128, 64))
    assert np.allclose((seen[:, 3] - seen[:, 2]) / (seen[:, 1] - seen[:, 0]), 2, rtol=0.1)
    assert seen[:, 0].std() > 0.05 and np.allclose(seen[:, 3] - seen[:, 2], 256 / 286, atol=0.03)


def side_by_side(folder, count=4, size=32):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (size, 2 * size, 3), np.uint8)).save(folder / f"{i}.png")
    return folder


def test_direction_and_layouts(tmp_path):
    folder = side_by_side(tmp_path / "pairs")
    data = SimpleNamespace(size=(32, 32), load_size=None, preprocess="none", augment=(), direction="AtoB")
    (name, a, b) = Pairs(find_pairs(folder, "A", "B"), data, True).first(1)[0]
    data.direction = "BtoA"
    (_, x, y) = Pairs(find_pairs(folder, "A", "B"), data, True).first(1)[0]
    assert name == "0" and (x == b).all() and (y == a).all()
    whole = np.asarray(Image.open(folder / "0.png"))
    assert np.array_equal(a.permute(1, 2, 0), whole[:, :32]) and np.array_equal(b.permute(1, 2, 0), whole[:, 32:])
    for half, part in (("A", whole[:, :32]), ("B", whole[:, 32:])):
        (tmp_path / "two" / half).mkdir(parents=True)
        Image.fromarray(part).save(tmp_path / "two" / half / "0.png")
    data.direction = "AtoB"
    (_, a2, b2) = Pairs(find_pairs(tmp_path / "two", "A", "B"), data, True).first(1)[0]
    assert (a2 == a).all() and (b2 == b).all()


def test_training_items_are_mirrored_together_and_validation_items_are_not(tmp_path):
    folder = side_by_side(tmp_path / "pairs", 1)
    data = SimpleNamespace(size=(32, 32), load_size=None, preprocess="none", augment=("mirror",), direction="AtoB")
    samples = find_pairs(folder, "A", "B")
    a, b = read_two(samples[0])
    mirrored = 0
    for seed in range(20):
        x, y = finished(Pairs(samples, data, True), 0, seed)
        flipped = not np.array_equal(x.permute(1, 2, 0), a)
        mirrored += flipped
        assert np.array_equal(y.permute(1, 2, 0), b[:, ::-1] if flipped else b)
        assert np.array_equal(finished(Pairs(samples, data, False), 0, seed)[0].permute(1, 2, 0), a)
    assert 4 < mirrored < 16


def options(*words):
    return load(Pix2PixOptions, [*words], DEFAULT_FILE)


def test_the_drawn_pairs_are_pictures_and_their_edges(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    opt = options("data.drawn_train=3", "data.drawn_val=2", "data.size=64", "data.workers=0")
    train, val = pix2pix_data(opt)
    assert (len(train), len(val)) == (3, 2) and "datasets/drawn-edges-3-0-2-64" in capsys.readouterr().out
    picture, edges = read_two(train.samples[0])
    assert np.array_equal(edges, edge_picture(picture)) and edges.any()
    before = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.png"))
    pix2pix_data(opt)
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("*.png")) == before, "made once"
    assert not list(tmp_path.rglob("*.unfinished"))


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["data.size=100"], ["data.size=100", "power of two", "128"]),
        (["data.size=32"], ["data.size=32", "from 64 up", "such as 64"]),
        (["data.size=[64, 96]"], ["data.size=[64, 96]", "power of two"]),
        (["data.size=native"], ["data.size=native", "one size"]),
        (["data.size=50", "model.generator=resnet"], ["data.size=50", "multiple of 4"]),
        (["data.size=20", "model.generator=resnet"], ["data.size=20", "model.d_layers=3", "24"]),
        (["data.load_size=200"], ["data.load_size=200", "data.size=256"]),
        (["loss.gan=wgan-gp"], ["model.d_norm=batch", "instance or none"]),
        (["loss.gan=wgan"], ["loss.gan=wgan", "wgan-gp"]),
        (["loss.mode_seeking=1"], ["loss.mode_seeking=1", "model.z"]),
        (["optim.g_first=true", "optim.d_steps=2"], ["optim.d_steps=2", "optim.g_first"]),
        (["model.discriminator=pixel", "model.num_discriminators=2"], ["num_discriminators=2", "pixel"]),
        (["model.in_channels=2"], ["model.in_channels=2", "1|3"]),
        (["model.in_channels=true"], ["model.in_channels=true", "1|3"]),
        (["loss.gan=wgan-gp", "model.d_norm=none", "loss.r1=1"], ["loss.r1=1", "wgan-gp", "loss.gp"]),
        (["loss.penalty_every=4"], ["loss.penalty_every=4", "set loss.r1"]),
        (["loss.gan=wgan-gp", "model.d_norm=none", "loss.penalty_every=4"], ["loss.penalty_every=4", "; leave it out"]),
        (["loss.adv=0", "loss.r1=0.5"], ["loss.r1=0.5", "D is not trained"]),
        (["loss.adv=0", "loss.diffaugment=color,cutout"], ["loss.diffaugment=color,cutout", "D is not trained"]),
        (["loss.diffaugment=colour"], ["loss.diffaugment=colour", "color|translation|cutout"]),
        (["run.keep_best=l1,min"], ["run.keep_best=l1,min", "val_l1"]),
    ],
)
def test_options_that_do_not_go_together(words, parts):
    with pytest.raises(UserError) as caught:
        options(*words)
    line = str(caught.value)
    assert caught.value.code == 2 and "\n" not in line and all(part in line for part in parts), line


def test_a_size_of_its_own_is_another_unet_but_not_another_resnet():
    assert "data.size" in options().network_keys and "data.size" not in options("model.generator=resnet").network_keys


def test_an_odd_side_by_side_picture_is_named(tmp_path):
    folder = side_by_side(tmp_path / "pairs")
    Image.new("RGB", (65, 32)).save(folder / "odd.png")
    with pytest.raises(UserError, match=r"odd.png: 65 pixels wide.*does not part into 2"):
        pix2pix_data(options(f"data.root={folder}"))


def test_single_pictures_are_no_pairs(tmp_path):
    Image.new("RGB", (32, 32)).save(tmp_path / "photo.png")
    with pytest.raises(UserError, match=r"photo.png: 32x32 pixels, too narrow for a pair.*preprocess_edges.py"):
        pix2pix_data(options(f"data.root={tmp_path}", "data.val_share=0"))
    (tmp_path / "trainA").mkdir()
    with pytest.raises(UserError, match="holds trainA/; pairs are A/ and B/"):
        pix2pix_data(options(f"data.root={tmp_path}"))


def test_folders_with_different_names_are_named(tmp_path):
    for half, name in (("A", "x"), ("B", "y")):
        (tmp_path / half).mkdir()
        Image.new("RGB", (32, 32)).save(tmp_path / half / f"{name}.png")
    with pytest.raises(UserError, match=r"x.png: no partner in .*B"):
        pix2pix_data(options(f"data.root={tmp_path}"))


def test_halves_of_two_sizes_and_the_command_that_lists_all(tmp_path):
    for half, size in (("A", 32), ("B", 40)):
        (tmp_path / half).mkdir()
        for name in "xy":
            Image.new("RGB", (size, 32)).save(tmp_path / half / f"{name}.png")
    with pytest.raises(UserError) as caught:
        pix2pix_data(options(f"data.root={tmp_path}", "data.val_share=0"))
    line = str(caught.value)
    assert "x.png: 32x32 pixels, but its partner" in line and "--family pix2pix --root" in line and "\n" not in line
