"""Data that ruin a SPADE run or are no input of a prediction: named by file before they cost time."""

import shlex
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import finished
from PIL import Image

from data.palette import ANIME, IGNORED, colorize, encode_label
from data.spade import SpadePictures, one_hot_label, spade_data
from data.spade_io import SpadeLabels
from engine.errors import UserError
from engine.folder import find_jobs
from options.load import load
from options.spade import DEFAULT_FILE, SpadeOptions
from scripts.check_data import main as check

BACKGROUND, HAIR = ANIME.names.index("background"), ANIME.names.index("hair")
PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)


def options(*words: str) -> SpadeOptions:
    return load(SpadeOptions, ["data.size=64", "data.workers=0", *words], DEFAULT_FILE)


def ids(hair: tuple[slice, slice] | None, size: int = 64) -> np.ndarray:
    """Background with hair in a window."""
    made = np.full((size, size), BACKGROUND, np.uint8)
    if hair is not None:
        made[hair] = HAIR
    return made


def write(root: Path, labels: dict[str, np.ndarray]) -> Path:
    for name, label in labels.items():
        for kind, picture in (("images", Image.fromarray(PICTURE).resize(label.shape[::-1])), ("labels", None)):
            (root / kind).mkdir(parents=True, exist_ok=True)
            (picture or encode_label(label, ANIME)).save(root / kind / f"{name}.png")
    return root


@pytest.fixture
def root(tmp_path) -> Path:
    """Two labels with hair and two without any class but the background, one of them with ignored pixels."""
    some, empty = ids(np.s_[:9, :9]), ids(None)
    ragged = empty.copy()
    ragged[:5] = IGNORED
    return write(tmp_path / "set", {"a": some, "b": some, "empty": empty, "ragged": ragged})


def test_a_label_of_background_alone_is_named_before_the_training(root):
    with pytest.raises(UserError, match=r"labels.(empty|ragged).png: its label is background alone") as caught:
        spade_data(options(f"data.root={root}"))
    line = str(caught.value)
    assert "take the picture out" in line and "(and 1 more: run " in line and "\n" not in line
    spade_data(options(f"data.root={root}", "data.background=none"))  # every class has a channel
    with pytest.raises(UserError, match=r"labels.(empty|ragged).png"):
        spade_data(options(f"data.root={root}"))  # the stamp of the check is not that of another background
    for name in ("empty", "ragged"):
        for kind in ("images", "labels"):
            (root / kind / f"{name}.png").unlink()
    spade_data(options(f"data.root={root}"))


@pytest.mark.parametrize("name", ["none", "hair"])
def test_the_check_script_takes_the_background_of_the_run(root, tmp_path, capsys, name):
    assert check(["--family", "spade", "--root", str(root)]) == 1
    said = capsys.readouterr().out
    assert said.count("is background alone") == 2 and "2 sound, 2 with problems" in said
    more = ["data.color=false"] if name == "hair" else []
    for broken in ("x", "y"):
        write(root, {broken: np.full((64, 64), HAIR, np.uint8)})
        (root / "images" / f"{broken}.png").write_bytes(b"")
    with pytest.raises(UserError, match="more: run ") as caught:
        spade_data(options(f"data.root={root}", f"data.background={name}", *more))
    command = shlex.split(str(caught.value).split("more: run ")[1].rstrip(")"))
    assert command[-2:] == ["--background", name]
    assert check(command[2:]) == 1
    said = capsys.readouterr().out
    assert "4 sound, 2 with problems" in said and "alone" not in said
    with pytest.raises(UserError, match="--background sky: there is no such class; use none or one of eye") as caught:
        check(["--family", "spade", "--root", str(root), "--background", "sky"])
    assert caught.value.code == 2
    with pytest.raises(SystemExit):
        check(["--root", str(root), "--background", "none"])
    assert "--background: not for seg" in capsys.readouterr().err


@pytest.mark.parametrize("names", ["crop,scale", "crop,scale,mirror"])
def test_random_windows_show_more_than_background(tmp_path, names):
    root = write(tmp_path, {name: ids(np.s_[:6, :6]) for name in "ab"})
    opt = options(f"data.root={root}", f"data.augment={names}", "data.val_share=0")
    main, *_ = spade_data(opt)
    items = [finished(main, 0, seed)[1] for seed in range(200)]
    assert all((item == HAIR).any() for item in items)
    assert len({item.numpy().tobytes() for item in items}) > 50, "windows are random"
    again = finished(main, 0, 7)[1]
    assert torch.equal(again, items[7])


def test_a_window_that_shows_a_class_is_the_first_that_was_drawn(tmp_path):
    """Trainings on other data go on as they did: no further numbers are drawn."""
    root = write(tmp_path, {name: ids(np.s_[:, :]) for name in "ab"})
    made = []
    for background in ("background", "none"):
        opt = options(f"data.root={root}", "data.augment=crop,scale", f"data.background={background}")
        pictures = spade_data(opt)[0]
        assert isinstance(pictures, SpadePictures)
        made.append([finished(pictures, 0, seed)[0] for seed in range(5)])
    assert all(map(torch.equal, *made))


def test_a_map_of_zeros_is_what_the_networks_would_see():
    assert not one_hot_label(torch.from_numpy(ids(None))[None], 5, BACKGROUND).any()


# ---- prediction


def labels(path: Path, *words, layout: str = "auto", keys: tuple[str, ...] = ()) -> SpadeLabels:
    parser = ArgumentParser()
    for add in SpadeLabels.arguments:
        add(parser)
    parser.set_defaults(input=path, layout=layout, pairs=False, seed=0)
    return SpadeLabels(options(*keys), parser.parse_args(list(map(str, words))))


def side_by_side(path: Path, *parts: np.ndarray) -> Path:
    Image.fromarray(np.concatenate(parts, 1)).save(path)
    return path


LABEL = colorize(ids(np.s_[8:50, 8:50]), ANIME)
BLUE = np.full_like(LABEL, (0, 0, 255))  # the colour of a class, too
ODD = np.full_like(LABEL, (255, 255, 255))  # no class
COLORLESS = ("data.color=false",)


@pytest.mark.parametrize(
    ("parts", "keys", "what"),
    [
        ((PICTURE, LABEL, BLUE), (), "picture|label|hair colour side by side: cut off the picture, or give"),
        ((PICTURE, LABEL, BLUE), COLORLESS, "picture|label|hair colour side by side: cut off all but the label, or"),
        ((PICTURE, LABEL), (), "picture|label side by side: cut off the picture, or give the folder of label maps as"),
        ((PICTURE, LABEL), COLORLESS, "picture|label side by side: cut off all but the label"),
    ],
)
def test_a_file_to_train_on_is_named_as_that(tmp_path, parts, keys, what):
    path = side_by_side(tmp_path / "a.png", *parts)
    with pytest.raises(UserError) as caught:
        labels(path, keys=keys).read(path)
    assert f"{path}: a file to train on, {what}" in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).endswith("label maps as --input")


@pytest.mark.parametrize("parts", [(ODD, BLUE), (PICTURE, PICTURE), (PICTURE, PICTURE, LABEL), (ODD, ODD, BLUE)])
def test_other_wide_pictures_are_no_files_to_train_on(tmp_path, parts):
    path = side_by_side(tmp_path / "a.png", *parts)
    with pytest.raises(UserError, match="save it as PNG in the class colours") as caught:
        labels(path).read(path)
    assert "to train on" not in str(caught.value)


def test_wide_labels_are_read(tmp_path):
    path = side_by_side(tmp_path / "a.png", LABEL, LABEL, LABEL)
    assert labels(path).read(path).shape == (64, 192, 4)
    path = side_by_side(tmp_path / "b.png", LABEL, BLUE)
    assert (labels(path).read(path)[..., 1:] == (0, 0, 255)).all()


def test_missing_pictures_exit_alike(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    mistakes = {
        "nowhere: no such folder": lambda: find_jobs(tmp_path / "nowhere", tmp_path / "out", ()),
        "--hair-from: .*nowhere: no such folder": lambda: labels(tmp_path, "--hair-from", tmp_path / "nowhere"),
        "--style-from: .*no.png: no such file": lambda: labels(
            tmp_path, "--style-from", tmp_path / "no.png", keys=("model.style=4",)
        ),
    }
    for line, attempt in mistakes.items():
        with pytest.raises(UserError, match=line) as caught:
            attempt()
        assert caught.value.code == 1 and "\n" not in str(caught.value)


# ---- options


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["model.width=1"], "model.width=1: expected a whole number of at least 2"),
        (["model.norm_eps=0"], "model.norm_eps=0: expected a number above 0"),
        (["run.epochs=-1"], "run.epochs=-1: expected a number above 0 or none"),
        (["run.epochs=0"], "run.epochs=0: expected a number above 0 or none"),
        (["run.keep_best=val_l1,max"], "run.keep_best=val_l1,max: would keep the worst; use val_l1,min"),
    ],
)
def test_values_that_cannot_train_are_refused_at_the_door(words, line):
    with pytest.raises(UserError) as caught:
        options(*words)
    assert line in str(caught.value) and caught.value.code == 2
    assert options("model.width=2", "model.norm_eps=1e-9", "run.epochs=0.5").model.width == 2


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.size=128,64"], r"data.size=\[128, 64\]: drawn characters are square; give one number"),
        (["data.classes=hair,sky", "data.background=sky"], "data.classes=hair,sky: drawn characters .* give your data"),
        (["data.classes={hair: [1, 2, 3], background: [4, 5, 6]}"], "data.classes=hair,background: drawn characters"),
    ],
)
def test_drawn_data_have_a_shape_and_classes_of_their_own(tmp_path, monkeypatch, words, line):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=line) as caught:
        spade_data(options("data.drawn_train=2", "data.drawn_val=1", *words))
    assert caught.value.code == 2 and "\n" not in str(caught.value) and not list(tmp_path.iterdir())
