"""The strict options loader: every mistake is one line, exit code 2."""

from pathlib import Path

import pytest
import yaml

from engine.errors import UserError
from options.dcgan import DcganOptions
from options.load import changes, command_line, flat_fields, from_dict, load, to_dict
from options.pix2pix import Pix2PixOptions
from options.seg import DEFAULT_FILE, SegOptions
from options.spade import SpadeOptions

FAMILIES = {"seg": SegOptions, "pix2pix": Pix2PixOptions, "spade": SpadeOptions, "dcgan": DcganOptions}
OPTIONS = Path(__file__).parents[1] / "options"
PUBLISHED = {"weights", "datasets"}  # no options of a training


def refused(argv, default_file=DEFAULT_FILE) -> str:
    with pytest.raises(UserError) as caught:
        load(SegOptions, argv, default_file)
    assert caught.value.code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def written(tmp_path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


def test_of_steps_and_epochs_the_last_said_counts(tmp_path):
    path = str(written(tmp_path, "run: {epochs: 5, steps: 7}"))
    assert load(SegOptions, [path], DEFAULT_FILE).run.epochs == 5
    assert load(SegOptions, [path, "run.steps=3"], DEFAULT_FILE).run.epochs is None
    assert load(SegOptions, [path, "run.steps=3", "run.epochs=2"], DEFAULT_FILE).run.epochs == 2


def test_folders_are_taken_as_they_stand(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    data = load(SegOptions, ["data.root=~/pairs", "data.unlabeled=007", "data.val=none"], DEFAULT_FILE).data
    assert (data.root, data.unlabeled, data.val) == (str(tmp_path / "pairs"), "007", None)
    assert load(SegOptions, ["data.root=2024-02-30"], DEFAULT_FILE).data.root == "2024-02-30"


def test_defaults_then_yaml_then_command_line(tmp_path):
    path = written(tmp_path, "run: {steps: 7, seed: 3}\noptim:\n  g_lr: 2e-4\n")
    opt = load(SegOptions, [str(path), "run.steps=9", "--data.batch=2"], DEFAULT_FILE)
    assert (opt.run.steps, opt.run.seed, opt.data.batch) == (9, 3, 2)
    assert opt.optim.g_lr == 2e-4, "PyYAML reads 2e-4 as text"
    assert opt.optim.d_lr == 1e-4, "the dataclass default"


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("data.size=[64, 96]", "size", (64, 96)),
        ("data.size=64,96", "size", (64, 96)),
        ("data.size=64", "size", (64, 64)),
        ("data.size=native", "size", "native"),
        ("data.augment=mirror,crop", "augment", ("mirror", "crop")),
        ("data.augment=none", "augment", ()),
        ("data.limit=none", "limit", None),
        ("data.ignore=11", "ignore", (11,)),
        ("data.classes=sky,road", "classes", (("sky", None), ("road", None))),
        ("data.classes={a: [1, 2, 3], b: [4, 5, 6]}", "classes", (("a", (1, 2, 3)), ("b", (4, 5, 6)))),
    ],
)
def test_values_of_the_command_line(word, key, value):
    assert getattr(load(SegOptions, [word], DEFAULT_FILE).data, key) == value


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["run.stesp=3"], ["command line", "run.stesp", "did you mean run.steps"]),
        (["steps=3"], ["unknown key steps", "run.steps"]),
        (["run=3"], ["run is a group", "run.dir"]),
        (["run.steps=many"], ["command line: run.steps=many", "a whole number of at least 1"]),
        (["run.steps=1.5"], ["run.steps=1.5", "whole number"]),
        (["run.steps=0"], ["run.steps=0", "at least 1"]),
        (["optim.g_lr=nan"], ["optim.g_lr=nan", "a number"]),
        (["optim.g_lr=true"], ["optim.g_lr=true", "a number"]),
        (["run.device=gpu"], ["run.device=gpu", "auto|cpu|cuda|mps"]),
        (["data.augment=mirror,flip"], ["data.augment", "mirror|gamma"]),
        (["data.size=4"], ["data.size=4", "8 to 8192"]),
        (["data.classes=[a, a]"], ["data.classes", "names"]),
        (["run.keep_best=miou"], ["run.keep_best=miou", "METRIC,max"]),
        (["run.keep_best=miou,up"], ["run.keep_best=miou,up", "METRIC,max"]),
        (["run.early_stop=3", "run.keep_best=none"], ["run.early_stop=3", "run.keep_best"]),
        (["run.keep_best=mIoU,max"], ["run.keep_best=mIoU,max", "miou, pixel_accuracy, iou/eye"]),
        (["run.eval_every=0"], ["run.eval_every=0", "run.keep_best"]),
        (["data.size=native", "data.augment=mirror,crop"], ["data.augment=crop", "data.size=native"]),
        (["model.generator=unet", "model.pretrained=true"], ["model.pretrained=true", "unet has no encoder"]),
        (["optim.g_lr=2024-02-30"], ["optim.g_lr=2024-02-30", "a number"]),
        (["loss.class_weights=1,2"], ["loss.class_weights", "2 weights for 5 classes"]),
        (["model.encoder=msra101", "model.depth=layer4"], ["model.depth=layer4", "msra101"]),
        (["nowhere.yaml"], ["nowhere.yaml", "no such options file"]),
        (["options/seg_dmo.yaml"], ["did you mean", "seg_demo.yaml"]),
        (["a.yaml", "b.yaml"], ["b.yaml", "at most one FILE"]),
        (["--verbose"], ["--verbose", "--help"]),
    ],
)
def test_mistakes_on_the_command_line(words, parts, monkeypatch):
    monkeypatch.chdir(OPTIONS.parent)
    line = refused(words)
    assert all(part in line for part in parts), line


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("run: {steps: 3", ["mine.yaml", "not readable as YAML"]),
        ("run:\n  steps: 3\n  steps: 4\n", ["mine.yaml", "line 3", "twice"]),
        ("- run\n", ["mine.yaml", "list"]),
        ("runs:\n  steps: 3\n", ["mine.yaml", "unknown key runs"]),
        ("run: 3\n", ["mine.yaml", "run is a group"]),
        ("run:\n  stps: 3\n", ["mine.yaml", "run.stps", "did you mean run.steps"]),
        ("optim:\n  g_lr: fast\n", ["mine.yaml", "optim.g_lr=fast", "a number"]),
    ],
)
def test_mistakes_in_a_yaml(tmp_path, text, parts):
    line = refused([str(written(tmp_path, text))])
    assert all(part in line for part in parts), line


def test_a_group_with_only_comments_is_empty(tmp_path):
    assert load(SegOptions, [str(written(tmp_path, "run:\n  # steps: 3\n"))], DEFAULT_FILE).run.steps == 20000


@pytest.mark.parametrize(
    "path", sorted(path for path in OPTIONS.glob("*.yaml") if path.stem not in PUBLISHED), ids=lambda path: path.stem
)
def test_every_yaml_of_ours_loads_and_names_its_command(path):
    family = path.stem.split("_")[0]
    load(FAMILIES[family], [str(path)], DEFAULT_FILE)
    head = [line for line in path.read_text().splitlines() if line.startswith("#")]
    assert any(f"python train_{family}.py" in line for line in head)


def test_options_survive_yaml_and_checkpoint():
    opt = load(SegOptions, ["data.classes={a: [1, 2, 3], b: [4, 5, 6]}", "data.size=64,96"], DEFAULT_FILE)
    assert from_dict(SegOptions, yaml.safe_load(yaml.safe_dump(to_dict(opt))), "run") == opt


def test_help_lists_every_key(capsys):
    with pytest.raises(SystemExit) as caught:
        command_line(SegOptions, DEFAULT_FILE, "A script.", ["--help"])
    assert caught.value.code == 0
    text = capsys.readouterr().out
    for key, field in flat_fields(SegOptions).items():
        assert f"  {key} = " in text and field.metadata["help"] in text


def test_dry_run_prints_the_resolved_options(capsys):
    opt, dry_run = command_line(SegOptions, DEFAULT_FILE, "A script.", ["--dry-run", "run.steps=5"])
    assert dry_run
    assert from_dict(SegOptions, yaml.safe_load(capsys.readouterr().out), "stdout") == opt


def test_changes_are_listed_by_dotted_key():
    assert changes({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3, "d": 4}}) == {"a.c": (2, 3), "a.d": (None, 4)}
