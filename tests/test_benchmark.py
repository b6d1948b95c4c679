"""scripts/benchmark.py: its measurements on tiny networks, and its tables."""

import json
import math
import sys

import pytest
import torch

from engine.errors import UserError
from models import build
from scripts import benchmark
from scripts.timing import child, plain, steps, tables
from scripts.timing.machine import ceilings, machine

WORDS = {
    "seg": ["model.generator=unet", "model.width=4", "model.d_width=4", "data.size=32"],
    "pix2pix": ["model.width=2", "model.d_width=2", "data.size=64"],
    "spade": ["model.width=8", "model.code_width=8", "model.d_width=8", "data.size=64"],
    "dcgan": ["model.g_width=4", "model.d_width=4"],
}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The benchmark's own options with small networks, drawn below tmp_path."""
    own = steps.options

    def options(family, folder, job, *words):
        full = own(family, folder, job)
        assert family != "dcgan" or (full.model.g_width, full.model.n_extra_g) == (64, 1), "what is timed is animeGAN's"
        return own(family, folder, job, *words, *WORDS[family])

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(steps, "options", options)
    return tmp_path


def job(**changed) -> dict:
    return {"device": "cpu", "batch": 2, "steps": 3, "reference": None, "words": None} | changed


@pytest.mark.parametrize(
    ("family", "words"),
    [*((family, None) for family in WORDS), ("dcgan", ["run.precision=bf16"]), ("pix2pix", ["run.precision=fp32"])],
)
def test_steps_are_timed_in_windows(tiny, family, words):
    found = child.step(family, str(tiny), job(words=words))
    assert len(found["seconds"]) == 2 and all(0 < seconds < 60 for seconds in found["seconds"])
    assert math.isfinite(found["peak_mb"])


@pytest.mark.parametrize("family", WORDS)
def test_the_defaults_keep_the_familys_batch(family):
    assert steps.options(family, "x", job(batch=None)).data.batch == (64 if family == "dcgan" else 1)


def test_a_gpu_is_looked_at_once_a_window():
    assert steps.window_of(torch.device("cuda"), 100) == steps.Window(100, 1)
    assert steps.window_of(torch.device("cpu"), 7) == steps.Window(2, 4)


def test_the_arithmetic_of_a_step_is_counted(tiny, monkeypatch):
    """Of a D and a G that are one convolution each: forward, and backward by what a gradient is wanted of."""

    class G(torch.nn.Conv2d):
        def forward(self, x, z):
            return super().forward(x)

    class D(torch.nn.Conv2d):
        def forward(self, x):
            return [[super().forward(x)]]

    monkeypatch.setattr(build, "pix2pix_generator", lambda opt: G(3, 3, 1))
    monkeypatch.setattr(build, "pix2pix_discriminator", lambda opt: D(6, 1, 1))
    monkeypatch.setattr("train_pix2pix.initialize", lambda network, *how: network)
    pixels = 2 * 64 * 64  # of a batch of 2
    g, d = 2 * pixels * 3 * 3, 2 * pixels * 6 * 1
    # G forward and its weights; D forward on real, fake and in G's step, its weights twice, the picture once
    assert steps.flops("pix2pix", str(tiny), job()) == 2 * g + (3 + 2 + 1) * d


@pytest.mark.parametrize("family", ["seg", "dcgan"])
def test_the_loader_alone_is_timed(tiny, family):
    assert child.loader(family, str(tiny), job(words=["data.workers=0"]))["pictures_per_s"] > 0


def test_plain_steps_learn():
    torch.manual_seed(0)
    opt = steps.options("pix2pix", "x", job(), *WORDS["pix2pix"])
    batch, step = plain.pix2pix(opt, torch.device("cpu"))
    one = batch()
    losses = [step(*one).item() for _ in range(12)]
    assert losses[-1] < losses[0]


def test_the_ceiling_is_a_speed():
    found = ceilings(torch.device("cpu"))
    assert list(found) == ["fp32", "bf16"] and all(0.001 < value < 1000 for value in found.values())
    assert "cores" in machine(torch.device("cpu"))


def test_each_optimisation_is_switched_on_in_turn():
    assert list(benchmark.rows("cpu", False)) == ["ours fp32", "ours bf16"]
    assert len(benchmark.rows("cpu", True)) == 4 and len(benchmark.rows("cuda", False)) == 6
    assert benchmark.rows("cuda", False)["ours bf16 graphs"] == ["run.precision=bf16", "run.compile=reduce-overhead"]
    pairs = [("plain", "cuda"), ("ours fp32", "cuda"), ("ours fp32", "cpu"), ("ours bf16 compiled", "cpu")]
    assert [benchmark.ceiling_of(*pair) for pair in pairs] == ["fp32", "tf32", "fp32", "bf16"]


RESULTS = {
    "ceilings": {"tflops": {"fp32": 1.0, "bf16": 4.0}, "machine": "a machine"},
    "flops": {"flops": 2e11, "batch": 4, "size": [64, 32]},
    "step": {"seconds": [0.5], "peak_mb": 100.0},
    "predict": {"pictures_per_s": {"plain": 5.0, "workers 2": 10.0}},
    "loader": {"pictures_per_s": 300.0},
}


def test_the_tables_and_the_json(tmp_path, monkeypatch, capsys):
    def measure(args, what, **job):
        fast = what == "step" and job["words"] is not None
        return RESULTS[what] | ({"seconds": [0.25], "peak_mb": 90.0} if fast else {})

    monkeypatch.setattr(benchmark, "measure", measure)
    words = ["--device", "cpu", "--family", "seg", "dcgan", "--json", str(tmp_path / "found.json")]
    monkeypatch.setattr(sys, "argv", ["benchmark.py", *words])
    benchmark.main()
    said = capsys.readouterr().out
    lines = [line.replace(" ", "") for line in said.splitlines()]
    assert "seg, batch 4, 32x64, 0.200 TFLOP a step" in said
    assert "|plain|500.0|8.0|1.00x|100|0.40|40%|" in lines and "|oursbf16|250.0|16.0|2.00x|90|0.80|20%|" in lines
    assert "|dcgan,batch4|plain:500ms|2.00x|2.00x|" in lines and "|seg|5.0|10.0|" in lines
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["command"].startswith("python scripts/benchmark.py --device cpu") and found["machine"] == "a machine"
    assert found["step"]["dcgan"]["rows"]["ours bf16"] == {"seconds": 0.25, "peak_mb": 90.0, "ceiling": "bf16"}
    assert list(found["loader"]["dcgan"]) == ["cached"]


def test_tables_are_whole_where_rows_lack():
    table = tables.speeds("t", {"a": {"x": 1.0}, "b": {"y": 2.0}})
    assert [line.replace(" ", "") for line in table.splitlines()[4:]] == ["|a|1.0|-|", "|b|-|2.0|"]


def test_mistakes_are_a_line(tmp_path, capsys, monkeypatch):
    for words, said in (["--batch", "0"], "--batch 0"), (["--reference", str(tmp_path)], "no models/pix2pix_model.py"):
        with pytest.raises(SystemExit):
            benchmark.arguments(words)
        assert said in capsys.readouterr().err
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--device cuda"):
        benchmark.arguments(["--device", "cuda"])
    with pytest.raises(UserError, match="is a folder"):  # now, not after the measuring
        benchmark.arguments(["--device", "cpu", "--json", str(tmp_path)])
