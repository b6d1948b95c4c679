"""The smaller parts of the engine: the door, devices, averages, schedules, metrics, the loader."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from data.loader import InOrder, batches
from engine.device import choose_device, to_device, weights_format
from engine.ema import EMA
from engine.errors import UserError, door
from engine.metrics import confusion_matrix, seg_metrics
from engine.schedule import adam, poly, set_lr

ROOT = Path(__file__).parents[1]

# ---- the door


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("x.png: broken; mend it", 2), 2, "error: x.png: broken; mend it\n"),
        (torch.OutOfMemoryError("CUDA out of memory"), 1, "data.batch"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate"), 1, "run.precision"),
        (OSError(28, "No space left on device", "f.png"), 1, "f.png: No space left on device"),
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


@pytest.mark.parametrize("ending", ["print('青い髪')", "raise UserError('青い髪: broken')"])
def test_a_name_that_the_terminal_cannot_show_does_not_end_the_run(ending):
    program = f"from engine.errors import UserError, door\ndef main():\n    {ending}\ndoor(main)"
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root, env=environment)
    assert done.returncode == ("raise" in ending), done.stderr
    assert "\\u9752\\u3044\\u9aea" in done.stdout + done.stderr and "Traceback" not in done.stderr


def test_the_door_takes_streams_that_are_not_the_systems(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    door(lambda: print("a"))
    assert sys.stdout.getvalue() == "a\n"
    monkeypatch.setattr(sys, "stdout", None)  # as in a program without a console on Windows
    door(lambda: print("a"))


def test_the_door_keeps_a_programmers_traceback():
    with pytest.raises(RuntimeError, match="a bug"):
        door(lambda: (_ for _ in ()).throw(RuntimeError("a bug")))


def test_a_device_that_is_not_there():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match="run.device=cuda"):
        choose_device("cuda")
    assert choose_device("auto").type in ("cpu", "mps")


def test_weights_lie_channels_last_where_that_is_faster_and_works():
    last, plain = torch.channels_last, torch.contiguous_format
    formats = {name: weights_format(torch.device(name)) for name in ("cpu", "cuda", "mps")}
    assert formats == {"cpu": last, "cuda": last, "mps": plain}
    compiled = {name: weights_format(torch.device(name), compiled=True) for name in ("cpu", "cuda", "mps")}
    assert compiled == {"cpu": last, "cuda": plain, "mps": plain}


@pytest.mark.parametrize("name", ["cpu", "mps", "cuda"])
def test_a_copy_is_waited_for_but_on_cuda(monkeypatch, name):
    """MPS reads the memory of a tensor that is gone: https://github.com/pytorch/pytorch/issues/189690."""
    x, pinned, copies = torch.zeros(2), [], []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: pinned.append(self) or self)
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device, non_blocking=False: copies.append(non_blocking))
    to_device(x, torch.device(name))
    assert copies == [name == "cuda"] and len(pinned) == (name == "cuda")


def test_no_copy_goes_another_way():
    parts = [path for name in ("data", "engine", "losses", "models") for path in (ROOT / name).rglob("*.py")]
    parts += [*ROOT.glob("*.py"), *(ROOT / "scripts").glob("*.py")]
    assert [path.name for path in parts if "non_blocking" in path.read_text(encoding="utf-8")] == ["device.py"]


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
    assert EMA(live, half_life=0).module is live


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

    on_device = False

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count

    def item(self, index: int, rng: np.random.Generator):
        return torch.tensor(index), torch.tensor(int(rng.integers(1 << 30)))

    def finished(self, indices: torch.Tensor, drawn: torch.Tensor):
        return torch.stack([indices, drawn], 1)


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


@pytest.mark.parametrize("workers", [0, 2])
def test_in_order_is_one_pass_again_and_again(workers):
    passes = InOrder(Numbers(5), 2, workers)
    for _ in range(2):
        assert [batch[:, 0].tolist() for batch in passes] == [[0, 1], [2, 3], [4]]
    assert len(passes) == 3
