"""Run: the process around a training loop. Device, precision, seed, folder, logs, checkpoints, signals.

It knows no network by name and never calls back into a script: the loop asks, the run does. Where several processes
train together (engine/distributed.py), number 0 writes all files and looks at pictures; the others only train.
"""

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn
from tqdm import tqdm

from engine import checkpoint, distributed
from engine.chance import Sample, SharedChance, seed_all
from engine.device import (
    Bf16Convolutions,
    autocast,
    choose_device,
    keep_freed_memory,
    note_emulated_bf16,
    weights_format,
)
from engine.errors import UserError
from engine.files import require_writable, take_folder, whole_file
from engine.logs import Logs
from engine.signals import Signals
from engine.sync_norm import synchronise
from options.load import changes, to_dict


class Run:
    """One training run in one folder.

    Attributes:
        step: optimiser steps done; the loop adds one at the end of each.
        steps: where the training ends.
        device: the torch device.
        rank, world: the number of this process, and of all that train together.
    """

    share = staticmethod(distributed.share)
    mean = staticmethod(distributed.mean)
    in_turn = staticmethod(distributed.in_turn)

    def __init__(self, opt: Any):
        """`opt`: the RunOptions."""
        self.opt = opt
        self.device = distributed.join(choose_device(opt.device))
        self.rank, self.world = distributed.rank(), distributed.world()
        if self.device.type == "cpu":
            keep_freed_memory()
        self.folder = Path(opt.dir)
        require_writable(self.folder)
        self.step = 0
        self.steps = opt.steps
        self.best = {"value": None, "step": 0, "stale": 0}
        self._terms: dict[str, torch.Tensor | float] = {}
        self._saved_step: int | None = None
        if opt.precision == "bf16":
            note_emulated_bf16(self.device)
        seed_all(opt.seed)  # initial weights

    # ---- randomness and precision

    def reseed(self) -> None:
        """Seed every generator from (run.seed, step), so that a step does not depend on those before it."""
        seed_all(self.opt.seed, self.step)
        if self.world > 1:  # what is drawn otherwise than by `draw`, as dropout is, shall differ
            self._shared = SharedChance(self.device)
            seed_all(self.opt.seed, self.step, 1 + self.rank)

    def draw(self, sample: Sample, x: torch.Tensor) -> torch.Tensor:
        """sample(x), random rows for each of x [B, ...], as a single process draws them for the whole batch.

        sample: may look at the shape, type and device of its argument only.
        """
        return sample(x) if self.world == 1 else self._shared.draw(sample, x)

    def autocast(self, enabled: bool = True) -> contextlib.AbstractContextManager:
        return autocast(self.device, self.opt.precision if enabled else "fp32")

    def autocast_backward(self, enabled: bool = True) -> contextlib.AbstractContextManager:
        """For the backward pass of what was computed in fp32: its convolutions in bf16 with run.precision=bf16.

        On the CPU alone: elsewhere it was not measured, and CUDA has TF32 for fp32 convolutions.
        """
        low = enabled and self.opt.precision == "bf16" and self.device.type == "cpu"
        return Bf16Convolutions() if low else contextlib.nullcontext()

    def place(self, x: torch.Tensor, last_on_cpu: bool = True) -> torch.Tensor:
        """Pictures [B, C, H, W] on the device, channels last where that is faster: on CUDA, and for bf16 on the CPU.

        In fp32 on the CPU it is not, and batch norm would sum less exactly. last_on_cpu=False: nor in bf16.
        """
        last = last_on_cpu and self.device.type == "cpu" and self.opt.precision == "bf16"
        last = last or self.device.type == "cuda"
        memory_format = torch.channels_last if last else torch.contiguous_format
        return x.to(self.device, non_blocking=True).contiguous(memory_format=memory_format)

    def place_network(self, network: nn.Module, compiled: bool = False) -> nn.Module:
        """A stack of convolutions on the device, in engine.device.weights_format; compiled: self.compile takes it."""
        return network.to(self.device, memory_format=weights_format(self.device, compiled and self.opt.compile))

    def compile(self, *networks: nn.Module) -> None:
        """torch.compile in place, if run.compile: parameters keep their names."""
        if self.opt.compile:
            for network in networks:
                network.compile()

    def average(self, network: nn.Module) -> None:
        """Average the gradients over all processes (before an optimiser step); nothing to do in a single one."""
        distributed.average_gradients(network)

    def synchronise(self, *networks: nn.Module) -> None:
        """Batch norms over the pictures of all processes, on CUDA; on the CPU each keeps to its own."""
        if self.world > 1 and self.device.type == "cuda":
            for network in networks:
                synchronise(network)

    # ---- start, resume, end

    def start(self, opt: Any, data: Iterable[str] | None = None, **parts: Any) -> None:
        """Open the run folder, or resume from its newest readable checkpoint.

        Args:
            opt: the family's options, with `run`, `data`, `family` and `network_keys`.
            data: what names each training sample, with its label; a run that resumes says if it changed.
            parts: what the checkpoints hold, by name: networks, EMAs and optimisers.
        """
        self.options, self.parts, self.steps = opt, parts, opt.run.steps
        self.data = None if data is None else checkpoint.fingerprint(data)
        distributed.require_equal_parts(opt.data.batch)
        with self.in_turn():
            self._open()
        modules = (getattr(part, "module", part) for part in parts.values())
        self._lifeline = distributed.begin(self.step, [m for m in modules if isinstance(m, nn.Module)])
        self._signals = Signals(at_once=self.world == 1)  # torchrun sends on what a terminal sends, too
        silent = self.rank > 0 or not sys.stderr.isatty()
        self.bar = tqdm(total=self.steps, initial=self.step, desc=self.folder.name, disable=silent)
        self._logged_at, self._logged_step = time.perf_counter(), self.step

    def _open(self) -> None:
        if self.rank == 0:
            self._lock = take_folder(self.folder)
        self._resume() or self._init_from()
        if self.rank == 0:
            self._write_options()
            self.logs = Logs(self.folder, self.step)

    def _resume(self) -> bool:
        paths, damaged = list(reversed(checkpoint.steps(self.folder))), []
        best = self.folder / "checkpoints" / "best.pt"
        for path in [*paths, best] if best.is_file() else paths:
            try:
                content = checkpoint.load(path, self.options.family)
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
            print(f"resumed {self.folder} from {path.name} at step {self.step} of {self.steps}")
            if self.step >= self.steps:
                print("nothing left to do; raise run.steps to go on")
            return True
        if damaged:
            raise UserError(f"{self.folder}: none of its checkpoints can be read; choose another run.dir")
        return False

    def _report_changes(self, old: dict, path: Path) -> None:
        changed = changes(old, to_dict(self.options))
        refused = [key for key in changed if key.startswith(self.options.network_keys)]
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
        self.step = self._saved_step = content["step"]
        self.best = content.get("best", self.best)

    def _init_from(self) -> None:
        """run.init_from: weights only, at step 0; what is missing is listed and keeps its initial values."""
        if self.opt.init_from is None:
            return
        path = checkpoint.find(self.opt.init_from)
        content = checkpoint.load(path, self.options.family)
        for name, part in self.parts.items():
            if isinstance(part, torch.optim.Optimizer):
                continue
            report = checkpoint.load_what_fits(getattr(part, "module", part), content.get(name, {}))
            print(f"run.init_from={path}: {name}: {report}")

    def _write_options(self) -> None:
        with whole_file(self.folder / "options.yaml") as part:
            part.write_text(yaml.safe_dump(to_dict(self.options), sort_keys=False), encoding="utf-8")

    def running(self) -> bool:
        """Whether there is a step to do. After SIGINT or SIGTERM, of any process: save and exit with 130 or 143."""
        stale = self.rank == 0 and 0 < self.opt.early_stop <= self.best["stale"]
        number, stop = distributed.most(self._signals.number, stale)
        if number:
            self.save()
            self._close()
            if self.world > 1:
                self._signals.ignore()  # torchrun sends one as soon as the first process has ended
            print(f"stopped by {signal.Signals(number).name} at step {self.step}; the same command goes on from here")
            raise SystemExit(128 + number)
        if stop:
            print(f"early stop at step {self.step}: no new best since step {self.best['step']}")
            return False
        return self.step < self.steps

    def finish(self) -> None:
        """Save the last step and close the logs."""
        self.save()
        self._close()

    def _close(self) -> None:
        self.bar.close()
        if self.rank == 0:
            self.logs.close()
        distributed.end(self._lifeline)
        self._signals.restore()
        self._lock = None

    # ---- logs

    def due(self, every: int) -> bool:
        """Whether something that happens every so many steps happens after this one; 0: never. Always at the end.

        It is the first process's to do: for the others nothing is due.
        """
        return self.rank == 0 and self._reached(every)

    def _reached(self, every: int) -> bool:
        return every > 0 and (self.step % every == 0 or self.step == self.steps)

    def log(self, **terms: torch.Tensor | float) -> None:
        """The terms of this step. Every run.log_every steps the newest of each since the last line are read from the
        device, tested and written: a lazy penalty's are not of the line's step. Of several processes: the means."""
        self._terms |= {k: v.detach() if isinstance(v, torch.Tensor) else v for k, v in terms.items()}
        self.bar.update(self.step - self.bar.n)
        if not self._reached(self.opt.log_every):
            return
        means = distributed.means([float(value) for value in self._terms.values()])
        self._terms = dict(zip(self._terms, means, strict=True))
        values, self._terms = self._finite_terms(), {}
        if self.rank > 0:
            return
        seconds = time.perf_counter() - self._logged_at
        images = (self.step - self._logged_step) * self.options.data.batch
        values["images_per_s"] = float(f"{images / seconds:.4g}")  # of slow steps too four digits
        self._logged_at, self._logged_step = time.perf_counter(), self.step
        self.logs.scalars(self.step, values)
        shown = "  ".join(f"{name} {value:.4g}" for name, value in values.items())
        if self.bar.disable:
            print(f"step {self.step}/{self.steps}  {shown}", flush=True)
        else:
            self.bar.set_postfix_str(shown)

    def _finite_terms(self) -> dict[str, float]:
        values = {name: float(value) for name, value in self._terms.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                self._stop_nonfinite(f"term {name} is {value}")
        return values

    def _stop_nonfinite(self, what: str) -> None:
        kept = checkpoint.steps(self.folder)
        last = f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
        other = ", or use run.precision=fp32" if self.opt.precision != "fp32" else ""
        distributed.refuse(f"step {self.step}: {what}; {last}; lower the learning rates{other}")

    def grid(self, rows: list[list[np.ndarray]], name: str | None = None) -> None:
        """A sample grid of uint8 [H, W, 3] pictures: samples/step_XXXXXXXX.png, or samples/NAME.png."""
        if self.rank == 0:
            self.logs.grid(name or f"step_{self.step:08d}", self.step, rows)

    def validated(self, **metrics: float) -> None:
        """Log validation metrics; keep the checkpoint if it is the best one by run.keep_best."""
        self.logs.scalars(self.step, metrics)
        tqdm.write(f"step {self.step}  " + "  ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
        self._logged_at, self._logged_step = time.perf_counter(), self.step  # validation is not training time
        if self.opt.keep_best is None:
            return
        name, direction = self.opt.keep_best
        value, old = metrics[name], self.best["value"]
        if math.isfinite(value) and (old is None or (value > old if direction == "max" else value < old)):
            self.best = {"value": float(value), "step": self.step, "stale": 0}
            self._write(self.folder / "checkpoints" / "best.pt")
        else:
            self.best["stale"] += 1

    # ---- checkpoints

    def save(self) -> None:
        """Write the checkpoint of this step and drop all but the newest run.keep."""
        if self._saved_step == self.step or self.rank > 0:
            return
        self._write(self.folder / "checkpoints" / f"step_{self.step:08d}.pt")
        self._saved_step = self.step
        for path in checkpoint.steps(self.folder)[: -self.opt.keep]:
            path.unlink()

    def _write(self, path: Path) -> None:
        self._finite_terms()
        states = {name: part.state_dict() for name, part in self.parts.items()}
        bad = checkpoint.first_nonfinite(states)
        if bad:
            self._stop_nonfinite(f"weight {bad} is not finite")
        head = {"family": self.options.family, "step": self.step, "options": to_dict(self.options)}
        head |= {"best": dict(self.best), "data": self.data}
        checkpoint.save(path, {**head, **states})
