"""The process around a loop: checkpoints, resume, logs, averages, schedules, signals."""

import json
import os
import pickle
import resource
import signal
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from data.loader import batches, in_order
from engine import checkpoint
from engine.ema import EMA
from engine.errors import UserError, door
from engine.metrics import confusion_matrix, seg_metrics
from engine.run import Run, choose_device
from engine.schedule import adam, poly, set_lr
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


def test_changed_options_are_reported_and_another_network_is_refused(tmp_path, capsys):
    train(toy(tmp_path))
    capsys.readouterr()
    train(toy(tmp_path, steps=10))
    assert "run.steps 8 -> 10" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"model.width was 2.*is now 3"):
        train(replace(toy(tmp_path, steps=12), model=ModelOptions(width=3)))


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


# ---- checkpoints


def test_a_failed_write_leaves_the_previous_checkpoint_whole(tmp_path):
    path = tmp_path / "step.pt"
    checkpoint.save(path, {"family": "toy", "step": 1, "options": {}})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # stands in for a full disk
    try:
        with pytest.raises(UserError, match="cannot be written") as caught:
            checkpoint.save(path, {"family": "toy", "step": 2, "options": {}, "G": torch.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch bomb-went-off",))


def test_unreadable_checkpoints_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    good = tmp_path / "good.pt"
    checkpoint.save(good, {"family": "toy", "step": 1, "options": {}, "G": torch.zeros(1000)})
    cases = {
        "cut.pt": good.read_bytes()[:-500],
        "empty.pt": b"",
        "text.pt": b"hello, this is no checkpoint",
        "noise.pt": np.random.default_rng(0).bytes(5000),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
    with open("code.pt", "wb") as file:
        pickle.dump({"format": 1, "G": Bomb()}, file)
    torch.save({"format": 1, "G": Bomb()}, "code2.pt")
    torch.save(torch.zeros(3), "tensor.pt")
    checkpoint.save(tmp_path / "old.pt", {"family": "toy", "step": 1, "options": {}})
    torch.save({**torch.load("old.pt"), "format": 99}, "newer.pt")
    for name in [*cases, "code.pt", "code2.pt", "tensor.pt", "newer.pt", "missing.pt"]:
        with pytest.raises(UserError) as caught:
            checkpoint.load(tmp_path / name)
        line = str(caught.value)
        assert name in line and "\n" not in line, line
        assert ("holds code" in line) == name.startswith("code"), line
    assert not Path("bomb-went-off").exists()
    with pytest.raises(UserError, match="family toy, not seg"):
        checkpoint.load(good, "seg")


def test_weights_that_do_not_fit_are_listed():
    with pytest.raises(UserError, match=r"1 missing \(bias\); 1 unknown \(extra\); 1 of another shape \(weight"):
        checkpoint.load_network(nn.Linear(2, 2), {"weight": torch.zeros(3, 2), "extra": torch.zeros(1)}, "w.pt")


def test_a_folder_without_checkpoints(tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoint.find(tmp_path)


def test_a_run_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as caught:
        train(toy(tmp_path / "file" / "run"))
    assert "\n" not in str(caught.value)


# ---- the door


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("x.png: broken; mend it", 2), 2, "error: x.png: broken; mend it\n"),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "data.batch"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), 1, "run.precision"),
        (OSError(28, "No space left on device", "f.png"), 1, "f.png: cannot be written (No space left on device)"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_the_door_turns_mistakes_into_a_line(error, code, words, capsys):
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        door(main)
    said = capsys.readouterr().err
    assert caught.value.code == code and words in said and said.count("\n") == 1


def test_the_door_keeps_a_programmers_traceback():
    with pytest.raises(RuntimeError, match="a bug"):
        door(lambda: (_ for _ in ()).throw(RuntimeError("a bug")))


def test_a_device_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="run.device=cuda"):
        choose_device("cuda")
    assert choose_device("auto").type in ("cpu", "mps")


# ---- averages, schedules, metrics


def test_ema_half_life_ramp_up_and_buffers():
    live = nn.BatchNorm1d(1)
    ema = EMA(live, half_life=100, ramp_up=0)
    live.weight.data.fill_(3.0)
    live.running_mean.fill_(5.0)
    for step in range(1, 26):
        ema.update(live, step, 4)  # 100 images: one half-life
    assert ema.module.weight.item() == pytest.approx(2.0, abs=1e-5), "half way from 1 to 3"
    assert ema.module.running_mean.item() == 5.0
    ramped = EMA(nn.BatchNorm1d(1), half_life=1e9, ramp_up=0.05)
    ramped.update(live, 1, 4)  # half-life 0.2 images: all but 2^-20 is the new weight
    assert ramped.module.weight.item() == pytest.approx(3.0, abs=1e-5)
    off = EMA(nn.BatchNorm1d(1), half_life=0)
    off.update(live, 1, 4)
    assert off.module.weight.item() == 3.0


def test_poly_is_the_originals_table():
    """../shared/fixtures/data/seg_lr_poly.json: [epoch of 100, factor of the rate]."""
    table = [(0, 1), (39.9, 1), (40, 1), (41, 0.98498742), (55.5, 0.76416631), (70, 0.53588673), (99, 0.02509943)]
    for epoch, factor in [*table, (100, 0)]:
        assert poly(epoch / 100, 0.4, 0.9) == pytest.approx(factor, abs=1e-7)


def test_set_lr_keeps_a_groups_factor():
    a, b = nn.Linear(1, 1), nn.Linear(1, 1)
    optimizer = adam([{"params": a.parameters()}, {"params": b.parameters(), "factor": 0.1}], 1.0, (0.9, 0.99))
    set_lr(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.05]


def test_epochs_become_steps(capsys):
    opt = ToyOptions(run=RunOptions(epochs=2.5), data=DataOptions(batch=4))
    assert with_steps(opt, 10).run.steps == 7
    assert "7 steps" in capsys.readouterr().out


def test_metrics_by_hand():
    y = torch.tensor([[0, 0, 1, 255], [1, 1, 2, 2]])
    predicted = torch.tensor([[0, 1, 1, 0], [1, 1, 2, 0]])
    metrics = seg_metrics(confusion_matrix(predicted, y, 4), ("a", "b", "c", "never"))
    assert metrics["iou/a"] == pytest.approx(1 / 3)
    assert metrics["iou/b"] == pytest.approx(3 / 4)
    assert metrics["iou/c"] == pytest.approx(1 / 2)
    assert np.isnan(metrics["iou/never"])
    assert metrics["miou"] == pytest.approx((1 / 3 + 3 / 4 + 1 / 2) / 3)
    assert metrics["pixel_accuracy"] == pytest.approx(5 / 7)


# ---- the loader


class Numbers:
    """Items (index, a number drawn for this place in the stream)."""

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def item(self, index: int, rng: np.random.Generator):
        return torch.tensor([index, int(rng.integers(1 << 30))])


def test_the_loader_resumes_anywhere_with_any_number_of_workers():
    stream = batches(Numbers(5), 3, seed=1)
    first = [next(stream) for _ in range(6)]
    for start, workers in ((0, 2), (4, 0), (3, 2)):
        again = batches(Numbers(5), 3, seed=1, start=start, workers=workers)
        for k in range(start, 6):
            assert torch.equal(next(again), first[k])
    indices = torch.cat(first)[:, 0].tolist()
    assert sorted(indices[:5]) == sorted(indices[5:10]) == [0, 1, 2, 3, 4], "a pass is a permutation"
    assert len(set(torch.cat(first)[:, 1].tolist())) == 18, "every draw has numbers of its own"
    other = next(batches(Numbers(5), 3, seed=1, stream=1))
    assert not torch.equal(other, first[0])


def test_the_loader_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    next(batches(Numbers(5), 3, seed=1))
    assert torch.equal(torch.rand(1), expected)


def test_in_order_is_one_pass():
    assert [batch[:, 0].tolist() for batch in in_order(Numbers(5), 2)] == [[0, 1], [2, 3], [4]]
