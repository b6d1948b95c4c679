"""scripts/studies/trainings.py: what is trained, once, and what is left to another process."""

from types import SimpleNamespace

import pytest
from runs import log

from engine.errors import UserError
from scripts.studies import trainings
from train_seg import train


def test_a_training_ends_once_and_its_time_adds_up(tiny, tmp_path):
    folder = tmp_path / "run"
    assert trainings.log_of(folder) == [] and trainings.cpu_minutes(folder) == 0
    short, long = tiny("run", "run.steps=2"), tiny("run", "run.steps=4")
    assert not trainings.finished(short)
    trainings.train_unless_taken(train, short)
    first = trainings.cpu_minutes(folder)
    assert trainings.finished(short) and not trainings.finished(long) and first > 0
    trainings.train_unless_taken(lambda opt: pytest.fail("trained again"), short)
    trainings.train_unless_taken(train, long)
    assert trainings.finished(long) and trainings.cpu_minutes(folder) > first
    assert trainings.log_of(folder) == log(folder)


def test_what_another_process_trains_is_left_to_it(monkeypatch, tmp_path, capsys):
    def taken(folder):
        raise UserError("taken")

    monkeypatch.setattr(trainings, "take_folder", taken)
    opt = SimpleNamespace(run=SimpleNamespace(dir=str(tmp_path / "run"), steps=1))
    trainings.train_unless_taken(lambda opt: pytest.fail("trained"), opt)
    assert "another process trains it" in capsys.readouterr().out
