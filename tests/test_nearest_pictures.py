"""scripts/nearest_pictures.py: distances against a slow reference, its sheet and table."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from engine.errors import UserError
from scripts import nearest_pictures
from scripts.nearest_pictures import nearest
from train_dcgan import train


def test_nearest_against_a_loop(monkeypatch):
    monkeypatch.setattr(nearest_pictures, "CHUNK", 4)
    pictures = torch.randint(0, 256, (11, 3, 6, 5), dtype=torch.uint8)
    x = torch.stack([pictures[7].flip(2).float() / 255, torch.rand(3, 6, 5)])  # a mirrored one, a new one
    distances, indices = nearest(x, pictures, 3)
    slow = torch.empty(2, 11)
    for row in range(2):
        for k, picture in enumerate(pictures.float() / 255):
            slow[row, k] = min(float((x[row] - view).square().mean().sqrt()) for view in (picture, picture.flip(2)))
    expected, order = slow.sort(dim=1)
    torch.testing.assert_close(distances, expected[:, :3], rtol=1e-4, atol=2e-3)  # cdist near 0
    assert torch.equal(indices, order[:, :3]) and indices[0, 0] == 7


def test_a_picture_is_not_its_own_neighbour():
    pictures = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)
    some = torch.tensor([3, 0])
    _, indices = nearest(pictures[some].float() / 255, pictures, 1, leave_out=some)
    assert (indices[:, 0] != some).all()


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["nearest_pictures.py", *map(str, words)])
    nearest_pictures.main()


def test_the_script_makes_a_sheet_and_a_table(tiny_dcgan, tmp_path, monkeypatch, capsys):
    train(tiny_dcgan("run", "run.steps=1"))
    words = ["--weights", tmp_path / "run", "--output", tmp_path / "out", "--count", 3, "--neighbours", 2]
    run(monkeypatch, *words, "--measured", 4)
    width, height = Image.open(tmp_path / "out" / "nearest.png").size
    assert width > 3 * 64 and height > 3 * 64 and np.asarray(Image.open(tmp_path / "out" / "nearest.png")).std() > 5
    said = capsys.readouterr().out
    assert "| 4 generated | 0." in said and "| 4 training pictures, to another | 0." in said
    with pytest.raises(UserError, match="--neighbours 9: there are 9 training pictures; ask for fewer"):
        run(monkeypatch, *words[:-1], 9)
