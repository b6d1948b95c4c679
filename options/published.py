"""Weights that others have published, by name: options/weights.yaml."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from engine.download import File
from engine.errors import UserError

LIST = Path(__file__).with_name("weights.yaml")


@dataclass(frozen=True)
class Published:
    """An entry of options/weights.yaml."""

    name: str
    family: str  # torchvision, other: no network of ours
    what: str
    licence: str
    verified: bool
    files: dict[str, File]  # by role: G, D, ...
    options: dict[str, Any] = field(default_factory=dict)  # nested, what the files cannot tell

    @property
    def predicts(self) -> bool:
        return "G" in self.files


def read_list() -> dict[str, Published]:
    """All entries by name."""
    entries = {}
    for name, values in yaml.safe_load(LIST.read_text(encoding="utf-8")).items():
        files = {role: File(**about | {"urls": tuple(about["urls"])}) for role, about in values.pop("files").items()}
        entries[name] = Published(name=name, files=files, **values)
    return entries


def hint(name: str, names: Iterable[str]) -> str:
    """What the user may have meant."""
    names = list(names)
    near = difflib.get_close_matches(name.lower(), names, 3, 0.5) or [known for known in names if name.lower() in known]
    return f"did you mean {' or '.join(near)}?" if name and near else f"known: {', '.join(names)}"


def choose(names: Iterable[str]) -> list[Published]:
    """The entries of these names, each once.

    Raises:
        UserError (code 2): a name is unknown.
    """
    entries = read_list()
    for name in names:
        if name not in entries:
            raise UserError(f"{name}: no such weights; {hint(name, entries)} (--list shows all)", 2)
    return [entries[name] for name in dict.fromkeys(names)]
