"""Option groups that the four families share."""

import math
from dataclasses import dataclass, replace
from typing import Any

from options.fields import choice, flag_or, integer, list_of, number, option, optional, path, size, text

LEAST_COMPARED = 50  # pictures of a set: of fewer, KID is mostly noise and FID mostly bias


@dataclass(frozen=True)
class RunOptions:
    dir: str = option("runs/run", path("a folder"), "run folder; the same command resumes what stands there")
    steps: int = option(20000, integer(1), "training steps")
    epochs: float | None = option(
        None, optional(number(above=0)), "passes over the training pictures, instead of run.steps"
    )
    seed: int = option(0, integer(0, 2**31), "step k is a function of (seed, k)")
    device: str = option("auto", choice("auto", "cpu", "cuda", "mps"), "auto: cuda, else mps, else cpu")
    precision: str = option("fp32", choice("fp32", "bf16"), "bf16: autocast of the networks; losses stay fp32")
    compile: bool | str = option(
        False,
        flag_or("reduce-overhead"),
        "torch.compile the generator: a minute to start (on a CPU minutes), then faster on a GPU; reduce-overhead: in "
        "CUDA graphs, for small batches, at the cost of memory",
    )
    log_every: int = option(50, integer(1), "steps between lines of log.jsonl and TensorBoard")
    sample_every: int = option(500, integer(0), "steps between sample grids, 0: never")
    save_every: int = option(1000, integer(1), "steps between checkpoints")
    keep: int = option(2, integer(1), "how many of the newest checkpoints are kept")
    keep_best: tuple | None = option(
        None,
        optional(list_of(text(), 2, "METRIC,min or METRIC,max")),
        "also keep the checkpoint that is best by a validation metric",
    )
    eval_every: int = option(1000, integer(0), "steps between validations, 0: never")
    early_stop: int = option(0, integer(0), "stop after so many validations without a new best, 0: never")
    init_from: str | None = option(
        None, optional(path("a checkpoint or run folder")), "start at step 0 from these weights"
    )

    def __post_init__(self):
        if self.keep_best is not None and self.keep_best[1] not in ("min", "max"):
            raise ValueError(f"run.keep_best={','.join(self.keep_best)}: expected METRIC,min or METRIC,max")
        if self.keep_best is not None and not self.eval_every:
            raise ValueError("run.eval_every=0: run.keep_best needs validations; set both or neither")
        if self.early_stop and self.keep_best is None:
            raise ValueError(f"run.early_stop={self.early_stop}: needs run.keep_best, the metric to watch")


@dataclass(frozen=True)
class DataOptions:
    root: str = option(
        "drawn", path("a folder or drawn"), "the data set, or drawn: sample characters, made on first use"
    )
    limit: int | None = option(None, optional(integer(1)), "use only the first N training pictures")
    batch: int = option(4, integer(1), "pictures in a step")
    workers: int = option(2, integer(0, 128), "loader processes; the result does not depend on it")
    size: Any = option((256, 256), size(), "height and width that the network trains on")


@dataclass(frozen=True)
class SplitDataOptions(DataOptions):
    val: str | None = option(None, optional(path("a folder or a list file")), "validation data; default root/val")
    cache: str = option(
        "auto",
        choice("auto", "none", "disk", "ram", "device"),
        "where the decoded pictures are: a mapped file, memory, the GPU; none: decoded each time; auto: a file if the "
        "disk has room, and the GPU if they fit well; else none",
    )
    val_share: float = option(0.1, number(0, 0.9), "split off by file name when there is neither data.val nor val/")


@dataclass(frozen=True)
class EMAOptions:
    half_life: float = option(
        10000.0, number(0), "images after which a weight counts half in the average, 0: no averaging"
    )
    ramp_up: float = option(0.05, number(0, 1), "the half-life is at most this share of the images seen so far")


@dataclass(frozen=True)
class SampleOptions:
    norm_stats: str = option(
        "running", choice("running", "batch"), "batch norm in prediction: running averages, or each picture's own"
    )


@dataclass(frozen=True)
class KidSampleOptions(SampleOptions):
    kid_features: str = option(
        "none",
        path("none, inception, random, or a dcgan run folder or checkpoint"),
        "KID of these features, as scripts/evaluate.py has them, in every validation (run.keep_best=kid,min); none: no "
        "KID",
    )

    @property
    def takes_kid(self) -> bool:
        return self.kid_features != "none"


def check_keep_best(best: tuple[str, str] | None, metrics: list[str], direction: str) -> None:
    """Raises a ValueError unless run.keep_best is none, or one of the metrics of which `direction` is the best."""
    if best is None or (best[0] in metrics and best[1] == direction):
        return
    if best[0] in metrics:
        raise ValueError(f"run.keep_best={','.join(best)}: would keep the worst; use {best[0]},{direction}")
    use = f"use {metrics[0]},{direction}" if len(metrics) == 1 else f"choose from {', '.join(metrics)}"
    raise ValueError(f"run.keep_best={','.join(best)}: there is no such metric; {use}")


def check_validation(run: RunOptions, sample: KidSampleOptions, *others: str) -> None:
    """Raises a ValueError unless run.keep_best is the least of KID, if that is taken, or of one of the others."""
    best = run.keep_best
    check_keep_best(best, [*others, "kid"], "min")
    if best is not None and best[0] == "kid" and not sample.takes_kid:
        raise ValueError(f"run.keep_best={','.join(best)}: KID is of sample.kid_features; set that too")
    if sample.takes_kid and not run.eval_every:
        raise ValueError(
            f"sample.kid_features={sample.kid_features}: run.eval_every=0 never validates; set both or neither"
        )


def steps_of(opt: Any, pictures: int, batches: int = 1) -> int:
    """How many steps the options mean; a step takes so many batches of new pictures."""
    if opt.run.epochs is None:
        return opt.run.steps
    return math.ceil(opt.run.epochs * pictures / (opt.data.batch * batches))


def with_steps(opt: Any, pictures: int, batches: int = 1) -> Any:
    """The options with `run.steps` from `run.epochs`, if that is set; a step takes so many batches of new pictures."""
    if opt.run.epochs is None:
        return opt
    steps = steps_of(opt, pictures, batches)
    each = f"data.batch={opt.data.batch}" + (f", {batches} of them in a step" if batches > 1 else "")
    print(f"run.epochs={opt.run.epochs:g}: {steps} steps ({pictures} pictures, {each})")
    return replace(opt, run=replace(opt.run, steps=steps))
