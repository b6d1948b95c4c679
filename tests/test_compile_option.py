"""run.compile: what it takes, and that a training goes through it."""

import pytest
import torch
from runs import final as last
from runs import finite_run, same_training

from engine import device
from engine.errors import UserError
from options.load import from_dict, to_dict
from train_dcgan import train


@pytest.fixture
def modes(monkeypatch) -> list:
    """The mode of every compilation. A backend that is quick to compile takes the default one's place."""
    found, compile_it = [], torch.nn.Module.compile

    def compile_quickly(network, mode=None):
        found.append(mode)
        compile_it(network, backend="aot_eager")

    monkeypatch.setattr(torch.nn.Module, "compile", compile_quickly)
    return found


@pytest.mark.parametrize(
    ("word", "mode"), [("true", None), ("reduce-overhead", "reduce-overhead"), ("on", None), ("1", None)]
)
def test_g_is_compiled_in_the_mode_that_is_asked_for(tiny_dcgan, tmp_path, modes, word, mode):
    train(tiny_dcgan("run", f"run.compile={word}", "run.steps=2"))
    assert modes == [mode] and finite_run(tmp_path / "run", 2)


def test_each_step_of_cuda_graphs_is_marked(tiny_dcgan, monkeypatch, modes):
    marks = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append(0))
    train(tiny_dcgan("plain", "run.compile=true", "run.steps=2"))
    assert not marks
    train(tiny_dcgan("graphs", "run.compile=reduce-overhead", "run.steps=3"))
    assert len(marks) == 3


def test_a_compiled_run_resumes_to_the_bit(tiny_dcgan, tmp_path, modes):
    train(tiny_dcgan("whole", "run.compile=reduce-overhead"))
    train(tiny_dcgan("cut", "run.compile=reduce-overhead", "run.steps=2"))
    train(tiny_dcgan("cut", "run.compile=reduce-overhead"))
    assert same_training(last(tmp_path / "whole"), last(tmp_path / "cut"))


def test_a_checkpoint_with_a_boolean_goes_on_with_a_word(tiny_dcgan, tmp_path, modes, capsys):
    train(tiny_dcgan("run", "run.compile=false", "run.steps=2"))
    train(tiny_dcgan("run", "run.compile=reduce-overhead", "run.steps=4"))
    assert "run.compile False -> reduce-overhead" in capsys.readouterr().out and finite_run(tmp_path / "run", 4)


def test_booleans_stay_booleans_and_other_words_are_refused(tiny_dcgan):
    opt = tiny_dcgan("run", "run.compile=yes")
    assert opt.run.compile is True and from_dict(type(opt), to_dict(opt), "old").run.compile is True
    with pytest.raises(UserError, match="run.compile=fast: expected true, false or reduce-overhead"):
        tiny_dcgan("run", "run.compile=fast")


@pytest.mark.parametrize(("name", "vary", "found"), [("cuda", False, ("high", True)), ("cuda", True, ("high", False))])
def test_cuda_is_tuned_and_only_cuda(monkeypatch, name, vary, found):
    precisions = []
    monkeypatch.setattr(torch, "set_float32_matmul_precision", precisions.append)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    device.tune(torch.device("cpu"), vary)
    assert not precisions
    device.tune(torch.device(name), vary)
    assert (precisions[0], torch.backends.cudnn.benchmark) == found
