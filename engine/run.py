"""Run: the process around a training loop. Device, precision, seed, folder, logs, checkpoints, signals.

It knows no network by name and never calls back into a script: the loop asks, the run does.
"""

import contextlib
import math
import random
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

from engine import checkpoint
from engine.device import (
    Bf16Convolutions,
    autocast,
    choose_device,
    keep_freed_memory,
    note_emulated_bf16,
    weights_format,
)
from engine.errors import UserError
from engine.files import cannot_write, require_writable, take_folder, whole_file
from engine.logs import Logs
from options.load import changes, to_dict


class Run:
    """One training run in one folder.

    Attributes:
        step: optimiser steps done; the loop adds one at the end of each.
        steps: where the training ends.
        device: the torch device.
    """

    def __init__(self, opt: Any):
        """`opt`: the RunOptions."""
        self.opt = opt
        self.device = choose_device(opt.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        self.folder = Path(opt.dir)
        require_writable(self.folder)
        self.step = 0
        self.steps = opt.steps
        self.best = {"value": None, "step": 0, "stale": 0}
        self._terms: dict[str, torch.Tensor | float] = {}
        self._saved_step: int | None = None
        self._signal: int | None = None
        if opt.precision == "bf16":
            note_emulated_bf16(self.device)
        self.seed_all(opt.seed)  # initial weights

    # ---- randomness and precision

    def seed_all(self, seed: int) -> None:
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed)

    def reseed(self) -> None:
        """Seed every generator from (run.seed, step), so that a step does not depend on those before it."""
        self.seed_all(int(np.random.SeedSequence((self.opt.seed, self.step)).generate_state(1)[0]))

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
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            return
        grads = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        torch.distributed.all_reduce(flat)
        flat /= torch.distributed.get_world_size()
        for grad, part in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(part.view_as(grad))

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
        self._lock = take_folder(self.folder)
        self._resume() or self._init_from()
        self._write_options()
        try:
            self.logs = Logs(self.folder, self.step)
        except OSError as error:
            raise cannot_write(self.folder, error) from None
        self._handlers = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._on_signal)
        terminal = sys.stderr.isatty()
        self.bar = tqdm(total=self.steps, initial=self.step, desc=self.folder.name, disable=not terminal)
        self._logged_at, self._logged_step = time.perf_counter(), self.step

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

    def _on_signal(self, number: int, _: Any) -> None:
        if self._signal is not None:  # the second time at once
            raise KeyboardInterrupt
        self._signal = number

    def running(self) -> bool:
        """Whether there is a step to do. After SIGINT or SIGTERM: save and exit with 130 or 143."""
        if self._signal is not None:
            self.save()
            number = self._signal
            self._close()
            print(f"stopped by {signal.Signals(number).name} at step {self.step}; the same command goes on from here")
            raise SystemExit(128 + number)
        if self.opt.early_stop and self.best["stale"] >= self.opt.early_stop:
            print(f"early stop at step {self.step}: no new best since step {self.best['step']}")
            return False
        return self.step < self.steps

    def finish(self) -> None:
        """Save the last step and close the logs."""
        self.save()
        self._close()

    def _close(self) -> None:
        self.bar.close()
        self.logs.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._lock = None

    # ---- logs

    def due(self, every: int) -> bool:
        """Whether something that happens every so many steps happens after this one; 0: never. Always at the end."""
        return every > 0 and (self.step % every == 0 or self.step == self.steps)

    def log(self, **terms: torch.Tensor | float) -> None:
        """The terms of this step. Every run.log_every steps the newest of each since the last line are read from the
        device, tested and written: a lazy penalty's are not of the line's step."""
        self._terms |= {k: v.detach() if isinstance(v, torch.Tensor) else v for k, v in terms.items()}
        self.bar.update(self.step - self.bar.n)
        if not self.due(self.opt.log_every):
            return
        values, self._terms = self._finite_terms(), {}
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
        raise UserError(f"step {self.step}: {what}; {last}; lower the learning rates{other}")

    def grid(self, rows: list[list[np.ndarray]], name: str | None = None) -> None:
        """A sample grid of uint8 [H, W, 3] pictures: samples/step_XXXXXXXX.png, or samples/NAME.png."""
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
        if self._saved_step == self.step:
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
