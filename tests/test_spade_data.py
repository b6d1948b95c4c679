"""The SPADE family's data: layouts, colours, joint augmentation, one-hot labels, the splits."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import finished
from PIL import Image

from data.files import find_pairs
from data.loader import batches
from data.palette import ANIME, colorize, encode_label
from data.spade import SpadePictures, masked_color, network_inputs, one_hot_label, spade_data
from engine.errors import UserError
from options.load import load
from options.spade import DEFAULT_FILE, SpadeOptions

FIXTURE = Path(__file__).parents[2] / "shared" / "fixtures" / "data" / "spade_dataset.npz"
HAIR = ANIME.names.index("hair")
FOLDERS = ("images", "labels", "colors")


def options(*words: str) -> SpadeOptions:
    return load(SpadeOptions, [*words], DEFAULT_FILE)


def settings(*words: str, size: tuple[int, int] = (32, 32)):
    """The data options, at a size below the networks' least."""
    return replace(options(*words).data, size=size)


def sample(seed: int = 0, height: int = 32, width: int = 32, hair: bool = True) -> tuple[np.ndarray, ...]:
    """A picture, ids in blocks of 8 pixels, and one colour that is not that of the picture's hair."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 5, (height // 8, width // 8), np.uint8)
    blocks[0, 0] = HAIR if hair else 3
    if not hair:
        blocks[blocks == HAIR] = 3
    ids = blocks.repeat(8, 0).repeat(8, 1)
    colors = np.broadcast_to(rng.integers(0, 256, 3, np.uint8), (height, width, 3)).copy()
    return rng.integers(0, 256, (height, width, 3), np.uint8), ids, colors


def write(folder: Path, layout: str, name: str = "a", **how) -> Path:
    picture, ids, colors = sample(**how)
    if layout.startswith("folders"):
        for kind, part in zip(FOLDERS if layout.endswith("3") else FOLDERS[:2], (picture, ids, colors), strict=False):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            (encode_label(part, ANIME) if kind == "labels" else Image.fromarray(part)).save(
                folder / f"{kind}/{name}.png"
            )
        return folder
    folder.mkdir(parents=True, exist_ok=True)
    parts = [picture, colorize(ids, ANIME), colors][: 3 if layout == "triple" else 2]
    Image.fromarray(np.concatenate(parts, axis=1)).save(folder / f"{name}.png")
    return folder


def pictures(folder: Path, data, training: bool = False) -> SpadePictures:
    return SpadePictures(find_pairs(folder, *FOLDERS[:2], "colors" if data.color else ""), ANIME, data, training)


def planes(picture: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(picture.transpose(2, 0, 1).copy())


@pytest.mark.parametrize("layout", ["triple", "pair", "folders3", "folders2"])
def test_every_layout(tmp_path, layout):
    picture, ids, colors = sample()
    ((name, x, y, c),) = pictures(write(tmp_path, layout), settings()).first(3)
    assert name == "a" and [t.dtype for t in (x, y, c)] == [torch.uint8] * 3
    assert torch.equal(x, planes(picture)) and torch.equal(y, torch.from_numpy(ids))
    if layout in ("pair", "folders2"):  # computed: the median of the picture's hair
        median = np.floor(np.median(picture[ids == HAIR], axis=0) + 0.5)
        assert (c.permute(1, 2, 0).numpy() == median).all() and c.shape == x.shape
    else:
        assert torch.equal(c, planes(colors))


@pytest.mark.parametrize("layout", ["triple", "pair", "folders3", "folders2"])
def test_without_the_colour_branch_there_are_no_colours(tmp_path, layout):
    (_, x, _, c) = pictures(write(tmp_path, layout), settings("data.color=false")).first(1)[0]
    assert x.shape == (3, 32, 32) and c.shape == (0, 32, 32)
    for training in (False, True):  # and in batches
        source = pictures(tmp_path, settings("data.color=false", "data.augment=scale,crop,mirror"), training)
        x, ids, c = next(batches(source, 3, seed=0))
        assert x.shape == (3, 3, 32, 32) and ids.shape == (3, 32, 32) and c.shape == (3, 0, 32, 32)
        assert network_inputs((x, ids, c), source.data, lambda part, **_: part)[2] is None


def test_a_label_without_hair_trains_with_black(tmp_path):
    data = pictures(write(tmp_path, "pair", hair=False), settings(), True)
    _, ids, color = finished(data, 0, 0)
    assert not (ids == HAIR).any() and not color.any()


def test_a_picture_without_hair_is_not_recoloured(tmp_path):
    folder = write(tmp_path, "triple", hair=False)
    ((_, *plain),) = pictures(folder, settings()).first(1)
    got = finished(pictures(folder, settings("data.augment=none", "data.recolor=1"), True), 0, 0)
    assert all(map(torch.equal, got, plain))


def test_a_mirror_turns_all_three_and_validation_is_never_turned(tmp_path):
    folder = write(tmp_path, "folders3")
    Image.fromarray(sample(5)[0]).save(folder / "colors" / "a.png")  # a map of many colours
    ((_, *plain),) = pictures(folder, settings()).first(1)
    turned = 0
    for seed in range(20):
        item = finished(pictures(folder, settings(), True), 0, seed)
        flipped = not torch.equal(item[0], plain[0])
        turned += flipped
        for part, whole in zip(item, plain, strict=True):
            assert torch.equal(part, whole.flip(-1) if flipped else whole)
        still = finished(pictures(folder, settings(), False), 0, seed)
        assert all(map(torch.equal, still, plain))
    assert 4 < turned < 16


@pytest.mark.parametrize("names", ["crop", "scale", "scale,crop,mirror"])
def test_windows_are_the_same_of_all_three(tmp_path, names):
    """Picture and colours are 50 x the label, so that all three tell where they were cut."""
    label = (np.arange(48)[None].repeat(32, 0) // 10).astype(np.uint8)
    picture = 50 * label[..., None].repeat(3, 2)
    for kind, part in zip(FOLDERS, (picture, label, picture), strict=True):
        (tmp_path / kind).mkdir()
        Image.fromarray(part).save(tmp_path / kind / "a.png")
    data = pictures(tmp_path, settings(f"data.augment={names}"), True)
    places = set()
    for seed in range(20):
        x, ids, c = finished(data, 0, seed)
        assert x.shape == c.shape == (3, 32, 32) and ids.shape == (32, 32) and torch.equal(x, c)
        counted = ids != 255
        assert counted.all() or "scale" in names
        off = (x[0].int() - 50 * ids.int()).abs() > 26
        assert (off & counted).float().mean() < 0.15, "only at the stripes' edges"
        places.add(ids.numpy().tobytes())
    assert len(places) > 5


def test_other_sizes_are_cut_from_the_middle_and_the_colour_is_the_whole_hairs(tmp_path):
    folder = write(tmp_path, "folders2", height=64, width=128)
    picture, ids, _ = sample(height=64, width=128)
    ((_, x, y, c),) = pictures(folder, settings(size=(64, 64))).first(1)
    assert torch.equal(x, planes(picture[:, 32:96])) and torch.equal(y, torch.from_numpy(ids[:, 32:96].copy()))
    assert (c[:, 0, 0].numpy() == np.floor(np.median(picture[ids == HAIR], axis=0) + 0.5)).all()


@pytest.mark.parametrize("names", ["mirror", "scale,crop,mirror"])
def test_a_computed_colour_is_that_of_the_whole_hair_in_every_window(tmp_path, names):
    picture, ids, _ = sample(height=64, width=128)
    data = pictures(write(tmp_path, "folders2", height=64, width=128), settings(f"data.augment={names}"), True)
    median = torch.from_numpy(np.floor(np.median(picture[ids == HAIR], axis=0) + 0.5)).view(3, 1, 1)
    for seed in range(5):
        x, _, color = finished(data, 0, seed)
        assert color.shape == x.shape and (color == median).all()


# ---- recolouring


@pytest.mark.parametrize("layout", ["triple", "folders2"])
def test_recolouring_gives_about_its_share_of_the_training_pictures_another_hair(tmp_path, layout):
    folder = write(tmp_path, layout)
    words = ["data.augment=none", "data.recolor=0.5"]
    ((_, x, ids, color),) = pictures(folder, settings(*words)).first(1)
    hair, colors = (ids == HAIR).expand(3, -1, -1), set()
    for seed in range(60):
        got = finished(pictures(folder, settings(*words), True), 0, seed)
        assert torch.equal(got[1], ids) and torch.equal(got[0][~hair], x[~hair])
        changed = not torch.equal(got[2], color)
        assert changed != torch.equal(got[0], x), "picture and colours together"
        if changed:
            assert (got[2] == got[2][:, :1, :1]).all(), "flat, as it was"
            colors.add(tuple(got[2][:, 0, 0].tolist()))
        still = finished(pictures(folder, settings(*words), False), 0, seed)
        assert all(map(torch.equal, still, (x, ids, color)))
    assert 20 < len(colors) < 40


def test_without_recolouring_no_chance_is_drawn_for_it(tmp_path):
    """The mirror's is the first."""
    folder = write(tmp_path, "triple")
    ((_, x, *_),) = pictures(folder, settings()).first(1)
    for seed in range(10):
        got, *_ = finished(pictures(folder, settings("data.recolor=0"), True), 0, seed)
        assert torch.equal(got, x.flip(-1) if np.random.default_rng(seed).random() < 0.5 else x)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.long])
def test_one_hot_labels_leave_out_the_background_and_the_ignored(dtype):
    ids = torch.tensor([[[0, 1, 2, 3, 4, 255]]]).to(dtype)
    label = one_hot_label(ids, 5, 4)
    assert label.shape == (1, 4, 1, 6) and label.dtype == torch.float32
    assert torch.equal(label[0, :, 0], torch.eye(4, 6))
    whole = one_hot_label(ids, 5, None)
    assert torch.equal(whole[0, :, 0], torch.eye(5, 6))
    first = one_hot_label(ids, 5, 0)
    assert torch.equal(first, whole[:, 1:])


def test_colours_are_masked_by_the_hair():
    ids = torch.tensor([[[2, 0], [4, 255]]])
    color = torch.full((1, 3, 2, 2), 51, dtype=torch.uint8)
    masked = masked_color(color, one_hot_label(ids, 5, 4), options().data.hair_channel)
    assert masked.dtype == torch.float32 and torch.allclose(masked[0, :, 0, 0], torch.full((3,), 0.2))
    assert not masked.flatten(2)[..., 1:].any()
    data = options("data.background=eye").data
    assert data.hair_channel == 1 and torch.equal(masked, masked_color(color, one_hot_label(ids, 5, 0), 1))


@pytest.mark.shared
@pytest.mark.skipif(not FIXTURE.exists(), reason="needs ../shared")
def test_items_are_the_originals(tmp_path):
    fixture = np.load(FIXTURE)
    parts = [fixture[name] for name in ("photo_u8", "label_u8", "colour_u8")]
    Image.fromarray(np.concatenate(parts, axis=1)).save(tmp_path / "a.png")
    data = settings(size=(256, 256))
    ((_, x, ids, color),) = pictures(tmp_path, data).first(1)
    label = one_hot_label(ids[None], 5, data.background_id)
    seven = torch.cat([label, masked_color(color[None], label, data.hair_channel)], 1)[0, :, ::2, ::2]
    assert np.abs(seven.numpy() - fixture["x0_s2"].astype(np.float32)).max() < 1e-3, "but for its float16"
    assert np.abs((x[:, ::2, ::2] / 127.5 - 1).numpy() - fixture["t0_s2"].astype(np.float32)).max() < 2e-3


def test_the_drawn_set_brings_its_colours(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    opt = options("data.drawn_train=3", "data.drawn_val=2", "data.size=64", "data.workers=0")
    train, val, rough, palette = spade_data(opt)
    assert (len(train), len(val), rough, palette) == (3, 2, None, ANIME)
    assert "datasets/drawn-3-0-2-64" in capsys.readouterr().out.replace("\\", "/")
    _, x, ids, color = train.first(1)[0]
    assert (color.flatten(1) == color[:, 0, :1]).all() and color.any()
    inside = x[:, ids == HAIR].float().median(1).values
    assert (inside - color[:, 0, 0]).abs().max() < 80, "about the colour that the hair was drawn in"
    with pytest.raises(UserError, match="drawn characters are square"):
        spade_data(options("data.size=[64, 128]"))


def test_rough_pictures_are_a_set_of_their_own(tmp_path, capsys):
    for i in range(6):
        write(tmp_path / "main", "triple", f"m{i}", seed=i)
        write(tmp_path / "rough", "folders2", f"r{i}", seed=i + 10)
    opt = options(f"data.root={tmp_path / 'main'}", f"data.rough={tmp_path / 'rough'}", "data.size=64")
    train, val, rough, _ = spade_data(opt)
    assert "6 rough ones from" in capsys.readouterr().out
    assert len(train) + len(val) == 6 and len(rough) == 6
    names = [{s.name for s in part.samples} for part in (train, val, rough)]
    assert val.samples and not names[0] & names[1] and names[2] == {f"r{i}" for i in range(6)}
    for part, by_lot in ((train, True), (rough, True), (val, False)):
        made = {finished(part, 0, seed)[0].numpy().tobytes() for seed in range(10)}
        assert len(made) == (2 if by_lot else 1), "a picture and its mirror image; of validation the picture alone"


def refusal(*words: str) -> str:
    with pytest.raises(UserError) as caught:
        spade_data(options("data.size=64", *words))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("width", [65, 95, 97, 128, 32])
def test_a_triple_of_the_wrong_width_is_named(tmp_path, width):
    write(tmp_path, "triple")
    Image.new("RGB", (width, 32)).save(tmp_path / "odd.png")
    line = refusal(f"data.root={tmp_path}", "data.val_share=0")
    assert f"odd.png: {width}x32 pixels, neither picture|label (2:1) nor" in line and "folders" in line


def test_colour_maps_of_another_size_and_missing_ones_are_named(tmp_path):
    for name in "ab":
        write(tmp_path, "folders3", name)
    Image.new("RGB", (32, 31)).save(tmp_path / "colors" / "a.png")
    line = refusal(f"data.root={tmp_path}", "data.val_share=0")
    assert "a.png: 32x32 pixels, but its colour map" in line and "32x31" in line
    (tmp_path / "colors" / "a.png").unlink()
    assert "no partner in" in refusal(f"data.root={tmp_path}") and "colors" in refusal(f"data.root={tmp_path}")
    assert len(spade_data(options(f"data.root={tmp_path}", "data.color=false", "data.size=64"))[0]) == 1


def test_a_bad_rough_set_is_named_with_the_command_that_lists_all(tmp_path):
    write(tmp_path / "main", "triple")
    write(tmp_path / "rough", "triple")
    for name in "xy":
        (tmp_path / "rough" / f"{name}.png").write_bytes(b"")
    line = refusal(f"data.root={tmp_path / 'main'}", f"data.rough={tmp_path / 'rough'}", "data.val_share=0")
    assert "x.png: the file is empty" in line and "(and 1 more: run python " in line
    assert line.endswith(f"--family spade --root {(tmp_path / 'rough').as_posix()})")


def test_keep_best_needs_validation_pictures(tmp_path):
    write(tmp_path, "triple")
    words = [f"data.root={tmp_path}", "data.val_share=0", "run.keep_best=val_l1,min"]
    assert "run.keep_best: there are no validation pictures" in refusal(*words)
