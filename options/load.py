"""The strict options loader: defaults < YAML < key=value; a mistake is one line: source, key, value, remedy."""

import dataclasses
import difflib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from engine.errors import UserError

Options = TypeVar("Options")


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where PyYAML silently takes the last."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for place, (key, (key_node, _)) in enumerate(zip(keys, node.value, strict=True)):
            if key in keys[:place]:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} twice", key_node.start_mark)
        return super().construct_mapping(node, deep)


def flat_fields(cls: type, prefix: str = "") -> dict[str, dataclasses.Field]:
    """Every option of a family as dotted key -> field, in the order of the dataclasses."""
    fields = {}
    for f in dataclasses.fields(cls):
        if "kind" in f.metadata:
            fields[prefix + f.name] = f
        else:
            fields |= flat_fields(f.default_factory, prefix + f.name + ".")
    return fields


def to_dict(opt: Any) -> dict[str, Any]:
    """An options object as nested plain dicts and lists, for YAML and for checkpoints."""

    def plain(value: Any) -> Any:
        return [plain(part) for part in value] if isinstance(value, (list, tuple)) else value

    return {
        f.name: plain(getattr(opt, f.name)) if "kind" in f.metadata else to_dict(getattr(opt, f.name))
        for f in dataclasses.fields(opt)
    }


def from_dict(cls: type[Options], values: dict[str, Any], source: str) -> Options:
    """The options object of nested plain values (`to_dict`'s inverse), as strict as a YAML file."""
    return _build(cls, _flat_values(cls, values, source))


def load(cls: type[Options], argv: Sequence[str], default_file: Path) -> Options:
    """Options of one run.

    Args:
        cls: the family's frozen dataclass of groups.
        argv: `[FILE.yaml] [key=value | --key=value ...]`.
        default_file: the YAML when argv names none.

    Raises:
        UserError (code 2): unknown key, wrong type, value out of range, missing file or bad YAML.
    """
    files = [word for word in argv if "=" not in word]
    if len(files) > 1 or any(word.startswith("-") for word in files):
        odd = next((word for word in files if word.startswith("-")), files[-1])
        raise UserError(f"command line: {odd!r}: expected at most one FILE.yaml, then key=value; see --help", 2)
    file = Path(files[0]) if files else default_file
    values = _flat_values(cls, _read_yaml(file), str(file))
    for word in argv:
        if "=" in word:
            key, _, value = word.lstrip("-").partition("=")
            _known(cls, key, "command line")
            raw = flat_fields(cls)[key].metadata["kind"].raw
            values[key] = (value if raw else _scalar(value), "command line")
    return _build(cls, _one_length(values))


def _one_length(values: dict[str, tuple[Any, str]]) -> dict[str, tuple[Any, str]]:
    """Of run.steps and run.epochs the one that was said last: steps on the command line override a YAML's epochs."""
    steps, epochs = values.get("run.steps"), values.get("run.epochs")
    if steps and epochs and steps[1] == "command line" and epochs[1] != "command line":
        return {key: value for key, value in values.items() if key != "run.epochs"}
    return values


def _scalar(value: str) -> Any:
    try:
        return yaml.safe_load(value) if value.strip() else value
    except (yaml.YAMLError, ValueError):  # ValueError: what looks like a date and is none
        return value


def _read_yaml(file: Path) -> dict[str, Any]:
    if not file.is_file():
        there = sorted(path.name for path in (file.parent if file.parent.is_dir() else Path("options")).glob("*.yaml"))
        near = difflib.get_close_matches(file.name, there, 1)
        hint = f"did you mean {file.parent / near[0]}?" if near else "name a file from options/"
        raise UserError(f"{file}: no such options file; {hint}", 2)
    try:
        values = yaml.load(file.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except (yaml.YAMLError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{file}:{where} not readable as YAML ({problem}); mend that line", 2) from None
    if values is not None and not isinstance(values, dict):
        raise UserError(f"{file}: expected groups of `key: value`, found {type(values).__name__}", 2)
    return values or {}


def _flat_values(cls: type, values: dict, source: str, prefix: str = "") -> dict[str, tuple[Any, str]]:
    """Nested values as dotted key -> (value, source); unknown keys are refused."""
    fields = flat_fields(cls)
    flat = {}
    for name, value in values.items():
        key = f"{prefix}{name}"
        if key in fields:
            flat[key] = (value, source)
        elif isinstance(value, dict) and any(known.startswith(key + ".") for known in fields):
            flat |= _flat_values(cls, value, source, key + ".")
        elif value is None and any(known.startswith(key + ".") for known in fields):
            continue  # a group whose lines are all commented out
        else:
            _known(cls, key, source)
            raise UserError(f"{source}: {key}: {value!r} is not a group; write {key}.KEY", 2)
    return flat


def _known(cls: type, key: str, source: str) -> None:
    fields = flat_fields(cls)
    if key in fields or any(known.startswith(key + ".") for known in fields):
        if key not in fields:
            inside = [known for known in fields if known.startswith(key + ".")]
            raise UserError(f"{source}: {key} is a group; set one of its keys: {', '.join(inside)}", 2)
        return
    near = difflib.get_close_matches(key, fields, 1, 0.5)
    ends = [known for known in fields if known.split(".")[-1] == key.split(".")[-1]]
    hint = f"did you mean {(ends or near)[0]}?" if ends or near else "--help lists every key"
    raise UserError(f"{source}: unknown key {key}; {hint}", 2)


def _build(cls: type[Options], values: dict[str, tuple[Any, str]], prefix: str = "") -> Options:
    made = {}
    for f in dataclasses.fields(cls):
        key = prefix + f.name
        if "kind" not in f.metadata:
            made[f.name] = _build(f.default_factory, values, key + ".")
        elif key in values:
            value, source = values[key]
            try:
                made[f.name] = f.metadata["kind"].read(value)
            except (ValueError, TypeError, OverflowError):
                expected = f.metadata["kind"].expected
                raise UserError(f"{source}: {key}={_shown(value)}: expected {expected}", 2) from None
    try:
        return cls(**made)
    except ValueError as error:  # a rule between keys, checked in __post_init__
        sources = {source for key, (_, source) in values.items() if key.startswith(prefix)}
        raise UserError(f"{', '.join(sorted(sources)) or 'options'}: {error}", 2) from None


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_shown(part) for part in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_shown(part)}" for key, part in value.items()) + "}"
    return str(value)


def help_text(cls: type, doc: str, default_file: Path) -> str:
    """The text of `--help`: the script's docstring, then every key with type, default and meaning."""
    lines = [doc.strip(), "", f"Options FILE: {default_file} when none is named. Keys (defaults before the YAML):"]
    for key, f in flat_fields(cls).items():
        default = f.default if f.default is not dataclasses.MISSING else f.default_factory()
        lines += [f"  {key} = {_shown(default)}", f"      {f.metadata['help']} ({f.metadata['kind'].expected})"]
    return "\n".join([*lines, "", "  --dry-run prints the resolved options and the network sizes; --help this text"])


def filled(values: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    """A `to_dict` result of an older version, which lacks options that are new since: these have their defaults."""
    new = {
        key: filled(values.get(key, {}), default) if isinstance(default, dict) else values.get(key, default)
        for key, default in defaults.items()
    }
    return {**values, **new}


def changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ between two `to_dict` results: dotted key -> (old, new)."""
    found = {}
    for key in {**old, **new}:
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found |= changes(a, b, f"{prefix}{key}.")
        elif a != b:
            found[prefix + key] = (a, b)
    return found


def command_line(
    cls: type[Options], default_file: Path, doc: str, argv: Sequence[str] | None = None
) -> tuple[Options, bool]:
    """The options of a train script's command line, and whether `--dry-run` was given (then they are printed).

    `--help` prints `doc` and every key, and exits.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if {"-h", "--help"} & set(words):
        print(help_text(cls, doc, default_file))
        raise SystemExit(0)
    dry_run = "--dry-run" in words
    opt = load(cls, [word for word in words if word != "--dry-run"], default_file)
    if dry_run:
        print(yaml.safe_dump(to_dict(opt), sort_keys=False), end="")
    return opt, dry_run
