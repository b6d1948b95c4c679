"""data/split.py: which samples of a data set are measured, and what is said of them."""

import pytest

from data.split import chosen_samples
from engine.errors import UserError


def test_splits(tmp_path):
    root = tmp_path / "set"
    for part, names in (("train", "abcdefghij"), ("val", "kl"), ("test", "m")):
        (root / part).mkdir(parents=True)
        for name in names:
            (root / part / f"{name}.png").touch()
    tiny = type("Data", (), {"root": "drawn", "val": None, "val_share": 0.3})

    def names(split, data=tiny, where=root):
        samples, words = chosen_samples(where, split, data)
        return "".join(sample.name for sample in samples), words

    assert names("auto") == names("val") == ("kl", "val/") and names("test") == ("m", "test/")
    assert names("train")[0] == names("all")[0] == "abcdefghij"
    for name in "nop":
        (tmp_path / f"{name}.png").touch()
    alone = root / "train"
    own = type("Data", (), {"root": str(alone), "val": None, "val_share": 0.3})
    held, words = names("auto", own, alone)
    assert 0 < len(held) < 10 and words == "held out as in training"
    assert sorted(held + names("train", own, alone)[0]) == list("abcdefghij")
    assert names("auto", tiny, alone) == ("abcdefghij", "all")
    moved = type("Data", (), {"root": str(tmp_path / "elsewhere"), "val": None, "val_share": 0.3})
    assert names("auto", moved, alone)[1] == f"all; taken for other pictures than those of the training on {moved.root}"
    assert names("val", moved, alone)[1].startswith("a share of 0.3 by name, as in training; taken for other pictures")
    moved.val = "held.txt"
    with pytest.raises(UserError, match="which pictures it held out of that data.val=held.txt says; name that folder"):
        names("val", moved, alone)
    for split, where, said in (("test", alone, "has no test/"), ("auto", tmp_path / "no", "no such folder")):
        with pytest.raises(UserError, match=said):
            names(split, tiny, where)
    none = type("Data", (), {"root": "drawn", "val": None, "val_share": 0})
    with pytest.raises(UserError, match="the training held none out"):
        names("val", none, alone)
