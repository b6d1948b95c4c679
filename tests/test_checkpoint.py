"""Checkpoint files: whole or not at all, no code, errors of one line."""

import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from engine import checkpoint
from engine.errors import UserError


def test_a_failed_write_leaves_the_previous_checkpoint_whole(tmp_path):
    path = tmp_path / "step.pt"
    checkpoint.save(path, {"family": "toy", "step": 1, "options": {}})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # stands in for a full disk
    try:
        with pytest.raises(UserError, match="cannot be written") as caught:
            checkpoint.save(path, {"family": "toy", "step": 2, "options": {}, "G": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch bomb-went-off",))


def test_unreadable_checkpoints_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = tmp_path / "good.pt"
    checkpoint.save(good, {"family": "toy", "step": 1, "options": {}, "G": torch.zeros(1000)})
    cases = {
        "cut.pt": good.read_bytes()[:-500],
        "empty.pt": b"",
        "text.pt": b"hello, this is no checkpoint",
        "paren.pt": b"(a text",
        "global.pt": b"G12",
        "noise.pt": np.random.default_rng(0).bytes(5000),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    with open("code.pt", "wb") as file:
        pickle.dump({"format": 1, "G": Bomb()}, file)
    torch.save({"format": 1, "G": Bomb()}, "code2.pt")
    torch.save(torch.zeros(3), "tensor.pt")
    checkpoint.save(tmp_path / "old.pt", {"family": "toy", "step": 1, "options": {}})
    torch.save({**torch.load("old.pt"), "format": 99}, "newer.pt")
    torch.save({**torch.load("old.pt"), "format": "1"}, "odd.pt")
    torch.save({**torch.load("old.pt"), "options": 7}, "odd2.pt")
    Path("code0.pt").write_bytes(pickle.dumps(Bomb(), protocol=0))
    for name in [*cases, "code.pt", "code2.pt", "tensor.pt", "newer.pt", "odd.pt", "odd2.pt", "code0.pt", "missing.pt"]:
        with pytest.raises(UserError) as caught:
            checkpoint.load(tmp_path / name)
        line = str(caught.value)
        assert name in line and "\n" not in line, line
        assert ("holds code" in line) == name.startswith("code"), line
    assert not Path("bomb-went-off").exists()
    with pytest.raises(UserError, match="family toy, not seg"):
        checkpoint.load(good, "seg")


def test_weights_that_do_not_fit_are_listed():
    with pytest.raises(UserError, match=r"1 missing \(bias\); 1 unknown \(extra\); 1 of another shape \(weight"):
        checkpoint.load_network(nn.Linear(2, 2), {"weight": torch.zeros(3, 2), "extra": torch.zeros(1)}, "w.pt")


def test_a_folder_without_checkpoints(tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoint.find(tmp_path)
