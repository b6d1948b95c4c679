"""scripts/plot_run.py: the curves of logs, and what it says of wrong ones."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

from engine.errors import UserError
from scripts import plot_run


@pytest.fixture
def runs(tmp_path):
    for name, scale in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        lines = [{"step": k, "D": scale * k, "images_per_s": 9.0} for k in range(1, 6)] + [{"step": 5, "val": 0.5}]
        (tmp_path / name / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["plot_run.py", *map(str, words)])
    plot_run.main()


def test_terms_become_curves(runs):
    assert plot_run.read_log(runs / "b") == {
        "D": ([1, 2, 3, 4, 5], [2, 4, 6, 8, 10], False),
        "val": ([5], [0.5], True),
    }
    with (runs / "a" / "log.jsonl").open("a") as file:
        file.write('{"step": 6, "D"')  # a run that goes on
    assert plot_run.read_log(runs / "a")["D"][1] == [1, 2, 3, 4, 5]


def test_a_metric_without_a_value_has_no_point(runs):
    with (runs / "a" / "log.jsonl").open("a") as file:
        file.write('{"step": 6, "val": 0.25, "iou/eye": null}\n{"step": 7, "iou/eye": 0.75}\n')
    curves = plot_run.read_log(runs / "a")
    assert curves["val"][:2] == ([5, 6], [0.5, 0.25]) and curves["iou/eye"][:2] == ([7], [0.75])


def test_smoothing_is_a_mean_over_the_last_values():
    assert plot_run.smoothed([1, 2, 6, 0], 2).tolist() == [1, 1.5, 4, 3]
    assert plot_run.smoothed([1, 2, 6], 1).tolist() == [1, 2, 6]


def test_validations_are_not_smoothed():
    ups = plot_run.Curve([1, 2, 3], [1.0, 0.0, 2.0], True)
    lines = [
        axes.lines[0]
        for axes in plot_run.draw({"a": {"kid": ups, "D": ups._replace(validation=False)}}, [["kid"], ["D"]], 3).axes
    ]
    assert [line.get_ydata().tolist() for line in lines] == [[1, 0, 2], [1, 0.5, 1]]


def test_panels(runs):
    logs = {name: plot_run.read_log(runs / name) for name in "ab"}
    assert plot_run.panels(logs, None, []) == [["D"], ["val"]]
    assert plot_run.panels(logs, ["val"], ["D,val"]) == [["val"], ["D", "val"]]
    figure = plot_run.draw(logs, [["D"], ["D", "val"]], 1)
    lines = [[line.get_ydata().tolist() for line in axes.lines] for axes in figure.axes]
    assert lines[0] == [[1, 2, 3, 4, 5], [2, 4, 6, 8, 10]] and len(lines[1]) == 4


def test_a_legend_names_what_tells_runs_apart(tmp_path):
    assert plot_run.names_of([tmp_path / "x" / "a", tmp_path / "x" / "b"]) == ["a", "b"]
    assert plot_run.names_of([tmp_path / "x" / "a", tmp_path / "y" / "a"]) == ["x/a", "y/a"]
    assert plot_run.names_of([tmp_path / "x" / "a"]) == ["a"]


def test_the_rounding_of_a_constant_is_no_curve():
    steps, rates = list(range(20)), [2e-4 * (1 + 1e-13 * (k % 2)) for k in range(20)]
    axes = plot_run.draw({"a": {"lr": plot_run.Curve(steps, rates, False)}}, [["lr"]], 3).axes[0]
    assert axes.get_ylim() == pytest.approx((0, 4e-4))


def test_the_script_writes_a_picture(runs, monkeypatch, capsys):
    run(monkeypatch, runs / "a", runs / "b", "--output", runs / "out.png", "--smooth", 3)
    picture = np.asarray(Image.open(runs / "out.png").convert("RGB"))
    assert min(picture.shape[:2]) > 200 and (picture != 255).any() and "4 curves of 2 runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere"], "nowhere: no log.jsonl that can be read"),
        (["a", "--terms", "miou"], "miou: no run has such a term; there are D, val"),
    ],
)
def test_mistakes_are_one_line(runs, monkeypatch, words, line):
    monkeypatch.chdir(runs)
    with pytest.raises(UserError, match=line):
        run(monkeypatch, *words)
    assert not (runs / "curves.png").exists()


def test_a_log_that_is_none(runs):
    (runs / "a" / "log.jsonl").write_text("hello\n{}\n")
    with pytest.raises(UserError, match="line 1 is no log line"):
        plot_run.read_log(runs / "a")
    (runs / "a" / "log.jsonl").write_text("")
    with pytest.raises(UserError, match="holds no terms yet"):
        plot_run.read_log(runs / "a")
