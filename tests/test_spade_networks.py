"""The SPADE networks against the Chainer original, the paper's facts, mapping networks, colour and noise."""

import json
from pathlib import Path

import chainer
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from spade_inputs import random_conditions

from models.attention import SelfAttention
from models.chainer_tables import SPADE_DISCRIMINATOR, SPADE_GENERATOR
from models.mapping import MappingNetwork
from models.spade_discriminator import ResBlock, SpadeDiscriminator
from models.spade_encoder import StyleEncoder
from models.spade_generator import SpadeGenerator
from models.spade_layers import SPADE
from models.spade_paper import PaperGenerator

FIXTURES = Path(__file__).parent / "fixtures"
SHARED = Path(__file__).parents[2] / "shared/fixtures/spade"
shared = [pytest.mark.shared, pytest.mark.skipif(not SHARED.is_dir(), reason="needs ../shared")]


def count(network):
    return sum(p.numel() for p in network.parameters())


def part(arrays, prefix):
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


def close(actual, expected, tolerance):
    """Within the tolerance at the places that the reference file holds."""
    stride = -(-actual.shape[-1] // expected.shape[-1])
    torch.testing.assert_close(actual[..., ::stride, ::stride], torch.from_numpy(expected), rtol=0, atol=tolerance)


def assert_state(net, arrays, table):
    """The running statistics and u after one train-mode forward."""
    state, expected = net.state_dict(), chainer.state_dict(part(arrays, "after_train/"), table)
    assert expected
    for key, value in expected.items():
        if not key.endswith("num_batches_tracked"):  # Chainer's N stays 0
            torch.testing.assert_close(state[key], value, rtol=1e-5, atol=1e-5, msg=key)


def conditions(arrays):
    """The file's label, one-hot without background, and colour, masked by the hair class 2."""
    ids = torch.from_numpy(arrays["label_index_u8"]).long()
    label = F.one_hot(ids, 5)[..., :4].permute(0, 3, 1, 2).float().contiguous()
    return label, (unit(arrays["colour_u8"]) * label[:, 2:3]).contiguous()


def unit(u8):
    return torch.from_numpy(u8.astype(np.float32) / np.float32(255)).permute(0, 3, 1, 2)


# ---- the original


def assert_generator(net, weights, arrays, suffix, tolerance):
    label, color = conditions(arrays)
    close(net.eval()(label, color), arrays[f"out_eval{suffix}"], tolerance)
    close(net.train()(label, color), arrays[f"out_train{suffix}"], tolerance)
    assert_state(net, arrays, SPADE_GENERATOR)
    chainer.load(net.eval(), weights | part(arrays, "noise_gamma/"), SPADE_GENERATOR)
    rng = np.random.RandomState(int(arrays["noise_seed"]))
    noise = [torch.from_numpy(rng.normal(size=(1, 1, *s)).astype(np.float32)) for s in net.noise_shapes(256, 256)]
    close(net(label, color, noise), arrays[f"out_eval_noise{suffix}"], tolerance)


@torch.no_grad()
def test_generator_is_the_original():
    arrays = dict(np.load(FIXTURES / "spade_nearest.npz"))
    weights = part(arrays, "gen/")
    net = chainer.load(SpadeGenerator(4, 2, 8, upsample="nearest"), weights, SPADE_GENERATOR)
    assert_generator(net, weights, arrays, "_s9", 3e-5)


@pytest.mark.parametrize(
    ("folder", "net", "tolerance"),
    [
        pytest.param("g_sn", lambda: SpadeGenerator(4, 8, 16), 3e-4, marks=shared),
        pytest.param("g_sn_nearest", lambda: SpadeGenerator(4, 2, 8, upsample="nearest"), 3e-5, marks=shared),
    ],
)
@torch.no_grad()
def test_generators_are_the_original(folder, net, tolerance):
    arrays, weights = (dict(np.load(SHARED / folder / f"{name}.npz")) for name in ("io", "gen"))
    net = chainer.load(net(), weights, SPADE_GENERATOR)
    label, color = conditions(arrays)
    for mapping, condition, key in ((net.label_mapping, label, "w1"), (net.color_mapping, color, "w2")):
        close(mapping(condition), arrays[f"{key}_eval_s16"], tolerance)
    assert_generator(net, weights, arrays, "", tolerance)


@pytest.mark.parametrize("folder", [pytest.param("d_sn", marks=shared)])
@torch.no_grad()
def test_discriminator_is_the_original(folder):
    arrays, weights = (dict(np.load(SHARED / folder / f"{name}.npz")) for name in ("io", "dis"))
    net = chainer.load(SpadeDiscriminator(10, 8), weights, SPADE_DISCRIMINATOR)
    label, color = conditions(arrays)
    x = torch.cat((label, unit(arrays["image_u8"]) * 2 - 1, color), 1).contiguous()
    for mode in ("eval", "train"):
        *maps, logits = net.train(mode == "train")(x)[0]
        close(logits, arrays[f"out_{mode}"], 2e-4)
        for i, (map_, stride) in enumerate(zip(maps, arrays["fm_strides"], strict=True)):
            close(map_[..., ::stride, ::stride], arrays[f"fm{i}_{mode}"], 2e-4)
    assert_state(net, arrays, SPADE_DISCRIMINATOR)


@pytest.mark.parametrize(
    ("file", "net", "table"),
    [
        pytest.param("gen_spade", SpadeGenerator, SPADE_GENERATOR, marks=shared),
        pytest.param("dis_patch", lambda: SpadeDiscriminator(10), SPADE_DISCRIMINATOR, marks=shared),
    ],
)
def test_default_networks_take_the_originals_files(file, net, table):
    spec = json.loads((SHARED / f"spec_default_{file}.json").read_text())
    net = chainer.load(net(), {k: np.zeros(shape, dtype) for k, (shape, dtype) in spec["keys"].items()}, table)
    assert count(net) == spec["n_params"]


def test_parameter_counts_of_the_original():
    assert count(SpadeGenerator()) == 19_884_535
    assert count(SpadeDiscriminator(10)) == 10_870_562


def test_sub_pixel_keys_of_the_original():
    arrays = {f"up{i + 1}/c/c/W": np.zeros((4, 1, 3, 3), np.float32) for i in range(6)}
    keys = set(chainer.state_dict(arrays, SPADE_GENERATOR))
    assert keys < set(SpadeGenerator(width=2, code_width=8, upsample="subpixel").state_dict())


def test_attention_weights_sum_to_one_over_the_queries():
    layer, x = SelfAttention(16, 4).double(), torch.randn(2, 16, 5, 3, dtype=torch.float64)
    assert torch.equal(layer(x), x)  # gamma starts at 0
    torch.nn.init.constant_(layer.gamma, 0.7)
    query, key, value = (conv(x).flatten(2) for conv in (layer.query, layer.key, layer.value))
    weights = torch.einsum("bcq,bck->bqk", query, key).softmax(1)
    expected = x + 0.7 * layer.out(torch.einsum("bcq,bqk->bck", value, weights).view(2, 4, 5, 3))
    torch.testing.assert_close(layer(x), expected)


@torch.no_grad()
def test_attention_sits_between_the_third_convolution_and_its_norm():
    net, called = SpadeDiscriminator(3, 4), []
    for name, layer in net.named_children():
        layer.register_forward_hook(lambda *_, name=name: called.append(name))
    net(torch.randn(1, 3, 64, 64))
    assert called[1:7] == ["conv2", "norm2", "conv3", "attention", "norm3", "conv4"]


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_residual_block_of_the_discriminator(norm):
    block, x = ResBlock(6, 3, "none", norm), torch.randn(2, 6, 8, 8)
    kept = x.clone()
    twice = F.leaky_relu(F.leaky_relu(block.norm1(x), 0.2), 0.2)
    h = block.conv2(F.leaky_relu(block.norm2(block.conv1(twice)), 0.2))
    expected = h + block.shortcut_conv(F.leaky_relu(block.shortcut_norm(x), 0.2))
    torch.testing.assert_close(block(x), expected)
    assert torch.equal(x, kept)


def test_spade_is_equation_1():
    layer, x, code = SPADE(5, 6), torch.randn(2, 6, 8, 8), torch.randn(2, 5, 8, 8)
    for p in layer.parameters():
        torch.nn.init.normal_(p, 0, 0.3)
    mean, var = x.mean((0, 2, 3), keepdim=True), x.var((0, 2, 3), keepdim=True, unbiased=False)
    expected = (x - mean) / (var + 1e-5).sqrt() * (1 + layer.gamma(code)) + layer.beta(code)
    torch.testing.assert_close(layer(x, code), expected, rtol=1e-4, atol=1e-5)


# ---- the paper


def paper_count(condition, width=64, hidden=128):
    """Parameters by the layout of Appendix A: seven blocks, a 1x1 shortcut where the channels change."""

    def spade(channels):
        return 9 * condition * hidden + hidden + 2 * (9 * hidden * channels + channels)

    total = 9 * condition * 16 * width + 16 * width + 27 * width + 3  # first and last convolution
    for cin, cout in [(16, 16)] * 3 + [(16, 8), (8, 4), (4, 2), (2, 1)]:
        i, o = cin * width, cout * width
        total += spade(i) + spade(o) + 9 * i * o + o + 9 * o * o + o
        total += (spade(i) + i * o) if i != o else 0
    return total


def test_parameter_counts_of_the_paper():
    assert count(PaperGenerator(4)) == paper_count(7) == 92_179_395
    assert count(PaperGenerator(151, color=False)) == paper_count(151) == 96_492_483  # ADE20K
    with_style = count(PaperGenerator(4, style=256)) - paper_count(7)
    assert with_style == 256 * 16_384 + 16_384 - (9 * 7 * 1024 + 1024)  # Linear(256, 16384) for the first convolution
    convs = 9 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 2 * 512 * 512)
    assert count(StyleEncoder()) == convs + 2 * (8192 * 256 + 256)  # Linear(8192, 256) twice


def test_paper_blocks_see_the_condition_at_their_own_size():
    net, seen = PaperGenerator(4, 2, 4), []
    for block in net.blocks:
        block.register_forward_pre_hook(lambda _, args: seen.append(args[:2]))
    condition = torch.cat(random_conditions(1, 64, 128), 1)
    net(condition[:, :4], condition[:, 4:])
    for level, (x, resized) in enumerate(seen):
        assert x.shape[2:] == (1 << level, 2 << level)
        assert torch.equal(resized, condition[..., :: 64 >> level, :: 64 >> level])  # nearest: the upper left one
    assert len(seen) == 7


# ---- mapping networks, colour and noise


def test_mapping_network_sees_17_pixels():
    net, x = MappingNetwork(2, 16), torch.zeros(1, 2, 40, 40, requires_grad=True)
    for p in net.parameters():
        torch.nn.init.constant_(p, 0.1)
    code = net(x)
    assert code.shape == (1, 16, 40, 40)
    code[0, 0, 20, 20].backward()
    assert (x.grad[0, 0] != 0).any(1).sum() == 17
    assert [conv.out_channels for conv in net.convs] == [2, 4, 8, 16]


@torch.no_grad()
def test_mapping_networks_run_once_and_colour_enters_the_last_two_blocks():
    net, calls, maps = SpadeGenerator(4, 2, 8).eval(), [], []
    for mapping in (net.label_mapping, net.color_mapping):
        mapping.register_forward_hook(lambda *_: calls.append(1))
    for level in (4, 5):
        net.blocks[level].register_forward_hook(lambda _, args, h: maps.append(h))
    label, color = random_conditions()
    net(label, color)
    assert len(calls) == 2
    net(label, 1 - color)
    assert torch.equal(maps[0], maps[2]) and not torch.equal(maps[1], maps[3])


@torch.no_grad()
def test_noise():
    shapes = SpadeGenerator(4, 2, 8).noise_shapes(256, 256)
    assert shapes == [(s, s) for s in (4, 4, 8, 8, 16, 16, 32, 32, 32, 64, 64, 64, 128, 128, 128, 256, 256, 256)]
    net, (label, color) = SpadeGenerator(4, 2, 8).eval(), random_conditions()
    assert torch.equal(net(label, color), net(label, color))  # strengths start at 0
    for key, p in net.named_parameters():
        if "noise" in key:
            p.fill_(0.3)
    noise = [torch.randn(2, 1, *shape) for shape in net.noise_shapes(64, 128)]
    assert torch.equal(net(label, color, noise), net(label, color, noise))
    for i in range(len(noise)):  # every map is used
        other = [*noise[:i], noise[i] + 1, *noise[i + 1 :]]
        assert not torch.equal(net(label, color, noise), net(label, color, other)), i
    torch.manual_seed(3)
    drawn = [torch.randn(2, 1, *shape) for shape in net.noise_shapes(64, 128)]
    torch.manual_seed(3)
    assert torch.equal(net(label, color), net(label, color, drawn))
    quiet = SpadeGenerator(4, 2, 8, noise=False)
    assert quiet.noise_shapes(64, 64) == [] and not any("noise" in key for key in quiet.state_dict())


def test_deconvolution_up_samples():
    net = SpadeGenerator(4, 2, 8, upsample="deconv")
    assert net.ups[0](torch.randn(1, 16, 3, 5)).shape == (1, 16, 6, 10)


def test_sides_that_are_no_multiples_of_64_are_refused():
    for net in (SpadeGenerator(4, 2, 8), PaperGenerator(4, 2, 4)):
        with pytest.raises(AssertionError):
            net(torch.zeros(1, 4, 64, 96), torch.zeros(1, 3, 64, 96))
