"""The trainings of a study: each is done once, resumes, and is left to whichever process is at it."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine import checkpoint
from engine.files import Taken, take_folder, whole_file
from engine.lock import locked

CPU_SECONDS = "cpu_seconds.txt"  # in a run folder, one line for each session


def step_of(path: Path) -> int:
    """The step of a numbered checkpoint."""
    return int(path.stem.split("_")[1])


def finished(opt: Any) -> bool:
    """Whether the run folder of the options holds the checkpoint of the last step."""
    done = checkpoint.steps(Path(opt.run.dir))
    return bool(done) and step_of(done[-1]) >= opt.run.steps


def train_unless_taken(train: Callable[[Any], None], opt: Any) -> None:
    """train(opt), from where it stopped, unless that has ended or another process is at it."""
    folder = Path(opt.run.dir)
    if finished(opt):
        return
    try:
        held = take_folder(folder)
    except Taken:
        print(f"{folder}: another process trains it")
        return
    start = time.process_time()
    try:
        train(opt)
    finally:
        with (folder / CPU_SECONDS).open("a") as file:
            file.write(f"{time.process_time() - start:.1f}\n")
    del held


def cpu_minutes(folder: Path) -> float:
    """What the training in a folder took of the processor, over all its sessions but those that were killed."""
    file = folder / CPU_SECONDS
    return sum(map(float, file.read_text().split())) / 60 if file.exists() else 0.0


def log_of(folder: Path) -> list[dict]:
    """The lines of a run's log; none before its first."""
    file = folder / "log.jsonl"
    return [json.loads(line) for line in file.open()] if file.exists() else []


def add_results(file: Path, found: dict[str, Any]) -> dict[str, Any]:
    """results.json with what was found in it, also by other processes: values that are dicts are joined."""
    with locked(file):
        results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        for key, value in found.items():
            known = results.get(key)
            results[key] = known | value if isinstance(known, dict) and isinstance(value, dict) else value
        with whole_file(file) as part:
            part.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return results
