"""The dcgan family's data: folders, zips, classes, and what is wrong with them."""

import itertools
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.dcgan import Faces, dcgan_data, face_batches
from data.fit import cover_crop
from engine.errors import UserError
from options.dcgan import DEFAULT_FILE, DcganOptions
from options.load import load

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pictures() -> dict[str, np.ndarray]:
    """12 pictures of several sizes in the sub-folders a, b and c."""
    rng = np.random.default_rng(0)
    sides = itertools.cycle([(64, 64), (70, 90), (40, 33)])
    return {f"{'aabc'[i % 4]}/{i:02d}.png": rng.integers(0, 256, (*next(sides), 3), np.uint8) for i in range(12)}


@pytest.fixture
def root(tmp_path, pictures) -> Path:
    for name, picture in pictures.items():
        path = tmp_path / "set" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)
    return tmp_path / "set"


def pack(folder: Path, top: str = "") -> Path:
    with zipfile.ZipFile(folder.with_suffix(".zip"), "w") as archive:
        for path in folder.rglob("*.*"):
            archive.write(path, top + path.relative_to(folder).as_posix())
    return folder.with_suffix(".zip")


def load_data(root: Path | str, *words: str):
    options = [f"data.root={root}", "data.batch=4", "data.workers=0", *words]
    return dcgan_data(load(DcganOptions, options, DEFAULT_FILE), CPU)


def same(faces: Faces, pictures: dict[str, np.ndarray], names: list[str]) -> bool:
    expected = np.stack([cover_crop(pictures[name], (64, 64)).transpose(2, 0, 1) for name in names])
    return torch.equal(faces.x, torch.from_numpy(expected))


def mistake(root: Path | str, *words: str) -> str:
    with pytest.raises(UserError) as caught:
        load_data(root, *words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- where the pictures are


@pytest.mark.parametrize("cache", ["auto", "disk", "ram", "device"])
def test_a_folder_and_a_zip_give_the_same(root, pictures, cache, capsys):
    for source in (root, pack(root), pack(root, "set/")):
        faces, classes = load_data(source, f"data.cache={cache}")
        assert same(faces, pictures, sorted(pictures)) and faces.y is None and classes == () and len(faces) == 12
        assert f"data: 12 pictures of {source} at 64x64, in " in capsys.readouterr().out


def test_the_pictures_are_kept_on_disk_only_if_asked(root, cache, monkeypatch):
    load_data(root, "data.cache=ram")
    assert not (cache / "pictures").exists()
    load_data(root, "data.cache=disk")
    load_data(root, "data.cache=disk")
    assert len(list((cache / "pictures").glob("*.u8"))) == 1
    monkeypatch.setattr("data.dcgan.VERSION", 0)
    load_data(root, "data.cache=disk")
    assert len(list((cache / "pictures").glob("*.u8"))) == 2, "another way of decoding takes no older cache"


def test_sizes_limit_and_train(root, pictures, tmp_path):
    assert load_data(root, "data.size=96")[0].x.shape == (12, 3, 96, 96)
    assert same(load_data(root, "data.limit=5")[0], pictures, sorted(pictures)[:5])
    (tmp_path / "parts").mkdir()
    shutil.copytree(root / "a", tmp_path / "parts" / "train")
    shutil.copytree(root / "b", tmp_path / "parts" / "val")
    assert len(load_data(tmp_path / "parts")[0]) == 6


def test_what_is_kept_apart_to_measure_with_is_not_trained_on(root, tmp_path):
    shutil.copytree(root / "a", tmp_path / "apart")
    shutil.copytree(root / "b", tmp_path / "apart" / "val")
    for source in (tmp_path / "apart", pack(tmp_path / "apart")):
        assert len(load_data(source)[0]) == 6, source
    assert len(load_data(tmp_path / "apart" / "val", "data.batch=3")[0]) == 3
    (tmp_path / "none").mkdir()
    shutil.copytree(root / "b", tmp_path / "none" / "test")
    with pytest.raises(UserError, match="all its pictures are in val/ or test/, which are to measure with; name one"):
        load_data(tmp_path / "none")


def test_the_first_pictures_are_in_the_range_of_networks(root):
    first = load_data(root)[0].first(3)
    assert first.shape == (3, 3, 64, 64) and first.min() == -1 and first.max() == 1
    assert len(load_data(root)[0].first(64)) == 12


def break_files(root: Path) -> list[str]:
    (root / "a/00.png").write_bytes(b"")
    (root / "b/02.png").write_bytes((root / "b/02.png").read_bytes()[:900])
    Image.new("RGB", (3, 50)).save(root / "c/03.png")
    (root / "a/no.jpg").write_text("hello")
    return ["a/00.png", "b/02.png", "c/03.png", "a/no.jpg"]


def test_broken_files_are_named_and_skipped(root, pictures, capsys):
    broken = break_files(root)
    for source in (root, pack(root)):
        faces, _ = load_data(source)
        out = capsys.readouterr().out
        assert same(faces, pictures, [name for name in sorted(pictures) if name not in broken])
        assert ", 4 skipped, in" in out and out.count("skipped: ") == 4
        assert all(f"skipped: {source / name}: " in out for name in broken)


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights on Windows")
def test_a_link_to_nothing_is_skipped_until_it_leads_somewhere(root, capsys):
    (root / "a/00.png").rename(root.parent / "away.png")
    (root / "a/00.png").symlink_to(root.parent / "nowhere.png")
    assert len(load_data(root)[0]) == 11 and f"skipped: {root / 'a/00.png'}: no such file" in capsys.readouterr().out
    (root.parent / "away.png").rename(root.parent / "nowhere.png")
    assert len(load_data(root)[0]) == 12


def test_many_broken_files_are_counted(root, capsys):
    for i in range(15):
        (root / f"z{i:02d}.png").write_bytes(b"x")
    load_data(root)
    out = capsys.readouterr().out
    assert out.count(": not a picture") == 10 and "skipped: and 5 more\n" in out


def test_data_that_cannot_train(root, tmp_path):
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad/1.png").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("hello")
    assert mistake(root, "data.batch=64").endswith(
        "set: 12 pictures, fewer than data.batch=64: lower it, or add pictures"
    )
    assert "raise data.limit" in mistake(root, "data.limit=3")
    assert "none of 1 pictures can be read" in mistake(tmp_path / "bad")
    assert "no pictures inside" in mistake(tmp_path / "empty")
    assert "no such folder" in mistake(tmp_path / "nowhere")
    assert "no zip file that can be read" in mistake(tmp_path / "text.zip")
    break_files(root)
    assert "set: 9 pictures (4 skipped), fewer than data.batch=12" in mistake(root, "data.batch=12")


# ---- classes


@pytest.mark.parametrize("packed", [None, "", "set/"])
def test_classes_by_folder(root, pictures, packed, capsys):
    Image.new("RGB", (64, 64)).save(root / "beside.png")
    source = root if packed is None else pack(root, packed)
    faces, classes = load_data(source, "data.labels=folders")
    assert classes == ("a", "b", "c") and same(faces, pictures, sorted(pictures))
    assert [classes[i] for i in faces.y.argmax(1)] == [name[0] for name in sorted(pictures)]
    assert faces.y.dtype == torch.uint8 and torch.equal(faces.y.sum(1), torch.ones(12, dtype=torch.long))
    x, y = next(face_batches(faces, 4, seed=0))
    assert x.dtype == torch.uint8 and y.dtype == torch.float32 and torch.equal(y.sum(1), torch.ones(4))
    out = capsys.readouterr().out
    assert "data: 1 left out: in none of the classes" in out and "classes: a 6, b 3, c 3\n" in out


def test_chosen_classes_in_their_order(root, pictures):
    faces, classes = load_data(root, "data.labels=folders", "data.classes=c,a")
    assert classes == ("c", "a") and same(faces, pictures, [name for name in sorted(pictures) if name[0] != "b"])
    assert faces.y.sum(0).tolist() == [3, 6] and faces.y[0].tolist() == [0, 1]


def write_csv(root: Path, text: str, encoding: str = "utf-8") -> str:
    (root.parent / "tags.csv").write_bytes(text.encode(encoding))
    return f"data.labels={root.parent / 'tags.csv'}"


CSV = """file,tag
a/00.png, blue ,"long hair"

a\\01.png,青い髪
./b/02.png,blue,,
b/02.png,青い髪
c/03.jpg,other
a/99.png,blue
c/07,"a,b"
a/04.png
"""
CSV_TAGS = {
    "a/00.png": {"blue", "long hair"},
    "a/01.png": {"青い髪"},
    "b/02.png": {"blue", "青い髪"},
    "c/03.png": {"other"},
    "c/07.png": {"a,b"},
}


@pytest.mark.parametrize("packed", [None, "set/"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_tags_of_a_csv_file(root, pictures, encoding, packed, capsys):
    words = write_csv(root, CSV, encoding)
    faces, classes = load_data(root if packed is None else pack(root, packed), words)
    assert classes == ("a,b", "blue", "long hair", "other", "青い髪") and same(faces, pictures, sorted(CSV_TAGS))
    found = [{classes[k] for k in y.nonzero()[:, 0]} for y in faces.y]
    assert found == [CSV_TAGS[name] for name in sorted(CSV_TAGS)]
    out = capsys.readouterr().out
    assert "lines that name no picture" in out and "1, such as 'a/99.png'" in out and "data: 7 left out" in out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_without_header(root, encoding):
    text = "\n".join(f"a/{i:02d}.png,x" for i in (0, 1, 4, 5))
    assert len(load_data(root, write_csv(root, text, encoding))[0]) == 4


def test_mistakes_in_classes(root):
    one, none = root / "a", root / "b"
    assert "all pictures are in a/" in mistake(pack(one, "x/a/"), "data.labels=folders")
    assert "no picture is in one" in mistake(none, "data.labels=folders", "data.batch=1")
    assert "there are a, b, c" in mistake(root, "data.labels=folders", "data.classes=a,xyz")
    assert "c: no picture left in this class: raise data.limit" in mistake(root, "data.labels=folders", "data.limit=9")
    for path in (root / "c").iterdir():
        path.write_bytes(b"x")
    assert "data.classes: c: no picture left in this class: mend" in mistake(root, "data.labels=folders")


def test_more_classes_than_anybody_means_are_refused(root, monkeypatch, capsys):
    words = write_csv(root, "\n".join(f"a/00.png,tag{i},x" for i in range(1001)))
    line = "have 1,002 tags, more than 1,000 classes: name those to train on in data.classes"
    assert line in mistake(root, words, "data.batch=1")
    assert load_data(root, words, "data.batch=1", "data.classes=tag7,x")[1] == ("tag7", "x")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "it is empty"),
        ("x.png;red\ny.png;red", "it names 'x.png;red', the pictures are named as 'a/00.png'"),
        ("a/00.png\n", "has a tag"),
        ("a/00.png,gr\udcfcn", "not a CSV file in UTF-8"),
        ("a/00.png," + "x" * 200_000, "not a CSV file in UTF-8"),
    ],
)
def test_csv_files_that_are_none(root, text, line):
    (root.parent / "tags.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    assert line in mistake(root, f"data.labels={root.parent / 'tags.csv'}")


def test_labels_that_are_no_file(root):
    assert "data.labels: folder: No such file" in mistake(root, "data.labels=folder")
    assert f"data.labels: {root}: " in mistake(root, f"data.labels={root}")


def test_near_classes_are_named(root):
    (root / "a").rename(root / "red hair")
    assert "red_hair: no picture of" in mistake(root, "data.labels=folders", "data.classes=red_hair,b")
    assert mistake(root, "data.labels=folders", "data.classes=red_hair,b").endswith("did you mean red hair?")


# ---- on a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_a_gpu(root, capsys):
    opt = load(DcganOptions, [f"data.root={root}", "data.batch=4", "data.labels=folders"], DEFAULT_FILE)
    faces, _ = dcgan_data(opt, torch.device("cuda"))
    assert "in memory of cuda" in capsys.readouterr().out
    on_cpu, _ = dcgan_data(opt, CPU)
    streams = [face_batches(one, 4, seed=1, mirror=True) for one in (faces, on_cpu)]
    for (x, y), (cpu_x, cpu_y) in itertools.islice(zip(*streams, strict=True), 5):
        assert x.is_cuda and y.is_cuda and torch.equal(x.cpu(), cpu_x) and torch.equal(y.cpu(), cpu_y)
