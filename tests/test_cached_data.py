"""data.cache: where the decoded pictures are changes no bit of a batch, of a training or of what resumes it."""

from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from runs import final, finite_run, same_training

import data.decoded
import train_pix2pix
import train_seg
import train_spade
from data.cache import Decoding
from data.decoded import decoded, estimated
from data.loader import InOrder, batches
from data.pix2pix import pix2pix_data
from data.seg import seg_data
from data.spade import spade_data
from engine.errors import UserError
from options.load import load
from options.seg import DEFAULT_FILE, SegOptions

CPU = torch.device("cpu")
SEG = ["data.augment=mirror,gamma,color", "data.augment=mirror,scale,crop", "data.augment=crop data.size=24,40"]
SPADE = ["data.augment=mirror", "data.augment=scale,crop,mirror data.recolor=0.5", "data.color=false data.augment=crop"]
PIX2PIX = [f"data.preprocess={mode}" for mode in ("resize_and_crop", "crop", "scale_width_and_crop", "none")]


@pytest.fixture
def sources(tiny, tiny_spade, tiny_pix2pix, tmp_path):
    """sources(family, words): the sets of a tiny run; of seg and pix2pix with a picture of another shape."""
    make = {"seg": (tiny, seg_data), "spade": (tiny_spade, spade_data), "pix2pix": (tiny_pix2pix, pix2pix_data)}

    def load_sets(family: str, *words: str, device: torch.device | None = CPU) -> list:
        options, load_data = make[family]
        found = load_data(options("run", *" ".join(words).split()), device)
        return [source for source in found if hasattr(source, "item") and len(source)]

    return load_sets


def taken(source, count: int = 3, **how) -> list[torch.Tensor]:
    parts = [part if isinstance(part, tuple) else (part,) for part in islice(batches(source, 3, seed=1, **how), count)]
    return [x.clone() for batch in parts for x in batch]


CASES = [("seg", w) for w in SEG] + [("spade", w) for w in SPADE] + [("pix2pix", w) for w in PIX2PIX]


@pytest.mark.parametrize(("family", "words"), CASES)
def test_the_batches_are_the_same_from_everywhere(sources, family, words):
    plain = sources(family, words, device=None)
    for where in ("none", "disk", "ram", "auto"):  # auto: the file that is there
        kept = sources(family, words, f"data.cache={where}")
        for source, other in zip(plain, kept, strict=True):
            assert (other.rows is None) == (where == "none")
            whole, last = taken(source), taken(other, 1, start=2)
            assert all(map(torch.equal, whole, taken(other)))
            assert all(map(torch.equal, whole[-len(last) :], last))
    for source, other in zip(plain, kept, strict=True):  # as on a GPU: a copy beside what the CPU looks at
        other.rows = other.rows.copied(other.rows.data.clone())
        assert other.on_device and all(map(torch.equal, taken(source), taken(other, workers=2)))


@pytest.mark.parametrize("where", ["none", "disk", "ram"])
def test_workers_change_nothing(sources, where):
    for source in sources("seg", SEG[1], f"data.cache={where}"):
        assert all(map(torch.equal, taken(source), taken(source, workers=2)))
        passes = [[x.clone() for part in InOrder(source, 2, workers) for x in part] for workers in (0, 2)]
        assert passes[0] and all(map(torch.equal, *passes))


def test_pictures_of_several_shapes_and_those_that_stand_there_twice(root, cache):
    for i, shape in enumerate(((90, 31), (20, 70))):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (*shape, 3), np.uint8)).save(
            root / f"images/z{i}.png"
        )
        Image.fromarray(np.full(shape, i, np.uint8)).save(root / f"labels/z{i}.png")
    words = [f"data.root={root}", f"data.extra={root}", "data.extra_repeat=2", "data.val_share=0", "data.size=32"]
    words += ["run.keep_best=none"]
    for names in ("none", "scale,crop"):
        opt = load(SegOptions, [*words, f"data.augment={names}", "data.label_colors=exact"], DEFAULT_FILE)
        kept, plain = seg_data(opt, CPU)[0], seg_data(opt)[0]
        assert (
            len(kept) == 15
            and len(kept.rows) == 5
            and len(set(map(tuple, kept.rows.shapes))) == (3 if names[0] == "s" else 1)
        )
        assert all(map(torch.equal, taken(plain, 5), taken(kept, 5)))
    assert len(list((cache / "pictures").glob("*.u8"))) == 2


def test_only_what_decoding_depends_on_makes_a_cache_anew(sources, cache):
    def made(*words: str) -> int:
        sources("seg", "data.cache=disk", *words)
        return len(list((cache / "pictures").glob("*.u8")))

    first = made()
    assert first == 3  # training, validation and unlabelled pictures
    assert made("data.augment=gamma,color", "data.batch=1", "run.seed=7", "data.workers=1") == first
    assert made("data.augment=scale") == 5  # validation pictures stay
    assert made("data.size=16") == 8
    assert made("data.ignore=255,3") == 10


TRAINS = {"seg": train_seg, "spade": train_spade, "pix2pix": train_pix2pix}


@pytest.mark.parametrize("family", TRAINS)
def test_a_run_goes_on_bit_by_bit_with_any_cache(tiny, tiny_spade, tiny_pix2pix, tmp_path, family):
    options = {"seg": tiny, "spade": tiny_spade, "pix2pix": tiny_pix2pix}[family]
    fixed = ["optim.decay_start=1"] if family == "pix2pix" else ["optim.poly_start=1", "data.augment=mirror,scale,crop"]
    fixed += ["run.save_every=1", "run.eval_every=2"]
    TRAINS[family].train(options("whole", *fixed, "run.steps=4", "data.cache=none"))
    for step, (where, workers) in enumerate((("disk", 2), ("ram", 0), ("none", 2), ("device", 0)), 1):
        words = [f"run.steps={step}", f"data.cache={where}", f"data.workers={workers}"]
        TRAINS[family].train(options("parts", *fixed, *words))
    assert finite_run(tmp_path / "whole", 4)
    assert same_training(final(tmp_path / "whole"), final(tmp_path / "parts"))


# ---- which it is


@pytest.fixture
def decoding(tmp_path) -> Decoding:
    """20 pictures of 100 and 300 bytes in turn."""
    (tmp_path / "file").touch()
    sizes = {str(i): 300 if i % 2 else 100 for i in range(20)}
    return Decoding(lambda name: np.zeros((1, 1, sizes[name]), np.uint8), list(sizes), [tmp_path / "file"], ["test"])


def test_auto_takes_a_quarter_of_the_disk_at_most(decoding, monkeypatch, capsys, cache):
    monkeypatch.setattr(data.decoded, "TRIED", 20)
    assert estimated(decoding) == 4000
    free = SimpleNamespace(free=15_999)
    monkeypatch.setattr(data.decoded.shutil, "disk_usage", lambda folder: free)
    assert decoded(decoding, "20 pictures", "auto", CPU) is None
    said = capsys.readouterr().out
    assert said.startswith(
        "data.cache: 20 pictures: decoded anew each time: about 4000 bytes, more than 25% of the free"
    )
    free.free = 16_000
    assert len(decoded(decoding, "20 pictures", "auto", CPU)) == 20
    assert f"data.cache: 20 pictures: 4000 bytes in {decoding.file}" in capsys.readouterr().out
    free.free = 0
    assert decoded(decoding, "20 pictures", "auto", CPU) is not None, "what is there is taken"


def test_without_a_place_for_the_cache_pictures_are_decoded_each_time(decoding, cache, monkeypatch, capsys):
    (cache / "file").touch()
    monkeypatch.setenv("ATELIER_CACHE", str(cache / "file"))
    for where in ("auto", "disk"):
        assert decoded(decoding, "20 pictures", where, CPU) is None
        assert "no cache can be kept" in capsys.readouterr().out
    assert len(decoded(decoding, "20 pictures", "ram", CPU)) == 20
    assert "20 pictures: 4000 bytes in memory of cpu" in capsys.readouterr().out


def test_a_picture_that_broke_since_the_check_is_named(decoding):
    def broken(name: str) -> np.ndarray:
        raise UserError(f"{name}.png: broken")

    decoding.read = broken
    for where in ("auto", "disk", "ram"):
        with pytest.raises(UserError, match="0.png: broken"):
            decoded(decoding, "pictures", where, CPU)


def test_native_pictures_are_not_cached(tiny, cache):
    assert seg_data(tiny("run", "data.size=native"), CPU)[0].rows is None
    assert not (cache / "pictures").exists()
    for where in ("disk", "ram", "device"):
        with pytest.raises(UserError, match=f"data.cache={where}: data.size=native is decoded each time") as caught:
            tiny("run", "data.size=native", f"data.cache={where}")
        assert caught.value.code == 2
