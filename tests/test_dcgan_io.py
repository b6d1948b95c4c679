"""Latents of the dcgan family: chance by number, slices of one size, ways from one to another."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from test_predict_dcgan import make_checkpoint
from test_predict_dcgan import run as run_predict

import predict
from models import build
from models.latents import SLICE, draw_latents, generate, linear, random_latents, spherical
from options.dcgan import DEFAULT_FILE, DcganOptions
from options.load import load


def options(*words: str) -> DcganOptions:
    return load(DcganOptions, ["data.size=64", "model.g_width=4", "model.z=6", *words], DEFAULT_FILE)


def test_latents_are_a_function_of_seed_and_number():
    opt = options("model.z=100")
    z, y = draw_latents(opt, range(40), 3)
    assert y is None and z.shape == (40, 100) and z.dtype == torch.float32
    assert torch.equal(draw_latents(opt, [17, 2], 3)[0], z[[17, 2]])
    assert not torch.equal(draw_latents(opt, range(40), 4)[0], z)
    assert len({tuple(row.tolist()) for row in z}) == 40
    assert abs(z.mean()) < 0.05 and abs(z.std() - 1) < 0.05


def test_binary_latents_are_of_two_values():
    z, _ = draw_latents(options("model.z=100", "model.latent=binary"), range(40))
    assert set(z.unique().tolist()) == {-1, 1} and abs(z.mean()) < 0.06
    torch.manual_seed(1)
    z = random_latents(50, 8, "binary")
    assert z.shape == (50, 8) and set(z.unique().tolist()) == {-1, 1}
    torch.manual_seed(1)
    assert torch.equal(random_latents(50, 8, "binary"), z)


@pytest.mark.parametrize("count", [1, SLICE, SLICE + 1])
def test_generate_gives_as_many_pictures_as_latents(count):
    opt = options()
    G = build.dcgan_generator(opt).eval()
    sizes = []
    G.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
    z, y = draw_latents(opt, range(count))
    assert generate(G, z, y).shape == (count, 3, 64, 64)
    assert set(sizes) == {SLICE}


@pytest.mark.parametrize(("count", "most", "columns", "rows"), [(70, 1024, 9, 8), (70, 20, 8, 3), (5, 1024, 5, 1)])
def test_the_grid_of_another_count_than_64(tmp_path, monkeypatch, count, most, columns, rows):
    """8 columns, of many pictures as many as rows, and of very many not all."""
    monkeypatch.setattr("data.dcgan_io.MOST_IN_GRID", most)
    weights = make_checkpoint(tmp_path / "dcgan.pt")
    run_predict(monkeypatch, "--weights", weights, "--output", tmp_path / "out", "--count", count, "--grid")
    grid = np.asarray(Image.open(tmp_path / "out" / "grid.png"))
    assert grid.shape == (66 * rows - 2, 66 * columns - 2, 3)
    for number in (0, 1, min(count, most) - 1):
        down, right = 66 * (number // columns), 66 * (number % columns)
        cell = grid[down : down + 64, right : right + 64]
        assert np.array_equal(cell, np.asarray(Image.open(tmp_path / "out" / f"{number:04}.png")))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_is_that_of_the_layers(tmp_path, monkeypatch, precision):
    weights, plain, dtypes = make_checkpoint(tmp_path / "dcgan.pt"), predict.load_network, []

    def load_network(*args):
        network, *rest = plain(*args)
        network.ups.layers[0].register_forward_hook(lambda module, inputs, output: dtypes.append(output.dtype))
        return network, *rest

    monkeypatch.setattr(predict, "load_network", load_network)
    words = ["--weights", weights, "--output", tmp_path / "out", "--count", 1, "--precision", precision]
    run_predict(monkeypatch, *words)
    assert dtypes == [{"fp32": torch.float32, "bf16": torch.bfloat16}[precision]]


def test_slerp_is_shoemakes_formula_between_latents_of_one_length():
    a, b = torch.randn(2, 100, generator=torch.Generator().manual_seed(0))
    b *= a.norm() / b.norm()
    t = torch.linspace(0, 1, 9)
    angle = math.acos(float(a @ b / a.norm() / b.norm()))
    expected = [(math.sin((1 - s) * angle) * a + math.sin(s * angle) * b) / math.sin(angle) for s in t.tolist()]
    torch.testing.assert_close(spherical(a, b, t), torch.stack(expected))


@pytest.mark.parametrize("size", [1, 2, 100])
@pytest.mark.parametrize("how", ["apart", "same", "near", "opposite", "nearly opposite", "zero"])
@pytest.mark.parametrize("between", [spherical, linear])
def test_interpolation_meets_its_ends_and_is_finite_and_smooth(size, how, between):
    a, other = torch.randn(2, size, generator=torch.Generator().manual_seed(5))
    b = {
        "apart": other,
        "same": a.clone(),
        "near": a + 1e-7 * other,
        "opposite": -a,
        "nearly opposite": -1.5 * a + 1e-6 * other,
        "zero": torch.zeros(size),
    }[how]
    z = between(a, b, torch.linspace(0, 1, 101))
    assert z.shape == (101, size) and z.dtype == torch.float32 and z.isfinite().all()
    assert torch.equal(z[0], a)
    torch.testing.assert_close(z[-1], b, atol=1e-6, rtol=1e-5)
    longest = max(a.norm(), b.norm())
    assert z.norm(dim=1).max() <= longest * 1.001
    assert (z[1:] - z[:-1]).norm(dim=1).max() <= 0.05 * longest, "a jump"
    if size > 1 and between is spherical:
        assert z.norm(dim=1).min() >= min(a.norm(), b.norm()) * 0.999


def test_straight_lines_cut_through_the_sphere():
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    half = torch.tensor([0.5])
    assert linear(a, b, half).tolist() == [[1, 1]]
    torch.testing.assert_close(spherical(a, b, half), torch.full((1, 2), 2**0.5))
