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

from engine import distributed
from engine.chance import Sample, SharedChance, seed_all
from engine.device import (
    Bf16Convolutions,
    autocast,
    choose_device,
    keep_freed_memory,
    note_emulated_bf16,
    to_device,
    tune,
    weights_format,
)
from engine.files import require_writable, take_folder, whole_file
from engine.logs import Logs
from engine.run_checkpoints import Checkpoints
from engine.signals import Signals
from engine.sync_norm import synchronise
from options.load import to_dict


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
    require_equal_parts = staticmethod(distributed.require_equal_parts)

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
        self._terms: dict[str, torch.Tensor | float] = {}
        self._gradients: dict[str, torch.Tensor] = {}
        if opt.precision == "bf16":
            note_emulated_bf16(self.device)
        seed_all(opt.seed)  # initial weights

    # ---- randomness and precision

    def reseed(self) -> None:
        """Seed every generator from (run.seed, step), so that a step does not depend on those before it."""
        if self.opt.compile == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()  # what CUDA graphs made in this step stays until the next
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
        return to_device(x, self.device).contiguous(memory_format=memory_format)

    def place_network(self, network: nn.Module, compiled: bool = False) -> nn.Module:
        """A stack of convolutions on the device, in engine.device.weights_format; compiled: self.compile takes it."""
        compiled = compiled and bool(self.opt.compile)
        return network.to(self.device, memory_format=weights_format(self.device, compiled))

    def compile(self, *networks: nn.Module) -> None:
        """torch.compile in place, if run.compile: parameters keep their names. A word is torch's mode."""
        how = {"mode": self.opt.compile} if isinstance(self.opt.compile, str) else {}
        if self.opt.compile:
            for network in networks:
                network.compile(**how)

    def average(self, network: nn.Module) -> None:
        """Average the gradients over all processes, before every optimiser step; in a single one they stay.

        A step with a log line has their norm in it: grad_G for the part G of `start`, the L2 norm of all its gradients
        as one vector, for what is learned of it. If it moves several times in the step, that of the last time.
        """
        distributed.average_gradients(network)
        if self._reached(self.opt.log_every, self.step + 1):
            gradients = [p.grad for p in network.parameters() if p.grad is not None]
            self._gradients[f"grad_{self._names[network]}"] = nn.utils.get_total_norm(gradients)

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
        self.options, self.steps = opt, opt.run.steps
        distributed.require_equal_parts(opt.data.batch)
        if self.device.type == "cpu" and opt.data.batch > 1:
            keep_freed_memory(32)  # the holes that larger tensors leave would make the peak higher than without
        tune(self.device, sizes_vary=opt.data.size == "native")
        self.checkpoints = Checkpoints(opt, data, parts)
        self._names = {part: name for name, part in parts.items() if isinstance(part, nn.Module)}
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
        self.step = self.checkpoints.resume()
        if self.rank == 0:
            self._write_options()
            self.logs = Logs(self.folder, self.step)

    def _write_options(self) -> None:
        with whole_file(self.folder / "options.yaml") as part:
            part.write_text(yaml.safe_dump(to_dict(self.options), sort_keys=False), encoding="utf-8")

    def running(self) -> bool:
        """Whether there is a step to do. After SIGINT or SIGTERM, of any process: save and exit with 130 or 143."""
        stale = self.rank == 0 and 0 < self.opt.early_stop <= self.checkpoints.best["stale"]
        number, stop = distributed.most(self._signals.number, stale)
        if number:
            self.save()
            self._close()
            if self.world > 1:
                self._signals.ignore()  # torchrun sends one as soon as the first process has ended
            print(f"stopped by {signal.Signals(number).name} at step {self.step}; the same command goes on from here")
            raise SystemExit(128 + number)
        if stop:
            print(f"early stop at step {self.step}: no new best since step {self.checkpoints.best['step']}")
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
        return self.rank == 0 and self._reached(every, self.step)

    def _reached(self, every: int, step: int) -> bool:
        return every > 0 and (step % every == 0 or step == self.steps)

    def log(self, **terms: torch.Tensor | float) -> None:
        """The terms of this step. Every run.log_every steps the newest of each since the last line are read from the
        device, tested and written: a lazy penalty's are not of the line's step. Of several processes: the means.
        The gradients' norms of `average` come with them."""
        self._terms |= {k: v.detach() if isinstance(v, torch.Tensor) else v for k, v in terms.items()}
        self.bar.update(self.step - self.bar.n)
        if not self._reached(self.opt.log_every, self.step):
            return
        self._terms |= self._gradients
        means = distributed.means([float(value) for value in self._terms.values()])
        self._terms = dict(zip(self._terms, means, strict=True))
        values, self._terms, self._gradients = self._finite_terms(), {}, {}
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
                self.checkpoints.refuse_nonfinite(self.step, f"term {name} is {value}")
        return values

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
        value = metrics[self.opt.keep_best[0]]
        if self.checkpoints.improves(value):
            self._finite_terms()
            self.checkpoints.save_best(self.step, value)
        else:
            self.checkpoints.best["stale"] += 1

    def save(self) -> None:
        """Write the checkpoint of this step and drop all but the newest run.keep."""
        if self.checkpoints.saved != self.step and self.rank == 0:
            self._finite_terms()
            self.checkpoints.save(self.step)
