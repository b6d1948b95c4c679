"""Several sources as one checkpoint, what does not fit, and scripts/import_weights.py."""

import chainer
import numpy as np
import pytest
import torch

import train_seg
from engine import checkpoint
from engine.errors import UserError
from models.chainer_tables import FCN, SPADE_DISCRIMINATOR, SPADE_GENERATOR, UNET
from models.imports import import_files, read_sources
from models.seg_discriminator import FCNDiscriminator
from models.seg_unet import SegUNet
from models.spade_discriminator import SpadeDiscriminator
from models.spade_generator import SpadeGenerator
from scripts import import_weights


def test_g_and_d_together_are_fine_tuned(tmp_path, tiny, capsys):
    files = {
        "G": chainer.save(tmp_path / "gen.npz", chainer.formula_file(SegUNet(5, 4), UNET)),
        "D": chainer.save(tmp_path / "dis.npz", chainer.formula_file(FCNDiscriminator(5, 6), FCN)),
    }
    path = import_files([files["D"], files["G"]], tmp_path / "ours.pt")
    content = checkpoint.load(path, "seg")
    assert content["step"] == 0 and content["options"]["model"]["d_width"] == 6
    assert torch.equal(content["G"]["down1.weight"], content["G_ema"]["down1.weight"])
    words = ("model.d_width=6", "model.norm_eps=2e-5", "run.steps=1", f"run.init_from={path}")
    train_seg.train(tiny("run", *words))
    said = capsys.readouterr().out
    for role in ("G", "D"):
        count = len(content[role])
        assert f" {role}: {count} of {count} tensors\n" in said


def refused(*paths, **more) -> str:
    with pytest.raises(UserError) as error:
        read_sources(list(paths), **more)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_sources_that_contradict(tmp_path):
    files = {
        "unet": (SegUNet(5, 4), UNET),
        "fcn": (FCNDiscriminator(5, 4, conv_norm="none"), FCN),
        "seven": (FCNDiscriminator(7, 4), FCN),
        "spade": (SpadeDiscriminator(10, 8), SPADE_DISCRIMINATOR),
    }
    paths = {name: chainer.save(tmp_path / f"{name}.npz", chainer.formula_file(*file)) for name, file in files.items()}
    assert "model.conv_norm is spectral and none" in refused(paths["unet"], paths["fcn"])
    assert "c1/c/W (4, 7, 3, 3) for (4, 5, 3, 3)" in refused(paths["unet"], paths["seven"])
    assert "of seg and of spade" in refused(paths["unet"], paths["spade"])
    assert "both hold a G" in refused(paths["unet"], paths["unet"])


def test_what_does_not_fit_is_listed(tmp_path):
    arrays = chainer.formula_file(SegUNet(5, 4), UNET)
    del arrays["d2/b"], arrays["d2_bn/avg_var"], arrays["e3/c/W_u"], arrays["e3_bn/gamma"]
    arrays["e2/c/b"] = np.zeros(9, np.float32)
    arrays |= {"e9/W": np.zeros(1, np.float32), "e1/W": arrays["e1/c/W"]}
    path = chainer.save(tmp_path / "source.npz", arrays)
    line = refused(path)
    assert "4 missing (down3.u, down_norm3.weight, up2.bias, and 1 more)" in line
    assert "2 unknown (e9/W, e1/W)" in line and "1 of another shape (e2/c/b (9,) for (8,))" in line
    assert "up_norm2.running_var" in refused(path, shown=None)


def test_values_that_are_not_finite(tmp_path):
    arrays = chainer.formula_file(SegUNet(5, 4), UNET)
    arrays["d2/b"][1] = np.nan
    assert "weight d2/b is not finite" in refused(chainer.save(tmp_path / "source.npz", arrays))


def test_a_file_of_something_else(tmp_path):
    line = refused(chainer.save(tmp_path / "other.npz", {f"layer{i}/kernel": np.zeros(3) for i in range(5)}))
    assert "layer0/kernel, layer1/kernel, layer2/kernel, and 2 more" in line
    torch.save({}, tmp_path / "empty.pth")
    assert "no array at all" in refused(tmp_path / "empty.pth")


def test_overrides(tmp_path):
    path = chainer.save(tmp_path / "source.npz", chainer.formula_file(SpadeGenerator(4, 2, 8), SPADE_GENERATOR))
    assert read_sources([path], {"model": {"upsample": "nearest"}})[1].model.upsample == "nearest"
    assert "model.upsample=odd" in refused(path, overrides={"model": {"upsample": "odd"}})
    assert "up1/" not in refused(path, overrides={"model": {"width": 4}})


def test_the_script(tmp_path, capsys):
    path = chainer.save(tmp_path / "gen.npz", chainer.formula_file(SpadeGenerator(4, 2, 8), SPADE_GENERATOR))
    output = tmp_path / "new" / "ours.pt"
    import_weights.main([str(path), "--output", str(output), "--set", "model.upsample=nearest"])
    said = capsys.readouterr().out
    assert "spade: Chainer SPADEGenerator: G 0.043 M parameters" in said and "model.upsample=nearest" in said
    assert f"predict.py --weights {output.as_posix()} --input" in said
    before = output.read_bytes()
    with pytest.raises(UserError, match="add --overwrite"):
        import_weights.main([str(path), "--output", str(output)])
    with pytest.raises(UserError, match="expected group.key=value") as error:
        import_weights.main([str(path), "--output", str(tmp_path / "b.pt"), "--set", "upsample"])
    assert error.value.code == 2
    assert output.read_bytes() == before and not (tmp_path / "b.pt").exists()
    import_weights.main([str(path), "--output", str(output), "--overwrite"])
    assert checkpoint.load(output)["options"]["model"]["upsample"] == "bilinear"
