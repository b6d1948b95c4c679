"""Curves of the losses and metrics of one or several runs over each other, as a PNG.

    python scripts/plot_run.py RUN [RUN ...] [--output curves.png] [--terms D_x D_G_z | --join D_x,D_G_z] [--smooth 20]

Reads log.jsonl of each run folder. Every term has a panel of its own; --join draws several in one. Needs matplotlib
(pip install -r requirements-extra.txt).
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from engine.errors import UserError, door
from engine.files import require_writable, whole_file

RATE = "images_per_s"  # every line of a training has it, no validation
LEFT_OUT = ("step", RATE)
COLUMNS = 3


class Curve(NamedTuple):
    """What was logged of a term."""

    steps: list[float]
    values: list[float]
    validation: bool


def read_log(run: Path) -> dict[str, Curve]:
    """The terms of a run folder's log.jsonl -> their curves; a last line that is cut short is left out.

    Raises:
        UserError: there is no log, or none with a term.
    """
    path = run / "log.jsonl" if run.is_dir() else run
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{run}: no log.jsonl that can be read ({error}); name a run folder", 2) from None
    curves: dict[str, Curve] = {}
    for number, text in enumerate(lines, 1):
        try:
            line = json.loads(text)
            step = float(line["step"])
            values = {name: float(value) for name, value in line.items() if name not in LEFT_OUT and value is not None}
        except (ValueError, TypeError, KeyError, AttributeError):
            if number == len(lines):
                break
            raise UserError(f"{path}: line {number} is no log line; name a run folder") from None
        for name, value in values.items():
            curve = curves.setdefault(name, Curve([], [], RATE not in line))
            curve.steps.append(step)
            curve.values.append(value)
    if not curves:
        raise UserError(f"{path}: holds no terms yet; wait for run.log_every steps")
    return curves


def names_of(runs: list[Path]) -> list[str]:
    """What the legend calls them: their paths without the folders that all share."""
    paths = [run.resolve() for run in runs]
    try:
        shared = os.path.commonpath([path.parent for path in paths])
    except ValueError:  # of two drives
        return [str(path) for path in paths]
    return [path.relative_to(shared).as_posix() for path in paths]


def smoothed(values: list[float], window: int) -> np.ndarray:
    """The mean of each value and up to `window` - 1 before it."""
    sums = np.cumsum(np.concatenate([[0.0], values]))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - window)
    return (sums[ends] - sums[starts]) / (ends - starts)


def panels(logs: dict[str, dict[str, Curve]], terms: list[str] | None, join: list[str]) -> list[list[str]]:
    """The terms of each panel, in the order of the logs; UserError for one that no run has."""
    known = list(dict.fromkeys(name for curves in logs.values() for name in curves))
    joined = [group.split(",") for group in join]
    asked = (terms or []) + sum(joined, [])
    for name in asked:
        if name not in known:
            raise UserError(f"{name}: no run has such a term; there are {', '.join(known)}", 2)
    if terms is None and not join:
        return [[name] for name in known]
    return [[name] for name in terms or []] + joined


def draw(logs: dict[str, dict[str, Curve]], groups: list[list[str]], smooth: int):
    """A matplotlib figure: a panel per group of terms, a line per run and term."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("matplotlib is not installed: pip install -r requirements-extra.txt") from None
    columns = min(COLUMNS, len(groups))
    rows = -(-len(groups) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.1 * rows), layout="constrained")
    for axes, group in zip(figure.subplots(rows, columns, squeeze=False).flat, groups, strict=False):
        for run, curves in logs.items():
            for name in group:
                if name in curves:
                    steps, values, validation = curves[name]
                    label = " ".join(([run] if len(logs) > 1 else []) + ([name] if len(group) > 1 else []))
                    axes.plot(steps, smoothed(values, 1 if validation else smooth), label=label or None, linewidth=1.2)
        axes.set_title(", ".join(group), fontsize=10)
        axes.set_xlabel("step", fontsize=8)
        axes.tick_params(labelsize=8)
        low, high = axes.get_ylim()
        if high - low < 1e-6 * abs(high):  # a constant, such as the learning rate: not its rounding
            axes.set_ylim(sorted((0, low + high)))
        axes.grid(alpha=0.3)
        if len(logs) > 1 or len(group) > 1:
            axes.legend(fontsize=7)
    for axes in figure.axes[len(groups) :]:
        axes.remove()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="a run folder")
    parser.add_argument("--output", type=Path, default=Path("curves.png"), help="the picture (default curves.png)")
    parser.add_argument("--terms", nargs="+", metavar="TERM", help="only these (default: all)")
    parser.add_argument("--join", nargs="+", default=[], metavar="A,B", help="terms that share a panel")
    parser.add_argument(
        "--smooth",
        type=int,
        default=1,
        metavar="N",
        help="mean over N log lines, but of validations (default 1: as logged)",
    )
    args = parser.parse_args()
    if args.smooth < 1:
        parser.error(f"--smooth {args.smooth}: expected a whole number of at least 1")
    if args.output.suffix.lower() not in (".png", ".svg", ".pdf"):
        parser.error(f"--output {args.output}: expected a name that ends in .png, .svg or .pdf")
    require_writable(args.output.absolute().parent)
    logs = {name: read_log(run) for name, run in zip(names_of(args.runs), args.runs, strict=True)}
    figure = draw(logs, panels(logs, args.terms, args.join), args.smooth)
    with whole_file(args.output) as part:
        figure.savefig(part, format=args.output.suffix[1:].lower(), dpi=110)
    print(f"{args.output}: {sum(len(curves) for curves in logs.values())} curves of {len(logs)} runs")


if __name__ == "__main__":
    door(main)
