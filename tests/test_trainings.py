"""scripts/studies/trainings.py: what is trained, once, and what is left to another process."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from runs import log

from engine.errors import UserError
from scripts.studies import trainings
from train_seg import train

ROOT = Path(__file__).resolve().parent.parent


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


def test_what_another_process_trains_is_left_to_it(tmp_path, capsys):
    take = (
        "import sys; from engine.files import take_folder; held = take_folder(__import__('pathlib').Path(sys.argv[1]))"
    )
    wait = "print('taken', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", f"{take}; {wait}", str(tmp_path / "run")]
    opt = SimpleNamespace(run=SimpleNamespace(dir=str(tmp_path / "run"), steps=1))
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "taken\n"
        trainings.train_unless_taken(lambda opt: pytest.fail("trained"), opt)
        other.stdin.close()
    assert "another process trains it" in capsys.readouterr().out


def test_a_folder_that_cannot_be_made_is_no_other_process(tmp_path):
    (tmp_path / "file").write_text("")
    opt = SimpleNamespace(run=SimpleNamespace(dir=str(tmp_path / "file" / "run"), steps=1))
    with pytest.raises(UserError, match="cannot be written"):
        trainings.train_unless_taken(lambda opt: pytest.fail("trained"), opt)


def test_results_are_joined(tmp_path):
    file = tmp_path / "out" / "results.json"
    assert trainings.add_results(file, {"kid": {"a": 1}, "count": 1}) == {"kid": {"a": 1}, "count": 1}
    assert trainings.add_results(file, {"kid": {"b": 2}, "count": 3}) == {"kid": {"a": 1, "b": 2}, "count": 3}
    assert trainings.add_results(file, {}) == {"kid": {"a": 1, "b": 2}, "count": 3}
    assert [path.name for path in file.parent.iterdir()] == ["results.json"]
