"""engine/evaluation: each metric against torchmetrics or a slow float64 reference."""

import sys
import urllib.error

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from data.seg_io import SegPictures
from engine.errors import UserError
from engine.evaluation import generative, paired
from engine.evaluation.features import Extractor, extractor_of, features_of
from engine.evaluation.generative import compare, fid, kid, kid_between_halves, kid_of, precision_recall
from engine.evaluation.segmentation import confusion_of, flipped_too, probabilities, views_of, write_confusion
from engine.metrics import seg_metrics

CPU = torch.device("cpu")


def features(count: int, width: int = 5, shift: float = 0.0, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed), dtype=torch.double) + shift


# ---- sets of pictures


def slow_kid(real: np.ndarray, fake: np.ndarray, paired: bool = False) -> float:
    """The unbiased estimate of MMD^2, term by term (Gretton et al. 2012, Eq. 3; paired: Eq. 4)."""

    def mean(a: np.ndarray, b: np.ndarray, same: bool) -> float:
        terms = [(x @ y / len(x) + 1) ** 3 for i, x in enumerate(a) for j, y in enumerate(b) if not (same and i == j)]
        return sum(terms) / len(terms)

    return mean(real, real, True) + mean(fake, fake, True) - 2 * mean(real, fake, paired)


def test_kid_against_a_loop_and_torchmetrics():
    from torchmetrics.image.kid import KernelInceptionDistance

    real, fake = features(12), features(12, shift=0.3, seed=1)
    expected = slow_kid(real.numpy(), fake.numpy())
    assert kid(real, fake, 12).mean == pytest.approx(expected, rel=1e-9)
    theirs = KernelInceptionDistance(nn.Identity(), subsets=1, subset_size=12)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    assert float(theirs.compute()[0]) == pytest.approx(expected, rel=1e-9)


def test_kid_of_pairs_leaves_out_a_picture_and_its_own_partner():
    real, fake = features(12), features(12, shift=0.3, seed=1)
    assert kid(real, fake, 12, paired=True).mean == pytest.approx(slow_kid(real.numpy(), fake.numpy(), True), rel=1e-9)
    true_pairs = [features(40, seed=seed) for seed in range(20)]  # a network that paints each picture as it is
    apart = np.array([kid(x, x, 40, paired=True).mean for x in true_pairs])
    together = np.array([kid(x, x, 40).mean for x in true_pairs])
    assert abs(apart.mean()) < 1e-9 and together.max() < -0.1
    some = kid(features(60), features(60) + 0.01, 30, paired=True)  # subsets are of pairs, too
    assert abs(some.mean) < 0.05 and kid_of(real, fake, None, paired=True) == kid(real, fake, 12, paired=True).mean
    assert compare(real, fake, None, paired=True)["kid"] == kid(real, fake, 6, paired=True).mean


def test_kid_of_subsets_is_near_that_of_all_and_a_function_of_the_seed():
    real, fake = features(200), features(150, shift=0.5, seed=1)
    whole, some = slow_kid(real[:80].numpy(), fake[:80].numpy()), kid(real, fake, 60)
    assert some.mean == pytest.approx(whole, rel=0.35) and 0 < some.std < some.mean
    assert some == kid(real, fake, 60) != kid(real, fake, 60, seed=1)


def test_the_noise_floor_is_about_zero_and_its_subsets_are_disjoint(monkeypatch):
    import torchmetrics.image.kid as theirs

    floor = kid_between_halves(features(120), 60)
    assert abs(floor.mean) < floor.std < kid(features(120), features(120, shift=0.5, seed=1), 60).mean
    pairs = []
    monkeypatch.setattr(theirs, "poly_mmd", lambda a, b: pairs.append((set(a[:, 0].tolist()), set(b[:, 0].tolist()))))
    monkeypatch.setattr(generative, "_spread", list)
    kid_between_halves(torch.arange(11.0)[:, None], 5)
    assert len(pairs) == generative.SUBSETS
    assert all(len(a) == len(b) == 5 and not a & b for a, b in pairs)


def test_fid_against_numpy_and_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance

    real, fake = features(40), 1.5 * features(30, shift=0.3, seed=1)
    a, b = ((x - x.mean(0)).numpy() / np.sqrt(len(x) - 1) for x in (real, fake))
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()  # the trace of the root of the covariances' product
    means = (real.mean(0) - fake.mean(0)).square().sum().item()
    assert fid(real, fake) == pytest.approx(means + (a**2).sum() + (b**2).sum() - 2 * cross, rel=1e-9)
    as_they_are = nn.Identity()
    as_they_are.num_features = 5
    theirs = FrechetInceptionDistance(as_they_are)
    theirs.update(real, real=True)
    theirs.update(fake, real=False)
    assert fid(real, fake) == pytest.approx(float(theirs.compute()), rel=1e-6)


def test_fid_of_a_collapsed_generator():
    """Covariances of low rank, repeated columns, no variance at all."""
    real, alike = features(60, 4).repeat(1, 12), torch.full((60, 48), 0.25, dtype=torch.double)
    assert fid(real, real) == pytest.approx(0, abs=1e-4)
    expected = (real.mean(0) - 0.25).square().sum() + real.var(0).sum()
    assert fid(real, alike) == pytest.approx(float(expected), rel=1e-6)


def test_precision_and_recall_against_loops(monkeypatch):
    monkeypatch.setattr(generative, "CHUNK", 7)
    real, fake = features(30, 3), features(30, 3, shift=0.7, seed=1)

    def share(points, centres):
        radii = [sorted(float((a - b).norm()) for b in centres)[3] for a in centres]  # [0]: itself
        inside = [any(float((p - a).norm()) <= r for a, r in zip(centres, radii, strict=True)) for p in points]
        return sum(inside) / len(inside)

    found = precision_recall(real, fake)
    assert found == pytest.approx((share(fake, real), share(real, fake))) and 0 < found[0] < 1
    assert precision_recall(real, real) == (1, 1) and precision_recall(real, real + 99) == (0, 0)
    twice = torch.cat([real[:15], real[:15] + 1e-3])  # a generator that knows half of the pictures
    assert precision_recall(real, twice)[0] == 1 > precision_recall(real, twice)[1]


def test_main_axes_against_numpy():
    real, fake = features(80, 6) * torch.tensor([9.0, 1, 1, 5, 1, 1]) + 3, features(50, 6, seed=1)
    own, other = generative.as_compared(real, fake, 6)
    expected = (real - real.mean(0)).numpy() @ np.linalg.inv(np.cov(real.numpy().T)) @ (fake - real.mean(0)).numpy().T
    np.testing.assert_allclose((own @ other.T).numpy(), expected, rtol=1e-8, atol=1e-9)  # Mahalanobis' products
    first, _ = generative.as_compared(real, fake, 2)
    torch.testing.assert_close(first.T.cov(), torch.eye(2, dtype=torch.double))
    assert abs(np.corrcoef(first[:, 1], real[:, 0])[0, 1]) > 0.9, "the widest axis is among them"
    doubled, theirs = generative.as_compared(real.repeat(1, 3), fake.repeat(1, 3), 99)
    assert doubled.shape == (80, 10) and doubled.isfinite().all() and theirs.isfinite().all()
    assert generative.as_compared(real, fake, None) == (real, fake)


def test_nothing_disturbs_torchs_random_state():
    extractor = Extractor(nn.Sequential(nn.Flatten()), "pixels", CPU)
    pictures, state = [torch.zeros(60, 3, 4, 4, dtype=torch.uint8)], torch.get_rng_state()
    compare(features(120), features(60, seed=1), None)
    compare(features(120), features(60, seed=1), 4)
    kid_of(features(70, 48), features_of(pictures, extractor), None)
    extractor_of("random", CPU)
    assert torch.equal(state, torch.get_rng_state())


def test_small_sets_are_refused_with_the_least_number():
    with pytest.raises(UserError, match=r"--data here: 49 pictures, at least 50 are compared \(of fewer, KID is"):
        generative.require_enough(49, "--data here")
    generative.require_enough(50, "--data here")


def test_without_torchmetrics_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(UserError, match="KID: torchmetrics is not installed: pip install -r requirements-extra.txt"):
        generative.require_torchmetrics("KID")


# ---- pictures one by one


def slow_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Wang et al. 2004, Eq. 13 around every pixel, the borders reflected, pictures [C, H, W] in [0, 1]."""
    axis = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    w = np.outer(axis, axis) / axis.sum() ** 2
    values = []
    for a, b in zip(*(np.pad(picture, ((0, 0), (5, 5), (5, 5)), mode="reflect") for picture in (x, y)), strict=True):
        for i in range(x.shape[1]):
            for j in range(x.shape[2]):
                p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
                mp, mq = (w * p).sum(), (w * q).sum()
                vp, vq, c = (w * p * p).sum() - mp**2, (w * q * q).sum() - mq**2, (w * p * q).sum() - mp * mq
                c1, c2 = 0.01**2, 0.03**2
                values.append((2 * mp * mq + c1) * (2 * c + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


@pytest.mark.parametrize("count", [1, 3])
def test_l1_psnr_and_ssim_against_float64(count):
    rng = np.random.default_rng(0)
    real = rng.integers(0, 256, (count, 3, 16, 14)).astype(np.uint8)
    fake = np.clip(real + rng.normal(0, 20, real.shape), 0, 255).astype(np.uint8)
    found = paired.paired_metrics(torch.from_numpy(fake), torch.from_numpy(real))
    for i, (x, y) in enumerate(zip(fake / 255.0, real / 255.0, strict=True)):
        assert found["l1"][i].item() == pytest.approx(2 * np.abs(x - y).mean(), rel=1e-5)
        assert found["psnr"][i].item() == pytest.approx(-10 * np.log10(((x - y) ** 2).mean()), rel=1e-5)
        assert found["ssim"][i].item() == pytest.approx(slow_ssim(x, y), abs=1e-4)


def test_lpips_is_left_out_where_its_weights_cannot_be_had(monkeypatch, capsys):
    import torchmetrics.image.lpip as theirs

    def fail(_):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(theirs, "LearnedPerceptualImagePatchSimilarity", fail)
    assert paired.lpips_metric(CPU) is None
    said = capsys.readouterr().out
    assert said.startswith("note: LPIPS is left out") and "no network" in said and said.count("\n") == 1


# ---- segmentation


def test_confusion_and_iou_against_torchmetrics():
    from torchmetrics.functional.classification import multiclass_confusion_matrix, multiclass_jaccard_index

    rng = np.random.default_rng(0)
    ids = [rng.integers(0, 4, (9, 7)).astype(np.uint8) for _ in range(5)]
    wrong = [np.where(rng.random(a.shape) < 0.3, rng.integers(0, 4, a.shape), a) for a in ids]
    for a in ids:
        a[0] = 255
    pictures = [np.repeat(a[..., None], 3, 2).astype(np.uint8) for a in wrong]  # a "network" that reads them
    views = views_of(lambda x, names: F.one_hot(x[:, 0].long(), 4).permute(0, 3, 1, 2), "native", "pad", [1.0], 2, CPU)
    matrix = confusion_of(zip(pictures, ids, strict=True), views, 4)
    target, predicted = (torch.from_numpy(np.stack(arrays)).long() for arrays in (ids, wrong))
    assert torch.equal(matrix, multiclass_confusion_matrix(predicted, target, 4, ignore_index=255))
    theirs = multiclass_jaccard_index(predicted, target, 4, average="none", ignore_index=255)
    found = seg_metrics(matrix, tuple("abcd"))
    assert [found[f"iou/{name}"] for name in "abcd"] == pytest.approx(theirs.tolist(), rel=1e-6)
    assert found["miou"] == pytest.approx(theirs.mean().item(), rel=1e-6)


def left(x, names):
    """Class 0 in the left quarter of whatever it is shown, class 1 elsewhere."""
    maps = torch.zeros(len(x), 2, *x.shape[2:])
    maps[:, 0, :, : x.shape[3] // 4] = 1
    maps[:, 1] = 1 - maps[:, 0]
    return maps


@pytest.mark.parametrize("fit", ["pad", "stretch", "crop", "tile"])
def test_mirrored_pictures_are_averaged(fit):
    views = views_of(flipped_too(left), (16, 16), fit, [1.0], 2, CPU)
    (maps,) = probabilities([np.zeros((16, 16, 3), np.uint8)], views)
    torch.testing.assert_close(maps, maps.flip(2))
    assert maps[0, :, 0].min() == 0.5 and maps[0, :, 8].max() == 0
    torch.testing.assert_close(maps.sum(0), torch.ones(16, 16))


@pytest.mark.parametrize(("fit", "size"), [("pad", (16, 16)), ("tile", (16, 16)), ("pad", "native")])
def test_scales_are_averaged_at_the_pictures_own_size(fit, size):
    seen = []

    def forward(x, names):
        seen.append(tuple(x.shape[2:]))
        return x.float() / 255 * (x.shape[2] / 16)

    pictures = [np.full((shape, 16, 3), 51 * (i + 1), np.uint8) for i, shape in enumerate((16, 16, 24))]
    made = probabilities(pictures, views_of(forward, size, fit, [0.5, 1.0, 2.0], 2, CPU))
    assert [tuple(maps.shape[1:]) for maps in made] == [(16, 16), (16, 16), (24, 16)]
    if size != "native":
        factor = {"pad": (0.5 + 1 + 2) / 3, "tile": 1.0}[fit]  # tile: the windows stay as large, the picture grows
        torch.testing.assert_close(made[0], torch.full((3, 16, 16), 0.2 * factor), rtol=1e-4, atol=1e-4)
        assert set(seen) == ({(8, 8), (16, 16), (32, 32)} if fit == "pad" else {(16, 16)})
    else:
        assert set(seen) == {(8, 8), (16, 16), (32, 32), (12, 8), (24, 16), (48, 32)}


def test_seg_pictures_forward_is_what_is_averaged():
    """views_of takes the family's own forward: probabilities, which sum to 1 over classes at every scale."""
    network = nn.Conv2d(3, 4, 1)
    views = views_of(lambda x, names: SegPictures.forward(network, x, names), (16, 16), "pad", [0.75, 1.0], 2, CPU)
    with torch.no_grad():
        (maps,) = probabilities([np.random.default_rng(0).integers(0, 256, (20, 12, 3)).astype(np.uint8)], views)
    torch.testing.assert_close(maps.sum(0), torch.ones(20, 12))


def test_the_confusion_picture(tmp_path):
    write_confusion(torch.tensor([[8, 2], [0, 0]]), ["hair", "never there"], tmp_path / "c.png")
    assert min(Image.open(tmp_path / "c.png").size) > 100
