"""The process around a loop: resume, logs, the best checkpoint, signals, values that are not finite."""

import json
import os
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch
from torch import nn

from engine import checkpoint
from engine.ema import EMA
from engine.errors import UserError
from engine.run import Run
from engine.schedule import adam
from options.common import DataOptions, RunOptions, with_steps
from options.fields import group, number, option


@dataclass(frozen=True)
class ModelOptions:
    width: float = option(2, number(1), "width")


@dataclass(frozen=True)
class ToyOptions:
    family: ClassVar[str] = "toy"
    network_keys: ClassVar[tuple] = ("model.",)
    run: RunOptions = group(RunOptions)
    data: DataOptions = group(DataOptions)
    model: ModelOptions = group(ModelOptions)


def toy(folder: Path, **run) -> ToyOptions:
    values = dict(dir=str(folder), steps=8, device="cpu", log_every=2, save_every=3, keep=2)
    return ToyOptions(run=RunOptions(**(values | run)))


def train(opt: ToyOptions, until: int | None = None, term=lambda step, loss: loss) -> nn.Module:
    """A linear network that learns from noise; stops without saving at step `until`, like a kill -9."""
    run = Run(opt.run)
    G = nn.Linear(4, 2)
    G_ema, G_opt = EMA(G, 10), adam(G.parameters(), 1e-2, (0.9, 0.99))
    run.start(opt, G=G, G_ema=G_ema, G_opt=G_opt)
    while run.running():
        run.reseed()
        loss = (G(torch.randn(3, 4)) - torch.randn(3, 2)).square().mean()
        G_opt.zero_grad()
        loss.backward()
        run.average(G)
        G_opt.step()
        run.step += 1
        G_ema.update(G, run.step, 3)
        run.log(loss=term(run.step, loss))
        if run.step == until:
            run._close()
            return G
        if run.due(opt.run.save_every):
            run.save()
    run.finish()
    return G


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, capsys):
    whole = train(toy(tmp_path / "whole"))
    train(toy(tmp_path / "cut"), until=5)
    resumed = train(toy(tmp_path / "cut"))
    assert "resumed" in capsys.readouterr().out
    assert same(whole, resumed)
    a, b = (checkpoint.load(checkpoint.find(tmp_path / name)) for name in ("whole", "cut"))
    assert same_state(a["G_ema"], b["G_ema"]) and same_state(a["G_opt"]["state"][0], b["G_opt"]["state"][0])
    logs = [[json.loads(line) for line in (tmp_path / name / "log.jsonl").open()] for name in ("whole", "cut")]
    assert [[(line["step"], line["loss"]) for line in log] for log in logs] == [
        [(line["step"], line["loss"]) for line in logs[0]]
    ] * 2, "the log is cut back to the checkpoint"
    assert [path.name for path in checkpoint.steps(tmp_path / "whole")] == ["step_00000006.pt", "step_00000008.pt"]


def same_state(a: dict, b: dict) -> bool:
    return all(torch.equal(torch.as_tensor(a[key]), torch.as_tensor(b[key])) for key in a)


def test_a_truncated_newest_checkpoint_falls_back_to_the_one_before(tmp_path, capsys):
    whole = train(toy(tmp_path / "whole"))
    train(toy(tmp_path / "cut"), until=7)
    newest = checkpoint.steps(tmp_path / "cut")[-1]
    newest.write_bytes(newest.read_bytes()[:300])
    assert len(checkpoint.steps(tmp_path / "cut")) == 2
    assert same(whole, train(toy(tmp_path / "cut")))
    said = capsys.readouterr()
    assert f"warning: {newest}" in said.err and "resumed" in said.out and "at step 3" in said.out


def test_without_a_readable_numbered_checkpoint_the_best_one_serves_and_nothing_is_lost(tmp_path, capsys):
    train(toy(tmp_path))
    best = tmp_path / "checkpoints" / "best.pt"
    best.write_bytes(checkpoint.steps(tmp_path)[0].read_bytes())
    for path in checkpoint.steps(tmp_path):
        path.write_bytes(b"cut")
    train(toy(tmp_path))
    assert "from best.pt at step 6" in capsys.readouterr().out
    for path in [*checkpoint.steps(tmp_path), best]:
        path.write_bytes(b"cut")
    log = (tmp_path / "log.jsonl").read_bytes()
    with pytest.raises(UserError, match="none of its checkpoints can be read"):
        train(toy(tmp_path))
    assert (tmp_path / "log.jsonl").read_bytes() == log and best.is_file()


@pytest.mark.parametrize(("seconds", "rate"), [(3000, 0.002667), (0.003, 2667.0), (4.0, 2.0)])
def test_the_speed_is_logged_in_four_digits_however_slow_the_steps(tmp_path, monkeypatch, seconds, rate):
    """8 pictures a line; the clock moves by `seconds` between two lines."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("engine.run.time", SimpleNamespace(perf_counter=lambda: clock.now))

    def term(step, loss):
        clock.now += seconds * (step % 2 == 0)
        return loss

    train(toy(tmp_path), term=term)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    assert [line["images_per_s"] for line in lines] == pytest.approx([rate] * 4, rel=1e-12)


def test_a_finished_run_says_so(tmp_path, capsys):
    train(toy(tmp_path))
    train(toy(tmp_path))
    assert "nothing left to do; raise run.steps" in capsys.readouterr().out


def test_changed_options_are_reported_and_another_network_is_refused(tmp_path, capsys):
    train(toy(tmp_path))
    capsys.readouterr()
    train(toy(tmp_path, steps=10))
    assert "run.steps 8 -> 10" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"model.width was 2.*is now 3"):
        train(replace(toy(tmp_path, steps=12), model=ModelOptions(width=3)))


def test_an_option_that_an_old_run_did_not_know_had_its_default(tmp_path, capsys):
    train(toy(tmp_path))
    path = checkpoint.steps(tmp_path)[-1]
    content = checkpoint.load(path)
    del content["options"]["run"]["keep"], content["options"]["model"]
    checkpoint.save(path, content)
    capsys.readouterr()
    train(toy(tmp_path))
    assert "options changed" not in capsys.readouterr().out
    train(toy(tmp_path, keep=5))
    assert "options changed since step_00000008.pt: run.keep 2 -> 5\n" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"model.width was 2.*is now 3"):
        train(replace(toy(tmp_path), model=ModelOptions(width=3)))


def test_training_data_that_changed_are_reported(tmp_path, capsys):
    def start(data) -> str:
        run = Run(toy(tmp_path).run)
        run.start(toy(tmp_path), data, G=nn.Linear(1, 1))
        run.step += 1
        run.finish()
        return capsys.readouterr().out

    start(None)  # as before there was such a record
    assert "changed" not in start(["a", "b"])
    assert "changed" not in start(["a", "b"])
    assert "the pictures changed: 2 -> 3 since step_00000003.pt\n" in start(["a", "b", "c"])
    assert "the pictures changed: 3 as before, but others, or with other labels since" in start(["a", "b", "d"])
    assert "changed" not in start(None)


def test_init_from_takes_weights_only_and_lists_what_is_missing(tmp_path, capsys):
    source = train(toy(tmp_path / "a"))
    opt = toy(tmp_path / "b", init_from=str(tmp_path / "a"))
    run = Run(opt.run)
    G, other = nn.Linear(4, 2), nn.Linear(4, 3)
    run.start(opt, G=G, other=other)
    run._close()
    assert run.step == 0 and same(G, source)
    said = capsys.readouterr().out
    assert "G: 2 of 2 tensors" in said and "other: 0 of 2 tensors; from scratch: weight, bias" in said


def test_a_term_that_is_not_finite_stops_the_run_and_keeps_the_last_good_checkpoint(tmp_path):
    bad = lambda step, loss: loss if step < 5 else loss * float("nan")  # noqa: E731
    with pytest.raises(UserError, match="step 6: term loss is nan; the last good checkpoint is .*step_00000003.pt"):
        train(toy(tmp_path), term=bad)
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step_00000003.pt"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_fp32_is_a_remedy_for_a_run_in_bf16_only(tmp_path, precision):
    with pytest.raises(UserError, match="lower the learning rates") as caught:
        train(toy(tmp_path, precision=precision), term=lambda step, loss: float("inf"))
    assert ("run.precision=fp32" in str(caught.value)) == (precision == "bf16")


def test_a_line_has_the_newest_value_of_each_term_since_the_line_before(tmp_path):
    opt = toy(tmp_path, steps=9, log_every=4)
    run = Run(opt.run)
    run.start(opt, G=nn.Linear(1, 1))
    while run.running():
        run.step += 1
        lazy = {"gp": torch.tensor(10.0 * run.step)} if run.step in (1, 3, 9) else {}
        run.log(loss=float(run.step), **lazy)
    run.finish()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    found = [(line["step"], line["loss"], line.get("gp")) for line in lines]
    assert found == [(4, 4, 30), (8, 8, None), (9, 9, 90)]


def test_a_lazy_term_that_is_not_finite_stops_the_run_at_the_next_line(tmp_path):
    opt = toy(tmp_path, log_every=4)
    run = Run(opt.run)
    run.start(opt, G=nn.Linear(1, 1))
    for _ in range(3):
        run.step += 1
        run.log(loss=1.0, **({"gp": float("nan")} if run.step == 2 else {}))
    run.step += 1
    with pytest.raises(UserError, match="step 4: term gp is nan"):
        run.log(loss=1.0)
    run._close()


def test_a_weight_that_is_not_finite_is_not_saved(tmp_path):
    opt = toy(tmp_path)
    run = Run(opt.run)
    G = nn.Linear(2, 2)
    run.start(opt, G=G)
    G.weight.data[0, 0] = float("inf")
    with pytest.raises(UserError, match="weight G.weight is not finite"):
        run.save()
    run._close()
    assert checkpoint.steps(tmp_path) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_save_and_exit(tmp_path, number, code):
    def term(step, loss):
        if step == 5:
            os.kill(os.getpid(), number)
            time.sleep(0.01)
        return loss

    with pytest.raises(SystemExit) as caught:
        train(toy(tmp_path), term=term)
    assert caught.value.code == code
    assert checkpoint.steps(tmp_path)[-1].name == "step_00000005.pt"
    assert same(train(toy(tmp_path)), train(toy(tmp_path / "whole")))


def test_the_best_checkpoint_is_kept_and_training_stops_early(tmp_path, capsys):
    opt = toy(tmp_path, keep_best=("miou", "max"), early_stop=2, steps=10)
    run = Run(opt.run)
    G = nn.Linear(1, 1)
    run.start(opt, G=G)
    scores = [0.1, 0.5, 0.4, float("nan"), 0.9]
    while run.running():
        run.step += 1
        G.weight.data.fill_(run.step)
        run.validated(miou=scores[run.step - 1])
    run.finish()
    assert run.step == 4 and "early stop at step 4" in capsys.readouterr().out
    best = checkpoint.find(tmp_path)
    assert best.name == "best.pt" and checkpoint.load(best)["G"]["weight"].item() == 2
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").open()]
    assert [line["miou"] for line in lines] == [0.1, 0.5, 0.4, None], "a NaN is null in JSON"


def test_a_run_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as caught:
        train(toy(tmp_path / "file" / "run"))
    assert "\n" not in str(caught.value)


def test_epochs_become_steps(capsys):
    opt = ToyOptions(run=RunOptions(epochs=2.5), data=DataOptions(batch=4))
    assert with_steps(opt, 10).run.steps == 7
    assert "7 steps" in capsys.readouterr().out
