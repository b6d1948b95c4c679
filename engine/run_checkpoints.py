"""The checkpoints of one run: which it resumes from, what it writes, which of them stay."""

import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch

from engine import checkpoint, distributed
from engine.errors import UserError
from options.load import changes, filled, to_dict


class Checkpoints:
    """The checkpoints in a run folder.

    Attributes:
        saved: the step of the newest one, None before the first.
        best: the best `value` by run.keep_best, its `step`, and how many validations since were no better (`stale`).
    """

    def __init__(self, opt: Any, data: Iterable[str] | None, parts: Mapping[str, Any]):
        """As in engine.run.Run.start."""
        self.opt, self.parts, self.folder = opt, parts, Path(opt.run.dir)
        self.data = None if data is None else checkpoint.fingerprint(data)
        self.best_file = self.folder / "checkpoints" / "best.pt"
        self.saved: int | None = None
        self.best = {"value": None, "step": 0, "stale": 0}

    # ---- reading

    def resume(self) -> int:
        """Fill the parts from the newest readable checkpoint, or from run.init_from; the step that they are of."""
        self._resume_newest() or self._init_from()
        return self.saved or 0

    def _resume_newest(self) -> bool:
        paths, damaged = list(reversed(checkpoint.steps(self.folder))), []
        for path in [*paths, self.best_file] if self.best_file.is_file() else paths:
            try:
                content = checkpoint.load(path, self.opt.family)
            except checkpoint.Damaged:
                print(f"warning: {path}: damaged or cut short; going on from the one before", file=sys.stderr)
                damaged.append(path)
                continue
            self._report_changes(content["options"], path)
            if change := checkpoint.data_change(content.get("data"), self.data):
                print(f"{change} since {path.name}")
            self._restore(content, path)
            for broken in damaged:  # so that it does not count among the newest
                broken.rename(broken.with_suffix(".damaged"))
            print(f"resumed {self.folder} from {path.name} at step {self.saved} of {self.opt.run.steps}")
            if self.saved >= self.opt.run.steps:
                print("nothing left to do; raise run.steps to go on")
            return True
        if damaged:
            raise UserError(f"{self.folder}: none of its checkpoints can be read; choose another run.dir")
        return False

    def _report_changes(self, old: dict, path: Path) -> None:
        changed = changes(filled(old, to_dict(type(self.opt)())), to_dict(self.opt))
        refused = [key for key in changed if key.startswith(self.opt.network_keys)]
        if refused:
            key, (before, now) = refused[0], changed[refused[0]]
            raise UserError(
                f"{path}: {key} was {before}, is now {now}: another network; restore it or choose another run.dir", 2
            )
        if changed:
            words = ", ".join(f"{key} {before} -> {now}" for key, (before, now) in changed.items())
            print(f"options changed since {path.name}: {words}")

    def _restore(self, content: dict, path: Path) -> None:
        loaded = set()
        for name, part in self.parts.items():
            if name not in content:
                raise UserError(f"{path}: holds no {name}; choose another run.dir, or start from it with run.init_from")
            if isinstance(part, torch.optim.Optimizer):
                groups = part.state_dict()["param_groups"]  # this run's rates and betas, the checkpoint's moments
                part.load_state_dict({"state": content[name]["state"], "param_groups": groups})
            elif id(network := getattr(part, "module", part)) not in loaded:  # an EMA that is off is the network itself
                checkpoint.load_network(network, content[name], f"{path}: {name}")
                loaded.add(id(network))
        self.saved = content["step"]
        self.best = content.get("best", self.best)

    def _init_from(self) -> None:
        """run.init_from: weights only, at step 0; what is missing is listed and keeps its initial values."""
        if self.opt.run.init_from is None:
            return
        path = checkpoint.find(self.opt.run.init_from)
        content = checkpoint.load(path, self.opt.family)
        for name, part in self.parts.items():
            if isinstance(part, torch.optim.Optimizer):
                continue
            report = checkpoint.load_what_fits(getattr(part, "module", part), content.get(name, {}))
            print(f"run.init_from={path}: {name}: {report}")

    # ---- writing

    def save(self, step: int) -> None:
        """Write the checkpoint of this step and drop all but the newest run.keep."""
        self._write(self.folder / "checkpoints" / f"step_{step:08d}.pt", step)
        self.saved = step
        for path in checkpoint.steps(self.folder)[: -self.opt.run.keep]:
            path.unlink()

    def improves(self, value: float) -> bool:
        """Whether a value is better than the best one by run.keep_best."""
        (_, direction), old = self.opt.run.keep_best, self.best["value"]
        return math.isfinite(value) and (old is None or (value > old if direction == "max" else value < old))

    def save_best(self, step: int, value: float) -> None:
        """Keep this step's checkpoint as the best one."""
        self.best = {"value": float(value), "step": step, "stale": 0}
        self._write(self.best_file, step)

    def _write(self, path: Path, step: int) -> None:
        states = {name: part.state_dict() for name, part in self.parts.items()}
        bad = checkpoint.first_nonfinite(states)
        if bad:
            self.refuse_nonfinite(step, f"weight {bad} is not finite")
        head = {"family": self.opt.family, "step": step, "options": to_dict(self.opt)}
        head |= {"best": dict(self.best), "data": self.data}
        checkpoint.save(path, {**head, **states})

    def refuse_nonfinite(self, step: int, what: str) -> NoReturn:
        """End the run: `what` is not finite; no checkpoint shall hold it."""
        kept = checkpoint.steps(self.folder)
        last = f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
        other = ", or use run.precision=fp32" if self.opt.run.precision != "fp32" else ""
        distributed.refuse(f"step {step}: {what}; {last}; lower the learning rates{other}")
