"""Shared by the tests: a tiny drawn data set, and tiny options on it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.edges import make_pair
from data.palette import ANIME, encode_label
from data.sample import draw, make_drawn_set
from options import dcgan, pix2pix, spade
from options.load import load
from options.seg import DEFAULT_FILE, SegOptions

torch.set_num_threads(1)  # tiny networks: threads cost more than they bring, above all when tests run side by side

TINY = """
    run.device=cpu run.steps=6 run.log_every=1 run.sample_every=0 run.save_every=2 run.eval_every=0
    data.size=32 data.batch=2 data.workers=0 data.augment=mirror,gamma
    model.generator=unet model.width=4 model.d_width=4
    run.keep_best=none loss.semi_start=2 optim.g_lr=1e-3 ema.half_life=20
""".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Path:
    """6 labelled, 4 unlabelled and 3 validation characters at 32x32."""
    return make_drawn_set(tmp_path_factory.mktemp("data") / "drawn", labeled=6, unlabeled=4, val=3, size=32)


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("ATELIER_CACHE", str(folder))
    return folder


@pytest.fixture
def tiny(drawn, tmp_path):
    """Options of a tiny seg run: tiny("NAME", "key=value", ...); its folder is tmp_path/NAME."""

    def make(name: str, *words: str) -> SegOptions:
        return load(SegOptions, tiny_words(drawn, tmp_path / name, *words), DEFAULT_FILE)

    return make


def tiny_words(drawn: Path, folder: Path, *words: str) -> list[str]:
    return [*TINY, f"data.root={drawn}", f"data.unlabeled={drawn / 'unlabeled'}", f"run.dir={folder}", *words]


TINY_PIX2PIX = """
    run.device=cpu run.steps=6 run.log_every=1 run.sample_every=0 run.save_every=2 run.eval_every=0
    data.size=64 data.batch=2 data.workers=0 model.width=4 model.d_width=4 ema.half_life=20
""".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def edge_pairs(tmp_path_factory) -> Path:
    """5 training and 2 validation pairs picture|edges at 64x64."""
    folder = tmp_path_factory.mktemp("pairs")
    for part, numbers in (("train", range(5)), ("val", range(5, 7))):
        (folder / part).mkdir()
        for i in numbers:
            Image.fromarray(make_pair(draw(i, 64).picture, 64)).save(folder / part / f"{i}.png")
    return folder


@pytest.fixture
def tiny_pix2pix(edge_pairs, tmp_path):
    """Options of a tiny_pix2pix run: tiny_pix2pix("NAME", "key=value", ...); its folder is tmp_path/NAME."""

    def make(name: str, *words: str) -> pix2pix.Pix2PixOptions:
        return load(
            pix2pix.Pix2PixOptions,
            [*TINY_PIX2PIX, f"data.root={edge_pairs}", f"run.dir={tmp_path / name}", *words],
            pix2pix.DEFAULT_FILE,
        )

    return make


TINY_SPADE = """
    run.device=cpu run.steps=4 run.log_every=1 run.sample_every=0 run.save_every=2 run.eval_every=0
    data.size=64 data.batch=2 data.workers=0 model.width=8 model.code_width=8 model.d_width=8 ema.half_life=20
""".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def drawn_spade(tmp_path_factory) -> Path:
    """5 training and 2 validation characters with labels and hair colours at 64x64."""
    return make_drawn_set(tmp_path_factory.mktemp("spade") / "drawn", labeled=5, unlabeled=0, val=2, size=64)


@pytest.fixture
def tiny_spade(drawn_spade, tmp_path):
    """Options of a tiny spade run: tiny_spade("NAME", "key=value", ...); its folder is tmp_path/NAME."""

    def make(name: str, *words: str) -> spade.SpadeOptions:
        return load(
            spade.SpadeOptions,
            [*TINY_SPADE, f"data.root={drawn_spade}", f"run.dir={tmp_path / name}", *words],
            spade.DEFAULT_FILE,
        )

    return make


TINY_DCGAN = """
    run.device=cpu run.steps=4 run.log_every=1 run.sample_every=0 run.save_every=2
    data.batch=4 data.workers=0 model.z=6 model.g_width=4 model.d_width=4 ema.half_life=20
""".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def faces(tmp_path_factory) -> Path:
    """9 pictures of 72x72 in the sub-folders a (5) and b (4)."""
    folder = tmp_path_factory.mktemp("faces")
    for i in range(9):
        path = folder / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw(i, 72).picture).save(path)
    return folder


@pytest.fixture(scope="session")
def many_faces(tmp_path_factory) -> Path:
    """52 flat pictures of 64x64."""
    folder = tmp_path_factory.mktemp("many")
    for i, color in enumerate(np.random.default_rng(0).integers(0, 256, (52, 3))):
        Image.new("RGB", (64, 64), tuple(map(int, color))).save(folder / f"{i:02}.png")
    return folder


@pytest.fixture
def tiny_dcgan(faces, tmp_path):
    """Options of a tiny dcgan run: tiny_dcgan("NAME", "key=value", ...); its folder is tmp_path/NAME."""

    def make(name: str, *words: str) -> dcgan.DcganOptions:
        words = [*TINY_DCGAN, f"data.root={faces}", f"run.dir={tmp_path / name}", *words]
        return load(dcgan.DcganOptions, words, dcgan.DEFAULT_FILE)

    return make


@pytest.fixture
def root(tmp_path) -> Path:
    """Three sound samples in images/ and labels/, two unlabelled pictures."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels", "unlabeled"):
        (tmp_path / name).mkdir()
    for name in "abc":
        picture, ids = rng.integers(0, 256, (32, 24, 3)), rng.integers(0, 5, (32, 24))
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"images/{name}.png")
        encode_label(ids.astype(np.uint8), ANIME).save(tmp_path / f"labels/{name}.png")
    for name in "xy":
        picture = rng.integers(0, 256, (9, 50, 3))
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / f"unlabeled/{name}.png")
    return tmp_path
