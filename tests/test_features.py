"""What pictures are compared by: random, trained and Inception features, and what is refused."""

import urllib.error

import pytest
import torch
from torch import nn

import train_seg
from engine import checkpoint
from engine.errors import UserError
from engine.evaluation.features import Extractor, extractor_of, features_of
from engine.evaluation.generative import as_compared, kid, kid_of
from models import build
from train_dcgan import train

CPU = torch.device("cpu")


def test_random_features_are_the_same_everywhere_and_tell_pictures_apart():
    pictures = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    pictures[1] = pictures[0]
    torch.manual_seed(1)
    first = features_of(pictures.split(3), extractor_of("random", CPU))
    torch.manual_seed(2)
    assert torch.equal(first, features_of(pictures.split(3), extractor_of("random", CPU)))
    assert first.shape == (4, 1472) and first.dtype == torch.double and 0.1 < first.std() < 10
    torch.testing.assert_close(first[0], first[1])
    assert (first[0] - first[2]).norm() > 0.01 * first[0].norm()


def test_features_are_fp32_within_autocast():
    pictures, extractor = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8), extractor_of("random", CPU)
    plain = features_of([pictures], extractor)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain, features_of([pictures], extractor))


@pytest.mark.parametrize("words", [[], ["model.variant=fc", "data.labels=folders"]])
def test_features_of_a_trained_discriminator(tiny_dcgan, tmp_path, words):
    opt = tiny_dcgan("run", "run.steps=1", *words)
    train(opt)
    extractor = extractor_of(str(tmp_path / "run"), CPU)
    D = build.dcgan_discriminator(opt.with_classes(("a", "b") if words else ()))
    D.load_state_dict(checkpoint.load(checkpoint.find(tmp_path / "run"))["D"])
    x = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    with torch.no_grad():
        expected = D.eval().downs(x.float() / 127.5 - 1).mean((2, 3)).double()
    torch.testing.assert_close(features_of([x], extractor), expected, rtol=1e-5, atol=1e-6)
    large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert features_of([large], extractor).shape == expected.shape
    assert "step 1" in extractor.about and "64x64" in extractor.about


def test_other_extractors_are_refused(tiny, tmp_path):
    train_seg.train(tiny("seg", "run.steps=1"))
    for name, said in ((tmp_path / "seg", "a checkpoint of seg; features come"), ("Random", "expected inception, ran")):
        with pytest.raises(UserError, match=f"--features .*{said}"):
            extractor_of(str(name), CPU)


def test_inception_as_torchmetrics_has_it(monkeypatch):
    import torchmetrics.image.fid as theirs

    class Pooled(nn.Module):
        def forward(self, x):
            assert x.dtype == torch.uint8
            return x.float().mean((2, 3))

    calls = []
    monkeypatch.setattr(theirs, "NoTrainInceptionV3", lambda *names: calls.append(names) or Pooled())
    found = features_of([torch.full((2, 3, 8, 8), 7, dtype=torch.uint8)], extractor_of("inception", CPU))
    assert found.tolist() == [[7.0] * 3] * 2 and calls == [("inception-v3-compat", ["2048"])]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("torch_fidelity"), "needs torch-fidelity, which downloads the weights: pip install"),
        (urllib.error.URLError("offline"), r"could not get its weights \(<urlopen error offline>\): put https://"),
    ],
)
def test_inception_without_weights_is_a_line(monkeypatch, error, said):
    import torchmetrics.image.fid as theirs

    def fail(*_):
        raise error

    monkeypatch.setattr(theirs, "NoTrainInceptionV3", fail)
    with pytest.raises(UserError, match=f"sample.kid_features=inception: {said}.* or use sample.kid_features=random"):
        extractor_of("inception", CPU, "sample.kid_features=")


def test_features_are_taken_of_a_few_pictures_at_once_and_kid_of_all():
    sizes = []

    def flat(x):
        sizes.append(len(x))
        return x.flatten(1)

    extractor = Extractor(nn.Flatten(), "pixels", CPU, batch=7)
    extractor.network.forward = flat
    pictures, real = torch.randint(0, 256, (20, 3, 2, 2), dtype=torch.uint8), torch.randn(20, 12).double()
    fake = features_of(pictures.split(16), extractor)
    assert sizes == [7, 7, 2, 4] and torch.equal(fake, pictures.flatten(1).double())
    assert kid_of(real, fake, None) == kid(real, fake, 20).mean
    assert kid_of(real, fake, 2) == kid(*as_compared(real, fake, 2), 20).mean
