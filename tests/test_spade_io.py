"""Reading labels and hair colours for SPADE's predictions, and writing pictures."""

from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.colors import random_color
from data.fit import resize
from data.palette import ANIME, colorize, encode_label
from data.spade import masked_color, one_hot_label
from data.spade_io import SpadeLabels
from engine.errors import UserError
from options.load import load
from options.spade import DEFAULT_FILE, SpadeOptions

PREDICTED = Path(__file__).parents[2] / "shared" / "fixtures" / "data" / "spade_predict.npz"
SAMPLES = Path(__file__).parents[2] / "shared" / "data" / "anime_seg" / "samples"
BLUE = np.array([0, 0, 255], np.uint8)


def options(*words: str) -> SpadeOptions:
    return load(SpadeOptions, ["data.size=64", *words], DEFAULT_FILE)


def labels(source: Path, *words: str | Path, opt: SpadeOptions | None = None, layout: str = "auto") -> SpadeLabels:
    parser = ArgumentParser()
    for add in SpadeLabels.arguments:
        add(parser)
    parser.set_defaults(input=source, layout=layout, pairs=False, seed=0)
    return SpadeLabels(opt or options(), parser.parse_args(list(map(str, words))))


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


def write_picture(path: Path, hair: tuple[int, int, int], size: tuple[int, int], ids: np.ndarray) -> None:
    """A picture whose hair, where the ids, brought to its size, say so, is of one colour but for a few pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.full((*size, 3), 200, np.uint8)
    picture[resize(ids, size) == 2] = hair
    picture[0, 0] = 255
    Image.fromarray(picture).save(path)


def test_a_colour_taken_from_the_picture_of_the_same_name(folder, tmp_path, capsys):
    pictures = tmp_path / "pictures"
    write_picture(pictures / "deep" / "alone.webp", (16, 32, 48), (60, 60), label())
    write_picture(pictures / "pair.png", (90, 60, 30), (12, 12), label())
    write_picture(pictures / "alone.png", (1, 2, 3), (24, 24), label())
    reader = labels(folder, "--hair-from", pictures)
    alone = reader.read(folder / "deep" / "alone.png")
    assert np.abs(alone[..., 1:].astype(int) - (16, 32, 48)).max() <= 8 and (alone[..., 1:] == alone[0, 0, 1:]).all()
    assert (reader.read(folder / "pair.png")[..., 1:] == (90, 60, 30)).all(), "before the colour in the file"
    assert "random" not in capsys.readouterr().out
    single = folder / "deep" / "alone.png"
    assert labels(single, "--hair-from", pictures).read(single)[0, 0, 1:].tolist() == [1, 2, 3]
    before, _ = reader.views(folder / "pair.png", None)
    assert (before["hair colour"] == (90, 60, 30)).all()


def test_no_colour_to_take_is_one_line_for_that_file(folder, tmp_path):
    (tmp_path / "pictures" / "deep").mkdir(parents=True)
    write_picture(tmp_path / "pictures" / "bald.png", (1, 2, 3), (24, 24), label())
    (tmp_path / "pictures" / "deep" / "alone.png").write_bytes(b"no picture")
    encode_label(np.full((24, 24), 1, np.uint8), ANIME).save(folder / "bald.png")
    reader = labels(folder, "--hair-from", tmp_path / "pictures")
    for name, line in {
        "pair.png": "pair.png: --hair-from .*pictures: holds no picture pair: add it, or use --hair-color instead",
        "bald.png": "bald.png: no hair in the label, for --hair-from to take its colour: use --hair-color instead",
        "deep/alone.png": "pictures.deep.alone.png: not a picture",
    }.items():
        with pytest.raises(UserError, match=line) as caught:
            reader.read(folder / name)
        assert "\n" not in str(caught.value)


def test_a_picture_of_another_shape_is_noted(folder, tmp_path, capsys):
    write_picture(tmp_path / "pictures" / "pair.png", (9, 9, 9), (30, 60), label())
    write_picture(tmp_path / "pictures" / "deep" / "alone.png", (9, 9, 9), (100, 99), label())
    reader = labels(folder, "--hair-from", tmp_path / "pictures", layout="pair")
    for _ in range(2):
        assert (reader.read(folder / "pair.png")[..., 1:] == 9).all()
    said = capsys.readouterr().out
    assert said.count("note: ") == 1 and "pair.png: 60x30 pixels, of another shape than its label (24x24)" in said
    labels(folder / "deep", "--hair-from", tmp_path / "pictures" / "deep").read(folder / "deep" / "alone.png")
    assert capsys.readouterr().out == ""


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


GREY = "as ids 0 to 4 in grey (255: no class)"


@pytest.mark.parametrize(
    ("keys", "made", "lines"),
    [
        ([], "photo", ["eye (255, 0, 0), face (0, 255, 0), hair (0, 0, 255)", "background (255, 255, 0)", GREY]),
        (["data.label_colors=nearest"], "photo", ["save it as PNG in the class colours (eye (255, 0, 0),", GREY]),
        ([], "ids", ["id 9 (256 pixels) outside the 5 classes", GREY]),
        (
            [
                "data.classes={a: [9, 0, 0], b: [0, 9, 0], c: [0, 0, 9], d: [9, 9, 0], e: [9, 0, 9]}",
                "data.hair=c",
                "data.background=e",
            ],
            "photo",
            [f"save it {GREY}; or is this"],
        ),
    ],
)
def test_errors_about_labels_name_what_can_be_done_in_prediction(tmp_path, keys, made, lines):
    picture = np.random.default_rng(0).integers(90, 160, (16, 16, 3), np.uint8)
    Image.fromarray(picture if made == "photo" else np.full((16, 16), 9, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match="a.png: ") as caught:
        labels(tmp_path, opt=options(*keys)).read(tmp_path / "a.png")
    line = str(caught.value)
    assert all(part in line for part in lines), line
    assert "\n" not in line and line.endswith("; or is this no label map?")
    for word in ("try", "data.classes", "data.ignore"):
        assert word not in line, "the options are the checkpoint's"


def test_an_error_lists_twelve_classes_at_most(tmp_path):
    names = "abcdefghijklmn"
    classes = ", ".join(f"{name}: [{9 * i}, 255, 0]" for i, name in enumerate(names))
    opt = options(f"data.classes={{{classes}}}", "data.label_colors=exact", "data.hair=a", "data.background=b")
    Image.new("RGB", (16, 16), (1, 2, 3)).save(tmp_path / "a.png")
    with pytest.raises(UserError, match=r"l \(99, 255, 0\), \.\.\.\), or as ids 0 to 13"):
        labels(tmp_path, opt=opt).read(tmp_path / "a.png")


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
        (["--hair-from", "DIR"], "auto", COLORLESS, "--hair-from: this checkpoint paints labels without hair colours"),
        (["--hair-from", "DIR", "--hair-color", "random"], "auto", [], "--hair-from DIR: --hair-color random too"),
        (["--style-from", "a.png"], "auto", [], r"--style-from a.png: this checkpoint has no style \(model.style\)"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit_are_refused(tmp_path, words, layout, keys, line):
    with pytest.raises(UserError, match=line) as caught:
        labels(tmp_path, *words, opt=options(*keys), layout=layout)
    assert caught.value.code == 2 and "\n" not in str(caught.value)


def test_two_pictures_of_one_name_are_refused(folder, tmp_path):
    for suffix in ("png", "webp"):
        write_picture(tmp_path / "pictures" / f"pair.{suffix}", (9, 9, 9), (24, 24), label())
    with pytest.raises(UserError, match="--hair-from: .*pair.webp: has the same name as pair.png") as caught:
        labels(folder, "--hair-from", tmp_path / "pictures")
    assert caught.value.code == 1


def test_a_style_that_is_given_makes_no_samples(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    words = ["--style-from", tmp_path / "a.png", "--samples", "2"]
    opt = options("model.noise=false", "model.style=4")
    with pytest.raises(UserError, match="one picture of an input, always the same: it has no noise, and --style-from"):
        labels(tmp_path, *words, opt=opt)
    assert labels(tmp_path, *words, opt=options("model.style=4")).extra_suffixes == {"_2.png": "output 2"}


def test_a_style_makes_several_samples_too(tmp_path):
    reader = labels(tmp_path, "--samples", "3", opt=options("model.noise=false", "model.style=4"))
    assert reader.extra_suffixes == {"_2.png": "output 2", "_3.png": "output 3"}


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
