"""Checkpoints: a flat dict of state dicts plus format, family, step and options; written whole or not at all."""

import contextlib
import hashlib
import json
import os
import pickletools
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from engine.errors import UserError
from engine.files import cannot_write, whole_file

FORMAT = 1
HEAD = "atelier"  # the metadata entry of exported files that holds all but the weights, as JSON


class Damaged(UserError):
    """A checkpoint that cannot be read: an older one may serve."""


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint whole, flushed to the disk, or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    with whole_file(path) as part, open(part, "wb") as file:
        try:
            torch.save({"format": FORMAT, **content}, file)
        except RuntimeError as error:  # torch's zip writer turns a short write into one
            cause = error.__context__ if isinstance(error.__context__, OSError) else error
            raise cannot_write(path, cause) from None
        file.flush()
        os.fsync(file.fileno())


def load(path: Path, family: str | None = None) -> dict[str, Any]:
    """The checkpoint at `path`, on the CPU: a pickle of plain data and tensors only, no code, or exported safetensors.

    Raises:
        UserError: missing, unreadable, holding code, not a checkpoint of ours, of a newer format or of another family.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint; name a run folder or a file from its checkpoints/")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    kinds = {"format": int, "family": str, "step": int, "options": dict}
    if not isinstance(content, dict) or not all(isinstance(content.get(key), kind) for key, kind in kinds.items()):
        raise Damaged(f"{path}: not a checkpoint of this program; name a file from a run's checkpoints/")
    if content["format"] != FORMAT:
        raise UserError(f"{path}: format {content['format']} is not this program's {FORMAT}; update the program")
    bad = first_nonfinite(content)
    if bad:
        raise Damaged(f"{path}: weight {bad} is not finite; use another checkpoint")
    if family is not None and content["family"] != family:
        raise UserError(
            f"{path}: a checkpoint of family {content['family']}, not {family}; use train_{content['family']}.py"
        )
    return content


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch and pickle raise on damaged bytes is of any type
        if "unsupported global" in str(error).lower() or _holds_code(path):
            raise Damaged(f"{path}: holds code, not only weights: refused and not run; use another file") from None
        raise Damaged(f"{path}: damaged, cut short or no checkpoint; use another one from the same folder") from None


def _read_safetensors(path: Path) -> dict[str, Any]:
    """What scripts/export_weights.py writes: one network, which is G and its average alike."""
    try:
        from safetensors import safe_open
    except ImportError:
        raise UserError(f"{path}: safetensors is not installed: pip install -r requirements-extra.txt") from None
    try:
        with safe_open(path, framework="pt") as file:
            head = json.loads((file.metadata() or {}).get(HEAD, "{}"))
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (it is no dict)
    except Exception as error:  # what its reader and json raise on damaged bytes is of any type
        cause = " ".join(str(error).split())[:100]
        raise Damaged(f"{path}: damaged, cut short or no safetensors file ({cause}); export it again") from None
    return {**head, "G": state, "G_ema": state} if isinstance(head, dict) else {}


def _holds_code(path: Path) -> bool:
    """Whether the file is a pickle that names functions or classes (read as opcodes, never run)."""
    with open(path, "rb") as file, contextlib.suppress(Exception):  # not a pickle: whatever the reader stumbles over
        return any(opcode.name in ("GLOBAL", "STACK_GLOBAL", "INST") for opcode, _, _ in pickletools.genops(file))
    return False


def fingerprint(samples: Iterable[str]) -> dict[str, Any]:
    """What tells training data from others: how many samples, and a hash of what names each, with its label."""
    words = list(samples)
    return {"samples": len(words), "sha256": hashlib.sha256(json.dumps(words).encode()).hexdigest()}


def data_change(old: Any, new: dict[str, Any] | None) -> str | None:
    """How the data differ by their fingerprints, None if they do not or if one has none."""
    if not isinstance(old, dict) or new is None or old == new:
        return None
    before, now = old.get("samples"), new["samples"]
    words = f"{before} -> {now}" if before != now else f"{now} as before, but others, or with other labels"
    return f"the pictures changed: {words}"


def steps(folder: Path) -> list[Path]:
    """The run's numbered checkpoints, oldest first."""
    return sorted((folder / "checkpoints").glob("step_*.pt"))


def find(weights: str | Path) -> Path:
    """The checkpoint that `--weights` means: the file itself, or a run folder's best one, else its newest."""
    path = Path(weights)
    if not path.is_dir():
        return path
    best = path / "checkpoints" / "best.pt"
    if best.is_file():
        return best
    found = steps(path)
    if not found:
        raise UserError(
            f"{path}: no checkpoint in {path / 'checkpoints'}; name a run folder that has trained, or a file"
        )
    return found[-1]


def load_network(network: torch.nn.Module, state: dict[str, torch.Tensor], source: object) -> None:
    """Strict loading whose error lists what differs.

    Raises:
        UserError: keys or shapes differ.
    """
    own = network.state_dict()
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise UserError(f"{source}: holds no weights where they should be; use a checkpoint of this program")
    missing = sorted(own.keys() - state.keys())
    unknown = sorted(state.keys() - own.keys())
    shapes = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own.keys() & state.keys()
        if own[key].shape != state[key].shape
    ]
    problems = [
        f"{len(names)} {word} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for word, names in (("missing", missing), ("unknown", unknown), ("of another shape", sorted(shapes)))
        if names
    ]
    if problems:
        raise UserError(
            f"{source}: weights do not fit the network: {'; '.join(problems)}; use the options it was made with"
        )
    network.load_state_dict(state)


def load_what_fits(network: torch.nn.Module, state: dict[str, torch.Tensor]) -> str:
    """Load the tensors whose names and shapes agree; says how many, and which are left as they were or frozen."""
    own = network.state_dict()
    fits = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    network.load_state_dict(fits, strict=False)
    words = [f"{len(fits)} of {len(own)} tensors"]
    left = [key for key in own if key not in fits]
    frozen = [key for key, p in network.named_parameters() if not p.requires_grad]
    if len(frozen) == len(list(network.parameters())):  # an average, not a network that learns
        frozen = []
    for what, keys in (("from scratch", left), ("frozen", frozen)):
        if keys:
            words.append(f"{what}: {', '.join(keys[:8])}" + (f" and {len(keys) - 8} more" if len(keys) > 8 else ""))
    return "; ".join(words)


def first_nonfinite(content: dict[str, Any], prefix: str = "") -> str | None:
    """The name of a tensor in nested dicts that holds a NaN or an infinity."""
    for key, value in content.items():
        if isinstance(value, dict):
            found = first_nonfinite(value, f"{prefix}{key}.")
            if found:
                return found
        elif isinstance(value, torch.Tensor) and value.is_floating_point() and not torch.isfinite(value).all():
            return f"{prefix}{key}"
    return None
