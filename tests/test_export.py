"""scripts/export_weights.py: lean weights files that our programs read, ONNX files that compute the same."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

import predict
import train_seg
from engine import checkpoint
from engine.errors import UserError
from models import build
from models.export import PictureNorm, fixed, function_of
from models.export_onnx import cases, pad_evenly, random_inputs, resize_aligned
from models.layers import BatchNorm2d, SNConv2d, SNConvTranspose2d, pad_to_multiple, predicting
from options import dcgan, pix2pix, seg, spade
from options.load import load, to_dict
from scripts import export_weights

FAMILIES = {
    "seg": (seg.SegOptions, seg.DEFAULT_FILE, build.seg_generator, "model.generator=unet model.width=4"),
    "pix2pix": (pix2pix.Pix2PixOptions, pix2pix.DEFAULT_FILE, build.pix2pix_generator, "model.width=4 model.blocks=1"),
    "spade": (spade.SpadeOptions, spade.DEFAULT_FILE, build.spade_generator, "model.width=4 model.code_width=8"),
    "dcgan": (dcgan.DcganOptions, dcgan.DEFAULT_FILE, build.dcgan_generator, "model.g_width=4 model.z=6"),
}


def make(family: str, *words: str):
    """A network that has seen a few batches, and its options."""
    options, file, build_network, tiny = FAMILIES[family]
    opt = load(options, ["data.size=64", *tiny.split(), *words], file)
    torch.manual_seed(0)
    network = build_network(opt)
    function = function_of(network, opt)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "noise" in name:
                parameter.normal_(0, 0.1)
        for _ in range(2):
            function.call(network.train(), *random_inputs(function, 4, 64, 64))
    return network.eval(), opt


def make_checkpoint(folder: Path, family: str, *words: str) -> Path:
    network, opt = make(family, *words)
    path = folder / f"{family}.pt"
    state = network.state_dict()
    other = {key: value + 1 for key, value in state.items()}  # the average is what is exported
    content = {"family": family, "step": 7, "options": to_dict(opt), "best": {}, "G": other, "D": other}
    checkpoint.save(path, {**content, "G_ema": state})
    return path


def export(weights: Path, output: Path, *words: str) -> Path:
    export_weights.main(["--weights", str(weights), "--output", str(output), *words])
    return output


# ---- lean files


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_lean_file_holds_the_average_alone(tmp_path, suffix):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    weights = make_checkpoint(tmp_path, "dcgan")
    before, lean = checkpoint.load(weights), export(weights, tmp_path / "new" / f"lean.{suffix}")
    after = checkpoint.load(lean)
    assert after.keys() == {"format", "family", "step", "options", "G", "G_ema"}
    assert all(after[key] == before[key] for key in ("family", "step", "options"))
    for name in ("G", "G_ema"):
        assert after[name].keys() == before["G_ema"].keys()
        assert all(torch.equal(after[name][key], before["G_ema"][key]) for key in after[name])
    assert lean.stat().st_size < 0.6 * weights.stat().st_size
    assert [path.name for path in lean.parent.iterdir()] == [lean.name]


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_a_lean_file_predicts_and_starts_a_training(tmp_path, tiny, monkeypatch, capsys, suffix):
    if suffix == "safetensors":
        pytest.importorskip("safetensors")
    weights = make_checkpoint(tmp_path, "seg")
    lean = export(weights, tmp_path / f"lean.{suffix}")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "a.png")
    for name, file in (("before", weights), ("after", lean)):
        words = ["--weights", file, "--input", tmp_path / "a.png", "--output", tmp_path / name, "--device", "cpu"]
        monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, words)])
        predict.main()
    assert (tmp_path / "before/a.png").read_bytes() == (tmp_path / "after/a.png").read_bytes()
    train_seg.train(tiny("fine", f"run.init_from={lean}", "run.steps=1", "run.save_every=1"))
    said = capsys.readouterr().out
    count = len(checkpoint.load(lean)["G"])
    assert f"G: {count} of {count} tensors\n" in said and f"G_ema: {count} of {count} tensors\n" in said


def test_broken_safetensors_are_one_line(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    good = export(make_checkpoint(tmp_path, "dcgan"), tmp_path / "good.safetensors").read_bytes()
    tensors = {"weight": torch.ones(2)}
    head = {"format": 1, "family": "dcgan", "step": 0, "options": {}}
    cases = {
        "cut": (good[:-9], "damaged"),
        "empty": (b"", "damaged"),
        "html": (b"<!doctype html><html>" * 20, "damaged"),
        "foreign": (safetensors.save(tensors), "not a checkpoint of this program"),
        "text": (safetensors.save(tensors, {checkpoint.HEAD: "{"}), "damaged"),
        "list": (safetensors.save(tensors, {checkpoint.HEAD: "[]"}), "not a checkpoint of this program"),
        "newer": (safetensors.save(tensors, {checkpoint.HEAD: json.dumps(head | {"format": 2})}), "format 2"),
        "nan": (safetensors.save({"w": torch.tensor(np.nan)}, {checkpoint.HEAD: json.dumps(head)}), "not finite"),
    }
    for name, (content, words) in cases.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(content)
        with pytest.raises(UserError, match=words) as caught:
            checkpoint.load(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value), caught.value


# ---- the function that is exported


def test_the_fixed_network_predicts_the_same():
    """Without power iterations, and with each picture's own statistics whatever the batch."""
    for words in ((), ("model.norm=instance",)):
        for norm_stats in ("running", "batch"):
            network, opt = make("seg", *words)
            before = {key: value.clone() for key, value in network.state_dict().items()}
            plain = fixed(network, norm_stats)
            assert not any(isinstance(layer, SNConv2d | SNConvTranspose2d) for layer in plain.modules())
            x = torch.rand(3, 3, 64, 64)
            with torch.no_grad(), predicting(network, norm_stats):
                expected = torch.cat([network(one) for one in x.split(1)])
            with torch.no_grad():
                assert torch.allclose(plain(x), expected, atol=2e-6)
            assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_the_norm_of_each_picture():
    norm = BatchNorm2d(3, eps=1e-3)
    nn.init.normal_(norm.weight), nn.init.normal_(norm.bias)
    for shape in ((2, 3, 4, 5), (2, 3, 1, 1)):
        x = torch.randn(shape) * 4 + 2
        with torch.no_grad():
            expected = torch.cat([norm.train()(one) for one in x.split(1)])
            assert torch.allclose(PictureNorm(norm)(x), expected, atol=1e-6)


def test_what_is_written_out_for_the_graph():
    for height, width in ((1, 1), (7, 16), (17, 8)):
        x = torch.randn(2, 3, height, width)
        assert torch.equal(pad_evenly(x, 8), pad_to_multiple(x, 8)[0])
    x = torch.randn(2, 3, 9, 16)
    for size, factor in (((4, 4), None), ((18, 31), None), ((1, 1), None), (None, 2)):
        expected = F.interpolate(x, size, factor, "bilinear", True)
        assert torch.allclose(resize_aligned(x, size, factor), expected, atol=1e-6)


def test_the_sizes_of_the_comparison():
    assert cases(None, (64, 64)) == [(1, 64, 64), (2, 64, 64), (3, 64, 64)]
    assert cases(1, "native") == [(1, 256, 256), (2, 257, 256), (3, 256, 257)]
    assert cases(64, (128, 256)) == [(1, 128, 256), (2, 192, 256), (3, 128, 320)]


# ---- ONNX files

ONNX = {  # options, then the picture's size and the shapes of the inputs that a picture of it takes
    "seg": ([], (37, 50), {"picture": (3, 37, 50)}),
    "pix2pix": (["model.z=3", "model.z_at=all"], (128, 64), {"x": (3, 128, 64), "z": (3,)}),
    "dcgan": (
        ["data.labels=folders", "data.classes=[a, b]", "model.latent=binary", "sample.norm_stats=batch"],
        (64, 64),
        {"z": (6,), "y": (2,)},
    ),
    "spade": (
        ["model.generator=paper", "model.style=4", "model.upsample=bilinear"],
        (64, 192),
        {"label": (4, 64, 192), "color": (3, 64, 192), "style": (4,)},
    ),
}


@pytest.mark.parametrize("family", ONNX)
def test_an_onnx_file_computes_what_the_network_does(tmp_path, capsys, family):
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name)
    words, size, shapes = ONNX[family]
    weights = make_checkpoint(tmp_path, family, *words)
    session, told = read_onnx(export(weights, tmp_path / "out.onnx"))
    assert capsys.readouterr().out.count("largest difference from PyTorch") == 3
    network, opt = make(family, *words)
    function = function_of(network, opt)
    inputs = random_inputs(function, 4, *size)
    assert {port.name: tuple(x.shape[1:]) for port, x in zip(function.inputs, inputs, strict=True)} == shapes
    assert [one["name"] for one in told["inputs"]] == [one.name for one in session.get_inputs()] == list(shapes)
    with torch.no_grad(), predicting(network, opt.sample.norm_stats):
        alone = zip(*(part.split(1) for part in inputs), strict=True)
        expected = torch.cat([function.call(network, *one) for one in alone])
    found = run_onnx(session, inputs)
    assert found.shape == expected.shape == (4, function.output.channels, *size)
    assert (found - expected).abs().max() < 1e-4 and expected.std() > 1e-3
    assert told["family"] == family and told["step"] == 7 and told["norm_stats"] == opt.sample.norm_stats


def read_onnx(path: Path):
    """A session, and what the file says of itself."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map[checkpoint.HEAD])


def run_onnx(session, inputs: list[torch.Tensor]) -> torch.Tensor:
    names = [one.name for one in session.get_inputs()]
    return torch.from_numpy(session.run(None, {k: x.numpy() for k, x in zip(names, inputs, strict=True)})[0])


def test_noises_are_inputs():
    network, opt = make("spade")
    function = function_of(network, opt)
    noises = [port.shape(128, 64) for port in function.inputs if port.name.startswith("noise")]
    assert noises == [(1, *shape) for shape in network.noise_shapes(128, 64)] and len(noises) == 18
    inputs = random_inputs(function, 1, 128, 64)
    with torch.no_grad():
        assert torch.equal(function.call(network, *inputs), function.call(network, *inputs))


def test_the_description():
    network, opt = make("spade", "data.color=false", "model.noise=false")
    told = export_weights.description(function_of(network, opt), opt)
    assert told["label_channels"] == ["eye", "face", "hair", "other"] and told["multiple_of"] == 64
    assert told["inputs"][0]["shape"] == ["batch", 4, "height", "width"] and len(told["inputs"]) == 1
    network, opt = make("pix2pix", "sample.dropout=true")
    told = export_weights.description(function_of(network, opt), opt)
    assert any("dropout" in note for note in told["notes"]) and told["norm_stats"] == "batch"
    assert told["multiple_of"] == 64 and told["outputs"][0]["values"] == "[-1, 1]"
    network, opt = make("seg", "data.classes={sky: [1, 2, 3], road: [4, 5, 6]}")
    told = json.loads(json.dumps(export_weights.description(function_of(network, opt), opt)))
    assert told["classes"] == ["sky", "road"] and told["palette"] == [[1, 2, 3], [4, 5, 6]]


def test_a_file_that_differs_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(export_weights, "require_onnx", lambda: None)
    monkeypatch.setattr(export_weights, "to_onnx", lambda *_: b"file")
    weights = make_checkpoint(tmp_path, "dcgan")
    for difference in (2e-4, float("nan"), float("inf")):
        monkeypatch.setattr(export_weights, "parity", lambda *_, d=difference: [((1, 3, 64, 64), d)])
        with pytest.raises(UserError, match=r"above 0\.0001: not written"):
            export(weights, tmp_path / "out" / "net.onnx")
    assert not (tmp_path / "out").exists()


# ---- mistakes


def test_mistakes_are_one_line(tmp_path, monkeypatch):
    weights = make_checkpoint(tmp_path, "dcgan")
    before = weights.read_bytes()
    (tmp_path / "folder.pt").mkdir()
    for output, words in {
        "out.bin": "in .pt, .safetensors, .onnx",
        "dcgan.pt": "--overwrite",
        "folder.pt": "is a folder",
    }.items():
        with pytest.raises(UserError, match=words) as caught:
            export(weights, tmp_path / output)
        assert caught.value.code == 2 and "\n" not in str(caught.value)
    with pytest.raises(UserError, match="no such checkpoint"):
        export(tmp_path / "none.pt", tmp_path / "out.pt")
    for package in ("safetensors", "safetensors.torch", "onnxscript"):
        monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    for suffix in ("safetensors", "onnx"):
        with pytest.raises(UserError, match="is not installed: pip install -r requirements-extra.txt") as caught:
            export(weights, tmp_path / f"out.{suffix}")
        assert "\n" not in str(caught.value)
    (tmp_path / "out.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="requirements-extra.txt"):
        checkpoint.load(tmp_path / "out.safetensors")
    assert weights.read_bytes() == before
    export(weights, weights, "--overwrite")
    assert len(weights.read_bytes()) < len(before)
