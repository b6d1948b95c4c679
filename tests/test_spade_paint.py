"""Drawing noise and style, and painting label maps, for SPADE's predictions."""

from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from test_spade_io import COLORLESS, label, labels, options
from torch import nn

from data.fit import cover_crop
from data.spade import masked_color, one_hot_label
from data.spade_io import draw, paint


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
    given = torch.arange(5.0)[None]
    assert torch.equal(paint(G, ids, color, opt, ["a", "b"], samples=2, seed=3, style=given), maps), (
        "the noise as it was"
    )
    assert all(torch.equal(seen.style, given.expand(2, 5)) for seen in G.seen[-2:])
    paint(G, ids, color, options(*COLORLESS), ["a", "b"])
    assert G.seen[-1].c is None and G.seen[-1].style is None and G.seen[-1].m.shape == (2, 5, 24, 24)


def test_the_style_of_a_picture_is_its_encoded_mean_found_once(tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8)
    Image.fromarray(picture).save(tmp_path / "style.png")
    opt = options("model.style=3")
    reader = labels(tmp_path, "--style-from", tmp_path / "style.png", opt=opt)
    G, asked = Painter(), []

    def encoder(x):
        asked.append(x)
        return x.mean((2, 3)), torch.full((1, 3), 9.0)

    G.encoder = encoder
    x = torch.zeros(2, 4, 64, 64, dtype=torch.uint8)
    for names in (["a", "b"], ["c", "d"]):
        reader.forward(G, x, names)
    expected = torch.from_numpy(cover_crop(picture, (64, 64))).permute(2, 0, 1)[None].float() / 127.5 - 1
    assert len(asked) == 1 and torch.equal(asked[0], expected)
    assert all(torch.equal(seen.style, expected.mean((2, 3)).expand(2, 3)) for seen in G.seen)
