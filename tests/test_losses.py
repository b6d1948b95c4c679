"""losses/gan.py and losses/segmentation.py against the Chainer originals and naive references."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from data.palette import one_hot
from losses import gan
from losses import segmentation as seg

ARRAYS = dict(np.load(Path(__file__).parent / "fixtures/seg_losses.npz"))
CHAINER_MODE = {"bce": "bce", "lsgan": "mse", "hinge": "hinge"}
GENERATOR = torch.Generator().manual_seed(0)


def leaf(name):
    return torch.from_numpy(ARRAYS[name]).requires_grad_()


def close(actual, expected, tolerance=1e-6):
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual.detach(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("mode", CHAINER_MODE)
def test_discriminator_loss_of_the_original(mode):
    stored = f"dis_loss/{CHAINER_MODE[mode]}"
    real, fake = leaf("real_d"), leaf("fake_d")
    loss_real, loss_fake = gan.real_loss(mode, real), gan.fake_loss(mode, fake)
    close(loss_real, ARRAYS[f"{stored}/real_loss"])
    close(loss_fake, ARRAYS[f"{stored}/fake_loss"])
    (0.5 * (loss_real + loss_fake)).backward()
    close(real.grad, ARRAYS[f"{stored}/grad_real_d"])
    close(fake.grad, ARRAYS[f"{stored}/grad_fake_d"])


@pytest.mark.parametrize("mode", CHAINER_MODE)
def test_supervised_generator_loss_of_the_original(mode):
    stored = f"gen_loss/{CHAINER_MODE[mode]}"
    target, p, logits = torch.from_numpy(ARRAYS["real_g"]), leaf("fake_g"), leaf("fake_d")
    y = target.argmax(1).where(target.any(1), 255)
    loss_gan = gan.generator_loss(mode, logits)
    loss_ce = seg.cross_entropy(torch.log(p + 1e-12), y, mean="all")
    close(loss_gan, ARRAYS[f"{stored}/fake_loss"])
    close(loss_ce, ARRAYS[f"{stored}/ce_loss"])
    loss = 0.01 * loss_gan + loss_ce
    close(loss, ARRAYS[f"{stored}/loss"])
    loss.backward()
    close(p.grad, ARRAYS[f"{stored}/grad_fake_g"])
    close(logits.grad, ARRAYS[f"{stored}/grad_fake_d"])
    assert torch.equal(one_hot(y, 5), target)


@pytest.mark.parametrize("mode", CHAINER_MODE)
def test_semi_supervised_loss_of_the_original(mode):
    stored = f"gen_semi_loss/{CHAINER_MODE[mode]}"
    p, logits = leaf("unlabel_g"), leaf("unlabel_d")
    loss_gan = gan.generator_loss(mode, logits)
    loss_st = seg.self_taught_loss(torch.log(p + 1e-12), logits, 0.2, mean="all")
    close(loss_gan, ARRAYS[f"{stored}/semi_fake_loss"])
    close(0.1 * loss_st, ARRAYS[f"{stored}/semi_st_loss"])
    loss = 0.001 * loss_gan + 0.1 * loss_st
    close(loss, ARRAYS[f"{stored}/semi_loss"])
    loss.backward()
    close(p.grad, ARRAYS[f"{stored}/grad_unlabel_g"])
    close(logits.grad, ARRAYS[f"{stored}/grad_unlabel_d"])


def test_gan_losses_are_float32_and_know_their_modes():
    assert gan.fake_loss("hinge", torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.float32
    for loss in (gan.real_loss, gan.fake_loss, gan.generator_loss):
        with pytest.raises(AssertionError):
            loss("wasserstein", torch.zeros(1))


def sample(classes=4, ignored=0.3, absent=None):
    """Random log-probabilities [2,C,5,6] and labels with ignored pixels and, if asked, an absent class."""
    logits = torch.randn(2, classes, 5, 6, generator=GENERATOR) * 2
    y = torch.randint(0, classes, (2, 5, 6), generator=GENERATOR)
    if absent is not None:
        y[y == absent] = (absent + 1) % classes
    y[torch.rand(y.shape, generator=GENERATOR) < ignored] = 255
    return logits.log_softmax(1), y


def labelled(log_p, y):
    """The labelled pixels alone: probabilities [N,C] and labels [N]."""
    valid = y.flatten() != 255
    return log_p.exp().permute(0, 2, 3, 1).flatten(0, 2)[valid], y.flatten()[valid]


@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy_is_torchs(weighted):
    log_p, y = sample()
    weight = torch.tensor([0.5, 2.0, 1.0, 3.0]) if weighted else None
    close(seg.cross_entropy(log_p, y, weight), F.nll_loss(log_p, y, weight, ignore_index=255))
    total = F.nll_loss(log_p, y, weight, ignore_index=255, reduction="sum")
    close(seg.cross_entropy(log_p, y, weight, mean="all"), total / log_p.numel())


def test_self_taught_loss_reads_only_trusted_pixels():
    log_p, _ = sample()
    p = log_p.exp()
    confidence = torch.randn(2, 1, 5, 6, generator=GENERATOR)
    confidence[0, 0, 0, 0] = 0.0  # sigmoid = 0.5: not above the threshold
    terms = [
        -math.log(p[b, :, i, j].max())
        for b in range(2)
        for i in range(5)
        for j in range(6)
        if torch.sigmoid(confidence[b, 0, i, j]) > 0.5
    ]
    close(seg.self_taught_loss(log_p, confidence, 0.5), sum(terms) / len(terms))
    close(seg.self_taught_loss(log_p, confidence, 0.5, mean="all"), sum(terms) / log_p.numel())
    assert seg.self_taught_loss(log_p, confidence, 1.0) == 0


def test_self_taught_loss_does_not_train_d():
    confidence = torch.ones(2, 1, 5, 6, requires_grad=True)
    logits = torch.randn(2, 4, 5, 6, requires_grad=True)
    seg.self_taught_loss(logits.log_softmax(1), confidence, 0.2).backward()
    assert confidence.grad is None and logits.grad.any()


@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_focal_loss_is_the_papers(gamma):
    log_p, y = sample()
    p, t = labelled(log_p, y)
    p_t = p[torch.arange(len(t)), t]
    close(seg.focal_loss(log_p, y, gamma), (-((1 - p_t) ** gamma) * p_t.log()).mean())


@pytest.mark.parametrize("absent", [None, 2])
def test_dice_loss_is_the_papers(absent):
    log_p, y = sample(absent=absent)
    p, t = labelled(log_p, y)
    terms = []
    for c in set(t.tolist()):
        overlap = sum(p[i, c] for i in range(len(t)) if t[i] == c)
        terms.append(1 - 2 * overlap / (p[:, c].sum() + (t == c).sum()))
    close(seg.dice_loss(log_p, y), sum(terms) / len(terms))


def naive_lovasz(p, t):
    """Sum over the sorted errors of error * growth of the Jaccard loss, set by set (Berman et al., Eq. 8)."""

    def jaccard_loss(mispredicted, truth):
        return len(mispredicted) / len(truth | mispredicted)

    terms = []
    for c in set(t.tolist()):
        errors = [abs(float(t[i] == c) - p[i, c].item()) for i in range(len(t))]
        truth = {i for i in range(len(t)) if t[i] == c}
        order = sorted(range(len(t)), key=lambda i: -errors[i])
        terms.append(
            sum(
                errors[i] * (jaccard_loss(set(order[: k + 1]), truth) - jaccard_loss(set(order[:k]), truth))
                for k, i in enumerate(order)
            )
        )
    return sum(terms) / len(terms)


@pytest.mark.parametrize("absent", [None, 2])
def test_lovasz_softmax_is_the_papers(absent):
    log_p, y = sample(absent=absent)
    close(seg.lovasz_softmax(log_p, y), naive_lovasz(*labelled(log_p, y)), 1e-5)


@pytest.mark.parametrize("right", [True, False])
def test_lovasz_softmax_of_hard_predictions_is_one_minus_iou(right):
    y = torch.tensor([[[0, 0, 1, 255]]])
    predicted = y.clamp_max(1) if right else torch.tensor([[[0, 1, 1, 0]]])
    log_p = one_hot(predicted, 2).clamp_min(1e-30).log()
    close(seg.lovasz_softmax(log_p, y), 0.0 if right else 0.5, 1e-5)  # IoU 1/2 for both classes


LOSSES = {
    "cross_entropy": seg.cross_entropy,
    "weighted": lambda log_p, y: seg.cross_entropy(log_p, y, torch.ones(4)),
    "focal": seg.focal_loss,
    "dice": seg.dice_loss,
    "lovasz": seg.lovasz_softmax,
}


@pytest.mark.parametrize("name", LOSSES)
def test_nothing_labelled_is_zero_with_zero_gradient(name):
    logits = torch.randn(1, 4, 3, 3, requires_grad=True)
    loss = LOSSES[name](logits.log_softmax(1), torch.full((1, 3, 3), 255))
    loss.backward()
    assert loss == 0 and not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_ignored_pixels_get_no_gradient(name):
    log_p, y = sample()
    logits = log_p.clone().requires_grad_()
    LOSSES[name](logits.log_softmax(1), y).backward()
    gradient = logits.grad.abs().sum(1)
    assert not gradient[y == 255].any() and (gradient[y != 255] > 0).float().mean() > 0.5


@pytest.mark.parametrize("name", LOSSES)
def test_losses_compile_without_a_graph_break(name):
    log_p, y = sample()
    compiled = torch.compile(LOSSES[name], fullgraph=True, backend="eager")  # a host sync would break it
    close(compiled(log_p, y), LOSSES[name](log_p, y))


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_at_certainty(name):
    logits = (torch.randn(1, 4, 3, 3, generator=GENERATOR) * 200).requires_grad_()
    LOSSES[name](logits.log_softmax(1), torch.randint(0, 4, (1, 3, 3), generator=GENERATOR)).backward()
    assert logits.grad.isfinite().all()
