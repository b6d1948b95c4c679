"""OASIS: its losses against loops over pixels, its discriminator, LabelMix, and the terms of both steps."""

import copy
import math
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from runs import final
from torch import nn

import train_spade
from data.diffaugment import augment_alike
from engine.chance import alone
from losses.oasis import class_loss, class_weights, fake_class_loss, labelmix_loss, labelmix_mask, realness
from losses.spade import labeled, oasis_discriminator_terms, oasis_generator_terms
from models import build
from models.spade_oasis import OasisDiscriminator, ResBlock
from options.load import load
from options.spade import DEFAULT_FILE, SpadeOptions

CLASSES = 4
OASIS = ["model.discriminator=oasis", "loss.penalty=none", "loss.feature_matching=0"]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def case() -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of 4 classes and the fake one, and labels with ignored pixels, without class 1, with few of class 3."""
    y = 2 * torch.randint(0, 2, (2, 6, 5))
    y[0, :2, 0], y[1, 3, 3], y[0, 4] = 3, 3, 255
    assert set(y.unique().tolist()) == {0, 2, 3, 255}
    return torch.randn(2, CLASSES + 1, 6, 5, dtype=torch.float64, requires_grad=True), y


def minus_log_p(logits: torch.Tensor, k: int) -> float:
    """Of one pixel's logits [N + 1]."""
    values = [math.exp(v) for v in logits.tolist()]
    return -math.log(values[k] / sum(values))


def labels_of(y: torch.Tensor) -> list[tuple[int, int, int, int]]:
    """(sample, row, column, class) of the labelled pixels."""
    places = [(b, i, j) for b in range(y.shape[0]) for i in range(y.shape[1]) for j in range(y.shape[2])]
    return [(*place, int(y[place])) for place in places if y[place] != 255]


# ---- the losses


def test_class_weights_are_equation_2():
    _, y = case()
    counts = [sum(k == c for *_, k in labels_of(y)) for c in range(CLASSES)]
    expected = [6 * 5 / (n / 2) if n else 0 for n in counts]  # H W / the pixels of a class in a sample, on average
    assert class_weights(y, CLASSES).tolist() == pytest.approx(expected)


def test_the_class_loss_weighs_every_class_alike(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    logits, y = case()
    by_class = {}
    for b, i, j, k in labels_of(y):
        by_class.setdefault(k, []).append(minus_log_p(logits[b, :, i, j], k))
    expected = sum(sum(values) / len(values) for values in by_class.values()) / len(by_class)
    found = class_loss(logits, y)
    assert found.item() == pytest.approx(expected, rel=1e-12)
    alpha = class_weights(y, CLASSES).tolist()  # Eq. 1 and 3, divided by the sum of the weights
    pixels = [(alpha[k], minus_log_p(logits[b, :, i, j], k)) for b, i, j, k in labels_of(y)]
    assert found.item() == pytest.approx(sum(a * v for a, v in pixels) / sum(a for a, _ in pixels), rel=1e-12)
    found.backward()
    assert not logits.grad[0, :, 4].any() and logits.grad[0, :, 3].all(), "ignored pixels teach nothing"


def test_the_fake_loss_is_the_mean_over_the_labelled_pixels(monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    logits, y = case()
    values = [minus_log_p(logits[b, :, i, j], CLASSES) for b, i, j, _ in labels_of(y)]
    assert fake_class_loss(logits, y).item() == pytest.approx(sum(values) / len(values), rel=1e-12)


def test_without_a_labelled_pixel_the_losses_are_0():
    logits, y = case()
    for loss in (class_loss, fake_class_loss):
        value = loss(logits, torch.full_like(y, 255))
        value.backward()
        assert value == 0 and not logits.grad.any()


def test_realness_is_the_mean_probability_of_the_true_classes():
    logits, _ = case()
    pixels = [logits[b, :, i, j] for b in range(2) for i in range(6) for j in range(5)]
    expected = [sum(math.exp(-minus_log_p(pixel, k)) for k in range(CLASSES)) for pixel in pixels]
    found = realness(logits)
    assert found.item() == pytest.approx(sum(expected) / 60, rel=1e-6) and not found.requires_grad


# ---- LabelMix


def test_the_mask_is_drawn_for_each_class_of_each_sample():
    y = torch.randint(0, CLASSES, (64, 8, 8))
    y[:, :2] = 255
    mask = labelmix_mask(y, CLASSES)
    assert mask.shape == (64, 1, 8, 8) and mask.dtype == torch.bool
    lots = []
    for b in range(64):
        for k in (*range(CLASSES), 255):
            inside = mask[b, 0][y[b] == k]
            assert inside.all() or not inside.any(), "no border inside a class"
            lots.append(bool(inside[0]))
    assert 0.4 < sum(lots) / len(lots) < 0.6
    assert len({tuple(lots[i : i + 5]) for i in range(0, len(lots), 5)}) > 16, "every sample has its own"


def test_the_consistency_is_a_loop_and_0_for_a_d_that_judges_pixels_alone():
    x, fake, y = torch.randn(2, 3, 6, 5), torch.randn(2, 3, 6, 5), torch.randint(0, CLASSES, (2, 6, 5))
    mask = labelmix_mask(y, CLASSES)
    assert mask.any() and not mask.all()
    mixed = torch.where(mask, x, fake)
    for D, wide in ((nn.Conv2d(3, CLASSES + 1, 1), False), (nn.Conv2d(3, CLASSES + 1, 3, padding=1), True)):
        found = labelmix_loss(D(mixed), D(x), D(fake), mask)
        squares = [
            (D(mixed)[b, :, i, j] - D(x if mask[b, 0, i, j] else fake)[b, :, i, j]).square().mean()
            for b in range(2)
            for i in range(6)
            for j in range(5)
        ]
        torch.testing.assert_close(found, sum(squares) / 60)
        assert (found > 1e-3) if wide else (found < 1e-10)


# ---- the discriminator


@pytest.mark.parametrize("conv_norm", ["none", "spectral"])
@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_it_gives_every_pixel_logits_of_all_classes_and_the_fake_one(norm, conv_norm):
    D = OasisDiscriminator(6, CLASSES, 4, 4, conv_norm, norm)
    ((logits,),) = D(torch.randn(2, 6, 64, 128))
    assert logits.shape == (2, CLASSES + 1, 64, 128)
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in D.parameters())


def test_its_layout_is_the_papers():
    """Down 128, 128, 256, 256, 512, 512; up 512, 256, 256, 128, 128, 64, each but the first beside a map from the way
    down. Parameters: two 3x3 convolutions a block, 1x1 where the channels change, all with biases.
    """
    D = OasisDiscriminator(3, 150)
    down, up = [128, 128, 256, 256, 512, 512], [512, 256, 256, 128, 128, 64]
    blocks = list(zip([3, *down], down, strict=False)) + [(512, 512), (1024, 256), (512, 256), (512, 128), (256, 128)]
    blocks.append((256, 64))
    assert [(b.conv1.in_channels, b.conv2.out_channels) for b in (*D.down, *D.up)] == blocks
    assert [b.conv2.out_channels for b in D.up] == up
    expected = sum(9 * i * o + o + 9 * o * o + o + (i * o + o) * (i != o) for i, o in blocks) + 64 * 151 + 151
    assert sum(p.numel() for p in D.parameters()) == expected
    sizes = []
    for block in (*D.down, *D.up):
        block.register_forward_hook(lambda *given: sizes.append(given[-1].shape[2]))
    with torch.no_grad():
        D(torch.zeros(1, 3, 64, 64))
    assert sizes == [32, 16, 8, 4, 2, 1, 2, 4, 8, 16, 32, 64]


@pytest.mark.parametrize("scale", [0.5, 2])
def test_a_block_is_a_sum_at_half_or_twice_the_size(scale):
    block, x = ResBlock(6, 3, scale, conv_norm="none", norm="instance"), torch.randn(2, 6, 8, 8)
    kept = x.clone()

    def up(h):
        return h.repeat_interleave(2, 2).repeat_interleave(2, 3) if scale == 2 else h

    def normed(h):
        variance, mean = torch.var_mean(h, (2, 3), correction=0, keepdim=True)
        return F.leaky_relu((h - mean) / (variance + 1e-5).sqrt(), 0.2)

    h = block.conv2(normed(block.conv1(up(normed(x))))) + up(block.shortcut(x))
    if scale == 0.5:
        h = (h[..., ::2, ::2] + h[..., 1::2, ::2] + h[..., ::2, 1::2] + h[..., 1::2, 1::2]) / 4
    torch.testing.assert_close(block(x), h)
    assert torch.equal(x, kept)


@pytest.mark.parametrize(("size", "levels"), [("64", 4), ("128", 5), ("192", 5), ("[64, 256]", 4), ("512", 6)])
def test_it_is_as_deep_as_the_pictures_ask_for(size, levels):
    words = [*OASIS, f"data.size={size}", "model.d_width=2", "model.d_norm=none"]
    opt = load(SpadeOptions, words, DEFAULT_FILE)
    D = build.spade_discriminator(opt)
    assert (len(D.down), D.down[0].conv1.in_channels, D.to_logits.out_channels) == (levels, 6, 5 + 1)
    side = 2**levels
    assert D(torch.zeros(1, 6, side, 2 * side))[0][0].shape == (1, 6, side, 2 * side)
    assert "data.size" in opt.network_keys
    no_colour = load(SpadeOptions, [*words, "data.color=false"], DEFAULT_FILE)
    assert build.spade_discriminator(no_colour).down[0].conv1.in_channels == 3


# ---- what D sees


def batch() -> tuple:
    y = torch.randint(0, CLASSES, (3, 16, 16))
    y[:, 5:7] = 255
    return None, torch.rand(3, 3, 16, 16) + 0.5, torch.rand(3, 3, 16, 16) + 0.5, y


def test_labels_move_with_the_pictures_and_what_is_cut_out_has_none():
    real = batch()
    *_, x, c, y = real
    coded = torch.cat([(y == k).unsqueeze(1).float() + 0.5 for k in (0, 1, 2)], 1)  # a picture that tells its labels
    seen, moved = labeled(coded, real, augment_alike(("translation", "cutout")))
    assert seen.shape == (3, 6, 16, 16) and moved.dtype == torch.long
    empty = (seen == 0).all(1)
    assert empty.any() and (moved[empty] == 255).all()
    for k in (0, 1, 2):
        assert torch.equal(seen[:, k][~empty] == 1.5, moved[~empty] == k)
    assert not torch.equal(moved, y) and (moved[~empty] == 255).any()


@pytest.mark.parametrize("with_colours", [True, False])
def test_without_augmentation_all_is_as_it_was(with_colours):
    m, x, c, y = batch()
    real = (m, x, c if with_colours else None, y)
    seen, classes = labeled(x, real, augment_alike(()))
    assert torch.equal(classes, y)
    assert torch.equal(seen, torch.cat((x, c), 1) if with_colours else x)


RUN = SimpleNamespace(
    autocast=lambda: nullcontext(), place=lambda x, last_on_cpu: x, draw=alone, mean=lambda part: part
)


def test_the_terms_of_both_steps():
    opt = load(SpadeOptions, [*OASIS, "loss.labelmix=3"], DEFAULT_FILE)
    m, x, c, y = real = batch()
    fake, D = torch.rand_like(x).requires_grad_(), nn.Conv2d(6, CLASSES + 1, 3, padding=1)
    seen = []

    def judge(pictures):
        seen.append(pictures.detach())
        return [[D(pictures)]]

    terms = oasis_discriminator_terms(RUN, judge, real, fake, opt.loss)
    on_x, on_fake = (D(torch.cat((pictures, c), 1)) for pictures in (x, fake))
    assert terms.keys() == {"D_real", "D_fake", "labelmix", "D_x", "D_G_z"} and len(seen) == 3
    assert (terms["D_x"], terms["D_G_z"]) == (realness(on_x), realness(on_fake))
    torch.testing.assert_close(terms["D_real"], class_loss(on_x, y))
    torch.testing.assert_close(terms["D_fake"], fake_class_loss(on_fake, y))
    mask = (seen[2] == seen[0]).all(1, keepdim=True)
    assert mask.any() and not mask.all() and torch.equal(seen[2], torch.where(mask, seen[0], seen[1]))
    torch.testing.assert_close(terms["labelmix"], labelmix_loss(D(seen[2]), on_x, on_fake, mask))
    sum(terms.values()).backward()
    assert fake.grad is None and D.weight.grad.any()
    terms = oasis_generator_terms(RUN, judge, real, fake, opt.loss)
    torch.testing.assert_close(terms["adv"], class_loss(on_fake, y))
    terms["adv"].backward()
    assert fake.grad.any()
    assert "labelmix" not in oasis_discriminator_terms(
        RUN, judge, real, fake, load(SpadeOptions, [*OASIS, "loss.labelmix=0"], DEFAULT_FILE).loss
    )


def test_what_is_augmented_is_mixed_where_its_labels_are():
    opt = load(SpadeOptions, [*OASIS, "loss.diffaugment=color,translation,cutout"], DEFAULT_FILE)
    real, seen = batch(), []
    fake = torch.rand_like(real[1]) + 2

    def judge(pictures):
        seen.append(pictures)
        return [[pictures[:, :1].repeat(1, CLASSES + 1, 1, 1)]]

    terms = oasis_discriminator_terms(RUN, judge, real, fake, opt.loss)
    assert torch.equal(seen[0][:, 3:], seen[1][:, 3:]), "the colours of both are moved alike"
    assert not torch.equal(seen[0][:, 3:], real[2])
    assert terms["labelmix"] == 0, "this D sees pixels alone"


def test_the_weighted_sums_of_a_training_step(tiny_spade, tmp_path, monkeypatch):
    words = "loss.labelmix=4 loss.d_weight=0.3 loss.adv=5 optim.d_lr=0.01 optim.g_lr=0.01 optim.d_steps=1 run.steps=1"
    opt = tiny_spade("run", *OASIS, *words.split(), "optim.poly_start=1")
    G, D = build.spade_generator(opt), build.spade_discriminator(opt)
    before = {name: copy.deepcopy(network.state_dict()) for name, network in (("G", G), ("D", D))}
    monkeypatch.setattr(build, "spade_generator", lambda _: G)
    monkeypatch.setattr(build, "spade_discriminator", lambda _: D)
    monkeypatch.setattr(train_spade, "adam", lambda parameters, lr, betas: torch.optim.SGD(parameters, lr))

    def total(network):
        return sum(p.sum() for p in network.parameters())

    terms = {"D_real": 1.0, "D_fake": 2.0, "labelmix": 3.0}
    monkeypatch.setattr(
        train_spade, "oasis_discriminator_terms", lambda *_: {name: total(D) * k for name, k in terms.items()}
    )
    monkeypatch.setattr(train_spade, "oasis_generator_terms", lambda *_: {"adv": total(G)})
    train_spade.train(opt)
    after = final(tmp_path / "run")
    for name, network, slope in (("G", G, 5.0), ("D", D, 0.3 * (1 + 2 + 4 * 3))):
        for key, _ in network.named_parameters():
            torch.testing.assert_close(after[name][key], before[name][key] - 0.01 * slope)
