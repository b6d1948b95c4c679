"""The stream of faces is a function of (seed, step), whole and fast; the drawn faces."""

import itertools
import json
import time

import numpy as np
import pytest
import torch
from PIL import Image
from test_dcgan_data import load_data

import data.faces
from data.dcgan import Faces, face_batches
from data.decoded import placed
from data.faces import draw_face, drawn_faces
from data.images import read_picture
from engine.errors import UserError


@pytest.fixture
def numbered() -> Faces:
    """10 pictures; picture i has i at the left and 100 + i at the right, and class i % 2."""
    x = torch.arange(10, dtype=torch.uint8)[:, None, None, None] + torch.zeros(3, 8, 8, dtype=torch.uint8)
    x[..., 4:] += 100
    return Faces(x, torch.eye(2)[torch.arange(10) % 2])


def take(faces: Faces, count: int, **how) -> list:
    return list(itertools.islice(face_batches(faces, 4, **how), count))


def test_a_batch_is_a_function_of_seed_and_step(numbered):
    whole = take(numbered, 9, seed=3, mirror=True)
    for start in (1, 4, 7):
        for (x, y), (other_x, other_y) in zip(
            whole[start:], take(numbered, 9 - start, seed=3, start=start, mirror=True), strict=True
        ):
            assert torch.equal(x, other_x) and torch.equal(y, other_y)
    assert not all(
        torch.equal(x, z) for (x, _), (z, _) in zip(whole, take(numbered, 9, seed=4, mirror=True), strict=True)
    )


def test_every_pass_holds_every_picture_once_with_its_class(numbered):
    seen = [(x[:, 0, 0, 0], y) for x, y in take(numbered, 15, seed=0)]
    order, y = (torch.cat(parts) for parts in zip(*seen, strict=True))
    assert all(order[i : i + 10].sort()[0].tolist() == list(range(10)) for i in range(0, 60, 10))
    assert order[:10].tolist() != order[10:20].tolist()
    assert torch.equal(y.argmax(1), order.long() % 2)


def test_half_of_the_pictures_are_mirrored_whole(numbered):
    plain, mirrored = (take(numbered, 200, seed=0, mirror=mirror) for mirror in (False, True))
    flips = []
    for (x, _), (m, _) in zip(plain, mirrored, strict=True):
        for one, other in zip(x, m, strict=True):
            flips.append(not torch.equal(one, other))
            assert torch.equal(other, one.flip(2) if flips[-1] else one)
    assert 0.44 < np.mean(flips) < 0.56


def test_no_class_is_none(numbered):
    assert take(Faces(numbered.x, None), 1, seed=0)[0][1] is None


def test_the_stream_is_no_bottleneck(tmp_path):
    """Issue 5: 20,000 pictures of 64x64 a second; here from one thread, so that a busy machine still passes."""
    np.memmap(tmp_path / "x.u8", np.uint8, mode="w+", shape=(2000, 3, 64, 64))
    x = torch.from_numpy(np.memmap(tmp_path / "x.u8", np.uint8, mode="c", shape=(2000, 3, 64, 64)))
    stream = face_batches(Faces(x, None), 64, seed=0, mirror=True)
    times = []
    for _ in range(40):
        started = time.perf_counter()
        next(stream)
        times.append(time.perf_counter() - started)
    assert 64 / np.median(times) > 20_000


def test_pictures_that_do_not_fit_on_the_gpu(numbered, monkeypatch):
    cuda, need = torch.device("cuda"), numbered.x.nbytes
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2 * need, 100 * need))
    assert placed(numbered.x, "auto", cuda) is numbered.x  # more than a quarter of what is free
    assert placed(numbered.x, "disk", cuda) is placed(numbered.x, "ram", cuda) is numbered.x
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (need - 1, 100 * need))
    with pytest.raises(UserError, match="data.cache=device: the pictures take .* use data.cache=auto"):
        placed(numbered.x, "device", cuda)


# ---- drawn faces


def test_drawn_faces_are_made_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    faces, _ = load_data("drawn", "data.drawn_train=6")
    folder = tmp_path / "datasets" / "drawn-faces-6-64"
    assert len(faces) == 6 and len(list(folder.glob("*.png"))) == 6
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert np.array_equal(read_picture(folder / "000003.png"), draw_face(3, 64))
    monkeypatch.setattr(data.faces, "draw", None)
    load_data("drawn", "data.drawn_train=6")
    spec = json.loads((folder / "drawn.json").read_text())
    (folder / "drawn.json").write_text(json.dumps(spec | {"version": 0}))
    with pytest.raises(UserError, match="version 0 instead of"):
        drawn_faces(6, 64)


def test_an_interrupted_drawing_is_begun_anew(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(data.faces, "draw_face", lambda index, size: (_ for _ in ()).throw(KeyboardInterrupt))
        drawn_faces(2, 64)
    assert not (tmp_path / "datasets" / "drawn-faces-2-64").exists()
    assert len(list(drawn_faces(2, 64).glob("*.png"))) == 2


def test_a_drawn_face_shows_the_head_at_any_size():
    """The eyes lie at half the height and the skin between them, as in the anime-faces set."""
    for index in range(8):
        small, large = draw_face(index, 64), draw_face(index, 128)
        assert small.shape == (64, 64, 3) and large.shape == (128, 128, 3)
        reduced = np.asarray(Image.fromarray(large).reduce(2)).astype(float)
        assert abs(reduced - small).mean() < 8
        warm = large[70:110, 44:84].astype(int)  # cheeks and chin: skin is reddest, then green
        assert (np.diff(warm, axis=2) <= 0).all(axis=2).mean() > 0.6
