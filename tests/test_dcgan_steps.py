"""What reaches the networks, the losses and the log in train_dcgan.py: spies on single steps."""

import numpy as np
import pytest
import torch
from PIL import Image
from runs import final, log, same_training
from test_train_pix2pix import cells

import train_dcgan
from data.fit import cover_crop
from data.images import read_picture
from models import build
from train_dcgan import train


@pytest.fixture
def watch(monkeypatch):
    """watch("discriminator", hook, part=""): a forward hook on the network that the next training builds."""

    def add(role: str, hook, part: str = "") -> None:
        plain = getattr(build, f"dcgan_{role}")

        def built(opt):
            network = plain(opt)
            network.get_submodule(part).register_forward_hook(hook)
            return network

        monkeypatch.setattr(build, f"dcgan_{role}", built)

    return add


def test_penalties_are_taken_in_fp32_and_only_they(tiny_dcgan, watch):
    dtypes = []
    watch("discriminator", lambda module, inputs, output: dtypes.append(output.dtype), "downs.from_picture")
    words = ["run.precision=bf16", "loss.r1=1", "loss.penalty_every=2", "run.steps=2"]
    train(tiny_dcgan("run", *words))
    fp32, bf16 = torch.float32, torch.bfloat16
    assert dtypes == [fp32, bf16, bf16, bf16, bf16, bf16], "on x, on the fakes, in G's step; then without penalty"
    dtypes.clear()
    train(tiny_dcgan("other", *words, "loss.r1=0", "loss.r2=1", "run.steps=1"))
    assert dtypes == [bf16, fp32, bf16]


@pytest.mark.parametrize(("kind", "values"), [("binary", {-1, 1}), ("gaussian", None)])
def test_the_latents_of_training(tiny_dcgan, watch, kind, values):
    latents = []
    watch("generator", lambda module, inputs, output: latents.append(inputs[0]))
    train(tiny_dcgan("run", f"model.latent={kind}", "run.steps=2"))
    found = set(torch.cat(latents).unique().tolist())
    assert found == values if values else len(found) == 2 * 4 * 6
    assert not torch.equal(*latents)


def pictures_of_first_step(tiny_dcgan, monkeypatch, name: str, augment: str) -> torch.Tensor:
    shown = []
    with monkeypatch.context() as patch:
        patch.setattr(train_dcgan, "seen", lambda x, noise, loss, draw: shown.append(x.detach()) or x)
        train(tiny_dcgan(name, f"data.augment={augment}", "run.steps=1", "data.batch=8"))
    return shown[0]


def test_mirror_mirrors_in_training(tiny_dcgan, monkeypatch):
    plain, mirrored = (pictures_of_first_step(tiny_dcgan, monkeypatch, word, word) for word in ("none", "mirror"))
    flips = [not torch.equal(a, b) for a, b in zip(plain, mirrored, strict=True)]
    assert 0 < sum(flips) < 8
    assert all(torch.equal(b, a.flip(2) if flip else a) for a, b, flip in zip(plain, mirrored, flips, strict=True))


@pytest.mark.parametrize(("gan", "shown"), [("bce", torch.sigmoid), ("hinge", None), ("relativistic", None)])
def test_the_log_holds_probabilities_of_bce_and_logits_else(tiny_dcgan, tmp_path, watch, gan, shown):
    logits = []
    watch("discriminator", lambda module, inputs, output: logits.append(20 * output) or 20 * output)
    train(tiny_dcgan("run", f"loss.gan={gan}", "run.steps=1"))
    (line,) = log(tmp_path / "run")
    for key, found in zip(("D_x", "D_G_z"), logits, strict=False):
        assert line[key] == pytest.approx((shown or torch.clone)(found.detach()).mean().item(), rel=1e-5)


def test_flipped_labels_reach_the_loss_but_not_the_log(tiny_dcgan, tmp_path, monkeypatch):
    called, plain = [], train_dcgan.discriminator_loss

    def loss(mode, real, fake, smoothing):
        called.append((real.detach(), fake.detach()))
        return plain(mode, real, fake, smoothing)

    monkeypatch.setattr(train_dcgan, "discriminator_loss", loss)
    monkeypatch.setattr(torch, "rand_like", torch.zeros_like)  # the lot falls on all
    train(tiny_dcgan("run", "loss.label_flip=0.3", "loss.gan=hinge", "run.steps=1"))
    (called_real, called_fake), line = called[0], log(tmp_path / "run")[0]
    assert called_real.mean().item() == pytest.approx(line["D_G_z"]) != pytest.approx(line["D_x"])
    assert called_fake.mean().item() == pytest.approx(line["D_x"])


def test_the_real_grid_is_of_the_first_pictures(tiny_dcgan, faces, tmp_path):
    train(tiny_dcgan("run", "run.steps=1"))
    shown = sum(cells(np.asarray(Image.open(tmp_path / "run" / "samples" / "real.png"))), [])
    first = [cover_crop(read_picture(path), (64, 64)) for path in sorted(faces.rglob("*.png"))]
    assert len(first) == 9 and all(np.array_equal(a, b) for a, b in zip(shown, first, strict=False))


def test_pictures_that_changed_are_reported_on_resume(tiny_dcgan, tmp_path, capsys):
    root = tmp_path / "set"
    for i in range(8):
        path = root / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (30 * i, 0, 0)).save(path)
    words = [f"data.root={root}", "data.labels=folders", "run.save_every=1"]

    def resume(steps: int) -> str:
        capsys.readouterr()
        train(tiny_dcgan("run", *words, f"run.steps={steps}"))
        return capsys.readouterr().out

    resume(1)
    assert "changed: " not in resume(2)
    (root / "a" / "6.png").unlink()
    assert "the pictures changed: 8 -> 7 since step_00000002.pt\n" in resume(3)
    (root / "b" / "1.png").rename(root / "a" / "1.png")
    assert "the pictures changed: 7 as before, but others, or with other labels since" in resume(4)
    assert "the pictures changed" not in resume(5)


@pytest.mark.parametrize("gan", ["bce", "lsgan", "hinge"])
def test_one_backward_for_pictures_and_fakes_each_is_one_for_both(tiny_dcgan, tmp_path, gan):
    for name, flips in (("apart", 0), ("together", 1e-12)):  # so rare that no label is flipped
        train(tiny_dcgan(name, f"loss.gan={gan}", f"loss.label_flip={flips}"))
    assert same_training(final(tmp_path / "apart"), final(tmp_path / "together"))


def test_penalties_are_of_either_backward(tiny_dcgan, tmp_path):
    first = []
    for name, flips in (("apart", 0), ("together", 1e-12)):
        train(tiny_dcgan(name, "loss.r1=2", "loss.r2=3", f"loss.label_flip={flips}", "run.steps=1"))
        first.append(final(tmp_path / name)["D_opt"]["state"])  # the gradients, times 1 - beta
    assert log(tmp_path / "apart")[0]["r2"] == log(tmp_path / "together")[0]["r2"] > 0
    for key, apart in first[0].items():
        torch.testing.assert_close(apart["exp_avg"], first[1][key]["exp_avg"], rtol=1e-4, atol=1e-7)
