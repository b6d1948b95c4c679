"""Reading labels and hair colours, and drawing noise, for SPADE's predictions."""

from argparse import ArgumentParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from data.colors import random_color
from data.palette import ANIME, colorize, encode_label
from data.spade import masked_color, one_hot_label
from data.spade_io import SpadeLabels, draw, paint
from engine.errors import UserError
from options.load import load
from options.spade import DEFAULT_FILE, SpadeOptions

PREDICTED = Path(__file__).parents[2] / "shared" / "fixtures" / "data" / "spade_predict.npz"
SAMPLES = Path(__file__).parents[2] / "shared" / "data" / "anime_seg" / "samples"
BLUE = np.array([0, 0, 255], np.uint8)


def options(*words: str) -> SpadeOptions:
    return load(SpadeOptions, ["data.size=64", *words], DEFAULT_FILE)


def labels(source: Path, *words: str, opt: SpadeOptions | None = None, layout: str = "auto") -> SpadeLabels:
    parser = ArgumentParser()
    for add in SpadeLabels.arguments:
        add(parser)
    parser.set_defaults(input=source, layout=layout, pairs=False, seed=0)
    return SpadeLabels(opt or options(), parser.parse_args(words))


def label(height: int = 24, width: int = 24, classes: int = 5) -> np.ndarray:
    """Ids in blocks, hair among them."""
    blocks = np.random.default_rng(0).integers(0, classes, (height // 4, width // 4), np.uint8)
    blocks[0, 0] = 2
    return blocks.repeat(4, 0).repeat(4, 1)


@pytest.fixture
def folder(tmp_path) -> Path:
    """deep/alone.png and pair.png, a label beside blue."""
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    encode_label(label(), ANIME).save(folder / "deep" / "alone.png")
    blue = np.broadcast_to(BLUE, (24, 24, 3))
    Image.fromarray(np.concatenate([colorize(label(), ANIME), blue], axis=1)).save(folder / "pair.png")
    return folder


def test_a_label_beside_its_colour(folder, capsys):
    reader = labels(folder)
    for _ in range(2):
        stack = reader.read(folder / "pair.png")
    assert stack.dtype == np.uint8 and np.array_equal(stack[..., 0], label()) and (stack[..., 1:] == BLUE).all()
    assert capsys.readouterr().out.count("note: ") == 1
    stack = labels(folder, "--hair-color", "#102030").read(folder / "pair.png")
    assert (stack[..., 1:] == (16, 32, 48)).all(), "an asked colour goes before the file's"


def test_a_label_alone_gets_a_random_colour_of_its_name(folder, capsys):
    reader = labels(folder)
    path = folder / "deep" / "alone.png"
    colors = [reader.read(path)[0, 0, 1:] for _ in range(2)]
    assert np.array_equal(*colors) and np.array_equal(colors[0], random_color("deep/alone"))
    assert capsys.readouterr().out.count("no colour beside the label: a random one") == 1
    assert np.array_equal(labels(path).read(path)[0, 0, 1:], random_color("alone")), "a single file has no folder"
    capsys.readouterr()
    assert np.array_equal(labels(folder, "--hair-color", "random").read(path)[0, 0, 1:], random_color("deep/alone"))
    assert "a random one" not in capsys.readouterr().out, "it was asked for"
    asked = labels(folder, "--hair-color", "#102030").read(path)
    assert (asked[..., 1:] == (16, 32, 48)).all() and capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", ["palette", "rgb", "ids"])
def test_labels_of_every_kind(tmp_path, kind):
    ids = label()
    made = {
        "palette": encode_label(ids, ANIME),
        "rgb": Image.fromarray(colorize(ids, ANIME)),
        "ids": Image.fromarray(ids),
    }
    made[kind].save(tmp_path / "a.png")
    assert np.array_equal(labels(tmp_path).read(tmp_path / "a.png")[..., 0], ids)


def test_a_label_without_hair_is_painted_with_a_note(tmp_path, capsys):
    encode_label(np.full((16, 16), 3, np.uint8), ANIME).save(tmp_path / "bald.png")
    stack = labels(tmp_path, "--hair-color", "#102030").read(tmp_path / "bald.png")
    assert (stack[..., 0] == 3).all()
    assert capsys.readouterr().out.splitlines() == [
        f"note: {tmp_path / 'bald.png'}: no hair in the label: its colour has no effect"
    ]


def test_a_picture_that_is_no_label_is_one_line(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (16, 32, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "photo.png")
    for layout, words in (("pair", r"left half: .*no label\|colour picture\?"), ("single", r".*no label map\?")):
        with pytest.raises(UserError, match=f"photo.png: {words}") as caught:
            labels(tmp_path, layout=layout, opt=options("data.label_colors=exact")).read(tmp_path / "photo.png")
        assert "\n" not in str(caught.value)
    Image.new("RGB", (33, 16), (0, 0, 255)).save(tmp_path / "odd.png")
    with pytest.raises(UserError, match="33 pixels wide, which does not part into 2"):
        labels(tmp_path, layout="pair").read(tmp_path / "odd.png")


COLORLESS = ("data.color=false", "data.background=none")


def test_without_a_colour_branch_nothing_is_split(folder, capsys):
    wide = label(24, 48)
    encode_label(wide, ANIME).save(folder / "wide.png")
    reader = labels(folder, opt=options(*COLORLESS))
    stack = reader.read(folder / "wide.png")
    assert np.array_equal(stack[..., 0], wide) and capsys.readouterr().out == ""
    before, after = reader.views(folder / "wide.png", None)
    assert list(before) == ["label"] and np.array_equal(before["label"], colorize(wide, ANIME)) and not after


def test_views_show_label_and_colour_without_a_note(folder, capsys):
    before, after = labels(folder, layout="pair").views(folder / "pair.png", None)
    assert list(before) == ["label", "hair colour"] and not after
    assert np.array_equal(before["label"], colorize(label(), ANIME)) and (before["hair colour"] == BLUE).all()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "layout", "keys", "line"),
    [
        (["--hair-color", "blue"], "auto", [], "--hair-color 'blue': is no colour"),
        (["--hair-color", "random"], "auto", COLORLESS, "--hair-color: this checkpoint paints labels without"),
        ([], "pair", COLORLESS, "--layout pair: this checkpoint paints labels without hair colours"),
        (["--samples", "0"], "auto", [], "--samples 0: expected 1 to 999"),
        (["--samples", "2"], "auto", ["model.noise=false"], "--samples 2: this checkpoint makes one picture"),
        (["--sync"], "auto", ["model.generator=paper"], "--sync: this checkpoint makes one picture .* neither noise"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(tmp_path, words, layout, keys, line):
    with pytest.raises(UserError, match=line) as caught:
        labels(tmp_path, *words, opt=options(*keys), layout=layout)
    assert caught.value.code == 2 and "\n" not in str(caught.value)


def test_a_style_makes_several_samples_too(tmp_path):
    reader = labels(tmp_path, "--samples", "3", opt=options("model.noise=false", "model.style=4"))
    assert reader.extra_suffixes == {"_2.png": "output 2", "_3.png": "output 3"}


def test_chance_is_normal_and_a_function_of_seed_name_and_sample():
    shapes = [(40, 50), (40, 50), (80, 100)]
    style, noise = draw(["a", "b"], 0, 0, 1000, shapes)
    assert style.shape == (2, 1000) and [tuple(n.shape) for n in noise] == [(2, 1, *shape) for shape in shapes]
    everything = torch.cat([style.flatten(), *(n.flatten() for n in noise)])
    assert abs(everything.mean()) < 0.03 and abs(everything.std() - 1) < 0.03
    assert abs((noise[0] * noise[1]).mean()) < 0.1 and abs((noise[0][0] * noise[0][1]).mean()) < 0.1
    alone_style, alone = draw(["b"], 0, 0, 1000, shapes)
    assert torch.equal(alone_style[0], style[1]) and all(
        torch.equal(n[0], m[1]) for n, m in zip(alone, noise, strict=True)
    )
    for other in (draw(["b"], 1, 0, 1000, shapes), draw(["b"], 0, 1, 1000, shapes), draw(["c"], 0, 0, 1000, shapes)):
        assert not torch.equal(other[0], alone_style) and not torch.equal(other[1][0], alone[0])
    assert draw(["a"], 0, 0, 0, []) == (None, [])


class Painter(nn.Module):
    """Shows what it was given: a class, the colour's mean, noise."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = []

    def noise_shapes(self, height: int, width: int) -> list[tuple[int, int]]:
        return [(height // 2, width // 2), (height, width)]

    def forward(self, m, c=None, noise=None, style=None):
        self.seen.append(SimpleNamespace(m=m, c=c, noise=noise, style=style))
        red = c[:, :1] if c is not None else m[:, :1]
        return torch.cat([m[:, 2:3], red, noise[1]], 1)


def test_the_network_gets_label_masked_colour_and_noise():
    ids = torch.from_numpy(np.stack([label(), label().T]))
    color = torch.randint(0, 256, (2, 3, 24, 24), dtype=torch.uint8)
    G, opt = Painter(), options("model.style=5")
    maps = paint(G, ids, color, opt, ["a", "b"], samples=2, seed=3)
    assert maps.shape == (2, 6, 24, 24)
    m = one_hot_label(ids, 5, 4)
    for sample, seen in enumerate(G.seen):
        assert torch.equal(seen.m, m) and torch.equal(seen.c, masked_color(color, m, 2))
        style, noise = draw(["a", "b"], sample, 3, 5, [(12, 12), (24, 24)])
        assert torch.equal(seen.style, style) and all(map(torch.equal, seen.noise, noise))
    assert torch.equal(maps[:, :2], maps[:, 3:5]) and not torch.equal(maps[:, 2], maps[:, 5])
    synced = paint(G, ids, color, opt, ["a", "b"], sync=True)
    assert torch.equal(synced[0, 2], synced[1, 2])
    paint(G, ids, color, options(*COLORLESS), ["a", "b"])
    assert G.seen[-1].c is None and G.seen[-1].style is None and G.seen[-1].m.shape == (2, 5, 24, 24)


def test_outputs_are_rounded_pictures_and_pairs_show_the_label(folder):
    reader = labels(folder, "--samples", "2")
    stack = reader.read(folder / "pair.png")
    maps = torch.linspace(-1, 1, 6).view(6, 1, 1).expand(6, 24, 24)
    made = {suffix: np.asarray(picture) for suffix, picture in reader.outputs(stack, maps).items()}
    assert list(made) == ["", "_2.png"] and made[""].shape == (24, 24, 3)
    assert made[""][0, 0].tolist() == [0, 51, 102] and made["_2.png"][0, 0].tolist() == [153, 204, 255]
    reader.args.pairs = True
    (row,) = reader.outputs(stack, maps).values()
    assert np.array_equal(np.asarray(row), np.concatenate([colorize(label(), ANIME), made[""], made["_2.png"]], axis=1))


@pytest.mark.shared
@pytest.mark.skipif(not PREDICTED.exists(), reason="needs ../shared")
@pytest.mark.parametrize("name", ["sample0_blue", "sample0_green", "sample1"])
def test_the_network_gets_what_the_original_gave_it(name):
    fixture, opt = np.load(PREDICTED), options("data.size=256")
    stack = torch.from_numpy(labels(SAMPLES, opt=opt).read(SAMPLES / f"{name}.png"))
    m = one_hot_label(stack[None, ..., 0], 5, 4)
    theirs = np.unpackbits(fixture[f"label_onehot_packed_{name}"]).reshape(1, 4, 256, 256)
    assert np.array_equal(m.numpy(), theirs)
    c = masked_color(stack[None, ..., 1:].permute(0, 3, 1, 2), m, 2)
    total, most = fixture[f"hair_sum_{name}"]
    np.testing.assert_allclose(c.double().sum((0, 2, 3)).numpy(), total, rtol=1e-5)
    np.testing.assert_allclose(c.amax((0, 2, 3)).numpy(), most, atol=1e-6)
