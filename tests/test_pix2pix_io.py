"""Pictures, latents and samples of pix2pix's predictions."""

from argparse import ArgumentParser
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data.pix2pix_io import Pix2PixPictures, latent, to_input, to_picture, translate
from engine.errors import UserError
from models.layers import predicting


def test_every_level_survives_input_and_picture():
    picture = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    x = to_input(torch.from_numpy(picture).permute(2, 0, 1)[None], 3)
    assert x.shape == (1, 3, 16, 16) and x.min() == -1 and x.max() == 1
    assert np.array_equal(to_picture(x[0]), picture)
    assert np.array_equal(to_picture(x[0, :1]), picture), "grey is repeated to RGB"


def test_pictures_are_rounded_to_the_nearest_and_clipped():
    values = torch.tensor([-1.7, 99.4 / 127.5 - 1, 99.6 / 127.5 - 1, 1.7]).expand(1, 1, -1)
    assert to_picture(values)[0, :, 0].tolist() == [0, 99, 100, 255]


def test_grey_inputs_are_pillows():
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    grey = to_input(torch.from_numpy(picture).permute(2, 0, 1)[None], 1)
    assert grey.shape == (1, 1, 64, 64)
    assert np.array_equal(to_picture(grey[0])[..., 0], np.asarray(Image.fromarray(picture).convert("L")))


def test_the_latent_is_normal_and_a_function_of_its_arguments():
    z = latent("a/b", 0, 10_000)
    assert abs(z.mean()) < 0.05 and abs(z.std() - 1) < 0.05
    assert torch.equal(z, latent("a/b", 0, 10_000))
    others = [latent("a/c", 0, 10_000), latent("a/b", 1, 10_000), latent("a/b", 0, 10_000, seed=1)]
    assert not any(torch.allclose(z, other) for other in others)


class Painter(nn.Module):
    """Paints z's first two values over the picture, then drops out."""

    def __init__(self):
        super().__init__()
        self.dropout = nn.Dropout(0.5)

    def forward(self, x, z=None):
        y = x if z is None else x * 0 + z[:, :1, None, None]
        return self.dropout(y)


def test_z_depends_on_the_name_and_not_on_the_batch():
    G, x = Painter().eval(), torch.rand(3, 1, 8, 8)
    together = translate(G, x, ["a", "b", "c"], samples=2, nz=4)
    assert together.shape == (3, 2, 8, 8)
    alone = [translate(G, x[i : i + 1], [name], samples=2, nz=4) for i, name in enumerate("abc")]
    assert torch.equal(together, torch.cat(alone))
    assert together[0, 0, 0, 0] == latent("a", 0, 4)[0] and together[0, 1, 0, 0] == latent("a", 1, 4)[0]
    assert not torch.equal(together[0], together[1])
    same = translate(G, x, ["a", "b", "c"], samples=2, nz=4, sync=True)
    assert torch.equal(same[0], same[2]) and not torch.equal(same[0, 0], same[0, 1])
    assert not torch.equal(together, translate(G, x, ["a", "b", "c"], samples=2, nz=4, seed=1))


def test_dropout_is_a_function_of_the_name_and_leaves_the_global_generator_alone():
    G, x = Painter().eval(), torch.ones(1, 1, 8, 8)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with predicting(G, dropout=True):
        first = translate(G, x, ["a"], samples=2, dropout=True)
        torch.rand(3)
        again = translate(G, x, ["a"], samples=2, dropout=True)
        other = translate(G, x, ["b"], samples=2, dropout=True)
        synced = [translate(G, x, [name], dropout=True, sync=True) for name in "ab"]
    assert torch.equal(first, again) and not torch.equal(first, other) and torch.equal(*synced)
    assert not torch.equal(first[:, 0], first[:, 1])
    torch.set_rng_state(before)
    translate(G, x, ["a"], dropout=True)
    assert torch.equal(before, torch.get_rng_state())
    with predicting(G):
        assert torch.equal(translate(G, x, ["a"]), x), "dropout off"


@pytest.mark.parametrize("norm_stats", ["running", "batch"])
def test_predicting_turns_on_dropout_alone_and_leaves_no_trace(norm_stats):
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Dropout(0.5), nn.Dropout2d(0.5)).train()
    with predicting(net, norm_stats, dropout=True):
        assert [m.training for m in net] == [norm_stats == "batch", True, True]
    assert all(m.training for m in net.modules())
    with predicting(net.eval(), norm_stats):
        assert not net[1].training and not net[2].training
    assert not any(m.training for m in net.modules())


def pictures(*words: str, direction: str = "AtoB", z: int = 0, dropout: float = 0.0, size=(64, 64)) -> Pix2PixPictures:
    parser = ArgumentParser()
    for add in Pix2PixPictures.arguments:
        add(parser)
    for name, value in (("layout", "auto"), ("pairs", False), ("seed", 0)):
        parser.set_defaults(**{name: value})
    opt = SimpleNamespace(
        data=SimpleNamespace(size=size, direction=direction),
        model=SimpleNamespace(z=z, dropout=dropout, in_channels=3, out_channels=3),
        predict_dropout=dropout > 0,
    )
    args = parser.parse_args([word for word in words if not word.startswith("layout=")])
    for word in words:
        if word.startswith("layout="):
            args.layout = word[7:]
    return Pix2PixPictures(opt, args)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--edges", "--sigma", "nan"], "--sigma nan: expected 0 to 1"),
        (["--edges", "--low", "-1"], "--low -1: expected 0 to 2040"),
        (["--edges", "--low", "9", "--high", "3"], "--low 9: above --high 3"),
        (["--low", "9"], "--low: says how --edges draws"),
        (["--samples", "0"], "--samples 0: expected 1 to 999"),
        (["--samples", "2"], "--samples 2: this checkpoint makes one picture of an input"),
        (["--sync"], "--sync: this checkpoint makes one picture of an input"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(words, line):
    with pytest.raises(UserError, match=line) as caught:
        pictures(*words)
    assert caught.value.code == 2


def test_latent_or_dropout_make_several_samples():
    assert pictures("--samples", "3", z=2).extra_suffixes == {"_2.png": "output 2", "_3.png": "output 3"}
    assert pictures("--samples", "2", dropout=0.5).dropout


@pytest.fixture
def halves(tmp_path):
    """A file a.png of a dark half A and a bright half B, 2:1."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 100, (24, 24, 3), np.uint8), rng.integers(150, 256, (24, 24, 3), np.uint8)
    Image.fromarray(np.concatenate([a, b], axis=1)).save(tmp_path / "a.png")
    return tmp_path / "a.png", a, b


def test_which_half_is_the_input(halves, capsys):
    path, a, b = halves
    assert np.array_equal(pictures().read(path), a)
    assert np.array_equal(pictures(direction="BtoA").read(path), b)
    assert "taken as A|B side by side; --layout single changes that" in capsys.readouterr().out
    assert pictures("layout=single").read(path).shape == (24, 48, 3)
    assert pictures("--edges").read(path).shape == (24, 48, 3)
    assert "taken as one picture; --layout pair changes that" in capsys.readouterr().out
    assert np.array_equal(pictures("--edges", "layout=pair").read(path), b), "the half that is no edges"
    assert np.array_equal(pictures("--edges", "layout=pair", direction="BtoA").read(path), a)
    assert capsys.readouterr().out == ""


def test_the_note_about_the_layout_comes_once(halves, capsys):
    reader = pictures()
    for _ in range(3):
        reader.read(halves[0])
    assert capsys.readouterr().out.count("note:") == 1


def test_views_show_input_and_target(halves):
    path, a, b = halves
    network = SimpleNamespace(seen=lambda picture: picture[:5])
    before, after = pictures(direction="BtoA").views(path, network)
    assert list(before) == ["input"] and np.array_equal(before["input"], b) and np.array_equal(after["target"], a)
    before, after = pictures("layout=single").views(path, network)
    assert before["input"].shape == (24, 48, 3) and not after
    before, after = pictures("--edges").views(path, network)
    assert list(before) == ["picture", "edges"] and before["edges"].shape == (5, 48, 3) and not after
    before, after = pictures("--edges", "layout=pair").views(path, network)
    assert list(before) == ["edges"] and np.array_equal(after["target"], b)


def test_a_network_that_is_not_square_has_pairs_of_its_own_shape(tmp_path):
    for name, width in (("pair", 64), ("double", 32)):
        Image.new("RGB", (width, 16)).save(tmp_path / f"{name}.png")
    reader = pictures(size=(64, 128))
    assert reader.read(tmp_path / "pair.png").shape == (16, 32, 3)
    assert reader.read(tmp_path / "double.png").shape == (16, 32, 3), "2:1 is what it was trained on"


def test_an_odd_width_cannot_be_a_pair(tmp_path):
    Image.new("RGB", (33, 16)).save(tmp_path / "odd.png")
    with pytest.raises(UserError, match="33 pixels wide, which does not part into 2 pictures"):
        pictures("layout=pair").read(tmp_path / "odd.png")
